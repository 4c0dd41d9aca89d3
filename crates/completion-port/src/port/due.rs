//! What the timers of a port are for.

use std::{any::Any, sync::atomic::Ordering, time::Duration};

use super::Shared;
use crate::{
    handle::{Deadline, Handle, Ticking},
    operation::{Completion, OpKind},
    schedule::timers::{Fired, Of},
};

/// A pool that holds more than it needs is asked so often to give some back, until it holds no more.
const RELAX_AFTER: Duration = Duration::from_millis(500);

pub(crate) enum Due<K: 'static, T: 'static> {
    /// An operation has taken too long.
    Expire(Deadline<K, T>),
    /// A packet is to come, with this context.
    Once(Handle<K, T>, T),
    /// One of many.
    Each(Handle<K, T>, Box<Ticking<T>>),
    /// The pool is to give back what it does not need.
    Relax,
}

// With a context of eight bytes, as in `cport serve`, a timer takes 60: these, 24 of its slot, and 12 in the heap.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Option<Due<(), u64>>>() <= 24);

impl<K: Send + Sync + 'static, T: Send + 'static> Due<K, T> {
    pub(super) fn comes_again(&self) -> bool {
        matches!(self, Due::Each(..))
    }
}

impl<K: Send + Sync + 'static, T: Send + 'static> Shared<K, T> {
    /// Does what is due now; the user's code may run in it. A panic of a maker of contexts is returned.
    pub(super) fn fire(
        &self,
        Fired { key, at, what }: Fired<Due<K, T>>,
        sink: &mut dyn FnMut(Completion<K, T>),
    ) -> Option<Box<dyn Any + Send>> {
        match what {
            Due::Expire(deadline) => deadline.pass(),
            Due::Once(handle, context) => {
                sink(Completion::new(handle, OpKind::Timer, 0, Ok(1), context));
            }
            Due::Each(handle, mut ticking) => {
                // Brought in at once, and not with the rest of what this thread has in hand: when a cancel finds the timer again, and
                // brings its last packet in, this one is before it.
                let mut deliver = |packet| self.scheduler.push(packet);
                let (next, panic) = ticking.tick(&handle, at, self.drivers.now(), &mut deliver);
                match self.timers.fired(key, next, Due::Each(handle, ticking)) {
                    Ok(true) => self.scheduler.rouse(),
                    Ok(false) => {}
                    // No lock is held, and who drives drops makers as it drops contexts.
                    Err(cancelled) => drop(cancelled.end(&mut deliver)),
                }
                return panic;
            }
            Due::Relax => {
                self.relaxing.store(false, Ordering::Relaxed);
                self.pool.relax();
            }
        }
        None
    }

    /// If the pool holds more than it needs, it is to relax in a while.
    pub(super) fn let_pool_relax(&self) {
        if !self.pool.is_swollen() || self.relaxing.swap(true, Ordering::Relaxed) {
            return;
        }
        let at = self.deadline(Some(RELAX_AFTER));
        let (_, late) = self.timers.arm(Of::Nobody, at, Due::Relax);
        self.scheduler.armed(late);
    }
}
