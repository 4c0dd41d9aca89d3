//! `Snapshot` and `InFlight`: what is in flight by kind and age, who waits, what the pool holds.

use std::{collections::BTreeMap, net::TcpListener, thread, time::Duration};

use crate::util::{get, pair, pattern, until};
use completion_port::{
    Buffer, CompletionPort, OpKind, PoolOptions, Snapshot,
    simulated::{Faults, Network},
};

fn kinds(snapshot: &Snapshot) -> Vec<(OpKind, usize)> {
    snapshot.in_flight.iter().map(|one| (one.kind, one.count)).collect()
}

#[test]
fn counts_what_is_in_flight_by_kind() {
    let port = CompletionPort::<(), u8>::new().expect("a port");
    assert!(port.snapshot().in_flight.is_empty());
    let (server, client) = pair(&port, ());
    let listener = port
        .associate(TcpListener::bind("127.0.0.1:0").expect("a free port"), ())
        .expect("associated");
    let _key = port.key(());
    for _ in 0..3 {
        server.recv(Buffer::with_capacity(8), 0).expect("started");
    }
    server.recv_lent(0).expect("started");
    server.send(pattern(0, 16 << 20).into(), 0).expect("started");
    server.send(vec![1].into(), 0).expect("started");
    listener.accept(0).expect("started");
    listener.accept_each(|| 0).expect("started");
    let (ending, _peer) = pair(&port, ());
    ending.end(Duration::from_secs(60), 0).expect("started");
    let snapshot = port.snapshot();
    let expected = [
        (OpKind::Recv, 3),
        (OpKind::RecvLent, 1),
        (OpKind::Send, 2),
        (OpKind::Accept, 1),
        (OpKind::AcceptEach, 1),
        (OpKind::End, 1),
    ];
    assert_eq!(kinds(&snapshot), expected, "in this order");
    assert_eq!(
        (snapshot.handles, snapshot.packets, snapshot.waiting_threads, snapshot.leaked),
        (4, 0, 0, 0)
    );
    drop(client);
    ending.close();
    listener.close();
    until("all is over", || {
        let _ = port.get_timeout(Duration::ZERO);
        port.snapshot().in_flight.is_empty()
    });
}

#[test]
fn counts_packets_and_threads() {
    let port = CompletionPort::<(), u8>::new().expect("a port");
    let key = port.key(());
    for n in 0..5 {
        assert_eq!(port.snapshot().packets, usize::from(n));
        key.post(0, n).expect("open");
    }
    for left in (0..5).rev() {
        get(&port);
        assert_eq!(port.snapshot().packets, left);
    }
    thread::scope(|s| {
        let _close = port.close_on_drop();
        for waiting in 1..=3 {
            s.spawn(|| port.get());
            until("it waits", || port.snapshot().waiting_threads == waiting);
        }
        key.post(0, 9).expect("open");
        until("one has a packet", || port.snapshot().waiting_threads == 2);
    });
    assert_eq!(port.snapshot().waiting_threads, 0);
}

#[test]
fn tells_what_the_pool_holds() {
    let port: CompletionPort<(), ()> =
        CompletionPort::builder().pool(PoolOptions::new().limit(2)).build().expect("a port");
    let held = [port.lend().expect("a buffer"), port.lend().expect("a buffer")];
    let (server, mut client) = pair(&port, ());
    std::io::Write::write_all(&mut client, b"x").expect("written");
    server.recv_lent(()).expect("started");
    until("it waits", || {
        let _none = port.get_timeout(Duration::ZERO);
        port.snapshot().starved == 1
    });
    let pool = port.snapshot().pool;
    assert_eq!((pool.lent, pool.limit, pool.peak, pool.waited, pool.ready), (2, 2, 2, 1, 0));
    drop(held);
    assert_eq!(port.snapshot().pool.lent, 0);
    get(&port).result.expect("received");
    assert_eq!(port.snapshot().starved, 0);
}

/// On the simulated driver, whose clock is the test's: to the millisecond.
#[test]
fn tells_how_old_the_oldest_is() {
    let network = Network::with_faults(1, Faults::none());
    let port: CompletionPort<(), u8> =
        CompletionPort::builder().simulated(&network).build().expect("a port");
    let (socket, _peer) = network.connection();
    let server = port.associate(socket, ()).expect("associated");
    let first = server.recv_lent(1).expect("started");
    assert!(port.get_timeout(Duration::from_millis(700)).is_err());
    server.recv_lent(2).expect("started");
    assert!(port.get_timeout(Duration::from_millis(50)).is_err());
    let oldest = |port: &CompletionPort<(), u8>| port.snapshot().in_flight[0].oldest;
    assert_eq!(oldest(&port), Duration::from_millis(750));
    assert!(server.cancel(first));
    assert_eq!(get(&port).context, 1);
    // The cancel took its time, too.
    let since = oldest(&port);
    assert!((50..700).contains(&since.as_millis()), "{since:?}");
}

/// `key=value` words on one line, for logs and the tools that read them.
#[test]
fn prints_one_line_of_words() {
    let port = CompletionPort::<(), ()>::new().expect("a port");
    let (server, _client) = pair(&port, ());
    server.recv_lent(()).expect("started");
    server.recv_lent(()).expect("started");
    let snapshot = port.snapshot();
    let line = snapshot.to_string();
    assert_eq!(line.lines().count(), 1);
    let words: BTreeMap<&str, &str> =
        line.split(' ').map(|word| word.split_once('=').expect("key=value")).collect();
    for (key, value) in [
        ("handles", "1"),
        ("packets", "0"),
        ("waiting_threads", "0"),
        ("recv_lent", "2"),
        ("starved", "0"),
        ("pool_lent", "0"),
        ("pool_limit", "16384"),
        ("pool_waited", "0"),
        ("leaked", "0"),
    ] {
        assert_eq!(words.get(key), Some(&value), "{line}");
    }
    assert!(
        words["recv_lent_oldest"].strip_suffix('s').is_some_and(|time| time.parse::<f64>().is_ok()),
        "{line}"
    );
    assert_eq!(snapshot.clone().to_string(), line);
}
