//! A running simulator, as tests hold it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rsync_core::clock::Clock;
use serde::Serialize;

use super::builder::HubSpotSimBuilder;
use super::instant::iso_from_ms;
use super::portal::Portal;
use super::quirks::Quirks;
use super::records::Stored;
use super::routes::SharedPortal;
use super::seed::{PropertySeed, RateLimits, Seed};
use super::stats::HubSpotStats;
use crate::sim::SimError;
use crate::sim::fault::Faults;
use crate::sim::in_flight::KeysInFlight;
use crate::sim::journal::Journal;
use crate::sim::server::Server;

/// What the handle and the inspection endpoints share.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) portal: SharedPortal,
    pub(crate) keys: KeysInFlight,
    pub(crate) journal: Journal,
    pub(crate) faults: Faults,
    pub(crate) seed: Arc<Seed>,
    pub(crate) quirks: Quirks,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Parts {
    /// Records of an object type in order of their ids; `None` if there is no such type.
    pub(crate) fn records(&self, object: &str) -> Option<Vec<Record>> {
        let portal = self.portal.lock();
        portal.named_type(object).map(|kind| kind.records.all().map(Record::of).collect())
    }

    pub(crate) fn stats(&self) -> HubSpotStats {
        let mut stats = self.portal.lock().stats();
        stats.max_in_flight = self.journal.max_in_flight();
        stats.overlapping_key_writes = self.keys.overlaps();
        stats
    }

    pub(crate) fn reset_stats(&self) {
        self.portal.lock().reset_stats();
        self.journal.reset();
        self.keys.reset();
    }

    /// Puts the portal back to its seed.
    pub(crate) fn reset_portal(&self) -> Result<(), SimError> {
        *self.portal.lock() = Portal::new(&self.seed, self.quirks.clone(), Arc::clone(&self.clock))?;
        self.reset_stats();
        Ok(())
    }
}

/// A record as stored. Properties that the service derives, such as times and counters, are not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Record {
    /// Record id, a decimal number as text.
    pub id: String,
    /// Stored values.
    pub properties: BTreeMap<String, String>,
    /// Whether the record is in the recycle bin, or merged away.
    pub archived: bool,
    /// Id of the record that took over when this one was merged away.
    pub merged_into: Option<String>,
    /// Time of creation, ISO 8601.
    pub created_at: String,
    /// Time of the last write, ISO 8601.
    pub updated_at: String,
}

impl Record {
    fn of(stored: &Stored) -> Self {
        Self {
            id: stored.id.to_string(),
            properties: Portal::shown_values(&stored.values),
            archived: stored.is_archived(),
            merged_into: stored.merged_into.map(|id| id.to_string()),
            created_at: iso_from_ms(stored.created_at_ms),
            updated_at: iso_from_ms(stored.updated_at_ms),
        }
    }
}

/// A running HubSpot simulator. It stops when dropped.
pub struct HubSpotSim {
    pub(crate) parts: Parts,
    server: Server,
}

impl fmt::Debug for HubSpotSim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSpotSim").field("server", &self.server).finish_non_exhaustive()
    }
}

impl HubSpotSim {
    /// A simulator to be configured. By default: one token with all scopes, standard properties, no records.
    pub fn builder() -> HubSpotSimBuilder {
        HubSpotSimBuilder::default()
    }

    pub(crate) fn new(parts: Parts, server: Server) -> Self {
        Self { parts, server }
    }

    /// Base URL without a trailing slash, for example `http://127.0.0.1:4511`.
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// The first token of the seed; empty if the seed has none.
    pub fn token(&self) -> String {
        self.parts.seed.tokens.first().map(|t| t.token.clone()).unwrap_or_default()
    }

