//! Sorted blocks of settled rows, how they are made from pending batches, and how segments are merged.
//!
//! A block is two records of the same rows. The *keys* record, all a comparison needs, is column by column: 16 bytes of
//! key hash, 8 of row hash, 1 of status a row. The *images* record is row by row, so that one row is one copy. Each
//! record starts with a checksum: redb verifies its own only when it repairs a file, not when it reads a page.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use xxhash_rust::xxh3::xxh3_64;

use crate::workload::{Batch, FIELDS, REMOTE, Result, Row, SYNCED};

/// Bytes of a row in a keys record.
pub(crate) const KEY_BYTES: usize = 25;
/// Bytes of a row in an images record: field hashes, remote id and its length, attempts, last run, spare.
pub(crate) const IMAGE_BYTES: usize = FIELDS * 8 + REMOTE + 8;
/// Bytes of the checksum at the start of a record.
pub(crate) const SEAL: usize = 8;
/// Bytes of a row in an intent.
const INTENT_BYTES: usize = 16 + 8 + FIELDS * 8;

/// The intent of a batch, column by column.
pub(crate) fn intent(batch: &Batch) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(batch.rows.len() * INTENT_BYTES);
    batch.rows.iter().for_each(|row| bytes.extend(row.key.to_le_bytes()));
    batch.rows.iter().for_each(|row| bytes.extend(row.hash.to_le_bytes()));
    for field in 0..FIELDS {
        batch.rows.iter().for_each(|row| bytes.extend(row.fields[field].to_le_bytes()));
    }
    bytes
}

/// The acknowledgement of a batch: statuses, then remote ids.
pub(crate) fn ack(batch: &Batch) -> Vec<u8> {
    let mut bytes = vec![SYNCED; batch.rows.len()];
    batch.rows.iter().for_each(|row| bytes.extend(row.remote));
    bytes
}

fn seal(record: &mut [u8]) {
    let (sum, content) = record.split_at_mut(SEAL);
    sum.copy_from_slice(&xxh3_64(content).to_le_bytes());
}

fn unseal(record: &[u8]) -> Result<&[u8]> {
    let (sum, content) = record.split_first_chunk::<SEAL>().ok_or("record cut off")?;
    if u64::from_le_bytes(*sum) == xxh3_64(content) { Ok(content) } else { Err("record damaged".into()) }
}

fn array<const N: usize>(bytes: &[u8], index: usize) -> [u8; N] {
    bytes[index * N..].first_chunk().copied().unwrap_or([0; N])
}

/// Rows of acknowledged batches, not sorted yet.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    order: Vec<(u128, u32)>,
    hashes: Vec<u64>,
    statuses: Vec<u8>,
    images: Vec<u8>,
}

impl Pending {
    /// Takes the intent of a batch.
    pub(crate) fn intent(&mut self, intent: &[u8]) {
        let rows = intent.len() / INTENT_BYTES;
        let (keys, rest) = intent.split_at(rows * 16);
        let (hashes, fields) = rest.split_at(rows * 8);
        let first = self.order.len() as u32;
        self.order.extend((0..rows).map(|row| (u128::from_le_bytes(array(keys, row)), first + row as u32)));
        self.hashes.extend((0..rows).map(|row| u64::from_le_bytes(array(hashes, row))));
        for row in 0..rows {
            let image: [[u8; 8]; FIELDS] = std::array::from_fn(|field| array(fields, field * rows + row));
            self.images.extend(image.as_flattened());
            self.images.extend([0; IMAGE_BYTES - FIELDS * 8]);
        }
    }

    /// Takes the acknowledgement of a batch; acknowledgements come in the order of the intents.
    pub(crate) fn ack(&mut self, ack: &[u8]) {
        let (statuses, remotes) = ack.split_at(ack.len() / (1 + REMOTE));
        let first = self.statuses.len() * IMAGE_BYTES;
        self.statuses.extend(statuses);
        for (image, remote) in self.images[first..].chunks_exact_mut(IMAGE_BYTES).zip(remotes.chunks_exact(REMOTE)) {
            image[FIELDS * 8] = REMOTE as u8;
            image[FIELDS * 8 + 1..][..REMOTE].copy_from_slice(remote);
        }
    }

    /// Hands the rows to `blocks` in key order.
    pub(crate) fn sorted(mut self, blocks: &mut BlockBuilder<'_>) -> Result<()> {
        self.order.sort_unstable();
        for &(key, at) in &self.order {
            let at = at as usize;
            let image = &self.images[at * IMAGE_BYTES..][..IMAGE_BYTES];
            blocks.push(key, self.hashes[at], self.statuses[at], image)?;
        }
        blocks.flush()
    }
}

/// Takes a finished block: its number, its keys record and its images record.
pub(crate) type BlockSink<'a> = dyn FnMut(u32, &[u8], &[u8]) -> Result<()> + 'a;

