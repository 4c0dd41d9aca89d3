//! Completion routines: on which thread they run, when, and in what order.

use std::{
    cell::Cell,
    io::{ErrorKind, Write},
    net::TcpListener,
    rc::Rc,
    sync::Arc,
    thread,
    time::Duration,
};

use completion_port::{
    Buffer, DriverKind,
    error::Situation,
    event::{Event, Waited, Which},
    routine::{
        Done, OverlappedSocket, Woken, queue_user_apc, sleep_ex, suspended, use_driver, wait_ex,
    },
};

use crate::{
    kit::{PATIENCE, dial, listener, open, reset, room, situation, until, with},
    routine_kit::{
        Log, elsewhere, nothing_runs, on_a_thread, only, overlapped, overlapped_with, queue_apc,
        run, run_until, this_thread,
    },
};

conformance! {
    they_run_on_the_thread_that_started_them [S164]
        "a routine runs on the thread that started its operation, though another waits alertably with routines on the same socket";
    they_run_in_an_alertable_wait_only [S164]
        "a routine whose operation is over does not run before the thread waits alertably";
    they_run_after_the_call_that_started_them [S165]
        "a routine whose operation was over at once does not run before the start has returned, and is queued by then";
    of_a_refused_start_they_never_run [S166]
        "a start that is refused gives its routine back, which never runs";
    a_socket_of_a_port_takes_none [S167]
        "an operation with a routine on a socket that has a port is refused as InvalidInput, with routine and buffer";
    an_alertable_sleep_ends_when_they_have_run [S168]
        "an alertable sleep says that routines ran, or that its time is up when none did";
    a_plain_sleep_runs_none [S168]
        "a sleep that is not alertable runs nothing and says that its time is up";
    they_come_before_an_event_that_is_signaled [S169]
        "an alertable wait for a signaled event with a call queued runs the call, and the event stays signaled, also one that resets itself";
    all_that_is_queued_runs_in_one_wait [S170]
        "all calls that are queued run in one wait, first in, first out, also those that another call queues";
    a_call_that_signals_the_event_ends_the_wait_as_a_call [S171]
        "a call that signals the event that is waited for ends the wait as a call, and the next wait takes the event";
    so_it_is_with_several_events [S172]
        "an alertable wait for any or all of several events runs what is queued and takes no event";
    they_nest_in_a_wait_within_one [S173]
        "an alertable wait in a routine runs another socket's routine, nested";
    those_of_one_socket_do_not_nest [S173]
        "an alertable wait in a routine does not run another routine of the same socket, which runs behind it";
    calls_queued_before_a_thread_begins_run_first [S174]
        "calls that were queued for a thread before it began run first in it, in their order";
    queueing_runs_nothing [S174]
        "to queue a call, to oneself or to another thread, runs nothing by itself";
    blocking_calls_run_them_while_they_wait [S175]
        "a blocking accept that has to wait runs a call that is queued, and goes on waiting";
    blocking_calls_that_need_not_wait_run_none [S175]
        "a blocking accept and read that need not wait run nothing";
    they_are_told_what_became_of_the_operation [S176]
        "a routine is told bytes or error, the socket, and gets the buffer";
    what_is_queued_can_be_run_without_a_wait [S177]
        "an alertable sleep of no time runs all that is queued, and does not wait when nothing is";
}

