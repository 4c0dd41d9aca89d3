//! Files: S158 to S160, and every promise that is not about order. How they end early is in [`files_end`](crate::files_end).

use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    net::Shutdown,
    thread,
    time::Duration,
};

use completion_port::{Buffer, CompletionPort, DriverKind, OpKind, error::Situation};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use proptest::{prelude::*, sample::Index};

use crate::util::{
    assert_nothing_left, assert_same, files, files::associated, get, open, pair, pattern,
    situation, take, until,
};

crate::on_each_driver!(
    at_any_offset,
    a_read_stops_at_the_end,
    behind_what_is_in_the_buffer,
    several_buffers,
    more_pieces_than_one_call_takes,
    writes_are_whole,
    side_by_side,
    by_many_threads,
    started_by_one_who_blocks,
    a_sync_covers_what_is_over,
    what_the_system_says_is_told,
    what_cannot_be_is_refused,
    only_files_are_files,
    a_model_agrees,
);

// What the system must tell for these, only Linux tells.
#[cfg(target_os = "linux")]
crate::on_each_driver!(whatever_its_mode);

/// S158, S160: each says where, and has its packet; the file's own pointer neither counts nor moves.
fn at_any_offset(driver: DriverKind) {
    let port = open::<&str, u64>(driver);
    let (file, same) = associated(&port, "key", &pattern(0, 100_000));
    for offset in [0, 1, 4096, 99_999, 50_000] {
        file.read_at(Buffer::with_capacity(1), offset, offset).expect("started");
        let done = get(&port);
        assert_eq!((done.kind(), *done.handle.key(), done.last()), (OpKind::ReadAt, "key", true));
        assert_eq!((done.context, done.result.expect("read")), (offset, 1));
        assert_eq!(&done.buffer[..], &pattern(offset as usize, 1)[..]);
    }
    for offset in [200_000, 7, 99_998] {
        file.write_at(b"new".to_vec().into(), offset, offset).expect("started");
        let done = get(&port);
        assert_eq!((done.kind(), done.context), (OpKind::WriteAt, offset));
        assert_eq!((done.result.expect("written"), &done.buffer[..]), (3, &b"new"[..]));
    }
    let mut expected = pattern(0, 100_000);
    expected[7..10].copy_from_slice(b"new");
    expected.resize(200_003, 0);
    expected[99_998..100_001].copy_from_slice(b"new");
    expected[200_000..].copy_from_slice(b"new");
    assert_same(&files::content(&same), &expected, "the file");
    let mut same = same;
    assert_eq!(std::io::Seek::stream_position(&mut same).expect("a pointer"), 0);
    assert_nothing_left(&port);
}

/// S159: short at the end; there, and behind it, an error that says so.
fn a_read_stops_at_the_end(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (file, same) = associated(&port, (), &pattern(0, 5000));
    let ends = |offset| {
        file.read_at(Buffer::with_capacity(100), offset, ()).expect("started");
        let done = get(&port);
        assert_eq!(situation(&done.result), Some(Situation::EndOfFile), "at {offset}");
        assert_eq!(done.result.expect_err("no bytes").kind(), ErrorKind::UnexpectedEof);
        assert_eq!((done.buffer.len(), done.buffer.spare()), (0, 100), "the buffer comes back");
        file.read_vectored_at(vec![Buffer::with_capacity(1)], offset, ()).expect("started");
        let mut done = get(&port);
        assert_eq!(situation(&done.result), Some(Situation::EndOfFile));
        assert_eq!(done.buffers().len(), 1);
    };
    for (offset, there) in [(0, 5000), (4999, 1), (4096, 904)] {
        file.read_at(Buffer::with_capacity(8192), offset, ()).expect("started");
        let done = get(&port);
        assert_eq!(done.result.expect("read"), there);
        assert_same(&done.buffer, &pattern(offset as usize, there), "what was there");
    }
    [5000, 5001, 1 << 40, i64::MAX as u64 - 100].into_iter().for_each(ends);
    same.set_len(0).expect("shorter");
    ends(0);
    assert_nothing_left(&port);
}

/// As every receive, a read fills the spare room.
fn behind_what_is_in_the_buffer(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (file, _) = associated(&port, (), b"0123456789");
    let mut buffer = Vec::with_capacity(6);
    buffer.extend_from_slice(b"ab");
    file.read_at(buffer.into(), 3, ()).expect("started");
    let done = get(&port);
    assert_eq!((done.result.expect("read"), &done.buffer[..]), (4, &b"ab3456"[..]));
    // One lent by the pool will do.
    file.read_at(port.lend().expect("there are some"), 8, ()).expect("started");
    let done = get(&port);
    assert_eq!((done.buffer.is_lent(), &done.buffer[..]), (true, &b"89"[..]));
}

