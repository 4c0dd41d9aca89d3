//! Threads that exit, panic, come and go, whatever they have in hand: their place is free (S54), what they started goes on (S106), and
//! nothing is lost.

use std::{
    cell::RefCell,
    io::{Read, Write},
    panic::resume_unwind,
    sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use completion_port::{
    Buffer, CompletionPort, DriverKind, GetError, Handle, OpKind, Release, Waking, blocking,
};

use crate::{
    kit::{Port, Puppet, SetOnDrop, echo, exact, open, post, queued_and_running, waiting},
    util::{connection, for_good, pair, pattern, scaled, until},
};

crate::on_each_driver!(
    one_that_exits_leaves_its_operations_running,
    one_that_exits_out_of_the_driver_or_the_line,
    a_panic_is_its_owners_and_the_port_lives_on,
    a_panic_of_a_key_or_a_context,
    a_thread_local_that_starts_things_when_its_thread_ends,
    a_thread_local_that_takes_packets_when_its_thread_ends,
    a_thousand_threads_come_and_go,
);

/// S106, S54: it has taken a packet, started what follows, and is gone; with a limit of one, the next must get its place.
fn one_that_exits_leaves_its_operations_running(driver: DriverKind) {
    for waking in [Waking::Eager, Waking::Late] {
        let port: Port = open(driver, 1, Release::Exact, waking);
        let (server, mut client) = pair(&port, ());
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let mut workers: Vec<_> = (0..10)
                .map(|before| {
                    let worker = Puppet::new(s);
                    let step = worker.begin(|| {
                        let done = port.get().expect("open");
                        // One is in flight when it exits, and one waits its turn behind it.
                        if done.context == 0 {
                            for context in [0, 1] {
                                let room = Buffer::with_capacity(1);
                                done.handle.recv(room, context).expect("started");
                            }
                        }
                        (done.kind(), done.buffer.to_vec())
                    });
                    waiting(&port, before + 1);
                    (worker, step)
                })
                .collect();
            server.recv(Buffer::with_capacity(1), 0).expect("started");
            for n in 0..10 {
                client.write_all(&pattern(n, 1)).expect("written");
                let mut done = None;
                until("somebody has it (S106, S54)", || {
                    done = workers.iter_mut().position(|(_, step)| step.is_over());
                    done.is_some()
                });
                let (worker, step) = workers.remove(done.expect("just seen"));
                assert_eq!(step.end(), (OpKind::Recv, pattern(n, 1)));
                assert_eq!(port.snapshot().running_threads, 1);
                worker.exit();
                assert_eq!(port.snapshot().running_threads, 0, "S54");
            }
        });
    }
}

/// S54: nobody was out with a packet, and the driver is not left alone.
fn one_that_exits_out_of_the_driver_or_the_line(driver: DriverKind) {
    for waking in [Waking::Eager, Waking::Late] {
        let port: Port = open(driver, 1, Release::Exact, waking);
        let (server, mut client) = pair(&port, ());
        thread::scope(|s| {
            let _close = port.close_on_drop();
            for round in 0..20 {
                // One of them is in the driver and the other in the line; both have had enough.
                let brief = Duration::from_millis(1 + round % 3);
                let leavers = [(); 2].map(|()| {
                    let port = &port;
                    s.spawn(move || port.get_timeout(brief).map(drop))
                });
                let stays = Puppet::new(s);
                let step = stays.get(&port);
                for leaver in leavers {
                    leaver.join().expect("no panic").expect_err("nothing came");
                }
                waiting(&port, 1);
                assert_eq!(queued_and_running(&port), (0, 0), "S54");
                server.recv(Buffer::with_capacity(1), round as u32).expect("started");
                client.write_all(b"x").expect("written");
                assert_eq!(step.end(), round as u32, "somebody is in the driver");
                stays.exit();
            }
        });
    }
}

/// The payload comes out of `join`; the place is free, and the connection in hand is closed.
fn a_panic_is_its_owners_and_the_port_lives_on(driver: DriverKind) {
    const WORKERS: u32 = 8;
    let port: Port = open(driver, 1, Release::Exact, Waking::Late);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                s.spawn(|| {
                    loop {
                        match port.get() {
                            Ok(done) if done.context < WORKERS => {
                                resume_unwind(Box::new(done.context));
                            }
                            Ok(done) => echo(done),
                            Err(_) => return,
                        }
                    }
                })
            })
            .collect();
        let (unlucky, mut orphan) = pair(&port, ());
        let (lucky, mut other) = pair(&port, ());
        unlucky.recv_lent(0).expect("started");
        drop(unlucky);
        lucky.recv(Buffer::with_capacity(10), WORKERS).expect("started");
        orphan.write_all(b"boom").expect("written");
        assert_eq!(orphan.read(&mut [0]).unwrap_or(0), 0, "its connection is closed");
        post(&port, 1..WORKERS - 1);
        other.write_all(b"hello").expect("written");
        other.read_exact(&mut [0; 5]).expect("the last one echoes");
        until("seven have panicked", || {
            workers.iter().filter(|worker| worker.is_finished()).count() == 7
        });
        other.write_all(b"hello").expect("written");
        other.read_exact(&mut [0; 5]).expect("the last one echoes");
        assert_eq!(port.snapshot().pool.lent, 0);
        port.close();
        let mut payloads: Vec<u32> = workers
            .into_iter()
            .filter_map(|worker| worker.join().err())
            .map(|payload| *payload.downcast().expect("what it was"))
            .collect();
        payloads.sort_unstable();
        assert!(payloads.into_iter().eq(0..WORKERS - 1), "each panic has an owner");
    });
}

