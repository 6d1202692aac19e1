//! Endpoints for the schemas of custom objects.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::definition::{Definition, Kind, NewProperty};
use super::instant::iso_from_ms;
use super::object_type::ObjectType;
use super::portal::{Call, Portal};
use super::property_endpoints::add;
use super::reply::{Answer, Refusal, Reply};
use super::seed::CustomObjectSeed;
use super::wire::{self, unset};

const READ_SCOPE: &str = "crm.schemas.custom.read";
const WRITE_SCOPE: &str = "crm.schemas.custom.write";
const MAX_NAME_CHARS: usize = 50;

/// What a schema says besides its properties.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    present: Text,
    /// What reads show until a change is through.
    before: Option<(Text, i64)>,
    pub(crate) archived: bool,
    created_at_ms: i64,
    updated_at_ms: i64,
}

#[derive(Debug, Clone)]
struct Text {
    singular: String,
    plural: String,
    description: Option<String>,
    primary_display: Option<String>,
    required: Vec<String>,
    searchable: Vec<String>,
}

impl Schema {
    /// The schema of a seeded object.
    pub(crate) fn of_seed(seed: &CustomObjectSeed) -> Self {
        let present = Text {
            singular: seed.name.clone(),
            plural: seed.name.clone(),
            description: None,
            primary_display: seed.properties.first().map(|property| property.name.clone()),
            required: seed.required_properties.clone(),
            searchable: seed.properties.iter().map(|property| property.name.clone()).collect(),
        };
        Self { present, before: None, archived: false, created_at_ms: 0, updated_at_ms: 0 }
    }

