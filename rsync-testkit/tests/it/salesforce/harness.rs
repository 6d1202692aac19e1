//! A small HTTP client for table tests.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use rsync_testkit::sim::salesforce::{FieldSeed, ObjectSeed, SalesforceSim, SalesforceSimBuilder};
use serde_json::{Value, json};

/// Data paths of the version that the tests use.
pub(crate) const ROOT: &str = "/services/data/v66.0";

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

    /// The code of a refusal.
    pub(crate) fn code(&self) -> String {
        self.json()[0]["errorCode"].as_str().unwrap_or_default().to_owned()
    }
}

/// A client bound to one simulator and session.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    base: String,
    token: Option<String>,
}

impl Http {
    pub(crate) fn to(sim: &SalesforceSim) -> Self {
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("client builds");
        Self { client, base: sim.base_url(), token: Some(sim.start_session()) }
    }

    pub(crate) fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    pub(crate) fn with_client(&self, client: Client) -> Self {
        Self { client, ..self.clone() }
    }

    /// A request with these headers. A path without `/services` or `/_sim` is one of the data paths.
    pub(crate) async fn with_headers(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> reqwest::Result<Reply> {
        let root = if path.starts_with("/services") || path.starts_with("/_sim") { "" } else { ROOT };
        let mut request = self.client.request(method, format!("{}{root}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Reply { status, headers, text: response.text().await? })
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<String>) -> reqwest::Result<Reply> {
        self.with_headers(method, path, &[("content-type", "application/json")], body.map(String::into_bytes)).await
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

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, None).await.expect("the simulator answers")
    }

    /// A query, with its text encoded.
    pub(crate) async fn query(&self, text: &str) -> Reply {
        let q: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        self.get(&format!("/query?q={q}")).await
    }

    /// An upsert of contacts by `Ext__c`: each row is its key and further fields.
    pub(crate) async fn upsert(&self, rows: &[(&str, Value)]) -> Reply {
        let records: Vec<Value> = rows.iter().map(|(key, fields)| contact(key, fields)).collect();
        self.patch("/composite/sobjects/Contact/Ext__c", &json!({ "records": records })).await
    }

    pub(crate) async fn token(&self, form: &[(&str, &str)], headers: &[(&str, &str)]) -> Reply {
        let body = form_urlencoded(form);
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        let token = "/services/oauth2/token";
        self.with_token(None)
            .with_headers(Method::POST, token, &all, Some(body.into_bytes()))
            .await
            .expect("the simulator answers")
    }
}

fn form_urlencoded(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// A contact of an upsert by `Ext__c`.
pub(crate) fn contact(key: &str, fields: &Value) -> Value {
    typed("Contact", &json!({ "Ext__c": key, "LastName": "L" }), fields)
}

/// A record of this type with the fields of both objects; the second one wins.
pub(crate) fn typed(object: &str, fields: &Value, more: &Value) -> Value {
    let mut record = json!({ "attributes": { "type": object } });
    for fields in [fields, more] {
        for (name, value) in fields.as_object().expect("an object") {
            record[name] = value.clone();
        }
    }
    record
}

/// An organization with external ids on the standard objects and one custom object that points to accounts.
pub(crate) fn org() -> SalesforceSimBuilder {
    let mut builder = SalesforceSim::builder().with_api_limit(1_000_000);
    for object in ["Account", "Contact", "Lead", "Opportunity"] {
        builder = builder.with_field(object, FieldSeed::external_id("Ext__c").with_label("External id"));
    }
    builder.with_object(
        ObjectSeed::new("Plan__c", "a01")
            .with_field(FieldSeed::external_id("Code__c").case_sensitive())
            .with_field(FieldSeed::lookup("Account__c", "Account"))
            .with_field(FieldSeed::of("Tag__c", "string")),
    )
}

/// An assertion of these claims, signed with this key.
pub(crate) fn signed(key: &str, claims: &Value) -> String {
    let key = EncodingKey::from_rsa_pem(key.as_bytes()).expect("a private key");
    encode(&Header::new(Algorithm::RS256), claims, &key).expect("it signs")
}

/// Asserts on parts of a JSON document, given by JSON pointer.
pub(crate) fn assert_parts(context: &str, body: &Value, parts: &[(&str, Value)]) {
    for (pointer, expected) in parts {
        let actual = body.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(actual, expected, "{context}: {pointer} in {body:#}");
    }
}
