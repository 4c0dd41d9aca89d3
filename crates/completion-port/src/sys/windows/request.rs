//! How each operation starts.

use std::{
    ffi::c_void,
    io,
    os::windows::io::AsRawSocket,
    ptr::{self, NonNull},
};

use socket2::{Domain, SockAddr};
use windows_sys::Win32::{
    Foundation::{ERROR_IO_PENDING, FALSE, GetLastError, HANDLE},
    Networking::WinSock::{
        MSG_PEEK, SOCKET, SOCKET_ERROR, WSABUF, WSARecv, WSARecvFrom, WSASend, WSASendTo,
    },
    Storage::FileSystem::{FlushFileBuffers, ReadFile, ReadFileEx, WriteFile, WriteFileEx},
    System::Threading::{PTP_CALLBACK_INSTANCE, TrySubmitThreadpoolCallback},
};

use super::{
    apc, extensions,
    guest::{self, Guest},
    peer::EACH,
    slot::{self, Home},
    socket, status,
};
use crate::{
    error,
    operation::{Detail, Header, OpKind, Work},
    sys::{
        file::{self, Memory},
        transmit_file,
    },
};

/// One transfer is at most this long; the rest of a longer one follows in the next.
const LONGEST: usize = 1 << 30;

/// By which means the end of an operation is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    /// By a packet at the port that its handle is associated with.
    Packet,
    /// By a routine in an alertable wait of the calling thread, if there is a form of the call with one.
    Routine,
    /// By an event, which others watch.
    Event,
}

/// What has become of a start.
pub(super) enum Begun {
    /// Its end will be told.
    Pending,
    /// It is over. That will be told all the same, unless it is one whose handle skips that.
    Over,
    /// It is over, and its event is not watched: nothing will be told.
    Done,
    Failed(io::Error),
}

/// Gives an operation to the kernel. The rest of what `home` is told of is to be made of the operation by [`judge`](super::judge).
///
/// # Safety
///
/// The caller owns the operation, whose handle is open, and gives it away unless the start fails. A routine is told of on the calling
/// thread.
pub(super) unsafe fn begin(op: NonNull<Header>, means: Means, home: &Home) -> Begun {
    // SAFETY: the caller's.
    let (header, work) = unsafe { (op.as_ref(), op.as_ref().work()) };
    let target = header.target.get().os;
    let offset = match header.kind {
        OpKind::ReadAt | OpKind::WriteAt => match file::part(header.kind, work) {
            Ok((_, offset)) => offset,
            Err(e) => return Begun::Failed(e),
        },
        OpKind::TransmitFile => match &work.detail {
            Detail::TransmitFile(what) => match what.next() {
                transmit_file::Piece::File { at, .. } => at,
                transmit_file::Piece::Bytes(..) => 0,
            },
            _ => 0,
        },
        _ => 0,
    };
    // SAFETY: owned, and not with the kernel.
    unsafe { slot::renew(op, offset) };
    let by_event = is_by_event(header) || means == Means::Routine && !has_routine(header, work);
    let means = if by_event { Means::Event } else { means };
    let mut watched = None;
    if means == Means::Event {
        let guest = match Guest::new(op) {
            Ok(guest) => Box::new(guest),
            Err(e) => return Begun::Failed(e),
        };
        // The lowest bit: no packet comes besides, if the socket belongs to a port (GetQueuedCompletionStatus).
        let event = guest.event().map_addr(|address| address | 1);
        // SAFETY: owned.
        unsafe { (*slot::of(op)).overlapped.hEvent = event };
        watched = Some(guest.to_watch());
        // SAFETY: owned.
        unsafe { (*slot::of(op)).guest = Some(guest) };
    }
    if means != Means::Packet || header.kind.is_of_file() {
        // SAFETY: owned.
        unsafe { (*slot::of(op)).home = Some(home.clone()) };
    }
    header.let_go();
    // SAFETY: the caller's.
    let begun = unsafe { call(op, header, target, means) };
    match (&begun, watched) {
        (Begun::Over, Some(_)) if matches!(home, Home::Port(_)) => Begun::Done,
        // The routines of a thread come in the order in which it is told.
        (Begun::Pending | Begun::Over, Some(watched)) => {
            guest::watch(watched);
            Begun::Pending
        }
        _ => begun,
    }
}

