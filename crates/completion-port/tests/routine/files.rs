//! Files with completion routines: the rules of all routines (S164 to S176), and what files do.

use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    thread,
    time::Duration,
};

use completion_port::{
    Buffer, DriverKind,
    error::Situation,
    routine::{FileDone, OverlappedFile, Woken, sleep_ex},
};

use crate::{
    kit::{Log, nothing_runs, on_a_thread, room, run, run_until},
    util::{assert_same, files, pattern, situation},
};

crate::on_each_driver!(
    reads_and_writes,
    only_in_an_alertable_wait,
    the_end_of_a_file,
    several_buffers,
    side_by_side,
    what_fails_is_told,
    what_is_refused_comes_back,
    cancelled_and_closed,
    a_thread_that_ends,
    each_routine_on_its_own_thread,
);

fn keep(log: &Log<FileDone>) -> impl FnOnce(FileDone) + use<> {
    let log = log.clone();
    move |done| log.add(done)
}

fn file(content: &[u8]) -> OverlappedFile {
    files::file(content).into()
}

/// A chain: each routine starts the next.
fn reads_and_writes(driver: DriverKind) {
    on_a_thread(driver, || {
        let inside = files::file(b"hello");
        let file = OverlappedFile::from(inside.try_clone().expect("a duplicate"));
        let log = Log::default();
        let end = keep(&log);
        file.read_at(room(100), 1, |done| {
            assert_eq!((done.result.ok(), &done.buffer[..]), (Some(4), &b"ello"[..]));
            let written = done.file.write_at(done.buffer, 7, |done| {
                assert_eq!((done.result.ok(), &done.buffer[..]), (Some(4), &b"ello"[..]));
                done.file
                    .sync_data(|done| _ = done.file.sync(end).expect("started"))
                    .expect("started");
            });
            written.expect("started");
        })
        .expect("started");
        run_until("the last", || !log.is_empty());
        let done = log.take().remove(0);
        assert_eq!(done.result.expect("synced"), 0);
        assert_eq!(done.file, file);
        assert_eq!(files::content(&inside), b"hello\0\0ello");
    });
}

/// S164, S165, S168, S170.
fn only_in_an_alertable_wait(driver: DriverKind) {
    on_a_thread(driver, || {
        let file = file(b"content");
        let log = Log::default();
        file.read_at(room(10), 0, keep(&log)).expect("started");
        assert!(log.is_empty(), "S165");
        assert_eq!(sleep_ex(Duration::from_millis(5), false).expect("a sleep"), Woken::TimedOut);
        assert!(log.is_empty(), "S168");
        run();
        assert_eq!(&log.take().remove(0).buffer[..], b"content");
        nothing_runs();
    });
}

/// S159.
fn the_end_of_a_file(driver: DriverKind) {
    on_a_thread(driver, || {
        let file = file(b"content");
        let log = Log::default();
        for offset in [7, 100] {
            file.read_at(room(10), offset, keep(&log)).expect("started");
            run();
            let done = log.take().remove(0);
            assert_eq!(situation(&done.result), Some(Situation::EndOfFile));
            assert_eq!(done.buffer.spare(), 10);
        }
    });
}

fn several_buffers(driver: DriverKind) {
    on_a_thread(driver, || {
        let file = file(b"");
        let log = Log::default();
        let parts = vec![b"one".to_vec().into(), b"two".to_vec().into()];
        file.write_vectored_at(parts, 0, keep(&log)).expect("started");
        run();
        let done = log.take().remove(0);
        assert_eq!((done.result.expect("written"), done.buffers.len()), (6, 2));
        file.read_vectored_at(vec![room(1), room(9)], 1, keep(&log)).expect("started");
        run();
        let done = log.take().remove(0);
        assert_eq!(done.result.expect("read"), 5);
        assert_eq!((&done.buffers[0][..], &done.buffers[1][..]), (&b"n"[..], &b"etwo"[..]));
    });
}

