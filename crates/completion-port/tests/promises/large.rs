//! Large messages: once some have come, a driver may fetch the bytes in another way than before, and nobody can tell.

use std::{io::Write, net::TcpStream, thread, time::Duration};

use completion_port::{Buffer, CompletionPort, DriverKind, Handle, PoolOptions, error::Situation};

use crate::util::{assert_nothing_left, get, pair, pattern, situation, until};

crate::on_each_driver!(
    small_ones_follow_large_ones,
    what_waits_behind_a_large_one_is_cancelled,
    a_buffer_that_comes_back_brings_the_next,
);

/// Of one piece, and more than any driver takes for small.
const LARGE: usize = 48 * 1024;
/// Of several.
const HUGE: usize = 256 * 1024;
/// What a buffer holds.
const ROOM: usize = 64 * 1024;
/// So many that some lie with the kernel, where it takes them by itself.
const BUFFERS: usize = 16;

type Connection = (Handle<(), usize>, TcpStream);

fn lends_large_ones(driver: DriverKind) -> CompletionPort<(), usize> {
    let pool = PoolOptions::new().limit(BUFFERS).buffer_size(ROOM);
    CompletionPort::builder().driver(driver).pool(pool).build().expect("it can be had")
}

/// Into a buffer of the pool's, or of the caller's, by turns.
fn recv(server: &Handle<(), usize>, turn: usize) {
    if turn.is_multiple_of(2) {
        server.recv_lent(turn).expect("started");
    } else {
        server.recv(Buffer::with_capacity(ROOM), turn).expect("started");
    }
}

/// A message of so many bytes comes whole, with a receive under way before its first byte.
fn say(port: &CompletionPort<(), usize>, (server, client): &Connection, size: usize) {
    let message = pattern(size, size);
    recv(server, 0);
    thread::scope(|s| {
        s.spawn(|| (&*client).write_all(&message).expect("written"));
        let mut came = Vec::new();
        for turn in 1.. {
            let done = get(port);
            assert_eq!(done.result.expect("received"), done.buffer.len());
            assert!(!done.buffer.is_empty(), "no end has come");
            came.extend_from_slice(&done.buffer);
            if came.len() >= size {
                break;
            }
            recv(server, turn);
        }
        assert!(came == message, "a message of {size} bytes");
    });
}

fn small_ones_follow_large_ones(driver: DriverKind) {
    let port = lends_large_ones(driver);
    let connection = pair(&port, ());
    for size in [1, LARGE, 1, 7, LARGE, LARGE, 1, HUGE, 1] {
        say(&port, &connection, size);
    }
    assert_nothing_left(&port);
}

fn what_waits_behind_a_large_one_is_cancelled(driver: DriverKind) {
    let port = lends_large_ones(driver);
    let connection = pair(&port, ());
    let (server, client) = &connection;
    for turn in 0..4 {
        say(&port, &connection, LARGE);
        recv(server, turn);
        assert_eq!(server.cancel_all(), 1);
        assert_eq!(situation(&get(&port).result), Some(Situation::Cancelled));
    }
    recv(server, 0);
    (&*client).write_all(b"x").expect("written");
    assert_eq!(&get(&port).buffer[..], b"x", "nothing is lost by a cancel");
    assert_nothing_left(&port);
}

/// More have something large to say than there are buffers.
fn a_buffer_that_comes_back_brings_the_next(driver: DriverKind) {
    const MORE: usize = 4;
    let port = lends_large_ones(driver);
    let message = pattern(0, LARGE);
    let first = pair(&port, ());
    say(&port, &first, LARGE);
    let connections: Vec<Connection> = (0..BUFFERS + MORE).map(|_| pair(&port, ())).collect();
    for (turn, (server, client)) in connections.iter().enumerate() {
        server.recv_lent(turn).expect("started");
        (&*client).write_all(&message).expect("written");
    }
    let mut held: Vec<_> = (0..BUFFERS).map(|_| get(&port)).collect();
    until("the others wait for a buffer", || {
        assert!(port.get_timeout(Duration::ZERO).is_err(), "there was a buffer");
        port.snapshot().starved == MORE
    });
    for _ in 0..MORE {
        held.pop();
        held.push(get(&port));
    }
    assert!(held.iter().all(|done| message.starts_with(&done.buffer) && !done.buffer.is_empty()));
    assert_nothing_left(&port);
}
