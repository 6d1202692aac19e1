//! The look-up of match values while a plan is made: rows of which nobody knows the record yet get one, or are kept back.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::lookup::look_up;
use crate::capability::{Capability, Operation};
use crate::error::Result;
use crate::ids::{KeyHash, RemoteId, RunId};
use crate::outcome::Outcome;
use crate::pipeline::Pipeline;
use crate::plan::{Found, Frame, Reason, Rewrite, Spool, Work, bound_twice, rebound};
use crate::policy::{Change, Rebound};
use crate::state::{Acknowledged, StateRead, claim_of};

/// Where the rows of a plan come from and what they are compared with.
struct Preflighting<'a> {
    pipeline: &'a Pipeline,
    frame: &'a Frame<'a>,
    known: &'a Acknowledged,
    state: &'a dyn StateRead,
    run: RunId,
    capability: Capability,
    /// Record ids that were looked up, as claims, with the keys of the rows that lead to them.
    claims: HashMap<u64, u128>,
    calls: u64,
}

impl Pipeline {
    /// Looks up the rows of `found` that go by their match value. Returns the calls that it took.
    pub(super) async fn preflight(
        &self,
        frame: &Frame<'_>,
        known: &Acknowledged,
        state: &dyn StateRead,
        run: RunId,
        found: &mut Found,
    ) -> Result<u64> {
        let capability = frame.capability;
        let (claims, calls) = (HashMap::new(), 0);
        let mut preflight = Preflighting { pipeline: self, frame, known, state, run, capability, claims, calls };
        preflight.address(found).await?;
        preflight.leave_others_records_alone(found).await?;
        Ok(preflight.calls)
    }
}

