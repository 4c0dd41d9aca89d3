//! A network in memory, to test programs (and this library) on: a virtual clock, and faults drawn from a seed.
//!
//! With the feature `simulated`. The port is the real one; only its driver is simulated. Time passes when a thread waits, so a test of
//! an hour's deadline takes no time, and a test with one thread is deterministic: the same seed gives the same history.
//!
//! ```
//! use completion_port::{Buffer, CompletionPort, simulated::Network};
//!
//! let network = Network::new(42); // the seed
//! let port = CompletionPort::builder().simulated(&network).build::<&str, ()>()?;
//! let (socket, peer) = network.connection();
//! let server = port.associate(socket, "server")?;
//!
//! server.recv(Buffer::with_capacity(64), ())?;
//! peer.write(b"hello")?;
//! let done = port.get()?;
//! let came = done.result?;
//! assert_eq!(&done.buffer[..], &b"hello"[..came]); // a part of it, perhaps: short transfers are among the faults
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{fmt, sync::Arc};

use super::{
    faults::Dice,
    world::{Simulacrum, World},
};
pub use super::{
    faults::Faults,
    world::{Peer, Socket},
};
use crate::{
    handle::{Role, Source, sealed},
    operation::Completion,
    sys::Socket as AnySocket,
};

/// A simulated network; clones are the same one. Its one port is built with [`Builder::simulated`](crate::Builder::simulated).
#[derive(Clone)]
pub struct Network {
    world: Arc<World>,
    seed: u64,
}

/// The port's end of a simulated listener. [`Network::dial`] connects to it.
#[derive(Debug)]
pub struct Listener(Socket);

impl Network {
    /// A network on a bad day: the default faults, drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_faults(seed, Faults::default())
    }

    /// A network with the given faults, drawn from `seed`.
    #[must_use]
    pub fn with_faults(seed: u64, faults: Faults) -> Self {
        Self { world: World::new(Dice::new(seed, faults)), seed }
    }

    fn socket(&self, simulacrum: Simulacrum) -> usize {
        self.world.state().sockets.insert(simulacrum)
    }

    /// A connection: the port's end, and the peer's.
    #[must_use]
    pub fn connection(&self) -> (Socket, Peer) {
        self.pair(true)
    }

    /// A socket that [`Handle::connect`](crate::Handle::connect) connects (to any address) to the peer.
    #[must_use]
    pub fn unconnected(&self) -> (Socket, Peer) {
        self.pair(false)
    }

    fn pair(&self, connected: bool) -> (Socket, Peer) {
        let id = self.socket(Simulacrum { connected, watched: true, ..Simulacrum::default() });
        (Socket::new(self.world.clone(), id), Peer::new(self.world.clone(), id))
    }

    /// A listener, and the means to dial it.
    #[must_use]
    pub fn listener(&self) -> (Listener, Address) {
        let id = self.socket(Simulacrum::default());
        (Listener(Socket::new(self.world.clone(), id)), Address(id))
    }

    /// Connects to a listener; `None` if it is closed.
    #[must_use]
    pub fn dial(&self, address: &Address) -> Option<Peer> {
        let id = {
            let mut state = self.world.state();
            let id = state.sockets.insert(Simulacrum {
                connected: true,
                watched: true,
                ..Simulacrum::default()
            });
            match state.sockets.get_mut(address.0) {
                Some(listener) if !listener.closed => listener.backlog.push_back(id),
                _ => {
                    state.sockets.remove(id);
                    return None;
                }
            }
            id
        };
        let peer = Peer::new(self.world.clone(), id);
        self.world.changed();
        Some(peer)
    }

    /// Operations that are with the driver.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.world.state().pending.len()
    }

    /// Sockets that either end still holds.
    #[must_use]
    pub fn open_sockets(&self) -> usize {
        self.world.state().sockets.len()
    }

    pub(crate) fn world(&self) -> (&Arc<World>, u64) {
        (&self.world, self.seed)
    }
}

/// Where a simulated listener listens.
#[derive(Debug, Clone)]
pub struct Address(usize);

/// The socket that an accept has brought, once: what [`Completion::accepted`] is on a real network.
pub fn accepted<K, T>(done: &mut Completion<K, T>) -> Option<Socket> {
    done.accepted_simulated()
}

macro_rules! source {
    ($kind:ty, $role:ident, $into:expr, $from:expr) => {
        impl Source for $kind {}

        impl sealed::Source for $kind {
            const ROLE: Role = Role::$role;

            fn into_socket(self) -> sealed::Opaque {
                sealed::Opaque(AnySocket::Simulated($into(self)))
            }

            fn from_socket(socket: sealed::Opaque) -> Option<Self> {
                match socket.0 {
                    AnySocket::Simulated(socket) => Some($from(socket)),
                    AnySocket::Os(_) => None,
                }
            }
        }
    };
}

source!(Socket, Stream, std::convert::identity, std::convert::identity);
source!(Listener, Listener, |listener: Listener| listener.0, Listener);

macro_rules! opaque_debug {
    ($($kind:ty, $name:literal);*) => {$(
        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($name).finish_non_exhaustive()
            }
        }
    )*};
}

opaque_debug!(Network, "Network"; Socket, "Socket"; Peer, "Peer");
