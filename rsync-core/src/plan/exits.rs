//! What is to be done about records whose rows left the model.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute;
use arrow::datatypes::{DataType, SchemaRef};

use super::builder::{RESOLVE_ROWS, Seen, content_hash};
use super::options::Chosen;
use super::reasons::{Reason, Reasons};
use super::spool::{Spool, SpoolWriter, With, Work};
use crate::capability::{Capability, Operation, WriteIdempotence};
use crate::destination::RemoteSchema;
use crate::error::{Error, Kind, Problem, Result};
use crate::exit::{Exit, Exits, Scope};
use crate::field_policy::FieldPolicy;
use crate::identity::Fingerprints;
use crate::ids::{ColumnName, KeyHash, RemoteId};
use crate::mapping::MappedField;
use crate::model::column;
use crate::outcome::Outcome;
use crate::policy::Change;
use crate::record::{Cell, Column, Rows, Value};
use crate::source::Extracted;
use crate::state::codec::Status;
use crate::state::{Acknowledged, BoundRecord, StateRead};

/// What is the same for all exits of a plan.
#[derive(Debug)]
pub(crate) struct ExitFrame {
    exits: Exits,
    /// What is sent for a key whose record id is known.
    by_id: Option<Operation>,
    /// What is sent for a key whose value is known.
    by_key: Option<Operation>,
    /// Stands where the hash of a row stands in the state, once the exit is done or was refused.
    hash: u64,
    /// The fields that an exit sets, one row; others are null.
    sets: Vec<Option<ArrayRef>>,
    /// The fields that an exit may empty.
    clears: Vec<bool>,
    match_index: usize,
    /// Whether records are matched by another field than the model's key, so that two keys may have had one record.
    shares: bool,
    capability: Capability,
}

impl ExitFrame {
    /// Checks `exits` against the mapping and the destination.
    ///
    /// # Errors
    ///
    /// [`Kind::Unsupported`] with all problems at once.
    pub(crate) fn new(
        exits: &Exits,
        fields: &[MappedField],
        match_index: usize,
        shares: bool,
        remote: &RemoteSchema,
        capability: &Capability,
        fingerprints: &Fingerprints,
    ) -> Result<Self> {
        let mut problems = Vec::new();
        let mut problem = |at: &str, cause: String, fix: &str| problems.push(Problem::new(at, cause, fix));
        let main = match exits.exit {
            Exit::Delete => Operation::Delete,
            Exit::RemoveFromAudience => Operation::RemoveMember,
            Exit::Clear | Exit::Tombstone { .. } => Operation::Update,
        };
        let addressing = capability.limits(main).map(|limits| limits.addressing);
        let by_id = addressing.filter(|addressing| addressing.takes_ids()).map(|_| main);
        let mut by_key = addressing.filter(|addressing| addressing.takes_keys()).map(|_| main);
        if main == Operation::Update && by_key.is_none() {
            by_key = capability.upsert.map(|_| Operation::Upsert);
        }
        match (by_id, by_key) {
            (None, None) => {
                let cause = format!("the destination has no {} for this object", main.as_str());
                problem("exits", cause, "choose another exit, or none");
            }
            (None, Some(_)) if exits.when.is_none() => problem(
                "exits",
                "the destination finds records by key only, and nothing keeps the keys of rows that the model no longer has".into(),
                "let the model keep such rows and mark them, and name the column: Exits::when(\"deleted_at\")",
            ),
            _ => {}
        }
        let (mut sets, mut clears) = (vec![None; fields.len()], vec![false; fields.len()]);
        match &exits.exit {
            Exit::Delete | Exit::RemoveFromAudience => {}
            Exit::Clear => {
                for (index, field) in fields.iter().enumerate() {
                    let clearable = remote.field(field.name.as_str()).is_none_or(|remote| remote.clearable);
                    clears[index] = index != match_index && clearable && field.policy == FieldPolicy::Overwrite;
                }
                if !capability.clears_fields || !clears.contains(&true) {
                    problem("exits", "the destination cannot empty the mapped fields".into(), "choose another exit");
                }
            }
            Exit::Tombstone { field, value } => match fields.iter().position(|mapped| mapped.name == *field) {
                None => problem(
                    "exits.tombstone",
                    format!("the field \"{field}\" is not mapped, so a row that comes back would keep the mark"),
                    "map it, to a column or to a constant: FieldRule::constant(false, field)",
                ),
                Some(index) if index == match_index => {
                    problem("exits.tombstone", format!("records are matched on \"{field}\""), "mark another field");
                }
                Some(index) if fields[index].policy != FieldPolicy::Overwrite => {
                    let cause =
                        format!("\"{field}\" is {}, and a mark must replace what is there", fields[index].policy);
                    problem("exits.tombstone", cause, "mark a field that is overwritten");
                }
                Some(index) => {
                    sets[index] = value.as_type(fields[index].ty);
                    if sets[index].is_none() {
                        let cause = format!("the value has no equal in the type of \"{field}\", {}", fields[index].ty);
                        problem("exits.tombstone", cause, "give a value of the mapped type");
                    }
                }
            },
        }
        if main == Operation::Update && !capability.keeps_absent_fields {
            problem(
                "exits",
                "the destination does not promise to keep fields that a row leaves out, so an exit may empty them"
                    .into(),
                "choose Exit::Delete, or none",
            );
        }
        Error::from_problems(Kind::Unsupported, "check the exits", problems)?;
        let mut frame = Self {
            exits: exits.clone(),
            by_id,
            by_key,
            hash: 0,
            sets,
            clears,
            match_index,
            shares,
            capability: *capability,
        };
        frame.hash = fingerprints.exit(&match &exits.exit {
            Exit::Clear => "clear".to_owned(),
            Exit::Delete => "delete".to_owned(),
            Exit::RemoveFromAudience => "remove from audience".to_owned(),
            Exit::Tombstone { field, value } => format!("tombstone {field} {value:?}"),
        });
        Ok(frame)
    }

