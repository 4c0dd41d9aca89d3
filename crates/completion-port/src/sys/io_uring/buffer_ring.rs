//! A provided-buffer ring: buffers of the pool lie with the kernel, and it takes one when data arrives.
//!
//! Since Linux 5.19. Reference: `io_uring_register(2)`, IORING_REGISTER_PBUF_RING.

use std::{
    io,
    sync::atomic::{AtomicU16, Ordering},
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
    tail: u16,
    /// Buffers that lie in the ring now.
    ready: usize,
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
        let mut this = Self { memory, tail: 0, ready: 0, most: most.min(usize::from(ENTRIES)) };
        this.refill(pool);
        Ok(this)
    }

    /// How many lie there now.
    pub(super) fn ready(&self) -> usize {
        self.ready
    }

    /// The kernel has taken a buffer out.
    pub(super) fn taken(&mut self) {
        self.ready -= 1;
    }

    /// Puts buffers in as long as there is room and the pool has some. True if any lie there now.
    pub(super) fn refill(&mut self, pool: &Pool) -> bool {
        let before = self.tail;
        while self.ready < self.most {
            let Some((slot, address, size)) = pool.take_ready() else { break };
            let index = usize::from(self.tail & (ENTRIES - 1));
            let entry = self.memory.at(index * size_of::<BufRingEntry>()).cast::<BufRingEntry>();
            // SAFETY: inside the ring's memory, in an entry that the kernel has consumed (at most `most` lie before the tail), and
            // the setters leave the tail, which shares the first entry, alone.
            unsafe {
                (*entry).set_addr(address as u64);
                (*entry).set_len(size as u32);
                (*entry).set_bid(slot);
            }
            self.tail = self.tail.wrapping_add(1);
            self.ready += 1;
        }
        if self.tail != before {
            // SAFETY: the tail's place in the first entry, aligned, in memory that is ours and written by nobody else.
            let tail = unsafe {
                AtomicU16::from_ptr(BufRingEntry::tail(self.memory.at(0).cast()).cast_mut())
            };
            // The entries before the tail: the kernel reads it with acquire.
            tail.store(self.tail, Ordering::Release);
        }
        self.ready > 0
    }
}
