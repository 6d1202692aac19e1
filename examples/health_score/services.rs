//! The tools: local simulators, and adapters for them.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rsync_core::{Destination, Result, Secret};
use rsync_customerio::{CustomerIo, RequestRate};
use rsync_hubspot::{HubSpot, RateTier};
use rsync_salesforce::{Credentials, Salesforce};
use rsync_testkit::sim::customerio;
use rsync_testkit::sim::customerio::CustomerIoSim;
use rsync_testkit::sim::hubspot::{self, HubSpotSim, PropertySeed};
use rsync_testkit::sim::salesforce::{FieldSeed, SalesforceSim};

/// The three tools, with the fields that the syncs fill.
pub(crate) struct Services {
    salesforce: SalesforceSim,
    hubspot: HubSpotSim,
    customerio: CustomerIoSim,
}

impl Services {
    pub(crate) async fn start() -> std::result::Result<Self, Box<dyn Error>> {
        let tiers = ["healthy", "watch", "at_risk"];
        let salesforce = SalesforceSim::builder()
            .with_field("Account", FieldSeed::external_id("Account_Key__c"))
            .with_field("Account", FieldSeed::number("Health_Score__c", 3, 0))
            .with_field("Account", FieldSeed::restricted_picklist("Health_Tier__c", tiers))
            .with_field("Account", FieldSeed::number("Last_NPS__c", 2, 0))
            .start()
            .await?;
        let hubspot = HubSpotSim::builder()
            .with_rate_limits(hubspot::RateLimits::Unlimited)
            .with_property("companies", PropertySeed::unique_text("account_key"))
            .with_property("companies", PropertySeed::of("health_score", "number", "number"))
            .with_property("companies", PropertySeed::options("health_tier", "select", tiers))
            .with_property("companies", PropertySeed::of("key_actions_30d", "number", "number"))
            .with_property("companies", PropertySeed::of("last_nps", "number", "number"))
            .start()
            .await?;
        let customerio = CustomerIoSim::builder().with_rate_limits(customerio::RateLimits::Unlimited).start().await?;
        Ok(Self { salesforce, hubspot, customerio })
    }

    /// Accounts. For the real service give the organization's address, and leave out the marked line.
    pub(crate) fn salesforce(&self) -> Result<Arc<dyn Destination>> {
        let key = Secret::new(self.salesforce.private_key_pem());
        let salesforce = Salesforce::builder()
            .login_url(self.salesforce.base_url())
            .credentials(Credentials::jwt_bearer(self.salesforce.client_id(), self.salesforce.username(), key))
            .allow_loopback_http(true) // simulator only
            .build()?;
        Ok(Arc::new(salesforce))
    }

    /// Companies. For the real service leave out the marked lines.
    pub(crate) fn hubspot(&self) -> Result<Arc<dyn Destination>> {
        let hubspot = HubSpot::builder()
            .token(Secret::new(self.hubspot.token()))
            .base_url(self.hubspot.base_url()) // simulator only
            .allow_loopback_http(true) // simulator only
            .rate(RateTier::Unlimited) // simulator only
            .build()?;
        Ok(Arc::new(hubspot))
    }

    /// People. For the real service leave out the marked lines.
    pub(crate) fn customerio(&self) -> Result<Arc<dyn Destination>> {
        let customerio = CustomerIo::builder()
            .site_id(self.customerio.site_id())
            .api_key(Secret::new(self.customerio.api_key()))
            .base_url(self.customerio.base_url()) // simulator only
            .allow_loopback_http(true) // simulator only
            .rate(RequestRate::Unlimited) // simulator only
            .build()?;
        Ok(Arc::new(customerio))
    }

    pub(crate) fn rows_written(&self) -> u64 {
        let accepted = self.customerio.stats().items_accepted;
        self.salesforce.stats().rows_written() + self.hubspot.stats().rows_written() + accepted
    }
}

impl fmt::Display for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.customerio.drain();
        write!(
            f,
            "{} accounts in Salesforce, {} companies in HubSpot, {} people in Customer.io",
            self.salesforce.records("Account").len(),
            self.hubspot.records("companies").len(),
            self.customerio.people().len()
        )
    }
}
