//! Sorted segments: writing them from acknowledged batches, and merging them into one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::error::Result;
use crate::ids::FieldName;
use crate::state::codec::{
    Ack, DAMAGE_REMEDY, ImageBlock, Intent, KeyBlock, Note, SegmentMeta, Standing, Status, block_key,
};
use crate::state::store::{Mutation, StateRead, Table};

/// Where the columns of a stored image stand in the current list of fields.
#[derive(Clone, Debug)]
pub(crate) struct Remap {
    /// For each current field, its column in the stored image.
    columns: Arc<[Option<usize>]>,
    identity: bool,
}

impl Remap {
    pub(crate) fn new(stored: &[FieldName], current: &[FieldName]) -> Self {
        let columns = current.iter().map(|field| stored.iter().position(|name| name == field)).collect();
        Self { columns, identity: stored == current }
    }

    /// Appends the image `stored` in the order of the current fields. A field that was not stored was never
    /// acknowledged: 0.
    pub(crate) fn append(&self, stored: &[u64], out: &mut Vec<u64>) {
        if self.identity {
            out.extend_from_slice(stored);
        } else {
            out.extend(self.columns.iter().map(|column| column.and_then(|c| stored.get(c).copied()).unwrap_or(0)));
        }
    }
}

/// One key's entry, borrowed from where it was read.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) key: u128,
    pub(crate) row: u64,
    pub(crate) status: Status,
    pub(crate) attempts: u8,
    pub(crate) image: Option<(&'a [u64], &'a Remap)>,
    pub(crate) id: &'a str,
    pub(crate) created: bool,
    /// Whether older entries of the key are void.
    pub(crate) anew: bool,
    pub(crate) note: Option<&'a Note>,
}

/// Collects sorted entries into blocks.
pub(crate) struct SegmentWriter {
    meta: SegmentMeta,
    width: usize,
    keys: KeyBlock,
    images: ImageBlock,
    done: Vec<Mutation>,
    done_bytes: usize,
}

impl SegmentWriter {
    pub(crate) fn new(meta: SegmentMeta, width: usize) -> Self {
        Self {
            meta,
            width,
            keys: KeyBlock::default(),
            images: ImageBlock { width: width as u32, ..ImageBlock::default() },
            done: Vec::new(),
            done_bytes: 0,
        }
    }

    /// Appends an entry; `entry.key` is above all keys before it.
    pub(crate) fn push(&mut self, entry: Entry<'_>) {
        if let Some(note) = entry.note {
            self.images.notes.push(Note { row: self.keys.keys.len() as u32, ..note.clone() });
        }
        self.keys.keys.push(entry.key);
        self.keys.rows.push(entry.row);
        self.keys.status.push(Standing {
            status: entry.status,
            image: entry.image.is_some(),
            created: entry.created,
            anew: entry.anew,
        });
        self.keys.attempts.push(entry.attempts);
        match entry.image {
            Some((image, remap)) => remap.append(image, &mut self.images.images),
            None => self.images.images.extend(std::iter::repeat_n(0, self.width)),
        }
        self.images.ids.push(entry.id);
        if self.keys.keys.len() == self.meta.block_rows as usize {
            self.close_block();
        }
    }

    fn close_block(&mut self) {
        let rows = self.keys.keys.len();
        if rows == 0 {
            return;
        }
        let key = block_key(self.meta.id, (self.meta.rows / u64::from(self.meta.block_rows)) as u32);
        self.meta.rows += rows as u64;
        for (table, value) in [(Table::Keys, self.keys.encode()), (Table::Images, self.images.encode(rows))] {
            self.done_bytes += value.len();
            self.done.push(Mutation::Put { table, key: key.clone(), value });
        }
        self.keys = KeyBlock::default();
        self.images = ImageBlock { width: self.width as u32, ..ImageBlock::default() };
    }

    /// Bytes of finished blocks that wait to be taken.
    pub(crate) fn ready_bytes(&self) -> usize {
        self.done_bytes
    }

    /// Takes the finished blocks.
    pub(crate) fn take_ready(&mut self) -> Vec<Mutation> {
        self.done_bytes = 0;
        std::mem::take(&mut self.done)
    }

    /// Closes the last block.
    pub(crate) fn finish(mut self) -> (SegmentMeta, Vec<Mutation>) {
        self.close_block();
        (self.meta, self.done)
    }
}

/// Acknowledged batches that are in no segment yet, in sequence order, with the order of their keys.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) batches: Vec<(Intent, Ack)>,
    pub(crate) remaps: Vec<Remap>,
    /// (key, batch, row): sorted by key, the newest batch first.
    order: Vec<(u128, Reverse<u32>, u32)>,
}

impl Pending {
    pub(crate) fn new(batches: Vec<(Intent, Ack)>, remaps: Vec<Remap>) -> Self {
        let mut order = Vec::with_capacity(batches.iter().map(|(intent, _)| intent.keys.len()).sum());
        for (b, (intent, _)) in batches.iter().enumerate() {
            order.extend(intent.keys.iter().enumerate().map(|(r, key)| (*key, Reverse(b as u32), r as u32)));
        }
        order.sort_unstable();
        Self { batches, remaps, order }
    }

