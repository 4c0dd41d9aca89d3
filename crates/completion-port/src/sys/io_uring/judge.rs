//! What a completion means: an event, or the operation's next step.

use std::{
    io::{
        self,
        ErrorKind::{Interrupted, WouldBlock},
    },
    os::fd::BorrowedFd,
    ptr::NonNull,
    sync::atomic::Ordering::Relaxed,
};

use io_uring::cqueue;
use socket2::SockRef;

use super::{
    IoUring,
    ring::{self, Completed},
    step, transmit,
};
use crate::{
    buffer::HEAD,
    error,
    operation::{Detail, Header, OpKind},
    sys::{Accepted, Event, Message, Output, Socket, unix::send::send_now},
};

/// What the kernel says of a request. The numbers by which it tells itself to start a call once more are none of a program's, but those of a
/// splice that was interrupted in a thread of the kernel's come through (512 was seen, on Linux 6.18).
fn told(result: i32) -> io::Result<usize> {
    match result {
        -514..=-512 | -516 => Err(io::Error::from_raw_os_error(libc::EINTR)),
        ..0 => Err(io::Error::from_raw_os_error(-result)),
        _ => Ok(result as usize),
    }
}

impl IoUring {
    /// What a completion means: an event, or `None` when the operation went on to its next step.
    pub(super) fn judge(&self, done: Completed) -> Option<Event> {
        let op = NonNull::new(done.user_data as *mut Header)?;
        // SAFETY: the kernel gave back an address that it was given, with the operation's ownership unless `more`.
        let header = unsafe { op.as_ref() };
        header.take_up();
        let more = cqueue::more(done.flags);
        let taken = cqueue::buffer_select(done.flags);
        let result = told(done.result);

        let result = match (header.kind, result) {
            (OpKind::AcceptEach, Ok(_)) => {
                // SAFETY: a descriptor that the kernel has just made for us, owned from the moment it is read.
                let socket = Socket::Os(unsafe { ring::owned(done.result) });
                Ok(Output::Accepted(Accepted { socket, peer: None }))
            }
            // SAFETY: ours again: one-shot requests only.
            (OpKind::AcceptWith, Ok(received)) if unsafe { has_connection(header) } => {
                // SAFETY: ours again, and the kernel has written that many bytes into the spare room.
                unsafe { header.work().buffer.fill(received) };
                Ok(Output::Bytes(received))
            }
            (OpKind::Accept | OpKind::AcceptWith, Ok(_)) => {
                // SAFETY: as above; and the operation is ours again.
                let (socket, work) =
                    unsafe { (Socket::Os(ring::owned(done.result)), header.work()) };
                let peer = match &mut work.detail {
                    Detail::Peer(peer) => peer.take().map(Box::new),
                    _ => None,
                };
                Ok(Output::Accepted(Accepted { socket, peer }))
            }
            (OpKind::TransmitFile, result) => {
                // SAFETY: ours again.
                match unsafe { transmit::judge(header, result) } {
                    Judged::Over(result) => result,
                    Judged::Again => return self.again(op),
                }
            }
            // SAFETY: the driver's part, of an operation that is with it: its reaper's alone, which this is.
            (OpKind::RecvFromEach, result) if unsafe { header.work() }.step == step::MANY => {
                match self.judge_many(op, result, taken) {
                    Judged::Over(result) => result,
                    Judged::Again => return self.again(op),
                }
            }
            (
                OpKind::RecvLent | OpKind::End | OpKind::RecvFromLent | OpKind::RecvFromEach,
                result,
            ) => {
                // SAFETY: one-shot requests only (an accept of many is above): the operation is ours.
                match unsafe { self.judge_lent(op, result, taken) } {
                    Judged::Over(result) => result,
                    Judged::Again => return self.again(op),
                }
            }
            (OpKind::Recv | OpKind::RecvFrom, Ok(received)) => {
                // SAFETY: ours again, and the kernel has written that many bytes into the spare room.
                unsafe { header.work().buffer.fill(received) };
                Ok(Output::Bytes(received))
            }
            // SAFETY: ours again.
            (OpKind::Connect, result) if unsafe { is_connecting(header) } => {
                // SAFETY: ours again.
                match unsafe { judge_connect(header, result) } {
                    Judged::Over(result) => result,
                    Judged::Again => return self.again(op),
                }
            }
            (OpKind::Send, Ok(_)) if header.is_pipe() => {
                // SAFETY: ours again, and its pipe is open.
                match unsafe { send_now(header) } {
                    Err(e) if e.kind() == WouldBlock && header.cancelled() => {
                        Err(error::cancelled())
                    }
                    Err(e) if matches!(e.kind(), WouldBlock | Interrupted) => {
                        return self.again(op);
                    }
                    result => result.map(Output::Bytes),
                }
            }
            // The socket has been made non-blocking behind our back. Undo that and try again.
            (_, Err(e)) if e.raw_os_error() == Some(libc::EAGAIN) && !header.cancelled() => {
                match make_blocking(header) {
                    Ok(()) => return self.again(op),
                    Err(e) => Err(e),
                }
            }
            (_, Err(e)) if e.kind() == Interrupted && !header.cancelled() => {
                return self.again(op);
            }
            (_, result) => result.map(Output::Bytes),
        };
        Some(Event { op, result, more })
    }

