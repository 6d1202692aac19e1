//! A model held in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;

use crate::error::{Error, Kind, Problem, Result};
use crate::source::{BatchStream, CellFault, Extracted, ReadRequest, Source};

type Failure = Arc<dyn Fn() -> Error + Send + Sync>;

/// A model of record batches. Clones share the model, so that a test can [`replace`](MemorySource::replace) it
/// between two runs.
///
/// ```
/// # use std::sync::Arc;
/// # use rsync_core::arrow::array::{RecordBatch, StringArray};
/// # use rsync_core::memory::MemorySource;
/// let emails = Arc::new(StringArray::from(vec!["ada@example.com"])) as _;
/// let source = MemorySource::of(RecordBatch::try_from_iter([("email", emails)])?);
/// # assert_eq!(source.reads(), 0);
/// # Ok::<(), rsync_core::arrow::error::ArrowError>(())
/// ```
#[derive(Clone)]
pub struct MemorySource {
    state: Arc<Mutex<State>>,
}

struct State {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    faults: BTreeMap<usize, Vec<CellFault>>,
    failure: Option<(usize, Failure)>,
    reads: usize,
}

impl MemorySource {
    /// A model of these batches. A batch of another schema fails the read when its turn comes.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        let state = State { schema, batches, faults: BTreeMap::new(), failure: None, reads: 0 };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A model of one batch.
    pub fn of(batch: RecordBatch) -> Self {
        Self::new(batch.schema(), vec![batch])
    }

    /// Every read fails with this error once `batches` batches were delivered.
    #[must_use]
    pub fn with_failure_after(self, batches: usize, error: impl Fn() -> Error + Send + Sync + 'static) -> Self {
        self.lock().failure = Some((batches, Arc::new(error)));
        self
    }

    /// Reports these cells of batch `batch` (counted from 0) as not representable.
    #[must_use]
    pub fn with_cell_faults(self, batch: usize, faults: Vec<CellFault>) -> Self {
        self.lock().faults.insert(batch, faults);
        self
    }

    /// Puts another model in place, of the schema of its first batch, and takes failures and faults away. With
    /// no batch at all the schema stays.
    pub fn replace(&self, batches: Vec<RecordBatch>) {
        let mut state = self.lock();
        if let Some(first) = batches.first() {
            state.schema = first.schema();
        }
        state.batches = batches;
        state.faults.clear();
        state.failure = None;
    }

    /// How often the model was read.
    pub fn reads(&self) -> usize {
        self.lock().reads
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        let rows: usize = state.batches.iter().map(RecordBatch::num_rows).sum();
        f.debug_struct("MemorySource").field("batches", &state.batches.len()).field("rows", &rows).finish()
    }
}

#[async_trait]
impl Source for MemorySource {
    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn schema(&self) -> Result<SchemaRef> {
        Ok(SchemaRef::clone(&self.lock().schema))
    }

    async fn read(&self, request: ReadRequest) -> Result<BatchStream> {
        let mut state = self.lock();
        state.reads += 1;
        let missing = request.columns.iter().filter(|column| state.schema.index_of(column.as_str()).is_err());
        let problems = missing
            .map(|column| Problem::new(column.as_str(), "the model has no such column", "name a column of the model"))
            .collect();
        Error::from_problems(Kind::SchemaMismatch, "read", problems)?;

        let mut items: Vec<Result<Extracted>> = Vec::with_capacity(state.batches.len() + 1);
        for (index, batch) in state.batches.iter().enumerate() {
            if batch.schema_ref() != &state.schema {
                items.push(Err(Error::new(Kind::SchemaMismatch, "read", "a batch has another schema than the model")
                    .with_context("batch", index)));
                break;
            }
            let faults = state.faults.get(&index).cloned().unwrap_or_default();
            items.push(Ok(Extracted { batch: batch.clone(), faults }));
        }
        if let Some((after, error)) = &state.failure {
            items.truncate(*after);
            items.push(Err(error()));
        }
        Ok(stream::iter(items).boxed())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use futures::TryStreamExt;

    use super::*;
    use crate::ids::ColumnName;

    fn batch(column: &str, text: &str) -> RecordBatch {
        RecordBatch::try_from_iter([(column, Arc::new(StringArray::from(vec![text])) as _)]).unwrap()
    }

    async fn read(source: &MemorySource, columns: &[&str]) -> (usize, Option<Kind>) {
        let request = ReadRequest::new(columns.iter().map(|name| ColumnName::from(*name)).collect());
        let mut stream = match source.read(request).await {
            Ok(stream) => stream,
            Err(error) => return (0, Some(error.kind())),
        };
        let mut delivered = 0;
        loop {
            match stream.try_next().await {
                Ok(Some(_)) => delivered += 1,
                Ok(None) => return (delivered, None),
                Err(error) => return (delivered, Some(error.kind())),
            }
        }
    }

    #[tokio::test]
    async fn delivers_batches_and_fails_where_told() {
        let source = MemorySource::new(batch("a", "x").schema(), vec![batch("a", "x"), batch("a", "y")]);
        assert_eq!(read(&source, &["a"]).await, (2, None));
        assert_eq!(read(&source, &["b"]).await, (0, Some(Kind::SchemaMismatch)));
        let source = source.with_failure_after(1, || Error::new(Kind::Unavailable, "read", "gone"));
        assert_eq!(read(&source, &[]).await, (1, Some(Kind::Unavailable)));
        assert_eq!(source.reads(), 3);
        source.replace(vec![batch("b", "z")]);
        assert_eq!(read(&source, &["b"]).await, (1, None));
    }

    #[tokio::test]
    async fn a_batch_of_another_schema_ends_the_read() {
        let odd = RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1])) as _)]).unwrap();
        let source = MemorySource::new(batch("a", "x").schema(), vec![batch("a", "x"), odd, batch("a", "x")]);
        assert_eq!(read(&source, &[]).await, (1, Some(Kind::SchemaMismatch)));
    }

    #[test]
    fn debug_shows_no_value() {
        assert!(!format!("{:?}", MemorySource::of(batch("a", "canary"))).contains("canary"));
    }
}
