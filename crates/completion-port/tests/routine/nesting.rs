//! An alertable wait inside a routine runs further routines (S173), but none of the socket whose routine it is in.

use std::{
    io::Write,
    net::TcpListener,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use completion_port::{
    DriverKind, GetError,
    routine::{OverlappedSocket, Woken, current, queue_user_apc, sleep_ex},
};

use crate::{
    kit::{Log, nothing_runs, on_a_thread, pair, pair_with, room, run, run_until},
    util::{PATIENCE, dial, for_good, open},
};

crate::on_each_driver!(
    runs_what_belongs_to_others,
    goes_as_deep_as_the_waits,
    runs_nothing_of_the_same_socket,
    runs_nothing_of_any_socket_further_out,
    in_an_apc_runs_all,
    in_a_blocking_call_too,
    at_a_port_too,
    waits_out_its_time_when_nothing_may_run,
    a_panic_inside_leaves_all_of_them,
);

fn runs_what_belongs_to_others(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let (outer, _client) = pair_with(b"x");
        let (other, _client) = pair_with(b"y");
        let log = ran.clone();
        outer
            .recv(room(1), move |_| {
                log.add("outer begins");
                queue_user_apc(&current().expect("a thread"), log.apc("an APC")).expect("queued");
                other.recv(room(1), log.routine("another socket")).expect("started");
                let before = log.len();
                run_until("both run here", || log.len() == before + 2);
                nothing_runs();
                log.add("outer ends");
            })
            .expect("started");
        run();
        let mut ran = ran.take();
        ran[1..3].sort_unstable();
        assert_eq!(ran, ["outer begins", "an APC", "another socket", "outer ends"]);
    });
}

/// Each routine waits for the next one's.
fn goes_as_deep_as_the_waits(driver: DriverKind) {
    const DEPTH: usize = 30;
    fn descend(sockets: &mut Vec<OverlappedSocket>, ran: &Log<isize>) {
        let Some(socket) = sockets.pop() else { return };
        let (mut rest, log) = (std::mem::take(sockets), ran.clone());
        let level = rest.len() as isize + 1;
        socket
            .recv(room(1), move |_| {
                log.add(level);
                descend(&mut rest, &log);
                log.add(-level);
            })
            .expect("started");
        run();
    }
    on_a_thread(driver, || {
        let ran = Log::default();
        let (mut sockets, _clients): (Vec<_>, Vec<_>) = (0..DEPTH).map(|_| pair_with(b"x")).unzip();
        descend(&mut sockets, &ran);
        let depth = DEPTH as isize;
        assert!(
            ran.take().into_iter().eq((1..=depth).rev().chain((1..=depth).map(|level| -level)))
        );
    });
}

/// Not the next receives, not a send: they run behind it, in the wait that it is in.
fn runs_nothing_of_the_same_socket(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let (socket, _client) = pair_with(b"123");
        let log = ran.clone();
        socket
            .recv(room(1), move |done| {
                log.add("first begins");
                let other = done.socket.clone();
                other.send(vec![1].into(), log.routine("a send from inside")).expect("started");
                for time in [0, 20] {
                    let woken = sleep_ex(Duration::from_millis(time), true).expect("it works");
                    assert_eq!(woken, Woken::TimedOut);
                }
                log.add("first ends");
            })
            .expect("started");
        socket.recv(room(1), ran.routine("second")).expect("started");
        socket.recv_lent(ran.routine("third")).expect("started");
        socket.send(vec![2].into(), ran.routine("a send")).expect("started");
        run_until("all have run", || ran.len() == 6);
        let ran = ran.take();
        let at = |what| ran.iter().position(|one| *one == what).expect("it ran");
        assert_eq!(at("first ends"), at("first begins") + 1, "{ran:?}");
        assert!(at("second") < at("third"), "{ran:?}");
    });
}

/// S173 at every depth: within B's routine within A's, neither A's nor B's, but C's.
fn runs_nothing_of_any_socket_further_out(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let [(a, _a), (b, _b), (c, _c)] = [(); 3].map(|()| pair_with(b"12"));
        let (log, inner_b, inner_c) = (ran.clone(), b.clone(), c.clone());
        a.recv(room(1), move |_| {
            log.add("A begins");
            let (deep, again) = (log.clone(), inner_b.clone());
            inner_b
                .recv(room(1), move |_| {
                    deep.add("B begins");
                    again.recv(room(1), deep.routine("B's second")).expect("started");
                    inner_c.recv(room(1), deep.routine("C")).expect("started");
                    run();
                    nothing_runs();
                    deep.add("B ends");
                })
                .expect("started");
            let before = log.len();
            run_until("B and its second run here", || log.len() == before + 4);
            nothing_runs();
            log.add("A ends");
        })
        .expect("started");
        a.recv(room(1), ran.routine("A's second")).expect("started");
        run_until("all have run", || ran.len() == 7);
        let expected =
            ["A begins", "B begins", "C", "B ends", "B's second", "A ends", "A's second"];
        assert_eq!(ran.take(), expected);
        nothing_runs();
    });
}

