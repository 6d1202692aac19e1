//! Settings of the destination.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rsync_core::Secret;
use rsync_core::capability::Rate;
use rsync_core::clock::Clock;
use rsync_core::error::{Error, Kind, Problem, Result};
use rsync_http::{Auth, Client, ClientConfig, Limits, Roots, reqwest};
use serde::{Deserialize, Deserializer};

use crate::destination::CustomerIo;
use crate::policy::{Deletion, EmptyText};

/// A body has room for about 6,500 people, so this closes no batch of people who are sent. It bounds how many rows that
/// cannot be sent, and so take no room, are gathered.
const MAX_ROWS: usize = 50_000;

/// Where an account's data is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Region {
    /// The United States.
    #[default]
    Us,
    /// The European Union.
    Eu,
}

impl Region {
    /// The service's name for it: `us` or `eu`.
    pub fn as_str(self) -> &'static str {
        match self {
            Region::Us => "us",
            Region::Eu => "eu",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Region::Us => Region::Eu,
            Region::Eu => Region::Us,
        }
    }

    /// Address of the Track API.
    fn base_url(self) -> &'static str {
        match self {
            Region::Us => "https://track.customer.io",
            Region::Eu => "https://track-eu.customer.io",
        }
    }
}

/// How many batches may be sent. The engine keeps to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RequestRate {
    /// 10 batches a second. The service takes more calls, but may drop what comes too fast without a word.
    #[default]
    Standard,
    /// A share that the host has set aside for this destination.
    #[serde(rename_all = "snake_case")]
    Custom {
        /// Batches in one window.
        requests: u32,
        /// Length of the window in milliseconds.
        per_ms: u64,
    },
    /// No limit, for simulators.
    Unlimited,
}

impl RequestRate {
    pub(crate) fn rate(self) -> Option<Rate> {
        match self {
            RequestRate::Standard => Some(Rate::new(10, Duration::from_secs(1))),
            RequestRate::Custom { requests, per_ms } => Some(Rate::new(requests, Duration::from_millis(per_ms))),
            RequestRate::Unlimited => None,
        }
    }
}

/// Settings that can stand in a file. Unknown fields are refused.
///
/// The API key may stand there too, but is better taken from the host's secret store and set with
/// [`Builder::api_key`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CustomerIoConfig {
    /// Site id of the workspace.
    pub site_id: Option<String>,
    /// Track API key of the workspace.
    #[serde(deserialize_with = "secret")]
    pub api_key: Option<Secret>,
    /// Where the account's data is kept. Default [`Region::Us`].
    pub region: Region,
    /// Address of the Track API, where it is not that of the region.
    pub base_url: Option<String>,
    /// Permits `http://` for a `base_url` on this machine, for a simulator. Default false.
    pub allow_loopback_http: bool,
    /// What becomes of empty texts. Default [`EmptyText::Reject`].
    pub empty_text: EmptyText,
    /// Permits to write `unsubscribed` as false or to clear it, which subscribes people again who have opted out by
    /// themselves. Default false: such rows are rejected.
    pub allow_resubscribe: bool,
    /// What the deletion of a person is. Default [`Deletion::Delete`].
    pub deletion: Deletion,
    /// How many batches may be sent. Default [`RequestRate::Standard`].
    pub rate: RequestRate,
    /// Most calls open at once. Default 4.
    pub max_in_flight: usize,
    /// Most rows of one batch. Default 50,000, which is more than a body has room for: batches are closed by their bytes.
    pub max_rows: usize,
    /// Limits of one exchange.
    pub limits: Limits,
    /// Further certificate authorities, as PEM, for a TLS-inspecting network.
    pub extra_root_ca_pem: Option<String>,
}

