//! What the event of an operation means: whether it is over, goes on, or is to be started again; and its packet.
//!
//! - [`conclude`] decides. [`progress`]: how far an output takes an operation. [`as_told`]: the result as the user is told.
//! - [`take_apart`], [`one_of_many`], [`received_one`]: packets.

use std::{
    io,
    ptr::NonNull,
    sync::{Arc, atomic::Ordering},
};

use super::{
    Aside, Closed, Direction, Handle, Inner, beside,
    settle::{After, Garbage, Sink},
    timer,
};
use crate::{
    Buffer, error,
    operation::{Completion, Context, Detail, Each, Extra, Header, OpId, OpKind, Operation, Place},
    sys::{Accepted, Event, Message, Output, file},
};

/// What an event made of its operation.
pub(super) enum Verdict {
    /// Its packet is made; the direction is free.
    Over,
    /// It stays active: the driver has it, or it waits for something else.
    Pending,
    /// It is to be started again.
    Again,
    /// It goes on beside its direction, and is to be started there; the direction is free.
    Beside,
}

/// Decides what an event means, and makes the packet if there is one.
pub(super) fn conclude<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
    direction: &mut Direction,
    event: Event,
    after: &mut After,
    sink: Sink<'_, K, T>,
) -> Verdict {
    let Event { op, result, more } = event;
    // SAFETY: handed over with the event.
    let header = unsafe { op.as_ref() };
    let kind = header.kind;
    if header.was_revived() {
        inner.port.revived_one();
    }
    if matches!(result, Ok(Output::Bytes(0))) && kind.receives() {
        inner.look_for_reset();
    }
    let result = match result {
        // Its submitter's thread has exited, or the system was of two minds: nobody asked for this end (S106).
        Err(e) if error::is_cancelled(&e) && !header.cancelled() && !more => return Verdict::Again,
        Ok(Output::Starved) if !header.cancelled() => {
            header.starve();
            // SAFETY: handed over with the event, until it is on the list.
            let detail = unsafe { &mut header.work().detail };
            inner.port.starve(Aside { handle: Handle(inner.clone()), op }, detail);
            return Verdict::Pending;
        }
        Ok(Output::Starved) => Err(error::cancelled()),
        Ok(Output::Accepted(socket)) if kind == OpKind::AcceptEach => {
            // SAFETY: the caller settles it. Where there is no packet, the connection is closed.
            if let Some(packet) = unsafe { one_of_many(op, Ok(0)) } {
                sink(packet.with_extra(Extra::Accepted(socket)));
            }
            if more {
                return Verdict::Pending;
            }
            return Verdict::Again;
        }
        Ok(Output::Accepted(accepted)) if kind == OpKind::AcceptWith => {
            if header.cancelled() {
                Err(error::cancelled())
            } else {
                // SAFETY: handed over, and the direction's lock is held.
                match unsafe { beside::step_aside(inner, direction, op, accepted) } {
                    Ok(()) => return Verdict::Beside,
                    Err(e) => Err(e),
                }
            }
        }
        // The connection was gone before it could be accepted; the listener is well.
        Err(e)
            if kind == OpKind::AcceptEach
                && e.kind() == io::ErrorKind::ConnectionAborted
                && direction.closed == Closed::No =>
        {
            return if more { Verdict::Pending } else { Verdict::Again };
        }
        // Of datagrams each has its own fate: the next may be well.
        result if kind == OpKind::RecvFromEach && (more || goes_on(header, &result)) => {
            // SAFETY: handed over with the event, but for the driver's part if there is more; then the event brings all that there is.
            if let Some(packet) = unsafe { received_one(op, result) } {
                sink(packet);
            }
            return if more { Verdict::Pending } else { Verdict::Again };
        }
        Ok(output) => {
            // SAFETY: handed over.
            match unsafe { progress(header, direction, output) } {
                Ok(result) => result,
                Err(verdict) => return verdict,
            }
        }
        Err(e) => Err(e),
    };
    let (result, mut accepted) = match result {
        Ok(Outcome { moved, accepted }) => (Ok(moved), accepted),
        Err(e) => (Err(e), None),
    };
    let connecting = kind == OpKind::Connect
        // SAFETY: handed over.
        && matches!(unsafe { &header.work().detail }, Detail::Connect(_));
    if connecting && header.cancelled() && result.is_err() && direction.active == Some(op) {
        inner.stop_connecting();
    }
    let mut result = as_told(inner, result, header, direction.closed);
    direction.release(op);
    if header.timed() {
        let id = OpId { side: kind.side(), sequence: header.sequence };
        timer::forget(inner, id);
    }
    match kind {
        OpKind::AcceptWith => {
            // SAFETY: handed over, and the direction's lock is held.
            let brought = unsafe { beside::come_back(inner, op) };
            accepted = brought.filter(|_| result.is_ok());
        }
        // It may be said again, or something be sent after all.
        OpKind::Disconnect => direction.finishing = result.is_ok(),
        OpKind::End => {
            if header.reuses() && result.is_ok() {
                result = result.and_then(|moved| inner.renew(direction).map(|()| moved));
                after.ended |= result.is_err();
            } else {
                after.ended = true;
            }
        }
        _ => {}
    }
    // SAFETY: it is over and named nowhere any more: ours to take apart.
    let (packet, maker) = unsafe { take_apart::<K, T>(op, result, accepted) };
    after.garbage.extend(maker);
    if let Some(packet) = packet {
        sink(packet);
    }
    Verdict::Over
}

