//! Mapped rows to the body of a batch call. Pure; the JSON is written straight into the buffer that is sent.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rsync_core::capability::Operation;
use rsync_core::destination::WriteBatch;
use rsync_core::error::{Error, Kind, Result};
use rsync_core::field_policy::FieldPolicy;
use rsync_core::ids::{FieldName, RemoteId};
use rsync_core::outcome::RowOutcome;
use rsync_core::record::{Cell, Column, FieldType, Value};
use serde::Serialize as _;

use crate::object::{Fold, KeyKind, Object};
use crate::value::{Unsendable, write_value};

/// Most inputs of one call.
pub(crate) const INPUTS_MAX: usize = 100;

/// The property that the service moves forward only, keeping the old value without a word.
pub(crate) const LIFECYCLE_STAGE: &str = "lifecyclestage";

/// A body and what it takes to understand its answer.
pub(crate) struct Encoded {
    pub(crate) body: Vec<u8>,
    /// The rows in the body, in row order.
    pub(crate) sent: Vec<Sent>,
    /// The rows that cannot be sent, with their outcomes.
    pub(crate) refused: Vec<(usize, RowOutcome)>,
}

/// A row that is in the body.
pub(crate) struct Sent {
    /// Its index in the batch, which is also its trace id.
    pub(crate) row: usize,
    /// Its key, folded.
    pub(crate) key: String,
    /// The lifecycle stage that it sets.
    pub(crate) stage: Option<String>,
}

/// How the keys of a batch are compared.
pub(crate) fn fold_of(object: &Object, match_on: &str, key_type: &FieldType) -> Fold {
    let numeric = matches!(key_type, FieldType::Integer | FieldType::Float | FieldType::Decimal { .. });
    Fold::new(KeyKind::of(object, match_on), numeric)
}

struct EncodedColumn<'a> {
    name: &'a str,
    /// `"name":` as JSON.
    json_name: Vec<u8>,
    column: Column<'a>,
    /// Whether its options are added to those of the record.
    appends: bool,
}

