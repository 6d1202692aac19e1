//! Mapped rows to the body of a collection call. Pure; the JSON is written straight into the buffer that is sent.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rsync_core::destination::WriteBatch;
use rsync_core::error::{Error, Kind, Result};
use rsync_core::ids::FieldName;
use rsync_core::outcome::RowOutcome;
use rsync_core::record::{Cell, Column};
use serde::Serialize as _;

use crate::object::{Object, RECORD_ID};
use crate::record_id;
use crate::schema::{Field, Form, Schema};
use crate::value::{Spelling, Unsendable, write_value};

/// Most rows of one call.
pub(crate) const ROWS_MAX: usize = 200;

/// A body and what it takes to understand its answer.
pub(crate) struct Encoded {
    pub(crate) body: Vec<u8>,
    /// The rows in the body, in row order, which is also that of the answer.
    pub(crate) sent: Vec<usize>,
    /// The rows that cannot be sent, with their outcomes.
    pub(crate) refused: Vec<(usize, RowOutcome)>,
}

struct EncodedColumn<'a> {
    name: &'a str,
    /// `,"name":` as JSON.
    json_name: Vec<u8>,
    field: Option<&'a Field>,
    column: Column<'a>,
}

/// Encodes `batch`.
///
/// # Errors
///
/// [`Kind::SchemaMismatch`] if the object has no such key field; [`Kind::Internal`] if the engine broke a promise: too
/// many rows, a null or repeated key.
pub(crate) fn encode(object: &Object, schema: &Schema, batch: &WriteBatch) -> Result<Encoded> {
    let rows = &batch.rows;
    let match_on = batch.target.match_on.as_str();
    let key_field = schema.known(object, match_on)?;
    let key_index = rows
        .schema()
        .index_of(match_on)
        .map_err(|_| broken_promise("the key field is not among the fields").with_context("field", match_on))?;
    let columns: Vec<EncodedColumn<'_>> = rows
        .schema()
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| {
            let name = field.name().as_str();
            // An update has the id beside the fields, under a name of its own.
            let wire_name = if name == RECORD_ID && name == match_on { "id" } else { name };
            let mut json_name = vec![b','];
            push_json_string(wire_name, &mut json_name);
            json_name.push(b':');
            EncodedColumn { name, json_name, field: schema.field(name), column: rows.column(index) }
        })
        .collect();
    let mut head = br#"{"attributes":{"type":"#.to_vec();
    push_json_string(object.as_str(), &mut head);
    head.push(b'}');

    let mut encoded = Encoded { body: Vec::new(), sent: Vec::with_capacity(rows.len()), refused: Vec::new() };
    let body = &mut encoded.body;
    body.reserve(64 + rows.len() * (head.len() + columns.len() * 40));
    body.extend_from_slice(br#"{"allOrNone":false,"records":["#);
    let mut keys: HashMap<String, usize> = HashMap::with_capacity(rows.len());
    let mut scratch = String::new();
    for row in 0..rows.len() {
        let key = match key(key_field, &columns[key_index].column, row, &mut scratch) {
            Some(Ok(key)) => key,
            Some(Err(reason)) => {
                encoded.refused.push((row, refusal(reason, match_on)));
                continue;
            }
            None => {
                return Err(broken_promise("a row has no key")
                    .with_context("row", row)
                    .with_context("field", match_on));
            }
        };
        let start = body.len();
        if !encoded.sent.is_empty() {
            body.push(b',');
        }
        body.extend_from_slice(&head);
        match push_fields(&columns, row, &mut scratch, body) {
            Ok(()) => {
                body.push(b'}');
                match keys.entry(key) {
                    // The service fails all rows of a key that occurs twice.
                    Entry::Occupied(first) => {
                        return Err(broken_promise("two rows have the same key")
                            .with_context("first_row", *first.get())
                            .with_context("row", row));
                    }
                    Entry::Vacant(place) => place.insert(row),
                };
                encoded.sent.push(row);
            }
            Err((reason, field)) => {
                body.truncate(start);
                encoded.refused.push((row, refusal(reason, field)));
            }
        }
    }
    body.extend_from_slice(b"]}");
    Ok(encoded)
}

/// The folded key of `row`; `None` if it has none.
fn key(field: &Field, column: &Column<'_>, row: usize, scratch: &mut String) -> Option<Result<String, Unsendable>> {
    let Cell::Set(value) = column.cell(row) else { return None };
    scratch.clear();
    Some(write_value(Some(field), &value, scratch).and_then(|_| {
        // A short record id is the same key as a long one, and the engine cannot know.
        if field.form == Form::Id && record_id::canonical(scratch).as_deref() != Some(scratch) {
            return Err(Unsendable::RecordId);
        }
        if field.case_sensitive && scratch.trim() != scratch {
            return Err(Unsendable::KeyWhiteSpace);
        }
        Ok(field.fold().fold(scratch))
    }))
}

/// Appends the fields of `row`.
fn push_fields<'a>(
    columns: &[EncodedColumn<'a>],
    row: usize,
    scratch: &mut String,
    body: &mut Vec<u8>,
) -> Result<(), (Unsendable, &'a str)> {
    for column in columns {
        let spelling = match column.column.cell(row) {
            Cell::Absent => continue,
            Cell::Clear if column.field.is_some_and(|field| field.form == Form::Boolean) => {
                return Err((Unsendable::NullBoolean, column.name));
            }
            Cell::Clear => Spelling::Null,
            Cell::Set(value) => {
                scratch.clear();
                write_value(column.field, &value, scratch).map_err(|reason| (reason, column.name))?
            }
        };
        body.extend_from_slice(&column.json_name);
        match spelling {
            Spelling::Quoted => push_json_string(scratch, body),
            Spelling::Bare => body.extend_from_slice(scratch.as_bytes()),
            Spelling::Null => body.extend_from_slice(b"null"),
        }
    }
    Ok(())
}

/// Appends `text` as a JSON string.
fn push_json_string(text: &str, out: &mut Vec<u8>) {
    // Writing a string to memory cannot fail.
    let _ = text.serialize(&mut serde_json::Serializer::new(out));
}

fn refusal(reason: Unsendable, field: &str) -> RowOutcome {
    RowOutcome::rejected(reason.code(), Some(FieldName::new(field)), reason.remedy())
}

fn broken_promise(message: &'static str) -> Error {
    Error::new(Kind::Internal, "encode a batch", message)
}

#[cfg(test)]
#[path = "encode_tests.rs"]
pub(crate) mod tests;
