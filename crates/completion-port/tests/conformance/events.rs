//! Events and results: operations that end in neither a packet nor a routine.

use std::{io::ErrorKind, io::Write, time::Duration};

use completion_port::{
    DriverKind,
    error::Situation,
    event::Event,
    routine::{Incomplete, Why, queue_user_apc},
};

use crate::{
    kit::{PATIENCE, reset, room, situation, with},
    routine_kit::{
        Log, elsewhere, nothing_runs, on_a_thread, overlapped, overlapped_with, queue_apc, run,
        this_thread,
    },
};

conformance! {
    a_start_resets_the_event [S70]
        "starting an operation resets its event, and the end of the operation sets it";
    a_refused_start_leaves_the_event_alone [S70]
        "a start that is refused, on a closed socket for one, leaves the event signaled";
    a_routine_leaves_events_alone [S72]
        "an operation with a routine sets and resets no event";
    at_the_start_it_is_pending [S73]
        "right after the start an operation that cannot be over has no result, and says that it is pending";
    at_the_end_the_result_is_the_bytes_moved [S75]
        "the result of an operation that is over is the number of bytes moved, and the bytes are there";
    whether_it_is_over_can_be_asked [S76]
        "an operation is not completed before its end, and completed after it";
    a_result_that_is_not_there_is_incomplete [S77]
        "asked for without a wait, the result of a pending operation is incomplete, and the operation goes on";
    a_result_needs_no_socket [S79]
        "the result of an operation that is over can be had when socket and event are gone";
    a_failure_is_a_result [S80]
        "a failed operation's result is its error, with the buffer";
    a_result_with_no_time_is_incomplete [S81]
        "an alertable request for a result with no time says incomplete, and runs no call that is queued";
    a_result_with_a_time_times_out [S81]
        "a request for a result with a time says that the time is up, and the operation goes on";
    a_result_that_is_waited_for_alertably_is_alerted [S81]
        "an alertable request for a result ends when a call has run, and the operation goes on";
    a_result_is_waited_for_and_nothing_runs [S83]
        "a plain wait for a result runs no call that is queued";
}

#[track_caller]
fn is_signaled(event: &Event) -> bool {
    event.wait(Some(Duration::ZERO)).expect("the driver works")
}

#[track_caller]
fn released(event: &Event) {
    assert!(event.wait(Some(PATIENCE)).expect("the driver works"), "in vain");
}

fn a_start_resets_the_event(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, mut client) = overlapped();
        let event = Event::manual_reset(true);
        let started = server.with_event(&event).recv(room(8)).expect("started");
        assert!(!is_signaled(&event), "S70");
        client.write_all(b"hello").expect("written");
        released(&event);
        assert_eq!(started.result().expect("over").result.expect("a success"), 5);
        let again = server.with_event(&event).recv(room(8)).expect("started");
        assert!(!is_signaled(&event), "S70");
        drop(again);
    });
}

fn a_refused_start_leaves_the_event_alone(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, _client) = overlapped();
        let event = Event::manual_reset(true);
        server.with_event(&event).recv(with(b"full")).expect_err("it has no room");
        server.close();
        let refused = server.with_event(&event).recv(room(7)).expect_err("it is closed");
        assert_eq!(refused.error.kind(), ErrorKind::NotConnected);
        assert!(is_signaled(&event), "S70");
    });
}

fn a_routine_leaves_events_alone(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, mut client) = overlapped_with(b"x");
        let [set, unset] = [true, false].map(Event::manual_reset);
        let ran = Log::default();
        // They have been this socket's.
        for event in [&set, &unset] {
            let started = server.with_event(event).send(with(b"x")).expect("started");
            started.wait().expect("over");
        }
        unset.reset();
        server.recv(room(1), ran.routine("there")).expect("started");
        run();
        server.recv(room(1), ran.routine("later")).expect("started");
        client.write_all(b"x").expect("written");
        run();
        assert_eq!(ran.take(), ["there", "later"]);
        assert!(is_signaled(&set) && !is_signaled(&unset), "S72");
    });
}

fn at_the_start_it_is_pending(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, _client) = overlapped();
        let event = Event::manual_reset(false);
        let started = server.with_event(&event).recv(room(8)).expect("started");
        let incomplete = started.result().expect_err("nothing was sent");
        assert!(matches!(incomplete.why, Why::Pending), "{incomplete:?}");
    });
}

