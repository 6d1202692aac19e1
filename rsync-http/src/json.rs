//! Answers in JSON, read leniently in shape and strictly in meaning: a field of an unexpected type does not lose an
//! answer, and nothing is taken for more than it says.
//!
//! ```
//! use rsync_http::json::{Scalar, read};
//!
//! #[derive(serde::Deserialize)]
//! struct Answer<'a> {
//!     #[serde(borrow, default)]
//!     id: Scalar<'a>,
//! }
//!
//! let id = |body| read::<Answer<'_>>(body).map(|answer| answer.id.as_str().map(str::to_owned));
//! assert_eq!(id(br#"{"id": 7}"#), Some(Some("7".to_owned())));
//! assert_eq!(id(br#"{"id": [7]}"#), Some(None), "an id of another shape is no id");
//! assert_eq!(id(br#"["7"]"#), None, "a list is no answer");
//! ```

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A JSON string, number or boolean as text; anything else counts as none. A field of this type does not lose an
/// answer because a service once sends `7` instead of `"7"`. Numbers with a point go through a 64-bit floating point
/// number, so where their digits count, read them in another way.
#[derive(Clone, Default)]
pub struct Scalar<'a>(Option<Cow<'a, str>>);

impl<'a> Scalar<'a> {
    /// The text; `None` if there was no string, number or boolean.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// As [`Scalar::as_str`], to keep.
    pub fn into_text(self) -> Option<Cow<'a, str>> {
        self.0
    }
}

/// Shows no text: answers quote values.
impl fmt::Debug for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Scalar(..)" } else { "Scalar(none)" })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl<'de> Visitor<'de> for ScalarVisitor {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar(Some(Cow::Borrowed(text))))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar(Some(Cow::Owned(text.to_owned()))))
            }
            fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
                Ok(Scalar(Some(Cow::Borrowed(if flag { "true" } else { "false" }))))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Scalar(Some(Cow::Owned(number.to_string()))))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Scalar(Some(Cow::Owned(number.to_string()))))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Scalar(Some(Cow::Owned(number.to_string()))))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Scalar(None))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar(None))
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// A JSON object and nothing else: derived structs also take arrays, by position, and so read meaning into an answer of
/// another shape.
#[derive(Clone, Debug, Default)]
pub struct Object<T>(pub T);

impl<T> std::ops::Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor(std::marker::PhantomData))
    }
}

/// Reads a body that must be one JSON object; `None` if it is not, or `T` refuses it. The parser's own error is dropped,
/// since it could quote the body.
pub fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    serde_json::from_slice::<Object<T>>(body).ok().map(|object| object.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Answer<'a> {
        #[serde(borrow, default)]
        id: Scalar<'a>,
        #[serde(borrow, default)]
        items: Vec<Object<Item<'a>>>,
    }

    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Item<'a> {
        #[serde(borrow)]
        name: Scalar<'a>,
    }

    #[test]
    fn scalars_are_text() {
        for (json, expected) in [
            (r#""7""#, Some("7")),
            (r#""\u00e4\"""#, Some("ä\"")),
            (r#""""#, Some("")),
            ("7", Some("7")),
            ("-7", Some("-7")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("0.5", Some("0.5")),
            ("true", Some("true")),
            ("false", Some("false")),
            ("null", None),
            (r#"["7"]"#, None),
            (r#"{"id":"7"}"#, None),
        ] {
            let body = format!(r#"{{"id":{json},"items":[{{"name":{json}}}],"more":[]}}"#);
            let answer: Answer<'_> = read(body.as_bytes()).unwrap();
            assert_eq!((answer.id.as_str(), answer.items[0].name.as_str()), (expected, expected), "{json}");
            assert_eq!(answer.id.into_text().as_deref(), expected, "{json}");
        }
        assert_eq!(read::<Answer<'_>>(b"{}").unwrap().id.as_str(), None);
    }

    #[test]
    fn only_objects_are_objects() {
        for body in ["", "null", "7", r#""x""#, r#"["7",[]]"#, "[]", r#"{"items":[["x"]]}"#, r#"{"items":[7]}"#, "{}{}"]
        {
            assert!(read::<Answer<'_>>(body.as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn s02_debug_shows_no_text() {
        let answer: Answer<'_> = read(br#"{"id":"canary"}"#).unwrap();
        assert_eq!(format!("{:?} {:?}", answer.id, Object(Scalar::default())), "Scalar(..) Object(Scalar(none))");
    }

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = read::<Answer<'_>>(&body);
        }
    }
}
