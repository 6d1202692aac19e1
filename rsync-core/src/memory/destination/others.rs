//! What others do at the service, and what look-ups see of it.

use super::{MemoryDestination, folding};
use crate::destination::Target;
use crate::error::Error;
use crate::memory::table::Stored;
use crate::record::Value;

impl MemoryDestination {
    /// Changes one field of a record, as if somebody else had; `None` empties it. Returns whether there is a record.
    pub fn change(&self, target: &Target, key: &str, field: &str, value: Option<Value<'_>>) -> bool {
        let mut state = self.lock();
        let Some((schema, table)) = state.objects.get_mut(&target.object) else { return false };
        let Some(record) = table.get_mut(&folding(schema, target).folded(key)) else { return false };
        match value {
            Some(value) => record.fields.insert(field.to_owned(), Stored::new(&value)),
            None => record.fields.remove(field),
        };
        true
    }

    /// Lets look-ups find a second record of this key, as if somebody else had made one.
    pub fn duplicate(&self, target: &Target, key: &str) {
        let mut state = self.lock();
        let folded = state.objects.get(&target.object).map(|(schema, _)| folding(schema, target).folded(key));
        state.twins.extend(folded.map(|key| (target.object.clone(), key)));
    }

    /// Lets the look-up with this number (from 1) fail, once.
    pub fn fail_lookup(&self, number: u64, error: Error) {
        self.lock().lookup_faults.insert(number, error);
    }

    /// How many calls of [`lookup`](crate::destination::Destination::lookup) reached the service.
    pub fn lookups(&self) -> u64 {
        self.lock().lookups
    }
}
