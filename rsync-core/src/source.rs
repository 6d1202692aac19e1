//! Where models are read from.

use std::fmt;
use std::fmt::Debug;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::error::Result;
use crate::ids::ColumnName;

/// What to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadRequest {
    /// The columns the sync uses. A source may deliver more, and may save work by delivering only these.
    pub columns: Vec<ColumnName>,
}

impl ReadRequest {
    /// A request for `columns`.
    pub fn new(columns: Vec<ColumnName>) -> Self {
        Self { columns }
    }
}

/// A cell that the source could not represent in Arrow, such as a date of `infinity`. The row is delivered
/// with a null in its place, so that its key is known and it is not taken for deleted; if the column is used,
/// the row is invalid with this code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellFault {
    /// Row in the batch.
    pub row: usize,
    /// The column.
    pub column: ColumnName,
    /// Why, as a short constant code.
    pub code: &'static str,
}

/// A piece of a model.
#[derive(Clone)]
pub struct Extracted {
    /// The rows.
    pub batch: RecordBatch,
    /// Cells that could not be represented, ordered by row. Mostly empty.
    pub faults: Vec<CellFault>,
}

impl From<RecordBatch> for Extracted {
    fn from(batch: RecordBatch) -> Self {
        Self { batch, faults: Vec::new() }
    }
}

impl Debug for Extracted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extracted").field("rows", &self.batch.num_rows()).field("faults", &self.faults).finish()
    }
}

/// A model as it streams in. The stream ends after an error.
pub type BatchStream = BoxStream<'static, Result<Extracted>>;

/// A warehouse, lake or file that holds a model.
#[async_trait]
pub trait Source: Debug + Send + Sync + 'static {
    /// A stable lower-case name of the kind of source, such as `postgres`.
    fn kind(&self) -> &'static str;

    /// The columns of the model.
    ///
    /// # Errors
    ///
    /// If the source cannot be reached or the query does not compile.
    async fn schema(&self) -> Result<SchemaRef>;

    /// Reads the whole model once, in one consistent state, as a stream. Every batch has the columns of the
    /// request, found by name. Dropping the stream ends the read.
    ///
    /// # Errors
    ///
    /// Before the first batch as the return value, later as an item of the stream. A run whose read fails
    /// applies nothing.
    async fn read(&self, request: ReadRequest) -> Result<BatchStream>;
}
