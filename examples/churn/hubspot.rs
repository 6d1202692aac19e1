//! HubSpot contacts. From the environment: `HUBSPOT_TOKEN`, the token of a private app, and for a simulator
//! `HUBSPOT_BASE_URL`.

use std::env;

use rsync_core::{Result, Secret};
use rsync_hubspot::{HubSpot, RateTier};
use rsync_testkit::sim::hubspot::{HubSpotSim, HubSpotSimBuilder, PropertySeed, RateLimits, Seed};

use super::Fields;
use super::service::variable;

/// Properties of a contact.
pub const FIELDS: Fields = Fields {
    customer_id: "customer_id",
    gender: "customer_gender",
    senior_citizen: "senior_citizen",
    tenure_months: "tenure_months",
    contract_type: "contract_type",
    payment_method: "payment_method",
    monthly_charges: "monthly_charges",
    total_charges: "total_charges",
    churned: "churned",
    name: None,
};

/// A simulator of a portal with these properties.
pub fn simulator(seed: Seed) -> HubSpotSimBuilder {
    let flag = |name| PropertySeed::of(name, "bool", "booleancheckbox");
    let number = |name| PropertySeed::of(name, "number", "number");
    let contract = PropertySeed::options(FIELDS.contract_type, "select", ["Month-to-month", "One year", "Two year"]);
    let mut simulator = HubSpotSim::builder().with_seed(seed).with_rate_limits(RateLimits::Unlimited);
    for property in [
        PropertySeed::unique_text(FIELDS.customer_id),
        PropertySeed::text(FIELDS.gender),
        flag(FIELDS.senior_citizen),
        number(FIELDS.tenure_months),
        contract,
        PropertySeed::text(FIELDS.payment_method),
        number(FIELDS.monthly_charges),
        number(FIELDS.total_charges),
        flag(FIELDS.churned),
    ] {
        simulator = simulator.with_property("contacts", property);
    }
    simulator
}

/// An adapter for a simulator at `base_url`, without pacing.
///
/// # Errors
///
/// If the address cannot be used.
pub fn adapter(base_url: &str, token: &str) -> Result<HubSpot> {
    HubSpot::builder()
        .token(Secret::new(token))
        .base_url(base_url)
        .allow_loopback_http(true)
        .rate(RateTier::Unlimited)
        .build()
}

pub(super) fn from_env() -> Result<HubSpot, Box<dyn std::error::Error>> {
    let token = variable("HUBSPOT_TOKEN", "the token of a private app")?;
    Ok(match env::var("HUBSPOT_BASE_URL") {
        Ok(base_url) => adapter(&base_url, &token)?,
        Err(_) => HubSpot::builder().token(Secret::new(token)).build()?,
    })
}
