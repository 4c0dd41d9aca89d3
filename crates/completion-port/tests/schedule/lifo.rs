//! Promise 6, the newest thread and the oldest packet, and who counts: S41 to S43, S47, S48, S52 to S55, S58.
//!
//! Step by step, and nothing is left to time: who waits is known from the snapshot, and who is counted is exact.

use std::{
    io::Write,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use completion_port::{Buffer, DriverKind, GetError, routine};

use crate::{
    kit::{
        CLOSED, Port, Puppet, Step, a_moment, both, exact, post, queued_and_running, times_out,
        waiting,
    },
    util::{pair, take, until},
};

crate::on_each_driver!(
    the_newest_waiter_comes_first,
    so_it_is_when_all_packets_come_at_once,
    one_that_comes_back_is_the_newest,
    a_packet_that_is_handed_over_is_nobody_elses,
    the_oldest_packet_comes_first,
    at_the_limit_a_packet_waits,
    one_that_comes_back_takes_the_next,
    a_wait_that_times_out_ends_in_a_place,
    a_wait_that_ends_for_a_routine_ends_in_a_place,
    a_wait_elsewhere_gives_the_place_up,
    a_thread_that_exits_gives_the_place_up,
    a_thread_that_panics_gives_the_place_up,
    threads_that_start_things_do_not_count,
    a_batch_counts_as_one,
);

const THREADS: usize = 4;

/// Puppets that wait for a packet, the newest last.
fn line_up<'s>(port: &'s Port, puppets: &[Puppet<'s>]) -> Vec<Step<u32>> {
    (puppets.iter().enumerate()).map(|(before, puppet)| puppet.wait(port, before)).collect()
}

/// S41. Whoever has a packet keeps its place, and the limit leaves room for all.
fn the_newest_waiter_comes_first(driver: DriverKind) {
    for port in both(driver, THREADS) {
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let puppets = [(); THREADS].map(|()| Puppet::new(s));
            for round in 0..20 {
                let mut steps = line_up(&port, &puppets);
                for n in 0..THREADS as u32 {
                    post(&port, [round * 100 + n]);
                    let newest = steps.pop().expect("one is left");
                    assert_eq!(newest.end(), round * 100 + n, "S41");
                    waiting(&port, steps.len());
                    assert!(!steps.iter_mut().any(Step::is_over), "S41: the older ones wait");
                }
                assert_eq!(queued_and_running(&port), (0, THREADS));
            }
        });
    }
}

/// S41, S43: the oldest packet for the newest waiter, and so on.
fn so_it_is_when_all_packets_come_at_once(driver: DriverKind) {
    for port in both(driver, THREADS) {
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let puppets = [(); THREADS].map(|()| Puppet::new(s));
            for _ in 0..100 {
                let steps = line_up(&port, &puppets);
                post(&port, 0..THREADS as u32);
                let got: Vec<u32> = steps.into_iter().rev().map(Step::end).collect();
                assert_eq!(got, [0, 1, 2, 3], "by the newest waiter first");
            }
        });
    }
}

/// S41: the place in the line is that of the last wait.
fn one_that_comes_back_is_the_newest(driver: DriverKind) {
    for port in both(driver, THREADS) {
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let puppets = [(); THREADS].map(|()| Puppet::new(s));
            let mut steps = line_up(&port, &puppets);
            for n in 0..100 {
                // Some of the newest go out, and come back in another order.
                let out = 1 + n as usize % THREADS;
                let mut returning = Vec::new();
                for m in 0..out {
                    post(&port, [m as u32]);
                    let (at, step) = (THREADS - 1 - m, steps.pop().expect("it waits"));
                    assert_eq!(step.end(), m as u32, "S41");
                    returning.push(at);
                }
                // The newest went out first and comes back first: it is the oldest of them now.
                let mut line: Vec<usize> = (0..THREADS - out).collect();
                for at in returning {
                    steps.push(puppets[at].wait(&port, steps.len()));
                    line.push(at);
                }
                for step in 0..THREADS {
                    post(&port, [step as u32]);
                    assert_eq!(steps.pop().expect("it waits").end(), step as u32, "S41: {line:?}");
                }
                steps = line_up(&port, &puppets);
            }
            post(&port, 0..THREADS as u32);
            steps.into_iter().for_each(|step| _ = step.end());
        });
    }
}

