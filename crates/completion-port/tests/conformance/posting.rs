//! Posting: packets without I/O.

use completion_port::DriverKind;

use crate::kit::{get, open, pair, room, times_out};

conformance! {
    values_come_out_unchanged [S37]
        "byte count, key and context of a posted packet come out as they went in, whatever they are";
    packets_come_out_first_in_first_out [S38]
        "what one thread posts, on several handles, comes out in the order of the posts";
    posts_of_all_keys_and_handles_are_one_queue [S38]
        "a post on an associated socket takes its place among posts on bare keys";
    a_posted_packet_is_a_success [S39]
        "a posted packet is a success with the byte count that was given, also on a handle with I/O pending";
    posting_to_a_closed_port_fails [S40]
        "a post to a closed port is refused, and its context comes back";
}

fn values_come_out_unchanged(driver: DriverKind) {
    let port = open(driver);
    let values = [0, 1, 4096, u32::MAX];
    for bytes in values {
        for context in values {
            port.key("a key").post(bytes as usize, context).expect("open");
            let packet = get(&port);
            let result = packet.result.expect("a success");
            assert_eq!((*packet.handle.key(), packet.context), ("a key", context));
            assert_eq!(result, bytes as usize);
        }
    }
}

fn packets_come_out_first_in_first_out(driver: DriverKind) {
    let port = open(driver);
    let keys = [port.key("even"), port.key("odd")];
    (0..1000).for_each(|n| keys[n % 2].post(0, n as u32).expect("open"));
    for n in 0..1000 {
        let packet = get(&port);
        assert_eq!((packet.context, packet.handle == keys[n % 2]), (n as u32, true));
    }
    times_out(&port);
}

fn posts_of_all_keys_and_handles_are_one_queue(driver: DriverKind) {
    let port = open(driver);
    let ((first, _one), (second, _two)) = (pair(&port), pair(&port));
    let key = port.key("no socket");
    for n in 0..30 {
        [&first, &key, &second][n % 3].post(n, n as u32).expect("open");
    }
    for n in 0..30 {
        let packet = get(&port);
        assert_eq!((packet.context, packet.result.expect("a success")), (n as u32, n));
    }
}

fn a_posted_packet_is_a_success(driver: DriverKind) {
    let port = open(driver);
    let (server, _client) = pair(&port);
    server.recv(room(8), 1).expect("started");
    server.post(39, 2).expect("open");
    let packet = get(&port);
    assert_eq!((packet.context, packet.result.expect("S39")), (2, 39));
    times_out(&port);
}

fn posting_to_a_closed_port_fails(driver: DriverKind) {
    let port = open(driver);
    let key = port.key("a key");
    port.close();
    assert_eq!(key.post(0, 40).expect_err("S40").context, 40);
    drop(port);
    assert_eq!(key.post(0, 41).expect_err("S40").context, 41);
}
