//! What the micro-benchmarks share: the queues that are compared, how packets go through them, how threads wake each other by them,
//! the smallest operation that goes to the kernel and comes back, and a server of echoes.
//!
//! The same rounds are timed by `cargo bench` (`benches/micro.rs`), put side by side by `src/bin/post.rs`, and counted by
//! `src/bin/instructions.rs`.

pub mod io;
pub mod queue;
pub mod transfer;
pub mod wake;

use std::{error::Error, io::Error as IoError};

use completion_port::{CompletionPort, DriverKind, probe};

/// What a round ends with.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A port that carries numbers.
pub type Port = CompletionPort<(), u64>;

/// A port with that driver, all else as it is by default.
///
/// # Errors
///
/// The driver is not to be had here.
pub fn port(driver: DriverKind) -> Result<Port, IoError> {
    CompletionPort::builder().driver(driver).build()
}

/// The drivers that are to be had here: the best of io_uring, and readiness.
#[must_use]
pub fn drivers() -> Vec<DriverKind> {
    let here: Vec<_> =
        probe().iter().filter(|one| one.available().is_ok()).map(|one| one.kind()).collect();
    let best = here.iter().find(|kind| matches!(kind, DriverKind::IoUring(_)));
    let readiness = here.iter().find(|kind| **kind == DriverKind::Readiness);
    best.into_iter().chain(readiness).copied().collect()
}
