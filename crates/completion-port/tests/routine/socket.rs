//! The overlapped socket itself: the mode of plain calls, which accepted sockets inherit (S178-S182), and plain calls that wait, which
//! run routines meanwhile (S175).

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
    time::Duration,
};

use completion_port::{
    DriverKind, TcpSocket,
    error::Situation,
    routine::{Done, OverlappedSocket, current, queue_user_apc},
};
use socket2::{Domain, Socket, Type};

use crate::{
    kit::{Log, drive_by, elsewhere, on_a_thread, pair, pair_with, room, run, run_until},
    util::{PATIENCE, assert_same, connection, open, patient, pattern, until},
};

crate::on_each_driver!(
    accepted_sockets_inherit_the_mode,
    the_mode_is_that_of_plain_calls_alone,
    the_mode_is_not_lost_to_overlapped_calls,
    a_connect_that_is_on_its_way_says_so,
    a_connect_that_is_refused_says_so,
    a_blocking_accept_runs_routines_and_goes_on,
    two_threads_accept_from_one_listener,
    a_blocking_read_runs_routines_and_goes_on,
    a_blocking_write_runs_routines_and_goes_on,
    a_blocking_connect_runs_routines_and_goes_on,
    a_panic_comes_out_of_a_blocking_call,
    a_blocking_call_ends_when_the_socket_is_closed,
    once_closed_refuses_every_call,
    once_closed_refuses_connect_and_shutdown,
    reads_and_writes_plainly_beside_routines,
    a_plain_call_hears_what_the_system_says,
);

/// A listener, and its address.
fn listener() -> (OverlappedSocket, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener.into(), address)
}

fn connect(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(address).expect("connected"))
}

fn unconnected(like: SocketAddr) -> OverlappedSocket {
    TcpSocket::new(&like).expect("a socket").into()
}

/// A call on a socket that may block for ever when it is wrong: on a thread of its own, and not waited for longer than is decent.
#[track_caller]
fn in_time<R: Send + 'static>(call: impl FnOnce() -> R + Send + 'static) -> R {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(call()));
    told.recv_timeout(PATIENCE).expect("it does not wait")
}

fn would_block<R: std::fmt::Debug>(result: io::Result<R>) {
    let error = result.expect_err("it would block");
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
}

/// A listener whose backlog is full: a further connect stays on its way. What fills it is returned too.
fn busy_listener() -> (Socket, SocketAddr, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    listener.bind(&any.into()).expect("a free port");
    listener.listen(0).expect("listening");
    let address = listener.local_addr().expect("bound").as_socket().expect("an IP address");
    let mut fillers = Vec::new();
    loop {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // As long as there is room, connecting over loopback takes no time.
        let full = filler.connect_timeout(&address.into(), Duration::from_millis(200)).is_err();
        fillers.push(filler);
        if full {
            return (listener, address, fillers);
        }
        assert!(fillers.len() < 50, "the backlog has no end");
    }
}

/// The system tries again after a second or so, and is let in.
fn make_room(listener: &Socket, fillers: Vec<Socket>) {
    drop(fillers);
    listener.listen(100).expect("a longer backlog");
    while listener.set_nonblocking(true).is_ok() && listener.accept().is_ok() {}
}

