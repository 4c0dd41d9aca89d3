//! Client sockets on loopback, with source addresses of their own.

use std::{io, net::SocketAddr, ops::RangeInclusive, process, time::Duration};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::random::mix;

/// The ports of the clients, on addresses of their own. They are below the range from which the kernel chooses (32,768
/// and up unless it is set otherwise): a search there takes long when thousands are used, it can fail because of what
/// other programs do, and what is taken there they cannot have.
const PORTS: RangeInclusive<u16> = 12_000..=31_999;

/// Hands out source addresses of 127.0.0.0/8, each with its ports (12,000 to 31,999): those of one address are not enough for several
/// rounds of 10,000 connections, since the ones of the round before are in TIME_WAIT.
#[derive(Debug)]
pub struct Sources {
    block: u64,
    ports: RangeInclusive<u16>,
}

impl Sources {
    /// Starts at an address that depends on the process, so that runs one after the other do not meet.
    pub fn of_process() -> Sources {
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
pub fn end_by_reset<'s, S>(socket: &'s S) -> io::Result<()>
where
    SockRef<'s>: From<&'s S>,
{
    SockRef::from(socket).set_linger(Some(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn a_client_comes_from_an_address_of_its_own_and_may_end_by_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let to = listener.local_addr().expect("its address");
        let mut sources = Sources::of_process();
        let mut seen = Vec::new();
        for resets in [false, true, true] {
            let client = sources.socket(to).expect("a socket");
            client.connect(&to.into()).expect("connected");
            let client = TcpStream::from(client);
            let (mut served, from) = listener.accept().expect("it is there");
            assert!(from.ip().is_loopback() && PORTS.contains(&from.port()), "{from}");
            assert!(!seen.contains(&from), "{from} twice");
            seen.push(from);
            if resets {
                end_by_reset(&client).expect("linger");
                let linger = SockRef::from(&client).linger().expect("an option");
                assert_eq!(linger, Some(Duration::ZERO));
            }
            drop(client);
            // Wine shuts a socket down before it closes it: there nobody ever sees a reset.
            if cfg!(unix) || !resets {
                let end = served.read(&mut [0]).map_err(|error| error.kind());
                let expected = if resets { Err(io::ErrorKind::ConnectionReset) } else { Ok(0) };
                assert_eq!(end, expected);
            }
        }
    }
}
