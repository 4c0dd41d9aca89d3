//! Files: each operation says where it begins.

use std::io::ErrorKind;

use completion_port::{DriverKind, error::Situation};

use crate::kit::{Scratch, get, nothing_comes, open, pair, pattern, room, situation, take, with};

conformance! {
    an_operation_begins_where_it_says [S158]
        "reads and writes begin at the offsets they name, whatever was read or written before: there is no pointer";
    a_read_at_the_end_is_an_error [S159]
        "a read that begins at the end of the file, or behind it, fails as the end of the file; one before it is short";
    what_the_cache_serves_brings_a_packet [S160]
        "reads and writes that can be done at once bring one packet each, as any other";
    streams_have_one_pair_of_calls [S163]
        "receive and send are what reading and writing is on a socket; what is at an offset is refused there, and a file receives nothing";
}

fn an_operation_begins_where_it_says(driver: DriverKind) {
    let port = open(driver);
    let scratch = Scratch::new(b"0123456789");
    let file = port.associate(scratch.open(), "file").expect("associated");
    for (offset, expected) in [(4, &b"456"[..]), (4, b"456"), (0, b"012"), (7, b"789")] {
        file.read_at(Vec::with_capacity(3).into(), offset, 1).expect("started");
        assert_eq!(&get(&port).buffer[..], expected, "S158");
    }
    for (offset, bytes) in [(8, &b"ij"[..]), (0, b"a"), (12, b"m")] {
        file.write_at(with(bytes), offset, 2).expect("started");
        assert_eq!(get(&port).result.expect("written"), bytes.len());
    }
    assert_eq!(scratch.content(), b"a1234567ij\0\0m", "S158");
}

fn a_read_at_the_end_is_an_error(driver: DriverKind) {
    let port = open(driver);
    let scratch = Scratch::new(b"0123456789");
    let file = port.associate(scratch.open(), "file").expect("associated");
    for offset in [10, 11, 1 << 40] {
        file.read_at(room(8), offset, 1).expect("started");
        let packet = get(&port);
        assert_eq!(situation(&packet.result), Some(Situation::EndOfFile), "S159");
        assert_eq!(packet.result.expect_err("S159").kind(), ErrorKind::UnexpectedEof);
    }
    file.read_at(room(8), 7, 2).expect("started");
    let packet = get(&port);
    assert_eq!((packet.result.expect("before the end"), &packet.buffer[..]), (3, &b"789"[..]));
}

fn what_the_cache_serves_brings_a_packet(driver: DriverKind) {
    let port = open(driver);
    let content = pattern(4096);
    let scratch = Scratch::new(&content);
    let file = port.associate(scratch.open(), "file").expect("associated");
    for n in 0..4 {
        file.write_at(with(&content), 0, n).expect("started");
    }
    take(&port, 4).iter().zip(0..).for_each(|(packet, n)| assert_eq!(packet.context, n));
    for n in 0..4 {
        file.read_at(Vec::with_capacity(4096).into(), 0, n).expect("started");
    }
    for (packet, n) in take(&port, 4).iter().zip(0..) {
        assert_eq!((packet.context, packet.result.as_ref().ok()), (n, Some(&4096)), "S160");
        assert!(packet.buffer[..] == content[..]);
    }
    nothing_comes(&port);
}

fn streams_have_one_pair_of_calls(driver: DriverKind) {
    let port = open(driver);
    let (server, mut client) = pair(&port);
    server.recv(room(8), 1).expect("started");
    std::io::Write::write_all(&mut client, b"read").expect("written");
    assert_eq!(&get(&port).buffer[..], b"read", "S163");
    server.send(with(b"write"), 2).expect("started");
    assert_eq!(get(&port).result.expect("S163"), 5);
    let read = server.read_at(room(8), 0, 3).expect_err("S163");
    let write = server.write_at(with(b"x"), 0, 4).expect_err("S163");
    let scratch = Scratch::new(b"content");
    let file = port.associate(scratch.open(), "file").expect("associated");
    let recv = file.recv(room(8), 5).expect_err("S163");
    let send = file.send(with(b"x"), 6).expect_err("S163");
    for error in [read.error, write.error, recv.error, send.error] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "S163");
    }
    nothing_comes(&port);
}
