//! Property values as text, and back.
//!
//! HubSpot takes and gives every value as a JSON string. A value that has no exact text is refused here; nothing is
//! rounded or cut.

use chrono::{DateTime, NaiveDate, NaiveTime};
use rsync_core::record::{FieldType, Number, Value};

/// Longest text of a property, in characters.
pub(crate) const TEXT_CHARS_MAX: usize = 65_536;

/// Why a value cannot be sent. Such a row never leaves the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsendable {
    TextTooLong,
    NotFinite,
    DateOutOfRange,
    SubMillisecond,
    ListItem,
    EmptyKey,
    UnknownType,
}

impl Unsendable {
    /// Code in the row's rejection. The prefix tells it from HubSpot's own codes.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Unsendable::TextTooLong => "LOCAL_TEXT_TOO_LONG",
            Unsendable::NotFinite => "LOCAL_NOT_FINITE",
            Unsendable::DateOutOfRange => "LOCAL_DATE_OUT_OF_RANGE",
            Unsendable::SubMillisecond => "LOCAL_SUB_MILLISECOND",
            Unsendable::ListItem => "LOCAL_LIST_ITEM",
            Unsendable::EmptyKey => "LOCAL_EMPTY_KEY",
            Unsendable::UnknownType => "LOCAL_UNKNOWN_TYPE",
        }
    }

    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Unsendable::TextTooLong => "shorten the text in the model: HubSpot keeps at most 65,536 characters",
            Unsendable::NotFinite => "send null instead of NaN or infinity",
            Unsendable::DateOutOfRange => "use a date in the years 0 to 9999",
            Unsendable::SubMillisecond => "truncate the timestamp to milliseconds in the model: HubSpot keeps no more",
            Unsendable::ListItem => "list items must not be empty or hold ';', which separates them",
            Unsendable::EmptyKey => "give the row a key that is not empty",
            Unsendable::UnknownType => "map the field to a type that HubSpot has",
        }
    }
}

/// Appends the text of `value` to `out`. On an error, `out` is left with a part of it.
pub(crate) fn write_value(value: &Value<'_>, out: &mut String) -> Result<(), Unsendable> {
    let start = out.len();
    match value {
        Value::Text(text) => {
            check_length(text)?;
            out.push_str(text);
        }
        Value::Integer(_) | Value::Decimal { .. } | Value::Boolean(_) => {
            value.write_text(out);
        }
        Value::Float(number) => {
            if !number.is_finite() {
                return Err(Unsendable::NotFinite);
            }
            value.write_text(out);
        }
        Value::Date(_) => {
            if !value.write_text(out) {
                return Err(Unsendable::DateOutOfRange);
            }
        }
        Value::Timestamp(micros) => {
            if micros % 1_000 != 0 {
                return Err(Unsendable::SubMillisecond);
            }
            if !value.write_text(out) {
                return Err(Unsendable::DateOutOfRange);
            }
            // HubSpot's own form has three digits, also where they are zero.
            if !out[start..].contains('.') && out.ends_with('Z') {
                out.pop();
                out.push_str(".000Z");
            }
        }
        Value::TextList(items) => {
            for (i, item) in items.iter().enumerate() {
                // An empty first item would turn "replace the options" into "append to them".
                if item.is_empty() || item.contains(';') {
                    return Err(Unsendable::ListItem);
                }
                if i > 0 {
                    out.push(';');
                }
                out.push_str(item);
            }
            check_length(&out[start..])?;
        }
        _ => return Err(Unsendable::UnknownType),
    }
    Ok(())
}

fn check_length(text: &str) -> Result<(), Unsendable> {
    // Bytes are never fewer than characters, so short texts need no count.
    if text.len() > TEXT_CHARS_MAX && text.chars().count() > TEXT_CHARS_MAX {
        return Err(Unsendable::TextTooLong);
    }
    Ok(())
}

/// The value of type `ty` in a text of an answer; `None` if it has no such form.
pub(crate) fn read_value(ty: FieldType, text: &str) -> Option<Value<'_>> {
    Some(match ty {
        FieldType::Text => Value::Text(text),
        FieldType::Integer => Value::Integer(i64::try_from(parse_number(text)?.unscaled(0)?).ok()?),
        FieldType::Float => Value::Float(text.trim().parse::<f64>().ok().filter(|float| float.is_finite())?),
        FieldType::Decimal { scale, .. } => Value::Decimal { unscaled: parse_number(text)?.unscaled(scale)?, scale },
        FieldType::Boolean => Value::Boolean(text.parse().ok()?),
        FieldType::Date => Value::Date(parse_date(text)?),
        FieldType::Timestamp => Value::Timestamp(parse_timestamp(text)?),
        FieldType::TextList => Value::TextList(text.split(';').filter(|item| !item.is_empty()).collect()),
        _ => return None,
    })
}

/// A number as people type it: with a plus sign or white space around it.
pub(crate) fn parse_number(text: &str) -> Option<Number> {
    let text = text.trim();
    Number::parse(text.strip_prefix('+').filter(|rest| !rest.starts_with('-')).unwrap_or(text))
}

