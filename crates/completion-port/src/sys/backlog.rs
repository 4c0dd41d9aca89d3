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

    /// Acts on the oldest, on so many at `most`, and leaves the others for later. Tells since when the first had been left here, if it had.
    pub(super) fn work_off(
        &mut self,
        most: usize,
        now: impl FnOnce() -> Instant,
        mut act: impl FnMut(NonNull<Header>),
    ) -> Option<Instant> {
        let oldest = self.0.front().and_then(|(_, since)| *since);
        for _ in 0..most {
            let Some((op, _)) = self.0.pop_front() else { break };
            act(op);
        }
        self.leave(now);
        oldest
    }

    /// What is here now is left for later.
    fn leave(&mut self, now: impl FnOnce() -> Instant) {
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
        let work_off = |backlog: &mut Backlog, most, now: &dyn Fn() -> Instant| {
            let mut acted_on = Vec::new();
            (backlog.work_off(most, now, |op| acted_on.push(op)), acted_on)
        };
        assert_eq!(work_off(&mut backlog, 1, &|| unreachable!("nothing is left")), (None, vec![]));
        backlog.push(one);
        backlog.push(two);
        assert_eq!(work_off(&mut backlog, 1, &|| begin), (None, vec![one]));
        backlog.push(three);
        assert_eq!(work_off(&mut backlog, 0, &|| later), (Some(begin), vec![]));
        assert_eq!(backlog.len(), 2);
        let told = work_off(&mut backlog, 1, &|| unreachable!("all were left before"));
        assert_eq!(told, (Some(begin), vec![two]));
        assert_eq!(work_off(&mut backlog, 9, &|| unreachable!()), (Some(later), vec![three]));
        assert!(backlog.is_empty());
    }
}