    /// The column that marks rows as gone.
    pub(super) fn when(&self) -> Option<&ColumnName> {
        self.exits.when.as_ref()
    }

    /// Mapped fields that an exit should empty and cannot, or that are not ours to empty.
    pub(crate) fn left_as_they_are<'f>(&self, fields: &'f [MappedField]) -> Vec<&'f MappedField> {
        let kept = |(index, _): &(usize, &MappedField)| *index != self.match_index && !self.clears[*index];
        let fields = fields.iter().enumerate().filter(|_| self.exits.exit == Exit::Clear);
        fields.filter(kept).map(|(_, field)| field).collect()
    }

    /// The rows that the model marks as gone; `None` if it marks none. A mark that cannot be read is none.
    pub(super) fn marked(&self, extracted: &Extracted) -> Result<Option<BooleanBuffer>> {
        let Some(name) = &self.exits.when else { return Ok(None) };
        let marks = column(&extracted.batch, name)?;
        let bits: BooleanBuffer = match marks.data_type() {
            DataType::Boolean => marks.as_boolean().iter().map(|mark| mark == Some(true)).collect(),
            _ => {
                let nulls = marks.logical_nulls();
                (0..marks.len()).map(|row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))).collect()
            }
        };
        let unread: HashSet<usize> =
            extracted.faults.iter().filter(|fault| fault.column == *name).map(|fault| fault.row).collect();
        Ok(Some(match unread.is_empty() {
            true => bits,
            false => (0..bits.len()).map(|row| bits.value(row) && !unread.contains(&row)).collect(),
        }))
    }

    /// Whether the exit of the key at `position` is still to be done, or was refused.
    fn is_open(&self, known: &Acknowledged, position: usize) -> bool {
        let done = known.status(position) == Status::Synced && known.settled(position) == self.hash;
        known.prior(position).may_exist() && !done
    }

    fn replayable(&self, operation: Operation) -> bool {
        self.capability.limits(operation).is_some_and(|limits| limits.idempotence != WriteIdempotence::None)
    }
}

