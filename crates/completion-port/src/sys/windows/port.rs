//! The driver of a completion port: the kernel's own.
//!
//! Handles are associated with it, and operations that are over at once bring no packet (`FILE_SKIP_COMPLETION_PORT_ON_SUCCESS`): their
//! start has told.

use std::{
    io, mem,
    os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle},
    ptr::{self, NonNull},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use socket2::Type;
use windows_sys::Win32::{
    Foundation::{
        ERROR_INVALID_PARAMETER, FALSE, GetLastError, HANDLE, INVALID_HANDLE_VALUE,
        WAIT_IO_COMPLETION, WAIT_TIMEOUT,
    },
    Storage::FileSystem::SetFileCompletionNotificationModes,
    System::{
        IO::{
            CreateIoCompletionPort, GetQueuedCompletionStatusEx, OVERLAPPED_ENTRY,
            PostQueuedCompletionStatus,
        },
        WindowsProgramming::{FILE_SKIP_COMPLETION_PORT_ON_SUCCESS, FILE_SKIP_SET_EVENT_ON_HANDLE},
    },
};

use super::{
    beside::Beside,
    judge::{judge, refused},
    milliseconds, raw,
    request::{Begun, Means, begin, cancel},
    slot::{self, Home},
    sock_ref, socket,
};
use crate::{
    buffer::Pool,
    error,
    operation::Header,
    sys::{Driver, Event, Medium, Socket},
};

/// The key of packets of operations.
const OPERATION: usize = 0;
/// The key of a packet that only wakes.
const WAKE: usize = 1;

/// An associated handle whose operations bring a packet in any case.
const TELLS_ALL: u32 = 1;
/// One that skips those of operations that were over at once.
const SKIPS: u32 = 2;
/// A socket that is not associated.
const GUEST: u32 = 3;

/// Who runs is decided by the library's scheduler, on every system: were the kernel to hold packets back from who looks after a worker
/// that does not come back, nobody could.
const NO_LIMIT: u32 = i32::MAX as u32;

/// So many packets at once.
const BATCH: usize = 64;

/// The kernel's port, for who puts something in.
pub(super) struct Queue(OwnedHandle);

impl Queue {
    fn new(limit: u32) -> io::Result<Self> {
        // SAFETY: a new port with nothing associated.
        let port =
            unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, limit) };
        if port.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(port) }))
    }

    fn handle(&self) -> HANDLE {
        self.0.as_raw_handle()
    }

    /// An operation is over, of which the kernel does not tell by itself.
    pub(super) fn put(&self, op: NonNull<Header>) {
        self.post(OPERATION, slot::overlapped(op));
    }

    fn post(&self, key: usize, overlapped: *mut windows_sys::Win32::System::IO::OVERLAPPED) {
        loop {
            // SAFETY: an open port; the rest are numbers to it.
            if unsafe { PostQueuedCompletionStatus(self.handle(), 0, key, overlapped) } != FALSE {
                return;
            }
            // Out of memory, and there is nobody to be told: it may have some in a moment.
            std::thread::yield_now();
        }
    }
}

pub(crate) struct Port {
    queue: Arc<Queue>,
    /// Taken from the port in an alertable sleep, for who waits next.
    stash: Mutex<Vec<OVERLAPPED_ENTRY>>,
    /// A packet that wakes is on its way.
    woken: AtomicBool,
    in_flight: AtomicUsize,
    pool: Arc<Pool>,
}

// SAFETY: the operations that entries point to belong to the driver, and are touched by who took them out.
unsafe impl Send for Port {}
// SAFETY: as above; entries are behind a lock.
unsafe impl Sync for Port {}

impl Port {
    pub(crate) fn new(pool: Arc<Pool>) -> io::Result<Self> {
        Ok(Self {
            queue: Arc::new(Queue::new(NO_LIMIT)?),
            stash: Mutex::default(),
            woken: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            pool,
        })
    }

