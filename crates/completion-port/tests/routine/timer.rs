//! Waitable timers with completion routines, and deadlines of operations with routines.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use completion_port::{
    DriverKind, GetError,
    error::Situation,
    routine::{TimerId, Woken, cancel_timer, every, sleep_ex, timer},
};

use crate::{
    kit::{Log, nothing_runs, on_a_thread, pair, pair_with, room, run, run_until},
    util::{PATIENCE, open},
};

crate::on_each_driver!(
    one_is_called_in_an_alertable_wait,
    they_are_called_in_the_order_of_their_times,
    a_periodic_one_counts_what_it_missed,
    a_cancelled_one_is_dropped_without_a_call,
    one_does_not_nest_in_itself,
    one_that_panics_goes_on,
    a_thread_that_ends_drops_them,
    one_ends_an_alertable_get,
    a_receive_can_have_a_deadline,
);

const MOMENT: Duration = Duration::from_millis(3);
const LONG: Duration = Duration::from_secs(3600);

/// Not before its time, on the thread that armed it, and nowhere else than there.
fn one_is_called_in_an_alertable_wait(driver: DriverKind) {
    on_a_thread(driver, || {
        for time in [Duration::ZERO, Duration::from_micros(300), MOMENT] {
            let called = Rc::new(Cell::new(None));
            let (call, before) = (called.clone(), Instant::now());
            timer(time, move || call.set(Some(thread::current().id()))).expect("armed");
            thread::sleep(time * 2);
            assert_eq!(sleep_ex(Duration::ZERO, false).expect("slept"), Woken::TimedOut);
            assert_eq!(called.get(), None, "outside of an alertable wait");
            run();
            assert_eq!(called.get(), Some(thread::current().id()));
            assert!(before.elapsed() >= time);
            nothing_runs();
        }
        // And asleep.
        let before = Instant::now();
        timer(MOMENT * 3, || ()).expect("armed");
        assert_eq!(sleep_ex(PATIENCE, true).expect("slept"), Woken::IoCompletion);
        assert!((MOMENT * 3..PATIENCE).contains(&before.elapsed()));
    });
}

fn they_are_called_in_the_order_of_their_times(driver: DriverKind) {
    on_a_thread(driver, || {
        let log = Log::<u32>::default();
        for n in [3, 1, 4, 0, 2] {
            let log = log.clone();
            timer(Duration::from_millis(u64::from(n) * 4), move || log.add(n)).expect("armed");
        }
        run_until("all were called", || log.len() == 5);
        assert_eq!(log.take(), [0, 1, 2, 3, 4]);
    });
}

fn a_periodic_one_counts_what_it_missed(driver: DriverKind) {
    on_a_thread(driver, || {
        let mut refused = every(Duration::ZERO, |_| ()).map(drop).expect_err("no period");
        (refused.context)(1);
        let told = Log::<usize>::default();
        let (log, start) = (told.clone(), Instant::now());
        let id = every(MOMENT, move |periods| log.add(periods)).expect("armed");
        run();
        thread::sleep(MOMENT * 10);
        // The one that was due meanwhile, and after it the others in one.
        run_until("the others", || told.len() >= 3);
        let told = told.take();
        let periods: usize = told.iter().sum();
        assert!(periods >= 10 && told.len() < 6, "{told:?}");
        assert!(MOMENT * periods as u32 <= start.elapsed(), "{told:?}: too many");
        assert!(cancel_timer(id) && !cancel_timer(id));
        nothing_runs();
    });
}

