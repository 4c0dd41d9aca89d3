//! `stop --server CPORT [OPTION]...`: SIGTERM under load.
//!
//! Starts the server itself, on a port of its choosing, loads it, and sends it SIGTERM in the middle. Three of four
//! clients send a piece of random size and wait for its echo, the fourth writes and reads at the same time; and there
//! are clients that send until nothing more is taken, and never read. Checked is
//!
//! - that those are held up: a server that reads on and on from them has no bound on its memory;
//! - that each client that reads sees the echo, in order, of what the server had read of it, and then the end of the
//!   stream, and never a reset;
//! - that the server ends with exit code 0 within its grace time and a second;
//! - its own account, the last line that it prints: what was read was sent. With clients that never read, what was read
//!   and not sent is what it says was unsent.
//!
//! | option | meaning |
//! | --- | --- |
//! | `--driver NAME` | handed to the server |
//! | `--expect TEXT` | must be in the server's first line |
//! | `--connections 200` | clients that read |
//! | `--never-read 1` | clients that never read |
//! | `--grace 5` | seconds, handed to the server |
//! | `--load-ms 1500` | load before SIGTERM |
//! | `--seed 1` | of sizes and bytes |

use std::{
    fmt,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    clients::{PATIENCE, connect},
    limits,
    process::Process,
};
use crate::{Trouble, args::Args, loopback::Sources, pattern::Pattern, random::Random};

