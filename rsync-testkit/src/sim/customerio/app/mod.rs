//! The App API: reads of people, segments, activities, exports.

pub(crate) mod exports;
pub(crate) mod metadata;
pub(crate) mod person;
pub(crate) mod segments;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::activity::ulid;
use super::identifier::{KeyKind, PersonKey, identifier_text};
use super::people::{Serial, StoredPerson};
use super::reply::{Answer, Reply};
use super::workspace::{Call, Workspace};

/// Most people of one read.
const MAX_IDS: usize = 100;

/// Everybody with an email address.
pub(crate) fn by_email(workspace: &mut Workspace, call: &Call) -> Answer {
    workspace.apply_due();
    let Some(email) = call.parameter("email").filter(|email| !email.is_empty()) else {
        return Err(bad_request());
    };
    let wanted = PersonKey::new(KeyKind::Email, email);
    // Where email identifies people there is one at most; elsewhere it is an attribute that several may have.
    let results: Vec<Value> = if workspace.identities.identifies(KeyKind::Email) {
        let found = workspace.people.find(&wanted).and_then(|serial| workspace.people.get(serial));
        found.map(identifiers).into_iter().collect()
    } else {
        let has = |person: &StoredPerson| {
            person.text("email").is_some_and(|email| PersonKey::new(KeyKind::Email, &email) == wanted)
        };
        workspace.people.all().filter(|(_, person)| has(person)).map(|(_, person)| identifiers(person)).collect()
    };
    Ok(Reply::app(200, &json!({ "results": results })))
}

pub(crate) fn attributes_of_one(workspace: &mut Workspace, call: &Call) -> Answer {
    workspace.apply_due();
    let kind = id_type(workspace, call)?;
    match find(workspace, kind, call.part("identifier")) {
        Some(person) => Ok(Reply::app(200, &customer(person))),
        None => Err(not_found(workspace)),
    }
}

pub(crate) fn attributes_of_many(workspace: &mut Workspace, call: &Call) -> Answer {
    workspace.apply_due();
    let kind = id_type(workspace, call)?;
    let body: Value = serde_json::from_slice(&call.body).map_err(|_| bad_request())?;
    let ids = body.get("ids").and_then(Value::as_array).filter(|ids| (1..=MAX_IDS).contains(&ids.len()));
    let ids = ids.ok_or_else(bad_request)?;
    let ids: Option<Vec<String>> = ids.iter().map(identifier_text).collect();
    let customers: Vec<Value> =
        ids.ok_or_else(bad_request)?.iter().filter_map(|id| find(workspace, kind, id)).map(customer).collect();
    Ok(Reply::app(200, &json!({ "customers": customers })))
}

/// What `id_type` says that the identifiers are.
fn id_type(workspace: &Workspace, call: &Call) -> Result<KeyKind, Reply> {
    let kind = call.parameter("id_type").map_or(Some(KeyKind::Id), KeyKind::named);
    kind.filter(|kind| workspace.identities.identifies(*kind)).ok_or_else(bad_request)
}

fn bad_request() -> Reply {
    Reply::app_error(400, "bad request")
}

fn not_found(workspace: &mut Workspace) -> Reply {
    let now_ms = workspace.now_ms();
    let reference = ulid(now_ms, &mut workspace.rng);
    Reply::app_error(404, &format!("not found (reference {reference})"))
}

/// One page of what was found, and where the next begins: nothing at the end. `place` orders what was found.
fn page_of<T>(
    call: &Call,
    found: Vec<T>,
    place: impl Fn(&T) -> u64,
    default: usize,
    max: usize,
) -> Result<(Vec<T>, String), Reply> {
    let limit = match call.parameter("limit").map(str::parse::<usize>) {
        None => default,
        Some(Ok(limit)) if (1..=max).contains(&limit) => limit,
        Some(_) => return Err(bad_request()),
    };
    let first = match call.parameter("start").filter(|start| !start.is_empty()) {
        None => 0,
        Some(start) => cursor(start).ok_or_else(bad_request)?,
    };
    let mut rest = found.into_iter().filter(|item| place(item) >= first);
    let page: Vec<T> = rest.by_ref().take(limit).collect();
    let next = rest.next().map(|item| STANDARD.encode(format!("0:{}", place(&item)))).unwrap_or_default();
    Ok((page, next))
}

fn cursor(text: &str) -> Option<u64> {
    let bytes = STANDARD.decode(text).ok()?;
    String::from_utf8(bytes).ok()?.strip_prefix("0:")?.parse().ok()
}

fn find<'a>(workspace: &'a Workspace, kind: KeyKind, value: &str) -> Option<&'a StoredPerson> {
    serial_of(workspace, kind, value).and_then(|serial| workspace.people.get(serial))
}

fn serial_of(workspace: &Workspace, kind: KeyKind, value: &str) -> Option<Serial> {
    let value = if kind == KeyKind::CioId { value.strip_prefix("cio_").unwrap_or(value) } else { value };
    workspace.people.find(&PersonKey::new(kind, value))
}

fn identifiers(person: &StoredPerson) -> Value {
    json!({ "email": person.text("email"), "id": person.text("id"), "cio_id": person.text("cio_id") })
}

/// A person with all attributes as text.
fn customer(person: &StoredPerson) -> Value {
    let attributes: Map<String, Value> =
        person.attributes.keys().filter_map(|name| Some((name.clone(), Value::String(person.text(name)?)))).collect();
    let timestamps: Map<String, Value> =
        person.attributes.iter().map(|(name, attribute)| (name.clone(), attribute.changed_at.into())).collect();
    let devices: Vec<Value> = person
        .devices
        .values()
        .map(|device| {
            json!({
                "id": device.token,
                "platform": device.platform,
                "last_used": device.last_used,
                "attributes": device.attributes,
            })
        })
        .collect();
    json!({ "customer": {
        "id": person.text("id").unwrap_or_default(),
        "identifiers": identifiers(person),
        "attributes": attributes,
        "timestamps": timestamps,
        "unsubscribed": person.is_unsubscribed(),
        "devices": devices,
    } })
}
