//! NT's queue as plain code, and the scheduler beside it: random histories on which both must agree at every step.
//!
//! Threads are virtual: a wait is begun, and what comes of it is looked at, so a history is one sequence and a seed replays it. The
//! policy is eager waking, as NT's is, and releases are by accounting.
//!
//! `COMPLETION_PORT_HISTORIES` says how many, `COMPLETION_PORT_SEED` where they begin.

use std::{
    collections::{BTreeMap, VecDeque},
    env,
    sync::{
        Arc as StdArc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::{Bed, Next, Release, Scheduler, Seating, Set, Waker, Waking, state::Parked, sync::Arc};

/// What a thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Out with this packet; `None`: it came back without one.
    Running(Option<u32>),
    /// In a wait of its own, from `Running`.
    Blocked(Option<u32>),
    Waiting,
    /// Told that the port is closed.
    Abandoned,
    Gone,
}

/// The queue of NT: entries, waiters (the newest last), the current count and the maximum.
struct Model {
    entries: VecDeque<u32>,
    waiters: Vec<usize>,
    current: usize,
    maximum: usize,
    /// Those who belong to the queue.
    joined: Vec<bool>,
    doing: Vec<Doing>,
    closed: bool,
}

impl Model {
    fn hand(&mut self, packet: u32, to: usize) {
        self.current += 1;
        self.doing[to] = Doing::Running(Some(packet));
    }

    fn insert(&mut self, packet: u32) {
        match self.waiters.pop() {
            Some(newest) if self.current < self.maximum => self.hand(packet, newest),
            Some(newest) => {
                self.waiters.push(newest);
                self.entries.push_back(packet);
            }
            None => self.entries.push_back(packet),
        }
    }

    /// A place has come free.
    fn release(&mut self) {
        if self.current < self.maximum
            && !self.entries.is_empty()
            && let Some(newest) = self.waiters.pop()
        {
            let packet = self.entries.pop_front().expect("not empty");
            self.hand(packet, newest);
        }
    }

    fn remove(&mut self, thread: usize) {
        if std::mem::replace(&mut self.joined[thread], true) {
            self.current -= 1;
        }
        if self.closed {
            self.joined[thread] = false;
            self.doing[thread] = Doing::Abandoned;
        } else if self.current < self.maximum && !self.entries.is_empty() {
            let packet = self.entries.pop_front().expect("not empty");
            self.hand(packet, thread);
        } else {
            self.waiters.push(thread);
            self.doing[thread] = Doing::Waiting;
        }
    }

    fn time_out(&mut self, thread: usize) {
        self.waiters.retain(|waiter| *waiter != thread);
        self.current += 1;
        self.doing[thread] = Doing::Running(None);
    }

    fn close(&mut self) {
        self.closed = true;
        for thread in std::mem::take(&mut self.waiters) {
            self.joined[thread] = false;
            self.doing[thread] = Doing::Abandoned;
        }
    }
}

/// Nobody sleeps on it, and its clock stands still: eager waking needs none. Who is to be woken, and which drivers are in use.
struct Pillow {
    woken: Vec<AtomicBool>,
    occupied: Set,
    now: Instant,
}

impl Bed for Pillow {
    fn wake(&self, driver: usize) {
        self.woken[driver].store(true, Ordering::Relaxed);
    }

    fn is_occupied(&self, driver: usize) -> bool {
        self.occupied.contains(driver)
    }

    fn wants_kicks(&self) -> bool {
        false
    }

    fn kick(&self) {}

    fn has_spare_processor(&self) -> bool {
        true
    }

    fn now(&self) -> Instant {
        self.now
    }
}

/// The scheduler with threads that are not there.
struct Real {
    scheduler: Scheduler<u32>,
    bed: StdArc<Pillow>,
    workers: Vec<usize>,
    parked: BTreeMap<usize, Arc<Parked<u32>>>,
    seated: BTreeMap<usize, Seating>,
    doing: Vec<Doing>,
}

impl Real {
    fn new(threads: usize, limit: usize, drivers: usize, occupied: Set) -> Self {
        let woken = (0..drivers).map(|_| AtomicBool::new(false)).collect();
        let bed = StdArc::new(Pillow { woken, occupied, now: Instant::now() });
        let scheduler = Scheduler::new(bed.clone(), drivers, limit, Waking::Eager, Release::Exact);
        let workers = (0..threads).map(|_| scheduler.enrol().0).collect();
        let doing = vec![Doing::Running(None); threads];
        let (parked, seated) = (BTreeMap::new(), BTreeMap::new());
        Self { scheduler, bed, workers, parked, seated, doing }
    }

    fn take_into_use(&mut self) {
        self.scheduler.take_into_use();
        self.run();
    }

    fn get(&mut self, thread: usize) {
        let mut out = Vec::new();
        let nobody = || Waker::Elsewhere(StdArc::new(|| {}));
        match self.scheduler.begin(Some(self.workers[thread]), 1, &mut out, nobody) {
            Ok(next) => self.go_on(thread, next, &mut out),
            Err(parked) => {
                self.doing[thread] = Doing::Waiting;
                self.parked.insert(thread, parked);
            }
        }
        self.run();
    }

    fn go_on(&mut self, thread: usize, next: Next, out: &mut Vec<u32>) {
        match next {
            Next::Taken => self.doing[thread] = Doing::Running(out.pop()),
            Next::Closed => self.doing[thread] = Doing::Abandoned,
            Next::Drive(seating) => {
                self.doing[thread] = Doing::Waiting;
                self.seated.insert(thread, seating);
                self.lie_down(thread);
            }
            Next::Wait(arrival) => {
                let nobody = Waker::Elsewhere(StdArc::new(|| {}));
                match self.scheduler.park(Some(self.workers[thread]), arrival, nobody) {
                    Some(parked) => _ = self.parked.insert(thread, parked),
                    None => self.doing[thread] = Doing::Abandoned,
                }
            }
            Next::TimedOut | Next::Beside => unreachable!("nobody waits for these here"),
        }
    }

    /// One in a seat looks for packets, and sleeps if there are none for it.
    fn lie_down(&mut self, thread: usize) {
        while let Some(seating) = self.seated.get(&thread).copied() {
            if self.scheduler.fall_asleep(seating).is_some() {
                return;
            }
            self.look_from_seat(thread);
        }
    }

    fn look_from_seat(&mut self, thread: usize) {
        let seat = self.seated[&thread].seat;
        let mut out = Vec::new();
        match self.scheduler.next_in_seat(seat, &mut Vec::new(), None, 1, &mut out) {
            Next::Drive(seating) => _ = self.seated.insert(thread, seating),
            next => {
                self.seated.remove(&thread);
                self.go_on(thread, next, &mut out);
            }
        }
    }

    /// Lets everybody run who was woken.
    fn run(&mut self) {
        loop {
            let mut ran = false;
            for driver in 0..self.bed.woken.len() {
                let sleeps = |seating: &Seating| seating.drivers.first() == Some(driver);
                let sleeper = self.seated.iter().find(|(_, seating)| sleeps(seating));
                let Some((thread, seating)) = sleeper.map(|(thread, at)| (*thread, *at)) else {
                    continue;
                };
                if self.bed.woken[driver].swap(false, Ordering::Relaxed) {
                    self.scheduler.wake_up(seating);
                    // What it was woken for is there, or the close.
                    self.look_from_seat(thread);
                    self.lie_down(thread);
                    ran = true;
                }
            }
            let waiting: Vec<_> = self.parked.keys().copied().collect();
            for thread in waiting {
                let mut out = Vec::new();
                let parked = self.parked[&thread].clone();
                if let Some(next) = self.scheduler.given(&parked, 1, &mut out) {
                    self.parked.remove(&thread);
                    self.go_on(thread, next, &mut out);
                    ran = true;
                }
            }
            if !ran {
                return;
            }
        }
    }

    fn time_out(&mut self, thread: usize) {
        if let Some(seating) = self.seated.remove(&thread) {
            self.scheduler.wake_up(seating);
            self.scheduler.leave(seating.seat);
        } else {
            let parked = self.parked.remove(&thread).expect("it waits");
            assert!(self.scheduler.give_up(&parked), "nothing was given to it");
        }
        self.doing[thread] = Doing::Running(None);
        self.run();
    }

    /// While somebody waits, no driver that is in use is left alone.
    fn all_are_attended_to(&self) -> bool {
        let attended: Set =
            self.seated.values().flat_map(|seating| seating.drivers.iter()).collect();
        let state = self.scheduler.state();
        let (left, in_use) = (state.left_to_workers(), state.in_use);
        drop(state);
        let fine = |driver| attended.contains(driver) || left.contains(driver);
        self.parked.is_empty() && self.seated.is_empty()
            || (0..self.bed.woken.len())
                .filter(|driver| *driver == 0 && in_use || self.bed.is_occupied(*driver))
                .all(fine)
    }
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

fn history(seed: u64) {
    let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (limit, threads) = (1 + rng.below(4), 1 + rng.below(8));
    let drivers = 1 + rng.below(limit);
    let occupied = (0..drivers).filter(|_| rng.below(3) > 0).collect();
    let mut model = Model {
        entries: VecDeque::new(),
        waiters: Vec::new(),
        current: 0,
        maximum: limit,
        joined: vec![false; threads],
        doing: vec![Doing::Running(None); threads],
        closed: false,
    };
    let mut real = Real::new(threads, limit, drivers, occupied);
    let mut next = 0;
    let mut log = Vec::new();
    let closes_at = 40 + rng.below(60);
    // From then on the first driver is attended to whatever is in it; or never.
    let used_at = rng.below(100);
    for step in 0..70 {
        if step == used_at {
            real.take_into_use();
        }
        let thread = rng.below(threads);
        let doing = model.doing[thread];
        match (rng.below(10), doing) {
            _ if step == closes_at => {
                log.push("close".to_owned());
                model.close();
                assert!(real.scheduler.close());
                real.run();
            }
            (0..4, _) => {
                log.push(format!("post {next}"));
                if !model.closed {
                    model.insert(next);
                }
                assert_eq!(real.scheduler.post(next).is_err(), model.closed);
                real.run();
                next += 1;
            }
            (4..8, Doing::Running(_)) => {
                log.push(format!("{thread} gets"));
                model.remove(thread);
                real.get(thread);
            }
            (8, Doing::Running(packet)) => {
                log.push(format!("{thread} blocks"));
                model.doing[thread] = Doing::Blocked(packet);
                if model.joined[thread] {
                    model.current -= 1;
                    if !model.closed {
                        model.release();
                    }
                }
                real.doing[thread] = Doing::Blocked(packet);
                assert_eq!(real.scheduler.block(real.workers[thread]), model.joined[thread]);
                real.run();
            }
            (4..9, Doing::Blocked(packet)) => {
                log.push(format!("{thread} is back"));
                model.doing[thread] = Doing::Running(packet);
                if model.joined[thread] {
                    model.current += 1;
                    real.scheduler.unblock(real.workers[thread]);
                }
                real.doing[thread] = Doing::Running(packet);
            }
            (4..6, Doing::Waiting) => {
                log.push(format!("{thread} times out"));
                model.time_out(thread);
                real.time_out(thread);
            }
            (9, Doing::Running(_)) if rng.below(3) == 0 => {
                log.push(format!("{thread} exits"));
                model.doing[thread] = Doing::Gone;
                if std::mem::replace(&mut model.joined[thread], false) {
                    model.current -= 1;
                    if !model.closed {
                        model.release();
                    }
                }
                real.doing[thread] = Doing::Gone;
                real.scheduler.dismiss(real.workers[thread]);
                real.run();
            }
            _ => continue,
        }
        let (packets, waiting, active) = real.scheduler.waiting();
        let told = format!(
            "seed {seed}, limit {limit}, drivers {drivers} {occupied:?}: {}",
            log.join(", ")
        );
        assert_eq!(real.doing, model.doing, "{told}");
        assert_eq!(active, model.current, "the current count; {told}");
        if !model.closed {
            assert_eq!((packets, waiting), (model.entries.len(), model.waiters.len()), "{told}");
            assert!(real.all_are_attended_to(), "{told}");
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn agrees_with_the_port() {
    let first = number("COMPLETION_PORT_SEED", 0);
    let count = number("COMPLETION_PORT_HISTORIES", 3000);
    (first..first + count).for_each(history);
}
