//! Where threads are held up when tests want that, and nowhere otherwise.
//!
//! A thread that loses its processor at the wrong moment shows what a quiet machine hides for months. With `--cfg completion_port_pauses` one
//! that is about to take a lock of the library, to read what is written behind one, or has just left its port, now and then sleeps for some
//! milliseconds or lets others go first: some hundred times a second, where a busy machine does that once. The suites must pass all the same
//! (`ci/pauses`).

/// The calling thread may be held up here.
#[cfg(not(completion_port_pauses))]
#[inline(always)]
pub(crate) fn here() {}

/// The calling thread may be held up here.
#[cfg(completion_port_pauses)]
pub(crate) fn here() {
    use std::{
        cell::Cell,
        hash::{BuildHasher, RandomState},
        sync::{Condvar, Mutex},
        thread,
        time::Duration,
    };

    /// Of so many times, one is a sleep, and `ASIDE` are a step aside.
    const TIMES: u64 = 400;
    const ASIDE: u64 = 6;
    /// In microseconds.
    const LONGEST: u64 = 4_000;

    thread_local! {
        static RANDOM: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
    }
    let draw = |random: &Cell<u64>| {
        let mut drawn = random.get();
        drawn ^= drawn << 13;
        drawn ^= drawn >> 7;
        drawn ^= drawn << 17;
        random.set(drawn);
        drawn >> 20
    };
    let sleep = |time| {
        // `thread::sleep` begins anew with each signal, a little later each time: in a storm of them it does not end.
        if let Ok(nobody) = Mutex::new(()).lock() {
            drop(Condvar::new().wait_timeout(nobody, time));
        }
    };
    // Where a thread that is ending has none any more.
    let Ok(drawn) = RANDOM.try_with(draw) else { return };
    match drawn % TIMES {
        0 => sleep(Duration::from_micros(drawn / TIMES % LONGEST)),
        1..=ASIDE => thread::yield_now(),
        _ => {}
    }
}