impl Default for CustomerIoConfig {
    fn default() -> Self {
        Self {
            site_id: None,
            api_key: None,
            region: Region::default(),
            base_url: None,
            allow_loopback_http: false,
            empty_text: EmptyText::default(),
            allow_resubscribe: false,
            deletion: Deletion::default(),
            rate: RequestRate::default(),
            max_in_flight: 4,
            max_rows: MAX_ROWS,
            limits: Limits::default(),
            extra_root_ca_pem: None,
        }
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}

/// Puts a [`CustomerIo`] together.
#[derive(Clone, Default)]
pub struct Builder {
    config: CustomerIoConfig,
    http: Option<reqwest::Client>,
    clock: Option<Arc<dyn Clock>>,
}

impl Builder {
    pub(crate) fn new(config: CustomerIoConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Sets the site id of the workspace.
    #[must_use]
    pub fn site_id(mut self, site_id: impl Into<String>) -> Self {
        self.config.site_id = Some(site_id.into());
        self
    }

    /// Sets the Track API key of the workspace.
    #[must_use]
    pub fn api_key(mut self, api_key: Secret) -> Self {
        self.config.api_key = Some(api_key);
        self
    }

    /// Sets where the account's data is kept.
    #[must_use]
    pub fn region(mut self, region: Region) -> Self {
        self.config.region = region;
        self
    }

    /// Sets the address of the Track API, where it is not that of the region.
    #[must_use]
    pub fn base_url(mut self, base_url: impl Into<String>) -> Self {
        self.config.base_url = Some(base_url.into());
        self
    }

    /// Permits `http://` for an address on this machine.
    #[must_use]
    pub fn allow_loopback_http(mut self, allow: bool) -> Self {
        self.config.allow_loopback_http = allow;
        self
    }

    /// Sets what becomes of empty texts.
    #[must_use]
    pub fn empty_text(mut self, empty_text: EmptyText) -> Self {
        self.config.empty_text = empty_text;
        self
    }

    /// Permits to subscribe people who have opted out; see [`CustomerIoConfig::allow_resubscribe`].
    #[must_use]
    pub fn allow_resubscribe(mut self, allow: bool) -> Self {
        self.config.allow_resubscribe = allow;
        self
    }

    /// Sets what the deletion of a person is.
    #[must_use]
    pub fn deletion(mut self, deletion: Deletion) -> Self {
        self.config.deletion = deletion;
        self
    }

    /// Sets how many batches may be sent.
    #[must_use]
    pub fn rate(mut self, rate: RequestRate) -> Self {
        self.config.rate = rate;
        self
    }

    /// Sets the most calls open at once.
    #[must_use]
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.config.max_in_flight = calls;
        self
    }

