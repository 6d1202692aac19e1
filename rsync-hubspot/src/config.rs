//! Settings of the destination.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rsync_core::Secret;
use rsync_core::capability::Rate;
use rsync_core::clock::Clock;
use rsync_core::error::{Error, Kind, Problem, Result};
use rsync_http::header::HeaderName;
use rsync_http::{Auth, Client, ClientConfig, Limits, Roots, TokenSource, reqwest};
use serde::{Deserialize, Deserializer};

use crate::destination::HubSpot;
use crate::token::Issuer;

/// Address of the service; accounts in the EU use the same one.
const BASE_URL: &str = "https://api.hubapi.com";
/// Largest answer of the token endpoint.
const TOKEN_ANSWER_MAX: usize = 64 << 10;

/// Version of the HTTP API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum ApiVersion {
    /// `v3`, unsupported from September 2027 on.
    #[serde(rename = "v3")]
    V3,
    /// `2026-03`.
    #[serde(rename = "2026-03")]
    V2026_03,
    /// `2026-09`, the current one. It applies the account's own rules (required fields and the like) to writes.
    #[default]
    #[serde(rename = "2026-09")]
    V2026_09,
}

/// How many requests the account may send. The engine keeps to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RateTier {
    /// Free and Starter accounts: 100 requests in 10 seconds. Fits every account.
    #[default]
    Starter,
    /// Professional accounts: 190 requests in 10 seconds.
    Professional,
    /// Enterprise accounts: 190 requests in 10 seconds.
    Enterprise,
    /// Accounts with an API limit increase: 250 requests in 10 seconds.
    LimitIncrease,
    /// Apps of the marketplace: 110 requests in 10 seconds for every account.
    Marketplace,
    /// A share that the host has set aside for this destination.
    #[serde(rename_all = "snake_case")]
    Custom {
        /// Requests in one window.
        requests: u32,
        /// Length of the window in milliseconds.
        per_ms: u64,
    },
    /// No limit, for simulators.
    Unlimited,
}

impl RateTier {
    pub(crate) fn rate(self) -> Option<Rate> {
        let ten_seconds = Duration::from_secs(10);
        match self {
            RateTier::Starter => Some(Rate::new(100, ten_seconds)),
            RateTier::Professional | RateTier::Enterprise => Some(Rate::new(190, ten_seconds)),
            RateTier::LimitIncrease => Some(Rate::new(250, ten_seconds)),
            RateTier::Marketplace => Some(Rate::new(110, ten_seconds)),
            RateTier::Custom { requests, per_ms } => Some(Rate::new(requests, Duration::from_millis(per_ms))),
            RateTier::Unlimited => None,
        }
    }
}

/// An OAuth app that is installed in the account. Its access tokens live half an hour and are replaced from the refresh
/// token, which stays the same: by the clock, and once when one is refused. The secrets go to the address of the service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OAuth {
    /// Client id of the app.
    pub client_id: String,
    /// Client secret of the app.
    #[serde(deserialize_with = "required_secret")]
    pub client_secret: Secret,
    /// The token that installing the app in the account gave.
    #[serde(deserialize_with = "required_secret")]
    pub refresh_token: Secret,
}

impl OAuth {
    /// An app and the refresh token of an account.
    pub fn new(client_id: impl Into<String>, client_secret: Secret, refresh_token: Secret) -> Self {
        Self { client_id: client_id.into(), client_secret, refresh_token }
    }

    fn problems(&self) -> impl Iterator<Item = Problem> {
        let fields = [
            ("oauth.client_id", self.client_id.as_str()),
            ("oauth.client_secret", self.client_secret.expose()),
            ("oauth.refresh_token", self.refresh_token.expose()),
        ];
        let wrong = fields.into_iter().filter(|(_, value)| value.trim().is_empty() || value.trim() != *value);
        wrong.map(|(at, _)| Problem::new(at, "is empty or has white space around it", "give the value alone"))
    }
}

/// Settings that can stand in a file. Unknown fields are refused.
///
/// The token may stand there too, but is better taken from the host's secret store and set with
/// [`Builder::token`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct HubSpotConfig {
    /// Token of a private app or a service key.
    #[serde(deserialize_with = "secret")]
    pub token: Option<Secret>,
    /// An OAuth app in the place of a token.
    pub oauth: Option<OAuth>,
    /// Address of the service. Default `https://api.hubapi.com`.
    pub base_url: String,
    /// Permits `http://` for a `base_url` on this machine, for a simulator. Default false.
    pub allow_loopback_http: bool,
    /// Version of the API. Default `2026-09`.
    pub version: ApiVersion,
    /// What the account may send. Default [`RateTier::Starter`].
    pub rate: RateTier,
    /// Most calls open at once. Default 4.
    pub max_in_flight: usize,
    /// Limits of one exchange.
    pub limits: Limits,
    /// Further certificate authorities, as PEM, for a TLS-inspecting network.
    pub extra_root_ca_pem: Option<String>,
}

