//! Fault plans: data that says which request goes wrong and how.
//!
//! A plan is ordered rules. Every rule counts the requests it matches, also those on which another rule acted, so a
//! rule's `nth` does not depend on its neighbours. Of the rules that are due on a request, delays add up, and the first
//! other action is taken. Each rule counts how often it fired: a test asserts on that, since a fault that never
//! happened proves nothing.
//!
//! ```
//! # use rsync_testkit::sim::fault::{FaultAction, FaultPlan, FaultRule, Processing, Requests};
//! let written = FaultPlan::from_json(r#"{"rules": [
//!     {"name": "ambiguous write", "match": {"path_ends_with": "/batch/upsert", "requests": {"nth": 2}},
//!      "action": {"reset_connection": {"processing": "applied"}}},
//!     {"match": {"method": "POST", "requests": {"first": 3}},
//!      "action": {"respond": {"status": 429, "headers": {"Retry-After": "1"}}}}
//! ]}"#)?;
//! let built = FaultPlan::new([
//!     FaultRule::new(FaultAction::ResetConnection { processing: Processing::Applied })
//!         .named("ambiguous write")
//!         .on_path_ending("/batch/upsert")
//!         .on_requests(Requests::Nth(2)),
//!     FaultRule::new(FaultAction::status_retry_after(429, 1)).on_method("POST").on_requests(Requests::First(3)),
//! ]);
//! assert_eq!(written, built);
//! # Ok::<(), rsync_testkit::sim::SimError>(())
//! ```

mod apply;
mod board;

use std::collections::BTreeMap;

use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};

pub(crate) use apply::{Decision, Outcome, finish};
pub use board::{FaultReport, Faults};

use super::SimError;

/// Ordered fault rules.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// Rules in order of precedence.
    #[serde(default)]
    pub rules: Vec<FaultRule>,
}

/// One rule: when, and what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// Name in reports; `rule N` (from 0) when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which requests.
    #[serde(rename = "match", default)]
    pub on: FaultMatch,
    /// What happens to them.
    pub action: FaultAction,
}

/// Which requests a rule is about. Absent parts match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultMatch {
    /// HTTP method, in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Text that the path (without query) contains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_contains: Option<String>,
    /// Text that the path (without query) ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_ends_with: Option<String>,
    /// Which of the requests that match the parts above.
    #[serde(default)]
    pub requests: Requests,
}

/// Selection among matching requests, counted from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Requests {
    /// Every one.
    #[default]
    All,
    /// Only the nth.
    Nth(u64),
    /// The nth, 2nth, 3nth ...
    EveryNth(u64),
    /// The first n.
    First(u64),
}

impl Requests {
    fn selects(self, ordinal: u64) -> bool {
        match self {
            Self::All => true,
            Self::Nth(n) => ordinal == n,
            Self::EveryNth(n) => n != 0 && ordinal.is_multiple_of(n),
            Self::First(n) => ordinal <= n,
        }
    }
}

/// Whether the service does what the request asks before the fault happens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Processing {
    /// The request has no effect.
    #[default]
    NotApplied,
    /// The request takes effect although the client is told something else: an ambiguous write.
    Applied,
}

/// Which entries of a batch answer are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropEntries {
    /// All of them: an empty success.
    All,
    /// The first n.
    First(usize),
    /// The nth, 2nth, 3nth ...
    EveryNth(usize),
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultAction {
    /// Answers with a status. Without `body`, the simulated service's own body for that status is used.
    Respond {
        /// HTTP status.
        status: u16,
        /// Body text, sent as JSON.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// Extra headers, for example `Retry-After`.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
        /// Whether the request takes effect.
        #[serde(default)]
        processing: Processing,
    },
    /// Answers with a page as a proxy in front of the service would.
    HtmlPage {
        /// HTTP status.
        status: u16,
        /// Whether the request takes effect.
        #[serde(default)]
        processing: Processing,
    },
    /// Resets the connection without an answer.
    ResetConnection {
        /// Whether the request takes effect.
        #[serde(default)]
        processing: Processing,
    },
    /// Applies the request, sends the head and the first bytes of the body, then breaks the connection.
    ResetMidBody {
        /// Body bytes sent before the break.
        after_bytes: usize,
    },
    /// Applies the request and sends a complete HTTP answer whose JSON stops early.
    TruncateBody {
        /// Body bytes kept, but never all of them.
        keep_bytes: usize,
    },
    /// Waits before the request is applied. It is applied even if the client has gone by then, as on a real server.
    DelayBefore {
        /// Milliseconds.
        delay_ms: u64,
    },
    /// Applies the request, then waits before answering.
    DelayAfter {
        /// Milliseconds.
        delay_ms: u64,
    },
    /// Applies the request and sends the answer in small pieces.
    SlowDrip {
        /// Bytes per piece.
        chunk_bytes: usize,
        /// Milliseconds between pieces.
        interval_ms: u64,
    },
    /// Never answers, until the client or the simulator goes.
    Hold {
        /// Whether the request takes effect.
        #[serde(default)]
        processing: Processing,
    },
    /// Redirects. The request has no effect here.
    Redirect {
        /// A 3xx status.
        status: u16,
        /// Value of `Location`.
        location: String,
    },
    /// Answers with no body at all.
    EmptyBody {
        /// HTTP status, 200 for a success that says nothing.
        status: u16,
        /// Whether the request takes effect.
        #[serde(default)]
        processing: Processing,
    },
    /// Applies the request and leaves entries out of the answer's `results`, or out of the answer if it is a list.
    DropResults {
        /// Which entries.
        entries: DropEntries,
    },
}

