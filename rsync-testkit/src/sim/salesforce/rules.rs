//! What administrators set up: rules that find duplicates, rules that refuse records, rules that choose owners.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::org::{Call, Org};
use super::records::Values;
use super::reply::RowError;
use super::write::{Draft, Target};

/// A rule that finds records like the one that is saved: equal in all of its fields, whatever the letter case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DuplicateRule {
    /// API name.
    pub name: String,
    /// Object whose records it compares.
    pub object: String,
    /// Fields that must be equal; empty ones match nothing.
    pub fields: Vec<String>,
    /// Whether a header can save the record all the same: an alerting rule, not a blocking one.
    #[serde(default)]
    pub alerts_only: bool,
    /// The rule's message.
    #[serde(default = "duplicate_message")]
    pub message: String,
}

fn duplicate_message() -> String {
    "Use one of these records?".to_owned()
}

impl DuplicateRule {
    /// A blocking rule on these fields.
    pub fn new<'a>(
        name: impl Into<String>,
        object: impl Into<String>,
        fields: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            name: name.into(),
            object: object.into(),
            fields: fields.into_iter().map(str::to_owned).collect(),
            alerts_only: false,
            message: duplicate_message(),
        }
    }

    /// The same rule, which only alerts.
    #[must_use]
    pub fn alerting(mut self) -> Self {
        self.alerts_only = true;
        self
    }
}

/// A rule that refuses records. It looks at the whole record as it would be saved, not only at what a request changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationRule {
    /// Object whose records it checks.
    pub object: String,
    /// Field that it looks at.
    pub field: String,
    /// What it refuses.
    pub refuses: Refused,
    /// The administrator's message.
    pub message: String,
    /// Field beside which the message stands; the page's top when absent.
    #[serde(default)]
    pub shown_at: Option<String>,
}

/// Values that a validation rule refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// No value.
    Blank,
    /// This value, as it is stored.
    Value(String),
}

/// A rule that gives new records of an object, and changed ones, to a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignmentRule {
    /// `Account`, `Case` or `Lead`.
    pub object: String,
    /// Name of the user who gets the records, one of the seed's users.
    pub username: String,
}

/// What a request says about the rules. It stands for one that says nothing by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Saving {
    allow_duplicates: bool,
    record_details: bool,
    root: String,
    /// Whether the assignment rules are declined.
    pub(crate) keep_owner: bool,
}

impl Saving {
    pub(crate) fn of(call: &Call) -> Arc<Self> {
        let header = call.header("sforce-duplicate-rule-header").unwrap_or_default().to_ascii_lowercase();
        let says = |name: &str| {
            header.split([';', ',']).any(|part| {
                part.split_once('=').is_some_and(|(key, value)| key.trim() == name && value.trim() == "true")
            })
        };
        Arc::new(Self {
            allow_duplicates: says("allowsave"),
            record_details: says("includerecorddetails"),
            root: call.root(),
            keep_owner: declines_assignment(call),
        })
    }

    /// What rows of a job are saved with: its assignment rule is the job's own.
    pub(crate) fn of_job(version: &str, assigned: bool) -> Arc<Self> {
        let root = format!("/services/data/v{version}");
        Arc::new(Self { root, keep_owner: !assigned, ..Self::default() })
    }
}

fn declines_assignment(call: &Call) -> bool {
    call.header("sforce-auto-assign").is_some_and(|value| value.eq_ignore_ascii_case("false"))
}

/// Every validation rule that refuses the record, all of them at once.
pub(crate) fn refusals(org: &Org, draft: &Draft, values: &Values) -> Vec<RowError> {
    let object = &org.objects[draft.object];
    let broken = |rule: &&ValidationRule| {
        let field = object.field(&rule.field).filter(|_| rule.object.eq_ignore_ascii_case(&object.name));
        field.is_some_and(|field| match (&rule.refuses, values.get(&field.name)) {
            (Refused::Blank, value) => value.is_none(),
            (Refused::Value(refused), value) => value == Some(refused),
        })
    };
    let error = |rule: &ValidationRule| {
        let error = RowError::new("FIELD_CUSTOM_VALIDATION_EXCEPTION", rule.message.clone());
        rule.shown_at.iter().fold(error, |error, field| error.on(field))
    };
    org.validation_rules.iter().filter(broken).map(error).collect()
}

/// The error of the first duplicate rule that finds something and is not overridden.
pub(crate) fn duplicates(org: &Org, draft: &Draft, target: &Target, values: &Values) -> Option<RowError> {
    let object = &org.objects[draft.object];
    let own_id = match target {
        Target::Create => "",
        Target::Update(id) => id.as_str(),
    };
    let rules = org.duplicate_rules.iter().filter(|rule| rule.object.eq_ignore_ascii_case(&object.name));
    for rule in rules.filter(|rule| !(rule.alerts_only && draft.saving.allow_duplicates)) {
        let fields: Vec<_> = rule.fields.iter().filter_map(|name| object.field(name)).collect();
        let own: Option<Vec<String>> =
            fields.iter().map(|field| values.get(&field.name).map(|value| value.to_lowercase())).collect();
        let Some(own) = own.filter(|_| fields.iter().any(|field| draft.changes.contains_key(&field.name))) else {
            continue;
        };
        let alike = object.records.all().filter(|row| {
            let mut pairs = fields.iter().zip(&own);
            !row.deleted
                && row.id != own_id
                && pairs.all(|(field, own)| row.values.get(&field.name).is_some_and(|v| v.to_lowercase() == *own))
        });
        let matches: Vec<Value> = alike
            .map(|row| {
                let url = format!("{}/sobjects/{}/{}", draft.saving.root, object.name, row.id);
                let mut record = json!({ "attributes": { "type": object.name, "url": url }, "Id": row.id });
                if draft.saving.record_details {
                    for field in &fields {
                        record[&*field.name] = json!(row.values.get(&field.name));
                    }
                }
                json!({ "additionalInformation": [], "fieldDiffs": [], "matchConfidence": 100.0, "record": record })
            })
            .collect();
        if !matches.is_empty() {
            let found = json!({
                "allowSave": rule.alerts_only,
                "duplicateRule": rule.name,
                "duplicateRuleEntityType": object.name,
                "errorMessage": rule.message,
                "matchResults": [{
                    "entityType": object.name,
                    "errors": [],
                    "matchEngine": "ExactMatchEngine",
                    "rule": format!("{}_Match", rule.name),
                    "size": matches.len(),
                    "success": true,
                    "matchRecords": matches,
                }],
            });
            let error = RowError::new("DUPLICATES_DETECTED", rule.message.clone());
            return Some(RowError { duplicates: Some(Box::new(found)), ..error });
        }
    }
    None
}

/// The user to whom the object's assignment rule gives a record.
pub(crate) fn owner(org: &Org, draft: &Draft) -> Option<String> {
    let object = &org.objects[draft.object];
    let rule = org.assignment_rules.iter().find(|rule| rule.object.eq_ignore_ascii_case(&object.name))?;
    let users = &org.objects[org.object("User")?];
    let username = users.field("Username")?;
    let user = users.records.holders(username, &rule.username).first().map(|user| user.id.clone());
    user.filter(|_| !draft.saving.keep_owner)
}
