//! Timers of a handle, and deadlines of its operations.
//!
//! A timer is an operation without I/O: pending from its start to its last packet, and it keeps its handle meanwhile. Its cancelled packet is
//! brought in behind the lock of the handle's first direction, as those of I/O are, so that a close that has been through it misses none.

use std::{
    any::Any,
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Handle, Inner,
    settle::{Sink, deliver},
    stop,
};
use crate::{
    error,
    operation::{Completion, Each, Extra, OpId, OpKind, Refused, Side},
    port::Due,
    schedule::timers::{Disarmed, Of, TimerKey},
};

/// Names a timer of a handle, for [`Handle::cancel_timer`]. It is never used twice: the id of a timer that is over cancels nothing.
///
/// ```
/// use completion_port::{CompletionPort, TimerId};
/// use std::time::Duration;
///
/// let port = CompletionPort::<(), ()>::new()?;
/// let key = port.key(());
/// let timer: TimerId = key.timer(Duration::ZERO, ())?;
/// port.get()?;
/// assert!(!key.cancel_timer(timer), "it is over");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerId(TimerKey);

impl<K: Send + Sync + 'static, T: Send + 'static> Handle<K, T> {
    /// Has a packet come in a while, with this handle's key, `Ok(1)` and no I/O behind it; any handle can do that, a bare
    /// [key](crate::CompletionPort::key) too. It never comes before its time, and how long after depends on who is in `get`: a thread that
    /// waits there wakes for it. A time beyond the clock's range is never. A million timers cost no wake-up until the first is due.
    ///
    /// Until then it is pending as any operation: it keeps the handle, and if it is [cancelled](Handle::cancel_timer), or handle or port
    /// are closed, its one packet comes with [`Situation::Cancelled`](crate::error::Situation::Cancelled).
    ///
    /// # Errors
    ///
    /// Refused when the handle or the port is closed; the context comes back.
    ///
    /// ```
    /// use completion_port::{CompletionPort, OpKind};
    /// use std::time::{Duration, Instant};
    ///
    /// let port = CompletionPort::<&str, u32>::new()?;
    /// let before = Instant::now();
    /// port.key("a key").timer(Duration::from_millis(5), 42)?;
    /// let done = port.get()?;
    /// assert!(before.elapsed() >= Duration::from_millis(5));
    /// assert_eq!((*done.handle.key(), done.context, done.kind()), ("a key", 42, OpKind::Timer));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "SetWaitableTimer")]
    #[doc(alias = "CreateThreadpoolTimer")]
    pub fn timer(&self, after: Duration, context: T) -> Result<TimerId, Refused<T>> {
        self.arm(after, context, Due::Once).map_err(|(error, context)| Refused {
            error,
            buffer: (),
            context,
        })
    }

    /// Has a packet come every `period`, for the first time after one. `maker` makes the context of each: the first here, the others on
    /// the threads that bring packets in. Hold no lock there that the maker takes.
    ///
    /// At most one packet is there at a time: until somebody has taken it and dropped it (or taken it apart), further periods are
    /// only counted. Each packet's result, `Ok(n)`, tells how many are over since the last one, 1 where all is in time. The periods
    /// count from the start, so being late is not added up.
    ///
    /// It ends as a [`timer`](Handle::timer) does: by one more packet, marked by [`Completion::last`], with
    /// [`Situation::Cancelled`](crate::error::Situation::Cancelled). If `maker` panics, the panic comes out of the call that it was in, there
    /// is no packet for that period (or no final one), and the timer goes on.
    ///
    /// # Errors
    ///
    /// Refused: a period of no length (`InvalidInput`), the handle or the port is closed.
    ///
    /// ```
    /// use completion_port::CompletionPort;
    /// use std::time::Duration;
    ///
    /// let port = CompletionPort::<(), &str>::new()?;
    /// let clock = port.key(());
    /// let timer = clock.every(Duration::from_millis(1), || "tick")?;
    /// for _ in 0..3 {
    ///     let done = port.get()?;
    ///     assert_eq!((done.context, done.last()), ("tick", false));
    ///     assert!(done.result? >= 1);
    /// }
    /// assert!(clock.cancel_timer(timer));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "SetWaitableTimer")]
    pub fn every(
        &self,
        period: Duration,
        maker: impl FnMut() -> T + Send + 'static,
    ) -> Result<TimerId, Refused<()>> {
        let refused = |error| Refused { error, buffer: (), context: () };
        if period.is_zero() {
            return Err(refused(error::no_period()));
        }
        let ticking =
            Ticking { each: Each::begin(maker), period, over: 0, untaken: Arc::default() };
        self.arm(period, Box::new(ticking), Due::Each).map_err(|(error, _)| refused(error))
    }