/// Known keys that the model marks as gone, with the values to match on.
#[derive(Debug, Default)]
pub(super) struct Marked {
    /// Position of the key, and where its value is.
    values: HashMap<usize, u32>,
    pieces: Vec<ArrayRef>,
    /// Hashes of the values, where records are matched by another field than the key.
    hashes: Vec<Option<u128>>,
    len: u32,
}

impl Marked {
    /// Takes the keys at `positions`, of the same rows as `rows`.
    pub(super) fn add(&mut self, positions: &[usize], rows: &Rows, match_index: usize, hashes: Vec<Option<KeyHash>>) {
        for (row, position) in positions.iter().enumerate() {
            if is_usable(rows.column(match_index), row) {
                self.values.insert(*position, self.len + row as u32);
            }
        }
        self.pieces.push(Arc::clone(rows.batch().column(match_index)));
        self.hashes.extend(hashes.into_iter().map(|hash| hash.map(|hash| hash.0)));
        self.len += rows.len() as u32;
    }
}

/// Whether a cell can be matched on.
pub(super) fn is_usable(field: Column<'_>, row: usize) -> bool {
    match field.cell(row) {
        Cell::Set(Value::Text(text)) => !text.trim().is_empty(),
        Cell::Set(_) => true,
        _ => false,
    }
}

/// The exits of a plan.
#[derive(Debug)]
pub(crate) struct FoundExits {
    pub(crate) gone: u64,
    /// Those about which nothing is done in this run.
    pub(crate) skipped: u64,
    /// Those in doubt that must not be sent twice.
    pub(crate) unresolved: u64,
    pub(crate) reasons: Reasons,
    /// Exits by operation, and once more by how they name their records.
    pub(crate) operations: Vec<(Operation, u64)>,
    pub(crate) spool: Spool,
    /// Keys with the hash of an exit that needs no call.
    pub(crate) settled: Vec<(u128, u64)>,
    /// Keys whose record is another key's now.
    pub(crate) forgotten: Vec<u128>,
    pub(crate) hash: u64,
}

/// Why a record that was once the gone key's is left alone.
pub(crate) fn record_shared() -> Reason {
    Reason::new("record_shared", None, "nothing; the record belongs to another row of the model now")
}

/// An exit with the address of its record.
struct Addressed {
    position: usize,
    id: Option<RemoteId>,
    value: Option<u32>,
    operation: Operation,
}

/// Plans the exits of one read.
pub(super) struct ExitPlanner<'a> {
    pub(super) frame: Option<&'a ExitFrame>,
    pub(super) known: &'a Acknowledged,
    pub(super) state: &'a dyn StateRead,
    pub(super) schema: &'a SchemaRef,
    pub(super) fingerprints: &'a Fingerprints,
    pub(super) seen: &'a [Seen],
    /// Hashes of the values that the other rows of the model are matched on, ascending.
    pub(super) matches: &'a [(u128, u128)],
    /// Keys whose exits are sent although they were refused before.
    pub(super) chosen: &'a Chosen,
    /// Keys on which a job works.
    pub(super) jobs: &'a HashMap<u128, Operation>,
}

