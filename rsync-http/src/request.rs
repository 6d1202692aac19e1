//! What is sent and what comes back.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use rsync_core::error::{Error, Kind, Result, Retry};

use crate::path::Path;

/// Whether a request changes anything at the other side. It decides what a lost answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It changes nothing: it may be sent again whenever it failed.
    Read,
    /// It may change something: once sent, a lost answer leaves its fate open.
    Write,
}

impl Access {
    /// The retry class of a request that may have reached the other side although its answer is missing or
    /// useless: [`Retry::Backoff`] for a read, [`Retry::Ambiguous`] for a write.
    pub fn fate_unknown(self) -> Retry {
        match self {
            Access::Read => Retry::Backoff,
            Access::Write => Retry::Ambiguous,
        }
    }
}

/// One request. `Debug` shows no header, query or body.
#[derive(Clone)]
pub struct Request {
    pub(crate) operation: &'static str,
    pub(crate) access: Access,
    pub(crate) method: Method,
    pub(crate) path: Path,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Option<(HeaderValue, Bytes)>,
}

impl Request {
    /// A request that changes nothing at the other side. `operation` names it in errors: `"read the account"`.
    pub fn read(operation: &'static str, method: Method, path: Path) -> Self {
        Self::new(operation, Access::Read, method, path)
    }

    /// A request that may change something at the other side.
    pub fn write(operation: &'static str, method: Method, path: Path) -> Self {
        Self::new(operation, Access::Write, method, path)
    }

    fn new(operation: &'static str, access: Access, method: Method, path: Path) -> Self {
        Self { operation, access, method, path, query: Vec::new(), headers: Vec::new(), body: None }
    }

    /// Adds a query parameter. Values are escaped. Never put a secret here: proxies log queries.
    #[must_use]
    pub fn with_query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds a header.
    ///
    /// # Errors
    ///
    /// [`Kind::Rejected`] if the value cannot stand in a header: control characters, line breaks, text outside
    /// ASCII.
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Result<Self> {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            Error::new(Kind::Rejected, self.operation, "a header value holds characters that no header may hold")
                .with_context("header", name.as_str())
                .with_remedy("use visible ASCII characters")
        })?;
        value.set_sensitive(true);
        self.headers.push((name, value));
        Ok(self)
    }

    /// Sets a JSON body, already encoded.
    #[must_use]
    pub fn with_json(self, body: impl Into<Bytes>) -> Self {
        self.with_body("application/json", body)
    }

    /// Sets a body of form fields. Unlike a query, it may hold secrets.
    #[must_use]
    pub fn with_form<'a>(self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.with_body("application/x-www-form-urlencoded", body)
    }

    /// Sets the body and its content type.
    #[must_use]
    pub fn with_body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.body = Some((HeaderValue::from_static(content_type), body.into()));
        self
    }

    pub(crate) fn error(&self, kind: Kind, message: &'static str) -> Error {
        Error::new(kind, self.operation, message).with_context("path", &self.path)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("operation", &self.operation)
            .field("access", &self.access)
            .field("method", &self.method)
            .field("path", &self.path.template())
            .field("body_bytes", &self.body.as_ref().map_or(0, |(_, body)| body.len()))
            .finish_non_exhaustive()
    }
}

/// A complete answer with any status but a redirection. `Debug` shows status and size only.
#[derive(Clone)]
pub struct Response {
    pub(crate) operation: &'static str,
    pub(crate) access: Access,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) correlation_id: Option<String>,
}

impl Response {
    /// The status.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// The body, decompressed.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// A header as text, if it is visible ASCII.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The pause that the server asked for with `Retry-After`, at most [`MAX_RETRY_AFTER`](crate::MAX_RETRY_AFTER).
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The server's id of this exchange, for its support.
    pub fn correlation_id(&self) -> Option<&str> {
        self.correlation_id.as_deref()
    }

    /// Whether the request was a read or a write.
    pub fn access(&self) -> Access {
        self.access
    }

    /// An error about this answer, with its status and correlation id. `message` must not quote the answer.
    pub fn error(&self, kind: Kind, retry: Retry, message: impl Into<String>) -> Error {
        let error =
            Error::new(kind, self.operation, message).with_retry(retry).with_context("status", self.status.as_u16());
        match &self.correlation_id {
            Some(id) => error.with_context("correlation_id", id),
            None => error,
        }
    }

    /// An error for an answer that cannot be understood. After a write the fate is open.
    pub fn not_understood(&self, message: impl Into<String>) -> Error {
        self.error(Kind::Protocol, self.access.fate_unknown(), message)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("operation", &self.operation)
            .field("status", &self.status.as_u16())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
