//! `get` in its alertable form: which comes first, the packet or the routine (S30-S36), and what ends the wait, in the seat and behind
//! somebody who has it.

use std::{
    cell::Cell,
    io::{ErrorKind, Write},
    net::TcpStream,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use completion_port::{
    CompletionPort, DriverKind, GetError,
    routine::{Done, OverlappedSocket, Thread, Woken, current, queue_user_apc, sleep_ex},
};

use crate::{
    kit::{
        Log, StopOnDrop, drive_by, elsewhere, nothing_runs, on_a_thread, pair, pair_with, room, run,
    },
    util::{self, PATIENCE, for_good, open, until},
};

crate::on_each_driver!(
    runs_what_is_queued_instead_of_a_packet,
    takes_a_packet_first_once_it_belongs_to_the_port,
    runs_routines_first_in_its_first_wait_at_a_port,
    takes_many_at_once,
    waits_its_time,
    is_over_with_the_port,
    alone_is_ended_by_each,
    behind_another_is_ended_by_each,
    inherits_the_seat,
    never_misses_what_comes_on_its_way_to_sleep,
    a_panic_comes_out_and_no_packet_is_lost,
    keeps_the_deadlines_of_the_thread,
    hands_over_what_the_thread_has_started,
    of_many_threads_loses_nothing,
);

/// A port without sockets' keys: the contexts are all that matters.
type Port = CompletionPort<(), u32>;

#[track_caller]
fn alerted(port: &Port, timeout: Option<Duration>) {
    let waited = port.get_alertable(timeout);
    assert!(matches!(waited, Err(GetError::Alerted)), "{waited:?}");
}

#[track_caller]
fn packet(port: &Port, context: u32) {
    let taken = port.get_alertable(Some(PATIENCE)).expect("a packet");
    assert_eq!(taken.context, context);
}

#[track_caller]
fn timed_out(port: &Port) {
    let waited = port.get_alertable(Some(Duration::ZERO));
    assert!(matches!(waited, Err(GetError::TimedOut)), "{waited:?}");
}

/// The calling thread's last wait was at this port.
fn join(port: &Port) {
    let none = port.get_timeout(Duration::ZERO);
    assert!(matches!(none, Err(GetError::TimedOut)), "{none:?}");
}

/// S33: the queue is empty, an APC or I/O that is over is there; whatever the timeout, joined or not.
fn runs_what_is_queued_instead_of_a_packet(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let own = current().expect("a thread");
        let port: Port = open(driver);
        for joined in [false, true] {
            for timeout in [Some(Duration::ZERO), Some(PATIENCE), None] {
                if joined {
                    join(&port);
                }
                queue_user_apc(&own, ran.apc("an APC")).expect("queued");
                alerted(&port, timeout);
                let (socket, _client) = pair_with(b"there");
                socket.recv(room(5), ran.routine("I/O")).expect("started");
                alerted(&port, timeout);
                assert_eq!(ran.take(), ["an APC", "I/O"]);
                timed_out(&port);
            }
        }
        // S26, S32
        queue_user_apc(&own, ran.apc("later")).expect("queued");
        join(&port);
        let none = port.get_many(&mut Vec::new(), 5, Some(Duration::from_millis(5)));
        assert!(matches!(none, Err(GetError::TimedOut)), "{none:?}");
        assert!(ran.is_empty());
        nothing_but_one(&ran);
    });
}

fn nothing_but_one(ran: &Log<&'static str>) {
    run();
    assert_eq!(ran.len(), 1);
    nothing_runs();
}

