//! Rows that wait to be written, out of memory but for a few.

use std::fmt;
use std::fs::File;
use std::io::Cursor;
use std::io::{BufReader, BufWriter, Seek, SeekFrom};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, RecordBatch, StringArray, UInt8Array, UInt32Array,
    UInt64Array,
};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt8Type, UInt64Type};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;

use crate::capability::Operation;
use crate::error::{Error, Kind, Result};
use crate::ids::FieldName;
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
    /// The ids of the records: null where a row goes by key. `None` where none can go by id.
    pub(crate) ids: Option<StringArray>,
    /// Where fields are read before they are written, the images that the destination may have from this sync, one after
    /// the other as bytes: the acknowledged one, zeros if there is none, then those of unknown fate. See
    /// [`Work::before`].
    pub(crate) before: Option<BinaryArray>,
    /// Row after row, where rows can go by id, the bits of the fields that the mapping gave, sent or not.
    pub(crate) mapped: Vec<u8>,
}

/// Images in the form of [`Work::before`].
pub(crate) fn image_bytes(images: impl IntoIterator<Item = u64>) -> Vec<u8> {
    images.into_iter().flat_map(u64::to_le_bytes).collect()
}

/// The bits of the fields that are present, row after row, each row from a byte of its own.
pub(crate) fn presence_bytes(rows: &Rows) -> Vec<u8> {
    let mask_bytes = rows.batch().num_columns().div_ceil(8);
    let mut masks = vec![0_u8; rows.len() * mask_bytes];
    for column in 0..rows.batch().num_columns() {
        let bits = rows.presence(column);
        for row in (0..rows.len()).filter(|row| bits.is_none_or(|bits| bits.value(*row))) {
            masks[row * mask_bytes + column / 8] |= 1 << (column % 8);
        }
    }
    masks
}

/// `rows` with the fields present that `masks` has.
fn with_presence_bytes(mut rows: Rows, masks: &[u8]) -> Rows {
    let width = rows.batch().num_columns();
    let mask_bytes = width.div_ceil(8);
    for column in 0..width {
        let mask = (0..rows.len()).map(|row| masks[row * mask_bytes + column / 8] & (1 << (column % 8)) != 0);
        rows = rows.with_presence(column, mask.collect());
    }
    rows
}