fn they_run_on_the_thread_that_started_them(driver: DriverKind) {
    let (socket, mut client) = overlapped();
    let finished = Event::manual_reset(false);
    thread::scope(|s| {
        let other = s.spawn(|| {
            use_driver(driver).expect("a probed driver can be had, and the thread has none");
            let own = thread::current().id();
            // Waits alertably all the time, with something of its own on the same socket.
            while !finished.wait(Some(Duration::ZERO)).expect("the driver works") {
                let here = move |_: Done| assert_eq!(thread::current().id(), own, "S164");
                socket.send(with(b"x"), here).expect("started");
                sleep_ex(Duration::from_millis(1), true).expect("the driver works");
            }
        });
        let ended = s.spawn(|| {
            use_driver(driver).expect("a probed driver can be had, and the thread has none");
            let ran = Log::default();
            for _ in 0..10 {
                let log = ran.clone();
                let routine = move |_: Done| log.add(thread::current().id());
                socket.recv(room(8), routine).expect("started");
                client.write_all(b"x").expect("written");
                thread::sleep(Duration::from_millis(1));
                assert!(ran.is_empty(), "S164");
                run();
                assert_eq!(ran.take(), [thread::current().id()], "S164");
            }
        });
        let ended = ended.join();
        finished.set();
        other.join().expect("no panic");
        ended.expect("no panic");
    });
}

fn they_run_in_an_alertable_wait_only(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let (socket, _client) = overlapped_with(b"there");
        socket.recv(room(8), ran.routine("received")).expect("started");
        socket.send(with(b"x"), ran.routine("sent")).expect("started");
        let port = open(driver);
        port.get_timeout(Duration::from_millis(2)).expect_err("nothing was posted");
        sleep_ex(Duration::from_millis(2), false).expect("the driver works");
        let event = Event::manual_reset(false);
        assert!(!event.wait(Some(Duration::from_millis(2))).expect("the driver works"));
        drop(port);
        assert!(ran.is_empty(), "S164");
        run_until("both have run", || ran.len() == 2);
    });
}

fn they_run_after_the_call_that_started_them(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, _client) = overlapped_with(b"there");
        let returned = Rc::new(Cell::new(false));
        let ran = Log::default();
        for receives in [true, false] {
            returned.set(false);
            let (seen, log) = (returned.clone(), ran.clone());
            let routine = move |_: Done| log.add(seen.get());
            if receives {
                socket.recv(room(8), routine).expect("started");
            } else {
                socket.send(with(b"x"), routine).expect("started");
            }
            returned.set(true);
            run();
            assert_eq!(ran.take(), [true], "S165");
        }
    });
}

/// A routine that must not run, and whether it is still there.
fn forbidden() -> (impl FnOnce(Done) + 'static, Arc<()>) {
    let token = Arc::new(());
    let inside = token.clone();
    (move |_: Done| unreachable!("it ran, {inside:?}"), token)
}

fn of_a_refused_start_they_never_run(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, _client) = overlapped();
        let (routine, token) = forbidden();
        let refused = socket.recv(with(b"full"), routine).expect_err("S166");
        assert_eq!(&refused.buffer[..], b"full");
        socket.close();
        let refused = socket.recv(room(8), refused.context).expect_err("S166");
        assert_eq!(Arc::strong_count(&token), 2, "S166: it has come back");
        drop(refused);
        assert_eq!(Arc::strong_count(&token), 1);
        nothing_runs();
    });
}

fn a_socket_of_a_port_takes_none(driver: DriverKind) {
    on_a_thread(driver, || {
        let port = open(driver);
        let (socket, _client) = overlapped_with(b"there");
        let _handle = port.associate(socket.clone(), "the port's").expect("associated");
        let (routine, token) = forbidden();
        let refused = socket.recv(room(8), routine).expect_err("S167");
        assert_eq!(refused.error.kind(), ErrorKind::InvalidInput, "S167");
        let refused = socket.send(with(b"unsent"), refused.context).expect_err("S167");
        assert_eq!((&refused.buffer[..], Arc::strong_count(&token)), (&b"unsent"[..], 2));
        nothing_runs();
    });
}

fn an_alertable_sleep_ends_when_they_have_run(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        for time in [Duration::ZERO, Duration::from_millis(5)] {
            assert_eq!(sleep_ex(time, true).expect("the driver works"), Woken::TimedOut, "S168");
        }
        for time in [PATIENCE, Duration::MAX] {
            queue_apc(&ran, "a call");
            assert_eq!(
                sleep_ex(time, true).expect("the driver works"),
                Woken::IoCompletion,
                "S168"
            );
            let (socket, _client) = overlapped_with(b"there");
            socket.recv(room(8), ran.routine("a routine")).expect("started");
            assert_eq!(
                sleep_ex(time, true).expect("the driver works"),
                Woken::IoCompletion,
                "S168"
            );
            assert_eq!(ran.take(), ["a call", "a routine"]);
        }
    });
}

