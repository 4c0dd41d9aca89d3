//! Accepts: with first data and without.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use completion_port::{DriverKind, OpId, error::Situation};

use crate::kit::{
    Handle, Port, dial, get, listener, nothing_comes, open, pair, reset, room, situation,
    times_out, until, with,
};

conformance! {
    a_plain_one_completes_on_connection [S137]
        "an accept without first data completes when somebody connects, with 0 bytes, though nothing is sent";
    one_with_first_data_waits_for_it [S137]
        "an accept with a buffer completes with the first data, any amount of it, and not on connection";
    a_silent_end_is_a_success_of_no_bytes [S138]
        "a peer that connects and ends without data completes the accept with 0 bytes and the socket";
    data_and_both_addresses_come_along [S139]
        "the buffer has the data, and the packet the local and the remote address of the connection";
    what_is_no_listener_cannot_accept [S141]
        "an accept on a stream is refused, and one on a new listener is not";
    the_packet_has_the_listeners_key [S142]
        "the packet has the listener's key, and the new socket is associated on its own, with its own key";
    the_accepted_socket_is_complete [S143]
        "the accepted socket has its addresses, receives, sends and shuts down with nothing done to it before";
    how_long_a_client_is_silent_is_told [S144]
        "the listener tells who is connected and silent, under which accept, and for how long, and no more once data came";
    many_are_served_in_order [S145]
        "many accepts are served in the order of their calls, plain ones and those with first data";
    a_reset_before_the_first_data_is_reported [S146]
        "an accept whose client resets before it sends fails as reset, and the next one goes on";
    the_listeners_mode_makes_no_difference [S147]
        "an accept on a non-blocking listener pends as on any other, and completes with the connection";
}

fn listen(port: &Port) -> (Handle, SocketAddr) {
    let (listener, address) = listener();
    (port.associate(listener, "listener").expect("associated"), address)
}

fn accept_with(listener: &Handle, context: u32) -> OpId {
    listener.accept_with(room(64), context).expect("started")
}

/// Waits, in the port, until so many connections are accepted and silent.
#[track_caller]
fn until_silent(port: &Port, listener: &Handle, count: usize) {
    until("they are accepted", || {
        times_out(port);
        listener.half_accepted().len() == count
    });
}

fn a_plain_one_completes_on_connection(driver: DriverKind) {
    let port = open(driver);
    let (listener, address) = listen(&port);
    listener.accept(1).expect("started");
    nothing_comes(&port);
    let client = dial(address);
    let mut packet = get(&port);
    assert_eq!((packet.context, packet.result.as_ref().ok()), (1, Some(&0)), "S137");
    let server = packet.accepted().expect("a socket came");
    assert_eq!(server.peer_addr().ok(), client.local_addr().ok());
}

fn one_with_first_data_waits_for_it(driver: DriverKind) {
    let port = open(driver);
    let (listener, address) = listen(&port);
    accept_with(&listener, 1);
    let mut client = dial(address);
    until_silent(&port, &listener, 1);
    nothing_comes(&port);
    client.write_all(b"x").expect("written");
    let mut packet = get(&port);
    assert_eq!((packet.result.as_ref().ok(), &packet.buffer[..]), (Some(&1), &b"x"[..]), "S137");
    assert!(packet.accepted().is_some());
}

fn a_silent_end_is_a_success_of_no_bytes(driver: DriverKind) {
    let port = open(driver);
    let (listener, address) = listen(&port);
    accept_with(&listener, 1);
    drop(dial(address));
    let mut packet = get(&port);
    assert_eq!((packet.result.as_ref().ok(), packet.buffer.len()), (Some(&0), 0), "S138");
    assert!(packet.accepted().is_some());
}

fn data_and_both_addresses_come_along(driver: DriverKind) {
    let port = open(driver);
    let (listener, address) = listen(&port);
    for with_data in [true, false] {
        if with_data {
            accept_with(&listener, 1);
        } else {
            listener.accept(1).expect("started");
        }
        let mut client = dial(address);
        client.write_all(b"hello").expect("written");
        let packet = get(&port);
        let addresses = packet.addresses().expect("S139");
        let own = client.local_addr().expect("connected");
        assert_eq!((addresses.local, addresses.peer), (address, own), "S139");
        assert_eq!(&packet.buffer[..], if with_data { &b"hello"[..] } else { b"" });
    }
}

