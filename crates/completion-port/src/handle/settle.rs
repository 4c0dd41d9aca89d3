//! What happens in a direction when an operation ends. What its event means is told by [`conclude`](super::conclude).
//!
//! [`pump`] is the one loop: it settles the event of the active operation, starts it again or makes its packet, and goes on with the
//! queue until an operation stays with the driver. (A file's operations do not queue: each has its own turn of the loop.) Everything is
//! decided behind the direction's lock, and packets are brought in behind it too, so that a close that has been through the lock misses
//! none. Only the user's code (the maker of a continuing operation's contexts) is called without it.
//!
//! What most operations come to is settled by a short way, [`done`]: there the rest makes no difference.

use std::{
    any::Any,
    io,
    net::Shutdown,
    ptr::NonNull,
    sync::{Arc, MutexGuard},
};

use super::{
    Aside, Closed, Direction, Handle, Inner,
    conclude::{Verdict, conclude},
    stop::close_into,
};
use crate::{
    error,
    operation::{Completion, Detail, Header, OpKind, Operation, Place, Side},
    sys::{Event, Output, file},
};

/// Where packets go.
pub(super) type Sink<'a, K, T> = &'a mut dyn FnMut(Completion<K, T>);

/// A sink for a thread that does not sit in a driver.
pub(super) fn deliver<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
) -> impl FnMut(Completion<K, T>) {
    |packet| inner.port.scheduler.push(packet)
}

/// Something of the user's that is only to be dropped.
pub(super) type Garbage = Box<dyn Send>;

/// What remains to be done when the direction's lock is free.
#[derive(Default)]
#[must_use]
pub(crate) struct After {
    /// The direction was to be finished, and is empty now.
    drained: bool,
    /// A graceful end is over: the handle closes.
    pub(super) ended: bool,
    /// The maker of contexts panicked; that is its owner's to know, once everything here is in order.
    panic: Option<Box<dyn Any + Send>>,
    /// Makers of contexts that are not needed any more: to drop one is the user's code too.
    pub(super) garbage: Vec<Garbage>,
}

impl After {
    pub(super) fn drained(drained: bool) -> Self {
        Self { drained, ..Self::default() }
    }

    /// Both.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.garbage.extend(other.garbage);
        Self {
            drained: self.drained | other.drained,
            ended: self.ended | other.ended,
            panic: self.panic.or(other.panic),
            garbage: self.garbage,
        }
    }

    /// Of a closed handle: nothing to flush, and nothing more to end. What is dropped here is dropped without a lock.
    pub(super) fn of_closed(self) {}

    pub(super) fn act<K: Send + Sync + 'static, T: Send + 'static>(self, inner: &Arc<Inner<K, T>>) {
        let sink = &mut deliver(inner);
        if let Some(panic) = self.act_into(inner, sink) {
            std::panic::resume_unwind(panic);
        }
    }

    pub(super) fn act_into<K: Send + Sync + 'static, T: Send + 'static>(
        self,
        inner: &Arc<Inner<K, T>>,
        sink: Sink<'_, K, T>,
    ) -> Option<Box<dyn Any + Send>> {
        let mut panic = self.panic;
        if self.drained && finish(inner) {
            let mut direction = inner.side(Side::In);
            direction.flushed = true;
            let resting = direction.active.filter(|op| {
                // SAFETY: it exists while it is named as active, and the lock is held.
                unsafe { op.as_ref() }.resting()
            });
            if let Some(op) = resting {
                let event = Event::last(op, Ok(Output::Bytes(0)));
                let after = pump(inner, direction, Some(event), sink);
                panic = panic.or(after.act_into(inner, sink));
            }
        }
        if self.ended {
            close_into(inner, Closed::Handle, sink);
        }
        panic
    }
}

/// Ends writing, behind everything that was to be sent. False if the handle has been renewed since.
fn finish<K, T>(inner: &Inner<K, T>) -> bool {
    // Behind the lock: a new connection of the handle's must not be shut.
    let direction = inner.side(Side::Out);
    if direction.finishing {
        // The outcome of a shutdown that had to wait has nobody to be told to; the peer's side shows it.
        let _ = inner.shut(Shutdown::Write);
    }
    direction.finishing
}

