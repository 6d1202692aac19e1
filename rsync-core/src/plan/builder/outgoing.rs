//! Rows on their way to the spool, and what is counted of them.

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;
use xxhash_rust::xxh3::xxh3_64;

use super::Frame;
use crate::capability::Operation;
use crate::error::Result;
use crate::ids::KeyHash;
use crate::plan::bound::BoundFrame;
use crate::plan::enforce::reads;
use crate::plan::spool::{SpoolWriter, With, Work};
use crate::policy::Change;
use crate::state::{Acknowledged, StateRead};

/// A hash of what is done about one row.
pub(in crate::plan) fn content_hash(work: &Work, row: usize) -> u64 {
    row_hash(work.keys[row], work.hashes[row], work.operations[row])
}

pub(in crate::plan) fn row_hash(key: u128, hash: u64, operation: Operation) -> u64 {
    let mut line = [0; 25];
    line[..16].copy_from_slice(&key.to_le_bytes());
    line[16..24].copy_from_slice(&hash.to_le_bytes());
    line[24] = operation as u8;
    xxh3_64(&line)
}

/// As what a row to be written is counted: new, changed, in doubt.
pub(in crate::plan) fn change_index(change: Change) -> usize {
    match change {
        Change::Changed => 1,
        Change::InDoubt => 2,
        Change::New | Change::Missing | Change::Exists => 0,
    }
}

/// Rows to be written, and what is counted of them.
pub(super) struct Outgoing<'a> {
    pub(super) spool: SpoolWriter,
    /// New, changed, in doubt, resent.
    pub(super) changes: [u64; 4],
    pub(super) concerned: &'a [bool],
    pub(super) concerned_rows: u64,
    pub(super) field_changes: Vec<u64>,
    pub(super) operations: HashMap<Operation, u64>,
    pub(super) hash: u64,
}

impl<'a> Outgoing<'a> {
    pub(super) fn new(schema: &SchemaRef, frame: &'a Frame<'_>) -> Self {
        let field_changes = vec![0; schema.fields().len()];
        Self {
            spool: SpoolWriter::new(schema, with(frame)),
            changes: [0; 4],
            concerned: &frame.concerned,
            concerned_rows: 0,
            field_changes,
            operations: HashMap::new(),
            hash: 0,
        }
    }

    /// Counts a row; `any` says whether a field of it differs.
    pub(super) fn count(&mut self, change: Change, any: bool) {
        self.changes[match change {
            Change::Changed if !any => 3,
            Change::Changed => 1,
            Change::InDoubt => 2,
            Change::New | Change::Missing | Change::Exists => 0,
        }] += 1;
    }

    pub(super) fn push(&mut self, work: &Work, changed: impl Fn(usize, usize) -> bool) -> Result<()> {
        for row in 0..work.len() {
            self.count(work.changes[row], (0..work.width()).any(|field| changed(row, field)));
            *self.operations.entry(work.operations[row]).or_default() += 1;
            if work.changes[row] == Change::Changed {
                for (field, count) in self.field_changes.iter_mut().enumerate() {
                    *count += u64::from(changed(row, field));
                }
                let concerned = |(field, concerned): (usize, &bool)| *concerned && changed(row, field);
                self.concerned_rows += u64::from(self.concerned.iter().enumerate().any(concerned));
            }
            // A sum, so that the order in which a source happens to deliver rows does not matter.
            self.hash = self.hash.wrapping_add(content_hash(work, row));
        }
        self.spool.push(work)
    }
}

/// Fields that are read before they are written are compared with what was written before.
pub(super) fn with(frame: &Frame<'_>) -> With {
    match frame.bound {
        _ if reads(&frame.enforced) => With::Before,
        Some(BoundFrame { by_id: true, .. }) => With::Ids,
        _ => With::Nothing,
    }
}

/// The same rows but those that are `out`, counted anew.
pub(super) async fn without<'a>(
    outgoing: Outgoing<'a>,
    schema: &SchemaRef,
    frame: &'a Frame<'_>,
    (known, state): (&Acknowledged, &dyn StateRead),
    is_out: &mut (dyn FnMut(&Work, usize) -> bool + Send),
) -> Result<Outgoing<'a>> {
    let mut kept = Outgoing::new(schema, frame);
    for work in outgoing.spool.finish()?.read()? {
        let work = work?;
        let rows: Vec<u32> = (0..work.len() as u32).filter(|row| !is_out(&work, *row as usize)).collect();
        if rows.is_empty() {
            continue;
        }
        let work = if rows.len() == work.len() { work } else { work.take(&rows)? };
        let positions: Vec<usize> = (0..work.len())
            .filter(|row| work.changes[*row] == Change::Changed)
            .filter_map(|row| known.find(KeyHash(work.keys[row])))
            .collect();
        let stored = known.images(state, &positions).await?;
        let width = work.width();
        let mut before = stored.chunks_exact(width);
        let mut changed = vec![true; work.len() * width];
        for row in (0..work.len()).filter(|row| work.changes[*row] == Change::Changed) {
            let old = before.next().unwrap_or_default();
            for (field, old) in old.iter().enumerate() {
                let new = work.images[row * width + field];
                changed[row * width + field] = new != *old && (new != 0 || work.operations[row] == Operation::Append);
            }
        }
        kept.push(&work, |row, field| changed[row * width + field])?;
    }
    Ok(kept)
}
