//! Taking packets: what a wait at the port gives, and what ends it.

use std::{
    io::{ErrorKind, Write},
    thread,
    time::{Duration, Instant},
};

use completion_port::{CompletionPort, DriverKind, GetError, error::Situation};

use crate::{
    kit::{PATIENCE, Port, datagrams, get, open, pair, reset, room, situation, times_out, until},
    routine_kit::{Log, on_a_thread, queue_apc, run},
};

conformance! {
    a_success_has_bytes_key_and_context [S17]
        "the packet of a success has the byte count, the key of the handle, and the context and buffer of the operation";
    a_failure_has_all_of_it_too [S18]
        "the packet of a failed operation has key, context and buffer as well, and the error";
    a_warning_is_a_failure [S19]
        "a truncated datagram is a packet with an error, and its buffer tells how many bytes there are";
    a_time_out_takes_nothing [S20]
        "a wait whose time is up has waited it out and taken nothing: the next packet is whole";
    zero_polls [S21]
        "a timeout of zero takes what is there, and does not wait when there is nothing";
    a_wait_without_end_waits [S21]
        "a wait without a timeout ends with the packet, whenever that comes";
    a_close_ends_the_wait [S22]
        "a thread that waits is told that the port is closed, and not that its time is up";
    a_close_releases_every_waiter [S23]
        "every waiting thread is told of the close, with a timeout or without";
    a_closed_port_gives_nothing [S24]
        "every wait at a closed port, also with a timeout of zero, says that it is closed";
    a_packet_may_carry_nothing [S25]
        "a posted packet of no bytes and no context is a packet all the same, and no time-out";
    a_plain_wait_is_never_alertable [S26]
        "a wait for one packet runs no call that is queued for the thread, whether a packet comes or not";
    a_batch_is_what_is_there_in_order [S28]
        "a batch has what is there in its order, at most as many as asked for, and does not wait for more";
    a_batch_holds_failures_too [S29]
        "failures are entries of a batch beside successes, each with its own result";
    a_batch_of_none_is_refused [S30]
        "a batch of 0 packets is refused as InvalidInput, and takes nothing";
    a_batch_times_out [S31]
        "a batch that nothing came for is a time-out, and the caller's list is as it was";
    a_plain_batch_is_never_alertable [S32]
        "a wait for a batch that is not alertable runs no call that is queued, and times out";
    an_alertable_wait_runs_what_is_queued [S33]
        "an alertable wait at an empty port runs the call that is queued and says so, also with a timeout of zero";
    a_packet_comes_first_on_a_thread_of_the_port [S34]
        "on a thread that belongs to the port the packet is returned, and the call stays queued for the next wait";
    a_call_comes_first_on_a_thread_that_is_new [S35]
        "on a thread whose first wait at the port it is the call runs, and the packet stays queued";
    such_a_wait_makes_no_thread_of_the_port [S35]
        "a wait that ran a call in place of a packet has not made the thread the port's: the next call comes first again";
    a_close_ends_the_wait_for_a_batch [S36]
        "a wait for a batch, alertable or not, is told that the port is closed";
}

/// The calling thread's last wait was at this port.
fn join(port: &Port) {
    times_out(port);
}

#[track_caller]
fn alerted(port: &Port, timeout: Option<Duration>) {
    let waited = port.get_alertable(timeout);
    assert!(matches!(waited, Err(GetError::Alerted)), "{waited:?}");
}

fn a_success_has_bytes_key_and_context(driver: DriverKind) {
    let port = open(driver);
    let (server, mut client) = pair(&port);
    server.recv(room(64), 17).expect("started");
    client.write_all(b"hello").expect("written");
    let packet = get(&port);
    assert_eq!((*packet.handle.key(), packet.context), ("server", 17));
    assert_eq!((packet.result.expect("a success"), &packet.buffer[..]), (5, &b"hello"[..]));
}

fn a_failure_has_all_of_it_too(driver: DriverKind) {
    let port = open(driver);
    let (server, client) = pair(&port);
    server.recv(room(64), 18).expect("started");
    reset(client);
    let packet = get(&port);
    assert_eq!(situation(&packet.result), Some(Situation::PeerReset));
    assert_eq!((*packet.handle.key(), packet.context), ("server", 18));
    assert!(packet.buffer.is_empty() && packet.buffer.capacity() >= 64, "the buffer comes back");
}

fn a_warning_is_a_failure(driver: DriverKind) {
    let port = open(driver);
    let (socket, address, peer) = datagrams(&port);
    socket.recv_from(Vec::with_capacity(4).into(), 19).expect("started");
    peer.send_to(b"much too long", address).expect("sent");
    let packet = get(&port);
    assert_eq!(situation(&packet.result), Some(Situation::Truncated));
    assert_eq!((packet.context, &packet.buffer[..]), (19, &b"much"[..]));
}

