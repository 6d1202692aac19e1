//! From a plan to a report: the loop.
//!
//! Each turn makes one commit, which holds the outcomes that have come in since the last one and the intents of
//! the batches that are sent next. So a batch is sent only after its intent is durable, and never are there more
//! batches whose outcome is not durable than may be in flight.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{BoxFuture, Either, FutureExt as _, pending, select};
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument as _;

use super::Failure;
use super::exits::{self, ExitPhase};
use super::flight::{Flight, Part, Settled};
use crate::batch::Batcher;
use crate::capability::{Capability, Operation, WriteIdempotence};
use crate::destination::{Checkpoint, Context};
use crate::error::{Error, Kind, Result, Retry};
use crate::event::Event;
use crate::ids::{FieldName, JobToken, KeyHash, RunId};
use crate::limit::Limiter;
use crate::outcome::{Applied, Effect, Outcome, Receipt, RowOutcome};
use crate::pipeline::Pipeline;
use crate::plan::{Plan, Reason, Work};
use crate::report::{Calls, Report, RunStatus, Stop, Totals};
use crate::retry::{Budget, Next, Schedule};
use crate::state::Journal;
use crate::state::codec::RunRecord;
#[cfg(feature = "planted-defects")]
use crate::state::codec::{Ack, Status};

/// Rows in one record of settled rows.
const SETTLED_ROWS: usize = 10_000;
/// Pause between two questions after a job.
const JOB_POLL: Duration = Duration::from_secs(5);

pub(super) async fn apply(pipeline: &Pipeline, plan: Plan) -> Result<Report, Failure> {
    let span = tracing::info_span!("apply", sync = %pipeline.sync, run = %plan.run);
    Box::pin(apply_run(pipeline, plan)).instrument(span).await
}

async fn apply_run(pipeline: &Pipeline, plan: Plan) -> Result<Report, Failure> {
    let started = pipeline.clock.monotonic();
    let run = plan.run;
    let report = Report {
        sync: plan.sync.clone(),
        run,
        status: RunStatus::Completed,
        stop: None,
        totals: Totals::of_plan(plan.counts(), &plan.found.exits),
        reasons: plan.found.reasons.clone(),
        exit_reasons: plan.found.exits.reasons.clone(),
        calls: Calls::default(),
        elapsed: Duration::ZERO,
        plan_hash: plan.hash(),
        model_version: plan.model_version.clone(),
        state_epoch: plan.state_epoch(),
        quota: None,
    };
    if plan.is_held() {
        return Ok(held(pipeline, &plan, report));
    }
    let mut record = RunRecord {
        run: run.0,
        started_ms: pipeline.clock.wall().as_millis() as u64,
        ended_ms: 0,
        status: String::new(),
        source_rows: plan.counts().source_rows,
        distinct: plan.counts().distinct,
        to_write: plan.counts().to_write(),
        written: 0,
        plan: plan.hash(),
    };
    let Plan { found, known, session, binding, fields, .. } = plan;
    let names: Vec<FieldName> = fields.iter().map(|field| field.name.clone()).collect();
    let mut journal = Journal::begin(session, &known, &binding, &names, &record).await?;
    // From here on the state is only written; the index has served.
    drop(known);
    pipeline.emit(run, &Event::RunStarted);
    for piece in found.settled.chunks(SETTLED_ROWS) {
        let (keys, rows) = piece.iter().copied().unzip();
        journal.stage_settled(keys, rows);
    }
    exits::stage(&mut journal, &found.exits);
    let (to_write, to_exit) = (found.spool.rows(), found.exits.spool.rows());
    let mut engine = Engine::new(pipeline, run, report, journal);
    if to_exit > 0 {
        engine.exits.watch();
    }
    let mut outcome = match found.spool.read() {
        Ok(work) => engine.fly(work).await,
        Err(error) => Err(error),
    };
    if outcome.is_ok() && to_exit > 0 {
        outcome = engine.fly_exits(found.exits.spool).await;
    }
    let (stopped, mut report, mut journal) = engine.finish(outcome.err(), to_write, to_exit);
    let stopped = match stopped {
        Some(error) if is_resumable(&error) => {
            let not_before = error.delay().map(|delay| pipeline.clock.wall() + delay);
            report.stop = Some(Stop { kind: error.kind(), reason: error.to_string(), not_before });
            None
        }
        stopped => stopped,
    };
    report.quota = pipeline.destination.quota();
    report.elapsed = pipeline.clock.monotonic().saturating_sub(started);
    report.settle_status(stopped.is_some());
    record.ended_ms = pipeline.clock.wall().as_millis() as u64;
    record.status = report.status.as_str().to_owned();
    record.written = report.totals.written;
    // A store that failed takes no more; the error that stopped the run is then the one to tell.
    let recorded = journal.finish(&record).await;
    if let Some(error) = stopped.or(recorded.err()) {
        report.settle_status(true);
        return Err(Failure { error, report: Some(Box::new(report)) });
    }
    conclude(pipeline, run, report)
}

