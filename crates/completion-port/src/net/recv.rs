//! Receives.

use crate::{
    Buffer, error,
    handle::{Handle, Role},
    operation::{Context, NotStarted, OpId, OpKind, Operation, Place, Refused},
};

impl<K: Send + Sync + 'static, T: Send + 'static> Handle<K, T> {
    /// Starts a receive into the spare room of `buffer`: `WSARecv`. It completes as soon as any bytes are there (S110), with
    /// `Ok(0)` at the end of the stream (S111). Several receives fill in call order (S115). Of datagrams it is
    /// [`recv_from`](Handle::recv_from).
    ///
    /// # Errors
    ///
    /// Refused, with buffer and context given back: no stream, closed, a buffer without spare room, too many queued.
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort};
    /// use std::{io::Write, net::{TcpListener, TcpStream}};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let server = port.associate(listener.accept()?.0, ())?;
    ///
    /// server.recv(Buffer::with_capacity(1024), ())?;
    /// client.write_all(b"hello")?;
    /// assert_eq!(&port.get()?.buffer[..], b"hello");
    ///
    /// let full = server.recv(Buffer::from(b"no room".to_vec()), ()).unwrap_err();
    /// assert_eq!(full.error.kind(), std::io::ErrorKind::InvalidInput);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "WSARecv")]
    pub fn recv(&self, buffer: Buffer, context: T) -> Result<OpId, Refused<T, Buffer>> {
        if self.0.role == Role::Datagram {
            return self.recv_from(buffer, context);
        }
        recv(self, buffer, context, Self::start)
    }

    /// Starts a receive without a buffer: one is lent by the port's pool when data arrives, so that an idle connection pins none.
    /// It stands for the zero-byte `WSARecv` (S123) with the read behind it. Where the pool is at its limit, receives wait for a
    /// buffer in order, and are counted ([`PoolSnapshot::waited`](crate::PoolSnapshot)). Of datagrams it is
    /// [`recv_from_lent`](Handle::recv_from_lent).
    ///
    /// # Errors
    ///
    /// Refused, with the context given back: no stream, closed, too many queued.
    ///
    /// ```
    /// use completion_port::CompletionPort;
    /// use std::{io::Write, net::{TcpListener, TcpStream}};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let server = port.associate(listener.accept()?.0, ())?;
    ///
    /// server.recv_lent(())?;
    /// assert_eq!(port.snapshot().pool.lent, 0);
    /// client.write_all(b"hello")?;
    /// let done = port.get()?;
    /// assert_eq!((&done.buffer[..], done.buffer.is_lent()), (&b"hello"[..], true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "WSARecv")]
    pub fn recv_lent(&self, context: T) -> Result<OpId, Refused<T>> {
        if self.0.role == Role::Datagram {
            return self.recv_from_lent(context);
        }
        recv_lent(self, context, Self::start)
    }

    /// Starts an operation; gives it back if it is refused.
    pub(crate) fn launch(&self, op: Operation<K, T>) -> Result<OpId, NotStarted<K, T>> {
        self.start(Place::new(op))
    }
}

/// Starts it in the given way.
pub(super) fn recv<K: 'static, T: 'static, R>(
    handle: &Handle<K, T>,
    buffer: Buffer,
    context: T,
    start: impl FnOnce(&Handle<K, T>, Place<K, T>) -> Result<R, NotStarted<K, T>>,
) -> Result<R, Refused<T, Buffer>> {
    if buffer.spare() == 0 {
        return Err(Refused { error: error::full_buffer(), context, buffer });
    }
    let op = Operation::new(OpKind::Recv, handle.clone(), Context::One(context));
    start(handle, Place::new(op.with_buffer(buffer)))
        .map_err(|refused| Refused::of(refused, |work| work.buffer))
}

/// Starts it in the given way.
pub(super) fn recv_lent<K: 'static, T: 'static, R>(
    handle: &Handle<K, T>,
    context: T,
    start: impl FnOnce(&Handle<K, T>, Place<K, T>) -> Result<R, NotStarted<K, T>>,
) -> Result<R, Refused<T>> {
    let op = Operation::new(OpKind::RecvLent, handle.clone(), Context::One(context));
    start(handle, Place::new(op)).map_err(|refused| Refused::of(refused, |_| ()))
}
