//! Version 2 of the Track API: operations on people, objects and deliveries, one or many at a time.

use serde_json::{Map, Value};

use super::check::{Checker, Problem, join};
use super::identifier::{Identifier, KeyKind};
use super::operation::{Creation, Identify, ObjectAction, Operation, PersonAction};
use super::quirks::{BatchOrder, PartialStatus};
use super::reply::{Answer, OperationError, Reply};
use super::workspace::{Call, Workspace};

const MAX_OPERATION_BYTES: usize = 32_000;
const MAX_BATCH_BYTES: usize = 500_000;

pub(crate) fn entity(workspace: &mut Workspace, call: &Call) -> Answer {
    if call.body.len() > MAX_OPERATION_BYTES {
        return Err(refused(workspace, workspace.quirks.oversize_status, too_large("", MAX_OPERATION_BYTES)));
    }
    let value = json(workspace, &call.body)?;
    match workspace.read_operation(&value) {
        Ok(operation) => {
            workspace.accept(vec![operation]);
            Ok(Reply::accepted(1))
        }
        Err(problems) => {
            workspace.stats.items_rejected += 1;
            let parts = workspace.quirks.error_parts;
            let errors: Vec<_> = problems.into_iter().map(|p| OperationError::new(p, None, parts)).collect();
            Err(Reply::operation_errors(400, &errors, 1))
        }
    }
}

pub(crate) fn batch(workspace: &mut Workspace, call: &Call) -> Answer {
    workspace.stats.largest_batch_bytes = workspace.stats.largest_batch_bytes.max(call.body.len());
    workspace.stats.batch_bytes += call.body.len() as u64;
    if call.body.len() > MAX_BATCH_BYTES {
        return Err(refused(workspace, workspace.quirks.oversize_status, too_large("", MAX_BATCH_BYTES)));
    }
    let value = json(workspace, &call.body)?;
    let items = match value.get("batch") {
        Some(Value::Array(items)) if !items.is_empty() => items,
        Some(Value::Array(_)) => return Err(refused(workspace, 400, problem("batch", "must not be empty"))),
        Some(_) => return Err(refused(workspace, 400, problem("batch", "must be an array"))),
        None => return Err(refused(workspace, 400, problem("batch", "is required"))),
    };
    let mut operations = Vec::with_capacity(items.len());
    let mut errors = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match workspace.read_operation(item) {
            Ok(operation) => operations.push(operation),
            Err(problems) => {
                workspace.stats.items_rejected += 1;
                let parts = workspace.quirks.error_parts;
                errors.extend(problems.into_iter().map(|p| OperationError::new(p, Some(index), parts)));
            }
        }
    }
    if workspace.quirks.batch_order == BatchOrder::Shuffled {
        workspace.rng.disorder(&mut operations);
    }
    workspace.accept(operations);
    if errors.is_empty() {
        return Ok(Reply::accepted(items.len()));
    }
    let status = match workspace.quirks.partial_status {
        PartialStatus::MultiStatus => 207,
        PartialStatus::Success => 200,
    };
    Ok(Reply::operation_errors(status, &errors, items.len()))
}

fn json(workspace: &Workspace, body: &[u8]) -> Result<Value, Reply> {
    let value = serde_json::from_slice::<Value>(body)
        .map_err(|_| refused(workspace, 400, problem("", "request body is not valid JSON")))?;
    if value.is_object() { Ok(value) } else { Err(refused(workspace, 400, problem("", "must be an object"))) }
}

fn refused(workspace: &Workspace, status: u16, problem: Problem) -> Reply {
    Reply::operation_errors(status, &[OperationError::new(problem, None, workspace.quirks.error_parts)], 0)
}

fn problem(field: &str, message: &str) -> Problem {
    Problem { field: field.to_owned(), message: message.to_owned() }
}

fn too_large(field: &str, bytes: usize) -> Problem {
    problem(field, &format!("request cannot be larger than {bytes} bytes"))
}

