//! What a driver has heard of the system and not acted on yet.
//!
//! Bytes that are fetched long before their packet is taken have left the processor's caches by then, with all that belongs to their
//! connection. So a driver takes what the system has to tell, but acts on no more of it than is taken soon; the rest waits here, as it
//! was told: the operations themselves are not looked at before it is their turn, since they would have to be fetched twice.

use std::{collections::VecDeque, time::Instant};

/// The oldest first.
pub(super) struct Backlog<T>(VecDeque<(T, Option<Instant>)>);

impl<T> Default for Backlog<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Extend<T> for Backlog<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, told: I) {
        self.0.extend(told.into_iter().map(|one| (one, None)));
    }
}

impl<T> Backlog<T> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Acts on the oldest, until that has come to so many at `most`, by what `act` says of each, and leaves the others for later. Tells since
    /// when the first had been left here, if it had.
    pub(super) fn work_off(
        &mut self,
        most: usize,
        now: impl FnOnce() -> Instant,
        mut act: impl FnMut(T) -> usize,
    ) -> Option<Instant> {
        let oldest = self.0.front().and_then(|(_, since)| *since);
        let mut count = 0;
        while count < most
            && let Some((told, _)) = self.0.pop_front()
        {
            count += act(told);
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
        let begin = Instant::now();
        let later = begin + Duration::from_millis(1);
        let mut backlog = Backlog::default();
        let work_off = |backlog: &mut Backlog<u32>, most, now: &dyn Fn() -> Instant| {
            let mut acted_on = Vec::new();
            let act = |told| {
                acted_on.push(told);
                1
            };
            (backlog.work_off(most, now, act), acted_on)
        };
        assert_eq!(work_off(&mut backlog, 1, &|| unreachable!("nothing is left")), (None, vec![]));
        backlog.extend([1, 2]);
        assert_eq!(work_off(&mut backlog, 1, &|| begin), (None, vec![1]));
        backlog.extend([3]);
        assert_eq!(work_off(&mut backlog, 0, &|| later), (Some(begin), vec![]));
        assert_eq!(backlog.len(), 2);
        let told = work_off(&mut backlog, 1, &|| unreachable!("all were left before"));
        assert_eq!(told, (Some(begin), vec![2]));
        assert_eq!(work_off(&mut backlog, 9, &|| unreachable!()), (Some(later), vec![3]));
        assert!(backlog.is_empty());
    }

    #[test]
    fn what_comes_to_nothing_is_not_counted() {
        let mut backlog = Backlog::default();
        backlog.extend([0, 0, 1, 0, 2, 0]);
        let mut acted_on = 0;
        let act = |told| {
            acted_on += 1;
            told
        };
        assert_eq!(backlog.work_off(2, Instant::now, act), None);
        assert_eq!((acted_on, backlog.len()), (5, 1), "one that comes to more ends it as well");
    }
}
