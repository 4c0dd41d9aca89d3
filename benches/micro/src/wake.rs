//! Two threads wake each other in turn: each waits until the other has something for it.

use std::{
    net::TcpListener,
    sync::{
        Barrier,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use completion_port::{CompletionPort, DriverKind, Handle};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::{
    Outcome, Port, port,
    queue::{Posts, Queue},
};

/// Where one thread waits and the other wakes it.
pub trait Bell: Sync {
    /// Wakes `waiter`, if it waits here, or the next to wait.
    ///
    /// # Errors
    ///
    /// What is behind it is closed.
    fn ring(&self, waiter: &Thread) -> Outcome<()>;

    /// Waits for that.
    ///
    /// # Errors
    ///
    /// As for [`ring`](Bell::ring).
    fn wait(&self) -> Outcome<()>;
}

impl<Q: Queue> Bell for Q {
    fn ring(&self, _: &Thread) -> Outcome<()> {
        self.put(0)
    }

    fn wait(&self) -> Outcome<()> {
        self.take().map(drop)
    }
}

/// A bare futex: what `std::thread::park` is, and a flag.
#[derive(Default)]
pub struct Futex(AtomicBool);

impl Bell for Futex {
    fn ring(&self, waiter: &Thread) -> Outcome<()> {
        self.0.store(true, Release);
        waiter.unpark();
        Ok(())
    }

    fn wait(&self) -> Outcome<()> {
        while !self.0.swap(false, Acquire) {
            thread::park();
        }
        Ok(())
    }
}

/// On which cores the two are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    /// Both on one: a wake is a thread switch.
    One,
    /// Each on its own: a wake goes to another core, which sleeps.
    Two,
}

/// The calling thread stays on that core of those that the process has; on the first, if there is but one.
fn stay_on(core: usize) -> Outcome<()> {
    let allowed = sched_getaffinity(None)?;
    let cores: Vec<_> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    let mut only = CpuSet::new();
    only.set(*cores.get(core).or(cores.first()).ok_or("no core is allowed")?);
    Ok(sched_setaffinity(None, &only)?)
}

/// The one wakes the other and is woken by it, `count` times. That is two wake-ups each time.
///
/// # Errors
///
/// What is behind a bell is closed, or threads cannot be kept on a core.
pub fn in_turn(bells: &[impl Bell; 2], cores: Cores, count: u64) -> Outcome<Duration> {
    let [here, there] = bells;
    let start = Barrier::new(2);
    thread::scope(|s| {
        // Threads of their own: the caller's own core is nobody's business.
        let first = s.spawn(|| -> Outcome<Duration> {
            let first = thread::current();
            let second = s.spawn({
                let start = &start;
                move || -> Outcome<()> {
                    stay_on(usize::from(cores == Cores::Two))?;
                    start.wait();
                    for _ in 0..count {
                        there.wait()?;
                        here.ring(&first)?;
                    }
                    Ok(())
                }
            });
            stay_on(0)?;
            start.wait();
            let begun = Instant::now();
            for _ in 0..count {
                there.ring(second.thread())?;
                here.wait()?;
            }
            let took = begun.elapsed();
            second.join().map_err(|_| "a thread panicked")??;
            Ok(took)
        });
        first.join().map_err(|_| "a thread panicked")?
    })
}

/// The same by two ports that are only posted to: their waiters are parked.
///
/// # Errors
///
/// As for [`in_turn`].
pub fn in_turn_parked(driver: DriverKind, cores: Cores, count: u64) -> Outcome<Duration> {
    in_turn(&[Posts::new(driver)?, Posts::new(driver)?], cores, count)
}

/// A port with an accept that never comes: somebody is to sleep in its driver.
struct InUse {
    posts: Posts,
    _listener: Handle<(), u64>,
}

impl InUse {
    fn new(port: Port) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let listener = port.associate(listener, ()).map_err(|refused| refused.error)?;
        listener.accept(0).map_err(|refused| refused.error)?;
        Ok(Self { posts: Posts::from(port), _listener: listener })
    }
}

impl Bell for InUse {
    fn ring(&self, _: &Thread) -> Outcome<()> {
        self.posts.put(0)
    }

    fn wait(&self) -> Outcome<()> {
        self.posts.take().map(drop)
    }
}

/// The same by two ports, whose waiters sleep in the driver as the only waiter of a port does.
///
/// # Errors
///
/// As for [`in_turn`].
pub fn in_turn_in_drivers(driver: DriverKind, cores: Cores, count: u64) -> Outcome<Duration> {
    in_turn(&[InUse::new(port(driver)?)?, InUse::new(port(driver)?)?], cores, count)
}

/// A port at which another thread waits, too, and came first.
struct Beside {
    in_use: InUse,
    /// Its waiter has been woken once.
    begun: AtomicBool,
}

impl Bell for Beside {
    fn ring(&self, waiter: &Thread) -> Outcome<()> {
        // The first packet must not find the other thread alone. Later ones wait for the waiter: it runs, and one may.
        if !self.begun.swap(true, Relaxed) {
            while self.in_use.posts.port.snapshot().waiting_threads < 2 {
                thread::yield_now();
            }
        }
        self.in_use.ring(waiter)
    }

    fn wait(&self) -> Outcome<()> {
        self.in_use.wait()
    }
}

/// The same by two ports, at each of which another thread has waited since before. The first packet finds the newer one parked, on a
/// futex; it keeps up, so that the driver is its own from then on, and the other one is parked.
///
/// # Errors
///
/// As for [`in_turn`]; or a thread that was to sleep on has been given a packet.
pub fn in_turn_beside(driver: DriverKind, cores: Cores, count: u64) -> Outcome<Duration> {
    let bell = || -> Outcome<Beside> {
        let port = CompletionPort::builder().driver(driver).limit(1).build()?;
        Ok(Beside { in_use: InUse::new(port)?, begun: AtomicBool::new(false) })
    };
    let bells = [bell()?, bell()?];
    let was_given = AtomicBool::new(false);
    let took = thread::scope(|s| {
        let _close = bells.each_ref().map(|bell| bell.in_use.posts.port.close_on_drop());
        for bell in &bells {
            s.spawn(|| {
                if bell.in_use.posts.take().is_ok() {
                    was_given.store(true, Relaxed);
                    // Or those two would wait for ever.
                    bells.iter().for_each(|bell| drop(bell.in_use.posts.port.close()));
                }
            });
            while bell.in_use.posts.port.snapshot().waiting_threads == 0 {
                thread::yield_now();
            }
        }
        in_turn(&bells, cores, count)
    });
    if was_given.load(Relaxed) {
        Err("the thread that came first was given a packet".into())
    } else {
        took
    }
}
