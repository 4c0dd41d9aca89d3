//! One associated socket or file: its key, its two directions, and what can be done with it.
//!
//! - [`direction`]: the queue of one direction: one operation with the driver, the others in call order behind it.
//! - [`settle`]: what happens in a direction when an operation ends. [`conclude`]: what its event means. [`stop`]: how it is ended early.
//! - [`at_once`]: starts that are over when they return. [`beside`]: accepts that wait for first data go on beside their direction.
//! - [`timer`]: timers, and deadlines of operations.
//! - [`source`]: what can be associated.
//!
//! The operations themselves are methods of [`Handle`] too, in [`crate::net`].

mod at_once;
mod beside;
mod conclude;
mod direction;
mod settle;
mod source;
mod stop;
mod timer;

use std::{
    any::Any,
    fmt, io,
    net::Shutdown,
    ptr::NonNull,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use socket2::SockRef;

pub(crate) use self::beside::Besides;
pub use self::beside::HalfAccepted;
pub(crate) use self::direction::{Closed, Direction};
pub(crate) use self::source::Role;
pub(crate) use self::source::sealed;
#[cfg_attr(not(unix), allow(unused_imports))] // Unix has more sources
pub(crate) use self::source::sources;
pub use self::source::{NotAssociated, Source};
pub use self::timer::TimerId;
pub(crate) use self::timer::{Deadline, Ticking, Untaken};
use crate::{
    error,
    operation::{Completion, Header, NotStarted, OpId, OpKind, Place, Refused, Side},
    port::Shared,
    sys::{self, Output, Socket, association::Association},
};

/// A socket, pipe or file that belongs to a completion port, or a bare key; clones name the same one.
///
/// One type serves listeners, streams, datagrams, files and keys: an operation that the source cannot do is refused. Every method may be called from
/// any thread; the packet of an operation goes to whichever thread takes it, possibly before the call that started it returns.
///
/// A handle lives until its last clone is dropped **and** nothing is pending on it: a pending receive keeps an idle connection
/// open, and nothing more needs to be held. [`Handle::close`] ends it now.
///
/// ```
/// use completion_port::{Buffer, CompletionPort};
/// use std::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let port = CompletionPort::<&str, u8>::new()?;
/// let client = port.associate(TcpStream::connect(listener.local_addr()?)?, "client")?;
/// let server = port.associate(listener.accept()?.0, "server")?;
///
/// server.recv(Buffer::with_capacity(64), 1)?;
/// client.send(Buffer::from(b"hello".to_vec()), 2)?;
/// let mut done = [port.get()?, port.get()?];
/// done.sort_by_key(|done| done.context);
/// assert_eq!((*done[0].handle.key(), &done[0].buffer[..]), ("server", &b"hello"[..]));
/// assert_eq!((*done[1].handle.key(), done[1].result.as_ref().ok()), ("client", Some(&5)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "SOCKET")]
#[doc(alias = "HANDLE")]
pub struct Handle<K: 'static, T: 'static>(pub(crate) Arc<Inner<K, T>>);

pub(crate) struct Inner<K: 'static, T: 'static> {
    // Dropped in this order: first what the driver and the port know of the socket (`Drop`), then the key, the socket last.
    pub key: K,
    pub role: Role,
    /// The system has told of a reset, which it does once: what it says afterwards is read in this light.
    reset: AtomicBool,
    /// Writing was shut down here.
    finished: AtomicBool,
    /// What succeeds at once brings no packet, if its start can give the completion back.
    skips: AtomicBool,
    token: u32,
    index: u32,
    sides: [Mutex<Direction>; 2],
    pub port: Arc<Shared<K, T>>,
    _association: Option<Association>,
    pub socket: Option<Socket>,
}

// The two counts of its Arc and a key of 24 bytes, as `cport serve` has it, make it 168: a chunk of glibc's of 176 bytes (it has 8 of its
// own, and they come in steps of 16). One byte more makes it 192.
#[cfg(all(target_pointer_width = "64", not(feature = "simulated")))]
const _: () =
    assert!(2 * size_of::<usize>() + size_of::<Inner<[usize; 3], ()>>() <= 168 + sys::MORE);

impl<K, T> Drop for Inner<K, T> {
    fn drop(&mut self) {
        self.port.forget(self.index);
        if let Some(socket) = &self.socket {
            self.port.drivers.detach(socket, self.token);
        }
    }
}

impl<K, T> Inner<K, T> {
    pub(crate) fn side(&self, side: Side) -> MutexGuard<'_, Direction> {
        // No code of a user runs behind this lock.
        crate::pause::here();
        self.sides[side as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acts on the socket itself, if there is a real one.
    pub(crate) fn with_socket<R>(
        &self,
        act: impl FnOnce(SockRef<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        match self.socket.as_ref().and_then(Socket::os) {
            Some(socket) => act(sys::sock_ref(socket)),
            None => Err(error::wrong_kind()),
        }
    }

    /// The system has told of an end of the stream. It tells of a reset once, and that may have been to the other direction's
    /// operation; afterwards it reads as an end. A connection that is torn down before this side has finished writing was reset.
    pub(crate) fn look_for_reset(&self) {
        let torn_down = || self.socket.as_ref().is_some_and(Socket::torn_down);
        if !self.finished.load(Ordering::Relaxed) && torn_down() {
            self.reset.store(true, Ordering::Relaxed);
        }
    }

    /// For good (S66).
    pub(crate) fn skip_on_success(&self) {
        self.skips.store(true, Ordering::Relaxed);
    }

    /// Looks at each operation of a direction that is not over.
    pub(crate) fn each(&self, side: Side, look: impl FnMut(&Header)) {
        let direction = self.side(side);
        self.each_in(&direction, look);
    }

    /// The same, for who holds the direction's lock.
    fn each_in(&self, direction: &Direction, mut look: impl FnMut(&Header)) {
        direction.each(&mut look);
        for op in beside::those(self, direction) {
            // SAFETY: it exists while it is listed, and the lock is held; only constants and atomics are looked at.
            look(unsafe { op.as_ref() });
        }
    }

    /// After a graceful end: makes the socket fit to connect again, and forgets what became of its last connection.
    fn renew(&self, direction: &mut Direction) -> io::Result<()> {
        // The only place where both are held: the reading one first.
        let mut out = self.side(Side::Out);
        self.socket.as_ref().map_or(Ok(()), Socket::dissolve)?;
        self.reset.store(false, Ordering::Relaxed);
        self.finished.store(false, Ordering::Relaxed);
        out.finishing = false;
        direction.finishing = false;
        direction.flushed = false;
        Ok(())
    }

    /// A cancelled connect leaves the system connecting: what is queued behind it would wait for the outcome.
    pub(crate) fn stop_connecting(&self) {
        if let Some(socket) = &self.socket {
            // Should it fail, the attempt goes on, which is no worse.
            let _ = socket.dissolve();
        }
    }

    /// Linux marks a socket that is not connected as shut down all the same, while it refuses to: it would be of no use afterwards.
    pub(crate) fn shut_if_connected(&self, how: Shutdown) -> io::Result<()> {
        if self.socket.as_ref().and_then(Socket::os).is_some() {
            self.with_socket(|socket| socket.peer_addr())?;
        }
        self.shut(how)
    }

    pub(crate) fn shut(&self, how: Shutdown) -> io::Result<()> {
        let writing = how != Shutdown::Read;
        // Before the call: the peer's answer, an end that tears the connection down, can be received before it has returned.
        let before = writing && self.finished.swap(true, Ordering::Relaxed);
        let result = match &self.socket {
            #[cfg(feature = "simulated")]
            Some(Socket::Simulated(socket)) => socket.shutdown(how),
            _ => self.with_socket(|socket| socket.shutdown(how)),
        };
        if writing && result.is_err() {
            self.finished.store(before, Ordering::Relaxed);
        }
        result
    }
}

impl<K: Send + Sync + 'static, T: Send + 'static> Handle<K, T> {
    /// Associates a socket that was checked to be one for this port.
    pub(crate) fn associate(
        port: &Arc<Shared<K, T>>,
        socket: Socket,
        role: Role,
        key: K,
    ) -> Result<Self, (io::Error, Socket, K)> {
        match socket.os().map(Association::claim).transpose() {
            Ok(association) => Self::attach(port, socket, role, key, association.flatten(), 0),
            Err(e) => Err((e, socket, key)),
        }
    }

    /// Makes a socket usable through the port's driver, without the claim that it is this port's alone. Its operations are numbered
    /// from `first_sequence`.
    pub(crate) fn attach(
        port: &Arc<Shared<K, T>>,
        socket: Socket,
        role: Role,
        key: K,
        association: Option<Association>,
        first_sequence: u64,
    ) -> Result<Self, (io::Error, Socket, K)> {
        let check = || match socket.os() {
            Some(file) if role == Role::File => sys::check(file),
            _ => Ok(()),
        };
        let token = match check().and_then(|()| port.drivers.attach(&socket, role.medium())) {
            Ok(token) => token,
            Err(e) => return Err((e, socket, key)),
        };
        let handle =
            Self::make(port, key, role, Some((socket, token)), association, first_sequence);
        if port.scheduler.is_closed() {
            // The close may have gone through the handles before this one was among them.
            close_with_port(&handle.0);
        }
        Ok(handle)
    }

    /// A key without a socket.
    pub(crate) fn bare(port: &Arc<Shared<K, T>>, key: K) -> Self {
        let handle = Self::make(port, key, Role::Key, None, None, 0);
        if port.scheduler.is_closed() {
            // As above: a timer would be left over.
            close_with_port(&handle.0);
        }
        handle
    }

    fn make(
        port: &Arc<Shared<K, T>>,
        key: K,
        role: Role,
        socket: Option<(Socket, u32)>,
        association: Option<Association>,
        first_sequence: u64,
    ) -> Self {
        let (socket, token) = socket.map_or((None, 0), |(socket, token)| (Some(socket), token));
        let inner = |weak: &Weak<Inner<K, T>>| Inner {
            key,
            role,
            reset: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            skips: AtomicBool::new(false),
            token,
            index: port.remember(weak.clone()),
            sides: [Side::In, Side::Out]
                .map(|side| Mutex::new(Direction::new(side, role == Role::File, first_sequence))),
            port: port.clone(),
            _association: association,
            socket,
        };
        Self(Arc::new_cyclic(inner))
    }

    /// Refuses what this handle cannot do, or does not do any more, and starts or queues the rest. The direction keeps call order.
    pub(crate) fn start(&self, op: Place<K, T>) -> Result<OpId, NotStarted<K, T>> {
        self.start_into(op, &mut settle::deliver(&self.0))
    }

    fn start_into(
        &self,
        op: Place<K, T>,
        sink: settle::Sink<'_, K, T>,
    ) -> Result<OpId, NotStarted<K, T>> {
        let kind = op.header.kind;
        let inner = &self.0;
        if !inner.role.can(kind) {
            return Err((error::wrong_kind(), op));
        }
        let Some(socket) = &inner.socket else { return Err((error::wrong_kind(), op)) };
        let special = matches!(kind, OpKind::AcceptWith | OpKind::TransmitFile);
        if socket.os().is_none() && (special || op.header.reuses()) {
            return Err((error::not_here(), op));
        }
        self.start_behind(inner.side(kind.side()), op, None, sink)
    }

    /// The same, with the lock of its direction, for one that its socket can do. `begun` is what has come of it already, if it is the first
    /// there.
    fn start_behind(
        &self,
        mut direction: MutexGuard<'_, Direction>,
        mut op: Place<K, T>,
        begun: Option<io::Result<Output>>,
        sink: settle::Sink<'_, K, T>,
    ) -> Result<OpId, NotStarted<K, T>> {
        let kind = op.header.kind;
        let inner = &self.0;
        let Some(socket) = &inner.socket else { return Err((error::wrong_kind(), op)) };
        if let Some(e) = direction.refusal(inner.port.queue_limit) {
            return Err((e, op));
        }
        op.header.target.set(socket.target(inner.token));
        if matches!(inner.role, Role::PipeReader | Role::PipeWriter) {
            op.header.mark_pipe();
        }
        op.header.started = inner.port.age();
        op.header.sequence = direction.number();
        let id = OpId { side: kind.side(), sequence: op.header.sequence };
        // It is the last that is started in its direction.
        direction.finishing |= matches!(kind, OpKind::End | OpKind::Disconnect);
        let op = op.into_header();
        if direction.is_free() {
            // SAFETY: complete, in no queue, and its socket or file is open.
            unsafe { settle::start_first(inner, direction, op, begun, sink) };
        } else {
            direction.enqueue(op);
        }
        Ok(id)
    }
}

impl<K, T> Handle<K, T> {
    /// The completion key: the per-handle data that was given to [`CompletionPort::associate`](crate::CompletionPort::associate).
    pub fn key(&self) -> &K {
        &self.0.key
    }
}

impl<K: Send + Sync + 'static, T: Send + 'static> Handle<K, T> {
    /// Posts a packet with this handle's key, no I/O behind it: `PostQueuedCompletionStatus`. It comes out in order with others
    /// (S37-S39), with result `Ok(bytes)`.
    ///
    /// # Errors
    ///
    /// Refused when the port is closed; the context comes back.
    #[doc(alias = "PostQueuedCompletionStatus")]
    pub fn post(&self, bytes: usize, context: T) -> Result<(), Refused<T>> {
        let port = &self.0.port;
        let packet = Completion::new(self.clone(), OpKind::Post, 0, Ok(bytes), context);
        port.scheduler.post(packet).map_err(|packet| Refused {
            error: error::port_closed(),
            context: packet.context,
            buffer: (),
        })
    }

    /// Asks for the end of one operation: `CancelIoEx`. True if it was pending and nobody had asked before (S85, S88); its packet
    /// comes all the same, with [`Situation::Cancelled`](crate::error::Situation::Cancelled), or normally if it was done already
    /// (S89). A receive whose data had come is completed with it.
    #[doc(alias = "CancelIoEx")]
    pub fn cancel(&self, op: OpId) -> bool {
        let direction = self.0.side(op.side);
        stop::cancel(&self.0, direction, |header| header.sequence == op.sequence) > 0
    }

    /// Asks for the end of all pending operations of the handle, its timers included, whichever thread started them (S86), and tells
    /// how many it found.
    #[doc(alias = "CancelIoEx")]
    pub fn cancel_all(&self) -> usize {
        let cancelled: usize = [Side::In, Side::Out]
            .into_iter()
            .map(|side| stop::cancel(&self.0, self.0.side(side), |_| true))
            .sum();
        cancelled + timer::end_all(&self.0, &mut settle::deliver(&self.0))
    }

    /// Closes it now: `closesocket`. What is pending completes with an error (S93: `ECONNABORTED` from a stream, S95; `ECANCELED`
    /// from a listener, S94, and from datagrams, S96), later starts are refused, the peer sees the end. The descriptor is given back to the system when the
    /// last clone of the handle is gone, and its last packet with it.
    #[doc(alias = "closesocket")]
    pub fn close(&self) {
        stop::close(&self.0, Closed::Handle);
    }

    /// Closes it, and leaves the end of the connection to the caller, who has other handles on the socket to close before the peer, or
    /// a receive of theirs, is told.
    pub(crate) fn close_silently(&self) {
        stop::close_silently(&self.0);
    }

    /// Shuts down reading, writing or both. Writing ends behind the sends that were started before, and later ones are refused;
    /// no packet comes for it (S63).
    ///
    /// # Errors
    ///
    /// What the system says, `NotConnected` for instance; `InvalidInput` if there is no stream.
    #[doc(alias = "WSASendDisconnect")]
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        // A pipe has no such call.
        if !self.0.role.can(OpKind::End) {
            return Err(error::wrong_kind());
        }
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.0.shut_if_connected(Shutdown::Read)?;
            stop::wake_reader(&self.0);
        }
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            return stop::finish_sending(&self.0);
        }
        Ok(())
    }
}