impl Default for HubSpotConfig {
    fn default() -> Self {
        Self {
            token: None,
            oauth: None,
            base_url: BASE_URL.to_owned(),
            allow_loopback_http: false,
            version: ApiVersion::default(),
            rate: RateTier::default(),
            max_in_flight: 4,
            limits: Limits::default(),
            extra_root_ca_pem: None,
        }
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}

fn required_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

/// Puts a [`HubSpot`] together.
#[derive(Clone, Default)]
pub struct Builder {
    config: HubSpotConfig,
    token_source: Option<Arc<dyn TokenSource>>,
    http: Option<reqwest::Client>,
    clock: Option<Arc<dyn Clock>>,
}

impl Builder {
    pub(crate) fn new(config: HubSpotConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Sets the token of a private app or a service key.
    #[must_use]
    pub fn token(mut self, token: Secret) -> Self {
        self.config.token = Some(token);
        self
    }

    /// Signs in as an OAuth app instead of with a fixed token.
    #[must_use]
    pub fn oauth(mut self, app: OAuth) -> Self {
        self.config.oauth = Some(app);
        self
    }

    /// Takes tokens from `source`, for example the host's own vault, instead of a fixed one.
    #[must_use]
    pub fn token_source(mut self, source: Arc<dyn TokenSource>) -> Self {
        self.token_source = Some(source);
        self
    }

    /// Sets the address of the service.
    #[must_use]
    pub fn base_url(mut self, base_url: impl Into<String>) -> Self {
        self.config.base_url = base_url.into();
        self
    }

    /// Permits `http://` for an address on this machine.
    #[must_use]
    pub fn allow_loopback_http(mut self, allow: bool) -> Self {
        self.config.allow_loopback_http = allow;
        self
    }

    /// Sets the version of the API.
    #[must_use]
    pub fn version(mut self, version: ApiVersion) -> Self {
        self.config.version = version;
        self
    }

    /// Sets what the account may send.
    #[must_use]
    pub fn rate(mut self, rate: RateTier) -> Self {
        self.config.rate = rate;
        self
    }

    /// Sets the most calls open at once.
    #[must_use]
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.config.max_in_flight = calls;
        self
    }

    /// Sets the limits of one exchange.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Trusts further certificate authorities, as PEM.
    #[must_use]
    pub fn extra_root_ca_pem(mut self, pem: impl Into<String>) -> Self {
        self.config.extra_root_ca_pem = Some(pem.into());
        self
    }

    /// Uses the host's own HTTP client; see [`ClientConfig::with_http`] for what it must not do.
    #[must_use]
    pub fn http(mut self, http: reqwest::Client) -> Self {
        self.http = Some(http);
        self
    }

    /// Sets the source of time.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Builds the destination. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidConfig`] with all problems at once.
    ///
    /// ```
    /// # use rsync_hubspot::HubSpot;
    /// let error = HubSpot::builder().base_url("http://api.hubapi.com").max_in_flight(0).build().unwrap_err();
    /// let at: Vec<&str> = error.problems().iter().map(|problem| problem.at.as_str()).collect();
    /// assert_eq!(at, ["base_url", "token", "max_in_flight"]);
    /// ```
    pub fn build(self) -> Result<HubSpot> {
        let config = &self.config;
        let auth = match (&self.token_source, &config.token) {
            (Some(source), _) => Auth::renewable(Arc::clone(source)),
            (None, Some(token)) => Auth::bearer(token.clone()),
            (None, None) => Auth::none(),
        };
        let mut client = self.client(auth);
        Error::from_problems(Kind::InvalidConfig, "build the HubSpot destination", self.problems(&client))?;
        if let Some(app) = &config.oauth {
            let mut limits = config.limits;
            limits.body_bytes = limits.body_bytes.min(TOKEN_ANSWER_MAX);
            let issuer = Issuer::new(Client::new(client.with_limits(limits))?, config.version, app.clone());
            client = self.client(Auth::renewable(Arc::new(issuer)));
        }
        Ok(HubSpot::new(Client::new(client)?, config))
    }

