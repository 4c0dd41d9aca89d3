//! What is otherwise on each system.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::Path,
};

use completion_port::{DriverKind, Handle};
use socket2::SockRef;

/// The socket of a handle.
pub fn socket_of<K, T>(handle: &Handle<K, T>) -> Option<SocketOf<'_>> {
    #[cfg(unix)]
    return handle.as_fd().map(SocketOf);
    #[cfg(windows)]
    return handle.as_socket().map(SocketOf);
}

/// Whether this is Wine, and not Windows.
pub fn is_wine() -> bool {
    #[cfg(unix)]
    return false;
    #[cfg(windows)]
    // SAFETY: a library that every process has, and a name; the address is only looked at.
    return unsafe {
        use windows_sys::{
            Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress},
            core::w,
        };
        GetProcAddress(GetModuleHandleW(w!("ntdll.dll")), c"wine_get_version".as_ptr().cast())
            .is_some()
    };
}

/// A socket that is owned.
#[cfg(unix)]
pub type OwnedSocket = std::os::fd::OwnedFd;
/// A socket that is owned.
#[cfg(windows)]
pub type OwnedSocket = std::os::windows::io::OwnedSocket;

/// A borrowed socket, to look at.
#[cfg(unix)]
pub struct SocketOf<'a>(std::os::fd::BorrowedFd<'a>);
/// A borrowed socket, to look at.
#[cfg(windows)]
pub struct SocketOf<'a>(std::os::windows::io::BorrowedSocket<'a>);

impl SocketOf<'_> {
    pub fn sock_ref(&self) -> SockRef<'_> {
        SockRef::from(&self.0)
    }
}

/// What can be opened as a file, and is none.
#[cfg(unix)]
pub const NO_FILES: &[&str] = &["/dev/null", "/"];
/// What can be opened as a file, and is none.
#[cfg(windows)]
pub const NO_FILES: &[&str] = &["NUL"];

/// Takes the name of a file that is open away, where the file can be used afterwards: on Windows it could not be opened once more.
pub fn unname(path: &Path) {
    #[cfg(unix)]
    fs::remove_file(path).expect("it can be removed");
    #[cfg(windows)]
    let _ = (path, fs::remove_file::<&Path>);
}

/// What is in a file, whose pointer stays where it is.
pub fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<usize> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_at(file, bytes, offset);
    #[cfg(windows)]
    {
        // That moves the pointer.
        use std::io::Seek;
        let mut at = file;
        let before = at.stream_position()?;
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, offset);
        at.seek(std::io::SeekFrom::Start(before))?;
        read
    }
}

/// The drivers of this system, from the best to the one that is always there.
pub fn ladder() -> Vec<DriverKind> {
    #[cfg(unix)]
    return vec![
        DriverKind::IoUring(completion_port::Rung::BufferRing),
        DriverKind::IoUring(completion_port::Rung::Coop),
        DriverKind::IoUring(completion_port::Rung::Basic),
        DriverKind::Readiness,
    ];
    #[cfg(windows)]
    {
        let mut both = vec![DriverKind::Windows, DriverKind::WindowsUnlimited];
        if is_wine() {
            // Its ports keep no limit.
            both.reverse();
        }
        both
    }
}

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
