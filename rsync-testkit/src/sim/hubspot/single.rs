//! Endpoints for one record, and the list of all.

use serde_json::json;

use super::association::single::beside;
use super::batch::{already_exists, archive_one, find, parse_id};
use super::object_type::{Access, ObjectType};
use super::portal::{Call, Portal};
use super::record_body::{Reason, RecordBody};
use super::records::Stored;
use super::reply::{Answer, RecordError, Refusal, Reply};
use super::value::Judge;
use super::wire::{self, SingleWrite};
use super::write::{Target, commit, find_conflict, plan, requirements};

const DEFAULT_PAGE: usize = 10;
const MAX_PAGE: usize = 100;

pub(crate) fn create(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::WriteRecords)?;
    write_one(portal, call, position, Target::New)
}

pub(crate) fn update(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::WriteRecords)?;
    let id = named_record(portal, call, &portal.types[position])?.id;
    write_one(portal, call, position, Target::Existing(id))
}

fn write_one(portal: &mut Portal, call: &Call, position: usize, target: Target) -> Answer {
    let SingleWrite { properties, associations } = wire::single(&call.body, &portal.quirks)?;
    // Only creation knows associations.
    let associations = if target == Target::New { associations } else { Vec::new() };
    portal.associated(&portal.types[position], &associations).map_err(RecordError::into_refusal)?;
    let now_ms = portal.now_ms();
    let judge = Judge { quirks: &portal.quirks, owners: &portal.owners, erased: &portal.erased_emails };
    let kind = &mut portal.types[position];
    let planned = {
        let required = requirements(kind, call.version, &portal.quirks);
        plan(kind, judge, target, None, &properties, &required)
    }
    .map_err(|errors| Refusal::invalid_properties(&errors, portal.id, portal.quirks.listed_errors_max))?;
    if let Some(owner) = find_conflict(kind, &planned, &std::collections::HashMap::new()) {
        return Err(Refusal::plain(409, already_exists(kind, owner)).category("CONFLICT"));
    }
    let id = commit(kind, &planned, now_ms, &portal.quirks);
    portal.associate_new(position, id, &associations);
    let (status, reason) = match target {
        Target::New => {
            portal.stats.rows_created += 1;
            (201, Reason::Created(&planned.named))
        }
        Target::Existing(_) => {
            portal.stats.rows_updated += 1;
            (200, Reason::Updated(&planned.named))
        }
    };
    let kind = &portal.types[position];
    let record = kind.records.any(id).ok_or_else(unknown)?;
    Ok(Reply::json(status, &portal.record_body(kind, record, reason)).with_rows(1))
}

/// Refuses parameters for what the simulator does not hold, rather than answering as if there were none of it.
fn check_parameters(call: &Call) -> Result<(), Refusal> {
    if call.list_parameter("propertiesWithHistory").is_empty() {
        return Ok(());
    }
    Err(wire::not_simulated("property history"))
}

pub(crate) fn read(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::ReadRecords)?;
    check_parameters(call)?;
    let kind = &portal.types[position];
    let record = if call.parameter("archived") == Some("true") {
        let archived = parse_id(call.part("id")).and_then(|id| kind.records.any(id)).filter(|r| r.is_in_bin());
        archived.ok_or_else(unknown)?
    } else {
        named_record(portal, call, kind)?
    };
    let properties = call.list_parameter("properties");
    let mut body = portal.record_body(kind, record, Reason::Read(&properties));
    body.associations = beside(portal, (position, record.id), &call.list_parameter("associations"))?;
    Ok(Reply::json(200, &body))
}

pub(crate) fn archive(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::WriteRecords)?;
    let id = named_record(portal, call, &portal.types[position])?.id;
    archive_one(portal, position, id);
    Ok(Reply::empty(204).with_rows(1))
}

pub(crate) fn list(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::ReadRecords)?;
    check_parameters(call)?;
    if !call.list_parameter("associations").is_empty() {
        return Err(wire::not_simulated("associations in lists of records"));
    }
    let kind = &portal.types[position];
    let limit = match call.parameter("limit").map(str::parse::<usize>) {
        None => DEFAULT_PAGE,
        Some(Ok(limit)) if (1..=MAX_PAGE).contains(&limit) => limit,
        Some(_) => return Err(Refusal::validation(format!("limit must be between 1 and {MAX_PAGE}"))),
    };
    let after = match call.parameter("after").filter(|after| !after.is_empty()) {
        None => 0,
        Some(after) => parse_id(after).ok_or_else(|| Refusal::validation("after is not a valid cursor"))?,
    };
    let archived = call.parameter("archived") == Some("true");
    let properties = call.list_parameter("properties");
    let mut records = kind
        .records
        .at_or_after(after)
        .filter(|record| if archived { record.is_in_bin() } else { !record.is_archived() });
    let results: Vec<RecordBody> = records
        .by_ref()
        .take(limit)
        .map(|record| portal.record_body(kind, record, Reason::Read(&properties)))
        .collect();
    let mut body = json!({ "results": results });
    if let Some(next) = records.next() {
        let after = next.id.to_string();
        let link = format!("https://api.hubapi.com/crm/objects/v3/{}?limit={limit}&after={after}", kind.name);
        body["paging"] = json!({ "next": { "after": after, "link": link } });
    }
    Ok(Reply::json(200, &body))
}

/// The live record that the path names, by id or by the unique property in `idProperty`.
fn named_record<'a>(portal: &Portal, call: &Call, kind: &'a ObjectType) -> Result<&'a Stored, Refusal> {
    let id = call.part("id");
    let property = call.parameter("idProperty");
    if property.is_none() && parse_id(id).is_none() {
        return Err(
            Refusal::plain(404, "Object not found.  objectId are usually numeric.").category("OBJECT_NOT_FOUND")
        );
    }
    find(portal, kind, id, property).and_then(|id| kind.records.live(id)).ok_or_else(unknown)
}

fn unknown() -> Refusal {
    Refusal::plain(404, "resource not found")
}
