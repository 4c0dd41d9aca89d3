//! One try of one operation, without blocking.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use socket2::SockRef;

#[cfg(target_os = "linux")]
use crate::sys::unix::transmit_file::some_now;
use crate::{
    buffer::{Buffer, Pool},
    operation::{Detail, Header, OpKind},
    sys::{
        Accepted, Medium, Output, Socket,
        unix::{
            receive::receive_now,
            receive_message_now,
            send::{moved, send_now},
        },
    },
};

pub(super) enum Attempt {
    /// It is over; and whether the lane gave less than was asked, so that the next try would probably block.
    Done(io::Result<Output>, bool),
    WouldBlock,
}

/// What a socket needs before it is used here.
pub(super) fn prepare(fd: &OwnedFd, medium: Medium) -> io::Result<()> {
    let socket = SockRef::from(fd);
    socket.set_nonblocking(true)?;
    #[cfg(target_vendor = "apple")]
    if medium == Medium::Socket {
        socket.set_nosigpipe(true)?;
    }
    #[cfg(not(target_vendor = "apple"))]
    let _ = medium;
    Ok(())
}

/// # Safety
///
/// The caller owns the operation, and its socket is open.
pub(super) unsafe fn attempt(header: &Header, pool: &Arc<Pool>) -> Attempt {
    // SAFETY: open while the operation holds its handle.
    let fd = unsafe { BorrowedFd::borrow_raw(header.target.get().os) };
    loop {
        // SAFETY: the caller owns it.
        let attempt = unsafe {
            match header.kind {
                OpKind::Recv => receive(header),
                OpKind::RecvLent | OpKind::End => receive_lent(header, fd, pool),
                OpKind::RecvFrom => receive_datagram(header),
                OpKind::RecvFromLent | OpKind::RecvFromEach => receive_datagram_lent(header, pool),
                OpKind::Send | OpKind::SendTo => send(header),
                OpKind::AcceptWith if matches!(header.work().detail, Detail::FirstData(_)) => {
                    receive(header)
                }
                OpKind::Accept | OpKind::AcceptEach | OpKind::AcceptWith => accept(fd),
                OpKind::Connect if !matches!(header.work().detail, Detail::Connect(_)) => {
                    send(header)
                }
                OpKind::Connect => connect(header, fd),
                OpKind::TransmitFile => transmit_file(header, fd),
                OpKind::Disconnect | OpKind::Post | OpKind::Timer | OpKind::Every => {
                    Attempt::Done(Ok(Output::Bytes(0)), false)
                }
                // Never here: see `files`.
                OpKind::ReadAt | OpKind::WriteAt | OpKind::Sync | OpKind::SyncData => {
                    Attempt::Done(Err(crate::error::wrong_kind()), false)
                }
            }
        };
        match attempt {
            Attempt::Done(Err(e), _) if e.kind() == io::ErrorKind::Interrupted => {}
            Attempt::Done(Err(e), _) if e.kind() == io::ErrorKind::WouldBlock => {
                return Attempt::WouldBlock;
            }
            other => return other,
        }
    }
}

/// # Safety
///
/// The caller owns the operation, and its socket is open. (So for all below.)
unsafe fn receive(header: &Header) -> Attempt {
    // SAFETY: owned.
    let work = unsafe { header.work() };
    // SAFETY: handed on.
    unsafe { receive_into(header, &mut work.buffer) }
}

unsafe fn receive_lent(header: &Header, fd: BorrowedFd<'_>, pool: &Arc<Pool>) -> Attempt {
    let Some(mut buffer) = pool.lend() else {
        return if header.is_pipe() { starve_at_pipe(fd) } else { starved(header) };
    };
    // SAFETY: handed on.
    let attempt = unsafe { receive_into(header, &mut buffer) };
    if matches!(attempt, Attempt::Done(Ok(_), _)) {
        // SAFETY: owned.
        unsafe { header.work() }.buffer = buffer;
    }
    attempt
}

unsafe fn receive_into(header: &Header, buffer: &mut Buffer) -> Attempt {
    let room = buffer.spare();
    // SAFETY: handed on.
    let result = unsafe { receive_now(header, buffer) };
    let short = result.as_ref().is_ok_and(|n| *n < room);
    Attempt::Done(result.map(Output::Bytes), short)
}

