//! The pool that lends a buffer when data arrives, so that an idle connection pins none.
//!
//! One reserved region of memory, cut into buffers of equal size. A buffer that comes back is kept *warm* (resident) while few
//! are; the others' pages go back to the system at once, so that memory falls after a burst. Where such a buffer is wanted again, the
//! pool keeps more of them warm: thousands of busy connections would fetch and give back a page for each message otherwise. That
//! wears off within seconds, if the port [asks](Pool::relax) now and then. What is lent is bounded; who asks beyond that waits (the port
//! keeps the order), and the pool tells the port when something has come back.

use std::{
    fmt, io, slice,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use super::Buffer;
use crate::sys::memory::Region;

/// How many free buffers stay resident in any case: enough for the burst of a busy moment, 2 MiB with the default size.
const WARM: usize = 128;
/// Room before each buffer that a driver holds ready, for what the kernel has to say of the bytes.
pub(crate) const HEAD: usize = CACHE_LINE;
/// Of most processors; elsewhere the buffers are spread a little less well.
const CACHE_LINE: usize = 64;

/// The size and number of the buffers that a port lends.
///
/// ```
/// use completion_port::{CompletionPort, PoolOptions};
///
/// let port = CompletionPort::<(), ()>::builder().pool(PoolOptions::new().buffer_size(4096).limit(2)).build::<(), ()>()?;
/// let (a, b) = (port.lend(), port.lend());
/// assert!(a.is_some() && b.is_some() && port.lend().is_none());
/// drop(a);
/// assert_eq!(port.lend().map(|buffer| buffer.capacity()), Some(4096));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct PoolOptions {
    buffer_size: usize,
    limit: usize,
    guard: bool,
}

impl PoolOptions {
    /// 16 KiB a buffer and at most 16,384 of them lent at a time (256 MiB; the room for it is reserved, and not touched before it is needed).
    #[must_use]
    pub const fn new() -> Self {
        Self { buffer_size: 16 * 1024, limit: 16 * 1024, guard: false }
    }

    /// Bytes in each buffer; rounded up to whole pages.
    #[must_use]
    pub const fn buffer_size(mut self, bytes: usize) -> Self {
        self.buffer_size = bytes;
        self
    }

    /// How many buffers may be out at a time: 1 to 32,768. Those that the driver keeps ready for the kernel count too (at most an
    /// eighth of the limit, and none where it is below 8).
    #[must_use]
    pub const fn limit(mut self, buffers: usize) -> Self {
        self.limit = buffers;
        self
    }

    /// Makes every buffer inaccessible while it is not lent, so that a write after it was given back is a fault (or `EFAULT`, if
    /// the kernel does it) instead of a corrupted stranger. For tests: it costs two system calls a buffer.
    #[must_use]
    pub const fn guard(mut self, on: bool) -> Self {
        self.guard = on;
        self
    }
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What the pool holds, part of a [`Snapshot`](crate::Snapshot).
///
/// ```
/// let port = completion_port::CompletionPort::<(), ()>::new()?;
/// let lent = port.lend();
/// assert_eq!(port.snapshot().pool.lent, 1);
/// # drop(lent);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolSnapshot {
    /// Buffers out now, in the user's hands or filled and not yet taken.
    pub lent: usize,
    /// Buffers that the driver has given to the kernel ahead of need, not in use by any connection.
    pub ready: usize,
    /// How many may be out at a time.
    pub limit: usize,
    /// Bytes in each.
    pub buffer_size: usize,
    /// The most that were out at once.
    pub peak: usize,
    /// How often a receive has had to wait for a buffer.
    pub waited: u64,
}

