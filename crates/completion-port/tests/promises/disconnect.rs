//! The end of sending as an operation, and sockets that are used again: S153 to S155.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use completion_port::{
    Buffer, CompletionPort, DriverKind, Handle, OpKind, TcpSocket, error::Situation,
};

use crate::util::{
    PATIENCE, assert_nothing_left, assert_same, get, open, pair, patient, pattern, reset,
    situation, take,
};

crate::on_each_driver!(
    comes_behind_what_was_started,
    leaves_receiving_alone,
    of_a_socket_that_is_not_connected_fails,
    that_is_cancelled_ends_nothing,
    is_followed_by_a_graceful_end,
    leaves_a_socket_that_connects_again,
    of_an_accepted_socket_leaves_one_that_connects,
    waits_for_the_peer_before_a_socket_is_used_again,
    closes_the_handle_when_it_fails,
    and_again_and_again,
);

/// S153: all of it leaves, then the peer is told; later sends are refused.
fn comes_behind_what_was_started(driver: DriverKind) {
    const LEN: usize = 8 << 20;
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    server.send(pattern(0, LEN).into(), 0).expect("started");
    server.disconnect(1).expect("started");
    let refused = server.send(vec![1].into(), 2).expect_err("S153: it is ending");
    assert_eq!(refused.context, 2);
    assert!(server.disconnect(3).is_err(), "once");
    let mut read = Vec::new();
    let done = thread::scope(|s| {
        s.spawn(|| client.read_to_end(&mut read).expect("an orderly end"));
        take(&port, 2)
    });
    assert_same(&read, &pattern(0, LEN), "what the peer reads");
    assert_eq!((done[1].context, done[1].kind()), (1, OpKind::Disconnect));
    assert_eq!(done[1].result.as_ref().expect("disconnected"), &0);
    assert_nothing_left(&port);
}

/// S153; also one that was started before.
fn leaves_receiving_alone(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    server.recv(Buffer::with_capacity(8), 0).expect("started");
    server.disconnect(1).expect("started");
    let done = get(&port);
    assert_eq!((done.context, done.result.expect("disconnected")), (1, 0));
    assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
    client.write_all(b"still").expect("written");
    assert_eq!(&get(&port).buffer[..], b"still");
    server.recv_lent(2).expect("started");
    drop(client);
    assert_eq!(get(&port).result.expect("the peer's end"), 0);
    assert_nothing_left(&port);
}

/// S154; and the socket is none the worse for it.
fn of_a_socket_that_is_not_connected_fails(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let handle =
        port.associate(TcpSocket::new(&address).expect("a socket"), ()).expect("associated");
    for time in 0..2 {
        handle.disconnect(time).expect("started");
        let error = get(&port).result.expect_err("S154");
        assert_eq!(error.raw_os_error(), Some(crate::util::codes::ENOTCONN));
    }
    handle.connect(address, 2).expect("started");
    get(&port).result.expect("connected");
    handle.send(vec![7].into(), 3).expect("started");
    get(&port).result.expect("sent");
    let mut server = patient(listener.accept().expect("accepted").0);
    server.read_exact(&mut [0]).expect("read");
    let listener = port.associate(listener, ()).expect("associated");
    assert!(listener.disconnect(4).is_err() && port.key(()).disconnect(5).is_err());
    assert_nothing_left(&port);
}

/// Behind a send that does not get on.
fn that_is_cancelled_ends_nothing(driver: DriverKind) {
    const LEN: usize = 32 << 20;
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    server.send(pattern(0, LEN).into(), 0).expect("started");
    let id = server.disconnect(1).expect("started");
    assert!(server.cancel(id));
    let done = get(&port);
    assert_eq!((done.context, situation(&done.result)), (1, Some(Situation::Cancelled)));
    server.send(pattern(LEN, 10).into(), 2).expect("it may be sent on");
    let all = pattern(0, LEN + 10);
    let done = crate::util::while_read(&mut client, &all, || take(&port, 2));
    assert!(done.iter().map(|done| done.context).eq([0, 2]));
    assert_nothing_left(&port);
}

