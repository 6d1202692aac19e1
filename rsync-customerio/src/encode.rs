//! Mapped rows to the body of a batch call. Pure; the JSON is written straight into the buffer that is sent.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Write};

use rsync_core::destination::{Target, WriteBatch};
use rsync_core::error::{Error, Kind, Result};
use rsync_core::ids::FieldName;
use rsync_core::outcome::RowOutcome;
use rsync_core::record::{Cell, Rows, Value};

use crate::person::{Attribute, Identifier};
use crate::policy::{EmptyText, Policy};
use crate::value::{Unsendable, identifier, push_text, push_value};

/// What stands before and behind the items of a body.
const HEAD: &[u8] = br#"{"batch":["#;
const TAIL: &[u8] = b"]}";
/// The body must be smaller than this.
const BODY_BYTES: usize = 500_000;
/// Largest item of a body.
const ITEM_BYTES_MAX: usize = 32_000;
/// Most attributes of one item.
const ATTRIBUTES_MAX: usize = 300;

/// Most bytes that rows may add up to, where each counts [`row_bytes`]: that includes a comma, of which a body has one
/// less than items.
pub(crate) const ROWS_BYTES_MAX: usize = BODY_BYTES - 1 - HEAD.len() - TAIL.len() + 1;

/// A body and what it takes to understand its answer.
pub(crate) struct Encoded {
    pub(crate) body: Vec<u8>,
    /// The rows in the body, in its order.
    pub(crate) sent: Vec<usize>,
    /// The rows that cannot be sent, with their outcomes.
    pub(crate) refused: Vec<(usize, RowOutcome)>,
}

/// Encodes a batch.
///
/// # Errors
///
/// [`Kind::Internal`] if the engine broke a promise: a repeated key, more bytes than declared.
pub(crate) fn encode(policy: Policy, batch: &WriteBatch) -> Result<Encoded> {
    let rows = &batch.rows;
    let items = Items::new(policy, &batch.target, rows)?;
    let folding = items.identifier.folding();
    let mut encoded = Encoded { body: Vec::new(), sent: Vec::with_capacity(rows.len()), refused: Vec::new() };
    let body = &mut encoded.body;
    // One allocation for the whole body, a little too large rather than too small.
    body.reserve(BODY_BYTES.min(HEAD.len() + TAIL.len() + rows.len() * (128 + rows.schema().fields().len() * 40)));
    body.extend_from_slice(HEAD);
    let mut keys: HashMap<String, usize> = HashMap::with_capacity(rows.len());
    for row in 0..rows.len() {
        let start = body.len();
        if !encoded.sent.is_empty() {
            body.push(b',');
        }
        match items.push(row, body) {
            Ok(()) => encoded.sent.push(row),
            Err((reason, field)) => {
                body.truncate(start);
                let outcome = RowOutcome::rejected(reason.code(), field.map(FieldName::new), reason.remedy());
                encoded.refused.push((row, outcome));
                continue;
            }
        }
        let mut key = String::new();
        batch.key_text(row, &mut key)?;
        match keys.entry(folding.folded(&key)) {
            Entry::Occupied(first) => {
                return Err(broken_promise("two rows have the same key")
                    .with_context("first_row", *first.get())
                    .with_context("row", row));
            }
            Entry::Vacant(place) => place.insert(row),
        };
    }
    body.extend_from_slice(TAIL);
    if body.len() >= BODY_BYTES {
        return Err(broken_promise("the batch is larger than the declared limit")
            .with_context("bytes", body.len())
            .with_context("limit", BODY_BYTES));
    }
    Ok(encoded)
}

/// Bytes that `row` adds to a body, its comma included: exactly, so that bodies can be filled to the last byte. A row
/// that cannot be sent adds nothing.
pub(crate) fn row_bytes(policy: Policy, target: &Target, rows: &Rows, row: usize) -> usize {
    let mut count = Count(0);
    // What is wrong with the target is told when the batch is written.
    match Items::new(policy, target, rows).map(|items| items.push(row, &mut count)) {
        Ok(Ok(())) => count.0 + 1,
        _ => 0,
    }
}

/// Where the bytes of an item go, and how many there are.
trait Sink: Write {
    fn bytes(&self) -> usize;
}