fn at_the_end_the_result_is_the_bytes_moved(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, _client) = overlapped_with(b"seventy-five");
        let event = Event::manual_reset(false);
        let started = server.with_event(&event).recv(room(64)).expect("started");
        released(&event);
        let done = started.result().expect("over");
        assert_eq!(done.result.expect("a success"), 12);
        assert_eq!((&done.buffer[..], done.socket == server), (&b"seventy-five"[..], true));
    });
}

fn whether_it_is_over_can_be_asked(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, mut client) = overlapped();
        let event = Event::manual_reset(false);
        let started = server.with_event(&event).recv(room(8)).expect("started");
        assert!(!started.is_completed(), "S76");
        client.write_all(b"x").expect("written");
        released(&event);
        assert!(started.is_completed(), "S76");
        assert_eq!(started.result().expect("over").result.expect("a success"), 1);
    });
}

fn a_result_that_is_not_there_is_incomplete(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, mut client) = overlapped();
        let event = Event::manual_reset(false);
        let mut started = server.with_event(&event).recv(room(4)).expect("started");
        for _ in 0..3 {
            let Incomplete { overlapped, why } = started.result().expect_err("nothing was sent");
            assert!(matches!(why, Why::Pending), "S77: {why:?}");
            started = overlapped;
        }
        client.write_all(b"four").expect("written");
        assert_eq!(&started.wait().expect("over").buffer[..], b"four");
    });
}

fn a_result_needs_no_socket(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, _client) = overlapped_with(b"x");
        let event = Event::manual_reset(false);
        let started = server.with_event(&event).recv(room(8)).expect("started");
        released(&event);
        server.close();
        drop((server, event));
        assert_eq!(&started.result().expect("S79").buffer[..], b"x");
    });
}

fn a_failure_is_a_result(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, client) = overlapped();
        let event = Event::manual_reset(false);
        let started = server.with_event(&event).recv(room(4)).expect("started");
        elsewhere(|| reset(client));
        released(&event);
        let done = started.result().expect("it is over");
        assert_eq!(situation(&done.result), Some(Situation::PeerReset), "S80");
        assert!(done.buffer.is_empty() && done.buffer.capacity() >= 4);
    });
}

fn a_result_with_no_time_is_incomplete(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, _client) = overlapped();
        let event = Event::manual_reset(false);
        let ran = Log::default();
        let started = server.with_event(&event).recv(room(4)).expect("started");
        queue_apc(&ran, "queued");
        let incomplete = started.wait_ex(Some(Duration::ZERO), true).expect_err("nothing was sent");
        assert!(matches!(incomplete.why, Why::Pending), "S81: {incomplete:?}");
        assert!(ran.is_empty(), "S81");
        run();
    });
}

fn a_result_with_a_time_times_out(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, mut client) = overlapped();
        let event = Event::manual_reset(false);
        let mut started = server.with_event(&event).recv(room(4)).expect("started");
        for alertable in [false, true] {
            let waited = started.wait_ex(Some(Duration::from_millis(5)), alertable);
            let Incomplete { overlapped, why } = waited.expect_err("nothing was sent");
            assert!(matches!(why, Why::TimedOut), "S81: {why:?}");
            started = overlapped;
        }
        client.write_all(b"four").expect("written");
        assert_eq!(&started.wait().expect("over").buffer[..], b"four");
    });
}

fn a_result_that_is_waited_for_alertably_is_alerted(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, mut client) = overlapped();
        let event = Event::manual_reset(false);
        let ran = Log::default();
        let started = server.with_event(&event).recv(room(4)).expect("started");
        queue_apc(&ran, "queued");
        let waited = started.wait_ex(Some(PATIENCE), true);
        let Incomplete { overlapped, why } = waited.expect_err("nothing was sent");
        assert!(matches!(why, Why::Alerted), "S81: {why:?}");
        assert_eq!(ran.take(), ["queued"]);
        client.write_all(b"four").expect("written");
        assert_eq!(&overlapped.wait_ex(None, true).expect("over").buffer[..], b"four");
    });
}

fn a_result_is_waited_for_and_nothing_runs(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, mut client) = overlapped();
        let event = Event::manual_reset(false);
        let ran = Log::default();
        let own = this_thread();
        let started = server.with_event(&event).recv(room(4)).expect("started");
        std::thread::scope(|s| {
            s.spawn(|| {
                queue_user_apc(&own, ran.apc("queued")).expect("it is alive");
                client.write_all(b"four").expect("written");
            });
            assert_eq!(&started.wait().expect("over").buffer[..], b"four");
        });
        assert!(ran.is_empty(), "S83");
        run();
        assert_eq!(ran.take(), ["queued"]);
        nothing_runs();
    });
}
