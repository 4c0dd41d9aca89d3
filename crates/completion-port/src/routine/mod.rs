//! Completion routines: overlapped I/O that ends in a function call, on the thread that started it, in an alertable wait.
//!
//! A thread starts an operation on an [`OverlappedSocket`] or an [`OverlappedFile`] with a routine, a closure that gets the outcome and the buffer back
//! ([`Done`]). The routine runs on that thread (S164), only while it is in an **alertable wait**: [`sleep_ex`],
//! [`CompletionPort::get_alertable`](crate::CompletionPort::get_alertable), or a call on an overlapped socket that blocks (S175).
//! It need not be `Send`, and it owns what it needs. Other threads reach into the same queue with [`queue_user_apc`].
//!
//! ```
//! use completion_port::{Buffer, routine::{Done, OverlappedSocket, Woken, sleep_ex}};
//! use std::{io::{Read, Write}, net::{TcpListener, TcpStream}, time::Duration};
//!
//! let listener = OverlappedSocket::from(TcpListener::bind("127.0.0.1:0")?);
//! let mut user = TcpStream::connect(listener.local_addr()?)?;
//! let (client, _peer) = listener.accept()?;
//!
//! fn read(done: Done) { // ReadCompRoutine
//!     if matches!(done.result, Ok(n) if n > 0) {
//!         let _ = done.socket.send(done.buffer, |_sent| {}); // WriteCompRoutine
//!     }
//! }
//! client.recv(Buffer::with_capacity(1024), read)?; // WSARecv(..., ReadCompRoutine)
//! user.write_all(b"hello")?;
//! assert_eq!(sleep_ex(Duration::MAX, true)?, Woken::IoCompletion); // SleepEx(INFINITE, TRUE)
//!
//! let mut back = [0; 5];
//! user.read_exact(&mut back)?;
//! assert_eq!(&back, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The rules
//!
//! - A routine never runs before the call that started its operation has returned, also if the operation was over at once (S165),
//!   and only if that call succeeded (S166); otherwise it comes back with the error.
//! - All that is queued runs before the wait returns, first in, first out (S170), I/O and APCs of other threads in one order.
//!   Routines that keep each other busy do not keep the thread for ever, though: after a few rounds the wait returns, and the next
//!   goes on.
//! - An alertable wait inside a routine runs further routines (S173), but none of the socket whose routine it is in.
//! - A routine that panics takes its panic out of the wait. What is queued behind it runs in the next wait.
//! - A socket that belongs to a completion port takes no routines (S167).
//! - When a thread ends, what it started is cancelled and its routines are dropped without a call (S105), as are APCs that were
//!   queued for it (S109).
//!
//! # With an event instead
//!
//! [`OverlappedSocket::with_event`] starts operations that call nothing: the end of one sets an [`Event`](crate::event::Event), and its
//! result is asked for ([`Overlapped`]). The same thread brings it in, in *any* wait of this library for events or results, alertable or
//! not, in an alertable sleep, and when it asks whether it is over: see [`OverlappedSocket::with_event`].
//!
//! # How it works
//!
//! A thread has a place of its own, made when it first needs one: a small completion port that nobody else takes from. A
//! completion routine is a packet in it, a user APC is a posted one, and an alertable wait takes them all. So order, whole sends,
//! cancelling and closing are those of every port. While the thread is not in an alertable wait, operations still end, but what
//! waits its turn behind them (a second receive on the same socket, say) and, on the readiness driver, everything that was not
//! done at once, goes on in the next wait.
//!
//! - `socket`: the overlapped socket, its blocking mode, accept and connect. `start`: operations with routines. `file`: those of files.
//! - `wait`: the alertable waits, on events too. `get`: the one at a port. `timer`: waitable timers with routines.
//! - `with_event`: operations with an event and no routine. `overlapped`: how their result is had; `outcome`: where it lies till then.
//! - `apc`: threads by name, and APCs for them. `place`: what all of these share.

mod apc;
mod file;
mod get;
mod outcome;
mod overlapped;
mod place;
mod socket;
mod start;
mod timer;
mod wait;
mod with_event;

pub(crate) use self::place::{Gathered, Place};
pub use self::{
    apc::{Apc, Suspended, Thread, current, queue_user_apc, suspended},
    file::{FileDone, OverlappedFile},
    overlapped::{Incomplete, Overlapped, Why},
    place::{driver, use_driver},
    socket::OverlappedSocket,
    start::Done,
    timer::{TimerId, cancel_timer, every, timer},
    wait::{Woken, sleep_ex, wait_ex},
    with_event::WithEvent,
};
