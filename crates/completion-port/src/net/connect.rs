//! Connects, and the socket that is not connected yet.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    Buffer, error,
    handle::Handle,
    operation::{Context, OpId, OpKind, Operation, Refused},
    sys::{self, Descriptor},
};

/// A TCP socket that is not connected: what `WSASocket` gives. Associate it, then [`Handle::connect`].
///
/// ```
/// use completion_port::{CompletionPort, TcpSocket};
/// use std::net::TcpListener;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let port = CompletionPort::<(), ()>::new()?;
/// let client = port.associate(TcpSocket::new(&address)?, ())?;
/// client.connect(address, ())?;
/// port.get()?.result?;
/// assert_eq!(client.peer_addr()?, address);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "WSASocket")]
#[derive(Debug)]
pub struct TcpSocket(Descriptor);

impl TcpSocket {
    /// A socket of the address's family. It is not bound to it.
    ///
    /// # Errors
    ///
    /// What the system says: no descriptor left, no such family.
    pub fn new(like: &SocketAddr) -> io::Result<Self> {
        Ok(Self(Socket::new(Domain::for_address(*like), Type::STREAM, Some(Protocol::TCP))?.into()))
    }

    /// Binds it to a local address, before it connects.
    ///
    /// # Errors
    ///
    /// What the system says: an address in use, or of another machine.
    ///
    /// ```
    /// use completion_port::TcpSocket;
    ///
    /// let address = "127.0.0.2:0".parse()?;
    /// TcpSocket::new(&address)?.bind(&address)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bind(&self, address: &SocketAddr) -> io::Result<()> {
        sys::sock_ref(&self.0).bind(&(*address).into())
    }

    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.0
    }

    pub(crate) fn into_descriptor(self) -> Descriptor {
        self.0
    }

    pub(crate) fn from_descriptor(descriptor: Descriptor) -> Self {
        Self(descriptor)
    }
}

impl<K: Send + Sync + 'static, T: Send + 'static> Handle<K, T> {
    /// Starts to connect and to send `buffer` as the first data: `ConnectEx` with a send buffer. It completes when all of that has gone,
    /// with its bytes (S149), and gives the buffer back. Sends that are started meanwhile follow it. A refused connection has sent nothing,
    /// and the handle can connect again (S150). Cancelled, it may have connected, and sent a part: close the handle then.
    ///
    /// # Errors
    ///
    /// Refused, with buffer and context given back: as [`Handle::connect`], and if the buffer is empty.
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort, TcpSocket};
    /// use std::{io::Read, net::TcpListener};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let client = port.associate(TcpSocket::new(&address)?, ())?;
    /// client.connect_with(address, Buffer::from(b"hello".to_vec()), ())?;
    /// assert_eq!(port.get()?.result?, 5);
    /// let mut got = [0; 5];
    /// listener.accept()?.0.read_exact(&mut got)?;
    /// assert_eq!(&got, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "ConnectEx")]
    pub fn connect_with(
        &self,
        address: SocketAddr,
        buffer: Buffer,
        context: T,
    ) -> Result<OpId, Refused<T, Buffer>> {
        if buffer.is_empty() {
            return Err(Refused { error: error::empty_buffer(), context, buffer });
        }
        self.launch(
            Operation::new(OpKind::Connect, self.clone(), Context::One(context))
                .with_address(address)
                .with_buffer(buffer),
        )
        .map_err(|refused| Refused::of(refused, |work| work.buffer))
    }

    /// Starts to connect: `ConnectEx`. Sends that are started meanwhile follow it. A refused connection completes with
    /// [`Situation::ConnectionRefused`](crate::error::Situation::ConnectionRefused) (S150).
    ///
    /// # Errors
    ///
    /// Refused, with the context given back: no stream, closed, too many queued. That it is connected already is a completion.
    ///
    /// ```
    /// use completion_port::{CompletionPort, TcpSocket, error::Situation};
    /// use std::net::TcpListener;
    ///
    /// let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?; // and closed again
    /// let port = CompletionPort::<(), ()>::new()?;
    /// port.associate(TcpSocket::new(&nobody)?, ())?.connect(nobody, ())?;
    /// let error = port.get()?.result.unwrap_err();
    /// assert_eq!(Situation::of(&error), Some(Situation::ConnectionRefused));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "ConnectEx")]
    pub fn connect(&self, address: SocketAddr, context: T) -> Result<OpId, Refused<T>> {
        self.launch(
            Operation::new(OpKind::Connect, self.clone(), Context::One(context))
                .with_address(address),
        )
        .map_err(|refused| Refused::of(refused, |_| ()))
    }
}
