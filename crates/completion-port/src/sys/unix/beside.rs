//! Sleeping in a driver and on something else at once: another driver, or the socket of a blocking call.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// What a thread sleeps on beside a driver.
#[derive(Clone, Copy)]
pub(crate) struct Beside<'a> {
    fd: BorrowedFd<'a>,
    what: PollFlags,
}

impl<'a> Beside<'a> {
    /// Until it can be read.
    pub(in crate::sys) fn descriptor(fd: BorrowedFd<'a>) -> Self {
        Self { fd, what: PollFlags::IN }
    }

    /// Until it can be read, or accepted from.
    pub(crate) fn readable(fd: &'a OwnedFd) -> Self {
        Self::descriptor(fd.as_fd())
    }

    /// Until it can be written, or is connected.
    pub(crate) fn writable(fd: &'a OwnedFd) -> Self {
        Self { fd: fd.as_fd(), what: PollFlags::OUT }
    }

    /// Sleeps on this alone, and tells whether there is something. May return for no reason.
    pub(crate) fn wait(self, timeout: Option<Duration>) -> io::Result<bool> {
        sleep(&[self], timeout).map(|told| told[0])
    }
}

/// Sleeps until there is something of any of them or the time is up, and tells of each whether there is. May return for no reason.
pub(in crate::sys) fn sleep(
    all: &[Beside<'_>],
    timeout: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let mut fds: Vec<_> =
        all.iter().map(|one| PollFd::from_borrowed_fd(one.fd, one.what)).collect();
    // A time beyond the system's range is none.
    let timeout = timeout.and_then(|time| {
        let tv_sec = time.as_secs().try_into().ok()?;
        Some(Timespec { tv_sec, tv_nsec: time.subsec_nanos().into() })
    });
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(e) => return Err(e.into()),
    }
    // An error or a hang-up is told too: the call that comes next finds out what it is.
    Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect())
}
