//! What a platform supplies. Nothing outside this folder knows an operating system.
//!
//! # The contract
//!
//! A platform supplies these, by these names:
//!
//! - [`Driver`]: starts operations, reports their ends, can be asked to cancel, slept in by one thread and woken by any. Its rules
//!   are on the trait. There are `io_uring` (Linux), `readiness` (every Unix: epoll, or the `polling` crate's kqueue),
//!   `windows` (the kernel's own ports, and its procedure calls for routines) and `simulated` (a virtual clock and seeded faults).
//! - [`SystemPort`]: a port of the system's own that decides who runs, where there is one. The library's scheduler does elsewhere.
//! - [`drivers`]: those of one port, which may be several: a driver is handed from worker to worker, reaped by one at a time, and
//!   any thread may start operations in it.
//! - [`Socket`]: an owned handle of the system, or of the simulated network. [`Target`]: how an operation names it.
//! - [`TransmitFile`]: what is to be sent of a file, and how the system sends it without a copy.
//! - [`Gather`]: several buffers as the system wants to see them to send them as one. [`Vectored`]: the same at an offset of a file.
//!   [`Message`]: a datagram, likewise.
//! - [`file`]: what drivers need for those.
//! - [`choose`]: which drivers there are, which one a port gets, and the reason in words.
//!
//! Those are for every system, over what each has in a folder of its own ([`os`]: `unix` or `windows`), under the same names:
//!
//! - `Descriptor`, `Raw`: what the system owns a socket or file by, and how operations name it; `Piece`, `Peer`, `Slot`: what it wants to have
//!   in memory. `handles`: what of the public interface is of that system.
//! - [`association`]: that a socket belongs to one port. [`codes`]: the numbers of errors.
//! - [`beside`]: how a thread sleeps in a driver and on something else at once, as an alertable wait does.
//! - [`thread_state`]: whether a thread is blocked; `has_spare_processor`. [`punctual`]: sleeps that end on time.
//! - [`send_now`], [`receive_now`], [`connect_now`]: plain calls that never wait.
//! - [`memory`]: reserved memory whose pages can be given back one by one.
//! - `ladder`: its drivers. [`SENDS_AT_ONCE`], [`SENDS_FILES`], [`SHUTDOWN_WAKES_READERS`],
//!   [`OVER_COMES_LATER`]: what it does otherwise than others.
//!
//! A new driver implements `Driver`, is named in `choose`, and is done when the suite of the promises passes on it.

#[cfg_attr(windows, allow(dead_code))] // Windows moves the bytes by itself
mod backlog;
pub(crate) mod choose;
mod drivers;
pub(crate) mod file;
mod gather;
#[cfg(target_os = "linux")]
mod io_uring;
#[cfg(unix)]
mod readiness;
#[cfg(feature = "simulated")]
pub(crate) mod simulated;
mod socket;
pub(crate) mod thread_state;
mod transmit_file;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::{
    io,
    ptr::NonNull,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use drivers::{Drivers, Waited};
pub(crate) use file::Vectored;
pub(crate) use gather::Gather;
pub(crate) use os::{
    Descriptor, MORE, Message, OVER_COMES_LATER, Peer, SENDS_AT_ONCE, SENDS_FILES,
    SHUTDOWN_WAKES_READERS, Slot, association, beside, check, codes, connect_now, is_nonblocking,
    memory, punctual, receive_now, send_now,
};
pub(crate) use socket::{Accepted, Medium, Socket, Target, sock_ref};
pub(crate) use transmit_file::TransmitFile;
#[cfg(unix)]
use unix as os;
#[cfg(windows)]
use windows as os;

use self::beside::Beside;

use crate::{
    buffer::Buffer,
    operation::{Header, OpKind},
};

/// A driver carries operations to the system and back.
///
/// # Rules
///
/// - An operation given to [`start`](Driver::start) is the driver's until it reports an [`Event`] for it: either as `start`'s own
///   return value, if it was over at once, or later from [`wait`](Driver::wait). Never both, never twice, unless the event says
///   [`more`](Event::more).
/// - At most one operation per socket and direction is with the driver at a time; the handle keeps the others in order. Those of a file
///   ([`OpKind::is_of_file`](crate::operation::OpKind::is_of_file)) are with it side by side, and end in any order.
/// - The driver reports what the system said. A short send, a spurious cancellation or a lack of buffers is an event like any
///   other; who settles it decides whether to start the operation again.
/// - `start`, `cancel`, `wake`, `attach` and `detach` may be called by any thread at any time, also while one sleeps in `wait`.
///   `start` and `cancel` for one operation are never called at the same time (the direction's lock), but an event for it may be
///   on its way meanwhile.
/// - `wait` is called by one thread at a time, any thread: the driver's owner may change between calls.
/// - Nothing is freed early: a driver that is dropped with operations in flight leaves them alone.
pub(crate) trait Driver: Send + Sync {
    /// Makes a socket ready to be used through this driver. The token goes into each operation's [`Target`].
    fn attach(&self, socket: &Socket, medium: Medium) -> io::Result<u32>;

