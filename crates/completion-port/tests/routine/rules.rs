//! When a routine runs, where, in which order, and what it is told.

use std::{
    cell::Cell,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
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
    Buffer, DriverKind, GetError, TcpSocket,
    error::Situation,
    routine::{Done, OverlappedSocket, Woken, current, driver, queue_user_apc, sleep_ex},
};

use crate::{
    kit::{
        Log, StopOnDrop, drive_by, elsewhere, nothing_runs, on_a_thread, pair, pair_with, room,
        run, run_until,
    },
    util::{open, reset, situation, until},
};

crate::on_each_driver!(
    never_run_outside_an_alertable_wait,
    never_run_on_another_thread,
    never_run_before_the_call_that_started_them_has_returned,
    of_a_refused_start_come_back_and_never_run,
    of_one_operation_too_many_come_back,
    are_told_what_became_of_the_operation,
    run_in_one_wait_if_they_are_queued,
    run_first_in_first_out,
    run_first_in_first_out_with_apcs,
    a_sleep_tells_why_it_is_over,
    a_sleep_without_end_is_ended_by_each,
    a_sleep_of_no_time_runs_what_is_queued,
    that_keep_each_other_busy_do_not_keep_the_thread,
    that_keep_each_other_busy_do_not_keep_others_from_their_turn,
);

/// S164, S168, S26, S32: whatever else the thread does, a wait at a port among it, and calls that could wait alertably and need not
/// (S175).
fn never_run_outside_an_alertable_wait(kind: DriverKind) {
    on_a_thread(kind, || {
        let ran = Log::default();
        // Done at once, done later, and without I/O.
        let (there, _client) = pair_with(b"there");
        there.recv(room(5), ran.routine("what was there")).expect("started");
        there.send(b"sent".to_vec().into(), ran.routine("what was sent")).expect("started");
        let (coming, mut client) = pair();
        coming.recv(room(6), ran.routine("what comes")).expect("started");
        coming.recv_lent(ran.routine("what comes then")).expect("started");
        queue_user_apc(&current().expect("a thread"), ran.apc("an APC")).expect("queued");
        client.write_all(b"comingthen").expect("written");
        let quiet = |after: &str| assert!(ran.is_empty(), "{:?} ran in {after}", ran.take());

        thread::sleep(Duration::from_millis(5));
        thread::yield_now();
        quiet("a plain sleep");
        for time in [0, 5] {
            let woken = sleep_ex(Duration::from_millis(time), false).expect("the driver works");
            assert_eq!(woken, Woken::TimedOut, "S168");
            quiet("a sleep that is not alertable");
        }
        let port = open::<(), u32>(kind);
        let (handle, mut peer) = crate::util::pair(&port, ());
        handle.recv(room(1), 1).expect("started");
        peer.write_all(b"x").expect("written");
        assert_eq!(port.get().expect("a packet").context, 1);
        port.key(()).post(0, 2).expect("open");
        assert_eq!(port.get().expect("a packet").context, 2);
        assert!(matches!(port.get_timeout(Duration::ZERO), Err(GetError::TimedOut)));
        assert!(matches!(port.get_timeout(Duration::from_millis(5)), Err(GetError::TimedOut)));
        let waited = port.get_many(&mut Vec::new(), 9, Some(Duration::from_millis(5)));
        assert!(matches!(waited, Err(GetError::TimedOut)), "S32");
        port.close();
        assert!(matches!(port.get(), Err(GetError::Closed)));
        quiet("a wait at a port");

        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let listener = OverlappedSocket::from(listener);
        listener.set_nonblocking(true);
        assert_eq!(listener.accept().expect_err("nobody").kind(), ErrorKind::WouldBlock);
        let mut dialled = TcpStream::connect(address).expect("connected");
        listener.set_nonblocking(false);
        let (accepted, _) = listener.accept().expect("somebody is there");
        dialled.write_all(b"plain").expect("written");
        assert_eq!((&accepted).read(&mut [0; 5]).expect("all is there"), 5);
        assert_eq!((&accepted).write(b"back").expect("there is room"), 4);
        let second = OverlappedSocket::from(TcpSocket::new(&address).expect("a socket"));
        second.set_nonblocking(true);
        assert_eq!(second.connect(address).expect_err("soon").kind(), ErrorKind::WouldBlock);
        quiet("a call that did not wait");

        let (more, _client) = pair_with(b"more");
        let id = more.recv(room(1), ran.routine("more")).expect("started");
        more.cancel(id);
        more.recv(room(1), ran.routine("still more")).expect("started");
        more.cancel_own();
        more.send(b"!".to_vec().into(), ran.routine("and more")).expect("started");
        quiet("a start or a cancel");
        current().expect("a thread");
        driver().expect("a driver");
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(()));
        told.recv().expect("told");
        let (closed, _client) = pair();
        closed.recv(room(1), ran.routine("closed")).expect("started");
        closed.close();
        quiet("whatever else");

        run_until("all have run", || ran.len() == 9);
        nothing_runs();
    });
}

