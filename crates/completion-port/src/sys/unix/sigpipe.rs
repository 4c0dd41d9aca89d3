//! Calls that have no flag against `SIGPIPE`.

#![cfg(target_os = "linux")]

use std::{mem::MaybeUninit, ptr};

use rustix::io::Errno;

/// Makes a call that moves bytes to a socket. Had the peer gone, the system would send this thread a signal, whose default is the end of
/// the process (a program whose `main` is not Rust's has that default): it is taken back.
pub(super) fn without_sigpipe<R>(call: impl FnOnce() -> Result<R, Errno>) -> Result<R, Errno> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    let mut pending = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: each set is written before it is read; a mask and what is pending are this thread's own.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGPIPE);
        libc::sigpending(pending.as_mut_ptr());
        if libc::sigismember(pending.as_ptr(), libc::SIGPIPE) == 1 {
            // It is blocked, and somebody else's: another one is the same one.
            return call();
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr());
    }
    let result = call();
    // SAFETY: as above; without a time the wait does not wait.
    unsafe {
        if matches!(result, Err(Errno::PIPE)) {
            let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            libc::sigtimedwait(set.as_ptr(), ptr::null_mut(), &now);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
    }
    result
}
