//! Sockets, and how operations name them.

use std::{
    io, mem,
    net::{SocketAddr, TcpStream},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    sync::Arc,
};

use socket2::{SockAddr, SockAddrStorage};

use crate::{buffer::Buffer, error};

/// An owned socket.
pub(crate) enum Socket {
    Os(OwnedFd),
    /// One that others use besides: each thread that starts I/O with routines on it does so by a handle of its own.
    Shared(Arc<OwnedFd>),
    #[cfg(feature = "simulated")]
    Simulated(super::simulated::Socket),
}

impl Socket {
    /// The system's descriptor. A simulated socket has none.
    pub(crate) fn os(&self) -> Option<&OwnedFd> {
        match self {
            Socket::Os(fd) => Some(fd),
            Socket::Shared(fd) => Some(fd),
            #[cfg(feature = "simulated")]
            Socket::Simulated(_) => None,
        }
    }

    pub(crate) fn into_tcp_stream(self) -> Option<TcpStream> {
        match self {
            Socket::Os(fd) => Some(fd.into()),
            Socket::Shared(_) => None,
            #[cfg(feature = "simulated")]
            Socket::Simulated(_) => None,
        }
    }

    pub(crate) fn into_unix_stream(self) -> Option<UnixStream> {
        match self {
            Socket::Os(fd) => Some(fd.into()),
            Socket::Shared(_) => None,
            #[cfg(feature = "simulated")]
            Socket::Simulated(_) => None,
        }
    }