/// Also if it is due already, or its call is queued, and if its own routine does it.
fn a_cancelled_one_is_dropped_without_a_call(driver: DriverKind) {
    on_a_thread(driver, || {
        let kept = Rc::new(());
        let planted = |kept: &Rc<()>| {
            let kept = kept.clone();
            move || unreachable!("{kept:?}: it is cancelled")
        };
        let id = timer(LONG, planted(&kept)).expect("armed");
        assert!(cancel_timer(id) && !cancel_timer(id));
        let id = timer(Duration::ZERO, planted(&kept)).expect("armed");
        thread::sleep(MOMENT);
        assert!(cancel_timer(id));
        nothing_runs();
        // Both are due in the same wait, and the first cancels the second.
        let second = Rc::new(Cell::new(None::<TimerId>));
        let name = second.clone();
        timer(Duration::ZERO, move || assert!(cancel_timer(name.take().expect("told"))))
            .expect("armed");
        second.set(Some(timer(Duration::ZERO, planted(&kept)).expect("armed")));
        thread::sleep(MOMENT);
        run();
        nothing_runs();
        assert_eq!(Rc::strong_count(&kept), 1, "a routine was kept");

        let (own, calls) = (Rc::new(Cell::new(None::<TimerId>)), Rc::new(Cell::new(0)));
        let (name, count) = (own.clone(), calls.clone());
        let id = every(MOMENT, move |_| {
            count.set(count.get() + 1);
            assert!(name.take().is_some_and(cancel_timer));
        });
        own.set(Some(id.expect("armed")));
        run();
        assert_eq!(sleep_ex(MOMENT * 3, true).expect("slept"), Woken::TimedOut);
        assert_eq!((calls.get(), Rc::strong_count(&calls)), (1, 1));
    });
}

/// A wait inside it runs others, and not it again.
fn one_does_not_nest_in_itself(driver: DriverKind) {
    on_a_thread(driver, || {
        let (depth, inner, calls) = <(Rc<Cell<i32>>, Rc<Cell<i32>>, Rc<Cell<i32>>)>::default();
        let (inside, others, count) = (depth.clone(), inner.clone(), calls.clone());
        let id = every(MOMENT, move |_| {
            assert_eq!(inside.replace(1), 0, "it nests");
            let other = others.clone();
            timer(MOMENT * 2, move || other.set(other.get() + 1)).expect("armed");
            let before = others.get();
            run_until("the other one", || others.get() > before);
            inside.set(0);
            count.set(count.get() + 1);
        });
        run_until("three calls", || calls.get() == 3);
        assert!(cancel_timer(id.expect("armed")));
        assert_eq!(inner.get(), 3);
    });
}

fn one_that_panics_goes_on(driver: DriverKind) {
    on_a_thread(driver, || {
        let calls = Rc::new(Cell::new(0));
        let count = calls.clone();
        let id = every(MOMENT, move |_| {
            count.set(count.get() + 1);
            assert!(count.get() != 1, "planted");
        });
        let id = id.expect("armed");
        let panic = std::panic::catch_unwind(|| sleep_ex(PATIENCE, true).map(drop));
        assert!(panic.is_err() && calls.get() == 1);
        run_until("it is called again", || calls.get() == 2);
        assert!(cancel_timer(id));
    });
}

fn a_thread_that_ends_drops_them(driver: DriverKind) {
    let kept = std::sync::Arc::new(());
    on_a_thread(driver, || {
        let (one, other) = (kept.clone(), kept.clone());
        timer(LONG, move || unreachable!("{one:?}")).expect("armed");
        every(LONG, move |_| unreachable!("{other:?}")).expect("armed");
    });
    assert_eq!(std::sync::Arc::strong_count(&kept), 1);
}

fn one_ends_an_alertable_get(driver: DriverKind) {
    on_a_thread(driver, || {
        let port = open::<(), ()>(driver);
        let called = Rc::new(Cell::new(false));
        let call = called.clone();
        timer(MOMENT, move || call.set(true)).expect("armed");
        let got = port.get_alertable(Some(PATIENCE));
        assert!(matches!(got, Err(GetError::Alerted)) && called.get());
        // The port's own timers, too, in that kind of wait.
        port.key(()).timer(MOMENT, ()).expect("armed");
        assert!(port.get_alertable(Some(PATIENCE)).is_ok());
    });
}

fn a_receive_can_have_a_deadline(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, _client) = pair();
        let told = Rc::new(RefCell::new(None));
        let (tell, before) = (told.clone(), Instant::now());
        let id = socket.recv(room(8), move |done| *tell.borrow_mut() = Some(done.result));
        let id = id.expect("started");
        assert!(socket.expire(id, MOMENT));
        run();
        let result = told.take().expect("called");
        assert_eq!(Situation::of(&result.expect_err("nothing came")), Some(Situation::TimedOut));
        assert!(before.elapsed() >= MOMENT && !socket.expire(id, MOMENT));

        let (socket, _client) = pair_with(b"x");
        let tell = told.clone();
        let id = socket.recv(room(8), move |done| *tell.borrow_mut() = Some(done.result));
        socket.expire(id.expect("started"), LONG);
        run();
        assert_eq!(told.take().expect("called").expect("in time"), 1);
    });
}
