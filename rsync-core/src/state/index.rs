//! The acknowledged state in memory, for the diff: 24 bytes a row, plus 4 where segments overlap.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use crate::error::{Error, Kind, Result};
use crate::ids::{FieldName, KeyHash, RunId};
use crate::state::codec::{
    Ack, BLOCK_ROWS, Binding, Counters, FORMAT, ImageBlock, Intent, KeyBlock, Reader, RunRecord, SegmentMeta, Status,
    block_key, decode_fields, read_sequence_key, sequence_key,
};
use crate::state::segment::{Pending, Remap, required};
use crate::state::store::{StateRead, Table};

/// What is known of a key from earlier runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prior {
    /// Where it stands in the index.
    pub(crate) position: usize,
    /// Hash of the row that is settled, 0 if none is.
    pub(crate) row: u64,
    /// Its standing.
    pub(crate) status: Status,
    /// Attempts since it was last synced.
    pub(crate) attempts: u8,
    /// Whether the destination ever acknowledged it.
    pub(crate) acknowledged: bool,
}

impl Prior {
    /// Whether the destination may have a record of it from us.
    pub(crate) fn may_exist(&self) -> bool {
        self.acknowledged || self.status == Status::InDoubt
    }
}

const NO_IMAGE: u32 = u32::MAX;

/// The acknowledged state of a sync.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    pub(crate) binding: Option<Binding>,
    pub(crate) counters: Counters,
    pub(crate) segments: Vec<(SegmentMeta, Remap)>,
    pub(crate) field_lists: BTreeMap<u32, Vec<FieldName>>,
    /// Sequence numbers whose batches are in doubt, with their number of rows.
    pub(crate) orphans: Vec<(u64, usize)>,
    /// Rows and records that are in no segment yet.
    pub(crate) pending_rows: usize,
    pub(crate) pending_batches: usize,
    pub(crate) runs: Vec<RunRecord>,
    width: usize,
    high: Vec<u64>,
    low: Vec<u64>,
    rows: Vec<u64>,
    /// Where the image of an entry is: a position in the segments laid end to end, then in `fresh`. `None` when
    /// there is one segment and every entry has its image in its own place.
    locations: Option<Vec<u32>>,
    /// Entries that are not plainly synced.
    marks: HashMap<u32, (Status, u8)>,
    buckets: Vec<u32>,
    shift: u32,
    /// Images of pending batches, row after row.
    fresh: Vec<u64>,
    segment_rows: usize,
}

/// Runs that are kept in memory for baselines.
const RUNS: usize = 32;
const PAGE: usize = 64;

/// All records of a table from `from` on, page by page.
async fn scan_all(
    read: &dyn StateRead,
    table: Table,
    mut from: Vec<u8>,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<bool>,
) -> Result<()> {
    loop {
        let page = read.scan(table, &from, PAGE).await?;
        for (key, value) in &page {
            if !take(key, value)? {
                return Ok(());
            }
        }
        match page.last() {
            Some((key, _)) if page.len() == PAGE => {
                from = key.clone();
                from.push(0);
            }
            _ => return Ok(()),
        }
    }
}

