//! `get_many`: S28 to S31.

use std::{
    io,
    io::Write,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use completion_port::{Buffer, DriverKind, GetError};

use crate::util::{PATIENCE, assert_nothing_left, open, pair, reset, situation, take, until};

crate::on_each_driver!(
    take_what_is_there_in_order,
    do_not_wait_to_be_filled,
    hold_failures_too,
    of_no_packets_are_refused,
    of_many_connections_lose_nothing,
);

fn take_what_is_there_in_order(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let key = port.key(());
    (0..10).for_each(|n| key.post(0, n).expect("open"));
    let mut batch = vec![];
    for (max, expected) in [(1, 1), (4, 4), (100, 5)] {
        assert_eq!(port.get_many(&mut batch, max, None).expect("packets"), expected);
    }
    assert!(batch.iter().map(|done| done.context).eq(0..10), "appended, in order");
    // S31: what the caller had stays.
    assert!(matches!(
        port.get_many(&mut batch, 1, Some(Duration::from_millis(1))),
        Err(GetError::TimedOut)
    ));
    assert_eq!(batch.len(), 10);
}

/// S28: one packet is a batch, for one that waits already as well.
fn do_not_wait_to_be_filled(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    thread::scope(|s| {
        let waiter = s.spawn(|| {
            let mut batch = Vec::new();
            port.get_many(&mut batch, 100, Some(PATIENCE)).map(|count| (count, batch.len()))
        });
        until("it waits", || port.snapshot().waiting_threads == 1);
        port.key(()).post(0, 1).expect("open");
        assert_eq!(waiter.join().expect("no panic").expect("a packet"), (1, 1));
    });
}

/// S29.
fn hold_failures_too(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, client) = pair(&port, ());
    server.recv(Buffer::with_capacity(1), 1).expect("started");
    server.cancel_all();
    port.key(()).post(0, 2).expect("open");
    drop(client);
    let packets = take(&port, 2);
    assert_eq!(packets.iter().filter(|done| situation(&done.result).is_some()).count(), 1);
    assert_nothing_left(&port);
}

/// S30.
fn of_no_packets_are_refused(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    port.key(()).post(0, 1).expect("open");
    let mut batch = Vec::new();
    match port.get_many(&mut batch, 0, None) {
        Err(GetError::Failed(e)) => assert_eq!(e.kind(), io::ErrorKind::InvalidInput),
        other => panic!("{other:?}"),
    }
    assert!(batch.is_empty());
    assert_eq!(port.get_many(&mut batch, 1, None).expect("the packet is still there"), 1);
}

/// Two threads with batches of different sizes share the packets of a hundred receives, a third of them reset.
fn of_many_connections_lose_nothing(driver: DriverKind) {
    const COUNT: usize = 60;
    let port = open::<usize, ()>(driver);
    let (servers, clients): (Vec<_>, Vec<_>) = (0..COUNT).map(|key| pair(&port, key)).unzip();
    servers.iter().for_each(|server| _ = server.recv_lent(()).expect("started"));
    let taken = AtomicUsize::new(0);
    let mut keys = thread::scope(|s| {
        let take = |max| {
            let (port, taken) = (&port, &taken);
            move || {
                let mut all = Vec::new();
                while let Ok(count) = port.get_many(&mut all, max, None) {
                    assert!((1..=max).contains(&count));
                    taken.fetch_add(count, Ordering::Relaxed);
                }
                all
            }
        };
        let takers = [s.spawn(take(3)), s.spawn(take(64))];
        for (number, mut client) in clients.into_iter().enumerate() {
            match number % 3 {
                0 => reset(client),
                1 => client.write_all(b"x").expect("written"),
                _ => {}
            }
        }
        // Counted by those who take: between the driver and them, a packet is in no snapshot.
        until("all have come", || taken.load(Ordering::Relaxed) >= COUNT);
        assert!(port.close().is_empty(), "nothing is left to give back");
        let all = takers.into_iter().flat_map(|taker| taker.join().expect("no panic"));
        all.map(|done| *done.handle.key()).collect::<Vec<_>>()
    });
    keys.sort_unstable();
    assert!(keys.into_iter().eq(0..COUNT), "each receive has one packet");
}
