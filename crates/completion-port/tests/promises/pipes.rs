//! Pipes: streams of one direction (S161, S162).

use std::{
    io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write, pipe},
    net::Shutdown,
    thread,
    time::Duration,
};

use completion_port::{Buffer, CompletionPort, DriverKind, Handle, PoolOptions, error::Situation};

use crate::util::{
    assert_nothing_left, assert_same, child::alone, get, open, pattern, proc::open_descriptors,
    situation, take, until,
};

crate::on_each_driver!(
    a_receive_has_what_is_there,
    the_end_is_told,
    a_send_waits_for_room,
    both_ends_on_one_port,
    a_writer_without_a_reader_lives,
    lent_buffers,
    starved_at_a_pipe,
    cancelled_in_order,
    cancelled_under_way,
    a_close_ends_what_is_pending,
    threads_exit,
    one_direction_only,
    whatever_its_mode,
);

fn reader<T: Send + 'static>(port: &CompletionPort<(), T>) -> (Handle<(), T>, PipeWriter) {
    let (reader, writer) = pipe().expect("a pipe");
    (port.associate(reader, ()).expect("associated"), writer)
}

fn writer<T: Send + 'static>(port: &CompletionPort<(), T>) -> (Handle<(), T>, PipeReader) {
    let (reader, writer) = pipe().expect("a pipe");
    (port.associate(writer, ()).expect("associated"), reader)
}

/// S161, S115: in call order.
fn a_receive_has_what_is_there(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (reader, mut writer) = reader(&port);
    for number in 0..3 {
        reader.recv(Buffer::with_capacity(100), number).expect("started");
    }
    for number in 0..3 {
        writer.write_all(&pattern(number, 5)).expect("written");
        let done = get(&port);
        assert_eq!((done.context, done.sequence()), (number, number as u64));
        assert_eq!((done.result.expect("read"), &done.buffer[..]), (5, &pattern(number, 5)[..]));
    }
    // What is too much for one is for the next.
    writer.write_all(&pattern(0, 150)).expect("written");
    reader.recv(Buffer::with_capacity(100), 0).expect("started");
    reader.recv(Buffer::with_capacity(100), 1).expect("started");
    let lengths = [get(&port), get(&port)].map(|done| (done.context, done.buffer.len()));
    assert_eq!(lengths, [(0, 100), (1, 50)]);
    assert_nothing_left(&port);
}

/// S111, every time.
fn the_end_is_told(driver: DriverKind) {
    let port = open::<(), u8>(driver);
    let (reader, mut writer) = reader(&port);
    reader.recv(Buffer::with_capacity(10), 0).expect("started");
    reader.recv(Buffer::with_capacity(10), 1).expect("started");
    writer.write_all(b"last").expect("written");
    drop(writer);
    assert_eq!(&get(&port).buffer[..], b"last");
    assert_eq!(get(&port).result.expect("an end"), 0);
    reader.recv(Buffer::with_capacity(10), 2).expect("started");
    assert_eq!(get(&port).result.expect("an end"), 0);
    reader.recv_lent(3).expect("started");
    let done = get(&port);
    assert_eq!((done.result.expect("an end"), done.buffer.is_lent()), (0, false));
    assert_nothing_left(&port);
}

/// S162: one that has no room is pending until somebody reads; the others behind it, in their order.
fn a_send_waits_for_room(driver: DriverKind) {
    const LONG: usize = 3 << 20;
    let port = open::<(), u8>(driver);
    let (writer, mut reader) = writer(&port);
    writer.send(pattern(0, LONG).into(), 0).expect("started");
    let parts = pattern(LONG, LONG);
    writer.send_vectored(parts.chunks(100_000).map(Buffer::from).collect(), 1).expect("started");
    writer.send(pattern(2 * LONG, 3).into(), 2).expect("started");
    assert!(port.get_timeout(Duration::from_millis(1)).is_err(), "none has room");
    thread::scope(|s| {
        s.spawn(|| {
            let mut read = vec![0; 2 * LONG + 3];
            reader.read_exact(&mut read).expect("all of it");
            assert_same(&read, &pattern(0, 2 * LONG + 3), "what is read");
        });
        for (number, len) in [(0, LONG), (1, LONG), (2, 3)] {
            let done = get(&port);
            assert_eq!((done.context, done.result.expect("whole")), (number, len));
        }
    });
    assert_nothing_left(&port);
}

fn both_ends_on_one_port(driver: DriverKind) {
    const COUNT: usize = 500;
    let port = open::<bool, usize>(driver);
    let (reader, writer) = pipe().expect("a pipe");
    let reader = port.associate(reader, true).expect("associated");
    let writer = port.associate(writer, false).expect("associated");
    reader.recv_lent(0).expect("started");
    for number in 0..COUNT {
        writer.send(pattern(number * 1000, 1000).into(), number).expect("started");
    }
    drop(writer);
    let (mut read, mut sent) = (Vec::new(), 0);
    loop {
        let done = get(&port);
        if !*done.handle.key() {
            assert_eq!((done.context, done.result.expect("whole")), (sent, 1000));
            sent += 1;
        } else if done.result.expect("received") > 0 {
            read.extend_from_slice(&done.buffer);
            done.handle.recv_lent(0).expect("started");
        } else {
            break;
        }
    }
    assert_same(&read, &pattern(0, COUNT * 1000), "what is read");
    assert_eq!(sent, COUNT);
    assert_nothing_left(&port);
}

