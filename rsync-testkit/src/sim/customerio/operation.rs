//! What a request asks for, once it has been checked.

use serde_json::{Map, Value};

use super::identifier::{Identifier, ObjectKey};
use super::people::{Device, Event};

/// One accepted operation.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Person {
        who: Identifier,
        action: PersonAction,
    },
    Merge {
        primary: Identifier,
        secondary: Identifier,
    },
    Object {
        key: ObjectKey,
        action: ObjectAction,
    },
    /// People to be put into a segment, or taken out.
    Segment {
        id: u64,
        people: Vec<Identifier>,
        adds: bool,
    },
    /// An event of nobody known. It is counted and not kept.
    AnonymousEvent,
    /// A metric of a message. The simulator sends none, so there is nothing to keep.
    Delivery,
}

#[derive(Debug, Clone)]
pub(crate) enum PersonAction {
    Identify(Identify),
    Delete,
    Suppress,
    Unsuppress,
    Event(Event),
    AddRelationships(Vec<ObjectLink>),
    DeleteRelationships(Vec<ObjectLink>),
    AddDevice(Device),
    DeleteDevice(String),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Identify {
    pub(crate) attributes: Map<String, Value>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) creation: Creation,
    pub(crate) added: Vec<ObjectLink>,
    pub(crate) removed: Vec<ObjectLink>,
}

/// Whether an unknown person comes to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Creation {
    #[default]
    Allowed,
    /// No. Version 2 says nothing of it.
    Silent,
    /// No, and version 1 leaves a failed change in the activity log.
    Logged,
}

#[derive(Debug, Clone)]
pub(crate) enum ObjectAction {
    Identify { attributes: Map<String, Value>, people: Vec<PersonLink> },
    Delete,
    AddRelationships(Vec<PersonLink>),
    DeleteRelationships(Vec<PersonLink>),
}

/// A relationship as a person's operation names it.
#[derive(Debug, Clone)]
pub(crate) struct ObjectLink {
    pub(crate) object: ObjectKey,
    pub(crate) attributes: Map<String, Value>,
}

/// A relationship as an object's operation names it.
#[derive(Debug, Clone)]
pub(crate) struct PersonLink {
    pub(crate) person: Identifier,
    pub(crate) attributes: Map<String, Value>,
}
