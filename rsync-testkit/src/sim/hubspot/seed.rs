//! What a portal is made of at the start, as data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::definition::{Definition, NAME_RULE, is_property_name};
use super::lists::ListProcessing;
use super::object_type::STANDARD_OBJECTS;
use crate::sim::SimError;

/// Token of the default seed. Test data: it opens nothing but a simulator.
pub const DEFAULT_TOKEN: &str = "pat-na1-simulator";

/// Initial state of a portal.
///
/// ```
/// # use rsync_testkit::sim::hubspot::Seed;
/// let seed = Seed::from_json(r#"{"portal_id": 4511, "rate_limits": {"tier": "enterprise"},
///  "tokens": [{"token": "pat-na1-test", "scopes": ["crm.objects.contacts.read", "crm.objects.contacts.write"]}],
///  "properties": {"contacts": [{"name": "external_id", "label": "External id", "type": "string",
///                               "field_type": "text", "has_unique_value": true}]},
///  "records": {"contacts": [{"email": "ada@example.com", "external_id": "a-1"}]}}"#)?;
/// assert_eq!(seed.records["contacts"].len(), 1);
/// # Ok::<(), rsync_testkit::sim::SimError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Seed {
    /// Portal (account) number.
    pub portal_id: u64,
    /// IANA time zone of the portal: its midnight resets the daily limit.
    pub time_zone: String,
    /// Request limits.
    pub rate_limits: RateLimits,
    /// Tokens that are accepted, with their scopes.
    pub tokens: Vec<TokenSeed>,
    /// OAuth clients whose refresh token is accepted.
    pub oauth_clients: Vec<OauthClientSeed>,
    /// Ids accepted by properties that refer to owners.
    pub owners: Vec<String>,
    /// Properties added to standard objects, by plural object name.
    pub properties: BTreeMap<String, Vec<PropertySeed>>,
    /// Custom objects.
    pub custom_objects: Vec<CustomObjectSeed>,
    /// Properties an administrator made required on creation, by plural object name. Enforced by version 2026-09.
    pub required_on_create: BTreeMap<String, Vec<String>>,
    /// Records present at the start, by plural name (custom objects: their bare name).
    pub records: BTreeMap<String, Vec<BTreeMap<String, String>>>,
    /// Labels of associations that users made.
    pub association_labels: Vec<AssociationLabelSeed>,
    /// Lists present at the start, without members.
    pub lists: Vec<ListSeed>,
    /// Subscriptions that people can have.
    pub subscriptions: Vec<SubscriptionSeed>,
    /// Whether the portal has data privacy settings on, so that version 3 of the communication preferences asks for a
    /// legal basis.
    pub needs_legal_basis: bool,
    /// First record id of every object type. Ids of different types collide on purpose, as on the real service.
    pub first_record_id: u64,
    /// Seed of result order and correlation ids.
    pub random_seed: u64,
}

impl Default for Seed {
    fn default() -> Self {
        Self {
            portal_id: 4_511,
            time_zone: "US/Eastern".to_owned(),
            rate_limits: RateLimits::default(),
            tokens: vec![TokenSeed { token: DEFAULT_TOKEN.to_owned(), scopes: all_scopes(), expires_at_ms: None }],
            oauth_clients: Vec::new(),
            owners: vec!["1001".to_owned()],
            properties: BTreeMap::new(),
            custom_objects: Vec::new(),
            required_on_create: BTreeMap::new(),
            records: BTreeMap::new(),
            association_labels: Vec::new(),
            lists: Vec::new(),
            subscriptions: vec![SubscriptionSeed::new(101, "Marketing"), SubscriptionSeed::new(102, "Newsletter")],
            needs_legal_basis: false,
            first_record_id: 171_591_000_001,
            random_seed: 1,
        }
    }
}

/// Every scope the simulated endpoints ask for.
pub fn all_scopes() -> Vec<String> {
    let mut scopes = vec!["oauth".to_owned(), "tickets".to_owned()];
    for object in ["contacts", "companies", "deals", "products", "custom"] {
        for what in ["objects", "schemas"] {
            for access in ["read", "write"] {
                scopes.push(format!("crm.{what}.{object}.{access}"));
            }
        }
    }
    let further = [
        "crm.lists.read",
        "crm.lists.write",
        "communication_preferences.read",
        "communication_preferences.write",
        "communication_preferences.read_write",
        "communication_preferences.statuses.batch.read",
        "communication_preferences.statuses.batch.write",
    ];
    scopes.extend(further.map(str::to_owned));
    scopes
}

