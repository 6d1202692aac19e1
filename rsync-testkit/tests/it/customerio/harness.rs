//! A small HTTP client for table tests.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use rsync_testkit::sim::customerio::{ActivityKind, CustomerIoSim, CustomerIoSimBuilder, Quirks, RateLimits};
use serde_json::{Value, json};

pub(crate) const BATCH: &str = "/api/v2/batch";
pub(crate) const ENTITY: &str = "/api/v2/entity";

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

    /// `(batch_index, field, message)` of every error.
    pub(crate) fn errors(&self) -> Vec<(Option<u64>, String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let body = self.json();
        let errors = body["errors"].as_array().unwrap_or_else(|| panic!("no errors in {body}"));
        errors.iter().map(|e| (e["batch_index"].as_u64(), text(&e["field"]), text(&e["message"]))).collect()
    }
}

#[derive(Debug, Clone)]
enum Login {
    None,
    Basic(String, String),
    Bearer(String),
}

/// A client bound to one simulator and one pair of credentials.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    base: String,
    login: Login,
}

impl Http {
    /// With the credentials of the Track API.
    pub(crate) fn to(sim: &CustomerIoSim) -> Self {
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("client builds");
        Self { client, base: sim.base_url(), login: Login::Basic(sim.site_id(), sim.api_key()) }
    }

    /// With the token of the App API.
    pub(crate) fn to_app(sim: &CustomerIoSim) -> Self {
        Self::to(sim).with_token(&sim.app_api_key())
    }

    pub(crate) fn with_login(&self, user: &str, password: &str) -> Self {
        Self { login: Login::Basic(user.to_owned(), password.to_owned()), ..self.clone() }
    }

    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { login: Login::Bearer(token.to_owned()), ..self.clone() }
    }

    pub(crate) fn without_login(&self) -> Self {
        Self { login: Login::None, ..self.clone() }
    }

    pub(crate) fn with_client(&self, client: Client) -> Self {
        Self { client, ..self.clone() }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<String>) -> reqwest::Result<Reply> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        request = match &self.login {
            Login::None => request,
            Login::Basic(user, password) => request.basic_auth(user, Some(password)),
            Login::Bearer(token) => request.bearer_auth(token),
        };
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

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, None).await.expect("the simulator answers")
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, Some(body.to_string())).await.expect("the simulator answers")
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::PUT, path, Some(body.to_string())).await.expect("the simulator answers")
    }

    /// Sends operations as one batch.
    pub(crate) async fn batch(&self, operations: &[Value]) -> Reply {
        self.post(BATCH, &json!({ "batch": operations })).await
    }

    /// Sends one operation, which must be accepted.
    pub(crate) async fn entity(&self, operation: &Value) {
        let reply = self.post(ENTITY, operation).await;
        assert_eq!((reply.status, reply.text.as_str()), (200, "{}\n"), "{operation}");
    }

    /// Sends an identify of version 1, which must be accepted.
    pub(crate) async fn identify_v1(&self, identifier: &str, body: &Value) {
        let reply = self.put(&format!("/api/v1/customers/{identifier}"), body).await;
        assert_eq!((reply.status, reply.text.as_str()), (200, "{}\n"), "{identifier}: {body}");
    }
}

/// Quirks without waiting: what is written is applied at once.
pub(crate) fn prompt() -> Quirks {
    Quirks { apply_delay_ms: 0, ..Quirks::default() }
}

/// A workspace without limits in which everything is applied at once.
pub(crate) fn roomy() -> CustomerIoSimBuilder {
    CustomerIoSim::builder().with_rate_limits(RateLimits::Unlimited).with_quirks(prompt())
}

/// An identify operation.
pub(crate) fn identify(identifiers: Value, attributes: Value) -> Value {
    json!({ "type": "person", "action": "identify", "identifiers": identifiers, "attributes": attributes })
}

/// An operation on a person without further parts.
pub(crate) fn person(action: &str, identifiers: Value) -> Value {
    json!({ "type": "person", "action": action, "identifiers": identifiers })
}

/// `(attribute, reason)` of every failed change.
pub(crate) fn failed_changes(sim: &CustomerIoSim) -> Vec<(String, String)> {
    let failed = sim.activities().into_iter().filter(|a| a.kind == ActivityKind::FailedAttributeChange);
    failed
        .flat_map(|activity| {
            let data = activity.data.as_object().expect("by attribute").clone();
            data.into_iter().map(|(name, entry)| (name, entry["reason"].as_str().expect("a reason").to_owned()))
        })
        .collect()
}