/// Settles what a driver reported. A panic of the user's maker is returned.
///
/// The caller sits in the driver, or has the event from a start or cancel of its own.
pub(crate) fn settle<K: Send + Sync + 'static, T: Send + 'static>(
    event: Event,
    sink: Sink<'_, K, T>,
) -> Option<Box<dyn Any + Send>> {
    let op: NonNull<Operation<K, T>> = event.op.cast();
    // SAFETY: as below: this thread has it, and nobody else is told of it.
    let event = unsafe { done::<K, T>(event, sink) }?;
    // SAFETY: the driver has handed the operation over with the event (or, with `more`, the part that is not the driver's), and this
    // port's driver was given operations of these K and T only. The clone keeps the handle beyond the operation.
    let inner = unsafe { op.as_ref() }.handle.0.clone();
    // SAFETY: as above.
    let direction = inner.side(unsafe { op.as_ref() }.header.kind.side());
    pump(&inner, direction, Some(event), sink).act_into(&inner, sink)
}

/// The short way for what most operations come to ([`completes`]). Every other event is given back.
///
/// # Safety
///
/// The caller sits in the driver and settles the operation, of these K and T.
unsafe fn done<K: Send + Sync + 'static, T: Send + 'static>(
    event: Event,
    sink: Sink<'_, K, T>,
) -> Option<Event> {
    // SAFETY: the caller's.
    let op = unsafe { event.op.cast::<Operation<K, T>>().as_ref() };
    let mut direction = op.handle.0.side(op.header.kind.side());
    // SAFETY: the caller's.
    if !unsafe { completes(&mut direction, &event) } {
        drop(direction);
        return Some(event);
    }
    // Before its packet is on its way: that may be the last to hold the handle. A close that misses the operation in the direction waits
    // for those who sit in drivers.
    drop(direction);
    // SAFETY: it is over and named nowhere any more.
    sink(unsafe { packet_of(event.op) });
    None
}

/// Whether all of an operation is done, nothing is behind it, it has no deadline, and neither a cancel nor a close makes a difference any
/// more. Then it is counted as done, and its direction names it no longer; otherwise nothing has happened.
///
/// # Safety
///
/// The caller settles the operation, and the direction is its own.
unsafe fn completes(direction: &mut Direction, event: &Event) -> bool {
    let Ok(Output::Bytes(moved)) = event.result else { return false };
    // SAFETY: the caller's.
    let header = unsafe { event.op.as_ref() };
    let all = match header.kind {
        _ if header.timed() => false,
        OpKind::Recv | OpKind::RecvLent | OpKind::Send => {
            // SAFETY: the caller's: none of these goes on after an event.
            direction.has_no_more() && unsafe { stream_completes(header, moved) }
        }
        // SAFETY: as above, and the driver has moved so many bytes.
        kind => kind.is_of_file() && unsafe { file::completes(header, moved) },
    };
    if all {
        direction.release(event.op);
    }
    all
}

/// The same for one of a stream with one buffer.
///
/// # Safety
///
/// The caller owns the operation.
unsafe fn stream_completes(header: &Header, moved: usize) -> bool {
    // SAFETY: owned by the caller.
    let work = unsafe { header.work() };
    // No bytes are an end, or may be a reset.
    let plain = moved > 0 && matches!(work.detail, Detail::None) && !header.is_revived();
    let all = plain && (header.kind != OpKind::Send || work.done + moved == work.buffer.len());
    if all {
        work.done += moved;
    }
    all
}

/// The packet of an operation that has moved all its bytes.
///
/// # Safety
///
/// The operation, of these K and T, is over and named nowhere any more, and is one with one buffer.
unsafe fn packet_of<K, T>(op: NonNull<Header>) -> Completion<K, T> {
    // SAFETY: the caller's.
    let op = unsafe { Place::<K, T>::from_header(op) }.into_inner();
    let work = op.header.work.into_inner();
    let (kind, sequence) = (op.header.kind, op.header.sequence);
    Completion::whole(op.handle, kind, sequence, work.done, work.buffer, op.context.into_one())
}

/// Starts an operation that has nothing before it in its direction, unless it has begun already, with what has come of it. Its packet, if
/// it is over at once, is brought in behind the lock. No driver knows of one that has begun.
///
/// # Safety
///
/// The caller owns it, it is complete and of these K and T, and its socket or file is open.
pub(super) unsafe fn start_first<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
    mut direction: MutexGuard<'_, Direction>,
    op: NonNull<Header>,
    begun: Option<io::Result<Output>>,
    sink: Sink<'_, K, T>,
) {
    direction.engage(op);
    let event = match begun {
        Some(result) => Some(Event::last(op, result)),
        // SAFETY: the caller's.
        None => unsafe { begin(inner, op) },
    };
    let Some(event) = event else { return };
    // SAFETY: the event came from the start, or from what the caller did before one, so it is this thread's to settle.
    if unsafe { completes(&mut direction, &event) } {
        // SAFETY: it is over and named nowhere any more.
        sink(unsafe { packet_of(event.op) });
    } else {
        pump(inner, direction, Some(event), sink).act(inner);
    }
}