/// S34: the routine stays queued, as long as there are packets.
fn takes_a_packet_first_once_it_belongs_to_the_port(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let own = current().expect("a thread");
        let port: Port = open(driver);
        let key = port.key(());
        join(&port);
        for timeout in [Some(Duration::ZERO), Some(PATIENCE), None] {
            key.post(0, 1).expect("open");
            key.post(0, 2).expect("open");
            queue_user_apc(&own, ran.apc("an APC")).expect("queued");
            for expected in [1, 2] {
                let taken = port.get_alertable(timeout).expect("S34");
                assert_eq!((taken.context, ran.len()), (expected, 0));
            }
            alerted(&port, timeout);
            assert_eq!(ran.take(), ["an APC"]);
            timed_out(&port);
        }
        // Packets of I/O as well. A sleep elsewhere does not make the thread another port's.
        let (handle, mut client) = util::pair(&port, ());
        handle.recv(room(1), 3).expect("started");
        client.write_all(b"x").expect("written");
        assert_eq!(sleep_ex(Duration::ZERO, true).expect("the driver works"), Woken::TimedOut);
        queue_user_apc(&own, ran.apc("an APC")).expect("queued");
        packet(&port, 3);
        assert!(ran.is_empty());
        nothing_but_one(&ran);
    });
}

/// S35: and so again after a wait at another port. The wait that runs them is none that counts.
fn runs_routines_first_in_its_first_wait_at_a_port(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let own = current().expect("a thread");
        let [port, other]: [Port; 2] = [open(driver), open(driver)];
        let apc = || queue_user_apc(&own, ran.apc("an APC")).expect("queued");
        for port in [&port, &other, &port] {
            port.key(()).post(0, 1).expect("open");
            for time in 1..=3 {
                apc();
                alerted(port, Some(Duration::ZERO));
                assert_eq!((ran.len(), port.snapshot().packets), (time, 1), "S35");
            }
            ran.take();
            let (socket, _client) = pair_with(b"there");
            socket.recv(room(5), ran.routine("I/O")).expect("started");
            alerted(port, None);
            assert_eq!(ran.take(), ["I/O"]);
            packet(port, 1);
            // S34 from now on.
            port.key(()).post(0, 2).expect("open");
            apc();
            packet(port, 2);
            alerted(port, None);
            assert_eq!(ran.take(), ["an APC"]);
        }
        // A wait that is not alertable counts as well.
        join(&other);
        other.key(()).post(0, 3).expect("open");
        apc();
        packet(&other, 3);
        nothing_but_one(&ran);
        // Without routines there is nothing that could come first.
        port.key(()).post(0, 4).expect("open");
        packet(&port, 4);
    });
}

/// S28-S30, and a thread that has no routines at all.
fn takes_many_at_once(driver: DriverKind) {
    let many = || {
        let port: Port = open(driver);
        let key = port.key(());
        for n in 0..5 {
            key.post(0, n).expect("open");
        }
        let mut out = Vec::new();
        let refused = port.get_many_alertable(&mut out, 0, None).expect_err("S30");
        assert!(matches!(&refused, GetError::Failed(e) if e.kind() == ErrorKind::InvalidInput));
        assert_eq!(port.get_many_alertable(&mut out, 3, None).expect("packets"), 3);
        assert_eq!(port.get_many_alertable(&mut out, 9, Some(PATIENCE)).expect("packets"), 2);
        assert!(out.iter().map(|one| one.context).eq(0..5), "in order, appended");
        let none = port.get_many_alertable(&mut out, 9, Some(Duration::ZERO));
        assert!(matches!(none, Err(GetError::TimedOut)), "{none:?}");
        assert_eq!(out.len(), 5);
    };
    on_a_thread(driver, many);
    elsewhere(many);
}

/// S20, S31
fn waits_its_time(driver: DriverKind) {
    let wait = || {
        let port: Port = open(driver);
        for _ in 0..2 {
            let (begun, time) = (Instant::now(), Duration::from_millis(30));
            let waited = port.get_alertable(Some(time));
            assert!(matches!(waited, Err(GetError::TimedOut)), "{waited:?}");
            assert!(begun.elapsed() >= time);
        }
    };
    on_a_thread(driver, || {
        let (socket, _client) = pair();
        socket.recv(room(1), |_| unreachable!("nothing comes")).expect("started");
        wait();
    });
    elsewhere(wait);
}

