//! Which port a thread belongs to: that of its last wait, until it waits at another or exits (S46).

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

thread_local! {
    /// The number of the port; 0 before the first wait.
    static PORT: Cell<u64> = const { Cell::new(0) };
}

/// A port, as its threads know it. Numbers are never used twice.
pub(super) struct Membership(u64);

impl Membership {
    pub(super) fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(super) fn number(&self) -> u64 {
        self.0
    }

    pub(super) fn join(&self) {
        PORT.set(self.0);
    }

    pub(super) fn is_joined(&self) -> bool {
        PORT.get() == self.0
    }
}
