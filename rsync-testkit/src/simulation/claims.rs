//! What the durable state claims, read from every commit, and whether it is true.

use std::collections::{BTreeMap, BTreeSet};

use rsync_core::capability::{Operation, WriteIdempotence};
use rsync_core::state::codec::{Ack, Intent, RunRecord, Status, read_sequence_key};
use rsync_core::state::{Mutation, Table};
use rsync_core::{Result, Scope};

use super::fault::Situation;
use super::history::Row;
use super::keys::Keys;
use super::mode::{ExitMode, Leaving, TOMBSTONE, Writes};
use super::oracle::{Findings, Truth};
use super::records::Record;

/// What is to become of the record of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    Row(Row),
    Exit,
}

/// What the durable state claims of a key.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) standing: Status,
    /// Of the latest intent.
    pub(super) aim: Aim,
    /// What was done last.
    acknowledged: Option<Aim>,
    /// Whether the id of the record is known.
    id: bool,
    /// Whether the service said that the record was new.
    created: bool,
}

impl Claim {
    fn is_in_doubt(&self) -> bool {
        matches!(self.standing, Status::InDoubt | Status::Leaving)
    }
}

#[derive(Debug, Default)]
pub(super) struct Claims {
    by_key: BTreeMap<String, Claim>,
    intents: BTreeMap<u64, Vec<(String, Aim)>>,
    refused: BTreeMap<String, Aim>,
    /// Keys that were in doubt when a run began: what their records hold is not known field by field.
    doubted: BTreeSet<String>,
    /// Whether the state says that the last run has begun and not ended.
    open_run: bool,
    /// Jobs that the state remembers.
    jobs: BTreeSet<Vec<u8>>,
}

fn holds(row: &Row, record: &Record) -> bool {
    // A null name is kept back, so it says nothing about the record.
    record.tier == row.tier && (row.name.is_none() || record.name == row.name)
}

