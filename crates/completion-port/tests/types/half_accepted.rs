//! `HalfAccepted`: who is connected and silent. (More of it, on every driver, in tests/promises/accept_with.rs.)

use std::{net::TcpListener, time::Duration};

use crate::util::{dial, get, until};
use completion_port::{Buffer, CompletionPort, HalfAccepted};

#[test]
fn names_the_accept_the_peer_and_the_time() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dialled = listener.try_clone().expect("a duplicate");
    let port = CompletionPort::<(), ()>::new().expect("a port");
    let listener = port.associate(listener, ()).expect("associated");
    let op = listener.accept_with(Buffer::with_capacity(8), ()).expect("started");
    let client = dial(&dialled);
    until("it has been connected for a while", || {
        assert!(port.get_timeout(Duration::ZERO).is_err());
        let half = listener.half_accepted();
        half.first().is_some_and(|half| half.connected >= Duration::from_millis(20))
    });
    let half: HalfAccepted = listener.half_accepted()[0];
    assert_eq!((half.id, half.peer), (op, client.local_addr().ok()));
    assert!(half.connected < crate::util::PATIENCE);
    assert!(format!("{half:?}").contains("connected"));
    drop(client);
    assert_eq!(get(&port).result.expect("the peer's end"), 0);
    assert_eq!(listener.half_accepted(), []);
}

#[test]
fn a_stream_and_a_key_have_none() {
    let port = CompletionPort::<(), ()>::new().expect("a port");
    let (stream, _client) = crate::util::pair(&port, ());
    assert!(stream.half_accepted().is_empty() && port.key(()).half_accepted().is_empty());
}
