//! People and the index of their identifiers.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::{Map, Value};

use super::attributes::{is_unsubscribed, shown};
use super::identifier::{Identities, KeyKind, PersonKey};

/// A device of a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Device {
    /// Token, by which the device is known.
    pub token: String,
    /// `ios` or `android`.
    pub platform: String,
    /// Unix time in seconds.
    pub last_used: Option<i64>,
    /// Further attributes.
    pub attributes: Map<String, Value>,
}

/// An event of a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// `event`, `page` or `screen`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Id given by the client; a second event of the same id is dropped.
    pub id: Option<String>,
    /// Unix time in seconds, as sent.
    pub timestamp: Option<i64>,
    /// Data.
    pub data: Map<String, Value>,
}

/// A stored attribute.
#[derive(Debug, Clone)]
pub(crate) struct Attribute {
    pub(crate) value: Value,
    /// Unix seconds of the change that gave this value.
    pub(crate) changed_at: i64,
}

/// A person as stored. Identifiers are attributes too.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoredPerson {
    pub(crate) attributes: BTreeMap<String, Attribute>,
    pub(crate) devices: BTreeMap<String, Device>,
    pub(crate) events: Vec<Event>,
}

impl StoredPerson {
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.attributes.get(name).map(|attribute| shown(&attribute.value))
    }

    pub(crate) fn is_unsubscribed(&self) -> bool {
        self.attributes.get("unsubscribed").is_some_and(|attribute| is_unsubscribed(&attribute.value))
    }

    /// All identifiers that name the person in this workspace.
    pub(crate) fn keys(&self, identities: Identities) -> Vec<PersonKey> {
        let named = |kind: KeyKind| Some(PersonKey::new(kind, &self.text(kind.name())?));
        KeyKind::ALL.into_iter().filter(|kind| identities.identifies(*kind)).filter_map(named).collect()
    }
}

/// Number of a person in the order of creation. It is never given again.
pub(crate) type Serial = u64;

/// People by number, and the numbers by identifier.
#[derive(Debug, Default)]
pub(crate) struct People {
    next: Serial,
    people: BTreeMap<Serial, StoredPerson>,
    index: HashMap<PersonKey, Serial>,
}

impl People {
    pub(crate) fn find(&self, key: &PersonKey) -> Option<Serial> {
        self.index.get(key).copied()
    }

    pub(crate) fn get(&self, serial: Serial) -> Option<&StoredPerson> {
        self.people.get(&serial)
    }

    pub(crate) fn get_mut(&mut self, serial: Serial) -> Option<&mut StoredPerson> {
        self.people.get_mut(&serial)
    }

    /// In the order of creation.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Serial, &StoredPerson)> {
        self.people.iter().map(|(serial, person)| (*serial, person))
    }

    /// Adds a person whom only the service's own id names so far.
    pub(crate) fn create(&mut self, prefix: u32, now_secs: i64) -> Serial {
        let serial = self.next;
        self.next += 1;
        let cio_id = format!("{:06x}{:08x}", prefix & 0x00ff_ffff, serial + 1);
        self.index.insert(PersonKey::new(KeyKind::CioId, &cio_id), serial);
        let mut person = StoredPerson::default();
        let attribute = Attribute { value: Value::String(cio_id), changed_at: now_secs };
        person.attributes.insert(KeyKind::CioId.name().to_owned(), attribute);
        self.people.insert(serial, person);
        serial
    }

    /// Gives a person an identifier, or by `None` takes it. The caller has made sure that nobody else has it.
    pub(crate) fn identify(&mut self, serial: Serial, kind: KeyKind, value: Option<&str>, changed_at: i64) {
        let Some(person) = self.people.get_mut(&serial) else { return };
        if let Some(old) = person.text(kind.name()) {
            self.index.remove(&PersonKey::new(kind, &old));
        }
        match value {
            Some(value) => {
                self.index.insert(PersonKey::new(kind, value), serial);
                let attribute = Attribute { value: Value::String(value.to_owned()), changed_at };
                person.attributes.insert(kind.name().to_owned(), attribute);
            }
            None => {
                person.attributes.remove(kind.name());
            }
        }
    }

    pub(crate) fn remove(&mut self, serial: Serial) -> Option<StoredPerson> {
        let person = self.people.remove(&serial)?;
        for kind in KeyKind::ALL {
            if let Some(value) = person.text(kind.name()) {
                let key = PersonKey::new(kind, &value);
                // An attribute that identifies nobody in this workspace is not in the index, or is somebody else's.
                if self.index.get(&key) == Some(&serial) {
                    self.index.remove(&key);
                }
            }
        }
        Some(person)
    }
}
