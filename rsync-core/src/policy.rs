//! What to do with a row, given how it differs from what the destination acknowledged.
//!
//! [`Upsert`], [`UpdateOnly`] and [`CreateOnly`] say what is written to records, [`Append`] makes a history of rows, and
//! [`Audience`] keeps the members of a list. What becomes of records whose rows left the model is said apart, by
//! [`Exits`](crate::exit::Exits): a mirror of the model is `Upsert` with exits that delete.

mod append;
mod audience;

pub use append::Append;
pub use audience::Audience;

use std::fmt::Debug;

use crate::capability::{Capability, Operation};
use crate::error::{Error, Kind, Problem, Result};

/// How a row differs from the acknowledged state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Change {
    /// The key was never acknowledged by the destination.
    New,
    /// The key is known and some fields have other values.
    Changed,
    /// An earlier run sent the row and never learned its fate.
    InDoubt,
    /// An earlier run found no record of the key ([`RowOutcome::Missing`](crate::outcome::RowOutcome::Missing)), the
    /// row has not changed since, and it is not yet [time to ask again](UpsertPolicy::ask_again_every).
    Missing,
    /// An earlier run found a record of the key that this sync did not write
    /// ([`RowOutcome::Exists`](crate::outcome::RowOutcome::Exists)).
    Exists,
}

/// What to do with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Write it.
    Write(Operation),
    /// Leave it out, for a reason given as a short constant code.
    Skip(&'static str),
    /// Leave it out and tell the owner of the sync: somebody has to do something about it.
    Hold(&'static str),
}

/// What is done about a row of a known key whose record is another one now, where records are matched by another field
/// than the model's key.
///
/// The state remembers to which record each key was written. A key that would go over to another record is most often a
/// mistake: an e-mail address that was given to somebody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rebound {
    /// The row is held, nothing is written for it, and the owner of the sync is told.
    #[default]
    Hold,
    /// The row is written to the record that its match value leads to, and its key is bound to that one.
    Follow,
}

/// Which fields of a changed row are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SendFields {
    /// The fields that changed, where the destination leaves the others alone; else all.
    #[default]
    Changed,
    /// All mapped fields.
    All,
}

/// Decides what is written. Pure.
pub trait UpsertPolicy: Debug + Send + Sync + 'static {
    /// Checks that the destination can do what the policy will ask for.
    ///
    /// # Errors
    ///
    /// [`Kind::Unsupported`] with all problems at once.
    fn validate(&self, capability: &Capability) -> Result<()>;

    /// Decides about one row.
    fn decide(&self, change: Change) -> Decision;

    /// Which fields of a changed row are sent.
    fn send_fields(&self) -> SendFields;

    /// After how many runs a row without a record is [`Change::New`] again although it has not changed. The rows are
    /// spread, so that each run asks after about an equal share of them. 0: never.
    fn ask_again_every(&self) -> u32 {
        10
    }

    /// Whether an entry of unknown fate is sent again although nothing makes that safe, so that the destination may
    /// have it twice.
    fn resends_in_doubt(&self) -> bool {
        false
    }
}

/// What the policy does with new rows, which tells what kind of policy it is.
pub(crate) fn operation_of(policy: &dyn UpsertPolicy) -> Option<Operation> {
    match policy.decide(Change::New) {
        Decision::Write(operation) => Some(operation),
        Decision::Skip(_) | Decision::Hold(_) => None,
    }
}

/// The code of rows that are left out because there is no record of their key.
pub(crate) const RECORD_MISSING: &str = "record_missing";
/// The code of rows that are left out because there is a record of their key that is not ours.
pub(crate) const RECORD_EXISTS: &str = "record_exists";
/// The code of rows that are left out because their record was made by an earlier run.
const CREATED_BEFORE: &str = "created_before";

fn unsupported(cause: &str) -> Result<()> {
    let fix = "choose a policy that writes with an operation it has, or match on another field";
    Error::from_problems(Kind::Unsupported, "check the policy", vec![Problem::new("policy", cause, fix)])
}