impl Work {
    /// No rows of these fields.
    pub(crate) fn empty(schema: &SchemaRef) -> Result<Self> {
        let rows = Rows::new(RecordBatch::new_empty(Arc::clone(schema)))?;
        let (keys, hashes, images) = (Vec::new(), Vec::new(), Vec::new());
        let (changes, operations, attempts) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self {
            rows,
            keys,
            hashes,
            images,
            changes,
            operations,
            attempts,
            ids: None,
            mapped: Vec::new(),
            before: None,
        })
    }

    /// The fields of its rows.
    pub(crate) fn fields(&self) -> Vec<FieldName> {
        self.rows.schema().fields().iter().map(|field| FieldName::new(field.name().as_str())).collect()
    }

    /// All of it but record ids and images of before, as bytes.
    pub(crate) fn to_ipc(&self) -> Result<Vec<u8>> {
        let schema = spool_schema(self.rows.schema(), With::Nothing);
        let failed = |e| Error::new(Kind::Internal, "keep rows", "they cannot be written").with_source(e);
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(failed)?;
        let plain = Self { ids: None, mapped: Vec::new(), before: None, ..self.clone() };
        writer.write(&plain.to_batch(&schema)?).map_err(failed)?;
        writer.into_inner().map_err(failed)
    }

    /// Reads the bytes of [`Work::to_ipc`].
    pub(crate) fn from_ipc(bytes: &[u8]) -> Result<Self> {
        let mut reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(|e| damaged().with_source(e))?;
        let batch = reader.next().ok_or_else(damaged)?.map_err(|e| damaged().with_source(e))?;
        let width = batch.num_columns().checked_sub(EXTRA_COLUMNS).ok_or_else(damaged)?;
        Self::from_batch(&batch, width)
    }

    /// Whether `row` goes by the id of its record.
    pub(crate) fn by_id(&self, row: usize) -> bool {
        self.ids.as_ref().is_some_and(|ids| ids.is_valid(row))
    }

    /// The id of the record that `row` goes by.
    pub(crate) fn id(&self, row: usize) -> Option<&str> {
        self.ids.as_ref().and_then(|ids| value(ids, row))
    }

    /// The same rows for records that have nothing of them yet: with all fields that the mapping gave, by key.
    pub(crate) fn anew(mut self) -> Self {
        if !self.mapped.is_empty() {
            self.rows = with_presence_bytes(self.rows, &self.mapped);
        }
        for column in 0..self.width() {
            let width = self.width();
            if let Some(bits) = self.rows.presence(column) {
                let absent = (0..bits.len()).filter(|row| !bits.value(*row));
                absent.for_each(|row| self.images[row * width + column] = 0);
            }
        }
        self.changes.fill(Change::New);
        self
    }

    /// What goes with the rows.
    pub(crate) fn with(&self) -> With {
        match (&self.ids, &self.before) {
            (Some(_), _) => With::Ids,
            (None, Some(_)) => With::Before,
            (None, None) => With::Nothing,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// What this sync may have written into `field` of `row`, as field hashes: what was acknowledged, 0 if nothing was,
    /// then what was sent with unknown fate.
    pub(crate) fn before(&self, row: usize, field: usize) -> impl Iterator<Item = u64> {
        let bytes = self.before.as_ref().map_or(&[][..], |before| before.value(row));
        let images = bytes.as_chunks::<8>().0.chunks_exact(self.width());
        images.map(move |image| u64::from_le_bytes(image[field]))
    }

    pub(crate) fn width(&self) -> usize {
        self.rows.batch().num_columns()
    }

    /// About what it takes in memory.
    fn bytes(&self) -> usize {
        self.rows.batch().get_array_memory_size() + self.len() * (27 + 8 * self.width())
    }

    pub(crate) fn take(&self, indices: &[u32]) -> Result<Self> {
        let width = self.width();
        let pick = |i: &u32| *i as usize;
        let array = UInt32Array::from(indices.to_vec());
        Ok(Self {
            rows: self.rows.take(&array)?,
            ids: self.ids.as_ref().map(|ids| indices.iter().map(|i| value(ids, pick(i))).collect()),
            before: self.before.as_ref().map(|all| indices.iter().map(|i| Some(all.value(pick(i)))).collect()),
            mapped: match self.mapped.is_empty() {
                true => Vec::new(),
                false => {
                    let bytes = width.div_ceil(8);
                    let mask = |i: &u32| &self.mapped[pick(i) * bytes..(pick(i) + 1) * bytes];
                    indices.iter().flat_map(mask).copied().collect()
                }
            },
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
            before: self.before.as_ref().map(|before| before.slice(from, len)),
            mapped: match self.mapped.is_empty() {
                true => Vec::new(),
                false => self.mapped[from * width.div_ceil(8)..to * width.div_ceil(8)].to_vec(),
            },
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
            before: first
                .before
                .as_ref()
                .map(|_| pieces.iter().flat_map(|piece| piece.before.iter().flatten()).collect()),
            mapped: pieces.iter().flat_map(|piece| &piece.mapped).copied().collect(),
        })
    }

    fn to_batch(&self, schema: &SchemaRef) -> Result<RecordBatch> {
        let width = self.width();
        let mask_bytes = width.div_ceil(8);
        let masks = presence_bytes(&self.rows);
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
            let mapped = if self.mapped.is_empty() { presence_bytes(&self.rows) } else { self.mapped.clone() };
            columns.push(fixed(mask_bytes, mapped)?);
        }
        if let Some(before) = &self.before {
            columns.push(Arc::new(before.clone()));
        }
        RecordBatch::try_new(Arc::clone(schema), columns)
            .map_err(|e| Error::new(Kind::Internal, "spool rows", "the columns do not fit").with_source(e))
    }

    fn from_batch(batch: &RecordBatch, width: usize) -> Result<Self> {
        let fields: Vec<usize> = (0..width).collect();
        let rows = Rows::new(batch.project(&fields).map_err(|e| damaged().with_source(e))?)?;
        let rows = with_presence_bytes(rows, bytes(batch.column(width)));
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
            ids: batch.column_by_name(ID).map(|ids| ids.as_string().clone()),
            before: batch.column_by_name(BEFORE).map(|before| before.as_binary().clone()),
            mapped: batch.column_by_name(MAPPED).map_or_else(Vec::new, |mapped| bytes(mapped).to_vec()),
        })
    }
}

/// Columns of a spool beside the fields of the rows and the ids of records.
const EXTRA_COLUMNS: usize = 7;

fn spool_schema(fields: &SchemaRef, with: With) -> SchemaRef {
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
    match with {
        With::Nothing => {}
        With::Ids => {
            all.push(Arc::new(Field::new(ID, DataType::Utf8, true)));
            all.push(Arc::new(Field::new(MAPPED, DataType::FixedSizeBinary(width.div_ceil(8) as i32), false)));
        }
        With::Before => all.push(Arc::new(Field::new(BEFORE, DataType::Binary, false))),
    }
    Arc::new(Schema::new(all))
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

pub(super) fn io_failed(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(Kind::Internal, "spool rows", "the temporary file cannot be written")
        .with_remedy("free space in the folder for temporary files (TMPDIR)")
        .with_source(e)
}

/// What goes with the rows of a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum With {
    Nothing,
    /// [`Work::ids`] and [`Work::mapped`].
    Ids,
    /// [`Work::before`].
    Before,
}

/// Names that no mapped field is taken for: these columns are looked for behind the others.
const ID: &str = "\0id";
const MAPPED: &str = "\0mapped";
const BEFORE: &str = "\0before";

/// What a spool holds in memory before it becomes a file, so that a run with little to do touches no disk.
const HELD_BYTES: usize = 64 << 10;

/// Takes rows; what is more than a little goes to an unlinked temporary file: nothing stays on disk after the process.
pub(crate) struct SpoolWriter {
    held: Vec<Work>,
    held_bytes: usize,
    file: Option<(SchemaRef, StreamWriter<BufWriter<File>>)>,
    fields: SchemaRef,
    with: With,
    rows: u64,
}

