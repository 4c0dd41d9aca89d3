//! Association: S6 and S178.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use completion_port::{Buffer, DriverKind, GetError};

use crate::util::{assert_nothing_left, connection, get, open, patient, pattern, while_read};

crate::on_each_driver!(
    is_for_one_port_and_once,
    ends_with_the_last_handle,
    is_refused_by_a_closed_port,
    does_not_care_for_the_blocking_mode,
);

/// S1, S2, and S6: not to the same port, not to another, not through a duplicate. Socket and key come back, and the socket works.
fn is_for_one_port_and_once(driver: DriverKind) {
    let port = open::<String, ()>(driver);
    let other = open::<String, ()>(driver);
    let (server, mut client) = connection();
    let duplicates =
        [server.try_clone().expect("a duplicate"), server.try_clone().expect("a duplicate")];
    let handle = port.associate(server, "first".to_owned()).expect("associated");
    let mut came_back = Vec::new();
    for (port, duplicate) in [&port, &other].into_iter().zip(duplicates) {
        let refused = port.associate(duplicate, "second".to_owned()).expect_err("S6");
        assert_eq!(
            (refused.error.kind(), refused.key.as_str()),
            (ErrorKind::InvalidInput, "second")
        );
        came_back.push(refused.source);
    }
    (&came_back[0]).write_all(b"from a duplicate").expect("written");
    client.read_exact(&mut [0; 16]).expect("read");
    handle.recv(Buffer::with_capacity(8), ()).expect("started");
    client.write_all(b"x").expect("written");
    assert_eq!(&get(&port).buffer[..], b"x");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let duplicate = listener.try_clone().expect("a duplicate");
    let _listener = port.associate(listener, "listener".to_owned()).expect("associated");
    let back = other.associate(duplicate, "again".to_owned()).expect_err("S6").source;
    assert!(back.local_addr().is_ok());
}

/// As long as the handle lives, or something is pending; then a duplicate may be associated, with any port.
fn ends_with_the_last_handle(driver: DriverKind) {
    let port = open::<u32, ()>(driver);
    let other = open::<u32, ()>(driver);
    let (server, mut client) = connection();
    let duplicate = server.try_clone().expect("a duplicate");
    let handle = port.associate(server, 1).expect("associated");
    handle.recv(Buffer::with_capacity(1), ()).expect("started");
    drop(handle);
    let duplicate = other.associate(duplicate, 2).expect_err("a receive is pending").source;
    client.write_all(b"x").expect("written");
    drop(get(&port));
    let handle = other.associate(duplicate, 3).expect("nothing of the first association is left");
    handle.recv(Buffer::with_capacity(1), ()).expect("started");
    client.write_all(b"y").expect("written");
    let done = get(&other);
    assert_eq!((*done.handle.key(), &done.buffer[..]), (3, &b"y"[..]));
    assert_nothing_left(&port);
    assert_nothing_left(&other);
}

fn is_refused_by_a_closed_port(driver: DriverKind) {
    let port = open::<u32, ()>(driver);
    port.close();
    let (server, mut client) = connection();
    let refused = port.associate(server, 7).expect_err("closed");
    assert_eq!((refused.error.kind(), refused.key), (ErrorKind::NotConnected, 7));
    let mut server: TcpStream = patient(refused.source);
    client.write_all(b"x").expect("written");
    server.read_exact(&mut [0]).expect("it works as ever");
}

/// S178: a non-blocking socket's operations pend like any other's. Shown by a short window in which nothing completes.
fn does_not_care_for_the_blocking_mode(driver: DriverKind) {
    const MUCH: usize = 8 << 20;
    let port = open::<(), ()>(driver);
    for nonblocking in [true, false] {
        let (server, mut client) = connection();
        server.set_nonblocking(nonblocking).expect("an option");
        let server = port.associate(server, ()).expect("associated");
        server.recv(Buffer::with_capacity(8), ()).expect("started");
        server.recv_lent(()).expect("started");
        server.send(pattern(0, MUCH).into(), ()).expect("started");
        assert!(
            matches!(port.get_timeout(Duration::from_millis(10)), Err(GetError::TimedOut)),
            "all three pend"
        );
        client.write_all(b"12345678").expect("written");
        assert_eq!(&get(&port).buffer[..], b"12345678");
        client.write_all(b"more").expect("written");
        assert_eq!(&get(&port).buffer[..], b"more");
        let sent = while_read(&mut client, &pattern(0, MUCH), || get(&port));
        assert_eq!(sent.result.expect("whole"), MUCH);
        assert_nothing_left(&port);
    }
}
