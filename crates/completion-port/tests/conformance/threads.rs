//! Which thread runs: who is released, who counts, and what gives a place up.
//!
//! Each packet that comes is told by its number, so that who has it, and who has not, is known from what is taken.

use std::{io::Write, sync::Mutex, thread, time::Duration};

use completion_port::{DriverKind, GetError, blocking, event::Event, routine};

use crate::{
    kit::{PATIENCE, Port, get, open, pair, room, times_out, until, with},
    routine_kit::{Log, queue_apc},
    thread_kit::{Puppet, Step, a_moment, limited, post, waiting},
};

conformance! {
    the_newest_waiter_is_handed_the_packet [S41 S42]
        "the thread that waited last gets the packet, which no other caller sees, and the ones before it wait on";
    the_oldest_packet_comes_first [S43]
        "packets that nobody waited for are taken oldest first, by one thread or by several in turn";
    at_the_limit_a_packet_waits [S47 S48 S50]
        "with as many running as may, a packet wakes no waiter though the one that runs only burns the processor, which takes it when it comes back";
    who_blocks_gives_up_its_place [S49]
        "a thread of the port that waits for something else lets a waiter have the packet that is queued";
    who_wakes_counts_again [S51 S56]
        "limit 1: a block releases the second, both run when the first wakes, and the third packet waits until only one runs";
    who_times_out_counts [S52]
        "a thread whose wait timed out, or ended for a routine, runs in a place: a packet wakes nobody until it comes back";
    a_thread_belongs_to_the_port_of_its_last_wait [S46 S53]
        "a thread counts at the port where it waited last, and a wait at another port frees its place";
    who_exits_frees_its_place [S54]
        "each thread that exits lets the next waiter have the next packet";
    who_only_starts_things_does_not_count [S55]
        "threads that have posted and started I/O, and run on, keep no packet from the one thread that takes";
    a_batch_counts_as_one [S58]
        "a thread that has taken three packets at once leaves the second place of two to another";
}

/// Puppets that wait for a packet, the newest last.
fn line_up<'s>(port: &'s Port, puppets: &[&Puppet<'s>]) -> Vec<Step<Option<u32>>> {
    puppets.iter().enumerate().map(|(before, puppet)| puppet.wait(port, before)).collect()
}

fn the_newest_waiter_is_handed_the_packet(driver: DriverKind) {
    // One place more: for the caller that must not see the packet.
    let port = limited(driver, 4);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let puppets = [(); 3].map(|()| Puppet::new(s));
        for round in 0..10 {
            let mut steps = line_up(&port, &puppets.each_ref());
            for n in 0..3 {
                post(&port, [round * 10 + n]);
                times_out(&port);
                let newest = steps.pop().expect("one is left");
                assert_eq!(newest.end(), Some(round * 10 + n), "S41");
                assert!(!steps.iter().any(Step::is_over), "S41: the older ones wait");
            }
        }
    });
}

fn the_oldest_packet_comes_first(driver: DriverKind) {
    let port = open(driver);
    post(&port, 0..100);
    assert!((0..100).all(|n| get(&port).context == n), "S43");
    let port = limited(driver, 2);
    post(&port, 0..100);
    let order = Mutex::new(Vec::new());
    thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                for _ in 0..50 {
                    // One at a time, so that their order can be told.
                    let mut order = order.lock().expect("no panic");
                    order.push(get(&port).context);
                }
            });
        }
    });
    assert!(order.into_inner().expect("no panic").into_iter().eq(0..100), "S43");
}

fn at_the_limit_a_packet_waits(driver: DriverKind) {
    let port = limited(driver, 1);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let [waiter, worker] = [(); 2].map(|()| Puppet::new(s));
        let waits = waiter.wait(&port, 0);
        assert_eq!(
            {
                let works = worker.wait(&port, 1);
                post(&port, [0]);
                works.end()
            },
            Some(0)
        );
        for n in 1..20 {
            post(&port, [n]);
            // The worker runs on meanwhile; there are more threads here than it has processors to itself.
            a_moment();
            assert!(!waits.is_over(), "S47, S50");
            assert_eq!(worker.get(&port).end(), Some(n), "S48");
        }
        assert!(!waits.is_over(), "S47");
    });
}

fn who_blocks_gives_up_its_place(driver: DriverKind) {
    let port = limited(driver, 1);
    let wake = Event::manual_reset(false);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let [waiter, worker] = [(); 2].map(|()| Puppet::new(s));
        let mut steps = line_up(&port, &[&waiter, &worker]);
        post(&port, [1]);
        let works = steps.remove(1);
        assert_eq!(works.end(), Some(1));
        post(&port, [2]);
        let blocks = worker.begin(|| blocking(|| wake.wait(Some(PATIENCE)).expect("it waits")));
        assert_eq!(steps.remove(0).end(), Some(2), "S49");
        assert!(!blocks.is_over(), "it is blocked as long as the test wishes");
        wake.set();
        assert!(blocks.end(), "in vain");
    });
}

