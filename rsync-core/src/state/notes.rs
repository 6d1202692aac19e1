//! The codes of rows that are not synced. Kept out of the index, since only an operator asks for them.

use std::collections::HashMap;

use super::index::Acknowledged;
use super::segment::read_block;
use super::store::StateRead;
use crate::error::Result;

impl Acknowledged {
    /// Positions, ascending, of keys that are not synced and whose newest entry has `code` as its reason.
    pub(crate) async fn noted(&self, read: &dyn StateRead, code: &str) -> Result<Vec<usize>> {
        // Only a newest entry counts, so every key is asked for until it is met.
        let mut wanted: HashMap<u128, usize> =
            self.unsettled().map(|position| (self.key(position), position)).collect();
        let mut found = Vec::new();
        for entry in self.load_pending(read, &[]).await?.0.entries() {
            if let Some(position) = wanted.remove(&entry.key)
                && entry.note.is_some_and(|note| note.code == code)
            {
                found.push(position);
            }
        }
        for (meta, _) in self.segments.iter().rev() {
            for number in 0..if wanted.is_empty() { 0 } else { meta.blocks() } {
                let (block, images) = read_block(read, meta.id, number).await?;
                let mut notes = images.notes.iter().peekable();
                for (row, key) in block.keys.iter().enumerate() {
                    while notes.peek().is_some_and(|note| (note.row as usize) < row) {
                        notes.next();
                    }
                    if let Some(position) = wanted.remove(key)
                        && notes.peek().is_some_and(|note| note.row as usize == row && note.code == code)
                    {
                        found.push(position);
                    }
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}
