//! What the service accepts but a careful client does not send.

use std::collections::VecDeque;

use serde::Serialize;

/// Lints kept; older ones are dropped so that a long load test does not grow without bound.
const KEPT_LINTS: usize = 10_000;

/// Something that was accepted and is probably a mistake. It holds no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Lint {
    /// What is wrong.
    pub kind: LintKind,
    /// Which field.
    pub field: String,
}

/// Kinds of lints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LintKind {
    /// A time in milliseconds where seconds are meant.
    TimeInMilliseconds,
    /// A time as text where a number of seconds is meant.
    TimeAsText,
    /// The id of an event that is no ULID, so that it deduplicates nothing or too much.
    EventIdNoUlid,
    /// An attribute whose name begins with an underscore and means nothing to the service.
    UnknownUnderscoreName,
    /// `unsubscribed` written as something else than a yes: it subscribes people who opted out.
    Resubscribes,
    /// All subscription preferences replaced at once instead of single ones.
    WholePreferences,
    /// A person written by two requests at the same time.
    ConcurrentWrites,
    /// An attribute sent with the value it had.
    UnchangedValue,
    /// An attribute cleared by an empty text instead of `null`.
    ClearedByEmptyText,
    /// An attribute of the service's own, which a call cannot set.
    ReadOnlyName,
}

/// The last lints.
#[derive(Debug, Default)]
pub(crate) struct Lints {
    kept: VecDeque<Lint>,
}

impl Lints {
    pub(crate) fn push(&mut self, kind: LintKind, field: impl Into<String>) {
        if self.kept.len() == KEPT_LINTS {
            self.kept.pop_front();
        }
        self.kept.push_back(Lint { kind, field: field.into() });
    }

    pub(crate) fn all(&self) -> Vec<Lint> {
        self.kept.iter().cloned().collect()
    }

    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }
}
