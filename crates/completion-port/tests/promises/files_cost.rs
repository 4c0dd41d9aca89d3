//! Files: what they cost in descriptors, memory and wake-ups. Promises 8 and 9, as far as only Linux tells.

use std::{thread, time::Duration};

use completion_port::{Buffer, DriverKind};

use crate::util::{
    child::alone,
    files::associated,
    get, open, pair, pattern,
    proc::{open_descriptors, other_threads, resident, when_asleep},
    until,
};

crate::on_each_driver!(what_is_pending_keeps_it_open, nothing_leaks, idle_is_free);

const LEN: usize = 256 << 10;

/// The descriptor goes with the last clone of the handle and the last packet, and not before.
fn what_is_pending_keeps_it_open(driver: DriverKind) {
    alone(|| {
        let port = open::<(), ()>(driver);
        let (_beside, _) = pair(&port, ());
        let before = open_descriptors();
        let (file, same) = associated(&port, (), &pattern(0, LEN));
        drop(same);
        file.read_at(Buffer::with_capacity(LEN), 0, ()).expect("started");
        drop(file);
        let done = get(&port);
        assert_eq!(*done.result.as_ref().expect("read"), LEN);
        assert_eq!(open_descriptors(), before + 1, "the packet has it");
        drop(done);
        assert_eq!(open_descriptors(), before);
    });
}

/// One life of a port: finished and unfinished, closed with all of it. Some 12 MB.
fn live(driver: DriverKind) {
    let port = open::<Vec<u8>, Vec<u8>>(driver);
    let some = || vec![1_u8; 10_000];
    let (file, _) = associated(&port, some(), &pattern(0, 100_000));
    for _ in 0..5 {
        file.read_at(Buffer::with_capacity(100_000), 0, some()).expect("started");
        drop(get(&port));
    }
    for _ in 0..20 {
        let rooms = vec![Buffer::with_capacity(100_000), Buffer::with_capacity(100_000)];
        file.read_vectored_at(rooms, 0, some()).expect("started");
        file.write_vectored_at(vec![vec![1; 100_000].into(), some().into()], 0, some())
            .expect("started");
        file.write_at(vec![1; 100_000].into(), 0, some()).expect("started");
        file.sync_data(some()).expect("started");
    }
    file.cancel_all();
}

/// In a process of its own, whose memory nobody else uses.
fn nothing_leaks(driver: DriverKind) {
    alone(|| {
        let descriptors = open_descriptors();
        let grown = || {
            let before = resident();
            (0..15).for_each(|_| live(driver));
            resident().saturating_sub(before)
        };
        // The allocators of the threads that serve files take another piece now and then: a leak grows every time.
        let mut windows = Vec::new();
        // A context of each life would be 150 kB, a buffer 1.5 MB.
        while !windows.iter().any(|grown| *grown < 140_000) {
            assert!(windows.len() < 16, "each 15 lives more: {windows:?}");
            windows.push(grown());
        }
        assert_eq!(open_descriptors(), descriptors);
    });
}

/// Promise 8: whoever served a file is gone or asleep when there is nothing to do, and is there again when there is.
fn idle_is_free(driver: DriverKind) {
    alone(|| {
        let port = open::<(), ()>(driver);
        let (file, _) = associated(&port, (), b"content");
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let read = || {
                for _ in 0..64 {
                    file.read_at(Buffer::with_capacity(7), 0, ()).expect("started");
                }
            };
            for _ in 0..2 {
                s.spawn(|| {
                    while let Ok(done) = port.get() {
                        assert_eq!(&done.buffer[..], b"content");
                    }
                });
            }
            read();
            // The test's own thread waits for the harness'.
            let threads = || other_threads().len();
            let idle = threads_without_files(driver);
            until("only those that wait are left", || threads() <= idle);
            until("all wait", || port.snapshot().waiting_threads == 2);
            let before = when_asleep();
            thread::sleep(Duration::from_secs(1));
            assert_eq!(before, other_threads(), "a thread has run: {}", port.snapshot());
            read();
            until("all are read", || port.snapshot().in_flight.is_empty());
        });
    });
}

/// The harness' main thread, the guard of a test's time, and two that wait. The kernel's own workers of a ring are no bound: they
/// sleep, and are counted as threads of the process.
fn threads_without_files(driver: DriverKind) -> usize {
    if driver == DriverKind::Readiness { 4 } else { usize::MAX }
}
