//! Initial state of a workspace, as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::identifier::{is_e164, is_email};
use crate::sim::SimError;

/// Initial state of a workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Seed {
    /// User name of the Track API.
    pub site_id: String,
    /// Password of the Track API.
    pub api_key: String,
    /// Bearer token of the App API.
    pub app_api_key: String,
    /// Number of the workspace.
    pub environment_id: u64,
    /// Where the account lives.
    pub region: Region,
    /// Which region's host the simulator plays; the account's own when absent.
    pub host_region: Option<Region>,
    /// What identifies a person.
    pub mode: WorkspaceMode,
    /// Whether a call that names a person by `id` may change their email address.
    pub allow_email_update_by_id: bool,
    /// Whether phone numbers identify people too.
    pub phone_enabled: bool,
    /// People.
    pub people: Vec<PersonSeed>,
    /// Segments, numbered from 1.
    pub segments: Vec<SegmentSeed>,
    /// Subscription topics.
    pub topics: Vec<TopicSeed>,
    /// Request limits.
    pub rate_limits: RateLimits,
    /// Seed of generated ids and of the order of application.
    pub random_seed: u64,
}

impl Default for Seed {
    fn default() -> Self {
        Self {
            site_id: "5e1f0c0ffee5e1f0c0de".to_owned(),
            api_key: "7a11ab1e7a11ab1e7a11".to_owned(),
            app_api_key: "a99c0de5a99c0de5a99c0de5a99c0de5".to_owned(),
            environment_id: 3,
            region: Region::default(),
            host_region: None,
            mode: WorkspaceMode::default(),
            allow_email_update_by_id: false,
            phone_enabled: false,
            people: Vec::new(),
            segments: Vec::new(),
            topics: Vec::new(),
            rate_limits: RateLimits::default(),
            random_seed: 1,
        }
    }
}

/// Where an account's data lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Region {
    /// United States.
    #[default]
    Us,
    /// European Union.
    Eu,
}

impl Region {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::Eu => "eu",
        }
    }

    pub(crate) fn track_url(self) -> &'static str {
        match self {
            Self::Us => "https://track.customer.io",
            Self::Eu => "https://track-eu.customer.io",
        }
    }
}

/// What identifies a person in a workspace, beside the `cio_id` that everybody has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceMode {
    /// `id` and `email`: the form of new workspaces.
    #[default]
    EmailOrId,
    /// `id` only; `email` is an attribute like any other.
    IdOnly,
}

/// Request limits of a workspace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateLimits {
    /// Track 3,000 requests in three seconds, App 10 a second.
    #[default]
    Documented,
    /// Limits of one's own; an absent one does not limit.
    Explicit {
        /// Track requests in any three seconds.
        #[serde(default)]
        track_per_three_seconds: Option<u64>,
        /// App requests in any second.
        #[serde(default)]
        app_per_second: Option<u64>,
    },
    /// No limits.
    Unlimited,
}

/// A person of a seed. At least one of `id`, `email` and `phone` must be there and identify people in the workspace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PersonSeed {
    /// The `id`.
    pub id: Option<String>,
    /// The email address.
    pub email: Option<String>,
    /// The phone number, E.164.
    pub phone: Option<String>,
    /// Further attributes.
    pub attributes: BTreeMap<String, Value>,
}

/// A segment of a seed: with a filter a data-driven one, otherwise one that is kept by hand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SegmentSeed {
    /// Name.
    pub name: String,
    /// Description.
    pub description: String,
    /// Condition, as the search of people spells it: `{"attribute":{"field":"plan","operator":"eq","value":"pro"}}`.
    pub filter: Option<Value>,
}

impl SegmentSeed {
    /// A segment that is kept by hand.
    pub fn manual(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// A data-driven segment.
    pub fn dynamic(name: impl Into<String>, filter: Value) -> Self {
        Self { name: name.into(), filter: Some(filter), ..Self::default() }
    }
}

/// A subscription topic of a seed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicSeed {
    /// Number; `topic_<id>` is the topic's name in preferences.
    pub id: u64,
    /// Name.
    pub name: String,
    /// Whether people who chose nothing are subscribed.
    #[serde(default)]
    pub subscribed_by_default: bool,
}

impl TopicSeed {
    pub(crate) fn identifier(&self) -> String {
        format!("topic_{}", self.id)
    }

    pub(crate) fn to_json(&self) -> Value {
        serde_json::json!({
            "id": self.id,
            "identifier": self.identifier(),
            "name": self.name,
            "description": "",
            "subscribed_by_default": self.subscribed_by_default,
        })
    }
}

impl PersonSeed {
    /// A person with this `id`.
    pub fn with_id(id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..Self::default() }
    }

    /// A person with this email address.
    pub fn with_email(email: impl Into<String>) -> Self {
        Self { email: Some(email.into()), ..Self::default() }
    }

    /// Sets the email address.
    #[must_use]
    pub fn email(mut self, email: impl Into<String>) -> Self {
        self.email = Some(email.into());
        self
    }

    /// Sets an attribute.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }
}

impl Seed {
    /// Reads a seed from JSON and checks it.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when the text is no seed or contradicts itself.
    pub fn from_json(text: &str) -> Result<Self, SimError> {
        let seed: Self = serde_json::from_str(text).map_err(|e| SimError::Invalid {
            what: "seed",
            problems: vec![format!("{e}; see the field names of Seed")],
        })?;
        seed.check()?;
        Ok(seed)
    }

    /// Checks the seed as far as it can be checked without building the workspace.
    ///
    /// # Errors
    /// [`SimError::Invalid`] with all problems and their field paths.
    pub fn check(&self) -> Result<(), SimError> {
        let mut problems = Vec::new();
        for (name, value) in
            [("site_id", &self.site_id), ("api_key", &self.api_key), ("app_api_key", &self.app_api_key)]
        {
            if value.is_empty() || value.contains(':') || !value.bytes().all(|b| b.is_ascii_graphic()) {
                problems.push(format!("{name}: no usable credential; give visible ASCII without a colon"));
            }
        }
        for (i, person) in self.people.iter().enumerate() {
            self.check_person(&format!("people[{i}]"), person, &mut problems);
        }
        if problems.is_empty() { Ok(()) } else { Err(SimError::Invalid { what: "seed", problems }) }
    }

    pub(crate) fn check_person(&self, at: &str, person: &PersonSeed, problems: &mut Vec<String>) {
        let by_email = person.email.is_some() && self.mode == WorkspaceMode::EmailOrId;
        let by_phone = person.phone.is_some() && self.phone_enabled;
        if person.id.is_none() && !by_email && !by_phone {
            problems.push(format!("{at}: nothing identifies this person in the workspace; give an id"));
        }
        if by_email && !person.email.as_deref().is_some_and(is_email) {
            problems.push(format!("{at}.email: not an email address; give one of the form name@example.com"));
        }
        if by_phone && !person.phone.as_deref().is_some_and(is_e164) {
            problems.push(format!("{at}.phone: not an E.164 number; give one of the form +15550100"));
        }
        for name in ["id", "email", "phone", "cio_id"] {
            if person.attributes.contains_key(name) {
                problems.push(format!("{at}.attributes.{name}: not set here; use the person's own field"));
            }
        }
    }
}
