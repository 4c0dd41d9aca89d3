//! What a handler that burns CPU costs what it has started, and the connections that are not its own; for `benches/burn`.
//!
//! A port with limit 2, all else as it is by default, and 8 workers. One gets a packet, starts a receive on each of its connections,
//! then a send, and burns CPU. Meanwhile the peer, a thread of this process, gets what was sent, and then writes every now and
//! then, in turn to a connection of the burner (its receives were started by the thread that burns) and to one of the others (their
//! receives were started by workers that do not). Times are from the start of the send until the peer has it and until another
//! worker has its packet, and from before the peer's write until another worker comes out of `get` with it.
//!
//! What that is to be compared with, in the same process: from before an `unpark` until the thread that was parked runs, a bare
//! futex wake, and from before a write until a thread that was blocked in `read` runs. Half of them happen before the burning and
//! half after, with as many threads that spin. Each is measured twice: by a thread that then sleeps, as the peer does (its core is
//! free for the one that it woke), while another spins in the place of the burner; and by a thread that has slept, wakes the other,
//! and burns on, as the burner does with its send.
//!
//! Until the send has arrived, burner and peer each stay on a core of their own, and where all cores are busy the peer polls: what is
//! measured is when the send leaves, not when the peer has its turn.
//!
//! | option | meaning |
//! | --- | --- |
//! | `--cores free` | `free`: one core has nothing else to do. `busy`: threads spin on all but the burner's |
//! | `--burns 30` | how often |
//! | `--burn-ms 100` | how long each takes, by the clock |
//! | `--hand-offs 2000` | wakes of a bare futex |
//! | `--pause-us 1000` | between two writes or wakes |
//!
//! One line of figures in microseconds, nearest rank; the port's counters go to the standard error.

use std::{
    collections::VecDeque,
    env,
    error::Error,
    fmt::Display,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread,
    time::{Duration, Instant},
};

use completion_port::{Buffer, Completion, CompletionPort, Handle};
use completion_port_peers::Outcome;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const LIMIT: usize = 2;
const WORKERS: usize = 8;
/// Connections whose receives the burner starts, each good for one sample in a burn.
const OWN: usize = 64;
/// Connections whose receives are started again by whoever took the last.
const OTHERS: usize = 4;
const SIZE: usize = 64;
/// A burner has slept for so long before it begins, as has whoever it wakes, and burns on for longer than a slice of the processor's
/// time: wakes by one are rarer than the others.
const BURNER_SLEPT: Duration = Duration::from_millis(10);
const BURNS_ON: Duration = Duration::from_millis(10);
const RARER: usize = 20;
/// Nothing takes so long.
const STUCK: Duration = Duration::from_secs(20);

/// The completion key: a connection's number, or one for what is posted.
type Key = usize;
const CONTROL: Key = usize::MAX;

/// What an operation was started for.
enum What {
    Burn,
    Sent,
    Received,
}

type Port = CompletionPort<Key, What>;

struct Options {
    busy: bool,
    burns: usize,
    burn: Duration,
    hand_offs: usize,
    pause: Duration,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        busy: false,
        burns: 30,
        burn: Duration::from_millis(100),
        hand_offs: 2000,
        pause: Duration::from_millis(1),
    };
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().ok_or_else(|| format!("{arg} wants a value"))?;
        match (arg.as_str(), value.as_str()) {
            ("--cores", "free") => options.busy = false,
            ("--cores", "busy") => options.busy = true,
            ("--burns", _) => options.burns = number(&value)?,
            ("--burn-ms", _) => options.burn = Duration::from_millis(number(&value)?),
            ("--hand-offs", _) => options.hand_offs = number(&value)?,
            ("--pause-us", _) => options.pause = Duration::from_micros(number(&value)?),
            _ => return Err(format!("unexpected argument {arg} {value}").into()),
        }
    }
    Ok(options)
}

fn number<T: FromStr<Err: Display>>(text: &str) -> Result<T, Box<dyn Error>> {
    text.parse().map_err(|error| format!("{text}: {error}").into())
}

