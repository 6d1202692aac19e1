//! What is synced: a query or table with a key, and what must hold for its rows.

mod merge;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::{DataType, SchemaRef};

use crate::error::{Error, Kind, Problem, Result};
use crate::ids::ColumnName;
use crate::normalise::Normaliser;

pub use merge::{Fold, Merge, MergeRows};

/// A model: rows with a key, out of a [`Source`](crate::source::Source).
///
/// ```
/// use rsync_core::Model;
///
/// let model = Model::new("account_health")
///     .key(["account_id"])
///     .version("git:4f2c1aa")
///     .not_null("tier")
///     .accepted_values("tier", ["free", "pro", "enterprise"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    name: String,
    key: Vec<ColumnName>,
    key_normalisers: Vec<Normaliser>,
    merge: Option<Merge>,
    version: Option<String>,
    rules: Vec<ColumnRule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ColumnRule {
    column: ColumnName,
    check: Check,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Check {
    NotNull,
    AcceptedValues(Vec<String>),
}

/// A row that breaks the model's contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) row: usize,
    pub(crate) column: ColumnName,
    pub(crate) code: &'static str,
}

impl Model {
    /// A model of that name, without a key yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            key: Vec::new(),
            key_normalisers: Vec::new(),
            merge: None,
            version: None,
            rules: Vec::new(),
        }
    }

    /// The columns that identify a row. A row with a null in one of them, or with a key that another row has
    /// too, is invalid.
    #[must_use]
    pub fn key<C: Into<ColumnName>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Takes keys for equal that are spelled alike after these changes, in this order. They apply to the text columns of
    /// the key; rows whose keys become equal are duplicates, and a key that becomes blank is none. What is sent stays
    /// as it is: [`FieldRule::normalise`](crate::mapping::FieldRule::normalise) changes that.
    ///
    /// The list belongs to the key's contract: a state that was made with another one is refused.
    ///
    /// ```
    /// use rsync_core::{Model, Normaliser};
    ///
    /// let people = Model::new("people").key(["email"]).normalise_key([Normaliser::Trim, Normaliser::Lowercase]);
    /// ```
    #[must_use]
    pub fn normalise_key(mut self, normalisers: impl IntoIterator<Item = Normaliser>) -> Self {
        self.key_normalisers = normalisers.into_iter().collect();
        self
    }

    /// Makes one row of those that have the same key. Default: a key that several rows have makes all of them invalid.
    ///
    /// It costs a temporary file of the columns that the sync uses, written and read once, and 16 bytes of memory a row.
    #[must_use]
    pub fn merge(mut self, merge: Merge) -> Self {
        self.merge = Some(merge);
        self
    }

    /// The version of the model's definition, such as a git commit. It is kept in reports.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// A row with a null in `column` is invalid.
    #[must_use]
    pub fn not_null(mut self, column: impl Into<ColumnName>) -> Self {
        self.rules.push(ColumnRule { column: column.into(), check: Check::NotNull });
        self
    }

    /// A row with another text in `column` is invalid. A null passes.
    #[must_use]
    pub fn accepted_values<V: Into<String>>(
        mut self,
        column: impl Into<ColumnName>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.rules.push(ColumnRule { column: column.into(), check: Check::AcceptedValues(values) });
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its key columns.
    pub fn key_columns(&self) -> &[ColumnName] {
        &self.key
    }

    /// How the texts of its key are normalised before they are compared.
    pub fn key_normalisers(&self) -> &[Normaliser] {
        &self.key_normalisers
    }

    /// The version of its definition.
    pub fn definition_version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// What becomes of rows that have the same key.
    pub(crate) fn merge_rule(&self) -> Option<&Merge> {
        self.merge.as_ref()
    }

    /// The columns that the model's own checks and its merge read.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &ColumnName> {
        let merged = self.merge.iter().flat_map(Merge::columns);
        self.key.iter().chain(self.rules.iter().map(|rule| &rule.column)).chain(merged)
    }

    /// Problems that show without a schema.
    pub(crate) fn problems(&self, problems: &mut Vec<Problem>) {
        if self.key.is_empty() {
            problems.push(Problem::new(
                "model.key",
                "the model has no key",
                "name the columns that identify a row: Model::key([\"id\"])",
            ));
        }
    }

    /// Problems against the schema of the source.
    pub(crate) fn schema_problems(&self, schema: &SchemaRef, problems: &mut Vec<Problem>) {
        for column in &self.key {
            match schema.field_with_name(column.as_str()) {
                Err(_) => problems.push(missing_column("model.key", column, schema)),
                Ok(field) if !is_key_type(field.data_type()) => problems.push(Problem::new(
                    format!("model.key.{column}"),
                    format!("a column of type {} cannot be a key", field.data_type()),
                    "cast it in the query to text, a whole number, a date or a decimal",
                )),
                Ok(_) => {}
            }
        }
        let is_text_column = |column: &ColumnName| {
            schema.field_with_name(column.as_str()).map_or(true, |field| is_text(field.data_type()))
        };
        if !self.key_normalisers.is_empty() && !self.key.iter().any(is_text_column) {
            problems.push(Problem::new(
                "model.normalise_key",
                "no column of the key is text, so there is nothing to normalise",
                "take normalise_key away, or make the key a text",
            ));
        }
        if let Some(merge) = &self.merge {
            merge.problems(&self.key, schema, problems);
        }
        for rule in &self.rules {
            let at = format!("model.{}", rule.column);
            match schema.field_with_name(rule.column.as_str()) {
                Err(_) => problems.push(missing_column(&at, &rule.column, schema)),
                Ok(field) => {
                    if matches!(rule.check, Check::AcceptedValues(_)) && !is_text(field.data_type()) {
                        problems.push(Problem::new(
                            at,
                            format!("accepted values need a text column, this one is {}", field.data_type()),
                            "cast the column to text in the query",
                        ));
                    }
                }
            }
        }
    }

    /// Rows that break a rule, at most one entry a row and rule.
    pub(crate) fn breaches(&self, batch: &RecordBatch) -> Result<Vec<Breach>> {
        let mut breaches = Vec::new();
        for rule in &self.rules {
            let column = column(batch, &rule.column)?;
            let mut breach = |row, code| breaches.push(Breach { row, column: rule.column.clone(), code });
            match &rule.check {
                Check::NotNull => {
                    (0..column.len()).filter(|row| column.is_null(*row)).for_each(|row| breach(row, "null"));
                }
                Check::AcceptedValues(values) => {
                    let texts = text_array(&column)?;
                    let texts = texts.as_string::<i32>();
                    (0..texts.len())
                        .filter(|row| texts.is_valid(*row) && !values.iter().any(|value| value == texts.value(*row)))
                        .for_each(|row| breach(row, "value_not_accepted"));
                }
            }
        }
        Ok(breaches)
    }
}

