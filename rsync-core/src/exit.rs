//! What is done about records whose rows left the model.

use crate::capability::Operation;
use crate::error::Problem;
use crate::guard::ExitLimit;
use crate::ids::{ColumnName, FieldName};
use crate::mapping::Constant;
use crate::policy::{UpsertPolicy, operation_of};

/// What is done about the record of a row that left the model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Exit {
    /// The fields that this sync wrote are emptied; the field that is matched on stays.
    Clear,
    /// A mapped field becomes a value that tells. A row that comes back gets the field's value from the mapping
    /// again, so map it: to a column, or to a constant such as `false`.
    Tombstone {
        /// The field.
        field: FieldName,
        /// The value.
        value: Constant,
    },
    /// The record is removed, in the form the service has for it: deleted, or archived.
    Delete,
    /// The record is no longer a member of the audience; it stays as it is. Goes with the policy
    /// [`Audience`](crate::policy::Audience), and nothing else does.
    RemoveFromAudience,
}

/// Of which records a sync may dispose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// Those that it made, as far as the destination said so when it wrote them.
    CreatedByUs,
    /// All that it ever wrote, whoever made them.
    TouchedByUs,
}

/// What is done about records whose rows left the model, and how many there may be.
///
/// A row leaves when a complete read no longer has its key, or when the model marks it ([`Exits::when`]). Only keys
/// that this sync has written are exits. They are sent last, after all writes. Without exits, records stay as they are.
///
/// A run is held if the model is empty, or if more than 10 records and more than 5 % of the known keys would go;
/// see [`Exits::at_most`].
///
/// ```
/// use rsync_core::exit::{Exit, Exits, Scope};
///
/// // Mirrors the model: together with the policy `Upsert`, the destination's records are those of the model.
/// let mirror = Exits::new(Exit::Delete, Scope::CreatedByUs);
///
/// // Marks customers that the model flags or no longer has.
/// let churned = Exits::new(
///     Exit::Tombstone { field: "is_customer".into(), value: false.into() },
///     Scope::TouchedByUs,
/// )
/// .when("deleted_at")
/// .at_most(100, 0.1);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Exits {
    pub(crate) exit: Exit,
    pub(crate) scope: Scope,
    pub(crate) when: Option<ColumnName>,
    pub(crate) limit: ExitLimit,
}

impl Exits {
    /// Does `exit` about records within `scope`.
    pub fn new(exit: Exit, scope: Scope) -> Self {
        Self { exit, scope, when: None, limit: ExitLimit::default() }
    }

    /// Ends the membership of every record that this sync made a member, also of those that were members before: few
    /// services tell who was. For the others there is
    /// `Exits::new(Exit::RemoveFromAudience, Scope::CreatedByUs)`.
    pub fn remove_from_audience() -> Self {
        Self::new(Exit::RemoveFromAudience, Scope::TouchedByUs)
    }

    /// What does not go together with `policy`.
    pub(crate) fn problem_with(&self, policy: &dyn UpsertPolicy) -> Option<Problem> {
        let removes = self.exit == Exit::RemoveFromAudience;
        let (cause, fix) = match operation_of(policy) {
            Some(Operation::Append) => (
                "entries of a history stay when their row leaves the model",
                "take the exits away, or choose a policy that writes records",
            ),
            Some(Operation::AddMember) if !removes => (
                "an audience only has members, and this exit would change or remove their records",
                "end the membership instead: Exits::remove_from_audience()",
            ),
            Some(operation) if operation != Operation::AddMember && removes => {
                ("the policy writes records and makes no members", "choose the policy Audience, or another exit")
            }
            _ => return None,
        };
        Some(Problem::new("exits", cause, fix))
    }

    /// Takes a row for gone if `column` is true or, of another type than boolean, not null. Such a row has its key, so
    /// its exit also reaches destinations that know no record ids.
    #[must_use]
    pub fn when(mut self, column: impl Into<ColumnName>) -> Self {
        self.when = Some(column.into());
        self
    }

    /// Holds the run if more than `rows` records, and more than this share of the known keys (0.0 to 1.0), would go.
    /// Default: 10 and 0.05.
    #[must_use]
    pub fn at_most(mut self, rows: u64, share: f64) -> Self {
        self.limit = ExitLimit::at_most(rows, share);
        self
    }
}
