//! `storm ADDR [OPTION]...`: holds many TCP connections to an echo server at once and checks every byte.
//!
//! A round:
//!
//! 1. **Connect.** Each connection sends a first piece and waits for its echo: only then is it held, since a
//!    connection that waits in the listener's backlog is connected too. Then `--confirm`.
//! 2. **Load.** All connections send pieces of 1 B to 256 KiB, cut at random into writes of any size, and check each
//!    byte of the echo at its position. What is on its way is bounded, per connection by a window and in all by
//!    `--in-flight`. One in eight has no window but a small receive buffer, and so writes all that the server takes
//!    before it reads: the server must wait for room to answer. Nobody leaves: a connection that is through waits for the others. Then `--confirm` again.
//! 3. **End.** Each sends some more pieces. A part of the connections (`--reset-fraction`) stops in the middle of the
//!    last one and is ended by RST with echoes on their way; the others shut down writing behind their last byte
//!    and expect exactly the rest of their bytes and the end of the stream.
//!
//! Options, with their defaults:
//!
//! | option | meaning |
//! | --- | --- |
//! | `--connections 1000` | how many; fewer if the descriptor limit says so, which is printed |
//! | `--rounds 1` | how many rounds |
//! | `--seconds-max 120` | per round: from half of it on the load is cut short, at its end the round has failed |
//! | `--stall 20` | seconds without a byte on any connection after which the round has failed |
//! | `--reset-fraction 0.25` | how many are ended by RST |
//! | `--seed 1` | of sizes and bytes |
//! | `--pieces 12` | most pieces of a connection under load |
//! | `--in-flight 128` | MiB on their way in all |
//! | `--confirm COMMAND` | run by `sh -c` when all are held and again after the load, with `STORM_HELD` and `STORM_ROUND` in its environment; must succeed |
//! | `--server-pid PID` | watch this process: its descriptors must be back after each round, and its memory is printed; without `--confirm` it is also sent SIGUSR1 when all are held |

use std::{
    collections::VecDeque,
    fmt,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr},
    process::Command,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use rustix::process::Signal;

use super::{limits, process::Process};
use crate::{
    Trouble,
    args::Args,
    loopback::{Sources, end_by_reset},
    pattern::{Difference, Pattern},
    random::Random,
};

/// The largest piece, and the longest write and read.
const PIECE: u64 = 256 << 10;
/// Connections that are being made at once: less than the smallest usual backlog.
const MAKING: usize = 100;
/// How far off the bytes of a connection are looked for once they are not where they belong.
const REACH: u64 = 2 << 20;
/// Faults that are described on stderr; the others are only counted.
const DESCRIBED: u64 = 20;

/// Runs the program.
pub fn run() -> Result<bool, Trouble> {
    let mut args = Args::of_process();
    let wanted = args.option("--connections", 1000)?;
    let rounds: u64 = args.option("--rounds", 1)?;
    let confirm = args.optional::<String>("--confirm")?;
    let server = args.optional("--server-pid")?.map(Process);
    let mut options = Options {
        seconds_max: Duration::from_secs(args.option("--seconds-max", 120)?),
        stall: Duration::from_secs(args.option("--stall", 20)?),
        reset_fraction: args.option("--reset-fraction", 0.25)?,
        seed: args.option("--seed", 1)?,
        pieces: args.option("--pieces", 12)?,
        in_flight: args.option::<u64>("--in-flight", 128)? << 20,
        connections: wanted,
        address: args.loopback_address()?,
    };
    args.done()?;
    options.connections = limits::scale("storm", wanted, 64);

    let mut sources = Sources::of_process();
    let before = server.map(Process::descriptors).transpose()?;
    let mut total = Tally { held: options.connections, ..Tally::default() };
    for round in 1..=rounds {
        let start = Instant::now();
        let mut storm = Storm::new(&options, round)?;
        storm.round(&mut sources, |held| {
            let Some(command) = &confirm else {
                return server
                    .map_or(Ok(true), |server| server.signal(Signal::USR1).map(|()| true));
            };
            let status = Command::new("sh")
                .args(["-c", command])
                .env("STORM_HELD", held.to_string())
                .env("STORM_ROUND", round.to_string())
                .status()
                .map_err(Trouble::at("sh"))?;
            Ok(status.success())
        })?;
        let mut tally = storm.tally;
        let mut figures = String::new();
        if let (Some(server), Some(before)) = (server, before) {
            let after = settled(server, before)?;
            if after > before {
                tally.unexpected += 1;
                eprintln!("storm: the server had {before} descriptors, and has {after}");
            }
            let resident = server.resident_kib()?;
            figures = format!(" server_fds={before}..{after} server_rss_kib={resident}");
        }
        total.add(&tally);
        let seconds = start.elapsed().as_secs_f64();
        let verdict = tally.verdict();
        println!(
            "storm: round={round} connections={} {tally}{figures} seconds={seconds:.1} {verdict}",
            options.connections
        );
    }
    println!("storm: connections={} {total} {}", options.connections, total.verdict());
    Ok(total.good())
}

