//! Corners that a review has found: each was wrong once, on some driver.

use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use completion_port::{Buffer, CompletionPort, DriverKind, PoolOptions, TcpSocket};

use crate::util::{PATIENCE, assert_nothing_left, get, open, pair, pattern, take};

crate::on_each_driver!(
    idle_receives_do_not_keep_buffers_from_busy_ones,
    many_starved_receives_are_served_in_order,
    a_flood_does_not_defeat_the_deadline_of_an_end,
    cancelling_a_queued_connect_leaves_the_connection_alone,
    an_end_that_expires_before_its_sends_left_says_so,
    of_two_ends_at_once_one_is_refused,
    a_close_without_time_still_reaps,
    a_close_with_all_the_time_there_is,
    a_shutdown_that_fails_changes_nothing,
);

fn small_pool(driver: DriverKind, limit: usize) -> CompletionPort<usize, ()> {
    let pool = PoolOptions::new().limit(limit);
    CompletionPort::builder().driver(driver).pool(pool).build().expect("a probed driver can be had")
}

/// Promise 8: receives that are started while every buffer is out, with nothing to read, are in nobody's way later.
fn idle_receives_do_not_keep_buffers_from_busy_ones(driver: DriverKind) {
    let port = small_pool(driver, 8);
    let held: Vec<_> = std::iter::from_fn(|| port.lend()).collect();
    let idle: Vec<_> = (0..8).map(|key| pair(&port, key)).collect();
    for (server, _) in &idle {
        server.recv_lent(()).expect("started");
    }
    assert!(port.get_timeout(Duration::from_millis(1)).is_err());
    let (server, mut client) = pair(&port, 100);
    client.write_all(b"busy").expect("written");
    server.recv_lent(()).expect("started");
    assert!(held.len() < 8 || port.get_timeout(Duration::from_millis(1)).is_err());
    drop(held);
    let done = get(&port);
    assert_eq!((*done.handle.key(), &done.buffer[..]), (100, &b"busy"[..]));
}

fn many_starved_receives_are_served_in_order(driver: DriverKind) {
    const COUNT: usize = 12;
    let port = small_pool(driver, 16);
    let held: Vec<_> = std::iter::from_fn(|| port.lend()).collect();
    // Those that find a buffer all the same (the driver has a few) are not starved.
    let mut connections = Vec::new();
    let (mut waiting, mut kept) = (Vec::new(), Vec::new());
    for key in 0.. {
        let (server, mut client) = pair(&port, key);
        client.write_all(&pattern(key, 10)).expect("written");
        server.recv_lent(()).expect("started");
        connections.push((server, client));
        let before = Instant::now();
        let found = loop {
            if let Ok(done) = port.get_timeout(Duration::ZERO) {
                break Some(done);
            }
            if port.snapshot().starved == waiting.len() + 1 {
                break None;
            }
            assert!(before.elapsed() < PATIENCE, "neither served nor starved");
        };
        match found {
            Some(done) => kept.push(done.buffer),
            None => waiting.push(key),
        }
        if waiting.len() == COUNT {
            break;
        }
    }
    drop(held);
    // With one thread that takes one packet at a time, the order is that of the waiting.
    let served: Vec<_> = take(&port, COUNT).iter().map(|done| *done.handle.key()).collect();
    assert_eq!(served, waiting);
}

fn a_flood_does_not_defeat_the_deadline_of_an_end(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, client) = pair(&port, ());
    let stop = AtomicBool::new(false);
    thread::scope(|s| {
        let flood = s.spawn(|| {
            let bytes = vec![0; 1 << 20];
            while !stop.load(Ordering::Relaxed) {
                if (&client).write(&bytes).is_err() {
                    break;
                }
            }
        });
        server.end(Duration::from_millis(200), ()).expect("started");
        // Only the deadline ends it: the flood goes on until its packet is here.
        let done = get(&port);
        assert_eq!(done.result.expect_err("the peer has not ended").kind(), ErrorKind::TimedOut);
        stop.store(true, Ordering::Relaxed);
        drop((done.handle, server));
        flood.join().expect("no panic");
    });
}

