//! Promise 9: memory is given back, also what was under way when its port was dropped.

use std::{io::Write, net::TcpListener, time::Duration};

use completion_port::{Buffer, DriverKind, TcpSocket};

use crate::util::{child::alone, connection, get, open, pair, pattern, proc::resident, reset};

crate::on_each_driver!(there_are_none, an_association_leaves_nothing_in_its_port);

/// One life of a port: something of everything, finished and unfinished.
fn live(driver: DriverKind) {
    let port = open::<Vec<u8>, Vec<u8>>(driver);
    let some = || vec![1_u8; 10_000];
    let (server, mut client) = pair(&port, some());
    for _ in 0..5 {
        server.recv_lent(some()).expect("started");
        client.write_all(&pattern(0, 100)).expect("written");
        let done = get(&port);
        done.handle.send_vectored(vec![done.buffer, some().into()], done.context).expect("started");
        drop(get(&port));
    }
    let listener = port
        .associate(TcpListener::bind("127.0.0.1:0").expect("a free port"), some())
        .expect("associated");
    listener.accept_each(some).expect("started");
    for _ in 0..3 {
        server.recv(Buffer::with_capacity(10_000), some()).expect("started");
        server.send(vec![2; 300_000].into(), some()).expect("started");
        server
            .send_vectored(vec![vec![3; 300_000].into(), some().into()], some())
            .expect("started");
    }
    let (ending, peer) = pair(&port, some());
    ending.end(Duration::from_secs(60), some()).expect("started");
    let (plain, other) = connection();
    drop(port);
    reset(client);
    reset(peer);
    reset(plain);
    reset(other);
}

/// In a process of its own, whose memory nobody else uses: after a while it grows no more. One life moves some 2 MB.
fn there_are_none(driver: DriverKind) {
    alone(|| {
        let grown = || {
            let before = resident();
            (0..60).for_each(|_| live(driver));
            resident().saturating_sub(before)
        };
        // The allocator takes a last piece of 2 MB at some time: a leak grows every time, and that piece does not.
        let windows: Vec<usize> = (0..4).map(|_| grown()).collect();
        // A context of each life would be 600 kB, a buffer 18 MB.
        assert!(windows.iter().any(|grown| *grown < 500_000), "each 60 lives more: {windows:?}");
    });
}

/// A port that lives long has seen many sockets. In a process of its own, too.
fn an_association_leaves_nothing_in_its_port(driver: DriverKind) {
    const MANY: usize = 20_000;
    alone(|| {
        let port = open::<(), ()>(driver);
        let like = "127.0.0.1:0".parse().expect("an address");
        let associate = || {
            let socket = TcpSocket::new(&like).expect("a socket");
            drop(port.associate(socket, ()).expect("associated"));
            drop(port.key(()));
        };
        (0..MANY / 10).for_each(|_| associate());
        let grown = || {
            let before = resident();
            (0..MANY).for_each(|_| associate());
            resident().saturating_sub(before)
        };
        // As above: a leak grows every time.
        let windows: Vec<usize> = (0..4).map(|_| grown()).collect();
        assert!(
            windows.iter().any(|grown| *grown < 20 * MANY),
            "each {MANY} associations more: {windows:?}"
        );
    });
}
