//! Endpoints for lists themselves.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::batch::parse_id;
use super::super::portal::{Call, Portal};
use super::super::reply::{Answer, Refusal, Reply};
use super::super::wire::{self, unset};
use super::{ListProcessing, MS_PER_DAY, RESTORABLE_DAYS, check_read, check_write, unknown};

const DEFAULT_SEARCH_PAGE: usize = 20;
const MAX_SEARCH_PAGE: usize = 500;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewList {
    name: Option<String>,
    object_type_id: Option<String>,
    processing_type: Option<ListProcessing>,
    filter_branch: Option<Value>,
}

fn duplicate_name(name: &str) -> Refusal {
    Refusal::validation(format!("A list with the name {name} already exists.")).sub_category("ILS.DUPLICATE_LIST_NAMES")
}

pub(crate) fn create(portal: &mut Portal, call: &Call) -> Answer {
    check_write(portal, call)?;
    let body: NewList = wire::json(&call.body)?;
    let name = body.name.filter(|name| !name.trim().is_empty()).ok_or_else(|| unset("name"))?;
    let object = body.object_type_id.ok_or_else(|| unset("objectTypeId"))?;
    let processing = body.processing_type.ok_or_else(|| unset("processingType"))?;
    // Lists know objects by type id only.
    let kind = portal.types.iter().find(|kind| kind.type_id.eq_ignore_ascii_case(&object));
    let type_id = kind.map(|kind| kind.type_id.clone());
    let type_id = type_id.ok_or_else(|| Refusal::validation(format!("{object} is not a valid object type ID")))?;
    match (processing, &body.filter_branch) {
        (ListProcessing::Dynamic, None) => return Err(unset("filterBranch")),
        (ListProcessing::Manual, Some(_)) => {
            return Err(Refusal::validation("A list of processing type MANUAL cannot have a filter branch"));
        }
        _ => {}
    }
    if portal.lists.named(&name).is_some() {
        return Err(duplicate_name(&name));
    }
    let now_ms = portal.now_ms();
    let id = portal.lists.create(&name, &type_id, processing, body.filter_branch, now_ms);
    let list = portal.lists.by_id.get(&id).map(|list| portal.list_json(list, true));
    Ok(Reply::json(200, &json!({ "list": list })))
}

fn wants_filter(call: &Call) -> bool {
    call.parameter("includeFilters") == Some("true")
}

pub(crate) fn read(portal: &mut Portal, call: &Call) -> Answer {
    check_read(portal, call)?;
    let list = portal.list(call)?;
    Ok(Reply::json(200, &json!({ "list": portal.list_json(list, wants_filter(call)) })))
}

pub(crate) fn read_by_name(portal: &mut Portal, call: &Call) -> Answer {
    check_read(portal, call)?;
    let (object, name) = (call.part("object"), call.part("name"));
    let list = portal.lists.named(name).filter(|list| list.type_id.eq_ignore_ascii_case(object));
    let list = list.ok_or_else(|| {
        Refusal::plain(404, format!("List does not exist with name {name} and object type ID {object}."))
            .category("OBJECT_NOT_FOUND")
            .sub_category("ILS.LIST_NOT_FOUND")
    })?;
    Ok(Reply::json(200, &json!({ "list": portal.list_json(list, wants_filter(call)) })))
}

/// Lists by their ids.
pub(crate) fn read_many(portal: &mut Portal, call: &Call) -> Answer {
    check_read(portal, call)?;
    let ids = call.list_parameter("listIds");
    let found = ids.iter().filter_map(|id| portal.lists.all().find(|list| list.id.to_string() == *id));
    let lists: Vec<Value> = found.map(|list| portal.list_json(list, wants_filter(call))).collect();
    Ok(Reply::json(200, &json!({ "lists": lists })))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SearchBody {
    query: Option<String>,
    processing_types: Option<Vec<ListProcessing>>,
    list_ids: Option<Vec<String>>,
    offset: Option<usize>,
    count: Option<usize>,
}

pub(crate) fn search(portal: &mut Portal, call: &Call) -> Answer {
    check_read(portal, call)?;
    let body: SearchBody = wire::json(&call.body)?;
    let count = body.count.unwrap_or(DEFAULT_SEARCH_PAGE);
    if !(1..=MAX_SEARCH_PAGE).contains(&count) {
        return Err(Refusal::validation(format!("count must be between 1 and {MAX_SEARCH_PAGE}")));
    }
    let offset = body.offset.unwrap_or(0);
    let query = body.query.unwrap_or_default().to_lowercase();
    let found: Vec<Value> = portal
        .lists
        .all()
        .filter(|list| list.name.to_lowercase().contains(&query))
        .filter(|list| body.processing_types.as_ref().is_none_or(|wanted| wanted.contains(&list.processing)))
        .filter(|list| body.list_ids.as_ref().is_none_or(|wanted| wanted.contains(&list.id.to_string())))
        .map(|list| portal.list_json(list, false))
        .collect();
    let total = found.len();
    let lists: Vec<Value> = found.into_iter().skip(offset).take(count).collect();
    let next = offset + lists.len();
    Ok(Reply::json(200, &json!({ "lists": lists, "hasMore": next < total, "offset": next, "total": total })))
}

pub(crate) fn rename(portal: &mut Portal, call: &Call) -> Answer {
    check_write(portal, call)?;
    let id = portal.list(call)?.id;
    let name = call.parameter("listName").filter(|name| !name.trim().is_empty()).ok_or_else(|| unset("listName"))?;
    if portal.lists.named(name).is_some_and(|list| list.id != id) {
        return Err(duplicate_name(name));
    }
    let now_ms = portal.now_ms();
    if let Some(list) = portal.lists.get_mut(id) {
        name.clone_into(&mut list.name);
        list.updated_at_ms = now_ms;
        list.version += 1;
    }
    let list = portal.list(call)?;
    Ok(Reply::json(200, &json!({ "updatedList": portal.list_json(list, false) })))
}

pub(crate) fn delete(portal: &mut Portal, call: &Call) -> Answer {
    check_write(portal, call)?;
    let id = portal.list(call)?.id;
    let now_ms = portal.now_ms();
    if let Some(list) = portal.lists.get_mut(id) {
        list.deleted_at_ms = Some(now_ms);
    }
    Ok(Reply::empty(204))
}

pub(crate) fn restore(portal: &mut Portal, call: &Call) -> Answer {
    check_write(portal, call)?;
    let oldest_ms = portal.now_ms() - RESTORABLE_DAYS * MS_PER_DAY;
    let list = parse_id(call.part("list")).and_then(|id| portal.lists.by_id.get(&id));
    let list = list.filter(|list| list.deleted_at_ms.is_none_or(|at| at >= oldest_ms)).ok_or_else(|| unknown(call))?;
    let (id, name) = (list.id, list.name.clone());
    if portal.lists.named(&name).is_some_and(|other| other.id != id) {
        return Err(duplicate_name(&name));
    }
    if let Some(list) = portal.lists.by_id.get_mut(&id) {
        list.deleted_at_ms = None;
    }
    Ok(Reply::empty(204))
}
