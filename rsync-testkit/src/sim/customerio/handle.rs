//! A running simulator, as tests hold it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use rsync_core::clock::Clock;
use serde::Serialize;
use serde_json::Value;

use super::activity::Activity;
use super::builder::CustomerIoSimBuilder;
use super::identifier::{KeyKind, PersonKey};
use super::lint::Lint;
use super::people::{Device, Event, Serial, StoredPerson};
use super::quirks::Quirks;
use super::routes::SharedWorkspace;
use super::seed::{PersonSeed, RateLimits, Seed};
use super::segments::SegmentKind;
use super::stats::CustomerIoStats;
use super::workspace::Workspace;
use crate::sim::SimError;
use crate::sim::fault::Faults;
use crate::sim::in_flight::KeysInFlight;
use crate::sim::journal::Journal;
use crate::sim::server::Server;

/// What the handle and the inspection endpoints share.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) workspace: SharedWorkspace,
    pub(crate) keys: KeysInFlight,
    pub(crate) journal: Journal,
    pub(crate) faults: Faults,
    pub(crate) seed: Arc<Seed>,
    pub(crate) quirks: Quirks,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Parts {
    /// Everybody, in the order of creation, after what is due has been applied.
    pub(crate) fn people(&self) -> Vec<Person> {
        let mut workspace = self.workspace.lock();
        workspace.apply_due();
        workspace.people.all().map(|(serial, person)| Person::of(&workspace, serial, person)).collect()
    }

    pub(crate) fn objects(&self) -> Vec<Object> {
        let mut workspace = self.workspace.lock();
        workspace.apply_due();
        let object = |(id, stored): (&super::identifier::ObjectId, &super::objects::StoredObject)| Object {
            object_type_id: id.type_id.clone(),
            object_id: id.id.clone(),
            cio_object_id: stored.cio_object_id.clone(),
            attributes: stored.attributes.clone(),
        };
        workspace.objects.all().map(object).collect()
    }

    /// Everybody in every segment, after what is due has been applied.
    pub(crate) fn segments(&self) -> Vec<SegmentMembers> {
        let mut workspace = self.workspace.lock();
        workspace.apply_due();
        let cio_id = |serial| workspace.people.get(serial).and_then(|person| person.text("cio_id"));
        workspace
            .segments
            .all()
            .map(|segment| SegmentMembers {
                id: segment.id,
                name: segment.name.clone(),
                kind: segment.kind(),
                cio_ids: workspace.members(segment).filter_map(cio_id).collect(),
                ids: workspace
                    .members(segment)
                    .filter_map(|serial| workspace.people.get(serial).and_then(|person| person.text("id")))
                    .collect(),
            })
            .collect()
    }

    pub(crate) fn suppressed(&self) -> Vec<String> {
        let mut workspace = self.workspace.lock();
        workspace.apply_due();
        let labels: BTreeSet<String> = workspace.suppressed.keys().map(PersonKey::label).collect();
        labels.into_iter().collect()
    }

    pub(crate) fn stats(&self) -> CustomerIoStats {
        let mut workspace = self.workspace.lock();
        workspace.apply_due();
        let mut stats = workspace.stats();
        stats.max_in_flight = self.journal.max_in_flight();
        stats.overlapping_key_writes = self.keys.overlaps();
        stats
    }

    pub(crate) fn reset_stats(&self) {
        self.workspace.lock().reset_stats();
        self.journal.reset();
        self.keys.reset();
    }

    /// Puts the workspace back to its seed. What is queued is forgotten.
    pub(crate) fn reset_workspace(&self) -> Result<(), SimError> {
        let mut fresh = Workspace::new(&self.seed, self.quirks.clone(), Arc::clone(&self.clock))?;
        let mut workspace = self.workspace.lock();
        fresh.scheme = workspace.scheme;
        *workspace = fresh;
        drop(workspace);
        self.reset_stats();
        Ok(())
    }
}

