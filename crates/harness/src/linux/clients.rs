//! Clients on plain blocking sockets; and many of them that mostly wait, of which a wave at a time speaks.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread::sleep,
    time::{Duration, Instant},
};

use super::process::Process;
use crate::{Trouble, loopback::Sources, pattern::Pattern};

/// The longest message.
pub const MESSAGE: usize = 4096;
/// Connections that echo at the same time.
pub const WAVE: usize = 256;
/// Connections that a server has had before anything is measured.
const WARM: usize = 8;
/// A server that takes longer to answer is stuck: the check has then failed, and must end.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Opens one more.
pub fn connect(sources: &mut Sources, address: SocketAddr) -> Result<TcpStream, Trouble> {
    let trouble = || Trouble::at("a client");
    let socket = sources.socket(address).map_err(trouble())?;
    socket.connect_timeout(&address.into(), PATIENCE).map_err(trouble())?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).map_err(trouble())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(trouble())?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(trouble())?;
    Ok(stream)
}

/// Each echoes one message, a wave after the other. `first` numbers the connections, for the bytes.
pub fn echo_in_waves(
    clients: &mut [TcpStream],
    first: usize,
    length: usize,
) -> std::io::Result<()> {
    for (wave, clients) in clients.chunks_mut(WAVE).enumerate() {
        echo(clients, first + wave * WAVE, length)?;
    }
    Ok(())
}

/// All send, then all read back.
pub fn echo(clients: &mut [TcpStream], first: usize, length: usize) -> std::io::Result<()> {
    let (mut sent, mut back) = ([0; MESSAGE], [0; MESSAGE]);
    let bytes = |index: usize, out: &mut [u8]| Pattern::new(0, (first + index) as u64).fill(0, out);
    for (index, client) in clients.iter_mut().enumerate() {
        bytes(index, &mut sent[..length]);
        client.write_all(&sent[..length])?;
    }
    for (index, client) in clients.iter_mut().enumerate() {
        bytes(index, &mut sent[..length]);
        client.read_exact(&mut back[..length])?;
        if sent[..length] != back[..length] {
            return Err(std::io::Error::other("wrong bytes came back"));
        }
    }
    Ok(())
}

/// Has the server serve some connections, and waits until it has closed them: what each of its threads does once for all is done.
pub fn warm_up(sources: &mut Sources, address: SocketAddr, server: Process) -> Result<(), Trouble> {
    let warm = (0..WARM).map(|_| connect(sources, address));
    let mut warm = warm.collect::<Result<Vec<_>, _>>()?;
    echo(&mut warm, 0, MESSAGE).map_err(Trouble::at("the warm-up"))?;
    let left = server.descriptors()?.saturating_sub(warm.len());
    drop(warm);
    let end = Instant::now() + PATIENCE;
    while server.descriptors()? > left {
        if Instant::now() > end {
            return Err(Trouble::new("the server does not close a connection that has ended"));
        }
        // Nothing tells when another process closes a descriptor, so it is asked for again.
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
