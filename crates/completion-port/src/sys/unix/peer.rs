//! The address of who was accepted.

use std::{mem, net::SocketAddr};

use socket2::{SockAddr, SockAddrStorage};

/// Room for an address that the system writes.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // asked by the io_uring driver
pub(crate) struct Peer {
    address: SockAddrStorage,
    len: libc::socklen_t,
}

#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // asked by the io_uring driver
impl Peer {
    pub(crate) fn new() -> Self {
        let address = SockAddrStorage::zeroed();
        Self { len: address.size_of(), address }
    }

    /// As `accept` wants it. Good until this value is moved.
    pub(crate) fn parts(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        ((&raw mut self.address).cast(), &raw mut self.len)
    }

    /// What was written, once.
    pub(crate) fn take(&mut self) -> Option<SocketAddr> {
        let address = mem::replace(&mut self.address, SockAddrStorage::zeroed());
        // SAFETY: what `accept` has written, with the length that it told; before that zeros, which are no address.
        unsafe { SockAddr::new(address, self.len) }.as_socket()
    }
}