/// Whether nothing is wrong: the next run goes on where this one ended.
fn is_resumable(error: &Error) -> bool {
    matches!(error.kind(), Kind::Cancelled | Kind::QuotaExhausted)
        || (error.kind() == Kind::RateLimited && matches!(error.retry(), Retry::After(_)))
}

fn held(pipeline: &Pipeline, plan: &Plan, mut report: Report) -> Report {
    let reasons: Vec<String> =
        plan.guards().iter().filter_map(|guard| Some(format!("{}: {}", guard.guard, guard.hold.as_ref()?))).collect();
    if let Some(guard) = plan.guards().iter().find(|guard| guard.hold.is_some()) {
        let reason = Reason::new(guard.guard.clone(), None, "look at the plan; mend the model or change the guard");
        report.totals.held = plan.counts().to_write();
        report.reasons.add_many(Outcome::Held, &reason, report.totals.held, None);
        report.totals.exits.held = plan.counts().exits;
        report.exit_reasons.add_many(Outcome::Held, &reason, report.totals.exits.held, None);
    }
    report.status = RunStatus::Held;
    tracing::error!(team = %pipeline.owner.team, contact = %pipeline.owner.contact, ?reasons, "run held");
    pipeline.emit(report.run, &Event::RunHeld { reasons, owner: pipeline.owner.clone() });
    report
}

fn conclude(pipeline: &Pipeline, run: RunId, report: Report) -> Result<Report, Failure> {
    let owner = &pipeline.owner;
    match report.status {
        RunStatus::Completed => {
            tracing::info!(written = report.totals.written, "run completed");
            pipeline.emit(run, &Event::RunCompleted { written: report.totals.written });
            Ok(report)
        }
        RunStatus::Inconsistent => Err(Failure {
            error: Error::new(Kind::Internal, "balance the report", "the figures of the run contradict each other")
                .with_remedy("this is a defect in the library or in an adapter; please report it"),
            report: Some(Box::new(report)),
        }),
        _ => {
            let outstanding = report.totals.outstanding();
            tracing::error!(team = %owner.team, contact = %owner.contact, outstanding, "run incomplete");
            let stopped = report.stop.as_ref().map(|stop| stop.kind.as_str());
            pipeline.emit(run, &Event::RunIncomplete { outstanding, stopped, owner: owner.clone() });
            Ok(report)
        }
    }
}

/// A call that has come back.
struct Landed {
    sequence: u64,
    part: Part,
    /// `None` if the run was stopped before it was sent.
    result: Option<Result<Receipt>>,
    /// The job that was asked after.
    job: Option<Job>,
}

/// A job that works on a part at the destination.
#[derive(Clone)]
struct Job {
    token: JobToken,
    since: Duration,
}

/// An adapter that wants a job phase stored.
struct Signal {
    sequence: u64,
    token: JobToken,
    done: oneshot::Sender<()>,
}

#[derive(Debug)]
struct JobCheckpoint {
    sequence: u64,
    signals: mpsc::UnboundedSender<Signal>,
}

#[async_trait]
impl Checkpoint for JobCheckpoint {
    async fn checkpoint(&self, token: JobToken) -> Result<()> {
        let (done, wait) = oneshot::channel();
        let gone = || Error::new(Kind::StateStore, "store a job phase", "the state could not be written");
        self.signals.send(Signal { sequence: self.sequence, token, done }).map_err(|_| gone())?;
        wait.await.map_err(|_| gone())
    }
}

