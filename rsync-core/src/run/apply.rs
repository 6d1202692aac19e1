//! From a plan to a report.

use std::time::Duration;

use tracing::Instrument as _;

use super::Failure;
use super::carried::Outbox;
use super::engine::Engine;
use super::initial::{self, Canary};
use super::look::Reading;
use super::{exits, timing};
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::ids::{FieldName, RunId};
use crate::initial_load::InitialLoad;
use crate::outcome::Outcome;
use crate::pipeline::Pipeline;
use crate::plan::{Plan, Reason, Reasons};
use crate::report::{Calls, Report, RunStatus, Totals};
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
    let mut report = Report {
        sync: plan.sync.clone(),
        run,
        status: RunStatus::Completed,
        stop: None,
        totals: Totals::of_plan(plan.counts(), &plan.found.exits),
        carried_reasons: Reasons::default(),
        reasons: plan.found.reasons.clone(),
        exit_reasons: plan.found.exits.reasons.clone(),
        kept: Vec::new(),
        calls: Calls { reads: plan.preflight_reads, ..Calls::default() },
        elapsed: Duration::ZERO,
        plan_hash: plan.hash(),
        model_version: plan.model_version.clone(),
        state_epoch: plan.state_epoch(),
        state_mark: plan.known.mark(),
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
    let Plan { found, known, session, binding, fields, definition, enforced, initial, .. } = plan;
    let (found, mut known) = (*found, *known);
    let names: Vec<FieldName> = fields.iter().map(|field| field.name.clone()).collect();
    let mut journal = Journal::begin(session, &known, &binding, &names, &record).await?;
    report.state_mark = Some(journal.mark());
    pipeline.expect(journal.mark());
    let jobs = std::mem::take(&mut known.jobs);
    // From here on the state is only written; the index has served.
    drop(known);
    pipeline.emit(run, &Event::RunStarted);
    for piece in found.settled.chunks(SETTLED_ROWS) {
        let (keys, rows) = piece.iter().copied().unzip();
        journal.stage_settled(keys, rows);
    }
    exits::stage(&mut journal, &found.exits);
    let tied = found.carried.tied.len() as u64;
    let adopted = found.adopted.as_ref().map_or(0, |work| work.len() as u64);
    let (to_write, mut to_exit) = (found.spool.rows() + adopted + tied, found.exits.spool.rows());
    let to_carry = found.carried.rows + tied;
    let outbox = Outbox::new(pipeline, binding.epoch, found.carried);
    let reading = Reading::new(pipeline, fields, &enforced, initial == InitialLoad::SeedFromDestination);
    if initial != InitialLoad::Send {
        initial::defer_exits(&mut report, std::mem::take(&mut to_exit));
    }
    let mut engine = Engine::new(pipeline, run, report, journal, outbox, reading);
    if to_exit > 0 {
        engine.exits.watch();
    }
    let mut outcome = found.adopted.map_or(Ok(()), |work| engine.adopt(jobs, &work));
    if outcome.is_ok() && to_carry > 0 {
        outcome = engine.fly_carried().await;
    }
    let canary = match initial {
        InitialLoad::Canary(share) => Some(Canary::new(share)),
        _ => None,
    };
    if outcome.is_ok() {
        outcome = match (initial, &canary) {
            (InitialLoad::SeedStateOnly, _) => engine.seed(found.spool).await,
            (_, canary) => match found.spool.read() {
                Ok(work) => match canary {
                    Some(canary) => engine.fly(work.map(|work| canary.choose(&work?))).await,
                    None => engine.fly(work).await,
                },
                Err(error) => Err(error),
            },
        };
    }
    if outcome.is_ok() {
        outcome = engine.fly_lost_rows().await;
    }
    if outcome.is_ok() && to_exit > 0 {
        outcome = engine.fly_exits(found.exits.spool).await;
    }
    let left = canary.as_ref().map_or(0, Canary::left);
    let (stopped, mut report, mut journal) = engine.finish(outcome.err(), to_write - left, to_exit);
    let stopped = timing::conclude_stop(pipeline, stopped, &mut report, &mut journal);
    if let Some(canary) = canary {
        canary.conclude(&mut report);
    }
    report.quota = pipeline.destination.quota();
    report.elapsed = pipeline.clock.monotonic().saturating_sub(started);
    report.settle_status(stopped.is_some());
    record.ended_ms = pipeline.clock.wall().as_millis() as u64;
    record.status = report.status.as_str().to_owned();
    record.written = report.totals.written;
    // A run that was cut short leaves some of the change to the next one.
    if matches!(report.status, RunStatus::Completed | RunStatus::Incomplete) {
        journal.stage_definition(&definition);
    }
    // A store that failed takes no more; the error that stopped the run is then the one to tell.
    let recorded = journal.finish(&record).await;
    if let Some(error) = stopped.or(recorded.err()) {
        report.settle_status(true);
        return Err(Failure { error, report: Some(Box::new(report)) });
    }
    conclude(pipeline, run, report)
}

fn held(pipeline: &Pipeline, plan: &Plan, mut report: Report) -> Report {
    let reasons: Vec<String> =
        plan.guards().iter().filter_map(|guard| Some(format!("{}: {}", guard.guard, guard.hold.as_ref()?))).collect();
    if let Some(guard) = plan.guards().iter().find(|guard| guard.hold.is_some()) {
        let reason = Reason::new(guard.guard.clone(), None, "look at the plan; mend the model or change the guard");
        report.totals.held += plan.counts().to_write();
        report.reasons.add_many(Outcome::Held, &reason, plan.counts().to_write(), None);
        report.totals.carried.held = plan.counts().carried;
        report.carried_reasons.add_many(Outcome::Held, &reason, report.totals.carried.held, None);
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
    if report.totals.held > 0 {
        let rows = report.totals.held;
        tracing::error!(team = %owner.team, contact = %owner.contact, rows, "rows held");
        pipeline.emit(run, &Event::RowsHeld { rows, owner: owner.clone() });
    }
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
