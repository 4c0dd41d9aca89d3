//! Sockets that serve.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::SockRef;

/// Elsewhere the loopback device has one address only.
pub const MANY_LOOPBACKS: bool = cfg!(target_os = "linux");

/// What to do where a port is refused.
pub const REFUSED: &str = "; take a port above 1023, or run with CAP_NET_BIND_SERVICE";

/// Listens on the first of these addresses that can be had. The system keeps up to `backlog` connections until they are accepted, as
/// far as it allows: the standard library asks for fewer.
pub fn listen(addresses: &[SocketAddr], backlog: i32) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(addresses)?;
    SockRef::from(&listener).listen(backlog)?;
    Ok(listener)
}
