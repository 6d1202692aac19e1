//! A plan: what a run would do, as a value.

mod blast;
mod bound;
mod builder;
mod carried;
mod enforce;
mod exits;
mod merge;
mod options;
mod reasons;
mod rewrite;
mod spool;

use std::fmt;
use std::sync::Arc;

use crate::capability::Operation;
use crate::field_policy::FieldPolicy;
use crate::guard::{Counts, FieldChange};
use crate::ids::{RunId, SyncId};
use crate::initial_load::InitialLoad;
use crate::mapping::MappedField;
use crate::normalise;
use crate::state::codec::Binding;
use crate::state::{Acknowledged, Definition, StateSession};

pub use blast::{BlastRadius, DefinitionChange};
pub(crate) use blast::{affected, compare};
pub(crate) use bound::{BoundFrame, Resolution, bound_twice, rebound, resolve};
pub(crate) use builder::{Builder, Found, Frame};
pub(crate) use carried::{Carried, FoundCarried, PAGE as OUTBOX_PAGE, Parcel, is_kept};
pub(crate) use enforce::{Enforced, enforce, reads};
pub(crate) use exits::{ExitFrame, FoundExits, record_shared};
pub(crate) use merge::Merger;
pub(crate) use options::Chosen;
pub use options::{PlanOptions, Resend};
pub use reasons::{Reason, Reasons, Tally};
pub(crate) use rewrite::Rewrite;
pub(crate) use spool::{Spool, SpoolWriter, With, Work};

/// What a plan would cost at the destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CostEstimate {
    /// Calls that write, without retries.
    pub requests: u64,
    /// Look-ups of records: those that the plan has made to see whom rows mean, and at most those before writes.
    pub reads: u64,
    /// The least time that the rate limit allows, if there is one.
    pub at_least: Option<std::time::Duration>,
    /// Whether a byte limit may close batches earlier, so that there are more calls.
    pub at_least_requests: bool,
}

/// What one guard said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardResult {
    /// The guard.
    pub guard: String,
    /// Why it holds the run; `None` if it passes.
    pub hold: Option<String>,
}

/// What a run would do. Nothing has been written, neither at the destination nor in the state.
///
/// A plan holds the sync's state: no other run of the sync begins before the plan is applied or dropped. Its
/// `Display` is a summary for people.
#[derive(Debug)]
pub struct Plan {
    pub(crate) sync: SyncId,
    pub(crate) run: RunId,
    pub(crate) model: String,
    pub(crate) model_version: Option<String>,
    pub(crate) destination: String,
    pub(crate) fields: Vec<MappedField>,
    /// By whom the policy of each field is carried out.
    pub(crate) enforced: Vec<Enforced>,
    /// What this run does because it is the first; [`InitialLoad::Send`] for any other.
    pub(crate) initial: InitialLoad,
    pub(crate) found: Box<Found>,
    pub(crate) cost: CostEstimate,
    /// Look-ups that were made for the plan.
    pub(crate) preflight_reads: u64,
    pub(crate) guards: Vec<GuardResult>,
    pub(crate) warnings: Vec<String>,
    pub(crate) blast_radius: BlastRadius,
    pub(crate) definition: Definition,
    pub(crate) binding: Binding,
    pub(crate) known: Box<Acknowledged>,
    pub(crate) session: Arc<dyn StateSession>,
}

impl Plan {
    /// The run that this plan belongs to.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// The rows by what would become of them.
    pub fn counts(&self) -> &Counts {
        &self.found.counts
    }

    /// For each mapped field, in how many known rows it would change.
    pub fn field_changes(&self) -> &[FieldChange] {
        &self.found.field_changes
    }

    /// Rows that would not be written, by reason.
    pub fn reasons(&self) -> &Reasons {
        &self.found.reasons
    }

    /// Keys that left the model and whose records would be left alone, by reason.
    pub fn exit_reasons(&self) -> &Reasons {
        &self.found.exits.reasons
    }

    /// Rows to write by operation, with those that earlier runs left.
    pub fn operations(&self) -> &[(Operation, u64)] {
        &self.found.operations
    }

    /// What it would cost.
    pub fn cost(&self) -> &CostEstimate {
        &self.cost
    }

    /// The mapped fields.
    pub fn fields(&self) -> &[MappedField] {
        &self.fields
    }

    /// What the guards said.
    pub fn guards(&self) -> &[GuardResult] {
        &self.guards
    }

    /// Whether a guard holds it. Applying a held plan writes nothing.
    pub fn is_held(&self) -> bool {
        self.guards.iter().any(|guard| guard.hold.is_some())
    }

    /// How the definition changed since the last run, and what that does to rows that the destination has.
    pub fn blast_radius(&self) -> &BlastRadius {
        &self.blast_radius
    }

