//! Where tests need the system itself.

use std::fs::{self, File};
use std::path::Path;

use completion_port::Handle;
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
    return std::os::windows::fs::FileExt::seek_read(file, bytes, offset);
}
