//! Seeded pseudo-random numbers: the same seed gives the same result order and the same correlation ids.

/// SplitMix64. Chosen because it is nine lines and needs no dependency; nothing here is security-relevant.
#[derive(Debug, Clone)]
pub(crate) struct Rng {
    state: u64,
}

impl Rng {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        // The modulo bias is irrelevant for shuffling a batch of at most a few hundred.
        usize::try_from(self.next_u64() % bound.max(1) as u64).unwrap_or(0)
    }

    /// Shuffles so that two or more items never keep their order: a client that matches answers by position
    /// must fail always, not on some seeds.
    pub(crate) fn disorder<T>(&mut self, items: &mut [T]) {
        let mut order: Vec<usize> = (0..items.len()).collect();
        for i in (1..order.len()).rev() {
            let j = self.below(i + 1);
            order.swap(i, j);
            items.swap(i, j);
        }
        if items.len() > 1 && order.windows(2).all(|pair| pair[0] < pair[1]) {
            items.rotate_left(1);
        }
    }

    /// Text in the form of a version 4 UUID.
    pub(crate) fn uuid(&mut self) -> String {
        let (a, b) = (self.next_u64(), self.next_u64());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            ((b >> 48) & 0x3fff) | 0x8000,
            b & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn two_or_more_items_never_keep_their_order() {
        for seed in 0..200 {
            for len in 2..6 {
                let mut items: Vec<usize> = (0..len).collect();
                Rng::seeded(seed).disorder(&mut items);
                assert_ne!(items, (0..len).collect::<Vec<_>>(), "seed {seed}");
                items.sort_unstable();
                assert_eq!(items, (0..len).collect::<Vec<_>>(), "seed {seed}");
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        assert_eq!(Rng::seeded(7).uuid(), Rng::seeded(7).uuid());
        assert_eq!(Rng::seeded(7).uuid().len(), 36);
    }
}
