//! What the suite needs to know: how to reach the service, how to see its truth, how to make it fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::destination::Target;
use rsync_core::{Destination, Secret};
use rsync_http::{Auth, Client, ClientConfig, Limits};
use rsync_testkit::destination::{
    Harness, HarnessResult, Record, RequestCounts, SampleFields, ServiceFaults, SimulatorFaults,
};
use rsync_testkit::sim::fault::Faults;
use rsync_testkit::sim::journal::Journal;
use rsync_testkit::sim::server::{Server, ServerParts, Transport};

use crate::service::{Service, TOKEN};
use crate::tickets::Tickets;

const TIMEOUT: Duration = Duration::from_millis(500);

pub(crate) struct TicketsHarness {
    service: Service,
    server: Server,
    faults: SimulatorFaults,
    targets: AtomicU64,
}

impl TicketsHarness {
    pub(crate) async fn start() -> HarnessResult<Self> {
        let (service, faults, journal) = (Service::default(), Faults::default(), Journal::default());
        let server = Server::start(ServerParts {
            simulated: Arc::new(service.clone()),
            router: service.router(),
            inspection: axum::Router::new(),
            faults: faults.clone(),
            journal: journal.clone(),
            port: 0,
            transport: Transport::Plain,
        })
        .await?;
        let faults = SimulatorFaults::new(faults, journal).with_writing("PUT", "/bulk");
        Ok(Self { service, server, faults, targets: AtomicU64::new(1) })
    }
}

fn tickets(base_url: &str, token: &str) -> Arc<dyn Destination> {
    let mut limits = Limits::default();
    limits.total_ms = u64::try_from(TIMEOUT.as_millis()).unwrap_or(u64::MAX);
    let config = ClientConfig::new(base_url, Auth::bearer(Secret::new(token)));
    let client = Client::new(config.with_limits(limits).with_loopback_http(true));
    Arc::new(Tickets(client.expect("the settings are constants that work")))
}

#[async_trait]
impl Harness for TicketsHarness {
    async fn fresh_target(&self) -> HarnessResult<Target> {
        let object = format!("tickets{}", self.targets.fetch_add(1, Ordering::Relaxed));
        self.service.create_object(&object);
        Ok(Target::new(object, "number"))
    }

    fn destination(&self) -> Arc<dyn Destination> {
        tickets(&self.server.base_url(), TOKEN)
    }

    async fn read_back(&self, target: &Target, key: &str) -> HarnessResult<Option<Record>> {
        let record = self.service.records(&target.object).remove(key);
        Ok(record.map(|fields| fields.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()))
    }

    async fn list(&self, target: &Target) -> HarnessResult<Vec<String>> {
        Ok(self.service.records(&target.object).into_keys().collect())
    }

    async fn requests(&self) -> HarnessResult<RequestCounts> {
        Ok(self.faults.requests())
    }

    fn fields(&self) -> SampleFields {
        let mut fields = SampleFields::new("subject");
        fields.integer = Some("effort".into());
        fields.boolean = Some("urgent".into());
        fields.invalid = Some(("priority".into(), "stratospheric".into()));
        fields.read_only = Some("opened_by".into());
        fields
    }

    fn faults(&self) -> Option<&dyn ServiceFaults> {
        Some(&self.faults)
    }

    fn unauthenticated(&self) -> Option<Arc<dyn Destination>> {
        Some(tickets(&self.server.base_url(), "a-token-that-was-revoked"))
    }

    fn unreachable(&self) -> Option<Arc<dyn Destination>> {
        // The lowest port there is; nobody listens on it.
        Some(tickets("http://127.0.0.1:1", TOKEN))
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.into(), "a-token-that-was-revoked".into()]
    }

    fn request_timeout(&self) -> Option<Duration> {
        Some(TIMEOUT)
    }
}
