//! How a packet is taken, and the driver driven meanwhile.

use std::{
    any::Any,
    cell::LazyCell,
    error::Error,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use super::{Due, Shared, scheduling::Scheduling, shared::Hand, system};
use crate::{
    handle::settle,
    operation::Completion,
    schedule::{Next, Out, Punctual, Scheduler, Seating, Set, Sleeper, ThreadSleeper, until},
    sys::{Drivers, Event, SystemPort, Taken, Waited},
};

/// Why there is no packet.
///
/// ```
/// use completion_port::{CompletionPort, GetError};
///
/// let port = CompletionPort::<(), ()>::new()?;
/// port.close();
/// let error = port.get().unwrap_err();
/// assert!(matches!(error, GetError::Closed));
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::NotConnected);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum GetError {
    /// The port is closed: `ERROR_ABANDONED_WAIT_0` (S22).
    Closed,
    /// The time is up: `WAIT_TIMEOUT` (S20).
    TimedOut,
    /// Routines of this thread have run instead: `WAIT_IO_COMPLETION` (S33). Only from an alertable wait
    /// ([`get_alertable`](crate::CompletionPort::get_alertable)).
    Alerted,
    /// The driver failed, which no program causes, or the call made no sense.
    Failed(io::Error),
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GetError::Closed => f.write_str("the completion port is closed"),
            GetError::TimedOut => f.write_str("no packet came in time"),
            GetError::Alerted => f.write_str("completion routines ran, and no packet was taken"),
            GetError::Failed(e) => write!(f, "no packet could be taken: {e}"),
        }
    }
}

impl Error for GetError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            GetError::Failed(e) => Some(e),
            _ => None,
        }
    }
}

impl From<GetError> for io::Error {
    fn from(error: GetError) -> Self {
        match error {
            GetError::Closed => crate::error::port_closed(),
            GetError::TimedOut => io::ErrorKind::TimedOut.into(),
            GetError::Alerted => io::Error::new(io::ErrorKind::Interrupted, error),
            GetError::Failed(e) => e,
        }
    }
}

pub(super) fn one<K: Send + Sync + 'static, T: Send + 'static>(
    shared: &Shared<K, T>,
    timeout: Option<Duration>,
) -> Result<Completion<K, T>, GetError> {
    let mut out = Err(GetError::TimedOut);
    shared.scheduler.join();
    match take(shared, &mut out, 1, shared.deadline(timeout), &mut ThreadSleeper) {
        Ok(()) => out,
        Err(e) => Err(e),
    }
}

/// For who takes one: it is the call's outcome.
impl<P> Out<P> for Result<P, GetError> {
    fn put(&mut self, packet: P) {
        debug_assert!(self.is_err(), "one was asked for");
        *self = Ok(packet);
    }
}

pub(super) fn many<K: Send + Sync + 'static, T: Send + 'static>(
    shared: &Shared<K, T>,
    out: &mut Vec<Completion<K, T>>,
    max: usize,
    timeout: Option<Duration>,
) -> Result<usize, GetError> {
    shared.scheduler.join();
    let before = out.len();
    take(shared, out, max, shared.deadline(timeout), &mut ThreadSleeper)?;
    Ok(out.len() - before)
}

/// How a thread waits while it has a seat: asleep in drivers. Before that it is a [`Sleeper`], parked until its turn.
pub(crate) trait Wait {
    /// [`Drivers::wait`]. What comes beside ends the wait.
    fn sleep(
        &mut self,
        drivers: &Drivers,
        those: Set,
        timeout: Option<Duration>,
        most: usize,
        events: &mut Vec<Event>,
    ) -> io::Result<Waited> {
        drivers.wait(those, &[], timeout, most, events)
    }

    /// [`SystemPort::take`], where the system decides who runs. True if something has come beside, which ends the wait.
    fn take(
        &mut self,
        port: &dyn SystemPort,
        _drivers: &Drivers,
        max: usize,
        timeout: Option<Duration>,
        taken: &mut Vec<Taken>,
    ) -> io::Result<bool> {
        port.take(max, timeout, taken).map(|()| false)
    }
}

impl Wait for ThreadSleeper {}

