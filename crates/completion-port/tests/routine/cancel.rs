//! Operations that are taken back: their routines are told (S85-S91).

use std::{
    io::{Read, Write},
    sync::mpsc,
    thread,
};

use completion_port::{
    Buffer, DriverKind, OpId,
    error::Situation,
    routine::{Done, OverlappedSocket},
};

use crate::{
    kit::{Log, drive_by, elsewhere, nothing_runs, on_a_thread, pair, room, run, run_until},
    util::{assert_same, pattern, situation},
};

crate::on_each_driver!(
    one_of_several_disturbs_no_other,
    a_second_time_finds_nothing,
    of_ones_own_leaves_those_of_others,
    by_the_id_of_anothers_finds_nothing,
    of_all_reaches_every_thread,
    by_a_routine,
    of_a_send_half_way_lets_the_next_go,
    what_had_come_is_not_lost,
);

/// A routine that notes how it went.
fn note<T: 'static>(log: &Log<(T, Option<Situation>)>, what: T) -> impl FnOnce(Done) + use<T> {
    let log = log.clone();
    move |done| log.add((what, situation(&done.result)))
}

/// What was cancelled, which may end in any order (S127), sorted; and there is nothing else.
#[track_caller]
fn cancelled<T: Ord>(log: &Log<(T, Option<Situation>)>) -> Vec<T> {
    let all = log.take();
    assert!(all.iter().all(|one| one.1 == Some(Situation::Cancelled)));
    let mut names: Vec<T> = all.into_iter().map(|one| one.0).collect();
    names.sort_unstable();
    names
}

/// S85, S89, S91: the first, one in the middle, the last.
fn one_of_several_disturbs_no_other(driver: DriverKind) {
    on_a_thread(driver, || {
        for which in [0, 3, 5] {
            let (socket, mut client) = pair();
            let told: Log<(usize, Done)> = Log::default();
            let ids: Vec<OpId> = (0..6)
                .map(|n| {
                    let log = told.clone();
                    socket.recv(room(1), move |done| log.add((n, done))).expect("started")
                })
                .collect();
            assert!(socket.cancel(ids[which]), "S85");
            assert!(told.is_empty(), "S164: not by the call itself");
            run();
            let (n, done) = told.take().remove(0);
            assert_eq!((n, situation(&done.result)), (which, Some(Situation::Cancelled)));
            assert_eq!(done.buffer.capacity(), 1, "the buffer comes back");
            client.write_all(b"abcde").expect("written");
            run_until("the others", || told.len() == 5);
            let told = told.take();
            assert!(told.iter().map(|one| one.0).eq((0..6).filter(|n| *n != which)));
            assert!(told.iter().flat_map(|one| one.1.buffer.to_vec()).eq(*b"abcde"), "S91");
            nothing_runs();
        }
    });
}

/// S88: nor does a first one of what is over, has run or not; nor one on a socket without any.
fn a_second_time_finds_nothing(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        assert_eq!((socket.cancel_own(), socket.cancel_all()), (0, 0));
        let told = Log::default();
        let id = socket.recv(room(1), note(&told, ())).expect("started");
        assert!(socket.cancel(id));
        assert!(!socket.cancel(id), "S88");
        assert_eq!((socket.cancel_own(), socket.cancel_all()), (0, 0), "S88");
        run();
        assert!(!socket.cancel(id));
        assert_eq!(told.take(), [((), Some(Situation::Cancelled))]);
        let id = socket.recv(room(1), note(&told, ())).expect("started");
        client.write_all(b"x").expect("written");
        run();
        assert!(!socket.cancel(id));
        assert_eq!(told.take(), [((), None)]);
        nothing_runs();
    });
}

/// S87: `CancelIo`. Another thread's go on.
fn of_ones_own_leaves_those_of_others(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let told = Log::default();
        let other = Log::default();
        let (begin, begun) = mpsc::channel();
        thread::scope(|s| {
            let (go, may) = mpsc::channel::<()>();
            let (theirs, log) = (socket.clone(), other.clone());
            s.spawn(move || {
                drive_by(driver);
                theirs.recv(room(1), note(&log, "another thread's")).expect("started");
                begin.send(()).expect("somebody listens");
                may.recv().expect("told");
                run_until("it comes", || log.len() == 1);
            });
            begun.recv().expect("told");
            assert_eq!(socket.cancel_own(), 0, "nothing of this thread");
            socket.recv(room(1), note(&told, 1)).expect("started");
            socket.recv_lent(note(&told, 2)).expect("started");
            assert_eq!(socket.cancel_own(), 2, "S87");
            run_until("both", || told.len() == 2);
            assert_eq!(cancelled(&told), [1, 2]);
            assert!(other.is_empty());
            client.write_all(b"x").expect("written");
            go.send(()).expect("it listens");
        });
        assert_eq!(other.take(), [("another thread's", None)]);
    });
}

