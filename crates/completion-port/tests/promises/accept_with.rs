//! Accepts that wait for first data: S137 to S139, S144 to S146; and the addresses of every accept.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use completion_port::{Buffer, CompletionPort, DriverKind, Handle, OpId, OpKind, error::Situation};

use crate::util::{
    assert_nothing_left, assert_same, child::alone, dial, get, open, pattern,
    proc::open_descriptors, reset, situation, take, until,
};

crate::on_each_driver!(
    complete_with_the_first_data,
    complete_with_what_was_there_before,
    complete_with_nothing_when_the_peer_ends,
    bring_sockets_that_work,
    are_not_held_up_by_silent_clients,
    tell_how_long_a_client_is_silent,
    that_are_cancelled_close_the_connection,
    that_wait_for_a_connection_are_cancelled_too,
    end_with_their_listener,
    end_with_their_port,
    fail_when_the_peer_resets,
    that_race_with_a_cancel_lose_nothing,
    tell_both_addresses_whatever_the_accept,
    are_refused_without_room,
    survive_the_thread_that_started_them,
    leave_no_descriptor,
);

type Listener = Handle<&'static str, usize>;

fn listen(port: &CompletionPort<&'static str, usize>) -> (Listener, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dialled = listener.try_clone().expect("a duplicate");
    (port.associate(listener, "listener").expect("associated"), dialled)
}

fn start(listener: &Listener, context: usize) -> OpId {
    listener.accept_with(Buffer::with_capacity(64), context).expect("started")
}

/// Waits, in the port, until so many connections are accepted and silent.
fn until_silent(port: &CompletionPort<&'static str, usize>, listener: &Listener, count: usize) {
    until("they are accepted", || {
        assert!(port.get_timeout(Duration::ZERO).is_err(), "nobody has said anything");
        listener.half_accepted().len() == count
    });
}

/// The connection is over: by an end, or by a reset.
#[track_caller]
fn assert_closed(mut client: TcpStream) {
    match client.read(&mut [0]) {
        Ok(0) => {}
        Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("the connection is open: {other:?}"),
    }
}

/// S137: not on the connection, but on its first data, any amount of it; S139, S142.
fn complete_with_the_first_data(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    start(&listener, 1);
    let mut client = dial(&dialled);
    until_silent(&port, &listener, 1);
    client.write_all(b"x").expect("written");
    let mut done = get(&port);
    assert_eq!(
        (*done.handle.key(), done.kind(), done.context, done.sequence(), done.last()),
        ("listener", OpKind::AcceptWith, 1, 0, true)
    );
    assert_eq!((done.result.as_ref().ok(), &done.buffer[..]), (Some(&1), &b"x"[..]));
    let addresses = done.addresses().expect("both are known");
    assert_eq!(
        (addresses.local, addresses.peer),
        (dialled.local_addr().expect("bound"), client.local_addr().expect("connected"))
    );
    assert!(done.accepted().is_some() && done.accepted().is_none(), "once");
    assert!(done.addresses().is_none(), "the socket has them now");
    assert!(listener.half_accepted().is_empty());
    assert_nothing_left(&port);
}

fn complete_with_what_was_there_before(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    let clients: Vec<_> = (0..3_u8)
        .map(|n| {
            let mut client = dial(&dialled);
            client.write_all(&[n; 100]).expect("written");
            client
        })
        .collect();
    for (n, _client) in clients.iter().enumerate() {
        start(&listener, n);
        let mut done = get(&port);
        assert_eq!((done.result.as_ref().ok(), &done.buffer[..]), (Some(&64), &[n as u8; 64][..]));
        let mut rest = [0; 36];
        done.accepted_socket().read_exact(&mut rest).expect("the rest is still there");
        assert_eq!(rest, [n as u8; 36]);
    }
    assert_nothing_left(&port);
}

trait AcceptedSocket {
    fn accepted_socket(&mut self) -> TcpStream;
}

impl<K, T> AcceptedSocket for completion_port::Completion<K, T> {
    fn accepted_socket(&mut self) -> TcpStream {
        self.accepted().expect("a socket came")
    }
}

