//! The faults and counts of a service that runs on the test kit's own server.

use async_trait::async_trait;

use super::harness::{HarnessResult, RequestCounts, RequestKind, ServiceFault, ServiceFaults};
use crate::sim::fault::{DropEntries, FaultAction, FaultMatch, FaultPlan, FaultRule, Faults, Processing, Requests};
use crate::sim::journal::Journal;

/// [`ServiceFaults`] and [`RequestCounts`] of anything that runs on [`Server`](crate::sim::server::Server): our
/// simulators, and a service that a harness serves with it.
///
/// The service must list the rows of an answer under `results`, or answer with a list of them, for
/// [`ServiceFault::MissingOutcome`] to work.
#[derive(Clone, Debug)]
pub struct SimulatorFaults {
    faults: Faults,
    journal: Journal,
    writing: Vec<FaultMatch>,
    reading: Vec<FaultMatch>,
}

impl SimulatorFaults {
    /// Faults and journal of one server; no request counts as writing yet.
    pub fn new(faults: Faults, journal: Journal) -> Self {
        Self { faults, journal, writing: Vec::new(), reading: Vec::new() }
    }

    /// Requests of this method whose path ends so may change records.
    #[must_use]
    pub fn with_writing(mut self, method: &str, path_end: &str) -> Self {
        self.writing.push(matching(method, path_end));
        self
    }

    /// Requests of this method whose path ends so look records up.
    #[must_use]
    pub fn with_reading(mut self, method: &str, path_end: &str) -> Self {
        self.reading.push(matching(method, path_end));
        self
    }

    /// Finished requests by kind; what is not writing counts as reading.
    pub fn requests(&self) -> RequestCounts {
        let mut counts = RequestCounts::default();
        for entry in self.journal.entries() {
            let writing = self.writing.iter().any(|on| {
                on.method.as_deref() == Some(entry.method.as_str())
                    && on.path_ends_with.as_deref().is_some_and(|end| entry.path.ends_with(end))
            });
            if writing {
                counts.writing += 1;
            } else {
                counts.reading += 1;
            }
        }
        counts
    }
}

fn matching(method: &str, path_end: &str) -> FaultMatch {
    FaultMatch { method: Some(method.to_owned()), path_ends_with: Some(path_end.to_owned()), ..FaultMatch::default() }
}

fn action(fault: &ServiceFault) -> FaultAction {
    let (status, processing) = (200, Processing::Applied);
    match fault {
        ServiceFault::Refuse { status, retry_after: Some(seconds) } => {
            FaultAction::status_retry_after(*status, *seconds)
        }
        ServiceFault::Refuse { status, retry_after: None } => FaultAction::status(*status),
        ServiceFault::ResetBefore => FaultAction::ResetConnection { processing: Processing::NotApplied },
        ServiceFault::ResetAfter => FaultAction::ResetConnection { processing },
        ServiceFault::TruncatedBody => FaultAction::TruncateBody { keep_bytes: 20 },
        ServiceFault::HtmlPage => FaultAction::HtmlPage { status, processing },
        ServiceFault::EmptyBody => FaultAction::EmptyBody { status, processing },
        ServiceFault::MissingOutcome => FaultAction::DropResults { entries: DropEntries::First(1) },
        // A reference without a path leads to the address it came from.
        ServiceFault::Redirect => FaultAction::Redirect { status: 307, location: "?".to_owned() },
        ServiceFault::Late(delay) => {
            FaultAction::DelayAfter { delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX) }
        }
    }
}

#[async_trait]
impl ServiceFaults for SimulatorFaults {
    async fn arm(&self, fault: &ServiceFault, on: RequestKind, times: u64) -> HarnessResult<bool> {
        let matches = match on {
            RequestKind::Writing => &self.writing,
            RequestKind::Reading => &self.reading,
        };
        let rules = matches.iter().map(|on| {
            let mut rule = FaultRule::new(action(fault)).on_requests(Requests::First(times));
            (rule.on.method, rule.on.path_ends_with) = (on.method.clone(), on.path_ends_with.clone());
            rule
        });
        self.faults.set(FaultPlan::new(rules))?;
        Ok(!matches.is_empty())
    }

    async fn fired(&self) -> HarnessResult<u64> {
        Ok(self.faults.report().iter().map(|rule| rule.fired).sum())
    }

    async fn disarm(&self) -> HarnessResult<()> {
        self.faults.clear();
        Ok(())
    }
}
