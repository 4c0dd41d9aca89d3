//! Operations with completion routines.

use std::{io, net::SocketAddr, time::Duration};

use super::{
    OverlappedSocket,
    place::{Key, Place, Task},
};
use crate::{
    Buffer,
    handle::Handle,
    operation::{OpId, Refused},
};

pub(super) type Routine = Box<dyn FnOnce(Done)>;

/// What a completion routine is called with (S176): the outcome of the operation that it was started for.
///
/// ```
/// use completion_port::{Buffer, routine::{Done, OverlappedSocket, sleep_ex}};
/// use std::{net::{TcpListener, TcpStream}, time::Duration};
///
/// let listener = OverlappedSocket::from(TcpListener::bind("127.0.0.1:0")?);
/// let _client = TcpStream::connect(listener.local_addr()?)?;
/// let (server, _) = listener.accept()?;
/// server.send(Buffer::from(b"hello".to_vec()), |Done { result, buffer, .. }| {
///     assert_eq!((result.ok(), &buffer[..]), (Some(5), &b"hello"[..]));
/// })?;
/// sleep_ex(Duration::MAX, true)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Done {
    /// The socket. It closes with its last clone, so a routine that starts nothing more and drops this ends the connection.
    pub socket: OverlappedSocket,
    /// Bytes moved, or why not. `Ok(0)` from a receive is the end of the stream; a datagram may be of no bytes (S131).
    pub result: io::Result<usize>,
    /// The operation's buffer, filled by a receive. Empty where the operation had none.
    pub buffer: Buffer,
    /// The buffers of a [`send_vectored`](OverlappedSocket::send_vectored); none of other operations.
    pub buffers: Vec<Buffer>,
    /// Whose datagram came, or to whom one was sent; none of other operations.
    pub peer: Option<SocketAddr>,
}

impl Done {
    pub(super) fn new(
        socket: OverlappedSocket,
        result: io::Result<usize>,
        buffer: Buffer,
        buffers: Vec<Buffer>,
        peer: Option<SocketAddr>,
    ) -> Self {
        Self { socket, result, buffer, buffers, peer }
    }
}

