//! Fields of objects: their types, their rules, and how a description shows them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::seed::FieldSeed;

/// Data type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Id,
    Reference,
    Text,
    TextArea,
    Phone,
    Url,
    Picklist,
    MultiPicklist,
    Combobox,
    EncryptedString,
    Email,
    Boolean,
    Int,
    Long,
    Double,
    Currency,
    Percent,
    Date,
    DateTime,
    Time,
    Address,
    Location,
}

/// Every kind with the name that descriptions use.
const KINDS: [(Kind, &str); 22] = [
    (Kind::Id, "id"),
    (Kind::Reference, "reference"),
    (Kind::Text, "string"),
    (Kind::TextArea, "textarea"),
    (Kind::Phone, "phone"),
    (Kind::Url, "url"),
    (Kind::Picklist, "picklist"),
    (Kind::MultiPicklist, "multipicklist"),
    (Kind::Combobox, "combobox"),
    (Kind::EncryptedString, "encryptedstring"),
    (Kind::Email, "email"),
    (Kind::Boolean, "boolean"),
    (Kind::Int, "int"),
    (Kind::Long, "long"),
    (Kind::Double, "double"),
    (Kind::Currency, "currency"),
    (Kind::Percent, "percent"),
    (Kind::Date, "date"),
    (Kind::DateTime, "datetime"),
    (Kind::Time, "time"),
    (Kind::Address, "address"),
    (Kind::Location, "location"),
];

impl Kind {
    pub(crate) fn named(name: &str) -> Option<Self> {
        KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    pub(crate) fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// The XML type that descriptions name beside it.
    pub(crate) fn soap_type(self) -> &'static str {
        match self {
            Self::Id | Self::Reference => "tns:ID",
            Self::Boolean => "xsd:boolean",
            Self::Int => "xsd:int",
            Self::Long => "xsd:long",
            Self::Double | Self::Currency | Self::Percent => "xsd:double",
            Self::Date => "xsd:date",
            Self::DateTime => "xsd:dateTime",
            Self::Time => "xsd:time",
            Self::Address => "urn:address",
            Self::Location => "urn:location",
            _ => "xsd:string",
        }
    }

    /// The word for the type in messages of the JSON reader.
    pub(crate) fn word(self) -> &'static str {
        match self.soap_type().split_once(':') {
            Some((_, "dateTime")) => "datetime",
            Some(("tns", _)) => "reference",
            Some((_, word)) => word,
            None => "string",
        }
    }

    pub(crate) fn is_text(self) -> bool {
        self.soap_type() == "xsd:string"
    }

    /// Numbers with decimals.
    pub(crate) fn is_decimal(self) -> bool {
        self.soap_type() == "xsd:double"
    }

    pub(crate) fn is_number(self) -> bool {
        self.is_decimal() || matches!(self, Self::Int | Self::Long)
    }

    /// Compounds of other fields: readable only.
    pub(crate) fn is_compound(self) -> bool {
        matches!(self, Self::Address | Self::Location)
    }
}

/// Properties of descriptions that no simulated field has.
const NEVER_TRUE: [&str; 10] = [
    "aiPredictionField",
    "cascadeDelete",
    "dependentPicklist",
    "deprecatedAndHidden",
    "displayLocationInDecimal",
    "formulaTreatNullNumberAsZero",
    "highScaleNumber",
    "htmlFormatted",
    "restrictedDelete",
    "writeRequiresMasterRead",
];
const ALWAYS_NULL: [&str; 9] = [
    "calculatedFormula",
    "controllerName",
    "defaultValueFormula",
    "filteredLookupInfo",
    "inlineHelpText",
    "mask",
    "maskType",
    "referenceTargetField",
    "relationshipOrder",
];

/// A value that a picklist offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) value: String,
    pub(crate) active: bool,
}

