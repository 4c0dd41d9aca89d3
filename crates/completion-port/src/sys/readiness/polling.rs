//! The `polling` crate: kqueue and event ports, where there is no epoll.
//!
//! On Linux it can stand in for our own epoll (`--cfg completion_port_polling`), so that this file is tested there too.

use std::{
    io,
    num::NonZeroUsize,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use polling::{Event, Events, PollMode};

/// A socket that has become ready, possibly more than it was.
pub(super) struct Edge {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
    /// An end or an error is there to be read, behind whatever data.
    pub closed: bool,
}

pub(super) struct Poller {
    poller: polling::Poller,
    events: Mutex<Events>,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let batch = const { NonZeroUsize::new(256).unwrap() };
        Ok(Self {
            poller: polling::Poller::new()?,
            events: Mutex::new(Events::with_capacity(batch)),
        })
    }

    pub(super) fn add(&self, fd: &OwnedFd, token: u64) -> io::Result<()> {
        // SAFETY: `delete` is called before the descriptor is closed (Driver::detach comes before).
        unsafe { self.poller.add_with_mode(fd, Event::all(token as usize), PollMode::Edge) }
    }

    pub(super) fn delete(&self, fd: &OwnedFd) {
        let _ = self.poller.delete(fd);
    }

    pub(super) fn wait(&self, timeout: Option<Duration>, edges: &mut Vec<Edge>) -> io::Result<()> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.clear();
        match self.poller.wait(&mut events, timeout) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(e) => return Err(e),
        }
        edges.extend(events.iter().map(|event| Edge {
            token: event.key as u64,
            readable: event.readable,
            writable: event.writable,
            // Not told alike by every system: assume it, which costs an attempt that would block.
            closed: true,
        }));
        Ok(())
    }

    /// Readable while an edge waits to be told.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        #[cfg(any(
            target_os = "linux",
            target_vendor = "apple",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd",
            target_os = "dragonfly"
        ))]
        return Some(self.poller.as_fd());
        #[allow(unreachable_code, reason = "where the poller is no descriptor")]
        None
    }

    pub(super) fn notify(&self) {
        let _ = self.poller.notify();
    }
}