impl Acknowledged {
    /// Reads the state for a mapping with these `fields`.
    pub(crate) async fn load(read: &dyn StateRead, fields: &[FieldName]) -> Result<Self> {
        let mut state = Self { width: fields.len(), ..Self::default() };
        let Some(format) = read.get(Table::Meta, b"format").await? else {
            return Ok(state);
        };
        let mut r = Reader::new("format", &format)?;
        let format = r.u32()?;
        if format > FORMAT {
            return Err(Error::new(Kind::StateTooNew, "read the state", "the state was written by a newer version")
                .with_context("format", format)
                .with_context("known", FORMAT)
                .with_remedy("run this sync with the newer version of the library"));
        }
        state.binding = Some(Binding::decode(&required(read.get(Table::Meta, b"binding").await?)?)?);
        state.counters = Counters::decode(&required(read.get(Table::Meta, b"counters").await?)?)?;
        let prefix = b"fields/";
        let mut lists = BTreeMap::new();
        scan_all(read, Table::Meta, prefix.to_vec(), |key, value| {
            let Some(id) = key.strip_prefix(prefix) else { return Ok(false) };
            let id = u32::from_be_bytes(id.try_into().map_err(|_| damaged())?);
            lists.insert(id, decode_fields(value)?);
            Ok(true)
        })
        .await?;
        state.field_lists = lists;
        for meta in SegmentMeta::decode_list(&required(read.get(Table::Meta, b"segments").await?)?)? {
            let remap = state.remap(meta.fields, fields)?;
            state.segments.push((meta, remap));
        }
        state.load_runs(read).await?;
        let pending = state.load_pending(read, fields).await?;
        state.load_keys(read, &pending).await?;
        state.index();
        Ok(state)
    }

    fn remap(&self, list: u32, fields: &[FieldName]) -> Result<Remap> {
        Ok(Remap::new(self.field_lists.get(&list).ok_or_else(damaged)?, fields))
    }

    async fn load_runs(&mut self, read: &dyn StateRead) -> Result<()> {
        let first = self.counters.next_run.saturating_sub(RUNS as u64);
        let mut runs = Vec::new();
        scan_all(read, Table::Runs, sequence_key(first), |_, value| {
            runs.push(RunRecord::decode(value)?);
            Ok(true)
        })
        .await?;
        self.runs = runs;
        Ok(())
    }

    async fn load_pending(&mut self, read: &dyn StateRead, fields: &[FieldName]) -> Result<Pending> {
        let mut acks: BTreeMap<u64, Ack> = BTreeMap::new();
        scan_all(read, Table::Acks, Vec::new(), |key, value| {
            acks.insert(read_sequence_key(key)?, Ack::decode(value)?);
            Ok(true)
        })
        .await?;
        let mut batches = Vec::new();
        let mut orphans = Vec::new();
        scan_all(read, Table::Intents, Vec::new(), |key, value| {
            let sequence = read_sequence_key(key)?;
            let intent = Intent::decode(value)?;
            let ack = acks.remove(&sequence).unwrap_or_else(|| {
                orphans.push((sequence, intent.keys.len()));
                Ack::uniform(intent.keys.len(), Status::InDoubt)
            });
            if ack.status.len() != intent.keys.len() {
                return Err(damaged());
            }
            batches.push((intent, ack));
            Ok(true)
        })
        .await?;
        if !acks.is_empty() {
            return Err(damaged());
        }
        self.orphans = orphans;
        self.pending_batches = batches.len();
        self.pending_rows = batches.iter().map(|(intent, _)| intent.keys.len()).sum();
        let remaps = batches.iter().map(|(intent, _)| self.remap(intent.fields, fields)).collect::<Result<Vec<_>>>()?;
        Ok(Pending::new(batches, remaps))
    }

