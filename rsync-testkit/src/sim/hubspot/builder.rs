//! Configuration of a simulator before it starts.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use rsync_core::clock::{Clock, SystemClock};

use super::handle::{HubSpotSim, Parts};
use super::in_flight::{key, keys_of_batch};
use super::inspect;
use super::portal::Portal;
use super::quirks::Quirks;
use super::reply::{for_status, render_bytes};
use super::routes::{Contended, SharedPortal, router};
use super::seed::{CustomObjectSeed, PropertySeed, RateLimits, Seed};
use crate::sim::SimError;
use crate::sim::fault::{FaultPlan, Faults};
use crate::sim::in_flight::KeysInFlight;
use crate::sim::journal::Journal;
use crate::sim::server::{Server, ServerParts, Simulated, Transport};

/// Builds a [`HubSpotSim`].
#[derive(Debug, Clone)]
pub struct HubSpotSimBuilder {
    seed: Seed,
    quirks: Quirks,
    clock: Arc<dyn Clock>,
    plan: FaultPlan,
    port: u16,
    transport: Transport,
}

impl Default for HubSpotSimBuilder {
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

impl HubSpotSimBuilder {
    /// Replaces the whole initial state. Call it before the methods that add to the state.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Adds a property to a standard object, given by its plural name.
    #[must_use]
    pub fn with_property(mut self, object: &str, property: PropertySeed) -> Self {
        self.seed.properties.entry(object.to_owned()).or_default().push(property);
        self
    }

    /// Adds a custom object.
    #[must_use]
    pub fn with_custom_object(mut self, object: CustomObjectSeed) -> Self {
        self.seed.custom_objects.push(object);
        self
    }

    /// Adds a record.
    #[must_use]
    pub fn with_record<'a>(mut self, object: &str, properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let record = properties.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        self.seed.records.entry(object.to_owned()).or_default().push(record);
        self
    }

    /// Sets the request limits. The default is the Free and Starter tier: 100 requests in ten seconds.
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

    /// Sets the clock whose wall time decides rate windows, token expiry and index lag. Fault delays are always real
    /// time: they exist to make a client wait.
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

    /// Serves HTTPS with a certificate authority of its own, see [`HubSpotSim::ca_pem`].
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
    /// When the seed or the fault plan is wrong, the port is taken or TLS cannot be set up.
    ///
    /// # Panics
    /// Outside a tokio runtime; use [`HubSpotSimBuilder::start_on_thread`] there.
    pub async fn start(self) -> Result<HubSpotSim, SimError> {
        let (parts, server) = self.prepare()?;
        Ok(HubSpotSim::new(parts, Server::start(server).await?))
    }

    /// Starts the simulator on a thread of its own, for tests that block their thread.
    ///
    /// # Errors
    /// As [`HubSpotSimBuilder::start`], and when the thread cannot be started.
    pub fn start_on_thread(self) -> Result<HubSpotSim, SimError> {
        let (parts, server) = self.prepare()?;
        Ok(HubSpotSim::new(parts, Server::start_on_thread(server)?))
    }

    fn prepare(self) -> Result<(Parts, ServerParts<Hooks>), SimError> {
        let portal = SharedPortal::new(Portal::new(&self.seed, self.quirks.clone(), Arc::clone(&self.clock))?);
        let faults = Faults::default();
        faults.set(self.plan)?;
        let parts = Parts {
            portal: portal.clone(),
            keys: KeysInFlight::default(),
            journal: Journal::default(),
            faults,
            seed: Arc::new(self.seed),
            quirks: self.quirks,
            clock: self.clock,
        };
        let server = ServerParts {
            simulated: Arc::new(Hooks { portal: portal.clone(), keys: parts.keys.clone() }),
            router: router(portal),
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
    portal: SharedPortal,
    keys: KeysInFlight,
}

impl Simulated for Hooks {
    fn arrived(&self, request: &mut Request<Bytes>) -> Box<dyn Any + Send> {
        let guard = self.keys.take(self.keys_written(request));
        if guard.contended {
            request.extensions_mut().insert(Contended);
        }
        Box::new(guard)
    }

    fn error_answer(&self, status: StatusCode) -> Response<Bytes> {
        let correlation_id = self.portal.lock().rng.uuid();
        render_bytes(Err(for_status(status)), &correlation_id)
    }
}

impl Hooks {
    fn keys_written(&self, request: &Request<Bytes>) -> BTreeSet<String> {
        let segments: Vec<&str> = request.uri().path().split('/').collect();
        let object = |segment: &str| {
            let portal = self.portal.lock();
            portal.named_type(segment).map_or_else(|| segment.to_owned(), |kind| kind.name.clone())
        };
        match segments.as_slice() {
            [.., segment, "batch", "upsert" | "update" | "create" | "archive"] => {
                keys_of_batch(&object(segment), request.body())
            }
            ["", "crm", _, _, segment, id] if matches!(*request.method(), Method::PATCH | Method::DELETE) => {
                let query = request.uri().query().unwrap_or_default();
                let property = url::form_urlencoded::parse(query.as_bytes())
                    .find(|(name, _)| name == "idProperty")
                    .map(|(_, value)| value.into_owned());
                let id = percent_decoded(id);
                BTreeSet::from([key(&object(segment), property.as_deref(), &id)])
            }
            _ => BTreeSet::new(),
        }
    }
}

/// Decodes a path segment. A plus sign stands for itself there, unlike in a query.
fn percent_decoded(segment: &str) -> String {
    let query = format!("id={}", segment.replace('+', "%2B"));
    url::form_urlencoded::parse(query.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}
