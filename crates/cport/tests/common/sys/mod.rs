//! What the tests need of the system: to tell a process something, and to look at it.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
pub use windows::*;

/// What a process can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// To stop: SIGTERM, Ctrl-C.
    Stop,
    /// To stop, by the other name that there may be: SIGINT.
    Interrupt,
    /// To say how things stand: SIGUSR1, Ctrl-Break.
    Report,
}
