//! One socket of several threads: each routine runs on the thread that started its operation (S164).

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
    thread,
};

use completion_port::{
    DriverKind,
    routine::{Done, OverlappedSocket},
};

use crate::{
    kit::{Log, drive_by, on_a_thread, pair, room, run_until},
    util::{assert_same, drivers::available, pattern},
};

crate::on_each_driver!(one_receives_and_another_sends, all_receive_and_nothing_is_lost);

/// So much goes each way.
const MUCH: usize = 3 << 20;

fn receive_all(socket: &OverlappedSocket) -> Vec<u8> {
    let (got, here): (Log<Done>, _) = (Log::default(), thread::current().id());
    let mut received = Vec::new();
    while received.len() < MUCH {
        let log = got.clone();
        let routine = move |done| {
            assert_eq!(thread::current().id(), here, "S164");
            log.add(done);
        };
        socket.recv(room(30_000), routine).expect("started");
        run_until("it comes", || got.len() == 1);
        received.extend_from_slice(&got.take().remove(0).buffer);
    }
    received
}

fn send_all(socket: &OverlappedSocket, bytes: &[u8]) {
    let (sent, here) = (Log::default(), thread::current().id());
    let mut count = 0;
    for piece in bytes.chunks(100_000) {
        let log = sent.clone();
        let routine = move |done: Done| {
            assert_eq!(thread::current().id(), here, "S164");
            log.add(done.result.expect("whole"));
        };
        socket.send(piece.into(), routine).expect("started");
        count += 1;
    }
    run_until("all are sent", || sent.len() == count);
}

/// The other end, both ways at once.
fn exchange(client: &TcpStream, bytes: &[u8]) {
    thread::scope(|s| {
        s.spawn(|| (&mut &*client).write_all(bytes).expect("written"));
        let mut read = vec![0; MUCH];
        (&mut &*client).read_exact(&mut read).expect("all of it");
        assert_same(&read, bytes, "what was sent");
    });
}

fn both_ways(receiving: DriverKind, sending: DriverKind) {
    let (socket, client) = pair();
    let bytes = pattern(0, MUCH);
    thread::scope(|s| {
        s.spawn(|| {
            drive_by(receiving);
            assert_same(&receive_all(&socket), &bytes, "what was received");
        });
        s.spawn(|| {
            drive_by(sending);
            send_all(&socket, &bytes);
        });
        exchange(&client, &bytes);
    });
}

fn one_receives_and_another_sends(driver: DriverKind) {
    both_ways(driver, driver);
}

/// A thread's driver is its own: another thread's may be of another kind, on the same socket.
#[test]
fn their_drivers_may_differ() {
    let drivers = available();
    for receiving in &drivers {
        for sending in &drivers {
            if receiving != sending {
                both_ways(*receiving, *sending);
            }
        }
    }
}

/// One byte at a time, each goes to one of them: S116 has order only for one thread.
fn all_receive_and_nothing_is_lost(driver: DriverKind) {
    const EACH: usize = 50;
    const THREADS: usize = 3;
    let (socket, mut client) = pair();
    let (tell, told) = mpsc::channel();
    thread::scope(|s| {
        for _ in 0..THREADS {
            let (socket, tell) = (&socket, tell.clone());
            s.spawn(move || {
                on_a_thread(driver, || {
                    let got = Log::default();
                    for _ in 0..EACH {
                        let (log, here) = (got.clone(), thread::current().id());
                        let routine = move |done: Done| {
                            assert_eq!(thread::current().id(), here, "S164");
                            log.add(done.buffer[0]);
                        };
                        socket.recv(room(1), routine).expect("started");
                    }
                    run_until("its own", || got.len() == EACH);
                    tell.send(got.take()).expect("somebody listens");
                });
            });
        }
        let bytes: Vec<u8> = (0..(THREADS * EACH) as u8).collect();
        client.write_all(&bytes).expect("written");
        drop(tell);
        let mut all: Vec<u8> = told.iter().flatten().collect();
        all.sort_unstable();
        assert_eq!(all, bytes);
    });
}
