//! io_uring by hand, with one more of the kernel's offers or one less: whether it pays is the difference to `base`.
//!
//! The environment variable `VARIANT` has the words that make it one, joined by `+`. `base`, and what is not said otherwise, is the loop of
//! `uring`: `COOP_TASKRUN`, receives and sends of one shot, a buffer of its own for each connection.
//!
//! | word | what |
//! | --- | --- |
//! | `base` | nothing |
//! | `no-coop` | without `COOP_TASKRUN` |
//! | `defer` | `SINGLE_ISSUER` and `DEFER_TASKRUN` instead |
//! | `ring-fd` | the ring's descriptor is registered (`IORING_REGISTER_RING_FDS`) |
//! | `direct` | connections are accepted into a table of the ring's, and have no descriptor |
//! | `poll-first` | a receive waits before it tries (`IORING_RECVSEND_POLL_FIRST`) |
//! | `lent` | a receive takes a buffer of the ring's when something comes |
//! | `multishot` | `lent`, and one receive for as long as the connection lives |
//! | `incremental` | with `lent` or `multishot`: buffers 16 times as large, which the kernel uses piece by piece |
//! | `send-now` | a send is a system call, at once; what is not taken goes by the ring |
//! | `send-zc` | sends do not copy; a buffer is used again when the kernel says that it has done with it |
//! | `whole` | a receive waits until its buffer is full (`MSG_WAITALL`): for messages of that size |

use std::{
    collections::VecDeque,
    env, io,
    net::TcpListener,
    os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd},
};

use completion_port_peers::{
    Outcome, Server, Stall,
    buffers::{Buffers, COUNT, GROUP},
    uring::{self, ACCEPT, ENTRIES},
};
use io_uring::{
    CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue, types,
};
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags},
};
use slab::Slab;
use socket2::SockRef;

/// The kinds of `user_data`, in its lowest bits; the connection's number, from 1, is above. The accept is 0.
const RECEIVE: u64 = 0;
const SEND: u64 = 1;
const CLOSE: u64 = 2;
const KINDS: u32 = 2;

/// `IORING_RECVSEND_POLL_FIRST`
const POLL_FIRST: u16 = 1;
/// `IOU_PBUF_RING_INC`
const INCREMENTAL: u16 = 2;
/// How many buffers of other variants one has that is used piece by piece.
const PIECES: u16 = 16;
/// Connections in a ring's own table.
const DIRECT: u32 = 16_384;

const WORDS: [&str; 12] = [
    "base",
    "no-coop",
    "defer",
    "ring-fd",
    "direct",
    "poll-first",
    "lent",
    "multishot",
    "incremental",
    "send-now",
    "send-zc",
    "whole",
];

#[derive(Clone, Copy)]
struct Variant {
    coop: bool,
    defer: bool,
    ring_fd: bool,
    direct: bool,
    poll_first: bool,
    lent: bool,
    multishot: bool,
    incremental: bool,
    send_now: bool,
    send_zc: bool,
    whole: bool,
}

impl Variant {
    fn of(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split('+').collect();
        if let Some(unknown) = words.iter().find(|word| !WORDS.contains(word)) {
            return Err(format!("VARIANT {text}: {unknown} is none of {}", WORDS.join(", ")));
        }
        let has = |word| words.contains(&word);
        Ok(Self {
            coop: !has("no-coop") && !has("defer"),
            defer: has("defer"),
            ring_fd: has("ring-fd"),
            direct: has("direct"),
            poll_first: has("poll-first"),
            lent: has("lent") || has("multishot"),
            multishot: has("multishot"),
            incremental: has("incremental"),
            send_now: has("send-now"),
            send_zc: has("send-zc"),
            whole: has("whole"),
        })
    }

