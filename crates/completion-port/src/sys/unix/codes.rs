//! The system's numbers for what the library itself has to say or to tell apart.

pub(crate) use libc::{
    EALREADY as ALREADY, ECANCELED as CANCELLED, ECONNABORTED as ABORTED, ECONNRESET as RESET,
    EINPROGRESS as IN_PROGRESS, EINTR as INTERRUPTED, EISCONN as IS_CONNECTED, EMSGSIZE as CUT,
    ETIMEDOUT as TIMED_OUT,
};
/// What the simulated network says besides.
#[cfg(feature = "simulated")]
pub(crate) use libc::{ENOTCONN as NOT_CONNECTED, EPIPE as BROKEN};
