//! An operation with an event, and how its result is had.

use std::{
    error::Error,
    fmt, io,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    outcome::Outcome,
    place::{Gathered, Key, Place, Task},
    start::Done,
};
use crate::{blocking, error, handle::Handle, operation::OpId};

/// An operation that was started with an event ([`OverlappedSocket::with_event`](super::OverlappedSocket::with_event)): what the notes
/// keep an `OVERLAPPED` for. Its [`Done`], the result and the buffer, is had from it once.
///
/// It belongs to the thread that started it, as I/O without a port does: when that thread ends, the operation is cancelled (S105). To
/// drop it cancels the operation, too, and leaves its event alone. The system may go on writing into the buffer for a moment, so that
/// stays with the library until the operation is over.
///
/// ```
/// use completion_port::{Buffer, event::Event, routine::{Incomplete, OverlappedSocket, Why}};
/// use std::{io::Write, net::{TcpListener, TcpStream}};
///
/// let listener = OverlappedSocket::from(TcpListener::bind("127.0.0.1:0")?);
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (server, _) = listener.accept()?;
///
/// let event = Event::manual_reset(false);
/// let overlapped = server.with_event(&event).recv(Buffer::with_capacity(64))?;
/// let Err(Incomplete { overlapped, why: Why::Pending }) = overlapped.result() else {
///     panic!("nothing was sent");
/// };
/// client.write_all(b"hello")?;
/// assert_eq!(&overlapped.wait()?.buffer[..], b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "OVERLAPPED")]
#[doc(alias = "WSAOVERLAPPED")]
#[must_use = "dropped, it cancels the operation"]
pub struct Overlapped {
    pub(super) outcome: Rc<Outcome>,
    /// The thread's, on the socket.
    pub(super) handle: Handle<Key, Task>,
    pub(super) id: OpId,
}

/// Why there is no result (yet).
#[derive(Debug)]
#[non_exhaustive]
pub enum Why {
    /// The operation goes on: `ERROR_IO_INCOMPLETE` (S77).
    #[doc(alias = "ERROR_IO_INCOMPLETE")]
    Pending,
    /// ... and the time is up: `WAIT_TIMEOUT` (S81).
    TimedOut,
    /// ... and routines of this thread have run: `WAIT_IO_COMPLETION` (S81).
    Alerted,
    /// The thread's driver failed, which no program causes, or the thread is ending.
    Failed(io::Error),
}

/// There is no result (yet), and the operation comes back, to be asked again.
///
/// As an [`io::Error`] it is one of kind `WouldBlock`, `TimedOut` or `Interrupted`, and the operation is dropped.
#[derive(Debug)]
pub struct Incomplete {
    /// The operation, given back.
    pub overlapped: Overlapped,
    /// Why.
    pub why: Why,
}

impl Overlapped {
    /// Names the operation, for [`OverlappedSocket::cancel`](super::OverlappedSocket::cancel).
    #[must_use]
    pub fn id(&self) -> OpId {
        self.id
    }

    /// Whether it is over: `HasOverlappedIoCompleted` (S76). Brings in what is over by now.
    #[doc(alias = "HasOverlappedIoCompleted")]
    #[must_use]
    pub fn is_completed(&self) -> bool {
        if self.outcome.is_pending()
            && let Ok(Some(place)) = Place::existing()
        {
            // What fails here fails in the wait that follows as well, and is told there.
            let _ = place.look();
        }
        !self.outcome.is_pending()
    }

    /// Asks for its end: `CancelIoEx`. True if it was pending and nobody had asked before; its result comes all the same (S89).
    #[doc(alias = "CancelIoEx")]
    pub fn cancel(&self) -> bool {
        self.handle.cancel(self.id)
    }

