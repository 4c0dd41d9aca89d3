//! What a stream does: S102, S103, S110 to S114, S123, S126. A reset is never read as the end of a stream.

use std::{
    io::{Read, Write},
    net::Shutdown,
    time::Duration,
};

use completion_port::{Buffer, DriverKind, GetError, OpKind, error::Situation};

use crate::util::{
    assert_nothing_left, assert_same, get, open, pair, pattern, reset, situation, take, while_read,
};

crate::on_each_driver!(
    a_receive_completes_with_what_is_there,
    a_receive_appends_to_what_is_in_its_buffer,
    a_lent_receive_takes_any_amount,
    the_end_is_no_error_and_stays,
    a_connection_can_be_closed_by_halves,
    a_reset_fails_a_pending_receive,
    a_reset_fails_every_pending_receive,
    a_reset_fails_both_directions,
    a_reset_is_still_one_for_later_receives,
    data_before_a_reset_is_no_end,
    reading_can_be_shut_down,
    socket_timeouts_do_not_apply,
);

/// S110: it does not wait to fill its buffer.
fn a_receive_completes_with_what_is_there(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    for len in [1, 10, 1000] {
        server.recv(Buffer::with_capacity(4096), ()).expect("started");
        client.write_all(&pattern(0, len)).expect("written");
        let done = get(&port);
        assert_eq!((done.result.expect("received"), &done.buffer[..]), (len, &pattern(0, len)[..]));
    }
    // More than its room: the rest is for the next.
    client.write_all(b"abcdef").expect("written");
    for expected in [&b"abcd"[..], b"ef"] {
        let mut room = Vec::with_capacity(4);
        room.shrink_to(4);
        server.recv(room.into(), ()).expect("started");
        assert_eq!(&get(&port).buffer[..], expected);
    }
    assert_nothing_left(&port);
}

fn a_receive_appends_to_what_is_in_its_buffer(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    let mut bytes = Vec::with_capacity(100);
    bytes.extend(b"hello");
    let place = bytes.as_ptr();
    server.recv(bytes.into(), ()).expect("started");
    client.write_all(b", port").expect("written");
    let done = get(&port);
    assert_eq!(
        (done.result.expect("received"), &done.buffer[..], done.buffer.as_ptr()),
        (6, &b"hello, port"[..], place)
    );
    // A lent buffer can be received into as any other.
    let mut lent = port.lend().expect("a buffer");
    lent.extend_from_slice(b"lent: ");
    server.recv(lent, ()).expect("started");
    client.write_all(b"bytes").expect("written");
    let done = get(&port);
    assert_eq!(
        (done.kind(), &done.buffer[..], done.buffer.is_lent()),
        (OpKind::Recv, &b"lent: bytes"[..], true)
    );
}

/// S123, with the read behind it: nothing is pinned before data comes, and all of it arrives.
fn a_lent_receive_takes_any_amount(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    let all = pattern(0, 100_000);
    let mut got = Vec::new();
    let mut written = 0;
    while got.len() < all.len() {
        server.recv_lent(()).expect("started");
        if written < all.len() {
            let next = (written + 25_000).min(all.len());
            client.write_all(&all[written..next]).expect("written");
            written = next;
        }
        let done = get(&port);
        assert_eq!(
            (*done.result.as_ref().expect("received"), done.buffer.is_lent()),
            (done.buffer.len(), true)
        );
        got.extend_from_slice(&done.buffer);
    }
    assert_same(&got, &all, "what was received");
}

/// S111: `Ok(0)`, for as many receives as there are, and the buffer comes back.
fn the_end_is_no_error_and_stays(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, client) = pair(&port, ());
    server.recv(Buffer::with_capacity(9), ()).expect("started");
    server.recv_lent(()).expect("started");
    drop(client);
    server.recv(Buffer::with_capacity(9), ()).expect("started");
    for done in take(&port, 3) {
        assert_eq!(done.buffer.capacity() >= 9, done.sequence() != 1, "{:?}", done.buffer);
        assert_eq!((done.result.expect("an orderly end"), done.buffer.len()), (0, 0));
    }
    server.recv_lent(()).expect("started");
    assert_eq!(get(&port).result.expect("still"), 0);
    assert_nothing_left(&port);
}

/// The peer has sent all it has to send; what it asked for is sent all the same.
fn a_connection_can_be_closed_by_halves(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    client.write_all(b"request").expect("written");
    client.shutdown(Shutdown::Write).expect("shut down");
    for expected in [&b"request"[..], b""] {
        server.recv(Buffer::with_capacity(64), ()).expect("started");
        assert_eq!(&get(&port).buffer[..], expected);
    }
    server.send(pattern(0, 1 << 20).into(), ()).expect("started");
    drop(server);
    let mut answer = Vec::new();
    std::thread::scope(|s| {
        s.spawn(|| client.read_to_end(&mut answer).expect("an orderly end"));
        assert_eq!(get(&port).result.expect("sent"), 1 << 20);
    });
    assert_same(&answer, &pattern(0, 1 << 20), "the answer");
    assert_nothing_left(&port);
}

