//! Property definitions as the engine's schema.

use rsync_core::destination::{AcceptedType, RemoteField, RemoteSchema};
use rsync_core::field_policy::FieldPolicy;
use rsync_http::json::{Object, Scalar};
use serde::Deserialize;

use crate::object::{self, EMAIL, KeyKind, RECORD_ID};

/// The answer to a request for the properties of an object.
#[derive(Deserialize)]
pub(crate) struct PropertiesAnswer<'a> {
    #[serde(borrow)]
    pub(crate) results: Vec<Object<Property<'a>>>,
}

/// A property definition.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Property<'a> {
    #[serde(borrow, default)]
    name: Scalar<'a>,
    #[serde(rename = "type", borrow, default)]
    kind: Scalar<'a>,
    #[serde(borrow, default)]
    field_type: Scalar<'a>,
    #[serde(default)]
    options: Option<Vec<Object<PropertyOption<'a>>>>,
    #[serde(default)]
    has_unique_value: Option<bool>,
    #[serde(default)]
    calculated: Option<bool>,
    #[serde(default)]
    archived: Option<bool>,
    #[serde(default)]
    modification_metadata: Option<Object<ModificationMetadata>>,
}

#[derive(Deserialize)]
struct PropertyOption<'a> {
    #[serde(borrow, default)]
    value: Scalar<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModificationMetadata {
    #[serde(default)]
    read_only_value: Option<bool>,
}

/// The schema of `object`. Definitions without a name are left out.
pub(crate) fn remote_schema(object: &object::Object, answer: &PropertiesAnswer<'_>) -> RemoteSchema {
    let fields = answer.results.iter().filter_map(|property| property.field(object)).collect();
    RemoteSchema::new(fields)
}

