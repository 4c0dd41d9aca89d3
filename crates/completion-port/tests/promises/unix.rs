//! Streams and listeners of the Unix domain: what those of TCP promise, but for what only TCP has.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    thread,
    time::Duration,
};

use completion_port::{Buffer, CompletionPort, DriverKind, Handle, error::Situation};

use crate::util::{
    PATIENCE, assert_nothing_left, assert_same, files, get, open, pattern, situation, take,
};

crate::on_each_driver!(
    both_directions,
    accepted_as_what_it_is,
    accepted_with_first_data,
    every_one_that_comes,
    an_orderly_end,
    ends_of_the_peer,
    cancelled_and_closed,
    what_only_tcp_has,
);

fn pair<T: Send + 'static>(port: &CompletionPort<(), T>) -> (Handle<(), T>, UnixStream) {
    let (server, client) = UnixStream::pair().expect("a pair");
    client.set_read_timeout(Some(PATIENCE)).expect("an option");
    client.set_write_timeout(Some(PATIENCE)).expect("an option");
    (port.associate(server, ()).expect("associated"), client)
}

/// A listener, and where it is.
struct Listening(UnixListener, PathBuf);

fn listening() -> Listening {
    let path = files::path();
    Listening(UnixListener::bind(&path).expect("a path of its own"), path)
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.1);
    }
}

fn both_directions(driver: DriverKind) {
    const LONG: usize = 3 << 20;
    let port = open::<(), u8>(driver);
    let (server, mut client) = pair(&port);
    server.recv(Buffer::with_capacity(100), 0).expect("started");
    server.recv_lent(1).expect("started");
    for context in 0..2 {
        client.write_all(b"hello").expect("written");
        let done = get(&port);
        assert_eq!((done.context, &done.buffer[..]), (context, &b"hello"[..]));
    }
    server.send(pattern(0, LONG).into(), 2).expect("started");
    let parts = pattern(LONG, LONG);
    server.send_vectored(parts.chunks(99_999).map(Buffer::from).collect(), 3).expect("started");
    thread::scope(|s| {
        s.spawn(|| {
            let mut read = vec![0; 2 * LONG];
            client.read_exact(&mut read).expect("all of it");
            assert_same(&read, &pattern(0, 2 * LONG), "what the peer reads");
        });
        for context in 2..4 {
            let done = get(&port);
            assert_eq!((done.context, done.result.expect("whole")), (context, LONG));
        }
    });
    assert_nothing_left(&port);
}

/// S142: a Unix stream from a Unix listener, once, and a TCP stream from none.
fn accepted_as_what_it_is(driver: DriverKind) {
    let port = open::<(), u8>(driver);
    let listening = listening();
    let listener = port.associate(listening.0.try_clone().expect("a duplicate"), ());
    let listener = listener.expect("associated");
    port.associate(listening.0.try_clone().expect("a duplicate"), ()).expect_err("S13");
    listener.accept(1).expect("started");
    let mut client = UnixStream::connect(&listening.1).expect("connected");
    let mut done = get(&port);
    assert!(done.accepted().is_none(), "it is no TCP stream");
    let stream = done.accepted_unix().expect("a stream");
    assert!(done.accepted_unix().is_none(), "once");
    let server = port.associate(stream, ()).expect("associated");
    client.write_all(b"hello").expect("written");
    server.recv(Buffer::with_capacity(10), 2).expect("started");
    assert_eq!(&get(&port).buffer[..], b"hello");

    let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = tcp.local_addr().expect("bound");
    port.associate(tcp, ()).expect("associated").accept(3).expect("started");
    let _client = std::net::TcpStream::connect(address).expect("connected");
    let mut done = get(&port);
    assert!(done.accepted_unix().is_none());
    assert!(done.accepted().is_some());
    assert_nothing_left(&port);
}

/// S137, S144, S145, of the Unix domain: beside a silent client; only TCP has addresses to tell.
fn accepted_with_first_data(driver: DriverKind) {
    let port = open::<(), u8>(driver);
    let listening = listening();
    let listener = port.associate(listening.0.try_clone().expect("a duplicate"), ());
    let listener = listener.expect("associated");
    let silent = listener.accept_with(Buffer::with_capacity(10), 1).expect("started");
    listener.accept_with(Buffer::with_capacity(10), 2).expect("started");
    let mut quiet = UnixStream::connect(&listening.1).expect("connected");
    let mut client = UnixStream::connect(&listening.1).expect("connected");
    client.write_all(b"hello").expect("written");
    let mut done = get(&port);
    assert_eq!((done.context, &done.buffer[..]), (2, &b"hello"[..]));
    assert!(done.addresses().is_none() && done.accepted().is_none());
    let mut server = done.accepted_unix().expect("a stream");
    server.write_all(b"welcome").expect("written");
    client.read_exact(&mut [0; 7]).expect("its own server's");

    let half = listener.half_accepted();
    assert_eq!(half.iter().map(|half| (half.id, half.peer)).collect::<Vec<_>>(), [(silent, None)]);
    assert!(listener.cancel(silent));
    assert_eq!(situation(&get(&port).result), Some(Situation::Cancelled));
    assert_eq!(quiet.read(&mut [0]).expect("an end"), 0);
    assert_nothing_left(&port);
}

