//! Object types: names, scopes, properties and records.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::definition::{Definition, Derived};
use super::groups::PropertyGroup;
use super::instant::iso_from_ms;
use super::records::{Records, Stored, Values};
use super::schemas::Schema;
use super::seed::CustomObjectSeed;
use super::standard;

/// What distinguishes one standard object from another.
#[derive(Debug)]
pub(crate) struct StandardObject {
    pub(crate) plural: &'static str,
    singular: &'static str,
    type_id: &'static str,
    /// Scopes of which any one allows reading (`.0`) or writing (`.1`).
    object_scopes: (&'static [&'static str], &'static [&'static str]),
    pub(crate) group: &'static str,
    pub(crate) modified_property: &'static str,
    pub(crate) read_by_default: &'static [&'static str],
    pub(crate) documented_required: &'static [&'static str],
    /// Properties of which creation must set at least one, by the documentation.
    pub(crate) documented_one_of: &'static [&'static str],
    pub(crate) searched: &'static [&'static str],
}

pub(crate) const STANDARD_OBJECTS: &[StandardObject] = &[
    StandardObject {
        plural: "contacts",
        singular: "contact",
        type_id: "0-1",
        object_scopes: (&["crm.objects.contacts.read"], &["crm.objects.contacts.write"]),
        group: "contactinformation",
        modified_property: "lastmodifieddate",
        read_by_default: &["createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname"],
        documented_required: &[],
        documented_one_of: &["email", "firstname", "lastname"],
        searched: &["email", "firstname", "lastname", "phone", "company", "hs_additional_emails"],
    },
    StandardObject {
        plural: "companies",
        singular: "company",
        type_id: "0-2",
        object_scopes: (&["crm.objects.companies.read"], &["crm.objects.companies.write"]),
        group: "companyinformation",
        modified_property: "hs_lastmodifieddate",
        read_by_default: &["createdate", "domain", "hs_lastmodifieddate", "hs_object_id", "name"],
        documented_required: &[],
        documented_one_of: &["domain", "name"],
        searched: &["name", "domain", "phone", "website"],
    },
    StandardObject {
        plural: "deals",
        singular: "deal",
        type_id: "0-3",
        object_scopes: (&["crm.objects.deals.read"], &["crm.objects.deals.write"]),
        group: "dealinformation",
        modified_property: "hs_lastmodifieddate",
        read_by_default: &[
            "amount",
            "closedate",
            "createdate",
            "dealname",
            "dealstage",
            "hs_lastmodifieddate",
            "hs_object_id",
            "pipeline",
        ],
        documented_required: &["dealname", "dealstage", "pipeline"],
        documented_one_of: &[],
        searched: &["dealname", "description"],
    },
    StandardObject {
        plural: "tickets",
        singular: "ticket",
        type_id: "0-5",
        object_scopes: (&["tickets"], &["tickets"]),
        group: "ticketinformation",
        modified_property: "hs_lastmodifieddate",
        read_by_default: &[
            "content",
            "createdate",
            "hs_lastmodifieddate",
            "hs_object_id",
            "hs_pipeline",
            "hs_pipeline_stage",
            "hs_ticket_priority",
            "subject",
        ],
        documented_required: &["hs_pipeline", "hs_pipeline_stage", "subject"],
        documented_one_of: &[],
        searched: &["subject", "content"],
    },
    StandardObject {
        plural: "products",
        singular: "product",
        type_id: "0-7",
        object_scopes: (&["crm.objects.products.read", "e-commerce"], &["crm.objects.products.write", "e-commerce"]),
        group: "productinformation",
        modified_property: "hs_lastmodifieddate",
        read_by_default: &[
            "createdate",
            "description",
            "hs_lastmodifieddate",
            "hs_object_id",
            "hs_sku",
            "name",
            "price",
        ],
        documented_required: &["name", "price"],
        documented_one_of: &[],
        searched: &["name", "description", "hs_sku"],
    },
];

/// What a request wants to do with a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadRecords,
    WriteRecords,
    ReadDefinitions,
    WriteDefinitions,
}

/// An object type of a portal.
#[derive(Debug)]
pub(crate) struct ObjectType {
    /// Plural name of a standard object, bare name of a custom one.
    pub(crate) name: String,
    pub(crate) singular: String,
    pub(crate) type_id: String,
    qualified: Option<String>,
    object_scopes: (Vec<String>, Vec<String>),
    schema_scopes: (String, String),
    pub(crate) definitions: BTreeMap<Arc<str>, Definition>,
    pub(crate) groups: Vec<PropertyGroup>,
    /// Of custom objects.
    pub(crate) schema: Option<Schema>,
    /// Properties that creation must set in every version.
    pub(crate) schema_required: Vec<String>,
    pub(crate) documented_required: Vec<String>,
    pub(crate) documented_one_of: Vec<String>,
    /// Properties that an administrator made required.
    pub(crate) admin_required: Vec<String>,
    pub(crate) read_by_default: Vec<String>,
    pub(crate) searched: Vec<String>,
    pub(crate) records: Records,
}

