//! Connecting, as an operation of the port.

use std::{io, net::SocketAddr};

use completion_port::{CompletionPort, GetError, TcpSocket};

use super::{Handle, Port, Step};
use crate::{
    args::Address,
    error::{Failure, plain},
};

/// Opens a port and connects to the first of the addresses that answers.
pub fn connect(address: &Address) -> Result<(Port, Handle), Failure> {
    let candidates = address.resolve()?;
    // One thread takes the packets.
    let port = CompletionPort::builder().limit(1).build::<(), Step>().map_err(|error| {
        Failure::runtime(format!(
            "cannot open a completion port: {}; `cport doctor` tells what works here",
            plain(&error)
        ))
    })?;
    let mut last = None;
    for candidate in candidates {
        match connect_one(&port, candidate) {
            Ok(handle) => return Ok((port, handle)),
            Err(error) => last = Some((candidate, error)),
        }
    }
    Err(match last {
        Some((tried, error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Failure::runtime(format!(
                "cannot connect to {address}: nobody listens there; start a server with `cport serve {tried}`"
            ))
        }
        Some((_, error)) => {
            Failure::runtime(format!("cannot connect to {address}: {}", plain(&error)))
        }
        None => Failure::runtime(format!("cannot connect to {address}: it has no address")),
    })
}

/// Connects to one address.
fn connect_one(port: &Port, address: SocketAddr) -> io::Result<Handle> {
    let socket = TcpSocket::new(&address)?;
    let handle = port.associate(socket, ())?;
    handle.connect(address, Step::Connect)?;
    let done = port.get().map_err(failed)?;
    done.result?;
    // Lines are short and should not wait for each other. Where it cannot be set, they do.
    let _ = handle.set_nodelay(true);
    Ok(handle)
}

/// What `get` says, as an error of I/O.
pub fn failed(error: GetError) -> io::Error {
    match error {
        GetError::Failed(error) => error,
        other => io::Error::other(other),
    }
}
