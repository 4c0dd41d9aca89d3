//! The socket that an accept gives to the system, and the addresses that come back.

use std::{mem, net::SocketAddr, os::windows::io::OwnedSocket};

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Type};
use windows_sys::Win32::Networking::WinSock::SOCKADDR;

use super::extensions;

/// What one address takes in the system's block: 16 bytes more than the longest (AcceptEx).
pub(super) const EACH: usize = size_of::<SockAddrStorage>() + 16;

/// Of one accept. It lies still while the system has it.
pub(crate) struct Peer {
    block: [u8; 2 * EACH],
    socket: Option<OwnedSocket>,
}

impl Peer {
    pub(crate) fn new() -> Self {
        Self { block: [0; 2 * EACH], socket: None }
    }

    /// A new socket for who comes, of the listener's family, and where its addresses go.
    pub(super) fn prepare(&mut self, family: Domain) -> std::io::Result<(&OwnedSocket, *mut u8)> {
        let socket: OwnedSocket =
            socket2::Socket::new(family, Type::STREAM, Some(Protocol::TCP))?.into();
        Ok((self.socket.insert(socket), self.block.as_mut_ptr()))
    }

    /// The socket, and whose it is now. `None` if the system was not given one.
    pub(super) fn take(&mut self, listener: usize) -> Option<(OwnedSocket, Option<SocketAddr>)> {
        let socket = self.socket.take()?;
        let (mut local, mut peer) =
            (std::ptr::null_mut::<SOCKADDR>(), std::ptr::null_mut::<SOCKADDR>());
        let (mut local_len, mut peer_len) = (0, 0);
        let Ok(parse) = extensions::accept_addresses(listener) else { return Some((socket, None)) };
        // SAFETY: the block that an accept of these lengths has filled; the pointers that come back lead into it.
        unsafe {
            parse(
                self.block.as_ptr().cast(),
                0,
                EACH as u32,
                EACH as u32,
                &raw mut local,
                &raw mut local_len,
                &raw mut peer,
                &raw mut peer_len,
            );
        }
        if peer.is_null() || peer_len <= 0 || peer_len as usize > size_of::<SockAddrStorage>() {
            return Some((socket, None));
        }
        let mut address = SockAddrStorage::zeroed();
        // SAFETY: as told, so many bytes lie there, and no more than there is room for.
        unsafe {
            (&raw mut address).cast::<u8>().copy_from_nonoverlapping(peer.cast(), peer_len as usize)
        };
        // SAFETY: an address of that length.
        let address = unsafe { SockAddr::new(address, peer_len) }.as_socket();
        Some((socket, address))
    }

    /// Nobody came.
    pub(super) fn discard(&mut self) {
        drop(mem::take(&mut self.socket));
    }
}
