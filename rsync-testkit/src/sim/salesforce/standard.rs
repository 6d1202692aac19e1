//! The standard objects with the fields that integrations meet: a compact table, in the order of descriptions.

use super::field::{Choice, Field, Kind};

/// What a field holds.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Text(usize),
    Area(usize),
    Phone(usize),
    Url(usize),
    Email,
    Pick(usize, &'static [&'static str]),
    Restricted(usize, &'static [&'static str]),
    Bool,
    Int(usize),
    Double(usize, usize),
    Currency(usize, usize),
    Percent(usize, usize),
    Date,
    DateTime,
    Ref(&'static [&'static str], &'static str),
    Address,
    AutoNumber(usize),
    Id,
}
use Shape::{
    Address, Area, AutoNumber, Bool, Currency, Date, DateTime, Double, Email, Id, Int, Percent, Phone, Pick, Ref,
    Restricted, Text, Url,
};

/// Name, label, shape, and properties as letters: `c` createable, `u` updateable, `n` nillable, `d` defaulted on
/// creation, `l` a key for lookups.
type Line = (&'static str, &'static str, Shape, &'static str);

/// A standard object.
pub(crate) struct Standard {
    pub(crate) name: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) prefix: &'static str,
    /// Whether requests may create, change and delete records.
    pub(crate) writable: bool,
    own: &'static [Line],
    /// Field that names a record.
    name_field: &'static str,
    /// Compound name of a person or fields of an address: the prefix of the parts.
    addresses: &'static [&'static str],
}

const USER: &[&str] = &["User"];
const GROUP_OR_USER: &[&str] = &["Group", "User"];

const SALUTATIONS: &[&str] = &["Mr.", "Ms.", "Mrs.", "Dr.", "Prof."];
const SOURCES: &[&str] = &["Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other"];
const RATINGS: &[&str] = &["Hot", "Warm", "Cold"];
const INDUSTRIES: &[&str] = &[
    "Agriculture",
    "Banking",
    "Biotechnology",
    "Consulting",
    "Education",
    "Energy",
    "Engineering",
    "Finance",
    "Healthcare",
    "Insurance",
    "Manufacturing",
    "Media",
    "Retail",
    "Technology",
    "Utilities",
    "Other",
];
const CLEAN: &[&str] =
    &["Matched", "Different", "Acknowledged", "NotFound", "Inactive", "Pending", "SelectMatch", "Skipped"];
const ACCURACIES: &[&str] = &[
    "Address",
    "NearAddress",
    "Block",
    "Street",
    "ExtendedZip",
    "Zip",
    "Neighborhood",
    "City",
    "County",
    "State",
    "Unknown",
];

const ACCOUNT: &[Line] = &[
    ("MasterRecordId", "Master Record ID", Ref(&["Account"], "MasterRecord"), "n"),
    ("Name", "Account Name", Text(255), "cu"),
    (
        "Type",
        "Account Type",
        Pick(40, &["Prospect", "Customer - Direct", "Customer - Channel", "Technology Partner", "Other"]),
        "cun",
    ),
    ("ParentId", "Parent Account ID", Ref(&["Account"], "Parent"), "cun"),
    ("Phone", "Account Phone", Phone(40), "cun"),
    ("Fax", "Account Fax", Phone(40), "cun"),
    ("AccountNumber", "Account Number", Text(40), "cun"),
    ("Website", "Website", Url(255), "cun"),
    ("PhotoUrl", "Photo URL", Url(255), "n"),
    ("Sic", "SIC Code", Text(20), "cun"),
    ("Industry", "Industry", Pick(40, INDUSTRIES), "cun"),
    ("AnnualRevenue", "Annual Revenue", Currency(18, 0), "cun"),
    ("NumberOfEmployees", "Employees", Int(8), "cun"),
    ("Ownership", "Ownership", Pick(40, &["Public", "Private", "Subsidiary", "Other"]), "cun"),
    ("TickerSymbol", "Ticker Symbol", Text(20), "cun"),
    ("Description", "Account Description", Area(32_000), "cun"),
    ("Rating", "Account Rating", Pick(40, RATINGS), "cun"),
    ("Site", "Account Site", Text(80), "cun"),
    ("AccountSource", "Account Source", Pick(40, SOURCES), "cun"),
    ("CleanStatus", "Clean Status", Restricted(40, CLEAN), "cun"),
];