/// What the run waits for beside its calls.
enum Interruption {
    /// Its early end.
    Awaited(BoxFuture<'static, ()>),
    /// The end of the time that calls in the air have to come back after it.
    Grace(BoxFuture<'static, ()>),
    /// Nothing.
    Over,
}

impl Interruption {
    async fn next(&mut self) {
        match self {
            Interruption::Awaited(moment) | Interruption::Grace(moment) => moment.await,
            Interruption::Over => pending().await,
        }
    }
}

pub(super) struct Engine<'a> {
    pipeline: &'a Pipeline,
    run: RunId,
    capability: Capability,
    pub(super) report: Report,
    pub(super) journal: Journal,
    pub(super) exits: ExitPhase,
    limiter: Limiter,
    budget: Budget,
    flights: BTreeMap<u64, Flight>,
    air: FuturesUnordered<BoxFuture<'a, Landed>>,
    signals: (mpsc::UnboundedSender<Signal>, mpsc::UnboundedReceiver<Signal>),
    checkpoints: Vec<oneshot::Sender<()>>,
    stopping: watch::Sender<bool>,
    pub(super) stop: Option<Error>,
    interruption: Interruption,
    started: Duration,
    failures_in_row: u32,
    started_rows: u64,
}

impl<'a> Engine<'a> {
    fn new(pipeline: &'a Pipeline, run: RunId, report: Report, journal: Journal) -> Self {
        let capability = pipeline.destination.capability(&pipeline.target);
        let started = pipeline.clock.monotonic();
        Self {
            pipeline,
            run,
            capability,
            report,
            journal,
            exits: ExitPhase::default(),
            limiter: pipeline.limiter.clone().unwrap_or_else(|| Limiter::new(capability.rate)),
            budget: Budget::new(pipeline.retry),
            flights: BTreeMap::new(),
            air: FuturesUnordered::new(),
            signals: mpsc::unbounded_channel(),
            checkpoints: Vec::new(),
            stopping: watch::channel(false).0,
            stop: None,
            interruption: Interruption::Awaited(pipeline.interruption(started)),
            started,
            failures_in_row: 0,
            started_rows: 0,
        }
    }

    /// Sends everything. Returns early only if the state or the spool fails.
    pub(super) async fn fly(&mut self, mut work: impl Iterator<Item = Result<Work>> + Send) -> Result<()> {
        let pipeline = self.pipeline;
        let mut batcher = Batcher::new(&*pipeline.destination, &pipeline.target, self.capability);
        let mut ready: VecDeque<(Operation, Work)> = VecDeque::new();
        let mut exhausted = false;
        loop {
            self.interrupt();
            let mut starting = Vec::new();
            while self.stop.is_none() && self.flights.len() < self.capability.max_in_flight {
                if let Some(error) = self.quota_reached().filter(|_| !ready.is_empty()) {
                    // What is in the air may be counted already or not: only without it the figure is sure.
                    if self.flights.is_empty() {
                        self.stop(error);
                    }
                    break;
                }
                if let Some((operation, work)) = ready.pop_front() {
                    starting.push(self.stage(operation, work));
                } else if exhausted {
                    break;
                } else if let Some(work) = work.next() {
                    ready.extend(batcher.push(&work?)?);
                } else {
                    ready.extend(batcher.finish()?);
                    exhausted = true;
                }
            }
            self.journal.commit().await?;
            for done in self.checkpoints.drain(..) {
                // An adapter that no longer waits was dropped; its rows are in doubt either way.
                let _ = done.send(());
            }
            for sequence in starting {
                self.launch_next_part(sequence)?;
            }
            if self.air.is_empty() {
                return Ok(());
            }
            self.wait().await?;
        }
    }

    /// Whether the calls that may still be made are left to others.
    fn quota_reached(&self) -> Option<Error> {
        let quota = self.pipeline.destination.quota()?;
        let share = self.pipeline.quota_reserve;
        let allowed = quota.limit as f64 * (1.0 - share);
        ((quota.used + self.flights.len() as u64) as f64 >= allowed).then(|| {
            Error::new(Kind::QuotaExhausted, "write", "the account's quota is used up to the reserve")
                .with_context("used", quota.used)
                .with_context("limit", quota.limit)
                .with_context("reserve", share)
                .with_remedy("run again when the quota has come back, or lower quota_reserve")
        })
    }