fn several_buffers(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (file, same) = associated(&port, (), b"");
    let parts = [b"one".to_vec(), vec![], b"two, ".to_vec(), b"three".to_vec()];
    let written = parts.iter().cloned().map(Buffer::from).collect();
    file.write_vectored_at(written, 2, ()).expect("started");
    let mut done = get(&port);
    assert_eq!((done.kind(), done.buffers().len()), (OpKind::WriteAt, 4));
    assert_eq!(done.result.expect("written"), 13);
    assert_eq!(files::content(&same), b"\0\0onetwo, three");

    let mut begun = Vec::with_capacity(5);
    begun.push(b'<');
    let rooms = vec![
        Buffer::with_capacity(2),
        Buffer::new(),
        begun.into(),
        Buffer::with_capacity(50),
        Buffer::with_capacity(50),
    ];
    file.read_vectored_at(rooms, 3, ()).expect("started");
    let mut done = get(&port);
    let got: Vec<_> = done.buffers().iter().map(|buffer| buffer.to_vec()).collect();
    assert_eq!((done.kind(), done.result.expect("read")), (OpKind::ReadAt, 12));
    let expected: [&[u8]; 5] = [b"ne", b"", b"<two,", b" three", b""];
    assert!(got.iter().eq(&expected), "{got:?}");
    assert_nothing_left(&port);
}

/// UIO_MAXIOV is 1024: what is beyond goes on in the next call.
fn more_pieces_than_one_call_takes(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (file, same) = associated(&port, (), b"");
    let content = pattern(0, 3000 * 7);
    file.write_vectored_at(content.chunks(7).map(Buffer::from).collect(), 5, ()).expect("started");
    assert_eq!(get(&port).result.expect("written"), content.len());
    assert_same(&files::content(&same)[5..], &content, "the file");

    let rooms = (0..3001).map(|_| Buffer::from(Vec::with_capacity(7))).collect();
    file.read_vectored_at(rooms, 5, ()).expect("started");
    let mut done = get(&port);
    let got: Vec<u8> = done.buffers().iter().flat_map(|buffer| buffer.to_vec()).collect();
    assert_eq!(done.result.expect("read"), content.len());
    assert_same(&got, &content, "what was read");
}

fn writes_are_whole(driver: DriverKind) {
    const LONG: usize = 48 << 20;
    let port = open::<(), ()>(driver);
    let (file, same) = associated(&port, (), b"");
    let content = pattern(0, LONG);
    file.write_at(content[..].into(), 1, ()).expect("started");
    assert_eq!(get(&port).result.expect("whole"), LONG);
    assert_same(&files::content(&same)[1..], &content, "the file");
    file.read_at(Buffer::with_capacity(LONG), 1, ()).expect("started");
    let done = get(&port);
    assert_eq!(done.result.expect("whole"), LONG);
    assert_same(&done.buffer, &content, "what was read");
}

/// None waits for another: all are on their way at once, and each has its packet, whatever their order.
fn side_by_side(driver: DriverKind) {
    const DEPTH: usize = 64;
    const ROUNDS: usize = 50;
    let port = open::<(), usize>(driver);
    let content = pattern(0, 1 << 20);
    let (file, _) = associated(&port, (), &content);
    let read = |buffer: Buffer, number: usize| {
        let offset = number * 7919 % (content.len() - 4096);
        file.read_at(buffer, offset as u64, number).expect("started");
    };
    (0..DEPTH).for_each(|number| read(Buffer::with_capacity(4096), number));
    let mut seen = vec![false; DEPTH * ROUNDS];
    for next in DEPTH..DEPTH * (ROUNDS + 1) {
        let done = get(&port);
        assert!(!std::mem::replace(&mut seen[done.context], true), "twice");
        let offset = done.context * 7919 % (content.len() - 4096);
        assert_eq!(done.result.expect("read"), 4096);
        assert_same(&done.buffer, &content[offset..offset + 4096], "what was read");
        if next < DEPTH * ROUNDS {
            let mut buffer = done.buffer;
            buffer.clear();
            read(buffer, next);
        }
    }
    assert!(seen.iter().all(|seen| *seen));
    assert_nothing_left(&port);
}

