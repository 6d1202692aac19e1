//! What the in-memory service accepts, refuses and does.

use std::collections::{BTreeMap, BTreeSet};

use super::{MemoryDestination, folding, no_object};
use crate::capability::{Capability, Operation};
use crate::destination::{Destination, KeyFolding, RemoteSchema, WriteBatch};
use crate::error::{Error, Kind, Result};
use crate::field_policy::FieldPolicy;
use crate::ids::{FieldName, RemoteId};
use crate::memory::table::{Record, Stored, Table};
use crate::outcome::{Effect, RowOutcome};
use crate::record::{Cell, FieldType};

impl MemoryDestination {
    /// What the engine promises about a batch. `keys` are record ids where its rows go by id.
    pub(super) fn check_promises(&self, batch: &WriteBatch, keys: &[String], folding: KeyFolding) -> Result<()> {
        let broken = |what: &'static str| Error::new(Kind::Internal, "write", what).with_context("rows", batch.len());
        let Some(limits) = self.capability.limits(batch.operation) else {
            return Err(Error::new(Kind::Unsupported, "write", "the destination does not have this operation")
                .with_context("operation", batch.operation.as_str()));
        };
        let addressed =
            if batch.ids.is_some() { limits.addressing.takes_ids() } else { limits.addressing.takes_keys() };
        if !addressed {
            return Err(Error::new(Kind::Unsupported, "write", "the operation does not name records in this way")
                .with_context("operation", batch.operation.as_str()));
        }
        if batch.len() > limits.max_rows {
            return Err(
                broken("the batch has more rows than the operation's limit").with_context("limit", limits.max_rows)
            );
        }
        if let Some(max_bytes) = limits.max_bytes {
            let bytes: usize =
                (0..batch.len()).map(|row| self.row_bytes(&batch.target, batch.operation, &batch.rows, row)).sum();
            // A single row may be larger: nobody can split it.
            if bytes > max_bytes && batch.len() > 1 {
                return Err(
                    broken("the batch has more bytes than the operation's limit").with_context("limit", max_bytes)
                );
            }
        }
        let mut seen = BTreeSet::new();
        // An update by id may set the match field like any other; a delete carries none.
        if batch.ids.is_some()
            && batch.operation == Operation::Delete
            && batch
                .rows
                .column_of(batch.target.match_on.as_str())
                .is_some_and(|keys| (0..batch.len()).any(|row| keys.cell(row) != Cell::Absent))
        {
            return Err(broken("a row goes by record id and has a key too"));
        }
        self.check_tokens(batch, &broken)?;
        if !batch.policies.is_empty() && !matches!(batch.operation, Operation::Upsert | Operation::Update) {
            return Err(broken("fields have policies in an operation that replaces nothing"));
        }
        if batch.operation != Operation::Append && keys.iter().any(|key| !seen.insert(folding.folded(key))) {
            return Err(broken("two rows of the batch have the same key"));
        }
        Ok(())
    }