    fn version(&self, position: usize) -> Entry<'_> {
        let (key, Reverse(batch), row) = self.order[position];
        let (intent, ack) = &self.batches[batch as usize];
        let row = row as usize;
        let status = ack.status.get(row).copied().unwrap_or(Status::InDoubt);
        let width = intent.width as usize;
        let image = (width > 0 && status == Status::Synced)
            .then(|| (&intent.images[row * width..(row + 1) * width], &self.remaps[batch as usize]));
        Entry {
            key,
            // The hash of a row that must be sent again is not kept, so that it never counts as settled.
            row: if status.keeps_row() { intent.rows[row] } else { 0 },
            status,
            attempts: ack.attempts.get(row).copied().unwrap_or(0),
            image,
            id: ack.ids.get(row),
            created: ack.created.get(row).copied().unwrap_or(false),
            anew: status.ends_record(),
            note: note_of(&ack.notes, row),
        }
    }

    /// The entries, one a key, ascending.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut position = 0;
        std::iter::from_fn(move || {
            let mut entry = (position < self.order.len()).then(|| self.version(position))?;
            position += 1;
            while position < self.order.len() && self.order[position].0 == entry.key {
                entry = overlay(entry, self.version(position));
                position += 1;
            }
            Some(entry)
        })
    }
}

/// The note of a row; notes are written in the order of their rows.
fn note_of(notes: &[Note], row: usize) -> Option<&Note> {
    notes.binary_search_by_key(&row, |note| note.row as usize).ok().map(|at| &notes[at])
}

/// `newer` over `older`, both of one key. Nothing of a record that ended shows through.
fn overlay<'a>(newer: Entry<'a>, older: Entry<'a>) -> Entry<'a> {
    if newer.anew {
        return newer;
    }
    if newer.status.voids(older.status) {
        return Entry { anew: true, ..newer };
    }
    Entry {
        image: newer.image.or(older.image),
        id: if newer.id.is_empty() { older.id } else { newer.id },
        created: newer.created || older.created,
        anew: older.anew,
        ..newer
    }
}

/// Reads a segment entry by entry, one block at a time.
struct Cursor {
    meta: SegmentMeta,
    remap: Remap,
    block: u32,
    row: usize,
    keys: KeyBlock,
    images: ImageBlock,
}

impl Cursor {
    fn entry(&self) -> Entry<'_> {
        let (row, width) = (self.row, self.images.width as usize);
        let standing = self.keys.status[row];
        Entry {
            key: self.keys.keys[row],
            row: self.keys.rows[row],
            status: standing.status,
            attempts: self.keys.attempts[row],
            image: standing.image.then(|| (&self.images.images[row * width..(row + 1) * width], &self.remap)),
            id: self.images.ids.get(row),
            created: standing.created,
            anew: standing.anew,
            note: note_of(&self.images.notes, row),
        }
    }

    /// Steps to the next entry and returns its key.
    async fn advance(&mut self, read: &dyn StateRead) -> Result<Option<u128>> {
        self.row += 1;
        if self.row >= self.keys.keys.len() {
            if self.block == self.meta.blocks() {
                return Ok(None);
            }
            (self.keys, self.images) = read_block(read, self.meta.id, self.block).await?;
            self.block += 1;
            self.row = 0;
        }
        Ok(self.keys.keys.get(self.row).copied())
    }
}

pub(crate) async fn read_block(read: &dyn StateRead, segment: u64, block: u32) -> Result<(KeyBlock, ImageBlock)> {
    let key = block_key(segment, block);
    let keys = KeyBlock::decode(&required(read.get(Table::Keys, &key).await?)?)?;
    let images = ImageBlock::decode(&required(read.get(Table::Images, &key).await?)?)?;
    if images.images.len() != keys.keys.len() * images.width as usize {
        return Err(missing_block());
    }
    Ok((keys, images))
}

pub(crate) fn required(value: Option<Vec<u8>>) -> Result<Vec<u8>> {
    value.ok_or_else(missing_block)
}

fn missing_block() -> crate::error::Error {
    crate::error::Error::new(crate::error::Kind::StateCorrupt, "read the state", "a block of the state is missing")
        .with_remedy(DAMAGE_REMEDY)
}

/// A merge of segments, oldest first, into one. Entries of removed keys end here.
pub(crate) struct Merge {
    cursors: Vec<Cursor>,
    /// (key, newest first, cursor).
    heap: BinaryHeap<Reverse<(u128, Reverse<usize>)>>,
}

impl Merge {
    pub(crate) async fn new(read: &dyn StateRead, segments: &[(SegmentMeta, Remap)]) -> Result<Self> {
        let mut merge = Self { cursors: Vec::new(), heap: BinaryHeap::new() };
        for (age, (meta, remap)) in segments.iter().enumerate() {
            let mut cursor = Cursor {
                meta: *meta,
                remap: remap.clone(),
                block: 0,
                row: 0,
                keys: KeyBlock::default(),
                images: ImageBlock::default(),
            };
            if let Some(key) = cursor.advance(read).await? {
                merge.heap.push(Reverse((key, Reverse(age))));
            }
            merge.cursors.push(cursor);
        }
        Ok(merge)
    }

    /// Moves entries into `writer` until it has `bytes` ready. `false` when there are no more.
    pub(crate) async fn fill(
        &mut self,
        read: &dyn StateRead,
        writer: &mut SegmentWriter,
        bytes: usize,
    ) -> Result<bool> {
        let mut versions = Vec::new();
        while let Some(Reverse((key, Reverse(newest)))) = self.heap.pop() {
            versions.clear();
            versions.push(newest);
            while let Some(Reverse((next, Reverse(age)))) = self.heap.peek().copied()
                && next == key
            {
                self.heap.pop();
                versions.push(age);
            }
            let entry = versions[1..]
                .iter()
                .fold(self.cursors[newest].entry(), |entry, older| overlay(entry, self.cursors[*older].entry()));
            if entry.status != Status::Removed {
                // All segments are merged, so nothing older is left.
                writer.push(Entry { anew: false, ..entry });
            }
            for age in &versions {
                if let Some(key) = self.cursors[*age].advance(read).await? {
                    self.heap.push(Reverse((key, Reverse(*age))));
                }
            }
            if writer.ready_bytes() >= bytes {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