impl SpoolWriter {
    /// A spool of rows and what else goes with them.
    pub(crate) fn new(fields: &SchemaRef, with: With) -> Self {
        Self { held: Vec::new(), held_bytes: 0, file: None, fields: Arc::clone(fields), with, rows: 0 }
    }

    pub(crate) fn push(&mut self, work: &Work) -> Result<()> {
        self.rows += work.len() as u64;
        self.held_bytes += work.bytes();
        if self.held_bytes <= HELD_BYTES {
            self.held.push(work.clone());
            return Ok(());
        }
        let (schema, mut file) = match self.file.take() {
            Some(file) => file,
            None => self.open()?,
        };
        for work in std::mem::take(&mut self.held).iter().chain([work]) {
            file.write(&work.to_batch(&schema)?).map_err(io_failed)?;
        }
        self.file = Some((schema, file));
        Ok(())
    }

    fn open(&self) -> Result<(SchemaRef, StreamWriter<BufWriter<File>>)> {
        let schema = spool_schema(&self.fields, self.with);
        let file = tempfile::tempfile().map_err(io_failed)?;
        let writer = StreamWriter::try_new(BufWriter::new(file), &schema).map_err(io_failed)?;
        Ok((schema, writer))
    }

    pub(crate) fn finish(self) -> Result<Spool> {
        let file = match self.file {
            None => None,
            Some((_, mut writer)) => {
                writer.finish().map_err(io_failed)?;
                let file = writer.into_inner().map_err(io_failed)?;
                Some(file.into_inner().map_err(|e| io_failed(e.into_error()))?)
            }
        };
        Ok(Spool { held: self.held, file, width: self.fields.fields().len(), rows: self.rows })
    }
}

/// Spooled rows.
pub(crate) struct Spool {
    /// All of them, if there is no file.
    held: Vec<Work>,
    file: Option<File>,
    width: usize,
    rows: u64,
}

/// A plan is shown to people, and its rows must not be.
impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl Spool {
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Reads the rows from the beginning, piece by piece.
    pub(crate) fn read(self) -> Result<impl Iterator<Item = Result<Work>> + Send> {
        let width = self.width;
        let reader = match self.file {
            None => None,
            Some(mut file) => {
                file.seek(SeekFrom::Start(0)).map_err(io_failed)?;
                Some(StreamReader::try_new(BufReader::new(file), None).map_err(io_failed)?)
            }
        };
        let work =
            move |batch: Result<RecordBatch, _>| Work::from_batch(&batch.map_err(|e| damaged().with_source(e))?, width);
        Ok(self.held.into_iter().map(Ok).chain(reader.into_iter().flatten().map(work)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(n: usize, with: With) -> Work {
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
            ids: (with == With::Ids).then(|| (0..n).map(|i| (i % 2 == 0).then(|| format!("r{i}"))).collect()),
            mapped: if with == With::Ids { vec![3; n] } else { Vec::new() },
            before: (with == With::Before)
                .then(|| (0..n).map(|i| Some(image_bytes((0..2 * i as u64).map(|j| 7 * j)))).collect()),
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
                    "{cells} {} {} {:?} {:?} {:?} {:?} {:?} {}",
                    work.keys[row],
                    work.hashes[row],
                    work.changes[row],
                    work.operations[row],
                    &work.images[row * 2..row * 2 + 2],
                    work.ids.as_ref().map(|ids| value(ids, row)),
                    work.before(row, 1).collect::<Vec<_>>(),
                    work.mapped.get(row).copied().unwrap_or_default(),
                )
            })
            .collect()
    }

    #[test]
    fn what_is_spooled_comes_back_from_memory_and_from_a_file() {
        for (n, with) in
            [10, 2_000].into_iter().flat_map(|n| [With::Nothing, With::Ids, With::Before].map(|with| (n, with)))
        {
            let all = work(n, with);
            let mut writer = SpoolWriter::new(all.rows.schema(), with);
            // The first piece is small enough to be held, whatever comes after it.
            writer.push(&all.slice(0, 3).take(&[0, 1, 2]).unwrap()).unwrap();
            writer.push(&all.slice(3, n - 3)).unwrap();
            let spool = writer.finish().unwrap();
            assert_eq!((spool.rows(), spool.file.is_some()), (n as u64, n > 10));
            assert_eq!(format!("{spool:?}"), format!("Spool {{ rows: {n}, .. }}"));
            let pieces: Vec<Work> = spool.read().unwrap().collect::<Result<_>>().unwrap();
            let back = Work::concat(&pieces).unwrap();
            assert_eq!(shown(&back), shown(&all));
            assert_eq!(shown(&back.take(&[4, 1]).unwrap()), [shown(&all)[4].clone(), shown(&all)[1].clone()]);
            let bytes = back.to_ipc().unwrap();
            let plain = Work { ids: None, mapped: Vec::new(), before: None, ..back };
            assert_eq!(shown(&Work::from_ipc(&bytes).unwrap()), shown(&plain));
        }
    }
}
