//! A company scores the health of its customers and keeps its CRM up to date.
//!
//! Event tables in Parquet files, a model in SQL (`model.sql`), HubSpot companies as the destination: here the
//! local simulator, so that it runs with nothing else installed. It runs four times: everything is new, some events
//! have changed, nothing has changed, the model is broken.
//!
//! ```text
//! cargo run --example health_score
//! ```
#![allow(clippy::print_stdout, reason = "it shows what happens")]

mod events;

use std::error::Error;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use rsync_core::event::Observer;
use rsync_core::guard::{ChangedShare, RowFloor};
use rsync_core::ids::{RunId, SyncId};
use rsync_core::{
    EmbeddedStore, Event, FieldMap, FieldRule, FieldType, HashKey, Model, NullRule, Owner, Pipeline, Report, RunStatus,
    Secret, Target,
};
use rsync_datafusion_source::DataFusionSource;
use rsync_hubspot::{HubSpot, RateTier};
use rsync_testkit::sim::hubspot::{HubSpotSim, PropertySeed, RateLimits};

const MODEL: &str = include_str!("model.sql");

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let crm = start_crm().await?;

    println!("== First run: {} accounts, all new\n", events::ACCOUNTS);
    events::write_tables(folder.path(), 0)?;
    let first = run(folder.path(), &crm, MODEL).await?;
    check(&first, RunStatus::Completed, events::ACCOUNTS as u64)?;

    println!("== Second run: 137 accounts have a new severe ticket\n");
    events::write_tables(folder.path(), 137)?;
    let second = run(folder.path(), &crm, MODEL).await?;
    check(&second, RunStatus::Completed, second.totals.written)?;
    if second.totals.written == 0 || second.totals.written > 137 {
        return Err("only accounts with a new ticket may be sent".into());
    }

    println!("== Third run: nothing has changed\n");
    let third = run(folder.path(), &crm, MODEL).await?;
    check(&third, RunStatus::Completed, 0)?;

    println!("== Fourth run: somebody breaks the model, usage is lost in a join\n");
    let before = crm.stats().rows_written();
    let broken = MODEL.replace("ON u.account_id = a.account_id", "ON u.account_id = -a.account_id");
    let fourth = run(folder.path(), &crm, &broken).await?;
    check(&fourth, RunStatus::Held, 0)?;
    if crm.stats().rows_written() != before {
        return Err("a held run must write nothing".into());
    }
    println!("The CRM still has {} companies with the scores of the last good run.", crm.records("companies").len());
    Ok(())
}

/// Plans, shows the plan, applies it, shows the report.
async fn run(folder: &Path, crm: &HubSpotSim, model: &str) -> Result<Report, Box<dyn Error>> {
    let sync = pipeline(folder, crm, model)?;
    let plan = sync.plan().await?;
    println!("{plan}\n");
    let report = sync.apply(plan).await?;
    println!("{report}\n");
    Ok(report)
}

fn pipeline(folder: &Path, crm: &HubSpotSim, model: &str) -> rsync_core::Result<Pipeline> {
    let mut source = DataFusionSource::builder().with_sql(model);
    for table in ["accounts", "usage", "tickets", "nps", "milestones"] {
        source = source.with_parquet(table, folder.join(format!("{table}.parquet")));
    }
    let hubspot = HubSpot::builder()
        .token(Secret::new(crm.token()))
        // For the real service leave these three lines out.
        .base_url(crm.base_url())
        .allow_loopback_http(true)
        .rate(RateTier::Unlimited)
        .build()?;
    let mapping = FieldMap::new()
        .field(FieldRule::column("account_id", "account_key", FieldType::Text))
        .field(FieldRule::column("name", "name", FieldType::Text))
        .field(FieldRule::column("health_score", "health_score", FieldType::Integer))
        .field(FieldRule::column("health_tier", "health_tier", FieldType::Text))
        .field(FieldRule::column("key_actions_30d", "key_actions_30d", FieldType::Integer))
        .field(FieldRule::column("nps", "last_nps", FieldType::Integer).on_null(NullRule::Clear))
        .field(FieldRule::column("suppress_onboarding", "suppress_onboarding", FieldType::Boolean));
    Pipeline::builder("account-health")
        .owner(Owner::new("customer-success", "#cs-data"))
        .source(source.build()?)
        .model(Model::new("account_health").key(["account_id"]).version("2024-06-01").not_null("health_tier"))
        .mapping(mapping)
        .destination(hubspot, Target::new("companies", "account_key"))
        .state(EmbeddedStore::new(folder.join("state"))?, HashKey::load_or_create(folder.join("hash.key"))?)
        .guard(RowFloor::at_least(10_000))
        .guard(ChangedShare::at_most(0.3))
        .observer(Progress(ProgressBar::hidden()))
        .build()
}

/// A portal with the company properties that the sync fills.
async fn start_crm() -> Result<HubSpotSim, Box<dyn Error>> {
    let crm = HubSpotSim::builder()
        .with_rate_limits(RateLimits::Unlimited)
        .with_property("companies", PropertySeed::unique_text("account_key"))
        .with_property("companies", PropertySeed::of("health_score", "number", "number"))
        .with_property("companies", PropertySeed::options("health_tier", "select", ["healthy", "watch", "at_risk"]))
        .with_property("companies", PropertySeed::of("key_actions_30d", "number", "number"))
        .with_property("companies", PropertySeed::of("last_nps", "number", "number"))
        .with_property("companies", PropertySeed::of("suppress_onboarding", "bool", "booleancheckbox"));
    Ok(crm.start().await?)
}

fn check(report: &Report, status: RunStatus, written: u64) -> Result<(), String> {
    if report.status != status || report.totals.written != written || !report.totals.balance() {
        return Err(format!("expected {} rows written and status {}", written, status.as_str()));
    }
    Ok(())
}

/// Shows batches as they are settled.
#[derive(Debug)]
struct Progress(ProgressBar);

impl Observer for Progress {
    fn observe(&self, _: &SyncId, _: RunId, event: &Event) {
        match event {
            Event::Planned { to_write, .. } => {
                self.0.set_length(*to_write);
            }
            Event::RunStarted if self.0.length().unwrap_or(0) > 0 => {
                let style = ProgressStyle::with_template("  {bar:40} {pos}/{len} rows, {per_sec}");
                self.0.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                self.0.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            }
            Event::BatchSettled { rows, .. } => self.0.inc(*rows as u64),
            Event::RunCompleted { .. } => self.0.finish_and_clear(),
            Event::RunHeld { owner, .. } | Event::RunFailed { owner, .. } | Event::RunIncomplete { owner, .. } => {
                self.0.abandon();
                println!("  -> {} is told at {}\n", owner.team, owner.contact);
            }
            _ => {}
        }
    }
}
