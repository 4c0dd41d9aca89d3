//! A datagram as the system wants to see it: where its bytes are, whose it is, and whether it was cut.

use std::{
    io, mem,
    net::{SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::RawFd,
    ptr,
};

#[cfg(target_os = "linux")]
use crate::buffer::HEAD;

/// What `recvmsg` and `sendmsg` read and write beside the bytes. It lies still while the system has it.
pub(crate) struct Message {
    header: libc::msghdr,
    piece: libc::iovec,
    /// An address of the internet, of either version: the other is shorter and begins alike.
    name: libc::sockaddr_in6,
    name_len: libc::socklen_t,
    /// Of a receive that has waited for a buffer: its place among those that do.
    pub(crate) ticket: Option<u64>,
}

// SAFETY: the pointers in `header` are set before each use, and lead into this value and to the bytes that its operation owns.
unsafe impl Send for Message {}

impl Message {
    /// To be received from whoever sends.
    pub(crate) fn incoming() -> Self {
        // SAFETY: a header and an address of zeros are valid: no name, no pieces, no control data; no family.
        let (header, name) = unsafe { (mem::zeroed(), mem::zeroed()) };
        let piece = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Self { header, piece, name, name_len: size_of::<libc::sockaddr_in6>() as _, ticket: None }
    }

    /// For a receive of many, each of which brings its own [`head`](Message::of_head): room for an address in the head.
    #[cfg(target_os = "linux")]
    pub(crate) fn for_many(&mut self) -> *const libc::msghdr {
        self.point_to(ptr::null_mut(), 0);
        self.header.msg_namelen = (HEAD - size_of::<Told>()) as _;
        &raw const self.header
    }

    /// What a receive of many has written before a datagram: what there is to say of it, and its sender's address.
    #[cfg(target_os = "linux")]
    pub(crate) fn of_head(head: &[u8; HEAD]) -> Self {
        let mut message = Self::incoming();
        // SAFETY: both fit, any bits are valid, and neither needs to be aligned where it is read.
        unsafe {
            let told = head.as_ptr().cast::<Told>().read_unaligned();
            message.header.msg_flags = told.flags as libc::c_int;
            let name = head.as_ptr().add(size_of::<Told>()).cast::<libc::sockaddr_in6>();
            if told.name_len > 0 {
                message.name = name.read_unaligned();
            }
        }
        message
    }

    /// To be sent to that address, or to the one that the socket is connected to.
    pub(crate) fn outgoing(to: Option<SocketAddr>) -> Self {
        let mut message = Self { name_len: 0, ..Self::incoming() };
        if let Some(to) = to {
            let to = socket2::SockAddr::from(to);
            message.name_len = to.len();
            // SAFETY: an internet address, which is no longer than `name`.
            unsafe {
                (&raw mut message.name)
                    .cast::<u8>()
                    .copy_from_nonoverlapping(to.as_ptr().cast(), to.len() as usize);
            }
        }
        message
    }

    /// For `recvmsg`, into these bytes; what was received before is forgotten. The pointer is good until this value is used or moved.
    pub(crate) fn receive_into(&mut self, to: *mut u8, room: usize) -> *mut libc::msghdr {
        // No family: a message that comes without an address is nobody's.
        // SAFETY: zeros are valid.
        self.name = unsafe { mem::zeroed() };
        self.point_to(to, room);
        &raw mut self.header
    }

    /// For `sendmsg`, of these bytes. The pointer is good until this value is used or moved.
    pub(crate) fn send_from(&mut self, bytes: &[u8]) -> *const libc::msghdr {
        self.point_to(bytes.as_ptr().cast_mut(), bytes.len());
        &raw const self.header
    }

    fn point_to(&mut self, bytes: *mut u8, len: usize) {
        self.piece = libc::iovec { iov_base: bytes.cast(), iov_len: len };
        self.header.msg_name = match self.name_len {
            0 => ptr::null_mut(),
            _ => (&raw mut self.name).cast(),
        };
        self.header.msg_namelen = self.name_len;
        self.header.msg_iov = &raw mut self.piece;
        self.header.msg_iovlen = 1;
        self.header.msg_flags = 0;
    }

    /// Whether the datagram that came was longer than the room for it (S129).
    pub(crate) fn is_cut(&self) -> bool {
        self.header.msg_flags & libc::MSG_TRUNC != 0
    }

    /// Who has sent it, or is sent to.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        let name = &self.name;
        match libc::c_int::from(name.sin6_family) {
            libc::AF_INET => {
                // SAFETY: an address of this family lies there, aligned: the larger type's alignment is not less.
                let v4 = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
                let ip = u32::from_be(v4.sin_addr.s_addr).into();
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                let (port, flow) = (u16::from_be(name.sin6_port), name.sin6_flowinfo);
                let ip = name.sin6_addr.s6_addr.into();
                Some(SocketAddrV6::new(ip, port, flow, name.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// The kernel's `struct io_uring_recvmsg_out`.
#[cfg(target_os = "linux")]
#[repr(C)]
struct Told {
    name_len: u32,
    _control_len: u32,
    _payload_len: u32,
    flags: u32,
}

#[cfg(target_os = "linux")]
const _: () = assert!(size_of::<Told>() + size_of::<libc::sockaddr_in6>() <= HEAD);

/// The next datagram, into these bytes, without waiting for one.
///
/// # Safety
///
/// `to` is good for `room` bytes, and `fd` is open.
pub(in crate::sys) unsafe fn receive_now(
    fd: RawFd,
    message: &mut Message,
    to: *mut u8,
    room: usize,
) -> io::Result<usize> {
    let header = message.receive_into(to, room);
    // SAFETY: what the header points to is the caller's, and `message`.
    super::send::moved(unsafe { libc::recvmsg(fd, header, libc::MSG_DONTWAIT) })
}

const _: () = assert!(
    size_of::<libc::sockaddr_in>() <= size_of::<libc::sockaddr_in6>()
        && align_of::<libc::sockaddr_in>() <= align_of::<libc::sockaddr_in6>()
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_out_as_it_went_in() {
        for text in ["127.0.0.1:9190", "255.254.253.252:65535", "[::1]:1", "[fe80::1:2%3]:9190"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(Message::outgoing(Some(address)).peer(), Some(address));
        }
        assert_eq!(Message::outgoing(None).peer(), None);
        assert_eq!(Message::incoming().peer(), None);
    }
}
