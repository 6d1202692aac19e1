//! What an organization is made of at the start, as data.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bulk::{BulkSettings, JobFault};
use super::field::{Field, is_api_name};
use super::id;
use super::rules::{AssignmentRule, DuplicateRule, ValidationRule};
use super::standard;
use crate::sim::SimError;

/// Initial state of an organization.
///
/// ```
/// # use rsync_testkit::sim::salesforce::Seed;
/// let seed = Seed::from_json(r#"{"api_limit": 100000,
///  "fields": {"Contact": [{"name": "Ext__c", "type": "string", "external_id": true, "unique": true}]},
///  "objects": [{"name": "Plan__c", "key_prefix": "a01",
///               "fields": [{"name": "Price__c", "type": "currency"}]}],
///  "records": {"Contact": [{"LastName": "Lovelace", "Ext__c": "c-1"}], "Plan__c": [{"Name": "Free"}]}}"#)?;
/// assert_eq!(seed.records["Contact"].len(), 1);
/// # Ok::<(), rsync_testkit::sim::SimError>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Seed {
    /// Id of the organization, 18 characters.
    pub organization_id: String,
    /// Name of the user who runs the integration.
    pub username: String,
    /// Names of further users, who can own records.
    pub users: Vec<String>,
    /// Consumer key of the connected app.
    pub client_id: String,
    /// Consumer secret of the connected app. Test data: it opens nothing but a simulator.
    pub client_secret: String,
    /// Whether the user has approved the app, without which assertions are refused.
    pub app_approved: bool,
    /// Seconds until a session that is not used ends.
    pub session_seconds: u64,
    /// API calls in any 24 hours.
    pub api_limit: u64,
    /// Most requests at the same time; not limited when absent. The real service counts long ones only.
    pub concurrent_limit: Option<usize>,
    /// Fields added to standard objects, by object name.
    pub fields: BTreeMap<String, Vec<FieldSeed>>,
    /// Custom objects.
    pub objects: Vec<ObjectSeed>,
    /// Records present at the start, by object name; objects are filled in the order of their names.
    pub records: BTreeMap<String, Vec<BTreeMap<String, Value>>>,
    /// Rows that fail although nothing is wrong with them.
    pub row_faults: Vec<RowFault>,
    /// Times and limits of bulk jobs.
    pub bulk: BulkSettings,
    /// Bulk jobs that go wrong.
    pub job_faults: Vec<JobFault>,
    /// Rules that find duplicates. The records above are older than the rules.
    pub duplicate_rules: Vec<DuplicateRule>,
    /// Rules that refuse records.
    pub validation_rules: Vec<ValidationRule>,
    /// Rules that choose owners.
    pub assignment_rules: Vec<AssignmentRule>,
    /// Seed of tokens, of the usage gauge and of the order of results.
    pub random_seed: u64,
}

impl Default for Seed {
    fn default() -> Self {
        Self {
            organization_id: id::numbered("00D", 4_511),
            username: "integration@example.com".to_owned(),
            users: Vec::new(),
            client_id: "3MVG9simulator.consumer_key".to_owned(),
            client_secret: "simulator-consumer-secret".to_owned(),
            app_approved: true,
            session_seconds: 7_200,
            api_limit: 15_000,
            concurrent_limit: None,
            fields: BTreeMap::new(),
            objects: Vec::new(),
            records: BTreeMap::new(),
            row_faults: Vec::new(),
            bulk: BulkSettings::default(),
            job_faults: Vec::new(),
            duplicate_rules: Vec::new(),
            validation_rules: Vec::new(),
            assignment_rules: Vec::new(),
            random_seed: 1,
        }
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seed")
            .field("organization_id", &self.organization_id)
            .field("username", &self.username)
            .field("client_id", &self.client_id)
            .field("client_secret", &"[redacted]")
            .field("api_limit", &self.api_limit)
            .field("fields", &self.fields)
            .field("objects", &self.objects)
            .finish_non_exhaustive()
    }
}

/// A custom object in a seed. `Id`, `Name`, `OwnerId` and the fields about its history come with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectSeed {
    /// API name, ending in `__c`.
    pub name: String,
    /// Label; the name when absent.
    #[serde(default)]
    pub label: Option<String>,
    /// First three characters of its ids.
    pub key_prefix: String,
    /// Fields beside those that every object has.
    #[serde(default)]
    pub fields: Vec<FieldSeed>,
}

impl ObjectSeed {
    /// An object without own fields.
    pub fn new(name: impl Into<String>, key_prefix: impl Into<String>) -> Self {
        Self { name: name.into(), label: None, key_prefix: key_prefix.into(), fields: Vec::new() }
    }

    /// Adds a field.
    #[must_use]
    pub fn with_field(mut self, field: FieldSeed) -> Self {
        self.fields.push(field);
        self
    }
}

