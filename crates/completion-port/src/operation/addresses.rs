//! The two addresses of an accepted connection.

use std::net::SocketAddr;

use crate::sys::{self, Accepted};

/// The two addresses of a connection that an accept has brought. From [`Completion::addresses`](crate::Completion::addresses).
///
/// ```
/// use completion_port::{Addresses, CompletionPort};
/// use std::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let port = CompletionPort::<(), ()>::new()?;
/// port.associate(listener, ())?.accept(())?;
/// let _client = TcpStream::connect(address)?;
/// let Addresses { local, peer } = port.get()?.addresses().expect("a connection came");
/// assert!(local == address && peer != address);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// Where the peer connected to: one address of a listener that listens on several.
    pub local: SocketAddr,
    /// Where the peer connected from.
    pub peer: SocketAddr,
}

impl Addresses {
    pub(crate) fn of(accepted: &Accepted) -> Option<Self> {
        let socket = sys::sock_ref(accepted.socket.os()?);
        let peer = match &accepted.peer {
            Some(peer) => **peer,
            None => socket.peer_addr().ok()?.as_socket()?,
        };
        Some(Self { local: socket.local_addr().ok()?.as_socket()?, peer })
    }
}
