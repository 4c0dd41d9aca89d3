//! What the end of an operation means.

use std::{io, ptr::NonNull, sync::Arc};

use windows_sys::Win32::{
    Foundation::{ERROR_HANDLE_EOF, FALSE, NTSTATUS, STATUS_END_OF_FILE},
    Networking::WinSock::{
        SO_UPDATE_ACCEPT_CONTEXT, SO_UPDATE_CONNECT_CONTEXT, SOCKET, SOCKET_ERROR, WSAECONNABORTED,
        WSAECONNREFUSED, WSAECONNRESET, WSAEMSGSIZE, WSAENOTCONN, WSAESHUTDOWN, WSAEWOULDBLOCK,
        WSAGetOverlappedResult, recv, recvfrom,
    },
};

use super::{slot, socket, status};
use crate::{
    buffer::{Buffer, Pool},
    error,
    operation::{Detail, Header, OpKind},
    sys::{Accepted, Output, Socket, transmit_file::Piece},
};

/// What an operation has come to that the kernel has given back. That it is to go on (nothing was there after all) is told as a cancel that
/// nobody asked for.
///
/// # Safety
///
/// The caller owns the operation, and its handle is open.
pub(super) unsafe fn judge(op: NonNull<Header>, pool: &Arc<Pool>) -> io::Result<Output> {
    // SAFETY: the caller's.
    let (header, result) = unsafe {
        op.as_ref().take_up();
        let result = outcome(op);
        // What it needed besides is not needed any more.
        (*slot::of(op)).guest = None;
        (op.as_ref(), result)
    };
    let target = header.target.get().os;
    // SAFETY: owned.
    let work = unsafe { header.work() };
    match header.kind {
        OpKind::Recv => received(result, &mut work.buffer),
        OpKind::AcceptWith if matches!(work.detail, Detail::FirstData(_)) => {
            received(result.map_err(of_accepted), &mut work.buffer)
        }
        OpKind::RecvLent | OpKind::End => {
            match result {
                // Reading was shut down on this side.
                Err(e) if e.raw_os_error() == Some(WSAESHUTDOWN) => return Ok(Output::Bytes(0)),
                Err(e) => return Err(e),
                Ok(_) => {}
            }
            let Some(mut buffer) = pool.lend() else { return Ok(Output::Starved) };
            let moved = receive_now(target, &mut buffer)?;
            work.buffer = buffer;
            Ok(Output::Bytes(moved))
        }
        OpKind::RecvFrom | OpKind::RecvFromLent | OpKind::RecvFromEach => {
            // SAFETY: owned.
            unsafe { datagram(header, result, pool) }
        }
        OpKind::Accept | OpKind::AcceptEach | OpKind::AcceptWith => {
            let Detail::Peer(peer) = &mut work.detail else { return Err(error::wrong_kind()) };
            let accepted = result.map_err(of_accept).and_then(|_| {
                let (socket, peer) = peer.take(target).ok_or_else(error::wrong_kind)?;
                Ok(Accepted { socket: Socket::Os(socket.into()), peer: peer.map(Box::new) })
            });
            if accepted.is_err() {
                peer.discard();
            }
            let accepted = accepted?;
            if let Some(descriptor) = accepted.socket.os() {
                // Refused if it has been reset meanwhile: what is received from it will say so.
                let _ = socket::update_context(
                    super::raw(descriptor),
                    SO_UPDATE_ACCEPT_CONTEXT,
                    Some(target),
                );
            }
            Ok(Output::Accepted(accepted))
        }
        OpKind::Connect if matches!(work.detail, Detail::Connect(_)) => {
            result?;
            socket::update_context(target, SO_UPDATE_CONNECT_CONTEXT, None)?;
            Ok(Output::Bytes(0))
        }
        OpKind::TransmitFile => match (&work.detail, result) {
            (Detail::TransmitFile(what), Ok(0)) if matches!(what.next(), Piece::File { .. }) => {
                Err(error::cut_short())
            }
            (_, Err(e)) if e.raw_os_error() == Some(ERROR_HANDLE_EOF as i32) => {
                Err(error::cut_short())
            }
            (_, result) => result.map(Output::Bytes),
        },
        _ => result.map(Output::Bytes),
    }
}

/// So often is looked whether the outcome of an operation that is over is written down.
const LONGEST_LOOK: u32 = 10_000;

/// What the kernel says: how many bytes, or why not.
///
/// # Safety
///
/// As for [`judge`].
unsafe fn outcome(op: NonNull<Header>) -> io::Result<usize> {
    // That it is over can be known before it is written down (S27), but not for long. Wine tells of an operation whose thread has exited
    // without having done it: that is started again, as on other systems (S106).
    let mut looks = 0;
    while slot::is_pending(op) {
        looks += 1;
        if looks > LONGEST_LOOK {
            return Err(error::cancelled());
        }
        std::thread::yield_now();
    }
    // SAFETY: owned by the caller, and the kernel is done with it.
    let (header, slot) = unsafe { (op.as_ref(), &mut *slot::of(op)) };
    match slot.told {
        Some(0) => return Ok(0),
        Some(code) => return Err(io::Error::from_raw_os_error(code as i32)),
        None => {}
    }
    if header.kind.is_of_file() {
        let status = slot.overlapped.Internal as NTSTATUS;
        return match status {
            STATUS_END_OF_FILE => Ok(0),
            0.. => Ok(slot.overlapped.InternalHigh),
            _ => Err(status::of_file(status)),
        };
    }
    let (mut moved, mut flags) = (0, 0);
    // SAFETY: an open socket, and the overlapped structure of a call on it that is over.
    let result = unsafe {
        WSAGetOverlappedResult(
            header.target.get().os as SOCKET,
            &raw const slot.overlapped,
            &raw mut moved,
            FALSE,
            &raw mut flags,
        )
    };
    if result == FALSE { Err(status::last_of_socket()) } else { Ok(moved as usize) }
}

