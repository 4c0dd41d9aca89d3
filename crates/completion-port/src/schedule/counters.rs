//! What the scheduler has done, counted.

use std::{fmt, time::Duration};

/// What the scheduling of a port has done since the port was made. Part of a [`Snapshot`](crate::Snapshot). All 0 on Windows, where the
/// kernel does it.
///
/// ```
/// use completion_port::CompletionPort;
///
/// let port = CompletionPort::<(), ()>::new()?;
/// port.key(()).post(0, ())?;
/// port.get()?;
/// assert_eq!(port.snapshot().scheduling.handed_off, 0, "nobody waited");
/// println!("{}", port.snapshot().scheduling);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Waiters that were woken, for whatever reason.
    pub wakes: u64,
    /// Packets that went straight to a waiter (S42), which was parked or slept in a driver.
    pub handed_off: u64,
    /// Drivers that were taken from a worker that was out, for waiters to look at: steals.
    pub took_over: u64,
    /// Workers that gave up their place in a wait of this library or in [`blocking`](crate::blocking).
    pub released_by_accounting: u64,
    /// Workers that were seen to be blocked.
    pub released_by_observation: u64,
    /// Helpers that were woken because packets had waited for long.
    pub released_by_age: u64,
    /// Packets that went to a waiter because a look found that those who ran did not come back for them.
    pub released_by_watch: u64,
    /// Looks at workers that were out.
    pub looks: u64,
    /// The longest time that a packet has waited here before it was taken.
    pub longest_wait: Duration,
    /// The most workers that ran at once.
    pub most_running: usize,
}

impl Counters {
    /// A packet was taken that had waited so long.
    pub(super) fn note_wait(&mut self, waited: Duration) {
        self.longest_wait = self.longest_wait.max(waited);
    }
}

impl fmt::Display for Counters {
    /// `key=value` words on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "wakes={} handed_off={} took_over={} released_by_accounting={} released_by_observation={} released_by_age={} released_by_watch={} looks={} longest_wait={:.6}s most_running={}",
            self.wakes,
            self.handed_off,
            self.took_over,
            self.released_by_accounting,
            self.released_by_observation,
            self.released_by_age,
            self.released_by_watch,
            self.looks,
            self.longest_wait.as_secs_f64(),
            self.most_running
        )
    }
}
