//! Calls for other threads, and threads by name.

use std::{
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use completion_port::{
    DriverKind,
    routine::{Woken, current, driver, queue_user_apc, sleep_ex, suspended, use_driver},
};

use crate::{
    kit::{Log, StopOnDrop, drive_by, elsewhere, nothing_runs, on_a_thread, run, run_until},
    util::{PATIENCE, for_good, until},
};

crate::on_each_driver!(
    run_nothing_by_themselves,
    of_many_threads_all_run_in_the_order_of_each,
    never_miss_a_thread_on_its_way_to_sleep,
    queued_by_an_apc_run_too,
    to_a_thread_that_has_ended_come_back,
    that_a_thread_never_came_to_are_dropped_with_it,
    are_run_or_dropped_or_come_back_while_a_thread_ends,
    a_thread_has_one_name_and_one_driver,
);

/// S174: queued to oneself, and by another thread, which waits alertably itself.
fn run_nothing_by_themselves(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let own = current().expect("a thread");
        queue_user_apc(&own, ran.apc(thread::current().id())).expect("queued");
        assert!(ran.is_empty(), "S174");
        elsewhere(|| {
            drive_by(driver);
            let log = ran.clone();
            queue_user_apc(&own, move || log.add(thread::current().id())).expect("queued");
            nothing_runs();
        });
        assert!(ran.is_empty(), "S174");
        run();
        assert_eq!(ran.take(), [thread::current().id(); 2]);
    });
}

/// S170; each thread's calls are in order among themselves, and none is lost or doubled.
fn of_many_threads_all_run_in_the_order_of_each(driver: DriverKind) {
    const THREADS: usize = 6;
    const EACH: usize = 1_000;
    on_a_thread(driver, || {
        let own = current().expect("a thread");
        let ran = Log::default();
        thread::scope(|s| {
            for sender in 0..THREADS {
                let (own, ran) = (&own, &ran);
                s.spawn(move || {
                    for n in 0..EACH {
                        queue_user_apc(own, ran.apc((sender, n))).expect("queued");
                    }
                });
            }
            run_until("all have run", || ran.len() == THREADS * EACH);
        });
        nothing_runs();
        let mut next = [0; THREADS];
        for (sender, n) in ran.take() {
            assert_eq!(n, next[sender], "of thread {sender}");
            next[sender] += 1;
        }
        assert_eq!(next, [EACH; THREADS]);
    });
}

/// At every moment of the way: one call at a time, and the next as soon as it has run.
fn never_miss_a_thread_on_its_way_to_sleep(driver: DriverKind) {
    const TIMES: usize = 3_000;
    let ran = for_good(AtomicUsize::new(0));
    let (tell, told) = mpsc::channel();
    thread::scope(|s| {
        s.spawn(move || {
            drive_by(driver);
            tell.send(current().expect("a thread")).expect("somebody listens");
            while ran.load(Ordering::Acquire) < TIMES {
                let woken = sleep_ex(PATIENCE, true).expect("the driver works");
                assert_eq!(woken, Woken::IoCompletion, "missed");
            }
        });
        let sleeper = told.recv().expect("told");
        for time in 0..TIMES {
            queue_user_apc(&sleeper, || _ = ran.fetch_add(1, Ordering::Release)).expect("queued");
            let mut spins = 0_u32;
            while ran.load(Ordering::Acquire) <= time {
                spins += 1;
                if spins.is_multiple_of(1000) {
                    thread::yield_now();
                }
            }
            for _ in 0..time * 7 % 600 {
                std::hint::spin_loop();
            }
        }
    });
}

/// S170: in the same wait.
fn queued_by_an_apc_run_too(driver: DriverKind) {
    on_a_thread(driver, || {
        let ran = Log::default();
        let own = current().expect("a thread");
        let (log, name) = (ran.clone(), own.clone());
        queue_user_apc(&own, move || {
            log.add(1);
            queue_user_apc(&name, log.apc(3)).expect("queued");
        })
        .expect("queued");
        queue_user_apc(&own, ran.apc(2)).expect("queued");
        run();
        assert_eq!(ran.take(), [1, 2, 3]);
    });
}

