//! What the object of a target names: an object of the CRM, or a list of its records.

use rsync_core::error::{Error, Kind, Problem, Result};

use crate::object::Object;

/// An object, and the list of its records whose members are changed, if the target names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) object: Object,
    pub(crate) list: Option<ListId>,
}

/// The number of a list, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListId(String);

impl ListId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Place {
    /// Reads `<object>` or `<object>/lists/<number>`.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        let Some((object, list)) = name.split_once("/lists/") else {
            return Ok(Self { object: Object::parse(name)?, list: None });
        };
        let object = Object::parse(object)?;
        let mut problems = Vec::new();
        if !(1..=20).contains(&list.len()) || !list.bytes().all(|b| b.is_ascii_digit()) {
            problems.push(Problem::new(
                "target.object",
                "names a list by something else than its number",
                "use <object>/lists/<number>; the number stands in the address of the list's page",
            ));
        }
        // Lists know objects by type id, and the full name of a custom object does not hold it.
        if object.type_id().is_none() {
            problems.push(Problem::new(
                "target.object",
                "names a list of a custom object whose number is not known",
                "name the custom object of a list by 2-<number>",
            ));
        }
        Error::from_problems(Kind::InvalidConfig, "read the name of a HubSpot list", problems)?;
        Ok(Self { object, list: Some(ListId(list.to_owned())) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn s05_lists_are_named_behind_their_object() {
        for (name, object, list) in [
            ("contacts", "contacts", None),
            ("Contact/lists/7", "contacts", Some("7")),
            ("0-2/lists/0611", "companies", Some("0611")),
            ("2-77/lists/9", "2-77", Some("9")),
        ] {
            let place = Place::parse(name).unwrap();
            assert_eq!((place.object.as_str(), place.list.as_ref().map(ListId::as_str)), (object, list), "{name}");
        }
        for name in [
            "lists/7",
            "/lists/7",
            "contacts/lists/",
            "contacts/lists/x",
            "contacts/lists/7/",
            "contacts/lists/7/lists/8",
            "contacts/lists/7/memberships",
            "contacts/lists/-7",
            "contacts/lists/\u{667}",
            "contacts/lists/123456789012345678901",
            "p1_cars/lists/7",
        ] {
            let error = Place::parse(name).unwrap_err();
            assert_eq!((error.kind(), error.problems().len()), (Kind::InvalidConfig, 1), "{name}");
        }
        assert_eq!(Place::parse("p1_cars/lists/x").unwrap_err().problems().len(), 2);
    }

    proptest! {
        #[test]
        fn s05_accepted_lists_are_numbers(object in "contacts|2-7|p1_cars|.{0,3}", list in any::<String>()) {
            if let Ok(place) = Place::parse(&format!("{object}/lists/{list}")) {
                prop_assert!(place.list.unwrap().as_str().bytes().all(|b| b.is_ascii_digit()));
            }
        }
    }
}
