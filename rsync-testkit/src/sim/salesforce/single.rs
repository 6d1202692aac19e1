//! Endpoints about one record.

use serde_json::{Value, json};

use super::collections::{key_field, lock_error};
use super::field::{Field, Kind};
use super::org::{Call, Org};
use super::quirks::{RowLocks, SingleUpsertUpdate};
use super::record_body::record_body;
use super::records::Stored;
use super::reply::{Answer, Refusal, Reply, RowError};
use super::rules::Saving;
use super::value::judge;
use super::write::{self, Applied, Draft, Properties, Target};

/// Ends of a value in a path that the service takes for a file extension.
const EXTENSIONS: [&str; 3] = [".inc", ".json", ".xml"];

/// The object of the path, if its records may be written.
fn writable(org: &Org, call: &Call) -> Result<usize, Refusal> {
    let object = org.object(call.segment(1)).ok_or_else(Refusal::not_found)?;
    if org.objects[object].writable {
        return Ok(object);
    }
    let message = format!("entity type {} does not support this operation", org.objects[object].name);
    Err(Refusal::new(400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message))
}

fn draft_of(org: &Org, object: usize, call: &Call, without: Option<&Field>) -> Result<Draft, Refusal> {
    let body = call.text()?;
    let properties: Properties<'_> = serde_json::from_str(body).map_err(|e| Refusal::parser(e.to_string()))?;
    let draft = write::read(org, object, &properties, body)?;
    let repeated = |name: &str| {
        let message = format!("The {name} field should not be specified in the sobject data.");
        Refusal::new(400, "INVALID_FIELD", message)
    };
    if draft.id.is_some() {
        return Err(repeated("Id"));
    }
    match without.filter(|key| draft.changes.contains_key(&key.name)) {
        Some(key) => Err(repeated(&key.name)),
        None => Ok(draft),
    }
}

fn apply(org: &mut Org, call: &Call, mut draft: Draft, target: &Target) -> Result<Applied, Refusal> {
    org.stats.rows_received += 1;
    draft.saving = Saving::of(call);
    let held = !call.locked_rows.is_empty() && org.quirks.row_locks == RowLocks::Refused;
    let done = if held {
        let id = if let Target::Update(id) = target { id } else { "new record" };
        Err(vec![lock_error(id)])
    } else {
        write::apply(org, &draft, target)
    };
    match done {
        Ok((applied, _)) => {
            org.count_saved(draft.object, applied.created, !draft.saving.keep_owner);
            Ok(applied)
        }
        Err(errors) => {
            org.stats.rows_failed += 1;
            Err(refused(errors))
        }
    }
}

/// The status that goes with a record's errors.
fn refused(errors: Vec<RowError>) -> Refusal {
    let gone = errors.iter().any(|error| matches!(error.code.as_str(), "ENTITY_IS_DELETED" | "NOT_FOUND"));
    Refusal::rows(if gone { 404 } else { 400 }, errors)
}

fn saved(status: u16, applied: &Applied) -> Reply {
    Reply::json(status, &json!({ "id": applied.id, "success": true, "errors": [] }))
}

pub(crate) fn create(org: &mut Org, call: &Call) -> Answer {
    let object = writable(org, call)?;
    let draft = draft_of(org, object, call, None)?;
    let applied = apply(org, call, draft, &Target::Create)?;
    Ok(saved(201, &applied).with_rows(1))
}

pub(crate) fn update(org: &mut Org, call: &Call) -> Answer {
    let object = writable(org, call)?;
    let target = target(org, object, call.segment(2))?;
    let draft = draft_of(org, object, call, None)?;
    apply(org, call, draft, &target)?;
    Ok(Reply::empty(204).with_rows(1))
}

/// The record of a path. One that never was is no resource.
fn target(org: &Org, object: usize, id: &str) -> Result<Target, Refusal> {
    write::target_of_id(org, object, id).map_err(|error| match error.code.as_str() {
        "INVALID_CROSS_REFERENCE_KEY" => Refusal::not_found(),
        _ => refused(vec![error]),
    })
}