    /// A completion of the request that brings many datagrams.
    fn judge_many(
        &self,
        op: NonNull<Header>,
        result: io::Result<usize>,
        taken: Option<u16>,
    ) -> Judged {
        if let (Some(_), Some(buffers)) = (taken, &self.buffers) {
            buffers.taken();
        }
        match (result, taken) {
            (Ok(filled), Some(slot)) => {
                let len = filled.saturating_sub(HEAD);
                // SAFETY: the kernel took the slot out of the ring, once, and has written the head and `len` bytes behind it.
                let (head, buffer) = unsafe { self.pool.filled_behind(slot, len) };
                let message = Box::new(Message::of_head(&head));
                Judged::Over(Ok(Output::Datagram(Box::new((buffer, message)))))
            }
            (Ok(_), None) => Judged::Over(Err(error::wrong_kind())),
            (Err(e), Some(slot)) => {
                // SAFETY: as above, and nothing of it is used.
                drop(unsafe { self.pool.filled_ready(slot, 0) });
                Judged::Over(Err(e))
            }
            (Err(e), None) => {
                // SAFETY: the last completion of the request: the operation is ours.
                let (header, work) = unsafe { (op.as_ref(), op.as_ref().work()) };
                match e.raw_os_error() {
                    // None lay with the kernel any more: there may be elsewhere, once there is something to put there.
                    Some(libc::ENOBUFS) => work.step = step::POLLING,
                    // An older kernel.
                    Some(libc::EINVAL) if self.many.swap(false, Relaxed) => work.step = step::ONLY,
                    Some(libc::EAGAIN) if !header.cancelled() => {
                        if let Err(e) = make_blocking(header) {
                            return Judged::Over(Err(e));
                        }
                    }
                    Some(libc::EINTR) if !header.cancelled() => {}
                    _ => return Judged::Over(Err(e)),
                }
                Judged::Again
            }
        }
    }

