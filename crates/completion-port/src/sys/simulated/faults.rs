//! What goes wrong, and how often: all of it drawn from one seed.

use std::time::Duration;

/// How often each fault strikes, in percent, for [`Network::with_faults`](super::api::Network::with_faults).
///
/// ```
/// use completion_port::simulated::Faults;
///
/// assert_eq!(Faults::none().short, 0);
/// assert!(Faults::default().short > 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// A transfer moves fewer bytes than it could.
    pub short: u8,
    /// An operation takes its time (up to a second of the virtual clock), so that others overtake it.
    pub late: u8,
    /// An operation is over before its start has returned, if it can be.
    pub at_once: u8,
    /// An operation is cancelled that nobody cancelled, as happens on io_uring when the starting thread exits.
    pub spurious_cancel: u8,
    /// An operation does not hear a cancel.
    pub uncancellable: u8,
    /// A lent receive finds no buffer, though the pool has some.
    pub starve: u8,
    /// The system's queue is full: an operation gets there only when somebody waits, and cannot end before.
    pub full: u8,
}

impl Faults {
    /// Nothing goes wrong.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            short: 0,
            late: 0,
            at_once: 0,
            spurious_cancel: 0,
            uncancellable: 0,
            starve: 0,
            full: 0,
        }
    }
}

impl Default for Faults {
    /// A bad day.
    fn default() -> Self {
        Self {
            short: 30,
            late: 40,
            at_once: 30,
            spurious_cancel: 5,
            uncancellable: 3,
            starve: 10,
            full: 10,
        }
    }
}

/// What is to become of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Ordinary,
    Spurious,
    Uncancellable,
    /// It is not with the system yet: its queue was full.
    Queued,
}

/// The faults with their dice.
pub(super) struct Dice {
    state: u64,
    faults: Faults,
    pub starve: u8,
}

impl Dice {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self { state: seed, faults, starve: faults.starve }
    }

    /// The next number of SplitMix64 (Steele, Lea, Flood 2014).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 to `count` - 1; 0 of nothing.
    pub(super) fn below(&mut self, count: usize) -> usize {
        if count == 0 { 0 } else { (self.draw() % count as u64) as usize }
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(super) fn strike(&mut self, percent: u8) -> bool {
        self.below(100) < usize::from(percent)
    }

    fn delay(&mut self) -> Duration {
        if self.strike(self.faults.late) {
            Duration::from_micros(self.draw() % 1_000_000)
        } else {
            Duration::ZERO
        }
    }

    /// For an operation that starts: how long it takes at least, what becomes of it, and whether it may be over at once.
    pub(super) fn start(&mut self) -> (Duration, Fate, bool) {
        let fate = if self.strike(self.faults.spurious_cancel) {
            Fate::Spurious
        } else if self.strike(self.faults.uncancellable) {
            Fate::Uncancellable
        } else if self.strike(self.faults.full) {
            Fate::Queued
        } else {
            Fate::Ordinary
        };
        (self.delay(), fate, fate != Fate::Queued && self.strike(self.faults.at_once))
    }

    /// For a cancel: how long it takes, and whether it may take effect at once.
    pub(super) fn cancel(&mut self) -> (Duration, bool) {
        (self.delay(), self.strike(self.faults.at_once))
    }

    /// How many of `most` bytes are moved.
    pub(super) fn moved(&mut self, most: usize) -> usize {
        if most > 1 && self.strike(self.faults.short) { 1 + self.below(most) } else { most }
    }
}
