//! Objects, and who is related to them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::identifier::{ObjectId, ObjectKey};
use super::people::Serial;

/// Attributes of an object or a relationship.
pub(crate) type Values = BTreeMap<String, Value>;

/// An object as stored.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoredObject {
    pub(crate) cio_object_id: String,
    pub(crate) attributes: Values,
    /// Attributes of the relationship, by person.
    pub(crate) people: BTreeMap<Serial, Values>,
}

/// Objects by type and id.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    next: u64,
    objects: BTreeMap<ObjectId, StoredObject>,
}

impl Objects {
    /// The object that a key names.
    pub(crate) fn find(&self, key: &ObjectKey) -> Option<ObjectId> {
        match key {
            ObjectKey::Id(id) => self.objects.contains_key(id).then(|| id.clone()),
            ObjectKey::Cio(cio) => {
                self.objects.iter().find(|(_, object)| object.cio_object_id == *cio).map(|(id, _)| id.clone())
            }
        }
    }

    /// As [`Objects::find`], but an unknown type and id name a new object. A system id cannot.
    pub(crate) fn find_or_create(&mut self, key: &ObjectKey, prefix: u32) -> Option<ObjectId> {
        if let Some(id) = self.find(key) {
            return Some(id);
        }
        let ObjectKey::Id(id) = key else { return None };
        self.next += 1;
        let cio_object_id = format!("ob{:06x}{:06x}", prefix & 0x00ff_ffff, self.next);
        self.objects.insert(id.clone(), StoredObject { cio_object_id, ..StoredObject::default() });
        Some(id.clone())
    }

    pub(crate) fn get_mut(&mut self, id: &ObjectId) -> Option<&mut StoredObject> {
        self.objects.get_mut(id)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&ObjectId, &StoredObject)> {
        self.objects.iter()
    }

    pub(crate) fn remove(&mut self, id: &ObjectId) {
        self.objects.remove(id);
    }

    /// Ends all relationships of a person who goes.
    pub(crate) fn forget(&mut self, person: Serial) {
        for object in self.objects.values_mut() {
            object.people.remove(&person);
        }
    }

    /// Moves the relationships of one person to another, whose own attributes win.
    pub(crate) fn move_person(&mut self, from: Serial, to: Serial) {
        for object in self.objects.values_mut() {
            if let Some(moved) = object.people.remove(&from) {
                let kept = object.people.entry(to).or_default();
                for (name, value) in moved {
                    kept.entry(name).or_insert(value);
                }
            }
        }
    }
}

/// Changes attributes of an object or relationship: null and the empty text remove.
pub(crate) fn change(values: &mut Values, changes: &Map<String, Value>) {
    for (name, value) in changes {
        if value.is_null() || value == "" {
            values.remove(name);
        } else {
            values.insert(name.clone(), value.clone());
        }
    }
}
