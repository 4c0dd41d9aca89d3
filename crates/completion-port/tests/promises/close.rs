//! Promise 9, close and drop, of handles (S93 to S95) and of ports (S22): everything comes back, nothing leaks.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use completion_port::{
    Buffer, CompletionPort, DriverKind, GetError, Handle, OpKind, TcpSocket, error::Situation,
};

use crate::util::{
    assert_nothing_left, busy::busy_listener, get, open, pair, pattern, situation, take,
};

crate::on_each_driver!(
    of_a_stream_ends_what_is_pending,
    of_a_listener_ends_its_accepts,
    a_handle_lives_as_long_as_something_is_pending,
    the_last_handle_closes_the_socket,
    of_a_port_gives_back_every_packet,
    of_a_port_ends_whatever_is_in_flight,
    a_dropped_port_frees_every_context,
    a_dropped_port_leaves_its_handles_harmless,
);

/// S93, S95: `ECONNABORTED`, with the buffers; the peer sees the end, though clones of the handle live.
fn of_a_stream_ends_what_is_pending(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    server.recv(Buffer::with_capacity(11), 0).expect("started");
    server.recv_lent(1).expect("started");
    server.recv(Buffer::with_capacity(11), 2).expect("started");
    server.send(pattern(0, 16 << 20).into(), 3).expect("started");
    server.send_vectored(vec![pattern(0, 10).into(), pattern(0, 5).into()], 4).expect("started");
    let clone = server.clone();
    server.close();
    let mut done = take(&port, 5);
    done.sort_by_key(|done| done.context);
    for (expected, done) in done.iter().enumerate() {
        assert_eq!(
            (done.context, situation(&done.result)),
            (expected as u32, Some(Situation::LocalClose))
        );
        assert_eq!(
            done.result.as_ref().expect_err("closed").raw_os_error(),
            Some(crate::util::codes::ECONNABORTED)
        );
    }
    assert_eq!(
        (done[0].buffer.capacity(), done[3].buffer.len(), done[4].buffers().len()),
        (11, 16 << 20, 2)
    );
    assert_nothing_left(&port);
    // What had left before the close, and then the end.
    let mut read = Vec::new();
    client.read_to_end(&mut read).expect("an orderly end");
    assert!(read == pattern(0, read.len()));
    clone.close();
    assert_nothing_left(&port);
}

/// S94: the key is the listener's, the error is that of a cancel.
fn of_a_listener_ends_its_accepts(driver: DriverKind) {
    let port = open::<&str, u32>(driver);
    let listener = port
        .associate(TcpListener::bind("127.0.0.1:0").expect("a free port"), "listener")
        .expect("associated");
    let address = listener.local_addr().expect("bound");
    listener.accept(0).expect("started");
    listener.accept(1).expect("started");
    listener.accept_each(|| 2).expect("started");
    listener.close();
    let mut done = take(&port, 3);
    done.sort_by_key(|done| done.context);
    for (expected, done) in done.iter_mut().enumerate() {
        assert_eq!(
            (done.context, *done.handle.key(), done.last()),
            (expected as u32, "listener", true)
        );
        assert_eq!(
            done.result.as_ref().expect_err("closed").raw_os_error(),
            Some(crate::util::codes::ECANCELED)
        );
        assert!(done.accepted().is_none());
    }
    assert_nothing_left(&port);
    // It does not listen any more, though the handle is still here.
    std::net::TcpStream::connect(address).expect_err("nobody listens");
}

/// No clone of the handle is left, only a receive: the connection is open, and data still comes.
fn a_handle_lives_as_long_as_something_is_pending(driver: DriverKind) {
    let port = open::<Arc<()>, ()>(driver);
    let key = Arc::new(());
    let (server, mut client) = pair(&port, key.clone());
    server.recv(Buffer::with_capacity(8), ()).expect("started");
    drop(server);
    assert_eq!((Arc::strong_count(&key), port.snapshot().handles), (2, 1));
    client.write_all(b"there?").expect("written");
    let done = get(&port);
    assert_eq!(&done.buffer[..], b"there?");
    done.handle.send(Buffer::from(&b"yes"[..]), ()).expect("started");
    drop(done);
    get(&port);
    assert_eq!(
        (Arc::strong_count(&key), port.snapshot().handles),
        (1, 0),
        "with the last packet the key is gone"
    );
    let mut read = String::new();
    client.read_to_string(&mut read).expect("an orderly end");
    assert_eq!(read, "yes");
}

fn the_last_handle_closes_the_socket(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    let clone = server.clone();
    drop(server);
    clone.send(Buffer::from(&b"x"[..]), ()).expect("a clone is as good");
    drop(clone);
    client.read_exact(&mut [0]).expect("sent");
    // The packet holds the last one.
    drop(get(&port));
    assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
}