/// S36, S24
fn is_over_with_the_port(driver: DriverKind) {
    on_a_thread(driver, || {
        let port: Port = open(driver);
        join(&port);
        port.key(()).post(0, 1).expect("open");
        port.close();
        for _ in 0..2 {
            let waited = port.get_alertable(None);
            assert!(matches!(waited, Err(GetError::Closed)), "{waited:?}");
        }
        // The thread's own place is another.
        let ran = Log::default();
        queue_user_apc(&current().expect("a thread"), ran.apc("an APC")).expect("queued");
        nothing_but_one(&ran);
    });
}

/// What a waiting thread has seen.
#[derive(Debug, PartialEq)]
enum Seen {
    Packet(u32),
    Alerted,
    Closed,
    Other(String),
}

/// A thread that waits alertably at a port, one wait each time that it is asked, and has a receive of its own pending.
struct Waiter {
    name: Thread,
    ask: mpsc::Sender<()>,
    seen: mpsc::Receiver<Seen>,
    ran: Log<&'static str>,
    client: TcpStream,
}

impl Waiter {
    fn new<'s>(scope: &'s thread::Scope<'s, '_>, driver: DriverKind, port: &'s Port) -> Self {
        let (ask, asked) = mpsc::channel();
        let (see, seen) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let (socket, client) = pair();
        let ran = Log::default();
        let log = ran.clone();
        scope.spawn(move || {
            drive_by(driver);
            join(port);
            tell.send(current().expect("a thread")).expect("somebody listens");
            let pending = Rc::new(Cell::new(false));
            while let Ok(()) = asked.recv() {
                if !pending.replace(true) {
                    let (log, pending) = (log.clone(), pending.clone());
                    let routine = move |_: Done| {
                        pending.set(false);
                        log.add("I/O");
                    };
                    socket.recv(room(1), routine).expect("started");
                }
                let saw = match port.get_alertable(Some(PATIENCE)) {
                    Ok(packet) => Seen::Packet(packet.context),
                    Err(GetError::Alerted) => Seen::Alerted,
                    Err(GetError::Closed) => Seen::Closed,
                    Err(e) => Seen::Other(e.to_string()),
                };
                if see.send(saw).is_err() {
                    return;
                }
            }
        });
        let name = told.recv().expect("told");
        Self { name, ask, seen, ran, client }
    }

    /// It waits, and it is one of so many.
    #[track_caller]
    fn waits(&self, port: &Port, threads: usize) {
        self.ask.send(()).expect("it listens");
        until("all wait", || port.snapshot().waiting_threads == threads);
    }

    #[track_caller]
    fn saw(&self, expected: Seen) {
        assert_eq!(self.seen.recv_timeout(PATIENCE).expect("the wait ends"), expected);
    }
}

/// In the seat: an APC, I/O of its own, a packet of I/O, a post, the close.
fn alone_is_ended_by_each(driver: DriverKind) {
    let port: Port = open(driver);
    let (handle, mut client) = util::pair(&port, ());
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let mut waiter = Waiter::new(s, driver, &port);
        for _ in 0..20 {
            waiter.waits(&port, 1);
            queue_user_apc(&waiter.name, waiter.ran.apc("an APC")).expect("queued");
            waiter.saw(Seen::Alerted);
            waiter.waits(&port, 1);
            waiter.client.write_all(b"x").expect("written");
            waiter.saw(Seen::Alerted);
            assert_eq!(waiter.ran.take(), ["an APC", "I/O"]);
            waiter.waits(&port, 1);
            port.key(()).post(0, 5).expect("open");
            waiter.saw(Seen::Packet(5));
            handle.recv(room(1), 6).expect("started");
            waiter.waits(&port, 1);
            client.write_all(b"y").expect("written");
            waiter.saw(Seen::Packet(6));
        }
        waiter.waits(&port, 1);
        port.close();
        waiter.saw(Seen::Closed);
        assert!(waiter.ran.is_empty());
    });
}

