//! Object descriptions: what can be written, how it travels, and the engine's view of it.

use std::collections::HashMap;

use rsync_core::destination::{AcceptedType, KeyFolding, RemoteField, RemoteSchema};
use rsync_core::error::{Error, Kind, Result};

use crate::object::{Fold, Object, is_api_name};
use crate::wire;

/// How the values of a field travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A JSON string; all kinds of text, and times of day.
    Text,
    /// A JSON string with the id of a record.
    Id,
    /// Several texts in one, joined by `;`.
    MultiPicklist,
    Boolean,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A 64-bit floating point number on the wire, a decimal of fixed scale in the store.
    Double,
    Date,
    DateTime,
    /// Nothing that this adapter writes: compound fields, binaries.
    Other,
}

impl Form {
    fn of(type_name: &str) -> Self {
        match type_name {
            "string" | "textarea" | "phone" | "url" | "email" | "picklist" | "combobox" | "encryptedstring"
            | "time" => Form::Text,
            "id" | "reference" => Form::Id,
            "multipicklist" => Form::MultiPicklist,
            "boolean" => Form::Boolean,
            "int" => Form::Int,
            "long" => Form::Long,
            "double" | "currency" | "percent" => Form::Double,
            "date" => Form::Date,
            "datetime" => Form::DateTime,
            _ => Form::Other,
        }
    }
}

/// Whether the values of a field identify records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyUse {
    /// They do not, or not for a caller without special rights.
    No,
    /// Each value belongs to one record.
    Unique,
    /// Records are found by it, and several may share a value; a row for such a value is rejected.
    Shared,
}

/// Where a reference leads.
#[derive(Clone, Debug)]
struct Reference {
    relationship: String,
    objects: Vec<String>,
}

impl Reference {
    fn read(definition: &wire::Object<'_>) -> Option<Self> {
        let relationship = definition.text("relationshipName").filter(|name| is_api_name(name))?.into_owned();
        Some(Self { relationship, objects: definition.texts("referenceTo") })
    }

    fn leads_to(&self, object: &Object) -> bool {
        self.objects.iter().any(|name| name == object.as_str())
    }
}

/// A record that a reference names by a key of that record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    /// The field that holds the id of the record.
    pub(crate) reference: String,
    /// What the reference is called where it stands for the record.
    pub(crate) relationship: String,
    pub(crate) object: String,
    pub(crate) key: String,
    /// Whether the object has to be named, since the reference leads to several.
    pub(crate) typed: bool,
}

impl Parent {
    /// The name of the field in mappings: that of a column of the service's own bulk files.
    fn column(&self) -> String {
        let path = format!("{}.{}", self.relationship, self.key);
        if self.typed { format!("{}:{path}", self.object) } else { path }
    }
}

/// A field of an object.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    type_name: String,
    pub(crate) form: Form,
    /// Digits behind the point that are stored.
    pub(crate) scale: Option<u64>,
    /// Longest text, in characters.
    pub(crate) length: Option<u64>,
    /// What can be written to it.
    pub(crate) accepts: Vec<AcceptedType>,
    writable: bool,
    clearable: bool,
    pub(crate) case_sensitive: bool,
    pub(crate) key: KeyUse,
    /// Where the values of a reference lead; `None` for other fields.
    reference: Option<Reference>,
    /// Where the field stands for a reference: which one, and how its value names the other record.
    pub(crate) parent: Option<Parent>,
}

/// The fields of an object, as the service describes it.
#[derive(Debug)]
pub(crate) struct Schema {
    fields: Vec<Field>,
    by_name: HashMap<String, usize>,
    /// Whether the caller may create or update records at all.
    pub(crate) writable: bool,
}

