//! The properties that standard and custom objects have from the start.

use super::definition::{Choice, Definition, Derived, Echo, Kind, true_and_false};
use super::object_type::StandardObject;

/// Time at which the service defined its own properties; any time before the portal's will do.
const DEFINED_AT_MS: i64 = 1_565_057_289_377;

const LIFECYCLE_STAGES: &[&str] = &[
    "subscriber",
    "lead",
    "marketingqualifiedlead",
    "salesqualifiedlead",
    "opportunity",
    "customer",
    "evangelist",
    "other",
];
const DEAL_STAGES: &[&str] = &[
    "appointmentscheduled",
    "qualifiedtobuy",
    "presentationscheduled",
    "decisionmakerboughtin",
    "contractsent",
    "closedwon",
    "closedlost",
];
const TICKET_STAGES: &[&str] = &["1", "2", "3", "4"];
const INDUSTRIES: &[&str] = &[
    "ACCOUNTING",
    "BANKING",
    "BIOTECHNOLOGY",
    "COMPUTER_SOFTWARE",
    "EDUCATION_MANAGEMENT",
    "RETAIL",
    "TELECOMMUNICATIONS",
];

/// Properties of a standard object.
pub(crate) fn definitions(object: &StandardObject) -> Vec<Definition> {
    let mut all = match object.plural {
        "contacts" => contacts(),
        "companies" => companies(),
        "deals" => deals(),
        "tickets" => tickets(),
        "products" => products(),
        // The list of standard objects and this match are kept together by the test below.
        _ => Vec::new(),
    };
    all.extend(system("createdate", object.modified_property));
    finish(all, object.group)
}

/// Properties every custom object has.
pub(crate) fn custom_definitions() -> Vec<Definition> {
    let mut all = system("hs_createdate", "hs_lastmodifieddate");
    all.push(owner());
    finish(all, "custom_object_information")
}

fn finish(mut all: Vec<Definition>, group: &str) -> Vec<Definition> {
    for definition in &mut all {
        definition.hubspot_defined = true;
        definition.group_name = group.to_owned();
        definition.created_at_ms = DEFINED_AT_MS;
        definition.updated_at_ms = DEFINED_AT_MS;
    }
    all
}

fn contacts() -> Vec<Definition> {
    let mut additional_emails =
        named("hs_additional_emails", "Additional email addresses", Kind::Enumeration, "checkbox");
    additional_emails.external_options = true;
    let mut lifecycle = choice("lifecyclestage", "Lifecycle Stage", "radio", LIFECYCLE_STAGES);
    lifecycle.echo = Echo::Always;
    let mut associated = named("associatedcompanyid", "Primary Associated Company ID", Kind::Number, "number");
    associated.external_options = true;
    associated.referenced_object_type = Some("COMPANY");
    let mut all = vec![
        text("email", "Email"),
        text("firstname", "First Name"),
        text("lastname", "Last Name"),
        named("phone", "Phone Number", Kind::String, "phonenumber"),
        named("mobilephone", "Mobile Phone Number", Kind::String, "phonenumber"),
        text("company", "Company Name"),
        text("jobtitle", "Job Title"),
        text("website", "Website URL"),
        text("address", "Street Address"),
        text("city", "City"),
        text("country", "Country/Region"),
        text("zip", "Postal Code"),
        lifecycle,
        additional_emails,
        associated,
        owner(),
        read_only(choice("hs_marketable_status", "Marketing contact status", "booleancheckbox", &["true", "false"])),
        computed("hs_all_contact_vids", Kind::String, "text", Derived::RecordId, Echo::OnCreate),
        computed("hs_email_domain", Kind::String, "text", Derived::EmailDomain, Echo::OnCreate),
        computed("hs_full_name_or_email", Kind::String, "text", Derived::FullNameOrEmail, Echo::OnCreate),
        computed("hs_lifecyclestage_lead_date", Kind::DateTime, "date", Derived::LeadSince, Echo::OnCreate),
        computed("hs_is_unworked", Kind::Bool, "booleancheckbox", Derived::Constant("true"), Echo::Always),
        computed("hs_pipeline", Kind::String, "text", Derived::Constant("contacts-lifecycle-pipeline"), Echo::Always),
        computed("hs_is_contact", Kind::Bool, "booleancheckbox", Derived::Constant("true"), Echo::OnCreate),
        computed(
            "hs_currently_enrolled_in_prospecting_agent",
            Kind::Bool,
            "booleancheckbox",
            Derived::Constant("false"),
            Echo::OnCreate,
        ),
    ];
    for counter in [
        "hs_associated_target_accounts",
        "hs_membership_has_accessed_private_content",
        "hs_prospecting_agent_actively_enrolled_count",
        "hs_prospecting_agent_total_enrolled_count",
        "hs_registered_member",
        "hs_sequences_actively_enrolled_count",
        "num_notes",
    ] {
        all.push(computed(counter, Kind::Number, "number", Derived::Constant("0"), Echo::OnCreate));
    }
    all
}

