//! Who gets which packet, and who sleeps where.
//!
//! Packets wait in one queue, first in, first out; threads wait on one stack, the newest on top, each parked on its own slot. One
//! waiting thread has the **seat**: it sleeps in the driver and brings in what the kernel has finished. The rules:
//!
//! - while any thread is parked, some thread has the seat, and no packet waits;
//! - a packet goes straight into the slot of the newest parked thread; if none is parked, the sleeper in the seat is woken;
//! - a thread that leaves the seat with a packet puts the newest parked thread into it.
//!
//! So completions never sit behind a handler while another thread waits, and when all threads wait, one sleeps in the kernel and the
//! others in their slots, with no timer.
//!
//! This is where the limit on running threads, the detection of blocked ones and the policy of waking will live (promises 5 to 7);
//! the rest of the library only knows [`Scheduler::next`], [`Scheduler::push`] and the seat.

mod membership;
mod sync;
pub(crate) mod timers;
mod waker;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use self::membership::Membership;
use self::sync::{Arc, Mutex, MutexGuard, Thread, thread};
pub(crate) use self::waker::{Park, Sleeper, ThreadSleeper, Waker};

/// After this many packets in a row from the queue, a free seat is used to look at the driver: posts alone must not starve I/O.
const LOOK_AFTER: u32 = 64;

pub(crate) struct Scheduler<P> {
    membership: Membership,
    state: Mutex<State<P>>,
}