/// S181, S179: of every accept anew, both ways; what is accepted can be switched on its own.
fn accepted_sockets_inherit_the_mode(driver: DriverKind) {
    on_a_thread(driver, || {
        let (listener, address) = listener();
        assert!(!listener.is_nonblocking());
        for nonblocking in [true, false, true] {
            listener.set_nonblocking(nonblocking);
            if nonblocking {
                would_block(listener.accept());
            }
            let mut client = connect(address);
            let (server, peer) = listener.accept().expect("somebody is there");
            assert_eq!(peer, client.local_addr().expect("connected"));
            assert_eq!(server.is_nonblocking(), nonblocking, "S181");
            if nonblocking {
                would_block((&server).read(&mut [0; 9]));
            }
            assert_eq!(listener.is_nonblocking(), nonblocking);
            server.set_nonblocking(!nonblocking);
            assert_eq!(listener.is_nonblocking(), nonblocking, "each has its own");
            if !nonblocking {
                would_block((&server).read(&mut [0; 9]));
            }
            client.write_all(b"hello").expect("written");
            let mut buffer = [0; 9];
            until("it has come", || match (&server).read(&mut buffer) {
                Ok(count) => count == 5,
                Err(e) => e.kind() != ErrorKind::WouldBlock,
            });
            assert_eq!(&buffer[..5], b"hello");
        }
    });
    // A socket from elsewhere keeps the mode that it has.
    for nonblocking in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(nonblocking).expect("an option");
        let (stream, _client) = connection();
        stream.set_nonblocking(nonblocking).expect("an option");
        assert_eq!(OverlappedSocket::from(listener).is_nonblocking(), nonblocking);
        assert_eq!(OverlappedSocket::from(stream).is_nonblocking(), nonblocking);
    }
}

/// S178: overlapped calls pend in either mode, and S179 holds beside them.
fn the_mode_is_that_of_plain_calls_alone(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        socket.set_nonblocking(true);
        let got: Log<Done> = Log::default();
        for lent in [false, true] {
            would_block((&socket).read(&mut [0; 9]));
            if lent {
                socket.recv_lent(got.keep()).expect("started");
            } else {
                socket.recv(room(9), got.keep()).expect("started");
            }
            crate::kit::nothing_runs();
            client.write_all(b"later").expect("written");
            run_until("it comes", || got.len() == 1);
            let done = got.take().remove(0);
            assert_eq!((done.result.expect("received"), &done.buffer[..]), (5, &b"later"[..]));
        }
        // More than there is room for: it is not cut to what would not block.
        const MUCH: usize = 8 << 20;
        let bytes = pattern(0, MUCH);
        socket.send(bytes.clone().into(), got.keep()).expect("started");
        thread::scope(|s| {
            s.spawn(|| {
                let mut read = vec![0; MUCH];
                client.read_exact(&mut read).expect("all of it");
                assert_same(&read, &bytes, "what was sent");
            });
            run_until("it is sent", || got.len() == 1);
        });
        assert_eq!(got.take().remove(0).result.expect("whole"), MUCH);
        assert!(socket.is_nonblocking());
        would_block((&socket).read(&mut [0; 9]));
    });
}

/// What overlapped calls and a port do to the descriptor is not seen in plain calls: not after a start that was refused, not after one
/// that is over, not after an association.
fn the_mode_is_not_lost_to_overlapped_calls(driver: DriverKind) {
    on_a_thread(driver, || {
        let (listener, _address) = listener();
        listener.set_nonblocking(true);
        let accept = || {
            let listener = listener.clone();
            would_block(in_time(move || listener.accept().map(drop)));
        };
        accept();
        listener.recv(room(1), |_| ()).expect_err("no stream");
        accept();
        let port = open::<(), ()>(driver);
        let handle = port.associate(listener.clone(), ()).expect("associated");
        accept();
        handle.accept(()).expect("started");
        accept();
        drop((handle, port));
        accept();

        let (_busy, address, _fillers) = busy_listener();
        let socket = unconnected(address);
        socket.set_nonblocking(true);
        would_block(socket.connect(address));
        socket.recv(room(1), |_| ()).expect("started");
        let again = socket.clone();
        let error = in_time(move || again.connect(address)).expect_err("on its way");
        assert_eq!(error.raw_os_error(), Some(crate::util::codes::EALREADY), "S182");
    });
}

