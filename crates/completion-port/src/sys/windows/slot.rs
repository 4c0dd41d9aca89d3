//! What lies in an operation for the kernel, and who is told of its end.

use std::{cell::UnsafeCell, mem, mem::offset_of, ptr::NonNull, sync::Arc};

use windows_sys::Win32::{
    Foundation::{NTSTATUS, STATUS_PENDING},
    System::IO::OVERLAPPED,
};

use super::{apc::Inbox, guest::Guest, queue::Queue};
use crate::operation::Header;

/// The kernel's part of an operation. It has an address that stays, and comes first, so that a pointer to one is a pointer to the other.
#[repr(C)]
pub(crate) struct Slot {
    pub(super) overlapped: OVERLAPPED,
    /// Of a receive: what the kernel says of it besides.
    pub(super) flags: u32,
    /// What a call of ours that stood for the kernel's has come to: a Win32 error, or 0.
    pub(super) told: Option<u32>,
    /// Who is told, if the kernel does not know by itself.
    pub(super) home: Option<Home>,
    /// What an operation needs whose socket belongs to nobody's port.
    pub(super) guest: Option<Box<Guest>>,
}

impl Default for Slot {
    fn default() -> Self {
        // SAFETY: an OVERLAPPED of zeros is valid: it is how one begins.
        let overlapped = unsafe { mem::zeroed() };
        Self { overlapped, flags: 0, told: None, home: None, guest: None }
    }
}

/// Where the end of an operation is reported.
#[derive(Clone)]
pub(super) enum Home {
    Port(Arc<Queue>),
    Thread(Arc<Inbox>),
}

impl Home {
    /// Whether it is that port's.
    pub(super) fn is_of(&self, queue: &Arc<Queue>) -> bool {
        matches!(self, Home::Port(own) if Arc::ptr_eq(own, queue))
    }
}

/// Where an operation's slot lies. It is written to by the kernel, so no reference is made to it as a whole.
pub(super) fn of(op: NonNull<Header>) -> *mut Slot {
    // SAFETY: of a header that exists; the cell's content is not touched.
    unsafe { UnsafeCell::raw_get(&raw const (*op.as_ptr()).slot) }
}

/// Whether the kernel has not written down yet what the operation came to.
pub(super) fn is_pending(op: NonNull<Header>) -> bool {
    // SAFETY: of an operation that exists; the kernel may be writing the number.
    let status = unsafe { (&raw const (*of(op)).overlapped.Internal).read_volatile() };
    status as NTSTATUS == STATUS_PENDING
}

/// The overlapped structure of an operation, for the kernel.
pub(super) fn overlapped(op: NonNull<Header>) -> *mut OVERLAPPED {
    of(op).cast()
}

/// The operation of an overlapped structure. `None` of none.
///
/// # Safety
///
/// It is that of an operation.
pub(super) unsafe fn operation(overlapped: *mut OVERLAPPED) -> Option<NonNull<Header>> {
    let slot = NonNull::new(overlapped)?;
    // SAFETY: the caller's: it lies in a header, so far from its beginning.
    Some(unsafe { slot.cast::<u8>().sub(offset_of!(Header, slot)) }.cast())
}

/// Makes it as new, for another start.
///
/// # Safety
///
/// The caller owns the operation, and the kernel does not have it.
pub(super) unsafe fn renew(op: NonNull<Header>) {
    // SAFETY: the caller's.
    unsafe { *of(op) = Slot::default() };
}

/// Where in its file it begins.
///
/// # Safety
///
/// As for [`renew`].
pub(super) unsafe fn start_at(op: NonNull<Header>, offset: u64) {
    // SAFETY: the caller's.
    let at = unsafe { &mut (*of(op)).overlapped.Anonymous.Anonymous };
    (at.Offset, at.OffsetHigh) = (offset as u32, (offset >> 32) as u32);
}

/// Tells an operation's home that it is over.
///
/// # Safety
///
/// The kernel is done with it, or does not have it, and nobody else has.
pub(super) unsafe fn tell(op: NonNull<Header>) {
    // SAFETY: the caller's.
    let home = unsafe { (*of(op)).home.take() };
    match home {
        Some(Home::Port(queue)) => queue.put(op),
        Some(Home::Thread(inbox)) => inbox.put(op),
        None => {}
    }
}
