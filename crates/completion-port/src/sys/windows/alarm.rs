//! A timer of the system's that wakes a port.

use std::{ffi::c_void, io, ptr, sync::Arc, time::Duration};

use windows_sys::Win32::{
    Foundation::FILETIME,
    System::Threading::{
        CloseThreadpoolTimer, CreateThreadpoolTimer, PTP_CALLBACK_INSTANCE, PTP_TIMER,
        SetThreadpoolTimer, WaitForThreadpoolTimerCallbacks,
    },
};

use super::queue::Queue;

pub(super) struct Alarm {
    timer: PTP_TIMER,
    /// What the callback is called with.
    _queue: Arc<Queue>,
}

impl Alarm {
    pub(super) fn new(queue: Arc<Queue>) -> io::Result<Self> {
        // SAFETY: the callback is called with the queue, which stays until no call can come any more (`drop`).
        let timer = unsafe {
            CreateThreadpoolTimer(Some(ring), Arc::as_ptr(&queue).cast_mut().cast(), ptr::null())
        };
        if timer == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { timer, _queue: queue })
    }

    /// It rings in so long, once, and at no other time.
    pub(super) fn set(&self, time: Option<Duration>) {
        let Some(time) = time else {
            // SAFETY: an open timer, that is stopped.
            return unsafe { SetThreadpoolTimer(self.timer, ptr::null(), 0, 0) };
        };
        // Negative, it counts from now, in steps of 100 ns; not before the time is over. It may be longer than anybody waits.
        let steps = i64::try_from(time.as_nanos().div_ceil(100)).unwrap_or(i64::MAX);
        let due = -steps;
        let due = FILETIME { dwLowDateTime: due as u32, dwHighDateTime: (due >> 32) as u32 };
        // SAFETY: an open timer; the time is read before this returns.
        unsafe { SetThreadpoolTimer(self.timer, &raw const due, 0, 0) };
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.set(None);
        // SAFETY: an open timer that is not set again: after this no callback runs or comes, and it is closed once.
        unsafe {
            WaitForThreadpoolTimerCallbacks(self.timer, 1);
            CloseThreadpoolTimer(self.timer);
        }
    }
}

unsafe extern "system" fn ring(_: PTP_CALLBACK_INSTANCE, queue: *mut c_void, _: PTP_TIMER) {
    // SAFETY: what `new` gave: it exists as long as this is called.
    unsafe { &*queue.cast::<Queue>() }.wake();
}
