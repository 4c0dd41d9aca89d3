//! Where the system has a port of its own that decides who runs: what is left for the library to do.
//!
//! Packets of posts and timers are kept here, and their numbers go through the system's port with those of I/O, in one order. Who waits is
//! asleep in it, who comes out is counted by it, and it hears by itself of those who block. What the library has to do now and then (fire
//! timers, start again what waited for a buffer) is done by the thread that a **nudge** comes to: a packet of the port's that carries
//! nothing.
//!
//! A close is told to waiters by a nudge as well: each that leaves nudges the next.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock, Weak},
    time::{Duration, Instant},
};

use slab::Slab;

use super::{
    Workplace,
    sync::{self, Arc as DeskArc, AtomicUsize, Mutex, Ordering, Thread, thread},
    worker::{self, Desk},
};
use crate::sys::SystemPort;

/// In the gate: the port is closed. The rest of it counts those who are inside.
const CLOSED: usize = 1 << (usize::BITS - 1);

pub(crate) struct SystemQueue<P> {
    number: u64,
    workplace: OnceLock<Weak<dyn Workplace>>,
    port: Arc<dyn SystemPort>,
    /// Those who wait or put something in, so that the closer knows when no more can come.
    gate: AtomicUsize,
    /// Who waits for them to leave.
    closer: Mutex<Option<Thread>>,
    /// What came after the close.
    late: Mutex<Late<P>>,
    /// Held by who tells the system when the next timer is due.
    alarm: Mutex<()>,
    /// Threads that belong to this port, and those of them that wait in it.
    members: AtomicUsize,
    waiting: AtomicUsize,
    /// Posted, and not taken: the system's port has their numbers.
    posted: Mutex<Posted<P>>,
}

struct Posted<P> {
    packets: Slab<(u64, P)>,
    /// How many there have been: what each has tells which came first.
    count: u64,
}

struct Late<P> {
    packets: VecDeque<P>,
    /// The closer has gone.
    abandoned: bool,
}

/// Somebody is inside until this is dropped.
struct Inside<'a, P>(&'a SystemQueue<P>);

/// A thread waits for packets, inside, until this is dropped.
pub(crate) struct Waiter<'a, P>(Inside<'a, P>);

impl<P> SystemQueue<P> {
    pub(crate) fn new(port: Arc<dyn SystemPort>) -> Self {
        Self {
            number: worker::number(),
            workplace: OnceLock::new(),
            port,
            gate: AtomicUsize::new(0),
            closer: Mutex::new(None),
            late: Mutex::new(Late { packets: VecDeque::new(), abandoned: false }),
            alarm: Mutex::new(()),
            members: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            posted: Mutex::new(Posted { packets: Slab::new(), count: 0 }),
        }
    }

    pub(crate) fn port(&self) -> &dyn SystemPort {
        &*self.port
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn set_workplace(&self, workplace: Weak<dyn Workplace>) {
        let _once = self.workplace.set(workplace);
    }

    pub(crate) fn is_joined(&self) -> bool {
        worker::at(self.number).is_some()
    }

    /// The calling thread belongs to this port (S46): the system knows by itself, and this is for who asks how many there are.
    pub(crate) fn join(&self) {
        if let Some(workplace) = self.workplace.get()
            && !self.is_joined()
        {
            worker::join(self.number, workplace.clone(), || {
                self.members.fetch_add(1, Ordering::Relaxed);
                (0, DeskArc::new(Desk::new()))
            });
        }
    }

    pub(crate) fn dismiss(&self) {
        self.members.fetch_sub(1, Ordering::Relaxed);
    }

    /// `None` once the port is closed.
    fn enter(&self) -> Option<Inside<'_, P>> {
        let inside = Inside(self);
        // Dropped, and so out again, if it is.
        (self.gate.fetch_add(1, Ordering::SeqCst) & CLOSED == 0).then_some(inside)
    }