    fn arm<C>(
        &self,
        after: Duration,
        what: C,
        due: fn(Self, C) -> Due<K, T>,
    ) -> Result<TimerId, (io::Error, C)> {
        let inner = &self.0;
        let at = inner.port.deadline(Some(after));
        let direction = inner.side(Side::In);
        if let Some(error) = direction.closed_by() {
            return Err((error, what));
        }
        let of = Of::Posting(inner.index);
        let (key, late) = inner.port.timers.arm(of, at, due(self.clone(), what));
        drop(direction);
        inner.port.scheduler.armed(late);
        Ok(TimerId(key))
    }

    /// Cancels a timer of this handle: `CancelWaitableTimer`. True if it was pending: its last packet comes, with
    /// [`Situation::Cancelled`](crate::error::Situation::Cancelled). False if there is none: a timer's only packet may be on its way then.
    ///
    /// ```
    /// use completion_port::CompletionPort;
    /// use std::time::Duration;
    ///
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let key = port.key(());
    /// let timer = key.timer(Duration::from_secs(3600), ())?;
    /// assert!(key.cancel_timer(timer));
    /// assert!(port.get()?.result.is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "CancelWaitableTimer")]
    pub fn cancel_timer(&self, timer: TimerId) -> bool {
        let inner = &self.0;
        let direction = inner.side(Side::In);
        let found = inner.port.timers.disarm(Of::Posting(inner.index), timer.0);
        let (mut sink, mut maker) = (deliver(inner), None);
        let pending = found.is_some();
        if let Some(Disarmed::Taken(due)) = found {
            maker = due.end(&mut sink);
        }
        drop(direction);
        // The user's code.
        drop(maker);
        pending
    }

    /// Gives a started operation a time by which it is to be over, from now on; a second one takes the place of the first. If it is not,
    /// it ends as if it were [cancelled](Handle::cancel) then, with [`TimedOut`](io::ErrorKind::TimedOut) instead; a receive whose data had
    /// come completes with it. False if the operation is over (its packet may be on its way), or cancelled.
    ///
    /// That goes for every kind of operation: a connect, a send to a peer that does not read, a receive from one that says nothing.
    /// It needs a thread in `get` to pass. An operation that ends in time takes its deadline along.
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort};
    /// use std::{io::ErrorKind, net::{TcpListener, TcpStream}, time::Duration};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let _says_nothing = TcpStream::connect(listener.local_addr()?)?;
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let server = port.associate(listener.accept()?.0, ())?;
    ///
    /// let request = server.recv(Buffer::with_capacity(1024), ())?;
    /// server.expire(request, Duration::from_millis(5));
    /// assert_eq!(port.get()?.result.unwrap_err().kind(), ErrorKind::TimedOut);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "SO_RCVTIMEO")]
    #[doc(alias = "CancelIoEx")]
    pub fn expire(&self, op: OpId, after: Duration) -> bool {
        let inner = &self.0;
        let timers = &inner.port.timers;
        let at = inner.port.deadline(Some(after));
        // Behind this lock the operation cannot end: what is armed here is disarmed there.
        let direction = inner.side(op.side);
        let mut timed = None;
        inner.each_in(&direction, |header| {
            if header.sequence == op.sequence && !header.cancelled() {
                timed = Some(header.set_timed());
            }
        });
        let Some(timed) = timed else { return false };
        let of = Of::Deadline(inner.index);
        let (moved, mut late) =
            if timed { timers.move_one(of, at, |due| due.is_of(op)) } else { (false, false) };
        if !moved {
            let deadline = Deadline { handle: Arc::downgrade(inner), op };
            late = timers.arm(of, at, Due::Expire(deadline)).1;
        }
        drop(direction);
        inner.port.scheduler.armed(late);
        true
    }
}

/// An operation, if its handle still exists.
pub(crate) struct Deadline<K: 'static, T: 'static> {
    handle: Weak<Inner<K, T>>,
    op: OpId,
}

impl<K: Send + Sync + 'static, T: Send + 'static> Deadline<K, T> {
    /// It has passed.
    pub(crate) fn pass(self) {
        if let Some(inner) = self.handle.upgrade() {
            stop::expire(&inner, self.op);
        }
    }
}