impl Preflighting<'_> {
    /// Whether nobody knows the record of a row: it is new, or the destination never told the id.
    fn is_unknown(&self, work: &Work, row: usize) -> bool {
        !work.by_id(row) && (self.frame.bound.is_some() || work.changes[row] != Change::Changed)
    }

    /// Gives rows that have one record its id, and takes out those with several.
    async fn address(&mut self, found: &mut Found) -> Result<()> {
        let started = self.pipeline.clock.monotonic();
        let pieces = found.take_rows()?;
        let mut rewrite: Option<Rewrite> = None;
        for work in pieces.read()? {
            self.still_wanted(started)?;
            let work = work?;
            let rewrite = match &mut rewrite {
                Some(rewrite) => rewrite,
                none => none.insert(Rewrite::like(&work)),
            };
            rewrite.seen(&work);
            rewrite.push(&self.address_some(work, found).await?)?;
        }
        rewrite.map_or(Ok(()), |rewrite| rewrite.finish(found))
    }

    fn still_wanted(&self, started: Duration) -> Result<()> {
        self.pipeline.interrupted(started).map_or(Ok(()), Err)
    }

    async fn address_some(&mut self, mut work: Work, found: &mut Found) -> Result<Work> {
        let asked: Vec<u32> =
            (0..work.len()).filter(|row| self.is_unknown(&work, *row)).map(|row| row as u32).collect();
        if asked.is_empty() {
            return Ok(work);
        }
        let rows = work.rows.take(&asked.clone().into())?;
        let (records, calls) = look_up(self.pipeline, self.run, &self.capability, &rows).await?;
        self.calls += calls;
        let before = self.bound_before(&work, &asked).await?;
        let mut ids: Vec<Option<RemoteId>> = (0..work.len()).map(|row| work.id(row).map(RemoteId::new)).collect();
        let mut out = HashSet::new();
        for (row, records) in asked.into_iter().zip(records) {
            let (at, key) = (row as usize, KeyHash(work.keys[row as usize]));
            let counts = &mut found.counts;
            match &records[..] {
                [] => counts.unmatched += 1,
                [one] => {
                    counts.matched += 1;
                    let other = before.get(&key.0).is_some_and(|bound| bound != one);
                    if other && self.pipeline.rebound == Rebound::Hold {
                        counts.rebound += 1;
                        counts.held += 1;
                        found.reasons.add(Outcome::Held, &rebound(), Some(key));
                        out.insert(row);
                        continue;
                    }
                    if self.frame.bound.is_none() {
                        continue;
                    }
                    let writes = matches!(work.operations[at], Operation::Upsert | Operation::Update);
                    if *self.claims.entry(claim_of(one.as_str())).or_insert(key.0) != key.0 {
                        counts.held += 1;
                        found.reasons.add(Outcome::Held, &bound_twice(), Some(key));
                        out.insert(row);
                    } else if writes && work.ids.is_some() {
                        work.operations[at] = Operation::Update;
                        ids[at] = Some(one.clone());
                    }
                }
                _ => {
                    counts.ambiguous += 1;
                    counts.rejected += 1;
                    let fix = "several records have this row's value; merge them, or make the values differ";
                    found.reasons.add(Outcome::Rejected, &Reason::new("ambiguous_match", None, fix), Some(key));
                    out.insert(row);
                }
            }
        }
        if work.ids.is_some() {
            work.ids = Some(ids.iter().map(|id| id.as_ref().map(RemoteId::as_str)).collect());
        }
        if out.is_empty() {
            return Ok(work);
        }
        let kept: Vec<u32> = (0..work.len() as u32).filter(|row| !out.contains(row)).collect();
        work.take(&kept)
    }

    /// The ids of the records that known keys among `rows` are bound to.
    async fn bound_before(&self, work: &Work, rows: &[u32]) -> Result<HashMap<u128, RemoteId>> {
        if self.frame.bound.is_none() {
            return Ok(HashMap::new());
        }
        let mut positions: Vec<usize> =
            rows.iter().filter_map(|row| self.known.find(KeyHash(work.keys[*row as usize]))).collect();
        positions.sort_unstable();
        let records = self.known.records(self.state, &positions).await?;
        let bound = positions.iter().zip(records);
        Ok(bound.filter_map(|(position, record)| Some((self.known.key(*position), record.id?))).collect())
    }

    /// Takes out rows that were looked up and whose record another row of the model is bound to.
    async fn leave_others_records_alone(&mut self, found: &mut Found) -> Result<()> {
        if self.claims.is_empty() || self.known.len() == 0 {
            return Ok(());
        }
        let mut claims: Vec<u64> = self.claims.keys().copied().collect();
        claims.sort_unstable();
        let field = &self.frame.fields[self.frame.match_index].name;
        let claimed = self.known.claims(self.state, field, &claims, &[]).await?.ids;
        let mut positions: Vec<usize> = claimed.into_iter().map(|(_, position)| position).collect();
        positions.retain(|position| found.live.value(*position));
        positions.sort_unstable();
        positions.dedup();
        let records = self.known.records(self.state, &positions).await?;
        let mut anothers: HashSet<u128> = HashSet::new();
        for (position, record) in positions.iter().zip(records) {
            let claimant = record.id.and_then(|id| self.claims.get(&claim_of(id.as_str())));
            anothers.extend(claimant.filter(|key| **key != self.known.key(*position)));
        }
        if anothers.is_empty() {
            return Ok(());
        }
        let pieces: Spool = found.take_rows()?;
        let mut rewrite: Option<Rewrite> = None;
        for work in pieces.read()? {
            let work = work?;
            let (out, kept): (Vec<u32>, Vec<u32>) =
                (0..work.len() as u32).partition(|row| anothers.contains(&work.keys[*row as usize]));
            found.counts.held += out.len() as u64;
            for row in &out {
                found.reasons.add(Outcome::Held, &bound_twice(), Some(KeyHash(work.keys[*row as usize])));
            }
            let rewrite = match &mut rewrite {
                Some(rewrite) => rewrite,
                none => none.insert(Rewrite::like(&work)),
            };
            rewrite.seen(&work);
            rewrite.push(&work.take(&kept)?)?;
        }
        rewrite.map_or(Ok(()), |rewrite| rewrite.finish(found))
    }
}