    /// Checks and applies all rows, or none where one bad row refuses the batch.
    pub(super) fn apply(&self, batch: &WriteBatch, keys: &[String]) -> Result<Vec<RowOutcome>> {
        let now = self.clock.as_ref().map(|clock| clock.wall()).unwrap_or_default();
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some((schema, table)) = state.objects.get_mut(&batch.target.object) else {
            return Err(no_object(&batch.target));
        };
        let folding = folding(schema, &batch.target);
        let declared = |(field, policy): &(FieldName, FieldPolicy)| {
            schema.field(field.as_str()).is_some_and(|field| field.native.contains(policy))
        };
        if !batch.policies.iter().all(declared) {
            return Err(Error::new(Kind::Unsupported, "write", "a field does not have this policy by itself"));
        }
        let entries = &mut state.entries;
        let mut before = (!self.capability.per_row_outcomes).then(|| (table.clone(), state.next_id, entries.clone()));
        let mut outcomes = Vec::with_capacity(batch.len());
        for (row, name) in keys.iter().enumerate() {
            let address = match &batch.ids {
                None => Some(name.clone()),
                Some(_) => {
                    table.values().find(|record| record.id.to_string() == *name).map(|record| record.key.clone())
                }
            };
            let token = self.remembered(batch, row, now);
            let outcome = match (token.and_then(|token| entries.answer(&batch.target.object, &token)), address) {
                (Some(answer), _) => answer,
                (None, None) => RowOutcome::Missing,
                (None, Some(key)) => match self.refusal(schema, batch, row, &key) {
                    Some(refusal) => refusal,
                    None if batch.ids.is_some() && takes_anothers_key(table, batch, row, &key, folding) => {
                        let field = Some(batch.target.match_on.clone());
                        RowOutcome::rejected("DUPLICATE_KEY", field, "see which record has this value already")
                    }
                    None => match batch.operation {
                        Operation::Append => entries.append(batch, row, &mut state.next_id),
                        Operation::AddMember => {
                            entries.add_member(batch, table.get(&folding.folded(&key)), &folding.folded(&key))
                        }
                        Operation::RemoveMember => entries.remove_member(batch, &folding.folded(&key)),
                        _ => apply_row(table, &mut state.next_id, &self.capability, batch, row, &key, folding),
                    },
                },
            };
            if let Some(token) = self.remembered(batch, row, now) {
                entries.remember(&batch.target.object, token, &outcome);
            }
            let refused = match outcome {
                RowOutcome::Rejected { .. } | RowOutcome::Retryable { .. } => true,
                // Of one row there is no neighbour to spare.
                RowOutcome::Missing => {
                    matches!(batch.operation, Operation::Update | Operation::AddMember) && batch.len() > 1
                }
                RowOutcome::Exists => batch.len() > 1,
                _ => false,
            };
            if refused && let Some((records, next_id, old)) = before.take() {
                *table = records;
                (state.next_id, *entries) = (next_id, old);
                return Err(whole_batch(&outcome));
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    fn refusal(&self, schema: &RemoteSchema, batch: &WriteBatch, row: usize, key: &str) -> Option<RowOutcome> {
        let mut present = BTreeMap::new();
        for (name, cell) in batch.rows.cells(row) {
            let value = match &cell {
                Cell::Absent => continue,
                Cell::Clear => None,
                Cell::Set(value) => Some(value),
            };
            let refuse = |code, remedy| Some(RowOutcome::rejected(code, Some(FieldName::new(name)), remedy));
            let Some(field) = schema.field(name) else {
                return refuse("UNKNOWN_FIELD", "create the field or take it out of the mapping");
            };
            if !field.writable {
                return refuse("READ_ONLY_FIELD", "take the field out of the mapping");
            }
            let ty = batch.rows.schema().field_with_name(name).ok().and_then(|f| FieldType::from_arrow(f.data_type()));
            if value.is_some() && !ty.is_some_and(|ty| field.accepts(ty)) {
                return refuse("WRONG_TYPE", "cast the column in the mapping");
            }
            if value.is_none() && !(self.capability.clears_fields && field.clearable) {
                return refuse("CANNOT_CLEAR", "use a null rule that keeps the field");
            }
            let text = value.map(|value| Stored::new(value).text());
            if text == Some(None) {
                return refuse("NO_TEXT_FORM", "keep days and moments in the years 0 to 9999, and ';' out of lists");
            }
            present.insert(name.to_owned(), text.flatten());
        }
        self.rules.iter().find_map(|rule| rule(key, &present))
    }
}

/// The value of the match field that a row sets.
fn match_value(batch: &WriteBatch, row: usize) -> Option<String> {
    match batch.rows.column_of(batch.target.match_on.as_str())?.cell(row) {
        Cell::Set(value) => Stored::new(&value).text(),
        Cell::Clear | Cell::Absent => None,
    }
}

/// Whether a row that goes by id sets a key that another record has.
fn takes_anothers_key(table: &Table, batch: &WriteBatch, row: usize, key: &str, folding: KeyFolding) -> bool {
    let folded = match_value(batch, row).map(|value| folding.folded(&value));
    folded.is_some_and(|folded| folded != folding.folded(key) && table.contains_key(&folded))
}

fn apply_row(
    table: &mut Table,
    next_id: &mut u64,
    capability: &Capability,
    batch: &WriteBatch,
    row: usize,
    key: &str,
    folding: KeyFolding,
) -> RowOutcome {
    let folded = folding.folded(key);
    let known = table.get(&folded).map(|record| RemoteId::new(record.id.to_string()));
    match (batch.operation, known) {
        (Operation::Create, Some(_)) => return RowOutcome::Exists,
        (Operation::Update | Operation::Delete, None) => return RowOutcome::Missing,
        (Operation::Delete, Some(id)) => {
            table.remove(&folded);
            return RowOutcome::written(Effect::Unspecified, Some(id));
        }
        _ => {}
    }
    let mut effect = Effect::Updated;
    let record = table.entry(folded).or_insert_with(|| {
        effect = Effect::Created;
        *next_id += 1;
        Record { key: key.to_owned(), id: *next_id, ..Record::default() }
    });
    record.writes += 1;
    let old = if batch.policies.is_empty() { BTreeMap::new() } else { record.fields.clone() };
    if !capability.keeps_absent_fields {
        record.fields.clear();
    }
    for (name, cell) in batch.rows.cells(row) {
        match cell {
            Cell::Set(value) => {
                let policy = batch.policies.iter().find(|(field, _)| field.as_str() == name).map(|(_, policy)| *policy);
                let value = Stored::new(&value).over(old.get(name), policy.unwrap_or_default());
                record.fields.insert(name.to_owned(), value);
            }
            Cell::Clear => {
                record.fields.remove(name);
            }
            Cell::Absent => {}
        }
    }
    let written = RowOutcome::written(effect, Some(RemoteId::new(record.id.to_string())));
    if batch.ids.is_some()
        && let Some(value) = match_value(batch, row)
        && let Some(mut record) = table.remove(&folding.folded(key))
    {
        record.key.clone_from(&value);
        table.insert(folding.folded(&value), record);
    }
    written
}

fn whole_batch(outcome: &RowOutcome) -> Error {
    let code = match outcome {
        RowOutcome::Rejected { code, .. } | RowOutcome::Retryable { code, .. } => code.as_str(),
        RowOutcome::Missing => "MISSING",
        RowOutcome::Exists => "EXISTS",
        _ => "UNKNOWN",
    };
    Error::new(Kind::Rejected, "write", "the service refused the batch because of one row").with_context("code", code)
}