/// The longest piece of a client.
const PIECE: u64 = 64 << 10;
/// Runs the program.
pub fn run() -> Result<bool, Trouble> {
    let mut args = Args::of_process();
    let path = args.optional::<String>("--server")?;
    let path = path.ok_or_else(|| Trouble::new("--server is missing"))?;
    let driver = args.optional::<String>("--driver")?;
    let expect = args.option("--expect", String::new())?;
    let wanted = args.option("--connections", 200)?;
    let never_read = args.option("--never-read", 1)?;
    let grace = args.option("--grace", 5)?;
    let load = Duration::from_millis(args.option("--load-ms", 1500)?);
    let seed = args.option("--seed", 1)?;
    args.done()?;
    let connections = limits::scale("stop", wanted, never_read + 64);

    let mut server = Server::start(&path, driver.as_deref(), grace)?;
    let mut sources = Sources::of_process();
    let mut clients = Vec::with_capacity(connections);
    for id in 0..connections {
        let stream = connect(&mut sources, server.address)?;
        clients.push(Client::start(stream, seed, id as u64)?);
    }
    let mut silent = Vec::with_capacity(never_read);
    for id in 0..never_read {
        silent.push(Silent::start(connect(&mut sources, server.address)?, seed, !(id as u64))?);
    }
    let mut faults = Vec::new();
    if !server.first.contains(&expect) {
        faults.push(format!("{expect} is not in the server's first line: {}", server.first));
    }
    // Each client has had an echo: none of them waits in the backlog only, which would be no load.
    let end = Instant::now() + PATIENCE;
    while clients.iter().any(|client| client.echoed.load(Ordering::Relaxed) == 0) {
        if Instant::now() > end {
            faults.push("not every client was served within 30 s".to_owned());
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(load);
    if !Silent::all_held_up(&silent) {
        faults.push("a client that never reads is not held up: where do its bytes go?".to_owned());
    }

    let asked = Instant::now();
    server.process().signal(Signal::TERM)?;
    let allowed = Duration::from_secs(grace + 1);
    let exit = server.wait(asked + allowed.max(PATIENCE))?;
    let took = asked.elapsed();

    let (mut sent, mut echoed, mut resets) = (0, 0, 0);
    for client in clients {
        let report = client.finish();
        sent += report.sent;
        echoed += report.echoed;
        resets += u64::from(report.reset);
        faults.extend(report.fault);
    }
    for client in silent {
        client.finish();
    }

    match exit {
        Some(0) => {}
        Some(code) => faults.push(format!("the server ended with exit code {code}")),
        None => faults.push("the server did not end by itself".to_owned()),
    }
    if took > allowed {
        faults.push(format!("the server took {took:.1?}, and may take {allowed:?}"));
    }
    let account = server.account();
    match &account {
        Err(line) => faults.push(format!("the server's last line is no account: {line}")),
        Ok(account) => faults.extend(account.faults(connections, never_read, sent, echoed)),
    }
    for fault in faults.iter().take(20) {
        eprintln!("stop: {fault}");
    }
    println!(
        "stop: connections={connections} never_read={never_read} sent={sent} echoed={echoed} resets={resets} \
         seconds={:.2} faults={} account: {} {}",
        took.as_secs_f64(),
        faults.len(),
        account.unwrap_or_default(),
        if faults.is_empty() { "ok" } else { "FAILED" }
    );
    Ok(faults.is_empty())
}

/// The server under test. Killed when dropped, should it still be there.
struct Server {
    child: Child,
    address: SocketAddr,
    first: String,
    lines: mpsc::Receiver<String>,
    last: String,
}

impl Server {
    fn start(path: &str, driver: Option<&str>, grace: u64) -> Result<Server, Trouble> {
        let mut command = Command::new(path);
        command.args(["serve", "--listen", "127.0.0.1:0", "--grace", &grace.to_string()]);
        if let Some(driver) = driver {
            command.args(["--driver", driver]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Trouble::at(path))?;
        let out = child.stdout.take().ok_or_else(|| Trouble::new("no pipe from the server"))?;
        let (line, lines) = mpsc::channel();
        thread::spawn(move || {
            for text in BufReader::new(out).lines().map_while(Result::ok) {
                if line.send(text).is_err() {
                    return;
                }
            }
        });
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server =
            Server { child, address: any, first: String::new(), lines, last: String::new() };
        let first = server
            .lines
            .recv_timeout(PATIENCE)
            .map_err(|_| Trouble::new("the server does not say where it listens"))?;
        server.address = first
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split([',', ' ']).next())
            .and_then(|address| address.parse().ok())
            .ok_or_else(|| {
                Trouble::new(format!("no address in the server's first line: {first}"))
            })?;
        server.first = first;
        Ok(server)
    }

    fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// Waits for the end of its output, which is the server's own end, and gives its exit code. `None`: it was killed,
    /// here or by itself.
    fn wait(&mut self, end: Instant) -> Result<Option<i32>, Trouble> {
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.last = line,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    break;
                }
            }
        }
        Ok(self.child.wait().map_err(Trouble::at("waiting for the server"))?.code())
    }

    fn account(&self) -> Result<Account, String> {
        Account::read(&self.last).ok_or_else(|| self.last.clone())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the server says that it did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Account {
    accepted: u64,
    closed: u64,
    read: u64,
    sent: u64,
    reset: u64,
    unsent: u64,
    discarded: u64,
}

impl Account {
    fn read(line: &str) -> Option<Account> {
        let mut account = Account::default();
        let mut seen = 0;
        for (name, value) in line
            .strip_prefix("served: ")?
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='))
        {
            let figure = match name {
                "accepted" => &mut account.accepted,
                "closed" => &mut account.closed,
                "read" => &mut account.read,
                "sent" => &mut account.sent,
                "reset" => &mut account.reset,
                "unsent" => &mut account.unsent,
                "discarded" => &mut account.discarded,
                _ => continue,
            };
            *figure = value.parse().ok()?;
            seen += 1;
        }
        (seen == 7).then_some(account)
    }

    /// Compares it with what the clients that read have sent and seen.
    fn faults(&self, connections: usize, never_read: usize, sent: u64, echoed: u64) -> Vec<String> {
        let mut faults = Vec::new();
        let mut demand = |good: bool, what: &str| {
            if !good {
                faults.push(format!("{what}: {self}; clients sent {sent} and saw {echoed}"));
            }
        };
        let all = (connections + never_read) as u64;
        demand(self.accepted == all, "not every connection was counted");
        demand(self.closed == all, "not every connection was closed");
        if never_read == 0 {
            demand(self.read == self.sent, "bytes read are not bytes sent");
            demand(self.unsent == 0, "bytes are unsent");
            demand(self.reset == 0, "the server counts resets");
            demand(self.sent == echoed, "the clients did not see all that was sent");
            demand(self.read + self.discarded == sent, "not all that came was read or discarded");
        } else {
            demand(self.read.saturating_sub(self.sent) <= self.unsent, "bytes are unaccounted for");
            demand(self.sent <= self.read, "more was sent than read");
            demand(self.sent >= echoed, "the clients saw more than was sent");
        }
        faults
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { accepted, closed, read, sent, reset, unsent, discarded } = self;
        write!(
            f,
            "accepted={accepted} closed={closed} read={read} sent={sent} reset={reset} unsent={unsent} \
             discarded={discarded}"
        )
    }
}

/// A client that reads.
struct Client {
    echoed: Arc<AtomicU64>,
    thread: thread::JoinHandle<Report>,
}

/// What a client saw.
#[derive(Debug, Default)]
struct Report {
    sent: u64,
    echoed: u64,
    reset: bool,
    fault: Option<String>,
}

impl Client {
    fn start(stream: TcpStream, seed: u64, id: u64) -> Result<Client, Trouble> {
        let echoed = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&echoed);
        let thread = small_thread(move || {
            let mut report = Report::default();
            let outcome = if id % 4 == 3 {
                both_ways(&stream, seed, id, &seen, &mut report)
            } else {
                ping_pong(&stream, seed, id, &seen, &mut report)
            };
            if let Err(error) = outcome {
                let text =
                    format!("client {id}, sent {}, saw {}: {error}", report.sent, report.echoed);
                report.reset =
                    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
                report.fault = Some(text);
            }
            report
        })?;
        Ok(Client { echoed, thread })
    }

    fn finish(self) -> Report {
        self.thread.join().unwrap_or_else(|_| Report {
            fault: Some("a client panicked".to_owned()),
            ..Report::default()
        })
    }
}

