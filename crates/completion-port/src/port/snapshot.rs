//! What is going on in a port, for people and logs.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::Shared;
use crate::{
    buffer::PoolSnapshot,
    operation::{OpKind, Side},
    schedule::Counters,
};

/// What is going on in a port at one moment. From [`CompletionPort::snapshot`](crate::CompletionPort::snapshot).
///
/// ```
/// use completion_port::{Buffer, CompletionPort, OpKind};
/// use std::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let _client = TcpStream::connect(listener.local_addr()?)?;
/// let port = CompletionPort::<(), ()>::new()?;
/// let server = port.associate(listener.accept()?.0, ())?;
/// server.recv(Buffer::with_capacity(1), ())?;
///
/// let snapshot = port.snapshot();
/// assert_eq!((snapshot.handles, snapshot.in_flight[0].kind, snapshot.in_flight[0].count), (1, OpKind::Recv, 1));
/// println!("{snapshot}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// Operations that have started and are not over, by kind.
    pub in_flight: Vec<InFlight>,
    /// Packets that wait for a thread.
    pub packets: usize,
    /// Threads that wait for a packet.
    pub waiting_threads: usize,
    /// Threads that run with one, as far as the port knows.
    pub running_threads: usize,
    /// What the scheduling has done so far.
    pub scheduling: Counters,
    /// Receives that wait for a buffer of the pool.
    pub starved: usize,
    /// Timers whose packets are to come: [`Handle::timer`](crate::Handle::timer), [`Handle::every`](crate::Handle::every).
    pub timers: usize,
    /// Handles that exist, bare keys included.
    pub handles: usize,
    /// What the pool of lent buffers holds.
    pub pool: PoolSnapshot,
    /// Operations that a close has given up on, because they did not end in time.
    pub leaked: usize,
}

/// The operations of one kind that are not over. Part of a [`Snapshot`].
///
/// ```
/// use completion_port::{CompletionPort, OpKind};
/// use std::{net::TcpListener, time::Duration};
///
/// let port = CompletionPort::<(), ()>::new()?;
/// let listener = port.associate(TcpListener::bind("127.0.0.1:0")?, ())?;
/// listener.accept(())?;
/// listener.accept(())?;
/// let accepts = port.snapshot().in_flight[0];
/// assert_eq!((accepts.kind, accepts.count), (OpKind::Accept, 2));
/// assert!(accepts.oldest < Duration::from_secs(60));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InFlight {
    /// Which kind.
    pub kind: OpKind,
    /// How many.
    pub count: usize,
    /// How long ago the oldest was started.
    pub oldest: Duration,
}

impl<K, T> Shared<K, T> {
    pub(super) fn snapshot(&self) -> Snapshot {
        let handles = self.handles();
        let now = self.age();
        let mut kinds = BTreeMap::<OpKind, (usize, u32)>::new();
        for handle in &handles {
            for side in [Side::In, Side::Out] {
                handle.each(side, |header| {
                    let (count, oldest) = kinds.entry(header.kind).or_default();
                    *count += 1;
                    // One that was started meanwhile is of no age.
                    let age = now.wrapping_sub(header.started) as i32;
                    *oldest = (*oldest).max(u32::try_from(age).unwrap_or(0));
                });
            }
        }
        let in_flight = kinds.into_iter().map(|(kind, (count, oldest))| InFlight {
            kind,
            count,
            oldest: Duration::from_millis(oldest.into()),
        });
        let (packets, waiting_threads, running_threads) = self.scheduler.waiting();
        Snapshot {
            in_flight: in_flight.collect(),
            packets,
            waiting_threads,
            running_threads,
            scheduling: self.scheduler.counters(),
            starved: self.starving(),
            timers: self.timers.posting(),
            handles: handles.len(),
            pool: self.pool.snapshot(),
            leaked: self.leaked(),
        }
    }
}

impl fmt::Display for Snapshot {
    /// `key=value` words on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "handles={} packets={} waiting_threads={} running_threads={}",
            self.handles, self.packets, self.waiting_threads, self.running_threads
        )?;
        for InFlight { kind, count, oldest } in &self.in_flight {
            write!(f, " {kind}={count} {kind}_oldest={:.3}s", oldest.as_secs_f64())?;
        }
        let pool = &self.pool;
        write!(
            f,
            " timers={} starved={} pool_lent={} pool_ready={} pool_limit={} pool_peak={} pool_waited={} leaked={} {}",
            self.timers,
            self.starved,
            pool.lent,
            pool.ready,
            pool.limit,
            pool.peak,
            pool.waited,
            self.leaked,
            self.scheduling
        )
    }
}
