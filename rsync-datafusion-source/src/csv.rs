//! CSV files as a table.
//!
//! DataFusion's own CSV table ignores texts that stand for null and finds a file anew when the query starts, so the
//! files are read here, by the reader of `arrow`.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::arrow::csv::ReaderBuilder;
use datafusion::arrow::csv::reader::Format;
use datafusion::arrow::error::ArrowError;
use datafusion::catalog::Session;
use datafusion::common::project_schema;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream;
use regex::Regex;
use rsync_core::error::Problem;
use rsync_core::{Error, Kind, Result};

use crate::failure::{self, BadCsv};
use crate::files::{self, File};
use crate::table::{DIFFERENT_COLUMNS, mismatch, names, open};

/// A table over CSV files.
///
/// Every column is text unless [`with_column`](Self::with_column) gives it a type: cells arrive as they are in the
/// file, with their blanks and leading zeros. An empty cell is null, quoted or not, since CSV cannot say more;
/// [`with_null_text`](Self::with_null_text) changes that.
///
/// Rows must have as many cells as the header; line breaks inside quotes are read; a byte order mark is skipped.
#[derive(Clone, Debug)]
pub struct Csv {
    pub(crate) path: PathBuf,
    header: bool,
    delimiter: u8,
    quote: u8,
    escape: Option<u8>,
    null_texts: Vec<String>,
    columns: Vec<(String, DataType)>,
    infer: bool,
}

