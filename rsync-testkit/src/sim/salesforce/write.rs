//! One row's way into the store: read against its object, judged, applied, and taken back if others of its request
//! must not stand alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::field::{Field, Kind};
use super::id;
use super::object::Object;
use super::org::Org;
use super::quirks::MalformedValues;
use super::records::Stored;
use super::reply::{Refusal, RowError};
use super::rules::{self, Saving};
use super::value::{Problem, Wanted, judge};

/// What a row wants the fields to be.
pub(crate) type Changes = BTreeMap<Arc<str>, Wanted>;

/// Properties of a record as sent.
pub(crate) type Properties<'a> = BTreeMap<String, &'a RawValue>;

/// A row of a request, read against its object.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Position of the object.
    pub(crate) object: usize,
    pub(crate) changes: Changes,
    /// The `Id` of the row, in any case of the name; absent if it was null.
    pub(crate) id: Option<String>,
    pub(crate) errors: Vec<RowError>,
    /// Rows of the same object in the same request.
    pub(crate) together: usize,
    /// What the request says about rules.
    pub(crate) saving: Arc<Saving>,
}

impl Draft {
    /// A row that changes nothing yet.
    pub(crate) fn of(object: usize) -> Self {
        Self {
            object,
            changes: Changes::new(),
            id: None,
            errors: Vec::new(),
            together: 1,
            saving: Arc::new(Saving::default()),
        }
    }
}

/// What an applied row was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) id: String,
    pub(crate) created: bool,
}

/// How to take an applied row back.
#[derive(Debug)]
pub(crate) enum Undo {
    Created { object: usize },
    Changed { object: usize, before: Box<Stored> },
}

/// Reads a row. References by external id are resolved here, before any row of the request is written: a row cannot
/// refer to what the same request creates. The error is about the whole request.
pub(crate) fn read(org: &Org, object: usize, properties: &Properties<'_>, body: &str) -> Result<Draft, Refusal> {
    let mut draft = Draft::of(object);
    let kind = &org.objects[object];
    let mut linked: Vec<(&Field, &str, &RawValue)> = Vec::new();
    for (name, raw) in properties {
        if name == "attributes" {
            continue;
        }
        if name.eq_ignore_ascii_case("id") {
            draft.id = serde_json::from_str(raw.get()).map_err(|_| malformed("Id must be a string", raw, body))?;
            continue;
        }
        if let Some(field) = kind.field(name) {
            match judge(field, raw, &org.quirks) {
                Ok(wanted) => {
                    if draft.changes.insert(Arc::clone(&field.name), wanted).is_some() {
                        return Err(malformed(&format!("Duplicate field '{}'", field.name), raw, body));
                    }
                }
                Err(Problem::Row(error)) => draft.errors.push(error),
                Err(Problem::Malformed(message)) => match org.quirks.malformed_values {
                    MalformedValues::WholeRequest => return Err(malformed(&message, raw, body)),
                    MalformedValues::RowError => draft.errors.push(
                        RowError::new(
                            "INVALID_TYPE_ON_FIELD_IN_RECORD",
                            format!("{}: value not of required type: {}", field.label, raw.get().trim_matches('"')),
                        )
                        .on(&field.name),
                    ),
                },
            }
        } else if let Some(field) = kind.relationship(name) {
            linked.push((field, name, raw));
        } else {
            draft.errors.push(RowError::no_such_column(name, &kind.name));
        }
    }
    for (field, relationship, raw) in linked {
        if properties.keys().any(|name| name.eq_ignore_ascii_case(&field.name)) {
            draft.errors.push(parent_twice(relationship, field));
            continue;
        }
        match resolve(org, field, relationship, raw, body)? {
            Ok(id) => {
                draft.changes.insert(Arc::clone(&field.name), Some(id));
            }
            Err(error) => draft.errors.push(error),
        }
    }
    Ok(draft)
}

/// A row names a parent by a key and by its id.
pub(crate) fn parent_twice(relationship: &str, field: &Field) -> RowError {
    let message =
        format!("cannot specify both an external ID reference {relationship} and a salesforce id, {}", field.name);
    RowError::new("INVALID_FIELD", message)
}

/// A complaint of the JSON reader, with the place of the value.
pub(crate) fn malformed(message: &str, raw: &RawValue, body: &str) -> Refusal {
    let offset = raw.get().as_ptr().addr().saturating_sub(body.as_ptr().addr());
    let before = body.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Refusal::parser(format!("{message} at [line:{line}, column:{column}]"))
}