/// S164: others wait alertably meanwhile, with routines on the same socket, and one of them cancels and closes what this one started.
fn never_run_on_another_thread(driver: DriverKind) {
    const ROUNDS: usize = 20;
    let (socket, mut client) = pair();
    let (closed, _client) = pair();
    let port = open::<(), ()>(driver);
    let (stop, waits) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                drive_by(driver);
                let own = thread::current().id();
                while !stop.load(Ordering::Acquire) {
                    let right = move |_: Done| assert_eq!(thread::current().id(), own);
                    socket.send(vec![0].into(), right).expect("started");
                    let _ = sleep_ex(Duration::from_millis(1), true).expect("the driver works");
                    let _ = port.get_alertable(Some(Duration::from_millis(1)));
                    waits.fetch_add(1, Ordering::Release);
                }
            });
        }
        s.spawn(|| {
            let _stop = StopOnDrop(&stop);
            drive_by(driver);
            let own = thread::current().id();
            let ran = Log::default();
            let elsewhere_meanwhile = || {
                let before = waits.load(Ordering::Acquire);
                until("others wait", || waits.load(Ordering::Acquire) > before + 10);
                assert!(ran.is_empty(), "S164");
            };
            let here = || {
                let ran = ran.clone();
                move |_: Done| ran.add(thread::current().id())
            };
            for _ in 0..ROUNDS {
                socket.recv(room(2), here()).expect("started");
                socket.recv_lent(here()).expect("started");
                client.write_all(b"two and more").expect("written");
                socket.send(vec![1; 3].into(), here()).expect("started");
                elsewhere_meanwhile();
                run_until("all have run", || ran.len() == 3);
                assert!(ran.take().into_iter().all(|thread| thread == own));
            }
            for end in [OverlappedSocket::cancel_all, |closed: &OverlappedSocket| {
                closed.close();
                1
            }] {
                closed.recv(room(1), here()).expect("started");
                assert_eq!(elsewhere(|| end(&closed)), 1);
                elsewhere_meanwhile();
                run();
                assert_eq!(ran.take(), [own]);
            }
        });
    });
}

/// S165: of what is over at once, started from outside and from inside a routine.
fn never_run_before_the_call_that_started_them_has_returned(driver: DriverKind) {
    fn start(socket: &OverlappedSocket, ran: &Log<bool>) {
        let check = |start: &dyn Fn(Box<dyn FnOnce(Done)>)| {
            let before = ran.len();
            let returned = Rc::new(Cell::new(false));
            let (seen, log) = (returned.clone(), ran.clone());
            start(Box::new(move |_| log.add(seen.get())));
            assert_eq!(ran.len(), before, "S165");
            returned.set(true);
        };
        check(&|routine| _ = socket.recv(room(1), routine).expect("started"));
        check(&|routine| _ = socket.recv_lent(routine).expect("started"));
        check(&|routine| _ = socket.send(vec![1].into(), routine).expect("started"));
        let two = || vec![vec![1].into(), vec![2].into()];
        check(&|routine| _ = socket.send_vectored(two(), routine).expect("started"));
        check(&|routine| _ = socket.end(Duration::ZERO, routine).expect("started"));
    }
    on_a_thread(driver, || {
        let ran = Log::default();
        let (outside, _client) = pair_with(b"there");
        start(&outside, &ran);
        run_until("all have run", || ran.len() == 5);
        let (inside, _other) = pair_with(b"there, too");
        let log = ran.clone();
        inside.recv(room(2), move |done| start(&done.socket, &log)).expect("started");
        run_until("all have run", || ran.len() == 10);
        assert_eq!(ran.take(), [true; 10]);
    });
}

