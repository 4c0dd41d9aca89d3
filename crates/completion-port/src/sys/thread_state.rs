//! Whether another thread of this process is blocked, as far as the system tells.

use std::{fmt, sync::OnceLock};

pub(crate) use super::os::thread_state::Observer;

/// By what a port sees that a worker is blocked somewhere else than in its own waits, on this machine
/// ([`Release::Observed`](crate::Release::Observed)).
///
/// ```
/// println!("{}", completion_port::Observation::here()); // /proc/self/task/*/syscall
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Observation {
    /// `/proc/self/task/T/syscall`, the best: exact, page faults included.
    Syscall,
    /// `/proc/self/task/T/stat`: the same, at twice the cost.
    Stat,
    /// The thread's processor time: one that was pre-empted may be taken for one that is blocked.
    Clock,
    /// By nothing: only the library's own waits and [`blocking`](crate::blocking) count.
    Nothing,
}

impl Observation {
    /// What this machine allows. Asked once, and the same from then on.
    #[must_use]
    pub fn here() -> Self {
        static HERE: OnceLock<Observation> = OnceLock::new();
        *HERE.get_or_init(|| Observer::of_this_thread().best())
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Observation::Syscall => "/proc/self/task/*/syscall",
            Observation::Stat => "/proc/self/task/*/stat",
            Observation::Clock => "the processor time of threads",
            Observation::Nothing => "nothing",
        })
    }
}

/// Who has had no more than that, in nanoseconds, from one look to the next has not burned the processor, but waited for it.
pub(super) const LITTLE: u64 = 20_000;

/// What was seen of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// On a processor, at least now and then since the last look.
    Running,
    /// It could run, and has had no processor since the last look.
    Waiting,
    Blocked,
    /// For the first time: the next look tells.
    First,
    /// It cannot be told here, or not yet, or the thread is gone.
    Unknown,
}
