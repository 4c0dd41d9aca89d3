//! One I/O from its start to its last completion.
//!
//! # Who owns an operation
//!
//! An operation lies at an address that stays ([`place`]), because the kernel keeps pointers into it. Exactly one party owns it at
//! any time, and only the owner may touch what is not atomic or constant:
//!
//! 1. **the starter** builds it, and fills in everything before it lets go: another thread can hold the completion before the
//!    call that started it has returned;
//! 2. **the direction** (see [`crate::handle`]) owns it while it waits its turn behind another of the same handle and direction (a
//!    file's do not wait for each other);
//! 3. **the driver** owns it from [`Driver::start`](crate::sys::Driver::start) until it reports an [`Event`](crate::sys::Event)
//!    for it. A cancel only asks; it never takes the operation back by itself;
//! 4. **the settler**, the thread that handles that event, owns it next: it gives it back to the driver (a send went out in part,
//!    an accept goes on) or takes it apart into a [`Completion`].
//!
//! Between 2 and 4 the direction's lock is held at each change of owner, and the direction's `active` pointer names the operation
//! that is with the driver, or, of a file, all those that are ([`abreast`]): that is how a cancel finds one that still exists.
//!
//! An operation that the kernel never gives back is leaked, with its buffer and its handle, and counted: the kernel may still
//! write into it.
//!
//! ThreadSanitizer cannot see the edge from the starter through the kernel to the reaper. [`Header::let_go`] and
//! [`Header::take_up`] draw it: a release store where an operation leaves our hands, an acquire load where it comes back.

pub(crate) mod abreast;
mod addresses;
mod completion;
mod place;
mod queue;
mod refused;

use std::{
    any::Any,
    cell::{Cell, UnsafeCell},
    fmt,
    net::SocketAddr,
    ptr::NonNull,
    sync::atomic::{AtomicU8, AtomicU16, Ordering},
};

pub use addresses::Addresses;
pub use completion::Completion;
pub(crate) use completion::Extra;
pub(crate) use place::Place;
pub(crate) use queue::Queue;
pub(crate) use refused::NotStarted;
pub use refused::Refused;

use crate::{buffer::Buffer, handle::Handle, sys};

/// Names one started operation of a handle, for [`Handle::cancel`](crate::Handle::cancel). It stands for the address of an
/// `OVERLAPPED`, but is never used twice: the id of an operation that is over cancels nothing.
///
/// ```
/// use completion_port::{Buffer, CompletionPort};
/// use std::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let _client = TcpStream::connect(listener.local_addr()?)?;
/// let port = CompletionPort::<(), ()>::new()?;
/// let server = port.associate(listener.accept()?.0, ())?;
///
/// let id = server.recv(Buffer::with_capacity(64), ())?;
/// assert!(server.cancel(id), "it was found");
/// assert!(port.get()?.result.is_err());
/// assert!(!server.cancel(id), "it is over");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "OVERLAPPED")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpId {
    pub(crate) side: Side,
    pub(crate) sequence: u64,
}

/// The two independent directions of a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// recv (of datagrams too), accept, the reading half of a graceful end, and reads of a file.
    In,
    /// send (of datagrams too), connect, and what else goes behind the sends; writes and syncs of a file.
    Out,
}

