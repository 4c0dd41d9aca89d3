//! The completion port.
//!
//! - this file: the public type. [`builder`]: its options.
//! - [`shared`]: what handles and the port have in common, with the [`roll`] of all handles. [`scheduling`]: who decides which thread
//!   runs. [`get`]: how a packet is taken, and the driver driven meanwhile; [`system`]: how it is taken where the system decides. [`due`]:
//!   what its timers are for.
//! - [`close`]: how everything ends. [`snapshot`]: what is going on.

mod builder;
mod close;
mod due;
pub(crate) mod get;
mod roll;
mod scheduling;
mod shared;
mod snapshot;
mod system;

use std::{fmt, io, sync::Arc, time::Duration};

pub use self::{
    builder::Builder,
    close::CloseOnDrop,
    get::GetError,
    snapshot::{InFlight, Snapshot},
};
pub(crate) use self::{due::Due, shared::Shared};
use crate::{
    buffer::Buffer,
    error,
    handle::{Handle, NotAssociated, Source},
    operation::Completion,
    sys::choose::DriverChoice,
};

/// An I/O completion port: threads pull completed I/O from it.
///
/// `K` is the completion key, the per-handle data: given with [`associate`](CompletionPort::associate), shared by all packets of the
/// handle. `T` is the context, the per-I/O data: given with each operation, moved out with its packet. One port serves listeners,
/// clients and control messages alike, so a key is often an enum.
///
/// Any thread may start I/O on any handle, and any thread may take completions, one or many at a time. The port has one owner, and is
/// shared by reference: `thread::scope`, or an `Arc`. Dropping it [closes](CompletionPort::close) it.
///
/// ```
/// use completion_port::{Buffer, CompletionPort};
/// use std::{io::{self, Read, Write}, net::{TcpListener, TcpStream}, thread};
///
/// enum Mode { Read, Write }
///
/// fn echo(port: &CompletionPort<(), Mode>) {
///     while let Ok(done) = port.get() {
///         let _ = match (done.context, done.result) {
///             (_, Err(_)) | (Mode::Read, Ok(0)) => continue, // the last handle drops: the socket closes
///             (Mode::Read, Ok(_)) => done.handle.send(done.buffer, Mode::Write),
///             (Mode::Write, Ok(_)) => {
///                 let mut buffer = done.buffer;
///                 buffer.clear();
///                 done.handle.recv(buffer, Mode::Read)
///             }
///         };
///     }
/// }
///
/// let port = CompletionPort::<(), Mode>::new()?;
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// thread::scope(|s| -> io::Result<()> {
///     let _close = port.close_on_drop(); // an error below releases the workers
///     for _ in 0..port.concurrency() {
///         s.spawn(|| echo(&port));
///     }
///     let mut user = TcpStream::connect(listener.local_addr()?)?;
///     let client = port.associate(listener.accept()?.0, ())?;
///     client.recv(Buffer::with_capacity(1024), Mode::Read)?;
///
///     user.write_all(b"hello")?;
///     let mut back = [0; 5];
///     user.read_exact(&mut back)?;
///     assert_eq!(&back, b"hello");
///     Ok(())
/// })?;
/// # Ok::<(), io::Error>(())
/// ```
#[doc(alias = "CreateIoCompletionPort")]
pub struct CompletionPort<K: Send + Sync + 'static, T: Send + 'static> {
    pub(crate) shared: Arc<Shared<K, T>>,
}