impl OverlappedSocket {
    /// Starts a receive into the spare room of `buffer`: `WSARecv` with a completion routine. It completes as soon as any bytes are
    /// there, with `Ok(0)` at the end of the stream; then `routine` runs in the calling thread's next alertable wait.
    ///
    /// # Errors
    ///
    /// Refused, with buffer and routine given back (S166): no stream, closed, a buffer without spare room, too many queued, the socket
    /// belongs to a port (S167), the thread is ending or can have no driver. All else is told to the routine.
    #[doc(alias = "WSARecv")]
    pub fn recv<F: FnOnce(Done) + 'static>(
        &self,
        buffer: Buffer,
        routine: F,
    ) -> Result<OpId, Refused<F, Buffer>> {
        self.start(buffer, routine, |handle, buffer, task| handle.recv(buffer, task))
    }

    /// Starts a receive without a buffer: one is lent by the thread's pool when data arrives, so that an idle connection pins none.
    ///
    /// # Errors
    ///
    /// As [`recv`](OverlappedSocket::recv).
    #[doc(alias = "WSARecv")]
    pub fn recv_lent<F: FnOnce(Done) + 'static>(&self, routine: F) -> Result<OpId, Refused<F>> {
        self.start((), routine, |handle, (), task| handle.recv_lent(task))
    }

    /// Starts to send all of `buffer`: `WSASend` with a completion routine. It completes with all its bytes or an error, and several
    /// leave in the order of the calls.
    ///
    /// # Errors
    ///
    /// As [`recv`](OverlappedSocket::recv), and refused if `buffer` is empty.
    #[doc(alias = "WSASend")]
    pub fn send<F: FnOnce(Done) + 'static>(
        &self,
        buffer: Buffer,
        routine: F,
    ) -> Result<OpId, Refused<F, Buffer>> {
        self.start(buffer, routine, |handle, buffer, task| handle.send(buffer, task))
    }

    /// Starts to send several buffers as one, in their order; [`Done::buffers`] has them.
    ///
    /// # Errors
    ///
    /// As [`recv`](OverlappedSocket::recv), and refused if there is no byte in any of them.
    #[doc(alias = "WSASend")]
    pub fn send_vectored<F: FnOnce(Done) + 'static>(
        &self,
        buffers: Vec<Buffer>,
        routine: F,
    ) -> Result<OpId, Refused<F, Vec<Buffer>>> {
        self.start(buffers, routine, |handle, buffers, task| handle.send_vectored(buffers, task))
    }

    /// Starts to receive one datagram, as [`Handle::recv_from`](crate::Handle::recv_from) does: `WSARecvFrom` with a completion routine,
    /// which finds the sender in [`Done::peer`].
    ///
    /// # Errors
    ///
    /// As [`recv`](OverlappedSocket::recv), and refused if it is no datagram socket.
    ///
    /// ```
    /// use completion_port::{Buffer, routine::{OverlappedSocket, sleep_ex}};
    /// use std::{net::UdpSocket, time::Duration};
    ///
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// let server = OverlappedSocket::from(UdpSocket::bind("127.0.0.1:0")?);
    /// server.recv_from(Buffer::with_capacity(1024), |done| { // WSARecvFrom(..., routine)
    ///     let Some(peer) = done.peer else { return };
    ///     let _ = done.socket.send_to(done.buffer, peer, |_sent| {}); // WSASendTo(..., routine)
    /// })?;
    /// client.send_to(b"hello", server.local_addr()?)?;
    /// sleep_ex(Duration::MAX, true)?;
    ///
    /// let mut back = [0; 16];
    /// assert_eq!(client.recv(&mut back)?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "WSARecvFrom")]
    pub fn recv_from<F: FnOnce(Done) + 'static>(
        &self,
        buffer: Buffer,
        routine: F,
    ) -> Result<OpId, Refused<F, Buffer>> {
        self.start(buffer, routine, |handle, buffer, task| handle.recv_from(buffer, task))
    }

    /// Starts to receive one datagram without a buffer: one is lent by the thread's pool when it arrives.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](OverlappedSocket::recv_from).
    #[doc(alias = "WSARecvFrom")]
    pub fn recv_from_lent<F: FnOnce(Done) + 'static>(
        &self,
        routine: F,
    ) -> Result<OpId, Refused<F>> {
        self.start((), routine, |handle, (), task| handle.recv_from_lent(task))
    }

    /// Starts to send `buffer` as one datagram, as [`Handle::send_to`](crate::Handle::send_to) does: `WSASendTo` with a completion
    /// routine.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](OverlappedSocket::recv_from).
    #[doc(alias = "WSASendTo")]
    pub fn send_to<F: FnOnce(Done) + 'static>(
        &self,
        buffer: Buffer,
        address: SocketAddr,
        routine: F,
    ) -> Result<OpId, Refused<F, Buffer>> {
        self.start(buffer, routine, |handle, buffer, task| handle.send_to(buffer, address, task))
    }

    /// Ends the connection gracefully, as [`Handle::end`](crate::Handle::end) does: what the thread has started to send leaves, the
    /// peer is told the end, what it still sends is discarded, and the socket is closed. The deadline passes in an alertable wait.
    ///
    /// # Errors
    ///
    /// As [`recv`](OverlappedSocket::recv), and refused if it is ending already.
    #[doc(alias = "DisconnectEx")]
    pub fn end<F: FnOnce(Done) + 'static>(
        &self,
        deadline: Duration,
        routine: F,
    ) -> Result<OpId, Refused<F>> {
        self.start((), routine, |handle, (), task| handle.end(deadline, task))
    }

    fn start<B, F: FnOnce(Done) + 'static>(
        &self,
        buffer: B,
        routine: F,
        start: impl FnOnce(&Handle<Key, Task>, B, Task) -> Result<OpId, Refused<Task, B>>,
    ) -> Result<OpId, Refused<F, B>> {
        self.start_as(buffer, routine, |routine| Box::new(routine), start)
    }

    /// The same with a routine that is called in another way.
    pub(super) fn start_as<B, F>(
        &self,
        buffer: B,
        routine: F,
        boxed: impl FnOnce(F) -> Routine,
        start: impl FnOnce(&Handle<Key, Task>, B, Task) -> Result<OpId, Refused<Task, B>>,
    ) -> Result<OpId, Refused<F, B>> {
        let (place, handle) = match self.ready() {
            Ok(ready) => ready,
            Err(error) => return Err(Refused { error, context: routine, buffer }),
        };
        // The routine stays out of the operation, which may be settled on another thread: it need not be Send.
        let slot = place.reserve();
        match start(&handle, buffer, Task::Routine { slot, socket: self.inner().clone() }) {
            Ok(id) => {
                place.fill(slot, boxed(routine));
                Ok(id)
            }
            Err(Refused { error, buffer, .. }) => {
                place.give_back(slot);
                Err(Refused { error, context: routine, buffer })
            }
        }
    }

    /// What a start needs: the thread's place, and its handle on this socket.
    pub(super) fn ready(&self) -> io::Result<(std::rc::Rc<Place>, Handle<Key, Task>)> {
        let place = Place::here()?;
        place.keep_order()?;
        let handle = self.inner().handle(place.port())?;
        Ok((place, handle))
    }
}
