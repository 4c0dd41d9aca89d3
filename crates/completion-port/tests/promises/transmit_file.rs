//! Files that go out whole, between a head and a tail: S156, S157.

use std::{
    fs::File,
    io::{ErrorKind, Read, Seek, Write},
    net::Shutdown,
    ops::{Bound, RangeBounds},
    sync::Arc,
    thread,
};

use completion_port::{Buffer, CompletionPort, DriverKind, Handle, OpKind, error::Situation};

use crate::util::{
    assert_nothing_left, assert_same, child::alone, get, open, pair, pattern,
    proc::open_descriptors, reset, situation, take, while_read,
};

crate::on_each_driver!(
    send_head_file_and_tail_in_order,
    send_any_range,
    take_their_turn_among_the_sends,
    share_a_file,
    that_are_cancelled_are_followed_by_the_next,
    that_are_cancelled_at_random,
    end_when_the_peer_resets,
    end_when_their_handle_closes,
    fail_when_the_file_becomes_shorter,
    are_refused_with_everything_given_back,
    survive_the_thread_that_started_them,
    leave_no_descriptor,
);

// What the system must tell for these, only Linux tells.
#[cfg(target_os = "linux")]
crate::on_each_driver!(send_their_process_no_signal);

/// A file that has no name, with so many bytes of the pattern.
fn file(from: usize, len: usize) -> File {
    let path = std::env::temp_dir().join(format!(
        "completion-port-{}-{:?}",
        std::process::id(),
        thread::current().id()
    ));
    let mut file =
        File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
    std::fs::remove_file(&path).expect("its name is not needed");
    file.write_all(&pattern(from, len)).expect("written");
    file
}

fn transmit(
    handle: &Handle<(), u32>,
    file: impl Into<Arc<File>>,
    range: impl RangeBounds<u64>,
    [head, tail]: [&[u8]; 2],
    context: u32,
) -> completion_port::OpId {
    handle.transmit_file(file, range, head.into(), tail.into(), context).expect("started")
}

/// S156: of every size, also of none; the bytes are the sum, and head and tail come back.
fn send_head_file_and_tail_in_order(driver: DriverKind) {
    const ANY: [usize; 4] = [0, 1, 5000, 3 << 20];
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    for head in ANY {
        for body in [0, 1, 4097, 5 << 20] {
            for tail in ANY {
                if head + body + tail == 0 {
                    continue;
                }
                let (start, end) = (pattern(1, head), pattern(2, tail));
                transmit(&server, file(3, body), .., [&start, &end], 7);
                let all = [pattern(1, head), pattern(3, body), pattern(2, tail)].concat();
                let mut done = while_read(&mut client, &all, || get(&port));
                assert_eq!((done.context, done.kind()), (7, OpKind::TransmitFile));
                assert_eq!(done.result.as_ref().expect("sent"), &(head + body + tail));
                let buffers = done.buffers();
                assert_eq!(buffers.len(), 2);
                assert_same(&buffers[0], &start, "the head");
                assert_same(&buffers[1], &end, "the tail");
            }
        }
    }
    assert_nothing_left(&port);
}

/// S156: from an offset, to an end or to that of the file; S157 not: the file's own position plays no part.
fn send_any_range(driver: DriverKind) {
    const LEN: usize = 1 << 20;
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    let mut file = file(0, LEN);
    file.seek(std::io::SeekFrom::Start(77)).expect("a position");
    let file = Arc::new(file);
    let len = LEN as u64;
    let ranges = [
        (Bound::Unbounded, Bound::Unbounded, 0, LEN),
        (Bound::Included(4095), Bound::Unbounded, 4095, LEN),
        (Bound::Excluded(9), Bound::Excluded(5000), 10, 5000),
        (Bound::Included(70_000), Bound::Included(70_000), 70_000, 70_001),
        (Bound::Included(1), Bound::Included(len - 1), 1, LEN),
        (Bound::Included(len - 1), Bound::Excluded(len), LEN - 1, LEN),
    ];
    for (from, to, start, end) in ranges {
        transmit(&server, file.clone(), (from, to), [&[], &[]], 1);
        let done = while_read(&mut client, &pattern(start, end - start), || get(&port));
        assert_eq!(done.result.expect("sent"), end - start);
    }
    assert_eq!((&*file).stream_position().expect("a position"), 77);
    transmit(&server, file.clone(), len.., [b"nothing of it", &[]], 1);
    while_read(&mut client, b"nothing of it", || get(&port).result.expect("sent"));
    assert_nothing_left(&port);
}

/// S116: in call order with every other kind of send.
fn take_their_turn_among_the_sends(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    let mut expected = Vec::new();
    for n in 0..12 {
        let len = [100, 2 << 20, 70_000][n / 3 % 3];
        let bytes = pattern(n * 1000, len);
        match n % 3 {
            0 => _ = server.send(bytes[..].into(), n as u32).expect("started"),
            1 => _ = transmit(&server, file(n * 1000, len), .., [&[], &[]], n as u32),
            _ => {
                let halves = vec![bytes[..50].into(), bytes[50..].into()];
                server.send_vectored(halves, n as u32).expect("started");
            }
        }
        expected.extend(bytes);
    }
    server.disconnect(12).expect("started");
    let done = while_read(&mut client, &expected, || take(&port, 13));
    assert!(done.iter().map(|done| done.context).eq(0..13));
    assert_nothing_left(&port);
}

