//! Receiving as much as is there.

use std::{io, mem::MaybeUninit, os::fd::BorrowedFd, slice};

use rustix::net::RecvFlags;

use super::pipe;
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
            pipe::read(fd, to, room)?
        } else {
            // Not by libc's `recv`, which pays for being a place where a thread can be cancelled.
            let room = slice::from_raw_parts_mut(to.cast::<MaybeUninit<u8>>(), room);
            rustix::net::recv(fd, room, RecvFlags::DONTWAIT)?.1
        };
        buffer.fill(received);
        Ok(received)
    }
}
