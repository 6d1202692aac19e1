//! Operations that are accepted and not applied yet.

use std::collections::VecDeque;

use super::operation::Operation;

/// An accepted operation.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) operation: Operation,
    pub(crate) accepted_at_ms: i64,
    due_ms: i64,
}

impl Accepted {
    /// An operation to be applied without waiting.
    pub(crate) fn now(operation: Operation, now_ms: i64) -> Self {
        Self { operation, accepted_at_ms: now_ms, due_ms: now_ms }
    }
}

/// First in, first out: the delay is the same for all.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Accepted>,
}

impl Queue {
    pub(crate) fn push(&mut self, operation: Operation, now_ms: i64, delay_ms: u64) {
        let due_ms = now_ms.saturating_add(i64::try_from(delay_ms).unwrap_or(i64::MAX));
        self.waiting.push_back(Accepted { operation, accepted_at_ms: now_ms, due_ms });
    }

    /// The next operation whose time has come.
    pub(crate) fn next_due(&mut self, now_ms: i64) -> Option<Accepted> {
        self.waiting.pop_front_if(|accepted| accepted.due_ms <= now_ms)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}