/// S138.
fn complete_with_nothing_when_the_peer_ends(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    start(&listener, 1);
    let client = dial(&dialled);
    until_silent(&port, &listener, 1);
    let peer = client.local_addr().expect("connected");
    drop(client);
    let mut done = get(&port);
    assert_eq!((done.result.as_ref().ok(), done.buffer.len()), (Some(&0), 0));
    assert_eq!(done.addresses().expect("told at the accept").peer, peer);
    assert!(done.accepted().is_some());
    assert_nothing_left(&port);
}

/// S142: after its own association; nothing is left of the one that waited for the first data.
fn bring_sockets_that_work(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    for time in 0..3 {
        start(&listener, 1);
        let mut client = dial(&dialled);
        if time > 0 {
            until_silent(&port, &listener, 1);
        }
        client.write_all(b"first").expect("written");
        let accepted = get(&port).accepted_socket();
        let server = port.associate(accepted, "client").expect("S142: its own association");
        server.recv(Buffer::with_capacity(8), 2).expect("started");
        server.send(pattern(0, 3 << 20).into(), 3).expect("started");
        client.write_all(b"second").expect("written");
        let expected = pattern(0, 3 << 20);
        let mut done = crate::util::while_read(&mut client, &expected, || take(&port, 2));
        done.sort_by_key(|done| done.context);
        assert_eq!(&done[0].buffer[..], b"second");
    }
    assert_nothing_left(&port);
}

/// S145: served in call order; who waits for data keeps its own operation only, also before plain accepts.
fn are_not_held_up_by_silent_clients(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    (0..4).for_each(|n| _ = start(&listener, n));
    listener.accept(4).expect("started");
    let mut clients: Vec<_> = (0..3).map(|_| dial(&dialled)).collect();
    until_silent(&port, &listener, 3);
    let mut fourth = dial(&dialled);
    fourth.write_all(b"3").expect("written");
    let done = get(&port);
    assert_eq!((done.context, &done.buffer[..]), (3, &b"3"[..]));
    let fifth = dial(&dialled);
    let mut done = get(&port);
    assert_eq!(
        (done.context, done.accepted_socket().peer_addr().expect("connected")),
        (4, fifth.local_addr().expect("connected"))
    );
    for n in [2, 0, 1] {
        clients[n].write_all(&[n as u8]).expect("written");
        let done = get(&port);
        assert_eq!(
            (done.context, &done.buffer[..], done.sequence()),
            (n, &[n as u8][..], n as u64)
        );
    }
    assert_nothing_left(&port);
}

/// S144; and a snapshot counts them.
fn tell_how_long_a_client_is_silent(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    let ids = [start(&listener, 0), start(&listener, 1)];
    assert!(listener.half_accepted().is_empty(), "nobody is there");
    let first = dial(&dialled);
    until_silent(&port, &listener, 1);
    until("time passes", || listener.half_accepted()[0].connected >= Duration::from_millis(30));
    let second = dial(&dialled);
    until_silent(&port, &listener, 2);
    let half = listener.half_accepted();
    assert_eq!([half[0].id, half[1].id], ids, "oldest first");
    assert_eq!(half[0].peer, first.local_addr().ok());
    assert_eq!(half[1].peer, second.local_addr().ok());
    assert!(half[0].connected > half[1].connected);
    let snapshot = port.snapshot();
    assert_eq!((snapshot.in_flight[0].kind, snapshot.in_flight[0].count), (OpKind::AcceptWith, 2));
    assert_eq!(listener.cancel_all(), 2);
    take(&port, 2);
    assert_nothing_left(&port);
}