/// Whether a property mirrors what a contact agreed to. HubSpot keeps it by other calls, with a legal basis.
fn is_consent(name: &str) -> bool {
    name.strip_prefix("hs_email_optout").is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

impl Property<'_> {
    fn field(&self, object: &object::Object) -> Option<RemoteField> {
        let name = self.name.as_str()?;
        let kind = self.kind.as_str().unwrap_or("unknown");
        let field_type = self.field_type.as_str().unwrap_or_default();
        let type_name = if field_type.is_empty() { kind.to_owned() } else { format!("{kind}/{field_type}") };
        let mut field = RemoteField::new(name, type_name);
        field.accepts = self.accepts(kind, field_type);
        field.writable = self.is_writable(kind) && !(object.is_contacts() && is_consent(name));
        // A value that begins with `;` is added to those that are set.
        if field.writable && (kind, field_type) == ("enumeration", "checkbox") {
            field = field.with_native([FieldPolicy::SetUnion]);
        }
        // The definition of a contact's email says either thing about uniqueness, yet it always works as a key. The
        // record id works for updates although it is not a property that can be set.
        field.unique = (self.has_unique_value == Some(true) && field.writable)
            || (name == EMAIL && object.is_contacts())
            || name == RECORD_ID;
        field.folding = KeyKind::of(object, name).folding();
        Some(field)
    }

    fn is_writable(&self, kind: &str) -> bool {
        let read_only = self.modification_metadata.as_ref().and_then(|metadata| metadata.read_only_value);
        read_only != Some(true)
            && self.calculated != Some(true)
            && self.archived != Some(true)
            && !matches!(kind, "object_coordinates" | "json")
    }

    fn accepts(&self, kind: &str, field_type: &str) -> Vec<AcceptedType> {
        use AcceptedType::{Boolean, Date, Decimal, Float, Integer, Text, TextList, Timestamp};
        match (kind, field_type) {
            ("string" | "phone_number", _) => vec![Text, Integer, Float, Decimal, Boolean, Date, Timestamp],
            ("number", _) => vec![Integer, Float, Decimal],
            ("bool", _) => vec![Boolean],
            ("enumeration", "booleancheckbox") => vec![Boolean, Text],
            ("enumeration", "checkbox") => vec![Text, TextList, Integer],
            ("enumeration", _) => {
                let flag = ["true", "false"]
                    .iter()
                    .all(|flag| self.options.iter().flatten().any(|option| option.value.as_str() == Some(flag)));
                if flag { vec![Text, Integer, Boolean] } else { vec![Text, Integer] }
            }
            ("date", _) => vec![Date],
            ("datetime", _) => vec![Timestamp],
            _ => vec![Text],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsync_core::destination::KeyFolding;
    use rsync_core::record::FieldType;
    use rsync_http::json::read;

    #[test]
    fn definitions_become_fields() {
        let json = r#"{"results":[
            {"name":"email","type":"string","fieldType":"text","hasUniqueValue":false,"calculated":false,"modificationMetadata":{"readOnlyValue":false}},
            {"name":"loyalty","type":"number","fieldType":"number","hasUniqueValue":true,"modificationMetadata":{"readOnlyValue":false}},
            {"name":"hs_unique_creation_key","type":"string","hasUniqueValue":true,"modificationMetadata":{"readOnlyValue":true}},
            {"name":"rollup","type":"number","fieldType":"calculation_rollup","calculated":false,"modificationMetadata":{"readOnlyValue":true}},
            {"name":"calc","type":"number","calculated":true},
            {"name":"gone","type":"string","archived":true},
            {"name":"blob","type":"json"},
            {"name":"tags","type":"enumeration","fieldType":"checkbox","options":[]},
            {"name":"flag","type":"enumeration","fieldType":"select","options":[{"value":"true"},{"value":"false"}]},
            {"name":"day","type":"date","fieldType":"date"},
            {"name":"moment","type":"datetime","fieldType":"date"},
            {"name":"hs_email_optout","type":"bool","modificationMetadata":{"readOnlyValue":false}},
            {"name":"hs_email_optout_7","type":"bool","modificationMetadata":{"readOnlyValue":false}},
            {"name":"hs_email_optouts","type":"bool","modificationMetadata":{"readOnlyValue":false}},
            {"name":"hs_object_id","type":"number","fieldType":"number","hasUniqueValue":true,"modificationMetadata":{"readOnlyValue":true}}
        ]}"#;
        let answer: PropertiesAnswer<'_> = read(json.as_bytes()).unwrap();
        let contacts = remote_schema(&object::Object::parse("contacts").unwrap(), &answer);
        let shape: Vec<(&str, bool, bool)> =
            contacts.fields.iter().map(|field| (field.name.as_str(), field.writable, field.unique)).collect();
        assert_eq!(
            shape,
            [
                ("email", true, true),
                ("loyalty", true, true),
                ("hs_unique_creation_key", false, false),
                ("rollup", false, false),
                ("calc", false, false),
                ("gone", false, false),
                ("blob", false, false),
                ("tags", true, false),
                ("flag", true, false),
                ("day", true, false),
                ("moment", true, false),
                ("hs_email_optout", false, false),
                ("hs_email_optout_7", false, false),
                ("hs_email_optouts", true, false),
                ("hs_object_id", false, true),
            ]
        );
        assert_eq!(contacts.field("email").unwrap().folding, KeyFolding::CaselessTrimmed);
        assert_eq!(contacts.field("loyalty").unwrap().folding, KeyFolding::Exact);
        assert!(contacts.field("tags").unwrap().accepts(FieldType::TextList));
        assert!(!contacts.field("email").unwrap().accepts(FieldType::TextList));
        assert!(contacts.field("flag").unwrap().accepts(FieldType::Boolean));
        assert!(!contacts.field("day").unwrap().accepts(FieldType::Timestamp));
        assert!(contacts.field("moment").unwrap().accepts(FieldType::Timestamp));
        assert_eq!(contacts.field("tags").unwrap().type_name, "enumeration/checkbox");

        assert_eq!(contacts.field("tags").unwrap().native, [FieldPolicy::SetUnion]);
        assert!(contacts.fields.iter().all(|field| field.native.is_empty() || field.name.as_str() == "tags"));

        let companies = remote_schema(&object::Object::parse("companies").unwrap(), &answer);
        assert!(!companies.field("email").unwrap().unique, "only contacts are identified by email");
        assert!(companies.field("hs_email_optout").unwrap().writable, "only contacts have such a one");
    }
}
