//! Lists of records, which the application calls segments.

pub(crate) mod definitions;
pub(crate) mod members;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::instant::iso_from_ms;
use super::portal::{Call, Portal};
use super::reply::Refusal;

const READ_SCOPE: &str = "crm.lists.read";
const WRITE_SCOPE: &str = "crm.lists.write";
const MS_PER_DAY: i64 = 86_400_000;
/// How long a deleted list can be restored.
const RESTORABLE_DAYS: i64 = 90;

/// How a list gets its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum ListProcessing {
    /// By hand and through the API.
    Manual,
    /// By a filter, all the time. Nobody can add or remove members.
    Dynamic,
    /// By a filter at the beginning, from then on by hand and through the API.
    Snapshot,
}

/// A list as stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredList {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// Type id of its records.
    pub(crate) type_id: String,
    pub(crate) processing: ListProcessing,
    pub(crate) filter: Option<Value>,
    version: u64,
    created_at_ms: i64,
    updated_at_ms: i64,
    deleted_at_ms: Option<i64>,
    /// Record ids with the time they were added.
    pub(crate) members: BTreeMap<u64, i64>,
}

impl StoredList {
    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted_at_ms.is_some()
    }

    fn to_json(&self, with_filter: bool, size: usize) -> Value {
        let mut list = json!({
            "listId": self.id.to_string(),
            "listVersion": self.version,
            "createdAt": iso_from_ms(self.created_at_ms),
            "updatedAt": iso_from_ms(self.updated_at_ms),
            "filtersUpdatedAt": iso_from_ms(self.created_at_ms),
            "processingStatus": "COMPLETE",
            "createdById": "19083857",
            "updatedById": "19083857",
            "processingType": self.processing,
            "objectTypeId": self.type_id,
            "name": self.name,
            "size": size,
        });
        if let Some(at) = self.deleted_at_ms {
            list["deletedAt"] = json!(iso_from_ms(at));
        }
        if let Some(filter) = self.filter.as_ref().filter(|_| with_filter) {
            list["filterBranch"] = filter.clone();
        }
        list
    }
}

/// All lists of a portal.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    by_id: BTreeMap<u64, StoredList>,
    next_id: u64,
}

impl Lists {
    pub(crate) fn all(&self) -> impl Iterator<Item = &StoredList> {
        self.by_id.values().filter(|list| !list.is_deleted())
    }

    pub(crate) fn named(&self, name: &str) -> Option<&StoredList> {
        self.all().find(|list| list.name.eq_ignore_ascii_case(name))
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut StoredList> {
        self.by_id.get_mut(&id).filter(|list| !list.is_deleted())
    }

    /// Makes a list. The name must be free.
    pub(crate) fn create(
        &mut self,
        name: &str,
        type_id: &str,
        processing: ListProcessing,
        filter: Option<Value>,
        now_ms: i64,
    ) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        self.by_id.insert(
            id,
            StoredList {
                id,
                name: name.to_owned(),
                type_id: type_id.to_owned(),
                processing,
                filter,
                version: 1,
                created_at_ms: now_ms,
                updated_at_ms: now_ms,
                deleted_at_ms: None,
                members: BTreeMap::new(),
            },
        );
        id
    }

    /// Puts a record into the lists of one that it has taken over from.
    pub(crate) fn hand_over(&mut self, type_id: &str, gone: u64, kept: u64) {
        for list in self.by_id.values_mut().filter(|list| list.type_id == type_id) {
            if let Some(since) = list.members.remove(&gone) {
                list.members.entry(kept).or_insert(since);
            }
        }
    }

    pub(crate) fn forget(&mut self, type_id: &str, id: u64) {
        for list in self.by_id.values_mut().filter(|list| list.type_id == type_id) {
            list.members.remove(&id);
        }
    }
}

fn check_read(portal: &Portal, call: &Call) -> Result<(), Refusal> {
    portal.check_scopes(call, vec![READ_SCOPE.to_owned()])
}

/// Writing needs both scopes.
fn check_write(portal: &Portal, call: &Call) -> Result<(), Refusal> {
    check_read(portal, call)?;
    portal.check_scopes(call, vec![WRITE_SCOPE.to_owned()])
}

fn unknown(call: &Call) -> Refusal {
    Refusal::plain(404, format!("List does not exist with ID {}.", call.part("list")))
        .category("OBJECT_NOT_FOUND")
        .sub_category("ILS.LIST_NOT_FOUND")
}

impl Portal {
    /// The list that the path names, deleted ones left out.
    fn list(&self, call: &Call) -> Result<&StoredList, Refusal> {
        let list = super::batch::parse_id(call.part("list")).and_then(|id| self.lists.by_id.get(&id));
        list.filter(|list| !list.is_deleted()).ok_or_else(|| unknown(call))
    }

    /// Members of a list whose records are live.
    pub(crate) fn live_members<'a>(&'a self, list: &'a StoredList) -> impl Iterator<Item = (u64, i64)> + 'a {
        let kind = self.types.iter().find(|kind| kind.type_id == list.type_id);
        let members = list.members.iter().map(|(id, since)| (*id, *since));
        members.filter(move |(id, _)| kind.is_some_and(|kind| kind.records.live(*id).is_some()))
    }

    fn list_json(&self, list: &StoredList, with_filter: bool) -> Value {
        list.to_json(with_filter, self.live_members(list).count())
    }
}
