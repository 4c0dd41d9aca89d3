//! Starting the built command, and waiting for what it does.
#![allow(dead_code)] // each test file uses a part of it

pub mod sys;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

pub use sys::Signal;

/// How long anything may take before a test gives up. Nothing waits this long unless it is broken.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The command with these arguments.
pub fn cport(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cport"));
    command
        .args(args)
        .env_remove("COMPLETION_PORT_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    sys::prepare(&mut command);
    command
}

/// Runs the command to its end.
pub fn run(args: &[&str]) -> Output {
    output(&mut cport(args))
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    output_of(command.spawn().expect("the command starts"))
}

/// Waits for the end of a command, and for what it says meanwhile.
pub fn output_of(mut child: Child) -> Output {
    let (stdout, stderr) = (all_of(child.stdout.take()), all_of(child.stderr.take()));
    let status = Killed(child).wait();
    let all = |stream: Receiver<Vec<u8>>| stream.recv_timeout(DEADLINE).expect("its end");
    Output { status, stdout: all(stdout), stderr: all(stderr) }
}

/// All that comes from a stream, read by a thread.
fn all_of(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, all) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            stream.read_to_end(&mut bytes).expect("it can be read");
        }
        sender.send(bytes)
    });
    all
}

/// Its two outputs and its exit code.
pub fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Asserts that the command failed with `code` and one clear line that has each of `words` in it.
pub fn assert_refused(output: &Output, code: i32, words: &[&str]) {
    let (exit, stdout, stderr) = said(output);
    assert_eq!(exit, Some(code), "{stdout}{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("cport: "), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not in {stderr}");
    }
}

/// A child that does not outlive the test.
pub struct Killed(pub Child);

impl Killed {
    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(start.elapsed() < DEADLINE, "the command does not end");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `cport serve`.
pub struct Server {
    child: Killed,
    lines: Receiver<String>,
    errors: Receiver<String>,
    /// The first line that it said.
    pub first: String,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
}

/// The numbers of a line of `key=value` words.
pub type Numbers = BTreeMap<String, u64>;

/// Picks the numbers out of a line.
pub fn numbers(line: &str) -> Numbers {
    line.split_whitespace()
        .filter_map(|word| word.split_once('='))
        .filter_map(|(key, value)| Some((key.to_string(), value.parse().ok()?)))
        .collect()
}

/// The lines of a stream, read by a thread.
fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

impl Server {
    /// Starts it on a free port.
    pub fn start(args: &[&str]) -> Self {
        let mut all = vec!["serve", "127.0.0.1:0"];
        all.extend(args);
        Self::spawn(&mut cport(&all))
    }

    /// Starts it by a command of one's own.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = Killed(command.spawn().expect("the server starts"));
        let lines = lines_of(child.0.stdout.take().expect("its output"));
        let errors = lines_of(child.0.stderr.take().expect("its errors"));
        let first = lines.recv_timeout(DEADLINE).unwrap_or_else(|_| {
            panic!("no first line; on standard error: {:?}", errors.try_iter().collect::<Vec<_>>())
        });
        let listening = first.strip_prefix("listening on ").unwrap_or_else(|| panic!("{first}"));
        let (addresses, _) = listening.split_once(", driver ").unwrap_or_else(|| panic!("{first}"));
        let addresses =
            addresses.split(" and ").map(|one| one.parse().expect("an address")).collect();
        Self { child, lines, errors, first, addresses }
    }

    /// Connects a client.
    pub fn connect(&self) -> TcpStream {
        connect(self.addresses[0])
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        sys::signal(&self.child.0, signal);
    }

