//! Records as answers show them.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;
use serde_json::value::RawValue;

use super::field::Field;
use super::object::Object;
use super::org::Org;
use super::records::Stored;
use super::value::rendered;

/// A record, or a record nested in one: its properties in order.
#[derive(Debug, Default)]
pub(crate) struct RecordBody {
    properties: Vec<(String, Shown)>,
}

#[derive(Debug)]
enum Shown {
    Json(Box<RawValue>),
    Nested(RecordBody),
}

impl Serialize for RecordBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.properties.len()))?;
        for (name, shown) in &self.properties {
            match shown {
                Shown::Json(raw) => map.serialize_entry(name, raw)?,
                Shown::Nested(body) => map.serialize_entry(name, body)?,
            }
        }
        map.end()
    }
}

impl RecordBody {
    /// A record with nothing but its type and address.
    pub(crate) fn of(object: &Object, row: &Stored, root: &str) -> Self {
        let url = format!("{root}/sobjects/{}/{}", object.name, row.id);
        let attributes = json!({ "type": object.name, "url": url });
        let raw = RawValue::from_string(attributes.to_string()).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self { properties: vec![("attributes".to_owned(), Shown::Json(raw))] }
    }

    /// Adds a field.
    pub(crate) fn add(&mut self, org: &Org, object: &Object, row: &Stored, field: &Field) {
        if !self.properties.iter().any(|(name, _)| **name == *field.name) {
            let value = org.value(object, row, field);
            self.properties.push((field.name.to_string(), Shown::Json(rendered(field, value.as_deref()))));
        }
    }

    /// The nested record under this name, made if it is not there; `None` once the name stands for null.
    pub(crate) fn nested(&mut self, name: &str, make: impl FnOnce() -> Option<Self>) -> Option<&mut Self> {
        let at = match self.properties.iter().position(|(known, _)| known == name) {
            Some(at) => at,
            None => {
                let shown = make().map_or_else(|| Shown::Json(RawValue::NULL.to_owned()), Shown::Nested);
                self.properties.push((name.to_owned(), shown));
                self.properties.len() - 1
            }
        };
        match &mut self.properties[at].1 {
            Shown::Nested(body) => Some(body),
            Shown::Json(_) => None,
        }
    }
}

/// A record with these fields.
pub(crate) fn record_body<'a>(
    org: &Org,
    object: &Object,
    row: &Stored,
    fields: impl IntoIterator<Item = &'a Field>,
    root: &str,
) -> RecordBody {
    let mut body = RecordBody::of(object, row, root);
    for field in fields {
        body.add(org, object, row, field);
    }
    body
}
