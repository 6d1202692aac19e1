//! Requests made of requests: `composite`, which may refer to what went before and take all back, and
//! `composite/batch`, whose requests know nothing of each other.

use std::collections::{BTreeMap, HashMap};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::locks;
use super::org::{Call, Org};
use super::reply::{Answer, Refusal, Reply};
use super::routes::{self, Route, segments};

const MOST_SUBREQUESTS: usize = 25;
/// Of these, queries and collections.
const MOST_HEAVY: usize = 5;
/// Headers that subrequests take from the request around them.
const INHERITED: [&str; 3] = ["accept", "authorization", "content-type"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WireComposite<'a> {
    #[serde(default)]
    all_or_none: bool,
    #[serde(default)]
    #[allow(dead_code, reason = "it only permits the service to save calls, which cannot be seen from outside")]
    collate_subrequests: bool,
    #[serde(borrow)]
    composite_request: Vec<WireSubrequest<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WireSubrequest<'a> {
    method: String,
    url: String,
    reference_id: String,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(default)]
    http_headers: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Composed {
    composite_response: Vec<Subresponse>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Subresponse {
    body: Box<RawValue>,
    http_headers: BTreeMap<&'static str, String>,
    http_status_code: u16,
    reference_id: String,
}

fn refused(code: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(400, code, message)
}

fn limit(what: &str) -> Refusal {
    refused("LIMIT_EXCEEDED", format!("Limit exceeded: {what}"))
}

pub(crate) fn composite(org: &mut Org, call: &Call) -> Answer {
    let wire: WireComposite<'_> = serde_json::from_str(call.text()?).map_err(|e| Refusal::parser(e.to_string()))?;
    check(&wire.composite_request)?;
    // All records are kept beside, which is dear and simple: most orders are not taken back.
    let before = wire.all_or_none.then(|| (org.objects.clone(), org.stats.clone()));
    let mut responses: Vec<(Subresponse, bool)> = Vec::new();
    let mut bodies: HashMap<String, Value> = HashMap::new();
    let mut rows = 0;
    let mut halted = false;
    for sub in &wire.composite_request {
        let reference_id = sub.reference_id.clone();
        if halted {
            responses.push((rolled_back(reference_id), false));
            continue;
        }
        let answer = resolved(&bodies, sub).and_then(|(url, body)| {
            let method = Method::from_bytes(sub.method.as_bytes()).map_err(|_| Refusal::not_found())?;
            let made = subcall(org, call, method, &url, body, &sub.http_headers, rows);
            rows += made.1;
            carry_out(org, &made.0)
        });
        let (status, body) = rendered(answer);
        halted = wire.all_or_none && status >= 400;
        bodies.insert(reference_id.clone(), serde_json::from_str(body.get()).unwrap_or_default());
        let http_headers = location(sub, status, &bodies[&reference_id], call);
        let response = Subresponse { body, http_headers, http_status_code: status, reference_id };
        responses.push((response, is_collection(&sub.url)));
    }
    if let Some((objects, stats)) = before.filter(|_| halted) {
        (org.objects, org.stats) = (objects, stats.with_requests_of(&org.stats));
        for (response, is_collection) in &mut responses {
            // A collection goes on claiming what was taken back.
            if response.http_status_code < 400 && !*is_collection {
                *response = rolled_back(response.reference_id.clone());
            }
        }
    }
    let composite_response = responses.into_iter().map(|(response, _)| response).collect();
    Ok(Reply::json(200, &Composed { composite_response }))
}

/// What makes the whole request wrong.
fn check(subrequests: &[WireSubrequest<'_>]) -> Result<(), Refusal> {
    if subrequests.is_empty() {
        return Err(refused("REQUIRED_FIELD_MISSING", "At least one subrequest is required"));
    }
    if subrequests.len() > MOST_SUBREQUESTS {
        return Err(limit("at most 25 subrequests"));
    }
    if subrequests.iter().filter(|sub| is_heavy(&sub.url)).count() > MOST_HEAVY {
        return Err(limit("at most 5 subrequests may be queries or collections"));
    }
    let mut seen = Vec::new();
    for sub in subrequests {
        if !["GET", "POST", "PATCH", "PUT", "DELETE"].contains(&sub.method.as_str()) {
            return Err(refused("INVALID_INPUT", "method is not an HTTP method in capitals"));
        }
        if !sub.url.starts_with("/services/data/") {
            return Err(refused("INVALID_INPUT", "url must begin with /services/data/"));
        }
        let name = sub.reference_id.as_str();
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name || seen.contains(&name) {
            return Err(refused("INVALID_INPUT", "each referenceId must be a name that no other subrequest has"));
        }
        seen.push(name);
        if sub.http_headers.keys().any(|name| INHERITED.iter().any(|own| own.eq_ignore_ascii_case(name))) {
            return Err(refused("INVALID_INPUT", "subrequests may not set Accept, Authorization or Content-Type"));
        }
    }
    Ok(())
}

/// The part of a URL after the version.
fn resource(url: &str) -> Vec<String> {
    let path = url.split('?').next().unwrap_or_default();
    segments(path).into_iter().skip(3).collect()
}

fn is_collection(url: &str) -> bool {
    resource(url).starts_with(&["composite".to_owned(), "sobjects".to_owned()])
}

fn is_heavy(url: &str) -> bool {
    is_collection(url) || resource(url).first().is_some_and(|first| first.starts_with("query"))
}

fn rolled_back(reference_id: String) -> Subresponse {
    let message = "The transaction was rolled back since another operation in the same transaction failed.";
    let (http_status_code, body) = rendered(Err(refused("PROCESSING_HALTED", message)));
    Subresponse { body, http_headers: BTreeMap::new(), http_status_code, reference_id }
}

fn rendered(answer: Answer) -> (u16, Box<RawValue>) {
    let (status, body) = match answer {
        Ok(reply) => (reply.status, reply.into_body()),
        Err(refusal) => (refusal.status, Some(refusal.into_body())),
    };
    let text = body.and_then(|body| String::from_utf8(body).ok()).and_then(|text| RawValue::from_string(text).ok());
    (status, text.unwrap_or_else(|| RawValue::NULL.to_owned()))
}

/// What was created says where it is.
fn location(sub: &WireSubrequest<'_>, status: u16, body: &Value, call: &Call) -> BTreeMap<&'static str, String> {
    let resource = resource(&sub.url);
    let created = body.get("id").and_then(Value::as_str).filter(|_| status == 201);
    match (created, resource.as_slice()) {
        (Some(id), [_, object, ..]) => {
            BTreeMap::from([("Location", format!("{}/sobjects/{object}/{id}", call.root()))])
        }
        _ => BTreeMap::new(),
    }
}

/// URL and body of a subrequest, with references replaced by what earlier ones answered.
fn resolved(bodies: &HashMap<String, Value>, sub: &WireSubrequest<'_>) -> Result<(String, String), Refusal> {
    let url = replaced(bodies, &sub.url, str::to_owned)?;
    let in_json = |text: &str| {
        let quoted = Value::from(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let body = sub.body.map_or("", RawValue::get);
    Ok((url, replaced(bodies, body, in_json)?))
}

fn replaced(bodies: &HashMap<String, Value>, text: &str, written: impl Fn(&str) -> String) -> Result<String, Refusal> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, (path, after))) =
        rest.split_once("@{").and_then(|(before, after)| Some((before, after.split_once('}')?)))
    {
        let (name, steps) = path.split_at(path.find(['.', '[']).unwrap_or(path.len()));
        let pointer = steps.replace(['.', '['], "/").replace(']', "");
        let found = bodies.get(name).and_then(|body| body.pointer(&pointer));
        let value = match found {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(flag)) => flag.to_string(),
            _ => {
                let wanted = steps.trim_start_matches('.');
                let message = format!("Invalid reference specified. No value for {name}.{wanted} found in {name}");
                return Err(refused("PROCESSING_HALTED", message));
            }
        };
        out.push_str(before);
        out.push_str(&written(&value));
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// A subrequest as a call of its own, and how many of the locked rows of the request around it are its own: they begin
/// at `first_row`.
fn subcall(
    org: &Org,
    call: &Call,
    method: Method,
    url: &str,
    body: String,
    own_headers: &BTreeMap<String, String>,
    first_row: usize,
) -> (Call, usize) {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let mut headers = HeaderMap::new();
    for name in INHERITED {
        if let Some(value) = call.headers.get(name) {
            headers.insert(name, value.clone());
        }
    }
    for (name, value) in own_headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    let rows = locks::of_request(org, &method, path, query, body.as_bytes()).len();
    let locked = call.locked_rows.range(first_row..first_row + rows).map(|row| row - first_row).collect();
    let made = Call {
        method,
        path: segments(path),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers,
        body: Bytes::from(body),
        uri_bytes: url.len(),
        base_url: call.base_url.clone(),
        locked_rows: locked,
        crowded: false,
    };
    (made, rows)
}

fn carry_out(org: &mut Org, call: &Call) -> Answer {
    // Requests made of requests hold no further ones, and files of jobs are no JSON.
    let path: Vec<&str> = call.path.iter().skip(3).map(String::as_str).collect();
    let possible = matches!(
        path.as_slice(),
        ["sobjects" | "query" | "queryAll" | "limits", ..] | ["composite", "sobjects", ..] | []
    );
    match routes::find(call) {
        Ok(Route { surface, endpoint }) if possible => {
            org.stats.count(surface);
            endpoint(org, call)
        }
        Ok(_) => {
            org.stats.unknown_requests += 1;
            Err(Refusal::not_found())
        }
        Err(refusal) => {
            org.stats.unknown_requests += 1;
            Err(refusal)
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WireBatch<'a> {
    #[serde(default)]
    halt_on_error: bool,
    #[serde(borrow)]
    batch_requests: Vec<WireBatched<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WireBatched<'a> {
    method: String,
    url: String,
    #[serde(borrow)]
    rich_input: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Batched {
    has_errors: bool,
    results: Vec<BatchedResult>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchedResult {
    status_code: u16,
    result: Box<RawValue>,
}

/// Each subrequest counts as a call.
pub(crate) fn batch(org: &mut Org, call: &Call) -> Answer {
    let wire: WireBatch<'_> = serde_json::from_str(call.text()?).map_err(|e| Refusal::parser(e.to_string()))?;
    if wire.batch_requests.is_empty() {
        return Err(refused("REQUIRED_FIELD_MISSING", "At least one subrequest is required"));
    }
    if wire.batch_requests.len() > MOST_SUBREQUESTS {
        return Err(limit("at most 25 subrequests"));
    }
    let mut made = Vec::new();
    for sub in &wire.batch_requests {
        let method = ["GET", "POST", "PATCH", "PUT", "DELETE"].contains(&sub.method.as_str());
        let method = method.then(|| Method::from_bytes(sub.method.as_bytes()).ok()).flatten();
        let url = sub.url.trim_start_matches('/');
        let url = format!("/services/data/{}", url.strip_prefix("services/data/").unwrap_or(url));
        let method = method.ok_or_else(|| refused("INVALID_INPUT", "method is not an HTTP method in capitals"))?;
        made.push((method, url, sub.rich_input.map_or("", RawValue::get).to_owned()));
    }
    let mut results = Vec::new();
    let (mut has_errors, mut rows) = (false, 0);
    for (position, (method, url, body)) in made.into_iter().enumerate() {
        let answer = if has_errors && wire.halt_on_error {
            Err(Refusal::new(412, "BATCH_PROCESSING_HALTED", "A previous subrequest failed and haltOnError is set."))
        } else if position > 0 && !org.take_call() {
            Err(Refusal::daily_limit())
        } else {
            let made = subcall(org, call, method, &url, body, &BTreeMap::new(), rows);
            rows += made.1;
            carry_out(org, &made.0)
        };
        let (status_code, result) = rendered(answer);
        has_errors |= status_code >= 400;
        results.push(BatchedResult { status_code, result });
    }
    Ok(Reply::json(200, &Batched { has_errors, results }))
}

#[derive(Deserialize)]
struct Located<'a> {
    method: String,
    url: String,
    #[serde(borrow, alias = "richInput")]
    body: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct AnyOf<'a> {
    #[serde(borrow, alias = "compositeRequest", alias = "batchRequests")]
    subrequests: Vec<Located<'a>>,
}

/// Method, URL and body of every subrequest, for the locks that they need. A request that cannot be read has none.
pub(crate) fn subrequests(body: &str) -> Vec<(Method, String, String)> {
    let read: Option<AnyOf<'_>> = serde_json::from_str(body).ok();
    let located = read.map(|any| any.subrequests).unwrap_or_default();
    let made = located.into_iter().filter_map(|sub| {
        let url = sub.url.trim_start_matches('/');
        let url = format!("/services/data/{}", url.strip_prefix("services/data/").unwrap_or(url));
        let method = Method::from_bytes(sub.method.as_bytes()).ok()?;
        Some((method, url, sub.body.map_or("", RawValue::get).to_owned()))
    });
    made.collect()
}