fn a_time_out_takes_nothing(driver: DriverKind) {
    let port = open(driver);
    let begun = Instant::now();
    assert!(matches!(port.get_timeout(Duration::from_millis(60)), Err(GetError::TimedOut)));
    // Windows' clock is coarse, and may tick early.
    assert!(begun.elapsed() >= Duration::from_millis(40), "it did not wait");
    port.key("late").post(3, 20).expect("open");
    let packet = get(&port);
    assert_eq!((packet.context, packet.result.expect("posted")), (20, 3));
}

fn zero_polls(driver: DriverKind) {
    let port = open(driver);
    times_out(&port);
    port.key("there").post(0, 21).expect("open");
    assert_eq!(port.get_timeout(Duration::ZERO).expect("it is there").context, 21);
    times_out(&port);
}

fn a_wait_without_end_waits(driver: DriverKind) {
    let port = open(driver);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let taker = s.spawn(|| port.get().map(|packet| packet.context).ok());
        until("it waits", || port.snapshot().waiting_threads == 1);
        assert!(!taker.is_finished());
        port.key("late").post(0, 21).expect("open");
        assert_eq!(taker.join().expect("no panic"), Some(21));
    });
}

fn a_close_ends_the_wait(driver: DriverKind) {
    let port = open(driver);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let waiter = s.spawn(|| port.get_timeout(PATIENCE));
        until("it waits", || port.snapshot().waiting_threads == 1);
        port.close();
        let waited = waiter.join().expect("no panic");
        assert!(matches!(waited, Err(GetError::Closed)), "{waited:?}");
    });
}

fn a_close_releases_every_waiter(driver: DriverKind) {
    let port = open(driver);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let waits = [None, Some(PATIENCE), None, Some(PATIENCE)];
        let wait = |timeout: Option<Duration>| match timeout {
            Some(timeout) => port.get_timeout(timeout),
            None => port.get(),
        };
        let waiters = waits.map(|timeout| s.spawn(move || wait(timeout)));
        until("all wait", || port.snapshot().waiting_threads == waiters.len());
        port.close();
        for waiter in waiters {
            let waited = waiter.join().expect("no panic");
            assert!(matches!(waited, Err(GetError::Closed)), "{waited:?}");
        }
    });
}

fn a_closed_port_gives_nothing(driver: DriverKind) {
    let port = open(driver);
    port.key("left over").post(0, 24).expect("open");
    assert_eq!(port.close().len(), 1);
    for _ in 0..2 {
        assert!(matches!(port.get(), Err(GetError::Closed)));
        assert!(matches!(port.get_timeout(Duration::ZERO), Err(GetError::Closed)));
        let batch = port.get_many(&mut Vec::new(), 5, Some(PATIENCE));
        assert!(matches!(batch, Err(GetError::Closed)), "{batch:?}");
    }
}

fn a_packet_may_carry_nothing(driver: DriverKind) {
    let builder = CompletionPort::builder().driver(driver);
    let port = builder.build::<(), ()>().expect("a probed driver can be had");
    port.key(()).post(0, ()).expect("open");
    let packet = port.get_timeout(Duration::ZERO).expect("it is a packet");
    assert_eq!((packet.result.expect("a success"), packet.buffer.len()), (0, 0));
    let next = port.get_timeout(Duration::ZERO);
    assert!(matches!(next, Err(GetError::TimedOut)), "{next:?}");
}

fn a_plain_wait_is_never_alertable(driver: DriverKind) {
    on_a_thread(driver, || {
        let port = open(driver);
        let ran = Log::default();
        queue_apc(&ran, "queued");
        times_out(&port);
        assert!(matches!(port.get_timeout(Duration::from_millis(5)), Err(GetError::TimedOut)));
        port.key("there").post(0, 26).expect("open");
        assert_eq!(port.get().expect("it is there").context, 26);
        assert!(ran.is_empty(), "S26");
        run();
        assert_eq!(ran.take(), ["queued"]);
    });
}

fn a_batch_is_what_is_there_in_order(driver: DriverKind) {
    let port = open(driver);
    let key = port.key("there");
    (0..5).for_each(|n| key.post(0, n).expect("open"));
    let mut batch = Vec::new();
    assert_eq!(port.get_many(&mut batch, 3, None).expect("packets"), 3);
    // Without a timeout: were it to wait for nine, it would wait for ever.
    assert_eq!(port.get_many(&mut batch, 9, None).expect("packets"), 2);
    assert!(batch.iter().map(|packet| packet.context).eq(0..5));
}

fn a_batch_holds_failures_too(driver: DriverKind) {
    let port = open(driver);
    let (server, _client) = pair(&port);
    (0..2).for_each(|n| _ = server.recv(room(8), n).expect("started"));
    server.post(7, 2).expect("open");
    assert_eq!(server.cancel_all(), 2);
    let mut batch = Vec::new();
    while batch.len() < 3 {
        port.get_many(&mut batch, 9, Some(PATIENCE)).expect("failures are no failure of the call");
    }
    batch.sort_by_key(|packet| packet.context);
    let results: Vec<_> = batch.iter().map(|packet| situation(&packet.result)).collect();
    assert_eq!(results, [Some(Situation::Cancelled), Some(Situation::Cancelled), None]);
    assert_eq!(batch[2].result.as_ref().ok(), Some(&7));
}

