//! Who attends to which driver.
//!
//! A port has as many drivers as workers are to run, if the system profits from that. Each is attended to by one of these:
//!
//! - **a waiter** who sits in it: it sleeps there, and brings in what the system has finished. One may sit in several;
//! - **a worker that is out**, and looks there when it comes back. It starts its operations in it: it is the worker's *home*;
//! - **nobody**, if nothing is in it. As soon as something is, a waiter is sent, or one who sits elsewhere takes it along.
//!
//! The first driver is attended to even when nothing is in it: threads that are no workers start operations there, at any time, and
//! timers are with it. Not before the first of these: of a port that is only posted to, all waiters are parked, which wakes them sooner
//! ([`Scheduler::take_into_use`](super::Scheduler::take_into_use)). In another driver it is the worker whose home it is that starts
//! operations. Whoever starts one in a driver that is not its home, or not any more by then, asks afterwards whether somebody attends to it
//! ([`Scheduler::started`](super::Scheduler::started)).

use std::time::Instant;

use super::{
    Set, policy,
    state::{Slot, State, Wakes, Worker},
    sync,
};

/// A waiter's place in the order in which they came.
pub(crate) type Arrival = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attendant {
    Nobody,
    /// A worker that is out.
    Worker(usize),
    /// Who sits in this seat.
    Seat(usize),
}

/// A waiter who sits in drivers.
pub(super) struct Seat<P> {
    pub drivers: Set,
    pub worker: Option<usize>,
    pub arrival: Arrival,
    pub rest: Rest,
    /// What it was given. It counts as running already.
    pub reserved: Option<P>,
    /// It has got another driver, to be looked at before it falls asleep.
    pub alarm: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Awake,
    /// It is woken by way of this driver.
    Asleep(usize),
    /// It has been woken, so the next one need not.
    Woken,
}

/// A seat, for who sits in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seating {
    pub seat: usize,
    pub drivers: Set,
}

impl<P> State<P> {
    /// Whether somebody must see to it.
    fn is_needed(&self, driver: usize) -> bool {
        driver == 0 && self.in_use || self.bed.is_occupied(driver)
    }

    fn attended(&self, by: impl Fn(Attendant) -> bool) -> Set {
        (0..self.drivers.len()).filter(|driver| by(self.drivers[*driver])).collect()
    }

    /// The drivers that a worker looks at when it comes back.
    fn of_worker(&self, worker: usize) -> Set {
        self.attended(|by| by == Attendant::Worker(worker))
    }

    /// Drivers that nobody attends to, and somebody must.
    fn neglected(&self) -> Set {
        let nobody = self.attended(|by| by == Attendant::Nobody);
        nobody.iter().filter(|driver| self.is_needed(*driver)).collect()
    }

    /// Drivers that wait for workers that are out.
    pub(super) fn left_to_workers(&self) -> Set {
        self.attended(|by| matches!(by, Attendant::Worker(_)))
    }

    fn set_home(&self, worker: Option<usize>, home: Option<usize>) {
        if let Some(worker) = worker.and_then(|worker| self.workers.get(worker)) {
            worker.desk.set_home(home);
        }
    }

    /// The driver is taken from who has it.
    fn take_driver(&mut self, driver: usize) {
        let before = std::mem::replace(&mut self.drivers[driver], Attendant::Nobody);
        if let Attendant::Worker(worker) = before {
            self.set_home(Some(worker), self.of_worker(worker).first());
        }
    }

    /// The worker does not come back to its drivers, or not in time. Tells how many it had.
    pub(super) fn take_drivers_of(&mut self, worker: Option<usize>) -> usize {
        let Some(worker) = worker else { return 0 };
        let had = self.of_worker(worker);
        if had.is_empty() {
            return 0;
        }
        had.iter().for_each(|driver| self.take_driver(driver));
        // Before it is asked what is in them; see `Scheduler::started`.
        sync::fence(sync::Ordering::SeqCst);
        had.iter().count()
    }

    /// A worker comes out: it has a home, if there is one left for it. Not before the port is in use: it would have an operation there, and
    /// nobody would have been told that one who attends is needed, for timers too.
    pub(super) fn settle_down(&mut self, worker: Option<usize>) {
        let Some(worker) = worker.filter(|_| self.in_use) else { return };
        if self.workers.get(worker).is_some_and(|worker| worker.desk.home().is_none())
            && let Some(driver) = self.attended(|by| by == Attendant::Nobody).first()
        {
            self.drivers[driver] = Attendant::Worker(worker);
            self.set_home(Some(worker), Some(driver));
        }
    }

    /// Who comes to wait sits down where it is needed: in those of its drivers that are in use, and in those that nobody has. `None` if
    /// that is nowhere.
    pub(super) fn sit_where_needed(&mut self, worker: Option<usize>) -> Option<Seating> {
        self.take_drivers_of(worker);
        let neglected = self.neglected();
        if neglected.is_empty() {
            return None;
        }
        let arrival = self.arrive();
        Some(self.sit(worker, neglected, arrival))
    }

    pub(super) fn sit(&mut self, worker: Option<usize>, drivers: Set, arrival: Arrival) -> Seating {
        for driver in drivers.iter() {
            self.take_driver(driver);
        }
        let rest = Rest::Awake;
        let seat = self.seats.insert(Seat {
            drivers,
            worker,
            arrival,
            rest,
            reserved: None,
            alarm: false,
        });
        for driver in drivers.iter() {
            self.drivers[driver] = Attendant::Seat(seat);
        }
        self.set_home(worker, drivers.first());
        // Before it is looked at what is in them; see `Scheduler::started`.
        sync::fence(sync::Ordering::SeqCst);
        Seating { seat, drivers }
    }

