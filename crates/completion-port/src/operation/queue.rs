//! Operations that wait their turn.

use std::{mem, ptr::NonNull};

use super::Header;

/// First in, first out, through the operations' own links. They lead in a circle, from the last back to the first, so that one pointer
/// is enough for both ends.
pub(crate) struct Queue {
    last: Option<NonNull<Header>>,
}

// SAFETY: the queue owns the operations in it (they are Send: K and T are), and is only used behind its direction's lock.
unsafe impl Send for Queue {}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self { last: None }
    }

    /// Takes ownership of `op`, which is in no other list.
    pub(crate) fn push(&mut self, op: NonNull<Header>) {
        // SAFETY: the caller owned `op` and hands it over; the last one in the list is the list's own. Links are the owner's.
        unsafe {
            *op.as_ref().link.get() = match self.last {
                Some(last) => mem::replace(&mut *last.as_ref().link.get(), op),
                None => op,
            };
        }
        self.last = Some(op);
    }

    /// Hands ownership of the first one out.
    pub(crate) fn pop(&mut self) -> Option<NonNull<Header>> {
        let last = self.last?;
        // SAFETY: everything in the list is the list's own and alive; so are the links, which make a circle.
        unsafe {
            let first = *last.as_ref().link.get();
            if first == last {
                self.last = None;
            } else {
                *last.as_ref().link.get() = *first.as_ref().link.get();
            }
            Some(first)
        }
    }

    /// Looks at each one: its kind and when it started.
    pub(crate) fn each(&self, mut look: impl FnMut(&Header)) {
        let Some(last) = self.last else { return };
        let mut at = last;
        loop {
            // SAFETY: everything in the list is the list's own and alive, the links as well, and the caller has the list borrowed.
            let header = unsafe {
                at = *at.as_ref().link.get();
                at.as_ref()
            };
            look(header);
            if at == last {
                return;
            }
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

    type Place8 = Place<(), u8>;

    #[test]
    fn who_came_first_leaves_first() {
        let port = CompletionPort::<(), u8>::new().expect("a port");
        let key = port.key(());
        let push = |queue: &mut Queue, number: u64| {
            let mut op: Place8 =
                Place::new(Operation::new(OpKind::Recv, key.clone(), Context::One(0)));
            op.header.sequence = number;
            queue.push(op.into_header());
        };
        let pop = |queue: &mut Queue| {
            // SAFETY: of these types, from `push`, and out of the queue.
            queue.pop().map(|op| unsafe { Place8::from_header(op) }.header.sequence)
        };
        let seen = |queue: &Queue| {
            let mut seen = Vec::new();
            queue.each(|header| seen.push(header.sequence));
            seen
        };
        let mut queue = Queue::new();
        assert_eq!((pop(&mut queue), seen(&queue)), (None, vec![]));
        push(&mut queue, 1);
        assert_eq!(seen(&queue), [1]);
        push(&mut queue, 2);
        push(&mut queue, 3);
        assert_eq!(seen(&queue), [1, 2, 3]);
        assert_eq!(pop(&mut queue), Some(1));
        push(&mut queue, 4);
        assert_eq!(seen(&queue), [2, 3, 4]);
        assert_eq!([(); 4].map(|()| pop(&mut queue)), [Some(2), Some(3), Some(4), None]);
        push(&mut queue, 5);
        assert_eq!((pop(&mut queue), pop(&mut queue)), (Some(5), None));
    }
}
