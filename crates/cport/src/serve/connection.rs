//! What the port is told about each handle (the key) and each operation (the context).

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    Handle,
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
    reading: Mutex<bool>,
    /// Its place in the count, given back when the handle is dropped.
    _guest: Seated,
}

// The library has counted: with a key of 24 bytes and a context of 16, both of what it keeps for an idle connection just fit their chunks.
// Where a lock is longer than a word, they do not.
#[cfg(target_pointer_width = "64")]
const _: () =
    assert!(size_of::<Mutex<bool>>() > 8 || size_of::<Key>() <= 24 && size_of::<Mode>() <= 16);

impl Connection {
    /// A connection that does nothing yet.
    pub fn new(slot: Slot, guest: Seated) -> Self {
        Self { slot, reading: Mutex::new(false), _guest: guest }
    }

    /// Where its handle is registered.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Notes that a receive is about to start (`true`) or has ended (`false`), always before the next operation starts.
    pub fn set_reading(&self, reading: bool) {
        *self.reading() = reading;
    }

    /// Cancels the receive of this connection if that is what it is doing, and nothing else: a send must go out whole.
    ///
    /// The lock makes the two one step. Without it the receive could complete in between, and the cancel would meet the echo.
    pub fn cancel_reading(&self, handle: &Handle) {
        let reading = self.reading();
        if *reading {
            handle.cancel_all();
        }
    }

    /// The flag, locked. A bool cannot be left half changed, so poison means nothing.
    fn reading(&self) -> MutexGuard<'_, bool> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
