//! People: what identifies them, and what their attributes mean to the service.

use rsync_core::destination::{KeyFolding, NameRefusal, Target};
use rsync_core::error::{Error, Kind, Result};

use crate::object::Object;

/// Longest name of an attribute, in bytes.
const NAME_BYTES_MAX: usize = 150;

/// What a person is addressed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identifier {
    /// The host's own id.
    Id,
    Email,
    /// Where the workspace has phone numbers as identifiers.
    Phone,
    /// The id that the service gives. It never changes.
    CioId,
}

impl Identifier {
    pub(crate) const ALL: [Identifier; 4] = [Identifier::Id, Identifier::Email, Identifier::Phone, Identifier::CioId];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Identifier::Id => "id",
            Identifier::Email => "email",
            Identifier::Phone => "phone",
            Identifier::CioId => "cio_id",
        }
    }

    /// The identifier that `target` matches on.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`] for an object that there is not, [`Kind::SchemaMismatch`] for a field that identifies nobody.
    pub(crate) fn of_target(target: &Target) -> Result<Self> {
        let object = Object::of(target)?;
        let match_on = target.match_on.as_str();
        let named = Self::ALL.into_iter().find(|identifier| identifier.name() == match_on);
        named.filter(|identifier| object.addresses_by(*identifier)).ok_or_else(|| {
            Error::new(Kind::SchemaMismatch, "address people", "the field does not identify people")
                .with_context("field", match_on)
                .with_remedy("match on id, email or cio_id, or on phone where it is not about a segment")
        })
    }

    /// How the service compares its values.
    pub(crate) fn folding(self) -> KeyFolding {
        match self {
            Identifier::Email => KeyFolding::CaselessTrimmed,
            _ => KeyFolding::Exact,
        }
    }
}

/// What a value of an attribute must be, beyond what holds for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    /// An identifier of the person beside the one that they are addressed by.
    Identifier(Identifier),
    /// Whether the person has opted out of everything.
    Unsubscribed,
    /// Whether the person wants the messages of one topic.
    Topic,
    Plain,
}

impl Attribute {
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "id" => Attribute::Identifier(Identifier::Id),
            "email" => Attribute::Identifier(Identifier::Email),
            "unsubscribed" => Attribute::Unsubscribed,
            _ if is_topic(name) => Attribute::Topic,
            // A phone number identifies people only where the workspace says so; elsewhere it has any form.
            _ => Attribute::Plain,
        }
    }
}

/// Names that are no attributes, or attributes that the service sets itself or that have effects beyond the person's
/// attributes. None of them can be written.
pub(crate) const RESERVED: [&str; 12] = [
    "_created_in_customerio_at",
    "_last_emailed",
    "_timestamp",
    "_update",
    "anonymous_id",
    "cio_email_tracking_consent",
    "cio_relationships",
    "cio_subscription_preferences",
    "email_sha256",
    "mobile_ad_id",
    "mobile_ad_id_sha256",
    "timezone_valid",
];

/// Names in the data of an event that would send messages to others, or in the name of others, than a campaign says.
pub(crate) const EVENT_RESERVED: [&str; 3] = ["from_address", "recipient", "reply_to"];

/// The field of an event that is the moment when it happened.
pub(crate) const TIMESTAMP: &str = "timestamp";

/// Whether the name addresses one topic among the subscription preferences, which leaves the others as they are.
fn is_topic(name: &str) -> bool {
    let number = name.strip_prefix("cio_subscription_preferences.topics.topic_");
    number.is_some_and(|number| (1..=19).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Why an attribute of a person cannot have this name; `None` if it can.
pub(crate) fn attribute_refusal(name: &str) -> Option<NameRefusal> {
    if is_topic(name) { None } else { name_refusal(name) }
}

/// Why a piece of data cannot have this name; `None` if it can.
pub(crate) fn name_refusal(name: &str) -> Option<NameRefusal> {
    let refuse = |cause, fix| Some(NameRefusal { cause, fix });
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
        return refuse("the name has more than 150 bytes, or none", "give it a name of 1 to 150 bytes");
    }
    if name.starts_with('_') {
        return refuse("names with an underscore in front are the service's own", "choose another name");
    }
    if name.contains('.') {
        return refuse(
            "a dot in the name addresses a part of another attribute",
            "choose a name without a dot, such as address_city",
        );
    }
    None
}
