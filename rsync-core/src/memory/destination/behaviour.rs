//! What the in-memory service accepts, refuses and does.

use std::collections::{BTreeMap, BTreeSet};

use super::{MemoryDestination, folding, no_object};
use crate::capability::{Capability, Operation};
use crate::destination::{Destination, KeyFolding, RemoteSchema, WriteBatch};
use crate::error::{Error, Kind, Result};
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
        if batch.ids.is_some()
            && batch
                .rows
                .column_of(batch.target.match_on.as_str())
                .is_some_and(|keys| (0..batch.len()).any(|row| keys.cell(row) != Cell::Absent))
        {
            return Err(broken("a row goes by record id and has a key too"));
        }
        if keys.iter().any(|key| !seen.insert(folding.folded(key))) {
            return Err(broken("two rows of the batch have the same key"));
        }
        Ok(())
    }

    /// Checks and applies all rows, or none where one bad row refuses the batch.
    pub(super) fn apply(&self, batch: &WriteBatch, keys: &[String]) -> Result<Vec<RowOutcome>> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some((schema, table)) = state.objects.get_mut(&batch.target.object) else {
            return Err(no_object(&batch.target));
        };
        let folding = folding(schema, &batch.target);
        let mut before = (!self.capability.per_row_outcomes).then(|| (table.clone(), state.next_id));
        let mut outcomes = Vec::with_capacity(batch.len());
        for (row, name) in keys.iter().enumerate() {
            let address = match &batch.ids {
                None => Some(name.clone()),
                Some(_) => {
                    table.values().find(|record| record.id.to_string() == *name).map(|record| record.key.clone())
                }
            };
            let outcome = match address {
                None => RowOutcome::Missing,
                Some(key) => match self.refusal(schema, batch, row, &key) {
                    Some(refusal) => refusal,
                    None => apply_row(table, &mut state.next_id, &self.capability, batch, row, &key, folding),
                },
            };
            let refused = match outcome {
                RowOutcome::Rejected { .. } | RowOutcome::Retryable { .. } => true,
                // Of one row there is no neighbour to spare.
                RowOutcome::Missing => batch.operation == Operation::Update && batch.len() > 1,
                RowOutcome::Exists => batch.len() > 1,
                _ => false,
            };
            if refused && let Some((records, next_id)) = before.take() {
                *table = records;
                state.next_id = next_id;
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
    if !capability.keeps_absent_fields {
        record.fields.clear();
    }
    for (name, cell) in batch.rows.cells(row) {
        match cell {
            Cell::Set(value) => {
                record.fields.insert(name.to_owned(), Stored::new(&value));
            }
            Cell::Clear => {
                record.fields.remove(name);
            }
            Cell::Absent => {}
        }
    }
    RowOutcome::written(effect, Some(RemoteId::new(record.id.to_string())))
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
