//! The packed design: one record a batch while a run goes on, sorted blocks of rows afterwards.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::blobs::{Blobs, Name};
use crate::segment::{Block, BlockBuilder, IMAGE_BYTES, KEY_BYTES, Pending, SEAL, ack, intent, keys, merge};
use crate::workload::{Batch, Result, Row, Store};

/// Acknowledged rows that are turned into one sorted segment.
const SEGMENT_ROWS: usize = 131_072;

/// Where sorted blocks are kept.
#[derive(Debug)]
pub(crate) enum Place {
    /// In the transactional store, beside the batches.
    Store,
    /// In flat files of a directory; the transactional store knows their names.
    Files(PathBuf),
}

/// The packed design over some transactional store.
#[derive(Debug)]
pub(crate) struct Packed<B> {
    blobs: B,
    place: Place,
    block_rows: usize,
    segments: Vec<u32>,
    next_segment: u32,
    pending: usize,
    settled: u64,
    acked: u64,
    commits: u64,
}

fn id(segment: u32, block: u32) -> u64 {
    u64::from(segment) << 32 | u64::from(block)
}

impl<B: Blobs> Packed<B> {
    pub(crate) fn new(blobs: B, place: Place, block_rows: usize) -> Self {
        let (settled, acked) = (0, 0);
        Self { blobs, place, block_rows, segments: Vec::new(), next_segment: 0, pending: 0, settled, acked, commits: 0 }
    }

    /// Continues with a finished state that consists of one segment.
    pub(crate) fn reopened(mut self) -> Result<Self> {
        self.blobs.scan(Name::Files, 0..u64::MAX, &mut |segment, _| {
            self.segments = vec![segment as u32];
            Ok(())
        })?;
        Ok(self)
    }

    pub(crate) fn into_blobs(self) -> B {
        self.blobs
    }

    /// Turns the pending batches into a segment.
    fn settle(&mut self) -> Result<()> {
        let batches = self.settled..self.acked;
        let mut rows = Pending::default();
        self.blobs.scan(Name::Intents, batches.clone(), &mut |_, intent| {
            rows.intent(intent);
            Ok(())
        })?;
        self.blobs.scan(Name::Acks, batches.clone(), &mut |_, ack| {
            rows.ack(ack);
            Ok(())
        })?;
        let segment = self.replace(&[], batches, |_, blocks| std::mem::take(&mut rows).sorted(blocks))?;
        self.segments.push(segment);
        self.settled = self.acked;
        self.pending = 0;
        Ok(())
    }

