//! `ping ADDR [OPTION]...`: a closed loop of messages through an echo server, every byte checked, with the time that each took.
//!
//! One thread holds all connections. On each, `--depth` messages are on their way; when one has come back, the next goes. The first
//! byte of a message says whether it is *marked*: a server that is told to can do something slow for those. What they take is
//! left out of the times, which are those of the others: what a bystander sees.
//!
//! | option | meaning |
//! | --- | --- |
//! | `--connections 64` | how many |
//! | `--depth 1` | messages on their way on each |
//! | `--size 64` | bytes of a message, from 8 |
//! | `--seconds 5` | how long it is measured, after a tenth of that to warm up |
//! | `--mark-every 0` | one in so many messages is marked; 0: none |
//! | `--pause-us 0` | how long a connection waits before its next message |
//! | `--batch` | as many messages as have come back in one read go in one write |
//! | `--arrivals` | tells also the times until the answers arrived at this machine, whenever this thread came to read them |
//! | `--churn` | a new connection for each message; its time counts from the connect |
//! | `--server-pid PID` | tells the processor time of this process for each message |

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use super::{arrival, limits, process::Process};
use crate::{Trouble, args::Args, loopback::Sources};

/// What a marked message begins with; the others begin with 0.
const MARK: u8 = 0xFF;
/// The server under test has failed if nothing comes for so long.
const STALL: Duration = Duration::from_secs(20);

struct Options {
    address: SocketAddr,
    connections: usize,
    depth: usize,
    size: usize,
    seconds: f64,
    mark_every: u64,
    pause: Duration,
    batch: bool,
    arrivals: bool,
    churn: bool,
    server: Option<Process>,
}

fn options() -> Result<Options, Trouble> {
    let mut args = Args::of_process();
    let options = Options {
        connections: args.option("--connections", 64)?,
        depth: args.option("--depth", 1)?,
        size: args.option("--size", 64)?,
        seconds: args.option("--seconds", 5.0)?,
        mark_every: args.option("--mark-every", 0)?,
        pause: Duration::from_micros(args.option("--pause-us", 0)?),
        batch: args.flag("--batch"),
        arrivals: args.flag("--arrivals"),
        churn: args.flag("--churn"),
        server: args.optional("--server-pid")?.map(Process),
        address: args.loopback_address()?,
    };
    args.done()?;
    if options.size < HEAD || options.depth == 0 || options.connections == 0 {
        return Err(Trouble::new("--size is at least 8, --depth and --connections at least 1"));
    }
    if options.churn && options.depth != 1 {
        return Err(Trouble::new("--churn has one message on each connection"));
    }
    Ok(options)
}

/// A message that has not come back.
struct Message {
    number: u64,
    sent: Instant,
    marked: bool,
}

struct Connection {
    stream: TcpStream,
    waiting: VecDeque<Message>,
    /// Bytes that the socket did not take.
    unsent: Vec<u8>,
    /// Bytes of the first waiting message that have come back.
    back: usize,
    connected: bool,
}

struct Load<'a> {
    options: &'a Options,
    poll: Poll,
    sources: Sources,
    connections: Vec<Connection>,
    /// Connections that pause, the first to go on first.
    pausing: BinaryHeap<Reverse<(Instant, usize)>>,
    next: u64,
    times: Histogram<u64>,
    /// The same until the answers arrived, if that is asked for.
    arrivals: Histogram<u64>,
    done: u64,
    marked: u64,
    scratch: Vec<u8>,
    /// 0, 1, 2 ... 255, 0 ...: what messages are made of behind their head.
    ramp: Vec<u8>,
}

/// The bytes that a message begins with.
const HEAD: usize = 8;

/// What a message begins with: its mark, and a whole number, so that messages that change places show.
fn head(number: u64, marked: bool) -> [u8; HEAD] {
    let [a, b, c, d, e, f, g, _] = number.to_le_bytes();
    [if marked { MARK } else { 0 }, a, b, c, d, e, f, g]
}

/// The bytes of a message from `from` on, which is behind its head: they depend on the number and on the position.
fn tail(ramp: &[u8], number: u64, from: usize, length: usize) -> &[u8] {
    let begin = (number as usize).wrapping_mul(31).wrapping_add(from) % 256;
    &ramp[begin..begin + length]
}