/// Whether there is a form of the call with a completion routine.
fn has_routine(header: &Header, work: &Work) -> bool {
    match header.kind {
        OpKind::Accept | OpKind::AcceptEach | OpKind::TransmitFile => false,
        OpKind::AcceptWith => matches!(work.detail, Detail::FirstData(_)),
        OpKind::Connect => !matches!(work.detail, Detail::Connect(_)),
        _ => true,
    }
}

/// Whether its end is told by an event in any case. A datagram that is too long fails at once, and whether the packet or the routine comes
/// all the same, systems differ.
fn is_by_event(header: &Header) -> bool {
    header.kind.receives_datagrams() || header.kind == OpKind::SendTo
}

/// The result of a call of Winsock's.
fn of_socket(result: i32) -> Begun {
    if result != SOCKET_ERROR {
        return Begun::Over;
    }
    let error = status::last_of_socket();
    if error.raw_os_error() == Some(ERROR_IO_PENDING as i32) {
        Begun::Pending
    } else {
        Begun::Failed(error)
    }
}

/// The result of a call of an extension's, which returns a BOOL.
fn of_extension(result: i32) -> Begun {
    of_socket(if result == FALSE { SOCKET_ERROR } else { 0 })
}

/// The result of a call on a file.
fn of_file(result: i32, with_routine: bool) -> Begun {
    if result != FALSE {
        return if with_routine { Begun::Pending } else { Begun::Over };
    }
    // SAFETY: it has no conditions.
    match unsafe { GetLastError() } {
        ERROR_IO_PENDING => Begun::Pending,
        code => Begun::Failed(io::Error::from_raw_os_error(code as i32)),
    }
}

