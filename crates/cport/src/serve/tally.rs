//! What has been done, counted without a lock: each worker has its own counters, and a report adds them up.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use completion_port::error::Situation;

/// One worker's counters, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Tally {
    /// Connections accepted.
    pub accepted: Counter,
    /// Bytes received.
    pub read: Counter,
    /// Bytes echoed.
    pub sent: Counter,
    /// Bytes received whose echo failed: every byte read is either sent or unsent.
    pub unsent: Counter,
    /// Bytes that came after the end had begun and were thrown away.
    pub discarded: Counter,
    /// Connections that their client reset.
    pub reset: Counter,
    /// Connections that were closed because their client said nothing, or did not take its echo.
    pub idle: Counter,
    /// Operations that failed, resets among them.
    pub errors: Counter,
}

impl Tally {
    /// Counts a connection that is over for this reason.
    pub fn failed(&self, error: &io::Error) {
        self.errors.add(1);
        if Situation::of(error) == Some(Situation::PeerReset) {
            self.reset.add(1);
        }
    }
}

/// A number that only grows, written by one thread. Nothing is published by it, so its order among other memory does not matter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `more`.
    pub fn add(&self, more: usize) {
        self.0.store(self.0.load(Relaxed) + more as u64, Relaxed);
    }

    /// How much that is now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The sum over all workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// See [`Tally::accepted`].
    pub accepted: u64,
    /// See [`Tally::read`].
    pub read: u64,
    /// See [`Tally::sent`].
    pub sent: u64,
    /// See [`Tally::unsent`].
    pub unsent: u64,
    /// See [`Tally::discarded`].
    pub discarded: u64,
    /// See [`Tally::reset`].
    pub reset: u64,
    /// See [`Tally::idle`].
    pub idle: u64,
    /// See [`Tally::errors`].
    pub errors: u64,
}

impl Totals {
    /// Adds up. Exact when the workers are at rest; a moment's picture while they run.
    pub fn of(tallies: &[Tally]) -> Self {
        let sum =
            |which: fn(&Tally) -> &Counter| tallies.iter().map(|tally| which(tally).get()).sum();
        Self {
            accepted: sum(|tally| &tally.accepted),
            read: sum(|tally| &tally.read),
            sent: sum(|tally| &tally.sent),
            unsent: sum(|tally| &tally.unsent),
            discarded: sum(|tally| &tally.discarded),
            reset: sum(|tally| &tally.reset),
            idle: sum(|tally| &tally.idle),
            errors: sum(|tally| &tally.errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_adds_up_all_workers() {
        let tallies = [Tally::default(), Tally::default()];
        tallies[0].read.add(1);
        tallies[1].read.add(2);
        tallies[1].unsent.add(3);
        assert_eq!(Totals::of(&tallies), Totals { read: 3, unsent: 3, ..Totals::default() });
    }
}
