//! Operations with an event: when it is signaled, and how the result is had.

use std::{
    cell::RefCell,
    io::{ErrorKind, Read, Write},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use completion_port::{
    Buffer, DriverKind,
    error::Situation,
    event::{Event, Waited, Which, wait_all, wait_any},
    routine::{
        Done, Incomplete, Overlapped, OverlappedSocket, Why, Woken, current, queue_user_apc,
        sleep_ex, wait_ex,
    },
};

use crate::{
    kit::{Log, drive_by, elsewhere, nothing_runs, on_a_thread, pair, pair_with, room, run},
    util::{PATIENCE, assert_same, connection, open, pattern, situation, until},
};

crate::on_each_driver!(
    a_start_resets_the_event_and_the_end_sets_it,
    an_operation_that_is_over_at_once_has_set_its_event,
    a_refused_start_leaves_the_event_alone,
    an_operation_with_a_routine_leaves_events_alone,
    there_is_no_result_before_the_end_whatever_the_event_says,
    a_failure_is_a_result,
    a_result_waits,
    a_result_with_a_timeout,
    a_result_that_is_waited_for_alertably,
    a_result_is_waited_for_and_nothing_runs,
    every_kind_of_operation,
    several_in_order,
    any_of_many,
    all_of_two,
    any_wait_of_the_thread_sets_the_event,
    cancelled,
    dropped_while_pending,
    dropped_while_pending_is_not_heard_of,
    closed,
    of_a_thread_that_has_ended,
    another_thread_waits_for_the_event,
    of_a_socket_that_has_a_port,
    an_echo_of_much,
);

#[track_caller]
fn is_signaled(event: &Event) -> bool {
    event.wait(Some(Duration::ZERO)).expect("the driver works")
}

#[track_caller]
fn released(event: &Event) {
    assert!(event.wait(Some(PATIENCE)).expect("the driver works"), "in vain");
}

#[track_caller]
fn moved(done: Result<Done, Incomplete>) -> usize {
    done.expect("over").result.expect("a success")
}

/// S70, S68: the way of the notes, from the start to the result.
fn a_start_resets_the_event_and_the_end_sets_it(kind: DriverKind) {
    on_a_thread(kind, || {
        let (server, mut client) = pair();
        let event = Event::manual_reset(true);
        let overlapped = server.with_event(&event).recv(room(64)).expect("started");
        assert!(!is_signaled(&event));
        client.write_all(b"hello").expect("written");
        released(&event);
        assert!(is_signaled(&event), "it stays");
        let done = overlapped.result().expect("over");
        assert_eq!((done.result.expect("received"), &done.buffer[..]), (5, &b"hello"[..]));
        assert!(done.socket == server);
    });
}

/// S73-S76, in the shape that they have here.
fn an_operation_that_is_over_at_once_has_set_its_event(kind: DriverKind) {
    on_a_thread(kind, || {
        let (server, mut client) = pair();
        let event = Event::auto_reset(false);
        let sent = server.with_event(&event).send(b"room is there".to_vec().into());
        let overlapped = sent.expect("started");
        // No wait between, by this thread: another one looks.
        let before = elsewhere(|| is_signaled(&event));
        assert!(before && overlapped.is_completed());
        assert_eq!(moved(overlapped.result()), 13);
        client.read_exact(&mut [0; 13]).expect("sent");
    });
}

/// S70, S61: what never started has no event.
fn a_refused_start_leaves_the_event_alone(kind: DriverKind) {
    on_a_thread(kind, || {
        let (server, _client) = pair();
        let event = Event::manual_reset(true);
        let refused = server.with_event(&event).recv(Buffer::from(b"full".to_vec())).unwrap_err();
        assert_eq!(
            (refused.error.kind(), &refused.buffer[..]),
            (ErrorKind::InvalidInput, &b"full"[..])
        );
        server.close();
        let refused = server.with_event(&event).recv(room(7)).unwrap_err();
        assert_eq!((refused.error.kind(), refused.buffer.spare()), (ErrorKind::NotConnected, 7));
        let refused = server.with_event(&event).send_vectored(vec![b"two".to_vec().into()]);
        assert_eq!(refused.unwrap_err().buffer.len(), 1);
        assert!(is_signaled(&event));
    });
}

/// S72.
fn an_operation_with_a_routine_leaves_events_alone(kind: DriverKind) {
    on_a_thread(kind, || {
        let (server, _client) = pair_with(b"x");
        let (set, unset) = (Event::manual_reset(true), Event::manual_reset(false));
        let ran = Log::default();
        server.recv(room(1), ran.routine(())).expect("started");
        run();
        assert!(ran.len() == 1 && is_signaled(&set) && !is_signaled(&unset));
    });
}

/// S77, and S78 kept differently.
fn there_is_no_result_before_the_end_whatever_the_event_says(kind: DriverKind) {
    on_a_thread(kind, || {
        let (server, mut client) = pair();
        let event = Event::manual_reset(false);
        let overlapped = server.with_event(&event).recv(room(4)).expect("started");
        event.set();
        let Incomplete { overlapped, why } = overlapped.result().expect_err("nothing was sent");
        assert!(matches!(why, Why::Pending) && !overlapped.is_completed());
        client.write_all(b"four").expect("written");
        assert_eq!(moved(overlapped.wait()), 4);

        let overlapped = server.with_event(&event).recv(room(4)).expect("started");
        let error = std::io::Error::from(overlapped.result().expect_err("nothing was sent"));
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

/// S80.
fn a_failure_is_a_result(kind: DriverKind) {
    on_a_thread(kind, || {
        let (server, client) = pair();
        let event = Event::manual_reset(false);
        let overlapped = server.with_event(&event).recv(room(4)).expect("started");
        crate::util::reset(client);
        released(&event);
        let done = overlapped.result().expect("over");
        assert_eq!(situation(&done.result), Some(Situation::PeerReset));
        assert_eq!(done.buffer.spare(), 4, "the buffer comes back");
    });
}

/// S78: for an end that comes later, and one that was there (S79: nothing is waited for then).
fn a_result_waits(kind: DriverKind) {
    on_a_thread(kind, || {
        let (server, mut client) = pair();
        let event = Event::auto_reset(false);
        let overlapped = server.with_event(&event).recv(room(4)).expect("started");
        thread::scope(|s| {
            s.spawn(|| client.write_all(b"four").expect("written"));
            assert_eq!(moved(overlapped.wait()), 4);
        });
        assert!(is_signaled(&event), "the end has set it, and the result has not taken it");
        let overlapped = server.with_event(&event).send(b"back".to_vec().into()).expect("started");
        assert_eq!(moved(overlapped.wait()), 4);
    });
}

/// S81.
fn a_result_with_a_timeout(kind: DriverKind) {
    on_a_thread(kind, || {
        let (server, mut client) = pair();
        let event = Event::manual_reset(false);
        let mut overlapped = server.with_event(&event).recv(room(4)).expect("started");
        for alertable in [false, true] {
            let begun = Instant::now();
            let time = Duration::from_millis(20);
            let incomplete =
                overlapped.wait_ex(Some(time), alertable).expect_err("nothing was sent");
            assert!(matches!(incomplete.why, Why::TimedOut) && begun.elapsed() >= time);
            overlapped = incomplete.overlapped;
        }
        client.write_all(b"four").expect("written");
        assert_eq!(moved(overlapped.wait_ex(Some(PATIENCE), true)), 4);
    });
}

/// S81: routines end it, but not if it only asks; and not if there is a result.
fn a_result_that_is_waited_for_alertably(kind: DriverKind) {
    on_a_thread(kind, || {
        let (server, mut client) = pair();
        let event = Event::manual_reset(false);
        let ran = Log::default();
        let overlapped = server.with_event(&event).recv(room(4)).expect("started");
        let me = current().expect("a thread");
        queue_user_apc(&me, ran.apc("first")).expect("queued");
        let Incomplete { overlapped, why } =
            overlapped.wait_ex(Some(Duration::ZERO), true).expect_err("nothing was sent");
        assert!(matches!(why, Why::Pending) && ran.is_empty());
        let Incomplete { overlapped, why } =
            overlapped.wait_ex(None, true).expect_err("nothing was sent");
        assert!(matches!(why, Why::Alerted));
        assert_eq!(ran.take(), ["first"]);
        client.write_all(b"four").expect("written");
        until("it is over", || overlapped.is_completed());
        queue_user_apc(&me, ran.apc("second")).expect("queued");
        assert_eq!((moved(overlapped.wait_ex(None, true)), ran.len()), (4, 0));
        run();
        assert_eq!(ran.take(), ["second"]);
    });
}

/// S83.
fn a_result_is_waited_for_and_nothing_runs(kind: DriverKind) {
    on_a_thread(kind, || {
        let (server, mut client) = pair();
        let (there, _other) = pair_with(b"there");
        let event = Event::manual_reset(false);
        let ran = Log::default();
        there.recv(room(5), ran.routine("recv")).expect("started");
        queue_user_apc(&current().expect("a thread"), ran.apc("apc")).expect("queued");
        let overlapped = server.with_event(&event).recv(room(4)).expect("started");
        thread::scope(|s| {
            s.spawn(|| client.write_all(b"four").expect("written"));
            assert_eq!((moved(overlapped.wait()), ran.len()), (4, 0));
        });
        run();
        assert_eq!(ran.len(), 2);
        nothing_runs();
    });
}

fn every_kind_of_operation(kind: DriverKind) {
    on_a_thread(kind, || {
        let (server, mut client) = pair();
        let event = Event::auto_reset(false);
        let with_event = server.with_event(&event);
        let parts = vec![Buffer::from(b"head, ".to_vec()), Buffer::from(b"body".to_vec())];
        let done = with_event.send_vectored(parts).expect("started").wait().expect("over");
        assert_eq!((done.buffers.len(), done.result.expect("sent")), (2, 10));
        let mut read = [0; 10];
        client.read_exact(&mut read).expect("sent");
        assert_eq!(&read, b"head, body");

        let overlapped = with_event.recv_lent().expect("started");
        client.write_all(b"lent").expect("written");
        let done = overlapped.wait().expect("over");
        assert_eq!((&done.buffer[..], done.buffer.is_lent()), (&b"lent"[..], true));

        let overlapped = with_event.recv(room(1)).expect("started");
        drop(client);
        assert_eq!(moved(overlapped.wait()), 0, "the end of the stream");

        let (server, mut client) = pair_with(b"unread");
        let sent = server.with_event(&event).send(b"goodbye".to_vec().into()).expect("started");
        let ended = server.with_event(&event).end(PATIENCE).expect("started");
        assert_eq!(moved(sent.wait()), 7);
        let mut read = String::new();
        client.read_to_string(&mut read).expect("and no reset");
        drop(client);
        assert_eq!((read.as_str(), moved(ended.wait())), ("goodbye", 6));
        assert!(is_signaled(&event));
        // The peer stays, and time passes in the wait for the result.
        let (server, _client) = pair();
        let ended = server.with_event(&event).end(Duration::from_millis(5)).expect("started");
        let done = ended.wait().expect("over");
        assert_eq!(situation(&done.result), Some(Situation::TimedOut));
    });
}

/// S115, S116: started together, each with an event of its own, and asked for in the wrong order.
fn several_in_order(kind: DriverKind) {
    on_a_thread(kind, || {
        let (server, mut client) = pair();
        let events = [(); 4].map(|()| Event::manual_reset(false));
        let start = |event: &Event| server.with_event(event).recv(room(10)).expect("started");
        let mut receives: Vec<_> = events.iter().map(start).collect();
        thread::scope(|s| {
            s.spawn(|| client.write_all(&pattern(0, 40)).expect("written"));
            let mut received = Vec::new();
            // A receive may end with less than it has room for.
            let last = receives.pop().expect("four").wait().expect("over");
            for overlapped in receives {
                let done = overlapped.result().expect("those before it were over before");
                received.extend_from_slice(&done.buffer);
            }
            received.extend_from_slice(&last.buffer);
            assert_same(&received, &pattern(0, received.len()), "the bytes");
            assert!(events.iter().all(is_signaled));
        });
    });
}

/// More than the 64 of Windows: a hundred receives, and who has something to say is told by its place in the list.
fn any_of_many(kind: DriverKind) {
    on_a_thread(kind, || {
        let (sockets, mut clients): (Vec<_>, Vec<_>) = (0..100).map(|_| pair()).unzip();
        let events: Vec<_> = sockets.iter().map(|_| Event::manual_reset(false)).collect();
        let start = |(socket, event): (&OverlappedSocket, &Event)| {
            Some(socket.with_event(event).recv(room(8)).expect("started"))
        };
        let mut receives: Vec<_> = sockets.iter().zip(&events).map(start).collect();
        let list: Vec<_> = events.iter().collect();
        for at in [70, 3, 99, 0, 70, 64] {
            clients[at].write_all(b"it is me").expect("written");
            assert_eq!(wait_any(&list, Some(PATIENCE)).expect("the driver works"), Some(at));
            assert_eq!(moved(receives[at].take().expect("started").result()), 8);
            receives[at] = start((&sockets[at], &events[at]));
        }
        assert_eq!(wait_any(&list, Some(Duration::ZERO)).expect("the driver works"), None);
    });
}

fn all_of_two(kind: DriverKind) {
    on_a_thread(kind, || {
        let pairs = [(); 2].map(|()| pair());
        let events = [(); 2].map(|()| Event::auto_reset(false));
        let [first, second] =
            [0, 1].map(|at| pairs[at].0.with_event(&events[at]).recv(room(1)).expect("started"));
        let both = [&events[0], &events[1]];
        (&pairs[1].1).write_all(b"2").expect("written");
        until("one is over", || second.is_completed());
        assert!(!wait_all(&both, Some(Duration::ZERO)).expect("the driver works"));
        (&pairs[0].1).write_all(b"1").expect("written");
        assert!(wait_all(&both, Some(PATIENCE)).expect("the driver works"));
        assert_eq!((moved(first.result()), moved(second.result())), (1, 1));
    });
}

/// Whatever the thread waits for meanwhile: another event, the result of another operation, a time, a packet.
fn any_wait_of_the_thread_sets_the_event(kind: DriverKind) {
    on_a_thread(kind, || {
        let port = open::<(), ()>(kind);
        let other = Event::auto_reset(false);
        let waits: [(&str, &dyn Fn()); 5] = [
            ("for an event", &|| _ = is_signaled(&other)),
            ("alertably for an event", &|| {
                let waited = wait_ex(&[&other], Which::Any, Some(Duration::ZERO), true);
                assert_eq!(waited.expect("the driver works"), Waited::TimedOut);
            }),
            ("for a time, alertably", &|| {
                assert_eq!(
                    sleep_ex(Duration::ZERO, true).expect("the driver works"),
                    Woken::TimedOut
                );
            }),
            ("for a packet, alertably", &|| {
                port.get_alertable(Some(Duration::from_millis(1))).expect_err("there is none");
            }),
            ("for a result", &|| {
                let (silent, _client) = pair();
                let overlapped = silent.with_event(&other).recv(room(1)).expect("started");
                drop(overlapped.result().expect_err("nothing was sent"));
            }),
        ];
        for (what, wait) in waits {
            let (server, mut client) = pair();
            let event = Event::manual_reset(false);
            let overlapped = server.with_event(&event).recv(room(4)).expect("started");
            client.write_all(b"four").expect("written");
            until(what, || {
                wait();
                // By another thread, which brings nothing in.
                elsewhere(|| is_signaled(&event))
            });
            assert_eq!(moved(overlapped.result()), 4);
        }
    });
}

/// S85, S88, S89.
fn cancelled(kind: DriverKind) {
    on_a_thread(kind, || {
        let (server, _client) = pair();
        let event = Event::manual_reset(false);
        let first = server.with_event(&event).recv(room(4)).expect("started");
        let second = server.with_event(&Event::manual_reset(false)).recv(room(5)).expect("started");
        assert!(second.cancel() && !second.cancel());
        assert!(server.cancel(first.id()));
        released(&event);
        for (overlapped, spare) in [(first, 4), (second, 5)] {
            let done = overlapped.wait().expect("over");
            assert_eq!(situation(&done.result), Some(Situation::Cancelled));
            assert_eq!(done.buffer.spare(), spare);
        }
    });
}

/// The operation is cancelled: its buffer is freed when the system has done with it, and what comes next goes to who receives next.
fn dropped_while_pending(kind: DriverKind) {
    on_a_thread(kind, || {
        let (server, mut client) = pair();
        let event = Event::auto_reset(false);
        for _ in 0..50 {
            drop(server.with_event(&event).recv(room(64 << 10)).expect("started"));
        }
        let overlapped = server.with_event(&event).recv(room(64)).expect("started");
        client.write_all(b"for the last").expect("written");
        assert_eq!(&overlapped.wait().expect("over").buffer[..], b"for the last");
        // A send whose buffer the system reads from.
        let bytes: Arc<[u8]> = pattern(0, 32 << 20).into();
        drop(server.with_event(&event).send(bytes.clone().into()).expect("started"));
        drop(client);
        until("the buffer is free", || {
            is_signaled(&event);
            Arc::strong_count(&bytes) == 1
        });
    });
}

fn dropped_while_pending_is_not_heard_of(kind: DriverKind) {
    on_a_thread(kind, || {
        let (server, _client) = pair();
        let event = Event::manual_reset(false);
        let bytes: Arc<[u8]> = vec![0; 8 << 20].into();
        drop(server.with_event(&event).send(bytes.clone().into()).expect("started"));
        until("it is over", || {
            sleep_ex(Duration::ZERO, true).expect("the driver works");
            Arc::strong_count(&bytes) == 1
        });
        assert!(!is_signaled(&event));
    });
}

/// S93, S95.
fn closed(kind: DriverKind) {
    on_a_thread(kind, || {
        let (server, _client) = pair();
        let event = Event::manual_reset(false);
        let overlapped = server.with_event(&event).recv(room(4)).expect("started");
        elsewhere(|| server.close());
        released(&event);
        let done = overlapped.result().expect("over");
        assert_eq!(situation(&done.result), Some(Situation::LocalClose));
    });
}

/// What a thread does last of all, when its driver is gone: asks for a result.
struct AskLast(Option<Overlapped>, mpsc::Sender<Option<Situation>>);

impl Drop for AskLast {
    fn drop(&mut self) {
        if let Some(Ok(done)) = self.0.take().map(Overlapped::result) {
            let _ = self.1.send(situation(&done.result));
        }
    }
}

thread_local! {
    static LAST: RefCell<Option<AskLast>> = const { RefCell::new(None) };
}

/// S105: it is cancelled, whoever waits for the event is released, and there is a result.
fn of_a_thread_that_has_ended(kind: DriverKind) {
    let event = Event::manual_reset(false);
    let (server, mut client) = pair();
    let (tell, told) = mpsc::channel();
    elsewhere(|| {
        // Before the thread has a driver, which is dropped first then.
        LAST.with(|last| assert!(last.borrow().is_none()));
        drive_by(kind);
        let overlapped = server.with_event(&event).recv(room(4)).expect("started");
        LAST.set(Some(AskLast(Some(overlapped), tell)));
    });
    released(&event);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Some(Situation::Cancelled)));
    client.write_all(b"four").expect("written");
    on_a_thread(kind, || {
        let overlapped = server.with_event(&event).recv(room(4)).expect("started");
        assert_eq!(moved(overlapped.wait()), 4, "nobody else has taken it");
    });
}

/// It is released when the thread that started the operation waits for something else.
fn another_thread_waits_for_the_event(kind: DriverKind) {
    let event = Event::auto_reset(false);
    let (server, mut client) = pair();
    thread::scope(|s| {
        let (tell, told) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let (event, server) = (&event, &server);
        s.spawn(move || {
            drive_by(kind);
            let overlapped = server.with_event(event).recv(room(4)).expect("started");
            ready.send(()).expect("heard");
            until("the other thread was released", || {
                sleep_ex(Duration::ZERO, true).expect("the driver works");
                told.try_recv().is_ok()
            });
            assert_eq!(moved(overlapped.result()), 4);
        });
        is_ready.recv_timeout(PATIENCE).expect("started");
        client.write_all(b"four").expect("written");
        released(event);
        tell.send(()).expect("heard");
    });
}

/// S167, and S68 and S69 kept differently: what has a port completes there.
fn of_a_socket_that_has_a_port(kind: DriverKind) {
    on_a_thread(kind, || {
        let port = open::<(), ()>(kind);
        let (server, _client) = connection();
        let server = OverlappedSocket::from(server);
        let event = Event::manual_reset(true);
        let _handle = port.associate(server.clone(), ()).expect("associated");
        let refused = server.with_event(&event).recv(room(4)).unwrap_err();
        assert_eq!((refused.error.kind(), refused.buffer.spare()), (ErrorKind::InvalidInput, 4));
        assert!(is_signaled(&event));
    });
}

/// Ten megabytes through two operations that are always in flight, and a peer that reads as slowly as it writes.
fn an_echo_of_much(kind: DriverKind) {
    const MUCH: usize = 10 << 20;
    let (server, client) = pair();
    let client = Arc::new(client);
    let bytes = pattern(0, MUCH);
    thread::scope(|s| {
        s.spawn(|| (&*client).write_all(&bytes).expect("written"));
        s.spawn(|| {
            let mut read = vec![0; MUCH];
            (&*client).read_exact(&mut read).expect("all of it");
            assert_same(&read, &bytes, "the echo");
        });
        s.spawn(|| {
            drive_by(kind);
            let (received, sent) = (Event::auto_reset(false), Event::manual_reset(true));
            let mut echoed = 0;
            let mut sending = None;
            while echoed < MUCH {
                let receive = server.with_event(&received).recv(room(30_000)).expect("started");
                assert!(wait_all(&[&received, &sent], Some(PATIENCE)).expect("the driver works"));
                let done = receive.result().expect("over");
                echoed += done.result.expect("received");
                if let Some(before) =
                    sending.replace(server.with_event(&sent).send(done.buffer).expect("started"))
                {
                    assert_ne!(moved(before.result()), 0);
                }
            }
            moved(sending.expect("something was sent").wait());
        });
    });
}