/// What an operation does.
///
/// ```
/// use completion_port::{CompletionPort, OpKind};
///
/// let port = CompletionPort::<(), ()>::new()?;
/// port.key(()).post(0, ())?;
/// assert_eq!(port.get()?.kind(), OpKind::Post);
/// assert_eq!(OpKind::RecvLent.to_string(), "recv_lent");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum OpKind {
    /// [`Handle::recv`](crate::Handle::recv).
    Recv,
    /// [`Handle::recv_lent`](crate::Handle::recv_lent).
    RecvLent,
    /// [`Handle::send`](crate::Handle::send) and `send_vectored`.
    Send,
    /// [`Handle::recv_from`](crate::Handle::recv_from), and a `recv` of datagrams.
    RecvFrom,
    /// [`Handle::recv_from_lent`](crate::Handle::recv_from_lent), and a `recv_lent` of datagrams.
    RecvFromLent,
    /// [`Handle::recv_from_each`](crate::Handle::recv_from_each).
    RecvFromEach,
    /// [`Handle::send_to`](crate::Handle::send_to), and a `send` of a datagram.
    SendTo,
    /// [`Handle::accept`](crate::Handle::accept).
    Accept,
    /// [`Handle::accept_each`](crate::Handle::accept_each).
    AcceptEach,
    /// [`Handle::accept_with`](crate::Handle::accept_with).
    AcceptWith,
    /// [`Handle::connect`](crate::Handle::connect) and `connect_with`.
    Connect,
    /// [`Handle::end`](crate::Handle::end) and `disconnect_reuse`.
    End,
    /// [`Handle::disconnect`](crate::Handle::disconnect).
    Disconnect,
    /// [`Handle::transmit_file`](crate::Handle::transmit_file).
    TransmitFile,
    /// [`Handle::post`](crate::Handle::post).
    Post,
    /// [`Handle::timer`](crate::Handle::timer).
    Timer,
    /// [`Handle::every`](crate::Handle::every).
    Every,
    /// [`Handle::read_at`](crate::Handle::read_at) and `read_vectored_at`.
    ReadAt,
    /// [`Handle::write_at`](crate::Handle::write_at) and `write_vectored_at`.
    WriteAt,
    /// [`Handle::sync`](crate::Handle::sync).
    Sync,
    /// [`Handle::sync_data`](crate::Handle::sync_data).
    SyncData,
}

impl OpKind {
    pub(crate) fn side(self) -> Side {
        match self {
            OpKind::Send
            | OpKind::SendTo
            | OpKind::Connect
            | OpKind::Disconnect
            | OpKind::TransmitFile
            | OpKind::WriteAt
            | OpKind::Sync
            | OpKind::SyncData => Side::Out,
            _ => Side::In,
        }
    }

    /// Whether it takes bytes from a stream.
    pub(crate) fn receives(self) -> bool {
        matches!(self, OpKind::Recv | OpKind::RecvLent | OpKind::End)
    }

    /// Whether it is one of a file's, which do not wait for each other.
    pub(crate) fn is_of_file(self) -> bool {
        matches!(self, OpKind::ReadAt | OpKind::WriteAt | OpKind::Sync | OpKind::SyncData)
    }

    /// Whether it does nothing until others act.
    #[allow(dead_code)] // not every driver asks
    pub(crate) fn only_waits(self) -> bool {
        use OpKind::{Accept, AcceptEach, AcceptWith, Recv, RecvLent};
        matches!(self, Recv | RecvLent | Accept | AcceptEach | AcceptWith)
            || self.receives_datagrams()
    }

    /// Whether it takes datagrams, one at a time, each with its sender.
    pub(crate) fn receives_datagrams(self) -> bool {
        use OpKind::{RecvFrom, RecvFromEach, RecvFromLent};
        matches!(self, RecvFrom | RecvFromLent | RecvFromEach)
    }

    /// Whether it goes on after a packet, with a context from its user's maker for each.
    pub(crate) fn continues(self) -> bool {
        matches!(self, OpKind::AcceptEach | OpKind::RecvFromEach)
    }

    /// One word, as [`Snapshot`](crate::Snapshot) prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            OpKind::Recv => "recv",
            OpKind::RecvLent => "recv_lent",
            OpKind::Send => "send",
            OpKind::RecvFrom => "recv_from",
            OpKind::RecvFromLent => "recv_from_lent",
            OpKind::RecvFromEach => "recv_from_each",
            OpKind::SendTo => "send_to",
            OpKind::Accept => "accept",
            OpKind::AcceptEach => "accept_each",
            OpKind::AcceptWith => "accept_with",
            OpKind::Connect => "connect",
            OpKind::End => "end",
            OpKind::Disconnect => "disconnect",
            OpKind::TransmitFile => "transmit_file",
            OpKind::Post => "post",
            OpKind::ReadAt => "read_at",
            OpKind::WriteAt => "write_at",
            OpKind::Sync => "sync",
            OpKind::SyncData => "sync_data",
            OpKind::Timer => "timer",
            OpKind::Every => "every",
        }
    }
}

