//! The bytes that a connection sends: a function of the connection and of the offset, so that nothing that was sent
//! need be stored, and a byte that comes back at another position, or on another connection, is seen.

use crate::random::{STEP, mix};

/// The endless sequence of bytes of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Pattern(u64);

/// How what came back differs from what is expected at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// What follows is what belongs this many bytes later: the bytes between were lost, or come later.
    Skipped(u64),
    /// What follows is what belonged this many bytes earlier: it came late, or twice.
    Repeated(u64),
    /// The byte is like nothing near its position.
    Wrong,
}

/// This many bytes in a row are taken as proof of a position (by chance: once in 2^64 comparisons).
const PROOF: usize = 8;

impl Pattern {
    /// The sequence of connection `id` in the run with this seed.
    pub fn new(seed: u64, id: u64) -> Pattern {
        Pattern(mix(seed.wrapping_mul(STEP) ^ mix(id.wrapping_add(STEP))))
    }

    fn word(self, index: u64) -> [u8; 8] {
        mix(self.0.wrapping_add(index.wrapping_mul(STEP))).to_le_bytes()
    }

    /// Writes the bytes from `offset` on.
    pub fn fill(self, offset: u64, out: &mut [u8]) {
        let skip = (offset % 8) as usize;
        let mut index = offset / 8;
        let (head, rest) = out.split_at_mut(out.len().min((8 - skip) % 8));
        if !head.is_empty() {
            head.copy_from_slice(&self.word(index)[skip..skip + head.len()]);
            index += 1;
        }
        for chunk in rest.chunks_mut(8) {
            chunk.copy_from_slice(&self.word(index)[..chunk.len()]);
            index += 1;
        }
    }

    /// How many bytes of `bytes` are the ones from `offset` on: all, if nothing is wrong.
    pub fn agrees(self, offset: u64, bytes: &[u8]) -> usize {
        let mut expected = [0; 4096];
        let mut done = 0;
        for piece in bytes.chunks(expected.len()) {
            let expected = &mut expected[..piece.len()];
            self.fill(offset + done as u64, expected);
            if expected != piece {
                return done + expected.iter().zip(piece).take_while(|(a, b)| a == b).count();
            }
            done += piece.len();
        }
        done
    }

    /// Says what `bytes`, whose first is not the one at `offset`, is, looking up to `reach` bytes to both sides.
    pub fn explain(self, offset: u64, bytes: &[u8], reach: u64) -> Difference {
        if bytes.len() < PROOF {
            return Difference::Wrong;
        }
        let from = offset.saturating_sub(reach);
        let mut near = vec![0; (offset - from + reach) as usize + PROOF];
        self.fill(from, &mut near);
        match near.windows(PROOF).position(|window| window == &bytes[..PROOF]) {
            None => Difference::Wrong,
            Some(at) if from + at as u64 >= offset => {
                Difference::Skipped(from + at as u64 - offset)
            }
            Some(at) => Difference::Repeated(offset - from - at as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(offset: u64, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        Pattern::new(3, 4).fill(offset, &mut out);
        out
    }

    #[test]
    fn a_byte_depends_on_its_position_and_not_on_how_it_was_cut() {
        let whole = bytes(0, 100);
        for from in 0..40 {
            for length in 0..40 {
                assert_eq!(bytes(from as u64, length), whole[from..from + length]);
            }
        }
        assert_ne!(whole[..50], whole[50..]);
    }

    #[test]
    fn each_kind_of_difference_is_told() {
        let pattern = Pattern::new(3, 4);
        assert_eq!(pattern.agrees(10_000, &bytes(10_000, 9000)), 9000);
        let mut flipped = bytes(10_000, 9000);
        flipped[8123] ^= 1;
        assert_eq!(pattern.agrees(10_000, &flipped), 8123);
        assert_eq!(pattern.explain(18_123, &flipped[8123..], 50_000), Difference::Wrong);
        assert_eq!(pattern.explain(10_000, &bytes(10_500, 20), 1000), Difference::Skipped(500));
        assert_eq!(pattern.explain(10_000, &bytes(9990, 20), 1000), Difference::Repeated(10));
        assert_eq!(pattern.explain(10_000, &bytes(12_000, 20), 1000), Difference::Wrong);
        let mut other = vec![0; 20];
        Pattern::new(3, 5).fill(0, &mut other);
        assert_eq!(pattern.explain(0, &other, 1000), Difference::Wrong);
    }
}
