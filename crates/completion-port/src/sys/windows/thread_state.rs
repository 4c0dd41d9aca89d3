//! Whether another thread of this process is blocked, by its own clock: if that has not moved since the last look, the thread was not on a
//! processor. It may have been pre-empted, so this sees blocked threads where there are none, now and then.

use std::{
    os::windows::io::{AsRawHandle, BorrowedHandle, OwnedHandle},
    sync::atomic::{AtomicU64, Ordering},
};

use windows_sys::Win32::System::{
    Threading::GetCurrentThread, WindowsProgramming::QueryThreadCycleTime,
};

use crate::sys::thread_state::{LITTLE, Observation, Seen};

/// Looks at one thread.
pub(crate) struct Observer {
    thread: Option<OwnedHandle>,
    /// What the clock said at the last look, in cycles.
    said: AtomicU64,
}

impl Observer {
    /// Of the calling thread.
    pub(crate) fn of_this_thread() -> Self {
        Self { thread: this_thread(), said: AtomicU64::new(u64::MAX) }
    }

    /// A first look: the next one tells what the thread does from now on.
    pub(crate) fn glance(&self) -> Seen {
        self.used();
        Seen::First
    }

    pub(crate) fn look(&self) -> Seen {
        if Observation::here() == Observation::Nothing {
            return Seen::Unknown;
        }
        match self.used() {
            None => Seen::Unknown,
            Some(0) => Seen::Blocked,
            Some(used) if used < LITTLE => Seen::Waiting,
            Some(_) => Seen::Running,
        }
    }

    /// The best that tells something of this thread, which runs.
    pub(crate) fn best(&self) -> Observation {
        self.used();
        for _ in 0..1000 {
            if self.used().is_some_and(|used| used > 0) {
                return Observation::Clock;
            }
        }
        Observation::Nothing
    }

    /// Cycles since this was last asked, which are a little less than nanoseconds each.
    fn used(&self) -> Option<u64> {
        let mut now = 0;
        // SAFETY: an open handle of a thread, and room for a number.
        let told =
            unsafe { QueryThreadCycleTime(self.thread.as_ref()?.as_raw_handle(), &raw mut now) };
        let before = self.said.swap(now, Ordering::Relaxed);
        (told != 0 && before != u64::MAX).then(|| now.saturating_sub(before))
    }
}

/// A handle of the calling thread's, which means it in other threads too.
pub(super) fn this_thread() -> Option<OwnedHandle> {
    // SAFETY: the pseudo handle of the calling thread is always valid.
    let thread = unsafe { BorrowedHandle::borrow_raw(GetCurrentThread()) };
    thread.try_clone_to_owned().ok()
}