impl Csv {
    /// The CSV file, folder of `*.csv` files or pattern at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            header: true,
            delimiter: b',',
            quote: b'"',
            escape: None,
            null_texts: Vec::new(),
            columns: Vec::new(),
            infer: false,
        }
    }

    /// Gives a column a type: a whole number, a `Float32` or `Float64`, `Boolean`, `Date32`, a timestamp, or
    /// `Utf8`. A cell that cannot be read as that type fails the read; nothing is trimmed or guessed. For cells
    /// that may be malformed keep the column text and write `TRY_CAST(...)` in the SQL.
    ///
    /// Decimals are refused, because digits behind the scale would be cut without a word; cast them in the SQL.
    #[must_use]
    pub fn with_column(mut self, name: impl Into<String>, data_type: DataType) -> Self {
        self.columns.push((name.into(), data_type));
        self
    }

    /// Says that every column is text. This is the default; written out, it survives a change of the default and
    /// takes back [`with_inferred_types`](Self::with_inferred_types).
    #[must_use]
    pub fn all_text(mut self) -> Self {
        self.infer = false;
        self.columns.clear();
        self
    }

    /// Guesses the types of columns that have none, from all rows, which reads the files twice.
    ///
    /// A guess follows the data: a postal code `01234` becomes the number 1234, a column of `2024-05-01` becomes
    /// dates, and one odd cell in tomorrow's file turns the column into text. Do not use it for a model that runs
    /// unattended.
    #[must_use]
    pub fn with_inferred_types(mut self) -> Self {
        self.infer = true;
        self
    }

    /// Says that the files have no header row; columns are named `column_1`, `column_2` and so on.
    #[must_use]
    pub fn without_header(mut self) -> Self {
        self.header = false;
        self
    }

    /// Sets the character between cells. Default: comma.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// Sets the quote character. Default: `"`, doubled inside quotes.
    #[must_use]
    pub fn with_quote(mut self, quote: u8) -> Self {
        self.quote = quote;
        self
    }

    /// Sets a character that escapes the quote character. Default: none.
    #[must_use]
    pub fn with_escape(mut self, escape: u8) -> Self {
        self.escape = Some(escape);
        self
    }

    /// Adds a text that stands for null, such as `NULL` or `\N`, compared with the whole cell. Once one is given, an
    /// empty cell is empty text, and null only if `""` is added too.
    #[must_use]
    pub fn with_null_text(mut self, text: impl Into<String>) -> Self {
        self.null_texts.push(text.into());
        self
    }

    pub(crate) fn problems(&self, at: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (i, (name, data_type)) in self.columns.iter().enumerate() {
            let at = format!("{at}.columns.{name}");
            if !is_readable(data_type) {
                problems.push(Problem::new(
                    &at,
                    format!("a CSV column cannot be read as {data_type}"),
                    "leave it text and cast it in the SQL",
                ));
            }
            if self.columns[..i].iter().any(|(other, _)| other == name) {
                problems.push(Problem::new(at, "the column has two types", "keep one"));
            }
        }
        let marks = [Some(self.delimiter), Some(self.quote), self.escape];
        for (i, mark) in marks.iter().enumerate() {
            let Some(mark) = mark else { continue };
            if !mark.is_ascii() || matches!(mark, b'\r' | b'\n') || marks[..i].contains(&Some(*mark)) {
                problems.push(Problem::new(
                    format!("{at}.{}", ["delimiter", "quote", "escape"][i]),
                    "the character is not ASCII, ends a line or has another meaning already",
                    "choose another",
                ));
            }
        }
        problems
    }

    fn format(&self) -> Result<Format> {
        let mut format = Format::default()
            .with_header(self.header)
            .with_header_validation(self.header)
            .with_delimiter(self.delimiter)
            .with_quote(self.quote);
        if let Some(escape) = self.escape {
            format = format.with_escape(escape);
        }
        if !self.null_texts.is_empty() {
            let texts: Vec<_> = self.null_texts.iter().map(|text| regex::escape(text)).collect();
            let pattern = Regex::new(&format!("^(?:{})$", texts.join("|"))).map_err(|_| {
                Error::new(Kind::InvalidConfig, "open a table", "the texts that stand for null are too long")
            })?;
            format = format.with_null_regex(pattern);
        }
        Ok(format)
    }

    /// The columns of one file, with the types that the host gave or asked to guess.
    fn schema_of(&self, table: &str, file: &File) -> Result<Schema> {
        let reader = BufReader::new(open(file)?);
        // Without guessing one row is enough: it has the number of cells.
        let rows = if self.infer { None } else { Some(1) };
        let (schema, _) =
            self.format()?.infer_schema(reader, rows).map_err(|e| bad(table, &file.path, None, &e).error())?;
        let mut fields = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let given = self.columns.iter().find(|(name, _)| name == field.name()).map(|(_, t)| t.clone());
            let data_type = match given {
                Some(data_type) => data_type,
                None if self.infer && field.data_type() != &DataType::Null => field.data_type().clone(),
                None => DataType::Utf8,
            };
            if fields.iter().any(|seen: &Field| seen.name() == field.name()) {
                return Err(mismatch(table, file, "two columns have the same name", field.name()));
            }
            fields.push(Field::new(field.name(), data_type, true));
        }
        Ok(Schema::new(fields))
    }

    /// The table over `files`.
    pub(crate) fn table(&self, name: &str, files: &[File]) -> Result<Arc<dyn TableProvider>> {
        let schema = self.schema(name, files)?;
        let format = self.format()?;
        // An empty file has no rows, and none of the reader's errors about a missing header.
        let files = files.iter().filter(|file| file.bytes > 0).cloned().collect();
        Ok(Arc::new(CsvTable { name: Arc::from(name), files, format, schema }))
    }

    fn schema(&self, table: &str, files: &[File]) -> Result<SchemaRef> {
        let mut merged: Option<Schema> = None;
        for file in files {
            // Not even a header: an export that was cut off, unless the files have none.
            if file.bytes == 0 {
                if self.header {
                    return Err(files::unreadable(&file.path, "the file is empty; it lacks its header"));
                }
                continue;
            }
            let schema = self.schema_of(table, file)?;
            let Some(first) = &mut merged else {
                merged = Some(schema);
                continue;
            };
            // Cells are found by position, so files whose columns differ would be misread.
            if let Some(name) = first_difference(first, &schema) {
                return Err(mismatch(table, file, DIFFERENT_COLUMNS, &name));
            }
            *first =
                Schema::new(first.fields().iter().zip(schema.fields()).map(|(a, b)| widest(a, b)).collect::<Vec<_>>());
        }
        let schema = merged.unwrap_or_else(Schema::empty);
        let missing = self.columns.iter().filter(|(name, _)| schema.field_with_name(name).is_err());
        let problems = missing
            .map(|(name, _)| {
                Problem::new(
                    format!("tables.{table}.columns.{name}"),
                    "the file has no such column",
                    format!("use one of: {}", names(&schema)),
                )
            })
            .collect();
        Error::from_problems(Kind::SchemaMismatch, "open a table", problems)?;
        Ok(Arc::new(schema))
    }
}

