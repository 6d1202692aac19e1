//! What must hold, whatever goes wrong.
//!
//! The oracle knows the truth: what the source says, what the service holds, and what the durable state claims, which
//! it reads from every commit. The invariants are named as in the fault matrix: I1 no loss, I2 no wrong key, I3 the
//! state is never ahead, I4 no second application, I5 one outcome a row, I6 no delete, I7 bounded calls, I8 bounded
//! traffic, I9 order per key, I10 no value in a text, I11 every run ends, I12 the state opens.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use rsync_core::Capability;
use rsync_core::capability::{Operation, WriteIdempotence};
use rsync_core::destination::{Context, WriteBatch};
use rsync_core::ids::BatchId;
use rsync_core::report::Totals;
use rsync_core::state::codec::{Ack, Intent, RunRecord, Status, read_sequence_key};
use rsync_core::state::{Mutation, Table};

use super::history::{Row, Version};
use super::keys::Keys;

/// Attempts at the same rows in one run that the default policy allows.
const MAX_ATTEMPTS: u32 = 5;
/// Share of the quota that a run may use, in percent, by default.
const QUOTA_SHARE: u64 = 80;

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Which: `I1` to `I12`.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// A record at the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Record {
    pub(super) name: Option<String>,
    pub(super) tier: Option<String>,
}

pub(super) type Records = BTreeMap<String, Record>;

/// A field of a row that arrives at the service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Field {
    Set(String),
    Clear,
    Absent,
}

/// A row that arrives at the service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sent {
    pub(super) key: String,
    pub(super) name: Field,
    pub(super) tier: Field,
}

/// What the durable state claims of a key.
#[derive(Clone, Debug)]
struct Claim {
    standing: Status,
    /// The row of the latest intent.
    row: Row,
    /// The row that was synced last.
    acknowledged: Option<Row>,
}

/// What happened in one run.
#[derive(Debug, Default)]
struct Log {
    in_flight: BTreeSet<String>,
    open_calls: usize,
    calls: Vec<Duration>,
    sent: BTreeMap<String, u32>,
    written: BTreeSet<String>,
    not_before: BTreeMap<String, Duration>,
    ids: HashMap<Vec<Sent>, BatchId>,
    split: bool,
    over: Option<&'static str>,
}

#[derive(Debug, Default)]
pub(super) struct Oracle {
    violation: Option<Violation>,
    claims: BTreeMap<String, Claim>,
    intents: BTreeMap<u64, Vec<(String, Row)>>,
    refused: BTreeMap<String, Row>,
    /// Whether the state says that the last run has begun and not ended.
    open_run: bool,
    /// Jobs that the state remembers.
    jobs: BTreeSet<Vec<u8>>,
    /// Keys with a call whose fate the engine cannot know.
    uncertain: BTreeSet<String>,
    log: Log,
}

fn holds(row: &Row, record: Option<&Record>) -> bool {
    // A null name is kept back, so it says nothing about the record.
    record.is_some_and(|record| record.tier == row.tier && (row.name.is_none() || record.name == row.name))
}

impl Oracle {
    pub(super) fn violate(&mut self, invariant: &'static str, what: String) {
        self.violation.get_or_insert(Violation { invariant, what });
    }

    pub(super) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub(super) fn begin_run(&mut self) {
        self.log = Log::default();
    }

    /// Whether the last run never ended, as far as the state knows.
    pub(super) fn has_open_run(&self) -> bool {
        self.open_run
    }

    pub(super) fn calls(&self) -> usize {
        self.log.calls.len()
    }

    /// Takes a commit that is durable now.
    pub(super) fn committed(&mut self, mutations: &[Mutation], version: &Version, records: &Records, keys: &Keys) {
        let mut touched = BTreeSet::new();
        for mutation in mutations {
            let Mutation::Put { table, key, value } = mutation else {
                if let Mutation::Delete { table: Table::Jobs, key } = mutation {
                    self.jobs.remove(key);
                }
                continue;
            };
            let done = match table {
                Table::Intents => self.intended(key, value, version, keys, &mut touched),
                Table::Acks => self.acknowledged(key, value, &mut touched),
                Table::Runs => RunRecord::decode(value).map(|run| self.open_run = run.ended_ms == 0),
                Table::Jobs => {
                    self.jobs.insert(key.clone());
                    Ok(())
                }
                _ => Ok(()),
            };
            if let Err(error) = done {
                self.violate("I12", format!("a committed record cannot be read: {error}"));
            }
        }
        for key in &touched {
            self.check_claim(key, records);
        }
    }

