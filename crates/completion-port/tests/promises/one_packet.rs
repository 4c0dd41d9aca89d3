//! Promise 2: exactly one packet for every operation that started.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Shutdown, TcpListener},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use completion_port::{Buffer, CompletionPort, DriverKind, OpKind, error::Situation};

use crate::util::{
    assert_nothing_left, assert_same, dial, get, open, pair, pattern, situation, take,
};

crate::on_each_driver!(
    starts_from_eight_threads,
    an_immediate_success_brings_a_packet_too,
    what_the_system_refuses_is_a_packet,
    closing_an_idle_handle_brings_nothing,
    a_continuing_accept_marks_its_last_packet,
);

/// Eight threads start receives and sends on eight handles, all at once: as many packets, each context once, and no byte amiss.
fn starts_from_eight_threads(driver: DriverKind) {
    const EACH: usize = 100;
    let port: CompletionPort<usize, usize> = CompletionPort::builder()
        .driver(driver)
        .queue_limit(EACH * 8)
        .build()
        .expect("a probed driver can be had");
    let (handles, mut clients): (Vec<_>, Vec<_>) = (0..8).map(|key| pair(&port, key)).unzip();
    let numbers = AtomicUsize::new(0);
    thread::scope(|s| {
        for thread in 0..8 {
            let (handles, numbers) = (&handles, &numbers);
            s.spawn(move || {
                for time in 0..EACH {
                    let handle = &handles[(thread + time) % 8];
                    let number = || numbers.fetch_add(1, Ordering::Relaxed);
                    handle.recv(Buffer::with_capacity(1), number()).expect("started");
                    handle.send(Buffer::from(vec![7]), number()).expect("started");
                }
            });
        }
        for client in &mut clients {
            client.write_all(&pattern(0, EACH)).expect("written");
        }
    });

    let packets = take(&port, 2 * 8 * EACH);
    assert_nothing_left(&port);
    let mut contexts: Vec<_> = packets.iter().map(|done| done.context).collect();
    contexts.sort_unstable();
    assert!(contexts.into_iter().eq(0..2 * 8 * EACH), "each context once");
    let mut streams = BTreeMap::<_, BTreeMap<_, _>>::new();
    for done in packets {
        let (key, kind, sequence) = (*done.handle.key(), done.kind(), done.sequence());
        assert_eq!(done.result.expect("a byte was moved"), 1);
        if kind == OpKind::Recv {
            streams.entry(key).or_default().insert(sequence, done.buffer[0]);
        }
    }
    for stream in streams.into_values() {
        assert_same(&stream.into_values().collect::<Vec<_>>(), &pattern(0, EACH), "a stream");
    }
    for client in &mut clients {
        client.read_exact(&mut [0; EACH]).expect("all that was sent");
    }
}

/// S60, S102: an operation that could be done at once completes through the port all the same, and once.
fn an_immediate_success_brings_a_packet_too(driver: DriverKind) {
    let port = open::<(), &str>(driver);
    let (server, mut client) = pair(&port, ());
    server.send(Buffer::from(&b"room is there"[..]), "send").expect("started");
    assert_eq!(get(&port).context, "send");
    client.write_all(b"data is there").expect("written");
    client.shutdown(Shutdown::Write).expect("shut down");
    server.recv(Buffer::with_capacity(64), "recv").expect("started");
    assert_eq!(get(&port).context, "recv");
    assert_nothing_left(&port);
}

/// S113, S18, and promise 2: what the OS says about the I/O itself, at once or later, is a packet and no refusal.
fn what_the_system_refuses_is_a_packet(driver: DriverKind) {
    let port = open::<(), &str>(driver);
    let like = "127.0.0.1:0".parse().expect("an address");
    let unconnected = port
        .associate(completion_port::TcpSocket::new(&like).expect("a socket"), ())
        .expect("associated");
    unconnected.recv(Buffer::with_capacity(8), "recv").expect("started");
    let done = get(&port);
    assert_eq!(
        (done.context, done.result.expect_err("no peer").raw_os_error()),
        ("recv", Some(crate::util::codes::ENOTCONN))
    );
    unconnected.send(Buffer::from(&b"to whom?"[..]), "send").expect("started");
    let done = get(&port);
    assert_eq!((done.context, &done.buffer[..]), ("send", &b"to whom?"[..]));
    done.result.expect_err("no peer");
    assert_nothing_left(&port);
}

/// S101.
fn closing_an_idle_handle_brings_nothing(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    server.close();
    assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
    assert_nothing_left(&port);
    let (server, _client) = pair(&port, ());
    drop(server);
    assert_nothing_left(&port);
}

/// Many packets, one operation: all but the last one say that more may come.
fn a_continuing_accept_marks_its_last_packet(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dialled = listener.try_clone().expect("a duplicate");
    let listener = port.associate(listener, ()).expect("associated");
    let id = listener.accept_each(|| ()).expect("started");
    for _ in 0..3 {
        let _client = dial(&dialled);
        let mut done = get(&port);
        assert_eq!(
            (done.kind(), done.last(), done.accepted().is_some()),
            (OpKind::AcceptEach, false, true)
        );
    }
    assert!(listener.cancel(id));
    let mut done = get(&port);
    assert_eq!(
        (situation(&done.result), done.last(), done.accepted().is_some()),
        (Some(Situation::Cancelled), true, false)
    );
    assert_nothing_left(&port);
}
