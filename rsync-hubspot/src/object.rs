//! Objects of the CRM and the keys that identify their records.

use rsync_core::destination::{KeyFolding, Target};
use rsync_core::error::{Error, Kind, Problem, Result};

use crate::place::Place;
use crate::value::parse_number;

/// The property that holds a record's own id.
pub(crate) const RECORD_ID: &str = "hs_object_id";
/// The contact's primary address.
pub(crate) const EMAIL: &str = "email";
/// The contact's other addresses, joined by `;`. Each of them identifies the contact, too.
pub(crate) const ADDITIONAL_EMAILS: &str = "hs_additional_emails";

/// Spellings of the objects that every account has, and the one used in paths.
const STANDARD: [(&str, &str, &str); 5] = [
    ("contacts", "contact", "0-1"),
    ("companies", "company", "0-2"),
    ("deals", "deal", "0-3"),
    ("tickets", "ticket", "0-5"),
    ("products", "product", "0-7"),
];

/// A checked object name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Object(String);

impl Object {
    /// Reads the name of an object.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        let standard = STANDARD.iter().find(|(plural, singular, id)| {
            name.eq_ignore_ascii_case(plural) || name.eq_ignore_ascii_case(singular) || name == *id
        });
        if let Some((plural, _, _)) = standard {
            return Ok(Self((*plural).to_owned()));
        }
        if is_custom(name) {
            return Ok(Self(name.to_owned()));
        }
        let problem = Problem::new(
            "target.object",
            "is not an object that can be written",
            "use contacts, companies, deals, tickets, products, or a custom object as 2-<number> or p<portal>_<name>",
        );
        Error::from_problems(Kind::InvalidConfig, "read the name of a HubSpot object", vec![problem])
            .map(|()| Self(String::new()))
    }

    /// The name in paths.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of its type, by which lists know it. The full name of a custom object does not tell it.
    pub(crate) fn type_id(&self) -> Option<&str> {
        let standard = STANDARD.iter().find(|(plural, _, _)| self.0 == *plural).map(|(_, _, id)| *id);
        standard.or_else(|| self.0.starts_with("2-").then_some(self.0.as_str()))
    }

    /// Whether the object is contacts, whose `email` has rules of its own.
    pub(crate) fn is_contacts(&self) -> bool {
        self.0 == "contacts"
    }
}

/// `2-<number>`, or `p<portal>_<name>` with a name of letters, digits and underscores.
fn is_custom(name: &str) -> bool {
    let digits = |text: &str| (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(id) = name.strip_prefix("2-") {
        return digits(id);
    }
    let Some((portal, name)) = name.strip_prefix('p').and_then(|rest| rest.split_once('_')) else { return false };
    digits(portal)
        && (1..=50).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// How records of a target are addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// By the record's own id.
    RecordId,
    /// By a contact's address.
    Email,
    /// By another property.
    Property,
}

impl KeyKind {
    pub(crate) fn of(object: &Object, match_on: &str) -> Self {
        match match_on {
            RECORD_ID => KeyKind::RecordId,
            EMAIL if object.is_contacts() => KeyKind::Email,
            _ => KeyKind::Property,
        }
    }

    /// As [`KeyKind::of`], for a target whose object has not been checked.
    pub(crate) fn of_target(target: &Target) -> Self {
        match Place::parse(&target.object) {
            Ok(place) => Self::of(&place.object, target.match_on.as_str()),
            Err(_) => KeyKind::Property,
        }
    }

    /// How the service compares such keys.
    pub(crate) fn folding(self) -> KeyFolding {
        match self {
            KeyKind::Email => KeyFolding::CaselessTrimmed,
            KeyKind::RecordId | KeyKind::Property => KeyFolding::Exact,
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
    /// By numeric value: the service may write `5` for `5.0`.
    Numeric,
}

impl Fold {
    pub(crate) fn new(kind: KeyKind, numeric: bool) -> Self {
        match kind {
            KeyKind::Email => Fold::Caseless,
            KeyKind::Property if numeric => Fold::Numeric,
            KeyKind::RecordId | KeyKind::Property => Fold::Exact,
        }
    }

    pub(crate) fn fold(self, key: &str) -> String {
        match self {
            Fold::Exact => key.to_owned(),
            Fold::Caseless => KeyFolding::CaselessTrimmed.folded(key),
            Fold::Numeric => match parse_number(key) {
                Some(number) => number.canonical(),
                None => key.to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn s05_object_names() {
        for (name, expected) in [
            ("contacts", "contacts"),
            ("Contact", "contacts"),
            ("0-1", "contacts"),
            ("companies", "companies"),
            ("deals", "deals"),
            ("tickets", "tickets"),
            ("products", "products"),
            ("2-77", "2-77"),
            ("p1_cars", "p1_cars"),
            ("p44237313_My_Cars2", "p44237313_My_Cars2"),
        ] {
            assert_eq!(Object::parse(name).unwrap().as_str(), expected);
        }
        for name in [
            "",
            "cars",
            "contacts/../x",
            "contacts?x=1",
            "2-",
            "2-7x",
            "2-7/batch",
            "p_cars",
            "p1_",
            "p1_1cars",
            "p1cars",
            "p1_ca rs",
            "p1_cars%2f",
            "..",
            ".",
            "contacts ",
            "ﬀ",
            "p1_c\u{e4}rs",
            "0-2/..",
            "2-\u{661}",
        ] {
            let error = Object::parse(name).unwrap_err();
            assert_eq!(
                (error.kind(), error.problems()[0].at.as_str()),
                (Kind::InvalidConfig, "target.object"),
                "{name:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn s05_accepted_names_are_plain_segments(name in any::<String>()) {
            if let Ok(object) = Object::parse(&name) {
                prop_assert!(object.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            }
        }
    }

    #[test]
    fn keys_fold_as_the_service_does() {
        assert_eq!(Fold::Caseless.fold(" Ada@Example.COM "), "ada@example.com");
        assert_eq!(Fold::Exact.fold(" A "), " A ");
        for text in ["5", "5.0", "05", "+5", "5e0", "0.5e1"] {
            assert_eq!(Fold::Numeric.fold(text), Fold::Numeric.fold("5"), "{text}");
        }
        assert_ne!(Fold::Numeric.fold("5"), Fold::Numeric.fold("50"));
    }
}
