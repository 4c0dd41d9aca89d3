//! Many connections that have something to say at the same moment: a driver hears of all of them, fetches the bytes of a few, and comes
//! back for the others.

use std::{
    io::Write,
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use completion_port::{
    Buffer, CompletionPort, DriverKind, Handle, PoolOptions, error::Situation, routine,
};

use crate::util::{assert_nothing_left, get, open, pair, pattern, scaled, situation, take};

crate::on_each_driver!(
    everybody_is_served,
    an_alertable_wait_serves_everybody_too,
    what_a_cancel_finds_in_a_crowd_ends_once,
    the_end_is_told_in_a_crowd,
    the_last_buffers_are_with_the_kernel,
);

/// Enough to be a crowd for any driver.
const CROWD: usize = 300;

type Connection = (Handle<usize, usize>, TcpStream);

fn crowd(port: &CompletionPort<usize, usize>) -> Vec<Connection> {
    let count = scaled("connections that speak at once", CROWD, 2);
    (0..count).map(|key| pair(port, key)).collect()
}

/// With a buffer of its own, or one that is lent: by turns.
fn recv((server, _): &Connection, round: usize) {
    let key = *server.key();
    if (key + round).is_multiple_of(2) {
        server.recv(Buffer::with_capacity(16), key).expect("started");
    } else {
        server.recv_lent(key).expect("started");
    }
}

/// Each says something in each round. Who takes packets one by one finds a part of them ready, and comes back for the others; and then
/// a driver knows that there is a crowd.
fn speak(port: &CompletionPort<usize, usize>, connections: &mut [Connection]) {
    for round in 0..4 {
        connections.iter().for_each(|one| recv(one, round));
        for (server, client) in &mut *connections {
            client.write_all(&pattern(*server.key() + round, 7)).expect("written");
        }
        let mut seen = vec![0; connections.len()];
        let speakers = connections.len();
        let one_by_one = || (0..speakers).map(|_| get(port)).collect();
        let all = if round < 2 { take(port, speakers) } else { one_by_one() };
        for done in all {
            assert_eq!(done.result.expect("received"), 7);
            assert_eq!(&done.buffer[..], pattern(done.context + round, 7));
            seen[done.context] += 1;
        }
        assert!(seen.iter().all(|seen| *seen == 1), "{seen:?}");
    }
}

fn everybody_is_served(driver: DriverKind) {
    let port = open(driver);
    let mut connections = crowd(&port);
    speak(&port, &mut connections);
    assert_nothing_left(&port);
    leave(connections);
}

/// What it sleeps on beside does not tell of what is left in a driver.
fn an_alertable_wait_serves_everybody_too(driver: DriverKind) {
    let port = open(driver);
    let mut connections = crowd(&port);
    speak(&port, &mut connections);
    connections.iter().for_each(|one| recv(one, 0));
    for (_, client) in &mut connections {
        client.write_all(b"x").expect("written");
    }
    let serve = || {
        routine::use_driver(driver).expect("a probed driver can be had");
        for _ in 0..connections.len() {
            let done = port.get_alertable(Some(Duration::from_secs(10))).expect("a packet");
            assert_eq!(&done.buffer[..], b"x");
        }
    };
    thread::scope(|s| s.spawn(serve).join()).expect("no panic");
    assert_nothing_left(&port);
    leave(connections);
}

/// Half of them have something to receive when all are cancelled: each has one packet, with the bytes or cancelled, and what was not
/// received then is there afterwards.
fn what_a_cancel_finds_in_a_crowd_ends_once(driver: DriverKind) {
    let port = open(driver);
    let mut connections = crowd(&port);
    speak(&port, &mut connections);
    connections.iter().for_each(|one| recv(one, 0));
    for (server, client) in &mut connections {
        if server.key().is_multiple_of(2) {
            client.write_all(b"x").expect("written");
        }
    }
    for (server, _) in &connections {
        server.cancel_all();
    }
    let mut again = Vec::new();
    for done in take(&port, connections.len()) {
        match done.result {
            Ok(count) => assert_eq!((count, done.context % 2), (1, 0)),
            Err(_) => {
                assert_eq!(situation(&done.result), Some(Situation::Cancelled));
                if done.context.is_multiple_of(2) {
                    again.push(done.context);
                }
            }
        }
    }
    again.iter().for_each(|key| recv(&connections[*key], 0));
    let late = take(&port, again.len());
    assert!(late.iter().all(|done| &done.buffer[..] == b"x"));
    assert_nothing_left(&port);
    leave(connections);
}

fn the_end_is_told_in_a_crowd(driver: DriverKind) {
    let port = open(driver);
    let mut connections = crowd(&port);
    speak(&port, &mut connections);
    connections.iter().for_each(|one| recv(one, 0));
    for (_, client) in &connections {
        client.shutdown(Shutdown::Write).expect("it is connected");
    }
    for _ in 0..connections.len() {
        let done = get(&port);
        assert!(matches!(done.result, Ok(0)) && done.buffer.is_empty());
    }
    assert_nothing_left(&port);
    leave(connections);
}

/// More have something to say than there are buffers, of which some lie with the kernel: all of them are used, and the rest waits.
fn the_last_buffers_are_with_the_kernel(driver: DriverKind) {
    let limit = 64;
    let pool = PoolOptions::new().limit(limit);
    let port = CompletionPort::builder().driver(driver).pool(pool).build().expect("it can be had");
    let mut connections = crowd(&port);
    for _ in 0..2 {
        // The second time it is known that there is a crowd.
        for (server, client) in &mut connections {
            server.recv_lent(*server.key()).expect("started");
            client.write_all(b"x").expect("written");
        }
        let mut held: Vec<_> = (0..limit.min(connections.len())).map(|_| get(&port)).collect();
        for _ in held.len()..connections.len() {
            held.pop();
            held.push(get(&port));
        }
        assert!(held.iter().all(|done| &done.buffer[..] == b"x"));
    }
    assert_nothing_left(&port);
    leave(connections);
}

/// Orderly ends by the hundred would leave as many ports in TIME_WAIT.
fn leave(connections: Vec<Connection>) {
    for (server, _client) in connections {
        server.set_linger(Some(Duration::ZERO)).expect("an option");
    }
}
