//! What is over before its start returns: the ways around a packet, and around an operation.
//!
//! Most sends of a stream leave at once. Then nothing has to stay in place for the system, and nobody can ask for their end, so no
//! operation is made for them.

use std::{
    io::{
        self,
        ErrorKind::{Interrupted, WouldBlock},
    },
    sync::atomic::Ordering,
};

use super::{Direction, Handle, Inner, Role, settle};
use crate::{
    buffer::Buffer,
    error,
    net::Started,
    operation::{Completion, Context, NotStarted, OpId, OpKind, Operation, Place, Refused, Side},
    sys::{self, Output, Socket},
};

impl<K: Send + Sync + 'static, T: Send + 'static> Handle<K, T> {
    /// Starts an operation. What succeeds at once is returned, if the handle is one that skips packets.
    pub(crate) fn start_inline(&self, op: Place<K, T>) -> Result<Started<K, T>, NotStarted<K, T>> {
        if !self.0.skips.load(Ordering::Relaxed) {
            return self.start(op).map(Started::Pending);
        }
        op.header.try_at_once();
        self.skipping(|sink| self.start_into(op, sink))
    }

    /// Starts to send all of `buffer`, which is not empty. If the start is `inline`, success at once is returned, as from
    /// [`start_inline`](Handle::start_inline).
    #[inline]
    pub(crate) fn start_send(
        &self,
        buffer: Buffer,
        context: T,
        inline: bool,
    ) -> Result<Started<K, T>, Refused<T, Buffer>> {
        let inner = &self.0;
        if !inner.role.can(OpKind::Send) {
            return Err(Refused { error: error::wrong_kind(), context, buffer });
        }
        let skips = inline && inner.skips.load(Ordering::Relaxed);
        let mut direction = inner.side(Side::Out);
        let begun = inner.send_at_once(&direction, &buffer);
        if let Some(Ok(sent)) = begun
            && sent == buffer.len()
        {
            let id = OpId { side: Side::Out, sequence: direction.number() };
            let packet = |buffer| {
                Completion::whole(self.clone(), OpKind::Send, id.sequence, sent, buffer, context)
            };
            if skips {
                return Ok(Started::Done(packet(buffer)));
            }
            // Behind the lock, as what a start brings always is: a close that has been through it misses none.
            inner.port.scheduler.push(packet(buffer));
            return Ok(Started::Pending(id));
        }
        let op = Operation::new(OpKind::Send, self.clone(), Context::One(context));
        let op = Place::new(op.with_buffer(buffer));
        if skips && begun.is_none() {
            op.header.try_at_once();
        }
        let begun = begun.map(|result| result.map(Output::Bytes));
        let started = if skips {
            self.skipping(|sink| self.start_behind(direction, op, begun, sink))
        } else {
            let sink = &mut settle::deliver(inner);
            self.start_behind(direction, op, begun, sink).map(Started::Pending)
        };
        started.map_err(|refused| Refused::of(refused, |work| work.buffer))
    }

    /// Starts in the given way an operation that brings no packet if it succeeds at once.
    fn skipping(
        &self,
        start: impl FnOnce(settle::Sink<'_, K, T>) -> Result<OpId, NotStarted<K, T>>,
    ) -> Result<Started<K, T>, NotStarted<K, T>> {
        let mut done = None;
        // At most its own packet comes: while another operation is active in the direction, it waits its turn.
        let id = start(&mut |packet: Completion<K, T>| {
            if packet.result.is_ok() && done.is_none() {
                done = Some(packet);
            } else {
                self.0.port.scheduler.push(packet);
            }
        })?;
        Ok(done.map_or(Started::Pending(id), Started::Done))
    }
}

impl<K, T> Inner<K, T> {
    /// What the system takes of these bytes at once, or why it will not take any. `None` if the send is to be started as any other: where
    /// there is no room, the driver may find that out once more, which costs little beside the wait that follows.
    fn send_at_once(&self, direction: &Direction, bytes: &[u8]) -> Option<io::Result<usize>> {
        if !sys::SENDS_AT_ONCE || self.role != Role::Stream {
            return None;
        }
        let socket = self.socket.as_ref().and_then(Socket::os)?;
        if !direction.is_free() || direction.refusal(self.port.queue_limit).is_some() {
            return None;
        }
        match sys::send_now(socket, bytes) {
            Err(e) if matches!(e.kind(), WouldBlock | Interrupted) => None,
            result => Some(result),
        }
    }
}
