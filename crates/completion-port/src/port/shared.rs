//! What the port and its handles have in common. It lives as long as any of them.

use std::{
    collections::BTreeMap,
    ptr::NonNull,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Due, roll::Roll, scheduling::Scheduling};
use crate::{
    buffer::Pool,
    handle::{Aside, Besides, Handle, Inner, NotAssociated, Role, Source, sealed},
    operation::{Completion, Detail, Header},
    schedule::{Release, Waking, Workplace, timers::Timers},
    sys::{Drivers, Event, Taken, choose::DriverChoice},
};

pub(crate) struct Shared<K: 'static, T: 'static> {
    pub scheduler: Scheduling<Completion<K, T>>,
    pub drivers: Arc<Drivers>,
    pub choice: DriverChoice,
    pub pool: Arc<Pool>,
    pub timers: Timers<Due<K, T>>,
    /// The pool is to relax, and a timer is armed for it.
    pub(super) relaxing: AtomicBool,
    pub limit: usize,
    pub queue_limit: usize,
    pub drain: Duration,
    /// Operations that a close gave up on.
    pub leaked: AtomicUsize,
    /// On the drivers' coarse clock.
    born: u32,
    /// Every handle that exists, for a close and a snapshot.
    handles: Mutex<Roll<Weak<Inner<K, T>>>>,
    /// Accepts that wait for first data.
    pub beside: Besides,
    starved: Mutex<StarvedList<K, T>>,
    /// Operations that have had their turn.
    deferred: Mutex<Vec<Aside<K, T>>>,
    /// There may be some. Set and cleared behind that lock only.
    deferring: AtomicBool,
    /// What those who drove drivers had in hand, empty now, for its memory.
    hands: Mutex<Vec<Hand<K, T>>>,
    /// Of those that have waited for a buffer, how many are with the driver again.
    revived: AtomicUsize,
}

/// What a thread that drives has in hand: what the system or the drivers have reported, and the packets that came of it.
pub(super) struct Hand<K: 'static, T: 'static> {
    /// Of the system's own port, if that decides who runs.
    pub taken: Vec<Taken>,
    pub events: Vec<Event>,
    pub packets: Vec<Completion<K, T>>,
}

impl<K, T> Default for Hand<K, T> {
    fn default() -> Self {
        Self { taken: Vec::new(), events: Vec::new(), packets: Vec::new() }
    }
}

/// Room for what a busy driver brings at once.
const BATCH: usize = 32;
/// Room for more than that is kept no longer than it is needed: 200 KB.
const MOST: usize = 1024;

