//! The port: what makes one, and what belongs to it.

use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    num::NonZero,
    thread,
};

use completion_port::{CompletionPort, DriverKind, routine::Done};

use crate::{
    kit::{connection, get, nothing_comes, open, pair, room, times_out},
    routine_kit::{Log, on_a_thread, only, overlapped, run},
};

conformance! {
    a_new_port_is_empty_and_works [S1]
        "a port is made with no handle, has no packet, and gives out what is posted to it";
    an_associated_handle_brings_packets_with_its_key [S2]
        "operations on an associated socket bring packets at the port, with the socket's own key";
    a_handle_is_associated_once [S6]
        "a second association, at the same port or another, is refused as InvalidInput, and gives socket and key back";
    the_association_lasts_until_the_handle_is_closed [S6]
        "a refused second association changes nothing: packets go on coming to the first port, with the first key";
    a_duplicate_has_the_same_association [S13]
        "a duplicate of an associated socket cannot be associated, and what it causes comes to the socket's port";
    no_limit_is_the_number_of_processors [S9]
        "a limit of 0 is the number of processors, and any other is as it is given";
    what_has_a_routine_already_keeps_it [S11]
        "an operation with a routine that was started before the association ends in its routine and posts nothing";
    every_thread_can_use_it [S16]
        "one thread associates, another starts, another posts, and each of two more takes a packet";
}

fn a_new_port_is_empty_and_works(driver: DriverKind) {
    let port = open(driver);
    times_out(&port);
    port.key("a key").post(1, 2).expect("open");
    let packet = get(&port);
    assert_eq!((*packet.handle.key(), packet.context), ("a key", 2));
    times_out(&port);
}

fn an_associated_handle_brings_packets_with_its_key(driver: DriverKind) {
    let port = open(driver);
    for key in ["one", "two", "three"] {
        let (server, mut client) = connection();
        let handle = port.associate(server, key).expect("associated");
        handle.recv(room(8), 1).expect("started");
        client.write_all(b"x").expect("written");
        let packet = get(&port);
        assert_eq!((*handle.key(), *packet.handle.key()), (key, key));
    }
}

fn a_handle_is_associated_once(driver: DriverKind) {
    let [port, other] = [open(driver), open(driver)];
    let (server, _client) = connection();
    let same = [server.try_clone(), server.try_clone()].map(|same| same.expect("a duplicate"));
    let address = server.local_addr().expect("bound");
    let _handle = port.associate(server, "first").expect("associated");
    for (port, same) in [&port, &other].into_iter().zip(same) {
        let refused = port.associate(same, "second").expect_err("S6");
        assert_eq!((refused.error.kind(), refused.key), (ErrorKind::InvalidInput, "second"));
        assert_eq!(refused.source.local_addr().expect("it comes back"), address);
    }
}

fn the_association_lasts_until_the_handle_is_closed(driver: DriverKind) {
    let [port, other] = [open(driver), open(driver)];
    let (server, mut client) = connection();
    let same = server.try_clone().expect("a duplicate");
    let handle = port.associate(server, "first").expect("associated");
    handle.recv(room(8), 1).expect("started");
    other.associate(same, "second").expect_err("S6");
    client.write_all(b"x").expect("written");
    let packet = get(&port);
    assert_eq!((*packet.handle.key(), packet.context), ("first", 1));
    handle.recv(room(8), 2).expect("started");
    client.write_all(b"x").expect("written");
    assert_eq!(get(&port).context, 2);
    nothing_comes(&other);
}

fn a_duplicate_has_the_same_association(driver: DriverKind) {
    let [port, other] = [open(driver), open(driver)];
    let (server, mut client) = connection();
    let duplicate = server.try_clone().expect("a duplicate");
    let handle = port.associate(server, "the socket's").expect("associated");
    handle.recv(room(8), 1).expect("started");
    let refused = other.associate(duplicate, "the duplicate's").expect_err("S13");
    // What is done with the duplicate is done to the socket.
    refused.source.shutdown(Shutdown::Write).expect("connected");
    assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
    client.write_all(b"x").expect("written");
    let packet = get(&port);
    assert_eq!((*packet.handle.key(), packet.result.expect("received")), ("the socket's", 1));
}

fn no_limit_is_the_number_of_processors(driver: DriverKind) {
    let limit = |limit| {
        let builder = CompletionPort::builder().driver(driver).limit(limit);
        builder.build::<(), ()>().expect("a probed driver can be had").concurrency()
    };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    assert_eq!(limit(0), processors);
    assert_eq!([1, 3, 100].map(limit), [1, 3, 100]);
}

fn what_has_a_routine_already_keeps_it(driver: DriverKind) {
    on_a_thread(driver, || {
        let port = open(driver);
        let (socket, mut client) = overlapped();
        let told: Log<Done> = Log::default();
        socket.recv(room(8), told.keep()).expect("started");
        let _handle = port.associate(socket, "the port's").expect("associated");
        client.write_all(b"hello").expect("written");
        run();
        assert_eq!(&only(&told).buffer[..], b"hello");
        nothing_comes(&port);
    });
}

fn every_thread_can_use_it(driver: DriverKind) {
    let port = open(driver);
    let (server, mut client) = thread::scope(|s| s.spawn(|| pair(&port)).join()).expect("no panic");
    thread::scope(|s| {
        let _close = port.close_on_drop();
        s.spawn(|| server.recv(room(8), 1).map(drop).expect("started"));
        s.spawn(|| server.post(0, 2).expect("open"));
        let taken = [(); 2].map(|()| s.spawn(|| get(&port).context));
        client.write_all(b"x").expect("written");
        let mut contexts = taken.map(|taken| taken.join().expect("no panic"));
        contexts.sort_unstable();
        assert_eq!(contexts, [1, 2]);
    });
}
