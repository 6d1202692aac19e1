//! Batch endpoints of associations. Every input stands for itself: wrong ones get an error, the others are carried out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::batch::parse_id;
use super::super::instant::iso_from_ms;
use super::super::object_type::Access;
use super::super::portal::{Call, Portal};
use super::super::reply::{Answer, RecordError, Refusal, Reply};
use super::super::wire::unset;
use super::wire::{EndedBody, IdBody, PairBody, ReadBody, inputs, types};
use super::{End, TypeRef};

const MAX_READ_INPUTS: usize = 1_000;
/// Most associations of one record in one answer.
const PAGE: usize = 500;

/// Positions of the two types that the path names, if the token may access both.
pub(super) fn both(portal: &Portal, call: &Call, access: Access) -> Result<(usize, usize), Refusal> {
    let from = portal.accessed(call, call.part("object"), access)?;
    Ok((from, portal.accessed(call, call.part("to"), access)?))
}

fn id(body: Option<IdBody>, name: &str) -> Result<String, Refusal> {
    body.ok_or_else(|| unset(name))?.read()
}

/// Two records that may be associated with each other.
pub(super) fn pair(
    portal: &Portal,
    (from, to): (usize, usize),
    from_id: &str,
    to_id: &str,
) -> Result<(End, End), RecordError> {
    let ends = (portal.associable(from, from_id)?, portal.associable(to, to_id)?);
    if ends.0 == ends.1 {
        let message = format!("Object {from_id} cannot be associated to itself ({to_id})");
        return Err(RecordError::new("VALIDATION_ERROR", message, BTreeMap::new()));
    }
    Ok(ends)
}

/// Refuses association types that do not lead from the one object to the other.
pub(super) fn check_types(portal: &Portal, from: usize, to: usize, wanted: &[TypeRef]) -> Result<(), RecordError> {
    let unknown = wanted.iter().find(|wanted| !portal.associations.between(from, to).any(|t| t.this == **wanted));
    let Some(unknown) = unknown else { return Ok(()) };
    let message = format!(
        "{} is not an association type from {} to {}",
        unknown.id, portal.types[from].type_id, portal.types[to].type_id
    );
    let context = BTreeMap::from([("associationTypeId", vec![unknown.id.to_string()])]);
    Err(RecordError::new("VALIDATION_ERROR", message, context)
        .sub_category("crm.associations.INVALID_ASSOCIATION_TYPE"))
}

pub(crate) fn create(portal: &mut Portal, call: &Call) -> Answer {
    let (from, to) = both(portal, call, Access::WriteRecords)?;
    let inputs: Vec<PairBody> = inputs(&call.body, portal.quirks.association_inputs_max)?;
    let rows = inputs.len();
    let mut read = Vec::with_capacity(rows);
    for input in inputs {
        let wanted = types(&input.types.ok_or_else(|| unset("types"))?)?;
        read.push((id(input.from, "from")?, id(input.to, "to")?, wanted));
    }
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for (from_id, to_id, wanted) in read {
        let judged = pair(portal, (from, to), &from_id, &to_id)
            .and_then(|ends| check_types(portal, from, to, &wanted).map(|()| ends));
        match judged {
            Ok((one, other)) => {
                for kind in &wanted {
                    portal.associations.associate(one, other, *kind);
                }
                portal.stats.associations_written += 1;
                results.push(labels_between(portal, one, other, &wanted));
            }
            Err(error) => errors.push(error),
        }
    }
    Ok(answer(portal, 201, results, errors).with_rows(rows))
}

pub(super) fn labels_between(portal: &Portal, from: End, to: End, wanted: &[TypeRef]) -> Value {
    let labels: Vec<&str> = portal
        .associations
        .between(from.0, to.0)
        .filter(|t| wanted.contains(&t.this))
        .filter_map(|t| t.label.as_deref())
        .collect();
    json!({
        "fromObjectTypeId": portal.types[from.0].type_id,
        "fromObjectId": from.1,
        "toObjectTypeId": portal.types[to.0].type_id,
        "toObjectId": to.1,
        "labels": labels,
    })
}

pub(crate) fn create_default(portal: &mut Portal, call: &Call) -> Answer {
    let (from, to) = both(portal, call, Access::WriteRecords)?;
    let inputs: Vec<PairBody> = inputs(&call.body, portal.quirks.association_inputs_max)?;
    let mut pairs = Vec::with_capacity(inputs.len());
    for input in inputs {
        pairs.push((id(input.from, "from")?, id(input.to, "to")?));
    }
    associate_by_default(portal, from, to, &pairs)
}

/// Associates records without a label, which changes nothing where they are associated already.
pub(super) fn associate_by_default(portal: &mut Portal, from: usize, to: usize, pairs: &[(String, String)]) -> Answer {
    let Some((there, back)) = portal.associations.unlabelled(from, to).zip(portal.associations.unlabelled(to, from))
    else {
        return Err(Refusal::validation(format!(
            "Objects {} and {} cannot be associated",
            portal.types[from].type_id, portal.types[to].type_id
        )));
    };
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for (from_id, to_id) in pairs {
        match pair(portal, (from, to), from_id, to_id) {
            Ok((one, other)) => {
                portal.associations.associate(one, other, there);
                portal.stats.associations_written += 1;
                for (one, other, kind) in [(one, other, there), (other, one, back)] {
                    results.push(json!({
                        "from": { "id": one.1.to_string() },
                        "to": { "id": other.1.to_string() },
                        "associationSpec": { "associationCategory": kind.category, "associationTypeId": kind.id },
                    }));
                }
            }
            Err(error) => errors.push(error),
        }
    }
    Ok(answer(portal, 200, results, errors).with_rows(pairs.len()))
}

