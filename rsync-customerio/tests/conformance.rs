//! The conformance suite against the simulator, for people by the two identifiers that every workspace can have, and for
//! events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::destination::Target;
use rsync_core::{Destination, Secret};
use rsync_customerio::{CustomerIo, CustomerIoConfig, Deletion, EmptyText, RequestRate};
use rsync_testkit::destination::{
    Harness, HarnessResult, Quirks, Record, RequestCounts, RequestKind, SampleFields, ServiceFault, ServiceFaults,
    SimulatorFaults, run,
};
use rsync_testkit::sim::customerio::{
    self, ActivityKind, BatchOrder, BigIntegers, CustomerIoSim, EmptyStrings, ErrorParts, LintKind, NestedValues,
    PartialStatus, Person, RateLimits, UnknownKeys, WorkspaceMode,
};

const TIMEOUT: Duration = Duration::from_millis(500);
const BATCH: &str = "/api/v2/batch";

/// The faults of the simulator, but for those that the service does not have.
struct BatchFaults(SimulatorFaults);

#[async_trait]
impl ServiceFaults for BatchFaults {
    async fn arm(&self, fault: &ServiceFault, on: RequestKind, times: u64) -> HarnessResult<bool> {
        match fault {
            // An answer lists what is refused, so no outcome can be left out; a success may come without a body.
            ServiceFault::MissingOutcome | ServiceFault::EmptyBody => Ok(false),
            _ => self.0.arm(fault, on, times).await,
        }
    }

    async fn fired(&self) -> HarnessResult<u64> {
        self.0.fired().await
    }

    async fn disarm(&self) -> HarnessResult<()> {
        self.0.disarm().await
    }
}

struct CustomerIoHarness {
    sim: CustomerIoSim,
    target: Target,
    config: CustomerIoConfig,
    faults: BatchFaults,
    /// People from before the last fresh target: the workspace is one for all cases.
    old: Mutex<BTreeSet<String>>,
}

impl CustomerIoHarness {
    async fn start(
        target: Target,
        mode: WorkspaceMode,
        quirks: customerio::Quirks,
        mut config: CustomerIoConfig,
    ) -> HarnessResult<Self> {
        let builder = CustomerIoSim::builder().with_rate_limits(RateLimits::Unlimited).with_mode(mode);
        let sim = builder.with_quirks(quirks).start().await?;
        let faults = SimulatorFaults::new(sim.faults().clone(), sim.journal().clone())
            .with_writing("POST", BATCH)
            .with_reading("GET", "/accounts/region");
        config.limits.total_ms = u64::try_from(TIMEOUT.as_millis())?;
        config.rate = RequestRate::Unlimited;
        Ok(Self { sim, target, config, faults: BatchFaults(faults), old: Mutex::default() })
    }

    fn customerio(&self, base_url: &str, api_key: &str) -> Arc<dyn Destination> {
        let builder = CustomerIo::from_config(self.config.clone())
            .base_url(base_url)
            .allow_loopback_http(true)
            .site_id(self.sim.site_id())
            .api_key(Secret::new(api_key));
        Arc::new(builder.build().expect("the settings are constants that work"))
    }

    /// Everybody whom the present case has made, once everything is applied.
    fn people(&self) -> Vec<Person> {
        self.sim.drain();
        let old = self.old.lock().unwrap_or_else(PoisonError::into_inner);
        self.sim.people().into_iter().filter(|person| !old.contains(&person.cio_id)).collect()
    }

    fn events(&self) -> bool {
        self.target.object != "people"
    }

    fn by_email(&self) -> bool {
        self.target.match_on.as_str() == "email"
    }

    fn key_of(&self, person: &Person) -> String {
        let key = if self.by_email() { &person.email } else { &person.id };
        key.clone().unwrap_or_default()
    }
}

/// Attributes as the suite reads them: days and moments in milliseconds.
fn record(attributes: BTreeMap<String, String>) -> Record {
    let in_millis = |name: &str, text: String| match text.parse::<i64>() {
        Ok(seconds) if matches!(name, "day" | "moment") => (seconds * 1_000).to_string(),
        _ => text,
    };
    attributes
        .into_iter()
        .map(|(name, text)| {
            let text = in_millis(&name, text);
            (name, text)
        })
        .collect()
}

#[async_trait]
impl Harness for CustomerIoHarness {
    async fn fresh_target(&self) -> HarnessResult<Target> {
        self.sim.drain();
        let known = self.sim.people().into_iter().map(|person| person.cio_id).collect();
        *self.old.lock().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(self.target.clone())
    }

    fn destination(&self) -> Arc<dyn Destination> {
        self.customerio(&self.sim.base_url(), &self.sim.api_key())
    }

    async fn read_back(&self, _: &Target, key: &str) -> HarnessResult<Option<Record>> {
        let same = |stored: &str| if self.by_email() { stored.eq_ignore_ascii_case(key) } else { stored == key };
        Ok(self.people().into_iter().find(|person| same(&self.key_of(person))).map(|person| record(person.attributes)))
    }

    async fn list(&self, _: &Target) -> HarnessResult<Vec<String>> {
        Ok(self.people().iter().map(|person| self.key_of(person)).collect())
    }

