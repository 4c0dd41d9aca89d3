//! Sockets that are closed: by their thread, by another, by a routine, by the last clone (S93, S95).

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::mpsc,
    thread,
};

use completion_port::{
    DriverKind,
    error::Situation,
    routine::{Done, OverlappedSocket},
};

use crate::{
    kit::{
        Log, drive_by, elsewhere, nothing_runs, on_a_thread, pair, pair_with, room, run, run_until,
    },
    util::{child::alone, connection, proc::open_descriptors, reset, situation},
};

crate::on_each_driver!(
    tells_all_that_is_pending,
    by_another_thread_reaches_every_thread,
    by_another_thread,
    by_its_own_routine,
    by_a_routine_that_drops_the_last_clone,
    waits_for_what_is_pending_when_all_clones_are_dropped,
    gives_the_descriptor_back,
);

fn ended(client: &mut TcpStream) {
    assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
}

/// Receives and sends that are under way, and those behind them, are counted down.
fn start_all(socket: &OverlappedSocket, told: &Log<Option<Situation>>) -> usize {
    let note = || {
        let log = told.clone();
        move |done: Done| log.add(situation(&done.result))
    };
    for _ in 0..3 {
        socket.recv(room(8), note()).expect("started");
        socket.recv_lent(note()).expect("started");
        socket.send(vec![7; 32 << 20].into(), note()).expect("started");
    }
    9
}

/// S93, S95: in the next alertable wait, and not before.
fn tells_all_that_is_pending(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, client) = pair();
        let told = Log::default();
        let count = start_all(&socket, &told);
        socket.close();
        assert!(told.is_empty(), "S164");
        run_until("all are told", || told.len() == count);
        assert_eq!(told.take(), vec![Some(Situation::LocalClose); count]);
        socket.close();
        nothing_runs();
        // S101
        let (socket, mut quiet) = pair();
        socket.close();
        nothing_runs();
        ended(&mut quiet);
        reset(client);
    });
}

/// So many threads with a receive each; another closes the socket. What each is told, on its own thread.
fn closed_by_another(driver: DriverKind, threads: usize) -> Vec<Option<Situation>> {
    let (socket, mut client) = pair();
    let told = Log::default();
    let (begin, begun) = mpsc::channel();
    thread::scope(|s| {
        for _ in 0..threads {
            let (socket, log, begin) = (&socket, told.clone(), begin.clone());
            s.spawn(move || {
                drive_by(driver);
                let (own, here) = (Log::default(), thread::current().id());
                let note = own.clone();
                let routine = move |done: Done| {
                    assert_eq!(thread::current().id(), here, "S164");
                    note.add(situation(&done.result));
                };
                socket.recv(room(1), routine).expect("started");
                begin.send(()).expect("somebody listens");
                run_until("it is told", || own.len() == 1);
                log.add(own.take().remove(0));
            });
        }
        (0..threads).for_each(|_| begun.recv().expect("told"));
        elsewhere(|| socket.close());
    });
    ended(&mut client);
    told.take()
}

/// S93, S95: the thread is woken for it.
fn by_another_thread(driver: DriverKind) {
    for _ in 0..20 {
        assert_eq!(closed_by_another(driver, 1), [Some(Situation::LocalClose)]);
    }
}

/// S93: whichever thread started it.
fn by_another_thread_reaches_every_thread(driver: DriverKind) {
    for _ in 0..20 {
        assert_eq!(closed_by_another(driver, 3), [Some(Situation::LocalClose); 3]);
    }
}

/// The others are told behind it, in the same wait; what it starts afterwards is refused.
fn by_its_own_routine(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, client) = pair_with(b"x");
        let told = Log::default();
        let log = told.clone();
        socket
            .recv(room(1), move |done| {
                let count = start_all(&done.socket, &log);
                done.socket.close();
                assert!(log.is_empty(), "S164: not inside the routine");
                let refused = done.socket.recv(done.buffer, |_| unreachable!("it is closed"));
                let refused = refused.expect_err("it is closed");
                assert_eq!(
                    (refused.error.kind(), &refused.buffer[..]),
                    (ErrorKind::NotConnected, &b"x"[..])
                );
                assert_eq!(count, 9);
            })
            .expect("started");
        run_until("all are told", || told.len() == 9);
        assert_eq!(told.take(), [Some(Situation::LocalClose); 9]);
        nothing_runs();
        reset(client);
    });
}

/// It is the only one left, as in a server whose routines are all that knows the connection: the peer sees the end.
fn by_a_routine_that_drops_the_last_clone(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let ran = Log::default();
        let log = ran.clone();
        socket
            .recv(room(1), move |done| {
                log.add(*done.result.as_ref().expect("received"));
                drop(done);
                log.add(100);
            })
            .expect("started");
        drop(socket);
        nothing_runs();
        client.write_all(b"x").expect("written");
        run();
        assert_eq!(ran.take(), [1, 100]);
        ended(&mut client);
        nothing_runs();
    });
}

/// A socket lives as long as anything is pending on it, though nobody has it; then it is gone.
fn waits_for_what_is_pending_when_all_clones_are_dropped(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let ran = Log::default();
        let log = ran.clone();
        // The routine's own clone is dropped with the other operation pending, which ends it then.
        socket.recv(room(1), move |done| drop((done, log))).expect("started");
        socket.recv(room(1), ran.routine("second")).expect("started");
        socket.send(b"hello".to_vec().into(), ran.routine("sent")).expect("started");
        drop(socket);
        run_until("sent", || ran.len() == 1);
        client.read_exact(&mut [0; 5]).expect("sent");
        client.write_all(b"1").expect("written");
        run();
        client.write_all(b"2").expect("it is open");
        run_until("the second", || ran.len() == 2);
        assert_eq!(ran.take(), ["sent", "second"]);
        ended(&mut client);
    });
}

/// With the last clone, and not with a thread's handle. In a process of its own.
fn gives_the_descriptor_back(driver: DriverKind) {
    alone(|| {
        drop(connection());
        on_a_thread(driver, || {
            let before = open_descriptors();
            for way in 0..40 {
                let (socket, mut client) = pair();
                let ran = Log::default();
                socket.recv(room(1), ran.routine(())).expect("started");
                let clone = socket.clone();
                match way % 4 {
                    0 => socket.close(),
                    1 => reset(client),
                    2 => _ = socket.cancel_all(),
                    _ => client.write_all(b"x").expect("written"),
                }
                run_until("it is over", || ran.len() == 1);
                if way % 8 > 3 {
                    let sent = elsewhere(|| socket.send(vec![1].into(), |_| ()).map(drop));
                    assert_eq!(sent.is_ok(), way % 4 != 0, "a closed one refuses");
                }
                drop((socket, clone));
                nothing_runs();
            }
            assert_eq!(open_descriptors(), before);
        });
    });
}
