//! Plain calls on a socket, which never wait.

use std::{io, mem::MaybeUninit, net::SocketAddr};

use super::{Descriptor, sock_ref};

/// Has the socket not wait. Overlapped I/O is the same in both modes (S178), so nobody minds.
fn not_waiting(socket: &Descriptor) -> io::Result<()> {
    sock_ref(socket).set_nonblocking(true)
}

pub(crate) fn receive_now(socket: &Descriptor, buffer: &mut [u8]) -> io::Result<usize> {
    not_waiting(socket)?;
    // SAFETY: bytes that are initialised may be seen as ones that need not be; the call writes initialised ones only.
    let buffer = unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) };
    match sock_ref(socket).recv(buffer) {
        // Our own side was shut down: as everywhere else, that reads as the end.
        Err(e)
            if e.raw_os_error() == Some(windows_sys::Win32::Networking::WinSock::WSAESHUTDOWN) =>
        {
            Ok(0)
        }
        result => result,
    }
}

pub(crate) fn send_now(socket: &Descriptor, bytes: &[u8]) -> io::Result<usize> {
    not_waiting(socket)?;
    sock_ref(socket).send(bytes)
}

/// Begins to connect, or asks how it goes.
pub(crate) fn connect_now(socket: &Descriptor, address: SocketAddr) -> io::Result<()> {
    not_waiting(socket)?;
    sock_ref(socket).connect(&address.into())
}
