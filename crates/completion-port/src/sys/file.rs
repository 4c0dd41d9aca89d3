//! What reads and writes at an offset have in common on every driver.

use std::io;

use super::{Gather, os::Piece};
use crate::{
    Buffer, error,
    operation::{Detail, Header, OpKind, Work},
};

/// Several buffers of one read or write.
pub(crate) struct Vectored {
    gather: Gather,
    offset: u64,
}

impl Vectored {
    /// To be written from.
    pub(crate) fn full(buffers: Vec<Buffer>, offset: u64) -> Self {
        Self { gather: Gather::new(buffers), offset }
    }

    /// To be read into.
    pub(crate) fn spare(buffers: Vec<Buffer>, offset: u64) -> Self {
        Self { gather: Gather::to_fill(buffers), offset }
    }

    pub(crate) fn into_buffers(self) -> Vec<Buffer> {
        self.gather.into_buffers()
    }
}

/// Where the next part of a read or write is in memory.
pub(super) enum Memory {
    One(*mut u8, usize),
    /// The pieces, and how many.
    Several(*mut Piece, usize),
}

/// The part of a read or write that is still to be done, and where in the file it begins. What a write points to is not written to.
pub(super) fn part(kind: OpKind, work: &mut Work) -> io::Result<(Memory, u64)> {
    let done = work.done as u64;
    match &mut work.detail {
        Detail::At(offset) if kind == OpKind::ReadAt => {
            let (to, room) = work.buffer.spare_parts();
            Ok((Memory::One(to, room), *offset + done))
        }
        Detail::At(offset) => {
            let left = &work.buffer[work.done..];
            Ok((Memory::One(left.as_ptr().cast_mut(), left.len()), *offset + done))
        }
        Detail::Vectored(vectored) => {
            let left = vectored.gather.left();
            Ok((Memory::Several(left.as_mut_ptr(), left.len()), vectored.offset + done))
        }
        _ => Err(error::wrong_kind()),
    }
}

/// Counts `moved` bytes as read or written, and tells whether there is nothing left to be.
///
/// # Safety
///
/// The caller owns the operation, and of a read so many bytes have been written to what [`part`] gave.
pub(crate) unsafe fn moved(header: &Header, moved: usize) -> bool {
    // SAFETY: owned by the caller.
    let work = unsafe { header.work() };
    let reads = header.kind == OpKind::ReadAt;
    work.done += moved;
    match &mut work.detail {
        Detail::Vectored(vectored) => {
            if reads {
                // SAFETY: the caller's promise.
                unsafe { vectored.gather.fill(moved) };
            } else {
                vectored.gather.advance(moved);
            }
            vectored.gather.left().is_empty()
        }
        _ if reads => {
            // SAFETY: the caller's promise.
            unsafe { work.buffer.fill(moved) };
            work.buffer.spare() == 0
        }
        _ => work.done >= work.buffer.len(),
    }
}

/// Counts `moved` bytes as [`moved`] does if that is the end of a read or write of one buffer; otherwise nothing.
///
/// # Safety
///
/// As for [`moved`].
pub(crate) unsafe fn completes(header: &Header, moved: usize) -> bool {
    // SAFETY: owned by the caller.
    let work = unsafe { header.work() };
    let left = match (header.kind, &work.detail) {
        (OpKind::ReadAt, Detail::At(_)) => work.buffer.spare(),
        (OpKind::WriteAt, Detail::At(_)) => work.buffer.len() - work.done,
        _ => return false,
    };
    // SAFETY: handed on.
    moved == left && unsafe { self::moved(header, moved) }
}
