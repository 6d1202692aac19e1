//! A small HTTP client for table tests.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use rsync_testkit::sim::hubspot::{HubSpotSim, HubSpotSimBuilder, PropertySeed, Quirks, RateLimits};
use serde_json::{Value, json};

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    /// The body as JSON; `null` when there is none.
    pub(crate) fn json(&self) -> Value {
        if self.text.is_empty() { Value::Null } else { serde_json::from_str(&self.text).expect("the body is JSON") }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("headers are text"))
    }
}

/// A client bound to one simulator and token.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    base: String,
    token: Option<String>,
}

impl Http {
    pub(crate) fn to(sim: &HubSpotSim) -> Self {
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("client builds");
        Self { client, base: sim.base_url(), token: Some(sim.token()) }
    }

    pub(crate) fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    pub(crate) fn with_client(&self, client: Client) -> Self {
        Self { client, ..self.clone() }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<String>) -> reqwest::Result<Reply> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Reply { status, headers, text: response.text().await? })
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None).await.expect("the simulator answers")
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, Some(body.to_string())).await.expect("the simulator answers")
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::PATCH, path, Some(body.to_string())).await.expect("the simulator answers")
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::PUT, path, Some(body.to_string())).await.expect("the simulator answers")
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, None).await.expect("the simulator answers")
    }
}

/// Quirks without waiting: what is written is found at once.
pub(crate) fn prompt() -> Quirks {
    Quirks { search_lag_ms: 0, definition_lag_ms: 0, ..Quirks::default() }
}

/// A portal without limits, with a unique `external_id` on contacts, companies and deals.
pub(crate) fn roomy() -> HubSpotSimBuilder {
    let mut builder = HubSpotSim::builder().with_rate_limits(RateLimits::Unlimited).with_quirks(prompt());
    for object in ["contacts", "companies", "deals"] {
        builder = builder.with_property(object, PropertySeed::unique_text("external_id"));
    }
    builder
}

/// One upsert input keyed by `email`, with a trace id.
pub(crate) fn by_email(trace: &str, email: &str, properties: Value) -> Value {
    json!({ "id": email, "idProperty": "email", "objectWriteTraceId": trace, "properties": properties })
}

/// One upsert input keyed by `external_id`, with a trace id.
pub(crate) fn by_external_id(trace: &str, id: &str, properties: Value) -> Value {
    json!({ "id": id, "idProperty": "external_id", "objectWriteTraceId": trace, "properties": properties })
}

/// Asserts on parts of a JSON document, given by JSON pointer.
pub(crate) fn assert_parts(context: &str, body: &Value, parts: &[(&str, Value)]) {
    for (pointer, expected) in parts {
        let actual = body.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(actual, expected, "{context}: {pointer} in {body:#}");
    }
}

/// Values of one field of every entry of `results`, sorted.
pub(crate) fn sorted_field(body: &Value, pointer: &str) -> Vec<String> {
    let results = body["results"].as_array().expect("there are results");
    let text = |entry: &Value| entry.pointer(pointer).and_then(Value::as_str).expect("the field is text").to_owned();
    let mut values: Vec<String> = results.iter().map(text).collect();
    values.sort();
    values
}