/// Every start on this socket is refused, and gives back what it was given. The token is in every routine.
#[track_caller]
fn refuse_all(socket: &OverlappedSocket, kind: ErrorKind, token: &Arc<()>) {
    let routine = || {
        let token = token.clone();
        move |_: Done| panic!("it ran: {token:?}")
    };
    let two = || vec![Buffer::from(&b"one"[..]), Buffer::from(&b"two"[..])];
    let recv = socket.recv(room(77), routine()).expect_err("refused");
    assert_eq!((recv.error.kind(), recv.buffer.capacity()), (kind, 77));
    let send = socket.send(b"unsent".to_vec().into(), routine()).expect_err("refused");
    assert_eq!((send.error.kind(), &send.buffer[..]), (kind, &b"unsent"[..]));
    let vectored = socket.send_vectored(two(), routine()).expect_err("refused");
    assert_eq!((vectored.error.kind(), &vectored.buffer[1][..]), (kind, &b"two"[..]));
    let lent = socket.recv_lent(routine()).expect_err("refused");
    let end = socket.end(Duration::ZERO, routine()).expect_err("refused");
    assert_eq!((lent.error.kind(), end.error.kind()), (kind, kind));
    assert_eq!(Arc::strong_count(token), 6, "the routines are here");
    drop((recv.context, send.context, vectored.context, lent.context, end.context));
    assert_eq!(Arc::strong_count(token), 1, "and nowhere else");
}

/// S166, S61: with all it was given, and it can be started once more.
fn of_a_refused_start_come_back_and_never_run(driver: DriverKind) {
    on_a_thread(driver, || {
        let token = Arc::new(());
        let listener = OverlappedSocket::from(TcpListener::bind("127.0.0.1:0").expect("a port"));
        refuse_all(&listener, ErrorKind::InvalidInput, &token);
        let (closed, _client) = pair();
        closed.close();
        refuse_all(&closed, ErrorKind::NotConnected, &token);
        let (ending, client) = pair();
        let ended = Log::default();
        ending.end(Duration::MAX, ended.routine(())).expect("started");
        refuse_all(&ending, ErrorKind::NotConnected, &token);
        drop(client);
        run_until("the end", || ended.len() == 1);
        refuse_all(&ending, ErrorKind::NotConnected, &token);

        let (socket, mut client) = pair();
        let ran = Log::default();
        let full = socket.recv(Buffer::from(vec![1; 4]), ran.keep()).expect_err("full");
        assert_eq!(full.error.kind(), ErrorKind::InvalidInput);
        let empty = socket.send(Buffer::new(), ran.keep()).expect_err("empty");
        assert_eq!(empty.error.kind(), ErrorKind::InvalidInput);
        for buffers in [vec![], vec![Buffer::new(), Buffer::new()]] {
            let none = socket.send_vectored(buffers, ran.keep()).expect_err("empty, S122");
            assert_eq!(none.error.kind(), ErrorKind::InvalidInput);
        }
        nothing_runs();
        assert!(ran.is_empty());

        // The routine that came back, with the buffer that did.
        let mut buffer = full.buffer;
        buffer.clear();
        socket.recv(buffer, full.context).expect("started");
        socket.send(vec![7].into(), empty.context).expect("started");
        client.write_all(b"room").expect("written");
        run_until("both", || ran.len() == 2);
        nothing_runs();
    });
}

/// S183: the limit is the thread's, a thousand or so in each direction.
fn of_one_operation_too_many_come_back(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, _client) = pair();
        let (ran, token) = (Log::default(), Arc::new(()));
        let mut started = 0;
        let refused = loop {
            let (log, counted) = (ran.clone(), token.clone());
            let routine = move |done: Done| {
                drop(counted);
                log.add(situation(&done.result));
            };
            match socket.recv(room(16), routine) {
                Ok(_) => started += 1,
                Err(refused) => break refused,
            }
            assert!(started < 100_000, "there is no limit");
        };
        assert_eq!((refused.error.kind(), refused.buffer.capacity()), (ErrorKind::WouldBlock, 16));
        assert_eq!(Arc::strong_count(&token), 1 + started + 1);
        drop(refused);
        assert_eq!(socket.cancel_own(), started);
        run_until("all have run", || ran.len() == started);
        assert!(ran.take().into_iter().all(|how| how == Some(Situation::Cancelled)));
        assert_eq!(Arc::strong_count(&token), 1);
        nothing_runs();
        socket.recv(room(16), ran.routine(None)).expect("there is room again");
    });
}

