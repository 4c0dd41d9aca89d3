//! The library's handles as the system's sockets.

use std::os::windows::io::{AsHandle, AsSocket, BorrowedHandle, BorrowedSocket, OwnedSocket};

use super::Descriptor;
use crate::{
    handle::Handle,
    net::TcpSocket,
    routine::{OverlappedFile, OverlappedSocket},
    sys::Socket,
};

fn socket(descriptor: &Descriptor) -> Option<BorrowedSocket<'_>> {
    match descriptor {
        Descriptor::Socket(socket, _) => Some(socket.as_socket()),
        Descriptor::File(_) => None,
    }
}

impl<K, T> Handle<K, T> {
    /// The socket, to look at or set an option of; `None` for a key or a file (or a simulated socket). To read or write it beside the
    /// port, or to change its blocking mode, would confuse both.
    pub fn as_socket(&self) -> Option<BorrowedSocket<'_>> {
        self.0.socket.as_ref().and_then(Socket::os).and_then(socket)
    }
}

impl AsSocket for TcpSocket {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        socket(self.descriptor()).unwrap_or_else(|| unreachable!("it is made of one"))
    }
}

impl From<TcpSocket> for OwnedSocket {
    fn from(socket: TcpSocket) -> Self {
        match socket.into_descriptor() {
            Descriptor::Socket(socket, _) => socket,
            Descriptor::File(_) => unreachable!("it is made of a socket"),
        }
    }
}

impl From<TcpSocket> for Descriptor {
    fn from(socket: TcpSocket) -> Self {
        socket.into_descriptor()
    }
}

impl From<Descriptor> for TcpSocket {
    fn from(descriptor: Descriptor) -> Self {
        TcpSocket::from_descriptor(descriptor)
    }
}

impl From<OwnedSocket> for TcpSocket {
    fn from(socket: OwnedSocket) -> Self {
        TcpSocket::from_descriptor(socket.into())
    }
}

impl AsSocket for OverlappedSocket {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        socket(self.descriptor()).unwrap_or_else(|| unreachable!("a file has a type of its own"))
    }
}

impl AsHandle for OverlappedFile {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        match self.descriptor() {
            Descriptor::File(file) => file.original().as_handle(),
            Descriptor::Socket(..) => unreachable!("a socket has a type of its own"),
        }
    }
}