/// A call has no socket: everything may run in it, another call as well.
fn in_an_apc_runs_all(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let own = current().expect("a thread");
        let (socket, _client) = pair_with(b"12");
        socket.recv(room(1), ran.routine("one")).expect("started");
        socket.recv(room(1), ran.routine("two")).expect("started");
        run_until("both", || ran.len() == 2);
        ran.take();
        let (log, name) = (ran.clone(), own.clone());
        queue_user_apc(&own, move || {
            log.add("outer begins");
            let (log, deep) = (log.clone(), log);
            queue_user_apc(&name, move || {
                deep.add("inner begins");
                socket.send(vec![1].into(), deep.routine("a send")).expect("started");
                socket.send(vec![1].into(), deep.routine("a second")).expect("started");
                let before = deep.len();
                run_until("both sends", || deep.len() == before + 2);
                deep.add("inner ends");
            })
            .expect("queued");
            run();
            log.add("outer ends");
        })
        .expect("queued");
        run();
        let expected =
            ["outer begins", "inner begins", "a send", "a second", "inner ends", "outer ends"];
        assert_eq!(ran.take(), expected);
    });
}

/// S175 within S173: a blocking accept inside a routine runs others', and then goes on waiting.
fn in_a_blocking_call_too(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let dialled = listener.try_clone().expect("a duplicate");
        let listener = OverlappedSocket::from(listener);
        let (outer, _client) = pair_with(b"12");
        let (other, _other) = pair_with(b"y");
        let log = ran.clone();
        outer
            .recv(room(1), move |_| {
                let inner = log.clone();
                let dial = move |_| {
                    inner.add("another socket");
                    // Nobody is there before this has run.
                    for_good(dial(&dialled));
                };
                other.recv(room(1), dial).expect("started");
                listener.accept().expect("somebody comes");
                log.add("accepted");
            })
            .expect("started");
        outer.recv(room(1), ran.routine("the same socket")).expect("started");
        run_until("all have run", || ran.len() == 3);
        assert_eq!(ran.take(), ["another socket", "accepted", "the same socket"]);
    });
}

fn at_a_port_too(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let port = Arc::new(open::<(), u32>(driver));
        let (outer, _client) = pair_with(b"12");
        let (other, _other) = pair_with(b"y");
        let (log, inside) = (ran.clone(), port.clone());
        outer
            .recv(room(1), move |_| {
                other.recv(room(1), log.routine("another socket")).expect("started");
                let waited = inside.get_alertable(Some(PATIENCE));
                assert!(matches!(waited, Err(GetError::Alerted)), "{waited:?}");
                let waited = inside.get_alertable(Some(Duration::from_millis(20)));
                assert!(matches!(waited, Err(GetError::TimedOut)), "{waited:?}");
                inside.key(()).post(0, 7).expect("open");
                let packet = inside.get_alertable(Some(PATIENCE)).expect("a packet");
                assert_eq!(packet.context, 7);
                log.add("outer ends");
            })
            .expect("started");
        outer.recv(room(1), ran.routine("the same socket")).expect("started");
        let waited = port.get_alertable(Some(PATIENCE));
        assert!(matches!(waited, Err(GetError::Alerted)), "{waited:?}");
        run_until("all have run", || ran.len() == 3);
        assert_eq!(ran.take(), ["another socket", "outer ends", "the same socket"]);
    });
}

/// What may not run here is no reason to return, and none to spin.
fn waits_out_its_time_when_nothing_may_run(driver: DriverKind) {
    on_a_thread(driver, || {
        let spent = Arc::new(AtomicUsize::new(0));
        let (socket, mut client) = pair_with(b"1");
        let seen = spent.clone();
        let ran = Log::default();
        let log = ran.clone();
        socket
            .recv(room(1), move |done| {
                done.socket.recv(room(1), log.routine(())).expect("started");
                client.write_all(b"2").expect("written");
                nothing_runs();
                let before = crate::util::proc::own_thread().cpu;
                let woken = sleep_ex(Duration::from_millis(500), true).expect("it works");
                assert_eq!(woken, Woken::TimedOut);
                let cpu = crate::util::proc::own_thread().cpu - before;
                seen.store(cpu.as_millis() as usize + 1, Ordering::Relaxed);
            })
            .expect("started");
        run_until("both", || ran.len() == 1);
        let spent = spent.load(Ordering::Relaxed);
        assert!((1..250).contains(&spent), "{spent} ms of CPU in a sleep of 500");
    });
}

/// The outer wait ends with it; nothing is lost, and no socket is taken for one whose routine still runs.
fn a_panic_inside_leaves_all_of_them(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let (outer, _client) = pair_with(b"123");
        let (other, _other) = pair_with(b"45");
        let (log, inner) = (ran.clone(), other.clone());
        outer
            .recv(room(1), move |_| {
                inner.recv(room(1), |_| panic!("as planned")).expect("started");
                inner.recv(room(1), log.routine("behind, of the inner")).expect("started");
                run();
                log.add("never");
            })
            .expect("started");
        outer.recv(room(1), ran.routine("behind, of the outer")).expect("started");
        let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it comes out");
        assert_eq!(panic.downcast_ref(), Some(&"as planned"));
        assert!(ran.is_empty());
        run_until("both run now", || ran.len() == 2);
        let mut names = ran.take();
        names.sort_unstable();
        assert_eq!(names, ["behind, of the inner", "behind, of the outer"]);
        let (socket, _client) = pair();
        for socket in [&outer, &other, &socket] {
            socket.send(vec![1].into(), ran.routine("as ever")).expect("started");
        }
        run_until("all sockets are free", || ran.len() == 3);
    });
}
