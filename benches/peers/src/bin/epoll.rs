//! epoll by hand: what an echo server costs on readiness with nothing around it. A poller on each of N threads, level-triggered: the
//! receive is tried when it is told, the answer is sent at once.
//!
//! It is the limit that the others are measured against, and no example to follow: a connection lives in its thread, and a handler
//! that blocks strands all that are there.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
};

use completion_port_peers::{Outcome, Server, Stall};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use slab::Slab;

/// What epoll tells of the listener; connections come behind it.
const LISTENER: u64 = 0;

struct Connection {
    stream: TcpStream,
    /// What could not be sent at once.
    rest: Vec<u8>,
}

fn main() -> Outcome {
    let (server, stall) = Server::of_process("epoll by hand")?;
    let buffer = server.buffer();
    server.share(move |listener| serve(&listener, stall, buffer))?;
    let threads = server.threads();
    server.run(format_args!("{threads} pollers, level-triggered"), stall)
}

fn serve(listener: &TcpListener, stall: &Stall, buffer: usize) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let poller = epoll::create(CreateFlags::CLOEXEC)?;
    let of_listener = EventData::new_u64(LISTENER);
    epoll::add(&poller, listener, of_listener, EventFlags::IN | EventFlags::EXCLUSIVE)?;
    let mut connections = Slab::<Connection>::new();
    let mut buffer = vec![0; buffer];
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        match epoll::wait(&poller, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let (data, flags) = (event.data, event.flags);
            if data.u64() == LISTENER {
                if let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    // A client that has gone already refuses the option; its receive says so.
                    let _ = stream.set_nodelay(true);
                    let entry = connections.vacant_entry();
                    let number = EventData::new_u64(entry.key() as u64 + 1);
                    epoll::add(&poller, &stream, number, EventFlags::IN)?;
                    entry.insert(Connection { stream, rest: Vec::new() });
                }
                continue;
            }
            let number = data.u64() as usize - 1;
            let connection = &mut connections[number];
            let before = connection.rest.is_empty();
            let open = if flags.contains(EventFlags::OUT) {
                connection.send_rest()
            } else {
                connection.echo(&mut buffer, stall)
            };
            match open {
                Ok(true) => {
                    let after = connection.rest.is_empty();
                    if before != after {
                        let wanted = if after { EventFlags::IN } else { EventFlags::OUT };
                        epoll::modify(&poller, &connection.stream, data, wanted)?;
                    }
                }
                Ok(false) | Err(_) => drop(connections.remove(number)),
            }
        }
    }
}

impl Connection {
    /// False at the end of the stream.
    fn echo(&mut self, buffer: &mut [u8], stall: &Stall) -> io::Result<bool> {
        let count = match self.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        stall.on(&buffer[..count]);
        let sent = self.send(&buffer[..count])?;
        self.rest.extend_from_slice(&buffer[sent..count]);
        Ok(true)
    }

    fn send_rest(&mut self) -> io::Result<bool> {
        let rest = std::mem::take(&mut self.rest);
        let sent = self.send(&rest)?;
        self.rest.extend_from_slice(&rest[sent..]);
        Ok(true)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }
}
