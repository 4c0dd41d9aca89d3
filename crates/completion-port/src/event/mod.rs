//! Events: objects that are signaled or not, and that threads wait for.
//!
//! An [`Event`] is set by any thread, or by an operation that is over
//! ([`OverlappedSocket::with_event`](crate::routine::OverlappedSocket::with_event)). A thread waits for one ([`Event::wait`]), for the
//! first of several ([`wait_any`]) or for all of them ([`wait_all`]); in an alertable wait
//! ([`routine::wait_ex`](crate::routine::wait_ex)) its completion routines run meanwhile.
//!
//! ```
//! use completion_port::event::{Event, wait_any};
//! use std::thread;
//!
//! let (work, stop) = (Event::auto_reset(false), Event::manual_reset(false));
//! thread::scope(|s| {
//!     let worker = s.spawn(|| {
//!         let mut done = 0;
//!         while wait_any(&[&stop, &work], None)? == Some(1) {
//!             done += 1;
//!             stop.set();
//!         }
//!         std::io::Result::Ok(done)
//!     });
//!     work.set();
//!     assert_eq!(worker.join().expect("no panic")?, 1);
//!     # std::io::Result::Ok(())
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What a wait does
//!
//! - It gives up the thread's place among the running threads of its port, as every wait of this library does
//!   ([`blocking`](crate::blocking), S49).
//! - It brings in what is over of the I/O that the thread has started on its overlapped sockets, and sets its events; also if it is not
//!   alertable. Only routines are left for an alertable wait.
//! - It is one wait for one thread: an auto-reset event that is set releases the thread that has waited longest, and no other.
//!
//! - `board`: all events of the process, and who waits for them. `wait`: how a thread waits.

mod board;
#[cfg(all(test, not(completion_port_loom)))]
mod board_tests;
#[cfg(all(test, completion_port_loom))]
mod loom_tests;
mod wait;

use std::{
    fmt, io,
    sync::{Arc, LazyLock},
    time::Duration,
};

use self::board::Board;
pub(crate) use self::wait::wait;
pub use self::wait::{Waited, Which, wait_all, wait_any};

static BOARD: LazyLock<Board> = LazyLock::new(Board::new);

/// An event object; clones name the same one, on any thread.
///
/// A **manual-reset** event stays signaled until it is reset, and releases everybody who waits for it. An **auto-reset** event releases
/// one thread, and is not signaled any more by that. To set an event that is signaled changes nothing: events do not count.
///
/// ```
/// use completion_port::event::Event;
/// use std::time::Duration;
///
/// let gate = Event::manual_reset(true);
/// assert!(gate.wait(None)? && gate.wait(None)?);
/// gate.reset();
/// assert!(!gate.wait(Some(Duration::ZERO))?);
///
/// let token = Event::auto_reset(true);
/// assert!(token.wait(None)?);
/// assert!(!token.wait(Some(Duration::ZERO))?, "the first wait has taken it");
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "WSAEVENT")]
#[derive(Clone)]
pub struct Event(Arc<Place>);

/// An event's place on the board, its own until the last clone is gone.
struct Place(usize);

impl Drop for Place {
    fn drop(&mut self) {
        // Nobody waits for it: a wait borrows its events.
        BOARD.remove(self.0);
    }
}

impl Event {
    /// An event that stays signaled until [`reset`](Event::reset): `CreateEvent(NULL, TRUE, signaled, NULL)`; `WSACreateEvent` makes
    /// one that is not signaled.
    #[doc(alias = "CreateEvent")]
    #[doc(alias = "WSACreateEvent")]
    #[must_use]
    pub fn manual_reset(signaled: bool) -> Self {
        Self(Arc::new(Place(BOARD.add(false, signaled))))
    }

    /// An event that is taken by the one wait that it ends: `CreateEvent(NULL, FALSE, signaled, NULL)`.
    #[doc(alias = "CreateEvent")]
    #[must_use]
    pub fn auto_reset(signaled: bool) -> Self {
        Self(Arc::new(Place(BOARD.add(true, signaled))))
    }

    /// Signals it: `SetEvent`. Everybody who waits for it is released, or, if it resets by itself, the one who has waited longest.
    #[doc(alias = "SetEvent")]
    #[doc(alias = "WSASetEvent")]
    pub fn set(&self) {
        BOARD.set(self.number());
    }

    /// Signals it no longer: `ResetEvent`.
    #[doc(alias = "ResetEvent")]
    #[doc(alias = "WSAResetEvent")]
    pub fn reset(&self) {
        BOARD.reset(self.number());
    }

    /// Waits until it is signaled, at most so long (`None` for ever): `WaitForSingleObject`. [`Duration::ZERO`] asks and does not wait.
    /// True if it was signaled, and, if it resets by itself, this wait has taken it. Never alertable.
    ///
    /// # Errors
    ///
    /// The thread's driver failed, which no program causes.
    #[doc(alias = "WaitForSingleObject")]
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        wait_any(&[self], timeout).map(|which| which.is_some())
    }

    fn number(&self) -> usize {
        self.0.0
    }
}

impl PartialEq for Event {
    /// Whether both are clones of one.
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}

impl Eq for Event {}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (auto_reset, signaled) = BOARD.look(self.number());
        f.debug_struct("Event")
            .field("auto_reset", &auto_reset)
            .field("signaled", &signaled)
            .finish()
    }
}