/// Parked, while somebody who is not alertable has the seat.
fn behind_another_is_ended_by_each(driver: DriverKind) {
    let port: Port = open(driver);
    let taken = Log::default();
    thread::scope(|s| {
        let _close = port.close_on_drop();
        // Sits down before the waiter comes, and again and again.
        let (go, may) = mpsc::channel();
        let (port, log) = (&port, &taken);
        let seated = s.spawn(move || {
            while let Ok(()) = may.recv() {
                match port.get() {
                    Ok(packet) => log.add(packet.context),
                    Err(GetError::Closed) => return true,
                    Err(e) => panic!("{e}"),
                }
            }
            false
        });
        let sit = || {
            go.send(()).expect("it listens");
            until("the seat is taken", || port.snapshot().waiting_threads == 1);
        };
        let mut waiter = Waiter::new(s, driver, port);
        sit();
        for _ in 0..20 {
            waiter.waits(port, 2);
            queue_user_apc(&waiter.name, waiter.ran.apc("an APC")).expect("queued");
            waiter.saw(Seen::Alerted);
            waiter.waits(port, 2);
            waiter.client.write_all(b"x").expect("written");
            waiter.saw(Seen::Alerted);
            assert_eq!(waiter.ran.take(), ["an APC", "I/O"]);
            assert!(taken.is_empty(), "the other still waits");
            // One for each, whoever takes which.
            waiter.waits(port, 2);
            port.key(()).post(0, 5).expect("open");
            port.key(()).post(0, 5).expect("open");
            waiter.saw(Seen::Packet(5));
            until("the other has its own", || taken.len() == 1);
            taken.take();
            sit();
        }
        waiter.waits(port, 2);
        port.close();
        waiter.saw(Seen::Closed);
        assert!(seated.join().expect("no panic"), "S23: both are told");
    });
}

/// Who had the seat leaves with a packet: the alertable thread drives from then on, with its routines beside.
fn inherits_the_seat(driver: DriverKind) {
    let port: Port = open(driver);
    let (handle, mut client) = util::pair(&port, ());
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let mut waiter = Waiter::new(s, driver, &port);
        for round in 0..20 {
            let port = &port;
            let seated = s.spawn(move || port.get().expect("a packet").context);
            until("the seat is taken", || port.snapshot().waiting_threads == 1);
            waiter.waits(port, 2);
            // One for each: the one in the seat is woken as well.
            port.key(()).post(0, 7).expect("open");
            port.key(()).post(0, 7).expect("open");
            assert_eq!(seated.join().expect("no panic"), 7);
            waiter.saw(Seen::Packet(7));

            let seated = s.spawn(move || port.get().expect("a packet").context);
            until("the seat is taken", || port.snapshot().waiting_threads == 1);
            handle.recv(room(1), 8).expect("started");
            waiter.waits(port, 2);
            // Who drives takes it and leaves: the thread that came first, or the waiter, if the driver was still its own.
            client.write_all(b"y").expect("written");
            let mut seen = None;
            until("one has taken it", || {
                seen = waiter.seen.try_recv().ok();
                seen.is_some() || seated.is_finished()
            });
            if let Some(seen) = &seen {
                assert_eq!(*seen, Seen::Packet(8));
                port.key(()).post(0, 8).expect("open");
            }
            assert_eq!(seated.join().expect("no panic"), 8);
            if seen.is_some() {
                waiter.waits(port, 1);
            }
            until("the waiter has the seat", || port.snapshot().waiting_threads == 1);
            if round % 2 == 0 {
                queue_user_apc(&waiter.name, waiter.ran.apc("an APC")).expect("queued");
            } else {
                waiter.client.write_all(b"x").expect("written");
            }
            waiter.saw(Seen::Alerted);
            assert_eq!(waiter.ran.take().len(), 1);
            handle.recv(room(1), 9).expect("started");
            waiter.waits(port, 1);
            client.write_all(b"z").expect("written");
            waiter.saw(Seen::Packet(9));
        }
    });
}