    /// What deserves a look, but holds nothing.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn exit_note(&self) -> String {
        let exits: Vec<String> = self
            .found
            .exits
            .operations
            .iter()
            .map(|(operation, exits)| format!("{} to {}", grouped(*exits), operation.as_str()))
            .collect();
        if exits.is_empty() { "nothing is done about them".into() } else { exits.join(", ") }
    }

    /// A hash of what would be written: equal for equal content, whatever the order of the rows.
    pub fn hash(&self) -> u64 {
        self.found.hash
    }

    /// The epoch of the state: it changes when the state was lost and made anew.
    pub fn state_epoch(&self) -> u64 {
        self.binding.epoch
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// One line of a summary.
pub(crate) fn line(f: &mut fmt::Formatter<'_>, label: &str, number: u64, note: &str) -> fmt::Result {
    let gap = if note.is_empty() { "" } else { "   " };
    writeln!(f, "  {label:<16}{:>12}{gap}{note}", grouped(number))
}

pub(crate) fn write_reasons(f: &mut fmt::Formatter<'_>, reasons: &Reasons) -> fmt::Result {
    for (outcome, reason, tally) in reasons.iter() {
        let place = reason.field.as_ref().map(|field| format!(" ({field})")).unwrap_or_default();
        writeln!(f, "    {} {}: {}{place}; fix: {}", grouped(tally.rows), outcome.as_str(), reason.code, reason.fix)?;
    }
    Ok(())
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.found.counts;
        let version = self.model_version.as_ref().map(|v| format!(" at {v}")).unwrap_or_default();
        writeln!(f, "plan {} of {}: {}{version} -> {}", self.run, self.sync, self.model, self.destination)?;
        line(f, "source rows", counts.source_rows, "")?;
        if counts.merged > 0 {
            line(f, "merged", counts.merged, "into other rows of the same key")?;
        }
        line(
            f,
            "creates",
            counts.new,
            if counts.new > 0 { "new to this sync; where the destination has the key, an update" } else { "" },
        )?;
        line(f, "updates", counts.changed, "")?;
        if counts.resent > 0 {
            line(f, "sent again", counts.resent, "asked for; they have not changed")?;
        }
        if counts.in_doubt > 0 {
            let adopted = self.found.adopted.as_ref().map_or(0, |work| work.len() as u64);
            let jobs = if adopted > 0 { format!("; {} wait for a job", grouped(adopted)) } else { String::new() };
            line(f, "in doubt", counts.in_doubt, &format!("sent before with unknown fate; sent again{jobs}"))?;
        }
        if counts.unresolved > 0 {
            line(f, "unresolved", counts.unresolved, "in doubt, and not safe to send again")?;
        }
        if counts.carried > 0 {
            line(
                f,
                "carried over",
                counts.carried,
                "entries of earlier runs that the destination has not acknowledged",
            )?;
        }
        line(f, "unchanged", counts.unchanged, "")?;
        line(f, "invalid", counts.invalid + counts.duplicates + counts.null_keys, "")?;
        if counts.skipped > 0 {
            line(f, "skipped", counts.skipped, "")?;
        }
        if self.preflight_reads > 0 {
            let note = format!("{} with a record, {} with several", grouped(counts.matched), grouped(counts.ambiguous));
            line(f, "looked up", counts.matched + counts.unmatched + counts.ambiguous, &note)?;
        }
        for (label, rows) in [("held", counts.held), ("rejected", counts.rejected), ("deferred", counts.deferred)] {
            if rows > 0 {
                line(f, label, rows, "")?;
            }
        }
        write_reasons(f, &self.found.reasons)?;
        if counts.marked > 0 {
            line(f, "marked as gone", counts.marked, "")?;
        }
        if counts.gone > 0 {
            line(f, "left the model", counts.gone, &self.exit_note())?;
            write_reasons(f, &self.found.exits.reasons)?;
        }
        if counts.changed > 0 {
            writeln!(f, "  fields changed")?;
            for change in self.found.field_changes.iter().filter(|change| change.rows > 0) {
                writeln!(f, "    {:<26}{:>12}", change.field.as_str(), grouped(change.rows))?;
            }
        }
        if !matches!(self.blast_radius, BlastRadius::FirstRun | BlastRadius::Unchanged) {
            writeln!(f, "  definition: {}", self.blast_radius)?;
        }
        writeln!(f, "  mapping")?;
        for field in &self.fields {
            if field.retired {
                writeln!(f, "    {:<26}retired: emptied where this sync wrote it", field.name.as_str())?;
                continue;
            }
            let from =
                field.from.as_ref().map_or_else(|| "set by the mapping".into(), |column| format!("from {column}"));
            let null = field.on_null.as_ref().map(|rule| format!(", {rule}")).unwrap_or_default();
            let spelling = match normalise::names(&field.normalisers) {
                names if names.is_empty() => names,
                names => format!(", normalised by {names}"),
            };
            let policy = match field.policy {
                FieldPolicy::Overwrite => String::new(),
                policy => format!(", {policy}"),
            };
            writeln!(f, "    {:<26}{} {from}{null}{spelling}{policy}", field.name.as_str(), field.ty)?;
        }
        match self.initial {
            InitialLoad::Send => {}
            InitialLoad::SeedStateOnly => {
                writeln!(f, "  first run: nothing is sent, every row counts as acknowledged")?
            }
            InitialLoad::SeedFromDestination => writeln!(f, "  first run: only what records do not have yet is sent")?,
            InitialLoad::Canary(share) => writeln!(f, "  first run: {:.1} % of the keys are sent", share * 100.0)?,
        }
        let least = if self.cost.at_least_requests { "at least " } else { "" };
        let time =
            self.cost.at_least.map(|t| format!(", at least {:.0} s at the allowed rate", t.as_secs_f64().ceil()));
        let reads = match self.cost.reads {
            0 => String::new(),
            reads => format!(", up to {} reads", grouped(reads)),
        };
        writeln!(f, "  cost: {least}{} API calls{reads}{}", grouped(self.cost.requests), time.unwrap_or_default())?;
        for warning in &self.warnings {
            writeln!(f, "  warning: {warning}")?;
        }
        for guard in &self.guards {
            match &guard.hold {
                None => writeln!(f, "  guard {}: pass", guard.guard)?,
                Some(reason) => writeln!(f, "  guard {}: HOLD, {reason}", guard.guard)?,
            }
        }
        write!(f, "  verdict: {}", if self.is_held() { "held, nothing will be written" } else { "ready to apply" })
    }
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn numbers_are_grouped() {
        for (number, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), shown);
        }
    }
}