/// One file to many peers at once.
fn share_a_file(driver: DriverKind) {
    const PEERS: u32 = 8;
    const LEN: usize = 4 << 20;
    let port = open::<(), u32>(driver);
    let file = Arc::new(file(0, LEN));
    let expected = pattern(0, LEN);
    thread::scope(|s| {
        let mut handles = Vec::new();
        for n in 0..PEERS {
            let (server, mut client) = pair(&port, ());
            transmit(&server, file.clone(), .., [&[], &[]], n);
            handles.push(server);
            let expected = &expected;
            s.spawn(move || {
                let mut read = vec![0; LEN];
                client.read_exact(&mut read).expect("all of it");
                assert_same(&read, expected, "what a peer reads");
            });
        }
        for done in take(&port, PEERS as usize) {
            assert_eq!(done.result.expect("sent"), LEN);
        }
    });
    assert_nothing_left(&port);
}

/// The peer does not read, so it is in the middle; what had left is a beginning, and the next is whole.
fn that_are_cancelled_are_followed_by_the_next(driver: DriverKind) {
    const LEN: usize = 32 << 20;
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    let id = transmit(&server, file(0, LEN), .., [&[], b"tail"], 0);
    server.send(vec![0; 5000].into(), 1).expect("started");
    server.shutdown(Shutdown::Write).expect("behind them");
    assert!(port.get_timeout(std::time::Duration::from_millis(50)).is_err(), "it is under way");
    assert!(server.cancel(id) && !server.cancel(id));
    let mut read = Vec::new();
    let mut done = thread::scope(|s| {
        s.spawn(|| client.read_to_end(&mut read).expect("an orderly end"));
        take(&port, 2)
    });
    assert_eq!((done[0].context, situation(&done[0].result)), (0, Some(Situation::Cancelled)));
    assert_eq!(&done[0].buffers()[1][..], b"tail");
    assert_eq!(done[1].result.as_ref().expect("whole"), &5000);
    let left = read.len() - 5000;
    assert!(0 < left && left < LEN);
    assert_same(&read[..left], &pattern(0, left), "what had left of the file");
    assert_same(&read[left..], &vec![0; 5000], "the send behind it");
    assert_nothing_left(&port);
}

/// At any moment, while the peer reads: each ends once, whole or cancelled, and what is read is a beginning of it.
fn that_are_cancelled_at_random(driver: DriverKind) {
    const LEN: usize = 1 << 20;
    let file = Arc::new(file(0, LEN));
    let (mut whole, mut cut) = (0, 0);
    for time in 0..60 {
        let port = open::<(), u32>(driver);
        let (server, mut client) = pair(&port, ());
        let id = transmit(&server, file.clone(), .., [b"<", b">"], 0);
        let expected = [b"<", &pattern(0, LEN)[..], b">"].concat();
        let read = thread::scope(|s| {
            let reader = s.spawn(move || {
                let mut read = Vec::new();
                client.read_to_end(&mut read).expect("an orderly end");
                read
            });
            s.spawn(|| {
                for _ in 0..time * time * 20 {
                    std::hint::spin_loop();
                }
                server.cancel(id);
            });
            let done = get(&port);
            match situation(&done.result) {
                None => {
                    whole += 1;
                    assert_eq!(done.result.as_ref().ok(), Some(&expected.len()));
                }
                Some(situation) => {
                    cut += 1;
                    assert_eq!(situation, Situation::Cancelled);
                }
            }
            drop(done);
            server.shutdown(Shutdown::Write).expect("connected");
            reader.join().expect("no panic")
        });
        assert_same(&read, &expected[..read.len()], "a beginning");
        assert_nothing_left(&port);
    }
    assert_eq!(whole + cut, 60);
}

fn end_when_the_peer_resets(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, client) = pair(&port, ());
    transmit(&server, file(0, 32 << 20), .., [b"head", &[]], 0);
    server.send(vec![1].into(), 1).expect("started");
    assert!(port.get_timeout(std::time::Duration::from_millis(20)).is_err(), "it is under way");
    reset(client);
    for done in take(&port, 2) {
        assert_eq!(situation(&done.result), Some(Situation::PeerReset));
    }
    assert_nothing_left(&port);
}

/// S93, S95.
fn end_when_their_handle_closes(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    transmit(&server, file(0, 32 << 20), .., [&[], &[]], 0);
    transmit(&server, file(0, 10), .., [&[], &[]], 1);
    assert!(port.get_timeout(std::time::Duration::from_millis(20)).is_err(), "it is under way");
    server.close();
    for done in take(&port, 2) {
        assert_eq!(situation(&done.result), Some(Situation::LocalClose));
    }
    let mut read = Vec::new();
    client.read_to_end(&mut read).expect("an orderly end");
    assert_same(&read, &pattern(0, read.len()), "a beginning");
    assert_nothing_left(&port);
}

