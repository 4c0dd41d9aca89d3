//! Whether what comes back is what was sent, in bounded memory.
//!
//! Both streams are cut into blocks at the same places. The checksum of each block that is sent waits for the block to come back:
//! four bytes for 64 KiB that are under way.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crc32fast::Hasher;

/// Bytes under one checksum.
const BLOCK: usize = 64 * 1024;

/// One stream, cut into blocks.
#[derive(Default)]
struct Blocks {
    /// The checksum of the block that is not full yet.
    hasher: Hasher,
    /// How much of it there is.
    filled: usize,
}

impl Blocks {
    /// Goes on with `bytes`, and calls `full` with the checksum of each block that they fill.
    fn feed(&mut self, mut bytes: &[u8], mut full: impl FnMut(u32)) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
            self.hasher.update(now);
            self.filled += now.len();
            if self.filled == BLOCK {
                full(std::mem::take(&mut self.hasher).finalize());
                self.filled = 0;
            }
            bytes = rest;
        }
    }
}

/// What has been sent and has not come back.
#[derive(Default)]
struct Sent {
    /// The blocks of the sending side.
    blocks: Blocks,
    /// Checksums of full blocks, the oldest first.
    waiting: VecDeque<u32>,
}

/// What the sending thread tells the receiving one.
#[derive(Default)]
pub struct Comparison {
    /// The checksums.
    sent: Mutex<Sent>,
    /// Bytes sent, or about to be.
    count: AtomicU64,
}

impl Comparison {
    /// Notes bytes that are about to be sent.
    pub fn sending(&self, bytes: &[u8]) {
        self.count.fetch_add(bytes.len() as u64, Relaxed);
        let Sent { blocks, waiting } = &mut *self.sent();
        blocks.feed(bytes, |sum| waiting.push_back(sum));
    }

    /// Bytes sent, or about to be.
    pub fn sent_bytes(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// The checksums, locked. They are whole between two statements, so poison means nothing.
    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receiving side.
#[derive(Default)]
pub struct Received {
    /// Its blocks.
    blocks: Blocks,
    /// Bytes received.
    count: u64,
}

impl Received {
    /// Compares what has come back. The error says where it differs.
    pub fn check(&mut self, comparison: &Comparison, bytes: &[u8]) -> Result<(), String> {
        let start = self.count - self.blocks.filled as u64;
        let mut at = start;
        let mut verdict = Ok(());
        self.blocks.feed(bytes, |sum| {
            if verdict.is_ok() {
                verdict = match comparison.sent().waiting.pop_front() {
                    Some(expected) if expected == sum => Ok(()),
                    Some(_) => Err(format!("the echo differs from what was sent, in the {BLOCK} bytes from byte {at} on")),
                    None => Err(format!("more came back than was sent, after byte {at}")),
                };
            }
            at += BLOCK as u64;
        });
        self.count += bytes.len() as u64;
        verdict
    }

    /// Bytes received.
    pub fn bytes(&self) -> u64 {
        self.count
    }

    /// Compares what is left when both streams have ended.
    pub fn finish(self, comparison: &Comparison) -> Result<(), String> {
        let (back, sent) = (self.count, comparison.sent_bytes());
        if back < sent {
            return Err(format!(
                "the server closed the connection early: {back} of {sent} bytes came back"
            ));
        }
        if back > sent {
            return Err(format!("more came back than was sent: {back} bytes for {sent}"));
        }
        let Sent { blocks, .. } = std::mem::take(&mut *comparison.sent());
        if blocks.hasher.finalize() == self.blocks.hasher.finalize() {
            Ok(())
        } else {
            Err(format!("the echo differs from what was sent, in its last {} bytes", blocks.filled))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some bytes that are nowhere alike.
    fn noise(length: usize) -> Vec<u8> {
        let mut x = 1u32;
        let mut next = || {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    /// Sends `sent` in pieces of `out` bytes and receives `back` in pieces of `in_`.
    fn compare(sent: &[u8], out: usize, back: &[u8], in_: usize) -> Result<(), String> {
        let comparison = Comparison::default();
        sent.chunks(out).for_each(|piece| comparison.sending(piece));
        let mut received = Received::default();
        back.chunks(in_).try_for_each(|piece| received.check(&comparison, piece))?;
        received.finish(&comparison)
    }

    #[test]
    fn however_it_is_cut_the_same_is_the_same() {
        let bytes = noise(5 * BLOCK + 17);
        for (out, in_) in [(1000, BLOCK * 3), (BLOCK, BLOCK), (BLOCK * 7, 999)] {
            assert_eq!(compare(&bytes, out, &bytes, in_), Ok(()));
        }
        assert_eq!(compare(&[], 1, &[], 1), Ok(()));
    }

    #[test]
    fn every_difference_is_found() {
        let bytes = noise(3 * BLOCK + 17);
        for at in [0, BLOCK - 1, BLOCK, 3 * BLOCK + 16] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            let said = compare(&bytes, 1000, &other, 777).expect_err("it differs");
            assert!(said.contains("differs"), "{said}");
        }
        let swapped: Vec<u8> = bytes[BLOCK..].iter().chain(&bytes[..BLOCK]).copied().collect();
        assert!(compare(&bytes, 1000, &swapped, 1000).is_err());
    }

    #[test]
    fn too_little_and_too_much_are_told() {
        let bytes = noise(2 * BLOCK);
        let short = compare(&bytes, 1000, &bytes[..BLOCK + 5], 1000).expect_err("short");
        assert_eq!(
            short,
            format!(
                "the server closed the connection early: {} of {} bytes came back",
                BLOCK + 5,
                2 * BLOCK
            )
        );
        let long = compare(&bytes[..BLOCK], 1000, &bytes, 1000).expect_err("long");
        assert_eq!(long, format!("more came back than was sent, after byte {BLOCK}"));
    }
}