/// CSV files whose columns are known.
#[derive(Debug)]
struct CsvTable {
    name: Arc<str>,
    files: Vec<File>,
    format: Format,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for CsvTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let projected = project_schema(&self.schema, projection)?;
        let columns = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let partitions = state.config().target_partitions().clamp(1, self.files.len().max(1));
        let partitions = (0..partitions)
            .map(|i| {
                let part = CsvPart {
                    name: Arc::clone(&self.name),
                    files: self.files.iter().skip(i).step_by(partitions).cloned().collect(),
                    format: self.format.clone(),
                    file_schema: Arc::clone(&self.schema),
                    columns: columns.clone(),
                    schema: Arc::clone(&projected),
                };
                Arc::new(part) as Arc<dyn PartitionStream>
            })
            .collect();
        Ok(Arc::new(StreamingTableExec::try_new(projected, partitions, None, [], false, limit)?))
    }
}

/// The files that are read one after the other.
#[derive(Debug)]
struct CsvPart {
    name: Arc<str>,
    files: Vec<File>,
    format: Format,
    file_schema: SchemaRef,
    columns: Vec<usize>,
    /// The columns that are read.
    schema: SchemaRef,
}

fn bad(table: &str, path: &Path, schema: Option<&Schema>, error: &ArrowError) -> BadCsv {
    let cause = failure::arrow_cause(error);
    let column = cause.column.and_then(|i| schema?.fields().get(i)).map(|field| field.name().clone());
    BadCsv { table: table.to_owned(), path: path.to_owned(), column, line: cause.line }
}

type Batches = Box<dyn Iterator<Item = datafusion::error::Result<RecordBatch>> + Send>;

impl CsvPart {
    fn batches(&self, rows: usize) -> Batches {
        let (name, format, schema, columns) =
            (Arc::clone(&self.name), self.format.clone(), Arc::clone(&self.file_schema), self.columns.clone());
        Box::new(self.files.clone().into_iter().flat_map(move |file| {
            let (name, columns_of, path) = (Arc::clone(&name), Arc::clone(&schema), file.path.clone());
            let bad = move |e: &_| DataFusionError::External(Box::new(bad(&name, &path, Some(&columns_of), e)));
            let opened = std::fs::File::open(&file.path).map_err(DataFusionError::from).and_then(|opened| {
                ReaderBuilder::new(Arc::clone(&schema))
                    .with_format(format.clone())
                    .with_batch_size(rows)
                    .with_projection(columns.clone())
                    .build(opened)
                    .map_err(|e| bad(&e))
            });
            let batches: Batches = match opened {
                Ok(reader) => Box::new(reader.map(move |batch| batch.map_err(|e| bad(&e)))),
                Err(e) => Box::new(std::iter::once(Err(e))),
            };
            batches
        }))
    }
}

impl PartitionStream for CsvPart {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.batches(context.session_config().batch_size());
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream::iter(batches)))
    }
}

impl From<&str> for Csv {
    fn from(path: &str) -> Self {
        Self::new(path)
    }
}

impl From<String> for Csv {
    fn from(path: String) -> Self {
        Self::new(path)
    }
}

impl From<&Path> for Csv {
    fn from(path: &Path) -> Self {
        Self::new(path)
    }
}

impl From<PathBuf> for Csv {
    fn from(path: PathBuf) -> Self {
        Self::new(path)
    }
}

/// The name of the first column in which two files differ, by position.
fn first_difference(a: &Schema, b: &Schema) -> Option<String> {
    let (a, b) = (a.fields(), b.fields());
    let longest = if a.len() > b.len() { a } else { b };
    let i = (0..longest.len()).find(|&i| a.get(i).map(|f| f.name()) != b.get(i).map(|f| f.name()))?;
    Some(longest[i].name().clone())
}

fn widest(a: &FieldRef, b: &FieldRef) -> Field {
    let data_type = match (a.data_type(), b.data_type()) {
        (a, b) if a == b => a.clone(),
        (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => DataType::Float64,
        _ => DataType::Utf8,
    };
    Field::new(a.name(), data_type, true)
}

fn is_readable(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Float32
                | DataType::Float64
                | DataType::Boolean
                | DataType::Date32
                | DataType::Timestamp(_, _)
                | DataType::Utf8
                | DataType::Utf8View
        )
}
