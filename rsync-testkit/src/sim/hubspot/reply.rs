//! Answers: success bodies with their headers, and the service's error bodies.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::limits::Exceeded;
use super::quirks::SearchPolicyName;
use super::value::PropertyError;
use crate::sim::journal::RequestRows;

/// `context` of an error: lists of texts under a name.
pub(crate) type ErrorContext = BTreeMap<&'static str, Vec<String>>;

/// A successful answer, or an error that is about the whole request.
pub(crate) type Answer = Result<Reply, Refusal>;

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    body: Option<Vec<u8>>,
    headers: Vec<(&'static str, String)>,
    /// Input rows of a batch, for the journal.
    pub(crate) rows: Option<usize>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        // The bodies are structs and maps with text keys, which always serialize.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self { status, body: Some(body), headers: Vec::new(), rows: None }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, body: None, headers: Vec::new(), rows: None }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn with_rows(mut self, rows: usize) -> Self {
        self.rows = Some(rows);
        self
    }
}

/// An error about the whole request.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    body: RefusalBody,
    headers: Vec<(&'static str, String)>,
}

#[derive(Debug)]
enum RefusalBody {
    Standard(Box<ErrorBody>),
    /// Bodies outside the standard model: OAuth's.
    Other(Value),
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody {
    status: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_type: Option<&'static str>,
    correlation_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<ErrorContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<ErrorDetail>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<BTreeMap<&'static str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_category: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct ErrorDetail {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    context: ErrorContext,
}

/// An error about one record of a batch.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordError {
    status: &'static str,
    category: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_category: Option<&'static str>,
    message: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    context: ErrorContext,
}

impl RecordError {
    pub(crate) fn new(category: &'static str, message: String, context: ErrorContext) -> Self {
        Self { status: "error", category, sub_category: None, message, context }
    }

    pub(crate) fn sub_category(self, sub_category: &'static str) -> Self {
        Self { sub_category: Some(sub_category), ..self }
    }

    /// Adds to the context.
    pub(crate) fn context(mut self, name: &'static str, values: Vec<String>) -> Self {
        self.context.insert(name, values);
        self
    }

    /// The same error about a request that is about one thing only.
    pub(crate) fn into_refusal(self) -> Refusal {
        let status = if self.category == "OBJECT_NOT_FOUND" { 404 } else { 400 };
        Refusal::plain(status, self.message).category(self.category).edited(|body| {
            body.context = Some(self.context).filter(|context| !context.is_empty());
            body.sub_category = self.sub_category;
        })
    }
}

impl Refusal {
    /// An error without category, as some of the service's are.
    pub(crate) fn plain(status: u16, message: impl Into<String>) -> Self {
        let body = ErrorBody { status: "error", message: message.into(), ..ErrorBody::default() };
        Self { status, body: RefusalBody::Standard(Box::new(body)), headers: Vec::new() }
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::plain(400, message).category("VALIDATION_ERROR")
    }

    /// What the error says; empty for bodies outside the standard model.
    pub(crate) fn message(self) -> String {
        match self.body {
            RefusalBody::Standard(body) => body.message,
            RefusalBody::Other(_) => String::new(),
        }
    }

    pub(crate) fn other(status: u16, body: Value) -> Self {
        Self { status, body: RefusalBody::Other(body), headers: Vec::new() }
    }

    pub(crate) fn category(self, category: &'static str) -> Self {
        self.edited(|body| body.category = Some(category))
    }

    pub(crate) fn sub_category(self, sub_category: &'static str) -> Self {
        self.edited(|body| body.sub_category = Some(sub_category))
    }

    pub(crate) fn context(self, name: &'static str, values: Vec<String>) -> Self {
        self.edited(|body| {
            body.context.get_or_insert_default().insert(name, values);
        })
    }

    fn edited(mut self, edit: impl FnOnce(&mut ErrorBody)) -> Self {
        if let RefusalBody::Standard(body) = &mut self.body {
            edit(body);
        }
        self
    }

    pub(crate) fn unauthenticated(expired: bool) -> Self {
        let (message, category) = if expired {
            ("The OAuth token used to make this call expired.", "EXPIRED_AUTHENTICATION")
        } else {
            (
                "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find \
                 more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview",
                "INVALID_AUTHENTICATION",
            )
        };
        Self::plain(401, message).category(category)
    }

    /// 403 in the shape recorded from the service.
    pub(crate) fn missing_scopes(scopes: Vec<String>) -> Self {
        Self::plain(403, MISSING_SCOPES)
            .category("MISSING_SCOPES")
            .context("requiredGranularScopes", scopes)
            .context("links", vec![SCOPES_PAGE.to_owned()])
    }

    /// 403 in the shape documented for the service.
    pub(crate) fn missing_scopes_documented(scopes: Vec<String>) -> Self {
        Self::plain(403, MISSING_SCOPES).category("MISSING_SCOPES").edited(|body| {
            body.errors = Some(vec![ErrorDetail {
                message: MISSING_SCOPES.to_owned(),
                code: None,
                context: BTreeMap::from([("requiredGranularScopes", scopes)]),
            }]);
            body.links = Some(BTreeMap::from([("scopes", SCOPES_PAGE.to_owned())]));
        })
    }