    /// Writes a new segment and removes, in the same transaction, what it replaces.
    fn replace(
        &mut self,
        segments: &[u32],
        batches: std::ops::Range<u64>,
        mut fill: impl FnMut(&Self, &mut BlockBuilder<'_>) -> Result<()>,
    ) -> Result<u32> {
        let segment = self.next_segment;
        if let Place::Files(_) = &self.place {
            let mut file = SegmentFile::create(self.path(segment), self.block_rows)?;
            let mut sink = |_, keys: &[u8], images: &[u8]| file.push(keys, images);
            fill(self, &mut BlockBuilder::new(self.block_rows, &mut sink))?;
            file.finish()?;
        }
        self.blobs.write(&mut |writer| {
            if matches!(self.place, Place::Store) {
                let mut sink = |block, keys: &[u8], images: &[u8]| {
                    writer.put(Name::Keys, id(segment, block), keys)?;
                    writer.put(Name::Images, id(segment, block), images)
                };
                fill(self, &mut BlockBuilder::new(self.block_rows, &mut sink))?;
                for &old in segments {
                    writer.remove(Name::Keys, id(old, 0)..id(old + 1, 0))?;
                    writer.remove(Name::Images, id(old, 0)..id(old + 1, 0))?;
                }
            }
            writer.put(Name::Files, segment.into(), &[])?;
            for &old in segments {
                writer.remove(Name::Files, old.into()..u64::from(old) + 1)?;
            }
            writer.remove(Name::Intents, batches.clone())?;
            writer.remove(Name::Acks, batches.clone())
        })?;
        if let Place::Files(_) = &self.place {
            for &old in segments {
                fs::remove_file(self.path(old))?;
            }
        }
        self.commits += 1;
        self.next_segment += 1;
        Ok(segment)
    }

    fn path(&self, segment: u32) -> PathBuf {
        let name = format!("segment-{segment}");
        match &self.place {
            Place::Store => PathBuf::from(name),
            Place::Files(dir) => dir.join(name),
        }
    }

    fn block(&self, segment: u32, block: u32) -> Result<Option<Block>> {
        match &self.place {
            Place::Store => {
                let keys = self.blobs.get(Name::Keys, id(segment, block))?;
                let images = self.blobs.get(Name::Images, id(segment, block))?;
                keys.zip(images).map(|(keys, images)| Block::new(keys, images)).transpose()
            }
            Place::Files(_) => {
                let record = SegmentFile::read(&File::open(self.path(segment))?, self.block_rows, block, true)?;
                record.map(|(keys, images)| Block::new(keys, images)).transpose()
            }
        }
    }

    /// Calls `each` for the rows of every block of the one segment of a finished state.
    fn blocks(&self, each: &mut dyn FnMut(Block)) -> Result<()> {
        for &segment in &self.segments {
            for number in 0.. {
                let Some(block) = self.block(segment, number)? else { break };
                each(block);
            }
        }
        Ok(())
    }
}

impl<B: Blobs> Store for Packed<B> {
    fn commit(&mut self, acked: &[Batch], sent: &[Batch]) -> Result<()> {
        self.blobs.write(&mut |writer| {
            for batch in acked {
                writer.put(Name::Acks, batch.seq, &ack(batch))?;
            }
            for batch in sent {
                writer.put(Name::Intents, batch.seq, &intent(batch))?;
            }
            Ok(())
        })?;
        self.commits += 1;
        self.pending += acked.iter().map(|batch| batch.rows.len()).sum::<usize>();
        self.acked = acked.last().map_or(self.acked, |batch| batch.seq + 1);
        if self.pending >= SEGMENT_ROWS { self.settle() } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<()> {
        if self.pending > 0 {
            self.settle()?;
        }
        let segments = std::mem::take(&mut self.segments);
        let base = self.replace(&segments, 0..0, |store, blocks| {
            merge(&segments, &|segment, block| store.block(segment, block), blocks)
        })?;
        self.segments = vec![base];
        Ok(())
    }

    fn commits(&self) -> u64 {
        self.commits
    }

    fn keys(&self, each: &mut dyn FnMut(u128, u64)) -> Result<()> {
        if matches!(self.place, Place::Store) {
            let range = self.segments.first().map_or(0..0, |&base| id(base, 0)..id(base + 1, 0));
            return self.blobs.scan(Name::Keys, range, &mut |_, record| {
                keys(record)?.for_each(|(key, hash)| each(key, hash));
                Ok(())
            });
        }
        for &segment in &self.segments {
            let file = File::open(self.path(segment))?;
            for number in 0.. {
                let Some((record, _)) = SegmentFile::read(&file, self.block_rows, number, false)? else { break };
                keys(&record)?.for_each(|(key, hash)| each(key, hash));
            }
        }
        Ok(())
    }

    fn rows(&self, each: &mut dyn FnMut(&Row)) -> Result<()> {
        self.blocks(&mut |block| block.each(each))
    }
}

/// A segment as a flat file: keys and images of one block behind another, all blocks but the last of the same size. It
/// appears under its name only when it is complete and on the disk.
struct SegmentFile {
    path: PathBuf,
    out: BufWriter<File>,
}

impl SegmentFile {
    fn create(path: PathBuf, block_rows: usize) -> Result<Self> {
        let out = BufWriter::with_capacity(block_rows * KEY_BYTES, File::create(path.with_extension("new"))?);
        Ok(Self { path, out })
    }

    fn push(&mut self, keys: &[u8], images: &[u8]) -> Result<()> {
        self.out.write_all(keys)?;
        Ok(self.out.write_all(images)?)
    }

    fn finish(mut self) -> Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        fs::rename(self.path.with_extension("new"), &self.path)?;
        let dir = self.path.parent().ok_or("a file has a directory")?;
        Ok(File::open(dir)?.sync_all()?)
    }

    /// Reads block `number`, without its images unless asked for.
    fn read(file: &File, block_rows: usize, number: u32, images: bool) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let whole = (2 * SEAL + block_rows * (KEY_BYTES + IMAGE_BYTES)) as u64;
        let start = u64::from(number) * whole;
        let size = file.metadata()?.len().saturating_sub(start).min(whole) as usize;
        if size == 0 {
            return Ok(None);
        }
        let rows = (size - 2 * SEAL) / (KEY_BYTES + IMAGE_BYTES);
        let record = |at: u64, rows_bytes: usize| -> Result<Vec<u8>> {
            let mut bytes = vec![0; SEAL + rows_bytes];
            file.read_exact_at(&mut bytes, at)?;
            Ok(bytes)
        };
        let keys = record(start, rows * KEY_BYTES)?;
        let images = if images { record(start + keys.len() as u64, rows * IMAGE_BYTES)? } else { Vec::new() };
        Ok(Some((keys, images)))
    }
}
