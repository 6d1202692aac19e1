//! How a [`Client`](crate::Client) is set up.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use rsync_core::clock::{Clock, SystemClock};
use rsync_core::error::{Error, Kind, Problem, Result};
use serde::Deserialize;
use url::{Host, Url};

use crate::auth::Auth;
use crate::request::Response;

/// Limits of one exchange. Every one ends the exchange with an error; none can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Limits {
    /// Until a connection stands, TLS included. Default 10,000.
    pub connect_ms: u64,
    /// Until the head of the answer has come, counted from the start. Default 30,000.
    pub header_ms: u64,
    /// Between two pieces of the body. Default 30,000.
    pub idle_ms: u64,
    /// For the whole exchange. Default 120,000.
    pub total_ms: u64,
    /// Size of an answer after decompression. Default 16 MiB.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect_ms: 10_000, header_ms: 30_000, idle_ms: 30_000, total_ms: 120_000, body_bytes: 16 << 20 }
    }
}

impl Limits {
    pub(crate) fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }

    pub(crate) fn header(&self) -> Duration {
        Duration::from_millis(self.header_ms)
    }

    pub(crate) fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }

    pub(crate) fn total(&self) -> Duration {
        Duration::from_millis(self.total_ms)
    }
}

/// Which certificate authorities may vouch for the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Roots {
    /// Those of the operating system.
    #[default]
    System,
    /// Those of the operating system and these, as PEM.
    SystemAnd(String),
    /// Only these, as PEM. Works where the operating system has none.
    Only(String),
}