/// Takes what is there, at most `max`, waiting in the given way. `Alerted` when something has come beside, and no packet.
pub(crate) fn take<K: Send + Sync + 'static, T: Send + 'static>(
    shared: &Shared<K, T>,
    out: &mut impl Out<Completion<K, T>>,
    max: usize,
    deadline: Option<Instant>,
    wait: &mut (impl Sleeper + Wait),
) -> Result<(), GetError> {
    let scheduler = match &shared.scheduler {
        Scheduling::Library(scheduler) => scheduler,
        Scheduling::System(queue) => return system::take(shared, queue, out, max, deadline, wait),
    };
    let mut next = scheduler.next(max, out, deadline, wait);
    loop {
        next = match next {
            Next::Drive(seating) => drive(shared, scheduler, seating, out, max, deadline, wait)?,
            Next::Wait(arrival) => scheduler.wait_on(arrival, max, out, deadline, wait),
            next => return outcome(next),
        };
    }
}

/// For the one thread of a port: takes all that is there, and looks at the driver before, so that what is over is in it.
pub(crate) fn take_all<K: Send + Sync + 'static, T: Send + 'static>(
    shared: &Shared<K, T>,
    out: &mut impl Out<Completion<K, T>>,
    deadline: Option<Instant>,
    wait: &mut impl Wait,
) -> Result<(), GetError> {
    let scheduler = match &shared.scheduler {
        Scheduling::Library(scheduler) => scheduler,
        // No system schedules a thread's own port: what comes beside would not end this wait.
        Scheduling::System(queue) => {
            return system::take(shared, queue, out, usize::MAX, deadline, wait);
        }
    };
    outcome(match scheduler.sit_down() {
        Next::Drive(seating) => drive(shared, scheduler, seating, out, usize::MAX, deadline, wait)?,
        next => next,
    })
}

fn outcome(next: Next) -> Result<(), GetError> {
    match next {
        Next::Taken => Ok(()),
        Next::TimedOut => Err(GetError::TimedOut),
        Next::Beside => Err(GetError::Alerted),
        Next::Closed | Next::Drive(_) | Next::Wait(_) => Err(GetError::Closed),
    }
}

/// Gives the seat up, whatever happens: a panic in a context's maker, for one.
struct Seat<'a, K: 'static, T: 'static> {
    shared: &'a Shared<K, T>,
    scheduler: &'a Scheduler<Completion<K, T>>,
    seating: Seating,
    /// What was settled, and not brought in yet, is in it.
    hand: Hand<K, T>,
    given_up: bool,
}

impl<K, T> Drop for Seat<'_, K, T> {
    fn drop(&mut self) {
        let Hand { events, packets, .. } = &mut self.hand;
        if !self.given_up {
            for packet in packets.drain(..) {
                self.scheduler.push(packet);
            }
            self.scheduler.leave(self.seating.seat);
            drop(self.scheduler.leftovers());
        }
        events.clear();
        self.shared.put_back(std::mem::take(&mut self.hand));
    }
}

/// So many receives are done at once, or as many as who waits can take, if all are taken soon: of more, the first would be out of the
/// processor's caches before its packet is taken (docs/performance.md).
const AT_ONCE: usize = if cfg!(completion_port_crowd) { 1 } else { 16 };

