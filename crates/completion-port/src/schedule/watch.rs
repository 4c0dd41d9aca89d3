//! Keeping watch: while workers are out, a waiter looks whether they come back.
//!
//! Under the policy of waking late nobody sleeps in the driver of a worker that keeps up: it looks there itself when it comes back. If it
//! does not come back, because it blocks or burns the processor, somebody must notice, and only a thread that wakes by itself can. It
//! is the oldest parked waiter, the one least likely to be needed, so that the newest stays where it is until there is work; where
//! nobody is parked, it is one who sits in another driver.
//!
//! A look costs one lock. Only workers that have not come back since the last look are looked at more closely ([`Observer::look`]): one
//! that is found out for long for the first time may be about to come back, and the look itself may have taken its processor; so another
//! look follows soon, and that one tells. Looks begin [`SOON`](policy::SOON) after a worker has gone out, become as rare as
//! [`SELDOM`](policy::SELDOM) while all come back, and as [`CALM`](policy::CALM) if that has been so for a while. They end when nobody
//! is out: an idle port has no timer.
//!
//! One that waits for a processor is left alone for [`OVERDUE`](policy::OVERDUE): it comes back by itself when it gets one, which no help
//! can hasten, and more looks would take more of what it waits for. A processor that is free the system gives it at once.
//!
//! Whether a processor is spare makes a difference twice. One that is found running with the same packet burns the processor; if none is
//! spare, only after [`BURNING`](policy::BURNING), since what the system does in its name may take long then. And packets that have waited
//! for long although workers come back have another worker only if it would have a processor, or after [`PATIENCE`](policy::PATIENCE).

use std::{
    sync::Arc as StdArc,
    time::{Duration, Instant},
};

use super::{
    Release, Scheduler, policy,
    state::{Parked, State, Wakes, Watch, Watcher, Worker},
    sync::{Arc, Ordering},
};
use crate::sys::thread_state::{Observer, Seen};

/// A worker that has not come back since the last look.
pub(super) struct Suspect {
    pub worker: usize,
    pub turns: u64,
    pub observer: StdArc<Observer>,
    /// The last look found it out with the same.
    pub again: bool,
}

/// What is to be looked at more closely.
pub(super) struct Outlook {
    pub suspects: Vec<Suspect>,
    /// Somebody has come back since the last look.
    pub progress: bool,
    /// Packets have waited for long, whoever comes back.
    pub help_wanted: bool,
}

/// What a look has seen.
pub(super) struct Sight<'a> {
    pub seen: &'a [(Seen, Suspect)],
    pub progress: bool,
    pub help_wanted: bool,
    /// A processor is spare. Not asked where it makes no difference.
    pub spare: bool,
}

impl<P> Scheduler<P> {
    /// When this waiter is to look next, if it keeps watch.
    pub(super) fn next_look(&self, parked: &Arc<Parked<P>>) -> Option<Instant> {
        // Not by the lock, which each wait would take twice: whoever has this one keep watch wakes it behind that.
        if !parked.keeps_watch.load(Ordering::Relaxed) {
            return None;
        }
        let state = self.state();
        state.watch.as_ref().filter(|watch| watch.is_by(parked)).map(|watch| watch.due)
    }

    /// Looks at who is out, and sends help where that is needed.
    pub(super) fn look(&self) {
        let Outlook { suspects, progress, help_wanted } = self.state().suspects(self.bed.now());
        let look = |one: Suspect| {
            let seen = if one.again { one.observer.look() } else { one.observer.glance() };
            (seen, one)
        };
        // Without the lock: these are system calls.
        let seen: Vec<_> = suspects.into_iter().map(look).collect();
        let runs = seen.iter().any(|(seen, _)| *seen == Seen::Running);
        let spare = (help_wanted || runs) && self.bed.has_spare_processor();
        let seen = Sight { seen: &seen, progress, help_wanted, spare };
        let (wakes, burning) = self.state().judge(&seen, self.bed.now());
        self.carry_out(wakes);
        if burning {
            // What its operations bring must not wait until it enters the kernel by itself.
            self.bed.kick();
        }
    }
}

impl<P> State<P> {
    pub(super) fn suspects(&mut self, now: Instant) -> Outlook {
        self.counters.looks += 1;
        let (mut suspects, mut progress) = (Vec::new(), false);
        for (number, worker) in self.workers.iter_mut().filter(|(_, worker)| worker.counted) {
            let again = worker.looked_at.replace(worker.turns) == Some(worker.turns);
            let long = |since| now.saturating_duration_since(since) >= policy::SOON;
            if worker.out.is_some_and(long) {
                let (turns, observer) = (worker.turns, worker.observer.clone());
                suspects.push(Suspect { worker: number, turns, observer, again });
            } else {
                progress = true;
            }
        }
        Outlook { suspects, progress, help_wanted: self.is_help_wanted(now) }
    }

