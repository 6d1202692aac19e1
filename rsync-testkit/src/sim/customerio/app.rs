//! The App API, as far as it reads people.

use serde_json::{Map, Value, json};

use super::activity::ulid;
use super::identifier::{KeyKind, PersonKey, identifier_text};
use super::people::StoredPerson;
use super::reply::{Answer, Reply};
use super::workspace::{Call, Workspace};

/// Most people of one read.
const MAX_IDS: usize = 100;

/// Everybody with an email address.
pub(crate) fn by_email(workspace: &mut Workspace, call: &Call) -> Answer {
    workspace.apply_due();
    let Some(email) = call.parameter("email").filter(|email| !email.is_empty()) else {
        return Err(Reply::app_error(400, "bad request"));
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
        None => {
            let now_ms = workspace.now_ms();
            let reference = ulid(now_ms, &mut workspace.rng);
            Err(Reply::app_error(404, &format!("not found (reference {reference})")))
        }
    }
}

pub(crate) fn attributes_of_many(workspace: &mut Workspace, call: &Call) -> Answer {
    workspace.apply_due();
    let kind = id_type(workspace, call)?;
    let bad_request = || Reply::app_error(400, "bad request");
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
    kind.filter(|kind| workspace.identities.identifies(*kind)).ok_or_else(|| Reply::app_error(400, "bad request"))
}

fn find<'a>(workspace: &'a Workspace, kind: KeyKind, value: &str) -> Option<&'a StoredPerson> {
    let value = if kind == KeyKind::CioId { value.strip_prefix("cio_").unwrap_or(value) } else { value };
    workspace.people.find(&PersonKey::new(kind, value)).and_then(|serial| workspace.people.get(serial))
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