impl CompletionPort<(), ()> {
    /// Options for a new port, of whatever key and context.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl<K: Send + Sync + 'static, T: Send + 'static> CompletionPort<K, T> {
    /// A port with the default options: `CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0)` (S1).
    ///
    /// # Errors
    ///
    /// No driver can be used, the one that `COMPLETION_PORT_DRIVER` names cannot be had, or address space for the pool is refused.
    ///
    /// ```
    /// let port = completion_port::CompletionPort::<u32, ()>::new()?;
    /// assert!(port.concurrency() >= 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> io::Result<Self> {
        Builder::new().build()
    }

    /// Associates a socket with the port, under a key: `CreateIoCompletionPort(socket, port, key, 0)` (S2). Every operation
    /// started on it from now on brings a packet here.
    ///
    /// # Errors
    ///
    /// Gives socket and key back: it is associated already, here or elsewhere, itself or a duplicate (S6), the port is closed, or the
    /// driver cannot take it.
    #[doc(alias = "CreateIoCompletionPort")]
    pub fn associate<S: Source>(
        &self,
        source: S,
        key: K,
    ) -> Result<Handle<K, T>, NotAssociated<S, K>> {
        if self.shared.scheduler.is_closed() {
            return Err(NotAssociated { error: error::port_closed(), source, key });
        }
        shared::associate(&self.shared, source, key)
    }

    /// A handle with a key and no socket: stop packets and the like are [posted](Handle::post) from it.
    pub fn key(&self, key: K) -> Handle<K, T> {
        Handle::bare(&self.shared, key)
    }

    /// Takes a packet, waiting for one as long as it takes: `GetQueuedCompletionStatus(..., INFINITE)`. Never alertable (S26).
    ///
    /// # Errors
    ///
    /// [`GetError::Closed`] when the port is closed, before or meanwhile (S22).
    #[doc(alias = "GetQueuedCompletionStatus")]
    pub fn get(&self) -> Result<Completion<K, T>, GetError> {
        get::one(&self.shared, None)
    }

    /// Takes a packet, waiting at most so long (S20). [`Duration::ZERO`] polls (S21).
    ///
    /// # Errors
    ///
    /// [`GetError::TimedOut`], or as [`get`](CompletionPort::get).
    ///
    /// ```
    /// use completion_port::{CompletionPort, GetError};
    /// use std::time::Duration;
    ///
    /// let port = CompletionPort::<(), ()>::new()?;
    /// assert!(matches!(port.get_timeout(Duration::from_millis(1)), Err(GetError::TimedOut)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "GetQueuedCompletionStatus")]
    pub fn get_timeout(&self, timeout: Duration) -> Result<Completion<K, T>, GetError> {
        get::one(&self.shared, Some(timeout))
    }

    /// Takes what is there, at least one packet and at most `max`, and appends it to `out`: `GetQueuedCompletionStatusEx`. It
    /// waits for the first (as long as `timeout`, `None` for ever), never for more (S28). Tells how many.
    ///
    /// The batch is the caller's: a thread that then blocks on one packet holds the others up.
    ///
    /// # Errors
    ///
    /// As [`get_timeout`](CompletionPort::get_timeout); a `max` of 0 is refused (S30). `out` is as it was then.
    ///
    /// ```
    /// use completion_port::CompletionPort;
    ///
    /// let port = CompletionPort::<(), u32>::new()?;
    /// let key = port.key(());
    /// for n in 0..3 {
    ///     key.post(0, n)?;
    /// }
    /// let mut batch = Vec::new();
    /// assert_eq!(port.get_many(&mut batch, 2, None)?, 2);
    /// assert_eq!(port.get_many(&mut batch, 2, None)?, 1);
    /// assert!(batch.iter().map(|done| done.context).eq(0..3)); // S38
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "GetQueuedCompletionStatusEx")]
    pub fn get_many(
        &self,
        out: &mut Vec<Completion<K, T>>,
        max: usize,
        timeout: Option<Duration>,
    ) -> Result<usize, GetError> {
        if max == 0 {
            return Err(GetError::Failed(error::no_batch()));
        }
        get::many(&self.shared, out, max, timeout)
    }

    /// A buffer from the port's pool, empty, or `None` while as many are out as the pool's limit allows.
    #[must_use]
    pub fn lend(&self) -> Option<Buffer> {
        // Whoever attends to the first driver lets the pool relax in time.
        self.shared.scheduler.take_into_use();
        self.shared.pool.lend()
    }

    /// The limit on running threads (S9): at most so many that came out of `get` run at once.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.shared.limit
    }

    /// Which driver the port uses, and why.
    #[must_use]
    pub fn driver(&self) -> &DriverChoice {
        &self.shared.choice
    }

    /// What is going on: operations in flight by kind and age, threads that wait, what the pool holds. For people and logs; it takes
    /// every handle's lock in turn.
    ///
    /// ```
    /// use completion_port::CompletionPort;
    ///
    /// let port = CompletionPort::<(), ()>::new()?;
    /// port.key(()).post(0, ())?;
    /// assert_eq!(port.snapshot().packets, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }

    /// Closes the port: `CloseHandle`. Every waiting and every later caller of `get` is told (S22-S24), later starts are refused,
    /// what is in flight is cancelled, and its packets, with those that nobody has taken, are returned. A second close returns nothing.
    ///
    /// It waits for the cancelled operations as long as [`Builder::drain`] says. One that does not end by then is leaked and counted
    /// ([`Snapshot::leaked`]), because the system may still write into its buffer.
    ///
    /// ```
    /// use completion_port::{CompletionPort, GetError};
    ///
    /// let port = CompletionPort::<(), u32>::new()?;
    /// let key = port.key(());
    /// key.post(0, 7)?;
    /// let left = port.close();
    /// assert_eq!(left[0].context, 7);
    /// assert!(matches!(port.get(), Err(GetError::Closed)));
    /// assert_eq!(key.post(0, 8).unwrap_err().context, 8);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "CloseHandle")]
    #[allow(
        clippy::must_use_candidate,
        reason = "to drop what is left is a decision that many programs make"
    )]
    pub fn close(&self) -> Vec<Completion<K, T>> {
        close::close(&self.shared)
    }

    /// A guard that closes the port when it is dropped, so that an error or a panic releases the threads of a scope.
    ///
    /// ```
    /// use completion_port::CompletionPort;
    ///
    /// let port = CompletionPort::<(), ()>::new()?;
    /// std::thread::scope(|s| {
    ///     let _close = port.close_on_drop();
    ///     s.spawn(|| assert!(port.get().is_err()));
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use = "the port is closed when the guard is dropped"]
    pub fn close_on_drop(&self) -> CloseOnDrop<'_, K, T> {
        CloseOnDrop(self)
    }
}

impl<K: Send + Sync + 'static, T: Send + 'static> Drop for CompletionPort<K, T> {
    fn drop(&mut self) {
        let left = self.close();
        if !left.is_empty() {
            tracing::debug!(
                packets = left.len(),
                "a completion port was dropped with packets that nobody had taken"
            );
        }
    }
}

impl<K: Send + Sync + 'static, T: Send + 'static> fmt::Debug for CompletionPort<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompletionPort")
            .field("driver", &self.shared.choice)
            .field("limit", &self.shared.limit)
            .finish_non_exhaustive()
    }
}
