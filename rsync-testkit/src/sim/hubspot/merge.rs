//! Merging two records, which users do at any time: ids that a client remembers stop working. And erasing a contact.

use std::sync::Arc;

use serde::Deserialize;

use super::batch::{find, parse_id};
use super::object_type::Access;
use super::portal::{Call, Portal};
use super::quirks::MergeSurvivor;
use super::record_body::Reason;
use super::records::{Records, UniqueKey, Values, is_key, unique_keys};
use super::reply::{Answer, Refusal, Reply};
use super::value::{Change, normal_email};
use super::wire::{self, unset};
use super::write::held_keys;

/// Property that lists the ids that a record has swallowed.
const MERGED_IDS: &str = "hs_merged_object_ids";
/// Most records that one record may swallow.
const MAX_MERGED: usize = 250;

/// Why two records were not merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MergeRefused {
    Unknown(String),
    Same,
    TooMany,
}

impl MergeRefused {
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Unknown(id) => format!("Object {id} does not exist"),
            Self::Same => "A record cannot be merged with itself".to_owned(),
            Self::TooMany => format!("Cannot have more than {MAX_MERGED} identities on a profile"),
        }
    }

    fn refusal(&self) -> Refusal {
        match self {
            Self::Unknown(_) => Refusal::plain(404, self.message()).category("OBJECT_NOT_FOUND"),
            Self::Same => Refusal::validation(self.message()),
            Self::TooMany => Refusal::plain(414, self.message()),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MergeBody {
    primary_object_id: Option<String>,
    object_id_to_merge: Option<String>,
}

pub(crate) fn merge(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::WriteRecords)?;
    let body: MergeBody = wire::json(&call.body)?;
    let primary = body.primary_object_id.ok_or_else(|| unset("primaryObjectId"))?;
    let other = body.object_id_to_merge.ok_or_else(|| unset("objectIdToMerge"))?;
    let survivor = portal.merge(position, &primary, &other).map_err(|refused| refused.refusal())?;
    let kind = &portal.types[position];
    let record = kind.records.any(survivor).ok_or_else(|| Refusal::plain(404, "resource not found"))?;
    Ok(Reply::json(200, &portal.record_body(kind, record, Reason::Read(&[]))).with_rows(1))
}

impl Portal {
    /// Merges two live records, and returns the id under which they go on.
    pub(crate) fn merge(&mut self, position: usize, primary_id: &str, other_id: &str) -> Result<u64, MergeRefused> {
        let kind = &self.types[position];
        let live = |text: &str| {
            let found = parse_id(text).and_then(|id| kind.records.live(id));
            found.ok_or_else(|| MergeRefused::Unknown(text.to_owned()))
        };
        let (primary, other) = (live(primary_id)?, live(other_id)?);
        if primary.id == other.id {
            return Err(MergeRefused::Same);
        }
        let keeps_id = self.quirks.merge_survivor == MergeSurvivor::PrimaryId;
        let mut swallowed = merged_ids(&primary.values);
        swallowed.extend(merged_ids(&other.values));
        let (primary_id, other_id) = (primary.id, other.id);
        swallowed.extend([primary_id, other_id].into_iter().skip(usize::from(keeps_id)).map(|id| id.to_string()));
        if swallowed.len() > MAX_MERGED {
            return Err(MergeRefused::TooMany);
        }
        let mut values = merged(&primary.values, &other.values);
        values.insert(Arc::from(MERGED_IDS), swallowed.join(";"));
        let released = |record| held_keys(kind, record, &self.quirks);
        let (primary_keys, other_keys) = (released(primary), released(other));
        let taken: Vec<UniqueKey> = values
            .iter()
            .filter_map(|(name, value)| kind.definitions.get(name).map(|d| unique_keys(d, value, &self.quirks)))
            .flatten()
            .collect();

        let now_ms = self.now_ms();
        let records = &mut self.types[position].records;
        let survivor = if keeps_id {
            records.supersede(other_id, primary_id, &other_keys, now_ms);
            take_over(records, primary_id, values, taken, now_ms, &self.quirks);
            primary_id
        } else {
            let survivor = records.next_id();
            records.supersede(primary_id, survivor, &primary_keys, now_ms);
            records.supersede(other_id, survivor, &other_keys, now_ms);
            records.create(values, taken, now_ms, &self.quirks)
        };
        for gone in [primary_id, other_id].into_iter().filter(|id| *id != survivor) {
            self.associations.hand_over((position, gone), (position, survivor));
            self.lists.hand_over(&self.types[position].type_id, gone, survivor);
        }
        self.stats.rows_merged += 1;
        Ok(survivor)
    }

    /// Erases a contact with all that belongs to it.
    fn erase(&mut self, position: usize, id: u64) {
        let kind = &mut self.types[position];
        let Some(record) = kind.records.any(id) else { return };
        let keys = held_keys(kind, record, &self.quirks);
        let email = record.values.get("email").cloned();
        kind.records.erase(id, &keys);
        self.associations.cut((position, id));
        self.lists.forget(&self.types[position].type_id, id);
        if let Some(email) = email {
            self.consent.forget(&email);
        }
        self.stats.rows_erased += 1;
    }
}

fn take_over(
    records: &mut Records,
    id: u64,
    values: Values,
    taken: Vec<UniqueKey>,
    now_ms: i64,
    quirks: &super::quirks::Quirks,
) {
    let changes: Vec<_> = values.into_iter().map(|(name, value)| (name, Change::Set(value))).collect();
    records.update(id, &changes, Vec::new(), taken, now_ms, quirks);
}

fn merged_ids(values: &Values) -> Vec<String> {
    let listed = values.get(MERGED_IDS).map(String::as_str).unwrap_or_default();
    listed.split(';').filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

fn merged(primary: &Values, other: &Values) -> Values {
    let mut values = other.clone();
    values.extend(primary.iter().map(|(name, value)| (Arc::clone(name), value.clone())));
    let aliases = ["email", "hs_additional_emails"];
    let addresses = [primary, other].into_iter().flat_map(|record| aliases.map(|name| record.get(name)));
    let primary_address = primary.get("email").or_else(|| other.get("email"));
    let mut further: Vec<&str> = Vec::new();
    for address in addresses.flatten().flat_map(|list| list.split(';')) {
        if Some(address) != primary_address.map(String::as_str) && !further.contains(&address) {
            further.push(address);
        }
    }
    if !further.is_empty() {
        values.insert(Arc::from("hs_additional_emails"), further.join(";"));
    }
    values
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErasureBody {
    object_id: Option<String>,
    id_property: Option<String>,
}

/// Deletes a contact for good. An address that no contact has is refused from then on.
pub(crate) fn gdpr_delete(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::WriteRecords)?;
    if portal.types[position].name != "contacts" {
        return Err(Refusal::plain(404, "resource not found"));
    }
    let body: ErasureBody = wire::json(&call.body)?;
    let id = body.object_id.ok_or_else(|| unset("objectId"))?;
    let kind = &portal.types[position];
    let property = body.id_property.as_deref().filter(|name| *name != "hs_object_id");
    if let Some(name) = property.filter(|name| !kind.definition(name).is_some_and(is_key)) {
        return Err(Refusal::validation(format!("{name} is not a unique property")));
    }
    let found = match property {
        // What is in the recycle bin is personal data too.
        None => parse_id(&id).filter(|id| kind.records.any(*id).is_some()),
        Some(_) => find(portal, kind, &id, property),
    };
    match found {
        Some(found) => portal.erase(position, found),
        None if property == Some("email") => {
            portal.erased_emails.insert(normal_email(&id));
        }
        None => return Err(Refusal::plain(404, "resource not found")),
    }
    Ok(Reply::empty(204).with_rows(1))
}
