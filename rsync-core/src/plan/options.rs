//! What a single plan is asked for beyond the ordinary.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::ids::KeyHash;
use crate::policy::{RECORD_EXISTS, RECORD_MISSING};
use crate::state::codec::Status;
use crate::state::{Acknowledged, StateRead};

/// Which rows are sent again although they have not changed.
///
/// The state keeps what it knows of all keys, so rows that left the model are still noticed. Rows that changed are sent
/// in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resend {
    /// All rows.
    All,
    /// Rows that the destination refused, and that are parked since.
    Parked,
    /// The rows with these keys, also where an earlier run does not know what became of them and the operation is not
    /// safe to repeat: look at the destination before.
    Keys(BTreeSet<KeyHash>),
    /// Rows whose last outcome has this code, such as a code of the destination in the reasons of a report.
    Code(String),
}

/// What one plan is asked for beyond the ordinary; see [`Pipeline::plan_with`](crate::Pipeline::plan_with).
///
/// ```
/// use rsync_core::plan::{PlanOptions, Resend};
///
/// // The destination was mended: try all rows again that it had refused.
/// let options = PlanOptions::new().resend(Resend::Parked);
/// // The state is lost for good, or the model has another key now.
/// let options = PlanOptions::new().begin_anew();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "options do nothing until a plan is made with them"]
pub struct PlanOptions {
    pub(crate) anew: bool,
    pub(crate) resend: Option<Resend>,
    pub(crate) ignore_not_before: bool,
    pub(crate) accept_column_types: bool,
}

impl PlanOptions {
    /// An ordinary plan.
    pub fn new() -> Self {
        Self::default()
    }

    /// Plans as if nothing had ever been written, under the sync's present key, match field, account and hash key.
    ///
    /// Applying the plan replaces the stored state, whatever it belonged to, in one commit. Every row is sent as a new
    /// one, so nothing is deleted and made again where the policy upserts. Nothing is disposed of in that run, and later
    /// runs know only the keys that it wrote.
    pub fn begin_anew(mut self) -> Self {
        self.anew = true;
        self
    }

    /// Sends rows again that have not changed, with all their fields.
    pub fn resend(mut self, rows: Resend) -> Self {
        self.resend = Some(rows);
        self
    }

    /// Takes the types that columns have now, where one became narrower or another one since the last run.
    pub fn accept_column_types(mut self) -> Self {
        self.accept_column_types = true;
        self
    }

    /// Does not wait for the moment that the last run was told to wait for, nor for the sync's window. Outside of the
    /// window nothing is written nevertheless.
    pub fn ignore_not_before(mut self) -> Self {
        self.ignore_not_before = true;
        self
    }
}

/// The known rows that a plan sends again.
#[derive(Debug)]
pub(crate) enum Chosen {
    None,
    All,
    Parked,
    /// By their positions in the state, ascending. Those that somebody named are sent whatever the risk.
    Some {
        positions: Vec<usize>,
        named: bool,
    },
}

impl Chosen {
    pub(crate) async fn new(resend: Option<&Resend>, known: &Acknowledged, state: &dyn StateRead) -> Result<Self> {
        Ok(match resend {
            None => Chosen::None,
            Some(Resend::All) => Chosen::All,
            Some(Resend::Parked) => Chosen::Parked,
            Some(Resend::Keys(keys)) => {
                let mut positions: Vec<usize> = keys.iter().filter_map(|key| known.find(*key)).collect();
                positions.sort_unstable();
                Chosen::Some { positions, named: true }
            }
            Some(Resend::Code(code)) => {
                let status = match code.as_str() {
                    RECORD_MISSING => Some(Status::Missing),
                    RECORD_EXISTS => Some(Status::Exists),
                    _ => None,
                };
                let mut positions = known.noted(state, code).await?;
                positions.extend((0..known.len()).filter(|position| Some(known.status(*position)) == status));
                positions.sort_unstable();
                Chosen::Some { positions, named: false }
            }
        })
    }

    /// Whether the row whose key is at `position` is sent again.
    pub(super) fn has(&self, known: &Acknowledged, position: usize) -> bool {
        match self {
            Chosen::None => false,
            Chosen::All => true,
            Chosen::Parked => known.status(position) == Status::Rejected,
            Chosen::Some { positions, .. } => positions.binary_search(&position).is_ok(),
        }
    }

    /// Whether it is sent although it may be applied twice.
    pub(super) fn is_named(&self, position: usize) -> bool {
        matches!(self, Chosen::Some { positions, named: true } if positions.binary_search(&position).is_ok())
    }
}
