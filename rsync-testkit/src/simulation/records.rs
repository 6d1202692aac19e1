//! What the service holds, and what is known of it that the engine cannot know.

use std::collections::BTreeMap;

use rsync_core::capability::Operation;

/// A record at the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) tier: Option<String>,
    /// Whether the sync made it.
    pub(super) ours: bool,
    /// Whether the sync ever wrote to it.
    pub(super) touched: bool,
    /// Whether the sync ever set its name.
    pub(super) named: bool,
}

/// A field of a row that arrives at the service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Field {
    Set(String),
    Clear,
    Absent,
}

/// A row that arrives at the service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sent {
    pub(super) operation: Operation,
    /// The key; of a row that goes by id, the key of the record that has or had the id.
    pub(super) key: String,
    pub(super) id: Option<String>,
    pub(super) name: Field,
    pub(super) tier: Field,
}

/// The records by key.
#[derive(Debug, Default)]
pub(super) struct Records {
    by_key: BTreeMap<String, Record>,
    /// The keys of all ids that there ever were.
    ids: Vec<String>,
}

impl Records {
    pub(super) fn get(&self, key: &str) -> Option<&Record> {
        self.by_key.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Record)> {
        self.by_key.iter()
    }

    /// The key of the record that has, or had, this id.
    pub(super) fn key_of(&self, id: &str) -> String {
        let number = id.strip_prefix('r').and_then(|number| number.parse::<usize>().ok());
        number.and_then(|number| self.ids.get(number)).cloned().unwrap_or_default()
    }

    fn insert(&mut self, key: &str, record: Record) -> &mut Record {
        let id = format!("r{}", self.ids.len());
        self.ids.push(key.to_owned());
        self.by_key.entry(key.to_owned()).insert_entry(Record { id, ..record }).into_mut()
    }

    /// Somebody else makes a record, unless there is one.
    pub(super) fn make_for_others(&mut self, key: &str) {
        let theirs = || Some("not ours".to_owned());
        if !self.by_key.contains_key(key) {
            self.insert(key, Record { name: theirs(), tier: theirs(), ..Record::default() });
        }
    }

    /// Makes the record of a row.
    pub(super) fn make(&mut self, row: &Sent) {
        self.insert(&row.key, Record { ours: true, ..Record::default() });
        self.change(row, true);
    }

    /// Writes a row to its record.
    pub(super) fn change(&mut self, row: &Sent, keeps_absent_fields: bool) {
        let Some(record) = self.by_key.get_mut(&row.key) else { return };
        record.touched = true;
        record.named |= matches!(row.name, Field::Set(_));
        for (stored, field) in [(&mut record.name, &row.name), (&mut record.tier, &row.tier)] {
            match field {
                Field::Set(text) => *stored = Some(text.clone()),
                Field::Clear => *stored = None,
                Field::Absent if !keeps_absent_fields => *stored = None,
                Field::Absent => {}
            }
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.by_key.remove(key);
    }
}
