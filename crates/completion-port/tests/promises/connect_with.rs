//! Connects with first data: S148 to S150.

use std::{
    io::{ErrorKind, Read},
    net::{SocketAddr, TcpListener, TcpStream},
};

use completion_port::{
    Buffer, CompletionPort, DriverKind, Handle, OpKind, TcpSocket, error::Situation,
};

use crate::util::{
    assert_nothing_left, assert_same, busy::busy_listener, get, open, patient, pattern, situation,
    take, while_read,
};

crate::on_each_driver!(
    send_all_of_it,
    are_followed_by_sends_that_were_started_meanwhile,
    can_be_tried_again_after_a_refusal,
    of_a_connected_socket_fail,
    are_refused_without_data,
    that_are_cancelled_send_nothing,
    that_are_cancelled_while_they_send_leave_what_is_behind_them,
);

fn socket(port: &CompletionPort<(), u32>, like: &SocketAddr) -> Handle<(), u32> {
    port.associate(TcpSocket::new(like).expect("a socket"), ()).expect("associated")
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// S149: the bytes are all of it, however much; S148: it need not be bound.
fn send_all_of_it(driver: DriverKind) {
    for len in [1, 1000, 16 << 20] {
        let port = open::<(), u32>(driver);
        let (listener, address) = listen();
        let handle = socket(&port, &address);
        let data = pattern(7, len);
        handle.connect_with(address, data[..].into(), 1).expect("started");
        let mut server = patient(listener.accept().expect("accepted").0);
        let done = while_read(&mut server, &data, || get(&port));
        assert_eq!((done.context, done.kind(), done.sequence()), (1, OpKind::Connect, 0));
        assert_eq!(done.result.expect("connected and sent"), len);
        assert_same(&done.buffer, &data, "the buffer comes back as it was");
        assert_nothing_left(&port);
    }
}

fn are_followed_by_sends_that_were_started_meanwhile(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (listener, address) = listen();
    let handle = socket(&port, &address);
    handle.connect_with(address, pattern(0, 4 << 20).into(), 0).expect("started");
    handle.send(pattern(4 << 20, 1000).into(), 1).expect("started");
    let mut server = patient(listener.accept().expect("accepted").0);
    let done = while_read(&mut server, &pattern(0, (4 << 20) + 1000), || take(&port, 2));
    assert!(done.iter().map(|done| done.context).eq([0, 1]));
    assert!(done.into_iter().all(|done| done.result.is_ok()));
    assert_nothing_left(&port);
}

/// S150: nothing of the data is lost with the attempt.
fn can_be_tried_again_after_a_refusal(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (listener, address) = listen();
    // Bound, and nobody listens.
    let any = "127.0.0.1:0".parse().expect("an address");
    let bound = TcpSocket::new(&any).expect("a socket");
    bound.bind(&any).expect("a free port");
    let refusing = socket2::SockRef::from(&bound).local_addr().expect("bound");
    let refusing = refusing.as_socket().expect("an IP address");
    let handle = socket(&port, &address);
    let mut data = Buffer::from(&b"hello"[..]);
    for time in 0..3 {
        handle.connect_with(refusing, data, time).expect("started");
        let done = get(&port);
        assert_eq!(situation(&done.result), Some(Situation::ConnectionRefused));
        data = done.buffer;
        assert_eq!(&data[..], b"hello");
    }
    handle.connect_with(address, data, 9).expect("started");
    assert_eq!(get(&port).result.expect("connected and sent"), 5);
    let mut got = [0; 5];
    patient(listener.accept().expect("accepted").0).read_exact(&mut got).expect("read");
    assert_eq!(&got, b"hello");
    assert_nothing_left(&port);
}

/// S148: `EISCONN`, and nothing is sent; a listener has no such operation.
fn of_a_connected_socket_fail(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (listener, address) = listen();
    let handle =
        port.associate(TcpStream::connect(address).expect("connected"), ()).expect("associated");
    let mut server = listener.accept().expect("accepted").0;
    handle.connect_with(address, pattern(0, 9).into(), 1).expect("started");
    let done = get(&port);
    assert_eq!(done.buffer.len(), 9);
    assert_eq!(
        done.result.expect_err("it is connected").raw_os_error(),
        Some(crate::util::codes::EISCONN)
    );
    handle.close();
    assert_eq!(server.read(&mut [0; 9]).expect("an orderly end"), 0);

    let listener = port.associate(listener, ()).expect("associated");
    let refused = listener.connect_with(address, pattern(0, 9).into(), 2).expect_err("a listener");
    assert_eq!((refused.error.kind(), refused.buffer.len()), (ErrorKind::InvalidInput, 9));
    assert_nothing_left(&port);
}

fn are_refused_without_data(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (_listener, address) = listen();
    let refused = socket(&port, &address).connect_with(address, Buffer::new(), 3).unwrap_err();
    assert_eq!((refused.error.kind(), refused.context), (ErrorKind::InvalidInput, 3));
    assert_nothing_left(&port);
}

fn that_are_cancelled_send_nothing(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (_busy, address, _fillers) = busy_listener();
    let handle = socket(&port, &address);
    let id = handle.connect_with(address, pattern(0, 9).into(), 1).expect("started");
    assert!(port.get_timeout(std::time::Duration::from_millis(1)).is_err());
    assert!(handle.cancel(id));
    let done = get(&port);
    assert_eq!((situation(&done.result), done.buffer.len()), (Some(Situation::Cancelled), 9));
    assert!(handle.peer_addr().is_err(), "the system does not go on connecting");
    assert_nothing_left(&port);
}

/// It is connected, and stays so.
fn that_are_cancelled_while_they_send_leave_what_is_behind_them(driver: DriverKind) {
    const FIRST: usize = 32 << 20;
    let port = open::<(), u32>(driver);
    let (listener, address) = listen();
    let handle = socket(&port, &address);
    let first = pattern(0, FIRST);
    let id = handle.connect_with(address, first[..].into(), 0).expect("started");
    handle.send(vec![0; 5000].into(), 1).expect("started");
    handle.shutdown(std::net::Shutdown::Write).expect("behind them");
    let mut server = patient(listener.accept().expect("accepted").0);
    // When something has come, it is sending.
    assert!(port.get_timeout(std::time::Duration::from_millis(20)).is_err());
    server.read_exact(&mut [0; 1]).expect("read");
    assert!(handle.cancel(id));
    let mut read = vec![first[0]];
    let done = std::thread::scope(|s| {
        s.spawn(|| server.read_to_end(&mut read).expect("an orderly end"));
        take(&port, 2)
    });
    assert_eq!((done[0].context, situation(&done[0].result)), (0, Some(Situation::Cancelled)));
    assert_eq!(done[1].result.as_ref().expect("whole"), &5000);
    let left = read.len() - 5000;
    assert!(left < FIRST);
    assert_same(&read[..left], &first[..left], "what had left of the first");
    assert_same(&read[left..], &vec![0; 5000], "the second");
    assert_nothing_left(&port);
}
