//! Syncs customers from a CSV file or a PostgreSQL table to Salesforce, HubSpot or Customer.io.
//!
//! ```text
//! HUBSPOT_TOKEN=... cargo run --bin churn -- hubspot customers.csv state-folder
//! ```
//!
//! The columns are those of a public data set on customer churn (customerID, gender, SeniorCitizen, tenure,
//! Contract, PaymentMethod, MonthlyCharges, TotalCharges, Churn). `postgres` in place of the file reads the table
//! `customers` of the database that `DATABASE_URL` names. The modules of `churn` tell what each service takes from the
//! environment, a simulator's address among it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use rsync_core::Secret;
use rsync_examples::churn::{self, Service};

const USAGE: &str = "usage: churn salesforce|hubspot|customerio CUSTOMERS.csv|postgres STATE_FOLDER";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match sync().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing is left to do.
async fn sync() -> Result<bool, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [service, source, state] = arguments.as_slice() else { return Err(USAGE.into()) };
    let (service, state): (Service, _) = (service.parse()?, Path::new(state));
    let sync = match source.as_str() {
        "postgres" => {
            let url =
                env::var("DATABASE_URL").map_err(|_| "DATABASE_URL is not set; put the database's address there")?;
            churn::builder(churn::postgres(Secret::new(url))?, state)?
        }
        file => churn::builder(churn::csv(Path::new(file))?, state)?,
    };
    let sync = sync
        .mapping(churn::mapping(service.fields(), churn::blank_clears))
        .shared_destination(service.from_env()?, service.target())
        .build()?;
    let plan = sync.plan().await?;
    println!("{plan}\n");
    let report = sync.apply(plan).await?;
    println!("{report}");
    Ok(report.is_complete())
}
