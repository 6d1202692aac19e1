//! Segments in the App API, and the people in them.

use serde_json::{Value, json};

use super::super::people::Serial;
use super::super::reply::{Answer, Reply};
use super::super::segments::{Filter, Segment, SegmentKind, new_segment};
use super::super::workspace::{Call, Workspace};
use super::{bad_request, identifiers, not_found, page_of};

const DEFAULT_PEOPLE: usize = 50;
const MAX_PEOPLE: usize = 1_000;
const MAX_MEMBERS: usize = 30_000;

pub(crate) fn create(workspace: &mut Workspace, call: &Call) -> Answer {
    let body: Value = serde_json::from_slice(&call.body).map_err(|_| bad_request())?;
    let (name, description) = body.as_object().and_then(new_segment).ok_or_else(bad_request)?;
    let now_secs = workspace.now_ms().div_euclid(1_000);
    let id = workspace.segments.create(&name, &description, None, now_secs);
    let segment = workspace.segments.get(id).map(Segment::to_json);
    Ok(Reply::app(200, &json!({ "segment": segment })))
}

pub(crate) fn list(workspace: &mut Workspace, _call: &Call) -> Answer {
    let all: Vec<Value> = workspace.segments.all().map(Segment::to_json).collect();
    Ok(Reply::app(200, &json!({ "segments": all })))
}

/// The segment that the path names.
fn named(workspace: &mut Workspace, call: &Call) -> Result<u64, Reply> {
    workspace.apply_due();
    let id = call.part("segment").parse().ok().filter(|id| workspace.segments.get(*id).is_some());
    id.ok_or_else(|| not_found(workspace))
}

pub(crate) fn read(workspace: &mut Workspace, call: &Call) -> Answer {
    let id = named(workspace, call)?;
    let segment = workspace.segments.get(id).map(Segment::to_json);
    Ok(Reply::app(200, &json!({ "segment": segment })))
}

/// Only segments kept by hand can be deleted, and only when nothing refers to them.
pub(crate) fn delete(workspace: &mut Workspace, call: &Call) -> Answer {
    let id = named(workspace, call)?;
    let manual = workspace.segments.get(id).is_some_and(|segment| segment.kind() == SegmentKind::Manual);
    if !manual || !workspace.segments.users_of(id).is_empty() {
        return Err(bad_request());
    }
    workspace.segments.remove(id);
    Ok(Reply::app_empty(204))
}

pub(crate) fn count(workspace: &mut Workspace, call: &Call) -> Answer {
    let id = named(workspace, call)?;
    let count = workspace.segments.get(id).map_or(0, |segment| workspace.members(segment).count());
    Ok(Reply::app(200, &json!({ "count": count })))
}

pub(crate) fn used_by(workspace: &mut Workspace, call: &Call) -> Answer {
    let id = named(workspace, call)?;
    let segments = workspace.segments.users_of(id);
    let used_by = json!({ "campaigns": [], "sent_newsletters": [], "draft_newsletters": [], "segments": segments });
    Ok(Reply::app(200, &json!({ "used_by": used_by })))
}

pub(crate) fn membership(workspace: &mut Workspace, call: &Call) -> Answer {
    let id = named(workspace, call)?;
    let people: Vec<Serial> =
        workspace.segments.get(id).map(|segment| workspace.members(segment).collect()).unwrap_or_default();
    people_page(workspace, call, people, MAX_MEMBERS, MAX_MEMBERS)
}

/// Everybody who meets a condition.
pub(crate) fn search(workspace: &mut Workspace, call: &Call) -> Answer {
    workspace.apply_due();
    let body: Value = serde_json::from_slice(&call.body).map_err(|_| bad_request())?;
    let filter = body.get("filter").and_then(Filter::parse).ok_or_else(bad_request)?;
    let all = workspace.people.all().map(|(serial, _)| serial);
    let people: Vec<Serial> = all.filter(|serial| workspace.meets(*serial, &filter)).collect();
    people_page(workspace, call, people, DEFAULT_PEOPLE, MAX_PEOPLE)
}

fn people_page(workspace: &Workspace, call: &Call, people: Vec<Serial>, default: usize, max: usize) -> Answer {
    let (people, next) = page_of(call, people, |serial| *serial, default, max)?;
    let stored: Vec<_> = people.into_iter().filter_map(|serial| workspace.people.get(serial)).collect();
    let ids: Vec<String> = stored.iter().map(|person| person.text("id").unwrap_or_default()).collect();
    let identifiers: Vec<Value> = stored.into_iter().map(identifiers).collect();
    Ok(Reply::app(200, &json!({ "identifiers": identifiers, "ids": ids, "next": next })))
}