fn a_batch_of_none_is_refused(driver: DriverKind) {
    let port = open(driver);
    port.key("there").post(0, 30).expect("open");
    let mut batch = Vec::new();
    match port.get_many(&mut batch, 0, None) {
        Err(GetError::Failed(e)) => assert_eq!(e.kind(), ErrorKind::InvalidInput),
        other => panic!("S30: {other:?}"),
    }
    assert!(batch.is_empty());
    assert_eq!(get(&port).context, 30, "it was left there");
}

fn a_batch_times_out(driver: DriverKind) {
    let port = open(driver);
    let mut batch = vec![{
        port.key("before").post(0, 1).expect("open");
        get(&port)
    }];
    for timeout in [Duration::ZERO, Duration::from_millis(5)] {
        let waited = port.get_many(&mut batch, 5, Some(timeout));
        assert!(matches!(waited, Err(GetError::TimedOut)), "{waited:?}");
        assert_eq!(batch.len(), 1);
    }
}

fn a_plain_batch_is_never_alertable(driver: DriverKind) {
    on_a_thread(driver, || {
        let port = open(driver);
        let ran = Log::default();
        queue_apc(&ran, "queued");
        for timeout in [Duration::ZERO, Duration::from_millis(5)] {
            let waited = port.get_many(&mut Vec::new(), 5, Some(timeout));
            assert!(matches!(waited, Err(GetError::TimedOut)), "{waited:?}");
        }
        assert!(ran.is_empty(), "S32");
        run();
        assert_eq!(ran.take(), ["queued"]);
    });
}

fn an_alertable_wait_runs_what_is_queued(driver: DriverKind) {
    on_a_thread(driver, || {
        let port = open(driver);
        let ran = Log::default();
        for joined in [false, true] {
            for timeout in [Some(Duration::ZERO), Some(PATIENCE), None] {
                if joined {
                    join(&port);
                }
                queue_apc(&ran, "queued");
                alerted(&port, timeout);
                assert_eq!(ran.take(), ["queued"]);
            }
        }
        queue_apc(&ran, "queued");
        let waited = port.get_many_alertable(&mut Vec::new(), 5, Some(Duration::ZERO));
        assert!(matches!(waited, Err(GetError::Alerted)), "{waited:?}");
        assert_eq!(ran.take(), ["queued"]);
    });
}

fn a_packet_comes_first_on_a_thread_of_the_port(driver: DriverKind) {
    on_a_thread(driver, || {
        let port = open(driver);
        let ran = Log::default();
        join(&port);
        queue_apc(&ran, "queued");
        for n in [1, 2] {
            port.key("there").post(0, n).expect("open");
            let taken = port.get_alertable(Some(PATIENCE)).expect("S34: the packet");
            assert_eq!((taken.context, ran.len()), (n, 0));
        }
        alerted(&port, Some(PATIENCE));
        assert_eq!(ran.take(), ["queued"]);
    });
}

fn a_call_comes_first_on_a_thread_that_is_new(driver: DriverKind) {
    on_a_thread(driver, || {
        let [port, other] = [open(driver), open(driver)];
        let ran = Log::default();
        // The last wait was elsewhere: as new as never.
        for port in [&port, &other] {
            port.key("there").post(0, 35).expect("open");
            queue_apc(&ran, "queued");
            alerted(port, Some(PATIENCE));
            assert_eq!(ran.take(), ["queued"]);
            assert_eq!(port.get_alertable(Some(PATIENCE)).expect("S35: it stayed").context, 35);
        }
    });
}

fn such_a_wait_makes_no_thread_of_the_port(driver: DriverKind) {
    on_a_thread(driver, || {
        let port = open(driver);
        let ran = Log::default();
        port.key("there").post(0, 35).expect("open");
        for _ in 0..3 {
            queue_apc(&ran, "queued");
            alerted(&port, Some(Duration::ZERO));
            assert_eq!(ran.take(), ["queued"]);
        }
        assert_eq!(port.get_alertable(None).expect("S35: it stayed").context, 35);
        // From now on it belongs to the port.
        port.key("there").post(0, 34).expect("open");
        queue_apc(&ran, "queued");
        assert_eq!(port.get_alertable(None).expect("S34: the packet").context, 34);
        assert!(ran.is_empty());
        run();
    });
}

fn a_close_ends_the_wait_for_a_batch(driver: DriverKind) {
    let port = open(driver);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let waiters = [
            s.spawn(|| port.get_many(&mut Vec::new(), 5, None)),
            s.spawn(|| port.get_many_alertable(&mut Vec::new(), 5, Some(PATIENCE))),
        ];
        until("both wait", || port.snapshot().waiting_threads == 2);
        port.close();
        for waiter in waiters {
            let waited = waiter.join().expect("no panic");
            assert!(matches!(waited, Err(GetError::Closed)), "{waited:?}");
        }
    });
}
