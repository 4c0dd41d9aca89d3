//! Connects: S148 to S151.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
};

use completion_port::{
    Buffer, CompletionPort, DriverKind, Handle, OpKind, TcpSocket, error::Situation,
};

use crate::util::{
    assert_nothing_left, assert_same, busy::busy_listener, get, open, patient, pattern, situation,
    take,
};

crate::on_each_driver!(
    bring_a_connection,
    from_a_bound_address,
    say_that_nobody_listens,
    can_be_tried_again_after_a_refusal,
    of_a_connected_socket_fail,
    are_followed_by_sends_that_were_started_meanwhile,
    that_fail_fail_the_sends_behind_them,
);

fn socket(port: &CompletionPort<(), u32>, like: &SocketAddr) -> Handle<(), u32> {
    port.associate(TcpSocket::new(like).expect("a socket"), ()).expect("associated")
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// An address where nobody listens: a socket that is bound keeps others from listening there.
fn nobody() -> (TcpSocket, SocketAddr) {
    let any = "127.0.0.1:0".parse().expect("an address");
    let bound = TcpSocket::new(&any).expect("a socket");
    bound.bind(&any).expect("a free port");
    let address = socket2::SockRef::from(&bound)
        .local_addr()
        .expect("bound")
        .as_socket()
        .expect("an IP address");
    (bound, address)
}

/// S149, S151: addresses are there, and both directions work.
fn bring_a_connection(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (listener, address) = listen();
    let handle = socket(&port, &address);
    assert!(handle.peer_addr().is_err());
    handle.connect(address, 1).expect("started");
    let done = get(&port);
    assert_eq!(
        (done.context, done.kind(), done.result.expect("connected")),
        (1, OpKind::Connect, 0)
    );
    let (server, peer) = listener.accept().expect("accepted");
    let mut server = patient(server);
    assert_eq!(
        (handle.peer_addr().expect("connected"), handle.local_addr().expect("connected")),
        (address, peer)
    );
    handle.send(Buffer::from(&b"ping"[..]), 2).expect("started");
    handle.recv(Buffer::with_capacity(8), 3).expect("started");
    let mut ping = [0; 4];
    server.read_exact(&mut ping).expect("read");
    server.write_all(b"pong").expect("written");
    let done = take(&port, 2);
    assert!(&ping == b"ping" && done.iter().any(|done| &done.buffer[..] == b"pong"));
    assert_nothing_left(&port);
}

fn from_a_bound_address(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (listener, address) = listen();
    let (bound, own) = nobody();
    let handle = port.associate(bound, ()).expect("associated");
    handle.connect(address, 1).expect("started");
    get(&port).result.expect("connected");
    assert_eq!(
        (listener.accept().expect("accepted").1, handle.local_addr().expect("connected")),
        (own, own)
    );
}

/// S150.
fn say_that_nobody_listens(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (_nobody, address) = nobody();
    let handle = socket(&port, &address);
    handle.connect(address, 1).expect("started");
    let done = get(&port);
    assert_eq!((done.context, situation(&done.result)), (1, Some(Situation::ConnectionRefused)));
    assert_eq!(
        done.result.expect_err("refused").raw_os_error(),
        Some(crate::util::codes::ECONNREFUSED)
    );
    assert_nothing_left(&port);
}

/// S150: with the same socket.
fn can_be_tried_again_after_a_refusal(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (listener, address) = listen();
    let (_nobody, refusing) = nobody();
    let handle = socket(&port, &address);
    for time in 0..3 {
        handle.connect(refusing, time).expect("started");
        assert_eq!(situation(&get(&port).result), Some(Situation::ConnectionRefused));
    }
    handle.connect(address, 9).expect("started");
    get(&port).result.expect("connected");
    let mut server = patient(listener.accept().expect("accepted").0);
    handle.send(Buffer::from(&b"well"[..]), 10).expect("started");
    server.read_exact(&mut [0; 4]).expect("read");
}

/// S148.
fn of_a_connected_socket_fail(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (_listener, address) = listen();
    let handle =
        port.associate(TcpStream::connect(address).expect("connected"), ()).expect("associated");
    handle.connect(address, 1).expect("started");
    assert_eq!(
        get(&port).result.expect_err("it is connected").raw_os_error(),
        Some(crate::util::codes::EISCONN)
    );
    assert_nothing_left(&port);
}

/// Started before there is a connection, in call order behind it; on a connection that takes a second to come, too.
fn are_followed_by_sends_that_were_started_meanwhile(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (busy, address, fillers) = busy_listener();
    let handle = socket(&port, &address);
    handle.connect(address, 0).expect("started");
    handle.send(pattern(0, 1000).into(), 1).expect("started");
    handle
        .send_vectored(vec![pattern(1000, 10).into(), pattern(1010, 90).into()], 2)
        .expect("started");
    assert!(port.get_timeout(std::time::Duration::from_millis(10)).is_err(), "they wait");
    let own = handle.local_addr().expect("it has one already");
    drop(fillers);
    busy.listen(100).expect("a longer backlog");
    let mut server = loop {
        let (accepted, peer) = busy.accept().expect("accepted");
        if peer.as_socket() == Some(own) {
            break patient(accepted.into());
        }
    };
    for expected in 0..3 {
        let done = get(&port);
        assert_eq!(done.context, expected);
        done.result.expect("connected and sent");
    }
    let mut read = vec![0; 1100];
    server.read_exact(&mut read).expect("read");
    assert_same(&read, &pattern(0, 1100), "what was sent");
    assert_nothing_left(&port);
}

fn that_fail_fail_the_sends_behind_them(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (_nobody, address) = nobody();
    let handle = socket(&port, &address);
    handle.connect(address, 0).expect("started");
    handle.send(pattern(0, 100).into(), 1).expect("started");
    let done = get(&port);
    assert_eq!((done.context, situation(&done.result)), (0, Some(Situation::ConnectionRefused)));
    let done = get(&port);
    assert_eq!((done.context, &done.buffer[..]), (1, &pattern(0, 100)[..]));
    done.result.expect_err("there is no connection");
    assert_nothing_left(&port);
}
