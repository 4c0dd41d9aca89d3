//! Promise 9, cancel: S85 to S91.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

use completion_port::{
    Buffer, CompletionPort, DriverKind, Handle, OpId, TcpSocket, error::Situation,
};

use crate::util::{
    assert_nothing_left, assert_same, busy::busy_listener, dial, get, open, pair, pattern,
    situation, take, while_read,
};

crate::on_each_driver!(
    one_of_several_disturbs_no_other,
    one_of_several_sends_is_not_sent,
    one_under_way_is_followed_by_the_next,
    one_of_several_accepts,
    a_second_cancel_finds_nothing,
    all_of_a_handle,
    whatever_the_operation_is,
    a_connect_on_its_way,
    what_had_come_is_not_lost,
);

/// S91, S85: the first, one in the middle, the last of six receives.
fn one_of_several_disturbs_no_other(driver: DriverKind) {
    for which in [0, 3, 5] {
        let port = open::<(), usize>(driver);
        let (server, mut client) = pair(&port, ());
        let ids: Vec<OpId> =
            (0..6).map(|n| server.recv(Buffer::with_capacity(1), n).expect("started")).collect();
        assert!(server.cancel(ids[which]), "it was found");
        let done = get(&port);
        assert_eq!((done.context, situation(&done.result)), (which, Some(Situation::Cancelled)));
        assert_eq!(
            (done.sequence(), done.buffer.capacity()),
            (which as u64, 1),
            "the buffer comes back"
        );
        client.write_all(b"abcde").expect("written");
        let mut done: Vec<_> =
            take(&port, 5).into_iter().map(|done| (done.context, done.buffer.to_vec())).collect();
        done.sort();
        let contexts = (0..6).filter(|n| *n != which);
        assert!(done.iter().map(|one| one.0).eq(contexts));
        assert!(done.into_iter().flat_map(|one| one.1).eq(*b"abcde"), "in call order still");
        assert_nothing_left(&port);
    }
}

/// The one behind the one that is under way goes; what was before it and after it is whole.
fn one_of_several_sends_is_not_sent(driver: DriverKind) {
    const FIRST: usize = 8 << 20;
    let port = open::<(), usize>(driver);
    let (server, mut client) = pair(&port, ());
    let lengths = [FIRST, 1000, 2000, 3000];
    let mut ids = Vec::new();
    for (number, len) in lengths.into_iter().enumerate() {
        ids.push(server.send(pattern(number * 10_000, len).into(), number).expect("started"));
    }
    assert!(server.cancel(ids[2]));
    let done = get(&port);
    assert_eq!(
        (done.context, situation(&done.result), done.buffer.len()),
        (2, Some(Situation::Cancelled), 2000)
    );
    let expected = [pattern(0, FIRST), pattern(10_000, 1000), pattern(30_000, 3000)].concat();
    let packets = while_read(&mut client, &expected, || take(&port, 3));
    assert!(
        packets
            .iter()
            .all(|done| done.result.as_ref().is_ok_and(|sent| *sent == lengths[done.context]))
    );
    assert_nothing_left(&port);
}

/// A part of it has left, and no more of it does; what is behind it goes out whole.
fn one_under_way_is_followed_by_the_next(driver: DriverKind) {
    const FIRST: usize = 16 << 20;
    for gathered in [false, true] {
        let port = open::<(), usize>(driver);
        let (server, mut client) = pair(&port, ());
        let first = pattern(0, FIRST);
        let id = match gathered {
            false => server.send(first[..].into(), 0).expect("started"),
            true => server
                .send_vectored(first.chunks(777_777).map(Buffer::from).collect(), 0)
                .expect("started"),
        };
        let second = vec![0; 5000];
        server.send(second[..].into(), 1).expect("started");
        server.shutdown(Shutdown::Write).expect("behind them");
        assert!(server.cancel(id));
        let mut read = Vec::new();
        let mut done = thread::scope(|s| {
            s.spawn(|| client.read_to_end(&mut read).expect("an orderly end"));
            take(&port, 2)
        });
        done.sort_by_key(|done| done.context);
        assert_eq!(situation(&done[0].result), Some(Situation::Cancelled));
        assert_eq!(done[1].result.as_ref().expect("whole"), &5000);
        let left = read.len() - 5000;
        assert!(left < FIRST);
        assert_same(&read[..left], &first[..left], "what had left of the first");
        assert_same(&read[left..], &second, "the second");
        assert_nothing_left(&port);
    }
}

fn one_of_several_accepts(driver: DriverKind) {
    for which in [0, 1, 3] {
        let port = open::<(), usize>(driver);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let dialled = listener.try_clone().expect("a duplicate");
        let listener = port.associate(listener, ()).expect("associated");
        let ids: Vec<OpId> = (0..4).map(|n| listener.accept(n).expect("started")).collect();
        assert!(listener.cancel(ids[which]));
        let mut done = get(&port);
        assert_eq!((done.context, situation(&done.result)), (which, Some(Situation::Cancelled)));
        assert!(done.accepted().is_none());
        for expected in (0..4).filter(|n| *n != which) {
            let client = dial(&dialled);
            let mut done = get(&port);
            let peer = done.accepted().expect("a socket").peer_addr().expect("connected");
            assert_eq!((done.context, peer), (expected, client.local_addr().expect("connected")));
        }
        assert_nothing_left(&port);
    }
}

