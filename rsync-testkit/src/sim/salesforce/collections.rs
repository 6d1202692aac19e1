//! sObject Collections: up to 200 records of a request, answered one by one in the order of the request.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::field::{Field, Kind};
use super::id;
use super::lifecycle;
use super::org::{Call, Org};
use super::quirks::{AllFailedStatus, CreatedFlag, FailedIds, RowLocks, UpdateOnlyMiss};
use super::record_body::{RecordBody, record_body};
use super::reply::{Answer, Refusal, Reply, RowError};
use super::rules::Saving;
use super::write::{self, Applied, Draft, Properties, Target, Undo};

const MOST_RECORDS: usize = 200;
const MOST_RETRIEVED: usize = 2_000;
const MOST_CHUNKS: usize = 10;
/// Times that one record may be updated in one request.
const MOST_REPEATS: usize = 12;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireCollection<'a> {
    #[serde(rename = "allOrNone", default)]
    all_or_none: bool,
    #[serde(borrow, default)]
    records: Vec<&'a RawValue>,
}

/// An entry of an answer.
#[derive(Debug, Serialize)]
struct RowResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    success: bool,
    errors: Vec<RowError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<bool>,
}

/// What is to be done for a row.
pub(crate) enum Task {
    Write {
        draft: Draft,
        target: Target,
    },
    Delete {
        id: String,
        for_good: bool,
    },
    /// The row fails before anything is tried.
    Fail {
        error: RowError,
    },
}

/// How a request treats its rows.
struct Mode {
    all_or_none: bool,
    upsert: bool,
}

pub(crate) fn create(org: &mut Org, call: &Call) -> Answer {
    let body = call.text()?;
    let (mode, rows) = collection(org, body, None)?;
    let mut tasks = Vec::new();
    for (object, properties) in rows {
        let draft = write::read(org, object, &properties, body)?;
        tasks.push(if draft.id.is_some() {
            let error = RowError::new("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call");
            Task::Fail { error: error.on("Id") }
        } else {
            Task::Write { draft, target: Target::Create }
        });
    }
    carry_out(org, call, mode, tasks)
}

pub(crate) fn update(org: &mut Org, call: &Call) -> Answer {
    let body = call.text()?;
    let (mode, rows) = collection(org, body, None)?;
    let mut tasks = Vec::new();
    let mut times: HashMap<String, usize> = HashMap::new();
    for (object, properties) in rows {
        let draft = write::read(org, object, &properties, body)?;
        tasks.push(update_task(org, draft, &mut times));
    }
    carry_out(org, call, mode, tasks)
}

/// What is to be done for a row that names its record; `times` counts how often each one is named.
pub(crate) fn update_task(org: &Org, draft: Draft, times: &mut HashMap<String, usize>) -> Task {
    let missing = || RowError::new("MISSING_ARGUMENT", "Id not specified in an update call");
    let target = draft.id.clone().ok_or_else(missing).and_then(|id| write::target_of_id(org, draft.object, &id));
    match target {
        Ok(Target::Update(id)) => {
            let seen = times.entry(id.clone()).or_default();
            *seen += 1;
            if *seen > MOST_REPEATS {
                let message = format!(
                    "Maximum number of duplicate updates in one batch ({MOST_REPEATS} allowed). Attempt to update \
                     Id more than once in this Api call: {id}"
                );
                Task::Fail { error: RowError::new("DUPLICATE_VALUE", message) }
            } else {
                Task::Write { draft, target: Target::Update(id) }
            }
        }
        Ok(target) => Task::Write { draft, target },
        Err(error) => Task::Fail { error },
    }
}

pub(crate) fn upsert(org: &mut Org, call: &Call) -> Answer {
    let object = org.object(call.segment(2)).ok_or_else(Refusal::not_found)?;
    let key = key_field(org, object, call.segment(3))?;
    let update_only = call.parameter("updateOnly").is_some_and(|flag| flag.eq_ignore_ascii_case("true"));
    let body = call.text()?;
    let (mode, rows) = collection(org, body, Some(object))?;
    let mut drafts = Vec::new();
    let mut times: HashMap<String, usize> = HashMap::new();
    for (_, properties) in rows {
        let mut draft = write::read(org, object, &properties, body)?;
        let value = key_value(&key, &mut draft);
        if let Some(value) = &value {
            *times.entry(key.folded(value)).or_default() += 1;
        }
        drafts.push((draft, value));
    }
    let mode = Mode { upsert: true, ..mode };
    let tasks = drafts
        .into_iter()
        .map(|(draft, value)| match upsert_target(org, &key, &draft, value.as_deref(), &times, update_only) {
            Ok(target) => Task::Write { draft, target },
            Err(error) => Task::Fail { error },
        })
        .collect();
    carry_out(org, call, mode, tasks)
}