/// A write to a pipe that nobody reads fails, and raises SIGPIPE, which ends a program that does not ignore it, as Rust's do. In a
/// process of its own, which does not.
fn a_writer_without_a_reader_lives(driver: DriverKind) {
    alone(|| {
        // SAFETY: the system's own action, as every process has it that is not Rust's.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let port = open::<(), u8>(driver);
        let broken = |context| {
            let done = get(&port);
            assert_eq!(done.context, context);
            assert_eq!(situation(&done.result), Some(Situation::PeerReset));
            assert_eq!(done.result.expect_err("broken").raw_os_error(), Some(libc::EPIPE));
        };
        // Gone before.
        let (early, reader) = writer(&port);
        drop(reader);
        early.send(vec![1].into(), 0).expect("started");
        broken(0);
        early.send_vectored(vec![vec![1].into(), vec![2].into()], 1).expect("started");
        broken(1);
        // Gone while it waits for room, and while somebody waits for it.
        let (late, reader) = writer(&port);
        late.send(vec![0; 1 << 20].into(), 2).expect("started");
        late.send(vec![0; 1 << 20].into(), 3).expect("started");
        thread::scope(|s| {
            s.spawn(|| {
                broken(2);
                broken(3);
            });
            until("it waits", || port.snapshot().waiting_threads == 1);
            drop(reader);
        });
        // A signal that the program has kept waiting waits still; one that it did not has not come.
        // SAFETY: sets of signals of this thread.
        unsafe {
            let mut set = std::mem::zeroed();
            let pending = |set: &mut libc::sigset_t| {
                assert_eq!(libc::sigpending(set), 0);
                libc::sigismember(set, libc::SIGPIPE) == 1
            };
            assert!(!pending(&mut set));
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGPIPE);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            early.send(vec![1].into(), 4).expect("started");
            broken(4);
            assert!(!pending(&mut set), "its own is taken away");
            libc::raise(libc::SIGPIPE);
            early.send(vec![1].into(), 5).expect("started");
            broken(5);
            assert!(pending(&mut set), "the program's is not");
            // Not to die of it when the thread ends.
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        }
        assert_nothing_left(&port);
    });
}

fn lent_buffers(driver: DriverKind) {
    let port = open::<(), u8>(driver);
    let (reader, mut writer) = reader(&port);
    reader.recv_lent(0).expect("started");
    reader.recv_lent(1).expect("started");
    assert_eq!(port.snapshot().pool.lent, 0, "none is pinned");
    for context in 0..2 {
        writer.write_all(b"hello").expect("written");
        let done = get(&port);
        assert_eq!(
            (done.context, done.buffer.is_lent(), &done.buffer[..]),
            (context, true, &b"hello"[..])
        );
    }
    assert_nothing_left(&port);
}

/// The pool is empty: the receive waits for a buffer, and takes nothing.
fn starved_at_a_pipe(driver: DriverKind) {
    let options = PoolOptions::new().limit(1);
    let port: CompletionPort<(), u8> =
        CompletionPort::builder().driver(driver).pool(options).build().expect("a probed driver");
    let (first, mut to_first) = reader(&port);
    let (second, mut to_second) = reader(&port);
    first.recv_lent(1).expect("started");
    to_first.write_all(b"one").expect("written");
    let held = get(&port);
    assert_eq!(&held.buffer[..], b"one");
    second.recv_lent(2).expect("started");
    assert!(port.get_timeout(Duration::ZERO).is_err());
    to_second.write_all(b"two").expect("written");
    while port.snapshot().starved == 0 {
        assert!(port.get_timeout(Duration::from_millis(1)).is_err(), "there is no buffer");
    }
    drop(held);
    let done = get(&port);
    assert_eq!((done.context, &done.buffer[..]), (2, &b"two"[..]));
    drop(done);
    assert_nothing_left(&port);
}

/// S91.
fn cancelled_in_order(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (reader, mut writer) = reader(&port);
    let ids: Vec<_> =
        (0..4).map(|n| reader.recv(Buffer::with_capacity(1), n).expect("started")).collect();
    for which in [0, 2] {
        assert!(reader.cancel(ids[which]));
        let done = get(&port);
        assert_eq!((done.context, situation(&done.result)), (which, Some(Situation::Cancelled)));
    }
    writer.write_all(b"ab").expect("written");
    let read = [get(&port), get(&port)].map(|done| (done.context, done.buffer.to_vec()));
    assert_eq!(read, [(1, b"a".to_vec()), (3, b"b".to_vec())]);
    let id = reader.recv_lent(5).expect("started");
    assert!(reader.cancel(id));
    assert_eq!(situation(&get(&port).result), Some(Situation::Cancelled));
    assert_nothing_left(&port);
}

