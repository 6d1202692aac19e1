//! Checks of a plan before anything is written.

use std::fmt::Debug;

use crate::ids::FieldName;

/// The rows of a model by what would become of them.
///
/// `source_rows = distinct + duplicates + null_keys`, and
/// `distinct = unchanged + new + changed + in_doubt + unresolved + invalid + skipped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Rows read.
    pub source_rows: u64,
    /// Rows with a null or blank key.
    pub null_keys: u64,
    /// Rows whose key another row has too; all copies count.
    pub duplicates: u64,
    /// Rows with a key of their own.
    pub distinct: u64,
    /// Rows of which every field is acknowledged.
    pub unchanged: u64,
    /// Rows to write whose key the destination never acknowledged.
    pub new: u64,
    /// Rows to write that the destination has with other values.
    pub changed: u64,
    /// Rows to write because an earlier run does not know what became of them.
    pub in_doubt: u64,
    /// Rows of which an earlier run does not know what became of them, and which the destination cannot take twice.
    pub unresolved: u64,
    /// Rows that cannot be sent, duplicates and null keys apart.
    pub invalid: u64,
    /// Rows left out by the policy, or parked.
    pub skipped: u64,
    /// Known keys that the model no longer has.
    pub gone: u64,
}

impl Counts {
    /// Rows to write.
    pub fn to_write(&self) -> u64 {
        self.new + self.changed + self.in_doubt
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

#[cfg(test)]
mod tests {
    use super::*;

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
