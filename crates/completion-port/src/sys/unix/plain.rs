//! Plain calls on a socket, which never wait, whatever mode a driver has given to the descriptor.

use std::{io, net::SocketAddr, os::fd::OwnedFd};

use rustix::net::{RecvFlags, SendFlags};
use socket2::SockRef;

pub(crate) fn receive_now(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (received, _) = rustix::net::recv(fd, buffer, RecvFlags::DONTWAIT)?;
    Ok(received)
}

pub(crate) fn send_now(fd: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT;
    #[cfg(not(target_vendor = "apple"))]
    let flags = flags | SendFlags::NOSIGNAL;
    Ok(rustix::net::send(fd, bytes, flags)?)
}

/// Begins to connect, or asks how it goes.
pub(crate) fn connect_now(fd: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    // Every time: a driver may have made it block.
    SockRef::from(fd).set_nonblocking(true)?;
    SockRef::from(fd).connect(&address.into())
}
