//! A plan: what a run would do, as a value.

mod builder;
mod exits;
mod reasons;
mod spool;

use std::fmt;
use std::sync::Arc;

use crate::capability::Operation;
use crate::guard::{Counts, FieldChange};
use crate::ids::{RunId, SyncId};
use crate::mapping::MappedField;
use crate::state::codec::Binding;
use crate::state::{Acknowledged, StateSession};

pub(crate) use builder::{Builder, Found, Frame};
pub(crate) use exits::{ExitFrame, FoundExits, record_shared};
pub use reasons::{Reason, Reasons, Tally};
pub(crate) use spool::{Spool, Work};

/// What a plan would cost at the destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CostEstimate {
    /// Calls that write, without retries.
    pub requests: u64,
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
    pub(crate) found: Found,
    pub(crate) cost: CostEstimate,
    pub(crate) guards: Vec<GuardResult>,
    pub(crate) warnings: Vec<String>,
    pub(crate) binding: Binding,
    pub(crate) known: Acknowledged,
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

    /// Rows to write by operation.
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
        line(
            f,
            "creates",
            counts.new,
            if counts.new > 0 { "new to this sync; where the destination has the key, an update" } else { "" },
        )?;
        line(f, "updates", counts.changed, "")?;
        if counts.in_doubt > 0 {
            line(f, "in doubt", counts.in_doubt, "sent before with unknown fate; sent again")?;
        }
        if counts.unresolved > 0 {
            line(f, "unresolved", counts.unresolved, "in doubt, and not safe to send again")?;
        }
        line(f, "unchanged", counts.unchanged, "")?;
        line(f, "invalid", counts.invalid + counts.duplicates + counts.null_keys, "")?;
        if counts.skipped > 0 {
            line(f, "skipped", counts.skipped, "")?;
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
        writeln!(f, "  mapping")?;
        for field in &self.fields {
            let from =
                field.from.as_ref().map_or_else(|| "set by the mapping".into(), |column| format!("from {column}"));
            let null = field.on_null.as_ref().map(|rule| format!(", {rule}")).unwrap_or_default();
            writeln!(f, "    {:<26}{} {from}{null}", field.name.as_str(), field.ty)?;
        }
        let least = if self.cost.at_least_requests { "at least " } else { "" };
        let time =
            self.cost.at_least.map(|t| format!(", at least {:.0} s at the allowed rate", t.as_secs_f64().ceil()));
        writeln!(f, "  cost: {least}{} API calls{}", grouped(self.cost.requests), time.unwrap_or_default())?;
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
