//! The state of the scheduler, and its transitions, each behind one lock.
//!
//! It is the queue of NT in terms of this library: `active` is the current count, `limit` the maximum, `ready` the entries, and the
//! waiters are those in `parked` and the one in the seat. Every transition ends in [`State::settle`], which restores the rules of the
//! module's head and says who is to be woken.

use std::{
    collections::VecDeque,
    sync::Arc as StdArc,
    time::{Duration, Instant},
};

use slab::Slab;

use super::{
    Counters, Release, Waker, Waking, policy,
    sync::{self, Arc, Mutex, Thread},
};
use crate::sys::thread_state::Observer;

pub(super) struct State<P> {
    pub ready: VecDeque<(P, Instant)>,
    /// The newest last.
    pub parked: Vec<Arc<Parked<P>>>,
    pub seat: Seat,
    /// When the one in the seat came to wait, in the order of all waiters, and who it is.
    pub seated: u64,
    pub seated_worker: Option<usize>,
    /// What the one in the seat was given while it slept. It counts as running already.
    pub reserved: Option<P>,
    /// It sleeps no longer than to its next look.
    pub seat_watches: bool,
    pub arrivals: u64,
    pub workers: Slab<Worker>,
    /// Workers that came out with a packet and count as running.
    pub active: usize,
    pub limit: usize,
    pub waking: Waking,
    pub release: Release,
    pub closed: bool,
    /// The closer has collected what there was.
    pub abandoned: bool,
    /// Something has changed that the holder of the seat is to look at before it falls asleep.
    pub alarm: bool,
    /// Packets taken from the queue since somebody last looked at the driver.
    pub since_look: u32,
    /// Who closes the port waits for the seat.
    pub closer: Option<Thread>,
    pub watch: Option<Watch<P>>,
    /// Since when some worker that is out burns the processor, as the last look saw it.
    pub burning_since: Option<Instant>,
    /// Watch may be kept: there is a clock.
    pub watchful: bool,
    /// What the operations of a worker bring may lie with it while it runs ([`Bed::kick`](super::Bed::kick)).
    pub kickable: bool,
    /// Waking is eager until then.
    pub wary: Option<Instant>,
    pub counters: Counters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seat {
    Free,
    /// Somebody has it and is awake.
    Taken,
    /// Somebody sleeps in the driver.
    Asleep,
    /// ... and has been woken, so the next one need not.
    Woken,
}

pub(super) struct Parked<P> {
    pub waker: Waker,
    pub slot: Mutex<Slot<P>>,
    pub arrival: u64,
    pub worker: Option<usize>,
}

pub(super) enum Slot<P> {
    Waiting,
    Packet(P),
    Seat,
    Closed,
}

/// A thread that takes packets here.
pub(super) struct Worker {
    pub observer: StdArc<Observer>,
    /// It runs with a packet, and is one of `active`.
    pub counted: bool,
    /// How often it has come back. Tells a look whether it is still out with what it was out with.
    pub turns: u64,
    /// Since when it is out. Not yet, while it is on its way with a packet that it was handed.
    pub out: Option<Instant>,
}

/// A waiter, the oldest, looks at those who are out.
pub(super) struct Watch<P> {
    pub by: Arc<Parked<P>>,
    pub due: Instant,
    pub interval: Duration,
    /// Looks in a row that found nothing to do.
    pub idle: u32,
}

/// Who is to be woken when the lock is free.
#[derive(Default)]
#[must_use]
pub(super) struct Wakes {
    pub wakers: Vec<Waker>,
    /// The one in the driver.
    pub rouse: bool,
}

impl<P> State<P> {
    pub(super) fn new(limit: usize, waking: Waking, release: Release, kickable: bool) -> Self {
        Self {
            ready: VecDeque::new(),
            parked: Vec::new(),
            seat: Seat::Free,
            seated: 0,
            seated_worker: None,
            reserved: None,
            seat_watches: false,
            arrivals: 0,
            workers: Slab::new(),
            active: 0,
            limit: if release == Release::Unlimited { usize::MAX } else { limit },
            waking,
            release,
            closed: false,
            abandoned: false,
            alarm: false,
            since_look: 0,
            closer: None,
            watch: None,
            burning_since: None,
            watchful: cfg!(not(completion_port_loom)),
            kickable,
            wary: None,
            counters: Counters::default(),
        }
    }

