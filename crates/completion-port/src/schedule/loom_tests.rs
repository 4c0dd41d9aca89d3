//! The hand-over of packets and of the seat under loom: every interleaving, within the stated bound.
//!
//! `RUSTFLAGS="--cfg completion_port_loom" cargo test -p completion-port --release --lib loom` (`.ci/run` does). The driver is a counter of wake-ups
//! behind a condition: a lost wake-up is a deadlock, which loom reports.

use loom::{
    sync::{Arc, Condvar, Mutex},
    thread,
};

use super::{Next, Scheduler, ThreadSleeper};

/// Preemptions that loom tries in one execution: enough for every pair of races between three threads.
const PREEMPTIONS: usize = 3;

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(model);
}

/// The port in small: a scheduler, and a driver that can only be woken.
struct Port {
    scheduler: Scheduler<u32>,
    woken: Mutex<bool>,
    wake: Condvar,
}

impl Port {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            scheduler: Scheduler::new(),
            woken: Mutex::new(false),
            wake: Condvar::new(),
        })
    }

    fn post(&self, packet: u32) -> bool {
        match self.scheduler.post(packet) {
            Ok(rouse) => {
                self.rouse(rouse);
                true
            }
            Err(_) => false,
        }
    }

    fn rouse(&self, rouse: bool) {
        if rouse {
            *self.woken.lock().unwrap() = true;
            self.wake.notify_one();
        }
    }

    /// As `port::get`, with nothing ever coming from the driver but wake-ups.
    fn get(&self) -> Option<u32> {
        let mut out = Vec::new();
        loop {
            let next = match self.scheduler.next(1, &mut out, None, &mut ThreadSleeper) {
                Next::Drive => self.drive(&mut out),
                next => next,
            };
            match next {
                Next::Taken => return out.pop(),
                Next::Closed => return None,
                Next::Drive | Next::TimedOut | Next::Beside => {}
            }
        }
    }

    fn drive(&self, out: &mut Vec<u32>) -> Next {
        loop {
            if self.scheduler.fall_asleep() {
                let mut woken = self.woken.lock().unwrap();
                while !*woken {
                    woken = self.wake.wait(woken).unwrap();
                }
                *woken = false;
                drop(woken);
                self.scheduler.wake_up();
            }
            match self.scheduler.next_in_seat(&mut Vec::new(), 1, out) {
                Next::Drive => {}
                next => return next,
            }
        }
    }

    fn close(&self) -> Vec<u32> {
        if let Some(rouse) = self.scheduler.close() {
            self.rouse(rouse);
            assert!(self.scheduler.take_seat_to_close(None));
            self.scheduler.leave();
        }
        self.scheduler.drain().into()
    }
}

#[test]
fn two_waiters_and_two_posts() {
    check(|| {
        let port = Port::new();
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let port = port.clone();
                thread::spawn(move || port.get())
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
        let port = Port::new();
        let posters: Vec<_> = (1..=2)
            .map(|packet| {
                let port = port.clone();
                thread::spawn(move || assert!(port.post(packet)))
            })
            .collect();
        let mut got = [port.get().unwrap(), port.get().unwrap()];
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        posters.into_iter().for_each(|poster| poster.join().unwrap());
    });
}

/// Every waiter is released (S23), and a packet is taken, returned by the close, or refused: never two of these, never none.
#[test]
fn a_close_races_with_a_post_and_a_waiter() {
    check(|| {
        let port = Port::new();
        let waiter = {
            let port = port.clone();
            thread::spawn(move || port.get())
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
