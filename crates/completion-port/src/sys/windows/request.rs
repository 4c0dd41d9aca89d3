//! How each operation starts.

use std::{
    ffi::c_void,
    io,
    os::windows::io::{AsRawHandle, AsRawSocket},
    ptr::{self, NonNull},
};

use windows_sys::Win32::{
    Foundation::{ERROR_IO_PENDING, FALSE, GetLastError, HANDLE},
    Networking::WinSock::{
        MSG_PEEK, SOCKET, SOCKET_ERROR, WSABUF, WSARecv, WSARecvFrom, WSASend, WSASendTo,
    },
    Storage::FileSystem::{FlushFileBuffers, ReadFile, ReadFileEx, WriteFile, WriteFileEx},
    System::{
        IO::CancelIoEx,
        Threading::{PTP_CALLBACK_INSTANCE, TrySubmitThreadpoolCallback},
    },
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
}

/// Gives an operation to the kernel. What is made of it when its end is told is [`judge`](super::judge)'s; of a start that fails,
/// [`refused`](super::judge::refused)'s.
///
/// # Safety
///
/// The caller owns the operation, whose handle is open, and gives it away unless the start fails. A routine is told of on the calling
/// thread.
pub(super) unsafe fn begin(op: NonNull<Header>, means: Means, home: &Home) -> io::Result<Begun> {
    // SAFETY: the caller's.
    let (header, work) = unsafe { (op.as_ref(), op.as_ref().work()) };
    // SAFETY: owned, and not with the kernel.
    unsafe { slot::renew(op) };
    let by_event = is_by_event(header) || means == Means::Routine && !has_routine(header, work);
    let means = if by_event { Means::Event } else { means };
    let mut watched = None;
    if means == Means::Event {
        let guest = Box::new(Guest::new(op)?);
        // The lowest bit: no packet comes besides, if the socket belongs to a port (GetQueuedCompletionStatus).
        let event = guest.event().map_addr(|address| address | 1);
        watched = Some(guest.to_watch());
        // SAFETY: owned.
        unsafe {
            (*slot::of(op)).overlapped.hEvent = event;
            (*slot::of(op)).guest = Some(guest);
        }
    }
    if means != Means::Packet || header.kind.is_of_file() {
        // SAFETY: owned.
        unsafe { (*slot::of(op)).home = Some(home.clone()) };
    }
    header.let_go();
    // SAFETY: the caller's.
    let begun = unsafe {
        if header.kind.is_of_file() { call_file(op, means) } else { call_socket(op, means) }
    }?;
    Ok(match (begun, watched) {
        (Begun::Over, Some(_)) if matches!(home, Home::Port(_)) => Begun::Done,
        // The routines of a thread come in the order in which it is told.
        (_, Some(watched)) => {
            guest::watch(watched);
            Begun::Pending
        }
        (begun, None) => begun,
    })
}

