//! How a thread waits for its turn, and how it is told: parked as a rule; in an alertable wait, asleep with its own driver.

use std::time::Instant;

use super::sync::{self, Thread, thread};

/// Ends the wait of one thread. To wake it without need costs it a look, no more.
#[derive(Clone)]
pub(crate) enum Waker {
    Parked(Thread),
    /// The thread sleeps where this wakes it.
    Elsewhere(std::sync::Arc<dyn Fn() + Send + Sync>),
}

impl Waker {
    /// No lock is held: this may take others.
    pub(crate) fn wake(self) {
        match self {
            Waker::Parked(thread) => thread.unpark(),
            Waker::Elsewhere(wake) => wake(),
        }
    }
}

/// Why a thread that waited for its turn waits no longer.
pub(crate) enum Park {
    /// It was woken, perhaps: it is to look.
    Woken,
    TimedOut,
    /// There is something for it beside what it waited for.
    Beside,
}

/// How one thread waits.
pub(crate) trait Sleeper {
    fn waker(&self) -> Waker;
    fn park(&mut self, deadline: Option<Instant>) -> Park;
}

/// As threads do.
pub(crate) struct ThreadSleeper;

impl Sleeper for ThreadSleeper {
    fn waker(&self) -> Waker {
        Waker::Parked(thread::current())
    }

    fn park(&mut self, deadline: Option<Instant>) -> Park {
        if sync::park_until(deadline) { Park::Woken } else { Park::TimedOut }
    }
}
