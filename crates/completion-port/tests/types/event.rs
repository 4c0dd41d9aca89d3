//! `Event`, and waits for events on threads that have no I/O of their own. (Alertable waits: tests/routine.)

use std::{
    collections::HashSet,
    io::ErrorKind,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use crate::util::PATIENCE;
use completion_port::event::{Event, wait_all, wait_any};

#[track_caller]
fn is_signaled(event: &Event) -> bool {
    event.wait(Some(Duration::ZERO)).expect("a wait")
}

#[track_caller]
fn released(event: &Event) {
    assert!(event.wait(Some(PATIENCE)).expect("a wait"), "in vain");
}

#[test]
fn a_manual_reset_event_stays_as_it_is_set() {
    let event = Event::manual_reset(false);
    assert!(!is_signaled(&event));
    event.set();
    assert!(is_signaled(&event) && is_signaled(&event));
    event.reset();
    assert!(!is_signaled(&event));
    assert!(is_signaled(&Event::manual_reset(true)));
}

#[test]
fn an_auto_reset_event_is_taken_by_a_wait_and_does_not_count() {
    let event = Event::auto_reset(true);
    assert!(is_signaled(&event) && !is_signaled(&event));
    event.set();
    event.set();
    assert!(is_signaled(&event) && !is_signaled(&event));
    event.set();
    event.reset();
    assert!(!is_signaled(&event));
}

#[test]
fn clones_are_one_event() {
    let event = Event::auto_reset(false);
    let clone = event.clone();
    assert!(event == clone && event != Event::auto_reset(false));
    clone.set();
    drop(clone);
    assert!(is_signaled(&event));
    let shown = format!("{:?} {:?}", event, Event::manual_reset(true));
    assert_eq!(
        shown,
        "Event { auto_reset: true, signaled: false } Event { auto_reset: false, signaled: true }"
    );
}

/// A hundred in one wait, where Windows takes 64; the first in the list, and only that one is taken.
#[test]
fn a_wait_for_any_tells_the_first() {
    let events: Vec<_> = (0..100).map(|_| Event::auto_reset(false)).collect();
    let list: Vec<_> = events.iter().collect();
    assert_eq!(wait_any(&list, Some(Duration::ZERO)).expect("a wait"), None);
    events[99].set();
    events[64].set();
    assert_eq!(wait_any(&list, None).expect("a wait"), Some(64));
    assert_eq!(wait_any(&list, None).expect("a wait"), Some(99));
    assert_eq!(wait_any(&list, Some(Duration::from_millis(1))).expect("a wait"), None);
    // The same one several times is no nonsense here.
    events[1].set();
    assert_eq!(wait_any(&[&events[0], &events[1], &events[1]], None).expect("a wait"), Some(1));
}

#[test]
fn a_wait_for_all_takes_nothing_before_all_are_there() {
    let (first, second, manual) =
        (Event::auto_reset(true), Event::auto_reset(false), Event::manual_reset(true));
    let all = [&first, &second, &manual];
    assert!(!wait_all(&all, Some(Duration::from_millis(1))).expect("a wait"));
    assert!(is_signaled(&first), "it was left alone");
    first.set();
    second.set();
    assert!(wait_all(&all, None).expect("a wait"));
    assert!(!is_signaled(&first) && !is_signaled(&second) && is_signaled(&manual));
}

#[test]
fn a_list_that_makes_no_sense_is_refused() {
    let event = Event::auto_reset(true);
    let none = wait_any(&[], None).expect_err("it would never end");
    assert_eq!(none.kind(), ErrorKind::InvalidInput);
    assert_eq!(wait_all(&[], None).expect_err("as well").kind(), ErrorKind::InvalidInput);
    let twice = wait_all(&[&event, &event], None).expect_err("it cannot be taken twice");
    assert_eq!(twice.kind(), ErrorKind::InvalidInput);
    assert!(is_signaled(&event), "and nothing was taken");
}

#[test]
fn a_time_out_is_waited_out() {
    let event = Event::auto_reset(false);
    let begun = Instant::now();
    assert!(!event.wait(Some(Duration::from_millis(20))).expect("a wait"));
    assert!(begun.elapsed() >= Duration::from_millis(20));
    // A time beyond the clock's range is none.
    thread::scope(|s| {
        let waiter = s.spawn(|| event.wait(Some(Duration::MAX)));
        event.set();
        assert!(waiter.join().expect("no panic").expect("a wait"));
    });
}

/// One set, one thread: each of the others waits for a set of its own.
#[test]
fn an_auto_reset_event_releases_one_thread_for_each_set() {
    let event = Event::auto_reset(false);
    let (tell, told) = mpsc::channel();
    thread::scope(|s| {
        for thread in 0..4 {
            let (event, tell) = (&event, tell.clone());
            s.spawn(move || {
                released(event);
                tell.send(thread).expect("heard");
            });
        }
        let mut seen = HashSet::new();
        for _ in 0..4 {
            event.set();
            assert!(seen.insert(told.recv_timeout(PATIENCE).expect("somebody was released")));
            assert!(told.try_recv().is_err(), "one set released two");
        }
    });
    assert!(!is_signaled(&event));
}

#[test]
fn a_manual_reset_event_releases_all() {
    let event = Event::manual_reset(false);
    thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| released(&event));
        }
        event.set();
    });
}

/// A ring of threads that hand a token on, each by a wait for all of two: the token, and leave to go on.
#[test]
fn a_ring_of_waits_loses_nothing() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 500;
    let tokens: Vec<_> = (0..THREADS).map(|_| Event::auto_reset(false)).collect();
    let leave = Event::manual_reset(true);
    let passed = AtomicUsize::new(0);
    thread::scope(|s| {
        for thread in 0..THREADS {
            let (tokens, leave, passed) = (&tokens, &leave, &passed);
            s.spawn(move || {
                for _ in 0..ROUNDS {
                    let both = [&tokens[thread], leave];
                    assert!(wait_all(&both, Some(PATIENCE)).expect("a wait"), "in vain");
                    passed.fetch_add(1, Ordering::Relaxed);
                    tokens[(thread + 1) % THREADS].set();
                }
            });
        }
        tokens[0].set();
    });
    assert_eq!(passed.into_inner(), THREADS * ROUNDS);
    assert!(is_signaled(&tokens[0]), "the token is back where it was");
}

/// Many threads take what many set, by waits for any of several whose time is often up at that moment: as many are taken as were set.
#[test]
fn sets_and_time_outs_at_once_lose_nothing() {
    const SETS: usize = 2_000;
    let events = [(); 3].map(|()| Event::auto_reset(false));
    let list: Vec<_> = events.iter().collect();
    let taken = AtomicUsize::new(0);
    let mut set = 0;
    thread::scope(|s| {
        for _ in 0..3 {
            s.spawn(|| {
                while taken.load(Ordering::Relaxed) < SETS {
                    let which = wait_any(&list, Some(Duration::from_micros(20)));
                    let had = which.expect("a wait").is_some();
                    taken.fetch_add(usize::from(had), Ordering::Relaxed);
                }
            });
        }
        let deadline = Instant::now() + PATIENCE;
        for time in 0..SETS {
            // Each is set only when it was taken: events do not count.
            events[time % 3].set();
            set += 1;
            while taken.load(Ordering::Relaxed) < set {
                if Instant::now() > deadline {
                    taken.store(SETS, Ordering::Relaxed);
                    panic!("set {set} was lost");
                }
                thread::yield_now();
            }
            assert_eq!(taken.load(Ordering::Relaxed), set, "taken more than once");
        }
    });
}
