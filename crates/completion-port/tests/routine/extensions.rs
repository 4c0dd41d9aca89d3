//! AcceptEx, ConnectEx, DisconnectEx and TransmitFile with routines: S137 to S157, as they are with packets.

use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    rc::Rc,
    thread,
};

use completion_port::{
    Buffer, DriverKind, TcpSocket,
    error::Situation,
    routine::{Done, OverlappedSocket},
};

use crate::{
    kit::{Log, nothing_runs, on_a_thread, pair, room, run, run_until},
    util::{PATIENCE, assert_same, patient, pattern, situation, until, while_read},
};

crate::on_each_driver!(
    an_accept_brings_socket_data_and_addresses,
    silent_clients_hold_nobody_up,
    plain_accepts_go_on_beside,
    an_accept_that_is_cancelled_closes_its_connection,
    accepts_end_with_their_thread,
    a_connect_sends_its_data,
    a_disconnect_comes_behind_the_sends,
    a_socket_is_used_again,
    a_file_goes_out_whole,
    a_file_that_is_cancelled,
    what_a_socket_cannot_do_comes_back,
);

fn listener() -> (OverlappedSocket, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    (listener.try_clone().expect("a duplicate").into(), listener)
}

/// S137, S139, S181.
fn an_accept_brings_socket_data_and_addresses(driver: DriverKind) {
    on_a_thread(driver, || {
        for nonblocking in [true, false] {
            let (listener, dialled) = listener();
            listener.set_nonblocking(nonblocking);
            let log = Log::default();
            listener.accept_with(room(64), log.keep()).expect("started");
            let mut client = crate::util::dial(&dialled);
            until("it is accepted", || {
                nothing_runs();
                listener.half_accepted().len() == 1
            });
            client.write_all(b"hello").expect("written");
            run();
            let done: Done = log.take().remove(0);
            assert_eq!((done.result.expect("received"), &done.buffer[..]), (5, &b"hello"[..]));
            assert!(done.socket == listener);
            let addresses = done.addresses.expect("both");
            assert_eq!(addresses.peer, client.local_addr().expect("connected"));
            assert_eq!(addresses.local, client.peer_addr().expect("connected"));
            let server = done.accepted.expect("a socket");
            assert_eq!(server.is_nonblocking(), nonblocking, "S181");
            server.recv(room(8), log.keep()).expect("started");
            server.send(pattern(0, 3 << 20).into(), log.keep()).expect("started");
            client.write_all(b"more").expect("written");
            while_read(&mut client, &pattern(0, 3 << 20), || {
                run_until("both are over", || log.len() == 2)
            });
            assert!(log.take().iter().any(|done| done.buffer[..] == b"more"[..]));
        }
    });
}

/// S145, S138.
fn silent_clients_hold_nobody_up(driver: DriverKind) {
    on_a_thread(driver, || {
        let (listener, dialled) = listener();
        let log = Log::default();
        for n in 0..3 {
            let log = log.clone();
            let routine = move |done: Done| log.add((n, done.result.expect("well")));
            listener.accept_with(room(8), routine).expect("started");
        }
        let silent: Vec<_> = (0..2).map(|_| crate::util::dial(&dialled)).collect();
        until("they are accepted", || {
            nothing_runs();
            listener.half_accepted().len() == 2
        });
        crate::util::dial(&dialled).write_all(b"well").expect("written");
        run();
        assert_eq!(log.take(), [(2, 4)]);
        drop(silent);
        run_until("they end", || log.len() == 2);
        let mut rest = log.take();
        rest.sort_unstable();
        assert_eq!(rest, [(0, 0), (1, 0)]);
    });
}

