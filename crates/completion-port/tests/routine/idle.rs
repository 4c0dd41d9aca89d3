//! A thread that waits alertably costs nothing: it sleeps, and wakes for what is to be done.

use std::{
    io::{Read, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use completion_port::{
    DriverKind, GetError,
    routine::{current, queue_user_apc, sleep_ex},
};

use crate::{
    kit::{drive_by, pair, pair_with, room, run},
    util::{
        child::alone,
        open,
        proc::{other_threads, when_asleep},
        until,
    },
};

crate::on_each_driver!(nobody_moves_when_nothing_happens);

/// How long nothing must happen.
const WINDOW: Duration = Duration::from_secs(2);

/// Threads in an alertable sleep, in a blocking read, and in alertable waits at a port (one of them drives it), with I/O pending;
/// routines have run before. In a process of its own, so that no other test's threads are seen.
fn nobody_moves_when_nothing_happens(driver: DriverKind) {
    alone(|| {
        let port = open::<(), ()>(driver);
        let (tell, told) = mpsc::channel();
        let (plain, mut peer) = pair();
        thread::scope(|s| {
            for way in 0..5 {
                let (port, tell, mut plain) = (&port, tell.clone(), &plain);
                s.spawn(move || {
                    drive_by(driver);
                    let (socket, _client) = pair_with(b"x");
                    socket.recv(room(1), |_| ()).expect("started");
                    run();
                    socket.recv(room(1), |_| ()).expect("started");
                    socket.recv_lent(|_| ()).expect("started");
                    tell.send(current().expect("a thread")).expect("somebody listens");
                    match way {
                        0 => _ = sleep_ex(Duration::MAX, true).expect("the driver works"),
                        1 => plain.read_exact(&mut [0]).expect("something comes"),
                        _ => {
                            let waited = port.get_alertable(None);
                            assert!(matches!(waited, Err(GetError::Alerted)), "{waited:?}");
                        }
                    }
                });
            }
            let names: Vec<_> = (0..5).map(|_| told.recv().expect("told")).collect();
            until("three wait at the port", || port.snapshot().waiting_threads == 3);
            let before = when_asleep();
            assert!(before.len() >= 5, "{before:?}");
            thread::sleep(WINDOW);
            assert_eq!(before, other_threads(), "a thread has run: {}", port.snapshot());
            // And none is dead.
            for name in &names {
                queue_user_apc(name, || ()).expect("queued");
            }
            peer.write_all(b"x").expect("written");
        });
    });
}
