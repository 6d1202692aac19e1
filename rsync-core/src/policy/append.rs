//! Histories: every version of a row becomes an entry of its own.

use super::{Change, Decision, RECORD_MISSING, SendFields, UpsertPolicy, unsupported};
use crate::capability::{Capability, Operation};
use crate::error::Result;

/// Adds an entry, such as an event or a row of a history, for every new row and for every change of one: a row that goes
/// from A to B and back to A makes three entries. Each carries all mapped fields.
///
/// An entry that a run has begun to send is kept, encrypted, until the destination has answered for it, and later runs
/// send it as it was, before newer entries of its key. Each has a
/// [token](crate::destination::WriteBatch::tokens) that stays the same in every attempt.
///
/// | What is known of an entry | What the next run does |
/// | --- | --- |
/// | It was certainly not applied | sends it |
/// | Its fate is unknown, and the destination remembers its token | sends it; the destination makes no second one |
/// | Its fate is unknown, and nothing makes a second send safe | leaves it in doubt, `possible_duplicate`, unless it is to [resend](Append::resending) |
///
/// ```
/// use rsync_core::policy::Append;
///
/// // Rather one entry twice than one missing. The report says how many may be there twice.
/// let policy = Append::new().resending();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Append {
    resend: bool,
}

impl Append {
    /// The policy. What cannot be sent again safely stays in doubt.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends entries of unknown fate again, once a run, although the destination may then have two. Each is counted in
    /// [`Totals::possible_duplicates`](crate::report::Totals::possible_duplicates).
    #[must_use]
    pub fn resending(mut self) -> Self {
        self.resend = true;
        self
    }
}

impl UpsertPolicy for Append {
    fn validate(&self, capability: &Capability) -> Result<()> {
        match capability.append {
            Some(_) => Ok(()),
            None => unsupported("the destination cannot append to this object"),
        }
    }

    fn decide(&self, change: Change) -> Decision {
        match change {
            Change::Missing => Decision::Skip(RECORD_MISSING),
            _ => Decision::Write(Operation::Append),
        }
    }

    fn send_fields(&self) -> SendFields {
        SendFields::All
    }

    fn resends_in_doubt(&self) -> bool {
        self.resend
    }
}