/// A field of an object.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: Arc<str>,
    pub(crate) label: String,
    pub(crate) kind: Kind,
    /// Characters of text, 18 for ids, 0 otherwise.
    pub(crate) length: usize,
    pub(crate) precision: usize,
    pub(crate) scale: usize,
    pub(crate) digits: usize,
    pub(crate) createable: bool,
    pub(crate) updateable: bool,
    pub(crate) nillable: bool,
    pub(crate) defaulted_on_create: bool,
    pub(crate) default_value: Option<String>,
    pub(crate) external_id: bool,
    pub(crate) id_lookup: bool,
    pub(crate) unique: bool,
    pub(crate) case_sensitive: bool,
    pub(crate) restricted: bool,
    pub(crate) choices: Vec<Choice>,
    pub(crate) reference_to: Vec<String>,
    pub(crate) relationship: Option<String>,
    pub(crate) calculated: bool,
    pub(crate) auto_number: bool,
    pub(crate) name_field: bool,
    pub(crate) compound: Option<String>,
    pub(crate) extra: Option<&'static str>,
}

impl Field {
    /// A readable field of this type; everything else is set by the caller.
    pub(crate) fn new(name: &str, label: &str, kind: Kind) -> Self {
        Self {
            name: Arc::from(name),
            label: label.to_owned(),
            kind,
            length: if matches!(kind, Kind::Id | Kind::Reference) { 18 } else { 0 },
            precision: 0,
            scale: 0,
            digits: 0,
            createable: false,
            updateable: false,
            nillable: false,
            defaulted_on_create: false,
            default_value: None,
            external_id: false,
            id_lookup: false,
            unique: false,
            case_sensitive: false,
            restricted: false,
            choices: Vec::new(),
            reference_to: Vec::new(),
            relationship: None,
            calculated: false,
            auto_number: false,
            name_field: false,
            compound: None,
            extra: None,
        }
    }

    /// A field that an administrator added. The error is a sentence.
    pub(crate) fn from_seed(seed: &FieldSeed) -> Result<Self, String> {
        let kind = Kind::named(&seed.kind).ok_or_else(|| {
            let names: Vec<&str> = KINDS.iter().map(|(_, name)| *name).collect();
            format!("type {:?} is not known; use one of {}", seed.kind, names.join(", "))
        })?;
        if matches!(kind, Kind::Id | Kind::Address | Kind::Location) {
            return Err(format!("type {:?} cannot be added; give it a type that can be written", seed.kind));
        }
        if !is_api_name(&seed.name) {
            return Err(format!("{:?} is no field name; use letters, digits and underscores", seed.name));
        }
        let mut field = Self::new(&seed.name, seed.label.as_deref().unwrap_or(&seed.name), kind);
        let text_length = match kind {
            Kind::Email => 80,
            Kind::Phone => 40,
            Kind::MultiPicklist => 4_099,
            Kind::TextArea => 32_768,
            _ => 255,
        };
        if kind.is_text() {
            field.length = seed.length.unwrap_or(text_length);
        }
        if kind.is_decimal() {
            field.precision = seed.precision.unwrap_or(18);
            field.scale = seed.scale.unwrap_or(if kind == Kind::Currency { 2 } else { 0 });
            if field.scale > field.precision {
                return Err(format!(
                    "scale {} is larger than precision {}; precision counts all digits",
                    field.scale, field.precision
                ));
            }
        }
        if kind == Kind::Int {
            field.digits = seed.digits.unwrap_or(8);
        }
        if kind == Kind::Reference {
            if seed.reference_to.is_empty() {
                return Err("a reference needs reference_to; name the objects it may point to".to_owned());
            }
            field.reference_to.clone_from(&seed.reference_to);
            let own = seed.name.strip_suffix("__c").map(|name| format!("{name}__r"));
            field.relationship = seed.relationship_name.clone().or(own);
        }
        if !seed.values.is_empty() && !matches!(kind, Kind::Picklist | Kind::MultiPicklist | Kind::Combobox) {
            return Err(format!("type {:?} has no values; make it a picklist or leave values out", seed.kind));
        }
        let choice = |value: &String| Choice { value: value.clone(), active: true };
        let retired = |value: &String| Choice { value: value.clone(), active: false };
        field.choices = seed.values.iter().map(choice).chain(seed.inactive_values.iter().map(retired)).collect();
        field.restricted = seed.restricted;
        // A formula or a counter is the service's own to fill.
        let filled = seed.calculated || seed.auto_number;
        field.createable = seed.createable && !filled;
        field.updateable = seed.updateable && !filled;
        field.calculated = seed.calculated;
        field.auto_number = seed.auto_number;
        field.nillable = kind != Kind::Boolean && !seed.required;
        field.default_value.clone_from(&seed.default_value);
        field.defaulted_on_create = kind == Kind::Boolean || seed.default_value.is_some() || seed.auto_number;
        field.external_id = seed.external_id;
        field.id_lookup = seed.external_id || seed.unique;
        field.unique = seed.unique;
        field.case_sensitive = seed.case_sensitive;
        Ok(field)
    }

