//! Operations with completion routines.

use std::{fs::File, io, net::SocketAddr, ops::RangeBounds, sync::Arc, time::Duration};

use super::{
    OverlappedSocket,
    place::{Key, Place, Task},
};
use crate::{
    Addresses, Buffer, HalfAccepted,
    handle::{Handle, Role},
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
    /// The buffers of a [`send_vectored`](OverlappedSocket::send_vectored), head and tail of a
    /// [`transmit_file`](OverlappedSocket::transmit_file); none of other operations.
    pub buffers: Vec<Buffer>,
    /// Whose datagram came, or to whom one was sent; none of other operations.
    pub peer: Option<SocketAddr>,
    /// The connection that an [`accept_with`](OverlappedSocket::accept_with) has brought, with the mode of its listener (S181).
    pub accepted: Option<OverlappedSocket>,
    /// Both addresses of that connection.
    pub addresses: Option<Addresses>,
}

impl Done {
    pub(super) fn new(
        socket: OverlappedSocket,
        result: io::Result<usize>,
        buffer: Buffer,
        buffers: Vec<Buffer>,
        peer: Option<SocketAddr>,
    ) -> Self {
        Self { socket, result, buffer, buffers, peer, accepted: None, addresses: None }
    }
}

/// What can start all but accepts.
const IO: &[Role] = &[Role::Stream, Role::Datagram, Role::File];

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

    /// Starts to accept one connection and to receive its first data, as [`Handle::accept_with`](crate::Handle::accept_with) does;
    /// [`Done::accepted`] and [`Done::addresses`] tell of it. The socket is a listener.
    ///
    /// # Errors
    ///
    /// As [`recv`](OverlappedSocket::recv), and refused if the socket is no listener.
    ///
    /// ```
    /// use completion_port::{Buffer, routine::{OverlappedSocket, sleep_ex}};
    /// use std::{io::Write, net::{TcpListener, TcpStream}, time::Duration};
    ///
    /// let listener = OverlappedSocket::from(TcpListener::bind("127.0.0.1:0")?);
    /// listener.accept_with(Buffer::with_capacity(64), |done| {
    ///     assert_eq!((&done.buffer[..], done.accepted.is_some()), (&b"hello"[..], true));
    /// })?;
    /// TcpStream::connect(listener.local_addr()?)?.write_all(b"hello")?;
    /// sleep_ex(Duration::MAX, true)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "AcceptEx")]
    pub fn accept_with<F: FnOnce(Done) + 'static>(
        &self,
        buffer: Buffer,
        routine: F,
    ) -> Result<OpId, Refused<F, Buffer>> {
        self.start_on(
            &[Role::Listener],
            buffer,
            routine,
            |routine| Box::new(routine),
            |handle, buffer, task| handle.accept_with(buffer, task),
        )
    }

    /// The connections that this thread's [`accept_with`](OverlappedSocket::accept_with) has accepted and that have sent nothing yet, as
    /// [`Handle::half_accepted`](crate::Handle::half_accepted) tells them.
    #[doc(alias = "SO_CONNECT_TIME")]
    #[must_use]
    pub fn half_accepted(&self) -> Vec<HalfAccepted> {
        self.own_handles().iter().flat_map(Handle::half_accepted).collect()
    }

    /// Starts to connect and to send the first data, as [`Handle::connect_with`](crate::Handle::connect_with) does.
    ///
    /// # Errors
    ///
    /// As [`recv`](OverlappedSocket::recv), and refused if `buffer` is empty.
    #[doc(alias = "ConnectEx")]
    pub fn connect_with<F: FnOnce(Done) + 'static>(
        &self,
        address: SocketAddr,
        buffer: Buffer,
        routine: F,
    ) -> Result<OpId, Refused<F, Buffer>> {
        self.start(buffer, routine, |handle, buffer, task| {
            handle.connect_with(address, buffer, task)
        })
    }

    /// Starts to disconnect behind what this thread has started to send, as [`Handle::disconnect`](crate::Handle::disconnect) does.
    ///
    /// # Errors
    ///
    /// As [`recv`](OverlappedSocket::recv), and refused if sending ends already.
    #[doc(alias = "DisconnectEx")]
    pub fn disconnect<F: FnOnce(Done) + 'static>(&self, routine: F) -> Result<OpId, Refused<F>> {
        self.start((), routine, |handle, (), task| handle.disconnect(task))
    }

    /// Ends the connection gracefully and leaves a socket that can connect again, as
    /// [`Handle::disconnect_reuse`](crate::Handle::disconnect_reuse) does. What other threads have started on the socket is theirs to end
    /// before.
    ///
    /// # Errors
    ///
    /// As [`end`](OverlappedSocket::end).
    #[doc(alias = "TF_REUSE_SOCKET")]
    pub fn disconnect_reuse<F: FnOnce(Done) + 'static>(
        &self,
        deadline: Duration,
        routine: F,
    ) -> Result<OpId, Refused<F>> {
        self.start((), routine, |handle, (), task| handle.disconnect_reuse(deadline, task))
    }

    /// Starts to send `head`, a range of a file, and `tail`, without a copy through the process, as
    /// [`Handle::transmit_file`](crate::Handle::transmit_file) does. [`Done::buffers`] has head and tail.
    ///
    /// # Errors
    ///
    /// As [`recv`](OverlappedSocket::recv), and as `Handle::transmit_file`.
    #[doc(alias = "TransmitFile")]
    pub fn transmit_file<F: FnOnce(Done) + 'static>(
        &self,
        file: impl Into<Arc<File>>,
        range: impl RangeBounds<u64>,
        head: Buffer,
        tail: Buffer,
        routine: F,
    ) -> Result<OpId, Refused<F, [Buffer; 2]>> {
        self.start([head, tail], routine, |handle, [head, tail], task| {
            handle.transmit_file(file, range, head, tail, task)
        })
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
        self.start_on(IO, buffer, routine, boxed, start)
    }

    fn start_on<B, F>(
        &self,
        roles: &[Role],
        buffer: B,
        routine: F,
        boxed: impl FnOnce(F) -> Routine,
        start: impl FnOnce(&Handle<Key, Task>, B, Task) -> Result<OpId, Refused<Task, B>>,
    ) -> Result<OpId, Refused<F, B>> {
        let (place, handle) = match self.ready_as(roles) {
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
        self.ready_as(IO)
    }

    /// The same for what only some sockets can do.
    fn ready_as(&self, roles: &[Role]) -> io::Result<(std::rc::Rc<Place>, Handle<Key, Task>)> {
        let place = Place::here()?;
        place.keep_order()?;
        let handle = self.inner().handle(place.port(), roles)?;
        Ok((place, handle))
    }
}
