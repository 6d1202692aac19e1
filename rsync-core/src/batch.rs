//! Rows to batches: one operation a batch, closed by the destination's limits on rows and bytes.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_128;

use crate::capability::{Capability, Operation};
use crate::destination::{Destination, Target};
use crate::error::Result;
use crate::ids::BatchId;
use crate::plan::Work;

/// Cuts work into batches. Rows keep their order within an operation.
#[derive(Debug)]
pub(crate) struct Batcher<'a> {
    destination: &'a dyn Destination,
    target: &'a Target,
    capability: Capability,
    /// By operation, and whether rows go by record id.
    open: BTreeMap<(Operation, bool), Open>,
}

#[derive(Debug, Default)]
struct Open {
    pieces: Vec<Work>,
    rows: usize,
    bytes: usize,
}

impl<'a> Batcher<'a> {
    pub(crate) fn new(destination: &'a dyn Destination, target: &'a Target, capability: Capability) -> Self {
        Self { destination, target, capability, open: BTreeMap::new() }
    }

    /// Takes rows; returns the batches that are full.
    pub(crate) fn push(&mut self, work: &Work) -> Result<Vec<(Operation, Work)>> {
        let mut full = Vec::new();
        for (operation, by_id) in
            Operation::ALL.into_iter().flat_map(|operation| [(operation, false), (operation, true)])
        {
            let rows: Vec<u32> = (0..work.len())
                .filter(|row| work.operations[*row] == operation && work.by_id(*row) == by_id)
                .map(|row| row as u32)
                .collect();
            if rows.is_empty() {
                continue;
            }
            let part;
            let part = if rows.len() == work.len() {
                work
            } else {
                part = work.take(&rows)?;
                &part
            };
            self.push_one(operation, by_id, part, &mut full)?;
        }
        Ok(full)
    }

    fn push_one(
        &mut self,
        operation: Operation,
        by_id: bool,
        work: &Work,
        full: &mut Vec<(Operation, Work)>,
    ) -> Result<()> {
        // The policy was checked against the capability, so the operation is there.
        let Some(limits) = self.capability.limits(operation) else { return Ok(()) };
        let max_rows = limits.max_rows.max(1);
        let open = self.open.entry((operation, by_id)).or_default();
        let mut from = 0;
        while from < work.len() {
            let room = max_rows - open.rows;
            let fitting = from.saturating_add(room).min(work.len());
            let (mut to, mut closed) = (fitting, fitting - from == room);
            if let Some(max_bytes) = limits.max_bytes {
                for row in from..fitting {
                    let id = work.ids.as_ref().filter(|_| by_id).map_or(0, |ids| ids.value(row).len());
                    let bytes = self.destination.row_bytes(self.target, operation, &work.rows, row) + id;
                    // A row that is too large alone still gets its own batch: the adapter refuses it by name.
                    if open.bytes + bytes > max_bytes && open.rows + (row - from) > 0 {
                        (to, closed) = (row, true);
                        break;
                    }
                    open.bytes += bytes;
                }
            }
            if to > from {
                open.pieces.push(work.slice(from, to - from));
                open.rows += to - from;
            }
            if closed {
                full.push((operation, Work::concat(&open.pieces)?));
                *open = Open::default();
            }
            from = to;
        }
        Ok(())
    }

    /// The batches that are left.
    pub(crate) fn finish(&mut self) -> Result<Vec<(Operation, Work)>> {
        std::mem::take(&mut self.open)
            .into_iter()
            .filter(|(_, open)| !open.pieces.is_empty())
            .map(|((operation, _), open)| Ok((operation, Work::concat(&open.pieces)?)))
            .collect()
    }
}

/// The id of a batch, from its content.
pub(crate) fn batch_id(operation: Operation, work: &Work) -> BatchId {
    let mut bytes = Vec::with_capacity(1 + work.len() * 24);
    bytes.push(operation as u8);
    for (key, hash) in work.keys.iter().zip(&work.hashes) {
        bytes.extend_from_slice(&key.to_le_bytes());
        bytes.extend_from_slice(&hash.to_le_bytes());
    }
    BatchId(xxh3_128(&bytes))
}
