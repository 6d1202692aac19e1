//! The conformance suite against the simulator, for every kind of key and every version of the API.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::capability::{Capability, Operation};
use rsync_core::destination::{Context, Found, LookupRequest, RemoteSchema, Target, WriteBatch};
use rsync_core::ids::{AccountId, JobToken};
use rsync_core::outcome::Receipt;
use rsync_core::record::Rows;
use rsync_core::{Destination, Secret};
use rsync_hubspot::{ApiVersion, HubSpot, HubSpotConfig, RateTier};
use rsync_testkit::destination::{
    Harness, HarnessResult, Quirks, Record, RequestCounts, SampleFields, ServiceFaults, SimulatorFaults, run,
};
use rsync_testkit::sim::hubspot::{self, HubSpotSim, ListProcessing, ListSeed, PropertySeed, RateLimits, Seed};

const LIST: &str = "audience";
const TIMEOUT: Duration = Duration::from_millis(500);

struct HubSpotHarness {
    sim: HubSpotSim,
    version: ApiVersion,
    target: Target,
    /// The list whose members are changed.
    list: Target,
    faults: SimulatorFaults,
    /// Records from before the last fresh target: the portal is one for all cases.
    old: Mutex<BTreeSet<String>>,
}

impl HubSpotHarness {
    async fn start(target: Target, version: ApiVersion, quirks: hubspot::Quirks) -> HarnessResult<Self> {
        let list = ListSeed { name: LIST.into(), object: target.object.clone(), processing: ListProcessing::Manual };
        let seed = Seed { rate_limits: RateLimits::Unlimited, lists: vec![list], ..Seed::default() };
        let mut sim = HubSpotSim::builder().with_seed(seed).with_quirks(quirks);
        let mut frozen = PropertySeed::text("frozen");
        frozen.read_only_value = true;
        for property in [
            PropertySeed::unique_text("external_id"),
            PropertySeed::text("remark"),
            PropertySeed::of("seats", "number", "number"),
            PropertySeed::of("usage", "number", "number"),
            PropertySeed::of("price_x", "number", "number"),
            PropertySeed::of("vip", "bool", "booleancheckbox"),
            PropertySeed::of("day", "date", "date"),
            PropertySeed::of("moment", "datetime", "date"),
            PropertySeed::options("tags", "checkbox", ["red", "green", "blue"]),
            PropertySeed::options("tier", "select", ["basic", "plus"]),
            frozen,
        ] {
            sim = sim.with_property(&target.object, property);
        }
        let sim = sim.start().await?;
        let faults = SimulatorFaults::new(sim.faults().clone(), sim.journal().clone())
            .with_writing("POST", "/batch/upsert")
            .with_writing("POST", "/batch/create")
            .with_writing("POST", "/batch/update")
            .with_writing("PUT", "/memberships/add")
            .with_writing("PUT", "/memberships/remove")
            .with_reading("POST", "/batch/read")
            .with_reading("POST", "/search");
        let list = format!("{}/lists/{}", target.object, sim.list(LIST).ok_or("no list")?.id);
        let list = Target::new(list, target.match_on.clone());
        Ok(Self { sim, version, target, list, faults, old: Mutex::default() })
    }

    fn hubspot(&self, base_url: &str, token: &str) -> Arc<dyn Destination> {
        let mut config = HubSpotConfig::default();
        config.limits.total_ms = u64::try_from(TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        let hubspot = HubSpot::from_config(config)
            .base_url(base_url)
            .allow_loopback_http(true)
            .version(self.version)
            .rate(RateTier::Unlimited)
            .token(Secret::new(token));
        let hubspot = hubspot.build().expect("the settings are constants that work");
        Arc::new(WithList { hubspot, list: self.list.clone() })
    }

    /// Keys and properties of the records that the present case has made.
    fn records(&self) -> Vec<(String, Record)> {
        let old = self.old.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.sim.records(&self.target.object).into_iter().filter(|r| !r.archived && !old.contains(&r.id));
        live.map(|record| {
            let key = record.properties.get(self.target.match_on.as_str()).cloned().unwrap_or_default();
            (key, record.properties)
        })
        .collect()
    }

    fn by_email(&self) -> bool {
        self.target.match_on.as_str() == "email"
    }
}

/// The adapter on an object and on a list of its records, as one: a target of the suite has both.
#[derive(Debug)]
struct WithList {
    hubspot: HubSpot,
    list: Target,
}

#[async_trait]
impl Destination for WithList {
    fn kind(&self) -> &'static str {
        self.hubspot.kind()
    }

    fn capability(&self, target: &Target) -> Capability {
        let list = self.hubspot.capability(&self.list);
        let (add, remove) = (list.add_member.unwrap(), list.remove_member.unwrap());
        let records = self.hubspot.capability(target);
        records.with_operation(Operation::AddMember, add).with_operation(Operation::RemoveMember, remove)
    }

    fn row_bytes(&self, target: &Target, operation: Operation, rows: &Rows, row: usize) -> usize {
        self.hubspot.row_bytes(target, operation, rows, row)
    }

    async fn check(&self, target: &Target) -> rsync_core::Result<AccountId> {
        self.hubspot.check(target).await
    }

    async fn describe(&self, target: &Target) -> rsync_core::Result<RemoteSchema> {
        self.hubspot.describe(target).await
    }

    async fn lookup(&self, cx: &Context, request: LookupRequest) -> rsync_core::Result<Found> {
        self.hubspot.lookup(cx, request).await
    }

