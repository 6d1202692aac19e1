//! The conformance suite against the simulator, for several kinds of keys and both readings of what is unsettled.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::destination::Target;
use rsync_core::{Destination, Secret};
use rsync_salesforce::{Credentials, Salesforce, SalesforceConfig};
use rsync_testkit::destination::{
    Harness, HarnessResult, Quirks, Record, RequestCounts, RequestKind, SampleFields, ServiceFault, ServiceFaults,
    SimulatorFaults, run,
};
use rsync_testkit::sim::fault::{FaultAction, FaultPlan, FaultRule, Processing, Requests};
use rsync_testkit::sim::salesforce::{self, FieldSeed, ObjectSeed, SalesforceSim};

const TIMEOUT: Duration = Duration::from_millis(500);
const OBJECT: &str = "Plan__c";

/// What records are matched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Text,
    CaseSensitiveText,
    Number,
    Email,
}

impl Key {
    fn seed(self) -> FieldSeed {
        match self {
            Key::Text => FieldSeed::external_id("Ext__c"),
            Key::CaseSensitiveText => FieldSeed::external_id("Ext__c").case_sensitive(),
            Key::Number => FieldSeed { external_id: true, unique: true, ..FieldSeed::number("Ext__c", 18, 0) },
            Key::Email => FieldSeed { external_id: true, unique: true, ..FieldSeed::of("Ext__c", "email") },
        }
    }
}

struct SalesforceHarness {
    sim: SalesforceSim,
    key: Key,
    api_version: u16,
    composite: bool,
    quirks: salesforce::Quirks,
    target: Target,
    faults: SalesforceFaults,
    /// Records from before the last fresh target: the organization is one for all cases.
    old: Mutex<BTreeSet<String>>,
}

impl SalesforceHarness {
    async fn start(key: Key, api_version: u16, composite: bool, quirks: salesforce::Quirks) -> HarnessResult<Self> {
        let mut object = ObjectSeed::new(OBJECT, "a01").with_field(key.seed());
        for field in [
            FieldSeed { length: Some(32_768), ..FieldSeed::of("Remark__c", "textarea") },
            FieldSeed::of("Seats__c", "int"),
            FieldSeed::number("Usage__c", 18, 6),
            FieldSeed { scale: Some(4), ..FieldSeed::of("Price__c", "currency") },
            FieldSeed::of("Vip__c", "boolean"),
            FieldSeed::of("Day__c", "date"),
            FieldSeed::of("Moment__c", "datetime"),
            FieldSeed {
                kind: "multipicklist".into(),
                ..FieldSeed::restricted_picklist("Tags__c", ["red", "green", "blue"])
            },
            FieldSeed::restricted_picklist("Tier__c", ["basic", "plus"]),
            FieldSeed::text("Frozen__c", 80).read_only(),
        ] {
            object = object.with_field(field);
        }
        let sim = SalesforceSim::builder()
            .with_object(object)
            .with_quirks(quirks.clone())
            .with_api_limit(1_000_000)
            .start()
            .await?;
        let faults = SimulatorFaults::new(sim.faults().clone(), sim.journal().clone())
            .with_writing("PATCH", "/composite/sobjects/Plan__c/Ext__c")
            .with_writing("PATCH", "/composite/sobjects")
            .with_writing("POST", "/composite/sobjects")
            .with_writing("DELETE", "/composite/sobjects")
            .with_writing("POST", "/composite")
            .with_reading("GET", "/query");
        let faults = SalesforceFaults { faults, board: sim.faults().clone() };
        let target = Target::new(OBJECT, "Ext__c");
        Ok(Self { sim, key, api_version, composite, quirks, target, faults, old: Mutex::default() })
    }

