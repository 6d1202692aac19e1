//! A query on PostgreSQL to HubSpot contacts.
//!
//! ```text
//! cargo run --example postgres_to_hubspot
//! ```
//!
//! Without more it starts a PostgreSQL of its own (Debian's package `postgresql` must be installed) with a table of
//! subscribers, and a simulator of HubSpot. For the real things:
//!
//! ```text
//! DATABASE_URL=postgres://reader:...@db.example.com/shop HUBSPOT_TOKEN=pat-... cargo run --example postgres_to_hubspot
//! ```
//!
//! The database then needs the table, and the portal the contact properties `plan`, `monthly_spend` and `churn_risk`.
#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::env;
use std::error::Error;

use rsync_core::{
    EmbeddedStore, FieldMap, FieldRule, FieldType, HashKey, Model, NullRule, Owner, Pipeline, Secret, Target,
};
use rsync_hubspot::HubSpot;
use rsync_postgres_source::PostgresSource;
use rsync_testkit::postgres::{Cluster, Database};
use rsync_testkit::sim::hubspot::{HubSpotSim, PropertySeed};

/// `sum` forgets the digits of its column, so the model declares them again.
const QUERY: &str = "
    SELECT s.email, s.plan, sum(i.amount)::numeric(12, 2) AS monthly_spend, s.churn_risk
    FROM subscriber s LEFT JOIN invoice i ON i.subscriber = s.id AND i.paid_on > date '2026-10-01'
    GROUP BY s.id";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (database, url) = database()?;
    let (simulator, hubspot) = hubspot().await?;
    let folder = tempfile::tempdir()?;

    let sync = Pipeline::builder("subscribers")
        .owner(Owner::new("lifecycle", "lifecycle@example.com"))
        .source(PostgresSource::builder().connection(Secret::new(url)).query(QUERY).build()?)
        .model(Model::new("subscribers").key(["email"]))
        .mapping(
            FieldMap::new()
                .field(FieldRule::column("email", "email", FieldType::Text))
                .field(FieldRule::column("plan", "plan", FieldType::Text))
                .field(
                    FieldRule::column("monthly_spend", "monthly_spend", FieldType::Decimal { precision: 12, scale: 2 })
                        .on_null(NullRule::Clear),
                )
                .field(FieldRule::column("churn_risk", "churn_risk", FieldType::Float)),
        )
        .destination(hubspot, Target::new("contacts", "email"))
        .state(EmbeddedStore::new(folder.path())?, HashKey::load_or_create(folder.path().join("hash.key"))?)
        .build()?;

    println!("{}\n", sync.plan().await?);
    println!("{}\n", sync.run().await?);
    if let (Some(database), Some(simulator)) = (database, simulator) {
        database.run("UPDATE subscriber SET plan = 'pro' WHERE id % 100 = 0")?;
        let report = sync.run().await?;
        println!("After 10 subscribers changed their plan:\n{report}\n");
        let stored = simulator.record_by("contacts", "email", "subscriber-100@example.com").ok_or("not stored")?;
        println!("One of them at HubSpot: {:?}", stored.properties);
        if report.totals.written != 10 || stored.properties["plan"] != "pro" {
            return Err("ten contacts should have a new plan".into());
        }
    }
    Ok(())
}

/// The database that the environment names, or one of our own.
fn database() -> Result<(Option<Database>, String), Box<dyn Error>> {
    if let Ok(url) = env::var("DATABASE_URL") {
        return Ok((None, url));
    }
    let database = Cluster::shared()?.database()?;
    database.run(
        "CREATE TABLE subscriber (id bigint PRIMARY KEY, email text, plan text, churn_risk real);
         CREATE TABLE invoice (subscriber bigint, paid_on date, amount numeric(10, 2));
         INSERT INTO subscriber
             SELECT n, 'subscriber-' || n || '@example.com', CASE WHEN n % 3 = 0 THEN 'team' ELSE 'free' END, n / 1024.0
             FROM generate_series(1, 1000) n;
         INSERT INTO invoice
             SELECT n, date '2026-09-20' + (n % 40)::int, n % 50 + 0.99 FROM generate_series(1, 1000, 2) n;",
    )?;
    // No encryption: the server is on this machine.
    let url = format!("{}?sslmode=disable", database.url());
    Ok((Some(database), url))
}

/// The portal of the token in the environment, or a simulator.
async fn hubspot() -> Result<(Option<HubSpotSim>, HubSpot), Box<dyn Error>> {
    if let Ok(token) = env::var("HUBSPOT_TOKEN") {
        return Ok((None, HubSpot::builder().token(Secret::new(token)).build()?));
    }
    let simulator = HubSpotSim::builder()
        .with_property("contacts", PropertySeed::options("plan", "select", ["free", "team", "pro"]))
        .with_property("contacts", PropertySeed::of("monthly_spend", "number", "number"))
        .with_property("contacts", PropertySeed::of("churn_risk", "number", "number"))
        .start()
        .await?;
    let hubspot = HubSpot::builder()
        .token(Secret::new(simulator.token()))
        .base_url(simulator.base_url())
        .allow_loopback_http(true)
        .build()?;
    Ok((Some(simulator), hubspot))
}