    /// Sets the most rows of one batch.
    #[must_use]
    pub fn max_rows(mut self, rows: usize) -> Self {
        self.config.max_rows = rows;
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
    /// # use rsync_customerio::CustomerIo;
    /// let error = CustomerIo::builder().base_url("http://track.customer.io").max_in_flight(0).build().unwrap_err();
    /// let at: Vec<&str> = error.problems().iter().map(|problem| problem.at.as_str()).collect();
    /// assert_eq!(at, ["base_url", "site_id", "api_key", "max_in_flight"]);
    /// ```
    pub fn build(self) -> Result<CustomerIo> {
        let config = &self.config;
        let auth = match (&config.site_id, &config.api_key) {
            (Some(site_id), Some(api_key)) => Auth::basic(site_id, api_key.clone()),
            _ => Auth::none(),
        };
        let base_url = config.base_url.as_deref().unwrap_or(config.region.base_url());
        let mut client = ClientConfig::new(base_url, auth)
            .with_loopback_http(config.allow_loopback_http)
            .with_limits(config.limits)
            .with_user_agent(concat!("rsync-customerio/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = &config.extra_root_ca_pem {
            client = client.with_roots(Roots::SystemAnd(pem.clone()));
        }
        if let Some(http) = &self.http {
            client = client.with_http(http.clone());
        }
        if let Some(clock) = &self.clock {
            client = client.with_clock(Arc::clone(clock));
        }
        Error::from_problems(Kind::InvalidConfig, "build the Customer.io destination", self.problems(&client))?;
        Ok(CustomerIo::new(Client::new(client)?, config))
    }

    fn problems(&self, client: &ClientConfig) -> Vec<Problem> {
        let config = &self.config;
        let mut problems = client.problems();
        for problem in &mut problems {
            let ours = match problem.at.as_str() {
                "roots" => "extra_root_ca_pem",
                "user" => "site_id",
                "password" => "api_key",
                _ => continue,
            };
            problem.at = ours.to_owned();
        }
        if config.site_id.is_none() {
            problems.push(Problem::new("site_id", "is missing", "give the site id of the workspace"));
        }
        if config.api_key.as_ref().is_none_or(|key| key.expose().trim().is_empty()) {
            problems.push(Problem::new("api_key", "is missing", "give the Track API key of the workspace"));
        }
        for (at, value) in [("max_in_flight", config.max_in_flight), ("max_rows", config.max_rows)] {
            if value == 0 {
                problems.push(Problem::new(at, "0 would never send anything", "use 1 or more"));
            }
        }
        if let RequestRate::Custom { requests, per_ms } = config.rate
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

    fn config(json: &str) -> Result<CustomerIoConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn files_are_read_strictly() {
        let config = config(
            r#"{"site_id": "site", "api_key": "canary", "region": "eu", "empty_text": "clear", "allow_resubscribe": true,
                "rate": {"custom": {"requests": 50, "per_ms": 1000}}, "limits": {"total_ms": 5000}, "max_rows": 20, "deletion": "suppress"}"#,
        )
        .unwrap();
        assert_eq!((config.region, config.empty_text, config.max_rows), (Region::Eu, EmptyText::Clear, 20));
        assert_eq!((config.deletion, CustomerIoConfig::default().deletion), (Deletion::Suppress, Deletion::Delete));
        assert_eq!(config.rate.rate(), Some(Rate::new(50, Duration::from_secs(1))));
        assert_eq!((config.limits.total_ms, config.limits.connect_ms), (5_000, 10_000));
        assert!(!format!("{config:?}").contains("canary"));
        let destination = CustomerIo::from_config(config).build().unwrap();
        assert!(!format!("{destination:?}").contains("canary"));

        for bad in [
            r#"{"apikey": "x"}"#,
            r#"{"region": "ap"}"#,
            r#"{"rate": "huge"}"#,
            r#"{"empty_text": "keep"}"#,
            r#"{"deletion": "true"}"#,
            r#"{"limits": {"total": 1}}"#,
        ] {
            assert!(self::config(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn all_problems_at_once() {
        let builder = CustomerIo::builder()
            .site_id("a:Canary")
            .api_key(Secret::new("key\r\nX-Canary: 1"))
            .base_url("http://10.0.0.1")
            .rate(RequestRate::Custom { requests: 0, per_ms: 1 })
            .extra_root_ca_pem("none")
            .max_in_flight(0)
            .max_rows(0);
        let error = builder.clone().build().unwrap_err();
        let at: Vec<&str> = error.problems().iter().map(|problem| problem.at.as_str()).collect();
        let expected =
            ["base_url", "site_id", "api_key", "extra_root_ca_pem", "max_in_flight", "max_rows", "rate.custom"];
        assert_eq!(at, expected);
        assert!(!format!("{error} {error:?} {builder:?}").contains("Canary"));

        let blank = CustomerIo::builder().site_id("site").api_key(Secret::new(" ")).build().unwrap_err();
        assert_eq!(blank.problems()[0].at, "api_key");
    }

    #[test]
    fn each_region_has_its_address() {
        for (region, address) in
            [(Region::Us, "https://track.customer.io"), (Region::Eu, "https://track-eu.customer.io")]
        {
            let built =
                CustomerIo::builder().site_id("site").api_key(Secret::new("key")).region(region).build().unwrap();
            assert!(format!("{built:?}").contains(&format!("\"{address}\"")), "{built:?}");
        }
    }
}
