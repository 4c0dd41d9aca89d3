//! The state of the scheduler, and its transitions, each behind one lock.
//!
//! It is the queue of NT in terms of this library: `active` is the current count, `limit` the maximum, `ready` the entries, and the
//! waiters are those in `parked` and in `seats`. Every transition ends in [`State::settle`], which restores the rules of the module's
//! head and says who is to be woken. Who has which driver is in [`super::attendance`].

use std::{
    sync::Arc as StdArc,
    time::{Duration, Instant},
};

use slab::Slab;

use super::{
    Bed, Counters, Out, Release, Set, Waker, Waking,
    attendance::{Arrival, Attendant, Rest, Seat, Seating},
    inbox::{Inbox, Queue},
    policy,
    sync::{self, Arc, AtomicBool, Mutex, Thread},
    worker::Desk,
};
use crate::sys::thread_state::Observer;

/// So many packets wait when the inbox is opened: fewer are taken before that pays.
const MANY: usize = if cfg!(test) { 1 } else { 4 };

pub(super) struct State<P> {
    pub bed: StdArc<dyn Bed>,
    pub ready: Queue<P>,
    /// What is in it comes behind what is in `ready`.
    pub inbox: StdArc<Inbox<P>>,
    pub inbox_open: bool,
    /// The newest last.
    pub parked: Vec<Arc<Parked<P>>>,
    /// Those who sit in drivers.
    pub seats: Slab<Seat<P>>,
    /// Who has which driver.
    pub drivers: Vec<Attendant>,
    /// The port has been more than posted to: somebody is to attend to the first driver, whatever is in it.
    pub in_use: bool,
    pub arrivals: Arrival,
    pub workers: Slab<Worker>,
    /// Workers that came out with a packet and count as running.
    pub active: usize,
    pub limit: usize,
    pub waking: Waking,
    pub release: Release,
    pub closed: bool,
    /// The closer has collected what there was.
    pub abandoned: bool,
    /// Something has changed that whoever has the first driver is to look at before it falls asleep.
    pub alarm: bool,
    /// Of threads that are no workers: packets taken from the queue since one of them last looked at a driver.
    pub since_look: u32,
    /// Who closes the port waits for the seats.
    pub closer: Option<Thread>,
    pub watch: Option<Watch<P>>,
    /// Since when some worker that is out burns the processor, as the last look saw it.
    pub burning_since: Option<Instant>,
    /// Watch may be kept: there is a clock by which threads sleep.
    pub watchful: bool,
    /// What the operations of a worker bring may lie with it while it runs ([`Bed::kick`](super::Bed::kick)).
    pub kickable: bool,
    /// Waking is eager until then.
    pub wary: Option<Instant>,
    /// Looks are frequent until then.
    pub alert: Option<Instant>,
    /// So many looks in a row have found that those who run do not keep up, and that a processor is spare.
    pub spare_looks: u32,
    pub counters: Counters,
}

pub(super) struct Parked<P> {
    pub waker: Waker,
    pub slot: Mutex<Slot<P>>,
    pub arrival: Arrival,
    pub worker: Option<usize>,
    /// It may be the one that does: the watch tells.
    pub keeps_watch: AtomicBool,
}

pub(super) enum Slot<P> {
    Waiting,
    Packet(P),
    Seat(Seating),
    Closed,
}

/// A thread that takes packets here.
pub(super) struct Worker {
    pub observer: StdArc<Observer>,
    pub desk: Arc<Desk>,
    /// It runs with a packet, and is one of `active`.
    pub counted: bool,
    /// How often it has come back. Tells a look whether it is still out with what it was out with.
    pub turns: u64,
    /// Since when it is out. Not yet, while it is on its way with a packet that it was handed.
    pub out: Option<Instant>,
    /// Its turn at the last look.
    pub looked_at: Option<u64>,
    /// A look has found it blocked, and it keeps its place: until it comes back, looks are of no use.
    pub stuck: bool,
    /// Packets that it has taken from the queue since it last looked at its drivers.
    pub since_look: u32,
}

impl Worker {
    /// It has been out for so long.
    pub(super) fn is_out_for(&self, time: Duration, now: Instant) -> bool {
        self.out.is_none_or(|since| now.saturating_duration_since(since) >= time)
    }
}

/// A waiter looks at those who are out.
pub(super) struct Watch<P> {
    pub by: Watcher<P>,
    pub due: Instant,
    pub interval: Duration,
    /// Looks in a row that found nothing to do.
    pub idle: u32,
}

pub(super) enum Watcher<P> {
    /// The oldest who is parked.
    Parked(Arc<Parked<P>>),
    /// Where nobody is parked, one who sits in a driver.
    Seat(usize),
}

/// Who is to be woken when the lock is free.
#[derive(Default)]
#[must_use]
pub(super) struct Wakes {
    /// Mostly it is one, for whom nothing is to be allocated.
    first: Option<Waker>,
    others: Vec<Waker>,
    /// The drivers whose sleepers are to be woken.
    pub rouse: Set,
}

