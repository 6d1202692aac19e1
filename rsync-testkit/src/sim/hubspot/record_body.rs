//! Records as answers show them.

use std::borrow::Cow;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::definition::{Definition, Derived, Echo, Kind};
use super::instant::{date_ms, datetime_ms, iso_from_ms};
use super::object_type::ObjectType;
use super::portal::Portal;
use super::quirks::DateEcho;
use super::records::{Stored, Values};

/// A record in an answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordBody {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) new: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object_write_trace_id: Option<String>,
    properties: Shown,
    created_at: String,
    updated_at: String,
    archived: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    archived_at: Option<String>,
    url: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) associations: Map<String, Value>,
}

/// Property names and values; a property without a value is `null`.
#[derive(Debug)]
struct Shown(Vec<(Arc<str>, Option<String>)>);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(&**name, value)?;
        }
        map.end()
    }
}

/// Why the record is shown, which decides the properties that are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reason<'a> {
    /// It was created; these properties were named.
    Created(&'a [Arc<str>]),
    /// It was updated; these properties were named.
    Updated(&'a [Arc<str>]),
    /// It was asked for with these properties; with none, the type's defaults are shown.
    Read(&'a [String]),
}

impl Portal {
    /// Shows a record with its present values.
    pub(crate) fn record_body(&self, kind: &ObjectType, record: &Stored, reason: Reason<'_>) -> RecordBody {
        self.record_body_of(kind, record, &record.values, reason)
    }

    /// Shows a record with other values than its present ones: those that search sees.
    pub(crate) fn record_body_of(
        &self,
        kind: &ObjectType,
        record: &Stored,
        values: &Values,
        reason: Reason<'_>,
    ) -> RecordBody {
        let properties = match reason {
            Reason::Created(named) => self.written(kind, record, named, |echo| echo != Echo::Never),
            Reason::Updated(named) => self.written(kind, record, named, |echo| echo == Echo::Always),
            Reason::Read(asked) => read(kind, record, values, asked),
        };
        RecordBody {
            id: record.id.to_string(),
            new: None,
            object_write_trace_id: None,
            properties: Shown(properties),
            created_at: iso_from_ms(record.created_at_ms),
            updated_at: iso_from_ms(record.updated_at_ms),
            archived: record.is_archived(),
            archived_at: record.archived_at_ms.map(iso_from_ms),
            url: format!("https://app.hubspot.com/contacts/{}/record/{}/{}", self.id, kind.type_id, record.id),
            associations: Map::new(),
        }
    }

    fn written(
        &self,
        kind: &ObjectType,
        record: &Stored,
        named: &[Arc<str>],
        echoed: impl Fn(Echo) -> bool,
    ) -> Vec<(Arc<str>, Option<String>)> {
        let mut shown = Vec::new();
        for definition in kind.definitions.values() {
            let value = kind.value(record, &record.values, definition);
            if named.contains(&definition.name) {
                // A cleared property is shown as it was sent.
                let value = value.map_or_else(String::new, |v| self.echo(definition, v));
                shown.push((Arc::clone(&definition.name), Some(value)));
            } else if echoed(definition.echo)
                && let Some(value) = value
            {
                shown.push((Arc::clone(&definition.name), Some(self.echo(definition, value))));
            }
        }
        shown
    }

    fn echo(&self, definition: &Definition, value: Cow<'_, str>) -> String {
        let is_record_time = matches!(definition.derived, Some(Derived::CreatedAt | Derived::UpdatedAt));
        if self.quirks.date_echo == DateEcho::EpochMs && !is_record_time {
            let ms = match definition.kind {
                Kind::Date => date_ms(&value),
                Kind::DateTime => datetime_ms(&value),
                _ => None,
            };
            if let Some(ms) = ms {
                return ms.to_string();
            }
        }
        value.into_owned()
    }
}

fn read(kind: &ObjectType, record: &Stored, values: &Values, asked: &[String]) -> Vec<(Arc<str>, Option<String>)> {
    let asked = if asked.is_empty() { &kind.read_by_default } else { asked };
    kind.definitions
        .values()
        .filter(|definition| {
            // Identity and times are shown whatever was asked for; unknown names are ignored.
            let always = matches!(definition.derived, Some(Derived::CreatedAt | Derived::UpdatedAt))
                || &*definition.name == "hs_object_id";
            !definition.is_archived() && (always || asked.iter().any(|name| **name == *definition.name))
        })
        .map(|definition| {
            let value = kind.value(record, values, definition).map(Cow::into_owned);
            (Arc::clone(&definition.name), value)
        })
        .collect()
}
