//! What a thread needs for its routines: a port of its own, and the closures that cannot leave the thread.

use std::{
    cell::{OnceCell, RefCell, RefMut},
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use slab::Slab;

use super::{
    apc::Apc,
    outcome::Outcome,
    socket::{Inner, OverlappedSocket},
    start::{Done, Routine},
    timer::{self, Timers},
};
use crate::{
    error,
    handle::Handle,
    operation::Completion,
    port::{
        CompletionPort, GetError,
        get::{Wait, take_all},
    },
    schedule::{Park, Set, Sleeper, Waker},
    sys::{
        Drivers, Event, SystemPort, Taken, Waited,
        beside::Beside,
        choose::{DriverChoice, DriverKind},
    },
};

/// The key of a thread's handle on a socket: the socket, as long as somebody has it.
pub(super) type Key = Weak<Inner>;

/// The context of what is queued for a thread.
pub(super) enum Task {
    /// Call the routine in this slot: its operation is over. The socket stays as long as anything is pending on it.
    Routine { slot: usize, socket: Arc<Inner> },
    /// Whoever has the other end of this outcome is to find it.
    Overlapped { slot: usize, socket: Arc<Inner> },
    /// Call this: another thread wants it.
    User(Apc),
    /// Call this timer's routine.
    Timer(u64),
    /// Look up: there is something beside the queue.
    Nudge,
}

type Packet = Completion<Key, Task>;

/// How often a wait looks for more after it has run what there was.
const ROUNDS: usize = 16;

/// A place that no thread has taken yet.
pub(super) struct Seed {
    pub port: CompletionPort<Key, Task>,
    /// What others post from.
    pub own: Handle<Key, Task>,
}

impl Seed {
    pub(super) fn new(driver: Option<DriverKind>) -> io::Result<Self> {
        let builder = CompletionPort::builder().limit(1).for_routines();
        let port = match driver {
            Some(kind) => builder.driver(kind),
            None => builder,
        }
        .build()?;
        let own = port.key(Weak::new());
        Ok(Self { port, own })
    }
}

thread_local! {
    static HERE: OnceCell<Rc<Place>> = const { OnceCell::new() };
}

pub(crate) struct Place {
    seed: Seed,
    /// Routines of operations in flight. A slot is empty between the reservation and the start.
    routines: RefCell<Slab<Option<Routine>>>,
    /// Of operations in flight that have an event and no routine.
    outcomes: RefCell<Slab<Rc<Outcome>>>,
    timers: RefCell<Timers>,
    /// Taken from the port, and to be run in this order.
    pending: RefCell<VecDeque<Packet>>,
    /// The sockets whose routines are running: more than one where waits are nested. Weak, so that a routine can close its own, and
    /// no other socket comes to lie where it lay.
    running: RefCell<Vec<Weak<Inner>>>,
}

/// Why a thread does not sleep any more.
pub(crate) enum Gathered {
    /// There is something to run.
    Runnable,
    /// Perhaps there is something beside, or an operation with an event is over.
    Beside,
    TimedOut,
}

impl Place {
    /// The calling thread's, made if need be.
    pub(super) fn here() -> io::Result<Rc<Self>> {
        match Self::existing()? {
            Some(place) => Ok(place),
            None => Self::settle(Seed::new(None)?),
        }
    }

    /// The calling thread's, if it has one.
    pub(crate) fn existing() -> io::Result<Option<Rc<Self>>> {
        HERE.try_with(|here| here.get().cloned()).map_err(|_| error::thread_ending())
    }

    /// Makes it the calling thread's.
    pub(super) fn settle(seed: Seed) -> io::Result<Rc<Self>> {
        let place = Rc::new(Self {
            seed,
            routines: RefCell::default(),
            outcomes: RefCell::default(),
            timers: RefCell::default(),
            pending: RefCell::default(),
            running: RefCell::default(),
        });
        let set = HERE.try_with(|here| here.set(place.clone()));
        match set {
            Ok(Ok(())) => Ok(place),
            Ok(Err(_)) => Err(error::has_driver()),
            Err(_) => Err(error::thread_ending()),
        }
    }

    /// The handle that is posted from.
    pub(super) fn own(&self) -> &Handle<Key, Task> {
        &self.seed.own
    }

    pub(super) fn port(&self) -> &CompletionPort<Key, Task> {
        &self.seed.port
    }

    pub(super) fn timers(&self) -> RefMut<'_, Timers> {
        self.timers.borrow_mut()
    }

    /// A slot for a routine whose operation is about to start.
    pub(super) fn reserve(&self) -> usize {
        self.routines.borrow_mut().insert(None)
    }

    pub(super) fn fill(&self, slot: usize, routine: Routine) {
        if let Some(place) = self.routines.borrow_mut().get_mut(slot) {
            *place = Some(routine);
        }
    }

    pub(super) fn give_back(&self, slot: usize) -> Option<Routine> {
        self.routines.borrow_mut().try_remove(slot).flatten()
    }

    /// A slot for what becomes of an operation with an event that is about to start.
    pub(super) fn expect(&self, outcome: Rc<Outcome>) -> usize {
        self.outcomes.borrow_mut().insert(outcome)
    }

    /// Nothing will become of it: it was not started, or it is over.
    pub(super) fn expect_no_more(&self, slot: usize) -> Option<Rc<Outcome>> {
        self.outcomes.borrow_mut().try_remove(slot)
    }

    /// Sleeps as [`gather`](Place::gather) does, or, if nothing may run in this wait, whether there is something to run or not.
    pub(crate) fn rest(&self, deadline: Option<Instant>, alertable: bool) -> io::Result<Gathered> {
        if alertable {
            return self.gather(deadline, &[]);
        }
        match self.take_in(deadline, &[]).0 {
            Ok(()) | Err(GetError::Alerted) => Ok(Gathered::Beside),
            Err(GetError::TimedOut) => Ok(Gathered::TimedOut),
            Err(e) => Err(e.into()),
        }
    }

    /// Sleeps until there is something to run, something beside, or the time is up. Nothing is run. The driver is looked at in any case:
    /// what is over belongs to this wait, and routines that keep each other busy must not keep others from it.
    pub(super) fn gather(
        &self,
        deadline: Option<Instant>,
        beside: &[Beside<'_>],
    ) -> io::Result<Gathered> {
        let shared = &self.seed.port.shared;
        loop {
            let runnable = self.has_runnable();
            let until = if runnable { shared.deadline(Some(Duration::ZERO)) } else { deadline };
            let (taken, nudged) = self.take_in(until, beside);
            if runnable || self.has_runnable() {
                return Ok(Gathered::Runnable);
            }
            match taken {
                Ok(()) if nudged => return Ok(Gathered::Beside),
                Ok(()) => {}
                Err(GetError::Alerted) => return Ok(Gathered::Beside),
                Err(GetError::TimedOut) => return Ok(Gathered::TimedOut),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Before something is started that may be over when the call returns: what was over before is queued before.
    pub(super) fn keep_order(&self) -> io::Result<()> {
        // Again: what takes two steps may be over after the second.
        while self.seed.port.shared.drivers.is_behind() {
            self.look()?;
        }
        Ok(())
    }

    /// Queues what is over by now, so that what is queued next comes behind it.
    pub(crate) fn look(&self) -> io::Result<()> {
        let now = self.seed.port.shared.deadline(Some(Duration::ZERO));
        match self.take_in(now, &[]).0 {
            Ok(()) | Err(GetError::TimedOut) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Queues what comes until there is something or the time is up. Tells also whether somebody has nudged the thread.
    fn take_in(
        &self,
        until: Option<Instant>,
        beside: &[Beside<'_>],
    ) -> (Result<(), GetError>, bool) {
        let mut packets = Vec::new();
        let shared = &self.seed.port.shared;
        let taken = take_all(shared, &mut packets, until, &mut InPlace(beside));
        (taken, self.queue(packets))
    }

    /// Whether this is the place of that handle.
    pub(super) fn owns(&self, own: &Handle<Key, Task>) -> bool {
        self.seed.own == *own
    }

    /// True if there was something that is not to be run: somebody has nudged the thread, or an operation with an event is over.
    fn queue(&self, packets: Vec<Packet>) -> bool {
        let mut beside = false;
        for packet in packets {
            match packet.context {
                Task::Routine { .. } | Task::User(_) => self.pending.borrow_mut().push_back(packet),
                // The last packet of a cancelled timer, or one that was on its way then, is nobody's.
                Task::Timer(timer) => {
                    if self.timers.borrow().has(timer) {
                        self.pending.borrow_mut().push_back(packet);
                    }
                }
                Task::Overlapped { .. } | Task::Nudge => {
                    beside = true;
                    self.finish(packet);
                }
            }
        }
        beside
    }

    /// Of an operation with an event: nothing is to be run for it, so it may end in any wait. Nothing is borrowed.
    fn finish(&self, mut packet: Packet) {
        let (buffers, peer) = (packet.buffers(), packet.peer());
        let Completion { result, buffer, context, .. } = packet;
        if let Task::Overlapped { slot, socket } = context
            && let Some(outcome) = self.expect_no_more(slot)
        {
            outcome.complete(Done::new(socket.into(), result, buffer, buffers, peer));
        }
    }

    /// Queues what was over when a start returned, so that an operation with an event is over then.
    pub(super) fn bring_in(&self) {
        let mut more = Vec::new();
        self.seed.port.shared.scheduler.take_queued(&mut more);
        self.queue(more);
    }

    /// Runs all that is queued, first in, first out (S170). True if anything ran.
    pub(crate) fn run(&self) -> bool {
        let mut ran = false;
        for _ in 0..ROUNDS {
            // What a routine brings in (see `keep_order`) is for the next round.
            let mut left = self.pending.borrow().len();
            while left > 0
                && let Some(packet) = self.next()
            {
                left -= 1;
                ran = true;
                self.call(packet);
            }
            self.bring_in();
            if !self.has_runnable() {
                break;
            }
        }
        ran
    }

    fn has_runnable(&self) -> bool {
        self.pending.borrow().iter().any(|packet| self.may_run(packet))
    }

    /// Routines of one socket do not nest (S173).
    fn may_run(&self, packet: &Packet) -> bool {
        match &packet.context {
            Task::Routine { socket, .. } => {
                let socket = Arc::as_ptr(socket);
                !self.running.borrow().iter().any(|running| running.as_ptr() == socket)
            }
            // Nor do those of one timer.
            Task::Timer(timer) => self.timers.borrow().may_run(*timer),
            Task::Overlapped { .. } | Task::User(_) | Task::Nudge => true,
        }
    }

    fn next(&self) -> Option<Packet> {
        let mut pending = self.pending.borrow_mut();
        let at = pending.iter().position(|packet| self.may_run(packet))?;
        pending.remove(at)
    }

    /// The user's code: nothing is borrowed.
    fn call(&self, mut packet: Packet) {
        let peer = packet.peer();
        let addresses = packet.addresses();
        let accepted = packet.accepted();
        let buffers = packet.buffers();
        let Completion { result, buffer, context, .. } = packet;
        match context {
            Task::Routine { slot, socket } => {
                let Some(routine) = self.give_back(slot) else { return };
                let _running = Running::new(self, Arc::downgrade(&socket));
                let socket = OverlappedSocket::from(socket);
                let accepted = accepted.map(|stream| socket.inherit(stream));
                let done = Done::new(socket, result, buffer, buffers, peer);
                routine(Done { accepted, addresses, ..done });
            }
            Task::User(apc) => apc(),
            Task::Timer(timer) => timer::call(self, timer, result.unwrap_or(1)),
            // Never queued (`queue`).
            Task::Overlapped { .. } | Task::Nudge => {}
        }
    }

    /// What wakes the thread out of [`gather`](Place::gather), from any thread.
    pub(crate) fn waker(&self) -> Waker {
        let own = self.seed.own.clone();
        // Refused when the thread has ended: nobody is left to be woken.
        Waker::Elsewhere(Arc::new(move || _ = own.post(0, Task::Nudge)))
    }
}

/// Marks a socket whose routine runs, also if it panics.
struct Running<'a>(&'a Place);

impl<'a> Running<'a> {
    fn new(place: &'a Place, socket: Weak<Inner>) -> Self {
        place.running.borrow_mut().push(socket);
        Self(place)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.borrow_mut().pop();
    }
}

impl Drop for Place {
    /// The thread ends: what it started is cancelled, and no routine runs (S105, S109).
    fn drop(&mut self) {
        let quietly = |drop: &mut dyn FnMut()| {
            if catch_unwind(AssertUnwindSafe(drop)).is_err() {
                tracing::error!(
                    "a completion routine's closure panicked when it was dropped, at the end of its thread"
                );
            }
        };
        // Other threads' handles on a socket outlive this one, which is of no use any more.
        for handle in self.seed.port.shared.handles() {
            if let Some(socket) = handle.key.upgrade() {
                quietly(&mut || socket.forget(self.seed.port.shared.scheduler.number()));
            }
        }
        let mut left = self.seed.port.close();
        left.extend(self.pending.get_mut().drain(..));
        for packet in left {
            let mut packet = Some(packet);
            // An operation with an event is told to its owner, who may outlive this; all else is dropped.
            quietly(&mut || _ = packet.take().map(|packet| self.finish(packet)));
        }
        for routine in self.timers.get_mut().take() {
            let mut routine = Some(routine);
            quietly(&mut || drop(routine.take()));
        }
        for routine in self.routines.get_mut().drain() {
            let mut routine = Some(routine);
            quietly(&mut || drop(routine.take()));
        }
    }
}

/// How a thread waits at its own port: asleep in its driver, and beside. Nobody else takes from that port, so there is no turn to wait
/// for.
struct InPlace<'a>(&'a [Beside<'a>]);

impl Wait for InPlace<'_> {
    fn sleep(
        &mut self,
        drivers: &Drivers,
        those: Set,
        timeout: Option<Duration>,
        most: usize,
        events: &mut Vec<Event>,
    ) -> io::Result<Waited> {
        drivers.wait(those, self.0, timeout, most, events)
    }
}

/// How a thread waits alertably at another port: asleep in its own place, and beside, while it sits in drivers there, in those.
pub(super) struct Alertably<'a> {
    pub place: &'a Place,
    /// What went wrong in the place.
    pub failure: Option<io::Error>,
}

impl Sleeper for Alertably<'_> {
    fn waker(&self) -> Waker {
        self.place.waker()
    }

    fn park(&mut self, deadline: Option<Instant>) -> Park {
        match self.place.gather(deadline, &[]) {
            Ok(Gathered::Beside) => Park::Woken,
            Ok(Gathered::TimedOut) => Park::TimedOut,
            Ok(Gathered::Runnable) => Park::Beside,
            Err(e) => {
                self.failure = Some(e);
                Park::Beside
            }
        }
    }
}

impl Wait for Alertably<'_> {
    fn sleep(
        &mut self,
        drivers: &Drivers,
        those: Set,
        timeout: Option<Duration>,
        most: usize,
        events: &mut Vec<Event>,
    ) -> io::Result<Waited> {
        let deadline = self.place.port().shared.deadline(drivers.patience(those, timeout));
        let gathered = self.place.gather(deadline, &drivers.beside(those)?)?;
        let waited = drivers.wait(those, &[], Some(Duration::ZERO), most, events)?;
        Ok(Waited { beside: matches!(gathered, Gathered::Runnable), ..waited })
    }

    fn take(
        &mut self,
        port: &dyn SystemPort,
        drivers: &Drivers,
        max: usize,
        timeout: Option<Duration>,
        taken: &mut Vec<Taken>,
    ) -> io::Result<bool> {
        let deadline = self.place.port().shared.deadline(timeout);
        let gathered = self.place.gather(deadline, &drivers.beside(Set::one(0))?)?;
        port.take(max, Some(Duration::ZERO), taken)?;
        Ok(matches!(gathered, Gathered::Runnable))
    }
}

/// Makes the calling thread's driver now, of this kind, instead of the best one at first use.
///
/// # Errors
///
/// The thread has one already (`AlreadyExists`), or this driver cannot be had here.
///
/// ```
/// use completion_port::{probe, routine};
///
/// let kind = probe().iter().find(|one| one.available().is_ok()).expect("there is one").kind();
/// routine::use_driver(kind)?;
/// assert_eq!(routine::driver()?.kind(), kind);
/// assert!(routine::use_driver(kind).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn use_driver(kind: DriverKind) -> io::Result<()> {
    match Place::existing()? {
        Some(_) => Err(error::has_driver()),
        None => Place::settle(Seed::new(Some(kind))?).map(drop),
    }
}

/// The driver that serves the calling thread's routines, and why that one. It is made if the thread has none.
///
/// # Errors
///
/// No driver can be had, or the thread is ending.
pub fn driver() -> io::Result<DriverChoice> {
    Place::here().map(|place| place.port().driver().clone())
}