    fn salesforce(&self, login_url: &str, credentials: Credentials) -> Arc<dyn Destination> {
        let mut config = SalesforceConfig::default();
        config.limits.total_ms = u64::try_from(TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        let salesforce = Salesforce::from_config(config)
            .credentials(credentials)
            .login_url(login_url)
            .allow_loopback_http(true)
            .api_version(self.api_version)
            .composite(self.composite);
        Arc::new(salesforce.build().expect("the settings are constants that work"))
    }

    fn private_key(&self) -> Credentials {
        Credentials::jwt_bearer(self.sim.client_id(), self.sim.username(), Secret::new(self.sim.private_key_pem()))
    }

    /// Keys and fields of the records that the present case has made.
    fn records(&self) -> Vec<(String, Record)> {
        let old = self.old.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.sim.records(OBJECT).into_iter().filter(|r| !r.deleted && !old.contains(&r.id));
        live.map(|record| {
            let mut fields = record.fields;
            // The suite reads moments in the form of RFC 3339.
            if let Some(moment) = fields.get_mut("Moment__c")
                && let Some(utc) = moment.strip_suffix("+0000")
            {
                *moment = format!("{utc}Z");
            }
            (fields.get("Ext__c").cloned().unwrap_or_default(), fields)
        })
        .collect()
    }
}

#[async_trait]
impl Harness for SalesforceHarness {
    async fn fresh_target(&self) -> HarnessResult<Target> {
        let ids = self.sim.records(OBJECT).into_iter().map(|record| record.id).collect();
        *self.old.lock().unwrap_or_else(PoisonError::into_inner) = ids;
        Ok(self.target.clone())
    }

    fn destination(&self) -> Arc<dyn Destination> {
        self.salesforce(&self.sim.base_url(), self.private_key())
    }

    async fn read_back(&self, _: &Target, key: &str) -> HarnessResult<Option<Record>> {
        // Addresses are stored in lower case.
        let key = if self.key == Key::Email { key.to_lowercase() } else { key.to_owned() };
        Ok(self.records().into_iter().find(|(stored, _)| *stored == key).map(|(_, record)| record))
    }

    async fn list(&self, _: &Target) -> HarnessResult<Vec<String>> {
        Ok(self.records().into_iter().map(|(key, _)| key).collect())
    }

    async fn requests(&self) -> HarnessResult<RequestCounts> {
        Ok(self.faults.faults.requests())
    }

    fn fields(&self) -> SampleFields {
        let mut fields = SampleFields::new("Remark__c");
        fields.integer = Some("Seats__c".into());
        fields.float = Some("Usage__c".into());
        fields.decimal = Some("Price__c".into());
        fields.boolean = Some("Vip__c".into());
        fields.date = Some("Day__c".into());
        fields.timestamp = Some("Moment__c".into());
        fields.text_list = Some(("Tags__c".into(), vec!["red".into(), "blue".into()]));
        fields.invalid = Some(("Tier__c".into(), "stratospheric".into()));
        fields.read_only = Some("Frozen__c".into());
        fields
    }

    fn key(&self, text: &str) -> String {
        match self.key {
            Key::Text | Key::CaseSensitiveText => text.to_owned(),
            Key::Email => format!("{text}@example.com"),
            Key::Number => {
                let mut hasher = DefaultHasher::new();
                text.hash(&mut hasher);
                (hasher.finish() % 1_000_000_000_000_000).to_string()
            }
        }
    }

    fn unknown_object(&self) -> Option<String> {
        Some("No_such_object__c".into())
    }

    fn faults(&self) -> Option<&dyn ServiceFaults> {
        Some(&self.faults)
    }

    fn unauthenticated(&self) -> Option<Arc<dyn Destination>> {
        let credentials = Credentials::client_credentials(self.sim.client_id(), Secret::new("revoked-secret"));
        Some(self.salesforce(&self.sim.base_url(), credentials))
    }

    fn unreachable(&self) -> Option<Arc<dyn Destination>> {
        // The lowest port there is; nobody listens on it.
        Some(self.salesforce("http://127.0.0.1:1", self.private_key()))
    }

    fn secrets(&self) -> Vec<String> {
        let key = self.sim.private_key_pem().lines().nth(1).unwrap_or_default().to_owned();
        vec![key, self.sim.client_secret(), "revoked-secret".into()]
    }