    /// Certificate (PEM) that a client must trust, when the simulator serves HTTPS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.server.ca_pem()
    }

    /// Number of the portal.
    pub fn portal_id(&self) -> u64 {
        self.parts.seed.portal_id
    }

    /// All records of an object, archived ones too, in order of their ids. The object is given by any of its names;
    /// an unknown one has no records.
    pub fn records(&self, object: &str) -> Vec<Record> {
        self.parts.records(object).unwrap_or_default()
    }

    /// The first live record whose stored value of a property is this one.
    pub fn record_by(&self, object: &str, property: &str, value: &str) -> Option<Record> {
        self.records(object)
            .into_iter()
            .find(|record| !record.archived && record.properties.get(property).is_some_and(|v| v == value))
    }

    /// Adds a record while the simulator runs, under the rules of a request, and returns its id.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when the record breaks a rule.
    pub fn add_record<'a>(
        &self,
        object: &str,
        properties: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<String, SimError> {
        let properties = properties.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let added = self.parts.portal.lock().seed_record(object, &properties);
        added.map(|id| id.to_string()).map_err(|problem| invalid(format!("record of {object}: {problem}")))
    }

    /// Adds or replaces a property while the simulator runs: a changed option list, a property that became unique.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when there is no such object or the definition is wrong.
    pub fn set_property(&self, object: &str, property: &PropertySeed) -> Result<(), SimError> {
        let set = self.parts.portal.lock().add_definition(object, property);
        set.map_err(|problem| invalid(format!("properties.{object}.{}: {problem}", property.name)))
    }

    /// Archives a property while the simulator runs: later writes of it fail as for an unknown one.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when there is no such property.
    pub fn archive_property(&self, object: &str, name: &str) -> Result<(), SimError> {
        let mut portal = self.parts.portal.lock();
        let now_ms = portal.now_ms();
        let definition = portal.named_type_mut(object).and_then(|kind| kind.definitions.get_mut(name));
        let definition = definition.ok_or_else(|| invalid(format!("properties.{object}.{name}: not defined")))?;
        definition.archived_at_ms = Some(now_ms);
        Ok(())
    }

    /// Removes an option of an enumeration while the simulator runs. Stored values keep it.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when there is no such property or option.
    pub fn remove_option(&self, object: &str, name: &str, value: &str) -> Result<(), SimError> {
        let mut portal = self.parts.portal.lock();
        let definition = portal.named_type_mut(object).and_then(|kind| kind.definitions.get_mut(name));
        let definition = definition.ok_or_else(|| invalid(format!("properties.{object}.{name}: not defined")))?;
        let before = definition.choices.len();
        definition.choices.retain(|choice| choice.value != value);
        if definition.choices.len() == before {
            return Err(invalid(format!("properties.{object}.{name}: has no option {value:?}")));
        }
        Ok(())
    }

    /// Merges two records as a user does in the application: a record takes over whose id
    /// [`Quirks::merge_survivor`] decides. Values of
    /// the primary record win; the address of the other one becomes an additional one. Returns the new id.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when one of them is not a live record.
    pub fn merge(&self, object: &str, primary_id: &str, other_id: &str) -> Result<String, SimError> {
        let mut portal = self.parts.portal.lock();
        let position = portal.types.iter().position(|kind| kind.name == object || kind.answers_to(object));
        let position = position.ok_or_else(|| invalid(format!("merge in {object}: there is no such object")))?;
        let merged = portal.merge(position, primary_id, other_id);
        merged.map(|id| id.to_string()).map_err(|refused| invalid(format!("merge in {object}: {}", refused.message())))
    }

    /// Makes a token invalid while the simulator runs.
    pub fn revoke_token(&self, token: &str) {
        self.parts.portal.lock().grants.remove(token);
    }

    /// Changes the request limits; what has been used so far is forgotten.
    pub fn set_rate_limits(&self, limits: RateLimits) {
        self.parts.portal.lock().set_limits(limits);
    }

    /// Counts so far.
    pub fn stats(&self) -> HubSpotStats {
        self.parts.stats()
    }

    /// Sets all counts and the journal back. Records, definitions and fault counts stay.
    pub fn reset_stats(&self) {
        self.parts.reset_stats();
    }

    /// The fault plan in force, to be changed and queried.
    pub fn faults(&self) -> &Faults {
        &self.parts.faults
    }

    /// Requests so far: method, path, status and rows.
    pub fn journal(&self) -> &Journal {
        &self.parts.journal
    }
}

pub(crate) fn invalid(problem: String) -> SimError {
    SimError::Invalid { what: "change of the portal", problems: vec![problem] }
}