    pub(crate) fn rate_limited(exceeded: Exceeded, group: &str, search: SearchPolicyName) -> Self {
        let message = match exceeded {
            Exceeded::TenSeconds => "You have reached your ten_secondly_rolling limit.",
            Exceeded::Secondly => "You have reached your secondly limit.",
            Exceeded::Daily => "You have reached your daily limit.",
        };
        Self::plain(429, message).edited(|body| {
            body.error_type = Some("RATE_LIMIT");
            match exceeded {
                Exceeded::TenSeconds => {
                    body.policy_name = Some("TEN_SECONDLY_ROLLING");
                    body.group_name = Some(group.to_owned());
                }
                Exceeded::Daily => {
                    body.policy_name = Some("DAILY");
                    body.request_id = Some(String::new());
                }
                Exceeded::Secondly => {
                    body.policy_name = (search == SearchPolicyName::Secondly).then_some("SECONDLY");
                }
            }
        })
    }

    pub(crate) fn retry_after(mut self, seconds: Option<u64>) -> Self {
        self.headers.extend(seconds.map(|s| ("retry-after", s.to_string())));
        self
    }

    /// 400 about properties: the message holds all of them as JSON, the list only the first few.
    pub(crate) fn invalid_properties(errors: &[PropertyError], portal_id: u64, listed_max: usize) -> Self {
        let details = errors
            .iter()
            .take(listed_max)
            .map(|error| ErrorDetail {
                message: error.message.clone(),
                code: Some(error.code),
                context: BTreeMap::from([("propertyName", vec![error.name.clone()])]),
            })
            .collect();
        Self::validation(invalid_properties_message(errors, portal_id)).edited(|body| body.errors = Some(details))
    }
}

const MISSING_SCOPES: &str = "One or more of the following scopes are required.";
const SCOPES_PAGE: &str = "https://developers.hubspot.com/scopes";

pub(crate) fn invalid_properties_message(errors: &[PropertyError], portal_id: u64) -> String {
    let embedded: Vec<Value> = errors
        .iter()
        .map(|error| {
            json!({
                "isValid": false,
                "message": error.message,
                "error": error.code,
                "name": error.name,
                "localizedErrorMessage": error.message,
                "portalId": portal_id,
            })
        })
        .collect();
    format!("Property values were not valid: {}", Value::Array(embedded))
}

/// The service's body for a status that a fault plan asks for.
pub(crate) fn for_status(status: StatusCode) -> Refusal {
    match status.as_u16() {
        401 => Refusal::unauthenticated(false),
        403 => Refusal::missing_scopes(vec!["crm.objects.contacts.write".to_owned()]),
        404 => Refusal::plain(404, "resource not found"),
        409 => Refusal::plain(409, "Contact already exists").category("CONFLICT"),
        423 => locked(),
        429 => {
            let group = "publicapi:private_app-api-calls-ten-secondly:0:0";
            Refusal::rate_limited(Exceeded::TenSeconds, group, SearchPolicyName::Omitted)
        }
        477 => Refusal::plain(477, "This account is being migrated. Retry after the time given."),
        code if code >= 500 => Refusal::plain(code, status.canonical_reason().unwrap_or("server error")),
        code => Refusal::plain(code, status.canonical_reason().unwrap_or("error")),
    }
}

pub(crate) fn locked() -> Refusal {
    Refusal::plain(423, "The record is being changed by another request. Retry after two seconds.")
}

/// Writes an answer with the headers that every answer has.
pub(crate) fn render(
    answer: Answer,
    correlation_id: &str,
    budget_headers: Vec<(&'static str, String)>,
) -> Response<Body> {
    let mut response = render_bytes(answer, correlation_id);
    for (name, value) in budget_headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response.map(Body::from)
}

/// As [`render`], for answers that a fault plan asks for: they come from in front of the limits and show none.
pub(crate) fn render_bytes(answer: Answer, correlation_id: &str) -> Response<Bytes> {
    let (status, body, headers, rows) = match answer {
        Ok(reply) => (reply.status, reply.body, reply.headers, reply.rows),
        Err(refusal) => {
            let body = match refusal.body {
                RefusalBody::Standard(mut body) => {
                    body.correlation_id = correlation_id.to_owned();
                    if body.request_id.is_some() {
                        body.request_id = Some(correlation_id.to_owned());
                    }
                    serde_json::to_vec(&body).unwrap_or_default()
                }
                RefusalBody::Other(body) => body.to_string().into_bytes(),
            };
            (refusal.status, Some(body), refusal.headers, None)
        }
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers.into_iter().chain([("x-hubspot-correlation-id", correlation_id.to_owned())]) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    if let Some(body) = body {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
        *response.body_mut() = Bytes::from(body);
    }
    if let Some(rows) = rows {
        response.extensions_mut().insert(RequestRows(rows));
    }
    response
}
