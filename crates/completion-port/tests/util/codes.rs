//! The system's numbers for what tests look at.

#[cfg(unix)]
pub use libc::{
    EADDRINUSE, EALREADY, EBADF, ECANCELED, ECONNABORTED, ECONNREFUSED, ECONNRESET, EDESTADDRREQ,
    EFBIG, EINVAL, EISCONN, EMFILE, EMSGSIZE, ENOTCONN, EOVERFLOW, EPIPE, ETIMEDOUT,
};

/// Winsock's, under the names that they have elsewhere.
#[cfg(windows)]
mod windows {
    pub const EADDRINUSE: i32 = 10048;
    pub const EALREADY: i32 = 10037;
    /// `ERROR_ACCESS_DENIED`: what a file that was opened otherwise says.
    pub const EBADF: i32 = 5;
    /// `ERROR_OPERATION_ABORTED`.
    pub const ECANCELED: i32 = 995;
    pub const ECONNABORTED: i32 = 10053;
    pub const ECONNREFUSED: i32 = 10061;
    pub const ECONNRESET: i32 = 10054;
    /// A send without an address on a socket that is not connected says that.
    pub const EDESTADDRREQ: i32 = 10057;
    /// `ERROR_DISK_FULL`, for one.
    pub const EFBIG: i32 = 112;
    /// `ERROR_INVALID_PARAMETER`.
    pub const EINVAL: i32 = 87;
    pub const EISCONN: i32 = 10056;
    /// `ERROR_TOO_MANY_OPEN_FILES`.
    pub const EMFILE: i32 = 4;
    pub const EMSGSIZE: i32 = 10040;
    pub const ENOTCONN: i32 = 10057;
    /// `ERROR_ARITHMETIC_OVERFLOW`.
    pub const EOVERFLOW: i32 = 534;
    /// `ERROR_BROKEN_PIPE`.
    pub const EPIPE: i32 = 109;
    pub const ETIMEDOUT: i32 = 10060;
}

#[cfg(windows)]
pub use windows::*;
