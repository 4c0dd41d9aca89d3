//! What the echo servers of this package share: the command line, the stall, the count of stalls, and handing out connections.
//!
//! All take `SERVER ADDRESS [--threads N] [--buffer 4096] [--stall none|sleep|burn] [--stall-ms 10]`, listen on loopback only, and print
//! two lines: `listening on ADDRESS, ...` with their settings at the start, and `stalls=N` when SIGTERM or SIGINT ends them. Those in
//! C and C++ (`native/peer.h`) do the same.

pub mod buffers;
pub mod uring;

use std::{
    env,
    error::Error,
    fmt,
    io::{self, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use socket2::SockRef;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// What a server's `main` gives.
pub type Outcome = Result<(), Box<dyn Error>>;

/// The first byte of a message for which the handler stalls.
pub const MARK: u8 = 0xFF;
/// The buffer of a connection, where a connection has one and the command line names no other size.
const BUFFER: usize = 4096;
/// Threads that serve, if the command line names no number.
pub const THREADS: usize = 2;
/// Connections that the kernel keeps until they are accepted, as far as it allows.
const BACKLOG: i32 = 4096;

/// What a handler does for a marked message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Sleep,
    Burn,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Kind::None),
            "sleep" => Ok(Kind::Sleep),
            "burn" => Ok(Kind::Burn),
            _ => Err("none, sleep or burn".into()),
        }
    }
}

/// The stall, as a careless handler makes it: a plain call on the thread that serves.
#[derive(Debug)]
pub struct Stall {
    kind: Kind,
    length: Duration,
    count: AtomicU64,
}

impl Stall {
    /// Called by a handler between receive and send.
    #[inline]
    pub fn on(&self, chunk: &[u8]) {
        if chunk.first() == Some(&MARK) && self.kind != Kind::None {
            self.stall();
        }
    }

    #[cold]
    fn stall(&self) {
        self.count.fetch_add(1, Relaxed);
        match self.kind {
            Kind::None => {}
            Kind::Sleep => thread::sleep(self.length),
            Kind::Burn => {
                let begun = Instant::now();
                while begun.elapsed() < self.length {
                    std::hint::spin_loop();
                }
            }
        }
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::None => write!(f, "no stall"),
            Kind::Sleep => write!(f, "stall: sleep {} ms", self.length.as_millis()),
            Kind::Burn => write!(f, "stall: burn {} ms", self.length.as_millis()),
        }
    }
}

/// What the command line asks for, and the socket that listens.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    listener: TcpListener,
    address: SocketAddr,
    threads: Option<usize>,
    buffer: usize,
    signals: Signals,
}

impl Server {
    /// Reads the command line and listens. The stall lives as long as the process does.
    pub fn of_process(name: &'static str) -> Result<(Server, &'static Stall), Box<dyn Error>> {
        let (mut address, mut threads) = (None, None);
        let (mut kind, mut length, mut buffer) = (Kind::None, 10, BUFFER);
        let mut args = env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
            match arg.as_str() {
                "--threads" => threads = Some(parse(&arg, &value()?)?),
                "--buffer" => buffer = parse(&arg, &value()?)?,
                "--stall" => kind = parse(&arg, &value()?)?,
                "--stall-ms" => length = parse(&arg, &value()?)?,
                _ if arg.starts_with('-') || address.is_some() => {
                    return Err(format!("unexpected argument {arg}").into());
                }
                _ => address = Some(parse::<SocketAddr>("ADDRESS", &arg)?),
            }
        }
        let address = address.ok_or("the address to listen on is missing")?;
        if !address.ip().is_loopback() {
            return Err(format!("{address} is not a loopback address").into());
        }
        if threads == Some(0) || buffer == 0 {
            return Err("--threads and --buffer are at least 1".into());
        }
        let listener = TcpListener::bind(address)?;
        SockRef::from(&listener).listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let signals = Signals::new([SIGTERM, SIGINT])?;
        let stall = Stall { kind, length: Duration::from_millis(length), count: AtomicU64::new(0) };
        Ok((
            Server { name, listener, address, threads, buffer, signals },
            Box::leak(Box::new(stall)),
        ))
    }

    /// How many threads serve.
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or(THREADS)
    }

    /// How many threads serve, if the command line says so.
    pub fn threads_asked(&self) -> Option<usize> {
        self.threads
    }

    /// How many bytes the buffer of a connection has.
    pub fn buffer(&self) -> usize {
        self.buffer
    }

    /// A duplicate of the listening socket, for a server that accepts by itself.
    pub fn listener(&self) -> io::Result<TcpListener> {
        self.listener.try_clone()
    }

    /// Starts one thread for each of [`threads`](Server::threads), to serve what it receives, and one that accepts and deals the
    /// connections round robin: SO_REUSEPORT would give one thread more than the other, by the hash of the addresses.
    pub fn deal(
        &self,
        serve: impl Fn(UnboundedReceiver<TcpStream>) -> io::Result<()> + Send + Copy + 'static,
    ) -> io::Result<()> {
        let mut hands = Vec::new();
        for at in 0..self.threads() {
            let (hand, connections) = mpsc::unbounded_channel();
            hands.push(hand);
            thread::Builder::new().name(format!("serve-{at}")).spawn(move || {
                if let Err(error) = serve(connections) {
                    fail(&error);
                }
            })?;
        }
        let listener = self.listener()?;
        thread::Builder::new().name("accept".into()).spawn(move || accept(&listener, &hands))?;
        Ok(())
    }

    /// Starts one thread for each of [`threads`](Server::threads), each with a duplicate of the listening socket to accept from.
    pub fn share(
        &self,
        serve: impl Fn(TcpListener) -> io::Result<()> + Send + Copy + 'static,
    ) -> io::Result<()> {
        for at in 0..self.threads() {
            let listener = self.listener()?;
            thread::Builder::new().name(format!("serve-{at}")).spawn(move || {
                if let Err(error) = serve(listener) {
                    fail(&error);
                }
            })?;
        }
        Ok(())
    }

    /// Says where it listens and with what settings, waits for SIGTERM or SIGINT, and ends the process with the count of stalls.
    pub fn run(mut self, settings: impl fmt::Display, stall: &Stall) -> Outcome {
        let mut out = io::stdout();
        let buffer = match self.buffer {
            BUFFER => String::new(),
            other => format!(" buffers of {other} bytes,"),
        };
        writeln!(out, "listening on {}, {}, {settings},{buffer} {stall}", self.address, self.name)?;
        out.flush()?;
        self.signals.forever().next();
        writeln!(out, "stalls={}", stall.count.load(Relaxed))?;
        out.flush()?;
        // Whoever serves is not asked to stop.
        process::exit(0)
    }
}

/// Accepts and deals, for ever.
fn accept(listener: &TcpListener, hands: &[UnboundedSender<TcpStream>]) {
    for hand in hands.iter().cycle() {
        match listener.accept() {
            Ok((stream, _)) => {
                // A client that has gone already refuses the option; its receive says so.
                let _ = stream.set_nodelay(true);
                let _ = hand.send(stream);
            }
            Err(error) => {
                eprintln!("accept: {error}");
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Ends the process: a server that serves with fewer threads than asked for would be measured all the same.
fn fail(error: &io::Error) -> ! {
    eprintln!("cannot serve: {error}");
    process::exit(1)
}

fn parse<T: FromStr<Err: fmt::Display>>(what: &str, text: &str) -> Result<T, Box<dyn Error>> {
    text.parse().map_err(|error| format!("{what} {text}: {error}").into())
}
