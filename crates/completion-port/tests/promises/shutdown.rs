//! `shutdown`: writing ends behind the sends that were started before it.

use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    thread,
};

use completion_port::{Buffer, DriverKind, TcpSocket};

use crate::util::{assert_nothing_left, assert_same, get, open, pair, pattern, take};

crate::on_each_driver!(
    of_writing_comes_behind_queued_sends,
    of_writing_with_nothing_queued_is_seen_at_once,
    leaves_receiving_open,
    of_an_unconnected_socket_fails,
    comes_when_the_sends_before_it_are_cancelled,
);

/// S63: and no packet comes for it.
fn of_writing_comes_behind_queued_sends(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (server, mut client) = pair(&port, ());
    let lengths = [4 << 20, 1, 70_000, 2 << 20, 3];
    let mut at = 0;
    for (number, len) in lengths.into_iter().enumerate() {
        server.send(pattern(at, len).into(), number).expect("started");
        at += len;
    }
    server.shutdown(Shutdown::Write).expect("behind them");
    server.shutdown(Shutdown::Write).expect("once more is no harm");
    let refused = server.send(vec![1].into(), 9).expect_err("sending has ended");
    assert_eq!((refused.error.kind(), refused.context), (ErrorKind::NotConnected, 9));
    let mut read = Vec::new();
    thread::scope(|s| {
        s.spawn(|| client.read_to_end(&mut read).expect("an orderly end"));
        for (number, len) in lengths.into_iter().enumerate() {
            let done = get(&port);
            assert_eq!((done.context, done.result.expect("whole")), (number, len));
        }
    });
    assert_same(&read, &pattern(0, at), "what the peer read");
    assert_nothing_left(&port);
}

fn of_writing_with_nothing_queued_is_seen_at_once(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    server.shutdown(Shutdown::Write).expect("shut down");
    assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
    assert_nothing_left(&port);
}

fn leaves_receiving_open(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    server.recv(Buffer::with_capacity(8), ()).expect("started");
    server.shutdown(Shutdown::Write).expect("shut down");
    client.write_all(b"answer").expect("written");
    assert_eq!(&get(&port).buffer[..], b"answer");
    server.recv_lent(()).expect("started");
    server.shutdown(Shutdown::Both).expect("shut down");
    assert_eq!(get(&port).result.expect("an end"), 0);
    assert_nothing_left(&port);
}

fn of_an_unconnected_socket_fails(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let like = "127.0.0.1:0".parse().expect("an address");
    let unconnected =
        port.associate(TcpSocket::new(&like).expect("a socket"), ()).expect("associated");
    assert_eq!(
        unconnected.shutdown(Shutdown::Write).expect_err("no connection").kind(),
        ErrorKind::NotConnected
    );
}

/// What was queued does not leave; the end does.
fn comes_when_the_sends_before_it_are_cancelled(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    server.send(pattern(0, 16 << 20).into(), ()).expect("started");
    server.send(pattern(0, 10).into(), ()).expect("started");
    server.shutdown(Shutdown::Write).expect("behind them");
    assert_eq!(server.cancel_all(), 2);
    assert!(take(&port, 2).iter().all(|done| done.result.is_err()));
    let mut read = Vec::new();
    client.read_to_end(&mut read).expect("an orderly end");
    assert!(
        read.len() < 16 << 20 && read == pattern(0, read.len()),
        "{} bytes had left",
        read.len()
    );
}
