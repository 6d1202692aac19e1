//! Endpoints for property definitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::definition::{Definition, Kind, NewProperty, PropertyChange};
use super::instant::iso_from_ms;
use super::object_type::{Access, ObjectType};
use super::portal::{ApiVersion, Call, Portal};
use super::quirks::{Quirks, UnknownGroups};
use super::reply::{Answer, RecordError, Refusal, Reply};
use super::wire;

/// Most unique properties that users may define per object.
const MAX_UNIQUE_PROPERTIES: usize = 10;

pub(crate) fn list(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::ReadDefinitions)?;
    let now_ms = portal.now_ms();
    let archived = call.parameter("archived") == Some("true");
    // No simulated property is sensitive, so asking for sensitive ones finds none.
    let sensitive = call.parameter("dataSensitivity").is_some_and(|s| s != "non_sensitive");
    let results: Vec<Value> = portal.types[position]
        .definitions
        .values()
        .filter(|d| !sensitive && d.is_archived() == archived && now_ms >= d.visible_at_ms)
        .map(Definition::to_json)
        .collect();
    Ok(Reply::json(200, &json!({ "results": results })))
}

pub(crate) fn read(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::ReadDefinitions)?;
    let now_ms = portal.now_ms();
    let archived = call.parameter("archived") == Some("true");
    portal.types[position]
        .definitions
        .get(call.part("property"))
        .filter(|d| d.is_archived() == archived && now_ms >= d.visible_at_ms)
        .map(|d| Reply::json(200, &d.to_json()))
        .ok_or_else(|| unknown(call))
}

pub(crate) fn create(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::WriteDefinitions)?;
    let request: NewProperty = wire::json(&call.body)?;
    let now_ms = portal.now_ms();
    let name = add(&mut portal.types[position], request, now_ms, &portal.quirks).map_err(Failure::into_refusal)?;
    let definition = portal.types[position].definitions.get(&name).ok_or_else(|| unknown(call))?;
    let object = call.part("object");
    let location = match call.version {
        ApiVersion::V3 => format!("/crm/v3/properties/{object}/{name}"),
        ApiVersion::March2026 => format!("/crm/properties/2026-03/{object}/{name}"),
        ApiVersion::September2026 => format!("/crm/properties/2026-09/{object}/{name}"),
    };
    Ok(Reply::json(201, &definition.to_json()).with_header("location", location))
}

#[derive(Deserialize)]
struct NewProperties {
    inputs: Option<Vec<NewProperty>>,
}

pub(crate) fn create_batch(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::WriteDefinitions)?;
    let request: NewProperties = wire::json(&call.body)?;
    let inputs = request.inputs.unwrap_or_default();
    let now_ms = portal.now_ms();
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for input in inputs {
        let name = input.name.clone();
        match add(&mut portal.types[position], input, now_ms, &portal.quirks) {
            Ok(name) => {
                results.extend(portal.types[position].definitions.get(&name).map(Definition::to_created_json));
            }
            Err(failure) => {
                let context = BTreeMap::from([("name", name.into_iter().collect())]);
                errors.push(RecordError::new(failure.category(), failure.message, context));
            }
        }
    }
    let now = iso_from_ms(portal.now_ms());
    let mut body = json!({ "completedAt": now, "status": "COMPLETE", "startedAt": now, "results": results });
    let status = if errors.is_empty() {
        201
    } else {
        body["numErrors"] = json!(errors.len());
        body["errors"] = json!(errors);
        207
    };
    Ok(Reply::json(status, &body))
}

/// The definition that the path names, unless it is archived.
fn live_definition<'p>(portal: &'p mut Portal, position: usize, call: &Call) -> Result<&'p mut Definition, Refusal> {
    let definition = portal.types[position].definitions.get_mut(call.part("property"));
    definition.filter(|definition| !definition.is_archived()).ok_or_else(|| unknown(call))
}

pub(crate) fn update(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::WriteDefinitions)?;
    let change: PropertyChange = wire::json(&call.body)?;
    let now_ms = portal.now_ms();
    let definition = live_definition(portal, position, call)?;
    if definition.hubspot_defined {
        let message = format!("The definition of property {} is read only", definition.name);
        return Err(Refusal::validation(message));
    }
    change.apply(definition, now_ms).map_err(Refusal::validation)?;
    Ok(Reply::json(200, &definition.to_json()))
}

