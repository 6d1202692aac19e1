//! Account information and tokens.

use chrono::{Offset, SecondsFormat};
use serde::Deserialize;
use serde_json::json;

use super::instant::instant;
use super::portal::{Call, Grant, Portal};
use super::reply::{Answer, Refusal, Reply};
use super::wire;

/// Life of an OAuth access token.
const ACCESS_TOKEN_SECONDS: i64 = 1_800;
const OAUTH_APP_ID: u64 = 2_000_001;

pub(crate) fn details(portal: &mut Portal, _call: &Call) -> Answer {
    let local = instant(portal.now_ms()).with_timezone(&portal.time_zone);
    let offset_seconds = local.offset().fix().local_minus_utc();
    let offset = local.to_rfc3339_opts(SecondsFormat::Secs, false);
    let body = json!({
        "portalId": portal.id,
        "accountType": "STANDARD",
        "timeZone": portal.time_zone.name(),
        "companyCurrency": "USD",
        "additionalCurrencies": [],
        // RFC 3339 ends in the offset: `+02:00`.
        "utcOffset": offset.get(offset.len().saturating_sub(6)..).unwrap_or("+00:00"),
        "utcOffsetMilliseconds": offset_seconds * 1_000,
        "uiDomain": "app.hubspot.com",
        "dataHostingLocation": "na1",
    });
    Ok(Reply::json(200, &body))
}

/// Exchanges a refresh token for an access token.
pub(crate) fn token(portal: &mut Portal, call: &Call) -> Answer {
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&call.body).into_owned().collect();
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    if field("grant_type") != "refresh_token" {
        return Err(oauth_error("unsupported_grant_type", "BAD_GRANT_TYPE", "missing or unknown grant type"));
    }
    let client = portal
        .oauth_clients
        .iter()
        .find(|client| client.client_id == field("client_id"))
        .ok_or_else(|| oauth_error("invalid_client", "BAD_CLIENT_ID", "missing or invalid client id"))?;
    if client.client_secret != field("client_secret") {
        return Err(oauth_error("invalid_client", "BAD_CLIENT_SECRET", "missing or invalid client secret"));
    }
    if portal.uninstalled_clients.contains(&client.client_id) {
        return Err(oauth_error("access_denied", "BAD_HUB", "missing or unknown hub id"));
    }
    if client.refresh_token != field("refresh_token") || portal.revoked_clients.contains(&client.client_id) {
        let description = "refresh token is invalid, expired or revoked";
        return Err(Refusal::other(
            400,
            json!({
                "error": "invalid_grant",
                "error_description": description,
                "status": "BAD_REFRESH_TOKEN",
                "message": description,
            }),
        ));
    }
    let refresh_token = client.refresh_token.clone();
    let (scopes, client_id) = (client.scopes.clone(), Some(client.client_id.clone()));
    let access_token = format!("oauth-{}", portal.rng.uuid());
    let expires_at_ms = Some(portal.now_ms() + ACCESS_TOKEN_SECONDS * 1_000);
    portal.grants.insert(access_token.clone(), Grant { scopes, expires_at_ms, app_id: OAUTH_APP_ID, client_id });
    Ok(Reply::json(
        200,
        &json!({
            "token_type": "bearer",
            "access_token": access_token,
            "refresh_token": refresh_token,
            "expires_in": ACCESS_TOKEN_SECONDS,
        }),
    ))
}

fn oauth_error(error: &str, status: &str, message: &str) -> Refusal {
    Refusal::other(400, json!({ "error": error, "status": status, "message": message }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Introspection {
    token_key: Option<String>,
}

/// Describes a private app's token.
pub(crate) fn introspect(portal: &mut Portal, call: &Call) -> Answer {
    let request: Introspection = wire::json(&call.body)?;
    let grant = request.token_key.as_ref().and_then(|token| portal.grants.get(token));
    let grant = grant.ok_or_else(|| Refusal::plain(404, "token not found").category("OBJECT_NOT_FOUND"))?;
    Ok(Reply::json(
        200,
        &json!({
            "userId": 1,
            "hubId": portal.id,
            "appId": grant.app_id,
            "scopes": grant.scopes,
        }),
    ))
}