    /// The next line that it says.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("a line")
    }

    /// How things stand, by its own word.
    pub fn state(&self) -> Numbers {
        self.signal(Signal::Report);
        let line = self.line();
        assert!(line.starts_with("open="), "{line}");
        numbers(&line)
    }

    /// Waits until its own word fulfils a condition.
    pub fn wait_until(&self, what: &str, mut condition: impl FnMut(&Numbers) -> bool) -> Numbers {
        let start = Instant::now();
        loop {
            let state = self.state();
            if condition(&state) {
                return state;
            }
            assert!(start.elapsed() < DEADLINE, "it never came to this: {what}; now {state:?}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Descriptors that it has open, where the system tells.
    pub fn descriptors(&self) -> Option<usize> {
        sys::descriptors(&self.child.0)
    }

    /// Stops reading its standard output.
    pub fn close_stdout(&mut self) {
        self.lines = channel().1;
    }

    /// Lines on standard error until now.
    pub fn errors(&self) -> Vec<String> {
        self.errors.try_iter().collect()
    }

    /// Waits for its end: the exit code, and the numbers of the last line.
    pub fn finish(self) -> (Option<i32>, Numbers) {
        let (code, numbers, _) = self.finish_and_tell();
        (code, numbers)
    }

    /// Waits for its end: the exit code, the numbers of the last line, and the lines on standard error.
    pub fn finish_and_tell(mut self) -> (Option<i32>, Numbers, Vec<String>) {
        let status = self.child.wait();
        let mut last = String::new();
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            last = line;
        }
        assert!(
            last.starts_with("served: "),
            "the last line is {last:?}; errors: {:?}",
            self.errors()
        );
        let errors = std::iter::from_fn(|| self.errors.recv_timeout(DEADLINE).ok()).collect();
        (status.code(), numbers(&last), errors)
    }

    /// Tells it to stop and waits for its end.
    pub fn stop(self) -> (Option<i32>, Numbers) {
        self.signal(Signal::Stop);
        self.finish()
    }
}

/// Connects to a server. Nothing on the connection takes longer than the deadline.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// Its close will be a reset: a linger time of zero.
pub fn reset_at_close(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("linger");
}

/// So many connections as `wanted`, or as few as the limit of descriptors leaves room for, and says so.
pub fn scaled(wanted: usize) -> usize {
    let limit = sys::descriptor_limit()
        .map_or(usize::MAX, |limit| usize::try_from(limit).expect("it fits"));
    // The other tests of the file run at the same time.
    let count = wanted.min(limit / 8);
    println!("scale: {count} connections of {wanted} wanted, {limit} descriptors");
    count
}

/// The bytes from `from` on of a stream in which every position can be told.
pub fn bytes(seed: u64, from: u64, count: usize) -> Vec<u8> {
    (from..from + count as u64).map(|at| byte(seed, at)).collect()
}

/// The byte at one position.
fn byte(seed: u64, at: u64) -> u8 {
    let word = (seed << 40 ^ at >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (word ^ word >> 29).to_le_bytes()[(at & 7) as usize]
}

/// Checks what came back from `from` on.
pub fn check(seed: u64, from: u64, echo: &[u8]) {
    for (n, got) in echo.iter().enumerate() {
        let at = from + n as u64;
        assert_eq!(*got, byte(seed, at), "byte {at} of client {seed}");
    }
}

/// Numbers that are nowhere alike.
pub struct Random(pub u64);

impl Random {
    /// The next one, below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit
    }
}

/// Sends `count` bytes in pieces of random size and reads them back meanwhile.
pub fn converse(stream: &TcpStream, seed: u64, count: usize) {
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut random = Random(seed);
            let (mut at, mut stream) = (0, stream);
            while at < count {
                let most = if random.below(4) == 0 { 256 * 1024 } else { 500 };
                let piece = (1 + random.below(most)).min(count - at);
                stream.write_all(&bytes(seed, at as u64, piece)).expect("sent");
                at += piece;
            }
        });
        let mut echo = vec![0; 64 * 1024];
        let (mut at, mut reader) = (0, stream);
        while at < count {
            let want = echo.len().min(count - at);
            let got = reader.read(&mut echo[..want]).expect("read");
            assert!(got > 0, "the server closed after {at} of {count} bytes");
            check(seed, at as u64, &echo[..got]);
            at += got;
        }
    });
}
