//! Reserved memory whose pages can be given back to the system one by one.

// By libc's functions, which sanitizers watch: memory that is mapped again is new memory to them.
use std::{ffi::c_void, io, ptr};

/// A reservation is not memory yet; where the system can be told so, it is.
#[cfg(target_os = "linux")]
const FLAGS: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
#[cfg(not(target_os = "linux"))]
const FLAGS: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANON;

const ACCESSIBLE: libc::c_int = libc::PROT_READ | libc::PROT_WRITE;

/// What gives pages back.
#[cfg(target_os = "linux")]
const GIVE_BACK: libc::c_int = libc::MADV_DONTNEED;
#[cfg(not(target_os = "linux"))]
const GIVE_BACK: libc::c_int = libc::MADV_FREE;

pub(crate) fn page_size() -> usize {
    rustix::param::page_size()
}

/// Address space of its own; a page takes memory when it is first touched and until it is discarded.
pub(crate) struct Region {
    base: *mut u8,
    len: usize,
}

// SAFETY: the region is plain memory that belongs to no thread; who may touch which part of it is its user's business.
unsafe impl Send for Region {}
// SAFETY: as above; no method gives out a reference.
unsafe impl Sync for Region {}

impl Region {
    pub(crate) fn reserve(len: usize) -> io::Result<Self> {
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no other memory.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, ACCESSIBLE, FLAGS, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // Huge pages would make one touched buffer cost two megabytes. Refused only where there are none.
        #[cfg(target_os = "linux")]
        // SAFETY: advice on a mapping that was just made and is ours.
        let _ = unsafe { libc::madvise(base, len, libc::MADV_NOHUGEPAGE) };
        Ok(Self { base: base.cast(), len })
    }

    pub(crate) fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.len, "an offset outside the region");
        self.base.wrapping_add(offset)
    }

    fn span(&self, offset: usize, len: usize) -> *mut c_void {
        assert!(len <= self.len - offset, "a span outside the region");
        self.at(offset).cast()
    }

    /// Makes the pages memory: they become so when they are touched.
    #[expect(clippy::unused_self, reason = "others have something to do")]
    pub(crate) fn want(&self, _offset: usize, _len: usize) -> bool {
        true
    }

    /// Gives the pages back; they read as zero, or as they were, when they are touched again.
    pub(crate) fn discard(&self, offset: usize, len: usize) {
        // SAFETY: the span lies in the mapping (asserted), and its owner says that nobody uses what is in it.
        // An error leaves the pages resident, which costs memory and nothing else.
        let _ = unsafe { libc::madvise(self.span(offset, len), len, GIVE_BACK) };
    }

    /// Makes the pages fault when they are touched.
    pub(crate) fn protect(&self, offset: usize, len: usize) {
        // SAFETY: the span lies in the mapping (asserted). A guard that cannot be set guards nothing and breaks nothing.
        let _ = unsafe { libc::mprotect(self.span(offset, len), len, libc::PROT_NONE) };
    }

    /// Undoes [`Region::protect`].
    pub(crate) fn unprotect(&self, offset: usize, len: usize) {
        // SAFETY: as in `protect`.
        let result = unsafe { libc::mprotect(self.span(offset, len), len, ACCESSIBLE) };
        let error = io::Error::last_os_error();
        // Going on would fault in somebody else's code; here it can still be named.
        assert!(result == 0, "cannot make a guarded buffer accessible again: {error}");
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: made by `reserve`, unmapped once; every buffer in it keeps its pool, and so the region, alive.
        let _ = unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}
