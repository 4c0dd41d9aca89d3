//! A port with several drivers: whatever becomes of the worker whose home one of them is, what it started there goes on, also where
//! fewer threads are left than drivers.
//!
//! Two workers are out at once; the second to come out starts a receive, and so has it in a driver of its own, where the system has
//! such. Which driver that is nobody is told: on systems that have one for all, the tests hold all the same.

use std::{io::Write, sync::mpsc, thread, time::Duration};

use completion_port::{
    Buffer, CompletionPort, DriverKind, GetError, Handle, PoolOptions, Release, Waking, blocking,
    routine,
};

use crate::{
    kit::{Port, Puppet, open, post, queued_and_running, waiting},
    util::{get, pair, pattern, scaled},
};

crate::on_each_driver!(
    one_that_exits_leaves_its_driver_to_one_that_waits,
    one_that_exits_leaves_its_driver_to_one_that_is_out,
    one_that_blocks_leaves_its_driver_to_others,
    one_that_burns_leaves_its_driver_to_others,
    a_crowd_in_one_does_not_wait_for_the_other,
    an_alertable_wait_is_in_several,
    a_receive_gets_the_buffer_that_another_driver_holds,
    a_close_finds_what_is_in_each,
);

/// What came over a connection; other contexts are of posts.
const RECEIVED: u32 = 1000;

const POLICIES: [(Release, Waking); 3] = [
    (Release::Exact, Waking::Late),
    (Release::Exact, Waking::Eager),
    (Release::Observed, Waking::Late),
];

fn recv(server: &Handle<(), u32>) {
    server.recv(Buffer::with_capacity(1), RECEIVED).expect("started");
}

/// Both have taken a packet, and neither comes back before it is told: each has a driver of its own, if there are as many.
fn both_out<'s>(port: &'s Port, first: &Puppet<'s>, second: &Puppet<'s>) {
    for (n, puppet) in (0..).zip([first, second]) {
        post(port, [n]);
        assert_eq!(puppet.get(port).end(), n);
    }
}

fn one_that_exits_leaves_its_driver_to_one_that_waits(driver: DriverKind) {
    leaves_by_exit(driver, true);
}

fn one_that_exits_leaves_its_driver_to_one_that_is_out(driver: DriverKind) {
    leaves_by_exit(driver, false);
}

/// S106, with nobody left to sit in a second driver.
fn leaves_by_exit(driver: DriverKind, other_waits: bool) {
    for (release, waking) in POLICIES {
        let port = open(driver, 2, release, waking);
        let (server, mut client) = pair(&port, ());
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let first = Puppet::new(s);
            for n in 0..10 {
                let second = Puppet::new(s);
                both_out(&port, &first, &second);
                let waits = other_waits.then(|| first.wait(&port, 0));
                second.act(|| recv(&server));
                second.exit();
                let waits = waits.unwrap_or_else(|| first.get(&port));
                client.write_all(&pattern(n, 1)).expect("written");
                assert_eq!(waits.end(), RECEIVED, "{release:?}, {waking:?}");
            }
            first.exit();
            assert_eq!(queued_and_running(&port), (0, 0));
        });
    }
}

fn one_that_blocks_leaves_its_driver_to_others(driver: DriverKind) {
    leaves_for_a_while(driver, |over| _ = over.recv());
    leaves_for_a_while(driver, |over| _ = blocking(|| over.recv()));
}

fn one_that_burns_leaves_its_driver_to_others(driver: DriverKind) {
    leaves_for_a_while(driver, |over| while over.try_recv().is_err() {});
}

/// What it has started is served by the other, the only one there is; when it is back, it takes part as before. The other comes to wait
/// afterwards, or sleeps all the time.
fn leaves_for_a_while(driver: DriverKind, leave: fn(mpsc::Receiver<()>)) {
    for ((release, waking), sleeps) in
        POLICIES.into_iter().flat_map(|policy| [(policy, true), (policy, false)])
    {
        let port = open(driver, 2, release, waking);
        let (server, mut client) = pair(&port, ());
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let [first, second] = [(); 2].map(|()| Puppet::new(s));
            for n in 0..10 {
                let sleeps = if sleeps {
                    let sleeps = first.wait(&port, 0);
                    let waits = second.wait(&port, 1);
                    post(&port, [n as u32]);
                    assert_eq!(waits.end(), n as u32, "S41");
                    Some(sleeps)
                } else {
                    both_out(&port, &first, &second);
                    None
                };
                let (tell, over) = mpsc::channel();
                let server = &server;
                let leaves = second.begin(move || {
                    recv(server);
                    leave(over);
                });
                let waits = sleeps.unwrap_or_else(|| first.wait(&port, 0));
                client.write_all(&pattern(n, 1)).expect("written");
                assert_eq!(waits.end(), RECEIVED, "{release:?}, {waking:?}");
                tell.send(()).expect("it listens");
                leaves.end();
            }
        });
    }
}

