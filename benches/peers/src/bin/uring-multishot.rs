//! io_uring by hand, the other way: one receive for as long as a connection lives, which takes a buffer of the ring's whenever something
//! comes. A ring on each of N threads; sends of one shot, handed over in batches. `uring` is the way without.
//!
//! Like `uring` it is the limit that the others are measured against, and no example to follow.

use std::{
    collections::VecDeque,
    io,
    net::TcpListener,
    os::fd::{AsRawFd, OwnedFd},
};

use completion_port_peers::{
    Outcome, Server, Stall,
    buffers::{Buffers, COUNT, GROUP},
    uring::{self, ACCEPT, ENTRIES},
};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::{
    io::Errno,
    net::{Shutdown, shutdown},
};
use slab::Slab;

/// The kinds of `user_data`, in its lowest bit; the connection's number, from 1, is above. The accept is 0.
const RECEIVE: u64 = 0;
const SEND: u64 = 1;

struct Connection {
    fd: OwnedFd,
    /// What was received and is to be sent, in this order. A send is under way for the first.
    chunks: VecDeque<Chunk>,
    /// How much of the first has been sent.
    sent: usize,
    /// No receive is under way, nor will be.
    ended: bool,
    /// A send has failed: what comes is thrown away.
    failed: bool,
}

/// A part of the stream, in a buffer of the ring.
struct Chunk {
    buffer: u16,
    length: usize,
}

fn main() -> Outcome {
    let (server, stall) = Server::of_process("io_uring by hand")?;
    let size = server.buffer();
    let probe = ring()?;
    Buffers::new(&probe, COUNT, size, 0)?; // whether both can be had at all
    drop(probe);
    server.share(move |listener| Loop::new(stall, size)?.serve(&listener))?;
    let (threads, count) = (server.threads(), COUNT);
    let settings = format!(
        "{threads} rings, single_issuer and defer_taskrun, multishot receives with {count} provided buffers each"
    );
    server.run(settings, stall)
}

fn ring() -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(16 * ENTRIES)
        .build(ENTRIES)
}

struct Loop<'a> {
    ring: IoUring,
    buffers: Buffers,
    connections: Slab<Connection>,
    /// Connections whose receive has ended for want of a buffer.
    starved: VecDeque<usize>,
    stall: &'a Stall,
}

impl<'a> Loop<'a> {
    fn new(stall: &'a Stall, buffer: usize) -> io::Result<Self> {
        let ring = ring()?;
        let buffers = Buffers::new(&ring, COUNT, buffer, 0)?;
        Ok(Self { ring, buffers, connections: Slab::new(), starved: VecDeque::new(), stall })
    }

    fn serve(&mut self, listener: &TcpListener) -> io::Result<()> {
        self.push(&uring::accept(listener))?;
        let mut done: Vec<cqueue::Entry> = Vec::new();
        loop {
            self.ring.submit_and_wait(1)?;
            done.extend(self.ring.completion());
            for entry in done.drain(..) {
                if entry.user_data() == ACCEPT {
                    if let Some(fd) = uring::accepted(&entry) {
                        let chunks = VecDeque::new();
                        let connection =
                            Connection { fd, chunks, sent: 0, ended: false, failed: false };
                        let number = self.connections.insert(connection);
                        self.receive(number)?;
                    }
                    self.push(&uring::accept(listener))?;
                    continue;
                }
                let number = (entry.user_data() >> 1) as usize - 1;
                if entry.user_data() & 1 == RECEIVE {
                    self.received(number, &entry)?;
                } else {
                    self.was_sent(number, entry.result())?;
                }
                let connection = &self.connections[number];
                if connection.ended && connection.chunks.is_empty() {
                    self.connections.remove(number);
                }
            }
            // The buffers that are missing lie with sends under way, each of which comes by here when it is over.
            while self.buffers.any()
                && let Some(number) = self.starved.pop_front()
            {
                self.receive(number)?;
            }
        }
    }

    /// Something came, or the end did, or there was no buffer.
    fn received(&mut self, number: usize, entry: &cqueue::Entry) -> io::Result<()> {
        let connection = &mut self.connections[number];
        let result = entry.result();
        if let Some(buffer) = cqueue::buffer_select(entry.flags()) {
            self.buffers.take();
            if result > 0 && !connection.failed {
                let length = result as usize;
                self.stall.on(self.buffers.bytes(buffer, 0, length));
                connection.chunks.push_back(Chunk { buffer, length });
                if connection.chunks.len() == 1 {
                    self.send(number)?;
                }
            } else {
                self.buffers.give_back(buffer);
            }
        }
        if cqueue::more(entry.flags()) {
            return Ok(());
        }
        if result > 0 {
            self.receive(number)?; // the kernel ends one now and then, when its completion queue is full
        } else if result == -Errno::NOBUFS.raw_os_error() {
            self.starved.push_back(number);
        } else {
            self.connections[number].ended = true;
        }
        Ok(())
    }

    /// A send is over.
    fn was_sent(&mut self, number: usize, result: i32) -> io::Result<()> {
        let connection = &mut self.connections[number];
        if result <= 0 {
            connection.failed = true;
            connection.chunks.drain(..).for_each(|chunk| self.buffers.give_back(chunk.buffer));
            // The receive ends, and with it the connection. One that has ended already refuses.
            let _ = shutdown(&connection.fd, Shutdown::Both);
            return Ok(());
        }
        connection.sent += result as usize;
        if connection.chunks.front().is_some_and(|chunk| chunk.length == connection.sent)
            && let Some(chunk) = connection.chunks.pop_front()
        {
            self.buffers.give_back(chunk.buffer);
            connection.sent = 0;
        }
        self.send(number)
    }

    /// Starts the receive of a connection.
    fn receive(&mut self, number: usize) -> io::Result<()> {
        let fd = types::Fd(self.connections[number].fd.as_raw_fd());
        let request = opcode::RecvMulti::new(fd, GROUP).build();
        self.push(&request.user_data((number as u64 + 1) << 1 | RECEIVE))
    }

    /// Starts the next send of a connection, if there is something to send.
    fn send(&mut self, number: usize) -> io::Result<()> {
        let connection = &self.connections[number];
        let Some(chunk) = connection.chunks.front() else { return Ok(()) };
        let rest = &self.buffers.bytes(chunk.buffer, 0, chunk.length)[connection.sent..];
        let request = uring::send(&connection.fd, rest);
        self.push(&request.user_data((number as u64 + 1) << 1 | SEND))
    }

    fn push(&mut self, request: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the memory of a send is a buffer that is given back only by the send's completion; the others name none. The
        // buffers live as long as the process.
        unsafe { uring::push(&mut self.ring, request) }
    }
}
