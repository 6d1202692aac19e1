//! Rows counted by what became of them and why.

use std::collections::BTreeMap;

use crate::ids::KeyHash;
use crate::outcome::Outcome;

/// Why rows had an outcome.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Reason {
    /// A short code: ours for [`Outcome::Invalid`], [`Outcome::Skipped`] and [`Outcome::Deferred`], the service's
    /// for the others.
    pub code: String,
    /// The field or column at fault.
    pub field: Option<String>,
    /// What to do about it.
    pub fix: &'static str,
}

impl Reason {
    pub(crate) fn new(code: impl Into<String>, field: Option<String>, fix: &'static str) -> Self {
        Self { code: code.into(), field, fix }
    }
}

/// How many rows had an outcome for a reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Rows.
    pub rows: u64,
    /// The key hashes of some of them.
    pub samples: Vec<KeyHash>,
}

/// Key hashes kept for each reason.
const SAMPLES: usize = 5;

/// Rows by outcome and reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons(BTreeMap<(Outcome, Reason), Tally>);

impl Reasons {
    pub(crate) fn add(&mut self, outcome: Outcome, reason: &Reason, key: Option<KeyHash>) {
        self.add_many(outcome, reason, 1, key);
    }

    pub(crate) fn add_many(&mut self, outcome: Outcome, reason: &Reason, rows: u64, key: Option<KeyHash>) {
        if rows == 0 {
            return;
        }
        let tally = match self.0.get_mut(&(outcome, reason.clone())) {
            Some(tally) => tally,
            None => self.0.entry((outcome, reason.clone())).or_default(),
        };
        tally.rows += rows;
        if let Some(key) = key.filter(|_| tally.samples.len() < SAMPLES) {
            tally.samples.push(key);
        }
    }

    /// Outcome, reason and number of rows, ordered.
    pub fn iter(&self) -> impl Iterator<Item = (Outcome, &Reason, &Tally)> {
        self.0.iter().map(|((outcome, reason), tally)| (*outcome, reason, tally))
    }

    /// Rows with that outcome, over all reasons.
    pub fn rows(&self, outcome: Outcome) -> u64 {
        self.iter().filter(|(o, _, _)| *o == outcome).map(|(_, _, tally)| tally.rows).sum()
    }

    /// Rows with that outcome and code, over all fields.
    pub fn rows_with_code(&self, outcome: Outcome, code: &str) -> u64 {
        self.iter().filter(|(o, reason, _)| *o == outcome && reason.code == code).map(|(_, _, tally)| tally.rows).sum()
    }
}