/// A field in a seed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldSeed {
    /// API name, ending in `__c`.
    pub name: String,
    /// Label, which messages quote; the name when absent.
    #[serde(default)]
    pub label: Option<String>,
    /// Data type as descriptions name it, for example `string`, `picklist`, `currency`, `reference`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Most characters of a text; by default what the type usually has.
    #[serde(default)]
    pub length: Option<usize>,
    /// All digits of a number with decimals; 18 by default.
    #[serde(default)]
    pub precision: Option<usize>,
    /// Its decimals; 2 for currency, otherwise 0 by default.
    #[serde(default)]
    pub scale: Option<usize>,
    /// Digits of an `int`; 8 by default.
    #[serde(default)]
    pub digits: Option<usize>,
    /// Whether it may not be null.
    #[serde(default)]
    pub required: bool,
    /// Whether a value may occur once only.
    #[serde(default)]
    pub unique: bool,
    /// Whether it is a key for upserts.
    #[serde(default)]
    pub external_id: bool,
    /// Whether letter case distinguishes keys.
    #[serde(default)]
    pub case_sensitive: bool,
    /// Values of a picklist, in order.
    #[serde(default)]
    pub values: Vec<String>,
    /// Values that the picklist once had.
    #[serde(default)]
    pub inactive_values: Vec<String>,
    /// Whether other values than the active ones are refused.
    #[serde(default)]
    pub restricted: bool,
    /// Objects that a reference may point to.
    #[serde(default)]
    pub reference_to: Vec<String>,
    /// Name of a reference's relationship; the field's name with `__r` when absent.
    #[serde(default)]
    pub relationship_name: Option<String>,
    /// Value given on creation when the request gives none.
    #[serde(default)]
    pub default_value: Option<String>,
    /// Whether a formula fills it.
    #[serde(default)]
    pub calculated: bool,
    /// Whether a counter fills it.
    #[serde(default)]
    pub auto_number: bool,
    /// Whether creation may set it.
    #[serde(default = "yes")]
    pub createable: bool,
    /// Whether an update may set it.
    #[serde(default = "yes")]
    pub updateable: bool,
}

fn yes() -> bool {
    true
}

impl FieldSeed {
    /// A field of this type, optional and writable.
    pub fn of(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            label: None,
            kind: kind.into(),
            length: None,
            precision: None,
            scale: None,
            digits: None,
            required: false,
            unique: false,
            external_id: false,
            case_sensitive: false,
            values: Vec::new(),
            inactive_values: Vec::new(),
            restricted: false,
            reference_to: Vec::new(),
            relationship_name: None,
            default_value: None,
            calculated: false,
            auto_number: false,
            createable: true,
            updateable: true,
        }
    }

    /// Text of at most `length` characters.
    pub fn text(name: impl Into<String>, length: usize) -> Self {
        Self { length: Some(length), ..Self::of(name, "string") }
    }

    /// A unique text that upserts can use as their key. Letter case does not distinguish its values.
    pub fn external_id(name: impl Into<String>) -> Self {
        Self { external_id: true, unique: true, ..Self::of(name, "string") }
    }

    /// A number of `precision` digits, `scale` of them decimals.
    pub fn number(name: impl Into<String>, precision: usize, scale: usize) -> Self {
        Self { precision: Some(precision), scale: Some(scale), ..Self::of(name, "double") }
    }

    /// A picklist that takes other values too.
    pub fn picklist<'a>(name: impl Into<String>, values: impl IntoIterator<Item = &'a str>) -> Self {
        Self { values: values.into_iter().map(str::to_owned).collect(), ..Self::of(name, "picklist") }
    }

    /// A picklist that takes its own values only.
    pub fn restricted_picklist<'a>(name: impl Into<String>, values: impl IntoIterator<Item = &'a str>) -> Self {
        Self { restricted: true, ..Self::picklist(name, values) }
    }

    /// A reference to a record of another object.
    pub fn lookup(name: impl Into<String>, object: impl Into<String>) -> Self {
        Self { reference_to: vec![object.into()], ..Self::of(name, "reference") }
    }

    /// The same field with this label.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The same field, never null.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same field, not writable by requests.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        (self.createable, self.updateable) = (false, false);
        self
    }

    /// The same field, with values that differ in case.
    #[must_use]
    pub fn case_sensitive(mut self) -> Self {
        self.case_sensitive = true;
        self
    }
}

/// Rows that fail although the service's own rules would let them pass: what triggers, validation rules, locks and
/// full storage do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowFault {
    /// Object whose rows fail.
    pub object: String,
    /// Only rows that set this field to this value; all of them when absent.
    #[serde(default)]
    pub when: Option<(String, String)>,
    /// Only rows of requests with more rows of the object than this: a trigger that runs out of its limits.
    #[serde(default)]
    pub above_rows: usize,
    /// How many rows fail before the fault is over; all of them when absent.
    #[serde(default)]
    pub times: Option<u64>,
    /// `statusCode` of the error.
    pub code: String,
    /// Its message.
    pub message: String,
    /// The fields it names.
    #[serde(default)]
    pub fields: Vec<String>,
}