/// The id of the record that a nested object names by one of its keys.
fn resolve(
    org: &Org,
    field: &Field,
    relationship: &str,
    raw: &RawValue,
    body: &str,
) -> Result<Result<String, RowError>, Refusal> {
    let Ok(nested) = serde_json::from_str::<BTreeMap<String, Value>>(raw.get()) else {
        return Err(malformed(&format!("Cannot deserialize instance of {relationship}"), raw, body));
    };
    let named = nested.get("attributes").and_then(|a| a.get("type")).and_then(Value::as_str);
    let keys: Vec<(&String, &Value)> = nested.iter().filter(|(name, _)| *name != "attributes").collect();
    let [(key, value)] = keys.as_slice() else {
        let message = format!("The external foreign key reference {relationship} must name exactly one field");
        return Ok(Err(RowError::new("INVALID_FIELD", message)));
    };
    let target = match (named, field.reference_to.as_slice()) {
        (Some(name), objects) => {
            objects.iter().any(|object| object.eq_ignore_ascii_case(name)).then(|| org.object(name)).flatten()
        }
        (None, [only]) => org.object(only),
        // Without its type, a reference to one of several objects cannot be resolved.
        (None, _) => None,
    };
    let Some(target) = target else {
        let message = format!("The external foreign key reference {relationship} needs the type of its object");
        return Ok(Err(RowError::new("INVALID_FIELD", message)));
    };
    let target = &org.objects[target];
    let Some(key) = target.field(key).filter(|field| field.id_lookup) else {
        let message = format!("Field name provided, {key} is not an External ID or indexed field for {}", target.name);
        return Ok(Err(RowError::new("INVALID_FIELD", message)));
    };
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => {
            let message =
                format!("Foreign key external ID: null not found for field {} in entity {}", key.name, target.name);
            return Ok(Err(RowError::new("INVALID_FIELD", message)));
        }
    };
    Ok(holder(target, key, &text))
}

/// The id of the one record with this key value.
pub(crate) fn holder(target: &Object, key: &Field, text: &str) -> Result<String, RowError> {
    match target.records.holders(key, text).as_slice() {
        [one] => Ok(one.id.clone()),
        [] => Err(RowError::new(
            "INVALID_FIELD",
            format!("Foreign key external ID: {text} not found for field {} in entity {}", key.name, target.name),
        )),
        several => Err(ambiguous(key, several)),
    }
}

fn ambiguous(key: &Field, holders: &[&Stored]) -> RowError {
    let ids: Vec<&str> = holders.iter().map(|row| row.id.as_str()).collect();
    let message = format!("{}: more than one record found for external id field: [{}]", key.label, ids.join(", "));
    RowError::new("DUPLICATE_EXTERNAL_ID", message)
}

/// Where a row is to go.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Create,
    Update(String),
}

/// The one live record whose key field has this value, or a creation with it.
pub(crate) fn target_of_key(org: &Org, object: usize, key: &Field, value: &str) -> Result<Target, RowError> {
    match org.objects[object].records.holders(key, value).as_slice() {
        [] => Ok(Target::Create),
        [one] => Ok(Target::Update(one.id.clone())),
        several => Err(ambiguous(key, several)),
    }
}

