//! A service held in memory.

mod behaviour;
mod entries;
mod others;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use async_trait::async_trait;

use self::entries::Entries;
use super::table::{Record, Stored, Table, column};
use crate::capability::{Addressing, Capability, Operation, OperationLimits, WriteIdempotence};
use crate::clock::Clock;
use crate::destination::{
    AcceptedType, Context, Destination, Found, KeyFolding, LookupRequest, Match, Quota, RemoteField, RemoteSchema,
    Target, WriteBatch,
};
use crate::error::{Error, Kind, Result};
use crate::ids::{AccountId, BatchId, FieldName, JobToken, RemoteId};
use crate::outcome::{Receipt, RowOutcome};
use crate::record::{Cell, FieldType, Rows};

/// What goes wrong with one write.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing is applied and the call fails.
    FailBefore(Error),
    /// Everything is applied and the call fails nevertheless.
    FailAfter(Error),
    /// Everything is applied; every outcome is [`RowOutcome::Unknown`].
    UnknownAfter,
    /// Nothing is applied; every outcome is [`RowOutcome::Unknown`].
    UnknownBefore,
    /// Everything is applied, but so many outcomes are missing at the end: a breach of the port's contract.
    DropOutcomes(usize),
    /// Everything is applied, but the call never returns.
    HangAfter,
}

/// One call of [`Destination::write`], as [`MemoryDestination::writes`] lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteCall {
    /// Number of the call, from 1.
    pub number: u64,
    /// The batch's id.
    pub batch: BatchId,
    /// What was asked for.
    pub operation: Operation,
    /// Rows in the batch.
    pub rows: usize,
    /// The engine's attempt.
    pub attempt: u32,
    /// When it arrived, by the destination's clock; zero without a clock.
    pub at: Duration,
}

/// What a record rule says about one row: the key, and the fields that the row sets (`Some`) or clears (`None`).
type Rule = Arc<dyn Fn(&str, &BTreeMap<String, Option<String>>) -> Option<RowOutcome> + Send + Sync>;
type FaultFn = Arc<dyn Fn(u64, &WriteBatch) -> Option<Fault> + Send + Sync>;

/// A service whose records are kept in memory, by folded key. Clones share the records, so that a test keeps one
/// and gives the other away.
///
/// It is strict: rows beyond the limit, keys that fold to the same one, unknown fields and read-only fields are
/// refused with typed errors or outcomes.
///
/// ```
/// # use rsync_core::{destination::Target, memory::MemoryDestination, record::FieldType};
/// let people = Target::new("people", "email");
/// let service = MemoryDestination::new().with_fields(&people, [("name", FieldType::Text)]);
/// assert!(service.records("people").is_empty());
/// ```
#[derive(Clone)]
pub struct MemoryDestination {
    state: Arc<Mutex<State>>,
    capability: Capability,
    account: AccountId,
    jobs: Option<u32>,
    clock: Option<Arc<dyn Clock>>,
    latency: Duration,
    rules: Vec<Rule>,
    fault_fn: Option<FaultFn>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, (RemoteSchema, Table)>,
    next_id: u64,
    writes: Vec<WriteCall>,
    faults: BTreeMap<u64, Fault>,
    jobs: BTreeMap<String, Job>,
    job_overlaps: u64,
    in_flight: usize,
    max_in_flight: usize,
    reads: u64,
    lookups: u64,
    lookup_faults: BTreeMap<u64, Error>,
    /// Objects and folded keys of which look-ups find a second record.
    twins: BTreeSet<(String, String)>,
    quota: Option<Quota>,
    entries: Entries,
}

/// A job: its rows by key, and what became of them.
struct Job {
    polls: u32,
    outcomes: BTreeMap<String, RowOutcome>,
    /// Whether somebody was told its end.
    told: bool,
}

/// Counts a write as in flight, also when its future is dropped.
struct InFlight<'a>(&'a MemoryDestination);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.lock().in_flight -= 1;
    }
}

