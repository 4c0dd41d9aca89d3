//! Timers that post packets: not before their time, exactly one last packet, whatever ends them, and no wake-up for what is not due.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use completion_port::{Completion, CompletionPort, DriverKind, OpKind, TimerId, error::Situation};

use crate::util::{WayToSleep, assert_nothing_left, get, open, pair, situation, take, until};

crate::on_each_driver!(
    one_comes_in_its_time_and_not_before,
    they_come_in_the_order_of_their_times,
    one_that_is_earlier_wakes_the_sleeper,
    one_is_never_missed,
    a_periodic_one_counts_what_nobody_took,
    a_cancelled_one_has_one_packet,
    a_close_ends_them_all,
    a_maker_that_panics_costs_one_packet,
    one_keeps_its_handle,
    cancels_race_with_what_is_due,
    a_maker_may_cancel_its_own_timer,
    one_of_a_port_that_was_only_posted_to,
);

const MOMENT: Duration = Duration::from_millis(3);
const LONG: Duration = Duration::from_secs(3600);

#[track_caller]
fn assert_nothing_armed<K: Send + Sync + 'static, T: Send + 'static>(port: &CompletionPort<K, T>) {
    assert_nothing_left(port);
    assert_eq!(port.snapshot().timers, 0);
}

/// What a packet says, but for its context.
fn says<K, T>(done: &Completion<K, T>) -> (OpKind, Option<Situation>, bool) {
    (done.kind(), situation(&done.result), done.last())
}

/// Also one of less than a millisecond, on a key, a stream and a listener.
fn one_comes_in_its_time_and_not_before(driver: DriverKind) {
    let port = open::<&str, u32>(driver);
    let (stream, _client) = pair(&port, "stream");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listener = port.associate(listener, "listener").expect("associated");
    for (handle, time) in [
        (port.key("key"), Duration::from_micros(300)),
        (stream, MOMENT),
        (listener, Duration::from_nanos(1_234_567)),
    ] {
        for n in 0..10 {
            let before = Instant::now();
            handle.timer(time, n).expect("open");
            let done = get(&port);
            let took = before.elapsed();
            assert!(took >= time, "{took:?} for {time:?}");
            assert_eq!((says(&done), done.context), ((OpKind::Timer, None, true), n));
            assert_eq!((done.result.expect("no error"), done.handle == handle), (1, true));
        }
    }
    assert_nothing_armed(&port);
}

fn they_come_in_the_order_of_their_times(driver: DriverKind) {
    const MANY: u64 = 500;
    let port = open::<(), usize>(driver);
    let key = port.key(());
    let mut due = Vec::new();
    // In no order: 7 and 500 have no common divisor. So far away that all are armed before the first is due.
    for (number, n) in (0..MANY).map(|n| n * 7 % MANY).enumerate() {
        let time = Duration::from_millis(500) + Duration::from_micros(n * 50);
        let before = Instant::now();
        key.timer(time, number).expect("open");
        due.push((before + time, Instant::now() + time));
    }
    let order: Vec<_> = take(&port, MANY as usize).iter().map(|done| due[done.context]).collect();
    assert!(order.is_sorted_by(|(earliest, _), (_, latest)| earliest <= latest), "{order:?}");
    assert_nothing_armed(&port);
}

/// Of the port's only waiter, and of one among others.
fn one_that_is_earlier_wakes_the_sleeper(driver: DriverKind) {
    for waiters in [1, 3] {
        let port = open::<(), u32>(driver);
        let key = port.key(());
        let late = key.timer(LONG, 0).expect("open");
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let waiting: Vec<_> =
                (0..waiters).map(|_| s.spawn(|| port.get().map(|done| done.context))).collect();
            until("all wait", || port.snapshot().waiting_threads == waiters);
            key.timer(MOMENT, 1).expect("open");
            until("one comes out", || waiting.iter().any(|waiter| waiter.is_finished()));
            assert!(key.cancel_timer(late));
            until("the last one, too", || port.snapshot().timers == 0);
        });
    }
}

