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
///
/// ```
/// let network = completion_port::simulated::Network::new(7);
/// assert_eq!(network.open_sockets(), 0);
/// ```
#[derive(Clone)]
pub struct Network {
    world: Arc<World>,
    seed: u64,
}

/// The port's end of a simulated listener. [`Network::dial`] connects to it.
///
/// ```
/// use completion_port::{CompletionPort, simulated::{self, Network}};
///
/// let network = Network::new(1);
/// let port = CompletionPort::builder().simulated(&network).build::<(), ()>()?;
/// let (listener, address) = network.listener();
/// port.associate(listener, ())?.accept(())?;
/// let peer = network.dial(&address);
/// assert!(peer.is_some());
/// assert!(simulated::accepted(&mut port.get()?).is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
        let name = Arc::new(());
        let listening = Some(name.clone());
        let id = self.socket(Simulacrum { listening, ..Simulacrum::default() });
        (Listener(Socket::new(self.world.clone(), id)), Address { id, name })
    }

    /// Connects to a listener; `None` if it is closed.
    #[must_use]
    pub fn dial(&self, address: &Address) -> Option<Peer> {
        let mut state = self.world.state();
        // Its number may be another socket's by now.
        let listening = state.sockets.get(address.id).and_then(|one| one.listening.as_ref());
        listening.filter(|name| Arc::ptr_eq(name, &address.name))?;
        let id = state.sockets.insert(Simulacrum {
            connected: true,
            watched: true,
            ..Simulacrum::default()
        });
        state.sockets[address.id].backlog.push_back(id);
        drop(state);
        self.world.changed();
        Some(Peer::new(self.world.clone(), id))
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
///
/// ```
/// let network = completion_port::simulated::Network::new(1);
/// let (listener, address) = network.listener();
/// drop(listener);
/// assert!(network.dial(&address).is_none(), "it is closed");
/// ```
#[derive(Debug, Clone)]
pub struct Address {
    id: usize,
    name: Arc<()>,
}

/// The socket that an accept has brought, once: what [`Completion::accepted`] is on a real network.
pub fn accepted<K, T>(done: &mut Completion<K, T>) -> Option<Socket> {
    done.accepted_simulated()
}

macro_rules! source {
    ($kind:ty, $role:ident, $into:expr, $from:expr) => {
        impl Source for $kind {}

        impl sealed::Source for $kind {
            type Kept = ();

            fn role(&self) -> Role {
                Role::$role
            }

            fn into_socket(self) -> (sealed::Opaque, ()) {
                (sealed::Opaque(AnySocket::Simulated($into(self))), ())
            }

            fn from_socket(socket: sealed::Opaque, (): ()) -> Option<Self> {
                match socket.0 {
                    AnySocket::Simulated(socket) => Some($from(socket)),
                    AnySocket::Os(_) | AnySocket::Shared(_) => None,
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