/// Promise 1.
fn by_many_threads(driver: DriverKind) {
    const EACH: usize = 200;
    let port = open::<(), usize>(driver);
    let (file, same) = associated(&port, (), b"");
    thread::scope(|s| {
        for starter in 0..4 {
            let file = &file;
            s.spawn(move || {
                for number in 0..EACH {
                    let at = (starter * EACH + number) * 100;
                    file.write_at(pattern(at, 100).into(), at as u64, 100).expect("started");
                }
            });
        }
        for _ in 0..4 {
            s.spawn(|| {
                for done in take(&port, EACH) {
                    assert_eq!(done.result.expect("written"), done.context);
                }
            });
        }
    });
    assert_same(&files::content(&same), &pattern(0, 4 * EACH * 100), "the file");
    assert_nothing_left(&port);
}

/// Promise 7: who has started them does not come back until another has their packets.
fn started_by_one_who_blocks(driver: DriverKind) {
    const COUNT: usize = 20;
    let port: CompletionPort<(), usize> =
        CompletionPort::builder().driver(driver).limit(2).build().expect("a probed driver");
    let (file, _) = associated(&port, (), &pattern(0, 100_000));
    let (seen, all) = std::sync::mpsc::channel();
    let all = std::sync::Mutex::new(all);
    thread::scope(|s| {
        let close = port.close_on_drop();
        let (file, port, all) = (&file, &port, &all);
        let workers = [seen.clone(), seen].map(|seen| {
            s.spawn(move || {
                while let Ok(done) = port.get() {
                    if done.context < COUNT {
                        seen.send(done.context).expect("it listens");
                        continue;
                    }
                    // One of the two, whichever.
                    for number in 0..COUNT {
                        file.read_at(Buffer::with_capacity(1), 0, number).expect("started");
                    }
                    let all = all.lock().expect("no panic before");
                    for _ in 0..COUNT {
                        all.recv_timeout(crate::util::PATIENCE).expect("nothing is stranded");
                    }
                    return;
                }
            })
        });
        until("both wait", || port.snapshot().waiting_threads == 2);
        port.key(()).post(0, COUNT).expect("open");
        until("one has seen all", || workers.iter().any(|worker| worker.is_finished()));
        drop(close);
    });
}

fn a_sync_covers_what_is_over(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (file, _) = associated(&port, (), b"");
    for (start, kind) in [(true, OpKind::Sync), (false, OpKind::SyncData)] {
        file.write_at(vec![1; 10_000].into(), 0, 1).expect("started");
        assert_eq!(get(&port).context, 1);
        if start { file.sync(2) } else { file.sync_data(2) }.expect("started");
        let done = get(&port);
        assert_eq!((done.kind(), done.context), (kind, 2));
        assert_eq!(done.result.expect("synced"), 0);
    }
    assert_nothing_left(&port);
}

/// S61: as a packet, which has everything else.
fn what_the_system_says_is_told(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let told = || {
        let done = get(&port);
        (done.result.expect_err("an error").raw_os_error(), done.buffer.len())
    };
    let readable = files::opened(b"content", OpenOptions::new().read(true));
    let readable = port.associate(readable, ()).expect("associated");
    readable.write_at(vec![0; 3].into(), 0, ()).expect("started");
    assert_eq!(told(), (Some(crate::util::codes::EBADF), 3));
    readable.write_vectored_at(vec![vec![0; 3].into()], 0, ()).expect("started");
    let mut done = get(&port);
    assert_eq!(done.buffers().len(), 1);
    assert_eq!(done.result.expect_err("an error").raw_os_error(), Some(crate::util::codes::EBADF));

    let writable = files::opened(b"content", OpenOptions::new().write(true));
    let writable = port.associate(writable, ()).expect("associated");
    writable.read_at(Buffer::with_capacity(3), 0, ()).expect("started");
    assert_eq!(told(), (Some(crate::util::codes::EBADF), 0));
    // Beyond what any file system has.
    writable.write_at(vec![0; 3].into(), i64::MAX as u64 - 1, ()).expect("started");
    assert!(told().0.is_some_and(|code| {
        [crate::util::codes::EFBIG, crate::util::codes::EINVAL, crate::util::codes::EOVERFLOW]
            .contains(&code)
    }));
    // They are well all the same.
    writable.write_at(vec![0; 3].into(), 0, ()).expect("started");
    assert_eq!(get(&port).result.expect("written"), 3);
    assert_nothing_left(&port);
}

