//! What the App API says about the workspace itself.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::reply::{Answer, Reply};
use super::super::workspace::{Call, Workspace};

pub(crate) fn workspaces(workspace: &mut Workspace, _call: &Call) -> Answer {
    workspace.apply_due();
    let people = workspace.people.all().count();
    let one = json!({ "id": workspace.environment_id, "name": "Simulator", "people": people, "objects": workspace.objects.all().count() });
    Ok(Reply::app(200, &json!({ "workspaces": [one] })))
}

pub(crate) fn object_types(workspace: &mut Workspace, _call: &Call) -> Answer {
    workspace.apply_due();
    let types: BTreeSet<&str> = workspace.objects.all().map(|(id, _)| id.type_id.as_str()).collect();
    let types: Vec<Value> =
        types.into_iter().map(|id| json!({ "id": id, "name": format!("Object type {id}"), "enabled": true })).collect();
    Ok(Reply::app(200, &json!({ "types": types })))
}

/// Names of all attributes that anybody has.
pub(crate) fn attributes(workspace: &mut Workspace, _call: &Call) -> Answer {
    workspace.apply_due();
    let names: BTreeSet<&str> =
        workspace.people.all().flat_map(|(_, person)| person.attributes.keys().map(String::as_str)).collect();
    let attributes: Vec<Value> = names.into_iter().map(|name| json!({ "name": name })).collect();
    Ok(Reply::app(200, &json!({ "attributes": attributes })))
}