fn who_wakes_counts_again(driver: DriverKind) {
    let port = limited(driver, 1);
    let wake = Event::manual_reset(false);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let [idle, b, a] = [(); 3].map(|()| Puppet::new(s));
        let mut steps = line_up(&port, &[&idle, &b, &a]);
        post(&port, [1]);
        assert_eq!(steps.remove(2).end(), Some(1), "S56: A has packet 1");
        post(&port, [2]);
        let blocks = a.begin(|| blocking(|| wake.wait(Some(PATIENCE)).expect("it waits")));
        assert_eq!(steps.remove(1).end(), Some(2), "S56: B has packet 2");
        wake.set();
        assert!(blocks.end(), "in vain");
        // Both run now: one more than may.
        post(&port, [3]);
        let waits = a.wait(&port, 1);
        a_moment();
        assert!(!waits.is_over(), "S51: with A back, B alone is as many as may run");
        assert!(!steps[0].is_over(), "S56: packet 3 waits");
        assert_eq!(b.get(&port).end(), Some(3), "S48");
        assert!(!waits.is_over() && !steps[0].is_over());
    });
}

fn who_times_out_counts(driver: DriverKind) {
    let port = limited(driver, 1);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let [waiter, poller] = [(); 2].map(|()| Puppet::new(s));
        poller.act(|| routine::use_driver(driver).expect("a probed driver can be had"));
        poller.act(|| times_out(&port));
        let waits = waiter.wait(&port, 0);
        post(&port, [1]);
        a_moment();
        assert!(!waits.is_over(), "S52");
        assert_eq!(poller.get(&port).end(), Some(1), "S48");
        // It belongs to the port, and its next wait ends for a call.
        poller.act(|| {
            let ran = Log::default();
            queue_apc(&ran, "queued");
            let waited = port.get_alertable(Some(PATIENCE));
            assert!(matches!(waited, Err(GetError::Alerted)), "{waited:?}");
        });
        post(&port, [2]);
        a_moment();
        assert!(!waits.is_over(), "S52");
        assert_eq!(poller.get(&port).end(), Some(2), "S48");
    });
}

fn a_thread_belongs_to_the_port_of_its_last_wait(driver: DriverKind) {
    let (here, there) = (limited(driver, 1), limited(driver, 1));
    thread::scope(|s| {
        let (_close, _close_too) = (here.close_on_drop(), there.close_on_drop());
        let [second, first] = [(); 2].map(|()| Puppet::new(s));
        let mut steps = line_up(&here, &[&second, &first]);
        post(&here, [1]);
        assert_eq!(steps.remove(1).end(), Some(1));
        post(&here, [2]);
        a_moment();
        assert!(!steps[0].is_over(), "S46: it runs on, and counts");
        let moved = first.wait(&there, 0);
        assert_eq!(steps.remove(0).end(), Some(2), "S53");
        post(&there, [3]);
        assert_eq!(moved.end(), Some(3));
        let late = Puppet::new(s);
        let waits = late.wait(&there, 0);
        post(&there, [4]);
        a_moment();
        assert!(!waits.is_over(), "S46: now it counts there");
        assert_eq!(first.get(&there).end(), Some(4));
    });
}

fn who_exits_frees_its_place(driver: DriverKind) {
    let port = limited(driver, 1);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let mut puppets: Vec<_> = (0..4).map(|_| Puppet::new(s)).collect();
        let mut steps = line_up(&port, &puppets.iter().collect::<Vec<_>>());
        post(&port, 0..4);
        // Whoever has a packet exits, until there is none left to have one.
        let mut seen = Vec::new();
        while !steps.is_empty() {
            until("a waiter has a packet", || steps.iter().any(Step::is_over));
            let at = steps.iter().position(Step::is_over).expect("just seen");
            seen.push(steps.remove(at).end().expect("open"));
            puppets.remove(at).exit();
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3], "S54");
    });
}

fn who_only_starts_things_does_not_count(driver: DriverKind) {
    let port = limited(driver, 1);
    let (server, mut client) = pair(&port);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let puppets = [(); 3].map(|()| Puppet::new(s));
        for puppet in &puppets {
            puppet.act(|| {
                post(&port, [1]);
                server.recv(room(1), 2).expect("started");
                server.send(with(b"x"), 3).expect("started");
            });
        }
        client.write_all(b"abc").expect("written");
        let worker = Puppet::new(s);
        let mut got: Vec<_> = (0..9).map(|_| worker.get(&port).end().expect("open")).collect();
        got.sort_unstable();
        assert_eq!(got, [1, 1, 1, 2, 2, 2, 3, 3, 3], "S55");
    });
}

fn a_batch_counts_as_one(driver: DriverKind) {
    let port = limited(driver, 2);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let [taker, waiter] = [(); 2].map(|()| Puppet::new(s));
        post(&port, 0..3);
        let taken = taker.act(|| {
            let mut batch = Vec::new();
            port.get_many(&mut batch, 3, Some(PATIENCE)).expect("packets");
            batch.iter().map(|packet| packet.context).collect::<Vec<_>>()
        });
        assert_eq!(taken, [0, 1, 2]);
        let waits = waiter.get(&port);
        waiting(&port, 1);
        post(&port, [3]);
        assert_eq!(waits.end(), Some(3), "S58");
        assert!(port.get_timeout(Duration::ZERO).is_err());
    });
}
