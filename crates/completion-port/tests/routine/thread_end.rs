//! A thread that ends: what it started is cancelled, and its routines and calls are dropped without having run (S105, S109).

use std::{
    cell::RefCell,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use completion_port::{
    Buffer, CompletionPort, DriverKind, GetError,
    routine::{Done, OverlappedSocket, current, driver, queue_user_apc, sleep_ex, use_driver},
};

use crate::{
    kit::{Log, drive_by, elsewhere, on_a_thread, pair, pair_with, room, run, run_until},
    util::{
        PATIENCE, assert_same,
        child::alone,
        connection, pattern,
        proc::{open_descriptors, resident},
        reset, scaled,
    },
};

crate::on_each_driver!(
    drops_its_routines_on_itself,
    leaves_its_sockets_to_others,
    with_a_thousand_operations_pending,
    by_a_panic,
    by_a_panic_in_a_routine,
    closes_what_nobody_else_has,
    stops_a_send_half_way,
    gives_memory_back,
    a_closure_that_is_dropped_may_start_more,
    a_closure_that_panics_when_it_is_dropped_does_no_harm,
    one_after_another_on_one_socket,
    while_others_act_on_its_sockets,
    with_destructors_of_its_own,
);

/// Says on which thread it was dropped. Goes into a routine.
struct Marked(Log<ThreadId>);

impl Drop for Marked {
    fn drop(&mut self) {
        self.0.add(thread::current().id());
    }
}

/// A routine that must not run, and is counted when it is dropped.
fn unrun(dropped: &Log<ThreadId>) -> impl FnOnce(Done) + use<> {
    let marked = Marked(dropped.clone());
    move |_| panic!("it ran, with {} others gone", marked.0.len())
}

/// One operation of each kind, pending, and some that are over but have not run. The number of routines.
fn start_all(sockets: &[(OverlappedSocket, TcpStream)], dropped: &Log<ThreadId>) -> usize {
    let [(a, to_a), (b, _), (c, _), ..] = sockets else { panic!("three sockets") };
    a.recv(room(2), unrun(dropped)).expect("started");
    a.send(vec![1; 3].into(), unrun(dropped)).expect("started");
    (&mut &*to_a).write_all(b"ab").expect("written");
    b.recv(room(9), unrun(dropped)).expect("started");
    b.recv_lent(unrun(dropped)).expect("started");
    b.recv(room(9), unrun(dropped)).expect("started");
    b.send(vec![0; 32 << 20].into(), unrun(dropped)).expect("started");
    b.send_vectored(vec![vec![0; 9].into()], unrun(dropped)).expect("started");
    c.end(PATIENCE, unrun(dropped)).expect("started");
    8
}

/// S105: none has run, each was dropped once, by the thread that made it: a routine need not be `Send`.
fn drops_its_routines_on_itself(driver: DriverKind) {
    let sockets: Vec<_> = (0..3).map(|_| pair()).collect();
    let (dropped, token) = (Log::default(), Arc::new(()));
    let (id, count) = on_a_thread(driver, || {
        let count = start_all(&sockets, &dropped);
        for _ in 0..5 {
            let counted = token.clone();
            queue_user_apc(&current().expect("a thread"), move || panic!("it ran: {counted:?}"))
                .expect("queued");
        }
        assert!(dropped.is_empty());
        (thread::current().id(), count)
    });
    assert_eq!(dropped.take(), vec![id; count]);
    assert_eq!(Arc::strong_count(&token), 1, "S109");
}

/// The socket is as it was: all that was not received before is received by another thread, and what that one sends arrives.
fn leaves_its_sockets_to_others(driver: DriverKind) {
    const MUCH: usize = 1 << 20;
    let (socket, mut client) = pair();
    let dropped = Log::default();
    on_a_thread(driver, || {
        socket.recv(room(100), unrun(&dropped)).expect("started");
        socket.recv_lent(unrun(&dropped)).expect("started");
    });
    assert_eq!(dropped.len(), 2);
    let bytes = pattern(0, MUCH);
    thread::scope(|s| {
        s.spawn(|| {
            client.write_all(&bytes).expect("written");
            let mut read = vec![0; MUCH];
            client.read_exact(&mut read).expect("all of it");
            assert_same(&read, &bytes, "what comes back");
        });
        on_a_thread(driver, || {
            let got: Log<Done> = Log::default();
            let mut received = Vec::new();
            while received.len() < MUCH {
                socket.recv(room(70_000), got.keep()).expect("started");
                run();
                let done = got.take().remove(0);
                done.result.expect("no error of the thread that ended");
                received.extend_from_slice(&done.buffer);
            }
            assert_same(&received, &bytes, "what is received");
            socket.send(received.into(), got.keep()).expect("started");
            run_until("sent", || got.len() == 1);
        });
    });
}

/// S105: on as many connections, and nothing is left: no descriptor, no closure.
fn with_a_thousand_operations_pending(driver: DriverKind) {
    alone(|| {
        let count = scaled("connections of a thread that ends", 1_000, 2);
        let connections: Vec<_> = (0..count).map(|_| connection()).collect();
        let (sockets, mut clients): (Vec<OverlappedSocket>, Vec<_>) =
            connections.into_iter().map(|(server, client)| (server.into(), client)).unzip();
        // What a process opens once.
        on_a_thread(driver, || ());
        let before = open_descriptors();
        let dropped = Log::default();
        let id = on_a_thread(driver, || {
            for socket in &sockets {
                socket.recv(room(1000), unrun(&dropped)).expect("started");
            }
            thread::current().id()
        });
        assert_eq!(dropped.take(), vec![id; count]);
        assert_eq!(
            open_descriptors(),
            before,
            "what the thread had is closed, the sockets are not"
        );
        // Each of them works, on another thread.
        on_a_thread(driver, || {
            let got = Log::default();
            for socket in &sockets {
                socket.recv(room(1000), got.keep()).expect("started");
            }
            for (n, client) in clients.iter_mut().enumerate() {
                client.write_all(&pattern(n, 10)).expect("written");
            }
            run_until("all have come", || got.len() == count);
            let mut all: Vec<_> = got.take().iter().map(|done| done.buffer.to_vec()).collect();
            let mut expected: Vec<_> = (0..count).map(|n| pattern(n, 10)).collect();
            all.sort_unstable();
            expected.sort_unstable();
            assert!(all == expected, "every byte is there once");
        });
        drop(sockets);
        clients.into_iter().for_each(reset);
        // What a thread had besides, the system may have taken back meanwhile.
        // Wine counts none.
        assert!(
            before == 0 || open_descriptors() + 2 * count <= before,
            "of {before}: {}",
            open_descriptors()
        );
    });
}

fn by_a_panic(driver: DriverKind) {
    let sockets: Vec<_> = (0..3).map(|_| pair()).collect();
    let (dropped, ended) = (Log::default(), Log::default());
    let (log, name) = (dropped.clone(), ended.clone());
    let mut count = 0;
    thread::scope(|s| {
        let thread = s.spawn(|| {
            drive_by(driver);
            count = start_all(&sockets, &log);
            name.add(current().expect("a thread"));
            panic!("as planned");
        });
        thread.join().expect_err("it panics");
    });
    assert_eq!(dropped.len(), count);
    let name = ended.take().remove(0);
    let refused = queue_user_apc(&name, || ()).expect_err("it has ended");
    assert_eq!(refused.error.kind(), ErrorKind::NotFound, "S109");
}

/// The one that panics has run, what is behind it has not.
fn by_a_panic_in_a_routine(driver: DriverKind) {
    let (socket, _client) = pair_with(b"12");
    let dropped = Log::default();
    let (log, other) = (dropped.clone(), socket.clone());
    thread::scope(|s| {
        let thread = s.spawn(move || {
            drive_by(driver);
            socket.recv(room(1), |_| panic!("as planned")).expect("started");
            socket.recv(room(1), unrun(&log)).expect("started");
            socket.recv(room(1), unrun(&log)).expect("started");
            run();
        });
        let panic = thread.join().expect_err("it comes out of the wait, and of the thread");
        assert_eq!(panic.downcast_ref(), Some(&"as planned"));
    });
    assert_eq!(dropped.len(), 2);
    on_a_thread(driver, || {
        let ran = Log::default();
        other.send(vec![1].into(), ran.routine(())).expect("started");
        run_until("the socket is free", || ran.len() == 1);
    });
}

/// The routine was the only one to hold it, or its operation was.
fn closes_what_nobody_else_has(driver: DriverKind) {
    let (in_routine, mut first) = pair();
    let (pending, mut second) = pair();
    on_a_thread(driver, move || {
        let own = in_routine.clone();
        in_routine.recv(room(1), move |_| drop(own)).expect("started");
        drop(in_routine);
        pending.recv(room(1), |_| ()).expect("started");
        drop(pending);
    });
    for client in [&mut first, &mut second] {
        assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
    }
}

/// S105: what has left is a beginning of it, and nothing leaves afterwards.
fn stops_a_send_half_way(driver: DriverKind) {
    const MUCH: usize = 64 << 20;
    let (socket, mut client) = pair();
    let bytes: Arc<[u8]> = pattern(0, MUCH).into();
    on_a_thread(driver, || {
        socket.send(bytes.clone().into(), |_| unreachable!("there is no room")).expect("started");
    });
    assert_eq!(Arc::strong_count(&bytes), 1, "the buffer is free");
    drop(socket);
    let mut read = Vec::new();
    client.read_to_end(&mut read).expect("an orderly end");
    assert!(!read.is_empty() && read.len() < MUCH, "{} bytes", read.len());
    assert_same(&read, &bytes[..read.len()], "what has left");
}

/// S105: buffers, closures and what else a thread has, of those that wait and those that are over.
fn gives_memory_back(driver: DriverKind) {
    const PIECE: usize = 300_000;
    fn live(driver: DriverKind) {
        let (socket, mut client) = pair();
        on_a_thread(driver, || {
            for n in 0..4_u8 {
                let mut touched = Buffer::from(vec![n; PIECE]);
                touched.clear();
                let also = vec![n; PIECE];
                socket.recv(touched, move |_| drop(also)).expect("started");
                let also = vec![n; PIECE];
                socket.send(vec![n; PIECE].into(), move |_| drop(also)).expect("started");
                let also = vec![n; PIECE];
                let own = current().expect("a thread");
                queue_user_apc(&own, move || drop(also)).expect("queued");
            }
            socket.recv_lent(|_| ()).expect("started");
            client.write_all(&[1; 100]).expect("written");
        });
        socket.close();
        reset(client);
    }
    alone(|| {
        (0..15).for_each(|_| live(driver));
        let before = resident();
        (0..60).for_each(|_| live(driver));
        let grown = resident().saturating_sub(before);
        // One buffer or closure of each life would be 18 MB.
        assert!(grown < 4_000_000, "{grown} bytes more after 60 threads");
    });
}

/// Does something when it is dropped.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    fn new(act: F) -> Self {
        Self(Some(act))
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

/// At the end of the thread that is refused, all of it, and gives back what it was given; for others it still can do something.
fn a_closure_that_is_dropped_may_start_more(kind: DriverKind) {
    let (socket, mut client) = pair();
    let (seen, token) = (Log::default(), Arc::new(()));
    let (tell, told) = std::sync::mpsc::channel();
    thread::scope(|s| {
        s.spawn(|| {
            drive_by(kind);
            tell.send(current().expect("a thread")).expect("somebody listens");
            run_until("told by both", || {
                seen.with(|seen| seen.iter().filter(|what| **what == "another thread").count() == 2)
            });
        });
        let other = told.recv().expect("told");
        on_a_thread(kind, || {
            let own = current().expect("a thread");
            for _ in 0..2 {
                let (inner, log, counted) = (socket.clone(), seen.clone(), token.clone());
                let (own, other) = (own.clone(), other.clone());
                let act = OnDrop::new(move || {
                    let more = counted.clone();
                    let refused = inner
                        .recv(room(5), move |_| panic!("it ran: {more:?}"))
                        .expect_err("the thread is ending");
                    assert_eq!(
                        (refused.error.kind(), refused.buffer.capacity()),
                        (ErrorKind::NotConnected, 5)
                    );
                    inner.send(vec![1].into(), |_| ()).expect_err("the thread is ending");
                    inner.recv_lent(|_| ()).expect_err("the thread is ending");
                    sleep_ex(Duration::ZERO, true).expect_err("the thread is ending");
                    current().expect_err("the thread is ending");
                    driver().expect_err("the thread is ending");
                    use_driver(kind).expect_err("the thread is ending");
                    assert_eq!(inner.cancel_own(), 0);
                    let more = counted.clone();
                    let refused = queue_user_apc(&own, move || panic!("it ran: {more:?}"));
                    let refused = refused.expect_err("the thread is ending");
                    assert_eq!(refused.error.kind(), ErrorKind::NotFound);
                    // Not alertable, and at a port of others: that works.
                    let port = CompletionPort::builder().driver(kind).build::<(), ()>();
                    let port = port.expect("a port");
                    port.key(()).post(0, ()).expect("open");
                    port.get_alertable(Some(PATIENCE)).expect("a packet");
                    let none = port.get_alertable(Some(Duration::ZERO));
                    assert!(matches!(none, Err(GetError::TimedOut)), "{none:?}");
                    queue_user_apc(&other, log.apc("another thread")).expect("that one lives");
                    log.add("dropped");
                });
                // In a routine of an operation that is pending, and in a call.
                if Arc::strong_count(&token) == 2 {
                    socket.recv(room(1), move |_| drop(act)).expect("started");
                } else {
                    queue_user_apc(&current().expect("a thread"), move || drop(act))
                        .expect("queued");
                }
            }
        });
    });
    assert_eq!(seen.take().iter().filter(|what| **what == "dropped").count(), 2);
    assert_eq!(Arc::strong_count(&token), 1);
    client.write_all(b"x").expect("written");
    on_a_thread(kind, || {
        let got: Log<Done> = Log::default();
        socket.recv(room(1), got.keep()).expect("started");
        run();
        assert_eq!(&got.take().remove(0).buffer[..], b"x");
    });
}

/// It costs neither the process nor the closures behind it. In a process of its own, because the failure is an abort.
fn a_closure_that_panics_when_it_is_dropped_does_no_harm(driver: DriverKind) {
    alone(|| {
        let (socket, _client) = pair_with(b"there");
        let (dropped, token) = (Log::default(), Arc::new(()));
        on_a_thread(driver, || {
            let own = current().expect("a thread");
            for _ in 0..3 {
                let volatile = OnDrop::new(|| panic!("as planned"));
                socket.recv(room(1), move |_| drop(volatile)).expect("started");
                socket.recv(room(100), unrun(&dropped)).expect("started");
                let volatile = OnDrop::new(|| panic!("as planned"));
                queue_user_apc(&own, move || drop(volatile)).expect("queued");
                let counted = token.clone();
                queue_user_apc(&own, move || drop(counted)).expect("queued");
            }
        });
        assert_eq!((dropped.len(), Arc::strong_count(&token)), (3, 1));
        on_a_thread(driver, || {
            let ran = Log::default();
            socket.send(vec![1].into(), ran.routine(())).expect("started");
            run_until("the socket is free", || ran.len() == 1);
        });
    });
}

/// Each leaves a receive behind it, and the socket forgets them all.
fn one_after_another_on_one_socket(driver: DriverKind) {
    alone(|| {
        let (socket, mut client) = pair();
        on_a_thread(driver, || ());
        let before = open_descriptors();
        let dropped = Log::default();
        for n in 0..50 {
            on_a_thread(driver, || {
                socket.recv(room(1), unrun(&dropped)).expect("started");
                let sent = Log::default();
                socket.send(vec![n].into(), sent.routine(())).expect("started");
                run();
                assert_eq!(sent.len(), 1);
            });
        }
        assert_eq!((dropped.len(), open_descriptors()), (50, before));
        let mut read = [0; 50];
        client.read_exact(&mut read).expect("all of it");
        assert!(read.into_iter().eq(0..50));
        assert_eq!(socket.cancel_all(), 0, "nothing is left");
        drop(socket);
        assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
    });
}

/// At the moment when it ends, others cancel, close and shut down, and start operations of their own.
fn while_others_act_on_its_sockets(driver: DriverKind) {
    const ROUNDS: usize = 40;
    for round in 0..ROUNDS {
        let (socket, client) = pair();
        let (ended, ran) = (Arc::new(AtomicUsize::new(0)), Log::default());
        let together = Barrier::new(3);
        thread::scope(|s| {
            let ending = s.spawn(|| {
                drive_by(driver);
                for n in 0..10 {
                    let counted = OnDrop::new({
                        let ended = ended.clone();
                        move || _ = ended.fetch_add(1, Ordering::Relaxed)
                    });
                    if n % 2 == 0 {
                        socket.recv(room(10), move |_| drop(counted)).expect("started");
                    } else {
                        let bytes = vec![1; 1 << 20];
                        socket.send(bytes.into(), move |_| drop(counted)).expect("started");
                    }
                }
                together.wait();
            });
            s.spawn(|| {
                together.wait();
                match round % 4 {
                    0 => _ = socket.cancel_all(),
                    1 => socket.close(),
                    2 => _ = socket.shutdown(std::net::Shutdown::Both),
                    _ => reset(client),
                }
            });
            let other = s.spawn(|| {
                drive_by(driver);
                together.wait();
                if socket.recv_lent(ran.keep()).is_ok() {
                    socket.cancel_own();
                    run_until("it is over", || ran.len() == 1);
                }
            });
            other.join().expect("no panic");
            ending.join().expect("no panic");
        });
        assert_eq!(ended.load(Ordering::Relaxed), 10, "each is gone once");
    }
}

/// Thread-locals of the program's are dropped before the thread's driver, or after it: a start is accepted and cancelled, or refused.
fn with_destructors_of_its_own(driver: DriverKind) {
    type Act = OnDrop<Box<dyn FnOnce()>>;
    thread_local! {
        static BEFORE: RefCell<Option<Act>> = const { RefCell::new(None) };
        static AFTER: RefCell<Option<Act>> = const { RefCell::new(None) };
    }
    let (socket, _client) = pair();
    let (dropped, acted) = (Log::default(), Log::default());
    let act = |what| {
        let (socket, dropped, acted) = (socket.clone(), dropped.clone(), acted.clone());
        OnDrop::new(Box::new(move || {
            let _either = socket.recv(room(1), unrun(&dropped));
            let _either = sleep_ex(Duration::ZERO, true);
            acted.add(what);
        }) as Box<dyn FnOnce()>)
    };
    elsewhere(|| {
        AFTER.set(Some(act("one")));
        drive_by(driver);
        BEFORE.set(Some(act("two")));
        socket.recv(room(1), unrun(&dropped)).expect("started");
    });
    assert_eq!(acted.len(), 2);
    assert_eq!(dropped.len(), 3, "no routine is left, and none has run");
    on_a_thread(driver, || {
        let ran = Log::default();
        socket.send(vec![1].into(), ran.routine(())).expect("started");
        run_until("the socket is free", || ran.len() == 1);
    });
}
