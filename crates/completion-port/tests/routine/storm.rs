//! All of it at once: servers and clients made of routines, and threads that do whatever they please. No run is like another, and a seed
//! only says what was tried.

use std::{
    cell::{Cell, RefCell},
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    rc::Rc,
    sync::{Barrier, mpsc},
    thread,
    time::Duration,
};

use completion_port::{
    Buffer, DriverKind, TcpSocket,
    routine::{Done, OverlappedSocket, Thread, Woken, current, queue_user_apc, sleep_ex},
};

use crate::{
    kit::{Log, drive_by, nothing_runs, on_a_thread, pair, room, run_until},
    util::{assert_same, dial, pattern, reset},
};

crate::on_each_driver!(
    an_echo_server_loses_no_byte,
    an_echo_server_for_clients_of_routines,
    nothing_is_lost_or_doubled,
);

struct Rng(u64);

impl Rng {
    fn new(seed: usize) -> Self {
        Self((seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % n
    }
}

/// A connection of the server's: a receive and a send start each other, of whatever size, until the client has ended.
fn echo(socket: &OverlappedSocket, mut rng: Rng, open: Rc<Cell<usize>>) {
    socket.set_nodelay(true).expect("an option");
    let (size, lent, gathered) = (1 + rng.below(8_000), rng.below(2) == 0, rng.below(3) == 0);
    let received = move |done: Done| {
        if done.result.expect("no error") == 0 {
            return open.set(open.get() - 1);
        }
        let sent = move |done: Done| {
            done.result.expect("whole");
            echo(&done.socket, rng, open);
        };
        if gathered {
            let (head, tail) = done.buffer.split_at(done.buffer.len() / 2);
            done.socket.send_vectored(vec![head.into(), tail.into()], sent).expect("started");
        } else {
            done.socket.send(done.buffer, sent).expect("started");
        }
    };
    if lent {
        socket.recv_lent(received).expect("started");
    } else {
        socket.recv(room(size), received).expect("started");
    }
}

/// The notes' first server, on one thread, until so many clients have come and gone. In its two ways to accept: without waiting, in
/// turn with the alertable sleep, and waiting, which is alertable as well.
fn serve(listener: OverlappedSocket, clients: usize) {
    let open = Rc::new(Cell::new(0));
    let mut accepted = 0;
    listener.set_nonblocking(true);
    while accepted < clients / 2 {
        sleep_ex(Duration::from_millis(1), true).expect("the driver works");
        match listener.accept() {
            Ok((client, _)) => {
                open.set(open.get() + 1);
                echo(&client, Rng::new(accepted), open.clone());
                accepted += 1;
            }
            Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock, "{e}"),
        }
    }
    listener.set_nonblocking(false);
    for n in accepted..clients {
        let (client, _) = listener.accept().expect("somebody comes");
        open.set(open.get() + 1);
        echo(&client, Rng::new(n), open.clone());
    }
    run_until("all have gone", || open.get() == 0);
    nothing_runs();
}

fn an_echo_server_loses_no_byte(driver: DriverKind) {
    const THREADS: usize = 3;
    const EACH: usize = 10;
    const ROUNDS: usize = 100;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dialled = listener.try_clone().expect("a duplicate");
    thread::scope(|s| {
        s.spawn(move || on_a_thread(driver, || serve(listener.into(), THREADS * EACH)));
        for thread in 0..THREADS {
            let dialled = &dialled;
            s.spawn(move || {
                let mut rng = Rng::new(100 + thread);
                let mut clients: Vec<_> = (0..EACH).map(|_| (dial(dialled), 0)).collect();
                clients.iter().for_each(|(client, _)| client.set_nodelay(true).expect("an option"));
                for _ in 0..ROUNDS * EACH {
                    let (client, at) = &mut clients[rng.below(EACH)];
                    let bytes = pattern(*at, 1 + rng.below(20_000));
                    client.write_all(&bytes).expect("written");
                    let mut back = vec![0; bytes.len()];
                    client.read_exact(&mut back).expect("echoed");
                    assert_same(&back, &bytes, "the echo");
                    *at += bytes.len();
                }
                for (mut client, _) in clients {
                    client.shutdown(Shutdown::Write).expect("shut down");
                    assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
                }
            });
        }
    });
}

/// A client's stream: what is sent next, and how much has come back.
struct Client {
    sent: Cell<usize>,
    back: Cell<usize>,
    rng: RefCell<Rng>,
}

/// Each of the clients sends so much.
const MUCH: usize = 400_000;

impl Client {
    fn send(self: Rc<Self>, socket: &OverlappedSocket) {
        let left = MUCH - self.sent.get();
        if left == 0 {
            socket.shutdown(Shutdown::Write).expect("shut down");
            return;
        }
        let len = left.min(1 + self.rng.borrow_mut().below(9_000));
        let bytes = pattern(self.sent.get(), len);
        self.sent.set(self.sent.get() + len);
        let sent = move |done: Done| {
            done.result.expect("whole");
            self.send(&done.socket);
        };
        socket.send(bytes.into(), sent).expect("started");
    }