fn that_are_cancelled_close_the_connection(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    let ids: Vec<_> = (0..3).map(|n| start(&listener, n)).collect();
    let mut clients: Vec<_> = (0..2).map(|_| dial(&dialled)).collect();
    until_silent(&port, &listener, 2);
    assert!(listener.cancel(ids[0]) && !listener.cancel(ids[0]), "S88");
    let mut done = get(&port);
    assert_eq!((done.context, situation(&done.result)), (0, Some(Situation::Cancelled)));
    assert_eq!((done.accepted().is_none(), done.buffer.capacity()), (true, 64));
    assert_closed(clients.remove(0));
    // The others have not heard of it.
    clients[0].write_all(b"well").expect("written");
    assert_eq!(&get(&port).buffer[..], b"well");
    let mut third = dial(&dialled);
    third.write_all(b"too").expect("written");
    assert_eq!(&get(&port).buffer[..], b"too");
    assert_nothing_left(&port);
}

fn that_wait_for_a_connection_are_cancelled_too(driver: DriverKind) {
    for which in [0, 1, 2] {
        let port = open::<&str, usize>(driver);
        let (listener, dialled) = listen(&port);
        let ids: Vec<_> = (0..3).map(|n| start(&listener, n)).collect();
        assert!(listener.cancel(ids[which]));
        let done = get(&port);
        assert_eq!((done.context, situation(&done.result)), (which, Some(Situation::Cancelled)));
        for expected in (0..3).filter(|n| *n != which) {
            dial(&dialled).write_all(b"x").expect("written");
            let done = get(&port);
            assert_eq!((done.context, done.result.expect("received")), (expected, 1));
        }
        assert_nothing_left(&port);
    }
}

/// S93, S94.
fn end_with_their_listener(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    (0..3).for_each(|n| _ = start(&listener, n));
    let clients: Vec<_> = (0..2).map(|_| dial(&dialled)).collect();
    until_silent(&port, &listener, 2);
    listener.close();
    for mut done in take(&port, 3) {
        assert_eq!(*done.handle.key(), "listener", "S94");
        assert_eq!(
            done.result.as_ref().expect_err("closed").raw_os_error(),
            Some(crate::util::codes::ECANCELED)
        );
        assert!(done.accepted().is_none());
    }
    clients.into_iter().for_each(assert_closed);
    assert!(listener.half_accepted().is_empty());
    assert!(listener.accept_with(Buffer::with_capacity(1), 9).is_err());
    assert_nothing_left(&port);
}

fn end_with_their_port(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    (0..2).for_each(|n| _ = start(&listener, n));
    let client = dial(&dialled);
    until_silent(&port, &listener, 1);
    let left = port.close();
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|done| situation(&done.result) == Some(Situation::Cancelled)));
    assert_eq!(port.snapshot().leaked, 0);
    drop(left);
    assert_closed(client);
}

/// S146: told, and the next accepts go on.
fn fail_when_the_peer_resets(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    (0..2).for_each(|n| _ = start(&listener, n));
    let client = dial(&dialled);
    until_silent(&port, &listener, 1);
    reset(client);
    let mut done = get(&port);
    assert_eq!((done.context, situation(&done.result)), (0, Some(Situation::PeerReset)));
    assert!(done.accepted().is_none());
    dial(&dialled).write_all(b"x").expect("written");
    assert_eq!(get(&port).result.expect("received"), 1);
    assert_nothing_left(&port);
}

/// Each connection is either brought with its data, or closed; and each operation has one packet.
fn that_race_with_a_cancel_lose_nothing(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    let (mut brought, mut cancelled) = (0, 0);
    for time in 0..200 {
        let id = start(&listener, time);
        let mut client = dial(&dialled);
        if time % 3 == 0 {
            until_silent(&port, &listener, 1);
        }
        client.write_all(&pattern(time, 5)).expect("written");
        if time % 2 == 0 {
            // The port may have brought it in by now, or not.
            let _ = listener.half_accepted();
            std::thread::yield_now();
        }
        listener.cancel(id);
        let mut done = get(&port);
        assert_eq!(done.context, time);
        match situation(&done.result) {
            None => {
                brought += 1;
                assert_same(&done.buffer, &pattern(time, 5), "the first data");
                let peer = done.accepted_socket().peer_addr().expect("connected");
                assert_eq!(peer, client.local_addr().expect("connected"));
            }
            Some(situation) => {
                cancelled += 1;
                assert_eq!((situation, done.accepted().is_none()), (Situation::Cancelled, true));
                // It was not accepted, and waits for the next; or it was, and is closed.
                let waiting = socket2::SockRef::from(&client).peer_addr().is_ok();
                if waiting {
                    start(&listener, usize::MAX);
                    let mut probe = dial(&dialled);
                    probe.write_all(b"probe").expect("written");
                    let next = get(&port);
                    if next.buffer[..] != b"probe"[..] {
                        assert_same(&next.buffer, &pattern(time, 5), "the one that waited");
                        start(&listener, usize::MAX);
                        assert_eq!(&get(&port).buffer[..], b"probe");
                    }
                }
            }
        }
        assert_nothing_left(&port);
    }
    assert_eq!(brought + cancelled, 200);
}

