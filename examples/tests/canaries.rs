//! Secrets and cell values that must not show up anywhere: every log line of the process at TRACE level, every
//! error with its sources, every `Debug` and `Display`, and the state on disk.

use std::error::Error as _;
use std::fmt::Debug;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rsync_core::pipeline::PipelineBuilder;
use rsync_core::retry::RetryPolicy;
use rsync_core::{Destination, EmbeddedStore, FieldMap, FieldRule, FieldType, HashKey, Kind, Pipeline, Secret};
use rsync_examples::churn::{self, Service, customerio, hubspot, salesforce};
use rsync_salesforce::Credentials;
use rsync_testkit::postgres::{Cluster, Database};
use rsync_testkit::sim::customerio::CustomerIoSim;
use rsync_testkit::sim::fault::{FaultAction, FaultPlan, FaultRule, Faults, Processing};
use rsync_testkit::sim::hubspot::{HubSpotSim, TokenSeed, all_scopes};
use rsync_testkit::sim::salesforce::SalesforceSim;

/// HubSpot's token, Salesforce's client secret, Customer.io's key and the password of the database's role.
const SECRET: &str = "pat-na1-canary-t0ken-9f27";
const HASH_KEY: [u8; 16] = *b"canary-hash-key!";

/// One for each column, and one that makes the service quote it in an error.
const CELLS: [&str; 8] = [
    "canary-id-4711",
    "canary.gender(a|b)[c]",
    "canary-not-a-number",
    "canary-contract-option",
    "canary+payment%40method",
    "8451.97",
    "6320.41",
    "canary \"quoted\" \\ text",
];

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn note(&self, text: impl AsRef<[u8]>) {
        let mut bytes = self.0.lock().unwrap();
        bytes.extend_from_slice(text.as_ref());
        bytes.push(b'\n');
    }

    fn debug(&self, value: &impl Debug) {
        self.note(format!("{value:?} {value:#?}"));
    }

    /// An error in all its forms, with its sources.
    fn error(&self, error: &(dyn std::error::Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.note(format!("{error} {error:?} {error:#?}"));
            next = error.source();
        }
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes what crates write through the `log` facade.
struct LogLines(std::sync::OnceLock<Captured>);

impl log::Log for LogLines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if let Some(captured) = self.0.get() {
            captured.note(format!("{} {}", record.target(), record.args()));
        }
    }

    fn flush(&self) {}
}

static LOG_LINES: LogLines = LogLines(std::sync::OnceLock::new());

/// A text as it is, and as it may be disguised.
fn disguises(canary: &str) -> Vec<(&'static str, String)> {
    let bytes = canary.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = bytes
        .iter()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) {
                (*byte as char).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    let json = serde_json::to_string(canary).unwrap();
    let escaped = format!("{canary:?}");
    vec![
        ("raw", canary.to_owned()),
        ("json", json.trim_matches('"').to_owned()),
        ("debug", escaped.trim_matches('"').to_owned()),
        ("hex", hex),
        ("percent", percent),
        ("base64", base64(bytes)),
    ]
}

/// Without the last, incomplete group, so that it is found inside a longer text too.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .as_chunks::<3>()
        .0
        .iter()
        .flat_map(|[a, b, c]| [a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63])
        .map(|digit| DIGITS[usize::from(digit)] as char)
        .collect()
}

fn assert_clean(what: &str, bytes: &[u8]) {
    for canary in CELLS.iter().copied().chain([SECRET, "canary-hash-key!"]) {
        for (form, text) in disguises(canary) {
            let found = bytes.windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = found {
                let from = at.saturating_sub(200);
                panic!("{what} shows {canary} ({form}) behind: {}", String::from_utf8_lossy(&bytes[from..at]));
            }
        }
    }
}

const HEADER: &str = "customerID,gender,SeniorCitizen,tenure,Contract,PaymentMethod,MonthlyCharges,TotalCharges,Churn";

fn write_customers(path: &Path) {
    let [id, gender, number, option, payment, monthly, total, quoted] = CELLS;
    let quoted = quoted.replace('"', "\"\"");
    let mut rows = vec![
        format!("{id},{gender},0,1,One year,{payment},{monthly},{total},No"),
        // The service quotes the value of an option that it does not have.
        format!("{id}-2,{gender},0,1,{option},\"{quoted}\",{monthly},{total},No"),
        // Not a number: invalid on our side.
        format!("{id}-3,{gender},0,{number},One year,{payment},{monthly},{number},No"),
        format!("{id}-4,{gender},0,1,One year,{payment},{monthly},{total},No"),
        format!("{id}-4,{gender},0,2,One year,{payment},{monthly},{total},No"),
        format!(",{gender},0,1,One year,{payment},{monthly},{total},No"),
    ];
    rows.insert(0, HEADER.to_owned());
    fs::write(path, rows.join("\n")).unwrap();
}

