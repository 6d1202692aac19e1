//! The service's JSON, read leniently in shape and strictly in meaning: an unexpected type of an unimportant field
//! does not lose an answer, and nothing is taken for more than it says. Numbers keep the digits they were sent with.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A JSON object whose values are read when they are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Object<'a>(#[serde(borrow)] HashMap<String, &'a RawValue>);

impl<'a> Object<'a> {
    /// Reads a body that must be one object. The parser's own error is dropped, since it could quote the body.
    pub(crate) fn read(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// Reads a body that must be a list of objects.
    pub(crate) fn read_list(body: &'a [u8]) -> Option<Vec<Self>> {
        serde_json::from_slice(body).ok()
    }

    /// A value of any type.
    pub(crate) fn value(&self, name: &str) -> Option<Cell<'a>> {
        self.0.get(name).map(|raw| Cell::of(raw))
    }

    /// A string, number or boolean as text.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        match self.value(name)? {
            Cell::Text(text) => Some(text),
            Cell::Null | Cell::Nested => None,
        }
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.parse(name)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.parse(name)
    }

    pub(crate) fn list(&self, name: &str) -> Option<Vec<Object<'a>>> {
        self.parse(name)
    }

    /// A value as it stands in the answer.
    pub(crate) fn json(&self, name: &str) -> Option<&'a [u8]> {
        self.0.get(name).map(|raw| raw.get().as_bytes())
    }

    pub(crate) fn object(&self, name: &str) -> Option<Object<'a>> {
        self.parse(name)
    }

    /// A list of texts; anything else is an empty one.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        self.parse(name).unwrap_or_default()
    }

    fn parse<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.0.get(name)?.get()).ok()
    }
}

/// A value as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell<'a> {
    Null,
    /// A string, or the digits of a number, or `true` or `false`.
    Text(Cow<'a, str>),
    /// An object or a list.
    Nested,
}

impl<'a> Cell<'a> {
    fn of(raw: &'a RawValue) -> Self {
        let json = raw.get();
        match json.as_bytes().first() {
            Some(b'"') => match serde_json::from_str(json) {
                Ok(text) => Cell::Text(Cow::Owned(text)),
                // Half of a surrogate pair: no text.
                Err(_) => Cell::Nested,
            },
            Some(b'{' | b'[') => Cell::Nested,
            _ if json == "null" => Cell::Null,
            _ => Cell::Text(Cow::Borrowed(json)),
        }
    }
}

/// One thing that the service finds wrong, with a request or with a row of it.
#[derive(Debug, Default)]
pub(crate) struct Fault<'a> {
    pub(crate) code: Cow<'a, str>,
    /// Quotes values. Looked at, never kept.
    pub(crate) message: Cow<'a, str>,
    pub(crate) fields: Vec<String>,
}

impl<'a> Fault<'a> {
    pub(crate) fn of(object: &Object<'a>) -> Self {
        // The same thing has two names, and OAuth a third one.
        let code = ["errorCode", "statusCode", "error"].iter().find_map(|name| object.text(name));
        Self {
            code: code.unwrap_or_default(),
            message: object.text("message").unwrap_or_default(),
            fields: object.texts("fields"),
        }
    }

    /// The faults that an error body lists: a list, or one of them alone. A page of a gateway lists none.
    pub(crate) fn read(body: &'a [u8]) -> Vec<Self> {
        let objects = Object::read_list(body).or_else(|| Object::read(body).map(|object| vec![object]));
        objects.iter().flatten().map(Self::of).collect()
    }
}

/// Whether `text` has the form of the service's codes, and so cannot be a message with a value in it.
pub(crate) fn is_code(text: &str) -> bool {
    (2..=80).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_keep_their_digits() {
        let json = br#"{"a":50000.00,"b":9007199254740993,"c":"x\"\u00e4","d":null,"e":true,"f":{"g":1},"h":["i"],"j":"\ud800"}"#;
        let object = Object::read(json).unwrap();
        for (name, expected) in
            [("a", Some("50000.00")), ("b", Some("9007199254740993")), ("c", Some("x\"ä")), ("e", Some("true"))]
        {
            assert_eq!(object.text(name).as_deref(), expected);
        }
        assert_eq!(object.value("d"), Some(Cell::Null));
        for name in ["f", "h", "j"] {
            assert_eq!(object.value(name), Some(Cell::Nested));
        }
        assert_eq!((object.value("z"), object.text("f"), object.flag("e")), (None, None, Some(true)));
        assert_eq!(
            (object.texts("h"), object.texts("f").len(), object.list("h").is_none()),
            (vec!["i".into()], 0, true)
        );
    }

    #[test]
    fn faults_come_in_lists_and_alone() {
        for body in [
            r#"[{"message":"m","errorCode":"NOT_FOUND"}]"#,
            r#"{"message":"m","errorCode":"NOT_FOUND"}"#,
            r#"[{"message":"m","statusCode":"NOT_FOUND","fields":["A",7]}]"#,
        ] {
            let faults = Fault::read(body.as_bytes());
            assert_eq!((faults.len(), &*faults[0].code, &*faults[0].message), (1, "NOT_FOUND", "m"), "{body}");
        }
        for body in ["", "<html>", "[]", "[[]]", "[1]", "7"] {
            assert!(Fault::read(body.as_bytes()).is_empty(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = (Object::read(&body), Object::read_list(&body), Fault::read(&body));
        }
    }
}
