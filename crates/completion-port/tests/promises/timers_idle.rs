//! Timers wake nobody before they are due. Promise 8, as far as only Linux tells.

use std::{thread, time::Duration};

use completion_port::DriverKind;

use crate::util::{PATIENCE, child::alone, open, proc::when_asleep, until};

crate::on_each_driver!(one_that_is_not_earlier_wakes_nobody, a_million_cost_no_wake_up);

const MOMENT: Duration = Duration::from_millis(3);
const LONG: Duration = Duration::from_secs(3600);

/// The others' threads do not move. In a process of its own, so that no other test's threads are seen.
fn one_that_is_not_earlier_wakes_nobody(driver: DriverKind) {
    alone(|| {
        let port = open::<(), u32>(driver);
        let key = port.key(());
        key.timer(LONG, 0).expect("open");
        thread::scope(|s| {
            let _close = port.close_on_drop();
            s.spawn(|| while port.get().is_ok() {});
            until("it waits", || port.snapshot().waiting_threads == 1);
            let before = when_asleep();
            for _ in 0..1000 {
                key.timer(LONG, 0).expect("open");
            }
            assert_eq!(before, when_asleep(), "it was woken: {}", port.snapshot());
        });
    });
}

/// In a process of its own, so that no other test's threads are seen.
fn a_million_cost_no_wake_up(driver: DriverKind) {
    alone(|| {
        let port = open::<(), usize>(driver);
        let key = port.key(());
        for n in 0..1_000_000 {
            key.timer(LONG + Duration::from_nanos(n as u64 * 7919 % 1_000_000), n).expect("open");
        }
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let waiter = s.spawn(|| port.get_timeout(PATIENCE).map(|done| done.context));
            until("it waits", || port.snapshot().waiting_threads == 1);
            let before = when_asleep();
            thread::sleep(Duration::from_secs(1));
            assert_eq!(before, when_asleep(), "a thread has run: {}", port.snapshot());
            key.timer(MOMENT, 7).expect("open");
            assert_eq!(waiter.join().expect("no panic").expect("a packet"), 7);
        });
        assert_eq!(port.snapshot().timers, 0, "the close has ended them");
    });
}
