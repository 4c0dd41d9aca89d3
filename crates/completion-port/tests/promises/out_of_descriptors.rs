//! EMFILE: an accept that finds no descriptor says so, loses no connection, and can be started again.

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
};

use completion_port::{Buffer, DriverKind, OpKind, error::Situation};
use socket2::{Domain, Socket, Type};

use crate::util::{
    PATIENCE,
    child::alone,
    get, open,
    proc::{limit_descriptors, open_descriptors},
};

crate::on_each_driver!(an_accept_says_so_and_loses_nothing);

/// A socket that is there before descriptors run out.
fn unconnected() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("an option");
    socket
}

/// In a process of its own: the limit is the process's.
fn an_accept_says_so_and_loses_nothing(driver: DriverKind) {
    alone(|| {
        let port = open::<(), u32>(driver);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("bound");
        let listener = port.associate(listener, ()).expect("associated");
        let clients = [unconnected(), unconnected(), unconnected()];
        limit_descriptors(open_descriptors() + 10);
        let mut fillers: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        // One is left, for the first client. (The kernel notes the limit when an accept is submitted, so it is started only now.)
        fillers.pop().expect("some were left");
        listener.accept_each(|| 1).expect("started");
        clients[0].connect(&address.into()).expect("connected");
        let mut done = get(&port);
        let _first = done.accepted().expect("a socket");
        clients[1].connect(&address.into()).expect("the backlog takes it");
        let mut done = get(&port);
        assert_eq!(
            (done.kind(), done.last(), done.accepted().is_some()),
            (OpKind::AcceptEach, true, false)
        );
        let error = done.result.expect_err("no descriptor");
        assert_eq!((error.raw_os_error(), Situation::of(&error)), (Some(libc::EMFILE), None));

        // It is over; started again without a descriptor, it says so again. Nothing spins, nothing dies.
        for accept in [0, 1] {
            match accept {
                0 => listener.accept(2).expect("started"),
                _ => listener.accept_each(|| 2).expect("started"),
            };
            let done = get(&port);
            assert_eq!(
                (done.last(), done.result.expect_err("no descriptor").raw_os_error()),
                (true, Some(libc::EMFILE))
            );
        }

        // With one to spare, the connection that waited is there, with what it has said meanwhile. (Linux looks for a descriptor before
        // it looks for a connection: two, so that the accept can go on waiting.)
        fillers.truncate(fillers.len() - 2);
        (&clients[1]).write_all(b"patient").expect("written");
        listener.accept_each(|| 3).expect("started");
        let mut done = get(&port);
        assert_eq!((done.context, done.last()), (3, false));
        let second = port.associate(done.accepted().expect("a socket"), ()).expect("associated");
        second.recv(Buffer::with_capacity(20), 4).expect("started");
        assert_eq!(&get(&port).buffer[..], b"patient");
        drop(fillers);
        clients[2].connect(&address.into()).expect("connected");
        assert!(get(&port).accepted().is_some(), "it goes on");
        drop(second);
        assert_eq!((&clients[1]).read(&mut [0]).expect("an orderly end"), 0);
    });
}
