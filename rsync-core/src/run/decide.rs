//! What is sent of rows whose records were read, by the policies of their fields. Pure.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;

use super::flight::Settled;
use crate::error::{Error, Kind, Result};
use crate::field_policy::FieldPolicy;
use crate::ids::{FieldName, RemoteId};
use crate::plan::Work;
use crate::policy::Change;
use crate::record::{Cell, FieldType, Rows, Value, array_of};

/// What a look-up says of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sighting {
    /// Nobody asked.
    Unasked,
    /// There is no record.
    Missing,
    /// There is one record, in this row of [`Looked::values`].
    One { at: usize, id: RemoteId },
    /// There are several records.
    Several,
    /// There is a record, but the value of one of its fields is not of the field's type.
    Unreadable(Option<FieldName>),
}

/// What the look-ups of a batch found.
#[derive(Debug)]
pub(super) struct Looked {
    /// One a row of the batch.
    pub(super) sightings: Vec<Sighting>,
    /// The fields that were read, by their places in the mapping.
    pub(super) fields: Vec<usize>,
    /// One row a record that was found, with these fields.
    pub(super) values: Rows,
    /// The field hashes of `values`, row after row.
    pub(super) hashes: Vec<u64>,
}

/// What goes for all rows of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// The policy of each mapped field.
    pub(super) policies: &'a [FieldPolicy],
    /// The field that is matched on.
    pub(super) match_index: usize,
    /// Whether a field can be left out without being emptied.
    pub(super) keeps_absent: bool,
    /// Whether the batch makes records, so that one that is there is not written.
    pub(super) creates: bool,
}

/// A batch of which only that is left which is to be sent.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) work: Work,
    /// The outcomes of rows of which nothing is sent.
    pub(super) settled: Vec<Option<Settled>>,
    /// By field and code, rows of which the destination keeps the field.
    pub(super) kept: BTreeMap<(usize, &'static str), u64>,
}

/// What becomes of one field of a row whose record was found.
#[derive(Debug, PartialEq)]
enum Verdict<'a> {
    Send,
    /// The record has it already.
    Equal,
    /// The record keeps what it has.
    Keep,
    /// The record gets these items.
    Union(Vec<&'a str>),
}

/// Both sides of one field.
struct Sides<'c, 'a> {
    ours: &'c Cell<'a>,
    our_hash: u64,
    theirs: &'c Cell<'a>,
    their_hash: u64,
}

/// The code of rows of which every field is kept or equal, and some are kept.
const KEPT: &str = "kept_by_policy";

pub(super) fn decide(mut work: Work, looked: &Looked, rules: &Rules<'_>) -> Result<Decided> {
    let (n, width) = (work.len(), work.width());
    let mut kept = BTreeMap::new();
    let mut keeps = vec![false; n];
    // Row after row, the fields that are not to be sent.
    let mut dropped = vec![false; n * width];
    let mut unions: Vec<(usize, HashMap<usize, Vec<&str>>)> = Vec::new();
    let rows = work.rows.clone();
    for (column, field) in looked.fields.iter().copied().enumerate() {
        let policy = rules.policies[field];
        let (ours, theirs) = (rows.column(field), looked.values.column(column));
        let mut lists = HashMap::new();
        for (row, keeps) in keeps.iter_mut().enumerate() {
            let Sighting::One { at, .. } = looked.sightings[row] else { continue };
            let place = row * width + field;
            let their_hash = looked.hashes[at * looked.fields.len() + column];
            let before = || work.before(row, field);
            let ours = ours.cell(row);
            if ours == Cell::Absent {
                if policy == FieldPolicy::CompareAndSet && work.changes[row] == Change::InDoubt {
                    // Which of the values that this sync sent arrived can be seen.
                    let arrived = before().any(|hash| hash != 0 && hash == their_hash);
                    work.images[place] = if arrived { their_hash } else { before().next().unwrap_or(0) };
                }
                continue;
            }
            let sides = Sides { ours: &ours, our_hash: work.images[place], theirs: &theirs.cell(at), their_hash };
            match judge(policy, &sides, before()) {
                Verdict::Send => {}
                Verdict::Equal => dropped[place] = true,
                Verdict::Keep => {
                    let acknowledged = before().next().unwrap_or(0);
                    work.images[place] = acknowledged;
                    (dropped[place], *keeps) = (true, true);
                    *kept.entry((field, policy.kept_code())).or_default() += 1;
                }
                Verdict::Union(items) => {
                    lists.insert(row, items);
                }
            }
        }
        if !lists.is_empty() {
            unions.push((field, lists));
        }
    }
    let settled: Vec<Option<Settled>> = (0..n)
        .map(|row| match &looked.sightings[row] {
            Sighting::Unasked | Sighting::Missing => None,
            Sighting::Several => Some(Settled::Rejected {
                code: "ambiguous_match".into(),
                field: rows.schema().fields().get(rules.match_index).map(|field| FieldName::new(field.name())),
                fix: "several records have this key; merge them at the destination, or match on a unique field",
            }),
            Sighting::Unreadable(field) => Some(Settled::Rejected {
                code: "unreadable_value".into(),
                field: field.clone(),
                fix: "the record has a value that is not of the mapped type; mend it there, or map another type",
            }),
            Sighting::One { id, .. } => {
                let open = (0..width).filter(|field| *field != rules.match_index).any(|field| {
                    !dropped[row * width + field] && rows.presence(field).is_none_or(|bits| bits.value(row))
                });
                match open {
                    false => Some(Settled::Found { id: id.clone(), kept: keeps[row].then_some(KEPT) }),
                    true => rules.creates.then_some(Settled::Exists),
                }
            }
        })
        .collect();
    let mut columns = rows.batch().columns().to_vec();
    for (field, lists) in unions {
        let ours = rows.column(field);
        let values = (0..n).map(|row| match (lists.get(&row), ours.cell(row)) {
            (Some(items), _) => Some(Value::TextList(items.clone())),
            (None, Cell::Set(value)) => Some(value),
            (None, _) => None,
        });
        columns[field] = array_of(FieldType::TextList, values).ok_or_else(misfit)?;
    }
    let batch = RecordBatch::try_new(Arc::clone(rows.schema()), columns).map_err(|e| misfit().with_source(e))?;
    let mut sent = Rows::new(batch)?;
    for field in 0..width {
        let was = rows.presence(field);
        let present: BooleanBuffer = (0..n)
            .map(|row| was.is_none_or(|bits| bits.value(row)) && !(rules.keeps_absent && dropped[row * width + field]))
            .collect();
        sent = sent.with_presence(field, present);
    }
    work.rows = sent;
    Ok(Decided { work, settled, kept })
}