/// Days since 1970 from `YYYY-MM-DD`, epoch milliseconds at midnight, or a moment at midnight.
fn parse_date(text: &str) -> Option<i32> {
    const EPOCH: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date");
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return i32::try_from(date.signed_duration_since(EPOCH).num_days()).ok();
    }
    let micros = parse_timestamp(text)?;
    const DAY: i64 = 86_400_000_000;
    (micros % DAY == 0).then(|| i32::try_from(micros / DAY).ok()).flatten()
}

/// Microseconds since 1970 from ISO 8601 with a zone, epoch milliseconds, or a bare day.
fn parse_timestamp(text: &str) -> Option<i64> {
    if let Ok(millis) = text.parse::<i64>() {
        return millis.checked_mul(1_000);
    }
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.timestamp_micros());
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(day.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: &Value<'_>) -> Result<String, Unsendable> {
        let mut out = String::from(">");
        write_value(value, &mut out)?;
        Ok(out[1..].to_owned())
    }

    #[test]
    fn values_have_the_services_form() {
        let long = "x".repeat(TEXT_CHARS_MAX);
        let longer = "x".repeat(TEXT_CHARS_MAX + 1);
        let umlauts = "ä".repeat(TEXT_CHARS_MAX);
        let table: Vec<(Value<'_>, Result<&str, Unsendable>)> = vec![
            (Value::Text(""), Ok("")),
            (Value::Text("a\"b\\c\n"), Ok("a\"b\\c\n")),
            (Value::Text(&long), Ok(&long)),
            (Value::Text(&umlauts), Ok(&umlauts)),
            (Value::Text(&longer), Err(Unsendable::TextTooLong)),
            (Value::Integer(i64::MAX), Ok("9223372036854775807")),
            (Value::Float(0.1), Ok("0.1")),
            (Value::Float(f64::NAN), Err(Unsendable::NotFinite)),
            (Value::Float(f64::INFINITY), Err(Unsendable::NotFinite)),
            (Value::Decimal { unscaled: -5, scale: 2 }, Ok("-0.05")),
            (Value::Boolean(true), Ok("true")),
            (Value::Date(18_321), Ok("2020-02-29")),
            (Value::Date(i32::MAX), Err(Unsendable::DateOutOfRange)),
            (Value::Timestamp(1_582_947_017_000_000), Ok("2020-02-29T03:30:17.000Z")),
            (Value::Timestamp(1_582_947_017_120_000), Ok("2020-02-29T03:30:17.120Z")),
            (Value::Timestamp(-1_000), Ok("1969-12-31T23:59:59.999Z")),
            (Value::Timestamp(1), Err(Unsendable::SubMillisecond)),
            (Value::Timestamp(i64::MAX / 1_000 * 1_000), Err(Unsendable::DateOutOfRange)),
            (Value::TextList(vec!["a", "b"]), Ok("a;b")),
            (Value::TextList(vec![]), Ok("")),
            (Value::TextList(vec!["", "b"]), Err(Unsendable::ListItem)),
            (Value::TextList(vec!["a;b"]), Err(Unsendable::ListItem)),
        ];
        for (value, expected) in table {
            assert_eq!(text(&value), expected.map(str::to_owned), "{value:?}");
        }
    }

    #[test]
    fn numbers_may_have_a_plus_sign_and_white_space() {
        for text in ["7", "+7", " 7 ", " +7.0 ", "0.7e+1"] {
            assert_eq!(parse_number(text), Number::parse("7"), "{text}");
        }
        assert_eq!(parse_number("-7"), Number::parse("-7"));
        for text in ["", "+", "+-7", "++7", "-+7", "+ 7", "1,000", "NaN"] {
            assert_eq!(parse_number(text), None, "{text}");
        }
    }

    #[test]
    fn dates_are_read_in_every_form_of_the_service() {
        for text in ["2020-02-29", "1582934400000", "2020-02-29T00:00:00Z", "2020-02-29T00:00:00.000Z"] {
            assert_eq!(parse_date(text), Some(18_321), "{text}");
        }
        for text in ["2020-02-30", "1582934400001", "2020-02-29T00:00:01Z", "", "soon"] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        for text in ["2020-02-29T03:30:17.120Z", "1582947017120", "2020-02-29T04:30:17.12+01:00"] {
            assert_eq!(parse_timestamp(text), Some(1_582_947_017_120_000), "{text}");
        }
        assert_eq!(parse_timestamp("9223372036854775807"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(micros in -62_000_000_000_000_i64..250_000_000_000_000, day in -700_000..2_900_000_i32,
                                        unscaled in any::<i64>(), scale in 0..18_i8) {
            let moment = micros * 1_000;
            prop_assert_eq!(parse_timestamp(&text(&Value::Timestamp(moment)).unwrap()), Some(moment));
            prop_assert_eq!(parse_date(&text(&Value::Date(day)).unwrap()), Some(day));
            let number = text(&Value::Decimal { unscaled: i128::from(unscaled), scale }).unwrap();
            prop_assert_eq!(parse_number(&number).and_then(|n| n.unscaled(scale)), Some(i128::from(unscaled)));
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = (parse_number(&text), parse_date(&text), parse_timestamp(&text));
        }
    }
}