/// A label of associations, which a user made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssociationLabelSeed {
    /// Object on the one side, by plural name.
    pub from: String,
    /// Object on the other side, by plural name.
    pub to: String,
    /// Label as seen from the one side.
    pub label: String,
    /// Label as seen from the other side; the same when absent.
    #[serde(default)]
    pub inverse_label: Option<String>,
}

/// A list without members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListSeed {
    /// Name, unique in the portal.
    pub name: String,
    /// Object whose records it lists, by plural name.
    pub object: String,
    /// How it gets its members.
    pub processing: ListProcessing,
}

/// A kind of messages that people can subscribe to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionSeed {
    /// Number.
    pub id: u64,
    /// Name.
    pub name: String,
    /// Description.
    #[serde(default)]
    pub description: String,
}

impl SubscriptionSeed {
    /// A subscription without a description.
    pub fn new(id: u64, name: impl Into<String>) -> Self {
        Self { id, name: name.into(), description: String::new() }
    }
}

/// A token and what it may do.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSeed {
    /// The bearer token.
    pub token: String,
    /// Granted scopes.
    pub scopes: Vec<String>,
    /// Time of expiry in epoch milliseconds; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<i64>,
}

impl fmt::Debug for TokenSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSeed")
            .field("token", &"[redacted]")
            .field("scopes", &self.scopes)
            .field("expires_at_ms", &self.expires_at_ms)
            .finish()
    }
}

/// An OAuth app installed in the portal.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OauthClientSeed {
    /// Client id.
    pub client_id: String,
    /// Client secret.
    pub client_secret: String,
    /// Refresh token of this portal.
    pub refresh_token: String,
    /// Scopes of the access tokens it gives.
    pub scopes: Vec<String>,
}

impl fmt::Debug for OauthClientSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthClientSeed")
            .field("client_id", &self.client_id)
            .field("client_secret", &"[redacted]")
            .field("refresh_token", &"[redacted]")
            .field("scopes", &self.scopes)
            .finish()
    }
}

/// Request limits of a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RateLimits {
    /// The published limits of a subscription tier.
    Tier(Tier),
    /// Numbers of one's own. An absent one is not enforced.
    Explicit {
        /// Requests per token in any ten seconds, search excluded.
        #[serde(default)]
        per_ten_seconds: Option<u64>,
        /// Requests per portal and day, search included.
        #[serde(default)]
        per_day: Option<u64>,
        /// Search requests per portal in any second.
        #[serde(default)]
        search_per_second: Option<u64>,
    },
    /// No limits, and no limit headers.
    Unlimited,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self::Tier(Tier::Starter)
    }
}

/// Subscription tiers with different limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Free and Starter: 100 per ten seconds, 250,000 a day.
    Starter,
    /// Professional: 190 per ten seconds, 625,000 a day.
    Professional,
    /// Enterprise: 190 per ten seconds, 1,000,000 a day.
    Enterprise,
    /// An OAuth app from the marketplace: 110 per ten seconds, no stated daily limit.
    Marketplace,
}

/// A property definition in a seed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PropertySeed {
    /// Internal name.
    pub name: String,
    /// Label; the name when absent.
    #[serde(default)]
    pub label: Option<String>,
    /// Data type: `string`, `number`, `bool`, `enumeration`, `date`, `datetime`, `phone_number`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Form field type, for example `text`, `number`, `select`, `checkbox`, `date`.
    pub field_type: String,
    /// Internal values of the options of an enumeration, in order.
    #[serde(default)]
    pub options: Vec<String>,
    /// Whether a value may occur once only, which makes the property usable as a key.
    #[serde(default)]
    pub has_unique_value: bool,
    /// Whether the service computes the value.
    #[serde(default)]
    pub calculated: bool,
    /// Whether values cannot be written.
    #[serde(default)]
    pub read_only_value: bool,
    /// Whether a list or workflow uses the property, so that it cannot be archived.
    #[serde(default)]
    pub in_use: bool,
}

