//! What the machine is.

use std::env::consts::ARCH;

use completion_port::DriverKind;
use windows_sys::{
    Wdk::System::SystemServices::RtlGetVersion,
    Win32::{Media::timeBeginPeriod, System::SystemInformation::OSVERSIONINFOW},
};

/// That is a part of Linux.
pub const IO_URING: bool = false;

/// There is only one that could be chosen.
pub const LOAD_DRIVER: Option<DriverKind> = None;

/// Version and build of the system, and the machine.
pub fn name() -> String {
    let mut version = OSVERSIONINFOW {
        dwOSVersionInfoSize: size_of::<OSVERSIONINFOW>() as u32,
        ..Default::default()
    };
    // SAFETY: it writes into `version`, whose size it was told. (GetVersionEx would tell of an older system to a program without a
    // manifest.)
    let status = unsafe { RtlGetVersion(&mut version) };
    if status != 0 {
        return format!("Windows {ARCH}");
    }
    format!(
        "Windows {}.{}.{} {ARCH}",
        version.dwMajorVersion, version.dwMinorVersion, version.dwBuildNumber
    )
}

/// There is no io_uring to disable.
pub fn io_uring_disabled() -> Option<u64> {
    None
}

/// How long a backlog may be is nowhere written.
pub fn backlog() -> Option<u64> {
    None
}

/// Waits end at the ticks of a clock that ticks 64 times a second unless somebody wants it faster, which would make messages late.
pub fn be_punctual() {
    // SAFETY: it takes a number. Refused, they are late. The wish ends with the process.
    let _ = unsafe { timeBeginPeriod(1) };
}