fn companies() -> Vec<Definition> {
    vec![
        text("name", "Company name"),
        text("domain", "Company Domain Name"),
        choice("industry", "Industry", "select", INDUSTRIES),
        named("phone", "Phone Number", Kind::String, "phonenumber"),
        text("website", "Website URL"),
        text("city", "City"),
        text("country", "Country/Region"),
        named("description", "Description", Kind::String, "textarea"),
        named("numberofemployees", "Number of Employees", Kind::Number, "number"),
        named("annualrevenue", "Annual Revenue", Kind::Number, "number"),
        choice("lifecyclestage", "Lifecycle Stage", "radio", LIFECYCLE_STAGES),
        owner(),
    ]
}

fn deals() -> Vec<Definition> {
    vec![
        text("dealname", "Deal Name"),
        named("amount", "Amount", Kind::Number, "number"),
        choice("dealstage", "Deal Stage", "radio", DEAL_STAGES),
        choice("pipeline", "Pipeline", "select", &["default"]),
        named("closedate", "Close Date", Kind::DateTime, "date"),
        named("description", "Deal Description", Kind::String, "textarea"),
        owner(),
    ]
}

fn tickets() -> Vec<Definition> {
    vec![
        text("subject", "Ticket name"),
        named("content", "Ticket description", Kind::String, "textarea"),
        choice("hs_pipeline", "Pipeline", "select", &["0"]),
        choice("hs_pipeline_stage", "Ticket status", "select", TICKET_STAGES),
        choice("hs_ticket_priority", "Priority", "select", &["LOW", "MEDIUM", "HIGH", "URGENT"]),
        owner(),
    ]
}

fn products() -> Vec<Definition> {
    let mut sku = text("hs_sku", "SKU");
    sku.has_unique_value = true;
    vec![
        text("name", "Name"),
        named("price", "Unit price", Kind::Number, "number"),
        sku,
        named("description", "Product description", Kind::String, "textarea"),
        named("hs_cost_of_goods_sold", "Unit cost", Kind::Number, "number"),
        text("hs_url", "URL"),
    ]
}

fn system(created: &str, modified: &str) -> Vec<Definition> {
    // The creation time can be written, as on the real service; what was written is shown instead.
    let mut created = named(created, "Create Date", Kind::DateTime, "date");
    created.derived = Some(Derived::CreatedAt);
    created.echo = Echo::Always;
    let mut creation_key = read_only(text("hs_unique_creation_key", "Unique creation key"));
    // Unique but not writable: a trap for clients that take every unique property for a key.
    creation_key.has_unique_value = true;
    let source = |name, value| computed(name, Kind::String, "text", Derived::Constant(value), Echo::Always);
    vec![
        created,
        computed(modified, Kind::DateTime, "date", Derived::UpdatedAt, Echo::Always),
        computed("hs_object_id", Kind::Number, "number", Derived::RecordId, Echo::Always),
        source("hs_object_source", "INTEGRATION"),
        source("hs_object_source_id", "19083857"),
        source("hs_object_source_label", "INTEGRATION"),
        creation_key,
        read_only(choice("hs_merged_object_ids", "Merged record IDs", "checkbox", &[])),
        read_only(named("hs_notes_last_activity", "Last activity", Kind::ObjectCoordinates, "text")),
    ]
}

fn owner() -> Definition {
    let mut owner = named("hubspot_owner_id", "Owner", Kind::Enumeration, "select");
    owner.external_options = true;
    owner.referenced_object_type = Some("OWNER");
    owner
}

fn text(name: &str, label: &str) -> Definition {
    named(name, label, Kind::String, "text")
}

fn named(name: &str, label: &str, kind: Kind, field_type: &str) -> Definition {
    let mut definition = Definition::new(name, kind, field_type);
    definition.label = label.to_owned();
    if kind == Kind::Bool {
        definition.choices = true_and_false();
    }
    definition
}

fn choice(name: &str, label: &str, field_type: &str, values: &[&str]) -> Definition {
    let mut definition = named(name, label, Kind::Enumeration, field_type);
    definition.choices = values
        .iter()
        .zip(0..)
        .map(|(value, display_order)| Choice {
            label: (*value).to_owned(),
            value: (*value).to_owned(),
            description: Some(String::new()),
            display_order,
            hidden: false,
        })
        .collect();
    definition
}

fn read_only(mut definition: Definition) -> Definition {
    definition.read_only_value = true;
    definition
}

fn computed(name: &str, kind: Kind, field_type: &str, derived: Derived, echo: Echo) -> Definition {
    let mut definition = read_only(named(name, name, kind, field_type));
    definition.derived = Some(derived);
    definition.echo = echo;
    definition.hidden = true;
    definition.form_field = false;
    definition
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::object_type::STANDARD_OBJECTS;
    use super::definitions;

    #[test]
    fn every_standard_object_has_distinct_properties_and_those_it_refers_to() {
        for object in STANDARD_OBJECTS {
            let all = definitions(object);
            let names: BTreeSet<&str> = all.iter().map(|d| &*d.name).collect();
            assert_eq!(names.len(), all.len(), "{}: a property is defined twice", object.plural);
            for name in object.read_by_default.iter().chain(object.documented_required).chain(object.searched) {
                assert!(names.contains(name), "{}: {name} is not defined", object.plural);
            }
        }
    }
}
