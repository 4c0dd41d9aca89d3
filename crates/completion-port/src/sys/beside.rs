//! Sleeping in a driver and on something else at once: another driver, or the socket of a blocking call.

use std::{io, os::fd::BorrowedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{Driver, Event};
use crate::error;

/// What a thread sleeps on beside a driver.
#[derive(Clone, Copy)]
pub(crate) struct Beside<'a> {
    fd: BorrowedFd<'a>,
    what: PollFlags,
}

impl<'a> Beside<'a> {
    /// Until it can be read, or accepted from.
    pub(crate) fn readable(fd: BorrowedFd<'a>) -> Self {
        Self { fd, what: PollFlags::IN }
    }

    /// Until it can be written, or is connected.
    pub(crate) fn writable(fd: BorrowedFd<'a>) -> Self {
        Self { fd, what: PollFlags::OUT }
    }

    /// Until a driver has something to report.
    pub(crate) fn driver(driver: &'a dyn Driver) -> io::Result<Self> {
        driver.descriptor().map(Self::readable).ok_or_else(error::not_beside)
    }

    /// Sleeps on this alone, and tells whether there is something. May return for no reason.
    pub(crate) fn wait(self, timeout: Option<Duration>) -> io::Result<bool> {
        let mut fds = [PollFd::from_borrowed_fd(self.fd, self.what)];
        sleep(&mut fds, timeout)?;
        Ok(!fds[0].revents().is_empty())
    }
}

/// [`Driver::wait`], cut short when there is something beside; tells whether there is.
pub(crate) fn wait(
    driver: &dyn Driver,
    beside: Beside<'_>,
    timeout: Option<Duration>,
    events: &mut Vec<Event>,
) -> io::Result<bool> {
    let own = Beside::driver(driver)?;
    let mut fds = [own, beside].map(|one| PollFd::from_borrowed_fd(one.fd, one.what));
    sleep(&mut fds, timeout)?;
    // An error or a hang-up is told too: the call that comes next finds out what it is.
    let there = !fds[1].revents().is_empty();
    driver.wait(Some(Duration::ZERO), events)?;
    Ok(there)
}

fn sleep(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
    // A time beyond the system's range is none.
    let timeout = timeout.and_then(|time| {
        let tv_sec = time.as_secs().try_into().ok()?;
        Some(Timespec { tv_sec, tv_nsec: time.subsec_nanos().into() })
    });
    match poll(fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