pub(crate) fn upsert(org: &mut Org, call: &Call) -> Answer {
    let object = writable(org, call)?;
    let key = key_field(org, object, call.segment(2))?;
    let value = path_value(org, call, &key)?;
    if key.kind == Kind::Id {
        let target = target(org, object, &value)?;
        let draft = draft_of(org, object, call, None)?;
        apply(org, call, draft, &target)?;
        return Ok(Reply::empty(204).with_rows(1));
    }
    let holders = org.objects[object].records.holders(&key, &value);
    if holders.len() > 1 {
        return Err(several(call, &org.objects[object].name, &holders));
    }
    let mut draft = draft_of(org, object, call, Some(&key))?;
    draft.changes.insert(std::sync::Arc::clone(&key.name), Some(value.clone()));
    let target = write::target_of_key(org, object, &key, &value).map_err(|error| refused(vec![error]))?;
    let update_only = call.parameter("updateOnly").is_some_and(|flag| flag.eq_ignore_ascii_case("true"));
    if update_only && matches!(target, Target::Create) {
        return Err(Refusal::not_found());
    }
    let applied = apply(org, call, draft, &target)?;
    if !applied.created && org.quirks.single_upsert_update == SingleUpsertUpdate::NoContent {
        return Ok(Reply::empty(204).with_rows(1));
    }
    let body = json!({ "id": applied.id, "success": true, "errors": [], "created": applied.created });
    Ok(Reply::json(if applied.created { 201 } else { 200 }, &body).with_rows(1))
}

/// The key value in a path, in the form in which it is stored.
fn path_value(org: &Org, call: &Call, key: &Field) -> Result<String, Refusal> {
    let value = call.segment(3);
    if EXTENSIONS.iter().any(|end| value.ends_with(end)) {
        return Err(Refusal::not_found());
    }
    let raw = serde_json::value::to_raw_value(value).map_err(|e| Refusal::parser(e.to_string()))?;
    match judge(key, &raw, &org.quirks) {
        Ok(Some(value)) => Ok(value),
        _ => Err(Refusal::not_found()),
    }
}

/// 300: the key value belongs to several records.
fn several(call: &Call, object: &str, holders: &[&Stored]) -> Refusal {
    let root = call.root();
    let urls: Vec<Value> = holders.iter().map(|row| json!(format!("{root}/sobjects/{object}/{}", row.id))).collect();
    Refusal::other(300, Value::Array(urls))
}

pub(crate) fn delete(org: &mut Org, call: &Call) -> Answer {
    let object = writable(org, call)?;
    let Target::Update(id) = target(org, object, call.segment(2))? else { return Err(Refusal::not_found()) };
    removed(org, &id)
}

pub(crate) fn delete_by_key(org: &mut Org, call: &Call) -> Answer {
    let object = writable(org, call)?;
    let id = the_holder(org, call, object)?;
    removed(org, &id)
}

fn removed(org: &mut Org, id: &str) -> Answer {
    org.stats.rows_received += 1;
    match write::delete(org, id) {
        Ok(_) => {
            org.stats.rows_deleted += 1;
            Ok(Reply::empty(204).with_rows(1))
        }
        Err(error) => {
            org.stats.rows_failed += 1;
            Err(refused(vec![error]))
        }
    }
}

/// The id of the one record with the path's key value.
fn the_holder(org: &Org, call: &Call, object: usize) -> Result<String, Refusal> {
    let key = key_field(org, object, call.segment(2))?;
    let value = path_value(org, call, &key)?;
    match org.objects[object].records.holders(&key, &value).as_slice() {
        [one] => Ok(one.id.clone()),
        [] => Err(Refusal::not_found()),
        holders => Err(several(call, &org.objects[object].name, holders)),
    }
}

pub(crate) fn read(org: &mut Org, call: &Call) -> Answer {
    let object = org.object(call.segment(1)).ok_or_else(Refusal::not_found)?;
    let Target::Update(id) = target(org, object, call.segment(2))? else { return Err(Refusal::not_found()) };
    shown(org, call, object, &id)
}

pub(crate) fn read_by_key(org: &mut Org, call: &Call) -> Answer {
    let object = org.object(call.segment(1)).ok_or_else(Refusal::not_found)?;
    let id = the_holder(org, call, object)?;
    shown(org, call, object, &id)
}

fn shown(org: &Org, call: &Call, object: usize, id: &str) -> Answer {
    let object = &org.objects[object];
    let row = object.records.by_id(id).ok_or_else(Refusal::not_found)?;
    let mut fields: Vec<&Field> = object.fields.iter().filter(|field| !field.kind.is_compound()).collect();
    if let Some(list) = call.parameter("fields") {
        let named = list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(|name| {
            let unknown = || Refusal::rows(400, vec![RowError::no_such_column(name, &object.name)]);
            object.field(name).ok_or_else(unknown)
        });
        fields = named.collect::<Result<_, _>>()?;
        // The id is always there.
        if let Some(id) = object.field("Id").filter(|_| !fields.iter().any(|field| field.kind == Kind::Id)) {
            fields.push(id);
        }
    }
    Ok(Reply::json(200, &record_body(org, object, row, fields, &call.root())))
}