pub(crate) fn archive(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::WriteDefinitions)?;
    let now_ms = portal.now_ms();
    let definition = live_definition(portal, position, call)?;
    if definition.hubspot_defined || definition.in_use {
        let message = format!("Property {} is in use and cannot be deleted", definition.name);
        return Err(Refusal::validation(message).sub_category("PropertyValidationError.CANNOT_DELETE_PROPERTY_IN_USE"));
    }
    definition.archived_at_ms = Some(now_ms);
    Ok(Reply::empty(204))
}

fn unknown(call: &Call) -> Refusal {
    Refusal::plain(404, format!("No property named {} exists", call.part("property"))).category("OBJECT_NOT_FOUND")
}

/// Why a property was not created.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    cause: Cause,
}

#[derive(Debug, Clone, Copy)]
enum Cause {
    Exists,
    Invalid,
    BadBooleanOptions,
}

impl Failure {
    fn invalid(message: String) -> Self {
        Self { message, cause: Cause::Invalid }
    }

    fn category(&self) -> &'static str {
        match self.cause {
            Cause::Exists => "OBJECT_ALREADY_EXISTS",
            Cause::Invalid | Cause::BadBooleanOptions => "VALIDATION_ERROR",
        }
    }

    pub(crate) fn into_refusal(self) -> Refusal {
        let category = self.category();
        match self.cause {
            Cause::Exists => Refusal::plain(409, self.message)
                .category(category)
                .sub_category("Properties.PROPERTY_WITH_NAME_EXISTS"),
            Cause::Invalid => Refusal::validation(self.message),
            Cause::BadBooleanOptions => {
                Refusal::validation(self.message).sub_category("PropertyValidationError.INVALID_BOOLEAN_OPTION")
            }
        }
    }
}

/// Adds a property to an object.
pub(crate) fn add(
    kind: &mut ObjectType,
    request: NewProperty,
    now_ms: i64,
    quirks: &Quirks,
) -> Result<Arc<str>, Failure> {
    let mut definition = Definition::from_request(request).map_err(Failure::invalid)?;
    if definition.kind == Kind::Bool {
        let mut values: Vec<&str> = definition.choices.iter().map(|c| c.value.as_str()).collect();
        values.sort_unstable();
        if values != ["false", "true"] {
            let message = format!("Boolean property {} needs exactly the options true and false", definition.name);
            return Err(Failure { message, cause: Cause::BadBooleanOptions });
        }
    }
    if quirks.unknown_groups == UnknownGroups::Refused
        && !kind.groups.iter().any(|group| group.name == definition.group_name)
    {
        return Err(Failure::invalid(format!("Property group {} does not exist", definition.group_name)));
    }
    let name = Arc::clone(&definition.name);
    if let Some(existing) = kind.definitions.get_mut(&name) {
        if !existing.is_archived() {
            let message = format!("A property named '{name}' already exists.");
            return Err(Failure { message, cause: Cause::Exists });
        }
        // An archived property of the same name comes back, with the values it had.
        existing.archived_at_ms = None;
        existing.updated_at_ms = now_ms;
        return Ok(name);
    }
    if definition.has_unique_value && unique_properties(kind) >= MAX_UNIQUE_PROPERTIES {
        let message = format!("An object can have at most {MAX_UNIQUE_PROPERTIES} unique properties");
        return Err(Failure::invalid(message));
    }
    let lag_ms = i64::try_from(quirks.definition_lag_ms).unwrap_or(i64::MAX);
    definition.created_at_ms = now_ms;
    definition.updated_at_ms = now_ms;
    definition.visible_at_ms = now_ms.saturating_add(lag_ms);
    kind.definitions.insert(Arc::clone(&name), definition);
    Ok(name)
}

fn unique_properties(kind: &ObjectType) -> usize {
    kind.definitions.values().filter(|d| d.has_unique_value && !d.hubspot_defined && !d.is_archived()).count()
}
