//! When the messages are due, and which of them are measured.

use std::time::{Duration, Instant};

/// The moments of a run.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The first message is due.
    pub start: Instant,
    /// The warm-up is over.
    pub from: Instant,
    /// Nothing is sent from here on.
    pub until: Instant,
}

impl Clock {
    /// A run that begins now.
    pub fn start(warm_up: Duration, duration: Duration) -> Self {
        let start = Instant::now();
        let from = start + warm_up;
        Self { start, from, until: from + duration }
    }

    /// The last moment at which a message can be due.
    pub fn last(&self) -> Instant {
        self.until - Duration::from_nanos(1)
    }

    /// Whether what a message takes that was due then is measured.
    pub fn measures(&self, due: Instant) -> bool {
        (self.from..self.until).contains(&due)
    }
}

/// The order in which messages are due in an open loop: one connection after the other, at equal distances.
///
/// Of `total` connections, message `k` of number `n` is number `k * total + n` of the run.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Messages a second. `None`: a closed loop, where a message is due as soon as there is room for it.
    pub rate: Option<f64>,
    /// Connections of all threads.
    pub total: usize,
    /// Where the run begins.
    pub start: Instant,
}

impl Schedule {
    /// When message `k` of a connection is due, if there is room for it now. `None`: not yet.
    pub fn due(&self, connection: usize, k: u64, now: Instant) -> Option<Instant> {
        match self.at(connection, k) {
            None => Some(now),
            Some(due) => (due <= now).then_some(due),
        }
    }

    /// The first message of a connection, from `k` on, that is not due before `time`. Messages of a closed loop never are.
    pub fn first_from(&self, connection: usize, k: u64, time: Instant) -> u64 {
        let before = |k| self.at(connection, k).is_some_and(|due| due < time);
        // Farther and farther, then nearer and nearer.
        let (mut low, mut step) = (k, 1);
        while before(low.saturating_add(step)) && low < u64::MAX / 2 {
            low += step;
            step *= 2;
        }
        let mut high = low.saturating_add(step);
        while low < high {
            let middle = low + (high - low) / 2;
            if before(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// When message `k` of a connection is due by the clock.
    pub fn at(&self, connection: usize, k: u64) -> Option<Instant> {
        let rate = self.rate?;
        let number = k as f64 * self.total as f64 + connection as f64;
        // Beyond the clock's range is never.
        let after = Duration::try_from_secs_f64(number / rate).unwrap_or(Duration::MAX);
        Some(self.start.checked_add(after).unwrap_or(self.start + NEVER))
    }
}

/// Longer than any run.
const NEVER: Duration = Duration::from_secs(1 << 24);

/// Walks over the messages of one thread in the order in which they are due.
#[derive(Debug)]
pub struct Cursor {
    /// The order of all.
    schedule: Schedule,
    /// The connections of this thread, by their numbers in the run.
    connections: Vec<usize>,
    /// How many of its messages have been due.
    passed: u64,
}

impl Cursor {
    /// At the first message of these connections.
    pub fn new(schedule: Schedule, connections: Vec<usize>) -> Self {
        Self { schedule, connections, passed: 0 }
    }

    /// The place among the thread's connections of the one whose message is next, and when that is due. `None` in a closed loop.
    fn peek(&self) -> Option<(usize, Instant)> {
        let count = self.connections.len() as u64;
        let place = self.passed.checked_rem(count)? as usize;
        let due = self.schedule.at(self.connections[place], self.passed / count)?;
        Some((place, due))
    }

    /// The next connection that has had a message come due by now.
    pub fn pass(&mut self, now: Instant) -> Option<usize> {
        let (place, _) = self.peek().filter(|(_, due)| *due <= now)?;
        self.passed += 1;
        Some(place)
    }

    /// When the next message is due.
    pub fn next(&self) -> Option<Instant> {
        self.peek().map(|(_, due)| due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_one_after_the_other() {
        let start = Instant::now();
        let schedule = Schedule { rate: Some(1000.0), total: 3, start };
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(schedule.at(0, 0), Some(start));
        assert_eq!(schedule.at(2, 1), Some(at(5)));
        assert_eq!(schedule.due(2, 1, at(4)), None);
        assert_eq!(
            schedule.due(2, 1, at(9)),
            Some(at(5)),
            "from when it was due, however late it is"
        );
        let closed = Schedule { rate: None, ..schedule };
        assert_eq!(closed.due(2, 100, at(9)), Some(at(9)));
    }

    #[test]
    fn the_first_from_a_time_on_is_found() {
        let start = Instant::now();
        let schedule = Schedule { rate: Some(1000.0), total: 3, start };
        let at = |ms| start + Duration::from_millis(ms);
        for ms in 0..50 {
            for k in [0, 1, 7] {
                let found = schedule.first_from(1, k, at(ms));
                let counted = (k..).find(|k| schedule.at(1, *k).expect("open") >= at(ms));
                assert_eq!(Some(found), counted, "from {k} at {ms} ms");
            }
        }
        assert_eq!(Schedule { rate: None, ..schedule }.first_from(1, 5, at(50)), 5);
    }

    #[test]
    fn a_thread_walks_over_its_own() {
        let start = Instant::now();
        let schedule = Schedule { rate: Some(1000.0), total: 5, start };
        let mut cursor = Cursor::new(schedule, vec![1, 3]);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(cursor.pass(start), None);
        assert_eq!(cursor.next(), Some(at(1)));
        let passed: Vec<_> = std::iter::from_fn(|| cursor.pass(at(8))).collect();
        assert_eq!(passed, [0, 1, 0, 1], "those at 1, 3, 6 and 8 ms");
        assert_eq!(cursor.next(), Some(at(11)));
        assert_eq!(Cursor::new(Schedule { rate: None, ..schedule }, vec![1]).next(), None);
    }

    #[test]
    fn a_slow_rate_is_not_an_overflow() {
        let schedule = Schedule { rate: Some(f64::MIN_POSITIVE), total: 1, start: Instant::now() };
        assert!(schedule.at(0, u64::MAX).is_some_and(|due| due > schedule.start));
    }
}