/// The record with an id that a request gives for this object.
pub(crate) fn target_of_id(org: &Org, object: usize, given: &str) -> Result<Target, RowError> {
    let object = &org.objects[object];
    let Some(id) = id::canonical(given) else {
        return Err(RowError::new("MALFORMED_ID", format!("malformed id {given}")));
    };
    if !id.starts_with(&object.prefix) {
        let message = format!("{} ID: id value of incorrect type: {given}", object.label);
        return Err(RowError::new("MALFORMED_ID", message).on("Id"));
    }
    match object.records.by_id(&id) {
        Some(row) if row.deleted => Err(RowError::new("ENTITY_IS_DELETED", "entity is deleted")),
        Some(_) => Ok(Target::Update(id)),
        None => Err(RowError::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")),
    }
}

/// Applies a row, or says everything that is wrong with it. Nothing has changed then.
pub(crate) fn apply(org: &mut Org, draft: &Draft, target: &Target) -> Result<(Applied, Undo), Vec<RowError>> {
    check(org, draft, target)?;
    check_rules(org, draft, target)?;
    let name = org.objects[draft.object].name.clone();
    if let Some(error) = org.row_fault(&name, &draft.changes, draft.together) {
        return Err(vec![error]);
    }
    let now_ms = org.now_ms();
    let (mut row, undo) = match target {
        Target::Update(id) => {
            let stored = org.objects[draft.object].records.by_id(id).cloned();
            let before = stored.ok_or_else(|| vec![RowError::new("ENTITY_IS_DELETED", "entity is deleted")])?;
            let undo = Undo::Changed { object: draft.object, before: Box::new(before.clone()) };
            (before, undo)
        }
        Target::Create => {
            let prefix = org.objects[draft.object].prefix.clone();
            let id = org.next_id(&prefix);
            let row = fresh(org, draft.object, id, now_ms);
            (row, Undo::Created { object: draft.object })
        }
    };
    for (name, wanted) in &draft.changes {
        match wanted {
            Some(value) => row.values.insert(Arc::clone(name), value.clone()),
            // Where null is not allowed it was named on creation, and what that fills in stays.
            None if org.objects[draft.object].field(name).is_some_and(|field| !field.nillable) => None,
            None => row.values.remove(name),
        };
    }
    if let Some(owner) = rules::owner(org, draft) {
        row.values.insert(Arc::from("OwnerId"), owner);
    }
    row.modified_ms = now_ms;
    row.writes += 1;
    let applied = Applied { id: row.id.clone(), created: matches!(target, Target::Create) };
    org.objects[draft.object].records.put(row);
    Ok((applied, undo))
}

/// What administrators have to say about the record as it would be saved.
fn check_rules(org: &Org, draft: &Draft, target: &Target) -> Result<(), Vec<RowError>> {
    if org.validation_rules.is_empty() && org.duplicate_rules.is_empty() {
        return Ok(());
    }
    let before = match target {
        Target::Create => None,
        Target::Update(id) => org.objects[draft.object].records.by_id(id),
    };
    let mut values = before.map(|row| row.values.clone()).unwrap_or_default();
    for (name, wanted) in &draft.changes {
        match wanted {
            Some(value) => values.insert(Arc::clone(name), value.clone()),
            None => values.remove(name),
        };
    }
    let refusals = rules::refusals(org, draft, &values);
    if !refusals.is_empty() {
        return Err(refusals);
    }
    rules::duplicates(org, draft, target, &values).map_or(Ok(()), |error| Err(vec![error]))
}

/// A record with what creation fills in.
fn fresh(org: &Org, object: usize, id: String, now_ms: i64) -> Stored {
    let object = &org.objects[object];
    let mut row =
        Stored { id, values: BTreeMap::new(), deleted: false, created_ms: now_ms, modified_ms: now_ms, writes: 0 };
    for field in &object.fields {
        let filled = match (&*field.name, field.kind) {
            ("Id" | "IsDeleted" | "CreatedById" | "LastModifiedById", _) => None,
            ("OwnerId", _) => Some(org.user_id.clone()),
            // A custom object's record without a name is called by its id.
            ("Name", _) if object.is_custom() => Some(row.id.clone()),
            _ if field.auto_number => Some(format!("{:08}", object.records.len() + 1_000)),
            (_, Kind::Boolean) => Some(field.default_value.clone().unwrap_or_else(|| "false".to_owned())),
            _ => field.default_value.clone(),
        };
        if let Some(value) = filled {
            row.values.insert(Arc::clone(&field.name), value);
        }
    }
    row
}

/// Takes an applied row back.
pub(crate) fn undo(org: &mut Org, undo: Undo) {
    match undo {
        Undo::Created { object } => org.objects[object].records.pop(),
        Undo::Changed { object, before } => org.objects[object].records.put(*before),
    }
}

fn check(org: &Org, draft: &Draft, target: &Target) -> Result<(), Vec<RowError>> {
    let stop = |errors: Vec<RowError>| if errors.is_empty() { Ok(()) } else { Err(errors) };
    stop(draft.errors.clone())?;
    let object = &org.objects[draft.object];
    let creating = matches!(target, Target::Create);
    let held = match target {
        Target::Create => None,
        Target::Update(id) => object.records.by_id(id),
    };
    if held.is_some_and(|row| row.values.get("IsConverted").is_some_and(|converted| converted == "true")) {
        return Err(vec![RowError::new("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")]);
    }
    if held.is_some_and(|row| org.out_of_reach.contains(&row.id)) {
        return Err(vec![out_of_reach()]);
    }
    let changed: Vec<(&Field, &Wanted)> =
        draft.changes.iter().filter_map(|(name, wanted)| Some((object.field(name)?, wanted))).collect();

    let forbidden: Vec<String> = changed
        .iter()
        .filter(|(field, _)| if creating { !field.createable } else { !field.updateable })
        .map(|(field, _)| field.name.to_string())
        .collect();
    if !forbidden.is_empty() {
        let message = format!(
            "Unable to create/update fields: {}. Please check the security settings of this field and verify that it \
             is read/write for your profile or permission set.",
            forbidden.join(", ")
        );
        let code = "INVALID_FIELD_FOR_INSERT_UPDATE";
        return Err(vec![RowError { fields: forbidden, ..RowError::new(code, message) }]);
    }

    let missing: Vec<String> = object
        .fields
        .iter()
        .filter(|field| match draft.changes.get(&field.name) {
            // What creation fills in may be named as null; what has no default may not.
            Some(None) => !(field.nillable || creating && field.defaulted_on_create),
            Some(Some(_)) => false,
            None => creating && field.required_on_create(),
        })
        .map(|field| field.name.to_string())
        .collect();
    if !missing.is_empty() {
        let message = format!("Required fields are missing: [{}]", missing.join(", "));
        return Err(vec![RowError { fields: missing, ..RowError::new("REQUIRED_FIELD_MISSING", message) }]);
    }

    let references = changed.iter().filter(|(field, _)| field.kind == Kind::Reference);
    stop(references.filter_map(|(field, wanted)| points_nowhere(org, field, wanted.as_deref()?)).collect())?;
    stop(changed.iter().filter_map(|(field, wanted)| taken(draft, org, held, field, wanted.as_deref()?)).collect())
}

fn out_of_reach() -> RowError {
    RowError::new("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id")
}

/// What is wrong with a reference of the right form.
fn points_nowhere(org: &Org, field: &Field, id: &str) -> Option<RowError> {
    let object = org.object_of_id(id).map(|position| &org.objects[position]);
    let allowed = object.filter(|object| field.reference_to.contains(&object.name));
    match allowed {
        None => {
            let message = format!("{}: id value of incorrect type: {id}", field.label);
            Some(RowError::new("MALFORMED_ID", message).on(&field.name))
        }
        Some(object) => match object.records.by_id(id) {
            None => Some(RowError::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id").on(&field.name)),
            Some(row) if row.deleted => Some(RowError::new("ENTITY_IS_DELETED", "entity is deleted").on(&field.name)),
            Some(row) if org.out_of_reach.contains(&row.id) => {
                let message = format!("insufficient access rights on cross-reference id: {id}");
                Some(RowError::new("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", message))
            }
            Some(_) => None,
        },
    }
}

/// Another record that has a unique value already.
fn taken(draft: &Draft, org: &Org, held: Option<&Stored>, field: &Field, value: &str) -> Option<RowError> {
    if !field.unique {
        return None;
    }
    let holders = org.objects[draft.object].records.holders(field, value);
    let other = holders.into_iter().find(|row| held.is_none_or(|held| held.id != row.id))?;
    let message = format!("duplicate value found: {} duplicates value on record with id: {}", field.name, other.id);
    Some(RowError::new("DUPLICATE_VALUE", message))
}

/// Creates a record as a seed or a test asks for it, under the rules of a request. The error is a sentence.
pub(crate) fn seeded(org: &mut Org, object: &str, record: &BTreeMap<String, Value>) -> Result<String, String> {
    let object = org.object(object).ok_or_else(|| format!("there is no object {object}"))?;
    let body = serde_json::to_string(record).map_err(|error| error.to_string())?;
    let properties: Properties<'_> = serde_json::from_str(&body).map_err(|error| error.to_string())?;
    let draft = read(org, object, &properties, &body).map_err(|refusal| refusal.message())?;
    if draft.id.is_some() {
        return Err("ids are given by the simulator; leave Id out".to_owned());
    }
    let texts = |errors: Vec<RowError>| {
        errors.into_iter().map(|error| format!("{}: {}", error.code, error.message)).collect::<Vec<_>>().join("; ")
    };
    let (applied, _) = apply(org, &draft, &Target::Create).map_err(texts)?;
    Ok(applied.id)
}

/// Puts a live record into the recycle bin.
pub(crate) fn delete(org: &mut Org, given: &str) -> Result<(String, Undo), RowError> {
    let Some(id) = id::canonical(given) else {
        return Err(RowError::new("MALFORMED_ID", format!("malformed id {given}")));
    };
    let unknown = || RowError::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id");
    let object = org.object_of_id(&id).filter(|&object| org.objects[object].writable).ok_or_else(unknown)?;
    let now_ms = org.now_ms();
    let before = org.objects[object].records.by_id(&id).cloned().ok_or_else(unknown)?;
    if before.deleted {
        return Err(RowError::new("ENTITY_IS_DELETED", "entity is deleted"));
    }
    if org.out_of_reach.contains(&id) {
        return Err(out_of_reach());
    }
    let records = &mut org.objects[object].records;
    let mut row = before.clone();
    (row.deleted, row.modified_ms) = (true, now_ms);
    row.writes += 1;
    records.put(row);
    Ok((id, Undo::Changed { object, before: Box::new(before) }))
}
