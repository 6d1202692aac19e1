//! Attributes: what they may be called and hold, and how they are stored and read back.

use serde_json::{Map, Value};

use super::check::{Checker, join};
use super::identifier::{KeyKind, identifier_text};
use super::lint::LintKind;
use super::quirks::{BigIntegers, EmptyStrings, InvalidEmails, NestedValues, Quirks};

const MAX_ATTRIBUTES: usize = 300;
const MAX_NAME_BYTES: usize = 150;
const MAX_VALUE_BYTES: usize = 1_000;
/// All attributes of one object or relationship.
const MAX_OBJECT_BYTES: usize = 100_000;
/// The message that real refusals of a long value carry.
pub(crate) const VALUE_TOO_LONG: &str = "property value cannot be longer than 1000 bytes";

/// Attribute under which subscription preferences are kept.
pub(crate) const PREFERENCES: &str = "cio_subscription_preferences";

/// Names that begin with an underscore and mean something.
const KNOWN_UNDERSCORE_NAMES: [&str; 3] = ["_created_in_customerio_at", "_last_emailed", "_update"];
/// Names that the service sets itself.
const READ_ONLY_NAMES: [&str; 3] = ["cio_id", "_created_in_customerio_at", "_last_emailed"];

impl Checker<'_> {
    /// Attributes of a person, with the field path that errors give.
    pub(crate) fn person_attributes(&mut self, map: &Map<String, Value>, at: &str) {
        self.count_and_sizes(map, at);
        for (name, value) in map {
            let at = join(at, name);
            if let Some(kind) = KeyKind::named(name).filter(|kind| self.identities.settable().any(|k| k == *kind)) {
                // Null and the empty text ask for removal, which is decided when the call is applied.
                let clears = value.is_null() || value == "";
                // Such an address may also be accepted, and then not applied.
                let dropped = kind == KeyKind::Email && self.quirks.invalid_emails == InvalidEmails::Dropped;
                if !clears && !dropped {
                    self.identifier(kind, value, &at);
                }
            }
            match name.as_str() {
                "created_at" => self.time_attribute(value, &at),
                "unsubscribed" if !is_unsubscribed(value) => self.lint(LintKind::Resubscribes, &at),
                PREFERENCES => self.preferences(value, &at),
                "cio_relationships" => self.problem(&at, "must stand beside the attributes"),
                "_update" if !value.is_boolean() => self.problem(&at, "must be a boolean"),
                name if READ_ONLY_NAMES.contains(&name) => self.lint(LintKind::ReadOnlyName, &at),
                name if name.starts_with('_') && !KNOWN_UNDERSCORE_NAMES.contains(&name) => {
                    self.lint(LintKind::UnknownUnderscoreName, &at);
                }
                name => {
                    if let Some(leaf) = name.strip_prefix(PREFERENCES) {
                        self.preference_leaf(leaf, value, &at);
                    }
                }
            }
            if value == "" {
                self.lint(LintKind::ClearedByEmptyText, &at);
            }
        }
    }

    /// Attributes of an object or a relationship; absent ones are none.
    pub(crate) fn object_attributes(&mut self, value: Option<&Value>, at: &str) -> Map<String, Value> {
        let Some(value) = value else { return Map::new() };
        let Some(map) = self.object(Some(value), at) else { return Map::new() };
        self.count_and_sizes(map, at);
        if value.to_string().len() > MAX_OBJECT_BYTES {
            self.problem(at, format!("cannot be larger than {MAX_OBJECT_BYTES} bytes"));
        }
        map.clone()
    }

    fn count_and_sizes(&mut self, map: &Map<String, Value>, at: &str) {
        if map.len() > MAX_ATTRIBUTES {
            self.problem(at, format!("cannot have more than {MAX_ATTRIBUTES} attributes"));
        }
        for (name, value) in map {
            if name.is_empty() {
                self.problem(at, "attribute names must not be empty");
            } else if name.len() > MAX_NAME_BYTES {
                self.problem(at, format!("attribute names cannot be longer than {MAX_NAME_BYTES} bytes"));
            }
            let bytes = match value {
                Value::String(text) => text.len(),
                // Preferences have a shape of their own, with as many topics as the workspace has.
                Value::Array(_) | Value::Object(_)
                    if self.quirks.nested_values == NestedValues::Measured && name != PREFERENCES =>
                {
                    value.to_string().len()
                }
                _ => 0,
            };
            if bytes > MAX_VALUE_BYTES {
                self.problem(join(at, name), VALUE_TOO_LONG);
            }
        }
    }

    /// `{"topics":{"topic_1":true},"channels":{"email":true}}`, both parts optional.
    fn preferences(&mut self, value: &Value, at: &str) {
        if value.is_null() {
            return;
        }
        let Some(map) = self.object(Some(value), at) else { return };
        self.known_keys(map, at, &["topics", "channels"]);
        for (part, entries) in map {
            let at = join(at, part);
            let Some(entries) = self.object(Some(entries), &at) else { continue };
            for (name, _) in entries.iter().filter(|(_, value)| !value.is_boolean()) {
                self.problem(join(&at, name), "must be a boolean");
            }
        }
        self.lint(LintKind::WholePreferences, at);
    }

    /// `.topics.topic_1` or `.channels.email`.
    fn preference_leaf(&mut self, leaf: &str, value: &Value, at: &str) {
        let Some(path) = leaf.strip_prefix('.') else { return };
        let parts: Vec<&str> = path.split('.').collect();
        if !matches!(parts.as_slice(), ["topics" | "channels", name] if !name.is_empty()) {
            self.problem(at, "must name a topic or a channel");
        } else if !value.is_boolean() && !value.is_null() {
            self.problem(at, "must be a boolean");
        }
    }
}

