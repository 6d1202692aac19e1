//! Records of one object, found by id and by the values of its key fields.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::field::Field;

/// Stored values by field name. Null is absence. Numbers are decimal text, so that no digit is lost.
pub(crate) type Values = BTreeMap<Arc<str>, String>;

/// A record as stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// 18 characters.
    pub(crate) id: String,
    pub(crate) values: Values,
    /// Whether it is in the recycle bin.
    pub(crate) deleted: bool,
    pub(crate) created_ms: i64,
    pub(crate) modified_ms: i64,
    /// Writes since the last reset of the statistics.
    pub(crate) writes: u64,
}

/// A key field's values, in the form in which they are equal, with the records that have them.
#[derive(Debug, Clone)]
struct Index {
    field: Field,
    holders: HashMap<String, BTreeSet<usize>>,
}

/// Records in order of creation. A row stays in its place for ever, so that places can be indexed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    rows: Vec<Stored>,
    places: HashMap<String, usize>,
    indexes: Vec<Index>,
}

impl Records {
    /// Keeps an index of a field from now on.
    pub(crate) fn index(&mut self, field: &Field) {
        self.indexes.retain(|index| !index.field.name.eq_ignore_ascii_case(&field.name));
        let mut index = Index { field: field.clone(), holders: HashMap::new() };
        for (place, row) in self.rows.iter().enumerate().filter(|(_, row)| !row.deleted) {
            index.set(place, row, true);
        }
        self.indexes.push(index);
    }

    /// All that are not gone for good.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Stored> {
        self.rows.iter().filter(|row| self.places.contains_key(&row.id))
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The record with this id of 18 characters, deleted or not.
    pub(crate) fn by_id(&self, id: &str) -> Option<&Stored> {
        self.places.get(id).map(|&place| &self.rows[place])
    }

    /// Live records whose key field has this value, oldest first.
    pub(crate) fn holders(&self, field: &Field, value: &str) -> Vec<&Stored> {
        let index = self.indexes.iter().find(|index| index.field.name == field.name);
        let places = index.and_then(|index| index.holders.get(&field.folded(value)));
        places.into_iter().flatten().map(|&place| &self.rows[place]).collect()
    }

    /// Stores a record under its id: a new one, or one that takes the place of its former self.
    pub(crate) fn put(&mut self, row: Stored) {
        let place = match self.places.get(&row.id) {
            Some(&place) => {
                for index in &mut self.indexes {
                    index.set(place, &self.rows[place], false);
                }
                self.rows[place] = row;
                place
            }
            None => {
                self.places.insert(row.id.clone(), self.rows.len());
                self.rows.push(row);
                self.rows.len() - 1
            }
        };
        let row = &self.rows[place];
        for index in self.indexes.iter_mut().filter(|_| !row.deleted) {
            index.set(place, row, true);
        }
    }

    /// Forgets a record for good. It must be in the recycle bin.
    pub(crate) fn purge(&mut self, id: &str) {
        self.places.remove(id);
    }

    /// Takes the newest record away again: what a rolled back creation does.
    pub(crate) fn pop(&mut self) {
        if let Some(row) = self.rows.pop() {
            self.places.remove(&row.id);
            for index in &mut self.indexes {
                index.set(self.rows.len(), &row, false);
            }
        }
    }

    pub(crate) fn reset_write_counts(&mut self) {
        for row in &mut self.rows {
            row.writes = 0;
        }
    }
}

impl Index {
    fn set(&mut self, place: usize, row: &Stored, held: bool) {
        let Some(value) = row.values.get(&self.field.name) else { return };
        let key = self.field.folded(value);
        if held {
            self.holders.entry(key).or_default().insert(place);
        } else if let Some(places) = self.holders.get_mut(&key) {
            places.remove(&place);
            if places.is_empty() {
                self.holders.remove(&key);
            }
        }
    }
}
