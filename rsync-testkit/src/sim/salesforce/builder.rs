//! Configuration of a simulator before it starts.

use std::any::Any;
use std::io::Read;
use std::sync::Arc;

use axum::http::header::CONTENT_ENCODING;
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use flate2::read::GzDecoder;
use rsync_core::clock::{Clock, SystemClock};
use serde_json::Value;

use super::bulk::{BulkSettings, JobFault};
use super::handle::{Parts, SalesforceSim};
use super::inspect;
use super::keys::AppKeys;
use super::locks::{Locks, of_request};
use super::org::Org;
use super::quirks::Quirks;
use super::reply::{for_status, render_bytes};
use super::routes::{Neighbours, SharedOrg, router};
use super::rules::{AssignmentRule, DuplicateRule, ValidationRule};
use super::seed::{FieldSeed, ObjectSeed, RowFault, Seed};
use crate::sim::SimError;
use crate::sim::fault::{FaultPlan, Faults};
use crate::sim::journal::Journal;
use crate::sim::server::{Server, ServerParts, Simulated, Transport};

/// Builds a [`SalesforceSim`].
#[derive(Debug, Clone)]
pub struct SalesforceSimBuilder {
    seed: Seed,
    quirks: Quirks,
    clock: Arc<dyn Clock>,
    plan: FaultPlan,
    port: u16,
    transport: Transport,
}

impl Default for SalesforceSimBuilder {
    fn default() -> Self {
        Self {
            seed: Seed::default(),
            quirks: Quirks::default(),
            clock: Arc::new(SystemClock::new()),
            plan: FaultPlan::default(),
            port: 0,
            transport: Transport::default(),
        }
    }
}

impl SalesforceSimBuilder {
    /// Replaces the whole initial state. Call it before the methods that add to the state.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Adds a custom object.
    #[must_use]
    pub fn with_object(mut self, object: ObjectSeed) -> Self {
        self.seed.objects.push(object);
        self
    }

    /// Adds a custom field to a standard object, or to a custom one that was added before.
    #[must_use]
    pub fn with_field(mut self, object: &str, field: FieldSeed) -> Self {
        match self.seed.objects.iter_mut().find(|known| known.name == object) {
            Some(custom) => custom.fields.push(field),
            None => self.seed.fields.entry(object.to_owned()).or_default().push(field),
        }
        self
    }

    /// Adds a record. Values are JSON, as a request would give them; a parent is `{"Ext__c": "p-1"}` under the name of
    /// its relationship.
    #[must_use]
    pub fn with_record<'a, V: Into<Value>>(
        mut self,
        object: &str,
        fields: impl IntoIterator<Item = (&'a str, V)>,
    ) -> Self {
        let record = fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        self.seed.records.entry(object.to_owned()).or_default().push(record);
        self
    }

    /// Adds rows that fail although nothing is wrong with them.
    #[must_use]
    pub fn with_row_fault(mut self, fault: RowFault) -> Self {
        self.seed.row_faults.push(fault);
        self
    }

    /// Sets times and limits of bulk jobs.
    #[must_use]
    pub fn with_bulk(mut self, bulk: BulkSettings) -> Self {
        self.seed.bulk = bulk;
        self
    }

    /// Adds bulk jobs that go wrong.
    #[must_use]
    pub fn with_job_fault(mut self, fault: JobFault) -> Self {
        self.seed.job_faults.push(fault);
        self
    }

    /// Adds a rule that finds duplicates.
    #[must_use]
    pub fn with_duplicate_rule(mut self, rule: DuplicateRule) -> Self {
        self.seed.duplicate_rules.push(rule);
        self
    }

    /// Adds a rule that refuses records.
    #[must_use]
    pub fn with_validation_rule(mut self, rule: ValidationRule) -> Self {
        self.seed.validation_rules.push(rule);
        self
    }

    /// Adds a user, and a rule that gives records of an object to that user unless a request declines.
    #[must_use]
    pub fn with_assignment_rule(mut self, object: &str, username: &str) -> Self {
        if !self.seed.users.iter().any(|user| user == username) {
            self.seed.users.push(username.to_owned());
        }
        let rule = AssignmentRule { object: object.to_owned(), username: username.to_owned() };
        self.seed.assignment_rules.push(rule);
        self
    }

