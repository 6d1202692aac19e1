//! The token endpoint: assertions signed by the connected app, and client credentials.

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use super::org::{Call, Org};
use super::quirks::{BadAssertion, ErrorDescription, UnknownClient};
use super::reply::{Answer, Refusal, Reply};

/// How far ahead an assertion may expire.
const LONGEST_ASSERTION_SECONDS: i64 = 180;
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const LOGIN_HOSTS: [&str; 2] = ["https://login.salesforce.com", "https://test.salesforce.com"];

pub(crate) fn token(org: &mut Org, call: &Call) -> Answer {
    let form = form_of(call);
    let granted = match form.get("grant_type") {
        Some(JWT_BEARER) => by_assertion(org, call, &form),
        Some("client_credentials") => by_client(org, call, &form),
        _ => Err(Refusal::oauth(400, "unsupported_grant_type", "grant type not supported")),
    };
    granted.map_err(|refusal| match org.quirks.error_description {
        ErrorDescription::Given => refusal,
        ErrorDescription::Omitted => refusal.without_description(),
    })?;
    let access_token = org.start_session();
    org.stats.tokens_issued += 1;
    let issued_at = org.now_ms().to_string();
    Ok(Reply::json(
        200,
        &json!({
            "access_token": access_token,
            "signature": STANDARD.encode(format!("{:032x}", org.rng.next_u64())),
            "scope": "api",
            "instance_url": org.quirks.instance_url.as_ref().unwrap_or(&call.base_url),
            "id": format!("{}/id/{}/{}", call.base_url, org.organization_id, org.user_id),
            "token_type": "Bearer",
            "issued_at": issued_at,
        }),
    ))
}

/// Fields of a form. It has no `Debug`: it holds secrets.
struct Form {
    fields: Vec<(String, String)>,
}

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The form of a request; empty when the body is of another type.
fn form_of(call: &Call) -> Form {
    let kind = call.header(CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let is_form = kind.split(';').next().is_some_and(|kind| kind.trim() == "application/x-www-form-urlencoded");
    let fields = if is_form { url::form_urlencoded::parse(&call.body).into_owned().collect() } else { Vec::new() };
    Form { fields }
}

fn unknown_client(org: &Org) -> Refusal {
    match org.quirks.unknown_client {
        UnknownClient::InvalidClientId => Refusal::oauth(400, "invalid_client_id", "client identifier invalid"),
        UnknownClient::InvalidClient => Refusal::oauth(400, "invalid_client", "invalid client credentials"),
    }
}

fn bad_assertion(org: &Org, description: &str) -> Refusal {
    match org.quirks.bad_assertion {
        BadAssertion::InvalidGrant => Refusal::oauth(400, "invalid_grant", description),
        BadAssertion::InvalidClient => Refusal::oauth(401, "invalid_client", description),
    }
}

fn by_assertion(org: &Org, call: &Call, form: &Form) -> Result<(), Refusal> {
    let assertion = form.get("assertion").unwrap_or_default();
    let claims = verified(org, assertion).ok_or_else(|| bad_assertion(org, "invalid assertion"))?;
    if text(&claims, "iss") != Some(&org.client_id) {
        return Err(unknown_client(org));
    }
    let audience = text(&claims, "aud").unwrap_or_default();
    if !LOGIN_HOSTS.contains(&audience) && audience != call.base_url {
        return Err(Refusal::oauth(400, "invalid_grant", "Audience validation failed"));
    }
    // The second under way counts as begun: clients round the end of their assertion up.
    let now_ms = org.now_ms();
    let now = now_ms / 1_000;
    let latest = (now_ms + 999) / 1_000 + LONGEST_ASSERTION_SECONDS;
    let expires = expiry(&claims).ok_or_else(|| bad_assertion(org, "invalid assertion"))?;
    if expires <= now {
        return Err(bad_assertion(org, "assertion has expired"));
    }
    if expires > latest {
        return Err(bad_assertion(org, "invalid assertion"));
    }
    // The older name of the claim wins when both are there.
    let subject = text(&claims, "prn").or_else(|| text(&claims, "sub"));
    if subject != Some(&org.username) || !org.app_approved {
        return Err(Refusal::oauth(400, "invalid_grant", "user hasn't approved this consumer"));
    }
    Ok(())
}

/// The claims of an assertion whose signature holds.
fn verified(org: &Org, assertion: &str) -> Option<Value> {
    if decode_header(assertion).ok()?.alg != Algorithm::RS256 {
        return None;
    }
    let key = DecodingKey::from_rsa_pem(org.public_pem.as_bytes()).ok()?;
    // The service's own rules about times and audience follow; only the signature is judged here.
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    decode::<Value>(assertion, &key, &validation).ok().map(|token| token.claims)
}

fn text<'a>(claims: &'a Value, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

/// Seconds since the epoch, as a number or as numeric text.
fn expiry(claims: &Value) -> Option<i64> {
    match claims.get("exp")? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn by_client(org: &Org, call: &Call, form: &Form) -> Result<(), Refusal> {
    let basic = basic_credentials(call);
    let (id, secret) = match &basic {
        Some((id, secret)) => (id.as_str(), secret.as_str()),
        None => (form.get("client_id").unwrap_or_default(), form.get("client_secret").unwrap_or_default()),
    };
    if id != org.client_id {
        return Err(unknown_client(org));
    }
    if secret != org.client_secret {
        return Err(Refusal::oauth(400, "invalid_client", "invalid client credentials"));
    }
    Ok(())
}

fn basic_credentials(call: &Call) -> Option<(String, String)> {
    let (scheme, encoded) = call.header(AUTHORIZATION)?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}
