//! Ports, connections, files, and waits with a generous deadline.

use std::{
    fs::{self, File, OpenOptions},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    time::Duration,
};

use completion_port::{Buffer, Completion, CompletionPort, DriverKind, GetError, TcpSocket};

use crate::{sys, util};

pub use crate::{
    routine_threads::room,
    util::{PATIENCE, connection, get, patient, reset, situation, until},
};

/// A name is the key, a number the context.
pub type Port = CompletionPort<&'static str, u32>;
pub type Handle = completion_port::Handle<&'static str, u32>;
pub type Packet = Completion<&'static str, u32>;

pub fn open(driver: DriverKind) -> Port {
    util::open(driver)
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
    util::pair(port, "server")
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

pub fn with(bytes: &[u8]) -> Buffer {
    bytes.into()
}

/// So many bytes, each of which tells something of its place.
pub fn pattern(len: usize) -> Vec<u8> {
    util::pattern(0, len)
}

/// So many packets, by their contexts.
#[track_caller]
pub fn take(port: &Port, count: usize) -> Vec<Packet> {
    let mut packets = util::take(port, count);
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

/// Waits until there is something to read from a socket that has this duplicate, and leaves it there.
pub fn until_readable(duplicate: &TcpStream) {
    until("something to read", || duplicate.peek(&mut [0]).is_ok());
}

/// A file of a test's own, which goes with it.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(content: &[u8]) -> Self {
        let scratch = Self(util::files::path());
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
