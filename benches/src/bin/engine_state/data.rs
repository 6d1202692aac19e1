//! Two versions of a table: seeded in the process, or read from Parquet files.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::{StreamExt, stream};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rsync_benches::sample;
use rsync_core::source::{BatchStream, Extracted, ReadRequest, Source};
use rsync_core::{Error, Kind};

use crate::Result;

/// A version of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    First,
    /// 1 % of the rows changed, 0.1 % removed, 0.1 % added; no row is in two of these sets.
    Second,
}

/// What the second version differs in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth {
    pub(crate) changed: u64,
    pub(crate) removed: u64,
    pub(crate) added: u64,
}

impl Truth {
    pub(crate) fn of(rows: u64) -> Self {
        Self { changed: rows / 100, removed: rows / 1000, added: rows / 1000 }
    }
}

fn is_changed(id: u64) -> bool {
    id % 100 == 37
}

fn is_removed(id: u64) -> bool {
    id % 1000 == 500
}

/// The numbers of the rows of a version, in order.
fn numbers(rows: u64, version: Version) -> impl Iterator<Item = u64> {
    let last = match version {
        Version::First => rows,
        Version::Second => rows + Truth::of(rows).added,
    };
    (1..=last).filter(move |id| version == Version::First || *id > rows || !is_removed(*id))
}

/// Where the table comes from.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) rows: u64,
    pub(crate) batch_rows: usize,
    /// Holds `v1_ROWS.parquet` and `v2_ROWS.parquet`.
    pub(crate) folder: Option<PathBuf>,
}

impl Data {
    fn path(&self, version: Version) -> Option<PathBuf> {
        let name = if version == Version::First { "v1" } else { "v2" };
        Some(self.folder.as_ref()?.join(format!("{name}_{}.parquet", self.rows)))
    }

    /// All rows of a version in memory.
    pub(crate) fn load(&self, version: Version) -> Result<Vec<RecordBatch>> {
        if let Some(path) = self.path(version) {
            return Ok(open(&path, self.batch_rows)?.1.collect::<std::result::Result<_, _>>()?);
        }
        self.generate(version).collect()
    }

    fn generate(&self, version: Version) -> impl Iterator<Item = Result<RecordBatch>> {
        let mut ids = numbers(self.rows, version);
        let (rows, size) = (self.rows, self.batch_rows);
        std::iter::from_fn(move || {
            let piece: Vec<u64> = ids.by_ref().take(size).collect();
            let changed = |id| version == Version::Second && id <= rows && is_changed(id);
            (!piece.is_empty()).then(|| Ok(sample::contacts_of(&piece, changed)?))
        })
    }

    /// A source that decodes the Parquet file of a version while it is read.
    pub(crate) fn file_source(&self, version: Version) -> Result<FileSource> {
        let path = self.path(version).ok_or("--stream needs --data")?;
        let (schema, _) = open(&path, self.batch_rows)?;
        Ok(FileSource { path, batch_rows: self.batch_rows, schema })
    }

    /// Writes both versions as Parquet files.
    pub(crate) fn export(&self, folder: &Path) -> Result<()> {
        let target = Self { folder: Some(folder.to_owned()), ..self.clone() };
        for version in [Version::First, Version::Second] {
            let mut batches = self.generate(version).peekable();
            let Some(Ok(first)) = batches.peek() else { continue };
            let path = target.path(version).ok_or("no folder")?;
            let properties = parquet::file::properties::WriterProperties::builder()
                .set_compression(parquet::basic::Compression::SNAPPY)
                .set_max_row_group_row_count(Some(122_880))
                .build();
            let mut writer = ArrowWriter::try_new(File::create(path)?, first.schema(), Some(properties))?;
            for batch in batches {
                writer.write(&batch?)?;
            }
            writer.close()?;
        }
        Ok(())
    }
}

type Batches = Box<dyn Iterator<Item = std::result::Result<RecordBatch, arrow::error::ArrowError>> + Send>;

fn open(path: &Path, batch_rows: usize) -> Result<(SchemaRef, Batches)> {
    let file = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(batch_rows);
    Ok((Arc::clone(builder.schema()), Box::new(builder.build()?)))
}

/// See [`Data::file_source`].
#[derive(Debug)]
pub(crate) struct FileSource {
    path: PathBuf,
    batch_rows: usize,
    schema: SchemaRef,
}

fn unreadable(e: impl ToString) -> Error {
    Error::new(Kind::SourceIncomplete, "read a Parquet file", e.to_string())
}

#[async_trait]
impl Source for FileSource {
    fn kind(&self) -> &'static str {
        "parquet"
    }

    async fn schema(&self) -> rsync_core::Result<SchemaRef> {
        Ok(Arc::clone(&self.schema))
    }

    async fn read(&self, _request: ReadRequest) -> rsync_core::Result<BatchStream> {
        let (_, batches) = open(&self.path, self.batch_rows).map_err(unreadable)?;
        Ok(stream::iter(batches.map(|batch| batch.map(Extracted::from).map_err(unreadable))).boxed())
    }
}
