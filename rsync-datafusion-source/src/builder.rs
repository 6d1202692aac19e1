//! Typed configuration of a [`DataFusionSource`].

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use rsync_core::error::Problem;
use rsync_core::{Error, Kind, Result};

use crate::csv::Csv;
use crate::failure;
use crate::source::DataFusionSource;
use crate::table::Table;

/// Rows in a batch unless the host says otherwise; DataFusion's own default.
const BATCH_ROWS: usize = 8192;

/// Builds a [`DataFusionSource`] over files. Start with [`DataFusionSource::builder`].
#[derive(Clone)]
#[must_use]
pub struct Builder {
    tables: Vec<(String, Table)>,
    sql: String,
    session: Session,
}

impl fmt::Debug for Builder {
    // The SQL may hold literals that came from data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("tables", &self.tables).field("session", &self.session).finish_non_exhaustive()
    }
}

/// How queries are executed.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    batch_rows: usize,
    partitions: usize,
    memory_limit_bytes: Option<usize>,
    spill_dir: Option<PathBuf>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            tables: Vec::new(),
            sql: String::new(),
            session: Session { batch_rows: BATCH_ROWS, partitions: 1, memory_limit_bytes: None, spill_dir: None },
        }
    }
}

impl Builder {
    /// Adds a table over Parquet files: a file, a folder of `*.parquet` files, or a pattern. All files must have the
    /// same columns.
    pub fn with_parquet(mut self, table: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.tables.push((table.into(), Table::Parquet(path.into())));
        self
    }

    /// Adds a table over CSV files. A bare path gives a table in which every column is text; see [`Csv`].
    pub fn with_csv(mut self, table: impl Into<String>, csv: impl Into<Csv>) -> Self {
        self.tables.push((table.into(), Table::Csv(csv.into())));
        self
    }

    /// Adds a table over files with one JSON object a line: a file, a folder of `*.json`, `*.jsonl` and `*.ndjson`
    /// files, or a pattern.
    ///
    /// Types follow the values of all lines, so files are read twice. A field that a line lacks is null there. Whole
    /// numbers beyond 64 bits arrive as floating point and lose digits; write such ids as strings.
    pub fn with_json(mut self, table: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.tables.push((table.into(), Table::Json(path.into())));
        self
    }

    /// Sets the query whose result is the model. Names are matched as they are written, upper and lower case: no
    /// quotes are needed around `customerID`.
    pub fn with_sql(mut self, sql: impl Into<String>) -> Self {
        self.sql = sql.into();
        self
    }

    /// Sets the largest number of rows in a batch. Default: 8192.
    pub fn with_batch_rows(mut self, rows: NonZeroUsize) -> Self {
        self.session.batch_rows = rows.get();
        self
    }

    /// Sets how many partitions are worked on at the same time. Default: 1, which needs the least memory and keeps
    /// the order of the rows. More speeds up large joins and aggregations.
    pub fn with_target_partitions(mut self, partitions: NonZeroUsize) -> Self {
        self.session.partitions = partitions.get();
        self
    }

    /// Limits the memory of sorts, joins and aggregations; beyond it the read fails, unless a
    /// [spill folder](Self::with_spill_dir) is given. Default: no limit. Batches in flight are not counted.
    pub fn with_memory_limit_bytes(mut self, bytes: NonZeroUsize) -> Self {
        self.session.memory_limit_bytes = Some(bytes.get());
        self
    }

    /// Lets sorts and aggregations that reach the memory limit continue in temporary files below `dir`. The files
    /// hold rows in clear and are removed with the read, but not when the process is killed. Default: nothing is
    /// written.
    pub fn with_spill_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.session.spill_dir = Some(dir.into());
        self
    }

    /// Checks the configuration. Files are looked at when the source is used.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidConfig`] with every problem found.
    pub fn build(self) -> Result<DataFusionSource> {
        let mut problems = Vec::new();
        if self.sql.trim().is_empty() {
            problems.push(Problem::new("sql", "there is no query", "call with_sql"));
        }
        for (i, (name, table)) in self.tables.iter().enumerate() {
            let at = format!("tables.{name}");
            if name.is_empty() {
                problems.push(Problem::new(&at, "the table has no name", "name it as the SQL does"));
            }
            if self.tables[..i].iter().any(|(other, _)| other == name) {
                problems.push(Problem::new(&at, "two tables have this name", "rename one"));
            }
            if table.path().as_os_str().is_empty() {
                problems.push(Problem::new(format!("{at}.path"), "there is no path", "name a file, folder or pattern"));
            }
            problems.extend(table.problems(&at));
        }
        if self.session.spill_dir.is_some() && self.session.memory_limit_bytes.is_none() {
            let cause = "without a memory limit nothing is ever spilled";
            problems.push(Problem::new("spill_dir", cause, "call with_memory_limit_bytes too"));
        }
        Error::from_problems(Kind::InvalidConfig, "build a DataFusion source", problems)?;
        Ok(DataFusionSource::over_files(self.tables, self.sql, self.session))
    }
}

impl Session {
    /// A context of its own for every read: nothing that one read has cached about the files reaches the next.
    pub(crate) fn context(&self) -> Result<SessionContext> {
        let mut config = SessionConfig::new()
            .with_batch_size(self.batch_rows)
            .with_target_partitions(self.partitions)
            .with_information_schema(false);
        let options = config.options_mut();
        options.sql_parser.enable_ident_normalization = false;
        // Text comes out as plain `Utf8`, which the mapping uses as it is.
        options.execution.parquet.schema_force_view_types = false;
        options.sql_parser.map_string_types_to_utf8view = false;
        let disk = match &self.spill_dir {
            Some(dir) => DiskManagerMode::Directories(vec![dir.clone()]),
            None => DiskManagerMode::Disabled,
        };
        let mut runtime =
            RuntimeEnvBuilder::new().with_disk_manager_builder(DiskManagerBuilder::default().with_mode(disk));
        if let Some(bytes) = self.memory_limit_bytes {
            runtime = runtime.with_memory_limit(bytes, 1.0);
        }
        let runtime = runtime.build().map_err(failure::planning)?;
        Ok(SessionContext::new_with_config_rt(config, Arc::new(runtime)))
    }
}