    fn ring(self) -> io::Result<IoUring> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(16 * ENTRIES);
        if self.coop {
            builder.setup_coop_taskrun();
        }
        if self.defer {
            builder.setup_single_issuer().setup_defer_taskrun();
        }
        builder.build(ENTRIES)
    }

    /// The buffers that the ring lends.
    fn buffers(self, ring: &IoUring, size: usize) -> io::Result<Option<Buffers>> {
        let buffers = match (self.lent, self.incremental) {
            (false, _) => return Ok(None),
            (true, false) => Buffers::new(ring, COUNT, size, 0),
            (true, true) => {
                Buffers::new(ring, COUNT / PIECES, usize::from(PIECES) * size, INCREMENTAL)
            }
        };
        buffers.map(Some)
    }
}

struct Connection {
    /// A descriptor, or a place in the ring's table.
    fd: RawFd,
    own: Box<[u8]>,
    /// What was received and is to be sent, in this order. A send is under way for the first.
    chunks: VecDeque<Chunk>,
    /// How much of the first has been sent.
    sent: usize,
    /// What a send has brought whose memory the kernel still uses.
    brought: i32,
    /// No receive is under way, nor will be.
    ended: bool,
}

/// A part of the stream: in a buffer of the ring, or at the beginning of the connection's own.
struct Chunk {
    lent: Option<(u16, usize)>,
    length: usize,
}

/// How far a buffer of the ring has been used, and for how many chunks that are still to be sent.
#[derive(Clone, Copy, Default)]
struct Use {
    filled: usize,
    chunks: usize,
    /// The kernel puts no more into it.
    full: bool,
}

fn main() -> Outcome {
    let text = env::var("VARIANT").unwrap_or_else(|_| "base".into());
    let variant = Variant::of(&text)?;
    let (server, stall) = Server::of_process("io_uring by hand")?;
    let size = server.buffer();
    variant.buffers(&variant.ring()?, size)?; // whether both can be had at all
    server.share(move |listener| Loop::new(variant, stall, size)?.serve(&listener))?;
    server.run(text, stall)
}

struct Loop<'a> {
    variant: Variant,
    /// It knows the registered descriptor, so there must be one and no other.
    submitter: Submitter<'static>,
    submissions: SubmissionQueue<'static>,
    completions: CompletionQueue<'static>,
    buffers: Option<Buffers>,
    uses: Vec<Use>,
    connections: Slab<Connection>,
    /// Connections whose receive has ended for want of a buffer.
    starved: VecDeque<usize>,
    size: usize,
    stall: &'a Stall,
}

impl<'a> Loop<'a> {
    fn new(variant: Variant, stall: &'a Stall, size: usize) -> io::Result<Self> {
        // A thread serves as long as the process lives.
        let ring = Box::leak(Box::new(variant.ring()?));
        let buffers = variant.buffers(ring, size)?;
        let (submitter, submissions, completions) = ring.split();
        if variant.direct {
            submitter.register_files_sparse(DIRECT)?;
        }
        let uses = vec![Use::default(); usize::from(COUNT)];
        Ok(Self {
            variant,
            submitter,
            submissions,
            completions,
            buffers,
            uses,
            connections: Slab::new(),
            starved: VecDeque::new(),
            size,
            stall,
        })
    }