const CONTACT: &[Line] = &[
    ("MasterRecordId", "Master Record ID", Ref(&["Contact"], "MasterRecord"), "n"),
    ("AccountId", "Account ID", Ref(&["Account"], "Account"), "cun"),
    ("LastName", "Last Name", Text(80), "cu"),
    ("FirstName", "First Name", Text(40), "cun"),
    ("Salutation", "Salutation", Pick(40, SALUTATIONS), "cun"),
    ("Name", "Full Name", Text(121), ""),
    ("Phone", "Business Phone", Phone(40), "cun"),
    ("Fax", "Business Fax", Phone(40), "cun"),
    ("MobilePhone", "Mobile Phone", Phone(40), "cun"),
    ("HomePhone", "Home Phone", Phone(40), "cun"),
    ("ReportsToId", "Reports To ID", Ref(&["Contact"], "ReportsTo"), "cun"),
    ("Email", "Email", Email, "cunl"),
    ("Title", "Title", Text(128), "cun"),
    ("Department", "Department", Text(80), "cun"),
    ("AssistantName", "Assistant's Name", Text(40), "cun"),
    ("LeadSource", "Lead Source", Pick(255, SOURCES), "cun"),
    ("Birthdate", "Birthdate", Date, "cun"),
    ("Description", "Contact Description", Area(32_000), "cun"),
    ("EmailBouncedReason", "Email Bounced Reason", Text(255), "cun"),
    ("EmailBouncedDate", "Email Bounced Date", DateTime, "cun"),
    ("IsEmailBounced", "Is Email Bounced", Bool, "d"),
    ("PhotoUrl", "Photo URL", Url(255), "n"),
    ("CleanStatus", "Clean Status", Restricted(40, CLEAN), "cun"),
];

const LEAD: &[Line] = &[
    ("MasterRecordId", "Master Record ID", Ref(&["Lead"], "MasterRecord"), "n"),
    ("LastName", "Last Name", Text(80), "cu"),
    ("FirstName", "First Name", Text(40), "cun"),
    ("Salutation", "Salutation", Pick(40, SALUTATIONS), "cun"),
    ("Name", "Full Name", Text(121), ""),
    ("Title", "Title", Text(128), "cun"),
    ("Company", "Company", Text(255), "cu"),
    ("Phone", "Phone", Phone(40), "cun"),
    ("MobilePhone", "Mobile Phone", Phone(40), "cun"),
    ("Email", "Email", Email, "cunl"),
    ("Website", "Website", Url(255), "cun"),
    ("Description", "Description", Area(32_000), "cun"),
    ("LeadSource", "Lead Source", Pick(255, SOURCES), "cun"),
    (
        "Status",
        "Status",
        Pick(255, &["Open - Not Contacted", "Working - Contacted", "Closed - Converted", "Closed - Not Converted"]),
        "cud",
    ),
    ("Industry", "Industry", Pick(255, INDUSTRIES), "cun"),
    ("Rating", "Rating", Pick(255, RATINGS), "cun"),
    ("AnnualRevenue", "Annual Revenue", Currency(18, 0), "cun"),
    ("NumberOfEmployees", "Employees", Int(8), "cun"),
    ("IsConverted", "Converted", Bool, "cd"),
    ("ConvertedDate", "Converted Date", Date, "n"),
    ("ConvertedAccountId", "Converted Account ID", Ref(&["Account"], "ConvertedAccount"), "n"),
    ("ConvertedContactId", "Converted Contact ID", Ref(&["Contact"], "ConvertedContact"), "n"),
    ("IsUnreadByOwner", "Unread By Owner", Bool, "cud"),
    ("CleanStatus", "Clean Status", Restricted(40, CLEAN), "cun"),
    ("EmailBouncedReason", "Email Bounced Reason", Text(255), "un"),
    ("EmailBouncedDate", "Email Bounced Date", DateTime, "un"),
];

