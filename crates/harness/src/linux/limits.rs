//! How many connections this process can hold.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the descriptor limit to the hard limit and gives it.
fn raise() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // A refusal leaves the limit as it is, and the caller scales to what there is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// `wanted`, or as many as the descriptor limit allows after `spare` others; says so when it is fewer.
pub fn scale(program: &str, wanted: usize, spare: usize) -> usize {
    let limit = raise();
    let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(spare).max(1);
    if room < wanted {
        println!("{program}: scaled down from {wanted} to {room}: the descriptor limit is {limit}");
    }
    wanted.min(room)
}
