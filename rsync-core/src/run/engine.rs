//! The loop that sends a plan's batches.
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

use super::carried::{Outbox, Ready};
use super::exits::ExitPhase;
use super::flight::{Flight, Part};
use super::look::Reading;
use super::rebind::RebindPhase;
use crate::batch::Batcher;
use crate::capability::Capability;
use crate::destination::{Checkpoint, Context};
use crate::error::{Error, Kind, Result, Retry};
use crate::event::Event;
use crate::ids::{JobToken, RunId};
use crate::limit::Sign;
use crate::outcome::Receipt;
use crate::pipeline::Pipeline;
use crate::plan::Work;
use crate::report::Report;
use crate::retry::{Budget, Schedule};
use crate::state::Journal;
#[cfg(feature = "planted-defects")]
use crate::state::codec::{Ack, Status};

/// A call that has come back.
pub(super) struct Landed {
    pub(super) sequence: u64,
    pub(super) part: Part,
    /// `None` if it was not sent: the run was stopped, or the call was refused.
    pub(super) result: Option<Result<Receipt>>,
    /// Why it was not sent, where that stops the run.
    pub(super) refused: Option<Error>,
    /// The job that was asked after.
    pub(super) job: Option<Job>,
}

/// A job that works on a part at the destination.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) token: JobToken,
    pub(super) since: Duration,
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
    pub(super) pipeline: &'a Pipeline,
    pub(super) run: RunId,
    pub(super) capability: Capability,
    pub(super) report: Report,
    pub(super) journal: Journal,
    pub(super) exits: ExitPhase,
    pub(super) outbox: Outbox,
    pub(super) reading: Reading<'a>,
    pub(super) rebind: RebindPhase,
    pub(super) budget: Budget,
    pub(super) flights: BTreeMap<u64, Flight>,
    pub(super) air: FuturesUnordered<BoxFuture<'a, Landed>>,
    signals: (mpsc::UnboundedSender<Signal>, mpsc::UnboundedReceiver<Signal>),
    checkpoints: Vec<oneshot::Sender<()>>,
    pub(super) stopping: watch::Sender<bool>,
    pub(super) stop: Option<Error>,
    interruption: Interruption,
    pub(super) started: Duration,
    pub(super) started_rows: u64,
}

impl<'a> Engine<'a> {
    pub(super) fn new(
        pipeline: &'a Pipeline,
        run: RunId,
        report: Report,
        journal: Journal,
        outbox: Outbox,
        reading: Reading<'a>,
    ) -> Self {
        let capability = pipeline.destination.capability(&pipeline.target);
        let started = pipeline.clock.monotonic();
        Self {
            pipeline,
            run,
            capability,
            report,
            journal,
            exits: ExitPhase::default(),
            outbox,
            reading,
            rebind: RebindPhase::default(),
            budget: Budget::new(pipeline.retry),
            flights: BTreeMap::new(),
            air: FuturesUnordered::new(),
            signals: mpsc::unbounded_channel(),
            checkpoints: Vec::new(),
            stopping: watch::channel(false).0,
            stop: None,
            interruption: Interruption::Awaited(pipeline.interruption(started)),
            started,
            started_rows: 0,
        }
    }

