//! Endpoints for groups of properties.

use serde::Deserialize;
use serde_json::{Value, json};

use super::definition::is_property_name;
use super::object_type::Access;
use super::portal::{Call, Portal};
use super::reply::{Answer, Refusal, Reply};
use super::wire::{self, unset};

/// A group of properties.
#[derive(Debug, Clone)]
pub(crate) struct PropertyGroup {
    pub(crate) name: String,
    label: String,
    display_order: i64,
}

impl PropertyGroup {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), label: name.to_owned(), display_order: -1 }
    }

    fn to_json(&self) -> Value {
        json!({ "name": self.name, "label": self.label, "displayOrder": self.display_order, "archived": false })
    }
}

pub(crate) fn list(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::ReadDefinitions)?;
    let groups: Vec<Value> = portal.types[position].groups.iter().map(PropertyGroup::to_json).collect();
    Ok(Reply::json(200, &json!({ "results": groups })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewGroup {
    name: Option<String>,
    label: Option<String>,
    display_order: Option<i64>,
}

pub(crate) fn create(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::WriteDefinitions)?;
    let body: NewGroup = wire::json(&call.body)?;
    let name = body.name.ok_or_else(|| unset("name"))?;
    let label = body.label.ok_or_else(|| unset("label"))?;
    if !is_property_name(&name) {
        return Err(Refusal::validation(format!("{name} is not a valid group name")));
    }
    let groups = &mut portal.types[position].groups;
    if groups.iter().any(|group| group.name == name) {
        let message = format!("A property group named '{name}' already exists.");
        return Err(Refusal::plain(409, message).category("OBJECT_ALREADY_EXISTS"));
    }
    let group = PropertyGroup { name, label, display_order: body.display_order.unwrap_or(-1) };
    let answer = Reply::json(201, &group.to_json());
    groups.push(group);
    Ok(answer)
}

pub(crate) fn read(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::ReadDefinitions)?;
    let name = call.part("group");
    let group = portal.types[position].groups.iter().find(|group| group.name == name);
    let group = group.map(|group| Reply::json(200, &group.to_json()));
    group.ok_or_else(|| {
        Refusal::plain(404, format!("No property group named {name} exists")).category("OBJECT_NOT_FOUND")
    })
}
