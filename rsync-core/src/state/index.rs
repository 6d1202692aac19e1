//! The acknowledged state in memory, for the diff: 24 bytes a row, 2 to 4 for the index over them, 4 where segments
//! overlap.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use crate::capability::Operation;
use crate::error::{Error, Kind, Result};
use crate::ids::{FieldName, JobToken, KeyHash, RunId};
use crate::state::codec::{
    Ack, Binding, Counters, DAMAGE_REMEDY, FORMAT, ImageRecord, Intent, KeyBlockView, Reader, RunRecord, SegmentMeta,
    Status, block_key, decode_fields, read_sequence_key, sequence_key,
};
use crate::state::life::{DEFINITION, Definition, ORIGIN, OpenJob, StateMark, decode_origin};
use crate::state::segment::{Pending, Remap, required};
use crate::state::store::{StateRead, Table};

/// What is known of a key from earlier runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prior {
    /// Where it stands in the index.
    pub(crate) position: usize,
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
        self.acknowledged || self.status.is_in_doubt()
    }
}

const NO_IMAGE: u32 = u32::MAX;

/// A key, upper and lower half, and the hash of its settled row, 0 if none is. What a look-up reads lies side by side.
type Entry = [u64; 3];

/// An entry while the state is loaded.
#[derive(Clone, Copy)]
struct Loaded {
    key: u128,
    /// Of two entries with one key, the one of the higher age is newer.
    age: u32,
    row: u64,
    location: u32,
    status: Status,
    attempts: u8,
    /// Whether older entries of the key are void.
    anew: bool,
}

impl Loaded {
    /// The entry in `row` of a block whose first image is at `location`.
    fn of_block(block: &KeyBlockView<'_>, row: usize, age: u32, location: u32) -> Self {
        let standing = block.standing(row);
        Self {
            key: block.key(row),
            age,
            row: block.row(row),
            location: if standing.image { location + row as u32 } else { NO_IMAGE },
            status: standing.status,
            attempts: block.attempts(row),
            anew: standing.anew,
        }
    }

    /// This entry over an older one of the same key, whose image holds if this one has none and its record lives.
    fn over(self, older: Self) -> Self {
        if self.anew || self.status.voids(older.status) {
            return Self { anew: true, ..self };
        }
        Self {
            location: if self.location == NO_IMAGE { older.location } else { self.location },
            anew: older.anew,
            ..self
        }
    }
}

async fn key_record(read: &dyn StateRead, segment: &SegmentMeta, number: u32) -> Result<Vec<u8>> {
    required(read.get(Table::Keys, &block_key(segment.id, number)).await?)
}

/// Block `number` of a segment.
fn key_block<'a>(record: &'a [u8], segment: &SegmentMeta, number: u32) -> Result<KeyBlockView<'a>> {
    let block = KeyBlockView::new(record)?;
    let block_rows = segment.block_rows as usize;
    let rows = (segment.rows as usize - number as usize * block_rows).min(block_rows);
    if block.len() == rows { Ok(block) } else { Err(damaged()) }
}

