//! Alertable waits: the only time when a thread's routines run.
//!
//! Each is a loop around [`Place::gather`](super::place::Place::gather), which sleeps, and `run`; that of the waits for events is in
//! `event`.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use super::place::{Gathered, Place};
use crate::{
    blocking,
    event::{self, Event, Waited, Which},
    sys::{Descriptor, beside::Beside},
};

/// Why a [`sleep_ex`] is over.
///
/// ```
/// use completion_port::routine::{Woken, sleep_ex};
/// use std::time::Duration;
///
/// assert_eq!(sleep_ex(Duration::from_millis(1), true)?, Woken::TimedOut);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Woken {
    /// The time is up: 0.
    TimedOut,
    /// Routines have run: `WAIT_IO_COMPLETION`.
    #[doc(alias = "WAIT_IO_COMPLETION")]
    IoCompletion,
}

/// Sleeps: `SleepEx` (S168). If `alertable`, until routines of this thread have run or the time is up, whichever is first;
/// [`Duration::ZERO`] runs what is queued and does not wait (S177), [`Duration::MAX`] is `INFINITE`. If not alertable, for the whole
/// time, and nothing runs.
///
/// # Errors
///
/// The thread's driver failed, which no program causes. A panic in a routine comes out of this call; the rest stays queued.
///
/// ```
/// use completion_port::routine::{Woken, current, queue_user_apc, sleep_ex};
/// use std::time::Duration;
///
/// queue_user_apc(&current()?, || println!("in the alertable wait"))?;
/// assert_eq!(sleep_ex(Duration::ZERO, false)?, Woken::TimedOut);
/// assert_eq!(sleep_ex(Duration::MAX, true)?, Woken::IoCompletion);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "SleepEx")]
pub fn sleep_ex(timeout: Duration, alertable: bool) -> io::Result<Woken> {
    // A thread without a place has no routines, and nobody has a name to queue any for it.
    let place = if alertable { Place::existing()? } else { None };
    let Some(place) = place else {
        blocking(|| sleep(timeout));
        return Ok(Woken::TimedOut);
    };
    let deadline = Instant::now().checked_add(timeout);
    loop {
        match blocking(|| place.gather(deadline, &[]))? {
            Gathered::Runnable if place.run() => return Ok(Woken::IoCompletion),
            Gathered::Runnable | Gathered::Beside => {}
            Gathered::TimedOut => return Ok(Woken::TimedOut),
        }
    }
}

/// Waits for events, at most so long (`None` for ever), alertably or not: `WaitForMultipleObjectsEx`, or `WaitForSingleObjectEx` with a
/// list of one. What is waited for is as in [`wait_any`](event::wait_any) and [`wait_all`](event::wait_all).
///
/// If `alertable`, routines of this thread that are queued, or come to be, run and end the wait, and **no event is taken** then: not if
/// one was signaled already (S169), and not if a routine signals it (S171). The next wait takes it.
///
/// # Errors
///
/// As those of `wait_any` and `wait_all`. A panic in a routine comes out of this call; the rest stays queued.
///
/// ```
/// use completion_port::{event::{Event, Waited, Which}, routine::{current, queue_user_apc, wait_ex}};
///
/// let event = Event::auto_reset(true);
/// queue_user_apc(&current()?, || println!("a routine"))?;
/// assert_eq!(wait_ex(&[&event], Which::Any, None, true)?, Waited::IoCompletion);
/// assert_eq!(wait_ex(&[&event], Which::Any, None, true)?, Waited::Signaled(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "WaitForSingleObjectEx")]
#[doc(alias = "WaitForMultipleObjectsEx")]
#[doc(alias = "WSAWaitForMultipleEvents")]
pub fn wait_ex(
    events: &[&Event],
    which: Which,
    timeout: Option<Duration>,
    alertable: bool,
) -> io::Result<Waited> {
    event::wait(events, which, timeout, alertable)
}

fn sleep(timeout: Duration) {
    match Instant::now().checked_add(timeout) {
        Some(_) => thread::sleep(timeout),
        None => loop {
            thread::park();
        },
    }
}

/// What a call on a socket that would block waits for.
#[derive(Clone, Copy)]
pub(super) enum Ready {
    ToRead,
    ToWrite,
}

/// Whether a socket is ready now.
pub(super) fn is_ready(socket: &Descriptor, ready: Ready) -> io::Result<bool> {
    beside(socket, ready).wait(Some(Duration::ZERO))
}

fn beside(socket: &Descriptor, ready: Ready) -> Beside<'_> {
    match ready {
        Ready::ToRead => Beside::readable(socket),
        Ready::ToWrite => Beside::writable(socket),
    }
}

/// Waits until a socket is (perhaps) ready, and runs routines meanwhile: blocking calls wait alertably (S175).
pub(super) fn until_ready(socket: &Descriptor, ready: Ready) -> io::Result<()> {
    let beside = beside(socket, ready);
    let Some(place) = Place::existing()? else { return blocking(|| beside.wait(None)).map(drop) };
    loop {
        match blocking(|| place.gather(None, &[beside]))? {
            Gathered::Runnable => _ = place.run(),
            Gathered::Beside | Gathered::TimedOut => return Ok(()),
        }
    }
}
