//! What an answer about the whole request means: one table from status and code to kind and retry class.
//!
//! Messages echo cell values. Of an error body nothing is kept but what has the form of an identifier.

use std::time::Duration;

use rsync_core::error::{Error, Kind, Retry};
use rsync_http::{Access, Response};

use crate::wire::{Fault, is_code};

/// What to make of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kind: Kind,
    pub(crate) retry: Retry,
    pub(crate) message: &'static str,
    pub(crate) remedy: Option<&'static str>,
}

fn verdict(kind: Kind, retry: Retry, message: &'static str) -> Verdict {
    Verdict { kind, retry, message, remedy: None }
}

impl Verdict {
    fn remedy(mut self, remedy: &'static str) -> Self {
        self.remedy = Some(remedy);
        self
    }
}

/// The table. `asked` is the pause that the service asked for.
pub(crate) fn classify(status: u16, access: Access, asked: Option<Duration>, fault: &Fault<'_>) -> Verdict {
    let later = asked.map_or(Retry::Backoff, Retry::After);
    let says = |part: &str| fault.message.contains(part);
    // Limits first: they come under several statuses.
    match &*fault.code {
        "REQUEST_LIMIT_EXCEEDED" if says("ConcurrentRequests") => {
            return verdict(Kind::RateLimited, later, "too many requests are open")
                .remedy("lower max_in_flight, or let other integrations run at another time");
        }
        "REQUEST_LIMIT_EXCEEDED" => {
            return verdict(Kind::QuotaExhausted, Retry::Never, "the organization's calls of 24 hours are used up")
                .remedy("run again later, or raise the organization's limit");
        }
        "UNABLE_TO_LOCK_ROW" => return verdict(Kind::Unavailable, later, "records are locked"),
        "QUERY_TIMEOUT" => return verdict(Kind::Unavailable, later, "the query took the service too long"),
        _ => {}
    }
    match (status, &*fault.code) {
        (400 | 404, "INVALID_TYPE") => {
            verdict(Kind::NotFound, Retry::Never, "the organization has no such object, or hides it from the user")
                .remedy("check the API name (custom objects end in __c) and the user's permissions")
        }
        (400, "INVALID_FIELD" | "INVALID_FIELD_FOR_INSERT_UPDATE") => {
            verdict(Kind::SchemaMismatch, Retry::Never, "a field does not exist, or cannot be used so")
                .remedy("check the fields of the mapping and what the user may see")
        }
        (400, "INVALID_QUERY_LOCATOR") => verdict(Kind::Unavailable, later, "the query cannot be continued"),
        (400 | 409 | 412 | 413 | 414 | 422 | 431, _) => {
            verdict(Kind::Rejected, Retry::Never, "the service refused the request")
        }
        (401, _) => verdict(Kind::Unauthenticated, Retry::Never, "the session was refused")
            .remedy("check the app's policies, and that the user may use the REST API"),
        (403, _) => verdict(Kind::Forbidden, Retry::Never, "the user lacks a permission")
            .remedy("give the integration's user API access and access to the object"),
        (404, _) if says("external ID field does not exist") => {
            verdict(Kind::SchemaMismatch, Retry::Never, "the key field does not identify records")
                .remedy("match on an external id that the user can see")
        }
        (404, _) => verdict(Kind::NotFound, Retry::Never, "the service knows no such object or path")
            .remedy("check the API name of the object and that the user may see it"),
        (408, _) => verdict(Kind::Unavailable, access.fate_unknown(), "the service gave up waiting for the request"),
        (410, _) => verdict(Kind::Unsupported, Retry::Never, "the service no longer has this version of the API")
            .remedy("set a newer api_version"),
        (420 | 429, _) => verdict(Kind::RateLimited, later, "too many requests"),
        (500..=599, _) => verdict(Kind::Unavailable, access.fate_unknown(), "the service failed"),
        (400..=499, _) => verdict(Kind::Protocol, Retry::Never, "the service answered with an unexpected status"),
        _ => verdict(Kind::Protocol, access.fate_unknown(), "the service answered with an unexpected status"),
    }
}

/// The error for an answer that is not a success. `is_field` tells the fields of the request from other text.
pub(crate) fn error(response: &Response, is_field: &dyn Fn(&str) -> bool) -> Error {
    let faults = Fault::read(response.body());
    let none = Fault::default();
    let fault = faults.first().unwrap_or(&none);
    let verdict = classify(response.status(), response.access(), response.retry_after(), fault);
    let mut error = response.error(verdict.kind, verdict.retry, verdict.message);
    if is_code(&fault.code) {
        error = error.with_context("code", &fault.code);
    }
    if let Some(field) = fault.fields.iter().find(|name| is_field(name)) {
        error = error.with_context("field", field);
    }
    if let Some(pause) = response.retry_after() {
        error = error.with_delay(pause);
    }
    match verdict.remedy {
        Some(remedy) => error.with_remedy(remedy),
        None => error,
    }
}