    /// What was seen, and what follows. Tells also whether some worker burns the processor.
    pub(super) fn judge(&mut self, sight: &Sight<'_>, now: Instant) -> (Wakes, bool) {
        let Sight { seen, progress, help_wanted, spare } = *sight;
        self.spare_looks = if help_wanted && spare { self.spare_looks + 1 } else { 0 };
        let (mut burning, mut crowded, mut stuck) = (false, false, false);
        let released_before = self.counters.released_by_observation;
        // While they were looked at, others have gone out, or they themselves again.
        let is_seen = |number: usize, worker: &Worker| {
            seen.iter().any(|(_, seen)| (seen.worker, seen.turns) == (number, worker.turns))
        };
        let is_new =
            |(number, worker): (usize, &Worker)| worker.counted && !is_seen(number, worker);
        // Who was seen for the first time may be about to come back.
        let look_again = seen.iter().any(|(seen, _)| *seen == Seen::First);
        let progress = progress || look_again || self.workers.iter().any(is_new);
        for (seen, Suspect { worker: number, turns, .. }) in seen {
            if *seen == Seen::First {
                continue;
            }
            let still_out = |worker: &&mut Worker| worker.counted && worker.turns == *turns;
            let Some(worker) = self.workers.get_mut(*number).filter(still_out) else { continue };
            // Until then it may come back when it has had a processor; whoever came to help would want that one, too.
            let patience = match seen {
                Seen::Waiting => policy::OVERDUE,
                Seen::Running if !spare => policy::BURNING,
                _ => Duration::ZERO,
            };
            if *seen == Seen::Blocked && self.release != Release::Observed {
                // It keeps its place, and more looks would change nothing.
                worker.stuck = true;
                stuck = true;
            } else if *seen == Seen::Blocked {
                worker.counted = false;
                self.active -= 1;
                self.counters.released_by_observation += 1;
                self.wary = now.checked_add(policy::WARY);
            } else if !worker.is_out_for(patience, now) {
                crowded = true;
                continue;
            } else {
                burning = true;
            }
            // What its drivers bring is not to wait for it. One that is not looked at again loses them in any case.
            if *seen == Seen::Blocked || self.is_somebody_free() {
                self.counters.took_over += self.take_drivers_of(Some(*number)) as u64;
            }
        }
        let behind = !progress && !crowded && (burning || stuck);
        let mut wakes = self.settle_behind(now, behind);
        if seen.iter().any(|(seen, _)| !matches!(seen, Seen::First | Seen::Waiting)) {
            self.alert = now.checked_add(policy::WARY);
        }
        self.burning_since = if burning { self.burning_since.or(Some(now)) } else { None };
        let long = |since: Instant| now.saturating_duration_since(since) > policy::LONG;
        let released = self.counters.released_by_observation > released_before;
        let hurry =
            released || !self.burning_since.is_some_and(long) && (burning || self.is_eager(now));
        // A packet that may run waits for nobody but whoever looks.
        let waits = !self.ready.is_empty() && self.may_run();
        let needed = burning || crowded || waits || progress && self.is_watch_needed();
        let alert = self.alert.is_some_and(|until| now < until);
        let rarest = if alert { policy::SELDOM } else { policy::CALM };
        if let Some(watch) = &mut self.watch {
            watch.idle = if needed { 0 } else { watch.idle + 1 };
            watch.interval = if hurry { policy::SOON } else { (watch.interval * 2).min(rarest) };
            let next = if look_again {
                policy::SOON
            } else if self.spare_looks > 0 {
                watch.interval.min(policy::SELDOM)
            } else {
                watch.interval
            };
            watch.due = now + next;
            if watch.idle >= policy::IDLE_LOOKS {
                self.watch = None;
            }
        }
        if self.watch.is_none() {
            // It may have been all that packets past the lock were left to.
            wakes.add(self.settle(now));
        }
        (wakes, burning)
    }

    /// Whether somebody is out who may have to be helped: in whose absence a driver is alone, or packets wait.
    fn is_watch_needed(&self) -> bool {
        let is_out = |worker: &Worker| worker.counted && !worker.stuck;
        self.active > 0
            && self.workers.iter().any(|(_, worker)| is_out(worker))
            && (!self.left_to_workers().is_empty() || !self.ready.is_empty() || self.kickable)
    }

    /// Somebody keeps watch, if that is needed and somebody waits.
    pub(super) fn keep_watch(&mut self, wakes: &mut Wakes, now: impl FnOnce() -> Instant) {
        if self.watch.is_some() || !self.watchful || !self.is_watch_needed() {
            return;
        }
        let by = if let Some(oldest) = self.parked.first() {
            // Before it is woken, so that it finds that.
            oldest.keeps_watch.store(true, Ordering::Relaxed);
            wakes.push(oldest.waker.clone());
            Watcher::Parked(oldest.clone())
        } else if let Some(seat) = self.oldest_seat() {
            // It sleeps without an end, perhaps; awake, it asks before it falls asleep.
            self.rouse(seat, wakes);
            Watcher::Seat(seat)
        } else {
            return;
        };
        let (due, interval) = (now() + policy::SOON, policy::SOON);
        self.watch = Some(Watch { by, due, interval, idle: 0 });
    }

    /// When the one in the seat is to look next, if it keeps watch.
    pub(super) fn look_from(&self, seat: usize) -> Option<Instant> {
        self.watch.as_ref().filter(|watch| watch.is_from(seat)).map(|watch| watch.due)
    }
}

impl<P> Watch<P> {
    pub(super) fn is_by(&self, parked: &Arc<Parked<P>>) -> bool {
        matches!(&self.by, Watcher::Parked(by) if Arc::ptr_eq(by, parked))
    }

    pub(super) fn is_from(&self, seat: usize) -> bool {
        matches!(&self.by, Watcher::Seat(by) if *by == seat)
    }
}
