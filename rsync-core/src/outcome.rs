//! What became of a row.

use std::time::Duration;

use crate::ids::{FieldName, JobToken, RemoteId};

/// What a write did to the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// The record is new.
    Created,
    /// The record existed.
    Updated,
    /// The service does not say.
    Unspecified,
}

/// How sure it is that a write shows at the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// The service answered after applying it.
    Confirmed,
    /// The service took it and applies it later.
    Accepted,
}

/// What a destination says about one row of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowOutcome {
    /// The row was written.
    Written {
        /// The record's own id, where the service tells it.
        remote_id: Option<RemoteId>,
        /// Created or updated.
        effect: Effect,
        /// Applied, or taken for later.
        applied: Applied,
    },
    /// The record already had these values and the service says so.
    Unchanged,
    /// There is no record of that key or id, and the operation makes none. Of a delete: it is gone already.
    Missing,
    /// There is a record of that key already, and the operation changes none.
    Exists,
    /// The service refuses this row; the same row will be refused again.
    Rejected {
        /// The service's code for the reason.
        code: String,
        /// The field at fault, where it is known.
        field: Option<FieldName>,
        /// What to do about it. Constant text, so that no cell value that the service echoes can slip through.
        remedy: &'static str,
    },
    /// The row was certainly not written and may be sent again.
    Retryable {
        /// The service's code for the reason.
        code: String,
        /// The pause that the service asked for.
        after: Option<Duration>,
    },
    /// The answer does not tell what became of the row.
    Unknown,
}

impl RowOutcome {
    /// A confirmed write.
    pub fn written(effect: Effect, remote_id: Option<RemoteId>) -> Self {
        RowOutcome::Written { remote_id, effect, applied: Applied::Confirmed }
    }

    /// A rejection with a code and a remedy.
    pub fn rejected(code: impl Into<String>, field: Option<FieldName>, remedy: &'static str) -> Self {
        RowOutcome::Rejected { code: code.into(), field, remedy }
    }

    /// Position in the order from best to worst.
    fn severity(&self) -> u8 {
        match self {
            RowOutcome::Unchanged => 0,
            RowOutcome::Written { .. } => 1,
            RowOutcome::Retryable { .. } => 2,
            RowOutcome::Missing | RowOutcome::Exists => 3,
            RowOutcome::Rejected { .. } => 4,
            RowOutcome::Unknown => 5,
        }
    }

    /// The worse of two statements about the same row, for answers that name a row twice.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        if other.severity() > self.severity() { other } else { self }
    }
}

/// The answer to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Receipt {
    /// One outcome a row, in row order, exactly as many as there were rows.
    Settled(Vec<RowOutcome>),
    /// The destination works on it; ask again with [`resume`](crate::destination::Destination::resume).
    Pending(JobToken),
}

/// The final state of a row in a run: exactly one for each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing to do.
    Unchanged,
    /// Sent and acknowledged.
    Written,
    /// Left the model, and what is to be done then is done.
    Removed,
    /// Not sendable for a reason on our side: a null key, a duplicate, a value that the mapping cannot convert.
    Invalid,
    /// Refused by the service, which will refuse it again.
    Rejected,
    /// Kept back by a guard.
    Held,
    /// Left out: by the policy, parked, or because the record is missing or exists.
    Skipped,
    /// Not written: retries are exhausted. The next run sends it again.
    Failed,
    /// Sent, fate unknown. The next run resolves it.
    InDoubt,
    /// Not sent in this run. The next run sends it.
    Deferred,
}

impl Outcome {
    /// All outcomes, in report order.
    pub const ALL: [Outcome; 10] = [
        Outcome::Unchanged,
        Outcome::Written,
        Outcome::Removed,
        Outcome::Invalid,
        Outcome::Rejected,
        Outcome::Held,
        Outcome::Skipped,
        Outcome::Failed,
        Outcome::InDoubt,
        Outcome::Deferred,
    ];

    /// A stable lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Unchanged => "unchanged",
            Outcome::Written => "written",
            Outcome::Removed => "removed",
            Outcome::Invalid => "invalid",
            Outcome::Rejected => "rejected",
            Outcome::Held => "held",
            Outcome::Skipped => "skipped",
            Outcome::Failed => "failed",
            Outcome::InDoubt => "in_doubt",
            Outcome::Deferred => "deferred",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_statement_wins() {
        let written = RowOutcome::written(Effect::Created, None);
        let rejected = RowOutcome::rejected("INVALID", None, "mend the value");
        assert_eq!(written.clone().worst(rejected.clone()), rejected);
        assert_eq!(rejected.clone().worst(written), rejected);
        assert_eq!(rejected.worst(RowOutcome::Unknown), RowOutcome::Unknown);
    }
}
