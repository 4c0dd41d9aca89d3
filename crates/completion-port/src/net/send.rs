//! Sends.

use super::Started;
use crate::{
    Buffer, error,
    handle::{Handle, Role},
    operation::{Context, Detail, NotStarted, OpId, OpKind, Operation, Place, Refused},
};

impl<K: Send + Sync + 'static, T: Send + 'static> Handle<K, T> {
    /// Starts to send all of `buffer`: `WSASend`. It completes with all its bytes or an error, never short (S117), and the bytes
    /// of several sends leave in call order (S116). The completion gives the buffer back as it was. On a datagram socket that is
    /// connected it is [`send_to`](Handle::send_to) the address that it is connected to.
    ///
    /// # Errors
    ///
    /// Refused, with buffer and context given back: no stream, closed or ending, an empty buffer, too many queued
    /// (`WouldBlock`, S183: wait for a completion before the next).
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort};
    /// use std::{io::Read, net::{TcpListener, TcpStream}};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let server = port.associate(listener.accept()?.0, ())?;
    ///
    /// server.send(Buffer::from(b"all of it".to_vec()), ())?;
    /// assert_eq!(port.get()?.result?, 9);
    /// drop(server);
    /// let mut got = String::new();
    /// client.read_to_string(&mut got)?;
    /// assert_eq!(got, "all of it");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "WSASend")]
    pub fn send(&self, buffer: Buffer, context: T) -> Result<OpId, Refused<T, Buffer>> {
        if self.0.role == Role::Datagram {
            return self.send_datagram(buffer, None, context);
        }
        send(self, buffer, context, false).map(|started| started.id())
    }

    /// Starts to send several buffers as one, in their order: the gathering `WSASend` (S121). One operation, one packet, all the
    /// bytes or an error. [`Completion::buffers`](crate::Completion::buffers) gives them back.
    ///
    /// # Errors
    ///
    /// As for [`Handle::send`]; refused too when there is no byte in any of them (S122).
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort};
    /// use std::{io::Read, net::{TcpListener, TcpStream}};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let server = port.associate(listener.accept()?.0, ())?;
    ///
    /// let parts = vec![Buffer::from(b"head, ".to_vec()), Buffer::from(b"body".to_vec())];
    /// server.send_vectored(parts, ())?;
    /// let mut done = port.get()?;
    /// assert_eq!(done.buffers().len(), 2);
    /// assert_eq!(done.result?, 10);
    /// drop((server, done.handle));
    /// let mut got = String::new();
    /// client.read_to_string(&mut got)?;
    /// assert_eq!(got, "head, body");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "WSASend")]
    pub fn send_vectored(
        &self,
        buffers: Vec<Buffer>,
        context: T,
    ) -> Result<OpId, Refused<T, Vec<Buffer>>> {
        send_vectored(self, buffers, context, Self::start)
    }
}

/// Starts it; its success at once may be returned if the start is `inline`.
pub(super) fn send<K: Send + Sync + 'static, T: Send + 'static>(
    handle: &Handle<K, T>,
    buffer: Buffer,
    context: T,
    inline: bool,
) -> Result<Started<K, T>, Refused<T, Buffer>> {
    if buffer.is_empty() {
        return Err(Refused { error: error::empty_buffer(), context, buffer });
    }
    handle.start_send(buffer, context, inline)
}

/// Starts it in the given way.
pub(super) fn send_vectored<K: 'static, T: 'static, R>(
    handle: &Handle<K, T>,
    buffers: Vec<Buffer>,
    context: T,
    start: impl FnOnce(&Handle<K, T>, Place<K, T>) -> Result<R, NotStarted<K, T>>,
) -> Result<R, Refused<T, Vec<Buffer>>> {
    if buffers.iter().all(|buffer| buffer.is_empty()) {
        return Err(Refused { error: error::empty_buffer(), context, buffer: buffers });
    }
    let op = Operation::new(OpKind::Send, handle.clone(), Context::One(context));
    start(handle, Place::new(op.with_gather(buffers))).map_err(|refused| {
        Refused::of(refused, |work| match work.detail {
            Detail::Gather(gather) => gather.into_buffers(),
            _ => Vec::new(),
        })
    })
}
