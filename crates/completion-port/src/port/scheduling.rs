//! Who decides which thread runs: the library's scheduler, or the system, where that has a port of its own.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Instant,
};

use crate::{
    schedule::{Counters, Release, Scheduler, SystemQueue, Waking, Workplace},
    sys::Drivers,
};

#[allow(clippy::large_enum_variant, reason = "a port has one, and asks it for every packet")]
pub(crate) enum Scheduling<P> {
    Library(Scheduler<P>),
    System(SystemQueue<P>),
}

impl<P> Scheduling<P> {
    pub(super) fn new(
        drivers: &Arc<Drivers>,
        limit: usize,
        (waking, release): (Waking, Release),
    ) -> Self {
        match drivers.system_port() {
            Some(port) => Self::System(SystemQueue::new(port)),
            None => {
                let count = drivers.len();
                Self::Library(Scheduler::new(drivers.clone(), count, limit, waking, release))
            }
        }
    }

    /// Tells ports apart; never used twice.
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Library(scheduler) => scheduler.number(),
            Self::System(queue) => queue.number(),
        }
    }

    pub(super) fn set_workplace(&self, workplace: Weak<dyn Workplace>) {
        match self {
            Self::Library(scheduler) => scheduler.set_workplace(workplace),
            Self::System(queue) => queue.set_workplace(workplace),
        }
    }

    /// Whether the calling thread belongs to this port.
    pub(crate) fn is_joined(&self) -> bool {
        match self {
            Self::Library(scheduler) => scheduler.is_joined(),
            Self::System(queue) => queue.is_joined(),
        }
    }

    /// The calling thread waits here: it belongs to this port until it waits at another (S46).
    pub(crate) fn join(&self) {
        match self {
            Self::Library(scheduler) => scheduler.join(),
            Self::System(queue) => queue.join(),
        }
    }

    /// A worker leaves for another port, or for good (S53, S54).
    pub(super) fn dismiss(&self, worker: usize) {
        match self {
            Self::Library(scheduler) => scheduler.dismiss(worker),
            Self::System(queue) => queue.dismiss(),
        }
    }

    /// A worker gives up its place and keeps its number. False if it has none; or if the system hears of that by itself.
    pub(super) fn block(&self, worker: usize) -> bool {
        match self {
            Self::Library(scheduler) => scheduler.block(worker),
            Self::System(_) => false,
        }
    }

    /// A worker that gave up its place runs again (S51).
    pub(super) fn unblock(&self, worker: usize) {
        if let Self::Library(scheduler) = self {
            scheduler.unblock(worker);
        }
    }

    /// The driver for what the calling thread starts.
    pub(super) fn home(&self) -> usize {
        match self {
            Self::Library(scheduler) => scheduler.home(),
            Self::System(_) => 0,
        }
    }

    /// The calling thread has started an operation in that driver. False if that is to be handed over at once.
    pub(super) fn started(&self, driver: usize) -> bool {
        match self {
            Self::Library(scheduler) => scheduler.started(driver),
            Self::System(_) => true,
        }
    }

    /// Brings the packet of an operation in. After the close it is the closer's.
    pub(crate) fn push(&self, packet: P) {
        match self {
            Self::Library(scheduler) => scheduler.push(packet),
            Self::System(queue) => queue.push(packet),
        }
    }

    /// Brings a posted packet in, unless the port is closed.
    pub(crate) fn post(&self, packet: P) -> Result<(), P> {
        match self {
            Self::Library(scheduler) => scheduler.post(packet),
            Self::System(queue) => queue.post(packet),
        }
    }

    /// For who has the port to itself, which only the library's scheduler can tell: takes all packets that are here.
    pub(crate) fn take_queued(&self, out: &mut Vec<P>) {
        if let Self::Library(scheduler) = self {
            scheduler.take_queued(out);
        }
    }

    /// A timer was armed. Whoever sleeps for longer than to its time is to look again.
    pub(crate) fn armed(&self, late: bool) {
        if late { self.rouse() } else { self.take_into_use() }
    }

    /// The port is more than posted to from now on.
    pub(super) fn take_into_use(&self) {
        if let Self::Library(scheduler) = self {
            scheduler.take_into_use();
        }
    }

    /// Something has changed beside operations (a timer, a buffer): somebody is to look.
    pub(crate) fn rouse(&self) {
        match self {
            Self::Library(scheduler) => scheduler.rouse(),
            Self::System(queue) => queue.rouse(),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Library(scheduler) => scheduler.is_closed(),
            Self::System(queue) => queue.is_closed(),
        }
    }

    /// Every waiting and every later caller is told. False for a second close.
    pub(super) fn close(&self) -> bool {
        match self {
            Self::Library(scheduler) => scheduler.close(),
            Self::System(queue) => queue.close(),
        }
    }

    /// After the close: waits until nobody is about to bring packets in any more, or until `deadline`. False if somebody is.
    pub(super) fn wait_for_others(&self, deadline: Option<Instant>) -> bool {
        match self {
            Self::Library(scheduler) => scheduler.wait_for_seats(deadline),
            Self::System(queue) => queue.wait_for_waiters(deadline),
        }
    }

    /// For the closer: all packets that nobody has taken. It does not come again.
    pub(super) fn drain(&self) -> VecDeque<P> {
        match self {
            Self::Library(scheduler) => scheduler.drain(),
            Self::System(queue) => queue.drain(),
        }
    }

    /// Packets that wait for a thread, threads that wait for a packet, and threads that run with one.
    pub(super) fn waiting(&self) -> (usize, usize, usize) {
        match self {
            Self::Library(scheduler) => scheduler.waiting(),
            Self::System(queue) => queue.waiting(),
        }
    }

    /// What the library's scheduler has done.
    pub(super) fn counters(&self) -> Counters {
        match self {
            Self::Library(scheduler) => scheduler.counters(),
            Self::System(_) => Counters::default(),
        }
    }
}
