//! The adapter under test on its bench: calls as the engine makes them, every answer put on record.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::buffer::BooleanBuffer;
use async_trait::async_trait;
use rsync_core::capability::{Operation, OperationLimits, WriteIdempotence};
use rsync_core::clock::{Clock, SystemClock};
use rsync_core::destination::{
    Checkpoint, Context, Found, KeyFolding, LookupRequest, RemoteSchema, Target, WriteBatch,
};
use rsync_core::ids::{BatchId, FieldName, JobToken, RemoteId, RunId, Token};
use rsync_core::outcome::{Receipt, RowOutcome};
use rsync_core::record::{FieldType, Rows};
use rsync_core::{Capability, Destination, Error};

use super::harness::{Harness, Record, RequestCounts, RequestKind, SampleFields, ServiceFault, ServiceFaults};
use super::sheet::{Datum, Sheet, same};
use crate::suite::Evidence;

/// Longest wait for a job, in polls of [`JOB_POLL`].
const JOB_POLLS: u32 = 600;
const JOB_POLL: Duration = Duration::from_millis(50);

pub(super) use crate::suite::{CaseResult, Stop, ensure};

/// Whether the records of a write exist already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    New,
    Existing,
}

/// One case's view of the adapter, the service and its target.
pub(super) struct Bench<'h> {
    pub(super) harness: &'h dyn Harness,
    pub(super) destination: Arc<dyn Destination>,
    pub(super) target: Target,
    pub(super) evidence: &'h Evidence,
    /// Part of every key and text that the suite writes: the canary.
    marker: String,
    next_batch: AtomicU64,
}

impl<'h> Bench<'h> {
    pub(super) fn new(harness: &'h dyn Harness, target: Target, evidence: &'h Evidence, marker: String) -> Self {
        let destination = harness.destination();
        Self { harness, destination, target, evidence, marker, next_batch: AtomicU64::new(1) }
    }

    /// A key of this case.
    pub(super) fn key(&self, name: impl std::fmt::Display) -> String {
        self.harness.key(&format!("{}-{name}", self.marker))
    }

    /// A text value of this case.
    pub(super) fn text(&self, name: impl std::fmt::Display) -> Datum {
        Datum::Text(format!("{} value {name}", self.marker))
    }

    pub(super) fn capability(&self) -> Capability {
        self.destination.capability(&self.target)
    }

    pub(super) fn fields(&self) -> SampleFields {
        self.harness.fields()
    }

    /// The limits of `operation` by key, if the destination has it.
    pub(super) fn limits(&self, operation: Operation) -> Result<OperationLimits, Stop> {
        match self.by_key(operation) {
            Some(limits) => Ok(limits),
            None => Stop::not_applicable(format!("the destination does not {} by key", operation.as_str())),
        }
    }

    /// The limits of `operation` by record id, if the destination has it.
    pub(super) fn limits_by_id(&self, operation: Operation) -> Result<OperationLimits, Stop> {
        match self.capability().limits(operation).filter(|limits| limits.addressing.takes_ids()) {
            Some(limits) => Ok(limits),
            None => Stop::not_applicable(format!("the destination does not {} by record id", operation.as_str())),
        }
    }

    fn by_key(&self, operation: Operation) -> Option<OperationLimits> {
        self.capability().limits(operation).filter(|limits| limits.addressing.takes_keys())
    }

    /// The operation that writes records of this stage.
    pub(super) fn operation(&self, stage: Stage) -> Result<Operation, Stop> {
        let other = match stage {
            Stage::New => Operation::Create,
            Stage::Existing => Operation::Update,
        };
        let found = [Operation::Upsert, other].into_iter().find(|operation| self.by_key(*operation).is_some());
        found.map_or_else(|| Stop::not_applicable(format!("the destination does not {}", other.as_str())), Ok)
    }

    /// `wanted` rows, or as many as one call takes.
    pub(super) fn rows_for(&self, stage: Stage, wanted: usize) -> Result<usize, Stop> {
        Ok(wanted.min(self.limits(self.operation(stage)?)?.max_rows))
    }

    /// A sheet with the sample text field.
    pub(super) fn text_sheet(&self) -> Sheet {
        Sheet::new(&self.target, vec![(self.fields().text, FieldType::Text)])
    }

    /// A sheet of `count` rows with a text each: keys and cells.
    pub(super) fn sample(&self, prefix: &str, count: usize) -> (Sheet, Vec<(String, Datum)>) {
        let mut sheet = self.text_sheet();
        let mut expected = Vec::with_capacity(count);
        for i in 0..count {
            let (key, cell) = (self.key(format!("{prefix}{i}")), self.text(format!("{prefix}{i}")));
            sheet.push(key.clone(), vec![cell.clone()]);
            expected.push((key, cell));
        }
        (sheet, expected)
    }