/// Panics when it is dropped, if it is to.
struct Touchy(bool);

impl Drop for Touchy {
    fn drop(&mut self) {
        if self.0 && !thread::panicking() {
            resume_unwind(Box::new("as planned"));
        }
    }
}

/// S54: the worker that drops a packet is the one that dies of it, and no packet is lost.
fn a_panic_of_a_key_or_a_context(driver: DriverKind) {
    const WORKERS: usize = 8;
    let port: CompletionPort<Touchy, Touchy> = open(driver, 1, Release::Exact, Waking::Late);
    let served = AtomicUsize::new(0);
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                s.spawn(|| {
                    while let Ok(done) = port.get() {
                        drop(done);
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let calm = port.key(Touchy(false));
        let mut died = 0;
        for touchy_key in [true, false, true, false, true, false] {
            // This thread has the one place (S52), so that nobody takes the packet while the key is held here, too.
            assert!(matches!(port.get_timeout(Duration::ZERO), Err(GetError::TimedOut)));
            for _ in 0..10 {
                calm.post(0, Touchy(false)).expect("open");
            }
            // With its last packet goes the key.
            let key = port.key(Touchy(touchy_key));
            key.post(0, Touchy(!touchy_key)).expect("open");
            drop(key);
            for _ in 0..10 {
                calm.post(0, Touchy(false)).expect("open");
            }
            died += 1;
            blocking(|| {
                until("one dies of it, and the others serve", || {
                    let dead = workers.iter().filter(|worker| worker.is_finished()).count();
                    dead == died && served.load(Ordering::Relaxed) == 20 * died
                });
            });
        }
        // A peer's end is a packet too.
        assert!(matches!(port.get_timeout(Duration::ZERO), Err(GetError::TimedOut)));
        let (server, client) = connection();
        let server = port.associate(server, Touchy(true)).unwrap_or_else(|_| panic!("associated"));
        server.recv(Buffer::with_capacity(1), Touchy(false)).unwrap_or_else(|_| panic!("started"));
        drop(server);
        drop(client);
        blocking(|| {
            until("one dies of it", || {
                workers.iter().filter(|worker| worker.is_finished()).count() == died + 1
            });
            calm.post(0, Touchy(false)).expect("open");
            until("one is left", || served.load(Ordering::Relaxed) == 20 * died + 1);
        });
        port.close();
        let panics: Vec<_> = workers.into_iter().filter_map(|worker| worker.join().err()).collect();
        assert_eq!(panics.len(), died + 1);
        for panic in panics {
            assert_eq!(panic.downcast_ref(), Some(&"as planned"));
        }
    });
}

/// Does something when the thread that has it ends.
struct AtTheEnd(Option<Box<dyn FnOnce()>>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

thread_local! {
    static AT_THE_END: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
}

fn at_the_end(act: impl FnOnce() + 'static) {
    AT_THE_END.set(Some(AtTheEnd(Some(Box::new(act)))));
}

/// S106: also when the port's own locals are gone before, or come after.
fn a_thread_local_that_starts_things_when_its_thread_ends(driver: DriverKind) {
    for before_the_first_get in [true, false] {
        let port = exact(driver, 1);
        let (server, mut client) = pair(&port, ());
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let [stays, ends] = [(); 2].map(|()| Puppet::new(s));
            let handle: Handle<(), u32> = server.clone();
            let start = move || {
                at_the_end(move || {
                    handle.recv(Buffer::with_capacity(1), 1).expect("started");
                    handle.send(b"bye".as_slice().into(), 2).expect("started");
                    handle.post(0, 3).expect("open");
                });
            };
            if before_the_first_get {
                ends.act(start.clone());
            }
            post(&port, [0]);
            assert_eq!(ends.get(&port).end(), 0);
            if !before_the_first_get {
                ends.act(start);
            }
            ends.exit();
            assert_eq!(port.snapshot().running_threads, 0, "S54");
            client.read_exact(&mut [0; 3]).expect("what it sent");
            client.write_all(b"x").expect("written");
            let mut got = [(); 3].map(|()| stays.get(&port).end());
            got.sort_unstable();
            assert_eq!(got, [1, 2, 3], "S106");
        });
    }
}

