//! What can be read and written at offsets.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use crate::error;

/// Refuses a descriptor that has no offsets: reads and writes of a terminal or a pipe wait for others, which files do not.
pub(crate) fn check(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: numbers only, for which zeros are valid.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: an open descriptor, and room for what is told.
    if unsafe { libc::fstat(fd.as_raw_fd(), &raw mut status) } < 0 {
        return Err(io::Error::last_os_error());
    }
    match status.st_mode & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFBLK => Ok(()),
        _ => Err(error::no_file()),
    }
}
