//! A provided-buffer ring: buffers of the pool lie with the kernel, and it takes one when data arrives.
//!
//! Since Linux 5.19. Reference: `io_uring_register(2)`, IORING_REGISTER_PBUF_RING.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{
            AtomicU16, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use io_uring::types::BufRingEntry;

use super::ring::Ring;
use crate::{buffer::Pool, sys::memory::Region};

/// The one buffer group of a ring.
pub(super) const GROUP: u16 = 0;

/// Places in the ring; the pool's reserve is never more.
const ENTRIES: u16 = 128;

pub(super) struct BufferRing {
    /// The entries, shared with the kernel; `resv` of the first is the tail.
    memory: Region,
    tail: Mutex<u16>,
    /// Buffers that lie in the ring, by what has been noted. More are put in behind the lock of the tail only.
    ready: AtomicUsize,
    /// Those that the kernel has taken out, and nobody has noted yet: the reaper's.
    taken: AtomicUsize,
    most: usize,
}

impl BufferRing {
    pub(super) fn new(ring: &Ring, pool: &Pool, most: usize) -> io::Result<Self> {
        let memory = Region::reserve(usize::from(ENTRIES) * size_of::<BufRingEntry>())?;
        // SAFETY: the memory is page-aligned, zeroed, as long as `ENTRIES` entries, and unmapped only after the ring is closed
        // (the driver's fields are dropped in order, the ring first).
        unsafe {
            ring.submitter().register_buf_ring_with_flags(memory.at(0) as u64, ENTRIES, GROUP, 0)?
        };
        let most = most.min(usize::from(ENTRIES));
        let [ready, taken] = [const { AtomicUsize::new(0) }; 2];
        let this = Self { memory, tail: Mutex::new(0), ready, taken, most };
        this.refill(pool);
        Ok(this)
    }

    /// How many lie there now.
    pub(super) fn ready(&self) -> usize {
        self.ready.load(Relaxed)
    }

    /// The kernel has taken a buffer out. For the reaper, who [notes](BufferRing::note_taken) that later.
    pub(super) fn taken(&self) {
        self.taken.store(self.taken.load(Relaxed) + 1, Relaxed);
    }

    /// Notes what was taken since the last time, and puts others in for them.
    pub(super) fn note_taken(&self, pool: &Pool) {
        let taken = self.taken.load(Relaxed);
        if taken > 0 {
            self.taken.store(0, Relaxed);
            self.ready.fetch_sub(taken, Release);
            pool.note_taken(taken);
            self.refill(pool);
        }
    }

    /// Puts buffers in, as long as there is room and the pool has some, if no more than half of them are left. True if any lie there now.
    pub(super) fn refill(&self, pool: &Pool) -> bool {
        if self.ready() > self.most / 2 {
            return true;
        }
        crate::pause::here();
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        // What was taken has been read.
        let room = self.most.saturating_sub(self.ready.load(Acquire));
        let count = pool.take_ready(room, |slot, address, size| {
            let index = usize::from(*tail & (ENTRIES - 1));
            let entry = self.memory.at(index * size_of::<BufRingEntry>()).cast::<BufRingEntry>();
            // SAFETY: inside the ring's memory, in an entry that the kernel has consumed (at most `most` lie before the tail), and
            // the setters leave the tail, which shares the first entry, alone. The lock makes this the only writer.
            unsafe {
                (*entry).set_addr(address as u64);
                (*entry).set_len(size as u32);
                (*entry).set_bid(slot);
            }
            *tail = tail.wrapping_add(1);
        });
        if count > 0 {
            self.ready.fetch_add(count, Relaxed);
            // SAFETY: the tail's place in the first entry, aligned, in memory that is ours and written behind the lock only.
            let shared = unsafe {
                AtomicU16::from_ptr(BufRingEntry::tail(self.memory.at(0).cast()).cast_mut())
            };
            // The entries before the tail: the kernel reads it with acquire.
            shared.store(*tail, Release);
        }
        self.ready() > 0
    }
}
