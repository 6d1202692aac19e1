//! Customer.io people. From the environment: `CUSTOMERIO_SITE_ID`, `CUSTOMERIO_API_KEY`, and for a simulator
//! `CUSTOMERIO_BASE_URL`; `CUSTOMERIO_MAX_ROWS` bounds the people in one request.

use std::env;

use rsync_core::{Result, Secret};
use rsync_customerio::{Builder, CustomerIo, RequestRate};
use rsync_testkit::sim::customerio::{CustomerIoSim, CustomerIoSimBuilder, RateLimits, Seed};

use super::Fields;
use super::service::variable;

/// Attributes of a person.
pub const FIELDS: Fields = Fields {
    customer_id: "id",
    gender: "gender",
    senior_citizen: "senior_citizen",
    tenure_months: "tenure_months",
    contract_type: "contract_type",
    payment_method: "payment_method",
    monthly_charges: "monthly_charges",
    total_charges: "total_charges",
    churned: "churned",
    name: None,
};

/// A simulator of a workspace.
pub fn simulator(seed: Seed) -> CustomerIoSimBuilder {
    CustomerIoSim::builder().with_seed(seed).with_rate_limits(RateLimits::Unlimited)
}

/// Settings of an adapter for a simulator at `base_url`, without pacing.
pub fn adapter(base_url: &str, site_id: &str, api_key: &str) -> Builder {
    CustomerIo::builder()
        .base_url(base_url)
        .allow_loopback_http(true)
        .rate(RequestRate::Unlimited)
        .site_id(site_id)
        .api_key(Secret::new(api_key))
}

pub(super) fn from_env() -> Result<CustomerIo, Box<dyn std::error::Error>> {
    let site_id = variable("CUSTOMERIO_SITE_ID", "the site id of the workspace")?;
    let api_key = variable("CUSTOMERIO_API_KEY", "its Track API key")?;
    let mut adapter = match env::var("CUSTOMERIO_BASE_URL") {
        Ok(base_url) => adapter(&base_url, &site_id, &api_key),
        Err(_) => CustomerIo::builder().site_id(site_id).api_key(Secret::new(api_key)),
    };
    if let Ok(rows) = env::var("CUSTOMERIO_MAX_ROWS") {
        adapter = adapter.max_rows(rows.parse()?);
    }
    Ok(adapter.build()?)
}
