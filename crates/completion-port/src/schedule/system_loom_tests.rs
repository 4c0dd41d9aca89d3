//! The close of a port that the system schedules, under loom: every interleaving, within the stated bound.
//!
//! The system's port is a list behind a condition: who is not told waits for ever, which loom reports as a deadlock.

use std::{
    collections::VecDeque,
    io,
    sync::Arc as StdArc,
    time::{Duration, Instant},
};

use loom::{
    sync::{Arc, Condvar, Mutex},
    thread,
};

use super::{loom_tests::check, system::SystemQueue};
use crate::sys::{SystemPort, Taken};

/// What a system's port is, less the limit.
#[derive(Default)]
struct List {
    inside: Mutex<VecDeque<Option<usize>>>,
    filled: Condvar,
}

impl List {
    fn put(&self, what: Option<usize>) {
        self.inside.lock().unwrap().push_back(what);
        self.filled.notify_one();
    }
}

impl SystemPort for List {
    fn post(&self, number: usize) {
        self.put(Some(number));
    }

    fn nudge(&self) {
        self.put(None);
    }

    fn nudge_after(&self, _: Option<Duration>) {}

    fn take(&self, _: usize, timeout: Option<Duration>, taken: &mut Vec<Taken>) -> io::Result<()> {
        let mut inside = self.inside.lock().unwrap();
        while inside.is_empty() && timeout.is_none() {
            inside = self.filled.wait(inside).unwrap();
        }
        let what = inside.pop_front();
        taken.extend(what.map(|what| what.map_or(Taken::Nudge, Taken::Packet)));
        Ok(())
    }
}

fn queue() -> Arc<SystemQueue<u32>> {
    Arc::new(SystemQueue::new(StdArc::new(List::default())))
}

/// As `port::system::take`.
fn get(queue: &SystemQueue<u32>) -> Option<u32> {
    let _waiter = queue.wait()?;
    loop {
        let mut taken = Vec::new();
        queue.port().take(1, None, &mut taken).unwrap();
        let packet = taken.iter().find_map(|one| match one {
            Taken::Packet(number) => queue.unpack(*number),
            _ => None,
        });
        if queue.is_closed() {
            packet.into_iter().for_each(|packet| queue.push(packet));
            return None;
        }
        if packet.is_some() {
            return packet;
        }
    }
}

/// As `port::close`: all that nobody has taken.
fn close(queue: &SystemQueue<u32>) -> Vec<u32> {
    assert!(queue.close(), "the first");
    assert!(queue.wait_for_waiters(None), "everybody leaves");
    queue.drain().into()
}

/// The same, by one who waits for nobody and takes what comes, the nudge perhaps.
fn close_in_a_hurry(queue: &SystemQueue<u32>) -> Vec<u32> {
    assert!(queue.close(), "the first");
    let mut left = Vec::new();
    if !queue.wait_for_waiters(Some(Instant::now())) {
        let mut taken = Vec::new();
        queue.port().take(1, Some(Duration::ZERO), &mut taken).unwrap();
        left.extend(taken.iter().find_map(|one| match one {
            Taken::Packet(number) => queue.unpack(*number),
            _ => None,
        }));
    }
    left.extend(queue.drain());
    left
}

#[test]
fn a_close_reaches_every_waiter() {
    check(|| {
        let queue = queue();
        let waiters = [(); 2].map(|()| {
            let queue = queue.clone();
            thread::spawn(move || get(&queue))
        });
        assert!(close(&queue).is_empty());
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap().is_none()));
        assert!(queue.wait().is_none() && !queue.close(), "and every later one");
    });
}

#[test]
fn a_close_in_a_hurry_reaches_every_waiter() {
    check(|| {
        let queue = queue();
        let waiters = [(); 2].map(|()| {
            let queue = queue.clone();
            thread::spawn(move || get(&queue))
        });
        assert!(close_in_a_hurry(&queue).is_empty());
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap().is_none()));
    });
}

#[test]
fn a_packet_beside_a_close_in_a_hurry_is_not_lost() {
    check(|| {
        let queue = queue();
        let poster = {
            let queue = queue.clone();
            thread::spawn(move || queue.post(7).err())
        };
        let left = close_in_a_hurry(&queue);
        let packets = left.into_iter().chain(poster.join().unwrap());
        assert_eq!(packets.collect::<Vec<_>>(), [7]);
    });
}

#[test]
fn a_packet_beside_a_close_is_refused_taken_or_left() {
    check(|| {
        let queue = queue();
        let taker = {
            let queue = queue.clone();
            thread::spawn(move || get(&queue))
        };
        let poster = {
            let queue = queue.clone();
            thread::spawn(move || queue.post(7).err())
        };
        let left = close(&queue);
        let packets = left.into_iter().chain(taker.join().unwrap()).chain(poster.join().unwrap());
        assert_eq!(packets.collect::<Vec<_>>(), [7]);
    });
}

#[test]
fn a_packet_that_comes_late_is_the_closers_or_its_bringers() {
    check(|| {
        let queue = queue();
        let bringer = {
            let queue = queue.clone();
            thread::spawn(move || {
                queue.push(7);
                queue.leftovers()
            })
        };
        let left = close(&queue);
        assert_eq!(left.into_iter().chain(bringer.join().unwrap()).collect::<Vec<_>>(), [7]);
    });
}
