//! The ring: set up for a rung of the ladder, pushed to by any thread, slept in and reaped by one.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread,
    time::Duration,
};

use io_uring::{IoUring, cqueue, squeue, types};

use super::{super::choose::Rung, membarrier};

/// Submissions in the ring; those beyond are handed over first, so it bounds a batch and nothing else.
const SUBMISSIONS: u32 = 256;
/// Completions in the ring; the kernel keeps those beyond (NODROP).
const COMPLETIONS: u32 = 4096;
/// How often a submit that the kernel cannot take now is tried again at once.
const PATIENCE: u32 = 64;
/// `user_data` of what needs no answer: a cancel, a wake-up.
pub(super) const IGNORED: u64 = 0;
/// `IORING_ENTER_GETEVENTS`.
const GET_EVENTS: u32 = 1;

pub(super) struct Ring {
    ring: IoUring,
    cooperative: bool,
    /// Held while submissions are pushed, and not while they are handed over: that is the kernel's to put in order, and takes as long
    /// as what was asked for does.
    pushing: Mutex<()>,
    /// Held while completions are taken.
    reaping: Mutex<()>,
    /// Requests that want an answer: written where they are pushed, by who holds `pushing`; and those whose last answer has been acted
    /// on: written by who reaps. Both wrap.
    asked: AtomicUsize,
    answered: AtomicUsize,
}

/// A completion, out of the ring.
pub(super) struct Completed {
    pub user_data: u64,
    pub result: i32,
    pub flags: u32,
}

impl Completed {
    /// Whether it is the last answer to a request that wanted one.
    pub(super) fn is_last(&self) -> bool {
        self.user_data != IGNORED && !cqueue::more(self.flags)
    }
}