impl PropertySeed {
    /// A plain text property.
    pub fn text(name: impl Into<String>) -> Self {
        Self::of(name, "string", "text")
    }

    /// A text property whose values are unique: a key for upserts.
    pub fn unique_text(name: impl Into<String>) -> Self {
        Self { has_unique_value: true, ..Self::text(name) }
    }

    /// A property of this `type` and `fieldType`.
    pub fn of(name: impl Into<String>, kind: impl Into<String>, field_type: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            label: None,
            kind: kind.into(),
            field_type: field_type.into(),
            options: Vec::new(),
            has_unique_value: false,
            calculated: false,
            read_only_value: false,
            in_use: false,
        }
    }

    /// An enumeration: `field_type` is `select`, `radio` or `checkbox` (several values).
    pub fn options<'a>(
        name: impl Into<String>,
        field_type: impl Into<String>,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let options = values.into_iter().map(str::to_owned).collect();
        Self { options, ..Self::of(name, "enumeration", field_type) }
    }
}

/// A custom object in a seed. Its type id and fully qualified name follow from its position and the portal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomObjectSeed {
    /// Bare name, for example `cars`.
    pub name: String,
    /// The `n` of the type id `2-n`.
    pub type_number: u32,
    /// Properties.
    #[serde(default)]
    pub properties: Vec<PropertySeed>,
    /// Properties that creation must set.
    #[serde(default)]
    pub required_properties: Vec<String>,
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

    /// Checks the seed as far as it can be checked without building the portal.
    ///
    /// # Errors
    /// [`SimError::Invalid`] with all problems and their field paths.
    pub fn check(&self) -> Result<(), SimError> {
        let mut problems = Vec::new();
        if self.time_zone.parse::<chrono_tz::Tz>().is_err() {
            problems.push(format!(
                "time_zone: {:?} is no IANA time zone; use a name such as US/Eastern or Europe/Berlin",
                self.time_zone
            ));
        }
        let customs: BTreeSet<&str> = self.custom_objects.iter().map(|c| c.name.as_str()).collect();
        for (object, properties) in &self.properties {
            if !is_standard(object) {
                problems.push(format!(
                    "properties.{object}: no standard object of that plural name; use {}, or custom_objects",
                    standard_names()
                ));
            }
            check_properties(&format!("properties.{object}"), properties, &mut problems);
        }
        for object in self.required_on_create.keys() {
            if !is_standard(object) && !customs.contains(object.as_str()) {
                problems.push(format!(
                    "required_on_create.{object}: no such object; use {} or a custom object's name",
                    standard_names()
                ));
            }
        }
        for (i, custom) in self.custom_objects.iter().enumerate() {
            let at = format!("custom_objects[{i}]");
            if is_standard(&custom.name) || self.custom_objects[..i].iter().any(|c| c.name == custom.name) {
                problems.push(format!("{at}.name: {:?} is taken; use another name", custom.name));
            }
            if self.custom_objects[..i].iter().any(|c| c.type_number == custom.type_number) {
                problems.push(format!("{at}.type_number: {} is taken; use another number", custom.type_number));
            }
            check_properties(&format!("{at}.properties"), &custom.properties, &mut problems);
        }
        if problems.is_empty() { Ok(()) } else { Err(SimError::Invalid { what: "seed", problems }) }
    }
}

fn is_standard(plural: &str) -> bool {
    STANDARD_OBJECTS.iter().any(|o| o.plural == plural)
}

fn standard_names() -> String {
    STANDARD_OBJECTS.iter().map(|o| o.plural).collect::<Vec<_>>().join(", ")
}

fn check_properties(at: &str, properties: &[PropertySeed], problems: &mut Vec<String>) {
    for (i, property) in properties.iter().enumerate() {
        if !is_property_name(&property.name) {
            problems.push(format!("{at}[{i}].name: {:?} is no property name; {NAME_RULE}", property.name));
        }
        if let Err(problem) = Definition::from_seed(property) {
            problems.push(format!("{at}[{i}]: {problem}"));
        }
    }
}
