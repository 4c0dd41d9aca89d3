//! The readiness driver: the system says when a socket is ready, and the I/O is then done here.
//!
//! For where io_uring is missing or refused, and for every other Unix. Each socket is registered once, edge-triggered, for both
//! directions; what the system said is remembered per direction (a *lane*), so an operation costs no registration of its own.
//!
//! An operation is attempted at once while its lane is thought ready. If that would block, it is parked in the lane, and whoever
//! sleeps in [`wait`](Driver::wait) attempts it when the next edge comes. The lane's `edges` counter closes the gap between the
//! failed attempt and the parking: an edge in between means try again.
//!
//! Files are always ready, as the system has it, and block all the same: [`files`] are read and written by threads of their own.

mod attempt;
mod files;
#[cfg(all(target_os = "linux", not(completion_port_polling)))]
#[path = "epoll.rs"]
mod poller;
#[cfg(any(not(target_os = "linux"), completion_port_polling))]
#[path = "polling.rs"]
mod poller;
mod sockets;

use std::{
    io,
    ptr::NonNull,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use self::{
    attempt::Attempt,
    files::Files,
    poller::{Edge, Poller},
    sockets::Sockets,
};
use super::{Driver, Event, Medium, Socket, backlog::Backlog, beside::Beside};
use crate::{buffer::Pool, error, operation::Header};

pub(crate) struct Readiness {
    poller: Arc<Poller>,
    files: Files,
    sockets: Mutex<Sockets>,
    inbox: Mutex<Inbox>,
    /// Operations in lanes, or out of them and not attempted yet: written by who holds `sockets`.
    waiting: AtomicUsize,
    pool: Arc<Pool>,
}

/// What who waits has at hand.
#[derive(Default)]
struct Inbox {
    /// Kept for its memory.
    edges: Vec<Edge>,
    /// Receives out of their lanes, to be attempted.
    ready: Backlog,
    /// What is to be attempted in the same call; kept for its memory.
    claimed: Vec<NonNull<Header>>,
}

// SAFETY: the operations are the driver's, from whichever thread it is called.
unsafe impl Send for Inbox {}

/// The token of files: none of the sockets'.
const FILE: u32 = u32::MAX;

impl Readiness {
    pub(crate) fn new(pool: Arc<Pool>) -> io::Result<Self> {
        let poller = Arc::new(Poller::new()?);
        Ok(Self {
            files: Files::new(poller.clone()),
            poller,
            sockets: Mutex::default(),
            inbox: Mutex::default(),
            waiting: AtomicUsize::new(0),
            pool,
        })
    }

    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        crate::pause::here();
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        crate::pause::here();
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// More wait, or fewer: told by who holds the lock, so that no atomic addition is needed.
    fn count(&self, _: &mut Sockets, change: impl FnOnce(usize) -> usize) {
        self.waiting.store(change(self.waiting.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    /// An operation that was parked is attempted.
    ///
    /// # Safety
    ///
    /// The caller has it from [`Sockets::hear`], which took its lane to be exhausted.
    unsafe fn go_on(&self, op: NonNull<Header>) -> Option<Event> {
        // SAFETY: the caller's.
        let header = unsafe { op.as_ref() };
        header.take_up();
        // SAFETY: owned; the socket is open because the operation holds its handle.
        match unsafe { attempt::attempt(header, &self.pool) } {
            Attempt::Done(result, exhausted) => {
                if !exhausted {
                    self.sockets().lane(header).ready = true;
                }
                Some(Event::last(op, result))
            }
            // SAFETY: handed on.
            Attempt::WouldBlock => unsafe { self.pursue(op) },
        }
    }

    /// Attempts `op` while its lane is ready, and parks it when it is not.
    ///
    /// # Safety
    ///
    /// The caller owns `op`; it is the driver's if `None` is returned.
    unsafe fn pursue(&self, op: NonNull<Header>) -> Option<Event> {
        // SAFETY: the caller owns it, and so does this function until it parks it.
        let header = unsafe { op.as_ref() };
        // Tried once whatever has been heard of the lane: an edge may be there that nobody has waited for yet.
        let mut at_once = header.is_for_at_once();
        loop {
            let seen = {
                let mut sockets = self.sockets();
                let lane = sockets.lane(header);
                if !lane.ready && !std::mem::take(&mut at_once) {
                    if header.cancelled() {
                        return Some(Event::last(op, Err(error::cancelled())));
                    }
                    header.let_go();
                    sockets.park(op);
                    self.count(&mut sockets, |waiting| waiting + 1);
                    return None;
                }
                lane.edges
            };
            at_once = false;
            // SAFETY: owned, see above; the socket is open because the operation holds its handle.
            let attempt = unsafe { attempt::attempt(header, &self.pool) };
            let (result, exhausted) = match attempt {
                Attempt::Done(result, exhausted) => (Some(result), exhausted),
                Attempt::WouldBlock => (None, true),
            };
            if exhausted {
                let mut sockets = self.sockets();
                let lane = sockets.lane(header);
                if lane.edges == seen && (result.is_none() || !lane.closed) {
                    lane.ready = false;
                }
            }
            if let Some(result) = result {
                return Some(Event::last(op, result));
            }
        }
    }
}

impl Driver for Readiness {
    fn attach(&self, socket: &Socket, medium: Medium) -> io::Result<u32> {
        let Some(fd) = socket.os() else { return Err(error::wrong_driver()) };
        if medium == Medium::File {
            return Ok(FILE);
        }
        attempt::prepare(fd, medium)?;
        self.sockets().add(|token| self.poller.add(fd, token))
    }

    fn detach(&self, socket: &Socket, token: u32) {
        if token == FILE {
            return;
        }
        if let Some(fd) = socket.os() {
            self.poller.delete(fd);
        }
        self.sockets().remove(token);
    }

    unsafe fn start(&self, op: NonNull<Header>) -> Option<Event> {
        // SAFETY: the caller's, and a constant of it.
        if unsafe { op.as_ref() }.kind.is_of_file() {
            // SAFETY: the caller hands it over.
            return unsafe { self.files.start(op) };
        }
        // SAFETY: the caller hands it over.
        unsafe { self.pursue(op) }
    }

    unsafe fn cancel(&self, op: NonNull<Header>) -> Option<Event> {
        // SAFETY: not settled yet (the contract), so it exists; only constants are read before it is found to be ours.
        let (target, side) = unsafe { (op.as_ref().target.get(), op.as_ref().kind.side()) };
        if target.token == FILE {
            return self.files.cancel(op);
        }
        {
            let mut sockets = self.sockets();
            if !sockets.unpark(op, target.token, side) {
                // Whoever took it out will find it cancelled if it would block.
                return None;
            }
            self.count(&mut sockets, |waiting| waiting - 1);
        }
        // SAFETY: taken out under the lock, so this thread owns it.
        let header = unsafe { op.as_ref() };
        header.take_up();
        // What has come is not lost, even when its edge has not been heard yet.
        // SAFETY: owned, as above.
        let result = match unsafe { attempt::attempt(header, &self.pool) } {
            Attempt::Done(result, _) => result,
            Attempt::WouldBlock => Err(error::cancelled()),
        };
        Some(Event::last(op, result))
    }

    fn wait(
        &self,
        timeout: Option<Duration>,
        most: usize,
        events: &mut Vec<Event>,
    ) -> io::Result<Option<Instant>> {
        let mut inbox = self.inbox();
        let Inbox { edges, ready, claimed } = &mut *inbox;
        edges.clear();
        let timeout = if ready.is_empty() { timeout } else { Some(Duration::ZERO) };
        self.poller.wait(timeout, edges)?;
        let since = {
            let mut sockets = self.sockets();
            edges.iter().for_each(|edge| sockets.hear(edge, ready, claimed));
            let since = ready.work_off(most, || self.now(), |op| claimed.push(op));
            self.count(&mut sockets, |waiting| waiting - claimed.len());
            since
        };
        // SAFETY: out of their lanes, so this thread owns them.
        events.extend(claimed.drain(..).filter_map(|op| unsafe { self.go_on(op) }));
        self.files.collect(events);
        Ok(since)
    }

    fn has_left(&self) -> bool {
        !self.inbox().ready.is_empty()
    }

    fn wake(&self) {
        self.poller.notify();
    }

    fn beside(&self) -> Option<Beside<'_>> {
        self.poller.descriptor().map(Beside::descriptor)
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn in_flight(&self) -> usize {
        self.waiting.load(Ordering::Relaxed) + self.files.in_flight()
    }
}
