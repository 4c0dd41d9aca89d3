//! The primitives of the scheduler, and of events: the standard library's, or loom's when a model is checked (`--cfg completion_port_loom`).

use std::time::Instant;

#[cfg(completion_port_loom)]
pub(crate) use loom::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    },
    thread::{self, Thread},
};
#[cfg(not(completion_port_loom))]
pub(crate) use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    },
    thread::{self, Thread},
};

/// No code of a user runs behind these locks, so a poisoned one holds nothing broken.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    crate::pause::here();
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Parks the thread. False when the deadline has passed.
pub(super) fn park_until(deadline: Option<Instant>) -> bool {
    match deadline {
        None => thread::park(),
        #[cfg(completion_port_loom)]
        Some(_) => return false,
        #[cfg(not(completion_port_loom))]
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            thread::park_timeout(left);
            return Instant::now() < deadline;
        }
    }
    true
}
