//! What one thread measures.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use super::{
    errors::{Errors, Kind},
    schedule::{Clock, Schedule},
};
use crate::error::plain;

/// The longest time that is told apart from longer ones: an hour, in nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;
/// Decimal digits that are exact.
const DIGITS: u8 = 3;
/// The messages of one connection that could not be sent are counted in at most so many steps.
const STEPS: u64 = 1000;

/// Counters that the main thread reads while the thread works. Aligned, so that no other thread's are in the same cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Messages that have come back.
    pub messages: AtomicU64,
    /// Errors.
    pub errors: AtomicU64,
}

/// The measurements of one thread.
#[derive(Debug)]
pub struct Meter<'a> {
    /// What the main thread sees of it.
    counters: &'a Counters,
    /// Which messages count. `None` before the run begins: then nothing is sent.
    pub clock: Option<Clock>,
    /// How long they took, in nanoseconds.
    times: Histogram<u64>,
    /// What went wrong, also while connecting and in the warm-up.
    errors: Errors,
    /// Messages that were due and have not been sent.
    unsent: u64,
}

impl<'a> Meter<'a> {
    /// Nothing is measured yet.
    pub fn new(counters: &'a Counters) -> Self {
        Self { counters, clock: None, times: histogram(), errors: Errors::default(), unsent: 0 }
    }

    /// A message that was due then is back.
    pub fn back(&mut self, due: Instant, now: Instant) {
        // This thread alone writes it.
        let messages = &self.counters.messages;
        messages.store(messages.load(Relaxed) + 1, Relaxed);
        if self.clock.is_some_and(|clock| clock.measures(due)) {
            self.times.saturating_record(nanoseconds(now.saturating_duration_since(due)));
        }
    }

    /// Something went wrong.
    pub fn failed(&mut self, kind: Kind, text: impl FnOnce() -> String) {
        self.errors.add(kind, text);
        self.counters.errors.store(self.errors.total, Relaxed);
    }

    /// The system said so.
    pub fn error(&mut self, error: &io::Error, doing: &str, whose: usize) {
        self.failed(Kind::of(error), || format!("connection {whose}, {doing}: {}", plain(error)));
    }

    /// At the end: messages of a connection from number `k` on that were due and could not be sent. What they have waited by now is
    /// the least that they would have taken; to leave them out would hide a server that does not keep up.
    pub fn overdue(&mut self, schedule: Schedule, connection: usize, k: u64, now: Instant) {
        let Some(clock) = self.clock else { return };
        let first = schedule.first_from(connection, k, clock.from);
        let end = schedule.first_from(connection, first, clock.until);
        self.unsent += end - first;
        let step = (end - first).div_ceil(STEPS).max(1);
        for k in (first..end).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let Some(due) = schedule.at(connection, k) else { return };
            let waited = nanoseconds(now.saturating_duration_since(due));
            self.times.saturating_record_n(waited, step.min(end - k));
        }
    }

    /// What is left when the thread has ended.
    pub fn finish(self) -> Measured {
        Measured { times: self.times, errors: self.errors, unsent: self.unsent }
    }
}

/// What threads have measured.
#[derive(Debug)]
pub struct Measured {
    /// How long the messages took, in nanoseconds.
    pub times: Histogram<u64>,
    /// What went wrong.
    pub errors: Errors,
    /// Messages that were due and were not sent.
    pub unsent: u64,
}

impl Default for Measured {
    fn default() -> Self {
        Self { times: histogram(), errors: Errors::default(), unsent: 0 }
    }
}

impl Measured {
    /// Takes in what another thread has measured.
    pub fn merge(&mut self, other: Measured) {
        // They have the same bounds, so nothing is refused.
        let added = self.times.add(&other.times);
        debug_assert!(added.is_ok());
        self.errors.merge(other.errors);
        self.unsent += other.unsent;
    }
}

/// An empty histogram.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST, DIGITS).unwrap_or_else(|_| {
        unreachable!("these constants are within the bounds that the crate accepts")
    })
}

/// In nanoseconds, as far as they go.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_sent_counts_with_what_it_has_waited() {
        let counters = Counters::default();
        let mut meter = Meter::new(&counters);
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        meter.clock = Some(Clock { start, from: at(1000), until: at(2000) });
        let schedule = Schedule { rate: Some(20_000.0), total: 2, start };
        meter.overdue(schedule, 1, 0, at(2000));
        meter.overdue(Schedule { rate: None, ..schedule }, 1, 0, at(2000));
        let measured = meter.finish();
        assert_eq!((measured.unsent, measured.times.len()), (10_000, 10_000));
        let median = measured.times.value_at_quantile(0.5);
        assert!((490_000_000..510_000_000).contains(&median), "{median}");
        assert!(measured.times.max() >= 990_000_000);
    }

    #[test]
    fn errors_are_counted_by_kind_and_the_first_is_kept() {
        let counters = Counters::default();
        let mut meter = Meter::new(&counters);
        meter.error(&io::ErrorKind::ConnectionRefused.into(), "connecting", 3);
        meter.failed(Kind::WrongBytes, || "byte 7".into());
        let mut all = Measured::default();
        all.errors.add(Kind::Reset, || "reset".into());
        all.merge(meter.finish());
        assert_eq!((all.errors.total, all.errors.refused, all.errors.wrong_bytes), (3, 1, 1));
        assert_eq!(all.errors.first.as_deref(), Some("reset"));
        assert_eq!(
            all.errors.kinds().iter().map(|(_, count)| count).sum::<u64>(),
            all.errors.total
        );
    }
}