/// A person as stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Person {
    /// The service's own id.
    pub cio_id: String,
    /// The `id`, if the person has one.
    pub id: Option<String>,
    /// The email address, if the person has one.
    pub email: Option<String>,
    /// All attributes as the App API shows them, as text; identifiers are among them.
    pub attributes: BTreeMap<String, String>,
    /// All attributes as JSON.
    pub values: BTreeMap<String, Value>,
    /// Unix seconds of the last change of each attribute.
    pub timestamps: BTreeMap<String, i64>,
    /// Whether the person is unsubscribed from everything.
    pub unsubscribed: bool,
    /// Devices in the order of their tokens.
    pub devices: Vec<Device>,
    /// Events in the order in which they were applied.
    pub events: Vec<Event>,
    /// Objects that the person is related to.
    pub relationships: Vec<Relationship>,
}

/// A relationship of a person to an object.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Relationship {
    /// Type of the object.
    pub object_type_id: String,
    /// Id of the object within its type.
    pub object_id: String,
    /// Attributes of the relationship.
    pub attributes: BTreeMap<String, Value>,
}

/// An object as stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Object {
    /// Type.
    pub object_type_id: String,
    /// Id within the type.
    pub object_id: String,
    /// The service's own id.
    pub cio_object_id: String,
    /// Attributes.
    pub attributes: BTreeMap<String, Value>,
}

/// A segment and who is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SegmentMembers {
    /// Number.
    pub id: u64,
    /// Name.
    pub name: String,
    /// Who decides about its members.
    pub kind: SegmentKind,
    /// The service's own ids of the members, in the order of their creation.
    pub cio_ids: Vec<String>,
    /// Ids of the members who have one, in the order of their creation.
    pub ids: Vec<String>,
}

impl Person {
    fn of(workspace: &Workspace, serial: Serial, stored: &StoredPerson) -> Self {
        let attributes = &stored.attributes;
        let relationships = workspace.objects.all().filter_map(|(id, object)| {
            Some(Relationship {
                object_type_id: id.type_id.clone(),
                object_id: id.id.clone(),
                attributes: object.people.get(&serial)?.clone(),
            })
        });
        Self {
            cio_id: stored.text("cio_id").unwrap_or_default(),
            id: stored.text("id"),
            email: stored.text("email"),
            attributes: attributes.keys().filter_map(|name| Some((name.clone(), stored.text(name)?))).collect(),
            values: attributes.iter().map(|(name, attribute)| (name.clone(), attribute.value.clone())).collect(),
            timestamps: attributes.iter().map(|(name, attribute)| (name.clone(), attribute.changed_at)).collect(),
            unsubscribed: stored.is_unsubscribed(),
            devices: stored.devices.values().cloned().collect(),
            events: stored.events.clone(),
            relationships: relationships.collect(),
        }
    }
}

/// A running Customer.io simulator. It stops when dropped.
pub struct CustomerIoSim {
    parts: Parts,
    server: Server,
}

impl fmt::Debug for CustomerIoSim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomerIoSim").field("server", &self.server).finish_non_exhaustive()
    }
}

impl CustomerIoSim {
    /// A simulator to be configured. By default: an American account that knows people by `id` and `email`, nobody in
    /// it.
    pub fn builder() -> CustomerIoSimBuilder {
        CustomerIoSimBuilder::default()
    }

    pub(crate) fn new(parts: Parts, server: Server) -> Self {
        Self { parts, server }
    }

    /// Base URL of both APIs, without a trailing slash, for example `http://127.0.0.1:4511`.
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// User name of the Track API.
    pub fn site_id(&self) -> String {
        self.parts.seed.site_id.clone()
    }

    /// Password of the Track API.
    pub fn api_key(&self) -> String {
        self.parts.seed.api_key.clone()
    }

    /// Bearer token of the App API.
    pub fn app_api_key(&self) -> String {
        self.parts.seed.app_api_key.clone()
    }

