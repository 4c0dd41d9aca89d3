//! Datagrams: each operation receives or sends one.

use std::net::UdpSocket;

use completion_port::{DriverKind, error::Situation};

use crate::kit::{datagrams, get, nothing_comes, open, peer, room, situation, take, with};

conformance! {
    one_too_long_is_cut_and_its_rest_is_lost [S129]
        "a datagram that is longer than the buffer fills it and fails the receive, and the next receive has the next datagram";
    one_of_no_bytes_is_a_success_and_no_end [S131]
        "a datagram of no bytes is received and sent as a success with 0 bytes, and the socket goes on";
    each_comes_with_its_sender [S132]
        "each packet has the address of its own datagram's sender";
    nobody_there_is_told_to_a_receive [S134]
        "when a connected socket's datagram finds no receiver, the pending receive fails";
}

fn one_too_long_is_cut_and_its_rest_is_lost(driver: DriverKind) {
    let port = open(driver);
    let (socket, address, peer) = datagrams(&port);
    let exact = || Vec::with_capacity(4).into();
    (1..3).for_each(|n| _ = socket.recv_from(exact(), n).expect("started"));
    peer.send_to(b"long one", address).expect("sent");
    peer.send_to(b"next", address).expect("sent");
    let [cut, next] = take(&port, 2).try_into().expect("two packets");
    assert_eq!(
        (situation(&cut.result), &cut.buffer[..]),
        (Some(Situation::Truncated), &b"long"[..])
    );
    assert_eq!((next.result.expect("S129"), &next.buffer[..]), (4, &b"next"[..]));
}

fn one_of_no_bytes_is_a_success_and_no_end(driver: DriverKind) {
    let port = open(driver);
    let (socket, address, peer) = datagrams(&port);
    socket.recv_from(room(8), 1).expect("started");
    peer.send_to(b"", address).expect("sent");
    let packet = get(&port);
    assert_eq!((packet.context, packet.result.as_ref().ok()), (1, Some(&0)), "S131");
    assert_eq!(packet.peer(), peer.local_addr().ok());
    socket.recv_from(room(8), 2).expect("started");
    peer.send_to(b"more", address).expect("sent");
    assert_eq!(&get(&port).buffer[..], b"more", "S131");
    socket.send_to(with(b""), peer.local_addr().expect("bound"), 3).expect("started");
    assert_eq!(get(&port).result.expect("S131"), 0);
    assert_eq!(peer.recv_from(&mut [0; 8]).expect("received"), (0, address));
}

fn each_comes_with_its_sender(driver: DriverKind) {
    let port = open(driver);
    let (socket, address, first) = datagrams(&port);
    let second = peer();
    let senders = [&first, &second, &first, &second];
    (0..4).for_each(|n| _ = socket.recv_from(room(8), n).expect("started"));
    senders.iter().zip(0_u8..).for_each(|(sender, n)| {
        sender.send_to(&[n], address).expect("sent");
    });
    let mut packets = take(&port, 4);
    packets.sort_by_key(|packet| packet.buffer.first().copied());
    for (sender, packet) in senders.iter().zip(&packets) {
        assert_eq!(packet.peer(), sender.local_addr().ok(), "S132");
    }
}

fn nobody_there_is_told_to_a_receive(driver: DriverKind) {
    let port = open(driver);
    let gone = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let socket = peer();
    socket.connect(gone.local_addr().expect("bound")).expect("connected");
    drop(gone);
    let socket = port.associate(socket, "connected").expect("associated");
    socket.recv(room(8), 1).expect("started");
    nothing_comes(&port);
    socket.send(with(b"x"), 2).expect("started");
    let packets = take(&port, 2);
    assert_eq!(situation(&packets[0].result), Some(Situation::ConnectionRefused), "S134");
    assert_eq!(packets[1].result.as_ref().ok(), Some(&1), "S134: the send itself has succeeded");
}