impl<K, T> Clone for Handle<K, T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: fmt::Debug, T> fmt::Debug for Handle<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("key", &self.0.key)
            .field("source", &self.0.role)
            .finish_non_exhaustive()
    }
}

impl<K, T> PartialEq for Handle<K, T> {
    /// Whether both name the same association.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<K, T> Eq for Handle<K, T> {}

/// An operation that its direction keeps as the active one, and that the port has put aside: to be started again when there is a
/// buffer for it (starved), or when others have had their turn (deferred).
pub(crate) struct Aside<K: 'static, T: 'static> {
    pub handle: Handle<K, T>,
    pub op: NonNull<Header>,
}

// SAFETY: it names an operation that its direction keeps, and K and T are Send.
unsafe impl<K: Send + Sync, T: Send> Send for Aside<K, T> {}

impl<K: Send + Sync + 'static, T: Send + 'static> Aside<K, T> {
    /// Starts a starved one again, in that driver if the buffer is there. A panic of the user's maker is returned.
    pub(crate) fn revive(
        self,
        driver: Option<usize>,
        sink: &mut dyn FnMut(Completion<K, T>),
    ) -> Option<Box<dyn Any + Send>> {
        let inner = &self.handle.0;
        let count = |header: &Header| {
            header.revive();
            inner.port.reviving_one();
        };
        settle::start_again(inner, self.op, driver, count, sink)
    }

    /// Starts a deferred one again. A panic of the user's maker is returned.
    pub(crate) fn go_on(
        self,
        sink: &mut dyn FnMut(Completion<K, T>),
    ) -> Option<Box<dyn Any + Send>> {
        settle::start_again(&self.handle.0, self.op, None, |_| {}, sink)
    }
}

/// What closing the port needs of a handle.
pub(crate) fn close_with_port<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
) {
    stop::close(inner, Closed::Port);
}

/// What a driver reported about an operation, for the direction that it belongs to.
pub(crate) use self::{
    settle::settle,
    stop::{flush, stop_reading},
};