/// S182, whose last two are certain only where the peer can be kept from answering.
fn a_connect_that_is_on_its_way_says_so(driver: DriverKind) {
    on_a_thread(driver, || {
        let (listener, address, fillers) = busy_listener();
        let socket = unconnected(address);
        socket.set_nonblocking(true);
        would_block(socket.connect(address));
        let code = || socket.connect(address).expect_err("S182").raw_os_error();
        for _ in 0..3 {
            assert_eq!(code(), Some(crate::util::codes::EALREADY));
        }
        assert_eq!(socket.peer_addr().expect_err("not yet").kind(), ErrorKind::NotConnected);
        make_room(&listener, fillers);
        until("it is connected", || code() == Some(crate::util::codes::EISCONN));
        assert_eq!(code(), Some(crate::util::codes::EISCONN));
        assert_eq!(socket.peer_addr().expect("connected"), address);

        // The common case: somebody listens, and the second call may find it done.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let socket = unconnected(address);
        socket.set_nonblocking(true);
        would_block(socket.connect(address));
        until("it is connected", || match socket.connect(address) {
            Ok(()) => panic!("it was a call before that connected"),
            Err(e) if e.raw_os_error() == Some(crate::util::codes::EALREADY) => false,
            Err(e) => e.raw_os_error() == Some(crate::util::codes::EISCONN),
        });
        let (mut accepted, _) = listener.accept().expect("accepted");
        accepted.write_all(b"hello").expect("written");
        let got: Log<Done> = Log::default();
        socket.recv(room(5), got.keep()).expect("started");
        run_until("it comes", || got.len() == 1);
        assert_eq!(&got.take().remove(0).buffer[..], b"hello");
        socket.set_nonblocking(false);
        let connected = socket.connect(address).expect_err("it is connected");
        assert_eq!(connected.raw_os_error(), Some(crate::util::codes::EISCONN));
    });
}

/// In both modes; and the socket can be used again, as the system has it.
fn a_connect_that_is_refused_says_so(driver: DriverKind) {
    on_a_thread(driver, || {
        let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = nobody.local_addr().expect("bound");
        drop(nobody);
        let refused = |error: io::Error| {
            assert_eq!(Situation::of(&error), Some(Situation::ConnectionRefused), "{error}");
        };
        let blocking = unconnected(address);
        refused(blocking.connect(address).expect_err("nobody listens"));
        let nonblocking = unconnected(address);
        nonblocking.set_nonblocking(true);
        would_block(nonblocking.connect(address));
        until("the answer", || match nonblocking.connect(address).expect_err("nobody listens") {
            e if e.raw_os_error() == Some(crate::util::codes::EALREADY) => false,
            e => {
                refused(e);
                true
            }
        });
        let (listener, address) = listener();
        blocking.connect(address).expect("somebody listens");
        assert_eq!(blocking.peer_addr().expect("connected"), address);
        listener.accept().expect("accepted");
    });
}

/// What a call that waits is interrupted by: I/O of another socket, a call of another thread, each twice.
struct Interruptions {
    told: mpsc::Receiver<&'static str>,
    name: mpsc::Receiver<completion_port::routine::Thread>,
}

impl Interruptions {
    /// For the thread that is about to wait.
    fn begin() -> (Interruptions, impl FnOnce() -> TcpStream) {
        let (tell, told) = mpsc::channel();
        let (tell_name, name) = mpsc::channel();
        let begin = move || {
            let (other, client) = pair_with(b"1");
            let again = tell.clone();
            let first = move |done: Done| {
                again.send("I/O").expect("somebody listens");
                let then = move |_: Done| again.send("more I/O").expect("somebody listens");
                done.socket.recv(room(1), then).expect("started");
            };
            other.recv(room(1), first).expect("started");
            let tell = move || tell.send("an APC").expect("somebody listens");
            queue_user_apc(&current().expect("a thread"), tell).expect("queued");
            tell_name.send(current().expect("a thread")).expect("somebody listens");
            client
        };
        (Self { told, name }, begin)
    }