/// Nanoseconds of a clock that all threads share; never 0.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64 + 1
    }
}

/// Times that something took, in nanoseconds.
#[derive(Default)]
struct Times(Mutex<Vec<u64>>);

impl Times {
    fn add(&self, took: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(took);
    }

    /// ` name_n=.. name_p50=.. name_p99=..`
    fn figures(&self, name: &str) -> String {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.sort_unstable();
        let us = |part: f64| {
            let rank = (times.len() as f64 * part).ceil() as usize;
            times.get(rank.saturating_sub(1)).map_or(0.0, |time| *time as f64 / 1000.0)
        };
        format!(" {name}_n={} {name}_p50={:.1} {name}_p99={:.1}", times.len(), us(0.5), us(0.99))
    }
}

/// Threads that spin until this is dropped.
struct Hogs(Arc<AtomicBool>, Vec<thread::JoinHandle<()>>);

impl Hogs {
    fn new(count: usize) -> Hogs {
        let stop = Arc::new(AtomicBool::new(false));
        let hogs = (0..count).map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Relaxed) {
                    std::hint::spin_loop();
                }
            })
        });
        Hogs(Arc::clone(&stop), hogs.collect())
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
        for hog in self.1.drain(..) {
            let _ = hog.join();
        }
    }
}

/// How a thread wakes another, bare.
#[derive(Clone, Copy)]
enum Wake {
    /// A futex; and it sleeps.
    Futex,
    /// A futex; before and after it burns.
    BurningFutex,
    /// A write to a socket that the other reads; and it sleeps.
    Socket,
    /// The same; before and after it burns.
    BurningSocket,
}

impl Wake {
    fn burns(self) -> bool {
        matches!(self, Wake::BurningFutex | Wake::BurningSocket)
    }

    fn writes(self) -> bool {
        matches!(self, Wake::Socket | Wake::BurningSocket)
    }
}

