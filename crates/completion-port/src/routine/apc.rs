//! Threads by name, and asynchronous procedure calls for them.

use std::{
    fmt, io,
    sync::{Arc, Weak},
};

use super::place::{Key, Place, Seed, Task};
use crate::{error, handle, handle::Handle, operation::Refused};

/// An asynchronous procedure call: what [`queue_user_apc`] has a thread do.
pub type Apc = Box<dyn FnOnce() + Send>;

/// Names a thread, to queue calls for it; the thread may have ended since. From [`current`] or [`suspended`].
///
/// ```
/// use completion_port::routine::{Thread, current, queue_user_apc, sleep_ex};
/// use std::{thread, time::Duration};
///
/// let main: Thread = current()?;
/// thread::spawn(move || queue_user_apc(&main, || println!("on the main thread")));
/// sleep_ex(Duration::MAX, true)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Thread(Weak<handle::Inner<Key, Task>>);

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread").field("ended", &(self.0.strong_count() == 0)).finish()
    }
}

/// The calling thread, by name. Its driver is made if it has none.
///
/// # Errors
///
/// No driver can be had, or the thread is ending.
#[doc(alias = "OpenThread")]
pub fn current() -> io::Result<Thread> {
    Place::here().map(|place| name(place.own()))
}

fn name(own: &Handle<Key, Task>) -> Thread {
    Thread(Arc::downgrade(&own.0))
}

/// Has a thread call `apc` in its next alertable wait, or in the one that it is in: `QueueUserAPC`. It runs nothing by itself, also if
/// the thread is the calling one (S174). Calls that a thread has not come to when it ends are dropped (S109).
///
/// # Errors
///
/// The thread has ended (`NotFound`; `ERROR_GEN_FAILURE` on Windows, S109): the call comes back.
///
/// ```
/// use completion_port::routine::{current, queue_user_apc};
/// use std::thread;
///
/// let ended = thread::spawn(|| current()).join().expect("no panic")?;
/// let refused = queue_user_apc(&ended, || unreachable!()).unwrap_err();
/// assert_eq!(refused.error.kind(), std::io::ErrorKind::NotFound);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "QueueUserAPC")]
pub fn queue_user_apc(
    thread: &Thread,
    apc: impl FnOnce() + Send + 'static,
) -> Result<(), Refused<Apc>> {
    let apc: Apc = Box::new(apc);
    let Some(own) = thread.0.upgrade() else {
        return Err(Refused { error: error::thread_gone(), context: apc, buffer: () });
    };
    let own = Handle(own);
    // To oneself: behind the I/O that is over already (S170). No other thread could tell which was first.
    let here = Place::existing().ok().flatten().filter(|place| place.owns(&own));
    if let Some(Err(error)) = here.map(|place| place.look()) {
        return Err(Refused { error, context: apc, buffer: () });
    }
    own.post(0, Task::User(apc)).map_err(|refused| {
        let Task::User(context) = refused.context else {
            unreachable!("what was posted comes back")
        };
        Refused { error: error::thread_gone(), context, buffer: () }
    })
}

/// A thread that does not run yet, for calls that it is to make before anything else: `CREATE_SUSPENDED` (S174).
///
/// ```
/// use completion_port::routine::{queue_user_apc, suspended};
/// use std::thread;
///
/// let (name, thread) = suspended()?;
/// queue_user_apc(&name, || println!("first"))?;
/// thread::spawn(move || {
///     thread.resume()?;
///     println!("second");
///     std::io::Result::Ok(())
/// })
/// .join()
/// .expect("no panic")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "calls that were queued are dropped with it"]
pub struct Suspended(Seed);

impl fmt::Debug for Suspended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspended").finish_non_exhaustive()
    }
}

/// A name for a thread that is to be, and what makes a thread the one.
///
/// # Errors
///
/// No driver can be had.
#[doc(alias = "CREATE_SUSPENDED")]
pub fn suspended() -> io::Result<(Thread, Suspended)> {
    let seed = Seed::new(None)?;
    Ok((name(&seed.own), Suspended(seed)))
}

impl Suspended {
    /// The calling thread is the one from now on: what was queued for it runs here and now (S174).
    ///
    /// # Errors
    ///
    /// The thread has a name and a driver already (`AlreadyExists`).
    #[doc(alias = "ResumeThread")]
    pub fn resume(self) -> io::Result<()> {
        let place = Place::settle(self.0)?;
        place.run();
        Ok(())
    }
}
