//! How operations are brought to an end before they are done: cancelled, closed, expired; and how a graceful end goes about it.

use std::{
    io,
    net::Shutdown,
    ptr::NonNull,
    sync::{Arc, MutexGuard},
};

use super::{
    Closed, Direction, Inner, Role, beside,
    conclude::conclude,
    settle::{After, Sink, deliver, pump},
    timer,
};
use crate::{
    error,
    operation::{Header, OpId, Side},
    sys::{self, Event},
};

/// Cancels those operations of a direction that `which` names, and tells how many it was the first to cancel.
pub(super) fn cancel<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
    direction: MutexGuard<'_, Direction>,
    which: impl Fn(&Header) -> bool,
) -> usize {
    let sink = &mut deliver(inner);
    let (found, after) = cancel_into(inner, direction, which, sink);
    after.act(inner);
    found
}

pub(super) fn cancel_into<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
    mut direction: MutexGuard<'_, Direction>,
    which: impl Fn(&Header) -> bool,
    sink: Sink<'_, K, T>,
) -> (usize, After) {
    if direction.is_abreast() {
        return cancel_abreast(inner, direction, which, sink);
    }
    let mut found = 0;
    let mut after = After::default();
    // Those that wait their turn end here and now, in their order, before anything of theirs can start.
    let mut queue = direction.take_queue();
    while let Some(op) = queue.pop() {
        // SAFETY: just taken from the queue, so it is ours.
        let header = unsafe { op.as_ref() };
        if which(header) {
            found += usize::from(header.cancel());
            let event = Event::last(op, Err(error::cancelled()));
            // A cancelled operation is always over with this.
            let _over = conclude(inner, &mut direction, event, &mut after, sink);
        } else {
            direction.enqueue(op);
        }
    }
    for op in beside::those(inner, &direction) {
        // SAFETY: it exists while it is listed, and the lock is held; only constants and atomics are used.
        let header = unsafe { op.as_ref() };
        if which(header) && header.cancel() {
            found += 1;
            if let Some(event) = take_back(inner, op) {
                // As above, or with what had come.
                let _over = conclude(inner, &mut direction, event, &mut after, sink);
            }
        }
    }
    let Some(op) = direction.active else { return (found, after) };
    // SAFETY: it exists while it is named as active; only constants and atomics are used.
    let header = unsafe { op.as_ref() };
    if !which(header) || !header.cancel() {
        return (found, after);
    }
    found += 1;
    let event = take_back(inner, op);
    if event.is_some() {
        after = after.and(pump(inner, direction, event, sink));
    }
    (found, after)
}

/// Takes an operation that was marked back from where it is, or asks its driver for it. It is active or goes on beside, and the lock of its
/// direction is held.
fn take_back<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
    op: NonNull<Header>,
) -> Option<Event> {
    // SAFETY: it exists while it is named behind the lock; only constants and atomics are used.
    let header = unsafe { op.as_ref() };
    if header.starved() {
        // If somebody has just taken it from the list to revive it, that thread finds it cancelled.
        inner.port.unstarve(op).then(|| Event::last(op, Err(error::cancelled())))
    } else if header.deferred() {
        inner.port.undefer(op).then(|| Event::last(op, Err(error::cancelled())))
    } else if header.resting() {
        Some(Event::last(op, Err(error::cancelled())))
    } else {
        // SAFETY: named, so its last event has not been settled.
        unsafe { inner.port.cancel(op) }
    }
}

/// The same where operations are side by side: all that are there are with the driver.
fn cancel_abreast<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
    direction: MutexGuard<'_, Direction>,
    which: impl Fn(&Header) -> bool,
    sink: Sink<'_, K, T>,
) -> (usize, After) {
    let side = direction.side();
    let mut found = 0;
    // Those that could be taken back are in the direction still, and this thread's to settle.
    let mut events = Vec::new();
    direction.abreast(|op| {
        // SAFETY: it exists while it is there; only constants and atomics are used.
        let header = unsafe { op.as_ref() };
        if which(header) && header.cancel() {
            found += 1;
            events.extend(take_back(inner, op));
        }
    });
    drop(direction);
    let after = events.into_iter().fold(After::default(), |after, event| {
        after.and(pump(inner, inner.side(side), Some(event), sink))
    });
    (found, after)
}

