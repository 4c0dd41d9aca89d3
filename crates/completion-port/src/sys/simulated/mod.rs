//! The simulated driver: a network in memory, a virtual clock, and faults drawn from a seed.
//!
//! The real port runs on it unchanged, one history a seed, so the promises can be tested by the hundred thousand and a failing
//! history replays. Time passes only when somebody waits: [`Driver::wait`] moves the clock to the next thing that happens.
//!
//! - [`world`]: the sockets and what is in them. [`faults`]: what goes wrong, and how often.
//! - [`api`]: what a test sees, public as `completion_port::simulated`.
//! - this file: the driver: when an operation's condition holds, and how it then ends.

pub mod api;
mod faults;
mod world;

use std::{
    io,
    ptr::NonNull,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use self::world::Socket;
use self::{
    faults::Fate,
    world::{State, World},
};
use super::{Accepted, Driver, Event, Medium, Output, Socket as AnySocket, beside::Beside};
use crate::{
    buffer::Pool,
    error,
    operation::{Detail, Header, OpKind},
};

pub(crate) struct Simulated {
    world: Arc<World>,
    pool: Arc<Pool>,
}

/// An operation that is with the driver.
#[derive(Clone, Copy)]
pub(super) struct Pending {
    op: NonNull<Header>,
    /// It may end from this moment of the virtual clock on, if its condition holds.
    due: Duration,
    /// A cancel was asked for, and takes effect then.
    cancel: Option<Duration>,
    fate: Fate,
}

// SAFETY: a pending operation is the driver's, which is used behind the world's lock.
unsafe impl Send for Pending {}

impl Simulated {
    /// The driver of a network's one port.
    pub(crate) fn new(world: Arc<World>, pool: Arc<Pool>) -> io::Result<Self> {
        if std::mem::replace(&mut world.state().taken, true) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this simulated network has its port; make a network for each",
            ));
        }
        Ok(Self { world, pool })
    }

    /// Ends `op` if its condition holds now.
    ///
    /// # Safety
    ///
    /// The driver owns `op`.
    unsafe fn attempt(&self, state: &mut State, op: NonNull<Header>) -> Option<io::Result<Output>> {
        // SAFETY: owned.
        let (header, work) = unsafe { (op.as_ref(), op.as_ref().work()) };
        let id = header.target.get().token as usize;
        match header.kind {
            OpKind::Recv => {
                let (to, room) = work.buffer.spare_parts();
                Some(state.receive(id, room)?.map(|bytes| {
                    // SAFETY: at most `room` bytes, into the buffer's own spare room.
                    unsafe {
                        to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                        work.buffer.fill(bytes.len());
                    }
                    Output::Bytes(bytes.len())
                }))
            }
            OpKind::RecvLent | OpKind::End => {
                if !state.readable(id) {
                    return None;
                }
                // Before the buffer: to drop one here would wake the driver that is locked here.
                if let Some(e) = state.failure(id) {
                    return Some(Err(e));
                }
                let starve = state.faults.starve;
                let lent = if state.faults.strike(starve) { None } else { self.pool.lend() };
                let Some(mut buffer) = lent else { return Some(Ok(Output::Starved)) };
                buffer.extend_from_slice(&state.receive(id, buffer.spare())?.ok()?);
                let received = buffer.len();
                work.buffer = buffer;
                Some(Ok(Output::Bytes(received)))
            }
            OpKind::Send => {
                let bytes = match &work.detail {
                    Detail::Gather(gather) => gather.unsent(),
                    _ => work.buffer[work.done..].to_vec(),
                };
                Some(state.send(id, &bytes)?.map(Output::Bytes))
            }
            OpKind::Accept | OpKind::AcceptEach => {
                let accepted = state.accept(id)?;
                let socket = AnySocket::Simulated(Socket::new(self.world.clone(), accepted));
                Some(Ok(Output::Accepted(Accepted { socket, peer: None })))
            }
            OpKind::Connect if !matches!(work.detail, Detail::Connect(_)) => {
                Some(state.send(id, &work.buffer[work.done..])?.map(Output::Bytes))
            }
            OpKind::Connect => Some(state.connect(id).map(|()| Output::Bytes(0))),
            OpKind::Post | OpKind::Timer | OpKind::Every | OpKind::Disconnect => {
                Some(Ok(Output::Bytes(0)))
            }
            // Its network has streams only, and a real socket is refused when it is to be associated.
            OpKind::RecvFrom | OpKind::RecvFromLent | OpKind::RecvFromEach | OpKind::SendTo => {
                Some(Err(error::wrong_driver()))
            }
            // There are no files here to be associated.
            OpKind::ReadAt | OpKind::WriteAt | OpKind::Sync | OpKind::SyncData => {
                Some(Err(error::wrong_kind()))
            }
            // Refused when it is started.
            OpKind::AcceptWith | OpKind::TransmitFile => Some(Err(error::not_here())),
        }
    }

    /// Ends the pending operation at `at` if it can end now.
    fn finish(&self, state: &mut State, at: usize) -> Option<Event> {
        let Pending { op, due, cancel, fate } = state.pending[at];
        let now = state.now;
        let result = if fate == Fate::Spurious && due <= now {
            // As io_uring does when the submitting thread exits.
            Some(Err(error::cancelled()))
        } else if fate == Fate::Queued {
            return None;
        } else if due <= now {
            // SAFETY: pending, so the driver's.
            unsafe { self.attempt(state, op) }
        } else {
            None
        };
        let result = match result {
            Some(result) => result,
            None if cancel.is_some_and(|cancel| cancel <= now) => Err(error::cancelled()),
            None => return None,
        };
        state.pending.swap_remove(at);
        Some(Event::last(op, result))
    }
}

