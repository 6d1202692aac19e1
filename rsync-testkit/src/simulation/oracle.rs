//! What must hold, whatever goes wrong.
//!
//! The oracle knows the truth: what the source says, what the service holds, and what the durable state claims, which
//! it reads from every commit. The invariants are named as in the fault matrix: I1 no loss, I2 no wrong key, I3 the
//! state is never ahead, I4 no second application, I5 one outcome a row, I6 nothing is disposed of
//! without need, I7 bounded calls, I8 bounded
//! traffic, I9 order per key, I10 no value in a text, I11 every run ends, I12 the state opens.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use rsync_core::capability::{Operation, WriteIdempotence};
use rsync_core::destination::{Context, WriteBatch};
use rsync_core::ids::BatchId;
use rsync_core::report::Totals;
use rsync_core::state::Mutation;
use rsync_core::state::codec::Status;
use rsync_core::{Capability, Scope};

use super::claims::{Aim, Claim, Claims};
use super::fault::Situation;
use super::history::Version;
use super::keys::Keys;
use super::mode::{Leaving, Mode, TOMBSTONE, Writes};
use super::records::{Field, Record, Records, Sent};

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

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    violation: Option<Violation>,
    /// How often each situation came about.
    pub(super) met: [u32; Situation::ALL.len()],
}

impl Findings {
    /// Only the first violation counts.
    pub(super) fn violate(&mut self, invariant: &'static str, what: String) {
        self.violation.get_or_insert(Violation { invariant, what });
    }

    pub(super) fn met(&mut self, situation: Situation) {
        self.met[situation as usize] += 1;
    }
}

/// What is so, at the source and at the service.
pub(super) struct Truth<'a> {
    pub(super) mode: Mode,
    pub(super) version: &'a Version,
    pub(super) records: &'a Records,
    pub(super) capability: &'a Capability,
    /// Whether the run has read its model to the end.
    pub(super) read_complete: bool,
}

impl Truth<'_> {
    /// Whether something may be done about the record of a key because its row left.
    pub(super) fn may_leave(&self, key: &str) -> bool {
        self.mode.exits.is_some() && self.version.rows > 0 && self.version.has_left(key)
    }

    /// Whether a row that arrives at the service is there because a row left.
    fn is_exit(&self, row: &Sent) -> bool {
        row.operation == Operation::Delete || row.id.is_some() || !self.version.syncable.contains_key(&row.key)
    }
}

/// What happened in one run.
#[derive(Debug, Default)]
struct Log {
    in_flight: BTreeSet<String>,
    open_calls: usize,
    /// Of those, calls that dispose of records.
    open_exits: usize,
    /// Whether such a call was made.
    exits: bool,
    calls: Vec<Duration>,
    sent: BTreeMap<String, u32>,
    written: BTreeSet<String>,
    removed: BTreeSet<String>,
    not_before: BTreeMap<String, Duration>,
    ids: HashMap<Vec<Sent>, BatchId>,
    split: bool,
    over: Option<&'static str>,
}

#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub(super) found: Findings,
    claims: Claims,
    /// Keys with a call whose fate the engine cannot know.
    uncertain: BTreeSet<String>,
    log: Log,
}

impl Oracle {
    pub(super) fn violate(&mut self, invariant: &'static str, what: String) {
        self.found.violate(invariant, what);
    }

    pub(super) fn violation(&self) -> Option<&Violation> {
        self.found.violation.as_ref()
    }

    pub(super) fn begin_run(&mut self) {
        self.log = Log::default();
        self.claims.begin_run();
    }

    /// Whether the last run never ended, as far as the state knows.
    pub(super) fn has_open_run(&self) -> bool {
        self.claims.has_open_run()
    }

    pub(super) fn calls(&self) -> usize {
        self.log.calls.len()
    }

    /// Takes a commit that is durable now.
    pub(super) fn committed(&mut self, mutations: &[Mutation], truth: &Truth<'_>, keys: &Keys) {
        self.claims.committed(mutations, truth, keys, &mut self.found);
    }

    /// Checks all claims, when nothing is in the air.
    pub(super) fn check_at_rest(&mut self, truth: &Truth<'_>) {
        self.claims.check_at_rest(truth, &mut self.found);
    }

