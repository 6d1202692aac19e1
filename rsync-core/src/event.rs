//! What a host is told while a sync works, and who is told when it fails.

use std::fmt::Debug;
use std::time::Duration;

use crate::error::Error;
use crate::ids::{BatchId, RunId, SyncId};

/// Who answers for a sync. Every failure and every hold names the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The team.
    pub team: String,
    /// Where to reach it: an address, a channel, a pager service.
    pub contact: String,
}

impl Owner {
    /// An owner.
    pub fn new(team: impl Into<String>, contact: impl Into<String>) -> Self {
        Self { team: team.into(), contact: contact.into() }
    }
}

/// Something that happened. Events carry names, counts and codes, never cell values.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Planning began.
    PlanStarted,
    /// The model was read and compared.
    Planned {
        /// Rows read from the source.
        source_rows: u64,
        /// Rows to be written.
        to_write: u64,
        /// Calls that writing them is expected to take.
        requests: u64,
    },
    /// The previous run of this sync never ended: its process died or its future was dropped.
    PreviousRunInterrupted {
        /// That run.
        run: RunId,
        /// Who answers for the sync.
        owner: Owner,
    },
    /// The guards kept the plan back. Nothing was written.
    RunHeld {
        /// The guards that hold, each with its reason.
        reasons: Vec<String>,
        /// Who answers for the sync.
        owner: Owner,
    },
    /// Single rows were kept back; the report has the reasons.
    RowsHeld {
        /// Rows.
        rows: u64,
        /// Who answers for the sync.
        owner: Owner,
    },
    /// Writing began.
    RunStarted,
    /// A batch was handed to the destination.
    BatchSent {
        /// The batch.
        batch: BatchId,
        /// Its rows.
        rows: usize,
        /// 1 for the first attempt.
        attempt: u32,
    },
    /// A batch, or part of it, will be sent again.
    BatchRetried {
        /// The batch.
        batch: BatchId,
        /// Rows that are sent again.
        rows: usize,
        /// The code of the reason.
        code: String,
        /// The pause before.
        pause: Duration,
    },
    /// Every row of a batch has its outcome.
    BatchSettled {
        /// The batch.
        batch: BatchId,
        /// Its rows.
        rows: usize,
        /// Rows that were written.
        written: usize,
        /// From the first send to the last answer.
        latency: Duration,
    },
    /// The run ended and nothing is left to do.
    RunCompleted {
        /// Rows written.
        written: u64,
    },
    /// The run ended, but some rows failed, are in doubt or were deferred.
    RunIncomplete {
        /// Rows that the next run has to send.
        outstanding: u64,
        /// Why it ended before all was sent, if it did, as the name of a [`Kind`](crate::Kind).
        stopped: Option<&'static str>,
        /// Who answers for the sync.
        owner: Owner,
    },
    /// The run did not begin, because it is too early: the last run was told to wait, or the window is closed. Nothing
    /// was read or written.
    RunPostponed {
        /// How long to wait still, where that is known.
        left: Option<Duration>,
    },
    /// Planning or writing stopped on an error.
    RunFailed {
        /// The error's kind.
        kind: &'static str,
        /// The error's text.
        error: String,
        /// Who answers for the sync.
        owner: Owner,
    },
}

impl Event {
    pub(crate) fn failed(error: &Error, owner: &Owner) -> Self {
        Event::RunFailed { kind: error.kind().as_str(), error: error.to_string(), owner: owner.clone() }
    }
}

/// Receives the events of a pipeline, in order, on the task that runs it. It must return quickly: hand the
/// event over to a channel if there is work to do.
pub trait Observer: Debug + Send + Sync + 'static {
    /// Takes one event of one run.
    fn observe(&self, sync: &SyncId, run: RunId, event: &Event);
}