/// Encodes `batch` for its operation.
///
/// # Errors
///
/// [`Kind::Internal`] if the engine broke a promise: too many rows, a null or repeated key.
pub(crate) fn encode(object: &Object, batch: &WriteBatch) -> Result<Encoded> {
    let rows = &batch.rows;
    if rows.len() > INPUTS_MAX {
        return Err(broken_promise("the batch is larger than the declared limit")
            .with_context("rows", rows.len())
            .with_context("limit", INPUTS_MAX));
    }
    let match_on = batch.target.match_on.as_str();
    let schema = rows.schema();
    let key_index = schema
        .index_of(match_on)
        .map_err(|_| broken_promise("the key field is not among the fields").with_context("field", match_on))?;
    let key_type = FieldType::from_arrow(schema.field(key_index).data_type()).unwrap_or(FieldType::Text);
    let fold = fold_of(object, match_on, &key_type);
    let by_record_id = batch.ids.is_some() || KeyKind::of(object, match_on) == KeyKind::RecordId;
    let columns: Vec<EncodedColumn<'_>> = (0..schema.fields().len())
        // The record id is no property that can be set.
        .filter(|index| !(KeyKind::of(object, match_on) == KeyKind::RecordId && *index == key_index))
        .map(|index| {
            let name = schema.field(index).name().as_str();
            let mut json_name = Vec::with_capacity(name.len() + 3);
            push_json_string(name, &mut json_name);
            json_name.push(b':');
            let appends =
                batch.policies.iter().any(|(field, policy)| field.as_str() == name && *policy == FieldPolicy::SetUnion);
            EncodedColumn { name, json_name, column: rows.column(index), appends }
        })
        .collect();
    let key_column = rows.column(key_index);

    let mut encoded = Encoded { body: Vec::new(), sent: Vec::with_capacity(rows.len()), refused: Vec::new() };
    let body = &mut encoded.body;
    body.reserve(64 + rows.len() * (96 + columns.len() * 40));
    body.extend_from_slice(br#"{"inputs":["#);
    let mut keys: HashMap<String, usize> = HashMap::with_capacity(rows.len());
    let (mut scratch, mut key_text) = (String::new(), String::new());
    for row in 0..rows.len() {
        key_text.clear();
        let key = match (&batch.ids, key_column.cell(row)) {
            (Some(ids), _) => {
                key_text.push_str(ids[row].as_str());
                Ok(key_text.clone())
            }
            (None, Cell::Set(key)) => write_value(&key, &mut key_text).map(|()| fold.fold(&key_text)),
            (None, _) => {
                return Err(broken_promise("a row has no key")
                    .with_context("row", row)
                    .with_context("field", match_on));
            }
        };
        let key = match key {
            Ok(key) if !key.is_empty() => key,
            unsendable => {
                let reason = unsendable.err().unwrap_or(Unsendable::EmptyKey);
                encoded.refused.push((row, refusal(reason, match_on)));
                continue;
            }
        };
        let start = body.len();
        if !encoded.sent.is_empty() {
            body.push(b',');
        }
        body.push(b'{');
        if batch.operation != Operation::Create {
            body.extend_from_slice(br#""id":"#);
            push_json_string(&key_text, body);
            if !by_record_id {
                body.extend_from_slice(br#","idProperty":"#);
                push_json_string(match_on, body);
            }
            body.push(b',');
        }
        body.extend_from_slice(br#""objectWriteTraceId":""#);
        body.extend_from_slice(row.to_string().as_bytes());
        body.extend_from_slice(br#"","properties":{"#);
        match push_properties(&columns, row, &mut scratch, body) {
            Ok(stage) => {
                body.extend_from_slice(b"}}");
                match keys.entry(key.clone()) {
                    Entry::Occupied(first) => {
                        return Err(broken_promise("two rows have the same key")
                            .with_context("first_row", *first.get())
                            .with_context("row", row));
                    }
                    Entry::Vacant(place) => place.insert(row),
                };
                encoded.sent.push(Sent { row, key, stage });
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

/// Encodes the ids of records that are to be archived.
///
/// # Errors
///
/// [`Kind::Internal`] if there are too many.
pub(crate) fn encode_ids(ids: &[RemoteId]) -> Result<Vec<u8>> {
    if ids.len() > INPUTS_MAX {
        return Err(broken_promise("the batch is larger than the declared limit")
            .with_context("rows", ids.len())
            .with_context("limit", INPUTS_MAX));
    }
    let mut body = br#"{"inputs":["#.to_vec();
    for (index, id) in ids.iter().enumerate() {
        body.extend_from_slice(if index == 0 { br#"{"id":"# } else { br#",{"id":"# });
        push_json_string(id.as_str(), &mut body);
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
    Ok(body)
}

/// Appends the properties of `row`. Returns the lifecycle stage that it sets.
fn push_properties<'a>(
    columns: &[EncodedColumn<'a>],
    row: usize,
    scratch: &mut String,
    body: &mut Vec<u8>,
) -> Result<Option<String>, (Unsendable, &'a str)> {
    let mut stage = None;
    let mut first = true;
    for column in columns {
        let cell = column.column.cell(row);
        // An empty text would clear the property instead of adding nothing to it.
        let adds_nothing = column.appends && !matches!(&cell, Cell::Set(Value::TextList(items)) if !items.is_empty());
        if cell == Cell::Absent || adds_nothing {
            continue;
        }
        if !first {
            body.push(b',');
        }
        first = false;
        body.extend_from_slice(&column.json_name);
        match cell {
            Cell::Set(value) => {
                scratch.clear();
                if column.appends {
                    scratch.push(';');
                }
                write_value(&value, scratch).map_err(|reason| (reason, column.name))?;
                if matches!(value, Value::Text(_) | Value::TextList(_)) {
                    push_json_string(scratch, body);
                    if column.name == LIFECYCLE_STAGE && !scratch.is_empty() {
                        stage = Some(scratch.clone());
                    }
                } else {
                    // Numbers, dates and flags hold nothing that JSON escapes.
                    body.push(b'"');
                    body.extend_from_slice(scratch.as_bytes());
                    body.push(b'"');
                }
            }
            _ => body.extend_from_slice(br#""""#),
        }
    }
    Ok(stage)
}

/// Appends `text` as a JSON string.
pub(crate) fn push_json_string(text: &str, out: &mut Vec<u8>) {
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
mod tests;