/// S163: what is at an offset is for files, and nothing else is.
fn what_cannot_be_is_refused(driver: DriverKind) {
    let port: CompletionPort<(), u8> =
        CompletionPort::builder().driver(driver).queue_limit(3).build().expect("a probed driver");
    let (file, _) = associated(&port, (), b"content");
    let room = || Buffer::with_capacity(5);

    let full = file.read_at(Buffer::from(b"full".to_vec()), 0, 9).expect_err("no room");
    assert_eq!((full.error.kind(), full.context), (ErrorKind::InvalidInput, 9));
    assert_eq!(&full.buffer[..], b"full");
    file.read_vectored_at(vec![], 0, 0).expect_err("no room");
    file.read_vectored_at(vec![Buffer::new()], 0, 0).expect_err("no room");
    file.write_at(room(), 0, 0).expect_err("nothing to write");
    file.write_vectored_at(vec![room()], 0, 0).expect_err("nothing to write");
    for far in [1 << 63, u64::MAX] {
        let refused = file.read_at(room(), far, 1).expect_err("no such offset");
        assert_eq!((refused.error.kind(), refused.buffer.spare()), (ErrorKind::InvalidInput, 5));
        let refused = file.write_vectored_at(vec![vec![1].into()], far, 1);
        assert_eq!(refused.expect_err("no such offset").buffer.len(), 1);
    }
    // What streams do.
    let kind = |error: std::io::Error| error.kind();
    assert_eq!(file.recv(room(), 0).map_err(|e| kind(e.error)), Err(ErrorKind::InvalidInput));
    assert_eq!(file.recv_lent(0).map_err(|e| kind(e.error)), Err(ErrorKind::InvalidInput));
    assert_eq!(
        file.send(vec![1].into(), 0).map_err(|e| kind(e.error)),
        Err(ErrorKind::InvalidInput)
    );
    assert_eq!(file.accept(0).map_err(|e| kind(e.error)), Err(ErrorKind::InvalidInput));
    assert_eq!(file.shutdown(Shutdown::Both).map_err(kind), Err(ErrorKind::InvalidInput));
    file.end(Duration::ZERO, 0).expect_err("no stream");
    // And what files do, of a stream and a key.
    let (server, _client) = pair(&port, ());
    for other in [server, port.key(())] {
        other.read_at(room(), 0, 0).expect_err("no file");
        let refused = other.write_at(vec![7].into(), 0, 8).expect_err("no file");
        assert_eq!((refused.context, &refused.buffer[..]), (8, &[7][..]));
        let refused = other.write_vectored_at(vec![vec![7].into()], 0, 8).expect_err("no file");
        assert_eq!((refused.context, refused.buffer.len()), (8, 1));
        other.sync(0).expect_err("no file");
    }
    // Nobody has looked whether the first are over.
    for _ in 0..3 {
        file.write_at(vec![3; 5].into(), 0, 3).expect("started");
    }
    let refused = file.write_at(vec![3; 5].into(), 0, 3).expect_err("too many");
    assert_eq!(Situation::of(&refused.error), Some(Situation::TooManyQueued));
    assert_eq!(refused.buffer.len(), 5);
    assert!(take(&port, 3).into_iter().all(|done| done.result.is_ok()));
    file.close();
    let refused = file.read_at(room(), 0, 4).expect_err("closed");
    assert_eq!((refused.error.kind(), refused.context), (ErrorKind::NotConnected, 4));
    assert_nothing_left(&port);
}

/// What has no offsets is refused when it is associated, and given back.
fn only_files_are_files(driver: DriverKind) {
    let port = open::<u8, ()>(driver);
    for other in ["/dev/null", "/"] {
        let refused = port.associate(File::open(other).expect("it is there"), 7);
        let refused = refused.expect_err("no file");
        assert_eq!((refused.error.kind(), refused.key), (ErrorKind::InvalidInput, 7));
        refused.source.metadata().expect("it is open");
    }
}

/// S178: a file that was opened not to block is read all the same.
#[cfg(target_os = "linux")]
fn whatever_its_mode(driver: DriverKind) {
    use std::os::unix::fs::OpenOptionsExt;
    let port = open::<(), ()>(driver);
    let file = files::opened(
        b"content",
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK),
    );
    let file = port.associate(file, ()).expect("associated");
    file.read_at(Buffer::with_capacity(10), 0, ()).expect("started");
    assert_eq!(&get(&port).buffer[..], b"content");
    file.write_at(b"C".to_vec().into(), 0, ()).expect("started");
    assert_eq!(get(&port).result.expect("written"), 1);
    // A file that is appended to, as the system has it.
    let file = files::opened(b"content", OpenOptions::new().append(true).read(true));
    let same = file.try_clone().expect("a duplicate");
    let file = port.associate(file, ()).expect("associated");
    file.write_at(b"!".to_vec().into(), 0, ()).expect("started");
    assert_eq!(get(&port).result.expect("written"), 1);
    assert_eq!(files::content(&same), b"content!");
}

