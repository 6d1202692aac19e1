//! Validation of property values: what is accepted, how it is stored, and which error code a bad one gets.

use std::collections::BTreeSet;

use super::definition::{Choice, Definition, Kind};
use super::instant::{date_ms, datetime_ms, iso_date_from_ms, iso_from_ms};
use super::quirks::{NumberSpelling, OuterWhitespace, Quirks};

/// Longest value, in characters.
const MAX_CHARS: usize = 65_536;

/// Longest part of a value or option list that an error message repeats.
const MAX_QUOTED_CHARS: usize = 2_000;

/// Why a value was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PropertyError {
    pub(crate) name: String,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// What writing a value does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Set(String),
    Clear,
}

/// What a value is judged by, besides its definition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judge<'a> {
    pub(crate) quirks: &'a Quirks,
    pub(crate) owners: &'a BTreeSet<String>,
    /// Addresses that were erased before anybody had them: nobody may get them any more.
    pub(crate) erased: &'a BTreeSet<String>,
}

impl Judge<'_> {
    /// Judges a value for a property. `stored` is the present value, which appended options extend.
    pub(crate) fn value(
        self,
        definition: &Definition,
        raw: &str,
        stored: Option<&str>,
    ) -> Result<Change, PropertyError> {
        let fail = |code, message| Err(PropertyError { name: definition.name.to_string(), code, message });
        let name = &definition.name;
        if !definition.is_writable() && (definition.calculated || definition.derived.is_some()) {
            return fail("READ_ONLY_VALUE", format!("\"{name}\" is a calculated property; its value cannot be set."));
        }
        if !definition.is_writable() {
            return fail("READ_ONLY_VALUE", format!("\"{name}\" is a read only property; its value cannot be set."));
        }
        if raw.is_empty() {
            return Ok(Change::Clear);
        }
        if raw.chars().count() > MAX_CHARS {
            return fail(
                "PROPERTY_VALUE_TOO_LONG",
                format!("The value of {name} is longer than {MAX_CHARS} characters."),
            );
        }
        if matches!(definition.kind, Kind::String | Kind::PhoneNumber) {
            return self.text(definition, raw);
        }
        let value = match self.quirks.outer_whitespace {
            OuterWhitespace::Trimmed => raw.trim(),
            OuterWhitespace::Significant => raw,
        };
        let shown = quoted(raw);
        match definition.kind {
            Kind::Number if is_number(value) => Ok(Change::Set(match self.quirks.number_spelling {
                NumberSpelling::AsSent => value.to_owned(),
                NumberSpelling::Shortest => shortest(value),
            })),
            Kind::Number => fail("INVALID_LONG", format!("{shown} was not a valid long.")),
            Kind::Date => match date_ms(value) {
                Some(ms) => Ok(Change::Set(iso_date_from_ms(ms))),
                None => fail("INVALID_DATE", format!("{shown} was not a valid date.")),
            },
            Kind::DateTime => match datetime_ms(value) {
                Some(ms) => Ok(Change::Set(iso_from_ms(ms))),
                None => fail("INVALID_DATE", format!("{shown} was not a valid date.")),
            },
            Kind::Bool => match value {
                "true" | "false" => Ok(Change::Set(value.to_owned())),
                _ => fail("INVALID_OPTION", not_an_option(&shown, &definition.choices)),
            },
            Kind::Enumeration if definition.field_type == "checkbox" => self.several(definition, value, stored),
            Kind::Enumeration => match self.choice(definition, value) {
                Ok(()) => Ok(Change::Set(value.to_owned())),
                Err(error) => Err(error),
            },
            Kind::String | Kind::PhoneNumber | Kind::ObjectCoordinates | Kind::Json => {
                Ok(Change::Set(value.to_owned()))
            }
        }
    }

    fn text(self, definition: &Definition, raw: &str) -> Result<Change, PropertyError> {
        if &*definition.name != "email" || !definition.hubspot_defined {
            return Ok(Change::Set(raw.to_owned()));
        }
        let email = normal_email(raw);
        if self.erased.contains(&email) {
            return Err(PropertyError {
                name: "email".to_owned(),
                code: "GDPR_BLACKLISTED_EMAIL",
                message: format!("Email address {} was deleted for privacy reasons and cannot be used", quoted(raw)),
            });
        }
        if is_email(&email) { Ok(Change::Set(email)) } else { Err(invalid_email("email", raw)) }
    }

    fn several(self, definition: &Definition, value: &str, stored: Option<&str>) -> Result<Change, PropertyError> {
        let (appending, listed) = match value.strip_prefix(';') {
            Some(rest) => (true, rest),
            None => (false, value),
        };
        let mut kept: Vec<String> = Vec::new();
        if appending {
            kept.extend(stored.unwrap_or_default().split(';').filter(|p| !p.is_empty()).map(str::to_owned));
        }
        for part in listed.split(';').filter(|part| !part.is_empty()) {
            let part = if is_additional_emails(definition) {
                let email = normal_email(part);
                if !is_email(&email) {
                    return Err(invalid_email(&definition.name, part));
                }
                email
            } else {
                self.choice(definition, part)?;
                part.to_owned()
            };
            if !kept.contains(&part) {
                kept.push(part);
            }
        }
        if kept.is_empty() { Ok(Change::Clear) } else { Ok(Change::Set(kept.join(";"))) }
    }

    fn choice(self, definition: &Definition, value: &str) -> Result<(), PropertyError> {
        let known = if definition.referenced_object_type == Some("OWNER") {
            self.owners.contains(value)
        } else {
            definition.external_options || definition.choices.iter().any(|choice| choice.value == value)
        };
        if known {
            return Ok(());
        }
        Err(PropertyError {
            name: definition.name.to_string(),
            code: "INVALID_OPTION",
            message: not_an_option(&quoted(value), &definition.choices),
        })
    }
}

