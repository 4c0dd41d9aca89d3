//! The io_uring driver: operations go to the kernel as submissions and come back as completions.
//!
//! The ring is neither `SINGLE_ISSUER` nor `DEFER_TASKRUN`: any thread may submit (pushing behind a lock), and whoever holds
//! the driver reaps, also what a thread submitted that is busy elsewhere or asleep.
//!
//! - [`ring`]: the ring itself, set up for the kernel's rung of the ladder; pushing, sleeping, reaping.
//! - [`buffer_ring`]: buffers of the pool that lie with the kernel, one of which it takes when data arrives.
//! - [`owner`]: who waits here, and so may ask for many completions at once.
//! - [`at_once`]: receives that are tried without the ring. [`here`]: those that only wait with the kernel.
//! - [`request`]: what each operation is as a submission. [`judge`]: what its completion means. [`transmit`]: both, of a file that goes out
//!   whole.
//!
//! A completion is found by its `user_data`: the operation's address, or [`ring::IGNORED`] for our own requests.
//!
//! References: `io_uring_enter(2)`, `io_uring_setup(2)`, `io_uring_register(2)`.

mod at_once;
mod buffer_ring;
mod here;
mod judge;
mod membarrier;
mod owner;
mod request;
mod ring;
mod transmit;

use std::{
    io::{
        self,
        ErrorKind::{Interrupted, WouldBlock},
    },
    ptr::NonNull,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

use io_uring::opcode;
use socket2::SockRef;

use self::{
    buffer_ring::BufferRing,
    owner::Owner,
    ring::{Completed, IGNORED, Ring},
};
use super::{
    Driver, Event, Medium, Output, Socket, backlog::Backlog, beside::Beside, choose::Rung,
    unix::send::send_now,
};
use crate::{
    buffer::Pool,
    error,
    operation::{Header, OpKind, Side},
};

/// So many operations of files are handed over together, when a worker starts as many before it comes to wait. One that is alone does
/// not wait for company.
const GATHERED: u32 = 64;

pub(crate) struct IoUring {
    ring: Ring,
    rung: Rung,
    pool: Arc<Pool>,
    buffers: Option<BufferRing>,
    owner: Owner,
    /// One request may bring many datagrams (Linux 6.0); until the kernel says otherwise.
    many: AtomicBool,
    inbox: Mutex<Inbox>,
    /// So much has been complete at once that receives of streams are done [`here`],
    crowded: AtomicBool,
    /// ... or they have brought so much each that those into buffers of the kernel's choice are.
    large: AtomicBool,
}

/// What who waits has at hand.
#[derive(Default)]
struct Inbox {
    /// Taken out of the ring; kept for its memory.
    reaped: Vec<Completed>,
    /// To be received here.
    ready: Backlog,
}

/// The driver's own steps within one operation ([`Work::step`]).
mod step {
    /// The operation's one request is with the kernel.
    pub(super) const ONLY: u8 = 0;
    /// A receive waits until there is something to read, which is then read [`here`](super::here),
    pub(super) const POLLING: u8 = 1;
    /// ... or, if it is no plain one of a stream, by the kernel, into a buffer of the pool.
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
    /// A receive is the kernel's, whatever came before.
    pub(super) const KERNEL: u8 = 8;
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
            owner: Owner::default(),
            many: AtomicBool::new(true),
            inbox: Mutex::default(),
            crowded: AtomicBool::new(false),
            large: AtomicBool::new(false),
        })
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        crate::pause::here();
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the kernel buffers ahead of need. False if none lies with it.
    fn refill(&self) -> bool {
        self.buffers.as_ref().is_some_and(|buffers| buffers.refill(&self.pool))
    }

    /// Buffers that the kernel took, by what was judged, are counted as taken. For who reaps.
    fn note_taken(&self) {
        if let Some(buffers) = &self.buffers {
            buffers.note_taken(&self.pool);
        }
    }

    /// Whether buffers lie with the kernel, after what was judged. For who reaps.
    fn has_buffers(&self) -> bool {
        self.note_taken();
        self.refill()
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

    fn wait(
        &self,
        timeout: Option<Duration>,
        most: usize,
        events: &mut Vec<Event>,
    ) -> io::Result<Option<Instant>> {
        self.owner.take_over();
        let mut inbox = self.inbox();
        let Inbox { reaped, ready } = &mut *inbox;
        self.ring.wait(timeout, !ready.is_empty(), reaped)?;
        self.look_at_crowd(reaped.len() + ready.len(), most);
        let before = events.len();
        let (mut answered, mut goes_on) = (0, false);
        let mut act = |event: Option<Event>| match event {
            Some(event) => events.push(event),
            None => goes_on = true,
        };
        for done in reaped.drain(..) {
            if let Some(op) = Self::to_receive(&done) {
                ready.push(op);
                continue;
            }
            answered += usize::from(done.is_last());
            act(self.judge(done));
        }
        self.note_taken();
        let since = ready.work_off(
            most,
            || self.now(),
            |op| {
                answered += 1;
                // SAFETY: found so above, or in an earlier call.
                act(unsafe { self.receive(op) });
            },
        );
        self.look_at_sizes(&events[before..]);
        self.ring.answered(answered);
        if goes_on {
            self.ring.submit();
        }
        Ok(since)
    }

    fn has_left(&self) -> bool {
        !self.inbox().ready.is_empty()
    }

    fn is_behind(&self) -> bool {
        self.has_left() || self.ring.has_completed()
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

    fn beside(&self) -> Option<Beside<'_>> {
        Some(Beside::descriptor(self.ring.descriptor()))
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