const OPPORTUNITY: &[Line] = &[
    ("AccountId", "Account ID", Ref(&["Account"], "Account"), "cun"),
    ("IsPrivate", "Private", Bool, "cud"),
    ("Name", "Name", Text(120), "cul"),
    ("Description", "Description", Area(32_000), "cun"),
    (
        "StageName",
        "Stage",
        Pick(
            255,
            &["Prospecting", "Qualification", "Needs Analysis", "Value Proposition", "Closed Won", "Closed Lost"],
        ),
        "cu",
    ),
    ("Amount", "Amount", Currency(18, 2), "cun"),
    ("Probability", "Probability (%)", Percent(3, 0), "cund"),
    ("ExpectedRevenue", "Expected Amount", Currency(18, 2), "n"),
    ("TotalOpportunityQuantity", "Quantity", Double(18, 2), "cun"),
    ("CloseDate", "Close Date", Date, "cu"),
    ("Type", "Opportunity Type", Pick(255, &["Existing Customer - Upgrade", "New Customer"]), "cun"),
    ("NextStep", "Next Step", Text(255), "cun"),
    ("LeadSource", "Lead Source", Pick(255, SOURCES), "cun"),
    ("IsClosed", "Closed", Bool, "d"),
    ("IsWon", "Won", Bool, "d"),
    (
        "ForecastCategoryName",
        "Forecast Category",
        Restricted(255, &["Omitted", "Pipeline", "Best Case", "Commit", "Closed"]),
        "cund",
    ),
    ("ContactId", "Contact ID", Ref(&["Contact"], ""), "cn"),
];

const CASE: &[Line] = &[
    ("MasterRecordId", "Master Record ID", Ref(&["Case"], "MasterRecord"), "n"),
    ("CaseNumber", "Case Number", AutoNumber(30), "dl"),
    ("ContactId", "Contact ID", Ref(&["Contact"], "Contact"), "cun"),
    ("AccountId", "Account ID", Ref(&["Account"], "Account"), "cun"),
    ("ParentId", "Parent Case ID", Ref(&["Case"], "Parent"), "cun"),
    ("SuppliedName", "Name", Text(80), "cun"),
    ("SuppliedEmail", "Email Address", Email, "cun"),
    ("SuppliedPhone", "Phone", Text(40), "cun"),
    ("Type", "Case Type", Pick(40, &["Mechanical", "Electrical", "Electronic", "Structural", "Other"]), "cun"),
    ("Status", "Status", Pick(40, &["New", "Working", "Escalated", "Closed"]), "cund"),
    ("Reason", "Case Reason", Pick(40, &["Installation", "Performance", "Breakdown", "Feedback", "Other"]), "cun"),
    ("Origin", "Case Origin", Pick(40, &["Phone", "Email", "Web"]), "cun"),
    ("Subject", "Subject", Text(255), "cun"),
    ("Priority", "Priority", Pick(40, &["Medium", "High", "Low"]), "cund"),
    ("Description", "Description", Area(32_000), "cun"),
    ("IsClosed", "Closed", Bool, "d"),
    ("ClosedDate", "Closed Date", DateTime, "n"),
    ("IsEscalated", "Escalated", Bool, "cud"),
];

