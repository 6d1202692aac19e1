//! What a run did, row by row accounted for.

use std::fmt;
use std::time::Duration;

use crate::destination::Quota;
use crate::error::Kind;
use crate::guard::Counts;
use crate::ids::{FieldName, RunId, SyncId};
use crate::outcome::Outcome;
use crate::plan::{FoundExits, Reasons, grouped, line, write_reasons};
use crate::state::StateMark;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunStatus {
    /// Every row that could be written is written.
    Completed,
    /// Some rows failed, are in doubt or were deferred; the next run sends them.
    Incomplete,
    /// A guard held the plan; nothing was written.
    Held,
    /// The run ended before all was sent, without anything being wrong: see [`Report::stop`]. The next run goes on.
    Stopped,
    /// An error stopped the run; what was acknowledged before stays acknowledged.
    Failed,
    /// The figures contradict each other: a defect in the library or an adapter. Please report it.
    Inconsistent,
}

impl RunStatus {
    /// A stable lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            RunStatus::Completed => "completed",
            RunStatus::Incomplete => "incomplete",
            RunStatus::Held => "held",
            RunStatus::Stopped => "stopped",
            RunStatus::Failed => "failed",
            RunStatus::Inconsistent => "inconsistent",
        }
    }
}

/// Known keys that left the model, by what became of their records.
/// `gone = removed + held + skipped + rejected + failed + in_doubt + deferred`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExitTotals {
    /// What was to be done is done, or the record was gone already.
    pub removed: u64,
    /// Kept back by a guard.
    pub held: u64,
    /// Nothing was asked for, the record is out of scope or cannot be addressed, or the exit is parked.
    pub skipped: u64,
    /// Refused by the destination.
    pub rejected: u64,
    /// Retries exhausted.
    pub failed: u64,
    /// Sent, fate unknown.
    pub in_doubt: u64,
    /// Not sent in this run.
    pub deferred: u64,
}

impl ExitTotals {
    fn sum(&self) -> u64 {
        self.removed + self.held + self.skipped + self.rejected + self.failed + self.in_doubt + self.deferred
    }
}

/// Entries of a history that earlier runs began to send, that the destination had not acknowledged, and that are no row of
/// this read any more, by what became of them: `rows = written + held + skipped + rejected + failed + in_doubt + deferred`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CarriedTotals {
    /// All of them.
    pub rows: u64,
    /// Acknowledged now.
    pub written: u64,
    /// Of those, entries that the destination says are new.
    pub created: u64,
    /// Kept back by a guard.
    pub held: u64,
    /// The destination has nothing that they belong to.
    pub skipped: u64,
    /// Refused by the destination.
    pub rejected: u64,
    /// Retries exhausted. The next run sends them again.
    pub failed: u64,
    /// Sent, fate unknown.
    pub in_doubt: u64,
    /// Not sent in this run.
    pub deferred: u64,
}

impl CarriedTotals {
    fn sum(&self) -> u64 {
        self.written + self.held + self.skipped + self.rejected + self.failed + self.in_doubt + self.deferred
    }
}

/// Rows of a run by outcome. `source_rows = distinct + marked + duplicates + merged + null_keys` and
/// `distinct = unchanged + written + invalid + rejected + held + skipped + failed + in_doubt + deferred`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Rows read.
    pub source_rows: u64,
    /// Rows with a key of their own.
    pub distinct: u64,
    /// Rows whose key another row has too.
    pub duplicates: u64,
    /// Rows that a merge made part of another row of the same key.
    pub merged: u64,
    /// Rows with a null or blank key.
    pub null_keys: u64,
    /// Nothing to do.
    pub unchanged: u64,
    /// Sent and acknowledged.
    pub written: u64,
    /// Of those, records that the destination says are new.
    pub created: u64,
    /// Of those, records that the destination says existed.
    pub updated: u64,
    /// Of those, rows that the destination took but applies later.
    pub accepted: u64,
    /// Not sendable for a reason on our side, duplicates and null keys apart.
    pub invalid: u64,
    /// Refused by the destination.
    pub rejected: u64,
    /// Kept back: all rows by a guard, or single ones that wait for a person.
    pub held: u64,
    /// Left out by the policy, or parked.
    pub skipped: u64,
    /// Retries exhausted.
    pub failed: u64,
    /// Sent, fate unknown.
    pub in_doubt: u64,
    /// Not sent in this run.
    pub deferred: u64,
    /// Rows with a key of their own that the model marks as gone.
    pub marked: u64,
    /// Known keys that the model no longer has or marks as gone, and whose exit was not done before.
    pub gone: u64,
    /// Those keys by what became of their records.
    pub exits: ExitTotals,
    /// What earlier runs began to send, apart from the rows that were read.
    pub carried: CarriedTotals,
    /// Entries, of this read or carried, that were sent again although nothing makes that safe: the destination may have
    /// each of them once more. See [`Append::resending`](crate::policy::Append::resending).
    pub possible_duplicates: u64,
}

