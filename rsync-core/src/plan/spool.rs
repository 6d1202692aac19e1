//! Rows that wait to be written, out of memory.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, SeekFrom};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, StringArray, UInt8Array, UInt32Array, UInt64Array,
};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt8Type, UInt64Type};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;

use crate::capability::Operation;
use crate::error::{Error, Kind, Result};
use crate::policy::Change;
use crate::record::Rows;

/// Rows to be written, each with what the state must know of it.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) rows: Rows,
    pub(crate) keys: Vec<u128>,
    pub(crate) hashes: Vec<u64>,
    /// Row after row, the field hashes that hold once the row is written.
    pub(crate) images: Vec<u64>,
    pub(crate) changes: Vec<Change>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) attempts: Vec<u8>,
    /// Of exits, the ids of the records: null where a row goes by key. `None` for writes.
    pub(crate) ids: Option<StringArray>,
}

impl Work {
    /// Whether `row` goes by the id of its record.
    pub(crate) fn by_id(&self, row: usize) -> bool {
        self.ids.as_ref().is_some_and(|ids| ids.is_valid(row))
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn width(&self) -> usize {
        self.rows.batch().num_columns()
    }

    pub(crate) fn take(&self, indices: &[u32]) -> Result<Self> {
        let width = self.width();
        let pick = |i: &u32| *i as usize;
        let array = UInt32Array::from(indices.to_vec());
        Ok(Self {
            rows: self.rows.take(&array)?,
            ids: self.ids.as_ref().map(|ids| indices.iter().map(|i| value(ids, pick(i))).collect()),
            keys: indices.iter().map(|i| self.keys[pick(i)]).collect(),
            hashes: indices.iter().map(|i| self.hashes[pick(i)]).collect(),
            images: indices
                .iter()
                .flat_map(|i| &self.images[pick(i) * width..(pick(i) + 1) * width])
                .copied()
                .collect(),
            changes: indices.iter().map(|i| self.changes[pick(i)]).collect(),
            operations: indices.iter().map(|i| self.operations[pick(i)]).collect(),
            attempts: indices.iter().map(|i| self.attempts[pick(i)]).collect(),
        })
    }

    pub(crate) fn slice(&self, from: usize, len: usize) -> Self {
        let (to, width) = (from + len, self.width());
        Self {
            rows: self.rows.slice(from, len),
            keys: self.keys[from..to].to_vec(),
            hashes: self.hashes[from..to].to_vec(),
            images: self.images[from * width..to * width].to_vec(),
            changes: self.changes[from..to].to_vec(),
            operations: self.operations[from..to].to_vec(),
            attempts: self.attempts[from..to].to_vec(),
            ids: self.ids.as_ref().map(|ids| ids.slice(from, len)),
        }
    }

    /// Pieces one after the other.
    pub(crate) fn concat(pieces: &[Work]) -> Result<Self> {
        let [first, rest @ ..] = pieces else {
            return Err(Error::new(Kind::Internal, "join rows", "there are none"));
        };
        if rest.is_empty() {
            return Ok(first.clone());
        }
        let batch = compute::concat_batches(first.rows.schema(), pieces.iter().map(|piece| piece.rows.batch()))
            .map_err(|e| Error::new(Kind::Internal, "join rows", "the pieces do not fit").with_source(e))?;
        let mut rows = Rows::new(batch)?;
        for column in 0..first.width() {
            if pieces.iter().any(|piece| piece.rows.presence(column).is_some()) {
                let mask = pieces
                    .iter()
                    .flat_map(|piece| {
                        let bits = piece.rows.presence(column);
                        (0..piece.len()).map(move |row| bits.is_none_or(|bits| bits.value(row)))
                    })
                    .collect::<BooleanBuffer>();
                rows = rows.with_presence(column, mask);
            }
        }
        Ok(Self {
            rows,
            keys: pieces.iter().flat_map(|piece| &piece.keys).copied().collect(),
            hashes: pieces.iter().flat_map(|piece| &piece.hashes).copied().collect(),
            images: pieces.iter().flat_map(|piece| &piece.images).copied().collect(),
            changes: pieces.iter().flat_map(|piece| &piece.changes).copied().collect(),
            operations: pieces.iter().flat_map(|piece| &piece.operations).copied().collect(),
            attempts: pieces.iter().flat_map(|piece| &piece.attempts).copied().collect(),
            ids: first.ids.as_ref().map(|_| pieces.iter().flat_map(|piece| piece.ids.iter().flatten()).collect()),
        })
    }

    fn to_batch(&self, schema: &SchemaRef) -> Result<RecordBatch> {
        let width = self.width();
        let mask_bytes = width.div_ceil(8);
        let mut masks = vec![0_u8; self.len() * mask_bytes];
        for column in 0..width {
            let bits = self.rows.presence(column);
            for row in (0..self.len()).filter(|row| bits.is_none_or(|bits| bits.value(*row))) {
                masks[row * mask_bytes + column / 8] |= 1 << (column % 8);
            }
        }
        let mut columns: Vec<ArrayRef> = self.rows.batch().columns().to_vec();
        columns.push(fixed(mask_bytes, masks)?);
        columns.push(fixed(16, self.keys.iter().flat_map(|key| key.to_le_bytes()).collect())?);
        columns.push(fixed(8 * width, self.images.iter().flat_map(|hash| hash.to_le_bytes()).collect())?);
        columns.push(Arc::new(UInt64Array::from(self.hashes.clone())));
        columns.push(Arc::new(self.changes.iter().map(|change| Some(*change as u8)).collect::<UInt8Array>()));
        columns.push(Arc::new(self.operations.iter().map(|operation| Some(*operation as u8)).collect::<UInt8Array>()));
        columns.push(Arc::new(UInt8Array::from(self.attempts.clone())));
        if let Some(ids) = &self.ids {
            columns.push(Arc::new(ids.clone()));
        }
        RecordBatch::try_new(Arc::clone(schema), columns)
            .map_err(|e| Error::new(Kind::Internal, "spool rows", "the columns do not fit").with_source(e))
    }

    fn from_batch(batch: &RecordBatch, width: usize) -> Result<Self> {
        let fields: Vec<usize> = (0..width).collect();
        let mut rows = Rows::new(batch.project(&fields).map_err(|e| damaged().with_source(e))?)?;
        let masks = bytes(batch.column(width));
        let mask_bytes = width.div_ceil(8);
        for column in 0..width {
            let mask: BooleanBuffer = (0..batch.num_rows())
                .map(|row| masks[row * mask_bytes + column / 8] & (1 << (column % 8)) != 0)
                .collect();
            rows = rows.with_presence(column, mask);
        }
        let small = |index: usize| batch.column(index).as_primitive::<UInt8Type>().values().to_vec();
        Ok(Self {
            rows,
            keys: bytes(batch.column(width + 1)).as_chunks::<16>().0.iter().map(|b| u128::from_le_bytes(*b)).collect(),
            images: bytes(batch.column(width + 2)).as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect(),
            hashes: batch.column(width + 3).as_primitive::<UInt64Type>().values().to_vec(),
            changes: small(width + 4)
                .into_iter()
                .map(|byte| {
                    [Change::New, Change::Changed, Change::InDoubt, Change::Missing, Change::Exists]
                        .into_iter()
                        .find(|c| *c as u8 == byte)
                        .ok_or_else(damaged)
                })
                .collect::<Result<_>>()?,
            operations: small(width + 5)
                .into_iter()
                .map(|byte| Operation::ALL.into_iter().find(|o| *o as u8 == byte).ok_or_else(damaged))
                .collect::<Result<_>>()?,
            attempts: small(width + 6),
            ids: (batch.num_columns() > width + 7).then(|| batch.column(width + 7).as_string().clone()),
        })
    }
}

fn value(array: &StringArray, row: usize) -> Option<&str> {
    array.is_valid(row).then(|| array.value(row))
}

fn fixed(size: usize, bytes: Vec<u8>) -> Result<ArrayRef> {
    let array = FixedSizeBinaryArray::try_new(size as i32, Buffer::from_vec(bytes), None)
        .map_err(|e| Error::new(Kind::Internal, "spool rows", "the columns do not fit").with_source(e))?;
    Ok(Arc::new(array))
}

fn bytes(array: &ArrayRef) -> &[u8] {
    let array = array.as_fixed_size_binary();
    let size = array.value_length() as usize;
    &array.value_data()[array.offset() * size..(array.offset() + array.len()) * size]
}

fn damaged() -> Error {
    Error::new(Kind::Internal, "read spooled rows", "the spool cannot be read back")
}

fn io_failed(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(Kind::Internal, "spool rows", "the temporary file cannot be written")
        .with_remedy("free space in the folder for temporary files (TMPDIR)")
        .with_source(e)
}

/// Writes rows to an unlinked temporary file: nothing stays on disk after the process.
pub(crate) struct SpoolWriter {
    writer: StreamWriter<BufWriter<File>>,
    schema: SchemaRef,
    width: usize,
    rows: u64,
}

impl SpoolWriter {
    /// A spool of writes, or of exits with the ids of their records.
    pub(crate) fn new(fields: &SchemaRef, with_ids: bool) -> Result<Self> {
        let width = fields.fields().len();
        let mut all: Vec<Arc<Field>> = fields.fields().iter().map(Arc::clone).collect();
        let mut extra = |name: &str, ty| all.push(Arc::new(Field::new(name, ty, false)));
        extra("presence", DataType::FixedSizeBinary(width.div_ceil(8) as i32));
        extra("key", DataType::FixedSizeBinary(16));
        extra("image", DataType::FixedSizeBinary(8 * width as i32));
        extra("row", DataType::UInt64);
        extra("change", DataType::UInt8);
        extra("operation", DataType::UInt8);
        extra("attempts", DataType::UInt8);
        if with_ids {
            all.push(Arc::new(Field::new("id", DataType::Utf8, true)));
        }
        let schema = Arc::new(Schema::new(all));
        let file = tempfile::tempfile().map_err(io_failed)?;
        let writer = StreamWriter::try_new(BufWriter::new(file), &schema).map_err(io_failed)?;
        Ok(Self { writer, schema, width, rows: 0 })
    }

