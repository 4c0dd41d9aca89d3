//! What the port is told about each handle (the key) and each operation (the context).

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::{
    Handle, Server,
    census::{Guest, Seated},
    registry::Slot,
};

/// The key of a handle: the notes' per-handle data.
#[derive(Debug)]
pub enum Key {
    /// A listening socket, by its number.
    Listener(usize),
    /// A client.
    Connection(Connection),
}

/// The context of an operation: the notes' `rwMode`.
#[derive(Debug)]
pub enum Mode {
    /// A connection came, or none can come.
    Accept(Guest),
    /// The client sent something, or ended its stream.
    Read,
    /// The echo is out.
    Write,
    /// The graceful end is over.
    End,
}

/// A client. One operation is under way for it at a time, so whoever takes its packet has it to himself.
///
/// It is as small as it is because there may be very many: no address, no buffer, nothing that the library keeps already.
#[derive(Debug)]
pub struct Connection {
    /// Where its handle is registered.
    slot: Slot,
    /// Whether a receive is under way, or about to be.
    reading: AtomicBool,
    /// Its place in the count, given back when the handle is dropped.
    _guest: Seated,
}

// The library has counted: with a key of 24 bytes and a context of 16, both of what it keeps for an idle connection just fit their chunks.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Key>() <= 24 && size_of::<Mode>() <= 16);

impl Connection {
    /// A connection that does nothing yet.
    pub fn new(slot: Slot, guest: Seated) -> Self {
        Self { slot, reading: AtomicBool::new(false), _guest: guest }
    }

    /// Where its handle is registered.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Notes that a receive is about to start.
    ///
    /// Whoever has started it asks afterwards whether the server [stops](Server::is_stopping): either the stop has seen this note and
    /// cancels the receive, or this thread sees the stop, and does so itself. All four steps are in one order (`SeqCst`).
    pub fn begin_reading(&self) {
        self.reading.store(true, SeqCst);
    }

    /// Notes that it has ended, always before the next operation starts. Nobody cancels that in its place: a stop has seen this note,
    /// or has cancelled the receive before this returns.
    pub fn end_reading(&self, server: &Server) {
        self.reading.store(false, SeqCst);
        if server.is_stopping() {
            drop(server.cancelling());
        }
    }

    /// Cancels the receive of this connection if that is what it is doing, and nothing else: a send must go out whole. For when the server
    /// stops.
    pub fn cancel_reading(&self, server: &Server, handle: &Handle) {
        let _cancelling = server.cancelling();
        if self.reading.load(SeqCst) {
            handle.cancel_all();
        }
    }
}