impl Schema {
    /// Reads a description; `None` if the body is none.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let object = wire::Object::read(body)?;
        let fields: Vec<Field> = object.list("fields")?.iter().filter_map(Field::read).collect();
        let by_name = fields.iter().enumerate().map(|(i, field)| (field.name.clone(), i)).collect();
        let writable = ["createable", "updateable"].iter().any(|flag| object.flag(flag) != Some(false));
        Some(Self { fields, by_name, writable })
    }

    /// The field of that name, in the service's own spelling.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.by_name.get(name).map(|index| &self.fields[*index])
    }

    /// As [`Schema::field`], with an error that names the right spelling where only that is wrong: the service does not
    /// care about case, but it answers in its own.
    pub(crate) fn known(&self, object: &Object, name: &str) -> Result<&Field> {
        self.field(name).ok_or_else(|| {
            let error = Error::new(Kind::SchemaMismatch, "find a field", "the object has no field of this name")
                .with_context("object", object.as_str())
                .with_context("field", name);
            match self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)) {
                Some(field) => error.with_remedy(format!("write it as {}", field.name)),
                None => error.with_remedy("create the field, or let the integration's user see it"),
            }
        })
    }

    /// Whether a field that can be written points to records of `object`.
    pub(crate) fn points_to(&self, object: &Object) -> bool {
        self.fields.iter().any(|field| field.writable && field.reference.as_ref().is_some_and(|r| r.leads_to(object)))
    }

    /// Adds a field for every way in which a reference can name a record of `object` by a key of its own:
    /// `Account.Ext__c`, or `Contact:Who.Ext__c` where the reference leads to several objects.
    pub(crate) fn add_parents(&mut self, object: &Object, parents: &Schema) {
        let mut added = Vec::new();
        for field in self.fields.iter().filter(|field| field.writable) {
            let Some(reference) = field.reference.as_ref().filter(|reference| reference.leads_to(object)) else {
                continue;
            };
            let keys = parents.fields.iter().filter(|key| key.key != KeyUse::No && key.form != Form::Id);
            for key in keys.filter(|key| key.parent.is_none()) {
                let parent = Parent {
                    reference: field.name.clone(),
                    relationship: reference.relationship.clone(),
                    object: object.as_str().to_owned(),
                    key: key.name.clone(),
                    typed: reference.objects.len() > 1,
                };
                added.push(Field {
                    name: parent.column(),
                    key: KeyUse::No,
                    writable: true,
                    clearable: field.clearable,
                    reference: None,
                    parent: Some(parent),
                    ..key.clone()
                });
            }
        }
        for field in added {
            self.by_name.insert(field.name.clone(), self.fields.len());
            self.fields.push(field);
        }
    }

    /// What the engine is told.
    pub(crate) fn remote(&self) -> RemoteSchema {
        RemoteSchema::new(self.fields.iter().map(Field::remote).collect())
    }
}

impl Field {
    /// A definition without a usable name is left out.
    fn read(definition: &wire::Object<'_>) -> Option<Self> {
        let is = |name: &str| definition.flag(name) == Some(true);
        let name = definition.text("name").filter(|name| is_api_name(name))?.into_owned();
        let type_name = definition.text("type").unwrap_or_default().into_owned();
        let form = Form::of(&type_name);
        let creatable = is("createable");
        let writable = (creatable || is("updateable")) && !is("calculated") && !is("autoNumber") && form != Form::Other;
        let finds = is("idLookup") || is("externalId");
        let key = if name == "Id" {
            KeyUse::Unique
        } else if !finds || !creatable || !writable {
            KeyUse::No
        } else if is("unique") {
            KeyUse::Unique
        } else if type_name == "email" && !is("custom") {
            KeyUse::Shared
        } else {
            KeyUse::No
        };
        Some(Self {
            scale: (form == Form::Double).then(|| definition.number("scale")).flatten(),
            accepts: accepts(form, &type_name, key),
            length: definition.number("length").filter(|length| *length > 0),
            clearable: is("nillable") && form != Form::Boolean,
            case_sensitive: is("caseSensitive"),
            name,
            type_name,
            form,
            writable,
            key,
            reference: Reference::read(definition),
            parent: None,
        })
    }

    /// How keys of this field are brought together.
    pub(crate) fn fold(&self) -> Fold {
        match self.form {
            Form::Id => Fold::RecordId,
            Form::Int | Form::Long | Form::Double => Fold::Numeric,
            _ if self.case_sensitive => Fold::Exact,
            _ => Fold::Caseless,
        }
    }

