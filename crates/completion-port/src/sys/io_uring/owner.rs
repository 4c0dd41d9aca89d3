//! Which thread waits in a driver.
//!
//! The kernel completes a request in the name of the thread that has handed it over, which it wakes for that, whatever that sleeps for
//! (io_uring's task work). For one completion that is soon over: who settles it starts what follows. But a request that brings many would
//! have a main thread, say, that has started to accept and sleeps since, woken for each connection: two thread switches, a sixth of what a
//! short connection costs (docs/performance.md). So only who waits here asks for many. Should it do something else from then on, it is
//! woken all the same.

use std::{
    ptr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

thread_local! {
    /// Its address is the thread's alone while that lives.
    static HERE: u8 = const { 0 };
}

/// The thread that has waited last. A guess, that nothing but speed depends on.
#[derive(Default)]
pub(super) struct Owner(AtomicUsize);

impl Owner {
    /// The calling thread waits.
    pub(super) fn take_over(&self) {
        let me = me();
        if self.0.load(Relaxed) != me {
            self.0.store(me, Relaxed);
        }
    }

    /// Whether it is the calling thread.
    pub(super) fn is_here(&self) -> bool {
        self.0.load(Relaxed) == me()
    }
}

/// A number that is never 0.
fn me() -> usize {
    HERE.with(|here| ptr::from_ref(here).addr())
}
