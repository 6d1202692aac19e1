//! Checks that the two versions of the Track API share. A check reads a part of a request and, where that is wrong,
//! adds a problem; an operation is accepted when there are none.

use serde_json::{Map, Value};

use super::identifier::{
    Identifier, Identities, KeyKind, MAX_IDENTIFIER_BYTES, ObjectId, ObjectKey, identifier_text, is_cio_id, is_e164,
    is_email, is_ulid,
};
use super::lint::LintKind;
use super::operation::{ObjectLink, PersonLink};
use super::people::{Device, Event};
use super::quirks::{Quirks, UnknownKeys};

const MAX_EVENT_NAME_BYTES: usize = 100;
/// Seconds beyond this are in the year 5138: milliseconds were meant.
const MAX_PLAUSIBLE_SECONDS: i64 = 100_000_000_000;

/// Something wrong in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) field: String,
    pub(crate) message: String,
}

/// Collects what is wrong, and what is merely unwise, in one operation.
pub(crate) struct Checker<'a> {
    pub(crate) identities: Identities,
    pub(crate) quirks: &'a Quirks,
    pub(crate) problems: Vec<Problem>,
    pub(crate) lints: Vec<(LintKind, String)>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(identities: Identities, quirks: &'a Quirks) -> Self {
        Self { identities, quirks, problems: Vec::new(), lints: Vec::new() }
    }

    pub(crate) fn problem(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { field: field.into(), message: message.into() });
    }

    pub(crate) fn lint(&mut self, kind: LintKind, field: impl Into<String>) {
        self.lints.push((kind, field.into()));
    }

    /// Refuses keys that nobody documents, unless they are to be ignored.
    pub(crate) fn known_keys(&mut self, map: &Map<String, Value>, at: &str, known: &[&str]) {
        if self.quirks.unknown_keys == UnknownKeys::Ignored {
            return;
        }
        for name in map.keys().filter(|name| !known.contains(&name.as_str())) {
            self.problem(join(at, name), "is not a known field");
        }
    }

    /// An object that must be there.
    pub(crate) fn object<'v>(&mut self, value: Option<&'v Value>, at: &str) -> Option<&'v Map<String, Value>> {
        match value {
            Some(Value::Object(map)) => return Some(map),
            Some(_) => self.problem(at, "must be an object"),
            None => self.problem(at, "is required"),
        }
        None
    }

    /// A text that must be there and not be empty.
    pub(crate) fn text(&mut self, value: Option<&Value>, at: &str) -> Option<String> {
        match value {
            Some(Value::String(text)) if !text.is_empty() => return Some(text.clone()),
            Some(Value::String(_)) => self.problem(at, "must not be empty"),
            Some(_) => self.problem(at, "must be a string"),
            None => self.problem(at, "is required"),
        }
        None
    }

    /// Unix seconds. Other units cannot be told apart from seconds by the service; they are only noted.
    pub(crate) fn seconds(&mut self, value: Option<&Value>, at: &str) -> Option<i64> {
        let value = value?;
        let seconds = value.as_i64();
        match seconds {
            None => self.problem(at, "must be an integer"),
            Some(seconds) if seconds >= MAX_PLAUSIBLE_SECONDS => self.lint(LintKind::TimeInMilliseconds, at),
            Some(_) => {}
        }
        seconds
    }

    /// Notes a time attribute that conditions on dates will not understand.
    pub(crate) fn time_attribute(&mut self, value: &Value, at: &str) {
        let number = match value {
            Value::String(text) => text.parse::<i64>().ok(),
            other => other.as_i64(),
        };
        match number {
            Some(seconds) if seconds >= MAX_PLAUSIBLE_SECONDS => self.lint(LintKind::TimeInMilliseconds, at),
            None if value.is_string() && value != "" => self.lint(LintKind::TimeAsText, at),
            _ => {}
        }
    }

    /// The one identifier of a person.
    pub(crate) fn person(&mut self, value: Option<&Value>, at: &str) -> Option<Identifier> {
        let map = self.object(value, at)?;
        let before = self.problems.len();
        self.known_keys(map, at, &["id", "email", "phone", "cio_id"]);
        let mut found: Vec<(KeyKind, &Value)> =
            KeyKind::ALL.into_iter().filter_map(|kind| Some((kind, map.get(kind.name())?))).collect();
        match found.pop() {
            Some((kind, value)) if found.is_empty() => self.identifier(kind, value, &join(at, kind.name())),
            Some(_) => {
                self.problem(at, "must contain exactly one identifier");
                None
            }
            None => {
                if self.problems.len() == before {
                    self.problem(at, "must contain an identifier");
                }
                None
            }
        }
    }

    /// A value as an identifier of this kind.
    pub(crate) fn identifier(&mut self, kind: KeyKind, value: &Value, at: &str) -> Option<Identifier> {
        let Some(value) = identifier_text(value) else {
            self.problem(at, "must be a string or a number");
            return None;
        };
        let wrong = match kind {
            _ if value.is_empty() => Some("must not be empty".to_owned()),
            _ if value.len() > MAX_IDENTIFIER_BYTES => {
                Some(format!("cannot be longer than {MAX_IDENTIFIER_BYTES} bytes"))
            }
            _ if !self.identities.identifies(kind) => Some("is not an identifier in this workspace".to_owned()),
            KeyKind::Email if !is_email(&value) => Some("must be a valid email address".to_owned()),
            KeyKind::Phone if !is_e164(&value) => Some("must be a valid E.164 phone number".to_owned()),
            KeyKind::CioId if !is_cio_id(&value) => Some("must be a valid cio_id".to_owned()),
            _ => None,
        };
        match wrong {
            Some(message) => {
                self.problem(at, message);
                None
            }
            None => Some(Identifier { kind, value }),
        }
    }

    /// What names an object: its type and id, or its system id.
    pub(crate) fn object_key(&mut self, value: Option<&Value>, at: &str) -> Option<ObjectKey> {
        let map = self.object(value, at)?;
        self.known_keys(map, at, &["object_type_id", "object_id", "cio_object_id"]);
        if let Some(cio) = map.get("cio_object_id") {
            if map.contains_key("object_type_id") || map.contains_key("object_id") {
                self.problem(at, "must contain either cio_object_id or object_type_id and object_id");
                return None;
            }
            return self.text(Some(cio), &join(at, "cio_object_id")).map(ObjectKey::Cio);
        }
        let type_id = self.object_part(map, at, "object_type_id");
        if let Some(type_id) = &type_id
            && !(type_id.parse::<u32>().is_ok_and(|n| n >= 1 && n.to_string() == *type_id))
        {
            self.problem(join(at, "object_type_id"), "must be an integer of 1 or more");
            return None;
        }
        let id = self.object_part(map, at, "object_id");
        Some(ObjectKey::Id(ObjectId { type_id: type_id?, id: id? }))
    }

    fn object_part(&mut self, map: &Map<String, Value>, at: &str, name: &str) -> Option<String> {
        let at = join(at, name);
        let Some(value) = map.get(name) else {
            self.problem(at, "is required");
            return None;
        };
        match identifier_text(value) {
            None => self.problem(at, "must be a string or a number"),
            Some(text) if text.is_empty() => self.problem(at, "must not be empty"),
            Some(text) if text.len() > MAX_IDENTIFIER_BYTES => {
                self.problem(at, format!("cannot be longer than {MAX_IDENTIFIER_BYTES} bytes"));
            }
            Some(text) => return Some(text),
        }
        None
    }

    /// Relationships of a person's operation.
    pub(crate) fn object_links(&mut self, value: Option<&Value>, at: &str) -> Vec<ObjectLink> {
        self.links(value, at, |checker, entry, at| checker.object_key(entry.get("identifiers"), at))
            .into_iter()
            .map(|(object, attributes)| ObjectLink { object, attributes })
            .collect()
    }

    /// Relationships of an object's operation.
    pub(crate) fn person_links(&mut self, value: Option<&Value>, at: &str) -> Vec<PersonLink> {
        self.links(value, at, |checker, entry, at| checker.person(entry.get("identifiers"), at))
            .into_iter()
            .map(|(person, attributes)| PersonLink { person, attributes })
            .collect()
    }

    /// A list of entries with `identifiers` and optional `relationship_attributes`.
    pub(crate) fn links<K>(
        &mut self,
        value: Option<&Value>,
        at: &str,
        key_of: impl Fn(&mut Self, &Map<String, Value>, &str) -> Option<K>,
    ) -> Vec<(K, Map<String, Value>)> {
        let entries = match value {
            Some(Value::Array(entries)) => entries,
            Some(_) => {
                self.problem(at, "must be an array");
                return Vec::new();
            }
            None => {
                self.problem(at, "is required");
                return Vec::new();
            }
        };
        let mut links = Vec::with_capacity(entries.len());
        for (i, entry) in entries.iter().enumerate() {
            let at = format!("{at}[{i}]");
            let Some(entry) = self.object(Some(entry), &at) else { continue };
            self.known_keys(entry, &at, &["identifiers", "relationship_attributes"]);
            let key = key_of(self, entry, &join(&at, "identifiers"));
            let attributes =
                self.object_attributes(entry.get("relationship_attributes"), &join(&at, "relationship_attributes"));
            links.extend(key.map(|key| (key, attributes)));
        }
        links
    }

    /// The parts of an event; `data` is where its attributes are.
    pub(crate) fn event(&mut self, kind: &str, body: &Map<String, Value>, data: &'static str) -> Option<Event> {
        let name = self.text(body.get("name"), "name");
        if name.as_ref().is_some_and(|name| name.len() > MAX_EVENT_NAME_BYTES) {
            self.problem("name", format!("cannot be longer than {MAX_EVENT_NAME_BYTES} bytes"));
        }
        let id = body.get("id").and_then(|id| self.text(Some(id), "id"));
        if id.as_ref().is_some_and(|id| !is_ulid(id)) {
            self.lint(LintKind::EventIdNoUlid, "id");
        }
        let timestamp = self.seconds(body.get("timestamp"), "timestamp");
        let data = match body.get(data) {
            None => Map::new(),
            Some(value) => self.object(Some(value), data)?.clone(),
        };
        Some(Event { kind: kind.to_owned(), name: name?, id, timestamp, data })
    }

    /// A device, whose token has another name in each version.
    pub(crate) fn device(&mut self, value: Option<&Value>, token: &'static str) -> Option<Device> {
        let map = self.object(value, "device")?;
        self.known_keys(map, "device", &[token, "platform", "last_used", "attributes"]);
        let token = self.text(map.get(token), &join("device", token));
        let platform = self.text(map.get("platform"), "device.platform");
        if platform.as_ref().is_some_and(|p| !matches!(p.as_str(), "ios" | "android")) {
            self.problem("device.platform", "must be one of ios, android");
        }
        let last_used = self.seconds(map.get("last_used"), "device.last_used");
        let attributes = match map.get("attributes") {
            None => Map::new(),
            Some(value) => self.object(Some(value), "device.attributes")?.clone(),
        };
        for (name, _) in attributes.iter().filter(|(_, value)| value.is_array() || value.is_object()) {
            self.problem(join("device.attributes", name), "must be a string, a number or a boolean");
        }
        Some(Device { token: token?, platform: platform?, last_used, attributes })
    }
}

/// The path of a field below another.
pub(crate) fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}
