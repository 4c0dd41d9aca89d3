//! Promise 5, the limit: at most so many handlers run at once (S47), and in addition those that were seen to be blocked (S51).
//!
//! The handlers count themselves, and use the processor and nothing else, unless a test says otherwise.

use std::{
    io::{Read, Write},
    net::Shutdown,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use completion_port::{Buffer, CompletionPort, DriverKind, Release, Waking};

use crate::{
    kit::{Inside, burn, echo, observes, open, post, waiting},
    util::{pair, pattern, until},
};

crate::on_each_driver!(
    exact_with_posts,
    exact_with_posts_woken_eagerly,
    observed_with_posts,
    observed_with_posts_woken_eagerly,
    observed_with_handlers_that_sleep,
    exact_with_io,
    observed_with_io,
    as_many_as_the_limit_do_run,
    unlimited_lets_all_run,
);

const LIMIT: usize = 2;
const WORKERS: usize = 8;
const PACKETS: u32 = 100_000;

fn exact_with_posts(driver: DriverKind) {
    Limited::new(driver, Release::Exact, Waking::Late).posts(PACKETS, |_| {});
}

fn exact_with_posts_woken_eagerly(driver: DriverKind) {
    Limited::new(driver, Release::Exact, Waking::Eager).posts(PACKETS, |_| {});
}

fn observed_with_posts(driver: DriverKind) {
    Limited::new(driver, Release::Observed, Waking::Late).posts(PACKETS, |_| {});
}

fn observed_with_posts_woken_eagerly(driver: DriverKind) {
    Limited::new(driver, Release::Observed, Waking::Eager).posts(PACKETS, |_| {});
}

/// One in a hundred blocks for a moment, and others take its place meanwhile.
fn observed_with_handlers_that_sleep(driver: DriverKind) {
    for waking in [Waking::Late, Waking::Eager] {
        let limited = Limited::new(driver, Release::Observed, waking);
        limited.posts(5_000, |n| {
            if n % 100 == 0 {
                thread::sleep(Duration::from_millis(2));
            }
        });
        let scheduling = limited.port.snapshot().scheduling;
        assert!(!observes() || scheduling.released_by_observation > 0, "{scheduling}");
    }
}

fn exact_with_io(driver: DriverKind) {
    for waking in [Waking::Late, Waking::Eager] {
        Limited::new(driver, Release::Exact, waking).echoes();
    }
}

fn observed_with_io(driver: DriverKind) {
    for waking in [Waking::Late, Waking::Eager] {
        Limited::new(driver, Release::Observed, waking).echoes();
    }
}

/// A port with a limit, and who is in a handler.
struct Limited {
    port: CompletionPort<(), u32>,
    exact: bool,
    inside: Inside,
}

impl Limited {
    fn new(driver: DriverKind, release: Release, waking: Waking) -> Self {
        let port = open(driver, LIMIT, release, waking);
        Self { port, exact: release == Release::Exact, inside: Inside::default() }
    }

    /// A handler.
    fn handle<R>(&self, handler: impl FnOnce() -> R) -> R {
        let now = self.inside.enter();
        if now > LIMIT {
            // The count of releases only grows: whoever is inside in addition has been counted there before.
            let scheduling = self.port.snapshot().scheduling;
            let in_addition =
                if self.exact { 0 } else { scheduling.released_by_observation as usize };
            assert!(now <= LIMIT + in_addition, "S47: {now} handlers at once; {scheduling}");
        }
        let result = handler();
        self.inside.leave();
        result
    }

    /// So many packets are posted while the workers handle them.
    fn posts(&self, packets: u32, handler: impl Fn(u32) + Sync) {
        let handled = AtomicUsize::new(0);
        let (handled, handler) = (&handled, &handler);
        thread::scope(|s| {
            let _close = self.port.close_on_drop();
            let workers = [(); WORKERS].map(|()| {
                s.spawn(move || {
                    while let Ok(done) = self.port.get() {
                        self.handle(|| {
                            burn(50 + done.context as usize % 100);
                            handler(done.context);
                        });
                        handled.fetch_add(1, Ordering::Relaxed);
                    }
                })
            });
            post(&self.port, 0..packets);
            until("all packets are handled", || {
                handled.load(Ordering::Relaxed) == packets as usize
                    || workers.iter().any(|worker| worker.is_finished())
            });
        });
        assert_eq!(handled.load(Ordering::Relaxed), packets as usize);
        self.assert_it_counted();
    }

    /// Sixteen connections echo.
    fn echoes(&self) {
        const USERS: usize = 16;
        const ROUNDS: usize = 50;
        let handled = AtomicUsize::new(0);
        let handled = &handled;
        let (servers, users): (Vec<_>, Vec<_>) = (0..USERS).map(|_| pair(&self.port, ())).unzip();
        thread::scope(|s| {
            let _close = self.port.close_on_drop();
            for _ in 0..WORKERS {
                s.spawn(move || {
                    while let Ok(done) = self.port.get() {
                        self.handle(|| {
                            burn(500);
                            echo(done);
                        });
                        handled.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for server in &servers {
                server.recv(Buffer::with_capacity(64), 0).expect("started");
            }
            let talks: Vec<_> = (users.into_iter())
                .map(|mut user| {
                    s.spawn(move || {
                        for round in 0..ROUNDS {
                            let said = pattern(round, 64);
                            user.write_all(&said).expect("written");
                            let mut back = vec![0; 64];
                            user.read_exact(&mut back).expect("read");
                            assert!(back == said, "an echo that is not what was said");
                        }
                        user.shutdown(Shutdown::Write).expect("shut down");
                    })
                })
                .collect();
            talks.into_iter().for_each(|talk| talk.join().expect("no panic"));
            until("all packets are handled, and the ends", || {
                handled.load(Ordering::Relaxed) >= (2 * ROUNDS + 1) * USERS
            });
        });
        self.assert_it_counted();
    }

    fn assert_it_counted(&self) {
        let (most, scheduling) = (self.inside.most(), self.port.snapshot().scheduling);
        assert!(most >= 1, "nobody was seen inside");
        // The port's own count is of those that it takes to be running.
        assert!((1..=LIMIT).contains(&scheduling.most_running), "{scheduling}");
        if self.exact {
            assert_eq!(scheduling.released_by_observation, 0, "{scheduling}");
        }
    }
}

/// Each handler waits until as many as may are inside: fewer would be too few. Those that come too late are told to wait by the limit.
fn as_many_as_the_limit_do_run(driver: DriverKind) {
    for waking in [Waking::Late, Waking::Eager] {
        for limit in [1, 2, 3] {
            let port = open(driver, limit, Release::Exact, waking);
            assert_eq!(meet(&port, limit), limit, "S47, {waking:?}");
        }
    }
}

fn unlimited_lets_all_run(driver: DriverKind) {
    for waking in [Waking::Late, Waking::Eager] {
        let port = open(driver, LIMIT, Release::Unlimited, waking);
        assert_eq!(meet(&port, WORKERS), WORKERS, "{waking:?}");
    }
}

/// Has so many handlers wait for each other, with a packet for each worker, and tells how many were inside at once at most.
fn meet(port: &CompletionPort<(), u32>, expected: usize) -> usize {
    let inside = Inside::default();
    let handled = AtomicUsize::new(0);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        for _ in 0..WORKERS {
            s.spawn(|| {
                while port.get().is_ok() {
                    inside.enter();
                    // Not by the number that is inside now: one that was met may be gone already.
                    until("enough are inside", || inside.most() >= expected);
                    inside.leave();
                    handled.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        waiting(port, WORKERS);
        post(port, 0..WORKERS as u32);
        until("all have met", || handled.load(Ordering::Relaxed) == WORKERS);
    });
    inside.most()
}
