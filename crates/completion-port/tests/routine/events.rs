//! Alertable and other waits for events, of threads that have a driver.

use std::{
    io::Write,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use completion_port::{
    DriverKind,
    event::{Event, Waited, Which},
    routine::{current, queue_user_apc, wait_ex},
};

use crate::{
    kit::{Log, nothing_runs, on_a_thread, pair, pair_with, room, run},
    util::PATIENCE,
};

crate::on_each_driver!(
    routines_come_before_an_event_that_is_signaled,
    a_routine_that_signals_the_event_ends_the_wait_all_the_same,
    an_alertable_wait_for_several_takes_none_if_routines_ran,
    io_that_ends_meanwhile_ends_an_alertable_wait,
    nothing_runs_in_a_wait_that_is_not_alertable,
    another_thread_ends_the_wait,
    a_wait_in_a_routine,
    a_time_out,
    a_panic_in_a_routine_leaves_the_event_alone,
);

const ANY: Which = Which::Any;

#[track_caller]
fn wait(event: &Event, alertable: bool) -> Waited {
    wait_ex(&[event], ANY, Some(PATIENCE), alertable).expect("the driver works")
}

/// S169: for I/O that is over, and for an APC.
fn routines_come_before_an_event_that_is_signaled(kind: DriverKind) {
    on_a_thread(kind, || {
        let ran = Log::default();
        let event = Event::auto_reset(true);
        queue_user_apc(&current().expect("a thread"), ran.apc("apc")).expect("queued");
        assert_eq!((wait(&event, true), ran.take()), (Waited::IoCompletion, vec!["apc"]));

        let (there, _client) = pair_with(b"there");
        there.recv(room(5), ran.routine("recv")).expect("started");
        assert_eq!((wait(&event, true), ran.take()), (Waited::IoCompletion, vec!["recv"]));

        assert_eq!(wait(&event, true), Waited::Signaled(0));
        let again = wait_ex(&[&event], ANY, Some(Duration::ZERO), true);
        assert_eq!(again.expect("the driver works"), Waited::TimedOut, "it was taken");
    });
}

/// S171: whether it had begun to wait by then or not.
fn a_routine_that_signals_the_event_ends_the_wait_all_the_same(kind: DriverKind) {
    on_a_thread(kind, || {
        let event = Event::auto_reset(false);
        let set = || {
            let event = event.clone();
            move || event.set()
        };
        let me = current().expect("a thread");
        queue_user_apc(&me, set()).expect("queued");
        assert_eq!(wait(&event, true), Waited::IoCompletion);
        assert_eq!(wait(&event, true), Waited::Signaled(0));

        let (coming, mut client) = pair();
        let set = set();
        coming.recv(room(1), move |_| set()).expect("started");
        thread::scope(|s| {
            s.spawn(|| client.write_all(b"x").expect("written"));
            assert_eq!(wait(&event, true), Waited::IoCompletion);
        });
        assert_eq!(wait(&event, true), Waited::Signaled(0));
    });
}

/// S172.
fn an_alertable_wait_for_several_takes_none_if_routines_ran(kind: DriverKind) {
    on_a_thread(kind, || {
        let events = [(); 3].map(|()| Event::auto_reset(true));
        let list: Vec<_> = events.iter().collect();
        for (which, expected) in [(Which::All, 0), (Which::Any, 0)] {
            let ran = Log::default();
            queue_user_apc(&current().expect("a thread"), ran.apc(())).expect("queued");
            let waited = || wait_ex(&list, which, Some(PATIENCE), true).expect("the driver works");
            assert_eq!((waited(), ran.len()), (Waited::IoCompletion, 1));
            assert_eq!(waited(), Waited::Signaled(expected));
            events.iter().for_each(Event::set);
        }
    });
}

fn io_that_ends_meanwhile_ends_an_alertable_wait(kind: DriverKind) {
    on_a_thread(kind, || {
        let ran = Log::default();
        let event = Event::manual_reset(false);
        let (coming, mut client) = pair();
        coming.recv(room(4), ran.routine("recv")).expect("started");
        // The second is started when the first is over: in the wait, too.
        coming.recv(room(4), ran.routine("recv again")).expect("started");
        thread::scope(|s| {
            s.spawn(|| client.write_all(b"four").expect("written"));
            assert_eq!((wait(&event, true), ran.take()), (Waited::IoCompletion, vec!["recv"]));
        });
        event.set();
        assert_eq!((wait(&event, true), ran.len()), (Waited::Signaled(0), 0));
        client.write_all(b"more").expect("written");
        run();
        assert_eq!(ran.take(), ["recv again"]);
    });
}

/// S32, S164: what is queued stays queued, and the wait goes on to its event.
fn nothing_runs_in_a_wait_that_is_not_alertable(kind: DriverKind) {
    on_a_thread(kind, || {
        let ran = Log::default();
        let event = Event::auto_reset(false);
        let (there, _client) = pair_with(b"there");
        there.recv(room(5), ran.routine("recv")).expect("started");
        queue_user_apc(&current().expect("a thread"), ran.apc("apc")).expect("queued");
        thread::scope(|s| {
            s.spawn(|| event.set());
            assert_eq!((wait(&event, false), ran.len()), (Waited::Signaled(0), 0));
        });
        assert!(!event.wait(Some(Duration::from_millis(2))).expect("the driver works"));
        assert!(ran.is_empty());
        run();
        assert_eq!(ran.len(), 2);
        nothing_runs();
    });
}

fn another_thread_ends_the_wait(kind: DriverKind) {
    let (here, there) = (Event::auto_reset(false), Event::auto_reset(false));
    const TIMES: usize = 300;
    thread::scope(|s| {
        let (here, there) = (&here, &there);
        s.spawn(move || {
            for _ in 0..TIMES {
                assert!(there.wait(Some(PATIENCE)).expect("a wait"), "in vain");
                here.set();
            }
        });
        s.spawn(move || {
            on_a_thread(kind, || {
                let _name = current().expect("a thread");
                for time in 0..TIMES {
                    there.set();
                    assert_eq!(wait(here, time % 2 == 0), Waited::Signaled(0));
                }
            });
        });
    });
}

/// S173.
fn a_wait_in_a_routine(kind: DriverKind) {
    on_a_thread(kind, || {
        let ran = Log::default();
        let event = Event::auto_reset(false);
        let (there, _client) = pair_with(b"there");
        let inner = {
            let (ran, event) = (ran.clone(), event.clone());
            move |_| {
                queue_user_apc(&current().expect("a thread"), ran.apc("apc")).expect("queued");
                assert_eq!(wait(&event, true), Waited::IoCompletion);
                ran.add("routine");
                event.set();
            }
        };
        there.recv(room(5), inner).expect("started");
        assert_eq!(wait(&event, true), Waited::IoCompletion);
        assert_eq!(ran.take(), ["apc", "routine"]);
        assert_eq!(wait(&event, true), Waited::Signaled(0));
    });
}

fn a_time_out(kind: DriverKind) {
    on_a_thread(kind, || {
        let _name = current().expect("a thread");
        let event = Event::auto_reset(false);
        for alertable in [false, true] {
            let begun = Instant::now();
            let time = Duration::from_millis(20);
            let waited = wait_ex(&[&event], ANY, Some(time), alertable);
            assert_eq!(waited.expect("the driver works"), Waited::TimedOut);
            assert!(begun.elapsed() >= time);
            // Who has given up is not given what is signaled next.
            event.set();
            assert_eq!(wait(&event, alertable), Waited::Signaled(0));
        }
    });
}

fn a_panic_in_a_routine_leaves_the_event_alone(kind: DriverKind) {
    on_a_thread(kind, || {
        let event = Event::auto_reset(false);
        let (coming, mut client) = pair();
        let (tell, told) = mpsc::channel();
        let signaled = event.clone();
        let routine = move |_| {
            signaled.set();
            tell.send(()).expect("heard");
            panic!("as planned");
        };
        coming.recv(room(1), routine).expect("started");
        client.write_all(b"x").expect("written");
        let wait_on = std::panic::AssertUnwindSafe(|| wait(&event, true));
        std::panic::catch_unwind(wait_on).expect_err("the panic comes out of the wait");
        told.try_recv().expect("it ran");
        assert_eq!(wait(&event, true), Waited::Signaled(0));
    });
}
