//! Records of one object type, with the index that keeps unique values unique.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::definition::Definition;
use super::quirks::{Quirks, UniqueValues};
use super::value::{Change, is_additional_emails, normal_email};

/// Values as stored. Derived properties are not stored.
pub(crate) type Values = BTreeMap<Arc<str>, String>;

/// A unique value: the property whose values it competes with, and its comparable form.
pub(crate) type UniqueKey = (Arc<str>, String);

/// A stored record.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) id: u64,
    pub(crate) values: Values,
    pub(crate) archived_at_ms: Option<i64>,
    pub(crate) created_at_ms: i64,
    pub(crate) updated_at_ms: i64,
    /// Writes since the statistics were last reset.
    pub(crate) writes: u64,
    /// The record that took over when this one was merged away.
    pub(crate) merged_into: Option<u64>,
    index: Indexed,
}

/// What search knows of a record.
#[derive(Debug)]
struct Indexed {
    /// From this time search sees the present values.
    from_ms: i64,
    /// Until then it sees these; nothing if the record is new.
    before: Option<Values>,
}

impl Stored {
    /// The values that search sees, if it sees the record.
    pub(crate) fn indexed(&self, now_ms: i64) -> Option<&Values> {
        if now_ms >= self.index.from_ms { Some(&self.values) } else { self.index.before.as_ref() }
    }

    pub(crate) fn is_archived(&self) -> bool {
        self.archived_at_ms.is_some()
    }

    /// Whether the record is in the recycle bin. What was merged away is not.
    pub(crate) fn is_in_bin(&self) -> bool {
        self.is_archived() && self.merged_into.is_none()
    }
}

/// All records of a type.
#[derive(Debug)]
pub(crate) struct Records {
    by_id: BTreeMap<u64, Stored>,
    unique: HashMap<Arc<str>, HashMap<String, u64>>,
    next_id: u64,
}

impl Records {
    pub(crate) fn starting_at(first_id: u64) -> Self {
        Self { by_id: BTreeMap::new(), unique: HashMap::new(), next_id: first_id }
    }