    pub(super) fn may_run(&self) -> bool {
        self.active < self.limit
    }

    /// The worker is back, or gives up its place otherwise. True if it had one.
    pub(super) fn uncount(&mut self, worker: Option<usize>) -> bool {
        let Some(worker) = worker.and_then(|worker| self.workers.get_mut(worker)) else {
            return false;
        };
        worker.turns += 1;
        worker.out = None;
        let counted = std::mem::replace(&mut worker.counted, false);
        self.active -= usize::from(counted);
        counted
    }

    /// The worker runs, whether there is room or not.
    pub(super) fn count(&mut self, worker: Option<usize>, now: Instant) {
        self.hand(worker);
        self.come_out(worker, now);
    }

    /// The worker has been handed a packet, and comes out with it.
    pub(super) fn come_out(&mut self, worker: Option<usize>, now: Instant) {
        if let Some(worker) = worker.and_then(|worker| self.workers.get_mut(worker)) {
            worker.out = Some(now);
        }
    }

    /// The worker is handed a packet where it sleeps: it counts as running from now on.
    fn hand(&mut self, worker: Option<usize>) {
        let Some(worker) = worker.and_then(|worker| self.workers.get_mut(worker)) else { return };
        if !std::mem::replace(&mut worker.counted, true) {
            self.active += 1;
            self.counters.most_running = self.counters.most_running.max(self.active);
        }
    }

    pub(super) fn push(&mut self, packet: P, now: Instant) {
        self.ready.push_back((packet, now));
    }

    /// Up to `max` packets for a worker that may run.
    pub(super) fn take(
        &mut self,
        worker: Option<usize>,
        max: usize,
        out: &mut Vec<P>,
        now: Instant,
    ) -> bool {
        if self.ready.is_empty() || !self.may_run() {
            return false;
        }
        self.take_more(max, out, now);
        self.count(worker, now);
        true
    }

    /// Up to `max` packets for one that runs already.
    pub(super) fn take_more(&mut self, max: usize, out: &mut Vec<P>, now: Instant) {
        if let Some((_, since)) = self.ready.front() {
            let waited = now.saturating_duration_since(*since);
            self.counters.longest_wait = self.counters.longest_wait.max(waited);
        }
        let count = self.ready.len().min(max);
        out.extend(self.ready.drain(..count).map(|(packet, _)| packet));
        self.since_look = self.since_look.saturating_add(count as u32);
    }

    /// A waiter's number, in the order in which they came.
    pub(super) fn arrive(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }

    /// The waiter is not parked any more. False if it was not.
    pub(super) fn unpark(&mut self, parked: &Arc<Parked<P>>) -> bool {
        let Some(at) = self.parked.iter().rposition(|other| Arc::ptr_eq(other, parked)) else {
            return false;
        };
        self.parked.remove(at);
        self.relieve(parked);
        true
    }

    /// A parked waiter goes: it does not keep watch any more.
    fn relieve(&mut self, parked: &Arc<Parked<P>>) {
        if self.watch.as_ref().is_some_and(|watch| Arc::ptr_eq(&watch.by, parked)) {
            self.watch = None;
        }
    }

    fn pop_newest(&mut self) -> Option<Arc<Parked<P>>> {
        let parked = self.parked.pop()?;
        self.relieve(&parked);
        Some(parked)
    }

    /// Restores the rules: packets go to waiters, the driver is not left alone, and somebody keeps watch where that is needed.
    pub(super) fn settle(&mut self, now: Instant) -> Wakes {
        self.settle_behind(now, false)
    }

