//! The driver of a completion port: the kernel's own.
//!
//! Handles are associated with it, and operations that are over at once bring no packet (`FILE_SKIP_COMPLETION_PORT_ON_SUCCESS`): their
//! start has told. Who runs is decided by the kernel, if it is told a limit, or else by the library's scheduler: the kernel is to hold no
//! packet back then from who looks after a worker that does not come back.

use std::{
    collections::VecDeque,
    io,
    ptr::NonNull,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use socket2::Type;
use windows_sys::Win32::{
    Foundation::{FALSE, HANDLE},
    Storage::FileSystem::SetFileCompletionNotificationModes,
    System::{
        IO::OVERLAPPED_ENTRY,
        WindowsProgramming::{FILE_SKIP_COMPLETION_PORT_ON_SUCCESS, FILE_SKIP_SET_EVENT_ON_HANDLE},
    },
};

use super::{
    alarm::Alarm,
    beside::Beside,
    judge::{judge, refused},
    queue::{BATCH, Entry, Queue, no_entries},
    raw,
    request::{Begun, Means, begin, cancel},
    slot::{self, Home},
    sock_ref, socket,
};
use crate::{
    buffer::Pool,
    error,
    operation::Header,
    sys::{Driver, Event, Medium, Socket, SystemPort, Taken},
};

/// An associated handle whose operations bring a packet in any case.
const TELLS_ALL: u32 = 1;
/// One that skips those of operations that were over at once.
const SKIPS: u32 = 2;
/// A socket that is not associated.
const GUEST: u32 = 3;

pub(crate) struct Port(Arc<Inner>);

struct Inner {
    queue: Arc<Queue>,
    /// Where the kernel decides who runs: what reminds the library of its timers.
    alarm: Option<Alarm>,
    /// Taken from the port in an alertable sleep, for who waits next; and how many, for who need not ask.
    stash: Mutex<VecDeque<OVERLAPPED_ENTRY>>,
    stashed: AtomicUsize,
    in_flight: AtomicUsize,
    pool: Arc<Pool>,
}

// SAFETY: the operations and packets that entries point to belong to the driver, and are touched by who took them out.
unsafe impl Send for Inner {}
// SAFETY: as above; entries are behind a lock.
unsafe impl Sync for Inner {}

impl Port {
    /// One in which the kernel lets so many threads run, or where that is not its business.
    pub(crate) fn new(pool: Arc<Pool>, limit: Option<usize>) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(limit.unwrap_or(usize::MAX))?);
        let alarm = limit.map(|_| Alarm::new(queue.clone())).transpose()?;
        let (stash, stashed, in_flight) =
            (Mutex::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        Ok(Self(Arc::new(Inner { queue, alarm, stash, stashed, in_flight, pool })))
    }

    /// Sleeps, alertably if it sleeps at all, and puts aside what comes. Whether there is something.
    pub(super) fn nap(&self, timeout: Option<Duration>) -> io::Result<bool> {
        if self.0.stashed.load(Ordering::Acquire) > 0 {
            return Ok(true);
        }
        let mut entries = no_entries();
        // Who only asks must not be called: the call may be what the sleep that follows is to be ended by.
        let alertable = timeout != Some(Duration::ZERO);
        // More than one might keep others waiting, of whom nobody would know.
        let most = if self.0.alarm.is_some() { 1 } else { BATCH };
        let taken = self.0.queue.take(timeout, alertable, &mut entries[..most])?;
        self.0.stash(&entries[..taken]);
        Ok(taken > 0)
    }
}

impl Inner {
    fn stash(&self, entries: &[OVERLAPPED_ENTRY]) {
        let mut stash = self.stash.lock().unwrap_or_else(PoisonError::into_inner);
        stash.extend(entries);
        self.stashed.store(stash.len(), Ordering::Release);
    }

    /// The oldest that is put aside.
    fn unstash(&self) -> Option<OVERLAPPED_ENTRY> {
        if self.stashed.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut stash = self.stash.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = stash.pop_front();
        self.stashed.store(stash.len(), Ordering::Release);
        oldest
    }