    fn request_timeout(&self) -> Option<Duration> {
        Some(TIMEOUT)
    }

    fn quirks(&self) -> Quirks {
        let mut quirks = Quirks::default();
        quirks.empty_text_clears = self.quirks.empty_text == salesforce::EmptyText::Null;
        quirks.trims_text = self.quirks.outer_whitespace == salesforce::OuterWhitespace::Trimmed;
        quirks
    }
}

/// The simulator's faults. Its own 403 is about the calls of a day; the suite means a permission.
struct SalesforceFaults {
    faults: SimulatorFaults,
    board: rsync_testkit::sim::fault::Faults,
}

#[async_trait]
impl ServiceFaults for SalesforceFaults {
    async fn arm(&self, fault: &ServiceFault, on: RequestKind, times: u64) -> HarnessResult<bool> {
        if !matches!(fault, ServiceFault::Refuse { status: 403, .. }) {
            return self.faults.arm(fault, on, times).await;
        }
        let body = r#"[{"message":"insufficient access rights on object id","errorCode":"INSUFFICIENT_ACCESS"}]"#;
        let path = match on {
            RequestKind::Writing => "/composite/sobjects",
            RequestKind::Reading => "/query",
        };
        let refusal = FaultAction::Respond {
            status: 403,
            body: Some(body.to_owned()),
            headers: [].into(),
            processing: Processing::NotApplied,
        };
        let rule = FaultRule::new(refusal).on_path_containing(path).on_requests(Requests::First(times));
        self.board.set(FaultPlan::new([rule]))?;
        Ok(true)
    }

    async fn fired(&self) -> HarnessResult<u64> {
        self.faults.fired().await
    }

    async fn disarm(&self) -> HarnessResult<()> {
        self.faults.disarm().await
    }
}

async fn conforms(key: Key, api_version: u16, quirks: salesforce::Quirks) {
    conforms_in(key, api_version, false, quirks).await;
}

async fn conforms_in(key: Key, api_version: u16, composite: bool, quirks: salesforce::Quirks) {
    let harness = SalesforceHarness::start(key, api_version, composite, quirks).await.expect("it starts");
    let report = run(&harness).await;
    assert!(report.passed(), "{key:?}, version {api_version}\n{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_a_text_key_with_a_thousand_rows_a_call() {
    conforms_in(Key::Text, 66, true, salesforce::Quirks::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_a_text_key() {
    for api_version in [60, 66] {
        conforms(Key::Text, api_version, salesforce::Quirks::default()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_a_text_key_whose_case_counts() {
    conforms(Key::CaseSensitiveText, 66, salesforce::Quirks::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_a_number() {
    conforms(Key::Number, 66, salesforce::Quirks::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_an_address() {
    conforms(Key::Email, 66, salesforce::Quirks::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_settles_the_open_questions_the_other_way() {
    let quirks = salesforce::Quirks {
        malformed_values: salesforce::MalformedValues::RowError,
        all_failed_status: salesforce::AllFailedStatus::BadRequest,
        created_flag: salesforce::CreatedFlag::Omitted,
        failed_ids: salesforce::FailedIds::Shown,
        extra_decimals: salesforce::ExtraDecimals::Refused,
        outer_whitespace: salesforce::OuterWhitespace::Kept,
        empty_text: salesforce::EmptyText::Kept,
        update_only_miss: salesforce::UpdateOnlyMiss::InvalidCrossReference,
        not_found_body: salesforce::NotFoundBody::Object,
        bad_assertion: salesforce::BadAssertion::InvalidClient,
        unknown_client: salesforce::UnknownClient::InvalidClient,
        error_description: salesforce::ErrorDescription::Omitted,
        session_timer: salesforce::SessionTimer::Fixed,
        row_locks: salesforce::RowLocks::Refused,
        query_page_size: 1,
        ..salesforce::Quirks::default()
    };
    conforms(Key::Text, 66, quirks.clone()).await;
    conforms(Key::Email, 66, quirks).await;
}