impl ExitPlanner<'_> {
    pub(super) async fn plan(&self, marked: Marked) -> Result<FoundExits> {
        let mut found = Finding::new(self.schema);
        let gone = |position: &usize| matches!(self.seen[*position], Seen::Nothing | Seen::Marked);
        let gone = (0..self.seen.len()).filter(gone);
        let Some(frame) = self.frame else {
            found.gone = gone.filter(|position| self.known.prior(*position).may_exist()).count() as u64;
            found.skipped = found.gone;
            let fix = "nothing, or say what is to be done about their records: .exits(..)";
            found.reasons.add_many(Outcome::Skipped, &Reason::new("exits_ignored", None, fix), found.gone, None);
            return found.finish();
        };
        let values = Values::new(&marked, &self.schema.field(frame.match_index).data_type().clone())?;
        let mut open = gone.filter(|position| frame.is_open(self.known, *position)).peekable();
        while open.peek().is_some() {
            let positions: Vec<usize> = open.by_ref().take(RESOLVE_ROWS).collect();
            self.plan_some(frame, &positions, &marked, &values, &mut found).await?;
        }
        found.finish()
    }

    async fn plan_some(
        &self,
        frame: &ExitFrame,
        positions: &[usize],
        marked: &Marked,
        values: &Values,
        found: &mut Finding,
    ) -> Result<()> {
        found.gone += positions.len() as u64;
        let records = self.known.records(self.state, positions).await?;
        let mut work = Vec::with_capacity(positions.len());
        for (position, record) in positions.iter().zip(records) {
            let key = self.known.key(*position);
            match self.address(frame, *position, record, marked) {
                Ok(addressed) => work.push(addressed),
                Err((Outcome::InDoubt, reason)) => {
                    found.unresolved += 1;
                    found.reasons.add(Outcome::InDoubt, &reason, Some(KeyHash(key)));
                }
                Err((_, reason)) => found.skip(key, &reason),
            }
        }
        let taken = self.taken(frame, &work).await?;
        work.retain(|exit| {
            let shared = match (&exit.id, exit.value) {
                (Some(id), _) => taken.contains(id) || !found.ids.insert(id.clone()),
                (None, value) => {
                    let hash = value.and_then(|value| marked.hashes.get(value as usize).copied().flatten());
                    hash.is_some_and(|hash| self.is_matched(hash) || !found.values.insert(hash))
                }
            };
            if shared {
                let key = self.known.key(exit.position);
                found.forgotten.push(key);
                found.skip(key, &record_shared());
            }
            !shared
        });
        self.spool(frame, &work, values, found).await
    }

    /// How to address the record of the key at `position`, or why nothing is done about it.
    fn address(
        &self,
        frame: &ExitFrame,
        position: usize,
        record: BoundRecord,
        marked: &Marked,
    ) -> Result<Addressed, (Outcome, Reason)> {
        let skip = |code: &str, fix| Err((Outcome::Skipped, Reason::new(code, None, fix)));
        if self.jobs.contains_key(&self.known.key(position)) {
            let fix = "nothing; its turn comes when the job has ended";
            return Err((Outcome::InDoubt, Reason::new("job_open", None, fix)));
        }
        let status = self.known.status(position);
        let parked = status == Status::Rejected && self.known.settled(position) == frame.hash;
        if parked && !self.chosen.has(self.known, position) {
            return skip("parked", "the destination refused this exit before; dispose of the record by hand");
        }
        if frame.exits.scope == Scope::CreatedByUs && !record.created {
            return skip("not_created_by_us", "nothing, or widen the scope: Scope::TouchedByUs");
        }
        let value = marked.values.get(&position).copied();
        let addressed = match (record.id.zip(frame.by_id), value.zip(frame.by_key)) {
            (Some((id, operation)), _) => Addressed { position, id: Some(id), value: None, operation },
            (None, Some((value, operation))) => Addressed { position, id: None, value: Some(value), operation },
            (None, None) => {
                let fix = "the destination never told the id of the record; dispose of it by hand, or mark the row";
                return skip("record_unknown", fix);
            }
        };
        if status.is_in_doubt() && !frame.replayable(addressed.operation) && !self.chosen.is_named(position) {
            let fix = "look for the record at the destination; the library cannot tell whether it is there";
            return Err((Outcome::InDoubt, Reason::new("fate_unknown", None, fix)));
        }
        Ok(addressed)
    }

    /// Whether another row of the model is matched on this value.
    fn is_matched(&self, hash: u128) -> bool {
        self.matches.binary_search_by_key(&hash, |(value, _)| *value).is_ok()
    }

    /// The ids that are bound to a row which is still in the model.
    async fn taken(&self, frame: &ExitFrame, work: &[Addressed]) -> Result<HashSet<RemoteId>> {
        let ids: HashSet<RemoteId> = work.iter().filter_map(|exit| exit.id.clone()).collect();
        if !frame.shares || ids.is_empty() {
            return Ok(HashSet::new());
        }
        let mut live = self.known.naming(self.state, &ids).await?;
        live.retain(|position| !matches!(self.seen[*position], Seen::Nothing | Seen::Marked));
        // Only what is in force counts.
        let records = self.known.records(self.state, &live).await?;
        Ok(records.into_iter().filter_map(|record| record.id).filter(|id| ids.contains(id)).collect())
    }

    /// Makes rows of the exits, and spools those that have something to do.
    async fn spool(&self, frame: &ExitFrame, exits: &[Addressed], values: &Values, found: &mut Finding) -> Result<()> {
        let width = self.schema.fields().len();
        let positions: Vec<usize> = exits.iter().map(|exit| exit.position).collect();
        let mut images = match frame.exits.exit {
            Exit::Delete | Exit::RemoveFromAudience => vec![0; exits.len() * width],
            _ => self.known.images(self.state, &positions).await?,
        };
        let in_doubt = |row: usize| self.known.status(positions[row]).is_in_doubt();
        let emptied = self.emptied()?;
        let mut rows = self.rows(frame, exits, values)?;
        for field in (0..width).filter(|field| frame.clears[*field]) {
            // What was sent with unknown fate may have filled any field.
            let present = (0..exits.len()).map(|row| {
                let old = images[row * width + field];
                in_doubt(row) || (old != 0 && old != emptied[field])
            });
            rows = rows.with_presence(field, present.collect());
        }
        let hashes = self.fingerprints.fields(&rows);
        let mut kept: Vec<u32> = Vec::with_capacity(exits.len());
        for row in 0..exits.len() {
            let mut any = exits[row].operation.removes() || in_doubt(row);
            for field in 0..width {
                let (new, old) = (hashes[row * width + field], &mut images[row * width + field]);
                any |= new != 0 && new != *old && field != frame.match_index;
                if new != 0 || in_doubt(row) {
                    *old = new;
                }
            }
            if any {
                kept.push(row as u32);
            } else {
                let key = self.known.key(positions[row]);
                found.settled.push((key, frame.hash));
                found.skip(key, &Reason::new("nothing_to_do", None, "nothing; the record is as the exit wants it"));
            }
        }
        let change = |row| if in_doubt(row) { Change::InDoubt } else { Change::Changed };
        let work = Work {
            rows,
            keys: positions.iter().map(|position| self.known.key(*position)).collect(),
            hashes: vec![frame.hash; exits.len()],
            images,
            changes: (0..exits.len()).map(change).collect(),
            operations: exits.iter().map(|exit| exit.operation).collect(),
            attempts: positions.iter().map(|position| self.known.prior(*position).attempts).collect(),
            ids: Some(exits.iter().map(|exit| exit.id.as_ref().map(RemoteId::as_str)).collect::<StringArray>()),
            before: None,
            mapped: Vec::new(),
        };
        if kept.is_empty() {
            return Ok(());
        }
        found.push(&if kept.len() == work.len() { work } else { work.take(&kept)? })
    }

    /// The hash of each field when it is empty.
    fn emptied(&self) -> Result<Vec<u64>> {
        let columns = self.schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        Ok(self.fingerprints.fields(&rows(self.schema, columns)?))
    }

    /// The rows as they are sent, with every field that may be emptied present.
    fn rows(&self, frame: &ExitFrame, exits: &[Addressed], values: &Values) -> Result<Rows> {
        let n = exits.len();
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for (index, field) in self.schema.fields().iter().enumerate() {
            columns.push(match &frame.sets[index] {
                _ if index == frame.match_index => values.take(exits)?,
                Some(value) => select(value, &UInt32Array::from(vec![0; n]))?,
                None => new_null_array(field.data_type(), n),
            });
        }
        let mut rows = rows(self.schema, columns)?;
        for index in 0..self.schema.fields().len() {
            if index == frame.match_index {
                rows = rows.with_presence(index, exits.iter().map(|exit| exit.id.is_none()).collect());
            } else if frame.sets[index].is_none() && !frame.clears[index] {
                rows = rows.with_presence(index, BooleanBuffer::new_unset(n));
            }
        }
        Ok(rows)
    }
}

