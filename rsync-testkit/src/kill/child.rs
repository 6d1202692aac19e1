//! The process that is killed.

use std::env;
use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use rsync_core::capability::{Addressing, Operation, OperationLimits, WriteIdempotence};
use rsync_core::destination::{AcceptedType, Context, Found, LookupRequest, RemoteField, RemoteSchema, WriteBatch};
use rsync_core::ids::{AccountId, JobToken, SyncId};
use rsync_core::memory::MemorySource;
use rsync_core::outcome::{Effect, Receipt, RowOutcome};
use rsync_core::record::{Cell, Rows};
use rsync_core::state::{StateSession, StateStore};
use rsync_core::{
    Capability, Destination, Error, Exit, Exits, FieldMap, FieldRule, FieldType, HashKey, Kind, Model, NullRule, Owner,
    Pipeline, Result, Retry, RunStatus, Scope, Target,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::model::History;
use crate::state::{Harness, HarnessResult};

/// The address of the service, the calls it takes at once, the seed of the history, the moment in it, the name of the sync.
pub(super) const ROLE: &str = "RSYNC_KILL_ROLE";
/// The hash key, in hexadecimal.
pub(super) const HASH_KEY: &str = "RSYNC_KILL_HASH_KEY";

/// What the child says: it begins, or how it ended.
pub(super) const STARTED: &str = "started";
pub(super) const COMPLETED: &str = "completed";
pub(super) const BUSY: &str = "busy";
pub(super) const LOST: &str = "lost the state";

/// Rows in a call.
pub(super) const BATCH_ROWS: usize = 5;

/// One call, as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) delete: bool,
    pub(super) rows: Vec<CallRow>,
}

/// One row of a call.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CallRow {
    pub(super) key: String,
    /// What is set, and with `None` what is emptied.
    pub(super) fields: Vec<(String, Option<String>)>,
}

