//! A file on its way to a socket: from the file into a pipe, and from the pipe into the socket, by splices that threads of the kernel
//! carry out. Bytes that lie on a disk are waited for there, and not by whoever drives.
//!
//! The sockets of this driver block, so a splice into one waits on such a thread for room that is not there: it is asked for what fits,
//! when the socket is writable.

use std::{
    io,
    io::ErrorKind::Interrupted,
    os::fd::{AsRawFd, BorrowedFd},
};

use io_uring::{opcode, squeue, types};

use super::{
    judge::{Judged, make_blocking},
    request::{length, poll},
    step,
};
use crate::{
    error,
    operation::{Detail, Header, Work},
    sys::{
        Output,
        transmit_file::Piece,
        unix::transmit_file::{Pipe, cut_short, room, some_now},
    },
};

/// What goes at once: head and tail do, mostly.
///
/// # Safety
///
/// The caller owns the operation, and its socket is open.
pub(super) unsafe fn now(header: &Header) -> Option<io::Result<usize>> {
    // SAFETY: owned by the caller; open while the operation holds its handle.
    let (work, socket) = unsafe { (header.work(), BorrowedFd::borrow_raw(header.target.get().os)) };
    match &work.detail {
        Detail::TransmitFile(what) if matches!(what.next(), Piece::Bytes(..)) => {
            Some(some_now(socket, what))
        }
        _ => None,
    }
}

/// The submission that takes it a step further.
pub(super) fn request(socket: types::Fd, work: &mut Work) -> io::Result<squeue::Entry> {
    let Detail::TransmitFile(what) = &mut work.detail else { return Err(error::wrong_kind()) };
    let held = match &what.way {
        Some(pipe) => pipe.held,
        None => 0,
    };
    let more_flag = |more: bool, flag| if more { flag } else { 0 };
    let (file, at, len, more) = match what.next() {
        Piece::Bytes(bytes, more) => {
            let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL | more_flag(more, libc::MSG_MORE);
            return Ok(opcode::Send::new(socket, bytes.as_ptr(), length(bytes.len()))
                .flags(flags)
                .build());
        }
        Piece::File { file, at, len, more } => (file.as_raw_fd(), at, len, more),
    };
    if held > 0 && work.step != step::DRAINING {
        work.step = step::WRITABLE;
        return Ok(poll(socket, libc::POLLOUT));
    }
    let pipe = match &mut what.way {
        Some(pipe) => pipe,
        none => none.insert(Pipe::new()?),
    };
    if held > 0 {
        let part = held.min(room(socket.0));
        let more = more || (part as u64) < len;
        return Ok(opcode::Splice::new(
            types::Fd(pipe.read.as_raw_fd()),
            -1,
            socket,
            -1,
            length(part),
        )
        .flags(more_flag(more, libc::SPLICE_F_MORE as i32) as u32)
        .build());
    }
    work.step = step::FILLING;
    let part = len.min(Pipe::ROOM as u64) as usize;
    let at = i64::try_from(at).map_err(|_| error::not_a_range())?;
    let into = types::Fd(pipe.write.as_raw_fd());
    Ok(opcode::Splice::new(types::Fd(file), at, into, -1, length(part)).build())
}

/// # Safety
///
/// The caller owns the operation, a transmission of a file.
pub(super) unsafe fn judge(header: &Header, result: io::Result<usize>) -> Judged {
    // SAFETY: owned by the caller.
    let work = unsafe { header.work() };
    let (done, Detail::TransmitFile(what)) = (work.step, &mut work.detail) else {
        return Judged::Over(Err(error::wrong_kind()));
    };
    let moved = match result {
        Ok(moved) => moved,
        // A thread of the kernel's that waited was told to stop.
        Err(e) if e.kind() == Interrupted && header.cancelled() => {
            return Judged::Over(Err(error::cancelled()));
        }
        Err(e) if e.kind() == Interrupted => return Judged::Again,
        // The socket has been made non-blocking behind our back.
        Err(e) if e.raw_os_error() == Some(libc::EAGAIN) && !header.cancelled() => {
            return match make_blocking(header) {
                Ok(()) => Judged::Again,
                Err(e) => Judged::Over(Err(e)),
            };
        }
        Err(e) => {
            work.step = step::ONLY;
            return Judged::Over(Err(e));
        }
    };
    match (done, &mut what.way) {
        (step::FILLING, _) if moved == 0 => Judged::Over(Err(cut_short())),
        (step::FILLING, Some(pipe)) => {
            pipe.held = moved;
            work.step = step::ONLY;
            Judged::Again
        }
        (step::WRITABLE, _) => {
            work.step = step::DRAINING;
            Judged::Again
        }
        (step::DRAINING, Some(pipe)) => {
            pipe.held -= moved.min(pipe.held);
            work.step = step::ONLY;
            Judged::Over(Ok(Output::Bytes(moved)))
        }
        _ => Judged::Over(Ok(Output::Bytes(moved))),
    }
}
