//! What all threads of the load do.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use completion_port::DriverKind;

use super::options::Bench;

/// Bytes that are sent at a time, if messages are shorter.
const PIECE: usize = 64 * 1024;
/// Connections from one source address. With more of them there must be several.
const FEW: usize = 10_000;
/// How long what is overdue may still leave, after the end.
const OVERTIME: Duration = Duration::from_secs(1);
/// How long it takes at most to end when the run is interrupted.
const HASTE: Duration = Duration::from_millis(250);

/// The load, as the threads see it.
#[derive(Debug)]
pub struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// Connections of all threads.
    pub connections: usize,
    /// Threads.
    pub threads: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Messages on their way on each connection.
    pub depth: usize,
    /// Messages that are sent together at most.
    pub at_once: usize,
    /// Which driver the threads' ports have; `None` is the one that `COMPLETION_PORT_DRIVER` names.
    pub driver: Option<DriverKind>,
    /// Messages a second of all threads, in an open loop.
    pub rate: Option<f64>,
    /// A new connection for each message.
    pub churn: bool,
    /// How long to wait for what does not come.
    pub timeout: Duration,
    /// Everybody is to end.
    pub stop: AtomicBool,
}

impl Plan {
    /// What the options ask for.
    pub fn new(options: &Bench, address: SocketAddr) -> Self {
        Self {
            address,
            connections: options.connections.get(),
            threads: options.threads(),
            size: options.size.get(),
            depth: options.pipeline.get(),
            at_once: (PIECE / options.size.get()).max(1),
            driver: options.driver(),
            rate: options.rate,
            churn: options.churn,
            timeout: options.timeout(),
            stop: AtomicBool::new(false),
        }
    }

    /// The numbers of a thread's connections: every so many-th, so that those of an open loop take turns across threads.
    pub fn share(&self, thread: usize) -> impl Iterator<Item = usize> {
        (thread..self.connections).step_by(self.threads)
    }

    /// Whether the ports of one source address may not be enough.
    pub fn many(&self) -> bool {
        self.churn || self.connections > FEW
    }

    /// At the end: until when what is overdue may still leave, and until when what is on its way is waited for.
    pub fn overtime(&self) -> [Instant; 2] {
        let now = Instant::now();
        let interrupted = self.stop.load(Relaxed);
        let overtime = if interrupted { Duration::ZERO } else { OVERTIME.min(self.timeout) };
        let patience = if interrupted { HASTE.min(self.timeout) } else { self.timeout };
        [now + overtime, now + overtime + patience]
    }
}
