//! The kernel's port: what is put in and taken out.

use std::{
    io, mem,
    os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle},
    ptr::{self, NonNull},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use windows_sys::Win32::{
    Foundation::{
        ERROR_INVALID_PARAMETER, FALSE, GetLastError, HANDLE, INVALID_HANDLE_VALUE,
        WAIT_IO_COMPLETION, WAIT_TIMEOUT,
    },
    System::IO::{
        CreateIoCompletionPort, GetQueuedCompletionStatusEx, OVERLAPPED, OVERLAPPED_ENTRY,
        PostQueuedCompletionStatus,
    },
};

use super::{milliseconds, slot};
use crate::{error, operation::Header};

/// The key of packets of operations.
const OPERATION: usize = 0;
/// The key of a packet that only wakes.
const WAKE: usize = 1;
/// The key of a packet of the library's, whose number stands where the overlapped structure would.
const PACKET: usize = 2;

/// So many packets at once.
pub(super) const BATCH: usize = 64;

pub(super) struct Queue {
    port: OwnedHandle,
    /// A packet that wakes is on its way.
    woken: AtomicBool,
}

/// What is taken out.
pub(super) enum Entry {
    /// The kernel has given it back.
    Operation(NonNull<Header>),
    Packet(usize),
    Wake,
}

impl Queue {
    /// One of that limit: so many threads the kernel lets run.
    pub(super) fn new(limit: usize) -> io::Result<Self> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).min(i32::MAX as u32);
        // SAFETY: a new port with nothing associated.
        let port =
            unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, limit) };
        if port.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        let port = unsafe { OwnedHandle::from_raw_handle(port) };
        Ok(Self { port, woken: AtomicBool::new(false) })
    }

    fn handle(&self) -> HANDLE {
        self.port.as_raw_handle()
    }

    /// The operations of a handle of the kernel's, which is open, bring their packets here.
    pub(super) fn associate(&self, handle: HANDLE) -> io::Result<()> {
        // SAFETY: two open handles.
        let port = unsafe { CreateIoCompletionPort(handle, self.handle(), OPERATION, 0) };
        if !port.is_null() {
            return Ok(());
        }
        // SAFETY: it has no conditions.
        Err(match unsafe { GetLastError() } {
            ERROR_INVALID_PARAMETER => error::second_association(),
            code => io::Error::from_raw_os_error(code as i32),
        })
    }

    /// An operation is over, of which the kernel does not tell by itself.
    pub(super) fn put(&self, op: NonNull<Header>) {
        self.post(OPERATION, slot::overlapped(op));
    }

    /// A packet of the library's.
    pub(super) fn put_packet(&self, number: usize) {
        self.post(PACKET, ptr::without_provenance_mut(number));
    }

    /// Somebody is to wake; one does for all who ask before it has.
    pub(super) fn wake(&self) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            self.post(WAKE, ptr::null_mut());
        }
    }

    fn post(&self, key: usize, overlapped: *mut OVERLAPPED) {
        loop {
            // SAFETY: an open port; the rest are numbers to it.
            if unsafe { PostQueuedCompletionStatus(self.handle(), 0, key, overlapped) } != FALSE {
                return;
            }
            // Out of memory, and there is nobody to be told: it may have some in a moment.
            std::thread::yield_now();
        }
    }

    /// Takes what is in the port, as much as there is room; sleeps if there is nothing. How many; none also if routines ran.
    pub(super) fn take(
        &self,
        timeout: Option<Duration>,
        alertable: bool,
        entries: &mut [OVERLAPPED_ENTRY],
    ) -> io::Result<usize> {
        let mut taken = 0;
        // SAFETY: an open port, and room for so many entries.
        let result = unsafe {
            GetQueuedCompletionStatusEx(
                self.handle(),
                entries.as_mut_ptr(),
                entries.len() as u32,
                &raw mut taken,
                milliseconds(timeout),
                alertable.into(),
            )
        };
        if result != FALSE {
            return Ok(taken as usize);
        }
        // SAFETY: it has no conditions.
        match unsafe { GetLastError() } {
            WAIT_TIMEOUT | WAIT_IO_COMPLETION => Ok(0),
            code => Err(io::Error::from_raw_os_error(code as i32)),
        }
    }

    /// What an entry of this port's says.
    pub(super) fn read(&self, entry: &OVERLAPPED_ENTRY) -> Option<Entry> {
        match entry.lpCompletionKey {
            WAKE => {
                // Not a mere store: what was written before a call of `wake` that asked for nothing more is to be seen from here on.
                self.woken.swap(false, Ordering::SeqCst);
                Some(Entry::Wake)
            }
            PACKET => Some(Entry::Packet(entry.lpOverlapped.addr())),
            // SAFETY: what comes with the key that is left is an operation's, and was given to the kernel by its start.
            _ => unsafe { slot::operation(entry.lpOverlapped) }.map(Entry::Operation),
        }
    }
}

pub(super) fn no_entries() -> [OVERLAPPED_ENTRY; BATCH] {
    // SAFETY: numbers and pointers, for which zeros are valid.
    unsafe { mem::zeroed() }
}
