//! Files: handles that are overlapped, and whether one can be read and written at offsets.

use std::{
    io, mem,
    os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle},
};

use windows_sys::{
    Wdk::Storage::FileSystem::{
        FILE_ACCESS_INFORMATION, FILE_INFORMATION_CLASS, FILE_MODE_INFORMATION,
        FILE_SYNCHRONOUS_IO_ALERT, FILE_SYNCHRONOUS_IO_NONALERT, FileAccessInformation,
        FileModeInformation, NtQueryInformationFile,
    },
    Win32::{
        Foundation::{HANDLE, INVALID_HANDLE_VALUE},
        Storage::FileSystem::{
            FILE_FLAG_OVERLAPPED, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE,
            FILE_TYPE_DISK, GetFileType, ReOpenFile,
        },
        System::IO::IO_STATUS_BLOCK,
    },
};

use super::Descriptor;
use crate::error;

/// What the system says of an open handle.
fn ask<T: Copy>(file: HANDLE, class: FILE_INFORMATION_CLASS) -> Option<T> {
    // SAFETY: numbers only, for which zeros are valid.
    let (mut status, mut answer) =
        unsafe { (mem::zeroed::<IO_STATUS_BLOCK>(), mem::zeroed::<T>()) };
    // SAFETY: an open handle, and room for what is told.
    let told = unsafe {
        NtQueryInformationFile(
            file,
            &raw mut status,
            (&raw mut answer).cast(),
            size_of::<T>() as u32,
            class,
        )
    };
    (told >= 0).then_some(answer)
}

/// Whether a handle was opened for overlapped I/O.
fn is_overlapped(file: HANDLE) -> bool {
    let mode = ask::<FILE_MODE_INFORMATION>(file, FileModeInformation);
    mode.is_some_and(|mode| {
        mode.Mode & (FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT) == 0
    })
}

/// A handle on the same file that is overlapped; `None` if it is already, or none can be had. (The standard library opens files for
/// blocking calls, and the mode of a handle is for good.)
pub(super) fn overlapped(file: &OwnedHandle) -> Option<OwnedHandle> {
    let file = file.as_raw_handle();
    if is_overlapped(file) {
        return None;
    }
    let access = ask::<FILE_ACCESS_INFORMATION>(file, FileAccessInformation)?.AccessFlags;
    let share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    // SAFETY: an open handle; what is returned is ours.
    let handle = unsafe { ReOpenFile(file, access, share, FILE_FLAG_OVERLAPPED) };
    if handle == INVALID_HANDLE_VALUE || handle.is_null() {
        return None;
    }
    // SAFETY: just made, and nobody else's.
    Some(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Refuses what has no offsets, or cannot be had for overlapped I/O (S7).
pub(crate) fn check(descriptor: &Descriptor) -> io::Result<()> {
    let Descriptor::File(file) = descriptor else { return Err(error::no_file()) };
    // SAFETY: an open handle.
    if unsafe { GetFileType(file.original().as_raw_handle()) } != FILE_TYPE_DISK {
        return Err(error::no_file());
    }
    if is_overlapped(file.handle()) { Ok(()) } else { Err(error::not_overlapped()) }
}
