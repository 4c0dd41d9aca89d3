//! Receives whose bytes are there, and have not been fetched yet.
//!
//! Bytes that are fetched long before their packet is taken have left the processor's caches by then, with all that belongs to their
//! connection. So a driver hears all that the system has to tell, but fetches no more than is taken soon; the rest waits here.

use std::{collections::VecDeque, ptr::NonNull, time::Instant};

use crate::operation::Header;

/// The oldest first. They are the driver's.
#[derive(Default)]
pub(super) struct Backlog(VecDeque<(NonNull<Header>, Option<Instant>)>);

// SAFETY: the driver owns what is here, from whichever thread it is called.
unsafe impl Send for Backlog {}

impl Backlog {
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))] // the io_uring driver's
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, op: NonNull<Header>) {
        self.0.push_back((op, None));
    }

    /// The oldest, and since when it has been left here, if it has.
    pub(super) fn pop(&mut self) -> Option<(NonNull<Header>, Option<Instant>)> {
        self.0.pop_front()
    }

    /// What is here now is left for later.
    pub(super) fn leave(&mut self, now: impl FnOnce() -> Instant) {
        if self.0.back().is_none_or(|(_, since)| since.is_some()) {
            return;
        }
        let now = now();
        for (_, since) in self.0.iter_mut().rev().take_while(|(_, since)| since.is_none()) {
            *since = Some(now);
        }
    }
}

#[cfg(all(test, not(completion_port_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_left_is_so_since_it_was_left_first() {
        let [one, two, three] =
            [8, 16, 24].map(|at| NonNull::new(at as *mut Header).expect("not null"));
        let begin = Instant::now();
        let later = begin + Duration::from_millis(1);
        let mut backlog = Backlog::default();
        backlog.leave(|| unreachable!("nothing is left"));
        backlog.push(one);
        backlog.push(two);
        assert_eq!(backlog.pop(), Some((one, None)));
        backlog.leave(|| begin);
        backlog.push(three);
        backlog.leave(|| later);
        backlog.leave(|| unreachable!("all were left before"));
        assert_eq!(backlog.len(), 2);
        assert_eq!(backlog.pop(), Some((two, Some(begin))));
        assert_eq!(backlog.pop(), Some((three, Some(later))));
        assert!(backlog.is_empty());
    }
}
