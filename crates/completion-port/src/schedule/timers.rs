//! What is to happen at a time: posted packets, and ends of operations that take too long. The *sleeper* knows the first time and looks then:
//! whoever sits in the first driver, or, where the system decides who runs, its alarm. Any thread that comes by fires what is due.
//!
//! A heap of times whose nodes have four children, beside an array of slots that know their place in it. Why that and no timing wheel: a
//! wheel knows the first time only to a tick, so its sleeper either wakes for nothing or looks through a slot that can hold a million; here
//! the first is at hand to the nanosecond, and nobody wakes before it is due. What is armed most, the same time from now as those before
//! it, goes to the end of the array and stays there. What is cancelled is mostly a leaf, which most nodes are, and the one that takes its
//! place seldom goes further. The worst case, to take out the first, is ten steps among a million. Beside each time lies the number of its
//! slot only, so that a node's four children share a line of the processor's cache or two.
//!
//! A timer takes 12 bytes in the heap, and a slot of 24 beside what it is for. Both arrays grow by pieces ([`Chunks`]), and are given
//! back when the last timer is gone. Each handle's timers are on a list, and the deadlines of its operations on another, in 8 bytes.
//!
//! A timer that comes again keeps its slot while its user's code runs: a cancel finds it there, and leaves word.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::chunks::Chunks;

/// How many children a node has.
const CHILDREN: usize = 4;
/// No slot.
const NONE: u32 = u32::MAX;
/// In a slot, for its place: nobody's, or its timer fires at this moment, and has been cancelled meanwhile.
const VACANT: u32 = u32::MAX;
const FIRING: u32 = u32::MAX - 1;
const REVOKED: u32 = u32::MAX - 2;
/// Room for more than that is given back when it is empty.
const KEPT: usize = 1024;
/// As a time: never.
const NEVER: u64 = u64::MAX;

pub(crate) struct Timers<W> {
    /// Times are nanoseconds since then.
    base: Instant,
    /// Until when the sleeper sleeps, if nobody wakes it; 0 while it is awake, which an alarm never is. Raised behind the lock only.
    asleep_until: AtomicU64,
    /// There may be some. Set and cleared behind the lock only.
    any: AtomicBool,
    armed: Mutex<Armed<W>>,
}

struct Armed<W> {
    heap: Chunks<Node>,
    slots: Chunks<Slot<W>>,
    /// The first vacant slot; each leads to the next.
    vacant: u32,
    /// The first of each list.
    heads: Vec<u32>,
    serial: u64,
    /// Slots that are not vacant.
    taken: usize,
    /// Those of them that post packets.
    posting: usize,
}

/// Without gaps: the eight bytes of the time need not lie on a multiple of eight.
#[derive(Clone, Copy)]
#[repr(C, packed(4))]
struct Node {
    at: u64,
    slot: u32,
}

struct Slot<W> {
    /// Nothing while it fires.
    what: Option<W>,
    /// Of the timer that is in it.
    serial: u64,
    /// In the heap, or one of the above.
    place: u32,
    list: u32,
    /// Its neighbours there. Of a vacant slot, the next vacant one.
    next: u32,
    previous: u32,
}

const _: () = assert!(size_of::<Node>() == 12 && size_of::<Slot<&[u8]>>() == 16 + 24);

/// Names a timer; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TimerKey {
    slot: u32,
    serial: u64,
}

/// Whose a timer is, and on which of its lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Nobody,
    /// It posts packets.
    Posting(u32),
    /// It ends an operation that has taken too long.
    Deadline(u32),
}

/// What a cancel has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Disarmed<W> {
    /// It is the caller's.
    Taken(W),
    /// Its packet is being made: whoever makes it finds that there are to be no more.
    Firing,
}

/// A timer that is due.
pub(crate) struct Fired<W> {
    pub key: TimerKey,
    /// When it was to be.
    pub at: Instant,
    pub what: W,
}