    /// The result, if the operation is over: `GetOverlappedResult(..., FALSE)`. Whatever its event says (see
    /// [`with_event`](super::OverlappedSocket::with_event)), there is none before. A failure is in [`Done::result`].
    ///
    /// # Errors
    ///
    /// [`Why::Pending`], with the operation given back (S77).
    #[doc(alias = "GetOverlappedResult")]
    #[doc(alias = "WSAGetOverlappedResult")]
    pub fn result(self) -> Result<Done, Incomplete> {
        self.wait_ex(Some(Duration::ZERO), false)
    }

    /// The result, as soon as the operation is over: `GetOverlappedResult(..., TRUE)`. Not alertable (S83). Its event, if it resets by
    /// itself, is left as the end of the operation has it.
    ///
    /// # Errors
    ///
    /// [`Why::Failed`] only.
    #[doc(alias = "GetOverlappedResult")]
    #[doc(alias = "WSAGetOverlappedResult")]
    pub fn wait(self) -> Result<Done, Incomplete> {
        self.wait_ex(None, false)
    }

    /// The result, within so long (`None` for ever), in an alertable wait or not: `GetOverlappedResultEx` (S81). A timeout of
    /// [`Duration::ZERO`] asks only, and runs nothing.
    ///
    /// # Errors
    ///
    /// [`Why::TimedOut`] ([`Why::Pending`] with a timeout of zero), [`Why::Alerted`] when routines have run, if it is alertable. A panic
    /// in a routine comes out of this call, and the operation is dropped.
    #[doc(alias = "GetOverlappedResultEx")]
    pub fn wait_ex(self, timeout: Option<Duration>, alertable: bool) -> Result<Done, Incomplete> {
        match self.until_over(timeout, alertable) {
            Ok(done) => Ok(done),
            Err(why) => Err(Incomplete { overlapped: self, why }),
        }
    }

    fn until_over(&self, timeout: Option<Duration>, alertable: bool) -> Result<Done, Why> {
        if let Some(done) = self.outcome.take() {
            return Ok(done);
        }
        let place = match Place::existing() {
            Ok(Some(place)) => place,
            // It was made for the start.
            Ok(None) | Err(_) => return Err(Why::Failed(error::thread_ending())),
        };
        if timeout == Some(Duration::ZERO) {
            place.look().map_err(Why::Failed)?;
            return self.outcome.take().ok_or(Why::Pending);
        }
        // A time beyond the clock's range is none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let rested = blocking(|| place.rest(deadline, alertable)).map_err(Why::Failed)?;
            // What is over comes before what could run.
            if let Some(done) = self.outcome.take() {
                return Ok(done);
            }
            match rested {
                Gathered::Runnable if place.run() => return Err(Why::Alerted),
                Gathered::Runnable | Gathered::Beside => {}
                Gathered::TimedOut => return Err(Why::TimedOut),
            }
        }
    }
}

impl Drop for Overlapped {
    fn drop(&mut self) {
        if self.outcome.is_pending() {
            self.outcome.abandon();
            self.handle.cancel(self.id);
        }
    }
}

impl fmt::Debug for Overlapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlapped")
            .field("id", &self.id)
            .field("pending", &self.outcome.is_pending())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Pending => f.write_str("the operation is not over"),
            Why::TimedOut => f.write_str("the operation was not over in time"),
            Why::Alerted => f.write_str("completion routines ran, and the operation is not over"),
            Why::Failed(e) => write!(f, "the operation's result cannot be had: {e}"),
        }
    }
}

impl Error for Incomplete {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.why {
            Why::Failed(e) => Some(e),
            _ => None,
        }
    }
}

impl From<Incomplete> for io::Error {
    fn from(incomplete: Incomplete) -> Self {
        let kind = match &incomplete.why {
            Why::Pending => io::ErrorKind::WouldBlock,
            Why::TimedOut => io::ErrorKind::TimedOut,
            Why::Alerted => io::ErrorKind::Interrupted,
            Why::Failed(e) => e.kind(),
        };
        Self::new(kind, incomplete.to_string())
    }
}
