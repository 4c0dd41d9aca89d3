//! Who runs, who gets which packet, and who sleeps where.
//!
//! Packets wait in one queue, first in, first out; threads wait on one stack, the newest on top, each parked on its own slot. One
//! waiting thread at most has the **seat**: it sleeps in the driver and brings in what the kernel has finished. A thread that has
//! come out with a packet is a **running worker** until it comes back, blocks, or exits. The rules:
//!
//! - **The limit.** At most `limit` workers run (S47). A worker that waits in this library, or in [`blocking`], gives up its place at
//!   once (S49); one that blocks elsewhere when a look finds it blocked ([`watch`]); one that returns is counted again, beyond the
//!   limit if need be (S51).
//! - **Hand-off.** A packet that may run goes straight to the newest waiter (S41, S42), unless the waiter in the driver has brought it
//!   in itself: that one takes it. A worker that comes back takes the next one, and nobody is woken (S48).
//! - **Waking late** ([`Waking`]). While a worker runs and comes back in time, packets wait for it, and so does the driver: it looks
//!   there when it comes back. Another waiter is woken when a packet has waited for [`policy::KEPT_UP`], when the worker does not
//!   come back from look to look, or, for [`policy::WARY`] after somebody was seen to be blocked, at once. The figures are measured
//!   in `docs/scheduling.md`.
//! - **No orphan.** While a thread waits, the driver is never left alone for longer than a look: if nobody runs, a waiter is in it; if
//!   those who run do not come back, the newest waiter takes the seat, also when the limit does not let it take packets.
//! - **Idle is free.** When all wait, one sleeps in the driver and the others in their slots, and nobody keeps watch.
//!
//! Where things are: [`state`], the transitions behind the one lock; [`watch`], how those who are out are looked at; [`worker`], a
//! thread as a worker of a port, and [`blocking`]; [`waker`], how a thread waits; [`policy`], what can be chosen, and the figures.

mod counters;
mod policy;
mod state;
mod sync;
pub(crate) mod timers;
mod waker;
mod watch;
mod worker;

use std::{
    collections::VecDeque,
    sync::{Arc as StdArc, OnceLock, Weak},
    time::{Duration, Instant},
};

pub use self::{
    counters::Counters,
    policy::{Release, Waking},
    worker::blocking,
};
use self::{
    state::{Parked, Seat, Slot, State, Wakes, Worker},
    sync::{Arc, Mutex, MutexGuard, thread},
};
pub(crate) use self::{
    waker::{Park, Sleeper, ThreadSleeper, Waker},
    worker::Workplace,
};
use crate::sys::{punctual::Punctual, thread_state::Observer};

/// After this many packets in a row from the queue, a free seat is used to look at the driver: posts alone must not starve I/O.
const LOOK_AFTER: u32 = 64;

/// Where the one in the seat sleeps.
pub(crate) trait Bed: Send + Sync {
    /// Wakes it, or the next to lie down.
    fn wake(&self);
    /// Whether [`kick`](Bed::kick) is for something.
    fn wants_kicks(&self) -> bool;
    /// Has the kernel bring in what lies with threads that run.
    fn kick(&self);
    /// The clock by which packets wait and looks are taken.
    fn now(&self) -> Instant;
}

