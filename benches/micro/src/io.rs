//! The smallest operation that goes to the kernel and comes back. The library refuses an empty send, so it is one byte. And echoes of it
//! on many connections.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use completion_port::{Buffer, Completion, DriverKind, Handle, Started};

use crate::{Outcome, Port};

/// Both ends of a loopback connection, associated with a port.
pub struct Pair {
    port: Port,
    from: Handle<(), u64>,
    to: Handle<(), u64>,
    /// What a byte is sent from, and received into.
    buffers: [Buffer; 2],
}

impl Pair {
    /// # Errors
    ///
    /// The driver is not to be had here, or no connection.
    pub fn new(driver: DriverKind) -> Outcome<Self> {
        let port = crate::port(driver)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (from, to) = connection(&listener)?;
        let from = port.associate(from, ()).map_err(|refused| refused.error)?;
        let to = port.associate(to, ()).map_err(|refused| refused.error)?;
        Ok(Self { port, from, to, buffers: [Buffer::from(vec![7]), Buffer::with_capacity(1)] })
    }

    /// A byte is sent and received: two operations, each taken from the port before the next is started.
    ///
    /// # Errors
    ///
    /// The connection or the port has ended.
    pub fn send_and_receive(&mut self) -> Outcome<()> {
        let [full, empty] = std::mem::take(&mut self.buffers);
        self.from.send(full, 0).map_err(|refused| refused.error)?;
        let full = self.finish()?;
        self.to.recv(empty, 1).map_err(|refused| refused.error)?;
        let mut empty = self.finish()?;
        empty.clear();
        self.buffers = [full, empty];
        Ok(())
    }

    /// Takes the packet of the one operation that there is.
    fn finish(&self) -> Outcome<Buffer> {
        let done = self.port.get()?;
        is_of_one_byte(&done)?;
        Ok(done.buffer)
    }
}

/// Both ends of a connection.
fn connection(listener: &TcpListener) -> Outcome<(TcpStream, TcpStream)> {
    let from = TcpStream::connect(listener.local_addr()?)?;
    let (to, _) = listener.accept()?;
    from.set_nodelay(true)?;
    to.set_nodelay(true)?;
    Ok((from, to))
}

/// The packet is of an operation that moved one byte.
fn is_of_one_byte(done: &Completion<(), u64>) -> Outcome<()> {
    match &done.result {
        Ok(1) => Ok(()),
        other => Err(format!("one byte was to be moved, and it came to {other:?}").into()),
    }
}

/// Connections of which each client has one byte under way, and a server as `cport serve` is one.
pub struct Echoes {
    port: Port,
    clients: Vec<TcpStream>,
    _served: Vec<Handle<(), u64>>,
}

impl Echoes {
    /// # Errors
    ///
    /// The driver is not to be had here, or no connection.
    pub fn new(driver: DriverKind, connections: usize) -> Outcome<Self> {
        let port = crate::port(driver)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (mut clients, mut served) = (Vec::new(), Vec::new());
        for _ in 0..connections {
            let (client, stream) = connection(&listener)?;
            let handle = port.associate(stream, ()).map_err(|refused| refused.error)?;
            handle.skip_on_success();
            handle.recv_lent(0).map_err(|refused| refused.error)?;
            clients.push(client);
            served.push(handle);
        }
        Ok(Self { port, clients, _served: served })
    }

    /// Each client sends a byte.
    ///
    /// # Errors
    ///
    /// A connection has ended.
    pub fn ask(&mut self) -> Outcome<()> {
        self.clients.iter_mut().try_for_each(|client| Ok(client.write_all(&[7])?))
    }

    /// Each is sent back.
    ///
    /// # Errors
    ///
    /// A connection or the port has ended.
    pub fn serve(&mut self) -> Outcome<()> {
        for _ in 0..self.clients.len() {
            let done = self.port.get()?;
            is_of_one_byte(&done)?;
            let sent = done.handle.send_inline(done.buffer, 1).map_err(|refused| refused.error)?;
            match sent {
                Started::Done(sent) => drop(sent.buffer),
                Started::Pending(_) => return Err("a byte did not leave at once".into()),
            }
            done.handle.recv_lent(0).map_err(|refused| refused.error)?;
        }
        Ok(())
    }

    /// Each client has its own back.
    ///
    /// # Errors
    ///
    /// A connection has ended.
    pub fn hear(&mut self) -> Outcome<()> {
        self.clients.iter_mut().try_for_each(|client| Ok(client.read_exact(&mut [0])?))
    }
}
