//! What the in-memory service keeps beside records: entries of histories, the tokens they came with, and audiences.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::MemoryDestination;
use crate::capability::WriteIdempotence;
use crate::destination::WriteBatch;
use crate::error::{Error, Result};
use crate::ids::RemoteId;
use crate::memory::table::{Record, Stored};
use crate::outcome::{Effect, RowOutcome};
use crate::record::Cell;

/// A token, as long as the service remembers it.
pub(super) struct Remembered {
    token: String,
    /// Nothing that came before is remembered any more.
    since: Duration,
    now: Duration,
}

#[derive(Clone, Default)]
pub(super) struct Entries {
    entries: BTreeMap<String, Vec<Record>>,
    /// Of each entry, the token it came with.
    tokens: BTreeMap<String, Vec<String>>,
    /// By object and token: when it came, and what was answered.
    answers: BTreeMap<(String, String), (Duration, RowOutcome)>,
    members: BTreeMap<String, BTreeSet<String>>,
    nobody: BTreeSet<String>,
}

impl Entries {
    pub(super) fn of(&self, object: &str) -> &[Record] {
        self.entries.get(object).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn tokens_of(&self, object: &str) -> Vec<String> {
        self.tokens.get(object).cloned().unwrap_or_default()
    }

    pub(super) fn members(&self, object: &str) -> &BTreeSet<String> {
        self.members.get(object).unwrap_or(&self.nobody)
    }

    /// What was answered when this token came before.
    pub(super) fn answer(&self, object: &str, token: &Remembered) -> Option<RowOutcome> {
        let (at, answer) = self.answers.get(&(object.to_owned(), token.token.clone()))?;
        (*at >= token.since).then(|| answer.clone())
    }

    /// Remembers what was answered, if it was done: what was refused may come again.
    pub(super) fn remember(&mut self, object: &str, token: Remembered, answer: &RowOutcome) {
        if matches!(answer, RowOutcome::Written { .. }) && self.answer(object, &token).is_none() {
            self.answers.insert((object.to_owned(), token.token), (token.now, answer.clone()));
        }
    }

    pub(super) fn append(&mut self, batch: &WriteBatch, row: usize, next_id: &mut u64) -> RowOutcome {
        *next_id += 1;
        let mut record = Record { id: *next_id, writes: 1, ..Record::default() };
        for (name, cell) in batch.rows.cells(row) {
            if let Cell::Set(value) = cell {
                record.fields.insert(name.to_owned(), Stored::new(&value));
            }
        }
        let object = &batch.target.object;
        self.entries.entry(object.clone()).or_default().push(record);
        let token = batch.tokens.as_ref().map(|tokens| tokens[row].as_str().to_owned());
        self.tokens.entry(object.clone()).or_default().push(token.unwrap_or_default());
        RowOutcome::written(Effect::Created, Some(RemoteId::new(next_id.to_string())))
    }

    pub(super) fn add_member(&mut self, batch: &WriteBatch, record: Option<&Record>, key: &str) -> RowOutcome {
        let Some(record) = record else { return RowOutcome::Missing };
        let added = self.members.entry(batch.target.object.clone()).or_default().insert(key.to_owned());
        let effect = if added { Effect::Created } else { Effect::Updated };
        RowOutcome::written(effect, Some(RemoteId::new(record.id.to_string())))
    }

    pub(super) fn remove_member(&mut self, batch: &WriteBatch, key: &str) -> RowOutcome {
        let members = self.members.entry(batch.target.object.clone()).or_default();
        if members.remove(key) { RowOutcome::written(Effect::Unspecified, None) } else { RowOutcome::Missing }
    }
}

impl MemoryDestination {
    /// What the engine promises about tokens.
    pub(super) fn check_tokens(&self, batch: &WriteBatch, broken: &impl Fn(&'static str) -> Error) -> Result<()> {
        let idempotence = self.capability.limits(batch.operation).map(|limits| limits.idempotence);
        let Some(tokens) = &batch.tokens else {
            return match idempotence {
                Some(WriteIdempotence::ByToken) => Err(broken("the rows have no tokens")),
                _ => Ok(()),
            };
        };
        let mut seen = BTreeSet::new();
        let sound =
            |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !tokens.iter().all(|token| sound(token.as_str()) && seen.insert(token)) {
            return Err(broken("the tokens are not distinct, or are not short hashes"));
        }
        Ok(())
    }

    /// The token of a row, if the service has a memory for it.
    pub(super) fn remembered(&self, batch: &WriteBatch, row: usize, now: Duration) -> Option<Remembered> {
        let limits = self.capability.limits(batch.operation)?;
        let token = batch.tokens.as_ref().filter(|_| limits.idempotence == WriteIdempotence::ByToken)?.get(row)?;
        let since = limits.token_retention.map_or(Duration::ZERO, |retention| now.saturating_sub(retention));
        Some(Remembered { token: token.as_str().to_owned(), since, now })
    }
}
