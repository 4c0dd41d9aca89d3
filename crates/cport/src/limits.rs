//! The limits of this process that decide how many connections it can hold.

/// A soft and a hard limit; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What holds now.
    pub now: Option<u64>,
    /// How far the process may raise it itself.
    pub most: Option<u64>,
}

/// Unix has limits.
#[cfg(unix)]
mod unix {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::Limit;

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
}

#[cfg(unix)]
pub use unix::{descriptors, locked_memory, raise_descriptors};

/// Other systems have none of these.
#[cfg(not(unix))]
mod elsewhere {
    use super::Limit;

    /// Other systems have no such limit.
    pub fn descriptors() -> Option<Limit> {
        None
    }

    /// Other systems have no such limit.
    pub fn locked_memory() -> Option<Limit> {
        None
    }

    /// Nothing to raise.
    pub fn raise_descriptors() {}
}

#[cfg(not(unix))]
pub use elsewhere::{descriptors, locked_memory, raise_descriptors};
