//! Streams: what receives and sends complete with, and in which order.

use std::{
    io::{ErrorKind, Read, Write},
    thread,
    time::Duration,
};

use completion_port::{Buffer, DriverKind, GetError, OpId, TcpSocket, error::Situation};

use crate::kit::{
    Handle, connection, get, listener, nothing_comes, open, pair, pattern, reset, room, situation,
    take, until, with,
};

conformance! {
    a_receive_completes_with_any_data [S110]
        "a receive with much room completes with the few bytes that are there, and does not wait for more";
    the_peers_end_is_a_success_of_no_bytes [S111]
        "the peer's graceful end completes receives with 0 bytes and no error, behind the data";
    after_a_reset_receives_and_sends_fail [S112]
        "after a reset every receive and every send fails as reset, not once only";
    a_reset_that_a_send_was_told_is_no_end_to_a_receive [S112]
        "when a send was the first to be told of a reset, receives after it fail as reset, and see no end of the stream";
    unconnected_is_not_connected [S113]
        "a receive on a socket that is not connected fails as not connected, and a send fails too";
    receives_fill_in_call_order [S115]
        "receives that are queued on a stream are filled in the order of their calls, whatever the order of the packets";
    sends_leave_in_call_order [S116]
        "sends that are queued on a stream leave in the order of their calls";
    a_send_is_whole [S117]
        "a send of 16 MiB completes once, with all its bytes, and the peer reads them all";
    the_array_of_buffers_is_captured [S120]
        "many buffers that are sent as one are all sent though their array is the library's since the call, and come back";
    gathered_buffers_go_out_in_order [S121]
        "buffers that are sent as one leave in their order, as one operation with the sum of their bytes";
    no_buffer_at_all_is_refused [S122]
        "a gathered send of no buffer, or of empty ones, is refused as InvalidInput, with the buffers";
    a_receive_without_a_buffer_waits_and_takes_none [S123]
        "a receive without a buffer waits for data with no memory of the pool, and has the data when it comes";
    time_outs_of_the_socket_do_not_apply [S126]
        "a receive outlasts the socket's own time-outs and completes normally";
    operations_end_in_any_order [S127]
        "operations end in another order than they were started in, each under a name of its own";
}

fn a_receive_completes_with_any_data(driver: DriverKind) {
    let port = open(driver);
    let (server, mut client) = pair(&port);
    for piece in [&b"one"[..], b"more", b"x"] {
        server.recv(room(4096), 1).expect("started");
        client.write_all(piece).expect("written");
        let packet = get(&port);
        assert_eq!((packet.result.expect("S110"), &packet.buffer[..]), (piece.len(), piece));
    }
}

fn the_peers_end_is_a_success_of_no_bytes(driver: DriverKind) {
    let port = open(driver);
    let (server, mut client) = pair(&port);
    client.write_all(b"last words").expect("written");
    drop(client);
    server.recv(room(64), 1).expect("started");
    assert_eq!(&get(&port).buffer[..], b"last words");
    for _ in 0..2 {
        server.recv(room(64), 2).expect("started");
        let packet = get(&port);
        assert_eq!((packet.result.expect("S111"), packet.buffer.len()), (0, 0));
    }
}

fn after_a_reset_receives_and_sends_fail(driver: DriverKind) {
    let port = open(driver);
    let (server, client) = pair(&port);
    server.recv(room(8), 0).expect("started");
    reset(client);
    assert_eq!(situation(&get(&port).result), Some(Situation::PeerReset));
    for _ in 0..2 {
        server.recv(room(8), 1).expect("started");
        assert_eq!(situation(&get(&port).result), Some(Situation::PeerReset), "S112");
        server.send(with(b"to whom?"), 2).expect("started");
        assert_eq!(situation(&get(&port).result), Some(Situation::PeerReset), "S112");
    }
}

fn a_reset_that_a_send_was_told_is_no_end_to_a_receive(driver: DriverKind) {
    let port = open(driver);
    let (server, client) = pair(&port);
    reset(client);
    until("a send is told", || {
        server.send(with(b"to whom?"), 1).expect("started");
        situation(&get(&port).result) == Some(Situation::PeerReset)
    });
    for _ in 0..2 {
        server.recv(room(8), 2).expect("started");
        assert_eq!(situation(&get(&port).result), Some(Situation::PeerReset), "S112");
    }
}

fn unconnected_is_not_connected(driver: DriverKind) {
    let port = open(driver);
    let (_listener, address) = listener();
    let socket = TcpSocket::new(&address).expect("a socket");
    let client = port.associate(socket, "client").expect("associated");
    client.recv(room(8), 1).expect("started");
    client.send(with(b"to whom?"), 2).expect("started");
    let [received, sent] = take(&port, 2).try_into().expect("two packets");
    assert_eq!(received.result.expect_err("S113").kind(), ErrorKind::NotConnected, "S113");
    // Linux has another name for it here, EPIPE.
    assert!(sent.result.is_err(), "S113");
}

fn receives_fill_in_call_order(driver: DriverKind) {
    let port = open(driver);
    let (server, mut client) = pair(&port);
    (0..16).for_each(|n| _ = server.recv(Vec::with_capacity(4).into(), n).expect("started"));
    let bytes = pattern(64);
    client.write_all(&bytes).expect("written");
    let mut packets = take(&port, 16);
    packets.sort_by_key(completion_port::Completion::sequence);
    for (n, packet) in (0..).zip(&packets) {
        let at = n as usize * 4;
        assert_eq!((packet.context, &packet.buffer[..]), (n, &bytes[at..at + 4]), "S115");
    }
}