/// S145: also mixed with plain ones. Nobody's connection is lost.
fn plain_accepts_go_on_beside(driver: DriverKind) {
    on_a_thread(driver, || {
        let (listener, dialled) = listener();
        listener.set_nonblocking(true);
        let log = Log::default();
        let (mut plain, mut started) = (0, 0);
        for n in 0..20 {
            if n % 4 == 0 {
                listener.accept_with(room(8), log.routine(())).expect("started");
                started += 1;
            }
            crate::util::dial(&dialled).write_all(b"x").expect("written");
            until("somebody takes it", || {
                plain += usize::from(listener.accept().is_ok());
                let _ = completion_port::routine::sleep_ex(std::time::Duration::ZERO, true);
                plain + log.len() == n + 1
            });
        }
        assert!(log.len() <= started && plain >= 20 - started);
        listener.close();
        run_until("all are over", || log.len() == started);
    });
}

fn an_accept_that_is_cancelled_closes_its_connection(driver: DriverKind) {
    on_a_thread(driver, || {
        let (listener, dialled) = listener();
        let log = Log::default();
        let id = listener.accept_with(room(8), log.keep()).expect("started");
        let mut client = crate::util::dial(&dialled);
        until("it is accepted", || {
            nothing_runs();
            listener.half_accepted().len() == 1
        });
        assert_eq!(listener.half_accepted()[0].id, id);
        assert!(listener.cancel(id));
        run();
        let done = log.take().remove(0);
        assert_eq!(situation(&done.result), Some(Situation::Cancelled));
        assert!(done.accepted.is_none() && done.buffer.capacity() == 8);
        assert!(!matches!(client.read(&mut [0]), Ok(1..)), "S93: the peer is told");
    });
}

/// S105: the routine is dropped, and the half accepted connection with it.
fn accepts_end_with_their_thread(driver: DriverKind) {
    let (listener, dialled) = listener();
    let mut client = on_a_thread(driver, || {
        let token = Rc::new(());
        for _ in 0..2 {
            let held = token.clone();
            listener.accept_with(room(8), move |_| drop(held)).expect("started");
        }
        let client = crate::util::dial(&dialled);
        until("it is accepted", || {
            nothing_runs();
            listener.half_accepted().len() == 1
        });
        client
    });
    assert!(!matches!(client.read(&mut [0]), Ok(1..)), "it is closed");
    // The listener is well.
    let _client = crate::util::dial(&dialled);
    listener.accept().expect("somebody is there");
}

/// S149.
fn a_connect_sends_its_data(driver: DriverKind) {
    const LEN: usize = 4 << 20;
    on_a_thread(driver, || {
        let (_listener, dialled) = listener();
        let address = dialled.local_addr().expect("bound");
        let socket = OverlappedSocket::from(TcpSocket::new(&address).expect("a socket"));
        let log = Log::default();
        let data = pattern(0, LEN);
        socket.connect_with(address, data[..].into(), log.keep()).expect("started");
        let mut server = patient(dialled.accept().expect("accepted").0);
        while_read(&mut server, &data, || run_until("it is sent", || log.len() == 1));
        let done = log.take().remove(0);
        assert_eq!(done.result.expect("connected and sent"), LEN);
        assert_same(&done.buffer, &data, "the buffer");
    });
}

/// S153.
fn a_disconnect_comes_behind_the_sends(driver: DriverKind) {
    const LEN: usize = 4 << 20;
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let log = Log::default();
        socket.send(pattern(0, LEN).into(), log.routine("sent")).expect("started");
        socket.disconnect(log.routine("disconnected")).expect("started");
        let refused = socket.send(room(0), |_| {}).is_err();
        assert!(refused && socket.disconnect(|_| {}).is_err());
        let mut read = Vec::new();
        thread::scope(|s| {
            s.spawn(|| client.read_to_end(&mut read).expect("an orderly end"));
            run_until("both are over", || log.len() == 2);
        });
        assert_same(&read, &pattern(0, LEN), "what the peer reads");
        assert_eq!(log.take(), ["sent", "disconnected"]);
        let log = Log::default();
        socket.recv(room(8), log.keep()).expect("started");
        client.write_all(b"still").expect("written");
        run();
        assert_eq!(&log.take()[0].buffer[..], b"still");
    });
}