    /// Sets how many API calls any 24 hours have. The default is a developer organization's 15,000.
    #[must_use]
    pub fn with_api_limit(mut self, calls: u64) -> Self {
        self.seed.api_limit = calls;
        self
    }

    /// Sets unsettled behaviour.
    #[must_use]
    pub fn with_quirks(mut self, quirks: Quirks) -> Self {
        self.quirks = quirks;
        self
    }

    /// Sets the clock whose wall time decides the end of sessions and assertions, the day of the limits and the progress
    /// of bulk jobs. Fault
    /// delays are always real time: they exist to make a client wait.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the fault plan in force from the first request on.
    #[must_use]
    pub fn with_faults(mut self, plan: FaultPlan) -> Self {
        self.plan = plan;
        self
    }

    /// Serves HTTPS with a certificate authority of its own, see [`SalesforceSim::ca_pem`].
    #[must_use]
    pub fn with_tls(mut self) -> Self {
        self.transport = Transport::Tls;
        self
    }

    /// Listens on this port of 127.0.0.1 instead of any free one.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Starts the simulator on the current runtime.
    ///
    /// # Errors
    /// When the seed or the fault plan is wrong, the port is taken, or keys or TLS cannot be made.
    ///
    /// # Panics
    /// Outside a tokio runtime; use [`SalesforceSimBuilder::start_on_thread`] there.
    pub async fn start(self) -> Result<SalesforceSim, SimError> {
        let (parts, server) = self.prepare()?;
        Ok(SalesforceSim::new(parts, Server::start(server).await?))
    }

    /// Starts the simulator on a thread of its own, for tests that block their thread.
    ///
    /// # Errors
    /// As [`SalesforceSimBuilder::start`], and when the thread cannot be started.
    pub fn start_on_thread(self) -> Result<SalesforceSim, SimError> {
        let (parts, server) = self.prepare()?;
        Ok(SalesforceSim::new(parts, Server::start_on_thread(server)?))
    }

    fn prepare(self) -> Result<(Parts, ServerParts<Hooks>), SimError> {
        let org = Org::new(&self.seed, self.quirks.clone(), Arc::clone(&self.clock))?;
        let org = SharedOrg::new(org, self.transport);
        let faults = Faults::default();
        faults.set(self.plan)?;
        let parts = Parts {
            org: org.clone(),
            keys: AppKeys::of_process()?,
            locks: Locks::default(),
            journal: Journal::default(),
            faults,
            seed: Arc::new(self.seed),
            quirks: self.quirks,
            clock: self.clock,
        };
        let hooks = Hooks {
            org: org.clone(),
            locks: parts.locks.clone(),
            concurrent_limit: parts.seed.concurrent_limit.unwrap_or(usize::MAX),
        };
        let server = ServerParts {
            simulated: Arc::new(hooks),
            router: router(org),
            inspection: inspect::router(parts.clone()),
            faults: parts.faults.clone(),
            journal: parts.journal.clone(),
            port: self.port,
            transport: self.transport,
        };
        Ok((parts, server))
    }
}

/// What the server calls around every request.
struct Hooks {
    org: SharedOrg,
    locks: Locks,
    concurrent_limit: usize,
}

impl Simulated for Hooks {
    fn arrived(&self, request: &mut Request<Bytes>) -> Box<dyn Any + Send> {
        unpack(request);
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        let rows = of_request(&self.org.lock(), request.method(), path, query, request.body());
        let guard = self.locks.take(&rows);
        let crowded = guard.in_flight > self.concurrent_limit;
        let neighbours = Neighbours { locked_rows: guard.contended.clone(), crowded };
        request.extensions_mut().insert(neighbours);
        Box::new(guard)
    }

    fn error_answer(&self, status: StatusCode) -> Response<Bytes> {
        render_bytes(Err(for_status(status)))
    }
}

/// Replaces a compressed body by what it holds. One that cannot be read keeps its header, and is refused for it.
fn unpack(request: &mut Request<Bytes>) {
    if request.headers().get(CONTENT_ENCODING).is_none_or(|encoding| encoding != "gzip") {
        return;
    }
    let mut body = Vec::new();
    if GzDecoder::new(request.body().as_ref()).read_to_end(&mut body).is_ok() {
        *request.body_mut() = Bytes::from(body);
        request.headers_mut().remove(CONTENT_ENCODING);
    }
}
