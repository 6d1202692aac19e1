//! Credentials: where tokens come from, and how one that was refused is replaced.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::future::{Either, select};
use reqwest::header::HeaderValue;
use rsync_core::Secret;
use rsync_core::clock::Clock;
use rsync_core::error::{Error, Kind, Problem, Result, Retry};
use tokio::sync::Mutex;
use url::Url;

use crate::config::base_url;

/// A token is replaced this long before it expires, so that it does not expire on its way.
const RENEWAL_MARGIN: Duration = Duration::from_secs(60);

/// An access token.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The token.
    pub token: Secret,
    /// How long it is valid from now on, where the issuer says so.
    pub valid_for: Option<Duration>,
    /// Where requests with it go, where the issuer says so; the client's base URL otherwise.
    pub base_url: Option<String>,
}

impl AccessToken {
    /// A token that is valid until it is refused.
    pub fn new(token: Secret) -> Self {
        Self { token, valid_for: None, base_url: None }
    }

    /// Sets how long it is valid.
    #[must_use]
    pub fn with_valid_for(mut self, valid_for: Duration) -> Self {
        self.valid_for = Some(valid_for);
        self
    }

    /// Sets where requests with it go. Token and address travel together, so a token is never sent to the address
    /// that came with another one. The source must have checked that the host may have the token; the client only
    /// sees that the address is as safe as a base URL has to be.
    #[must_use]
    pub fn with_base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = Some(base_url.into());
        self
    }
}

/// Where access tokens come from, for example an OAuth refresh.
///
/// The client asks when it has no token, shortly before a token expires, and once when a token was refused. It
/// never asks twice at the same time.
///
/// ```
/// # use std::time::Duration;
/// # use rsync_core::{Result, Secret};
/// # use rsync_http::{AccessToken, TokenSource};
/// /// Asks the host's own vault.
/// #[derive(Debug)]
/// struct Vault;
///
/// #[async_trait::async_trait]
/// impl TokenSource for Vault {
///     async fn fetch(&self) -> Result<AccessToken> {
///         let token = Secret::new("from the vault");
///         Ok(AccessToken::new(token).with_valid_for(Duration::from_secs(1_800)))
///     }
/// }
/// ```
#[async_trait]
pub trait TokenSource: Debug + Send + Sync + 'static {
    /// A fresh token.
    ///
    /// # Errors
    ///
    /// [`Kind::Unauthenticated`] if the grant itself is refused; a transient kind if the issuer cannot be reached.
    /// The text must not quote the issuer's answer.
    async fn fetch(&self) -> Result<AccessToken>;
}

/// How requests are authenticated. `Debug` shows no secret.
#[derive(Clone)]
pub struct Auth(Scheme);

#[derive(Clone)]
enum Scheme {
    None,
    Basic { user: String, password: Secret },
    Bearer(Secret),
    Renewable(Arc<dyn TokenSource>),
}

impl Auth {
    /// No credentials.
    pub fn none() -> Self {
        Self(Scheme::None)
    }

    /// A user name and a password, which may be empty (RFC 7617): a refusal is final.
    pub fn basic(user: impl Into<String>, password: Secret) -> Self {
        Self(Scheme::Basic { user: user.into(), password })
    }

    /// A token that does not change: a refusal is final.
    pub fn bearer(token: Secret) -> Self {
        Self(Scheme::Bearer(token))
    }

    /// Tokens that are replaced when they expire. A refused one is replaced once, and the request is sent once
    /// more; that is safe also for writes, since a refused request was not carried out.
    pub fn renewable(source: Arc<dyn TokenSource>) -> Self {
        Self(Scheme::Renewable(source))
    }

    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        match &self.0 {
            Scheme::Bearer(token) if bearer(token).is_none() => problems.push(Problem::new(
                "token",
                "is empty or holds a space, line break or another character that no token has",
                "give the token alone, without the line break that a file often ends with",
            )),
            Scheme::Basic { user, password } => {
                if user.is_empty() || user.contains(':') || !is_printable(user) {
                    problems.push(Problem::new(
                        "user",
                        "is empty or holds a colon, a line break or a character outside ASCII",
                        "give the user name alone; everything behind a colon would be read as the password",
                    ));
                }
                if !is_printable(password.expose()) {
                    problems.push(Problem::new(
                        "password",
                        "holds a line break or a character outside ASCII",
                        "give the password alone, without the line break that a file often ends with",
                    ));
                }
            }
            _ => {}
        }
    }
}

impl Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Scheme::None => "Auth(none)",
            Scheme::Basic { .. } => "Auth(basic, redacted)",
            Scheme::Bearer(_) => "Auth(bearer, redacted)",
            Scheme::Renewable(_) => "Auth(renewable)",
        })
    }
}

/// `None` if the token cannot stand in a header.
fn bearer(token: &Secret) -> Option<HeaderValue> {
    let token = token.expose();
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    sensitive(&format!("Bearer {token}"))
}

