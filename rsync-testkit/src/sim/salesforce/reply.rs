//! Answers: success bodies with their headers, and the service's error bodies.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use crate::sim::journal::RequestRows;

/// A successful answer, or an error that is about the whole request.
pub(crate) type Answer = Result<Reply, Refusal>;

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    body: Option<Vec<u8>>,
    kind: &'static str,
    headers: Vec<(&'static str, String)>,
    /// Rows of a collection, for the journal.
    rows: Option<usize>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        // The bodies are structs and maps with text keys, which always serialize.
        Self { body: Some(serde_json::to_vec(body).unwrap_or_default()), ..Self::empty(status) }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, body: None, kind: JSON, headers: Vec::new(), rows: None }
    }

    pub(crate) fn csv(text: String) -> Self {
        Self { body: Some(text.into_bytes()), kind: "text/csv", ..Self::empty(200) }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn into_body(self) -> Option<Vec<u8>> {
        self.body
    }

    pub(crate) fn with_rows(mut self, rows: usize) -> Self {
        self.rows = Some(rows);
        self
    }
}

/// An error about one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RowError {
    #[serde(rename = "statusCode")]
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) fields: Vec<String>,
    /// What a duplicate rule found.
    #[serde(rename = "duplicateResult", skip_serializing_if = "Option::is_none")]
    pub(crate) duplicates: Option<Box<Value>>,
}

impl RowError {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), fields: Vec::new(), duplicates: None }
    }

    pub(crate) fn on(mut self, field: &str) -> Self {
        self.fields.push(field.to_owned());
        self
    }

    pub(crate) fn no_such_column(name: &str, object: &str) -> Self {
        Self::new("INVALID_FIELD", format!("No such column '{name}' on sobject of type {object}"))
    }
}

/// An error of a data call.
#[derive(Debug, Serialize)]
struct ApiError {
    message: String,
    #[serde(rename = "errorCode")]
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<String>>,
    /// What a duplicate rule found. The service misspells the name where a single record is concerned.
    #[serde(rename = "duplicateResut", skip_serializing_if = "Option::is_none")]
    duplicates: Option<Box<Value>>,
}

/// An error about the whole request.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    body: RefusalBody,
}

