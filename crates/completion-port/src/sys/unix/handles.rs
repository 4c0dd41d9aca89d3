//! The library's handles as the system's descriptors, and the sources that only Unix has.

use std::io::{PipeReader, PipeWriter};
use std::os::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    unix::net::{UnixListener, UnixStream},
};

use crate::{
    handle::{Handle, Role, sources},
    net::TcpSocket,
    operation::Completion,
    routine::{OverlappedFile, OverlappedSocket},
    sys::Socket,
};

sources!(
    UnixStream => Stream,
    UnixListener => UnixListener,
    PipeReader => PipeReader,
    PipeWriter => PipeWriter
);

impl<K, T> Handle<K, T> {
    /// The socket, to look at or set an option of; `None` for a key (or a simulated socket). To read or write it beside the port,
    /// or to change its blocking mode, would confuse both.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.socket.as_ref().and_then(Socket::os).map(AsFd::as_fd)
    }
}

impl<K, T> Completion<K, T> {
    /// The socket that an accept of a Unix listener has brought, once. A socket that nobody takes is closed with the packet.
    ///
    /// ```
    /// use completion_port::CompletionPort;
    /// use std::os::unix::net::{UnixListener, UnixStream};
    ///
    /// # let folder = std::env::temp_dir().join(format!("completion-port-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let path = folder.join("socket");
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let listener = port.associate(UnixListener::bind(&path)?, ())?;
    /// listener.accept(())?;
    ///
    /// let _client = UnixStream::connect(&path)?;
    /// let stream: UnixStream = port.get()?.accepted_unix().expect("a socket came");
    /// let server = port.associate(stream, ())?;
    /// # drop(server);
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn accepted_unix(&mut self) -> Option<UnixStream> {
        self.accepted_by(Role::UnixListener)?.into_os().map(UnixStream::from)
    }
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor().as_fd()
    }
}

impl From<TcpSocket> for OwnedFd {
    fn from(socket: TcpSocket) -> Self {
        socket.into_descriptor()
    }
}

impl From<OwnedFd> for TcpSocket {
    fn from(fd: OwnedFd) -> Self {
        TcpSocket::from_descriptor(fd)
    }
}

impl AsFd for OverlappedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor().as_fd()
    }
}

impl From<UnixStream> for OverlappedSocket {
    fn from(stream: UnixStream) -> Self {
        Self::adopt(stream.into(), Role::Stream)
    }
}

impl AsFd for OverlappedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor().as_fd()
    }
}
