//! Finding out what changed: the stored keys in memory, the new version in batches.

/// Key, upper and lower half, and row hash: what a look-up compares lies in one or two cache lines.
type Entry = [u64; 3];

/// Stored keys, sorted, with an index over their leading bits.
#[derive(Debug)]
pub(crate) struct Index {
    entries: Vec<Entry>,
    /// First entry of every bucket, and the end of the last.
    buckets: Vec<u32>,
    shift: u32,
    seen: Vec<u64>,
}

/// How many rows of a new version differ, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) added: u64,
    pub(crate) changed: u64,
    pub(crate) removed: u64,
    pub(crate) duplicate: u64,
}

impl Index {
    /// An index for about `rows` rows.
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self { entries: Vec::with_capacity(rows), buckets: Vec::new(), shift: 0, seen: Vec::new() }
    }

    /// Adds a row; rows come in key order.
    pub(crate) fn push(&mut self, key: u128, hash: u64) {
        self.entries.push([(key >> 64) as u64, key as u64, hash]);
    }

    /// Builds the index: between one and two entries a bucket.
    pub(crate) fn build(&mut self) {
        let bits = self.entries.len().max(2).ilog2();
        self.shift = 64 - bits;
        self.buckets = Vec::with_capacity((1 << bits) + 1);
        for (at, entry) in self.entries.iter().enumerate() {
            let bucket = (entry[0] >> self.shift) as usize;
            while self.buckets.len() <= bucket {
                self.buckets.push(at as u32);
            }
        }
        self.buckets.resize((1 << bits) + 1, self.entries.len() as u32);
        self.seen = vec![0; self.entries.len().div_ceil(64)];
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Compares a batch of the new version.
    ///
    /// Two passes: the look-ups of one pass do not wait for one another, so the processor overlaps their cache misses.
    pub(crate) fn probe(&mut self, keys: &[u128], hashes: &[u64], spans: &mut Vec<u32>, counts: &mut Counts) {
        spans.clear();
        spans.extend(keys.iter().map(|key| self.buckets[((key >> 64) as u64 >> self.shift) as usize]));
        for ((&key, &hash), &start) in keys.iter().zip(hashes).zip(spans.iter()) {
            let (high, low) = ((key >> 64) as u64, key as u64);
            let mut at = start as usize;
            let found = loop {
                match self.entries.get(at) {
                    Some(entry) if (entry[0], entry[1]) < (high, low) => at += 1,
                    Some(entry) if (entry[0], entry[1]) == (high, low) => break Some(entry[2]),
                    _ => break None,
                }
            };
            let Some(stored) = found else {
                counts.added += 1;
                continue;
            };
            let (word, bit) = (at / 64, 1 << (at % 64));
            counts.duplicate += u64::from(self.seen[word] & bit != 0);
            self.seen[word] |= bit;
            counts.changed += u64::from(stored != hash);
        }
    }

    /// Rows that no batch contained.
    pub(crate) fn removed(&self) -> u64 {
        let seen: u64 = self.seen.iter().map(|word| u64::from(word.count_ones())).sum();
        self.entries.len() as u64 - seen
    }
}
