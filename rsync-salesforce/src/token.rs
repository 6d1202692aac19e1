//! Access tokens of the OAuth flows for servers: a signed assertion, or the client's own credentials.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rsync_core::Secret;
use rsync_core::clock::Clock;
use rsync_core::error::{Error, Kind, Result, Retry};
use rsync_http::{AccessToken, Client, Method, Path, Request, Response, TokenSource};
use serde::Serialize;

use crate::origin::Hosts;
use crate::record_id;
use crate::wire::{Fault, Object};

const OPERATION: &str = "fetch an access token";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// How long an assertion is valid. The service takes at most 180 s; the rest is for clocks that go ahead.
const ASSERTION: Duration = Duration::from_secs(170);

/// What a token is asked for with.
pub(crate) enum Grant {
    JwtBearer { client_id: String, username: String, audience: String, key: AssertionKey },
    ClientCredentials { client_id: String, client_secret: Secret },
}

/// The private key of the connected app.
pub(crate) struct AssertionKey(EncodingKey);

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: u64,
}

impl AssertionKey {
    /// Reads a private RSA key in PEM; `None` if it cannot sign.
    pub(crate) fn read(pem: &Secret) -> Option<Self> {
        // The library signs with a provider that is set once a process. Without this call it panics where another crate
        // has switched on its other backend too; who set one before us is welcome.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let key = Self(EncodingKey::from_rsa_pem(pem.expose().as_bytes()).ok()?);
        key.sign(&Claims { iss: "", sub: "", aud: "", exp: 0 })?;
        Some(key)
    }

    fn sign(&self, claims: &Claims<'_>) -> Option<Secret> {
        let mut header = Header::new(Algorithm::RS256);
        header.typ = None;
        encode(&header, claims, &self.0).ok().map(Secret::new)
    }
}

/// Fetches tokens from the login host.
pub(crate) struct Issuer {
    client: Client,
    grant: Grant,
    hosts: Hosts,
    clock: Arc<dyn Clock>,
    organization: Mutex<Option<String>>,
}

impl Issuer {
    pub(crate) fn new(client: Client, grant: Grant, hosts: Hosts, clock: Arc<dyn Clock>) -> Self {
        Self { client, grant, hosts, clock, organization: Mutex::default() }
    }

    /// The organization that the last token belongs to, if the answer said so.
    pub(crate) fn organization(&self) -> Option<String> {
        self.organization.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn request(&self) -> Result<Request> {
        // A lost answer costs a token that nobody uses, so the request counts as a read.
        let request = Request::read(OPERATION, Method::POST, Path::new("/services/oauth2/token"));
        Ok(match &self.grant {
            Grant::JwtBearer { client_id, username, audience, key } => {
                let exp = (self.clock.wall() + ASSERTION).as_secs();
                let claims = Claims { iss: client_id, sub: username, aud: audience, exp };
                let assertion = key
                    .sign(&claims)
                    .ok_or_else(|| Error::new(Kind::Internal, OPERATION, "the assertion cannot be signed"))?;
                request.with_form([("grant_type", JWT_BEARER), ("assertion", assertion.expose())])
            }
            Grant::ClientCredentials { client_id, client_secret } => request.with_form([
                ("grant_type", "client_credentials"),
                ("client_id", client_id),
                ("client_secret", client_secret.expose()),
            ]),
        })
    }

    fn token(&self, response: &Response) -> Result<AccessToken> {
        let answer = Object::read(response.body())
            .ok_or_else(|| response.not_understood("the answer is not that of a token endpoint"))?;
        let token = answer.text("access_token").ok_or_else(|| response.not_understood("the answer holds no token"))?;
        let address = answer
            .text("instance_url")
            .ok_or_else(|| response.not_understood("the answer does not say where the token is for"))?;
        let origin = self.hosts.admit(&address).ok_or_else(|| {
            response
                .error(Kind::Protocol, Retry::Never, "the answer names a host that tokens may not be sent to")
                .with_remedy("check the login URL; if the host is your organization's, add it to allowed_hosts")
        })?;
        if let Some(organization) = answer.text("id").as_deref().and_then(organization) {
            *self.organization.lock().unwrap_or_else(PoisonError::into_inner) = Some(organization);
        }
        let token = AccessToken::new(Secret::new(token)).with_base_url(origin);
        let seconds = answer.text("expires_in").and_then(|seconds| seconds.parse().ok()).filter(|seconds| *seconds > 0);
        Ok(match seconds {
            Some(seconds) => token.with_valid_for(Duration::from_secs(seconds)),
            None => token,
        })
    }
}

#[async_trait]
impl TokenSource for Issuer {
    async fn fetch(&self) -> Result<AccessToken> {
        let response = self.client.send(self.request()?).await?;
        if response.is_success() { self.token(&response) } else { Err(refusal(&response)) }
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.grant {
            Grant::JwtBearer { .. } => "Issuer(JWT bearer)",
            Grant::ClientCredentials { .. } => "Issuer(client credentials)",
        })
    }
}

