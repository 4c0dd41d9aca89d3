//! Operations that are with the driver side by side: those of a file. Any of them may be over next, so each can be taken out where it
//! is, through links in both directions; one pointer to the first of them is the whole row.

use std::ptr::NonNull;

use super::Header;

/// Puts `op`, which is in no list, behind the others.
///
/// # Safety
///
/// All that is in the row exists, and the caller holds the lock of its direction: the links are that one's. So for all below.
pub(crate) unsafe fn insert(row: &mut Option<NonNull<Header>>, op: NonNull<Header>) {
    // SAFETY: the caller's promise.
    unsafe {
        let (first, last) = match *row {
            Some(first) => (first, *first.as_ref().back.get()),
            None => (op, op),
        };
        *op.as_ref().link.get() = first;
        *op.as_ref().back.get() = last;
        *last.as_ref().link.get() = op;
        *first.as_ref().back.get() = op;
        *row = Some(first);
    }
}

/// Takes `op`, which is in the row, out of it.
///
/// # Safety
///
/// As above.
pub(crate) unsafe fn remove(row: &mut Option<NonNull<Header>>, op: NonNull<Header>) {
    // SAFETY: the caller's promise.
    unsafe {
        let (next, before) = (*op.as_ref().link.get(), *op.as_ref().back.get());
        *before.as_ref().link.get() = next;
        *next.as_ref().back.get() = before;
        if *row == Some(op) {
            *row = (next != op).then_some(next);
        }
    }
}

/// Looks at each, the oldest first.
///
/// # Safety
///
/// As above; and `look` takes none out.
pub(crate) unsafe fn each(row: Option<NonNull<Header>>, mut look: impl FnMut(NonNull<Header>)) {
    let Some(first) = row else { return };
    let mut at = first;
    loop {
        look(at);
        // SAFETY: the caller's promise.
        at = unsafe { *at.as_ref().link.get() };
        if at == first {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        CompletionPort,
        operation::{Context, OpKind, Operation, Place},
    };

    #[test]
    fn any_of_them_can_leave() {
        let port = CompletionPort::<(), u8>::new().expect("a port");
        let key = port.key(());
        let ops: Vec<NonNull<Header>> = (0..4)
            .map(|number| {
                let mut op =
                    Place::new(Operation::new(OpKind::ReadAt, key.clone(), Context::One(0)));
                op.header.sequence = number;
                op.into_header()
            })
            .collect();
        let mut row = None;
        let seen = |row| {
            let mut seen = Vec::new();
            // SAFETY: they exist until the end of the test, and this thread has them alone.
            unsafe { each(row, |op| seen.push(op.as_ref().sequence)) };
            seen
        };
        // SAFETY: as above, each in the row once.
        unsafe {
            for op in &ops {
                insert(&mut row, *op);
            }
            assert_eq!(seen(row), [0, 1, 2, 3]);
            remove(&mut row, ops[1]);
            assert_eq!(seen(row), [0, 2, 3]);
            remove(&mut row, ops[0]);
            remove(&mut row, ops[3]);
            insert(&mut row, ops[1]);
            assert_eq!(seen(row), [2, 1]);
            remove(&mut row, ops[1]);
            remove(&mut row, ops[2]);
            assert_eq!((seen(row), row), (vec![], None));
            for op in ops {
                drop(Place::<(), u8>::from_header(op));
            }
        }
    }
}
