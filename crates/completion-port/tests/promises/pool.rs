//! The pool at its limit: receives wait in order and are counted, nothing is lost, and nothing is kept.

use std::{
    io::Write,
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use completion_port::{
    Buffer, CompletionPort, DriverKind, Handle, OpKind, PoolOptions, error::Situation,
};

use crate::util::{
    WayToSleep, assert_nothing_left, assert_same, child::alone, get, pair, pattern, proc::resident,
    reset, scaled, situation, take, until,
};

crate::on_each_driver!(
    receives_wait_in_order_and_are_counted,
    receives_wait_behind_a_driver_that_keeps_some_ready,
    receives_do_not_wait_while_there_are_buffers,
    a_receive_that_waits_can_be_cancelled,
    closes_end_receives_that_wait,
    a_graceful_end_at_the_limit_keeps_its_deadline,
    a_buffer_that_comes_back_is_never_missed,
    memory_goes_back_after_a_burst,
);

type Port = CompletionPort<u32, ()>;

fn open(driver: DriverKind, limit: usize) -> Port {
    CompletionPort::builder()
        .driver(driver)
        .pool(PoolOptions::new().limit(limit))
        .build()
        .expect("a probed driver can be had")
}

/// Receives that find no buffer, started one after the other, each with something to receive.
fn starve(port: &Port, keys: std::ops::Range<u32>) -> Vec<(Handle<u32, ()>, TcpStream)> {
    keys.map(|key| {
        let already = port.snapshot().starved;
        let (server, mut client) = pair(port, key);
        client.write_all(&pattern(key as usize, 10)).expect("written");
        server.recv_lent(()).expect("started");
        until("it is found that there is no buffer", || {
            assert!(port.get_timeout(Duration::ZERO).is_err(), "there was a buffer");
            port.snapshot().starved == already + 1
        });
        (server, client)
    })
    .collect()
}

/// Every buffer that the pool still gives.
fn all_of_it(port: &Port) -> Vec<Buffer> {
    std::iter::from_fn(|| port.lend()).collect()
}

/// The oldest first, one for each buffer, from whatever thread it comes back.
fn receives_wait_in_order_and_are_counted(driver: DriverKind) {
    let port = open(driver, 2);
    let mut held = all_of_it(&port);
    assert_eq!(held.len(), 2);
    let _waiting = starve(&port, 0..5);
    assert_eq!((port.snapshot().pool.waited, port.snapshot().starved), (5, 5));
    for key in 0..5 {
        let back = held.pop().expect("one is held");
        thread::scope(|s| {
            s.spawn(|| drop(back));
            let done = get(&port);
            assert_eq!(
                (*done.handle.key(), &done.buffer[..]),
                (key, &pattern(key as usize, 10)[..]),
                "the one that waited longest"
            );
            assert!(done.buffer.is_lent());
            assert_eq!(port.snapshot().pool.lent, 2, "as many as there are");
            held.insert(0, done.buffer);
        });
    }
    assert_nothing_left(&port);
    let pool = port.snapshot().pool;
    assert_eq!((pool.waited, pool.peak), (5, 2), "each has waited once");
}

/// With a limit of 16 a driver may keep two buffers ready for the kernel: those are served first, and then there are none.
fn receives_wait_behind_a_driver_that_keeps_some_ready(driver: DriverKind) {
    let port = open(driver, 16);
    let mut held = all_of_it(&port);
    assert!(held.len() >= 14, "{} of 16", held.len());
    let ready = 16 - held.len();
    let connections: Vec<_> = (0..6).map(|key| pair(&port, key)).collect();
    for (key, (server, client)) in connections.iter().enumerate() {
        (&*client).write_all(&pattern(key, 10)).expect("written");
        server.recv_lent(()).expect("started");
        if key < ready {
            let done = get(&port);
            assert_eq!(*done.handle.key(), key as u32);
            held.push(done.buffer);
        } else {
            until("it waits", || {
                assert!(port.get_timeout(Duration::ZERO).is_err(), "there was a buffer");
                port.snapshot().starved == key + 1 - ready
            });
        }
    }
    assert_eq!(port.snapshot().pool.lent, 16);
    for key in ready..6 {
        held.pop();
        let done = get(&port);
        assert_eq!((*done.handle.key(), &done.buffer[..]), (key as u32, &pattern(key, 10)[..]));
        held.insert(0, done.buffer);
    }
    drop(held);
    assert_nothing_left(&port);
    assert_eq!(port.snapshot().pool.lent, 0);
}

/// More at once than a driver keeps ready for the kernel (128), far fewer than there are: whoever counts a wait then sees a shortage
/// that is none.
fn receives_do_not_wait_while_there_are_buffers(driver: DriverKind) {
    let count = scaled("receives that come by a buffer at once", 300, 2);
    let port: Port = crate::util::open(driver);
    let mut connections: Vec<_> = (0..count as u32).map(|key| pair(&port, key)).collect();
    for (server, _) in &connections {
        server.recv_lent(()).expect("started");
    }
    for (key, (_, client)) in connections.iter_mut().enumerate() {
        client.write_all(&pattern(key, 10)).expect("written");
    }
    let packets = take(&port, count);
    for done in &packets {
        assert_eq!(done.buffer[..], pattern(*done.handle.key() as usize, 10));
    }
    let pool = port.snapshot().pool;
    assert_eq!((pool.lent, pool.peak, pool.waited), (count, count, 0));
    drop(packets);
    assert_nothing_left(&port);
    connections.into_iter().for_each(|(_, client)| reset(client));
}

fn a_receive_that_waits_can_be_cancelled(driver: DriverKind) {
    let port = open(driver, 1);
    let held = all_of_it(&port);
    let waiting = starve(&port, 0..3);
    assert_eq!(waiting[1].0.cancel_all(), 1);
    let done = get(&port);
    assert_eq!(
        (*done.handle.key(), situation(&done.result), done.buffer.is_lent()),
        (1, Some(Situation::Cancelled), false)
    );
    assert_eq!(port.snapshot().starved, 2);
    drop(held);
    for key in [0, 2] {
        assert_eq!(*get(&port).handle.key(), key);
    }
    // What the cancelled one did not take is still there.
    waiting[1].0.recv(Buffer::with_capacity(100), ()).expect("started");
    assert_same(&get(&port).buffer, &pattern(1, 10), "what had come");
    assert_nothing_left(&port);
}

fn closes_end_receives_that_wait(driver: DriverKind) {
    let port = open(driver, 1);
    let held = all_of_it(&port);
    let waiting = starve(&port, 0..3);
    waiting[1].0.close();
    let done = get(&port);
    assert_eq!((*done.handle.key(), situation(&done.result)), (1, Some(Situation::LocalClose)));
    let mut left = port.close();
    left.sort_by_key(|done| *done.handle.key());
    assert!(left.iter().map(|done| *done.handle.key()).eq([0, 2]));
    assert!(left.iter().all(|done| situation(&done.result) == Some(Situation::Cancelled)));
    assert_eq!((port.snapshot().starved, port.snapshot().leaked), (0, 0));
    drop(held);
}

/// It discards into a buffer of the pool, too. Without one it waits, but not for ever.
fn a_graceful_end_at_the_limit_keeps_its_deadline(driver: DriverKind) {
    let port = open(driver, 1);
    let _held = all_of_it(&port);
    let (server, mut client) = pair(&port, 0);
    client.write_all(b"unread").expect("written");
    server.end(Duration::from_millis(50), ()).expect("started");
    let done = get(&port);
    assert_eq!((done.kind(), situation(&done.result)), (OpKind::End, Some(Situation::TimedOut)));
    assert_nothing_left(&port);
}

/// The buffer comes back at any moment of the other thread's way to sleep.
fn a_buffer_that_comes_back_is_never_missed(driver: DriverKind) {
    const TIMES: usize = 500;
    let port = open(driver, 1);
    let key = port.key(99);
    let (server, mut client) = pair(&port, 1);
    let way = WayToSleep::default();
    let taken = AtomicUsize::new(0);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        s.spawn(|| {
            while let Ok(done) = way.get(&port) {
                if *done.handle.key() == 1 {
                    drop(done);
                    taken.fetch_add(1, Ordering::Release);
                }
            }
        });
        for time in 0..TIMES {
            let held = port.lend().expect("the one that there is");
            client.write_all(b"x").expect("written");
            server.recv_lent(()).expect("started");
            until("it waits", || port.snapshot().starved == 1);
            way.walk(time, || key.post(0, ()).expect("open"));
            drop(held);
            until("the receive has its buffer", || taken.load(Ordering::Acquire) > time);
            until("the buffer is back", || port.snapshot().pool.lent == 0);
        }
    });
}