impl MemoryDestination {
    /// A service without objects that can do everything: 100 rows a call, writes idempotent by key (creates
    /// are not), updates and deletes by key or record id, appends by token without end, memberships by key or record id,
    /// 100 keys a lookup, one outcome a row, 4 calls at once.
    pub fn new() -> Self {
        let by_key = OperationLimits::new(100, WriteIdempotence::ByKey);
        let by_either = by_key.with_addressing(Addressing::ByKeyOrId);
        let capability = Capability::new()
            .with_operation(Operation::Upsert, by_key)
            .with_operation(Operation::Create, OperationLimits::new(100, WriteIdempotence::None))
            .with_operation(Operation::Update, by_either)
            .with_operation(Operation::Delete, by_either)
            .with_operation(Operation::Append, OperationLimits::new(100, WriteIdempotence::ByToken))
            .with_operation(Operation::AddMember, by_either)
            .with_operation(Operation::RemoveMember, by_either)
            .with_lookup(100)
            .with_clears_fields()
            .with_keeps_absent_fields()
            .with_per_row_outcomes()
            .with_max_in_flight(4);
        Self {
            state: Arc::default(),
            capability,
            account: AccountId::new("memory"),
            jobs: None,
            clock: None,
            latency: Duration::ZERO,
            rules: Vec::new(),
            fault_fn: None,
        }
    }

    /// Replaces what it says it can do. Its behaviour follows: without per-row outcomes one bad row refuses the
    /// batch, without keeping absent fields a write empties them, without clearing a clear is rejected.
    #[must_use]
    pub fn with_capability(mut self, capability: Capability) -> Self {
        self.capability = capability;
        self
    }

    /// Sets the account that [`Destination::check`] answers.
    #[must_use]
    pub fn with_account(mut self, account: impl Into<String>) -> Self {
        self.account = AccountId::new(account);
        self
    }

    /// Adds an empty object with this schema; see [`MemoryDestination::create_object`].
    #[must_use]
    pub fn with_object(self, object: impl Into<String>, schema: RemoteSchema) -> Self {
        self.create_object(object, schema);
        self
    }

