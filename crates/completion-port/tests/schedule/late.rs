//! Waking late: a second worker is woken when the first does not keep up, and not before.
//!
//! Whether a worker comes back in time is the machine's business: a test that says so tries often, and needs it once.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use completion_port::{DriverKind, Release, Waking, blocking};

use crate::{
    kit::{
        CLOSED, Port, Puppet, SetOnDrop, burn_until, observes, open, post, queued_and_running,
        waiting,
    },
    util::until,
};

crate::on_each_driver!(
    one_that_keeps_up_is_left_alone,
    one_that_does_not_come_back_is_helped,
    one_that_blocks_is_helped,
    the_first_packet_finds_a_worker_at_once,
);

/// What a handful of packets, posted by a worker that then comes back for them, has woken others for.
fn handed_to_others(port: &Port, workers: usize) -> u64 {
    const HANDFUL: u32 = 5;
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let (tell, told) = mpsc::channel();
        for _ in 0..workers {
            let tell = tell.clone();
            s.spawn(move || {
                while let Ok(done) = port.get() {
                    if done.context == 0 {
                        post(port, 1..=HANDFUL);
                    } else {
                        tell.send(()).expect("it listens");
                    }
                }
            });
        }
        waiting(port, workers);
        let before = port.snapshot().scheduling.handed_off;
        post(port, [0]);
        (0..HANDFUL).for_each(|_| told.recv().expect("it is told"));
        // The first one was handed over.
        port.snapshot().scheduling.handed_off - before - 1
    })
}

/// The limit has room for two, all the time. Woken eagerly, another gets a packet of them. (Three workers: somebody must be parked to
/// keep watch, or the one in the driver is given the packet at once.)
fn one_that_keeps_up_is_left_alone(driver: DriverKind) {
    let once = |waking| handed_to_others(&open(driver, 2, Release::Exact, waking), 3);
    assert!((0..5).all(|_| once(Waking::Eager) > 0), "NT's model");
    until("a worker comes back in time", || once(Waking::Late) == 0);
}

/// It uses the processor; what waits is handed to another, for the limit allows it.
fn one_that_does_not_come_back_is_helped(driver: DriverKind) {
    let port = open(driver, 2, Release::Exact, Waking::Late);
    let over = AtomicBool::new(false);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let _over = SetOnDrop([&over]);
        let [other, first] = [(); 2].map(|()| Puppet::new(s));
        let over = &over;
        for round in 0..20 {
            let helps = other.wait(&port, 0);
            let works = first.begin(|| {
                let context = port.get().expect("open").context;
                burn_until(over);
                context
            });
            waiting(&port, 2);
            post(&port, [2 * round]);
            until("it runs", || queued_and_running(&port) == (0, 1));
            post(&port, [2 * round + 1]);
            assert_eq!(helps.end(), 2 * round + 1, "the other gets it");
            over.store(true, Ordering::Release);
            assert_eq!(works.end(), 2 * round);
            over.store(false, Ordering::Release);
        }
    });
}

/// The same with one that blocks, whichever way the port learns of it; with a limit of one it must learn.
fn one_that_blocks_is_helped(driver: DriverKind) {
    for (limit, release, says_so) in [
        (1, Release::Observed, false),
        (1, Release::Observed, true),
        (1, Release::Exact, true),
        (2, Release::Exact, false),
        (2, Release::Unlimited, false),
    ] {
        if limit == 1 && !says_so && !observes() {
            continue;
        }
        let port = open(driver, limit, release, Waking::Late);
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let puppets = [(); 3].map(|()| Puppet::new(s));
            let [oldest, middle, newest] = [0, 1, 2].map(|at| puppets[at].wait(&port, at));
            post(&port, [0]);
            assert_eq!(newest.end(), 0);
            let (tell, told) = mpsc::channel::<()>();
            let blocks = puppets[2].begin(move || {
                let wait = || told.recv().expect_err("there is nothing to hear");
                if says_so { blocking(wait) } else { wait() }
            });
            post(&port, [1]);
            assert_eq!(middle.end(), 1, "limit {limit}, {release:?}");
            drop(tell);
            blocks.end();
            port.close();
            assert_eq!(oldest.end(), CLOSED);
        });
    }
}

/// With nobody running there is nobody to wait for.
fn the_first_packet_finds_a_worker_at_once(driver: DriverKind) {
    let port = open(driver, 2, Release::Exact, Waking::Late);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let puppets = [(); 2].map(|()| Puppet::new(s));
        for round in 0..100 {
            let mut older = puppets[0].wait(&port, 0);
            let newer = puppets[1].wait(&port, 1);
            let before = port.snapshot().scheduling;
            post(&port, [round]);
            assert_eq!(newer.end(), round, "S41");
            let after = port.snapshot().scheduling;
            assert_eq!(after.released_by_age, before.released_by_age, "nothing had to grow old");
            assert!(!older.is_over());
            post(&port, [round]);
            older.end();
        }
    });
}
