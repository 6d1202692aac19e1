//! What a target's object is.

use rsync_core::destination::Target;
use rsync_core::error::{Error, Kind, Result};

use crate::person::Identifier;

/// People, by the name that the service uses for them.
pub(crate) const PEOPLE: &str = "people";
pub(crate) const EVENTS: &str = "events/";
pub(crate) const SEGMENTS: &str = "segments/";

/// Longest name of an event, in bytes.
const EVENT_NAME_BYTES_MAX: usize = 100;

/// What rows are written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object<'a> {
    /// People and their attributes.
    People,
    /// Events of this name.
    Events(&'a str),
    /// The members of the manual segment of this number.
    Segment(&'a str),
}

impl<'a> Object<'a> {
    /// The object of `target`.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`] if there is none of that name.
    pub(crate) fn of(target: &'a Target) -> Result<Self> {
        let name = target.object.as_str();
        if name == PEOPLE {
            return Ok(Object::People);
        }
        let event = name.strip_prefix(EVENTS).filter(|event| (1..=EVENT_NAME_BYTES_MAX).contains(&event.len()));
        let is_number = |id: &&str| !id.is_empty() && !id.starts_with('0') && id.bytes().all(|b| b.is_ascii_digit());
        let segment = name.strip_prefix(SEGMENTS).filter(is_number);
        match (event, segment) {
            (Some(event), _) if !event.trim().is_empty() => Ok(Object::Events(event)),
            (_, Some(segment)) => Ok(Object::Segment(segment)),
            _ => Err(Error::new(Kind::NotFound, "find the object", "this destination has no such object")
                .with_context("object", name)
                .with_remedy(
                    "use people, events/ and a name of at most 100 bytes, or segments/ and the number of a segment",
                )),
        }
    }

    /// Whether people can be addressed by `identifier`.
    pub(crate) fn addresses_by(self, identifier: Identifier) -> bool {
        // Calls about segments know no phone numbers.
        !matches!((self, identifier), (Object::Segment(_), Identifier::Phone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_one_name() {
        let long = format!("events/{}", "x".repeat(100));
        for (name, expected) in [
            ("people", Object::People),
            ("events/Order paid/a", Object::Events("Order paid/a")),
            (&long, Object::Events(&long[7..])),
            ("segments/7", Object::Segment("7")),
        ] {
            assert_eq!(Object::of(&Target::new(name, "id")).unwrap(), expected);
        }
        let too_long = format!("events/{}", "x".repeat(101));
        for name in ["", "People", "events", "events/", "events/ ", &too_long, "segments/", "segments/07", "segments/a"]
        {
            assert_eq!(Object::of(&Target::new(name, "id")).unwrap_err().kind(), Kind::NotFound, "{name}");
        }
    }
}