impl<W> Timers<W> {
    /// No time is before `base`.
    pub(crate) fn new(base: Instant) -> Self {
        let armed = Armed {
            heap: Chunks::new(),
            slots: Chunks::new(),
            vacant: NONE,
            heads: Vec::new(),
            serial: 0,
            taken: 0,
            posting: 0,
        };
        Self {
            base,
            asleep_until: AtomicU64::new(0),
            any: AtomicBool::new(false),
            armed: Mutex::new(armed),
        }
    }

    fn armed(&self) -> MutexGuard<'_, Armed<W>> {
        // No code of a user runs behind this lock, and none is taken behind it.
        crate::pause::here();
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A time that is none is after all others, and so is one in 584 years.
    fn nanoseconds(&self, at: Option<Instant>) -> u64 {
        let since = at.map(|at| at.saturating_duration_since(self.base).as_nanos());
        since.and_then(|since| u64::try_from(since).ok()).unwrap_or(NEVER)
    }

    fn instant(&self, at: u64) -> Instant {
        self.base + Duration::from_nanos(at)
    }

    /// Arms one; `at` is `None` for never. True if somebody sleeps for longer than to its time, and must look again.
    pub(crate) fn arm(&self, of: Of, at: Option<Instant>, what: W) -> (TimerKey, bool) {
        let at = self.nanoseconds(at);
        let mut armed = self.armed();
        self.any.store(true, Ordering::Relaxed);
        let slot = armed.occupy(of, what);
        armed.enter(slot, at);
        let key = armed.key(slot);
        (key, self.is_too_late(at))
    }

    /// To be asked behind the lock, so that the sleeper has either seen the time or is to be told of it.
    fn is_too_late(&self, at: u64) -> bool {
        at < self.asleep_until.load(Ordering::Relaxed)
    }

    /// Cancels one, if it is that owner's.
    pub(crate) fn disarm(&self, of: Of, key: TimerKey) -> Option<Disarmed<W>> {
        let mut armed = self.armed();
        let slot = armed.slots.get(key.slot as usize)?;
        // A vacant one has the number of its last, whose owner may ask for it once more.
        if slot.list != of.list() || slot.serial != key.serial {
            return None;
        }
        armed.disarm(key.slot)
    }

    /// Cancels the one of those that is meant: the caller's list is short.
    pub(crate) fn disarm_one(&self, of: Of, is_meant: impl Fn(&W) -> bool) -> Option<Disarmed<W>> {
        let mut armed = self.armed();
        let slot = armed.find(of, is_meant)?;
        armed.disarm(slot)
    }

    /// Moves the one of those that is meant to another time. False if there is none. The second as [`Timers::arm`] tells it.
    pub(crate) fn move_one(
        &self,
        of: Of,
        at: Option<Instant>,
        is_meant: impl Fn(&W) -> bool,
    ) -> (bool, bool) {
        let at = self.nanoseconds(at);
        let mut armed = self.armed();
        let Some(slot) = armed.find(of, is_meant) else { return (false, false) };
        let place = armed.slots[slot as usize].place;
        armed.leave(place);
        armed.enter(slot, at);
        (true, self.is_too_late(at))
    }

    /// Cancels all of those. Tells how many that were, those that fire at this moment included.
    pub(crate) fn disarm_all(&self, of: Of) -> (Vec<W>, usize) {
        let (mut all, mut count) = (Vec::new(), 0);
        let mut armed = self.armed();
        let mut next = armed.heads.get(of.list() as usize).copied().unwrap_or(NONE);
        while next != NONE {
            let slot = next;
            // The last one may take all memory along, but then it leads nowhere.
            next = armed.slots[slot as usize].next;
            match armed.disarm(slot) {
                Some(Disarmed::Taken(what)) => all.push(what),
                Some(Disarmed::Firing) => {}
                None => continue,
            }
            count += 1;
        }
        (all, count)
    }

    /// When the first is due.
    #[cfg(test)]
    pub(crate) fn first(&self) -> Option<Instant> {
        let first = self.armed().first();
        (first != NEVER).then(|| self.instant(first))
    }

