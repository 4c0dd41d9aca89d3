//! What the two loops by hand on io_uring share: accepting, and handing over requests.

use std::{
    io,
    net::TcpStream,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use socket2::SockRef;

/// Submissions in a ring; those beyond are handed over first.
pub const ENTRIES: u32 = 1024;
/// `user_data` of the accept.
pub const ACCEPT: u64 = 0;

/// An accept of one connection.
pub fn accept(listener: &impl AsRawFd) -> squeue::Entry {
    let fd = types::Fd(listener.as_raw_fd());
    opcode::Accept::new(fd, ptr::null_mut(), ptr::null_mut()).build().user_data(ACCEPT)
}

/// The connection that an accept has brought. An accept that failed brings none, and is started again like the others.
pub fn accepted(entry: &cqueue::Entry) -> Option<OwnedFd> {
    if entry.user_data() != ACCEPT || entry.result() < 0 {
        return None;
    }
    // SAFETY: a descriptor that the kernel has just made for this request, and nobody else's.
    let stream = unsafe { TcpStream::from_raw_fd(entry.result()) };
    // A client that has gone already refuses the option; its receive says so.
    let _ = SockRef::from(&stream).set_tcp_nodelay(true);
    Some(stream.into())
}

/// A send of these bytes, all or some.
pub fn send(fd: &OwnedFd, bytes: &[u8]) -> squeue::Entry {
    opcode::Send::new(types::Fd(fd.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32)
        .flags(rustix::net::SendFlags::NOSIGNAL.bits() as i32)
        .build()
}

/// Puts a request into the ring. It is handed over with the next wait, or when the ring is full.
///
/// # Safety
///
/// The memory that the request names must stay, and be touched by nobody else, until its completion.
pub unsafe fn push(ring: &mut IoUring, request: &squeue::Entry) -> io::Result<()> {
    // SAFETY: the caller's promise.
    while unsafe { ring.submission().push(request) }.is_err() {
        ring.submit()?;
    }
    Ok(())
}
