//! epoll, edge-triggered, with an eventfd to wake its sleeper.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{EventfdFlags, Timespec, epoll, eventfd},
    io::Errno,
};

/// A socket that has become ready, possibly more than it was.
pub(super) struct Edge {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
    /// An end or an error is there to be read, behind whatever data.
    pub closed: bool,
}

pub(super) struct Poller {
    epoll: OwnedFd,
    wake: OwnedFd,
}

const WAKE: u64 = u64::MAX;
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);
/// Edges taken in one call; more wait for the next.
const BATCH: usize = 256;

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(
            &epoll,
            &wake,
            epoll::EventData::new_u64(WAKE),
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        Ok(Self { epoll, wake })
    }

    pub(super) fn add(&self, fd: &OwnedFd, token: u64) -> io::Result<()> {
        use epoll::EventFlags as E;
        Ok(epoll::add(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(token),
            E::IN | E::OUT | E::RDHUP | E::ET,
        )?)
    }

    /// Not only on close: a duplicate of the descriptor would keep the registration alive.
    pub(super) fn delete(&self, fd: &OwnedFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    pub(super) fn wait(&self, timeout: Option<Duration>, edges: &mut Vec<Edge>) -> io::Result<()> {
        // Longer than a plain epoll_wait can: that one is everywhere, and whoever waits for longer comes back.
        let timeout = timeout.map(|time| time.min(LONGEST)).map(|time| Timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        let mut batch = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }; BATCH];
        let count = match epoll::wait(&self.epoll, &mut batch, timeout.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(e) => return Err(e.into()),
        };
        for event in &batch[..count] {
            use epoll::EventFlags as E;
            let (flags, token) = (event.flags, event.data.u64());
            if token == WAKE {
                // Edge-triggered: the count need not be read, it only must not overflow, which takes 2^64 wake-ups.
                continue;
            }
            let closed = flags.intersects(E::RDHUP | E::HUP | E::ERR);
            edges.push(Edge {
                token,
                readable: closed || flags.contains(E::IN),
                writable: flags.intersects(E::OUT | E::HUP | E::ERR),
                closed,
            });
        }
        Ok(())
    }

    /// Readable while an edge waits to be told (epoll(7)).
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }

    pub(super) fn notify(&self) {
        // It fails only when the counter is full, and then a wake-up is under way.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}