/// # Safety
///
/// As for [`begin`], and the slot is ready.
unsafe fn call(op: NonNull<Header>, header: &Header, target: usize, means: Means) -> Begun {
    // SAFETY: owned by the caller. (So for what follows: the memory that calls are given is the operation's, and lives as long as it.)
    let work = unsafe { header.work() };
    let overlapped = slot::overlapped(op);
    // SAFETY: as above; the address of a field.
    let flags = unsafe { &raw mut (*slot::of(op)).flags };
    let routine = (means == Means::Routine).then_some(apc::SOCKET_OVER);
    let receive = |to: *mut u8, room: usize| {
        let piece = WSABUF { len: room.min(LONGEST) as u32, buf: to };
        // SAFETY: as above.
        of_socket(unsafe {
            WSARecv(target, &piece, 1, ptr::null_mut(), flags, overlapped, routine)
        })
    };
    let send = |bytes: &[u8]| {
        let piece = WSABUF { len: bytes.len().min(LONGEST) as u32, buf: bytes.as_ptr().cast_mut() };
        // SAFETY: as above; what is sent is not written to.
        of_socket(unsafe { WSASend(target, &piece, 1, ptr::null_mut(), 0, overlapped, routine) })
    };
    match header.kind {
        OpKind::Recv => {
            let (to, room) = work.buffer.spare_parts();
            receive(to, room)
        }
        OpKind::AcceptWith if matches!(work.detail, Detail::FirstData(_)) => {
            let (to, room) = work.buffer.spare_parts();
            receive(to, room)
        }
        // Of no bytes: it is over when there is something, and has taken nothing.
        OpKind::RecvLent | OpKind::End => receive(ptr::null_mut(), 0),
        OpKind::RecvFrom | OpKind::RecvFromLent | OpKind::RecvFromEach => {
            let Detail::Message(message) = &mut work.detail else {
                return Begun::Failed(error::wrong_kind());
            };
            let lent = header.kind != OpKind::RecvFrom;
            let (to, room) = if lent { (ptr::null_mut(), 0) } else { work.buffer.spare_parts() };
            let piece = WSABUF { len: room.min(LONGEST) as u32, buf: to };
            let (address, len) = message.receive();
            // SAFETY: as above.
            unsafe {
                *flags = if lent { MSG_PEEK as u32 } else { 0 };
                of_socket(WSARecvFrom(
                    target,
                    &piece,
                    1,
                    ptr::null_mut(),
                    flags,
                    address.cast(),
                    len,
                    overlapped,
                    routine,
                ))
            }
        }
        OpKind::SendTo => {
            let Detail::Message(message) = &work.detail else {
                return Begun::Failed(error::wrong_kind());
            };
            let Some((to, len)) = message.to() else { return send(&work.buffer) };
            let piece = WSABUF {
                len: work.buffer.len().min(LONGEST) as u32,
                buf: work.buffer.as_ptr().cast_mut(),
            };
            // SAFETY: as above.
            of_socket(unsafe {
                WSASendTo(
                    target,
                    &piece,
                    1,
                    ptr::null_mut(),
                    0,
                    to.cast(),
                    len,
                    overlapped,
                    routine,
                )
            })
        }
        OpKind::Send => match &mut work.detail {
            Detail::Gather(gather) => {
                let (_, pieces) = gather.parts();
                // SAFETY: as above; a piece is a WSABUF. The kernel copies their list before the call returns.
                of_socket(unsafe {
                    WSASend(
                        target,
                        pieces.as_ptr().cast(),
                        pieces.len() as u32,
                        ptr::null_mut(),
                        0,
                        overlapped,
                        routine,
                    )
                })
            }
            _ => send(&work.buffer[work.done..]),
        },
        OpKind::Accept | OpKind::AcceptEach | OpKind::AcceptWith => {
            // SAFETY: handed on.
            unsafe { accept(op, header, target) }
        }
        OpKind::Connect => match &work.detail {
            Detail::Connect(address) => {
                let (address, len) = (address.as_ptr(), address.len());
                if let Err(e) = socket::bind_if_not_bound(target, &address_family(address.cast())) {
                    return Begun::Failed(e);
                }
                let connect = match extensions::connect(target) {
                    Ok(connect) => connect,
                    Err(e) => return Begun::Failed(e),
                };
                // SAFETY: as above.
                of_extension(unsafe {
                    connect(
                        target,
                        address.cast(),
                        len,
                        ptr::null(),
                        0,
                        ptr::null_mut(),
                        overlapped,
                    )
                })
            }
            _ => send(&work.buffer[work.done..]),
        },
        OpKind::TransmitFile => {
            let Detail::TransmitFile(what) = &work.detail else {
                return Begun::Failed(error::wrong_kind());
            };
            match what.next() {
                transmit_file::Piece::Bytes(bytes, _) => {
                    let piece = WSABUF {
                        len: bytes.len().min(LONGEST) as u32,
                        buf: bytes.as_ptr().cast_mut(),
                    };
                    // SAFETY: as above.
                    of_socket(unsafe {
                        WSASend(target, &piece, 1, ptr::null_mut(), 0, overlapped, None)
                    })
                }
                transmit_file::Piece::File { file, len, .. } => {
                    let transmit = match extensions::transmit_file(target) {
                        Ok(transmit) => transmit,
                        Err(e) => return Begun::Failed(e),
                    };
                    let file = std::os::windows::io::AsRawHandle::as_raw_handle(file);
                    let len = len.min(LONGEST as u64) as u32;
                    // SAFETY: as above; where it starts is in the overlapped structure.
                    of_extension(unsafe {
                        transmit(target, file, len, 0, overlapped, ptr::null(), 0)
                    })
                }
            }
        }
        OpKind::ReadAt | OpKind::WriteAt => {
            let (memory, _) = match file::part(header.kind, work) {
                Ok(part) => part,
                Err(e) => return Begun::Failed(e),
            };
            let (at, len) = match memory {
                Memory::One(at, len) => (at, len),
                // One after the other: the system's forms for several want whole pages.
                // SAFETY: the first of those that are there.
                Memory::Several(pieces, count) if count > 0 => unsafe {
                    ((*pieces).at(), (*pieces).len())
                },
                Memory::Several(..) => (ptr::null_mut(), 0),
            };
            let (file, len) = (target as HANDLE, len.min(LONGEST) as u32);
            let routine = (means == Means::Routine).then_some(apc::FILE_OVER);
            let reads = header.kind == OpKind::ReadAt;
            // SAFETY: as above; what is written is not written to.
            let result = unsafe {
                match (reads, routine) {
                    (true, None) => ReadFile(file, at, len, ptr::null_mut(), overlapped),
                    (true, routine) => ReadFileEx(file, at, len, overlapped, routine),
                    (false, None) => WriteFile(file, at, len, ptr::null_mut(), overlapped),
                    (false, routine) => WriteFileEx(file, at, len, overlapped, routine),
                }
            };
            of_file(result, routine.is_some())
        }
        OpKind::Sync | OpKind::SyncData => {
            // The system has no such call that does not wait: one of its own threads waits.
            // SAFETY: the callback is called once, with the operation, which exists until it is told to be over.
            let submitted =
                unsafe { TrySubmitThreadpoolCallback(Some(sync), op.as_ptr().cast(), ptr::null()) };
            if submitted == FALSE {
                Begun::Failed(io::Error::last_os_error())
            } else {
                Begun::Pending
            }
        }
        OpKind::Disconnect | OpKind::Post | OpKind::Timer | OpKind::Every => {
            Begun::Failed(error::wrong_kind())
        }
    }
}

