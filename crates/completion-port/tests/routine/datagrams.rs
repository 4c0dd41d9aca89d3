//! Datagrams by completion routines: the same as at a port.

use std::{
    cell::{Cell, RefCell},
    net::{SocketAddr, UdpSocket},
    rc::Rc,
    thread,
    time::Duration,
};

use completion_port::{
    Buffer, CompletionPort, DriverKind,
    error::Situation,
    routine::{OverlappedSocket, Woken, sleep_ex},
};

use crate::{
    kit::{on_a_thread, room, run, run_until},
    util::{PATIENCE, assert_same, pattern, situation},
};

crate::on_each_driver!(
    a_routine_is_told_the_sender_and_echoes,
    they_come_in_call_order_and_of_no_bytes_too,
    one_too_long_is_cut_and_says_so,
    a_connected_socket_is_told_that_nobody_receives,
    cancel_and_close_end_receives_in_their_routines,
    a_thread_that_ends_takes_its_receives_along,
    what_it_cannot_do_is_refused,
    an_echo_serves_several_senders,
);

fn plain() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("an option");
    socket
}

/// A socket that takes routines, and another that is connected to it.
fn pair() -> (OverlappedSocket, UdpSocket) {
    let (server, client) = (plain(), plain());
    client.connect(server.local_addr().expect("bound")).expect("connected");
    (server.into(), client)
}

fn address(of: &UdpSocket) -> SocketAddr {
    of.local_addr().expect("bound")
}

/// S165 and S176 with the sender: the routine that receives starts the send, whose routine is told to whom.
fn a_routine_is_told_the_sender_and_echoes(driver: DriverKind) {
    on_a_thread(driver, || {
        for lent in [false, true] {
            let (server, client) = pair();
            let from = address(&client);
            let sent = Rc::new(Cell::new(0));
            let counted = sent.clone();
            let echo = move |done: completion_port::routine::Done| {
                assert_eq!((done.result.expect("it came"), done.peer), (5, Some(from)));
                assert_eq!(done.buffer.is_lent(), lent);
                let count = move |done: completion_port::routine::Done| {
                    assert_eq!(done.peer, Some(from));
                    counted.set(done.result.expect("sent"));
                };
                done.socket.send_to(done.buffer, from, count).expect("started");
            };
            client.send(b"hello").expect("sent");
            match lent {
                true => server.recv_from_lent(echo).expect("started"),
                false => server.recv_from(room(64), echo).expect("started"),
            };
            assert_eq!(sent.get(), 0, "not before an alertable wait");
            run_until("it is echoed", || sent.get() == 5);
            let mut back = [0; 8];
            assert_eq!(client.recv(&mut back).expect("it comes"), 5);
            assert_eq!(&back[..5], b"hello");
        }
    });
}

/// S115, S131.
fn they_come_in_call_order_and_of_no_bytes_too(driver: DriverKind) {
    const COUNT: usize = 30;
    on_a_thread(driver, || {
        let (server, client) = pair();
        let came = Rc::new(RefCell::new(Vec::new()));
        for n in 0..COUNT {
            let came = came.clone();
            server
                .recv_from(room(8), move |done| {
                    came.borrow_mut().push((n, done.result.expect("it came")));
                })
                .expect("started");
        }
        (0..COUNT).for_each(|n| _ = client.send(&[0; 4][..n % 4]).expect("sent"));
        run_until("all have come", || came.borrow().len() == COUNT);
        assert!(came.borrow().iter().copied().eq((0..COUNT).map(|n| (n, n % 4))));
    });
}

/// S19, S129.
fn one_too_long_is_cut_and_says_so(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, client) = pair();
        let told = Rc::new(Cell::new(None));
        let tell = told.clone();
        client.send(&pattern(0, 100)).expect("sent");
        server
            .recv_from(room(40), move |done| {
                assert_same(&done.buffer, &pattern(0, 40), "what there was room for");
                tell.set(situation(&done.result));
            })
            .expect("started");
        run_until("it is told", || told.get().is_some());
        assert_eq!(told.get(), Some(Situation::Truncated));
    });
}

