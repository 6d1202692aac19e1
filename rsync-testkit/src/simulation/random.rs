//! Independent random streams.

use crate::sim::rng::Rng;

/// A stream that belongs to a seed, a label and a number. Streams know nothing of one another, so a new kind of fault
/// does not reshuffle what older seeds do.
#[derive(Debug)]
pub(super) struct Stream(Rng);

impl Stream {
    pub(super) fn of(seed: u64, label: &str, number: u64) -> Self {
        // FNV-1a over the label; the mixing is left to the generator.
        let label = label
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3_u64));
        let mut rng = Rng::seeded(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ label);
        let base = rng.next_u64();
        Self(Rng::seeded(base ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93)))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// Whether a thing of this chance in a hundred happens.
    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(super) fn disorder<T>(&mut self, items: &mut [T]) {
        self.0.disorder(items);
    }
}