/// # Safety
///
/// As for [`call`].
unsafe fn accept(op: NonNull<Header>, header: &Header, listener: SOCKET) -> Begun {
    // SAFETY: owned by the caller.
    let work = unsafe { header.work() };
    if !matches!(work.detail, Detail::Peer(_)) {
        work.detail = Detail::Peer(Box::new(super::Peer::new()));
    }
    let Detail::Peer(peer) = &mut work.detail else { return Begun::Failed(error::wrong_kind()) };
    let begun = socket::family(listener).and_then(|family| {
        let accept = extensions::accept(listener)?;
        let (socket, block) = peer.prepare(family)?;
        let mut received = 0;
        // SAFETY: two sockets that are open, and a block of the operation's for two addresses.
        Ok(of_extension(unsafe {
            accept(
                listener,
                socket.as_raw_socket() as SOCKET,
                block.cast(),
                0,
                EACH as u32,
                EACH as u32,
                &raw mut received,
                slot::overlapped(op),
            )
        }))
    });
    let begun = begun.unwrap_or_else(Begun::Failed);
    match begun {
        Begun::Failed(e) => {
            peer.discard();

            Begun::Failed(e)
        }
        begun => begun,
    }
}

/// The family of an address.
fn address_family(address: *const SockAddr) -> Domain {
    // SAFETY: every address begins with its family.
    Domain::from(i32::from(unsafe { *address.cast::<u16>() }))
}

/// Flushes a file, on a thread of the system's.
unsafe extern "system" fn sync(_: PTP_CALLBACK_INSTANCE, op: *mut c_void) {
    let Some(op) = NonNull::new(op.cast::<Header>()) else { return };
    // SAFETY: handed over by the start; its file is open because the operation holds its handle.
    let home = unsafe {
        let done = FlushFileBuffers(op.as_ref().target.get().os as HANDLE);
        let slot = slot::of(op);
        (*slot).told = Some(if done == FALSE { GetLastError() } else { 0 });
        (*slot).home.clone()
    };
    if let Some(home) = home {
        home.over(op);
    }
}
