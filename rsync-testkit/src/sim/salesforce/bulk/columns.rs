//! The header of a file against its object, and rows against the header.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};

use super::csv;
use super::job::Operation;
use crate::sim::salesforce::field::{Field, Kind};
use crate::sim::salesforce::org::Org;
use crate::sim::salesforce::reply::RowError;
use crate::sim::salesforce::value::{Problem, judge};
use crate::sim::salesforce::write::{self, Draft};

/// The text that clears a field.
const CLEARS: &str = "#N/A";

/// What a column sets.
#[derive(Debug)]
enum Column {
    Id,
    Field(Box<Field>),
    /// A parent, named by one of its keys.
    Parent {
        field: Box<Field>,
        target: usize,
        key: Box<Field>,
    },
}

/// The first line of a file.
#[derive(Debug)]
pub(crate) struct Header {
    /// As sent.
    pub(crate) names: Vec<String>,
    columns: Vec<Column>,
}

impl Header {
    /// Reads the header of a job. The error is the job's: only the first bad column is named.
    pub(crate) fn read(
        org: &Org,
        object: usize,
        operation: Operation,
        key: Option<&Field>,
        line: &str,
        delimiter: char,
    ) -> Result<Self, String> {
        let record = csv::cells(line, delimiter);
        if record.problem.is_some() {
            return Err("InvalidBatch : Failed to parse CSV header".to_owned());
        }
        let names: Vec<String> = record.cells.into_iter().map(Cow::into_owned).collect();
        if names.len() > org.jobs.settings.most_columns {
            return Err(format!("InvalidBatch : A row has {} columns, which are too many", names.len()));
        }
        let missing = |name: &str| format!("InvalidBatch : Field name not found : {name}");
        let mut columns = Vec::with_capacity(names.len());
        for (i, name) in names.iter().enumerate() {
            if names[..i].iter().any(|earlier| earlier.eq_ignore_ascii_case(name)) {
                return Err(format!("InvalidBatch : Duplicate column : {name}"));
            }
            let column = column(org, object, name)?.ok_or_else(|| missing(name))?;
            if operation.deletes() && !matches!(column, Column::Id) {
                return Err(missing(name));
            }
            columns.push(column);
        }
        let has = |wanted: &Field| {
            columns.iter().any(|column| match column {
                Column::Id => wanted.kind == Kind::Id,
                Column::Field(field) => field.name == wanted.name,
                Column::Parent { .. } => false,
            })
        };
        if operation.needs_id() && !columns.iter().any(|column| matches!(column, Column::Id)) {
            return Err(missing("Id"));
        }
        match key.filter(|key| !has(key)) {
            Some(key) => Err(missing(&key.name)),
            None => Ok(Self { names, columns }),
        }
    }

    /// Reads a row. An empty cell leaves its field alone.
    pub(crate) fn draft(&self, org: &Org, object: usize, cells: &[Cow<'_, str>]) -> Draft {
        let mut draft = Draft::of(object);
        for (position, (column, cell)) in self.columns.iter().zip(cells).enumerate() {
            if cell.is_empty() {
                continue;
            }
            let (field, wanted) = match column {
                Column::Id => {
                    draft.id = Some(cell.to_string());
                    continue;
                }
                Column::Field(field) if cell == CLEARS => (field, judge(field, RawValue::NULL, &org.quirks)),
                Column::Field(field) => (field, judge(field, &as_json(field, cell), &org.quirks)),
                Column::Parent { field, target, key } => {
                    (field, write::holder(&org.objects[*target], key, cell).map(Some).map_err(Problem::Row))
                }
            };
            match wanted {
                Ok(wanted) => {
                    if draft.changes.insert(Arc::clone(&field.name), wanted).is_some() {
                        draft.errors.push(write::parent_twice(&self.names[position], field));
                    }
                }
                Err(Problem::Row(error)) => draft.errors.push(error),
                Err(Problem::Malformed(_)) => {
                    let message = format!(
                        "Failed to deserialize field at col {position}. Due to, '{cell}' is not a valid value for the \
                         type {}",
                        field.kind.soap_type()
                    );
                    draft.errors.push(RowError::new("INVALID_FIELD", message).on(&field.name));
                }
            }
        }
        draft
    }
}

/// The column of a name; `None` if the object has no such field.
fn column(org: &Org, object: usize, name: &str) -> Result<Option<Column>, String> {
    let kind = &org.objects[object];
    if name.eq_ignore_ascii_case("Id") {
        return Ok(Some(Column::Id));
    }
    let Some((path, key)) = name.split_once('.') else {
        return Ok(kind.field(name).cloned().map(|field| Column::Field(Box::new(field))));
    };
    let (target, relationship) = path.split_once(':').map_or((None, path), |(target, rest)| (Some(target), rest));
    let Some(field) = kind.relationship(relationship) else { return Ok(None) };
    let target = match (target, field.reference_to.as_slice()) {
        (Some(_), [_]) => {
            return Err(format!(
                "InvalidBatch : type is not needed for non polymorphic foreign key references: {relationship}"
            ));
        }
        (Some(name), several) => several.iter().find(|object| object.eq_ignore_ascii_case(name)),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let target = target.and_then(|target| org.object(target));
    Ok(target.and_then(|target| {
        let key = org.objects[target].field(key).filter(|key| key.id_lookup)?.clone();
        Some(Column::Parent { field: Box::new(field.clone()), target, key: Box::new(key) })
    }))
}

/// A cell as a request would give it.
fn as_json(field: &Field, cell: &str) -> Box<RawValue> {
    let given = match (field.kind, cell.to_ascii_lowercase().as_str()) {
        (Kind::Boolean, "true" | "1") => to_raw_value(&true),
        (Kind::Boolean, "false" | "0") => to_raw_value(&false),
        _ => to_raw_value(cell),
    };
    given.unwrap_or_else(|_| RawValue::NULL.to_owned())
}
