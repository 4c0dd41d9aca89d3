//! The worker: takes completed I/O from the port and starts the next.

use std::{io, net::TcpStream, sync::Arc, time::Instant};

use completion_port::{Buffer, OpId, Started, error::Situation};

use super::{
    Done, Event, Handle, Port, Server,
    census::Seated,
    connection::{Connection, Key, Mode},
    tally::Tally,
    workers,
};

/// What a thread needs to serve connections.
#[derive(Clone, Copy)]
pub struct Echo<'a> {
    /// Where completions come from.
    pub port: &'a Port,
    /// What all workers share.
    pub server: &'a Server,
    /// This thread's counters.
    pub tally: &'a Tally,
}

impl Echo<'_> {
    /// Takes completions until the port closes.
    pub fn work(&self) {
        if let Err(error) = workers::work(self.port, |done| self.take(done)) {
            self.server.tell(Event::Failed(error));
        }
    }

    /// Goes on with the connection whose operation has completed.
    fn take(&self, done: Done) {
        if let Mode::Accept(_) = done.context {
            return self.accepted(done);
        }
        let Key::Connection(connection) = done.handle.key() else { return };
        let handle = &done.handle;
        match (done.context, done.result) {
            (Mode::Read, Ok(0)) => self.leave(connection), // all is echoed: the last handle goes, the socket closes
            (Mode::Read, Ok(count)) => {
                self.tally.read.add(count);
                connection.end_reading(self.server);
                self.echo(handle, connection, done.buffer);
            }
            (Mode::Read, Err(error))
                if self.server.stopping().is_some() && is_cancelled(&error) =>
            {
                connection.end_reading(self.server);
                self.end(handle, connection);
            }
            (Mode::Write, Ok(count)) => {
                self.tally.sent.add(count);
                drop(done.buffer); // back to the pool before anything waits again
                self.next(handle, connection);
            }
            (Mode::Write, Err(error)) => {
                self.tally.unsent.add(done.buffer.len());
                self.broken_off(connection, &error);
            }
            (Mode::End, Ok(discarded)) => {
                self.tally.discarded.add(discarded);
                self.leave(connection);
            }
            (Mode::Read, Err(error)) => self.broken_off(connection, &error),
            (Mode::End | Mode::Accept(_), Err(error)) => self.failed(connection, &error),
            (Mode::Accept(_), Ok(_)) => {}
        }
    }

    /// An accept has brought a connection, or the reason why it cannot.
    fn accepted(&self, mut done: Done) {
        let (stream, last) = (done.accepted(), done.last());
        let (Mode::Accept(guest), Key::Listener(listener)) = (done.context, done.handle.key())
        else {
            return;
        };
        let listener = *listener;
        let why = match (done.result, stream) {
            (Ok(_), Some(stream)) => {
                match guest.seat() {
                    Ok(guest) => self.admit(stream, guest),
                    Err(guest) => self.server.tell(Event::Unseated { stream, guest }),
                }
                None
            }
            (Ok(_), None) => None,
            (Err(error), _) => {
                if !is_cancelled(&error) {
                    self.tally.errors.add(1);
                }
                Some(error)
            }
        };
        // A bounded server accepts one at a time. The next is started here and not by way of the main thread, which is asked only
        // when there is no room, or after an error.
        if last && (why.is_some() || !self.accept_next(&done.handle)) {
            self.server.tell(Event::AcceptEnded { listener, why });
        }
    }

    /// Starts the next accept of a bounded server, if there is room and it goes on at all.
    fn accept_next(&self, listener: &Handle) -> bool {
        let census = &self.server.census;
        self.server.stopping().is_none()
            && census.bounded()
            && census.has_room()
            && listener.accept(Mode::Accept(census.arrive())).is_ok()
    }

    /// Takes a new connection into service.
    pub fn admit(&self, stream: TcpStream, guest: Seated) {
        self.tally.accepted.add(1);
        // An echo should not wait for more to come. A client that has gone already refuses the option, and the receive says why.
        let _ = stream.set_nodelay(true);
        let Some(slot) = self.server.registry.reserve() else {
            return tracing::warn!("too many connections: one is closed unserved");
        };
        match self.port.associate(stream, Key::Connection(Connection::new(slot, guest))) {
            Ok(handle) => {
                let Key::Connection(connection) = handle.key() else { return };
                handle.skip_on_success();
                self.server.registry.fill(slot, handle.clone());
                self.read(&handle, connection);
            }
            Err(refused) => {
                self.server.registry.remove(slot);
                self.tally.errors.add(1);
                tracing::warn!("a connection is closed unserved: {}", refused.error);
            }
        }
    }

    /// Waits for the client, with a buffer that is lent when something comes.
    fn read(&self, handle: &Handle, connection: &Connection) {
        connection.begin_reading();
        match handle.recv_lent(Mode::Read) {
            Ok(receive) => self.limit(handle, receive),
            Err(refused) => {
                connection.end_reading(self.server);
                return self.failed(connection, &refused.error);
            }
        }
        if self.server.is_stopping() {
            connection.cancel_reading(self.server, handle);
        }
    }

    /// Sends back what came. Most echoes leave at once, and need no packet to say so.
    fn echo(&self, handle: &Handle, connection: &Connection, buffer: Buffer) {
        match handle.send_inline(buffer, Mode::Write) {
            Ok(Started::Done(sent)) => self.take(sent),
            Ok(Started::Pending(send)) => self.limit(handle, send),
            Err(refused) => {
                self.tally.unsent.add(refused.buffer.len());
                self.failed(connection, &refused.error);
            }
        }
    }

    /// The client has so long to say something, or to take its echo. It may have done so already.
    fn limit(&self, handle: &Handle, op: OpId) {
        if let Some(time) = self.server.idle_timeout {
            handle.expire(op, time);
        }
    }

    /// An echo is out: on to the next message, or to the end if the server has been stopping for long enough.
    fn next(&self, handle: &Handle, connection: &Connection) {
        match self.server.stopping() {
            Some(stop) if Instant::now() >= stop.echo_until => self.end(handle, connection),
            _ => self.read(handle, connection),
        }
    }

    /// Ends gracefully: what is queued leaves, the client is told the end, and what it still sends is read, so that closing does
    /// not reset the connection and destroy the echo on its way.
    fn end(&self, handle: &Handle, connection: &Connection) {
        let Some(stop) = self.server.stopping() else { return self.leave(connection) };
        let left = stop.end_by.saturating_duration_since(Instant::now());
        if let Err(refused) = handle.end(left, Mode::End) {
            self.failed(connection, &refused.error);
        }
    }

    /// A client sent nothing, or took nothing, because of an error or for too long.
    fn broken_off(&self, connection: &Connection, error: &io::Error) {
        if self.server.idle_timeout.is_none() || !is_timed_out(error) {
            return self.failed(connection, error);
        }
        self.tally.idle.add(1);
        self.leave(connection);
    }

    /// An operation failed: the connection is over.
    fn failed(&self, connection: &Connection, error: &io::Error) {
        self.tally.failed(error);
        tracing::debug!("a connection ends: {error}");
        self.leave(connection);
    }

    /// Forgets the connection. Its socket closes with the last handle, which is the caller's.
    fn leave(&self, connection: &Connection) {
        self.server.registry.remove(connection.slot());
    }

    /// Counts packets that the closing port gave back untaken.
    pub fn settle(&self, packets: Vec<Done>) {
        for done in packets {
            match (done.context, done.result) {
                (Mode::Read, Ok(count)) => {
                    self.tally.read.add(count);
                    self.tally.unsent.add(count);
                }
                (Mode::Write, Ok(count)) => self.tally.sent.add(count),
                (Mode::Write, Err(_)) => self.tally.unsent.add(done.buffer.len()),
                (Mode::End, Ok(discarded)) => self.tally.discarded.add(discarded),
                (Mode::Accept(_), _) | (Mode::Read | Mode::End, Err(_)) => {}
            }
            if let Key::Connection(connection) = done.handle.key() {
                self.leave(connection);
            }
        }
    }

    /// A context for an accept that brings many: each gets its place in the count when it comes.
    pub fn arrivals(&self) -> impl FnMut() -> Mode + Send + 'static {
        let census = Arc::clone(&self.server.census);
        move || Mode::Accept(census.arrive())
    }
}

/// Whether the operation ended because its time was up, the server's or, for a client that has vanished, the system's.
pub fn is_timed_out(error: &io::Error) -> bool {
    Situation::of(error) == Some(Situation::TimedOut)
}

/// Whether the operation ended because somebody here wanted it to.
pub fn is_cancelled(error: &io::Error) -> bool {
    matches!(Situation::of(error), Some(Situation::Cancelled | Situation::LocalClose))
}