    /// Adds an empty object whose fields are the target's unique text key and `fields`, each of one type.
    #[must_use]
    pub fn with_fields<'f>(self, target: &Target, fields: impl IntoIterator<Item = (&'f str, FieldType)>) -> Self {
        let mut key = RemoteField::new(target.match_on.clone(), "text");
        key.unique = true;
        let rest = fields.into_iter().map(|(name, ty)| {
            let mut field = RemoteField::new(name, ty.to_string());
            field.accepts = vec![AcceptedType::of(ty)];
            field
        });
        let schema = RemoteSchema::new(std::iter::once(key).chain(rest).collect());
        self.with_object(target.object.clone(), schema)
    }

    /// Writes return a job that is still pending for `polls` calls of [`Destination::resume`]. The job is stored with
    /// [`Context::checkpoint`] before it is made, where the call is part of a run.
    #[must_use]
    pub fn with_jobs(mut self, polls: u32) -> Self {
        self.jobs = Some(polls);
        self
    }

    /// Makes every write and look-up take `latency` on `clock`, whose time also stamps the log of writes.
    #[must_use]
    pub fn with_latency(mut self, clock: Arc<dyn Clock>, latency: Duration) -> Self {
        self.clock = Some(clock);
        self.latency = latency;
        self
    }

    /// Adds a rule that sees the key of each row and its present fields as text (`None` where the row clears
    /// one). The row gets the first outcome that a rule returns, and is not applied.
    #[must_use]
    pub fn with_rule(
        mut self,
        rule: impl Fn(&str, &BTreeMap<String, Option<String>>) -> Option<RowOutcome> + Send + Sync + 'static,
    ) -> Self {
        self.rules.push(Arc::new(rule));
        self
    }

    /// Rows that set `field` to the text `value` are rejected with `code`.
    #[must_use]
    pub fn with_invalid_value(self, field: &str, value: &str, code: &str) -> Self {
        let (field, value, code) = (field.to_owned(), value.to_owned(), code.to_owned());
        self.with_rule(move |_, fields| {
            let hit = fields.get(&field).is_some_and(|cell| cell.as_deref() == Some(value.as_str()));
            hit.then(|| RowOutcome::rejected(code.clone(), Some(FieldName::new(&field)), "mend the value in the model"))
        })
    }

    /// Decides for each write, by its number (from 1) and its batch, what goes wrong. Asked after the faults of
    /// [`MemoryDestination::fail_write`].
    #[must_use]
    pub fn with_faults(mut self, faults: impl Fn(u64, &WriteBatch) -> Option<Fault> + Send + Sync + 'static) -> Self {
        self.fault_fn = Some(Arc::new(faults));
        self
    }

    /// Lets the write with this number (from 1) go wrong, once.
    pub fn fail_write(&self, number: u64, fault: Fault) {
        self.lock().faults.insert(number, fault);
    }

    /// Sets how many calls the account may make and has made. Each write and look-up uses one; none is refused for it.
    pub fn set_quota(&self, used: u64, limit: u64) {
        self.lock().quota = Some(Quota::new(used, limit));
    }

    /// Forgets the faults of [`MemoryDestination::fail_write`] that have not fired.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// Adds an empty object, or empties it and gives it another schema. The schema says which fields exist,
    /// which are writable, what they accept, and how keys fold.
    pub fn create_object(&self, object: impl Into<String>, schema: RemoteSchema) {
        self.lock().objects.insert(object.into(), (schema, Table::new()));
    }

    /// Puts a record of text fields there, as if somebody else had made it, or had changed the record of that key to
    /// these fields. An unknown object is added.
    pub fn insert<'f>(&self, target: &Target, key: &str, fields: impl IntoIterator<Item = (&'f str, &'f str)>) {
        let mut state = self.lock();
        let new_id = state.next_id + 1;
        let (schema, table) = state.objects.entry(target.object.clone()).or_default();
        let mut fields: BTreeMap<String, Stored> =
            fields.into_iter().map(|(name, text)| (name.to_owned(), Stored::Text(text.to_owned()))).collect();
        fields.insert(target.match_on.to_string(), Stored::Text(key.to_owned()));
        let folded = folding(schema, target).folded(key);
        let id = table.get(&folded).map_or(new_id, |record| record.id);
        table.insert(folded, Record { key: key.to_owned(), id, fields, writes: 0 });
        state.next_id = state.next_id.max(id);
    }

    /// All records of `object` by key, with their fields as text. Empty fields are left out.
    pub fn records(&self, object: &str) -> BTreeMap<String, BTreeMap<String, String>> {
        let state = self.lock();
        let table = state.objects.get(object).map(|(_, table)| table);
        table.into_iter().flatten().map(|(_, record)| (record.key.clone(), texts(record))).collect()
    }

    /// The entries that were appended to `object`, oldest first, with their fields as text. Empty fields are left out.
    pub fn entries(&self, object: &str) -> Vec<BTreeMap<String, String>> {
        self.lock().entries.of(object).iter().map(texts).collect()
    }

    /// The tokens of those entries, in the same order; empty for an entry without one.
    pub fn entry_tokens(&self, object: &str) -> Vec<String> {
        self.lock().entries.tokens_of(object)
    }

    /// The folded keys of the members of the audience `object`, whose records are those of the object of the same name.
    pub fn members(&self, object: &str) -> BTreeSet<String> {
        self.lock().entries.members(object).clone()
    }

    /// Takes a record away, as if somebody else had deleted it.
    pub fn remove(&self, target: &Target, key: &str) {
        let mut state = self.lock();
        if let Some((schema, table)) = state.objects.get_mut(&target.object) {
            table.remove(&folding(schema, target).folded(key));
        }
    }

    /// The fields of one record as text; `None` if there is none of this key, after folding.
    pub fn record(&self, target: &Target, key: &str) -> Option<BTreeMap<String, String>> {
        let state = self.lock();
        let (schema, table) = state.objects.get(&target.object)?;
        table.get(&folding(schema, target).folded(key)).map(texts)
    }

    /// How often a row was applied to this record; 0 if there is none.
    pub fn write_count(&self, target: &Target, key: &str) -> u64 {
        let state = self.lock();
        let Some((schema, table)) = state.objects.get(&target.object) else { return 0 };
        table.get(&folding(schema, target).folded(key)).map_or(0, |record| record.writes)
    }

    /// All calls of [`Destination::write`] that reached the service, failed ones too, in order of arrival. Empty
    /// batches and those that broke a promise of the port do not reach it.
    pub fn writes(&self) -> Vec<WriteCall> {
        self.lock().writes.clone()
    }

    /// How many calls of `check`, `describe`, `lookup` and `resume` reached the service.
    pub fn reads(&self) -> u64 {
        self.lock().reads
    }

    /// Jobs whose end nobody was told.
    pub fn open_jobs(&self) -> usize {
        self.lock().jobs.values().filter(|job| !job.told).count()
    }

    /// How often a job was made for a row on which another open job worked.
    pub fn job_overlaps(&self) -> u64 {
        self.lock().job_overlaps
    }

    /// Forgets all jobs, as services do after some days. What they wrote stays.
    pub fn forget_jobs(&self) {
        self.lock().jobs.clear();
    }

    /// Most writes that were ever open at once.
    pub fn max_in_flight(&self) -> usize {
        self.lock().max_in_flight
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take_time(&self) {
        if let Some(clock) = &self.clock
            && !self.latency.is_zero()
        {
            clock.sleep(self.latency).await;
        }
    }

    fn arrive(&self, cx: &Context, batch: &WriteBatch) -> (u64, InFlight<'_>) {
        let at = self.clock.as_ref().map(|clock| clock.monotonic()).unwrap_or_default();
        let mut state = self.lock();
        let number = state.writes.len() as u64 + 1;
        let (operation, rows, attempt) = (batch.operation, batch.len(), cx.attempt);
        state.writes.push(WriteCall { number, batch: batch.id, operation, rows, attempt, at });
        if let Some(quota) = &mut state.quota {
            quota.used += 1;
        }
        state.in_flight += 1;
        state.max_in_flight = state.max_in_flight.max(state.in_flight);
        (number, InFlight(self))
    }
}