/// Counts what was received into a buffer.
fn received(result: io::Result<usize>, buffer: &mut Buffer) -> io::Result<Output> {
    match result {
        Ok(moved) => {
            // SAFETY: the kernel has written so many bytes to the spare room that it was given.
            unsafe { buffer.fill(moved) };
            Ok(Output::Bytes(moved))
        }
        // Reading was shut down on this side: as everywhere else, that is the end.
        Err(e) if e.raw_os_error() == Some(WSAESHUTDOWN) => Ok(Output::Bytes(0)),
        Err(e) => Err(e),
    }
}

/// Nothing is there after all: who is told that starts it again, unless it is cancelled.
fn or_again(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(WSAEWOULDBLOCK) { error::cancelled() } else { error }
}

/// Receives what there is of a stream that does not wait.
fn receive_now(socket: SOCKET, buffer: &mut Buffer) -> io::Result<usize> {
    let (to, room) = buffer.spare_parts();
    // SAFETY: an open socket, and the buffer's own spare room; what was received is then counted as filled.
    unsafe {
        let moved = recv(socket, to, room.min(i32::MAX as usize) as i32, 0);
        if moved == SOCKET_ERROR {
            return Err(or_again(status::last_of_socket()));
        }
        buffer.fill(moved as usize);
        Ok(moved as usize)
    }
}

/// A datagram that came. Of one that was too long, the kernel says so with an error, and has given what there was room for.
///
/// # Safety
///
/// The caller owns the operation.
unsafe fn datagram(
    header: &Header,
    result: io::Result<usize>,
    pool: &Arc<Pool>,
) -> io::Result<Output> {
    // SAFETY: owned.
    let work = unsafe { header.work() };
    let Detail::Message(message) = &mut work.detail else { return Err(error::wrong_kind()) };
    let is_cut = |e: &io::Error| e.raw_os_error() == Some(WSAEMSGSIZE);
    if header.kind == OpKind::RecvFrom {
        let moved = match result {
            Ok(moved) => moved,
            Err(e) if is_cut(&e) => {
                message.mark_cut();
                work.buffer.spare()
            }
            Err(e) => return Err(of_datagram(e)),
        };
        // SAFETY: the kernel has written so many bytes to the spare room.
        unsafe { work.buffer.fill(moved) };
        return Ok(Output::Bytes(moved));
    }
    // It was only looked at, with room for nothing: too long, or of no bytes.
    match result {
        Err(e) if !is_cut(&e) => return Err(of_datagram(e)),
        _ => {}
    }
    let Some(mut buffer) = pool.lend() else { return Ok(Output::Starved) };
    let (to, room) = buffer.spare_parts();
    let (address, len) = message.receive();
    // SAFETY: an open socket, the buffer's own spare room, and room for an address.
    let moved = unsafe {
        recvfrom(
            header.target.get().os as SOCKET,
            to,
            room.min(i32::MAX as usize) as i32,
            0,
            address.cast(),
            len,
        )
    };
    let moved = if moved == SOCKET_ERROR {
        let error = status::last_of_socket();
        if !is_cut(&error) {
            return Err(of_datagram(or_again(error)));
        }
        message.mark_cut();
        room
    } else {
        moved as usize
    };
    // SAFETY: so many bytes were written there.
    unsafe { buffer.fill(moved) };
    work.buffer = buffer;
    Ok(Output::Bytes(moved))
}

/// A connection that was gone before it could be accepted; the listener is well, and accepts the next one.
fn of_accept(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(WSAECONNRESET | WSAECONNABORTED | WSAENOTCONN) => error::cancelled(),
        _ => error,
    }
}

/// One that is gone after that was reset.
fn of_accepted(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(WSAENOTCONN) => io::Error::from_raw_os_error(WSAECONNRESET),
        _ => error,
    }
}

/// That an earlier datagram found nobody is told as a reset here; there is no connection that could be.
fn of_datagram(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(WSAECONNRESET) => io::Error::from_raw_os_error(WSAECONNREFUSED),
        _ => error,
    }
}

/// What a start that the system refused has come to.
///
/// # Safety
///
/// As for [`judge`].
pub(super) unsafe fn refused(
    op: NonNull<Header>,
    error: io::Error,
    pool: &Arc<Pool>,
) -> io::Result<Output> {
    // SAFETY: the caller's.
    let header = unsafe {
        op.as_ref().take_up();
        (*slot::of(op)).guest = None;
        op.as_ref()
    };
    // SAFETY: owned.
    let work = unsafe { header.work() };
    match header.kind {
        OpKind::TransmitFile if error.raw_os_error() == Some(ERROR_HANDLE_EOF as i32) => {
            Err(error::cut_short())
        }
        OpKind::ReadAt if error.raw_os_error() == Some(ERROR_HANDLE_EOF as i32) => {
            Ok(Output::Bytes(0))
        }
        kind if kind.receives_datagrams() => {
            // SAFETY: owned.
            unsafe { datagram(header, Err(error), pool) }
        }
        OpKind::Recv | OpKind::RecvLent | OpKind::End => received(Err(error), &mut work.buffer),
        OpKind::Accept | OpKind::AcceptEach => Err(of_accept(error)),
        OpKind::AcceptWith if matches!(work.detail, Detail::FirstData(_)) => {
            Err(of_accepted(error))
        }
        OpKind::AcceptWith => Err(of_accept(error)),
        _ => Err(error),
    }
}