/// Armed at every moment of the way to sleep.
fn one_is_never_missed(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let key = port.key(());
    key.timer(LONG, usize::MAX).expect("open");
    let (way, fired) = (WayToSleep::default(), AtomicUsize::new(0));
    thread::scope(|s| {
        let _close = port.close_on_drop();
        s.spawn(|| {
            while let Ok(done) = way.get(&port) {
                if done.kind() == OpKind::Timer {
                    fired.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        until("it waits", || port.snapshot().waiting_threads == 1);
        for time in 0..300 {
            way.walk(time, || key.post(0, time).expect("open"));
            key.timer(Duration::from_micros(time as u64 % 40), time).expect("open");
            until("it comes", || fired.load(Ordering::Relaxed) == time + 1);
        }
    });
}

/// While nobody takes the packet, and while somebody has it, periods are counted and no second one comes.
fn a_periodic_one_counts_what_nobody_took(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let key = port.key(());
    assert!(key.every(Duration::ZERO, || 0).is_err(), "no period");
    let mut next = 0;
    let start = Instant::now();
    let timer = key.every(MOMENT, move || {
        next += 1;
        next
    });
    let timer = timer.expect("open");
    let first = get(&port);
    assert_eq!((says(&first), first.context), ((OpKind::Every, None, false), 1));
    let mut periods = *first.result.as_ref().expect("no error");
    // Somebody has it: whoever looks meanwhile finds nothing.
    while start.elapsed() < MOMENT * 10 {
        assert!(port.get_timeout(MOMENT).is_err(), "a second one");
    }
    drop(first);
    let second = get(&port);
    let told = *second.result.as_ref().expect("no error");
    periods += told;
    // It was started a little later than the time that is known here.
    assert!(periods >= 9, "{periods} periods of ten, {told} of them in the second");
    assert!(MOMENT * periods as u32 <= start.elapsed(), "{periods} periods: too many");
    drop(second);
    assert!(key.cancel_timer(timer) && !key.cancel_timer(timer));
    // What had come before the cancel comes first.
    let last = loop {
        let done = get(&port);
        if done.last() {
            break done;
        }
    };
    assert_eq!(says(&last), (OpKind::Every, Some(Situation::Cancelled), true));
    drop(last);
    assert_nothing_armed(&port);
}

fn a_cancelled_one_has_one_packet(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (key, other) = (port.key(()), port.key(()));
    let ids: Vec<TimerId> = (0..100).map(|n| key.timer(LONG, n).expect("open")).collect();
    let periodic = key.every(LONG, || 100).expect("open");
    assert_eq!(port.snapshot().timers, 101);
    assert!(!other.cancel_timer(ids[7]), "another handle's");
    assert!(key.cancel_timer(ids[7]) && !key.cancel_timer(ids[7]));
    let done = get(&port);
    let cancelled = |kind| (kind, Some(Situation::Cancelled), true);
    assert_eq!((says(&done), done.context), (cancelled(OpKind::Timer), 7));
    assert!(key.cancel_timer(periodic) && !key.cancel_timer(periodic));
    let done = get(&port);
    assert_eq!((says(&done), done.context), (cancelled(OpKind::Every), 100));
    assert_eq!(key.cancel_all(), 99);
    let mut rest: Vec<_> = take(&port, 99).iter().map(|done| done.context).collect();
    rest.sort_unstable();
    assert!(rest.iter().copied().eq((0..100).filter(|n| *n != 7)));
    // A number that is used again does not bring an old name to life.
    let again = key.timer(LONG, 0).expect("open");
    assert!(ids.iter().all(|id| !key.cancel_timer(*id)));
    assert!(key.cancel_timer(again));
    take(&port, 1);
    assert_nothing_armed(&port);
}

/// Of the handle, and of the port; later ones are refused, and give their context back.
fn a_close_ends_them_all(driver: DriverKind) {
    let port = open::<&str, u32>(driver);
    let (stream, _client) = pair(&port, "stream");
    let key = port.key("key");
    for n in 0..3 {
        stream.timer(LONG, n).expect("open");
        key.timer(LONG, n).expect("open");
    }
    key.every(LONG, || 9).expect("open");
    stream.close();
    for (n, done) in (0..).zip(take(&port, 3)) {
        let told = (OpKind::Timer, Some(Situation::Cancelled), true);
        assert_eq!((says(&done), done.context, *done.handle.key()), (told, n, "stream"));
    }
    assert_eq!(stream.timer(LONG, 7).unwrap_err().context, 7);
    assert!(stream.every(LONG, || 0).is_err());
    let left = port.close();
    assert_eq!(left.len(), 4);
    for done in &left {
        assert_eq!(situation(&done.result), Some(Situation::Cancelled));
        assert_eq!((*done.handle.key(), done.last()), ("key", true));
    }
    drop(left);
    assert_eq!(key.timer(LONG, 7).unwrap_err().context, 7);
    assert!(port.key("late").timer(LONG, 0).is_err(), "a key of a closed port");
    assert_eq!(port.snapshot().timers, 0);
}

/// And the timer goes on.
fn a_maker_that_panics_costs_one_packet(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let key = port.key(());
    let mut made = 0;
    let timer = key.every(MOMENT, move || {
        made += 1;
        assert!(made != 2 && made != 3, "planted");
        made
    });
    let timer = timer.expect("open");
    let (mut panics, mut contexts) = (0, Vec::new());
    while contexts.len() < 3 {
        let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| get(&port).context));
        match taken {
            Ok(context) => contexts.push(context),
            Err(_) => panics += 1,
        }
    }
    assert_eq!((panics, &contexts[..]), (2, &[1, 4, 5][..]));
    assert!(key.cancel_timer(timer));
    until("the last packet", || get(&port).last());
    assert_nothing_armed(&port);
}

/// As every pending operation does; and no longer.
fn one_keeps_its_handle(driver: DriverKind) {
    let port = open::<Arc<()>, u32>(driver);
    let key = Arc::new(());
    port.key(key.clone()).timer(MOMENT, 1).expect("open");
    assert_eq!(Arc::strong_count(&key), 2);
    drop(get(&port));
    assert_eq!(Arc::strong_count(&key), 1);
    port.key(key.clone()).timer(LONG, 1).expect("open");
    drop(port);
    assert_eq!(Arc::strong_count(&key), 1, "it outlives its port");
}

/// Each has one last packet, and a cancel that found it pending has ended it.
fn cancels_race_with_what_is_due(driver: DriverKind) {
    const MANY: usize = 3000;
    let port = open::<(), usize>(driver);
    let key = port.key(());
    let cancelled = AtomicUsize::new(0);
    thread::scope(|s| {
        let taker = s.spawn(|| {
            let (mut last, mut told, mut seen) = (0, 0, vec![0_u8; MANY]);
            while last < MANY {
                let done = get(&port);
                if done.last() {
                    last += 1;
                    seen[done.context] += 1;
                    told += usize::from(situation(&done.result) == Some(Situation::Cancelled));
                }
            }
            assert!(seen.iter().all(|times| *times == 1), "not one each");
            told
        });
        for n in 0..MANY {
            let time = Duration::from_micros(n as u64 % 30);
            let id = if n % 3 == 0 {
                key.every(time + Duration::from_micros(1), move || n)
            } else {
                key.timer(time, n).map_err(|_| unreachable!("the port is open"))
            };
            let id = id.expect("open");
            for _ in 0..n % 64 * 20 {
                std::hint::spin_loop();
            }
            let found = key.cancel_timer(id);
            assert!(found || n % 3 != 0, "a periodic one is pending until it is cancelled");
            cancelled.fetch_add(usize::from(found), Ordering::Relaxed);
        }
        assert_eq!(taker.join().expect("no panic"), cancelled.load(Ordering::Relaxed));
    });
    assert_nothing_armed(&port);
}

/// While it fires: the context that is made then is the last packet's.
fn a_maker_may_cancel_its_own_timer(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let key = port.key(());
    let (name, told) = std::sync::mpsc::channel::<TimerId>();
    let (mut made, own) = (0, key.clone());
    let timer = key.every(MOMENT, move || {
        made += 1;
        if made == 2 {
            assert!(own.cancel_timer(told.recv().expect("told")), "it is pending");
        }
        made
    });
    name.send(timer.expect("open")).expect("it listens");
    let done = take(&port, 2);
    assert_eq!((done[0].context, done[0].last()), (1, false));
    assert_eq!((says(&done[1]).1, done[1].context), (Some(Situation::Cancelled), 2));
    assert!(done[1].last());
    drop(done);
    assert_nothing_armed(&port);
}

/// The worker has taken a post, has started something by that, and has waited for it in the driver. When that is over, nothing is with the
/// driver, and a timer is armed all the same; then a deadline, of the only operation.
fn one_of_a_port_that_was_only_posted_to(driver: DriverKind) {
    let port = CompletionPort::builder().driver(driver).limit(1).build().expect("a probed driver");
    let key = port.key(());
    key.post(0, 0).expect("open");
    assert_eq!(get(&port).context, 0);
    let (server, mut client) = pair(&port, ());
    server.recv_lent(1).expect("started");
    client.write_all(b"x").expect("written");
    assert_eq!(get(&port).context, 1);
    key.timer(MOMENT, 2).expect("open");
    assert_eq!(get(&port).context, 2);
    let receive = server.recv_lent(3).expect("started");
    assert!(server.expire(receive, MOMENT));
    let done = get(&port);
    assert_eq!((done.context, situation(&done.result)), (3, Some(Situation::TimedOut)));
}
