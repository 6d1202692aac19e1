//! Segments: groups of people, kept by hand or by a condition.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::attributes::shown;
use super::people::Serial;
use super::workspace::Workspace;

/// Conditions nested deeper than this match nobody: segments may refer to each other in a circle.
const MAX_DEPTH: usize = 16;

/// Who decides about the members of a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SegmentKind {
    /// Whoever calls the API.
    #[default]
    Manual,
    /// A condition, all the time. It cannot be edited through the API.
    Dynamic,
}

/// A condition on people.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Segment(u64),
    Exists(String),
    Equals(String, String),
}

impl Filter {
    /// Reads `{"and":[…]}`, `{"or":[…]}`, `{"not":{…}}`, `{"segment":{"id":3}}` or
    /// `{"attribute":{"field","operator","value"}}`. `None` when it is none of them.
    pub(crate) fn parse(value: &Value) -> Option<Self> {
        let map = value.as_object().filter(|map| map.len() == 1)?;
        let (kind, of) = map.iter().next()?;
        let all = || of.as_array()?.iter().map(Self::parse).collect::<Option<Vec<Self>>>();
        Some(match kind.as_str() {
            "and" => Self::And(all()?),
            "or" => Self::Or(all()?),
            "not" => Self::Not(Box::new(Self::parse(of)?)),
            "segment" => Self::Segment(of.get("id")?.as_u64()?),
            "attribute" => {
                let field = of.get("field")?.as_str()?.to_owned();
                match of.get("operator")?.as_str()? {
                    "exists" => Self::Exists(field),
                    "eq" => Self::Equals(field, shown(of.get("value")?)),
                    _ => return None,
                }
            }
            _ => return None,
        })
    }
}

/// A segment as stored.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) name: String,
    description: String,
    filter: Option<Filter>,
    members: BTreeSet<Serial>,
    changed_at: i64,
}

impl Segment {
    pub(crate) fn kind(&self) -> SegmentKind {
        if self.filter.is_some() { SegmentKind::Dynamic } else { SegmentKind::Manual }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "deduplicate_id": format!("{}:{}", self.id, self.changed_at),
            "name": self.name,
            "description": self.description,
            "state": "finished",
            "progress": null,
            "type": self.kind(),
            "tags": null,
            "created_at": self.changed_at,
            "updated_at": self.changed_at,
        })
    }
}

/// All segments of a workspace.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    by_id: BTreeMap<u64, Segment>,
    last_id: u64,
}

impl Segments {
    /// Makes a segment: with a filter a data-driven one.
    pub(crate) fn create(&mut self, name: &str, description: &str, filter: Option<Filter>, now_secs: i64) -> u64 {
        self.last_id += 1;
        let segment = Segment {
            id: self.last_id,
            name: name.to_owned(),
            description: description.to_owned(),
            filter,
            members: BTreeSet::new(),
            changed_at: now_secs,
        };
        self.by_id.insert(segment.id, segment);
        self.last_id
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Segment> {
        self.by_id.get(&id)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Segment> {
        self.by_id.values()
    }

    pub(crate) fn remove(&mut self, id: u64) {
        self.by_id.remove(&id);
    }

    /// Segments whose condition refers to this one.
    pub(crate) fn users_of(&self, id: u64) -> Vec<u64> {
        fn refers(filter: &Filter, id: u64) -> bool {
            match filter {
                Filter::And(all) | Filter::Or(all) => all.iter().any(|part| refers(part, id)),
                Filter::Not(part) => refers(part, id),
                Filter::Segment(other) => *other == id,
                Filter::Exists(_) | Filter::Equals(..) => false,
            }
        }
        self.all().filter(|s| s.filter.as_ref().is_some_and(|f| refers(f, id))).map(|s| s.id).collect()
    }

    /// Adds a person to a segment kept by hand, or takes them out. False if that changed nothing.
    pub(crate) fn change(&mut self, id: u64, person: Serial, adds: bool) -> bool {
        let Some(segment) = self.by_id.get_mut(&id).filter(|segment| segment.kind() == SegmentKind::Manual) else {
            return false;
        };
        if adds { segment.members.insert(person) } else { segment.members.remove(&person) }
    }

    pub(crate) fn forget(&mut self, person: Serial) {
        for segment in self.by_id.values_mut() {
            segment.members.remove(&person);
        }
    }

    /// Gives the memberships of a merged person to the one that stays.
    pub(crate) fn move_person(&mut self, from: Serial, to: Serial) {
        for segment in self.by_id.values_mut() {
            if segment.members.remove(&from) {
                segment.members.insert(to);
            }
        }
    }
}

impl Workspace {
    /// Whether a person meets a condition.
    pub(crate) fn meets(&self, person: Serial, filter: &Filter) -> bool {
        self.meets_within(person, filter, MAX_DEPTH)
    }

    fn meets_within(&self, person: Serial, filter: &Filter, depth: usize) -> bool {
        let Some(depth) = depth.checked_sub(1) else { return false };
        let text = |field: &str| self.people.get(person).and_then(|stored| stored.text(field));
        match filter {
            Filter::And(all) => all.iter().all(|part| self.meets_within(person, part, depth)),
            Filter::Or(all) => all.iter().any(|part| self.meets_within(person, part, depth)),
            Filter::Not(part) => !self.meets_within(person, part, depth),
            Filter::Segment(id) => self.segments.get(*id).is_some_and(|s| self.is_member_within(person, s, depth)),
            Filter::Exists(field) => text(field).is_some(),
            Filter::Equals(field, value) => text(field).as_ref() == Some(value),
        }
    }

    pub(crate) fn is_member(&self, person: Serial, segment: &Segment) -> bool {
        self.is_member_within(person, segment, MAX_DEPTH)
    }

    fn is_member_within(&self, person: Serial, segment: &Segment, depth: usize) -> bool {
        match &segment.filter {
            Some(filter) => self.meets_within(person, filter, depth),
            None => segment.members.contains(&person),
        }
    }

    /// Members of a segment in the order of their creation.
    pub(crate) fn members<'a>(&'a self, segment: &'a Segment) -> impl Iterator<Item = Serial> + 'a {
        self.people.all().map(|(serial, _)| serial).filter(|serial| self.is_member(*serial, segment))
    }
}

/// A segment in the body of its creation.
pub(crate) fn new_segment(body: &Map<String, Value>) -> Option<(String, String)> {
    let segment = body.get("segment")?.as_object()?;
    let name = segment.get("name")?.as_str().filter(|name| !name.trim().is_empty())?;
    let description = match segment.get("description") {
        None | Some(Value::Null) => "",
        Some(text) => text.as_str()?,
    };
    Some((name.to_owned(), description.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_or_refused() {
        for (value, readable) in [
            (json!({ "segment": { "id": 3 } }), true),
            (json!({ "segment": { "id": "3" } }), false),
            (json!({ "attribute": { "field": "plan", "operator": "eq", "value": 3 } }), true),
            (json!({ "attribute": { "field": "plan", "operator": "eq" } }), false),
            (json!({ "attribute": { "field": "plan", "operator": "exists" } }), true),
            (json!({ "attribute": { "field": "plan", "operator": "gt", "value": 3 } }), false),
            (json!({ "and": [{ "segment": { "id": 3 } }, { "not": { "segment": { "id": 4 } } }] }), true),
            (json!({ "and": [{}] }), false),
            (json!({ "or": [], "and": [] }), false),
            (json!([]), false),
        ] {
            assert_eq!(Filter::parse(&value).is_some(), readable, "{value}");
        }
    }
}
