//! Reads a model once and works out what has to be written.

mod outgoing;
mod resolve;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::Array as _;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Field, Schema, SchemaRef};

use self::outgoing::{Outgoing, without};
pub(super) use self::outgoing::{change_index, content_hash, row_hash};
use super::bound::{BoundFrame, Claimed, Contested, bound_twice, match_value_taken};
use super::carried::{Carried, FoundCarried, is_kept};
use super::enforce::Enforced;
use super::exits::{ExitFrame, ExitPlanner, FoundExits, Marked, is_usable};
use super::options::Chosen;
use super::reasons::{Reason, Reasons};
use super::spool::{Spool, SpoolWriter, With, Work};
use crate::capability::{Capability, Operation};
use crate::error::Result;
use crate::field_policy::FieldPolicy;
use crate::guard::{Counts, FieldChange};
use crate::identity::{Fingerprints, KeyHasher};
use crate::ids::{ColumnName, FieldName, KeyHash};
use crate::mapping::{MappedField, Mapping};
use crate::model::Model;
use crate::outcome::Outcome;
use crate::policy::{Change, UpsertPolicy};
use crate::record::{FieldType, Rows};
use crate::source::Extracted;
use crate::state::codec::Status;
use crate::state::{Acknowledged, Prior, StateRead};

/// Rows whose stored images are fetched together, so that each block of the state is read once for many of them.
pub(super) const RESOLVE_ROWS: usize = 65_536;

/// What is the same for all rows of a plan.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) model: &'a Model,
    pub(crate) mapping: &'a dyn Mapping,
    pub(crate) fields: &'a [MappedField],
    pub(crate) policy: &'a dyn UpsertPolicy,
    pub(crate) fingerprints: Fingerprints,
    pub(crate) keys: KeyHasher,
    /// Hashes of the field that is matched on, where it is not the model's key itself.
    pub(crate) matched: Option<KeyHasher>,
    /// The field that is matched on, by its place in the mapping.
    pub(crate) match_index: usize,
    /// Where the key is not what records are matched on, how its binding to a record is used.
    pub(crate) bound: Option<BoundFrame>,
    pub(crate) capability: Capability,
    /// By whom the policy of each field is carried out.
    pub(crate) enforced: Vec<Enforced>,
    /// The image of a row that clears every field.
    pub(crate) cleared: Vec<u64>,
    /// What is done about rows that left the model; `None` for nothing.
    pub(crate) exits: Option<ExitFrame>,
    /// Known rows that are sent again although they have not changed.
    pub(crate) chosen: Chosen,
    /// The fields that a changed definition concerns.
    pub(crate) concerned: Vec<bool>,
    /// What the policy does with new rows.
    pub(crate) operation: Option<Operation>,
    /// What earlier runs began to send.
    pub(crate) carried: &'a Carried,
}

impl Frame<'_> {
    /// Whether every version of a row is an entry of its own.
    fn appends(&self) -> bool {
        self.operation == Some(Operation::Append)
    }

    /// Whether rows are kept until the destination has settled them.
    fn keeps(&self) -> bool {
        self.operation.is_some_and(|operation| is_kept(operation, self.capability.limits(operation)))
    }
}

/// What was seen of a known key in this read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Seen {
    Nothing,
    /// The model marks the row as gone.
    Marked,
    Unchanged,
    Parked,
    /// Set aside or to be written: counted where it is kept.
    Elsewhere,
    Duplicate,
}

/// A row that is not to be written.
#[derive(Clone, Copy, Debug)]
struct Aside {
    key: u128,
    outcome: Outcome,
    reason: u16,
}

/// Rows that may have to be written, before their stored images were fetched.
struct Candidates {
    rows: Rows,
    keys: Vec<u128>,
    hashes: Vec<u64>,
    images: Vec<u64>,
    priors: Vec<Option<Prior>>,
}

/// What a finished read found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) counts: Counts,
    pub(crate) field_changes: Vec<FieldChange>,
    /// Known rows of which a field changes that the changed definition concerns.
    pub(crate) concerned_rows: u64,
    pub(crate) reasons: Reasons,
    pub(crate) operations: Vec<(Operation, u64)>,
    pub(crate) spool: Spool,
    /// Rows on which a job of an earlier run works; `None` if there is no such job. They count as in doubt.
    pub(crate) adopted: Option<Work>,
    /// Keys and row hashes of rows that only have to be remembered.
    pub(crate) settled: Vec<(u128, u64)>,
    pub(crate) exits: FoundExits,
    pub(crate) carried: FoundCarried,
    pub(crate) hash: u64,
    /// Which of the known keys the model still has.
    pub(crate) live: BooleanBuffer,
}

