//! The options of a port.

use std::{io, num::NonZero, sync::Arc, thread, time::Duration};

use super::{CompletionPort, Shared};
use crate::{
    buffer::{Pool, PoolOptions},
    schedule::{Release, Set, Waking},
    sys::{
        Drivers,
        choose::{self, DriverChoice, DriverKind, User},
    },
};

/// Options of a [`CompletionPort`].
///
/// ```
/// use completion_port::{CompletionPort, probe};
/// use std::time::Duration;
///
/// let last = probe().pop().expect("every system has a driver").kind();
/// let port = CompletionPort::builder()
///     .limit(4)
///     .driver(last)
///     .drain(Duration::from_secs(1))
///     .build::<u64, ()>()?;
/// assert_eq!((port.concurrency(), port.driver().kind()), (4, last));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Builder {
    limit: usize,
    driver: Option<DriverKind>,
    routines: bool,
    waking: Waking,
    release: Release,
    drain: Duration,
    queue_limit: usize,
    pool: PoolOptions,
    #[cfg(feature = "simulated")]
    network: Option<crate::simulated::Network>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            limit: 0,
            driver: None,
            routines: false,
            waking: Waking::default(),
            release: Release::default(),
            drain: Duration::from_secs(5),
            queue_limit: 1024,
            pool: PoolOptions::new(),
            #[cfg(feature = "simulated")]
            network: None,
        }
    }

    /// How many threads run at a time: `NumberOfConcurrentThreads`. 0, the default, is the number of CPUs (S9).
    #[doc(alias = "NumberOfConcurrentThreads")]
    pub fn limit(mut self, threads: usize) -> Self {
        self.limit = threads;
        self
    }

    /// When a second worker is woken.
    pub fn waking(mut self, waking: Waking) -> Self {
        self.waking = waking;
        self
    }

    /// How a worker that blocks gives up its place.
    pub fn release(mut self, release: Release) -> Self {
        self.release = release;
        self
    }

    /// Forces a driver. Otherwise the environment variable `COMPLETION_PORT_DRIVER` does, or the best that the machine offers is taken.
    pub fn driver(mut self, kind: DriverKind) -> Self {
        self.driver = Some(kind);
        self
    }

    /// How long a close waits for operations that it has cancelled. 5 seconds by default; sockets need none of it, unless, on Windows, as many
    /// workers as the limit run on meanwhile.
    pub fn drain(mut self, deadline: Duration) -> Self {
        self.drain = deadline;
        self
    }

    /// How many operations may wait their turn on one handle and direction (1024 by default, at least 1); more are refused with
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub fn queue_limit(mut self, operations: usize) -> Self {
        self.queue_limit = operations.max(1);
        self
    }

    /// The size and number of lent buffers.
    pub fn pool(mut self, options: PoolOptions) -> Self {
        self.pool = options;
        self
    }

    /// For the routines of one thread.
    pub(crate) fn for_routines(mut self) -> Self {
        self.routines = true;
        self
    }

    /// Puts the port on a simulated network, whatever driver was named. A network has one port.
    #[cfg(feature = "simulated")]
    pub fn simulated(mut self, network: &crate::simulated::Network) -> Self {
        self.network = Some(network.clone());
        self
    }

    /// The drivers, once the pool is there: one for each thread that is to run, if so many can run at all.
    fn open(&self, pool: &Arc<Pool>, limit: usize) -> io::Result<(Drivers, DriverChoice)> {
        #[cfg(feature = "simulated")]
        if let Some(network) = &self.network {
            return choose::simulate(network, pool);
        }
        let places = limit.min(processors()).min(Set::MOST);
        let limit = if self.release == Release::Unlimited { usize::MAX } else { limit };
        let user = if self.routines { User::Routines } else { User::Port { places, limit } };
        choose::choose(self.driver, pool, user)
    }

    /// Makes the port.
    ///
    /// # Errors
    ///
    /// The driver that was asked for cannot be had, or none can, or the pool's options cannot be met.
    pub fn build<K: Send + Sync + 'static, T: Send + 'static>(
        self,
    ) -> io::Result<CompletionPort<K, T>> {
        let pool = Pool::new(self.pool)?;
        let limit = if self.limit == 0 { processors() } else { self.limit };
        let (drivers, choice) = self.open(&pool, limit)?;
        let policies = (self.waking, self.release);
        let shared =
            Shared::new(drivers, choice, pool, limit, policies, self.queue_limit, self.drain);
        let shared = Arc::new(shared);
        shared.watch_pool();
        shared.employ();
        Ok(CompletionPort { shared })
    }
}

/// How many threads can run at once.
fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}