/// Whether a 401 is about a session that ended, so that a new token can help. Some policies answer in the same words
/// and would be asked for ever.
pub(crate) fn session_ended(response: &Response) -> bool {
    let blocked = |fault: &Fault<'_>| {
        ["not valid for use with the REST API", "not attached to Agent"].iter().any(|part| fault.message.contains(part))
    };
    let faults = Fault::read(response.body());
    faults.iter().any(|fault| fault.code == "INVALID_SESSION_ID") && !faults.iter().any(blocked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f26_f28_f29_the_table() {
        let s = Duration::from_secs;
        let daily = r#"[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"TotalRequests Limit exceeded."}]"#;
        let open = r#"[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"ConcurrentRequests (Concurrent API Requests) Limit exceeded."}]"#;
        let key = r#"[{"errorCode":"NOT_FOUND","message":"Provided external ID field does not exist or is not accessible: X__c"}]"#;
        let code = |code: &str| format!(r#"[{{"errorCode":"{code}","message":"m"}}]"#);
        use Kind::{Forbidden, NotFound, Protocol, QuotaExhausted, RateLimited, Rejected, SchemaMismatch, Unavailable};
        use Retry::{After, Ambiguous, Backoff, Never};
        let rows: &[(u16, Option<u64>, String, Kind, Retry, Retry)] = &[
            // status, Retry-After, body, kind, retry of a read, retry of a write
            (400, None, code("JSON_PARSER_ERROR"), Rejected, Never, Never),
            (400, None, code("MALFORMED_QUERY"), Rejected, Never, Never),
            (400, None, code("EXCEEDED_ID_LIMIT"), Rejected, Never, Never),
            (400, None, code("OPERATION_TOO_LARGE"), Rejected, Never, Never),
            (400, None, code("INVALID_TYPE"), NotFound, Never, Never),
            (400, None, code("INVALID_FIELD"), SchemaMismatch, Never, Never),
            (400, None, code("QUERY_TIMEOUT"), Unavailable, Backoff, Backoff),
            (400, None, code("UNABLE_TO_LOCK_ROW"), Unavailable, Backoff, Backoff),
            (400, None, "<html>".into(), Rejected, Never, Never),
            (401, None, code("INVALID_SESSION_ID"), Kind::Unauthenticated, Never, Never),
            (401, None, code("INVALID_AUTH_HEADER"), Kind::Unauthenticated, Never, Never),
            (403, None, daily.into(), QuotaExhausted, Never, Never),
            (403, Some(60), daily.into(), QuotaExhausted, Never, Never),
            (403, None, code("REQUEST_LIMIT_EXCEEDED"), QuotaExhausted, Never, Never),
            (403, None, open.into(), RateLimited, Backoff, Backoff),
            (403, Some(5), open.into(), RateLimited, After(s(5)), After(s(5))),
            (403, None, code("API_DISABLED_FOR_ORG"), Forbidden, Never, Never),
            (403, None, code("INSUFFICIENT_ACCESS"), Forbidden, Never, Never),
            (403, None, "<html>".into(), Forbidden, Never, Never),
            (404, None, code("NOT_FOUND"), NotFound, Never, Never),
            (404, None, key.into(), SchemaMismatch, Never, Never),
            (404, None, String::new(), NotFound, Never, Never),
            (405, None, code("METHOD_NOT_ALLOWED"), Protocol, Never, Never),
            (408, None, String::new(), Unavailable, Backoff, Ambiguous),
            (409, None, code("CONFLICT"), Rejected, Never, Never),
            (410, None, code("UNSUPPORTED_API_VERSION"), Kind::Unsupported, Never, Never),
            (414, None, code("URI_TOO_LONG"), Rejected, Never, Never),
            (415, None, String::new(), Protocol, Never, Never),
            (420, None, String::new(), RateLimited, Backoff, Backoff),
            (422, None, String::new(), Rejected, Never, Never),
            (429, None, "{}".into(), RateLimited, Backoff, Backoff),
            (429, Some(7), "<html>".into(), RateLimited, After(s(7)), After(s(7))),
            (500, None, code("UNKNOWN_EXCEPTION"), Unavailable, Backoff, Ambiguous),
            (502, None, "<html>".into(), Unavailable, Backoff, Ambiguous),
            (503, Some(5), code("SERVER_UNAVAILABLE"), Unavailable, Backoff, Ambiguous),
            (504, None, String::new(), Unavailable, Backoff, Ambiguous),
        ];
        for (status, asked, body, kind, read, write) in rows {
            for (access, retry) in [(Access::Read, read), (Access::Write, write)] {
                let faults = Fault::read(body.as_bytes());
                let none = Fault::default();
                let verdict = classify(*status, access, asked.map(s), faults.first().unwrap_or(&none));
                assert_eq!((verdict.kind, verdict.retry), (*kind, *retry), "{access:?} {status} {body}");
            }
        }
    }
}
