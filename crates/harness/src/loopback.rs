//! Client sockets on loopback, with source addresses of their own.

use std::{io, net::SocketAddr, ops::RangeInclusive, os::fd::AsFd, process, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};

use crate::random::mix;

/// The ports of the clients, on addresses of their own. They are below the range from which the kernel chooses (32,768
/// and up unless it is set otherwise): a search there takes long when thousands are used, it can fail because of what
/// other programs do, and what is taken there they cannot have.
const PORTS: RangeInclusive<u16> = 12_000..=31_999;

/// Hands out source addresses of 127.0.0.0/8, each with its [`PORTS`]: those of one address are not enough for several
/// rounds of 10,000 connections, since the ones of the round before are in TIME_WAIT.
#[derive(Debug)]
pub struct Sources {
    block: u64,
    ports: RangeInclusive<u16>,
}

impl Sources {
    /// Starts at an address that depends on the process, so that runs one after the other do not meet.
    pub fn new() -> Sources {
        Sources { block: mix(u64::from(process::id())), ports: PORTS }
    }

    /// A socket that is ready to connect to `to`.
    pub fn socket(&mut self, to: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        if to.is_ipv4() {
            // Somebody who listens on all addresses may have one of the ports, or a few.
            while let Err(error) = socket.bind(&self.next().into()) {
                if error.kind() != io::ErrorKind::AddrInUse {
                    return Err(error);
                }
            }
        }
        Ok(socket)
    }

    fn next(&mut self) -> SocketAddr {
        let port = loop {
            if let Some(port) = self.ports.next() {
                break port;
            }
            self.block = self.block.wrapping_add(1);
            self.ports = PORTS;
        };
        let [.., a, b, c] = self.block.to_be_bytes();
        SocketAddr::from(([127, a, b, c % 254 + 1], port))
    }
}

/// Makes closing this socket send RST instead of FIN.
pub fn end_by_reset(socket: &impl AsFd) -> io::Result<()> {
    socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO))
}