/// The key field that a path names. `Id` is one too.
pub(crate) fn key_field(org: &Org, object: usize, name: &str) -> Result<Field, Refusal> {
    let field = org.objects[object].field(name).filter(|field| field.id_lookup);
    field.cloned().ok_or_else(|| {
        let message = format!("Provided external ID field does not exist or is not accessible: {name}");
        Refusal::new(404, "NOT_FOUND", message)
    })
}

/// The value of the key field in a row. Ids are known to the draft; they are no ordinary field.
pub(crate) fn key_value(key: &Field, draft: &mut Draft) -> Option<String> {
    if key.kind == Kind::Id {
        return draft.id.take();
    }
    draft.changes.get(&key.name).cloned().flatten()
}

pub(crate) fn upsert_target(
    org: &Org,
    key: &Field,
    draft: &Draft,
    value: Option<&str>,
    times: &HashMap<String, usize>,
    update_only: bool,
) -> Result<Target, RowError> {
    if draft.id.is_some() {
        let message = format!("The Id field should not be specified in an upsert by {}", key.name);
        return Err(RowError::new("INVALID_FIELD", message));
    }
    let target = match value {
        // Recorded: a null `Id` creates, a record's id updates.
        None if key.kind == Kind::Id => Target::Create,
        None => {
            return draft.errors.first().map_or_else(
                || Err(RowError::new("MISSING_ARGUMENT", format!("{} not specified", key.name))),
                |error| Err(error.clone()),
            );
        }
        Some(value) if times.get(&key.folded(value)).is_some_and(|times| *times > 1) => {
            return Err(RowError::new("DUPLICATE_VALUE", format!("Duplicate external id specified: {value}")));
        }
        Some(value) if key.kind == Kind::Id => write::target_of_id(org, draft.object, value)?,
        Some(value) => write::target_of_key(org, draft.object, key, value)?,
    };
    match (&target, update_only, org.quirks.update_only_miss) {
        (Target::Create, true, UpdateOnlyMiss::NotFound) => {
            Err(RowError::new("NOT_FOUND", "The requested resource does not exist"))
        }
        (Target::Create, true, UpdateOnlyMiss::InvalidCrossReference) => {
            Err(RowError::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id"))
        }
        _ => Ok(target),
    }
}

pub(crate) fn delete(org: &mut Org, call: &Call) -> Answer {
    let ids = ids(call.parameter("ids").unwrap_or_default());
    check_count(ids.len(), MOST_RECORDS)?;
    let prefixes: Vec<&str> = ids.iter().map(|id| id.get(..3).unwrap_or_default()).collect();
    check_chunks(&prefixes)?;
    let all_or_none = call.parameter("allOrNone").is_some_and(|flag| flag.eq_ignore_ascii_case("true"));
    let tasks = ids.into_iter().map(|id| Task::Delete { id: id.to_owned(), for_good: false }).collect();
    carry_out(org, call, Mode { all_or_none, upsert: false }, tasks)
}

fn ids(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).filter(|id| !id.is_empty()).collect()
}