impl RowFault {
    /// Every row of the object fails, until the fault is narrowed.
    pub fn new(object: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            object: object.into(),
            when: None,
            above_rows: 0,
            times: None,
            code: code.into(),
            message: message.into(),
            fields: Vec::new(),
        }
    }

    /// Only rows that set this field to this value.
    #[must_use]
    pub fn when(mut self, field: impl Into<String>, value: impl Into<String>) -> Self {
        self.when = Some((field.into(), value.into()));
        self
    }

    /// Only rows of requests with more rows of the object than this.
    #[must_use]
    pub fn above_rows(mut self, rows: usize) -> Self {
        self.above_rows = rows;
        self
    }

    /// Only this many rows.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
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

    /// Checks the seed as far as it can be checked without building the organization.
    ///
    /// # Errors
    /// [`SimError::Invalid`] with all problems and their field paths.
    pub fn check(&self) -> Result<(), SimError> {
        let mut problems = Vec::new();
        if id::canonical(&self.organization_id).as_deref() != Some(&self.organization_id) {
            problems.push(format!(
                "organization_id: {:?} is no id of 18 characters; leave it out for a valid one",
                self.organization_id
            ));
        }
        for (name, text) in [("client_id", &self.client_id), ("username", &self.username)] {
            if text.is_empty() {
                problems.push(format!("{name}: it is empty; give one or leave the field out"));
            }
        }
        for (object, fields) in &self.fields {
            if !standard::names().any(|known| known == object) {
                let names: Vec<&str> = standard::names().collect();
                problems.push(format!(
                    "fields.{object}: no standard object of that name; use {}, or objects",
                    names.join(", ")
                ));
            }
            check_fields(&format!("fields.{object}"), fields, &mut problems);
        }
        for (i, object) in self.objects.iter().enumerate() {
            let at = format!("objects[{i}]");
            let earlier = &self.objects[..i];
            if !is_api_name(&object.name) || !object.name.ends_with("__c") {
                problems.push(format!("{at}.name: {:?} is no custom object name; end it in __c", object.name));
            }
            if earlier.iter().any(|other| other.name.eq_ignore_ascii_case(&object.name)) {
                problems.push(format!("{at}.name: {:?} is taken; use another name", object.name));
            }
            let prefix = object.key_prefix.as_str();
            if prefix.len() != 3 || !prefix.bytes().all(|b| b.is_ascii_alphanumeric()) {
                problems.push(format!("{at}.key_prefix: {prefix:?} is no key prefix; use three letters or digits"));
            }
            if earlier.iter().any(|other| other.key_prefix == prefix) || standard::prefixes().any(|p| p == prefix) {
                problems.push(format!("{at}.key_prefix: {prefix:?} is taken; use another one, for example a0{i}"));
            }
            check_fields(&format!("{at}.fields"), &object.fields, &mut problems);
        }
        let mut named: Vec<(String, &str)> = Vec::new();
        named.extend(self.row_faults.iter().enumerate().map(|(i, f)| (format!("row_faults[{i}]"), f.object.as_str())));
        for (i, fault) in self.job_faults.iter().enumerate() {
            named.extend(fault.object.as_deref().map(|object| (format!("job_faults[{i}]"), object)));
        }
        let rules = self.duplicate_rules.iter().enumerate();
        named.extend(rules.map(|(i, rule)| (format!("duplicate_rules[{i}]"), rule.object.as_str())));
        let rules = self.validation_rules.iter().enumerate();
        named.extend(rules.map(|(i, rule)| (format!("validation_rules[{i}]"), rule.object.as_str())));
        for (at, object) in named {
            let known =
                standard::names().any(|name| name == object) || self.objects.iter().any(|own| own.name == object);
            if !known {
                problems.push(format!("{at}.object: there is no object {object:?}"));
            }
        }
        for (i, rule) in self.assignment_rules.iter().enumerate() {
            let at = format!("assignment_rules[{i}]");
            if !matches!(rule.object.as_str(), "Account" | "Case" | "Lead") {
                problems.push(format!("{at}.object: {:?} has no such rules; use Account, Case or Lead", rule.object));
            }
            if rule.username != self.username && !self.users.contains(&rule.username) {
                problems.push(format!("{at}.username: there is no user {:?}; add it to users", rule.username));
            }
        }
        self.bulk.problems(&mut problems);
        if problems.is_empty() { Ok(()) } else { Err(SimError::Invalid { what: "seed", problems }) }
    }
}

fn check_fields(at: &str, fields: &[FieldSeed], problems: &mut Vec<String>) {
    for (i, field) in fields.iter().enumerate() {
        if !field.name.ends_with("__c") {
            problems.push(format!("{at}[{i}].name: {:?} is no custom field name; end it in __c", field.name));
        }
        if fields[..i].iter().any(|other| other.name.eq_ignore_ascii_case(&field.name)) {
            problems.push(format!("{at}[{i}].name: {:?} is there already; use another name", field.name));
        }
        if let Err(problem) = Field::from_seed(field) {
            problems.push(format!("{at}[{i}]: {problem}"));
        }
    }
}
