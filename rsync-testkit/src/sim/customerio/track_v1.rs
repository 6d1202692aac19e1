//! Version 1 of the Track API: one call a person, named in the path.

use serde_json::{Map, Value, json};

use super::attributes::VALUE_TOO_LONG;
use super::check::{Checker, Problem};
use super::identifier::{Identifier, KeyKind, MAX_IDENTIFIER_BYTES, identifier_text};
use super::operation::{Creation, Identify, Operation, PersonAction};
use super::people::Event;
use super::reply::{Answer, Reply};
use super::workspace::{Call, Workspace};

/// Data of one event.
const MAX_EVENT_DATA_BYTES: usize = 100_000;

/// Says where the account lives.
pub(crate) fn region(workspace: &mut Workspace, _call: &Call) -> Answer {
    Ok(Reply::track_json(&json!({
        "url": workspace.region.track_url(),
        "region": workspace.region.name(),
        "environment_id": workspace.environment_id,
    })))
}

pub(crate) fn identify(workspace: &mut Workspace, call: &Call) -> Answer {
    let who = named(workspace, call)?;
    let mut body = json_object(workspace, &call.body)?;
    let mut checker = Checker::new(workspace.identities, &workspace.quirks);
    let timestamp = checker.seconds(body.remove("_timestamp").as_ref(), "_timestamp");
    let creation = match body.remove("_update") {
        Some(Value::Bool(true)) => Creation::Logged,
        None | Some(Value::Bool(false)) => Creation::Allowed,
        Some(_) => {
            checker.problem("_update", "must be a boolean");
            Creation::Allowed
        }
    };
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    if let Some(change) = body.remove("cio_relationships")
        && let Some(change) = checker.object(Some(&change), "cio_relationships")
    {
        checker.known_keys(change, "cio_relationships", &["action", "relationships"]);
        let links = checker.object_links(change.get("relationships"), "cio_relationships.relationships");
        match change.get("action").and_then(Value::as_str) {
            Some("add_relationships") => added = links,
            Some("delete_relationships") => removed = links,
            _ => checker.problem("cio_relationships.action", "must be add_relationships or delete_relationships"),
        }
    }
    let body_id = body.get("id").and_then(identifier_text).filter(|id| !id.is_empty());
    if who.kind == KeyKind::Id && body_id.is_some_and(|id| id != who.value) {
        checker.problem("id", ID_MISMATCH);
    }
    checker.person_attributes(&body, ATTRIBUTES);
    let identify = Identify { attributes: body, timestamp, creation, added, removed };
    let (problems, lints) = (checker.problems, checker.lints);
    if !problems.is_empty() {
        return Err(refused(workspace, &problems));
    }
    for (kind, field) in lints {
        workspace.lints.push(kind, field);
    }
    Ok(accepted(workspace, Operation::Person { who, action: PersonAction::Identify(identify) }))
}

pub(crate) fn delete(workspace: &mut Workspace, call: &Call) -> Answer {
    bare(workspace, call, PersonAction::Delete)
}

pub(crate) fn suppress(workspace: &mut Workspace, call: &Call) -> Answer {
    bare(workspace, call, PersonAction::Suppress)
}

pub(crate) fn unsuppress(workspace: &mut Workspace, call: &Call) -> Answer {
    bare(workspace, call, PersonAction::Unsuppress)
}

/// A call without a body of meaning.
fn bare(workspace: &mut Workspace, call: &Call, action: PersonAction) -> Answer {
    let who = named(workspace, call)?;
    Ok(accepted(workspace, Operation::Person { who, action }))
}

pub(crate) fn event(workspace: &mut Workspace, call: &Call) -> Answer {
    let who = named(workspace, call)?;
    let body = event_body(workspace, call)?;
    let event = checked(workspace, |checker| read_event(checker, &body))?;
    Ok(accepted(workspace, Operation::Person { who, action: PersonAction::Event(event) }))
}

pub(crate) fn anonymous_event(workspace: &mut Workspace, call: &Call) -> Answer {
    let body = event_body(workspace, call)?;
    checked(workspace, |checker| {
        if let Some(anonymous_id) = body.get("anonymous_id") {
            checker.text(Some(anonymous_id), "anonymous_id");
        }
        read_event(checker, &body)
    })?;
    Ok(accepted(workspace, Operation::AnonymousEvent))
}

fn event_body(workspace: &mut Workspace, call: &Call) -> Result<Map<String, Value>, Reply> {
    let body = json_object(workspace, &call.body)?;
    let too_large = body.get("data").is_some_and(|data| data.to_string().len() > MAX_EVENT_DATA_BYTES);
    if too_large {
        let problem = Problem {
            field: "data".to_owned(),
            message: format!("cannot be larger than {MAX_EVENT_DATA_BYTES} bytes"),
        };
        return Err(refused(workspace, &[problem]));
    }
    Ok(body)
}

