//! Exports: asked for, made after a while, fetched from a link that ends.

use serde_json::{Value, json};

use super::super::people::{Serial, StoredPerson};
use super::super::reply::{Answer, Reply};
use super::super::segments::Filter;
use super::super::workspace::{Call, Workspace};
use super::{bad_request, not_found};

/// Life of a link.
const LINK_MS: i64 = 15 * 60 * 1_000;

/// An export as stored.
#[derive(Debug, Clone)]
pub(crate) struct Export {
    id: u64,
    filter: Filter,
    asked_at_ms: i64,
    done_at_ms: i64,
    /// The file, once it is made.
    file: Option<Made>,
}

#[derive(Debug, Clone)]
struct Made {
    rows: usize,
    text: String,
    /// The name that a link gives it, and until when.
    link: Option<(String, i64)>,
}

impl Export {
    fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "deduplicate_id": format!("{}:{}", self.id, self.asked_at_ms.div_euclid(1_000)),
            "type": "customers",
            "status": if self.file.is_some() { "done" } else { "pending" },
            "failed": false,
            "total": self.file.as_ref().map_or(0, |file| file.rows),
            "description": "",
            "downloads": u8::from(self.file.as_ref().is_some_and(|file| file.link.is_some())),
            "created_at": self.asked_at_ms.div_euclid(1_000),
            "updated_at": self.done_at_ms.div_euclid(1_000),
        })
    }
}

pub(crate) fn create(workspace: &mut Workspace, call: &Call) -> Answer {
    let body: Value = serde_json::from_slice(&call.body).map_err(|_| bad_request())?;
    let filter = body.get("filters").and_then(Filter::parse).ok_or_else(bad_request)?;
    let now_ms = workspace.now_ms();
    let delay_ms = i64::try_from(workspace.quirks.export_delay_ms).unwrap_or(i64::MAX);
    let id = workspace.exports.len() as u64 + 1;
    let done_at_ms = now_ms.saturating_add(delay_ms);
    let export = Export { id, filter, asked_at_ms: now_ms, done_at_ms, file: None };
    let answer = Reply::app(200, &json!({ "export": export.to_json() }));
    workspace.exports.push(export);
    Ok(answer)
}

/// Makes the files that are due, of the people as they are then.
fn make_due(workspace: &mut Workspace) {
    workspace.apply_due();
    let now_ms = workspace.now_ms();
    for at in 0..workspace.exports.len() {
        let export = &workspace.exports[at];
        if export.file.is_some() || now_ms < export.done_at_ms {
            continue;
        }
        let all = workspace.people.all().map(|(serial, _)| serial);
        let found: Vec<Serial> = all.filter(|serial| workspace.meets(*serial, &export.filter)).collect();
        let mut text = "id,email,cio_id,unsubscribed\n".to_owned();
        for person in found.iter().filter_map(|serial| workspace.people.get(*serial)) {
            text.push_str(&line(person));
        }
        workspace.exports[at].file = Some(Made { rows: found.len(), text, link: None });
    }
}

fn line(person: &StoredPerson) -> String {
    let field = |name: &str| {
        let text = person.text(name).unwrap_or_default();
        if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
    };
    format!("{},{},{},{}\n", field("id"), field("email"), field("cio_id"), person.is_unsubscribed())
}

pub(crate) fn list(workspace: &mut Workspace, _call: &Call) -> Answer {
    make_due(workspace);
    let all: Vec<Value> = workspace.exports.iter().map(Export::to_json).collect();
    // None at all is no empty list.
    let exports = if all.is_empty() { Value::Null } else { Value::Array(all) };
    Ok(Reply::app(200, &json!({ "exports": exports })))
}

fn named(workspace: &mut Workspace, call: &Call) -> Result<usize, Reply> {
    make_due(workspace);
    let id: Option<u64> = call.part("export").parse().ok();
    let at = workspace.exports.iter().position(|export| Some(export.id) == id);
    at.ok_or_else(|| not_found(workspace))
}

pub(crate) fn read(workspace: &mut Workspace, call: &Call) -> Answer {
    let at = named(workspace, call)?;
    Ok(Reply::app(200, &json!({ "export": workspace.exports[at].to_json() })))
}

pub(crate) fn download(workspace: &mut Workspace, call: &Call) -> Answer {
    let at = named(workspace, call)?;
    let until_ms = workspace.now_ms().saturating_add(LINK_MS);
    let name = workspace.rng.uuid();
    let scheme = workspace.scheme;
    let Some(file) = workspace.exports[at].file.as_mut() else { return Err(bad_request()) };
    let url = format!("{scheme}://{}/exported/{name}", call.host);
    file.link = Some((name, until_ms));
    Ok(Reply::app(200, &json!({ "url": url })))
}

/// The file behind a link. The link is its own credential.
pub(crate) fn file(workspace: &mut Workspace, call: &Call) -> Answer {
    let now_ms = workspace.now_ms();
    let linked = |file: &&Made| {
        file.link.as_ref().is_some_and(|(name, until_ms)| name == call.part("file") && now_ms < *until_ms)
    };
    let found = workspace.exports.iter().filter_map(|export| export.file.as_ref()).find(linked);
    match found {
        Some(file) => Ok(Reply::csv(&file.text)),
        None => Err(Reply::no_endpoint(404)),
    }
}