/// A service that runs here, with the secret as its credentials.
enum Place {
    Salesforce(SalesforceSim),
    HubSpot(HubSpotSim),
    CustomerIo(CustomerIoSim),
}

impl Place {
    async fn start(service: Service) -> Self {
        match service {
            Service::Salesforce => {
                let seed =
                    rsync_testkit::sim::salesforce::Seed { client_secret: SECRET.to_owned(), ..Default::default() };
                Place::Salesforce(salesforce::simulator(seed).start().await.unwrap())
            }
            Service::HubSpot => {
                let token = TokenSeed { token: SECRET.to_owned(), scopes: all_scopes(), expires_at_ms: None };
                let seed = rsync_testkit::sim::hubspot::Seed { tokens: vec![token], ..Default::default() };
                Place::HubSpot(hubspot::simulator(seed).start().await.unwrap())
            }
            Service::CustomerIo => {
                let seed = rsync_testkit::sim::customerio::Seed { api_key: SECRET.to_owned(), ..Default::default() };
                Place::CustomerIo(customerio::simulator(seed).start().await.unwrap())
            }
        }
    }

    fn adapter(&self, secret: &str) -> Arc<dyn Destination> {
        match self {
            Place::Salesforce(org) => {
                let credentials = Credentials::client_credentials(org.client_id(), Secret::new(secret));
                Arc::new(salesforce::adapter(&org.base_url(), credentials).unwrap())
            }
            Place::HubSpot(portal) => Arc::new(hubspot::adapter(&portal.base_url(), secret).unwrap()),
            Place::CustomerIo(workspace) => {
                let builder = customerio::adapter(&workspace.base_url(), &workspace.site_id(), secret);
                Arc::new(builder.build().unwrap())
            }
        }
    }

    fn faults(&self) -> &Faults {
        match self {
            Place::Salesforce(org) => org.faults(),
            Place::HubSpot(portal) => portal.faults(),
            Place::CustomerIo(workspace) => workspace.faults(),
        }
    }

    /// How the paths of writes end.
    fn writes(&self) -> &'static str {
        match self {
            Place::Salesforce(_) => "/Customer_Id__c",
            Place::HubSpot(_) => "/batch/upsert",
            Place::CustomerIo(_) => "/v2/batch",
        }
    }

    fn records(&self) -> usize {
        match self {
            Place::Salesforce(org) => org.records("Account").len(),
            Place::HubSpot(portal) => portal.records("contacts").len(),
            Place::CustomerIo(workspace) => {
                workspace.drain();
                workspace.people().len()
            }
        }
    }
}

struct Scene<'a> {
    folder: &'a Path,
    database: Option<&'a Database>,
    service: Service,
    place: &'a Place,
    captured: &'a Captured,
}

impl Scene<'_> {
    fn builder(&self, secret: &str, state: &Path) -> PipelineBuilder {
        let Some(database) = self.database else {
            return churn::builder(churn::csv(&self.folder.join("customers.csv")).unwrap(), state).unwrap();
        };
        // The role of the test in place of the cluster's own.
        let (_, host) = database.url().rsplit_once('@').unwrap();
        let url = format!("postgres://{}:{secret}@{host}?sslmode=disable", database.name());
        let source = churn::postgres(Secret::new(url)).unwrap();
        self.captured.debug(&source);
        churn::builder(source, state).unwrap()
    }

    fn sync(&self, secret: &str, state: &str, mapping: FieldMap) -> Pipeline {
        let adapter = self.place.adapter(secret);
        self.captured.debug(&adapter);
        let state = self.folder.join(state);
        let builder = self
            .builder(secret, &state)
            .shared_destination(adapter, self.service.target())
            .mapping(mapping)
            .state(EmbeddedStore::new(&state).unwrap(), HashKey::from_bytes(HASH_KEY))
            .retry(RetryPolicy::default().with_max_attempts(2).with_first_pause(std::time::Duration::from_millis(1)));
        self.captured.debug(&builder);
        let sync = builder.build().unwrap();
        self.captured.debug(&sync);
        sync
    }

    /// Plans and applies, and notes everything that can be shown.
    async fn run(&self, secret: &str, state: &str, mapping: FieldMap) -> Option<Kind> {
        let sync = self.sync(secret, state, mapping);
        let plan = match sync.plan().await {
            Ok(plan) => plan,
            Err(error) => {
                self.captured.error(&error);
                return Some(error.kind());
            }
        };
        self.captured.debug(&plan);
        self.captured.note(plan.to_string());
        match sync.apply(plan).await {
            Ok(report) => {
                self.captured.debug(&report);
                self.captured.note(report.to_string());
                None
            }
            Err(failure) => {
                self.captured.error(&failure);
                if let Some(report) = &failure.report {
                    self.captured.note(report.to_string());
                }
                assert!(failure.source().is_some());
                Some(failure.error.kind())
            }
        }
    }
}

