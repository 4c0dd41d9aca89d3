//! Accepts: S142, S145, S147, and what becomes of a socket that nobody takes.

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use completion_port::{Buffer, CompletionPort, DriverKind, Handle, OpKind};

use crate::util::{assert_nothing_left, dial, get, open, situation, take};

crate::on_each_driver!(
    are_served_in_call_order,
    take_connections_that_were_there_before,
    bring_sockets_that_work,
    close_a_socket_that_nobody_takes,
    of_each_connection_make_a_context_for_it,
    lose_no_connection_when_they_are_cancelled,
    do_not_care_for_the_blocking_mode,
);

fn listen<T: Send>(
    port: &CompletionPort<&'static str, T>,
) -> (Handle<&'static str, T>, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dialled = listener.try_clone().expect("a duplicate");
    (port.associate(listener, "listener").expect("associated"), dialled)
}

/// S145, S142, S137: the first call has the first connection; the key is the listener's.
fn are_served_in_call_order(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    (0..4).for_each(|n| _ = listener.accept(n).expect("started"));
    let clients: Vec<TcpStream> = (0..4).map(|_| dial(&dialled)).collect();
    for mut done in take(&port, 4) {
        assert_eq!(
            (*done.handle.key(), done.kind(), done.sequence()),
            ("listener", OpKind::Accept, done.context as u64)
        );
        assert_eq!((done.result.as_ref().ok(), done.last()), (Some(&0), true));
        let peer = done.accepted().expect("a socket").peer_addr().expect("connected");
        assert_eq!(
            peer,
            clients[done.context].local_addr().expect("connected"),
            "the client of that turn"
        );
    }
    assert_nothing_left(&port);
}

fn take_connections_that_were_there_before(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    let clients: Vec<TcpStream> = (0..3).map(|_| dial(&dialled)).collect();
    for (n, client) in clients.iter().enumerate() {
        listener.accept(n).expect("started");
        let peer = get(&port).accepted().expect("a socket").peer_addr().expect("connected");
        assert_eq!(peer, client.local_addr().expect("connected"));
    }
}

/// S143: with nothing to be done to them before. S17: the packet of a receive has its key, its context and its bytes.
fn bring_sockets_that_work(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    listener.accept(1).expect("started");
    let mut client = dial(&dialled);
    let accepted = get(&port).accepted().expect("a socket");
    let server = port.associate(accepted, "client").expect("S142: it needs its own association");
    server.recv(Buffer::with_capacity(8), 2).expect("started");
    client.write_all(b"hello").expect("written");
    let done = get(&port);
    assert_eq!((done.context, done.result.as_ref().ok()), (2, Some(&5)));
    assert_eq!((*done.handle.key(), &done.buffer[..]), ("client", &b"hello"[..]));
    assert_eq!(server.peer_addr().expect("connected"), client.local_addr().expect("connected"));
}

/// The client is told, as soon as the packet is dropped.
fn close_a_socket_that_nobody_takes(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    listener.accept(1).expect("started");
    let mut client = dial(&dialled);
    drop(get(&port));
    assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);

    // And so with a packet that is left in a port that is dropped.
    listener.accept(2).expect("started");
    let mut client = dial(&dialled);
    crate::util::until("it is accepted", || {
        port.key("key").post(0, 3).expect("open");
        take(&port, 1);
        port.snapshot().packets == 1 || port.snapshot().in_flight.is_empty()
    });
    drop((port, listener, dialled));
    match client.read(&mut [0]) {
        Ok(0) => {}
        Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("the connection is open: {other:?}"),
    }
}

fn of_each_connection_make_a_context_for_it(driver: DriverKind) {
    const COUNT: usize = 20;
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    let mut number = 0;
    listener
        .accept_each(move || {
            number += 1;
            number
        })
        .expect("started");
    let clients: Vec<SocketAddr> =
        (0..COUNT).map(|_| dial(&dialled).local_addr().expect("connected")).collect();
    for expected in 1..=COUNT {
        let mut done = get(&port);
        assert_eq!((done.context, done.last(), *done.handle.key()), (expected, false, "listener"));
        // The client may be gone already: its address is what remains.
        let accepted = done.accepted().expect("a socket");
        if let Ok(peer) = accepted.peer_addr() {
            assert_eq!(peer, clients[expected - 1]);
        }
        assert!(done.accepted().is_none(), "once");
    }
    assert_eq!(listener.cancel_all(), 1);
    assert!(get(&port).last());
    assert_nothing_left(&port);
}

/// Continuing accepts are cancelled and started again while clients come: each client is accepted, and once.
fn lose_no_connection_when_they_are_cancelled(driver: DriverKind) {
    const COUNT: usize = 60;
    let port = open::<&str, ()>(driver);
    let (listener, dialled) = listen(&port);
    thread::scope(|s| {
        let dialler = s.spawn(|| (0..COUNT).map(|_| dial(&dialled)).collect::<Vec<_>>());
        let mut peers = BTreeSet::new();
        let (mut open, mut cancels) = (0, 0);
        while peers.len() < COUNT {
            if open == 0 {
                listener.accept_each(|| ()).expect("started");
                open = 1;
            }
            let mut done = get(&port);
            if let Some(accepted) = done.accepted() {
                assert!(peers.insert(accepted.peer_addr().expect("connected")), "accepted twice");
            }
            if done.last() {
                situation(&done.result).expect("it was cancelled");
                open -= 1;
            } else if peers.len() % 3 == 0 {
                cancels += listener.cancel_all();
            }
        }
        assert!(cancels > 0);
        let clients: BTreeSet<_> = dialler
            .join()
            .expect("no panic")
            .iter()
            .map(|client| client.local_addr().expect("connected"))
            .collect();
        assert_eq!(peers, clients);
    });
}

/// S147.
fn do_not_care_for_the_blocking_mode(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    for nonblocking in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(nonblocking).expect("an option");
        let dialled = listener.try_clone().expect("a duplicate");
        let listener = port.associate(listener, "listener").expect("associated");
        listener.accept(1).expect("started");
        assert!(port.get_timeout(std::time::Duration::from_millis(5)).is_err(), "it pends");
        let _client = dial(&dialled);
        assert!(get(&port).accepted().is_some());
    }
    assert_nothing_left(&port);
}
