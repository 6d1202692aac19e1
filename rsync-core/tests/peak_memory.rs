//! The most memory that whole runs take, in a process that does nothing else: rows of 12 columns that are made while they
//! are read, the embedded store, and a destination that stalls and then answers slowly.
//!
//! ```sh
//! RSYNC_MEMORY_ROWS=10000000 cargo test --release -p rsync-core --test peak_memory
//! ```
#![allow(clippy::print_stdout, reason = "a program without a harness says what it measured")]

use std::fs;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use rsync_core::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
};
use rsync_core::arrow::datatypes::SchemaRef;
use rsync_core::capability::{Operation, OperationLimits, WriteIdempotence};
use rsync_core::clock::{Clock as _, SystemClock};
use rsync_core::destination::{Context, Found, LookupRequest, RemoteField, RemoteSchema, WriteBatch};
use rsync_core::ids::{AccountId, JobToken};
use rsync_core::outcome::{Effect, Receipt, RowOutcome};
use rsync_core::record::Rows;
use rsync_core::source::{BatchStream, Extracted, ReadRequest};
use rsync_core::{
    Capability, Destination, EmbeddedStore, Error, FieldMap, FieldRule, FieldType, HashKey, Kind, Model, Owner,
    Pipeline, Result, Source, Target,
};

const COLUMNS: [(&str, FieldType); 12] = [
    ("id", FieldType::Text),
    ("email", FieldType::Text),
    ("name", FieldType::Text),
    ("city", FieldType::Text),
    ("plan", FieldType::Text),
    ("note", FieldType::Text),
    ("seats", FieldType::Integer),
    ("logins", FieldType::Integer),
    ("score", FieldType::Float),
    ("spend", FieldType::Float),
    ("active", FieldType::Boolean),
    ("since", FieldType::Date),
];

/// Rows of a batch of the source, and of a call.
const BATCH_ROWS: u64 = 8_192;
const CALL_ROWS: usize = 1_000;
const IN_FLIGHT: usize = 4;
/// How long the destination says nothing at first.
const STALL: Duration = Duration::from_millis(500);

/// MiB that a run of so many rows may take at its peak.
fn limit(rows: u64) -> u64 {
    match rows {
        0..=100_000 => 128,
        100_001..=1_000_000 => 256,
        // What grows is the index: 24 bytes a key, and what finds it.
        _ => 512.max(512 * rows / 10_000_000),
    }
}

/// Makes its rows when they are asked for.
#[derive(Debug)]
struct Generated {
    rows: u64,
    /// One row in so many has another value than in the version before.
    changed: Option<u64>,
}

fn batch(from: u64, to: u64, changed: Option<u64>) -> RecordBatch {
    let is_new = |row: u64| changed.is_some_and(|every| row.is_multiple_of(every));
    let text = |f: &dyn Fn(u64) -> String| Arc::new((from..to).map(f).map(Some).collect::<StringArray>()) as ArrayRef;
    let number = |f: fn(u64) -> i64| Arc::new((from..to).map(f).map(Some).collect::<Int64Array>()) as ArrayRef;
    let float = |f: fn(u64) -> f64| Arc::new((from..to).map(f).map(Some).collect::<Float64Array>()) as ArrayRef;
    let columns = [
        text(&|row| format!("customer-{row:09}")),
        text(&|row| format!("person.{row}@example.com")),
        text(&|row| format!("Ada Lovelace the {row}th")),
        text(&|row| format!("City {}", row % 5_000)),
        text(&|row| ["free", "team", "business"][(row % 3) as usize].to_owned()),
        text(&|row| format!("version {} of a note that somebody wrote about {row}", u8::from(is_new(row)))),
        number(|row| (row % 250) as i64),
        number(|row| (row * 31 % 100_000) as i64),
        float(|row| row as f64 / 7.0),
        float(|row| (row % 1_000) as f64 * 1.25),
        Arc::new((from..to).map(|row| Some(row % 2 == 0)).collect::<BooleanArray>()) as ArrayRef,
        Arc::new((from..to).map(|row| Some((row % 20_000) as i32)).collect::<Date32Array>()) as ArrayRef,
    ];
    RecordBatch::try_from_iter(COLUMNS.iter().map(|(name, _)| *name).zip(columns)).unwrap()
}

#[async_trait]
impl Source for Generated {
    fn kind(&self) -> &'static str {
        "generated"
    }

    async fn schema(&self) -> Result<SchemaRef> {
        Ok(batch(0, 0, None).schema())
    }

    async fn read(&self, _: ReadRequest) -> Result<BatchStream> {
        let (rows, changed) = (self.rows, self.changed);
        let starts = (0..rows).step_by(BATCH_ROWS as usize);
        Ok(stream::iter(starts)
            .map(move |from| Ok(Extracted::from(batch(from, rows.min(from + BATCH_ROWS), changed))))
            .boxed())
    }
}

#[derive(Clone, Debug, Default)]
struct Slow {
    calls: Arc<AtomicU64>,
    open: Arc<AtomicUsize>,
    most_open: Arc<AtomicUsize>,
}

