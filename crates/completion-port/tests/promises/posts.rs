//! Posted packets: S25, S37 to S39, and with promise 3 their order among themselves and with I/O.

use std::{io::Write, thread, time::Duration};

use completion_port::{Buffer, DriverKind, GetError, OpKind};

use crate::util::{assert_nothing_left, both, get, open, pair, take, until};

crate::on_each_driver!(
    come_back_unchanged,
    come_out_in_order,
    do_not_starve_io,
    wake_the_one_that_waits,
    are_each_seen_once_by_many_threads,
    are_not_lost_to_a_timeout,
);

/// S37, S39, S25: nothing is looked at, and it is always a success.
fn come_back_unchanged(driver: DriverKind) {
    let port = open::<&str, String>(driver);
    let key = port.key("the key");
    for bytes in [0, 1, usize::MAX] {
        key.post(bytes, format!("{bytes} bytes")).expect("open");
        let mut done = get(&port);
        assert_eq!(
            (*done.handle.key(), done.context.as_str()),
            ("the key", &format!("{bytes} bytes")[..])
        );
        assert_eq!((done.kind(), done.sequence(), done.last()), (OpKind::Post, 0, true));
        assert!(
            done.buffer.is_empty()
                && done.buffers().is_empty()
                && done.accepted().is_none()
                && done.handle == key
        );
        assert_eq!(done.result.expect("S39"), bytes);
    }
    assert_nothing_left(&port);
}

/// S38: first in, first out, I/O packets among them. (A receive whose data is there is brought in when somebody looks at the driver.)
fn come_out_in_order(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let key = port.key(());
    let (server, mut client) = pair(&port, ());
    client.write_all(b"x").expect("written");
    for n in 0..100 {
        key.post(0, n).expect("open");
        if n == 50 {
            server.recv(Buffer::with_capacity(1), 1000).expect("started");
        }
    }
    let contexts: Vec<u32> = take(&port, 101).into_iter().map(|done| done.context).collect();
    assert!(contexts.contains(&1000));
    assert!(contexts.into_iter().filter(|n| *n < 1000).eq(0..100), "posts keep their order");
}

/// A thread that never runs out of posts still comes by its I/O.
fn do_not_starve_io(driver: DriverKind) {
    let port = open::<(), &str>(driver);
    let key = port.key(());
    let (server, mut client) = pair(&port, ());
    server.recv(Buffer::with_capacity(1), "recv").expect("started");
    client.write_all(b"x").expect("written");
    key.post(0, "post").expect("open");
    // Each post that is taken is replaced: the queue is never empty.
    for taken in 0.. {
        key.post(0, "post").expect("open");
        if get(&port).context == "recv" {
            break;
        }
        assert!(taken < 100_000, "a receive waits behind posts for ever");
    }
}

fn wake_the_one_that_waits(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let key = port.key(());
    thread::scope(|s| {
        let waiter = s.spawn(|| get(&port).context);
        until("it waits", || port.snapshot().waiting_threads == 1);
        key.post(0, 5).expect("open");
        assert_eq!(waiter.join().expect("no panic"), 5);
    });
}

fn are_each_seen_once_by_many_threads(driver: DriverKind) {
    const EACH: usize = 500;
    for port in both::<(), Option<usize>>(driver) {
        let mut seen: Vec<usize> = thread::scope(|s| {
            let takers: Vec<_> = (0..4)
                .map(|_| {
                    s.spawn(|| {
                        let mut seen = Vec::new();
                        // `None` is the notes' stop packet.
                        while let Some(number) = get(&port).context {
                            seen.push(number);
                        }
                        seen
                    })
                })
                .collect();
            let posters: Vec<_> = (0..4)
                .map(|poster| {
                    let key = port.key(());
                    s.spawn(move || {
                        (0..EACH).for_each(|n| key.post(0, Some(poster * EACH + n)).expect("open"))
                    })
                })
                .collect();
            posters.into_iter().for_each(|poster| poster.join().expect("no panic"));
            for _ in &takers {
                port.key(()).post(0, None).expect("open");
            }
            takers.into_iter().flat_map(|taker| taker.join().expect("no panic")).collect()
        });
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..4 * EACH), "each packet once");
        assert_nothing_left(&port);
    }
}

/// The time of a waiter is up in the moment in which it is handed a packet.
fn are_not_lost_to_a_timeout(driver: DriverKind) {
    const COUNT: usize = 3_000;
    for port in both::<(), usize>(driver) {
        let key = port.key(());
        let mut seen: Vec<usize> = thread::scope(|s| {
            let takers: Vec<_> = (0..3)
                .map(|taker| {
                    let port = &port;
                    s.spawn(move || {
                        let mut seen = Vec::new();
                        for time in 0.. {
                            match port
                                .get_timeout(Duration::from_micros((time * 7 + taker * 31) % 120))
                            {
                                Ok(done) => seen.push(done.context),
                                Err(GetError::TimedOut) => {}
                                Err(_) => break,
                            }
                        }
                        seen
                    })
                })
                .collect();
            for n in 0..COUNT {
                key.post(0, n).expect("open");
                for _ in 0..n % 200 {
                    std::hint::spin_loop();
                }
            }
            until("all are taken", || port.snapshot().packets == 0);
            let left = port.close();
            let taken = takers.into_iter().flat_map(|taker| taker.join().expect("no panic"));
            taken.chain(left.into_iter().map(|done| done.context)).collect()
        });
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..COUNT), "each packet once");
    }
}
