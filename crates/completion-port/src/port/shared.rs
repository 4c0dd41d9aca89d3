//! What the port and its handles have in common. It lives as long as any of them.

use std::{
    collections::VecDeque,
    ptr::NonNull,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use slab::Slab;

use crate::{
    buffer::Pool,
    handle::{EndOf, Handle, Inner, NotAssociated, Role, Source, Starved, sealed},
    operation::{Completion, Header},
    schedule::{Scheduler, timers::Timers},
    sys::{Driver, choose::DriverChoice},
};

pub(crate) struct Shared<K: 'static, T: 'static> {
    pub scheduler: Scheduler<Completion<K, T>>,
    pub driver: Box<dyn Driver>,
    pub choice: DriverChoice,
    pub pool: Arc<Pool>,
    pub timers: Timers<EndOf<K, T>>,
    pub limit: usize,
    pub queue_limit: usize,
    pub drain: Duration,
    /// Operations that a close gave up on.
    pub leaked: AtomicUsize,
    born: Instant,
    /// Every handle that exists, for a close and a snapshot.
    handles: Mutex<Slab<Weak<Inner<K, T>>>>,
    /// Receives that wait for a buffer, the oldest first.
    starved: Mutex<VecDeque<Starved<K, T>>>,
    /// Of those that have waited, how many are with the driver again.
    revived: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code of a user runs behind these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K, T> Shared<K, T> {
    pub(super) fn new(
        driver: Box<dyn Driver>,
        choice: DriverChoice,
        pool: Arc<Pool>,
        limit: usize,
        queue_limit: usize,
        drain: Duration,
    ) -> Self {
        Self {
            scheduler: Scheduler::new(),
            born: driver.now(),
            driver,
            choice,
            pool,
            timers: Timers::new(),
            limit,
            queue_limit,
            drain,
            leaked: AtomicUsize::new(0),
            handles: Mutex::new(Slab::new()),
            starved: Mutex::new(VecDeque::new()),
            revived: AtomicUsize::new(0),
        }
    }

    pub(crate) fn remember(&self, handle: Weak<Inner<K, T>>) -> usize {
        lock(&self.handles).insert(handle)
    }

    pub(crate) fn forget(&self, index: usize) {
        // Dropped without the lock.
        let gone = lock(&self.handles).try_remove(index);
        drop(gone);
    }

    /// All handles that exist now.
    pub(super) fn handles(&self) -> Vec<Arc<Inner<K, T>>> {
        lock(&self.handles).iter().filter_map(|(_, handle)| handle.upgrade()).collect()
    }

    /// Milliseconds since the port was made.
    pub(crate) fn age(&self) -> u32 {
        u32::try_from(self.driver.now().saturating_duration_since(self.born).as_millis())
            .unwrap_or(u32::MAX)
    }

    pub(crate) fn rouse_if(&self, rouse: bool) {
        if rouse {
            self.driver.wake();
        }
    }

    /// A receive waits for a buffer from now on; one that was revived in vain keeps its place.
    pub(crate) fn starve(&self, receive: Starved<K, T>, again: bool) {
        {
            let mut starved = lock(&self.starved);
            if again {
                starved.push_front(receive);
            } else {
                self.pool.count_wait();
                starved.push_back(receive);
            }
            self.pool.set_starving(true);
        }
        // A buffer may have come back before anybody was told to say so.
        if self.pool.available() > 0 {
            self.rouse_if(self.scheduler.rouse());
        }
    }

    /// A starved receive goes to the driver; it may take one of the buffers that are there.
    pub(crate) fn reviving_one(&self) {
        self.revived.fetch_add(1, Ordering::Relaxed);
    }

    /// ... and has taken one, or not.
    pub(crate) fn revived_one(&self) {
        self.revived.fetch_sub(1, Ordering::Relaxed);
    }

    /// A receive that was starved is cancelled. False if it is being started again at this moment.
    pub(crate) fn unstarve(&self, op: NonNull<Header>) -> bool {
        let mut starved = lock(&self.starved);
        let at = starved.iter().position(|one| one.op == op);
        // Dropped without the lock: it holds a reference to its handle.
        let gone = at.and_then(|at| starved.remove(at));
        drop(starved);
        gone.is_some()
    }

    /// The first receive that waits for a buffer, if there is one left for it. Every starved receive has something to read, so those
    /// that were revived come back soon, and this is asked again then.
    pub(super) fn next_starved(&self) -> Option<Starved<K, T>> {
        let mut starved = lock(&self.starved);
        if starved.is_empty() {
            self.pool.set_starving(false);
            return None;
        }
        if self.revived.load(Ordering::Relaxed) >= self.pool.available() {
            return None;
        }
        starved.pop_front()
    }

    pub(super) fn starving(&self) -> usize {
        lock(&self.starved).len()
    }
}

impl<K: Send + Sync + 'static, T: Send + 'static> Shared<K, T> {
    /// A buffer that comes back while a receive waits wakes the sleeper, who starts that receive again.
    pub(super) fn watch_pool(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        self.pool.on_return(move || {
            if let Some(shared) = weak.upgrade() {
                shared.rouse_if(shared.scheduler.rouse());
            }
        });
    }
}

pub(super) fn associate<K: Send + Sync + 'static, T: Send + 'static, S: Source>(
    shared: &Arc<Shared<K, T>>,
    source: S,
    key: K,
) -> Result<Handle<K, T>, NotAssociated<S, K>> {
    let role: Role = S::ROLE;
    Handle::associate(shared, source.into_socket().0, role, key).map_err(|(error, socket, key)| {
        // The very socket that `into_socket` made, so it turns back.
        let source = S::from_socket(sealed::Opaque(socket))
            .unwrap_or_else(|| unreachable!("a socket keeps its kind"));
        NotAssociated { error, source, key }
    })
}

impl<K, T> Shared<K, T> {
    pub(super) fn leaked(&self) -> usize {
        self.leaked.load(Ordering::Relaxed)
    }
}