#[async_trait]
impl Destination for Slow {
    fn kind(&self) -> &'static str {
        "slow"
    }

    fn capability(&self, _: &Target) -> Capability {
        Capability::new()
            .with_operation(Operation::Upsert, OperationLimits::new(CALL_ROWS, WriteIdempotence::ByKey))
            .with_keeps_absent_fields()
            .with_per_row_outcomes()
            .with_max_in_flight(IN_FLIGHT)
    }

    fn row_bytes(&self, _: &Target, _: Operation, _: &Rows, _: usize) -> usize {
        0
    }

    async fn check(&self, _: &Target) -> Result<AccountId> {
        Ok(AccountId::new("slow"))
    }

    async fn describe(&self, target: &Target) -> Result<RemoteSchema> {
        let field = |(name, _): &(&str, FieldType)| {
            let mut field = RemoteField::new(*name, "any");
            field.unique = *name == target.match_on.as_str();
            field
        };
        Ok(RemoteSchema::new(COLUMNS.iter().map(field).collect()))
    }

    async fn lookup(&self, _: &Context, _: LookupRequest) -> Result<Found> {
        Err(Error::new(Kind::Unsupported, "look up", "nothing is kept here"))
    }

    async fn write(&self, _: &Context, batch: WriteBatch) -> Result<Receipt> {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_open.fetch_max(open, Ordering::Relaxed);
        let stalled = self.calls.fetch_add(1, Ordering::Relaxed) < IN_FLIGHT as u64;
        SystemClock::new().sleep(if stalled { STALL } else { Duration::from_millis(1) }).await;
        self.open.fetch_sub(1, Ordering::Relaxed);
        Ok(Receipt::Settled(vec![RowOutcome::written(Effect::Unspecified, None); batch.len()]))
    }

    async fn resume(&self, _: &Context, _: &WriteBatch, _: JobToken) -> Result<Receipt> {
        Err(Error::new(Kind::Unsupported, "resume", "there are no jobs here"))
    }
}

/// Takes the highest point so far, in MiB, and begins anew. `None` where the system does not tell.
fn peak_mib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    fs::write("/proc/self/clear_refs", "5").ok()?;
    Some(kib.div_ceil(1024))
}

/// Three runs over one state: all rows are new, none has changed, one in a hundred has. Returns what went wrong.
async fn f55_memory_stays_bounded_while_the_destination_stalls(rows: u64) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let (mut problems, limit, clock) = (Vec::new(), limit(rows), SystemClock::new());
    for (what, changed, written) in
        [("all new", None, rows), ("no change", None, 0), ("1 % changed", Some(100), rows.div_ceil(100))]
    {
        let slow = Slow::default();
        let mut mapping = FieldMap::new();
        for (name, ty) in COLUMNS {
            mapping = mapping.field(FieldRule::column(name, name, ty));
        }
        let sync = Pipeline::builder("peak")
            .owner(Owner::new("growth", "growth@example.com"))
            .source(Generated { rows, changed })
            .model(Model::new("customers").key(["id"]))
            .mapping(mapping)
            .destination(slow.clone(), Target::new("customers", "id"))
            .state(EmbeddedStore::new(folder.path().join("state")).unwrap(), HashKey::from_bytes([7; 16]))
            .build()
            .unwrap();
        let (before, started) = (peak_mib(), clock.monotonic());
        let report = sync.run().await.unwrap();
        let (peak, took) = (peak_mib(), clock.monotonic() - started);
        assert!(report.totals.balance() && report.totals.written == written, "{report}");
        let (calls, open) = (slow.calls.load(Ordering::Relaxed), slow.most_open.load(Ordering::Relaxed));
        assert!(calls >= written / CALL_ROWS as u64 && open <= IN_FLIGHT, "{calls} calls, {open} at once");
        assert!(written < (IN_FLIGHT * CALL_ROWS) as u64 || open == IN_FLIGHT, "the destination never stalled");
        let Some((peak, _)) = peak.zip(before) else {
            println!("{what}: {rows} rows; this system does not tell the peak of a process");
            continue;
        };
        println!("{what}: {rows} rows, {written} written in {calls} calls, {took:.1?}: peak {peak} MiB of {limit}");
        if peak > limit {
            problems.push(format!("{what}: {rows} rows took {peak} MiB, of at most {limit}"));
        }
    }
    problems
}

fn main() -> ExitCode {
    let asked = |option: &str| std::env::args().any(|argument| argument == option);
    if asked("--list") {
        let listed = if asked("--ignored") { "" } else { "peak_memory: test\n" };
        let printed = std::io::stdout().lock().write_all(listed.as_bytes());
        return if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let rows = std::env::var("RSYNC_MEMORY_ROWS").map_or(100_000, |rows| rows.parse().expect("a number of rows"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let problems = runtime.block_on(f55_memory_stays_bounded_while_the_destination_stalls(rows));
    problems.iter().for_each(|problem| println!("FAILED {problem}"));
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
