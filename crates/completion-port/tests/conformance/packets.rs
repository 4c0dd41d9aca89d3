//! When there is a packet, and when there is none.

use std::{
    io::{Read, Write},
    net::Shutdown,
};

use completion_port::{Completion, DriverKind, Started, error::Situation};

use crate::kit::{
    Handle, Packet, Port, connection, datagrams, get, nothing_comes, open, pair, reset, room,
    situation, take, until_readable, with,
};

conformance! {
    what_pends_brings_one_packet_however_it_ends [S59]
        "a receive that pended brings one packet and no second, whether it ends by data, the peer's end, a reset or a cancel";
    a_success_at_once_brings_a_packet_too [S60]
        "a send that the system takes at once, and a receive whose data is there, bring their packets as any other";
    what_is_refused_brings_none [S61]
        "an operation that the call refuses gives its buffer back and brings no packet";
    a_warning_brings_a_packet [S62]
        "a datagram that is there and too long is a packet with an error, at once or later";
    a_shutdown_brings_none [S63]
        "shutting down has its effect and brings no packet";
    a_skipped_success_is_returned_and_brings_none [S64]
        "on a handle that skips packets a success at once is the call's own result, and no packet comes for it";
    what_pends_brings_a_packet_all_the_same [S64]
        "on a handle that skips packets an operation that pended brings its packet, also when it fails";
    the_choice_stays [S66]
        "skipping is chosen for the handle and all its clones for good, and for no other handle";
}

fn what_pends_brings_one_packet_however_it_ends(driver: DriverKind) {
    let port = open(driver);
    let (ends, mut clients): (Vec<Handle>, Vec<_>) = (0..4).map(|_| pair(&port)).unzip();
    let start = |(n, end): (usize, &Handle)| end.recv(room(8), n as u32).expect("started");
    let ids: Vec<_> = ends.iter().enumerate().map(start).collect();
    nothing_comes(&port);
    clients[0].write_all(b"x").expect("written");
    clients[1].shutdown(Shutdown::Write).expect("connected");
    reset(clients.remove(2));
    assert!(ends[3].cancel(ids[3]));
    let results: Vec<_> =
        take(&port, 4).iter().map(|one| (one.context, situation(&one.result))).collect();
    let failed = [None, None, Some(Situation::PeerReset), Some(Situation::Cancelled)];
    assert!(results.into_iter().eq((0..4).zip(failed)));
    nothing_comes(&port);
}

fn a_success_at_once_brings_a_packet_too(driver: DriverKind) {
    let port = open(driver);
    let (socket, mut client) = connection();
    let duplicate = socket.try_clone().expect("a duplicate");
    let server = port.associate(socket, "server").expect("associated");
    server.send(with(b"there is room"), 1).expect("started");
    let sent = get(&port);
    assert_eq!((sent.context, sent.result.expect("a success")), (1, 13));
    client.write_all(b"there").expect("written");
    until_readable(&duplicate);
    server.recv(room(8), 2).expect("started");
    assert_eq!(get(&port).context, 2);
    nothing_comes(&port);
}

fn what_is_refused_brings_none(driver: DriverKind) {
    let port = open(driver);
    let (server, _client) = pair(&port);
    let refused = server.recv(with(b"full"), 1).expect_err("it has no room");
    assert_eq!((refused.context, &refused.buffer[..]), (1, &b"full"[..]));
    server.send(room(8), 2).expect_err("it has no byte");
    server.accept(3).expect_err("it is no listener");
    nothing_comes(&port);
}

fn a_warning_brings_a_packet(driver: DriverKind) {
    let port = open(driver);
    let (socket, address, peer) = datagrams(&port);
    // The second is there when its receive is started, and the first is not.
    socket.recv_from(Vec::with_capacity(2).into(), 1).expect("started");
    (0..2).for_each(|_| _ = peer.send_to(&[7; 100], address).expect("sent"));
    let first = get(&port);
    socket.recv_from(Vec::with_capacity(2).into(), 2).expect("started");
    for (packet, context) in [(first, 1), (get(&port), 2)] {
        assert_eq!(
            (packet.context, situation(&packet.result)),
            (context, Some(Situation::Truncated))
        );
    }
    nothing_comes(&port);
}

fn a_shutdown_brings_none(driver: DriverKind) {
    let port = open(driver);
    let (server, mut client) = pair(&port);
    server.shutdown(Shutdown::Write).expect("connected");
    assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
    nothing_comes(&port);
}

fn skipping(driver: DriverKind) -> (Port, Handle, std::net::TcpStream) {
    let port = open(driver);
    let (server, client) = pair(&port);
    server.skip_on_success();
    (port, server, client)
}

#[track_caller]
fn done(started: Started<&'static str, u32>) -> Packet {
    match started {
        Started::Done(done) => done,
        Started::Pending(id) => panic!("it pends: {id:?}"),
    }
}

fn a_skipped_success_is_returned_and_brings_none(driver: DriverKind) {
    let (port, server, mut client) = skipping(driver);
    let Completion { context, result, buffer, .. } =
        done(server.send_inline(with(b"hello"), 64).expect("started"));
    assert_eq!((context, result.expect("a success"), &buffer[..]), (64, 5, &b"hello"[..]));
    client.read_exact(&mut [0; 5]).expect("sent");
    nothing_comes(&port);
}

fn what_pends_brings_a_packet_all_the_same(driver: DriverKind) {
    let (port, server, mut client) = skipping(driver);
    let pends = |context| match server.recv_inline(room(8), context).expect("started") {
        Started::Pending(id) => id,
        Started::Done(done) => panic!("nothing is there: {done:?}"),
    };
    pends(1);
    client.write_all(b"x").expect("written");
    let received = get(&port);
    assert_eq!((received.context, received.result.expect("a success")), (1, 1));
    let id = pends(2);
    assert!(server.cancel(id));
    let cancelled = get(&port);
    assert_eq!((cancelled.context, situation(&cancelled.result)), (2, Some(Situation::Cancelled)));
    nothing_comes(&port);
}

fn the_choice_stays(driver: DriverKind) {
    let (port, server, _client) = skipping(driver);
    server.skip_on_success();
    let clone = server.clone();
    for (n, handle) in [&server, &clone, &server].into_iter().enumerate() {
        let context = n as u32;
        assert_eq!(
            done(handle.send_inline(with(b"x"), context).expect("started")).context,
            context
        );
    }
    let (other, _peer) = pair(&port);
    let pends = other.send_inline(with(b"x"), 9).expect("started");
    assert!(matches!(pends, Started::Pending(_)), "{pends:?}");
    assert_eq!(get(&port).context, 9);
    nothing_comes(&port);
}