#[derive(Debug)]
struct Options {
    address: SocketAddr,
    connections: usize,
    seconds_max: Duration,
    stall: Duration,
    reset_fraction: f64,
    seed: u64,
    pieces: u64,
    in_flight: u64,
}

/// Waits until the server has no more descriptors than before, as long as ten seconds, and gives their number.
fn settled(server: Process, before: usize) -> Result<usize, Trouble> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let now = server.descriptors()?;
        if now <= before || Instant::now() >= end {
            return Ok(now);
        }
        // Nothing tells when another process closes a descriptor, so it is asked for again.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What is counted.
#[derive(Clone, Debug, Default)]
struct Tally {
    /// Connections that were up at once, with an echo behind them.
    held: usize,
    /// Bytes that came back.
    bytes: u64,
    /// Bytes that are like nothing that was sent near their position.
    wrong: u64,
    /// Bytes that did not come back before the end of the stream, or in time.
    lost: u64,
    /// Places where bytes came that belong earlier.
    reordered: u64,
    /// Connections that this program ended by RST.
    resets_by_us: u64,
    /// Connections that ended otherwise than they should, and other faults of the server.
    unexpected: u64,
    /// The load was cut short to stay within the time.
    cut: bool,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.held = self.held.min(other.held);
        self.bytes += other.bytes;
        self.wrong += other.wrong;
        self.lost += other.lost;
        self.reordered += other.reordered;
        self.resets_by_us += other.resets_by_us;
        self.unexpected += other.unexpected;
        self.cut |= other.cut;
    }

    fn good(&self) -> bool {
        self.wrong == 0 && self.lost == 0 && self.reordered == 0 && self.unexpected == 0
    }

    fn verdict(&self) -> &'static str {
        if self.good() { "ok" } else { "FAILED" }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { held, bytes, wrong, lost, reordered, resets_by_us, unexpected, cut } = self;
        write!(
            f,
            "held={held} bytes={bytes} wrong={wrong} lost={lost} reordered={reordered} \
             resets_by_us={resets_by_us} unexpected={unexpected}{}",
            if *cut { " cut=yes" } else { "" }
        )
    }
}

/// Where all connections are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connect,
    Load,
    End,
}

/// Where one connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not connected yet.
    Connecting,
    /// Sends the pieces of a stage and reads their echoes.
    Busy,
    /// Through with the stage, and has all echoes: waits for the others.
    Through,
    /// Has shut down writing and reads to the end of the stream.
    Ending,
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    random: Random,
    pattern: Pattern,
    phase: Phase,
    sent: u64,
    /// Bytes that came back.
    received: u64,
    /// The position of the next byte that is expected: `received`, as long as nothing is wrong.
    expected: u64,
    /// Most bytes on their way.
    window: u64,
    /// Pieces of this stage after the one that is being sent, and what is left of that one.
    pieces: u64,
    piece: u64,
    /// In the last stage: ended by RST in the middle of the last piece.
    reset: bool,
    readable: bool,
    writable: bool,
    /// Waits for the bound on all that is on its way.
    waits: bool,
}

impl Connection {
    fn in_flight(&self) -> u64 {
        self.sent - self.received.min(self.sent)
    }

    fn has_more(&self) -> bool {
        self.piece > 0 || self.pieces > 0
    }
}

struct Storm<'a> {
    options: &'a Options,
    round: u64,
    poll: Poll,
    connections: Vec<Option<Connection>>,
    stage: Stage,
    /// Connections that are not through with the stage.
    busy: usize,
    /// Of those, the ones that are still being connected.
    making: usize,
    in_flight: u64,
    /// Bytes written and read, and connections that ended.
    moved: u64,
    waiting: VecDeque<usize>,
    tally: Tally,
    described: u64,
    scratch: Vec<u8>,
}

