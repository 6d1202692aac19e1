//! From columns of the model to fields of the destination.
//!
//! A mapping is an allow-list: a column that it does not name is never read further and never causes a write.
//! [`FieldMap`] is the declarative one; implement [`Mapping`] for what it cannot say.

mod convert;
mod field_map;

use std::fmt::Debug;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::destination::RemoteSchema;
use crate::error::Result;
use crate::field_policy::FieldPolicy;
use crate::ids::{ColumnName, FieldName};
use crate::normalise::Normaliser;
use crate::record::{FieldType, Rows};

pub(crate) use convert::key_column;
pub(crate) use field_map::read_only;
pub use field_map::{Constant, FieldMap, FieldRule, NullRule};

/// A field that a mapping fills, as shown in a plan.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MappedField {
    /// The field at the destination.
    pub name: FieldName,
    /// The type of its values.
    pub ty: FieldType,
    /// The column that it is converted from, if it comes from exactly one.
    pub from: Option<ColumnName>,
    /// What a null becomes; `None` if the field is never null.
    pub on_null: Option<NullRule>,
    /// A hash of what else decides how it is filled, so that a change of it shows in a plan; 0 where a mapping does not
    /// say.
    pub rule: u64,
    /// Whether it is emptied where this sync wrote it, and left alone elsewhere. Its cells are then all
    /// [`Clear`](crate::record::Cell::Clear).
    pub retired: bool,
    /// What becomes of a value that the field already has.
    pub policy: FieldPolicy,
    /// How its texts are normalised before anything else is done with them.
    pub normalisers: Vec<Normaliser>,
    /// Whether two texts or numbers of the column that differ, once normalised, always give two values of the field
    /// that differ. Where records are matched on it and this is false, rows that meet in one value are looked for.
    pub one_to_one: bool,
}

impl MappedField {
    /// A field of that name and type, not [`one_to_one`](MappedField::one_to_one).
    pub fn new(name: impl Into<FieldName>, ty: FieldType) -> Self {
        Self {
            name: name.into(),
            ty,
            from: None,
            on_null: Some(NullRule::Keep),
            rule: 0,
            retired: false,
            policy: FieldPolicy::Overwrite,
            normalisers: Vec::new(),
            one_to_one: false,
        }
    }
}

/// A row that cannot be mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The row in the batch.
    pub row: usize,
    /// The field that could not be filled.
    pub field: FieldName,
    /// The column it comes from.
    pub column: Option<ColumnName>,
    /// Why, as a short constant code.
    pub code: &'static str,
}

/// The outcome of mapping a batch.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// As many rows as came in, in the same order. Rows that are rejected hold arbitrary values.
    pub rows: Rows,
    /// The rows that cannot be mapped, each with its first reason or with several.
    pub rejects: Vec<Reject>,
}

/// Turns rows of a model into rows of fields. Pure: no I/O, no clock, the same output for the same input.
pub trait Mapping: Debug + Send + Sync + 'static {
    /// The columns it reads.
    fn columns(&self) -> Vec<ColumnName>;

    /// Checks the mapping against the model's columns and, where they are known, the destination's fields, and
    /// tells which fields it fills, in order.
    ///
    /// # Errors
    ///
    /// [`Kind::SchemaMismatch`](crate::error::Kind::SchemaMismatch) with all problems at once.
    fn plan(&self, input: &SchemaRef, remote: Option<&RemoteSchema>) -> Result<Vec<MappedField>>;

    /// Maps one batch. The columns of the outcome are the fields of [`Mapping::plan`], in that order, with the
    /// Arrow types of [`FieldType::arrow`].
    ///
    /// # Errors
    ///
    /// Only for a broken batch; values that cannot be mapped are [`Mapped::rejects`].
    fn apply(&self, input: &RecordBatch) -> Result<Mapped>;
}