    /// The same, where it may be known that those who run do not come back: no packet waits for them.
    pub(super) fn settle_behind(&mut self, now: Instant, behind: bool) -> Wakes {
        let mut wakes = Wakes::default();
        if self.closed {
            return wakes;
        }
        self.keep_watch(&mut wakes, now);
        while !self.ready.is_empty() && self.may_run() {
            let due = self.is_due(now);
            let aged = !due && !behind;
            if aged && !self.has_aged(now) {
                break;
            }
            // The newest waiter gets it, be it parked or in the driver.
            let asleep = matches!(self.seat, Seat::Asleep | Seat::Woken) && self.reserved.is_none();
            let newest = self.parked.last().map(|parked| parked.arrival);
            if asleep && newest.is_none_or(|newest| newest < self.seated) {
                self.reserved = self.pop_oldest(now);
                self.hand(self.seated_worker);
                wakes.rouse |= self.rouse();
            } else if !self.hand_off(&mut wakes, now) {
                break;
            }
            self.counters.released_by_age += u64::from(aged);
            self.counters.released_by_watch += u64::from(behind && !due);
        }
        if self.seat == Seat::Free && self.is_orphan(now) {
            self.fill_seat(&mut wakes);
        }
        if self.watch_from_seat().is_some() && !self.seat_watches {
            // It went to sleep when there was nothing to watch.
            wakes.rouse |= self.rouse();
        }
        self.counters.wakes += wakes.wakers.len() as u64 + u64::from(wakes.rouse);
        wakes
    }

    /// Whether a packet is to have a waiter now, and not when a worker comes back.
    fn is_due(&self, now: Instant) -> bool {
        self.is_eager(now) || self.active == 0 || self.watch.is_none()
    }

    /// Whether the oldest packet has waited for so long that those who run do not keep up.
    fn has_aged(&self, now: Instant) -> bool {
        let waited = |(_, since): &(P, Instant)| now.saturating_duration_since(*since);
        self.ready.front().is_some_and(|oldest| waited(oldest) > policy::KEPT_UP)
    }

    pub(super) fn is_eager(&self, now: Instant) -> bool {
        self.waking == Waking::Eager || self.wary.is_some_and(|until| now < until)
    }

    /// Whether nobody is in the driver, nor comes back to it by itself in time.
    fn is_orphan(&self, now: Instant) -> bool {
        self.active == 0 || (self.may_run() && self.is_eager(now))
    }

    /// The oldest packet, to be handed off.
    fn pop_oldest(&mut self, now: Instant) -> Option<P> {
        let (packet, since) = self.ready.pop_front()?;
        let waited = now.saturating_duration_since(since);
        self.counters.longest_wait = self.counters.longest_wait.max(waited);
        self.counters.handed_off += 1;
        Some(packet)
    }

    /// The oldest packet goes straight to the newest parked waiter.
    pub(super) fn hand_off(&mut self, wakes: &mut Wakes, now: Instant) -> bool {
        if self.ready.is_empty() {
            return false;
        }
        let Some(parked) = self.pop_newest() else { return false };
        if let Some(packet) = self.pop_oldest(now) {
            self.hand(parked.worker);
            *sync::lock(&parked.slot) = Slot::Packet(packet);
            wakes.wakers.push(parked.waker.clone());
        }
        true
    }

    /// The newest parked waiter goes to the driver.
    pub(super) fn fill_seat(&mut self, wakes: &mut Wakes) {
        if let Some(parked) = self.pop_newest() {
            self.seat = Seat::Taken;
            self.seated = parked.arrival;
            self.seated_worker = parked.worker;
            self.counters.took_over += 1;
            *sync::lock(&parked.slot) = Slot::Seat;
            wakes.wakers.push(parked.waker.clone());
        }
    }

    /// Whether somebody is out who may have to be helped: in whose absence the driver is alone, or packets wait.
    pub(super) fn is_watch_needed(&self) -> bool {
        self.active > 0 && (self.seat == Seat::Free || !self.ready.is_empty() || self.kickable)
    }

    fn keep_watch(&mut self, wakes: &mut Wakes, now: Instant) {
        if self.watch.is_some() || !self.watchful || !self.is_watch_needed() {
            return;
        }
        if let Some(oldest) = self.parked.first() {
            wakes.wakers.push(oldest.waker.clone());
            self.watch = Some(Watch {
                by: oldest.clone(),
                due: now + policy::SOON,
                interval: policy::SOON,
                idle: 0,
            });
        }
    }

    pub(super) fn rouse(&mut self) -> bool {
        if self.seat == Seat::Asleep {
            self.seat = Seat::Woken;
            return true;
        }
        false
    }

    /// The seat is left. Who follows is for [`State::settle`] to say.
    pub(super) fn free_seat(&mut self) {
        self.seat = Seat::Free;
        self.seated_worker = None;
        if let Some(closer) = self.closer.take() {
            closer.unpark();
        }
    }
}
