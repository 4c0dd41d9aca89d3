//! Large messages: once some have come, a driver may fetch the bytes in another way than before, and nobody can tell.

use std::{io::Write, net::TcpStream, thread};

use completion_port::{Buffer, CompletionPort, DriverKind, Handle, PoolOptions, error::Situation};

use crate::util::{assert_nothing_left, get, pair, pattern, situation};

crate::on_each_driver!(
    small_ones_follow_large_ones,
    what_waits_behind_a_large_one_is_cancelled,
    a_buffer_that_comes_back_brings_the_next,
);

/// More than any driver takes for small.
const LARGE: usize = 256 * 1024;
/// What a buffer holds.
const ROOM: usize = 64 * 1024;

/// Receives into a buffer of the caller's, or of the pool's, by turns.
fn recv(server: &Handle<(), usize>, turn: usize) {
    if turn.is_multiple_of(2) {
        server.recv(Buffer::with_capacity(ROOM), turn).expect("started");
    } else {
        server.recv_lent(turn).expect("started");
    }
}

fn lends_large_ones(driver: DriverKind, limit: usize) -> CompletionPort<(), usize> {
    let pool = PoolOptions::new().limit(limit).buffer_size(ROOM);
    CompletionPort::builder().driver(driver).pool(pool).build().expect("it can be had")
}

/// A message of so many bytes comes whole, with a receive under way before its first byte.
fn say(
    port: &CompletionPort<(), usize>,
    (server, client): &(Handle<(), usize>, TcpStream),
    size: usize,
) {
    let message = pattern(size, size);
    recv(server, 0);
    thread::scope(|s| {
        s.spawn(|| (&*client).write_all(&message).expect("written"));
        let mut came = Vec::new();
        for turn in 1.. {
            let done = get(port);
            assert!(done.result.is_ok_and(|count| count == done.buffer.len() && count > 0));
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
    let port = lends_large_ones(driver, 16);
    let connection = pair(&port, ());
    for size in [1, LARGE, 1, 7, LARGE, LARGE, 1] {
        say(&port, &connection, size);
    }
    assert_nothing_left(&port);
}

fn what_waits_behind_a_large_one_is_cancelled(driver: DriverKind) {
    let port = lends_large_ones(driver, 16);
    let connection = pair(&port, ());
    let (server, client) = &connection;
    for turn in 0..4 {
        say(&port, &connection, LARGE);
        recv(server, turn);
        assert!(server.cancel_all() > 0);
        assert_eq!(situation(&get(&port).result), Some(Situation::Cancelled));
    }
    recv(server, 0);
    (&*client).write_all(b"x").expect("written");
    assert_eq!(&get(&port).buffer[..], b"x", "nothing is lost by a cancel");
    assert_nothing_left(&port);
}

/// All of them are held when there is something to receive.
fn a_buffer_that_comes_back_brings_the_next(driver: DriverKind) {
    const BUFFERS: usize = 4;
    let port = lends_large_ones(driver, BUFFERS);
    let connection = pair(&port, ());
    say(&port, &connection, LARGE);
    let (server, client) = &connection;
    let mut held = Vec::new();
    for turn in 0..2 * BUFFERS {
        server.recv_lent(turn).expect("started");
        (&*client).write_all(&pattern(turn, 5)).expect("written");
        if turn >= BUFFERS {
            held.remove(0);
        }
        let done = get(&port);
        assert_eq!(&done.buffer[..], pattern(turn, 5));
        held.push(done);
    }
    drop(held);
    assert_nothing_left(&port);
}
