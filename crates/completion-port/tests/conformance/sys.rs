//! All that depends on the system: which drivers there are to test, whether this is Wine, and a few numbers.

use std::fs::OpenOptions;

/// The drivers of this system, each a test of the module that it is used in.
#[cfg(not(windows))]
macro_rules! on_each_driver {
    () => {
        on_driver!(io_uring_buffer_ring "io_uring:buffer-ring");
        on_driver!(io_uring_coop "io_uring:coop");
        on_driver!(io_uring_basic "io_uring:basic");
        on_driver!(readiness "readiness");
    };
}

#[cfg(windows)]
macro_rules! on_each_driver {
    () => {
        on_driver!(windows "windows");
    };
}

pub(crate) use on_each_driver;

/// A connect is on its way already: `EALREADY`, `WSAEALREADY`.
#[cfg(not(windows))]
pub const ALREADY: i32 = libc::EALREADY;
#[cfg(windows)]
pub const ALREADY: i32 = 10_037;

/// It is connected: `EISCONN`, `WSAEISCONN`.
#[cfg(not(windows))]
pub const IS_CONNECTED: i32 = libc::EISCONN;
#[cfg(windows)]
pub const IS_CONNECTED: i32 = 10_056;

/// Opens a file for overlapped I/O, where files have to be.
#[cfg(not(windows))]
pub fn for_overlapped_io(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(windows)]
pub fn for_overlapped_io(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::windows::fs::OpenOptionsExt;

    const FILE_FLAG_OVERLAPPED: u32 = 0x4000_0000;
    options.custom_flags(FILE_FLAG_OVERLAPPED)
}

/// Whether what looks like Windows is Wine, which says so itself: its `ntdll` has a function of its own.
#[cfg(not(windows))]
pub fn is_wine() -> bool {
    false
}

#[cfg(windows)]
pub fn is_wine() -> bool {
    use std::ffi::{c_char, c_void};

    #[link(name = "kernel32")]
    unsafe extern "system" {
        fn GetModuleHandleA(name: *const c_char) -> *mut c_void;
        fn GetProcAddress(module: *mut c_void, name: *const c_char) -> *const c_void;
    }

    // SAFETY: both names end in a zero and outlive the calls; ntdll is part of every process, and never unloaded; a null module is asked
    // for nothing. The function is only looked for, not called.
    unsafe {
        let ntdll = GetModuleHandleA(c"ntdll.dll".as_ptr());
        !ntdll.is_null() && !GetProcAddress(ntdll, c"wine_get_version".as_ptr()).is_null()
    }
}