/// Receives that wait for a buffer, by ticket: the oldest first.
struct StarvedList<K: 'static, T: 'static> {
    waiting: BTreeMap<u64, Aside<K, T>>,
    last_ticket: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code of a user runs behind these locks.
    crate::pause::here();
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K, T> Shared<K, T> {
    pub(super) fn new(
        drivers: Drivers,
        choice: DriverChoice,
        pool: Arc<Pool>,
        limit: usize,
        policies: (Waking, Release),
        queue_limit: usize,
        drain: Duration,
    ) -> Self {
        let drivers = Arc::new(drivers);
        Self {
            scheduler: Scheduling::new(&drivers, limit, policies),
            born: drivers.millis(),
            timers: Timers::new(drivers.now()),
            drivers,
            choice,
            pool,
            relaxing: AtomicBool::new(false),
            limit,
            queue_limit,
            drain,
            leaked: AtomicUsize::new(0),
            handles: Mutex::new(Roll::new()),
            beside: Besides::default(),
            starved: Mutex::new(StarvedList { waiting: BTreeMap::new(), last_ticket: 0 }),
            deferred: Mutex::new(Vec::new()),
            deferring: AtomicBool::new(false),
            hands: Mutex::new(Vec::new()),
            revived: AtomicUsize::new(0),
        }
    }

    /// Gives out a handle's index, its own while it lives.
    pub(crate) fn remember(&self, handle: Weak<Inner<K, T>>) -> u32 {
        lock(&self.handles).insert(handle)
    }

    pub(crate) fn forget(&self, index: u32) {
        // Dropped without the lock.
        let gone = lock(&self.handles).remove(index);
        drop(gone);
    }

    /// Empty.
    pub(super) fn hand(&self) -> Hand<K, T> {
        let kept = lock(&self.hands).pop();
        kept.unwrap_or_else(|| Hand {
            taken: Vec::new(),
            events: Vec::with_capacity(BATCH),
            packets: Vec::with_capacity(BATCH),
        })
    }

    /// For the next who drives. There is one for each who does at once, and no more; the memory of a burst is not kept.
    pub(super) fn put_back(&self, hand: Hand<K, T>) {
        debug_assert!(hand.taken.is_empty() && hand.events.is_empty() && hand.packets.is_empty());
        let most = hand.taken.capacity().max(hand.events.capacity()).max(hand.packets.capacity());
        if most <= MOST {
            lock(&self.hands).push(hand);
        }
    }

    /// When a wait of so long is over. A time beyond the clock's range is none.
    pub(crate) fn deadline(&self, timeout: Option<Duration>) -> Option<Instant> {
        timeout.and_then(|timeout| self.drivers.now().checked_add(timeout))
    }

    /// All handles that exist now.
    pub(crate) fn handles(&self) -> Vec<Arc<Inner<K, T>>> {
        lock(&self.handles).iter().filter_map(Weak::upgrade).collect()
    }

    /// Milliseconds since the port was made, to a tick of the system; they wrap after 49 days, so only differences mean something.
    pub(crate) fn age(&self) -> u32 {
        self.drivers.millis().wrapping_sub(self.born)
    }

    /// A receive waits for a buffer from now on. One that was revived in vain has its ticket, and so its place, already.
    pub(crate) fn starve(&self, receive: Aside<K, T>, detail: &mut Detail) {
        {
            let mut starved = lock(&self.starved);
            let ticket = detail.ticket().unwrap_or_else(|| {
                self.pool.count_wait();
                starved.last_ticket += 1;
                detail.set_ticket(starved.last_ticket);
                starved.last_ticket
            });
            starved.waiting.insert(ticket, receive);
            self.pool.set_starving(true);
        }
        // A buffer may have come back before anybody was told to say so.
        if self.pool.available() > 0 {
            self.scheduler.rouse();
        }
    }

    /// A starved receive goes to the driver; it may take one of the buffers that are there.
    pub(crate) fn reviving_one(&self) {
        self.revived.fetch_add(1, Ordering::Relaxed);
    }

    /// ... and has taken one, or not.
    pub(crate) fn revived_one(&self) {
        self.revived.fetch_sub(1, Ordering::Relaxed);
        // Whoever settles this may not be the one who looks for the next.
        if self.starving() > 0 {
            self.scheduler.rouse();
        }
    }

    /// A receive that was starved is cancelled. False if it is being started again at this moment.
    pub(crate) fn unstarve(&self, op: NonNull<Header>) -> bool {
        let mut starved = lock(&self.starved);
        let ticket =
            starved.waiting.iter().find(|(_, one)| one.op == op).map(|(ticket, _)| *ticket);
        // Dropped without the lock: it holds a reference to its handle.
        let gone = ticket.and_then(|ticket| starved.waiting.remove(&ticket));
        drop(starved);
        gone.is_some()
    }

    /// The first receive that waits for a buffer, if there is one left for it, and the driver that holds it unless the pool does. Every
    /// starved receive has something to read, so those that were revived come back soon, and this is asked again then.
    pub(super) fn next_starved(&self) -> Option<(Aside<K, T>, Option<usize>)> {
        // Whoever is roused when a buffer comes back finds this set, as in `take_deferred`.
        crate::pause::here();
        if !self.pool.is_starving() {
            return None;
        }
        let mut starved = lock(&self.starved);
        if starved.waiting.is_empty() {
            self.pool.set_starving(false);
            return None;
        }
        if self.revived.load(Ordering::Relaxed) >= self.pool.available() {
            return None;
        }
        let holder = if self.pool.has_free() { None } else { self.drivers.with_buffer() };
        starved.waiting.pop_first().map(|(_, receive)| (receive, holder))
    }

    /// Starts an operation, in the driver of the calling worker unless it is to be another one.
    ///
    /// # Safety
    ///
    /// As for [`Driver::start`](crate::sys::Driver::start); the lock of its direction is held.
    pub(crate) unsafe fn start(&self, op: NonNull<Header>, driver: Option<usize>) -> Option<Event> {
        let driver = driver.unwrap_or_else(|| self.scheduler.home());
        // SAFETY: the caller's: alive until its last event.
        unsafe { op.as_ref() }.driver.store(driver as u8, Ordering::Relaxed);
        // SAFETY: handed on.
        let event = unsafe { self.drivers.get(driver).start(op) };
        if event.is_none() && !self.scheduler.started(driver) {
            self.drivers.get(driver).hand_over();
        }
        event
    }

    /// Asks for the end of an operation.
    ///
    /// # Safety
    ///
    /// As for [`Driver::cancel`](crate::sys::Driver::cancel); the lock of its direction is held.
    pub(crate) unsafe fn cancel(&self, op: NonNull<Header>) -> Option<Event> {
        // SAFETY: the caller's: its last event has not been settled. Its driver was noted behind the lock that is held.
        let driver = unsafe { op.as_ref() }.driver.load(Ordering::Relaxed);
        // SAFETY: handed on.
        unsafe { self.drivers.get(driver as usize).cancel(op) }
    }

    /// An operation has had its turn, and goes on when the holder of the seat has looked at the others.
    pub(crate) fn defer(&self, operation: Aside<K, T>) {
        {
            let mut deferred = lock(&self.deferred);
            deferred.push(operation);
            self.deferring.store(true, Ordering::Relaxed);
        }
        self.scheduler.rouse();
    }

    /// A deferred operation is cancelled. False if it is being started again at this moment.
    pub(crate) fn undefer(&self, op: NonNull<Header>) -> bool {
        let mut deferred = lock(&self.deferred);
        let at = deferred.iter().position(|one| one.op == op);
        // Dropped without the lock: it holds a reference to its handle.
        let gone = at.map(|at| deferred.swap_remove(at));
        drop(deferred);
        gone.is_some()
    }

    pub(super) fn take_deferred(&self) -> Vec<Aside<K, T>> {
        // Whoever is roused for one finds this set: between the two is a lock of the scheduler's, or a nudge of the system's port.
        crate::pause::here();
        if !self.deferring.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut deferred = lock(&self.deferred);
        self.deferring.store(false, Ordering::Relaxed);
        std::mem::take(&mut deferred)
    }

    pub(super) fn starving(&self) -> usize {
        lock(&self.starved).waiting.len()
    }
}

impl<K: Send + Sync + 'static, T: Send + 'static> Workplace for Shared<K, T> {
    fn leave(&self, worker: usize) {
        self.scheduler.dismiss(worker);
    }