/// Everything a client is made of.
#[derive(Clone)]
pub struct ClientConfig {
    pub(crate) base_url: String,
    pub(crate) auth: Auth,
    pub(crate) limits: Limits,
    pub(crate) user_agent: String,
    pub(crate) roots: Roots,
    pub(crate) allow_loopback_http: bool,
    pub(crate) correlation_header: Option<HeaderName>,
    pub(crate) renewal: fn(&Response) -> bool,
    pub(crate) http: Option<reqwest::Client>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl ClientConfig {
    /// Requests below `base_url`, with `auth`.
    pub fn new(base_url: impl Into<String>, auth: Auth) -> Self {
        Self {
            base_url: base_url.into(),
            auth,
            limits: Limits::default(),
            user_agent: concat!("rsync-http/", env!("CARGO_PKG_VERSION")).to_owned(),
            roots: Roots::default(),
            allow_loopback_http: false,
            correlation_header: None,
            renewal: |_| true,
            http: None,
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Sets the limits of an exchange.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the `User-Agent`.
    #[must_use]
    pub fn with_user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Sets the trusted authorities.
    #[must_use]
    pub fn with_roots(mut self, roots: Roots) -> Self {
        self.roots = roots;
        self
    }

    /// Permits `http://` for a base URL on this machine, for simulators and tests.
    #[must_use]
    pub fn with_loopback_http(mut self, allow: bool) -> Self {
        self.allow_loopback_http = allow;
        self
    }

    /// Names the response header that holds the server's id of an exchange.
    #[must_use]
    pub fn with_correlation_header(mut self, header: HeaderName) -> Self {
        self.correlation_header = Some(header);
        self
    }

    /// Says which 401 answers are about the token, for services that also use the status for refusals that no other
    /// token would lift. Only after those a renewable token is replaced. By default all are.
    #[must_use]
    pub fn with_renewal(mut self, renewal: fn(&Response) -> bool) -> Self {
        self.renewal = renewal;
        self
    }

    /// Uses a client of the host's making instead of an own one, to share its connections or to go through a proxy.
    /// [`Roots`] and [`Limits::connect_ms`] are then the host's business, and so is safety: build it with
    /// [`reqwest::redirect::Policy::none`] and [`reqwest::retry::never`].
    #[must_use]
    pub fn with_http(mut self, http: reqwest::Client) -> Self {
        self.http = Some(http);
        self
    }

    /// Sets the source of time.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Everything that is wrong with this configuration. Adapters add it to their own findings, so that a host
    /// sees all of them at once.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        check_base_url(&self.base_url, self.allow_loopback_http, &mut problems);
        if HeaderValue::from_str(&self.user_agent).is_err() || self.user_agent.trim().is_empty() {
            problems.push(Problem::new(
                "user_agent",
                "cannot stand in a header",
                "use one or more visible ASCII characters",
            ));
        }
        self.auth.check(&mut problems);
        let limits = &self.limits;
        for (at, value) in [
            ("limits.connect_ms", limits.connect_ms),
            ("limits.header_ms", limits.header_ms),
            ("limits.idle_ms", limits.idle_ms),
            ("limits.total_ms", limits.total_ms),
            ("limits.body_bytes", limits.body_bytes as u64),
        ] {
            if value == 0 {
                problems.push(Problem::new(at, "0 would refuse everything", "leave it out for the default"));
            }
        }
        if let Roots::SystemAnd(pem) | Roots::Only(pem) = &self.roots
            && !certificates(pem).is_ok_and(|list| !list.is_empty())
        {
            problems.push(Problem::new("roots", "holds no readable certificate", "give one or more PEM certificates"));
        }
        problems
    }

    /// The checked base URL without a slash at its end.
    pub(crate) fn base(&self) -> Result<Url> {
        Error::from_problems(Kind::InvalidConfig, "build an HTTP client", self.problems())?;
        base_url(&self.base_url, self.allow_loopback_http)
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The base URL may hold credentials as long as it is not checked.
        f.debug_struct("ClientConfig").field("auth", &self.auth).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// An address that requests with credentials may go to, without a slash at its end.
pub(crate) fn base_url(base_url: &str, allow_loopback_http: bool) -> Result<Url> {
    let mut problems = Vec::new();
    check_base_url(base_url, allow_loopback_http, &mut problems);
    Error::from_problems(Kind::InvalidConfig, "read a base URL", problems)?;
    Url::parse(base_url.trim_end_matches('/'))
        .map_err(|e| Error::new(Kind::InvalidConfig, "read a base URL", "is not a URL").with_source(e))
}

fn check_base_url(base_url: &str, allow_loopback_http: bool, problems: &mut Vec<Problem>) {
    let mut report = |cause: &str, fix: &str| problems.push(Problem::new("base_url", cause, fix));
    let url = match Url::parse(base_url) {
        Ok(url) => url,
        Err(e) => return report(&format!("is not a URL: {e}"), "use the form https://api.example.com"),
    };
    let Some(host) = url.host() else {
        return report("names no host", "use the form https://api.example.com");
    };
    match url.scheme() {
        "https" => {}
        "http" if !is_loopback(&host) => {
            report("plain http would show the credentials to the network", "use https");
        }
        "http" if !allow_loopback_http => {
            report("plain http is refused", "use https, or permit http for this machine in so many words");
        }
        "http" => {}
        _ => report("is neither https nor http", "use https"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        report("holds credentials", "give them to the authentication settings");
    }
    if url.query().is_some() || url.fragment().is_some() {
        report("holds a query or fragment", "end it after the path");
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(ip) => IpAddr::V4(*ip).is_loopback(),
        Host::Ipv6(ip) => IpAddr::V6(*ip).is_loopback(),
    }
}

pub(crate) fn certificates(pem: &str) -> reqwest::Result<Vec<reqwest::Certificate>> {
    reqwest::Certificate::from_pem_bundle(pem.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(base_url: &str, loopback: bool) -> Vec<String> {
        ClientConfig::new(base_url, Auth::none())
            .with_loopback_http(loopback)
            .problems()
            .into_iter()
            .map(|problem| problem.to_string())
            .collect()
    }

    #[test]
    fn s03_http_only_on_loopback_and_on_request() {
        for good in ["https://api.hubapi.com", "https://api.hubapi.com/", "https://host/prefix", "https://127.0.0.1:8"]
        {
            assert_eq!(problems(good, false), [""; 0], "{good}");
        }
        for local in ["http://127.0.0.1:4511", "http://localhost:80", "http://[::1]:4511", "http://127.9.9.9"] {
            assert_eq!(problems(local, true), [""; 0], "{local}");
            assert_eq!(problems(local, false).len(), 1, "{local}");
        }
        for bad in [
            "http://api.hubapi.com",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://10.0.0.1",
            "http://169.254.169.254",
            "http://0.0.0.0",
            "ftp://host",
            "file:///etc",
            "api.hubapi.com",
            "",
            "https://",
            "https://user:pass@host",
            "https://host/?token=1",
            "https://host/#x",
            "http://user@127.0.0.1",
        ] {
            assert_eq!(problems(bad, true).len(), 1, "{bad}");
        }
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let limits = Limits { total_ms: 0, ..Limits::default() };
        let config = ClientConfig::new("http://host", Auth::bearer(rsync_core::Secret::new("a\r\nb")))
            .with_limits(limits)
            .with_roots(Roots::Only("nothing".into()))
            .with_user_agent("a\nb");
        let at: Vec<String> = config.problems().into_iter().map(|problem| problem.at).collect();
        assert_eq!(at, ["base_url", "user_agent", "token", "limits.total_ms", "roots"]);
    }

    #[test]
    fn users_and_passwords_must_stand_in_a_header() {
        let at = |user: &str, password: &str| -> Vec<String> {
            let auth = Auth::basic(user, rsync_core::Secret::new(password));
            ClientConfig::new("https://host", auth).problems().into_iter().map(|problem| problem.at).collect()
        };
        assert!(at("site", "key").is_empty() && at("site", "").is_empty() && at("a b", "c:d").is_empty());
        for user in ["", "a:b", "a\n", "ä", "a\u{7f}"] {
            assert_eq!(at(user, "key"), ["user"], "{user:?}");
        }
        assert_eq!(at("site", "key\n"), ["password"]);
        assert_eq!(at("", "ä"), ["user", "password"]);
    }

    #[test]
    fn s01_credentials_in_the_base_url_are_not_shown() {
        let config = ClientConfig::new("https://user:canary@host", Auth::none());
        let error = config.base().unwrap_err();
        assert!(!format!("{config:?} {error} {error:?}").contains("canary"));
    }
}
