//! How a thread waits for events: parked, or, if it has I/O or calls of its own, asleep in its driver.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{BOARD, Event};
use crate::{
    blocking, error,
    routine::{Gathered, Place},
    schedule::{Park, Sleeper, ThreadSleeper, Waker},
};

/// How many of its events a wait is for: `bWaitAll`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    /// The first that is signaled; if several are, the first in the list.
    Any,
    /// All of them at one moment. None is taken before.
    All,
}

/// Why a wait for events is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Waited {
    /// What was waited for is signaled: `WAIT_OBJECT_0` plus this index in the list of events, 0 for all of them.
    #[doc(alias = "WAIT_OBJECT_0")]
    #[doc(alias = "WSA_WAIT_EVENT_0")]
    Signaled(usize),
    /// The time is up: `WAIT_TIMEOUT`.
    #[doc(alias = "WAIT_TIMEOUT")]
    TimedOut,
    /// Routines have run instead: `WAIT_IO_COMPLETION`. No event was taken (S169).
    #[doc(alias = "WAIT_IO_COMPLETION")]
    IoCompletion,
}

/// Waits until one of the events is signaled, at most so long (`None` for ever): `WaitForMultipleObjects(..., FALSE, ...)`. Tells which
/// one, by its index, the first of several; an event that resets by itself is taken by that, the others are left alone. `None` if the
/// time is up. Never alertable.
///
/// Any number of events will do; Windows takes 64 (`MAXIMUM_WAIT_OBJECTS`).
///
/// # Errors
///
/// `InvalidInput` for a list of none. The thread's driver failed, which no program causes.
///
/// ```
/// use completion_port::event::{Event, wait_any};
///
/// let events: Vec<Event> = (0..100).map(|n| Event::auto_reset(n == 70)).collect();
/// let list: Vec<&Event> = events.iter().collect();
/// assert_eq!(wait_any(&list, None)?, Some(70));
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "WaitForMultipleObjects")]
#[doc(alias = "WSAWaitForMultipleEvents")]
pub fn wait_any(events: &[&Event], timeout: Option<Duration>) -> io::Result<Option<usize>> {
    Ok(match wait(events, Which::Any, timeout, false)? {
        Waited::Signaled(index) => Some(index),
        Waited::TimedOut | Waited::IoCompletion => None,
    })
}

/// Waits until all events are signaled at once, at most so long (`None` for ever): `WaitForMultipleObjects(..., TRUE, ...)`. Those that
/// reset by themselves are all taken at that moment, and none before. False if the time is up. Never alertable.
///
/// # Errors
///
/// `InvalidInput` for a list of none, or with an event twice. The thread's driver failed, which no program causes.
///
/// ```
/// use completion_port::event::{Event, wait_all};
/// use std::time::Duration;
///
/// let (first, second) = (Event::auto_reset(true), Event::auto_reset(false));
/// assert!(!wait_all(&[&first, &second], Some(Duration::ZERO))?);
/// second.set();
/// assert!(wait_all(&[&first, &second], None)?);
/// assert!(!first.wait(Some(Duration::ZERO))?, "it was taken with the other");
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "WaitForMultipleObjects")]
#[doc(alias = "WSAWaitForMultipleEvents")]
pub fn wait_all(events: &[&Event], timeout: Option<Duration>) -> io::Result<bool> {
    Ok(matches!(wait(events, Which::All, timeout, false)?, Waited::Signaled(_)))
}

/// Every wait for events.
pub(crate) fn wait(
    events: &[&Event],
    which: Which,
    timeout: Option<Duration>,
    alertable: bool,
) -> io::Result<Waited> {
    let events = numbers(events, which)?;
    // A time beyond the clock's range is none.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    // A thread that is ending has no place any more, and no I/O.
    match Place::existing() {
        Ok(Some(place)) => in_place(&place, &events, which, deadline, alertable),
        Ok(None) | Err(_) => Ok(parked(&events, which, deadline)),
    }
}

fn numbers(events: &[&Event], which: Which) -> io::Result<Vec<usize>> {
    let numbers: Vec<_> = events.iter().map(|event| event.number()).collect();
    if numbers.is_empty() {
        return Err(error::no_events());
    }
    if which == Which::All {
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|two| two[0] == two[1]) {
            return Err(error::event_twice());
        }
    }
    Ok(numbers)
}

/// The wait of a thread that has nothing else to look after.
fn parked(events: &[usize], which: Which, deadline: Option<Instant>) -> Waited {
    if let Some(index) = BOARD.take(events, which) {
        return Waited::Signaled(index);
    }
    let mut sleeper = ThreadSleeper;
    let waiting = match Waiting::begin(events, which, sleeper.waker()) {
        Ok(index) => return Waited::Signaled(index),
        Err(waiting) => waiting,
    };
    blocking(|| {
        while !waiting.is_released() {
            if matches!(sleeper.park(deadline), Park::TimedOut) {
                break;
            }
        }
    });
    waiting.end().map_or(Waited::TimedOut, Waited::Signaled)
}

/// The wait of a thread that may have I/O in flight, and calls queued for it.
fn in_place(
    place: &Place,
    events: &[usize],
    which: Which,
    deadline: Option<Instant>,
    alertable: bool,
) -> io::Result<Waited> {
    // What is over by now, and what is queued, comes before the events (S169).
    place.look()?;
    if alertable && place.run() {
        return Ok(Waited::IoCompletion);
    }
    if let Some(index) = BOARD.take(events, which) {
        return Ok(Waited::Signaled(index));
    }
    let waiting = match Waiting::begin(events, which, place.waker()) {
        Ok(index) => return Ok(Waited::Signaled(index)),
        Err(waiting) => waiting,
    };
    loop {
        let gathered = blocking(|| place.rest(deadline, alertable))?;
        match gathered {
            Gathered::Beside if !waiting.is_released() => {}
            Gathered::Beside | Gathered::TimedOut => {
                return Ok(waiting.end().map_or(Waited::TimedOut, Waited::Signaled));
            }
            Gathered::Runnable => {
                // It waits no longer while they run: what they signal is for the next wait (S171). What it was given already, it keeps,
                // and they stay queued.
                if let Some(index) = waiting.end() {
                    return Ok(Waited::Signaled(index));
                }
                place.run();
                return Ok(Waited::IoCompletion);
            }
        }
    }
}

/// A thread that waits, until this is dropped. What it was given and has not seen goes back then: its driver has failed.
struct Waiting(Option<usize>);

impl Waiting {
    fn begin(events: &[usize], which: Which, waker: Waker) -> Result<usize, Self> {
        BOARD.begin(events, which, waker).map_err(|waiter| Self(Some(waiter)))
    }

    fn is_released(&self) -> bool {
        self.0.is_some_and(|waiter| BOARD.is_released(waiter))
    }

    fn end(mut self) -> Option<usize> {
        BOARD.end(self.0.take()?)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(waiter) = self.0 {
            BOARD.decline(waiter);
        }
    }
}