    async fn entries(&self, _: &Target) -> HarnessResult<Vec<Record>> {
        let mut events: BTreeMap<String, _> =
            self.people().into_iter().map(|person| (person.cio_id, person.events.into_iter())).collect();
        let text = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let activities = self.sim.activities().into_iter().filter(|activity| activity.kind == ActivityKind::Event);
        let of_person = |activity: customerio::Activity| events.get_mut(&activity.cio_id?)?.next();
        Ok(activities
            .filter_map(of_person)
            .map(|event| event.data.into_iter().map(|(name, value)| (name, text(value))).collect())
            .collect())
    }

    async fn requests(&self) -> HarnessResult<RequestCounts> {
        Ok(self.faults.0.requests())
    }

    fn fields(&self) -> SampleFields {
        let mut fields = SampleFields::new("remark");
        fields.integer = Some("seats".into());
        fields.float = Some("usage".into());
        fields.decimal = Some("price".into());
        fields.boolean = Some("vip".into());
        fields.date = Some("day".into());
        fields.timestamp = Some("moment".into());
        fields.text_list = Some(("tags".into(), vec!["red".into(), "blue".into()]));
        fields.invalid = Some(match self.by_email() {
            true => ("id".into(), "cio_stratospheric".into()),
            false => ("email".into(), "stratospheric".into()),
        });
        fields.read_only = Some("anonymous_id".into());
        if self.events() {
            // The service takes any data of an event.
            (fields.invalid, fields.read_only) = (None, Some("recipient".into()));
        }
        fields
    }

    fn key(&self, text: &str) -> String {
        if self.by_email() { format!("{text}@example.com") } else { text.to_owned() }
    }

    fn faults(&self) -> Option<&dyn ServiceFaults> {
        Some(&self.faults)
    }

    fn unauthenticated(&self) -> Option<Arc<dyn Destination>> {
        Some(self.customerio(&self.sim.base_url(), "revoked-key"))
    }

    fn unreachable(&self) -> Option<Arc<dyn Destination>> {
        // The lowest port there is; nobody listens on it.
        Some(self.customerio("http://127.0.0.1:1", "unused-key"))
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.sim.api_key(), "revoked-key".into(), "unused-key".into()]
    }

    fn request_timeout(&self) -> Option<Duration> {
        Some(TIMEOUT)
    }

    fn quirks(&self) -> Quirks {
        let mut quirks = Quirks::default();
        quirks.open_fields = true;
        quirks.empty_text_clears = self.config.empty_text == EmptyText::Clear;
        quirks
    }
}

async fn conforms(match_on: &str, mode: WorkspaceMode, quirks: customerio::Quirks, config: CustomerIoConfig) {
    target_conforms(CustomerIo::people(match_on), mode, quirks, config).await;
}

async fn target_conforms(target: Target, mode: WorkspaceMode, quirks: customerio::Quirks, config: CustomerIoConfig) {
    let what = format!("{} by {}", target.object, target.match_on);
    let harness = CustomerIoHarness::start(target, mode, quirks, config).await.expect("it starts");
    let report = run(&harness).await;
    assert!(report.passed(), "{what}, {mode:?}\n{report}");
    // The suite writes equal values again on purpose, and sends again what it dropped while it was under way.
    let by_the_suite = |kind| matches!(kind, LintKind::UnchangedValue | LintKind::ConcurrentWrites);
    let unwise: Vec<_> = harness.sim.lints().into_iter().filter(|lint| !by_the_suite(lint.kind)).collect();
    assert!(unwise.is_empty(), "the service takes it, but a careful client does not send it: {unwise:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_by_id() {
    for mode in [WorkspaceMode::EmailOrId, WorkspaceMode::IdOnly] {
        conforms("id", mode, customerio::Quirks::default(), CustomerIoConfig::default()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events() {
    for match_on in ["id", "email"] {
        // Entries have an order in the suite; the service promises none within a call.
        let quirks = customerio::Quirks { batch_order: BatchOrder::AsSent, ..customerio::Quirks::default() };
        let target = CustomerIo::events("order/paid \"x\"", match_on);
        target_conforms(target, WorkspaceMode::EmailOrId, quirks, CustomerIoConfig::default()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suppression_deletes() {
    let mut config = CustomerIoConfig::default();
    config.deletion = Deletion::Suppress;
    conforms("id", WorkspaceMode::EmailOrId, customerio::Quirks::default(), config).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_by_email() {
    conforms("email", WorkspaceMode::EmailOrId, customerio::Quirks::default(), CustomerIoConfig::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_on_rows_and_empty_texts_that_clear() {
    let mut config = CustomerIoConfig::default();
    config.max_rows = 40;
    config.empty_text = EmptyText::Clear;
    conforms("id", WorkspaceMode::EmailOrId, customerio::Quirks::default(), config).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_settles_the_open_questions_the_other_way() {
    let quirks = customerio::Quirks {
        batch_order: BatchOrder::AsSent,
        unknown_keys: UnknownKeys::Ignored,
        empty_strings: EmptyStrings::Stored,
        nested_values: NestedValues::Unmeasured,
        big_integers: BigIntegers::Exact,
        partial_status: PartialStatus::Success,
        error_parts: ErrorParts::MessageOnly,
        oversize_status: 413,
        redirect_status: 302,
        apply_delay_ms: 0,
        ..customerio::Quirks::default()
    };
    conforms("id", WorkspaceMode::EmailOrId, quirks.clone(), CustomerIoConfig::default()).await;
    conforms("email", WorkspaceMode::EmailOrId, quirks, CustomerIoConfig::default()).await;
}