    /// The socket is about to be closed; nothing of it is in flight.
    fn detach(&self, socket: &Socket, token: u32);

    /// Starts an operation. If it is over at once, its event is returned; otherwise `wait` will report it.
    ///
    /// What only waits for others to act, a receive or an accept, may lie with the driver until somebody calls `wait` or
    /// [`hand_over`](Driver::hand_over). So may operations of files, a few at a time, while others of the driver are under way.
    ///
    /// # Safety
    ///
    /// The caller owns `op` (alive, in no list, complete) and hands it to the driver; its target's socket stays open until the
    /// operation's last event.
    unsafe fn start(&self, op: NonNull<Header>) -> Option<Event>;

    /// Gives the system what lies here since [`start`](Driver::start). For who starts operations and does not come to wait.
    fn hand_over(&self) {}

    /// Asks for the end of an operation. It still ends by exactly one last event: the returned one, if it could be taken back at
    /// once, or a later one. A receive whose data has come completes with it.
    ///
    /// # Safety
    ///
    /// `op` was started here and its last event has not been settled (it may have been reported).
    unsafe fn cancel(&self, op: NonNull<Header>) -> Option<Event>;

    /// Hands over what lies here, and appends what is over to `events`; if nothing is, sleeps until something is, `wake` is called, or
    /// the time is up. May return with nothing for no reason.
    ///
    /// Where it is this call that receives the bytes of streams, it does so for `most` operations, and leaves the others that are ready to
    /// the next one. Tells since when the oldest of what it brings had been left so, if it had.
    fn wait(
        &self,
        timeout: Option<Duration>,
        most: usize,
        events: &mut Vec<Event>,
    ) -> io::Result<Option<Instant>>;

    /// Whether the last [`wait`](Driver::wait) has left something to the next one. For who calls it.
    fn has_left(&self) -> bool {
        false
    }

    /// Whether operations that were over before the last [`start`](Driver::start) returned are still to be reported by `wait`, for a driver
    /// where that can be: what such a start returns must not overtake them.
    fn is_behind(&self) -> bool {
        false
    }

    /// Makes the thread that sleeps in `wait`, or else the next one to call it, return.
    fn wake(&self);

    /// Whether [`kick`](Driver::kick) is for something.
    fn wants_kicks(&self) -> bool {
        false
    }

    /// Brings in what is over and lies with a thread that runs, and enters the kernel too seldom for that. For drivers that have such.
    fn kick(&self) {}

    /// Readable while [`wait`](Driver::wait) has something to report, of what was handed over, or somebody has called
    /// [`wake`](Driver::wake): who sleeps on several things at once sleeps on this, if nothing [is left](Driver::has_left). `None` if this
    /// driver cannot be slept on beside others.
    fn beside(&self) -> Option<Beside<'_>>;

