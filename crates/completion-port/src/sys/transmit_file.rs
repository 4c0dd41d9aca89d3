//! A range of a file between two buffers, on its way to a socket without being copied through user space.

use std::{fs::File, sync::Arc};

use crate::buffer::Buffer;

/// What is left of it to send.
pub(crate) struct TransmitFile {
    head: Buffer,
    file: Arc<File>,
    tail: Buffer,
    /// Bytes that have gone, of the head, the file and the tail.
    sent: [u64; 3],
    /// Where the range starts.
    start: u64,
    /// How long it is.
    len: u64,
    /// What lies between the file and the socket, where the driver needs such a thing.
    #[cfg(target_os = "linux")]
    pub pipe: Option<Pipe>,
}

/// What is to be sent next; and whether more follows it.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // only Linux sends files
pub(crate) enum Piece<'a> {
    Bytes(&'a [u8], bool),
    /// So many bytes of the file, from there on.
    File {
        file: &'a File,
        at: u64,
        len: u64,
        more: bool,
    },
}

impl TransmitFile {
    /// There is a byte in it.
    pub(crate) fn new(
        head: Buffer,
        file: Arc<File>,
        (start, len): (u64, u64),
        tail: Buffer,
    ) -> Self {
        Self {
            head,
            file,
            tail,
            sent: [0; 3],
            start,
            len,
            #[cfg(target_os = "linux")]
            pipe: None,
        }
    }

    /// Nothing is left where a piece of no bytes is returned.
    pub(crate) fn next(&self) -> Piece<'_> {
        let [head, file, tail] = self.sent;
        let (body, end) = (self.len - file, !self.tail.is_empty());
        if head < self.head.len() as u64 {
            return Piece::Bytes(&self.head[head as usize..], body > 0 || end);
        }
        if body > 0 {
            return Piece::File { file: &self.file, at: self.start + file, len: body, more: end };
        }
        Piece::Bytes(&self.tail[tail as usize..], false)
    }

    /// So many bytes of the next piece have gone. True if that was all.
    pub(crate) fn advance(&mut self, sent: usize) -> bool {
        let part = match self.next() {
            Piece::File { .. } => 1,
            Piece::Bytes(..) if self.sent[0] < self.head.len() as u64 => 0,
            Piece::Bytes(..) => 2,
        };
        self.sent[part] += sent as u64;
        self.total() == self.head.len() as u64 + self.len + self.tail.len() as u64
    }

    /// How many bytes have gone.
    pub(crate) fn total(&self) -> u64 {
        self.sent.iter().sum()
    }

    /// Head and tail.
    pub(crate) fn into_buffers(self) -> [Buffer; 2] {
        [self.head, self.tail]
    }
}

#[cfg(target_os = "linux")]
pub(crate) use linux::{Pipe, cut_short, room, some_now};

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        io,
        os::fd::{BorrowedFd, OwnedFd, RawFd},
    };

    use rustix::{
        fs::sendfile,
        net::SendFlags,
        pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
    };

    use super::{Piece, TransmitFile};
    use crate::sys::sigpipe::without_sigpipe;

    /// One call moves at most so much of a file: a peer that takes it as fast as it comes must not keep the thread.
    const MOST: u64 = 1 << 20;

    /// Sends what a non-blocking socket takes now. May be interrupted.
    pub(crate) fn some_now(socket: BorrowedFd<'_>, what: &TransmitFile) -> io::Result<usize> {
        match what.next() {
            Piece::Bytes(bytes, more) => {
                let mut flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                flags.set(SendFlags::MORE, more);
                Ok(rustix::net::send(socket, bytes, flags)?)
            }
            Piece::File { file, mut at, len, .. } => {
                let len = len.min(MOST) as usize;
                match without_sigpipe(|| sendfile(socket, file, Some(&mut at), len))? {
                    0 => Err(cut_short()),
                    sent => Ok(sent),
                }
            }
        }
    }

    /// The file has become shorter than the range that was asked for.
    pub(crate) fn cut_short() -> io::Error {
        io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file has become shorter than the range of it that is being transmitted",
        )
    }

    /// The bytes of a file on their way: pages that the pipe refers to, not copies.
    pub(crate) struct Pipe {
        pub read: OwnedFd,
        pub write: OwnedFd,
        /// Bytes that are in it.
        pub held: usize,
    }

    impl Pipe {
        /// What is asked for; the system may hold less.
        pub(crate) const ROOM: usize = 256 << 10;

        pub(crate) fn new() -> io::Result<Self> {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            // Refused to a user who has many already: then it is as large as pipes are.
            let _ = fcntl_setpipe_size(&write, Self::ROOM);
            Ok(Self { read, write, held: 0 })
        }
    }

    /// How many bytes a writable socket takes without waiting, as far as can be told. (What it does not take waits on a thread of the
    /// kernel's: the answer need not be exact, but not each peer that is slow should cost one.)
    pub(crate) fn room(socket: RawFd) -> usize {
        /// A page: what is writable has room for that.
        const LEAST: usize = 4096;

        let mut info = [0_u32; libc::SK_MEMINFO_DROPS as usize + 1];
        let mut len = size_of_val(&info) as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes to `info`; where it knows no such option, none.
        unsafe {
            libc::getsockopt(
                socket,
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                info.as_mut_ptr().cast(),
                &mut len,
            );
        }
        let sndbuf = info[libc::SK_MEMINFO_SNDBUF as usize];
        let queued = info[libc::SK_MEMINFO_WMEM_QUEUED as usize];
        // What is queued counts with what keeps it, so half of the room is for bytes.
        (sndbuf.saturating_sub(queued) as usize / 2).max(LEAST)
    }
}
