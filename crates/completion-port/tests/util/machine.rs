//! What is otherwise on each system, and has nothing to do with handles.

use std::ffi::OsString;

use completion_port::DriverKind;

/// The drivers of this system, from the best to the one that is always there.
#[cfg(unix)]
pub const LADDER: &[DriverKind] = &[
    DriverKind::IoUring(completion_port::Rung::BufferRing),
    DriverKind::IoUring(completion_port::Rung::Coop),
    DriverKind::IoUring(completion_port::Rung::Basic),
    DriverKind::Readiness,
];
/// The drivers of this system.
#[cfg(windows)]
pub const LADDER: &[DriverKind] = &[DriverKind::Windows];

/// What a variable can hold, and is not valid Unicode.
pub fn no_text() -> OsString {
    #[cfg(unix)]
    return std::os::unix::ffi::OsStringExt::from_vec(b"\xff\xfe".to_vec());
    #[cfg(windows)]
    return std::os::windows::ffi::OsStringExt::from_wide(&[0xD800]);
}

/// Bytes in a page of memory.
pub fn page_size() -> usize {
    #[cfg(unix)]
    return rustix::param::page_size();
    #[cfg(windows)]
    {
        use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};
        // SAFETY: numbers and addresses only, for which zeros are valid.
        let mut info: SYSTEM_INFO = unsafe { std::mem::zeroed() };
        // SAFETY: there is room for the answer.
        unsafe { GetSystemInfo(&raw mut info) };
        info.dwPageSize as usize
    }
}
