//! The overlapped socket: what the notes make with `WSASocket`, switch to non-blocking, and accept from.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    place::{Key, Task},
    wait::{Ready, is_ready, until_ready},
};
use crate::{
    error,
    handle::{Handle, Role, Source, sealed},
    net::TcpSocket,
    operation::OpId,
    port::CompletionPort,
    sys::{
        Descriptor, Socket, association::Identity, beside, codes, connect_now, is_nonblocking,
        receive_now, send_now, sock_ref,
    },
};

/// A socket for overlapped I/O with completion routines; clones name the same one, on any thread.
///
/// It has a **mode** of its own, blocking or not, which accepted sockets inherit (S181). The mode is that of plain calls:
/// [`accept`](OverlappedSocket::accept), [`connect`](OverlappedSocket::connect), [`Read`] and [`Write`] fail with
/// [`WouldBlock`](io::ErrorKind::WouldBlock) at once on a non-blocking socket (S179), and on a blocking one they wait, alertably
/// (S175). Overlapped operations are the same in both modes (S178). What the system calls the descriptor's mode is the library's own
/// affair.
///
/// Any number of threads may start operations on one socket: each routine runs on the thread that started its operation. Several
/// receives, and several sends, keep their order if one thread starts them; so with Windows (S116).
///
/// A socket lives until its last clone is dropped **and** nothing is pending on it. [`close`](OverlappedSocket::close) ends it now.
///
/// ```
/// use completion_port::routine::OverlappedSocket;
/// use std::{io::ErrorKind, net::TcpListener};
///
/// let listener = OverlappedSocket::from(TcpListener::bind("127.0.0.1:0")?);
/// listener.set_nonblocking(true); // ioctlsocket(hLisnSock, FIONBIO, &mode)
/// assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock); // WSAEWOULDBLOCK
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "WSASocket")]
#[doc(alias = "WSA_FLAG_OVERLAPPED")]
#[derive(Clone)]
pub struct OverlappedSocket(Arc<Inner>);

pub(super) struct Inner {
    fd: Arc<Descriptor>,
    identity: Identity,
    role: Role,
    nonblocking: AtomicBool,
    /// A connect is on its way.
    connecting: AtomicBool,
    handles: Mutex<Handles>,
}

/// A handle for each thread that has started I/O, by the number of its own port.
#[derive(Default)]
struct Handles {
    list: Vec<(u64, Handle<Key, Task>)>,
    closed: bool,
}

impl Inner {
    fn handles(&self) -> MutexGuard<'_, Handles> {
        // No code of a user runs behind this lock.
        crate::pause::here();
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handle of the thread that has this port, made if need be.
    pub(super) fn handle(
        self: &Arc<Self>,
        port: &CompletionPort<Key, Task>,
        roles: &[Role],
    ) -> io::Result<Handle<Key, Task>> {
        if self.identity.has_port() {
            return Err(error::has_port());
        }
        // Before a driver sets the descriptor's mode.
        if !roles.contains(&self.role) {
            return Err(error::wrong_kind());
        }
        let mut handles = self.handles();
        if handles.closed {
            return Err(error::handle_closed());
        }
        let number = port.shared.scheduler.number();
        if let Some((_, handle)) = handles.list.iter().find(|(of, _)| *of == number) {
            return Ok(handle.clone());
        }
        let socket = Socket::Shared(self.fd.clone());
        // An OpId names an operation of one thread: numbers of different threads' handles must not meet.
        let first = number << 40;
        let key = Arc::downgrade(self);
        let handle = Handle::attach(&port.shared, socket, self.role, key, None, first)
            .map_err(|(error, ..)| error)?;
        handles.list.push((number, handle.clone()));
        Ok(handle)
    }

    /// The thread of that port has ended.
    pub(super) fn forget(&self, number: u64) {
        let mut handles = self.handles();
        let at = handles.list.iter().position(|(of, _)| *of == number);
        // Dropped without the lock.
        let gone = at.map(|at| handles.list.swap_remove(at));
        drop(handles);
        drop(gone);
    }

