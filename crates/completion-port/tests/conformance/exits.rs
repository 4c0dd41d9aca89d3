//! Threads that exit: what goes with them, and what stays.

use std::{io::Write, sync::Arc, thread};

use completion_port::{
    DriverKind,
    routine::{Done, current, queue_user_apc},
};

use crate::{
    kit::{get, nothing_comes, open, pair, room},
    routine_kit::{Log, elsewhere, on_a_thread, only, overlapped, run, this_thread},
};

conformance! {
    without_a_port_what_it_started_ends_with_it [S105]
        "an operation with a routine is cancelled when its thread exits: its routine never runs, and later data is for others";
    with_a_port_it_survives [S106]
        "operations on a port's handle, of both kinds of socket, survive the thread that started them and complete normally";
    its_calls_are_lost [S109]
        "calls that were queued for a thread and that it never came to are dropped when it exits, and run nowhere";
    nothing_can_be_queued_to_it_later [S109]
        "queueing a call to a thread that has exited is refused, and the call comes back";
}

fn without_a_port_what_it_started_ends_with_it(driver: DriverKind) {
    let (socket, mut client) = overlapped();
    let token = Arc::new(());
    on_a_thread(driver, || {
        let token = token.clone();
        let routine = move |_: Done| unreachable!("S105: it ran, {token:?}");
        socket.recv(room(8), routine).expect("started");
    });
    assert_eq!(Arc::strong_count(&token), 1, "S105: the routine is gone");
    on_a_thread(driver, || {
        let told: Log<Done> = Log::default();
        socket.recv(room(8), told.keep()).expect("started");
        client.write_all(b"later").expect("written");
        run();
        assert_eq!(&only(&told).buffer[..], b"later", "S105: it was cancelled");
    });
}

fn with_a_port_it_survives(driver: DriverKind) {
    let port = open(driver);
    let (server, mut client) = pair(&port);
    let (socket, address, peer) = crate::kit::datagrams(&port);
    elsewhere(|| {
        server.recv(room(8), 1).expect("started");
        socket.recv_from(room(8), 2).expect("started");
    });
    nothing_comes(&port);
    client.write_all(b"stream").expect("written");
    let packet = get(&port);
    assert_eq!((packet.context, &packet.buffer[..]), (1, &b"stream"[..]), "S106");
    peer.send_to(b"datagram", address).expect("sent");
    let packet = get(&port);
    assert_eq!((packet.context, &packet.buffer[..]), (2, &b"datagram"[..]), "S106");
}

fn its_calls_are_lost(driver: DriverKind) {
    let token = Arc::new(());
    on_a_thread(driver, || {
        for _ in 0..2 {
            let token = token.clone();
            let apc = move || unreachable!("S109: it ran, {token:?}");
            queue_user_apc(&this_thread(), apc).expect("it is alive");
        }
        assert_eq!(Arc::strong_count(&token), 3);
    });
    assert_eq!(Arc::strong_count(&token), 1, "S109");
}

fn nothing_can_be_queued_to_it_later(driver: DriverKind) {
    let gone = on_a_thread(driver, || current().expect("it has a driver"));
    let ran = Log::default();
    let refused = queue_user_apc(&gone, ran.apc("after all")).expect_err("S109");
    assert_eq!(refused.error.kind(), std::io::ErrorKind::NotFound);
    assert!(ran.is_empty());
    // It is the call itself that comes back.
    thread::spawn(refused.context).join().expect("no panic");
    assert_eq!(ran.take(), ["after all"]);
}
