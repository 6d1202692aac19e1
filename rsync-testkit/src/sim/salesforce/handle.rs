//! A running simulator, as tests hold it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rsync_core::clock::Clock;
use serde::Serialize;
use serde_json::Value;

use super::builder::SalesforceSimBuilder;
use super::bulk::{BulkJob, JobFault};
use super::keys::AppKeys;
use super::lifecycle;
use super::locks::Locks;
use super::org::Org;
use super::quirks::Quirks;
use super::records::Stored;
use super::routes::SharedOrg;
use super::seed::{FieldSeed, RowFault, Seed};
use super::stats::SalesforceStats;
use super::value::shown_ms;
use super::write;
use crate::sim::SimError;
use crate::sim::fault::Faults;
use crate::sim::journal::Journal;
use crate::sim::server::Server;

/// What the handle and the inspection endpoints share.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) org: SharedOrg,
    pub(crate) keys: &'static AppKeys,
    pub(crate) locks: Locks,
    pub(crate) journal: Journal,
    pub(crate) faults: Faults,
    pub(crate) seed: Arc<Seed>,
    pub(crate) quirks: Quirks,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Parts {
    /// Records of an object in order of creation; `None` if there is no such object.
    pub(crate) fn records(&self, object: &str) -> Option<Vec<Record>> {
        let org = self.org.lock();
        org.object(object).map(|position| org.objects[position].records.all().map(Record::of).collect())
    }

    pub(crate) fn stats(&self) -> SalesforceStats {
        let mut stats = self.org.lock().stats();
        stats.max_in_flight = self.journal.max_in_flight();
        stats.overlapping_locks = self.locks.overlaps();
        stats
    }

    pub(crate) fn reset_stats(&self) {
        self.org.lock().reset_stats();
        self.journal.reset();
        self.locks.reset();
    }

    /// Puts the organization back to its seed; sessions end.
    pub(crate) fn reset_org(&self) -> Result<(), SimError> {
        *self.org.lock() = Org::new(&self.seed, self.quirks.clone(), Arc::clone(&self.clock))?;
        self.reset_stats();
        Ok(())
    }
}

/// A record as stored. What the service derives, such as a person's full name and times, is not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Record {
    /// Id of 18 characters.
    pub id: String,
    /// Stored values by field name; null fields are absent. Booleans are `true` and `false`, numbers plain decimals,
    /// dates `YYYY-MM-DD`, datetimes `YYYY-MM-DDTHH:MM:SS.mmm+0000`.
    pub fields: BTreeMap<String, String>,
    /// Whether the record is in the recycle bin.
    pub deleted: bool,
    /// Time of creation, in the form of datetimes.
    pub created_at: String,
    /// Time of the last write, in the form of datetimes.
    pub modified_at: String,
}

impl Record {
    fn of(stored: &Stored) -> Self {
        Self {
            id: stored.id.clone(),
            fields: stored.values.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            deleted: stored.deleted,
            created_at: shown_ms(stored.created_ms),
            modified_at: shown_ms(stored.modified_ms),
        }
    }
}

/// A running Salesforce simulator. It stops when dropped.
pub struct SalesforceSim {
    parts: Parts,
    server: Server,
}

impl fmt::Debug for SalesforceSim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SalesforceSim").field("server", &self.server).finish_non_exhaustive()
    }
}

impl SalesforceSim {
    /// A simulator to be configured. By default: standard objects, one user, a connected app, no records.
    pub fn builder() -> SalesforceSimBuilder {
        SalesforceSimBuilder::default()
    }

    pub(crate) fn new(parts: Parts, server: Server) -> Self {
        Self { parts, server }
    }