/// There is no buffer. It waits for one only if it has something to put there.
fn starved(header: &Header) -> Attempt {
    let (mut byte, flags) = (0u8, libc::MSG_DONTWAIT | libc::MSG_PEEK);
    // SAFETY: room for the one byte that is asked for.
    let peeked = unsafe { libc::recv(header.target.get().os, (&raw mut byte).cast(), 1, flags) };
    Attempt::Done(moved(peeked).map(|_| Output::Starved), false)
}

/// One datagram. However short it is, the next may be there: only an attempt that would block tells that none is.
unsafe fn receive_datagram(header: &Header) -> Attempt {
    // SAFETY: owned.
    let work = unsafe { header.work() };
    let Detail::Message(message) = &mut work.detail else {
        return Attempt::Done(Err(crate::error::wrong_kind()), false);
    };
    let (to, room) = work.buffer.spare_parts();
    // SAFETY: the buffer's own spare room; what was received is then counted as filled. The socket is open.
    let result = unsafe {
        let result = receive_message_now(header.target.get().os, message, to, room);
        work.buffer.fill(*result.as_ref().unwrap_or(&0));
        result
    };
    Attempt::Done(result.map(Output::Bytes), false)
}

unsafe fn receive_datagram_lent(header: &Header, pool: &Arc<Pool>) -> Attempt {
    let Some(buffer) = pool.lend() else { return starved(header) };
    // SAFETY: owned; no reference is left from before.
    unsafe { header.work() }.buffer = buffer;
    // SAFETY: handed on.
    let attempt = unsafe { receive_datagram(header) };
    if !matches!(attempt, Attempt::Done(Ok(_), _)) {
        // SAFETY: owned, as above.
        unsafe { header.work() }.buffer = Buffer::new();
    }
    attempt
}

/// A pipe cannot be peeked into, and is asked instead whether a read would wait.
fn starve_at_pipe(fd: BorrowedFd<'_>) -> Attempt {
    let mut asked = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, which is written to.
    match unsafe { libc::poll(&raw mut asked, 1, 0) } {
        0 => Attempt::WouldBlock,
        told => Attempt::Done(moved(told as isize).map(|_| Output::Starved), false),
    }
}

unsafe fn send(header: &Header) -> Attempt {
    // Short or not, the settler asks for the rest, and that attempt finds out whether it would block.
    // SAFETY: handed on.
    Attempt::Done(unsafe { send_now(header) }.map(Output::Bytes), false)
}

fn accept(fd: BorrowedFd<'_>) -> Attempt {
    let accepted = SockRef::from(&fd).accept().map(|(socket, peer)| {
        let peer = peer.as_socket().map(Box::new);
        Output::Accepted(Accepted { socket: Socket::Os(socket.into()), peer })
    });
    Attempt::Done(accepted, false)
}

#[cfg(target_os = "linux")]
unsafe fn transmit_file(header: &Header, fd: BorrowedFd<'_>) -> Attempt {
    // SAFETY: owned.
    let Detail::TransmitFile(what) = &unsafe { header.work() }.detail else {
        return Attempt::Done(Err(crate::error::wrong_kind()), false);
    };
    // As for `send`.
    Attempt::Done(some_now(fd, what).map(Output::Bytes), false)
}

#[cfg(not(target_os = "linux"))]
unsafe fn transmit_file(_: &Header, _: BorrowedFd<'_>) -> Attempt {
    Attempt::Done(Err(crate::error::not_here()), false)
}

unsafe fn connect(header: &Header, fd: BorrowedFd<'_>) -> Attempt {
    // SAFETY: owned.
    let work = unsafe { header.work() };
    let socket = SockRef::from(&fd);
    let started = work.step > 0;
    let Detail::Connect(address) = &work.detail else {
        return Attempt::Done(Err(crate::error::wrong_kind()), false);
    };
    work.step = 1;
    // The second call tells how the first went, and makes the socket fit for another try. (SO_ERROR would leave it half way.)
    let result = socket.connect(address);
    match result {
        Ok(()) => Attempt::Done(Ok(Output::Bytes(0)), false),
        Err(e) => match e.raw_os_error() {
            Some(libc::EINPROGRESS | libc::EALREADY) => Attempt::WouldBlock,
            Some(libc::EISCONN) if started => Attempt::Done(Ok(Output::Bytes(0)), false),
            _ => Attempt::Done(Err(e), false),
        },
    }
}
