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
        on_driver!(windows_unlimited "windows:unlimited");
    };
}

pub(crate) use on_each_driver;

/// A connect is on its way already: `EALREADY`, `WSAEALREADY`. It is connected: `EISCONN`, `WSAEISCONN`.
pub use crate::util::codes::{EALREADY as ALREADY, EISCONN as IS_CONNECTED};
pub use crate::util::sys::is_wine;

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
