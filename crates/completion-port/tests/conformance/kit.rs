//! Ports, connections, files, and waits with a generous deadline.

use std::{
    env, fs,
    fs::{File, OpenOptions},
    io,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use completion_port::{
    Buffer, Completion, CompletionPort, DriverKind, GetError, TcpSocket, error::Situation,
};

use crate::sys;

pub use crate::util::{PATIENCE, connection, patient};

/// A name is the key, a number the context.
pub type Port = CompletionPort<&'static str, u32>;
pub type Handle = completion_port::Handle<&'static str, u32>;
pub type Packet = Completion<&'static str, u32>;

pub fn open(driver: DriverKind) -> Port {
    CompletionPort::builder().driver(driver).build().expect("a probed driver can be had")
}

pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// Connects; the stream's calls fail rather than hang.
pub fn dial(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(address).expect("connected"))
}

/// A connection whose accepted end is associated, under the key "server".
pub fn pair(port: &Port) -> (Handle, TcpStream) {
    let (server, client) = connection();
    (port.associate(server, "server").expect("associated"), client)
}

/// A datagram socket that is associated, under the key "datagrams", its address, and another one that fails rather than hangs.
pub fn datagrams(port: &Port) -> (Handle, SocketAddr, UdpSocket) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("bound");
    (port.associate(socket, "datagrams").expect("associated"), address, peer())
}

/// A datagram socket whose calls fail rather than hang.
pub fn peer() -> UdpSocket {
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    peer.set_read_timeout(Some(PATIENCE)).expect("an option");
    peer
}

/// Closes a connection with a reset.
pub fn reset(driver: DriverKind, stream: TcpStream) {
    // The standard library has no stable way; a handle has the option.
    let port = open(driver);
    let handle = port.associate(stream, "to be reset").expect("associated");
    handle.set_linger(Some(Duration::ZERO)).expect("an option");
}

/// An empty buffer with room for so much.
pub fn room(bytes: usize) -> Buffer {
    Buffer::with_capacity(bytes)
}

pub fn with(bytes: &[u8]) -> Buffer {
    bytes.into()
}

/// So many bytes, each of which tells something of its place.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8 ^ (n / 251 % 241) as u8).collect()
}

/// The next packet.
#[track_caller]
pub fn get(port: &Port) -> Packet {
    match port.get_timeout(PATIENCE) {
        Ok(packet) => packet,
        Err(e) => panic!("{e}; {}", port.snapshot()),
    }
}

/// So many packets, by their contexts.
#[track_caller]
pub fn take(port: &Port, count: usize) -> Vec<Packet> {
    let mut packets: Vec<_> = (0..count).map(|_| get(port)).collect();
    packets.sort_by_key(|packet| packet.context);
    packets
}

/// There is no packet: what was queued before the marker would come before it, and what the driver has would come now.
#[track_caller]
pub fn nothing_comes(port: &Port) {
    const MARKER: u32 = 987_654_321;
    port.key("marker").post(0, MARKER).expect("the port is open");
    let packet = get(port);
    assert_eq!(packet.context, MARKER, "{packet:?}, which nobody is owed");
    times_out(port);
}

/// A poll finds nothing.
#[track_caller]
pub fn times_out(port: &Port) {
    match port.get_timeout(Duration::ZERO) {
        Err(GetError::TimedOut) => {}
        Err(e) => panic!("{e}"),
        Ok(packet) => panic!("{packet:?}, which nobody is owed"),
    }
}

/// Which situation a result stands for; `None` for a success.
#[track_caller]
pub fn situation(result: &io::Result<usize>) -> Option<Situation> {
    let named = |e| Situation::of(e).unwrap_or_else(|| panic!("an error of no situation: {e:?}"));
    result.as_ref().err().map(named)
}

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_micros(200));
    }
}

/// Waits until there is something to read from a socket that has this duplicate, and leaves it there.
pub fn until_readable(duplicate: &TcpStream) {
    until("something to read", || duplicate.peek(&mut [0]).is_ok());
}

/// A file of a test's own, which goes with it.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(content: &[u8]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("completion-port-conformance-{}-{number}", process::id());
        let scratch = Self(env::temp_dir().join(name));
        fs::write(&scratch.0, content).expect("a file can be made");
        scratch
    }

    /// Open for overlapped I/O.
    pub fn open(&self) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        sys::for_overlapped_io(&mut options).open(&self.0).expect("it is there")
    }

    /// Open for what sends it.
    pub fn open_to_read(&self) -> File {
        File::open(&self.0).expect("it is there")
    }

    pub fn content(&self) -> Vec<u8> {
        fs::read(&self.0).expect("it is there")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// An address where nobody listens, as long as what comes with it is there.
pub fn nobody(driver: DriverKind) -> (Port, Handle, SocketAddr) {
    let any = "127.0.0.1:0".parse().expect("an address");
    let socket = TcpSocket::new(&any).expect("a socket");
    socket.bind(&any).expect("a free port");
    let port = open(driver);
    let handle = port.associate(socket, "nobody").expect("associated");
    let address = handle.local_addr().expect("bound");
    (port, handle, address)
}