fn rows(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<Rows> {
    let batch = RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|e| Error::new(Kind::Internal, "make exits", "the columns do not fit").with_source(e))?;
    Rows::new(batch)
}

fn select(values: &ArrayRef, indices: &UInt32Array) -> Result<ArrayRef> {
    compute::take(values, indices, None)
        .map_err(|e| Error::new(Kind::Internal, "make exits", "row selection failed").with_source(e))
}

/// The values that marked rows are matched on, side by side.
struct Values(ArrayRef);

impl Values {
    fn new(marked: &Marked, ty: &DataType) -> Result<Self> {
        let empty = new_null_array(ty, 0);
        let pieces: Vec<&dyn Array> =
            std::iter::once(&*empty).chain(marked.pieces.iter().map(|piece| &**piece)).collect();
        let values = compute::concat(&pieces)
            .map_err(|e| Error::new(Kind::Internal, "make exits", "the pieces do not fit").with_source(e))?;
        Ok(Self(values))
    }

    fn take(&self, exits: &[Addressed]) -> Result<ArrayRef> {
        select(&self.0, &exits.iter().map(|exit| exit.value).collect())
    }
}

/// Exits as they are found.
struct Finding {
    gone: u64,
    skipped: u64,
    unresolved: u64,
    reasons: Reasons,
    operations: HashMap<(Operation, bool), u64>,
    spool: SpoolWriter,
    settled: Vec<(u128, u64)>,
    forgotten: Vec<u128>,
    hash: u64,
    /// The ids that exits go by.
    ids: HashSet<RemoteId>,
    /// Hashes of the values that exits go by.
    values: HashSet<u128>,
}

