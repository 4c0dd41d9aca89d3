//! Files: handles that are overlapped, and whether one can be read and written at offsets.

use std::{
    io, mem,
    os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle},
};

use windows_sys::{
    Wdk::Storage::FileSystem::{
        FILE_MODE_INFORMATION, FILE_SYNCHRONOUS_IO_ALERT, FILE_SYNCHRONOUS_IO_NONALERT,
        FileModeInformation, NtQueryInformationFile,
    },
    Win32::{
        Foundation::{GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE},
        Storage::FileSystem::{
            FILE_FLAG_OVERLAPPED, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE,
            FILE_TYPE_DISK, GetFileType, ReOpenFile,
        },
        System::IO::IO_STATUS_BLOCK,
    },
};

use super::Descriptor;
use crate::error;

/// Whether a handle was opened for overlapped I/O.
fn is_overlapped(file: &OwnedHandle) -> bool {
    // SAFETY: numbers only, for which zeros are valid.
    let (mut status, mut mode) =
        unsafe { (mem::zeroed::<IO_STATUS_BLOCK>(), mem::zeroed::<FILE_MODE_INFORMATION>()) };
    // SAFETY: an open handle, and room for what is told.
    let told = unsafe {
        NtQueryInformationFile(
            file.as_raw_handle(),
            &raw mut status,
            (&raw mut mode).cast(),
            size_of::<FILE_MODE_INFORMATION>() as u32,
            FileModeInformation,
        )
    };
    told >= 0 && mode.Mode & (FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT) == 0
}

/// A handle on the same file that is overlapped; `None` if it is already, or none can be had. (The standard library opens files for
/// blocking calls, and the mode of a handle is for good.)
pub(super) fn overlapped(file: &OwnedHandle) -> Option<OwnedHandle> {
    if is_overlapped(file) {
        return None;
    }
    let share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    // As much as the file was opened for; the system refuses more.
    for access in [GENERIC_READ | GENERIC_WRITE, GENERIC_READ, GENERIC_WRITE] {
        // SAFETY: an open handle; what is returned is ours.
        let handle =
            unsafe { ReOpenFile(file.as_raw_handle(), access, share, FILE_FLAG_OVERLAPPED) };
        if handle != INVALID_HANDLE_VALUE && !handle.is_null() {
            // SAFETY: just made, and nobody else's.
            return Some(unsafe { OwnedHandle::from_raw_handle(handle) });
        }
    }
    None
}

/// Refuses what has no offsets, or cannot be had for overlapped I/O (S7).
pub(crate) fn check(descriptor: &Descriptor) -> io::Result<()> {
    let Descriptor::File(file) = descriptor else { return Err(error::no_file()) };
    // SAFETY: an open handle.
    if unsafe { GetFileType(file.original().as_raw_handle()) } != FILE_TYPE_DISK {
        return Err(error::no_file());
    }
    // SAFETY: open as long as it is borrowed.
    let handle = mem::ManuallyDrop::new(unsafe { OwnedHandle::from_raw_handle(file.handle()) });
    if is_overlapped(&handle) { Ok(()) } else { Err(error::not_overlapped()) }
}