/// At every moment of its way: a packet, an APC, I/O, in turn; another thread sits or not.
fn never_misses_what_comes_on_its_way_to_sleep(driver: DriverKind) {
    const TIMES: usize = 900;
    for seated in [false, true] {
        let port: Port = open(driver);
        let stop = AtomicBool::new(false);
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let stop_both = StopOnDrop(&stop);
            let (tell, told) = mpsc::channel();
            let seen = for_good(AtomicUsize::default());
            let (socket, mut client) = pair();
            if seated {
                s.spawn(|| {
                    while let Ok(_packet) = port.get() {
                        seen.fetch_add(1, Ordering::Release);
                    }
                });
            }
            let (port, stop) = (&port, &stop);
            s.spawn(move || {
                fn again(socket: &OverlappedSocket, seen: &'static AtomicUsize) {
                    let routine = move |done: Done| {
                        if matches!(done.result, Ok(1)) {
                            seen.fetch_add(1, Ordering::Release);
                            again(&done.socket, seen);
                        }
                    };
                    socket.recv(room(1), routine).expect("started");
                }
                drive_by(driver);
                again(&socket, seen);
                tell.send(current().expect("a thread")).expect("somebody listens");
                while !stop.load(Ordering::Acquire) {
                    match port.get_alertable(Some(PATIENCE)) {
                        Ok(_packet) => _ = seen.fetch_add(1, Ordering::Release),
                        Err(GetError::Alerted | GetError::Closed) => {}
                        Err(e) => panic!("missed: {e}"),
                    }
                }
            });
            let name = told.recv().expect("told");
            let key = port.key(());
            for time in 0..TIMES {
                match time % 3 {
                    0 => key.post(0, 0).expect("open"),
                    1 => queue_user_apc(&name, || _ = seen.fetch_add(1, Ordering::Release))
                        .expect("queued"),
                    _ => client.write_all(b"x").expect("written"),
                }
                let begun = Instant::now();
                while seen.load(Ordering::Acquire) <= time {
                    assert!(begun.elapsed() < PATIENCE / 2, "missed, number {time}");
                    thread::yield_now();
                }
                for _ in 0..time * 7 % 600 {
                    std::hint::spin_loop();
                }
            }
            drop(stop_both);
        });
    }
}

/// Out of the first wait at a port, and out of a later one.
fn a_panic_comes_out_and_no_packet_is_lost(driver: DriverKind) {
    on_a_thread(driver, || {
        let own = current().expect("a thread");
        let port: Port = open(driver);
        let ran = Log::default();
        for joined in [false, true] {
            if joined {
                join(&port);
            } else {
                port.key(()).post(0, 1).expect("open");
            }
            queue_user_apc(&own, || panic!("as planned")).expect("queued");
            queue_user_apc(&own, ran.apc("behind")).expect("queued");
            let waited = catch_unwind(AssertUnwindSafe(|| port.get_alertable(None).is_ok()));
            let panic = waited.expect_err("it comes out");
            assert_eq!(panic.downcast_ref(), Some(&"as planned"));
            assert!(ran.is_empty());
            alerted(&port, None);
            assert_eq!(ran.take(), ["behind"]);
            if !joined {
                packet(&port, 1);
            }
            timed_out(&port);
        }
        // The seat is free for others.
        port.key(()).post(0, 2).expect("open");
        let taken = elsewhere(|| port.get_timeout(PATIENCE).expect("a packet").context);
        assert_eq!(taken, 2);
    });
}

/// The deadline of a graceful end that this thread has started passes while it waits at a port.
fn keeps_the_deadlines_of_the_thread(driver: DriverKind) {
    on_a_thread(driver, || {
        let port: Port = open(driver);
        for joined in [false, true] {
            let (socket, _client) = pair();
            let ran = Log::default();
            let log = ran.clone();
            if joined {
                join(&port);
            }
            let begun = Instant::now();
            let time = Duration::from_millis(30);
            socket
                .end(time, move |done| log.add(done.result.expect_err("in vain").kind()))
                .expect("started");
            alerted(&port, Some(PATIENCE));
            assert!(begun.elapsed() >= time);
            assert_eq!(ran.take(), [ErrorKind::TimedOut]);
        }
    });
}