/// S134.
fn a_connected_socket_is_told_that_nobody_receives(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, gone) = (plain(), plain());
        server.connect(address(&gone)).expect("connected");
        drop(gone);
        let server = OverlappedSocket::from(server);
        let told = Rc::new(Cell::new(None));
        let tell = told.clone();
        server.recv(room(8), move |done| tell.set(situation(&done.result))).expect("started");
        assert_eq!(sleep_ex(Duration::ZERO, true).expect("it works"), Woken::TimedOut);
        server.send(vec![1].into(), |done| _ = done.result.expect("sent")).expect("started");
        run_until("it is told", || told.get().is_some());
        assert_eq!(told.get(), Some(Situation::ConnectionRefused));
    });
}

/// S91, S96.
fn cancel_and_close_end_receives_in_their_routines(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, _client) = pair();
        let told = Rc::new(RefCell::new(Vec::new()));
        let start = |n: usize| {
            let told = told.clone();
            server
                .recv_from_lent(move |done| told.borrow_mut().push((n, situation(&done.result))))
                .expect("started")
        };
        let ids: Vec<_> = (0..3).map(start).collect();
        assert!(server.cancel(ids[1]), "it was found");
        run_until("it is told", || told.borrow().len() == 1);
        assert_eq!(told.borrow_mut().pop(), Some((1, Some(Situation::Cancelled))));
        server.close();
        run_until("they are told", || told.borrow().len() == 2);
        told.borrow_mut().sort_by_key(|told| told.0);
        assert_eq!(*told.borrow(), [0, 2].map(|n| (n, Some(Situation::Cancelled))));
        assert!(server.recv_from_lent(|_| {}).is_err(), "it is closed");
    });
}

/// S105: what comes later is for others.
fn a_thread_that_ends_takes_its_receives_along(driver: DriverKind) {
    let (server, client) = pair();
    on_a_thread(driver, || {
        server.recv_from(room(8), |_| unreachable!("its thread has ended")).expect("started");
        sleep_ex(Duration::ZERO, true).expect("it works");
    });
    client.send(b"later").expect("sent");
    on_a_thread(driver, || {
        let came = Rc::new(Cell::new(0));
        let count = came.clone();
        server
            .recv_from(room(8), move |done| count.set(done.result.expect("it came")))
            .expect("started");
        run_until("it comes", || came.get() == 5);
    });
}

fn what_it_cannot_do_is_refused(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, client) = pair();
        let refused = server.recv_from(Buffer::new(), |_| {}).expect_err("no room");
        assert!(refused.buffer.is_empty());
        assert!(server.accept().is_err() && server.end(Duration::ZERO, |_| {}).is_err());
        assert!(server.shutdown(std::net::Shutdown::Both).is_err());
        let (stream, _other) = crate::kit::pair();
        let refused = stream.send_to(vec![1].into(), address(&client), |_| {});
        assert_eq!(&refused.expect_err("no datagrams").buffer[..], [1]);
        assert!(stream.recv_from(room(8), |_| {}).is_err());
        // S167.
        let port = CompletionPort::<(), ()>::new().expect("a port");
        let _handle = port.associate(server.clone(), ()).expect("associated");
        assert!(server.recv_from(room(8), |_| {}).is_err());
    });
}

/// The routine starts the next receive, as a server does.
fn an_echo_serves_several_senders(driver: DriverKind) {
    const EACH: usize = 100;
    fn echo(done: completion_port::routine::Done) {
        let next = done.socket.recv_from_lent(echo);
        if let (Ok(_), Some(peer)) = (&done.result, done.peer) {
            done.socket
                .send_to(done.buffer, peer, |sent| _ = sent.result.expect("sent"))
                .expect("started");
        }
        // Closed: this was the last.
        assert_eq!(next.is_err(), done.result.is_err());
    }
    let server = plain();
    let to = address(&server);
    on_a_thread(driver, move || {
        let server = OverlappedSocket::from(server);
        server.recv_from_lent(echo).expect("started");
        thread::scope(|s| {
            let clients: Vec<_> = (0..3)
                .map(|n| {
                    s.spawn(move || {
                        let client = plain();
                        client.connect(to).expect("connected");
                        let mut back = [0; 64];
                        for round in 0..EACH {
                            let bytes = pattern(n * 1000 + round, round % 50);
                            client.send(&bytes).expect("sent");
                            let count = client.recv(&mut back).expect("it comes back");
                            assert_same(&back[..count], &bytes, "the echo");
                        }
                    })
                })
                .collect();
            while clients.iter().any(|client| !client.is_finished()) {
                sleep_ex(Duration::from_millis(10), true).expect("it works");
            }
        });
        server.close();
        // The last receive is told.
        run();
    });
}
