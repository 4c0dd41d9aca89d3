//! Datagrams of 0 to 65,507 bytes through an echo server: what comes back is compared byte by byte, and every one that does not must
//! be among those that the kernel says it has dropped.
//!
//! usage: datagrams ADDRESS [--count N] [--window N] [--seed S] [--patience-ms MS]
//!
//! The size and the bytes of a datagram follow from its number, which its first eight bytes tell; those of one that is shorter follow from
//! its size alone, and it is counted by that. As many as `--window` are on their way at a time. The counters are `drops` of the two sockets
//! in /proc/net/udp, and what the processors' backlogs have dropped, in /proc/net/softnet_stat, which is the whole machine's.

use std::{
    fmt, fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::{Trouble, args::Args, pattern::Pattern, random::Random};

/// The longest datagram of IPv4.
const LONGEST: usize = 65_507;
/// Shorter ones cannot tell their number.
const NUMBERED: usize = 8;
/// After so many milliseconds without a sign, unless it is said otherwise, what is missing does not come.
const PATIENCE: u64 = 10_000;
/// What the socket is to keep until it is taken, as far as the system allows.
const KEPT: usize = 4 * 1024 * 1024;
/// How long to wait before the kernel is asked for what it has dropped.
const LULL: Duration = Duration::from_millis(5);

/// What is sent.
#[derive(Clone, Copy)]
struct Load {
    seed: u64,
    count: u64,
}

impl Load {
    /// Of every size, the shortest and the longest often, and the others at every order of magnitude.
    fn size(self, number: u64) -> usize {
        let mut random = Random::new(self.seed, number);
        let longest = LONGEST as u64;
        let size = match random.within(0, 15) {
            0 => 0,
            1 => longest,
            2..=4 => random.within(0, longest),
            _ => random.scaled(1, longest),
        };
        size as usize
    }

    /// The bytes of a datagram, to the beginning of `room`.
    fn fill(self, number: u64, room: &mut [u8]) -> usize {
        let size = self.size(number);
        self.fill_as(number, &mut room[..size]);
        size
    }

    fn fill_as(self, number: u64, bytes: &mut [u8]) {
        if let Some((head, rest)) = bytes.split_first_chunk_mut::<NUMBERED>() {
            *head = number.to_le_bytes();
            Pattern::new(self.seed, number).fill(0, rest);
        } else {
            Pattern::new(self.seed, u64::MAX - bytes.len() as u64).fill(0, bytes);
        }
    }
}

/// What has come back.
struct Seen {
    load: Load,
    /// Of each number, whether it has.
    numbers: Vec<bool>,
    /// Of each size that tells no number, how many more may.
    short: [u64; NUMBERED],
    bytes: u64,
    wrong: u64,
    /// What is wrong with the first that is.
    first: Option<String>,
}

impl Seen {
    fn new(load: Load) -> Seen {
        let mut short = [0; NUMBERED];
        for number in 0..load.count {
            if let Some(count) = short.get_mut(load.size(number)) {
                *count += 1;
            }
        }
        let numbers = vec![false; load.count as usize];
        Seen { load, numbers, short, bytes: 0, wrong: 0, first: None }
    }

    /// Compares one with what was sent. False if it is none of those.
    fn take(&mut self, bytes: &[u8], room: &mut [u8]) -> bool {
        self.bytes += bytes.len() as u64;
        let verdict = self.judge(bytes, room);
        self.wrong += u64::from(verdict.is_err());
        let good = verdict.is_ok();
        self.first = self.first.take().or(verdict.err());
        good
    }

    fn judge(&mut self, bytes: &[u8], room: &mut [u8]) -> Result<(), String> {
        let size = bytes.len();
        let Some(head) = bytes.first_chunk::<NUMBERED>() else {
            self.load.fill_as(0, &mut room[..size]);
            if room[..size] != *bytes {
                return Err(format!("a datagram of {size} bytes has others than were sent"));
            }
            if self.short[size] == 0 {
                return Err(format!("more datagrams of {size} bytes came back than were sent"));
            }
            self.short[size] -= 1;
            return Ok(());
        };
        let number = u64::from_le_bytes(*head);
        if number >= self.load.count {
            return Err(format!("a datagram of {size} bytes is none of those that were sent"));
        }
        let sent = self.load.fill(number, room);
        if room[..sent] != *bytes {
            return Err(format!(
                "datagram {number} had {sent} bytes, and came back as {size}, which differ"
            ));
        }
        if std::mem::replace(&mut self.numbers[number as usize], true) {
            return Err(format!("datagram {number} came back twice"));
        }
        Ok(())
    }
}

/// What the kernel says that it has dropped.
#[derive(Clone, Copy, Default)]
struct Drops {
    server: u64,
    client: u64,
    backlog: u64,
}

impl Drops {
    /// Those of the sockets with these two addresses, which are of one version of the internet.
    fn now(server: SocketAddr, client: SocketAddr) -> Result<Drops, Trouble> {
        let path = if server.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
        let text = fs::read_to_string(path).map_err(Trouble::at(path))?;
        let of = |port: u16| {
            let suffix = format!(":{port:04X}");
            let drops = |line: &str| {
                let mut words = line.split_whitespace();
                let local = words.nth(1)?;
                local.ends_with(&suffix).then(|| words.last()?.parse::<u64>().ok()).flatten()
            };
            text.lines().skip(1).filter_map(drops).sum::<u64>()
        };
        let path = "/proc/net/softnet_stat";
        let text = fs::read_to_string(path).map_err(Trouble::at(path))?;
        let dropped = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok();
        let backlog = text.lines().filter_map(dropped).sum();
        Ok(Drops { server: of(server.port()), client: of(client.port()), backlog })
    }

    fn since(self, before: Drops) -> Drops {
        Drops {
            server: self.server - before.server,
            client: self.client - before.client,
            backlog: self.backlog - before.backlog,
        }
    }

    fn of_sockets(self) -> u64 {
        self.server + self.client
    }

    /// Whether so many are missing because of this. The backlogs' may have been others' packets.
    fn account_for(self, missing: u64) -> bool {
        (self.of_sockets()..=self.of_sockets() + self.backlog).contains(&missing)
    }
}

impl fmt::Display for Drops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Drops { server, client, backlog } = self;
        write!(f, "dropped_server={server} dropped_client={client} dropped_backlog={backlog}")
    }
}