    /// Fills the arrays with the newest entry of every key, sorted.
    async fn load_keys(&mut self, read: &dyn StateRead, pending: &Pending) -> Result<()> {
        let total: usize = self.segments.iter().map(|(meta, _)| meta.rows as usize).sum();
        if total + self.pending_rows >= NO_IMAGE as usize {
            return Err(Error::new(Kind::Unsupported, "read the state", "more rows than one sync can hold")
                .with_context("rows", total)
                .with_remedy("split the model into several syncs"));
        }
        self.segment_rows = total;
        let simple = self.segments.len() == 1 && pending.is_empty();
        self.high.reserve_exact(total);
        self.low.reserve_exact(total);
        self.rows.reserve_exact(total);
        let mut order: Vec<(u128, Reverse<u32>)> = Vec::new();
        let mut locations: Vec<u32> = Vec::new();
        let mut marks: Vec<(u32, (Status, u8))> = Vec::new();
        let mut position: u32 = 0;
        for (meta, _) in &self.segments {
            let mut left = meta.rows as usize;
            let mut block_number = 0;
            while left > 0 {
                let key = block_key(meta.id, block_number);
                let block = KeyBlock::decode(&required(read.get(Table::Keys, &key).await?)?)?;
                if block.keys.len() != left.min(BLOCK_ROWS) {
                    return Err(damaged());
                }
                for (row, key) in block.keys.iter().enumerate() {
                    let (status, image) = block.status[row];
                    self.high.push((key >> 64) as u64);
                    self.low.push(*key as u64);
                    self.rows.push(block.rows[row]);
                    if status != Status::Synced {
                        marks.push((position, (status, block.attempts[row])));
                    }
                    if !simple || !image {
                        if locations.len() < position as usize {
                            locations.extend(locations.len() as u32..position);
                        }
                        locations.push(if image { position } else { NO_IMAGE });
                    }
                    if !simple {
                        order.push((*key, Reverse(position)));
                    }
                    position += 1;
                }
                left -= block.keys.len();
                block_number += 1;
            }
        }
        if simple {
            if !locations.is_empty() {
                locations.extend(locations.len() as u32..position);
                self.locations = Some(locations);
            }
            self.marks = marks.into_iter().collect();
            return Ok(());
        }
        for entry in pending.entries() {
            self.high.push((entry.key >> 64) as u64);
            self.low.push(entry.key as u64);
            self.rows.push(entry.row);
            if entry.status != Status::Synced {
                marks.push((position, (entry.status, entry.attempts)));
            }
            match entry.image {
                Some((image, remap)) => {
                    locations.push((self.segment_rows + self.fresh.len() / self.width.max(1)) as u32);
                    remap.append(image, &mut self.fresh);
                }
                None => locations.push(NO_IMAGE),
            }
            order.push((entry.key, Reverse(position)));
            position += 1;
        }
        self.keep_newest(order, &locations, marks.into_iter().collect());
        Ok(())
    }