    /// Sends everything. Returns early only if the state or the spool fails.
    pub(super) async fn fly(&mut self, mut work: impl Iterator<Item = Result<Work>> + Send) -> Result<()> {
        let pipeline = self.pipeline;
        let mut batcher = Batcher::new(&*pipeline.destination, &pipeline.target, self.capability);
        let mut ready: VecDeque<Ready> = self.outbox.take_ready();
        let fresh = |(operation, work)| Ready { operation, work, place: None };
        let mut exhausted = false;
        loop {
            self.interrupt();
            let mut starting = Vec::new();
            while self.stop.is_none() {
                let waiting = !ready.is_empty() || !self.reading.done.is_empty();
                if let Some(error) = pipeline.refusal().filter(|_| waiting) {
                    self.stop(error);
                    break;
                }
                if let Some(error) = self.quota_reached().filter(|_| waiting) {
                    // What is in the air may be counted already or not: only without it the figure is sure.
                    if self.flights.is_empty() && self.reading.open.is_empty() {
                        self.stop(error);
                    }
                    break;
                }
                if let Some(sighted) = self.reading.done.pop_front() {
                    starting.extend(self.stage_sighted(sighted)?);
                } else if self.flights.len() + self.reading.open.len() >= self.most_flights() {
                    break;
                } else if let Some(batch) = ready.pop_front() {
                    match self.question(&batch) {
                        Some(question) => self.look(batch, question)?,
                        None => starting.push(self.stage(batch)?),
                    }
                } else if exhausted {
                    break;
                } else if let Some(work) = work.next() {
                    let work = self.hold_back(work?)?;
                    ready.extend(batcher.push(&work)?.into_iter().map(fresh));
                } else {
                    ready.extend(batcher.finish()?.into_iter().map(fresh));
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
            if self.air.is_empty() && self.reading.open.is_empty() {
                let left = !exhausted || !ready.is_empty() || !self.reading.done.is_empty();
                if self.stop.is_some() || !left {
                    return Ok(());
                }
                // All that was begun has landed without a call.
                continue;
            }
            self.wait().await?;
        }
    }

    /// Most batches that may be open. While nobody knows whether the destination is back, a single one tries it.
    fn most_flights(&self) -> usize {
        if self.pipeline.limiter.is_on_trial() { 1 } else { self.capability.max_in_flight }
    }

    /// Whether the calls that may still be made are left to others.
    fn quota_reached(&self) -> Option<Error> {
        let quota = self.pipeline.destination.quota()?;
        let share = self.pipeline.quota_reserve;
        let allowed = quota.limit as f64 * (1.0 - share);
        let open = self.flights.len() + self.reading.open.len();
        ((quota.used + open as u64) as f64 >= allowed).then(|| {
            Error::new(Kind::QuotaExhausted, "write", "the account's quota is used up to the reserve")
                .with_context("used", quota.used)
                .with_context("limit", quota.limit)
                .with_context("reserve", share)
                .with_remedy("run again when the quota has come back, or lower quota_reserve")
        })
    }

    /// Stages the intent of a batch.
    pub(super) fn stage(&mut self, batch: Ready) -> Result<u64> {
        let Ready { operation, work, place } = batch;
        #[cfg(feature = "planted-defects")]
        let work = super::stale::replay(work);
        // What is removed has no image.
        let images = if operation.removes() { Vec::new() } else { work.images.clone() };
        let (since, forced) = self.since(&work, place.as_ref());
        let (sequence, place) = self.stage_flight(operation, &work, place, images)?;
        planted!(CommitBeforeAck => self.journal.stage_ack(sequence, &Ack::uniform(work.len(), Status::Synced)));
        let exit = self.exits.begun();
        self.count_begun(work.len() as u64, place.as_ref());
        self.report.totals.possible_duplicates += if forced { work.len() as u64 } else { 0 };
        if !exit {
            self.rebind.staged(work.len());
        }
        let now = self.pipeline.clock.monotonic();
        let schedule = Schedule::new(self.pipeline.retry, now);
        let origin = place.as_ref().map_or(sequence, |place| place.sequence);
        let tokens = self.tokens(operation, &work, origin);
        let mut flight = Flight::new(operation, exit, work, schedule, now, place);
        (flight.tokens, flight.since, flight.forced) = (tokens, since, forced);
        self.flights.insert(sequence, flight);
        Ok(sequence)
    }

    /// Waits until something has come back, and handles all that has.
    async fn wait(&mut self) -> Result<()> {
        tokio::select! {
            biased;
            Some(landed) = self.air.next() => self.handle(landed)?,
            Some(sighted) = self.reading.open.next() => self.reading.done.push_back(sighted),
            Some(signal) = self.signals.1.recv() => self.checkpoint(signal),
            () = self.interruption.next() => match self.interruption {
                Interruption::Grace(_) => self.abandon()?,
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
    pub(super) fn interrupt(&mut self) {
        if let Interruption::Awaited(_) = self.interruption
            && let Some(error) = self.pipeline.interrupted(self.started)
        {
            self.stop(error);
            self.interruption = Interruption::Grace(self.pipeline.clock.sleep(self.pipeline.grace));
        }
    }

    /// Waits no longer for calls in the air: their rows are in doubt.
    fn abandon(&mut self) -> Result<()> {
        self.interruption = Interruption::Over;
        self.air.clear();
        for sequence in self.flights.keys().copied().collect::<Vec<_>>() {
            if let Some(flight) = self.flights.get_mut(&sequence) {
                while let Some(part) = flight.parts.pop_front() {
                    flight.settle_all(&part, &part.unsent("run_stopped"));
                }
            }
            self.land(sequence)?;
        }
        Ok(())
    }

    fn checkpoint(&mut self, signal: Signal) {
        if let Some(flight) = self.flights.get_mut(&signal.sequence) {
            flight.job = Some(signal.token.clone());
        }
        self.journal.stage_job(signal.sequence, &signal.token);
        self.checkpoints.push(signal.done);
    }

    /// Sends the next part of a flight, or ends the flight if there is none. A stopped run sends no part any more.
    pub(super) fn launch_next_part(&mut self, sequence: u64) -> Result<()> {
        while let Some(flight) = self.flights.get_mut(&sequence) {
            match flight.parts.pop_front() {
                // A second job for the same intent would take the place of the first one's token.
                Some(part) if self.stop.is_none() && flight.job.is_none() => {
                    return self.launch(sequence, part, Duration::ZERO);
                }
                Some(part) => flight.settle_all(&part, &part.unsent("run_stopped")),
                None => self.land(sequence)?,
            }
        }
        Ok(())
    }

    /// Sends a part after a pause, as soon as the rate allows.
    pub(super) fn launch(&mut self, sequence: u64, part: Part, pause: Duration) -> Result<()> {
        let Some(flight) = self.flights.get(&sequence) else { return Ok(()) };
        let batch = self.reading.with_policies(flight.batch(&part, &self.pipeline.target)?, flight.exit);
        // Asked again after the pause and the wait for a turn.
        let forgotten_at = self.forgotten_at(flight).filter(|_| part.maybe_applied);
        let (clock, destination) = (Arc::clone(&self.pipeline.clock), &self.pipeline.destination);
        let limiter = self.pipeline.limiter.clone();
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
            if !go || forgotten_at.is_some_and(|end| clock.wall() >= end) {
                return Landed { sequence, part, result: None, refused: None, job: None };
            }
            // The pause may have taken long: only now is it known whether the call may be made.
            let permit = match pipeline.window_closed().map_or_else(|| pipeline.admit(), Err) {
                Ok(permit) => permit,
                Err(error) => return Landed { sequence, part, result: None, refused: Some(error), job: None },
            };
            pipeline.emit(run, &Event::BatchSent { batch: batch.id, rows: batch.len(), attempt });
            let result = guarded(destination.write(&cx, batch)).await;
            permit.settle(&result, Sign::Write, clock.monotonic(), pipeline.retry.give_up_after);
            Landed { sequence, part, result: Some(result), refused: None, job: None }
        };
        self.air.push(call.instrument(span).boxed());
        Ok(())
    }

    /// Asks after a job once more.
    pub(super) fn poll_job(&mut self, sequence: u64, part: Part, job: Job, pause: Duration) -> Result<()> {
        let Some(flight) = self.flights.get(&sequence) else { return Ok(()) };
        let batch = flight.batch(&part, &self.pipeline.target)?;
        let pipeline = self.pipeline;
        let destination = &pipeline.destination;
        let cx = Context::new(self.run)
            .with_checkpoint(Arc::new(JobCheckpoint { sequence, signals: self.signals.0.clone() }));
        let call = async move {
            let clock = &pipeline.clock;
            clock.sleep(pause).await;
            let permit = loop {
                match pipeline.limiter.admit(clock.monotonic()) {
                    Ok(permit) => break permit,
                    // The job goes on meanwhile.
                    Err(until) => clock.sleep(until.saturating_sub(clock.monotonic())).await,
                }
            };
            let result = guarded(destination.resume(&cx, &batch, job.token.clone())).await;
            permit.settle(&result, Sign::Read, clock.monotonic(), pipeline.retry.give_up_after);
            Landed { sequence, part, result: Some(result), refused: None, job: Some(job) }
        };
        self.air.push(call.boxed());
        Ok(())
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
