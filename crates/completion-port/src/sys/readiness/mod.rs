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

use std::{
    io,
    ptr::NonNull,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use slab::Slab;

use self::{attempt::Attempt, files::Files, poller::Poller};
use super::{Driver, Event, Medium, Socket, backlog::Backlog, beside::Beside};
use crate::{
    buffer::Pool,
    error,
    operation::{Header, OpKind, Side},
};

pub(crate) struct Readiness {
    poller: Arc<Poller>,
    files: Files,
    /// A socket's token is its index. A stale edge for an index that was used again costs one vain attempt.
    sockets: Mutex<Slab<[Lane; 2]>>,
    inbox: Mutex<Inbox>,
    in_flight: AtomicUsize,
    pool: Arc<Pool>,
}

/// What who waits has at hand.
#[derive(Default)]
struct Inbox {
    /// Kept for its memory.
    edges: Vec<poller::Edge>,
    /// Out of their lanes, to be attempted.
    ready: Backlog,
}

// SAFETY: the operations parked in the lanes are owned by the driver, and touched under the lock or by the one who took them out.
unsafe impl Send for Readiness {}
// SAFETY: as above.
unsafe impl Sync for Readiness {}

/// The token of files: none of the sockets'.
const FILE: u32 = u32::MAX;

/// One direction of one socket.
struct Lane {
    /// The last thing heard was that it is ready (or nothing yet: the first attempt finds out).
    ready: bool,
    /// The peer has closed or failed it: there is something to read even when a read came back short.
    closed: bool,
    edges: u32,
    parked: Option<NonNull<Header>>,
}

impl Lane {
    const fn new() -> Self {
        Self { ready: true, closed: false, edges: 0, parked: None }
    }
}

impl Readiness {
    pub(crate) fn new(pool: Arc<Pool>) -> io::Result<Self> {
        let poller = Arc::new(Poller::new()?);
        Ok(Self {
            files: Files::new(poller.clone()),
            poller,
            sockets: Mutex::new(Slab::new()),
            inbox: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            pool,
        })
    }

    fn sockets(&self) -> MutexGuard<'_, Slab<[Lane; 2]>> {
        crate::pause::here();
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        crate::pause::here();
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An operation that was parked is attempted.
    ///
    /// # Safety
    ///
    /// The caller has taken it out of its lane.
    unsafe fn go_on(&self, op: NonNull<Header>) -> Option<Event> {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe {
            op.as_ref().take_up();
            self.pursue(op)
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
        let index = header.target.get().token as usize;
        let side = header.kind.side();
        // Tried once whatever has been heard of the lane: an edge may be there that nobody has waited for yet.
        let mut at_once = header.is_for_at_once();
        loop {
            let seen = {
                let mut sockets = self.sockets();
                let lane = &mut sockets[index][side as usize];
                if !lane.ready && !std::mem::take(&mut at_once) {
                    if header.cancelled() {
                        return Some(Event::last(op, Err(error::cancelled())));
                    }
                    self.in_flight.fetch_add(1, Ordering::Relaxed);
                    header.let_go();
                    lane.parked = Some(op);
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
                let lane = &mut sockets[index][side as usize];
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
        let mut sockets = self.sockets();
        let entry = sockets.vacant_entry();
        let token = entry.key() as u32;
        self.poller.add(fd, token.into())?;
        entry.insert([Lane::new(), Lane::new()]);
        Ok(token)
    }

    fn detach(&self, socket: &Socket, token: u32) {
        if token == FILE {
            return;
        }
        if let Some(fd) = socket.os() {
            self.poller.delete(fd);
        }
        self.sockets().try_remove(token as usize);
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
            let lane = &mut sockets[target.token as usize][side as usize];
            if lane.parked != Some(op) {
                // Whoever took it out will find it cancelled if it would block.
                return None;
            }
            lane.parked = None;
        }
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
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
        let Inbox { edges, ready } = &mut *inbox;
        edges.clear();
        let timeout = if ready.is_empty() { timeout } else { Some(Duration::ZERO) };
        self.poller.wait(timeout, edges)?;
        for edge in edges.iter() {
            for side in [Side::In, Side::Out] {
                if !(if side == Side::In { edge.readable } else { edge.writable }) {
                    continue;
                }
                let op = {
                    let mut sockets = self.sockets();
                    // A socket that was detached since the edge was heard.
                    let Some(lanes) = sockets.get_mut(edge.token as usize) else { continue };
                    let lane = &mut lanes[side as usize];
                    lane.ready = true;
                    lane.closed |= edge.closed;
                    lane.edges = lane.edges.wrapping_add(1);
                    lane.parked.take()
                };
                let Some(op) = op else { continue };
                // SAFETY: a constant of an operation that was in a lane, so it is ours.
                match unsafe { op.as_ref() }.kind {
                    OpKind::Recv | OpKind::RecvLent => ready.push(op),
                    // SAFETY: taken out under the lock, so this thread owns it.
                    _ => events.extend(unsafe { self.go_on(op) }),
                }
            }
        }
        // SAFETY: as above, here or in an earlier call.
        let act = |op| events.extend(unsafe { self.go_on(op) });
        let since = ready.work_off(most, || self.now(), act);
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
        self.in_flight.load(Ordering::Relaxed) + self.files.in_flight()
    }
}
