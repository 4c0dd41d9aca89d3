//! io_uring by hand: what an echo server costs with nothing around it. A ring on each of N threads; receives and sends of one shot, handed
//! over in batches.
//!
//! It is the limit that the others are measured against, and no example to follow: a connection lives in its thread, and a handler
//! that blocks strands all that are there.

use std::{
    io,
    net::TcpStream,
    os::fd::{AsRawFd, OwnedFd},
};

use completion_port_peers::{BUFFER, Outcome, Server, Stall};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use slab::Slab;
use socket2::SockRef;

/// Submissions in the ring; those beyond are handed over first.
const ENTRIES: u32 = 1024;
/// `user_data` of the accept; connections come behind it.
const ACCEPT: u64 = 0;

struct Connection {
    fd: OwnedFd,
    buffer: Box<[u8; BUFFER]>,
    /// What was received, and how much of it has been sent back. Both 0: a receive is under way.
    length: usize,
    sent: usize,
}

fn main() -> Outcome {
    let (server, stall) = Server::of_process("io_uring by hand")?;
    drop(ring()?); // whether it can be had at all
    for at in 0..server.threads() {
        let listener = server.listener()?;
        std::thread::Builder::new().name(format!("serve-{at}")).spawn(move || {
            if let Err(error) = serve(&listener.into(), stall) {
                completion_port_peers::fail(&error);
            }
        })?;
    }
    let threads = server.threads();
    server.run(format_args!("{threads} rings, coop_taskrun, one shot"), stall)
}

fn ring() -> io::Result<IoUring> {
    IoUring::builder().setup_coop_taskrun().setup_cqsize(16 * ENTRIES).build(ENTRIES)
}

fn serve(listener: &OwnedFd, stall: &Stall) -> io::Result<()> {
    let mut ring = ring()?;
    let mut connections = Slab::<Connection>::new();
    let accept = opcode::Accept::new(
        types::Fd(listener.as_raw_fd()),
        std::ptr::null_mut(),
        std::ptr::null_mut(),
    )
    .build()
    .user_data(ACCEPT);
    push(&mut ring, &accept)?;
    let mut done: Vec<cqueue::Entry> = Vec::new();
    loop {
        ring.submit_and_wait(1)?;
        done.extend(ring.completion());
        for entry in done.drain(..) {
            let result = entry.result();
            if entry.user_data() == ACCEPT {
                if result >= 0 {
                    // SAFETY: a descriptor that the kernel has just made for this request, and nobody else's.
                    let fd = unsafe { std::os::fd::FromRawFd::from_raw_fd(result) };
                    admit(&mut ring, &mut connections, fd)?;
                }
                push(&mut ring, &accept)?;
                continue;
            }
            let number = entry.user_data() as usize - 1;
            let connection = &mut connections[number];
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

fn admit(ring: &mut IoUring, connections: &mut Slab<Connection>, fd: OwnedFd) -> io::Result<()> {
    let stream = TcpStream::from(fd);
    // A client that has gone already refuses the option; its receive says so.
    let _ = SockRef::from(&stream).set_tcp_nodelay(true);
    let entry = connections.vacant_entry();
    let number = entry.key();
    let connection = entry.insert(Connection {
        fd: stream.into(),
        buffer: Box::new([0; BUFFER]),
        length: 0,
        sent: 0,
    });
    let request = request(number, connection);
    push(ring, &request)
}

/// What a connection waits for next: that all is sent, or that something comes.
fn request(number: usize, connection: &mut Connection) -> squeue::Entry {
    let fd = types::Fd(connection.fd.as_raw_fd());
    let entry = if connection.length == 0 {
        let buffer = connection.buffer.as_mut_ptr();
        opcode::Recv::new(fd, buffer, BUFFER as u32).build()
    } else {
        let rest = &connection.buffer[connection.sent..connection.length];
        opcode::Send::new(fd, rest.as_ptr(), rest.len() as u32)
            .flags(rustix::net::SendFlags::NOSIGNAL.bits() as i32)
            .build()
    };
    entry.user_data(number as u64 + 1)
}

fn push(ring: &mut IoUring, request: &squeue::Entry) -> io::Result<()> {
    // SAFETY: the buffer is its connection's own, on the heap, and stays until the completion: a connection is removed by its only
    // request's completion.
    while unsafe { ring.submission().push(request) }.is_err() {
        ring.submit()?;
    }
    Ok(())
}