    /// Takes a call that reaches the service.
    pub(super) fn arrived(
        &mut self,
        cx: &Context,
        batch: &WriteBatch,
        rows: &[Sent],
        truth: &Truth<'_>,
        now: Duration,
    ) {
        let capability = truth.capability;
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
        let exits = rows.iter().any(|row| truth.is_exit(row));
        if if exits { self.log.open_calls > self.log.open_exits } else { self.log.exits } {
            self.violate("I9", "exits are not sent after all writes".into());
        }
        self.log.exits |= exits;
        self.log.open_exits += usize::from(exits);
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
            self.row_arrived(row, truth, by_key, now);
        }
    }

    fn row_arrived(&mut self, row: &Sent, truth: &Truth<'_>, by_key: bool, now: Duration) {
        let key = &row.key;
        let aim = match truth.version.syncable.get(key) {
            Some(expected) if !truth.is_exit(row) => {
                let fits = |field: &Field, value: &Option<String>, clears: bool| match field {
                    Field::Set(text) => value.as_ref() == Some(text),
                    Field::Clear => clears && value.is_none(),
                    Field::Absent => true,
                };
                if !fits(&row.name, &expected.name, false) || !fits(&row.tier, &expected.tier, true) {
                    self.violate("I2", format!("{row:?} is written, but the model says {expected:?}"));
                }
                Aim::Row(expected.clone())
            }
            Some(_) => return self.violate("I6", format!("{row:?} disposes of a record whose row the model has")),
            None if truth.may_leave(key) => {
                self.exit_arrived(row, truth);
                Aim::Exit
            }
            None => {
                let invariant = if row.operation == Operation::Delete { "I6" } else { "I2" };
                self.violate(invariant, format!("{row:?} is sent, but no single row of the model says so"));
                return;
            }
        };
        let claim = self.claims.get(key);
        let intended = |claim: &Claim| matches!(claim.standing, Status::InDoubt | Status::Leaving) && claim.aim == aim;
        if !claim.is_some_and(intended) {
            let what = format!("\"{key}\" is sent before its intent is durable: {claim:?}");
            self.violate("I3", what);
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

    /// Takes a row that disposes of a record.
    fn exit_arrived(&mut self, row: &Sent, truth: &Truth<'_>) {
        let Some(exits) = truth.mode.exits else { return };
        self.found.met(Situation::ExitSent);
        let empties = |field: &Field| matches!(field, Field::Clear | Field::Absent);
        let fits = match exits.leaving {
            Leaving::Delete => {
                row.operation == Operation::Delete && row.name == Field::Absent && row.tier == Field::Absent
            }
            Leaving::Clear => row.operation != Operation::Delete && empties(&row.name) && empties(&row.tier),
            Leaving::Tombstone => {
                row.operation != Operation::Delete
                    && row.name == Field::Absent
                    && row.tier == Field::Set(TOMBSTONE.to_owned())
            }
        };
        if !fits {
            self.violate("I6", format!("{row:?} is not what is to be done about records whose rows left"));
        }
        // What was sent and never arrived counts as written, since nobody can know.
        let record = truth.records.get(&row.key).filter(|record| row.id.as_ref().is_none_or(|id| *id == record.id));
        let unsure = self.uncertain.contains(&row.key) || self.claims.is_doubted(&row.key);
        let ours = |record: &Record| match exits.scope {
            Scope::CreatedByUs => record.ours,
            _ => record.touched || unsure,
        };
        if record.is_some_and(|record| !ours(record)) {
            self.violate("I6", format!("{row:?} disposes of {record:?}, which is not ours"));
        }
        if row.name == Field::Clear && !unsure && record.is_some_and(|record| !record.named && record.name.is_some()) {
            self.violate("I6", format!("{row:?} empties a field of {record:?} that is not ours"));
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

    /// The read breaks off.
    pub(super) fn cut(&mut self, mode: Mode) {
        if mode.exits.is_some() && !self.claims.is_empty() {
            self.found.met(Situation::CutBeforeExits);
        }
    }

    /// The call with these rows is over, with or without an answer.
    pub(super) fn left(&mut self, rows: &[Sent]) {
        self.log.open_calls = self.log.open_calls.saturating_sub(1);
        // Exits begin when no write is open any more.
        self.log.open_exits = if self.log.exits { self.log.open_calls } else { 0 };
        for row in rows {
            self.log.in_flight.remove(&row.key);
        }
    }

    pub(super) fn is_uncertain(&mut self, key: &str) {
        self.uncertain.insert(key.to_owned());
    }

    /// A job that was asked after has told what became of the row.
    pub(super) fn is_certain(&mut self, key: &str) {
        self.uncertain.remove(key);
    }

    /// The service refuses the row by itself.
    pub(super) fn is_refused(&mut self, row: &Sent, truth: &Truth<'_>) {
        let aim = match truth.version.syncable.get(&row.key) {
            Some(row) => Aim::Row(row.clone()),
            None => {
                self.found.met(Situation::ExitRefused);
                Aim::Exit
            }
        };
        self.claims.refuse(&row.key, aim);
    }

    /// The engine learns that a row was written, or that there is no record of it.
    pub(super) fn is_done(&mut self, row: &Sent, written: bool, truth: &Truth<'_>) {
        if truth.is_exit(row) {
            self.found.met(if written { Situation::ExitDone } else { Situation::ExitOfNothing });
            self.log.removed.insert(row.key.clone());
        } else if written {
            self.log.written.insert(row.key.clone());
        }
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
        let marked = version.marked.len() as u64;
        let distinct = version.rows - version.null_keys - version.duplicates - marked;
        let truth = (version.rows, version.null_keys, version.duplicates, marked, distinct);
        let told = (totals.source_rows, totals.null_keys, totals.duplicates, totals.marked, totals.distinct);
        if truth != told {
            let what = "rows, null keys, duplicates, marked, distinct";
            self.violate("I5", format!("{what} are {truth:?}, the report says {told:?}"));
        }
        if sure && totals.written != self.log.written.len() as u64 {
            let what = format!("{} rows were written, the report says {}", self.log.written.len(), totals.written);
            self.violate("I5", what);
        }
        if sure && totals.exits.removed != self.log.removed.len() as u64 {
            let what = format!("{} exits were done, the report says {}", self.log.removed.len(), totals.exits.removed);
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
        if self.claims.jobs() > 0 {
            self.violate("I7", format!("{} jobs are remembered that nobody asks after", self.claims.jobs()));
        }
    }

    /// The first record that is not as it should be.
    pub(super) fn unfinished(&self, truth: &Truth<'_>) -> Option<String> {
        self.claims.unfinished(truth)
    }

    /// Whether a run over unchanged data may make calls: rows wait for a record that appears.
    pub(super) fn may_ask_again(&self, mode: Mode) -> bool {
        matches!(mode.writes, Writes::UpdateOnly(1..)) && self.claims.waits_for_records()
    }
}
