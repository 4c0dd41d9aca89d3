//! Operations of which the kernel can tell by an event only: on a socket that is here for one operation and its user's to associate
//! afterwards; and those of a thread's routines for which there is no form with a routine (AcceptEx, ConnectEx, TransmitFile).
//!
//! The system's own threads wait for the event (a thread-pool wait), and tell the operation's home.

use std::{
    ffi::c_void,
    io,
    os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle},
    ptr::{self, NonNull},
};

use windows_sys::Win32::{
    Foundation::HANDLE,
    System::Threading::{
        CloseThreadpoolWait, CreateEventW, CreateThreadpoolWait, PTP_CALLBACK_INSTANCE, PTP_WAIT,
        SetThreadpoolWait,
    },
};

use super::slot;
use crate::operation::Header;

pub(super) struct Guest {
    event: OwnedHandle,
    wait: PTP_WAIT,
}

impl Guest {
    /// For an operation that is about to start.
    pub(super) fn new(op: NonNull<Header>) -> io::Result<Self> {
        let event = event()?;
        // SAFETY: the callback is called once at most, after `watch`, with the operation, which exists until it is told to be over.
        let wait = unsafe { CreateThreadpoolWait(Some(over), op.as_ptr().cast(), ptr::null()) };
        if wait == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { event, wait })
    }

    /// For the overlapped structure.
    pub(super) fn event(&self) -> HANDLE {
        self.event.as_raw_handle()
    }

    /// What [`watch`] is to be called with when the operation is under way: nobody is told before that.
    pub(super) fn to_watch(&self) -> (PTP_WAIT, HANDLE) {
        (self.wait, self.event())
    }
}

/// From now on the operation's home is told when it is over.
pub(super) fn watch((wait, event): (PTP_WAIT, HANDLE)) {
    // SAFETY: both exist until the operation is told to be over, which it is not before this.
    unsafe { SetThreadpoolWait(wait, event, ptr::null()) };
}

impl Drop for Guest {
    fn drop(&mut self) {
        // SAFETY: made by `new`, closed once. A callback that has not returned yet uses nothing of this any more.
        unsafe { CloseThreadpoolWait(self.wait) };
    }
}

/// A new event of no name, that is reset by hand and not signaled.
pub(super) fn event() -> io::Result<OwnedHandle> {
    // SAFETY: it has no conditions.
    let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
    if event.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { OwnedHandle::from_raw_handle(event) })
}

unsafe extern "system" fn over(_: PTP_CALLBACK_INSTANCE, op: *mut c_void, _: PTP_WAIT, _: u32) {
    let Some(op) = NonNull::new(op.cast::<Header>()) else { return };
    // SAFETY: the kernel is done with the operation, which nobody else has before its home is told.
    unsafe { slot::tell(op) };
}
