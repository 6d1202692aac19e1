//! One batch on its way: its parts, and the outcomes of its rows.

use std::collections::VecDeque;
use std::time::Duration;

use crate::batch::batch_id;
use crate::capability::Operation;
use crate::destination::{Target, WriteBatch};
use crate::error::Result;
use crate::ids::{BatchId, FieldName, RemoteId};
use crate::outcome::{Applied, Effect, Outcome};
use crate::plan::Work;
use crate::policy::Change;
use crate::retry::Schedule;
use crate::state::codec::{Ack, Note, Status, Texts};

/// The outcome of a row, with what the report and the state keep of it.
#[derive(Clone, Debug)]
pub(super) enum Settled {
    Written { id: Option<RemoteId>, effect: Effect, applied: Applied },
    Unchanged,
    Rejected { code: String, field: Option<FieldName>, fix: &'static str },
    Failed { code: String },
    InDoubt { code: String },
    Deferred { code: &'static str },
}

impl Settled {
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Settled::Written { .. } => Outcome::Written,
            Settled::Unchanged => Outcome::Unchanged,
            Settled::Rejected { .. } => Outcome::Rejected,
            Settled::Failed { .. } => Outcome::Failed,
            Settled::InDoubt { .. } => Outcome::InDoubt,
            Settled::Deferred { .. } => Outcome::Deferred,
        }
    }
}

/// Rows of a flight that are sent together.
#[derive(Debug)]
pub(super) struct Part {
    /// Rows of the flight's work.
    pub(super) rows: Vec<u32>,
    pub(super) schedule: Schedule,
    /// Whether an attempt may have been applied although its answer was lost.
    pub(super) maybe_applied: bool,
}

impl Part {
    /// The outcome of rows that are not sent any more in this run: deferred, unless an earlier attempt may have
    /// been applied.
    pub(super) fn unsent(&self, code: &'static str) -> Settled {
        if self.maybe_applied { Settled::InDoubt { code: code.into() } } else { Settled::Deferred { code } }
    }
}

/// A batch between its intent and its acknowledgement.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) id: BatchId,
    pub(super) operation: Operation,
    pub(super) work: Work,
    pub(super) parts: VecDeque<Part>,
    pub(super) settled: Vec<Option<Settled>>,
    pub(super) started: Duration,
    pub(super) splits: u32,
}

impl Flight {
    pub(super) fn new(id: BatchId, operation: Operation, work: Work, schedule: Schedule, now: Duration) -> Self {
        let rows = (0..work.len() as u32).collect();
        let part = Part { rows, schedule, maybe_applied: false };
        Self {
            id,
            operation,
            settled: vec![None; work.len()],
            work,
            parts: VecDeque::from([part]),
            started: now,
            splits: 0,
        }
    }

    /// The batch of a part.
    pub(super) fn batch(&self, part: &Part, target: &Target) -> Result<WriteBatch> {
        if part.rows.len() == self.work.len() {
            return WriteBatch::new(self.id, self.operation, target.clone(), self.work.rows.clone());
        }
        // Other content is another batch.
        let work = self.work.take(&part.rows)?;
        WriteBatch::new(batch_id(self.operation, &work), self.operation, target.clone(), work.rows)
    }

    pub(super) fn settle(&mut self, row: u32, settled: Settled) {
        self.settled[row as usize] = Some(settled);
    }

    pub(super) fn settle_all(&mut self, part: &Part, settled: &Settled) {
        for row in &part.rows {
            self.settle(*row, settled.clone());
        }
    }

    pub(super) fn written(&self) -> usize {
        self.settled.iter().flatten().filter(|settled| settled.outcome() == Outcome::Written).count()
    }

    /// What the state keeps of it.
    pub(super) fn ack(&self) -> Ack {
        let mut ack = Ack { status: Vec::new(), attempts: Vec::new(), ids: Texts::default(), notes: Vec::new() };
        for (row, settled) in self.settled.iter().enumerate() {
            let before = self.work.attempts[row];
            let (mut status, attempts, note) = match settled {
                Some(Settled::Written { .. } | Settled::Unchanged) => (Status::Synced, 0, None),
                Some(Settled::Rejected { code, field, .. }) => {
                    let field = field.as_ref().map(|field| field.as_str().to_owned()).unwrap_or_default();
                    (Status::Rejected, before.saturating_add(1), Some((code.clone(), field)))
                }
                Some(Settled::Failed { code }) => {
                    (Status::Failed, before.saturating_add(1), Some((code.clone(), String::new())))
                }
                Some(Settled::Deferred { code }) => (Status::Failed, before, Some(((*code).to_owned(), String::new()))),
                Some(Settled::InDoubt { code }) => {
                    (Status::InDoubt, before.saturating_add(1), Some((code.clone(), String::new())))
                }
                None => (Status::InDoubt, before.saturating_add(1), None),
            };
            // What an earlier run sent may still be there, whatever this run learned about its own attempt.
            if self.work.changes[row] == Change::InDoubt && status != Status::Synced {
                status = Status::InDoubt;
            }
            ack.status.push(status);
            ack.attempts.push(attempts);
            ack.ids.push(match settled {
                Some(Settled::Written { id: Some(id), .. }) => id.as_str(),
                _ => "",
            });
            if let Some((code, field)) = note {
                ack.notes.push(Note { row: row as u32, code, field });
            }
        }
        ack
    }
}