struct State<P> {
    ready: VecDeque<P>,
    /// The newest last.
    parked: Vec<Arc<Parked<P>>>,
    seat: Seat,
    closed: bool,
    /// The closer has collected what there was.
    abandoned: bool,
    /// Something has changed that the holder of the seat is to look at before it falls asleep.
    alarm: bool,
    /// Packets taken from the queue since somebody last looked at the driver.
    since_look: u32,
    /// Who closes the port waits for the seat.
    closer: Option<Thread>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seat {
    Free,
    /// Somebody has it and is awake.
    Taken,
    /// Somebody sleeps in the driver.
    Asleep,
    /// ... and has been woken, so the next one need not.
    Woken,
}

struct Parked<P> {
    waker: Waker,
    slot: Mutex<Slot<P>>,
}

enum Slot<P> {
    Waiting,
    Packet(P),
    Seat,
    Closed,
}

/// What a thread that asked for a packet is to do.
pub(crate) enum Next {
    /// Packets were appended to its list.
    Taken,
    /// It has the seat: it drives, and then calls [`Scheduler::leave`] or [`Scheduler::next_in_seat`].
    Drive,
    TimedOut,
    /// There is something beside the port.
    Beside,
    Closed,
}

impl<P> Scheduler<P> {
    pub(crate) fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            parked: Vec::new(),
            seat: Seat::Free,
            closed: false,
            abandoned: false,
            alarm: false,
            since_look: 0,
            closer: None,
        };
        Self { membership: Membership::new(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State<P>> {
        sync::lock(&self.state)
    }

    /// The calling thread waits here: it belongs to this port until it waits at another (S46).
    pub(crate) fn join(&self) {
        self.membership.join();
    }

    /// Tells ports apart; never used twice.
    pub(crate) fn number(&self) -> u64 {
        self.membership.number()
    }

    /// Whether the calling thread belongs to this port.
    pub(crate) fn is_joined(&self) -> bool {
        self.membership.is_joined()
    }

    /// Up to `max` packets for the calling thread, or the seat, or a wait until `deadline`.
    ///
    /// `sleeper` is how the thread waits meanwhile; what comes beside the port does not keep it from a packet that it was given.
    pub(crate) fn next(
        &self,
        max: usize,
        out: &mut Vec<P>,
        deadline: Option<Instant>,
        sleeper: &mut impl Sleeper,
    ) -> Next {
        let parked = {
            let mut state = self.state();
            if state.closed {
                return Next::Closed;
            }
            let look = state.seat == Seat::Free
                && (state.ready.is_empty() || state.since_look >= LOOK_AFTER);
            if look {
                state.since_look = 0;
                state.seat = Seat::Taken;
                return Next::Drive;
            }
            if state.take(max, out) {
                return Next::Taken;
            }
            let parked =
                Arc::new(Parked { waker: sleeper.waker(), slot: Mutex::new(Slot::Waiting) });
            state.parked.push(parked.clone());
            parked
        };
        loop {
            // Not in the `match`: the slot's lock must not be held while the state's is taken.
            let slot = std::mem::replace(&mut *sync::lock(&parked.slot), Slot::Waiting);
            match slot {
                Slot::Waiting => {}
                Slot::Packet(packet) => {
                    out.push(packet);
                    self.state().take(max - 1, out);
                    return Next::Taken;
                }
                Slot::Seat => return Next::Drive,
                Slot::Closed => return Next::Closed,
            }
            let reason = match sleeper.park(deadline) {
                Park::Woken => continue,
                Park::TimedOut => Next::TimedOut,
                Park::Beside => Next::Beside,
            };
            let mut state = self.state();
            if let Some(at) = state.parked.iter().rposition(|other| Arc::ptr_eq(other, &parked)) {
                state.parked.remove(at);
                return reason;
            }
            // Somebody has just put something into the slot.
        }
    }

    /// The holder of the seat is about to sleep in the driver. False if there is something to do first.
    pub(crate) fn fall_asleep(&self) -> bool {
        let mut state = self.state();
        if std::mem::take(&mut state.alarm) || state.closed || !state.ready.is_empty() {
            return false;
        }
        state.seat = Seat::Asleep;
        true
    }

    /// The holder of the seat has come out of the driver.
    pub(crate) fn wake_up(&self) {
        self.state().seat = Seat::Taken;
    }

    /// Brings packets in. The holder of the seat takes up to `max` for itself and leaves the seat with them; if there is none
    /// (and the port is open), it keeps the seat.
    pub(crate) fn next_in_seat(&self, packets: &mut Vec<P>, max: usize, out: &mut Vec<P>) -> Next {
        let mut state = self.state();
        state.ready.extend(packets.drain(..));
        if state.closed {
            state.free_seat();
            return Next::Closed;
        }
        if !state.take(max, out) {
            return Next::Drive;
        }
        // The packets that came with it were looked for just now.
        state.since_look = 0;
        let woken = state.hand_out();
        let follower = state.free_seat();
        drop(state);
        woken.into_iter().chain(follower).for_each(Waker::wake);
        Next::Taken
    }

    /// For who has the port to itself: the seat, which is always free.
    pub(crate) fn sit_down(&self) -> Next {
        let mut state = self.state();
        if state.closed {
            return Next::Closed;
        }
        debug_assert_eq!(state.seat, Seat::Free, "a thread's own port has one thread");
        state.seat = Seat::Taken;
        Next::Drive
    }

    /// For who has the port to itself: takes all packets that are here, without a look at the driver.
    pub(crate) fn take_queued(&self, out: &mut Vec<P>) {
        self.state().take(usize::MAX, out);
    }

    /// Gives the seat up without a packet.
    pub(crate) fn leave(&self) {
        let follower = self.state().free_seat();
        if let Some(waker) = follower {
            waker.wake();
        }
    }

    /// Brings the packet of an operation in, from a thread that has no seat. True if the sleeper in the driver must be woken to
    /// take it. After the close it is the closer's.
    #[must_use]
    pub(crate) fn push(&self, packet: P) -> bool {
        self.push_to(self.state(), packet)
    }

    /// Brings a posted packet in, as [`Scheduler::push`] does, unless the port is closed.
    pub(crate) fn post(&self, packet: P) -> Result<bool, P> {
        let state = self.state();
        if state.closed { Err(packet) } else { Ok(self.push_to(state, packet)) }
    }

    fn push_to(&self, mut state: MutexGuard<'_, State<P>>, packet: P) -> bool {
        state.ready.push_back(packet);
        let woken = state.hand_out();
        let rouse = !state.ready.is_empty() && state.rouse();
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        rouse
    }

    /// Something else has changed (a timer, a buffer): the holder of the seat is to look again. True if it sleeps in the driver
    /// and must be woken.
    #[must_use]
    pub(crate) fn rouse(&self) -> bool {
        let mut state = self.state();
        state.alarm = true;
        state.rouse()
    }

    /// Every waiting and every later caller is told. True if the sleeper in the driver must be woken; false for a second close.
    pub(crate) fn close(&self) -> Option<bool> {
        let mut state = self.state();
        if std::mem::replace(&mut state.closed, true) {
            return None;
        }
        let parked = std::mem::take(&mut state.parked);
        for one in &parked {
            *sync::lock(&one.slot) = Slot::Closed;
        }
        let rouse = state.rouse();
        drop(state);
        parked.iter().for_each(|one| one.waker.clone().wake());
        Some(rouse)
    }

    /// After [`Scheduler::close`]: takes the seat from whoever has it, waiting until `deadline`. False if it is not given up.
    pub(crate) fn take_seat_to_close(&self, deadline: Option<Instant>) -> bool {
        loop {
            {
                let mut state = self.state();
                if state.seat == Seat::Free {
                    state.seat = Seat::Taken;
                    state.closer = None;
                    return true;
                }
                state.closer = Some(thread::current());
            }
            if !sync::park_until(deadline) {
                return false;
            }
        }
    }

    /// For the closer: all packets that nobody has taken. It does not come again.
    pub(crate) fn drain(&self) -> VecDeque<P> {
        let mut state = self.state();
        state.abandoned = true;
        std::mem::take(&mut state.ready)
    }

    /// Packets that were brought in when the closer had gone: whoever brought them drops them.
    pub(crate) fn leftovers(&self) -> VecDeque<P> {
        let mut state = self.state();
        if state.abandoned { std::mem::take(&mut state.ready) } else { VecDeque::new() }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Packets that wait for a thread, and threads that wait for a packet.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let state = self.state();
        let seated = usize::from(matches!(state.seat, Seat::Asleep | Seat::Woken));
        (state.ready.len(), state.parked.len() + seated)
    }
}

impl<P> State<P> {
    fn take(&mut self, max: usize, out: &mut Vec<P>) -> bool {
        let count = self.ready.len().min(max);
        out.extend(self.ready.drain(..count));
        self.since_look = self.since_look.saturating_add(count as u32);
        count > 0
    }

    /// Puts the oldest packets into the slots of the newest threads. Those are to be woken when the lock is free.
    fn hand_out(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        while !self.ready.is_empty() {
            let Some(parked) = self.parked.pop() else { break };
            if let Some(packet) = self.ready.pop_front() {
                *sync::lock(&parked.slot) = Slot::Packet(packet);
                woken.push(parked.waker.clone());
            }
        }
        woken
    }

    /// Frees the seat, or puts the newest parked thread into it. The returned one is to be woken when the lock is free.
    fn free_seat(&mut self) -> Option<Waker> {
        if let Some(parked) = self.parked.pop() {
            self.seat = Seat::Taken;
            *sync::lock(&parked.slot) = Slot::Seat;
            return Some(parked.waker.clone());
        }
        self.seat = Seat::Free;
        if let Some(closer) = self.closer.take() {
            closer.unpark();
        }
        None
    }

    fn rouse(&mut self) -> bool {
        if self.seat == Seat::Asleep {
            self.seat = Seat::Woken;
            return true;
        }
        false
    }
}

/// How long until `deadline`; `None` for ever.
pub(crate) fn until(deadline: Option<Instant>, now: Instant) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(now))
}

#[cfg(all(test, completion_port_loom))]
mod loom_tests;
