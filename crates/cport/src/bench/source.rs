//! Source addresses for many connections on one machine.

use std::{io, net::SocketAddr, ops::Range, process};

use completion_port::TcpSocket;

use crate::sys::sockets::MANY_LOOPBACKS;

/// The ports to bind: below the range from which the kernel chooses (from 32,768 unless it is set otherwise), so that other
/// programs neither have nor want them.
const PORTS: Range<u16> = 12_000..32_000;
/// Addresses that are tried before the kernel is left to choose.
const TRIES: usize = 1000;

/// Hands out addresses of 127.0.0.0/8, each with its [`PORTS`].
///
/// A connection that the client closes keeps its pair of addresses for a minute (TIME_WAIT). One source address has some 28,000
/// ports, which a churn uses up in a second or two; all of 127.0.0.0/8 has enough of them.
#[derive(Debug)]
pub struct Sources {
    /// Which address: any number, of which 24 bits are used.
    block: u32,
    /// The ports of it that are left.
    ports: Range<u16>,
}

impl Sources {
    /// For a thread: nobody else is likely to use the same ones. `None` where only the kernel can choose.
    pub fn new(to: SocketAddr, thread: usize) -> Option<Self> {
        let loopback = MANY_LOOPBACKS && to.is_ipv4() && to.ip().is_loopback();
        let block =
            process::id().wrapping_mul(0x9E37_79B1).wrapping_add(thread as u32 * 0x0001_0000);
        loopback.then_some(Self { block, ports: PORTS })
    }

    /// Binds a socket to the next address that is free.
    pub fn bind(&mut self, socket: &TcpSocket) -> io::Result<()> {
        for _ in 0..TRIES {
            match socket.bind(&self.next()) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                done => return done,
            }
        }
        Ok(())
    }

    /// The next address.
    fn next(&mut self) -> SocketAddr {
        let port = self.ports.next().unwrap_or_else(|| {
            self.block = self.block.wrapping_add(1);
            self.ports = PORTS.start + 1..PORTS.end;
            PORTS.start
        });
        let [_, a, b, c] = self.block.to_be_bytes();
        SocketAddr::from(([127, a, b, c % 254 + 1], port))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn addresses_are_all_of_the_loopback_and_none_comes_twice() {
        let to = "127.0.0.1:9190".parse().expect("an address");
        let Some(mut sources) = Sources::new(to, 0) else { return };
        let mut seen = HashSet::new();
        for _ in 0..100_000 {
            let next = sources.next();
            assert!(next.ip().is_loopback() && PORTS.contains(&next.port()), "{next}");
            assert!(seen.insert(next), "{next} twice");
        }
        assert!(Sources::new("192.0.2.1:80".parse().expect("an address"), 0).is_none());
    }
}
