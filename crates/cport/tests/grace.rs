//! How long a stop of `cport serve` takes.
//!
//! In a file of its own, because the tests of one file run at once, and others would take the processor from these.

mod common;

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use common::{Server, Signal, converse, reset_at_close};

/// Connects with a small receive buffer, which does not grow by itself.
fn small(server: &Server) -> TcpStream {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(16 * 1024).expect("a small buffer");
    socket.connect(&server.addresses[0].into()).expect("connected");
    socket.into()
}

/// Sends to the server until it takes no more because nothing is read back.
fn stuff(server: &Server, stream: &TcpStream) {
    stream.set_nonblocking(true).expect("nonblocking");
    let (mut stream, piece) = (stream, vec![1; 64 * 1024]);
    let mut before = 0;
    let mut still = 0;
    server.wait_until("the client is stuck", |state| {
        loop {
            match stream.write(&piece) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        // The last echo does not go out: what is read stays ahead of what is sent.
        still =
            if state["read"] == before && state["read"] > state["sent"] { still + 1 } else { 0 };
        before = state["read"];
        still == 20
    });
}

#[test]
fn a_client_that_never_reads_does_not_hold_up_the_end() {
    let grace = Duration::from_secs(1);
    let server = Server::start(&["--grace", "1"]);
    let deaf = small(&server);
    stuff(&server, &deaf);
    let mut polite = server.connect();
    converse(&polite, 3, 10_000);
    let start = Instant::now();
    server.signal(Signal::Stop);
    assert_eq!(polite.read(&mut [0]).expect("the end"), 0);
    assert!(start.elapsed() < grace, "the other client need not wait");
    drop(polite);
    let (code, total, errors) = server.finish_and_tell();
    let took = start.elapsed();
    println!("stopped in {took:?}: {total:?}; {errors:?}");
    assert_eq!((code, total["closed"]), (Some(0), 2));
    assert!(took < grace + Duration::from_secs(1), "{took:?}");
    // Not that something is unsent: its socket's buffer may have grown meanwhile, and then the last try of the last echo hands
    // the rest of it over, for nobody to read.
    assert_eq!(total["read"], total["sent"] + total["unsent"]);
}

#[test]
fn what_a_client_goes_without_is_unsent() {
    let server = Server::start(&[]);
    let deaf = small(&server);
    stuff(&server, &deaf);
    reset_at_close(&deaf);
    drop(deaf);
    let state = server.wait_until("the client is missed", |state| state["closed"] == 1);
    let (code, total) = server.stop();
    assert_eq!((code, total["read"]), (Some(0), state["read"]));
    assert!(total["unsent"] > 0, "{total:?}");
    assert_eq!(total["read"], total["sent"] + total["unsent"]);
}

#[test]
fn a_second_signal_does_not_wait() {
    let server = Server::start(&["--grace", "1000"]);
    let deaf = small(&server);
    stuff(&server, &deaf);
    server.signal(Signal::Stop);
    server.signal(Signal::Interrupt);
    let (code, total) = server.finish();
    assert_eq!((code, total["accepted"]), (Some(1), 1));
}