/// With a seat: sleeps in its drivers and settles what they bring, until there is a packet for this thread.
fn drive<K: Send + Sync + 'static, T: Send + 'static>(
    shared: &Shared<K, T>,
    scheduler: &Scheduler<Completion<K, T>>,
    seating: Seating,
    out: &mut impl Out<Completion<K, T>>,
    max: usize,
    deadline: Option<Instant>,
    wait: &mut impl Wait,
) -> Result<Next, GetError> {
    let mut seat = Seat { shared, scheduler, seating, hand: shared.hand(), given_up: false };
    let (mut looked, mut waited) = (false, Waited::default());
    let mut punctual = None;
    loop {
        let Hand { events, packets, .. } = &mut seat.hand;
        let panic = settle_all(shared, events, packets);
        if let Some(panic) = panic {
            std::panic::resume_unwind(panic);
        }
        // Before the first look at the drivers only if there is nothing in them to be looked at.
        if looked || !packets.is_empty() {
            let number = seat.seating.seat;
            match scheduler.next_in_seat(number, packets, waited.since, max, out) {
                // There may be more drivers to look at.
                Next::Drive(seating) => seat.seating = seating,
                next => {
                    seat.given_up = true;
                    if matches!(next, Next::Closed) {
                        // Long after the close, perhaps: then nobody else is left to take what was brought in here.
                        drop(scheduler.leftovers());
                    }
                    return Ok(next);
                }
            }
        }
        if waited.beside {
            return Ok(Next::Beside);
        }
        // Read once, and only if there is an end to be reckoned with: a deadline, a timer, a look.
        let now = LazyCell::new(|| shared.drivers.now());
        let left = until(deadline, || *now);
        if looked && left == Some(Duration::ZERO) {
            return Ok(Next::TimedOut);
        }
        // Timers are with the first driver.
        let first = seat.seating.drivers.contains(0);
        let (timer, exactly) = if first { shared.timers.sleep() } else { (None, false) };
        let to_timer = until(timer, || *now);
        let sleep = [left, to_timer].into_iter().flatten().min();
        // Asleep is who must be woken: not for a mere look.
        let asleep =
            if sleep == Some(Duration::ZERO) { None } else { scheduler.fall_asleep(seat.seating) };
        // Behind packets that wait in the queue already, nothing is taken soon; and posts without end must not hold it up for long.
        let queued = asleep.is_none() && sleep != Some(Duration::ZERO);
        let most = if queued { usize::MAX } else { max.max(AT_ONCE) };
        let sleep = match asleep {
            Some(look) => [sleep, until(look, || *now)].into_iter().flatten().min(),
            None => Some(Duration::ZERO),
        };
        if (exactly || asleep.flatten().is_some()) && punctual.is_none() {
            punctual = Some(Punctual::new());
        }
        let drivers = seat.seating.drivers;
        let result = wait.sleep(&shared.drivers, drivers, sleep, most, &mut seat.hand.events);
        if first {
            shared.timers.wake();
        }
        if asleep.is_some() {
            scheduler.wake_up(seat.seating);
        }
        looked = true;
        waited = result.map_err(GetError::Failed)?;
    }
}

/// So many timers fire before what they bring is taken: a million may be due at once.
const DUE_AT_ONCE: usize = 256;

/// What a panic of the user's code carried.
type Payload = Box<dyn Any + Send>;

/// Settles what the drivers reported, and sees to what else there is to do.
pub(super) fn settle_all<K: Send + Sync + 'static, T: Send + 'static>(
    shared: &Shared<K, T>,
    events: &mut Vec<Event>,
    packets: &mut Vec<Completion<K, T>>,
) -> Option<Payload> {
    let mut sink = |packet| packets.push(packet);
    let mut panic = None;
    for event in events.drain(..) {
        panic = panic.or(settle_one(event, &mut sink));
    }
    panic.or(look_around(shared, &mut sink))
}

/// Settles what a driver reported.
pub(super) fn settle_one<K: Send + Sync + 'static, T: Send + 'static>(
    event: Event,
    sink: &mut dyn FnMut(Completion<K, T>),
) -> Option<Payload> {
    guarded(|| settle::<K, T>(event, sink))
}

/// Fires what is due, and starts again what waited for its turn or for a buffer.
pub(super) fn look_around<K: Send + Sync + 'static, T: Send + 'static>(
    shared: &Shared<K, T>,
    sink: &mut dyn FnMut(Completion<K, T>),
) -> Option<Payload> {
    let mut panic = None;
    for deferred in shared.take_deferred() {
        panic = panic.or(guarded(|| deferred.go_on(sink)));
    }
    while let Some((starved, holder)) = shared.next_starved() {
        panic = panic.or(guarded(|| starved.revive(holder, sink)));
    }
    // The clock is read only for them.
    crate::pause::here();
    if shared.timers.any() {
        let now = shared.drivers.now();
        for _ in 0..DUE_AT_ONCE {
            let Some(fired) = shared.timers.due(now, Due::comes_again) else { break };
            panic = panic.or(guarded(|| shared.fire(fired, sink)));
        }
    }
    shared.let_pool_relax();
    panic
}

/// The last reference to a handle may be dropped in any of these, and with it a key of the user's: its panic must not cost what is behind
/// it.
fn guarded(act: impl FnOnce() -> Option<Payload>) -> Option<Payload> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(Some)
}
