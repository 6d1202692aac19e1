//! Planning and applying: the only module that sees all stages and performs effects.

mod adoption;
mod answers;
mod apply;
mod carried;
mod columns;
mod decide;
mod engine;
mod exits;
mod flight;
mod initial;
mod lifecycle;
mod look;
mod lookup;
mod planning;
mod preflight;
mod rebind;
#[cfg(feature = "planted-defects")]
mod stale;
mod timing;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, select};

use crate::error::{Error, Kind, Result, Retry};
use crate::event::Event;
use crate::ids::RunId;
use crate::limit::Sign;
use crate::pipeline::Pipeline;
use crate::plan::{Plan, PlanOptions};
use crate::report::Report;
use crate::retry::{Next, Schedule};

/// A run that an error stopped, with what it did until then.
#[derive(Debug, thiserror::Error)]
#[error("{error}; {}", so_far(report.as_deref()))]
#[non_exhaustive]
pub struct Failure {
    /// Why it stopped.
    #[source]
    pub error: Error,
    /// What it did; `None` if it stopped before anything could be written.
    pub report: Option<Box<Report>>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, report: None }
    }
}

fn so_far(report: Option<&Report>) -> String {
    match report {
        None => "nothing was written".into(),
        Some(report) => format!(
            "{} rows were written before, {} are left to the next run",
            report.totals.written,
            report.totals.outstanding()
        ),
    }
}

impl Pipeline {
    /// Reads the whole model once, compares it with the acknowledged state and has the guards judge the
    /// difference. Calls nothing that writes, neither at the destination nor in the state.
    ///
    /// The future may be dropped at any time.
    ///
    /// # Errors
    ///
    /// [`Kind::SchemaMismatch`] and [`Kind::Unsupported`] list everything that does not fit;
    /// [`Kind::StateMismatch`] if the state belongs to something else, [`Kind::StateLost`] if it is not the one that the
    /// host expects; [`Kind::TooEarly`] if the last run was told to wait longer; [`Kind::Unavailable`] without a call if
    /// the destination was down a moment ago; whatever the source, the destination's health check and the state store
    /// report. Every failure is told to the observers with the sync's owner.
    pub async fn plan(&self) -> Result<Plan> {
        self.plan_with(PlanOptions::new()).await
    }

    /// Plans as [`Pipeline::plan`] does, with something out of the ordinary: to begin anew, or to send rows again.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::plan`].
    pub async fn plan_with(&self, options: PlanOptions) -> Result<Plan> {
        let run = RunId(self.randomness.next_u64());
        let planned = Box::pin(self.plan_run(run, &options)).await;
        if let Err(error) = &planned {
            self.emit_failure(run, error);
        }
        planned
    }

    /// Carries out a plan of this pipeline. A held plan writes nothing.
    ///
    /// Dropping the future counts as a crash: what was acknowledged stays acknowledged, batches in the air are in
    /// doubt and are sent again by the next run.
    ///
    /// # Errors
    ///
    /// If the run was stopped; the report tells what it had done. Rows that fail by themselves are no error:
    /// they are in the report, and the next run sends them again.
    pub async fn apply(&self, plan: Plan) -> Result<Report, Failure> {
        let run = plan.run();
        if plan.sync != self.sync {
            let error = Error::new(Kind::InvalidConfig, "apply a plan", "the plan is of another sync")
                .with_context("plan", &plan.sync)
                .with_context("sync", &self.sync)
                .with_remedy("apply a plan with the pipeline that made it");
            self.emit_failure(run, &error);
            return Err(error.into());
        }
        let applied = apply::apply(self, plan).await;
        match &applied {
            Ok(_) => {}
            Err(failure) => self.emit_failure(run, &failure.error),
        }
        applied
    }

    /// Plans and applies.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::plan`] and [`Pipeline::apply`].
    pub async fn run(&self) -> Result<Report, Failure> {
        self.run_with(PlanOptions::new()).await
    }

    /// Plans with `options` and applies.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::plan`] and [`Pipeline::apply`], and [`Kind::TooEarly`] if the sync's window is closed.
    pub async fn run_with(&self, options: PlanOptions) -> Result<Report, Failure> {
        if !options.ignore_not_before
            && let Err(failure) = self.check_window()
        {
            self.emit_failure(RunId(self.randomness.next_u64()), &failure.error);
            return Err(failure);
        }
        let plan = self.plan_with(options).await?;
        self.apply(plan).await
    }

    fn emit(&self, run: RunId, event: &Event) {
        for observer in &self.observers {
            observer.observe(&self.sync, run, event);
        }
    }

    fn emit_failure(&self, run: RunId, error: &Error) {
        if error.kind() == Kind::TooEarly {
            tracing::info!(sync = %self.sync, %run, %error, "run postponed");
            return self.emit(run, &Event::RunPostponed { left: error.delay() });
        }
        tracing::error!(
            sync = %self.sync, %run, team = %self.owner.team, contact = %self.owner.contact,
            kind = error.kind().as_str(), %error, "run failed"
        );
        self.emit(run, &Event::failed(error, &self.owner));
    }

    /// Why a run or a plan that began at `started` has to end now, if it has to.
    fn interrupted(&self, started: Duration) -> Option<Error> {
        let error = |message| Error::new(Kind::Cancelled, "run", message);
        if self.cancel.is_cancelled() {
            return Some(error("the host cancelled the run").with_remedy("nothing; the next run goes on"));
        }
        (self.clock.monotonic() >= started.saturating_add(self.deadline)).then(|| {
            error("the run took longer than its deadline")
                .with_context("deadline_s", self.deadline.as_secs())
                .with_remedy("run again, or raise the deadline")
        })
    }

    /// Resolves when [`Pipeline::interrupted`] has something to say.
    fn interruption(&self, started: Duration) -> BoxFuture<'static, ()> {
        let (clock, deadline, cancel) = (Arc::clone(&self.clock), self.deadline, self.cancel.clone());
        Box::pin(async move {
            let left = started.saturating_add(deadline).saturating_sub(clock.monotonic());
            select(std::pin::pin!(cancel.cancelled()), clock.sleep(left)).await;
        })
    }

    /// A read at the destination, tried again as the retry policy allows.
    async fn reading<T, F: Future<Output = Result<T>>>(&self, call: impl Fn() -> F) -> Result<T> {
        let mut schedule = Schedule::new(self.retry, self.clock.monotonic());
        loop {
            let permit = self.admit()?;
            let result = call().await;
            permit.settle(&result, Sign::Read, self.clock.monotonic(), self.retry.give_up_after);
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if matches!(error.retry(), Retry::Never | Retry::Exhausted) {
                return Err(error);
            }
            if self.limiter.is_down(self.clock.monotonic()) {
                return Err(error.with_retry(Retry::Exhausted));
            }
            match schedule.next(self.clock.monotonic(), error.delay(), &*self.randomness) {
                Next::Again(pause) => self.clock.sleep(pause).await,
                Next::GiveUp | Next::TooLong(_) => return Err(error.with_retry(Retry::Exhausted)),
            }
        }
    }
}
