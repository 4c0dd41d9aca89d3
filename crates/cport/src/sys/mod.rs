//! Everything that differs between systems. The rest of the command does not know on which it runs.
//!
//! What a system supplies:
//!
//! - `signals`: `listen` tells of each [`Signal`] that is wanted, on a thread that costs nothing meanwhile.
//! - `limits`: `descriptors` and `locked_memory`, as far as there are such limits; `raise_descriptors`; `is_own_table_full`, by which an
//!   error says that this process, and not the system, has no descriptor left.
//! - `process`: a `Process`, looked at from outside, and the `Usage` of it: processor time since an earlier look, resident memory.
//! - `sockets`: `listen`, with a backlog as long as is asked for; `MANY_LOOPBACKS`, whether every address of 127.0.0.0/8 can be bound;
//!   `REFUSED`, what to do where a port is refused.
//! - `terminal`: `unbuffered` standard output; `can_erase`, whether a line on standard error can be written over.
//! - `machine`: `name`, for a person; `IO_URING`, whether there is such a thing; `io_uring_disabled` and `backlog`, what the kernel is set
//!   to; `LOAD_DRIVER`, which the load runs on unless it is told otherwise; `be_punctual`, for a thread that must not sleep too long.

/// What somebody outside wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM and SIGINT; Ctrl-C, and the end of the console.
    Stop,
    /// SIGUSR1; Ctrl-Break.
    Report,
}

/// A soft and a hard limit; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(windows, allow(dead_code))] // there are none
pub struct Limit {
    /// What holds now.
    pub now: Option<u64>,
    /// How far the process may raise it itself.
    pub most: Option<u64>,
}

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::{limits, machine, process, signals, sockets, terminal};
#[cfg(windows)]
pub use windows::{limits, machine, process, signals, sockets, terminal};
