//! The limits of this process that decide how many connections it can hold.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::sys::Limit;

/// Reads one limit.
fn read(which: Resource) -> Limit {
    let Rlimit { current, maximum } = getrlimit(which);
    Limit { now: current, most: maximum }
}

/// How many descriptors the process may have.
pub fn descriptors() -> Option<Limit> {
    Some(read(Resource::Nofile))
}

/// How much memory it may lock, which older kernels charge rings to.
pub fn locked_memory() -> Option<Limit> {
    Some(read(Resource::Memlock))
}

/// Raises the number of descriptors to the hard limit.
///
/// The soft limit is 1,024 by default only because `select` cannot do more; a server that does not use it raises the limit.
pub fn raise_descriptors() {
    let limit = read(Resource::Nofile);
    if limit.now == limit.most {
        return;
    }
    if let Err(error) =
        setrlimit(Resource::Nofile, Rlimit { current: limit.most, maximum: limit.most })
    {
        tracing::warn!(
            "cannot raise the limit of descriptors from {:?} to {:?}: {error}",
            limit.now,
            limit.most
        );
    }
}

/// Whether this process, and not the system, is out of descriptors.
pub fn is_own_table_full(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error())
}
