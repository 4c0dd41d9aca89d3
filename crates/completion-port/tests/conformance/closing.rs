//! Closing: what becomes of what is pending.

use std::{
    io::{Read, Write},
    net::Shutdown,
};

use completion_port::{DriverKind, error::Situation};

use crate::kit::{
    datagrams, dial, get, listener, nothing_comes, open, pair, pattern, reset, room, situation,
    take, with,
};

conformance! {
    a_close_cancels_and_the_packets_come [S93]
        "everything that is pending on a handle, in both directions, ends by a packet with an error when it is closed";
    accepts_of_a_closed_listener_are_cancelled [S94]
        "pending accepts of a closed listener end as cancelled, with the listener's key and no socket";
    a_receive_on_a_closed_stream_is_aborted [S95]
        "a pending receive on a stream that is closed here ends as closed here, and not as cancelled or as the peer's end";
    a_receive_on_a_closed_datagram_socket_is_cancelled [S96]
        "a pending receive on a datagram socket that is closed ends as cancelled";
    a_close_with_nothing_pending_brings_none [S101]
        "closing or dropping a handle with nothing pending brings no packet, and the peer sees the end";
    each_operation_has_one_packet [S102]
        "twelve operations that end in four ways bring twelve packets, one each, and then there is none";
    a_reset_fails_a_pending_receive [S103]
        "a reset by the peer fails the receive that is pending, with no bytes";
}

fn a_close_cancels_and_the_packets_come(driver: DriverKind) {
    let port = open(driver);
    let (server, _client) = pair(&port);
    (0..2).for_each(|n| _ = server.recv(room(8), n).expect("started"));
    // More than the system takes while nobody reads; but of the first, when it has nothing else, Windows may take any amount.
    (2..4).for_each(|n| _ = server.send(pattern(32 << 20).into(), n).expect("started"));
    server.close();
    for (n, packet) in (0..).zip(take(&port, 4)) {
        assert_eq!(packet.context, n);
        assert!(packet.result.is_err() || n == 2, "S93: {packet:?}");
    }
    nothing_comes(&port);
    server.recv(room(8), 9).expect_err("it is closed");
}

fn accepts_of_a_closed_listener_are_cancelled(driver: DriverKind) {
    let port = open(driver);
    let (listener, _) = listener();
    let listener = port.associate(listener, "listener").expect("associated");
    (0..3).for_each(|n| _ = listener.accept(n).expect("started"));
    listener.close();
    for (n, mut packet) in (0..).zip(take(&port, 3)) {
        assert_eq!((*packet.handle.key(), packet.context), ("listener", n), "S94");
        assert_eq!(situation(&packet.result), Some(Situation::Cancelled), "S94");
        assert!(packet.accepted().is_none());
    }
    nothing_comes(&port);
}

fn a_receive_on_a_closed_stream_is_aborted(driver: DriverKind) {
    let port = open(driver);
    let (server, _client) = pair(&port);
    server.recv(room(8), 95).expect("started");
    server.close();
    let packet = get(&port);
    assert_eq!((packet.context, situation(&packet.result)), (95, Some(Situation::LocalClose)));
    nothing_comes(&port);
}

fn a_receive_on_a_closed_datagram_socket_is_cancelled(driver: DriverKind) {
    let port = open(driver);
    let (socket, _address, _peer) = datagrams(&port);
    socket.recv_from(room(8), 96).expect("started");
    socket.close();
    let packet = get(&port);
    assert_eq!((packet.context, situation(&packet.result)), (96, Some(Situation::Cancelled)));
    nothing_comes(&port);
}

fn a_close_with_nothing_pending_brings_none(driver: DriverKind) {
    let port = open(driver);
    let ((closed, mut one), (dropped, mut two)) = (pair(&port), pair(&port));
    closed.close();
    drop(dropped);
    for client in [&mut one, &mut two] {
        assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
    }
    nothing_comes(&port);
}

fn each_operation_has_one_packet(driver: DriverKind) {
    let port = open(driver);
    let (server, mut client) = pair(&port);
    let (listener, address) = listener();
    let listener = port.associate(listener, "listener").expect("associated");
    let started: Vec<_> = (0..4).map(|n| server.recv(room(1), n).expect("started")).collect();
    (4..8).for_each(|n| _ = server.send(with(b"x"), n).expect("started"));
    (8..12).for_each(|n| _ = listener.accept(n).expect("started"));
    let _clients = [dial(address), dial(address)];
    client.write_all(b"ab").expect("written");
    // The first two have their data, or will; the last two are pending for certain, and so are two accepts.
    assert!(server.cancel(started[3]) && server.cancel(started[2]));
    let mut seen: Vec<_> = take(&port, 10).iter().map(|packet| packet.context).collect();
    listener.close();
    seen.extend(take(&port, 2).iter().map(|packet| packet.context));
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..12), "S102");
    client.shutdown(Shutdown::Both).expect("connected");
    nothing_comes(&port);
}

fn a_reset_fails_a_pending_receive(driver: DriverKind) {
    let port = open(driver);
    let (server, client) = pair(&port);
    server.recv(room(8), 103).expect("started");
    nothing_comes(&port);
    reset(client);
    let packet = get(&port);
    assert_eq!((packet.context, situation(&packet.result)), (103, Some(Situation::PeerReset)));
    assert!(packet.buffer.is_empty());
    nothing_comes(&port);
}
