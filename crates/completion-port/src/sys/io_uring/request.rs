//! What each operation is as a submission.

use std::{
    io,
    ptr::{self, NonNull},
    sync::atomic::Ordering::Relaxed,
};

use io_uring::{opcode, squeue, types};

use super::{IoUring, buffer_ring::GROUP, step, transmit};
use crate::{
    error,
    operation::{Detail, Header, OpKind, Work},
    sys::file::{self, Memory},
};

/// One transfer is at most this long; the rest of a longer one follows in the next.
const LONGEST: usize = 1 << 30;
/// What a read of a pipe has for an offset: none.
const NO_OFFSET: u64 = u64::MAX;

impl IoUring {
    /// The submission that takes `op` a step further; or why there is none.
    ///
    /// # Safety
    ///
    /// The caller owns `op`.
    pub(super) unsafe fn request(&self, op: NonNull<Header>) -> io::Result<squeue::Entry> {
        // SAFETY: owned by the caller.
        let (header, work) = unsafe { (op.as_ref(), op.as_ref().work()) };
        let fd = types::Fd(header.target.get().os);
        let entry = match header.kind {
            OpKind::Recv if header.is_pipe() => {
                let (to, room) = work.buffer.spare_parts();
                read(fd, to, room)
            }
            OpKind::Recv | OpKind::RecvLent if self.is_received_here(header, work) => {
                poll(fd, libc::POLLIN)
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
            OpKind::AcceptEach if self.rung.multishot_accept() && self.owner.is_here() => {
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
                    opcode::Readv::new(fd, pieces.cast(), count as u32).offset(offset).build()
                }
            },
            OpKind::WriteAt => match file::part(header.kind, work)? {
                (Memory::One(from, len), offset) => {
                    opcode::Write::new(fd, from, length(len)).offset(offset).build()
                }
                (Memory::Several(pieces, count), offset) => {
                    opcode::Writev::new(fd, pieces.cast(), count as u32).offset(offset).build()
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

    /// Whether the next request of a continuing receive is one for many, as whoever waits here asks. Like any that leaves the choice of a
    /// buffer to the kernel, it is refused while no buffer lies there.
    fn brings_many(&self, work: &mut Work) -> bool {
        if work.step == step::MANY {
            // That one is over.
            work.step = step::ONLY;
        }
        work.step == step::ONLY && self.many.load(Relaxed) && self.owner.is_here() && self.refill()
    }
}

/// The submission that sends what is left of it.
pub(super) fn send(fd: types::Fd, work: &mut Work) -> squeue::Entry {
    // Whole sends: WAITALL makes the kernel go on after a part has left. What is short all the same, the settler continues.
    let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
    match &mut work.detail {
        Detail::Gather(gather) => {
            let (header, pieces) = gather.parts();
            opcode::SendMsg::new(fd, header.of(pieces)).flags(flags as u32).build()
        }
        _ => {
            let bytes = &work.buffer[work.done..];
            opcode::Send::new(fd, bytes.as_ptr(), length(bytes.len())).flags(flags).build()
        }
    }
}

/// A receive, of a datagram if there is a message for it. Its buffers, if they are the kernel's to choose, are those of [`GROUP`].
pub(super) fn receive(
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

pub(super) fn poll(fd: types::Fd, events: libc::c_short) -> squeue::Entry {
    opcode::PollAdd::new(fd, events as u32).build()
}

pub(super) fn read(fd: types::Fd, to: *mut u8, room: usize) -> squeue::Entry {
    opcode::Read::new(fd, to, length(room)).offset(NO_OFFSET).build()
}

pub(super) fn length(bytes: usize) -> u32 {
    bytes.min(LONGEST) as u32
}