pub(crate) fn read(portal: &mut Portal, call: &Call) -> Answer {
    let (from, to) = both(portal, call, Access::ReadRecords)?;
    let inputs: Vec<ReadBody> = inputs(&call.body, MAX_READ_INPUTS)?;
    let rows = inputs.len();
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for input in inputs {
        let text: String = input.id.ok_or_else(|| unset("id"))?.into();
        let after = input.after.map(String::from).and_then(|after| parse_id(&after));
        let end = match portal.associable(from, &text) {
            Ok(end) => end,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        let (found, next) = page(portal, end, to, after, PAGE);
        if found.is_empty() {
            let context = BTreeMap::from([
                ("fromObjectId", vec![text.clone()]),
                ("fromObjectType", vec![portal.types[from].singular.clone()]),
                ("toObjectType", vec![portal.types[to].singular.clone()]),
            ]);
            let message =
                format!("No {} is associated with {} {text}.", portal.types[to].singular, portal.types[from].singular);
            let error = RecordError::new("OBJECT_NOT_FOUND", message, context);
            errors.push(error.sub_category("crm.associations.NO_ASSOCIATIONS_FOUND"));
            continue;
        }
        let mut result = json!({ "from": { "id": text }, "to": found });
        if let Some(next) = next {
            result["paging"] = json!({ "next": { "after": next.to_string() } });
        }
        results.push(result);
    }
    Ok(answer(portal, 200, results, errors).with_rows(rows))
}

/// Records that a record is associated with, and where the next page begins.
pub(super) fn page(
    portal: &Portal,
    from: End,
    to: usize,
    after: Option<u64>,
    limit: usize,
) -> (Vec<Value>, Option<u64>) {
    let shown = |types: &BTreeSet<TypeRef>| -> Vec<Value> {
        portal
            .associations
            .between(from.0, to)
            .filter(|t| types.contains(&t.this))
            .map(|t| json!({ "category": t.this.category, "typeId": t.this.id, "label": t.label }))
            .collect()
    };
    let mut all = portal
        .associations
        .of(from, to)
        .filter(|(id, _)| after.is_none_or(|after| *id > after) && portal.types[to].records.live(*id).is_some());
    let taken: Vec<(u64, &BTreeSet<TypeRef>)> = all.by_ref().take(limit).collect();
    let next = taken.last().map(|(id, _)| *id).filter(|_| all.next().is_some());
    let found = taken.iter().map(|(id, types)| json!({ "toObjectId": id, "associationTypes": shown(types) })).collect();
    (found, next)
}

pub(crate) fn archive(portal: &mut Portal, call: &Call) -> Answer {
    let (from, to) = both(portal, call, Access::WriteRecords)?;
    let inputs: Vec<EndedBody> = inputs(&call.body, portal.quirks.association_inputs_max)?;
    let mut read = Vec::new();
    for input in inputs {
        let from_id = id(input.from, "from")?;
        for other in input.to.ok_or_else(|| unset("to"))? {
            read.push((from_id.clone(), other.read()?));
        }
    }
    // What is not associated is as separate as it was asked to be.
    for (from_id, to_id) in &read {
        if let Ok((one, other)) = pair(portal, (from, to), from_id, to_id) {
            portal.associations.dissociate(one, other);
            portal.stats.associations_written += 1;
        }
    }
    Ok(Reply::empty(204).with_rows(read.len()))
}

pub(crate) fn archive_labels(portal: &mut Portal, call: &Call) -> Answer {
    let (from, to) = both(portal, call, Access::WriteRecords)?;
    let inputs: Vec<PairBody> = inputs(&call.body, portal.quirks.association_inputs_max)?;
    let mut read = Vec::with_capacity(inputs.len());
    for input in inputs {
        let wanted = types(&input.types.ok_or_else(|| unset("types"))?)?;
        read.push((id(input.from, "from")?, id(input.to, "to")?, wanted));
    }
    for (from_id, to_id, wanted) in &read {
        if let Ok((one, other)) = pair(portal, (from, to), from_id, to_id) {
            for kind in wanted {
                portal.associations.remove_label(one, other, *kind);
            }
            portal.stats.associations_written += 1;
        }
    }
    Ok(Reply::empty(204).with_rows(read.len()))
}

fn answer(portal: &Portal, success: u16, results: Vec<Value>, errors: Vec<RecordError>) -> Reply {
    let now = iso_from_ms(portal.now_ms());
    let mut body = json!({ "completedAt": now, "status": "COMPLETE", "startedAt": now, "results": results });
    if errors.is_empty() {
        return Reply::json(success, &body);
    }
    body["numErrors"] = json!(errors.len());
    body["errors"] = json!(errors);
    Reply::json(207, &body)
}