pub(super) fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// Runs the sync once.
pub(super) fn play<H: Harness>(role: &str, start: impl Future<Output = HarnessResult<H>>) -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() else {
        return ExitCode::FAILURE;
    };
    match runtime.block_on(run(role, start)) {
        Ok(line) => {
            say(&line);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("failed {error:?}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // If the parent is gone, there is nobody to tell.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

async fn run<H: Harness>(role: &str, start: impl Future<Output = HarnessResult<H>>) -> HarnessResult<String> {
    let mut parts = role.split(' ');
    let mut part = || parts.next().ok_or("the role is cut short");
    let wire = Wire { address: part()?.parse()?, in_flight: part()?.parse()? };
    let (seed, moment, sync): (u64, u64, &str) = (part()?.parse()?, part()?.parse()?, part()?);
    let batches = History(seed).batches(moment);
    let schema = batches.first().ok_or("the model is empty")?.schema();
    let harness = start.await?;
    let hash_key = u128::from_str_radix(&env::var(HASH_KEY)?, 16)?;
    say(STARTED);
    let sync = Pipeline::builder(sync)
        .owner(Owner::new("growth", "growth@example.com"))
        .source(MemorySource::new(schema, batches))
        .model(Model::new("people").key(["id"]))
        .mapping(
            FieldMap::new()
                .field(FieldRule::column("id", "id", FieldType::Text))
                .field(FieldRule::column("name", "name", FieldType::Text))
                .field(FieldRule::column("tier", "tier", FieldType::Text).on_null(NullRule::Clear)),
        )
        .destination(wire, Target::new("people", "id"))
        .exits(Exits::new(Exit::Delete, Scope::TouchedByUs).when("gone").at_most(u64::MAX, 1.0))
        .state(Opened(harness.open().await?), HashKey::from_bytes(hash_key.to_be_bytes()))
        .build()?;
    match sync.run().await {
        Ok(report) if report.status == RunStatus::Completed => Ok(format!("{COMPLETED} {}", report.calls.writes)),
        Ok(report) => Err(format!("the run ended otherwise: {report}").into()),
        Err(failure) if failure.error.kind() == Kind::AlreadyRunning => Ok(BUSY.to_owned()),
        Err(failure) if failure.error.kind() == Kind::StateStore => Ok(LOST.to_owned()),
        Err(failure) => Err(format!("{failure:?}").into()),
    }
}

/// The store under test.
#[derive(Debug)]
struct Opened(Arc<dyn StateStore>);

#[async_trait]
impl StateStore for Opened {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    async fn acquire(&self, sync: &SyncId) -> Result<Box<dyn StateSession>> {
        self.0.acquire(sync).await
    }
}

/// The service, as the child reaches it.
#[derive(Debug)]
struct Wire {
    address: SocketAddr,
    in_flight: usize,
}

fn lost(error: std::io::Error) -> Error {
    Error::new(Kind::Unavailable, "write", "the service is gone").with_retry(Retry::Ambiguous).with_source(error)
}

fn text(cell: &Cell<'_>) -> Option<String> {
    let mut text = String::new();
    match cell {
        Cell::Set(value) => value.write_text(&mut text).then_some(text),
        _ => None,
    }
}

#[async_trait]
impl Destination for Wire {
    fn kind(&self) -> &'static str {
        "wire"
    }

    fn capability(&self, _: &Target) -> Capability {
        let limits = OperationLimits::new(BATCH_ROWS, WriteIdempotence::ByKey);
        Capability::new()
            .with_operation(Operation::Upsert, limits)
            .with_operation(Operation::Delete, limits.with_addressing(Addressing::ByKey))
            .with_clears_fields()
            .with_keeps_absent_fields()
            .with_per_row_outcomes()
            .with_max_in_flight(self.in_flight)
    }

    fn row_bytes(&self, _: &Target, _: Operation, _: &Rows, _: usize) -> usize {
        0
    }

    async fn check(&self, _: &Target) -> Result<AccountId> {
        Ok(AccountId::new("parent"))
    }

    async fn describe(&self, _: &Target) -> Result<RemoteSchema> {
        let mut fields: Vec<RemoteField> = ["id", "name", "tier"].map(|name| RemoteField::new(name, "text")).into();
        for field in &mut fields {
            field.accepts = vec![AcceptedType::Text];
        }
        fields[0].unique = true;
        Ok(RemoteSchema::new(fields))
    }

    async fn lookup(&self, _: &Context, _: LookupRequest) -> Result<Found> {
        Err(Error::new(Kind::Unsupported, "look up", "the service is only written to"))
    }

    async fn write(&self, _: &Context, batch: WriteBatch) -> Result<Receipt> {
        let mut rows = Vec::with_capacity(batch.len());
        for row in 0..batch.len() {
            let mut key = String::new();
            batch.key_text(row, &mut key)?;
            let fields = batch.rows.cells(row).filter(|(name, cell)| *name != "id" && !matches!(cell, Cell::Absent));
            rows.push(CallRow { key, fields: fields.map(|(name, cell)| (name.to_owned(), text(&cell))).collect() });
        }
        let call = Call { delete: batch.operation == Operation::Delete, rows };
        let body = serde_json::to_vec(&call)
            .map_err(|e| Error::new(Kind::Internal, "write", "the call has no form").with_source(e))?;
        let mut stream = TcpStream::connect(self.address).await.map_err(lost)?;
        stream.write_all(&body).await.map_err(lost)?;
        stream.shutdown().await.map_err(lost)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map_err(lost)?;
        // One letter a row: made, changed, not there.
        let outcome = |letter| match letter {
            'c' => RowOutcome::written(Effect::Created, None),
            'u' => RowOutcome::written(Effect::Updated, None),
            'm' => RowOutcome::Missing,
            _ => RowOutcome::Unknown,
        };
        Ok(Receipt::Settled(answer.chars().map(outcome).collect()))
    }

    async fn resume(&self, _: &Context, _: &WriteBatch, _: JobToken) -> Result<Receipt> {
        Err(Error::new(Kind::Unsupported, "resume", "the service has no jobs"))
    }
}
