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
use crate::state::codec::{Ack, Note, Status};

/// The outcome of a row, with what the report and the state keep of it.
#[derive(Clone, Debug)]
pub(super) enum Settled {
    Written { id: Option<RemoteId>, effect: Effect, applied: Applied },
    Unchanged,
    Missing,
    Exists,
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
            Settled::Missing | Settled::Exists => Outcome::Skipped,
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
    /// Whether its rows left the model.
    pub(super) exit: bool,
    pub(super) work: Work,
    pub(super) parts: VecDeque<Part>,
    pub(super) settled: Vec<Option<Settled>>,
    /// Rows that an attempt of unknown fate in this run may have applied, before the one that settled them.
    maybe_applied: Vec<bool>,
    pub(super) started: Duration,
    pub(super) splits: u32,
}

impl Flight {
    pub(super) fn new(operation: Operation, exit: bool, work: Work, schedule: Schedule, now: Duration) -> Self {
        let rows = (0..work.len() as u32).collect();
        let part = Part { rows, schedule, maybe_applied: false };
        Self {
            id: batch_id(operation, &work),
            operation,
            exit,
            settled: vec![None; work.len()],
            maybe_applied: vec![false; work.len()],
            work,
            parts: VecDeque::from([part]),
            started: now,
            splits: 0,
        }
    }

    /// The batch of a part.
    pub(super) fn batch(&self, part: &Part, target: &Target) -> Result<WriteBatch> {
        planted!(NewIdemKeyPerAttempt => {
            let work = self.work.take(&part.rows)?;
            let id = BatchId(batch_id(self.operation, &work).0 ^ u128::from(part.schedule.attempt()));
            return WriteBatch::new(id, self.operation, target.clone(), work.rows);
        });
        let part_work;
        let (id, work) = if part.rows.len() == self.work.len() {
            (self.id, &self.work)
        } else {
            // Other content is another batch.
            part_work = self.work.take(&part.rows)?;
            (batch_id(self.operation, &part_work), &part_work)
        };
        let batch = WriteBatch::new(id, self.operation, target.clone(), work.rows.clone())?;
        // A batch goes by id as a whole, or not at all.
        match work.ids.as_ref().filter(|_| work.by_id(0)) {
            Some(ids) => batch.with_ids(ids.iter().flatten().map(RemoteId::new).collect()),
            None => Ok(batch),
        }
    }

    pub(super) fn settle(&mut self, row: u32, settled: Settled, maybe_applied: bool) {
        self.settled[row as usize] = Some(settled);
        self.maybe_applied[row as usize] = maybe_applied;
    }

    pub(super) fn settle_all(&mut self, part: &Part, settled: &Settled) {
        for row in &part.rows {
            self.settle(*row, settled.clone(), part.maybe_applied);
        }
    }

    pub(super) fn written(&self) -> usize {
        self.settled.iter().flatten().filter(|settled| settled.outcome() == Outcome::Written).count()
    }

    /// What the state keeps of it.
    pub(super) fn ack(&self) -> Ack {
        let mut ack = Ack::uniform(0, Status::InDoubt);
        // What was to be done about the record of a row that left: it is gone, or kept with other values.
        let done = if self.operation == Operation::Delete { Status::Removed } else { Status::Synced };
        for (row, settled) in self.settled.iter().enumerate() {
            let before = self.work.attempts[row];
            let plain = |status| (status, 0, None);
            let (mut status, attempts, note) = match settled {
                Some(Settled::Written { .. } | Settled::Unchanged) => plain(done),
                Some(Settled::Missing) if self.exit => plain(Status::Removed),
                Some(Settled::Missing) => plain(Status::Missing),
                Some(Settled::Exists) => plain(Status::Exists),
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
            // What an earlier run or attempt sent may still be there, whatever was learned about the last one.
            let doubtful = self.work.changes[row] == Change::InDoubt || self.maybe_applied[row];
            if doubtful && status != Status::Synced && !status.ends_record() {
                status = Status::InDoubt;
            }
            if status == Status::InDoubt && self.operation == Operation::Delete {
                status = Status::Leaving;
            }
            planted!(FailedNotRetried => if status == Status::Failed { status = Status::Rejected; });
            ack.status.push(status);
            ack.created.push(matches!(settled, Some(Settled::Written { effect: Effect::Created, .. })));
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
