//! Which record a row of a known key goes to, where records are matched by another field than the model's key.
//!
//! A key is bound to the record that an earlier write told. The next write goes by the id of that record, so that a
//! changed match value is an update and not a second record, and a record that came to have our old value stays
//! untouched.

use std::collections::HashSet;

use super::builder::Seen;
use super::reasons::Reason;
use crate::capability::Operation;
use crate::error::Result;
use crate::ids::{FieldName, RemoteId};
use crate::policy::{Change, Decision, Rebound, UpsertPolicy};
use crate::state::{Acknowledged, Claims, StateRead, claim_of};

/// What is the same for all rows of a plan whose keys are bound to records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoundFrame {
    /// Whether rows can be updated by record id.
    pub(crate) by_id: bool,
    pub(crate) rebound: Rebound,
}

/// How a row of a known key says which record it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// By the record's id, as an update.
    Id,
    /// By the value that is matched on, as the policy says.
    Key,
    /// Not at all: by its new value it would make a second record, or write to a stranger.
    Nobody,
}

impl BoundFrame {
    /// Whether a row may not go by a match value that another row's record has.
    pub(super) fn claims_values(&self) -> bool {
        self.by_id || self.rebound == Rebound::Hold
    }

    /// How a row goes. `moved`: its value differs from the one that the destination acknowledged.
    pub(super) fn address(&self, operation: Operation, has_id: bool, moved: bool) -> Address {
        let changes_records = matches!(operation, Operation::Upsert | Operation::Update);
        match (has_id && self.by_id && changes_records, moved, self.rebound) {
            (true, _, _) => Address::Id,
            (false, true, Rebound::Hold) if changes_records => Address::Nobody,
            _ => Address::Key,
        }
    }
}

/// Why a row whose match value changed is held.
pub(super) fn match_value_changed(field: &FieldName) -> Reason {
    Reason::new(
        "match_value_changed",
        Some(field.to_string()),
        "the record has the old value and cannot be updated by its id; change the value there by hand, or let the row \
         go by its new value: .rebound(Rebound::Follow)",
    )
}

/// Why a row is held whose match value another record has than the one its key is bound to.
pub(crate) fn rebound() -> Reason {
    let fix = "another record has this row's value now; see whose it is, or let the row follow: \
               .rebound(Rebound::Follow)";
    Reason::new("rebound", None, fix)
}

/// Why a row that goes by record id is held: another row of the model has that record too.
pub(crate) fn bound_twice() -> Reason {
    let fix =
        "two rows of the model were written to one record; see which of them it belongs to, and take the other out";
    Reason::new("record_shared", None, fix)
}

/// Why a row that goes by its match value waits: the record of that value belongs to another row.
pub(super) fn match_value_taken(field: &FieldName) -> Reason {
    Reason::new(
        "match_value_taken",
        Some(field.to_string()),
        "the record with this value belongs to another row of the model, which has another value now; the row is \
         written once that row's record has it",
    )
}

/// What rows of one read lay claim to, as hashes: 8 bytes a row.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    /// Of rows that go by id, the id.
    ids: Vec<u64>,
    /// Of rows that go by a match value which is not the acknowledged one of their key, the hash of the value.
    values: Vec<u64>,
}

impl Claimed {
    pub(super) fn id(&mut self, id: &str) {
        self.ids.push(claim_of(id));
    }

    pub(super) fn value(&mut self, hash: u64) {
        self.values.push(hash);
    }

    /// Those claims that another row of the model has too. Reads the whole state, unless nothing was claimed.
    pub(super) async fn contested(
        mut self,
        known: &Acknowledged,
        state: &dyn StateRead,
        seen: &[Seen],
        match_field: &FieldName,
        match_index: usize,
    ) -> Result<Contested> {
        let mut contested = Contested::default();
        if known.len() == 0 || (self.ids.is_empty() && self.values.is_empty()) {
            return Ok(contested);
        }
        self.ids.sort_unstable();
        self.values.sort_unstable();
        let Claims { mut ids, values } = known.claims(state, match_field, &self.ids, &self.values).await?;
        let is_live = |position: usize| !matches!(seen[position], Seen::Nothing | Seen::Marked);
        ids.retain(|(_, position)| is_live(*position));
        // Only of ids that several keys were given it matters which of them is in force.
        let mut twice: Vec<usize> = Vec::new();
        for run in ids.chunk_by(|a, b| a.0 == b.0).filter(|run| run.len() > 1) {
            twice.extend(run.iter().map(|(_, position)| *position));
        }
        twice.sort_unstable();
        twice.dedup();
        let mut owned = HashSet::new();
        for record in known.records(state, &twice).await? {
            if let Some(id) = record.id.map(|id| claim_of(id.as_str()))
                && !owned.insert(id)
            {
                contested.ids.insert(id);
            }
        }
        let live: Vec<usize> = values.into_iter().filter(|position| is_live(*position)).collect();
        let width = known.width();
        for image in known.images(state, &live).await?.chunks_exact(width) {
            if self.values.binary_search(&image[match_index]).is_ok() {
                contested.values.insert(image[match_index]);
            }
        }
        Ok(contested)
    }
}