    fn intended(
        &mut self,
        sequence: &[u8],
        value: &[u8],
        version: &Version,
        keys: &Keys,
        touched: &mut BTreeSet<String>,
    ) -> rsync_core::Result<()> {
        let intent = Intent::decode(value)?;
        let mut rows = Vec::with_capacity(intent.keys.len());
        for hash in &intent.keys {
            let key = keys.get(hash).cloned().unwrap_or_default();
            let Some(row) = version.syncable.get(&key) else {
                self.violate("I2", format!("a write is intended for \"{key}\", which no single row of the model has"));
                continue;
            };
            let before = self.claims.get(&key).cloned();
            if intent.operation != 0 && before.as_ref().is_some_and(|c| c.standing == Status::Synced && c.row == *row) {
                self.violate("I8", format!("\"{key}\" is sent although nothing has changed"));
            }
            let acknowledged = before.and_then(|claim| claim.acknowledged);
            self.claims.insert(key.clone(), Claim { standing: Status::InDoubt, row: row.clone(), acknowledged });
            touched.insert(key.clone());
            rows.push((key, row.clone()));
        }
        self.intents.insert(read_sequence_key(sequence)?, rows);
        Ok(())
    }

    fn acknowledged(
        &mut self,
        sequence: &[u8],
        value: &[u8],
        touched: &mut BTreeSet<String>,
    ) -> rsync_core::Result<()> {
        let ack = Ack::decode(value)?;
        let rows = self.intents.get(&read_sequence_key(sequence)?).cloned().unwrap_or_default();
        if rows.len() != ack.status.len() {
            self.violate("I12", "an acknowledgement does not fit its intent".into());
        }
        for ((key, row), status) in rows.into_iter().zip(ack.status) {
            if status == Status::Rejected && self.refused.get(&key) != Some(&row) {
                self.violate("I5", format!("\"{key}\" is parked as refused, but the service never refused it"));
            }
            let before = self.claims.get(&key).and_then(|claim| claim.acknowledged.clone());
            let acknowledged = if status == Status::Synced { Some(row.clone()) } else { before };
            touched.insert(key.clone());
            self.claims.insert(key, Claim { standing: status, row, acknowledged });
        }
        Ok(())
    }

    /// The state may not claim what the service does not hold.
    fn check_claim(&mut self, key: &str, records: &Records) {
        let Some(claim) = self.claims.get(key) else { return };
        let record = records.get(key);
        let (true_claim, said) = match claim.standing {
            Status::Synced => (holds(&claim.row, record), "is synced"),
            Status::Failed | Status::Rejected => match &claim.acknowledged {
                Some(row) => (holds(row, record), "is as it was acknowledged before"),
                None => (record.is_none(), "was never written"),
            },
            _ => return,
        };
        if !true_claim {
            let what = format!("the state says that \"{key}\" {said}: {claim:?}, but the service has {record:?}");
            self.violate("I3", what);
        }
    }

    /// Checks all claims, when nothing is in the air.
    pub(super) fn check_at_rest(&mut self, records: &Records) {
        for key in self.claims.keys().cloned().collect::<Vec<_>>() {
            self.check_claim(&key, records);
        }
    }

    /// Takes a call that reaches the service.
    pub(super) fn arrived(
        &mut self,
        cx: &Context,
        batch: &WriteBatch,
        rows: &[Sent],
        version: &Version,
        capability: &Capability,
        now: Duration,
    ) {
        if batch.operation == Operation::Delete {
            self.violate("I6", "a record is deleted, but no policy says so".into());
        }
        let limits = capability.limits(batch.operation);
        if !limits.is_some_and(|limits| (1..=limits.max_rows).contains(&rows.len())) {
            self.violate("I7", format!("a call has {} rows", rows.len()));
        }
        if cx.attempt > MAX_ATTEMPTS {
            self.violate("I8", format!("attempt {} at the same rows", cx.attempt));
        }
        if let Some(over) = self.log.over {
            self.violate("I8", format!("a call is made after {over}"));
        }
        self.log.open_calls += 1;
        if self.log.open_calls > capability.max_in_flight {
            self.violate("I7", format!("{} calls are open", self.log.open_calls));
        }
        self.log.calls.push(now);
        if let Some(rate) = capability.rate
            && let Some(first) = self.log.calls.len().checked_sub(1 + rate.requests as usize)
            && now - self.log.calls[first] < rate.per
        {
            self.violate("I8", format!("{} calls within {:?}", rate.requests + 1, now - self.log.calls[first]));
        }
        let id = *self.log.ids.entry(rows.to_vec()).or_insert(batch.id);
        if id != batch.id {
            self.violate("I4", "the same rows come with another batch id in another attempt".into());
        }
        let by_key = limits.is_some_and(|limits| limits.idempotence != WriteIdempotence::None);
        for row in rows {
            self.row_arrived(row, version, by_key, now);
        }
    }

