//! A page of memory that holds whoever touches it, until it is filled (userfaultfd(2)). Linux only.

use std::{
    fs::OpenOptions,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr::NonNull,
};

const UFFD_USER_MODE_ONLY: libc::c_int = 1;
const UFFD_API: u64 = 0xAA;
const UFFDIO_API: libc::c_ulong = 0xC018_AA3F;
const UFFDIO_REGISTER: libc::c_ulong = 0xC020_AA00;
const UFFDIO_ZEROPAGE: libc::c_ulong = 0xC020_AA04;
const USERFAULTFD_IOC_NEW: libc::c_ulong = 0xAA00;
const MISSING: u64 = 1;

pub struct HeldPage {
    watcher: OwnedFd,
    page: NonNull<u8>,
    size: usize,
}

// SAFETY: the page is only read through it, and filled by the kernel.
unsafe impl Send for HeldPage {}
// SAFETY: as above.
unsafe impl Sync for HeldPage {}

/// What the calls share: three or four words, the first of which say where.
type Words = [u64; 4];

impl HeldPage {
    pub fn new() -> io::Result<Self> {
        let watcher = watcher()?;
        // Everything that the kernel writes back is in the words.
        let mut api: Words = [UFFD_API, 0, 0, 0];
        ask(&watcher, UFFDIO_API, &mut api)?;
        let size = rustix::param::page_size();
        // SAFETY: a new mapping, wherever the system likes.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let page = if page == libc::MAP_FAILED { None } else { NonNull::new(page.cast()) };
        let page = page.ok_or_else(io::Error::last_os_error)?;
        let this = Self { watcher, page, size };
        ask(&this.watcher, UFFDIO_REGISTER, &mut [this.start(), size as u64, MISSING, 0])?;
        Ok(this)
    }

    fn start(&self) -> u64 {
        self.page.as_ptr() as u64
    }

    /// Holds the caller until the page is filled.
    pub fn touch(&self) -> u8 {
        // SAFETY: the mapping lives as long as `self`.
        unsafe { self.page.as_ptr().read_volatile() }
    }

    pub fn fill(&self) {
        ask(&self.watcher, UFFDIO_ZEROPAGE, &mut [self.start(), self.size as u64, 0, 0])
            .expect("the page is filled");
    }
}

impl Drop for HeldPage {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and nobody has it any more.
        unsafe { libc::munmap(self.page.as_ptr().cast(), self.size) };
    }
}

/// By the system call or, where that is refused, by the device.
fn watcher() -> io::Result<OwnedFd> {
    let flags = libc::O_CLOEXEC | UFFD_USER_MODE_ONLY;
    // SAFETY: it takes flags and returns a descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
    if fd >= 0 {
        // SAFETY: a new descriptor that nobody else has.
        return Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    }
    let refused = io::Error::last_os_error();
    let device = OpenOptions::new().read(true).write(true).open("/dev/userfaultfd");
    let device = device.map_err(|_| refused)?;
    // SAFETY: it takes flags and returns a descriptor.
    let fd = unsafe { libc::ioctl(device.as_raw_fd(), USERFAULTFD_IOC_NEW as _, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn ask(watcher: &OwnedFd, what: libc::c_ulong, words: &mut Words) -> io::Result<()> {
    // SAFETY: no request has more words than these.
    let result = unsafe { libc::ioctl(watcher.as_raw_fd(), what as _, words.as_mut_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