    /// Stages the intent of a batch.
    fn stage(&mut self, operation: Operation, work: Work) -> u64 {
        #[cfg(feature = "planted-defects")]
        let work = super::stale::replay(work);
        // What is removed has no image.
        let images = if operation == Operation::Delete { Vec::new() } else { work.images.clone() };
        let sequence = self.journal.stage_intent(operation as u8 + 1, work.keys.clone(), work.hashes.clone(), images);
        planted!(CommitBeforeAck => self.journal.stage_ack(sequence, &Ack::uniform(work.len(), Status::Synced)));
        let exit = self.exits.begun();
        *if exit { &mut self.exits.started_rows } else { &mut self.started_rows } += work.len() as u64;
        let now = self.pipeline.clock.monotonic();
        let schedule = Schedule::new(self.pipeline.retry, now);
        self.flights.insert(sequence, Flight::new(operation, exit, work, schedule, now));
        sequence
    }

    /// Waits until something has come back, and handles all that has.
    async fn wait(&mut self) -> Result<()> {
        tokio::select! {
            biased;
            Some(landed) = self.air.next() => self.handle(landed)?,
            Some(signal) = self.signals.1.recv() => self.checkpoint(signal),
            () = self.interruption.next() => match self.interruption {
                Interruption::Grace(_) => self.abandon(),
                Interruption::Awaited(_) | Interruption::Over => self.interrupt(),
            },
        }
        while let Some(Some(landed)) = self.air.next().now_or_never() {
            self.handle(landed)?;
        }
        while let Ok(signal) = self.signals.1.try_recv() {
            self.checkpoint(signal);
        }
        Ok(())
    }

    /// Ends the run early if it has to: calls in the air may come back within the grace time.
    fn interrupt(&mut self) {
        if let Interruption::Awaited(_) = self.interruption
            && let Some(error) = self.pipeline.interrupted(self.started)
        {
            self.stop(error);
            self.interruption = Interruption::Grace(self.pipeline.clock.sleep(self.pipeline.grace));
        }
    }

    /// Waits no longer for calls in the air: their rows are in doubt.
    fn abandon(&mut self) {
        self.interruption = Interruption::Over;
        self.air.clear();
        for sequence in self.flights.keys().copied().collect::<Vec<_>>() {
            if let Some(flight) = self.flights.get_mut(&sequence) {
                while let Some(part) = flight.parts.pop_front() {
                    flight.settle_all(&part, &part.unsent("run_stopped"));
                }
            }
            self.land(sequence);
        }
    }

    fn checkpoint(&mut self, signal: Signal) {
        self.journal.stage_job(signal.sequence, &signal.token);
        self.checkpoints.push(signal.done);
    }

    /// Sends the next part of a flight, or ends the flight if there is none. A stopped run sends no part any more.
    fn launch_next_part(&mut self, sequence: u64) -> Result<()> {
        while let Some(flight) = self.flights.get_mut(&sequence) {
            match flight.parts.pop_front() {
                Some(part) if self.stop.is_none() => return self.launch(sequence, part, Duration::ZERO),
                Some(part) => flight.settle_all(&part, &part.unsent("run_stopped")),
                None => self.land(sequence),
            }
        }
        Ok(())
    }

    /// Sends a part after a pause, as soon as the rate allows.
    fn launch(&mut self, sequence: u64, part: Part, pause: Duration) -> Result<()> {
        let Some(flight) = self.flights.get(&sequence) else { return Ok(()) };
        let batch = flight.batch(&part, &self.pipeline.target)?;
        let (clock, destination) = (Arc::clone(&self.pipeline.clock), &self.pipeline.destination);
        let limiter = self.limiter.clone();
        let mut stopping = self.stopping.subscribe();
        let attempt = part.schedule.attempt();
        if attempt == 1 {
            self.budget.earn();
        }
        let cx = Context::new(self.run)
            .with_attempt(attempt)
            .with_checkpoint(Arc::new(JobCheckpoint { sequence, signals: self.signals.0.clone() }));
        let span = tracing::debug_span!("batch", batch = %batch.id, operation = batch.operation.as_str(), rows = batch.len(), attempt);
        let (pipeline, run) = (self.pipeline, self.run);
        let call = async move {
            let waited = async {
                clock.sleep(pause).await;
                limiter.turn(&*clock).await;
            };
            let stopped = Box::pin(async {
                if stopping.wait_for(|stopped| *stopped).await.is_err() {
                    std::future::pending::<()>().await;
                }
            });
            // Asked first: a pause that ends in the moment of the stop must not let the call go out.
            let go = matches!(select(stopped, Box::pin(waited)).await, Either::Right(_));
            if !go {
                return Landed { sequence, part, result: None, job: None };
            }
            pipeline.emit(run, &Event::BatchSent { batch: batch.id, rows: batch.len(), attempt });
            let result = guarded(destination.write(&cx, batch)).await;
            Landed { sequence, part, result: Some(result), job: None }
        };
        self.air.push(call.instrument(span).boxed());
        Ok(())
    }

