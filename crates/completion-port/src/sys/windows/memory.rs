//! Reserved memory whose pages can be given back to the system one by one.

use std::{ffi::c_void, io, ptr};

use windows_sys::Win32::System::{
    Memory::{
        MEM_COMMIT, MEM_DECOMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_NOACCESS, PAGE_READWRITE,
        VirtualAlloc, VirtualFree, VirtualProtect,
    },
    SystemInformation::{GetSystemInfo, SYSTEM_INFO},
};

pub(crate) fn page_size() -> usize {
    // SAFETY: numbers and addresses only, for which zeros are valid; the call fills them in.
    let info = unsafe {
        let mut info: SYSTEM_INFO = std::mem::zeroed();
        GetSystemInfo(&raw mut info);
        info
    };
    info.dwPageSize as usize
}

/// Address space of its own; a page takes memory from when it is [wanted](Region::want) until it is discarded.
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
        // SAFETY: a reservation at an address of the kernel's choice touches no other memory.
        let base = unsafe { VirtualAlloc(ptr::null(), len, MEM_RESERVE, PAGE_NOACCESS) };
        if base.is_null() {
            Err(io::Error::last_os_error())
        } else {
            Ok(Self { base: base.cast(), len })
        }
    }

    pub(crate) fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.len, "an offset outside the region");
        self.base.wrapping_add(offset)
    }

    fn span(&self, offset: usize, len: usize) -> *mut c_void {
        assert!(len <= self.len - offset, "a span outside the region");
        self.at(offset).cast()
    }

    /// Makes the pages memory. False if the system has none left.
    pub(crate) fn want(&self, offset: usize, len: usize) -> bool {
        // SAFETY: the span lies in the reservation (asserted); pages that are there stay as they are.
        !unsafe { VirtualAlloc(self.span(offset, len), len, MEM_COMMIT, PAGE_READWRITE) }.is_null()
    }

    /// Gives the pages back.
    pub(crate) fn discard(&self, offset: usize, len: usize) {
        // SAFETY: the span lies in the reservation (asserted), and its owner says that nobody uses what is in it.
        // An error leaves the pages resident, which costs memory and nothing else.
        let _ = unsafe { VirtualFree(self.span(offset, len), len, MEM_DECOMMIT) };
    }

    /// Makes the pages fault when they are touched.
    pub(crate) fn protect(&self, offset: usize, len: usize) {
        let mut before = 0;
        // SAFETY: the span lies in the reservation (asserted). Refused where it is no memory, which faults anyhow.
        let _ =
            unsafe { VirtualProtect(self.span(offset, len), len, PAGE_NOACCESS, &raw mut before) };
    }

    /// Undoes [`Region::protect`].
    pub(crate) fn unprotect(&self, offset: usize, len: usize) {
        let mut before = 0;
        // SAFETY: the span lies in the reservation (asserted).
        let done =
            unsafe { VirtualProtect(self.span(offset, len), len, PAGE_READWRITE, &raw mut before) };
        let error = io::Error::last_os_error();
        // Going on would fault in somebody else's code; here it can still be named.
        assert!(done != 0, "cannot make a guarded buffer accessible again: {error}");
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: made by `reserve`, released once; every buffer in it keeps its pool, and so the region, alive.
        let _ = unsafe { VirtualFree(self.base.cast(), 0, MEM_RELEASE) };
    }
}
