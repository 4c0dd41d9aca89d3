//! `get` with a timeout: S20 to S24, S31; and with promise 8, that waiting costs nothing however short or long it is.

use std::{
    thread,
    time::{Duration, Instant},
};

use completion_port::{DriverKind, GetError};

use crate::util::{both, proc::own_thread, until};

crate::on_each_driver!(
    zero_polls,
    a_timeout_is_kept,
    less_than_a_millisecond_neither_spins_nor_hangs,
    a_very_long_one_sleeps,
    a_waiter_among_others_times_out_alone,
    a_close_releases_every_waiter,
);

/// S21.
fn zero_polls(driver: DriverKind) {
    for port in both::<(), u32>(driver) {
        assert!(matches!(port.get_timeout(Duration::ZERO), Err(GetError::TimedOut)));
        port.key(()).post(0, 1).expect("open");
        assert_eq!(port.get_timeout(Duration::ZERO).expect("it is there").context, 1);
        assert!(matches!(port.get_timeout(Duration::ZERO), Err(GetError::TimedOut)));
    }
}

/// S20: not before its time, and the thread sleeps meanwhile.
fn a_timeout_is_kept(driver: DriverKind) {
    for port in both::<(), ()>(driver) {
        let time = Duration::from_millis(100);
        let (before, cost) = (Instant::now(), own_thread());
        assert!(matches!(port.get_timeout(time), Err(GetError::TimedOut)));
        let (took, cpu) = (before.elapsed(), own_thread().cpu - cost.cpu);
        assert!(took >= time, "it took {took:?}");
        assert!(cpu < time / 4, "{cpu:?} of {took:?} were spent running");
    }
}

/// Two hundred microseconds are slept, each time, and not rounded to nothing or to for ever.
fn less_than_a_millisecond_neither_spins_nor_hangs(driver: DriverKind) {
    const TIMES: u32 = 50;
    for port in both::<(), ()>(driver) {
        let time = Duration::from_micros(200);
        let (before, cost) = (Instant::now(), own_thread());
        for _ in 0..TIMES {
            let before = Instant::now();
            assert!(matches!(port.get_timeout(time), Err(GetError::TimedOut)));
            assert!(before.elapsed() >= time);
        }
        let (took, now) = (before.elapsed(), own_thread());
        // One that spins is switched away from when its time slice is over; one that sleeps, at least once a call. A wait may have come to
        // its end before the thread got to sleep, on a busy machine.
        let switches = now.switches_since(&cost);
        assert!(
            switches.is_none_or(|switches| switches >= u64::from(TIMES / 2)),
            "{switches:?} switches in {TIMES} waits that took {took:?}"
        );
        let cpu = now.cpu - cost.cpu;
        assert!(cpu < took * 2 / 3, "{cpu:?} of {took:?} were spent running");
    }
}

/// Longer than the clocks of the system reach: that is for ever, and not at once.
fn a_very_long_one_sleeps(driver: DriverKind) {
    for time in [
        Duration::MAX,
        Duration::from_secs(u64::MAX / 4),
        Duration::from_secs(u64::from(u32::MAX) * 100),
    ] {
        for port in both::<(), u32>(driver) {
            thread::scope(|s| {
                let _close = port.close_on_drop();
                let waiter = s.spawn(|| {
                    let before = own_thread();
                    let context = port.get_timeout(time).map(|done| done.context);
                    (context, own_thread().cpu - before.cpu)
                });
                until("it waits", || port.snapshot().waiting_threads == 1);
                // A window in which one that spins runs up time.
                thread::sleep(Duration::from_millis(100));
                port.key(()).post(0, 9).expect("open");
                let (context, cpu) = waiter.join().expect("no panic");
                assert_eq!(context.expect("a packet"), 9);
                assert!(
                    cpu < Duration::from_millis(40),
                    "{cpu:?} were spent running, waiting for {time:?}"
                );
            });
        }
    }
}

/// Whether it sleeps in the driver or behind another.
fn a_waiter_among_others_times_out_alone(driver: DriverKind) {
    for port in both::<(), u32>(driver) {
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let first = s.spawn(|| port.get().map(|done| done.context));
            until("one waits", || port.snapshot().waiting_threads == 1);
            let time = Duration::from_millis(20);
            let before = Instant::now();
            assert!(matches!(port.get_timeout(time), Err(GetError::TimedOut)));
            assert!(before.elapsed() >= time);

            // The first one has the short wait now: who comes later must take over from it.
            port.key(()).post(0, 1).expect("open");
            assert_eq!(first.join().expect("no panic").expect("a packet"), 1);
            let short =
                s.spawn(|| port.get_timeout(Duration::from_millis(50)).map(|done| done.context));
            let long = s.spawn(|| port.get_timeout(crate::util::PATIENCE).map(|done| done.context));
            assert!(matches!(short.join().expect("no panic"), Err(GetError::TimedOut)));
            port.key(()).post(0, 2).expect("open");
            assert_eq!(long.join().expect("no panic").expect("a packet"), 2);
        });
    }
}

/// S22, S23, S24: all of them, not just one, and whoever comes later.
fn a_close_releases_every_waiter(driver: DriverKind) {
    for _ in 0..4 {
        for port in both::<(), ()>(driver) {
            thread::scope(|s| {
                let mut waiters: Vec<_> =
                    (0..2).map(|_| s.spawn(|| port.get().map(drop))).collect();
                waiters.push(s.spawn(|| port.get_timeout(crate::util::PATIENCE).map(drop)));
                waiters.push(s.spawn(|| port.get_many(&mut Vec::new(), 8, None).map(drop)));
                until("all wait", || port.snapshot().waiting_threads == 4);
                port.close();
                for waiter in waiters {
                    assert!(matches!(waiter.join().expect("no panic"), Err(GetError::Closed)));
                }
            });
            assert!(matches!(port.get(), Err(GetError::Closed)));
            assert!(matches!(port.get_timeout(Duration::ZERO), Err(GetError::Closed)));
            assert!(matches!(port.get_many(&mut Vec::new(), 1, None), Err(GetError::Closed)));
        }
    }
}
