//! The smallest operation that goes to the kernel and comes back. The library refuses an empty send, so it is one byte.

use std::net::{TcpListener, TcpStream};

use completion_port::{Buffer, DriverKind, Handle};

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
        let from = TcpStream::connect(listener.local_addr()?)?;
        from.set_nodelay(true)?;
        let (to, _) = listener.accept()?;
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

    /// Takes the packet of the one operation that there is: it moved one byte.
    fn finish(&self) -> Outcome<Buffer> {
        let done = self.port.get()?;
        match done.result? {
            1 => Ok(done.buffer),
            bytes => Err(format!("{bytes} bytes were moved, not 1").into()),
        }
    }
}