fn a_plain_sleep_runs_none(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        queue_apc(&ran, "queued");
        for time in [Duration::ZERO, Duration::from_millis(5)] {
            assert_eq!(sleep_ex(time, false).expect("the driver works"), Woken::TimedOut, "S168");
        }
        assert!(ran.is_empty(), "S168");
        run();
        assert_eq!(ran.take(), ["queued"]);
    });
}

#[track_caller]
fn waited(events: &[&Event], which: Which, alertable: bool) -> Waited {
    wait_ex(events, which, Some(PATIENCE), alertable).expect("the driver works")
}

fn they_come_before_an_event_that_is_signaled(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        for event in [Event::auto_reset(true), Event::manual_reset(true)] {
            queue_apc(&ran, "queued");
            assert_eq!(waited(&[&event], Which::Any, true), Waited::IoCompletion, "S169");
            assert_eq!(ran.take(), ["queued"]);
            assert_eq!(waited(&[&event], Which::Any, true), Waited::Signaled(0), "S169: it stayed");
        }
    });
}

fn all_that_is_queued_runs_in_one_wait(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        queue_apc(&ran, "first");
        let (log, own) = (ran.clone(), this_thread());
        let queues = move || {
            log.add("second");
            queue_user_apc(&own, log.apc("of the second")).expect("it is alive");
        };
        queue_user_apc(&this_thread(), queues).expect("it is alive");
        queue_apc(&ran, "third");
        run();
        assert_eq!(ran.take(), ["first", "second", "third", "of the second"], "S170");
        nothing_runs();
    });
}

fn a_call_that_signals_the_event_ends_the_wait_as_a_call(driver: DriverKind) {
    on_a_thread(driver, || {
        for event in [Event::auto_reset(false), Event::manual_reset(false)] {
            let signal = event.clone();
            queue_user_apc(&this_thread(), move || signal.set()).expect("it is alive");
            assert_eq!(waited(&[&event], Which::Any, true), Waited::IoCompletion, "S171");
            assert_eq!(waited(&[&event], Which::Any, true), Waited::Signaled(0), "S171");
        }
    });
}

fn so_it_is_with_several_events(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let events = [Event::auto_reset(true), Event::auto_reset(true), Event::manual_reset(true)];
        let list = events.each_ref();
        for which in [Which::Any, Which::All] {
            queue_apc(&ran, "queued");
            assert_eq!(waited(&list, which, true), Waited::IoCompletion, "S172");
            assert_eq!(ran.take(), ["queued"]);
        }
        assert_eq!(waited(&list, Which::All, true), Waited::Signaled(0), "S172: none was taken");
    });
}

fn they_nest_in_a_wait_within_one(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let [(outer, _one), (inner, _two)] = [(); 2].map(|()| overlapped_with(b"x"));
        let log = ran.clone();
        let routine = move |_: Done| {
            log.add("outer begins");
            inner.recv(room(1), log.routine("inner")).expect("started");
            run();
            log.add("outer ends");
        };
        outer.recv(room(1), routine).expect("started");
        run();
        assert_eq!(ran.take(), ["outer begins", "inner", "outer ends"], "S173");
    });
}

fn those_of_one_socket_do_not_nest(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let (socket, _client) = overlapped_with(b"12");
        let log = ran.clone();
        let routine = move |done: Done| {
            log.add("first begins");
            done.socket.recv(room(1), log.routine("second")).expect("started");
            for time in [0, 10] {
                let woken = sleep_ex(Duration::from_millis(time), true).expect("it works");
                assert_eq!(woken, Woken::TimedOut, "S173");
            }
            log.add("first ends");
        };
        socket.recv(room(1), routine).expect("started");
        run_until("both have run", || ran.len() == 3);
        assert_eq!(ran.take(), ["first begins", "first ends", "second"], "S173");
    });
}

