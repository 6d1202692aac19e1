//! Merging two records, which the application's users do at any time: ids that a client remembers stop working.

use std::sync::Arc;

use super::batch::{archive_one, parse_id};
use super::portal::Portal;
use super::records::{Values, unique_keys};

impl Portal {
    /// Merges two live records into a new one. The error is a sentence.
    pub(crate) fn merge(&mut self, object: &str, primary_id: &str, other_id: &str) -> Result<u64, String> {
        let position = self
            .types
            .iter()
            .position(|kind| kind.name == object || kind.answers_to(object))
            .ok_or("there is no such object")?;
        let kind = &self.types[position];
        let live = |text: &str| parse_id(text).and_then(|id| kind.records.live(id));
        let primary = live(primary_id).ok_or_else(|| format!("{primary_id} is no live record"))?;
        let other = live(other_id).filter(|other| other.id != primary.id);
        let other = other.ok_or_else(|| format!("{other_id} is no other live record"))?;
        let (primary, other, values) = (primary.id, other.id, merged(&primary.values, &other.values));

        archive_one(self, position, primary);
        archive_one(self, position, other);
        let now_ms = self.now_ms();
        let kind = &mut self.types[position];
        let keys = values
            .iter()
            .filter_map(|(name, value)| kind.definitions.get(name).map(|d| unique_keys(d, value, &self.quirks)))
            .flatten()
            .collect();
        Ok(kind.records.create(values, keys, now_ms, &self.quirks))
    }
}

fn merged(primary: &Values, other: &Values) -> Values {
    let mut values = other.clone();
    values.extend(primary.iter().map(|(name, value)| (Arc::clone(name), value.clone())));
    let aliases = ["email", "hs_additional_emails"];
    let addresses = [primary, other].into_iter().flat_map(|record| aliases.map(|name| record.get(name)));
    let primary_address = primary.get("email").or_else(|| other.get("email"));
    let mut further: Vec<&str> = Vec::new();
    for address in addresses.flatten().flat_map(|list| list.split(';')) {
        if Some(address) != primary_address.map(String::as_str) && !further.contains(&address) {
            further.push(address);
        }
    }
    if !further.is_empty() {
        values.insert(Arc::from("hs_additional_emails"), further.join(";"));
    }
    values
}
