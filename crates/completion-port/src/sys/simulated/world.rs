//! The sockets of a simulated network, and what is in them.

use std::{
    collections::VecDeque,
    io,
    net::Shutdown,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use slab::Slab;

use super::{Pending, faults::Dice};
use crate::sys::codes;

/// Bytes that the peer has not read yet and that a send may run ahead.
const WINDOW: usize = 4096;

pub(crate) struct World {
    state: Mutex<State>,
    change: Condvar,
    born: Instant,
}

pub(super) struct State {
    pub sockets: Slab<Simulacrum>,
    pub pending: Vec<Pending>,
    /// The virtual clock.
    pub now: Duration,
    pub woken: bool,
    pub faults: Dice,
    /// It has, or had, its one port: the operations here are of that port's types.
    pub taken: bool,
}

/// The port's end of a connection (or a listener), and what the peer's end has seen of it.
#[derive(Default)]
pub(super) struct Simulacrum {
    /// From the peer, not received yet.
    pub inbound: VecDeque<u8>,
    /// To the peer, not read yet.
    pub outbound: VecDeque<u8>,
    pub peer_finished: bool,
    pub finished: bool,
    /// The connection was reset, by either side.
    pub reset: bool,
    /// The port's end is closed.
    pub closed: bool,
    /// Shut for reading here.
    pub deaf: bool,
    pub connected: bool,
    /// A listener's own name.
    pub listening: Option<Arc<()>>,
    /// Connections that wait to be accepted here.
    pub backlog: VecDeque<usize>,
    /// The peer's handle still exists.
    pub watched: bool,
}

impl State {
    pub(super) fn readable(&self, id: usize) -> bool {
        let socket = &self.sockets[id];
        socket.reset
            || socket.deaf
            || socket.peer_finished
            || !socket.inbound.is_empty()
            || !socket.connected
    }

    /// Why nothing can be received, now and ever.
    pub(super) fn failure(&self, id: usize) -> Option<io::Error> {
        let socket = &self.sockets[id];
        let code = match socket {
            Simulacrum { connected: false, .. } => codes::NOT_CONNECTED,
            Simulacrum { reset: true, .. } => codes::RESET,
            _ => return None,
        };
        Some(io::Error::from_raw_os_error(code))
    }

    /// Bytes from the peer, none of them at the end of the stream. `None` while there is nothing to receive.
    pub(super) fn receive(&mut self, id: usize, room: usize) -> Option<io::Result<Vec<u8>>> {
        if let Some(e) = self.failure(id) {
            return Some(Err(e));
        }
        let State { sockets, faults, .. } = self;
        let socket = &mut sockets[id];
        if socket.inbound.is_empty() {
            return (socket.peer_finished || socket.deaf).then(|| Ok(Vec::new()));
        }
        let most = socket.inbound.len().min(room);
        let count = faults.moved(most);
        Some(Ok(socket.inbound.drain(..count).collect()))
    }

    /// `None` while the peer does not read.
    pub(super) fn send(&mut self, id: usize, bytes: &[u8]) -> Option<io::Result<usize>> {
        let State { sockets, faults, .. } = self;
        let socket = &mut sockets[id];
        if socket.finished || socket.closed || socket.reset || !socket.connected {
            return Some(Err(io::Error::from_raw_os_error(if socket.connected {
                codes::BROKEN
            } else {
                codes::NOT_CONNECTED
            })));
        }
        let room = WINDOW.saturating_sub(socket.outbound.len()).min(bytes.len());
        if room == 0 {
            return None;
        }
        let count = faults.moved(room);
        socket.outbound.extend(&bytes[..count]);
        Some(Ok(count))
    }

    pub(super) fn accept(&mut self, id: usize) -> Option<usize> {
        self.sockets[id].backlog.pop_front()
    }

    pub(super) fn connect(&mut self, id: usize) -> io::Result<()> {
        let socket = &mut self.sockets[id];
        if std::mem::replace(&mut socket.connected, true) {
            return Err(io::Error::from_raw_os_error(codes::IS_CONNECTED));
        }
        Ok(())
    }

    /// Forgets a socket that neither end holds any more.
    fn bury(&mut self, id: usize) {
        if self.sockets.get(id).is_some_and(|socket| socket.closed && !socket.watched) {
            self.sockets.remove(id);
        }
    }
}

impl World {
    pub(super) fn new(faults: Dice) -> Arc<Self> {
        let state = State {
            sockets: Slab::new(),
            pending: Vec::new(),
            now: Duration::ZERO,
            woken: false,
            faults,
            taken: false,
        };
        Arc::new(Self { state: Mutex::new(state), change: Condvar::new(), born: Instant::now() })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Instant {
        self.born + self.state().now
    }

    /// Something is different: whoever sleeps looks again.
    pub(super) fn changed(&self) {
        self.change.notify_all();
    }

    pub(super) fn sleep<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.change.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The port's end of a simulated connection: what is associated with a port.
///
/// ```
/// use completion_port::{CompletionPort, simulated::Network};
///
/// let network = Network::new(1);
/// let port = CompletionPort::builder().simulated(&network).build::<&str, ()>()?;
/// let (socket, _peer) = network.connection();
/// assert_eq!(*port.associate(socket, "key")?.key(), "key");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Socket {
    world: Arc<World>,
    id: usize,
}

impl Socket {
    pub(super) fn new(world: Arc<World>, id: usize) -> Self {
        Self { world, id }
    }

    pub(super) fn id(&self) -> usize {
        self.id
    }

    pub(super) fn is_of(&self, world: &Arc<World>) -> bool {
        Arc::ptr_eq(&self.world, world)
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let mut state = self.world.state();
        let socket = &mut state.sockets[self.id];
        if !socket.connected {
            return Err(io::Error::from_raw_os_error(codes::NOT_CONNECTED));
        }
        socket.deaf |= matches!(how, Shutdown::Read | Shutdown::Both);
        socket.finished |= matches!(how, Shutdown::Write | Shutdown::Both);
        drop(state);
        self.world.changed();
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut state = self.world.state();
        let socket = &mut state.sockets[self.id];
        socket.closed = true;
        socket.finished = true;
        socket.listening = None;
        if !socket.inbound.is_empty() {
            // As TCP does: what the peer has not read yet is destroyed.
            socket.reset = true;
            socket.outbound.clear();
        }
        let backlog = std::mem::take(&mut socket.backlog);
        for waiting in backlog {
            state.sockets[waiting].reset = true;
            state.sockets[waiting].closed = true;
            state.bury(waiting);
        }
        state.bury(self.id);
        drop(state);
        self.world.changed();
    }
}

/// The other end of a connection, in the hands of the test.
///
/// ```
/// use completion_port::{CompletionPort, simulated::Network};
///
/// let network = Network::new(1);
/// let port = CompletionPort::builder().simulated(&network).build::<(), ()>()?;
/// let (socket, peer) = network.connection();
/// let server = port.associate(socket, ())?;
///
/// server.send(b"to the peer".to_vec().into(), ())?;
/// assert_eq!(port.get()?.result?, 11);
/// assert_eq!(peer.read()?, b"to the peer");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Peer {
    world: Arc<World>,
    id: usize,
}

impl Peer {
    pub(super) fn new(world: Arc<World>, id: usize) -> Self {
        Self { world, id }
    }

    fn act<R>(&self, act: impl FnOnce(&mut Simulacrum) -> R) -> R {
        let result = act(&mut self.world.state().sockets[self.id]);
        self.world.changed();
        result
    }

    /// Sends bytes to the port's end.
    ///
    /// # Errors
    ///
    /// A reset, if the other end is closed or this one has finished.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.act(|socket| {
            if socket.closed {
                socket.reset = true;
                socket.outbound.clear();
            }
            if socket.reset || socket.peer_finished {
                return Err(io::Error::from_raw_os_error(codes::RESET));
            }
            socket.inbound.extend(bytes);
            Ok(())
        })
    }

    /// Takes all that the port's end has sent so far.
    ///
    /// # Errors
    ///
    /// A reset.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        self.act(|socket| {
            let bytes: Vec<u8> = socket.outbound.drain(..).collect();
            if bytes.is_empty() && socket.reset {
                return Err(io::Error::from_raw_os_error(codes::RESET));
            }
            Ok(bytes)
        })
    }

    /// Whether the port's end has finished and everything it sent was read: the end of the stream.
    #[must_use]
    pub fn at_end(&self) -> bool {
        self.act(|socket| socket.finished && socket.outbound.is_empty() && !socket.reset)
    }

    /// Shuts down writing: the port's end sees the end of the stream.
    pub fn finish(&self) {
        self.act(|socket| socket.peer_finished = true);
    }

    /// Resets the connection.
    pub fn reset(&self) {
        self.act(|socket| {
            socket.reset = true;
            socket.inbound.clear();
            socket.outbound.clear();
        });
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let mut state = self.world.state();
        let socket = &mut state.sockets[self.id];
        socket.watched = false;
        socket.peer_finished = true;
        if !socket.outbound.is_empty() {
            socket.reset = true;
        }
        state.bury(self.id);
        drop(state);
        self.world.changed();
    }
}
