//! `cport client`: the client of the notes, and a filter.

mod compare;
mod connect;
mod filter;
mod prompt;

use std::io::{self, IsTerminal};

use completion_port::CompletionPort;

use crate::{args::Client, error::Failure};

/// What `cport help client` says below the options.
pub const HELP: &str = "\
On a terminal it asks for lines, sends each, and prints what comes back; q or Q quits.

Otherwise it is a filter: everything from standard input is sent, everything that comes back goes to standard output, both at once.
At the end of the input it tells the server so and reads on to the server's end. Exit code 0 means that exactly what was sent came
back.
  cport client 127.0.0.1:9190 < file | cmp - file";

/// The client's port: one connection, so the key says nothing.
type Port = CompletionPort<(), Step>;
/// The connection.
type Handle = completion_port::Handle<(), Step>;

/// What a packet of the client's port is about.
#[derive(Debug)]
enum Step {
    /// The connection is made, or cannot be.
    Connect,
    /// Something has been sent.
    Send,
    /// Something has come back.
    Recv,
    /// Posted: all of the input is queued to be sent, or it cannot be read.
    InputEnded(io::Result<()>),
    /// Posted: the output cannot be written, or is not what was sent.
    OutputEnded,
}

/// Connects, and does what standard input calls for.
pub fn run(options: &Client) -> Result<(), Failure> {
    let (port, handle) = connect::connect(&options.address)?;
    if io::stdin().is_terminal() {
        prompt::run(&port, &handle, &mut io::stdin().lock(), &mut io::stdout().lock())
    } else {
        filter::run(&port, handle)
    }
}

/// What to say when the connection itself fails.
fn lost(error: &io::Error, doing: &str) -> Failure {
    Failure::runtime(format!("the connection failed {doing}: {}", crate::error::plain(error)))
}
