//! What becomes of records apart from requests: deleted, brought back, merged into others, gone for good.

use std::sync::Arc;

use super::field::{Field, Kind};
use super::id;
use super::org::Org;
use super::records::Stored;
use super::reply::RowError;
use super::write::{self, Undo};

/// The place and the state of the record with an id, deleted or not.
fn record(org: &Org, given: &str) -> Result<(usize, Stored), String> {
    let id = id::canonical(given).ok_or_else(|| format!("{given:?} is no id"))?;
    let found = org.object_of_id(&id).and_then(|object| {
        let row = org.objects[object].records.by_id(&id)?;
        Some((object, row.clone()))
    });
    found.ok_or_else(|| format!("there is no record {id}; it may be gone for good"))
}

/// Deletes a record, into the recycle bin or for good. For the latter it may be in the bin already.
pub(crate) fn delete(org: &mut Org, given: &str, for_good: bool) -> Result<(String, Undo), RowError> {
    let binned = write::delete(org, given);
    if !for_good {
        return binned;
    }
    let (id, undo) = match binned {
        Err(error) if error.code == "ENTITY_IS_DELETED" => {
            let (object, row) = record(org, given).map_err(|_| error)?;
            (row.id.clone(), Undo::Changed { object, before: Box::new(row) })
        }
        binned => binned?,
    };
    if let Some(object) = org.object_of_id(&id) {
        org.objects[object].records.purge(&id);
    }
    Ok((id, undo))
}

/// Takes a record out of the recycle bin.
pub(crate) fn undelete(org: &mut Org, given: &str) -> Result<(), String> {
    let (object, mut row) = record(org, given)?;
    if !row.deleted {
        return Err(format!("the record {} is not deleted", row.id));
    }
    let kind = &org.objects[object];
    let unique: Vec<&Field> = kind.fields.iter().filter(|field| field.unique).collect();
    for field in unique {
        let taken = row.values.get(&field.name).and_then(|value| kind.records.holders(field, value).into_iter().next());
        if let Some(other) = taken {
            return Err(format!("duplicate value found: {} is on record {} meanwhile", field.name, other.id));
        }
    }
    row.deleted = false;
    if let Some(master) = kind.field("MasterRecordId") {
        row.values.remove(&master.name);
    }
    row.modified_ms = org.now_ms();
    org.objects[object].records.put(row);
    Ok(())
}

/// Merges a record into another one of its object: it goes to the bin with the other's id on it, and what pointed to it
/// points to the other one.
pub(crate) fn merge(org: &mut Org, into: &str, merged: &str) -> Result<(), String> {
    let (object, master) = record(org, into)?;
    let (other, mut row) = record(org, merged)?;
    if object != other || master.id == row.id || master.deleted || row.deleted {
        return Err("a merge needs two live records of one object".to_owned());
    }
    let now_ms = org.now_ms();
    let master_field = org.objects[object].field("MasterRecordId").map(|field| Arc::clone(&field.name));
    let name = master_field.ok_or_else(|| format!("records of {} cannot be merged", org.objects[object].name))?;
    row.values.insert(name, master.id.clone());
    (row.deleted, row.modified_ms) = (true, now_ms);
    let gone = row.id.clone();
    org.objects[object].records.put(row);
    for kind in &mut org.objects {
        let references: Vec<Arc<str>> = kind
            .fields
            .iter()
            .filter(|field| field.kind == Kind::Reference && &*field.name != "MasterRecordId")
            .map(|field| Arc::clone(&field.name))
            .collect();
        let points = |row: &&Stored| references.iter().any(|name| row.values.get(name) == Some(&gone));
        let mut children: Vec<Stored> = kind.records.all().filter(points).cloned().collect();
        for child in &mut children {
            for name in &references {
                if let Some(parent) = child.values.get_mut(name).filter(|parent| **parent == gone) {
                    parent.clone_from(&master.id);
                }
            }
            child.modified_ms = now_ms;
        }
        children.into_iter().for_each(|child| kind.records.put(child));
    }
    Ok(())
}
