//! A small seeded generator: a run is told apart, and told again, by its seed.

/// SplitMix64: one word of state, good enough to choose sizes and to make bytes.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// The finaliser of SplitMix64: every bit of the result depends on every bit of `x`.
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The step between two words of a SplitMix64 sequence.
pub const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// A generator for one purpose (`stream`) of a run.
    pub fn new(seed: u64, stream: u64) -> Random {
        Random(mix(seed.wrapping_add(STEP)) ^ mix(stream.wrapping_mul(STEP)))
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number from `low` to `high`, both included, each as likely.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        debug_assert!(low <= high && high - low < u64::MAX);
        low + self.word() % (high - low + 1)
    }

    /// A number from `low` to `high`, both included, each order of magnitude as likely: 1 byte as often as 100 KiB.
    pub fn scaled(&mut self, low: u64, high: u64) -> u64 {
        let (from, to) = ((low as f64).ln(), (high as f64 + 1.0).ln());
        let unit = (self.word() >> 11) as f64 / (1u64 << 53) as f64;
        ((from + unit * (to - from)).exp() as u64).clamp(low, high)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.word().is_multiple_of(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let words = |seed, stream| {
            let mut random = Random::new(seed, stream);
            [random.word(), random.word(), random.word()]
        };
        assert_eq!(words(1, 2), words(1, 2));
        assert_ne!(words(1, 2), words(2, 2));
        assert_ne!(words(1, 2), words(1, 3));
        assert_ne!(words(1, 2), words(2, 1));
    }

    #[test]
    fn numbers_stay_within_their_bounds_and_reach_them() {
        let mut random = Random::new(7, 7);
        let (mut least, mut most) = (u64::MAX, 0);
        for _ in 0..200_000 {
            let n = random.scaled(1, 1000);
            (least, most) = (least.min(n), most.max(n));
            assert!((3..=9).contains(&random.within(3, 9)));
        }
        assert_eq!((least, most), (1, 1000));
    }
}
