//! Objects: their fields, their records, and how a description shows them.

use serde_json::{Value, json};

use super::field::Field;
use super::records::Records;
use super::seed::ObjectSeed;
use super::standard::{Standard, custom_fields};

/// An object with its records.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) label: String,
    plural: String,
    pub(crate) prefix: String,
    /// Whether requests may create, change and delete records.
    pub(crate) writable: bool,
    pub(crate) fields: Vec<Field>,
    pub(crate) records: Records,
}

impl Object {
    pub(crate) fn standard(standard: &Standard) -> Self {
        Self {
            name: standard.name.to_owned(),
            label: standard.name.to_owned(),
            plural: standard.plural.to_owned(),
            prefix: standard.prefix.to_owned(),
            writable: standard.writable,
            fields: standard.fields(),
            records: Records::default(),
        }
    }

    /// A custom object, without its own fields: the caller adds them.
    pub(crate) fn custom(seed: &ObjectSeed) -> Self {
        let label = seed.label.clone().unwrap_or_else(|| seed.name.clone());
        let (mut fields, tail) = custom_fields(&label);
        fields.extend(tail);
        Self {
            name: seed.name.clone(),
            plural: label.clone(),
            label,
            prefix: seed.key_prefix.clone(),
            writable: true,
            fields,
            records: Records::default(),
        }
    }

    /// The field of this name in any case.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// The reference whose relationship has this name, in any case.
    pub(crate) fn relationship(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.relationship.as_deref().is_some_and(|r| r.eq_ignore_ascii_case(name)))
    }

    /// Adds a field, or replaces the one of the same name. Stored values stay.
    pub(crate) fn define(&mut self, field: Field) {
        if field.id_lookup || field.unique {
            self.records.index(&field);
        }
        match self.fields.iter_mut().find(|known| known.name.eq_ignore_ascii_case(&field.name)) {
            Some(known) => *known = field,
            None => self.fields.push(field),
        }
    }

    pub(crate) fn is_custom(&self) -> bool {
        self.name.ends_with("__c")
    }

    /// The object as the list of objects shows it.
    pub(crate) fn summary(&self, root: &str) -> Value {
        let path = format!("{root}/sobjects/{}", self.name);
        let mut urls = json!({
            "rowTemplate": format!("{path}/{{ID}}"),
            "describe": format!("{path}/describe"),
            "sobject": path,
        });
        if !self.is_custom() {
            urls["layouts"] = json!(format!("{path}/describe/layouts"));
        }
        json!({
            "activateable": false,
            "associateEntityType": null,
            "associateParentEntity": null,
            "createable": self.writable,
            "custom": self.is_custom(),
            "customSetting": false,
            "deepCloneable": false,
            "deletable": self.writable,
            "deprecatedAndHidden": false,
            "feedEnabled": !self.is_custom(),
            "hasSubtypes": false,
            "isInterface": false,
            "isSubtype": false,
            "keyPrefix": self.prefix,
            "label": self.label,
            "labelPlural": self.plural,
            "layoutable": true,
            "mergeable": matches!(self.name.as_str(), "Account" | "Contact" | "Lead"),
            "mruEnabled": !self.is_custom(),
            "name": self.name,
            "queryable": true,
            "replicateable": true,
            "retrieveable": true,
            "searchable": true,
            "triggerable": true,
            "undeletable": self.writable,
            "updateable": self.writable,
            "urls": urls,
        })
    }

    /// The whole description. `children` are the objects that point here: object, field, relationship.
    pub(crate) fn describe(&self, root: &str, children: &[(String, String)]) -> Value {
        let mut body = self.summary(root);
        let path = format!("{root}/sobjects/{}", self.name);
        if !self.is_custom() {
            for (name, part) in [
                ("compactLayouts", "describe/compactLayouts"),
                ("approvalLayouts", "describe/approvalLayouts"),
                ("listviews", "listviews"),
                ("quickActions", "quickActions"),
            ] {
                body["urls"][name] = json!(format!("{path}/{part}"));
            }
            for (name, part) in [
                ("uiDetailTemplate", "{ID}"),
                ("uiEditTemplate", "{ID}/e"),
                ("uiNewRecord", &format!("{}/e", self.prefix)),
            ] {
                body["urls"][name] = json!(format!("https://example.my.salesforce.com/{part}"));
            }
        }
        let master = "012000000000000AAA";
        let more = json!({
            "actionOverrides": [],
            "childRelationships": children.iter().map(|(object, field)| json!({
                "cascadeDelete": false,
                "childSObject": object,
                "deprecatedAndHidden": false,
                "field": field,
                "junctionIdListNames": [],
                "junctionReferenceTo": [],
                "relationshipName": null,
                "restrictedDelete": false,
            })).collect::<Vec<_>>(),
            "compactLayoutable": !self.is_custom(),
            "defaultImplementation": null,
            "extendedBy": null,
            "extendsInterfaces": null,
            "fields": self.fields.iter().map(Field::describe).collect::<Vec<_>>(),
            "implementedBy": null,
            "implementsInterfaces": null,
            "listviewable": null,
            "lookupLayoutable": null,
            "namedLayoutInfos": [],
            "networkScopeFieldName": null,
            "recordTypeInfos": [{
                "active": true,
                "available": true,
                "defaultRecordTypeMapping": true,
                "developerName": "Master",
                "master": true,
                "name": "Master",
                "recordTypeId": master,
                "urls": { "layout": format!("{path}/describe/layouts/{master}") },
            }],
            "searchLayoutable": true,
            "sobjectDescribeOption": "FULL",
            "supportedScopes": [
                { "label": format!("All {}", self.plural.to_lowercase()), "name": "everything" },
                { "label": format!("My {}", self.plural.to_lowercase()), "name": "mine" },
            ],
        });
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        body
    }
}
