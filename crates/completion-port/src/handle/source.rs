//! What can be associated with a port.

use std::{
    error::Error,
    fmt,
    fs::File,
    io,
    net::{TcpListener, TcpStream, UdpSocket},
};

use crate::{
    net::TcpSocket,
    operation::OpKind,
    sys::{Medium, Socket},
};

/// What can be associated with a completion port: the standard library's sockets and pipes, [`TcpSocket`],
/// [`OverlappedSocket`](crate::routine::OverlappedSocket), and files.
///
/// - A **stream** (of TCP or the Unix domain) receives, sends, and ends; a **listener** accepts.
/// - The end of a **pipe** receives or sends, as the end of a stream would (S161, S162). The other side of a pipe is told of its end when
///   the descriptor is closed, with the last clone of the handle: [`Handle::close`](crate::Handle::close) ends what is pending only.
/// - A **file** (or a block device) is read and written at offsets ([`Handle::read_at`](crate::Handle::read_at)); anything else that a
///   [`File`] can be is refused.
///
/// The port owns it from then on, and takes care of its blocking mode: overlapped I/O is the same on a non-blocking socket (S178).
/// It cannot be implemented outside this crate.
///
/// ```
/// use completion_port::{CompletionPort, Handle, Source};
/// use std::{io, net::TcpListener};
///
/// fn adopt<S: Source>(port: &CompletionPort<&'static str, ()>, source: S) -> io::Result<Handle<&'static str, ()>> {
///     Ok(port.associate(source, "adopted")?)
/// }
///
/// let port = CompletionPort::new()?;
/// let listener = adopt(&port, TcpListener::bind("127.0.0.1:0")?)?;
/// assert_eq!(*listener.key(), "adopted");
/// # Ok::<(), io::Error>(())
/// ```
pub trait Source: sealed::Source {}

pub(crate) mod sealed {
    use super::*;

    pub trait Source: Sized {
        /// What is left of the source while its socket is being associated.
        #[doc(hidden)]
        type Kept;
        #[doc(hidden)]
        fn role(&self) -> Role;
        #[doc(hidden)]
        fn into_socket(self) -> (Opaque, Self::Kept);
        #[doc(hidden)]
        fn from_socket(socket: Opaque, kept: Self::Kept) -> Option<Self>;
    }

    /// Keeps the crate's own socket type out of the public trait.
    #[allow(missing_debug_implementations)]
    pub struct Opaque(pub(crate) Socket);
}

/// What a source can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A bare key: posts.
    Key,
    /// Accepts.
    Listener,
    /// Connects, receives, sends.
    Stream,
    /// Receives and sends, each time one.
    Datagram,
    /// Accepts streams of the Unix domain.
    UnixListener,
    /// Receives.
    PipeReader,
    /// Sends.
    PipeWriter,
    /// Reads and writes at offsets.
    File,
}

impl Role {
    pub(crate) fn can(self, kind: OpKind) -> bool {
        match kind {
            OpKind::Post | OpKind::Timer | OpKind::Every => true,
            OpKind::Accept | OpKind::AcceptEach | OpKind::AcceptWith => self.is_listener(),
            OpKind::RecvFrom | OpKind::RecvFromLent | OpKind::RecvFromEach | OpKind::SendTo => {
                self == Role::Datagram
            }
            OpKind::Recv | OpKind::RecvLent => matches!(self, Role::Stream | Role::PipeReader),
            OpKind::Send => matches!(self, Role::Stream | Role::PipeWriter),
            OpKind::Connect | OpKind::End | OpKind::Disconnect | OpKind::TransmitFile => {
                self == Role::Stream
            }
            OpKind::ReadAt | OpKind::WriteAt | OpKind::Sync | OpKind::SyncData => {
                self == Role::File
            }
        }
    }

    pub(crate) fn is_listener(self) -> bool {
        matches!(self, Role::Listener | Role::UnixListener)
    }

    pub(crate) fn medium(self) -> Medium {
        match self {
            Role::Key | Role::Listener | Role::Stream | Role::Datagram | Role::UnixListener => {
                Medium::Socket
            }
            Role::PipeReader => Medium::PipeOut,
            Role::PipeWriter => Medium::PipeIn,
            Role::File => Medium::File,
        }
    }
}

/// Each of these as a source of that role.
macro_rules! sources {
    ($($kind:ty => $role:ident),*) => {$(
        impl $crate::handle::Source for $kind {}

        impl $crate::handle::sealed::Source for $kind {
            type Kept = ();

            fn role(&self) -> $crate::handle::Role {
                $crate::handle::Role::$role
            }

            fn into_socket(self) -> ($crate::handle::sealed::Opaque, ()) {
                ($crate::handle::sealed::Opaque($crate::sys::Socket::Os(self.into())), ())
            }

            fn from_socket(socket: $crate::handle::sealed::Opaque, (): ()) -> Option<Self> {
                socket.0.into_os().map(Self::from)
            }
        }
    )*};
}

pub(crate) use sources;

sources!(
    TcpStream => Stream,
    TcpSocket => Stream,
    TcpListener => Listener,
    UdpSocket => Datagram,
    File => File
);

/// An association that was refused, with the socket and the key given back.
///
/// ```
/// use completion_port::CompletionPort;
/// use std::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let stream = TcpStream::connect(listener.local_addr()?)?;
/// let duplicate = stream.try_clone()?;
///
/// let port = CompletionPort::<&str, ()>::new()?;
/// let _handle = port.associate(stream, "first")?;
/// let refused = port.associate(duplicate, "second").unwrap_err(); // S6
/// assert_eq!(refused.key, "second");
/// assert!(refused.source.peer_addr().is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct NotAssociated<S, K> {
    /// Why.
    pub error: io::Error,
    /// The socket, given back.
    pub source: S,
    /// The key, given back.
    pub key: K,
}

impl<S, K> fmt::Debug for NotAssociated<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotAssociated").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<S, K> fmt::Display for NotAssociated<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the socket was not associated: {}", self.error)
    }
}

impl<S, K> Error for NotAssociated<S, K> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl<S, K> From<NotAssociated<S, K>> for io::Error {
    fn from(refused: NotAssociated<S, K>) -> Self {
        refused.error
    }
}