/// S109: also one that ended by a panic, and one that had queued calls.
fn to_a_thread_that_has_ended_come_back(driver: DriverKind) {
    let by_panic = || {
        elsewhere(|| {
            let (tell, told) = mpsc::channel();
            thread::spawn(move || {
                drive_by(driver);
                tell.send(current().expect("a thread")).expect("somebody listens");
                panic!("as planned");
            })
            .join()
            .expect_err("it panics");
            told.recv().expect("told")
        })
    };
    let quietly = || {
        on_a_thread(driver, || {
            let own = current().expect("a thread");
            queue_user_apc(&own, || unreachable!("it ends first")).expect("queued");
            own
        })
    };
    for ended in [quietly(), by_panic(), quietly().clone()] {
        let ran = Log::default();
        let refused = queue_user_apc(&ended, ran.apc("here")).expect_err("refused");
        assert_eq!(refused.error.kind(), ErrorKind::NotFound);
        assert!(ran.is_empty());
        (refused.context)();
        assert_eq!(ran.take(), ["here"], "the call itself came back");
        assert!(format!("{ended:?}").contains("ended: true"), "{ended:?}");
    }
}

/// S109
fn that_a_thread_never_came_to_are_dropped_with_it(driver: DriverKind) {
    let token = Arc::new(());
    let ran = Log::default();
    on_a_thread(driver, || {
        let own = current().expect("a thread");
        for n in 0..100 {
            let (counted, log) = (token.clone(), ran.clone());
            let call = move || {
                drop(counted);
                log.add(n);
            };
            queue_user_apc(&own, call).expect("queued");
        }
        assert_eq!(Arc::strong_count(&token), 101);
    });
    assert_eq!((Arc::strong_count(&token), ran.len()), (1, 0));
}

/// S109: whatever the moment.
fn are_run_or_dropped_or_come_back_while_a_thread_ends(driver: DriverKind) {
    const ROUNDS: usize = 30;
    for round in 0..ROUNDS {
        let (token, ran) = (Arc::new(()), Arc::new(AtomicUsize::new(0)));
        let (queued, back) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let ending = AtomicBool::new(false);
        let (tell, told) = mpsc::channel();
        thread::scope(|s| {
            let thread = s.spawn(|| {
                let _ending = StopOnDrop(&ending);
                drive_by(driver);
                for _ in 0..3 {
                    tell.send(current().expect("a thread")).expect("somebody listens");
                }
                for _ in 0..round {
                    sleep_ex(Duration::ZERO, true).expect("the driver works");
                }
            });
            for _ in 0..3 {
                let name = told.recv().expect("told");
                let (token, ran, ending) = (&token, &ran, &ending);
                let (queued, back) = (&queued, &back);
                s.spawn(move || {
                    loop {
                        // Not faster than they are run: what comes while a wait runs others belongs to it as well.
                        let far_ahead =
                            || queued.load(Ordering::Relaxed) > ran.load(Ordering::Relaxed) + 300;
                        while far_ahead() && !ending.load(Ordering::Acquire) {
                            thread::yield_now();
                        }
                        let (counted, ran) = (token.clone(), ran.clone());
                        let call = move || {
                            drop(counted);
                            ran.fetch_add(1, Ordering::Relaxed);
                        };
                        match queue_user_apc(&name, call) {
                            Ok(()) => _ = queued.fetch_add(1, Ordering::Relaxed),
                            Err(refused) => {
                                assert_eq!(refused.error.kind(), ErrorKind::NotFound);
                                back.fetch_add(1, Ordering::Relaxed);
                                return;
                            }
                        }
                    }
                });
            }
            // The scope itself does not wait for what a thread drops last.
            thread.join().expect("no panic");
        });
        assert_eq!(Arc::strong_count(&token), 1, "every call is gone");
        let count = |what: &AtomicUsize| what.load(Ordering::Relaxed);
        assert_eq!(count(&back), 3, "each of the others was told once");
        assert!(count(&ran) <= count(&queued));
    }
}

/// A thread's driver is made once, and served under one name.
fn a_thread_has_one_name_and_one_driver(kind: DriverKind) {
    on_a_thread(kind, || {
        assert_eq!(driver().expect("a driver").kind(), kind);
        let again = use_driver(kind).expect_err("there is one");
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        let ran = Log::default();
        for _ in 0..3 {
            let name = current().expect("a thread");
            queue_user_apc(&name.clone(), ran.apc(())).expect("queued");
            assert!(format!("{name:?}").contains("ended: false"), "{name:?}");
        }
        run();
        assert_eq!(ran.len(), 3);
    });
}

