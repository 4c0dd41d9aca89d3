//! Where packets go past the scheduler's lock, while they need nobody to be woken: who posts and who takes would be in each other's way
//! for each of them.
//!
//! It is open only while a packet more changes nothing for those who wait: because nobody does, or because they leave packets to workers
//! that run ([`State::leaves_packets`](super::state::State::leaves_packets)). Whoever has the scheduler's lock finds what has come in
//! behind what was in the queue before, at the latest when that is empty. And whoever changes what the inbox was opened for shuts it, or
//! is awake and looks once more before it sleeps. So it is as if packets had been brought in behind the lock.

use std::{collections::VecDeque, time::Instant};

use super::sync::{self, AtomicBool, Mutex, Ordering};

pub(super) type Queue<P> = VecDeque<(P, Instant)>;

pub(super) struct Inbox<P> {
    /// Who finds it shut need not take the lock, and who finds it open asks again behind that: it is shut before it is emptied for good.
    is_open: AtomicBool,
    /// There may be something in it. Whoever has put something in finds it set.
    is_filled: AtomicBool,
    packets: Mutex<Queue<P>>,
}

impl<P> Inbox<P> {
    pub(super) fn new() -> Self {
        Self {
            is_open: AtomicBool::new(false),
            is_filled: AtomicBool::new(false),
            packets: Mutex::new(Queue::new()),
        }
    }

    /// Whether a packet is to be [put](Inbox::put) here, as far as can be told without the lock.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Brings a packet in; it comes back if the inbox is shut.
    pub(super) fn put(&self, packet: P, now: Instant) -> Result<(), P> {
        let mut packets = sync::lock(&self.packets);
        if !self.is_open() {
            return Err(packet);
        }
        packets.push_back((packet, now));
        self.is_filled.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// For who has the scheduler's lock, as what follows is.
    pub(super) fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// Moves what has come in to the end of the queue.
    pub(super) fn empty_into(&self, queue: &mut Queue<P>) {
        if self.is_filled.load(Ordering::Relaxed) {
            self.move_to(queue);
        }
    }

    /// The same, and nothing comes in any more.
    pub(super) fn shut(&self, queue: &mut Queue<P>) {
        self.is_open.store(false, Ordering::Relaxed);
        self.move_to(queue);
    }

    fn move_to(&self, queue: &mut Queue<P>) {
        let mut packets = sync::lock(&self.packets);
        self.is_filled.store(false, Ordering::Relaxed);
        if queue.is_empty() {
            // The memory of either is of use to the other.
            std::mem::swap(queue, &mut packets);
        } else {
            queue.append(&mut packets);
        }
    }
}
