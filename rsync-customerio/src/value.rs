//! Values as JSON, written straight into a buffer.
//!
//! A value that cannot arrive exactly as it is, is refused here; nothing is rounded or cut.

use std::borrow::Cow;
use std::io::Write;

use rsync_core::record::Value;
use serde::Serialize;

use crate::person::Identifier;

/// Longest value of an attribute, in bytes: a text's own, a list's as JSON.
pub(crate) const VALUE_BYTES_MAX: usize = 1_000;
/// Longest identifier, in bytes.
pub(crate) const IDENTIFIER_BYTES_MAX: usize = 150;

/// Largest whole number up to which a double, and so every reader of JSON, holds all whole numbers.
const EXACT_IN_DOUBLE: u64 = 1 << 53;
const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Why a row cannot be sent. Such a row never leaves the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsendable {
    ValueTooLong,
    EmptyText,
    NotFinite,
    SubSecond,
    IdentifierType,
    IdentifierEmpty,
    IdentifierTooLong,
    IdentifierCleared,
    Email,
    Phone,
    CioPrefix,
    Resubscribe,
    NotBoolean,
    UnknownType,
    TooManyAttributes,
    ItemTooLarge,
}

impl Unsendable {
    /// Code in the row's rejection. The prefix tells it from the service's own.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Unsendable::ValueTooLong => "LOCAL_VALUE_TOO_LONG",
            Unsendable::EmptyText => "LOCAL_EMPTY_TEXT",
            Unsendable::NotFinite => "LOCAL_NOT_FINITE",
            Unsendable::SubSecond => "LOCAL_SUB_SECOND",
            Unsendable::IdentifierType => "LOCAL_IDENTIFIER_TYPE",
            Unsendable::IdentifierEmpty => "LOCAL_IDENTIFIER_EMPTY",
            Unsendable::IdentifierTooLong => "LOCAL_IDENTIFIER_TOO_LONG",
            Unsendable::IdentifierCleared => "LOCAL_IDENTIFIER_CLEARED",
            Unsendable::Email => "LOCAL_EMAIL",
            Unsendable::Phone => "LOCAL_PHONE",
            Unsendable::CioPrefix => "LOCAL_CIO_PREFIX",
            Unsendable::Resubscribe => "LOCAL_RESUBSCRIBE",
            Unsendable::NotBoolean => "LOCAL_NOT_BOOLEAN",
            Unsendable::UnknownType => "LOCAL_UNKNOWN_TYPE",
            Unsendable::TooManyAttributes => "LOCAL_TOO_MANY_ATTRIBUTES",
            Unsendable::ItemTooLarge => "LOCAL_ITEM_TOO_LARGE",
        }
    }

    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Unsendable::ValueTooLong => "shorten the value in the model: Customer.io keeps at most 1,000 bytes",
            Unsendable::EmptyText => {
                "make empty texts null in the model, or set empty_text to clear: Customer.io may take them for no value"
            }
            Unsendable::NotFinite => "send null instead of NaN or infinity",
            Unsendable::SubSecond => "truncate the timestamp to seconds in the model: Customer.io's times have no more",
            Unsendable::IdentifierType => "map the identifier as a text, a whole number or a decimal",
            Unsendable::IdentifierEmpty => "give the row an identifier that is not blank",
            Unsendable::IdentifierTooLong => {
                "Customer.io's identifiers have at most 150 bytes; shorten it in the model"
            }
            Unsendable::IdentifierCleared => "a person's id cannot be taken away; choose another rule for its nulls",
            Unsendable::Email => "mend the address in the model: name@domain, without white space",
            Unsendable::Phone => "give the number in the form +15550100 (E.164)",
            Unsendable::CioPrefix => {
                "write a cio_id without cio_ in front; an id must not begin so, as Customer.io takes it for a cio_id"
            }
            Unsendable::Resubscribe => {
                "this would subscribe somebody who may have opted out: send opt-outs only and keep nulls, or set allow_resubscribe"
            }
            Unsendable::NotBoolean => "map unsubscribed and topics as booleans",
            Unsendable::UnknownType => "map the field to a type that Customer.io has",
            Unsendable::TooManyAttributes => "map fewer fields: Customer.io takes at most 300 attributes a call",
            Unsendable::ItemTooLarge => "map fewer or shorter fields: Customer.io takes at most 32,000 bytes a person",
        }
    }
}

