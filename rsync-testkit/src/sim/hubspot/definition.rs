//! Property definitions: what a property is, and how the properties endpoints show it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::instant::iso_from_ms;
use super::seed::PropertySeed;

/// What makes a property name, in words for error messages.
pub(crate) const NAME_RULE: &str = "names are lowercase, start with a letter and go on with letters, digits and _";

/// User number shown as the maker of definitions and records written through the API.
const API_USER: &str = "19083857";

pub(crate) fn is_property_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Data type of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    PhoneNumber,
    Number,
    Bool,
    Enumeration,
    Date,
    DateTime,
    ObjectCoordinates,
    Json,
}

impl Kind {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "string" => Self::String,
            "phone_number" => Self::PhoneNumber,
            "number" => Self::Number,
            "bool" => Self::Bool,
            "enumeration" => Self::Enumeration,
            "date" => Self::Date,
            "datetime" => Self::DateTime,
            "object_coordinates" => Self::ObjectCoordinates,
            "json" => Self::Json,
            _ => return None,
        })
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::PhoneNumber => "phone_number",
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Enumeration => "enumeration",
            Self::Date => "date",
            Self::DateTime => "datetime",
            Self::ObjectCoordinates => "object_coordinates",
            Self::Json => "json",
        }
    }

    fn field_types(self) -> &'static [&'static str] {
        match self {
            Self::String => &["text", "textarea", "html", "file", "phonenumber", "calculation_equation"],
            Self::PhoneNumber => &["phonenumber"],
            Self::Number => &["number", "calculation_equation", "calculation_rollup", "calculation_score"],
            Self::Bool => &["booleancheckbox", "calculation_equation"],
            Self::Enumeration => &["select", "radio", "checkbox", "booleancheckbox", "calculation_equation"],
            Self::Date | Self::DateTime => &["date", "calculation_read_time", "calculation_rollup"],
            Self::ObjectCoordinates | Self::Json => &["text"],
        }
    }
}

/// One choice of an enumeration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) label: String,
    pub(crate) value: String,
    pub(crate) description: Option<String>,
    pub(crate) display_order: i64,
    pub(crate) hidden: bool,
}

/// How the service fills a property by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Derived {
    RecordId,
    CreatedAt,
    UpdatedAt,
    EmailDomain,
    FullNameOrEmail,
    LeadSince,
    Constant(&'static str),
}

/// In which answers to writes a property appears although the request did not set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    Never,
    OnCreate,
    Always,
}

/// A property of an object type.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) name: Arc<str>,
    pub(crate) label: String,
    pub(crate) kind: Kind,
    pub(crate) field_type: String,
    pub(crate) description: String,
    pub(crate) group_name: String,
    pub(crate) choices: Vec<Choice>,
    pub(crate) display_order: i64,
    pub(crate) calculated: bool,
    pub(crate) external_options: bool,
    pub(crate) referenced_object_type: Option<&'static str>,
    pub(crate) has_unique_value: bool,
    pub(crate) hidden: bool,
    pub(crate) hubspot_defined: bool,
    pub(crate) form_field: bool,
    pub(crate) read_only_value: bool,
    pub(crate) in_use: bool,
    pub(crate) archived_at_ms: Option<i64>,
    pub(crate) created_at_ms: i64,
    pub(crate) updated_at_ms: i64,
    pub(crate) visible_at_ms: i64,
    pub(crate) derived: Option<Derived>,
    pub(crate) echo: Echo,
}

impl Definition {
    /// A definition with the defaults of one that a user makes.
    pub(crate) fn new(name: &str, kind: Kind, field_type: &str) -> Self {
        Self {
            name: Arc::from(name),
            label: name.to_owned(),
            kind,
            field_type: field_type.to_owned(),
            description: String::new(),
            group_name: String::new(),
            choices: Vec::new(),
            display_order: -1,
            calculated: false,
            external_options: false,
            referenced_object_type: None,
            has_unique_value: false,
            hidden: false,
            hubspot_defined: false,
            form_field: true,
            read_only_value: false,
            in_use: false,
            archived_at_ms: None,
            created_at_ms: 0,
            updated_at_ms: 0,
            visible_at_ms: 0,
            derived: None,
            echo: Echo::Never,
        }
    }

