//! From a plan to a report.

use std::time::Duration;

use tracing::Instrument as _;

use super::Failure;
use super::engine::Engine;
use super::exits;
use crate::error::{Error, Kind, Result, Retry};
use crate::event::Event;
use crate::ids::{FieldName, RunId};
use crate::outcome::Outcome;
use crate::pipeline::Pipeline;
use crate::plan::{Plan, Reason};
use crate::report::{Calls, Report, RunStatus, Stop, Totals};
use crate::state::Journal;
use crate::state::codec::RunRecord;

/// Rows in one record of settled rows.
const SETTLED_ROWS: usize = 10_000;

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