/// S174: calls that were queued before the thread was there run first in it, in their order, on it.
#[test]
fn queued_before_a_thread_runs_come_first_in_it() {
    let (name, thread) = suspended().expect("a driver");
    let ran = Log::default();
    let log = || {
        let ran = ran.clone();
        move |what| ran.add((what, thread::current().id()))
    };
    for n in 0..3 {
        let (log, name) = (log(), name.clone());
        elsewhere(move || queue_user_apc(&name, move || log(n)).expect("queued"));
    }
    assert!(ran.is_empty());
    let id = elsewhere(|| {
        thread.resume().expect("it has no name yet");
        log()(3);
        nothing_runs();
        queue_user_apc(&current().expect("a thread"), {
            let log = log();
            move || log(4)
        })
        .expect("queued");
        queue_user_apc(&name, {
            let log = log();
            move || log(5)
        })
        .expect("it is the same thread");
        run();
        thread::current().id()
    });
    assert!(ran.take().into_iter().eq((0..=5).map(|n| (n, id))));
    queue_user_apc(&name, || ()).expect_err("it has ended");
}

/// A thread that is somebody already cannot be somebody else; calls for a thread that is never to be are dropped.
#[test]
fn for_a_thread_that_never_runs_are_dropped() {
    let token = Arc::new(());
    let call = || {
        let counted = token.clone();
        move || drop(counted)
    };
    let (name, thread) = suspended().expect("a driver");
    queue_user_apc(&name, call()).expect("queued");
    assert_eq!(Arc::strong_count(&token), 2);
    drop(thread);
    assert_eq!(Arc::strong_count(&token), 1);
    let refused = queue_user_apc(&name, call()).expect_err("it will never run");
    assert_eq!(refused.error.kind(), ErrorKind::NotFound);
    drop(refused);

    elsewhere(|| {
        let own = current().expect("a thread");
        let (name, thread) = suspended().expect("a driver");
        queue_user_apc(&name, call()).expect("queued");
        let refused = thread.resume().expect_err("the thread has a name");
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        let refused = queue_user_apc(&name, call()).expect_err("it will never run");
        assert_eq!(refused.error.kind(), ErrorKind::NotFound);
        drop(refused);
        queue_user_apc(&own, call()).expect("still itself");
        run();
    });
    assert_eq!(Arc::strong_count(&token), 1);
}

/// A call that panics as the thread begins: the others run in its next wait.
#[test]
fn queued_before_a_thread_runs_may_panic() {
    let (name, thread) = suspended().expect("a driver");
    let ran = Log::default();
    queue_user_apc(&name, ran.apc(1)).expect("queued");
    queue_user_apc(&name, || panic!("as planned")).expect("queued");
    queue_user_apc(&name, ran.apc(2)).expect("queued");
    elsewhere(|| {
        catch_unwind(AssertUnwindSafe(|| thread.resume())).expect_err("it comes out");
        assert_eq!(ran.take(), [1]);
        run();
        assert_eq!(ran.take(), [2]);
    });
}

/// A thread that sleeps without end is told by a flag, and woken by a call that does nothing: the idiom for ending a worker.
#[test]
fn wake_a_worker_to_look_at_its_flag() {
    let (stop, naps) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (tell, told) = mpsc::channel();
    thread::scope(|s| {
        let _stop = StopOnDrop(&stop);
        s.spawn(|| {
            tell.send(current().expect("a thread")).expect("somebody listens");
            while !stop.load(Ordering::Acquire) {
                naps.fetch_add(1, Ordering::Release);
                assert_eq!(sleep_ex(Duration::MAX, true).expect("works"), Woken::IoCompletion);
            }
        });
        let worker = told.recv().expect("told");
        until("it sleeps", || naps.load(Ordering::Acquire) == 1);
        queue_user_apc(&worker, || ()).expect("queued");
        until("it sleeps again", || naps.load(Ordering::Acquire) == 2);
        stop.store(true, Ordering::Release);
        queue_user_apc(&worker, || ()).expect("queued");
    });
}