/// A timer that comes again and again.
pub(crate) struct Ticking<T> {
    each: Each<T>,
    period: Duration,
    /// Periods that no packet has told of.
    over: usize,
    untaken: Arc<AtomicBool>,
}

/// Lies in a packet of such a timer: there is no other while it exists.
pub(crate) struct Untaken(Arc<AtomicBool>);

impl Drop for Untaken {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl<T: Send + 'static> Ticking<T> {
    /// It was due `at` a time that is over: brings its packet in, unless there is one. When it is due next; and the panic of the maker.
    pub(crate) fn tick<K: Send + Sync + 'static>(
        &mut self,
        handle: &Handle<K, T>,
        at: Instant,
        now: Instant,
        sink: Sink<'_, K, T>,
    ) -> (Option<Instant>, Option<Box<dyn Any + Send>>) {
        let period = self.period.as_nanos();
        let periods = now.saturating_duration_since(at).as_nanos() / period + 1;
        self.over = self.over.saturating_add(usize::try_from(periods).unwrap_or(usize::MAX));
        let mut panic = None;
        if !self.untaken.load(Ordering::Acquire) {
            // Only if it panicked the last time.
            panic = self.each.prepare().err();
            if let Some(context) = self.each.next.take() {
                self.untaken.store(true, Ordering::Relaxed);
                let over = std::mem::take(&mut self.over);
                let packet = Completion::new(handle.clone(), OpKind::Every, 0, Ok(over), context);
                let untaken = Extra::Untaken(Untaken(self.untaken.clone()));
                sink(packet.with_more_to_come().with_extra(untaken));
                panic = self.each.prepare().err();
            }
        }
        let next = u64::try_from(period.saturating_mul(periods)).ok();
        (next.and_then(|next| at.checked_add(Duration::from_nanos(next))), panic)
    }
}

impl<K: Send + Sync + 'static, T: Send + 'static> Due<K, T> {
    fn is_of(&self, op: OpId) -> bool {
        matches!(self, Due::Expire(deadline) if deadline.op == op)
    }

    /// A timer is cancelled: brings its last packet in. What is returned is the user's, to be dropped without a lock.
    pub(crate) fn end(self, sink: Sink<'_, K, T>) -> Option<Box<dyn Send>> {
        let cancelled = || Err(error::cancelled());
        match self {
            Due::Once(handle, context) => {
                sink(Completion::new(handle, OpKind::Timer, 0, cancelled(), context));
                None
            }
            Due::Each(handle, ticking) => {
                let Each { maker, next } = ticking.each;
                if let Some(context) = next {
                    sink(Completion::new(handle, OpKind::Every, 0, cancelled(), context));
                }
                Some(Box::new(maker))
            }
            Due::Expire(_) | Due::Relax => None,
        }
    }
}

/// Cancels all timers of a handle. Tells how many that were.
pub(super) fn end_all<K: Send + Sync + 'static, T: Send + 'static>(
    inner: &Arc<Inner<K, T>>,
    sink: Sink<'_, K, T>,
) -> usize {
    let direction = inner.side(Side::In);
    let (all, count) = inner.port.timers.disarm_all(Of::Posting(inner.index));
    let makers: Vec<_> = all.into_iter().rev().filter_map(|due| due.end(sink)).collect();
    drop(direction);
    drop(makers);
    count
}

/// An operation is over: so is its deadline. Its direction's lock is held.
pub(super) fn forget<K, T>(inner: &Inner<K, T>, op: OpId) {
    let meant = |due: &Due<K, T>| matches!(due, Due::Expire(deadline) if deadline.op == op);
    drop(inner.port.timers.disarm_one(Of::Deadline(inner.index), meant));
}

#[cfg(all(test, not(completion_port_loom)))]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::{Buffer, CompletionPort};

    /// A server that gives each receive a deadline has no more of them than receives.
    #[test]
    fn an_operation_that_ends_in_time_takes_its_deadline_along()
    -> Result<(), Box<dyn std::error::Error>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let port = CompletionPort::<(), ()>::new()?;
        let server = port.associate(listener.accept()?.0, ())?;
        let armed = || port.shared.timers.armed_deadlines();
        for _ in 0..10 {
            let id = server.recv(Buffer::with_capacity(1), ())?;
            assert!(server.expire(id, Duration::from_secs(3600)));
            assert!(server.expire(id, Duration::from_secs(7200)), "moved");
            assert_eq!(armed(), 1);
            client.write_all(b"x")?;
            assert_eq!(port.get()?.result?, 1);
            assert_eq!(armed(), 0);
        }
        Ok(())
    }
}
