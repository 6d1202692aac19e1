//! Rows that went by the id of a record which the destination no longer has: merged, or deleted by somebody else. They
//! are resolved once, by their match value, when all other writes of the run have their outcome.

use std::collections::HashSet;

use super::engine::Engine;
use super::exits::left_alone;
use super::flight::{Flight, Settled};
use super::lookup::look_up;
use crate::error::Result;
use crate::ids::{KeyHash, RemoteId};
use crate::outcome::Outcome;
use crate::plan::{Reason, Resolution, SpoolWriter, With, Work, bound_twice, rebound, resolve};
use crate::policy::{Change, Decision, RECORD_MISSING};
use crate::state::codec::Status;

/// Where a run stands with rows whose record is gone.
#[derive(Default)]
pub(super) struct RebindPhase {
    spool: Option<SpoolWriter>,
    begun: bool,
    /// Rows that have no outcome yet.
    pub(super) open: u64,
    /// Records that rows went over to in this run.
    taken: HashSet<RemoteId>,
}

impl RebindPhase {
    /// Takes note that rows are being sent.
    pub(super) fn staged(&mut self, rows: usize) {
        if self.begun {
            self.open -= rows as u64;
        }
    }
}

impl Engine<'_> {
    /// Sets the rows of a landed flight aside whose record is gone.
    pub(super) fn set_lost_rows_aside(&mut self, flight: &mut Flight) -> Result<()> {
        if flight.exit || self.rebind.begun || !flight.work.by_id(0) {
            return Ok(());
        }
        let lost = |row: &u32| matches!(flight.settled[*row as usize], Some(Settled::Missing));
        let rows: Vec<u32> = (0..flight.work.len() as u32).filter(lost).collect();
        if rows.is_empty() {
            return Ok(());
        }
        rows.iter().for_each(|row| flight.settled[*row as usize] = Some(Settled::Lost));
        let work = flight.work.take(&rows)?;
        let spool = match self.rebind.spool.as_mut() {
            Some(spool) => spool,
            None => self.rebind.spool.insert(SpoolWriter::new(work.rows.schema(), With::Ids)),
        };
        spool.push(&work)?;
        self.rebind.open += work.len() as u64;
        Ok(())
    }

    /// Finds the records of rows that were set aside, and sends those that have one or may get one.
    pub(super) async fn fly_lost_rows(&mut self) -> Result<()> {
        let Some(spool) = self.rebind.spool.take() else { return Ok(()) };
        self.rebind.begun = true;
        for work in spool.finish()?.read()? {
            self.interrupt();
            if self.stop.is_some() {
                break;
            }
            if let Some(work) = self.resolve_lost_rows(work?.anew()).await? {
                self.fly(std::iter::once(Ok(work))).await?;
            }
        }
        Ok(())
    }

    /// The rows that are to be sent, each with its address; the others get their outcome here.
    async fn resolve_lost_rows(&mut self, mut work: Work) -> Result<Option<Work>> {
        let found = match self.capability.lookup_rows {
            None => None,
            Some(_) => match look_up(self.pipeline, self.run, &self.capability, &work.rows).await {
                Ok((found, calls)) => {
                    self.report.calls.reads += calls;
                    Some(found)
                }
                Err(error) => {
                    self.stop(error);
                    return Ok(None);
                }
            },
        };
        let mut ids: Vec<Option<RemoteId>> = vec![None; work.len()];
        let (mut sent, mut missing, mut parked) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..work.len() {
            let old = RemoteId::new(work.id(row).unwrap_or_default());
            let records = found.as_ref().map(|found| found[row].as_slice());
            match resolve(&old, records, self.pipeline.rebound, &*self.pipeline.policy) {
                Resolution::ByKey(operation) => {
                    work.operations[row] = operation;
                    sent.push(row as u32);
                }
                Resolution::ById(id) if self.rebind.taken.insert(id.clone()) => {
                    ids[row] = Some(id);
                    sent.push(row as u32);
                }
                Resolution::ById(_) => self.conclude_lost(&work, row, Outcome::Held, &bound_twice()),
                Resolution::Rebound => self.conclude_lost(&work, row, Outcome::Held, &rebound()),
                Resolution::Gone => {
                    let fix = "the record of this row is gone and the destination cannot be asked which one has its \
                               value now; let the row go by it: .rebound(Rebound::Follow)";
                    self.conclude_lost(&work, row, Outcome::Held, &Reason::new("record_gone", None, fix));
                }
                Resolution::Ambiguous => {
                    let fix = "several records have this row's value; merge them, or make the values differ";
                    self.conclude_lost(&work, row, Outcome::Rejected, &Reason::new("ambiguous_match", None, fix));
                }
                Resolution::Unreachable => {
                    let fix = "the destination finds this record by its value and not by its id; see what it is there";
                    self.conclude_lost(&work, row, Outcome::Rejected, &Reason::new("record_unreachable", None, fix));
                    parked.push(row);
                }
                Resolution::Missing => {
                    let outcome = match self.pipeline.policy.decide(Change::Missing) {
                        Decision::Hold(_) => Outcome::Held,
                        _ => Outcome::Skipped,
                    };
                    self.conclude_lost(&work, row, outcome, &left_alone(&Settled::Missing));
                    missing.push(row);
                }
            }
        }
        let standing = |rows: &[usize]| rows.iter().map(|row| (work.keys[*row], work.hashes[*row])).unzip();
        for (rows, status, code) in
            [(missing, Status::Missing, RECORD_MISSING), (parked, Status::Rejected, "record_unreachable")]
        {
            if !rows.is_empty() {
                let (keys, hashes) = standing(&rows);
                self.journal.stage_standing(keys, hashes, status, code);
            }
        }
        if sent.is_empty() {
            return Ok(None);
        }
        work.ids = Some(ids.iter().map(|id| id.as_ref().map(RemoteId::as_str)).collect());
        let work = work.take(&sent)?;
        // What the state knows of the old record, and whether we made it, says nothing about the new one.
        self.journal.stage_forgotten(work.keys.clone());
        Ok(Some(work))
    }

    fn conclude_lost(&mut self, work: &Work, row: usize, outcome: Outcome, reason: &Reason) {
        let totals = &mut self.report.totals;
        *match outcome {
            Outcome::Rejected => &mut totals.rejected,
            Outcome::Held => &mut totals.held,
            _ => &mut totals.skipped,
        } += 1;
        self.rebind.open -= 1;
        self.report.reasons.add(outcome, reason, Some(KeyHash(work.keys[row])));
    }
}