/// A part of it has gone, and no more of it does; what is behind it goes whole.
fn cancelled_under_way(driver: DriverKind) {
    let port = open::<(), u8>(driver);
    let (writer, mut reader) = writer(&port);
    let id = writer.send(pattern(0, 4 << 20).into(), 0).expect("started");
    writer.send(b"second".to_vec().into(), 1).expect("started");
    drop(writer.clone());
    assert!(writer.cancel(id));
    drop(writer);
    let mut read = Vec::new();
    let done = thread::scope(|s| {
        s.spawn(|| reader.read_to_end(&mut read).expect("an end"));
        let packets = take(&port, 2);
        packets.into_iter().map(|done| (done.context, situation(&done.result))).collect::<Vec<_>>()
    });
    assert_eq!(done, [(0, Some(Situation::Cancelled)), (1, None)]);
    let left = read.len() - 6;
    assert!(left < 4 << 20);
    assert_same(&read[..left], &pattern(0, left), "what had gone of the first");
    assert_eq!(&read[left..], b"second");
}

/// S93, S95. The other side is told when the descriptor is gone, with the last packet.
fn a_close_ends_what_is_pending(driver: DriverKind) {
    alone(|| {
        let port = open::<(), u8>(driver);
        let before = open_descriptors();
        let (reader, to_reader) = reader(&port);
        let (writer, mut from_writer) = writer(&port);
        reader.recv(Buffer::with_capacity(1), 0).expect("started");
        reader.recv_lent(1).expect("started");
        writer.send(vec![0; 1 << 20].into(), 2).expect("started");
        writer.send(vec![0; 1 << 20].into(), 3).expect("started");
        reader.close();
        writer.close();
        for done in take(&port, 4) {
            assert_eq!(situation(&done.result), Some(Situation::LocalClose), "{done:?}");
        }
        assert_eq!(reader.recv_lent(0).expect_err("closed").error.kind(), ErrorKind::NotConnected);
        drop((reader, writer));
        let broken = (&to_reader).write(b"x").expect_err("nobody reads");
        assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
        io::copy(&mut from_writer, &mut io::sink()).expect("an end");
        drop((to_reader, from_writer));
        assert_eq!(open_descriptors(), before);
        assert_nothing_left(&port);
    });
}

/// S106.
fn threads_exit(driver: DriverKind) {
    let port = open::<(), u8>(driver);
    let (reader, mut to_reader) = reader(&port);
    let (writer, mut from_writer) = writer(&port);
    thread::scope(|s| {
        s.spawn(|| {
            reader.recv(Buffer::with_capacity(10), 0).expect("started");
            reader.recv_lent(1).expect("started");
            writer.send(pattern(0, 1 << 20).into(), 2).expect("started");
        });
    });
    for context in 0..2 {
        to_reader.write_all(b"hello").expect("written");
        let done = get(&port);
        assert_eq!((done.context, &done.buffer[..]), (context, &b"hello"[..]));
    }
    thread::scope(|s| {
        s.spawn(|| {
            let mut read = vec![0; 1 << 20];
            from_writer.read_exact(&mut read).expect("all of it");
            assert_same(&read, &pattern(0, 1 << 20), "what is read");
        });
        assert_eq!(get(&port).result.expect("whole"), 1 << 20);
    });
    assert_nothing_left(&port);
}

fn one_direction_only(driver: DriverKind) {
    let port = open::<(), u8>(driver);
    let (reader, _to_reader) = reader(&port);
    let (writer, _from_writer) = writer(&port);
    let refused = reader.send(vec![1].into(), 7).expect_err("a reader");
    assert_eq!((refused.error.kind(), refused.context), (ErrorKind::InvalidInput, 7));
    reader.send_vectored(vec![vec![1].into()], 0).expect_err("a reader");
    writer.recv(Buffer::with_capacity(1), 0).expect_err("a writer");
    writer.recv_lent(0).expect_err("a writer");
    for handle in [reader, writer] {
        handle.accept(0).expect_err("no listener");
        handle.end(Duration::ZERO, 0).expect_err("no connection");
        handle.read_at(Buffer::with_capacity(1), 0, 0).expect_err("no file");
        handle.sync(0).expect_err("no file");
        handle.shutdown(Shutdown::Both).expect_err("no connection");
        handle.set_nodelay(true).expect_err("no TCP");
        handle.peer_addr().expect_err("no address");
    }
}

/// S178.
fn whatever_its_mode(driver: DriverKind) {
    let port = open::<(), u8>(driver);
    let (reader, writer) = pipe().expect("a pipe");
    socket2::SockRef::from(&reader).set_nonblocking(true).expect("a mode");
    socket2::SockRef::from(&writer).set_nonblocking(true).expect("a mode");
    let reader = port.associate(reader, ()).expect("associated");
    let writer = port.associate(writer, ()).expect("associated");
    reader.recv(Buffer::with_capacity(5), 1).expect("started");
    assert!(port.get_timeout(Duration::from_millis(1)).is_err());
    writer.send(b"hello".to_vec().into(), 2).expect("started");
    let mut done = take(&port, 2);
    done.sort_by_key(|done| done.context);
    assert_eq!(&done[0].buffer[..], b"hello");
    assert_nothing_left(&port);
}
