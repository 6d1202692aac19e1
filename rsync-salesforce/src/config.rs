//! Settings of the destination.

use std::fmt;
use std::sync::Arc;

use rsync_core::Secret;
use rsync_core::clock::{Clock, SystemClock};
use rsync_core::error::{Error, Kind, Problem, Result};
use rsync_http::reqwest::Url;
use rsync_http::{Auth, Client, ClientConfig, Limits, Roots, TokenSource, reqwest};
use serde::{Deserialize, Deserializer};

use crate::classify::session_ended;
use crate::client::Api;
use crate::destination::Salesforce;
use crate::object::is_api_name;
use crate::origin::{Hosts, is_host};
use crate::record_id;
use crate::token::{AssertionKey, Grant, Issuer};

const LOGIN: &str = "https://login.salesforce.com";
const TEST_LOGIN: &str = "https://test.salesforce.com";

/// The oldest version of the API whose answers are understood.
const OLDEST_VERSION: u16 = 60;
/// Largest answer of the token endpoint.
const TOKEN_ANSWER_MAX: usize = 64 << 10;

/// How the destination signs in: the OAuth flows for servers.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Credentials {
    /// With an assertion that the connected app's private key signs, for a user who has approved the app.
    JwtBearer {
        /// Consumer key of the app.
        client_id: String,
        /// The user to act for.
        username: String,
        /// Private RSA key, as PEM. The app knows its certificate.
        #[serde(deserialize_with = "secret")]
        private_key: Secret,
        /// Who the assertion is for. Default `https://login.salesforce.com`, or `https://test.salesforce.com` where the
        /// login URL is that of a sandbox.
        #[serde(default)]
        audience: Option<String>,
    },
    /// With the connected app's own secret, as the user that the app runs as. Needs the organization's own login URL
    /// (My Domain).
    ClientCredentials {
        /// Consumer key of the app.
        client_id: String,
        /// Consumer secret of the app.
        #[serde(deserialize_with = "secret")]
        client_secret: Secret,
    },
}

impl Credentials {
    /// A signed assertion, with the audience of the login URL.
    pub fn jwt_bearer(client_id: impl Into<String>, username: impl Into<String>, private_key: Secret) -> Self {
        Self::JwtBearer { client_id: client_id.into(), username: username.into(), private_key, audience: None }
    }

    /// The app's own secret.
    pub fn client_credentials(client_id: impl Into<String>, client_secret: Secret) -> Self {
        Self::ClientCredentials { client_id: client_id.into(), client_secret }
    }
}

/// Whether the organization's assignment rules act on the accounts, cases and leads that are written. Without a word
/// about it, Salesforce lets them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AutoAssign {
    /// They do not: owners stay as they are.
    #[default]
    Off,
    /// The active rule acts.
    On,
    /// The rule of this id acts.
    Rule(String),
}

impl AutoAssign {
    fn header(&self) -> &str {
        match self {
            AutoAssign::Off => "FALSE",
            AutoAssign::On => "TRUE",
            AutoAssign::Rule(id) => id,
        }
    }
}

/// What becomes of a record that one of the organization's duplicate rules finds alike to another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DuplicateRules {
    /// It is not saved: its row is rejected with `DUPLICATES_DETECTED`, also where the rule only alerts users.
    #[default]
    Reject,
    /// It is saved where the rule only alerts. A rule that blocks refuses it all the same.
    SaveAlerted,
}

/// Settings that can stand in a file. Unknown fields are refused.
///
/// The credentials may stand there too, but are better taken from the host's secret store and set with
/// [`Builder::credentials`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SalesforceConfig {
    /// How to sign in.
    pub credentials: Option<Credentials>,
    /// Where to sign in. Default `https://login.salesforce.com`; `https://test.salesforce.com` for sandboxes, or the
    /// organization's own address (My Domain).
    pub login_url: String,
    /// Hosts that tokens may be sent to besides those of Salesforce and of the login URL. The answer to a login names
    /// the host of the organization; one that is not known is an error.
    pub allowed_hosts: Vec<String>,
    /// Permits `http://` for addresses on this machine, for a simulator. Default false.
    pub allow_loopback_http: bool,
    /// Version of the API, 60 or later. Default 66.
    pub api_version: u16,
    /// Whether assignment rules act. Default [`AutoAssign::Off`].
    pub auto_assign: AutoAssign,
    /// What duplicate rules do. Default [`DuplicateRules::Reject`].
    pub duplicate_rules: DuplicateRules,
    /// Objects whose records can be pointed to by a key of their own instead of their id, such as `Account` for
    /// contacts: fields `Account.Ext__c` then stand beside `AccountId`, and `Account:What.Ext__c` beside a reference that
    /// leads to several objects. Default none; each costs one call more where an object that points to it is described.
    pub parents: Vec<String>,
    /// Sends up to 1,000 rows a call, as five collections in a composite request, where calls of a day are short. Default
    /// false. A row with the text `@{` then is rejected, since Salesforce reads it as a reference.
    pub composite: bool,
    /// Most calls open at once. Default 4: more of them lock each other's records.
    pub max_in_flight: usize,
    /// Limits of one exchange.
    pub limits: Limits,
    /// Further certificate authorities, as PEM, for a TLS-inspecting network.
    pub extra_root_ca_pem: Option<String>,
}

