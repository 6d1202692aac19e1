//! The rows of a plan once more, with other addresses or fewer of them.

use std::collections::BTreeMap;

use super::builder::{Found, change_index, content_hash};
use super::spool::{SpoolWriter, Work};
use crate::capability::Operation;
use crate::error::Result;

/// Takes the rows that stay, and counts them anew.
pub(crate) struct Rewrite {
    spool: SpoolWriter,
    /// Rows that were taken out: new, changed, in doubt.
    out: [u64; 3],
    operations: BTreeMap<Operation, u64>,
    /// What is to be added to the plan's hash.
    hash: u64,
}

impl Rewrite {
    /// For rows like those of `work`.
    pub(crate) fn like(work: &Work) -> Self {
        let spool = SpoolWriter::new(work.rows.schema(), work.with());
        Self { spool, out: [0; 3], operations: BTreeMap::new(), hash: 0 }
    }

    /// Takes note of rows as they were.
    pub(crate) fn seen(&mut self, work: &Work) {
        for row in 0..work.len() {
            self.out[change_index(work.changes[row])] += 1;
            self.hash = self.hash.wrapping_sub(content_hash(work, row));
        }
    }

    /// Takes what is left of the rows that were seen last.
    pub(crate) fn push(&mut self, work: &Work) -> Result<()> {
        for row in 0..work.len() {
            self.out[change_index(work.changes[row])] -= 1;
            *self.operations.entry(work.operations[row]).or_default() += 1;
            self.hash = self.hash.wrapping_add(content_hash(work, row));
        }
        if work.len() == 0 { Ok(()) } else { self.spool.push(work) }
    }

    /// Puts the rows in the place of those that `found` had.
    pub(crate) fn finish(self, found: &mut Found) -> Result<()> {
        found.spool = self.spool.finish()?;
        let [new, changed, in_doubt] = self.out;
        let counts = &mut found.counts;
        counts.new -= new;
        counts.in_doubt -= in_doubt;
        // A row that is sent again although nothing differs counts apart, and looks like a changed one here.
        let differing = changed.min(counts.changed);
        counts.changed -= differing;
        counts.resent -= changed - differing;
        found.operations = self.operations.into_iter().collect();
        found.hash = found.hash.wrapping_add(self.hash);
        Ok(())
    }
}