    /// The same for who is about to sleep until then: it is to be woken for one that is before. Tells also whether it matters when exactly:
    /// somebody's timer it is, and not only the port's own.
    pub(crate) fn sleep(&self) -> (Option<Instant>, bool) {
        let armed = self.armed();
        let first = armed.first();
        // None fires either, which would come back behind this.
        self.any.store(armed.taken > 0, Ordering::Relaxed);
        self.asleep_until.store(first, Ordering::Relaxed);
        let owned = |node: &Node| armed.slots[node.slot as usize].list != NONE;
        let at = (first != NEVER).then(|| self.instant(first));
        (at, at.is_some() && armed.heap.get(0).is_some_and(owned))
    }

    /// The sleeper is awake: it asks again before it sleeps.
    pub(crate) fn wake(&self) {
        self.asleep_until.store(0, Ordering::Relaxed);
    }

    /// Whether there may be some. One that has just been armed may be missed; but not by who has been told to look for it.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Takes one that is due. One that `comes_again` is then [told](Timers::fired) what becomes of it.
    pub(crate) fn due(&self, now: Instant, comes_again: impl Fn(&W) -> bool) -> Option<Fired<W>> {
        let now = self.nanoseconds(Some(now));
        let mut armed = self.armed();
        let Node { at, slot } = *armed.heap.get(0)?;
        if at > now || at == NEVER {
            return None;
        }
        armed.leave(0);
        let key = armed.key(slot);
        let what = armed.slots[slot as usize].what.take()?;
        if comes_again(&what) {
            armed.slots[slot as usize].place = FIRING;
        } else {
            armed.vacate(slot);
        }
        Some(Fired { key, at: self.instant(at), what })
    }

    /// One that has been due is so again at that time: true as for [`arm`](Self::arm), since who fires need not be who sleeps next. Or it has
    /// been cancelled meanwhile, and is the caller's.
    pub(crate) fn fired(&self, key: TimerKey, at: Option<Instant>, what: W) -> Result<bool, W> {
        let at = self.nanoseconds(at);
        let mut armed = self.armed();
        debug_assert_eq!(armed.key(key.slot), key, "it has its slot until it is told");
        if armed.slots[key.slot as usize].place == REVOKED {
            armed.vacate(key.slot);
            return Err(what);
        }
        armed.slots[key.slot as usize].what = Some(what);
        armed.enter(key.slot, at);
        Ok(self.is_too_late(at))
    }

    /// How many are there that end operations.
    #[cfg(test)]
    pub(crate) fn armed_deadlines(&self) -> usize {
        let armed = self.armed();
        let is_deadline = |slot: &Slot<W>| slot.list != NONE && slot.list & 1 == 1;
        (0..armed.heap.len())
            .filter(|place| is_deadline(&armed.slots[armed.heap[*place].slot as usize]))
            .count()
    }

    /// How many post packets.
    pub(crate) fn posting(&self) -> usize {
        self.armed().posting
    }
}

impl Of {
    /// The number of the list.
    fn list(self) -> u32 {
        match self {
            Of::Nobody => NONE,
            // Of two thousand million handles, the memory is full.
            Of::Posting(owner) => owner << 1,
            Of::Deadline(owner) => owner << 1 | 1,
        }
    }
}

/// Whether those on a list post packets.
fn posts(list: u32) -> bool {
    list != NONE && list & 1 == 0
}

impl<W> Armed<W> {
    fn key(&self, slot: u32) -> TimerKey {
        TimerKey { slot, serial: self.slots[slot as usize].serial }
    }

    fn first(&self) -> u64 {
        self.heap.get(0).map_or(NEVER, |first| first.at)
    }

    /// Takes a slot, on that list, not in the heap yet.
    fn occupy(&mut self, of: Of, what: W) -> u32 {
        self.serial += 1;
        let number = if self.vacant == NONE { self.append() } else { self.vacant };
        self.vacant = self.slots[number as usize].next;
        let list = of.list();
        let next = match self.head(list) {
            Some(head) => std::mem::replace(head, number),
            None => NONE,
        };
        if next != NONE {
            self.slots[next as usize].previous = number;
        }
        self.taken += 1;
        self.posting += usize::from(posts(list));
        let serial = self.serial;
        self.slots[number as usize] =
            Slot { what: Some(what), serial, place: FIRING, list, next, previous: NONE };
        number
    }

