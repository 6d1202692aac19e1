//! Endpoints for the members of lists. Record ids that do not exist are passed over with a success.

use std::collections::btree_map::Entry;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::batch::parse_id;
use super::super::instant::iso_from_ms;
use super::super::portal::{Call, Portal};
use super::super::reply::{Answer, Refusal, Reply};
use super::super::wire;
use super::{ListProcessing, StoredList, check_read, check_write};

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 250;
/// Larger lists can be neither emptied nor copied from at once.
const MAX_WHOLE_LIST: usize = 100_000;

/// The list that the path names, if its members can be changed.
fn changeable<'p>(portal: &'p Portal, call: &Call) -> Result<&'p StoredList, Refusal> {
    let list = portal.list(call)?;
    if list.processing == ListProcessing::Dynamic {
        let message = format!("List {} has processing type DYNAMIC: its memberships cannot be changed", list.id);
        return Err(Refusal::validation(message).sub_category("ILS.INVALID_PROCESSING_TYPE"));
    }
    Ok(list)
}

pub(crate) fn add(portal: &mut Portal, call: &Call) -> Answer {
    check_write(portal, call)?;
    let ids: Vec<String> = wire::json(&call.body)?;
    change(portal, call, &ids, &[])
}

pub(crate) fn remove(portal: &mut Portal, call: &Call) -> Answer {
    check_write(portal, call)?;
    let ids: Vec<String> = wire::json(&call.body)?;
    change(portal, call, &[], &ids)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BothWays {
    #[serde(default)]
    record_ids_to_add: Vec<String>,
    #[serde(default)]
    record_ids_to_remove: Vec<String>,
}

pub(crate) fn add_and_remove(portal: &mut Portal, call: &Call) -> Answer {
    check_write(portal, call)?;
    let body: BothWays = wire::json(&call.body)?;
    change(portal, call, &body.record_ids_to_add, &body.record_ids_to_remove)
}

fn change(portal: &mut Portal, call: &Call, added: &[String], removed: &[String]) -> Answer {
    let list = changeable(portal, call)?;
    let (list_id, type_id) = (list.id, list.type_id.clone());
    let rows = added.len() + removed.len();
    let max = portal.quirks.list_ids_max;
    if rows > max {
        return Err(Refusal::validation(format!("At most {max} record IDs can be given in one request")));
    }
    let now_ms = portal.now_ms();
    let kind = portal.types.iter().find(|kind| kind.type_id == type_id);
    let live = |text: &str| parse_id(text).filter(|id| kind.is_some_and(|kind| kind.records.live(*id).is_some()));
    let (mut wanted, mut missing) = (Vec::new(), Vec::new());
    for (text, adds) in added.iter().map(|id| (id, true)).chain(removed.iter().map(|id| (id, false))) {
        match live(text) {
            Some(id) => wanted.push((id, adds)),
            None => missing.push(text.clone()),
        }
    }
    let (mut now_in, mut now_out) = (Vec::new(), Vec::new());
    if let Some(list) = portal.lists.get_mut(list_id) {
        for (id, adds) in wanted {
            // Who is a member already keeps the time of becoming one.
            match list.members.entry(id) {
                Entry::Vacant(free) if adds => {
                    free.insert(now_ms);
                    now_in.push(id.to_string());
                }
                Entry::Occupied(member) if !adds => {
                    member.remove();
                    now_out.push(id.to_string());
                }
                _ => {}
            }
        }
    }
    portal.stats.members_added += now_in.len() as u64;
    portal.stats.members_removed += now_out.len() as u64;
    // The first key is misspelt by the service itself.
    let body = json!({ "recordsIdsAdded": now_in, "recordIdsRemoved": now_out, "recordIdsMissing": missing });
    Ok(Reply::json(200, &body).with_rows(rows))
}

pub(crate) fn add_from(portal: &mut Portal, call: &Call) -> Answer {
    check_write(portal, call)?;
    let list = changeable(portal, call)?;
    let (id, type_id) = (list.id, list.type_id.clone());
    let source = parse_id(call.part("source")).and_then(|id| portal.lists.all().find(|list| list.id == id));
    let source = source.ok_or_else(|| {
        Refusal::plain(404, format!("List does not exist with ID {}.", call.part("source")))
            .category("OBJECT_NOT_FOUND")
            .sub_category("ILS.LIST_NOT_FOUND")
    })?;
    if source.type_id != type_id {
        return Err(Refusal::validation("Both lists must be of the same object type"));
    }
    let ids: Vec<u64> = portal.live_members(source).map(|(id, _)| id).collect();
    check_whole(ids.len())?;
    let now_ms = portal.now_ms();
    let mut added = 0;
    if let Some(list) = portal.lists.get_mut(id) {
        for id in ids {
            if let Entry::Vacant(free) = list.members.entry(id) {
                free.insert(now_ms);
                added += 1;
            }
        }
    }
    portal.stats.members_added += added;
    Ok(Reply::empty(204))
}

pub(crate) fn remove_all(portal: &mut Portal, call: &Call) -> Answer {
    check_write(portal, call)?;
    let list = changeable(portal, call)?;
    check_whole(list.members.len())?;
    let id = list.id;
    if let Some(list) = portal.lists.get_mut(id) {
        let removed = list.members.len() as u64;
        list.members.clear();
        portal.stats.members_removed += removed;
    }
    Ok(Reply::empty(204))
}

fn check_whole(members: usize) -> Result<(), Refusal> {
    if members < MAX_WHOLE_LIST {
        return Ok(());
    }
    Err(Refusal::validation(format!("The list has {MAX_WHOLE_LIST} memberships or more")))
}

pub(crate) fn read(portal: &mut Portal, call: &Call) -> Answer {
    check_read(portal, call)?;
    let list = portal.list(call)?;
    let limit = match call.parameter("limit").map(str::parse::<usize>) {
        None => DEFAULT_PAGE,
        Some(Ok(limit)) if (1..=MAX_PAGE).contains(&limit) => limit,
        Some(_) => return Err(Refusal::validation(format!("limit must be between 1 and {MAX_PAGE}"))),
    };
    let after = match call.parameter("after").filter(|after| !after.is_empty()) {
        None => 0,
        Some(after) => parse_id(after).ok_or_else(|| Refusal::validation("after is not a valid cursor"))?,
    };
    let total = portal.live_members(list).count();
    let mut rest = portal.live_members(list).filter(|(id, _)| *id > after);
    let taken: Vec<(u64, i64)> = rest.by_ref().take(limit).collect();
    let more = rest.next().is_some();
    let results: Vec<Value> = taken
        .iter()
        .map(|(id, since)| json!({ "recordId": id.to_string(), "membershipTimestamp": iso_from_ms(*since) }))
        .collect();
    let mut body = json!({ "results": results, "total": total });
    if let Some((last, _)) = taken.last().filter(|_| more) {
        let link = format!("https://api.hubapi.com/crm/v3/lists/{}/memberships?limit={limit}&after={last}", list.id);
        body["paging"] = json!({ "next": { "after": last.to_string(), "link": link } });
    }
    Ok(Reply::json(200, &body))
}