/// Whether this value of `unsubscribed` means a yes. Everything else means a no.
pub(crate) fn is_unsubscribed(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_i64() == Some(1),
        Value::String(text) => text == "1" || text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// The value as it is stored; `None` when it asks for removal.
pub(crate) fn stored(value: &Value, quirks: &Quirks) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() && quirks.empty_strings == EmptyStrings::Remove => None,
        Value::Number(number) if quirks.big_integers == BigIntegers::Rounded && !number.is_f64() => {
            Some(rounded(number).map_or_else(|| value.clone(), Value::String))
        }
        other => Some(other.clone()),
    }
}

/// The digits of an integer that went through a double; `None` when nothing is lost by that.
fn rounded(number: &serde_json::Number) -> Option<String> {
    #[allow(clippy::cast_precision_loss, reason = "losing precision is what is simulated")]
    let double = number.as_i64().map(|n| n as f64).or_else(|| number.as_u64().map(|n| n as f64))?;
    let text = format!("{double:.0}");
    (text != number.to_string()).then_some(text)
}

/// How the App API shows a value: everything is text.
pub(crate) fn shown(value: &Value) -> String {
    identifier_text(value).unwrap_or_else(|| value.to_string())
}

/// Sets or, by `None`, removes the preference that a dotted name means. The answer is the new whole.
pub(crate) fn with_preference(whole: Option<&Value>, leaf: &str, value: Option<Value>) -> Value {
    let mut whole = match whole {
        Some(Value::Object(map)) => map.clone(),
        _ => Map::new(),
    };
    if let Some((part, name)) = leaf.split_once('.') {
        let entries = whole.entry(part).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(entries) = entries {
            match value {
                Some(value) => entries.insert(name.to_owned(), value),
                None => entries.remove(name),
            };
        }
    }
    Value::Object(whole)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_yes_unsubscribes() {
        for (value, expected) in [
            (json!(true), true),
            (json!("true"), true),
            (json!("TRUE"), true),
            (json!(1), true),
            (json!("1"), true),
            (json!(false), false),
            (json!("yes"), false),
            (json!(0), false),
            (json!(2), false),
            (json!("01"), false),
            (json!(null), false),
            (json!([true]), false),
        ] {
            assert_eq!(is_unsubscribed(&value), expected, "{value}");
        }
    }

    #[test]
    fn values_are_read_back_as_text() {
        let quirks = Quirks::default();
        for (value, expected) in [
            (json!("x"), Some("x")),
            (json!(30), Some("30")),
            (json!(-1), Some("-1")),
            (json!(1.5), Some("1.5")),
            (json!(true), Some("true")),
            (json!(9_007_199_254_740_992_i64), Some("9007199254740992")),
            (json!(9_007_199_254_740_993_i64), Some("9007199254740992")),
            (json!(u64::MAX), Some("18446744073709551616")),
            (json!([1, "a"]), Some("[1,\"a\"]")),
            (json!({ "b": null }), Some("{\"b\":null}")),
            (json!(null), None),
            (json!(""), None),
        ] {
            assert_eq!(stored(&value, &quirks).map(|v| shown(&v)).as_deref(), expected, "{value}");
        }
        let lenient =
            Quirks { empty_strings: EmptyStrings::Stored, big_integers: BigIntegers::Exact, ..Quirks::default() };
        assert_eq!(stored(&json!(""), &lenient), Some(json!("")));
        let big = json!(9_007_199_254_740_993_i64);
        assert_eq!(stored(&big, &lenient), Some(big));
    }
}
