//! An owned handle of the system's: a socket, or a file.

use std::{
    fmt,
    fs::File,
    net::{TcpListener, TcpStream, UdpSocket},
    os::windows::io::{
        AsRawHandle, AsRawSocket, AsSocket, BorrowedSocket, OwnedHandle, OwnedSocket, RawSocket,
    },
    sync::atomic::{AtomicBool, Ordering},
};

use socket2::SockRef;
use windows_sys::Win32::Foundation::HANDLE;

use super::file;

pub(crate) enum Descriptor {
    /// And whether it was closed for those who sleep on it, while others have it still.
    Socket(OwnedSocket, AtomicBool),
    File(FileHandle),
}

/// A file, and a handle on it that is overlapped, if it was not opened so.
pub(crate) struct FileHandle {
    file: OwnedHandle,
    overlapped: Option<OwnedHandle>,
}

impl FileHandle {
    /// For overlapped I/O, as far as it could be had.
    pub(super) fn handle(&self) -> HANDLE {
        self.overlapped.as_ref().unwrap_or(&self.file).as_raw_handle()
    }

    /// As it came.
    pub(super) fn original(&self) -> &OwnedHandle {
        &self.file
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Descriptor::Socket(socket, _) => socket.fmt(f),
            Descriptor::File(file) => file.file.fmt(f),
        }
    }
}

impl Descriptor {
    /// It is closed for those who sleep on it.
    pub(super) fn mark_closed(&self) {
        if let Descriptor::Socket(_, closed) = self {
            closed.store(true, Ordering::SeqCst);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Descriptor::Socket(_, closed) if closed.load(Ordering::SeqCst))
    }
}

/// How operations name one: sockets are handles.
pub(crate) type Raw = usize;
/// It names nothing.
pub(crate) const NOTHING: Raw = usize::MAX;

pub(crate) fn raw(descriptor: &Descriptor) -> Raw {
    match descriptor {
        Descriptor::Socket(socket, _) => socket.as_raw_socket() as usize,
        Descriptor::File(file) => file.handle() as usize,
    }
}

pub(crate) fn sock_ref(descriptor: &Descriptor) -> SockRef<'_> {
    SockRef::from(descriptor)
}

impl AsSocket for Descriptor {
    /// Of a file, calls on it fail, since it is no socket.
    fn as_socket(&self) -> BorrowedSocket<'_> {
        // SAFETY: open as long as it is borrowed.
        unsafe { BorrowedSocket::borrow_raw(raw(self) as RawSocket) }
    }
}

impl From<OwnedSocket> for Descriptor {
    fn from(socket: OwnedSocket) -> Self {
        Descriptor::Socket(socket, AtomicBool::new(false))
    }
}

macro_rules! sockets {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Descriptor {
            fn from(socket: $kind) -> Self {
                OwnedSocket::from(socket).into()
            }
        }

        impl From<Descriptor> for $kind {
            fn from(descriptor: Descriptor) -> Self {
                match descriptor {
                    Descriptor::Socket(socket, _) => socket.into(),
                    Descriptor::File(_) => unreachable!("what was a socket is one"),
                }
            }
        }
    )*};
}

sockets!(TcpStream, TcpListener, UdpSocket, socket2::Socket);

impl From<File> for Descriptor {
    fn from(file: File) -> Self {
        let file = OwnedHandle::from(file);
        // Where it cannot be had, `check` says so.
        let overlapped = file::overlapped(&file);
        Descriptor::File(FileHandle { file, overlapped })
    }
}

impl From<Descriptor> for File {
    fn from(descriptor: Descriptor) -> Self {
        match descriptor {
            Descriptor::File(file) => file.file.into(),
            Descriptor::Socket(..) => unreachable!("what was a file is one"),
        }
    }
}