impl fmt::Display for OpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Somebody has asked for the operation's end; what it then reports is not put right by trying again.
const CANCELLED: u16 = 1;
/// It waits for a buffer of the pool, not with the driver.
const STARVED: u16 = 1 << 1;
/// A graceful end that has read everything and waits for the other direction, not with the driver.
const RESTING: u16 = 1 << 2;
/// Its deadline has passed.
const EXPIRED: u16 = 1 << 3;
/// It has waited for a buffer, and one was free when it was started again.
const REVIVED: u16 = 1 << 4;
/// It has had its turn for now and goes on when the others have had theirs; not with the driver.
const DEFERRED: u16 = 1 << 5;
/// Its starter can do with its completion at once: a driver that does not try by itself does so for this one.
const AT_ONCE: u16 = 1 << 6;
/// Its stream is a pipe, for which the system has other calls than for a socket. Set before it starts.
const PIPE: u16 = 1 << 7;
/// It has, or had, a deadline.
const TIMED: u16 = 1 << 8;
/// A graceful end after which the handle is not closed, but can connect again.
const REUSES: u16 = 1 << 9;

/// The part of an operation that a driver knows. It is the first field, so a pointer to one is a pointer to the other.
///
/// An idle connection has one that is pending, so it is no larger than it must be: the fields lie in an order without gaps.
#[repr(C)]
pub(crate) struct Header {
    pub kind: OpKind,
    /// Which of its port's drivers it was given to last. There are few ([`Set::MOST`](crate::schedule::Set)).
    pub driver: AtomicU8,
    flags: AtomicU16,
    /// Milliseconds from the port's birth to the start, for its age in a snapshot.
    pub started: u32,
    pub sequence: u64,
    /// Changed once at most: by the accept that goes on with the socket it has brought, behind the direction's lock.
    pub target: Cell<sys::Target>,
    /// The one behind it in its [`Queue`], which means something only there.
    link: UnsafeCell<NonNull<Header>>,
    /// The one before it in its row ([`abreast`]), likewise.
    back: UnsafeCell<NonNull<Header>>,
    /// What is to be done and how far it is: the owner's alone.
    pub work: UnsafeCell<Work>,
    /// What the system wants to have lie with it: the driver's alone.
    pub slot: UnsafeCell<sys::Slot>,
}

/// The mutable part of an operation, its owner's alone.
pub(crate) struct Work {
    /// A receive fills its spare room, a send sends what is in it.
    pub buffer: Buffer,
    /// Bytes sent, read or written so far, or discarded so far by a graceful end.
    pub done: usize,
    pub detail: Detail,
    /// How far the driver's own steps are, if one operation takes it several.
    pub step: u8,
}

// Glibc's chunks have 8 bytes of their own and come in steps of 16, so with the 8 of its handle and 16 of a context, as `cport serve`
// has it, an operation takes a chunk of 128 bytes. One byte more makes it 144.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(
    size_of::<Header>() <= 96 + size_of::<sys::Slot>() + sys::MORE
        && size_of::<Operation<(), u64>>() <= 120 + size_of::<sys::Slot>() + sys::MORE
);

/// What only some kinds of operation need, the large ones out of line so that an idle receive stays small.
pub(crate) enum Detail {
    None,
    /// Of a receive that has waited for a buffer: its place among those that do.
    Ticket(u64),
    /// Several buffers sent as one.
    Gather(Box<sys::Gather>),
    Connect(Box<socket2::SockAddr>),
    /// Of a datagram.
    Message(Box<sys::Message>),
    /// Where in the file it begins.
    At(u64),
    /// The same, for several buffers.
    Vectored(Box<sys::Vectored>),
    /// Where the system puts the address of who was accepted.
    Peer(#[allow(dead_code)] Box<sys::Peer>), // where an accept returns it, nobody looks here
    /// Of an accept that has its connection, and waits for the first data.
    FirstData(Box<FirstData>),
    TransmitFile(Box<sys::TransmitFile>),
}

impl Detail {
    /// Its place among those that wait for a buffer, if it has waited.
    pub(crate) fn ticket(&self) -> Option<u64> {
        match self {
            Detail::Ticket(ticket) => Some(*ticket),
            Detail::Message(message) => message.ticket,
            _ => None,
        }
    }