#[derive(Debug)]
enum RefusalBody {
    /// What data calls answer: a list.
    Errors(Vec<ApiError>),
    /// Bodies outside that model: OAuth's, and lists of matching records.
    Other(Value),
    /// What stands in front of the service answers with pages.
    Page,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        let error = ApiError { message: message.into(), code: code.to_owned(), fields: None, duplicates: None };
        Self { status, body: RefusalBody::Errors(vec![error]) }
    }

    pub(crate) fn other(status: u16, body: Value) -> Self {
        Self { status, body: RefusalBody::Other(body) }
    }

    /// The errors of a single record. An unknown column is the one error that was recorded without `fields`.
    pub(crate) fn rows(status: u16, errors: Vec<RowError>) -> Self {
        let listed = |error: RowError| ApiError {
            fields: (!matches!(error.code.as_str(), "INVALID_FIELD" | "DUPLICATES_DETECTED")
                || !error.fields.is_empty())
            .then_some(error.fields),
            duplicates: error.duplicates,
            message: error.message,
            code: error.code,
        };
        Self { status, body: RefusalBody::Errors(errors.into_iter().map(listed).collect()) }
    }

    pub(crate) fn oauth(status: u16, error: &str, description: &str) -> Self {
        Self::other(status, json!({ "error": error, "error_description": description }))
    }

    pub(crate) fn not_found() -> Self {
        Self::new(404, "NOT_FOUND", "The requested resource does not exist")
    }

    pub(crate) fn session() -> Self {
        Self::new(401, "INVALID_SESSION_ID", "Session expired or invalid")
    }

    pub(crate) fn daily_limit() -> Self {
        Self::new(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
    }

    pub(crate) fn concurrent_limit() -> Self {
        Self::new(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded.")
    }

    /// A body that is no JSON, or JSON of the wrong form.
    pub(crate) fn parser(message: impl Into<String>) -> Self {
        Self::new(400, "JSON_PARSER_ERROR", message)
    }

    /// Without `error_description`, as some OAuth errors come.
    pub(crate) fn without_description(mut self) -> Self {
        if let RefusalBody::Other(Value::Object(body)) = &mut self.body {
            body.remove("error_description");
        }
        self
    }

    /// The bare error instead of a list with it, as some 404s come.
    pub(crate) fn unlisted(self) -> Self {
        let body = match self.body {
            RefusalBody::Errors(errors) if errors.len() == 1 => RefusalBody::Other(json!(errors[0])),
            other => other,
        };
        Self { status: self.status, body }
    }

    /// The texts of the errors.
    pub(crate) fn message(&self) -> String {
        match &self.body {
            RefusalBody::Errors(errors) => {
                errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; ")
            }
            RefusalBody::Other(_) | RefusalBody::Page => String::new(),
        }
    }

    pub(crate) fn into_body(self) -> Vec<u8> {
        self.rendered().0
    }

    fn rendered(&self) -> (Vec<u8>, &'static str) {
        match &self.body {
            RefusalBody::Errors(errors) => (serde_json::to_vec(errors).unwrap_or_default(), JSON),
            RefusalBody::Other(body) => (body.to_string().into_bytes(), JSON),
            RefusalBody::Page => {
                let page =
                    format!("<html>\n<head><title>{}</title></head>\n<body>Error</body>\n</html>\n", self.status);
                (page.into_bytes(), "text/html; charset=UTF-8")
            }
        }
    }
}

const JSON: &str = "application/json;charset=UTF-8";

/// The service's body for a status that a fault plan asks for.
pub(crate) fn for_status(status: StatusCode) -> Refusal {
    let code = status.as_u16();
    match code {
        400 => Refusal::parser("Unexpected character ('<' (code 60)) at [line:1, column:1]"),
        401 => Refusal::session(),
        403 => Refusal::daily_limit(),
        404 => Refusal::not_found(),
        405 => Refusal::new(405, "METHOD_NOT_ALLOWED", "HTTP Method not allowed."),
        409 => Refusal::new(409, "CONFLICT", "The request conflicts with the state of the resource."),
        414 => Refusal::new(414, "URI_TOO_LONG", "The URI is longer than 16,384 bytes."),
        415 => Refusal::new(415, "UNSUPPORTED_MEDIA_TYPE", "The entity in the request is in an unsupported format."),
        // Not an answer of the service but of a gateway in front of it.
        429 => Refusal::other(429, json!({ "message": "Too Many Requests" })),
        500 => Refusal::new(
            500,
            "UNKNOWN_EXCEPTION",
            "An unexpected error occurred. Please include this ErrorId if you contact support: 1234567890-1 (0)",
        ),
        502 | 504 => Refusal { status: code, body: RefusalBody::Page },
        503 => Refusal::new(503, "SERVER_UNAVAILABLE", "The server is too busy, please try again later."),
        _ => Refusal::new(code, "UNKNOWN_EXCEPTION", status.canonical_reason().unwrap_or("error")),
    }
}

/// Writes an answer with the headers that every answer has.
pub(crate) fn render(answer: Answer, headers: Vec<(&'static str, String)>) -> Response<Body> {
    let mut response = render_bytes(answer);
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response.map(Body::from)
}

/// As [`render`], for answers that a fault plan asks for: they come from in front of the limits and show none.
pub(crate) fn render_bytes(answer: Answer) -> Response<Bytes> {
    let (status, body, kind, own_headers, rows) = match answer {
        Ok(reply) => (reply.status, reply.body, reply.kind, reply.headers, reply.rows),
        Err(refusal) => {
            let (body, kind) = refusal.rendered();
            (refusal.status, Some(body), kind, Vec::new(), None)
        }
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache,must-revalidate,max-age=0,no-store,private"));
    if let Some(body) = body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        *response.body_mut() = Bytes::from(body);
    }
    for (name, value) in own_headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    if let Some(rows) = rows {
        response.extensions_mut().insert(RequestRows(rows));
    }
    response
}
