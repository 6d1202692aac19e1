//! Members of segments in version 1 of the Track API.

use serde_json::Value;

use super::identifier::{Identifier, KeyKind, identifier_text};
use super::operation::Operation;
use super::reply::{Answer, Reply};
use super::segments::SegmentKind;
use super::workspace::{Call, Workspace};

/// Most people of one call.
const MAX_IDS: usize = 1_000;

pub(crate) fn add(workspace: &mut Workspace, call: &Call) -> Answer {
    change(workspace, call, true)
}

pub(crate) fn remove(workspace: &mut Workspace, call: &Call) -> Answer {
    change(workspace, call, false)
}

/// Whoever is named and does not exist is passed over, later and without a word.
fn change(workspace: &mut Workspace, call: &Call, adds: bool) -> Answer {
    let (id, people) = match read(workspace, call) {
        Ok(read) => read,
        Err(refusal) => {
            workspace.stats.items_rejected += 1;
            return Err(refusal);
        }
    };
    let rows = people.len();
    workspace.accept(vec![Operation::Segment { id, people, adds }]);
    Ok(Reply::accepted(rows))
}

fn read(workspace: &Workspace, call: &Call) -> Result<(u64, Vec<Identifier>), Reply> {
    let segment = call.part("segment").parse().ok().and_then(|id| workspace.segments.get(id));
    let segment = segment.ok_or_else(Reply::no_segment)?;
    if segment.kind() == SegmentKind::Dynamic {
        return Err(Reply::meta_error(400, "segment is not a manual segment"));
    }
    let kind = call.parameter("id_type").map_or(Some(KeyKind::Id), KeyKind::named);
    let kind = kind.filter(|kind| *kind != KeyKind::Phone && workspace.identities.identifies(*kind));
    let kind = kind.ok_or_else(|| Reply::meta_error(400, "id_type is not valid"))?;
    let body: Option<Value> = serde_json::from_slice(&call.body).ok();
    let ids = body.as_ref().and_then(|body| body.get("ids")).and_then(Value::as_array);
    let ids = ids.filter(|ids| (1..=MAX_IDS).contains(&ids.len()));
    let ids = ids.ok_or_else(|| Reply::meta_error(400, &format!("ids must be an array of 1 to {MAX_IDS} ids")))?;
    let named = |id: &Value| Some(Identifier { kind, value: identifier_text(id)? });
    let people: Option<Vec<Identifier>> = ids.iter().map(named).collect();
    let people = people.ok_or_else(|| Reply::meta_error(400, "ids must be strings or numbers"))?;
    Ok((segment.id, people))
}
