//! Receiving as much as is there.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use super::{pipe, send::moved};
use crate::{buffer::Buffer, operation::Header};

/// Receives what there is of a stream now, into the spare room of `buffer`. May be interrupted.
///
/// # Safety
///
/// The operation's socket, or its pipe, which does not block, is open.
pub(in crate::sys) unsafe fn receive_now(
    header: &Header,
    buffer: &mut Buffer,
) -> io::Result<usize> {
    // SAFETY: the caller's promise.
    let fd = unsafe { BorrowedFd::borrow_raw(header.target.get().os) };
    let (to, room) = buffer.spare_parts();
    // SAFETY: the buffer's own spare room; what was received is then counted as filled.
    unsafe {
        let received = if header.is_pipe() {
            pipe::read(fd, to, room)
        } else {
            moved(libc::recv(fd.as_raw_fd(), to.cast(), room, libc::MSG_DONTWAIT))
        }?;
        buffer.fill(received);
        Ok(received)
    }
}