    /// The seat is left. A worker that `runs` keeps its drivers, unless somebody is parked who could have some of them; who follows
    /// otherwise is for [`State::settle`] to say.
    pub(super) fn vacate(&mut self, seat: usize, runs: bool) {
        let Seat { drivers, worker, .. } = self.seats.remove(seat);
        if self.watch.as_ref().is_some_and(|watch| watch.is_from(seat)) {
            self.watch = None;
        }
        let owner = worker.filter(|worker| runs && self.workers.contains(*worker));
        let home = drivers.iter().find(|driver| self.is_needed(*driver)).or(drivers.first());
        for driver in drivers.iter() {
            let keeps = Some(driver) == home || self.parked.is_empty();
            self.drivers[driver] = match owner {
                Some(worker) if keeps => Attendant::Worker(worker),
                _ => Attendant::Nobody,
            };
        }
        self.set_home(worker, owner.and(home));
        sync::fence(sync::Ordering::SeqCst);
        if self.seats.is_empty()
            && let Some(closer) = self.closer.take()
        {
            closer.unpark();
        }
    }

    /// Who sits here may not run, and what it brings in is for those who do. If one of them keeps up, and lost its drivers when it did
    /// not, it looks there by itself again: woken by each completion, a second thread would only be in its way.
    pub(super) fn stand_up(&mut self, seat: usize, now: Instant) -> Option<Arrival> {
        let Seat { drivers, worker, arrival, .. } = self.seats[seat];
        worker.filter(|_| !self.may_run())?;
        let keeps_up = |number: usize, worker: &Worker| {
            let out = worker.out.map(|since| now.saturating_duration_since(since));
            // One that no look would look at any more could keep the driver for ever.
            let watched = worker.counted && !worker.stuck;
            watched
                && out.is_some_and(|out| out < policy::SOON)
                && self.of_worker(number).is_empty()
        };
        let (runs, _) = self.workers.iter().find(|(number, worker)| keeps_up(*number, worker))?;
        self.vacate(seat, false);
        for driver in drivers.iter() {
            self.drivers[driver] = Attendant::Worker(runs);
        }
        self.set_home(Some(runs), drivers.first());
        Some(arrival)
    }

    /// The newest of those who sit in drivers and have been given nothing, and when it came. Awake, it is about to look, or to sleep: it
    /// finds what it is given before it does.
    pub(super) fn newest_seat(&self) -> Option<(usize, Arrival)> {
        let seats = self.seats.iter().filter(|(_, seat)| seat.reserved.is_none());
        seats.map(|(number, seat)| (number, seat.arrival)).max_by_key(|(_, arrival)| *arrival)
    }

    /// Whether somebody waits who could be sent to a driver, or take it along.
    pub(super) fn is_somebody_free(&self) -> bool {
        !self.parked.is_empty() || self.seats.iter().any(|(_, seat)| seat.reserved.is_none())
    }

    /// The one who has sat the longest, and has been given nothing.
    pub(super) fn oldest_seat(&self) -> Option<usize> {
        let seats = self.seats.iter().filter(|(_, seat)| seat.reserved.is_none());
        seats.min_by_key(|(_, seat)| seat.arrival).map(|(number, _)| number)
    }

    /// The one in the seat is to look up.
    pub(super) fn rouse(&mut self, seat: usize, wakes: &mut Wakes) {
        if let Rest::Asleep(driver) = self.seats[seat].rest {
            self.seats[seat].rest = Rest::Woken;
            wakes.rouse = wakes.rouse.with(driver);
        }
    }

    /// Sends somebody to each driver that would be left alone.
    pub(super) fn send_where_needed(&mut self, wakes: &mut Wakes, now: Instant) {
        for driver in 0..self.drivers.len() {
            let alone = match self.drivers[driver] {
                Attendant::Nobody => true,
                Attendant::Worker(_) => self.may_run() && self.is_eager(now),
                Attendant::Seat(_) => false,
            };
            if alone && self.is_needed(driver) && !self.send_to(driver, wakes) {
                self.add_to_a_seat(driver, wakes);
            }
        }
    }

    /// The newest parked waiter goes to the driver.
    fn send_to(&mut self, driver: usize, wakes: &mut Wakes) -> bool {
        let Some(parked) = self.pop_newest() else { return false };
        self.counters.took_over += u64::from(matches!(self.drivers[driver], Attendant::Worker(_)));
        let seating = self.sit(parked.worker, Set::one(driver), parked.arrival);
        *sync::lock(&parked.slot) = Slot::Seat(seating);
        wakes.push(parked.waker.clone());
        true
    }

    /// One who sits in another driver takes this one along, the newest who has been given nothing, if nobody has it.
    fn add_to_a_seat(&mut self, driver: usize, wakes: &mut Wakes) {
        let any = || self.seats.iter().map(|(number, _)| number).next();
        if self.drivers[driver] != Attendant::Nobody {
            return;
        }
        let Some(seat) = self.newest_seat().map(|(number, _)| number).or_else(any) else {
            return;
        };
        self.drivers[driver] = Attendant::Seat(seat);
        self.seats[seat].drivers = self.seats[seat].drivers.with(driver);
        self.seats[seat].alarm = true;
        self.rouse(seat, wakes);
    }
}