    /// Reads a seeded property. The error is a sentence without the field path.
    pub(crate) fn from_seed(seed: &PropertySeed) -> Result<Self, String> {
        let (kind, field_type) = check_types(&seed.kind, &seed.field_type)?;
        let mut definition = Self::new(&seed.name, kind, field_type);
        if let Some(label) = &seed.label {
            definition.label.clone_from(label);
        }
        definition.choices = seed
            .options
            .iter()
            .zip(0..)
            .map(|(value, display_order)| Choice {
                label: value.clone(),
                value: value.clone(),
                description: None,
                display_order,
                hidden: false,
            })
            .collect();
        if kind == Kind::Bool && definition.choices.is_empty() {
            definition.choices = true_and_false();
        }
        definition.group_name = "integrationcreatedproperties".to_owned();
        definition.has_unique_value = seed.has_unique_value;
        definition.calculated = seed.calculated;
        definition.read_only_value = seed.read_only_value;
        definition.in_use = seed.in_use;
        Ok(definition)
    }

    /// Reads the body of a property creation. The error is a sentence.
    pub(crate) fn from_request(request: NewProperty) -> Result<Self, String> {
        let (Some(name), Some(label), Some(kind), Some(field_type), Some(group_name)) =
            (request.name, request.label, request.kind, request.field_type, request.group_name)
        else {
            return Err("some of required attributes are not set [name, label, type, fieldType, groupName]".to_owned());
        };
        if !is_property_name(&name) {
            return Err(format!("{name} is not a valid property name: {NAME_RULE}"));
        }
        let (kind, field_type) = check_types(&kind, &field_type)?;
        let mut definition = Self::new(&name, kind, field_type);
        definition.label = label;
        definition.group_name = group_name;
        definition.description = request.description.unwrap_or_default();
        definition.display_order = request.display_order.unwrap_or(-1);
        definition.has_unique_value = request.has_unique_value.unwrap_or(false);
        definition.hidden = request.hidden.unwrap_or(false);
        definition.form_field = request.form_field.unwrap_or(true);
        definition.external_options = request.external_options.unwrap_or(false);
        definition.choices = choices(request.options.unwrap_or_default())?;
        if kind == Kind::Enumeration && definition.choices.is_empty() && !definition.external_options {
            return Err(format!("property {name} is an enumeration and needs options"));
        }
        Ok(definition)
    }

    /// Whether a client may set the property.
    pub(crate) fn is_writable(&self) -> bool {
        !self.read_only_value && !self.calculated && !matches!(self.kind, Kind::ObjectCoordinates | Kind::Json)
    }

    pub(crate) fn is_archived(&self) -> bool {
        self.archived_at_ms.is_some()
    }

    /// The definition as the list and single endpoints answer it.
    pub(crate) fn to_json(&self) -> Value {
        let mut out = self.core_json();
        out.insert("updatedAt".to_owned(), json!(iso_from_ms(self.updated_at_ms)));
        out.insert("createdAt".to_owned(), json!(iso_from_ms(self.created_at_ms)));
        if self.hubspot_defined {
            out.insert("hubspotDefined".to_owned(), json!(true));
        } else {
            out.insert("createdUserId".to_owned(), json!(API_USER));
            out.insert("updatedUserId".to_owned(), json!(API_USER));
            out.insert("archived".to_owned(), json!(self.is_archived()));
        }
        if let Some(at) = self.archived_at_ms {
            out.insert("archivedAt".to_owned(), json!(iso_from_ms(at)));
        }
        Value::Object(out)
    }

    /// The definition as batch creation answers it: without times and makers.
    pub(crate) fn to_created_json(&self) -> Value {
        Value::Object(self.core_json())
    }

    fn core_json(&self) -> Map<String, Value> {
        let options: Vec<Value> = self
            .choices
            .iter()
            .map(|choice| {
                let mut option = json!({
                    "label": choice.label,
                    "value": choice.value,
                    "displayOrder": choice.display_order,
                    "hidden": choice.hidden,
                });
                if let (Some(description), Some(map)) = (&choice.description, option.as_object_mut()) {
                    map.insert("description".to_owned(), json!(description));
                }
                option
            })
            .collect();
        let mut out = Map::new();
        for (key, value) in [
            ("name", json!(&*self.name)),
            ("label", json!(self.label)),
            ("type", json!(self.kind.as_str())),
            ("fieldType", json!(self.field_type)),
            ("description", json!(self.description)),
            ("groupName", json!(self.group_name)),
            ("options", json!(options)),
            ("displayOrder", json!(self.display_order)),
            ("calculated", json!(self.calculated)),
            ("externalOptions", json!(self.external_options)),
            ("hasUniqueValue", json!(self.has_unique_value)),
            ("hidden", json!(self.hidden)),
            (
                "modificationMetadata",
                json!({
                    "archivable": true,
                    "readOnlyDefinition": self.hubspot_defined,
                    "readOnlyValue": self.read_only_value,
                }),
            ),
            ("formField", json!(self.form_field)),
            ("dataSensitivity", json!("non_sensitive")),
        ] {
            out.insert(key.to_owned(), value);
        }
        if let Some(referenced) = self.referenced_object_type {
            out.insert("referencedObjectType".to_owned(), json!(referenced));
        }
        out
    }
}