impl Driver for Simulated {
    fn attach(&self, socket: &AnySocket, _: Medium) -> io::Result<u32> {
        match socket {
            AnySocket::Simulated(socket) if socket.is_of(&self.world) => Ok(socket.id() as u32),
            _ => Err(error::wrong_driver()),
        }
    }

    fn detach(&self, _: &AnySocket, _: u32) {}

    unsafe fn start(&self, op: NonNull<Header>) -> Option<Event> {
        let mut state = self.world.state();
        let (delay, fate, at_once) = state.faults.start();
        if at_once {
            // SAFETY: just handed over.
            if let Some(result) = unsafe { self.attempt(&mut state, op) } {
                return Some(Event::last(op, result));
            }
        }
        let due = state.now + delay;
        state.pending.push(Pending { op, due, cancel: None, fate });
        drop(state);
        self.world.changed();
        None
    }

    unsafe fn cancel(&self, op: NonNull<Header>) -> Option<Event> {
        let mut state = self.world.state();
        let (delay, at_once) = state.faults.cancel();
        let now = state.now;
        let at = state.pending.iter().position(|pending| pending.op == op)?;
        let pending = &mut state.pending[at];
        if pending.fate == Fate::Uncancellable {
            return None;
        }
        pending.cancel = Some(now + delay);
        if at_once {
            pending.cancel = Some(now);
            pending.due = now;
            return self.finish(&mut state, at);
        }
        drop(state);
        self.world.changed();
        None
    }

    fn wait(
        &self,
        timeout: Option<Duration>,
        _most: usize,
        events: &mut Vec<Event>,
    ) -> io::Result<Option<Instant>> {
        let mut state = self.world.state();
        // There is room in the system's queue now.
        for pending in state.pending.iter_mut().filter(|pending| pending.fate == Fate::Queued) {
            pending.fate = Fate::Ordinary;
        }
        let deadline = timeout.map(|timeout| state.now.saturating_add(timeout));
        loop {
            // In an order of the seed's choice, and not always all that could end.
            for _ in 0..state.pending.len() {
                let count = state.pending.len();
                let at = state.faults.below(count);
                if let Some(event) = self.finish(&mut state, at) {
                    events.push(event);
                    if state.pending.is_empty() || state.faults.one_in(3) {
                        break;
                    }
                }
            }
            if std::mem::take(&mut state.woken) || !events.is_empty() {
                return Ok(None);
            }
            // Whoever was passed over by the draw above comes before time passes.
            if let Some(event) = (0..state.pending.len()).find_map(|at| self.finish(&mut state, at))
            {
                events.push(event);
                return Ok(None);
            }
            let now = state.now;
            let next = state
                .pending
                .iter()
                .flat_map(|one| [Some(one.due), one.cancel])
                .flatten()
                .filter(|at| *at > now)
                .min();
            match (next, deadline) {
                (Some(next), Some(deadline)) if deadline < next => state.now = deadline,
                (Some(next), _) => state.now = next,
                (None, Some(deadline)) => state.now = deadline,
                (None, None) => {
                    state = self.world.sleep(state);
                    continue;
                }
            }
            if next.is_none() || deadline.is_some_and(|deadline| deadline <= state.now) {
                return Ok(None);
            }
        }
    }

    fn wake(&self) {
        self.world.state().woken = true;
        self.world.changed();
    }

    fn beside(&self) -> Option<Beside<'_>> {
        // Its clock stands still while it is slept on from outside.
        None
    }

    fn is_timely(&self) -> bool {
        false
    }

    fn now(&self) -> Instant {
        self.world.now()
    }

    fn millis(&self) -> u32 {
        self.world.state().now.as_millis() as u32
    }

    fn in_flight(&self) -> usize {
        self.world.state().pending.len()
    }
}