/// What a finished operation has to show.
struct Outcome {
    moved: usize,
    accepted: Option<Accepted>,
}

/// How far an output takes an operation: to its outcome, or not there yet.
///
/// # Safety
///
/// The caller owns the operation.
unsafe fn progress(
    header: &Header,
    direction: &Direction,
    output: Output,
) -> Result<io::Result<Outcome>, Verdict> {
    let outcome = |moved| Outcome { moved, accepted: None };
    // SAFETY: owned by the caller.
    let work = unsafe { header.work() };
    Ok(match (header.kind, output) {
        (OpKind::Connect, Output::Bytes(_)) if matches!(work.detail, Detail::Connect(_)) => {
            if work.buffer.is_empty() {
                return Ok(Ok(outcome(0)));
            }
            // From here on it is a send, of the first data.
            work.detail = Detail::None;
            work.step = 0;
            return Err(Verdict::Again);
        }
        (OpKind::TransmitFile, Output::Bytes(sent)) => {
            let Detail::TransmitFile(what) = &mut work.detail else {
                return Ok(Err(error::wrong_kind()));
            };
            if !what.advance(sent) {
                return unsent(header, sent);
            }
            Ok(outcome(what.total() as usize))
        }
        (OpKind::Send | OpKind::Connect, Output::Bytes(sent)) => {
            work.done += sent;
            let total = match &mut work.detail {
                Detail::Gather(gather) => {
                    gather.advance(sent);
                    gather.total()
                }
                _ => work.buffer.len(),
            };
            if work.done < total {
                return unsent(header, sent);
            }
            Ok(outcome(total))
        }
        (OpKind::ReadAt | OpKind::WriteAt, Output::Bytes(moved)) => {
            // SAFETY: owned by the caller, and the driver has moved so many.
            let complete = unsafe { file::moved(header, moved) };
            match (header.kind, moved) {
                _ if complete => Ok(outcome(work.done)),
                (OpKind::ReadAt, 0) if work.done > 0 => Ok(outcome(work.done)),
                (OpKind::ReadAt, 0) => Err(error::end_of_file()),
                (_, 0) => Err(io::ErrorKind::WriteZero.into()),
                _ => return Err(Verdict::Again),
            }
        }
        (OpKind::End, Output::Bytes(discarded)) => {
            work.done += discarded;
            work.detail = Detail::None;
            work.buffer = Buffer::new();
            if discarded > 0 {
                if header.cancelled() {
                    return Ok(Err(error::cancelled()));
                }
                return Err(Verdict::Again);
            }
            if !direction.flushed {
                if header.cancelled() {
                    return Ok(Err(error::cancelled()));
                }
                header.rest();
                return Err(Verdict::Pending);
            }
            Ok(outcome(work.done))
        }
        // The end of the stream needs no buffer, nor does a datagram of no bytes: it goes back at once.
        (OpKind::RecvLent | OpKind::RecvFromLent | OpKind::RecvFromEach, Output::Bytes(0)) => {
            work.buffer = Buffer::new();
            Ok(outcome(0))
        }
        (kind, Output::Bytes(received)) if kind.receives_datagrams() => match &work.detail {
            Detail::Message(message) => told(message, received).map(outcome),
            _ => Ok(outcome(received)),
        },
        // Of a continuing receive only, which has made its packet of it.
        (_, Output::Datagram(datagram)) => Ok(outcome(datagram.0.len())),
        (_, Output::Accepted(accepted)) => Ok(Outcome { moved: 0, accepted: Some(accepted) }),
        (_, Output::Bytes(moved)) => Ok(outcome(moved)),
        (_, Output::Starved) => Err(error::cancelled()),
    })
}

