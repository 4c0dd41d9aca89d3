//! How a port ends: everybody is told, everything is cancelled, what comes back is collected, what does not is leaked and counted.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    CompletionPort, Shared, get::settle_all, scheduling::Scheduling, shared::Hand, system,
};
use crate::{
    handle::close_with_port,
    operation::{Completion, Side},
    schedule::{Set, until},
};

/// Closes the port when it is dropped. From [`CompletionPort::close_on_drop`].
///
/// ```
/// use completion_port::{CloseOnDrop, CompletionPort, GetError};
///
/// let port = CompletionPort::<(), ()>::new()?;
/// let guard: CloseOnDrop<'_, (), ()> = port.close_on_drop();
/// drop(guard);
/// assert!(matches!(port.get(), Err(GetError::Closed)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct CloseOnDrop<'a, K: Send + Sync + 'static, T: Send + 'static>(
    pub(super) &'a CompletionPort<K, T>,
);

impl<K: Send + Sync + 'static, T: Send + 'static> Drop for CloseOnDrop<'_, K, T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

pub(super) fn close<K: Send + Sync + 'static, T: Send + 'static>(
    shared: &Arc<Shared<K, T>>,
) -> Vec<Completion<K, T>> {
    if !shared.scheduler.close() {
        return Vec::new();
    }
    // Each direction is closed behind its lock: a start that was there before is found and cancelled, a later one is refused.
    for handle in shared.handles() {
        close_with_port(&handle);
    }
    // A time beyond the clock's range is none.
    let deadline = shared.drivers.now().checked_add(shared.drain);
    let patience = Instant::now().checked_add(shared.drain);
    let mut packets = Vec::new();
    let alone = shared.scheduler.wait_for_others(patience);
    // From the system's port any number of threads may take.
    if alone || matches!(shared.scheduler, Scheduling::System(_)) {
        drain(shared, deadline, &mut packets);
    }
    let leaked = in_flight(shared);
    if leaked > 0 {
        shared.leaked.store(leaked, Ordering::Relaxed);
        tracing::warn!(
            operations = leaked,
            "a completion port was closed, and operations did not end in time; they are leaked"
        );
    }
    let mut left: Vec<_> = shared.scheduler.drain().into();
    if let Scheduling::System(_) = shared.scheduler {
        // What came out of the port before was older.
        std::mem::swap(&mut left, &mut packets);
    }
    left.append(&mut packets);
    left
}

/// Reaps until nothing is in flight, or the deadline.
fn drain<K: Send + Sync + 'static, T: Send + 'static>(
    shared: &Arc<Shared<K, T>>,
    deadline: Option<Instant>,
    packets: &mut Vec<Completion<K, T>>,
) {
    let mut hand = Hand::default();
    // What was cancelled may be there already, so even a deadline of no time allows one look.
    let mut looked = false;
    loop {
        if let Scheduling::System(queue) = &shared.scheduler {
            // A panic: its context cannot be made, and the port is closed, so nobody is left to be told.
            drop(system::settle(shared, queue, &mut hand));
        }
        drop(settle_all(shared, &mut hand.events, &mut hand.packets));
        packets.append(&mut hand.packets);
        let left = until(deadline, || shared.drivers.now());
        if (looked && left == Some(Duration::ZERO)) || in_flight(shared) == 0 {
            return;
        }
        looked = true;
        let occupied = shared.drivers.occupied();
        let (those, pause) = if occupied.is_empty() {
            // Another thread is between the two steps of a start that was there before the close.
            thread::yield_now();
            (Set::one(0), Some(Duration::ZERO))
        } else {
            (occupied, left)
        };
        let waited = match &shared.scheduler {
            Scheduling::Library(_) => {
                shared.drivers.wait(those, &[], pause, usize::MAX, &mut hand.events).map(drop)
            }
            Scheduling::System(queue) => queue.port().take(usize::MAX, pause, &mut hand.taken),
        };
        // A driver that fails gives nothing back any more: the deadline ends this.
        if waited.is_err() {
            thread::yield_now();
        }
    }
}

/// Operations that are not over.
fn in_flight<K, T>(shared: &Shared<K, T>) -> usize {
    let mut count = 0;
    for handle in shared.handles() {
        for side in [Side::In, Side::Out] {
            handle.each(side, |_| count += 1);
        }
    }
    count
}
