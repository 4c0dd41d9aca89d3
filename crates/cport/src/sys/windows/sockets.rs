//! Sockets that serve.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::windows::io::AsRawSocket,
    ptr,
};

use socket2::{Domain, Protocol, Socket, Type};
use windows_sys::Win32::Networking::WinSock::{SIO_UDP_CONNRESET, SOCKET, WSAIoctl};

/// All of 127.0.0.0/8 is this machine.
pub const MANY_LOOPBACKS: bool = true;

/// What to do where a port is refused: anybody may take a low one, but not one that was set aside.
pub const REFUSED: &str = "; another program has the port for itself, or it is set aside \
    (`netsh interface ipv4 show excludedportrange tcp`): take another";

/// Listens on the first of these addresses that can be had. The system keeps up to `backlog` connections until they are accepted, as
/// far as it allows.
///
/// Here the first word on the backlog is the last, and the standard library has it; so this is done without. The option that it sets on
/// other systems, to use an address again, is not needed here, where it would let two programs listen at one.
pub fn listen(addresses: &[SocketAddr], backlog: i32) -> io::Result<TcpListener> {
    first(addresses, |address| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        Ok(socket.into())
    })
}

/// A socket for datagrams on the first of these addresses that can be had.
///
/// It does not hear of an echo that found nobody: otherwise a client that has gone would fail the next receive, which is another's.
pub fn serve_datagrams(addresses: &[SocketAddr]) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(addresses)?;
    let (off, mut written) = (0u32, 0);
    // SAFETY: the socket is open, the input is a number of four bytes, there is no output, and without an OVERLAPPED the call has
    // ended when it returns.
    let failed = unsafe {
        WSAIoctl(
            socket.as_raw_socket() as SOCKET,
            SIO_UDP_CONNRESET,
            ptr::from_ref(&off).cast(),
            size_of_val(&off) as u32,
            ptr::null_mut(),
            0,
            &mut written,
            ptr::null_mut(),
            None,
        )
    };
    if failed == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

/// What can be had at the first address that has it, or why not at the last.
fn first<S>(addresses: &[SocketAddr], open: impl Fn(SocketAddr) -> io::Result<S>) -> io::Result<S> {
    let none = || io::Error::new(io::ErrorKind::InvalidInput, "there is no address");
    let mut outcome = Err(none());
    for address in addresses {
        outcome = open(*address);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}