/// What becomes of a send of which a part, so many bytes, has left.
fn unsent(header: &Header, sent: usize) -> Result<io::Result<Outcome>, Verdict> {
    match sent {
        _ if header.cancelled() => Ok(Err(error::cancelled())),
        0 => Ok(Err(io::ErrorKind::WriteZero.into())),
        _ => Err(Verdict::Again),
    }
}

/// The result as the user is told: an end that this side brought about says so, whatever the system called it, and a reset is a
/// reset every time (S112), though the system says so once and then reads as the end of the stream.
fn as_told<K, T>(
    inner: &Inner<K, T>,
    mut result: io::Result<usize>,
    header: &Header,
    closed: Closed,
) -> io::Result<usize> {
    match (header.kind, &result) {
        (_, Err(e)) if e.kind() == io::ErrorKind::ConnectionReset => {
            inner.reset.store(true, Ordering::Relaxed)
        }
        (OpKind::Recv | OpKind::RecvLent, Ok(0)) | (OpKind::End, Ok(_))
            if inner.reset.load(Ordering::Relaxed) =>
        {
            result = Err(error::reset());
        }
        _ => {}
    }
    if header.expired() && result.is_err() {
        return Err(error::timed_out());
    }
    if closed != Closed::Handle || !header.cancelled() {
        return result;
    }
    match (header.kind, result) {
        // Neither has a connection that could be aborted (S94, S96).
        (OpKind::Accept | OpKind::AcceptEach | OpKind::AcceptWith, Err(_)) => {
            Err(error::cancelled())
        }
        (kind, Err(_)) if kind == OpKind::SendTo || kind.receives_datagrams() => {
            Err(error::cancelled())
        }
        (kind, Err(_)) if kind.is_of_file() => Err(error::cancelled()),
        // The end of the stream that the closing itself has made.
        (OpKind::Recv | OpKind::RecvLent, Ok(0) | Err(_)) | (_, Err(_)) => {
            Err(error::closed_here())
        }
        (_, result) => result,
    }
}