fn calls_queued_before_a_thread_begins_run_first(driver: DriverKind) {
    // A thread that is to be has the driver that the library chooses.
    let _ = driver;
    let (name, thread) = suspended().expect("a driver can be had");
    let ran = Log::default();
    for what in ["first", "second"] {
        queue_user_apc(&name, ran.apc(what)).expect("it is to be");
    }
    assert!(ran.is_empty());
    elsewhere(|| {
        thread.resume().expect("it has no name yet");
        ran.add("the thread itself");
    });
    assert_eq!(ran.take(), ["first", "second", "the thread itself"], "S174");
}

fn queueing_runs_nothing(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        queue_apc(&ran, "by itself");
        let own = this_thread();
        elsewhere(|| queue_user_apc(&own, ran.apc("by another")).expect("it is alive"));
        assert!(ran.is_empty(), "S174");
        run();
        assert_eq!(ran.take(), ["by itself", "by another"]);
    });
}

fn blocking_calls_run_them_while_they_wait(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let (listener, address) = listener();
        let listener = OverlappedSocket::from(listener);
        // Nobody is there before the call has run.
        let log = ran.clone();
        let (keep, kept) = std::sync::mpsc::channel();
        let call = move || {
            log.add("in the accept");
            keep.send(dial(address)).expect("kept");
        };
        queue_user_apc(&this_thread(), call).expect("it is alive");
        listener.accept().expect("S175: it goes on waiting");
        assert_eq!(ran.take(), ["in the accept"], "S175");
        drop(kept);
    });
}

fn blocking_calls_that_need_not_wait_run_none(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let (listener, address): (TcpListener, _) = listener();
        let listener = OverlappedSocket::from(listener);
        let (mut there, mut client) = overlapped_with(b"there");
        client.write_all(b" too").expect("written");
        let _client = dial(address);
        queue_apc(&ran, "queued");
        listener.accept().expect("somebody is there");
        std::io::Read::read_exact(&mut there, &mut [0; 5]).expect("something is there");
        assert!(ran.is_empty(), "S175");
        run();
    });
}

fn they_are_told_what_became_of_the_operation(driver: DriverKind) {
    on_a_thread(driver, || {
        let told: Log<Done> = Log::default();
        let (socket, mut client) = overlapped();
        let mut begun = Buffer::with_capacity(16);
        begun.extend_from_slice(b"and ");
        socket.recv(begun, told.keep()).expect("started");
        client.write_all(b"more").expect("written");
        run();
        let done = only(&told);
        assert_eq!((done.result.expect("S176"), &done.buffer[..]), (4, &b"and more"[..]));
        assert!(done.socket == socket, "S176");
        socket.recv(room(7), told.keep()).expect("started");
        elsewhere(|| reset(client));
        run();
        let done = only(&told);
        assert_eq!(situation(&done.result), Some(Situation::PeerReset), "S176");
        assert!(done.buffer.capacity() >= 7 && done.socket == socket, "S176");
    });
}

fn what_is_queued_can_be_run_without_a_wait(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        nothing_runs();
        queue_apc(&ran, "one");
        queue_apc(&ran, "two");
        let woken = sleep_ex(Duration::ZERO, true).expect("the driver works");
        assert_eq!((woken, ran.take()), (Woken::IoCompletion, vec!["one", "two"]), "S177");
        let (socket, _client) = overlapped_with(b"there");
        socket.recv(room(8), ran.routine("received")).expect("started");
        until("it is queued", || {
            sleep_ex(Duration::ZERO, true).expect("the driver works") == Woken::IoCompletion
        });
        assert_eq!(ran.take(), ["received"], "S177");
        nothing_runs();
    });
}
