//! The system's answers, in the numbers that users know: those of Winsock for sockets.
//!
//! One and the same event has several numbers on Windows, depending on who tells of it (`WSAGetLastError`, a packet, an `NTSTATUS`): they
//! are made one here, so that a reset is a reset whoever tells of it.

use std::io;

use windows_sys::Win32::{
    Foundation::{
        ERROR_CONNECTION_ABORTED, ERROR_CONNECTION_REFUSED, ERROR_HOST_UNREACHABLE,
        ERROR_MORE_DATA, ERROR_NETNAME_DELETED, ERROR_NETWORK_UNREACHABLE, ERROR_PORT_UNREACHABLE,
        ERROR_SEM_TIMEOUT, RtlNtStatusToDosError,
    },
    Networking::WinSock::{
        WSAECONNABORTED, WSAECONNREFUSED, WSAECONNRESET, WSAEHOSTUNREACH, WSAEMSGSIZE,
        WSAENETUNREACH, WSAETIMEDOUT, WSAGetLastError,
    },
};

/// What the last call on a socket failed with.
pub(super) fn last_of_socket() -> io::Error {
    // SAFETY: it has no conditions.
    of_socket(unsafe { WSAGetLastError() })
}

/// A number of a socket's.
pub(super) fn of_socket(code: i32) -> io::Error {
    let code = match code as u32 {
        ERROR_NETNAME_DELETED => WSAECONNRESET,
        ERROR_CONNECTION_ABORTED => WSAECONNABORTED,
        ERROR_CONNECTION_REFUSED => WSAECONNREFUSED,
        ERROR_NETWORK_UNREACHABLE => WSAENETUNREACH,
        ERROR_HOST_UNREACHABLE => WSAEHOSTUNREACH,
        ERROR_PORT_UNREACHABLE => WSAECONNRESET,
        ERROR_SEM_TIMEOUT => WSAETIMEDOUT,
        ERROR_MORE_DATA => WSAEMSGSIZE,
        _ => code,
    };
    io::Error::from_raw_os_error(code)
}

/// A status of a file's, as the number that its packet would have.
pub(super) fn of_file(status: i32) -> io::Error {
    // SAFETY: a number.
    io::Error::from_raw_os_error(unsafe { RtlNtStatusToDosError(status) } as i32)
}
