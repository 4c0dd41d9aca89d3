//! Addresses and the usual socket options of a handle.

use std::{io, net::SocketAddr, time::Duration};

use crate::{error, handle::Handle};

impl<K, T> Handle<K, T> {
    /// The local address: `getsockname`.
    ///
    /// # Errors
    ///
    /// What the system says; `InvalidInput` from a bare key.
    #[doc(alias = "getsockname")]
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.with_socket(|socket| socket.local_addr()?.as_socket().ok_or_else(error::wrong_kind))
    }

    /// The peer's address: `getpeername`.
    ///
    /// # Errors
    ///
    /// What the system says, `NotConnected` for instance; `InvalidInput` from a bare key.
    #[doc(alias = "getpeername")]
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.with_socket(|socket| socket.peer_addr()?.as_socket().ok_or_else(error::wrong_kind))
    }

    /// Sends small pieces at once (`TCP_NODELAY`) instead of collecting them.
    ///
    /// # Errors
    ///
    /// What the system says. So for the setters below.
    #[doc(alias = "TCP_NODELAY")]
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.0.with_socket(|socket| socket.set_tcp_nodelay(on))
    }

    /// What a close does with unsent data (`SO_LINGER`): `Some(Duration::ZERO)` resets the connection. Seconds count.
    ///
    /// # Errors
    ///
    /// What the system says.
    #[doc(alias = "SO_LINGER")]
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.0.with_socket(|socket| socket.set_linger(linger))
    }

    /// The system's receive buffer, in bytes (`SO_RCVBUF`).
    ///
    /// # Errors
    ///
    /// What the system says.
    #[doc(alias = "SO_RCVBUF")]
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.0.with_socket(|socket| socket.set_recv_buffer_size(bytes))
    }

    /// The system's send buffer, in bytes (`SO_SNDBUF`).
    ///
    /// # Errors
    ///
    /// What the system says.
    #[doc(alias = "SO_SNDBUF")]
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.0.with_socket(|socket| socket.set_send_buffer_size(bytes))
    }

    /// Probes idle connections (`SO_KEEPALIVE`).
    ///
    /// # Errors
    ///
    /// What the system says.
    #[doc(alias = "SO_KEEPALIVE")]
    pub fn set_keepalive(&self, on: bool) -> io::Result<()> {
        self.0.with_socket(|socket| socket.set_keepalive(on))
    }
}
