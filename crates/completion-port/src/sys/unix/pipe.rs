//! Pipes: like streams, with the calls of files, and with a signal instead of an error when nobody reads any more.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use super::send::moved;
use crate::operation::{Detail, Header};

/// Reads what is there.
///
/// # Safety
///
/// `to` is good for `room` bytes.
pub(in crate::sys) unsafe fn read(
    fd: BorrowedFd<'_>,
    to: *mut u8,
    room: usize,
) -> io::Result<usize> {
    // SAFETY: the caller's promise.
    moved(unsafe { libc::read(fd.as_raw_fd(), to.cast(), room) })
}

/// Writes what a pipe, which does not block, takes of a send's bytes now. May be interrupted.
///
/// # Safety
///
/// The caller owns the operation, a send, and its pipe is open.
pub(in crate::sys) unsafe fn write_now(header: &Header) -> io::Result<usize> {
    let fd = header.target.get().os;
    // SAFETY: owned.
    if let Detail::Gather(gather) = unsafe { &mut header.work().detail } {
        let pieces = gather.left();
        // SAFETY: the array and the bytes live in the operation.
        return without_signal(|| unsafe {
            libc::writev(fd, pieces.as_ptr().cast(), pieces.len() as libc::c_int)
        });
    }
    // SAFETY: owned.
    let bytes = unsafe { header.unsent() };
    // SAFETY: as above.
    without_signal(|| unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })
}

/// Does something that may raise SIGPIPE for this thread, which would end a program that does not ignore it (a socket's send can be told
/// not to, a pipe's write cannot). It is blocked meanwhile, and taken away if it came.
fn without_signal(call: impl FnOnce() -> isize) -> io::Result<usize> {
    let (mut pipe, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: sets of signals to be written to, and then read once they are; these calls fail on invalid arguments only.
    unsafe {
        libc::sigemptyset(pipe.as_mut_ptr());
        libc::sigaddset(pipe.as_mut_ptr(), libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, pipe.as_ptr(), before.as_mut_ptr());
        // One that the program has let wait is its own affair.
        let waits = libc::sigismember(before.as_ptr(), libc::SIGPIPE) == 1 && is_pending();
        let result = moved(call());
        if result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
            && !waits
            && is_pending()
        {
            let mut taken = 0;
            libc::sigwait(pipe.as_ptr(), &raw mut taken);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
        result
    }
}

fn is_pending() -> bool {
    let mut pending = MaybeUninit::uninit();
    // SAFETY: written by the first call, read by the second.
    unsafe {
        libc::sigpending(pending.as_mut_ptr()) == 0
            && libc::sigismember(pending.as_ptr(), libc::SIGPIPE) == 1
    }
}