fn is_followed_by_a_graceful_end(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    server.disconnect(0).expect("started");
    get(&port).result.expect("disconnected");
    server.end(PATIENCE, 1).expect("started");
    client.write_all(b"unread").expect("written");
    assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
    drop(client);
    assert_eq!(get(&port).result.expect("ended"), 6);
    assert!(server.recv_lent(2).is_err(), "it is closed");
    assert_nothing_left(&port);
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// Both directions of a connection work.
fn assert_works(
    port: &CompletionPort<(), u32>,
    handle: &Handle<(), u32>,
    peer: &mut TcpStream,
    seed: usize,
) {
    let expected = pattern(seed, 2 << 20);
    handle.recv(Buffer::with_capacity(64), 100).expect("started");
    handle.send(expected[..].into(), 101).expect("started");
    peer.write_all(&pattern(seed, 40)).expect("written");
    let mut done = crate::util::while_read(peer, &expected, || take(port, 2));
    done.sort_by_key(|done| done.context);
    assert_same(&done[0].buffer, &pattern(seed, 40), "what is received");
    assert_eq!(done[1].result.as_ref().expect("sent"), &(2 << 20));
}

/// S155: with a receive pending and a send under way; and the peer has all of it.
fn leaves_a_socket_that_connects_again(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (listener, address) = listen();
    let handle =
        port.associate(TcpSocket::new(&address).expect("a socket"), ()).expect("associated");
    for time in 0..5 {
        handle.connect(address, 0).expect("started");
        get(&port).result.expect("connected");
        let mut peer = patient(listener.accept().expect("accepted").0);
        assert_works(&port, &handle, &mut peer, time * 100);
        handle.recv(Buffer::with_capacity(9), 1).expect("started");
        handle.send(pattern(time, 4 << 20).into(), 2).expect("started");
        handle.disconnect_reuse(PATIENCE, 3).expect("started");
        assert!(handle.send(vec![1].into(), 9).is_err() && handle.connect(address, 9).is_err());
        peer.write_all(b"unread").expect("written");
        let mut done = thread::scope(|s| {
            s.spawn(move || {
                let mut read = Vec::new();
                peer.read_to_end(&mut read).expect("an orderly end");
                assert_same(&read, &pattern(time, 4 << 20), "what the peer reads");
            });
            take(&port, 3)
        });
        done.sort_by_key(|done| done.context);
        // The receive has the bytes, if they came before it was cancelled.
        let had = done[0].buffer.len();
        assert_eq!((done[2].context, done[2].kind()), (3, OpKind::End));
        assert_eq!(done[2].result.as_ref().expect("it can be used again") + had, 6);
        assert!(handle.peer_addr().is_err(), "it is not connected");
    }
    assert_nothing_left(&port);
}

fn of_an_accepted_socket_leaves_one_that_connects(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, client) = pair(&port, ());
    server.disconnect_reuse(PATIENCE, 0).expect("started");
    drop(client);
    assert_eq!(get(&port).result.expect("it can be used again"), 0);
    let (listener, address) = listen();
    server.connect_with(address, b"again".to_vec().into(), 1).expect("started");
    assert_eq!(get(&port).result.expect("connected and sent"), 5);
    let mut peer = patient(listener.accept().expect("accepted").0);
    peer.read_exact(&mut [0; 5]).expect("read");
    assert_works(&port, &server, &mut peer, 5);
    assert_nothing_left(&port);
}

/// Before that, it would reset the connection and destroy what the peer has not read.
fn waits_for_the_peer_before_a_socket_is_used_again(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    server.send(pattern(0, 1000).into(), 0).expect("started");
    get(&port).result.expect("sent");
    server.disconnect_reuse(PATIENCE, 1).expect("started");
    assert!(port.get_timeout(Duration::from_millis(30)).is_err(), "the peer has not ended");
    let mut read = Vec::new();
    client.read_to_end(&mut read).expect("an orderly end");
    assert_same(&read, &pattern(0, 1000), "what the peer reads");
    drop(client);
    get(&port).result.expect("it can be used again");
    assert_nothing_left(&port);
}

fn closes_the_handle_when_it_fails(driver: DriverKind) {
    for how in 0..3 {
        let port = open::<(), u32>(driver);
        let (server, client) = pair(&port, ());
        let deadline = if how == 0 { Duration::from_millis(10) } else { PATIENCE };
        let id = server.disconnect_reuse(deadline, 1).expect("started");
        let (client, expected) = match how {
            0 => (Some(client), Situation::TimedOut),
            1 => {
                reset(client);
                (None, Situation::PeerReset)
            }
            _ => {
                assert!(server.cancel(id));
                (Some(client), Situation::Cancelled)
            }
        };
        let told = situation(&get(&port).result).expect("an error");
        // What is cancelled because of a cancel says that the handle was closed, or so.
        assert!(told == expected || how == 2, "{told:?}");
        assert!(server.connect("127.0.0.1:1".parse().expect("an address"), 2).is_err());
        drop(client);
        assert_nothing_left(&port);
    }
}

/// No state of an earlier connection is left: an end, a reset, a shutdown of an earlier one are forgotten.
fn and_again_and_again(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (listener, address) = listen();
    let handle =
        port.associate(TcpSocket::new(&address).expect("a socket"), ()).expect("associated");
    for time in 0..50 {
        handle.connect(address, 0).expect("started");
        get(&port).result.expect("connected");
        let peer = patient(listener.accept().expect("accepted").0);
        match time % 3 {
            0 => handle.shutdown(std::net::Shutdown::Write).expect("connected"),
            1 => {
                handle.disconnect(1).expect("started");
                get(&port).result.expect("disconnected");
            }
            _ => {}
        }
        handle.disconnect_reuse(PATIENCE, 2).expect("started");
        drop(peer);
        get(&port).result.expect("it can be used again");
    }
    assert_nothing_left(&port);
}