/// Claims that several rows of the model have.
#[derive(Debug, Default)]
pub(super) struct Contested {
    ids: HashSet<u64>,
    values: HashSet<u64>,
}

impl Contested {
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.values.is_empty()
    }

    /// Whether the record of this id is another row's too.
    pub(super) fn has_id(&self, id: &str) -> bool {
        !self.ids.is_empty() && self.ids.contains(&claim_of(id))
    }

    /// Whether the record with this value is another row's.
    pub(super) fn has_value(&self, hash: u64) -> bool {
        self.values.contains(&hash)
    }
}

/// What is done about a row whose record could not be found by its id, after its match value was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// It is written by its match value.
    ByKey(Operation),
    /// It is written to this record, and bound to it.
    ById(RemoteId),
    /// It waits for a person: another record has its match value.
    Rebound,
    /// It waits for a person: nobody can tell whether another record has its match value.
    Gone,
    /// Several records have its match value.
    Ambiguous,
    /// The service finds the record by its value and not by its id.
    Unreachable,
    /// There is no record, and the policy makes none.
    Missing,
}

/// Decides about a row that was bound to `id`, which the destination no longer has. `found` are the records with its
/// match value, `None` where none can be looked up.
pub(crate) fn resolve(
    id: &RemoteId,
    found: Option<&[RemoteId]>,
    rebound: Rebound,
    policy: &dyn UpsertPolicy,
) -> Resolution {
    let by_key = || match policy.decide(Change::New) {
        Decision::Write(Operation::Update) if found.is_some() => Resolution::Missing,
        Decision::Write(operation) => Resolution::ByKey(operation),
        Decision::Skip(_) | Decision::Hold(_) => Resolution::Missing,
    };
    match (found, rebound) {
        (None, Rebound::Hold) => Resolution::Gone,
        (None, Rebound::Follow) | (Some([]), _) => by_key(),
        (Some([one]), _) if one == id => Resolution::Unreachable,
        (Some([_]), Rebound::Hold) => Resolution::Rebound,
        (Some([one]), Rebound::Follow) => Resolution::ById(one.clone()),
        (Some(_), _) => Resolution::Ambiguous,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{UpdateOnly, Upsert};

    #[test]
    fn f23_a_row_goes_by_id_by_key_or_not_at_all() {
        use Address::{Id, Key, Nobody};
        for (by_id, rebound, operation, has_id, moved, expected) in [
            (true, Rebound::Hold, Operation::Upsert, true, false, Id),
            (true, Rebound::Hold, Operation::Upsert, true, true, Id),
            (true, Rebound::Follow, Operation::Update, true, true, Id),
            (true, Rebound::Hold, Operation::Upsert, false, false, Key),
            (true, Rebound::Hold, Operation::Upsert, false, true, Nobody),
            (true, Rebound::Follow, Operation::Upsert, false, true, Key),
            (false, Rebound::Hold, Operation::Upsert, true, false, Key),
            (false, Rebound::Hold, Operation::Update, true, true, Nobody),
            (false, Rebound::Follow, Operation::Update, true, true, Key),
            (true, Rebound::Hold, Operation::Create, true, true, Key),
        ] {
            let frame = BoundFrame { by_id, rebound };
            assert_eq!(frame.address(operation, has_id, moved), expected, "{frame:?} {operation:?} {has_id} {moved}");
        }
    }

    #[test]
    fn f45_f46_a_lost_record_is_resolved_once_and_never_guessed() {
        let id = |text: &str| RemoteId::new(text);
        let (hold, follow) = (Rebound::Hold, Rebound::Follow);
        let (upsert, update): (&dyn UpsertPolicy, &dyn UpsertPolicy) = (&Upsert::new(), &UpdateOnly::new());
        let table: Vec<(Option<Vec<RemoteId>>, Rebound, &dyn UpsertPolicy, Resolution)> = vec![
            (None, hold, upsert, Resolution::Gone),
            (None, follow, upsert, Resolution::ByKey(Operation::Upsert)),
            (None, follow, update, Resolution::ByKey(Operation::Update)),
            (Some(vec![]), hold, upsert, Resolution::ByKey(Operation::Upsert)),
            (Some(vec![]), follow, update, Resolution::Missing),
            (Some(vec![id("1")]), follow, upsert, Resolution::Unreachable),
            (Some(vec![id("2")]), hold, upsert, Resolution::Rebound),
            (Some(vec![id("2")]), follow, update, Resolution::ById(id("2"))),
            (Some(vec![id("2"), id("3")]), follow, upsert, Resolution::Ambiguous),
            (Some(vec![id("1"), id("3")]), hold, update, Resolution::Ambiguous),
        ];
        for (found, rebound, policy, expected) in table {
            assert_eq!(resolve(&id("1"), found.as_deref(), rebound, policy), expected, "{found:?} {rebound:?}");
        }
    }
}