    fn receive(self: Rc<Self>, socket: &OverlappedSocket, open: Rc<Cell<usize>>) {
        let received = move |done: Done| {
            if done.result.expect("no error") == 0 {
                assert_eq!(self.back.get(), MUCH);
                return open.set(open.get() - 1);
            }
            let expected = pattern(self.back.get(), done.buffer.len());
            assert_same(&done.buffer, &expected, "the echo");
            self.back.set(self.back.get() + done.buffer.len());
            self.receive(&done.socket, open);
        };
        socket.recv_lent(received).expect("started");
    }
}

/// Both ends: the clients send and receive at once, all of them on one thread.
fn an_echo_server_for_clients_of_routines(driver: DriverKind) {
    const CLIENTS: usize = 20;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::scope(|s| {
        s.spawn(move || on_a_thread(driver, || serve(listener.into(), CLIENTS)));
        s.spawn(move || {
            on_a_thread(driver, || {
                let open = Rc::new(Cell::new(CLIENTS));
                for n in 0..CLIENTS {
                    let socket = OverlappedSocket::from(TcpSocket::new(&address).expect("one"));
                    socket.connect(address).expect("connected");
                    let rng = RefCell::new(Rng::new(200 + n));
                    let (sent, back) = (Cell::new(0), Cell::new(0));
                    let client = Rc::new(Client { sent, back, rng });
                    client.clone().send(&socket);
                    client.receive(&socket, open.clone());
                }
                run_until("all has come back", || open.get() == 0);
            });
        });
    });
}

/// What one of the threads below has started and what has run.
struct Actor {
    rng: Rng,
    started: usize,
    ran: Log<usize>,
}

impl Actor {
    /// A routine that says which it is; some wait alertably themselves, some start something more, which is nobody's business.
    fn routine(&mut self) -> impl FnOnce(Done) + use<> {
        let (number, how, log) = (self.started, self.rng.below(10), self.ran.clone());
        let here = thread::current().id();
        move |done| {
            assert_eq!(thread::current().id(), here, "S164");
            log.add(number);
            match how {
                0 => _ = sleep_ex(Duration::ZERO, true).expect("the driver works"),
                1 => done.socket.close(),
                2 => _ = done.socket.cancel_own(),
                _ => {}
            }
        }
    }

    fn act(&mut self, socket: &OverlappedSocket, others: &[Thread]) {
        let routine = self.routine();
        let much = if self.rng.below(8) == 0 { 600_000 } else { 4_000 };
        let bytes = vec![1_u8; 1 + self.rng.below(much)];
        let result = match self.rng.below(20) {
            0..6 => {
                let room = room(1 + self.rng.below(5_000));
                socket.recv(room, routine).map(drop).map_err(Into::into)
            }
            6..9 => socket.recv_lent(routine).map(drop).map_err(Into::into),
            9..13 => socket.send(bytes.into(), routine).map(drop).map_err(Into::into),
            13 => {
                let two = vec![Buffer::from(&bytes[..bytes.len() / 2]), bytes.into()];
                socket.send_vectored(two, routine).map(drop).map_err(Into::into)
            }
            14 if self.rng.below(5) == 0 => {
                let time = Duration::from_micros(self.rng.below(3_000) as u64);
                socket.end(time, routine).map(drop).map_err(Into::into)
            }
            rest => return self.act_otherwise(rest, socket, others),
        };
        match result {
            Ok(()) => self.started += 1,
            Err(e) => assert!(allowed(&e), "{e}"),
        }
    }