fn cancelling_a_queued_connect_leaves_the_connection_alone(driver: DriverKind) {
    const MUCH: usize = 8 << 20;
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    server.send(pattern(0, MUCH).into(), 1).expect("started");
    let address = client.local_addr().expect("bound");
    let connect = server.connect(address, 2).expect("started");
    assert!(server.cancel(connect));
    assert_eq!(get(&port).context, 2);
    let reader = thread::spawn(move || {
        let mut read = vec![0; MUCH];
        client.read_exact(&mut read).map(|()| read)
    });
    assert_eq!(get(&port).result.expect("whole"), MUCH);
    assert!(reader.join().expect("no panic").expect("no reset") == pattern(0, MUCH));
    assert_nothing_left(&port);
}

fn an_end_that_expires_before_its_sends_left_says_so(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, client) = pair(&port, ());
    // More than the system takes while the peer does not read; and the peer's end is there at once.
    server.send(vec![7; 64 << 20].into(), 1).expect("started");
    client.shutdown(Shutdown::Write).expect("shut down");
    server.end(Duration::from_millis(50), 2).expect("started");
    let mut done = take(&port, 2);
    done.sort_by_key(|done| done.context);
    assert!(done[0].result.is_err(), "the send was cut");
    assert_eq!(
        done[1].result.as_ref().expect_err("not everything left").kind(),
        ErrorKind::TimedOut
    );
}

fn of_two_ends_at_once_one_is_refused(driver: DriverKind) {
    const MUCH: usize = 1 << 20;
    let port = open::<(), u32>(driver);
    for _ in 0..20 {
        let (server, mut client) = pair(&port, ());
        server.send(vec![7; MUCH].into(), 0).expect("started");
        let together = Arc::new(Barrier::new(2));
        let ends: Vec<_> = (1..=2)
            .map(|context| {
                let (server, together) = (server.clone(), together.clone());
                thread::spawn(move || {
                    together.wait();
                    server.end(PATIENCE, context).is_ok()
                })
            })
            .collect();
        let started = ends.into_iter().map(|end| end.join().expect("no panic"));
        assert_eq!(started.filter(|started| *started).count(), 1);
        let reader = thread::spawn(move || {
            let mut read = Vec::new();
            client.read_to_end(&mut read).map(|_| read.len())
        });
        for done in take(&port, 2) {
            done.result.expect("a graceful end");
        }
        assert_eq!(reader.join().expect("no panic").expect("no reset"), MUCH);
    }
}

fn a_close_without_time_still_reaps(driver: DriverKind) {
    let port = CompletionPort::builder()
        .driver(driver)
        .drain(Duration::ZERO)
        .build::<(), ()>()
        .expect("a port");
    let pairs: Vec<_> = (0..8).map(|_| pair(&port, ())).collect();
    for (server, _) in &pairs {
        server.recv(Buffer::with_capacity(8), ()).expect("started");
    }
    assert_eq!(port.close().len(), 8);
    assert_eq!(port.snapshot().leaked, 0);
}

fn a_close_with_all_the_time_there_is(driver: DriverKind) {
    let port = CompletionPort::builder()
        .driver(driver)
        .drain(Duration::MAX)
        .build::<(), ()>()
        .expect("a port");
    let (server, _client) = pair(&port, ());
    server.recv_lent(()).expect("started");
    assert_eq!(port.close().len(), 1);
}

fn a_shutdown_that_fails_changes_nothing(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let handle =
        port.associate(TcpSocket::new(&address).expect("a socket"), ()).expect("associated");
    for _ in 0..2 {
        let refused = handle.shutdown(Shutdown::Write).expect_err("it is not connected");
        assert_eq!(refused.kind(), ErrorKind::NotConnected);
    }
    handle.connect(address, 1).expect("started");
    get(&port).result.expect("connected");
    handle.send(Buffer::from(&b"well"[..]), 2).expect("started");
    assert_eq!(get(&port).result.expect("whole"), 4);
}

/// A network has one port: the operations in it are of that port's types.
#[test]
fn a_simulated_network_has_one_port() {
    let network = completion_port::simulated::Network::new(1);
    drop(CompletionPort::builder().simulated(&network).build::<u8, ()>().expect("the first"));
    let second = CompletionPort::builder().simulated(&network).build::<(), String>();
    assert_eq!(second.expect_err("refused").kind(), ErrorKind::InvalidInput);
}