const USER_FIELDS: &[Line] = &[
    ("Username", "Username", Text(80), "l"),
    ("LastName", "Last Name", Text(80), ""),
    ("FirstName", "First Name", Text(40), "n"),
    ("Name", "Full Name", Text(121), ""),
    ("Email", "Email", Email, "l"),
    ("IsActive", "Active", Bool, "d"),
];

/// The standard objects.
pub(crate) const OBJECTS: [Standard; 6] = [
    Standard {
        name: "Account",
        plural: "Accounts",
        prefix: "001",
        writable: true,
        own: ACCOUNT,
        name_field: "Name",
        addresses: &["Billing", "Shipping"],
    },
    Standard {
        name: "Case",
        plural: "Cases",
        prefix: "500",
        writable: true,
        own: CASE,
        name_field: "CaseNumber",
        addresses: &[],
    },
    Standard {
        name: "Contact",
        plural: "Contacts",
        prefix: "003",
        writable: true,
        own: CONTACT,
        name_field: "Name",
        addresses: &["Other", "Mailing"],
    },
    Standard {
        name: "Lead",
        plural: "Leads",
        prefix: "00Q",
        writable: true,
        own: LEAD,
        name_field: "Name",
        addresses: &[""],
    },
    Standard {
        name: "Opportunity",
        plural: "Opportunities",
        prefix: "006",
        writable: true,
        own: OPPORTUNITY,
        name_field: "Name",
        addresses: &[],
    },
    Standard {
        name: "User",
        plural: "Users",
        prefix: "005",
        writable: false,
        own: USER_FIELDS,
        name_field: "Name",
        addresses: &[],
    },
];

/// Parts of an address, after its prefix.
const ADDRESS: &[Line] = &[
    ("Street", "Street", Area(255), "cun"),
    ("City", "City", Text(40), "cun"),
    ("State", "State/Province", Text(80), "cun"),
    ("PostalCode", "Zip/Postal Code", Text(20), "cun"),
    ("Country", "Country", Text(80), "cun"),
    ("Latitude", "Latitude", Double(18, 15), "cun"),
    ("Longitude", "Longitude", Double(18, 15), "cun"),
    ("GeocodeAccuracy", "Geocode Accuracy", Restricted(40, ACCURACIES), "cun"),
    ("Address", "Address", Address, "n"),
];

/// Fields at the beginning of every object.
const HEAD: &[Line] = &[("Id", "ID", Id, "dl"), ("IsDeleted", "Deleted", Bool, "d")];

/// Fields at the end of every object.
const TAIL: &[Line] = &[
    ("OwnerId", "Owner ID", Ref(USER, "Owner"), "cud"),
    ("CreatedDate", "Created Date", DateTime, "d"),
    ("CreatedById", "Created By ID", Ref(USER, "CreatedBy"), "d"),
    ("LastModifiedDate", "Last Modified Date", DateTime, "d"),
    ("LastModifiedById", "Last Modified By ID", Ref(USER, "LastModifiedBy"), "d"),
    ("SystemModstamp", "System Modstamp", DateTime, "d"),
];

/// Names of the standard objects.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    OBJECTS.iter().map(|object| object.name)
}

/// Their key prefixes, and those of ids that are no records here.
pub(crate) fn prefixes() -> impl Iterator<Item = &'static str> {
    OBJECTS.iter().map(|object| object.prefix).chain(["00D", "01g", "012"])
}

impl Standard {
    /// All fields in the order of descriptions.
    pub(crate) fn fields(&self) -> Vec<Field> {
        let mut fields = ends(self.name, HEAD);
        fields.extend(self.own.iter().map(field));
        for prefix in self.addresses {
            fields.extend(ADDRESS.iter().map(|line| address_part(prefix, line)));
        }
        fields.extend(ends(self.name, TAIL));
        // Cases and leads may wait in a queue, which is a group.
        if matches!(self.name, "Case" | "Lead")
            && let Some(owner) = fields.iter_mut().find(|field| &*field.name == "OwnerId")
        {
            owner.reference_to = GROUP_OR_USER.iter().map(|&name| name.to_owned()).collect();
        }
        for field in &mut fields {
            field.name_field = &*field.name == self.name_field;
            match &*field.name {
                "LastName" | "FirstName" | "Salutation" => {
                    field.compound = Some("Name".to_owned());
                    field.extra = Some("personname");
                }
                // With person accounts switched on, it is a person's name too.
                "Name" if self.name == "Account" => {
                    field.compound = Some("Name".to_owned());
                    field.extra = Some("switchablepersonname");
                }
                _ => {}
            }
        }
        fields
    }
}

