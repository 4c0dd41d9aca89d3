//! The hand-over of packets, of the seat, and of places among the running, under loom: every interleaving, within the stated bound.
//!
//! `RUSTFLAGS="--cfg completion_port_loom" cargo test -p completion-port --release --lib loom` (`.ci/run` does). The driver is a flag
//! behind a condition: a lost wake-up is a deadlock, which loom reports.

use std::{sync::Arc as StdArc, time::Instant};

use loom::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{Bed, Next, Release, Scheduler, Seating, Set, ThreadSleeper, Waking, worker::Desk};

/// Preemptions that loom tries in one execution: enough for every pair of races between three threads.
const PREEMPTIONS: usize = 3;

pub(super) fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(model);
}

/// Drivers in small: they can only be slept in and woken, and operations come to be in them.
struct Alarms {
    rung: Mutex<Set>,
    ring: Condvar,
    operations: [AtomicUsize; 2],
    now: Instant,
}

impl Alarms {
    /// Sleeps in all of them until one is woken.
    fn sleep(&self, those: Set) {
        let mut rung = self.rung.lock().unwrap();
        while !those.iter().any(|driver| rung.contains(driver)) {
            rung = self.ring.wait(rung).unwrap();
        }
        *rung = those.iter().fold(*rung, Set::without);
    }
}

impl Bed for Alarms {
    fn wake(&self, driver: usize) {
        let mut rung = self.rung.lock().unwrap();
        *rung = rung.with(driver);
        self.ring.notify_all();
    }

    fn is_occupied(&self, driver: usize) -> bool {
        self.operations[driver].load(Ordering::Relaxed) > 0
    }

    fn wants_kicks(&self) -> bool {
        false
    }

    fn kick(&self) {}

    fn has_spare_processor(&self) -> bool {
        true
    }

    /// It stands still: a model is run again and again, and must do the same each time.
    fn now(&self) -> Instant {
        self.now
    }
}

/// The port in small.
struct Port {
    scheduler: Scheduler<u32>,
    alarms: StdArc<Alarms>,
}

impl Port {
    fn new(limit: usize) -> Arc<Self> {
        Self::with_drivers(1, limit)
    }

    /// In use, so that somebody is to attend to the first driver.
    fn with_drivers(drivers: usize, limit: usize) -> Arc<Self> {
        let port = Self::unused(drivers, limit);
        port.scheduler.take_into_use();
        port
    }

    fn unused(drivers: usize, limit: usize) -> Arc<Self> {
        let alarms = StdArc::new(Alarms {
            rung: Mutex::new(Set::default()),
            ring: Condvar::new(),
            operations: [AtomicUsize::new(0), AtomicUsize::new(0)],
            now: Instant::now(),
        });
        let scheduler =
            Scheduler::new(alarms.clone(), drivers, limit, Waking::Eager, Release::Exact);
        Arc::new(Self { scheduler, alarms })
    }

    fn post(&self, packet: u32) -> bool {
        self.scheduler.post(packet).is_ok()
    }

    /// As `port::get`, with nothing ever coming from the driver but wake-ups.
    fn get(&self, me: Option<usize>) -> Option<u32> {
        let mut out = Vec::new();
        let sleeper = &mut ThreadSleeper;
        let waker = |sleeper: &ThreadSleeper| super::Sleeper::waker(sleeper);
        let mut next = match self.scheduler.begin(me, 1, &mut out, || waker(sleeper)) {
            Ok(next) => next,
            Err(parked) => self.scheduler.wait(&parked, 1, &mut out, None, sleeper),
        };
        loop {
            next = match next {
                Next::Taken => return out.pop(),
                Next::Closed => return None,
                Next::Drive(seating) => self.drive(seating, &mut out),
                Next::Wait(arrival) => match self.scheduler.park(me, arrival, waker(sleeper)) {
                    Some(parked) => self.scheduler.wait(&parked, 1, &mut out, None, sleeper),
                    None => Next::Closed,
                },
                Next::TimedOut | Next::Beside => unreachable!("nothing else ends a wait here"),
            }
        }
    }

    fn drive(&self, mut seating: Seating, out: &mut Vec<u32>) -> Next {
        loop {
            self.sleep(seating);
            match self.scheduler.next_in_seat(seating.seat, &mut Vec::new(), None, 1, out) {
                Next::Drive(next) => seating = next,
                next => return next,
            }
        }
    }

