//! Communication preferences of version 3, which have other paths and bodies.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::portal::{Call, Portal};
use super::super::reply::{Answer, Refusal, Reply};
use super::super::seed::SubscriptionSeed;
use super::super::wire::{self, Coerced, unset};
use super::{Change, LegalBasis, SubscriptionStatus};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubscribeBody {
    email_address: Option<String>,
    subscription_id: Option<Coerced>,
    legal_basis: Option<LegalBasis>,
    legal_basis_explanation: Option<String>,
}

pub(crate) fn subscribe(portal: &mut Portal, call: &Call) -> Answer {
    write(portal, call, SubscriptionStatus::Subscribed)
}

pub(crate) fn unsubscribe(portal: &mut Portal, call: &Call) -> Answer {
    write(portal, call, SubscriptionStatus::Unsubscribed)
}

fn write(portal: &mut Portal, call: &Call, status: SubscriptionStatus) -> Answer {
    portal.check_writes_consent(call)?;
    let body: SubscribeBody = wire::json(&call.body)?;
    let email = body.email_address.ok_or_else(|| unset("emailAddress"))?;
    let subscription: String = body.subscription_id.ok_or_else(|| unset("subscriptionId"))?.into();
    let unknown = || Refusal::validation(format!("Subscription {subscription} does not exist"));
    let subscription: u64 = subscription.parse().map_err(|_| unknown())?;
    // Only this version insists on it.
    if portal.consent.needs_basis && (body.legal_basis.is_none() || body.legal_basis_explanation.is_none()) {
        return Err(Refusal::validation("legalBasis and legalBasisExplanation are required in this account"));
    }
    let present = portal.consent.status(&email, subscription).map(|stored| stored.status);
    if present == Some(status) {
        let message = format!("{email} already has this status of subscription {subscription}");
        return Err(Refusal::validation(message));
    }
    let change = Change {
        email: email.clone(),
        subscription,
        status,
        basis: body.legal_basis,
        explanation: body.legal_basis_explanation,
    };
    portal.change_status(change)?;
    let known = portal.consent.subscriptions.iter().find(|known| known.id == subscription);
    let shown = known.map(|known| shown(portal, &email, known));
    Ok(Reply::json(200, &shown).with_rows(1))
}

fn shown(portal: &Portal, email: &str, known: &SubscriptionSeed) -> Value {
    let stored = portal.consent.status(email, known.id);
    json!({
        "id": known.id.to_string(),
        "name": known.name,
        "description": known.description,
        "status": stored.map_or(SubscriptionStatus::NotSpecified, |stored| stored.status),
        "sourceOfStatus": "SUBSCRIPTION_STATUS",
        "brandId": null,
        "preferenceGroupName": null,
        "legalBasis": stored.and_then(|stored| stored.basis),
        "legalBasisExplanation": stored.and_then(|stored| stored.explanation.clone()),
    })
}

pub(crate) fn definition(known: &SubscriptionSeed) -> Value {
    json!({
        "id": known.id.to_string(),
        "name": known.name,
        "description": known.description,
        "purpose": "Marketing",
        "communicationMethod": "Email",
        "isActive": true,
        "isDefault": false,
        "isInternal": false,
        "createdAt": "2026-01-01T00:00:00.000Z",
        "updatedAt": "2026-01-01T00:00:00.000Z",
    })
}

pub(crate) fn definitions(portal: &mut Portal, call: &Call) -> Answer {
    portal.check_reads_consent(call)?;
    let all: Vec<Value> = portal.consent.subscriptions.iter().map(definition).collect();
    Ok(Reply::json(200, &json!({ "subscriptionDefinitions": all })))
}

pub(crate) fn read(portal: &mut Portal, call: &Call) -> Answer {
    portal.check_reads_consent(call)?;
    let email = call.part("email");
    let statuses: Vec<Value> = portal.consent.subscriptions.iter().map(|known| shown(portal, email, known)).collect();
    Ok(Reply::json(200, &json!({ "recipient": email, "subscriptionStatuses": statuses })))
}
