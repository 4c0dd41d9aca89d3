//! `cport serve --model routine`, from outside: it does for its clients what the server on a port does.

mod common;

use std::{
    io::{Read, Write},
    net::Shutdown,
};

use common::{Server, Signal, bytes, check, connect, converse, scaled, sys::DRIVER};

fn start(more: &[&str]) -> Server {
    Server::start(&[&["--model", "routine"], more].concat())
}

#[test]
fn the_first_line_names_the_model() {
    let server = start(&["--driver", DRIVER]);
    assert!(server.first.contains(&format!(", driver {DRIVER} (")), "{}", server.first);
    assert!(server.first.ends_with("), model routine, 1 thread"), "{}", server.first);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn many_clients_get_back_every_byte_and_are_counted() {
    let server = start(&[]);
    let count = scaled(300);
    let streams: Vec<_> = (0..count).map(|_| server.connect()).collect();
    for (n, stream) in streams.iter().enumerate() {
        converse(stream, n as u64, if n % 16 == 0 { 1_000_000 } else { 3000 });
    }
    server.wait_until("all are open", |state| state["open"] == count as u64);
    drop(streams);
    let state = server.wait_until("all have gone", |state| state["closed"] == count as u64);
    assert_eq!((state["open"], state["errors"], state["read"]), (0, 0, state["sent"]));
    assert_eq!(server.stop().0, Some(0));
}

/// What had arrived is echoed, the client is told the end and not reset, and the account is even.
#[test]
fn a_stop_is_graceful() {
    let server = start(&[]);
    let mut streams: Vec<_> = (0..10).map(|_| server.connect()).collect();
    for (n, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&bytes(n as u64, 0, 10_000)).expect("sent");
    }
    server.wait_until("all is read", |state| state["read"] == 100_000);
    server.signal(Signal::Stop);
    for (n, stream) in streams.iter_mut().enumerate() {
        let mut echo = Vec::new();
        stream.read_to_end(&mut echo).expect("the echo, then the end");
        check(n as u64, 0, &echo);
        assert_eq!(echo.len(), 10_000);
        stream.shutdown(Shutdown::Write).expect("connected");
    }
    let (code, total) = server.finish();
    assert_eq!((code, total["accepted"], total["closed"]), (Some(0), 10, 10));
    assert_eq!((total["read"], total["sent"], total["unsent"]), (100_000, 100_000, 0));
}

#[test]
fn no_more_connections_than_allowed() {
    let server = start(&["--max-connections", "2"]);
    let (first, second) = (server.connect(), server.connect());
    converse(&first, 1, 100);
    converse(&second, 2, 100);
    let third = connect(server.addresses[0]);
    (&third).write_all(&bytes(3, 0, 100)).expect("sent");
    assert_eq!(server.state()["open"], 2, "the third waits");
    drop(first);
    let mut back = [0; 100];
    (&third).read_exact(&mut back).expect("its turn has come");
    check(3, 0, &back);
}
