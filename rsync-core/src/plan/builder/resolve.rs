//! Rows that may have to be written against what the state knows of them.

use std::collections::HashMap;

use arrow::buffer::BooleanBuffer;

use super::outgoing::with;
use super::{Builder, Seen};
use crate::capability::{Operation, WriteIdempotence};
use crate::error::Result;
use crate::ids::RemoteId;
use crate::outcome::Outcome;
use crate::plan::bound::{Address, match_value_changed};
use crate::plan::carried::is_kept;
use crate::plan::enforce::Enforced;
use crate::plan::reasons::Reason;
use crate::plan::spool::{With, Work, image_bytes, presence_bytes};
use crate::policy::{Change, Decision, SendFields};
use crate::record::Rows;
use crate::state::BoundRecord;
use crate::state::codec::Status;

impl<'a> Builder<'a> {
    /// Compares candidates with their stored images and spools those that have to be written.
    pub(super) async fn resolve(&mut self) -> Result<()> {
        let candidates = std::mem::take(&mut self.candidates);
        self.candidate_rows = 0;
        let positions: Vec<usize> =
            candidates.iter().flat_map(|c| &c.priors).filter_map(|prior| Some(prior.as_ref()?.position)).collect();
        let stored = self.known.images(self.state, &positions).await?;
        let records = self.records(positions).await?;
        let (width, match_index) = (self.schema.fields().len(), self.frame.match_index);
        let match_field = &self.frame.fields[match_index].name;
        let mut stored = stored.chunks_exact(width);
        let (appends, keeps) = (self.frame.appends(), self.frame.keeps());
        let keeps_before = with(self.frame) == With::Before;
        let set_once: Vec<usize> =
            (0..width).filter(|field| self.frame.enforced[*field] == Enforced::ByState).collect();
        for mut candidates in candidates {
            let n = candidates.keys.len();
            let mut befores: Vec<Vec<u8>> = Vec::with_capacity(if keeps_before { n } else { 0 });
            let mut set_before = vec![Vec::new(); set_once.len()];
            let mut changed = vec![true; n * width];
            let mut changes = vec![Change::New; n];
            let mut operations = vec![Operation::Upsert; n];
            let mut kept: Vec<u32> = Vec::with_capacity(n);
            let mut ids: Option<Vec<Option<&str>>> = self.goes_by_id().then(|| vec![None; n]);
            let mut forced = vec![false; n];
            let mut adopted: Vec<u32> = Vec::new();
            for row in 0..n {
                let key = candidates.keys[row];
                let (mut moved, mut known_id, mut claims) = (false, None, self.frame.bound.is_some());
                forced[row] = candidates.priors[row].is_some_and(|p| self.frame.chosen.has(self.known, p.position));
                let forced = forced[row];
                if candidates.priors[row].is_none() {
                    for field in self.retired() {
                        candidates.images[row * width + field] = 0;
                        changed[row * width + field] = false;
                    }
                }
                if let Some(prior) = candidates.priors[row] {
                    let mut before = stored.next().unwrap_or_default();
                    let entry = self.frame.carried.newest(key, prior.status).filter(|_| keeps);
                    // What an earlier run decided to send will be there before anything of this one.
                    if let Some(entry) = entry {
                        before = self.frame.carried.image(entry);
                    }
                    let in_doubt = prior.status.is_in_doubt() && entry.is_none();
                    if keeps_before {
                        let doubtful = self.doubtful.get(&key).filter(|_| in_doubt);
                        befores.push(image_bytes(before.iter().chain(doubtful.into_iter().flatten()).copied()));
                    }
                    let image = &mut candidates.images[row * width..(row + 1) * width];
                    moved = before[match_index] != 0 && image[match_index] != before[match_index];
                    claims &= moved || before[match_index] == 0;
                    known_id = records.get(&prior.position);
                    let mut any = false;
                    for (field, (new, old)) in image.iter_mut().zip(before).enumerate() {
                        if self.frame.fields[field].retired && (*old == 0 || old == new) {
                            // Never ours, or emptied already.
                            changed[row * width + field] = false;
                            *new = *old;
                            continue;
                        }
                        // A record that may be gone gets its fields anew.
                        if let Ok(once) = set_once.binary_search(&field)
                            && prior.status != Status::Leaving
                            && *old != 0
                            && *old != self.frame.cleared[field]
                        {
                            *new = *old;
                            changed[row * width + field] = false;
                            set_before[once].push(row);
                            continue;
                        }
                        // An entry stands for itself, so that what it leaves out differs too.
                        let differs = new != old && (*new != 0 || appends);
                        changed[row * width + field] = differs;
                        any |= differs;
                        // What was sent with unknown fate may have replaced what was acknowledged before, and some
                        // destinations empty what a row leaves out. A field that is not sent now is then not known
                        // any more.
                        if *new == 0 && !in_doubt && !appends && self.frame.capability.keeps_absent_fields {
                            *new = *old;
                        }
                    }
                    changes[row] = match (prior.status, prior.acknowledged) {
                        _ if entry.is_some() => Change::Changed,
                        (Status::InDoubt | Status::Leaving, _) if !appends => Change::InDoubt,
                        (Status::Exists, _) if !forced => Change::Exists,
                        (Status::Missing, _) if !forced && !self.ask_again(prior.position, candidates.hashes[row]) => {
                            Change::Missing
                        }
                        (_, false) => Change::New,
                        (_, true) => Change::Changed,
                    };
                    if let Some(entry) = entry.filter(|_| !any) {
                        let change = match prior.acknowledged {
                            _ if self.frame.carried.is_in_doubt(entry) => Change::InDoubt,
                            true => Change::Changed,
                            false => Change::New,
                        };
                        self.tied.push((key, entry, change));
                        continue;
                    }
                    if changes[row] == Change::Changed && !any && !forced {
                        self.settled.push((key, candidates.hashes[row]));
                        self.seen[prior.position] = Seen::Unchanged;
                        continue;
                    }
                } else if keeps_before {
                    befores.push(image_bytes(std::iter::repeat_n(0, width)));
                }
                if let Some(operation) = self.jobs.get(&key) {
                    // Nobody may write it before the job has ended.
                    operations[row] = *operation;
                    adopted.push(row as u32);
                    continue;
                }
                let mut decision = self.frame.policy.decide(changes[row]);
                if let (Some(bound), Decision::Write(operation)) = (self.frame.bound, decision) {
                    match bound.address(operation, known_id.is_some(), moved) {
                        Address::Key if claims && bound.claims_values() => {
                            self.claimed.value(candidates.images[row * width + match_index]);
                        }
                        Address::Key => {}
                        Address::Id => {
                            decision = Decision::Write(Operation::Update);
                            if let (Some(ids), Some(id)) = (&mut ids, known_id) {
                                self.claimed.id(id.as_str());
                                ids[row] = Some(id.as_str());
                            }
                        }
                        Address::Nobody => {
                            let reason = self.reason(match_value_changed(match_field));
                            self.set_aside(key, Outcome::Held, reason);
                            continue;
                        }
                    }
                }
                match decision {
                    // Nobody knows whether it was applied, and a second time would count twice.
                    Decision::Write(operation)
                        if changes[row] == Change::InDoubt
                            && !self.replayable(operation)
                            && self.frame.capability.lookup_rows.is_none()
                            && !candidates.priors[row].is_some_and(|p| self.frame.chosen.is_named(p.position)) =>
                    {
                        let fix = "look for the record at the destination; the library cannot tell whether it is there";
                        let reason = self.reason(Reason::new("fate_unknown", None, fix));
                        self.set_aside(key, Outcome::InDoubt, reason);
                    }
                    Decision::Write(operation) => {
                        operations[row] = operation;
                        kept.push(row as u32);
                    }
                    Decision::Skip(code) => {
                        let reason = self.reason(Reason::new(code, None, "nothing; the policy leaves such rows out"));
                        self.set_aside(key, Outcome::Skipped, reason);
                    }
                    Decision::Hold(code) => {
                        let fix =
                            "see why the destination has no record of this key; mend the model or make the record";
                        let reason = self.reason(Reason::new(code, None, fix));
                        self.set_aside(key, Outcome::Held, reason);
                    }
                }
            }
            let attempts = candidates.priors.iter().map(|prior| prior.map_or(0, |p| p.attempts)).collect();
            let mut work = Work {
                rows: candidates.rows,
                keys: candidates.keys,
                hashes: candidates.hashes,
                images: candidates.images,
                changes,
                operations,
                attempts,
                ids: ids.map(|ids| ids.into_iter().collect()),
                mapped: Vec::new(),
                before: keeps_before.then(|| befores.iter().map(|bytes| Some(bytes.as_slice())).collect()),
            };
            for (field, rows) in set_once.iter().zip(&set_before).filter(|(_, rows)| !rows.is_empty()) {
                let was = work.rows.presence(*field);
                let mut present: Vec<bool> = (0..n).map(|row| was.is_none_or(|bits| bits.value(row))).collect();
                rows.iter().for_each(|row| present[*row] = false);
                work.rows = work.rows.with_presence(*field, present.into());
            }
            for field in self.retired() {
                let present = (0..n).map(|row| changed[row * width + field]).collect();
                work.rows = work.rows.with_presence(field, present);
            }
            if work.ids.is_some() {
                work.mapped = presence_bytes(&work.rows);
            }
            if self.frame.capability.keeps_absent_fields && self.frame.policy.send_fields() == SendFields::Changed {
                work.rows = self.only_changed(&work, &changed, &forced);
            }
            if !adopted.is_empty() {
                self.adopted.push(work.take(&adopted)?);
            }
            if kept.len() == n {
                self.outgoing.push(&work, |row, field| changed[row * width + field])?;
            } else if !kept.is_empty() {
                self.outgoing.push(&work.take(&kept)?, |row, field| changed[kept[row] as usize * width + field])?;
            }
        }
        Ok(())
    }