impl Totals {
    pub(crate) fn of_plan(counts: &Counts, exits: &FoundExits) -> Self {
        Self {
            source_rows: counts.source_rows,
            distinct: counts.distinct,
            duplicates: counts.duplicates,
            merged: counts.merged,
            null_keys: counts.null_keys,
            unchanged: counts.unchanged,
            invalid: counts.invalid,
            skipped: counts.skipped,
            in_doubt: counts.unresolved,
            held: counts.held,
            rejected: counts.rejected,
            deferred: counts.deferred,
            marked: counts.marked,
            gone: counts.gone,
            carried: CarriedTotals { rows: counts.carried, ..CarriedTotals::default() },
            exits: ExitTotals { skipped: exits.skipped, in_doubt: exits.unresolved, ..ExitTotals::default() },
            ..Self::default()
        }
    }

    /// Whether every row that was read has exactly one outcome.
    pub fn balance(&self) -> bool {
        let outcomes = self.unchanged
            + self.written
            + self.invalid
            + self.rejected
            + self.held
            + self.skipped
            + self.failed
            + self.in_doubt
            + self.deferred;
        self.source_rows == self.distinct + self.marked + self.duplicates + self.merged + self.null_keys
            && self.distinct == outcomes
            && self.gone == self.exits.sum()
            && self.carried.rows == self.carried.sum()
            && self.created + self.updated <= self.written
            && self.accepted <= self.written
    }

    /// Rows and exits that the next run has to send.
    pub fn outstanding(&self) -> u64 {
        let exits = self.exits.failed + self.exits.in_doubt + self.exits.deferred;
        let carried = self.carried.failed + self.carried.in_doubt + self.carried.deferred;
        self.failed + self.in_doubt + self.deferred + exits + carried
    }
}

/// Calls that a run made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Calls {
    /// Calls that write.
    pub writes: u64,
    /// Of those, calls that sent rows again.
    pub retries: u64,
    /// Batches that the engine had to split to find a bad row.
    pub splits: u64,
    /// Look-ups of records, to see whom rows mean or what fields hold before they are written, repeated ones too.
    pub reads: u64,
}

/// Rows of which the destination kept a field, by the [policy](crate::field_policy::FieldPolicy) of that field. The
/// rows have outcomes of their own: other fields of theirs may have been written. What a destination keeps that carries
/// out a policy by itself is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptField {
    /// The field.
    pub field: FieldName,
    /// `changed_at_destination`: the value is not the one that this sync wrote last. `not_empty`, `not_greater`,
    /// `not_smaller`: what the policy says.
    pub code: &'static str,
    /// Rows.
    pub rows: u64,
}

/// Why a run ended before all was sent, without anything being wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stop {
    /// [`Kind::Cancelled`], [`Kind::QuotaExhausted`], [`Kind::RateLimited`] or [`Kind::WindowClosed`].
    pub kind: Kind,
    /// In words.
    pub reason: String,
    /// When it makes sense to run again, as time since the Unix epoch, where the destination or the window told it. A
    /// run before it fails with [`Kind::TooEarly`] and asks nobody.
    pub not_before: Option<Duration>,
}

/// The report of a run. Its `Display` is a summary for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a run that is held or incomplete is no error; look at `status`"]
pub struct Report {
    /// The sync.
    pub sync: SyncId,
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub status: RunStatus,
    /// Why it ended early, for [`RunStatus::Stopped`].
    pub stop: Option<Stop>,
    /// Rows by outcome.
    pub totals: Totals,
    /// Rows that were not written, by reason.
    pub reasons: Reasons,
    /// Keys that left the model and whose records were not disposed of, by reason.
    pub exit_reasons: Reasons,
    /// Entries that earlier runs began to send and that were not written, by reason.
    pub carried_reasons: Reasons,
    /// Fields that the destination kept, by field and reason.
    pub kept: Vec<KeptField>,
    /// Calls made.
    pub calls: Calls,
    /// From the start of applying to the end.
    pub elapsed: Duration,
    /// Hash of the plan that was applied.
    pub plan_hash: u64,
    /// The version of the model's definition.
    pub model_version: Option<String>,
    /// The epoch of the state: it changes when the state was lost and made anew.
    pub state_epoch: u64,
    /// The epoch of the state and how far it has come, to be kept by the host for
    /// [`expect_state`](crate::pipeline::PipelineBuilder::expect_state). `None` if a held run left a new sync, or one that
    /// was to begin anew, as it was.
    pub state_mark: Option<StateMark>,
    /// The account's quota as the destination told it last; `None` if it never does.
    pub quota: Option<Quota>,
}

impl Report {
    /// Whether nothing is left to do.
    pub fn is_complete(&self) -> bool {
        self.status == RunStatus::Completed
    }

