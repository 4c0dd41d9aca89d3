//! Threads with completion routines, and a log of what ran: those of the suite of routines, and what only this one asks for.

use completion_port::routine::{Done, Thread, current, queue_user_apc};

pub use crate::routine_threads::{
    Log, elsewhere, nothing_runs, on_a_thread, pair as overlapped, pair_with as overlapped_with,
    run, run_until,
};

pub fn this_thread() -> Thread {
    current().expect("it has a driver")
}

/// Queues a call that says so to the calling thread.
pub fn queue_apc(log: &Log<&'static str>, what: &'static str) {
    queue_user_apc(&this_thread(), log.apc(what)).expect("it is alive");
}

/// What the one routine that has run was told.
#[track_caller]
pub fn only(log: &Log<Done>) -> Done {
    let mut all = log.take();
    assert_eq!(all.len(), 1, "as many routines have run");
    all.remove(0)
}
