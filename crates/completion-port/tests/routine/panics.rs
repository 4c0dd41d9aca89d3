//! Routines that panic: the panic comes out of the wait, and nothing is lost.

use std::{
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use completion_port::{
    DriverKind,
    routine::{Done, current, queue_user_apc},
};

use crate::{
    kit::{Log, nothing_runs, on_a_thread, pair, pair_with, room, run, run_until},
    util::pattern,
};

crate::on_each_driver!(
    come_out_of_the_wait_and_lose_nothing,
    one_after_another,
    take_what_the_routine_owned_with_them,
    leave_the_socket_usable,
);

fn panicking_wait() {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it comes out of the wait");
    assert_eq!(panic.downcast_ref(), Some(&"as planned"));
}

/// What is before it has run, what is behind it runs in the next wait, once and in order.
fn come_out_of_the_wait_and_lose_nothing(driver: DriverKind) {
    on_a_thread(driver, || {
        let own = current().expect("a thread");
        let ran = Log::default();
        let apc = |n| queue_user_apc(&own, ran.apc(n)).expect("queued");
        apc(0);
        apc(1);
        queue_user_apc(&own, || panic!("as planned")).expect("queued");
        apc(2);
        apc(3);
        panicking_wait();
        assert_eq!(ran.take(), [0, 1]);
        // What comes in between is behind them.
        apc(4);
        run();
        assert_eq!(ran.take(), [2, 3, 4]);
        nothing_runs();

        let pairs: Vec<_> = (0..20).map(|_| pair_with(b"12")).collect();
        for (n, (socket, _)) in pairs.iter().enumerate() {
            if n == 7 {
                socket.recv(room(1), |_| panic!("as planned")).expect("started");
            } else {
                socket.recv(room(1), ran.routine(n)).expect("started");
            }
            socket.recv(room(1), ran.routine(100 + n)).expect("started");
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            run_until("all but one have run", || ran.len() == 39);
        }));
        outcome.expect_err("it comes out");
        run_until("all but one have run", || ran.len() == 39);
        let mut ran = ran.take();
        ran.sort_unstable();
        assert!(ran.into_iter().eq((0..20).filter(|n| *n != 7).chain(100..120)));
        nothing_runs();
    });
}

/// Each takes one wait.
fn one_after_another(driver: DriverKind) {
    on_a_thread(driver, || {
        let own = current().expect("a thread");
        let ran = Log::default();
        for n in 0..10 {
            queue_user_apc(&own, || panic!("as planned")).expect("queued");
            queue_user_apc(&own, ran.apc(n)).expect("queued");
        }
        for n in 0..10 {
            panicking_wait();
            assert_eq!(ran.len(), n);
        }
        run();
        assert!(ran.take().into_iter().eq(0..10));
        nothing_runs();
    });
}

fn take_what_the_routine_owned_with_them(driver: DriverKind) {
    on_a_thread(driver, || {
        let token = Arc::new(());
        let (socket, _client) = pair_with(b"x");
        let counted = token.clone();
        let routine = move |done: Done| {
            let _both = (&done, &counted);
            panic!("as planned");
        };
        socket.recv(room(1), routine).expect("started");
        panicking_wait();
        assert_eq!(Arc::strong_count(&token), 1);
    });
}

/// The operations that are pending on it go on, new ones are started; also inside a wait inside the routine.
fn leave_the_socket_usable(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let got: Log<Done> = Log::default();
        for n in 0..20 {
            socket.recv(room(1), |_| panic!("as planned")).expect("started");
            socket.recv(room(3), got.keep()).expect("started");
            client.write_all(&pattern(n * 4, 4)).expect("written");
            panicking_wait();
            run_until("it comes", || got.len() == 1);
            assert_eq!(&got.take().remove(0).buffer[..], &pattern(n * 4 + 1, 3)[..]);
            socket.send(vec![1].into(), got.keep()).expect("started");
            run_until("it is sent", || got.len() == 1);
            assert_eq!(got.take().remove(0).result.expect("sent"), 1);
        }
    });
}