pub(crate) struct Scheduler<P> {
    number: u64,
    workplace: OnceLock<Weak<dyn Workplace>>,
    bed: StdArc<dyn Bed>,
    state: Mutex<State<P>>,
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
    pub(crate) fn new(
        bed: StdArc<dyn Bed>,
        limit: usize,
        waking: Waking,
        release: Release,
    ) -> Self {
        let kickable = bed.wants_kicks();
        Self {
            number: worker::number(),
            workplace: OnceLock::new(),
            bed,
            state: Mutex::new(State::new(limit, waking, release, kickable)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<P>> {
        sync::lock(&self.state)
    }

    /// Wakes who is to be woken. The lock is free.
    fn carry_out(&self, wakes: Wakes) {
        wakes.wakers.into_iter().for_each(Waker::wake);
        if wakes.rouse {
            self.bed.wake();
        }
    }

    /// What this is the scheduler of. Without it, threads that wait here are never counted.
    pub(crate) fn set_workplace(&self, workplace: Weak<dyn Workplace>) {
        let _once = self.workplace.set(workplace);
    }

    /// The calling thread waits here: it belongs to this port until it waits at another (S46).
    pub(crate) fn join(&self) {
        if self.is_joined() {
            return;
        }
        if let Some(workplace) = self.workplace.get() {
            worker::join(self.number, workplace.clone(), || self.enrol());
        }
    }

    fn enrol(&self) -> usize {
        let observer = StdArc::new(Observer::of_this_thread());
        self.state().workers.insert(Worker { observer, counted: false, turns: 0, out: None })
    }

    /// Tells ports apart; never used twice.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether the calling thread belongs to this port.
    pub(crate) fn is_joined(&self) -> bool {
        self.me().is_some()
    }

    /// The calling thread as a worker of this port.
    fn me(&self) -> Option<usize> {
        worker::at(self.number)
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
        match self.begin(self.me(), max, out, || sleeper.waker()) {
            Ok(next) => next,
            Err(parked) => self.wait(&parked, max, out, deadline, sleeper),
        }
    }

    /// A worker comes for packets: what it is to do at once, or its place among the waiters.
    fn begin(
        &self,
        me: Option<usize>,
        max: usize,
        out: &mut Vec<P>,
        waker: impl FnOnce() -> Waker,
    ) -> Result<Next, Arc<Parked<P>>> {
        let mut state = self.state();
        state.uncount(me);
        if state.closed {
            return Ok(Next::Closed);
        }
        let now = self.bed.now();
        let look = state.seat == Seat::Free
            && state.may_run()
            && (state.ready.is_empty() || state.since_look >= LOOK_AFTER);
        if look {
            state.since_look = 0;
            state.seat = Seat::Taken;
            state.seated = state.arrive();
            state.seated_worker = me;
            return Ok(Next::Drive);
        }
        let taken = state.take(me, max, out, now);
        let parked = (!taken).then(|| {
            let arrival = state.arrive();
            let parked = Arc::new(Parked {
                waker: waker(),
                slot: Mutex::new(Slot::Waiting),
                arrival,
                worker: me,
            });
            state.parked.push(parked.clone());
            parked
        });
        let wakes = state.settle(now);
        drop(state);
        self.carry_out(wakes);
        match parked {
            None => Ok(Next::Taken),
            Some(parked) => Err(parked),
        }
    }

    fn wait(
        &self,
        parked: &Arc<Parked<P>>,
        max: usize,
        out: &mut Vec<P>,
        deadline: Option<Instant>,
        sleeper: &mut impl Sleeper,
    ) -> Next {
        let mut punctual = None;
        loop {
            // Before the slot is looked at: whoever makes this thread the one to keep watch wakes it afterwards.
            let look = self.next_look(parked);
            if let Some(next) = self.given(parked, max, out) {
                return next;
            }
            let until = [deadline, look].into_iter().flatten().min();
            if look.is_some() && punctual.is_none() {
                punctual = Some(Punctual::new());
            }
            let reason = match sleeper.park(until) {
                Park::Woken => continue,
                Park::TimedOut if until < deadline || deadline.is_none() => {
                    self.look();
                    continue;
                }
                Park::TimedOut => Next::TimedOut,
                Park::Beside => Next::Beside,
            };
            if self.give_up(parked) {
                return reason;
            }
            // Somebody has just put something into the slot.
        }
    }

    /// A waiter waits no longer. False if it was given something.
    fn give_up(&self, parked: &Arc<Parked<P>>) -> bool {
        let mut state = self.state();
        if !state.unpark(parked) {
            return false;
        }
        // It has not taken a packet, and counts as running all the same (S52).
        let now = self.bed.now();
        state.count(parked.worker, now);
        let wakes = state.settle(now);
        drop(state);
        self.carry_out(wakes);
        true
    }

    /// What a waiter was given, if it was.
    fn given(&self, parked: &Arc<Parked<P>>, max: usize, out: &mut Vec<P>) -> Option<Next> {
        // Not in the `match`: the slot's lock must not be held while the state's is taken.
        let slot = std::mem::replace(&mut *sync::lock(&parked.slot), Slot::Waiting);
        match slot {
            Slot::Waiting => None,
            Slot::Packet(packet) => {
                out.push(packet);
                let now = self.bed.now();
                let mut state = self.state();
                state.come_out(parked.worker, now);
                state.take_more(max - 1, out, now);
                Some(Next::Taken)
            }
            Slot::Seat => Some(Next::Drive),
            Slot::Closed => Some(Next::Closed),
        }
    }

    /// The holder of the seat is about to sleep in the driver. `None` if there is something to do first; otherwise how long it may
    /// sleep, if not for ever: it keeps watch where nobody else can.
    pub(crate) fn fall_asleep(&self) -> Option<Option<Duration>> {
        let mut state = self.state();
        let to_take = !state.ready.is_empty() && state.may_run();
        if std::mem::take(&mut state.alarm) || state.closed || to_take {
            return None;
        }
        let watch = state.watch_from_seat();
        state.seat = Seat::Asleep;
        state.seat_watches = watch.is_some();
        Some(watch)
    }

    /// The holder of the seat has come out of the driver.
    pub(crate) fn wake_up(&self) {
        let mut state = self.state();
        state.seat = Seat::Taken;
        let look = state.watch_from_seat().is_some();
        drop(state);
        if look {
            self.look();
        }
    }

    /// Brings packets in. The holder of the seat takes up to `max` for itself and leaves the seat with them; if there is none for
    /// it (and the port is open), it keeps the seat.
    pub(crate) fn next_in_seat(&self, packets: &mut Vec<P>, max: usize, out: &mut Vec<P>) -> Next {
        self.next_in_seat_for(self.me(), packets, max, out)
    }

    fn next_in_seat_for(
        &self,
        me: Option<usize>,
        packets: &mut Vec<P>,
        max: usize,
        out: &mut Vec<P>,
    ) -> Next {
        let now = self.bed.now();
        let mut state = self.state();
        for packet in packets.drain(..) {
            state.push(packet, now);
        }
        let next = if let Some(packet) = state.reserved.take() {
            // It was given that while it slept, and was counted then.
            out.push(packet);
            state.come_out(me, now);
            state.take_more(max - 1, out, now);
            state.since_look = 0;
            state.free_seat();
            Next::Taken
        } else if state.closed {
            state.free_seat();
            Next::Closed
        } else if state.take(me, max, out, now) {
            // The packets that came with it were looked for just now.
            state.since_look = 0;
            state.free_seat();
            Next::Taken
        } else {
            Next::Drive
        };
        let wakes = state.settle(now);
        drop(state);
        self.carry_out(wakes);
        next
    }

    /// For who has the port to itself: the seat, which is always free.
    pub(crate) fn sit_down(&self) -> Next {
        let mut state = self.state();
        if state.closed {
            return Next::Closed;
        }
        debug_assert!(state.seat == Seat::Free, "a thread's own port has one thread");
        state.seat = Seat::Taken;
        Next::Drive
    }

    /// For who has the port to itself: takes all packets that are here, without a look at the driver.
    pub(crate) fn take_queued(&self, out: &mut Vec<P>) {
        self.state().take_more(usize::MAX, out, self.bed.now());
    }

    /// Gives the seat up without a packet. The thread counts as running if it goes back to its user (S52).
    pub(crate) fn leave(&self, goes_back: bool) {
        self.leave_for(self.me(), goes_back);
    }

    fn leave_for(&self, me: Option<usize>, goes_back: bool) {
        let now = self.bed.now();
        let mut state = self.state();
        if let Some(packet) = state.reserved.take() {
            // It goes for another reason than that packet.
            state.ready.push_front((packet, now));
        }
        state.free_seat();
        if goes_back {
            state.count(me, now);
        }
        let wakes = state.settle(now);
        drop(state);
        self.carry_out(wakes);
    }

    /// Brings the packet of an operation in, from a thread that has no seat. After the close it is the closer's.
    pub(crate) fn push(&self, packet: P) {
        self.push_to(self.state(), packet);
    }

    /// Brings a posted packet in, as [`Scheduler::push`] does, unless the port is closed.
    pub(crate) fn post(&self, packet: P) -> Result<(), P> {
        let state = self.state();
        if state.closed {
            return Err(packet);
        }
        self.push_to(state, packet);
        Ok(())
    }

    fn push_to(&self, mut state: MutexGuard<'_, State<P>>, packet: P) {
        let now = self.bed.now();
        state.push(packet, now);
        let wakes = state.settle(now);
        drop(state);
        self.carry_out(wakes);
    }

    /// Something else has changed (a timer, a buffer): the holder of the seat is to look again.
    pub(crate) fn rouse(&self) {
        let mut state = self.state();
        state.alarm = true;
        let rouse = state.rouse();
        drop(state);
        if rouse {
            self.bed.wake();
        }
    }

    /// Every waiting and every later caller is told. False for a second close.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.state();
        if std::mem::replace(&mut state.closed, true) {
            return false;
        }
        state.watch = None;
        let parked = std::mem::take(&mut state.parked);
        for one in &parked {
            *sync::lock(&one.slot) = Slot::Closed;
        }
        let rouse = state.rouse();
        drop(state);
        parked.iter().for_each(|one| one.waker.clone().wake());
        if rouse {
            self.bed.wake();
        }
        true
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
        state.ready.drain(..).map(|(packet, _)| packet).collect()
    }

    /// Packets that were brought in when the closer had gone: whoever brought them drops them.
    pub(crate) fn leftovers(&self) -> VecDeque<P> {
        let mut state = self.state();
        if !state.abandoned {
            return VecDeque::new();
        }
        state.ready.drain(..).map(|(packet, _)| packet).collect()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Packets that wait for a thread, threads that wait for a packet, and threads that run with one.
    pub(crate) fn waiting(&self) -> (usize, usize, usize) {
        let state = self.state();
        let seated = usize::from(matches!(state.seat, Seat::Asleep | Seat::Woken));
        (state.ready.len(), state.parked.len() + seated, state.active)
    }

    pub(crate) fn counters(&self) -> Counters {
        self.state().counters
    }

    /// A worker gives up its place and keeps its number. False if it has none.
    pub(crate) fn block(&self, worker: usize) -> bool {
        let mut state = self.state();
        let counted = state.uncount(Some(worker));
        if counted {
            state.counters.released_by_accounting += 1;
        }
        let wakes = state.settle(self.bed.now());
        drop(state);
        self.carry_out(wakes);
        counted
    }

    /// A worker runs again (S51).
    pub(crate) fn unblock(&self, worker: usize) {
        let now = self.bed.now();
        self.state().count(Some(worker), now);
    }

    /// A worker leaves for another port, or for good (S53, S54).
    pub(crate) fn dismiss(&self, worker: usize) {
        let mut state = self.state();
        state.uncount(Some(worker));
        // Dropped without the lock: it closes a file.
        let gone = state.workers.try_remove(worker);
        let wakes = state.settle(self.bed.now());
        drop(state);
        drop(gone);
        self.carry_out(wakes);
    }
}

/// How long until `deadline`; `None` for ever.
pub(crate) fn until(deadline: Option<Instant>, now: Instant) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(now))
}

#[cfg(all(test, not(completion_port_loom)))]
mod late_tests;
#[cfg(all(test, completion_port_loom))]
mod loom_tests;
#[cfg(all(test, not(completion_port_loom)))]
mod nt_model;