    pub(crate) fn push(&mut self, work: &Work) -> Result<()> {
        self.rows += work.len() as u64;
        self.writer.write(&work.to_batch(&self.schema)?).map_err(io_failed)
    }

    pub(crate) fn finish(mut self) -> Result<Spool> {
        self.writer.finish().map_err(io_failed)?;
        let file = self.writer.into_inner().map_err(io_failed)?.into_inner().map_err(|e| io_failed(e.into_error()))?;
        Ok(Spool { file, width: self.width, rows: self.rows })
    }
}

/// Spooled rows.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    width: usize,
    rows: u64,
}

impl Spool {
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Reads the rows from the beginning, piece by piece.
    pub(crate) fn read(mut self) -> Result<impl Iterator<Item = Result<Work>> + Send> {
        self.file.seek(SeekFrom::Start(0)).map_err(io_failed)?;
        let reader = StreamReader::try_new(BufReader::new(self.file), None).map_err(io_failed)?;
        let width = self.width;
        Ok(reader.map(move |batch| Work::from_batch(&batch.map_err(|e| damaged().with_source(e))?, width)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(n: usize, with_ids: bool) -> Work {
        let names: ArrayRef = Arc::new((0..n).map(|i| (i % 3 != 0).then(|| format!("n{i}"))).collect::<StringArray>());
        let ids: ArrayRef = Arc::new((0..n as i64).map(Some).collect::<arrow::array::Int64Array>());
        let rows =
            Rows::new(RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("name", names, true)]).unwrap())
                .unwrap()
                .with_presence(1, (0..n).map(|i| i % 2 == 0).collect());
        Work {
            rows,
            keys: (0..n as u128).collect(),
            hashes: (0..n as u64).map(|i| i + 7).collect(),
            images: (0..2 * n as u64).collect(),
            changes: (0..n).map(|i| if i % 2 == 0 { Change::New } else { Change::Changed }).collect(),
            operations: vec![Operation::Upsert; n],
            attempts: vec![2; n],
            ids: with_ids.then(|| (0..n).map(|i| (i % 2 == 0).then(|| format!("r{i}"))).collect()),
        }
    }

    fn shown(work: &Work) -> Vec<String> {
        (0..work.len())
            .map(|row| {
                let mut cells = String::new();
                for (name, cell) in work.rows.cells(row) {
                    cells.push_str(name);
                    match cell {
                        crate::record::Cell::Set(value) => {
                            cells.push('=');
                            value.write_text(&mut cells);
                        }
                        other => cells.push_str(&format!("{other:?}")),
                    }
                }
                format!(
                    "{cells} {} {} {:?} {:?} {:?} {:?}",
                    work.keys[row],
                    work.hashes[row],
                    work.changes[row],
                    work.operations[row],
                    &work.images[row * 2..row * 2 + 2],
                    work.ids.as_ref().map(|ids| value(ids, row))
                )
            })
            .collect()
    }

    #[test]
    fn what_is_spooled_comes_back() {
        for with_ids in [false, true] {
            let all = work(10, with_ids);
            let mut writer = SpoolWriter::new(all.rows.schema(), with_ids).unwrap();
            writer.push(&all.slice(0, 3)).unwrap();
            writer.push(&all.slice(3, 7)).unwrap();
            let spool = writer.finish().unwrap();
            assert_eq!(spool.rows(), 10);
            let pieces: Vec<Work> = spool.read().unwrap().collect::<Result<_>>().unwrap();
            let back = Work::concat(&pieces).unwrap();
            assert_eq!(shown(&back), shown(&all));
            assert_eq!(shown(&back.take(&[4, 1]).unwrap()), [shown(&all)[4].clone(), shown(&all)[1].clone()]);
        }
    }
}