/// S155: by an operation, and by a plain call.
fn a_socket_is_used_again(driver: DriverKind) {
    on_a_thread(driver, || {
        let (_listener, dialled) = listener();
        let address = dialled.local_addr().expect("bound");
        let socket = OverlappedSocket::from(TcpSocket::new(&address).expect("a socket"));
        for time in 0..4_u8 {
            let log = Log::default();
            if time % 2 == 0 {
                socket.connect(address).expect("connected");
                socket.send(vec![time].into(), log.routine(0)).expect("started");
            } else {
                socket.connect_with(address, vec![time].into(), log.routine(0)).expect("started");
            }
            run_until("it is sent", || log.len() == 1);
            let mut peer: TcpStream = patient(dialled.accept().expect("accepted").0);
            socket.disconnect_reuse(PATIENCE, log.routine(1)).expect("started");
            let mut read = Vec::new();
            peer.read_to_end(&mut read).expect("an orderly end");
            assert_eq!(read, [time]);
            drop(peer);
            run_until("it is over", || log.len() == 2);
            assert!(socket.peer_addr().is_err());
        }
    });
}

/// A file that has no name.
fn file(len: usize) -> File {
    let name = format!("completion-port-{}-{:?}", std::process::id(), thread::current().id());
    let path = std::env::temp_dir().join(name);
    let mut file =
        File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
    std::fs::remove_file(&path).expect("its name is not needed");
    file.write_all(&pattern(0, len)).expect("written");
    file
}

/// S156.
fn a_file_goes_out_whole(driver: DriverKind) {
    const LEN: usize = 5 << 20;
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let log = Log::default();
        let [head, tail] = [Buffer::from(&b"<"[..]), Buffer::from(&b">"[..])];
        socket.transmit_file(file(LEN), 10.., head, tail, log.keep()).expect("started");
        socket.send(vec![7].into(), log.keep()).expect("started");
        let all = [b"<", &pattern(10, LEN - 10)[..], b">", &[7]].concat();
        while_read(&mut client, &all, || run_until("both are over", || log.len() == 2));
        let done = log.take().remove(0);
        assert_eq!(done.result.expect("sent"), LEN - 10 + 2);
        assert!(done.buffers.len() == 2 && &done.buffers[1][..] == b">");
    });
}

fn a_file_that_is_cancelled(driver: DriverKind) {
    const LEN: usize = 32 << 20;
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let log = Log::default();
        let id = socket
            .transmit_file(file(LEN), .., Buffer::new(), Buffer::new(), log.keep())
            .expect("started");
        nothing_runs();
        assert!(socket.cancel(id));
        run();
        assert_eq!(situation(&log.take()[0].result), Some(Situation::Cancelled));
        socket.close();
        let mut read = Vec::new();
        client.read_to_end(&mut read).expect("an orderly end");
        assert_same(&read, &pattern(0, read.len()), "a beginning");
    });
}

/// S166: with everything that was put in.
fn what_a_socket_cannot_do_comes_back(driver: DriverKind) {
    on_a_thread(driver, || {
        let (listener, dialled) = listener();
        let address = dialled.local_addr().expect("bound");
        let (stream, _client) = pair();
        let routine = |_: Done| panic!("it was refused");
        assert_eq!(stream.accept_with(room(9), routine).unwrap_err().buffer.capacity(), 9);
        let refused = listener.connect_with(address, vec![1].into(), routine).unwrap_err();
        assert_eq!(refused.buffer.len(), 1);
        assert!(listener.disconnect(routine).is_err());
        assert!(listener.disconnect_reuse(PATIENCE, routine).is_err());
        let refused = listener
            .transmit_file(file(1), .., vec![1].into(), Buffer::new(), routine)
            .unwrap_err();
        assert_eq!(refused.buffer[0].len(), 1);
        nothing_runs();
    });
}
