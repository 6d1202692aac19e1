//! The second half of a run: what is done about records whose rows left the model.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_128;

use super::engine::Engine;
use super::flight::{Flight, Settled};
use crate::error::Result;
use crate::ids::KeyHash;
use crate::outcome::Outcome;
use crate::plan::{FoundExits, Reason, Spool, Work, record_shared};
use crate::policy::{RECORD_EXISTS, RECORD_MISSING};
use crate::report::Report;
use crate::state::Journal;

/// Rows in one record of settled rows.
const SETTLED_ROWS: usize = 10_000;

/// Where a run stands with its exits.
#[derive(Debug, Default)]
pub(super) struct ExitPhase {
    begun: bool,
    pub(super) started_rows: u64,
    /// Hashes of the ids of records that this run has written; `None` in a run without exits.
    written: Option<HashSet<u128>>,
}

impl ExitPhase {
    /// Remembers from now on which records are written.
    pub(super) fn watch(&mut self) {
        self.written = Some(HashSet::new());
    }

    /// Whether all writes are over.
    pub(super) fn begun(&self) -> bool {
        self.begun
    }

    /// Takes note of the records of a flight that has landed.
    pub(super) fn note(&mut self, flight: &Flight) {
        let Some(written) = self.written.as_mut().filter(|_| !self.begun) else { return };
        written.extend(flight.settled.iter().flatten().filter_map(|settled| match settled {
            Settled::Written { id: Some(id), .. } | Settled::Found { id, .. } => Some(xxh3_128(id.as_str().as_bytes())),
            _ => None,
        }));
    }

    /// The rows of `work` whose record was written in this run for another key, and the others.
    fn divide(&self, work: &Work) -> (Vec<u32>, Vec<u32>) {
        let taken = |row: &u32| {
            let id = work.ids.as_ref().filter(|_| work.by_id(*row as usize)).map(|ids| ids.value(*row as usize));
            id.zip(self.written.as_ref()).is_some_and(|(id, written)| written.contains(&xxh3_128(id.as_bytes())))
        };
        (0..work.len() as u32).partition(taken)
    }
}

impl Engine<'_> {
    /// Sends the exits, once every write has its outcome.
    pub(super) async fn fly_exits(&mut self, spool: Spool) -> Result<()> {
        self.exits.begun = true;
        for work in spool.read()? {
            if self.stop.is_some() {
                break;
            }
            let work = work?;
            let (taken, rest) = self.exits.divide(&work);
            self.spare(&work, &taken);
            self.fly(std::iter::once(work.take(&rest))).await?;
        }
        Ok(())
    }

    /// Leaves records alone that are another key's now, and forgets that they were once those of the gone keys.
    fn spare(&mut self, work: &Work, rows: &[u32]) {
        if rows.is_empty() {
            return;
        }
        let keys: Vec<u128> = rows.iter().map(|row| work.keys[*row as usize]).collect();
        self.exits.started_rows += keys.len() as u64;
        self.report.totals.exits.skipped += keys.len() as u64;
        for key in &keys {
            self.report.exit_reasons.add(Outcome::Skipped, &record_shared(), Some(KeyHash(*key)));
        }
        self.journal.stage_forgotten(keys);
    }
}

/// Stages what needs no call.
pub(super) fn stage(journal: &mut Journal, exits: &FoundExits) {
    for piece in exits.settled.chunks(SETTLED_ROWS) {
        let (keys, rows) = piece.iter().copied().unzip();
        journal.stage_settled(keys, rows);
    }
    for piece in exits.forgotten.chunks(SETTLED_ROWS) {
        journal.stage_forgotten(piece.to_vec());
    }
}

/// Why a written row was left alone.
pub(super) fn left_alone(settled: &Settled) -> Reason {
    match settled {
        Settled::Exists => {
            Reason::new(RECORD_EXISTS, None, "nothing; the destination has a record of this key that is not ours")
        }
        _ => Reason::new(RECORD_MISSING, None, "nothing; it is written once the destination has a record of this key"),
    }
}

/// Counts the outcomes of a flight of exits.
pub(super) fn count(report: &mut Report, flight: &Flight) {
    let totals = &mut report.totals.exits;
    let again = "nothing; the next run sends it again";
    for (row, settled) in flight.settled.iter().enumerate() {
        let (count, outcome, reason) = match settled {
            Some(Settled::Written { .. } | Settled::Unchanged | Settled::Found { .. } | Settled::Missing) => {
                totals.removed += 1;
                continue;
            }
            // Only writes are looked for again.
            Some(settled @ (Settled::Exists | Settled::Lost)) => {
                (&mut totals.skipped, Outcome::Skipped, left_alone(settled))
            }
            Some(Settled::Rejected { code, field, fix }) => {
                let field = field.as_ref().map(|field| field.as_str().to_owned());
                (&mut totals.rejected, Outcome::Rejected, Reason::new(code.clone(), field, fix))
            }
            Some(Settled::Failed { code }) => {
                (&mut totals.failed, Outcome::Failed, Reason::new(code.clone(), None, again))
            }
            Some(Settled::Deferred { code }) => {
                (&mut totals.deferred, Outcome::Deferred, Reason::new(*code, None, again))
            }
            Some(Settled::InDoubt { code }) => {
                (&mut totals.in_doubt, Outcome::InDoubt, Reason::new(code.clone(), None, again))
            }
            None => (&mut totals.in_doubt, Outcome::InDoubt, Reason::new("run_stopped", None, again)),
        };
        *count += 1;
        report.exit_reasons.add(outcome, &reason, Some(KeyHash(flight.work.keys[row])));
    }
}