fn what_is_no_listener_cannot_accept(driver: DriverKind) {
    let port = open(driver);
    let (server, _client) = pair(&port);
    let refused = server.accept(1).expect_err("S141");
    assert_eq!((refused.error.kind(), refused.context), (std::io::ErrorKind::InvalidInput, 1));
    let refused = server.accept_with(room(7), 2).expect_err("S141");
    assert_eq!((refused.context, refused.buffer.capacity() >= 7), (2, true));
    listen(&port).0.accept(3).expect("started");
}

fn the_packet_has_the_listeners_key(driver: DriverKind) {
    let port = open(driver);
    let (listener, address) = listen(&port);
    listener.accept(1).expect("started");
    let mut client = dial(address);
    let mut packet = get(&port);
    assert_eq!(*packet.handle.key(), "listener", "S142");
    let stream = packet.accepted().expect("a socket came");
    let server = port.associate(stream, "its own").expect("S142");
    server.recv(room(8), 2).expect("started");
    client.write_all(b"x").expect("written");
    assert_eq!(*get(&port).handle.key(), "its own", "S142");
}

fn the_accepted_socket_is_complete(driver: DriverKind) {
    let port = open(driver);
    let (listener, address) = listen(&port);
    listener.accept(1).expect("started");
    let mut client = dial(address);
    let stream: TcpStream = get(&port).accepted().expect("a socket came");
    assert_eq!(stream.local_addr().expect("S143"), address);
    assert_eq!(stream.peer_addr().ok(), client.local_addr().ok(), "S143");
    let server = port.associate(stream, "server").expect("associated");
    server.recv(room(8), 2).expect("started");
    client.write_all(b"x").expect("written");
    assert_eq!(get(&port).context, 2);
    server.send(with(b"back"), 3).expect("started");
    assert_eq!(get(&port).context, 3);
    server.shutdown(std::net::Shutdown::Write).expect("S143");
    let mut read = Vec::new();
    client.read_to_end(&mut read).expect("an orderly end");
    assert_eq!(read, b"back");
}

fn how_long_a_client_is_silent_is_told(driver: DriverKind) {
    let port = open(driver);
    let (listener, address) = listen(&port);
    let id = accept_with(&listener, 1);
    assert!(listener.half_accepted().is_empty(), "S144: nobody is there");
    let mut client = dial(address);
    until_silent(&port, &listener, 1);
    let half = listener.half_accepted()[0];
    assert_eq!((half.id, half.peer), (id, client.local_addr().ok()), "S144");
    until("time passes for it", || {
        listener.half_accepted()[0].connected >= half.connected + Duration::from_millis(10)
    });
    client.write_all(b"x").expect("written");
    assert_eq!(get(&port).context, 1);
    assert!(listener.half_accepted().is_empty(), "S144: it has said something");
}

fn many_are_served_in_order(driver: DriverKind) {
    let port = open(driver);
    let (listener, address) = listen(&port);
    for n in 0..8 {
        if n % 2 == 0 {
            listener.accept(n).expect("started");
        } else {
            accept_with(&listener, n);
        }
    }
    let _clients: Vec<_> = (0..8)
        .map(|n| {
            let mut client = dial(address);
            if n % 2 == 1 {
                client.write_all(&[n as u8]).expect("written");
            }
            let mut packet = get(&port);
            assert_eq!(packet.context, n, "S145");
            let server = packet.accepted().expect("a socket came");
            assert_eq!(server.peer_addr().ok(), client.local_addr().ok(), "S145");
            (client, server)
        })
        .collect();
    nothing_comes(&port);
}

fn a_reset_before_the_first_data_is_reported(driver: DriverKind) {
    let port = open(driver);
    let (listener, address) = listen(&port);
    (0..2).for_each(|n| _ = accept_with(&listener, n));
    let client = dial(address);
    until_silent(&port, &listener, 1);
    reset(client);
    let mut packet = get(&port);
    assert_eq!(
        (packet.context, situation(&packet.result)),
        (0, Some(Situation::PeerReset)),
        "S146"
    );
    assert!(packet.accepted().is_none());
    dial(address).write_all(b"x").expect("written");
    let packet = get(&port);
    assert_eq!((packet.context, packet.result.expect("received")), (1, 1));
}

fn the_listeners_mode_makes_no_difference(driver: DriverKind) {
    let port = open(driver);
    let (listener, address) = listener();
    listener.set_nonblocking(true).expect("a mode");
    let listener = port.associate(listener, "listener").expect("associated");
    listener.accept(1).expect("started");
    nothing_comes(&port);
    let _client = dial(address);
    let mut packet = get(&port);
    assert_eq!((packet.context, packet.accepted().is_some()), (1, true), "S147");
}
