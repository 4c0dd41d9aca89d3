//! The mode of sockets: that of plain calls, and of those alone.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
};

use completion_port::{
    CompletionPort, DriverKind, TcpSocket,
    routine::{Done, OverlappedSocket},
};

use crate::{
    kit::{Handle, Port, connection, dial, get, listener, nothing_comes, open, room, until},
    routine_kit::{Log, nothing_runs, on_a_thread, only, overlapped, run},
    sys,
};

conformance! {
    it_makes_no_difference_to_overlapped_io [S178]
        "operations on a non-blocking socket pend as on any other, and complete, with packets and with routines";
    a_plain_call_would_block [S179]
        "plain calls on a non-blocking socket fail as WouldBlock where they would wait, also beside overlapped I/O";
    an_accepted_socket_inherits_it [S181]
        "a socket that a non-blocking listener accepts is non-blocking, and that of a blocking one is blocking";
    a_connect_on_its_way_says_so [S182]
        "a non-blocking connect fails as WouldBlock, then as already on its way, then as connected";
    too_much_outstanding_would_block [S183]
        "one operation more than the limit is refused as WouldBlock, with its buffer, and there is room again later";
}

fn it_makes_no_difference_to_overlapped_io(driver: DriverKind) {
    let port = open(driver);
    let (socket, mut client) = connection();
    socket.set_nonblocking(true).expect("a mode");
    let server = port.associate(socket, "server").expect("associated");
    server.recv(room(8), 178).expect("started");
    nothing_comes(&port);
    client.write_all(b"packet").expect("written");
    let packet = get(&port);
    assert_eq!((packet.context, packet.result.expect("S178")), (178, 6));
    on_a_thread(driver, || {
        let (socket, mut client) = overlapped();
        socket.set_nonblocking(true);
        let told: Log<Done> = Log::default();
        socket.recv(room(8), told.keep()).expect("started");
        nothing_runs();
        client.write_all(b"routine").expect("written");
        run();
        assert_eq!(only(&told).result.expect("S178"), 7);
    });
}

#[track_caller]
fn would_block<R>(result: std::io::Result<R>) {
    let kind = result.err().map(|e| e.kind());
    assert_eq!(kind, Some(ErrorKind::WouldBlock), "S179");
}

fn a_plain_call_would_block(driver: DriverKind) {
    on_a_thread(driver, || {
        let (listener, _address): (TcpListener, _) = listener();
        let listener = OverlappedSocket::from(listener);
        listener.set_nonblocking(true);
        would_block(listener.accept());
        let (mut socket, _client) = overlapped();
        socket.set_nonblocking(true);
        would_block(socket.read(&mut [0]));
        let ran = Log::default();
        socket.recv(room(8), ran.routine("received")).expect("started");
        would_block(socket.read(&mut [0]));
        socket.cancel_own();
        run();
    });
}

fn an_accepted_socket_inherits_it(driver: DriverKind) {
    on_a_thread(driver, || {
        let (listener, address) = listener();
        let listener = OverlappedSocket::from(listener);
        for nonblocking in [true, false] {
            let _client = dial(address);
            listener.set_nonblocking(nonblocking);
            let mut accepted = listener.accept();
            until("it is there", || {
                if accepted.is_err() {
                    accepted = listener.accept();
                }
                accepted.is_ok()
            });
            let (mut socket, _) = accepted.expect("accepted");
            assert_eq!(socket.is_nonblocking(), nonblocking, "S181");
            if nonblocking {
                would_block(socket.read(&mut [0]));
            }
        }
    });
}

fn a_connect_on_its_way_says_so(driver: DriverKind) {
    on_a_thread(driver, || {
        let (_listener, address) = listener();
        let socket = OverlappedSocket::from(TcpSocket::new(&address).expect("a socket"));
        socket.set_nonblocking(true);
        would_block(socket.connect(address));
        until("it is connected", || {
            let code = socket.connect(address).expect_err("S182").raw_os_error();
            assert!(
                code == Some(sys::ALREADY) || code == Some(sys::IS_CONNECTED),
                "S182: {code:?}"
            );
            code == Some(sys::IS_CONNECTED)
        });
        let code = socket.connect(address).expect_err("S182").raw_os_error();
        assert_eq!(code, Some(sys::IS_CONNECTED), "S182");
        assert_eq!(socket.peer_addr().expect("connected"), address);
    });
}

fn too_much_outstanding_would_block(driver: DriverKind) {
    let builder = CompletionPort::builder().driver(driver).queue_limit(4);
    let port: Port = builder.build().expect("a probed driver can be had");
    let (socket, _client): (TcpStream, _) = connection();
    let server: Handle = port.associate(socket, "server").expect("associated");
    let mut started = 0;
    let refused = loop {
        match server.recv(room(8), started) {
            Ok(_) => started += 1,
            Err(refused) => break refused,
        }
        assert!(started < 100, "S183: there is no limit");
    };
    assert_eq!((refused.error.kind(), refused.context), (ErrorKind::WouldBlock, started), "S183");
    assert!(started >= 4 && refused.buffer.capacity() >= 8, "S183");
    assert_eq!(server.cancel_all(), started as usize);
    (0..started).for_each(|_| _ = get(&port));
    server.recv(refused.buffer, 9).expect("S183: there is room again");
}
