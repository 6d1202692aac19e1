//! Communication preferences from version 4 on.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::batch::check_size;
use super::super::instant::iso_from_ms;
use super::super::portal::{Call, Portal};
use super::super::reply::{Answer, RecordError, Refusal, Reply};
use super::super::wire::{self, unset};
use super::{BATCH_SCOPE, Change, LegalBasis, SubscriptionStatus};

const MAX_INPUTS: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusBody {
    subscriber_id_string: Option<String>,
    channel: Option<String>,
    subscription_id: Option<u64>,
    status_state: Option<SubscriptionStatus>,
    legal_basis: Option<LegalBasis>,
    legal_basis_explanation: Option<String>,
}

impl StatusBody {
    fn read(self, email: Option<&str>) -> Result<Change, Refusal> {
        check_channel(self.channel.as_deref())?;
        let email = email.map(str::to_owned).or(self.subscriber_id_string);
        Ok(Change {
            email: email.ok_or_else(|| unset("subscriberIdString"))?,
            subscription: self.subscription_id.ok_or_else(|| unset("subscriptionId"))?,
            status: self.status_state.ok_or_else(|| unset("statusState"))?,
            basis: self.legal_basis,
            explanation: self.legal_basis_explanation,
        })
    }
}

fn check_channel(channel: Option<&str>) -> Result<(), Refusal> {
    match channel {
        Some("EMAIL") => Ok(()),
        Some(other) => Err(Refusal::validation(format!("{other} is not one of the allowed channels: [EMAIL]"))),
        None => Err(unset("channel")),
    }
}

fn answer(portal: &Portal, results: &[Value]) -> Value {
    let now = iso_from_ms(portal.now_ms());
    json!({ "status": "COMPLETE", "startedAt": now, "completedAt": now, "results": results })
}

fn shown(portal: &Portal, email: &str, subscription: u64, reason: Option<&str>) -> Value {
    let stored = portal.consent.status(email, subscription);
    let known = portal.consent.subscriptions.iter().find(|known| known.id == subscription);
    let mut status = json!({
        "subscriberIdString": email,
        "subscriptionId": subscription,
        "subscriptionName": known.map(|known| known.name.as_str()).unwrap_or_default(),
        "channel": "EMAIL",
        "status": stored.map_or(SubscriptionStatus::NotSpecified, |stored| stored.status),
        "source": if stored.is_some_and(|stored| stored.by_person) { "EMAIL_LINK" } else { "PUBLIC_API" },
        "timestamp": iso_from_ms(stored.map_or(0, |stored| stored.at_ms)),
    });
    if let Some(basis) = stored.and_then(|stored| stored.basis) {
        status["legalBasis"] = json!(basis);
    }
    if let Some(explanation) = stored.and_then(|stored| stored.explanation.as_ref()) {
        status["legalBasisExplanation"] = json!(explanation);
    }
    if let Some(reason) = reason {
        status["setStatusSuccessReason"] = json!(reason);
    }
    status
}

fn reason(changed: bool) -> &'static str {
    if changed { "REQUESTED_CHANGE_OCCURRED" } else { "NO_STATUS_CHANGE" }
}

pub(crate) fn definitions(portal: &mut Portal, call: &Call) -> Answer {
    portal.check_reads_consent(call)?;
    let results: Vec<Value> = portal.consent.subscriptions.iter().map(super::legacy::definition).collect();
    Ok(Reply::json(200, &answer(portal, &results)))
}

pub(crate) fn read(portal: &mut Portal, call: &Call) -> Answer {
    portal.check_reads_consent(call)?;
    check_channel(call.parameter("channel"))?;
    let email = call.part("email");
    let wanted = call.parameter("subscriptionId");
    let ids = portal.consent.subscriptions.iter().map(|known| known.id);
    let ids = ids.filter(|id| wanted.is_none_or(|wanted| wanted == id.to_string()));
    let results: Vec<Value> = ids.map(|id| shown(portal, email, id, None)).collect();
    Ok(Reply::json(200, &answer(portal, &results)))
}

pub(crate) fn write(portal: &mut Portal, call: &Call) -> Answer {
    portal.check_writes_consent(call)?;
    let email = call.part("email").to_owned();
    let body: StatusBody = wire::json(&call.body)?;
    let change = body.read(Some(&email))?;
    let subscription = change.subscription;
    let changed = portal.change_status(change)?;
    let results = [shown(portal, &email, subscription, Some(reason(changed)))];
    Ok(Reply::json(200, &answer(portal, &results)).with_rows(1))
}

pub(crate) fn unsubscribe_all(portal: &mut Portal, call: &Call) -> Answer {
    portal.check_writes_consent(call)?;
    check_channel(call.parameter("channel"))?;
    let email = call.part("email").to_owned();
    let ids: Vec<u64> = portal.consent.subscriptions.iter().map(|known| known.id).collect();
    let mut results = Vec::with_capacity(ids.len());
    for subscription in ids {
        let status = SubscriptionStatus::Unsubscribed;
        let change = Change { email: email.clone(), subscription, status, basis: None, explanation: None };
        let changed = portal.change_status(change)?;
        results.push(shown(portal, &email, subscription, Some(reason(changed))));
    }
    Ok(Reply::json(200, &answer(portal, &results)).with_rows(1))
}

#[derive(Deserialize)]
struct Batch {
    inputs: Option<Vec<StatusBody>>,
}

pub(crate) fn write_batch(portal: &mut Portal, call: &Call) -> Answer {
    portal.check_scopes(call, vec![BATCH_SCOPE.to_owned()])?;
    let body: Batch = wire::json(&call.body)?;
    let inputs = body.inputs.ok_or_else(|| unset("inputs"))?;
    check_size(inputs.len(), MAX_INPUTS)?;
    let changes: Vec<Change> = inputs.into_iter().map(|input| input.read(None)).collect::<Result<_, _>>()?;
    let rows = changes.len();
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for change in changes {
        let (email, subscription) = (change.email.clone(), change.subscription);
        match portal.change_status(change) {
            Ok(changed) => results.push(shown(portal, &email, subscription, Some(reason(changed)))),
            Err(refusal) => {
                let context = BTreeMap::from([("subscriberIdString", vec![email])]);
                errors.push(RecordError::new("VALIDATION_ERROR", refusal.message(), context));
            }
        }
    }
    let mut body = answer(portal, &results);
    let status = if errors.is_empty() {
        200
    } else {
        body["numErrors"] = json!(errors.len());
        body["errors"] = json!(errors);
        207
    };
    Ok(Reply::json(status, &body).with_rows(rows))
}