fn read_event(checker: &mut Checker<'_>, body: &Map<String, Value>) -> Option<Event> {
    let kind = match body.get("type") {
        None => "event".to_owned(),
        Some(kind) => checker.text(Some(kind), "type")?,
    };
    if !matches!(kind.as_str(), "event" | "page" | "screen") {
        checker.problem("type", "must be one of event, page, screen");
    }
    checker.event(&kind, body, "data")
}

pub(crate) fn add_device(workspace: &mut Workspace, call: &Call) -> Answer {
    let who = named(workspace, call)?;
    let body = json_object(workspace, &call.body)?;
    let device = checked(workspace, |checker| checker.device(body.get("device"), "id"))?;
    Ok(accepted(workspace, Operation::Person { who, action: PersonAction::AddDevice(device) }))
}

pub(crate) fn delete_device(workspace: &mut Workspace, call: &Call) -> Answer {
    let who = named(workspace, call)?;
    let token = call.part("device").to_owned();
    Ok(accepted(workspace, Operation::Person { who, action: PersonAction::DeleteDevice(token) }))
}

pub(crate) fn merge(workspace: &mut Workspace, call: &Call) -> Answer {
    let body = json_object(workspace, &call.body)?;
    let mut checker = Checker::new(workspace.identities, &workspace.quirks);
    let primary = checker.person(body.get("primary"), "primary");
    let secondary = checker.person(body.get("secondary"), "secondary");
    if let Some(problem) = checker.problems.first() {
        let message = text_of(problem);
        workspace.stats.items_rejected += 1;
        return Err(Reply::meta_error(400, &message));
    }
    let (Some(primary), Some(secondary)) = (primary, secondary) else {
        return Err(Reply::meta_error(400, "primary and secondary are required"));
    };
    Ok(accepted(workspace, Operation::Merge { primary, secondary }))
}

/// The person that the path names, by the look of the identifier.
fn named(workspace: &mut Workspace, call: &Call) -> Result<Identifier, Reply> {
    let text = call.part("identifier");
    let found = workspace.identities.of_path(text).filter(|who| (1..=MAX_IDENTIFIER_BYTES).contains(&who.value.len()));
    found.ok_or_else(|| {
        workspace.stats.items_rejected += 1;
        Reply::meta_error(400, "identifier is not valid")
    })
}

fn json_object(workspace: &mut Workspace, body: &[u8]) -> Result<Map<String, Value>, Reply> {
    if let Ok(Value::Object(map)) = serde_json::from_slice(body) {
        return Ok(map);
    }
    workspace.stats.items_rejected += 1;
    Err(Reply::meta_error(400, "request body is not a JSON object"))
}

/// Runs a check; a request with problems is refused with all of them.
fn checked<T>(workspace: &mut Workspace, check: impl FnOnce(&mut Checker<'_>) -> Option<T>) -> Result<T, Reply> {
    let mut checker = Checker::new(workspace.identities, &workspace.quirks);
    let read = check(&mut checker);
    let (problems, lints) = (checker.problems, checker.lints);
    match read.filter(|_| problems.is_empty()) {
        Some(read) => {
            for (kind, field) in lints {
                workspace.lints.push(kind, field);
            }
            Ok(read)
        }
        None => Err(refused(workspace, &problems)),
    }
}

fn refused(workspace: &mut Workspace, problems: &[Problem]) -> Reply {
    workspace.stats.items_rejected += 1;
    Reply::meta_errors(&problems.iter().map(text_of).collect::<Vec<_>>())
}

fn accepted(workspace: &mut Workspace, operation: Operation) -> Reply {
    workspace.accept(vec![operation]);
    Reply::accepted(1)
}

/// Field path of attributes in problems: version 1 has none, so it marks them for the text below.
const ATTRIBUTES: &str = "attributes";
const ID_MISMATCH: &str = "id attribute and identifier are not the same value";

/// A problem as version 1 words it: a sentence instead of a field and a message.
fn text_of(problem: &Problem) -> String {
    let Problem { field, message } = problem;
    let attribute = field.strip_prefix(ATTRIBUTES).map(|rest| rest.trim_start_matches('.'));
    match attribute {
        _ if message == ID_MISMATCH => message.clone(),
        Some(name) if message == VALUE_TOO_LONG => {
            format!("value for attribute '{name}' cannot be longer than 1000 bytes")
        }
        Some("") | None => format!("{field} {message}"),
        Some(name) => format!("{name} {message}"),
    }
}

/// The person that a path of version 1 names, in a form that can be compared.
pub(crate) fn person_named(workspace: &Workspace, path: &str) -> Option<String> {
    let segment = path.strip_prefix("/api/v1/customers/")?.split('/').next()?;
    let query = format!("id={}", segment.replace('+', "%2B"));
    let (_, text) = url::form_urlencoded::parse(query.as_bytes()).next()?;
    Some(workspace.identities.of_path(&text)?.key().label())
}