    /// Base URL without a trailing slash, for example `http://127.0.0.1:4511`: login host and instance in one.
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// Certificate (PEM) that a client must trust, when the simulator serves HTTPS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.server.ca_pem()
    }

    /// Consumer key of the connected app.
    pub fn client_id(&self) -> String {
        self.parts.seed.client_id.clone()
    }

    /// Consumer secret of the connected app.
    pub fn client_secret(&self) -> String {
        self.parts.seed.client_secret.clone()
    }

    /// Name of the user who runs the integration.
    pub fn username(&self) -> String {
        self.parts.seed.username.clone()
    }

    /// Private key (PEM, PKCS #8) with which the connected app signs assertions. It is made once per process.
    pub fn private_key_pem(&self) -> &str {
        &self.parts.keys.private_pem
    }

    /// Id of the organization.
    pub fn organization_id(&self) -> String {
        self.parts.seed.organization_id.clone()
    }

    /// Starts a session and returns its token, for clients that are given one.
    pub fn start_session(&self) -> String {
        self.parts.org.lock().start_session()
    }

    /// Ends all sessions now: the next request of each client is answered 401.
    pub fn expire_tokens(&self) {
        self.parts.org.lock().sessions.end_all();
    }

    /// Ends all sessions when so many further requests were accepted: in the middle of a run.
    pub fn expire_tokens_after(&self, requests: u64) {
        self.parts.org.lock().sessions.end_all_after(requests);
    }

    /// All records of an object, deleted ones too, in order of creation. An unknown object has no records.
    pub fn records(&self, object: &str) -> Vec<Record> {
        self.parts.records(object).unwrap_or_default()
    }

    /// The first live record whose stored value of a field is this one. `Id` is a field too.
    pub fn record_by(&self, object: &str, field: &str, value: &str) -> Option<Record> {
        let is_it = |record: &Record| match field {
            "Id" => record.id == value,
            _ => record.fields.get(field).is_some_and(|own| own == value),
        };
        self.records(object).into_iter().find(|record| !record.deleted && is_it(record))
    }

    /// Adds a record while the simulator runs, under the rules of a request, and returns its id.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when the record breaks a rule.
    pub fn add_record<'a, V: Into<Value>>(
        &self,
        object: &str,
        fields: impl IntoIterator<Item = (&'a str, V)>,
    ) -> Result<String, SimError> {
        let record = fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let added = write::seeded(&mut self.parts.org.lock(), object, &record);
        added.map_err(|problem| invalid(format!("record of {object}: {problem}")))
    }

    /// Puts a record into the recycle bin, as a user does in the application.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when there is no such live record.
    pub fn delete_record(&self, id: &str) -> Result<(), SimError> {
        let deleted = lifecycle::delete(&mut self.parts.org.lock(), id, false);
        deleted.map(|_| ()).map_err(|error| invalid(format!("record {id}: {}: {}", error.code, error.message)))
    }

    /// Forgets a record for good, in the recycle bin or not.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when there is no such record.
    pub fn purge_record(&self, id: &str) -> Result<(), SimError> {
        let deleted = lifecycle::delete(&mut self.parts.org.lock(), id, true);
        deleted.map(|_| ()).map_err(|error| invalid(format!("record {id}: {}: {}", error.code, error.message)))
    }

    /// Takes a record out of the recycle bin.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when it is not there, or another record has a unique value of it meanwhile.
    pub fn undelete_record(&self, id: &str) -> Result<(), SimError> {
        lifecycle::undelete(&mut self.parts.org.lock(), id)
            .map_err(|problem| invalid(format!("record {id}: {problem}")))
    }

    /// Merges a record into another one of its object: it goes to the recycle bin with `MasterRecordId` on it, and what
    /// pointed to it points to the other one.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when they are not two live records of one object whose records can be merged.
    pub fn merge_records(&self, into: &str, merged: &str) -> Result<(), SimError> {
        let done = lifecycle::merge(&mut self.parts.org.lock(), into, merged);
        done.map_err(|problem| invalid(format!("record {merged}: {problem}")))
    }

    /// Takes the user's access to a record: it cannot be changed, deleted or pointed to from now on.
    pub fn put_out_of_reach(&self, id: &str) {
        self.parts.org.lock().out_of_reach.insert(id.to_owned());
    }

    /// Bulk jobs, oldest first, as they are now.
    pub fn jobs(&self) -> Vec<BulkJob> {
        BulkJob::all(&self.parts.org.lock())
    }

    /// Makes bulk jobs go wrong that are closed from now on.
    pub fn fail_jobs(&self, fault: JobFault) {
        self.parts.org.lock().jobs.arm(fault);
    }

    /// Ends all job faults. Jobs that one has taken hold of keep their trouble.
    pub fn clear_job_faults(&self) {
        self.parts.org.lock().jobs.disarm();
    }

    /// Adds or replaces a custom field while the simulator runs: a changed picklist, a field that became required.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when there is no such object or the definition is wrong.
    pub fn set_field(&self, object: &str, field: &FieldSeed) -> Result<(), SimError> {
        let set = self.parts.org.lock().define(object, field);
        set.map_err(|problem| invalid(format!("fields.{object}.{}: {problem}", field.name)))
    }

    /// Makes rows fail from now on although nothing is wrong with them.
    pub fn fail_rows(&self, fault: RowFault) {
        self.parts.org.lock().arm(fault);
    }

    /// Ends all row faults.
    pub fn clear_row_faults(&self) {
        self.parts.org.lock().disarm();
    }

    /// Changes what the token endpoint says where the organization is: a move, or a lie. `None` is the truth.
    pub fn set_instance_url(&self, url: Option<&str>) {
        self.parts.org.lock().quirks.instance_url = url.map(str::to_owned);
    }

    /// Changes how many API calls any 24 hours have. Calls made so far count.
    pub fn set_api_limit(&self, calls: u64) {
        self.parts.org.lock().usage.set_max(calls);
    }

    /// Counts so far.
    pub fn stats(&self) -> SalesforceStats {
        self.parts.stats()
    }

    /// Sets all counts and the journal back. Records, sessions, the daily limit and fault counts stay.
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

fn invalid(problem: String) -> SimError {
    SimError::Invalid { what: "change of the organization", problems: vec![problem] }
}
