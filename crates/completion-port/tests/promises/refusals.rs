//! Promises 2 and 10: what is refused at the start is the same on every driver, and everything comes back.

use std::{
    io,
    net::{Shutdown, TcpListener},
    time::Duration,
};

use completion_port::{Buffer, CompletionPort, DriverKind, Handle, Refused, TcpSocket};

use crate::util::{assert_nothing_left, drivers, open, pair, pattern};

crate::on_each_driver!(
    a_refusal_brings_no_packet,
    too_many_queued_is_refused_and_gives_the_buffer_back
);

type TestHandle = Handle<(), u32>;

/// What a start came to: accepted, or refused with this kind. The context always comes back.
fn outcome<X, B>(result: Result<X, Refused<u32, B>>) -> Result<(), io::ErrorKind> {
    result.map(drop).map_err(|refused| {
        assert_eq!(refused.context, 42, "the context comes back");
        refused.error.kind()
    })
}

/// Every start on one handle, with nothing wrong but perhaps the handle.
fn every_start(handle: &TestHandle) -> Vec<(&'static str, Result<(), io::ErrorKind>)> {
    let sent = || Buffer::from(pattern(0, 10));
    let checked = |refused: Refused<u32, Buffer>| {
        assert_eq!(refused.buffer[..], pattern(0, 10), "the buffer comes back as it was");
        refused
    };
    let mut room = sent();
    room.extend_from_slice(&[]);
    let mut received = Vec::with_capacity(20);
    received.extend(pattern(0, 10));
    let address = "127.0.0.1:9".parse().expect("an address");
    vec![
        ("recv", outcome(handle.recv(received.into(), 42).map_err(checked))),
        ("recv_lent", outcome(handle.recv_lent(42))),
        ("send", outcome(handle.send(room, 42).map_err(checked))),
        (
            "send_vectored",
            outcome(handle.send_vectored(vec![sent(), sent()], 42).inspect_err(|refused| {
                assert!(
                    refused.buffer.iter().all(|buffer| buffer[..] == pattern(0, 10))
                        && refused.buffer.len() == 2
                );
            })),
        ),
        ("accept", outcome(handle.accept(42))),
        (
            "accept_each",
            handle.accept_each(|| 42).map(drop).map_err(|refused| refused.error.kind()),
        ),
        ("connect", outcome(handle.connect(address, 42))),
        ("end", outcome(handle.end(Duration::from_secs(1), 42))),
        ("shutdown", handle.shutdown(Shutdown::Write).map_err(|e| e.kind())),
        ("post", outcome(handle.post(0, 42))),
    ]
}

/// All that a driver refuses, by name.
fn table(driver: DriverKind) -> Vec<(String, Result<(), io::ErrorKind>)> {
    let mut table = Vec::new();
    let mut add = |what: &str, rows: Vec<(&'static str, _)>| {
        table.extend(
            rows.into_iter().map(|(start, outcome)| (format!("{start} on {what}"), outcome)),
        );
    };
    let port = open::<(), u32>(driver);
    let (stream, _client) = pair(&port, ());
    let listener = port
        .associate(TcpListener::bind("127.0.0.1:0").expect("a free port"), ())
        .expect("associated");
    let unconnected =
        TcpSocket::new(&"127.0.0.1:0".parse().expect("an address")).expect("a socket");
    let unconnected = port.associate(unconnected, ()).expect("associated");
    let key = port.key(());

    add("a listener", every_start(&listener));
    add("a key", every_start(&key));
    add(
        "a stream",
        vec![
            ("recv into a full buffer", outcome(stream.recv(Buffer::from(vec![1]), 42))),
            ("recv into no buffer", outcome(stream.recv(Buffer::new(), 42))),
            (
                "recv into a shared buffer",
                outcome(stream.recv(Buffer::from(std::sync::Arc::<[u8]>::from([1])), 42)),
            ),
            ("send of nothing", outcome(stream.send(Buffer::with_capacity(9), 42))),
            ("send of no buffers", outcome(stream.send_vectored(Vec::new(), 42))), // S122
            (
                "send of empty buffers",
                outcome(stream.send_vectored(vec![Buffer::new(), Buffer::new()], 42)),
            ),
            ("accept", outcome(stream.accept(42))),
            (
                "accept_each",
                stream.accept_each(|| 42).map(drop).map_err(|refused| refused.error.kind()),
            ),
        ],
    );
    stream.end(Duration::from_secs(30), 1).expect("started");
    add("a stream that is being ended", every_start(&stream));
    stream.close();
    unconnected.close();
    listener.close();
    add("a closed stream", every_start(&stream));
    add("a closed unconnected socket", every_start(&unconnected));
    add("a closed listener", every_start(&listener));
    let (stream, _client) = pair(&port, ());
    let listener = port
        .associate(TcpListener::bind("127.0.0.1:0").expect("a free port"), ())
        .expect("associated");
    port.close();
    add("a stream of a closed port", every_start(&stream));
    add("a listener of a closed port", every_start(&listener));
    add("a key of a closed port", every_start(&key));
    table
}

