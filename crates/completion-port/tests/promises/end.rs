//! The graceful end: flush, discard, deadline, close. One packet comes for it.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use completion_port::{Buffer, DriverKind, Handle, OpKind, error::Situation};

use crate::util::{
    PATIENCE, WayToSleep, assert_nothing_left, assert_same, get, open, pair, pattern, reset,
    situation, take, until,
};

crate::on_each_driver!(
    flushes_and_discards,
    of_an_idle_connection,
    without_a_deadline_waits,
    cancels_receives_and_refuses_the_rest,
    of_a_peer_that_never_closes_has_a_deadline,
    of_a_peer_that_never_reads_has_a_deadline,
    of_a_peer_that_has_gone_already,
    of_a_peer_that_resets_says_so,
    keeps_many_deadlines_in_order,
    a_deadline_is_never_missed,
    survives_a_close_and_a_cancel,
);

/// What is queued leaves, what the peer has said is read and thrown away, and no reset destroys what is on its way to the peer.
fn flushes_and_discards(driver: DriverKind) {
    const OUT: usize = 5 << 20;
    const IN: usize = 3 << 20;
    let port = open::<(), &str>(driver);
    let (server, mut client) = pair(&port, ());
    let mut writer = client.try_clone().expect("a duplicate");
    thread::scope(|s| {
        s.spawn(move || {
            writer.write_all(&pattern(0, IN)).expect("written");
            writer.shutdown(Shutdown::Write).expect("shut down");
        });
        server.send(pattern(0, OUT / 2).into(), "send").expect("started");
        server.send_vectored(vec![pattern(OUT / 2, OUT / 2).into()], "send").expect("started");
        server.end(PATIENCE, "end").expect("started");
        let mut read = Vec::new();
        let reader = s.spawn(move || client.read_to_end(&mut read).map(|_| read));
        let mut done = take(&port, 3);
        done.sort_by_key(|done| done.kind());
        assert!(done[..2].iter().all(|done| done.context == "send"
            && done.result.as_ref().is_ok_and(|sent| *sent == OUT / 2)));
        let end = done.pop().expect("three");
        assert_eq!(
            (end.kind(), end.context, end.last(), end.buffer.len()),
            (OpKind::End, "end", true, 0)
        );
        assert_eq!(end.result.expect("the peer's end"), IN, "the bytes that were discarded");
        assert_same(
            &reader.join().expect("no panic").expect("no reset"),
            &pattern(0, OUT),
            "what the peer read",
        );
    });
    assert_nothing_left(&port);
    assert_eq!(port.snapshot().pool.lent, 0);
}

fn of_an_idle_connection(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    server.end(PATIENCE, ()).expect("started");
    assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0, "the peer is told at once");
    client.write_all(b"last words").expect("written");
    drop(client);
    assert_eq!(get(&port).result.expect("the peer's end"), 10);
    assert_nothing_left(&port);
    assert!(server.recv_lent(()).is_err(), "the handle is closed");
}

/// A deadline beyond the clock's range is none.
fn without_a_deadline_waits(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    server.end(Duration::MAX, ()).expect("started");
    assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
    assert!(port.get_timeout(Duration::from_millis(10)).is_err(), "it waits");
    drop(client);
    assert_eq!(get(&port).result.expect("the peer's end"), 0);
    assert_nothing_left(&port);
}

fn cancels_receives_and_refuses_the_rest(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, client) = pair(&port, ());
    server.recv(Buffer::with_capacity(8), 0).expect("started");
    server.recv_lent(1).expect("started");
    server.end(PATIENCE, 2).expect("started");
    let mut done = take(&port, 2);
    done.sort_by_key(|done| done.context);
    for (context, done) in done.into_iter().enumerate() {
        assert_eq!(
            (done.context, situation(&done.result)),
            (context as u32, Some(Situation::Cancelled))
        );
    }
    for error in [
        server.recv_lent(3).expect_err("it is ending").error,
        server.recv(Buffer::with_capacity(1), 3).expect_err("it is ending").error,
        server.send(vec![1].into(), 3).expect_err("it is ending").error,
        server.end(PATIENCE, 3).expect_err("it is ending").error,
    ] {
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    }
    drop(client);
    assert_eq!(get(&port).context, 2);
    assert_nothing_left(&port);
}

/// One that goes on sending, one that says nothing: the error is `TimedOut`, not before its time, and the handle is closed.
fn of_a_peer_that_never_closes_has_a_deadline(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    for says in [&b""[..], b"something"] {
        let (server, mut client) = pair(&port, ());
        client.write_all(says).expect("written");
        let (before, time) = (Instant::now(), Duration::from_millis(60));
        server.end(time, ()).expect("started");
        let done = get(&port);
        assert!(before.elapsed() >= time);
        assert_eq!(
            (done.kind(), situation(&done.result)),
            (OpKind::End, Some(Situation::TimedOut))
        );
        assert_eq!(
            done.result.expect_err("late").raw_os_error(),
            Some(crate::util::codes::ETIMEDOUT)
        );
        assert_nothing_left(&port);
        drop((server, done.handle));
        assert_eq!(client.read(&mut [0]).expect("the end was told before the deadline"), 0);
        until("the peer is cut off", || client.write_all(b"anybody?").is_err());
    }
    assert_eq!(port.snapshot().handles, 0);
}

