//! Deadlines, the earliest first. Whoever sits in the first driver sleeps no longer than to the first of them and fires what is due.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

pub(crate) struct Timers<W> {
    armed: Mutex<Armed<W>>,
}

struct Armed<W> {
    /// The number tells timers of the same instant apart.
    timers: BTreeMap<TimerKey, W>,
    next: u64,
}

/// Names an armed timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey(Instant, u64);

impl<W> Timers<W> {
    pub(crate) fn new() -> Self {
        Self { armed: Mutex::new(Armed { timers: BTreeMap::new(), next: 0 }) }
    }

    fn armed(&self) -> MutexGuard<'_, Armed<W>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Arms one. True if it is now the first, so that a sleeper must look again.
    pub(crate) fn arm(&self, at: Instant, what: W) -> (TimerKey, bool) {
        let mut armed = self.armed();
        let key = TimerKey(at, armed.next);
        armed.next += 1;
        armed.timers.insert(key, what);
        (key, armed.timers.first_key_value().is_some_and(|(first, _)| *first == key))
    }

    pub(crate) fn disarm(&self, key: TimerKey) {
        let gone = self.armed().timers.remove(&key);
        // Dropped without the lock: it may hold the last reference to something of the user's.
        drop(gone);
    }

    pub(crate) fn first(&self) -> Option<Instant> {
        self.armed().timers.first_key_value().map(|(key, _)| key.0)
    }

    /// Takes one that is due.
    pub(crate) fn due(&self, now: Instant) -> Option<W> {
        let mut armed = self.armed();
        let first = armed.timers.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}