/// A thread may even come for packets when it ends: its place is free all the same when it is gone.
fn a_thread_local_that_takes_packets_when_its_thread_ends(driver: DriverKind) {
    for before_the_first_get in [true, false] {
        // The destructor outlives every borrow.
        let port: &'static Port = for_good(exact(driver, 1));
        let taken: &'static AtomicUsize = for_good(AtomicUsize::default());
        let act = move || {
            let polled = port.get_timeout(Duration::ZERO);
            taken.fetch_add(usize::from(polled.is_ok()), Ordering::Relaxed);
        };
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let [stays, ends] = [(); 2].map(|()| Puppet::new(s));
            if before_the_first_get {
                ends.act(move || at_the_end(act));
            }
            post(port, [0]);
            assert_eq!(ends.get(port).end(), 0);
            if !before_the_first_get {
                ends.act(move || at_the_end(act));
            }
            let waits = stays.wait(port, 0);
            post(port, [1, 2]);
            ends.exit();
            // It has one of them, or came too late: its place was free before, and the waiter's.
            let taken = taken.load(Ordering::Relaxed);
            assert_eq!(waits.end(), 1 + taken as u32, "S54");
            assert_eq!(queued_and_running(port), (1 - taken, 1), "S54");
        });
    }
}

/// Under a load of posts and echoes, with every thread taking a few packets and exiting: each packet once.
fn a_thousand_threads_come_and_go(driver: DriverKind) {
    const AT_ONCE: usize = 16;
    const EACH: usize = 20;
    let threads = scaled("threads that come and go", 1_000, 1);
    let users = scaled("connections under them", 16, 2);
    let posts = threads * EACH / 2;
    // The context of a post is its number, and of an echo anything beyond.
    let beyond = posts as u32;
    let port: Port = open(driver, 4, Release::Observed, Waking::Late);
    let (servers, clients): (Vec<_>, Vec<_>) = (0..users).map(|_| pair(&port, ())).unzip();
    let seen: Vec<AtomicU8> = (0..posts).map(|_| AtomicU8::new(0)).collect();
    let begun = AtomicUsize::new(0);
    // First nobody begins to say anything, and when the last echo is back no thread follows another.
    let (over, silent) = (AtomicBool::new(false), AtomicBool::new(false));
    let work = || {
        for _ in 0..EACH {
            let Ok(done) = port.get() else { return };
            match done.context {
                number if number < beyond => {
                    assert_eq!(done.kind(), OpKind::Post);
                    seen[number as usize].fetch_add(1, Ordering::Relaxed);
                }
                _ => echo(done),
            }
        }
    };
    thread::scope(|s| {
        let _close = port.close_on_drop();
        // A failure is to be seen: nobody goes on without the others.
        let _end = SetOnDrop([&over, &silent]);
        for server in &servers {
            server.recv(Buffer::with_capacity(100), beyond).expect("started");
        }
        let talks: Vec<_> = (clients.into_iter())
            .map(|mut client| {
                let over = &over;
                s.spawn(move || {
                    let mut at = 0;
                    while !over.load(Ordering::Acquire) {
                        let said = pattern(at, 100);
                        client.write_all(&said).expect("written");
                        let mut back = [0; 100];
                        client.read_exact(&mut back).expect("echoed");
                        assert!(back[..] == said, "an echo that is not what was said");
                        at += 100;
                    }
                    at
                })
            })
            .collect();
        for _ in 0..AT_ONCE {
            s.spawn(|| {
                // Each of them is followed by another as long as there is something to do.
                while !silent.load(Ordering::Acquire) {
                    begun.fetch_add(1, Ordering::Relaxed);
                    thread::scope(|s| s.spawn(work).join()).unwrap_or_else(|e| resume_unwind(e));
                }
            });
        }
        let key = port.key(());
        for number in 0..beyond {
            key.post(0, number).expect("open");
            // Not all at once: there should be something to do as long as they come and go.
            if number.is_multiple_of(50) {
                until("a few are left", || port.snapshot().packets < 100);
            }
        }
        until("all posts are taken, and so many threads have come", || {
            seen.iter().all(|seen| seen.load(Ordering::Relaxed) > 0)
                && begun.load(Ordering::Relaxed) >= threads
        });
        over.store(true, Ordering::Release);
        for talk in talks {
            assert!(talk.join().expect("no echo is lost") > 0);
        }
        silent.store(true, Ordering::Release);
    });
    let more_than_once = seen.iter().filter(|seen| seen.load(Ordering::Relaxed) != 1).count();
    assert_eq!(more_than_once, 0, "of {posts} posts");
    assert_eq!(port.snapshot().running_threads, 0, "S54: {}", port.snapshot());
}
