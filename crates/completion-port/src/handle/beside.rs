//! An accept that waits for first data does so beside its direction, which goes on with the next: a silent client holds up nobody else.
//!
//! Few handles have such operations, so the port keeps the lists, by the handles' indices. An operation is in one from the moment when it
//! has its connection to its end, and both happen behind the lock of its direction: who holds that finds only what exists.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    ptr::NonNull,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Direction, Handle, Inner};
use crate::{
    operation::{Detail, FirstData, Header, OpId, Side},
    sys::{self, Accepted, Medium},
};

/// The lists of a port.
#[derive(Default)]
pub(crate) struct Besides(Mutex<BTreeMap<u32, Vec<Beside>>>);

/// One that has its connection.
struct Beside {
    op: NonNull<Header>,
    id: OpId,
    peer: Option<SocketAddr>,
    /// On the port's clock.
    since: u32,
}

// SAFETY: it names an operation that is owned as told in `crate::operation`, and reached through its direction's lock.
unsafe impl Send for Beside {}

impl Besides {
    fn lists(&self) -> MutexGuard<'_, BTreeMap<u32, Vec<Beside>>> {
        // No code of a user runs behind this lock.
        crate::pause::here();
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that was accepted by [`Handle::accept_with`] and has sent nothing yet. From [`Handle::half_accepted`].
///
/// ```
/// use completion_port::{Buffer, CompletionPort, HalfAccepted};
/// use std::{net::{TcpListener, TcpStream}, time::Duration};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let silent = TcpStream::connect(listener.local_addr()?)?;
/// let port = CompletionPort::<(), ()>::new()?;
/// let listener = port.associate(listener, ())?;
/// let op = listener.accept_with(Buffer::with_capacity(64), ())?;
/// let half: HalfAccepted = loop {
///     assert!(port.get_timeout(Duration::from_millis(1)).is_err(), "it says nothing");
///     if let Some(half) = listener.half_accepted().pop() {
///         break half;
///     }
/// };
/// assert_eq!((half.id, half.peer), (op, silent.local_addr().ok()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HalfAccepted {
    /// The accept, to be cancelled if this has lasted too long; that closes the connection.
    pub id: OpId,
    /// Who it is, where the system has told.
    pub peer: Option<SocketAddr>,
    /// For how long it has been connected.
    pub connected: Duration,
}

impl<K, T> Handle<K, T> {
    /// The connections that [`Handle::accept_with`] has accepted and that have sent nothing yet, oldest first: what `SO_CONNECT_TIME`
    /// is asked for (S144). Each keeps its operation and its buffer, so a listener that waits for first data looks here now and then, and
    /// cancels those that take too long.
    #[doc(alias = "SO_CONNECT_TIME")]
    pub fn half_accepted(&self) -> Vec<HalfAccepted> {
        let port = &self.0.port;
        let now = port.age();
        let lists = port.beside.lists();
        let those = lists.get(&self.0.index).into_iter().flatten().map(|one| HalfAccepted {
            id: one.id,
            peer: one.peer,
            connected: Duration::from_millis(now.wrapping_sub(one.since).into()),
        });
        those.collect()
    }
}

/// The operations that go on beside a direction, whose lock is held.
pub(super) fn those<K, T>(inner: &Inner<K, T>, direction: &Direction) -> Vec<NonNull<Header>> {
    if !inner.role.is_listener() || direction.side() != Side::In {
        return Vec::new();
    }
    let lists = inner.port.beside.lists();
    lists.get(&inner.index).into_iter().flatten().map(|one| one.op).collect()
}

/// An accept has its connection: it leaves its direction, and is to be started again, to wait for the first data.
///
/// # Safety
///
/// The caller owns the operation, and holds the direction's lock.
pub(super) unsafe fn step_aside<K, T>(
    inner: &Inner<K, T>,
    direction: &mut Direction,
    op: NonNull<Header>,
    accepted: Accepted,
) -> io::Result<()> {
    let token = inner.port.drivers.attach(&accepted.socket, Medium::Guest)?;
    // SAFETY: owned by the caller.
    let header = unsafe { op.as_ref() };
    header.target.set(accepted.socket.target(token));
    let one = Beside {
        op,
        id: OpId { side: direction.side(), sequence: header.sequence },
        peer: accepted.peer.as_deref().copied(),
        since: inner.port.age(),
    };
    // SAFETY: owned by the caller.
    unsafe { header.work() }.detail = Detail::FirstData(Box::new(FirstData { accepted, token }));
    inner.port.beside.lists().entry(inner.index).or_default().push(one);
    direction.release(op);
    Ok(())
}

/// It is over: the connection that it had, if any.
///
/// # Safety
///
/// The caller owns the operation, an accept that waits for first data, and holds its direction's lock.
pub(super) unsafe fn come_back<K, T>(inner: &Inner<K, T>, op: NonNull<Header>) -> Option<Accepted> {
    // SAFETY: owned by the caller.
    let detail = std::mem::replace(unsafe { &mut op.as_ref().work().detail }, Detail::None);
    let Detail::FirstData(first) = detail else { return None };
    let FirstData { accepted, token } = *first;
    let mut lists = inner.port.beside.lists();
    if let Some(list) = lists.get_mut(&inner.index) {
        list.retain(|one| one.op != op);
        if list.is_empty() {
            lists.remove(&inner.index);
        }
    }
    drop(lists);
    inner.port.drivers.detach(&accepted.socket, token);
    if let Some(socket) = accepted.socket.os() {
        // As every accepted socket is, whatever this driver needed it to be.
        let _ = sys::sock_ref(socket).set_nonblocking(false);
    }
    Some(accepted)
}
