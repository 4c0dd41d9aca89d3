//! Where an operation lies: memory that a thread keeps from those that ended in it for those that it starts next, so that a server that
//! is warm allocates nothing for an operation.
//!
//! A thread keeps memory of one size, that of the port's operations that it works for; of another size, or beyond [`KEPT`], it goes
//! back to the allocator. Nothing is shared between threads. Built with `--cfg completion_port_no_reuse` (the sanitizers are), every
//! operation has memory of its own, and an access after its end is seen.

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    cell::RefCell,
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

use super::{Header, Operation};

/// So many a thread keeps: two batches of a busy driver.
const KEPT: usize = if cfg!(completion_port_no_reuse) { 0 } else { 64 };

/// An operation at an address that stays, and its owner.
pub(crate) struct Place<K: 'static, T: 'static>(NonNull<Operation<K, T>>);

impl<K, T> Place<K, T> {
    pub(crate) fn new(op: Operation<K, T>) -> Self {
        let at = take(Layout::new::<Operation<K, T>>()).cast();
        // SAFETY: memory for one of these, and nobody else's.
        unsafe { at.write(op) };
        Self(at)
    }

    /// Its address, as directions and drivers know it: whoever holds that owns it.
    pub(crate) fn into_header(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0.cast()
    }

    /// # Safety
    ///
    /// It came from [`Place::into_header`] of the same `K` and `T`, and is the caller's alone.
    pub(crate) unsafe fn from_header(header: NonNull<Header>) -> Self {
        Self(header.cast())
    }

    /// The operation itself, whose place is free for another.
    #[inline]
    pub(crate) fn into_inner(self) -> Operation<K, T> {
        // SAFETY: owned, and not used again.
        unsafe { ManuallyDrop::new(self).vacate() }
    }

    /// # Safety
    ///
    /// This value is not used again, and not dropped.
    #[inline]
    unsafe fn vacate(&mut self) -> Operation<K, T> {
        // SAFETY: read once, by its owner. The memory came from `take`.
        unsafe {
            let op = self.0.read();
            give(self.0.cast(), Layout::new::<Operation<K, T>>());
            op
        }
    }
}

impl<K, T> Deref for Place<K, T> {
    type Target = Operation<K, T>;

    fn deref(&self) -> &Operation<K, T> {
        // SAFETY: it lies there, and is this value's.
        unsafe { self.0.as_ref() }
    }
}

impl<K, T> DerefMut for Place<K, T> {
    fn deref_mut(&mut self) -> &mut Operation<K, T> {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { self.0.as_mut() }
    }
}

impl<K, T> Drop for Place<K, T> {
    fn drop(&mut self) {
        // SAFETY: it is being dropped.
        drop(unsafe { self.vacate() });
    }
}

/// What a thread keeps.
struct Store {
    layout: Layout,
    free: Vec<NonNull<u8>>,
}

impl Drop for Store {
    fn drop(&mut self) {
        for at in self.free.drain(..) {
            // SAFETY: from `alloc` with this layout, and nobody's any more.
            unsafe { dealloc(at.as_ptr(), self.layout) };
        }
    }
}

thread_local! {
    static STORE: RefCell<Store> =
        const { RefCell::new(Store { layout: Layout::new::<()>(), free: Vec::new() }) };
}

/// Memory of this layout, which is not of size zero.
fn take(layout: Layout) -> NonNull<u8> {
    let kept = |store: &RefCell<Store>| {
        let store = &mut *store.borrow_mut();
        if store.layout == layout { store.free.pop() } else { None }
    };
    // A thread that is ending has no store any more.
    STORE.try_with(kept).ok().flatten().unwrap_or_else(|| {
        // SAFETY: an operation has a header, so its size is not zero.
        let at = unsafe { alloc(layout) };
        NonNull::new(at).unwrap_or_else(|| handle_alloc_error(layout))
    })
}

/// # Safety
///
/// The memory came from [`take`] with this layout, in whichever thread, and is nobody's any more.
unsafe fn give(at: NonNull<u8>, layout: Layout) {
    let keep = |store: &RefCell<Store>| {
        let store = &mut *store.borrow_mut();
        if store.free.is_empty() {
            store.layout = layout;
        }
        let kept = store.layout == layout && store.free.len() < KEPT;
        if kept {
            store.free.push(at);
        }
        kept
    };
    if !STORE.try_with(keep).unwrap_or(false) {
        // SAFETY: from `alloc` with this layout.
        unsafe { dealloc(at.as_ptr(), layout) };
    }
}