/// The whole table, on each driver, against the first.
#[test]
fn are_the_same_on_every_driver() {
    let mut tables = drivers::available().into_iter().map(|driver| (driver, table(driver)));
    let (first, expected) = tables.next().expect("there is a driver");
    let outcome = |what: &str| {
        expected.iter().find(|row| row.0 == what).unwrap_or_else(|| panic!("no row {what}")).1
    };
    assert_eq!(outcome("send on a listener"), Err(io::ErrorKind::InvalidInput));
    assert_eq!(outcome("send of nothing on a stream"), Err(io::ErrorKind::InvalidInput));
    assert_eq!(outcome("recv into a full buffer on a stream"), Err(io::ErrorKind::InvalidInput));
    assert_eq!(outcome("recv on a stream that is being ended"), Err(io::ErrorKind::NotConnected));
    assert_eq!(outcome("recv on a closed stream"), Err(io::ErrorKind::NotConnected));
    assert_eq!(outcome("recv on a stream of a closed port"), Err(io::ErrorKind::NotConnected));
    assert_eq!(outcome("post on a key"), Ok(()));
    assert_eq!(outcome("post on a key of a closed port"), Err(io::ErrorKind::NotConnected));
    // A packet that is posted under a closed handle's key is no I/O.
    assert_eq!(outcome("post on a closed stream"), Ok(()));
    for (driver, table) in tables {
        for (row, expected) in table.iter().zip(&expected) {
            assert_eq!(row, expected, "{driver} and {first} do not agree");
        }
    }
}

fn a_refusal_brings_no_packet(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let key = port.key(());
    let refused = every_start(&key).into_iter().filter(|(_, outcome)| outcome.is_err()).count();
    assert_eq!(refused, 9, "all but the post");
    port.get_timeout(Duration::ZERO).expect("the post");
    assert_nothing_left(&port);
}

/// S183: what waits its turn on a handle is bounded; beyond that it is `WouldBlock`, with the buffer, and later it goes again.
fn too_many_queued_is_refused_and_gives_the_buffer_back(driver: DriverKind) {
    let port: CompletionPort<(), u32> = CompletionPort::builder()
        .driver(driver)
        .queue_limit(4)
        .build()
        .expect("a probed driver can be had");
    let (server, mut client) = pair(&port, ());
    // One is with the driver, four wait.
    for context in 0..5 {
        server.recv(Buffer::with_capacity(1), context).expect("started");
    }
    let mut buffer = Vec::with_capacity(100);
    buffer.extend(pattern(0, 50));
    let place = buffer.as_ptr();
    let refused = server.recv(buffer.into(), 5).expect_err("too many");
    assert_eq!((refused.error.kind(), refused.context), (io::ErrorKind::WouldBlock, 5));
    assert_eq!(
        (refused.buffer.as_ptr(), &refused.buffer[..]),
        (place, &pattern(0, 50)[..]),
        "the very buffer"
    );
    assert_eq!(server.recv_lent(6).expect_err("too many").error.kind(), io::ErrorKind::WouldBlock);
    // The other direction has a queue of its own.
    server.send(Buffer::from(vec![1]), 7).expect("started");
    assert_eq!(crate::util::get(&port).context, 7);

    io::Write::write_all(&mut client, &[1]).expect("written");
    assert_eq!(crate::util::get(&port).context, 0);
    server.recv(refused.buffer, 5).expect("there is room again");
    assert_eq!(server.cancel_all(), 5);
    assert_eq!(crate::util::take(&port, 5).len(), 5);
    assert_nothing_left(&port);
}