    async fn write(&self, cx: &Context, mut batch: WriteBatch) -> rsync_core::Result<Receipt> {
        if matches!(batch.operation, Operation::AddMember | Operation::RemoveMember) {
            batch.target = self.list.clone();
        }
        self.hubspot.write(cx, batch).await
    }

    async fn resume(&self, cx: &Context, batch: &WriteBatch, job: JobToken) -> rsync_core::Result<Receipt> {
        self.hubspot.resume(cx, batch, job).await
    }
}

#[async_trait]
impl Harness for HubSpotHarness {
    async fn fresh_target(&self) -> HarnessResult<Target> {
        let ids = self.sim.records(&self.target.object).into_iter().map(|record| record.id).collect();
        *self.old.lock().unwrap_or_else(PoisonError::into_inner) = ids;
        self.sim.set_list_members(LIST, [])?;
        Ok(self.target.clone())
    }

    fn destination(&self) -> Arc<dyn Destination> {
        self.hubspot(&self.sim.base_url(), &self.sim.token())
    }

    async fn read_back(&self, _: &Target, key: &str) -> HarnessResult<Option<Record>> {
        // Addresses are stored in lower case.
        let key = if self.by_email() { key.trim().to_lowercase() } else { key.to_owned() };
        Ok(self.records().into_iter().find(|(stored, _)| *stored == key).map(|(_, record)| record))
    }

    async fn list(&self, _: &Target) -> HarnessResult<Vec<String>> {
        Ok(self.records().into_iter().map(|(key, _)| key).collect())
    }

    async fn members(&self, _: &Target) -> HarnessResult<Vec<String>> {
        let members = self.sim.list(LIST).ok_or("no list")?.members;
        let records = self.sim.records(&self.target.object).into_iter().filter(|record| members.contains(&record.id));
        let key = |record: hubspot::Record| record.properties.get(self.target.match_on.as_str()).cloned();
        Ok(records.map(|record| key(record).unwrap_or_default()).collect())
    }

    async fn requests(&self) -> HarnessResult<RequestCounts> {
        Ok(self.faults.requests())
    }

    fn fields(&self) -> SampleFields {
        let mut fields = SampleFields::new("remark");
        fields.integer = Some("seats".into());
        fields.float = Some("usage".into());
        fields.decimal = Some("price_x".into());
        fields.boolean = Some("vip".into());
        fields.date = Some("day".into());
        fields.timestamp = Some("moment".into());
        fields.text_list = Some(("tags".into(), vec!["red".into(), "blue".into()]));
        fields.invalid = Some(("tier".into(), "stratospheric".into()));
        fields.read_only = Some("frozen".into());
        fields
    }

    fn key(&self, text: &str) -> String {
        if self.by_email() { format!("{text}@example.com") } else { text.to_owned() }
    }

    fn unknown_object(&self) -> Option<String> {
        Some("2-99999999".into())
    }

    fn faults(&self) -> Option<&dyn ServiceFaults> {
        Some(&self.faults)
    }

    fn unauthenticated(&self) -> Option<Arc<dyn Destination>> {
        Some(self.hubspot(&self.sim.base_url(), "pat-na1-revoked"))
    }

    fn unreachable(&self) -> Option<Arc<dyn Destination>> {
        // The lowest port there is; nobody listens on it.
        Some(self.hubspot("http://127.0.0.1:1", "pat-na1-unused"))
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.sim.token(), "pat-na1-revoked".into(), "pat-na1-unused".into()]
    }

    fn request_timeout(&self) -> Option<Duration> {
        Some(TIMEOUT)
    }

    fn quirks(&self) -> Quirks {
        let mut quirks = Quirks::default();
        // HubSpot does not tell an empty text from no value.
        quirks.empty_text_clears = true;
        quirks
    }
}

async fn conforms(object: &str, match_on: &str, version: ApiVersion, quirks: hubspot::Quirks) {
    let harness = HubSpotHarness::start(Target::new(object, match_on), version, quirks).await.expect("it starts");
    let report = run(&harness).await;
    assert!(report.passed(), "{object} by {match_on}, {version:?}\n{report}");
    // Cases that were found not to apply would pass as well.
    let applied = report.to_string();
    for case in ["members come and go", "members by record id come and go", "a field keeps the policies"] {
        let line = applied.lines().find(|line| line.contains(case)).unwrap_or_default();
        assert!(line.contains("pass"), "{object} by {match_on}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn companies_by_a_unique_property() {
    for version in [ApiVersion::V3, ApiVersion::V2026_03, ApiVersion::V2026_09] {
        conforms("companies", "external_id", version, hubspot::Quirks::default()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contacts_by_a_unique_property() {
    conforms("contacts", "external_id", ApiVersion::default(), hubspot::Quirks::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contacts_by_email() {
    for version in [ApiVersion::V3, ApiVersion::V2026_09] {
        conforms("contacts", "email", version, hubspot::Quirks::default()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_settles_the_open_questions_the_other_way() {
    let quirks = hubspot::Quirks {
        upsert_conflict: hubspot::UpsertConflict::PerRecord,
        trace_id_in_results: hubspot::TraceIdEcho::Echoed,
        result_order: hubspot::ResultOrder::AsSent,
        dated_partial_status: hubspot::DatedPartialStatus::MultiStatus,
        date_echo: hubspot::DateEcho::Iso,
        number_spelling: hubspot::NumberSpelling::Shortest,
        outer_whitespace: hubspot::OuterWhitespace::Significant,
        ..hubspot::Quirks::default()
    };
    conforms("companies", "external_id", ApiVersion::default(), quirks.clone()).await;
    conforms("contacts", "email", ApiVersion::default(), quirks).await;
}
