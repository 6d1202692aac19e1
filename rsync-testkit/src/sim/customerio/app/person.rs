//! What the App API knows about one person, and the log of what happened to everybody.

use serde_json::{Map, Value, json};

use super::super::activity::Activity;
use super::super::attributes::PREFERENCES;
use super::super::identifier::{KeyKind, PersonKey};
use super::super::people::Serial;
use super::super::reply::{Answer, Reply};
use super::super::segments::Segment;
use super::super::workspace::{Call, Workspace};
use super::{bad_request, id_type, identifiers, not_found, page_of, serial_of};

const DEFAULT_ACTIVITIES: usize = 10;
const MAX_ACTIVITIES: usize = 100;
/// How far back the log can be read.
const LOG_SECONDS: i64 = 30 * 86_400;
const MAX_LISTED: usize = 100;

/// The person that the path names.
fn named(workspace: &mut Workspace, call: &Call) -> Result<Serial, Reply> {
    workspace.apply_due();
    let kind = id_type(workspace, call)?;
    serial_of(workspace, kind, call.part("identifier")).ok_or_else(|| not_found(workspace))
}

pub(crate) fn segments(workspace: &mut Workspace, call: &Call) -> Answer {
    let person = named(workspace, call)?;
    let all = workspace.segments.all().filter(|segment| workspace.is_member(person, segment));
    let all: Vec<Value> = all.map(Segment::to_json).collect();
    Ok(Reply::app(200, &json!({ "segments": all })))
}

/// The simulator sends no messages.
pub(crate) fn messages(workspace: &mut Workspace, call: &Call) -> Answer {
    named(workspace, call)?;
    Ok(Reply::app(200, &json!({ "messages": [], "next": "" })))
}

pub(crate) fn relationships(workspace: &mut Workspace, call: &Call) -> Answer {
    let person = named(workspace, call)?;
    let mut related: Vec<(u64, Value)> = Vec::new();
    for (place, (id, object)) in (0..).zip(workspace.objects.all()) {
        if let Some(attributes) = object.people.get(&person) {
            related.push((
                place,
                json!({
                    "object_type_id": id.type_id,
                    "identifiers": {
                        "object_type_id": id.type_id,
                        "object_id": id.id,
                        "cio_object_id": object.cio_object_id,
                    },
                    "relationship_attributes": attributes,
                }),
            ));
        }
    }
    let (related, next) = page_of(call, related, |(place, _)| *place, MAX_LISTED, MAX_LISTED)?;
    let related: Vec<Value> = related.into_iter().map(|(_, value)| value).collect();
    Ok(Reply::app(200, &json!({ "cio_relationships": related, "next": next })))
}

/// Topics and whether the person is subscribed to them: what they chose, or else the default of the topic.
pub(crate) fn subscription_preferences(workspace: &mut Workspace, call: &Call) -> Answer {
    let person = named(workspace, call)?;
    let Some(stored) = workspace.people.get(person) else { return Err(not_found(workspace)) };
    let chosen = stored.attributes.get(PREFERENCES).and_then(|attribute| attribute.value.get("topics"));
    let topics: Vec<Value> = workspace
        .topics
        .iter()
        .map(|topic| {
            let chosen = chosen.and_then(|topics| topics.get(topic.identifier())).and_then(Value::as_bool);
            let mut shown = topic.to_json();
            shown["subscribed"] = json!(chosen.unwrap_or(topic.subscribed_by_default));
            shown
        })
        .collect();
    Ok(Reply::app(
        200,
        &json!({ "customer": {
            "id": stored.text("id").unwrap_or_default(),
            "identifiers": identifiers(stored),
            "topics": topics,
            "unsubscribed": stored.is_unsubscribed(),
        } }),
    ))
}

pub(crate) fn topics(workspace: &mut Workspace, _call: &Call) -> Answer {
    let topics: Vec<Value> = workspace.topics.iter().map(super::super::seed::TopicSeed::to_json).collect();
    Ok(Reply::app(200, &json!({ "topics": topics })))
}

pub(crate) fn activities_of_one(workspace: &mut Workspace, call: &Call) -> Answer {
    let person = named(workspace, call)?;
    let cio_id = workspace.people.get(person).and_then(|stored| stored.text("cio_id"));
    activities_where(workspace, call, |activity| activity.cio_id == cio_id)
}

pub(crate) fn activities(workspace: &mut Workspace, call: &Call) -> Answer {
    workspace.apply_due();
    let Some(customer) = call.parameter("customer_id") else {
        return activities_where(workspace, call, |_| true);
    };
    let kind = id_type(workspace, call)?;
    // Unlike in a path, an id of the service must have its prefix here.
    if kind == KeyKind::CioId && !customer.starts_with("cio_") {
        return Err(bad_request());
    }
    let found = serial_of(workspace, kind, customer).and_then(|serial| workspace.people.get(serial));
    match found.and_then(|stored| stored.text("cio_id")) {
        Some(cio_id) => activities_where(workspace, call, |activity| activity.cio_id.as_ref() == Some(&cio_id)),
        None => activities_where(workspace, call, |_| false),
    }
}

fn activities_where(workspace: &Workspace, call: &Call, wanted: impl Fn(&Activity) -> bool) -> Answer {
    let oldest = workspace.now_ms().div_euclid(1_000) - LOG_SECONDS;
    let kind = call.parameter("type");
    let name = call.parameter("name");
    let all = workspace.activities.all();
    let total = all.len() as u64;
    // The newest come first.
    let found: Vec<(u64, Activity)> = (0..total)
        .zip(all.into_iter().rev())
        .filter(|(_, activity)| activity.timestamp >= oldest && wanted(activity))
        .filter(|(_, activity)| kind.is_none_or(|kind| json!(activity.kind) == *kind))
        .filter(|(_, activity)| name.is_none_or(|name| activity.data.get("name").is_some_and(|n| n == name)))
        .collect();
    let (found, next) = page_of(call, found, |(place, _)| *place, DEFAULT_ACTIVITIES, MAX_ACTIVITIES)?;
    let shown: Vec<Value> = found.into_iter().map(|(_, activity)| shown(workspace, &activity)).collect();
    Ok(Reply::app(200, &json!({ "activities": shown, "next": next })))
}

fn shown(workspace: &Workspace, activity: &Activity) -> Value {
    let person = activity.cio_id.as_ref().and_then(|id| workspace.people.find(&PersonKey::new(KeyKind::CioId, id)));
    let identified = person.and_then(|serial| workspace.people.get(serial)).map(identifiers);
    json!({
        "id": activity.id,
        "type": activity.kind,
        "timestamp": activity.timestamp,
        "customer_id": activity.customer_id,
        "customer_identifiers": identified.unwrap_or_else(|| Value::Object(Map::new())),
        "data": activity.data,
    })
}
