//! Checks of a plan before anything is written.

mod preflight;

use std::fmt::Debug;

use crate::ids::FieldName;

pub use preflight::Preflight;

/// The rows of a model by what would become of them.
///
/// `source_rows = distinct + marked + duplicates + merged + null_keys`, and
/// `distinct = unchanged + new + changed + resent + in_doubt + unresolved + invalid + skipped + held +
/// rejected + deferred`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Rows read.
    pub source_rows: u64,
    /// Rows with a null or blank key.
    pub null_keys: u64,
    /// Rows whose key another row has too; all copies count.
    pub duplicates: u64,
    /// Rows that a [merge](crate::model::Merge) made part of another row of the same key.
    pub merged: u64,
    /// Rows with a key of their own.
    pub distinct: u64,
    /// Rows of which every field is acknowledged.
    pub unchanged: u64,
    /// Rows to write whose key the destination never acknowledged.
    pub new: u64,
    /// Rows to write that the destination has with other values.
    pub changed: u64,
    /// Rows to write only because they were asked for ([`Resend`](crate::plan::Resend)); they have not changed.
    pub resent: u64,
    /// Rows to write because an earlier run does not know what became of them.
    pub in_doubt: u64,
    /// Rows of which an earlier run does not know what became of them, and which the destination cannot take twice.
    pub unresolved: u64,
    /// Rows that cannot be sent, duplicates and null keys apart.
    pub invalid: u64,
    /// Rows left out by the policy, or parked.
    pub skipped: u64,
    /// Rows that wait for a person, by the policy or because their record is another one now.
    pub held: u64,
    /// Rows whose match value several records have.
    pub rejected: u64,
    /// Of the rows that a [`Preflight`] looked up, those with one record.
    pub matched: u64,
    /// Those without a record.
    pub unmatched: u64,
    /// Those with several records.
    pub ambiguous: u64,
    /// Those with another record than the one their key is bound to.
    pub rebound: u64,
    /// Rows that wait for another row to be written.
    pub deferred: u64,
    /// Rows with a key of their own that the model marks as gone.
    pub marked: u64,
    /// Known keys that the model no longer has or marks as gone, and whose exit is not done yet.
    pub gone: u64,
    /// Of those, records that the run would dispose of.
    pub exits: u64,
    /// Entries of a history that earlier runs began to send, that the destination has not acknowledged, and that are no
    /// row of this read: they changed since, or left. No part of the two sums.
    pub carried: u64,
}

impl Counts {
    /// Rows to write.
    pub fn to_write(&self) -> u64 {
        self.new + self.changed + self.resent + self.in_doubt
    }
}

/// In how many known rows a field would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// The field.
    pub field: FieldName,
    /// Rows.
    pub rows: u64,
}

/// What a guard sees of a plan: counts, no values.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PlanView<'a> {
    /// The rows by what would become of them.
    pub counts: &'a Counts,
    /// For each mapped field, in how many known rows it would change.
    pub field_changes: &'a [FieldChange],
    /// Keys that the destination had acknowledged before.
    pub known_keys: u64,
}

/// Figures of one accepted run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunFigures {
    /// Rows read.
    pub source_rows: u64,
    /// Rows with a usable key of their own.
    pub distinct: u64,
    /// Rows that were to be written.
    pub to_write: u64,
}

/// The runs that were accepted, oldest first. A held run never enters it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    /// Their figures; at most the last 32.
    pub accepted: Vec<RunFigures>,
}

/// What a guard says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing against it.
    Pass,
    /// Nothing may be written until somebody has looked.
    HoldRun {
        /// What was observed and what was allowed, with numbers.
        reason: String,
    },
}

/// A check of a plan. Pure: the same plan and baseline give the same verdict.
pub trait Guard: Debug + Send + Sync + 'static {
    /// A stable lower-case name.
    fn name(&self) -> &str;

    /// Judges a plan.
    fn evaluate(&self, plan: &PlanView<'_>, baseline: &Baseline) -> Verdict;
}

/// Holds a run whose model has fewer usable rows than it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowFloor {
    rows: u64,
}

impl RowFloor {
    /// At least `rows` rows with a usable key.
    pub fn at_least(rows: u64) -> Self {
        Self { rows }
    }
}

impl Guard for RowFloor {
    fn name(&self) -> &str {
        "row_floor"
    }

    fn evaluate(&self, plan: &PlanView<'_>, _baseline: &Baseline) -> Verdict {
        if plan.counts.distinct >= self.rows {
            return Verdict::Pass;
        }
        Verdict::HoldRun {
            reason: format!("the model has {} usable rows, at least {} are expected", plan.counts.distinct, self.rows),
        }
    }
}

/// Holds a run that would change too large a share of the rows that the destination already has.
///
/// It needs an established sync: it passes until three runs were accepted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChangedShare {
    share: f64,
}

/// Accepted runs that a share is judged against.
const ESTABLISHED: usize = 3;