/// Appends `text` as a JSON string. Memory takes everything, so writing cannot fail.
pub(crate) fn push_text(text: &str, out: &mut impl Write) {
    push(text, out);
}

fn push(value: impl Serialize, out: &mut impl Write) {
    let _ = value.serialize(&mut serde_json::Serializer::new(out));
}

/// Appends the JSON of a value of at most `bytes_max` bytes. An empty text is the caller's business. On an error, `out` may hold a
/// part of it.
pub(crate) fn push_value(value: &Value<'_>, bytes_max: usize, out: &mut impl Write) -> Result<(), Unsendable> {
    match value {
        Value::Text(text) if text.len() > bytes_max => return Err(Unsendable::ValueTooLong),
        Value::Text(text) => push_text(text, out),
        // Beyond 2^53 many readers of JSON round, so the digits travel as a text.
        Value::Integer(number) if number.unsigned_abs() > EXACT_IN_DOUBLE => push_text(&number.to_string(), out),
        Value::Integer(number) => push(number, out),
        Value::Float(number) => push_float(*number, out)?,
        Value::Decimal { .. } => {
            let mut text = String::new();
            value.write_text(&mut text);
            push_text(&text, out);
        }
        Value::Boolean(flag) => push(flag, out),
        Value::Date(days) => push(i64::from(*days) * SECONDS_PER_DAY, out),
        Value::Timestamp(micros) if micros % MICROS_PER_SECOND != 0 => return Err(Unsendable::SubSecond),
        Value::Timestamp(micros) => push(micros / MICROS_PER_SECOND, out),
        Value::TextList(items) => {
            let mut json = Vec::new();
            push(items, &mut json);
            if json.len() > bytes_max {
                return Err(Unsendable::ValueTooLong);
            }
            let _ = out.write_all(&json);
        }
        _ => return Err(Unsendable::UnknownType),
    }
    Ok(())
}

/// The shortest text that is read back as the same number, in one form: 30.0 is `30`, very large and very small numbers
/// have an exponent.
fn push_float(number: f64, out: &mut impl Write) -> Result<(), Unsendable> {
    if !number.is_finite() {
        return Err(Unsendable::NotFinite);
    }
    let size = number.abs();
    let _ = if size == 0.0 || (1e-5..EXACT_IN_DOUBLE as f64).contains(&size) {
        write!(out, "{number}")
    } else {
        write!(out, "{number:e}")
    };
    Ok(())
}

/// The text of an identifier, checked.
pub(crate) fn identifier<'a>(kind: Identifier, value: &Value<'a>) -> Result<Cow<'a, str>, Unsendable> {
    let text = match value {
        Value::Text(text) => Cow::Borrowed(*text),
        Value::Integer(_) | Value::Decimal { .. } => {
            let mut text = String::new();
            value.write_text(&mut text);
            Cow::Owned(text)
        }
        _ => return Err(Unsendable::IdentifierType),
    };
    if text.trim().is_empty() {
        return Err(Unsendable::IdentifierEmpty);
    }
    if text.len() > IDENTIFIER_BYTES_MAX {
        return Err(Unsendable::IdentifierTooLong);
    }
    match kind {
        Identifier::Email if !is_email(&text) => Err(Unsendable::Email),
        Identifier::Phone if !is_e164(&text) => Err(Unsendable::Phone),
        Identifier::Id | Identifier::CioId if text.starts_with("cio_") => Err(Unsendable::CioPrefix),
        _ => Ok(text),
    }
}

fn is_email(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.contains(|c: char| c == '@' || c.is_whitespace());
    text.split_once('@').is_some_and(|(name, domain)| is_part(name) && is_part(domain))
}

