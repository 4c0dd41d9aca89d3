//! Timers that end when they should: Linux lets a thread's sleep take up to 50 us longer than asked, to save wake-ups (its timer
//! slack, prctl(2)). Who keeps watch for 50 us at a time wants none of that.

/// While it lives, the calling thread's sleeps end on time.
pub(crate) struct Punctual(());

impl Punctual {
    pub(crate) fn new() -> Self {
        set_slack(1);
        Self(())
    }
}

impl Drop for Punctual {
    fn drop(&mut self) {
        // Back to what the thread was born with.
        set_slack(0);
    }
}

#[cfg(target_os = "linux")]
fn set_slack(nanoseconds: libc::c_ulong) {
    // SAFETY: a number only. Refused, sleeps take a little longer.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanoseconds) };
}

#[cfg(not(target_os = "linux"))]
fn set_slack(_: libc::c_ulong) {}