fn misfit() -> Error {
    Error::new(Kind::Internal, "decide what is sent", "the columns do not fit")
}

fn is_empty(cell: &Cell<'_>) -> bool {
    match cell {
        Cell::Set(Value::Text(text)) => text.is_empty(),
        Cell::Set(Value::TextList(items)) => items.is_empty(),
        Cell::Set(_) => false,
        Cell::Clear | Cell::Absent => true,
    }
}

fn judge<'a>(policy: FieldPolicy, sides: &Sides<'_, 'a>, mut before: impl Iterator<Item = u64>) -> Verdict<'a> {
    if sides.our_hash == sides.their_hash {
        return Verdict::Equal;
    }
    let send_if = |send: bool| if send { Verdict::Send } else { Verdict::Keep };
    match policy {
        FieldPolicy::CompareAndSet => {
            let acknowledged = before.next().unwrap_or(0);
            let ours = acknowledged == sides.their_hash || before.any(|hash| hash == sides.their_hash);
            send_if(ours || (acknowledged == 0 && is_empty(sides.theirs)))
        }
        FieldPolicy::SetIfEmpty => send_if(is_empty(sides.theirs)),
        FieldPolicy::Max => send_if(is_empty(sides.theirs) || order(sides) == Some(Ordering::Greater)),
        FieldPolicy::Min => send_if(is_empty(sides.theirs) || order(sides) == Some(Ordering::Less)),
        FieldPolicy::SetUnion => {
            let Cell::Set(Value::TextList(ours)) = sides.ours else { return Verdict::Keep };
            let mut items = match sides.theirs {
                Cell::Set(Value::TextList(theirs)) => theirs.clone(),
                _ => Vec::new(),
            };
            let had = items.len();
            for item in ours {
                if !items.contains(item) {
                    items.push(item);
                }
            }
            if items.len() == had { Verdict::Equal } else { Verdict::Union(items) }
        }
        FieldPolicy::Overwrite | FieldPolicy::SetOnce => Verdict::Send,
    }
}

/// Our value beside theirs.
fn order(sides: &Sides<'_, '_>) -> Option<Ordering> {
    let (Cell::Set(ours), Cell::Set(theirs)) = (sides.ours, sides.theirs) else { return None };
    match (ours, theirs) {
        (Value::Integer(a), Value::Integer(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
        // Both were read as the mapped type, so their scales are the same.
        (Value::Decimal { unscaled: a, .. }, Value::Decimal { unscaled: b, .. }) => Some(a.cmp(b)),
        _ => None,
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