    pub(crate) fn is_custom(&self) -> bool {
        self.name.ends_with("__c")
    }

    /// The form in which values are equal: keys differ in case only where the field says so.
    pub(crate) fn folded(&self, value: &str) -> String {
        if self.case_sensitive { value.to_owned() } else { value.to_lowercase() }
    }

    /// Whether creation must give a value.
    pub(crate) fn required_on_create(&self) -> bool {
        self.createable && !self.nillable && !self.defaulted_on_create
    }

    /// Long texts and compounds are not indexed in any way.
    pub(crate) fn filterable(&self) -> bool {
        !(self.kind == Kind::TextArea && self.length > 255)
    }

    /// The field as a description shows it.
    pub(crate) fn describe(&self) -> Value {
        let kind = self.kind;
        let sized = kind.is_text() || matches!(kind, Kind::Id | Kind::Reference);
        let byte_length = if kind.is_text() { self.length * 3 } else { self.length };
        let default: Value = match (&self.default_value, kind) {
            (Some(text), Kind::Boolean) => json!(text == "true"),
            (None, Kind::Boolean) => json!(false),
            (Some(text), _) => json!(text),
            (None, _) => Value::Null,
        };
        let picklist: Vec<Value> = self
            .choices
            .iter()
            .map(|choice| {
                json!({
                    "active": choice.active,
                    "defaultValue": self.default_value.as_deref() == Some(choice.value.as_str()),
                    "label": choice.value,
                    "validFor": null,
                    "value": choice.value,
                })
            })
            .collect();
        let mut described = json!({
            "aggregatable": kind != Kind::Boolean && self.filterable() && !kind.is_compound(),
            "autoNumber": self.auto_number,
            "byteLength": if sized { byte_length } else { 0 },
            "calculated": self.calculated,
            "caseSensitive": self.case_sensitive,
            "compoundFieldName": self.compound,
            "createable": self.createable,
            "custom": self.is_custom(),
            "defaultValue": default,
            "defaultedOnCreate": self.defaulted_on_create,
            "digits": self.digits,
            "encrypted": kind == Kind::EncryptedString,
            "externalId": self.external_id,
            "extraTypeInfo": self.extra,
            "filterable": self.filterable(),
            "groupable": !kind.is_decimal() && kind != Kind::DateTime && self.filterable() && !kind.is_compound(),
            "idLookup": self.id_lookup,
            "label": self.label,
            "length": if sized { self.length } else { 0 },
            "name": &*self.name,
            "nameField": self.name_field,
            "namePointing": self.reference_to.len() > 1,
            "nillable": self.nillable,
            "permissionable": self.createable && self.nillable,
            "picklistValues": picklist,
            "polymorphicForeignKey": self.reference_to.len() > 1,
            "precision": self.precision,
            "queryByDistance": kind.is_compound(),
            "referenceTo": self.reference_to,
            "relationshipName": self.relationship,
            "restrictedPicklist": self.restricted,
            "scale": self.scale,
            "searchPrefilterable": kind == Kind::Reference && self.createable,
            "soapType": kind.soap_type(),
            "sortable": self.filterable() && !kind.is_compound(),
            "type": kind.name(),
            "unique": self.unique,
            "updateable": self.updateable,
        });
        for name in NEVER_TRUE {
            described[name] = json!(false);
        }
        for name in ALWAYS_NULL {
            described[name] = Value::Null;
        }
        described
    }
}

/// Whether a text can name an object or a field.
pub(crate) fn is_api_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