    /// All records, archived ones too, in order of their ids.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Stored> {
        self.by_id.values()
    }

    /// Records in order of their ids, from an id on.
    pub(crate) fn at_or_after(&self, id: u64) -> impl Iterator<Item = &Stored> {
        self.by_id.range(id..).map(|(_, record)| record)
    }

    pub(crate) fn live(&self, id: u64) -> Option<&Stored> {
        self.by_id.get(&id).filter(|record| !record.is_archived())
    }

    pub(crate) fn any(&self, id: u64) -> Option<&Stored> {
        self.by_id.get(&id)
    }

    /// The record that owns a unique value.
    pub(crate) fn owner(&self, key: &UniqueKey) -> Option<u64> {
        self.unique.get(&key.0)?.get(&key.1).copied()
    }

    /// The id that the next created record will get.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Creates a record; ids only ever go forward.
    pub(crate) fn create(&mut self, values: Values, keys: Vec<UniqueKey>, now_ms: i64, quirks: &Quirks) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        for key in keys {
            self.unique.entry(key.0).or_default().insert(key.1, id);
        }
        self.by_id.insert(
            id,
            Stored {
                id,
                values,
                archived_at_ms: None,
                created_at_ms: now_ms,
                updated_at_ms: now_ms,
                writes: 1,
                merged_into: None,
                index: Indexed { from_ms: lagged(now_ms, quirks), before: None },
            },
        );
        id
    }

    /// Changes a record. `released` and `taken` are the unique values that it gives up and gets.
    pub(crate) fn update(
        &mut self,
        id: u64,
        changes: &[(Arc<str>, Change)],
        released: Vec<UniqueKey>,
        taken: Vec<UniqueKey>,
        now_ms: i64,
        quirks: &Quirks,
    ) {
        let Some(record) = self.by_id.get_mut(&id) else { return };
        if now_ms >= record.index.from_ms && quirks.search_lag_ms > 0 {
            record.index.before = Some(record.values.clone());
        }
        record.index.from_ms = lagged(now_ms, quirks);
        for (name, change) in changes {
            match change {
                Change::Set(value) => {
                    record.values.insert(Arc::clone(name), value.clone());
                }
                Change::Clear => {
                    record.values.remove(name);
                }
            }
        }
        // The modification time moves on every write, also within one millisecond.
        record.updated_at_ms = now_ms.max(record.updated_at_ms + 1);
        record.writes += 1;
        self.release(id, &released);
        for key in taken {
            self.unique.entry(key.0).or_default().insert(key.1, id);
        }
    }

    fn release(&mut self, id: u64, keys: &[UniqueKey]) {
        for (namespace, value) in keys {
            if let Some(values) = self.unique.get_mut(namespace)
                && values.get(value) == Some(&id)
            {
                values.remove(value);
            }
        }
    }

    /// Archives a live record and frees its unique values. False if there is none.
    pub(crate) fn archive(&mut self, id: u64, released: &[UniqueKey], now_ms: i64) -> bool {
        let Some(record) = self.by_id.get_mut(&id).filter(|record| !record.is_archived()) else { return false };
        record.archived_at_ms = Some(now_ms);
        record.updated_at_ms = now_ms.max(record.updated_at_ms + 1);
        record.writes += 1;
        self.release(id, released);
        true
    }

    /// Takes a live record out because another one has taken over its values.
    pub(crate) fn supersede(&mut self, id: u64, survivor: u64, released: &[UniqueKey], now_ms: i64) {
        if self.archive(id, released, now_ms)
            && let Some(record) = self.by_id.get_mut(&id)
        {
            record.merged_into = Some(survivor);
        }
    }

    /// Removes a record without a trace.
    pub(crate) fn erase(&mut self, id: u64, released: &[UniqueKey]) {
        self.release(id, released);
        self.by_id.remove(&id);
    }

    /// The live record that has taken over from one that was merged away.
    pub(crate) fn survivor(&self, id: u64) -> Option<u64> {
        let mut next = id;
        while let Some(record) = self.by_id.get(&next) {
            match record.merged_into {
                Some(survivor) => next = survivor,
                None => return Some(next).filter(|id| self.live(*id).is_some()),
            }
        }
        None
    }

    pub(crate) fn reset_write_counts(&mut self) {
        for record in self.by_id.values_mut() {
            record.writes = 0;
        }
    }
}

fn lagged(now_ms: i64, quirks: &Quirks) -> i64 {
    now_ms.saturating_add(i64::try_from(quirks.search_lag_ms).unwrap_or(i64::MAX))
}

/// Whether a property can name a record, whatever its definition says about uniqueness.
pub(crate) fn is_key(definition: &Definition) -> bool {
    definition.is_writable() && (definition.has_unique_value || is_email(definition))
}

fn is_email(definition: &Definition) -> bool {
    definition.hubspot_defined && &*definition.name == "email"
}

/// The unique values that a property value takes up.
pub(crate) fn unique_keys(definition: &Definition, value: &str, quirks: &Quirks) -> Vec<UniqueKey> {
    if is_additional_emails(definition) {
        // Further addresses compete with every contact's email.
        let email: Arc<str> = Arc::from("email");
        return value.split(';').map(|part| (Arc::clone(&email), normal_email(part))).collect();
    }
    if !is_key(definition) || value.is_empty() {
        return Vec::new();
    }
    vec![(Arc::clone(&definition.name), comparable(definition, value, quirks))]
}

/// The form in which a key is compared.
pub(crate) fn comparable(definition: &Definition, value: &str, quirks: &Quirks) -> String {
    if is_email(definition) {
        return normal_email(value);
    }
    match quirks.unique_values {
        UniqueValues::CaseSensitive => value.to_owned(),
        UniqueValues::CaseInsensitive => value.to_lowercase(),
    }
}