    /// The clock that deadlines are measured by.
    fn now(&self) -> Instant;

    /// The same in milliseconds, from anywhere, to a tick of the system: what costs next to nothing. They wrap.
    fn millis(&self) -> u32 {
        os::millis()
    }

    /// Whether that is the clock by which threads sleep.
    fn is_timely(&self) -> bool {
        true
    }

    /// How many operations are with the driver. One that [`start`](Driver::start) has put there is counted when it returns; one that a
    /// [`wait`](Driver::wait) under way is about to report need not be.
    fn in_flight(&self) -> usize;

    /// The system's own port, if that decides who runs: events are taken from it then, and [`wait`](Driver::wait) is not called.
    fn system_port(&self) -> Option<Arc<dyn SystemPort>> {
        None
    }

    /// Buffers that it holds ready for receives that have none.
    fn ready_buffers(&self) -> usize {
        0
    }
}

/// A completion port of the system's own, which decides who runs: it knows its limit, counts who has come out of
/// [`take`](SystemPort::take), hears of who blocks, and releases the newest waiter first. Packets of the library's go through it, too.
pub(crate) trait SystemPort: Send + Sync {
    /// Puts a packet of the library's in, of which the port has the number. It comes out of `take` once.
    fn post(&self, number: usize);

    /// Has one more thread come out of `take`, with [`Taken::Nudge`]; one for all who ask before it does. It sees what each
    /// of them has written before.
    fn nudge(&self);

    /// Nudges in so long, and at no other time that was asked for before.
    fn nudge_after(&self, time: Option<Duration>);

    /// Takes up to `max`, the oldest first; if there is nothing, sleeps until there is, or the time is up. May return with nothing for no
    /// reason. Any number of threads may call it at once.
    fn take(&self, max: usize, timeout: Option<Duration>, taken: &mut Vec<Taken>)
    -> io::Result<()>;
}

/// What comes out of a [`SystemPort`].
#[cfg_attr(not(windows), allow(dead_code))] // made where the system has one
pub(crate) enum Taken {
    Event(Event),
    Packet(usize),
    Nudge,
}

/// What a driver has to say about an operation.
pub(crate) struct Event {
    pub op: NonNull<Header>,
    pub result: io::Result<Output>,
    /// The operation goes on, and stays with the driver.
    pub more: bool,
}

// SAFETY: an event carries its operation's ownership from the driver to whoever settles it; operations are Send.
unsafe impl Send for Event {}

impl Event {
    /// How much a receive of a stream has brought.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))] // the io_uring driver's
    pub(crate) fn received(&self) -> Option<usize> {
        // SAFETY: an operation exists until its last event is settled, which is after this; and its kind is never written.
        match (unsafe { self.op.as_ref() }.kind, &self.result) {
            (OpKind::Recv | OpKind::RecvLent, Ok(Output::Bytes(bytes))) => Some(*bytes),
            _ => None,
        }
    }

    pub(crate) fn last(op: NonNull<Header>, result: io::Result<Output>) -> Self {
        Self { op, result, more: false }
    }
}

/// What came out of an operation.
pub(crate) enum Output {
    /// Bytes sent, or received into the operation's buffer; that of a lent receive the driver has put there. None received: the end
    /// of the stream, or a datagram of none. Whose it is, and whether it was cut, is in the operation's message. Those read from a file
    /// are in the buffer's spare room, and who settles it counts them ([`file::moved`]).
    Bytes(usize),
    /// A receive wanted a buffer, and the pool had none.
    Starved,
    /// A connection was accepted. It is owned from here on.
    Accepted(Accepted),
    /// A datagram of a receive that may go on, and so is not asked. Out of line: outputs are moved often, and most are a number.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))] // made by the io_uring driver
    Datagram(Box<(Buffer, Box<Message>)>),
}
