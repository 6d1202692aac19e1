//! Reads a model once and works out what has to be written.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::Array as _;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Field, Schema, SchemaRef};
use xxhash_rust::xxh3::xxh3_64;

use super::exits::{ExitFrame, ExitPlanner, FoundExits, Marked, is_usable};
use super::reasons::{Reason, Reasons};
use super::spool::{Spool, SpoolWriter, Work};
use crate::capability::{Capability, Operation, WriteIdempotence};
use crate::error::Result;
use crate::guard::{Counts, FieldChange};
use crate::identity::{Fingerprints, KeyHasher};
use crate::ids::{ColumnName, FieldName, KeyHash};
use crate::mapping::{MappedField, Mapping};
use crate::model::Model;
use crate::outcome::Outcome;
use crate::policy::{Change, Decision, SendFields, UpsertPolicy};
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
    pub(crate) capability: Capability,
    /// What is done about rows that left the model; `None` for nothing.
    pub(crate) exits: Option<ExitFrame>,
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
    pub(crate) reasons: Reasons,
    pub(crate) operations: Vec<(Operation, u64)>,
    pub(crate) spool: Spool,
    /// Keys and row hashes of rows that only have to be remembered.
    pub(crate) settled: Vec<(u128, u64)>,
    pub(crate) exits: FoundExits,
    pub(crate) hash: u64,
}

/// A hash of what is done about one row.
pub(super) fn content_hash(work: &Work, row: usize) -> u64 {
    let mut line = [0; 25];
    line[..16].copy_from_slice(&work.keys[row].to_le_bytes());
    line[16..24].copy_from_slice(&work.hashes[row].to_le_bytes());
    line[24] = work.operations[row] as u8;
    xxh3_64(&line)
}

/// Rows to be written, and what is counted of them.
struct Outbox {
    spool: SpoolWriter,
    /// New, changed, in doubt.
    changes: [u64; 3],
    field_changes: Vec<u64>,
    operations: HashMap<Operation, u64>,
    hash: u64,
}

impl Outbox {
    fn new(schema: &SchemaRef) -> Result<Self> {
        let field_changes = vec![0; schema.fields().len()];
        Ok(Self {
            spool: SpoolWriter::new(schema, false)?,
            changes: [0; 3],
            field_changes,
            operations: HashMap::new(),
            hash: 0,
        })
    }