    /// Counts rows of which the destination kept a field.
    pub(crate) fn keep(&mut self, field: &FieldName, code: &'static str, rows: u64) {
        match self.kept.iter_mut().find(|kept| kept.field == *field && kept.code == code) {
            Some(kept) => kept.rows += rows,
            None => self.kept.push(KeptField { field: field.clone(), code, rows }),
        }
    }

    /// Sets how a run ended that was not held.
    pub(crate) fn settle_status(&mut self, failed: bool) {
        self.status = match self.totals {
            totals if !totals.balance() => RunStatus::Inconsistent,
            _ if failed => RunStatus::Failed,
            _ if self.stop.is_some() => RunStatus::Stopped,
            totals if totals.outstanding() > 0 => RunStatus::Incomplete,
            _ => RunStatus::Completed,
        };
    }
}

fn exit_detail(exits: &ExitTotals) -> String {
    detail(&[
        (Outcome::Removed, exits.removed),
        (Outcome::Held, exits.held),
        (Outcome::Skipped, exits.skipped),
        (Outcome::Rejected, exits.rejected),
        (Outcome::Failed, exits.failed),
        (Outcome::InDoubt, exits.in_doubt),
        (Outcome::Deferred, exits.deferred),
    ])
}

fn carried_detail(carried: &CarriedTotals) -> String {
    detail(&[
        (Outcome::Written, carried.written),
        (Outcome::Held, carried.held),
        (Outcome::Skipped, carried.skipped),
        (Outcome::Rejected, carried.rejected),
        (Outcome::Failed, carried.failed),
        (Outcome::InDoubt, carried.in_doubt),
        (Outcome::Deferred, carried.deferred),
    ])
}

fn detail(parts: &[(Outcome, u64)]) -> String {
    let parts = parts.iter().filter(|(_, rows)| *rows > 0);
    let parts: Vec<String> = parts.map(|(outcome, rows)| format!("{} {}", grouped(*rows), outcome.as_str())).collect();
    parts.join(", ")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = &self.totals;
        writeln!(
            f,
            "run {} of {}: {} in {:.1} s",
            self.run,
            self.sync,
            self.status.as_str(),
            self.elapsed.as_secs_f64()
        )?;
        if let Some(stop) = &self.stop {
            writeln!(f, "  stopped: {}", stop.reason)?;
        }
        line(f, "source rows", t.source_rows, "")?;
        if t.merged > 0 {
            line(f, "merged", t.merged, "into other rows of the same key")?;
        }
        line(f, "unchanged", t.unchanged, "")?;
        let detail = if t.written == 0 {
            String::new()
        } else {
            let unsaid = t.written - t.created - t.updated;
            let unsaid = if unsaid > 0 { format!(", {} unspecified", grouped(unsaid)) } else { String::new() };
            let accepted =
                if t.accepted > 0 { format!(", {} applied later", grouped(t.accepted)) } else { String::new() };
            format!("{} created, {} updated{unsaid}{accepted}", grouped(t.created), grouped(t.updated))
        };
        line(f, "written", t.written, &detail)?;
        for (outcome, rows) in [
            (Outcome::Invalid, t.invalid + t.duplicates + t.null_keys),
            (Outcome::Rejected, t.rejected),
            (Outcome::Held, t.held),
            (Outcome::Skipped, t.skipped),
            (Outcome::Failed, t.failed),
            (Outcome::InDoubt, t.in_doubt),
            (Outcome::Deferred, t.deferred),
        ] {
            if rows > 0 {
                line(f, outcome.as_str(), rows, "")?;
            }
        }
        write_reasons(f, &self.reasons)?;
        if t.carried.rows > 0 {
            line(f, "carried over", t.carried.rows, &carried_detail(&t.carried))?;
            write_reasons(f, &self.carried_reasons)?;
        }
        if t.possible_duplicates > 0 {
            line(f, "sent again", t.possible_duplicates, "in doubt before; the destination may have them twice")?;
        }
        for kept in &self.kept {
            writeln!(
                f,
                "    {} kept: {} ({}); fix: nothing, the field's policy says so",
                grouped(kept.rows),
                kept.code,
                kept.field
            )?;
        }
        if t.marked > 0 {
            line(f, "marked as gone", t.marked, "")?;
        }
        if t.gone > 0 {
            line(f, "left the model", t.gone, &exit_detail(&t.exits))?;
            write_reasons(f, &self.exit_reasons)?;
        }
        let retries = if self.calls.retries > 0 {
            format!(", {} of them retries", grouped(self.calls.retries))
        } else {
            String::new()
        };
        let reads = if self.calls.reads > 0 { format!(", {} reads", grouped(self.calls.reads)) } else { String::new() };
        write!(f, "  calls: {} writes{retries}{reads}", grouped(self.calls.writes))?;
        match self.quota {
            Some(quota) => write!(f, "\n  quota: {} of {} used", grouped(quota.used), grouped(quota.limit)),
            None => Ok(()),
        }
    }
}
