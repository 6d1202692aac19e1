//! What a transport error says about the fate of a request.

use std::error::Error as StdError;
use std::io;

use rsync_core::error::{Error, Kind, Retry};

use crate::request::Request;

const UNREACHABLE: &str = "check the base URL, the network, and whether the service is up";

/// Turns an error of the HTTP library into ours. The URL is removed: it can hold keys.
pub(crate) fn classify(request: &Request, error: reqwest::Error) -> Error {
    let error = error.without_url();
    let (kind, retry, message, remedy) = if error.is_builder() {
        (Kind::Internal, Retry::Never, "the request could not be built", None)
    } else if error.is_connect() {
        match tls_error(&error) {
            Some(rustls::Error::InvalidCertificate(_)) => (
                Kind::Unavailable,
                Retry::Never,
                "the server's certificate was refused",
                Some("check the base URL and the clock, or add the authority that issued the certificate"),
            ),
            // Two ends that do not speak the same protocol will not do so later either.
            Some(rustls::Error::PeerIncompatible(_) | rustls::Error::InvalidMessage(_)) => (
                Kind::Unavailable,
                Retry::Never,
                "the server offers no encryption that this library accepts",
                Some("check scheme and port of the base URL; TLS 1.2 or later is needed"),
            ),
            _ if error.is_timeout() => (Kind::Unavailable, Retry::Backoff, "no connection in time", Some(UNREACHABLE)),
            _ => (Kind::Unavailable, Retry::Backoff, "no connection", Some(UNREACHABLE)),
        }
    } else if error.is_decode() && is_corrupt(&error) {
        (Kind::Protocol, request.access.fate_unknown(), "the answer's encoding is broken", None)
    } else if error.is_timeout() {
        (Kind::Unavailable, request.access.fate_unknown(), "no answer in time", None)
    } else {
        (Kind::Unavailable, request.access.fate_unknown(), "the connection broke before the answer was complete", None)
    };
    let ours = request.error(kind, message).with_retry(retry).with_source(error);
    match remedy {
        Some(remedy) => ours.with_remedy(remedy),
        None => ours,
    }
}

/// The TLS library's error, if it is the reason.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Whether a body could not be decompressed, and not just ended early.
fn is_corrupt(error: &(dyn StdError + 'static)) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|io| matches!(io.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput))
}

/// The error and its causes, also those inside `io::Error`s, whose `source` skips the error they wrap.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn StdError + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}
