//! Several buffers sent, or filled, as one.

use super::os::{self, LONGEST_PIECE, MOST_PIECES, Piece};
use crate::buffer::Buffer;

/// Several buffers sent, or filled, as one, with the arrays that the system knows them by.
pub(crate) struct Gather {
    buffers: Vec<Buffer>,
    /// One for each non-empty buffer; cut from the front as bytes leave.
    pieces: Vec<Piece>,
    first: usize,
    /// What the system wants to see of them besides, if anything.
    message: os::Header,
}

// SAFETY: the pointers in `pieces` lead into `buffers`, whose memory stays put while they are moved; those in `message` into
// `pieces`. All of it belongs to this value.
unsafe impl Send for Gather {}

/// Bytes in memory, as pieces: more than one only if there are more than one may have.
fn pieces(at: *mut u8, len: usize) -> impl Iterator<Item = Piece> {
    (0..len)
        .step_by(LONGEST_PIECE)
        .map(move |from| Piece::new(at.wrapping_add(from), (len - from).min(LONGEST_PIECE)))
}

impl Gather {
    pub(crate) fn new(buffers: Vec<Buffer>) -> Self {
        let pieces = buffers
            .iter()
            .flat_map(|buffer| pieces(buffer.as_ptr().cast_mut(), buffer.len()))
            .collect();
        Self::of(buffers, pieces)
    }

    /// The same for what is to be read: the spare room of each.
    pub(super) fn to_fill(mut buffers: Vec<Buffer>) -> Self {
        let pieces = buffers
            .iter_mut()
            .map(Buffer::spare_parts)
            .flat_map(|(to, room)| pieces(to, room))
            .collect();
        Self::of(buffers, pieces)
    }

    fn of(buffers: Vec<Buffer>, pieces: Vec<Piece>) -> Self {
        Self { buffers, pieces, first: 0, message: os::Header::new() }
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
    pub(super) fn left(&mut self) -> &mut [Piece] {
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
            if sent < piece.len() {
                piece.cut(sent);
                return;
            }
            sent -= piece.len();
            self.first += 1;
        }
    }

    /// The same, and what the system wants to see besides.
    pub(crate) fn parts(&mut self) -> (&mut os::Header, &mut [Piece]) {
        let left = &mut self.pieces[self.first..];
        let count = left.len().min(MOST_PIECES);
        (&mut self.message, &mut left[..count])
    }

    #[cfg(feature = "simulated")]
    pub(crate) fn unsent(&self) -> Vec<u8> {
        let skip = self.total() - self.pieces[self.first..].iter().map(Piece::len).sum::<usize>();
        self.buffers.iter().flat_map(|buffer| buffer.iter().copied()).skip(skip).collect()
    }
}