    /// Whether the connection is gone: reset, or finished by both sides. False where the system cannot tell.
    #[cfg(target_os = "linux")]
    pub(crate) fn torn_down(&self) -> bool {
        /// `TCP_CLOSE` of the kernel's tcp_states.h.
        const CLOSED: u8 = 7;
        let Some(fd) = self.os() else { return false };
        // SAFETY: numbers only, for which zeros are valid.
        let mut info: libc::tcp_info = unsafe { mem::zeroed() };
        let mut len = size_of_val(&info) as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes to `info`.
        let result = unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&raw mut info).cast(),
                &mut len,
            )
        };
        result == 0 && info.tcpi_state == CLOSED
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn torn_down(&self) -> bool {
        false
    }

    /// Ends a connection, or an attempt to connect, so that the socket can connect again: to "connect" to no address does that
    /// (connect(2)).
    pub(crate) fn dissolve(&self) -> io::Result<()> {
        let Some(fd) = self.os() else { return Err(error::not_here()) };
        // SAFETY: zeros are a valid address of no family.
        let nowhere: libc::sockaddr = unsafe { mem::zeroed() };
        // SAFETY: an open descriptor and a valid address.
        let result = unsafe {
            libc::connect(
                fd.as_raw_fd(),
                &raw const nowhere,
                size_of_val(&nowhere) as libc::socklen_t,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub(crate) fn target(&self, token: u32) -> Target {
        Target { fd: self.os().map_or(-1, AsRawFd::as_raw_fd), token }
    }
}

/// What a descriptor is, as far as a driver must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    Socket,
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

/// Room for an address that the system writes.
pub(crate) struct Peer {
    address: SockAddrStorage,
    len: libc::socklen_t,
}

impl Peer {
    pub(crate) fn new() -> Self {
        let address = SockAddrStorage::zeroed();
        Self { len: address.size_of(), address }
    }

    /// As `accept` wants it. Good until this value is moved.
    pub(crate) fn parts(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        ((&raw mut self.address).cast(), &raw mut self.len)
    }

    /// What was written, once.
    pub(crate) fn take(&mut self) -> Option<SocketAddr> {
        let address = mem::replace(&mut self.address, SockAddrStorage::zeroed());
        // SAFETY: what `accept` has written, with the length that it told; before that zeros, which are no address.
        unsafe { SockAddr::new(address, self.len) }.as_socket()
    }
}

/// The socket of an operation, as its driver knows it. Valid while the operation keeps its handle alive.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub fd: RawFd,
    /// What the driver's `attach` gave out.
    pub token: u32,
}

impl Target {
    pub(crate) fn none() -> Self {
        Self { fd: -1, token: 0 }
    }
}

/// Several buffers sent, or filled, as one, with the arrays that the system knows them by.
pub(crate) struct Gather {
    buffers: Vec<Buffer>,
    /// One for each non-empty buffer; cut from the front as bytes leave.
    pieces: Vec<libc::iovec>,
    first: usize,
    message: libc::msghdr,
}

// SAFETY: the pointers in `pieces` lead into `buffers`, whose memory stays put while they are moved; those in `message` into
// `pieces`. All of it belongs to this value.
unsafe impl Send for Gather {}

/// The most pieces that one system call takes (`UIO_MAXIOV`); the rest follows in the next.
const MOST_PIECES: usize = 1024;

impl Gather {
    pub(crate) fn new(buffers: Vec<Buffer>) -> Self {
        let pieces = buffers
            .iter()
            .filter(|buffer| !buffer.is_empty())
            .map(|buffer| libc::iovec {
                iov_base: buffer.as_ptr().cast_mut().cast(),
                iov_len: buffer.len(),
            })
            .collect();
        // SAFETY: a message header of zeros is valid: no name, no pieces, no control data.
        let message = unsafe { mem::zeroed() };
        Self { buffers, pieces, first: 0, message }
    }

    /// The same for what is to be read: the spare room of each.
    pub(super) fn to_fill(mut buffers: Vec<Buffer>) -> Self {
        let pieces = buffers
            .iter_mut()
            .map(Buffer::spare_parts)
            .filter(|(_, room)| *room > 0)
            .map(|(to, room)| libc::iovec { iov_base: to.cast(), iov_len: room })
            .collect();
        // SAFETY: as above.
        let message = unsafe { mem::zeroed() };
        Self { buffers, pieces, first: 0, message }
    }

    /// Counts `filled` bytes as read: they lie in the buffers' spare rooms, from the first on.
    ///
    /// # Safety
    ///
    /// They do.
    pub(super) unsafe fn fill(&mut self, filled: usize) {
        self.advance(filled);
        let mut left = filled;
        for buffer in &mut self.buffers {
            let here = left.min(buffer.spare());
            // SAFETY: the caller's promise; the rooms of those before are full.
            unsafe { buffer.fill(here) };
            left -= here;
        }
    }

    /// What is left, and no more pieces than one call takes.
    pub(super) fn left(&mut self) -> &mut [libc::iovec] {
        let left = &mut self.pieces[self.first..];
        let count = left.len().min(MOST_PIECES);
        &mut left[..count]
    }

    pub(crate) fn total(&self) -> usize {
        self.buffers.iter().map(|buffer| buffer.len()).sum()
    }

    pub(crate) fn into_buffers(self) -> Vec<Buffer> {
        self.buffers
    }

    /// Cuts `sent` bytes off the front.
    pub(crate) fn advance(&mut self, mut sent: usize) {
        while let Some(piece) = self.pieces.get_mut(self.first) {
            if sent < piece.iov_len {
                piece.iov_base = piece.iov_base.cast::<u8>().wrapping_add(sent).cast();
                piece.iov_len -= sent;
                return;
            }
            sent -= piece.iov_len;
            self.first += 1;
        }
    }

    /// What is left, as `sendmsg` wants it. The pointer is good until this value is changed or moved.
    pub(crate) fn message(&mut self) -> *const libc::msghdr {
        let left = &mut self.pieces[self.first..];
        self.message.msg_iov = left.as_mut_ptr();
        self.message.msg_iovlen = left.len().min(MOST_PIECES) as _;
        &raw const self.message
    }

    #[cfg(feature = "simulated")]
    pub(crate) fn unsent(&self) -> Vec<u8> {
        let skip = self.total()
            - self.pieces[self.first..].iter().map(|piece| piece.iov_len).sum::<usize>();
        self.buffers.iter().flat_map(|buffer| buffer.iter().copied()).skip(skip).collect()
    }
}
