//! Configuration of a simulator before it starts.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use rsync_core::clock::{Clock, SystemClock};

use super::handle::{CustomerIoSim, Parts};
use super::inspect;
use super::quirks::Quirks;
use super::reply::{Reply, render};
use super::routes::{Contended, SharedWorkspace, router};
use super::seed::{PersonSeed, RateLimits, Region, Seed, WorkspaceMode};
use super::track_v1::person_named;
use super::track_v2::people_named;
use super::workspace::Workspace;
use crate::sim::SimError;
use crate::sim::fault::{FaultPlan, Faults};
use crate::sim::in_flight::KeysInFlight;
use crate::sim::journal::Journal;
use crate::sim::server::{Server, ServerParts, Simulated, Transport};

/// Builds a [`CustomerIoSim`].
#[derive(Debug, Clone)]
pub struct CustomerIoSimBuilder {
    seed: Seed,
    quirks: Quirks,
    clock: Arc<dyn Clock>,
    plan: FaultPlan,
    port: u16,
    transport: Transport,
}

impl Default for CustomerIoSimBuilder {
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

impl CustomerIoSimBuilder {
    /// Replaces the whole initial state. Call it before the methods that add to the state.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Adds a person.
    #[must_use]
    pub fn with_person(mut self, person: PersonSeed) -> Self {
        self.seed.people.push(person);
        self
    }

    /// Sets what identifies people. The default is `id` and `email`.
    #[must_use]
    pub fn with_mode(mut self, mode: WorkspaceMode) -> Self {
        self.seed.mode = mode;
        self
    }

    /// Sets where the account lives. The simulator plays the host of the same region.
    #[must_use]
    pub fn with_region(mut self, region: Region) -> Self {
        self.seed.region = region;
        self
    }

    /// Makes the simulator play the host of this region, wherever the account lives: a client of the wrong region.
    #[must_use]
    pub fn with_host_region(mut self, region: Region) -> Self {
        self.seed.host_region = Some(region);
        self
    }

    /// Sets the request limits. The default is what the service documents.
    #[must_use]
    pub fn with_rate_limits(mut self, limits: RateLimits) -> Self {
        self.seed.rate_limits = limits;
        self
    }

    /// Sets unsettled behaviour.
    #[must_use]
    pub fn with_quirks(mut self, quirks: Quirks) -> Self {
        self.quirks = quirks;
        self
    }

    /// Sets the clock whose wall time decides request limits, when operations are applied, and timestamps. Fault delays
    /// are always real time: they exist to make a client wait.
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

    /// Serves HTTPS with a certificate authority of its own, see [`CustomerIoSim::ca_pem`].
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
    /// When the seed, the quirks or the fault plan are wrong, the port is taken or TLS cannot be set up.
    ///
    /// # Panics
    /// Outside a tokio runtime; use [`CustomerIoSimBuilder::start_on_thread`] there.
    pub async fn start(self) -> Result<CustomerIoSim, SimError> {
        let (parts, server) = self.prepare()?;
        Ok(CustomerIoSim::new(parts, Server::start(server).await?))
    }

    /// Starts the simulator on a thread of its own, for tests that block their thread.
    ///
    /// # Errors
    /// As [`CustomerIoSimBuilder::start`], and when the thread cannot be started.
    pub fn start_on_thread(self) -> Result<CustomerIoSim, SimError> {
        let (parts, server) = self.prepare()?;
        Ok(CustomerIoSim::new(parts, Server::start_on_thread(server)?))
    }

    fn prepare(self) -> Result<(Parts, ServerParts<Hooks>), SimError> {
        let mut workspace = Workspace::new(&self.seed, self.quirks.clone(), Arc::clone(&self.clock))?;
        workspace.scheme = match self.transport {
            Transport::Plain => "http",
            Transport::Tls => "https",
        };
        let workspace = SharedWorkspace::new(workspace);
        let faults = Faults::default();
        faults.set(self.plan)?;
        let parts = Parts {
            workspace: workspace.clone(),
            keys: KeysInFlight::default(),
            journal: Journal::default(),
            faults,
            seed: Arc::new(self.seed),
            quirks: self.quirks,
            clock: self.clock,
        };
        let server = ServerParts {
            simulated: Arc::new(Hooks { workspace: workspace.clone(), keys: parts.keys.clone() }),
            router: router(workspace),
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
    workspace: SharedWorkspace,
    keys: KeysInFlight,
}

impl Simulated for Hooks {
    fn arrived(&self, request: &mut Request<Bytes>) -> Box<dyn Any + Send> {
        let guard = self.keys.take(self.people_written(request));
        if guard.contended {
            request.extensions_mut().insert(Contended);
        }
        Box::new(guard)
    }

    fn error_answer(&self, status: StatusCode) -> Response<Bytes> {
        render(Reply::for_status(status))
    }
}

impl Hooks {
    fn people_written(&self, request: &Request<Bytes>) -> BTreeSet<String> {
        let path = request.uri().path();
        if request.method() == Method::GET {
            BTreeSet::new()
        } else if path.starts_with("/api/v2/") {
            people_named(request.body()).into_iter().collect()
        } else {
            person_named(&self.workspace.lock(), path).into_iter().collect()
        }
    }
}
