//! The services, as values.

use std::env;
use std::str::FromStr;
use std::sync::Arc;

use rsync_core::{Destination, Target};

use super::{Fields, customerio, hubspot, salesforce};

/// Where the customers are synced to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Salesforce accounts.
    Salesforce,
    /// HubSpot contacts.
    HubSpot,
    /// Customer.io people.
    CustomerIo,
}

impl Service {
    /// All of them.
    pub const ALL: [Service; 3] = [Service::Salesforce, Service::HubSpot, Service::CustomerIo];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Service::Salesforce => "salesforce",
            Service::HubSpot => "hubspot",
            Service::CustomerIo => "customerio",
        }
    }

    /// The object and the field that its records are matched on.
    pub fn target(self) -> Target {
        let object = match self {
            Service::Salesforce => "Account",
            Service::HubSpot => "contacts",
            Service::CustomerIo => "people",
        };
        Target::new(object, self.fields().customer_id)
    }

    /// What it calls the fields.
    pub fn fields(self) -> &'static Fields {
        match self {
            Service::Salesforce => &salesforce::FIELDS,
            Service::HubSpot => &hubspot::FIELDS,
            Service::CustomerIo => &customerio::FIELDS,
        }
    }

    /// An adapter with the credentials of the environment.
    ///
    /// # Errors
    ///
    /// If one is missing or cannot be used.
    pub fn from_env(self) -> Result<Arc<dyn Destination>, Box<dyn std::error::Error>> {
        Ok(match self {
            Service::Salesforce => Arc::new(salesforce::from_env()?),
            Service::HubSpot => Arc::new(hubspot::from_env()?),
            Service::CustomerIo => Arc::new(customerio::from_env()?),
        })
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Service::ALL.into_iter().find(|service| service.name() == name);
        found.ok_or_else(|| format!("there is no service {name:?}; name one of salesforce, hubspot, customerio"))
    }
}

/// A variable of the environment. Credentials never come as arguments: other users see the arguments of a process.
pub(super) fn variable(name: &str, what: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set; put {what} there"))
}