/// Body of a property creation. Everything is optional so that the answer can name what is missing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewProperty {
    pub(crate) name: Option<String>,
    label: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    field_type: Option<String>,
    pub(crate) group_name: Option<String>,
    description: Option<String>,
    display_order: Option<i64>,
    has_unique_value: Option<bool>,
    hidden: Option<bool>,
    form_field: Option<bool>,
    external_options: Option<bool>,
    options: Option<Vec<NewChoice>>,
}

/// Body of a property change. `hasUniqueValue` is accepted and ignored, as on the real service.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PropertyChange {
    label: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    field_type: Option<String>,
    group_name: Option<String>,
    description: Option<String>,
    display_order: Option<i64>,
    hidden: Option<bool>,
    form_field: Option<bool>,
    options: Option<Vec<NewChoice>>,
}

impl PropertyChange {
    /// Applies the change, or leaves the definition as it was and says why.
    pub(crate) fn apply(self, definition: &mut Definition, now_ms: i64) -> Result<(), String> {
        let kind = self.kind.unwrap_or_else(|| definition.kind.as_str().to_owned());
        let field_type = self.field_type.unwrap_or_else(|| definition.field_type.clone());
        let (kind, field_type) = check_types(&kind, &field_type)?;
        let choices = self.options.map(choices).transpose()?;
        definition.kind = kind;
        definition.field_type = field_type.to_owned();
        if let Some(choices) = choices {
            definition.choices = choices;
        }
        if let Some(label) = self.label {
            definition.label = label;
        }
        if let Some(group_name) = self.group_name {
            definition.group_name = group_name;
        }
        if let Some(description) = self.description {
            definition.description = description;
        }
        if let Some(display_order) = self.display_order {
            definition.display_order = display_order;
        }
        if let Some(hidden) = self.hidden {
            definition.hidden = hidden;
        }
        if let Some(form_field) = self.form_field {
            definition.form_field = form_field;
        }
        definition.updated_at_ms = now_ms;
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewChoice {
    label: Option<String>,
    value: Option<String>,
    description: Option<String>,
    display_order: Option<i64>,
    hidden: Option<bool>,
}

/// Limits of an enumeration.
const MAX_OPTIONS: usize = 5_000;
const MAX_OPTION_CHARS: usize = 3_000;
const MAX_OPTIONS_BYTES: usize = 512 * 1024;

fn choices(options: Vec<NewChoice>) -> Result<Vec<Choice>, String> {
    if options.len() > MAX_OPTIONS {
        return Err(format!("a property can have at most {MAX_OPTIONS} options"));
    }
    let mut bytes = 0;
    let mut values = std::collections::HashSet::new();
    let mut choices: Vec<Choice> = Vec::with_capacity(options.len());
    for option in options {
        let (Some(label), Some(value)) = (option.label, option.value) else {
            return Err("some of required attributes are not set [label, value]".to_owned());
        };
        if label.chars().count() > MAX_OPTION_CHARS || value.chars().count() > MAX_OPTION_CHARS {
            return Err(format!("an option can have at most {MAX_OPTION_CHARS} characters"));
        }
        bytes += label.len() + value.len();
        if bytes > MAX_OPTIONS_BYTES {
            return Err(format!("the options of a property can have at most {MAX_OPTIONS_BYTES} bytes"));
        }
        if !values.insert(value.clone()) {
            return Err(format!("option value {value} is not unique"));
        }
        choices.push(Choice {
            label,
            value,
            description: option.description,
            display_order: option.display_order.unwrap_or(-1),
            hidden: option.hidden.unwrap_or(false),
        });
    }
    Ok(choices)
}

pub(crate) fn true_and_false() -> Vec<Choice> {
    [("Yes", "true"), ("No", "false")]
        .into_iter()
        .zip(0..)
        .map(|((label, value), display_order)| Choice {
            label: label.to_owned(),
            value: value.to_owned(),
            description: None,
            display_order,
            hidden: false,
        })
        .collect()
}

fn check_types<'a>(kind: &str, field_type: &'a str) -> Result<(Kind, &'a str), String> {
    let parsed = Kind::parse(kind).ok_or_else(|| format!("{kind} is not a valid property type"))?;
    if parsed.field_types().contains(&field_type) {
        Ok((parsed, field_type))
    } else {
        Err(format!("{field_type} is not a valid fieldType for type {kind}; use one of {:?}", parsed.field_types()))
    }
}
