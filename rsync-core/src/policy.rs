//! What to do with a row, given how it differs from what the destination acknowledged.

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
}

/// What to do with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Write it.
    Write(Operation),
    /// Leave it out, for a reason given as a short constant code.
    Skip(&'static str),
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
        let mut problems = Vec::new();
        if capability.upsert.is_none() {
            problems.push(Problem::new(
                "policy",
                "the destination has no upsert for this object",
                "choose a policy that writes with an operation it has, or match on another field",
            ));
        }
        Error::from_problems(Kind::Unsupported, "check the policy", problems)
    }

    fn decide(&self, _change: Change) -> Decision {
        Decision::Write(Operation::Upsert)
    }

    fn send_fields(&self) -> SendFields {
        self.send
    }
}