    /// All handles, or that of one thread.
    fn handles_of(&self, number: Option<u64>) -> Vec<Handle<Key, Task>> {
        let handles = self.handles();
        let wanted = |of: &u64| number.is_none_or(|number| number == *of);
        handles.list.iter().filter(|(of, _)| wanted(of)).map(|(_, handle)| handle.clone()).collect()
    }
}

impl From<Arc<Inner>> for OverlappedSocket {
    fn from(inner: Arc<Inner>) -> Self {
        Self(inner)
    }
}

impl OverlappedSocket {
    fn new(fd: Descriptor, role: Role, nonblocking: bool) -> Self {
        Self(Arc::new(Inner {
            identity: Identity::of(&fd),
            fd: Arc::new(fd),
            role,
            nonblocking: AtomicBool::new(nonblocking),
            connecting: AtomicBool::new(false),
            handles: Mutex::default(),
        }))
    }

    /// One from elsewhere, with the mode that it has.
    pub(crate) fn adopt(fd: Descriptor, role: Role) -> Self {
        let nonblocking = is_nonblocking(&fd);
        Self::new(fd, role, nonblocking)
    }

    /// A connection that was accepted from this socket.
    pub(super) fn inherit(&self, stream: TcpStream) -> Self {
        Self::new(stream.into(), Role::Stream, self.is_nonblocking())
    }

    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.0.fd
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    /// Switches the mode of plain calls: `ioctlsocket(FIONBIO)`.
    #[doc(alias = "ioctlsocket")]
    #[doc(alias = "FIONBIO")]
    pub fn set_nonblocking(&self, nonblocking: bool) {
        self.0.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    /// The mode of plain calls.
    #[must_use]
    pub fn is_nonblocking(&self) -> bool {
        self.0.nonblocking.load(Ordering::Relaxed)
    }

    /// Takes a connection that waits, with the peer's address: `accept`. It inherits this socket's mode (S181). If nobody waits, a
    /// non-blocking socket fails at once with `WouldBlock`; a blocking one waits alertably: routines run meanwhile, and it goes on
    /// waiting (S175).
    ///
    /// # Errors
    ///
    /// `WouldBlock`, or what the system says; `InvalidInput` from a stream.
    #[doc(alias = "WSAAccept")]
    pub fn accept(&self) -> io::Result<(OverlappedSocket, SocketAddr)> {
        if self.0.role != Role::Listener {
            return Err(error::wrong_kind());
        }
        let (socket, peer) = self.call(Ready::ToRead, || {
            // A driver may have made the descriptor block, and accept cannot be told otherwise: so it is asked only when somebody waits.
            if !is_ready(&self.0.fd, Ready::ToRead)? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let listener = sock_ref(&self.0.fd);
            // ... and an accept with a routine may take that one first.
            listener.set_nonblocking(true)?;
            listener.accept()
        })?;
        let peer = peer.as_socket().ok_or_else(error::wrong_kind)?;
        Ok((Self::new(socket.into(), Role::Stream, self.is_nonblocking()), peer))
    }

    /// Connects: `connect`. A non-blocking socket fails with `WouldBlock` while it is on its way: a second call with "already"
    /// (`EALREADY`), and once it is connected with "is connected" (`EISCONN`, S182). A blocking one waits alertably.
    ///
    /// # Errors
    ///
    /// The above, or what the system says.
    pub fn connect(&self, address: SocketAddr) -> io::Result<()> {
        let mut waited = false;
        loop {
            self.check_open()?;
            let result = connect_now(&self.0.fd, address);
            let code = result.as_ref().err().and_then(io::Error::raw_os_error);
            let on_its_way = matches!(code, Some(codes::IN_PROGRESS | codes::ALREADY));
            let was_on_its_way = self.0.connecting.swap(on_its_way, Ordering::Relaxed);
            match code {
                Some(codes::INTERRUPTED) => continue,
                Some(codes::IN_PROGRESS) if self.is_nonblocking() => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Some(codes::ALREADY) if self.is_nonblocking() => return result,
                Some(codes::IN_PROGRESS | codes::ALREADY) => {
                    waited = true;
                    until_ready(&self.0.fd, Ready::ToWrite)?;
                }
                // The outcome of the call that has just waited.
                Some(codes::IS_CONNECTED) if waited => return Ok(()),
                // Linux tells the first to ask afterwards that it went well.
                None if was_on_its_way && !waited => {
                    return Err(io::Error::from_raw_os_error(codes::IS_CONNECTED));
                }
                _ => return result,
            }
        }
    }

    fn check_open(&self) -> io::Result<()> {
        if self.0.handles().closed { Err(error::handle_closed()) } else { Ok(()) }
    }

    /// Makes a plain call, and if it would block, waits or not, as the mode has it.
    fn call<R>(&self, ready: Ready, mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        loop {
            self.check_open()?;
            match call() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && !self.is_nonblocking() => {
                    until_ready(&self.0.fd, ready)?;
                }
                result => return result,
            }
        }
    }