    /// One more vacant slot.
    fn append(&mut self) -> u32 {
        // In so many there are two hundred gigabytes.
        let number = u32::try_from(self.slots.len())
            .ok()
            .filter(|number| *number < REVOKED)
            .unwrap_or_else(|| panic!("a port has at most {REVOKED} timers"));
        let (list, next, previous) = (NONE, NONE, NONE);
        self.slots.push(Slot { what: None, serial: 0, place: VACANT, list, next, previous });
        number
    }

    /// The first of a list.
    fn head(&mut self, list: u32) -> Option<&mut u32> {
        if list == NONE {
            return None;
        }
        let list = list as usize;
        if list >= self.heads.len() {
            // Handles have numbers without gaps, and the next one has the next.
            self.heads.reserve_exact((list / 16).max(16));
            self.heads.resize(list + 1, NONE);
        }
        Some(&mut self.heads[list])
    }

    /// Gives a slot back that is not in the heap, and has nothing in it any more.
    fn vacate(&mut self, number: u32) {
        let Slot { list, next, previous, .. } = self.slots[number as usize];
        if next != NONE {
            self.slots[next as usize].previous = previous;
        }
        if previous != NONE {
            self.slots[previous as usize].next = next;
        } else if let Some(head) = self.head(list) {
            *head = next;
        }
        let slot = &mut self.slots[number as usize];
        slot.place = VACANT;
        slot.next = self.vacant;
        self.vacant = number;
        self.taken -= 1;
        self.posting -= usize::from(posts(list));
        if self.taken == 0 && self.slots.len() > KEPT {
            // A burst is over. Serial numbers go on, so no key of it names anything.
            (self.heap, self.slots, self.heads) = (Chunks::new(), Chunks::new(), Vec::new());
            self.vacant = NONE;
        }
    }

    /// The one of a list that is meant.
    fn find(&self, of: Of, is_meant: impl Fn(&W) -> bool) -> Option<u32> {
        let mut number = *self.heads.get(of.list() as usize)?;
        while number != NONE {
            let slot = &self.slots[number as usize];
            if slot.what.as_ref().is_some_and(&is_meant) {
                return Some(number);
            }
            number = slot.next;
        }
        None
    }

    /// Takes one out, or leaves word that it is to be. Nothing if that was done before.
    fn disarm(&mut self, number: u32) -> Option<Disarmed<W>> {
        let slot = &mut self.slots[number as usize];
        match slot.place {
            VACANT | REVOKED => None,
            FIRING => {
                slot.place = REVOKED;
                Some(Disarmed::Firing)
            }
            place => {
                let what = slot.what.take()?;
                self.leave(place);
                self.vacate(number);
                Some(Disarmed::Taken(what))
            }
        }
    }

    /// A slot comes into the heap.
    fn enter(&mut self, slot: u32, at: u64) {
        self.heap.push(Node { at, slot });
        self.rise(self.heap.len() - 1);
    }

    /// What is at that place of the heap goes out of it.
    fn leave(&mut self, place: u32) {
        let place = place as usize;
        let Some(last) = self.heap.pop() else { return };
        if place == self.heap.len() {
            return;
        }
        self.heap[place] = last;
        if self.rise(place) == place {
            self.sink(place);
        }
    }

    fn put(&mut self, place: usize, node: Node) {
        self.heap[place] = node;
        self.slots[node.slot as usize].place = place as u32;
    }

    /// Goes up past those that are later. Tells where it is then.
    fn rise(&mut self, mut place: usize) -> usize {
        let node = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            if self.heap[parent].at <= node.at {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, node);
        place
    }

    /// Goes down past those that are earlier.
    fn sink(&mut self, mut place: usize) {
        let node = self.heap[place];
        loop {
            let first = place * CHILDREN + 1;
            let children = first..(first + CHILDREN).min(self.heap.len());
            let Some(child) = children.min_by_key(|child| self.heap[*child].at) else { break };
            if node.at <= self.heap[child].at {
                break;
            }
            self.put(place, self.heap[child]);
            place = child;
        }
        self.put(place, node);
    }
}

#[cfg(all(test, not(completion_port_loom)))]
#[path = "timers_tests.rs"]
mod tests;