    fn shown(&self, now_ms: i64) -> &Text {
        match &self.before {
            Some((before, until_ms)) if now_ms < *until_ms => before,
            _ => &self.present,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LabelsBody {
    singular: Option<String>,
    plural: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaBody {
    name: Option<String>,
    labels: Option<LabelsBody>,
    description: Option<String>,
    primary_display_property: Option<String>,
    required_properties: Option<Vec<String>>,
    searchable_properties: Option<Vec<String>>,
    properties: Option<Vec<NewProperty>>,
    associated_objects: Option<Vec<String>>,
}

fn is_schema_name(name: &str) -> bool {
    name.len() <= MAX_NAME_CHARS
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn unknown(call: &Call) -> Refusal {
    Refusal::plain(404, format!("Unable to infer object type from: {}", call.part("object")))
        .category("OBJECT_NOT_FOUND")
}

fn check(portal: &Portal, call: &Call, scope: &str) -> Result<(), Refusal> {
    portal.check_scopes(call, vec![scope.to_owned()])
}

/// The position of the custom object that the path names.
fn named(portal: &Portal, call: &Call) -> Result<usize, Refusal> {
    let segment = call.part("object");
    let found = portal.types.iter().position(|kind| kind.schema.is_some() && kind.answers_to(segment));
    found.ok_or_else(|| unknown(call))
}

pub(crate) fn list(portal: &mut Portal, call: &Call) -> Answer {
    check(portal, call, READ_SCOPE)?;
    let archived = call.parameter("archived") == Some("true");
    let wanted = |kind: &&ObjectType| kind.schema.as_ref().is_some_and(|schema| schema.archived == archived);
    let all: Vec<Value> = portal.types.iter().filter(wanted).map(|kind| shown(portal, kind)).collect();
    Ok(Reply::json(200, &json!({ "results": all })))
}

pub(crate) fn read(portal: &mut Portal, call: &Call) -> Answer {
    check(portal, call, READ_SCOPE)?;
    let position = named(portal, call)?;
    Ok(Reply::json(200, &shown(portal, &portal.types[position])))
}

fn shown(portal: &Portal, kind: &ObjectType) -> Value {
    let Some(schema) = &kind.schema else { return Value::Null };
    let text = schema.shown(portal.now_ms());
    let properties: Vec<Value> =
        kind.definitions.values().filter(|definition| !definition.is_archived()).map(Definition::to_json).collect();
    let here = portal.types.iter().position(|other| other.type_id == kind.type_id).unwrap_or_default();
    let associations: Vec<Value> = (0..portal.types.len())
        .flat_map(|there| portal.associations.between(here, there))
        .map(|association| {
            json!({
                "id": association.this.id.to_string(),
                "fromObjectTypeId": kind.type_id,
                "toObjectTypeId": portal.types[association.to].type_id,
                "name": association.label.clone().unwrap_or_else(|| format!("{}_to_{}", kind.name, portal.types[association.to].singular)),
            })
        })
        .collect();
    json!({
        "id": kind.type_id.trim_start_matches("2-"),
        "name": kind.name,
        "objectTypeId": kind.type_id,
        "fullyQualifiedName": format!("p{}_{}", portal.id, kind.name),
        "labels": { "singular": text.singular, "plural": text.plural },
        "description": text.description,
        "primaryDisplayProperty": text.primary_display,
        "secondaryDisplayProperties": [],
        "requiredProperties": text.required,
        "searchableProperties": text.searchable,
        "properties": properties,
        "associations": associations,
        "archived": schema.archived,
        "createdAt": iso_from_ms(schema.created_at_ms),
        "updatedAt": iso_from_ms(schema.updated_at_ms),
    })
}

pub(crate) fn create(portal: &mut Portal, call: &Call) -> Answer {
    check(portal, call, WRITE_SCOPE)?;
    let body: SchemaBody = wire::json(&call.body)?;
    let name = body.name.ok_or_else(|| unset("name"))?;
    let labels = body.labels.ok_or_else(|| unset("labels"))?;
    let primary = body.primary_display_property.ok_or_else(|| unset("primaryDisplayProperty"))?;
    if !is_schema_name(&name) {
        return Err(Refusal::validation(format!(
            "{name} is not a valid schema name: letters, digits and _ only, a letter first, at most {MAX_NAME_CHARS}"
        )));
    }
    if portal.types.iter().any(|kind| kind.name.eq_ignore_ascii_case(&name)) {
        return Err(Refusal::plain(409, format!("Schema already exists: {name}")).category("OBJECT_ALREADY_EXISTS"));
    }
    let mut associated = Vec::new();
    for other in body.associated_objects.unwrap_or_default() {
        let found = portal.types.iter().position(|kind| kind.answers_to(&other));
        associated.push(found.ok_or_else(|| Refusal::validation(format!("{other} is not an object type")))?);
    }
    let mut kind = ObjectType::custom(
        &CustomObjectSeed {
            name: name.clone(),
            type_number: portal.next_type_number(),
            properties: Vec::new(),
            required_properties: body.required_properties.unwrap_or_default(),
        },
        portal.id,
        portal.first_record_id,
    );
    let group = format!("{}_information", name.to_lowercase());
    for mut property in body.properties.unwrap_or_default() {
        property.group_name.get_or_insert_with(|| group.clone());
        add(&mut kind, property, portal.now_ms(), &portal.quirks)
            .map_err(super::property_endpoints::Failure::into_refusal)?;
    }
    // Three fields are enough for the service, so the property that shows a record comes with the schema.
    if kind.definition(&primary).is_none() {
        let mut definition = Definition::new(&primary, Kind::String, "text");
        definition.group_name = group;
        kind.definitions.insert(Arc::clone(&definition.name), definition);
    }
    if let Some(unknown) = kind.schema_required.iter().find(|name| kind.definition(name).is_none()) {
        return Err(Refusal::validation(format!("Required property {unknown} does not exist")));
    }
    let now_ms = portal.now_ms();
    if let Some(schema) = &mut kind.schema {
        schema.present.singular = labels.singular.unwrap_or_else(|| name.clone());
        schema.present.plural = labels.plural.unwrap_or_else(|| name.clone());
        schema.present.description = body.description;
        schema.present.primary_display = Some(primary);
        schema.present.searchable = body.searchable_properties.unwrap_or_default();
        kind.searched.clone_from(&schema.present.searchable);
        (schema.created_at_ms, schema.updated_at_ms) = (now_ms, now_ms);
    }
    let position = portal.types.len();
    portal.types.push(kind);
    for other in associated {
        portal.associations.define_between(position, other);
    }
    portal.stats.schemas_written += 1;
    Ok(Reply::json(201, &shown(portal, &portal.types[position])))
}

pub(crate) fn update(portal: &mut Portal, call: &Call) -> Answer {
    check(portal, call, WRITE_SCOPE)?;
    let position = named(portal, call)?;
    let body: SchemaBody = wire::json(&call.body)?;
    let now_ms = portal.now_ms();
    let lag_ms = i64::try_from(portal.quirks.schema_lag_ms).unwrap_or(i64::MAX);
    let kind = &mut portal.types[position];
    let named = body.required_properties.iter().chain(&body.searchable_properties).flatten();
    if let Some(unknown) = named.chain(&body.primary_display_property).find(|name| kind.definition(name).is_none()) {
        return Err(Refusal::validation(format!("Property \"{unknown}\" does not exist")));
    }
    if let Some(required) = &body.required_properties {
        kind.schema_required.clone_from(required);
    }
    if let Some(searchable) = &body.searchable_properties {
        kind.searched.clone_from(searchable);
    }
    if let Some(schema) = &mut kind.schema {
        schema.before = Some((schema.shown(now_ms).clone(), now_ms.saturating_add(lag_ms)));
        let text = &mut schema.present;
        if let Some(labels) = body.labels {
            text.singular = labels.singular.unwrap_or_else(|| text.singular.clone());
            text.plural = labels.plural.unwrap_or_else(|| text.plural.clone());
        }
        text.description = body.description.or_else(|| text.description.take());
        text.primary_display = body.primary_display_property.or_else(|| text.primary_display.take());
        text.required = body.required_properties.unwrap_or_else(|| std::mem::take(&mut text.required));
        text.searchable = body.searchable_properties.unwrap_or_else(|| std::mem::take(&mut text.searchable));
        schema.updated_at_ms = now_ms;
    }
    portal.stats.schemas_written += 1;
    Ok(Reply::json(200, &shown(portal, &portal.types[position])))
}

pub(crate) fn delete(portal: &mut Portal, call: &Call) -> Answer {
    check(portal, call, WRITE_SCOPE)?;
    let position = named(portal, call)?;
    let kind = &mut portal.types[position];
    if kind.records.all().any(|record| !record.is_archived()) {
        let message = format!("Unable to delete schema {}: it still has records", kind.name);
        return Err(Refusal::validation(message).sub_category("ObjectSchemaError.EXISTING_OBJECT_RECORDS"));
    }
    if let Some(schema) = &mut kind.schema {
        schema.archived = true;
    }
    portal.stats.schemas_written += 1;
    Ok(Reply::empty(204))
}