    /// Takes what is in the port, up to a batch; sleeps if there is nothing. How many; none also if routines ran.
    fn take(
        &self,
        timeout: Option<Duration>,
        alertable: bool,
        entries: &mut [OVERLAPPED_ENTRY; BATCH],
    ) -> io::Result<usize> {
        let mut taken = 0;
        // SAFETY: an open port, and room for so many entries.
        let result = unsafe {
            GetQueuedCompletionStatusEx(
                self.queue.handle(),
                entries.as_mut_ptr(),
                BATCH as u32,
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

    /// Sleeps, alertably if it sleeps at all, and puts aside what comes. Whether there is something.
    pub(super) fn nap(&self, timeout: Option<Duration>) -> io::Result<bool> {
        if !self.stashed().is_empty() {
            return Ok(true);
        }
        let mut entries = no_entries();
        // Who only asks must not be called: the call may be what the sleep that follows is to be ended by.
        let alertable = timeout != Some(Duration::ZERO);
        let taken = self.take(timeout, alertable, &mut entries)?;
        self.stashed().extend_from_slice(&entries[..taken]);
        Ok(taken > 0)
    }

    fn stashed(&self) -> std::sync::MutexGuard<'_, Vec<OVERLAPPED_ENTRY>> {
        self.stash.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, entry: &OVERLAPPED_ENTRY, events: &mut Vec<Event>) {
        if entry.lpCompletionKey == WAKE {
            self.woken.store(false, Ordering::SeqCst);
            return;
        }
        // SAFETY: what comes with the other key is an operation's, and was given to the kernel by `start`.
        if let Some(op) = unsafe { slot::operation(entry.lpOverlapped) } {
            // One that was started with a routine, before its socket was associated, still ends in its routine (S11). Wine has a packet.
            // SAFETY: the kernel has given it back, so it is this thread's.
            unsafe {
                if (*slot::of(op)).home.as_ref().is_some_and(|home| !home.is_of(&self.queue)) {
                    slot::tell(op);
                    return;
                }
            }
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            // SAFETY: the kernel has given it back, so it is this thread's; it keeps its handle open.
            events.push(Event::last(op, unsafe { judge(op, &self.pool) }));
        }
    }
}

fn no_entries() -> [OVERLAPPED_ENTRY; BATCH] {
    // SAFETY: numbers and pointers, for which zeros are valid.
    unsafe { mem::zeroed() }
}

impl Driver for Port {
    fn attach(&self, socket: &Socket, medium: Medium) -> io::Result<u32> {
        let Some(descriptor) = socket.os() else { return Err(error::wrong_driver()) };
        socket::prepare(descriptor, medium)?;
        if medium == Medium::Guest {
            return Ok(GUEST);
        }
        let handle = raw(descriptor) as HANDLE;
        // SAFETY: two open handles.
        let port = unsafe { CreateIoCompletionPort(handle, self.queue.handle(), OPERATION, 0) };
        if port.is_null() {
            // SAFETY: it has no conditions.
            return Err(match unsafe { GetLastError() } {
                ERROR_INVALID_PARAMETER => error::second_association(),
                code => io::Error::from_raw_os_error(code as i32),
            });
        }
        if medium == Medium::Socket && sock_ref(descriptor).r#type()? == Type::DGRAM {
            // The system's skipping is not to be trusted with datagrams (so libuv found, and does without).
            return Ok(TELLS_ALL);
        }
        let modes = FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE;
        // SAFETY: an open handle. Refused, it tells of all.
        let skips = unsafe { SetFileCompletionNotificationModes(handle, modes as u8) } != FALSE;
        Ok(if skips { SKIPS } else { TELLS_ALL })
    }

    fn detach(&self, _: &Socket, _: u32) {}

    unsafe fn start(&self, op: NonNull<Header>) -> Option<Event> {
        // SAFETY: the caller's, and a constant of it.
        let token = unsafe { op.as_ref() }.target.get().token;
        let means = if token == GUEST { Means::Event } else { Means::Packet };
        // Before: it may be reported before this returns.
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller hands it over.
        let begun = unsafe { begin(op, means, &Home::Port(self.queue.clone())) };
        let result = match begun {
            Ok(Begun::Pending) => return None,
            Ok(Begun::Over) if token != SKIPS => return None,
            Ok(Begun::Over | Begun::Done) => {
                // SAFETY: it is over, and no packet comes: the caller's again.
                unsafe { judge(op, &self.pool) }
            }
            Err(e) => {
                // SAFETY: the kernel does not have it.
                unsafe { refused(op, e, &self.pool) }
            }
        };
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        Some(Event::last(op, result))
    }

    unsafe fn cancel(&self, op: NonNull<Header>) -> Option<Event> {
        // SAFETY: the contract's.
        unsafe { cancel(op) };
        None
    }

    fn wait(&self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let stashed = mem::take(&mut *self.stashed());
        stashed.iter().for_each(|entry| self.report(entry, events));
        let timeout = if stashed.is_empty() { timeout } else { Some(Duration::ZERO) };
        let mut entries = no_entries();
        let taken = self.take(timeout, false, &mut entries)?;
        entries[..taken].iter().for_each(|entry| self.report(entry, events));
        Ok(())
    }

    fn wake(&self) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            self.queue.post(WAKE, ptr::null_mut());
        }
    }

    fn beside(&self) -> Option<Beside<'_>> {
        Some(Beside::Port(self))
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}