/// Writes every new and changed row with [`Operation::Upsert`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upsert {
    send: SendFields,
}

impl Upsert {
    /// The policy, sending changed fields only where the destination allows it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends all mapped fields of a changed row, so that a value that somebody else changed at the destination is
    /// set again together with ours.
    #[must_use]
    pub fn all_fields(mut self) -> Self {
        self.send = SendFields::All;
        self
    }
}

impl UpsertPolicy for Upsert {
    fn validate(&self, capability: &Capability) -> Result<()> {
        match capability.upsert {
            Some(_) => Ok(()),
            None => unsupported("the destination has no upsert for this object"),
        }
    }

    fn decide(&self, _change: Change) -> Decision {
        Decision::Write(Operation::Upsert)
    }

    fn send_fields(&self) -> SendFields {
        self.send
    }
}

/// Updates records that exist, and makes none.
///
/// A row without a record is skipped with the code `record_missing`, or held with
/// [`quarantining`](UpdateOnly::quarantining). It is sent again when it or the mapping changes,
/// and else every tenth run, a tenth of such rows in each, so that a record that appears later is found.
///
/// ```
/// use rsync_core::policy::UpdateOnly;
///
/// // An hourly sync that looks once a day.
/// let policy = UpdateOnly::new().asking_again_every(24);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateOnly {
    send: SendFields,
    every: u32,
    quarantines: bool,
}

impl Default for UpdateOnly {
    fn default() -> Self {
        Self { send: SendFields::Changed, every: 10, quarantines: false }
    }
}

impl UpdateOnly {
    /// The policy, sending changed fields only where the destination allows it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends all mapped fields of a changed row.
    #[must_use]
    pub fn all_fields(mut self) -> Self {
        self.send = SendFields::All;
        self
    }

    /// Holds rows without a record instead of skipping them: every run that has such rows tells the owner.
    #[must_use]
    pub fn quarantining(mut self) -> Self {
        self.quarantines = true;
        self
    }

    /// Sets after how many runs a row without a record is sent again although it has not changed; 0: never.
    #[must_use]
    pub fn asking_again_every(mut self, runs: u32) -> Self {
        self.every = runs;
        self
    }
}

impl UpsertPolicy for UpdateOnly {
    fn validate(&self, capability: &Capability) -> Result<()> {
        match capability.update.filter(|limits| limits.addressing.takes_keys()) {
            Some(_) => Ok(()),
            None => unsupported("the destination has no update by this field"),
        }
    }

    fn decide(&self, change: Change) -> Decision {
        match change {
            Change::Missing if self.quarantines => Decision::Hold(RECORD_MISSING),
            Change::Missing => Decision::Skip(RECORD_MISSING),
            _ => Decision::Write(Operation::Update),
        }
    }

    fn send_fields(&self) -> SendFields {
        self.send
    }

    fn ask_again_every(&self) -> u32 {
        self.every
    }
}

/// Makes records that do not exist, and never touches one again.
///
/// A row whose record exists already is skipped with the code `record_exists`, now and later; a row that changes after
/// its record was made is skipped with the code `created_before`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreateOnly;

impl CreateOnly {
    /// The policy.
    pub fn new() -> Self {
        Self
    }
}

impl UpsertPolicy for CreateOnly {
    fn validate(&self, capability: &Capability) -> Result<()> {
        match capability.create {
            Some(_) => Ok(()),
            None => unsupported("the destination has no create for this object"),
        }
    }

    fn decide(&self, change: Change) -> Decision {
        match change {
            Change::Changed => Decision::Skip(CREATED_BEFORE),
            Change::Exists => Decision::Skip(RECORD_EXISTS),
            _ => Decision::Write(Operation::Create),
        }
    }

    fn send_fields(&self) -> SendFields {
        SendFields::All
    }
}