/// The column of that name.
pub(crate) fn column(batch: &RecordBatch, name: &ColumnName) -> Result<ArrayRef> {
    batch.column_by_name(name.as_str()).map(Arc::clone).ok_or_else(|| {
        Error::new(
            Kind::SourceIncomplete,
            "read the model",
            "the source delivered a batch without a column it announced",
        )
        .with_context("column", name)
        .with_remedy("see that the table or query was not changed during the read, then run again")
    })
}

/// A text column of any Arrow text type, as `Utf8`.
pub(crate) fn text_array(column: &ArrayRef) -> Result<ArrayRef> {
    compute::cast(column, &DataType::Utf8)
        .map_err(|e| Error::new(Kind::Internal, "read a text column", "the column is no text").with_source(e))
}

pub(crate) fn missing_column(at: &str, column: &ColumnName, schema: &SchemaRef) -> Problem {
    let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).take(40).collect();
    Problem::new(
        at,
        format!("the model has no column \"{column}\""),
        format!("name one of its columns: {}", known.join(", ")),
    )
}

/// Whether the values of the type are text, in whatever layout.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

fn is_key_type(data_type: &DataType) -> bool {
    is_text(data_type)
        || data_type.is_integer()
        || matches!(
            data_type,
            DataType::Boolean | DataType::Date32 | DataType::Decimal128(_, _) | DataType::Timestamp(_, _)
        )
        || matches!(data_type, DataType::Dictionary(_, value) if is_key_type(value))
}