/// Whether a property holds the further addresses of a contact, which are unique like its email.
pub(crate) fn is_additional_emails(definition: &Definition) -> bool {
    definition.hubspot_defined && &*definition.name == "hs_additional_emails"
}

/// The form in which addresses are stored and compared.
pub(crate) fn normal_email(text: &str) -> String {
    text.trim().to_lowercase()
}

fn invalid_email(name: &str, raw: &str) -> PropertyError {
    PropertyError {
        name: name.to_owned(),
        code: "INVALID_EMAIL",
        message: format!("Email address {} is invalid", quoted(raw)),
    }
}

pub(crate) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let allowed = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '@' | ',' | ';' | '<' | '>' | '"');
    !local.is_empty()
        && local.chars().all(allowed)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && domain.contains('.')
        && domain.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_alphanumeric() || c == '-')
        })
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let exponent_ok = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_ok
}

/// Respells a number without changing it. Scientific notation stays: expanding it could need thousands of digits.
fn shortest(text: &str) -> String {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text.contains(['e', 'E']) {
        return text.to_owned();
    }
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    match (whole, fraction) {
        ("0", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    }
}

fn not_an_option(shown: &str, choices: &[Choice]) -> String {
    let mut list = String::new();
    for choice in choices {
        // The real service prints its options in a text form of protocol buffers; clients must not parse it.
        list.push_str(&format!("label: {:?}\nvalue: {:?}\n, ", choice.label, choice.value));
    }
    format!("{shown} was not one of the allowed options: [{}]", quoted(list.trim_end_matches(", ")))
}

fn quoted(text: &str) -> String {
    text.chars().take(MAX_QUOTED_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::hubspot::definition::true_and_false;

    fn definition(kind: Kind, field_type: &str) -> Definition {
        let mut definition = Definition::new("p", kind, field_type);
        match kind {
            Kind::Bool => definition.choices = true_and_false(),
            Kind::Enumeration => {
                for value in ["a", "b", "c"] {
                    definition.choices.push(Choice {
                        label: value.to_uppercase(),
                        value: value.to_owned(),
                        description: None,
                        display_order: 0,
                        hidden: false,
                    });
                }
            }
            _ => {}
        }
        definition
    }

    fn judged(
        definition: &Definition,
        raw: &str,
        stored: Option<&str>,
        quirks: &Quirks,
    ) -> Result<String, &'static str> {
        let owners = BTreeSet::from(["1001".to_owned()]);
        match (Judge { quirks, owners: &owners, erased: &BTreeSet::new() }).value(definition, raw, stored) {
            Ok(Change::Set(value)) => Ok(value),
            Ok(Change::Clear) => Ok("<cleared>".to_owned()),
            Err(error) => Err(error.code),
        }
    }

    #[test]
    fn values_by_type() {
        let cases: &[(Kind, &str, &str, Result<&str, &str>)] = &[
            (Kind::String, "text", "  any; \"text\" \u{1f600} ", Ok("  any; \"text\" \u{1f600} ")),
            (Kind::String, "text", "", Ok("<cleared>")),
            (Kind::PhoneNumber, "phonenumber", "+1 (555) 0100", Ok("+1 (555) 0100")),
            (Kind::Number, "number", "12", Ok("12")),
            (Kind::Number, "number", "-0.50", Ok("-0.50")),
            (Kind::Number, "number", "+.5", Ok("+.5")),
            (Kind::Number, "number", "5.", Ok("5.")),
            (Kind::Number, "number", "1.5e-7", Ok("1.5e-7")),
            (Kind::Number, "number", "123456789012345678901234567890.5", Ok("123456789012345678901234567890.5")),
            (Kind::Number, "number", " 7 ", Ok("7")),
            (Kind::Number, "number", "1,000", Err("INVALID_LONG")),
            (Kind::Number, "number", "1.2.3", Err("INVALID_LONG")),
            (Kind::Number, "number", "NaN", Err("INVALID_LONG")),
            (Kind::Number, "number", "Infinity", Err("INVALID_LONG")),
            (Kind::Number, "number", ".", Err("INVALID_LONG")),
            (Kind::Number, "number", "1e", Err("INVALID_LONG")),
            (Kind::Number, "number", "0x10", Err("INVALID_LONG")),
            (Kind::Number, "number", "--1", Err("INVALID_LONG")),
            (Kind::Number, "number", "\u{661}", Err("INVALID_LONG")),
            (Kind::Bool, "booleancheckbox", "true", Ok("true")),
            (Kind::Bool, "booleancheckbox", "True", Err("INVALID_OPTION")),
            (Kind::Bool, "booleancheckbox", "1", Err("INVALID_OPTION")),
            (Kind::Enumeration, "select", "a", Ok("a")),
            (Kind::Enumeration, "select", "A", Err("INVALID_OPTION")),
            (Kind::Enumeration, "select", "a;b", Err("INVALID_OPTION")),
            (Kind::Enumeration, "checkbox", "a;b", Ok("a;b")),
            (Kind::Enumeration, "checkbox", "b;a;b", Ok("b;a")),
            (Kind::Enumeration, "checkbox", "a;x", Err("INVALID_OPTION")),
            (Kind::Enumeration, "checkbox", "a; b", Err("INVALID_OPTION")),
            (Kind::Date, "date", "2024-02-29", Ok("2024-02-29")),
            (Kind::Date, "date", "2023-02-29", Err("INVALID_DATE")),
            (Kind::Date, "date", "2024-2-9", Err("INVALID_DATE")),
            (Kind::Date, "date", "1572480000000", Ok("2019-10-31")),
            (Kind::Date, "date", "-86400000", Ok("1969-12-31")),
            (Kind::Date, "date", "1572480000001", Err("INVALID_DATE")),
            (Kind::Date, "date", "2024-02-29T00:00:00Z", Err("INVALID_DATE")),
            (Kind::DateTime, "date", "2020-02-29T03:30:17.000Z", Ok("2020-02-29T03:30:17.000Z")),
            (Kind::DateTime, "date", "2020-02-29T03:30:17+02:00", Ok("2020-02-29T01:30:17.000Z")),
            (Kind::DateTime, "date", "2020-02-29T03:30Z", Ok("2020-02-29T03:30:00.000Z")),
            (Kind::DateTime, "date", "1572480000001", Ok("2019-10-31T00:00:00.001Z")),
            (Kind::DateTime, "date", "2020-02-29T03:30:17", Err("INVALID_DATE")),
            (Kind::DateTime, "date", "2020-02-29 03:30:17Z", Err("INVALID_DATE")),
            (Kind::DateTime, "date", "2020-02-29", Err("INVALID_DATE")),
            (Kind::DateTime, "date", "NaN", Err("INVALID_DATE")),
            (Kind::Json, "text", "{}", Err("READ_ONLY_VALUE")),
            (Kind::ObjectCoordinates, "text", "x", Err("READ_ONLY_VALUE")),
        ];
        let quirks = Quirks::default();
        for (kind, field_type, raw, expected) in cases {
            let got = judged(&definition(*kind, field_type), raw, None, &quirks);
            assert_eq!(got.as_deref().map_err(|e| *e), expected.map_err(|e| e), "{kind:?} {field_type} {raw:?}");
        }
    }

    #[test]
    fn a_leading_semicolon_appends_and_repeats_are_dropped() {
        let checkbox = definition(Kind::Enumeration, "checkbox");
        for (raw, stored, expected) in [
            (";c", Some("a;b"), "a;b;c"),
            (";b;c", Some("a;b"), "a;b;c"),
            (";a", None, "a"),
            ("c", Some("a;b"), "c"),
            (";", Some("a"), "a"),
            (";", None, "<cleared>"),
        ] {
            assert_eq!(
                judged(&checkbox, raw, stored, &Quirks::default()).as_deref(),
                Ok(expected),
                "{raw:?} {stored:?}"
            );
        }
    }

    #[test]
    fn length_is_counted_in_characters() {
        let text = definition(Kind::String, "textarea");
        let longest = "\u{e9}".repeat(65_536);
        assert_eq!(judged(&text, &longest, None, &Quirks::default()), Ok(longest.clone()));
        assert_eq!(judged(&text, &format!("{longest}x"), None, &Quirks::default()), Err("PROPERTY_VALUE_TOO_LONG"));
    }

    #[test]
    fn emails_are_lowercased_and_checked() {
        let mut email = definition(Kind::String, "text");
        email.name = std::sync::Arc::from("email");
        email.hubspot_defined = true;
        for (raw, expected) in [
            ("Ada@Example.COM", Ok("ada@example.com")),
            (" ada@example.com ", Ok("ada@example.com")),
            ("o'hara+tag@sub.example.co", Ok("o'hara+tag@sub.example.co")),
            ("ada", Err("INVALID_EMAIL")),
            ("ada@", Err("INVALID_EMAIL")),
            ("@example.com", Err("INVALID_EMAIL")),
            ("ada@example", Err("INVALID_EMAIL")),
            ("a b@example.com", Err("INVALID_EMAIL")),
            ("a@b@example.com", Err("INVALID_EMAIL")),
            ("ada@exa_mple.com", Err("INVALID_EMAIL")),
            ("ada@-example.com", Err("INVALID_EMAIL")),
        ] {
            assert_eq!(judged(&email, raw, None, &Quirks::default()).as_deref().map_err(|e| *e), expected, "{raw:?}");
        }
    }

    #[test]
    fn read_only_and_owner_properties() {
        let quirks = Quirks::default();
        let mut property = definition(Kind::String, "text");
        property.read_only_value = true;
        assert_eq!(judged(&property, "x", None, &quirks), Err("READ_ONLY_VALUE"));
        assert_eq!(judged(&property, "", None, &quirks), Err("READ_ONLY_VALUE"), "clearing is a write too");
        let mut owner = Definition::new("hubspot_owner_id", Kind::Enumeration, "select");
        owner.external_options = true;
        owner.referenced_object_type = Some("OWNER");
        assert_eq!(judged(&owner, "1001", None, &quirks).as_deref(), Ok("1001"));
        assert_eq!(judged(&owner, "someone@example.com", None, &quirks), Err("INVALID_OPTION"));
    }

    #[test]
    fn quirks_change_spelling_and_white_space() {
        let number = definition(Kind::Number, "number");
        let shortest = Quirks { number_spelling: NumberSpelling::Shortest, ..Quirks::default() };
        for (raw, expected) in
            [("+01.50", "1.5"), ("-0.0", "0"), ("100", "100"), (".5", "0.5"), ("1e3", "1e3"), ("0", "0")]
        {
            assert_eq!(judged(&number, raw, None, &shortest).as_deref(), Ok(expected), "{raw:?}");
        }
        let significant = Quirks { outer_whitespace: OuterWhitespace::Significant, ..Quirks::default() };
        assert_eq!(judged(&number, " 7", None, &significant), Err("INVALID_LONG"));
    }
}