/// S85, S127: an id names one operation, so it is not this thread's that began as the same one in the row.
fn by_the_id_of_anothers_finds_nothing(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let (told, theirs) = (Log::default(), Log::default());
        socket.recv(room(1), note(&told, ())).expect("started");
        let id = on_a_thread(driver, || {
            let id = socket.recv(room(1), note(&theirs, ())).expect("started");
            assert!(socket.cancel(id), "S85");
            run();
            id
        });
        assert_eq!(theirs.take(), [((), Some(Situation::Cancelled))]);
        assert!(!socket.cancel(id), "it is over, and was never this thread's");
        client.write_all(b"x").expect("written");
        run();
        assert_eq!(told.take(), [((), None)]);
    });
}

/// S86: `CancelIoEx(socket, NULL)`, from a thread that has started nothing and has no driver.
fn of_all_reaches_every_thread(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, _client) = pair();
        let told = Log::default();
        for n in 0..3 {
            socket.recv(room(1), note(&told, n)).expect("started");
        }
        on_a_thread(driver, || {
            let also = Log::default();
            socket.recv_lent(note(&also, 3)).expect("started");
            assert_eq!(elsewhere(|| socket.cancel_all()), 4, "S86");
            run();
            assert_eq!(also.take(), [(3, Some(Situation::Cancelled))]);
        });
        assert!(told.is_empty(), "S164");
        run_until("all", || told.len() == 3);
        assert_eq!(cancelled(&told), [0, 1, 2]);
        nothing_runs();
    });
}

/// Others of its own socket, and all of another's: those run in the same wait (S170).
fn by_a_routine(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let (other, _other) = pair();
        let told = Log::default();
        let (log, also) = (told.clone(), other.clone());
        socket
            .recv(room(1), move |done| {
                log.add(("first", None));
                assert_eq!(done.socket.cancel_own(), 2);
                assert_eq!(also.cancel_all(), 1);
                assert_eq!(log.len(), 1, "S164: not inside the routine");
            })
            .expect("started");
        socket.recv(room(1), note(&told, "second")).expect("started");
        socket.recv_lent(note(&told, "third")).expect("started");
        other.recv(room(1), note(&told, "another's")).expect("started");
        client.write_all(b"x").expect("written");
        run_until("all", || told.len() == 4);
        assert_eq!(told.with(|told| told.remove(0)), ("first", None));
        assert_eq!(cancelled(&told), ["another's", "second", "third"]);
    });
}

/// A beginning of it is out; the next is whole behind that.
fn of_a_send_half_way_lets_the_next_go(driver: DriverKind) {
    const MUCH: usize = 32 << 20;
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let told = Log::default();
        let begin = |socket: &OverlappedSocket, bytes: Buffer, what| {
            socket.send(bytes, note(&told, what)).expect("started")
        };
        let id = begin(&socket, pattern(0, MUCH).into(), "cut");
        begin(&socket, vec![0xEE; 1000].into(), "whole");
        assert!(socket.cancel(id));
        let mut read = Vec::new();
        thread::scope(|s| {
            s.spawn(|| client.read_to_end(&mut read).expect("an orderly end"));
            run_until("both", || told.len() == 2);
            socket.close();
        });
        assert_eq!(told.take(), [("cut", Some(Situation::Cancelled)), ("whole", None)]);
        let cut = read.len() - 1000;
        assert!(cut < MUCH);
        assert_same(&read[..cut], &pattern(0, cut), "the beginning");
        assert!(read[cut..].iter().all(|byte| *byte == 0xEE));
    });
}

/// S89: a receive whose data had come has it, or leaves it to the next.
fn what_had_come_is_not_lost(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let told: Log<Done> = Log::default();
        let mut got = Vec::new();
        for time in 0..100 {
            let id = socket.recv(room(3), told.keep()).expect("started");
            client.write_all(&pattern(time * 3, 3)).expect("written");
            socket.cancel(id);
            run();
            let done = told.take().remove(0);
            match situation(&done.result) {
                None => got.extend_from_slice(&done.buffer),
                Some(situation) => {
                    assert_eq!((situation, done.buffer.len()), (Situation::Cancelled, 0));
                }
            }
        }
        let mut rest = vec![0; 300 - got.len()];
        (&socket).read_exact(&mut rest).expect("the rest is there");
        got.append(&mut rest);
        assert_same(&got, &pattern(0, 300), "what was received");
    });
}
