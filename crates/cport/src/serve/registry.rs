//! The open connections, so that a stop reaches each of them.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Parts with a lock each, so that workers that accept at once seldom meet.
const SHARDS: usize = 8;

/// Where a connection stands in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u32);

/// Something for each open connection: here a clone of its handle, 8 bytes a connection.
///
/// It is touched when a connection comes and when it goes, never for a message.
pub struct Registry<V> {
    /// The parts; slot `n` is in part `n % SHARDS`.
    shards: [Mutex<Shard<V>>; SHARDS],
    /// The part that the next one goes to.
    next: AtomicUsize,
}

/// Not a slab, which would take 16 bytes.
struct Shard<V> {
    /// A slot that is free, or reserved, has nothing.
    entries: Vec<Option<V>>,
    /// Those that are free, but for all beyond the end of the entries.
    free: Vec<Slot>,
}

impl<V: Clone> Registry<V> {
    /// An empty one.
    pub fn new() -> Self {
        let shard = |_| Mutex::new(Shard { entries: Vec::new(), free: Vec::new() });
        Self { shards: std::array::from_fn(shard), next: AtomicUsize::new(0) }
    }

    /// A slot for a connection that is about to be. `None`: four thousand million are there already.
    ///
    /// The slot comes first because the connection's key, which is never changed, names it.
    pub fn reserve(&self) -> Option<Slot> {
        let n = self.next.fetch_add(1, Relaxed) % SHARDS;
        let mut shard = self.shard(n);
        if let Some(slot) = shard.free.pop() {
            return Some(slot);
        }
        let slot = u32::try_from(shard.entries.len().checked_mul(SHARDS)? + n).ok()?;
        shard.entries.push(None);
        Some(Slot(slot))
    }

    /// Puts the connection into its slot.
    pub fn fill(&self, slot: Slot, value: V) {
        let (shard, entry) = Self::place(slot);
        if let Some(place) = self.shard(shard).entries.get_mut(entry) {
            *place = Some(value);
        }
    }

    /// Takes it out, once. The slot may then be another's.
    pub fn remove(&self, slot: Slot) {
        let (shard, entry) = Self::place(slot);
        let mut shard = self.shard(shard);
        let removed = shard.entries.get_mut(entry).and_then(Option::take);
        shard.free.push(slot);
        drop(shard);
        // Dropped here and not under the lock: this may close a socket.
        drop(removed);
    }

    /// Calls `visit` for each, without a lock held.
    pub fn each(&self, mut visit: impl FnMut(V)) {
        for shard in 0..self.shards.len() {
            let values: Vec<V> = self.shard(shard).entries.iter().flatten().cloned().collect();
            values.into_iter().for_each(&mut visit);
        }
    }

    /// The part and the place in it.
    fn place(slot: Slot) -> (usize, usize) {
        // A u32 fits a usize on every system that has sockets.
        let slot = slot.0 as usize;
        (slot % SHARDS, slot / SHARDS)
    }

    /// Locks one part. Nothing under the lock can panic halfway, so a poisoned one is whole.
    fn shard(&self, n: usize) -> MutexGuard<'_, Shard<V>> {
        self.shards[n].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_is_visited_no_more() {
        let registry = Registry::new();
        let slots: Vec<_> = (0..100).map(|_| registry.reserve().expect("room")).collect();
        for (n, slot) in slots.iter().enumerate() {
            registry.fill(*slot, n);
        }
        for slot in slots.iter().step_by(2) {
            registry.remove(*slot);
        }
        let mut left = Vec::new();
        registry.each(|n| left.push(n));
        left.sort_unstable();
        assert_eq!(left, (0..100).filter(|n| n % 2 == 1).collect::<Vec<_>>());
    }

    #[test]
    fn slots_are_used_again() {
        let registry = Registry::new();
        for _ in 0..10 * SHARDS {
            let slot = registry.reserve().expect("room");
            assert!((slot.0 as usize) < SHARDS);
            registry.fill(slot, ());
            registry.remove(slot);
        }
    }
}
