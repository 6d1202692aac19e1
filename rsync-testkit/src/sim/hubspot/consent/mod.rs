//! Communication preferences: who is subscribed to what.

pub(crate) mod legacy;
pub(crate) mod statuses;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::portal::{Call, Portal};
use super::reply::Refusal;
use super::seed::SubscriptionSeed;
use super::value::{is_email, normal_email};

const READ_SCOPES: [&str; 2] = ["communication_preferences.read", "communication_preferences.read_write"];
const WRITE_SCOPES: [&str; 2] = ["communication_preferences.write", "communication_preferences.read_write"];
const BATCH_SCOPE: &str = "communication_preferences.statuses.batch.write";

/// Whether a person gets the messages of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum SubscriptionStatus {
    /// Yes.
    Subscribed,
    /// No.
    Unsubscribed,
    /// Nobody said.
    NotSpecified,
}

/// Why a person may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum LegalBasis {
    LegitimateInterestPql,
    LegitimateInterestClient,
    PerformanceOfContract,
    ConsentWithNotice,
    NonGdpr,
    ProcessAndStore,
    LegitimateInterestOther,
}

/// A status as stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredStatus {
    pub(crate) status: SubscriptionStatus,
    pub(crate) basis: Option<LegalBasis>,
    pub(crate) explanation: Option<String>,
    pub(crate) at_ms: i64,
    /// Whether the person said so, by a link of a message.
    pub(crate) by_person: bool,
}

/// What was said about subscriptions, by address.
#[derive(Debug, Default)]
pub(crate) struct Consent {
    pub(crate) subscriptions: Vec<SubscriptionSeed>,
    /// Whether the portal asks for a legal basis.
    pub(crate) needs_basis: bool,
    statuses: BTreeMap<(String, u64), StoredStatus>,
}

/// What a request wants.
pub(crate) struct Change {
    pub(crate) email: String,
    pub(crate) subscription: u64,
    pub(crate) status: SubscriptionStatus,
    pub(crate) basis: Option<LegalBasis>,
    pub(crate) explanation: Option<String>,
}

impl Consent {
    pub(crate) fn new(subscriptions: &[SubscriptionSeed], needs_basis: bool) -> Self {
        Self { subscriptions: subscriptions.to_vec(), needs_basis, statuses: BTreeMap::new() }
    }

    pub(crate) fn status(&self, email: &str, subscription: u64) -> Option<&StoredStatus> {
        self.statuses.get(&(normal_email(email), subscription))
    }

    pub(crate) fn set(&mut self, email: &str, subscription: u64, status: StoredStatus) {
        self.statuses.insert((normal_email(email), subscription), status);
    }

    pub(crate) fn forget(&mut self, email: &str) {
        let email = normal_email(email);
        self.statuses.retain(|(owner, _), _| *owner != email);
    }
}

impl Portal {
    /// Checks a change of a status and carries it out. The answer says whether anything changed.
    pub(crate) fn change_status(&mut self, change: Change) -> Result<bool, Refusal> {
        if !is_email(&normal_email(&change.email)) {
            return Err(Refusal::validation("The subscriber id is not a valid email address"));
        }
        if !self.consent.subscriptions.iter().any(|known| known.id == change.subscription) {
            return Err(Refusal::validation(format!("Subscription {} does not exist", change.subscription)));
        }
        let present = self.consent.status(&change.email, change.subscription);
        let opted_out = present.is_some_and(|s| s.by_person && s.status == SubscriptionStatus::Unsubscribed);
        if opted_out
            && change.status == SubscriptionStatus::Subscribed
            && self.quirks.resubscription == super::quirks::Resubscription::Refused
        {
            let message = "The contact has unsubscribed and cannot be resubscribed through the API";
            return Err(Refusal::validation(message).sub_category("SubscriptionError.CANNOT_RESUBSCRIBE"));
        }
        let changes = present.map_or(SubscriptionStatus::NotSpecified, |s| s.status) != change.status;
        let at_ms = self.now_ms();
        let Change { email, subscription, status, basis, explanation } = change;
        self.consent.set(&email, subscription, StoredStatus { status, basis, explanation, at_ms, by_person: false });
        self.stats.statuses_written += 1;
        Ok(changes)
    }

    fn check_reads_consent(&self, call: &Call) -> Result<(), Refusal> {
        self.check_scopes(call, READ_SCOPES.map(str::to_owned).to_vec())
    }

    fn check_writes_consent(&self, call: &Call) -> Result<(), Refusal> {
        self.check_scopes(call, WRITE_SCOPES.map(str::to_owned).to_vec())
    }
}
