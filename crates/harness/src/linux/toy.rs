//! `toy-echo serve [OPTION]...`: a small echo server that talks as `cport serve` does, and has faults to order.
//!
//! It is what the programs of this package, and the scripts that run them, are tested against: each fault must be
//! seen by the program that is there to see it. One thread, mio, no part of the library.
//!
//! Options: `--listen 127.0.0.1:0`, `--grace 5`, `--driver` (any name is taken) and `--fault`, one of
//!
//! | fault | what is done wrong |
//! | --- | --- |
//! | `flip` | one bit of one byte |
//! | `drop` | bytes left out |
//! | `twice` | bytes sent twice |
//! | `swap` | bytes sent before the ones that belong before them |
//! | `end` | a stream ended early |
//! | `reset` | a connection reset |
//! | `extra` | bytes sent that nobody asked for |
//! | `leak` | descriptors that are not closed |
//! | `tick` | a timer when idle |
//! | `fat` | 4 KiB kept for an idle connection |
//! | `abrupt` | SIGTERM closes all connections at once |
//! | `late` | SIGTERM ends nothing for long |
//! | `miscount` | a wrong account in the last line |
//!
//! A fault of the bytes befalls every 50th connection, behind its first 100 bytes.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    mem::MaybeUninit,
    net::{Shutdown, SocketAddr},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
    str::FromStr,
    time::{Duration, Instant},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
    unix::SourceFd,
};

use super::limits;
use crate::{Trouble, args::Args, loopback::end_by_reset};

const LISTENER: Token = Token(usize::MAX - 1);
const SIGNALS: Token = Token(usize::MAX - 2);
/// Reads of one connection before the others have their turn.
const TURN: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Flip,
    Drop,
    Twice,
    Swap,
    End,
    Reset,
    Extra,
    Leak,
    Tick,
    Fat,
    Abrupt,
    Late,
    Miscount,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Fault, String> {
        Ok(match name {
            "none" => Fault::None,
            "flip" => Fault::Flip,
            "drop" => Fault::Drop,
            "twice" => Fault::Twice,
            "swap" => Fault::Swap,
            "end" => Fault::End,
            "reset" => Fault::Reset,
            "extra" => Fault::Extra,
            "leak" => Fault::Leak,
            "tick" => Fault::Tick,
            "fat" => Fault::Fat,
            "abrupt" => Fault::Abrupt,
            "late" => Fault::Late,
            "miscount" => Fault::Miscount,
            _ => return Err("no such fault".to_owned()),
        })
    }
}