/// The organization in an identity URL, `.../id/<organization>/<user>`.
fn organization(identity: &str) -> Option<String> {
    let (rest, _user) = identity.rsplit_once('/')?;
    let (_, organization) = rest.rsplit_once('/')?;
    record_id::canonical(organization).filter(|id| id.starts_with("00D"))
}

/// The error for a refused grant. Descriptions can quote what was sent and are only looked at.
fn refusal(response: &Response) -> Error {
    let faults = Fault::read(response.body());
    let none = Fault::default();
    let fault = faults.first().unwrap_or(&none);
    let description = Object::read(response.body()).and_then(|answer| answer.text("error_description"));
    let later = response.retry_after().map_or(Retry::Backoff, Retry::After);
    let (kind, retry, message) = match response.status() {
        400 | 401 | 403 => (Kind::Unauthenticated, Retry::Never, "the login host refuses the credentials"),
        // Not `NotFound`: nothing is known of the object.
        404 => (Kind::InvalidConfig, Retry::Never, "the login host has no token endpoint"),
        429 => (Kind::RateLimited, later, "too many logins"),
        408 | 500..=599 => (Kind::Unavailable, later, "the login host failed"),
        _ => (Kind::Protocol, Retry::Never, "the login host answered with an unexpected status"),
    };
    let remedy = match (&*fault.code, description.as_deref().unwrap_or_default()) {
        ("invalid_grant", text) if text.contains("approved this consumer") => {
            "let an administrator pre-authorise the app for the user"
        }
        ("invalid_grant", text) if text.to_lowercase().contains("audience") => {
            "set the audience: https://login.salesforce.com, or https://test.salesforce.com for a sandbox"
        }
        ("invalid_grant", _) => "check user name, key and certificate of the app, the audience, and the clock",
        ("invalid_client_id" | "invalid_client", _) => {
            "check consumer key and secret, and that the login URL is the org's"
        }
        ("unsupported_grant_type", _) => "enable the flow in the app's OAuth settings",
        _ => "check the login URL and the app's OAuth settings",
    };
    let error = response.error(kind, retry, message).with_remedy(remedy);
    if is_oauth_code(&fault.code) { error.with_context("code", &fault.code) } else { error }
}

fn is_oauth_code(code: &str) -> bool {
    (2..=40).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn organizations_are_read_from_identity_urls() {
        for (identity, expected) in [
            ("https://login.salesforce.com/id/00DRM000000EAqL2AW/005RM000001a2b3YAA", Some("00DRM000000EAqL2AW")),
            ("https://login.salesforce.com/id/00DRM000000EAqL/005RM000001a2b3", Some("00DRM000000EAqL2AW")),
            ("https://login.salesforce.com/id/005RM000001a2b3/00DRM000000EAqL", None),
            ("canary", None),
            ("", None),
        ] {
            assert_eq!(organization(identity).as_deref(), expected, "{identity}");
        }
    }

    #[test]
    fn keys_that_cannot_sign_are_refused() {
        let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_pem();
        let key = AssertionKey::read(&Secret::new(&pem)).unwrap();
        let assertion = key.sign(&Claims { iss: "i", sub: "s", aud: "a", exp: 7 }).unwrap();
        assert_eq!(jsonwebtoken::decode_header(assertion.expose()).unwrap().alg, Algorithm::RS256);
        let ec = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for bad in ["", "canary", &ec, &pem[..pem.len() / 2]] {
            assert!(AssertionKey::read(&Secret::new(bad)).is_none());
        }
    }
}
