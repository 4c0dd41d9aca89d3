//! By signals, limits and /proc.

use std::process::{Child, Command};

use rustix::process::{Pid, Resource, getrlimit, kill_process};

use super::Signal;

/// The driver that every machine has.
pub const DRIVER: &str = "readiness";
/// What is said about more connections than any process can have: it has not the descriptors.
pub const TOO_MANY: &[&str] = &["--connections", "descriptors", "ulimit"];

/// Tells a process.
pub fn signal(child: &Child, signal: Signal) {
    let number = match signal {
        Signal::Stop => rustix::process::Signal::TERM,
        Signal::Interrupt => rustix::process::Signal::INT,
        Signal::Report => rustix::process::Signal::USR1,
    };
    kill_process(Pid::from_child(child), number).expect("it lives");
}

/// Whether a client that resets its connection is seen to.
pub fn has_resets() -> bool {
    true
}

/// Nothing to prepare.
pub fn prepare(command: &mut Command) -> &mut Command {
    command
}

/// How many descriptors the process may have.
pub fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Descriptors that a process has open. `None` where nobody tells.
pub fn descriptors(child: &Child) -> Option<usize> {
    Some(std::fs::read_dir(format!("/proc/{}/fd", child.id())).ok()?.count())
}