/// Where `piece` is not what the message has from `back` on.
fn first_wrong(ramp: &[u8], message: &Message, back: usize, piece: &[u8]) -> Option<usize> {
    let (of_head, of_tail) = piece.split_at(piece.len().min(HEAD.saturating_sub(back)));
    let head = head(message.number, message.marked);
    let tail = tail(ramp, message.number, back + of_head.len(), of_tail.len());
    // Compared whole, which is quick; a search only follows if something is wrong.
    if of_tail == tail && head[back.min(HEAD)..].starts_with(of_head) {
        return None;
    }
    let expected = head.iter().skip(back).take(of_head.len()).chain(tail);
    expected.zip(piece).position(|(expected, got)| expected != got).map(|at| back + at)
}

impl Load<'_> {
    fn connect(&mut self, at: usize) -> Result<Connection, Trouble> {
        let failed = || Trouble::at("connect");
        let socket = self.sources.socket(self.options.address).map_err(failed())?;
        socket.set_nonblocking(true).map_err(failed())?;
        socket.set_tcp_nodelay(true).map_err(failed())?;
        match socket.connect(&self.options.address.into()) {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(e) => return Err(failed()(e)),
        }
        if self.options.arrivals {
            arrival::note(&socket).map_err(failed())?;
        }
        let mut stream = TcpStream::from_std(socket.into());
        self.poll
            .registry()
            .register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)
            .map_err(failed())?;
        Ok(Connection {
            stream,
            waiting: VecDeque::new(),
            unsent: Vec::new(),
            back: 0,
            connected: false,
        })
    }

    /// A new connection in the place of one, with a message.
    fn renew(&mut self, at: usize) -> Result<(), Trouble> {
        let begun = Instant::now();
        self.connections[at] = self.connect(at)?;
        self.send(at, begun)
    }

    /// Sends one more message on a connection.
    fn send(&mut self, at: usize, sent: Instant) -> Result<(), Trouble> {
        self.add(at, sent);
        self.flush(at)
    }

    /// Adds one more message to what is to be sent on a connection.
    fn add(&mut self, at: usize, sent: Instant) {
        let number = self.next;
        self.next += 1;
        let marked = self.options.mark_every > 0
            && number % self.options.mark_every == self.options.mark_every - 1;
        let connection = &mut self.connections[at];
        connection.waiting.push_back(Message { number, sent, marked });
        connection.unsent.extend(head(number, marked));
        connection.unsent.extend(tail(&self.ramp, number, HEAD, self.options.size - HEAD));
    }

    /// Sends what is to be sent, if the connection is there.
    fn flush(&mut self, at: usize) -> Result<(), Trouble> {
        let connection = &mut self.connections[at];
        if connection.connected { flush(connection) } else { Ok(()) }
    }

    /// Takes what has come back on a connection.
    fn receive(&mut self, at: usize) -> Result<(), Trouble> {
        loop {
            let connection = &mut self.connections[at];
            let read = if self.options.arrivals {
                arrival::read(&connection.stream, &mut self.scratch)
            } else {
                connection.stream.read(&mut self.scratch).map(|read| (read, Duration::ZERO))
            };
            let (read, ago) = match read {
                Ok((0, _)) if self.options.churn && connection.waiting.is_empty() => return Ok(()),
                Ok((0, _)) => return Err(Trouble::new("the server has closed a connection")),
                Ok(read) => read,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(Trouble::at("read")(e)),
            };
            let now = Instant::now();
            let mut over = 0;
            let mut rest = &self.scratch[..read];
            while !rest.is_empty() {
                let Some(message) = connection.waiting.front() else {
                    return Err(Trouble::new("more came back than was sent"));
                };
                let length = rest.len().min(self.options.size - connection.back);
                let (piece, behind) = rest.split_at(length);
                if let Some(at) = first_wrong(&self.ramp, message, connection.back, piece) {
                    return Err(Trouble::new(format!(
                        "byte {at} of message {} is wrong",
                        message.number
                    )));
                }
                rest = behind;
                connection.back += length;
                if connection.back == self.options.size {
                    connection.back = 0;
                    let took = now - message.sent;
                    if message.marked {
                        self.marked += 1;
                    } else {
                        let _ = self.times.record(took.as_nanos() as u64);
                        if self.options.arrivals {
                            let until_arrival = took.saturating_sub(ago);
                            let _ = self.arrivals.record(until_arrival.as_nanos() as u64);
                        }
                    }
                    connection.waiting.pop_front();
                    over += 1;
                }
            }
            self.done += over;
            if over == 0 {
                continue;
            }
            if self.options.churn {
                if self.options.pause.is_zero() {
                    return self.renew(at);
                }
                // The server is to have nothing to do during the pause, not the end of this connection behind it.
                let _ = connection.stream.shutdown(Shutdown::Both);
            }
            for _ in 0..over {
                if !self.options.pause.is_zero() {
                    self.pausing.push(Reverse((now + self.options.pause, at)));
                } else if self.options.batch {
                    self.add(at, now);
                } else {
                    self.send(at, now)?;
                }
            }
            if self.options.batch {
                self.flush(at)?;
            }
            if read < self.scratch.len() {
                return Ok(());
            }
        }
    }

    fn run_until(&mut self, end: Instant) -> Result<(), Trouble> {
        let mut events = Events::with_capacity(1024);
        let mut last = Instant::now();
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            while let Some(Reverse((_, at))) =
                self.pausing.peek().copied().filter(|Reverse((due, _))| *due <= now)
            {
                self.pausing.pop();
                if self.options.churn {
                    self.renew(at)?;
                } else {
                    self.send(at, Instant::now())?;
                }
            }
            let due = self.pausing.peek().map_or(end, |Reverse((due, _))| (*due).min(end));
            self.poll.poll(&mut events, Some(due.saturating_duration_since(now))).or_else(|e| {
                if e.kind() == ErrorKind::Interrupted {
                    Ok(())
                } else {
                    Err(Trouble::at("poll")(e))
                }
            })?;
            if !events.is_empty() {
                last = Instant::now();
            } else if last.elapsed() > STALL {
                return Err(Trouble::new("nothing has come back for 20 s"));
            }
            for event in &events {
                let at = event.token().0;
                if event.is_writable() {
                    self.connections[at].connected = true;
                    flush(&mut self.connections[at])?;
                }
                if event.is_readable() {
                    self.receive(at)?;
                }
            }
        }
    }
}