    fn remote(&self) -> RemoteField {
        let mut field = RemoteField::new(self.name.as_str(), self.type_name.as_str());
        field.accepts.clone_from(&self.accepts);
        field.writable = self.writable;
        field.unique = self.key != KeyUse::No;
        // Record ids are taken in their long form only, of which there is one.
        let exact = self.form == Form::Id || self.case_sensitive;
        field.folding = if exact { KeyFolding::Exact } else { KeyFolding::CaselessTrimmed };
        field.clearable = self.clearable;
        field
    }
}

fn accepts(form: Form, type_name: &str, key: KeyUse) -> Vec<AcceptedType> {
    use AcceptedType::{Boolean, Date, Decimal, Float, Integer, Text, TextList, Timestamp};
    let mut accepts = match (form, type_name) {
        (Form::Text, "email" | "time") | (Form::Id, _) => vec![Text],
        (Form::Text, "picklist" | "combobox") => vec![Text, Integer],
        (Form::Text, _) => vec![Text, Integer, Float, Decimal, Boolean, Date, Timestamp],
        (Form::MultiPicklist, _) => vec![Text, TextList],
        (Form::Boolean, _) => vec![Boolean],
        (Form::Int | Form::Long, _) => vec![Integer],
        (Form::Double, _) => vec![Integer, Float, Decimal],
        (Form::Date, _) => vec![Date],
        (Form::DateTime, _) => vec![Timestamp],
        // Not writable; what is asked of it does not matter.
        (Form::Other, _) => vec![Text],
    };
    // Keys are often kept as text whatever they look like.
    if key != KeyUse::No && !accepts.contains(&Text) {
        accepts.push(Text);
    }
    accepts
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use rsync_core::record::FieldType;
    use serde_json::{Value, json};

    use super::*;

    /// A definition as the service writes it: a writable field that can be empty, and what `more` says otherwise.
    fn definition(name: &str, kind: &str, more: Value) -> Value {
        let mut definition = json!({"name": name, "type": kind, "createable": true, "updateable": true, "nillable": true,
            "calculated": false, "autoNumber": false, "idLookup": false, "externalId": false, "unique": false,
            "caseSensitive": false, "custom": name.ends_with("__c"), "length": 0, "precision": 0, "scale": 0});
        for (name, value) in more.as_object().unwrap() {
            definition[name] = value.clone();
        }
        definition
    }

    /// An object with a field of every form.
    pub(crate) fn sample() -> Schema {
        let key = json!({"idLookup": true, "externalId": true, "unique": true, "length": 255});
        let fields = vec![
            definition(
                "Id",
                "id",
                json!({"idLookup": true, "createable": false, "updateable": false, "nillable": false}),
            ),
            definition("LastName", "string", json!({"length": 80, "nillable": false})),
            definition("Email", "email", json!({"idLookup": true, "length": 80})),
            definition("AccountId", "reference", json!({})),
            definition("Ext__c", "string", key.clone()),
            definition(
                "Exact__c",
                "string",
                json!({"idLookup": true, "externalId": true, "unique": true, "caseSensitive": true}),
            ),
            definition("Loose__c", "string", json!({"idLookup": true, "externalId": true})),
            definition(
                "Number__c",
                "double",
                json!({"idLookup": true, "externalId": true, "unique": true, "precision": 18}),
            ),
            definition("Price__c", "currency", json!({"precision": 18, "scale": 2})),
            definition("Seats__c", "int", json!({"digits": 9})),
            definition("Huge__c", "long", json!({})),
            definition("Vip__c", "boolean", json!({"nillable": false})),
            definition("Day__c", "date", json!({})),
            definition("Seen__c", "datetime", json!({})),
            definition("Tags__c", "multipicklist", json!({})),
            definition("Tier__c", "picklist", json!({})),
            definition("At__c", "time", json!({})),
            definition("Sum__c", "double", json!({"calculated": true, "createable": false, "updateable": false})),
            definition(
                "No__c",
                "string",
                json!({"autoNumber": true, "externalId": true, "idLookup": true, "unique": true, "createable": false, "updateable": false}),
            ),
            definition("MailingAddress", "address", json!({})),
            definition("bad name", "string", json!({})),
        ];
        let body = json!({"name": "Contact", "createable": true, "updateable": true, "fields": fields});
        Schema::read(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn definitions_become_fields() {
        let remote = sample().remote();
        // Name, writable, usable as a key, can be emptied.
        let table = [
            ("Id", false, true, false),
            ("LastName", true, false, false),
            ("Email", true, true, true),
            ("AccountId", true, false, true),
            ("Ext__c", true, true, true),
            ("Exact__c", true, true, true),
            ("Loose__c", true, false, true),
            ("Number__c", true, true, true),
            ("Price__c", true, false, true),
            ("Seats__c", true, false, true),
            ("Huge__c", true, false, true),
            ("Vip__c", true, false, false),
            ("Day__c", true, false, true),
            ("Seen__c", true, false, true),
            ("Tags__c", true, false, true),
            ("Tier__c", true, false, true),
            ("At__c", true, false, true),
            ("Sum__c", false, false, true),
            ("No__c", false, false, true),
            ("MailingAddress", false, false, true),
        ];
        let described: Vec<(&str, bool, bool, bool)> =
            remote.fields.iter().map(|f| (f.name.as_str(), f.writable, f.unique, f.clearable)).collect();
        assert_eq!(described, table);
        let folding = |name: &str| remote.field(name).unwrap().folding;
        for name in ["Email", "Ext__c", "Number__c"] {
            assert_eq!(folding(name), KeyFolding::CaselessTrimmed, "{name}");
        }
        for name in ["Id", "Exact__c"] {
            assert_eq!(folding(name), KeyFolding::Exact, "{name}");
        }
    }

    #[test]
    fn fields_take_what_can_be_sent_exactly() {
        use FieldType::{Boolean, Date, Float, Integer, Text, TextList, Timestamp};
        let decimal = FieldType::Decimal { precision: 10, scale: 2 };
        let all = [Text, Integer, Float, decimal, Boolean, Date, Timestamp, TextList];
        let remote = sample().remote();
        for (name, taken) in [
            ("LastName", &all[..7]),
            ("Email", &[Text]),
            ("AccountId", &[Text]),
            ("Number__c", &[Text, Integer, Float, decimal]),
            ("Price__c", &[Integer, Float, decimal]),
            ("Seats__c", &[Integer]),
            ("Vip__c", &[Boolean]),
            ("Day__c", &[Date]),
            ("Seen__c", &[Timestamp]),
            ("Tags__c", &[Text, TextList]),
            ("Tier__c", &[Text, Integer]),
            ("At__c", &[Text]),
        ] {
            let field = remote.field(name).unwrap();
            for ty in all {
                assert_eq!(field.accepts(ty), taken.contains(&ty), "{name} {ty}");
            }
        }
    }

    #[test]
    fn a_wrong_spelling_is_told_the_right_one() {
        let (schema, object) = (sample(), Object::parse("Contact").unwrap());
        assert_eq!(schema.known(&object, "LastName").unwrap().name, "LastName");
        let error = schema.known(&object, "lastname").unwrap_err();
        assert_eq!((error.kind(), error.context("field")), (Kind::SchemaMismatch, Some("lastname")));
        assert_eq!(error.remedy(), Some("write it as LastName"));
        assert!(schema.known(&object, "nickname").unwrap_err().remedy().unwrap().contains("create the field"));
    }

    #[test]
    fn a_body_that_is_no_description_is_none() {
        for body in ["", "[]", "{}", r#"{"fields":7}"#, r#"{"fields":[7]}"#] {
            assert!(Schema::read(body.as_bytes()).is_none(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_description_panics(body in prop::collection::vec(any::<u8>(), 0..80), name in any::<String>(), number in any::<f64>()) {
            let _ = Schema::read(&body);
            let field = json!({"name": name, "type": name, "scale": number, "length": number, "createable": name});
            let schema = Schema::read(json!({"fields": [field]}).to_string().as_bytes()).unwrap();
            prop_assert!(schema.remote().fields.iter().all(|field| is_api_name(field.name.as_str()) && !field.unique));
        }
    }
}