fn every_one_that_comes(driver: DriverKind) {
    let port = open::<(), u8>(driver);
    let listening = listening();
    let listener = port.associate(listening.0.try_clone().expect("a duplicate"), ());
    let listener = listener.expect("associated");
    listener.accept_each(|| 9).expect("started");
    for _ in 0..10 {
        let mut client = UnixStream::connect(&listening.1).expect("connected");
        client.write_all(b"x").expect("written");
        let mut done = get(&port);
        let mut stream = done.accepted_unix().expect("a stream");
        stream.read_exact(&mut [0]).expect("its own client's");
    }
    listener.close();
    let done = get(&port);
    assert!(done.last());
    assert_eq!(situation(&done.result), Some(Situation::Cancelled));
    assert_nothing_left(&port);
}

/// The graceful end, and `shutdown`.
fn an_orderly_end(driver: DriverKind) {
    let port = open::<(), u8>(driver);
    let (server, mut client) = pair(&port);
    server.send(pattern(0, 2 << 20).into(), 1).expect("started");
    server.end(PATIENCE, 2).expect("started");
    let mut read = Vec::new();
    thread::scope(|s| {
        s.spawn(|| {
            client.write_all(b"too late").expect("written");
            client.read_to_end(&mut read).expect("an end");
            client.shutdown(Shutdown::Write).expect("connected");
        });
        let mut contexts: Vec<_> = take(&port, 2)
            .into_iter()
            .map(|done| (done.context, done.result.expect("in order")))
            .collect();
        contexts.sort_unstable();
        assert_eq!(contexts, [(1, 2 << 20), (2, 8)]);
    });
    assert_same(&read, &pattern(0, 2 << 20), "what the peer reads");

    let (server, mut client) = pair(&port);
    server.send(b"bye".to_vec().into(), 3).expect("started");
    server.shutdown(Shutdown::Write).expect("connected");
    read.clear();
    client.read_to_end(&mut read).expect("an end");
    assert_eq!(read, b"bye");
    get(&port);
    assert_nothing_left(&port);
}

/// S111, S112: an end is an end, and a peer that went away with bytes unread is a reset.
fn ends_of_the_peer(driver: DriverKind) {
    let port = open::<(), u8>(driver);
    let (server, client) = pair(&port);
    server.recv(Buffer::with_capacity(1), 0).expect("started");
    drop(client);
    assert_eq!(get(&port).result.expect("an end"), 0);
    server.send(vec![1].into(), 1).expect("started");
    assert_eq!(situation(&get(&port).result), Some(Situation::PeerReset));

    let (server, client) = pair(&port);
    server.send(vec![1].into(), 2).expect("started");
    get(&port).result.expect("sent");
    drop(client);
    for context in 3..5 {
        server.recv(Buffer::with_capacity(1), context).expect("started");
        assert_eq!(situation(&get(&port).result), Some(Situation::PeerReset));
    }
    assert_nothing_left(&port);
}

fn cancelled_and_closed(driver: DriverKind) {
    let port = open::<(), u8>(driver);
    let (server, mut client) = pair(&port);
    let id = server.recv(Buffer::with_capacity(1), 0).expect("started");
    server.recv(Buffer::with_capacity(1), 1).expect("started");
    assert!(server.cancel(id));
    assert_eq!(situation(&get(&port).result), Some(Situation::Cancelled));
    server.send(vec![0; 8 << 20].into(), 2).expect("started");
    server.close();
    for done in take(&port, 2) {
        assert_eq!(situation(&done.result), Some(Situation::LocalClose), "{done:?}");
    }
    // The peer is told while a clone of the handle is held.
    std::io::copy(&mut client, &mut std::io::sink()).expect("an end");
    assert_nothing_left(&port);
}

fn what_only_tcp_has(driver: DriverKind) {
    let port = open::<(), u8>(driver);
    let (server, _client) = pair(&port);
    server.set_nodelay(true).expect_err("no TCP");
    assert_eq!(server.local_addr().map_err(|e| e.kind()), Err(ErrorKind::InvalidInput));
    assert_eq!(server.peer_addr().map_err(|e| e.kind()), Err(ErrorKind::InvalidInput));
    server.set_send_buffer_size(100_000).expect("every socket has one");
    let address = "127.0.0.1:9".parse().expect("an address");
    server.connect(address, 0).expect("started");
    get(&port).result.expect_err("another family");
    server.end(Duration::ZERO, 1).expect("started");
    get(&port);
}
