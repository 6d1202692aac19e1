//! Properties that are to be made.

use rsync_core::FieldType;
use rsync_core::error::{Error, Kind, Problem, Result};
use serde_json::json;

/// A property to make with [`HubSpot::create_property`](crate::HubSpot::create_property).
#[derive(Clone, Debug, PartialEq)]
pub struct NewProperty {
    name: String,
    label: Option<String>,
    group: String,
    ty: FieldType,
    unique: bool,
    options: Vec<String>,
}

impl NewProperty {
    /// A property for values of `ty` in a group of properties, such as `contactinformation`. Text becomes a line of text,
    /// a list several checkboxes.
    pub fn new(name: impl Into<String>, group: impl Into<String>, ty: FieldType) -> Self {
        Self { name: name.into(), label: None, group: group.into(), ty, unique: false, options: Vec::new() }
    }

    /// Sets what people see; else the name.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// No two records may share a value, so that it can be matched on. That cannot be changed later.
    #[must_use]
    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// The options of a list.
    #[must_use]
    pub fn options<T: Into<String>>(mut self, options: impl IntoIterator<Item = T>) -> Self {
        self.options.extend(options.into_iter().map(Into::into));
        self
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |at: &str, cause: &str, fix: &str| problems.push(Problem::new(at, cause, fix));
        let plain = self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !plain || !self.name.starts_with(|c: char| c.is_ascii_lowercase()) {
            problem("name", "is no name of a property", "use a lower-case letter, then such letters, digits and '_'");
        }
        if self.group.trim().is_empty() {
            problem("group", "is missing", "name a group of properties, such as contactinformation");
        }
        if self.unique && !matches!(self.ty, FieldType::Text | FieldType::Integer) {
            problem("unique", "only texts and whole numbers can be unique", "take it away, or use another type");
        }
        let usable = |option: &String| !option.trim().is_empty() && !option.contains(';');
        match self.ty {
            FieldType::TextList if self.options.is_empty() || !self.options.iter().all(usable) => {
                problem(
                    "options",
                    "are missing, or one is empty or holds ';'",
                    "give the options that a list can hold",
                );
            }
            FieldType::TextList => {}
            _ if !self.options.is_empty() => problem("options", "only a list has options", "take them away"),
            _ => {}
        }
        problems
    }

    /// The body of the request.
    pub(crate) fn body(&self) -> Result<Vec<u8>> {
        Error::from_problems(Kind::InvalidConfig, "create a property", self.problems())?;
        let (kind, field) = match self.ty {
            FieldType::Integer | FieldType::Float | FieldType::Decimal { .. } => ("number", "number"),
            FieldType::Boolean => ("bool", "booleancheckbox"),
            FieldType::Date => ("date", "date"),
            FieldType::Timestamp => ("datetime", "date"),
            FieldType::TextList => ("enumeration", "checkbox"),
            _ => ("string", "text"),
        };
        let values: Vec<&str> = match self.ty {
            FieldType::Boolean => vec!["true", "false"],
            _ => self.options.iter().map(String::as_str).collect(),
        };
        let mut body = json!({
            "name": self.name,
            "label": self.label.as_ref().unwrap_or(&self.name),
            "groupName": self.group,
            "type": kind,
            "fieldType": field,
            "hasUniqueValue": self.unique,
        });
        if !values.is_empty() {
            let option = |(order, value): (usize, &&str)| json!({ "label": value, "value": value, "displayOrder": order, "hidden": false });
            body["options"] = values.iter().enumerate().map(option).collect();
        }
        Ok(body.to_string().into_bytes())
    }
}
