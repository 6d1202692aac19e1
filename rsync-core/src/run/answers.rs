//! What becomes of a batch, by what the destination answers.

use std::time::Duration;

use super::engine::{Engine, Job, Landed};
use super::flight::{Flight, Part, Settled};
use super::{exits, timing};
use crate::capability::{Operation, WriteIdempotence};
use crate::error::{Error, Kind, Result, Retry};
use crate::event::Event;
use crate::ids::{FieldName, KeyHash};
use crate::outcome::{Applied, Effect, Outcome, Receipt, RowOutcome};
use crate::plan::Reason;
use crate::policy::{Change, Decision};
use crate::report::Report;
use crate::retry::{Next, Schedule};
use crate::state::Journal;

/// Pause between two questions after a job.
const JOB_POLL: Duration = Duration::from_secs(5);

impl Engine<'_> {
    pub(super) fn handle(&mut self, landed: Landed) -> Result<()> {
        let Landed { sequence, mut part, result, refused, job } = landed;
        let Some(result) = result else {
            if let Some(error) = refused {
                self.stop(error);
            }
            return self.settle(sequence, &part, &part.unsent(self.left_because()));
        };
        if job.is_none() {
            self.report.calls.writes += 1;
            self.report.calls.retries += u64::from(part.schedule.attempt() > 1);
        }
        match result {
            Ok(Receipt::Settled(outcomes)) => self.settled(sequence, part, outcomes),
            Ok(Receipt::Pending(token)) => {
                part.maybe_applied = true;
                self.journal.stage_job(sequence, &token);
                if let Some(flight) = self.flights.get_mut(&sequence) {
                    flight.job = Some(token.clone());
                }
                let since = job.map_or_else(|| self.pipeline.clock.monotonic(), |job| job.since);
                self.ask_later(sequence, part, Job { token, since }, None)
            }
            Err(error) => match (job.or_else(|| self.stored_job(sequence, &error)), error.retry()) {
                // The job goes on, whatever became of the question after it.
                (Some(job), Retry::Backoff | Retry::After(_) | Retry::Ambiguous) => {
                    part.maybe_applied = true;
                    self.ask_later(sequence, part, job, error.delay())
                }
                // It is us who may not ask.
                (Some(_), _)
                    if matches!(error.kind(), Kind::Unauthenticated | Kind::Forbidden | Kind::QuotaExhausted) =>
                {
                    self.settle(sequence, &part, &Settled::InDoubt { code: "job_open".into() })?;
                    self.stop(error);
                    Ok(())
                }
                (Some(_), _) => {
                    self.forget_job(sequence);
                    self.settle(sequence, &part, &Settled::InDoubt { code: "job_lost".into() })
                }
                (None, _) => {
                    self.forget_job(sequence);
                    self.failed(sequence, part, error)
                }
            },
        }
    }

    /// The job that an adapter stored before the answer to its write was lost. It knows more than a second write would.
    fn stored_job(&self, sequence: u64, error: &Error) -> Option<Job> {
        let flight = self.flights.get(&sequence).filter(|_| error.retry() == Retry::Ambiguous)?;
        Some(Job { token: flight.job.clone()?, since: self.pipeline.clock.monotonic() })
    }

    /// The job of a flight has ended, or nobody knows it.
    fn forget_job(&mut self, sequence: u64) {
        if let Some(flight) = self.flights.get_mut(&sequence) {
            flight.job = None;
        }
    }

    /// Asks after a job again, until it has taken too long: then the next run does.
    fn ask_later(&mut self, sequence: u64, part: Part, job: Job, asked: Option<Duration>) -> Result<()> {
        if self.pipeline.clock.monotonic().saturating_sub(job.since) > self.pipeline.job_deadline {
            return self.settle(sequence, &part, &Settled::InDoubt { code: "job_deadline".into() });
        }
        self.poll_job(sequence, part, job, JOB_POLL.max(asked.unwrap_or_default()))
    }

    /// Takes the outcomes of a part's rows.
    fn settled(&mut self, sequence: u64, mut part: Part, mut outcomes: Vec<RowOutcome>) -> Result<()> {
        planted!(MissingIsOk => while outcomes.len() < part.rows.len() {
            outcomes.push(RowOutcome::written(Effect::Unspecified, None));
        });
        planted!(AnySuccess => if outcomes.iter().any(|outcome| matches!(outcome, RowOutcome::Written { .. })) {
            outcomes.fill(RowOutcome::written(Effect::Unspecified, None));
        });
        if outcomes.len() != part.rows.len() {
            tracing::error!(rows = part.rows.len(), outcomes = outcomes.len(), "the adapter lost count of its rows");
            outcomes = vec![RowOutcome::Unknown; part.rows.len()];
        }
        self.forget_job(sequence);
        let replayable = self.replayable(sequence);
        let Some(flight) = self.flights.get_mut(&sequence) else { return Ok(()) };
        let adds = matches!(flight.operation, Operation::Append | Operation::AddMember);
        let (mut again, mut asked, mut code) = (Vec::new(), None, String::new());
        let maybe_applied = part.maybe_applied;
        planted!(ByPosition => part.rows = (0..part.rows.len() as u32).collect());
        for (row, outcome) in part.rows.iter().zip(outcomes) {
            let settled = match outcome {
                RowOutcome::Written { remote_id: id, effect, applied } => Settled::Written { id, effect, applied },
                RowOutcome::Unchanged => Settled::Unchanged,
                RowOutcome::Missing => Settled::Missing,
                // What an append or an addition to an audience was to do is done.
                RowOutcome::Exists if adds => Settled::Unchanged,
                RowOutcome::Exists => Settled::Exists,
                RowOutcome::Rejected { code, field, remedy } => Settled::Rejected { code, field, fix: remedy },
                // What an earlier run sent is not sent again as it was.
                RowOutcome::Retryable { code, .. } if flight.adopted.is_some() => Settled::InDoubt { code },
                RowOutcome::Retryable { code: why, after } => {
                    again.push(*row);
                    asked = asked.max(after);
                    code = why;
                    continue;
                }
                RowOutcome::Unknown if replayable && flight.adopted.is_none() => {
                    again.push(*row);
                    part.maybe_applied = true;
                    code = "outcome_unknown".into();
                    continue;
                }
                RowOutcome::Unknown => Settled::InDoubt { code: "outcome_unknown".into() },
            };
            flight.settle(*row, settled, maybe_applied);
        }
        if again.is_empty() {
            return self.launch_next_part(sequence);
        }
        part.rows = again;
        self.retry(sequence, part, asked, code)
    }

    /// Takes the failure of a whole call.
    fn failed(&mut self, sequence: u64, mut part: Part, error: Error) -> Result<()> {
        let code = error.context("code").unwrap_or(error.kind().as_str()).to_owned();
        tracing::debug!(kind = error.kind().as_str(), %code, retry = ?error.retry(), "call failed");
        let asked = error.delay();
        planted!(TimeoutIsOk => if error.retry() == Retry::Ambiguous {
            let written = Settled::Written { id: None, effect: Effect::Unspecified, applied: Applied::Confirmed };
            return self.settle(sequence, &part, &written);
        });
        planted!(PoisonDropsBatch => if error.kind() == Kind::Rejected {
            return self.settle(sequence, &part, &Settled::Rejected { code, field: None, fix: "" });
        });
        let down = self.pipeline.limiter.is_down(self.pipeline.clock.monotonic());
        match (error.retry(), error.kind()) {
            (Retry::Ambiguous, _) if !self.replayable(sequence) => {
                self.settle(sequence, &part, &Settled::InDoubt { code })?;
                if down {
                    self.stop(error);
                }
                Ok(())
            }
            (Retry::Ambiguous | Retry::Backoff | Retry::After(_), _) => {
                part.maybe_applied |= error.retry() == Retry::Ambiguous;
                planted!(TimeoutDropped => part.maybe_applied = false);
                if down {
                    self.settle_untried(sequence, &part, code)?;
                    self.stop(error.with_retry(Retry::Exhausted));
                    return Ok(());
                }
                self.retry(sequence, part, asked, code)
            }
            (Retry::Never, Kind::Rejected) if part.rows.len() > 1 => self.split(sequence, part),
            (Retry::Never, Kind::Rejected) => {
                let field = error.context("field").map(FieldName::new);
                let fix = "the destination refuses this row; see its code, then mend the row or the mapping";
                self.settle(sequence, &part, &Settled::Rejected { code, field, fix })
            }
            (_, Kind::QuotaExhausted) => {
                self.settle(sequence, &part, &part.unsent("quota_exhausted"))?;
                self.stop(error);
                Ok(())
            }
            (_, Kind::Protocol | Kind::Internal) => {
                self.settle_untried(sequence, &part, code)?;
                if down {
                    self.stop(error);
                }
                Ok(())
            }
            // Credentials, permissions, addresses: no other batch can fare better.
            _ => {
                self.settle_untried(sequence, &part, code)?;
                self.stop(error);
                Ok(())
            }
        }
    }

    fn replayable(&self, sequence: u64) -> bool {
        self.flights.get(&sequence).is_some_and(|flight| self.is_replayable(flight, Duration::ZERO))
    }

    /// Whether an operation may be sent again when its fate is unknown.
    pub(super) fn can_repeat(&self, operation: Operation) -> bool {
        self.capability.limits(operation).is_some_and(|limits| limits.idempotence != WriteIdempotence::None)
    }

    /// Sends a part again, if the policy still allows it.
    fn retry(&mut self, sequence: u64, mut part: Part, asked: Option<Duration>, code: String) -> Result<()> {
        if self.stop.is_some() {
            return self.settle_untried(sequence, &part, code);
        }
        let now = self.pipeline.clock.monotonic();
        match part.schedule.next(now, asked, &*self.pipeline.randomness) {
            Next::Again(_) if !self.budget.spend() => self.settle_untried(sequence, &part, code),
            Next::Again(pause) => {
                if let Some(asked) = asked {
                    // It is the caller who is asked to wait, not this batch.
                    self.pipeline.limiter.hold_until(now + asked);
                }
                if let Some(flight) = self.flights.get(&sequence) {
                    let retried = Event::BatchRetried { batch: flight.id, rows: part.rows.len(), code, pause };
                    self.pipeline.emit(self.run, &retried);
                }
                self.launch(sequence, part, pause)
            }
            Next::GiveUp => self.settle_untried(sequence, &part, code),
            Next::TooLong(asked) => {
                self.settle(sequence, &part, &part.unsent("server_pause_too_long"))?;
                self.stop(
                    Error::new(
                        Kind::RateLimited,
                        "write",
                        "the destination asks for a longer pause than a run may wait",
                    )
                    .with_context("pause_s", asked.as_secs())
                    .with_retry(Retry::After(asked))
                    .with_remedy("run again after that pause"),
                );
                Ok(())
            }
        }
    }

    /// Ends the attempts at a part: not written, or unknown.
    fn settle_untried(&mut self, sequence: u64, part: &Part, code: String) -> Result<()> {
        let settled = if part.maybe_applied { Settled::InDoubt { code } } else { Settled::Failed { code } };
        self.settle(sequence, part, &settled)
    }

    pub(super) fn settle(&mut self, sequence: u64, part: &Part, settled: &Settled) -> Result<()> {
        if let Some(flight) = self.flights.get_mut(&sequence) {
            flight.settle_all(part, settled);
        }
        self.launch_next_part(sequence)
    }

    /// Halves a part that was refused as a whole, to find the bad row.
    fn split(&mut self, sequence: u64, part: Part) -> Result<()> {
        let now = self.pipeline.clock.monotonic();
        let policy = self.pipeline.retry;
        if let Some(flight) = self.flights.get_mut(&sequence) {
            let (left, right) = part.rows.split_at(part.rows.len() / 2);
            for rows in [right, left] {
                let schedule = Schedule::new(policy, now);
                flight.parts.push_front(Part { rows: rows.to_vec(), schedule, maybe_applied: part.maybe_applied });
            }
            flight.splits += 1;
            self.report.calls.splits += 1;
        }
        self.launch_next_part(sequence)
    }

    /// Takes no more batches; calls in the air come back, pauses end.
    pub(super) fn stop(&mut self, error: Error) {
        if self.stop.is_none() {
            tracing::warn!(kind = error.kind().as_str(), "stopping the run");
            self.report.stop = timing::early_end(self.pipeline, &error);
            self.stop = Some(error);
            self.stopping.send_replace(true);
            // Nothing has been written for them.
            self.reading.open.clear();
        }
    }

    /// Ends a flight of which every row is settled.
    pub(super) fn land(&mut self, sequence: u64) -> Result<()> {
        let Some(mut flight) = self.flights.remove(&sequence) else { return Ok(()) };
        self.set_lost_rows_aside(&mut flight)?;
        planted!(StaleReplay => super::stale::keep(&flight));
        self.stage_landed(sequence, &mut flight)?;
        self.exits.note(&flight);
        self.count(&flight);
        let settled = Event::BatchSettled {
            batch: flight.id,
            rows: flight.work.len(),
            written: flight.written(),
            latency: self.pipeline.clock.monotonic().saturating_sub(flight.started),
        };
        self.pipeline.emit(self.run, &settled);
        let all_refused = flight.settled.iter().flatten().all(|settled| settled.outcome() == Outcome::Rejected);
        if flight.splits > 0 && all_refused {
            // Splitting costs two calls a row here; if no row is any good, the next batch will hardly be better.
            self.stop(
                Error::new(Kind::Rejected, "write", "the destination refuses every row of a batch")
                    .with_context("rows", flight.work.len())
                    .with_remedy("see the codes of the rejected rows; the mapping probably does not fit the object"),
            );
        }
        Ok(())
    }

    pub(super) fn count(&mut self, flight: &Flight) {
        planted!(NoReportOnBatchError => if flight.written() == 0 { return; });
        if flight.exit {
            return exits::count(&mut self.report, flight);
        }
        if flight.is_carried() {
            return self.count_carried(flight);
        }
        let missing = self.pipeline.policy.decide(Change::Missing);
        for (row, settled) in flight.settled.iter().enumerate() {
            let totals = &mut self.report.totals;
            let key = Some(KeyHash(flight.work.keys[row]));
            let again = "nothing; the next run sends it again";
            match settled {
                Some(Settled::Written { effect, applied, .. }) => {
                    totals.written += 1;
                    totals.created += u64::from(*effect == Effect::Created);
                    totals.updated += u64::from(*effect == Effect::Updated);
                    totals.accepted += u64::from(*applied == Applied::Accepted);
                }
                Some(Settled::Unchanged | Settled::Found { kept: None, .. }) => totals.unchanged += 1,
                Some(Settled::Found { kept: Some(code), .. }) => {
                    totals.skipped += 1;
                    let fix = "nothing; the policies of its fields leave the record as it is";
                    self.report.reasons.add(Outcome::Skipped, &Reason::new(*code, None, fix), key);
                }
                Some(Settled::Missing) if matches!(missing, Decision::Hold(_)) => {
                    totals.held += 1;
                    self.report.reasons.add(Outcome::Held, &exits::left_alone(&Settled::Missing), key);
                }
                Some(settled @ (Settled::Missing | Settled::Exists)) => {
                    totals.skipped += 1;
                    self.report.reasons.add(Outcome::Skipped, &exits::left_alone(settled), key);
                }
                // It gets its outcome later in the run.
                Some(Settled::Lost) => {}
                Some(Settled::Rejected { code, field, fix }) => {
                    totals.rejected += 1;
                    let field = field.as_ref().map(|field| field.as_str().to_owned());
                    self.report.reasons.add(Outcome::Rejected, &Reason::new(code.clone(), field, fix), key);
                }
                Some(Settled::Failed { code }) => {
                    totals.failed += 1;
                    self.report.reasons.add(Outcome::Failed, &Reason::new(code.clone(), None, again), key);
                }
                Some(Settled::Deferred { code }) => {
                    totals.deferred += 1;
                    self.report.reasons.add(Outcome::Deferred, &Reason::new(*code, None, again), key);
                }
                Some(Settled::InDoubt { code }) => {
                    totals.in_doubt += 1;
                    let reason = self.why_in_doubt(flight, code);
                    self.report.reasons.add(Outcome::InDoubt, &reason, key);
                }
                None => totals.in_doubt += 1,
            }
        }
    }

    /// The code of rows that a stopped run does not send.
    fn left_because(&self) -> &'static str {
        match self.stop.as_ref().map(Error::kind) {
            Some(Kind::WindowClosed) => "window_closed",
            _ => "run_stopped",
        }
    }

    /// Accounts for what was not begun, and tells what stopped the run.
    pub(super) fn finish(
        mut self,
        broken: Option<Error>,
        to_write: u64,
        to_exit: u64,
    ) -> (Option<Error>, Report, Journal) {
        // Flights are left only if the state or the spool failed: sent or not, the next run resolves them.
        for flight in std::mem::take(&mut self.flights).into_values() {
            self.count(&flight);
        }
        let left = to_write.saturating_sub(self.started_rows);
        let reason = Reason::new(self.left_because(), None, "nothing; the next run sends it again");
        self.report.totals.deferred += left;
        self.report.reasons.add_many(Outcome::Deferred, &reason, left, None);
        let left = self.carried_left();
        self.report.totals.carried.deferred += left;
        self.report.carried_reasons.add_many(Outcome::Deferred, &reason, left, None);
        let lost = Reason::new("record_gone", None, "nothing; the next run looks for the record by its match value");
        self.report.totals.deferred += self.rebind.open;
        self.report.reasons.add_many(Outcome::Deferred, &lost, self.rebind.open, None);
        let left = to_exit.saturating_sub(self.exits.started_rows);
        self.report.totals.exits.deferred += left;
        self.report.exit_reasons.add_many(Outcome::Deferred, &reason, left, None);
        self.report.calls.reads += self.reading.calls();
        (broken.or(self.stop), self.report, self.journal)
    }
}
