//! What operations are started on: a few handles, replaced now and then, and peers that meet them halfway.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Mutex},
    time::Duration,
};

use completion_port::{Buffer, CompletionPort, Handle, OpId, TcpSocket, TimerId};
use socket2::{Domain, SockRef, Socket, Type};

use super::{Rng, ledger::tag};
use crate::util::{busy::busy_listener, connection, files};

pub type Port = CompletionPort<(), usize>;
type End = Handle<(), usize>;

/// One that was started, and that somebody is to cancel.
pub struct Pending {
    pub number: usize,
    pub handle: End,
    pub id: Id,
}

pub enum Id {
    Operation(OpId),
    Timer(TimerId),
}

impl Pending {
    pub fn cancel(&self) -> bool {
        match self.id {
            Id::Operation(id) => self.handle.cancel(id),
            Id::Timer(id) => self.handle.cancel_timer(id),
        }
    }

    pub fn expire(&self, after: Duration) -> bool {
        match self.id {
            Id::Operation(id) => self.handle.expire(id, after),
            Id::Timer(_) => false,
        }
    }
}

/// Addresses where a connect does not succeed, for as long as this exists.
pub struct Nowhere {
    silent: SocketAddr,
    refusing: SocketAddr,
    _held: (Socket, Vec<Socket>, Socket),
}

impl Nowhere {
    pub fn new() -> Self {
        let (listener, silent, fillers) = busy_listener();
        // Bound, and nobody listens.
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        bound.bind(&any.into()).expect("a free port");
        let refusing = bound.local_addr().expect("bound").as_socket().expect("an IP address");
        Self { silent, refusing, _held: (listener, fillers, bound) }
    }
}

/// Orderly ends would leave a port in TIME_WAIT each.
fn ends_with_reset<'s>(socket: impl Into<SockRef<'s>>) {
    socket.into().set_linger(Some(Duration::ZERO)).expect("an option");
}

struct Stream {
    handle: End,
    peer: TcpStream,
}

impl Stream {
    fn new(port: &Port) -> Self {
        let (server, peer) = connection();
        ends_with_reset(&server);
        ends_with_reset(&peer);
        peer.set_nonblocking(true).expect("an option");
        Self { handle: port.associate(server, ()).expect("associated"), peer }
    }

    /// Some bytes for a receive. Nothing is lost where there is no room.
    fn feed(&self) {
        let _ = (&self.peer).write(&[1; 100]);
    }

    /// Room for a send, of a reader that is slow.
    fn drain(&self) {
        let _ = (&self.peer).read(&mut [0; 30_000]);
    }
}

struct Listener {
    handle: End,
    address: SocketAddr,
    /// The last clients: the first data of one that is gone is gone too.
    callers: Mutex<VecDeque<Socket>>,
}

impl Listener {
    fn new(port: &Port) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let handle = port.associate(listener, ()).expect("associated");
        Self { handle, address, callers: Mutex::default() }
    }

    /// A client that says something. Where the backlog is full, one that comes to nothing.
    fn call(&self) {
        let caller = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        ends_with_reset(&caller);
        caller.set_nonblocking(true).expect("an option");
        let _ = caller.connect(&self.address.into());
        let _ = caller.send(&[3; 50]);
        let mut callers = self.callers.lock().expect("no panic");
        callers.push_back(caller);
        if callers.len() > 8 {
            callers.pop_front();
        }
    }
}

const FILE: usize = 1 << 18;

pub struct Field<'a> {
    port: &'a Port,
    nowhere: &'a Nowhere,
    streams: [Mutex<Arc<Stream>>; 6],
    listeners: [Mutex<Arc<Listener>>; 2],
    datagrams: (End, UdpSocket),
    file: End,
    key: End,
    /// The room of each buffer, at least.
    room: usize,
}