/// Makes a finished operation's packet; none if its user's maker of contexts has failed.
///
/// # Safety
///
/// The operation is over, and the caller's: it is freed here.
unsafe fn take_apart<K, T>(
    op: NonNull<Header>,
    result: io::Result<usize>,
    accepted: Option<Accepted>,
) -> (Option<Completion<K, T>>, Option<Garbage>) {
    // SAFETY: of these K and T, from `Handle::start`, and the caller's alone.
    let op = unsafe { Place::<K, T>::from_header(op) }.into_inner();
    // Part by part: the whole is large.
    let (kind, sequence, work) = (op.header.kind, op.header.sequence, op.header.work.into_inner());
    let (handle, context) = (op.handle, op.context);
    let extra = match (accepted, work.detail) {
        (Some(accepted), _) => Extra::Accepted(accepted),
        (None, Detail::Gather(gather)) => Extra::Buffers(gather.into_buffers()),
        (None, Detail::TransmitFile(what)) => Extra::Buffers(what.into_buffers().into()),
        (None, Detail::Vectored(vectored)) => Extra::Buffers(vectored.into_buffers()),
        (None, Detail::Message(message)) => Extra::Message(message),
        (None, _) => Extra::None,
    };
    let (context, maker) = match context {
        Context::One(context) => (Some(context), None),
        Context::Each(each) => {
            let Each { maker, next } = *each;
            (next, Some(Box::new(maker) as Garbage))
        }
    };
    let packet = context.map(|context| {
        Completion::new(handle, kind, sequence, result, context)
            .with_buffer(work.buffer)
            .with_extra(extra)
    });
    (packet, maker)
}

/// One packet of a continuing operation, with more to come. `None` if the user's maker has failed.
///
/// # Safety
///
/// The caller settles the operation, of these K and T.
unsafe fn one_of_many<K, T>(
    op: NonNull<Header>,
    result: io::Result<usize>,
) -> Option<Completion<K, T>> {
    let op = op.cast::<Operation<K, T>>().as_ptr();
    // SAFETY: the settler's part of the operation; of the header, which the driver may look at meanwhile, constants only.
    let (context, handle, kind, sequence) =
        unsafe { (&mut (*op).context, &(*op).handle, (*op).header.kind, (*op).header.sequence) };
    let Context::Each(each) = context else { return None };
    let packet = Completion::new(handle.clone(), kind, sequence, result, each.next.take()?);
    Some(packet.with_more_to_come())
}

/// What a datagram of so many bytes is told as: one that was cut is an error, and its buffer has what was left of it (S19, S129).
fn told(message: &Message, received: usize) -> io::Result<usize> {
    if message.is_cut() { Err(error::cut()) } else { Ok(received) }
}

/// Whether a continuing receive of datagrams goes on after that: yes, if it concerns one of them.
fn goes_on(header: &Header, result: &io::Result<Output>) -> bool {
    match result {
        Ok(_) => true,
        Err(e) => !header.cancelled() && e.kind() == io::ErrorKind::ConnectionRefused,
    }
}

/// The packet of one datagram of a continuing receive. `None` (and the datagram lost) if the user's maker has failed.
///
/// # Safety
///
/// The caller settles the operation, of these K and T; unless the result is a [`Output::Datagram`], it owns it.
unsafe fn received_one<K, T>(
    op: NonNull<Header>,
    result: io::Result<Output>,
) -> Option<Completion<K, T>> {
    let (result, mut buffer, message) = match result {
        Ok(Output::Datagram(datagram)) => {
            let (buffer, message) = *datagram;
            (Ok(buffer.len()), buffer, message)
        }
        result => {
            // SAFETY: owned.
            let work = unsafe { op.as_ref().work() };
            let next = Detail::Message(Box::new(Message::incoming()));
            let Detail::Message(message) = std::mem::replace(&mut work.detail, next) else {
                return None;
            };
            let buffer = std::mem::take(&mut work.buffer);
            (result.map(|_| buffer.len()), buffer, message)
        }
    };
    let result = result.and_then(|received| told(&message, received));
    if buffer.is_empty() {
        // It goes back at once.
        buffer = Buffer::new();
    }
    // SAFETY: handed on.
    let packet = unsafe { one_of_many(op, result) }?;
    Some(packet.with_buffer(buffer).with_extra(Extra::Message(message)))
}