impl Claims {
    pub(super) fn get(&self, key: &str) -> Option<&Claim> {
        self.by_key.get(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub(super) fn begin_run(&mut self) {
        let doubted = self.by_key.iter().filter(|(_, claim)| claim.is_in_doubt());
        self.doubted.extend(doubted.map(|(key, _)| key.clone()));
    }

    /// Whether the key was in doubt when a run began.
    pub(super) fn is_doubted(&self, key: &str) -> bool {
        self.doubted.contains(key)
    }

    pub(super) fn has_open_run(&self) -> bool {
        self.open_run
    }

    pub(super) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn refuse(&mut self, key: &str, aim: Aim) {
        self.refused.insert(key.to_owned(), aim);
    }

    /// Whether rows wait for a record that appears.
    pub(super) fn waits_for_records(&self) -> bool {
        self.by_key.values().any(|claim| claim.standing == Status::Missing)
    }

    /// Takes a commit that is durable now.
    pub(super) fn committed(&mut self, mutations: &[Mutation], truth: &Truth<'_>, keys: &Keys, found: &mut Findings) {
        let mut touched = BTreeSet::new();
        for mutation in mutations {
            let Mutation::Put { table, key, value } = mutation else {
                if let Mutation::Delete { table: Table::Jobs, key } = mutation {
                    self.jobs.remove(key);
                }
                continue;
            };
            let done = match table {
                Table::Intents => self.intended(key, value, truth, keys, &mut touched, found),
                Table::Acks => self.acknowledged(key, value, &mut touched, found),
                Table::Runs => RunRecord::decode(value).map(|run| self.open_run = run.ended_ms == 0),
                Table::Jobs => {
                    self.jobs.insert(key.clone());
                    Ok(())
                }
                _ => Ok(()),
            };
            if let Err(error) = done {
                found.violate("I12", format!("a committed record cannot be read: {error}"));
            }
        }
        for key in &touched {
            let (claim, record) = (self.by_key.get(key), truth.records.get(key));
            let (true_claim, said) = match claim.map(|claim| claim.standing) {
                // Others may have made another record since.
                None => (record.is_none_or(|record| !record.touched), "is removed"),
                Some(Status::Missing) => (record.is_none(), "has no record"),
                Some(Status::Exists) => (record.is_some(), "has a record of others"),
                _ => continue,
            };
            if !true_claim {
                found.violate("I3", format!("the state says that \"{key}\" {said}, but the service has {record:?}"));
            }
        }
        touched.iter().for_each(|key| self.check(key, truth, found));
    }

    fn intended(
        &mut self,
        sequence: &[u8],
        value: &[u8],
        truth: &Truth<'_>,
        keys: &Keys,
        touched: &mut BTreeSet<String>,
        found: &mut Findings,
    ) -> Result<()> {
        let intent = Intent::decode(value)?;
        let sends = |operation: Operation| intent.operation == operation as u8 + 1;
        let is_exit = intent.operation != 0 && !sends(truth.mode.operation());
        let mut rows = Vec::with_capacity(intent.keys.len());
        for hash in &intent.keys {
            let key = keys.get(hash).cloned().unwrap_or_default();
            let aim = match truth.version.syncable.get(&key) {
                Some(row) if !is_exit => Aim::Row(row.clone()),
                None if truth.may_leave(&key) => Aim::Exit,
                row => {
                    let invariant = if is_exit { "I6" } else { "I2" };
                    let what = if row.is_some() { "the model has" } else { "no single row of the model has" };
                    found.violate(invariant, format!("a call is intended for \"{key}\", which {what}"));
                    continue;
                }
            };
            if !truth.read_complete {
                found.violate("I6", format!("a call is intended for \"{key}\", but the model was not read to its end"));
            }
            let before = self.by_key.get(&key);
            self.check_aim(&key, before, &aim, intent.operation != 0, truth, found);
            let standing = if sends(Operation::Delete) { Status::Leaving } else { Status::InDoubt };
            // Nobody can tell whether a write after a removal of unknown fate wrote the old record or another.
            let before = before.filter(|before| before.standing != Status::Leaving || standing == Status::Leaving);
            let claim = Claim {
                standing,
                aim: aim.clone(),
                acknowledged: before.and_then(|before| before.acknowledged.clone()),
                id: before.is_some_and(|before| before.id),
                created: before.is_some_and(|before| before.created),
            };
            self.by_key.insert(key.clone(), claim);
            touched.insert(key.clone());
            rows.push((key, aim));
        }
        self.intents.insert(read_sequence_key(sequence)?, rows);
        Ok(())
    }

    /// Whether it makes sense to intend `aim` for a key.
    fn check_aim(
        &self,
        key: &str,
        before: Option<&Claim>,
        aim: &Aim,
        sent: bool,
        truth: &Truth<'_>,
        found: &mut Findings,
    ) {
        let settled = before.filter(|before| before.standing == Status::Synced);
        if sent && settled.is_some_and(|before| before.aim == *aim) {
            found.violate("I8", format!("\"{key}\" is sent although nothing has changed"));
        }
        match (aim, before) {
            (Aim::Row(_), Some(before)) => {
                let ours = matches!(before.standing, Status::Synced | Status::Exists);
                if sent && ours && truth.mode.writes == Writes::CreateOnly {
                    found.violate("I8", format!("\"{key}\" is made again: {before:?}"));
                }
                if before.aim == Aim::Exit && before.is_in_doubt() {
                    found.met(Situation::BackInDoubt);
                }
            }
            (Aim::Row(_), None) => {}
            (Aim::Exit, before) => {
                if before.is_none_or(|before| before.acknowledged.is_none() && !before.is_in_doubt()) {
                    found.violate("I6", format!("\"{key}\" leaves, which this sync never wrote: {before:?}"));
                }
                let made = before.is_some_and(|before| before.created);
                if !made && truth.mode.exits.is_some_and(|exits| exits.scope == Scope::CreatedByUs) {
                    found
                        .violate("I6", format!("the record of \"{key}\" is disposed of, which this sync did not make"));
                }
                if before.is_some_and(|before| before.aim != Aim::Exit && before.is_in_doubt()) {
                    found.met(Situation::LeftInDoubt);
                }
            }
        }
    }

    fn acknowledged(
        &mut self,
        sequence: &[u8],
        value: &[u8],
        touched: &mut BTreeSet<String>,
        found: &mut Findings,
    ) -> Result<()> {
        let ack = Ack::decode(value)?;
        let rows = self.intents.get(&read_sequence_key(sequence)?).cloned().unwrap_or_default();
        if rows.len() != ack.status.len() {
            found.violate("I12", "an acknowledgement does not fit its intent".into());
        }
        for (row, ((key, aim), status)) in rows.into_iter().zip(&ack.status).enumerate() {
            if *status == Status::Rejected && self.refused.get(&key) != Some(&aim) {
                found.violate("I5", format!("\"{key}\" is parked as refused, but the service never refused it"));
            }
            touched.insert(key.clone());
            if *status == Status::Removed {
                self.by_key.remove(&key);
                continue;
            }
            let fresh = || Claim { standing: *status, aim: aim.clone(), acknowledged: None, id: false, created: false };
            let claim = self.by_key.entry(key).or_insert_with(fresh);
            if matches!(status, Status::Missing | Status::Exists) {
                *claim = fresh();
            }
            if *status == Status::Synced {
                claim.acknowledged = Some(aim.clone());
            }
            match status {
                Status::Leaving => found.met(Situation::ExitInDoubt),
                Status::Missing => found.met(Situation::RecordMissing),
                Status::Exists => found.met(Situation::RecordExists),
                _ => {}
            }
            claim.standing = *status;
            claim.aim = aim.clone();
            claim.id |= !ack.ids.get(row).is_empty();
            claim.created |= ack.created.get(row).copied().unwrap_or_default();
        }
        Ok(())
    }

    /// The state may not claim what the service does not hold.
    fn check(&self, key: &str, truth: &Truth<'_>, found: &mut Findings) {
        let Some(claim) = self.by_key.get(key) else { return };
        let record = truth.records.get(key);
        let (true_claim, said) = match claim.standing {
            Status::Synced => (self.stands(key, &claim.aim, truth), "is synced"),
            Status::Failed | Status::Rejected => match &claim.acknowledged {
                Some(aim) => (self.stands(key, aim, truth), "is as it was acknowledged before"),
                None => (record.is_none_or(|record| !record.touched), "was never written"),
            },
            _ => return,
        };
        if !true_claim {
            let what = format!("the state says that \"{key}\" {said}: {claim:?}, but the service has {record:?}");
            found.violate("I3", what);
        }
    }

    /// Checks all claims, when nothing is in the air.
    pub(super) fn check_at_rest(&self, truth: &Truth<'_>, found: &mut Findings) {
        self.by_key.keys().for_each(|key| self.check(key, truth, found));
    }

    /// Whether the service holds what was aimed at.
    fn stands(&self, key: &str, aim: &Aim, truth: &Truth<'_>) -> bool {
        match (aim, truth.records.get(key), truth.mode.exits) {
            (Aim::Row(row), record, _) => record.is_some_and(|record| holds(row, record)),
            (Aim::Exit, Some(record), Some(exits)) => self.is_disposed_of(key, record, exits),
            (Aim::Exit, ..) => false,
        }
    }

    /// Whether what is to be done about a record is done.
    fn is_disposed_of(&self, key: &str, record: &Record, exits: ExitMode) -> bool {
        match exits.leaving {
            Leaving::Delete => false,
            Leaving::Tombstone => record.tier.as_deref() == Some(TOMBSTONE),
            // A name that a write of unknown fate set, and that the row then said nothing about, is not known as ours;
            // the tier is in every write.
            Leaving::Clear => record.tier.is_none() && (record.name.is_none() || !record.named || self.is_doubted(key)),
        }
    }

    /// The first record that is not as it should be, and nothing excuses it.
    pub(super) fn unfinished(&self, truth: &Truth<'_>) -> Option<String> {
        let capability = truth.capability;
        let replayable = |operation: Operation| {
            capability.limits(operation).is_some_and(|limits| limits.idempotence != WriteIdempotence::None)
        };
        let row = truth.version.syncable.iter().find(|(key, row)| {
            let (claim, record) = (self.by_key.get(*key), truth.records.get(key));
            let finished = match truth.mode.writes {
                Writes::Upsert => false,
                // It asks again when its turn comes.
                Writes::UpdateOnly(_) => claim
                    .is_some_and(|claim| claim.standing == Status::Missing && claim.aim == Aim::Row((*row).clone())),
                // What came after the row was made is not written.
                Writes::CreateOnly => record.is_some(),
            };
            let unknown = claim.is_some_and(Claim::is_in_doubt) && !replayable(truth.mode.operation());
            let refused = matches!(self.refused.get(*key), Some(Aim::Row(refused)) if refused == *row);
            !finished && !unknown && !refused && record.is_none_or(|record| !holds(row, record))
        });
        if let Some((key, row)) = row {
            return Some(format!("\"{key}\" should be {row:?}, the service has {:?}", truth.records.get(key)));
        }
        let exits = truth.mode.exits?;
        let operation = match exits.leaving {
            Leaving::Delete => Operation::Delete,
            _ if capability.update.is_some() => Operation::Update,
            _ => Operation::Upsert,
        };
        let addressing = capability.limits(operation).map(|limits| limits.addressing).unwrap_or_default();
        let (key, record) = truth.records.iter().find(|(key, record)| {
            let claim = self.by_key.get(*key);
            let known = claim.is_some_and(|claim| claim.id) && addressing.takes_ids();
            let addressed = known || (addressing.takes_keys() && truth.version.marked.contains(*key));
            let in_scope = exits.scope == Scope::TouchedByUs || claim.is_some_and(|claim| claim.created);
            let others = claim.is_some_and(|claim| matches!(claim.standing, Status::Missing | Status::Exists));
            let unknown = claim.is_some_and(Claim::is_in_doubt) && !replayable(operation);
            let refused = self.refused.get(*key) == Some(&Aim::Exit);
            let excused = !addressed || !in_scope || others || unknown || refused;
            record.touched && truth.may_leave(key) && !excused && !self.is_disposed_of(key, record, exits)
        })?;
        Some(format!("\"{key}\" has left, the service has {record:?}"))
    }
}
