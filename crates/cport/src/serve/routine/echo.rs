//! The routines: a receive starts a send, and a send the next receive.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use completion_port::{
    Buffer, OpId,
    routine::{Done, OverlappedSocket},
};
use slab::Slab;

use super::super::{
    echo::{is_cancelled, is_timed_out},
    stop::Stop,
    tally::{Tally, Totals},
};

/// What all routines share; the thread's own, so nothing is locked.
#[derive(Default)]
pub struct Server {
    /// The counters.
    tally: Tally,
    /// Who is served.
    clients: RefCell<Slab<Client>>,
    /// Connections that have gone.
    closed: Cell<u64>,
    /// Set when the server stops.
    stopping: Cell<Option<Stop>>,
    /// How long a client may say nothing, or not take its echo.
    idle_timeout: Option<Duration>,
}

/// A client. One operation is under way for it at a time.
struct Client {
    /// Its socket.
    socket: OverlappedSocket,
    /// Whether that operation is a receive.
    reading: bool,
}

impl Server {
    /// One with no clients yet.
    pub fn new(idle_timeout: Option<Duration>) -> Self {
        Self { idle_timeout, ..Self::default() }
    }

    /// Connections that are served now.
    pub fn open(&self) -> usize {
        self.clients.borrow().len()
    }

    /// Connections that have gone.
    pub fn closed(&self) -> u64 {
        self.closed.get()
    }

    /// What has been done so far.
    pub fn totals(&self) -> Totals {
        Totals::of(std::slice::from_ref(&self.tally))
    }

    /// Something failed that is no connection's fault.
    pub fn count_error(&self) {
        self.tally.errors.add(1);
    }

    /// Takes a new connection into service.
    pub fn admit(self: &Rc<Self>, socket: OverlappedSocket) {
        self.tally.accepted.add(1);
        // An echo should not wait for more to come. A client that has gone already refuses the option, and the receive says why.
        let _ = socket.set_nodelay(true);
        let client =
            self.clients.borrow_mut().insert(Client { socket: socket.clone(), reading: false });
        self.read(client, &socket);
    }

    /// Begins the stop: whoever is only listened to is ended, the others when they have their echo.
    pub fn stop(&self, stop: Stop) {
        self.stopping.set(Some(stop));
        for socket in self.sockets(|client| client.reading) {
            socket.cancel_own();
        }
    }

    /// Closes whoever is left.
    pub fn cut_off(&self) {
        for socket in self.sockets(|_| true) {
            socket.close();
        }
    }

    /// Sockets of some clients, to be used without a borrow.
    fn sockets(&self, which: impl Fn(&Client) -> bool) -> Vec<OverlappedSocket> {
        let clients = self.clients.borrow();
        clients.iter().filter(|(_, it)| which(it)).map(|(_, it)| it.socket.clone()).collect()
    }

    /// Waits for the client, with a buffer that is lent when something comes.
    fn read(self: &Rc<Self>, client: usize, socket: &OverlappedSocket) {
        self.set_reading(client, true);
        let server = Rc::clone(self);
        match socket.recv_lent(move |done| server.has_read(client, done)) {
            Ok(receive) => self.limit(socket, receive),
            Err(refused) => return self.failed(client, &refused.error),
        }
        if self.stopping.get().is_some() {
            // It ends with what has come already, or with nothing.
            socket.cancel_own();
        }
    }

    /// `ReadCompRoutine`.
    fn has_read(self: &Rc<Self>, client: usize, Done { socket, result, buffer, .. }: Done) {
        self.set_reading(client, false);
        match result {
            Ok(0) => self.leave(client), // all is echoed: the last clone goes, the socket closes
            Ok(count) => {
                self.tally.read.add(count);
                self.echo(client, &socket, buffer);
            }
            Err(error) if is_cancelled(&error) => self.end(client, &socket),
            Err(error) => self.broken_off(client, &error),
        }
    }

    /// Sends back what came.
    fn echo(self: &Rc<Self>, client: usize, socket: &OverlappedSocket, buffer: Buffer) {
        let server = Rc::clone(self);
        match socket.send(buffer, move |done| server.has_sent(client, done)) {
            Ok(send) => self.limit(socket, send),
            Err(refused) => {
                self.tally.unsent.add(refused.buffer.len());
                self.failed(client, &refused.error);
            }
        }
    }

    /// The client has so long to say something, or to take its echo.
    fn limit(&self, socket: &OverlappedSocket, op: OpId) {
        if let Some(time) = self.idle_timeout {
            socket.expire(op, time);
        }
    }

    /// `WriteCompRoutine`.
    fn has_sent(self: &Rc<Self>, client: usize, Done { socket, result, buffer, .. }: Done) {
        match result {
            Ok(count) => {
                self.tally.sent.add(count);
                drop(buffer); // back to the pool before anything waits again
                match self.stopping.get() {
                    Some(stop) if Instant::now() >= stop.echo_until => self.end(client, &socket),
                    _ => self.read(client, &socket),
                }
            }
            Err(error) => {
                self.tally.unsent.add(buffer.len());
                self.broken_off(client, &error);
            }
        }
    }

    /// Ends gracefully: the client is told the end, and what it still sends is read, so that closing does not reset the connection
    /// and destroy the echo on its way.
    fn end(self: &Rc<Self>, client: usize, socket: &OverlappedSocket) {
        let Some(stop) = self.stopping.get() else { return self.leave(client) };
        let left = stop.end_by.saturating_duration_since(Instant::now());
        let server = Rc::clone(self);
        let ended = move |done: Done| match done.result {
            Ok(discarded) => {
                server.tally.discarded.add(discarded);
                server.leave(client);
            }
            Err(error) => server.failed(client, &error),
        };
        if let Err(refused) = socket.end(left, ended) {
            self.failed(client, &refused.error);
        }
    }

    /// A client sent nothing, or took nothing, because of an error or for too long.
    fn broken_off(&self, client: usize, error: &io::Error) {
        if self.idle_timeout.is_none() || !is_timed_out(error) {
            return self.failed(client, error);
        }
        self.tally.idle.add(1);
        self.leave(client);
    }

    /// An operation failed: the connection is over.
    fn failed(&self, client: usize, error: &io::Error) {
        self.tally.failed(error);
        tracing::debug!("a connection ends: {error}");
        self.leave(client);
    }

    /// Forgets the connection. Its socket closes with the last clone, which is the caller's.
    fn leave(&self, client: usize) {
        let gone = self.clients.borrow_mut().try_remove(client);
        if gone.is_some() {
            self.closed.set(self.closed.get() + 1);
        }
    }

    /// Notes whether a receive is under way.
    fn set_reading(&self, client: usize, reading: bool) {
        if let Some(client) = self.clients.borrow_mut().get_mut(client) {
            client.reading = reading;
        }
    }
}