/// S176: bytes or error, buffer and socket; S103, S111, S113.
fn are_told_what_became_of_the_operation(driver: DriverKind) {
    on_a_thread(driver, || {
        let told: Log<Done> = Log::default();
        let next = || {
            run();
            let mut all = told.take();
            assert_eq!(all.len(), 1);
            all.remove(0)
        };
        let (socket, mut client) = pair();
        let clone = socket.clone();
        let mut begun = Buffer::with_capacity(10);
        begun.extend_from_slice(b"and ");
        socket.recv(begun, told.keep()).expect("started");
        client.write_all(b"more").expect("written");
        let done = next();
        assert_eq!((done.result.expect("received"), &done.buffer[..]), (4, &b"and more"[..]));
        assert!(done.socket == socket && done.socket == clone && done.buffers.is_empty());
        assert_eq!(done.buffer.capacity(), 10, "the buffer itself");

        socket.recv_lent(told.keep()).expect("started");
        client.write_all(b"lent").expect("written");
        let done = next();
        assert_eq!((done.result.expect("received"), &done.buffer[..]), (4, &b"lent"[..]));
        assert!(done.buffer.is_lent());

        socket.send(b"sent".to_vec().into(), told.keep()).expect("started");
        let done = next();
        assert_eq!((done.result.expect("sent"), &done.buffer[..]), (4, &b"sent"[..]));

        let three = [&b"one"[..], b"", b"three"].map(Buffer::from).into();
        socket.send_vectored(three, told.keep()).expect("started");
        let done = next();
        assert_eq!((done.result.expect("sent"), done.buffer.len()), (8, 0));
        let back: Vec<_> = done.buffers.iter().map(|buffer| &buffer[..]).collect();
        assert_eq!(back, [&b"one"[..], b"", b"three"]);
        let mut read = [0; 12];
        client.read_exact(&mut read).expect("all of it");
        assert_eq!(&read, b"sentonethree");

        socket.recv(room(10), told.keep()).expect("started");
        assert_eq!(socket.cancel_own(), 1);
        let done = next();
        assert_eq!(situation(&done.result), Some(Situation::Cancelled));
        assert_eq!((done.buffer.len(), done.buffer.capacity()), (0, 10));

        // S111, for each kind of receive, and again.
        drop(client);
        for _ in 0..2 {
            socket.recv(room(10), told.keep()).expect("started");
            assert_eq!(next().result.expect("the end"), 0);
            socket.recv_lent(told.keep()).expect("started");
            assert_eq!(next().result.expect("the end"), 0);
        }

        // S103
        let (socket, client) = pair();
        socket.recv(room(10), told.keep()).expect("started");
        reset(client);
        assert_eq!(situation(&next().result), Some(Situation::PeerReset));

        // S95
        let (socket, _client) = pair();
        socket.recv(room(10), told.keep()).expect("started");
        socket.close();
        let done = next();
        assert_eq!(situation(&done.result), Some(Situation::LocalClose));
        assert!(done.socket == socket);

        // S113
        let like = "127.0.0.1:0".parse().expect("an address");
        let unconnected = OverlappedSocket::from(TcpSocket::new(&like).expect("a socket"));
        unconnected.recv(room(10), told.keep()).expect("started");
        assert_eq!(next().result.expect_err("no peer").kind(), ErrorKind::NotConnected);
        unconnected.send(vec![1].into(), told.keep()).expect("started");
        next().result.expect_err("no peer");
        nothing_runs();
    });
}