/// How often in a row one operation is started again: a peer that keeps sending, or taking, must not keep the thread.
const TURN: usize = 64;

/// Settles the active operation's event, if there is one, and goes on until the direction has one with the driver or none left.
pub(super) fn pump<'a, K: Send + Sync + 'static, T: Send + 'static>(
    inner: &'a Arc<Inner<K, T>>,
    mut direction: MutexGuard<'a, Direction>,
    mut event: Option<Event>,
    sink: Sink<'_, K, T>,
) -> After {
    let mut after = After::default();
    let mut turns = 0;
    loop {
        if let Some(event_now) = event.take() {
            let op = event_now.op;
            // SAFETY: its event is being settled here, so it exists, and its context is ours.
            let (header, context) =
                unsafe { (op.as_ref(), &mut (*op.cast::<Operation<K, T>>().as_ptr()).context) };
            if header.kind.continues() {
                // The user's code: without the lock. A cancel that comes meanwhile finds the operation with no driver, and marks it.
                drop(direction);
                let prepared = context.prepare();
                after.panic = after.panic.or(prepared.err());
                direction = inner.side(Side::In);
            }
            match conclude(inner, &mut direction, event_now, &mut after, sink) {
                Verdict::Over | Verdict::Pending => {}
                Verdict::Beside => {
                    // SAFETY: ours, complete, and in no list that owns it; it keeps its socket open.
                    event = unsafe { inner.port.start(op, None) };
                }
                Verdict::Again => {
                    // SAFETY: ours, complete, and in no list; the handle it holds keeps the socket open.
                    event = unsafe {
                        if header.cancelled() {
                            Some(Event::last(op, Err(error::cancelled())))
                        } else if turns == TURN {
                            header.defer();
                            inner.port.defer(Aside { handle: Handle(inner.clone()), op });
                            None
                        } else {
                            turns += 1;
                            header.resume();
                            inner.port.start(op, None)
                        }
                    };
                }
            }
            if event.is_some() {
                continue;
            }
        }
        if !direction.is_free() {
            return after;
        }
        let Some(op) = direction.dequeue() else {
            after.drained |= direction.side() == Side::Out && direction.finishing;
            return after;
        };
        direction.engage(op);
        // SAFETY: taken from the queue, so it is ours; complete, and its socket is open.
        event = unsafe { begin(inner, op) };
        if event.is_none() {
            return after;
        }
    }
}

/// Starts an operation whose turn it is.
///
/// # Safety
///
/// The caller owns it, and its socket is open.
unsafe fn begin<K, T>(inner: &Inner<K, T>, op: NonNull<Header>) -> Option<Event> {
    // SAFETY: owned by the caller.
    if unsafe { op.as_ref() }.kind == OpKind::Disconnect {
        // No driver is needed: everything before it has gone, and to say so does not block.
        let told = inner.shut_if_connected(Shutdown::Write);
        return Some(Event::last(op, told.map(|()| Output::Bytes(0))));
    }
    // SAFETY: handed on.
    unsafe { inner.port.start(op, None) }
}

/// Starts an operation again that was put aside; its direction has kept it active. `again` is called if it goes to a driver, the given
/// one or the calling worker's.
pub(super) fn start_again<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
    op: NonNull<Header>,
    driver: Option<usize>,
    again: impl FnOnce(&Header),
    sink: Sink<'_, K, T>,
) -> Option<Box<dyn Any + Send>> {
    // SAFETY: whoever takes it from the port's list owns it: a cancel that does not find it there only marks it.
    let header = unsafe { op.as_ref() };
    let direction = inner.side(header.kind.side());
    let event = if header.cancelled() {
        Some(Event::last(op, Err(error::cancelled())))
    } else {
        header.resume();
        again(header);
        // SAFETY: ours, complete, in no list, and its socket is open.
        unsafe { inner.port.start(op, driver) }
    };
    event.is_some().then(|| pump(inner, direction, event, sink).act_into(inner, sink))?
}
