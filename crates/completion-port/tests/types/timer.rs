//! Timers and deadlines on a virtual clock, where an hour takes no time: `Handle::timer`, `Handle::every`, `Handle::expire`, [`TimerId`].

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use completion_port::{
    Buffer, CompletionPort, GetError, OpKind, TimerId,
    error::Situation,
    simulated::{Faults, Network},
};

const HOUR: Duration = Duration::from_secs(3600);

fn port(network: &Network) -> CompletionPort<(), u32> {
    CompletionPort::builder().simulated(network).build().expect("a new network")
}

fn calm() -> Network {
    Network::with_faults(1, Faults::none())
}

#[test]
fn hours_pass_at_once_and_in_order() {
    let port = port(&calm());
    let (key, before) = (port.key(()), Instant::now());
    for hours in [5, 1, 4, 2, 3] {
        key.timer(HOUR * hours, hours).expect("open");
    }
    for hours in 1..=5 {
        let done = port.get().expect("a packet");
        assert_eq!((done.context, done.kind()), (hours, OpKind::Timer));
    }
    assert!(before.elapsed() < HOUR, "it was really waited");
    assert!(matches!(port.get_timeout(HOUR), Err(GetError::TimedOut)));
}

/// Exactly then: one nanosecond less is too early.
#[test]
fn one_is_due_to_the_nanosecond() {
    let port = port(&calm());
    port.key(()).timer(HOUR, 7).expect("open");
    let least = Duration::from_nanos(1);
    assert!(matches!(port.get_timeout(HOUR - least), Err(GetError::TimedOut)));
    assert_eq!(port.get_timeout(least).expect("it is due").context, 7);
}

#[test]
fn a_periodic_one_keeps_its_phase() {
    let port = port(&calm());
    let key = port.key(());
    let timer = key.every(HOUR, || 0).expect("open");
    for _ in 0..24 {
        assert_eq!(port.get_timeout(HOUR).expect("a packet").result.expect("no error"), 1);
    }
    // Somebody is out with it for two hours and a half, and a bit.
    let held = port.get_timeout(HOUR).expect("a packet");
    assert!(matches!(port.get_timeout(HOUR * 5 / 2), Err(GetError::TimedOut)));
    drop(held);
    assert!(matches!(
        port.get_timeout(HOUR / 2 - Duration::from_nanos(1)),
        Err(GetError::TimedOut)
    ));
    assert_eq!(
        port.get_timeout(Duration::from_nanos(1)).expect("due").result.expect("no error"),
        3
    );
    assert_eq!(port.get_timeout(HOUR).expect("a packet").result.expect("no error"), 1);
    assert!(key.cancel_timer(timer));
    assert!(port.get().expect("the last").last());
}

#[test]
fn a_deadline_passes_on_the_virtual_clock() {
    let network = calm();
    let port = port(&network);
    let (socket, peer) = network.connection();
    let server = port.associate(socket, ()).expect("associated");
    for _ in 0..10 {
        let id = server.recv(Buffer::with_capacity(8), 1).expect("started");
        assert!(server.expire(id, HOUR));
        peer.write(b"x").expect("open");
        assert_eq!(port.get_timeout(HOUR / 2).expect("in time").result.expect("a byte"), 1);
    }
    let id = server.recv(Buffer::with_capacity(8), 2).expect("started");
    assert!(server.expire(id, HOUR));
    assert!(matches!(port.get_timeout(HOUR - Duration::from_nanos(1)), Err(GetError::TimedOut)));
    let done = port.get_timeout(HOUR).expect("a packet");
    let error = done.result.expect_err("nobody wrote");
    assert_eq!((done.context, Situation::of(&error)), (2, Some(Situation::TimedOut)));
}

/// Names are equal to themselves only, and can be kept in sets.
#[test]
fn a_name_is_never_used_twice() {
    let port = port(&calm());
    let key = port.key(());
    let mut names = HashSet::<TimerId>::new();
    for n in 0..1000 {
        let name = key.timer(HOUR, n).expect("open");
        assert!(names.insert(name) && names.contains(&name));
        assert!(n % 2 == 0 || key.cancel_timer(name));
    }
    assert_eq!(names.iter().filter(|name| key.cancel_timer(**name)).count(), 500);
    assert!(!format!("{:?}", names.iter().next()).is_empty());
}

/// With every fault that the network has, drawn from many seeds: each receive ends once, with its byte or with the end of its time.
#[test]
fn on_a_bad_day_no_byte_is_lost() {
    for seed in 0..300 {
        let mut faults = Faults::default();
        // Those would wait for bytes that never come.
        faults.uncancellable = 0;
        let network = Network::with_faults(seed, faults);
        let port = port(&network);
        let (socket, peer) = network.connection();
        let server = port.associate(socket, ()).expect("associated");
        let (mut received, mut n) = (Vec::new(), 0_u8);
        while received.len() < 30 {
            let id = server.recv(Buffer::with_capacity(4), n.into()).expect("started");
            server.expire(id, Duration::from_micros(u64::from(n) * 37 % 200));
            if n % 3 != 0 && n < 200 {
                peer.write(&[n]).expect("open");
            } else if n >= 200 {
                peer.write(&[0; 4]).expect("open");
            }
            let done = port.get().expect("a packet");
            assert_eq!(done.context, u32::from(n), "seed {seed}: not one each");
            match done.result {
                Ok(_) => received.extend_from_slice(&done.buffer),
                Err(e) => assert_eq!(Situation::of(&e), Some(Situation::TimedOut), "seed {seed}"),
            }
            n = n.saturating_add(1);
        }
        let expected: Vec<_> = (0..200).filter(|n| n % 3 != 0).collect();
        let sent = received.iter().zip(&expected).all(|(got, sent)| got == sent);
        assert!(sent, "seed {seed}: {received:?}");
        assert!(port.close().is_empty(), "seed {seed}");
    }
}