    /// Asks for the end of one operation that the calling thread has started: `CancelIoEx`. Its routine is called all the same, with
    /// [`Situation::Cancelled`](crate::error::Situation::Cancelled) or normally (S89). False if there is none.
    #[doc(alias = "CancelIoEx")]
    pub fn cancel(&self, op: OpId) -> bool {
        self.own_handles().iter().any(|handle| handle.cancel(op))
    }

    /// Gives an operation that the calling thread has started a time by which it is to be over, from now on; see
    /// [`Handle::expire`](crate::Handle::expire). If it is not, its routine is told [`TimedOut`](io::ErrorKind::TimedOut). The time passes in an
    /// alertable wait. False if the operation is over or cancelled.
    ///
    /// ```
    /// use completion_port::{Buffer, routine::{OverlappedSocket, sleep_ex}};
    /// use std::{io::ErrorKind, net::{TcpListener, TcpStream}, time::Duration};
    ///
    /// let listener = OverlappedSocket::from(TcpListener::bind("127.0.0.1:0")?);
    /// let _says_nothing = TcpStream::connect(listener.local_addr()?)?;
    /// let (server, _) = listener.accept()?;
    /// let request = server.recv(Buffer::with_capacity(1024), |done| {
    ///     assert_eq!(done.result.unwrap_err().kind(), ErrorKind::TimedOut);
    /// })?;
    /// assert!(server.expire(request, Duration::from_millis(2)));
    /// sleep_ex(Duration::MAX, true)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "SO_RCVTIMEO")]
    pub fn expire(&self, op: OpId, after: Duration) -> bool {
        self.own_handles().iter().any(|handle| handle.expire(op, after))
    }

    /// Asks for the end of what the calling thread has started here: `CancelIo` (S87). Tells how many operations that were.
    #[doc(alias = "CancelIo")]
    pub fn cancel_own(&self) -> usize {
        self.own_handles().iter().map(Handle::cancel_all).sum()
    }

    /// Asks for the end of what all threads have started here: `CancelIoEx(socket, NULL)` (S86). Tells how many operations that were.
    #[doc(alias = "CancelIoEx")]
    pub fn cancel_all(&self) -> usize {
        self.0.handles_of(None).iter().map(Handle::cancel_all).sum()
    }

    pub(super) fn own_handles(&self) -> Vec<Handle<Key, Task>> {
        let Ok(Some(place)) = super::place::Place::existing() else { return Vec::new() };
        self.0.handles_of(Some(place.port().shared.scheduler.number()))
    }

    /// Closes it now: `closesocket`. Whatever is pending ends with an error, whichever thread started it, and its routine is told
    /// (S93, S95). Later calls are refused, and the peer sees the end. The descriptor is given back with the last clone.
    #[doc(alias = "closesocket")]
    pub fn close(&self) {
        if std::mem::replace(&mut self.0.handles().closed, true) {
            return;
        }
        // All of them before the end of the connection, which a receive of another thread's would take for the peer's.
        self.0.handles_of(None).iter().for_each(Handle::close_silently);
        // A socket that was never connected has nobody to tell, and of datagrams there is no end.
        if self.0.role != Role::Datagram {
            let _ = sock_ref(&self.0.fd).shutdown(Shutdown::Both);
        }
        beside::closed(&self.0.fd);
    }

