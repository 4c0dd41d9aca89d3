//! io_uring by hand: what an echo server costs with nothing around it. A ring on each of N threads; receives and sends of one shot, handed
//! over in batches. `uring-multishot` is the other way to write it.
//!
//! It is the limit that the others are measured against, and no example to follow: a connection lives in its thread, and a handler
//! that blocks strands all that are there.

use std::{
    io,
    net::TcpListener,
    os::fd::{AsRawFd, OwnedFd},
};

use completion_port_peers::{
    Outcome, Server, Stall,
    uring::{self, ACCEPT, ENTRIES},
};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use slab::Slab;

struct Connection {
    fd: OwnedFd,
    buffer: Box<[u8]>,
    /// What was received, and how much of it has been sent back. Both 0: a receive is under way.
    length: usize,
    sent: usize,
}

fn main() -> Outcome {
    let (server, stall) = Server::of_process("io_uring by hand")?;
    drop(ring()?); // whether it can be had at all
    let buffer = server.buffer();
    server.share(move |listener| serve(&listener, stall, buffer))?;
    let threads = server.threads();
    server.run(format_args!("{threads} rings, coop_taskrun, one shot"), stall)
}

fn ring() -> io::Result<IoUring> {
    IoUring::builder().setup_coop_taskrun().setup_cqsize(16 * ENTRIES).build(ENTRIES)
}

fn serve(listener: &TcpListener, stall: &Stall, buffer: usize) -> io::Result<()> {
    let mut ring = ring()?;
    let mut connections = Slab::<Connection>::new();
    push(&mut ring, &uring::accept(listener))?;
    let mut done: Vec<cqueue::Entry> = Vec::new();
    loop {
        ring.submit_and_wait(1)?;
        done.extend(ring.completion());
        for entry in done.drain(..) {
            if entry.user_data() == ACCEPT {
                if let Some(fd) = uring::accepted(&entry) {
                    let buffer = vec![0; buffer].into();
                    let place = connections.vacant_entry();
                    let number = place.key();
                    let connection = place.insert(Connection { fd, buffer, length: 0, sent: 0 });
                    let request = request(number, connection);
                    push(&mut ring, &request)?;
                }
                push(&mut ring, &uring::accept(listener))?;
                continue;
            }
            // Connections come behind the accept.
            let number = entry.user_data() as usize - 1;
            let connection = &mut connections[number];
            let result = entry.result();
            if result <= 0 {
                connections.remove(number);
                continue;
            }
            if connection.length == 0 {
                connection.length = result as usize;
                stall.on(&connection.buffer[..connection.length]);
            } else {
                connection.sent += result as usize;
                if connection.sent == connection.length {
                    (connection.length, connection.sent) = (0, 0);
                }
            }
            let request = request(number, connection);
            push(&mut ring, &request)?;
        }
    }
}

/// What a connection waits for next: that all is sent, or that something comes.
fn request(number: usize, connection: &mut Connection) -> squeue::Entry {
    let entry = if connection.length == 0 {
        let (buffer, length) = (connection.buffer.as_mut_ptr(), connection.buffer.len() as u32);
        opcode::Recv::new(types::Fd(connection.fd.as_raw_fd()), buffer, length).build()
    } else {
        uring::send(&connection.fd, &connection.buffer[connection.sent..connection.length])
    };
    entry.user_data(number as u64 + 1)
}

fn push(ring: &mut IoUring, request: &squeue::Entry) -> io::Result<()> {
    // SAFETY: the buffer is its connection's own, on the heap, and stays until the completion: a connection is removed by its only
    // request's completion.
    unsafe { uring::push(ring, request) }
}