    fn report(&self, entry: &OVERLAPPED_ENTRY) -> Option<Taken> {
        let op = match self.queue.read(entry)? {
            Entry::Wake => return Some(Taken::Nudge),
            Entry::Packet(number) => return Some(Taken::Packet(number)),
            Entry::Operation(op) => op,
        };
        // One that was started with a routine, before its socket was associated, still ends in its routine (S11). Wine has a packet.
        // SAFETY: the kernel has given it back, so it is this thread's.
        unsafe {
            if (*slot::of(op)).home.as_ref().is_some_and(|home| !home.is_of(&self.queue)) {
                slot::tell(op);
                return None;
            }
        }
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: the kernel has given it back, so it is this thread's; it keeps its handle open.
        Some(Taken::Event(Event::last(op, unsafe { judge(op, &self.pool) })))
    }
}

impl Driver for Port {
    fn attach(&self, socket: &Socket, medium: Medium) -> io::Result<u32> {
        let Some(descriptor) = socket.os() else { return Err(error::wrong_driver()) };
        socket::prepare(descriptor, medium)?;
        if medium == Medium::Guest {
            return Ok(GUEST);
        }
        let handle = raw(descriptor) as HANDLE;
        self.0.queue.associate(handle)?;
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
        let Inner { queue, in_flight, pool, .. } = &*self.0;
        // SAFETY: the caller's, and a constant of it.
        let token = unsafe { op.as_ref() }.target.get().token;
        let means = if token == GUEST { Means::Event } else { Means::Packet };
        // Before: it may be reported before this returns.
        in_flight.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller hands it over.
        let begun = unsafe { begin(op, means, &Home::Port(queue.clone())) };
        let result = match begun {
            Ok(Begun::Pending) => return None,
            Ok(Begun::Over) if token != SKIPS => return None,
            Ok(Begun::Over | Begun::Done) => {
                // SAFETY: it is over, and no packet comes: the caller's again.
                unsafe { judge(op, pool) }
            }
            Err(e) => {
                // SAFETY: the kernel does not have it.
                unsafe { refused(op, e, pool) }
            }
        };
        in_flight.fetch_sub(1, Ordering::Relaxed);
        Some(Event::last(op, result))
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
        let mut report = |entry: &OVERLAPPED_ENTRY| {
            if let Some(Taken::Event(event)) = self.0.report(entry) {
                events.push(event);
            }
        };
        let mut timeout = timeout;
        while let Some(entry) = self.0.unstash() {
            timeout = Some(Duration::ZERO);
            report(&entry);
        }
        let mut entries = no_entries();
        let taken = self.0.queue.take(timeout, false, &mut entries)?;
        entries[..taken].iter().for_each(report);
        Ok(None)
    }

    fn wake(&self) {
        self.0.queue.wake();
    }

    fn beside(&self) -> Option<Beside<'_>> {
        Some(Beside::Port(self))
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    fn system_port(&self) -> Option<Arc<dyn SystemPort>> {
        self.0.alarm.is_some().then(|| self.0.clone() as Arc<dyn SystemPort>)
    }
}

impl SystemPort for Inner {
    fn post(&self, number: usize) {
        self.queue.put_packet(number);
    }

    fn nudge(&self) {
        self.queue.wake();
    }

    fn nudge_after(&self, time: Option<Duration>) {
        if let Some(alarm) = &self.alarm {
            alarm.set(time);
        }
    }

    fn take(
        &self,
        max: usize,
        timeout: Option<Duration>,
        taken: &mut Vec<Taken>,
    ) -> io::Result<()> {
        let mut left = max;
        if let Some(entry) = self.unstash() {
            left -= 1;
            taken.extend(self.report(&entry));
        }
        let mut entries = no_entries();
        while left > 0 {
            // Once there is something, nobody waits for more.
            let timeout = if taken.is_empty() { timeout } else { Some(Duration::ZERO) };
            let room = left.min(BATCH);
            let count = match self.queue.take(timeout, false, &mut entries[..room]) {
                // What is in hand comes first; what fails fails again.
                Err(e) if taken.is_empty() => return Err(e),
                count => count.unwrap_or(0),
            };
            left -= count;
            taken.extend(entries[..count].iter().filter_map(|entry| self.report(entry)));
            if count < room {
                break;
            }
        }
        Ok(())
    }
}