    /// Shuts down reading, writing or both. Writing ends behind the sends that the calling thread has started.
    ///
    /// # Errors
    ///
    /// What the system says, `NotConnected` for instance; `InvalidInput` from a datagram socket.
    #[doc(alias = "WSASendDisconnect")]
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.check_open()?;
        if self.0.role == Role::Datagram {
            return Err(error::wrong_kind());
        }
        match self.own_handles().first() {
            Some(handle) => handle.shutdown(how),
            None => sock_ref(&self.0.fd).shutdown(how),
        }
    }

    /// The local address: `getsockname`.
    ///
    /// # Errors
    ///
    /// What the system says.
    #[doc(alias = "getsockname")]
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sock_ref(&self.0.fd).local_addr()?.as_socket().ok_or_else(error::wrong_kind)
    }

    /// The peer's address: `getpeername`.
    ///
    /// # Errors
    ///
    /// What the system says, `NotConnected` for instance.
    #[doc(alias = "getpeername")]
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        sock_ref(&self.0.fd).peer_addr()?.as_socket().ok_or_else(error::wrong_kind)
    }

    /// Sends small pieces at once (`TCP_NODELAY`). For other options the socket is `AsFd` (Unix) or `AsSocket` (Windows).
    ///
    /// # Errors
    ///
    /// What the system says.
    #[doc(alias = "TCP_NODELAY")]
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        sock_ref(&self.0.fd).set_tcp_nodelay(on)
    }
}

/// `recv` without an OVERLAPPED.
impl Read for &OverlappedSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.call(Ready::ToRead, || receive_now(&self.0.fd, buffer))
    }
}

/// `send` without an OVERLAPPED.
impl Write for &OverlappedSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call(Ready::ToWrite, || send_now(&self.0.fd, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for OverlappedSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for OverlappedSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<TcpStream> for OverlappedSocket {
    fn from(stream: TcpStream) -> Self {
        Self::adopt(stream.into(), Role::Stream)
    }
}

impl From<TcpListener> for OverlappedSocket {
    fn from(listener: TcpListener) -> Self {
        Self::adopt(listener.into(), Role::Listener)
    }
}

impl From<UdpSocket> for OverlappedSocket {
    fn from(socket: UdpSocket) -> Self {
        Self::adopt(socket.into(), Role::Datagram)
    }
}

impl OverlappedSocket {
    /// What an overlapped file is made of: what is not about streams is the same.
    pub(super) fn of_file(file: File) -> Self {
        Self::new(file.into(), Role::File, false)
    }
}

impl From<TcpSocket> for OverlappedSocket {
    fn from(socket: TcpSocket) -> Self {
        Self::adopt(socket.into_descriptor(), Role::Stream)
    }
}

impl PartialEq for OverlappedSocket {
    /// Whether both are clones of one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OverlappedSocket {}

impl fmt::Debug for OverlappedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlappedSocket")
            .field("fd", &self.0.fd)
            .field("source", &self.0.role)
            .field("nonblocking", &self.is_nonblocking())
            .finish()
    }
}

/// An overlapped socket may be associated with a port, also while routines are pending on it: they run all the same (S10, S11), but no
/// more can be started (S167).
impl Source for OverlappedSocket {}

impl sealed::Source for OverlappedSocket {
    type Kept = Self;

    fn role(&self) -> Role {
        self.0.role
    }

    fn into_socket(self) -> (sealed::Opaque, Self) {
        (sealed::Opaque(Socket::Shared(self.0.fd.clone())), self)
    }

    fn from_socket(_: sealed::Opaque, kept: Self) -> Option<Self> {
        Some(kept)
    }
}