#[test]
fn s01_s02_no_secret_and_no_cell_value_shows_anywhere() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    LOG_LINES.0.set(captured.clone()).unwrap_or_else(|_| panic!("set once"));
    log::set_logger(&LOG_LINES).unwrap();
    log::set_max_level(log::LevelFilter::Trace);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(scenes(&captured));

    let bytes = captured.0.lock().unwrap().clone();
    let text = String::from_utf8_lossy(&bytes);
    for crate_name in ["rsync_core", "rsync_http", "tokio_postgres", "hyper", "datafusion"] {
        assert!(text.contains(crate_name), "no line of {crate_name} was captured, so the test proves nothing");
    }
    assert_clean("a log line or a message", &bytes);
}

async fn scenes(captured: &Captured) {
    for service in Service::ALL {
        scene(service, None, captured).await;
    }
    let database = Cluster::shared().unwrap().database().unwrap();
    scene(Service::HubSpot, Some(&database), captured).await;
}

async fn scene(service: Service, database: Option<&Database>, captured: &Captured) {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("customers.csv");
    write_customers(&csv);
    if let Some(database) = database {
        let columns: Vec<String> = HEADER.split(',').map(|name| format!("\"{name}\" text")).collect();
        let role = database.name();
        let script = format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{SECRET}';\nCREATE TABLE customers ({});\n\
             \\copy customers FROM '{}' WITH (FORMAT csv, HEADER)\nGRANT SELECT ON customers TO {role};\n",
            columns.join(", "),
            csv.display()
        );
        database.run(&script).unwrap();
    }
    let place = Place::start(service).await;
    let scene = Scene { folder: folder.path(), database, service, place: &place, captured };
    let mapping = || churn::mapping(service.fields(), |rule| rule);

    assert_eq!(scene.run(SECRET, "state", mapping()).await, None);
    // The others are refused on either side; Customer.io has no options that could be wrong.
    let good = if service == Service::CustomerIo { 2 } else { 1 };
    assert_eq!(place.records(), good, "{}", service.name());
    assert_eq!(scene.run(SECRET, "state", mapping()).await, None);

    // Credentials that are refused are a secret too.
    let refused = scene.run(&format!("{SECRET}-revoked"), "s1", mapping()).await;
    assert_eq!(refused, Some(Kind::Unauthenticated));

    // Services that answer with what they were sent.
    let echo = format!("{{\"message\":\"{} {SECRET}\",\"category\":\"{}\"}}", CELLS[4], CELLS[0]);
    let answer = |status| FaultAction::Respond {
        status,
        body: Some(echo.clone()),
        headers: std::collections::BTreeMap::new(),
        processing: Processing::NotApplied,
    };
    let location = format!("https://{}.example/{SECRET}", CELLS[0]);
    let faults = [
        ("s2", answer(500)),
        ("s3", answer(400)),
        ("s4", answer(403)),
        ("s5", answer(200)),
        ("s6", FaultAction::HtmlPage { status: 502, processing: Processing::NotApplied }),
        ("s7", FaultAction::ResetConnection { processing: Processing::Applied }),
        ("s8", FaultAction::TruncateBody { keep_bytes: 40 }),
        ("s9", FaultAction::Redirect { status: 307, location }),
    ];
    for (state, action) in faults {
        let rule = FaultRule::new(action).named(state).on_path_ending(place.writes());
        place.faults().set(FaultPlan::new([rule])).unwrap();
        scene.run(SECRET, state, mapping()).await;
        assert!(place.faults().fired(state) > 0, "{} {state}: the fault never fired", service.name());
    }
    place.faults().clear();

    // Errors of the plan name columns and fields.
    let wrong = mapping().field(FieldRule::column("Churn", "no_such_field".repeat(12), FieldType::Text));
    assert_eq!(scene.run(SECRET, "state", wrong).await, Some(Kind::SchemaMismatch));
    captured.debug(&service.target());

    for entry in fs::read_dir(folder.path().join("state")).unwrap() {
        assert_clean("the state", &fs::read(entry.unwrap().path()).unwrap());
    }
}
