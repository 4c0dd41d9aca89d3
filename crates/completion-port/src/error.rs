//! Errors: the system's own codes, and what each situation is called on Windows and here.
//!
//! A completion's error is an [`io::Error`] with the operating system's code kept ([`io::Error::raw_os_error`]), also where the
//! port itself ends an operation. This module is the one place that maps situations to codes:
//!
//! | situation | Windows: packet | Windows: Winsock | Unix | [`Situation`] |
//! | --- | --- | --- | --- | --- |
//! | the peer reset the connection | 64 `ERROR_NETNAME_DELETED` | 10054 `WSAECONNRESET` | `ECONNRESET`, `EPIPE` | [`PeerReset`](Situation::PeerReset) |
//! | nobody listens there | 1225 `ERROR_CONNECTION_REFUSED` | 10061 `WSAECONNREFUSED` | `ECONNREFUSED` | [`ConnectionRefused`](Situation::ConnectionRefused) |
//! | a datagram found no receiver | 1234 `ERROR_PORT_UNREACHABLE` | 10054 `WSAECONNRESET` | `ECONNREFUSED` on a datagram socket | [`ConnectionRefused`](Situation::ConnectionRefused) |
//! | this side closed the handle meanwhile | 1236 `ERROR_CONNECTION_ABORTED` | 10053 `WSAECONNABORTED` | `ECONNABORTED` | [`LocalClose`](Situation::LocalClose) |
//! | the operation was cancelled | 995 `ERROR_OPERATION_ABORTED` | 995 | `ECANCELED` | [`Cancelled`](Situation::Cancelled) |
//! | a datagram was cut to the buffer | 234 `ERROR_MORE_DATA` | 10040 `WSAEMSGSIZE` | `EMSGSIZE` | [`Truncated`](Situation::Truncated) |
//! | the end of a file | 38 `ERROR_HANDLE_EOF` | - | kind `UnexpectedEof` | [`EndOfFile`](Situation::EndOfFile) |
//! | a deadline of the port passed | 258 `WAIT_TIMEOUT` | 10060 `WSAETIMEDOUT` | `ETIMEDOUT` | [`TimedOut`](Situation::TimedOut) |
//! | too much is queued on the handle | 10035 `WSAEWOULDBLOCK` | 10035 | kind `WouldBlock` | [`TooManyQueued`](Situation::TooManyQueued) |
//!
//! On Windows a completion has Winsock's number, whoever told of it, and of files the packet's; of a datagram that found no receiver it is
//! 10061. A deadline is 10060 there, and what is cancelled 995.
//!
//! The end of a stream is no error: a receive completes with `Ok(0)`. A reset is never read as one.

use std::io;

use crate::sys::codes;

/// What an error means for the program, alike on every system.
///
/// ```
/// use completion_port::error::Situation;
/// use std::io;
///
/// let reset = io::Error::from(io::ErrorKind::ConnectionReset);
/// assert_eq!(Situation::of(&reset), Some(Situation::PeerReset));
/// assert_eq!(Situation::of(&io::Error::other("else")), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Situation {
    /// The peer has reset the connection, or has closed it and was sent more.
    PeerReset,
    /// The address was reached and nobody listens there. From a connected datagram socket: so it was with an earlier datagram.
    ConnectionRefused,
    /// The handle was closed on this side while the operation was pending.
    LocalClose,
    /// The operation was cancelled, or its port closed.
    Cancelled,
    /// A datagram was longer than the buffer, which has its beginning; the rest of it is lost. From a send: it was longer than the
    /// network takes, and nothing of it has left.
    Truncated,
    /// A read began at or behind the end of a file.
    EndOfFile,
    /// A deadline given to this library has passed, or the network's own.
    TimedOut,
    /// More operations are queued on the handle than its limit allows.
    TooManyQueued,
}