fn flush(connection: &mut Connection) -> Result<(), Trouble> {
    while !connection.unsent.is_empty() {
        match connection.stream.write(&connection.unsent) {
            Ok(written) => _ = connection.unsent.drain(..written),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(Trouble::at("write")(e)),
        }
    }
    Ok(())
}

/// Of nanoseconds up to a minute, to three digits.
fn times() -> Result<Histogram<u64>, Trouble> {
    Histogram::new_with_max(60_000_000_000, 3).map_err(Trouble::at("histogram"))
}

/// The program.
pub fn run() -> Result<bool, Trouble> {
    let options = options()?;
    let connections = limits::scale("ping", options.connections, 64);
    let mut load = Load {
        options: &options,
        poll: Poll::new().map_err(Trouble::at("poll"))?,
        sources: Sources::of_process(),
        connections: Vec::new(),
        pausing: BinaryHeap::new(),
        next: 0,
        times: times()?,
        arrivals: times()?,
        done: 0,
        marked: 0,
        scratch: vec![0; 64 << 10],
        ramp: (0..options.size + 256).map(|at| at as u8).collect(),
    };
    for at in 0..connections {
        let connection = load.connect(at)?;
        load.connections.push(connection);
        for _ in 0..options.depth {
            load.send(at, Instant::now())?;
        }
    }
    let measured = Duration::from_secs_f64(options.seconds);
    load.run_until(Instant::now() + measured / 10)?;
    load.times.reset();
    load.arrivals.reset();
    (load.done, load.marked) = (0, 0);
    let cpu = options.server.map(Process::cpu).transpose()?;
    let begun = Instant::now();
    load.run_until(begun + measured)?;
    let seconds = begun.elapsed().as_secs_f64();
    let us_of =
        |times: &Histogram<u64>, quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    let us = |quantile| us_of(&load.times, quantile);
    let arrivals = if options.arrivals {
        let [p50, p99] = [0.5, 0.99].map(|quantile| us_of(&load.arrivals, quantile));
        format!(" p50_arrival_us={p50:.1} p99_arrival_us={p99:.1}")
    } else {
        String::new()
    };
    let server = match (options.server, cpu) {
        (Some(server), Some(before)) => {
            let used = server.cpu()?.saturating_sub(before);
            format!(" server_cpu_us={:.2}", used.as_secs_f64() * 1e6 / load.done.max(1) as f64)
        }
        _ => String::new(),
    };
    println!(
        "ping: connections={} depth={} size={} per_second={:.0} p50_us={:.1} p99_us={:.1} p999_us={:.1} max_us={:.1}{arrivals} marked={}{server} ok",
        connections,
        options.depth,
        options.size,
        load.done as f64 / seconds,
        us(0.5),
        us(0.99),
        us(0.999),
        us(1.0),
        load.marked,
    );
    Ok(true)
}
