//! A range of a file between two buffers, on its way to a socket without being copied through user space.

use std::{fs::File, sync::Arc};

use super::os;
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
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))] // elsewhere nothing does
    pub way: os::Way,
}

/// What is to be sent next; and whether more follows it.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // not every system sends files, or is told that more follows
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
        Self { head, file, tail, sent: [0; 3], start, len, way: os::Way::default() }
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