impl FaultAction {
    /// Answers `status` with the service's own body; the request has no effect.
    pub fn status(status: u16) -> Self {
        Self::Respond { status, body: None, headers: BTreeMap::new(), processing: Processing::NotApplied }
    }

    /// As [`FaultAction::status`], with `Retry-After` in seconds.
    pub fn status_retry_after(status: u16, seconds: u64) -> Self {
        let headers = BTreeMap::from([("Retry-After".to_owned(), seconds.to_string())]);
        Self::Respond { status, body: None, headers, processing: Processing::NotApplied }
    }

    /// Answers `status` although the request took effect.
    pub fn status_after_applying(status: u16) -> Self {
        Self::Respond { status, body: None, headers: BTreeMap::new(), processing: Processing::Applied }
    }

    fn is_delay(&self) -> bool {
        matches!(self, Self::DelayBefore { .. } | Self::DelayAfter { .. })
    }

    fn problems(&self, at: &str, problems: &mut Vec<String>) {
        if let Self::Respond { status, .. }
        | Self::HtmlPage { status, .. }
        | Self::EmptyBody { status, .. }
        | Self::Redirect { status, .. } = self
        {
            // 1xx answers are not final ones: hyper would treat them as informational and the client would wait on.
            if StatusCode::from_u16(*status).is_err() || *status < 200 {
                problems.push(format!("{at}.status: {status} is no final HTTP status; use 200 to 599"));
            }
        }
        match self {
            Self::Respond { headers, .. } => {
                for (name, value) in headers {
                    if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
                        problems.push(format!("{at}.headers.{name}: not a valid header; use visible ASCII"));
                    }
                }
            }
            Self::Redirect { status, location } => {
                if !(300..400).contains(status) {
                    problems.push(format!("{at}.status: {status} is no redirect; use 301, 302, 303, 307 or 308"));
                }
                if HeaderValue::from_str(location).is_err() {
                    problems.push(format!("{at}.location: not a valid header value; use visible ASCII"));
                }
            }
            Self::SlowDrip { chunk_bytes: 0, .. } => {
                problems.push(format!("{at}.chunk_bytes: 0 would never finish; use 1 or more"));
            }
            _ => {}
        }
    }
}

impl FaultRule {
    /// A rule that acts on every request; narrow it with the methods below.
    pub fn new(action: FaultAction) -> Self {
        Self { name: None, on: FaultMatch::default(), action }
    }

    /// Sets the name used in reports.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Only requests of this method.
    #[must_use]
    pub fn on_method(mut self, method: impl Into<String>) -> Self {
        self.on.method = Some(method.into());
        self
    }

    /// Only requests whose path contains this text.
    #[must_use]
    pub fn on_path_containing(mut self, part: impl Into<String>) -> Self {
        self.on.path_contains = Some(part.into());
        self
    }

    /// Only requests whose path ends with this text.
    #[must_use]
    pub fn on_path_ending(mut self, end: impl Into<String>) -> Self {
        self.on.path_ends_with = Some(end.into());
        self
    }

    /// Only some of the matching requests.
    #[must_use]
    pub fn on_requests(mut self, requests: Requests) -> Self {
        self.on.requests = requests;
        self
    }
}

impl FaultPlan {
    /// A plan of these rules.
    pub fn new(rules: impl IntoIterator<Item = FaultRule>) -> Self {
        Self { rules: rules.into_iter().collect() }
    }

    /// Reads a plan from JSON and checks it.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when the text is no plan, or a rule cannot work.
    pub fn from_json(text: &str) -> Result<Self, SimError> {
        let plan: Self = serde_json::from_str(text).map_err(|e| SimError::Invalid {
            what: "fault plan",
            problems: vec![format!("{e}; see the field names of FaultPlan")],
        })?;
        plan.check()?;
        Ok(plan)
    }

    /// Checks that every rule can work.
    ///
    /// # Errors
    /// [`SimError::Invalid`] with all problems and their field paths.
    pub fn check(&self) -> Result<(), SimError> {
        let mut problems = Vec::new();
        for (i, rule) in self.rules.iter().enumerate() {
            if let Some(method) = &rule.on.method
                && method.parse::<Method>().is_err()
            {
                problems.push(format!("rules[{i}].match.method: {method:?} is no HTTP method; use GET, POST ..."));
            }
            if let Requests::Nth(0) | Requests::EveryNth(0) | Requests::First(0) = rule.on.requests {
                problems
                    .push(format!("rules[{i}].match.requests: requests count from 1, so 0 never fires; use 1 or more"));
            }
            rule.action.problems(&format!("rules[{i}].action"), &mut problems);
        }
        if problems.is_empty() { Ok(()) } else { Err(SimError::Invalid { what: "fault plan", problems }) }
    }
}
