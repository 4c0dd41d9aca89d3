//! Operations whose success at once needs no packet.

use std::fmt;

use super::{recv, send};
use crate::{
    Buffer,
    handle::Handle,
    operation::{Completion, OpId, Refused},
};

/// What a start on a handle that skips packets came to.
///
/// ```
/// use completion_port::{Buffer, CompletionPort, Started};
/// use std::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let _client = TcpStream::connect(listener.local_addr()?)?;
/// let port = CompletionPort::<(), &str>::new()?;
/// let server = port.associate(listener.accept()?.0, ())?;
/// server.skip_on_success();
///
/// let done = match server.send_inline(Buffer::from(b"hello".to_vec()), "greeting")? {
///     Started::Done(done) => done,
///     Started::Pending(_id) => port.get()?, // the peer reads slowly: a packet comes, as ever
/// };
/// assert_eq!((done.context, done.result?), ("greeting", 5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a completion that is given at once comes in no packet"]
pub enum Started<K: 'static, T: 'static> {
    /// A packet comes for it: `WSA_IO_PENDING`.
    Pending(OpId),
    /// It is over, with success, and no packet comes: this is what would have been in it.
    Done(Completion<K, T>),
}

impl<K, T> Started<K, T> {
    /// The operation's name, which one that is over has no use for.
    pub(super) fn id(&self) -> OpId {
        match self {
            Started::Pending(id) => *id,
            Started::Done(done) => OpId { side: done.kind().side(), sequence: done.sequence() },
        }
    }
}

impl<K, T> fmt::Debug for Started<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Started::Pending(id) => f.debug_tuple("Pending").field(id).finish(),
            Started::Done(done) => f.debug_tuple("Done").field(done).finish(),
        }
    }
}

/// # Without a packet on success
impl<K: Send + Sync + 'static, T: Send + 'static> Handle<K, T> {
    /// Chooses, for this handle and all its clones, and for good (S66), that what succeeds at once brings no packet (S64):
    /// `SetFileCompletionNotificationModes(handle, FILE_SKIP_COMPLETION_PORT_ON_SUCCESS)`. It is then the return value of
    /// [`recv_inline`](Handle::recv_inline), [`send_inline`](Handle::send_inline) and their kin. On a handle that has not chosen it, these
    /// bring a packet always.
    ///
    /// An operation that pends brings its packet as ever, and so does one that fails, at once or later (S61). The calls that return an
    /// [`OpId`] only, [`send`](Handle::send) for one, have no way to give a completion back: they bring a packet on every handle.
    ///
    /// What is had inline overtakes packets of the handle that nobody has taken yet, as on Windows; the bytes themselves keep their order
    /// ([`Completion::sequence`]). And a thread that goes on inline for long keeps its other packets waiting: take turns.
    #[doc(alias = "SetFileCompletionNotificationModes")]
    #[doc(alias = "FILE_SKIP_COMPLETION_PORT_ON_SUCCESS")]
    pub fn skip_on_success(&self) {
        self.0.skip_on_success();
    }

    /// [`recv`](Handle::recv), whose success at once is returned, if the handle [skips packets](Handle::skip_on_success).
    ///
    /// # Errors
    ///
    /// As [`recv`](Handle::recv).
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort, Started};
    /// use std::{io::Write, net::{TcpListener, TcpStream}};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let server = port.associate(listener.accept()?.0, ())?;
    /// server.skip_on_success();
    ///
    /// let pending = server.recv_inline(Buffer::with_capacity(64), ())?; // nothing is there yet
    /// assert!(matches!(pending, Started::Pending(_)));
    /// client.write_all(b"hello")?;
    /// assert_eq!(&port.get()?.buffer[..], b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "WSARecv")]
    pub fn recv_inline(
        &self,
        buffer: Buffer,
        context: T,
    ) -> Result<Started<K, T>, Refused<T, Buffer>> {
        recv::recv(self, buffer, context, Self::start_inline)
    }

    /// [`recv_lent`](Handle::recv_lent), whose success at once is returned, if the handle [skips packets](Handle::skip_on_success).
    ///
    /// # Errors
    ///
    /// As [`recv_lent`](Handle::recv_lent).
    #[doc(alias = "WSARecv")]
    pub fn recv_lent_inline(&self, context: T) -> Result<Started<K, T>, Refused<T>> {
        recv::recv_lent(self, context, Self::start_inline)
    }

    /// [`send`](Handle::send), whose success at once is returned, if the handle [skips packets](Handle::skip_on_success).
    ///
    /// # Errors
    ///
    /// As [`send`](Handle::send).
    #[doc(alias = "WSASend")]
    pub fn send_inline(
        &self,
        buffer: Buffer,
        context: T,
    ) -> Result<Started<K, T>, Refused<T, Buffer>> {
        send::send(self, buffer, context, true)
    }

    /// [`send_vectored`](Handle::send_vectored), whose success at once is returned, if the handle
    /// [skips packets](Handle::skip_on_success).
    ///
    /// # Errors
    ///
    /// As [`send_vectored`](Handle::send_vectored).
    #[doc(alias = "WSASend")]
    pub fn send_vectored_inline(
        &self,
        buffers: Vec<Buffer>,
        context: T,
    ) -> Result<Started<K, T>, Refused<T, Vec<Buffer>>> {
        send::send_vectored(self, buffers, context, Self::start_inline)
    }
}