    /// Sorts by key and keeps the newest entry of each, with the newest image there is.
    fn keep_newest(
        &mut self,
        mut order: Vec<(u128, Reverse<u32>)>,
        locations: &[u32],
        marks: HashMap<u32, (Status, u8)>,
    ) {
        order.sort_unstable();
        let n = order.len();
        let (mut high, mut low, mut rows, mut kept) =
            (Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n));
        let mut i = 0;
        while i < n {
            let (key, Reverse(newest)) = order[i];
            let mut location = locations[newest as usize];
            i += 1;
            while i < n && order[i].0 == key {
                if location == NO_IMAGE {
                    location = locations[order[i].1.0 as usize];
                }
                i += 1;
            }
            let mark = marks.get(&newest);
            if matches!(mark, Some((Status::Removed, _))) {
                continue;
            }
            if let Some(mark) = mark {
                self.marks.insert(high.len() as u32, *mark);
            }
            high.push((key >> 64) as u64);
            low.push(key as u64);
            rows.push(self.rows[newest as usize]);
            kept.push(location);
        }
        (self.high, self.low, self.rows, self.locations) = (high, low, rows, Some(kept));
    }

    /// Key hashes are uniform, so the top bits of a key tell nearly where it is: about four entries a bucket.
    fn index(&mut self) {
        let bits = (self.high.len() / 4).max(1).ilog2();
        self.shift = 64 - bits;
        self.buckets = Vec::with_capacity((1 << bits) + 1);
        for (position, high) in self.high.iter().enumerate() {
            let bucket = self.bucket(*high);
            while self.buckets.len() <= bucket {
                self.buckets.push(position as u32);
            }
        }
        self.buckets.resize((1 << bits) + 1, self.high.len() as u32);
    }

    fn bucket(&self, high: u64) -> usize {
        high.checked_shr(self.shift).unwrap_or(0) as usize
    }

    /// Keys that are known.
    pub(crate) fn len(&self) -> usize {
        self.high.len()
    }

    /// What is known of `key`.
    pub(crate) fn find(&self, key: KeyHash) -> Option<Prior> {
        let (high, low) = ((key.0 >> 64) as u64, key.0 as u64);
        let bucket = self.bucket(high);
        let (from, to) = (*self.buckets.get(bucket)? as usize, *self.buckets.get(bucket + 1)? as usize);
        let mut position = from + self.high[from..to].partition_point(|h| *h < high);
        while position < to && self.high[position] == high {
            if self.low[position] == low {
                return Some(self.prior(position));
            }
            position += 1;
        }
        None
    }

    /// The key at `position`.
    pub(crate) fn key(&self, position: usize) -> u128 {
        u128::from(self.high[position]) << 64 | u128::from(self.low[position])
    }

    /// Keys that the destination acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        match &self.locations {
            None => self.len(),
            Some(locations) => locations.iter().filter(|location| **location != NO_IMAGE).count(),
        }
    }

    /// What is known of the key at `position`.
    pub(crate) fn prior(&self, position: usize) -> Prior {
        let (status, attempts) = if self.marks.is_empty() { None } else { self.marks.get(&(position as u32)).copied() }
            .unwrap_or((Status::Synced, 0));
        Prior {
            position,
            row: self.rows[position],
            status,
            attempts,
            acknowledged: self.location(position) != NO_IMAGE,
        }
    }

    fn location(&self, position: usize) -> u32 {
        self.locations.as_ref().map_or(position as u32, |locations| locations[position])
    }

    /// The images at `positions`, row after row, each as wide as the current fields; zeros where there is none.
    ///
    /// Blocks are read in order, each once, so ask for many positions at a time.
    pub(crate) async fn images(&self, read: &dyn StateRead, positions: &[usize]) -> Result<Vec<u64>> {
        let width = self.width;
        let mut images = vec![0; positions.len() * width];
        let mut wanted: Vec<(u32, usize)> = positions
            .iter()
            .enumerate()
            .map(|(slot, position)| (self.location(*position), slot))
            .filter(|(location, _)| *location != NO_IMAGE)
            .collect();
        wanted.sort_unstable();
        let mut segment = 0;
        let mut segment_start = 0;
        let mut open: Option<(usize, u32, ImageBlock)> = None;
        let mut scratch = Vec::new();
        for (location, slot) in wanted {
            let location = location as usize;
            let target = &mut images[slot * width..(slot + 1) * width];
            if location >= self.segment_rows {
                let at = (location - self.segment_rows) * width;
                target.copy_from_slice(&self.fresh[at..at + width]);
                continue;
            }
            while location - segment_start >= self.segments[segment].0.rows as usize {
                segment_start += self.segments[segment].0.rows as usize;
                segment += 1;
            }
            let (meta, remap) = &self.segments[segment];
            let row = location - segment_start;
            let number = (row / BLOCK_ROWS) as u32;
            if !matches!(&open, Some((s, b, _)) if (*s, *b) == (segment, number)) {
                let bytes = required(read.get(Table::Images, &block_key(meta.id, number)).await?)?;
                open = Some((segment, number, ImageBlock::decode(&bytes)?));
            }
            let Some((_, _, block)) = &open else { continue };
            let stored_width = block.width as usize;
            let at = row % BLOCK_ROWS * stored_width;
            scratch.clear();
            remap.append(block.images.get(at..at + stored_width).ok_or_else(damaged)?, &mut scratch);
            target.copy_from_slice(&scratch);
        }
        Ok(images)
    }

    /// The last run that began, if it never ended.
    pub(crate) fn interrupted_run(&self) -> Option<RunId> {
        self.runs.last().filter(|run| run.ended_ms == 0).map(|run| RunId(run.run))
    }
}

fn damaged() -> Error {
    Error::new(Kind::StateCorrupt, "read the state", "the records of the state contradict each other")
        .with_remedy("restore the state from a backup, or move it away to begin anew: then every row is sent again")
}
