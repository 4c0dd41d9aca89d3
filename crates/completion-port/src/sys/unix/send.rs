//! Sending as much as goes at once.

use std::{io, os::fd::BorrowedFd};

use rustix::net::SendFlags;

use super::pipe;
use crate::operation::{Detail, Header};

#[cfg(target_vendor = "apple")]
const NO_SIGNAL: SendFlags = SendFlags::empty();
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;

/// Sends what the socket, or the pipe, takes of a send's bytes now. May be interrupted.
///
/// # Safety
///
/// The caller owns the operation, a send, and its socket is open.
pub(in crate::sys) unsafe fn send_now(header: &Header) -> io::Result<usize> {
    if header.is_pipe() {
        // SAFETY: handed on.
        return unsafe { pipe::write_now(header) };
    }
    // SAFETY: owned.
    let work = unsafe { header.work() };
    let message = match &mut work.detail {
        Detail::Gather(gather) => {
            let (header, pieces) = gather.parts();
            Some(header.of(pieces))
        }
        Detail::Message(message) => Some(message.send_from(&work.buffer)),
        _ => None,
    };
    if let Some(message) = message {
        let flags = (SendFlags::DONTWAIT | NO_SIGNAL).bits() as libc::c_int;
        // SAFETY: the arrays and the bytes live in the operation.
        return moved(unsafe { libc::sendmsg(header.target.get().os, message, flags) });
    }
    // SAFETY: open while the operation holds its handle, and owned.
    let (fd, bytes) = unsafe { (BorrowedFd::borrow_raw(header.target.get().os), header.unsent()) };
    // Not by libc's `send`, which pays for being a place where a thread can be cancelled.
    Ok(rustix::net::send(fd, bytes, SendFlags::DONTWAIT | NO_SIGNAL)?)
}

/// The result of a call that moves bytes.
pub(in crate::sys) fn moved(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
