//! Mapped rows to the body of a collection call. Pure; the JSON is written straight into the buffer that is sent.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rsync_core::destination::WriteBatch;
use rsync_core::error::{Error, Kind, Result};
use rsync_core::ids::{FieldName, RemoteId};
use rsync_core::outcome::RowOutcome;
use rsync_core::record::{Cell, Column};
use serde::Serialize as _;

use crate::object::{Object, RECORD_ID};
use crate::record_id;
use crate::schema::{Field, Form, Parent, Schema};
use crate::value::{Spelling, Unsendable, write_value};

/// Most rows of one call.
pub(crate) const ROWS_MAX: usize = 200;

/// What a body is sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Envelope {
    /// Nothing: it is the whole request.
    None,
    /// A composite request, in which the service reads `@{` as a reference to an earlier answer.
    Composite,
}

/// A body and what it takes to understand its answer.
pub(crate) struct Encoded {
    pub(crate) body: Vec<u8>,
    /// The rows in the body, in row order, which is also that of the answer.
    pub(crate) sent: Vec<usize>,
    /// The rows that cannot be sent, with their outcomes.
    pub(crate) refused: Vec<(usize, RowOutcome)>,
}

/// The ids that the rows of a delete name, in the form of its query, and what it takes to understand the answer.
///
/// # Errors
///
/// As [`encode`].
pub(crate) fn encode_ids(batch: &WriteBatch) -> Result<Encoded> {
    let mut encoded = Encoded { body: Vec::new(), sent: Vec::with_capacity(batch.len()), refused: Vec::new() };
    let mut addresses = Addresses::with_capacity(batch.len());
    let match_on = batch.target.match_on.as_str();
    for row in 0..batch.len() {
        let id = match &batch.ids {
            Some(ids) => long_id(&ids[row]),
            None => {
                let mut key = String::new();
                batch.key_text(row, &mut key)?;
                if record_id::canonical(&key).as_deref() == Some(&key) { Ok(key) } else { Err(Unsendable::RecordId) }
            }
        };
        match id {
            Ok(id) => {
                if !encoded.sent.is_empty() {
                    encoded.body.push(b',');
                }
                encoded.body.extend_from_slice(id.as_bytes());
                addresses.take(id, row)?;
                encoded.sent.push(row);
            }
            Err(reason) => encoded.refused.push((row, refusal(reason, match_on))),
        }
    }
    Ok(encoded)
}

/// Ids come from earlier answers, and so in their long form; anything else addresses nothing.
fn long_id(id: &RemoteId) -> Result<String, Unsendable> {
    record_id::canonical(id.as_str()).filter(|long| long == id.as_str()).ok_or(Unsendable::RecordId)
}

/// What the rows so far are addressed by: folded keys, or ids.
struct Addresses(HashMap<String, usize>);

impl Addresses {
    fn with_capacity(rows: usize) -> Self {
        Self(HashMap::with_capacity(rows))
    }

    fn take(&mut self, address: String, row: usize) -> Result<()> {
        match self.0.entry(address) {
            // The service fails all rows of a key that occurs twice.
            Entry::Occupied(first) => Err(broken_promise("two rows have the same key")
                .with_context("first_row", *first.get())
                .with_context("row", row)),
            Entry::Vacant(place) => {
                place.insert(row);
                Ok(())
            }
        }
    }
}

struct EncodedColumn<'a> {
    name: &'a str,
    /// `,"name":` as JSON, and for the key of another record what goes before that.
    json_name: Vec<u8>,
    /// The same for a value that is cleared.
    clear_name: Vec<u8>,
    /// The earlier columns that set the same reference.
    rivals: Vec<usize>,
    field: Option<&'a Field>,
    column: Column<'a>,
}

impl EncodedColumn<'_> {
    /// The field that is changed.
    fn reference(&self) -> &str {
        self.field.and_then(|field| field.parent.as_ref()).map_or(self.name, |parent| &parent.reference)
    }
}

/// `,"name":` as JSON.
fn json_name(name: &str) -> Vec<u8> {
    let mut json = vec![b','];
    push_json_string(name, &mut json);
    json.push(b':');
    json
}

