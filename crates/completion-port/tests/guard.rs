//! No buffer is written after it was given back or freed, not by the kernel either.
//!
//! The address sanitizer is blind to what the kernel writes through a ring. Here every larger allocation, and with it every owned
//! buffer, has pages of its own that become inaccessible when it is freed; the pool does the same to buffers that are not lent
//! ([`PoolOptions::guard`]). A late write is then an `EFAULT` in some completion (or a crash), which is counted and must not be.
//!
//! Linux only: pages are made inaccessible by its calls, and it is its rings that write past the sanitizer.

#![cfg(target_os = "linux")]

mod util;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    io::Write,
    net::Shutdown,
    ptr,
    time::Duration,
};

use completion_port::{Buffer, Completion, CompletionPort, DriverKind, GetError, PoolOptions};

struct Pages;

/// From this size on an allocation has pages of its own; buffers of the tests are at least as large.
const LARGE: usize = 8192;
const PAGE: usize = 4096;

#[global_allocator]
static ALLOCATOR: Pages = Pages;

// SAFETY: small allocations are the system's; a large one is a mapping of its own, at least as long as asked for, aligned to a page,
// and never handed out again.
unsafe impl GlobalAlloc for Pages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() < LARGE || layout.align() > PAGE {
            // SAFETY: handed on.
            return unsafe { System.alloc(layout) };
        }
        let len = layout.size().next_multiple_of(PAGE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping touches no other memory.
        let at = unsafe {
            libc::mmap(ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        if at == libc::MAP_FAILED { ptr::null_mut() } else { at.cast() }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if layout.size() < LARGE || layout.align() > PAGE {
            // SAFETY: handed on.
            return unsafe { System.dealloc(at, layout) };
        }
        let len = layout.size().next_multiple_of(PAGE);
        // SAFETY: the whole of one mapping of `alloc`, which nobody uses any more. It stays mapped, so that nothing else comes here.
        unsafe {
            libc::madvise(at.cast(), len, libc::MADV_DONTNEED);
            libc::mprotect(at.cast(), len, libc::PROT_NONE);
        }
    }
}

/// The allocator does what the tests below rest on: the kernel's write into a freed buffer is an error.
#[test]
fn a_late_kernel_write_is_seen() {
    let mut buffer = vec![0u8; 2 * LARGE];
    let at = buffer.as_mut_ptr();
    drop(std::hint::black_box(buffer));
    let (read, mut write) = std::io::pipe().expect("a pipe");
    write.write_all(b"late").expect("written");
    // SAFETY: the kernel checks the address, and refuses it: nothing is written.
    let result = unsafe { libc::read(std::os::fd::AsRawFd::as_raw_fd(&read), at.cast(), 4) };
    let error = std::io::Error::last_os_error();
    assert_eq!((result, error.raw_os_error()), (-1, Some(libc::EFAULT)));
}

/// Counts packets, and faults among them.
#[derive(Default)]
struct Count {
    packets: usize,
    faults: usize,
}

impl Count {
    fn add(&mut self, done: &Completion<usize, usize>) {
        self.packets += 1;
        let fault = |e: &std::io::Error| e.raw_os_error() == Some(libc::EFAULT);
        self.faults += usize::from(done.result.as_ref().is_err_and(fault));
    }

    fn take(&mut self, port: &CompletionPort<usize, usize>) {
        loop {
            match port.get_timeout(Duration::ZERO) {
                Ok(done) => self.add(&done),
                Err(GetError::TimedOut) => return,
                Err(e) => panic!("{e}"),
            }
        }
    }
}

/// Receives of both kinds, cancelled, closed, reset and dropped at random points, while data arrives.
fn no_late_write(driver: DriverKind) {
    const ROUNDS: usize = 60;
    let mut started = 0;
    let mut count = Count::default();
    let mut random = 88_172_645_463_325_252_u64;
    let mut below = |n: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % n
    };
    for round in 0..ROUNDS {
        let pool = PoolOptions::new().limit(64).buffer_size(LARGE).guard(true);
        let port = CompletionPort::builder()
            .driver(driver)
            .pool(pool)
            .build::<usize, usize>()
            .expect("a port");
        let mut peers = Vec::new();
        for key in 0..8 {
            let (handle, peer) = util::pair(&port, key);
            peers.push((handle, peer));
        }
        for step in 0..64 {
            let (handle, peer) = &mut peers[below(8) as usize];
            match below(8) {
                0 | 1 => {
                    started += usize::from(handle.recv(Buffer::with_capacity(LARGE), step).is_ok())
                }
                2 | 3 => started += usize::from(handle.recv_lent(step).is_ok()),
                4 | 5 => drop(peer.write(&[round as u8; 3000])),
                6 => drop(handle.cancel_all()),
                _ if below(16) == 0 => handle.close(),
                _ if below(16) == 0 => drop(peer.shutdown(Shutdown::Both)),
                _ => count.take(&port),
            }
        }
        if round % 2 == 0 {
            count.take(&port);
        }
        // The port goes with what is pending; its packets come back from the close.
        port.close().iter().for_each(|done| count.add(done));
    }
    assert_eq!(count.packets, started, "a packet for each receive that started");
    assert_eq!(count.faults, 0, "the kernel wrote, or tried to, where it no longer may");
    println!("{driver}: {started} receives, {} late writes", count.faults);
}

#[test]
fn nothing_is_written_late() {
    util::drivers::available().into_iter().for_each(no_late_write);
}

on_each_driver!(no_late_write_of_what_is_cancelled);

/// Every kind of operation, cancelled while it ends: any `EFAULT` is a failure there.
fn no_late_write_of_what_is_cancelled(driver: DriverKind) {
    util::cancels::storm(driver, LARGE, true);
}