    pub(super) fn context(&self) -> Context {
        Context::new(RunId(1)).with_checkpoint(Arc::new(NoCheckpoints))
    }

    pub(super) fn batch(&self, operation: Operation, rows: Rows) -> Result<WriteBatch, Stop> {
        let id = BatchId(u128::from(self.next_batch.fetch_add(1, Ordering::Relaxed)));
        let idempotence = self.capability().limits(operation).map(|limits| limits.idempotence);
        let batch = WriteBatch::new(id, operation, self.target.clone(), rows)?;
        if operation != Operation::Append && idempotence != Some(WriteIdempotence::ByToken) {
            return Ok(batch);
        }
        let tokens = (0..batch.len()).map(|row| self.token(id, row)).collect();
        Ok(batch.with_tokens(tokens)?)
    }

    /// A token as the engine makes them: a hash, of which nothing can be read.
    fn token(&self, batch: BatchId, row: usize) -> Token {
        let mut hasher = DefaultHasher::new();
        (&self.marker, batch.0, row).hash(&mut hasher);
        Token::new(format!("{:032x}", u128::from(hasher.finish()) << 32 | row as u128))
    }

    /// Sends a batch with the adapter under test.
    pub(super) async fn send(&self, batch: WriteBatch) -> Result<Result<Vec<RowOutcome>, Error>, Stop> {
        self.send_by(&*self.destination, batch).await
    }

    /// Sends a batch, waits for its job if it becomes one, and puts the answer on record.
    pub(super) async fn send_by(
        &self,
        destination: &dyn Destination,
        batch: WriteBatch,
    ) -> Result<Result<Vec<RowOutcome>, Error>, Stop> {
        let rows = batch.len();
        let mut answer = destination.write(&self.context(), batch.clone()).await;
        let clock = SystemClock::new();
        for _ in 0..JOB_POLLS {
            self.record("a write", &answer);
            match answer {
                Ok(Receipt::Pending(job)) => {
                    clock.sleep(JOB_POLL).await;
                    answer = destination.resume(&self.context(), &batch, job).await;
                }
                Ok(Receipt::Settled(outcomes)) => {
                    ensure!(outcomes.len() == rows, "{} outcomes for {rows} rows", outcomes.len());
                    return Ok(Ok(outcomes));
                }
                Ok(_) => return Stop::failed("a receipt of a kind that the suite does not know"),
                Err(error) => return Ok(Err(error)),
            }
        }
        Stop::failed("a job did not end")
    }

    /// Writes rows and gives back whatever comes.
    pub(super) async fn write(
        &self,
        operation: Operation,
        sheet: &Sheet,
    ) -> Result<Result<Vec<RowOutcome>, Error>, Stop> {
        self.send(self.batch(operation, sheet.rows()?)?).await
    }

    /// Writes rows to the records with these ids: the rows carry no key.
    pub(super) async fn write_by_id(
        &self,
        operation: Operation,
        sheet: &Sheet,
        ids: Vec<RemoteId>,
    ) -> Result<Result<Vec<RowOutcome>, Error>, Stop> {
        let rows = sheet.rows()?;
        let key = rows.schema().index_of(self.target.match_on.as_str());
        let key = key.map_err(|_| Stop::Failed("the sheet has no key column".into()))?;
        let rows = rows.clone().with_presence(key, BooleanBuffer::new_unset(rows.len()));
        self.send(self.batch(operation, rows)?.with_ids(ids)?).await
    }

    /// Writes rows that must all be written.
    pub(super) async fn put(&self, stage: Stage, sheet: &Sheet) -> Result<Vec<RowOutcome>, Stop> {
        let outcomes = self.write(self.operation(stage)?, sheet).await??;
        all_written(&outcomes)?;
        Ok(outcomes)
    }

    /// Looks up keys, reading `fields`, and puts the answer on record.
    pub(super) async fn look_up(
        &self,
        keys: &[String],
        fields: Vec<(FieldName, FieldType)>,
    ) -> Result<Result<Found, Error>, Stop> {
        let mut sheet = Sheet::new(&self.target, Vec::new());
        for key in keys {
            sheet.push(key, Vec::new());
        }
        let request = LookupRequest::new(self.target.clone(), sheet.rows()?, fields);
        let answer = self.destination.lookup(&self.context(), request).await;
        self.record("a lookup", &answer);
        if let Ok(found) = &answer {
            ensure!(
                found.fields.len() == found.matches.len(),
                "{} rows of fields for {} matches",
                found.fields.len(),
                found.matches.len()
            );
            ensure!(found.matches.iter().all(|m| m.key < keys.len()), "a match for a key that nobody asked for");
        }
        Ok(answer)
    }

    pub(super) async fn describe(&self) -> Result<RemoteSchema, Stop> {
        let answer = self.destination.describe(&self.target).await;
        self.record("a description", &answer);
        Ok(answer?)
    }

