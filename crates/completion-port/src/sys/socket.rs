//! Sockets and files, as the rest of the library names them.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use socket2::SockRef;

use super::os::{self, Descriptor};
use crate::error;

/// An owned socket, or what else can be associated.
pub(crate) enum Socket {
    Os(Descriptor),
    /// One that others use besides: each thread that starts I/O with routines on it does so by a handle of its own.
    Shared(Arc<Descriptor>),
    #[cfg(feature = "simulated")]
    Simulated(super::simulated::Socket),
}

impl Socket {
    /// The system's descriptor. A simulated socket has none.
    pub(crate) fn os(&self) -> Option<&Descriptor> {
        match self {
            Socket::Os(descriptor) => Some(descriptor),
            Socket::Shared(descriptor) => Some(descriptor),
            #[cfg(feature = "simulated")]
            Socket::Simulated(_) => None,
        }
    }

    /// The descriptor, if nobody else has it.
    pub(crate) fn into_os(self) -> Option<Descriptor> {
        match self {
            Socket::Os(descriptor) => Some(descriptor),
            Socket::Shared(_) => None,
            #[cfg(feature = "simulated")]
            Socket::Simulated(_) => None,
        }
    }

    pub(crate) fn into_tcp_stream(self) -> Option<TcpStream> {
        self.into_os().map(TcpStream::from)
    }

    /// Whether the connection is gone: reset, or finished by both sides. False where the system cannot tell.
    pub(crate) fn torn_down(&self) -> bool {
        self.os().is_some_and(os::torn_down)
    }

    /// Ends a connection, or an attempt to connect, so that the socket can connect again.
    pub(crate) fn dissolve(&self) -> io::Result<()> {
        os::dissolve(self.os().ok_or_else(error::not_here)?)
    }

    pub(crate) fn target(&self, token: u32) -> Target {
        Target { os: self.os().map_or(os::NOTHING, os::raw), token }
    }
}

/// For what socket2 does on every system.
pub(crate) fn sock_ref(descriptor: &Descriptor) -> SockRef<'_> {
    os::sock_ref(descriptor)
}

/// What a descriptor is, as far as a driver must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    Socket,
    /// A socket that is here for one operation, and its user's to associate afterwards.
    Guest,
    /// The end of a pipe that is read from.
    PipeOut,
    /// The end of a pipe that is written to.
    PipeIn,
    /// What has offsets, and is never waited for: readiness means nothing there.
    File,
}

/// A connection that was accepted, with the peer's address where the system gave it along.
pub(crate) struct Accepted {
    pub socket: Socket,
    pub peer: Option<Box<SocketAddr>>,
}

/// The socket of an operation, as its driver knows it. Valid while the operation keeps its handle alive.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub os: os::Raw,
    /// What the driver's `attach` gave out.
    pub token: u32,
}

impl Target {
    pub(crate) fn none() -> Self {
        Self { os: os::NOTHING, token: 0 }
    }
}