impl ChangedShare {
    /// At most this share of the known rows, 0.0 to 1.0.
    pub fn at_most(share: f64) -> Self {
        Self { share }
    }
}

impl Guard for ChangedShare {
    fn name(&self) -> &str {
        "changed_share"
    }

    fn evaluate(&self, plan: &PlanView<'_>, baseline: &Baseline) -> Verdict {
        if baseline.accepted.len() < ESTABLISHED {
            return Verdict::Pass;
        }
        let changed = plan.counts.changed;
        // Nothing to compare with, although runs were accepted: that is worth a look, unless nothing changes.
        let observed = if plan.known_keys == 0 {
            f64::from(u8::from(plan.counts.new > 0))
        } else {
            changed as f64 / plan.known_keys as f64
        };
        if observed <= self.share {
            return Verdict::Pass;
        }
        Verdict::HoldRun {
            reason: format!(
                "{changed} of {} known rows would change ({:.1} %), at most {:.1} % are allowed",
                plan.known_keys,
                observed * 100.0,
                self.share * 100.0
            ),
        }
    }
}

/// Holds a run that would dispose of too many records. It judges every plan of a sync with
/// [`Exits`](crate::exit::Exits), which set it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ExitLimit {
    rows: u64,
    share: f64,
}

impl Default for ExitLimit {
    fn default() -> Self {
        Self::at_most(10, 0.05)
    }
}

impl ExitLimit {
    pub(crate) fn at_most(rows: u64, share: f64) -> Self {
        Self { rows, share }
    }

    pub(crate) fn is_sound(&self) -> bool {
        (0.0..=1.0).contains(&self.share)
    }
}

impl Guard for ExitLimit {
    fn name(&self) -> &str {
        "exits"
    }

    fn evaluate(&self, plan: &PlanView<'_>, _baseline: &Baseline) -> Verdict {
        let (exits, known) = (plan.counts.exits, plan.known_keys);
        if exits > 0 && plan.counts.source_rows == 0 {
            return Verdict::HoldRun { reason: format!("the model is empty, and {exits} records would go") };
        }
        if exits <= self.rows || exits as f64 <= self.share * known as f64 {
            return Verdict::Pass;
        }
        let share = exits as f64 / known.max(1) as f64 * 100.0;
        Verdict::HoldRun {
            reason: format!(
                "{exits} records of {known} known keys would go ({share:.1} %), at most {} or {:.1} % are allowed",
                self.rows,
                self.share * 100.0
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f25_exits_are_limited_by_number_and_share() {
        for (exits, known, source_rows, limit, expected) in [
            (0, 100, 0, ExitLimit::default(), false),
            (1, 100, 0, ExitLimit::default(), true),
            (10, 10, 5, ExitLimit::default(), false),
            (11, 100, 5, ExitLimit::default(), true),
            (11, 220, 5, ExitLimit::default(), false),
            (12, 220, 5, ExitLimit::default(), true),
            (12, 0, 5, ExitLimit::default(), true),
            (5, 10, 5, ExitLimit::at_most(0, 0.5), false),
            (6, 10, 5, ExitLimit::at_most(0, 0.5), true),
        ] {
            let counts = Counts { exits, source_rows, ..Counts::default() };
            let view = PlanView { counts: &counts, field_changes: &[], known_keys: known };
            let held = limit.evaluate(&view, &Baseline::default()) != Verdict::Pass;
            assert_eq!(held, expected, "{exits} of {known}, {source_rows} rows, {limit:?}");
        }
    }

    fn baseline(runs: usize) -> Baseline {
        Baseline { accepted: vec![RunFigures { source_rows: 100, distinct: 100, to_write: 1 }; runs] }
    }

    fn held(guard: &dyn Guard, distinct: u64, changed: u64, known_keys: u64, runs: usize) -> bool {
        let counts = Counts { distinct, changed, new: distinct - changed, ..Counts::default() };
        let view = PlanView { counts: &counts, field_changes: &[], known_keys };
        guard.evaluate(&view, &baseline(runs)) != Verdict::Pass
    }

    #[test]
    fn f25_row_floor_holds_below_the_floor() {
        for (rows, expected) in [(0, true), (99, true), (100, false), (101, false)] {
            assert_eq!(held(&RowFloor::at_least(100), rows, 0, 0, 0), expected, "{rows}");
        }
    }

    #[test]
    fn f25_changed_share_needs_three_runs_and_then_holds() {
        for (changed, known, runs, expected) in [
            (100, 100, 2, false),
            (100, 100, 3, true),
            (51, 100, 3, true),
            (50, 100, 3, false),
            (0, 0, 3, true),
            (0, 0, 2, false),
        ] {
            assert_eq!(
                held(&ChangedShare::at_most(0.5), 100, changed, known, runs),
                expected,
                "{changed}/{known} {runs}"
            );
        }
    }
}
