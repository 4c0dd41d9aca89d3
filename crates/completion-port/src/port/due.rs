//! What the timers of a port are for.

use std::{sync::atomic::Ordering, time::Duration};

use super::Shared;
use crate::handle::EndOf;

/// A pool that holds more than it needs is asked so often to give some back, until it holds no more.
const RELAX_AFTER: Duration = Duration::from_millis(500);

pub(crate) enum Due<K: 'static, T: 'static> {
    /// A graceful end has taken too long.
    End(EndOf<K, T>),
    /// The pool is to give back what it does not need.
    Relax,
}

impl<K: Send + Sync + 'static, T: Send + 'static> Shared<K, T> {
    /// Does what is due now, if anything is; the user's code may run in it, and panic.
    pub(super) fn fire(&self, due: Due<K, T>) {
        match due {
            Due::End(end) => end.expire(),
            Due::Relax => {
                self.relaxing.store(false, Ordering::Relaxed);
                self.pool.relax();
            }
        }
    }

    /// If the pool holds more than it needs, it is to relax in a while.
    pub(super) fn let_pool_relax(&self) {
        if !self.pool.is_swollen() || self.relaxing.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(at) = self.drivers.now().checked_add(RELAX_AFTER)
            && self.timers.arm(at, Due::Relax).1
        {
            self.scheduler.rouse();
        }
    }
}