    /// For a thread that is going to take packets. `None` once the port is closed.
    pub(crate) fn wait(&self) -> Option<Waiter<'_, P>> {
        let inside = self.enter()?;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Some(Waiter(inside))
    }

    /// Brings a packet in. After the close it is the closer's, or [`leftovers`](Self::leftovers).
    pub(crate) fn push(&self, packet: P) {
        if let Err(packet) = self.post(packet) {
            sync::lock(&self.late).packets.push_back(packet);
        }
    }

    /// Brings a packet in unless the port is closed.
    pub(crate) fn post(&self, packet: P) -> Result<(), P> {
        let Some(_inside) = self.enter() else { return Err(packet) };
        let number = {
            let mut posted = sync::lock(&self.posted);
            posted.count += 1;
            let count = posted.count;
            posted.packets.insert((count, packet))
        };
        self.port.post(number);
        // The closer waits for who is inside, but not for ever.
        if self.is_closed() && sync::lock(&self.late).abandoned {
            return self.unpack(number).map_or(Ok(()), Err);
        }
        Ok(())
    }

    /// The packet whose number has come out of the port.
    pub(crate) fn unpack(&self, number: usize) -> Option<P> {
        sync::lock(&self.posted).packets.try_remove(number).map(|(_, packet)| packet)
    }

    /// Somebody is to look around.
    pub(crate) fn rouse(&self) {
        self.port.nudge();
    }

    /// The next nudge is due in so long, as it is known behind this queue's lock: the last who asks tells the system last.
    pub(crate) fn set_alarm(&self, due: impl FnOnce() -> Option<Duration>) {
        let _one_at_a_time = sync::lock(&self.alarm);
        self.port.nudge_after(due());
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.gate.load(Ordering::SeqCst) & CLOSED != 0
    }

    /// Every waiting and every later caller is told. False for a second close.
    pub(crate) fn close(&self) -> bool {
        let first = self.gate.fetch_or(CLOSED, Ordering::SeqCst) & CLOSED == 0;
        if first {
            self.port.nudge();
        }
        first
    }

    /// After [`close`](Self::close): waits until nobody is inside any more, or until `deadline`. False if somebody is.
    pub(crate) fn wait_for_waiters(&self, deadline: Option<Instant>) -> bool {
        // Asked once: who comes too late is inside for a moment, too.
        let is_empty = || self.gate.load(Ordering::SeqCst) == CLOSED;
        let mut empty = is_empty();
        while !empty {
            *sync::lock(&self.closer) = Some(thread::current());
            // Whoever left before could not tell.
            empty = is_empty();
            if !empty && !sync::park_until(deadline) {
                empty = is_empty();
                break;
            }
        }
        *sync::lock(&self.closer) = None;
        empty
    }

    /// For the closer, when it has settled what has happened: all packets that nobody has taken. It does not come again.
    pub(crate) fn drain(&self) -> VecDeque<P> {
        let mut late = sync::lock(&self.late);
        late.abandoned = true;
        let late = std::mem::take(&mut late.packets);
        // Not by way of the system, which holds them back while as many run as may; what it has of them is numbers.
        let mut posted: Vec<_> = sync::lock(&self.posted).packets.drain().collect();
        posted.sort_unstable_by_key(|(count, _)| *count);
        if self.gate.load(Ordering::SeqCst) != CLOSED {
            // The closer may have taken the nudge that those who wait were to hear of it by.
            self.port.nudge();
        }
        posted.into_iter().map(|(_, packet)| packet).chain(late).collect()
    }

    /// Packets that came when the closer had gone: whoever brought them drops them.
    pub(crate) fn leftovers(&self) -> VecDeque<P> {
        let mut late = sync::lock(&self.late);
        if late.abandoned { std::mem::take(&mut late.packets) } else { VecDeque::new() }
    }

    /// Packets that were posted and wait for a thread, threads that wait, and those that have been here and do not.
    pub(crate) fn waiting(&self) -> (usize, usize, usize) {
        let [waiting, members] =
            [&self.waiting, &self.members].map(|count| count.load(Ordering::Relaxed));
        (sync::lock(&self.posted).packets.len(), waiting, members.saturating_sub(waiting))
    }
}

impl<P> Drop for Inside<'_, P> {
    fn drop(&mut self) {
        let left = self.0.gate.fetch_sub(1, Ordering::SeqCst) - 1;
        if left & CLOSED == 0 {
            return;
        }
        if left != CLOSED {
            // The next one is to hear of it.
            self.0.port.nudge();
        } else if let Some(closer) = &*sync::lock(&self.0.closer) {
            closer.unpark();
        }
    }
}

impl<P> Drop for Waiter<'_, P> {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