impl<'a> Field<'a> {
    pub fn new(port: &'a Port, nowhere: &'a Nowhere, room: usize) -> Self {
        let (server, peer) =
            [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a port")).into();
        peer.connect(server.local_addr().expect("bound")).expect("connected");
        peer.set_nonblocking(true).expect("an option");
        Self {
            port,
            nowhere,
            streams: [(); 6].map(|()| Mutex::new(Arc::new(Stream::new(port)))),
            listeners: [(); 2].map(|()| Mutex::new(Arc::new(Listener::new(port)))),
            datagrams: (port.associate(server, ()).expect("associated"), peer),
            file: port.associate(files::file(&[4; FILE]), ()).expect("associated"),
            key: port.key(()),
            room,
        }
    }

    /// Starts one, of any kind.
    pub fn start(&self, number: usize, rng: &mut Rng) -> Pending {
        let room = Buffer::with_capacity(self.room + rng.below(3000));
        let bytes = |len| Buffer::from(vec![tag(number); len]);
        let pending = |handle: &End, id| Pending { number, handle: handle.clone(), id };
        let (handle, id) = match rng.below(14) {
            kind @ 0..6 => {
                let stream = pick(&self.streams, rng, || Stream::new(self.port));
                let on = &stream.handle;
                let id = match kind {
                    0 | 1 => met(
                        rng,
                        || stream.feed(),
                        || on.recv(room, number).map_err(io::Error::from),
                    ),
                    2 | 3 => {
                        met(rng, || stream.feed(), || on.recv_lent(number).map_err(io::Error::from))
                    }
                    4 => {
                        let bytes = bytes(self.room + rng.below(3000));
                        met(
                            rng,
                            || stream.drain(),
                            || on.send(bytes, number).map_err(io::Error::from),
                        )
                    }
                    _ => {
                        let bytes = bytes(200_000 + rng.below(200_000));
                        met(
                            rng,
                            || stream.drain(),
                            || on.send(bytes, number).map_err(io::Error::from),
                        )
                    }
                };
                (on.clone(), id)
            }
            kind @ 6..9 => {
                let listener = pick(&self.listeners, rng, || Listener::new(self.port));
                let on = &listener.handle;
                // Fewer than there are accepts: otherwise each finds one at once.
                let calls = rng.below(3) == 0;
                let call = || {
                    if calls {
                        listener.call()
                    }
                };
                let id = match kind {
                    6 => met(rng, call, || on.accept(number).map_err(io::Error::from)),
                    _ => met(rng, call, || on.accept_with(room, number).map_err(io::Error::from)),
                };
                (on.clone(), id)
            }
            9 => {
                let address = match rng.below(4) {
                    0 => self.nowhere.silent,
                    1 => self.nowhere.refusing,
                    _ => pick(&self.listeners, rng, || Listener::new(self.port)).address,
                };
                let socket = TcpSocket::new(&address).expect("a socket");
                ends_with_reset(&socket);
                let on = self.port.associate(socket, ()).expect("associated");
                let id = match rng.below(2) {
                    0 => on.connect(address, number).map_err(io::Error::from),
                    _ => on
                        .connect_with(address, bytes(self.room + 100), number)
                        .map_err(io::Error::from),
                };
                (on, id)
            }
            10 | 11 => {
                let (on, peer) = &self.datagrams;
                let send = || drop(peer.send(&[2; 200]));
                (on.clone(), met(rng, send, || on.recv_from(room, number).map_err(io::Error::from)))
            }
            12 => {
                let offset = rng.below(FILE / 2) as u64;
                (
                    self.file.clone(),
                    self.file.read_at(room, offset, number).map_err(io::Error::from),
                )
            }
            _ => {
                let after = Duration::from_micros(rng.below(300) as u64);
                let timer = self.key.timer(after, number).expect("armed");
                return pending(&self.key, Id::Timer(timer));
            }
        };
        // The queues are long enough.
        let id = id.unwrap_or_else(|e| panic!("{e}: {}", self.port.snapshot()));
        pending(&handle, Id::Operation(id))
    }
}

/// One of a set, which is another from time to time.
fn pick<T>(of: &[Mutex<Arc<T>>], rng: &mut Rng, another: impl FnOnce() -> T) -> Arc<T> {
    let mut one = of[rng.below(of.len())].lock().expect("no panic");
    if rng.below(100) == 0 {
        *one = Arc::new(another());
    }
    one.clone()
}

/// Starts, and lets the peer do its part: before, so that it is over at once, or behind it, so that it meets the cancel; or not at all.
fn met<R>(rng: &mut Rng, peer: impl Fn(), start: impl FnOnce() -> R) -> R {
    match rng.below(4) {
        0 => {
            peer();
            start()
        }
        1 => start(),
        _ => {
            let started = start();
            peer();
            started
        }
    }
}