/// S88; and the id of an operation that is over finds nothing either.
fn a_second_cancel_finds_nothing(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    let id = server.recv(Buffer::with_capacity(1), ()).expect("started");
    assert!(server.cancel(id));
    assert!(!server.cancel(id));
    assert_eq!(server.cancel_all(), 0);
    assert_eq!(situation(&get(&port).result), Some(Situation::Cancelled));
    assert!(!server.cancel(id));

    let id = server.recv(Buffer::with_capacity(1), ()).expect("started");
    client.write_all(b"x").expect("written");
    assert_eq!(get(&port).result.expect("received"), 1);
    assert!(!server.cancel(id), "it is over");
    assert_nothing_left(&port);
}

/// S86: by whatever thread they were started.
fn all_of_a_handle(driver: DriverKind) {
    let port = open::<u32, u32>(driver);
    let (server, _client) = pair(&port, 1);
    let (other, mut other_client) = pair(&port, 2);
    other.recv(Buffer::with_capacity(1), 99).expect("started");
    thread::scope(|s| {
        for context in 0..3 {
            let server = &server;
            s.spawn(move || server.recv_lent(context).expect("started"));
        }
    });
    // More than the system takes: the first is under way, the second waits.
    server.send(pattern(0, 32 << 20).into(), 3).expect("started");
    server.send(pattern(0, 10).into(), 4).expect("started");
    assert_eq!(server.cancel_all(), 5);
    let mut done = take(&port, 5);
    done.sort_by_key(|done| done.context);
    assert!(done.iter().map(|done| (done.context, *done.handle.key())).eq((0..5).map(|n| (n, 1))));
    assert!(done.iter().all(|done| situation(&done.result) == Some(Situation::Cancelled)));
    assert_same(&done[3].buffer, &pattern(0, 32 << 20), "the buffer comes back as it was");
    // The other handle has not heard of it.
    other_client.write_all(b"x").expect("written");
    assert_eq!(get(&port).context, 99);
    assert_nothing_left(&port);
}

fn whatever_the_operation_is(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, _client) = pair(&port, ());
    let listener = port
        .associate(TcpListener::bind("127.0.0.1:0").expect("a free port"), ())
        .expect("associated");
    type Start = fn(&Handle<(), ()>) -> OpId;
    let starts: [(&Handle<(), ()>, Start); 6] = [
        (&server, |handle| handle.recv(Buffer::with_capacity(1), ()).expect("started")),
        (&server, |handle| handle.recv_lent(()).expect("started")),
        (&server, |handle| handle.send(vec![1; 32 << 20].into(), ()).expect("started")),
        (&server, |handle| {
            handle.send_vectored(vec![vec![1; 32 << 20].into()], ()).expect("started")
        }),
        (&listener, |handle| handle.accept(()).expect("started")),
        (&listener, |handle| handle.accept_each(|| ()).expect("started")),
    ];
    for (handle, start) in starts {
        let id = start(handle);
        assert!(handle.cancel(id));
        let done = get(&port);
        assert_eq!(
            (situation(&done.result), done.last()),
            (Some(Situation::Cancelled), true),
            "{:?}",
            done.kind()
        );
        assert_eq!(
            done.result.expect_err("cancelled").raw_os_error(),
            Some(crate::util::codes::ECANCELED)
        );
    }
    // The graceful end too: and then the handle is closed, since nothing can be done with it any more.
    let id = server.end(crate::util::PATIENCE, ()).expect("started");
    assert!(server.cancel(id));
    situation(&get(&port).result).expect("an error");
    assert!(server.recv_lent(()).is_err());
    assert_nothing_left(&port);
}

fn a_connect_on_its_way(driver: DriverKind) {
    let port: CompletionPort<(), u32> = open(driver);
    let (_listener, address, _fillers) = busy_listener();
    let client =
        port.associate(TcpSocket::new(&address).expect("a socket"), ()).expect("associated");
    let id = client.connect(address, 1).expect("started");
    // Behind it, and not before it.
    client.send(vec![1].into(), 2).expect("started");
    assert!(port.get_timeout(std::time::Duration::from_millis(1)).is_err());
    assert!(client.cancel(id));
    let done = get(&port);
    assert_eq!((done.context, situation(&done.result)), (1, Some(Situation::Cancelled)));
    // The system does not go on connecting behind our back: the send has nobody to go to.
    let done = get(&port);
    assert_eq!(done.context, 2);
    done.result.expect_err("there is no connection");
    assert_nothing_left(&port);
}

/// A receive whose data had come completes with it, or leaves it to the next (S89); many times, both directions at once.
fn what_had_come_is_not_lost(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    let mut got = Vec::new();
    for time in 0..100_usize {
        let id = server.recv(Buffer::with_capacity(3), ()).expect("started");
        client.write_all(&pattern(time * 3, 3)).expect("written");
        server.cancel(id);
        let done = get(&port);
        match situation(&done.result) {
            None => got.extend_from_slice(&done.buffer),
            Some(situation) => {
                assert_eq!((situation, done.buffer.len()), (Situation::Cancelled, 0))
            }
        }
    }
    drop(client);
    loop {
        server.recv_lent(()).expect("started");
        let done = get(&port);
        if done.result.expect("received") == 0 {
            break;
        }
        got.extend_from_slice(&done.buffer);
    }
    assert_same(&got, &pattern(0, 300), "what was received");
}

/// What [`busy_listener`] promises: the test above would pass on a listener that accepts, too.
#[test]
fn the_busy_listener_is_busy() {
    let (_listener, address, _fillers) = busy_listener();
    TcpStream::connect_timeout(&address, std::time::Duration::from_millis(50))
        .expect_err("nobody gets in");
    let well = TcpListener::bind("127.0.0.1:0").expect("a free port");
    dial(&well).write_all(&[1]).expect("written");
    assert_eq!(well.accept().expect("accepted").0.read(&mut [0; 2]).expect("read"), 1);
}