    /// Whether rows may go by the ids of their records.
    fn goes_by_id(&self) -> bool {
        self.frame.bound.is_some_and(|bound| bound.by_id)
    }

    /// The ids of the records behind known keys, where rows go by them.
    async fn records(&self, mut positions: Vec<usize>) -> Result<HashMap<usize, RemoteId>> {
        if !self.goes_by_id() || positions.is_empty() {
            return Ok(HashMap::new());
        }
        positions.sort_unstable();
        let records = self.known.records(self.state, &positions).await?;
        let bound = |(position, record): (usize, BoundRecord)| Some((position, record.id?));
        Ok(positions.into_iter().zip(records).filter_map(bound).collect())
    }

    /// Whether it is time to send a row without a record again: it has changed, or its turn has come. Turns are spread
    /// over the keys, so that every run asks after an equal share.
    fn ask_again(&self, position: usize, hash: u64) -> bool {
        let every = u64::from(self.frame.policy.ask_again_every());
        let turn = |every| self.known.key(position) as u64 % every == self.known.counters.next_run % every;
        self.known.settled(position) != hash || (every > 0 && turn(every))
    }

    /// Whether a row in doubt may be sent as it is now: not if only the token of what was sent makes that safe.
    fn replayable(&self, operation: Operation) -> bool {
        let limits = self.frame.capability.limits(operation);
        !is_kept(operation, limits) && limits.is_some_and(|limits| limits.idempotence != WriteIdempotence::None)
    }

    /// The fields that are emptied where this sync wrote them.
    fn retired(&self) -> impl Iterator<Item = usize> + use<'a> {
        let fields = self.frame.fields.iter().enumerate();
        fields.filter(|(_, field)| field.retired).map(|(index, _)| index)
    }

    /// Marks fields of changed rows that did not change as absent, but for the field that a row is matched on. Rows that
    /// are `forced` keep all.
    fn only_changed(&self, work: &Work, changed: &[bool], forced: &[bool]) -> Rows {
        let width = self.schema.fields().len();
        let mut rows = work.rows.clone();
        for field in 0..width {
            let matches = field == self.frame.match_index;
            if matches && work.ids.is_none() {
                continue;
            }
            let present: BooleanBuffer = (0..rows.len())
                .map(|row| {
                    (work.changes[row] != Change::Changed
                        || forced[row]
                        || changed[row * width + field]
                        || (matches && !work.by_id(row)))
                        && rows.presence(field).is_none_or(|bits| bits.value(row))
                })
                .collect();
            rows = rows.with_presence(field, present);
        }
        rows
    }
}