    fn sleep(&self, seating: Seating) {
        if self.scheduler.fall_asleep(seating).is_some() {
            self.alarms.sleep(seating.drivers);
            self.scheduler.wake_up(seating);
        }
    }

    /// As `Shared::start`, of something that does not end.
    fn start(&self, desk: &Desk) {
        let driver = desk.home().unwrap_or(0);
        self.alarms.operations[driver].fetch_add(1, Ordering::Relaxed);
        if driver != 0 {
            self.scheduler.started_at(driver, || desk.home());
        }
    }

    fn close(&self) -> Vec<u32> {
        if self.scheduler.close() {
            assert!(self.scheduler.wait_for_seats(None));
        }
        self.scheduler.drain().into()
    }
}

#[test]
fn two_waiters_and_two_posts() {
    check(|| {
        let port = Port::new(2);
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let port = port.clone();
                thread::spawn(move || port.get(None))
            })
            .collect();
        assert!(port.post(1) && port.post(2));
        let mut got: Vec<_> =
            waiters.into_iter().filter_map(|waiter| waiter.join().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
}

#[test]
fn posts_from_two_threads_to_one_waiter() {
    check(|| {
        let port = Port::new(2);
        let posters: Vec<_> = (1..=2)
            .map(|packet| {
                let port = port.clone();
                thread::spawn(move || assert!(port.post(packet)))
            })
            .collect();
        let mut got = [port.get(None).unwrap(), port.get(None).unwrap()];
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        posters.into_iter().for_each(|poster| poster.join().unwrap());
    });
}

/// With two packets there and nobody waiting, the worker that takes the first opens the inbox. A third one comes in past the lock while
/// that worker takes the second and comes to wait: it is neither lost nor early.
#[test]
fn a_post_past_the_lock_is_taken() {
    for new in [Port::unused, Port::with_drivers] {
        check(move || {
            let port = new(1, 1);
            assert!(port.post(1) && port.post(2));
            let worker = {
                let port = port.clone();
                thread::spawn(move || [(); 3].map(|()| port.get(None)))
            };
            assert!(port.post(3));
            assert_eq!(worker.join().unwrap(), [Some(1), Some(2), Some(3)]);
        });
    }
}

/// It is refused, or what the close returns.
#[test]
fn a_post_past_the_lock_races_with_a_close() {
    check(|| {
        let port = Port::unused(1, 1);
        assert!(port.post(1) && port.post(2));
        assert_eq!(port.get(None), Some(1));
        let poster = {
            let port = port.clone();
            thread::spawn(move || port.post(3))
        };
        let left = port.close();
        let posted = poster.join().unwrap();
        assert_eq!(left, if posted { vec![2, 3] } else { vec![2] });
    });
}

/// Every waiter is released (S23), and a packet is taken, returned by the close, or refused: never two of these, never none.
#[test]
fn a_close_races_with_a_post_and_a_waiter() {
    check(|| {
        let port = Port::new(2);
        let waiter = {
            let port = port.clone();
            thread::spawn(move || port.get(None))
        };
        let poster = {
            let port = port.clone();
            thread::spawn(move || port.post(7))
        };
        let left = port.close();
        let posted = poster.join().unwrap();
        let taken = waiter.join().unwrap();
        assert_eq!(usize::from(posted), left.len() + usize::from(taken.is_some()));
    });
}

/// One waits in the seat and one parked: the close releases both (S23), whichever is quicker to look.
#[test]
fn a_close_releases_two_waiters() {
    check(|| {
        let port = Port::new(2);
        let waiters = [(); 2].map(|()| {
            let port = port.clone();
            thread::spawn(move || port.get(None))
        });
        assert_eq!(port.close(), []);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), None);
        }
    });
}

/// Limit 1: a worker that blocks lets the next packet out, and one that exits does (S49, S54). Were the place lost, nobody would
/// take the second packet, and loom would find the deadlock.
#[test]
fn a_place_that_comes_free_is_taken() {
    check(|| {
        let port = Port::new(1);
        let (first, second) = (port.scheduler.enrol().0, port.scheduler.enrol().0);
        assert!(port.post(1));
        assert_eq!(port.get(Some(first)), Some(1));
        let waiter = {
            let port = port.clone();
            thread::spawn(move || port.get(Some(second)))
        };
        let poster = {
            let port = port.clone();
            thread::spawn(move || assert!(port.post(2)))
        };
        assert!(port.scheduler.block(first));
        assert_eq!(waiter.join().unwrap(), Some(2));
        port.scheduler.unblock(first);
        poster.join().unwrap();
        port.scheduler.dismiss(second);
        port.scheduler.dismiss(first);
        assert_eq!(port.scheduler.waiting(), (0, 0, 0));
    });
}

