//! A completion packet.

use std::{
    fmt, io,
    net::{SocketAddr, TcpStream},
};

use super::{Addresses, OpKind};
use crate::{
    buffer::Buffer,
    handle::{Handle, Role, Untaken},
    sys,
};

/// A completion packet: one operation (or one step of a continuing one) is over, or somebody posted.
///
/// The fields are public to be moved out, in a `match` for instance; the rarer parts are behind methods. It stands for what
/// `GetQueuedCompletionStatus` stores: the key ([`Handle::key`]), the byte count or error, and the `OVERLAPPED` with what its
/// user put around it.
///
/// ```
/// use completion_port::{Completion, CompletionPort};
///
/// let port = CompletionPort::<&str, u32>::new()?;
/// port.key("a key").post(3, 42)?;
/// let Completion { handle, result, context, .. } = port.get()?;
/// assert_eq!((*handle.key(), result?, context), ("a key", 3, 42));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "OVERLAPPED_ENTRY")]
pub struct Completion<K: 'static, T: 'static> {
    /// The handle that the operation was started on; its key is the per-handle data.
    pub handle: Handle<K, T>,
    /// Bytes moved, or why not. `Ok(0)` from a receive is the end of the stream; a datagram may be of no bytes (S131). A read of a file that
    /// begins at its end, or behind it, fails with [`Situation::EndOfFile`](crate::error::Situation::EndOfFile) (S159).
    pub result: io::Result<usize>,
    /// The operation's buffer, filled by a receive. Empty where the operation had none.
    pub buffer: Buffer,
    /// The context that the operation was started with: the per-I/O data.
    pub context: T,
    rest: Rest,
}

/// What few users look at.
struct Rest {
    kind: OpKind,
    last: bool,
    sequence: u64,
    extra: Extra,
}

/// What only some operations bring.
pub(crate) enum Extra {
    None,
    Accepted(sys::Accepted),
    Buffers(Vec<Buffer>),
    Message(Box<sys::Message>),
    /// Of a periodic timer, which has no other packet while this one exists: to be dropped with it.
    Untaken(#[expect(dead_code, reason = "it is there for its end")] Untaken),
}

impl<K, T> Completion<K, T> {
    /// The last one of its operation, without a buffer.
    pub(crate) fn new(
        handle: Handle<K, T>,
        kind: OpKind,
        sequence: u64,
        result: io::Result<usize>,
        context: T,
    ) -> Self {
        let rest = Rest { kind, last: true, sequence, extra: Extra::None };
        Self { handle, result, buffer: Buffer::new(), context, rest }
    }

    /// Of an operation that has moved all the bytes of its buffer, or into it. Most are: made at once, and not bit by bit, it is moved less.
    #[inline]
    pub(crate) fn whole(
        handle: Handle<K, T>,
        kind: OpKind,
        sequence: u64,
        moved: usize,
        buffer: Buffer,
        context: T,
    ) -> Self {
        let rest = Rest { kind, last: true, sequence, extra: Extra::None };
        Self { handle, result: Ok(moved), buffer, context, rest }
    }

    pub(crate) fn with_buffer(mut self, buffer: Buffer) -> Self {
        self.buffer = buffer;
        self
    }

    pub(crate) fn with_extra(mut self, extra: Extra) -> Self {
        self.rest.extra = extra;
        self
    }

    /// Its operation goes on.
    pub(crate) fn with_more_to_come(mut self) -> Self {
        self.rest.last = false;
        self
    }

    /// The socket that an accept has brought, once; that of a Unix listener is `accepted_unix`. A socket
    /// that nobody takes is closed with the packet.
    pub fn accepted(&mut self) -> Option<TcpStream> {
        self.accepted_by(Role::Listener)?.into_tcp_stream()
    }

    pub(crate) fn accepted_by(&mut self, listener: Role) -> Option<sys::Socket> {
        match std::mem::replace(&mut self.rest.extra, Extra::None) {
            Extra::Accepted(accepted) if self.handle.0.role == listener => Some(accepted.socket),
            other => {
                self.rest.extra = other;
                None
            }
        }
    }

    /// Both addresses of the connection that an accept has brought: `GetAcceptExSockaddrs`. Asked for before the socket is taken
    /// ([`Completion::accepted`]). The peer's mostly came with the connection, and is told even if the peer has gone since; what did not
    /// come along the system is asked for now. `None` if there is no such socket, it is of the
    /// Unix domain, or the system cannot tell any more.
    ///
    /// ```
    /// use completion_port::CompletionPort;
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let port = CompletionPort::<(), ()>::new()?;
    /// port.associate(listener, ())?.accept(())?;
    /// let client = TcpStream::connect(address)?;
    /// let addresses = port.get()?.addresses().expect("a connection came");
    /// assert_eq!((addresses.local, addresses.peer), (address, client.local_addr()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "GetAcceptExSockaddrs")]
    pub fn addresses(&self) -> Option<Addresses> {
        match &self.rest.extra {
            Extra::Accepted(accepted) => Addresses::of(accepted),
            _ => None,
        }
    }

    /// The buffers of an operation on several, once: a [`Handle::send_vectored`](crate::Handle::send_vectored),
    /// [`Handle::read_vectored_at`](crate::Handle::read_vectored_at) or [`Handle::write_vectored_at`](crate::Handle::write_vectored_at);
    /// head and tail of a [`Handle::transmit_file`](crate::Handle::transmit_file).
    pub fn buffers(&mut self) -> Vec<Buffer> {
        match std::mem::replace(&mut self.rest.extra, Extra::None) {
            Extra::Buffers(buffers) => buffers,
            other => {
                self.rest.extra = other;
                Vec::new()
            }
        }
    }

    /// Whose datagram came, or to whom one was [sent](crate::Handle::send_to): what `WSARecvFrom` writes to `lpFrom`. It is the
    /// completion's, so nothing need stay in place for it (S132). `None` of other operations, and where no datagram came.
    pub fn peer(&self) -> Option<SocketAddr> {
        match &self.rest.extra {
            Extra::Message(message) => message.peer(),
            _ => None,
        }
    }

    /// What kind of operation it was.
    pub fn kind(&self) -> OpKind {
        self.rest.kind
    }

    /// Whether the operation is over with this packet: always so, but for a continuing operation
    /// ([`Handle::accept_each`](crate::Handle::accept_each), [`Handle::every`](crate::Handle::every)), which marks its final packet.
    pub fn last(&self) -> bool {
        self.rest.last
    }

    /// The operation's place among all that were started on this handle in the same direction, from 0. Packets of one direction
    /// can be taken by several threads at once; this tells their order. All packets of one continuing operation have its number; a
    /// posted packet has 0, and so has a timer's.
    pub fn sequence(&self) -> u64 {
        self.rest.sequence
    }

    #[cfg(feature = "simulated")]
    pub(crate) fn accepted_simulated(&mut self) -> Option<sys::simulated::Socket> {
        match std::mem::replace(&mut self.rest.extra, Extra::None) {
            Extra::Accepted(sys::Accepted { socket: sys::Socket::Simulated(socket), .. }) => {
                Some(socket)
            }
            other => {
                self.rest.extra = other;
                None
            }
        }
    }
}

impl<K, T> fmt::Debug for Completion<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion")
            .field("kind", &self.rest.kind)
            .field("result", &self.result)
            .field("buffer", &self.buffer)
            .field("peer", &self.peer())
            .field("last", &self.rest.last)
            .finish_non_exhaustive()
    }
}