    /// For the one who lets it end: everything ran in the wait, what was queued before and what comes meanwhile.
    fn all_run(&self, waiter: Option<&mut TcpStream>) {
        let mut ran = [(); 2].map(|()| self.told.recv_timeout(PATIENCE).expect("it runs"));
        ran.sort_unstable();
        assert_eq!(ran, ["I/O", "an APC"], "S175");
        let name = self.name.recv_timeout(PATIENCE).expect("it has one");
        for _ in 0..20 {
            let (tell, told) = mpsc::channel();
            queue_user_apc(&name, move || tell.send(()).expect("somebody listens"))
                .expect("queued");
            told.recv_timeout(PATIENCE).expect("it runs, and the call goes on waiting");
        }
        if let Some(client) = waiter {
            client.write_all(b"2").expect("written");
            let ran = self.told.recv_timeout(PATIENCE).expect("it runs");
            assert_eq!(ran, "more I/O");
        }
    }
}

/// S175: and returns its own result.
fn a_blocking_accept_runs_routines_and_goes_on(driver: DriverKind) {
    let (listener, address) = listener();
    let (interruptions, begin) = Interruptions::begin();
    let (give, given) = mpsc::channel();
    thread::scope(|s| {
        let server = s.spawn(move || {
            drive_by(driver);
            give.send(begin()).expect("somebody listens");
            listener.accept().map(|(_, peer)| peer)
        });
        let mut other = given.recv().expect("begun");
        // Nobody connects before everything has run.
        interruptions.all_run(Some(&mut other));
        let client = connect(address);
        let peer = server.join().expect("no panic").expect("accepted");
        assert_eq!(peer, client.local_addr().expect("connected"));
    });
}

