//! Records of the in-memory destination: owned values, and their way back into Arrow columns.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};

use crate::error::{Error, Kind, Result};
use crate::field_policy::FieldPolicy;
use crate::record::{FieldType, Value, array_of};

/// The records of one object by folded key.
pub(super) type Table = BTreeMap<String, Record>;

#[derive(Clone, Default)]
pub(super) struct Record {
    /// The key as it was first written.
    pub(super) key: String,
    pub(super) id: u64,
    pub(super) fields: BTreeMap<String, Stored>,
    pub(super) writes: u64,
}

/// A value that outlives its batch.
#[derive(Clone, PartialEq)]
pub(super) enum Stored {
    Text(String),
    Integer(i64),
    Float(f64),
    Decimal { unscaled: i128, scale: i8 },
    Boolean(bool),
    Date(i32),
    Timestamp(i64),
    TextList(Vec<String>),
}

impl Stored {
    pub(super) fn new(value: &Value<'_>) -> Self {
        match value {
            Value::Text(text) => Stored::Text((*text).to_owned()),
            Value::Integer(number) => Stored::Integer(*number),
            Value::Float(number) => Stored::Float(*number),
            Value::Decimal { unscaled, scale } => Stored::Decimal { unscaled: *unscaled, scale: *scale },
            Value::Boolean(flag) => Stored::Boolean(*flag),
            Value::Date(days) => Stored::Date(*days),
            Value::Timestamp(micros) => Stored::Timestamp(*micros),
            Value::TextList(items) => Stored::TextList(items.iter().map(|item| (*item).to_owned()).collect()),
        }
    }

    /// What a field becomes that has `old`.
    pub(super) fn over(self, old: Option<&Stored>, policy: FieldPolicy) -> Stored {
        let Some(old) = old.filter(|old| !matches!(old, Stored::Text(text) if text.is_empty())) else { return self };
        let keeps = match (policy, &self, old) {
            (FieldPolicy::SetIfEmpty, _, old) => !matches!(old, Stored::TextList(items) if items.is_empty()),
            (FieldPolicy::Max, new, old) => new.order(old) != Some(Ordering::Greater),
            (FieldPolicy::Min, new, old) => new.order(old) != Some(Ordering::Less),
            (FieldPolicy::SetUnion, Stored::TextList(new), Stored::TextList(old)) => {
                let mut items = old.clone();
                for item in new {
                    if !items.contains(item) {
                        items.push(item.clone());
                    }
                }
                return Stored::TextList(items);
            }
            _ => false,
        };
        if keeps { old.clone() } else { self }
    }

    fn order(&self, other: &Stored) -> Option<Ordering> {
        match (self, other) {
            (Stored::Integer(a), Stored::Integer(b)) | (Stored::Timestamp(a), Stored::Timestamp(b)) => Some(a.cmp(b)),
            (Stored::Float(a), Stored::Float(b)) => a.partial_cmp(b),
            (Stored::Decimal { unscaled: a, scale: s }, Stored::Decimal { unscaled: b, scale: t }) if s == t => {
                Some(a.cmp(b))
            }
            (Stored::Date(a), Stored::Date(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    fn value(&self) -> Value<'_> {
        match self {
            Stored::Text(text) => Value::Text(text),
            Stored::Integer(number) => Value::Integer(*number),
            Stored::Float(number) => Value::Float(*number),
            Stored::Decimal { unscaled, scale } => Value::Decimal { unscaled: *unscaled, scale: *scale },
            Stored::Boolean(flag) => Value::Boolean(*flag),
            Stored::Date(days) => Value::Date(*days),
            Stored::Timestamp(micros) => Value::Timestamp(*micros),
            Stored::TextList(items) => Value::TextList(items.iter().map(String::as_str).collect()),
        }
    }

    /// The value as [`Value::write_text`] writes it; `None` if it has no text.
    pub(super) fn text(&self) -> Option<String> {
        let mut out = String::new();
        self.value().write_text(&mut out).then_some(out)
    }
}

/// A column of stored values, `None` where a record lacks the field.
pub(super) fn column(field: &str, ty: FieldType, values: &[Option<&Stored>]) -> Result<ArrayRef> {
    let mismatch = || {
        Error::new(Kind::SchemaMismatch, "look up", "a stored value does not have the requested type")
            .with_context("field", field)
            .with_context("type", ty)
            .with_remedy("ask for the type that was written, or for text")
    };
    if ty == FieldType::Text {
        let texts = values.iter().map(|value| value.map(|stored| stored.text().ok_or_else(mismatch)).transpose());
        return Ok(Arc::new(texts.collect::<Result<StringArray>>()?));
    }
    array_of(ty, values.iter().map(|value| value.map(Stored::value))).ok_or_else(mismatch)
}