    pub(crate) fn set_ticket(&mut self, ticket: u64) {
        match self {
            Detail::Message(message) => message.ticket = Some(ticket),
            other => *other = Detail::Ticket(ticket),
        }
    }
}

/// A connection that was accepted and has sent nothing yet.
pub(crate) struct FirstData {
    pub accepted: sys::Accepted,
    /// What the driver's `attach` gave out for it.
    pub token: u32,
}

impl Header {
    fn raise(&self, flag: u16) -> bool {
        self.flags.fetch_or(flag, Ordering::AcqRel) & flag == 0
    }

    fn has(&self, flag: u16) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    /// Marks it as cancelled; true for the first to do so.
    pub(crate) fn cancel(&self) -> bool {
        self.raise(CANCELLED)
    }

    pub(crate) fn cancelled(&self) -> bool {
        self.has(CANCELLED)
    }

    /// Its deadline has passed; a cancel follows.
    pub(crate) fn mark_expired(&self) {
        self.raise(EXPIRED);
    }

    pub(crate) fn expired(&self) -> bool {
        self.has(EXPIRED)
    }

    pub(crate) fn mark_pipe(&self) {
        self.raise(PIPE);
    }

    #[allow(dead_code)] // not every system has pipes that differ
    pub(crate) fn is_pipe(&self) -> bool {
        self.has(PIPE)
    }

    /// It gets a deadline. True if it had one.
    pub(crate) fn set_timed(&self) -> bool {
        !self.raise(TIMED)
    }

    pub(crate) fn timed(&self) -> bool {
        self.has(TIMED)
    }

    pub(crate) fn starve(&self) {
        self.raise(STARVED);
    }

    pub(crate) fn defer(&self) {
        self.raise(DEFERRED);
    }

    pub(crate) fn deferred(&self) -> bool {
        self.has(DEFERRED)
    }

    pub(crate) fn revive(&self) {
        self.raise(REVIVED);
    }

    /// Whether [`Header::was_revived`] would say so.
    pub(crate) fn is_revived(&self) -> bool {
        self.has(REVIVED)
    }

    /// Whether it was revived since this was last asked.
    pub(crate) fn was_revived(&self) -> bool {
        self.is_revived() && self.flags.fetch_and(!REVIVED, Ordering::AcqRel) & REVIVED != 0
    }

    pub(crate) fn try_at_once(&self) {
        self.raise(AT_ONCE);
    }

    /// Whether it is to be tried at once, the first time that this is asked.
    #[allow(dead_code)] // not every driver asks
    pub(crate) fn is_for_at_once(&self) -> bool {
        self.has(AT_ONCE) && self.flags.fetch_and(!AT_ONCE, Ordering::AcqRel) & AT_ONCE != 0
    }

    pub(crate) fn starved(&self) -> bool {
        self.has(STARVED)
    }

    pub(crate) fn rest(&self) {
        self.raise(RESTING);
    }

    /// A graceful end leaves the handle open, to connect again.
    pub(crate) fn reuses(&self) -> bool {
        self.has(REUSES)
    }

    pub(crate) fn resting(&self) -> bool {
        self.has(RESTING)
    }

    /// It goes (back) to the driver: nothing that kept it elsewhere holds any more.
    pub(crate) fn resume(&self) {
        self.flags.fetch_and(!(STARVED | RESTING | DEFERRED), Ordering::AcqRel);
    }

    /// The last thing before the operation is out of this thread's hands.
    pub(crate) fn let_go(&self) {
        // Its own driver number again: only the owner writes it.
        self.driver.store(self.driver.load(Ordering::Relaxed), Ordering::Release);
    }

    /// The first thing after it has come back from the kernel.
    pub(crate) fn take_up(&self) {
        self.driver.load(Ordering::Acquire);
    }

    /// The mutable part.
    ///
    /// # Safety
    ///
    /// The caller owns the operation (see the module's head), and holds no other reference from this function.
    #[expect(
        clippy::mut_from_ref,
        reason = "the cell is the point; the contract above makes it sound"
    )]
    pub(crate) unsafe fn work(&self) -> &mut Work {
        // SAFETY: the caller is the one owner.
        unsafe { &mut *self.work.get() }
    }

    /// The bytes of a send that have not gone yet, if they lie in one piece.
    ///
    /// # Safety
    ///
    /// As for [`Header::work`].
    #[allow(dead_code)] // not every driver asks
    pub(crate) unsafe fn unsent(&self) -> &[u8] {
        // SAFETY: handed on.
        let work = unsafe { self.work() };
        &work.buffer[work.done..]
    }
}