/// The acknowledged state of a sync.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    pub(crate) binding: Option<Binding>,
    pub(crate) counters: Counters,
    pub(crate) segments: Vec<(SegmentMeta, Remap)>,
    /// For each segment, the first key of each block.
    pub(super) first_keys: Vec<Vec<u128>>,
    pub(crate) field_lists: BTreeMap<u32, Vec<FieldName>>,
    /// Jobs whose batches have no answer.
    pub(crate) jobs: Vec<OpenJob>,
    /// Sequence numbers of other batches without an answer, with what is to be recorded as one.
    pub(crate) orphans: Vec<(u64, Ack)>,
    /// Rows and records that are in no segment yet.
    pub(crate) pending_rows: usize,
    pub(crate) pending_batches: usize,
    pub(crate) runs: Vec<RunRecord>,
    /// Epochs of the states that this one replaced.
    pub(crate) origin: Vec<u64>,
    /// The definition under which the last run wrote, where it is known.
    pub(crate) definition: Option<Definition>,
    /// The records of a state that the next commit replaces.
    pub(crate) replaces: Vec<(Table, Vec<u8>)>,
    width: usize,
    entries: Vec<Entry>,
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
        check_format(&format)?;
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
        let origin = read.get(Table::Meta, ORIGIN).await?;
        state.origin = origin.map(|bytes| decode_origin(&bytes)).transpose()?.unwrap_or_default();
        let definition = read.get(Table::Meta, DEFINITION).await?;
        state.definition = definition.map(|bytes| Definition::decode(&bytes)).transpose()?;
        let (pending, orphans) = state.load_pending(read, fields).await?;
        state.orphans = orphans;
        state.load_jobs(read).await?;
        state.pending_batches = pending.batches.len();
        state.pending_rows = pending.batches.iter().map(|(intent, _)| intent.keys.len()).sum();
        state.load_keys(read, &pending).await?;
        state.index();
        Ok(state)
    }

    /// An empty state that is to replace the one that is stored, whatever that belongs to and however it is damaged.
    ///
    /// # Errors
    ///
    /// [`Kind::StateTooNew`]: what a newer version may have put there cannot be removed by this one.
    pub(crate) async fn anew(read: &dyn StateRead, fields: &[FieldName]) -> Result<Self> {
        let mut state = Self { width: fields.len(), ..Self::default() };
        if let Some(Err(error)) = read.get(Table::Meta, b"format").await?.map(|format| check_format(&format))
            && error.kind() == Kind::StateTooNew
        {
            return Err(error);
        }
        let binding = read.get(Table::Meta, b"binding").await?.and_then(|bytes| Binding::decode(&bytes).ok());
        state.origin = binding.map(|binding| binding.epoch).into_iter().collect();
        for table in Table::ALL {
            scan_all(read, table, Vec::new(), |key, _| {
                state.replaces.push((table, key.to_vec()));
                Ok(true)
            })
            .await?;
        }
        Ok(state)
    }

    /// Which state it is, and how far it has come; `None` if there is none.
    pub(crate) fn mark(&self) -> Option<StateMark> {
        self.binding.as_ref().map(|binding| StateMark::new(binding.epoch, self.counters.next_run))
    }

    /// Whether any run of the sync was accepted.
    pub(crate) async fn was_ever_accepted(&self, read: &dyn StateRead) -> Result<bool> {
        let mut accepted = self.runs.iter().any(RunRecord::is_accepted);
        if !accepted && self.counters.next_run > RUNS as u64 {
            scan_all(read, Table::Runs, Vec::new(), |_, value| {
                accepted |= RunRecord::decode(value)?.is_accepted();
                Ok(!accepted)
            })
            .await?;
        }
        Ok(accepted)
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

    /// The rows on which jobs work, by key, with the operation of the job.
    pub(crate) fn rows_of_jobs(&self) -> HashMap<u128, Operation> {
        self.jobs.iter().flat_map(|job| job.keys.iter().map(|key| (*key, job.operation))).collect()
    }

    /// Takes the batches on which a job works out of those without an answer.
    async fn load_jobs(&mut self, read: &dyn StateRead) -> Result<()> {
        let mut tokens = Vec::new();
        scan_all(read, Table::Jobs, Vec::new(), |key, value| {
            let mut r = Reader::new("job", value)?;
            tokens.push((read_sequence_key(key)?, JobToken::new(r.str()?)));
            r.end()?;
            Ok(true)
        })
        .await?;
        for (sequence, token) in tokens {
            let Some(at) = self.orphans.iter().position(|(orphan, _)| *orphan == sequence) else { continue };
            let intent = Intent::decode(&required(read.get(Table::Intents, &sequence_key(sequence)).await?)?)?;
            let operation = Operation::ALL.into_iter().find(|operation| *operation as u8 + 1 == intent.operation);
            let Some(operation) = operation else { continue };
            self.orphans.remove(at);
            self.jobs.push(OpenJob { sequence, token, operation, keys: intent.keys, rows: intent.rows });
        }
        Ok(())
    }

    /// The batches that are in no segment yet, and those of them that have no answer.
    pub(super) async fn load_pending(
        &self,
        read: &dyn StateRead,
        fields: &[FieldName],
    ) -> Result<(Pending, Vec<(u64, Ack)>)> {
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
                let removal = Operation::ALL.iter().any(|o| o.removes() && *o as u8 + 1 == intent.operation);
                let ack = Ack::uniform(intent.keys.len(), if removal { Status::Leaving } else { Status::InDoubt });
                orphans.push((sequence, ack.clone()));
                ack
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
        let remaps = batches.iter().map(|(intent, _)| self.remap(intent.fields, fields)).collect::<Result<Vec<_>>>()?;
        Ok((Pending::new(batches, remaps), orphans))
    }

    /// Fills the index with the newest entry of every key, sorted: the first segment, which is by far the longest, as
    /// it streams in, merged with all that is newer.
    async fn load_keys(&mut self, read: &dyn StateRead, pending: &Pending) -> Result<()> {
        let total: usize = self.segments.iter().map(|(meta, _)| meta.rows as usize).sum();
        if total + self.pending_rows >= NO_IMAGE as usize {
            return Err(Error::new(Kind::Unsupported, "read the state", "more rows than one sync can hold")
                .with_context("rows", total)
                .with_remedy("split the model into several syncs"));
        }
        self.segment_rows = total;
        let segments: Vec<SegmentMeta> = self.segments.iter().map(|(meta, _)| *meta).collect();
        self.first_keys = vec![Vec::new(); segments.len()];
        let Some((base, rest)) = segments.split_first() else {
            self.newer(read, &[], 0, pending).await?.into_iter().for_each(|entry| self.push(entry));
            return Ok(());
        };
        let mut newer = self.newer(read, rest, base.rows as u32, pending).await?.into_iter().peekable();
        self.entries.reserve_exact(base.rows as usize + newer.len());
        let mut location = 0;
        for number in 0..base.blocks() {
            let record = key_record(read, base, number).await?;
            let block = key_block(&record, base, number)?;
            self.first_keys[0].push(block.key(0));
            let mut row = 0;
            loop {
                let end = newer.peek().map_or(block.len(), |other| block.lower_bound(row, other.key));
                self.extend(&block, row..end, location);
                row = end;
                if row == block.len() {
                    break;
                }
                let Some(mut other) = newer.next() else { break };
                if other.key == block.key(row) {
                    other = other.over(Loaded::of_block(&block, row, 0, location));
                    row += 1;
                }
                self.push(other);
            }
            location += block.len() as u32;
        }
        newer.for_each(|entry| self.push(entry));
        Ok(())
    }

    /// The newest entry of every key in `segments` and in pending batches, sorted.
    async fn newer(
        &mut self,
        read: &dyn StateRead,
        segments: &[SegmentMeta],
        mut location: u32,
        pending: &Pending,
    ) -> Result<Vec<Loaded>> {
        let mut newer = Vec::new();
        for (age, meta) in (1..).zip(segments) {
            for number in 0..meta.blocks() {
                let record = key_record(read, meta, number).await?;
                let block = key_block(&record, meta, number)?;
                self.first_keys[age as usize].push(block.key(0));
                newer.extend((0..block.len()).map(|row| Loaded::of_block(&block, row, age, location)));
                location += block.len() as u32;
            }
        }
        for entry in pending.entries() {
            let mut location = NO_IMAGE;
            if let Some((image, remap)) = entry.image {
                location = (self.segment_rows + self.fresh.len() / self.width.max(1)) as u32;
                remap.append(image, &mut self.fresh);
            }
            let (status, attempts, anew) = (entry.status, entry.attempts, entry.anew);
            newer.push(Loaded { key: entry.key, age: u32::MAX, row: entry.row, location, status, attempts, anew });
        }
        newer.sort_unstable_by_key(|entry| (entry.key, Reverse(entry.age)));
        newer.dedup_by(|older, newest| {
            let same = older.key == newest.key;
            if same {
                *newest = newest.over(*older);
            }
            same
        });
        Ok(newer)
    }

    /// Appends an entry; its key is above all before it. A removed key is forgotten.
    fn push(&mut self, entry: Loaded) {
        if entry.status == Status::Removed {
            return;
        }
        let position = self.entries.len() as u32;
        if entry.status != Status::Synced {
            self.marks.insert(position, (entry.status, entry.attempts));
        }
        self.locate(std::iter::once(entry.location), entry.location == position);
        self.entries.push([(entry.key >> 64) as u64, entry.key as u64, entry.row]);
    }

    /// Appends rows of a block whose first image is at `location`.
    fn extend(&mut self, block: &KeyBlockView<'_>, rows: Range<usize>, location: u32) {
        if !block.is_plain() {
            return rows.for_each(|row| self.push(Loaded::of_block(block, row, 0, location)));
        }
        let (from, to) = (location + rows.start as u32, location + rows.end as u32);
        self.locate(from..to, from as usize == self.entries.len());
        self.entries.extend(rows.map(|row| {
            let key = block.key(row);
            [(key >> 64) as u64, key as u64, block.row(row)]
        }));
    }

    /// Appends locations; nothing is kept as long as all are `in_place`.
    fn locate(&mut self, locations: impl Iterator<Item = u32>, in_place: bool) {
        match &mut self.locations {
            Some(list) => list.extend(locations),
            None if in_place => {}
            None => self.locations = Some((0..self.entries.len() as u32).chain(locations).collect()),
        }
    }

    /// Key hashes are uniform, so the top bits of a key tell nearly where it is: one or two entries a bucket.
    fn index(&mut self) {
        let bits = self.entries.len().max(2).ilog2();
        self.shift = 64 - bits;
        self.buckets = Vec::with_capacity((1 << bits) + 1);
        for (position, entry) in self.entries.iter().enumerate() {
            let bucket = (entry[0] >> self.shift) as usize;
            while self.buckets.len() <= bucket {
                self.buckets.push(position as u32);
            }
        }
        self.buckets.resize((1 << bits) + 1, self.entries.len() as u32);
    }

    /// Keys that are known.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Fields of an image.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Where `key` is, and the hash of its settled row.
    fn search(&self, key: KeyHash, start: u32) -> Option<(usize, u64)> {
        let wanted = ((key.0 >> 64) as u64, key.0 as u64);
        let mut position = start as usize;
        loop {
            let [high, low, row] = *self.entries.get(position)?;
            match (high, low).cmp(&wanted) {
                Ordering::Less => position += 1,
                Ordering::Equal => return Some((position, row)),
                Ordering::Greater => return None,
            }
        }
    }

    fn start(&self, key: KeyHash) -> u32 {
        let bucket = ((key.0 >> 64) as u64).checked_shr(self.shift).unwrap_or_default();
        self.buckets.get(bucket as usize).copied().unwrap_or(NO_IMAGE)
    }

    /// The position of `key`.
    pub(crate) fn find(&self, key: KeyHash) -> Option<usize> {
        self.search(key, self.start(key)).map(|(position, _)| position)
    }

    /// The position of each key and the hash of its settled row.
    ///
    /// The index is far larger than the processor's caches. Look-ups of one pass do not wait for one another, so
    /// their cache misses overlap.
    pub(crate) fn find_all(&self, keys: &[Option<KeyHash>]) -> Vec<Option<(usize, u64)>> {
        const PASS: usize = 128;
        let mut found = Vec::with_capacity(keys.len());
        let mut starts = [0; PASS];
        for keys in keys.chunks(PASS) {
            for (start, key) in starts.iter_mut().zip(keys) {
                *start = key.map_or(NO_IMAGE, |key| self.start(key));
            }
            let touch = |start: &u32| self.entries.get(*start as usize).map_or(0, |entry| entry[0]);
            std::hint::black_box(starts.iter().map(touch).fold(0, u64::wrapping_add));
            found.extend(keys.iter().zip(starts).map(|(key, start)| self.search((*key)?, start)));
        }
        found
    }

    /// The key at `position`.
    pub(crate) fn key(&self, position: usize) -> u128 {
        let [high, low, _] = self.entries[position];
        u128::from(high) << 64 | u128::from(low)
    }

    /// The hash of the settled row of the key at `position`, 0 if none is.
    pub(crate) fn settled(&self, position: usize) -> u64 {
        self.entries[position][2]
    }

    /// Keys that the destination acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        match &self.locations {
            None => self.len(),
            Some(locations) => locations.iter().filter(|location| **location != NO_IMAGE).count(),
        }
    }

    /// The standing of the key at `position`.
    pub(crate) fn status(&self, position: usize) -> Status {
        self.marked(position).0
    }

    fn marked(&self, position: usize) -> (Status, u8) {
        if self.marks.is_empty() { None } else { self.marks.get(&(position as u32)).copied() }
            .unwrap_or((Status::Synced, 0))
    }

    /// Positions of the keys that are not plainly synced, in no order.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = usize> {
        self.marks.keys().map(|position| *position as usize)
    }

    /// What is known of the key at `position`.
    pub(crate) fn prior(&self, position: usize) -> Prior {
        let (status, attempts) = self.marked(position);
        Prior { position, status, attempts, acknowledged: self.location(position) != NO_IMAGE }
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
        let mut open: Option<(usize, u32, ImageRecord)> = None;
        let (mut stored, mut scratch) = (Vec::new(), Vec::new());
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
            let block_rows = meta.block_rows as usize;
            let number = (row / block_rows) as u32;
            if !matches!(&open, Some((s, b, _)) if (*s, *b) == (segment, number)) {
                let record = required(read.get(Table::Images, &block_key(meta.id, number)).await?)?;
                open = Some((segment, number, ImageRecord::new(record)?));
            }
            let Some((_, _, block)) = &open else { continue };
            stored.clear();
            block.read(row % block_rows, &mut stored)?;
            scratch.clear();
            remap.append(&stored, &mut scratch);
            target.copy_from_slice(&scratch);
        }
        Ok(images)
    }

    /// The last run that began, if it never ended.
    pub(crate) fn interrupted_run(&self) -> Option<RunId> {
        self.runs.last().filter(|run| run.ended_ms == 0).map(|run| RunId(run.run))
    }
}

fn check_format(record: &[u8]) -> Result<()> {
    let format = Reader::new("format", record)?.u32()?;
    if format > FORMAT {
        return Err(Error::new(Kind::StateTooNew, "read the state", "the state was written by a newer version")
            .with_context("format", format)
            .with_context("known", FORMAT)
            .with_remedy("run this sync with the newer version of the library"));
    }
    Ok(())
}

fn damaged() -> Error {
    Error::new(Kind::StateCorrupt, "read the state", "the records of the state contradict each other")
        .with_remedy(DAMAGE_REMEDY)
}
