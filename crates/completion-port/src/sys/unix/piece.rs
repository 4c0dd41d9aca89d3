//! One of several buffers, as the system wants to see it.

use std::mem;

/// An `iovec`, and nothing else: several in a row are what the system takes.
#[repr(transparent)]
pub(crate) struct Piece(libc::iovec);

/// The most pieces that one system call takes (`UIO_MAXIOV`); the rest follows in the next.
pub(crate) const MOST_PIECES: usize = 1024;
/// A piece is at most so long: any length will do.
pub(crate) const LONGEST_PIECE: usize = isize::MAX as usize;

impl Piece {
    pub(crate) fn new(at: *mut u8, len: usize) -> Self {
        Self(libc::iovec { iov_base: at.cast(), iov_len: len })
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iov_len
    }

    /// Cuts so many bytes off the front; there are more.
    pub(crate) fn cut(&mut self, bytes: usize) {
        self.0.iov_base = self.0.iov_base.cast::<u8>().wrapping_add(bytes).cast();
        self.0.iov_len -= bytes;
    }
}

/// What `sendmsg` wants to see.
pub(crate) struct Header(libc::msghdr);

impl Header {
    pub(crate) fn new() -> Self {
        // SAFETY: a message header of zeros is valid: no name, no pieces, no control data.
        Self(unsafe { mem::zeroed() })
    }

    /// Of these pieces. The pointer is good until one of them is moved.
    pub(crate) fn of(&mut self, pieces: &mut [Piece]) -> *const libc::msghdr {
        self.0.msg_iov = pieces.as_mut_ptr().cast();
        self.0.msg_iovlen = pieces.len() as _;
        &raw const self.0
    }
}