/// Reads a request: how it treats its rows, and each row's object and properties.
fn collection<'a>(
    org: &Org,
    body: &'a str,
    expected: Option<usize>,
) -> Result<(Mode, Vec<(usize, Properties<'a>)>), Refusal> {
    let wire: WireCollection<'a> = object_body(body)?;
    check_count(wire.records.len(), MOST_RECORDS)?;
    let mut rows = Vec::with_capacity(wire.records.len());
    for raw in wire.records {
        let object = object_of(org, raw, body)?;
        if expected.is_some_and(|expected| expected != object.0) {
            let message = "The type of each record must be the object that the URL names";
            return Err(Refusal::new(400, "INVALID_TYPE", message));
        }
        rows.push(object);
    }
    if expected.is_none() {
        check_chunks(&rows.iter().map(|(object, _)| object).collect::<Vec<_>>())?;
    }
    Ok((Mode { all_or_none: wire.all_or_none, upsert: false }, rows))
}

/// Reads a body that is an object.
fn object_body<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T, Refusal> {
    // A list would be taken for the fields of a struct in their order.
    if !body.trim_start().starts_with('{') {
        return Err(Refusal::parser("Cannot deserialize instance of an object from START_ARRAY at [line:1, column:1]"));
    }
    serde_json::from_str(body).map_err(|e| Refusal::parser(e.to_string()))
}

#[derive(Deserialize)]
struct Attributes {
    #[serde(rename = "type")]
    kind: Option<String>,
}

fn object_of<'a>(org: &Org, raw: &'a RawValue, body: &str) -> Result<(usize, Properties<'a>), Refusal> {
    let properties: Properties<'a> = serde_json::from_str(raw.get())
        .map_err(|_| write::malformed("Cannot deserialize instance of an sObject", raw, body))?;
    let attributes = properties.get("attributes").and_then(|raw| serde_json::from_str::<Attributes>(raw.get()).ok());
    let Some(name) = attributes.and_then(|attributes| attributes.kind) else {
        return Err(Refusal::new(400, "INVALID_FIELD", "attributes.type must be specified for each record"));
    };
    let object = org.object(&name).filter(|&object| org.objects[object].writable);
    let object =
        object.ok_or_else(|| Refusal::new(400, "INVALID_TYPE", format!("sObject type '{name}' is not supported.")))?;
    Ok((object, properties))
}

fn check_count(count: usize, most: usize) -> Result<(), Refusal> {
    if count == 0 {
        return Err(Refusal::new(400, "REQUIRED_FIELD_MISSING", "At least 1 record is required"));
    }
    if count > most {
        let message = format!("record limit reached. cannot submit more than {most} records into this call");
        return Err(Refusal::new(400, "EXCEEDED_ID_LIMIT", message));
    }
    Ok(())
}

/// Consecutive rows of one type form a chunk.
fn check_chunks<T: PartialEq>(types: &[T]) -> Result<(), Refusal> {
    let chunks = types.chunk_by(|a, b| a == b).count();
    if chunks > MOST_CHUNKS {
        let message = format!(
            "Cannot have more than {MOST_CHUNKS} chunks in a single operation. Please rearrange the data to reduce \
             chunking."
        );
        return Err(Refusal::new(400, "LIMIT_EXCEEDED", message));
    }
    Ok(())
}

/// Carries out the rows one after the other and answers for each of them.
fn carry_out(org: &mut Org, call: &Call, mode: Mode, mut tasks: Vec<Task>) -> Answer {
    let rows = tasks.len();
    let mut together: HashMap<usize, usize> = HashMap::new();
    for task in &tasks {
        if let Task::Write { draft, .. } = task {
            *together.entry(draft.object).or_default() += 1;
        }
    }
    let saving = Saving::of(call);
    let mut undo = Vec::new();
    let mut outcomes = Vec::with_capacity(rows);
    for (row, task) in tasks.iter_mut().enumerate() {
        if let Task::Write { draft, .. } = task {
            draft.together = together.get(&draft.object).copied().unwrap_or(1);
            draft.saving = Arc::clone(&saving);
        }
        let locked = call.locked_rows.contains(&row) && refuses_lock(org);
        let outcome = if locked { Err(vec![cannot_lock(task)]) } else { perform(org, task) };
        outcomes.push(outcome.map(|(applied, back)| {
            undo.push(back);
            applied
        }));
    }
    let halted = mode.all_or_none && outcomes.iter().any(Result::is_err);
    if halted {
        undo.into_iter().rev().for_each(|back| write::undo(org, back));
    } else {
        for saved in outcomes.iter().zip(&tasks) {
            match saved {
                (Ok(applied), Task::Write { draft, .. }) => {
                    org.count_saved(draft.object, applied.created, !saving.keep_owner)
                }
                (Ok(_), _) => org.stats.rows_deleted += 1,
                (Err(_), _) => {}
            }
        }
    }
    let results: Vec<RowResult> =
        outcomes.into_iter().zip(&tasks).map(|(outcome, task)| result(org, &mode, halted, outcome, task)).collect();
    let failed = results.iter().filter(|result| !result.success).count();
    org.stats.rows_received += rows as u64;
    org.stats.rows_failed += failed as u64;
    let status = match org.quirks.all_failed_status {
        AllFailedStatus::BadRequest if failed == rows => 400,
        _ => 200,
    };
    Ok(Reply::json(status, &results).with_rows(rows))
}

