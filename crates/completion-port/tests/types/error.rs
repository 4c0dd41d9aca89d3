//! `Situation`: every row of the table in `error` that can be brought about, with the system's code kept.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use crate::util::{codes, get, pair, pattern, reset, until};
use completion_port::{Buffer, CompletionPort, TcpSocket, error::Situation};

fn port() -> CompletionPort<(), ()> {
    CompletionPort::builder().queue_limit(1).build().expect("a port")
}

/// What it stands for, and the system's code.
fn told(error: &io::Error) -> (Option<Situation>, Option<i32>) {
    (Situation::of(error), error.raw_os_error())
}

#[test]
fn the_peer_reset_the_connection() {
    let port = port();
    let (server, client) = pair(&port, ());
    server.recv_lent(()).expect("started");
    reset(client);
    assert_eq!(
        told(&get(&port).result.expect_err("reset")),
        (Some(Situation::PeerReset), Some(codes::ECONNRESET))
    );
}

/// The peer has closed and is sent more: the first send is lost, the reset that answers it ends the others.
#[test]
fn the_peer_was_sent_more_after_it_had_closed() {
    let port = port();
    let (server, mut client) = pair(&port, ());
    client.write_all(b"x").expect("written");
    server.recv_lent(()).expect("started");
    get(&port).result.expect("received");
    drop(client);
    let mut last = None;
    until("a send fails", || {
        server.send(vec![1].into(), ()).expect("started");
        last = get(&port).result.err();
        last.is_some()
    });
    let (situation, code) = told(&last.expect("a send fails"));
    assert_eq!(situation, Some(Situation::PeerReset));
    assert!(matches!(code, Some(codes::EPIPE | codes::ECONNRESET)), "{code:?}");
}

#[test]
fn nobody_listens_there() {
    let port = port();
    let any = "127.0.0.1:0".parse().expect("an address");
    let nobody = TcpSocket::new(&any).expect("a socket");
    nobody.bind(&any).expect("a free port");
    let address = socket2::SockRef::from(&nobody)
        .local_addr()
        .expect("bound")
        .as_socket()
        .expect("an IP address");
    port.associate(TcpSocket::new(&any).expect("a socket"), ())
        .expect("associated")
        .connect(address, ())
        .expect("started");
    assert_eq!(
        told(&get(&port).result.expect_err("refused")),
        (Some(Situation::ConnectionRefused), Some(codes::ECONNREFUSED))
    );
}

#[test]
fn this_side_closed_the_handle() {
    let port = port();
    let (server, _client) = pair(&port, ());
    server.recv_lent(()).expect("started");
    server.close();
    assert_eq!(
        told(&get(&port).result.expect_err("closed")),
        (Some(Situation::LocalClose), Some(codes::ECONNABORTED))
    );
}

#[test]
fn the_operation_was_cancelled() {
    let port = port();
    let (server, _client) = pair(&port, ());
    let id = server.recv_lent(()).expect("started");
    assert!(server.cancel(id));
    assert_eq!(
        told(&get(&port).result.expect_err("cancelled")),
        (Some(Situation::Cancelled), Some(codes::ECANCELED))
    );
    server.recv_lent(()).expect("started");
    let left = port.close();
    assert_eq!(
        told(left[0].result.as_ref().expect_err("the port closed")),
        (Some(Situation::Cancelled), Some(codes::ECANCELED))
    );
}

#[test]
fn a_deadline_of_the_port_passed() {
    let port = port();
    let (server, _client) = pair(&port, ());
    server.end(Duration::from_millis(1), ()).expect("started");
    assert_eq!(
        told(&get(&port).result.expect_err("late")),
        (Some(Situation::TimedOut), Some(codes::ETIMEDOUT))
    );
}

#[test]
fn too_much_is_queued() {
    let port = port();
    let (server, _client) = pair(&port, ());
    server.recv_lent(()).expect("with the driver");
    server.recv_lent(()).expect("waits");
    let refused = server.recv(Buffer::with_capacity(1), ()).expect_err("one too many");
    assert_eq!(told(&refused.error), (Some(Situation::TooManyQueued), None));
}

/// The end of a stream is no error, and what is refused for other reasons is in no row.
#[test]
fn not_everything_is_a_situation() {
    let port = port();
    let (server, client) = pair(&port, ());
    drop(client);
    server.recv_lent(()).expect("started");
    assert_eq!(get(&port).result.expect("no error"), 0);
    let refused = server.send(Buffer::new(), ()).expect_err("empty");
    assert_eq!(Situation::of(&refused.error), None);
    server.close();
    assert_eq!(Situation::of(&server.recv_lent(()).expect_err("closed").error), None);
}

/// S84. Rows that the operations of today cannot bring about: the mapping alone, by code and by kind.
#[test]
fn codes_and_kinds_are_told_alike() {
    let codes = [
        (codes::ECONNRESET, Situation::PeerReset),
        (codes::EPIPE, Situation::PeerReset),
        (codes::ECONNREFUSED, Situation::ConnectionRefused),
        (codes::ECONNABORTED, Situation::LocalClose),
        (codes::ECANCELED, Situation::Cancelled),
        (codes::EMSGSIZE, Situation::Truncated),
        (codes::ETIMEDOUT, Situation::TimedOut),
    ];
    for (code, situation) in codes {
        assert_eq!(Situation::of(&io::Error::from_raw_os_error(code)), Some(situation), "{code}");
    }
    let kinds = [
        (io::ErrorKind::ConnectionReset, Situation::PeerReset),
        (io::ErrorKind::BrokenPipe, Situation::PeerReset),
        (io::ErrorKind::ConnectionRefused, Situation::ConnectionRefused),
        (io::ErrorKind::ConnectionAborted, Situation::LocalClose),
        (io::ErrorKind::UnexpectedEof, Situation::EndOfFile),
        (io::ErrorKind::TimedOut, Situation::TimedOut),
        (io::ErrorKind::WouldBlock, Situation::TooManyQueued),
    ];
    for (kind, situation) in kinds {
        assert_eq!(Situation::of(&kind.into()), Some(situation), "{kind}");
    }
    for none in [codes::EMFILE, codes::ENOTCONN, codes::EISCONN, codes::EINVAL, codes::EADDRINUSE] {
        assert_eq!(Situation::of(&io::Error::from_raw_os_error(none)), None, "{none}");
    }
}

/// A reset is no end, and an end is no reset, for the plain socket beside us too: what these tests rest on.
#[test]
fn the_reset_of_these_tests_is_one() {
    let (mut server, client) = crate::util::connection();
    reset(client);
    let read = server.read(&mut [0; 8]);
    // Wine tells of a reset once, and its own server may have heard it already: it reads as an end then.
    if !crate::util::sys::is_wine() {
        assert_eq!(read.expect_err("reset").kind(), io::ErrorKind::ConnectionReset);
    }
    let (mut server, mut client) = crate::util::connection();
    client.write_all(&pattern(0, 4)).expect("written");
    drop(client);
    let mut read = Vec::new();
    server.read_to_end(&mut read).expect("an orderly end");
    assert_eq!(read, pattern(0, 4));
}