    /// Number of the workspace.
    pub fn environment_id(&self) -> u64 {
        self.parts.seed.environment_id
    }

    /// Certificate (PEM) that a client must trust, when the simulator serves HTTPS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.server.ca_pem()
    }

    /// Applies at once all operations that are accepted and wait, and says how many there were.
    pub fn drain(&self) -> usize {
        self.parts.workspace.lock().drain()
    }

    /// Everybody, in the order of creation. What has been accepted shows when its delay is over, or after
    /// [`CustomerIoSim::drain`].
    pub fn people(&self) -> Vec<Person> {
        self.parts.people()
    }

    /// The person with this `id`.
    pub fn person_by_id(&self, id: &str) -> Option<Person> {
        self.person(&PersonKey::new(KeyKind::Id, id))
    }

    /// The person with this email address, whatever its letter case. Where email does not identify people, the first.
    pub fn person_by_email(&self, email: &str) -> Option<Person> {
        let wanted = PersonKey::new(KeyKind::Email, email);
        self.person(&wanted).or_else(|| {
            self.people()
                .into_iter()
                .find(|person| person.email.as_deref().is_some_and(|e| PersonKey::new(KeyKind::Email, e) == wanted))
        })
    }

    /// The person with this id of the service.
    pub fn person_by_cio_id(&self, cio_id: &str) -> Option<Person> {
        self.person(&PersonKey::new(KeyKind::CioId, cio_id))
    }

    fn person(&self, key: &PersonKey) -> Option<Person> {
        let mut workspace = self.parts.workspace.lock();
        workspace.apply_due();
        let serial = workspace.people.find(key)?;
        workspace.people.get(serial).map(|person| Person::of(&workspace, serial, person))
    }

    /// All objects, in the order of type and id.
    pub fn objects(&self) -> Vec<Object> {
        self.parts.objects()
    }

    /// All segments with their members, in the order of their creation.
    pub fn segments(&self) -> Vec<SegmentMembers> {
        self.parts.segments()
    }

    /// The segment of this name.
    pub fn segment(&self, name: &str) -> Option<SegmentMembers> {
        self.segments().into_iter().find(|segment| segment.name == name)
    }

    /// Identifiers that are suppressed, for example `id:42`, sorted.
    pub fn suppressed(&self) -> Vec<String> {
        self.parts.suppressed()
    }

    /// Adds a person while the simulator runs, under the rules of a request but at once.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when the person breaks a rule.
    pub fn add_person(&self, person: &PersonSeed) -> Result<(), SimError> {
        let added = self.parts.workspace.lock().seed_person("person", person);
        added.map_err(|problems| SimError::Invalid { what: "person", problems })
    }

    /// The last entries of the activity log, oldest first: what was accepted and not applied shows here only.
    pub fn activities(&self) -> Vec<Activity> {
        let mut workspace = self.parts.workspace.lock();
        workspace.apply_due();
        workspace.activities.all()
    }

    /// What was accepted but a careful client does not send, oldest first.
    pub fn lints(&self) -> Vec<Lint> {
        let mut workspace = self.parts.workspace.lock();
        workspace.apply_due();
        workspace.lints.all()
    }

    /// Changes the request limits; what has been used so far is forgotten.
    pub fn set_rate_limits(&self, limits: RateLimits) {
        self.parts.workspace.lock().set_limits(limits);
    }

    /// Counts so far.
    pub fn stats(&self) -> CustomerIoStats {
        self.parts.stats()
    }

    /// Sets all counts, the lints and the journal back. People, activities and fault counts stay.
    pub fn reset_stats(&self) {
        self.parts.reset_stats();
    }

    /// The fault plan in force, to be changed and queried.
    pub fn faults(&self) -> &Faults {
        &self.parts.faults
    }

    /// Requests so far: method, path, status and operations.
    pub fn journal(&self) -> &Journal {
        &self.parts.journal
    }
}
