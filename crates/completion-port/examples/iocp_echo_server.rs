//! The IOCP echo server: the main thread accepts, as many workers as CPUs, per-handle and per-I/O data, end of stream closes.
//!
//! `cargo run -p completion-port --example iocp_echo_server [ADDRESS]`

use std::{
    env, io,
    net::{SocketAddr, TcpListener},
    thread,
};

use completion_port::{Buffer, Completion, CompletionPort};

/// Per-handle data: the completion key.
struct Client {
    peer: SocketAddr,
}

/// Per-I/O data: what an operation was started for.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Read,
    Write,
}

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9190".to_owned());
    let port = CompletionPort::new()?;
    let listener = TcpListener::bind(&address)?;
    println!("listening on {}, driver {}", listener.local_addr()?, port.driver());

    thread::scope(|s| {
        let _close = port.close_on_drop();
        for _ in 0..port.concurrency() {
            s.spawn(|| echo(&port));
        }
        for stream in listener.incoming() {
            let stream = stream?;
            let peer = stream.peer_addr()?;
            let client = port.associate(stream, Client { peer })?;
            client.recv(Buffer::with_capacity(1024), Mode::Read)?;
        }
        Ok(())
    })
}

fn echo(port: &CompletionPort<Client, Mode>) {
    while let Ok(Completion { handle, result, mut buffer, context, .. }) = port.get() {
        let started = match (context, result) {
            (Mode::Read, Ok(0)) => {
                println!("{}: end of stream", handle.key().peer);
                continue; // nothing more is started: the last handle drops, the socket closes
            }
            (mode, Err(e)) => {
                println!("{}: {mode:?} failed: {e}", handle.key().peer);
                continue;
            }
            (Mode::Read, Ok(_)) => handle.send(buffer, Mode::Write),
            // The notes start the next receive beside the send: fine for order, but a slow reader then queues without bound.
            (Mode::Write, Ok(_)) => {
                buffer.clear();
                handle.recv(buffer, Mode::Read)
            }
        };
        if let Err(refused) = started {
            println!("{}: {refused}", handle.key().peer);
        }
    }
}
