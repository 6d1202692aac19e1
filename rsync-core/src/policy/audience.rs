//! Audiences: who is a member of a list or segment.

use super::{Change, Decision, RECORD_MISSING, SendFields, UpsertPolicy, unsupported};
use crate::capability::{Capability, Operation};
use crate::error::Result;

/// Makes the records of the model's keys members of the audience that the target names. Only the field that is matched on
/// is mapped. No record is made, changed or deleted.
///
/// A key without a record is skipped with the code `record_missing`, and asked after again as with
/// [`UpdateOnly`](super::UpdateOnly). Members whose rows left the model stay, unless
/// [`Exits::remove_from_audience`](crate::exit::Exits::remove_from_audience) says otherwise.
///
/// ```
/// use rsync_core::exit::Exits;
/// use rsync_core::policy::Audience;
///
/// // The audience is the model, neither more nor less.
/// let (policy, exits) = (Audience::new(), Exits::remove_from_audience());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audience;

impl Audience {
    /// The policy.
    pub fn new() -> Self {
        Self
    }
}

impl UpsertPolicy for Audience {
    fn validate(&self, capability: &Capability) -> Result<()> {
        match capability.add_member.filter(|limits| limits.addressing.takes_keys()) {
            Some(_) => Ok(()),
            None => unsupported("the destination cannot add members to this audience by this field"),
        }
    }

    fn decide(&self, change: Change) -> Decision {
        match change {
            Change::Missing => Decision::Skip(RECORD_MISSING),
            _ => Decision::Write(Operation::AddMember),
        }
    }

    fn send_fields(&self) -> SendFields {
        SendFields::All
    }
}
