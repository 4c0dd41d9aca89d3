//! Who runs, who gets which packet, and who sleeps where.
//!
//! Packets wait in one queue, first in, first out; threads wait on one stack, the newest on top. A port has a driver for each worker
//! that is to run, if the system profits from that. A waiter that **sits** in drivers sleeps there and brings in what the system has
//! finished; the others are parked, each on its own slot. A thread that has come out with a packet is a **running worker** until it
//! comes back, blocks, or exits; it starts its operations in a driver of its own, its **home**, and looks there when it comes back. The
//! rules:
//!
//! - **The limit.** At most `limit` workers run (S47). A worker that waits in this library, or in [`blocking`], gives up its place at
//!   once (S49); one that blocks elsewhere when a look finds it blocked ([`watch`]); one that returns is counted again, beyond the
//!   limit if need be (S51).
//! - **Hand-off.** A packet that may run goes straight to the newest waiter (S41, S42), unless a waiter in a driver has brought it in
//!   itself: that one takes it. A worker that comes back takes the next one, and nobody is woken (S48).
//! - **Waking late** ([`Waking`]). While a worker runs and comes back in time, packets wait for it, and so does its driver: it looks
//!   there when it comes back. Another waiter is woken when a packet has waited for [`policy::KEPT_UP`] and a processor is spare for it
//!   (or for [`policy::PATIENCE`]), when the worker does not come back from look to look, or, for [`policy::WARY`] after somebody was
//!   seen to be blocked, at once. The figures are measured in `docs/scheduling.md`.
//! - **No orphan.** While a thread waits, no driver with something in it is left alone for longer than a look: a driver whose worker
//!   blocks, exits or does not come back goes to the newest parked waiter, also when the limit does not let that one take packets;
//!   where nobody is parked, one who sits in another driver takes it along ([`attendance`]).
//! - **Idle is free.** When all wait, one sleeps in each driver that has something in it and the others in their slots, and nobody keeps
//!   watch.
//!
//! Where the system has a port of its own that decides all this, [`system`] has what is left to do.
//!
//! Where things are: [`state`], the transitions behind the one lock; [`inbox`], where packets go past it; [`attendance`], who has which
//! driver; [`watch`], how those who are out are looked at; [`worker`], a thread as a worker of a port, and [`blocking`]; [`waker`], how a
//! thread waits; [`policy`], what can be chosen, and the figures.

mod attendance;
mod chunks;
mod counters;
mod inbox;
mod policy;
mod set;
mod state;
pub(crate) mod sync;
mod system;
pub(crate) mod timers;
mod waker;
mod watch;
mod worker;

use std::{
    collections::VecDeque,
    sync::{Arc as StdArc, OnceLock, Weak},
    time::{Duration, Instant},
};

pub(crate) use self::{
    attendance::Seating,
    set::Set,
    system::SystemQueue,
    waker::{Park, Sleeper, ThreadSleeper, Waker},
    worker::Workplace,
};
use self::{
    attendance::{Arrival, Attendant, Rest},
    inbox::Inbox,
    state::{Parked, Slot, State, Wakes, Worker},
    sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering, thread},
    worker::Desk,
};
pub use self::{
    counters::Counters,
    policy::{Release, Waking},
    worker::blocking,
};
pub(crate) use crate::sys::punctual::Punctual;
use crate::sys::thread_state::{Observation, Observer};

/// After this many packets in a row from the queue, a worker looks at its drivers: posts alone must not starve I/O.
const LOOK_AFTER: u32 = 64;

/// Where those who sit in drivers sleep: the drivers, by number.
pub(crate) trait Bed: Send + Sync {
    /// Wakes who sleeps in that one, or the next to lie down.
    fn wake(&self, driver: usize);
    /// Whether operations are with that one.
    fn is_occupied(&self, driver: usize) -> bool;
    /// Whether [`kick`](Bed::kick) is for something.
    fn wants_kicks(&self) -> bool;
    /// Has the kernel bring in what lies with threads that run.
    fn kick(&self);
    /// Whether a thread that is woken finds a processor that nobody else wants, as far as can be told.
    fn has_spare_processor(&self) -> bool;
    /// The clock by which packets wait and looks are taken.
    fn now(&self) -> Instant;
    /// Whether that is the clock by which threads sleep.
    fn is_timely(&self) -> bool {
        true
    }
}

