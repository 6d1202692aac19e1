//! Batch endpoints. The order of checks is fixed: body, `inputs`, size, duplicates, key property, each record's
//! properties, uniqueness, and only then the writes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Serialize;

use super::instant::iso_from_ms;
use super::object_type::{Access, ObjectType};
use super::portal::{ApiVersion, Call, Portal};
use super::quirks::{
    DatedPartialStatus, EmailUpsert, MergedIds, MissingInputs, MixedIdProperties, ResultOrder, TraceIdEcho,
    UpsertConflict,
};
use super::record_body::{Reason, RecordBody};
use super::records::{comparable, is_key};
use super::reply::{Answer, RecordError, Refusal, Reply, invalid_properties_message};
use super::value::{Judge, PropertyError};
use super::wire::{self, Identity, WriteInput};
use super::write::{Key, Planned, Target, claim, commit, find_conflict, held_keys, plan, requirements};

/// Most inputs of a batch.
const MAX_INPUTS: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Create,
    Update,
    Upsert,
}

impl Operation {
    fn success_status(self) -> u16 {
        match self {
            Self::Create => 201,
            Self::Update | Self::Upsert => 200,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchBody {
    completed_at: String,
    status: &'static str,
    started_at: String,
    results: Vec<RecordBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<RecordError>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_errors: Option<usize>,
}

pub(crate) fn create(portal: &mut Portal, call: &Call) -> Answer {
    write(portal, call, Operation::Create)
}

pub(crate) fn update(portal: &mut Portal, call: &Call) -> Answer {
    write(portal, call, Operation::Update)
}

pub(crate) fn upsert(portal: &mut Portal, call: &Call) -> Answer {
    write(portal, call, Operation::Upsert)
}

fn write(portal: &mut Portal, call: &Call, operation: Operation) -> Answer {
    let position = portal.accessed_type(call, Access::WriteRecords)?;
    let identity = match operation {
        Operation::Create => Identity::None,
        Operation::Update | Operation::Upsert => Identity::Required,
    };
    let Some(inputs) = wire::batch_write(&call.body, identity, &portal.quirks)? else {
        return missing_inputs(portal, operation.success_status());
    };
    check_size(inputs.len(), MAX_INPUTS)?;
    let kind = &portal.types[position];
    if operation != Operation::Create {
        check_duplicates(portal, kind, inputs.iter().map(|i| (i.id.as_str(), i.id_property.as_deref())))?;
        check_id_properties(portal, kind, &inputs, operation)?;
    }

    let tolerant = tolerates_bad_records(portal, &inputs, operation);
    let mut judged = judge(portal, kind, call.version, &inputs, operation);
    if !tolerant && !judged.invalid.is_empty() {
        let errors: Vec<PropertyError> = judged.invalid.into_iter().flat_map(|(_, errors)| errors).collect();
        return Err(Refusal::invalid_properties(&errors, portal.id, portal.quirks.listed_errors_max));
    }
    if !tolerant && !judged.unassociable.is_empty() {
        return Err(judged.unassociable.swap_remove(0).1.into_refusal());
    }
    let conflicts = settle_conflicts(portal, kind, &inputs, &mut judged, operation, tolerant)?;

    let mut errors: Vec<(usize, RecordError)> = conflicts;
    for (index, property_errors) in &judged.invalid {
        let message = invalid_properties_message(property_errors, portal.id);
        let trace = BTreeMap::from([("objectWriteTraceId", trace_of(&inputs[*index]))]);
        errors.push((*index, RecordError::new("VALIDATION_ERROR", message, trace)));
    }
    for (index, error) in judged.unassociable.drain(..) {
        errors.push((index, error.context("objectWriteTraceId", trace_of(&inputs[index]))));
    }
    errors.sort_by_key(|(index, _)| *index);
    let mut errors: Vec<RecordError> = errors.into_iter().map(|(_, error)| error).collect();
    errors.extend(not_found(kind, judged.missing));

    let results = carry_out(portal, position, &inputs, &judged.planned, operation);
    let status = if errors.is_empty() {
        operation.success_status()
    } else {
        partial_status(portal, call.version, operation.success_status())
    };
    Ok(answer(portal, status, results, errors).with_rows(inputs.len()))
}

fn missing_inputs(portal: &mut Portal, status: u16) -> Answer {
    match portal.quirks.missing_inputs {
        MissingInputs::SilentSuccess => Ok(answer(portal, status, Vec::new(), Vec::new())),
        MissingInputs::Refused => {
            Err(Refusal::validation("Invalid input JSON: some of required attributes are not set [inputs]"))
        }
    }
}

pub(crate) fn check_size(inputs: usize, max: usize) -> Result<(), Refusal> {
    if inputs <= max {
        return Ok(());
    }
    Err(Refusal::validation(format!(
        "The maximum number of inputs supported in a batch is {max}. Please reduce the number of items and try again"
    )))
}

fn check_duplicates<'a>(
    portal: &Portal,
    kind: &ObjectType,
    ids: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    let mut repeated = BTreeSet::new();
    for (id, property) in ids {
        let folded = match property.and_then(|name| kind.definition(name)) {
            Some(definition) => comparable(definition, id, &portal.quirks),
            None => id.to_owned(),
        };
        if !seen.insert((property, folded)) {
            repeated.insert(id.to_owned());
        }
    }
    if repeated.is_empty() {
        return Ok(());
    }
    let repeated: Vec<String> = repeated.into_iter().collect();
    let message = format!("Duplicate IDs found in batch input: [{}]. IDs must be unique", repeated.join(", "));
    Err(Refusal::validation(message).context("ids", repeated))
}

fn check_id_properties(
    portal: &Portal,
    kind: &ObjectType,
    inputs: &[WriteInput],
    operation: Operation,
) -> Result<(), Refusal> {
    let mut properties: Vec<Option<&str>> = inputs.iter().map(|i| i.id_property.as_deref()).collect();
    properties.sort_unstable();
    properties.dedup();
    if properties.len() > 1 && portal.quirks.mixed_id_properties == MixedIdProperties::Refused {
        return Err(Refusal::validation("All inputs of a batch must use the same idProperty"));
    }
    for property in properties {
        // Without a property the id is a record id: that is how updates work, while upserts need a unique property.
        let name = match (property, operation) {
            (Some(name), _) => name,
            (None, Operation::Upsert) => "hs_object_id",
            (None, _) => continue,
        };
        let Some(definition) = kind.definition(name) else {
            return Err(Refusal::validation(format!("Property \"{name}\" does not exist")));
        };
        // Contacts' email is a key for upserts, reads and single calls, but not for batch updates.
        let usable = is_key(definition) && !(operation == Operation::Update && name == "email");
        if !usable {
            return Err(Refusal::validation(format!(
                "Unable to perform update/upsert by non-unique {} property {name} in portal ID {}",
                kind.type_id, portal.id
            )));
        }
    }
    Ok(())
}

/// Whether bad records get errors of their own: only if each input can be told apart in the answer.
fn tolerates_bad_records(portal: &Portal, inputs: &[WriteInput], operation: Operation) -> bool {
    let keyed_by_email =
        operation == Operation::Upsert && inputs.iter().any(|i| i.id_property.as_deref() == Some("email"));
    if keyed_by_email && portal.quirks.email_upsert == EmailUpsert::AllOrNothing {
        return false;
    }
    let traces: BTreeSet<&str> = inputs.iter().filter_map(|i| i.trace_id.as_deref()).collect();
    traces.len() == inputs.len()
}

/// The inputs of a batch after validation, by their index.
#[derive(Debug, Default)]
struct Judged {
    planned: Vec<(usize, Planned)>,
    invalid: Vec<(usize, Vec<PropertyError>)>,
    unassociable: Vec<(usize, RecordError)>,
    missing: Vec<String>,
}

fn judge(
    portal: &Portal,
    kind: &ObjectType,
    version: ApiVersion,
    inputs: &[WriteInput],
    operation: Operation,
) -> Judged {
    let judge = Judge { quirks: &portal.quirks, owners: &portal.owners, erased: &portal.erased_emails };
    let required = requirements(kind, version, &portal.quirks);
    let mut judged = Judged::default();
    for (index, input) in inputs.iter().enumerate() {
        let key = input.id_property.as_deref().map(|property| Key { property, value: &input.id });
        let found = match operation {
            Operation::Create => None,
            Operation::Update | Operation::Upsert => find(portal, kind, &input.id, input.id_property.as_deref()),
        };
        let target = match (found, operation) {
            (Some(id), _) => Target::Existing(id),
            (None, Operation::Update) => {
                judged.missing.push(input.id.clone());
                continue;
            }
            (None, Operation::Create | Operation::Upsert) => Target::New,
        };
        let planned = plan(kind, judge, target, key, &input.properties, &required);
        if planned.is_ok()
            && let Err(error) = portal.associated(kind, &input.associations)
        {
            judged.unassociable.push((index, error));
            continue;
        }
        match planned {
            Ok(planned) => judged.planned.push((index, planned)),
            Err(errors) => judged.invalid.push((index, errors)),
        }
    }
    judged
}

/// The live record that an id names.
pub(crate) fn find(portal: &Portal, kind: &ObjectType, id: &str, property: Option<&str>) -> Option<u64> {
    match property.filter(|name| *name != "hs_object_id") {
        None => {
            let id = parse_id(id)?;
            match portal.quirks.merged_ids {
                MergedIds::Gone => kind.records.live(id).map(|record| record.id),
                MergedIds::Forwarded => kind.records.survivor(id),
            }
        }
        Some(name) => {
            let definition = kind.definition(name).filter(|d| is_key(d))?;
            kind.records.owner(&(Arc::clone(&definition.name), comparable(definition, id, &portal.quirks)))
        }
    }
}

/// A record id: decimal digits as the service writes them, without sign or leading zeros.
pub(crate) fn parse_id(text: &str) -> Option<u64> {
    text.parse().ok().filter(|id: &u64| id.to_string() == text)
}

/// Removes writes that want a value which another record owns, or refuses the batch.
fn settle_conflicts(
    portal: &Portal,
    kind: &ObjectType,
    inputs: &[WriteInput],
    judged: &mut Judged,
    operation: Operation,
    tolerant: bool,
) -> Result<Vec<(usize, RecordError)>, Refusal> {
    let whole_batch =
        !tolerant || (operation == Operation::Upsert && portal.quirks.upsert_conflict == UpsertConflict::WholeBatch);
    let mut claims = HashMap::new();
    let mut errors = Vec::new();
    let mut kept = Vec::with_capacity(judged.planned.len());
    let mut next_id = kind.records.next_id();
    for (index, planned) in judged.planned.drain(..) {
        if let Some(owner) = find_conflict(kind, &planned, &claims) {
            if whole_batch {
                return Err(Refusal::plain(409, already_exists(kind, owner)).category("CONFLICT"));
            }
            let context = BTreeMap::from([
                ("objectWriteTraceId", trace_of(&inputs[index])),
                ("existingId", vec![owner.to_string()]),
            ]);
            errors.push((index, RecordError::new("CONFLICT", already_exists(kind, owner), context)));
            continue;
        }
        let id = match planned.target {
            Target::Existing(id) => id,
            Target::New => {
                next_id += 1;
                next_id - 1
            }
        };
        claim(&planned, id, &mut claims);
        kept.push((index, planned));
    }
    judged.planned = kept;
    Ok(errors)
}

pub(crate) fn already_exists(kind: &ObjectType, owner: u64) -> String {
    format!("{} already exists. Existing ID: {owner}", kind.capitalised())
}

fn trace_of(input: &WriteInput) -> Vec<String> {
    input.trace_id.iter().cloned().collect()
}

fn not_found(kind: &ObjectType, ids: Vec<String>) -> Option<RecordError> {
    if ids.is_empty() {
        return None;
    }
    let message = format!(
        "Could not get some {} objects, they may be deleted or not exist. Check that ids are valid.",
        kind.shouted()
    );
    Some(RecordError::new("OBJECT_NOT_FOUND", message, BTreeMap::from([("ids", ids)])))
}

fn carry_out(
    portal: &mut Portal,
    position: usize,
    inputs: &[WriteInput],
    planned: &[(usize, Planned)],
    operation: Operation,
) -> Vec<RecordBody> {
    let now_ms = portal.now_ms();
    let mut written = Vec::with_capacity(planned.len());
    for (index, planned) in planned {
        let id = commit(&mut portal.types[position], planned, now_ms, &portal.quirks);
        portal.associate_new(position, id, &inputs[*index].associations);
        match planned.target {
            Target::New => portal.stats.rows_created += 1,
            Target::Existing(_) => portal.stats.rows_updated += 1,
        }
        written.push((index, planned, id));
    }
    let kind = &portal.types[position];
    let mut results = Vec::with_capacity(written.len());
    for (index, planned, id) in written {
        let Some(record) = kind.records.any(id) else { continue };
        let reason = match planned.target {
            Target::New => Reason::Created(&planned.named),
            Target::Existing(_) => Reason::Updated(&planned.named),
        };
        let mut body = portal.record_body(kind, record, reason);
        if operation == Operation::Upsert {
            body.new = Some(planned.target == Target::New);
        }
        if portal.quirks.trace_id_in_results == TraceIdEcho::Echoed {
            body.object_write_trace_id.clone_from(&inputs[*index].trace_id);
        }
        results.push(body);
    }
    results
}

fn partial_status(portal: &Portal, version: ApiVersion, success: u16) -> u16 {
    match (version, portal.quirks.dated_partial_status) {
        (ApiVersion::September2026, DatedPartialStatus::Success) => success,
        _ => 207,
    }
}

fn answer(portal: &mut Portal, status: u16, mut results: Vec<RecordBody>, errors: Vec<RecordError>) -> Reply {
    if portal.quirks.result_order == ResultOrder::Shuffled {
        portal.rng.disorder(&mut results);
    }
    let now = iso_from_ms(portal.now_ms());
    let num_errors = (!errors.is_empty()).then_some(errors.len());
    let errors = num_errors.map(|_| errors);
    Reply::json(
        status,
        &BatchBody { completed_at: now.clone(), status: "COMPLETE", started_at: now, results, errors, num_errors },
    )
}

pub(crate) fn read(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::ReadRecords)?;
    let Some(request) = wire::batch_read(&call.body, &portal.quirks)? else {
        return missing_inputs(portal, 200);
    };
    check_size(request.ids.len(), MAX_INPUTS)?;
    let kind = &portal.types[position];
    let property = request.id_property.as_deref().filter(|name| *name != "hs_object_id");
    check_duplicates(portal, kind, request.ids.iter().map(|id| (id.as_str(), property)))?;
    if let Some(name) = property
        && !kind.definition(name).is_some_and(is_key)
    {
        return Err(Refusal::validation(format!(
            "Unable to read by non-unique {} property {name} in portal ID {}",
            kind.type_id, portal.id
        )));
    }
    let archived = call.parameter("archived") == Some("true");
    let mut results = Vec::new();
    let mut missing = Vec::new();
    for id in &request.ids {
        let found = if archived && property.is_none() {
            parse_id(id).and_then(|id| kind.records.any(id)).filter(|record| record.is_in_bin())
        } else {
            find(portal, kind, id, property).and_then(|id| kind.records.live(id)).filter(|_| !archived)
        };
        match found {
            Some(record) => results.push(portal.record_body(kind, record, Reason::Read(&request.properties))),
            None => missing.push(id.clone()),
        }
    }
    let errors: Vec<RecordError> = not_found(kind, missing).into_iter().collect();
    let status = if errors.is_empty() { 200 } else { partial_status(portal, call.version, 200) };
    Ok(answer(portal, status, results, errors).with_rows(request.ids.len()))
}

pub(crate) fn archive(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::WriteRecords)?;
    let Some(ids) = wire::batch_archive(&call.body)? else {
        return missing_inputs(portal, 200);
    };
    check_size(ids.len(), MAX_INPUTS)?;
    for id in &ids {
        // What is gone already is as gone as it was asked to be.
        if let Some(id) = parse_id(id) {
            archive_one(portal, position, id);
        }
    }
    Ok(Reply::empty(204).with_rows(ids.len()))
}

/// Archives a record. False if it does not exist or is archived already.
pub(crate) fn archive_one(portal: &mut Portal, position: usize, id: u64) -> bool {
    let now_ms = portal.now_ms();
    let kind = &mut portal.types[position];
    let Some(record) = kind.records.live(id) else { return false };
    let keys = held_keys(kind, record, &portal.quirks);
    let archived = kind.records.archive(id, &keys, now_ms);
    portal.stats.rows_archived += u64::from(archived);
    archived
}
