//! How Linux sends a file without a copy; other Unixes are not asked to.

#[cfg(target_os = "linux")]
pub(in crate::sys) use linux::{Pipe, cut_short, room, some_now};

/// What lies between the file and the socket, where the driver needs such a thing.
#[cfg(target_os = "linux")]
pub(crate) type Way = Option<Pipe>;

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

    use super::super::sigpipe::without_sigpipe;
    use crate::sys::transmit_file::{Piece, TransmitFile};

    /// One call moves at most so much of a file: a peer that takes it as fast as it comes must not keep the thread.
    const MOST: u64 = 1 << 20;

    /// Sends what a non-blocking socket takes now. May be interrupted.
    pub(in crate::sys) fn some_now(
        socket: BorrowedFd<'_>,
        what: &TransmitFile,
    ) -> io::Result<usize> {
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
    pub(in crate::sys) fn cut_short() -> io::Error {
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

        pub(in crate::sys) fn new() -> io::Result<Self> {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            // Refused to a user who has many already: then it is as large as pipes are.
            let _ = fcntl_setpipe_size(&write, Self::ROOM);
            Ok(Self { read, write, held: 0 })
        }
    }

    /// How many bytes a writable socket takes without waiting, as far as can be told. (What it does not take waits on a thread of the
    /// kernel's: the answer need not be exact, but not each peer that is slow should cost one.)
    pub(in crate::sys) fn room(socket: RawFd) -> usize {
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
