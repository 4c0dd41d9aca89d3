//! A datagram as the system wants to see it: whose it is, and whether it was cut.

use std::{mem, net::SocketAddr};

use socket2::{SockAddr, SockAddrStorage};

/// What a receive writes and a send reads beside the bytes. It lies still while the system has it.
pub(crate) struct Message {
    address: SockAddrStorage,
    len: i32,
    cut: bool,
    /// Of a receive that has waited for a buffer: its place among those that do.
    pub(crate) ticket: Option<u64>,
}

impl Message {
    /// To be received from whoever sends.
    pub(crate) fn incoming() -> Self {
        Self { address: SockAddrStorage::zeroed(), len: 0, cut: false, ticket: None }
    }

    /// To be sent to that address, or to the one that the socket is connected to.
    pub(crate) fn outgoing(to: Option<SocketAddr>) -> Self {
        let mut message = Self::incoming();
        if let Some(to) = to {
            let to = SockAddr::from(to);
            message.len = to.len();
            message.address = to.as_storage();
        }
        message
    }

    /// For a receive; what was received before is forgotten. The pointers are good until this value is moved.
    pub(super) fn receive(&mut self) -> (*mut SockAddrStorage, *mut i32) {
        self.address = SockAddrStorage::zeroed();
        self.len = size_of::<SockAddrStorage>() as i32;
        self.cut = false;
        (&raw mut self.address, &raw mut self.len)
    }

    /// For a send: the address, if there is one, and its length.
    pub(super) fn to(&self) -> Option<(*const SockAddrStorage, i32)> {
        (self.len > 0).then_some((&raw const self.address, self.len))
    }

    /// The datagram that came was longer than the room for it (S129).
    pub(super) fn mark_cut(&mut self) {
        self.cut = true;
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Who has sent it, or is sent to.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        // SAFETY: a copy of plain bytes.
        let address: SockAddrStorage = unsafe { mem::transmute_copy(&self.address) };
        // SAFETY: what the system has written with the length that it told, or an address of ours; else zeros, which are no address.
        unsafe { SockAddr::new(address, self.len) }.as_socket()
    }
}