/// An operation's deadline has passed.
pub(super) fn expire<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
    op: OpId,
) {
    let direction = inner.side(op.side);
    inner.each_in(&direction, |header| {
        // One that was cancelled before ends as cancelled.
        if header.sequence == op.sequence && !header.cancelled() {
            header.mark_expired();
        }
    });
    cancel(inner, direction, |header| header.sequence == op.sequence);
}

/// Closes a handle, on its own or with its port.
pub(super) fn close<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
    closed: Closed,
) {
    close_into(inner, closed, &mut deliver(inner));
}

pub(super) fn close_into<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
    closed: Closed,
    sink: Sink<'_, K, T>,
) {
    let (first, afters) = refuse_and_cancel(inner, closed, sink);
    if first && closed == Closed::Handle && inner.role != Role::Datagram {
        // The peer sees the end now, whoever still holds a clone. A bare key, or a socket that was never connected, has nobody to tell;
        // of datagrams there is no end.
        let _ = inner.shut(Shutdown::Both);
    }
    afters.into_iter().for_each(After::of_closed);
}

/// Closes a handle, and tells the peer nothing.
pub(super) fn close_silently<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
) {
    let (_, afters) = refuse_and_cancel(inner, Closed::Handle, &mut deliver(inner));
    afters.into_iter().for_each(After::of_closed);
}

/// The part of a close that concerns the handle alone. Tells whether it was the first.
fn refuse_and_cancel<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
    closed: Closed,
    sink: Sink<'_, K, T>,
) -> (bool, Vec<After>) {
    let mut first = false;
    let mut afters = Vec::new();
    for side in [Side::In, Side::Out] {
        let mut direction = inner.side(side);
        if direction.closed == Closed::No {
            direction.closed = closed;
            first = true;
        }
        afters.push(cancel_into(inner, direction, |_| true, sink).1);
    }
    timer::end_all(inner, sink);
    (first, afters)
}

/// Reading was shut down. Where the system leaves a receive that is pending alone, it is taken back without being marked as cancelled: so it
/// is started again, and is told the end then.
pub(super) fn wake_reader<K: Send + Sync + 'static, T: Send + 'static>(inner: &Arc<Inner<K, T>>) {
    if sys::SHUTDOWN_WAKES_READERS {
        return;
    }
    let direction = inner.side(Side::In);
    let with_driver = direction.active.filter(|op| {
        // SAFETY: it exists while it is named as active, and the lock is held; only atomics are looked at.
        let header = unsafe { op.as_ref() };
        !(header.starved() || header.deferred() || header.resting())
    });
    if let Some(op) = with_driver {
        // SAFETY: named, so its last event has not been settled.
        let event = unsafe { inner.port.cancel(op) };
        if event.is_some() {
            pump(inner, direction, event, &mut deliver(inner)).act(inner);
        }
    }
}

/// No more sends: shuts writing down behind those that were started.
pub(super) fn finish_sending<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
) -> io::Result<()> {
    let mut direction = inner.side(Side::Out);
    match direction.closed {
        Closed::Handle => return Err(error::handle_closed()),
        Closed::Port => return Err(error::port_closed()),
        Closed::No => {}
    }
    if std::mem::replace(&mut direction.finishing, true) || direction.active.is_some() {
        return Ok(());
    }
    if let Err(e) = inner.shut_if_connected(Shutdown::Write) {
        direction.finishing = false;
        return Err(e);
    }
    drop(direction);
    inner.side(Side::In).flushed = true;
    Ok(())
}

/// For a graceful end that was just started: it is the last in its direction, and those before it are cancelled.
pub(crate) fn stop_reading<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
    sequence: u64,
) {
    cancel(inner, inner.side(Side::In), |header| header.sequence < sequence);
}

/// For a graceful end: everything queued leaves, then writing is shut down; then, or at once if nothing is queued, the end is told.
pub(crate) fn flush<K: Send + Sync + 'static, T: Send + 'static>(inner: &Arc<Inner<K, T>>) {
    let mut direction = inner.side(Side::Out);
    direction.finishing = true;
    let drained = direction.active.is_none() && direction.closed == Closed::No;
    drop(direction);
    After::drained(drained).act(inner);
}