/// S42: with a waiter, and room for it, a packet never shows to another caller. The waiter may be the one that sleeps in the driver.
fn a_packet_that_is_handed_over_is_nobody_elses(driver: DriverKind) {
    let port = exact(driver, THREADS + 1);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let puppets = [(); 2].map(|()| Puppet::new(s));
        for waiters in [2, 1] {
            for n in 0..100 {
                let mut steps = line_up(&port, &puppets[..waiters]);
                post(&port, [n]);
                times_out(&port);
                assert_eq!(steps.pop().expect("it waits").end(), n, "of {waiters} waiters");
                post(&port, steps.iter().map(|_| n));
                steps.into_iter().for_each(|step| assert_eq!(step.end(), n));
            }
        }
    });
}

/// S43: whoever takes them, and also when several threads do: with a limit of one they do so one after the other.
fn the_oldest_packet_comes_first(driver: DriverKind) {
    const COUNT: u32 = 2_000;
    let port = exact(driver, 1);
    post(&port, 0..100);
    let got: Vec<u32> = take(&port, 100).into_iter().map(|done| done.context).collect();
    assert!(got.into_iter().eq(0..100), "S43");

    let port = exact(driver, 1);
    let order = Mutex::new(Vec::new());
    thread::scope(|s| {
        let _close = port.close_on_drop();
        for _ in 0..THREADS {
            s.spawn(|| {
                while let Ok(done) = port.get() {
                    order.lock().unwrap_or_else(PoisonError::into_inner).push(done.context);
                }
            });
        }
        post(&port, 0..COUNT);
        let taken = || order.lock().unwrap_or_else(PoisonError::into_inner).len();
        until("all are taken", || taken() == COUNT as usize);
    });
    assert!(order.into_inner().expect("no panic").into_iter().eq(0..COUNT), "S43");
}

/// S47: with as many running as may, it is queued and nobody is woken for it.
fn at_the_limit_a_packet_waits(driver: DriverKind) {
    let port = exact(driver, 2);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let puppets = [(); THREADS].map(|()| Puppet::new(s));
        let mut steps = line_up(&port, &puppets);
        post(&port, 0..2);
        assert_eq!([steps.pop(), steps.pop()].map(|step| step.map(Step::end)), [Some(0), Some(1)]);
        let before = port.snapshot().scheduling;
        post(&port, [2, 3]);
        assert_eq!(queued_and_running(&port), (2, 2), "S47");
        a_moment(&port);
        assert_eq!(queued_and_running(&port), (2, 2), "S47");
        assert!(!steps.iter_mut().any(Step::is_over), "S47");
        assert_eq!(port.snapshot().scheduling.handed_off, before.handed_off, "S47");
        assert_eq!(port.snapshot().scheduling.most_running, 2);
        // Those who run take them when they come back, and then there is room again.
        assert_eq!([puppets[3].get(&port).end(), puppets[2].get(&port).end()], [2, 3]);
        let steps: Vec<_> =
            steps.into_iter().chain([puppets[2].get(&port), puppets[3].get(&port)]).collect();
        waiting(&port, THREADS);
        assert_eq!(queued_and_running(&port), (0, 0));
        port.close();
        assert!(steps.into_iter().all(|step| step.end() == CLOSED), "S23");
    });
}

