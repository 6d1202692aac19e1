//! The source itself.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::thread;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::common::Column;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use futures::channel::oneshot;
use futures::{StreamExt, stream};
use rsync_core::error::Problem;
use rsync_core::ids::ColumnName;
use rsync_core::source::{BatchStream, Extracted, ReadRequest};
use rsync_core::{Error, Kind, Result, Source};
use tokio::runtime::Handle;

use crate::builder::{Builder, Session};
use crate::failure;
use crate::files::File;
use crate::table::{Table, names};

/// Planning recurses over the query, in unoptimised builds with frames of many kilobytes, and a worker of the host's
/// runtime has 2 MiB. Only touched pages count.
const PLANNING_STACK_BYTES: usize = 32 << 20;

/// A model in SQL over files, executed by DataFusion in this process. See the [crate docs](crate).
///
/// Cheap to clone. It must be used inside a Tokio runtime.
#[derive(Clone)]
pub struct DataFusionSource(Arc<Inner>);

struct Inner {
    sql: String,
    origin: Origin,
}

enum Origin {
    Files { tables: Vec<(String, Table)>, session: Session },
    Context(SessionContext),
}

impl DataFusionSource {
    /// Starts a source over Parquet, CSV and JSON files.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A source whose tables, settings and object stores are those of `context`: the way to object stores, to tables
    /// of other kinds and to a cluster that speaks DataFusion's interface.
    ///
    /// The context decides how names are matched, how much memory is used and whether files that change during a
    /// read are noticed; none of the defaults of [`Builder`] apply. The SQL may only read.
    pub fn from_context(context: SessionContext, sql: impl Into<String>) -> Self {
        Self(Arc::new(Inner { sql: sql.into(), origin: Origin::Context(context) }))
    }

    pub(crate) fn over_files(tables: Vec<(String, Table)>, sql: String, session: Session) -> Self {
        Self(Arc::new(Inner { sql, origin: Origin::Files { tables, session } }))
    }
}

impl fmt::Debug for DataFusionSource {
    // The SQL may hold literals that came from data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("DataFusionSource");
        match &self.0.origin {
            Origin::Files { tables, session } => out.field("tables", tables).field("session", session),
            Origin::Context(context) => out.field("session", &context.session_id()),
        };
        out.finish_non_exhaustive()
    }
}

impl Inner {
    /// The query, and the files it reads as they are now.
    async fn query(&self) -> Result<(DataFrame, Vec<File>)> {
        let mut files = Vec::new();
        let context = match &self.origin {
            Origin::Context(context) => context.clone(),
            Origin::Files { tables, session } => {
                let context = session.context()?;
                for (name, table) in tables {
                    files.extend(table.register(name, &context).await?);
                }
                context
            }
        };
        // A model reads. Without this, SQL could write files and change the host's session.
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let query = context.sql_with_options(&self.sql, read_only).await.map_err(failure::planning)?;
        check_names(query.schema().as_arrow())?;
        Ok((query, files))
    }

    async fn open(&self, columns: &[ColumnName]) -> Result<Reading> {
        let (query, files) = self.query().await?;
        let query = if columns.is_empty() { query } else { project(query, columns)? };
        let rows = query.execute_stream().await.map_err(failure::planning)?;
        Ok(Reading { rows, files })
    }
}

#[async_trait]
impl Source for DataFusionSource {
    fn kind(&self) -> &'static str {
        "datafusion"
    }

    async fn schema(&self) -> Result<SchemaRef> {
        let inner = Arc::clone(&self.0);
        let (query, _) = on_large_stack(async move { inner.query().await }).await?;
        Ok(Arc::clone(query.schema().inner()))
    }

    /// Reads the requested columns, in the order of the request; all columns if it names none.
    ///
    /// Cancel-safe: a dropped call or stream ends the read, at the latest with the batch that is being decoded.
    async fn read(&self, request: ReadRequest) -> Result<BatchStream> {
        let inner = Arc::clone(&self.0);
        let reading = on_large_stack(async move { inner.open(&request.columns).await }).await?;
        Ok(stream::try_unfold(reading, Reading::next).boxed())
    }
}

struct Reading {
    rows: SendableRecordBatchStream,
    files: Vec<File>,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Extracted, Self)>> {
        while let Some(batch) = self.rows.next().await {
            let batch = batch.map_err(|e| failure::reading(&e))?;
            if batch.num_rows() > 0 {
                return Ok(Some((batch.into(), self)));
            }
        }
        // The last word: only files that stayed the same make the end of the stream the end of the model.
        for file in &self.files {
            file.check_unchanged()?;
        }
        Ok(None)
    }
}

/// Runs `work` on a thread with a large stack, inside the caller's runtime. If the caller goes away the thread ends
/// with the planning, which reads no rows.
async fn on_large_stack<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let runtime = Handle::try_current().map_err(|_| {
        Error::new(Kind::InvalidConfig, "plan the model", "DataFusion needs a Tokio runtime")
            .with_remedy("call it from a task of a Tokio runtime")
    })?;
    let (done, result) = oneshot::channel();
    thread::Builder::new()
        .name("datafusion-plan".into())
        .stack_size(PLANNING_STACK_BYTES)
        .spawn(move || {
            // A caller that has gone away wants no answer.
            let _ = done.send(runtime.block_on(work));
        })
        .map_err(|e| {
            Error::new(Kind::Unavailable, "plan the model", "no thread could be started")
                .with_context("cause", e.kind())
        })?;
    // The sender is only lost when the thread panics.
    result.await.map_err(|_| Error::new(Kind::Internal, "plan the model", "DataFusion panicked while it planned"))?
}

/// Columns are found by name, so two of the same name would be one too many.
fn check_names(schema: &Schema) -> Result<()> {
    let fields = schema.fields();
    let problems = fields
        .iter()
        .enumerate()
        .filter(|(i, field)| fields[..*i].iter().any(|other| other.name() == field.name()))
        .map(|(_, field)| {
            Problem::new(
                format!("model.columns.{}", field.name()),
                "the query gives two columns of this name",
                "rename one with AS",
            )
        })
        .collect();
    Error::from_problems(Kind::SchemaMismatch, "plan the model", problems)
}

fn project(query: DataFrame, columns: &[ColumnName]) -> Result<DataFrame> {
    let mut problems = Vec::new();
    let mut chosen: Vec<Expr> = Vec::with_capacity(columns.len());
    for (i, column) in columns.iter().enumerate() {
        if columns[..i].contains(column) {
            continue;
        }
        match query.schema().iter().find(|(_, field)| field.name() == column.as_str()) {
            Some((qualifier, field)) => chosen.push(Expr::Column(Column::from((qualifier, field)))),
            None => {
                let schema = query.schema().as_arrow();
                let near = schema.fields().iter().find(|field| field.name().eq_ignore_ascii_case(column.as_str()));
                let fix = match near {
                    Some(field) => format!("write '{}': upper and lower case count", field.name()),
                    None => format!("select it in the SQL, or use one of: {}", names(schema)),
                };
                problems.push(Problem::new(format!("model.columns.{column}"), "the query has no such column", fix));
            }
        }
    }
    Error::from_problems(Kind::SchemaMismatch, "read the model", problems)?;
    query.select(chosen).map_err(failure::planning)
}
