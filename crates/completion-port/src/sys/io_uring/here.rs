//! Receives of streams that wait with the kernel for readiness only, and are done here when it is their turn.
//!
//! In a crowd: what the kernel received the moment that it came would be out of the processor's caches long before its packet is taken
//! ([`Backlog`](super::super::backlog::Backlog)). Where messages are large: the buffers that lie with the kernel it takes in turn, so that
//! each is cold by then, and the one that comes back last is the first to be used here. And where none lies there that it could take.

use std::{
    io::ErrorKind::{Interrupted, WouldBlock},
    ptr::NonNull,
    sync::atomic::Ordering::Relaxed,
};

use super::{IoUring, ring::Completed, step};
use crate::{
    operation::{Header, OpKind, Work},
    sys::{Event, Output, unix::receive::receive_now},
};

/// So many completions at once are a crowd, if they are more than are acted on at once, and so few are none any more.
const CROWD: usize = if cfg!(completion_port_crowd) { 1 } else { 128 };
const NO_CROWD: usize = if cfg!(completion_port_crowd) { 0 } else { 32 };

/// Receives that bring more than that, on the average, are large: of a smaller one the second system call costs more than it saves
/// (docs/performance.md).
const LARGE: usize = if cfg!(completion_port_crowd) { 0 } else { 32 * 1024 };

/// Whether receives that have brought so much are large. `None` if that is not to be told.
fn are_large(received: impl Iterator<Item = usize>) -> Option<bool> {
    let (count, bytes) = received.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
    (count > 0).then_some(bytes > count * LARGE)
}

impl IoUring {
    /// What was received now tells what is likely to come. It matters only where the kernel has buffers to choose from.
    pub(super) fn look_at_sizes(&self, events: &[Event]) {
        if self.buffers.is_some()
            && let Some(large) = are_large(events.iter().filter_map(Event::received))
        {
            self.large.store(large, Relaxed);
        }
    }

    /// So many completions are to be acted on, and in one call `most` of those that are received here.
    pub(super) fn look_at_crowd(&self, count: usize, most: usize) {
        let goes_on = self.crowded.load(Relaxed) && count >= NO_CROWD;
        self.crowded.store(goes_on || count >= CROWD && count > most, Relaxed);
    }

    /// Whether a receive of a stream only waits with the kernel.
    pub(super) fn is_received_here(&self, header: &Header, work: &mut Work) -> bool {
        if header.is_pipe() {
            return false;
        }
        // Of its choice is the buffer of a lent one.
        let large = || header.kind == OpKind::RecvLent && self.large.load(Relaxed);
        if work.step == step::ONLY && (self.crowded.load(Relaxed) || large()) {
            work.step = step::POLLING;
        }
        work.step == step::POLLING
    }

    /// The receive of which a completion says that its bytes are there. It is ours then.
    pub(super) fn to_receive(done: &Completed) -> Option<NonNull<Header>> {
        let op = NonNull::new(done.user_data as *mut Header).filter(|_| done.result >= 0)?;
        // SAFETY: the kernel gave back an address that it was given.
        let header = unsafe { op.as_ref() };
        header.take_up();
        let is_stream = matches!(header.kind, OpKind::Recv | OpKind::RecvLent) && !header.is_pipe();
        // SAFETY: ours again: one-shot requests only.
        (is_stream && unsafe { header.work() }.step == step::POLLING).then_some(op)
    }

    /// Receives what is there; `None` if the operation goes on.
    ///
    /// # Safety
    ///
    /// It came from [`to_receive`](IoUring::to_receive), and comes here once for that.
    pub(super) unsafe fn receive(&self, op: NonNull<Header>) -> Option<Event> {
        // SAFETY: ours, and used before the operation is handed on only.
        let (header, work) = unsafe { (op.as_ref(), op.as_ref().work()) };
        let result = if header.kind == OpKind::Recv {
            // SAFETY: its socket is open.
            unsafe { receive_now(header, &mut work.buffer) }
        } else if let Some(mut buffer) = self.pool.lend() {
            // SAFETY: as above.
            let result = unsafe { receive_now(header, &mut buffer) };
            if matches!(result, Ok(1..)) {
                work.buffer = buffer;
            }
            result
        } else if self.refill() {
            // One lies with the kernel.
            work.step = step::KERNEL;
            return self.again(op);
        } else {
            return Some(Event::last(op, Ok(Output::Starved)));
        };
        match result {
            // Somebody else has read it, or it is something else that the socket has to say. The kernel tells one from the other.
            Err(e) if matches!(e.kind(), WouldBlock | Interrupted) => {
                work.step = step::KERNEL;
                self.again(op)
            }
            result => {
                work.step = step::ONLY;
                Some(Event::last(op, result.map(Output::Bytes)))
            }
        }
    }
}

#[cfg(all(test, not(completion_port_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_average_tells_whether_receives_are_large() {
        let are_large = |sizes: &[usize]| are_large(sizes.iter().copied());
        assert_eq!(are_large(&[]), None);
        assert_eq!(are_large(&[0]), Some(false));
        assert_eq!(are_large(&[LARGE]), Some(false));
        assert_eq!(are_large(&[LARGE + 1]), Some(true));
        assert_eq!(are_large(&[2 * LARGE + 1, 0]), Some(true));
        assert_eq!(are_large(&[2 * LARGE + 1, 0, 0]), Some(LARGE == 0));
    }
}
