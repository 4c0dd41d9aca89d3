//! Sockets that serve.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// All of 127.0.0.0/8 is this machine.
pub const MANY_LOOPBACKS: bool = true;

/// What to do where a port is refused: anybody may take a low one, but not one that was set aside.
pub const REFUSED: &str = "; another program has the port for itself, or it is set aside \
    (`netsh interface ipv4 show excludedportrange tcp`): take another";

/// Listens on the first of these addresses that can be had. The system keeps up to `backlog` connections until they are accepted, as
/// far as it allows.
pub fn listen(addresses: &[SocketAddr], backlog: i32) -> io::Result<TcpListener> {
    let none = io::Error::new(io::ErrorKind::InvalidInput, "there is no address");
    let mut outcome = Err(none);
    for address in addresses {
        outcome = listen_at(*address, backlog);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Here the first word on the backlog is the last, and the standard library has it; so this is done without. The option that it sets on
/// other systems, to use an address again, is not needed here, where it would let two programs listen at one.
fn listen_at(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}