/// Runs the program.
pub fn run() -> Result<bool, Trouble> {
    let mut args = Args::of_process();
    let listen: SocketAddr = args.option("--listen", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let grace = Duration::from_secs(args.option("--grace", 5)?);
    let driver = args.option("--driver", "toy".to_owned())?;
    let fault = args.option("--fault", Fault::None)?;
    if args.positional("serve")? != "serve" {
        return Err(Trouble::new("only `serve` is known"));
    }
    args.done()?;
    limits::scale("toy-echo", 0, 0);
    let server = Toy::new(listen, grace, fault).map_err(Trouble::at("the server"))?;
    let address = server.listener.as_ref().map(TcpListener::local_addr);
    let address = address.transpose().map_err(Trouble::at("the address"))?.unwrap_or(listen);
    println!("listening on {address}, driver {driver}");
    server.serve().map_err(Trouble::at("serving"))?;
    Ok(true)
}

#[derive(Debug)]
struct Connection {
    number: u64,
    socket: TcpStream,
    /// Read, and not sent yet.
    out: Vec<u8>,
    seen: u64,
    /// Kept by the fault `swap` until there is more.
    kept: Vec<u8>,
    /// The flushed end has been sent; all that still comes is discarded.
    shut: bool,
    fat: Vec<u8>,
}

#[derive(Debug)]
enum Next {
    /// Nothing to do until the next event.
    Wait,
    /// Its turn is over, but there is more to do.
    Again,
    Close,
}

struct Toy {
    poll: Poll,
    listener: Option<TcpListener>,
    signals: OwnedFd,
    grace: Duration,
    fault: Fault,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    again: VecDeque<usize>,
    leaked: Vec<TcpStream>,
    stopping: Option<Instant>,
    scratch: Vec<u8>,
    accepted: u64,
    closed: u64,
    read: u64,
    sent: u64,
    reset: u64,
    unsent: u64,
    discarded: u64,
}

impl Toy {
    fn new(listen: SocketAddr, grace: Duration, fault: Fault) -> io::Result<Toy> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(listen)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let signals = signals()?;
        let descriptor = signals.as_raw_fd();
        poll.registry().register(&mut SourceFd(&descriptor), SIGNALS, Interest::READABLE)?;
        Ok(Toy {
            poll,
            listener: Some(listener),
            signals,
            grace,
            fault,
            connections: Vec::new(),
            free: Vec::new(),
            again: VecDeque::new(),
            leaked: Vec::new(),
            stopping: None,
            scratch: vec![0; 64 << 10],
            accepted: 0,
            closed: 0,
            read: 0,
            sent: 0,
            reset: 0,
            unsent: 0,
            discarded: 0,
        })
    }

    fn serve(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            if let Some(end) = self.stopping {
                let over = self.fault != Fault::Late && self.accepted == self.closed;
                if over || Instant::now() >= end {
                    break;
                }
            }
            let timeout = if !self.again.is_empty() {
                Some(Duration::ZERO)
            } else if self.fault == Fault::Tick {
                Some(Duration::from_millis(100))
            } else {
                self.stopping.map(|end| end.saturating_duration_since(Instant::now()))
            };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    SIGNALS => self.signalled()?,
                    Token(at) => self.turn(at),
                }
            }
            for _ in 0..self.again.len() {
                if let Some(at) = self.again.pop_front() {
                    self.turn(at);
                }
            }
        }
        for at in 0..self.connections.len() {
            self.close(at);
        }
        if self.fault == Fault::Miscount {
            self.read += 1;
        }
        let Toy { accepted, closed, read, sent, reset, unsent, discarded, .. } = self;
        println!(
            "served: accepted={accepted} closed={closed} read={read} sent={sent} reset={reset} unsent={unsent} \
             discarded={discarded}"
        );
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Some(listener) = &self.listener {
            let mut socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            let at = self.free.pop().unwrap_or(self.connections.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, Token(at), interest)?;
            let connection = Connection {
                number: self.accepted,
                socket,
                out: Vec::new(),
                seen: 0,
                kept: Vec::new(),
                shut: false,
                fat: vec![1; if self.fault == Fault::Fat { 4096 } else { 0 }],
            };
            if at == self.connections.len() {
                self.connections.push(Some(connection));
            } else {
                self.connections[at] = Some(connection);
            }
            self.accepted += 1;
        }
        Ok(())
    }

    /// Answers every signal that has come: the descriptor tells of new ones only.
    fn signalled(&mut self) -> io::Result<()> {
        loop {
            match read_signal(&self.signals) {
                Ok(libc::SIGUSR1) => {
                    let (open, read, sent) = (self.accepted - self.closed, self.read, self.sent);
                    println!("open={open} read={read} sent={sent}");
                }
                Ok(_) => self.stop(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn stop(&mut self) {
        self.listener = None;
        let late = if self.fault == Fault::Late { 3 } else { 0 };
        self.stopping = Some(Instant::now() + self.grace + Duration::from_secs(late));
        for at in 0..self.connections.len() {
            if self.fault == Fault::Abrupt {
                self.close(at);
            } else if self.fault != Fault::Late {
                self.turn(at);
            }
        }
    }

    fn turn(&mut self, at: usize) {
        let Some(Some(mut connection)) = self.connections.get_mut(at).map(Option::take) else {
            return;
        };
        let outcome = self.advance(&mut connection);
        self.connections[at] = Some(connection);
        match outcome {
            Ok(Next::Wait) => {}
            Ok(Next::Again) => self.again.push_back(at),
            Ok(Next::Close) => self.close(at),
            Err(_) => {
                self.reset += 1;
                self.close(at);
            }
        }
    }

    fn close(&mut self, at: usize) {
        let Some(connection) = self.connections[at].take() else {
            return;
        };
        self.unsent += connection.out.len() as u64;
        self.closed += 1;
        self.free.push(at);
        drop(connection.fat);
        if self.fault == Fault::Leak && connection.number.is_multiple_of(50) {
            let _ = connection.socket.shutdown(Shutdown::Both);
            self.leaked.push(connection.socket);
        }
    }

    fn advance(&mut self, connection: &mut Connection) -> io::Result<Next> {
        let stopping = self.stopping.is_some() && self.fault != Fault::Late;
        for _ in 0..TURN {
            if !connection.out.is_empty() {
                match connection.socket.write(&connection.out) {
                    Ok(sent) => {
                        self.sent += sent as u64;
                        connection.out.drain(..sent);
                        continue;
                    }
                    Err(error) => return wait(error),
                }
            }
            connection.out = Vec::new();
            if stopping && !connection.shut {
                connection.shut = true;
                connection.socket.shutdown(Shutdown::Write)?;
            }
            match connection.socket.read(&mut self.scratch) {
                Ok(0) => return Ok(Next::Close),
                Ok(length) if connection.shut => self.discarded += length as u64,
                Ok(length) => {
                    self.read += length as u64;
                    connection.out = self.scratch[..length].to_vec();
                    if connection.number.is_multiple_of(50) && spoil(self.fault, connection)? {
                        return Ok(Next::Close);
                    }
                }
                Err(error) => return wait(error),
            }
        }
        Ok(Next::Again)
    }
}

fn wait(error: io::Error) -> io::Result<Next> {
    match error.kind() {
        ErrorKind::WouldBlock => Ok(Next::Wait),
        ErrorKind::Interrupted => Ok(Next::Again),
        _ => Err(error),
    }
}

/// Does the fault to what the connection is about to send. `true`: the connection is to be closed.
fn spoil(fault: Fault, connection: &mut Connection) -> io::Result<bool> {
    let before = connection.seen;
    connection.seen += connection.out.len() as u64;
    // What was kept goes out behind what came after it.
    if !connection.kept.is_empty() {
        let kept = std::mem::take(&mut connection.kept);
        connection.out.extend(kept);
    }
    let out = &mut connection.out;
    if before > 100 || connection.seen <= 100 || out.len() < 20 {
        return Ok(false);
    }
    let last = out.len() - 10;
    match fault {
        Fault::Flip => out[last] ^= 0x10,
        Fault::Drop => out.truncate(last),
        Fault::Twice => out.extend_from_within(last..),
        Fault::Swap => {
            let half = out.len() / 2;
            out.rotate_left(half);
            connection.kept = out.split_off(out.len() - 1);
        }
        Fault::Extra => out.extend_from_slice(b"nobody asked for this"),
        Fault::End => return Ok(true),
        Fault::Reset => {
            end_by_reset(&connection.socket)?;
            return Ok(true);
        }
        _ => {}
    }
    Ok(false)
}

/// A descriptor that SIGTERM, SIGINT and SIGUSR1 are read from.
fn signals() -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set that the pointer names, and the other calls then read or change that
    // set, which lives until the end of this function. The process has one thread when this is called, so the mask
    // is the mask of all threads.
    let descriptor = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1] {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        if libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has just made the descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn read_signal(signals: &OwnedFd) -> io::Result<i32> {
    let mut record = [0; size_of::<libc::signalfd_siginfo>()];
    let length = rustix::io::read(signals, &mut record)?;
    // The number of the signal is the first field.
    match record[..length].first_chunk() {
        Some(number) => Ok(i32::from_ne_bytes(*number)),
        None => Err(ErrorKind::UnexpectedEof.into()),
    }
}
