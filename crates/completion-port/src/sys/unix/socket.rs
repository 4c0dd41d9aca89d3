//! What Unix knows of a socket beyond what all systems do.

use std::{
    io, mem,
    os::fd::{AsRawFd, OwnedFd},
};

use socket2::SockRef;

/// Whether the connection is gone: reset, or finished by both sides. False where the system cannot tell.
#[cfg(target_os = "linux")]
pub(crate) fn torn_down(fd: &OwnedFd) -> bool {
    /// `TCP_CLOSE` of the kernel's tcp_states.h.
    const CLOSED: u8 = 7;
    // SAFETY: numbers only, for which zeros are valid.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `info`.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &mut len,
        )
    };
    result == 0 && info.tcpi_state == CLOSED
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn torn_down(_: &OwnedFd) -> bool {
    false
}

/// The mode that a socket from elsewhere has. One that cannot be asked is about to fail at everything else.
pub(crate) fn is_nonblocking(fd: &OwnedFd) -> bool {
    SockRef::from(fd).nonblocking().unwrap_or(false)
}

/// Ends a connection, or an attempt to connect, so that the socket can connect again: to "connect" to no address does that (connect(2)).
pub(crate) fn dissolve(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: zeros are a valid address of no family.
    let nowhere: libc::sockaddr = unsafe { mem::zeroed() };
    // SAFETY: an open descriptor and a valid address.
    let result = unsafe {
        libc::connect(fd.as_raw_fd(), &raw const nowhere, size_of_val(&nowhere) as libc::socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
