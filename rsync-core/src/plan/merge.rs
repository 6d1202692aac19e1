//! Rows with repeated keys, merged before the plan sees them.
//!
//! The model streams into an unlinked temporary file, with 16 bytes of memory a row. Then it is known which keys are
//! repeated: rows with a key of their own pass on from the file unchanged, the others go to files by parts of their key,
//! each small enough to be merged in memory.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufReader, BufWriter, Seek as _, SeekFrom};

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::compute;
use arrow::datatypes::SchemaRef;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;

use super::builder::{Builder, Frame};
use super::spool::io_failed;
use crate::error::{Error, Kind, Result};
use crate::ids::{ColumnName, KeyHash};
use crate::model::Merge;
use crate::source::{CellFault, Extracted};

/// Rows that are merged together.
const PART_ROWS: u64 = 65_536;
/// Most files for parts.
const PARTS: u64 = 256;

/// Batches in a temporary file.
struct BatchFile(StreamWriter<BufWriter<File>>);

impl BatchFile {
    fn new(schema: &SchemaRef) -> Result<Self> {
        let file = tempfile::tempfile().map_err(io_failed)?;
        Ok(Self(StreamWriter::try_new(BufWriter::new(file), schema).map_err(io_failed)?))
    }

    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.write(batch).map_err(io_failed)
    }

    fn read(mut self) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send> {
        self.0.finish().map_err(io_failed)?;
        let mut file = self.0.into_inner().map_err(io_failed)?.into_inner().map_err(|e| io_failed(e.into_error()))?;
        file.seek(SeekFrom::Start(0)).map_err(io_failed)?;
        let reader = StreamReader::try_new(BufReader::new(file), None).map_err(io_failed)?;
        Ok(reader.map(|batch| batch.map_err(io_failed)))
    }
}

/// Takes a model batch by batch and hands it on with its keys merged.
pub(crate) struct Merger<'a> {
    frame: &'a Frame<'a>,
    merge: &'a Merge,
    columns: Vec<ColumnName>,
    file: Option<BatchFile>,
    keys: Vec<u128>,
    /// By batch.
    faults: BTreeMap<usize, Vec<CellFault>>,
    /// Keys of rows with a cell that the source could not represent.
    faulty: HashSet<u128>,
    batches: usize,
}

impl<'a> Merger<'a> {
    /// A merger of the `columns` that the plan uses.
    pub(crate) fn new(frame: &'a Frame<'a>, merge: &'a Merge, columns: Vec<ColumnName>) -> Self {
        let (file, keys, faults, faulty) = (None, Vec::new(), BTreeMap::new(), HashSet::new());
        Self { frame, merge, columns, file, keys, faults, faulty, batches: 0 }
    }

    /// Takes one batch.
    pub(crate) fn add(&mut self, extracted: Extracted) -> Result<()> {
        let indices = self.columns.iter().map(|column| extracted.batch.schema_ref().index_of(column.as_str()));
        let indices = indices.collect::<Result<Vec<_>, _>>().map_err(damaged)?;
        let batch = extracted.batch.project(&indices).map_err(damaged)?;
        let keys = self.frame.keys.hash(&batch)?;
        self.keys.extend(keys.iter().flatten().map(|key| key.0));
        let used = |fault: &CellFault| self.columns.contains(&fault.column);
        let faults: Vec<CellFault> = extracted.faults.into_iter().filter(used).collect();
        self.faulty.extend(faults.iter().filter_map(|fault| Some(keys.get(fault.row)?.as_ref()?.0)));
        if !faults.is_empty() {
            self.faults.insert(self.batches, faults);
        }
        let file = match self.file.as_mut() {
            Some(file) => file,
            None => self.file.insert(BatchFile::new(batch.schema_ref())?),
        };
        file.push(&batch)?;
        self.batches += 1;
        Ok(())
    }

    /// Ends the read: hands all rows to `builder`.
    pub(crate) async fn finish(mut self, builder: &mut Builder<'_>) -> Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let (repeated, rows) = repeated(std::mem::take(&mut self.keys));
        let parts = rows.div_ceil(PART_ROWS).clamp(1, PARTS);
        let mut files: BTreeMap<u64, BatchFile> = BTreeMap::new();
        for (number, batch) in file.read()?.enumerate() {
            let batch = batch?;
            let faults = self.faults.remove(&number).unwrap_or_default();
            let keys = self.frame.keys.hash(&batch)?;
            // What cannot be represented in one of them cannot be merged: all rows of such a key stay as they are.
            let is_repeated = |key: &KeyHash| repeated.contains(&key.0) && !self.faulty.contains(&key.0);
            let mut by_part: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
            let mut passes = vec![true; keys.len()];
            for (row, key) in keys.iter().enumerate() {
                if let Some(key) = key.as_ref().filter(|key| is_repeated(key)) {
                    passes[row] = false;
                    by_part.entry((key.0 >> 96) as u64 % parts).or_default().push(row as u32);
                }
            }
            if by_part.is_empty() {
                builder.add(&Extracted { batch, faults }).await?;
                continue;
            }
            for (part, rows) in by_part {
                let rows = compute::take_record_batch(&batch, &UInt32Array::from(rows)).map_err(damaged)?;
                let file = match files.entry(part) {
                    Entry::Occupied(file) => file.into_mut(),
                    Entry::Vacant(place) => place.insert(BatchFile::new(rows.schema_ref())?),
                };
                file.push(&rows)?;
            }
            // Rows with a fault are not merged, so all of them pass, further up.
            let place = |row: usize| passes[..row].iter().filter(|passes| **passes).count();
            let faults = faults.into_iter().map(|fault| CellFault { row: place(fault.row), ..fault }).collect();
            let batch = compute::filter_record_batch(&batch, &BooleanArray::from(passes)).map_err(damaged)?;
            builder.add(&Extracted { batch, faults }).await?;
        }
        for file in files.into_values() {
            self.merge_part(file, builder).await?;
        }
        Ok(())
    }

    async fn merge_part(&self, file: BatchFile, builder: &mut Builder<'_>) -> Result<()> {
        let pieces = file.read()?.collect::<Result<Vec<_>>>()?;
        let Some(first) = pieces.first() else { return Ok(()) };
        let batch = compute::concat_batches(first.schema_ref(), &pieces).map_err(damaged)?;
        let keys: Vec<u128> = self.frame.keys.hash(&batch)?.into_iter().flatten().map(|key| key.0).collect();
        if keys.len() != batch.num_rows() {
            return Err(Error::new(Kind::Internal, "merge rows", "a row has lost its key"));
        }
        let merged = self.merge.apply(&batch, &keys)?;
        builder.fold_away(merged.folded);
        builder.add(&merged.rows.into()).await?;
        builder.add(&merged.left.into()).await
    }
}

/// The keys that several rows have, and how many rows these are.
fn repeated(mut keys: Vec<u128>) -> (HashSet<u128>, u64) {
    keys.sort_unstable();
    let several = keys.chunk_by(|a, b| a == b).filter(|run| run.len() > 1);
    let (mut repeated, mut rows) = (HashSet::new(), 0);
    for run in several {
        repeated.insert(run[0]);
        rows += run.len() as u64;
    }
    (repeated, rows)
}

fn damaged(e: arrow::error::ArrowError) -> Error {
    Error::new(Kind::Internal, "merge rows", "the rows cannot be put together").with_source(e)
}