    /// Without a routine.
    fn act_otherwise(&mut self, what: usize, socket: &OverlappedSocket, others: &[Thread]) {
        match what {
            15 => _ = socket.cancel_own(),
            16 => _ = socket.cancel_all(),
            17 if self.rng.below(10) == 0 => socket.close(),
            17 => _ = socket.shutdown(Shutdown::Write),
            18 => _ = queue_user_apc(&others[self.rng.below(others.len())], || ()),
            _ => {
                let time = Duration::from_micros(self.rng.below(300) as u64);
                sleep_ex(time, true).expect("the driver works");
            }
        }
    }
}

/// Refused is only what may be: closed, ending, too many.
fn allowed(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotConnected | ErrorKind::WouldBlock)
}

/// Writes some, reads what comes, and ends it one way or the other.
fn peer(mut client: TcpStream, seed: usize) {
    let mut rng = Rng::new(seed);
    let mut piece = vec![0; 50_000];
    for _ in 0..rng.below(30) {
        if client.write_all(&pattern(0, 1 + rng.below(2_000))).is_err() {
            return;
        }
        client.set_nonblocking(true).expect("an option");
        let _whatever = client.read(&mut piece);
        client.set_nonblocking(false).expect("an option");
    }
    match rng.below(5) {
        0 => reset(client),
        1 => drop(client),
        _ => while let Ok(1..) = client.read(&mut piece) {},
    }
}

/// Three threads on the same sockets: start, cancel, close, end, call each other, wait, also inside routines. Every operation that was
/// not refused has its routine run once, on its thread.
fn nothing_is_lost_or_doubled(driver: DriverKind) {
    const ACTORS: usize = 3;
    const SOCKETS: usize = 12;
    const ACTS: usize = 1_500;
    let (sockets, clients): (Vec<_>, Vec<_>) = (0..SOCKETS).map(|_| pair()).unzip();
    let (tell, told) = mpsc::channel();
    let (named, together) = (Barrier::new(ACTORS + 1), Barrier::new(ACTORS));
    let names: Log<Thread> = Log::default();
    thread::scope(|s| {
        for (n, client) in clients.into_iter().enumerate() {
            s.spawn(move || peer(client, 300 + n));
        }
        for n in 0..ACTORS {
            let (sockets, tell, names) = (&sockets, tell.clone(), &names);
            let (named, together) = (&named, &together);
            s.spawn(move || {
                drive_by(driver);
                tell.send(current().expect("a thread")).expect("somebody listens");
                named.wait();
                let names = names.with(|names| names.clone());
                let mut actor = Actor { rng: Rng::new(400 + n), started: 0, ran: Log::default() };
                for _ in 0..ACTS {
                    let socket = &sockets[actor.rng.below(SOCKETS)];
                    actor.act(socket, &names);
                }
                together.wait();
                sockets.iter().for_each(OverlappedSocket::close);
                run_until("every routine has run", || actor.ran.len() >= actor.started);
                together.wait();
                // What others have called, if so.
                while sleep_ex(Duration::ZERO, true).expect("works") != Woken::TimedOut {}
                let mut ran = actor.ran.take();
                ran.sort_unstable();
                assert!(ran.into_iter().eq(0..actor.started), "once each");
            });
        }
        let all = (0..ACTORS).map(|_| told.recv().expect("told")).collect();
        names.with(|names| *names = all);
        named.wait();
    });
    assert!(sockets.iter().all(|socket| socket.cancel_all() == 0));
}
