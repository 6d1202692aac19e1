//! Mapped rows to the body of a batch call. Pure; the JSON is written straight into the buffer that is sent.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Write};

use rsync_core::capability::Operation;
use rsync_core::destination::{Target, WriteBatch};
use rsync_core::error::{Error, Kind, Result};
use rsync_core::ids::{FieldName, Token};
use rsync_core::outcome::RowOutcome;
use rsync_core::record::{Cell, Rows, Value};

use crate::event::{ULID_LEN, ulid};
use crate::object::Object;
use crate::person::{Attribute, Identifier, TIMESTAMP};
use crate::policy::{Deletion, EmptyText, Policy};
use crate::value::{Unsendable, VALUE_BYTES_MAX, identifier, push_text, push_value};

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
/// [`Kind::Internal`] if the engine broke a promise: a repeated key, more bytes than declared, an event without a token.
pub(crate) fn encode(policy: Policy, batch: &WriteBatch) -> Result<Encoded> {
    let rows = &batch.rows;
    let items = Items::new(policy, &batch.target, batch.operation, rows)?;
    let folding = items.identifier.folding();
    let mut encoded = Encoded { body: Vec::new(), sent: Vec::with_capacity(rows.len()), refused: Vec::new() };
    let body = &mut encoded.body;
    // One allocation for the whole body, a little too large rather than too small.
    body.reserve(BODY_BYTES.min(HEAD.len() + TAIL.len() + rows.len() * (128 + rows.schema().fields().len() * 40)));
    body.extend_from_slice(HEAD);
    let is_event = matches!(items.form, Form::Event(_));
    let mut keys: HashMap<String, usize> = HashMap::with_capacity(if is_event { 0 } else { rows.len() });
    let tokens = batch.tokens.as_deref().unwrap_or_default();
    for row in 0..rows.len() {
        let start = body.len();
        if !encoded.sent.is_empty() {
            body.push(b',');
        }
        let token = tokens.get(row).filter(|token| ulid(token, None).is_some());
        if is_event && token.is_none() {
            return Err(broken_promise("an event has no token of 32 hexadecimal digits").with_context("row", row));
        }
        match items.push(row, token, body) {
            Ok(()) => encoded.sent.push(row),
            Err((reason, field)) => {
                body.truncate(start);
                let outcome = RowOutcome::rejected(reason.code(), field.map(FieldName::new), reason.remedy());
                encoded.refused.push((row, outcome));
                continue;
            }
        }
        // One person can have many events.
        if is_event {
            continue;
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
pub(crate) fn row_bytes(policy: Policy, target: &Target, operation: Operation, rows: &Rows, row: usize) -> usize {
    let mut count = Count(0);
    // What is wrong with the target is told when the batch is written.
    match Items::new(policy, target, operation, rows).map(|items| items.push(row, None, &mut count)) {
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

/// What the items of a body do.
#[derive(Clone, Copy)]
enum Form<'a> {
    Identify,
    Remove(Deletion),
    /// Each is an event of this name.
    Event(&'a str),
}

/// Rows as items of a body.
struct Items<'a> {
    policy: Policy,
    form: Form<'a>,
    rows: &'a Rows,
    identifier: Identifier,
    /// Index of the column that holds the identifier.
    key: usize,
}

/// Why a row is refused, and the field at fault.
type Refusal<'a> = (Unsendable, Option<&'a str>);

impl<'a> Items<'a> {
    fn new(policy: Policy, target: &'a Target, operation: Operation, rows: &'a Rows) -> Result<Self> {
        let identifier = Identifier::of_target(target)?;
        let form = match (Object::of(target)?, operation) {
            (Object::Events(name), _) => Form::Event(name),
            (_, Operation::Delete) => Form::Remove(policy.deletion),
            _ => Form::Identify,
        };
        let key = rows.schema().index_of(identifier.name()).map_err(|_| {
            broken_promise("the key field is not among the fields").with_context("field", identifier.name())
        })?;
        Ok(Self { policy, form, rows, identifier, key })
    }

    /// Appends the item of `row`. On an error, `out` may hold a part of it. All ids of events are of one length: without
    /// a token, something of that length stands in its place.
    fn push(&self, row: usize, token: Option<&Token>, out: &mut impl Sink) -> Result<(), Refusal<'a>> {
        let start = out.bytes();
        let name = self.identifier.name();
        let key = match self.rows.column(self.key).cell(row) {
            Cell::Set(value) => identifier(self.identifier, &value),
            _ => Err(Unsendable::IdentifierEmpty),
        };
        let key = key.map_err(|reason| (reason, Some(self.name(self.key))))?;
        put(br#"{"type":"person","action":""#, out);
        let action: &[u8] = match self.form {
            Form::Identify => b"identify",
            Form::Remove(Deletion::Delete) => b"delete",
            Form::Remove(Deletion::Suppress) => b"suppress",
            Form::Event(_) => b"event",
        };
        put(action, out);
        put(br#"","identifiers":{""#, out);
        put(name.as_bytes(), out);
        put(br#"":"#, out);
        push_text(&key, out);
        put(b"}", out);
        let mut moment = None;
        if let Form::Event(event) = self.form {
            moment = self.rows.schema().index_of(TIMESTAMP).ok();
            self.push_event(event, moment, row, token, out).map_err(|reason| (reason, Some(TIMESTAMP)))?;
        }
        let mut attributes = 0;
        let is_data = |column: &usize| *column != self.key && Some(*column) != moment;
        let columns = match self.form {
            Form::Remove(_) => 0..0,
            _ => 0..self.rows.schema().fields().len(),
        };
        for column in columns.filter(is_data) {
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
        if attributes > ATTRIBUTES_MAX && matches!(self.form, Form::Identify) {
            return Err((Unsendable::TooManyAttributes, None));
        }
        if out.bytes() - start > ITEM_BYTES_MAX {
            return Err((Unsendable::ItemTooLarge, None));
        }
        Ok(())
    }

    /// Appends what an event has before its data.
    fn push_event(
        &self,
        name: &str,
        moment: Option<usize>,
        row: usize,
        token: Option<&Token>,
        out: &mut impl Sink,
    ) -> Result<(), Unsendable> {
        let mut json = Vec::new();
        if let Some(Cell::Set(value)) = moment.map(|column| self.rows.column(column).cell(row)) {
            push_value(&value, VALUE_BYTES_MAX, &mut json)?;
        }
        let seconds = str::from_utf8(&json).ok().and_then(|text| text.parse().ok());
        put(br#","name":"#, out);
        push_text(name, out);
        put(br#","id":""#, out);
        put(&token.and_then(|token| ulid(token, seconds)).unwrap_or([b'0'; ULID_LEN]), out);
        put(b"\"", out);
        if !json.is_empty() {
            put(br#","timestamp":"#, out);
            put(&json, out);
        }
        Ok(())
    }

    fn push_attribute(&self, attribute: Attribute, cell: &Cell<'_>, out: &mut impl Sink) -> Result<(), Unsendable> {
        if let Form::Event(_) = self.form {
            // Data of an event has no meaning of its own; the item is what limits its size.
            match cell {
                Cell::Set(value) => push_value(value, ITEM_BYTES_MAX, out)?,
                _ => put(b"null", out),
            }
            return Ok(());
        }
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
            // Who says nothing about a topic has its default, which may be to be subscribed.
            (Attribute::Topic, None | Some(Value::Boolean(true))) if !self.policy.allow_resubscribe => {
                return Err(Unsendable::Resubscribe);
            }
            (_, None) => put(b"null", out),
            (Attribute::Identifier(kind), Some(value)) => push_text(&identifier(kind, value)?, out),
            (Attribute::Unsubscribed | Attribute::Topic, Some(value @ Value::Boolean(_))) => {
                push_value(value, VALUE_BYTES_MAX, out)?
            }
            (Attribute::Unsubscribed | Attribute::Topic, Some(_)) => return Err(Unsendable::NotBoolean),
            (Attribute::Plain, Some(value)) => push_value(value, VALUE_BYTES_MAX, out)?,
        }
        Ok(())
    }

    fn name(&self, column: usize) -> &'a str {
        self.rows.schema().field(column).name()
    }
}

/// Appends bytes. Memory takes everything, so writing cannot fail.
pub(crate) fn put(bytes: &[u8], out: &mut impl Write) {
    let _ = out.write_all(bytes);
}

fn broken_promise(message: &'static str) -> Error {
    Error::new(Kind::Internal, "encode a batch", message)
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