    fn push(&mut self, work: &Work, changed: impl Fn(usize, usize) -> bool) -> Result<()> {
        for row in 0..work.len() {
            self.changes[match work.changes[row] {
                Change::Changed => 1,
                Change::InDoubt => 2,
                Change::New | Change::Missing | Change::Exists => 0,
            }] += 1;
            *self.operations.entry(work.operations[row]).or_default() += 1;
            if work.changes[row] == Change::Changed {
                for (field, count) in self.field_changes.iter_mut().enumerate() {
                    *count += u64::from(changed(row, field));
                }
            }
            // A sum, so that the order in which a source happens to deliver rows does not matter.
            self.hash = self.hash.wrapping_add(content_hash(work, row));
        }
        self.spool.push(work)
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
    aside: Vec<Aside>,
    reasons: Vec<Reason>,
    reason_ids: HashMap<Reason, u16>,
    candidates: Vec<Candidates>,
    candidate_rows: usize,
    outbox: Outbox,
    settled: Vec<(u128, u64)>,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(frame: &'a Frame<'a>, known: &'a Acknowledged, state: &'a dyn StateRead) -> Result<Self> {
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
        Ok(Self {
            outbox: Outbox::new(&schema)?,
            frame,
            known,
            state,
            schema,
            used,
            source_rows: 0,
            null_keys: 0,
            seen: vec![Seen::Nothing; known.len()],
            fresh: Vec::new(),
            marked_fresh: Vec::new(),
            marked: Marked::default(),
            repeated: HashMap::new(),
            matches: Vec::new(),
            aside: Vec::new(),
            reasons: Vec::new(),
            reason_ids: HashMap::new(),
            candidates: Vec::new(),
            candidate_rows: 0,
            settled: Vec::new(),
        })
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
        let matched = self.frame.matched.as_ref();
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
                    *seen = if settled != hashes[row] || invalid.contains_key(&row) {
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

    /// Compares candidates with their stored images and spools those that have to be written.
    async fn resolve(&mut self) -> Result<()> {
        let candidates = std::mem::take(&mut self.candidates);
        self.candidate_rows = 0;
        let positions: Vec<usize> =
            candidates.iter().flat_map(|c| &c.priors).filter_map(|prior| Some(prior.as_ref()?.position)).collect();
        let stored = self.known.images(self.state, &positions).await?;
        let width = self.schema.fields().len();
        let mut stored = stored.chunks_exact(width);
        for mut candidates in candidates {
            let n = candidates.keys.len();
            let mut changed = vec![true; n * width];
            let mut changes = vec![Change::New; n];
            let mut operations = vec![Operation::Upsert; n];
            let mut kept: Vec<u32> = Vec::with_capacity(n);
            for row in 0..n {
                let key = candidates.keys[row];
                if let Some(prior) = candidates.priors[row] {
                    let before = stored.next().unwrap_or_default();
                    let in_doubt = prior.status.is_in_doubt();
                    let image = &mut candidates.images[row * width..(row + 1) * width];
                    let mut any = false;
                    for (field, (new, old)) in image.iter_mut().zip(before).enumerate() {
                        let differs = *new != 0 && new != old;
                        changed[row * width + field] = differs;
                        any |= differs;
                        // What was sent with unknown fate may have replaced what was acknowledged before, and some
                        // destinations empty what a row leaves out. A field that is not sent now is then not known
                        // any more.
                        if *new == 0 && !in_doubt && self.frame.capability.keeps_absent_fields {
                            *new = *old;
                        }
                    }
                    changes[row] = match (prior.status, prior.acknowledged) {
                        (Status::InDoubt | Status::Leaving, _) => Change::InDoubt,
                        (Status::Exists, _) => Change::Exists,
                        (Status::Missing, _) if !self.ask_again(prior.position, candidates.hashes[row]) => {
                            Change::Missing
                        }
                        (_, false) => Change::New,
                        (_, true) => Change::Changed,
                    };
                    if changes[row] == Change::Changed && !any {
                        self.settled.push((key, candidates.hashes[row]));
                        self.seen[prior.position] = Seen::Unchanged;
                        continue;
                    }
                }
                match self.frame.policy.decide(changes[row]) {
                    // Nobody knows whether it was applied, and a second time would count twice.
                    Decision::Write(operation) if changes[row] == Change::InDoubt && !self.replayable(operation) => {
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
                ids: None,
            };
            if self.frame.capability.keeps_absent_fields && self.frame.policy.send_fields() == SendFields::Changed {
                work.rows = self.only_changed(work.rows, &work.changes, &changed);
            }
            if kept.len() == n {
                self.outbox.push(&work, |row, field| changed[row * width + field])?;
            } else if !kept.is_empty() {
                self.outbox.push(&work.take(&kept)?, |row, field| changed[kept[row] as usize * width + field])?;
            }
        }
        Ok(())
    }

    /// Whether it is time to send a row without a record again: it has changed, or its turn has come. Turns are spread
    /// over the keys, so that every run asks after an equal share.
    fn ask_again(&self, position: usize, hash: u64) -> bool {
        let every = u64::from(self.frame.policy.ask_again_every());
        let turn = |every| self.known.key(position) as u64 % every == self.known.counters.next_run % every;
        self.known.settled(position) != hash || (every > 0 && turn(every))
    }

    fn replayable(&self, operation: Operation) -> bool {
        let limits = self.frame.capability.limits(operation);
        limits.is_some_and(|limits| limits.idempotence != WriteIdempotence::None)
    }

    /// Marks fields of changed rows that did not change as absent, but for the field that is matched on.
    fn only_changed(&self, mut rows: Rows, changes: &[Change], changed: &[bool]) -> Rows {
        let width = self.schema.fields().len();
        for field in (0..width).filter(|field| *field != self.frame.match_index) {
            let present: BooleanBuffer = (0..rows.len())
                .map(|row| {
                    (changes[row] != Change::Changed || changed[row * width + field])
                        && rows.presence(field).is_none_or(|bits| bits.value(row))
                })
                .collect();
            rows = rows.with_presence(field, present);
        }
        rows
    }

    /// Ends the read. Rows with a key that another row has too, or that would be matched to the same record as
    /// another row, are taken out.
    pub(crate) async fn finish(mut self) -> Result<Found> {
        self.resolve().await?;
        let colliding = self.take_out_repeated_keys();
        planted!(DupKeyLastWins => self.repeated.clear());
        let key_columns = self.key_columns();
        let out = |key: &u128| self.repeated.contains_key(key) || colliding.contains_key(key);
        let mut outbox = self.outbox;
        if !self.repeated.is_empty() || !colliding.is_empty() {
            outbox = without(outbox, &self.schema, self.known, self.state, &out).await?;
        }
        let spool = outbox.spool.finish()?;
        let planner = ExitPlanner {
            frame: self.frame.exits.as_ref(),
            known: self.known,
            state: self.state,
            schema: &self.schema,
            fingerprints: &self.frame.fingerprints,
            seen: &self.seen,
            matches: &self.matches,
        };
        let exits = planner.plan(std::mem::take(&mut self.marked)).await?;

        let mut counts = Counts { source_rows: self.source_rows, null_keys: self.null_keys, ..Counts::default() };
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
                _ => counts.invalid += 1,
            }
        }
        let match_field = self.frame.fields[self.frame.match_index].name.to_string();
        let collision = Reason::new(
            "match_value_shared",
            Some(match_field),
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
        [counts.new, counts.changed, counts.in_doubt] = outbox.changes;
        counts.marked += self.marked_fresh.iter().filter(|key| !self.repeated.contains_key(key)).count() as u64;
        counts.distinct = counts.source_rows - counts.null_keys - counts.duplicates - counts.marked;
        (counts.gone, counts.exits) = (exits.gone, exits.spool.rows());
        let mut operations: Vec<(Operation, u64)> = outbox.operations.into_iter().collect();
        operations.sort_unstable();
        let field_changes = self
            .frame
            .fields
            .iter()
            .zip(outbox.field_changes)
            .map(|(field, rows)| FieldChange { field: FieldName::clone(&field.name), rows })
            .collect();
        let hash = outbox.hash.wrapping_add(exits.hash);
        Ok(Found { counts, field_changes, reasons, operations, spool, settled: self.settled, exits, hash })
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

/// The same rows but those that are `out`, counted anew.
async fn without(
    outbox: Outbox,
    schema: &SchemaRef,
    known: &Acknowledged,
    state: &dyn StateRead,
    out: &impl Fn(&u128) -> bool,
) -> Result<Outbox> {
    let mut kept = Outbox::new(schema)?;
    for work in outbox.spool.finish()?.read()? {
        let work = work?;
        let rows: Vec<u32> = (0..work.len() as u32).filter(|row| !out(&work.keys[*row as usize])).collect();
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
                changed[row * width + field] = new != 0 && new != *old;
            }
        }
        kept.push(&work, |row, field| changed[row * width + field])?;
    }
    Ok(kept)
}