/// What cannot be flushed is given up with the deadline: the sends say so, and what they own comes back.
fn of_a_peer_that_never_reads_has_a_deadline(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, _client) = pair(&port, ());
    server.send(pattern(0, 16 << 20).into(), 0).expect("started");
    server.send(pattern(0, 10).into(), 1).expect("started");
    server.end(Duration::from_millis(60), 2).expect("started");
    let mut done = take(&port, 3);
    done.sort_by_key(|done| done.context);
    assert_eq!(situation(&done[2].result), Some(Situation::TimedOut));
    for (done, len) in done[..2].iter().zip([16 << 20, 10]) {
        assert_eq!(
            (situation(&done.result), done.buffer.len()),
            (Some(Situation::LocalClose), len)
        );
    }
    assert_nothing_left(&port);
}

fn of_a_peer_that_has_gone_already(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    client.write_all(b"bye").expect("written");
    drop(client);
    // It is known here before the end is started: a receive has seen it.
    for expected in [3, 0] {
        server.recv_lent(()).expect("started");
        assert_eq!(get(&port).result.expect("an orderly end"), expected);
    }
    server.end(PATIENCE, ()).expect("started");
    assert_eq!(get(&port).result.expect("both ends are through"), 0);
    assert_nothing_left(&port);
}

fn of_a_peer_that_resets_says_so(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, client) = pair(&port, ());
    server.end(PATIENCE, 0).expect("started");
    reset(client);
    let done = get(&port);
    assert_eq!(situation(&done.result), Some(Situation::PeerReset), "{:?}", done.result);
    assert!(server.recv_lent(1).is_err(), "the handle is closed");

    // While there is something to flush.
    let (server, client) = pair(&port, ());
    server.send(pattern(0, 16 << 20).into(), 1).expect("started");
    server.end(PATIENCE, 2).expect("started");
    reset(client);
    for done in take(&port, 2) {
        let outcome = situation(&done.result);
        // The end closes the handle as soon as it hears of it, and that may be before the send does.
        let closed = done.context == 1 && outcome == Some(Situation::LocalClose);
        assert!(
            closed || outcome == Some(Situation::PeerReset),
            "{:?}: {:?}",
            done.kind(),
            done.result
        );
    }
    assert_nothing_left(&port);
}

fn keeps_many_deadlines_in_order(driver: DriverKind) {
    let port = open::<u64, ()>(driver);
    let times = [90, 30, 60, 0, 120];
    let begun = Instant::now();
    let connections: Vec<_> = times.into_iter().map(|time| (time, pair(&port, time))).collect();
    for (time, (server, _)) in &connections {
        server.end(Duration::from_millis(*time), ()).expect("started");
    }
    for expected in [0, 30, 60, 90, 120] {
        let done = get(&port);
        assert_eq!(
            (*done.handle.key(), situation(&done.result)),
            (expected, Some(Situation::TimedOut))
        );
        assert!(begun.elapsed() >= Duration::from_millis(expected));
    }
    assert_nothing_left(&port);
}

/// The deadline is set at any moment of the other thread's way to sleep.
fn a_deadline_is_never_missed(driver: DriverKind) {
    const TIMES: usize = 150;
    let port = open::<u32, ()>(driver);
    let key = port.key(99);
    let way = WayToSleep::default();
    let ended = AtomicUsize::new(0);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        s.spawn(|| {
            while let Ok(done) = way.get(&port) {
                if done.kind() == OpKind::End {
                    ended.fetch_add(1, Ordering::Release);
                }
            }
        });
        for time in 0..TIMES {
            let (server, client): (Handle<u32, ()>, TcpStream) = pair(&port, 1);
            way.walk(time, || key.post(0, ()).expect("open"));
            server.end(Duration::from_micros(500), ()).expect("started");
            until("the deadline is kept", || ended.load(Ordering::Acquire) > time);
            // Hundreds of orderly ends would leave hundreds of ports in TIME_WAIT.
            reset(client);
        }
    });
}

fn survives_a_close_and_a_cancel(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    for close in [true, false] {
        let (server, _client) = pair(&port, ());
        let id = server.end(PATIENCE, ()).expect("started");
        if close {
            server.close();
        } else {
            assert!(server.cancel(id));
        }
        let done = get(&port);
        let expected = if close { Situation::LocalClose } else { Situation::Cancelled };
        assert_eq!((situation(&done.result), done.last()), (Some(expected), true));
        assert!(server.recv_lent(()).is_err(), "the handle is closed");
        assert_nothing_left(&port);
    }
}