/// A socket that hears from the server only, and never for long.
fn connect(server: SocketAddr) -> Result<UdpSocket, Trouble> {
    let any = match server.ip() {
        IpAddr::V4(_) => "127.0.0.1:0",
        IpAddr::V6(_) => "[::1]:0",
    };
    let made = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(server)?;
        socket.set_read_timeout(Some(LULL))?;
        SockRef::from(&socket).set_recv_buffer_size(KEPT)?;
        Ok(socket)
    });
    made.map_err(Trouble::at(format!("a socket to {server}")))
}

/// Sends, as long as few enough are on their way.
fn send(
    socket: &UdpSocket,
    load: Load,
    window: u64,
    settled: &AtomicU64,
    over: &AtomicBool,
) -> Result<u64, Trouble> {
    let (mut room, mut bytes) = (vec![0; LONGEST], 0);
    for number in 0..load.count {
        while number - settled.load(Acquire).min(number) >= window {
            if over.load(Relaxed) {
                return Ok(bytes);
            }
            thread::park_timeout(LULL);
        }
        let size = load.fill(number, &mut room);
        socket.send(&room[..size]).map_err(Trouble::at("sending"))?;
        bytes += size as u64;
    }
    Ok(bytes)
}

/// Says that it is over, when it is dropped.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Sends everything, and takes what comes back.
pub fn run() -> Result<bool, Trouble> {
    let mut args = Args::of_process();
    let load = Load { seed: args.option("--seed", 1)?, count: args.option("--count", 50_000)? };
    let window = args.option("--window", 64)?;
    let patience = Duration::from_millis(args.option("--patience-ms", PATIENCE)?);
    let server = args.loopback_address()?;
    args.done()?;
    let socket = connect(server)?;
    let client = socket.local_addr().map_err(Trouble::at("its address"))?;
    let before = Drops::now(server, client)?;
    let (settled, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let begun = Instant::now();
    let mut seen = Seen::new(load);
    let (mut came, mut drops) = (0, Drops::default());
    let sent = thread::scope(|scope| {
        // However this ends, so does the sender.
        let end = OnDrop(&over);
        let sender = scope.spawn(|| send(&socket, load, window, &settled, &over));
        let (mut room, mut expected) = (vec![0; LONGEST + 1], vec![0; LONGEST]);
        let mut sign = Instant::now();
        while came + drops.of_sockets() < load.count && sign.elapsed() < patience {
            match socket.recv(&mut room) {
                Ok(size) => {
                    came += u64::from(seen.take(&room[..size], &mut expected));
                    sign = Instant::now();
                }
                Err(error) if is_lull(&error) => {
                    let now = Drops::now(server, client)?.since(before);
                    if now.of_sockets() > drops.of_sockets() {
                        sign = Instant::now();
                    }
                    drops = now;
                }
                Err(error) => return Err(Trouble::at("receiving")(error)),
            }
            settled.store(came + drops.of_sockets(), Release);
            sender.thread().unpark();
            if sender.is_finished() && came + drops.of_sockets() > load.count {
                break;
            }
        }
        drop(end);
        sender.join().unwrap_or_else(|_| Err(Trouble::new("the sender panicked")))
    })?;
    let took = begun.elapsed();
    // One too many would come about now.
    while let Ok(size) = socket.recv(&mut vec![0; LONGEST + 1]) {
        seen.take(&vec![0; size], &mut vec![0; LONGEST]);
    }
    drops = Drops::now(server, client)?.since(before);
    let missing = load.count - came.min(load.count);
    let good = seen.wrong == 0 && drops.account_for(missing);
    println!(
        "datagrams: sent={} sent_bytes={sent} came={came} came_bytes={} wrong={} missing={missing} {drops} seconds={:.1} {}",
        load.count,
        seen.bytes,
        seen.wrong,
        took.as_secs_f64(),
        if good { "ok" } else { "FAILED" }
    );
    if let Some(first) = seen.first {
        eprintln!("datagrams: {first}");
    }
    if !drops.account_for(missing) {
        eprintln!("datagrams: {missing} are missing, and the kernel has dropped others than those");
    }
    Ok(good)
}

/// Whether nothing came for a while.
fn is_lull(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_size_is_there() {
        let load = Load { seed: 7, count: 10_000 };
        let count = |of: fn(usize) -> bool| (0..load.count).filter(|n| of(load.size(*n))).count();
        assert!(count(|size| size == 0) > 400);
        assert!(count(|size| size == LONGEST) > 400);
        assert!(count(|size| (1..NUMBERED).contains(&size)) > 400);
        assert!(count(|size| (NUMBERED..1473).contains(&size)) > 1000);
        assert!(count(|size| (1473..LONGEST).contains(&size)) > 1000);
        assert_eq!(count(|size| size > LONGEST), 0);
    }

    #[test]
    fn whatever_is_wrong_is_seen() {
        let load = Load { seed: 7, count: 100 };
        let (mut room, mut bytes) = (vec![0; LONGEST], vec![0; LONGEST]);
        for number in 0..load.count {
            let size = load.fill(number, &mut bytes);
            for at in [0, size / 2, size.saturating_sub(1)] {
                let mut seen = Seen::new(load);
                if size > 0 {
                    bytes[at] ^= 1;
                    assert!(!seen.take(&bytes[..size], &mut room), "one bit of {number}, at {at}");
                    bytes[at] ^= 1;
                }
                assert!(seen.take(&bytes[..size], &mut room), "{number}: {:?}", seen.first);
                if size >= NUMBERED {
                    assert!(!seen.take(&bytes[..size], &mut room), "{number} twice");
                    assert!(!Seen::new(load).take(&bytes[..size - 1], &mut room), "cut");
                }
            }
        }
        let mut seen = Seen::new(load);
        let empty = (0..load.count).filter(|number| load.size(*number) == 0).count();
        assert!((0..empty).all(|_| seen.take(&[], &mut room)));
        assert!(!seen.take(&[], &mut room), "one too many");
    }

    #[test]
    fn what_is_missing_must_have_been_dropped() {
        let drops = Drops { server: 3, client: 2, backlog: 0 };
        assert!(drops.account_for(5) && !drops.account_for(4) && !drops.account_for(6));
        let drops = Drops { backlog: 1, ..drops };
        assert!(!drops.account_for(4) && drops.account_for(6) && !drops.account_for(7));
    }
}