/// One step of the property below.
#[derive(Debug, Clone)]
struct Step {
    write: bool,
    /// One buffer, or so many.
    pieces: usize,
    at: Index,
    len: usize,
}

/// Reads and writes at random places, many at once, against a vector of bytes. What is under way at once does not overlap with a write: there
/// is no order between them.
fn a_model_agrees(driver: DriverKind) {
    const MOST: usize = 200_000;
    let step = (any::<bool>(), 1_usize..5, any::<Index>(), 1_usize..20_000)
        .prop_map(|(write, pieces, at, len)| Step { write, pieces, at, len });
    let steps = proptest::collection::vec(step, 1..200);
    let config = Config { cases: 30, failure_persistence: None, ..Config::default() };
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let outcome = TestRunner::new_with_rng(config, seed).run(&steps, |steps| {
        let port = open::<(), (usize, usize, Option<Vec<u8>>)>(driver);
        let mut model = pattern(0, 50_000);
        let (file, same) = associated(&port, (), &model);
        let mut under_way: Vec<(usize, usize, bool)> = Vec::new();
        let settle = |under_way: &mut Vec<(usize, usize, bool)>| {
            let mut done = get(&port);
            let parts = done.buffers();
            let (at, len, expected) = done.context;
            let gone = under_way.iter().position(|one| (one.0, one.1) == (at, len));
            under_way.swap_remove(gone.expect("it was started"));
            let got = match parts.is_empty() {
                true => done.buffer.to_vec(),
                false => parts.iter().flat_map(|part| part.to_vec()).collect(),
            };
            match expected {
                Some(expected) if expected.is_empty() => {
                    assert_eq!(situation(&done.result), Some(Situation::EndOfFile));
                }
                Some(expected) => {
                    assert_eq!(done.result.expect("read"), expected.len());
                    assert_same(&got, &expected, "what was read");
                }
                None => assert_eq!(done.result.expect("written"), len),
            }
        };
        for (number, Step { write, pieces, at, len }) in steps.into_iter().enumerate() {
            let at = at.index(MOST);
            // The end of the file moves with a write behind it: that touches all that is read there.
            let touches = |one: &(usize, usize, bool)| {
                let grows = |write: bool, at: usize, len: usize| write && at + len > model.len();
                (one.2 || write)
                    && (at < one.0 + one.1 && one.0 < at + len
                        || grows(one.2, one.0, one.1)
                        || grows(write, at, len))
            };
            while under_way.iter().any(touches) || under_way.len() == 64 {
                settle(&mut under_way);
            }
            let grows = write && at + len > model.len();
            under_way.push((at, len, write));
            let cut = len.div_ceil(pieces);
            if write {
                let bytes = pattern(number * 1000, len);
                if grows {
                    model.resize(at + len, 0);
                }
                model[at..at + len].copy_from_slice(&bytes);
                let context = (at, len, None);
                match pieces {
                    1 => file.write_at(bytes.into(), at as u64, context).map_err(|e| e.error),
                    _ => file
                        .write_vectored_at(
                            bytes.chunks(cut).map(Buffer::from).collect(),
                            at as u64,
                            context,
                        )
                        .map_err(|e| e.error),
                }
            } else {
                let there = model.get(at..).unwrap_or(&[]);
                let context = (at, len, Some(there[..len.min(there.len())].to_vec()));
                let room = |len: usize| Buffer::from(Vec::with_capacity(len));
                match pieces {
                    1 => file.read_at(room(len), at as u64, context).map_err(|e| e.error),
                    _ => {
                        let rooms = (0..len).step_by(cut).map(|from| room(cut.min(len - from)));
                        file.read_vectored_at(rooms.collect(), at as u64, context)
                            .map_err(|e| e.error)
                    }
                }
            }
            .expect("started");
            if grows {
                // Others may not see a file that is longer, and not yet written to.
                while !under_way.is_empty() {
                    settle(&mut under_way);
                }
            }
        }
        while !under_way.is_empty() {
            settle(&mut under_way);
        }
        assert_same(&files::content(&same), &model, "the file");
        let mut end = [0; 1];
        assert_eq!(
            crate::util::sys::read_at(&same, &mut end, model.len() as u64).expect("nothing"),
            0
        );
        assert_nothing_left(&port);
        Ok(())
    });
    outcome.unwrap_or_else(|e| panic!("{e}"));
}