    fn block(&self, worker: usize) -> bool {
        self.scheduler.block(worker)
    }

    fn unblock(&self, worker: usize) {
        self.scheduler.unblock(worker);
    }
}

impl<K: Send + Sync + 'static, T: Send + 'static> Shared<K, T> {
    /// Threads that wait here are its workers from now on.
    pub(super) fn employ(self: &Arc<Self>) {
        let workplace: Weak<Self> = Arc::downgrade(self);
        self.scheduler.set_workplace(workplace);
        if let Scheduling::System(_) = self.scheduler {
            // Nobody looks at the timers who is not nudged: also for the first.
            self.timers.sleep();
        }
    }

    /// A buffer that comes back while a receive waits wakes the sleeper, who starts that receive again.
    pub(super) fn watch_pool(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        self.pool.on_return(move || {
            if let Some(shared) = weak.upgrade() {
                shared.scheduler.rouse();
            }
        });
    }
}

pub(super) fn associate<K: Send + Sync + 'static, T: Send + 'static, S: Source>(
    shared: &Arc<Shared<K, T>>,
    source: S,
    key: K,
) -> Result<Handle<K, T>, NotAssociated<S, K>> {
    let role: Role = source.role();
    let (socket, kept) = source.into_socket();
    match Handle::associate(shared, socket.0, role, key) {
        Ok(handle) => Ok(handle),
        Err((error, socket, key)) => {
            // The very socket that `into_socket` made, so it turns back.
            let source = S::from_socket(sealed::Opaque(socket), kept)
                .unwrap_or_else(|| unreachable!("a socket keeps its kind"));
            Err(NotAssociated { error, source, key })
        }
    }
}

impl<K, T> Shared<K, T> {
    pub(super) fn leaked(&self) -> usize {
        self.leaked.load(Ordering::Relaxed)
    }
}
