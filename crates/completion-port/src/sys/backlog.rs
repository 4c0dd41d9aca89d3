//! What the system has told a driver, and the driver has not acted on yet.
//!
//! Bytes that are fetched long before their packet is taken have left the processor's caches by then, with all that belongs to their
//! connection. So a driver hears all that the system has to tell, but fetches no more than is taken soon; the rest waits here.

use std::{collections::VecDeque, time::Instant};

/// Notices, the oldest first.
pub(super) struct Backlog<N>(VecDeque<(N, Option<Instant>)>);

impl<N> Backlog<N> {
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The oldest, and since when it has been left here, if it has.
    pub(super) fn pop(&mut self) -> Option<(N, Option<Instant>)> {
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

impl<N> Extend<N> for Backlog<N> {
    fn extend<I: IntoIterator<Item = N>>(&mut self, notices: I) {
        self.0.extend(notices.into_iter().map(|notice| (notice, None)));
    }
}

#[cfg(all(test, not(completion_port_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_left_is_so_since_it_was_left_first() {
        let begin = Instant::now();
        let later = begin + Duration::from_millis(1);
        let mut backlog = Backlog::new();
        backlog.leave(|| unreachable!("nothing is left"));
        backlog.extend([1, 2]);
        assert_eq!(backlog.pop(), Some((1, None)));
        backlog.leave(|| begin);
        backlog.extend([3]);
        backlog.leave(|| later);
        backlog.leave(|| unreachable!("all were left before"));
        assert_eq!(backlog.len(), 2);
        assert_eq!(backlog.pop(), Some((2, Some(begin))));
        assert_eq!(backlog.pop(), Some((3, Some(later))));
        assert!(backlog.is_empty());
    }
}