impl Wakes {
    pub(super) fn push(&mut self, waker: Waker) {
        match &self.first {
            None => self.first = Some(waker),
            Some(_) => self.others.push(waker),
        }
    }

    pub(super) fn add(&mut self, others: Wakes) {
        self.rouse = others.rouse.iter().fold(self.rouse, Set::with);
        others.wakers().for_each(|waker| self.push(waker));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.rouse.is_empty()
    }

    fn count(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len() + self.rouse.iter().count()
    }

    /// Those who are parked.
    pub(super) fn wakers(self) -> impl Iterator<Item = Waker> {
        self.first.into_iter().chain(self.others)
    }
}

impl<P> State<P> {
    pub(super) fn new(
        bed: StdArc<dyn Bed>,
        drivers: usize,
        limit: usize,
        waking: Waking,
        release: Release,
    ) -> Self {
        let kickable = bed.wants_kicks();
        let timely = bed.is_timely();
        Self {
            bed,
            ready: Queue::new(),
            inbox: StdArc::new(Inbox::new()),
            inbox_open: false,
            parked: Vec::new(),
            seats: Slab::new(),
            drivers: vec![Attendant::Nobody; drivers],
            // Who waits for no real time does not park: the driver tells it that nothing comes.
            in_use: !timely,
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
            watchful: timely && cfg!(not(completion_port_loom)),
            kickable,
            wary: None,
            alert: None,
            spare_looks: 0,
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
        worker.stuck = false;
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
        out: &mut impl Out<P>,
        now: Instant,
    ) -> bool {
        if self.ready.is_empty() || !self.may_run() {
            return false;
        }
        self.take_more(worker, max, out, now);
        self.count(worker, now);
        true
    }

    /// Up to `max` packets for one that runs already.
    pub(super) fn take_more(
        &mut self,
        worker: Option<usize>,
        max: usize,
        out: &mut impl Out<P>,
        now: Instant,
    ) {
        let mut count = 0;
        while count < max
            && let Some((packet, since)) = self.ready.pop_front()
        {
            // As `pop_oldest` does, with a move less: twenty instructions for each packet.
            out.put(packet);
            self.counters.note_wait(now.saturating_duration_since(since));
            count += 1;
        }
        let since_look = self.since_look(worker);
        *since_look = since_look.saturating_add(count as u32);
    }

    /// Packets that it has taken since it last looked at a driver.
    pub(super) fn since_look(&mut self, worker: Option<usize>) -> &mut u32 {
        match worker.and_then(|worker| self.workers.get_mut(worker)) {
            Some(worker) => &mut worker.since_look,
            None => &mut self.since_look,
        }
    }

    /// A waiter's number, in the order in which they came.
    pub(super) fn arrive(&mut self) -> Arrival {
        self.arrivals += 1;
        self.arrivals
    }

    /// A waiter is parked, among those who came before and after it.
    pub(super) fn park(
        &mut self,
        worker: Option<usize>,
        arrival: Arrival,
        waker: Waker,
    ) -> Arc<Parked<P>> {
        let slot = Mutex::new(Slot::Waiting);
        let parked =
            Arc::new(Parked { waker, slot, arrival, worker, keeps_watch: AtomicBool::new(false) });
        let at = self.parked.partition_point(|other| other.arrival < arrival);
        self.parked.insert(at, parked.clone());
        parked
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
        if self.watch.as_ref().is_some_and(|watch| watch.is_by(parked)) {
            self.watch = None;
        }
    }

    pub(super) fn pop_newest(&mut self) -> Option<Arc<Parked<P>>> {
        let parked = self.parked.pop()?;
        self.relieve(&parked);
        Some(parked)
    }

    /// What has been brought in past the lock is in the queue.
    #[inline]
    pub(super) fn empty_inbox(&mut self) {
        if self.inbox_open {
            self.inbox.empty_into(&mut self.ready);
        }
    }

    /// The inbox is opened where there are many packets, and one more is left to those who run.
    pub(super) fn open_inbox(&mut self, now: Instant) {
        if !self.inbox_open && self.ready.len() >= MANY && self.leaves_packets(now) {
            self.inbox_open = true;
            self.inbox.open();
        }
    }

    /// Every packet is brought in behind the lock from now on.
    pub(super) fn shut_inbox(&mut self) {
        if std::mem::take(&mut self.inbox_open) {
            self.inbox.shut(&mut self.ready);
        }
    }

    /// Whether one more packet would be left to workers that run, or to whoever comes to wait. It is that for as long as nobody changes
    /// who waits, runs and keeps watch; that those who do are not eager any more, which time brings about, makes no difference to it.
    fn leaves_packets(&self, now: Instant) -> bool {
        let nobody_waits = self.parked.is_empty() && self.seats.is_empty();
        let watched = self.watch.is_some() && self.active > 0 && !self.is_eager(now);
        !self.closed && (nobody_waits || watched)
    }

    /// Restores the rules: packets go to waiters, no driver is left alone, and somebody keeps watch where that is needed.
    pub(super) fn settle(&mut self, now: Instant) -> Wakes {
        self.settle_behind(now, false)
    }

    /// Whatever a settling does is for somebody who waits.
    #[inline]
    pub(super) fn is_nobody_to_be_woken(&self) -> bool {
        self.closed || self.parked.is_empty() && self.seats.is_empty()
    }

    /// Whether a worker that has come back and taken what waited changes nothing for those who wait. Then nothing is to be settled, which
    /// a busy worker need not find out the long way for each packet.
    ///
    /// As many run as before, and somebody keeps watch, so that packets wait for workers as before, but for one that has waited for too
    /// long. And nobody has given up a driver in which there is something: that would have been seen to when it was given up.
    #[inline]
    pub(super) fn leaves_rest_to_watch(&self, now: Instant) -> bool {
        self.watch.is_some() && self.active > 0 && !self.is_eager(now) && !self.has_aged(now)
    }

    /// The same as [`State::settle`], where it may be known that those who run do not come back: no packet waits for them.
    pub(super) fn settle_behind(&mut self, now: Instant, behind: bool) -> Wakes {
        let mut wakes = Wakes::default();
        if self.is_nobody_to_be_woken() {
            return wakes;
        }
        self.keep_watch(&mut wakes, || now);
        while !self.ready.is_empty() && self.may_run() {
            let due = self.is_due(now);
            let aged = !due && !behind;
            if aged && !self.has_aged(now) {
                break;
            }
            // The newest waiter gets it, be it parked or in a driver.
            let parked = self.parked.last().map(|parked| parked.arrival);
            match self.newest_seat() {
                Some((seat, arrival)) if parked.is_none_or(|parked| parked < arrival) => {
                    self.set_aside(seat, &mut wakes, now);
                }
                _ if !self.hand_off(&mut wakes, now) => break,
                _ => {}
            }
            self.counters.released_by_age += u64::from(aged);
            self.counters.released_by_watch += u64::from(behind && !due);
        }
        self.send_where_needed(&mut wakes, now);
        let mut wakes = self.counted(wakes);
        if self.inbox_open && !self.leaves_packets(now) {
            // What comes to light by that is nobody's yet.
            self.shut_inbox();
            wakes.add(self.settle_behind(now, behind));
        }
        wakes
    }

    /// Only the second of these: no driver is left alone.
    pub(super) fn attend(&mut self, now: Instant) -> Wakes {
        let mut wakes = Wakes::default();
        self.send_where_needed(&mut wakes, now);
        self.counted(wakes)
    }

    fn counted(&mut self, wakes: Wakes) -> Wakes {
        self.counters.wakes += wakes.count() as u64;
        wakes
    }

    /// Whether a packet is to have a waiter now, and not when a worker comes back.
    fn is_due(&self, now: Instant) -> bool {
        self.is_eager(now) || self.active == 0 || self.watch.is_none()
    }

    /// Whether the oldest packet has waited for so long that it is to have a waiter, though workers run that come back.
    fn has_aged(&self, now: Instant) -> bool {
        let is_spare = self.spare_looks >= policy::SPARE_LOOKS;
        self.has_waited(if is_spare { policy::KEPT_UP } else { policy::PATIENCE }, now)
    }

    /// Whether those who run do not keep up, and there is room for another.
    pub(super) fn is_help_wanted(&self, now: Instant) -> bool {
        self.may_run() && self.is_somebody_free() && self.has_waited(policy::KEPT_UP, now)
    }

    fn has_waited(&self, time: Duration, now: Instant) -> bool {
        let waited = |(_, since): &(P, Instant)| now.saturating_duration_since(*since);
        self.ready.front().is_some_and(|oldest| waited(oldest) > time)
    }

    pub(super) fn is_eager(&self, now: Instant) -> bool {
        self.waking == Waking::Eager || self.wary.is_some_and(|until| now < until)
    }

    /// The oldest packet, to be handed off.
    fn pop_oldest(&mut self, now: Instant) -> Option<P> {
        let (packet, since) = self.ready.pop_front()?;
        self.counters.note_wait(now.saturating_duration_since(since));
        Some(packet)
    }

    /// The oldest packet goes straight to the newest parked waiter.
    fn hand_off(&mut self, wakes: &mut Wakes, now: Instant) -> bool {
        if self.ready.is_empty() {
            return false;
        }
        let Some(parked) = self.pop_newest() else { return false };
        if let Some(packet) = self.pop_oldest(now) {
            self.hand(parked.worker);
            self.counters.handed_off += 1;
            *sync::lock(&parked.slot) = Slot::Packet(packet);
            wakes.push(parked.waker.clone());
        }
        true
    }

    /// The oldest packet is set aside for one who sits in a driver.
    fn set_aside(&mut self, seat: usize, wakes: &mut Wakes, now: Instant) {
        let packet = self.pop_oldest(now);
        self.seats[seat].reserved = packet;
        let Seat { worker, rest, .. } = self.seats[seat];
        self.hand(worker);
        // One that is awake has come for it, or is about to look.
        self.counters.handed_off += u64::from(rest != Rest::Awake);
        self.rouse(seat, wakes);
    }
}