/// S48: at once, and nobody else is woken for it. Also below the limit: what nobody waited for when it came goes to who comes first.
fn one_that_comes_back_takes_the_next(driver: DriverKind) {
    for port in both(driver, 1) {
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let [waiter, worker] = [(); 2].map(|()| Puppet::new(s));
            let mut waits = waiter.wait(&port, 0);
            let works = worker.wait(&port, 1);
            post(&port, [0]);
            assert_eq!(works.end(), 0);
            post(&port, 1..100);
            let before = port.snapshot().scheduling;
            for n in 1..100 {
                assert_eq!(worker.get(&port).end(), n, "S48");
                assert_eq!(queued_and_running(&port), (99 - n as usize, 1));
            }
            let after = port.snapshot().scheduling;
            assert_eq!(
                (after.handed_off, after.most_running),
                (before.handed_off, 1),
                "S48: it took them itself"
            );
            assert!(!waits.is_over(), "S48");
            worker.exit();
            post(&port, [100]);
            assert_eq!(waits.end(), 100);
        });
    }
}

/// S52: it runs, though without a packet, until it comes back or is gone.
fn a_wait_that_times_out_ends_in_a_place(driver: DriverKind) {
    // The wait may have been in the driver, or in the line behind one that is there.
    for in_line in [false, true] {
        for patience in [Duration::ZERO, Duration::from_millis(1)] {
            let port = exact(driver, 1);
            thread::scope(|s| {
                let _close = port.close_on_drop();
                let [waiter, poller] = [(); 2].map(|()| Puppet::new(s));
                let poll = || match port.get_timeout(patience) {
                    Err(GetError::TimedOut) => None,
                    Err(e) => panic!("{e}"),
                    Ok(done) => Some(done.context),
                };
                let early = in_line.then(|| waiter.wait(&port, 0));
                assert_eq!(poller.act(poll), None);
                assert_eq!(queued_and_running(&port), (0, 1), "S52");
                let mut waits = early.unwrap_or_else(|| waiter.wait(&port, 0));
                post(&port, [1]);
                a_moment(&port);
                assert_eq!(queued_and_running(&port), (1, 1), "S52");
                assert!(!waits.is_over(), "S52");
                // It comes back for it.
                assert_eq!(poller.act(poll), Some(1), "S48");
                // And again; now it goes for good.
                assert_eq!(poller.act(poll), None);
                post(&port, [2]);
                assert_eq!(queued_and_running(&port), (1, 1), "S52");
                poller.exit();
                assert_eq!(waits.end(), 2, "S54");
            });
        }
    }
}

/// S52, of an alertable wait that ran a routine instead.
fn a_wait_that_ends_for_a_routine_ends_in_a_place(driver: DriverKind) {
    let port = exact(driver, 1);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let [waiter, alerted] = [(); 2].map(|()| Puppet::new(s));
        alerted.act(|| routine::use_driver(driver).expect("a probed driver can be had"));
        let alertable_wait = || {
            let this = routine::current().expect("it has a driver");
            routine::queue_user_apc(&this, || {}).expect("it is alive");
            let result = port.get_alertable(None).map(|done| done.context);
            assert!(matches!(result, Err(GetError::Alerted)), "{result:?}");
        };
        alerted.act(alertable_wait);
        assert_eq!(queued_and_running(&port), (0, 0), "S35: such a first wait makes it no worker");
        alerted.act(|| times_out(&port));
        alerted.act(alertable_wait);
        assert_eq!(queued_and_running(&port), (0, 1), "S52");
        let mut waits = waiter.wait(&port, 0);
        post(&port, [1]);
        a_moment(&port);
        assert_eq!((queued_and_running(&port), waits.is_over()), ((1, 1), false), "S52");
        assert_eq!(alerted.get(&port).end(), 1);
        alerted.exit();
        post(&port, [2]);
        assert_eq!(waits.end(), 2);
    });
}