fn basic(user: &str, password: &Secret) -> Option<HeaderValue> {
    sensitive(&format!("Basic {}", BASE64.encode(format!("{user}:{}", password.expose()))))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Servers differ in how they read other characters, and control characters are forbidden.
fn is_printable(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

/// What one request was authenticated with.
#[derive(Clone)]
pub(crate) struct Credential {
    pub(crate) header: Option<HeaderValue>,
    /// Where to send it, if not to the client's base URL.
    pub(crate) base: Option<Arc<Url>>,
    /// Counts the tokens of a renewable source; `None` if a refusal is final.
    generation: Option<u64>,
}

impl Credential {
    pub(crate) fn is_renewable(&self) -> bool {
        self.generation.is_some()
    }
}

/// Hands out credentials and fetches tokens, one fetch at a time.
pub(crate) struct Credentials {
    auth: Auth,
    clock: Arc<dyn Clock>,
    limit: Duration,
    allow_loopback_http: bool,
    /// Held while a token is fetched, so that all others wait for that one fetch.
    state: Mutex<State>,
    /// Fetches that have ended, to tell those who waited for one from those who come later.
    ended: std::sync::atomic::AtomicU64,
}

#[derive(Default)]
struct State {
    header: Option<HeaderValue>,
    base: Option<Arc<Url>>,
    generation: u64,
    expires_at: Option<Duration>,
    /// Kind and retry class of the last fetch, if it failed.
    failure: Option<(Kind, Retry)>,
}

impl Credentials {
    pub(crate) fn new(auth: Auth, clock: Arc<dyn Clock>, limit: Duration, allow_loopback_http: bool) -> Self {
        let ended = std::sync::atomic::AtomicU64::new(0);
        Self { auth, clock, limit, allow_loopback_http, state: Mutex::default(), ended }
    }

    /// The credential to send. Fetches a token if there is none or the one at hand is about to expire.
    pub(crate) async fn current(&self) -> Result<Credential> {
        match &self.auth.0 {
            Scheme::None => Ok(Credential { header: None, base: None, generation: None }),
            Scheme::Basic { user, password } => {
                Ok(Credential { header: basic(user, password), base: None, generation: None })
            }
            Scheme::Bearer(token) => Ok(Credential { header: bearer(token), base: None, generation: None }),
            Scheme::Renewable(source) => self.valid(source.as_ref(), None).await,
        }
    }

    /// Another credential than `refused`, fetched unless somebody else has done so already.
    pub(crate) async fn replace(&self, refused: &Credential) -> Result<Credential> {
        match (&self.auth.0, refused.generation) {
            (Scheme::Renewable(source), Some(generation)) => self.valid(source.as_ref(), Some(generation)).await,
            _ => Err(refused_error()),
        }
    }

    async fn valid(&self, source: &dyn TokenSource, refused: Option<u64>) -> Result<Credential> {
        let seen = self.ended.load(std::sync::atomic::Ordering::SeqCst);
        let mut state = self.state.lock().await;
        let fresh = state.expires_at.is_none_or(|at| self.clock.monotonic() < at);
        if state.header.is_some() && fresh && refused != Some(state.generation) {
            return Ok(state.credential());
        }
        // A fetch that ended in failure while this call waited for it answers this call too: otherwise every
        // waiting request would knock at a failing issuer in turn.
        if self.ended.load(std::sync::atomic::Ordering::SeqCst) > seen
            && let Some((kind, retry)) = state.failure
        {
            return Err(Error::new(kind, "fetch an access token", "the fetch that this request waited for failed")
                .with_retry(retry));
        }
        let fetched = self.fetch(source).await;
        self.ended.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        match fetched {
            Ok((header, base, valid_for)) => {
                let valid_for = valid_for.map(|d| d.saturating_sub(RENEWAL_MARGIN).max(d / 2));
                state.expires_at = valid_for.map(|d| self.clock.monotonic().saturating_add(d));
                state.header = Some(header);
                state.base = base;
                state.generation += 1;
                state.failure = None;
                Ok(state.credential())
            }
            Err(error) => {
                // Whatever became of the token request: the request it was for has not been carried out.
                let retry = if error.retry() == Retry::Ambiguous { Retry::Backoff } else { error.retry() };
                state.failure = Some((error.kind(), retry));
                Err(error.with_retry(retry))
            }
        }
    }

    async fn fetch(&self, source: &dyn TokenSource) -> Result<(HeaderValue, Option<Arc<Url>>, Option<Duration>)> {
        let token = match select(source.fetch(), self.clock.sleep(self.limit)).await {
            Either::Left((token, _)) => token?,
            Either::Right(_) => {
                return Err(Error::new(
                    Kind::Unavailable,
                    "fetch an access token",
                    "the issuer did not answer in time",
                )
                .with_retry(Retry::Backoff));
            }
        };
        let header = bearer(&token.token).ok_or_else(|| {
            Error::new(Kind::Protocol, "fetch an access token", "the issuer's token cannot stand in a header")
        })?;
        let base = match &token.base_url {
            None => None,
            // The problems may quote the address, and nothing vouches for what stands in it.
            Some(url) => Some(Arc::new(base_url(url, self.allow_loopback_http).map_err(|_| {
                Error::new(
                    Kind::Protocol,
                    "fetch an access token",
                    "the issuer names an address that no token may go to",
                )
            })?)),
        };
        Ok((header, base, token.valid_for))
    }
}

impl State {
    fn credential(&self) -> Credential {
        Credential { header: self.header.clone(), base: self.base.clone(), generation: Some(self.generation) }
    }
}

fn refused_error() -> Error {
    Error::new(Kind::Unauthenticated, "authenticate", "the credentials were refused")
        .with_remedy("give a valid token; a refused one is not tried again")
}