impl Sink for Vec<u8> {
    fn bytes(&self) -> usize {
        self.len()
    }
}

/// Counts bytes and keeps none.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Count {
    fn bytes(&self) -> usize {
        self.0
    }
}

/// Rows as items of a body.
struct Items<'a> {
    policy: Policy,
    rows: &'a Rows,
    identifier: Identifier,
    /// Index of the column that holds the identifier.
    key: usize,
}

/// Why a row is refused, and the field at fault.
type Refusal<'a> = (Unsendable, Option<&'a str>);

impl<'a> Items<'a> {
    fn new(policy: Policy, target: &Target, rows: &'a Rows) -> Result<Self> {
        let identifier = Identifier::of_target(target)?;
        let key = rows.schema().index_of(identifier.name()).map_err(|_| {
            broken_promise("the key field is not among the fields").with_context("field", identifier.name())
        })?;
        Ok(Self { policy, rows, identifier, key })
    }

    /// Appends the item of `row`. On an error, `out` may hold a part of it.
    fn push(&self, row: usize, out: &mut impl Sink) -> Result<(), Refusal<'a>> {
        let start = out.bytes();
        let name = self.identifier.name();
        let key = match self.rows.column(self.key).cell(row) {
            Cell::Set(value) => identifier(self.identifier, &value),
            _ => Err(Unsendable::IdentifierEmpty),
        };
        let key = key.map_err(|reason| (reason, Some(self.name(self.key))))?;
        put(br#"{"type":"person","action":"identify","identifiers":{""#, out);
        put(name.as_bytes(), out);
        put(br#"":"#, out);
        push_text(&key, out);
        put(b"}", out);
        let mut attributes = 0;
        for column in (0..self.rows.schema().fields().len()).filter(|column| *column != self.key) {
            let cell = self.rows.column(column).cell(row);
            if cell == Cell::Absent {
                continue;
            }
            // An empty object of attributes was seen to make the service pass over the call, so there is none.
            put(if attributes == 0 { br#","attributes":{"# } else { b"," }, out);
            attributes += 1;
            let name = self.name(column);
            push_text(name, out);
            put(b":", out);
            self.push_attribute(Attribute::of(name), &cell, out).map_err(|reason| (reason, Some(name)))?;
        }
        put(if attributes == 0 { b"}" } else { b"}}" }, out);
        if attributes > ATTRIBUTES_MAX {
            return Err((Unsendable::TooManyAttributes, None));
        }
        if out.bytes() - start > ITEM_BYTES_MAX {
            return Err((Unsendable::ItemTooLarge, None));
        }
        Ok(())
    }

    fn push_attribute(&self, attribute: Attribute, cell: &Cell<'_>, out: &mut impl Sink) -> Result<(), Unsendable> {
        let value = match cell {
            Cell::Set(Value::Text("")) => match self.policy.empty_text {
                EmptyText::Reject => return Err(Unsendable::EmptyText),
                EmptyText::Clear => None,
            },
            Cell::Set(value) => Some(value),
            _ => None,
        };
        match (attribute, value) {
            (Attribute::Identifier(Identifier::Id), None) => return Err(Unsendable::IdentifierCleared),
            // Who has no such attribute counts as subscribed.
            (Attribute::Unsubscribed, None | Some(Value::Boolean(false))) if !self.policy.allow_resubscribe => {
                return Err(Unsendable::Resubscribe);
            }
            (_, None) => put(b"null", out),
            (Attribute::Identifier(kind), Some(value)) => push_text(&identifier(kind, value)?, out),
            (Attribute::Unsubscribed, Some(value @ Value::Boolean(_))) => push_value(value, out)?,
            (Attribute::Unsubscribed, Some(_)) => return Err(Unsendable::NotBoolean),
            (Attribute::Plain, Some(value)) => push_value(value, out)?,
        }
        Ok(())
    }

    fn name(&self, column: usize) -> &'a str {
        self.rows.schema().field(column).name()
    }
}

/// Appends bytes. Memory takes everything, so writing cannot fail.
fn put(bytes: &[u8], out: &mut impl Write) {
    let _ = out.write_all(bytes);
}

fn broken_promise(message: &'static str) -> Error {
    Error::new(Kind::Internal, "encode a batch", message)
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
