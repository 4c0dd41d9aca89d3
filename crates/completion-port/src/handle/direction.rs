//! One direction of a handle: operations in call order, the first with the driver; or, of a file, all of them with the driver.

use std::{io, ptr::NonNull};

use crate::{
    error,
    operation::{Header, Queue, Side, abreast},
};

/// Who has closed a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    No,
    Handle,
    Port,
}

/// Which direction, and of what, in one byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// Of a stream or listener: one after the other.
    In,
    Out,
    /// Of a file: side by side.
    Reads,
    Writes,
}

pub(crate) struct Direction {
    lane: Lane,
    /// The operation that is with the driver, or waits to go back to it. It exists as long as it is named here. Of a file, the first of
    /// those that are ([`abreast`]).
    pub active: Option<NonNull<Header>>,
    queue: Queue,
    next_sequence: u64,
    /// How many are in the queue, or abreast: here, where it takes a gap's room.
    queued: u32,
    pub closed: Closed,
    /// Nothing more may be started: out, because sending is being shut down; in, because a graceful end is the last.
    pub finishing: bool,
    /// Of a graceful end, in: the other direction has sent everything.
    pub flushed: bool,
}

// Each connection has two, in the chunk that is counted at `Inner`.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Direction>() <= 32);

// SAFETY: what `active` names is owned as told in `crate::operation`, and reached through the direction's lock.
unsafe impl Send for Direction {}

impl Direction {
    pub(super) fn new(side: Side, abreast: bool, first_sequence: u64) -> Self {
        let lane = match (side, abreast) {
            (Side::In, false) => Lane::In,
            (Side::Out, false) => Lane::Out,
            (Side::In, true) => Lane::Reads,
            (Side::Out, true) => Lane::Writes,
        };
        Self {
            lane,
            active: None,
            queue: Queue::new(),
            next_sequence: first_sequence,
            queued: 0,
            closed: Closed::No,
            finishing: false,
            flushed: false,
        }
    }

    pub(super) fn side(&self) -> Side {
        match self.lane {
            Lane::In | Lane::Reads => Side::In,
            Lane::Out | Lane::Writes => Side::Out,
        }
    }

    /// Whether its operations are with the driver side by side.
    pub(super) fn is_abreast(&self) -> bool {
        matches!(self.lane, Lane::Reads | Lane::Writes)
    }

    /// Whether the next operation may go to the driver. While this is so, none waits in the queue, outside of the loop that empties it.
    pub(super) fn is_free(&self) -> bool {
        self.active.is_none() || self.is_abreast()
    }

    /// Names an operation that goes to the driver.
    pub(super) fn engage(&mut self, op: NonNull<Header>) {
        if self.is_abreast() {
            self.queued += 1;
            // SAFETY: it exists until it is released, as do those that are there, and `self` is borrowed behind the lock.
            unsafe { abreast::insert(&mut self.active, op) };
        } else {
            self.active = Some(op);
        }
    }

    /// Names it no longer, if it does: it is over, or goes on beside. One that has waited its turn is not named.
    pub(super) fn release(&mut self, op: NonNull<Header>) {
        if self.is_abreast() {
            self.queued -= 1;
            // SAFETY: it was engaged, and as above.
            unsafe { abreast::remove(&mut self.active, op) };
        } else if self.active == Some(op) {
            self.active = None;
        }
    }

    /// Nothing waits behind the operation that is with the driver, and nothing is to happen after it.
    pub(super) fn has_no_more(&self) -> bool {
        self.queued == 0 && !self.finishing && self.closed == Closed::No
    }

    /// All that are abreast, for who takes none out meanwhile.
    pub(super) fn abreast(&self, look: impl FnMut(NonNull<Header>)) {
        if self.is_abreast() {
            // SAFETY: those that are there exist, and `self` is borrowed behind the lock.
            unsafe { abreast::each(self.active, look) };
        }
    }

    /// That it is closed, as an error.
    pub(super) fn closed_by(&self) -> Option<io::Error> {
        match self.closed {
            Closed::Port => Some(error::port_closed()),
            Closed::Handle => Some(error::handle_closed()),
            Closed::No => None,
        }
    }

    /// Why no I/O can be started, if so.
    pub(super) fn refusal(&self, queue_limit: usize) -> Option<io::Error> {
        if let Some(closed) = self.closed_by() {
            return Some(closed);
        }
        if self.finishing {
            return Some(error::ending());
        }
        (self.queued as usize >= queue_limit).then(|| error::too_many_queued(queue_limit))
    }

    /// The next operation's sequence.
    pub(super) fn number(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence - 1
    }

    /// Takes ownership of an operation that is to wait its turn.
    pub(super) fn enqueue(&mut self, op: NonNull<Header>) {
        self.queue.push(op);
        self.queued += 1;
    }

    /// Hands ownership of the one whose turn it is out.
    pub(super) fn dequeue(&mut self) -> Option<NonNull<Header>> {
        let op = self.queue.pop()?;
        self.queued -= 1;
        Some(op)
    }

    /// All that wait, to be looked through; those that go on waiting are enqueued again.
    pub(super) fn take_queue(&mut self) -> Queue {
        self.queued = 0;
        std::mem::replace(&mut self.queue, Queue::new())
    }

    /// Looks at each operation here, the one with the driver first.
    pub(crate) fn each(&self, mut look: impl FnMut(&Header)) {
        // SAFETY: they exist, and only constants and atomics are looked at.
        self.abreast(|op| look(unsafe { op.as_ref() }));
        if let Some(op) = self.active.filter(|_| !self.is_abreast()) {
            // SAFETY: it exists as long as it is named here, and only constants and atomics are looked at.
            look(unsafe { op.as_ref() });
        }
        self.queue.each(look);
    }
}
