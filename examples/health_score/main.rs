//! A company scores the health of its customers and keeps three tools up to date.
//!
//! Event tables in Parquet files and one model in SQL (`model.sql`). Its flags go to Salesforce accounts, HubSpot
//! companies and Customer.io people, each with a mapping of its own: here to the local simulators, so that it runs with
//! nothing else installed. It runs four times: everything is new, some events have changed, nothing has changed, the
//! model is broken.
//!
//! ```text
//! cargo run --example health_score
//! ```
#![allow(clippy::print_stdout, reason = "it shows what happens")]

mod events;
mod services;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use rsync_core::event::Observer;
use rsync_core::guard::{ChangedShare, RowFloor};
use rsync_core::ids::{RunId, SyncId};
use rsync_core::{
    Destination, EmbeddedStore, Event, FieldMap, FieldRule, FieldType, HashKey, Model, NullRule, Owner, Pipeline,
    Report, RunStatus, Target,
};
use rsync_datafusion_source::DataFusionSource;
use services::Services;

const MODEL: &str = include_str!("model.sql");

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let services = Services::start().await?;

    println!("== First run: {} accounts, all new\n", events::ACCOUNTS);
    events::write_tables(folder.path(), 0)?;
    for report in run(folder.path(), &services, MODEL).await? {
        check(&report, RunStatus::Completed, events::ACCOUNTS as u64)?;
    }

    println!("== Second run: 137 accounts have a new severe ticket\n");
    events::write_tables(folder.path(), 137)?;
    for report in run(folder.path(), &services, MODEL).await? {
        check(&report, RunStatus::Completed, report.totals.written)?;
        if report.totals.written == 0 || report.totals.written > 137 {
            return Err("only accounts with a new ticket may be sent".into());
        }
    }

    println!("== Third run: nothing has changed\n");
    for report in run(folder.path(), &services, MODEL).await? {
        check(&report, RunStatus::Completed, 0)?;
    }

    println!("== Fourth run: somebody breaks the model, usage is lost in a join\n");
    let before = services.rows_written();
    let broken = MODEL.replace("ON u.account_id = a.account_id", "ON u.account_id = -a.account_id");
    for report in run(folder.path(), &services, &broken).await? {
        check(&report, RunStatus::Held, 0)?;
    }
    if services.rows_written() != before {
        return Err("a held run must write nothing".into());
    }
    println!("The tools still have the scores of the last good run: {services}.");
    Ok(())
}

/// Plans, shows the plan, applies it, shows the report: for one service after the other.
async fn run(folder: &Path, services: &Services, model: &str) -> Result<Vec<Report>, Box<dyn Error>> {
    let mut reports = Vec::new();
    for sync in [
        salesforce_accounts(folder, services, model)?,
        hubspot_companies(folder, services, model)?,
        customerio_people(folder, services, model)?,
    ] {
        let plan = sync.plan().await?;
        println!("{plan}\n");
        let report = sync.apply(plan).await?;
        println!("{report}\n");
        reports.push(report);
    }
    Ok(reports)
}

fn salesforce_accounts(folder: &Path, services: &Services, model: &str) -> rsync_core::Result<Pipeline> {
    let mapping = FieldMap::new()
        .field(FieldRule::column("account_id", "Account_Key__c", FieldType::Text))
        .field(FieldRule::column("name", "Name", FieldType::Text))
        .field(FieldRule::column("health_score", "Health_Score__c", FieldType::Integer))
        .field(FieldRule::column("health_tier", "Health_Tier__c", FieldType::Text))
        .field(FieldRule::column("nps", "Last_NPS__c", FieldType::Integer).on_null(NullRule::Clear));
    let target = Target::new("Account", "Account_Key__c");
    pipeline("health-salesforce", folder, model, mapping, services.salesforce()?, target)
}

fn hubspot_companies(folder: &Path, services: &Services, model: &str) -> rsync_core::Result<Pipeline> {
    let mapping = FieldMap::new()
        .field(FieldRule::column("account_id", "account_key", FieldType::Text))
        .field(FieldRule::column("name", "name", FieldType::Text))
        .field(FieldRule::column("health_score", "health_score", FieldType::Integer))
        .field(FieldRule::column("health_tier", "health_tier", FieldType::Text))
        .field(FieldRule::column("key_actions_30d", "key_actions_30d", FieldType::Integer))
        .field(FieldRule::column("nps", "last_nps", FieldType::Integer).on_null(NullRule::Clear));
    let target = Target::new("companies", "account_key");
    pipeline("health-hubspot", folder, model, mapping, services.hubspot()?, target)
}

fn customerio_people(folder: &Path, services: &Services, model: &str) -> rsync_core::Result<Pipeline> {
    let mapping = FieldMap::new()
        .field(FieldRule::column("account_id", "id", FieldType::Text))
        .field(FieldRule::column("health_score", "health_score", FieldType::Integer))
        .field(FieldRule::column("health_tier", "health_tier", FieldType::Text))
        .field(FieldRule::column("suppress_onboarding", "suppress_onboarding", FieldType::Boolean));
    pipeline("health-customerio", folder, model, mapping, services.customerio()?, Target::new("people", "id"))
}

/// What the three syncs have in common: the model, its owner, its guards.
fn pipeline(
    name: &str,
    folder: &Path,
    model: &str,
    mapping: FieldMap,
    destination: Arc<dyn Destination>,
    target: Target,
) -> rsync_core::Result<Pipeline> {
    let mut source = DataFusionSource::builder().with_sql(model);
    for table in ["accounts", "usage", "tickets", "nps", "milestones"] {
        source = source.with_parquet(table, folder.join(format!("{table}.parquet")));
    }
    Pipeline::builder(name)
        .owner(Owner::new("customer-success", "#cs-data"))
        .source(source.build()?)
        .model(Model::new("account_health").key(["account_id"]).version("2024-06-01").not_null("health_tier"))
        .mapping(mapping)
        .shared_destination(destination, target)
        .state(EmbeddedStore::new(folder.join("state"))?, HashKey::load_or_create(folder.join("hash.key"))?)
        .guard(RowFloor::at_least(10_000))
        .guard(ChangedShare::at_most(0.3))
        .observer(Progress(ProgressBar::hidden()))
        .build()
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
