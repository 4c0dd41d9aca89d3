//! A few connections that flood do not starve the quiet ones.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use completion_port::{Buffer, CompletionPort, DriverKind, Release, Waking};

use crate::{
    kit::{SetOnDrop, echo, open},
    util::{pair, pattern, scaled, until},
};

crate::on_each_driver!(a_flood_does_not_starve_the_quiet, posts_do_not_starve_connections);

const WORKERS: usize = 4;
const FLOODS: usize = 4;
/// How much of its echo a flood does not wait for.
const DEPTH: usize = 16;
const ROUNDS: usize = 5;

/// Every quiet one speaks and is answered, again and again, while the flood goes on; no claim as to how soon.
fn a_flood_does_not_starve_the_quiet(driver: DriverKind) {
    let count = scaled("quiet connections", 60, 2);
    for (limit, waking) in [(1, Waking::Late), (2, Waking::Late), (2, Waking::Eager)] {
        let port: CompletionPort<(), ()> = open(driver, limit, Release::Observed, waking);
        let (quiet, mut quiet_users): (Vec<_>, Vec<_>) =
            (0..count).map(|_| pair(&port, ())).unzip();
        let (floods, flooding): (Vec<_>, Vec<_>) = (0..FLOODS).map(|_| pair(&port, ())).unzip();
        let (over, flooded) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (over, flooded) = (&over, &flooded);
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let _over = SetOnDrop([over]);
            for _ in 0..WORKERS {
                s.spawn(|| {
                    while let Ok(done) = port.get() {
                        echo(done);
                    }
                });
            }
            for server in quiet.iter().chain(&floods) {
                server.recv(Buffer::with_capacity(128), ()).expect("started");
            }
            let flooding: Vec<_> = flooding
                .into_iter()
                .map(|user| s.spawn(move || flood(user, over, flooded)))
                .collect();
            until("the flood is on", || flooded.load(Ordering::Relaxed) > 1000);
            let before = flooded.load(Ordering::Relaxed);
            for round in 0..ROUNDS {
                for user in &mut quiet_users {
                    user.write_all(&pattern(round, 64)).expect("written");
                }
                for user in &mut quiet_users {
                    let mut back = [0; 64];
                    user.read_exact(&mut back).expect("it is answered, flood or no flood");
                    assert!(back[..] == pattern(round, 64), "an echo that is not what was said");
                }
            }
            // Nor the other way round.
            until("the flood goes on", || flooded.load(Ordering::Relaxed) > before);
            over.store(true, Ordering::Release);
            flooding.into_iter().for_each(|flood| flood.join().expect("no panic"));
        });
    }
}

/// Sixteen requests are on their way, all the time.
fn flood(mut user: TcpStream, over: &AtomicBool, flooded: &AtomicUsize) {
    let request = [1; 128];
    for _ in 0..DEPTH {
        user.write_all(&request).expect("written");
    }
    while !over.load(Ordering::Acquire) {
        user.read_exact(&mut [0; 128]).expect("echoed");
        user.write_all(&request).expect("written");
        flooded.fetch_add(1, Ordering::Relaxed);
    }
    user.shutdown(Shutdown::Write).expect("shut down");
    user.read_exact(&mut [0; DEPTH * 128]).expect("echoed, all of it");
}

/// Workers that always find a post still bring in what the driver has.
fn posts_do_not_starve_connections(driver: DriverKind) {
    for (limit, waking) in [(1, Waking::Late), (2, Waking::Eager)] {
        // A context says whether its packet is to be posted again.
        let port: CompletionPort<(), bool> = open(driver, limit, Release::Observed, waking);
        let (server, mut user) = pair(&port, ());
        let over = AtomicBool::new(false);
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let _over = SetOnDrop([&over]);
            for _ in 0..WORKERS {
                s.spawn(|| {
                    while let Ok(done) = port.get() {
                        if !done.context {
                            echo(done);
                        } else if !over.load(Ordering::Relaxed) {
                            // Refused once the port is closed, which may be as soon as the flag is set.
                            _ = done.handle.post(0, true);
                        }
                    }
                });
            }
            server.recv(Buffer::with_capacity(9), false).expect("started");
            for _ in 0..100 {
                port.key(()).post(0, true).expect("open");
            }
            for _ in 0..20 {
                user.write_all(b"hello").expect("written");
                user.read_exact(&mut [0; 5]).expect("it is answered, posts or no posts");
            }
            over.store(true, Ordering::Relaxed);
            until("the posts come to an end", || port.snapshot().packets == 0);
        });
    }
}
