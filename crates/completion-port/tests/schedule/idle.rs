//! Promise 8: idle is free, with every worker in `get` as with one that blocks for ever.
//!
//! In a process of its own, so that no other test's threads are seen.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
    thread,
    time::Duration,
};

use completion_port::{Buffer, CompletionPort, DriverKind, Release, Waking};

use crate::{
    kit::{echo, open, waiting},
    util::{
        PATIENCE,
        child::alone,
        pair,
        proc::{other_threads, when_asleep},
        until,
    },
};

crate::on_each_driver!(
    nobody_moves_when_all_wait,
    nobody_moves_beside_one_that_is_blocked,
    nobody_moves_beside_one_that_is_blocked_and_keeps_its_place,
    nobody_moves_when_the_limit_is_reached_by_one_that_says_that_it_blocks,
    the_only_one_left_does_not_move_either,
);

const WORKERS: usize = 4;

/// How long nothing must happen. `ci/idle` makes it longer.
fn window() -> Duration {
    let seconds = std::env::var("COMPLETION_PORT_IDLE_SECONDS");
    Duration::from_secs(seconds.map_or(2, |text| text.parse().expect("a number of seconds")))
}

type Port = CompletionPort<(), Order>;

/// What a packet asks its worker to do.
enum Order {
    Echo,
    Tell(mpsc::Sender<()>),
    Block(mpsc::Receiver<()>),
    SayAndBlock(mpsc::Receiver<()>),
}

fn work(port: &Port) {
    while let Ok(done) = port.get() {
        match done.context {
            Order::Echo => echo(done),
            Order::Tell(tell) => _ = tell.send(()),
            Order::Block(told) => _ = told.recv(),
            Order::SayAndBlock(told) => _ = completion_port::blocking(|| told.recv()),
        }
    }
}

/// Runs something beside workers and a connection that echoes.
fn beside_workers(port: &Port, workers: usize, act: impl FnOnce(&mut TcpStream)) {
    let (server, mut client) = pair(port, ());
    thread::scope(|s| {
        let _close = port.close_on_drop();
        for _ in 0..workers {
            s.spawn(|| work(port));
        }
        server.recv(Buffer::with_capacity(10), Order::Echo).expect("started");
        serves(port, &mut client);
        act(&mut client);
    });
}

/// Posts and echoes come through.
fn serves(port: &Port, client: &mut TcpStream) {
    for _ in 0..20 {
        let (tell, told) = mpsc::channel();
        port.key(()).post(0, Order::Tell(tell)).expect("open");
        told.recv_timeout(PATIENCE).expect("it is served");
        client.write_all(b"hello").expect("written");
        client.read_exact(&mut [0; 5]).expect("echoed");
    }
}

#[track_caller]
fn nobody_moves(port: &Port, workers: usize, window: Duration) {
    let before = when_asleep();
    assert!(before.len() >= workers, "{before:?}");
    let looks = port.snapshot().scheduling.looks;
    thread::sleep(window);
    let after = other_threads();
    assert_eq!(before, after, "a thread has run: {}", port.snapshot());
    assert_eq!(looks, port.snapshot().scheduling.looks);
}

const KINDS: [(Release, Waking); 2] =
    [(Release::Observed, Waking::Late), (Release::Exact, Waking::Eager)];

fn nobody_moves_when_all_wait(driver: DriverKind) {
    alone(|| {
        for (release, waking) in KINDS {
            let port = open(driver, 2, release, waking);
            beside_workers(&port, WORKERS, |client| {
                waiting(&port, WORKERS);
                nobody_moves(&port, WORKERS, window());
                // And nobody is dead.
                serves(&port, client);
                // The packet of the last send may come after its bytes.
                waiting(&port, WORKERS);
                until("nobody runs", || port.snapshot().running_threads == 0);
            });
        }
    });
}

fn nobody_moves_beside_one_that_is_blocked(driver: DriverKind) {
    let kinds = [(Release::Observed, 1), (Release::Observed, 2)];
    beside_one_that_blocks(driver, WORKERS, &kinds, Order::Block);
}

/// Nobody may find out that it blocks, or nobody may care.
fn nobody_moves_beside_one_that_is_blocked_and_keeps_its_place(driver: DriverKind) {
    let kinds = [(Release::Exact, 2), (Release::Unlimited, 2)];
    beside_one_that_blocks(driver, WORKERS, &kinds, Order::Block);
}

fn nobody_moves_when_the_limit_is_reached_by_one_that_says_that_it_blocks(driver: DriverKind) {
    beside_one_that_blocks(driver, WORKERS, &[(Release::Exact, 1)], Order::SayAndBlock);
}

/// The only one left sits in the driver and keeps watch from there, as long as that is of use.
fn the_only_one_left_does_not_move_either(driver: DriverKind) {
    let kinds = [(Release::Observed, 2), (Release::Exact, 2)];
    beside_one_that_blocks(driver, 2, &kinds, Order::Block);
}

/// For ever, as far as the port can see. The others go on; when there is nothing to do they do nothing, and they are there at once.
fn beside_one_that_blocks(
    driver: DriverKind,
    workers: usize,
    kinds: &[(Release, usize)],
    block: fn(mpsc::Receiver<()>) -> Order,
) {
    alone(|| {
        for &(release, limit) in kinds {
            let port = open(driver, limit, release, Waking::Late);
            beside_workers(&port, workers, |client| {
                let (unblock, blocked) = mpsc::channel();
                port.key(()).post(0, block(blocked)).expect("open");
                waiting(&port, workers - 1);
                nobody_moves(&port, workers, window());
                serves(&port, client);
                waiting(&port, workers - 1);
                nobody_moves(&port, workers, window() / 4);
                drop(unblock);
                waiting(&port, workers);
                until("nobody runs", || port.snapshot().running_threads == 0);
                serves(&port, client);
            });
        }
    });
}