/// S170: as many as there are, of I/O that is over and of APCs.
fn run_in_one_wait_if_they_are_queued(driver: DriverKind) {
    const MANY: usize = 100;
    on_a_thread(driver, || {
        let ran = Log::default();
        let pairs: Vec<_> = (0..MANY).map(|_| pair_with(b"there")).collect();
        for (socket, _) in &pairs {
            socket.recv(room(5), ran.routine(())).expect("started");
        }
        run();
        assert_eq!(ran.take().len(), MANY, "I/O");
        let own = current().expect("a thread");
        for _ in 0..MANY {
            queue_user_apc(&own, ran.apc(())).expect("queued");
        }
        run();
        assert_eq!(ran.take().len(), MANY, "APCs");
        for (socket, _) in &pairs {
            socket.send(vec![1].into(), ran.routine(())).expect("started");
            queue_user_apc(&own, ran.apc(())).expect("queued");
        }
        run();
        assert_eq!(ran.take().len(), 2 * MANY, "both");
        nothing_runs();
    });
}

/// S170: APCs; the receives of one socket, and its sends.
fn run_first_in_first_out(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        for n in 0..50 {
            queue_user_apc(&current().expect("a thread"), ran.apc(n)).expect("queued");
        }
        run();
        assert!(ran.take().into_iter().eq(0..50));
        let (socket, mut client) = pair();
        for n in 0..50 {
            socket.recv(room(2), ran.routine(n)).expect("started");
        }
        client.write_all(&[7; 100]).expect("written");
        run_until("all have run", || ran.len() == 50);
        assert!(ran.take().into_iter().eq(0..50));
        for n in 0..50 {
            socket.send(vec![7; 2].into(), ran.routine(n)).expect("started");
        }
        run_until("all have run", || ran.len() == 50);
        assert!(ran.take().into_iter().eq(0..50));
    });
}

/// S170: I/O that is over when the call returns is queued there and then (S165), before what is queued after it.
fn run_first_in_first_out_with_apcs(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let own = current().expect("a thread");
        let pairs: Vec<_> = (0..20).map(|_| pair_with(b"there")).collect();
        for (at, (socket, _)) in pairs.iter().enumerate() {
            queue_user_apc(&own, ran.apc(3 * at)).expect("queued");
            // In one step of the driver, or in two.
            if at % 2 == 0 {
                socket.recv(room(5), ran.routine(3 * at + 1)).expect("started");
            } else {
                socket.recv_lent(ran.routine(3 * at + 1)).expect("started");
            }
            socket.send(vec![1].into(), ran.routine(3 * at + 2)).expect("started");
        }
        run();
        assert!(ran.take().into_iter().eq(0..60));
        nothing_runs();
    });
}

/// S168
fn a_sleep_tells_why_it_is_over(driver: DriverKind) {
    let asleep = |time: u64, alertable, expected| {
        let (begun, time) = (Instant::now(), Duration::from_millis(time));
        assert_eq!(sleep_ex(time, alertable).expect("the driver works"), expected);
        begun.elapsed() >= time
    };
    // A thread that never had anything to do with routines sleeps as well.
    elsewhere(|| {
        assert!(asleep(0, true, Woken::TimedOut));
        assert!(asleep(20, true, Woken::TimedOut));
        assert!(asleep(20, false, Woken::TimedOut));
    });
    on_a_thread(driver, || {
        let ran = Log::default();
        assert!(asleep(20, true, Woken::TimedOut));
        let (socket, mut client) = pair();
        socket.recv(room(1), ran.routine(())).expect("started");
        assert!(asleep(20, true, Woken::TimedOut), "something is pending, and does not end it");
        client.write_all(b"x").expect("written");
        queue_user_apc(&current().expect("a thread"), ran.apc(())).expect("queued");
        assert!(asleep(20, false, Woken::TimedOut), "the whole time");
        assert!(ran.is_empty());
        assert!(!asleep(1_000_000, true, Woken::IoCompletion), "at once");
        run_until("both", || ran.len() == 2);
        assert!(asleep(20, true, Woken::TimedOut));
    });
}

