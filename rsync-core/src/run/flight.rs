//! One batch on its way: its parts, and the outcomes of its rows.

use std::collections::VecDeque;
use std::time::Duration;

use super::adoption::Adopted;
use super::carried::Place;
use crate::batch::batch_id;
use crate::capability::Operation;
use crate::destination::{Target, WriteBatch};
use crate::error::Result;
use crate::ids::{BatchId, FieldName, JobToken, RemoteId, Token};
use crate::outcome::{Applied, Effect, Outcome};
use crate::plan::Work;
use crate::policy::Change;
use crate::retry::Schedule;
use crate::state::codec::{Ack, Note, Status};

/// The outcome of a row, with what the report and the state keep of it.
#[derive(Clone, Debug)]
pub(super) enum Settled {
    Written {
        id: Option<RemoteId>,
        effect: Effect,
        applied: Applied,
    },
    Unchanged,
    /// The record has what the row says, or its fields' policies keep it as it is: then with a code. Nothing was sent.
    Found {
        id: RemoteId,
        kept: Option<&'static str>,
    },
    Missing,
    /// Missing by the id of its record: resolved by its match value later in the run.
    Lost,
    Exists,
    Rejected {
        code: String,
        field: Option<FieldName>,
        fix: &'static str,
    },
    Failed {
        code: String,
    },
    InDoubt {
        code: String,
    },
    Deferred {
        code: &'static str,
    },
}

impl Settled {
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Settled::Written { .. } => Outcome::Written,
            Settled::Unchanged | Settled::Found { kept: None, .. } => Outcome::Unchanged,
            Settled::Found { kept: Some(_), .. } | Settled::Missing | Settled::Exists => Outcome::Skipped,
            Settled::Rejected { .. } => Outcome::Rejected,
            Settled::Failed { .. } => Outcome::Failed,
            Settled::InDoubt { .. } => Outcome::InDoubt,
            Settled::Deferred { .. } | Settled::Lost => Outcome::Deferred,
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
    /// The job that works on it, as far as is known.
    pub(super) job: Option<JobToken>,
    /// Set if an earlier run sent it.
    pub(super) adopted: Option<Adopted>,
    /// Where its rows are kept, should the model not give them back.
    pub(super) place: Option<Place>,
    pub(super) tokens: Option<Vec<Token>>,
    /// Since when it may have been applied, milliseconds since the Unix epoch.
    pub(super) since: u64,
    /// Whether it is sent although the destination may act twice.
    pub(super) forced: bool,
}

impl Flight {
    pub(super) fn new(
        operation: Operation,
        exit: bool,
        work: Work,
        schedule: Schedule,
        now: Duration,
        place: Option<Place>,
    ) -> Self {
        let rows = (0..work.len() as u32).collect();
        // Rows in doubt that are kept are sent apart from others.
        let maybe_applied = place.is_some() && work.changes.contains(&Change::InDoubt);
        let part = Part { rows, schedule, maybe_applied };
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
            job: None,
            adopted: None,
            place,
            tokens: None,
            since: 0,
            forced: false,
        }
    }

    /// The batch of a part.
    pub(super) fn batch(&self, part: &Part, target: &Target) -> Result<WriteBatch> {
        planted!(NewIdemKeyPerAttempt => {
            let work = self.work.take(&part.rows)?;
            let attempt = part.schedule.attempt();
            let id = BatchId(batch_id(self.operation, &work).0 ^ u128::from(attempt));
            let batch = WriteBatch::new(id, self.operation, target.clone(), work.rows)?;
            let anew = |token: Token| Token::new(format!("{}{attempt}", token.as_str()));
            return match self.tokens_of(part) {
                Some(tokens) => batch.with_tokens(tokens.into_iter().map(anew).collect()),
                None => Ok(batch),
            };
        });
        let part_work;
        let (id, work) = if part.rows.len() == self.work.len() {
            (self.id, &self.work)
        } else {
            // Other content is another batch.
            part_work = self.work.take(&part.rows)?;
            (batch_id(self.operation, &part_work), &part_work)
        };
        let mut batch = WriteBatch::new(id, self.operation, target.clone(), work.rows.clone())?;
        if let Some(tokens) = self.tokens_of(part) {
            batch = batch.with_tokens(tokens)?;
        }
        // A batch goes by id as a whole, or not at all.
        match work.ids.as_ref().filter(|_| work.by_id(0)) {
            Some(ids) => batch.with_ids(ids.iter().flatten().map(RemoteId::new).collect()),
            None => Ok(batch),
        }
    }

    fn tokens_of(&self, part: &Part) -> Option<Vec<Token>> {
        let tokens = self.tokens.as_ref()?;
        Some(part.rows.iter().map(|row| tokens[*row as usize].clone()).collect())
    }

    /// Whether its rows are of an earlier run, and no row of this read stands for them.
    pub(super) fn is_carried(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.carried && !place.tied)
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

    /// Takes the outcomes of rows that need not be sent.
    pub(super) fn settle_unsent(&mut self, settled: Vec<Option<Settled>>) {
        self.settled = settled;
        for part in &mut self.parts {
            part.rows.retain(|row| self.settled[*row as usize].is_none());
        }
        self.parts.retain(|part| !part.rows.is_empty());
    }

    pub(super) fn written(&self) -> usize {
        self.settled.iter().flatten().filter(|settled| settled.outcome() == Outcome::Written).count()
    }

    /// What the state keeps of it.
    pub(super) fn ack(&self) -> Ack {
        let mut ack = Ack::uniform(0, Status::InDoubt);
        // What was to be done about the record of a row that left: it is gone, or kept with other values.
        let done = if self.operation.removes() { Status::Removed } else { Status::Synced };
        for (row, settled) in self.settled.iter().enumerate() {
            let before = self.work.attempts[row];
            let plain = |status| (status, 0, None);
            let (mut status, attempts, note) = match settled {
                Some(Settled::Written { .. } | Settled::Unchanged | Settled::Found { .. }) => plain(done),
                Some(Settled::Missing) if self.exit => plain(Status::Removed),
                Some(Settled::Missing) => plain(Status::Missing),
                // Until it is resolved the key stays bound, so that a run that ends before leads here again.
                Some(Settled::Lost) => (Status::Failed, before, Some(("record_gone".to_owned(), String::new()))),
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
            // A kept row that is refused with its own token and values would be refused for ever.
            let refused = status == Status::Rejected && self.place.is_some();
            if doubtful && status != Status::Synced && !status.ends_record() && !refused {
                status = Status::InDoubt;
            }
            if status == Status::InDoubt && self.operation.removes() {
                status = Status::Leaving;
            }
            planted!(FailedNotRetried => if status == Status::Failed { status = Status::Rejected; });
            ack.status.push(status);
            ack.created.push(matches!(settled, Some(Settled::Written { effect: Effect::Created, .. })));
            ack.attempts.push(attempts);
            ack.ids.push(match settled {
                Some(Settled::Written { id: Some(id), .. } | Settled::Found { id, .. }) => id.as_str(),
                Some(Settled::Written { id: None, .. } | Settled::Unchanged) if !self.exit => {
                    self.work.id(row).unwrap_or_default()
                }
                _ => "",
            });
            if let Some((code, field)) = note {
                ack.notes.push(Note { row: row as u32, code, field });
            }
        }
        ack
    }
}
