//! Files, by threads of their own: the system tells of no readiness there, and a read that waits for the disk must not keep a thread
//! that waits for packets, or has one.
//!
//! The threads are the process's: made when there is something to do, never more than [`MOST`], and gone when there has been nothing for
//! [`LINGER`]. What they have done they put into the driver that it came from, and wake who sleeps in it.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    mem::{ManuallyDrop, MaybeUninit},
    os::fd::FromRawFd,
    ptr::{self, NonNull},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::poller::Poller;
use crate::{
    error,
    operation::{Header, OpKind},
    sys::{
        Event, Output,
        file::{self, Memory},
        unix::send::moved,
    },
};

/// So many calls are in the system at once; a disk has seldom use for more.
const MOST: usize = 16;
/// How long a thread waits for more to do.
const LINGER: Duration = Duration::from_secs(1);
/// A system call and what leads there.
const STACK: usize = 64 << 10;

/// What of a driver has to do with files.
pub(super) struct Files(Arc<Outbox>);

struct Outbox {
    poller: Arc<Poller>,
    /// What is over, for who comes to wait.
    over: Mutex<Vec<Event>>,
    in_flight: AtomicUsize,
}

/// One operation that waits for a thread.
struct Job {
    op: NonNull<Header>,
    outbox: Arc<Outbox>,
}

// SAFETY: it carries its operation's ownership from the starter to the thread; operations are Send.
unsafe impl Send for Job {}

struct Crew {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Of those, who wait for something to do, or have just been called.
    idle: usize,
}

static CREW: Mutex<Crew> = Mutex::new(Crew { jobs: VecDeque::new(), threads: 0, idle: 0 });
static WORK: Condvar = Condvar::new();

fn crew() -> MutexGuard<'static, Crew> {
    crate::pause::here();
    CREW.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Files {
    pub(super) fn new(poller: Arc<Poller>) -> Self {
        let over = Mutex::new(Vec::new());
        Self(Arc::new(Outbox { poller, over, in_flight: AtomicUsize::new(0) }))
    }

    /// # Safety
    ///
    /// As for [`Driver::start`](crate::sys::Driver::start).
    pub(super) unsafe fn start(&self, op: NonNull<Header>) -> Option<Event> {
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's until it is in the queue.
        unsafe { op.as_ref() }.let_go();
        let mut crew = crew();
        crew.jobs.push_back(Job { op, outbox: self.0.clone() });
        // Each that waits is called once for each job, and one that stops waiting by itself looks for jobs before it goes.
        if crew.jobs.len() <= crew.idle {
            drop(crew);
            WORK.notify_one();
            return None;
        }
        if crew.threads == MOST {
            return None;
        }
        crew.threads += 1;
        drop(crew);
        let thread = thread::Builder::new().name("port-files".to_owned()).stack_size(STACK);
        match thread.spawn(work) {
            Ok(_) => None,
            Err(e) => self.resign(op, e),
        }
    }

    /// There is no thread for it, unless there are others.
    fn resign(&self, op: NonNull<Header>, error: io::Error) -> Option<Event> {
        let mut crew = crew();
        crew.threads -= 1;
        if crew.threads > 0 {
            return None;
        }
        drop(crew);
        self.take_back(op).then(|| Event::last(op, Err(error)))
    }

    /// [`Driver::cancel`](crate::sys::Driver::cancel): one that waits is taken back; one that is under way ends by itself, as it does in
    /// the system.
    pub(super) fn cancel(&self, op: NonNull<Header>) -> Option<Event> {
        self.take_back(op).then(|| Event::last(op, Err(error::cancelled())))
    }

    fn take_back(&self, op: NonNull<Header>) -> bool {
        let mut crew = crew();
        let at = crew.jobs.iter().position(|job| job.op == op);
        let taken = at.and_then(|at| crew.jobs.remove(at));
        drop(crew);
        if taken.is_some() {
            self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
            // SAFETY: out of the queue, so the caller's.
            unsafe { op.as_ref() }.take_up();
        }
        taken.is_some()
    }

    /// What is over.
    pub(super) fn collect(&self, events: &mut Vec<Event>) {
        if self.in_flight() == 0 {
            return;
        }
        let before = events.len();
        events.append(&mut self.0.over());
        for event in &events[before..] {
            // SAFETY: handed over with the event.
            unsafe { event.op.as_ref() }.take_up();
        }
        self.0.in_flight.fetch_sub(events.len() - before, Ordering::Relaxed);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Relaxed)
    }
}

impl Outbox {
    fn over(&self) -> MutexGuard<'_, Vec<Event>> {
        crate::pause::here();
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, event: Event) {
        // SAFETY: the thread's, until it is in there.
        unsafe { event.op.as_ref() }.let_go();
        let mut over = self.over();
        over.push(event);
        // Whoever has found it empty since then has been woken for what came first, and takes all.
        let first = over.len() == 1;
        drop(over);
        if first {
            self.poller.notify();
        }
    }
}

/// What a thread does: whatever waits, until nothing has for a while.
fn work() {
    take_no_signals();
    let mut guard = crew();
    loop {
        if let Some(Job { op, outbox }) = guard.jobs.pop_front() {
            drop(guard);
            // SAFETY: from the queue, so this thread's; its file is open because the operation holds its handle.
            let result = unsafe {
                op.as_ref().take_up();
                perform(op.as_ref())
            };
            outbox.put(Event::last(op, result));
            drop(outbox);
            guard = crew();
            continue;
        }
        guard.idle += 1;
        let (back, waited) =
            WORK.wait_timeout(guard, LINGER).unwrap_or_else(PoisonError::into_inner);
        guard = back;
        guard.idle -= 1;
        if waited.timed_out() && guard.jobs.is_empty() {
            guard.threads -= 1;
            return;
        }
    }
}

/// Handlers run on the program's own threads.
fn take_no_signals() {
    let mut all = MaybeUninit::uninit();
    // SAFETY: a set to be filled, and then read; the calls fail on invalid arguments only.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut());
    }
}

/// One call for one operation.
///
/// # Safety
///
/// The caller owns the operation, and its file is open.
unsafe fn perform(header: &Header) -> io::Result<Output> {
    let fd = header.target.get().os;
    loop {
        // SAFETY: owned.
        let work = unsafe { header.work() };
        let result = match header.kind {
            OpKind::Sync | OpKind::SyncData => {
                // SAFETY: open, and not closed here.
                let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
                if header.kind == OpKind::Sync { file.sync_all() } else { file.sync_data() }
                    .map(|()| 0)
            }
            kind => {
                let (memory, offset) = file::part(kind, work)?;
                let at = libc::off_t::try_from(offset).map_err(|_| error::too_far(offset))?;
                let reads = kind == OpKind::ReadAt;
                // SAFETY: memory that is the operation's; of a read, its spare room.
                moved(unsafe {
                    match memory {
                        Memory::One(to, room) if reads => libc::pread(fd, to.cast(), room, at),
                        Memory::One(from, len) => libc::pwrite(fd, from.cast(), len, at),
                        Memory::Several(pieces, count) if reads => {
                            libc::preadv(fd, pieces.cast(), count as libc::c_int, at)
                        }
                        Memory::Several(pieces, count) => {
                            libc::pwritev(fd, pieces.cast(), count as libc::c_int, at)
                        }
                    }
                })
            }
        };
        match result {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(Output::Bytes),
        }
    }
}
