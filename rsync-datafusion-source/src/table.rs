//! Tables over files: what the host says about them, and how they are handed to DataFusion.

use std::fs;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::arrow::json::reader::infer_json_schema;
use datafusion::common::TableReference;
use datafusion::datasource::TableProvider;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig};
use datafusion::prelude::SessionContext;
use rsync_core::error::Problem;
use rsync_core::{Error, Kind, Result};

use crate::csv::Csv;
use crate::failure;
use crate::files::{self, File};

pub(crate) const DIFFERENT_COLUMNS: &str = "the columns differ from those of the table's first file";

/// What one table reads.
#[derive(Clone, Debug)]
pub(crate) enum Table {
    Parquet(PathBuf),
    Csv(Csv),
    Json(PathBuf),
}

impl Table {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Table::Parquet(path) | Table::Json(path) => path,
            Table::Csv(csv) => &csv.path,
        }
    }

    pub(crate) fn problems(&self, at: &str) -> Vec<Problem> {
        match self {
            Table::Csv(csv) => csv.problems(at),
            Table::Parquet(_) | Table::Json(_) => Vec::new(),
        }
    }

    fn extensions(&self) -> &'static [&'static str] {
        match self {
            Table::Parquet(_) => &["parquet"],
            Table::Csv(_) => &["csv"],
            Table::Json(_) => &["json", "jsonl", "ndjson"],
        }
    }

    /// Registers the table as `name` and returns its files as they are now.
    pub(crate) async fn register(&self, name: &str, context: &SessionContext) -> Result<Vec<File>> {
        let files = files::find(name, self.path(), self.extensions())?;
        let table: Arc<dyn TableProvider> = match self {
            Table::Csv(csv) => csv.table(name, &files)?,
            Table::Parquet(_) => {
                let options = ListingOptions::new(Arc::new(ParquetFormat::default()));
                let schema = parquet_schema(name, &files, &options, context).await?;
                listing(&files, options, schema)?
            }
            Table::Json(_) => {
                listing(&files, ListingOptions::new(Arc::new(JsonFormat::default())), json_schema(&files)?)?
            }
        };
        context.register_table(TableReference::bare(name), table).map_err(failure::planning)?;
        Ok(files)
    }
}

fn listing(files: &[File], options: ListingOptions, schema: SchemaRef) -> Result<Arc<dyn TableProvider>> {
    // Files are named one by one, so their endings no longer matter.
    let options = options.with_file_extension("");
    let urls = files.iter().map(File::url).collect::<Result<Vec<_>>>()?;
    let config = ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options).with_schema(schema);
    Ok(Arc::new(ListingTable::try_new(config).map_err(failure::planning)?))
}

async fn parquet_schema(
    table: &str,
    files: &[File],
    options: &ListingOptions,
    context: &SessionContext,
) -> Result<SchemaRef> {
    let mut merged: Option<Schema> = None;
    // Without this DataFusion would look only at files with its own ending.
    let options = options.clone().with_file_extension("");
    for file in files {
        // DataFusion leaves out empty files, and so would their rows be.
        if file.bytes == 0 {
            return Err(files::unreadable(&file.path, "the Parquet file is empty; it was not written completely"));
        }
        let schema = options
            .infer_schema(&context.state(), &file.url()?)
            .await
            .map_err(|e| failure::reading(&e).with_context("path", file.path.display()))?;
        let Some(others) = merged else {
            merged = Some(schema.as_ref().clone());
            continue;
        };
        // A column that one file lacks would read as null there, and null may clear a field.
        if let Some(column) = not_in(&others, &schema).or_else(|| not_in(&schema, &others)) {
            return Err(mismatch(table, file, DIFFERENT_COLUMNS, &column));
        }
        // The names and types are equal; this makes nullable what is nullable in any file.
        merged = Some(Schema::try_merge([others, schema.as_ref().clone()]).map_err(|e| failure::planning(e.into()))?);
    }
    Ok(Arc::new(merged.unwrap_or_else(Schema::empty)))
}

/// The name of a column of `a` that `b` lacks or has with another type.
fn not_in(a: &Schema, b: &Schema) -> Option<String> {
    let is_odd =
        |field: &&FieldRef| b.field_with_name(field.name()).map(Field::data_type).ok() != Some(field.data_type());
    a.fields().iter().find(is_odd).map(|field| field.name().clone())
}

/// The fields of all lines of all files: a field that is seen only at the end must not be lost.
fn json_schema(files: &[File]) -> Result<SchemaRef> {
    let mut schemas = Vec::with_capacity(files.len());
    for file in files {
        let (schema, _) = infer_json_schema(BufReader::new(open(file)?), None)
            .map_err(|_| failure::malformed_json().with_context("path", file.path.display()))?;
        schemas.push(schema);
    }
    let merged = Schema::try_merge(schemas).map_err(|_| {
        Error::new(Kind::SchemaMismatch, "open a table", "a field has different types in different files")
            .with_context("path", files.first().map(|f| f.path.display().to_string()).unwrap_or_default())
    })?;
    let mut fields: Vec<Field> = merged
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Null => Field::new(field.name(), DataType::Utf8, true),
            _ => field.as_ref().clone(),
        })
        .collect();
    // The fields come out of a hash map; the same files must give the same schema.
    fields.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(Arc::new(Schema::new(fields)))
}

pub(crate) fn open(file: &File) -> Result<impl Read> {
    fs::File::open(&file.path).map_err(|e| files::io_error(&file.path, &e))
}

pub(crate) fn mismatch(table: &str, file: &File, cause: &str, column: &str) -> Error {
    Error::new(Kind::SchemaMismatch, "open a table", cause)
        .with_context("table", table)
        .with_context("column", column)
        .with_context("path", file.path.display())
        .with_remedy("make the files alike, or register them as tables of their own and combine them in the SQL")
}

/// The names of all columns, for messages.
pub(crate) fn names(schema: &Schema) -> String {
    schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
}