pub(crate) fn perform(org: &mut Org, task: &Task) -> Result<(Applied, Undo), Vec<RowError>> {
    match task {
        Task::Write { draft, target } => write::apply(org, draft, target),
        Task::Delete { id, for_good } => match lifecycle::delete(org, id, *for_good) {
            Ok((id, undo)) => Ok((Applied { id, created: false }, undo)),
            Err(error) => Err(vec![error]),
        },
        Task::Fail { error } => Err(vec![error.clone()]),
    }
}

pub(crate) fn refuses_lock(org: &mut Org) -> bool {
    org.quirks.row_locks == RowLocks::Refused && org.rng.next_u64() % 100 < u64::from(org.quirks.lock_refusal_percent)
}

pub(crate) fn lock_error(id: &str) -> RowError {
    let message = format!("unable to obtain exclusive access to this record or 200 records: {id}");
    RowError::new("UNABLE_TO_LOCK_ROW", message)
}

fn cannot_lock(task: &Task) -> RowError {
    lock_error(existing_id(task).as_deref().unwrap_or("new record"))
}

/// The record that a task is about, if it is there already.
pub(crate) fn existing_id(task: &Task) -> Option<String> {
    match task {
        Task::Write { target: Target::Update(id), .. } => Some(id.clone()),
        Task::Delete { id, .. } => id::canonical(id),
        _ => None,
    }
}

fn result(org: &Org, mode: &Mode, halted: bool, outcome: Result<Applied, Vec<RowError>>, task: &Task) -> RowResult {
    let shows_created = mode.upsert && org.quirks.created_flag == CreatedFlag::Shown;
    let would_create = existing_id(task).is_none();
    match outcome {
        Ok(applied) if !halted => {
            let created = shows_created.then_some(applied.created);
            RowResult { id: Some(applied.id), success: true, errors: Vec::new(), created }
        }
        outcome => {
            let rolled_back = || {
                vec![RowError::new(
                    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
                    "Record rolled back because not all records were valid and the request was using AllOrNone header",
                )]
            };
            let shows_id = org.quirks.failed_ids == FailedIds::Shown;
            RowResult {
                id: existing_id(task).filter(|_| shows_id),
                success: false,
                errors: outcome.err().unwrap_or_else(rolled_back),
                created: shows_created.then_some(would_create),
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRetrieve {
    ids: Vec<String>,
    fields: Vec<String>,
}

pub(crate) fn retrieve(org: &mut Org, call: &Call) -> Answer {
    let list = |name: &str| ids(call.parameter(name).unwrap_or_default()).into_iter().map(str::to_owned).collect();
    retrieved(org, call, &WireRetrieve { ids: list("ids"), fields: list("fields") })
}

pub(crate) fn retrieve_long(org: &mut Org, call: &Call) -> Answer {
    retrieved(org, call, &object_body(call.text()?)?)
}

/// Records in the order of their ids, null for those that are not there.
fn retrieved(org: &Org, call: &Call, wanted: &WireRetrieve) -> Answer {
    let object = org.object(call.segment(2)).ok_or_else(Refusal::not_found)?;
    let object = &org.objects[object];
    check_count(wanted.ids.len(), MOST_RETRIEVED)?;
    let fields: Vec<&Field> = wanted
        .fields
        .iter()
        .map(|name| {
            let unknown = || Refusal::rows(400, vec![RowError::no_such_column(name, &object.name)]);
            object.field(name).ok_or_else(unknown)
        })
        .collect::<Result<_, _>>()?;
    let mut bodies: Vec<Option<RecordBody>> = Vec::new();
    for id in &wanted.ids {
        let id = id::canonical(id).ok_or_else(|| Refusal::new(400, "MALFORMED_ID", format!("malformed id {id}")))?;
        let row = object.records.by_id(&id).filter(|row| !row.deleted);
        bodies.push(row.map(|row| record_body(org, object, row, fields.iter().copied(), &call.root())));
    }
    Ok(Reply::json(200, &bodies).with_rows(bodies.len()))
}