    /// How the key field compares.
    pub(super) async fn folding(&self) -> Result<KeyFolding, Stop> {
        let schema = self.describe().await?;
        match schema.field(self.target.match_on.as_str()) {
            Some(field) => Ok(field.folding),
            None => Stop::failed("the description lacks the key field"),
        }
    }

    /// Puts an answer on record.
    pub(super) fn record<T: Debug>(&self, what: &str, answer: &Result<T, Error>) {
        match answer {
            Ok(answer) => self.evidence.search_debug(&format!("the answer to {what}"), answer),
            Err(error) => self.evidence.search_error(&format!("the error of {what}"), error),
        }
    }

    /// What the service holds under `key`.
    pub(super) async fn stored(&self, key: &str) -> Result<Option<Record>, Stop> {
        Ok(self.harness.read_back(&self.target, key).await?)
    }

    /// What the service holds in the sample text field under `key`.
    pub(super) async fn stored_text(&self, key: &str) -> Result<Option<String>, Stop> {
        let text = self.fields().text;
        Ok(self.stored(key).await?.and_then(|mut record| record.remove(text.as_str())))
    }

    /// Fails unless the service holds exactly `cell` in `field` under `key`.
    pub(super) async fn expect_stored(&self, key: &str, field: &FieldName, cell: &Datum) -> Result<(), Stop> {
        let Some(record) = self.stored(key).await? else {
            return Stop::failed(format!("no record {key:?} where {cell:?} was written"));
        };
        let stored = record.get(field.as_str()).map(String::as_str);
        ensure!(
            same(cell, stored, self.harness.quirks()),
            "`{field}` was written as {cell:?} and is stored as {stored:?}"
        );
        Ok(())
    }

    /// Fails unless every sample row is stored.
    pub(super) async fn expect_all(&self, expected: &[(String, Datum)]) -> Result<(), Stop> {
        for (key, cell) in expected {
            self.expect_stored(key, &self.fields().text, cell).await?;
        }
        Ok(())
    }

    /// Keys and sample texts of all records.
    pub(super) async fn snapshot(&self) -> Result<BTreeMap<String, Option<String>>, Stop> {
        let mut records = BTreeMap::new();
        for key in self.harness.list(&self.target).await? {
            let text = self.stored_text(&key).await?;
            records.insert(key, text);
        }
        Ok(records)
    }

    pub(super) async fn requests(&self) -> Result<RequestCounts, Stop> {
        Ok(self.harness.requests().await?)
    }

    /// Arms a fault, or ends the case where the harness cannot.
    pub(super) async fn arm(
        &self,
        fault: &ServiceFault,
        on: RequestKind,
        times: u64,
    ) -> Result<&dyn ServiceFaults, Stop> {
        let Some(faults) = self.harness.faults() else {
            return Stop::not_applicable("the harness cannot make the service fail");
        };
        if !faults.arm(fault, on, times).await? {
            return Stop::not_applicable(format!("the harness cannot make the service fail so: {fault:?}"));
        }
        Ok(faults)
    }

    /// Takes the armed fault away, and fails if it never happened: then it proved nothing.
    pub(super) async fn disarm(&self, faults: &dyn ServiceFaults) -> Result<(), Stop> {
        let fired = faults.fired().await?;
        faults.disarm().await?;
        ensure!(fired > 0, "the harness armed a fault that never happened");
        Ok(())
    }
}

/// Fails unless every row was written.
pub(super) fn all_written(outcomes: &[RowOutcome]) -> Result<(), Stop> {
    match outcomes.iter().enumerate().find(|(_, outcome)| !is_written(outcome)) {
        Some((row, outcome)) => Stop::failed(format!("row {row} of {} was not written: {outcome:?}", outcomes.len())),
        None => Ok(()),
    }
}

pub(super) fn is_written(outcome: &RowOutcome) -> bool {
    matches!(outcome, RowOutcome::Written { .. } | RowOutcome::Unchanged)
}

pub(super) fn is_rejected(outcome: &RowOutcome) -> bool {
    matches!(outcome, RowOutcome::Rejected { .. })
}

/// The ids of records that were just written.
pub(super) fn ids_of(outcomes: &[RowOutcome]) -> Result<Vec<RemoteId>, Stop> {
    let id = |outcome: &RowOutcome| match outcome {
        RowOutcome::Written { remote_id, .. } => remote_id.clone(),
        _ => None,
    };
    match outcomes.iter().map(id).collect() {
        Some(ids) => Ok(ids),
        None => Stop::failed("an operation goes by record id, and a write does not tell the ids of its records"),
    }
}

/// Job phases are of no interest here: the suite does not crash.
#[derive(Debug)]
struct NoCheckpoints;

#[async_trait]
impl Checkpoint for NoCheckpoints {
    async fn checkpoint(&self, _token: JobToken) -> Result<(), Error> {
        Ok(())
    }
}