/// Where the context of a completion comes from.
pub(crate) enum Context<T> {
    One(T),
    /// Out of line: only a listener has one.
    Each(Box<Each<T>>),
}

impl<T> Context<T> {
    /// Of an operation that has just one.
    pub(crate) fn into_one(self) -> T {
        match self {
            Context::One(context) => context,
            Context::Each(mut each) => each.next.take().unwrap_or_else(&mut each.maker),
        }
    }

    /// Makes the next one of a continuing operation, if it is not there. The user's code: no lock is held.
    pub(crate) fn prepare(&mut self) -> Result<(), Box<dyn Any + Send>> {
        match self {
            Context::One(_) => Ok(()),
            Context::Each(each) => each.prepare(),
        }
    }
}

/// A continuing operation makes a context for each packet, where no lock is held: `maker` is the user's code.
pub(crate) struct Each<T> {
    pub maker: Box<dyn FnMut() -> T + Send>,
    pub next: Option<T>,
}

impl<T> Each<T> {
    /// With the first of them made. Its panic is the caller's.
    pub(crate) fn begin(maker: impl FnMut() -> T + Send + 'static) -> Self {
        let mut each = Self { maker: Box::new(maker), next: None };
        if let Err(panic) = each.prepare() {
            std::panic::resume_unwind(panic);
        }
        each
    }

    /// [`Context::prepare`].
    pub(crate) fn prepare(&mut self) -> Result<(), Box<dyn Any + Send>> {
        if self.next.is_none() {
            let maker = std::panic::AssertUnwindSafe(&mut self.maker);
            self.next = Some(std::panic::catch_unwind(maker)?);
        }
        Ok(())
    }
}

/// A whole operation: what the driver knows, and what the port and its user put in.
#[repr(C)]
pub(crate) struct Operation<K: 'static, T: 'static> {
    pub header: Header,
    /// Keeps the socket open while the operation is pending.
    pub handle: Handle<K, T>,
    pub context: Context<T>,
}

impl<K, T> Operation<K, T> {
    pub(crate) fn new(kind: OpKind, handle: Handle<K, T>, context: Context<T>) -> Self {
        let header = Header {
            kind,
            flags: AtomicU16::new(0),
            driver: AtomicU8::new(0),
            started: 0,
            sequence: 0,
            target: Cell::new(sys::Target::none()),
            link: UnsafeCell::new(NonNull::dangling()),
            back: UnsafeCell::new(NonNull::dangling()),
            work: UnsafeCell::new(Work {
                buffer: Buffer::new(),
                done: 0,
                detail: Detail::None,
                step: 0,
            }),
            slot: UnsafeCell::default(),
        };
        Self { header, handle, context }
    }

    pub(crate) fn with_buffer(mut self, buffer: Buffer) -> Self {
        self.header.work.get_mut().buffer = buffer;
        self
    }

    pub(crate) fn with_gather(mut self, buffers: Vec<Buffer>) -> Self {
        self.header.work.get_mut().detail = Detail::Gather(Box::new(sys::Gather::new(buffers)));
        self
    }

    pub(crate) fn with_message(mut self, message: sys::Message) -> Self {
        self.header.work.get_mut().detail = Detail::Message(Box::new(message));
        self
    }

    pub(crate) fn with_address(mut self, address: SocketAddr) -> Self {
        self.header.work.get_mut().detail = Detail::Connect(Box::new(address.into()));
        self
    }

    pub(crate) fn with_detail(mut self, detail: Detail) -> Self {
        self.header.work.get_mut().detail = detail;
        self
    }

    /// With room for the address of who is accepted.
    pub(crate) fn with_peer(mut self) -> Self {
        self.header.work.get_mut().detail = Detail::Peer(Box::new(sys::Peer::new()));
        self
    }

    pub(crate) fn with_file(mut self, file: sys::TransmitFile) -> Self {
        self.header.work.get_mut().detail = Detail::TransmitFile(Box::new(file));
        self
    }

    pub(crate) fn reusing(self) -> Self {
        self.header.raise(REUSES);
        self
    }
}