/// One who sits in several drivers fetches a part of what is ready in one of them, and comes back for the rest without being called.
fn a_crowd_in_one_does_not_wait_for_the_other(driver: DriverKind) {
    let port = open(driver, 2, Release::Exact, Waking::Late);
    let count = scaled("connections in one driver", 200, 2);
    let (servers, mut clients): (Vec<_>, Vec<_>) = (0..count).map(|_| pair(&port, ())).unzip();
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let first = Puppet::new(s);
        // The second time the driver knows that there is a crowd.
        for _ in 0..2 {
            let second = Puppet::new(s);
            both_out(&port, &first, &second);
            second.act(|| servers.iter().for_each(recv));
            second.exit();
            for client in &mut clients {
                client.write_all(b"x").expect("written");
            }
            for _ in 0..count {
                assert_eq!(first.get(&port).end(), RECEIVED);
            }
        }
    });
}

/// It sleeps in its thread's own driver and in those of the port, and any of them ends it.
fn an_alertable_wait_is_in_several(driver: DriverKind) {
    let port = open(driver, 2, Release::Exact, Waking::Late);
    let (server, mut client) = pair(&port, ());
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let [first, second] = [(); 2].map(|()| Puppet::new(s));
        first.act(|| routine::use_driver(driver).expect("a probed driver can be had"));
        both_out(&port, &first, &second);
        second.act(|| recv(&server));
        let wait = || port.get_alertable(None).map(|done| done.context);
        let waits = first.begin(wait);
        waiting(&port, 1);
        second.exit();
        client.write_all(b"x").expect("written");
        assert!(matches!(waits.end(), Ok(RECEIVED)));

        let name = first.act(|| routine::current().expect("it has a driver"));
        let waits = first.begin(wait);
        waiting(&port, 1);
        routine::queue_user_apc(&name, || {}).expect("it is alive");
        assert!(matches!(waits.end(), Err(GetError::Alerted)));
    });
}

/// Buffers that lie with the kernel are shared out among the drivers, and the pool's limit is meant for all of them together.
fn a_receive_gets_the_buffer_that_another_driver_holds(driver: DriverKind) {
    let pool = PoolOptions::new().limit(16);
    let builder = CompletionPort::builder().driver(driver).limit(2).pool(pool);
    let port = builder.build::<(), u32>().expect("a probed driver can be had");
    let (server, mut client) = pair(&port, ());
    let mut held: Vec<_> = std::iter::from_fn(|| port.lend()).collect();
    let mut serve = || {
        server.recv_lent(RECEIVED).expect("started");
        client.write_all(b"x").expect("written");
    };
    for _ in held.len()..16 {
        serve();
        held.push(get(&port).buffer);
    }
    assert_eq!((held.len(), port.snapshot().pool.lent), (16, 16));
    serve();
    let waits = port.get_timeout(Duration::from_millis(1));
    assert!(matches!(waits, Err(GetError::TimedOut)), "there is no buffer for it");
    held.pop();
    assert_eq!(&get(&port).buffer[..], b"x");
}

fn a_close_finds_what_is_in_each(driver: DriverKind) {
    let port = open(driver, 2, Release::Exact, Waking::Late);
    let [one, other] = [(); 2].map(|()| pair(&port, ()));
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let [first, second] = [(); 2].map(|()| Puppet::new(s));
        both_out(&port, &first, &second);
        first.act(|| recv(&one.0));
        second.act(|| recv(&other.0));
        let left = port.close();
        assert_eq!((left.len(), port.snapshot().leaked), (2, 0));
        assert!(left.iter().all(|done| done.result.is_err() && done.context == RECEIVED));
    });
}