impl<'a> Storm<'a> {
    fn new(options: &'a Options, round: u64) -> Result<Storm<'a>, Trouble> {
        Ok(Storm {
            options,
            round,
            poll: Poll::new().map_err(Trouble::at("epoll"))?,
            connections: Vec::with_capacity(options.connections),
            stage: Stage::Connect,
            busy: 0,
            making: 0,
            in_flight: 0,
            moved: 0,
            waiting: VecDeque::new(),
            tally: Tally::default(),
            described: 0,
            scratch: vec![0; PIECE as usize],
        })
    }

    fn round(
        &mut self,
        sources: &mut Sources,
        mut confirm: impl FnMut(usize) -> Result<bool, Trouble>,
    ) -> Result<(), Trouble> {
        let start = Instant::now();
        let end = start + self.options.seconds_max;
        let cut = start + self.options.seconds_max / 2;
        let mut events = Events::with_capacity(1024);
        let mut moved = (0, start);
        loop {
            self.serve_waiting();
            if self.stage == Stage::Connect {
                self.connect_some(sources)?;
            }
            if self.busy == 0 {
                let held = self.connections.iter().flatten().count();
                match self.stage {
                    Stage::Connect => {
                        self.tally.held = held;
                        self.confirm(&mut confirm)?;
                        self.enter(Stage::Load);
                    }
                    Stage::Load => {
                        self.tally.held = self.tally.held.min(held);
                        self.confirm(&mut confirm)?;
                        self.enter(Stage::End);
                    }
                    Stage::End => return Ok(()),
                }
                continue;
            }
            let now = Instant::now();
            if self.moved != moved.0 {
                moved = (self.moved, now);
            }
            let stalled = moved.1 + self.options.stall;
            if now >= end || now >= stalled {
                let left = self.busy;
                let stage = self.stage;
                let why = if now >= end { "out of time" } else { "nothing moves" };
                self.fault(None, format_args!("{why} in {stage:?}, {left} are not through"));
                self.tally.unexpected += self.busy as u64;
                self.tally.lost +=
                    self.connections.iter().flatten().map(Connection::in_flight).sum::<u64>();
                self.connections.clear();
                return Ok(());
            }
            if now >= cut && self.stage == Stage::Load && !self.tally.cut {
                self.cut_short();
                continue;
            }
            let until = if now < cut { cut } else { end }.min(stalled);
            match self.poll.poll(&mut events, Some(until - now)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.map_err(Trouble::at("epoll"))?,
            }
            for event in &events {
                let at = event.token().0;
                if let Some(connection) = &mut self.connections[at] {
                    connection.readable |=
                        event.is_readable() || event.is_read_closed() || event.is_error();
                    connection.writable |= event.is_writable() || event.is_error();
                    self.serve(at);
                }
            }
        }
    }

    fn confirm(
        &mut self,
        confirm: &mut impl FnMut(usize) -> Result<bool, Trouble>,
    ) -> Result<(), Trouble> {
        if self.tally.held != self.options.connections {
            let held = self.tally.held;
            self.fault(None, format_args!("only {held} connections are held"));
        } else if !confirm(self.tally.held)? {
            self.fault(None, format_args!("the server does not confirm"));
        }
        Ok(())
    }

    /// Starts connections while few are being made and some are missing.
    fn connect_some(&mut self, sources: &mut Sources) -> Result<(), Trouble> {
        while self.connections.len() < self.options.connections && self.making < MAKING {
            let at = self.connections.len();
            let connection = self.connect(at, sources).map_err(Trouble::at("a client socket"))?;
            self.connections.push(Some(connection));
            self.busy += 1;
            self.making += 1;
        }
        Ok(())
    }

    fn connect(&self, at: usize, sources: &mut Sources) -> io::Result<Connection> {
        let id = self.round << 32 | at as u64;
        let mut random = Random::new(self.options.seed, id);
        let socket = sources.socket(self.options.address)?;
        socket.set_nonblocking(true)?;
        let window = if random.one_in(8) {
            socket.set_recv_buffer_size(random.scaled(4 << 10, 64 << 10) as usize)?;
            u64::MAX
        } else {
            random.scaled(4 << 10, 1 << 20)
        };
        match socket.connect(&self.options.address.into()) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            other => other?,
        }
        let mut socket = TcpStream::from_std(socket.into());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(at), interest)?;
        let piece = random.scaled(1, 64);
        Ok(Connection {
            socket,
            pattern: Pattern::new(self.options.seed, id),
            phase: Phase::Connecting,
            sent: 0,
            received: 0,
            expected: 0,
            window,
            pieces: 0,
            piece,
            reset: false,
            readable: false,
            writable: false,
            waits: false,
            random,
        })
    }

    /// Gives every connection its pieces for the stage and starts it.
    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        // Exactly the fraction, spread evenly.
        let fraction = self.options.reset_fraction;
        let share = |n: usize| (n as f64 * fraction) as u64;
        for at in 0..self.connections.len() {
            let Some(connection) = &mut self.connections[at] else {
                continue;
            };
            connection.phase = Phase::Busy;
            match stage {
                Stage::Connect => unreachable!("nobody comes back to this stage"),
                Stage::Load => {
                    connection.pieces = connection.random.within(1, self.options.pieces.max(1));
                }
                Stage::End => {
                    connection.pieces = connection.random.within(1, 3);
                    connection.reset = share(at + 1) > share(at);
                }
            }
            self.busy += 1;
        }
        for at in 0..self.connections.len() {
            self.serve(at);
        }
    }

    /// No new pieces under load: what is on its way comes back, and the round goes on to its end.
    fn cut_short(&mut self) {
        self.tally.cut = true;
        for at in 0..self.connections.len() {
            if let Some(connection) = &mut self.connections[at] {
                (connection.pieces, connection.piece) = (0, 0);
            }
            self.serve(at);
        }
    }

    fn serve_waiting(&mut self) {
        // Only those that waited when this began: one that must wait again goes to the end of the queue.
        for _ in 0..self.waiting.len() {
            if self.in_flight >= self.options.in_flight {
                return;
            }
            let Some(at) = self.waiting.pop_front() else {
                return;
            };
            if let Some(connection) = &mut self.connections[at] {
                connection.waits = false;
            }
            self.serve(at);
        }
    }

    /// Does what the connection at `at` can do now.
    fn serve(&mut self, at: usize) {
        let Some(mut connection) = self.connections[at].take() else {
            return;
        };
        let before = connection.in_flight();
        let moved = connection.sent + connection.received;
        let outcome = self.advance(&mut connection, at);
        self.moved += connection.sent + connection.received - moved;
        match outcome {
            Ok(true) => {
                self.in_flight = self.in_flight + connection.in_flight() - before;
                self.connections[at] = Some(connection);
            }
            over => {
                // Its socket is closed here. An error, a RST or the end of the stream: all that was on its way is
                // no more.
                self.in_flight -= before;
                self.moved += 1;
                let busy = connection.phase != Phase::Through;
                self.busy -= usize::from(busy);
                self.making -= usize::from(busy && self.stage == Stage::Connect);
                if let Err(fault) = over {
                    self.fault(Some((at, &connection)), format_args!("{fault}"));
                }
            }
        }
    }

    /// Writes and reads until neither can go on. `false`: it has ended as it should.
    fn advance(&mut self, connection: &mut Connection, at: usize) -> Result<bool, String> {
        if connection.phase == Phase::Connecting {
            match connection.socket.take_error() {
                Ok(None) => {}
                Ok(Some(error)) | Err(error) => return Err(format!("connect: {error}")),
            }
            match connection.socket.peer_addr() {
                Ok(_) => connection.phase = Phase::Busy,
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(true),
                Err(error) => return Err(format!("connect: {error}")),
            }
            let _ = connection.socket.set_nodelay(true);
        }
        loop {
            let mut moved = false;
            while let Some(most) = self.may_write(connection, at) {
                if !self.write(connection, most)? {
                    break;
                }
                moved = true;
            }
            if connection.phase == Phase::Busy && !connection.has_more() {
                if self.stage == Stage::End {
                    if connection.reset {
                        end_by_reset(&connection.socket).map_err(|error| error.to_string())?;
                        self.tally.resets_by_us += 1;
                        return Ok(false);
                    }
                    let ended = connection.socket.shutdown(Shutdown::Write);
                    ended.map_err(|error| format!("shutdown: {error}"))?;
                    connection.phase = Phase::Ending;
                } else if connection.in_flight() == 0 {
                    connection.phase = Phase::Through;
                    self.busy -= 1;
                    self.making -= usize::from(self.stage == Stage::Connect);
                }
            }
            // Reads go on when a connection is through, too: nothing may come then.
            if connection.readable {
                match self.read(connection)? {
                    Some(0) => return self.ended(connection),
                    Some(_) => moved = true,
                    None => {}
                }
            }
            if !moved {
                return Ok(true);
            }
        }
    }

    /// How much the connection may write now; puts it into the queue if only the bound on all keeps it from writing.
    fn may_write(&mut self, connection: &mut Connection, at: usize) -> Option<u64> {
        if connection.phase != Phase::Busy || !connection.writable || !connection.has_more() {
            return None;
        }
        let room = connection.window.saturating_sub(connection.in_flight());
        if room == 0 || connection.waits {
            return None;
        }
        if self.in_flight >= self.options.in_flight {
            connection.waits = true;
            self.waiting.push_back(at);
            return None;
        }
        Some(room)
    }

    /// One write of a random length, `false` if the socket takes no more.
    fn write(&mut self, connection: &mut Connection, most: u64) -> Result<bool, String> {
        if connection.piece == 0 {
            connection.pieces -= 1;
            connection.piece = if connection.reset && connection.pieces == 0 {
                // The middle of a message: its end is never sent.
                connection.random.scaled(2, PIECE) / 2
            } else {
                connection.random.scaled(1, PIECE)
            };
        }
        let most = most.min(connection.piece);
        let length =
            if connection.random.one_in(4) { connection.random.scaled(1, most) } else { most };
        let bytes = &mut self.scratch[..length as usize];
        connection.pattern.fill(connection.sent, bytes);
        match connection.socket.write(bytes) {
            Ok(written) => {
                connection.sent += written as u64;
                connection.piece -= written as u64;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                connection.writable = false;
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(format!("write: {error}")),
        }
    }

    /// One read of a random length, checked. `None` if there is nothing to read.
    fn read(&mut self, connection: &mut Connection) -> Result<Option<usize>, String> {
        let most = if connection.random.one_in(8) {
            connection.random.scaled(1, PIECE) as usize
        } else {
            self.scratch.len()
        };
        match connection.socket.read(&mut self.scratch[..most]) {
            Ok(length) => {
                self.check(connection, length);
                if connection.received > connection.sent {
                    return Err("more came back than was sent".to_owned());
                }
                Ok(Some(length))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                connection.readable = false;
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(format!("read: {error}")),
        }
    }

    fn check(&mut self, connection: &mut Connection, length: usize) {
        let mut bytes = &self.scratch[..length];
        connection.received += length as u64;
        self.tally.bytes += length as u64;
        while !bytes.is_empty() {
            let good = connection.pattern.agrees(connection.expected, bytes);
            connection.expected += good as u64;
            bytes = &bytes[good..];
            if bytes.is_empty() {
                return;
            }
            // The search is slow; what is wrong through and through need not be searched for all its length.
            let difference = if self.tally.wrong + self.tally.reordered < 1000 {
                connection.pattern.explain(connection.expected, bytes, REACH)
            } else {
                Difference::Wrong
            };
            if self.described < DESCRIBED {
                self.described += 1;
                let Connection { expected, socket, .. } = &*connection;
                eprintln!("storm: {:?}: at offset {expected}: {difference:?}", socket.local_addr());
            }
            match difference {
                // Lost, unless it comes later: the end of the stream tells.
                Difference::Skipped(bytes) => connection.expected += bytes,
                Difference::Repeated(bytes) => {
                    self.tally.reordered += 1;
                    connection.expected -= bytes;
                }
                Difference::Wrong => {
                    self.tally.wrong += 1;
                    connection.expected += 1;
                    bytes = &bytes[1..];
                }
            }
        }
    }

    /// The end of the stream has come.
    fn ended(&mut self, connection: &Connection) -> Result<bool, String> {
        let missing = connection.in_flight();
        self.tally.lost += missing;
        match connection.phase {
            Phase::Ending if missing == 0 => Ok(false),
            phase => Err(format!("end of stream in {phase:?}, {missing} bytes are missing")),
        }
    }

    /// Counts a fault and describes the first of them.
    fn fault(&mut self, whose: Option<(usize, &Connection)>, what: fmt::Arguments<'_>) {
        self.tally.unexpected += 1;
        if self.described < DESCRIBED {
            self.described += 1;
            match whose {
                None => eprintln!("storm: {what}"),
                Some((at, Connection { sent, received, .. })) => {
                    eprintln!("storm: connection {at}, sent {sent}, received {received}: {what}");
                }
            }
        }
    }
}