fn side_by_side(driver: DriverKind) {
    on_a_thread(driver, || {
        let content = pattern(0, 100_000);
        let file = file(&content);
        let log: Log<(usize, FileDone)> = Log::default();
        for number in 0..200 {
            let log = log.clone();
            file.read_at(room(1000), number as u64 * 400, move |done| log.add((number, done)))
                .expect("started");
        }
        run_until("all of them", || log.len() == 200);
        let mut all = log.take();
        all.sort_by_key(|one| one.0);
        for (number, (at, done)) in all.into_iter().enumerate() {
            assert_eq!((number, done.result.expect("read")), (at, 1000));
            assert_same(&done.buffer, &content[at * 400..at * 400 + 1000], "what was read");
        }
        nothing_runs();
    });
}

fn what_fails_is_told(driver: DriverKind) {
    on_a_thread(driver, || {
        let file = OverlappedFile::from(files::opened(b"", OpenOptions::new().read(true)));
        let log = Log::default();
        file.write_at(vec![1; 3].into(), 0, keep(&log)).expect("started");
        run();
        let done = log.take().remove(0);
        assert_eq!(
            done.result.expect_err("read only").raw_os_error(),
            Some(crate::util::codes::EBADF)
        );
        assert_eq!(done.buffer.len(), 3);
    });
}

/// S166.
fn what_is_refused_comes_back(driver: DriverKind) {
    on_a_thread(driver, || {
        let file = file(b"content");
        let log: Log<FileDone> = Log::default();
        let refused = file.read_at(Buffer::new(), 0, keep(&log)).expect_err("no room");
        assert_eq!(refused.error.kind(), ErrorKind::InvalidInput);
        let again = file.read_at(room(7), 0, refused.context).expect("started");
        run();
        assert!(!file.cancel(again), "it is over");
        assert_eq!(&log.take().remove(0).buffer[..], b"content");
        assert_eq!(file.write_at(room(1), 0, |_| {}).expect_err("empty").buffer.spare(), 1);
        let null = OverlappedFile::from(File::open("/dev/null").expect("it is there"));
        null.read_at(room(1), 0, |_| {}).expect_err("no file");
        file.close();
        assert_eq!(file.sync(|_| {}).expect_err("closed").error.kind(), ErrorKind::NotConnected);
        nothing_runs();
    });
}

/// S86, S88, S89, S93: each is told, once.
fn cancelled_and_closed(driver: DriverKind) {
    on_a_thread(driver, || {
        let content = pattern(0, 1 << 18);
        for close in [false, true] {
            let file = file(&content);
            let log = Log::default();
            for _ in 0..64 {
                file.read_at(room(1 << 18), 0, keep(&log)).expect("started");
            }
            if close {
                file.close();
            } else {
                file.cancel_own();
                assert_eq!((file.cancel_own(), file.cancel_all()), (0, 0));
            }
            run_until("all of them", || log.len() == 64);
            for done in log.take() {
                match situation(&done.result) {
                    None => assert_same(&done.buffer, &content, "what was read"),
                    Some(other) => assert_eq!(other, Situation::Cancelled),
                }
            }
            nothing_runs();
        }
    });
}

/// S105: what it has started is cancelled, and no routine runs.
fn a_thread_that_ends(driver: DriverKind) {
    let content = pattern(0, 1 << 18);
    let file = file(&content);
    for _ in 0..10 {
        on_a_thread(driver, || {
            for _ in 0..32 {
                file.read_at(room(1 << 18), 0, |_| panic!("it runs nowhere")).expect("started");
            }
        });
    }
    on_a_thread(driver, || {
        let log = Log::default();
        file.read_at(room(5), 0, keep(&log)).expect("started");
        run();
        assert_same(&log.take().remove(0).buffer, &content[..5], "it is well");
    });
}

/// S164.
fn each_routine_on_its_own_thread(driver: DriverKind) {
    let file = file(b"content");
    thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                on_a_thread(driver, || {
                    let me = thread::current().id();
                    let log = Log::default();
                    for _ in 0..50 {
                        let log = log.clone();
                        file.read_at(room(7), 0, move |done| {
                            assert_eq!(&done.buffer[..], b"content");
                            log.add(thread::current().id());
                        })
                        .expect("started");
                    }
                    run_until("all of mine", || log.len() == 50);
                    assert!(log.take().iter().all(|on| *on == me));
                });
            });
        }
    });
}
