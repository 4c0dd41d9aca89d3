//! Sets against waits under loom: every interleaving, within the stated bound. A set that is lost, or a waiter that is not woken, is a
//! deadlock or a failed assertion.
//!
//! `ci/models` runs them.

use loom::{sync::Arc, thread};

use super::{Which, board::Board};
use crate::schedule::{Sleeper, ThreadSleeper};

/// Preemptions that loom tries in one execution.
const PREEMPTIONS: usize = 3;

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(model);
}

/// As `wait::parked`, on a board of the model's.
fn wait(board: &Board, events: &[usize], which: Which) -> usize {
    let mut sleeper = ThreadSleeper;
    let waiter = match board.begin(events, which, sleeper.waker()) {
        Ok(index) => return index,
        Err(waiter) => waiter,
    };
    while !board.is_released(waiter) {
        sleeper.park(None);
    }
    board.end(waiter).expect("released")
}

/// Whether an event is signaled, and takes it then.
fn is_left(board: &Board, event: usize) -> bool {
    board.take(&[event], Which::Any).is_some()
}

#[test]
fn a_manual_reset_event_releases_all() {
    check(|| {
        let board = Arc::new(Board::new());
        let event = board.add(false, false);
        let waiters = [(); 2].map(|()| {
            let board = board.clone();
            thread::spawn(move || wait(&board, &[event], Which::Any))
        });
        board.set(event);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), 0);
        }
        assert!(is_left(&board, event));
    });
}

/// Of two sets and two waiters, with a word between them: each set releases one, and nothing is left.
#[test]
fn an_auto_reset_event_releases_one() {
    check(|| {
        let board = Arc::new(Board::new());
        let (event, word) = (board.add(true, false), board.add(true, false));
        let waiters = [(); 2].map(|()| {
            let board = board.clone();
            thread::spawn(move || {
                wait(&board, &[event], Which::Any);
                assert!(!is_left(&board, event), "taken, and still signaled");
                board.set(word);
            })
        });
        for _ in 0..2 {
            board.set(event);
            wait(&board, &[word], Which::Any);
        }
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert!(!is_left(&board, event));
    });
}

#[test]
fn a_wait_for_any_takes_one_and_leaves_the_other() {
    check(|| {
        let board = Arc::new(Board::new());
        let events = [board.add(true, false), board.add(true, false)];
        let setters = events.map(|event| {
            let board = board.clone();
            thread::spawn(move || board.set(event))
        });
        let taken = wait(&board, &events, Which::Any);
        for setter in setters {
            setter.join().unwrap();
        }
        assert!(!is_left(&board, events[taken]));
        assert!(is_left(&board, events[1 - taken]));
    });
}

#[test]
fn a_wait_for_all_takes_all_at_once() {
    check(|| {
        let board = Arc::new(Board::new());
        let events = [board.add(true, false), board.add(true, false)];
        let setters = events.map(|event| {
            let board = board.clone();
            thread::spawn(move || board.set(event))
        });
        assert_eq!(wait(&board, &events, Which::All), 0);
        for setter in setters {
            setter.join().unwrap();
        }
        assert!(events.iter().all(|event| !is_left(&board, *event)));
    });
}

/// A wait whose time is up at the moment of a set: it has the event, or the event is signaled still.
#[test]
fn who_gives_up_loses_no_set() {
    for declines in [false, true] {
        check(move || {
            let board = Arc::new(Board::new());
            let event = board.add(true, false);
            let setter = {
                let board = board.clone();
                thread::spawn(move || board.set(event))
            };
            let mut had = false;
            match board.begin(&[event], Which::Any, ThreadSleeper.waker()) {
                Ok(_) => had = true,
                Err(waiter) if declines => board.decline(waiter),
                Err(waiter) => had = board.end(waiter).is_some(),
            }
            setter.join().unwrap();
            assert_ne!(had, is_left(&board, event), "lost, or there twice");
        });
    }
}