impl Situation {
    /// Which situation an error of this library stands for, if it is one of those listed.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        use io::ErrorKind as Kind;
        if let Some(code) = error.raw_os_error() {
            match code {
                codes::CANCELLED => return Some(Situation::Cancelled),
                codes::CUT => return Some(Situation::Truncated),
                _ => {}
            }
        }
        Some(match error.kind() {
            Kind::ConnectionReset | Kind::BrokenPipe => Situation::PeerReset,
            Kind::ConnectionRefused => Situation::ConnectionRefused,
            Kind::ConnectionAborted => Situation::LocalClose,
            Kind::UnexpectedEof => Situation::EndOfFile,
            Kind::TimedOut => Situation::TimedOut,
            Kind::WouldBlock => Situation::TooManyQueued,
            _ => return None,
        })
    }
}

pub(crate) fn cancelled() -> io::Error {
    io::Error::from_raw_os_error(codes::CANCELLED)
}

pub(crate) fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(codes::CANCELLED)
}

pub(crate) fn closed_here() -> io::Error {
    io::Error::from_raw_os_error(codes::ABORTED)
}

pub(crate) fn reset() -> io::Error {
    io::Error::from_raw_os_error(codes::RESET)
}

/// A datagram was longer than the room for it.
pub(crate) fn cut() -> io::Error {
    io::Error::from_raw_os_error(codes::CUT)
}

pub(crate) fn timed_out() -> io::Error {
    io::Error::from_raw_os_error(codes::TIMED_OUT)
}

pub(crate) fn port_closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the completion port is closed")
}

pub(crate) fn handle_closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the handle is closed")
}

pub(crate) fn ending() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotConnected,
        "the handle is being ended or its sending side is shut down",
    )
}

pub(crate) fn wrong_kind() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "this kind of handle has no such operation")
}

pub(crate) fn not_here() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "this operation is not to be had on this system or this kind of driver (a simulated network has none)",
    )
}

pub(crate) fn not_a_range() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the range does not lie within the file, or it is not an ordinary file",
    )
}

pub(crate) fn wrong_driver() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the port's driver is not for this kind of socket (a simulated one and a real one do not mix)",
    )
}

#[cfg_attr(unix, allow(dead_code))] // no such attribute there
pub(crate) fn not_overlapped() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the handle cannot be had for overlapped I/O (open the file with FILE_FLAG_OVERLAPPED; of pipes only named ones can be)",
    )
}

pub(crate) fn no_file() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "not a regular file or a block device, so it has no offsets (for a pipe there are PipeReader and PipeWriter)",
    )
}

pub(crate) fn too_far(offset: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("no file has an offset of {offset}: the greatest is {}", i64::MAX),
    )
}

pub(crate) fn end_of_file() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

/// The file has become shorter than the range that was asked for.
#[cfg_attr(not(any(target_os = "linux", windows)), allow(dead_code))] // not every system sends files
pub(crate) fn cut_short() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the file has become shorter than the range of it that is being transmitted",
    )
}

pub(crate) fn empty_buffer() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the buffer to send is empty")
}

pub(crate) fn full_buffer() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the buffer has no spare room to receive into (clear it, or give it capacity)",
    )
}

pub(crate) fn too_many_queued(limit: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::WouldBlock,
        format!("{limit} operations are queued on this handle and direction already"),
    )
}

pub(crate) fn no_batch() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a batch of no packets was asked for")
}

pub(crate) fn not_beside() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "this driver cannot be waited for alertably (the clock of a simulated one stands still meanwhile)",
    )
}

pub(crate) fn no_period() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "a period of no length: a timer that comes again needs a while between",
    )
}

pub(crate) fn has_port() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "a socket that belongs to a completion port takes no completion routines or events: its completions go to the port",
    )
}

pub(crate) fn no_events() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a wait for no event at all would never end")
}

pub(crate) fn event_twice() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "an event is twice in the list of a wait for all (once is enough)",
    )
}

pub(crate) fn thread_gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the thread has ended, and its queue of APCs with it")
}

pub(crate) fn thread_ending() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotConnected,
        "the thread is ending: it takes no completion routines any more",
    )
}

pub(crate) fn has_driver() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "the thread has a driver for its routines already")
}

#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // only Linux can tell
pub(crate) fn second_association() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the socket (perhaps through a duplicate of it) belongs to a completion port already",
    )
}