impl Found {
    /// Takes the rows to be written away; others are to be put in their place.
    pub(crate) fn take_rows(&mut self) -> Result<Spool> {
        let none = SpoolWriter::new(&Arc::new(Schema::empty()), With::Nothing).finish()?;
        Ok(std::mem::replace(&mut self.spool, none))
    }
}

/// Takes a model batch by batch.
pub(crate) struct Builder<'a> {
    frame: &'a Frame<'a>,
    known: &'a Acknowledged,
    state: &'a dyn StateRead,
    schema: SchemaRef,
    used: Vec<ColumnName>,
    source_rows: u64,
    merged: u64,
    null_keys: u64,
    seen: Vec<Seen>,
    fresh: Vec<u128>,
    /// New keys that the model marks as gone: nothing was ever written for them.
    marked_fresh: Vec<u128>,
    marked: Marked,
    /// Keys that came more than once, with the copies beyond the first.
    repeated: HashMap<u128, u64>,
    /// Value that is matched on, and key, where they differ.
    matches: Vec<(u128, u128)>,
    claimed: Claimed,
    aside: Vec<Aside>,
    reasons: Vec<Reason>,
    reason_ids: HashMap<Reason, u16>,
    candidates: Vec<Candidates>,
    candidate_rows: usize,
    outgoing: Outgoing<'a>,
    /// Keys on which a job works, with its operation.
    jobs: HashMap<u128, Operation>,
    adopted: Vec<Work>,
    settled: Vec<(u128, u64)>,
    /// Keys whose row is what an earlier run began to send, with that entry.
    tied: Vec<(u128, usize, Change)>,
    /// Images that rows in doubt were sent with, one after the other; only where they are asked for.
    doubtful: HashMap<u128, Vec<u64>>,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(frame: &'a Frame<'a>, known: &'a Acknowledged, state: &'a dyn StateRead) -> Self {
        let schema: SchemaRef = Arc::new(Schema::new(
            frame
                .fields
                .iter()
                .map(|field| Field::new(field.name.as_str(), field.ty.arrow(), true))
                .collect::<Vec<_>>(),
        ));
        let mut used = frame.mapping.columns();
        used.extend(frame.model.columns().cloned());
        used.extend(frame.exits.iter().filter_map(|exits| exits.when().cloned()));
        Self {
            outgoing: Outgoing::new(&schema, frame),
            frame,
            known,
            state,
            schema,
            used,
            source_rows: 0,
            merged: 0,
            null_keys: 0,
            seen: vec![Seen::Nothing; known.len()],
            fresh: Vec::new(),
            marked_fresh: Vec::new(),
            marked: Marked::default(),
            repeated: HashMap::new(),
            matches: Vec::new(),
            claimed: Claimed::default(),
            aside: Vec::new(),
            reasons: Vec::new(),
            reason_ids: HashMap::new(),
            candidates: Vec::new(),
            candidate_rows: 0,
            // Rows that are kept are sent again as they were, under their tokens: no job needs to be found.
            jobs: if frame.keeps() { HashMap::new() } else { known.rows_of_jobs() },
            adopted: Vec::new(),
            settled: Vec::new(),
            tied: Vec::new(),
            doubtful: HashMap::new(),
        }
    }

    /// Looks up what rows in doubt were sent with, where fields are compared with what this sync wrote.
    pub(crate) async fn load_doubtful(&mut self) -> Result<()> {
        if self.frame.enforced.contains(&Enforced::ByReading(FieldPolicy::CompareAndSet)) {
            let names: Vec<FieldName> = self.frame.fields.iter().map(|field| field.name.clone()).collect();
            self.doubtful = self.known.doubtful(self.state, &names).await?;
        }
        Ok(())
    }

    /// Takes one batch.
    pub(crate) async fn add(&mut self, extracted: &Extracted) -> Result<()> {
        let batch = &extracted.batch;
        let n = batch.num_rows();
        self.source_rows += n as u64;
        let keys = self.frame.keys.hash(batch)?;
        let mapped = self.frame.mapping.apply(batch)?;
        let invalid = self.invalid_rows(extracted, &mapped)?;
        let hashes = self.frame.fingerprints.rows(&mapped.rows);
        let marked = self.frame.exits.as_ref().map(|exits| exits.marked(extracted)).transpose()?.flatten();
        let is_marked = |row: usize| marked.as_ref().is_some_and(|marked| marked.value(row));
        // Many entries may be of one record.
        let matched = self.frame.matched.as_ref().filter(|_| !self.frame.appends());
        let matched = matched.map(|matched| matched.hash_field(&mapped.rows, self.frame.match_index));
        if let Some(matched) = &matched {
            let pairs = (0..n).filter(|row| !is_marked(*row)).filter_map(|row| Some((matched[row]?.0, keys[row]?.0)));
            self.matches.extend(pairs);
        }
        let (mut gone, mut gone_positions) = (Vec::new(), Vec::new());
        let mut selected: Vec<u32> = Vec::new();
        let mut priors = Vec::new();
        let found = self.known.find_all(&keys);
        for row in 0..n {
            let Some(key) = keys[row] else {
                self.null_keys += 1;
                continue;
            };
            let position = match found[row] {
                None => {
                    self.fresh.push(key.0);
                    if is_marked(row) {
                        self.marked_fresh.push(key.0);
                        continue;
                    }
                    None
                }
                Some((position, settled)) => {
                    let seen = &mut self.seen[position];
                    if *seen != Seen::Nothing {
                        *seen = Seen::Duplicate;
                        *self.repeated.entry(key.0).or_default() += 1;
                        continue;
                    }
                    if is_marked(row) {
                        *seen = Seen::Marked;
                        gone.push(row as u32);
                        gone_positions.push(position);
                        continue;
                    }
                    let chosen = self.frame.chosen.has(self.known, position);
                    *seen = if settled != hashes[row] || chosen || invalid.contains_key(&row) {
                        Seen::Elsewhere
                    } else {
                        match self.known.status(position) {
                            Status::Synced => Seen::Unchanged,
                            Status::Rejected => Seen::Parked,
                            _ => Seen::Elsewhere,
                        }
                    };
                    if *seen != Seen::Elsewhere {
                        continue;
                    }
                    Some(position)
                }
            };
            match invalid.get(&row) {
                Some(reason) => self.set_aside(key.0, Outcome::Invalid, *reason),
                None => {
                    selected.push(row as u32);
                    priors.push(position.map(|position| self.known.prior(position)));
                }
            }
        }
        if !gone.is_empty() {
            let hashes = gone.iter().map(|row| matched.as_ref()?[*row as usize]).collect();
            self.marked.add(&gone_positions, &mapped.rows.take(&gone.into())?, self.frame.match_index, hashes);
        }
        if selected.is_empty() {
            return Ok(());
        }
        let rows = mapped.rows.take(&selected.clone().into())?;
        self.candidate_rows += selected.len();
        self.candidates.push(Candidates {
            images: self.frame.fingerprints.fields(&rows),
            rows,
            keys: selected.iter().filter_map(|row| keys[*row as usize]).map(|key| key.0).collect(),
            hashes: selected.iter().map(|row| hashes[*row as usize]).collect(),
            priors,
        });
        if self.candidate_rows >= RESOLVE_ROWS {
            self.resolve().await?;
        }
        Ok(())
    }

    /// Counts rows that became part of others.
    pub(super) fn fold_away(&mut self, rows: u64) {
        self.source_rows += rows;
        self.merged += rows;
    }

    fn set_aside(&mut self, key: u128, outcome: Outcome, reason: u16) {
        self.aside.push(Aside { key, outcome, reason });
    }

    fn reason(&mut self, reason: Reason) -> u16 {
        if let Some(id) = self.reason_ids.get(&reason) {
            return *id;
        }
        // Reasons are pairs of a constant code and a column, so there are few.
        let id = self.reasons.len() as u16;
        self.reasons.push(reason.clone());
        self.reason_ids.insert(reason, id);
        id
    }

    /// Rows that cannot be sent, each with its first reason.
    fn invalid_rows(&mut self, extracted: &Extracted, mapped: &crate::mapping::Mapped) -> Result<HashMap<usize, u16>> {
        let mut invalid = HashMap::new();
        for fault in &extracted.faults {
            if self.used.contains(&fault.column) {
                let reason = self.reason(Reason::new(
                    fault.code,
                    Some(fault.column.to_string()),
                    "the source holds a value that Arrow cannot represent; convert it in the query",
                ));
                invalid.entry(fault.row).or_insert(reason);
            }
        }
        for breach in self.frame.model.breaches(&extracted.batch)? {
            let reason = self.reason(Reason::new(
                breach.code,
                Some(breach.column.to_string()),
                "the row breaks the model's contract; mend the model or the contract",
            ));
            invalid.entry(breach.row).or_insert(reason);
        }
        for reject in &mapped.rejects {
            let name = reject.column.as_ref().map_or_else(|| reject.field.to_string(), ColumnName::to_string);
            let reason = self.reason(Reason::new(
                reject.code,
                Some(name),
                "the value has no exact equal in the field's type; clean it in the query, or say blank_as_null(), \
                 trim(), round() or another type in the mapping",
            ));
            invalid.entry(reject.row).or_insert(reason);
        }
        let (index, column) = (self.frame.match_index, mapped.rows.batch().column(self.frame.match_index));
        // A column without nulls that is no text needs no look at each row.
        let all_usable = !matches!(self.frame.fields[index].ty, FieldType::Text)
            && column.null_count() == 0
            && mapped.rows.presence(index).is_none();
        let field = mapped.rows.column(index);
        for row in 0..if all_usable { 0 } else { mapped.rows.len() } {
            if !is_usable(field, row) && !invalid.contains_key(&row) {
                let name = self.frame.fields[self.frame.match_index].name.to_string();
                let reason = self.reason(Reason::new(
                    "match_value_missing",
                    Some(name),
                    "the field that records are matched on is null or blank; fill it in the model",
                ));
                invalid.insert(row, reason);
            }
        }
        Ok(invalid)
    }

    /// Ends the read. Rows with a key that another row has too, or that would be matched to the same record as
    /// another row, are taken out.
    pub(crate) async fn finish(mut self) -> Result<Found> {
        self.resolve().await?;
        let colliding = self.take_out_repeated_keys();
        planted!(DupKeyLastWins => self.repeated.clear());
        let key_columns = self.key_columns();
        let contested = self.contested().await?;
        let out = |key: &u128| self.repeated.contains_key(key) || colliding.contains_key(key);
        let mut outgoing = self.outgoing;
        let mut waiting = Vec::new();
        if !self.repeated.is_empty() || !colliding.is_empty() || !contested.is_empty() {
            let match_index = self.frame.match_index;
            let mut is_out = |work: &Work, row: usize| {
                let key = work.keys[row];
                let taken = match work.id(row) {
                    Some(id) => contested.has_id(id),
                    None => contested.has_value(work.images[row * work.width() + match_index]),
                };
                if taken && !out(&key) {
                    waiting.push((key, work.by_id(row)));
                }
                taken || out(&key)
            };
            outgoing = without(outgoing, &self.schema, self.frame, (self.known, self.state), &mut is_out).await?;
        }
        self.tied.retain(|(key, ..)| !out(key));
        self.tied.iter().for_each(|(.., change)| outgoing.count(*change, true));
        let carried = self.frame.carried.found(self.known, &self.tied.iter().map(|(_, entry, _)| *entry).collect());
        let spool = outgoing.spool.finish()?;
        let mut adopted = None;
        if !self.known.jobs.is_empty() {
            self.adopted.insert(0, Work::empty(&self.schema)?);
            let work = Work::concat(&self.adopted)?;
            let kept: Vec<u32> = (0..work.len() as u32).filter(|row| !out(&work.keys[*row as usize])).collect();
            adopted = Some(work.take(&kept)?);
        }
        let planner = ExitPlanner {
            frame: self.frame.exits.as_ref(),
            known: self.known,
            state: self.state,
            schema: &self.schema,
            fingerprints: &self.frame.fingerprints,
            seen: &self.seen,
            matches: &self.matches,
            chosen: &self.frame.chosen,
            jobs: &self.jobs,
        };
        let exits = planner.plan(std::mem::take(&mut self.marked)).await?;

        let (source_rows, merged, null_keys) = (self.source_rows, self.merged, self.null_keys);
        let mut counts = Counts { source_rows, merged, null_keys, ..Counts::default() };
        let mut reasons = Reasons::default();
        counts.duplicates = self.repeated.values().map(|copies| copies + 1).sum();
        if counts.null_keys > 0 {
            let reason = Reason::new("key_null", Some(key_columns.clone()), "give every row of the model a key");
            reasons.add_many(Outcome::Invalid, &reason, counts.null_keys, None);
        }
        let duplicate = Reason::new("key_duplicated", Some(key_columns), "make the key unique in the model");
        let mut repeated: Vec<(&u128, &u64)> = self.repeated.iter().collect();
        repeated.sort_unstable();
        for (key, copies) in repeated {
            reasons.add_many(Outcome::Invalid, &duplicate, copies + 1, Some(KeyHash(*key)));
        }
        for aside in self.aside.iter().filter(|aside| !out(&aside.key)) {
            reasons.add(aside.outcome, &self.reasons[usize::from(aside.reason)], Some(KeyHash(aside.key)));
            match aside.outcome {
                Outcome::Skipped => counts.skipped += 1,
                Outcome::InDoubt => counts.unresolved += 1,
                Outcome::Held => counts.held += 1,
                _ => counts.invalid += 1,
            }
        }
        let match_field = &self.frame.fields[self.frame.match_index].name;
        for (key, by_id) in waiting {
            let (outcome, reason, count) = match by_id {
                true => (Outcome::Held, bound_twice(), &mut counts.held),
                false => (Outcome::Deferred, match_value_taken(match_field), &mut counts.deferred),
            };
            reasons.add(outcome, &reason, Some(KeyHash(key)));
            *count += 1;
        }
        let collision = Reason::new(
            "match_value_shared",
            Some(match_field.to_string()),
            "several rows of the model would be written to one record; match on a field that tells them apart",
        );
        let mut colliding_keys: Vec<&u128> = colliding.keys().filter(|key| !self.repeated.contains_key(key)).collect();
        colliding_keys.sort_unstable();
        for key in colliding_keys {
            reasons.add(Outcome::Invalid, &collision, Some(KeyHash(*key)));
            counts.invalid += 1;
        }
        let parked = Reason::new(
            "parked",
            None,
            "the destination refused this row before and the row has not changed; mend the row or the mapping",
        );
        for (position, seen) in self.seen.iter().enumerate() {
            let key = || self.known.key(position);
            match seen {
                Seen::Marked => counts.marked += 1,
                Seen::Unchanged if !out(&key()) => counts.unchanged += 1,
                Seen::Parked if !out(&key()) => {
                    counts.skipped += 1;
                    reasons.add(Outcome::Skipped, &parked, Some(KeyHash(key())));
                }
                _ => {}
            }
        }
        self.settled.retain(|(key, _)| !self.repeated.contains_key(key) && !colliding.contains_key(key));
        [counts.new, counts.changed, counts.in_doubt, counts.resent] = outgoing.changes;
        counts.marked += self.marked_fresh.iter().filter(|key| !self.repeated.contains_key(key)).count() as u64;
        counts.distinct = counts.source_rows - counts.null_keys - counts.duplicates - counts.merged - counts.marked;
        (counts.gone, counts.exits) = (exits.gone, exits.spool.rows());
        counts.carried = carried.rows;
        for (operation, rows) in &carried.operations {
            *outgoing.operations.entry(*operation).or_default() += rows;
        }
        let mut operations: Vec<(Operation, u64)> = outgoing.operations.into_iter().collect();
        operations.sort_unstable();
        let field_changes = self
            .frame
            .fields
            .iter()
            .zip(outgoing.field_changes)
            .map(|(field, rows)| FieldChange { field: FieldName::clone(&field.name), rows })
            .collect();
        let mut hash = outgoing.hash.wrapping_add(exits.hash).wrapping_add(carried.hash);
        if let Some(work) = &adopted {
            counts.in_doubt += work.len() as u64;
            hash = (0..work.len()).fold(hash, |hash, row| hash.wrapping_add(content_hash(work, row)));
        }
        let live = self.seen.iter().map(|seen| !matches!(seen, Seen::Nothing | Seen::Marked)).collect();
        let (settled, concerned_rows) = (self.settled, outgoing.concerned_rows);
        Ok(Found {
            counts,
            field_changes,
            concerned_rows,
            reasons,
            operations,
            spool,
            adopted,
            settled,
            exits,
            carried,
            hash,
            live,
        })
    }

    /// Records and values that rows are to be written to and that other rows of the model have.
    async fn contested(&mut self) -> Result<Contested> {
        let match_index = self.frame.match_index;
        let match_field = &self.frame.fields[match_index].name;
        let claimed = std::mem::take(&mut self.claimed);
        claimed.contested(self.known, self.state, &self.seen, match_field, match_index).await
    }

    fn key_columns(&self) -> String {
        let columns: Vec<&str> = self.frame.model.key_columns().iter().map(ColumnName::as_str).collect();
        columns.join(", ")
    }

    /// Completes `repeated` with new keys, and returns keys of rows that share their record with another row.
    fn take_out_repeated_keys(&mut self) -> HashMap<u128, ()> {
        self.fresh.sort_unstable();
        for run in self.fresh.chunk_by(|a, b| a == b).filter(|run| run.len() > 1) {
            self.repeated.insert(run[0], run.len() as u64 - 1);
        }
        self.fresh = Vec::new();
        self.matches.sort_unstable();
        let mut colliding = HashMap::new();
        for run in self.matches.chunk_by(|a, b| a.0 == b.0) {
            if run.iter().any(|(_, key)| *key != run[0].1) {
                colliding.extend(run.iter().map(|(_, key)| (*key, ())));
            }
        }
        colliding
    }
}