/// Reads so many bytes, while packets are taken: nothing leaves if nobody does.
fn read_while<R>(
    mut client: std::net::TcpStream,
    len: usize,
    act: impl FnOnce() -> R,
) -> (Vec<u8>, R) {
    thread::scope(|s| {
        let reader = s.spawn(move || {
            let mut read = vec![0; len];
            client.read_exact(&mut read).expect("all of it");
            read
        });
        let result = act();
        (reader.join().expect("no panic"), result)
    })
}

fn sends_leave_in_call_order(driver: DriverKind) {
    const EACH: usize = 100_000;
    let port = open(driver);
    let (server, client) = pair(&port);
    let bytes = pattern(16 * EACH);
    for (n, piece) in (0..).zip(bytes.chunks(EACH)) {
        server.send(with(piece), n).expect("started");
    }
    let (read, packets) = read_while(client, bytes.len(), || take(&port, 16));
    assert!(read == bytes, "S116");
    assert!(packets.iter().all(|packet| packet.result.as_ref().is_ok_and(|n| *n == EACH)));
}

fn a_send_is_whole(driver: DriverKind) {
    let port = open(driver);
    let (server, client) = pair(&port);
    let bytes = pattern(16 << 20);
    server.send(bytes.clone().into(), 117).expect("started");
    let (read, packet) = read_while(client, bytes.len(), || get(&port));
    assert_eq!((packet.context, packet.result.expect("S117")), (117, bytes.len()));
    assert!(read == bytes, "S117");
    nothing_comes(&port);
}

fn the_array_of_buffers_is_captured(driver: DriverKind) {
    const EACH: usize = 60_000;
    let port = open(driver);
    let (server, client) = pair(&port);
    let bytes = pattern(100 * EACH);
    // The array is gone when the call returns, and most of it has not been sent by then.
    server.send_vectored(bytes.chunks(EACH).map(with).collect(), 120).expect("started");
    let (read, mut packet) = read_while(client, bytes.len(), || get(&port));
    assert!(read == bytes, "S120");
    let buffers = packet.buffers();
    assert_eq!((packet.result.expect("S120"), buffers.len()), (bytes.len(), 100));
    assert!(buffers.iter().zip(bytes.chunks(EACH)).all(|(buffer, piece)| buffer[..] == *piece));
}

fn gathered_buffers_go_out_in_order(driver: DriverKind) {
    let port = open(driver);
    let (server, client) = pair(&port);
    let pieces = [&b"head, "[..], b"", b"body", b", tail"];
    server.send_vectored(pieces.map(with).into(), 121).expect("started");
    let (read, packet) = read_while(client, 16, || get(&port));
    assert_eq!(read, b"head, body, tail", "S121");
    assert_eq!((packet.context, packet.result.expect("a success")), (121, 16));
    nothing_comes(&port);
}

fn no_buffer_at_all_is_refused(driver: DriverKind) {
    let port = open(driver);
    let (server, _client) = pair(&port);
    for buffers in [vec![], vec![Buffer::new(), Buffer::new()]] {
        let count = buffers.len();
        let refused = server.send_vectored(buffers, 122).expect_err("S122");
        assert_eq!((refused.error.kind(), refused.context), (ErrorKind::InvalidInput, 122));
        assert_eq!(refused.buffer.len(), count);
    }
    nothing_comes(&port);
}

fn a_receive_without_a_buffer_waits_and_takes_none(driver: DriverKind) {
    let port = open(driver);
    let (server, mut client) = pair(&port);
    server.recv_lent(123).expect("started");
    nothing_comes(&port);
    assert_eq!(port.snapshot().pool.lent, 0, "S123: it waits without one");
    client.write_all(b"now").expect("written");
    let packet = get(&port);
    assert_eq!((packet.context, &packet.buffer[..]), (123, &b"now"[..]));
    assert!(packet.buffer.is_lent());
}

fn time_outs_of_the_socket_do_not_apply(driver: DriverKind) {
    let port = open(driver);
    let (socket, mut client) = connection();
    socket.set_read_timeout(Some(Duration::from_millis(1))).expect("an option");
    socket.set_write_timeout(Some(Duration::from_millis(1))).expect("an option");
    let server = port.associate(socket, "server").expect("associated");
    server.recv(room(8), 126).expect("started");
    assert!(matches!(port.get_timeout(Duration::from_millis(50)), Err(GetError::TimedOut)));
    client.write_all(b"late").expect("written");
    let packet = get(&port);
    assert_eq!((packet.context, packet.result.expect("S126")), (126, 4));
}

fn operations_end_in_any_order(driver: DriverKind) {
    let port = open(driver);
    let (servers, mut clients): (Vec<Handle>, Vec<_>) = (0..3).map(|_| pair(&port)).unzip();
    let start = |n: usize| servers[n].recv(room(8), n as u32).expect("started");
    let ids: Vec<OpId> = (0..3).map(start).collect();
    for n in [2, 0, 1] {
        clients[n].write_all(b"x").expect("written");
        let packet = get(&port);
        assert_eq!((packet.context, packet.handle == servers[n]), (n as u32, true), "S127");
    }
    for (server, id) in servers.iter().zip(ids) {
        let next = server.recv(room(8), 9).expect("started");
        assert!(
            next != id && !server.cancel(id) && server.cancel(next),
            "S127: a name is used once"
        );
    }
}
