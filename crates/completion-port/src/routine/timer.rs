//! Waitable timers with completion routines.

use std::{collections::HashMap, io, time::Duration};

use super::place::{Place, Task};
use crate::{handle, operation::Refused};

/// Names a timer of the calling thread, for [`cancel_timer`]. It is never used twice.
///
/// ```
/// use completion_port::routine::{TimerId, cancel_timer, timer};
/// use std::time::Duration;
///
/// let id: TimerId = timer(Duration::from_secs(3600), || unreachable!())?;
/// assert!(cancel_timer(id) && !cancel_timer(id));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerId(u64);

/// Calls `routine` in a while, in an alertable wait of the calling thread: `SetWaitableTimer` with a completion routine and no period.
/// Never before its time; if the thread waits alertably then, it wakes for it. A time beyond the clock's range is never.
///
/// A timer that is [cancelled](cancel_timer), or whose thread ends, drops its routine without a call.
///
/// # Errors
///
/// Refused, with the routine given back: the thread is ending or can have no driver.
///
/// ```
/// use completion_port::routine::{Woken, sleep_ex, timer};
/// use std::time::Duration;
///
/// timer(Duration::from_millis(2), || println!("now"))?;
/// assert_eq!(sleep_ex(Duration::MAX, true)?, Woken::IoCompletion);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "SetWaitableTimer")]
pub fn timer<F: FnOnce() + 'static>(after: Duration, routine: F) -> Result<TimerId, Refused<F>> {
    start(
        routine,
        |place, number| {
            place.own().timer(after, Task::Timer(number)).map_err(|refused| refused.error)
        },
        |routine| Routine::Once(Box::new(routine)),
    )
}

/// Calls `routine` every `period`, for the first time after one, each time in an alertable wait of the calling thread:
/// `SetWaitableTimer` with a period. It is told how many periods are over since its last call: 1 where all is in time. Calls do not pile
/// up, and it is not called again while it runs.
///
/// # Errors
///
/// Refused, with the routine given back: a period of no length (`InvalidInput`), the thread is ending or can have no driver.
///
/// ```
/// use completion_port::routine::{cancel_timer, every, sleep_ex};
/// use std::{cell::Cell, rc::Rc, time::Duration};
///
/// let ticks = Rc::new(Cell::new(0));
/// let count = ticks.clone();
/// let id = every(Duration::from_millis(1), move |periods| count.set(count.get() + periods))?;
/// while ticks.get() < 3 {
///     sleep_ex(Duration::MAX, true)?;
/// }
/// assert!(cancel_timer(id));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "SetWaitableTimer")]
pub fn every<F: FnMut(usize) + 'static>(
    period: Duration,
    routine: F,
) -> Result<TimerId, Refused<F>> {
    start(
        routine,
        |place, number| {
            let made = place.own().every(period, move || Task::Timer(number));
            made.map_err(|refused| refused.error)
        },
        |routine| Routine::Each(Some(Box::new(routine))),
    )
}

fn start<F>(
    routine: F,
    arm: impl FnOnce(&Place, u64) -> io::Result<handle::TimerId>,
    boxed: impl FnOnce(F) -> Routine,
) -> Result<TimerId, Refused<F>> {
    let armed = Place::here().and_then(|place| {
        let number = place.timers().number();
        let id = arm(&place, number)?;
        Ok((place, number, id))
    });
    match armed {
        Ok((place, number, id)) => {
            place.timers().set.insert(number, Timer { id, routine: boxed(routine) });
            Ok(TimerId(number))
        }
        Err(error) => Err(Refused { error, context: routine, buffer: () }),
    }
}

/// Cancels a timer of the calling thread: `CancelWaitableTimer`. Its routine is dropped, also if its call was due already. False if there is
/// no such timer, or if it has no call to come.
#[doc(alias = "CancelWaitableTimer")]
#[allow(clippy::must_use_candidate, reason = "a timer that is over needs no cancel")]
pub fn cancel_timer(timer: TimerId) -> bool {
    let Ok(Some(place)) = Place::existing() else { return false };
    let gone = place.timers().set.remove(&timer.0);
    let Some(Timer { id, routine }) = gone else { return false };
    // False if its call is due already: it finds nobody to call.
    place.own().cancel_timer(id);
    // The user's code: nothing is borrowed.
    drop(routine);
    true
}

/// The timers of a thread.
#[derive(Default)]
pub(super) struct Timers {
    set: HashMap<u64, Timer>,
    last: u64,
}

struct Timer {
    id: handle::TimerId,
    routine: Routine,
}

enum Routine {
    Once(Box<dyn FnOnce()>),
    /// Nothing while it runs.
    Each(Option<Box<dyn FnMut(usize)>>),
}

impl Timers {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Whether there is a routine to be called, now or when it has come back from its last call.
    pub(super) fn has(&self, timer: u64) -> bool {
        self.set.contains_key(&timer)
    }

    /// Whether its routine can be called now.
    pub(super) fn may_run(&self, timer: u64) -> bool {
        !matches!(self.set.get(&timer), Some(Timer { routine: Routine::Each(None), .. }))
    }

    /// What is dropped when the thread ends.
    pub(super) fn take(&mut self) -> Vec<impl Sized + use<>> {
        self.set.drain().map(|(_, timer)| timer.routine).collect()
    }
}

/// Calls a timer's routine. Nothing is borrowed meanwhile.
pub(super) fn call(place: &Place, timer: u64, periods: usize) {
    let mut timers = place.timers();
    let routine = match timers.set.get_mut(&timer) {
        Some(Timer { routine: Routine::Each(routine), .. }) => routine.take(),
        Some(_) => {
            let once = timers.set.remove(&timer);
            drop(timers);
            if let Some(Timer { routine: Routine::Once(routine), .. }) = once {
                routine();
            }
            return;
        }
        None => None,
    };
    drop(timers);
    if let Some(routine) = routine {
        let mut called = Called { place, timer, routine: Some(routine) };
        if let Some(routine) = &mut called.routine {
            routine(periods);
        }
    }
}

/// Puts the routine back, also if it panics; unless it has cancelled its timer.
struct Called<'a> {
    place: &'a Place,
    timer: u64,
    routine: Option<Box<dyn FnMut(usize)>>,
}

impl Drop for Called<'_> {
    fn drop(&mut self) {
        if let Some(Timer { routine: Routine::Each(place), .. }) =
            self.place.timers().set.get_mut(&self.timer)
        {
            *place = self.routine.take();
        }
    }
}