    /// Asks after a job once more.
    fn poll_job(&mut self, sequence: u64, part: Part, job: Job, pause: Duration) -> Result<()> {
        let Some(flight) = self.flights.get(&sequence) else { return Ok(()) };
        let batch = flight.batch(&part, &self.pipeline.target)?;
        let clock = Arc::clone(&self.pipeline.clock);
        let destination = &self.pipeline.destination;
        let cx = Context::new(self.run)
            .with_checkpoint(Arc::new(JobCheckpoint { sequence, signals: self.signals.0.clone() }));
        let call = async move {
            clock.sleep(pause).await;
            let result = guarded(destination.resume(&cx, &batch, job.token.clone())).await;
            Landed { sequence, part, result: Some(result), job: Some(job) }
        };
        self.air.push(call.boxed());
        Ok(())
    }

    fn handle(&mut self, landed: Landed) -> Result<()> {
        let Landed { sequence, mut part, result, job } = landed;
        let Some(result) = result else {
            return self.settle(sequence, &part, &part.unsent("run_stopped"));
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
                let since = job.map_or_else(|| self.pipeline.clock.monotonic(), |job| job.since);
                self.ask_later(sequence, part, Job { token, since }, None)
            }
            Err(error) => match (job, error.retry()) {
                // The job goes on, whatever became of the question after it.
                (Some(job), Retry::Backoff | Retry::After(_) | Retry::Ambiguous) => {
                    self.ask_later(sequence, part, job, error.delay())
                }
                (Some(_), _) => {
                    self.settle(sequence, &part, &Settled::InDoubt { code: "job_lost".into() })?;
                    if matches!(error.kind(), Kind::Unauthenticated | Kind::Forbidden | Kind::QuotaExhausted) {
                        self.stop(error);
                    }
                    Ok(())
                }
                (None, _) => self.failed(sequence, part, error),
            },
        }
    }

    /// Asks after a job again, until it has taken too long.
    fn ask_later(&mut self, sequence: u64, part: Part, job: Job, asked: Option<Duration>) -> Result<()> {
        if self.pipeline.clock.monotonic().saturating_sub(job.since) > self.pipeline.job_deadline {
            return self.settle(sequence, &part, &Settled::InDoubt { code: "job_deadline".into() });
        }
        self.poll_job(sequence, part, job, JOB_POLL.max(asked.unwrap_or_default()))
    }

