//! The system's numbers for what the library itself has to say or to tell apart.

use windows_sys::Win32::{
    Foundation::ERROR_OPERATION_ABORTED,
    Networking::WinSock::{
        WSAEALREADY, WSAECONNABORTED, WSAECONNRESET, WSAEINTR, WSAEISCONN, WSAEMSGSIZE,
        WSAETIMEDOUT, WSAEWOULDBLOCK,
    },
};

pub(crate) const CANCELLED: i32 = ERROR_OPERATION_ABORTED as i32;
pub(crate) const CUT: i32 = WSAEMSGSIZE;
pub(crate) const ABORTED: i32 = WSAECONNABORTED;
pub(crate) const RESET: i32 = WSAECONNRESET;
pub(crate) const TIMED_OUT: i32 = WSAETIMEDOUT;
pub(crate) const INTERRUPTED: i32 = WSAEINTR;
/// A connect is on its way.
pub(crate) const IN_PROGRESS: i32 = WSAEWOULDBLOCK;
pub(crate) const ALREADY: i32 = WSAEALREADY;
pub(crate) const IS_CONNECTED: i32 = WSAEISCONN;
/// What the simulated network says besides.
#[cfg(feature = "simulated")]
pub(crate) const NOT_CONNECTED: i32 = windows_sys::Win32::Networking::WinSock::WSAENOTCONN;
/// A send behind one's own end: the system has the number of a shut-down socket for it.
#[cfg(feature = "simulated")]
pub(crate) const BROKEN: i32 = windows_sys::Win32::Foundation::ERROR_BROKEN_PIPE as i32;