/// S103.
fn a_reset_fails_a_pending_receive(driver: DriverKind) {
    let port = open::<&str, ()>(driver);
    for lent in [false, true] {
        let (server, client) = pair(&port, "key");
        match lent {
            true => server.recv_lent(()).expect("started"),
            false => server.recv(Buffer::with_capacity(8), ()).expect("started"),
        };
        reset(client);
        let done = get(&port);
        assert_eq!(
            (situation(&done.result), done.buffer.len(), *done.handle.key()),
            (Some(Situation::PeerReset), 0, "key")
        );
        assert_eq!(
            done.result.expect_err("reset").raw_os_error(),
            Some(crate::util::codes::ECONNRESET)
        );
        assert_nothing_left(&port);
    }
}

/// The system says it once. The port says it to all that were waiting.
fn a_reset_fails_every_pending_receive(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, client) = pair(&port, ());
    server.recv(Buffer::with_capacity(8), ()).expect("started");
    server.recv_lent(()).expect("started");
    server.recv(Buffer::with_capacity(8), ()).expect("started");
    reset(client);
    for done in take(&port, 3) {
        assert_eq!(
            situation(&done.result),
            Some(Situation::PeerReset),
            "receive {}: {:?}",
            done.sequence(),
            done.result
        );
    }
    assert_nothing_left(&port);
}

/// A send and a receive, both under way when it comes: whoever hears of it first, neither takes it for the end of the stream.
fn a_reset_fails_both_directions(driver: DriverKind) {
    for _ in 0..20 {
        let port = open::<(), ()>(driver);
        let (server, client) = pair(&port, ());
        server.send(pattern(0, 8 << 20).into(), ()).expect("started");
        server.recv_lent(()).expect("started");
        reset(client);
        for done in take(&port, 2) {
            assert_eq!(
                situation(&done.result),
                Some(Situation::PeerReset),
                "{:?}: {:?}",
                done.kind(),
                done.result
            );
        }
        assert_nothing_left(&port);
    }
}

/// S112.
fn a_reset_is_still_one_for_later_receives(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, client) = pair(&port, ());
    server.recv_lent(()).expect("started");
    reset(client);
    assert_eq!(situation(&get(&port).result), Some(Situation::PeerReset));
    server.recv_lent(()).expect("started");
    let done = get(&port);
    assert_eq!(situation(&done.result), Some(Situation::PeerReset), "{:?}", done.result);
    server.send(vec![1].into(), ()).expect("started");
    assert_eq!(situation(&get(&port).result), Some(Situation::PeerReset));
    assert_nothing_left(&port);
}

/// What had come before may be read or be lost with the reset; the stream has not ended.
fn data_before_a_reset_is_no_end(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    client.write_all(&pattern(0, 100)).expect("written");
    reset(client);
    loop {
        server.recv(Buffer::with_capacity(64), ()).expect("started");
        let done = get(&port);
        match done.result {
            Ok(0) => panic!("a reset was read as the end of the stream"),
            Ok(len) => assert_same(
                &done.buffer,
                &pattern(if len == 64 { 0 } else { 64 }, len),
                "what had come",
            ),
            Err(_) => {
                assert_eq!(situation(&done.result), Some(Situation::PeerReset));
                break;
            }
        }
    }
}

/// S114, as Linux has it: what is pending then reads the end.
fn reading_can_be_shut_down(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    server.recv_lent(()).expect("started");
    server.shutdown(Shutdown::Read).expect("shut down");
    assert_eq!(get(&port).result.expect("an end"), 0);
    server.send(Buffer::from(&b"still"[..]), ()).expect("started");
    get(&port).result.expect("sent");
    client.read_exact(&mut [0; 5]).expect("the other half is open");
    assert_nothing_left(&port);
}

/// S126: `SO_RCVTIMEO` is for calls that block. Shown by a window many times as long as the timeout.
fn socket_timeouts_do_not_apply(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = crate::util::connection();
    server.set_read_timeout(Some(Duration::from_millis(1))).expect("an option");
    server.set_write_timeout(Some(Duration::from_millis(1))).expect("an option");
    let server = port.associate(server, ()).expect("associated");
    server.recv(Buffer::with_capacity(8), ()).expect("started");
    server.send(pattern(0, 8 << 20).into(), ()).expect("started");
    assert!(
        matches!(port.get_timeout(Duration::from_millis(50)), Err(GetError::TimedOut)),
        "neither times out"
    );
    client.write_all(b"x").expect("written");
    assert_eq!(&get(&port).buffer[..], b"x");
    let sent = while_read(&mut client, &pattern(0, 8 << 20), || get(&port));
    assert_eq!(sent.result.expect("whole"), 8 << 20);
}