/// Threads by the hundred need no large stacks; what they do is little.
fn small_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, Trouble> {
    thread::Builder::new().stack_size(256 << 10).spawn(work).map_err(Trouble::at("a thread"))
}

/// Sends a piece and reads its echo, again and again, until the end of the stream.
fn ping_pong(
    mut stream: &TcpStream,
    seed: u64,
    id: u64,
    seen: &AtomicU64,
    report: &mut Report,
) -> std::io::Result<()> {
    let pattern = Pattern::new(seed, id);
    let mut random = Random::new(seed, id);
    let mut piece = vec![0; PIECE as usize];
    loop {
        let length = random.scaled(1, PIECE);
        let bytes = &mut piece[..length as usize];
        pattern.fill(report.sent, bytes);
        send(stream, bytes, &mut report.sent)?;
        while report.echoed < report.sent {
            if !read_some(&mut stream, &mut piece, pattern, report.sent, seen, &mut report.echoed)?
            {
                return stream.shutdown(Shutdown::Write);
            }
        }
    }
}

/// Writes all the time, and reads all the time, until the end of the stream.
fn both_ways(
    mut stream: &TcpStream,
    seed: u64,
    id: u64,
    seen: &AtomicU64,
    report: &mut Report,
) -> std::io::Result<()> {
    let pattern = Pattern::new(seed, id);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut random = Random::new(seed, id);
            let mut piece = vec![0; PIECE as usize];
            let mut sent = 0;
            let mut outcome = Ok(());
            while outcome.is_ok() && !over.load(Ordering::Relaxed) {
                let bytes = &mut piece[..random.scaled(1, PIECE) as usize];
                pattern.fill(sent, bytes);
                outcome = send(stream, bytes, &mut sent);
            }
            (sent, outcome)
        });
        let mut piece = vec![0; PIECE as usize];
        let read = loop {
            match read_some(&mut stream, &mut piece, pattern, u64::MAX, seen, &mut report.echoed) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        over.store(true, Ordering::Relaxed);
        let (sent, wrote) =
            writer.join().unwrap_or_else(|_| (0, Err(std::io::Error::other("panic"))));
        report.sent = sent;
        read.and(wrote)?;
        stream.shutdown(Shutdown::Write)
    })
}