impl Ring {
    pub(super) fn new(rung: Rung) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(COMPLETIONS).setup_clamp();
        // Where a thread that burns the processor cannot be interrupted on demand, the kernel must do it every time.
        let cooperative = rung.coop_taskrun() && membarrier::allowed();
        if cooperative {
            builder.setup_coop_taskrun();
        }
        let ring = builder.build(SUBMISSIONS)?;
        let params = ring.params();
        for (there, name) in [
            (params.is_feature_nodrop(), "IORING_FEAT_NODROP"),
            (params.is_feature_fast_poll(), "IORING_FEAT_FAST_POLL"),
            (params.is_feature_ext_arg(), "IORING_FEAT_EXT_ARG"),
            (params.is_feature_submit_stable(), "IORING_FEAT_SUBMIT_STABLE"),
        ] {
            if !there {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!("the kernel's io_uring lacks {name}"),
                ));
            }
        }
        Ok(Self {
            ring,
            cooperative,
            pushing: Mutex::new(()),
            reaping: Mutex::new(()),
            asked: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
        })
    }

    /// Completion work of a thread that runs waits until it enters the kernel (`COOP_TASKRUN`).
    pub(super) fn is_cooperative(&self) -> bool {
        self.cooperative
    }

    /// Readable while completions are there, or completion work that waits for this thread (io_uring(7)).
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: open as long as the ring, which the result borrows.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }

    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.ring.submitter()
    }

    /// Puts a request into the ring, for the next [`submit`](Ring::submit) or [`wait`](Ring::wait), and tells how many lie there now. An
    /// error means that it is not there.
    ///
    /// # Safety
    ///
    /// What the entry points to stays valid until its completion, and is given to nobody else meanwhile.
    pub(super) unsafe fn push(&self, entry: &squeue::Entry) -> io::Result<u32> {
        loop {
            // SAFETY: handed on.
            if let Some(lying) = unsafe { self.try_push(entry) } {
                return Ok(lying);
            }
            self.try_submit()?;
        }
    }

    /// `None` if the ring is full.
    ///
    /// # Safety
    ///
    /// As for [`Ring::push`].
    unsafe fn try_push(&self, entry: &squeue::Entry) -> Option<u32> {
        let _pushing = self.pushing();
        let asked = self.asked.load(Relaxed);
        if entry.get_user_data() != IGNORED {
            // Before anybody can hand it over.
            self.asked.store(asked.wrapping_add(1), Relaxed);
        }
        // SAFETY: the lock makes this the only submission queue in use.
        let mut queue = unsafe { self.ring.submission_shared() };
        // SAFETY: the caller's promise.
        if unsafe { queue.push(entry) }.is_ok() {
            return Some(queue.len() as u32);
        }
        self.asked.store(asked, Relaxed);
        None
    }

    /// How many requests are still to be answered.
    pub(super) fn in_flight(&self) -> usize {
        // In this order: what is answered was asked before.
        let answered = self.answered.load(Acquire);
        self.asked.load(Relaxed).wrapping_sub(answered)
    }

    /// Hands over what is in the ring, whoever has pushed it.
    pub(super) fn submit(&self) {
        if let Err(e) = self.try_submit() {
            // It lies in the ring, from where the kernel may take it at any time: so it is pending, for ever perhaps.
            tracing::error!(error = %e, "the kernel refuses io_uring requests");
        }
    }

    fn try_submit(&self) -> io::Result<()> {
        for attempt in 1.. {
            // Once more after a success: the kernel may have taken a part.
            if self.left() == 0 {
                break;
            }
            let Err(e) = self.ring.submit() else { continue };
            match e.raw_os_error() {
                Some(libc::EINTR) => {}
                // Completions are to be reaped first: there are some, so nobody sleeps, and the reaper takes this along.
                Some(libc::EBUSY) if attempt > PATIENCE => break,
                // No memory for requests now. The sleeper may sleep: somebody must go on trying.
                Some(libc::EAGAIN) if attempt > PATIENCE => thread::sleep(Duration::from_millis(1)),
                Some(libc::EAGAIN | libc::EBUSY) => thread::yield_now(),
                _ => return Err(e),
            }
        }
        Ok(())
    }

    /// Whether something is complete that nobody has taken.
    pub(super) fn has_completed(&self) -> bool {
        let _reaping = self.reaping();
        // SAFETY: the lock makes this the only completion queue in use.
        !unsafe { self.ring.completion_shared() }.is_empty()
    }

    fn reap(&self, out: &mut Vec<Completed>) {
        // SAFETY: `reaping` is held by `wait`, the only caller: one completion queue in use at a time.
        let queue = unsafe { self.ring.completion_shared() };
        out.extend(queue.map(|entry: cqueue::Entry| Completed {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
    }

    /// So many last answers have been acted on. For the one who reaps.
    pub(super) fn answered(&self, count: usize) {
        let answered = self.answered.load(Relaxed).wrapping_add(count);
        self.answered.store(answered, Release);
    }

    /// Hands over what is in the ring and takes what is complete; if nothing is, and the caller is not `busy` otherwise, sleeps until
    /// something is or the time is up.
    pub(super) fn wait(
        &self,
        timeout: Option<Duration>,
        busy: bool,
        out: &mut Vec<Completed>,
    ) -> io::Result<()> {
        let _reaping = self.reaping();
        self.reap(out);
        let busy = busy || !out.is_empty();
        let left = self.left();
        if busy && left == 0 {
            return Ok(());
        }
        let result = match if busy { Some(Duration::ZERO) } else { timeout } {
            // Not even a sleep of no length; but completion work that waits for this thread is done on the way.
            Some(Duration::ZERO) => {
                // SAFETY: no argument is passed.
                unsafe { self.ring.submitter().enter::<libc::sigset_t>(left, 0, GET_EVENTS, None) }
            }
            Some(time) => {
                let time = types::Timespec::new().sec(time.as_secs()).nsec(time.subsec_nanos());
                self.ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&time))
            }
            None => self.ring.submit_and_wait(1),
        };
        match result {
            Ok(_) => {}
            Err(e)
                if matches!(
                    e.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) => {}
            // What has been taken must not be lost with it; it fails again, alone.
            Err(e) if out.is_empty() => return Err(e),
            Err(_) => {}
        }
        self.reap(out);
        Ok(())
    }

    /// Requests in the ring that the kernel has not taken, because it could not or because they are new.
    fn left(&self) -> u32 {
        let _pushing = self.pushing();
        // SAFETY: the lock makes this the only submission queue in use.
        unsafe { self.ring.submission_shared().len() as u32 }
    }

    fn reaping(&self) -> MutexGuard<'_, ()> {
        crate::pause::here();
        self.reaping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pushing(&self) -> MutexGuard<'_, ()> {
        crate::pause::here();
        self.pushing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Owns a descriptor that a completion has brought.
///
/// # Safety
///
/// It is open, and nobody else's.
pub(super) unsafe fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller's promise.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
