//! The buffers that a ring lends to what it receives: a *provided-buffer ring*, which the kernel takes from at its head and this program
//! gives back to at its tail.

use std::{
    alloc::{Layout, alloc_zeroed, handle_alloc_error},
    io, slice,
    sync::atomic::{AtomicU16, Ordering::Release},
};

use io_uring::{IoUring, types::BufRingEntry};

/// Buffers in a ring, where nothing else is said. The number is always a power of two.
pub const COUNT: u16 = 1024;
/// The number of the ring's only group of buffers.
pub const GROUP: u16 = 0;
/// The kernel wants its part of the memory to begin on a page.
const PAGE: usize = 4096;

/// The buffers of one ring. They are never freed: the kernel may write to them for as long as the ring is there.
#[derive(Debug)]
pub struct Buffers {
    entries: *mut BufRingEntry,
    memory: *mut u8,
    count: u16,
    size: usize,
    tail: u16,
    /// How many the kernel has.
    left: u16,
}

impl Buffers {
    /// Hands all buffers to the ring. `flags` as for `IORING_REGISTER_PBUF_RING`.
    pub fn new(ring: &IoUring, count: u16, size: usize, flags: u16) -> io::Result<Self> {
        let entries = pages(usize::from(count) * size_of::<BufRingEntry>()).cast();
        let memory = pages(usize::from(count) * size);
        // SAFETY: the memory is there, as long as it is said to be, begins on a page, and is never freed.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(entries as u64, count, GROUP, flags)?;
        }
        let mut buffers = Self { entries, memory, count, size, tail: 0, left: 0 };
        (0..count).for_each(|buffer| buffers.give_back(buffer));
        Ok(buffers)
    }

    /// What is in one that the kernel has filled so far.
    pub fn bytes(&self, buffer: u16, from: usize, length: usize) -> &[u8] {
        debug_assert!(from + length <= self.size);
        // SAFETY: within the memory, which was zeroed at first, and not the kernel's until it is given back.
        unsafe {
            let begin = self.memory.add(usize::from(buffer) * self.size + from);
            slice::from_raw_parts(begin, length)
        }
    }

    /// Notes that the kernel has taken one.
    pub fn take(&mut self) {
        self.left -= 1;
    }

    /// Whether the kernel has any.
    pub fn any(&self) -> bool {
        self.left > 0
    }

    /// Gives one back to the kernel.
    pub fn give_back(&mut self, buffer: u16) {
        // SAFETY: the place is within the entries, and the kernel does not look at it before the tail is behind it. Only this thread
        // writes. No reference covers the tail, which lies in an unused field of the first entry.
        unsafe {
            let entry = self.entries.add(usize::from(self.tail % self.count));
            (*entry).set_addr(self.memory.add(usize::from(buffer) * self.size) as u64);
            (*entry).set_len(self.size as u32);
            (*entry).set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut())
                .store(self.tail, Release);
        }
        self.left += 1;
    }
}

/// Zeroed memory that begins on a page.
fn pages(bytes: usize) -> *mut u8 {
    let Ok(layout) = Layout::from_size_align(bytes.next_multiple_of(PAGE), PAGE) else {
        panic!("{bytes} bytes of buffers are more than there are addresses")
    };
    // SAFETY: not of size 0.
    let memory = unsafe { alloc_zeroed(layout) };
    if memory.is_null() {
        handle_alloc_error(layout)
    }
    memory
}
