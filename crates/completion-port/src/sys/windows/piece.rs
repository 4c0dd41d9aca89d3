//! One of several buffers, as the system wants to see it.

use windows_sys::Win32::Networking::WinSock::WSABUF;

/// A `WSABUF`, and nothing else: several in a row are what the system takes.
#[repr(transparent)]
pub(crate) struct Piece(WSABUF);

/// So many at once; the rest follows in the next call.
pub(crate) const MOST_PIECES: usize = 1024;
/// A piece is at most so long: its length has 32 bits.
pub(crate) const LONGEST_PIECE: usize = 1 << 30;

impl Piece {
    /// At most [`LONGEST_PIECE`] long.
    pub(crate) fn new(at: *mut u8, len: usize) -> Self {
        Self(WSABUF { len: len as u32, buf: at })
    }

    pub(crate) fn at(&self) -> *mut u8 {
        self.0.buf
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len as usize
    }

    /// Cuts so many bytes off the front; there are more.
    pub(crate) fn cut(&mut self, bytes: usize) {
        self.0.buf = self.0.buf.wrapping_add(bytes);
        self.0.len -= bytes as u32;
    }
}

/// What the system wants to see besides: nothing.
pub(crate) struct Header;

impl Header {
    pub(crate) fn new() -> Self {
        Self
    }
}
