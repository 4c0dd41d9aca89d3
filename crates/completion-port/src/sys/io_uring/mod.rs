//! The io_uring driver: operations go to the kernel as submissions and come back as completions.
//!
//! The ring is neither `SINGLE_ISSUER` nor `DEFER_TASKRUN`: any thread may submit (pushing behind a lock), and whoever holds
//! the driver reaps, also what a thread submitted that is busy elsewhere or asleep.
//!
//! - [`ring`]: the ring itself, set up for the kernel's rung of the ladder; pushing, sleeping, reaping.
//! - [`buffer_ring`]: buffers of the pool that lie with the kernel, one of which it takes when data arrives.
//! - [`at_once`]: receives that are tried without the ring.
//! - this file: what each operation is as a submission, and what its completion means.
//!
//! A completion is found by its `user_data`: the operation's address, or [`ring::IGNORED`] for our own requests.
//!
//! References: `io_uring_enter(2)`, `io_uring_setup(2)`, `io_uring_register(2)`.

mod at_once;
mod buffer_ring;
mod membarrier;
mod ring;
mod transmit;

use std::{
    io::{
        self,
        ErrorKind::{Interrupted, WouldBlock},
    },
    os::fd::BorrowedFd,
    ptr::{self, NonNull},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use io_uring::{cqueue, opcode, squeue, types};
use socket2::SockRef;

use self::{
    buffer_ring::{BufferRing, GROUP},
    ring::{Completed, IGNORED, Ring},
};
use super::{
    Accepted, Driver, Event, Medium, Message, Output, Socket,
    choose::Rung,
    file::{self, Memory},
    pipe,
    send::send_now,
};
use crate::{
    buffer::{HEAD, Pool},
    error,
    operation::{Detail, Header, OpKind, Side, Work},
};

/// So many operations of files are handed over together, when a worker starts as many before it comes to wait. One that is alone does
/// not wait for company.
const GATHERED: u32 = 64;
/// One transfer is at most this long; the rest of a longer one follows in the next.
const LONGEST: usize = 1 << 30;

pub(crate) struct IoUring {
    ring: Ring,
    rung: Rung,
    pool: Arc<Pool>,
    buffers: Option<BufferRing>,
    /// One request may bring many datagrams (Linux 6.0); until the kernel says otherwise.
    many: AtomicBool,
    /// The reaper's list, kept for its memory.
    reaped: Mutex<Vec<Completed>>,
}

/// The driver's own steps within one operation ([`Work::step`]).
mod step {
    /// The operation's one request is with the kernel.
    pub(super) const ONLY: u8 = 0;
    /// A lent receive waits until there is something to read.
    pub(super) const POLLING: u8 = 1;
    /// ... and then reads it into a buffer of the pool.
    pub(super) const READING: u8 = 2;
    /// A connect whose submitter went away waits for the outcome.
    pub(super) const CONNECTING: u8 = 3;
    /// The one request brings many datagrams.
    pub(super) const MANY: u8 = 4;
    /// Bytes of a file go into the pipe,
    pub(super) const FILLING: u8 = 5;
    /// ... the socket has room for some,
    pub(super) const WRITABLE: u8 = 6;
    /// ... and they go there.
    pub(super) const DRAINING: u8 = 7;
}

impl IoUring {
    /// `reserve` buffers of the pool may lie with the kernel.
    pub(crate) fn new(rung: Rung, pool: Arc<Pool>, reserve: usize) -> io::Result<Self> {
        let ring = Ring::new(rung)?;
        let buffers = match rung {
            Rung::BufferRing if reserve > 0 => Some(BufferRing::new(&ring, &pool, reserve)?),
            _ => None,
        };
        Ok(Self {
            ring,
            rung,
            pool,
            buffers,
            many: AtomicBool::new(true),
            reaped: Mutex::new(Vec::new()),
        })
    }

    /// The submission that takes `op` a step further; or why there is none.
    ///
    /// # Safety
    ///
    /// The caller owns `op`.
    unsafe fn request(&self, op: NonNull<Header>) -> io::Result<squeue::Entry> {
        // SAFETY: owned by the caller.
        let (header, work) = unsafe { (op.as_ref(), op.as_ref().work()) };
        let fd = types::Fd(header.target.get().fd);
        let entry = match header.kind {
            OpKind::Recv if header.is_pipe() => {
                let (to, room) = work.buffer.spare_parts();
                read(fd, to, room)
            }
            OpKind::Recv => {
                let (to, room) = work.buffer.spare_parts();
                receive(fd, &mut Detail::None, to, room, 0)
            }
            OpKind::RecvFromEach if self.brings_many(work) => {
                work.step = step::MANY;
                let Detail::Message(message) = &mut work.detail else {
                    return Err(error::wrong_kind());
                };
                opcode::RecvMsgMulti::new(fd, message.for_many(), GROUP).build()
            }
            OpKind::RecvLent | OpKind::End | OpKind::RecvFromLent | OpKind::RecvFromEach => {
                self.request_lent(fd, work, header.is_pipe())
            }
            OpKind::RecvFrom => {
                let (to, room) = work.buffer.spare_parts();
                receive(fd, &mut work.detail, to, room, 0)
            }
            OpKind::SendTo => match &mut work.detail {
                Detail::Message(message) => {
                    opcode::SendMsg::new(fd, message.send_from(&work.buffer))
                        .flags(libc::MSG_NOSIGNAL as u32)
                        .build()
                }
                _ => return Err(error::wrong_kind()),
            },
            // Written here when there is room (see `start`): the kernel would raise SIGPIPE.
            OpKind::Send if header.is_pipe() => poll(fd, libc::POLLOUT),
            OpKind::Send => send(fd, work),
            OpKind::AcceptEach if self.rung.multishot_accept() => {
                opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build()
            }
            OpKind::AcceptWith if matches!(work.detail, Detail::FirstData(_)) => {
                let (to, room) = work.buffer.spare_parts();
                opcode::Recv::new(fd, to, length(room)).build()
            }
            OpKind::Accept | OpKind::AcceptWith | OpKind::AcceptEach => {
                let (peer, len) = match &mut work.detail {
                    Detail::Peer(peer) => peer.parts(),
                    _ => (ptr::null_mut(), ptr::null_mut()),
                };
                opcode::Accept::new(fd, peer, len).flags(libc::SOCK_CLOEXEC).build()
            }
            OpKind::TransmitFile => transmit::request(fd, work)?,
            OpKind::Connect => match &work.detail {
                Detail::Connect(_) if work.step == step::CONNECTING => poll(fd, libc::POLLOUT),
                Detail::Connect(address) => {
                    opcode::Connect::new(fd, address.as_ptr().cast(), address.len()).build()
                }
                _ => send(fd, work),
            },
            OpKind::ReadAt => match file::part(header.kind, work)? {
                (Memory::One(to, room), offset) => {
                    opcode::Read::new(fd, to, length(room)).offset(offset).build()
                }
                (Memory::Several(pieces, count), offset) => {
                    opcode::Readv::new(fd, pieces, count as u32).offset(offset).build()
                }
            },
            OpKind::WriteAt => match file::part(header.kind, work)? {
                (Memory::One(from, len), offset) => {
                    opcode::Write::new(fd, from, length(len)).offset(offset).build()
                }
                (Memory::Several(pieces, count), offset) => {
                    opcode::Writev::new(fd, pieces, count as u32).offset(offset).build()
                }
            },
            OpKind::Sync => opcode::Fsync::new(fd).build(),
            OpKind::SyncData => opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build(),
            OpKind::Post | OpKind::Timer | OpKind::Every | OpKind::Disconnect => {
                opcode::Nop::new().build()
            }
        };
        Ok(entry.user_data(op.as_ptr() as u64))
    }

    fn request_lent(&self, fd: types::Fd, work: &mut Work, pipe: bool) -> squeue::Entry {
        if work.step == step::READING {
            let (to, room) = work.buffer.spare_parts();
            if pipe {
                return read(fd, to, room);
            }
            return receive(fd, &mut work.detail, to, room, libc::MSG_DONTWAIT);
        }
        if work.step != step::POLLING && self.refill() {
            // Where the bytes go is the kernel's choice.
            let size = self.pool.buffer_size();
            if pipe {
                return opcode::Read::new(fd, ptr::null_mut(), length(size))
                    .offset(NO_OFFSET)
                    .buf_group(GROUP)
                    .build()
                    .flags(squeue::Flags::BUFFER_SELECT);
            }
            return receive(fd, &mut work.detail, ptr::null_mut(), size, 0)
                .flags(squeue::Flags::BUFFER_SELECT);
        }
        // Asked for a buffer while none lies with it, the kernel refuses at once, data or not. So first wait for data.
        work.step = step::POLLING;
        poll(fd, libc::POLLIN)
    }

    /// Whether the next request of a continuing receive is one for many. Like any that leaves the choice of a buffer to the kernel, it
    /// is refused while no buffer lies there.
    fn brings_many(&self, work: &mut Work) -> bool {
        if work.step == step::MANY {
            // That one is over.
            work.step = step::ONLY;
        }
        work.step == step::ONLY && self.many.load(Relaxed) && self.refill()
    }

    /// Gives the kernel buffers ahead of need. False if none lies with it.
    fn refill(&self) -> bool {
        self.buffers.as_ref().is_some_and(|buffers| buffers.refill(&self.pool))
    }

    /// Puts `op` into the ring for its (next) step, and tells how many lie there now; or how it ended instead.
    ///
    /// # Safety
    ///
    /// The caller owns `op`; it is the kernel's unless an event is returned.
    unsafe fn push(&self, op: NonNull<Header>) -> Result<u32, Event> {
        // SAFETY: owned by the caller.
        match unsafe { self.request(op) } {
            Ok(entry) => {
                // SAFETY: still owned here; from the push on it is the kernel's.
                unsafe { op.as_ref().let_go() };
                // SAFETY: the entry points into the operation, which lives until its last completion, and to an open socket.
                unsafe { self.ring.push(&entry) }.map_err(|e| Event::last(op, Err(e)))
            }
            Err(e) => Err(Event::last(op, Err(e))),
        }
    }

    /// What a completion means: an event, or `None` when the operation went on to its next step.
    fn judge(&self, done: Completed) -> Option<Event> {
        let op = NonNull::new(done.user_data as *mut Header)?;
        // SAFETY: the kernel gave back an address that it was given, with the operation's ownership unless `more`.
        let header = unsafe { op.as_ref() };
        header.take_up();
        let more = cqueue::more(done.flags);
        let taken = cqueue::buffer_select(done.flags);
        let result = if done.result < 0 {
            Err(io::Error::from_raw_os_error(-done.result))
        } else {
            Ok(done.result as usize)
        };

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
                match unsafe { pipe::write_now(header) } {
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
            buffers.refill(&self.pool);
        }
        match (result, taken) {
            (Ok(filled), Some(slot)) => {
                let len = filled.saturating_sub(HEAD);
                // SAFETY: the kernel took the slot out of the ring, once, and has written the head and `len` bytes behind it.
                let (head, buffer) = unsafe { self.pool.filled_behind(slot, len) };
                Judged::Over(Ok(Output::Datagram(buffer, Box::new(Message::of_head(&head)))))
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
                buffers.refill(&self.pool);
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
                None if self.refill() => {
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

    /// The next step of an operation that is ours. A cancel that looked for it between two steps found nothing, so it is asked again.
    fn again(&self, op: NonNull<Header>) -> Option<Event> {
        // SAFETY: ours, see `judge`; and not freed below, because only this thread reaps its completion.
        unsafe {
            let event = self.push(op).err();
            if event.is_none()
                && op.as_ref().cancelled()
                && (op.as_ref().work().step != step::READING || op.as_ref().is_pipe())
            {
                self.push_cancel(op);
            }
            event
        }
    }

    /// # Safety
    ///
    /// `op`'s last event has not been settled.
    unsafe fn push_cancel(&self, op: NonNull<Header>) {
        let entry = opcode::AsyncCancel::new(op.as_ptr() as u64).build().user_data(IGNORED);
        // SAFETY: the entry names the operation by number only.
        // A cancel that cannot be asked for is an operation that goes on.
        let _ = unsafe { self.ring.push(&entry) };
    }
}

/// The submission that sends what is left of it.
fn send(fd: types::Fd, work: &mut Work) -> squeue::Entry {
    // Whole sends: WAITALL makes the kernel go on after a part has left. What is short all the same, the settler continues.
    let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
    match &mut work.detail {
        Detail::Gather(gather) => {
            opcode::SendMsg::new(fd, gather.message()).flags(flags as u32).build()
        }
        _ => {
            let bytes = &work.buffer[work.done..];
            opcode::Send::new(fd, bytes.as_ptr(), length(bytes.len())).flags(flags).build()
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

enum Judged {
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
            let fd = unsafe { BorrowedFd::borrow_raw(header.target.get().fd) };
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

/// A receive, of a datagram if there is a message for it. Its buffers, if they are the kernel's to choose, are those of [`GROUP`].
fn receive(
    fd: types::Fd,
    detail: &mut Detail,
    to: *mut u8,
    room: usize,
    flags: libc::c_int,
) -> squeue::Entry {
    match detail {
        Detail::Message(message) => {
            opcode::RecvMsg::new(fd, message.receive_into(to, room.min(LONGEST)))
                .flags(flags as u32)
                .buf_group(GROUP)
                .build()
        }
        _ => opcode::Recv::new(fd, to, length(room)).flags(flags).buf_group(GROUP).build(),
    }
}

fn poll(fd: types::Fd, events: libc::c_short) -> squeue::Entry {
    opcode::PollAdd::new(fd, events as u32).build()
}

/// What a read of a pipe has for an offset: none.
const NO_OFFSET: u64 = u64::MAX;

fn read(fd: types::Fd, to: *mut u8, room: usize) -> squeue::Entry {
    opcode::Read::new(fd, to, length(room)).offset(NO_OFFSET).build()
}

fn length(bytes: usize) -> u32 {
    bytes.min(LONGEST) as u32
}

/// With `O_NONBLOCK` the kernel answers `EAGAIN` where it would otherwise wait; overlapped I/O always waits (S178).
fn make_blocking(header: &Header) -> io::Result<()> {
    // SAFETY: open while the operation holds its handle.
    let fd = unsafe { BorrowedFd::borrow_raw(header.target.get().fd) };
    SockRef::from(&fd).set_nonblocking(false)
}

impl Driver for IoUring {
    fn attach(&self, socket: &Socket, medium: Medium) -> io::Result<u32> {
        let Some(fd) = socket.os() else { return Err(error::wrong_driver()) };
        // What is written to a pipe is written here.
        SockRef::from(fd).set_nonblocking(medium == Medium::PipeIn)?;
        Ok(0)
    }

    fn detach(&self, _: &Socket, _: u32) {}

    unsafe fn start(&self, op: NonNull<Header>) -> Option<Event> {
        // SAFETY: the caller's, until it is pushed, and a constant of it afterwards.
        let kind = unsafe { op.as_ref() }.kind;
        // Most sends go at once, and cost less this way than by the ring; and none waits for its starter.
        let sent = match kind {
            // SAFETY: owned by the caller, whose pipe is open.
            OpKind::Send if unsafe { op.as_ref() }.is_pipe() => {
                // SAFETY: as above.
                Some(unsafe { pipe::write_now(op.as_ref()) })
            }
            // SAFETY: owned by the caller, whose socket is open.
            OpKind::Send | OpKind::SendTo => Some(unsafe { send_now(op.as_ref()) }),
            // SAFETY: as above.
            OpKind::TransmitFile => unsafe { transmit::now(op.as_ref()) },
            _ => None,
        };
        match sent {
            None => {}
            Some(Err(e)) if matches!(e.kind(), WouldBlock | Interrupted) => {}
            Some(result) => return Some(Event::last(op, result.map(Output::Bytes))),
        }
        // SAFETY: owned by the caller, whose socket is open.
        if let Some(result) = unsafe { at_once::receive(op.as_ref(), &self.pool) } {
            return Some(Event::last(op, result));
        }
        // SAFETY: the caller hands it over.
        match unsafe { self.push(op) } {
            Ok(lying) => {
                // While something is under way, who waits here has a reason to come soon.
                let gathers = || lying < GATHERED && self.ring.in_flight() > lying as usize;
                if !(kind.only_waits() || kind.is_of_file() && gathers()) {
                    self.ring.submit();
                }
                None
            }
            Err(event) => Some(event),
        }
    }

    fn hand_over(&self) {
        self.ring.submit();
    }

    unsafe fn cancel(&self, op: NonNull<Header>) -> Option<Event> {
        // SAFETY: handed on.
        unsafe { self.push_cancel(op) };
        self.ring.submit();
        None
    }

    fn wait(&self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let mut reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        self.ring.wait(timeout, &mut reaped)?;
        let all = events.len() + reaped.len();
        for done in reaped.drain(..) {
            events.extend(self.judge(done));
        }
        if events.len() < all {
            // Some go on to their next step.
            self.ring.submit();
        }
        Ok(())
    }

    fn is_behind(&self) -> bool {
        self.ring.has_completed()
    }

    fn wake(&self) {
        // SAFETY: a request that does nothing touches nothing.
        // Refused, it would be refused to every other request as well, and has been told.
        let _ = unsafe { self.ring.push(&opcode::Nop::new().build().user_data(IGNORED)) };
        self.ring.submit();
    }

    fn wants_kicks(&self) -> bool {
        // Without COOP_TASKRUN the kernel interrupts by itself.
        self.ring.is_cooperative()
    }

    fn kick(&self) {
        if self.wants_kicks() && self.in_flight() > 0 {
            membarrier::interrupt_all();
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.ring.descriptor())
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn in_flight(&self) -> usize {
        self.ring.in_flight()
    }

    fn ready_buffers(&self) -> usize {
        self.buffers.as_ref().map_or(0, BufferRing::ready)
    }
}

const _: () = assert!(align_of::<Header>() > 1 && Side::In as usize == 0);
