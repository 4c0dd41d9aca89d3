//! The filter: standard input goes out, what comes back goes to standard output, both at once and in bounded memory.
//!
//! Three threads: one reads the input and queues sends, one takes packets from the port, one writes the output. Each waits when
//! the next one is behind, so a slow reader of the output slows the input, and no file is too large.

use std::{
    io::{self, Read, Write},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
};

use completion_port::Buffer;

use super::{
    Handle, Port, Step,
    compare::{Comparison, Received},
    connect::failed,
    lost,
};
use crate::{
    error::{Failure, plain},
    sys::terminal,
};

/// Bytes that go out or come in at a time.
const PIECE: usize = 128 * 1024;
/// Sends that are queued at once: while one leaves, the next are ready.
const SENDS: usize = 4;
/// Pieces that wait to be written.
const UNWRITTEN: usize = 4;

/// Sends and receives until both streams have ended.
pub fn run(port: &Port, server: Handle) -> Result<(), Failure> {
    let comparison = Arc::new(Comparison::default());
    let free = start_input(server.clone(), Arc::clone(&comparison))?;
    let mut output = Output::start(server.clone(), Arc::clone(&comparison))?;
    let mut input_ended = false;
    let mut cannot_send = None;
    receive(&server, Buffer::with_capacity(PIECE))?;
    loop {
        let done = port.get().map_err(|error| lost(&failed(error), "at the port"))?;
        match (done.context, done.result) {
            (Step::Send, Ok(_)) => {
                let mut buffer = done.buffer;
                buffer.clear();
                // The input may have ended, then nobody needs it.
                let _ = free.send(buffer);
            }
            // The receive will say how the connection ended, and what came back before.
            (Step::Send, Err(error)) => cannot_send = Some(error),
            (Step::Recv, Ok(0)) => break,
            (Step::Recv, Ok(_)) => {
                // The next receive starts before this piece is written.
                let next = output.spare();
                receive(&server, next)?;
                output.write(done.buffer);
            }
            (Step::Recv, Err(error)) => {
                let received = output.finish()?.bytes();
                let error = cannot_send.as_ref().unwrap_or(&error);
                return Err(lost(error, &format!("after {received} bytes had come back")));
            }
            (Step::InputEnded(Ok(())), _) => {
                input_ended = true;
                // It leaves behind what is queued. If it cannot, the receive says why.
                let _ = server.shutdown(std::net::Shutdown::Write);
            }
            (Step::InputEnded(Err(error)), _) => {
                return Err(Failure::runtime(format!(
                    "cannot read standard input: {}",
                    plain(&error)
                )));
            }
            (Step::OutputEnded, _) => return output.finish().map(drop),
            (Step::Connect, _) => {}
        }
    }
    let received = output.finish()?;
    if !input_ended && received.bytes() == comparison.sent_bytes() {
        return Err(Failure::runtime(format!(
            "the server closed the connection after {} bytes, before the end of the input",
            received.bytes()
        )));
    }
    received.finish(&comparison).map_err(Failure::runtime)
}

/// Waits for what comes back next.
fn receive(server: &Handle, buffer: Buffer) -> Result<(), Failure> {
    server
        .recv(buffer, Step::Recv)
        .map(drop)
        .map_err(|refused| lost(&refused.error, "when it was to be read"))
}

/// Starts the thread that reads the input. It gets its buffers from the sender that is returned.
fn start_input(server: Handle, comparison: Arc<Comparison>) -> Result<Sender<Buffer>, Failure> {
    let (free, buffers) = channel();
    for _ in 0..SENDS {
        // The receiving end is still here.
        let _ = free.send(Buffer::with_capacity(PIECE));
    }
    // Nobody waits for this thread: it may sit in a read for ever, and ends with the process.
    spawn("input", move || {
        let ended = read_input(&server, &buffers, &comparison);
        // If the port is closed, nobody wants to know.
        let _ = server.post(0, Step::InputEnded(ended));
    })?;
    Ok(free)
}

/// Reads the input to its end and queues it to be sent.
fn read_input(
    server: &Handle,
    buffers: &Receiver<Buffer>,
    comparison: &Comparison,
) -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut piece = vec![0; PIECE];
    loop {
        let count = match input.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // No buffer comes any more when the connection is gone, and then the other threads say so.
        let Ok(mut buffer) = buffers.recv() else { return Ok(()) };
        buffer.extend_from_slice(&piece[..count]);
        comparison.sending(&buffer);
        if server.send(buffer, Step::Send).is_err() {
            return Ok(());
        }
    }
}

/// The thread that compares and writes the output.
struct Output {
    /// What is to be written.
    full: Option<SyncSender<Buffer>>,
    /// Buffers that have been written.
    empty: Receiver<Buffer>,
    /// The thread; it returns what it has counted.
    thread: JoinHandle<Result<Received, Failure>>,
}

impl Output {
    /// Starts it. If it fails, it posts that it has ended.
    fn start(server: Handle, comparison: Arc<Comparison>) -> Result<Self, Failure> {
        let (full, pieces) = sync_channel(UNWRITTEN);
        let (written, empty) = channel();
        let thread = spawn("output", move || {
            let received = write_output(&pieces, &written, &comparison);
            if received.is_err() {
                // If the port is closed, the main thread is about to ask anyway.
                let _ = server.post(0, Step::OutputEnded);
            }
            received
        })?;
        Ok(Self { full: Some(full), empty, thread })
    }

    /// A buffer to receive into: one that has been written, or another. There are a few more than can wait to be written.
    fn spare(&self) -> Buffer {
        self.empty.try_recv().unwrap_or_else(|_| Buffer::with_capacity(PIECE))
    }

    /// Hands a piece over, and waits if too many are there.
    fn write(&mut self, buffer: Buffer) {
        if let Some(full) = &self.full {
            // If the thread has failed, the packet that says so is at the port.
            let _ = full.send(buffer);
        }
    }

    /// Waits until all is written, and tells what came of it.
    fn finish(mut self) -> Result<Received, Failure> {
        drop(self.full.take());
        self.thread
            .join()
            .map_err(|_| Failure::runtime("the thread that writes the output failed"))?
    }
}

/// Compares and writes each piece, until there are no more.
fn write_output(
    pieces: &Receiver<Buffer>,
    written: &Sender<Buffer>,
    comparison: &Comparison,
) -> Result<Received, Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(),
        _ => Failure::runtime(format!("cannot write to standard output: {}", plain(&error))),
    };
    let mut out = terminal::unbuffered().map_err(failed)?;
    let mut received = Received::default();
    for mut piece in pieces {
        received.check(comparison, &piece).map_err(Failure::runtime)?;
        // At once: a program may wait for the answer before it goes on with the question.
        out.write_all(&piece).and_then(|()| out.flush()).map_err(failed)?;
        piece.clear();
        // At the end nobody needs it.
        let _ = written.send(piece);
    }
    Ok(received)
}

/// Starts a thread.
fn spawn<R: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> R + Send + 'static,
) -> Result<JoinHandle<R>, Failure> {
    thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map_err(|error| Failure::runtime(format!("cannot start a thread: {}", plain(&error))))
}
