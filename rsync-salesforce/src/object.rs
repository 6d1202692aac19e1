//! Objects and the keys that identify their records.

use rsync_core::destination::{KeyFolding, Target};
use rsync_core::error::{Error, Kind, Problem, Result};
use rsync_core::record::Number;

use crate::record_id;

/// The field that holds a record's own id.
pub(crate) const RECORD_ID: &str = "Id";

/// Longest name of an object or field, prefix and suffix included.
const NAME_MAX: usize = 80;

/// A checked object name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Object(String);

impl Object {
    /// Reads the name of an object.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        if is_api_name(name) {
            return Ok(Self(name.to_owned()));
        }
        let problem = Problem::new(
            "target.object",
            "is not the API name of an object",
            "use the API name, such as Contact or Invoice__c: letters, digits and '_', a letter first",
        );
        Error::from_problems(Kind::InvalidConfig, "read the name of a Salesforce object", vec![problem])
            .map(|()| Self(String::new()))
    }

    /// The name in paths, bodies and queries.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `name` has the form of an API name, and so means nothing else in a path or a query.
pub(crate) fn is_api_name(name: &str) -> bool {
    name.len() <= NAME_MAX
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// How records of a target are addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// By the record's own id.
    RecordId,
    /// By a field of the organization's own making, whose values can be made unique.
    Custom,
    /// By a field that every organization has, such as the address of a contact. Several records may share a value.
    Standard,
}

impl KeyKind {
    pub(crate) fn of(target: &Target) -> Self {
        match target.match_on.as_str() {
            RECORD_ID => KeyKind::RecordId,
            name if name.ends_with("__c") => KeyKind::Custom,
            _ => KeyKind::Standard,
        }
    }
}

/// Brings the spelling of a key that we sent and of one that the service returns together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    /// As written.
    Exact,
    /// Without case and outer white space.
    Caseless,
    /// By numeric value: the service may write `5.0` for `5`.
    Numeric,
    /// By the long form of a record id.
    RecordId,
}

impl Fold {
    pub(crate) fn fold(self, key: &str) -> String {
        match self {
            Fold::Exact => key.to_owned(),
            Fold::Caseless => KeyFolding::CaselessTrimmed.folded(key),
            Fold::Numeric => Number::parse(key).map_or_else(|| key.to_owned(), Number::canonical),
            Fold::RecordId => record_id::canonical(key).unwrap_or_else(|| key.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn s05_object_names() {
        for name in ["Contact", "contact", "Invoice__c", "ns__Invoice__c", "A1", &"a".repeat(80)] {
            assert_eq!(Object::parse(name).unwrap().as_str(), name);
        }
        let long = "a".repeat(81);
        for name in ["", "1a", "_a", "a b", "a/b", "..", "Contact/describe", "Contact%2f", "a'", "Ä", "a\0", &long] {
            let error = Object::parse(name).unwrap_err();
            assert_eq!((error.kind(), error.problems()[0].at.as_str()), (Kind::InvalidConfig, "target.object"));
        }
    }

    proptest! {
        #[test]
        fn s05_accepted_names_are_plain_segments(name in any::<String>()) {
            if let Ok(object) = Object::parse(&name) {
                prop_assert!(object.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
            }
        }
    }

    #[test]
    fn keys_fold_as_the_service_does() {
        assert_eq!(Fold::Caseless.fold(" Ada@Example.COM "), "ada@example.com");
        assert_eq!(Fold::Exact.fold(" A "), " A ");
        for text in ["5", "5.0", "5e0", "0.5E1"] {
            assert_eq!(Fold::Numeric.fold(text), Fold::Numeric.fold("5"), "{text}");
        }
        assert_ne!(Fold::Numeric.fold("5"), Fold::Numeric.fold("50"));
        assert_eq!(Fold::RecordId.fold("003ak00000luKU1"), "003ak00000luKU1AAM");
    }

    #[test]
    fn keys_have_kinds() {
        for (name, kind) in [
            ("Id", KeyKind::RecordId),
            ("Ext__c", KeyKind::Custom),
            ("Email", KeyKind::Standard),
            ("id", KeyKind::Standard),
        ] {
            assert_eq!(KeyKind::of(&Target::new("Contact", name)), kind, "{name}");
        }
    }
}