pub(crate) struct Scheduler<P> {
    number: u64,
    workplace: OnceLock<Weak<dyn Workplace>>,
    bed: StdArc<dyn Bed>,
    /// As in the state; for who starts operations.
    in_use: AtomicBool,
    /// As in the state; for who brings packets in.
    inbox: StdArc<Inbox<P>>,
    state: Mutex<State<P>>,
}

/// Where packets go that a thread takes.
pub(crate) trait Out<P> {
    fn put(&mut self, packet: P);
}

impl<P> Out<P> for Vec<P> {
    fn put(&mut self, packet: P) {
        self.push(packet);
    }
}

/// What a thread that asked for a packet is to do.
pub(crate) enum Next {
    /// Packets were appended to its list.
    Taken,
    /// It has a seat: it drives these drivers, and then calls [`Scheduler::leave`] or [`Scheduler::next_in_seat`].
    Drive(Seating),
    /// It has given its seat up to a worker that runs, and waits on without one: [`Scheduler::wait_on`].
    Wait(Arrival),
    TimedOut,
    /// There is something beside the port.
    Beside,
    Closed,
}

impl<P> Scheduler<P> {
    pub(crate) fn new(
        bed: StdArc<dyn Bed>,
        drivers: usize,
        limit: usize,
        waking: Waking,
        release: Release,
    ) -> Self {
        // Found out now, while there are descriptors for it.
        let _ = Observation::here();
        let state = State::new(bed.clone(), drivers, limit, waking, release);
        Self {
            number: worker::number(),
            workplace: OnceLock::new(),
            bed,
            in_use: AtomicBool::new(state.in_use),
            inbox: state.inbox.clone(),
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<P>> {
        let mut state = sync::lock(&self.state);
        state.empty_inbox();
        state
    }

    /// Restores the rules, and wakes who is to be woken for that. A busy worker comes by with every packet, so what is mostly so is asked
    /// first.
    #[inline]
    fn settle(&self, mut state: MutexGuard<'_, State<P>>, now: Instant) {
        if state.is_nobody_to_be_woken() {
            return;
        }
        let wakes = state.settle(now);
        drop(state);
        self.carry_out(wakes);
    }

    /// Wakes who is to be woken. The lock is free.
    #[inline]
    fn carry_out(&self, wakes: Wakes) {
        if wakes.is_empty() {
            return;
        }
        let rouse = wakes.rouse;
        wakes.wakers().for_each(Waker::wake);
        rouse.iter().for_each(|driver| self.bed.wake(driver));
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

    fn enrol(&self) -> (usize, Arc<Desk>) {
        let observer = StdArc::new(Observer::of_this_thread());
        let desk = Arc::new(Desk::new());
        let worker = Worker {
            observer,
            desk: desk.clone(),
            counted: false,
            turns: 0,
            out: None,
            looked_at: None,
            stuck: false,
            since_look: 0,
        };
        (self.state().workers.insert(worker), desk)
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
        out: &mut impl Out<P>,
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
        out: &mut impl Out<P>,
        waker: impl FnOnce() -> Waker,
    ) -> Result<Next, Arc<Parked<P>>> {
        let mut state = sync::lock(&self.state);
        state.uncount(me);
        if state.closed {
            return Ok(Next::Closed);
        }
        if state.ready.len() < max {
            // Not for each packet: those who bring more in would be held up by it.
            state.empty_inbox();
        }
        let looks =
            (state.ready.is_empty() || *state.since_look(me) >= LOOK_AFTER) && state.may_run();
        if looks {
            *state.since_look(me) = 0;
            if let Some(seating) = state.sit_where_needed(me) {
                // There may be room now for one who is parked, in the driver of another who runs.
                if !state.parked.is_empty() {
                    let wakes = state.attend(self.bed.now());
                    drop(state);
                    self.carry_out(wakes);
                }
                return Ok(Next::Drive(seating));
            }
        }
        if !state.ready.is_empty() {
            let now = self.bed.now();
            if state.take(me, max, out, now) {
                state.settle_down(me);
                state.open_inbox(now);
                if !state.leaves_rest_to_watch(now) {
                    self.settle(state, now);
                }
                return Ok(Next::Taken);
            }
        }
        if !looks {
            state.take_drivers_of(me);
        }
        let arrival = state.arrive();
        let parked = state.park(me, arrival, waker());
        // With nothing in the queue, nobody who runs, and no packets past the lock, it has just been seen that all is in order.
        if !looks || state.active > 0 || state.inbox_open {
            self.settle(state, self.bed.now());
        }
        Err(parked)
    }

    /// A waiter that had a seat waits on without one, with the turn that it has.
    pub(crate) fn wait_on(
        &self,
        arrival: Arrival,
        max: usize,
        out: &mut impl Out<P>,
        deadline: Option<Instant>,
        sleeper: &mut impl Sleeper,
    ) -> Next {
        match self.park(self.me(), arrival, sleeper.waker()) {
            Some(parked) => self.wait(&parked, max, out, deadline, sleeper),
            None => Next::Closed,
        }
    }

    fn park(&self, me: Option<usize>, arrival: Arrival, waker: Waker) -> Option<Arc<Parked<P>>> {
        let mut state = self.state();
        if state.closed {
            return None;
        }
        let parked = state.park(me, arrival, waker);
        self.settle(state, self.bed.now());
        Some(parked)
    }

    fn wait(
        &self,
        parked: &Arc<Parked<P>>,
        max: usize,
        out: &mut impl Out<P>,
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
        state.settle_down(parked.worker);
        self.settle(state, now);
        true
    }

    /// What a waiter was given, if it was.
    fn given(&self, parked: &Arc<Parked<P>>, max: usize, out: &mut impl Out<P>) -> Option<Next> {
        // Not in the `match`: the slot's lock must not be held while the state's is taken.
        let slot = std::mem::replace(&mut *sync::lock(&parked.slot), Slot::Waiting);
        match slot {
            Slot::Waiting => None,
            Slot::Packet(packet) => {
                out.put(packet);
                let now = self.bed.now();
                let mut state = self.state();
                state.come_out(parked.worker, now);
                state.settle_down(parked.worker);
                state.take_more(parked.worker, max - 1, out, now);
                // It is out from now on.
                self.settle(state, now);
                Some(Next::Taken)
            }
            Slot::Seat(seating) => Some(Next::Drive(seating)),
            Slot::Closed => Some(Next::Closed),
        }
    }

    /// The one in the seat is about to sleep in its drivers. `None` if there is something to do first; otherwise when it is to look at
    /// those who are out, if it keeps watch.
    pub(crate) fn fall_asleep(
        &self,
        Seating { seat, drivers }: Seating,
    ) -> Option<Option<Instant>> {
        let mut state = self.state();
        // Who sleeps is told of each.
        state.shut_inbox();
        let to_take =
            state.seats[seat].reserved.is_some() || !state.ready.is_empty() && state.may_run();
        let changed = std::mem::take(&mut state.seats[seat].alarm)
            | (drivers.contains(0) && std::mem::take(&mut state.alarm));
        if changed || state.closed || to_take {
            return None;
        }
        // With somebody out, it may be the only one who can notice that they do not come back.
        let mut wakes = Wakes::default();
        state.keep_watch(&mut wakes, || self.bed.now());
        state.seats[seat].rest = Rest::Asleep(drivers.first().unwrap_or(0));
        let look = state.look_from(seat);
        drop(state);
        self.carry_out(wakes);
        Some(look)
    }

    /// The one in the seat has come out of its drivers.
    pub(crate) fn wake_up(&self, Seating { seat, .. }: Seating) {
        let mut state = self.state();
        state.seats[seat].rest = Rest::Awake;
        let due = state.look_from(seat);
        drop(state);
        if due.is_some_and(|due| due <= self.bed.now()) {
            self.look();
        }
    }

    /// Brings packets in, which have waited since then, or since now. The one in the seat takes up to `max` for itself and leaves the seat
    /// with them; if there is none for it (and the port is open), it keeps the seat.
    pub(crate) fn next_in_seat(
        &self,
        seat: usize,
        packets: &mut Vec<P>,
        since: Option<Instant>,
        max: usize,
        out: &mut impl Out<P>,
    ) -> Next {
        let mut state = self.state();
        let now = self.bed.now();
        let me = state.seats[seat].worker;
        for packet in packets.drain(..) {
            state.push(packet, since.unwrap_or(now));
        }
        // They were looked at just now.
        *state.since_look(me) = 0;
        let next = if let Some(packet) = state.seats[seat].reserved.take() {
            // It was given that before, and was counted then.
            out.put(packet);
            state.come_out(me, now);
            state.take_more(me, max - 1, out, now);
            Next::Taken
        } else if state.closed {
            Next::Closed
        } else if state.take(me, max, out, now) {
            Next::Taken
        } else if let Some(arrival) = state.stand_up(seat, now) {
            Next::Wait(arrival)
        } else {
            let drivers = state.seats[seat].drivers;
            Next::Drive(Seating { seat, drivers })
        };
        match next {
            Next::Taken => state.vacate(seat, true),
            Next::Closed => state.vacate(seat, false),
            _ => {}
        }
        self.settle(state, now);
        next
    }

    /// For who has the port to itself: a seat.
    pub(crate) fn sit_down(&self) -> Next {
        let mut state = self.state();
        if state.closed {
            return Next::Closed;
        }
        debug_assert!(state.seats.is_empty(), "a thread's own port has one thread");
        Next::Drive(state.sit(None, Set::one(0), 0))
    }

    /// For who has the port to itself: takes all packets that are here, without a look at the driver.
    pub(crate) fn take_queued(&self, out: &mut impl Out<P>) {
        self.state().take_more(None, usize::MAX, out, self.bed.now());
    }

    /// Gives the seat up without a packet. The thread counts as running, since it goes back to its user (S52).
    pub(crate) fn leave(&self, seat: usize) {
        let now = self.bed.now();
        let mut state = self.state();
        if let Some(packet) = state.seats[seat].reserved.take() {
            // It goes for another reason than that packet.
            state.ready.push_front((packet, now));
        }
        let me = state.seats[seat].worker;
        state.count(me, now);
        state.vacate(seat, true);
        self.settle(state, now);
    }

    /// The driver for what the calling thread starts: its home, or the first.
    pub(crate) fn home(&self) -> usize {
        worker::home(self.number).unwrap_or(0)
    }

    /// The calling thread has started an operation in that driver. True if the driver is its home, so that this thread looks there later, or
    /// who takes the home away. If it is not, or not any more, somebody must see to it: whoever has it may have found nothing in it.
    pub(crate) fn started(&self, driver: usize) -> bool {
        self.started_at(driver, || worker::home(self.number))
    }

    fn started_at(&self, driver: usize, home: impl FnOnce() -> Option<usize>) -> bool {
        // The operation was counted before; see `State::take_drivers_of`.
        sync::fence(Ordering::SeqCst);
        if home() == Some(driver) {
            return true;
        }
        if driver != 0 {
            let state = self.state();
            self.settle(state, self.bed.now());
        } else {
            self.take_into_use();
        }
        false
    }

    /// The port is more than posted to from now on: an operation or a timer is with the first driver, and somebody must see to that.
    pub(crate) fn take_into_use(&self) {
        // Set behind the lock, and only once: who finds it set comes after whoever saw to it that somebody attends.
        if !self.in_use.load(Ordering::Acquire) {
            let mut state = self.state();
            state.in_use = true;
            self.in_use.store(true, Ordering::Release);
            self.settle(state, self.bed.now());
        }
    }

    /// Brings the packet of an operation in, from a thread that has no seat. After the close it is the closer's.
    pub(crate) fn push(&self, packet: P) {
        let came_in = self.bring_in(packet, |_| false);
        debug_assert!(came_in.is_ok(), "it is not refused");
    }

    /// Brings a posted packet in, as [`Scheduler::push`] does, unless the port is closed.
    pub(crate) fn post(&self, packet: P) -> Result<(), P> {
        self.bring_in(packet, |state| state.closed)
    }

    #[inline]
    fn bring_in(&self, mut packet: P, is_refused: impl FnOnce(&State<P>) -> bool) -> Result<(), P> {
        if self.inbox.is_open() {
            match self.inbox.put(packet, self.bed.now()) {
                Ok(()) => return Ok(()),
                Err(back) => packet = back,
            }
        }
        let mut state = self.state();
        if is_refused(&state) {
            return Err(packet);
        }
        let now = self.bed.now();
        state.push(packet, now);
        self.settle(state, now);
        Ok(())
    }

    /// Something else has changed (a timer, a buffer): whoever has the first driver is to look again.
    pub(crate) fn rouse(&self) {
        self.take_into_use();
        let mut wakes = Wakes::default();
        let mut state = self.state();
        state.alarm = true;
        if let Attendant::Seat(seat) = state.drivers[0] {
            state.rouse(seat, &mut wakes);
        }
        drop(state);
        self.carry_out(wakes);
    }

    /// Every waiting and every later caller is told. False for a second close.
    pub(crate) fn close(&self) -> bool {
        let mut wakes = Wakes::default();
        let mut state = self.state();
        if std::mem::replace(&mut state.closed, true) {
            return false;
        }
        state.shut_inbox();
        state.watch = None;
        let parked = std::mem::take(&mut state.parked);
        for one in &parked {
            *sync::lock(&one.slot) = Slot::Closed;
        }
        let seats: Vec<_> = state.seats.iter().map(|(seat, _)| seat).collect();
        seats.into_iter().for_each(|seat| state.rouse(seat, &mut wakes));
        drop(state);
        parked.iter().for_each(|one| one.waker.clone().wake());
        self.carry_out(wakes);
        true
    }

    /// After [`Scheduler::close`]: waits until nobody sits in a driver any more, or until `deadline`. False if somebody does.
    pub(crate) fn wait_for_seats(&self, deadline: Option<Instant>) -> bool {
        loop {
            {
                let mut state = self.state();
                if state.seats.is_empty() {
                    state.closer = None;
                    return true;
                }
                state.closer = Some(thread::current());
            }
            if !sync::park_until(deadline) {
                return self.state().seats.is_empty();
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
        let seated = state.seats.iter().filter(|(_, seat)| seat.rest != Rest::Awake).count();
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
        state.take_drivers_of(Some(worker));
        self.settle(state, self.bed.now());
        counted
    }

    /// A worker runs again (S51).
    pub(crate) fn unblock(&self, worker: usize) {
        let now = self.bed.now();
        let mut state = self.state();
        state.count(Some(worker), now);
        self.settle(state, now);
    }

    /// A worker leaves for another port, or for good (S53, S54).
    pub(crate) fn dismiss(&self, worker: usize) {
        let mut state = self.state();
        state.uncount(Some(worker));
        state.take_drivers_of(Some(worker));
        // Dropped without the lock: on Windows that closes a handle.
        let gone = state.workers.try_remove(worker);
        self.settle(state, self.bed.now());
        drop(gone);
    }
}

/// How long until `deadline`; `None` for ever, for which the clock is not asked.
pub(crate) fn until(deadline: Option<Instant>, now: impl FnOnce() -> Instant) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(now()))
}

#[cfg(all(test, not(completion_port_loom)))]
mod late_tests;
#[cfg(all(test, completion_port_loom))]
mod loom_tests;
#[cfg(all(test, not(completion_port_loom)))]
mod nt_model;
#[cfg(all(test, completion_port_loom))]
mod system_loom_tests;