    /// # Safety
    ///
    /// The caller owns `op`, a lent receive.
    unsafe fn judge_lent(
        &self,
        op: NonNull<Header>,
        result: io::Result<usize>,
        taken: Option<u16>,
    ) -> Judged {
        // SAFETY: owned by the caller.
        let (header, work) = unsafe { (op.as_ref(), op.as_ref().work()) };
        if let Some(slot) = taken {
            if let Some(buffers) = &self.buffers {
                buffers.taken();
            }
            // SAFETY: the kernel took the slot out of the ring, once, and has written `result` bytes of it.
            let buffer = unsafe { self.pool.filled_ready(slot, *result.as_ref().unwrap_or(&0)) };
            if result.is_ok() {
                work.buffer = buffer;
            }
            return Judged::Over(result.map(Output::Bytes));
        }
        match (work.step, result) {
            (step::POLLING, Ok(_)) => match self.pool.lend() {
                Some(buffer) => {
                    work.buffer = buffer;
                    work.step = step::READING;
                    Judged::Again
                }
                None if self.has_buffers() => {
                    work.step = step::ONLY;
                    Judged::Again
                }
                None => Judged::Over(Ok(Output::Starved)),
            },
            (step::READING, result) => {
                let mut buffer = std::mem::take(&mut work.buffer);
                work.step = step::ONLY;
                match result {
                    Ok(received) => {
                        // SAFETY: the kernel has written that many bytes into its spare room.
                        unsafe { buffer.fill(received) };
                        work.buffer = buffer;
                        Judged::Over(Ok(Output::Bytes(received)))
                    }
                    Err(e) if e.kind() == WouldBlock && header.cancelled() => {
                        Judged::Over(Err(error::cancelled()))
                    }
                    // Somebody else has read it: wait for more, without a buffer.
                    Err(e) if e.kind() == WouldBlock => Judged::Again,
                    Err(e) => Judged::Over(Err(e)),
                }
            }
            // None lay with the kernel at that moment.
            (_, Err(e)) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                work.step = step::POLLING;
                Judged::Again
            }
            // The end of the stream takes no buffer, nor does a datagram of no bytes.
            (_, Ok(_)) => Judged::Over(Ok(Output::Bytes(0))),
            (_, Err(e)) if e.raw_os_error() == Some(libc::EAGAIN) && !header.cancelled() => {
                match make_blocking(header) {
                    Ok(()) => Judged::Again,
                    Err(e) => Judged::Over(Err(e)),
                }
            }
            (_, Err(e)) => Judged::Over(Err(e)),
        }
    }
}

/// Whether an accept has its connection, and waits for the first data.
///
/// # Safety
///
/// The caller owns the operation. (So for the next.)
unsafe fn has_connection(header: &Header) -> bool {
    // SAFETY: owned by the caller.
    matches!(unsafe { &header.work().detail }, Detail::FirstData(_))
}

/// Whether a connect has no connection yet; when it has one it sends its first data.
unsafe fn is_connecting(header: &Header) -> bool {
    // SAFETY: owned by the caller.
    matches!(unsafe { &header.work().detail }, Detail::Connect(_))
}

pub(super) enum Judged {
    Over(io::Result<Output>),
    Again,
}

/// # Safety
///
/// The caller owns the operation, a connect.
unsafe fn judge_connect(header: &Header, result: io::Result<usize>) -> Judged {
    // SAFETY: owned by the caller.
    let work = unsafe { header.work() };
    match result {
        // The thread that submitted it has exited, which takes its requests along; the connection goes on being made.
        Err(e) if error::is_cancelled(&e) && !header.cancelled() => {
            work.step = step::CONNECTING;
            Judged::Again
        }
        Ok(_) if work.step == step::CONNECTING => {
            // SAFETY: open while the operation holds its handle.
            let fd = unsafe { BorrowedFd::borrow_raw(header.target.get().os) };
            // The outcome of the attempt that is under way, and not a new one.
            let Detail::Connect(address) = &work.detail else {
                return Judged::Over(Err(error::wrong_kind()));
            };
            let socket = SockRef::from(&fd);
            let outcome = socket
                .set_nonblocking(true)
                .and_then(|()| socket.connect(address))
                .and(socket.set_nonblocking(false));
            match outcome {
                Err(e) if e.raw_os_error() != Some(libc::EISCONN) => Judged::Over(Err(e)),
                _ => Judged::Over(Ok(Output::Bytes(0))),
            }
        }
        result => Judged::Over(result.map(Output::Bytes)),
    }
}

/// With `O_NONBLOCK` the kernel answers `EAGAIN` where it would otherwise wait; overlapped I/O always waits (S178).
pub(super) fn make_blocking(header: &Header) -> io::Result<()> {
    // SAFETY: open while the operation holds its handle.
    let fd = unsafe { BorrowedFd::borrow_raw(header.target.get().os) };
    SockRef::from(&fd).set_nonblocking(false)
}

#[cfg(all(test, not(completion_port_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_itself_is_an_interruption() {
        for code in [512, 513, 514, 516, libc::EINTR] {
            let error = told(-code).expect_err("no success");
            assert_eq!(error.raw_os_error(), Some(libc::EINTR), "{code}");
        }
        assert_eq!(told(-libc::EIO).expect_err("no success").raw_os_error(), Some(libc::EIO));
        assert_eq!(told(7).expect("a success"), 7);
    }
}