/// Fields of a custom object beside its own.
pub(crate) fn custom_fields(label: &str) -> (Vec<Field>, Vec<Field>) {
    let mut head = ends(label, HEAD);
    let mut name = field(&("Name", "Name", Text(80), "cundl"));
    name.name_field = true;
    head.push(name);
    (head, ends(label, TAIL))
}

fn ends(object: &str, lines: &[Line]) -> Vec<Field> {
    let mut fields: Vec<Field> = lines.iter().map(field).collect();
    for field in &mut fields {
        if field.kind == Kind::Id {
            field.label = format!("{object} ID");
        }
    }
    fields
}

fn address_part(prefix: &str, line: &Line) -> Field {
    let mut part = field(line);
    let label = if prefix.is_empty() { part.label.clone() } else { format!("{prefix} {}", part.label) };
    let compound = (part.kind != Kind::Address).then(|| format!("{prefix}Address"));
    part.name = format!("{prefix}{}", part.name).into();
    (part.label, part.compound) = (label, compound);
    part
}

fn field(&(name, label, shape, properties): &Line) -> Field {
    let kind = match shape {
        Text(_) | AutoNumber(_) => Kind::Text,
        Area(_) => Kind::TextArea,
        Phone(_) => Kind::Phone,
        Url(_) => Kind::Url,
        Email => Kind::Email,
        Pick(..) | Restricted(..) => Kind::Picklist,
        Bool => Kind::Boolean,
        Int(_) => Kind::Int,
        Double(..) => Kind::Double,
        Currency(..) => Kind::Currency,
        Percent(..) => Kind::Percent,
        Date => Kind::Date,
        DateTime => Kind::DateTime,
        Ref(..) => Kind::Reference,
        Address => Kind::Address,
        Id => Kind::Id,
    };
    let mut field = Field::new(name, label, kind);
    let has = |letter| properties.contains(letter);
    field.createable = has('c');
    field.updateable = has('u');
    field.nillable = has('n');
    field.defaulted_on_create = has('d');
    field.id_lookup = has('l');
    match shape {
        Text(length) | Area(length) | Phone(length) | Url(length) => field.length = length,
        AutoNumber(length) => (field.length, field.auto_number) = (length, true),
        Email => field.length = 80,
        Pick(length, values) | Restricted(length, values) => {
            field.length = length;
            field.restricted = matches!(shape, Restricted(..));
            field.choices = values.iter().map(|&v| Choice { value: v.to_owned(), active: true }).collect();
            // The first value of a picklist that creation fills is the one it fills in; restricted ones follow others.
            field.default_value = values.first().filter(|_| has('d') && !field.restricted).map(|&v| v.to_owned());
        }
        Int(digits) => field.digits = digits,
        Double(precision, scale) | Currency(precision, scale) | Percent(precision, scale) => {
            (field.precision, field.scale) = (precision, scale);
        }
        Ref(objects, relationship) => {
            field.reference_to = objects.iter().map(|&object| object.to_owned()).collect();
            field.relationship = Some(relationship).filter(|r| !r.is_empty()).map(str::to_owned);
        }
        Bool | Date | DateTime | Address | Id => {}
    }
    field.extra = match shape {
        Area(_) => Some("plaintextarea"),
        _ => None,
    };
    field
}