/// S139: before the socket is taken.
fn tell_both_addresses_whatever_the_accept(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let listener = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let at = listener.local_addr().expect("bound").port();
    let listener = port.associate(listener, "listener").expect("associated");
    let starts: [fn(&Listener); 3] = [
        |listener| _ = listener.accept(0).expect("started"),
        |listener| _ = start(listener, 0),
        |listener| _ = listener.accept_each(|| 0).expect("started"),
    ];
    for begin in starts {
        begin(&listener);
        let mut client = TcpStream::connect(("127.0.0.2", at)).expect("connected");
        client.write_all(b"x").expect("written");
        let done = get(&port);
        let addresses = done.addresses().expect("both are known");
        assert_eq!(addresses.local, client.peer_addr().expect("connected"));
        assert_eq!(addresses.peer, client.local_addr().expect("connected"));
    }
    listener.close();
    let done = get(&port);
    assert!(done.last() && done.addresses().is_none());
}

fn are_refused_without_room(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, _dialled) = listen(&port);
    let refused = listener.accept_with(Buffer::new(), 7).expect_err("S137: no length");
    assert_eq!((refused.error.kind(), refused.context), (ErrorKind::InvalidInput, 7));
    let (server, _client) = crate::util::pair(&port, "stream");
    let refused = server.accept_with(Buffer::with_capacity(9), 8).expect_err("no listener");
    assert_eq!((refused.context, refused.buffer.capacity()), (8, 9));
    assert_nothing_left(&port);
}

/// S106: waiting for a connection, and waiting for data.
fn survive_the_thread_that_started_them(driver: DriverKind) {
    let port = open::<&str, usize>(driver);
    let (listener, dialled) = listen(&port);
    let mut client = std::thread::scope(|s| {
        let started = s.spawn(|| {
            (0..2).for_each(|n| _ = start(&listener, n));
            let client = dial(&dialled);
            until_silent(&port, &listener, 1);
            client
        });
        started.join().expect("no panic")
    });
    client.write_all(b"first").expect("written");
    assert_eq!(&get(&port).buffer[..], b"first");
    dial(&dialled).write_all(b"second").expect("written");
    assert_eq!(&get(&port).buffer[..], b"second");
    assert_nothing_left(&port);
}

/// However it ends.
fn leave_no_descriptor(driver: DriverKind) {
    alone(|| {
        let port = open::<&str, usize>(driver);
        let (listener, dialled) = listen(&port);
        let before = open_descriptors();
        for time in 0..9 {
            let id = start(&listener, time);
            let mut client = dial(&dialled);
            until_silent(&port, &listener, 1);
            match time % 3 {
                // Nobody takes the socket.
                0 => client.write_all(b"x").expect("written"),
                1 => assert!(listener.cancel(id)),
                _ => reset(client.try_clone().expect("a duplicate")),
            }
            drop(client);
            drop(get(&port));
            assert_eq!(open_descriptors(), before, "round {time}");
        }
        start(&listener, 9);
        let _client = dial(&dialled);
        until_silent(&port, &listener, 1);
        drop((listener, port));
        drop((_client, dialled));
    });
}