/// Limit 1: never two at once, whoever comes first.
#[test]
fn two_workers_and_one_place() {
    check(|| {
        let port = Port::new(1);
        let running = Arc::new(AtomicUsize::new(0));
        let workers = [(); 2].map(|()| {
            let (port, running) = (port.clone(), running.clone());
            let (me, _) = port.scheduler.enrol();
            thread::spawn(move || {
                let packet = port.get(Some(me));
                let others = running.fetch_add(1, Ordering::AcqRel);
                assert_eq!(others, 0, "the limit is 1");
                running.fetch_sub(1, Ordering::AcqRel);
                port.scheduler.dismiss(me);
                packet
            })
        });
        assert!(port.post(1) && port.post(2));
        let mut got: Vec<_> =
            workers.into_iter().filter_map(|worker| worker.join().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        assert_eq!(port.scheduler.waiting(), (0, 0, 0));
    });
}

/// A waiter gives up while it is given a packet: it has the packet, or the next waiter does, who sits in the driver.
#[test]
fn a_wait_that_ends_races_with_a_hand_off() {
    check(|| {
        let port = Port::new(2);
        let [seated, parked] = [(); 2].map(|()| port.scheduler.enrol().0);
        let mut out = Vec::new();
        let waker = || super::Sleeper::waker(&ThreadSleeper);
        let next = port.scheduler.begin(Some(seated), 1, &mut out, waker);
        let Ok(Next::Drive(seating)) = next else { unreachable!("the driver is alone") };
        let Err(waiter) = port.scheduler.begin(Some(parked), 1, &mut out, waker) else {
            unreachable!("there is nothing, and the seat is taken")
        };
        let poster = {
            let port = port.clone();
            thread::spawn(move || assert!(port.post(1)))
        };
        let gave_up = port.scheduler.give_up(&waiter);
        poster.join().unwrap();
        let given = port.scheduler.given(&waiter, 1, &mut out).is_some();
        assert_ne!(gave_up, given);
        // Counted in either case (S52).
        assert_eq!(port.scheduler.waiting(), (0, 0, 1 + usize::from(gave_up)));
        if gave_up {
            assert!(port.scheduler.fall_asleep(seating).is_none());
            let next =
                port.scheduler.next_in_seat(seating.seat, &mut Vec::new(), None, 1, &mut out);
            assert!(matches!(next, Next::Taken));
        }
        assert_eq!(out, [1]);
    });
}

/// Something changes while the one in the seat falls asleep: it looks again. A change that nobody looked at would be a deadlock.
#[test]
fn a_change_is_not_slept_through() {
    check(|| {
        let port = Port::new(1);
        let changed = Arc::new(loom::sync::atomic::AtomicBool::new(false));
        let next = port.scheduler.begin(None, 1, &mut Vec::new(), || unreachable!());
        let Ok(Next::Drive(seating)) = next else { unreachable!("the driver is alone") };
        let changer = {
            let (port, changed) = (port.clone(), changed.clone());
            thread::spawn(move || {
                changed.store(true, Ordering::Release);
                port.scheduler.rouse();
            })
        };
        while !changed.load(Ordering::Acquire) {
            port.sleep(seating);
        }
        changer.join().unwrap();
    });
}

/// A thread that is no worker starts the first operation of a port while another one comes to wait: that one attends to it, although it
/// was parked if it came before. An operation that nobody attends to would be a deadlock.
#[test]
fn the_first_operation_of_a_port_is_attended_to() {
    check(|| {
        let port = Port::unused(1, 1);
        let waiter = {
            let port = port.clone();
            thread::spawn(move || {
                let (out, sleeper) = (&mut Vec::new(), &mut ThreadSleeper);
                let waker = || super::Sleeper::waker(&ThreadSleeper);
                let next = match port.scheduler.begin(None, 1, out, waker) {
                    Ok(next) => next,
                    Err(parked) => port.scheduler.wait(&parked, 1, out, None, sleeper),
                };
                matches!(next, Next::Drive(_))
            })
        };
        port.alarms.operations[0].fetch_add(1, Ordering::Relaxed);
        port.scheduler.started_at(0, || None);
        assert!(waiter.join().unwrap());
    });
}

/// Waiters of a port that is only posted to are parked, the newest gets the packet, and nobody sits in the driver.
#[test]
fn a_post_wakes_who_is_parked_where_nothing_else_was_used() {
    check(|| {
        let port = Port::unused(1, 1);
        let getter = {
            let port = port.clone();
            thread::spawn(move || port.get(None))
        };
        assert!(port.post(1));
        assert_eq!(getter.join().unwrap(), Some(1));
        assert_eq!(port.alarms.rung.lock().unwrap().iter().count(), 0, "no driver was rung");
    });
}

/// A worker starts an operation in its driver, the second, while it loses that: whoever sleeps in the first takes the second along, in
/// whichever order. An operation that nobody attends to would be a deadlock.
#[test]
fn an_operation_in_a_home_that_is_lost_is_attended_to() {
    check(|| {
        let port = Port::with_drivers(2, 2);
        let [first, second] = [(); 2].map(|()| port.scheduler.enrol());
        // The one in the first driver is out when the other comes out, which so gets the second.
        assert!(port.post(1) && port.post(2));
        assert_eq!((port.get(Some(first.0)), port.get(Some(second.0))), (Some(1), Some(2)));
        assert_eq!((first.1.home(), second.1.home()), (Some(0), Some(1)));
        let sleeper = {
            let port = port.clone();
            thread::spawn(move || {
                let next = port.scheduler.begin(Some(first.0), 1, &mut Vec::new(), || {
                    unreachable!("the first driver is its own")
                });
                let Ok(Next::Drive(mut seating)) = next else { return false };
                while !seating.drivers.contains(1) {
                    port.sleep(seating);
                    let (packets, out) = (&mut Vec::new(), &mut Vec::new());
                    match port.scheduler.next_in_seat(seating.seat, packets, None, 1, out) {
                        Next::Drive(next) => seating = next,
                        _closed => return false,
                    }
                }
                true
            })
        };
        let starter = {
            let (port, desk) = (port.clone(), second.1.clone());
            thread::spawn(move || port.start(&desk))
        };
        // As a look does that finds it blocked.
        assert!(port.scheduler.block(second.0));
        starter.join().unwrap();
        if port.alarms.is_occupied(1) {
            assert!(sleeper.join().unwrap());
        } else {
            // It was started in the first driver.
            assert!(port.alarms.is_occupied(0) && port.scheduler.close());
            assert!(!sleeper.join().unwrap());
        }
    });
}

/// A worker that is out comes back while its driver is taken from it: one of the two has it, and is woken by what comes.
#[test]
fn a_driver_that_is_taken_from_a_returning_worker_has_one_sleeper() {
    check(|| {
        let port = Port::with_drivers(1, 2);
        let [owner, other] = [(); 2].map(|()| port.scheduler.enrol().0);
        assert!(port.post(1));
        assert_eq!(port.get(Some(owner)), Some(1));
        let returning = {
            let port = port.clone();
            thread::spawn(move || port.get(Some(owner)))
        };
        // Woken eagerly, it is sent to the driver of one that is out.
        let helper = {
            let port = port.clone();
            thread::spawn(move || port.get(Some(other)))
        };
        assert!(port.post(2) && port.post(3));
        let mut got = [returning, helper].map(|one| one.join().unwrap());
        got.sort_unstable();
        assert_eq!(got, [Some(2), Some(3)]);
    });
}

/// A waiter was sent to the driver of a worker that was blocked, is back, and fills the limit: looking up, it gives the driver back. Neither
/// of two packets is lost, and whoever has the driver wakes for the second.
#[test]
fn a_seat_that_is_given_up_to_a_worker_loses_nothing() {
    check(|| {
        let port = Port::with_drivers(1, 1);
        let [owner, other] = [(); 2].map(|()| port.scheduler.enrol().0);
        assert!(port.post(1));
        assert_eq!(port.get(Some(owner)), Some(1));
        let take_one = |port: &Port, me| {
            let packet = port.get(Some(me));
            port.scheduler.dismiss(me);
            packet
        };
        let helper = {
            let port = port.clone();
            thread::spawn(move || take_one(&port, other))
        };
        assert!(port.scheduler.block(owner));
        port.scheduler.unblock(owner);
        assert!(port.post(2));
        port.scheduler.rouse();
        assert!(port.post(3));
        let mut got = [take_one(&port, owner), helper.join().unwrap()];
        got.sort_unstable();
        assert_eq!(got, [Some(2), Some(3)]);
    });
}