fn keys(batch: &WriteBatch) -> Result<Vec<String>> {
    let key = |row| {
        let mut key = String::new();
        batch.key_text(row, &mut key).map(|()| key)
    };
    (0..batch.len()).map(key).collect()
}

/// How the rows of a batch name their records: by key, or by record id.
fn record_names(batch: &WriteBatch) -> Result<Vec<String>> {
    match &batch.ids {
        Some(ids) => Ok(ids.iter().map(|id| id.as_str().to_owned()).collect()),
        None => keys(batch),
    }
}

fn folding(schema: &RemoteSchema, target: &Target) -> KeyFolding {
    schema.field(target.match_on.as_str()).map(|field| field.folding).unwrap_or_default()
}

fn no_object(target: &Target) -> Error {
    Error::new(Kind::NotFound, "address the object", "the service has no such object")
        .with_context("object", &target.object)
        .with_remedy("check the spelling of the object")
}

fn texts(record: &Record) -> BTreeMap<String, String> {
    let text = |(name, stored): (&String, &Stored)| Some((name.clone(), stored.text()?));
    record.fields.iter().filter_map(text).collect()
}

impl Default for MemoryDestination {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        let records: usize = state.objects.values().map(|(_, table)| table.len()).sum();
        f.debug_struct("MemoryDestination")
            .field("account", &self.account)
            .field("objects", &state.objects.len())
            .field("records", &records)
            .field("writes", &state.writes.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Destination for MemoryDestination {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn capability(&self, _target: &Target) -> Capability {
        self.capability
    }

    fn row_bytes(&self, _target: &Target, _operation: Operation, rows: &Rows, row: usize) -> usize {
        let text = |cell| match cell {
            Cell::Set(value) => Stored::new(&value).text().map_or(0, |text| text.len()),
            Cell::Clear | Cell::Absent => 0,
        };
        rows.cells(row).map(|(name, cell)| name.len() + text(cell)).sum()
    }

    async fn check(&self, target: &Target) -> Result<AccountId> {
        let mut state = self.lock();
        state.reads += 1;
        if state.objects.contains_key(&target.object) { Ok(self.account.clone()) } else { Err(no_object(target)) }
    }

    async fn describe(&self, target: &Target) -> Result<RemoteSchema> {
        let mut state = self.lock();
        state.reads += 1;
        state.objects.get(&target.object).map(|(schema, _)| schema.clone()).ok_or_else(|| no_object(target))
    }

    async fn lookup(&self, _cx: &Context, request: LookupRequest) -> Result<Found> {
        let Some(limit) = self.capability.lookup_rows else {
            return Err(Error::new(Kind::Unsupported, "look up", "records of this destination cannot be read"));
        };
        if request.keys.len() > limit {
            return Err(Error::new(Kind::Internal, "look up", "more keys than the limit of a lookup")
                .with_context("keys", request.keys.len())
                .with_context("limit", limit));
        }
        let number = {
            let mut state = self.lock();
            state.reads += 1;
            state.lookups += 1;
            if let Some(quota) = &mut state.quota {
                quota.used += 1;
            }
            state.lookups
        };
        self.take_time().await;
        let mut state = self.lock();
        if let Some(error) = state.lookup_faults.remove(&number) {
            return Err(error);
        }
        let (schema, table) = state.objects.get(&request.target.object).ok_or_else(|| no_object(&request.target))?;
        let folding = folding(schema, &request.target);
        let keys = request.keys.column_of(request.target.match_on.as_str()).ok_or_else(|| {
            Error::new(Kind::Internal, "look up", "the keys lack the key field")
                .with_context("field", &request.target.match_on)
        })?;
        let mut matches = Vec::new();
        let mut records = Vec::new();
        for row in 0..request.keys.len() {
            let Cell::Set(value) = keys.cell(row) else { continue };
            let Some(text) = Stored::new(&value).text() else { continue };
            if let Some(record) = table.get(&folding.folded(&text)) {
                matches.push(Match { key: row, id: RemoteId::new(record.id.to_string()) });
                records.push(record);
                if state.twins.contains(&(request.target.object.clone(), folding.folded(&text))) {
                    matches.push(Match { key: row, id: RemoteId::new(format!("{}-twin", record.id)) });
                    records.push(record);
                }
            }
        }
        let mut fields = Vec::with_capacity(request.fields.len());
        let mut columns = Vec::with_capacity(request.fields.len());
        for (name, ty) in &request.fields {
            let values: Vec<Option<&Stored>> = records.iter().map(|record| record.fields.get(name.as_str())).collect();
            fields.push(Field::new(name.as_str(), ty.arrow(), true));
            columns.push(column(name.as_str(), *ty, &values)?);
        }
        // The row count is given, since a lookup of no fields has rows too.
        let options = RecordBatchOptions::new().with_row_count(Some(matches.len()));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
            .map_err(|e| Error::new(Kind::Internal, "look up", "the answer is no batch").with_source(e))?;
        Ok(Found { matches, fields: Rows::new(batch)? })
    }

    async fn write(&self, cx: &Context, batch: WriteBatch) -> Result<Receipt> {
        let keys = record_names(&batch)?;
        let folding = self
            .lock()
            .objects
            .get(&batch.target.object)
            .map(|(schema, _)| folding(schema, &batch.target))
            .ok_or_else(|| no_object(&batch.target))?;
        self.check_promises(&batch, &keys, folding)?;
        if batch.is_empty() {
            return Ok(Receipt::Settled(Vec::new()));
        }

        let (number, _in_flight) = self.arrive(cx, &batch);
        self.take_time().await;
        let planned = self.lock().faults.remove(&number);
        let fault = planned.or_else(|| self.fault_fn.as_ref().and_then(|faults| faults(number, &batch)));
        match fault {
            Some(Fault::FailBefore(error)) => return Err(error),
            Some(Fault::UnknownBefore) => return Ok(Receipt::Settled(vec![RowOutcome::Unknown; batch.len()])),
            _ => {}
        }
        let token = JobToken::new(format!("job-{number}"));
        if self.jobs.is_some() {
            match cx.checkpoint(token.clone()).await {
                Err(error) if error.kind() != Kind::Unsupported => return Err(error),
                _ => {}
            }
        }
        let mut outcomes = self.apply(&batch, &keys)?;
        if let Some(polls) = self.jobs {
            let mut state = self.lock();
            let overlaps = |job: &Job| !job.told && keys.iter().any(|key| job.outcomes.contains_key(key));
            state.job_overlaps += u64::from(state.jobs.values().any(overlaps));
            let outcomes = keys.iter().cloned().zip(outcomes.clone()).collect();
            state.jobs.insert(token.as_str().to_owned(), Job { polls, outcomes, told: false });
        }
        match fault {
            Some(Fault::FailAfter(error)) => return Err(error),
            Some(Fault::UnknownAfter) => outcomes.fill(RowOutcome::Unknown),
            Some(Fault::DropOutcomes(missing)) => outcomes.truncate(outcomes.len().saturating_sub(missing)),
            Some(Fault::HangAfter) => futures::future::pending().await,
            _ => {}
        }
        Ok(if self.jobs.is_some() { Receipt::Pending(token) } else { Receipt::Settled(outcomes) })
    }

    async fn resume(&self, _cx: &Context, batch: &WriteBatch, job: JobToken) -> Result<Receipt> {
        let keys = record_names(batch)?;
        let mut state = self.lock();
        state.reads += 1;
        match state.jobs.get_mut(job.as_str()) {
            None => Err(Error::new(Kind::NotFound, "resume a job", "the service knows no such job")),
            Some(known) if known.polls == 0 => {
                known.told = true;
                let outcome = |key| known.outcomes.get(key).cloned().unwrap_or(RowOutcome::Unknown);
                Ok(Receipt::Settled(keys.iter().map(outcome).collect()))
            }
            Some(known) => {
                known.polls -= 1;
                Ok(Receipt::Pending(job))
            }
        }
    }

    fn quota(&self) -> Option<Quota> {
        self.lock().quota
    }
}

#[cfg(test)]
mod tests;