impl Default for SalesforceConfig {
    fn default() -> Self {
        Self {
            credentials: None,
            login_url: LOGIN.to_owned(),
            allowed_hosts: Vec::new(),
            allow_loopback_http: false,
            api_version: 66,
            auto_assign: AutoAssign::default(),
            duplicate_rules: DuplicateRules::default(),
            parents: Vec::new(),
            composite: false,
            max_in_flight: 4,
            limits: Limits::default(),
            extra_root_ca_pem: None,
        }
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

/// Puts a [`Salesforce`] together.
#[derive(Clone, Default)]
pub struct Builder {
    config: SalesforceConfig,
    token_source: Option<(Arc<dyn TokenSource>, String)>,
    http: Option<reqwest::Client>,
    clock: Option<Arc<dyn Clock>>,
}

impl Builder {
    pub(crate) fn new(config: SalesforceConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Sets how to sign in.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.config.credentials = Some(credentials);
        self
    }

    /// Takes tokens for the organization at `instance_url` from `source` instead of signing in.
    #[must_use]
    pub fn token_source(mut self, source: Arc<dyn TokenSource>, instance_url: impl Into<String>) -> Self {
        self.token_source = Some((source, instance_url.into()));
        self
    }

    /// Sets where to sign in.
    #[must_use]
    pub fn login_url(mut self, login_url: impl Into<String>) -> Self {
        self.config.login_url = login_url.into();
        self
    }

    /// Adds a host that tokens may be sent to; see [`SalesforceConfig::allowed_hosts`].
    #[must_use]
    pub fn allowed_host(mut self, host: impl Into<String>) -> Self {
        self.config.allowed_hosts.push(host.into());
        self
    }

    /// Permits `http://` for addresses on this machine.
    #[must_use]
    pub fn allow_loopback_http(mut self, allow: bool) -> Self {
        self.config.allow_loopback_http = allow;
        self
    }

    /// Sets the version of the API.
    #[must_use]
    pub fn api_version(mut self, version: u16) -> Self {
        self.config.api_version = version;
        self
    }

    /// Sets whether assignment rules act.
    #[must_use]
    pub fn auto_assign(mut self, auto_assign: AutoAssign) -> Self {
        self.config.auto_assign = auto_assign;
        self
    }

    /// Sets what duplicate rules do.
    #[must_use]
    pub fn duplicate_rules(mut self, duplicate_rules: DuplicateRules) -> Self {
        self.config.duplicate_rules = duplicate_rules;
        self
    }

    /// Lets records of `object` be pointed to by their keys; see [`SalesforceConfig::parents`].
    #[must_use]
    pub fn parent(mut self, object: impl Into<String>) -> Self {
        self.config.parents.push(object.into());
        self
    }

    /// Sends up to 1,000 rows a call; see [`SalesforceConfig::composite`].
    #[must_use]
    pub fn composite(mut self, composite: bool) -> Self {
        self.config.composite = composite;
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
    /// # use rsync_salesforce::Salesforce;
    /// let error = Salesforce::builder().login_url("http://login.salesforce.com").api_version(42).build().unwrap_err();
    /// let at: Vec<&str> = error.problems().iter().map(|problem| problem.at.as_str()).collect();
    /// assert_eq!(at, ["login_url", "credentials", "api_version"]);
    /// ```
    pub fn build(self) -> Result<Salesforce> {
        let mut problems = Vec::new();
        let grant = self.grant(&mut problems);
        let (base, auth) = match &self.token_source {
            Some((source, instance_url)) => (instance_url.as_str(), Auth::renewable(Arc::clone(source))),
            None => (self.config.login_url.as_str(), Auth::none()),
        };
        let client = self.client(base, auth);
        let mut all = client.problems();
        for problem in &mut all {
            match problem.at.as_str() {
                "base_url" if self.token_source.is_some() => problem.at = "instance_url".to_owned(),
                "base_url" => problem.at = "login_url".to_owned(),
                "roots" => problem.at = "extra_root_ca_pem".to_owned(),
                _ => {}
            }
        }
        all.append(&mut problems);
        self.problems(&mut all);
        Error::from_problems(Kind::InvalidConfig, "build the Salesforce destination", all)?;

        let config = &self.config;
        let (client, issuer) = match grant {
            Some(grant) => {
                let mut limits = config.limits;
                limits.body_bytes = limits.body_bytes.min(TOKEN_ANSWER_MAX);
                let login = Client::new(client.with_limits(limits))?;
                let hosts = Hosts::new(&config.login_url, &config.allowed_hosts, config.allow_loopback_http);
                let issuer = Arc::new(Issuer::new(login, grant, hosts, self.time()));
                let tokens = Arc::clone(&issuer) as Arc<dyn TokenSource>;
                (self.client(&config.login_url, Auth::renewable(tokens)), Some(issuer))
            }
            None => (client, None),
        };
        let client = Client::new(client.with_renewal(session_ended))?;
        let saves_alerted = config.duplicate_rules == DuplicateRules::SaveAlerted;
        let api = Api::new(client, config.api_version, config.auto_assign.header().to_owned(), saves_alerted);
        Ok(Salesforce::new(api, issuer, config))
    }

    fn time(&self) -> Arc<dyn Clock> {
        self.clock.clone().unwrap_or_else(|| Arc::new(SystemClock::new()))
    }

    fn client(&self, base_url: &str, auth: Auth) -> ClientConfig {
        let config = &self.config;
        let mut client = ClientConfig::new(base_url, auth)
            .with_loopback_http(config.allow_loopback_http)
            .with_limits(config.limits)
            .with_user_agent(concat!("rsync-salesforce/", env!("CARGO_PKG_VERSION")))
            .with_clock(self.time());
        if let Some(pem) = &config.extra_root_ca_pem {
            client = client.with_roots(Roots::SystemAnd(pem.clone()));
        }
        if let Some(http) = &self.http {
            client = client.with_http(http.clone());
        }
        client
    }

    /// What to sign in with; `None` where the host brings tokens, or where there is a problem.
    fn grant(&self, problems: &mut Vec<Problem>) -> Option<Grant> {
        let credentials = match (&self.config.credentials, &self.token_source) {
            (Some(credentials), None) => credentials,
            (None, Some(_)) => return None,
            (None, None) => {
                let fix = "give a key or a secret to sign in with, or a token source";
                problems.push(Problem::new("credentials", "are missing", fix));
                return None;
            }
            (Some(_), Some(_)) => {
                problems.push(Problem::new("credentials", "are given beside a token source", "give one of the two"));
                return None;
            }
        };
        let mut set = |at: &str, value: &str| {
            if value.trim().is_empty() || value.trim() != value {
                let cause = "is empty or has white space around it";
                problems.push(Problem::new(format!("credentials.{at}"), cause, "give the value alone"));
            }
        };
        match credentials {
            Credentials::JwtBearer { client_id, username, private_key, audience } => {
                set("client_id", client_id);
                set("username", username);
                let Some(key) = AssertionKey::read(private_key) else {
                    let cause = "is no private RSA key that can sign";
                    let fix = "give the key that belongs to the app's certificate, as PEM: -----BEGIN PRIVATE KEY-----";
                    problems.push(Problem::new("credentials.private_key", cause, fix));
                    return None;
                };
                let audience = audience.clone().unwrap_or_else(|| audience_of(&self.config.login_url).to_owned());
                Some(Grant::JwtBearer { client_id: client_id.clone(), username: username.clone(), audience, key })
            }
            Credentials::ClientCredentials { client_id, client_secret } => {
                set("client_id", client_id);
                set("client_secret", client_secret.expose());
                if [LOGIN, TEST_LOGIN].contains(&self.config.login_url.trim_end_matches('/')) {
                    let cause = "is shared by all organizations, and serves no client credentials";
                    let fix = "use the organization's own address: https://<name>.my.salesforce.com";
                    problems.push(Problem::new("login_url", cause, fix));
                }
                Some(Grant::ClientCredentials { client_id: client_id.clone(), client_secret: client_secret.clone() })
            }
        }
    }

    fn problems(&self, problems: &mut Vec<Problem>) {
        let config = &self.config;
        let mut report = |at: &str, cause: &str, fix: &str| problems.push(Problem::new(at, cause, fix));
        if config.api_version < OLDEST_VERSION {
            report("api_version", "is too old", "use 60 (Spring '24) or later, or leave it out");
        }
        if let AutoAssign::Rule(id) = &config.auto_assign
            && record_id::canonical(id).is_none()
        {
            report("auto_assign.rule", "is no record id", "give the id of an assignment rule, 15 or 18 characters");
        }
        if config.parents.iter().any(|name| !is_api_name(name)) {
            report("parents", "holds more than API names of objects", "use names such as Account or Invoice__c");
        }
        if config.max_in_flight == 0 {
            report("max_in_flight", "0 would never send anything", "use 1 or more");
        }
        if config.allowed_hosts.iter().any(|host| !is_host(host)) {
            report("allowed_hosts", "holds more than host names", "give names alone, such as crm.example.com");
        }
    }
}

/// Sandboxes have an audience of their own.
fn audience_of(login_url: &str) -> &'static str {
    let host = Url::parse(login_url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    if host == "test.salesforce.com" || host.contains(".sandbox.") { TEST_LOGIN } else { LOGIN }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
