//! Promise 8: idle is free.

use std::{
    io::{Read, Write},
    net::{TcpListener, UdpSocket},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use completion_port::{Buffer, CompletionPort, DriverKind, OpKind};

use crate::util::{
    child::alone,
    dial, get, open, pair,
    proc::{other_threads, when_asleep},
    until,
};

crate::on_each_driver!(
    nobody_moves_when_nothing_happens,
    who_has_started_to_accept_sleeps_while_another_takes_connections,
    who_has_started_to_receive_sleeps_while_another_takes_datagrams,
    an_idle_connection_pins_no_buffer,
);

/// How long nothing must happen.
const WINDOW: Duration = Duration::from_secs(2);

/// Four threads in `get`, idle connections of both kinds, a listener: no thread of the process runs or is switched to. In a process
/// of its own, so that no other test's threads are seen.
fn nobody_moves_when_nothing_happens(driver: DriverKind) {
    alone(|| {
        let port = open::<(), usize>(driver);
        let (servers, mut clients): (Vec<_>, Vec<_>) = (0..20).map(|_| pair(&port, ())).unzip();
        let listener = port
            .associate(TcpListener::bind("127.0.0.1:0").expect("a free port"), ())
            .expect("associated");
        thread::scope(|s| {
            let _close = port.close_on_drop();
            for _ in 0..4 {
                s.spawn(|| {
                    while let Ok(done) = port.get() {
                        // Each connection has echoed once: what that leaves behind is idle too.
                        if done.kind() == OpKind::RecvLent {
                            done.handle.recv_lent(done.context).expect("started");
                            done.handle.send(done.buffer, 0).expect("started");
                        }
                    }
                });
            }
            listener.accept_each(|| 0).expect("started");
            for (number, server) in servers.iter().enumerate() {
                server.recv_lent(number).expect("started");
                // Behind the first of its direction.
                server.recv(Buffer::with_capacity(8), number).expect("started");
            }
            let (lent, owned) = clients.split_at_mut(10);
            for client in lent {
                client.write_all(b"once").expect("written");
                client.read_exact(&mut [0; 4]).expect("echoed");
            }
            until("all wait", || port.snapshot().waiting_threads == 4);
            let before = when_asleep();
            assert!(before.len() >= 4, "{before:?}");
            thread::sleep(WINDOW);
            let after = other_threads();
            assert_eq!(before, after, "a thread has run: {}", port.snapshot());
            // And it is not dead.
            owned[0].write_all(b"still").expect("written");
            owned[0].read_exact(&mut [0; 5]).expect("echoed");
        });
    });
}

/// The main thread of a server, say. io_uring would wake it for each connection, if it had asked for many.
fn who_has_started_to_accept_sleeps_while_another_takes_connections(driver: DriverKind) {
    alone(|| {
        let port = open::<(), ()>(driver);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let dialled = listener.try_clone().expect("a duplicate");
        let listener = port.associate(listener, ()).expect("associated");
        starter_sleeps(
            &port,
            move || _ = listener.accept_each(|| ()).expect("started"),
            || drop(dial(&dialled)),
        );
    });
}

/// The same for each datagram.
fn who_has_started_to_receive_sleeps_while_another_takes_datagrams(driver: DriverKind) {
    alone(|| {
        let port = open::<(), ()>(driver);
        let [server, client] =
            [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a free port"));
        client.connect(server.local_addr().expect("bound")).expect("connected");
        let server = port.associate(server, ()).expect("associated");
        starter_sleeps(
            &port,
            move || _ = server.recv_from_each(|| ()).expect("started"),
            || _ = client.send(b"hello").expect("sent"),
        );
    });
}

/// One thread starts something, and sleeps; another takes what comes, each time that `come` is called.
fn starter_sleeps(port: &CompletionPort<(), ()>, start: impl FnOnce() + Send, come: impl Fn()) {
    let taken = AtomicUsize::new(0);
    let (tell, told) = mpsc::channel();
    thread::scope(|s| {
        let (_over, over) = mpsc::channel::<()>();
        let _close = port.close_on_drop();
        s.spawn(|| {
            while port.get().is_ok() {
                taken.fetch_add(1, Ordering::Relaxed);
            }
        });
        until("it waits", || port.snapshot().waiting_threads == 1);
        s.spawn(move || {
            start();
            tell.send(rustix::thread::gettid().as_raw_nonzero().get()).expect("it listens");
            // Until all is over.
            let _ = over.recv();
        });
        let starter = told.recv().expect("it tells") as u32;
        let come = |times| {
            let before = taken.load(Ordering::Relaxed);
            for one in 1..=times {
                come();
                until("it is taken", || taken.load(Ordering::Relaxed) == before + one);
            }
        };
        // The first is the starter's.
        come(1);
        let before = when_asleep()[&starter];
        come(50);
        let switches = other_threads()[&starter].switches_since(&before);
        assert!(switches < Some(10), "it was woken {switches:?} times");
    });
}

fn an_idle_connection_pins_no_buffer(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    server.recv_lent(()).expect("started");
    assert_eq!(port.snapshot().pool.lent, 0);
    client.write_all(b"hello").expect("written");
    let done = get(&port);
    assert_eq!((&done.buffer[..], port.snapshot().pool.lent), (&b"hello"[..], 1));
    drop(done);
    server.recv_lent(()).expect("started");
    assert_eq!(port.snapshot().pool.lent, 0);
}
