//! `get` in its alertable form.

use std::time::Duration;

use super::place::{Alertably, Place};
use crate::{
    error,
    operation::Completion,
    port::{CompletionPort, GetError, get},
};

impl<K: Send + Sync + 'static, T: Send + 'static> CompletionPort<K, T> {
    /// Takes a packet in an alertable wait: while the thread waits, its completion routines run, and end the wait with
    /// [`GetError::Alerted`] (S33). `timeout` is `None` for ever.
    ///
    /// A packet that is there comes first, and routines stay queued (S34), but for the thread's first wait at this port, or its
    /// first after a wait at another (S35).
    ///
    /// # Errors
    ///
    /// [`GetError::Alerted`], or as [`get_timeout`](CompletionPort::get_timeout). A simulated port cannot be waited at alertably. A
    /// panic in a routine comes out of this call; no packet is lost by it.
    ///
    /// ```
    /// use completion_port::{CompletionPort, GetError, routine::{current, queue_user_apc}};
    ///
    /// let port = CompletionPort::<(), ()>::new()?;
    /// queue_user_apc(&current()?, || println!("a routine"))?;
    /// assert!(matches!(port.get_alertable(None), Err(GetError::Alerted)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "GetQueuedCompletionStatusEx")]
    pub fn get_alertable(&self, timeout: Option<Duration>) -> Result<Completion<K, T>, GetError> {
        let mut out = Vec::with_capacity(1);
        self.get_many_alertable(&mut out, 1, timeout)?;
        out.pop().ok_or(GetError::TimedOut)
    }

    /// [`get_many`](CompletionPort::get_many) in an alertable wait: `GetQueuedCompletionStatusEx(..., TRUE)`. See
    /// [`get_alertable`](CompletionPort::get_alertable).
    ///
    /// # Errors
    ///
    /// As [`get_alertable`](CompletionPort::get_alertable); a `max` of 0 is refused (S30). `out` is as it was then.
    #[doc(alias = "GetQueuedCompletionStatusEx")]
    pub fn get_many_alertable(
        &self,
        out: &mut Vec<Completion<K, T>>,
        max: usize,
        timeout: Option<Duration>,
    ) -> Result<usize, GetError> {
        if max == 0 {
            return Err(GetError::Failed(error::no_batch()));
        }
        // A thread without a place, or one that is ending, has no routines that could run.
        let Ok(Some(place)) = Place::existing() else { return self.get_many(out, max, timeout) };
        let shared = &self.shared;
        let now = shared.deadline(Some(Duration::ZERO));
        if !shared.scheduler.is_joined() {
            place.gather(now, &[]).map_err(GetError::Failed)?;
            if place.run() {
                return Err(GetError::Alerted);
            }
        }
        shared.scheduler.join();
        let deadline = shared.deadline(timeout);
        let before = out.len();
        loop {
            let mut wait = Alertably { place: &place, failure: None };
            let taken = get::take(shared, out, max, deadline, &mut wait);
            match (taken, wait.failure) {
                // With a packet; what failed will fail again.
                (Ok(()), _) => return Ok(out.len() - before),
                (Err(_), Some(e)) => return Err(GetError::Failed(e)),
                (Err(GetError::Alerted), None) if !place.run() => {}
                (Err(e), None) => return Err(e),
            }
        }
    }
}
