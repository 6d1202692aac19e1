//! Access tokens of an OAuth app, from its refresh token.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::Secret;
use rsync_core::error::{Error, Kind, Result, Retry};
use rsync_http::json::{Scalar, read};
use rsync_http::{AccessToken, Client, Method, Path, Request, Response, TokenSource};
use serde::Deserialize;

use crate::classify::is_code;
use crate::config::{ApiVersion, OAuth};

/// Fetches access tokens.
pub(crate) struct Issuer {
    client: Client,
    version: ApiVersion,
    app: OAuth,
}

#[derive(Deserialize)]
struct TokenAnswer<'a> {
    #[serde(borrow, default)]
    access_token: Scalar<'a>,
    #[serde(borrow, default)]
    expires_in: Scalar<'a>,
}

/// The answer to a refused refresh.
#[derive(Default, Deserialize)]
struct Refusal<'a> {
    #[serde(borrow, default)]
    status: Scalar<'a>,
}

impl Issuer {
    /// `client` must send no credentials of its own.
    pub(crate) fn new(client: Client, version: ApiVersion, app: OAuth) -> Self {
        Self { client, version, app }
    }
}

#[async_trait]
impl TokenSource for Issuer {
    async fn fetch(&self) -> Result<AccessToken> {
        let path = Path::new(match self.version {
            ApiVersion::V3 => "/oauth/v1/token",
            ApiVersion::V2026_03 => "/oauth/2026-03/token",
            ApiVersion::V2026_09 => "/oauth/2026-09/token",
        });
        // A lost answer costs a token that nobody uses, so the request counts as a read.
        let request = Request::read("fetch an access token", Method::POST, path).with_form([
            ("grant_type", "refresh_token"),
            ("client_id", &self.app.client_id),
            ("client_secret", self.app.client_secret.expose()),
            ("refresh_token", self.app.refresh_token.expose()),
        ]);
        let response = self.client.send(request).await?;
        if response.is_success() { token(&response) } else { Err(refusal(&response)) }
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Issuer(refresh token)")
    }
}

fn token(response: &Response) -> Result<AccessToken> {
    let answer: TokenAnswer<'_> =
        read(response.body()).ok_or_else(|| response.not_understood("the answer is not that of a token endpoint"))?;
    let token = answer.access_token.as_str().filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| response.not_understood("the answer holds no token"))?;
    let token = AccessToken::new(Secret::new(token));
    let seconds = answer.expires_in.as_str().and_then(|seconds| seconds.parse().ok()).filter(|seconds| *seconds > 0);
    Ok(match seconds {
        Some(seconds) => token.with_valid_for(Duration::from_secs(seconds)),
        None => token,
    })
}

/// The error for a refused refresh. Of the answer only a code is taken over.
fn refusal(response: &Response) -> Error {
    let answer: Refusal<'_> = read(response.body()).unwrap_or_default();
    let later = response.retry_after().map_or(Retry::Backoff, Retry::After);
    let (kind, retry, message) = match response.status() {
        400 | 401 | 403 => (Kind::Unauthenticated, Retry::Never, "HubSpot refuses to refresh the access token"),
        // Not `NotFound`: nothing is known of the object.
        404 => (Kind::InvalidConfig, Retry::Never, "there is no token endpoint at this address"),
        429 => (Kind::RateLimited, later, "too many token requests"),
        408 | 500..=599 => (Kind::Unavailable, later, "the token endpoint failed"),
        _ => (Kind::Protocol, Retry::Never, "the token endpoint answered with an unexpected status"),
    };
    let code = answer.status.as_str().filter(|code| is_code(code));
    let error = response.error(kind, retry, message).with_remedy(match code.unwrap_or_default() {
        "BAD_REFRESH_TOKEN" => "connect the app to the account again: its refresh token was revoked",
        "BAD_HUB" => "install the app again: the account has removed it, or is gone",
        "BAD_CLIENT_ID" | "BAD_CLIENT_SECRET" => "check oauth.client_id and oauth.client_secret",
        _ => "check the oauth settings and the base URL",
    });
    match code {
        Some(code) => error.with_context("code", code),
        None => error,
    }
}