/// The system hears of what a worker starts when that worker waits: by any kind of wait, and before it sleeps.
fn hands_over_what_the_thread_has_started(driver: DriverKind) {
    on_a_thread(driver, move || {
        let port: Port = open(driver);
        let (handle, mut client) = util::pair(&port, ());
        util::put_to_use(&port);
        // It has taken a packet, and so it has a driver of its own.
        port.key(()).post(0, 1).expect("open");
        packet(&port, 1);
        handle.recv(room(1), 2).expect("started");
        client.write_all(b"x").expect("written");
        let begun = Instant::now();
        packet(&port, 2);
        assert!(begun.elapsed() < PATIENCE / 2, "it has slept on it");
    });
}

/// Packets of posts and of I/O, APCs for each, I/O of each, all at once: each comes once, where it belongs.
fn of_many_threads_loses_nothing(driver: DriverKind) {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    let port: Port = open(driver);
    let packets: Arc<[AtomicUsize]> = (0..2 * EACH).map(|_| AtomicUsize::new(0)).collect();
    let done = AtomicBool::new(false);
    let (apcs, own_io) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (tell, told) = mpsc::channel();
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let stop = StopOnDrop(&done);
        let mut clients = Vec::new();
        for _ in 0..THREADS {
            let (socket, client) = pair();
            clients.push(client);
            let (tell, own_io, packets) = (tell.clone(), own_io.clone(), packets.clone());
            let (port, done) = (&port, &done);
            s.spawn(move || {
                drive_by(driver);
                let here = thread::current().id();
                for _ in 0..EACH {
                    let own_io = own_io.clone();
                    let routine = move |done: Done| {
                        assert_eq!(thread::current().id(), here);
                        if matches!(done.result, Ok(1)) {
                            own_io.fetch_add(1, Ordering::Relaxed);
                        }
                    };
                    socket.recv(room(1), routine).expect("started");
                }
                tell.send(current().expect("a thread")).expect("somebody listens");
                while !done.load(Ordering::Acquire) {
                    match port.get_alertable(Some(PATIENCE)) {
                        Ok(taken) => {
                            packets[taken.context as usize].fetch_add(1, Ordering::Relaxed);
                        }
                        Err(GetError::Alerted) => {}
                        Err(GetError::Closed) => return,
                        Err(e) => panic!("{e}"),
                    }
                }
            });
        }
        let names: Vec<_> = (0..THREADS).map(|_| told.recv().expect("told")).collect();
        let (handle, mut client) = util::pair(&port, ());
        for n in 0..EACH {
            handle.recv(room(1), (EACH + n) as u32).expect("started");
        }
        let (key, apcs) = (port.key(()), &apcs);
        s.spawn(move || (0..EACH).for_each(|n| key.post(0, n as u32).expect("open")));
        let writer = s.spawn(move || {
            for _ in 0..EACH {
                client.write_all(b"x").expect("written");
                for client in &mut clients {
                    client.write_all(b"x").expect("written");
                }
            }
            (client, clients)
        });
        s.spawn(move || {
            for _ in 0..EACH {
                for name in &names {
                    let apcs = apcs.clone();
                    queue_user_apc(name, move || _ = apcs.fetch_add(1, Ordering::Relaxed))
                        .expect("queued");
                }
            }
        });
        until("all has come", || {
            packets.iter().all(|count| count.load(Ordering::Relaxed) > 0)
                && apcs.load(Ordering::Relaxed) == THREADS * EACH
                && own_io.load(Ordering::Relaxed) == THREADS * EACH
        });
        drop((stop, writer.join()));
    });
    assert!(packets.iter().all(|count| count.load(Ordering::Relaxed) == 1), "none came twice");
    assert!(port.snapshot().in_flight.is_empty(), "{}", port.snapshot());
}

/// Its clock stands still while a thread sleeps elsewhere: that is said, and a packet that is there is taken.
#[test]
fn at_a_simulated_port_does_not_wait() {
    let network = completion_port::simulated::Network::new(1);
    let port: Port = CompletionPort::builder().simulated(&network).build().expect("a port");
    elsewhere(|| {
        current().expect("a thread");
        let waited = port.get_alertable(Some(PATIENCE)).expect_err("it cannot");
        assert!(matches!(&waited, GetError::Failed(e) if e.kind() == ErrorKind::Unsupported));
        port.key(()).post(0, 1).expect("open");
        packet(&port, 1);
    });
}
