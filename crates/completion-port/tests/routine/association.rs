//! Sockets that have a port: its packets are one thing, a thread's routines another.

use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    sync::Arc,
};

use completion_port::{
    DriverKind,
    routine::{Done, OverlappedSocket},
};

use crate::{
    kit::{Log, nothing_runs, on_a_thread, pair, room, run, run_until},
    util::{assert_nothing_left, connection, get, open},
};

crate::on_each_driver!(
    takes_no_routine_afterwards,
    of_a_duplicate_is_one_of_the_socket,
    leaves_routines_that_were_started_before,
    leaves_sends_that_were_started_before,
    that_is_over_leaves_a_socket_for_routines,
);

/// S167: every start is refused, and all comes back; what is not overlapped works.
fn takes_no_routine_afterwards(driver: DriverKind) {
    on_a_thread(driver, || {
        let port = open::<&str, u32>(driver);
        let (mut socket, mut client) = pair();
        let token = Arc::new(());
        let routine = || {
            let token = token.clone();
            move |_: Done| panic!("it ran: {token:?}")
        };
        // Used by the thread before, or not.
        for used in [false, true] {
            if used {
                (socket, client) = pair();
                let ran = Log::default();
                socket.send(vec![1].into(), ran.routine(())).expect("no port yet");
                run_until("sent", || ran.len() == 1);
                client.read_exact(&mut [0]).expect("sent");
            }
            let handle = port.associate(socket.clone(), "the port's").expect("associated");
            let recv = socket.recv(room(7), routine()).expect_err("S167");
            assert_eq!((recv.error.kind(), recv.buffer.capacity()), (ErrorKind::InvalidInput, 7));
            let send = socket.send(b"unsent".to_vec().into(), routine()).expect_err("S167");
            assert_eq!(
                (send.error.kind(), &send.buffer[..]),
                (ErrorKind::InvalidInput, &b"unsent"[..])
            );
            let lent = socket.recv_lent(routine()).expect_err("S167");
            let end = socket.end(crate::util::PATIENCE, routine()).expect_err("S167");
            assert_eq!(
                (lent.error.kind(), end.error.kind()),
                (ErrorKind::InvalidInput, ErrorKind::InvalidInput)
            );
            let gathered = socket.send_vectored(vec![vec![1].into()], routine());
            let gathered = gathered.expect_err("S167");
            assert_eq!(
                (gathered.error.kind(), gathered.buffer.len()),
                (ErrorKind::InvalidInput, 1)
            );
            assert_eq!(Arc::strong_count(&token), 6);
            drop((recv, send, lent, end, gathered));
            assert_eq!(Arc::strong_count(&token), 1);

            handle.recv(room(9), 1).expect("started");
            client.write_all(b"hello").expect("written");
            let done = get(&port);
            assert_eq!((*done.handle.key(), &done.buffer[..]), ("the port's", &b"hello"[..]));
            client.write_all(b"plain").expect("written");
            (&socket).read_exact(&mut [0; 5]).expect("read");
            (&socket).write_all(b"plain").expect("written");
            client.read_exact(&mut [0; 5]).expect("read");
        }
        nothing_runs();
        assert_nothing_left(&port);
    });
}

/// S13, S167: it is the socket that has a port, whatever names it.
fn of_a_duplicate_is_one_of_the_socket(driver: DriverKind) {
    on_a_thread(driver, || {
        let port = open::<(), ()>(driver);
        let (stream, _client) = connection();
        let twin = OverlappedSocket::from(stream.try_clone().expect("a duplicate"));
        let handle = port.associate(stream, ()).expect("associated");
        let refused = twin.recv(room(1), |_| panic!("it ran")).expect_err("S167");
        assert_eq!(refused.error.kind(), ErrorKind::InvalidInput);
        let second = port.associate(twin.clone(), ()).expect_err("S6");
        assert!(second.source == twin, "the socket comes back");
        nothing_runs();
        drop(handle);
        assert_nothing_left(&port);
    });
}

/// S10, S11: each ends where it was to end when it was started.
fn leaves_routines_that_were_started_before(driver: DriverKind) {
    on_a_thread(driver, || {
        let port = open::<(), u32>(driver);
        let (socket, mut client) = pair();
        let told: Log<Done> = Log::default();
        socket.recv(room(3), told.keep()).expect("started");
        socket.recv_lent(told.keep()).expect("started");
        let handle = port.associate(socket.clone(), ()).expect("associated");
        for expected in [&b"one"[..], b"two"] {
            client.write_all(expected).expect("written");
            run();
            let done = told.take().remove(0);
            assert_eq!(&done.buffer[..], expected, "S11");
            assert!(done.socket == socket);
            assert_nothing_left(&port);
        }
        socket.recv(room(3), told.keep()).expect_err("S167");
        handle.recv(room(5), 3).expect("started");
        client.write_all(b"three").expect("written");
        assert_eq!((get(&port).context, told.len()), (3, 0));
        nothing_runs();
        // S93: one that is pending is told of the port's close of its socket as of any other end.
        let (socket, _client) = pair();
        socket.recv(room(3), told.keep()).expect("started");
        let handle = port.associate(socket.clone(), ()).expect("associated");
        handle.shutdown(Shutdown::Read).expect("shut down");
        run();
        assert_eq!(told.take().remove(0).result.expect("the end"), 0);
        assert_nothing_left(&port);
    });
}

fn leaves_sends_that_were_started_before(driver: DriverKind) {
    const MUCH: usize = 8 << 20;
    on_a_thread(driver, || {
        let port = open::<(), u32>(driver);
        let (socket, mut client) = pair();
        let told: Log<Done> = Log::default();
        let bytes = crate::util::pattern(0, MUCH);
        socket.send(bytes.clone().into(), told.keep()).expect("started");
        let _handle = port.associate(socket.clone(), ()).expect("associated");
        crate::util::while_read(&mut client, &bytes, || run_until("sent", || told.len() == 1));
        assert_eq!(told.take().remove(0).result.expect("whole"), MUCH, "S11");
        assert_nothing_left(&port);
    });
}

/// With the last of the port's handles; on Windows it would be for good, but there the handle would be closed with it.
fn that_is_over_leaves_a_socket_for_routines(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let told: Log<Done> = Log::default();
        for n in 0..3_u8 {
            let port = open::<(), u32>(driver);
            let handle = port.associate(socket.clone(), ()).expect("associated");
            let refused = socket.recv(room(1), told.keep()).expect_err("S167");
            drop((handle, port));
            socket.recv(refused.buffer, refused.context).expect("no port any more");
            client.write_all(&[n]).expect("written");
            run();
            assert_eq!(&told.take().remove(0).buffer[..], [n]);
        }
    });
}