impl ObjectType {
    pub(crate) fn standard(object: &StandardObject, first_record_id: u64) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        Self {
            name: object.plural.to_owned(),
            singular: object.singular.to_owned(),
            type_id: object.type_id.to_owned(),
            qualified: None,
            object_scopes: (owned(object.object_scopes.0), owned(object.object_scopes.1)),
            schema_scopes: schema_scopes(object.plural),
            definitions: by_name(standard::definitions(object)),
            groups: groups(object.group),
            schema: None,
            schema_required: Vec::new(),
            documented_required: owned(object.documented_required),
            documented_one_of: owned(object.documented_one_of),
            admin_required: Vec::new(),
            read_by_default: owned(object.read_by_default),
            searched: owned(object.searched),
            records: Records::starting_at(first_record_id),
        }
    }

    pub(crate) fn custom(seed: &CustomObjectSeed, portal_id: u64, first_record_id: u64) -> Self {
        Self {
            name: seed.name.clone(),
            singular: seed.name.clone(),
            type_id: format!("2-{}", seed.type_number),
            qualified: Some(format!("p{portal_id}_{}", seed.name)),
            object_scopes: (vec!["crm.objects.custom.read".to_owned()], vec!["crm.objects.custom.write".to_owned()]),
            schema_scopes: schema_scopes("custom"),
            definitions: by_name(standard::custom_definitions()),
            groups: groups(&format!("{}_information", seed.name.to_lowercase())),
            schema: Some(Schema::of_seed(seed)),
            schema_required: seed.required_properties.clone(),
            documented_required: Vec::new(),
            documented_one_of: Vec::new(),
            admin_required: Vec::new(),
            read_by_default: ["hs_createdate", "hs_lastmodifieddate", "hs_object_id"].map(str::to_owned).to_vec(),
            searched: seed.properties.iter().map(|p| p.name.clone()).collect(),
            records: Records::starting_at(first_record_id),
        }
    }

    /// Whether a path segment means this type. A custom object is not found by its bare name.
    pub(crate) fn answers_to(&self, segment: &str) -> bool {
        if self.schema.as_ref().is_some_and(|schema| schema.archived) {
            return false;
        }
        if segment.eq_ignore_ascii_case(&self.type_id) {
            return true;
        }
        match &self.qualified {
            Some(qualified) => segment.eq_ignore_ascii_case(qualified),
            None => segment.eq_ignore_ascii_case(&self.name) || segment.eq_ignore_ascii_case(&self.singular),
        }
    }

    /// `CONTACT`, as error messages name the type.
    pub(crate) fn shouted(&self) -> String {
        match &self.qualified {
            Some(_) => self.type_id.clone(),
            None => self.singular.to_uppercase(),
        }
    }

    /// `Contact`, as conflict messages name the type.
    pub(crate) fn capitalised(&self) -> String {
        let mut chars = self.singular.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
    }

    /// Scopes of which any one allows the access.
    pub(crate) fn scopes(&self, access: Access) -> Vec<String> {
        match access {
            Access::ReadRecords => self.object_scopes.0.clone(),
            Access::WriteRecords => self.object_scopes.1.clone(),
            Access::ReadDefinitions => {
                let mut scopes = vec![self.schema_scopes.0.clone()];
                scopes.extend(self.object_scopes.0.iter().cloned());
                scopes.extend(self.object_scopes.1.iter().cloned());
                scopes
            }
            Access::WriteDefinitions => vec![self.schema_scopes.1.clone()],
        }
    }

    /// The definition that is in force, if any: archived ones are not.
    pub(crate) fn definition(&self, name: &str) -> Option<&Definition> {
        self.definitions.get(name).filter(|d| !d.is_archived())
    }

    /// The value of a property as reads show it.
    pub(crate) fn value<'a>(
        &self,
        record: &'a Stored,
        values: &'a Values,
        definition: &Definition,
    ) -> Option<Cow<'a, str>> {
        if let Some(stored) = values.get(&definition.name) {
            return Some(Cow::Borrowed(stored));
        }
        let text = |name: &str| values.get(name).map(String::as_str);
        Some(match definition.derived? {
            Derived::RecordId => Cow::Owned(record.id.to_string()),
            Derived::CreatedAt => Cow::Owned(iso_from_ms(record.created_at_ms)),
            Derived::UpdatedAt => Cow::Owned(iso_from_ms(record.updated_at_ms)),
            Derived::LeadSince => Cow::Owned(iso_from_ms(record.created_at_ms)),
            Derived::EmailDomain => Cow::Borrowed(text("email")?.rsplit_once('@')?.1),
            Derived::FullNameOrEmail => match (text("firstname"), text("lastname")) {
                (Some(first), Some(last)) => Cow::Owned(format!("{first} {last}")),
                (Some(only), None) | (None, Some(only)) => Cow::Borrowed(only),
                (None, None) => Cow::Borrowed(text("email")?),
            },
            Derived::Constant(constant) => Cow::Borrowed(constant),
        })
    }
}

/// The group of an object's own properties, and that of properties which integrations make.
fn groups(own: &str) -> Vec<PropertyGroup> {
    [own, "integrationcreatedproperties"].map(PropertyGroup::new).to_vec()
}

fn schema_scopes(plural: &str) -> (String, String) {
    (format!("crm.schemas.{plural}.read"), format!("crm.schemas.{plural}.write"))
}

fn by_name(definitions: Vec<Definition>) -> BTreeMap<Arc<str>, Definition> {
    definitions.into_iter().map(|d| (Arc::clone(&d.name), d)).collect()
}