/// It cannot keep its promise, and says so where it finds out.
fn fail_when_the_file_becomes_shorter(driver: DriverKind) {
    const LEN: usize = 32 << 20;
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    let file = Arc::new(file(0, LEN));
    transmit(&server, file.clone(), .., [&[], b"tail"], 0);
    assert!(port.get_timeout(std::time::Duration::from_millis(20)).is_err(), "it is under way");
    file.set_len(LEN as u64 - 1).expect("cut");
    let done = while_read(&mut client, &pattern(0, LEN - 1), || get(&port));
    assert_eq!(situation(&done.result), Some(Situation::EndOfFile));
    server.close();
    assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0, "no tail");
    assert_nothing_left(&port);
}

#[expect(clippy::reversed_empty_ranges, reason = "it is refused")]
fn are_refused_with_everything_given_back(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, _client) = pair(&port, ());
    let refuse = |file: File, range: std::ops::Range<u64>, head: &[u8], kind: ErrorKind| {
        let tail = Buffer::with_capacity(9);
        let refused = server.transmit_file(file, range, head.into(), tail, 5).unwrap_err();
        assert_eq!((refused.error.kind(), refused.context), (kind, 5));
        assert_eq!((&refused.buffer[0][..], refused.buffer[1].capacity()), (head, 9));
    };
    refuse(file(0, 10), 0..0, b"", ErrorKind::InvalidInput);
    refuse(file(0, 10), 5..11, b"head", ErrorKind::InvalidInput);
    refuse(file(0, 10), 9..5, b"head", ErrorKind::InvalidInput);
    refuse(File::open("/dev/zero").expect("there"), 0..0, b"head", ErrorKind::InvalidInput);
    server.disconnect(1).expect("started");
    refuse(file(0, 10), 0..10, b"head", ErrorKind::NotConnected);
    get(&port).result.expect("disconnected");
    // S157: of no stream.
    let head = Buffer::from(&b"head"[..]);
    let refused = port.key(()).transmit_file(file(0, 1), .., head, Buffer::new(), 6).unwrap_err();
    assert_eq!(
        (refused.error.kind(), &refused.buffer[0][..]),
        (ErrorKind::InvalidInput, &b"head"[..])
    );
    assert_nothing_left(&port);
}

/// S106.
fn survive_the_thread_that_started_them(driver: DriverKind) {
    const LEN: usize = 24 << 20;
    for _ in 0..3 {
        let port: CompletionPort<(), u32> = open(driver);
        let (server, mut client) = pair(&port, ());
        thread::scope(|s| {
            _ = s.spawn(|| transmit(&server, file(0, LEN), .., [b"", b">"], 0)).join()
        });
        let all = [pattern(0, LEN), vec![b'>']].concat();
        let done = while_read(&mut client, &all, || get(&port));
        assert_eq!(done.result.expect("sent"), LEN + 1);
        assert_nothing_left(&port);
    }
}

/// However it ends: the file, and what the driver puts between it and the socket, are closed.
fn leave_no_descriptor(driver: DriverKind) {
    alone(|| {
        let port = open::<(), u32>(driver);
        drop(pair(&port, ()));
        let before = open_descriptors();
        for time in 0..8 {
            let (server, client) = pair(&port, ());
            let mut client = Some(client);
            let len = if time % 4 == 0 { 1 << 20 } else { 24 << 20 };
            let id = transmit(&server, file(0, len), .., [&[], &[]], 0);
            match time % 4 {
                0 => {
                    let client = client.as_mut().expect("still there");
                    while_read(client, &pattern(0, len), || drop(get(&port)));
                }
                1 => {
                    server.cancel(id);
                    drop(get(&port));
                }
                2 => {
                    assert!(port.get_timeout(std::time::Duration::from_millis(5)).is_err());
                    client.take().into_iter().for_each(reset);
                    drop(get(&port));
                }
                _ => {
                    assert!(port.get_timeout(std::time::Duration::from_millis(5)).is_err());
                    server.close();
                    drop(get(&port));
                }
            }
            drop((server, client));
            assert_eq!(open_descriptors(), before, "round {time}");
        }
    });
}

/// A peer that has gone is an error, also in a process that has the system's answer to `SIGPIPE`, its own end.
#[cfg(target_os = "linux")]
fn send_their_process_no_signal(driver: DriverKind) {
    alone(|| {
        // SAFETY: the default action of a signal, set where no other thread looks at it.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        for head in [&b"head"[..], b""] {
            let port = open::<(), u32>(driver);
            let (server, client) = pair(&port, ());
            reset(client);
            // The first that fails may be told of the reset, a later one that the pipe is broken.
            for _ in 0..3 {
                transmit(&server, file(0, 100_000), .., [head, b"tail"], 0);
                assert_eq!(situation(&get(&port).result), Some(Situation::PeerReset));
            }
        }
    });
}