/// S168: `INFINITE`, until there is I/O or an APC from another thread.
fn a_sleep_without_end_is_ended_by_each(driver: DriverKind) {
    let (tell, told) = mpsc::channel();
    let (socket, mut client) = pair();
    thread::scope(|s| {
        s.spawn(move || {
            drive_by(driver);
            let ran = Log::default();
            for what in ["I/O", "an APC"] {
                socket.recv(room(1), ran.routine(what)).expect("started");
                tell.send((current().expect("a thread"), ran.clone())).expect("somebody listens");
                let woken = sleep_ex(Duration::MAX, true).expect("the driver works");
                assert_eq!((woken, ran.take().as_slice()), (Woken::IoCompletion, &[what][..]));
            }
        });
        told.recv().expect("told");
        client.write_all(b"x").expect("written");
        let (sleeper, ran) = told.recv().expect("told");
        queue_user_apc(&sleeper, ran.apc("an APC")).expect("queued");
    });
}

/// S177
fn a_sleep_of_no_time_runs_what_is_queued(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let none = || sleep_ex(Duration::ZERO, true).expect("the driver works");
        let (socket, mut client) = pair();
        socket.recv(room(3), ran.routine("late")).expect("started");
        assert_eq!((none(), ran.len()), (Woken::TimedOut, 0), "pending is not queued");
        socket.send(vec![1].into(), ran.routine("sent")).expect("started");
        assert_eq!((none(), ran.take()), (Woken::IoCompletion, vec!["sent"]));
        queue_user_apc(&current().expect("a thread"), ran.apc("an APC")).expect("queued");
        assert_eq!((none(), ran.take()), (Woken::IoCompletion, vec!["an APC"]));
        client.write_all(b"now").expect("written");
        until("it is there", || none() == Woken::IoCompletion);
        assert_eq!((none(), ran.take()), (Woken::TimedOut, vec!["late"]));
    });
}

fn again(ran: Log<&'static str>) {
    ran.add("an APC");
    queue_user_apc(&current().expect("a thread"), move || again(ran)).expect("queued");
}

fn sent_again(ran: Log<&'static str>, done: Done) {
    ran.add("a send");
    let _refused_when_closed = done.socket.send(done.buffer, move |done| sent_again(ran, done));
}

/// A peer that takes every byte: no send has to wait for it.
fn drain(mut client: TcpStream) -> thread::JoinHandle<()> {
    thread::spawn(move || while matches!(client.read(&mut [0; 4096]), Ok(1..)) {})
}

/// An APC that queues itself again, a routine that starts itself again: every wait returns, and they have their turns.
fn that_keep_each_other_busy_do_not_keep_the_thread(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        again(ran.clone());
        for _ in 0..10 {
            run();
            assert!(!ran.take().is_empty());
        }
    });
    on_a_thread(driver, || {
        let ran = Log::default();
        let (socket, client) = pair();
        let drain = drain(client);
        let log = ran.clone();
        socket.send(vec![1].into(), move |done| sent_again(log, done)).expect("started");
        for _ in 0..10 {
            run();
            assert!(!ran.take().is_empty());
        }
        socket.close();
        drain.join().expect("no panic");
    });
    on_a_thread(driver, || {
        let ran = Log::default();
        let (one, other) = pair();
        let other = OverlappedSocket::from(other);
        play(&one, ran.clone());
        play(&other, ran.clone());
        one.send(vec![1].into(), drop).expect("started");
        for _ in 0..10 {
            run_until("a ball comes", || !ran.take().is_empty());
        }
    });
}

/// Sends back what comes, and goes on with it.
fn play(socket: &OverlappedSocket, ran: Log<&'static str>) {
    let returns = move |Done { socket, buffer, .. }: Done| {
        ran.add("a ball");
        socket.send(buffer, drop).expect("started");
        play(&socket, ran);
    };
    socket.recv_lent(returns).expect("started");
}

/// S170: what comes meanwhile is behind them, not never.
fn that_keep_each_other_busy_do_not_keep_others_from_their_turn(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let (socket, client) = pair();
        let drain = drain(client);
        again(ran.clone());
        let log = ran.clone();
        socket.send(vec![1].into(), move |done| sent_again(log, done)).expect("started");
        let (other, mut late) = pair();
        other.recv(room(4), ran.routine("another")).expect("started");
        run();
        late.write_all(b"late").expect("written");
        for what in ["another", "an APC", "a send"] {
            run_until(what, || ran.take().contains(&what));
        }
        socket.close();
        drain.join().expect("no panic");
    });
}
