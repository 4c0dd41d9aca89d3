//! The hand-over of packets, of the seat, and of places among the running, under loom: every interleaving, within the stated bound.
//!
//! `RUSTFLAGS="--cfg completion_port_loom" cargo test -p completion-port --release --lib loom` (`.ci/run` does). The driver is a flag
//! behind a condition: a lost wake-up is a deadlock, which loom reports.

use std::{sync::Arc as StdArc, time::Instant};

use loom::{
    sync::{Arc, Condvar, Mutex},
    thread,
};

use super::{Bed, Next, Release, Scheduler, ThreadSleeper, Waking};

/// Preemptions that loom tries in one execution: enough for every pair of races between three threads.
const PREEMPTIONS: usize = 3;

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(model);
}

/// The driver in small: it can only be slept in and woken.
struct Alarm {
    rung: Mutex<bool>,
    ring: Condvar,
}

impl Alarm {
    fn sleep(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.ring.wait(rung).unwrap();
        }
        *rung = false;
    }
}

impl Bed for Alarm {
    fn wake(&self) {
        *self.rung.lock().unwrap() = true;
        self.ring.notify_one();
    }

    fn wants_kicks(&self) -> bool {
        false
    }

    fn kick(&self) {}

    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// The port in small.
struct Port {
    scheduler: Scheduler<u32>,
    alarm: StdArc<Alarm>,
}

impl Port {
    fn new(limit: usize) -> Arc<Self> {
        let alarm = StdArc::new(Alarm { rung: Mutex::new(false), ring: Condvar::new() });
        let scheduler = Scheduler::new(alarm.clone(), limit, Waking::Eager, Release::Exact);
        Arc::new(Self { scheduler, alarm })
    }

    fn post(&self, packet: u32) -> bool {
        self.scheduler.post(packet).is_ok()
    }

    /// As `port::get`, with nothing ever coming from the driver but wake-ups.
    fn get(&self, me: Option<usize>) -> Option<u32> {
        let mut out = Vec::new();
        let sleeper = &mut ThreadSleeper;
        let next = match self.scheduler.begin(me, 1, &mut out, || super::Sleeper::waker(sleeper)) {
            Ok(next) => next,
            Err(parked) => self.scheduler.wait(&parked, 1, &mut out, None, sleeper),
        };
        match if matches!(next, Next::Drive) { self.drive(me, &mut out) } else { next } {
            Next::Taken => out.pop(),
            Next::Closed => None,
            Next::Drive | Next::TimedOut | Next::Beside => {
                unreachable!("nothing else ends a wait here")
            }
        }
    }

    fn drive(&self, me: Option<usize>, out: &mut Vec<u32>) -> Next {
        loop {
            if self.scheduler.fall_asleep().is_some() {
                self.alarm.sleep();
                self.scheduler.wake_up();
            }
            match self.scheduler.next_in_seat_for(me, &mut Vec::new(), 1, out) {
                Next::Drive => {}
                next => return next,
            }
        }
    }

    fn close(&self) -> Vec<u32> {
        if self.scheduler.close() {
            assert!(self.scheduler.take_seat_to_close(None));
            self.scheduler.leave_for(None, false);
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
        let (first, second) = (port.scheduler.enrol(), port.scheduler.enrol());
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
        let running = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let workers = [(); 2].map(|()| {
            let (port, running) = (port.clone(), running.clone());
            let me = port.scheduler.enrol();
            thread::spawn(move || {
                let packet = port.get(Some(me));
                let others = running.fetch_add(1, loom::sync::atomic::Ordering::AcqRel);
                assert_eq!(others, 0, "the limit is 1");
                running.fetch_sub(1, loom::sync::atomic::Ordering::AcqRel);
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

/// A waiter gives up while it is given a packet: it has the packet, or the packet is there for the next.
#[test]
fn a_wait_that_ends_races_with_a_hand_off() {
    check(|| {
        let port = Port::new(2);
        let [seated, parked] = [(); 2].map(|()| port.scheduler.enrol());
        let mut out = Vec::new();
        let waker = || super::Sleeper::waker(&ThreadSleeper);
        // Nobody is awake in the seat: it must not take what is posted.
        let next = port.scheduler.begin(Some(seated), 1, &mut out, waker);
        assert!(matches!(next, Ok(Next::Drive)));
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
        assert_eq!(port.scheduler.waiting(), (usize::from(gave_up), 0, 1));
    });
}

/// Something changes while the one in the seat falls asleep: it looks again. A change that nobody looked at would be a deadlock.
#[test]
fn a_change_is_not_slept_through() {
    check(|| {
        let port = Port::new(1);
        let changed = Arc::new(loom::sync::atomic::AtomicBool::new(false));
        assert!(matches!(
            port.scheduler.begin(None, 1, &mut Vec::new(), || unreachable!()),
            Ok(Next::Drive)
        ));
        let changer = {
            let (port, changed) = (port.clone(), changed.clone());
            thread::spawn(move || {
                changed.store(true, loom::sync::atomic::Ordering::Release);
                port.scheduler.rouse();
            })
        };
        while !changed.load(loom::sync::atomic::Ordering::Acquire) {
            if port.scheduler.fall_asleep().is_some() {
                port.alarm.sleep();
                port.scheduler.wake_up();
            }
        }
        changer.join().unwrap();
    });
}
