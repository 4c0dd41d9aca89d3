//! The driver of a thread's routines: the kernel calls back in the thread's alertable waits.
//!
//! Operations are started with a completion routine of the system's. What that does is to put the operation on a list, which the wait
//! that it ran in reports: the user's routine is called from there, as on every system. Who wakes the thread queues a call that does
//! nothing.

use std::{
    io, mem,
    os::windows::io::{AsRawHandle, OwnedHandle},
    ptr::NonNull,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use windows_sys::Win32::System::{
    IO::OVERLAPPED,
    Threading::{QueueUserAPC, SleepEx},
};

use super::{
    beside::Beside,
    judge::{judge, refused},
    milliseconds,
    request::{Means, begin, cancel},
    slot::{self, Home},
    socket,
    thread_state::this_thread,
};
use crate::{
    buffer::Pool,
    error,
    operation::Header,
    sys::{Driver, Event, Medium, Socket},
};

/// What the system calls when an operation of a socket is over.
pub(super) const SOCKET_OVER: unsafe extern "system" fn(u32, u32, *mut OVERLAPPED, u32) =
    socket_over;
/// Of a file.
pub(super) const FILE_OVER: unsafe extern "system" fn(u32, u32, *mut OVERLAPPED) = file_over;

/// Where a thread finds what is over.
pub(super) struct Inbox {
    over: Mutex<Vec<Over>>,
    owner: OnceLock<(ThreadId, OwnedHandle)>,
    woken: AtomicBool,
}

/// An operation that the kernel has given back.
struct Over(NonNull<Header>);

// SAFETY: it carries its operation's ownership to the thread that waits; operations are Send.
unsafe impl Send for Over {}

impl Inbox {
    /// An operation is over.
    pub(super) fn put(&self, op: NonNull<Header>) {
        self.over.lock().unwrap_or_else(PoisonError::into_inner).push(Over(op));
        self.rouse();
    }

    /// Ends the alertable wait that the owner is in, or else the next.
    fn rouse(&self) {
        if let Some((id, thread)) = self.owner.get()
            && *id != thread::current().id()
        {
            // SAFETY: an open handle of a thread, and a function that does nothing. Refused, the thread has ended.
            unsafe { QueueUserAPC(Some(nothing), thread.as_raw_handle(), 0) };
        }
    }

    /// The calling thread is the one that waits here.
    fn own(&self) {
        if self.owner.get().is_none()
            && let Some(handle) = this_thread()
        {
            let _ = self.owner.set((thread::current().id(), handle));
        }
    }

    /// Whether the calling thread is the one that waits here.
    fn is_own(&self) -> bool {
        self.owner.get().is_some_and(|(id, _)| *id == thread::current().id())
    }

    /// Whether there is something to look at.
    fn has_news(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
            || !self.over.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

unsafe extern "system" fn nothing(_: usize) {}

unsafe extern "system" fn socket_over(_: u32, _: u32, overlapped: *mut OVERLAPPED, _: u32) {
    // SAFETY: the system calls this with what the start was given.
    unsafe { over(overlapped) };
}

unsafe extern "system" fn file_over(_: u32, _: u32, overlapped: *mut OVERLAPPED) {
    // SAFETY: as above.
    unsafe { over(overlapped) };
}

/// # Safety
///
/// It is the overlapped structure of an operation that is over.
unsafe fn over(overlapped: *mut OVERLAPPED) {
    // SAFETY: the caller's; the kernel is done with the operation, which nobody else has.
    unsafe {
        if let Some(op) = slot::operation(overlapped) {
            slot::tell(op);
        }
    }
}

pub(crate) struct Apc {
    inbox: Arc<Inbox>,
    in_flight: AtomicUsize,
    pool: Arc<Pool>,
}

impl Apc {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        let inbox =
            Inbox { over: Mutex::default(), owner: OnceLock::new(), woken: AtomicBool::new(false) };
        Self { inbox: Arc::new(inbox), in_flight: AtomicUsize::new(0), pool }
    }

    /// Whether [`wait`](Driver::wait) has something to report.
    pub(super) fn has_news(&self) -> bool {
        self.inbox.own();
        self.inbox.has_news()
    }
}

impl Driver for Apc {
    fn attach(&self, socket: &Socket, medium: Medium) -> io::Result<u32> {
        let Some(descriptor) = socket.os() else { return Err(error::wrong_driver()) };
        socket::prepare(descriptor, medium)?;
        Ok(0)
    }

    fn detach(&self, _: &Socket, _: u32) {}

    unsafe fn start(&self, op: NonNull<Header>) -> Option<Event> {
        self.inbox.own();
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        // A routine is called in the thread that starts.
        let means = if self.inbox.is_own() { Means::Routine } else { Means::Event };
        // SAFETY: the caller hands it over.
        match unsafe { begin(op, means, &Home::Thread(self.inbox.clone())) } {
            // The routine is called in any case.
            Ok(_) => None,
            Err(e) => {
                self.in_flight.fetch_sub(1, Ordering::Relaxed);
                // SAFETY: the kernel does not have it.
                Some(Event::last(op, unsafe { refused(op, e, &self.pool) }))
            }
        }
    }

    unsafe fn cancel(&self, op: NonNull<Header>) -> Option<Event> {
        // SAFETY: the contract's.
        unsafe { cancel(op) };
        None
    }

    fn wait(
        &self,
        timeout: Option<Duration>,
        _most: usize,
        events: &mut Vec<Event>,
    ) -> io::Result<Option<Instant>> {
        self.inbox.own();
        let timeout = if self.inbox.has_news() { Some(Duration::ZERO) } else { timeout };
        // SAFETY: it has no conditions. What is called meanwhile puts operations on the list, or is somebody else's.
        unsafe { SleepEx(milliseconds(timeout), 1) };
        self.inbox.woken.store(false, Ordering::SeqCst);
        let over = mem::take(&mut *self.inbox.over.lock().unwrap_or_else(PoisonError::into_inner));
        self.in_flight.fetch_sub(over.len(), Ordering::Relaxed);
        for Over(op) in over {
            // SAFETY: from the list, so this thread's; it keeps its handle open.
            events.push(Event::last(op, unsafe { judge(op, &self.pool) }));
        }
        Ok(None)
    }

    fn wake(&self) {
        if !self.inbox.woken.swap(true, Ordering::SeqCst) {
            self.inbox.rouse();
        }
    }

    fn beside(&self) -> Option<Beside<'_>> {
        Some(Beside::Routines(self))
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}
