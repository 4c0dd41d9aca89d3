//! What Windows knows of a socket beyond what all systems do.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::windows::io::{BorrowedSocket, RawSocket},
    ptr,
};

use socket2::{Domain, SockRef};
use windows_sys::Win32::{
    Foundation::FALSE,
    Networking::WinSock::{
        SIO_UDP_CONNRESET, SOCKET_ERROR, SOL_SOCKET, TF_REUSE_SOCKET, WSAIoctl, setsockopt,
    },
};

use super::{Descriptor, extensions, raw, sock_ref, status};
use crate::{error, sys::Medium};

/// Whether the connection is gone. Not to be told here: the system says of a reset as often as it is asked.
pub(crate) fn torn_down(_: &Descriptor) -> bool {
    false
}

/// The mode that a socket from elsewhere has. The system does not tell; sockets are made blocking.
pub(crate) fn is_nonblocking(_: &Descriptor) -> bool {
    false
}

/// After a graceful end: makes the socket fit to connect again. After an attempt to connect there is nothing to do.
pub(crate) fn dissolve(descriptor: &Descriptor) -> io::Result<()> {
    let disconnect = extensions::disconnect(raw(descriptor))?;
    // SAFETY: an open socket, and no overlapped: the call is over when it returns.
    if unsafe { disconnect(raw(descriptor), ptr::null_mut(), TF_REUSE_SOCKET, 0) } != 0 {
        return Ok(());
    }
    Err(status::last_of_socket())
}

/// Makes a socket fit for either driver; a file is already. The ends of pipes wait, whoever asks.
pub(super) fn prepare(descriptor: &Descriptor, medium: Medium) -> io::Result<()> {
    match medium {
        Medium::PipeIn | Medium::PipeOut => return Err(error::not_overlapped()),
        Medium::Socket | Medium::Guest => {
            // Only what is received into a lent buffer is received by a plain call, which is not to wait.
            sock_ref(descriptor).set_nonblocking(true)?;
            ignore_unreachable(descriptor);
        }
        Medium::File => {}
    }
    Ok(())
}

/// What socket2 does with a socket that an operation names.
fn with<R>(socket: usize, act: impl FnOnce(SockRef<'_>) -> R) -> R {
    // SAFETY: open as long as its operation has it, which is longer than this.
    let socket = unsafe { BorrowedSocket::borrow_raw(socket as RawSocket) };
    act(SockRef::from(&socket))
}

/// The family of a socket.
pub(super) fn family(socket: usize) -> io::Result<Domain> {
    with(socket, |socket| socket.local_addr().map(|address| address.domain()))
}

/// ConnectEx wants a socket that is bound; one that is not is bound to any address of the family.
pub(super) fn bind_if_not_bound(socket: usize, family: Domain) -> io::Result<()> {
    let any: SocketAddr = match family {
        Domain::IPV6 => (Ipv6Addr::UNSPECIFIED, 0).into(),
        _ => (Ipv4Addr::UNSPECIFIED, 0).into(),
    };
    with(socket, |socket| match socket.local_addr() {
        Ok(_) => Ok(()),
        Err(_) => socket.bind(&any.into()),
    })
}

/// Makes a socket that came from an accept, or has connected, one of which everything can be asked.
pub(super) fn update_context(
    socket: usize,
    option: i32,
    listener: Option<usize>,
) -> io::Result<()> {
    let (at, len) = match &listener {
        Some(listener) => (ptr::from_ref(listener).cast(), size_of::<usize>() as i32),
        None => (ptr::null(), 0),
    };
    // SAFETY: an open socket, and an option of that length.
    let result = unsafe { setsockopt(socket, SOL_SOCKET, option, at, len) };
    if result == SOCKET_ERROR { Err(status::last_of_socket()) } else { Ok(()) }
}

/// A datagram that found nobody is no reason to fail the receives of a socket that is not connected: elsewhere nobody is told.
fn ignore_unreachable(descriptor: &Descriptor) {
    if sock_ref(descriptor).peer_addr().is_ok() {
        return;
    }
    let socket = raw(descriptor);
    let (off, mut told) = (FALSE, 0);
    // SAFETY: an open socket, and a BOOL. Refused, receives may fail, and can be started again.
    unsafe {
        WSAIoctl(
            socket,
            SIO_UDP_CONNRESET,
            ptr::from_ref(&off).cast(),
            size_of_val(&off) as u32,
            ptr::null_mut(),
            0,
            &raw mut told,
            ptr::null_mut(),
            None,
        )
    };
}
