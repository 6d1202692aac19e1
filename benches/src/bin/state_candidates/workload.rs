//! The rows every store is given: acknowledged in batches, keys in hash order or not, all computed from a row number.

use rsync_benches::sample::{key_hash, mix, row_hash};

/// Mapped fields of a row, one hash each.
pub(crate) const FIELDS: usize = 10;
/// Bytes of the id a destination gives a record.
pub(crate) const REMOTE: usize = 12;
/// Rows in a batch.
pub(crate) const BATCH: u64 = 100;

/// Sent, but no answer seen yet.
pub(crate) const IN_DOUBT: u8 = 1;
/// Accepted by the destination.
pub(crate) const SYNCED: u8 = 2;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// One row as the engine hands it to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: u128,
    pub(crate) hash: u64,
    pub(crate) fields: [u64; FIELDS],
    pub(crate) remote: [u8; REMOTE],
}

impl Row {
    pub(crate) fn new(id: u64) -> Self {
        let mut remote = [b'0'; REMOTE];
        for (digit, byte) in remote.iter_mut().enumerate() {
            *byte += (id / 10u64.pow(digit as u32) % 10) as u8;
        }
        let hash = row_hash(id, 1);
        let fields = std::array::from_fn(|field| mix(hash ^ field as u64));
        Self { key: key_hash(id), hash, fields, remote }
    }
}

/// A numbered batch.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) seq: u64,
    pub(crate) rows: Vec<Row>,
}

/// A number of rows in an order.
#[derive(Debug)]
pub(crate) struct Workload {
    rows: u64,
    order: Option<Vec<u32>>,
}

impl Workload {
    /// Rows in the order of their numbers: their key hashes come at random.
    pub(crate) fn random(rows: u64) -> Self {
        Self { rows, order: None }
    }

    /// Rows in the order of their key hashes.
    pub(crate) fn sorted(rows: u64) -> Self {
        let mut order: Vec<u32> = (0..rows as u32).collect();
        order.sort_by_cached_key(|&id| key_hash(u64::from(id)));
        Self { rows, order: Some(order) }
    }

    /// The rows as batches; the last may be shorter.
    pub(crate) fn batches(&self) -> impl Iterator<Item = Batch> {
        (0..self.rows.div_ceil(BATCH)).map(|seq| {
            let positions = seq * BATCH..((seq + 1) * BATCH).min(self.rows);
            let id = |at: u64| self.order.as_ref().map_or(at, |order| u64::from(order[at as usize]));
            Batch { seq, rows: positions.map(|at| Row::new(id(at))).collect() }
        })
    }
}

/// What a store can do for the engine.
pub(crate) trait Store {
    /// One durable transaction: `acked` have been answered, `sent` are about to be sent.
    fn commit(&mut self, acked: &[Batch], sent: &[Batch]) -> Result<()>;

    /// Ends the run.
    fn finish(&mut self) -> Result<()>;

    /// Durable commits so far.
    fn commits(&self) -> u64;

    /// Key and row hash of every settled row, in key order.
    fn keys(&self, each: &mut dyn FnMut(u128, u64)) -> Result<()>;

    /// Every row with all that is stored of it, in key order.
    fn rows(&self, each: &mut dyn FnMut(&Row)) -> Result<()>;
}