/// S53, S46: a thread belongs to the port where it waited last.
fn a_wait_elsewhere_gives_the_place_up(driver: DriverKind) {
    let (here, there) = (exact(driver, 1), exact(driver, 1));
    thread::scope(|s| {
        let (_close, _close_too) = (here.close_on_drop(), there.close_on_drop());
        let [first, second] = [(); 2].map(|()| Puppet::new(s));
        let waits = first.wait(&here, 0);
        post(&here, [1]);
        assert_eq!(waits.end(), 1);
        let mut released = second.wait(&here, 0);
        post(&here, [2]);
        assert_eq!((queued_and_running(&here), released.is_over()), ((1, 1), false), "S47");
        let moved = first.wait(&there, 0);
        assert_eq!(released.end(), 2, "S53");
        assert_eq!((queued_and_running(&here), queued_and_running(&there)), ((0, 1), (0, 0)));
        post(&there, [3]);
        assert_eq!(moved.end(), 3);
        assert_eq!((queued_and_running(&here), queued_and_running(&there)), ((0, 1), (0, 1)));
        // A poll is a wait.
        second.act(|| times_out(&there));
        assert_eq!((queued_and_running(&here), queued_and_running(&there)), ((0, 0), (0, 2)));
    });
}

/// S54.
fn a_thread_that_exits_gives_the_place_up(driver: DriverKind) {
    leaves_its_place(driver, |puppet| puppet.exit());
}

/// S54, whatever ends it.
fn a_thread_that_panics_gives_the_place_up(driver: DriverKind) {
    leaves_its_place(driver, |puppet| puppet.panic("as planned"));
}

fn leaves_its_place(driver: DriverKind, leave: fn(Puppet<'_>)) {
    let port = exact(driver, 1);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let puppets = [(); 10].map(|()| Puppet::new(s));
        let mut steps = line_up(&port, &puppets);
        post(&port, 0..puppets.len() as u32);
        for (n, puppet) in puppets.into_iter().rev().enumerate() {
            assert_eq!(steps.pop().expect("one is left").end(), n as u32, "S54");
            assert_eq!(queued_and_running(&port), (9 - n, 1));
            assert!(!steps.iter_mut().any(Step::is_over), "S47");
            leave(puppet);
        }
        assert_eq!(queued_and_running(&port), (0, 0));
    });
}

/// S55: to post and to start I/O makes nobody a worker.
fn threads_that_start_things_do_not_count(driver: DriverKind) {
    let port = exact(driver, 1);
    let (server, mut client) = pair(&port, ());
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let puppets = [(); THREADS].map(|()| Puppet::new(s));
        for (n, puppet) in puppets.iter().enumerate() {
            let (port, server) = (&port, &server);
            puppet.act(move || {
                post(port, [n as u32]);
                server.recv(Buffer::with_capacity(1), 10).expect("started");
                server.send(vec![0; 1].into(), 20).expect("started");
            });
        }
        assert_eq!(queued_and_running(&port).1, 0, "S55");
        client.write_all(&[0; THREADS]).expect("written");
        // With one of them counted, this one would get nothing.
        let worker = Puppet::new(s);
        let mut got: Vec<u32> = (0..3 * THREADS).map(|_| worker.get(&port).end()).collect();
        got.sort_unstable();
        assert_eq!(got, [0, 1, 2, 3, 10, 10, 10, 10, 20, 20, 20, 20]);
        assert_eq!(queued_and_running(&port), (0, 1), "S55");
    });
}

/// S58: whoever takes several packets at once runs once.
fn a_batch_counts_as_one(driver: DriverKind) {
    let port = exact(driver, 2);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let [waiter, batcher] = [(); 2].map(|()| Puppet::new(s));
        let batch = || {
            let mut packets = Vec::new();
            port.get_many(&mut packets, 5, None).expect("open")
        };
        // They are there.
        post(&port, 0..5);
        assert_eq!(batcher.act(batch), 5);
        assert_eq!(queued_and_running(&port), (0, 1), "S58");
        let waits = waiter.wait(&port, 0);
        post(&port, [5]);
        assert_eq!(waits.end(), 5, "S58: there is room for one more");
        assert_eq!(queued_and_running(&port), (0, 2));
        // They come.
        let waits = batcher.begin(batch);
        waiting(&port, 1);
        post(&port, [6]);
        assert_eq!(waits.end(), 1);
        assert_eq!(queued_and_running(&port), (0, 2), "S58");
        post(&port, 7..20);
        assert_eq!((batcher.act(batch), queued_and_running(&port)), (5, (8, 2)), "S58");
    });
}