impl Workspace {
    /// Reads one operation, or says all that is wrong with it. Lints are noted when it is accepted.
    fn read_operation(&mut self, value: &Value) -> Result<Operation, Vec<Problem>> {
        // The item's own bytes are not known any more; white space between its tokens is not held against it.
        if value.to_string().len() > MAX_OPERATION_BYTES {
            return Err(vec![too_large("", MAX_OPERATION_BYTES)]);
        }
        let mut checker = Checker::new(self.identities, &self.quirks);
        let operation = checker.object(Some(value), "").and_then(|body| checker.operation(body));
        let (problems, lints) = (checker.problems, checker.lints);
        match operation.filter(|_| problems.is_empty()) {
            Some(operation) => {
                for (kind, field) in lints {
                    self.lints.push(kind, field);
                }
                Ok(operation)
            }
            None => Err(problems),
        }
    }
}

impl Checker<'_> {
    fn operation(&mut self, body: &Map<String, Value>) -> Option<Operation> {
        let kind = self.text(body.get("type"), "type");
        if kind.as_ref().is_some_and(|kind| !matches!(kind.as_str(), "person" | "object" | "delivery")) {
            self.problem("type", "must be one of person, object, delivery");
            return None;
        }
        let action = self.text(body.get("action"), "action")?;
        match kind?.as_str() {
            "person" => self.person_operation(&action, body),
            "object" => self.object_operation(&action, body),
            _ => self.delivery_operation(&action, body),
        }
    }

    /// Refuses keys that the action does not have.
    fn keys_of(&mut self, body: &Map<String, Value>, keys: &[&str]) {
        let known: Vec<&str> = ["type", "action"].iter().chain(keys).copied().collect();
        self.known_keys(body, "", &known);
    }

    fn person_operation(&mut self, action: &str, body: &Map<String, Value>) -> Option<Operation> {
        match action {
            "merge" => {
                self.keys_of(body, &["primary", "secondary"]);
                let primary = self.person(body.get("primary"), "primary");
                let secondary = self.person(body.get("secondary"), "secondary");
                return Some(Operation::Merge { primary: primary?, secondary: secondary? });
            }
            "event" | "page" | "screen" => return self.event_operation(action, body),
            _ => {}
        }
        let keys: &[&str] = match action {
            "identify" => &["identifiers", "attributes", "timestamp", "cio_relationships"],
            "delete" | "suppress" | "unsuppress" => &["identifiers"],
            "add_relationships" | "delete_relationships" => &["identifiers", "cio_relationships"],
            "add_device" | "delete_device" => &["identifiers", "device"],
            _ => {
                self.problem("action", "is not an action of a person");
                return None;
            }
        };
        self.keys_of(body, keys);
        let who = self.person(body.get("identifiers"), "identifiers");
        let links = body.get("cio_relationships");
        let action = match action {
            "identify" => self.identify(body),
            "delete" => Some(PersonAction::Delete),
            "suppress" => Some(PersonAction::Suppress),
            "unsuppress" => Some(PersonAction::Unsuppress),
            "add_relationships" => Some(PersonAction::AddRelationships(self.object_links(links, "cio_relationships"))),
            "delete_relationships" => {
                Some(PersonAction::DeleteRelationships(self.object_links(links, "cio_relationships")))
            }
            "add_device" => self.device(body.get("device"), "token").map(PersonAction::AddDevice),
            _ => self
                .object(body.get("device"), "device")
                .and_then(|device| self.text(device.get("token"), "device.token"))
                .map(PersonAction::DeleteDevice),
        };
        Some(Operation::Person { who: who?, action: action? })
    }

    fn identify(&mut self, body: &Map<String, Value>) -> Option<PersonAction> {
        let mut attributes = match body.get("attributes") {
            None => Map::new(),
            Some(value) => self.object(Some(value), "attributes")?.clone(),
        };
        self.person_attributes(&attributes, "attributes");
        let creation = match attributes.remove("_update") {
            Some(Value::Bool(true)) => Creation::Silent,
            _ => Creation::Allowed,
        };
        let timestamp = self.seconds(body.get("timestamp"), "timestamp");
        let added = match body.get("cio_relationships") {
            None => Vec::new(),
            links => self.object_links(links, "cio_relationships"),
        };
        Some(PersonAction::Identify(Identify { attributes, timestamp, creation, added, removed: Vec::new() }))
    }

    fn event_operation(&mut self, action: &str, body: &Map<String, Value>) -> Option<Operation> {
        self.keys_of(body, &["identifiers", "name", "id", "timestamp", "attributes"]);
        let identifiers = body.get("identifiers");
        // The schema does not list it, but real connectors send it.
        let anonymous = identifiers.and_then(|map| map.get("anonymous_id"));
        let who = match (anonymous, identifiers.and_then(Value::as_object)) {
            (Some(anonymous), Some(map)) => {
                self.known_keys(map, "identifiers", &["anonymous_id"]);
                self.text(Some(anonymous), "identifiers.anonymous_id").map(|_| None)
            }
            _ => self.person(identifiers, "identifiers").map(Some),
        };
        let event = self.event(action, body, "attributes");
        Some(match who? {
            Some(who) => Operation::Person { who, action: PersonAction::Event(event?) },
            None => {
                event?;
                Operation::AnonymousEvent
            }
        })
    }

    fn object_operation(&mut self, action: &str, body: &Map<String, Value>) -> Option<Operation> {
        let keys: &[&str] = match action {
            "identify" | "identify_anonymous" => &["identifiers", "attributes", "cio_relationships"],
            "delete" => &["identifiers"],
            "add_relationships" | "delete_relationships" => &["identifiers", "cio_relationships"],
            _ => {
                self.problem("action", "is not an action of an object");
                return None;
            }
        };
        self.keys_of(body, keys);
        let key = self.object_key(body.get("identifiers"), "identifiers");
        let at = "cio_relationships";
        let links = body.get(at);
        let action = match action {
            "identify" | "identify_anonymous" => {
                let attributes = self.object_attributes(body.get("attributes"), "attributes");
                let people = match links {
                    None => Vec::new(),
                    links if action == "identify" => self.person_links(links, at),
                    links => {
                        // Nobody is known by an anonymous id yet, so there is nobody to relate.
                        self.links(links, at, |checker, entry, at| {
                            let identifiers = checker.object(entry.get("identifiers"), at)?;
                            checker.text(identifiers.get("anonymous_id"), &join(at, "anonymous_id"))
                        });
                        Vec::new()
                    }
                };
                ObjectAction::Identify { attributes, people }
            }
            "delete" => ObjectAction::Delete,
            "add_relationships" => ObjectAction::AddRelationships(self.person_links(links, at)),
            _ => ObjectAction::DeleteRelationships(self.person_links(links, at)),
        };
        Some(Operation::Object { key: key?, action })
    }

    fn delivery_operation(&mut self, action: &str, body: &Map<String, Value>) -> Option<Operation> {
        if action != "event" {
            self.problem("action", "is not an action of a delivery");
            return None;
        }
        self.keys_of(body, &["identifiers", "name", "timestamp", "attributes"]);
        if let Some(identifiers) = self.object(body.get("identifiers"), "identifiers") {
            self.known_keys(identifiers, "identifiers", &["id"]);
            self.text(identifiers.get("id"), "identifiers.id");
        }
        let name = self.text(body.get("name"), "name");
        if name.is_some_and(|name| !matches!(name.as_str(), "opened" | "converted" | "delivered")) {
            self.problem("name", "must be one of opened, converted, delivered");
        }
        self.seconds(body.get("timestamp"), "timestamp");
        if let Some(attributes) = self.object(body.get("attributes"), "attributes") {
            self.text(attributes.get("device_token"), "attributes.device_token");
        }
        Some(Operation::Delivery)
    }
}

/// The people that a body of version 2 names, in a form that can be compared. What cannot be read names nobody: its
/// endpoint will refuse it.
pub(crate) fn people_named(body: &[u8]) -> Vec<String> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let items = match value.get("batch") {
        Some(Value::Array(items)) => items.as_slice(),
        _ => std::slice::from_ref(&value),
    };
    let of_item = |item: &Value| {
        let (kind, value) = item.get("identifiers")?.as_object()?.iter().next()?;
        let value = super::identifier::identifier_text(value)?;
        Some(Identifier { kind: KeyKind::named(kind)?, value }.key().label())
    };
    items.iter().filter(|item| item["type"] == "person").filter_map(of_item).collect()
}