/// What goes before the key of another record; a bracket closes it.
fn parent_name(parent: &Parent) -> Vec<u8> {
    let mut json = json_name(&parent.relationship);
    json.push(b'{');
    if parent.typed {
        json.extend_from_slice(br#""attributes":{"type":"#);
        push_json_string(&parent.object, &mut json);
        json.extend_from_slice(b"},");
    }
    push_json_string(&parent.key, &mut json);
    json.push(b':');
    json
}

/// Encodes `batch`.
///
/// # Errors
///
/// [`Kind::SchemaMismatch`] if the object has no such key field; [`Kind::Internal`] if the engine broke a promise: too
/// many rows, a null or repeated key.
pub(crate) fn encode(object: &Object, schema: &Schema, batch: &WriteBatch, envelope: Envelope) -> Result<Encoded> {
    let rows = &batch.rows;
    let match_on = batch.target.match_on.as_str();
    let key_field = schema.known(object, match_on)?;
    let key_index = rows
        .schema()
        .index_of(match_on)
        .map_err(|_| broken_promise("the key field is not among the fields").with_context("field", match_on))?;
    let key_column = rows.column(key_index);
    let mut columns: Vec<EncodedColumn<'_>> = rows
        .schema()
        .fields()
        .iter()
        .enumerate()
        // Where rows go by id, that one counts.
        .filter(|(_, field)| batch.ids.is_none() || field.name() != RECORD_ID)
        .map(|(index, field)| {
            let name = field.name().as_str();
            // An update has the id beside the fields, under a name of its own.
            let wire_name = if name == RECORD_ID && name == match_on { "id" } else { name };
            let field = schema.field(name);
            let (json_name, clear_name) = match field.and_then(|field| field.parent.as_ref()) {
                Some(parent) => (parent_name(parent), json_name(&parent.reference)),
                None => (json_name(wire_name), json_name(wire_name)),
            };
            EncodedColumn { name, json_name, clear_name, rivals: Vec::new(), field, column: rows.column(index) }
        })
        .collect();
    for index in 1..columns.len() {
        let reference = columns[index].reference();
        columns[index].rivals = (0..index).filter(|other| columns[*other].reference() == reference).collect();
    }
    let mut head = br#"{"attributes":{"type":"#.to_vec();
    push_json_string(object.as_str(), &mut head);
    head.push(b'}');

    let mut encoded = Encoded { body: Vec::new(), sent: Vec::with_capacity(rows.len()), refused: Vec::new() };
    let body = &mut encoded.body;
    body.reserve(64 + rows.len() * (head.len() + columns.len() * 40));
    body.extend_from_slice(br#"{"allOrNone":false,"records":["#);
    let mut addresses = Addresses::with_capacity(rows.len());
    let mut scratch = String::new();
    for row in 0..rows.len() {
        let key = key(key_field, &key_column, row, &mut scratch).transpose();
        // Where rows go by id, the key is a field like others, which may be absent.
        let address = key.and_then(|key| batch.ids.as_ref().map_or(Ok(key), |ids| long_id(&ids[row]).map(Some)));
        let address = match address {
            Ok(Some(address)) => address,
            Ok(None) => {
                return Err(broken_promise("a row has no key")
                    .with_context("row", row)
                    .with_context("field", match_on));
            }
            Err(reason) => {
                encoded.refused.push((row, refusal(reason, match_on)));
                continue;
            }
        };
        let start = body.len();
        if !encoded.sent.is_empty() {
            body.push(b',');
        }
        body.extend_from_slice(&head);
        if batch.ids.is_some() {
            body.extend_from_slice(br#","id":""#);
            body.extend_from_slice(address.as_bytes());
            body.push(b'"');
        }
        match push_fields(&columns, row, envelope, &mut scratch, body) {
            Ok(()) => {
                body.push(b'}');
                addresses.take(address, row)?;
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
    envelope: Envelope,
    scratch: &mut String,
    body: &mut Vec<u8>,
) -> Result<(), (Unsendable, &'a str)> {
    for column in columns {
        let cell = column.column.cell(row);
        let is_set = |rival: &usize| !matches!(columns[*rival].column.cell(row), Cell::Absent);
        if !matches!(cell, Cell::Absent) && column.rivals.iter().any(is_set) {
            return Err((Unsendable::ParentTwice, column.name));
        }
        let spelling = match cell {
            Cell::Absent => continue,
            Cell::Clear if column.field.is_some_and(|field| field.form == Form::Boolean) => {
                return Err((Unsendable::NullBoolean, column.name));
            }
            Cell::Clear => {
                body.extend_from_slice(&column.clear_name);
                body.extend_from_slice(b"null");
                continue;
            }
            Cell::Set(value) => {
                scratch.clear();
                write_value(column.field, &value, scratch).map_err(|reason| (reason, column.name))?
            }
        };
        if envelope == Envelope::Composite && scratch.contains("@{") {
            return Err((Unsendable::CompositeReference, column.name));
        }
        body.extend_from_slice(&column.json_name);
        match spelling {
            Spelling::Quoted => push_json_string(scratch, body),
            Spelling::Bare => body.extend_from_slice(scratch.as_bytes()),
            Spelling::Null => body.extend_from_slice(b"null"),
        }
        if column.field.is_some_and(|field| field.parent.is_some()) {
            body.push(b'}');
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
