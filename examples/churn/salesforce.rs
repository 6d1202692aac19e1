//! Salesforce accounts. From the environment: `SALESFORCE_LOGIN_URL` (the organization's My Domain, or a simulator),
//! `SALESFORCE_CLIENT_ID`, and either `SALESFORCE_CLIENT_SECRET`, or `SALESFORCE_USERNAME` with the path of a private
//! key in `SALESFORCE_PRIVATE_KEY`.

use std::{env, fs};

use rsync_core::{Result, Secret};
use rsync_salesforce::{Credentials, Salesforce};
use rsync_testkit::sim::salesforce::{FieldSeed, SalesforceSim, SalesforceSimBuilder, Seed};

use super::Fields;
use super::service::variable;

/// Fields of an account.
pub const FIELDS: Fields = Fields {
    customer_id: "Customer_Id__c",
    gender: "Gender__c",
    senior_citizen: "Senior_Citizen__c",
    tenure_months: "Tenure_Months__c",
    contract_type: "Contract_Type__c",
    payment_method: "Payment_Method__c",
    monthly_charges: "Monthly_Charges__c",
    total_charges: "Total_Charges__c",
    churned: "Churned__c",
    name: Some("Name"),
};

/// A simulator of an organization with these fields.
pub fn simulator(seed: Seed) -> SalesforceSimBuilder {
    let mut simulator = SalesforceSim::builder().with_seed(seed);
    for field in [
        FieldSeed::external_id(FIELDS.customer_id),
        FieldSeed::text(FIELDS.gender, 40),
        FieldSeed::of(FIELDS.senior_citizen, "boolean"),
        FieldSeed::number(FIELDS.tenure_months, 4, 0),
        FieldSeed::restricted_picklist(FIELDS.contract_type, ["Month-to-month", "One year", "Two year"]),
        FieldSeed::text(FIELDS.payment_method, 60),
        FieldSeed::number(FIELDS.monthly_charges, 10, 2),
        FieldSeed::number(FIELDS.total_charges, 10, 2),
        FieldSeed::of(FIELDS.churned, "boolean"),
    ] {
        simulator = simulator.with_field("Account", field);
    }
    simulator
}

/// An adapter for an organization; plain `http` is accepted for a simulator on this machine only.
///
/// # Errors
///
/// If the address or the credentials cannot be used.
pub fn adapter(login_url: &str, credentials: Credentials) -> Result<Salesforce> {
    Salesforce::builder()
        .login_url(login_url)
        .allow_loopback_http(login_url.starts_with("http://"))
        .credentials(credentials)
        .build()
}

pub(super) fn from_env() -> Result<Salesforce, Box<dyn std::error::Error>> {
    let login_url = variable("SALESFORCE_LOGIN_URL", "the address of the organization")?;
    let client_id = variable("SALESFORCE_CLIENT_ID", "the consumer key of a connected app")?;
    let credentials = match env::var("SALESFORCE_USERNAME") {
        Ok(username) => {
            let file = variable("SALESFORCE_PRIVATE_KEY", "the path of the app's private key, as PEM")?;
            Credentials::jwt_bearer(client_id, username, Secret::new(fs::read_to_string(file)?))
        }
        Err(_) => {
            let secret = variable("SALESFORCE_CLIENT_SECRET", "the consumer secret of the app")?;
            Credentials::client_credentials(client_id, Secret::new(secret))
        }
    };
    Ok(adapter(&login_url, credentials)?)
}
