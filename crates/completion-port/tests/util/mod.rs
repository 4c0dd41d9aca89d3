//! What the integration tests have in common.
//!
//! - this file: connections, waits with a generous deadline, bytes whose place in a stream can be seen.
//! - [`drivers`]: which drivers a promise is tested on, and [`exceptions`]: which promises a system cannot keep. [`files`]: files of a test's
//!   own. [`child`]: tests in a process of their own. [`proc`]: what the system says about this process. [`sys`], [`codes`]: what is otherwise on
//!   each system. [`busy`]: a listener that nobody gets in to. [`cancels`]: cancels against completions.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

pub mod busy;
pub mod cancels;
pub mod child;
pub mod codes;
pub mod drivers;
pub mod exceptions;
pub mod files;
#[cfg_attr(windows, path = "proc_windows.rs")]
#[cfg_attr(not(windows), path = "proc_linux.rs")]
pub mod proc;
pub mod sys;

use std::{
    any::Any,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use completion_port::{Completion, CompletionPort, DriverKind, GetError, Handle, error::Situation};
use socket2::SockRef;

/// How long a test waits for what must come. Long, because the machine may be busy; it passes only when something is lost.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A port on this driver, whatever the environment says.
pub fn open<K: Send + Sync + 'static, T: Send + 'static>(
    driver: DriverKind,
) -> CompletionPort<K, T> {
    CompletionPort::builder().driver(driver).build().expect("a probed driver can be had")
}

/// The port is in use from now on, as that of a server is: somebody is to sleep in its driver.
pub fn put_to_use<K: Send + Sync + 'static, T: Send + 'static>(port: &CompletionPort<K, T>) {
    drop(port.lend());
}

/// Two: one is in use; of the other, which is only posted to, all waiters are parked.
pub fn both<K: Send + Sync + 'static, T: Send + 'static>(
    driver: DriverKind,
) -> [CompletionPort<K, T>; 2] {
    let [in_use, only_posted_to] = [(); 2].map(|()| open(driver));
    put_to_use(&in_use);
    [in_use, only_posted_to]
}

/// One for all connections of a process: a port of its own for each would use up the machine's.
static LISTENER: LazyLock<Mutex<TcpListener>> =
    LazyLock::new(|| Mutex::new(TcpListener::bind("127.0.0.1:0").expect("a free port")));

/// A connection: the accepted end and the connecting end. The latter's calls fail rather than hang.
pub fn connection() -> (TcpStream, TcpStream) {
    let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner);
    let client = dial(&listener);
    loop {
        let (server, peer) = listener.accept().expect("accepted");
        // A test that panicked may have left one behind.
        if client.local_addr().is_ok_and(|own| own == peer) {
            return (server, client);
        }
    }
}

/// Connects to a listener; calls on the stream fail rather than hang.
pub fn dial(listener: &TcpListener) -> TcpStream {
    patient(TcpStream::connect(listener.local_addr().expect("bound")).expect("connected"))
}

pub fn patient(client: TcpStream) -> TcpStream {
    client.set_read_timeout(Some(PATIENCE)).expect("an option");
    client.set_write_timeout(Some(PATIENCE)).expect("an option");
    client
}

/// A connection whose accepted end is associated, and the other end.
pub fn pair<K: Send + Sync + 'static, T: Send + 'static>(
    port: &CompletionPort<K, T>,
    key: K,
) -> (Handle<K, T>, TcpStream) {
    let (server, client) = connection();
    (port.associate(server, key).expect("associated"), client)
}

/// A packet. When none comes in good time, the panic shows what the port is about.
#[track_caller]
pub fn get<K: Send + Sync + 'static, T: Send + 'static>(
    port: &CompletionPort<K, T>,
) -> Completion<K, T> {
    match port.get_timeout(PATIENCE) {
        Ok(done) => done,
        Err(e) => panic!("{e}; on {}: {}", port.driver(), port.snapshot()),
    }
}

/// Exactly so many packets.
#[track_caller]
pub fn take<K: Send + Sync + 'static, T: Send + 'static>(
    port: &CompletionPort<K, T>,
    count: usize,
) -> Vec<Completion<K, T>> {
    let mut packets = Vec::with_capacity(count);
    while packets.len() < count {
        let missing = count - packets.len();
        if let Err(e) = port.get_many(&mut packets, missing, Some(PATIENCE)) {
            panic!("{missing} packets are missing: {e}; on {}: {}", port.driver(), port.snapshot());
        }
    }
    packets
}