/// Cuts sorted rows into blocks.
pub(crate) struct BlockBuilder<'a> {
    rows: usize,
    sink: &'a mut BlockSink<'a>,
    number: u32,
    keys: Vec<u8>,
    hashes: Vec<u8>,
    statuses: Vec<u8>,
    images: Vec<u8>,
}

impl<'a> BlockBuilder<'a> {
    pub(crate) fn new(rows: usize, sink: &'a mut BlockSink<'a>) -> Self {
        let [keys, hashes, statuses, images] =
            [KEY_BYTES, 8, 1, IMAGE_BYTES].map(|bytes| Vec::with_capacity(SEAL + rows * bytes));
        let mut new = Self { rows, sink, number: 0, keys, hashes, statuses, images };
        new.clear();
        new
    }

    fn clear(&mut self) {
        for record in [&mut self.keys, &mut self.images] {
            record.clear();
            record.extend([0; SEAL]);
        }
    }

    pub(crate) fn push(&mut self, key: u128, hash: u64, status: u8, image: &[u8]) -> Result<()> {
        self.keys.extend(key.to_le_bytes());
        self.hashes.extend(hash.to_le_bytes());
        self.statuses.push(status);
        self.images.extend(image);
        if self.statuses.len() == self.rows { self.flush() } else { Ok(()) }
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        if self.statuses.is_empty() {
            return Ok(());
        }
        self.keys.append(&mut self.hashes);
        self.keys.append(&mut self.statuses);
        seal(&mut self.keys);
        seal(&mut self.images);
        (self.sink)(self.number, &self.keys, &self.images)?;
        self.number += 1;
        self.clear();
        Ok(())
    }
}

/// Key and row hash of every row of a keys record.
pub(crate) fn keys(record: &[u8]) -> Result<impl Iterator<Item = (u128, u64)>> {
    let record = unseal(record)?;
    let rows = record.len() / KEY_BYTES;
    let (keys, rest) = record.split_at(rows * 16);
    let keys = keys.as_chunks::<16>().0.iter().map(|key| u128::from_le_bytes(*key));
    Ok(keys.zip(rest[..rows * 8].as_chunks::<8>().0.iter().map(|hash| u64::from_le_bytes(*hash))))
}

/// A block being read row by row.
#[derive(Debug, Default)]
pub(crate) struct Block {
    keys: Vec<u8>,
    images: Vec<u8>,
    row: usize,
}

impl Block {
    pub(crate) fn new(keys: Vec<u8>, images: Vec<u8>) -> Result<Self> {
        unseal(&keys)?;
        unseal(&images)?;
        Ok(Self { keys, images, row: 0 })
    }

    fn rows(&self) -> usize {
        self.keys.len() / KEY_BYTES
    }

    fn key(&self) -> Option<u128> {
        (self.row < self.rows()).then(|| u128::from_le_bytes(array(&self.keys[SEAL..], self.row)))
    }

    fn hash(&self) -> u64 {
        u64::from_le_bytes(array(&self.keys[SEAL + self.rows() * 16..], self.row))
    }

    fn status(&self) -> u8 {
        self.keys[SEAL + self.rows() * 24 + self.row]
    }

    fn image(&self) -> &[u8] {
        &self.images[SEAL + self.row * IMAGE_BYTES..][..IMAGE_BYTES]
    }

    /// Calls `each` for the rows of the block.
    pub(crate) fn each(mut self, each: &mut dyn FnMut(&Row)) {
        while let Some(key) = self.key() {
            let image = self.image();
            let fields = std::array::from_fn(|field| u64::from_le_bytes(array(image, field)));
            let remote = image[FIELDS * 8 + 1..].first_chunk().copied().unwrap_or_default();
            each(&Row { key, hash: self.hash(), fields, remote });
            self.row += 1;
        }
    }
}

/// Merges segments into `blocks`, reading one block of each at a time. Of equal keys the last segment's row stays.
pub(crate) fn merge(
    segments: &[u32],
    read: &dyn Fn(u32, u32) -> Result<Option<Block>>,
    blocks: &mut BlockBuilder<'_>,
) -> Result<()> {
    let mut heap = BinaryHeap::new();
    let mut heads: Vec<(u32, Block)> = Vec::new();
    for (index, &segment) in segments.iter().enumerate() {
        let block = read(segment, 0)?.unwrap_or_default();
        heap.extend(block.key().map(|key| Reverse((key, Reverse(index)))));
        heads.push((0, block));
    }
    let mut last = None;
    while let Some(mut top) = heap.peek_mut() {
        let Reverse((key, Reverse(index))) = *top;
        let (number, block) = &mut heads[index];
        if last != Some(key) {
            blocks.push(key, block.hash(), block.status(), block.image())?;
            last = Some(key);
        }
        block.row += 1;
        if block.row == block.rows() {
            *number += 1;
            *block = read(segments[index], *number)?.unwrap_or_default();
        }
        match block.key() {
            Some(key) => *top = Reverse((key, Reverse(index))),
            None => drop(std::collections::binary_heap::PeekMut::pop(top)),
        }
    }
    blocks.flush()
}
