//! A file of account tiers to Salesforce accounts.
//!
//! ```text
//! cargo run --example salesforce_accounts
//! ```
//!
//! Without more it uses a simulator. For an organization of your own, whose accounts have the external id
//! `Account_Key__c` (unique), the restricted picklist `Tier__c` (bronze, silver, gold) and the number `Seats__c`:
//!
//! ```text
//! SALESFORCE_LOGIN_URL=https://your-domain.my.salesforce.com SALESFORCE_CLIENT_ID=... \
//! SALESFORCE_CLIENT_SECRET=... cargo run --example salesforce_accounts
//! ```
#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rsync_core::{
    EmbeddedStore, FieldMap, FieldRule, FieldType, HashKey, Model, Owner, Pipeline, RunStatus, Secret, Target,
};
use rsync_datafusion_source::{Csv, DataFusionSource};
use rsync_salesforce::{Credentials, Salesforce};
use rsync_testkit::sim::salesforce::{FieldSeed, SalesforceSim};

const ACCOUNTS: usize = 1_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let accounts = folder.path().join("accounts.csv");
    let (_simulator, salesforce) = salesforce().await?;

    let sync = Pipeline::builder("account-tiers")
        .owner(Owner::new("sales-operations", "#sales-ops"))
        .source(
            DataFusionSource::builder()
                .with_csv("accounts", Csv::new(&accounts))
                .with_sql("SELECT account_key, name, lower(tier) AS tier, seats FROM accounts")
                .build()?,
        )
        .model(Model::new("account_tiers").key(["account_key"]))
        .mapping(
            FieldMap::new()
                .field(FieldRule::column("account_key", "Account_Key__c", FieldType::Text))
                .field(FieldRule::column("name", "Name", FieldType::Text))
                .field(FieldRule::column("tier", "Tier__c", FieldType::Text))
                .field(FieldRule::column("seats", "Seats__c", FieldType::Integer)),
        )
        .destination(salesforce, Target::new("Account", "Account_Key__c"))
        .state(EmbeddedStore::new(folder.path().join("state"))?, HashKey::load_or_create(folder.path().join("key"))?)
        // A fifth of the organization's daily calls stays for people.
        .quota_reserve(0.2)
        .build()?;

    write_accounts(&accounts, "Gold")?;
    println!("== A first run\n\n{}\n", sync.run().await?);

    println!("== Somebody invents a tier that the picklist does not have\n");
    write_accounts(&accounts, "Platinum")?;
    let report = sync.run().await?;
    println!("{report}\n");
    if report.status != RunStatus::Completed || report.totals.rejected != ACCOUNTS as u64 / 50 {
        return Err("the accounts with the new tier should be rejected, and nothing else".into());
    }

    println!("== Rejected rows cost no call until they change\n");
    let again = sync.run().await?;
    println!("{again}");
    if again.calls.writes != 0 {
        return Err("nothing should be sent".into());
    }
    Ok(())
}

/// A file of accounts, one in fifty of them of this tier.
fn write_accounts(file: &Path, best: &str) -> Result<(), Box<dyn Error>> {
    let mut csv = "account_key,name,tier,seats\n".to_owned();
    for i in 0..ACCOUNTS {
        let tier = if i % 50 == 0 { best } else { ["Bronze", "Silver"][i % 2] };
        writeln!(csv, "A-{i:04},Account {i},{tier},{}", 5 + i % 95)?;
    }
    Ok(fs::write(file, csv)?)
}

/// The organization that the environment names, or a simulator.
async fn salesforce() -> Result<(Option<SalesforceSim>, Salesforce), Box<dyn Error>> {
    if let Ok(login_url) = env::var("SALESFORCE_LOGIN_URL") {
        let secret = Secret::new(env::var("SALESFORCE_CLIENT_SECRET")?);
        let credentials = Credentials::client_credentials(env::var("SALESFORCE_CLIENT_ID")?, secret);
        return Ok((None, Salesforce::builder().login_url(login_url).credentials(credentials).build()?));
    }
    let simulator = SalesforceSim::builder()
        .with_field("Account", FieldSeed::external_id("Account_Key__c"))
        .with_field("Account", FieldSeed::restricted_picklist("Tier__c", ["bronze", "silver", "gold"]))
        .with_field("Account", FieldSeed::number("Seats__c", 6, 0))
        .start()
        .await?;
    let key = Secret::new(simulator.private_key_pem());
    let salesforce = Salesforce::builder()
        .login_url(simulator.base_url())
        .credentials(Credentials::jwt_bearer(simulator.client_id(), simulator.username(), key))
        .allow_loopback_http(true)
        .build()?;
    Ok((Some(simulator), salesforce))
}