/// Nothing is pending and no packet is left: every operation had its packet, and none had two (S102).
#[track_caller]
pub fn assert_nothing_left<K: Send + Sync + 'static, T: Send + 'static>(
    port: &CompletionPort<K, T>,
) {
    assert!(
        matches!(port.get_timeout(Duration::ZERO), Err(GetError::TimedOut)),
        "a packet that nobody is owed"
    );
    let snapshot = port.snapshot();
    assert!(snapshot.in_flight.is_empty() && snapshot.packets == 0, "{snapshot}");
}

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(10);
    while !so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(2));
    }
}

/// Catches a thread at every moment of its way back to sleep, where a wake-up could be missed.
#[derive(Default)]
pub struct WayToSleep {
    /// How often it has set out.
    begun: AtomicUsize,
}

impl WayToSleep {
    /// How the thread takes packets.
    pub fn get<K: Send + Sync + 'static, T: Send + 'static>(
        &self,
        port: &CompletionPort<K, T>,
    ) -> Result<Completion<K, T>, GetError> {
        self.begun.fetch_add(1, Ordering::Release);
        // Whoever is to meet it may have a way of its own.
        spin(Self::HEAD_START);
        port.get()
    }

    const HEAD_START: usize = 300;

    /// Wakes it with a packet, and returns when it is on its way again, at another moment each time.
    pub fn walk(&self, time: usize, wake: impl FnOnce()) {
        let before = self.begun.load(Ordering::Acquire);
        wake();
        let mut spins = 0_u32;
        while self.begun.load(Ordering::Acquire) == before {
            spins += 1;
            if spins.is_multiple_of(1000) {
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
        spin(time * 7 % (2 * Self::HEAD_START));
    }
}

fn spin(times: usize) {
    for _ in 0..times {
        std::hint::spin_loop();
    }
}

/// Closes a connection with a reset.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
}

/// Does something, a wait for packets say, while the peer reads so many bytes and compares them. (Who waits for bytes that a port is to
/// send must not be the only one who could drive the port.)
pub fn while_read<R>(client: &mut TcpStream, expected: &[u8], act: impl FnOnce() -> R) -> R {
    thread::scope(|s| {
        s.spawn(|| {
            let mut read = vec![0; expected.len()];
            client.read_exact(&mut read).expect("all of it");
            assert_same(&read, expected, "what the peer reads");
        });
        act()
    })
}

/// Which situation a result stands for, `None` for a success.
#[track_caller]
pub fn situation(result: &io::Result<usize>) -> Option<Situation> {
    result
        .as_ref()
        .err()
        .map(|e| Situation::of(e).unwrap_or_else(|| panic!("an error without a situation: {e:?}")))
}

/// A prime number of bytes without a short period.
const PERIOD: usize = 65_537;

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..PERIOD).map(next).collect()
});

/// Bytes `from..from + len` of an endless stream: a byte that is lost, doubled or misplaced shows.
pub fn pattern(from: usize, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = (from + bytes.len()) % PERIOD;
        let piece = (PERIOD - at).min(len - bytes.len());
        bytes.extend_from_slice(&PATTERN[at..at + piece]);
    }
    bytes
}

/// Says where two long byte strings part, instead of printing them.
#[track_caller]
pub fn assert_same(got: &[u8], expected: &[u8], what: &str) {
    if got == expected {
        return;
    }
    let at =
        got.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(got.len().min(expected.len()));
    panic!("{what}: {} bytes for {}, and they part at byte {at}", got.len(), expected.len());
}

/// Writes where the test harness does not capture it: what a person should see of a run that passes.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Keeps something for the rest of the process, where a leak checker finds it.
pub fn for_good<T: Send + Sync + 'static>(value: T) -> &'static T {
    static KEPT: Mutex<Vec<&'static (dyn Any + Send + Sync)>> = Mutex::new(Vec::new());
    let kept: &'static T = Box::leak(Box::new(value));
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
    kept
}

/// So many as wanted, or what the limit on descriptors leaves to one test beside others, each taking `descriptors`.
pub fn scaled(what: &str, wanted: usize, descriptors: usize) -> usize {
    let limit = proc::descriptor_limit();
    let count = wanted.min(limit / 8 / descriptors).max(1);
    drivers::say_once(&format!(
        "scale: {count} {what} (wanted {wanted}; the limit is {limit} descriptors)"
    ));
    count
}
