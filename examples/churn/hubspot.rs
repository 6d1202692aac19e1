//! Where the contacts are: the real service, or a local simulator of it.

use rsync_core::{Result, Secret};
use rsync_hubspot::{HubSpot, RateTier};
use rsync_testkit::sim::hubspot::{HubSpotSim, HubSpotSimBuilder, PropertySeed, RateLimits, Seed};

/// A simulator of a portal with the contact properties that the sync fills.
pub fn portal(seed: Seed) -> HubSpotSimBuilder {
    let flag = |name| PropertySeed::of(name, "bool", "booleancheckbox");
    let number = |name| PropertySeed::of(name, "number", "number");
    HubSpotSim::builder()
        .with_seed(seed)
        .with_rate_limits(RateLimits::Unlimited)
        .with_property("contacts", PropertySeed::unique_text("customer_id"))
        .with_property("contacts", PropertySeed::text("customer_gender"))
        .with_property("contacts", flag("senior_citizen"))
        .with_property("contacts", number("tenure_months"))
        .with_property(
            "contacts",
            PropertySeed::options("contract_type", "select", ["Month-to-month", "One year", "Two year"]),
        )
        .with_property("contacts", PropertySeed::text("payment_method"))
        .with_property("contacts", number("monthly_charges"))
        .with_property("contacts", number("total_charges"))
        .with_property("contacts", flag("churned"))
}

/// An adapter for a portal at `base_url`, without pacing.
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
