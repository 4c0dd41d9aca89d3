//! What the machine is, and what its kernel is set to.

use std::{ffi::CStr, fs};

use completion_port::DriverKind;

/// Whether the system has io_uring, so that there is a reason if it cannot be had.
pub const IO_URING: bool = cfg!(target_os = "linux");

/// What the load runs on unless it is told otherwise: with the readiness driver a message costs it a tenth less than with io_uring
/// (README).
pub const LOAD_DRIVER: Option<DriverKind> = Some(DriverKind::Readiness);

/// Name and release of the system, and the machine.
pub fn name() -> String {
    let name = rustix::system::uname();
    let word = |text: &CStr| text.to_string_lossy().into_owned();
    format!("{} {} {}", word(name.sysname()), word(name.release()), word(name.machine()))
}

/// `kernel.io_uring_disabled`: 0 allowed, 1 for a group, 2 for nobody.
pub fn io_uring_disabled() -> Option<u64> {
    setting("/proc/sys/kernel/io_uring_disabled")
}

/// `net.core.somaxconn`: the longest backlog.
pub fn backlog() -> Option<u64> {
    setting("/proc/sys/net/core/somaxconn")
}

/// A number that the kernel shows in a file; `None` where it does not.
fn setting(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Linux lets a thread sleep some 50 us longer than it asked for, which would make messages late.
#[cfg(target_os = "linux")]
pub fn be_punctual() {
    // Refused, they are a little late.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// Other systems have no such thing.
#[cfg(not(target_os = "linux"))]
pub fn be_punctual() {}
