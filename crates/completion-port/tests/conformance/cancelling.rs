//! Cancelling: what it finds, and how what it finds ends.

use std::{io::Write, thread};

use completion_port::{DriverKind, error::Situation, routine::Done};

use crate::{
    kit::{get, nothing_comes, open, pair, room, situation, take},
    routine_kit::{Log, on_a_thread, only, overlapped, run},
};

conformance! {
    a_cancel_tells_whether_it_found_the_operation [S85]
        "cancelling a pending operation finds it and ends it; one that is over is not found";
    to_cancel_all_means_those_of_all_threads [S86]
        "cancelling all of a handle ends what every thread has started on it, and tells how many";
    to_cancel_ones_own_means_those_of_the_thread [S87]
        "a thread that cancels its own leaves those of other threads pending, and they complete normally";
    a_second_cancel_finds_nothing [S88]
        "the second cancel of an operation finds nothing, before its packet is taken and after";
    a_cancelled_operation_has_a_packet [S89]
        "a cancelled operation ends as cancelled, by a packet with its context and buffer";
    or_ends_normally_with_what_had_come [S89]
        "a receive that is cancelled when its data has come has it, or leaves it for the next: it is not lost";
    others_are_left_alone [S91]
        "cancelling one of two queued receives ends that one, and the other gets the data";
}

fn a_cancel_tells_whether_it_found_the_operation(driver: DriverKind) {
    let port = open(driver);
    let (server, mut client) = pair(&port);
    let id = server.recv(room(8), 1).expect("started");
    assert!(server.cancel(id), "S85: it was pending");
    assert_eq!(situation(&get(&port).result), Some(Situation::Cancelled));
    let id = server.recv(room(8), 2).expect("started");
    client.write_all(b"x").expect("written");
    assert_eq!(get(&port).result.expect("a success"), 1);
    assert!(!server.cancel(id), "S85: it is over");
    nothing_comes(&port);
}

fn to_cancel_all_means_those_of_all_threads(driver: DriverKind) {
    let port = open(driver);
    let (server, _client) = pair(&port);
    thread::scope(|s| {
        for n in 0..3 {
            let server = &server;
            s.spawn(move || server.recv(room(8), n).map(drop).expect("started"));
        }
    });
    server.recv(room(8), 3).expect("started");
    assert_eq!(server.cancel_all(), 4, "S86");
    for (n, packet) in (0..).zip(take(&port, 4)) {
        assert_eq!((packet.context, situation(&packet.result)), (n, Some(Situation::Cancelled)));
    }
    nothing_comes(&port);
}

fn to_cancel_ones_own_means_those_of_the_thread(driver: DriverKind) {
    let (socket, mut client) = overlapped();
    on_a_thread(driver, || {
        let told: Log<Done> = Log::default();
        socket.recv(room(8), told.keep()).expect("started");
        on_a_thread(driver, || {
            let others: Log<Done> = Log::default();
            assert_eq!(socket.cancel_own(), 0, "S87: there is nothing of its own");
            socket.recv(room(8), others.keep()).expect("started");
            assert_eq!(socket.cancel_own(), 1);
            run();
            assert_eq!(situation(&only(&others).result), Some(Situation::Cancelled));
        });
        client.write_all(b"mine").expect("written");
        run();
        assert_eq!(&only(&told).buffer[..], b"mine", "S87");
    });
}

fn a_second_cancel_finds_nothing(driver: DriverKind) {
    let port = open(driver);
    let (server, _client) = pair(&port);
    let id = server.recv(room(8), 1).expect("started");
    assert!(server.cancel(id));
    assert!(!server.cancel(id), "S88");
    assert_eq!(get(&port).context, 1);
    assert!(!server.cancel(id), "S88");
    assert_eq!(server.cancel_all(), 0);
}

fn a_cancelled_operation_has_a_packet(driver: DriverKind) {
    let port = open(driver);
    let (server, _client) = pair(&port);
    let id = server.recv(room(8), 89).expect("started");
    assert!(server.cancel(id));
    let packet = get(&port);
    assert_eq!(situation(&packet.result), Some(Situation::Cancelled));
    assert_eq!((*packet.handle.key(), packet.context), ("server", 89));
    assert!(packet.buffer.is_empty() && packet.buffer.capacity() >= 8);
    nothing_comes(&port);
}

fn or_ends_normally_with_what_had_come(driver: DriverKind) {
    let port = open(driver);
    let (server, mut client) = pair(&port);
    for n in 0..50 {
        let id = server.recv(room(8), n).expect("started");
        client.write_all(b"data").expect("written");
        server.cancel(id);
        let packet = get(&port);
        assert_eq!(packet.context, n);
        let mut received = packet.buffer;
        match situation(&packet.result) {
            None => {}
            Some(named) => {
                assert_eq!(named, Situation::Cancelled);
                assert!(received.is_empty());
                server.recv(received, n).expect("started");
                received = get(&port).buffer;
            }
        }
        assert_eq!(&received[..], b"data", "S89");
    }
    nothing_comes(&port);
}

fn others_are_left_alone(driver: DriverKind) {
    for which in [0, 1] {
        let port = open(driver);
        let (server, mut client) = pair(&port);
        let ids = [0, 1].map(|n| server.recv(room(8), n).expect("started"));
        assert!(server.cancel(ids[which as usize]));
        let packet = get(&port);
        assert_eq!(
            (packet.context, situation(&packet.result)),
            (which, Some(Situation::Cancelled))
        );
        nothing_comes(&port);
        client.write_all(b"x").expect("written");
        let packet = get(&port);
        assert_eq!((packet.context, packet.result.expect("S91")), (1 - which, 1));
    }
}
