//! Answers, in the forms of the Track and App APIs.

use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::check::Problem;
use super::quirks::{AppUnauthorizedBody, ErrorParts};
use crate::sim::journal::RequestRows;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// What an endpoint says: a refusal has the same form as a success.
pub(crate) type Answer = Result<Reply, Reply>;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    body: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    rows: Option<usize>,
}

/// An error of a version 2 operation.
#[derive(Debug, Serialize)]
pub(crate) struct OperationError {
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    message: String,
}

impl OperationError {
    pub(crate) fn new(problem: Problem, batch_index: Option<usize>, parts: ErrorParts) -> Self {
        let (reason, field) = match parts {
            ErrorParts::All => (Some("invalid"), Some(problem.field)),
            ErrorParts::MessageOnly => (None, None),
        };
        Self { batch_index, reason, field, message: problem.message }
    }
}

impl Reply {
    fn new(status: u16, body: String) -> Self {
        Self { status, body, headers: Vec::new(), rows: None }
    }

    /// An answer of the Track API. Bodies end in a line feed.
    fn track(status: u16, body: &str) -> Self {
        let mut reply = Self::new(status, format!("{body}\n"));
        reply.headers = vec![
            (CONTENT_TYPE, JSON),
            (CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate, max-age=0")),
            (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        ];
        // The status line once more, as a header: the real service does that.
        if let Ok(line) = HeaderValue::from_str(&status_code(status).to_string()) {
            reply.headers.push((HeaderName::from_static("status"), line));
        }
        reply
    }

    /// Everything was accepted.
    pub(crate) fn accepted(rows: usize) -> Self {
        Self { rows: Some(rows), ..Self::track(200, "{}") }
    }

    /// Some or all operations were not.
    pub(crate) fn operation_errors(status: u16, errors: &[OperationError], rows: usize) -> Self {
        Self { rows: Some(rows), ..Self::track(status, &json!({ "errors": errors }).to_string()) }
    }

    /// An object of the Track API.
    pub(crate) fn track_json(body: &Value) -> Self {
        Self::track(200, &body.to_string())
    }

    /// A refusal of version 1 that names one cause.
    pub(crate) fn meta_error(status: u16, message: &str) -> Self {
        Self::track(status, &json!({ "meta": { "error": message } }).to_string())
    }

    /// A refusal of version 1 that names all causes.
    pub(crate) fn meta_errors(messages: &[String]) -> Self {
        Self::track(400, &json!({ "meta": { "errors": messages } }).to_string())
    }

    pub(crate) fn unauthorized() -> Self {
        Self::track(401, "{\n  \"meta\": {\n    \"error\": \"Unauthorized request\"\n  }\n}")
    }

    /// The service documents neither body nor headers.
    pub(crate) fn throttled(retry_after_seconds: Option<u64>) -> Self {
        let mut reply = Self::new(429, String::new());
        if let Some(seconds) = retry_after_seconds {
            reply.headers.push((RETRY_AFTER, HeaderValue::from(seconds)));
        }
        reply
    }

    pub(crate) fn redirect(status: u16, location: String) -> Self {
        let mut reply = Self::new(status, String::new());
        // A request target is visible ASCII already.
        if let Ok(location) = HeaderValue::from_maybe_shared(Bytes::from(location)) {
            reply.headers.push((LOCATION, location));
        }
        reply
    }

    /// An answer of the App API. Its bodies do not end in a line feed.
    pub(crate) fn app(status: u16, body: &Value) -> Self {
        let mut reply = Self::new(status, body.to_string());
        reply.headers =
            vec![(CONTENT_TYPE, JSON), (CACHE_CONTROL, HeaderValue::from_static("must-revalidate,no-cache,no-store"))];
        reply
    }

    pub(crate) fn app_empty(status: u16) -> Self {
        Self::new(status, String::new())
    }

    /// A file.
    pub(crate) fn csv(text: &str) -> Self {
        let mut reply = Self::new(200, text.to_owned());
        reply.headers.push((CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")));
        reply
    }

    /// A segment that is not there: the body is a text.
    pub(crate) fn no_segment() -> Self {
        Self::track(404, "\"Segment not found\"")
    }

    pub(crate) fn app_error(status: u16, detail: &str) -> Self {
        Self::app(status, &json!({ "errors": [{ "detail": detail, "status": status.to_string() }] }))
    }

    pub(crate) fn app_unauthorized(body: AppUnauthorizedBody) -> Self {
        match body {
            AppUnauthorizedBody::ErrorList => Self::app_error(401, "unauthorized"),
            AppUnauthorizedBody::Meta => Self::app(401, &json!({ "meta": { "error": "Unauthorized request" } })),
        }
    }

    /// A path or method that no endpoint has.
    pub(crate) fn no_endpoint(status: u16) -> Self {
        let mut reply = Self::new(status, format!("{}\n", status_code(status)));
        reply.headers.push((CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")));
        reply
    }

    /// The service's own answer for a status that a fault plan asks for.
    pub(crate) fn for_status(status: StatusCode) -> Self {
        match status.as_u16() {
            200 => Self::accepted(0),
            401 => Self::unauthorized(),
            404 | 405 => Self::no_endpoint(status.as_u16()),
            code @ (400 | 403) => Self::meta_error(code, status.canonical_reason().unwrap_or_default()),
            // Of the others nothing is known but the status.
            code => Self::new(code, String::new()),
        }
    }
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

pub(crate) fn render(reply: Reply) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(reply.body));
    *response.status_mut() = status_code(reply.status);
    response.headers_mut().extend(reply.headers);
    if let Some(rows) = reply.rows {
        response.extensions_mut().insert(RequestRows(rows));
    }
    response
}