    fn row_arrived(&mut self, row: &Sent, version: &Version, by_key: bool, now: Duration) {
        let key = &row.key;
        match version.syncable.get(key) {
            None => self.violate("I2", format!("\"{key}\" is written, which no single row of the model has")),
            Some(expected) => {
                let fits = |field: &Field, value: &Option<String>, clears: bool| match field {
                    Field::Set(text) => value.as_ref() == Some(text),
                    Field::Clear => clears && value.is_none(),
                    Field::Absent => true,
                };
                if !fits(&row.name, &expected.name, false) || !fits(&row.tier, &expected.tier, true) {
                    self.violate("I2", format!("{row:?} is written, but the model says {expected:?}"));
                }
                let claim = self.claims.get(key);
                if claim.is_none_or(|claim| claim.standing != Status::InDoubt || claim.row != *expected) {
                    self.violate("I3", format!("\"{key}\" is sent before its intent is durable: {claim:?}"));
                }
            }
        }
        if !self.log.in_flight.insert(key.clone()) {
            self.violate("I9", format!("two calls with \"{key}\" are open"));
        }
        if !by_key && self.uncertain.contains(key) {
            self.violate("I4", format!("\"{key}\" may have been applied and is sent again, which would act twice"));
        }
        if let Some(not_before) = self.log.not_before.get(key).filter(|not_before| now < **not_before) {
            self.violate("I8", format!("\"{key}\" is sent at {now:?}, the service said not before {not_before:?}"));
        }
        let times = self.log.sent.entry(key.clone()).or_default();
        *times += 1;
        // Each halving gives the halves attempts of their own; batches are of 6 rows at most.
        let most = if self.log.split { 4 * MAX_ATTEMPTS } else { MAX_ATTEMPTS };
        if *times > most {
            let what = format!("\"{key}\" is sent {times} times in one run");
            self.violate("I8", what);
        }
    }

    /// Takes that the quota stood at `used` of `limit` when rows were sent.
    pub(super) fn quota_used(&mut self, used: u64, limit: u64, rows: &[Sent]) {
        // What was begun goes on, attempt by attempt.
        let begun = rows.iter().any(|row| self.log.sent.get(&row.key).is_some_and(|times| *times > 1));
        if !begun && used * 100 >= limit * QUOTA_SHARE {
            self.violate("I8", format!("a call is begun although {used} of {limit} calls are used"));
        }
    }

    /// The call with these rows is over, with or without an answer.
    pub(super) fn left(&mut self, rows: &[Sent]) {
        self.log.open_calls = self.log.open_calls.saturating_sub(1);
        for row in rows {
            self.log.in_flight.remove(&row.key);
        }
    }

    pub(super) fn is_uncertain(&mut self, key: &str) {
        self.uncertain.insert(key.to_owned());
    }

    /// The service refuses the row by itself.
    pub(super) fn is_refused(&mut self, key: &str, version: &Version) {
        if let Some(row) = version.syncable.get(key) {
            self.refused.insert(key.to_owned(), row.clone());
        }
    }

    pub(super) fn is_written(&mut self, key: &str) {
        self.log.written.insert(key.to_owned());
    }

    pub(super) fn is_split(&mut self) {
        self.log.split = true;
    }

    pub(super) fn must_wait(&mut self, key: &str, until: Duration) {
        self.log.not_before.insert(key.to_owned(), until);
    }

    /// No call may be begun any more in this run.
    pub(super) fn is_over(&mut self, why: &'static str) {
        self.log.over = Some(why);
    }

    /// Checks the books of a run. `sure` says whether the state took everything that was answered.
    pub(super) fn check_totals(&mut self, totals: &Totals, version: &Version, sure: bool) {
        if !totals.balance() {
            self.violate("I5", format!("the report does not balance: {totals:?}"));
        }
        let distinct = version.rows - version.null_keys - version.duplicates;
        let truth = (version.rows, version.null_keys, version.duplicates, distinct);
        let told = (totals.source_rows, totals.null_keys, totals.duplicates, totals.distinct);
        if truth != told {
            self.violate(
                "I5",
                format!("rows, null keys, duplicates, distinct are {truth:?}, the report says {told:?}"),
            );
        }
        if sure && totals.written != self.log.written.len() as u64 {
            let what = format!("{} rows were written, the report says {}", self.log.written.len(), totals.written);
            self.violate("I5", what);
        }
    }

    /// Nothing of the model may be in what people read.
    pub(super) fn check_text(&mut self, text: &str) {
        if ["name-", "tier-"].iter().any(|value| text.contains(value)) {
            self.violate("I10", format!("a value of the model is in a text: {text}"));
        }
    }

    /// When all is done, nothing may be left to wait for.
    pub(super) fn check_jobs(&mut self) {
        if !self.jobs.is_empty() {
            self.violate("I7", format!("{} jobs are remembered that nobody asks after", self.jobs.len()));
        }
    }

    /// The first row that should be at the service and is not.
    pub(super) fn missing(&self, version: &Version, records: &Records, capability: &Capability) -> Option<String> {
        let by_key =
            capability.limits(Operation::Upsert).is_some_and(|limits| limits.idempotence != WriteIdempotence::None);
        let excused = |key: &String, row: &Row| {
            self.refused.get(key) == Some(row)
                || (!by_key && self.claims.get(key).is_some_and(|claim| claim.standing == Status::InDoubt))
        };
        version
            .syncable
            .iter()
            .find(|(key, row)| !holds(row, records.get(*key)) && !excused(key, row))
            .map(|(key, row)| format!("\"{key}\" should be {row:?}, the service has {:?}", records.get(key)))
    }
}
