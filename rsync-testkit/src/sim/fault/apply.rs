//! Turning an answer into the faulty one a plan asks for.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use futures::stream;
use rsync_core::clock::{Clock, SystemClock};

use super::{DropEntries, FaultAction, Processing};

/// Time for the first bytes to leave the process before a connection is broken in the middle of a body. Without it
/// the head and the break would race, and the client would sometimes see a reset before any answer.
const FLUSH_BEFORE_BREAK: Duration = Duration::from_millis(25);

/// What a plan decided for one request.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    pub(crate) delay_before_ms: u64,
    pub(crate) delay_after_ms: u64,
    pub(crate) action: Option<FaultAction>,
}

impl Decision {
    /// Whether the simulated service gets to see the request.
    pub(crate) fn reaches_service(&self) -> bool {
        match &self.action {
            Some(
                FaultAction::Respond { processing, .. }
                | FaultAction::HtmlPage { processing, .. }
                | FaultAction::ResetConnection { processing }
                | FaultAction::Hold { processing }
                | FaultAction::EmptyBody { processing, .. },
            ) => *processing == Processing::Applied,
            Some(FaultAction::Redirect { .. }) => false,
            _ => true,
        }
    }
}

/// What the client gets to see.
pub(crate) enum Outcome {
    Answer(Response<Body>),
    Cut,
    Silence,
}

/// Builds the outcome. `answer` is the service's own answer when the request reached it; `error_answer` makes the
/// service's body for a status; `held` is kept until a slowly sent body is finished.
pub(crate) fn finish(
    action: Option<FaultAction>,
    answer: Option<Response<Bytes>>,
    error_answer: impl FnOnce(StatusCode) -> Response<Bytes>,
    held: Box<dyn std::any::Any + Send>,
) -> Outcome {
    let mut answer = answer.unwrap_or_default();
    // The router has stated the length of its own body, which is not the one that is sent when a fault shortens it.
    answer.headers_mut().remove(CONTENT_LENGTH);
    match action {
        None | Some(FaultAction::DelayBefore { .. } | FaultAction::DelayAfter { .. }) => whole(answer),
        Some(FaultAction::Respond { status, body, headers, .. }) => {
            let status = status_of(status);
            let mut response = match body {
                Some(text) => {
                    let mut response = Response::new(Bytes::from(text));
                    *response.status_mut() = status;
                    response
                        .headers_mut()
                        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
                    response
                }
                None => error_answer(status),
            };
            for (name, value) in headers {
                if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value))
                {
                    response.headers_mut().insert(name, value);
                }
            }
            whole(response)
        }
        Some(FaultAction::HtmlPage { status, .. }) => {
            let status = status_of(status);
            let page = format!(
                "<!DOCTYPE html>\n<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>proxy</body></html>\n"
            );
            let mut response = Response::new(Bytes::from(page));
            *response.status_mut() = status;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            whole(response)
        }
        Some(FaultAction::ResetConnection { .. }) => Outcome::Cut,
        Some(FaultAction::Hold { .. }) => Outcome::Silence,
        Some(FaultAction::Redirect { status, location }) => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = status_of(status);
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(LOCATION, location);
            }
            whole(response)
        }
        Some(FaultAction::EmptyBody { status, .. }) => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = status_of(status);
            whole(response)
        }
        Some(FaultAction::TruncateBody { keep_bytes }) => {
            // A short body loses its last byte too: a fault that fired must show.
            let shortened = |body: Bytes| body.slice(..keep_bytes.min(body.trim_ascii_end().len().saturating_sub(1)));
            whole(answer.map(shortened))
        }
        Some(FaultAction::DropResults { entries }) => whole(answer.map(|body| drop_results(&body, entries))),
        Some(FaultAction::ResetMidBody { after_bytes }) => Outcome::Answer(broken(answer, after_bytes)),
        Some(FaultAction::SlowDrip { chunk_bytes, interval_ms }) => {
            Outcome::Answer(dripping(answer, chunk_bytes, Duration::from_millis(interval_ms), held))
        }
    }
}

fn status_of(status: u16) -> StatusCode {
    // A plan is checked before it is put in force, so the fallback is never seen.
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn whole(response: Response<Bytes>) -> Outcome {
    Outcome::Answer(response.map(Body::from))
}

fn broken(answer: Response<Bytes>, after_bytes: usize) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    // The declared length is the whole body's, so that the client can tell the break from an end.
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let head = body.slice(..after_bytes.min(body.len().saturating_sub(1)));
    let stream = stream::unfold(Some(head), |state| async move {
        let head = state?;
        if head.is_empty() {
            SystemClock::new().sleep(FLUSH_BEFORE_BREAK).await;
            return Some((Err(io::Error::other("fault plan: connection broken in the middle of the body")), None));
        }
        Some((Ok(head), Some(Bytes::new())))
    });
    Response::from_parts(parts, Body::from_stream(stream))
}

fn dripping(
    answer: Response<Bytes>,
    chunk_bytes: usize,
    interval: Duration,
    held: Box<dyn std::any::Any + Send>,
) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let stream = stream::unfold((body, Some(held)), move |(mut rest, held)| async move {
        if rest.is_empty() {
            return None;
        }
        SystemClock::new().sleep(interval).await;
        let piece = rest.split_to(chunk_bytes.min(rest.len()));
        // Let go before the last piece leaves: the client's next request may be faster than the end of this stream.
        let held = held.filter(|_| !rest.is_empty());
        Some((Ok::<_, Infallible>(piece), (rest, held)))
    });
    Response::from_parts(parts, Body::from_stream(stream))
}

fn drop_results(body: &Bytes, entries: DropEntries) -> Bytes {
    let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(body) else { return body.clone() };
    // Some services list the entries at the top of the answer.
    let listed = if value.is_array() { Some(&mut value) } else { value.get_mut("results") };
    if let Some(results) = listed.and_then(|listed| listed.as_array_mut()) {
        let mut ordinal = 0;
        results.retain(|_| {
            ordinal += 1;
            match entries {
                DropEntries::All => false,
                DropEntries::First(n) => ordinal > n,
                DropEntries::EveryNth(n) => n == 0 || !ordinal.is_multiple_of(n),
            }
        });
    }
    serde_json::to_vec(&value).map_or_else(|_| body.clone(), Bytes::from)
}