    /// Takes the outcomes of a part's rows.
    fn settled(&mut self, sequence: u64, mut part: Part, mut outcomes: Vec<RowOutcome>) -> Result<()> {
        self.failures_in_row = 0;
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
        let replayable = self.replayable(sequence);
        let Some(flight) = self.flights.get_mut(&sequence) else { return Ok(()) };
        let (mut again, mut asked, mut code) = (Vec::new(), None, String::new());
        let maybe_applied = part.maybe_applied;
        planted!(ByPosition => part.rows = (0..part.rows.len() as u32).collect());
        for (row, outcome) in part.rows.iter().zip(outcomes) {
            let settled = match outcome {
                RowOutcome::Written { remote_id: id, effect, applied } => Settled::Written { id, effect, applied },
                RowOutcome::Unchanged => Settled::Unchanged,
                RowOutcome::Missing => Settled::Missing,
                RowOutcome::Exists => Settled::Exists,
                RowOutcome::Rejected { code, field, remedy } => Settled::Rejected { code, field, fix: remedy },
                RowOutcome::Retryable { code: why, after } => {
                    again.push(*row);
                    asked = asked.max(after);
                    code = why;
                    continue;
                }
                RowOutcome::Unknown if replayable => {
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
        if matches!(error.kind(), Kind::Unavailable | Kind::Protocol) {
            self.failures_in_row += 1;
        }
        planted!(TimeoutIsOk => if error.retry() == Retry::Ambiguous {
            let written = Settled::Written { id: None, effect: Effect::Unspecified, applied: Applied::Confirmed };
            return self.settle(sequence, &part, &written);
        });
        planted!(PoisonDropsBatch => if error.kind() == Kind::Rejected {
            return self.settle(sequence, &part, &Settled::Rejected { code, field: None, fix: "" });
        });
        let down = self.failures_in_row >= self.pipeline.retry.give_up_after;
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

    /// Whether the operation may be sent again when its fate is unknown.
    fn replayable(&self, sequence: u64) -> bool {
        let operation = self.flights.get(&sequence).map(|flight| flight.operation);
        operation
            .and_then(|operation| self.capability.limits(operation))
            .is_some_and(|limits| limits.idempotence != WriteIdempotence::None)
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
                    self.limiter.hold_until(now + asked);
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

    fn settle(&mut self, sequence: u64, part: &Part, settled: &Settled) -> Result<()> {
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
    fn stop(&mut self, error: Error) {
        if self.stop.is_none() {
            tracing::warn!(kind = error.kind().as_str(), "stopping the run");
            self.stop = Some(error);
            self.stopping.send_replace(true);
        }
    }

    /// Ends a flight of which every row is settled.
    fn land(&mut self, sequence: u64) {
        let Some(flight) = self.flights.remove(&sequence) else { return };
        planted!(StaleReplay => super::stale::keep(&flight));
        self.journal.stage_ack(sequence, &flight.ack());
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
    }

    fn count(&mut self, flight: &Flight) {
        planted!(NoReportOnBatchError => if flight.written() == 0 { return; });
        if flight.exit {
            return exits::count(&mut self.report, flight);
        }
        let totals = &mut self.report.totals;
        for (row, settled) in flight.settled.iter().enumerate() {
            let key = Some(KeyHash(flight.work.keys[row]));
            let again = "nothing; the next run sends it again";
            match settled {
                Some(Settled::Written { effect, applied, .. }) => {
                    totals.written += 1;
                    totals.created += u64::from(*effect == Effect::Created);
                    totals.updated += u64::from(*effect == Effect::Updated);
                    totals.accepted += u64::from(*applied == Applied::Accepted);
                }
                Some(Settled::Unchanged) => totals.unchanged += 1,
                Some(settled @ (Settled::Missing | Settled::Exists)) => {
                    totals.skipped += 1;
                    self.report.reasons.add(Outcome::Skipped, &exits::left_alone(settled), key);
                }
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
                    self.report.reasons.add(Outcome::InDoubt, &Reason::new(code.clone(), None, again), key);
                }
                None => totals.in_doubt += 1,
            }
        }
    }

    /// Accounts for what was not begun, and tells what stopped the run.
    fn finish(mut self, broken: Option<Error>, to_write: u64, to_exit: u64) -> (Option<Error>, Report, Journal) {
        // Flights are left only if the state or the spool failed: sent or not, the next run resolves them.
        for flight in std::mem::take(&mut self.flights).into_values() {
            self.count(&flight);
        }
        let left = to_write.saturating_sub(self.started_rows);
        let reason = Reason::new("run_stopped", None, "nothing; the next run sends it again");
        self.report.totals.deferred += left;
        self.report.reasons.add_many(Outcome::Deferred, &reason, left, None);
        let left = to_exit.saturating_sub(self.exits.started_rows);
        self.report.totals.exits.deferred += left;
        self.report.exit_reasons.add_many(Outcome::Deferred, &reason, left, None);
        (broken.or(self.stop), self.report, self.journal)
    }
}

/// A call of an adapter; a panic in it is an error of unknown fate.
async fn guarded(call: impl Future<Output = Result<Receipt>>) -> Result<Receipt> {
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(result) => result,
        Err(_) => Err(Error::new(Kind::Internal, "write", "the adapter panicked")
            .with_context("code", "adapter_panic")
            .with_retry(Retry::Ambiguous)
            .with_remedy("this is a defect in the adapter; please report it")),
    }
}
