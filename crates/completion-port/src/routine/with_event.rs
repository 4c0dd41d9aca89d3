//! Operations with an event and no routine.

use std::{rc::Rc, time::Duration};

use super::{
    Overlapped, OverlappedSocket,
    outcome::Outcome,
    place::{Key, Task},
};
use crate::{
    Buffer,
    event::Event,
    handle::Handle,
    operation::{OpId, Refused},
    sys,
};

/// Starts operations that set an event when they are over. From [`OverlappedSocket::with_event`].
#[derive(Debug, Clone, Copy)]
pub struct WithEvent<'a> {
    socket: &'a OverlappedSocket,
    event: &'a Event,
}

impl OverlappedSocket {
    /// For operations that end in an event: `WSARecv(..., &overlapped, NULL)` with `overlapped.hEvent`. To start one resets the event
    /// (S70), its end sets it, well or not, and the [`Overlapped`] that the start returned has the result. Operations with routines leave
    /// events alone (S72).
    ///
    /// # Who sets the event, and when
    ///
    /// No thread of the library does: **the thread that started the operation** brings its end in, whenever it waits here for events or
    /// results, alertable or not, sleeps alertably, waits alertably at a port, or asks for the result. An operation that is over when its
    /// start returns has set its event by then. Other threads may wait for the event as well, and are released when that thread does one
    /// of these; while it computes, or blocks elsewhere, they wait. I/O that any thread is to bring in is what a completion port is for.
    ///
    /// Each operation in flight wants an event of its own, or nobody can tell which one was over: one for each direction of each
    /// connection is the rule.
    ///
    /// ```
    /// use completion_port::{Buffer, event::{Event, wait_any}, routine::OverlappedSocket};
    /// use std::{io::Write, net::{TcpListener, TcpStream}};
    ///
    /// let listener = OverlappedSocket::from(TcpListener::bind("127.0.0.1:0")?);
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let (server, _) = listener.accept()?;
    ///
    /// let event = Event::manual_reset(false); // WSACreateEvent
    /// let overlapped = server.with_event(&event).recv(Buffer::with_capacity(1024))?; // WSARecv: WSA_IO_PENDING
    /// client.write_all(b"hello")?;
    /// wait_any(&[&event], None)?; // WSAWaitForMultipleEvents(1, &evObj, TRUE, WSA_INFINITE, FALSE)
    /// let done = overlapped.result()?; // WSAGetOverlappedResult(..., FALSE, NULL)
    /// assert_eq!(&done.buffer[..], b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_event<'a>(&'a self, event: &'a Event) -> WithEvent<'a> {
        WithEvent { socket: self, event }
    }
}

impl WithEvent<'_> {
    /// Starts a receive into the spare room of `buffer`: `WSARecv` with an event. It completes as soon as any bytes are there, with
    /// `Ok(0)` at the end of the stream.
    ///
    /// # Errors
    ///
    /// Refused, with the buffer given back and the event untouched: no stream, closed, a buffer without spare room, too many queued, the
    /// socket belongs to a port, the thread is ending or can have no driver. All else is in the result.
    #[doc(alias = "WSARecv")]
    #[doc(alias = "ReadFile")]
    pub fn recv(&self, buffer: Buffer) -> Result<Overlapped, Refused<(), Buffer>> {
        self.start(buffer, |handle, buffer, task| handle.recv(buffer, task))
    }

    /// Starts a receive without a buffer: one is lent by the thread's pool when data arrives.
    ///
    /// # Errors
    ///
    /// As [`recv`](WithEvent::recv).
    #[doc(alias = "WSARecv")]
    pub fn recv_lent(&self) -> Result<Overlapped, Refused<()>> {
        self.start((), |handle, (), task| handle.recv_lent(task))
    }

    /// Starts to send all of `buffer`: `WSASend` with an event. It completes with all its bytes or an error, and several leave in the
    /// order of the calls.
    ///
    /// # Errors
    ///
    /// As [`recv`](WithEvent::recv), and refused if `buffer` is empty.
    #[doc(alias = "WSASend")]
    #[doc(alias = "WriteFile")]
    pub fn send(&self, buffer: Buffer) -> Result<Overlapped, Refused<(), Buffer>> {
        self.start(buffer, |handle, buffer, task| handle.send(buffer, task))
    }

    /// Starts to send several buffers as one, in their order; [`Done::buffers`](super::Done::buffers) has them.
    ///
    /// # Errors
    ///
    /// As [`recv`](WithEvent::recv), and refused if there is no byte in any of them.
    #[doc(alias = "WSASend")]
    pub fn send_vectored(
        &self,
        buffers: Vec<Buffer>,
    ) -> Result<Overlapped, Refused<(), Vec<Buffer>>> {
        self.start(buffers, |handle, buffers, task| handle.send_vectored(buffers, task))
    }

    /// Ends the connection gracefully, as [`Handle::end`](crate::Handle::end) does: what the thread has started to send leaves, the peer is
    /// told the end, what it still sends is discarded, and the socket is closed. The deadline passes in a wait of this thread.
    ///
    /// # Errors
    ///
    /// As [`recv`](WithEvent::recv), and refused if it is ending already.
    #[doc(alias = "DisconnectEx")]
    pub fn end(&self, deadline: Duration) -> Result<Overlapped, Refused<()>> {
        self.start((), |handle, (), task| handle.end(deadline, task))
    }

    fn start<B>(
        &self,
        buffer: B,
        start: impl FnOnce(&Handle<Key, Task>, B, Task) -> Result<OpId, Refused<Task, B>>,
    ) -> Result<Overlapped, Refused<(), B>> {
        let (place, handle) = match self.socket.ready() {
            Ok(ready) => ready,
            Err(error) => return Err(Refused { error, context: (), buffer }),
        };
        let outcome = Rc::new(Outcome::new(self.event.clone()));
        let slot = place.expect(outcome.clone());
        let socket = self.socket.inner().clone();
        match start(&handle, buffer, Task::Overlapped { slot, socket }) {
            Ok(id) => {
                // This thread alone brings the end in, so it has not been yet.
                self.event.reset();
                if sys::OVER_COMES_LATER {
                    // Should it fail, the end comes with the thread's next wait.
                    let _ = place.look();
                }
                place.bring_in();
                Ok(Overlapped { outcome, handle, id })
            }
            Err(Refused { error, buffer, .. }) => {
                place.expect_no_more(slot);
                Err(Refused { error, context: (), buffer })
            }
        }
    }
}
