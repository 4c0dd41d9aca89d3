//! The IOCP echo server: the main thread accepts, as many workers as CPUs, per-handle and per-I/O data, end of stream closes.
//!
//! `cargo run -p completion-port --example iocp_echo_server [ADDRESS]`
//!
//! Comments name the Win32 call that a line stands for.

use std::{
    env, io,
    net::{SocketAddr, TcpListener},
    thread,
};

use completion_port::{Buffer, Completion, CompletionPort};

/// Per-handle data, the completion key: PER_HANDLE_DATA of the notes. The socket itself is the handle's.
struct Client {
    peer: SocketAddr,
}

/// Per-I/O data, what an operation was started for: `rwMode` of PER_IO_DATA. Buffer and OVERLAPPED are the operation's.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Read,
    Write,
}

#[allow(dead_code, reason = "the test of this example starts it by `serve`")]
fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9190".to_owned());
    serve(TcpListener::bind(address)?) // WSASocket, bind, listen
}

pub fn serve(listener: TcpListener) -> io::Result<()> {
    let port = CompletionPort::new()?; // CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0)
    println!("listening on {}, driver {}", listener.local_addr()?, port.driver());
    thread::scope(|s| {
        let _close = port.close_on_drop(); // an error below releases the workers
        for _ in 0..port.concurrency() {
            s.spawn(|| echo(&port)); // GetSystemInfo, _beginthreadex
        }
        for stream in listener.incoming() {
            let stream = stream?; // accept
            let peer = stream.peer_addr()?;
            let client = port.associate(stream, Client { peer })?; // CreateIoCompletionPort(hClntSock, hComPort, handleInfo, 0)
            client.recv(Buffer::with_capacity(1024), Mode::Read)?; // WSARecv(hClntSock, &wsaBuf, 1, ..., &overlapped, NULL)
        }
        Ok(())
    })
}

fn echo(port: &CompletionPort<Client, Mode>) {
    // GetQueuedCompletionStatus(hComPort, &bytesTrans, &handleInfo, &ioInfo, INFINITE)
    while let Ok(Completion { handle, result, mut buffer, context, .. }) = port.get() {
        let started = match (context, result) {
            (Mode::Read, Ok(0)) => {
                println!("{}: end of stream", handle.key().peer);
                continue; // closesocket, free: nothing more is started, so the last handle drops
            }
            (mode, Err(e)) => {
                println!("{}: {mode:?} failed: {e}", handle.key().peer);
                continue;
            }
            (Mode::Read, Ok(_)) => handle.send(buffer, Mode::Write), // WSASend
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