/// Sends all of `bytes`, and counts what was taken even if then an error comes.
fn send(mut stream: &TcpStream, mut bytes: &[u8], sent: &mut u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let taken = stream.write(bytes)?;
        *sent += taken as u64;
        bytes = &bytes[taken..];
    }
    Ok(())
}

/// Reads what is there, and checks it. `false`: the end of the stream.
fn read_some(
    stream: &mut &TcpStream,
    piece: &mut [u8],
    pattern: Pattern,
    sent: u64,
    seen: &AtomicU64,
    echoed: &mut u64,
) -> std::io::Result<bool> {
    let length = stream.read(piece)?;
    let good = pattern.agrees(*echoed, &piece[..length]);
    *echoed += length as u64;
    if good < length || *echoed > sent {
        return Err(std::io::Error::other("wrong bytes came back"));
    }
    seen.store(*echoed, Ordering::Relaxed);
    Ok(length > 0)
}

/// A client that sends until nothing more is taken, and never reads.
struct Silent {
    stream: TcpStream,
    sent: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

impl Silent {
    fn start(stream: TcpStream, seed: u64, id: u64) -> Result<Silent, Trouble> {
        let same = stream.try_clone().map_err(Trouble::at("a client"))?;
        let total = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&total);
        let thread = small_thread(move || {
            let mut piece = vec![0; PIECE as usize];
            let mut sent = 0;
            loop {
                Pattern::new(seed, id).fill(sent, &mut piece);
                // Blocks once the server takes no more; ends when the server is gone.
                for part in piece.chunks(4096) {
                    if send(&same, part, &mut sent).is_err() {
                        return;
                    }
                    count.store(sent, Ordering::Relaxed);
                }
            }
        })?;
        Ok(Silent { stream, sent: total, thread })
    }

    /// Waits until none of them can send any more, as long as 20 seconds.
    fn all_held_up(silent: &[Silent]) -> bool {
        let sent = || silent.iter().map(|one| one.sent.load(Ordering::Relaxed)).sum::<u64>();
        let end = Instant::now() + Duration::from_secs(20);
        let mut before = sent();
        while !silent.is_empty() && Instant::now() < end {
            // The measure: half a second without a byte.
            thread::sleep(Duration::from_millis(500));
            let now = sent();
            if now == before && now > 0 {
                return true;
            }
            before = now;
        }
        silent.is_empty()
    }

    fn finish(self) {
        // Wakes the thread if it is still in a write.
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_read_whatever_else_is_in_the_line() {
        let line = "served: accepted=3 closed=3 read=10 sent=9 reset=0 unsent=1 discarded=4 more=7";
        let account = Account::read(line).unwrap();
        let expected = Account {
            accepted: 3,
            closed: 3,
            read: 10,
            sent: 9,
            reset: 0,
            unsent: 1,
            discarded: 4,
        };
        assert_eq!(account, expected);
        assert_eq!(Account::read("served: accepted=3 closed=3"), None);
        assert_eq!(Account::read("listening on 127.0.0.1:1"), None);
    }

    #[test]
    fn an_account_that_does_not_add_up_is_a_fault() {
        let good = Account {
            accepted: 2,
            closed: 2,
            read: 10,
            sent: 10,
            discarded: 3,
            ..Account::default()
        };
        assert!(good.faults(2, 0, 13, 10).is_empty());
        assert!(!good.faults(3, 0, 13, 10).is_empty());
        assert!(!good.faults(2, 0, 13, 9).is_empty());
        assert!(!good.faults(2, 0, 14, 10).is_empty());
        let short =
            Account { accepted: 2, closed: 2, read: 10, sent: 8, unsent: 1, ..Account::default() };
        assert!(!short.faults(1, 1, 10, 8).is_empty());
    }
}