impl Finding {
    fn new(schema: &SchemaRef) -> Self {
        Self {
            gone: 0,
            skipped: 0,
            unresolved: 0,
            reasons: Reasons::default(),
            operations: HashMap::new(),
            spool: SpoolWriter::new(schema, With::Ids),
            settled: Vec::new(),
            forgotten: Vec::new(),
            hash: 0,
            ids: HashSet::new(),
            values: HashSet::new(),
        }
    }

    fn skip(&mut self, key: u128, reason: &Reason) {
        self.skipped += 1;
        self.reasons.add(Outcome::Skipped, reason, Some(KeyHash(key)));
    }

    fn push(&mut self, work: &Work) -> Result<()> {
        for row in 0..work.len() {
            *self.operations.entry((work.operations[row], work.by_id(row))).or_default() += 1;
            self.hash = self.hash.wrapping_add(content_hash(work, row).rotate_left(1));
        }
        self.spool.push(work)
    }

    fn finish(self) -> Result<FoundExits> {
        let mut operations: Vec<(Operation, u64)> =
            self.operations.into_iter().map(|((operation, _), exits)| (operation, exits)).collect();
        operations.sort_unstable();
        Ok(FoundExits {
            gone: self.gone,
            skipped: self.skipped,
            unresolved: self.unresolved,
            reasons: self.reasons,
            operations,
            spool: self.spool.finish()?,
            settled: self.settled,
            forgotten: self.forgotten,
            hash: self.hash,
        })
    }
}
