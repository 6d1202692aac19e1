//! Syncs a CSV file of customers to HubSpot contacts.
//!
//! ```text
//! HUBSPOT_TOKEN=... cargo run --bin churn -- customers.csv state-folder
//! ```
//!
//! The columns are those of a public data set on customer churn (customerID, gender, SeniorCitizen, tenure,
//! Contract, PaymentMethod, MonthlyCharges, TotalCharges, Churn). Set `HUBSPOT_BASE_URL` to use a simulator that was
//! started with `cargo run -p rsync-testkit --bin rsync-sim -- hubspot --port 4511`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use rsync_core::Secret;
use rsync_examples::churn;
use rsync_hubspot::HubSpot;

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
    let [csv, state] = arguments.as_slice() else {
        return Err("usage: churn CUSTOMERS.csv STATE_FOLDER, with the token in HUBSPOT_TOKEN".into());
    };
    // Never as an argument: other users see the arguments of a process.
    let token = env::var("HUBSPOT_TOKEN").map_err(|_| "put the token of a private app into HUBSPOT_TOKEN")?;
    let hubspot = match env::var("HUBSPOT_BASE_URL") {
        Ok(base_url) => churn::adapter(&base_url, &token)?,
        Err(_) => HubSpot::builder().token(Secret::new(token)).build()?,
    };
    let sync = churn::builder(Path::new(csv), Path::new(state), hubspot)?
        .mapping(churn::mapping(churn::blank_clears))
        .build()?;
    let plan = sync.plan().await?;
    println!("{plan}\n");
    let report = sync.apply(plan).await?;
    println!("{report}");
    Ok(report.is_complete())
}