    fn client(&self, auth: Auth) -> ClientConfig {
        let config = &self.config;
        let mut client = ClientConfig::new(&config.base_url, auth)
            .with_loopback_http(config.allow_loopback_http)
            .with_limits(config.limits)
            .with_user_agent(concat!("rsync-hubspot/", env!("CARGO_PKG_VERSION")))
            .with_correlation_header(HeaderName::from_static("x-hubspot-correlation-id"));
        if let Some(pem) = &config.extra_root_ca_pem {
            client = client.with_roots(Roots::SystemAnd(pem.clone()));
        }
        if let Some(http) = &self.http {
            client = client.with_http(http.clone());
        }
        if let Some(clock) = &self.clock {
            client = client.with_clock(Arc::clone(clock));
        }
        client
    }

    fn problems(&self, client: &ClientConfig) -> Vec<Problem> {
        let config = &self.config;
        let mut problems = client.problems();
        for problem in &mut problems {
            if problem.at == "roots" {
                problem.at = "extra_root_ca_pem".to_owned();
            }
        }
        let token = match (&self.token_source, &config.oauth, &config.token) {
            (None, None, None) => Some((
                "is missing",
                "give the token of a private app or a service key, an OAuth app, or a token source",
            )),
            (Some(_), _, Some(_)) => Some(("is given beside a token source", "give one of the two")),
            (Some(_), Some(_), None) => {
                Some(("comes from a token source and from an OAuth app", "give one of the two"))
            }
            (None, Some(_), Some(_)) => Some(("is given beside an OAuth app", "give one of the two")),
            _ => None,
        };
        problems.extend(token.map(|(cause, fix)| Problem::new("token", cause, fix)));
        problems.extend(config.oauth.iter().flat_map(OAuth::problems));
        if config.max_in_flight == 0 {
            problems.push(Problem::new("max_in_flight", "0 would never send anything", "use 1 or more"));
        }
        if let RateTier::Custom { requests, per_ms } = config.rate
            && (requests == 0 || per_ms == 0)
        {
            problems.push(Problem::new(
                "rate.custom",
                "0 would never send anything",
                "give requests and per_ms of 1 or more, or use unlimited",
            ));
        }
        problems
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Result<HubSpotConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn files_are_read_strictly() {
        let config = config(
            r#"{"token": "pat-canary", "version": "v3", "rate": {"custom": {"requests": 50, "per_ms": 10000}},
                "limits": {"total_ms": 5000}, "max_in_flight": 2}"#,
        )
        .unwrap();
        assert_eq!((config.version, config.max_in_flight), (ApiVersion::V3, 2));
        assert_eq!(config.rate.rate(), Some(Rate::new(50, Duration::from_secs(10))));
        assert_eq!((config.limits.total_ms, config.limits.connect_ms), (5_000, 10_000));
        assert!(!format!("{config:?}").contains("canary"));
        let destination = HubSpot::from_config(config).build().unwrap();
        assert!(!format!("{destination:?}").contains("canary"));

        let oauth = r#"{"oauth": {"client_id": "app", "client_secret": "canary", "refresh_token": "canary"}}"#;
        let oauth = self::config(oauth).unwrap();
        let destination = HubSpot::from_config(oauth.clone()).build().unwrap();
        assert!(!format!("{oauth:?} {destination:?}").contains("canary"));

        for bad in [
            r#"{"oauth": {"client_id": "app", "client_secret": "x"}}"#,
            r#"{"oauth": {"client_id": "app", "client_secret": "x", "refresh_token": "x", "scope": "x"}}"#,
        ] {
            assert!(self::config(bad).is_err(), "{bad}");
        }
        for bad in [r#"{"tokem": "x"}"#, r#"{"version": "v4"}"#, r#"{"rate": "huge"}"#, r#"{"limits": {"total": 1}}"#] {
            assert!(self::config(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn all_problems_at_once() {
        let builder = HubSpot::builder()
            .token(Secret::new("pat\r\nX-Canary: 1"))
            .base_url("http://10.0.0.1")
            .rate(RateTier::Custom { requests: 0, per_ms: 1 })
            .extra_root_ca_pem("none")
            .max_in_flight(0);
        let error = builder.clone().build().unwrap_err();
        let at: Vec<&str> = error.problems().iter().map(|problem| problem.at.as_str()).collect();
        assert_eq!(at, ["base_url", "token", "extra_root_ca_pem", "max_in_flight", "rate.custom"]);
        assert!(!format!("{error} {error:?} {builder:?}").contains("Canary"));

        let app = OAuth::new("", Secret::new(" canary"), Secret::new("canary\n"));
        let both = HubSpot::builder().oauth(app).token(Secret::new("pat")).build().unwrap_err();
        let at: Vec<&str> = both.problems().iter().map(|problem| problem.at.as_str()).collect();
        assert_eq!(at, ["token", "oauth.client_id", "oauth.client_secret", "oauth.refresh_token"]);
        assert!(!format!("{both} {both:?}").contains("canary"));
    }
}