fn is_e164(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (2..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(value: &Value<'_>) -> Result<String, Unsendable> {
        let mut out = b">".to_vec();
        push_value(value, VALUE_BYTES_MAX, &mut out)?;
        Ok(String::from_utf8(out).unwrap()[1..].to_owned())
    }

    #[test]
    fn values_have_one_json_form() {
        let (fits, long) = ("x".repeat(1_000), "x".repeat(1_001));
        let (umlauts, quotes) = ("ä".repeat(501), "\"".repeat(1_000));
        // `["` and `"]` take four bytes.
        let (item, long_item) = ("x".repeat(996), "x".repeat(997));
        let table: Vec<(Value<'_>, Result<String, Unsendable>)> = vec![
            (Value::Text("a\"b\\c\n\u{1}é"), Ok(r#""a\"b\\c\n\u0001é""#.into())),
            (Value::Text(&fits), Ok(format!("\"{fits}\""))),
            (Value::Text(&quotes), Ok(format!("\"{}\"", "\\\"".repeat(1_000)))),
            (Value::Text(&long), Err(Unsendable::ValueTooLong)),
            (Value::Text(&umlauts), Err(Unsendable::ValueTooLong)),
            (Value::Text(" as it is "), Ok("\" as it is \"".into())),
            (Value::Integer(0), Ok("0".into())),
            (Value::Integer(-42), Ok("-42".into())),
            (Value::Integer(1 << 53), Ok("9007199254740992".into())),
            (Value::Integer((1 << 53) + 1), Ok("\"9007199254740993\"".into())),
            (Value::Integer(-(1 << 53) - 1), Ok("\"-9007199254740993\"".into())),
            (Value::Integer(i64::MIN), Ok("\"-9223372036854775808\"".into())),
            (Value::Float(30.0), Ok("30".into())),
            (Value::Float(-0.5), Ok("-0.5".into())),
            (Value::Float(0.1 + 0.2), Ok("0.30000000000000004".into())),
            (Value::Float(-0.0), Ok("-0".into())),
            (Value::Float(0.00001), Ok("0.00001".into())),
            (Value::Float(9_007_199_254_740_991.0), Ok("9007199254740991".into())),
            (Value::Float(9_007_199_254_740_992.0), Ok("9.007199254740992e15".into())),
            (Value::Float(1e21), Ok("1e21".into())),
            (Value::Float(1e-7), Ok("1e-7".into())),
            (Value::Float(f64::MAX), Ok("1.7976931348623157e308".into())),
            (Value::Float(-f64::MIN_POSITIVE), Ok("-2.2250738585072014e-308".into())),
            (Value::Float(f64::NAN), Err(Unsendable::NotFinite)),
            (Value::Float(f64::NEG_INFINITY), Err(Unsendable::NotFinite)),
            (Value::Decimal { unscaled: -5, scale: 2 }, Ok("\"-0.05\"".into())),
            (Value::Decimal { unscaled: i128::MAX, scale: 0 }, Ok(format!("\"{}\"", i128::MAX))),
            (Value::Boolean(true), Ok("true".into())),
            (Value::Date(18_321), Ok("1582934400".into())),
            (Value::Date(-1), Ok("-86400".into())),
            (Value::Date(i32::MAX), Ok("185542587100800".into())),
            (Value::Timestamp(1_582_947_017_000_000), Ok("1582947017".into())),
            (Value::Timestamp(-1_000_000), Ok("-1".into())),
            (Value::Timestamp(1), Err(Unsendable::SubSecond)),
            (Value::Timestamp(-1), Err(Unsendable::SubSecond)),
            (Value::TextList(vec![]), Ok("[]".into())),
            (Value::TextList(vec!["a;b", "\"", ""]), Ok(r#"["a;b","\"",""]"#.into())),
            (Value::TextList(vec![&item]), Ok(format!("[\"{item}\"]"))),
            (Value::TextList(vec![&long_item]), Err(Unsendable::ValueTooLong)),
        ];
        for (value, expected) in table {
            assert_eq!(json(&value), expected, "{value:?}");
        }
    }

    #[test]
    fn identifiers_are_checked_before_they_are_sent() {
        use Identifier::{CioId, Email, Id, Phone};
        let (fits, long) = ("x".repeat(150), "x".repeat(151));
        let long_email = format!("{}@x.io", "x".repeat(146));
        let table: Vec<(Identifier, Value<'_>, Result<&str, Unsendable>)> = vec![
            (Id, Value::Text("a/b c+%"), Ok("a/b c+%")),
            (Id, Value::Text(" a"), Ok(" a")),
            (Id, Value::Integer(i64::MIN), Ok("-9223372036854775808")),
            (Id, Value::Decimal { unscaled: 4200, scale: 2 }, Ok("42.00")),
            (Id, Value::Text(&fits), Ok(&fits)),
            (Id, Value::Text(&long), Err(Unsendable::IdentifierTooLong)),
            (Id, Value::Text(""), Err(Unsendable::IdentifierEmpty)),
            (Id, Value::Text(" \t"), Err(Unsendable::IdentifierEmpty)),
            (Id, Value::Float(1.0), Err(Unsendable::IdentifierType)),
            (Id, Value::Boolean(true), Err(Unsendable::IdentifierType)),
            (Id, Value::Text("cio_a3000001"), Err(Unsendable::CioPrefix)),
            (Id, Value::Text("a@b"), Ok("a@b")),
            (Email, Value::Text("Ada+x@Example.com"), Ok("Ada+x@Example.com")),
            (Email, Value::Text("ä@ö"), Ok("ä@ö")),
            (Email, Value::Text("ada"), Err(Unsendable::Email)),
            (Email, Value::Text("@x.io"), Err(Unsendable::Email)),
            (Email, Value::Text("ada@"), Err(Unsendable::Email)),
            (Email, Value::Text("a@b@c"), Err(Unsendable::Email)),
            (Email, Value::Text("a b@x.io"), Err(Unsendable::Email)),
            (Email, Value::Text("a@x.io\n"), Err(Unsendable::Email)),
            (Email, Value::Text(&long_email), Err(Unsendable::IdentifierTooLong)),
            (Phone, Value::Text("+15550100"), Ok("+15550100")),
            (Phone, Value::Text("15550100"), Err(Unsendable::Phone)),
            (Phone, Value::Text("+05550100"), Err(Unsendable::Phone)),
            (Phone, Value::Text("+1 555 0100"), Err(Unsendable::Phone)),
            (Phone, Value::Text("+1234567890123456"), Err(Unsendable::Phone)),
            (CioId, Value::Text("a3000001"), Ok("a3000001")),
            (CioId, Value::Text("cio_a3000001"), Err(Unsendable::CioPrefix)),
        ];
        for (kind, value, expected) in table {
            assert_eq!(identifier(kind, &value).as_deref(), expected.as_ref().map(|text| *text), "{kind:?} {value:?}");
        }
    }

    #[test]
    fn every_refusal_has_a_code_of_its_own() {
        use Unsendable::*;
        let all = [
            ValueTooLong,
            EmptyText,
            NotFinite,
            SubSecond,
            IdentifierType,
            IdentifierEmpty,
            IdentifierTooLong,
            IdentifierCleared,
            Email,
            Phone,
            CioPrefix,
            Resubscribe,
            NotBoolean,
            UnknownType,
            TooManyAttributes,
            ItemTooLarge,
        ];
        let codes: std::collections::BTreeSet<&str> = all.iter().map(|why| why.code()).collect();
        assert_eq!(codes.len(), all.len());
        assert!(codes.iter().all(|code| code.starts_with("LOCAL_")));
    }

    proptest! {
        #[test]
        fn numbers_are_read_back_as_they_are(number in any::<i64>(), float in any::<f64>(), day in any::<i32>()) {
            let text = json(&Value::Integer(number)).unwrap();
            prop_assert_eq!(text.trim_matches('"').parse::<i64>(), Ok(number));
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read.is_number(), number.unsigned_abs() <= EXACT_IN_DOUBLE);
            prop_assert_eq!(json(&Value::Date(day)).unwrap().parse::<i64>(), Ok(i64::from(day) * 86_400));
            match json(&Value::Float(float)) {
                Ok(text) => {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap().is_number(), "{}", text);
                    prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(float.to_bits()), "{}", text);
                    prop_assert!(!text.contains(".0e") && !text.ends_with(".0"), "{}", text);
                }
                Err(_) => prop_assert!(!float.is_finite()),
            }
        }

        #[test]
        fn texts_are_read_back_as_they_are(text in any::<String>(), items in proptest::collection::vec(any::<String>(), 0..4)) {
            if let Ok(json) = json(&Value::Text(&text)) {
                prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            }
            let list = Value::TextList(items.iter().map(String::as_str).collect());
            if let Ok(json) = json(&list) {
                prop_assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), items);
            }
        }

        #[test]
        fn no_identifier_panics(text in any::<String>()) {
            for kind in Identifier::ALL {
                if let Ok(checked) = identifier(kind, &Value::Text(&text)) {
                    prop_assert_eq!(&*checked, &*text);
                }
            }
        }
    }
}