/// Wakes a thread again and again.
fn wakes(clock: Clock, count: usize, pause: Duration, how: Wake, times: &Times) -> Outcome {
    let (begun, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut writer = TcpStream::connect(listener.local_addr()?)?;
    let (mut reader, _) = listener.accept()?;
    writer.set_nodelay(true)?;
    thread::scope(|s| {
        let over = &over;
        let begun = &begun;
        let other = s.spawn(move || {
            while !over.load(Acquire) {
                if how.writes() {
                    _ = reader.read(&mut [0]);
                } else {
                    thread::park();
                }
                let now = clock.now();
                match begun.swap(0, Acquire) {
                    0 => {}
                    begun => times.add(now - begun),
                }
            }
        });
        let mut wake = || {
            if how.writes() {
                return writer.write_all(&[1]);
            }
            other.thread().unpark();
            Ok(())
        };
        for _ in 0..count {
            thread::sleep(if how.burns() { BURNER_SLEPT } else { pause });
            if how.burns() {
                burn(Duration::from_micros(100));
            }
            begun.store(clock.now(), Release);
            wake()?;
            if how.burns() {
                burn(BURNS_ON);
            }
            while begun.load(Acquire) != 0 {
                thread::sleep(pause / 4);
            }
        }
        over.store(true, Release);
        wake()?;
        Ok(())
    })
}

fn burn(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Reads a message without sleeping meanwhile: it keeps its core busy, and tells when the message is there, not when a sleeper has had
/// its turn.
fn polled(peer: &mut TcpStream) -> Outcome {
    peer.set_nonblocking(true)?;
    let mut message = [0; SIZE];
    let mut length = 0;
    while length < SIZE {
        match peer.read(&mut message[length..]) {
            Ok(0) => return Err("the connection was closed".into()),
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(error) => return Err(error.into()),
        }
    }
    peer.set_nonblocking(false)?;
    Ok(())
}

/// One of the first two cores that this process may use.
enum Core {
    First,
    Second,
}

/// The calling thread stays on that core. Where it might be before; `None` where there is but one, or it is refused.
fn stay_on(core: Core) -> Option<CpuSet> {
    let all = sched_getaffinity(None).ok()?;
    let wanted = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).nth(match core {
        Core::First => 0,
        Core::Second => 1,
    })?;
    let mut only = CpuSet::new();
    only.set(wanted);
    sched_setaffinity(None, &only).ok()?;
    Some(all)
}

/// What the workers and the peer share.
struct Scene {
    clock: Clock,
    burn: Duration,
    burning: AtomicBool,
    send_begun: AtomicU64,
    /// When the peer wrote to each connection; 0 when that has been taken.
    written: Vec<AtomicU64>,
    /// What is taken counts: the burner burns.
    counts: AtomicBool,
    handles: Mutex<Vec<Handle<Key, What>>>,
    sent: Times,
    send_taken: Times,
    own_taken: Times,
    others_taken: Times,
}

impl Scene {
    fn work(&self, port: &Port) {
        while let Ok(done) = port.get() {
            let now = self.clock.now();
            let Completion { handle, result, buffer, context, .. } = done;
            if let Err(error) = result {
                return eprintln!("burn: an operation failed: {error}");
            }
            match context {
                What::Burn => self.burn(),
                What::Sent => self.send_taken.add(now - self.send_begun.load(Acquire)),
                What::Received => self.received(&handle, buffer, now),
            }
        }
    }

    fn burn(&self) {
        let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for handle in &handles[..OWN] {
            let _ = handle.recv(Buffer::with_capacity(SIZE), What::Received);
        }
        // Where the one who is to see what it sends is not: that one's turn on a shared core is not what is measured.
        let anywhere = stay_on(Core::Second);
        self.burning.store(true, Release);
        self.send_begun.store(self.clock.now(), Release);
        let _ = handles[0].send(Buffer::from(vec![1; SIZE]), What::Sent);
        let _ = anywhere.map(|all| sched_setaffinity(None, &all));
        burn(self.burn);
        self.burning.store(false, Release);
    }

    fn received(&self, handle: &Handle<Key, What>, mut buffer: Buffer, now: u64) {
        let at = *handle.key();
        if at >= OWN {
            buffer.clear();
            let _ = handle.recv(buffer, What::Received);
        }
        // Last: from then on the peer may write to it again.
        let written = self.written[at].load(Acquire);
        if self.counts.load(Acquire) {
            let times = if at < OWN { &self.own_taken } else { &self.others_taken };
            times.add(now.saturating_sub(written));
        }
        self.written[at].store(0, Release);
    }

    /// One burn, seen from the other end of the connections.
    fn peer(
        &self,
        control: &Handle<Key, What>,
        peers: &mut [TcpStream],
        pause: Duration,
        beside: usize,
    ) -> Outcome {
        let arrived = thread::scope(|s| -> Result<u64, Box<dyn Error>> {
            // Not by the peer itself: the burner would begin on the core that the peer sleeps on.
            let post = s.spawn(|| {
                thread::sleep(Duration::from_millis(10));
                control.post(0, What::Burn).map_err(|refused| refused.error)
            });
            let anywhere = stay_on(Core::First);
            if beside > 0 {
                polled(&mut peers[0])?;
            } else {
                peers[0].read_exact(&mut [0; SIZE])?;
            }
            let arrived = self.clock.now();
            let _ = anywhere.map(|all| sched_setaffinity(None, &all));
            post.join().map_err(|_| "the poster has panicked")??;
            Ok(arrived)
        })?;
        self.sent.add(arrived - self.send_begun.load(Acquire));
        let _hogs = Hogs::new(beside);

        let mut own: VecDeque<_> = (0..OWN).collect();
        let mut others = (OWN..OWN + OTHERS).cycle();
        self.counts.store(true, Release);
        for turn in 0.. {
            thread::sleep(pause);
            if !self.burning.load(Acquire) {
                break;
            }
            let at = if turn % 2 == 0 { own.pop_front() } else { others.next() };
            match at {
                Some(at) if self.written[at].load(Acquire) == 0 => self.write(peers, at)?,
                _ => {}
            }
        }
        // What was written while it burned counts, also if it was taken when that was over.
        self.settled()?;
        self.counts.store(false, Release);
        for at in own {
            self.write(peers, at)?;
        }
        self.settled()
    }

    fn write(&self, peers: &mut [TcpStream], at: usize) -> Outcome {
        self.written[at].store(self.clock.now(), Release);
        peers[at].write_all(&[1])?;
        Ok(())
    }

    /// Waits until all that was written has been taken.
    fn settled(&self) -> Outcome {
        let begun = Instant::now();
        while self.written.iter().any(|written| written.load(Acquire) != 0) {
            if begun.elapsed() > STUCK {
                return Err("what was written has not been taken for 20 s".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

fn main() -> Outcome {
    let options = options()?;
    let clock = Clock(Instant::now());
    let cores = thread::available_parallelism()?.get();
    let beside_burner = if options.busy { cores - 1 } else { cores.saturating_sub(2) };

    let bare = [
        (Wake::Futex, "futex", Times::default()),
        (Wake::BurningFutex, "burning", Times::default()),
        (Wake::Socket, "socket", Times::default()),
        (Wake::BurningSocket, "burning_socket", Times::default()),
    ];
    let bare_wakes = |count: usize| -> Outcome {
        for (how, _, times) in &bare {
            let in_its_place = usize::from(!how.burns());
            let _hogs = Hogs::new(beside_burner + in_its_place);
            let count = if how.burns() { count.div_ceil(RARER) } else { count };
            wakes(clock, count, options.pause, *how, times)?;
        }
        Ok(())
    };
    bare_wakes(options.hand_offs / 2)?;

    let port: Port = CompletionPort::builder().limit(LIMIT).build()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (mut peers, mut handles) = (Vec::new(), Vec::new());
    for at in 0..OWN + OTHERS {
        let peer = TcpStream::connect(listener.local_addr()?)?;
        let (stream, _) = listener.accept()?;
        peer.set_nodelay(true)?;
        stream.set_nodelay(true)?;
        peer.set_read_timeout(Some(STUCK))?;
        peers.push(peer);
        handles.push(port.associate(stream, at).map_err(|refused| refused.error)?);
    }
    let scene = Scene {
        clock,
        burn: options.burn,
        burning: AtomicBool::new(false),
        send_begun: AtomicU64::new(0),
        written: (0..OWN + OTHERS).map(|_| AtomicU64::new(0)).collect(),
        counts: AtomicBool::new(false),
        handles: Mutex::new(handles.clone()),
        sent: Times::default(),
        send_taken: Times::default(),
        own_taken: Times::default(),
        others_taken: Times::default(),
    };
    let control = port.key(CONTROL);
    thread::scope(|s| -> Outcome {
        let _close = port.close_on_drop();
        for _ in 0..WORKERS {
            s.spawn(|| scene.work(&port));
        }
        for handle in &handles[OWN..] {
            // By the main thread, which is not the burner either.
            handle
                .recv(Buffer::with_capacity(SIZE), What::Received)
                .map_err(|refused| refused.error)?;
        }
        for _ in 0..options.burns {
            scene.peer(&control, &mut peers, options.pause, beside_burner)?;
        }
        Ok(())
    })?;
    eprintln!("burn: {}", port.snapshot().scheduling);
    bare_wakes(options.hand_offs - options.hand_offs / 2)?;
    let bare: String = bare.iter().map(|(_, name, times)| times.figures(name)).collect();

    println!(
        "burn: cores={}{bare}{}{}{}{} driver={} ok",
        if options.busy { "busy" } else { "free" },
        scene.sent.figures("sent"),
        scene.send_taken.figures("send_taken"),
        scene.own_taken.figures("own"),
        scene.others_taken.figures("others"),
        port.driver(),
    );
    Ok(())
}