/// Packets that nobody has taken, posts, and what is in flight; each comes back once, with its context.
fn of_a_port_gives_back_every_packet(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let key = port.key(());
    let (done_already, mut client) = pair(&port, ());
    let (pending, _client) = pair(&port, ());
    for n in 0..3 {
        key.post(0, n).expect("open");
    }
    client.write_all(&[7; 3]).expect("written");
    for n in 3..6 {
        done_already.recv(Buffer::with_capacity(1), n).expect("started");
    }
    pending.recv(Buffer::with_capacity(10), 6).expect("started");
    pending.recv_lent(7).expect("started");
    pending.recv(Buffer::with_capacity(10), 8).expect("started");
    // One is taken before.
    assert_eq!(get(&port).context, 0);
    let left: BTreeMap<u32, _> =
        port.close().into_iter().map(|done| (done.context, done)).collect();
    assert!(left.keys().copied().eq(1..9), "{:?}", left.keys());
    for n in 1..3 {
        assert_eq!((left[&n].kind(), left[&n].result.as_ref().ok()), (OpKind::Post, Some(&0)));
    }
    for n in 6..9 {
        assert_eq!(situation(&left[&n].result), Some(Situation::Cancelled));
    }
    // Data that had come is not thrown away; a receive that had not looked yet is cancelled.
    for n in 3..6 {
        let outcome = situation(&left[&n].result);
        assert!(outcome.is_none_or(|it| it == Situation::Cancelled), "{outcome:?}");
        assert_eq!(left[&n].buffer.len(), usize::from(outcome.is_none()));
    }
    assert!(matches!(port.get(), Err(GetError::Closed)));
    assert!(port.close().is_empty(), "a second close has nothing to give");
    assert_eq!(port.snapshot().leaked, 0);
}

/// What keeps the other ends of the connections open.
type Clients = Box<dyn Send>;

/// One of each kind, under way, with something behind it.
fn one_of_each(
    port: &CompletionPort<(), Arc<()>>,
    context: &Arc<()>,
) -> (Vec<Handle<(), Arc<()>>>, Clients) {
    let give = || context.clone();
    let (receiving, a) = pair(port, ());
    receiving.recv(Buffer::with_capacity(1), give()).expect("started");
    receiving.recv_lent(give()).expect("started");
    let (lent, b) = pair(port, ());
    lent.recv_lent(give()).expect("started");
    let (sending, c) = pair(port, ());
    sending.send(vec![1; 16 << 20].into(), give()).expect("started");
    sending.send_vectored(vec![vec![1; 100].into()], give()).expect("started");
    let (gathering, d) = pair(port, ());
    gathering
        .send_vectored(vec![vec![1; 16 << 20].into(), vec![2; 5].into()], give())
        .expect("started");
    let (ending, e) = pair(port, ());
    ending.end(Duration::from_secs(60), give()).expect("started");
    let accepting = port
        .associate(TcpListener::bind("127.0.0.1:0").expect("a free port"), ())
        .expect("associated");
    accepting.accept(give()).expect("started");
    accepting.accept(give()).expect("started");
    let each = port
        .associate(TcpListener::bind("127.0.0.1:0").expect("a free port"), ())
        .expect("associated");
    let maker = give();
    each.accept_each(move || maker.clone()).expect("started");
    let (listener, address, fillers) = busy_listener();
    let connecting =
        port.associate(TcpSocket::new(&address).expect("a socket"), ()).expect("associated");
    connecting.connect(address, give()).expect("started");
    (
        vec![receiving, lent, sending, gathering, ending, accepting, each, connecting],
        Box::new((a, b, c, d, e, listener, fillers)),
    )
}

/// What [`one_of_each`] starts.
const OF_EACH: usize = 11;

fn of_a_port_ends_whatever_is_in_flight(driver: DriverKind) {
    let port = open::<(), Arc<()>>(driver);
    let context = Arc::new(());
    let (handles, peers) = one_of_each(&port, &context);
    let (before, drain) = (Instant::now(), Duration::from_secs(5));
    let left = port.close();
    assert!(before.elapsed() < drain, "sockets need none of the drain's time");
    assert_eq!((left.len(), port.snapshot().leaked), (OF_EACH, 0));
    for done in &left {
        assert_eq!(situation(&done.result), Some(Situation::Cancelled), "{:?}", done.kind());
    }
    drop((left, handles));
    assert_eq!(Arc::strong_count(&context), 1, "no context is left");
    drop(peers);
}

fn a_dropped_port_frees_every_context(driver: DriverKind) {
    let port = open::<(), Arc<()>>(driver);
    let context = Arc::new(());
    let (handles, peers) = one_of_each(&port, &context);
    port.key(()).post(0, context.clone()).expect("open");
    drop(handles);
    assert!(Arc::strong_count(&context) > OF_EACH);
    drop(port);
    assert_eq!(Arc::strong_count(&context), 1, "no context is left");
    drop(peers);
}

/// S15, S40: handles that outlive their port refuse, and free their key and close their socket in the end.
fn a_dropped_port_leaves_its_handles_harmless(driver: DriverKind) {
    let port = open::<Arc<()>, ()>(driver);
    let key = Arc::new(());
    let (server, mut client) = pair(&port, key.clone());
    let bare = port.key(key.clone());
    let lent = port.lend().expect("a buffer");
    server.recv_lent(()).expect("started");
    drop(port);
    assert!(
        server.recv_lent(()).is_err()
            && server.send(vec![1].into(), ()).is_err()
            && bare.post(0, ()).is_err()
    );
    assert_eq!((server.cancel_all(), Arc::strong_count(&key)), (0, 3));
    server.close();
    drop((server, bare));
    assert_eq!(Arc::strong_count(&key), 1);
    assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
    assert_eq!(lent.capacity(), 16 * 1024, "a lent buffer outlives its port, too");
    drop(lent);
}