/// Asks the kernel for the end of an operation. If the kernel has it no more, its end is on its way.
///
/// # Safety
///
/// It was started, and its last event has not been settled.
pub(super) unsafe fn cancel(op: NonNull<Header>) {
    // SAFETY: so it exists, and its handle is open; a constant is read.
    let handle = unsafe { op.as_ref() }.target.get().os as HANDLE;
    // SAFETY: as above.
    unsafe { CancelIoEx(handle, slot::overlapped(op)) };
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
fn of_socket(result: i32) -> io::Result<Begun> {
    if result != SOCKET_ERROR {
        return Ok(Begun::Over);
    }
    let error = status::last_of_socket();
    if error.raw_os_error() == Some(ERROR_IO_PENDING as i32) {
        Ok(Begun::Pending)
    } else {
        Err(error)
    }
}

/// The result of a call of an extension's, which returns a BOOL.
fn of_extension(result: i32) -> io::Result<Begun> {
    of_socket(if result == FALSE { SOCKET_ERROR } else { 0 })
}

/// The result of a call on a file.
fn of_file(result: i32, with_routine: bool) -> io::Result<Begun> {
    if result != FALSE {
        return Ok(if with_routine { Begun::Pending } else { Begun::Over });
    }
    // SAFETY: it has no conditions.
    match unsafe { GetLastError() } {
        ERROR_IO_PENDING => Ok(Begun::Pending),
        code => Err(io::Error::from_raw_os_error(code as i32)),
    }
}

/// Bytes in memory, no more than one transfer takes.
fn piece(at: *mut u8, len: usize) -> WSABUF {
    WSABUF { len: len.min(LONGEST) as u32, buf: at }
}

/// # Safety
///
/// As for [`begin`], and the slot is ready. (So for those below.)
unsafe fn call_socket(op: NonNull<Header>, means: Means) -> io::Result<Begun> {
    // SAFETY: owned by the caller. (So for what follows: the memory that calls are given is the operation's, and lives as long as it.)
    let (header, work) = unsafe { (op.as_ref(), op.as_ref().work()) };
    let target = header.target.get().os;
    let overlapped = slot::overlapped(op);
    // SAFETY: as above; the address of a field.
    let flags = unsafe { &raw mut (*slot::of(op)).flags };
    let routine = (means == Means::Routine).then_some(apc::SOCKET_OVER);
    let receive = |(to, room): (*mut u8, usize)| {
        // SAFETY: as above.
        of_socket(unsafe {
            WSARecv(target, &piece(to, room), 1, ptr::null_mut(), flags, overlapped, routine)
        })
    };
    // The kernel copies the list of pieces before the call returns.
    let send_pieces = |pieces: *const WSABUF, count: usize| {
        // SAFETY: as above; what is sent is not written to.
        of_socket(unsafe {
            WSASend(target, pieces, count as u32, ptr::null_mut(), 0, overlapped, routine)
        })
    };
    let send = |bytes: &[u8]| send_pieces(&piece(bytes.as_ptr().cast_mut(), bytes.len()), 1);
    match header.kind {
        OpKind::Recv => receive(work.buffer.spare_parts()),
        OpKind::AcceptWith if matches!(work.detail, Detail::FirstData(_)) => {
            receive(work.buffer.spare_parts())
        }
        // Of no bytes: it is over when there is something, and has taken nothing.
        OpKind::RecvLent | OpKind::End => receive((ptr::null_mut(), 0)),
        OpKind::RecvFrom | OpKind::RecvFromLent | OpKind::RecvFromEach => {
            let Detail::Message(message) = &mut work.detail else {
                return Err(error::wrong_kind());
            };
            let lent = header.kind != OpKind::RecvFrom;
            let (to, room) = if lent { (ptr::null_mut(), 0) } else { work.buffer.spare_parts() };
            let (address, len) = message.receive();
            // SAFETY: as above.
            unsafe {
                *flags = if lent { MSG_PEEK as u32 } else { 0 };
                of_socket(WSARecvFrom(
                    target,
                    &piece(to, room),
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
            let Detail::Message(message) = &work.detail else { return Err(error::wrong_kind()) };
            let bytes = &work.buffer;
            let Some((to, len)) = message.to() else { return send(bytes) };
            let piece = piece(bytes.as_ptr().cast_mut(), bytes.len());
            let to = to.cast();
            // SAFETY: as above.
            of_socket(unsafe {
                WSASendTo(target, &piece, 1, ptr::null_mut(), 0, to, len, overlapped, routine)
            })
        }
        OpKind::Send => match &mut work.detail {
            Detail::Gather(gather) => {
                let (_, pieces) = gather.parts();
                // A piece is a WSABUF.
                send_pieces(pieces.as_ptr().cast(), pieces.len())
            }
            _ => send(&work.buffer[work.done..]),
        },
        // SAFETY: handed on.
        OpKind::Accept | OpKind::AcceptEach | OpKind::AcceptWith => unsafe { accept(op) },
        OpKind::Connect => match &work.detail {
            Detail::Connect(address) => {
                socket::bind_if_not_bound(target, address.domain())?;
                let connect = extensions::connect(target)?;
                let (to, len) = (address.as_ptr().cast(), address.len());
                // SAFETY: as above.
                of_extension(unsafe {
                    connect(target, to, len, ptr::null(), 0, ptr::null_mut(), overlapped)
                })
            }
            _ => send(&work.buffer[work.done..]),
        },
        OpKind::TransmitFile => {
            let Detail::TransmitFile(what) = &work.detail else { return Err(error::wrong_kind()) };
            match what.next() {
                transmit_file::Piece::Bytes(bytes, _) => send(bytes),
                transmit_file::Piece::File { file, at, len, .. } => {
                    let transmit = extensions::transmit_file(target)?;
                    let len = len.min(LONGEST as u64) as u32;
                    // SAFETY: as above.
                    of_extension(unsafe {
                        slot::start_at(op, at);
                        transmit(target, file.as_raw_handle(), len, 0, overlapped, ptr::null(), 0)
                    })
                }
            }
        }
        _ => Err(error::wrong_kind()),
    }
}

/// # Safety
///
/// As for [`call_socket`].
unsafe fn accept(op: NonNull<Header>) -> io::Result<Begun> {
    // SAFETY: owned by the caller.
    let (header, work) = unsafe { (op.as_ref(), op.as_ref().work()) };
    let listener = header.target.get().os;
    if !matches!(work.detail, Detail::Peer(_)) {
        work.detail = Detail::Peer(Box::new(super::Peer::new()));
    }
    let Detail::Peer(peer) = &mut work.detail else { return Err(error::wrong_kind()) };
    let accept = extensions::accept(listener)?;
    let (socket, block) = peer.prepare(socket::family(listener)?)?;
    let mut received = 0;
    // SAFETY: two sockets that are open, and a block of the operation's for two addresses.
    let begun = of_extension(unsafe {
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
    });
    if begun.is_err() {
        peer.discard();
    }
    begun
}

/// # Safety
///
/// As for [`call_socket`].
unsafe fn call_file(op: NonNull<Header>, means: Means) -> io::Result<Begun> {
    // SAFETY: owned by the caller. (As there.)
    let (header, work) = unsafe { (op.as_ref(), op.as_ref().work()) };
    if matches!(header.kind, OpKind::Sync | OpKind::SyncData) {
        // The system has no such call that does not wait: one of its own threads waits.
        // SAFETY: the callback is called once, with the operation, which exists until it is told to be over.
        let submitted =
            unsafe { TrySubmitThreadpoolCallback(Some(sync), op.as_ptr().cast(), ptr::null()) };
        return if submitted == FALSE {
            Err(io::Error::last_os_error())
        } else {
            Ok(Begun::Pending)
        };
    }
    let (memory, offset) = file::part(header.kind, work)?;
    let (at, len) = match memory {
        Memory::One(at, len) => (at, len),
        // One after the other: the system's forms for several want whole pages.
        // SAFETY: the first of those that are there.
        Memory::Several(pieces, count) if count > 0 => unsafe { ((*pieces).at(), (*pieces).len()) },
        Memory::Several(..) => (ptr::null_mut(), 0),
    };
    let (file, len) = (header.target.get().os as HANDLE, len.min(LONGEST) as u32);
    let overlapped = slot::overlapped(op);
    let routine = (means == Means::Routine).then_some(apc::FILE_OVER);
    let reads = header.kind == OpKind::ReadAt;
    // SAFETY: as above; what is written is not written to.
    let result = unsafe {
        slot::start_at(op, offset);
        match (reads, routine) {
            (true, None) => ReadFile(file, at, len, ptr::null_mut(), overlapped),
            (true, routine) => ReadFileEx(file, at, len, overlapped, routine),
            (false, None) => WriteFile(file, at, len, ptr::null_mut(), overlapped),
            (false, routine) => WriteFileEx(file, at, len, overlapped, routine),
        }
    };
    of_file(result, routine.is_some())
}

/// Flushes a file, on a thread of the system's.
unsafe extern "system" fn sync(_: PTP_CALLBACK_INSTANCE, op: *mut c_void) {
    let Some(op) = NonNull::new(op.cast::<Header>()) else { return };
    // SAFETY: handed over by the start; its file is open because the operation holds its handle.
    unsafe {
        let done = FlushFileBuffers(op.as_ref().target.get().os as HANDLE);
        (*slot::of(op)).told = Some(if done == FALSE { GetLastError() } else { 0 });
        slot::tell(op);
    }
}