pub(crate) struct Pool {
    region: Region,
    size: usize,
    /// From one buffer's pages to the next one's: a page more than a buffer is long.
    stride: usize,
    limit: usize,
    guard: bool,
    free: Mutex<Free>,
    /// Of those that are out, how many the drivers hold ready for the kernel. More are taken behind the lock only.
    ready: AtomicUsize,
    /// A receive waits for a buffer: whoever gives one back calls `returned`.
    starving: AtomicBool,
    /// More free buffers than [`WARM`] may be resident.
    swollen: AtomicBool,
    waited: AtomicU64,
    returned: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

struct Free {
    /// Resident, the last one given back on top: its pages are the hottest.
    warm: Vec<u16>,
    /// So many stay resident now.
    keep: usize,
    /// Given back to the system.
    cold: Vec<u16>,
    /// From here on never used.
    untouched: usize,
    /// The most that were lent, at the moments when one came back.
    peak: usize,
}

impl Free {
    fn out(&self) -> usize {
        self.untouched - self.warm.len() - self.cold.len()
    }
}

#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // the io_uring driver takes buffers ahead of need
impl Pool {
    pub(crate) fn new(options: PoolOptions) -> io::Result<Arc<Self>> {
        if !(1..=32_768).contains(&options.limit) || options.buffer_size == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the pool's limit is 1 to 32,768 buffers, of at least one byte each",
            ));
        }
        let page = crate::sys::memory::page_size();
        let size = options.buffer_size.div_ceil(page).saturating_mul(page);
        let stride = size.saturating_add(page);
        let total = stride.checked_mul(options.limit).filter(|_| size <= i32::MAX as usize);
        let total = total.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the pool's buffers are too large")
        })?;
        let region = Region::reserve(total).map_err(|e| {
            io::Error::new(
                e.kind(),
                format!("cannot reserve {total} bytes of address space for the buffer pool: {e}"),
            )
        })?;
        if options.guard {
            region.protect(0, total);
        }
        Ok(Arc::new(Self {
            region,
            size,
            stride,
            limit: options.limit,
            guard: options.guard,
            free: Mutex::new(Free {
                warm: Vec::new(),
                keep: WARM,
                cold: Vec::new(),
                untouched: 0,
                peak: 0,
            }),
            ready: AtomicUsize::new(0),
            starving: AtomicBool::new(false),
            swollen: AtomicBool::new(false),
            waited: AtomicU64::new(0),
            returned: OnceLock::new(),
        }))
    }

    /// `hook` is called, from whichever thread gives a buffer back, while somebody waits for one.
    pub(crate) fn on_return(&self, hook: impl Fn() + Send + Sync + 'static) {
        let _ = self.returned.set(Box::new(hook));
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        crate::pause::here();
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are in use, and not only held ready.
    fn lent(&self, free: &Free) -> usize {
        // One that the kernel has taken may be back before that is noted.
        free.out().saturating_sub(self.ready.load(Ordering::Relaxed))
    }

    pub(crate) fn buffer_size(&self) -> usize {
        self.size
    }

    /// Where the pages of a buffer begin.
    fn pages_of(&self, slot: u16) -> usize {
        usize::from(slot) * self.stride
    }

    /// Where the buffer begins, within them: at another line of the processor's caches than its neighbours. All at the beginning of
    /// their pages, the first bytes of thousands of buffers would have to share a handful of places there.
    fn slot_ptr(&self, slot: u16) -> *mut u8 {
        let number = usize::from(slot);
        // A power of two, as pages are; there must be room for the head behind the last that is used.
        let lines = (self.stride - self.size) / CACHE_LINE;
        let line = (number * 5 + number / 16) & (lines - 1);
        let line = line.min(lines - 1 - HEAD / CACHE_LINE);
        self.region.at(self.pages_of(slot) + line * CACHE_LINE)
    }

    fn take(&self, free: &mut Free) -> Option<u16> {
        let warm = free.warm.pop();
        let slot = match warm.or_else(|| self.warm_up(free)) {
            Some(slot) => slot,
            None if free.untouched < self.limit => {
                free.untouched += 1;
                (free.untouched - 1) as u16
            }
            None => return None,
        };
        if warm.is_none() && !self.region.want(self.pages_of(slot), self.stride) {
            free.cold.push(slot);
            return None;
        }
        Some(slot)
    }

    /// One that was taken is about to be used.
    fn unguard(&self, slot: u16) {
        if self.guard {
            self.region.unprotect(self.pages_of(slot), self.stride);
        }
    }

    /// One that was given back to the system too early: more stay resident from now on.
    fn warm_up(&self, free: &mut Free) -> Option<u16> {
        let slot = free.cold.pop()?;
        free.keep += 1;
        self.swollen.store(true, Ordering::Relaxed);
        Some(slot)
    }

    /// Whether more memory stays resident than an idle port needs, so that [`Pool::relax`] is to be called in a while.
    pub(crate) fn is_swollen(&self) -> bool {
        self.swollen.load(Ordering::Relaxed)
    }

    /// Gives most of what is resident without need back to the system.
    pub(crate) fn relax(&self) {
        let mut free = self.free();
        free.keep = WARM + (free.keep - WARM) / 4;
        self.swollen.store(free.keep > WARM, Ordering::Relaxed);
        let surplus = free.warm.len().saturating_sub(free.keep);
        // The coldest.
        let surplus: Vec<_> = free.warm.drain(..surplus).collect();
        drop(free);
        surplus.into_iter().for_each(|slot| self.chill(slot));
        self.tell();
    }

    /// A free buffer, on no list, gives its pages back to the system.
    fn chill(&self, slot: u16) {
        // Before it is on a list, from where another thread may take and fill it; and without the lock, since it takes long.
        self.region.discard(self.pages_of(slot), self.stride);
        self.free().cold.push(slot);
    }

    fn put_back(&self, slot: u16) {
        if self.guard {
            self.region.protect(self.pages_of(slot), self.stride);
        }
        let mut free = self.free();
        free.peak = free.peak.max(self.lent(&free));
        if free.warm.len() < free.keep {
            free.warm.push(slot);
            drop(free);
        } else {
            drop(free);
            self.chill(slot);
        }
        self.tell();
    }

    /// A buffer has come back: who waits for one is told.
    fn tell(&self) {
        // Pairs with `set_starving`: either this thread sees the flag, or that one sees the buffer.
        let starving = self.starving.load(Ordering::SeqCst);
        if let (true, Some(hook)) = (starving, self.returned.get()) {
            hook();
        }
    }

    /// A buffer for the user, or `None` at the limit.
    pub(crate) fn lend(self: &Arc<Self>) -> Option<Buffer> {
        let slot = self.take(&mut self.free())?;
        self.unguard(slot);
        Some(Buffer::lent(Lent { pool: self.clone(), slot, start: 0, len: 0 }))
    }

    /// Up to `most` buffers for a driver that hands them to the kernel ahead of need, of each its number, address and room, which is
    /// [`HEAD`] more than its size. Tells how many.
    pub(crate) fn take_ready(
        &self,
        most: usize,
        mut ready: impl FnMut(u16, *mut u8, usize),
    ) -> usize {
        let mut free = self.free();
        let mut count = 0;
        while count < most
            && let Some(slot) = self.take(&mut free)
        {
            self.unguard(slot);
            ready(slot, self.slot_ptr(slot), HEAD + self.size);
            count += 1;
        }
        // Behind the lock, as who counts those that are lent expects.
        self.ready.fetch_add(count, Ordering::Relaxed);
        count
    }

    /// The kernel has taken so many of the buffers from [`Pool::take_ready`].
    pub(crate) fn note_taken(&self, count: usize) {
        self.ready.fetch_sub(count, Ordering::Relaxed);
    }

    /// The kernel has filled `len` bytes of a buffer from [`Pool::take_ready`], which is [noted](Pool::note_taken) as well.
    ///
    /// # Safety
    ///
    /// `slot` came from `take_ready`, is passed here once, and its first `len` bytes are written, no more than a buffer's size.
    pub(crate) unsafe fn filled_ready(self: &Arc<Self>, slot: u16, len: usize) -> Buffer {
        Buffer::lent(Lent { pool: self.clone(), slot, start: 0, len: len as u32 })
    }

    /// The same where the kernel has written what it has to say first: that, and the buffer with the `len` bytes behind it.
    ///
    /// # Safety
    ///
    /// As for [`Pool::filled_ready`], and the first [`HEAD`] bytes are written too.
    pub(crate) unsafe fn filled_behind(
        self: &Arc<Self>,
        slot: u16,
        len: usize,
    ) -> ([u8; HEAD], Buffer) {
        // SAFETY: inside the slot, which is the caller's, and written.
        let head = unsafe { self.slot_ptr(slot).cast::<[u8; HEAD]>().read() };
        let lent = Lent { pool: self.clone(), slot, start: HEAD as u16, len: len as u32 };
        (head, Buffer::lent(lent))
    }

    /// Says whether receives wait. Who says that one does looks for a buffer once more afterwards.
    pub(crate) fn set_starving(&self, on: bool) {
        self.starving.store(on, Ordering::SeqCst);
    }

    /// Whether some receive may wait.
    pub(crate) fn is_starving(&self) -> bool {
        self.starving.load(Ordering::Relaxed)
    }

    pub(crate) fn count_wait(&self) {
        self.waited.fetch_add(1, Ordering::Relaxed);
    }

    /// How many receives that have waited would now find a buffer, here or with the driver.
    pub(crate) fn available(&self) -> usize {
        let free = self.free();
        self.limit - self.lent(&free)
    }

    /// Whether there is one here, not with a driver.
    pub(crate) fn has_free(&self) -> bool {
        self.free().out() < self.limit
    }

    /// How many buffers the drivers may hold ready, all together: few against the limit, because they count in it.
    pub(crate) fn reserve(&self) -> usize {
        self.limit / 8
    }

    pub(crate) fn snapshot(&self) -> PoolSnapshot {
        let free = self.free();
        PoolSnapshot {
            lent: self.lent(&free),
            ready: self.ready.load(Ordering::Relaxed),
            limit: self.limit,
            buffer_size: self.size,
            peak: free.peak.max(self.lent(&free)),
            waited: self.waited.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

/// One buffer of the pool, out. Gives itself back.
pub(crate) struct Lent {
    pool: Arc<Pool>,
    slot: u16,
    /// Where its bytes begin in the slot: 0, or [`HEAD`].
    start: u16,
    len: u32,
}

impl Lent {
    fn ptr(&self) -> *mut u8 {
        self.pool.slot_ptr(self.slot).wrapping_add(usize::from(self.start))
    }

    pub(super) fn capacity(&self) -> usize {
        self.pool.size
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        // SAFETY: the slot is this value's alone while it exists, lies in the region, and `len` bytes of it are written.
        unsafe { slice::from_raw_parts(self.ptr(), self.len as usize) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `&mut self` makes it exclusive.
        unsafe { slice::from_raw_parts_mut(self.ptr(), self.len as usize) }
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(u32::try_from(len).unwrap_or(u32::MAX));
    }

    pub(super) fn spare_parts(&mut self) -> (*mut u8, usize) {
        let len = self.len as usize;
        (self.ptr().wrapping_add(len), self.pool.size - len)
    }

    /// Appends `bytes` if they fit.
    pub(super) fn extend(&mut self, bytes: &[u8]) -> bool {
        let (to, room) = self.spare_parts();
        if bytes.len() > room {
            return false;
        }
        // SAFETY: `to` has room for them, and no reference to the region's memory outlives a borrow of its `Lent`.
        unsafe {
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            self.fill(bytes.len());
        }
        true
    }

    /// # Safety
    ///
    /// That many bytes behind the present ones have been written.
    pub(super) unsafe fn fill(&mut self, filled: usize) {
        // A buffer is at most i32::MAX bytes (Pool::new), so this cannot wrap.
        self.len += filled as u32;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.put_back(self.slot);
    }
}
