//! The workers, whatever they serve: threads that take completions until the port closes.

use std::{
    io,
    thread::{self, Scope},
};

use completion_port::{Completion, CompletionPort, GetError};

use crate::error::{Failure, plain};

/// The loop of the notes' `EchoThreadMain`, until the port closes; an error that ends it otherwise.
pub fn work<K: Send + Sync + 'static, T: Send + 'static>(
    port: &CompletionPort<K, T>,
    take: impl Fn(Completion<K, T>),
) -> io::Result<()> {
    loop {
        match port.get() {
            Ok(done) => take(done),
            Err(GetError::Closed) => return Ok(()),
            Err(GetError::Failed(error)) => return Err(error),
            // No time was given that could run out.
            Err(_) => {}
        }
    }
}

/// A thread for each of `jobs`, named by its number.
pub fn spawn<'scope, W: FnOnce() + Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    jobs: impl Iterator<Item = W>,
) -> Result<(), Failure> {
    for (n, job) in jobs.enumerate() {
        thread::Builder::new().name(format!("worker-{n}")).spawn_scoped(scope, job).map_err(
            |error| Failure::runtime(format!("cannot start worker {n}: {}", plain(&error))),
        )?;
    }
    Ok(())
}
