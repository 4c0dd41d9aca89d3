//! The bytes that a connection sends: a function of the connection and of the offset, so that nothing that was sent need be stored,
//! and a byte that was lost, comes twice, or belongs elsewhere is seen.

/// Odd, so that no two words of a pattern are alike; and irregular, so that their bytes are not either.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
/// Its inverse modulo 2^64: the way back from a word to its place.
const BACK: u64 = inverse(STEP);

/// Bytes that are made and compared at a time: they fit into the nearest cache.
const PIECE: usize = 1024;

/// The endless sequence of bytes of one connection: the words `key`, `key + STEP`, `key + 2 STEP`, and so on.
///
/// Additions because a load generator shares the machine with the server: they are made eight or more bytes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern(u64);

impl Pattern {
    /// The pattern of connection `id`. Those of different ones have nothing in common.
    pub fn new(id: u64) -> Self {
        Self(mix(id.wrapping_add(STEP)))
    }

    /// The word at an index.
    fn word(self, index: u64) -> [u8; 8] {
        self.0.wrapping_add(index.wrapping_mul(STEP)).to_le_bytes()
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
        let mut words = rest.chunks_exact_mut(8);
        for word in &mut words {
            word.copy_from_slice(&self.word(index));
            index += 1;
        }
        let tail = words.into_remainder();
        tail.copy_from_slice(&self.word(index)[..tail.len()]);
    }

    /// Compares `bytes` with those from `offset` on. The error is how many agree before the first that does not.
    pub fn check(self, offset: u64, bytes: &[u8]) -> Result<(), usize> {
        let mut expected = [0; PIECE];
        let mut done = 0;
        for piece in bytes.chunks(PIECE) {
            let expected = &mut expected[..piece.len()];
            self.fill(offset + done as u64, expected);
            if expected != piece {
                return Err(done + expected.iter().zip(piece).take_while(|(a, b)| a == b).count());
            }
            done += piece.len();
        }
        Ok(())
    }

    /// Where in the pattern a word stands: how a datagram tells which one it is. `None` if there are not eight bytes.
    pub fn index_of(self, bytes: &[u8]) -> Option<u64> {
        let word = bytes.first_chunk().map(|word| u64::from_le_bytes(*word))?;
        Some(word.wrapping_sub(self.0).wrapping_mul(BACK))
    }
}

/// A number with all of whose bits every bit of `x` has to do (the finaliser of SplitMix64).
fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

/// The inverse of an odd number modulo 2^64, by Newton's iteration: each round doubles the bits that are right, from three.
const fn inverse(odd: u64) -> u64 {
    let (mut inverse, mut bits) = (odd, 3);
    while bits < 64 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(id: u64, offset: u64, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        Pattern::new(id).fill(offset, &mut out);
        out
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_same_is_the_same(
            id: u64, offset in 0..u64::MAX / 2, cuts in prop::collection::vec(0..300usize, 0..20),
        ) {
            let whole = bytes(id, offset, cuts.iter().sum());
            let mut at = 0;
            for cut in cuts {
                let piece = &whole[at..at + cut];
                prop_assert_eq!(&bytes(id, offset + at as u64, cut)[..], piece);
                prop_assert_eq!(Pattern::new(id).check(offset + at as u64, piece), Ok(()));
                at += cut;
            }
        }

        #[test]
        fn any_single_corrupted_byte_is_found(
            id: u64, offset in 0..1_000_000u64, length in 1..5000usize, at: prop::sample::Index, flip in 1..=255u8,
        ) {
            let mut corrupted = bytes(id, offset, length);
            let at = at.index(length);
            corrupted[at] ^= flip;
            prop_assert_eq!(Pattern::new(id).check(offset, &corrupted), Err(at));
        }

        #[test]
        fn lost_repeated_swapped_and_foreign_bytes_are_found(
            id: u64, offset in 0..1_000_000u64, from in 0..500u64, gap in 1..500u64,
        ) {
            let pattern = Pattern::new(id);
            // Sixteen bytes in a row hold a whole word, and no two words are alike.
            let there = offset + from;
            prop_assert!(pattern.check(there, &bytes(id, there + gap, 16)).is_err(), "lost");
            prop_assert!(pattern.check(there + gap, &bytes(id, there, 16)).is_err(), "repeated");
            let mut swapped = bytes(id, there + gap + 16, 16);
            swapped.extend(bytes(id, there, 16));
            prop_assert!(pattern.check(there, &swapped).is_err(), "swapped");
            prop_assert!(pattern.check(there, &bytes(id.wrapping_add(gap), there, 16)).is_err(), "foreign");
        }

        #[test]
        fn a_word_tells_its_place(id: u64, index in 0..u64::MAX / 8) {
            prop_assert_eq!(Pattern::new(id).index_of(&bytes(id, index * 8, 8)), Some(index));
            prop_assert_eq!(Pattern::new(id).index_of(&[0; 7]), None);
        }
    }
}
