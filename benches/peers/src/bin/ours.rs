//! completion-port with its default settings: a port, and more workers in `get` than its limit, as `cport serve` has.

use std::{net::TcpStream, sync::Arc, thread};

use completion_port::{Completion, CompletionPort, Handle, Started};
use completion_port_peers::{Outcome, Server, Stall};

/// Workers beside the limit. They wait in `get` until another blocks.
const SPARE: usize = 30;

/// The completion key.
enum Key {
    Listener,
    Connection,
}

/// What an operation was started for.
enum Mode {
    Accept,
    Read,
    Write,
}

type Port = CompletionPort<Key, Mode>;

fn main() -> Outcome {
    let (server, stall) = Server::of_process("ours")?;
    let port: Port = match server.threads_asked() {
        None => CompletionPort::new()?,
        Some(limit) => CompletionPort::builder().limit(limit).build()?,
    };
    let port = Arc::new(port);
    let workers = port.concurrency() + SPARE;
    for at in 0..workers {
        let port = Arc::clone(&port);
        thread::Builder::new().name(format!("serve-{at}")).spawn(move || work(&port, stall))?;
    }
    let listener = port.associate(server.listener()?, Key::Listener)?;
    listener.accept_each(|| Mode::Accept)?;
    let settings =
        format!("limit {}, {workers} workers, driver {}", port.concurrency(), port.driver());
    server.run(settings, stall)
}

fn work(port: &Port, stall: &Stall) {
    while let Ok(mut done) = port.get() {
        match done.handle.key() {
            Key::Listener => {
                if let Some(stream) = done.accepted() {
                    admit(port, stream);
                }
                if done.last() {
                    eprintln!("accept: {:?}", done.result);
                }
            }
            Key::Connection => echo(done, stall),
        }
    }
}

fn admit(port: &Port, stream: TcpStream) {
    // A client that has gone already refuses the option; its receive says so.
    let _ = stream.set_nodelay(true);
    match port.associate(stream, Key::Connection) {
        Ok(handle) => {
            handle.skip_on_success();
            read(&handle);
        }
        Err(refused) => eprintln!("a connection is closed unserved: {}", refused.error),
    }
}

/// Goes on with a connection. One on which nothing more is started closes with its last handle.
fn echo(done: Completion<Key, Mode>, stall: &Stall) {
    let Completion { handle, result, buffer, context, .. } = done;
    match (context, result) {
        (Mode::Read, Ok(1..)) => {
            stall.on(&buffer);
            // A refused send gives the buffer back, and the connection ends. Most leave at once, and need no packet to say so.
            if let Ok(Started::Done(sent)) = handle.send_inline(buffer, Mode::Write) {
                echo(sent, stall);
            }
        }
        (Mode::Write, Ok(_)) => {
            drop(buffer); // back to the pool before anything waits again
            read(&handle);
        }
        _ => {}
    }
}

/// Waits for the client, with a buffer that is lent when something comes.
fn read(handle: &Handle<Key, Mode>) {
    // A refused receive ends the connection.
    let _ = handle.recv_lent(Mode::Read);
}
