//! What an answer other than success means: one table from status to kind and retry class.
//!
//! The service's messages may quote values. Of an error body nothing is kept but names of our own fields.

use std::time::Duration;

use rsync_core::error::{Error, Kind, Retry};
use rsync_core::ids::FieldName;
use rsync_http::json::read;
use rsync_http::{Access, Response};

use crate::config::Region;
use crate::decode::{REMEDY, code, field_at_fault};
use crate::wire::BatchAnswer;

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

/// The table. `asked` is the pause that the service asked for; it documents none.
pub(crate) fn classify(status: u16, access: Access, asked: Option<Duration>) -> Verdict {
    let paused = asked.map_or(Retry::Backoff, Retry::After);
    match status {
        400 | 413 | 422 => verdict(Kind::Rejected, Retry::Never, "the service refused the request"),
        401 => verdict(Kind::Unauthenticated, Retry::Never, "the credentials were refused")
            .remedy("give the site id and the Track API key of one workspace, and the region of its account"),
        403 => verdict(Kind::Forbidden, Retry::Never, "the credentials lack a permission")
            .remedy("give a Track API key of the workspace; App API keys are of another kind"),
        404 => verdict(Kind::NotFound, Retry::Never, "the service knows no such path")
            .remedy("see whether base_url leads to the Track API, without a path behind the host"),
        408 => verdict(Kind::Unavailable, access.fate_unknown(), "the service gave up waiting for the request"),
        425 => verdict(Kind::Unavailable, Retry::Backoff, "the service is not ready for the request"),
        429 => verdict(Kind::RateLimited, paused, "too many requests"),
        525 | 526 => verdict(Kind::Unavailable, Retry::Never, "the service's own encryption is broken"),
        500..=599 => verdict(Kind::Unavailable, access.fate_unknown(), "the service failed"),
        400..=499 => verdict(Kind::Protocol, Retry::Never, "the service answered with an unexpected status"),
        _ => verdict(Kind::Protocol, access.fate_unknown(), "the service answered with an unexpected status"),
    }
}

/// The error for an answer that is not a success. `field_of` finds the field of the request that the service's path
/// leads to.
pub(crate) fn error(response: &Response, field_of: &dyn Fn(&str) -> Option<FieldName>) -> Error {
    let verdict = classify(response.status(), response.access(), response.retry_after());
    let mut error = response.error(verdict.kind, verdict.retry, verdict.message);
    let mut remedy = verdict.remedy;
    if verdict.kind == Kind::Rejected {
        // Gateways answer with HTML, and version 1 of the API with another body; they tell nothing.
        let answer: BatchAnswer<'_> = read(response.body()).unwrap_or_default();
        let errors = answer.errors.unwrap_or_default();
        let named = errors.iter().find(|fault| field_at_fault(fault, field_of).is_some());
        if let Some(fault) = named.or(errors.first()) {
            error = error.with_context("code", code(fault));
            if let Some(field) = field_at_fault(fault, field_of) {
                error = error.with_context("field", field);
            }
        }
        remedy = Some(REMEDY);
    }
    if let Some(pause) = response.retry_after() {
        error = error.with_delay(pause);
    }
    match remedy {
        Some(remedy) => error.with_remedy(remedy),
        None => error,
    }
}

/// The error for an answer to a change of a segment that is not a success. What is sent has been checked, so a refusal is
/// about the segment or the kind of identifier, not about one of the people.
pub(crate) fn segment_error(response: &Response) -> Error {
    match response.status() {
        400 | 422 => response
            .error(Kind::InvalidConfig, Retry::Never, "the service refused to change the segment")
            .with_remedy("name a manual segment, and match on what identifies people in the workspace"),
        404 => response
            .error(Kind::NotFound, Retry::Never, "the service has no such segment")
            .with_remedy("name the target segments/ and the number of a manual segment of this workspace"),
        _ => error(response, &|_| None),
    }
}

/// What an error of the transport means here. A host answers requests for an account of another region with a
/// redirection, which is not followed: data and credentials would go through a region that is not theirs.
pub(crate) fn transport_error(error: Error, region: Region) -> Error {
    match error.context("status") {
        Some(status) if error.kind() == Kind::Protocol && status.starts_with('3') => {
            let status = status.to_owned();
            Error::new(
                Kind::InvalidConfig,
                "reach the service",
                "the host redirects: the account is not in this region",
            )
            .with_context("region", region.as_str())
            .with_context("status", status)
            .with_remedy(format!("set the region to {}", region.other().as_str()))
            .with_source(error)
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f26_f28_f29_the_table() {
        let s = Duration::from_secs;
        let rows: &[(u16, Option<u64>, Kind, Retry, Retry)] = &[
            // status, Retry-After, kind, retry of a read, retry of a write
            (400, None, Kind::Rejected, Retry::Never, Retry::Never),
            (401, None, Kind::Unauthenticated, Retry::Never, Retry::Never),
            (403, None, Kind::Forbidden, Retry::Never, Retry::Never),
            (404, None, Kind::NotFound, Retry::Never, Retry::Never),
            (405, None, Kind::Protocol, Retry::Never, Retry::Never),
            (408, None, Kind::Unavailable, Retry::Backoff, Retry::Ambiguous),
            (413, None, Kind::Rejected, Retry::Never, Retry::Never),
            (422, None, Kind::Rejected, Retry::Never, Retry::Never),
            (425, None, Kind::Unavailable, Retry::Backoff, Retry::Backoff),
            (429, None, Kind::RateLimited, Retry::Backoff, Retry::Backoff),
            (429, Some(7), Kind::RateLimited, Retry::After(s(7)), Retry::After(s(7))),
            (500, None, Kind::Unavailable, Retry::Backoff, Retry::Ambiguous),
            (502, None, Kind::Unavailable, Retry::Backoff, Retry::Ambiguous),
            (503, Some(5), Kind::Unavailable, Retry::Backoff, Retry::Ambiguous),
            (504, None, Kind::Unavailable, Retry::Backoff, Retry::Ambiguous),
            (522, None, Kind::Unavailable, Retry::Backoff, Retry::Ambiguous),
            (524, None, Kind::Unavailable, Retry::Backoff, Retry::Ambiguous),
            (525, None, Kind::Unavailable, Retry::Never, Retry::Never),
            (526, None, Kind::Unavailable, Retry::Never, Retry::Never),
            (600, None, Kind::Protocol, Retry::Backoff, Retry::Ambiguous),
        ];
        for (status, asked, kind, read, write) in rows {
            for (access, retry) in [(Access::Read, read), (Access::Write, write)] {
                let verdict = classify(*status, access, asked.map(Duration::from_secs));
                assert_eq!((verdict.kind, verdict.retry), (*kind, *retry), "{access:?} {status}");
            }
        }
    }

    #[test]
    fn a_redirection_is_another_region_and_nothing_else_is() {
        let protocol = |status: u16| Error::new(Kind::Protocol, "write", "x").with_context("status", status);
        for (region, other) in [(Region::Us, "eu"), (Region::Eu, "us")] {
            for status in [301, 302, 307, 308] {
                let error = transport_error(protocol(status), region);
                assert_eq!((error.kind(), error.retry()), (Kind::InvalidConfig, Retry::Never));
                assert!(error.remedy().is_some_and(|remedy| remedy.ends_with(other)), "{error}");
            }
        }
        assert_eq!(transport_error(protocol(200), Region::Us).kind(), Kind::Protocol);
        let lost = Error::new(Kind::Unavailable, "write", "x").with_retry(Retry::Ambiguous);
        assert_eq!(transport_error(lost, Region::Us).retry(), Retry::Ambiguous);
    }
}
