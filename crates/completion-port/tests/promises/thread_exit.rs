//! Promise 9, thread exit: an operation of a handle with a port survives the thread that started it (S106).
//!
//! On Linux a thread's io_uring requests are cancelled with it; the port starts them again.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use completion_port::{Buffer, DriverKind, GetError, Handle, OpKind, TcpSocket, error::Situation};

use crate::util::{
    assert_nothing_left, assert_same, busy::busy_listener, dial, get, open, pair, pattern,
    situation,
};

crate::on_each_driver!(
    receives_survive,
    sends_survive_whole,
    accepts_survive,
    a_connect_survives,
    an_end_survives,
    through_generations_of_threads,
    a_cancel_is_not_undone,
);

/// Runs something in a thread that is gone, with all it had, when this returns.
fn in_a_thread_that_exits<R: Send>(act: impl FnOnce() -> R + Send) -> R {
    thread::scope(|s| s.spawn(act).join().expect("no panic"))
}

fn receives_survive(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (owned, mut to_owned) = pair(&port, ());
    let (lent, mut to_lent) = pair(&port, ());
    in_a_thread_that_exits(|| {
        for n in 0..3 {
            owned.recv(Buffer::with_capacity(2), n).expect("started");
            lent.recv_lent(10 + n).expect("started");
        }
    });
    assert!(
        matches!(port.get_timeout(Duration::ZERO), Err(GetError::TimedOut)),
        "nothing has ended"
    );
    for n in 0..3 {
        to_owned.write_all(&pattern(n as usize, 2)).expect("written");
        let done = get(&port);
        assert_eq!(
            (done.context, done.result.expect("received"), &done.buffer[..]),
            (n, 2, &pattern(n as usize, 2)[..])
        );
        to_lent.write_all(&pattern(50 + n as usize, 5)).expect("written");
        let done = get(&port);
        assert_eq!(
            (done.context, done.result.expect("received"), &done.buffer[..]),
            (10 + n, 5, &pattern(50 + n as usize, 5)[..])
        );
    }
    assert_nothing_left(&port);
}

/// One that is half out, in one piece or gathered, goes on where it was: no byte is lost or sent twice.
fn sends_survive_whole(driver: DriverKind) {
    const MUCH: usize = 12 << 20;
    let port = open::<(), ()>(driver);
    let all: Arc<[u8]> = pattern(0, MUCH).into();
    for gathered in [false, true] {
        let (server, mut client) = pair(&port, ());
        in_a_thread_that_exits(|| {
            if gathered {
                server
                    .send_vectored(all.chunks(1_000_001).map(Buffer::from).collect(), ())
                    .expect("started");
            } else {
                server.send(all.clone().into(), ()).expect("started");
            }
        });
        let mut read = vec![0; MUCH];
        thread::scope(|s| {
            s.spawn(|| client.read_exact(&mut read).expect("all of it"));
            assert_eq!(get(&port).result.expect("whole"), MUCH);
        });
        assert_same(&read, &all, "what the peer read");
        server.shutdown(Shutdown::Write).expect("nothing is queued");
        assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0, "not a byte more");
        assert_nothing_left(&port);
    }
}

fn accepts_survive(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dialled = listener.try_clone().expect("a duplicate");
    let listener = port.associate(listener, ()).expect("associated");
    in_a_thread_that_exits(|| {
        listener.accept(1).expect("started");
        listener.accept_each(|| 2).expect("started");
    });
    let mut clients = Vec::new();
    for expected in [1, 2, 2, 2] {
        clients.push(dial(&dialled));
        let mut done = get(&port);
        assert_eq!(
            (done.context, done.accepted().is_some(), done.last()),
            (expected, true, expected == 1)
        );
    }
    listener.close();
    assert!(get(&port).last());
    assert_nothing_left(&port);
}

/// One whose answer is long in coming, and one whose answer is there.
fn a_connect_survives(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (listener, address, fillers) = busy_listener();
    let connect = |context| {
        let client =
            port.associate(TcpSocket::new(&address).expect("a socket"), ()).expect("associated");
        client.connect(address, context).expect("started");
        client
    };
    let waiting = in_a_thread_that_exits(|| connect(1));
    assert!(matches!(port.get_timeout(Duration::from_millis(10)), Err(GetError::TimedOut)));
    // Room is made; the system tries again after a second or so.
    drop(fillers);
    listener.listen(100).expect("a longer backlog");
    while listener.set_nonblocking(true).is_ok() && listener.accept().is_ok() {}
    let done = get(&port);
    assert_eq!((done.context, done.result.expect("connected")), (1, 0));
    assert_eq!(waiting.peer_addr().expect("connected"), address);
    let quick = in_a_thread_that_exits(|| connect(2));
    let done = get(&port);
    assert_eq!((done.context, done.result.expect("connected")), (2, 0));
    assert_eq!(quick.peer_addr().expect("connected"), address);
    assert_nothing_left(&port);
}

fn an_end_survives(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    in_a_thread_that_exits(|| server.end(crate::util::PATIENCE, ()).expect("started"));
    client.write_all(&[1; 1000]).expect("written");
    drop(client);
    assert_eq!(get(&port).result.expect("the peer's end"), 1000);
    assert_nothing_left(&port);
}

/// The thread that starts the operation again may exit as well.
fn through_generations_of_threads(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    let (lent, mut to_lent) = pair(&port, ());
    in_a_thread_that_exits(|| {
        server.recv(Buffer::with_capacity(10), ()).expect("started");
        lent.recv_lent(()).expect("started");
    });
    for _ in 0..5 {
        in_a_thread_that_exits(|| {
            assert!(matches!(port.get_timeout(Duration::from_millis(2)), Err(GetError::TimedOut)))
        });
    }
    client.write_all(b"at last").expect("written");
    assert_eq!(&get(&port).buffer[..], b"at last");
    to_lent.write_all(b"here too").expect("written");
    assert_eq!(&get(&port).buffer[..], b"here too");
    assert_nothing_left(&port);
}

/// An operation that the user has cancelled does not come to life again with its thread's end.
fn a_cancel_is_not_undone(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    type Start = fn(&Handle<(), ()>);
    let starts: [Start; 2] = [
        |handle| _ = handle.recv(Buffer::with_capacity(1), ()).expect("started"),
        |handle| _ = handle.recv_lent(()).expect("started"),
    ];
    for start in starts {
        let (server, _client) = pair(&port, ());
        in_a_thread_that_exits(|| {
            start(&server);
            assert_eq!(server.cancel_all(), 1);
        });
        let done = get(&port);
        assert_eq!(situation(&done.result), Some(Situation::Cancelled), "{:?}", done.kind());
        assert_ne!(done.kind(), OpKind::Post);
        assert_nothing_left(&port);
    }
}
