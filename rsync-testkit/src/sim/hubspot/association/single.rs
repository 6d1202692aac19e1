//! Endpoints for the associations of one record, and for labels.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::batch::parse_id;
use super::super::object_type::Access;
use super::super::portal::{Call, Portal};
use super::super::reply::{Answer, RecordError, Refusal, Reply};
use super::super::wire::{self, unset};
use super::batch::{associate_by_default, both, check_types, labels_between, page, pair};
use super::wire::{TypeBody, types};
use super::{AssociationType, End};

const DEFAULT_PAGE: usize = 500;

fn named(portal: &Portal, call: &Call, positions: (usize, usize)) -> Result<(End, End), Refusal> {
    pair(portal, positions, call.part("id"), call.part("to_id")).map_err(RecordError::into_refusal)
}

pub(crate) fn create(portal: &mut Portal, call: &Call) -> Answer {
    let (from, to) = both(portal, call, Access::WriteRecords)?;
    let bodies: Vec<TypeBody> = wire::json(&call.body)?;
    let wanted = types(&bodies)?;
    if wanted.is_empty() {
        return Err(Refusal::validation("At least one association type must be given"));
    }
    let (one, other) = named(portal, call, (from, to))?;
    check_types(portal, from, to, &wanted).map_err(RecordError::into_refusal)?;
    for kind in &wanted {
        portal.associations.associate(one, other, *kind);
    }
    portal.stats.associations_written += 1;
    Ok(Reply::json(201, &labels_between(portal, one, other, &wanted)).with_rows(1))
}

pub(crate) fn create_default(portal: &mut Portal, call: &Call) -> Answer {
    let (from, to) = both(portal, call, Access::WriteRecords)?;
    named(portal, call, (from, to))?;
    associate_by_default(portal, from, to, &[(call.part("id").to_owned(), call.part("to_id").to_owned())])
}

pub(crate) fn archive(portal: &mut Portal, call: &Call) -> Answer {
    let positions = both(portal, call, Access::WriteRecords)?;
    let (one, other) = named(portal, call, positions)?;
    portal.associations.dissociate(one, other);
    portal.stats.associations_written += 1;
    Ok(Reply::empty(204).with_rows(1))
}

pub(crate) fn list(portal: &mut Portal, call: &Call) -> Answer {
    let (from, to) = both(portal, call, Access::ReadRecords)?;
    let end = portal.associable(from, call.part("id")).map_err(RecordError::into_refusal)?;
    let limit = match call.parameter("limit").map(str::parse::<usize>) {
        None => DEFAULT_PAGE,
        Some(Ok(limit)) if (1..=DEFAULT_PAGE).contains(&limit) => limit,
        Some(_) => return Err(Refusal::validation(format!("limit must be between 1 and {DEFAULT_PAGE}"))),
    };
    let after = call.parameter("after").and_then(parse_id);
    let (results, next) = page(portal, end, to, after, limit);
    let mut body = json!({ "results": results });
    if let Some(next) = next {
        body["paging"] = json!({ "next": { "after": next.to_string() } });
    }
    Ok(Reply::json(200, &body))
}

/// The associations of a record as its own answer shows them, by the object names asked for.
pub(crate) fn beside(portal: &Portal, from: End, asked: &[String]) -> Result<Map<String, Value>, Refusal> {
    let mut all = Map::new();
    for name in asked {
        let to = portal.types.iter().position(|kind| kind.answers_to(name));
        let to = to.ok_or_else(|| Refusal::plain(400, format!("Unable to infer object type from: {name}")))?;
        let way = format!("{}_to_{}", portal.types[from.0].singular, portal.types[to].singular);
        let mut results = Vec::new();
        for (id, types) in portal.associations.of(from, to) {
            if portal.types[to].records.live(id).is_none() {
                continue;
            }
            for kind in portal.associations.between(from.0, to).filter(|kind| types.contains(&kind.this)) {
                let label = kind.label.as_deref().map(|label| label.to_lowercase().replace(' ', "_"));
                let kind = label.map_or_else(|| way.clone(), |label| format!("{way}_{label}"));
                results.push(json!({ "id": id.to_string(), "type": kind }));
            }
        }
        if !results.is_empty() {
            all.insert(portal.types[to].name.clone(), json!({ "results": results }));
        }
    }
    Ok(all)
}

fn shown(kind: &AssociationType) -> Value {
    json!({ "category": kind.this.category, "typeId": kind.this.id, "label": kind.label })
}

pub(crate) fn labels(portal: &mut Portal, call: &Call) -> Answer {
    let (from, to) = both(portal, call, Access::ReadRecords)?;
    let results: Vec<Value> = portal.associations.between(from, to).map(shown).collect();
    Ok(Reply::json(200, &json!({ "results": results })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewLabel {
    label: Option<String>,
    name: Option<String>,
    inverse_label: Option<String>,
}

pub(crate) fn create_label(portal: &mut Portal, call: &Call) -> Answer {
    let (from, to) = both(portal, call, Access::WriteDefinitions)?;
    let body: NewLabel = wire::json(&call.body)?;
    let label = body.label.filter(|label| !label.is_empty()).ok_or_else(|| unset("label"))?;
    body.name.ok_or_else(|| unset("name"))?;
    let inverse = body.inverse_label.unwrap_or_else(|| label.clone());
    let made = portal.associations.add_label(from, to, &label, &inverse).map_err(super::LabelRefused::refusal)?;
    Ok(Reply::json(200, &json!({ "results": made.iter().map(shown).collect::<Vec<_>>() })))
}