/// Both sleep on the same socket: each connection wakes one that takes it, and neither is forgotten.
fn two_threads_accept_from_one_listener(driver: DriverKind) {
    const EACH: usize = 50;
    let (listener, address) = listener();
    let threads = [(); 2].map(|()| {
        let listener = listener.clone();
        thread::spawn(move || {
            drive_by(driver);
            for _ in 0..EACH {
                listener.accept().expect("somebody comes");
            }
        })
    });
    // One that has had its share leaves the rest to the other.
    for _ in 0..2 * EACH {
        drop(connect(address));
    }
    until("all are accepted", || threads.iter().all(thread::JoinHandle::is_finished));
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

fn a_blocking_read_runs_routines_and_goes_on(driver: DriverKind) {
    let (socket, mut client) = pair();
    let (interruptions, begin) = Interruptions::begin();
    let (give, given) = mpsc::channel();
    thread::scope(|s| {
        let reader = s.spawn(move || {
            drive_by(driver);
            give.send(begin()).expect("somebody listens");
            let mut buffer = [0; 9];
            (&socket).read(&mut buffer).map(|count| buffer[..count].to_vec())
        });
        let mut other = given.recv().expect("begun");
        interruptions.all_run(Some(&mut other));
        client.write_all(b"at last").expect("written");
        assert_eq!(reader.join().expect("no panic").expect("read"), b"at last");
    });
}

/// Nobody reads before everything has run, and no byte is lost.
fn a_blocking_write_runs_routines_and_goes_on(driver: DriverKind) {
    const MUCH: usize = 32 << 20;
    let (mut socket, mut client) = pair();
    let (interruptions, begin) = Interruptions::begin();
    let (give, given) = mpsc::channel();
    let bytes = pattern(0, MUCH);
    thread::scope(|s| {
        let bytes = &bytes;
        s.spawn(move || {
            drive_by(driver);
            give.send(begin()).expect("somebody listens");
            socket.write_all(bytes).expect("written");
        });
        let mut other = given.recv().expect("begun");
        interruptions.all_run(Some(&mut other));
        let mut read = vec![0; MUCH];
        client.read_exact(&mut read).expect("all of it");
        assert_same(&read, bytes, "what was written");
    });
}

fn a_blocking_connect_runs_routines_and_goes_on(driver: DriverKind) {
    let (listener, address, fillers) = busy_listener();
    let socket = unconnected(address);
    let (interruptions, begin) = Interruptions::begin();
    let (give, given) = mpsc::channel();
    thread::scope(|s| {
        let connecting = s.spawn(|| {
            drive_by(driver);
            give.send(begin()).expect("somebody listens");
            socket.connect(address)
        });
        let mut other = given.recv().expect("begun");
        interruptions.all_run(Some(&mut other));
        make_room(&listener, fillers);
        connecting.join().expect("no panic").expect("connected");
        assert_eq!(socket.peer_addr().expect("connected"), address);
    });
}

/// The call can be made again, and nothing is lost: neither who waits to be accepted nor what is behind the panic.
fn a_panic_comes_out_of_a_blocking_call(driver: DriverKind) {
    on_a_thread(driver, || {
        let own = current().expect("a thread");
        let (listener, address) = listener();
        let (socket, mut peer) = pair();
        let ran = Log::default();
        let accept = || _ = listener.accept().expect("somebody comes");
        let read = || _ = (&socket).read(&mut [0; 1]).expect("something comes");
        let calls: [&dyn Fn(); 2] = [&accept, &read];
        let mut clients = Vec::new();
        for (n, call) in calls.into_iter().enumerate() {
            queue_user_apc(&own, || panic!("as planned")).expect("queued");
            queue_user_apc(&own, ran.apc("behind")).expect("queued");
            let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("it comes out");
            assert_eq!(panic.downcast_ref(), Some(&"as planned"));
            assert!(ran.is_empty());
            run();
            assert_eq!(ran.take(), ["behind"]);
            match n {
                0 => clients.push(connect(address)),
                _ => peer.write_all(b"x").expect("written"),
            }
            call();
        }
    });
}

/// By another thread, and by a routine that runs in the call itself.
fn a_blocking_call_ends_when_the_socket_is_closed(driver: DriverKind) {
    type Call = fn(&OverlappedSocket) -> io::Result<()>;
    let accept: Call = |listener| listener.accept().map(drop);
    let read: Call = |mut socket| socket.read(&mut [0; 9]).map(drop);
    for by_routine in [false, true] {
        // With a handle of the thread's on the socket, and without.
        for started in [false, true] {
            let (stream, _client) = pair();
            for (call, socket) in [(accept, listener().0), (read, stream)] {
                let (tell, told) = mpsc::channel();
                let (name, named) = mpsc::channel();
                let closed = socket.clone();
                let waiter = thread::spawn(move || {
                    drive_by(driver);
                    if started {
                        let _a_listener_refuses = socket.send(vec![1].into(), |_| ());
                    }
                    // The call waits, for this has run.
                    let tell = move || tell.send(()).expect("somebody listens");
                    let own = current().expect("a thread");
                    queue_user_apc(&own, tell).expect("queued");
                    name.send(own).expect("somebody listens");
                    call(&socket)
                });
                told.recv_timeout(PATIENCE).expect("it waits");
                if by_routine {
                    let name = named.recv().expect("told");
                    queue_user_apc(&name, move || closed.close()).expect("queued");
                } else {
                    closed.close();
                }
                until("it is over", || waiter.is_finished());
                let error = waiter.join().expect("no panic").expect_err("it is closed");
                assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
            }
        }
    }
}

/// S24 has it of ports: a closed socket is none. The peer sees the end, and a second close is no harm.
fn once_closed_refuses_every_call(driver: DriverKind) {
    on_a_thread(driver, || {
        let (listener, address) = listener();
        let _waiting = connect(address);
        listener.close();
        let (mut stream, mut client) = pair();
        stream.close();
        stream.close();
        assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
        let closed =
            |error: io::Error| assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
        closed(listener.accept().map(drop).expect_err("closed"));
        closed(stream.read(&mut [0]).map(drop).expect_err("closed"));
        closed(stream.write(&[0]).map(drop).expect_err("closed"));
        TcpStream::connect(address).expect_err("nobody listens any more");
        assert_eq!(stream.cancel_all(), 0);
    });
}

/// The plain calls that do not look whether it is closed.
fn once_closed_refuses_connect_and_shutdown(driver: DriverKind) {
    on_a_thread(driver, || {
        let (_listener, address) = listener();
        let socket = unconnected(address);
        socket.close();
        let refused = socket.connect(address).expect_err("it is closed");
        assert_eq!(refused.kind(), ErrorKind::NotConnected, "{refused}");
        let (stream, _client) = pair();
        stream.close();
        let refused = stream.shutdown(Shutdown::Both).expect_err("it is closed");
        assert_eq!(refused.kind(), ErrorKind::NotConnected, "{refused}");
    });
}

/// Plain and overlapped calls in turn, in both directions: each byte once, in the order of the calls.
fn reads_and_writes_plainly_beside_routines(driver: DriverKind) {
    on_a_thread(driver, || {
        let (mut socket, mut client) = pair();
        let got: Log<Done> = Log::default();
        let (mut received, mut expected) = (Vec::new(), Vec::new());
        for n in 0..20 {
            let bytes = pattern(n * 10, 10);
            client.write_all(&bytes).expect("written");
            let mut first = [0; 3];
            socket.read_exact(&mut first).expect("read");
            received.extend_from_slice(&first);
            socket.recv(room(7), got.keep()).expect("started");
            run_until("it comes", || got.len() == 1);
            received.extend_from_slice(&got.take().remove(0).buffer);
            socket.write_all(&bytes[..4]).expect("written");
            socket.flush().expect("nothing to do");
            socket.send(bytes[4..].into(), got.keep()).expect("started");
            run_until("it is sent", || got.len() == 1);
            got.take();
            expected.extend(bytes);
        }
        assert_same(&received, &expected, "what was received");
        let mut read = vec![0; expected.len()];
        client.read_exact(&mut read).expect("all of it");
        assert_same(&read, &expected, "what was sent");
    });
}

/// The peer's end, a reset, a call that the socket does not have.
fn a_plain_call_hears_what_the_system_says(driver: DriverKind) {
    on_a_thread(driver, || {
        let (mut socket, client) = pair();
        drop(client);
        assert_eq!(socket.read(&mut [0]).expect("the end"), 0);
        let (mut socket, client) = pair();
        crate::util::reset(client);
        let error = socket.read(&mut [0]).expect_err("a reset");
        assert_eq!(Situation::of(&error), Some(Situation::PeerReset));
        // No signal ends the process.
        let error = socket.write(&[0]).and_then(|_| socket.write(&[0])).expect_err("a reset");
        assert_eq!(Situation::of(&error), Some(Situation::PeerReset));
        assert_eq!(socket.accept().expect_err("a stream").kind(), ErrorKind::InvalidInput);
        let (listener, address) = listener();
        assert_eq!(listener.local_addr().expect("bound"), address);
        assert_eq!(listener.peer_addr().expect_err("no peer").kind(), ErrorKind::NotConnected);
        let socket = unconnected(address);
        let error = (&socket).read(&mut [0]).expect_err("no peer");
        assert_eq!(error.kind(), ErrorKind::NotConnected, "S113");
        socket.shutdown(Shutdown::Write).expect_err("no peer");
        // It is of use all the same.
        socket.connect(address).expect("connected");
        socket.set_nodelay(true).expect("an option");
        assert_eq!(socket.peer_addr().expect("connected"), address);
    });
}

/// A thread that has no driver waits in a plain call as anybody would, and one is made at the first start.
#[test]
fn a_plain_call_needs_no_driver() {
    let (listener, address) = listener();
    let (socket, mut client) = pair();
    thread::scope(|s| {
        s.spawn(|| {
            let (accepted, _) = listener.accept().expect("somebody comes");
            assert_eq!((&accepted).read(&mut [0; 9]).expect("something comes"), 2);
            let mut buffer = [0; 3];
            (&socket).read_exact(&mut buffer).expect("something comes");
        });
        let mut second = connect(address);
        second.write_all(b"hi").expect("written");
        client.write_all(b"you").expect("written");
    });
    elsewhere(|| {
        let got = Log::default();
        socket.send(vec![1].into(), got.routine(())).expect("started");
        run();
        assert_eq!(got.len(), 1);
    });
}
