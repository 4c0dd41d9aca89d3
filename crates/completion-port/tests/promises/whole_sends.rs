//! Promise 4: a send completes with all its bytes or an error (S117).

use std::{io::Read, net::TcpStream, sync::Arc, thread};

use completion_port::{Buffer, DriverKind, error::Situation};

use crate::util::{assert_nothing_left, assert_same, get, open, pair, pattern, reset, situation};

crate::on_each_driver!(
    a_large_send_to_a_slow_reader,
    a_gathered_send_of_many_pieces,
    a_gathered_send_of_large_pieces,
    sends_through_a_small_system_buffer,
    a_send_that_fails_gives_its_buffer_back,
);

/// Reads so many bytes in pieces of changing size, giving way in between, and compares each.
fn read_slowly(client: &mut TcpStream, expected: &[u8], most: usize) {
    let mut piece = vec![0; most];
    let mut at = 0;
    while at < expected.len() {
        let want = 1 + (at * 7 + 4_096) % most;
        let want = want.min(expected.len() - at);
        let read = client.read(&mut piece[..want]).expect("more is to come");
        assert_ne!(read, 0, "the end, at byte {at} of {}", expected.len());
        assert_same(&piece[..read], &expected[at..at + read], "what the peer reads");
        at += read;
        thread::yield_now();
    }
}

/// 64 MiB: many times what the system takes at once.
fn a_large_send_to_a_slow_reader(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    let bytes: Arc<[u8]> = pattern(0, 64 << 20).into();
    server.send(bytes.clone().into(), ()).expect("started");
    let done = thread::scope(|s| {
        s.spawn(|| read_slowly(&mut client, &bytes, 1 << 20));
        get(&port)
    });
    assert_eq!(done.result.expect("whole"), bytes.len());
    assert_eq!(done.buffer.as_ptr(), bytes.as_ptr(), "the very buffer comes back");
    assert_nothing_left(&port);
}

/// S121, S120: three thousand pieces, more than one system call takes (1,024), some of them empty.
fn a_gathered_send_of_many_pieces(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    let mut all = Vec::new();
    let pieces: Vec<Buffer> = (0..3_000)
        .map(|piece| {
            let bytes = pattern(all.len(), piece * 37 % 200);
            all.extend_from_slice(&bytes);
            bytes.into()
        })
        .collect();
    server.send_vectored(pieces, ()).expect("started");
    let mut done = thread::scope(|s| {
        s.spawn(|| read_slowly(&mut client, &all, 10_000));
        get(&port)
    });
    assert_eq!(done.result.as_ref().expect("whole"), &all.len());
    let back: Vec<u8> = done.buffers().iter().flat_map(|buffer| buffer.to_vec()).collect();
    assert_same(&back, &all, "what comes back");
}

/// A partial send ends in the middle of a piece; the next one goes on there.
fn a_gathered_send_of_large_pieces(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    let all = pattern(0, 12 << 20);
    let pieces = all.chunks(1_000_003).map(Buffer::from).collect();
    server.send_vectored(pieces, ()).expect("started");
    let done = thread::scope(|s| {
        s.spawn(|| read_slowly(&mut client, &all, 300_000));
        get(&port)
    });
    assert_eq!(done.result.expect("whole"), all.len());
}

fn sends_through_a_small_system_buffer(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (server, mut client) = pair(&port, ());
    server.set_send_buffer_size(1).expect("the system's minimum");
    let all = pattern(0, 1 << 20);
    let (head, tail) = all.split_at(400_000);
    server.send(head.into(), 0).expect("started");
    server.send(tail.into(), 1).expect("started");
    thread::scope(|s| {
        s.spawn(|| read_slowly(&mut client, &all, 65_536));
        for (context, len) in [(0, head.len()), (1, tail.len())] {
            let done = get(&port);
            assert_eq!((done.context, done.result.expect("whole")), (context, len));
        }
    });
}

/// The peer takes a part and resets: an error, not a part; those behind it fail as well.
fn a_send_that_fails_gives_its_buffer_back(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (server, mut client) = pair(&port, ());
    let all = pattern(0, 16 << 20);
    server.send(all[..].into(), 0).expect("started");
    server.send_vectored(vec![all[..10].into(), all[10..30].into()], 1).expect("started");
    read_slowly(&mut client, &all[..100_000], 65_536);
    reset(client);
    let done = get(&port);
    assert_eq!((done.context, situation(&done.result)), (0, Some(Situation::PeerReset)));
    assert_same(&done.buffer, &all, "the buffer comes back as it was");
    let mut done = get(&port);
    assert_eq!((done.context, situation(&done.result)), (1, Some(Situation::PeerReset)));
    assert_eq!(done.buffers().iter().map(|buffer| buffer.len()).collect::<Vec<_>>(), [10, 20]);
    assert_nothing_left(&port);
}