/// Thousands of buffers are filled and held at once; when they are dropped, the process is about as small as before. In a process of
/// its own, whose memory nobody else uses.
fn memory_goes_back_after_a_burst(driver: DriverKind) {
    const MUCH: usize = 64 << 20;
    alone(|| {
        let port: Port = crate::util::open(driver);
        let (server, mut client) = pair(&port, 0);
        let burst = pattern(0, MUCH);
        let before = resident();
        let held = thread::scope(|s| {
            s.spawn(|| client.write_all(&burst).expect("written"));
            let (mut held, mut at) = (Vec::new(), 0);
            while at < MUCH {
                server.recv_lent(()).expect("started");
                let done = get(&port);
                assert_same(&done.buffer, &burst[at..at + done.buffer.len()], "what was received");
                at += done.buffer.len();
                held.push(done.buffer);
            }
            held
        });
        let buffers = held.len();
        let most = resident();
        assert!(
            most >= before + MUCH * 9 / 10,
            "{most} bytes with {buffers} buffers, {before} before"
        );
        assert_eq!(port.snapshot().pool.lent, buffers);
        drop(held);
        let after = resident();
        assert_eq!(port.snapshot().pool.lent, 0);
        // What stays is what the pool keeps warm (2 MiB), and the allocator.
        assert!(
            after < before + (6 << 20),
            "{after} bytes after the burst, {before} before, {most} in between"
        );
        // And it is as good as new.
        let waiting = take_one(&port, &server, &mut client);
        assert_eq!(waiting, b"again");
    });
}

fn take_one(port: &Port, server: &Handle<u32, ()>, client: &mut TcpStream) -> Vec<u8> {
    server.recv_lent(()).expect("started");
    client.write_all(b"again").expect("written");
    take(port, 1).remove(0).buffer.into()
}