    fn serve(&mut self, listener: &TcpListener) -> io::Result<()> {
        // What is accepted inherits it, and has no descriptor to set it by.
        SockRef::from(listener).set_tcp_nodelay(true)?;
        if self.variant.ring_fd {
            // By the thread that uses it.
            self.submitter.register_ring_fd()?;
        }
        self.accept(listener)?;
        let mut done: Vec<cqueue::Entry> = Vec::new();
        loop {
            self.submissions.sync();
            self.submitter.submit_and_wait(1)?;
            self.submissions.sync();
            self.completions.sync();
            done.extend(&mut self.completions);
            self.completions.sync();
            for entry in done.drain(..) {
                if entry.user_data() == ACCEPT {
                    self.accepted(&entry)?;
                    self.accept(listener)?;
                    continue;
                }
                let number = (entry.user_data() >> KINDS) as usize - 1;
                match entry.user_data() & ((1 << KINDS) - 1) {
                    RECEIVE => self.received(number, &entry)?,
                    SEND => self.was_sent(number, &entry)?,
                    _ => continue,
                }
                let connection = &self.connections[number];
                if connection.ended && connection.chunks.is_empty() {
                    self.close(number)?;
                }
            }
            // The buffers that are missing lie with sends under way, each of which comes by here when it is over.
            while self.buffers.as_ref().is_some_and(Buffers::any)
                && let Some(number) = self.starved.pop_front()
            {
                self.receive(number)?;
            }
        }
    }

    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        let request = if self.variant.direct {
            let fd = types::Fd(listener.as_raw_fd());
            opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut())
                .file_index(Some(types::DestinationSlot::auto_target()))
                .build()
                .user_data(ACCEPT)
        } else {
            uring::accept(listener)
        };
        self.push(&request)
    }

    fn accepted(&mut self, entry: &cqueue::Entry) -> io::Result<()> {
        let fd = if self.variant.direct {
            Some(entry.result()).filter(|place| *place >= 0)
        } else {
            uring::accepted(entry).map(IntoRawFd::into_raw_fd)
        };
        let Some(fd) = fd else { return Ok(()) };
        let own = vec![0; if self.variant.lent { 0 } else { self.size }].into();
        let chunks = VecDeque::new();
        let connection = Connection { fd, own, chunks, sent: 0, brought: 0, ended: false };
        let number = self.connections.insert(connection);
        self.receive(number)
    }

    /// Something came, or the end did, or there was no buffer.
    fn received(&mut self, number: usize, entry: &cqueue::Entry) -> io::Result<()> {
        let result = entry.result();
        let lent = cqueue::buffer_select(entry.flags());
        if result > 0 {
            let length = result as usize;
            let lent = lent.map(|buffer| {
                let place = &mut self.uses[usize::from(buffer)];
                let from = place.filled;
                place.filled += length;
                place.chunks += 1;
                place.full = !self.variant.incremental || !cqueue::buffer_more(entry.flags());
                if place.full {
                    self.buffers.as_mut().into_iter().for_each(Buffers::take);
                }
                (buffer, from)
            });
            let connection = &mut self.connections[number];
            connection.chunks.push_back(Chunk { lent, length });
            let first = connection.chunks.len() == 1;
            self.stall.on(self.bytes(number));
            if first {
                self.send(number)?;
            }
        } else if result == -Errno::NOBUFS.raw_os_error() {
            self.starved.push_back(number);
        } else {
            self.connections[number].ended = true;
        }
        if self.variant.multishot && result > 0 && !cqueue::more(entry.flags()) {
            self.receive(number)?; // the kernel ends one now and then, when its completion queue is full
        }
        Ok(())
    }

    /// A send is over, or the kernel has done with its memory.
    fn was_sent(&mut self, number: usize, entry: &cqueue::Entry) -> io::Result<()> {
        let connection = &mut self.connections[number];
        if cqueue::more(entry.flags()) {
            connection.brought = entry.result();
            return Ok(());
        }
        let notified = cqueue::notif(entry.flags());
        let result = if notified { connection.brought } else { entry.result() };
        self.sent(number, result)
    }

    /// So much of the first chunk has been sent. A connection that fails is one that has ended.
    fn sent(&mut self, number: usize, result: i32) -> io::Result<()> {
        let connection = &mut self.connections[number];
        if result > 0 {
            connection.sent += result as usize;
            if connection.sent < connection.chunks[0].length {
                return self.send(number);
            }
        }
        connection.sent = 0;
        while let Some(chunk) = connection.chunks.pop_front() {
            if let Some((buffer, _)) = chunk.lent {
                let place = &mut self.uses[usize::from(buffer)];
                place.chunks -= 1;
                if place.full && place.chunks == 0 {
                    *place = Use::default();
                    self.buffers.as_mut().into_iter().for_each(|all| all.give_back(buffer));
                }
            }
            if result > 0 {
                break;
            }
        }
        if !connection.chunks.is_empty() {
            self.send(number)
        } else if self.variant.multishot || connection.ended {
            Ok(()) // one that has failed ends with its receive
        } else {
            self.receive(number)
        }
    }

    /// Starts the receive of a connection.
    fn receive(&mut self, number: usize) -> io::Result<()> {
        let variant = self.variant;
        let connection = &mut self.connections[number];
        let fd = types::Fd(connection.fd);
        let (own, length) = (connection.own.as_mut_ptr(), connection.own.len() as u32);
        let ioprio = if variant.poll_first { POLL_FIRST } else { 0 };
        let flags = if variant.whole { RecvFlags::WAITALL.bits() as i32 } else { 0 };
        let request = if variant.multishot {
            opcode::RecvMulti::new(fd, GROUP).build()
        } else if variant.lent {
            let request = opcode::Recv::new(fd, std::ptr::null_mut(), 0).buf_group(GROUP);
            request.ioprio(ioprio).build().flags(squeue::Flags::BUFFER_SELECT)
        } else {
            opcode::Recv::new(fd, own, length).ioprio(ioprio).flags(flags).build()
        };
        self.start(number, RECEIVE, request)
    }

    /// Starts the send of a connection's first chunk.
    fn send(&mut self, number: usize) -> io::Result<()> {
        let connection = &self.connections[number];
        let fd = connection.fd;
        let rest = &self.bytes(number)[connection.sent..];
        let (bytes, length) = (rest.as_ptr(), rest.len() as u32);
        let flags = SendFlags::NOSIGNAL;
        if self.variant.send_now {
            // SAFETY: open until the connection is closed.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            if let Ok(count) = rustix::net::send(fd, rest, flags | SendFlags::DONTWAIT) {
                return self.sent(number, count as i32);
            }
        }
        let (fd, flags) = (types::Fd(fd), flags.bits() as i32);
        let request = if self.variant.send_zc {
            opcode::SendZc::new(fd, bytes, length).flags(flags).build()
        } else {
            opcode::Send::new(fd, bytes, length).flags(flags).build()
        };
        self.start(number, SEND, request)
    }

    /// The first chunk.
    fn bytes(&self, number: usize) -> &[u8] {
        let connection = &self.connections[number];
        let chunk = &connection.chunks[0];
        match (chunk.lent, &self.buffers) {
            (Some((buffer, from)), Some(all)) => all.bytes(buffer, from, chunk.length),
            _ => &connection.own[..chunk.length],
        }
    }

    fn close(&mut self, number: usize) -> io::Result<()> {
        let fd = self.connections.remove(number).fd;
        let request = if self.variant.direct {
            opcode::Close::new(types::Fixed(fd as u32)).build()
        } else {
            opcode::Close::new(types::Fd(fd)).build()
        };
        self.push(&request.user_data((number as u64 + 1) << KINDS | CLOSE))
    }

    fn start(&mut self, number: usize, kind: u64, request: squeue::Entry) -> io::Result<()> {
        let request = request.user_data((number as u64 + 1) << KINDS | kind);
        let in_table = squeue::Flags::FIXED_FILE;
        self.push(&if self.variant.direct { request.flags(in_table) } else { request })
    }

    fn push(&mut self, request: &squeue::Entry) -> io::Result<()> {
        // SAFETY: what a request names is its connection's own buffer, which stays until no request is under way, or one of the ring's,
        // which is given back only when no send of it is.
        while unsafe { self.submissions.push(request) }.is_err() {
            self.submissions.sync();
            self.submitter.submit()?;
            self.submissions.sync();
        }
        Ok(())
    }
}
