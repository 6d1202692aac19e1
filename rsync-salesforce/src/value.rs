//! Values as the service takes them, and back from the texts of its answers. A value that has no exact form is refused
//! here; nothing is rounded or cut.

use chrono::{DateTime, NaiveDate};
use rsync_core::destination::AcceptedType;
use rsync_core::record::{FieldType, Number, Value};

use crate::schema::{Field, Form};

/// Why a value cannot be sent. Such a row never leaves the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsendable {
    WrongType,
    NotFinite,
    NotExact,
    Decimals,
    OutOfRange,
    NotANumber,
    DateOutOfRange,
    SubMillisecond,
    ListItem,
    Nul,
    NullBoolean,
    KeyWhiteSpace,
    RecordId,
    ParentTwice,
    CompositeReference,
}

impl Unsendable {
    /// Code in the row's rejection. The prefix tells it from the service's own codes.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Unsendable::WrongType => "LOCAL_WRONG_TYPE",
            Unsendable::NotFinite => "LOCAL_NOT_FINITE",
            Unsendable::NotExact => "LOCAL_NOT_EXACT",
            Unsendable::Decimals => "LOCAL_TOO_MANY_DECIMALS",
            Unsendable::OutOfRange => "LOCAL_OUT_OF_RANGE",
            Unsendable::NotANumber => "LOCAL_NOT_A_NUMBER",
            Unsendable::DateOutOfRange => "LOCAL_DATE_OUT_OF_RANGE",
            Unsendable::SubMillisecond => "LOCAL_SUB_MILLISECOND",
            Unsendable::ListItem => "LOCAL_LIST_ITEM",
            Unsendable::Nul => "LOCAL_NUL",
            Unsendable::NullBoolean => "LOCAL_NULL_BOOLEAN",
            Unsendable::KeyWhiteSpace => "LOCAL_KEY_WHITE_SPACE",
            Unsendable::RecordId => "LOCAL_RECORD_ID",
            Unsendable::ParentTwice => "LOCAL_PARENT_TWICE",
            Unsendable::CompositeReference => "LOCAL_COMPOSITE_REFERENCE",
        }
    }

    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Unsendable::WrongType => "map the column to a type that the field takes",
            Unsendable::NotFinite => "send null instead of NaN or infinity",
            Unsendable::NotExact => {
                "round the number in the model: Salesforce's interface keeps 15 to 17 significant digits"
            }
            Unsendable::Decimals => {
                "round the number in the model to the decimals of the field, or give the field more"
            }
            Unsendable::OutOfRange => "send a whole number of 32 bits, or use a number field",
            Unsendable::NotANumber => "write the number plainly: digits and a point, without needless zeros or signs",
            Unsendable::DateOutOfRange => "use a date in the years 0 to 9999",
            Unsendable::SubMillisecond => {
                "truncate the timestamp to milliseconds in the model: Salesforce keeps no more"
            }
            Unsendable::ListItem => "list items must not be empty or hold ';', which separates them",
            Unsendable::Nul => "remove the NUL character in the model: Salesforce stores none",
            Unsendable::NullBoolean => "send true or false, or leave the field out: a checkbox is never empty",
            Unsendable::KeyWhiteSpace => {
                "trim the key in the model: Salesforce may trim it, and another record has that key"
            }
            Unsendable::RecordId => "use the record id in its form of 18 characters",
            Unsendable::CompositeReference => {
                "Salesforce reads '@{' as a reference in composite requests: switch composite off, or mend the text"
            }
            Unsendable::ParentTwice => {
                "map one field a reference, or let nulls of the others keep what is there: a row can set it in one way"
            }
        }
    }
}

/// How a text stands in JSON and in a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// In quotes, escaped.
    Quoted,
    /// As it is: a number, `true` or `false`.
    Bare,
    /// There is no text: the value is an empty list, which the service has no other form for than null.
    Null,
}

/// Appends the text of `value`, as `field` takes it, to `out`. A field that is not described is sent as the value is;
/// the service then says what is wrong with it. On an error, `out` is left with a part of it.
pub(crate) fn write_value(field: Option<&Field>, value: &Value<'_>, out: &mut String) -> Result<Spelling, Unsendable> {
    let Some(field) = field else {
        return match value {
            Value::Integer(_) | Value::Float(_) | Value::Decimal { .. } => write_double(value, None, out),
            Value::Boolean(_) => write_plain(value, out, Spelling::Bare),
            Value::Timestamp(_) => write_moment(value, out),
            Value::TextList(items) => write_list(items, out),
            _ => write_text(value, out),
        };
    };
    // Text is let through to every kind of number: what does not look like one is refused as such.
    let taken = accepted(value).is_some_and(|ty| field.accepts.contains(&ty));
    let number = matches!(field.form, Form::Int | Form::Long | Form::Double) && matches!(value, Value::Text(_));
    if !taken && !number {
        return Err(Unsendable::WrongType);
    }
    match (field.form, value) {
        (Form::MultiPicklist, Value::TextList(items)) => write_list(items, out),
        (Form::Text | Form::Id | Form::MultiPicklist, _) => write_text(value, out),
        (Form::Boolean, _) => write_plain(value, out, Spelling::Bare),
        (Form::Int, _) => write_whole(value, i64::from(i32::MIN)..=i64::from(i32::MAX), out),
        (Form::Long, _) => write_whole(value, i64::MIN..=i64::MAX, out),
        (Form::Double, _) => write_double(value, field.scale, out),
        (Form::Date, _) => write_plain(value, out, Spelling::Quoted),
        (Form::DateTime, _) => write_moment(value, out),
        (Form::Other, _) => Err(Unsendable::WrongType),
    }
}

fn accepted(value: &Value<'_>) -> Option<AcceptedType> {
    Some(AcceptedType::of(match value {
        Value::Text(_) => FieldType::Text,
        Value::Integer(_) => FieldType::Integer,
        Value::Float(_) => FieldType::Float,
        Value::Decimal { .. } => FieldType::Decimal { precision: 38, scale: 0 },
        Value::Boolean(_) => FieldType::Boolean,
        Value::Date(_) => FieldType::Date,
        Value::Timestamp(_) => FieldType::Timestamp,
        Value::TextList(_) => FieldType::TextList,
        _ => return None,
    }))
}

fn write_plain(value: &Value<'_>, out: &mut String, spelling: Spelling) -> Result<Spelling, Unsendable> {
    if value.write_text(out) { Ok(spelling) } else { Err(Unsendable::DateOutOfRange) }
}

fn write_text(value: &Value<'_>, out: &mut String) -> Result<Spelling, Unsendable> {
    match value {
        Value::Text(text) if text.contains('\0') => Err(Unsendable::Nul),
        Value::Float(number) if !number.is_finite() => Err(Unsendable::NotFinite),
        _ => write_plain(value, out, Spelling::Quoted),
    }
}

fn write_list(items: &[&str], out: &mut String) -> Result<Spelling, Unsendable> {
    for (i, item) in items.iter().enumerate() {
        if item.is_empty() || item.contains(';') {
            return Err(Unsendable::ListItem);
        }
        if item.contains('\0') {
            return Err(Unsendable::Nul);
        }
        if i > 0 {
            out.push(';');
        }
        out.push_str(item);
    }
    Ok(if items.is_empty() { Spelling::Null } else { Spelling::Quoted })
}

/// A moment with exactly three digits of a second.
fn write_moment(value: &Value<'_>, out: &mut String) -> Result<Spelling, Unsendable> {
    let start = out.len();
    if matches!(value, Value::Timestamp(micros) if micros % 1_000 != 0) {
        return Err(Unsendable::SubMillisecond);
    }
    write_plain(value, out, Spelling::Quoted)?;
    if !out[start..].contains('.') && out.ends_with('Z') {
        out.pop();
        out.push_str(".000Z");
    }
    Ok(Spelling::Quoted)
}

fn write_whole(
    value: &Value<'_>,
    range: std::ops::RangeInclusive<i64>,
    out: &mut String,
) -> Result<Spelling, Unsendable> {
    let number = match value {
        Value::Integer(number) => *number,
        Value::Text(text) if is_canonical(text) => text.parse().map_err(|_| Unsendable::OutOfRange)?,
        Value::Text(_) => return Err(Unsendable::NotANumber),
        _ => return Err(Unsendable::WrongType),
    };
    if !range.contains(&number) {
        return Err(Unsendable::OutOfRange);
    }
    write_plain(&Value::Integer(number), out, Spelling::Bare)
}

/// A number that the service reads as a floating point number and stores with `scale` digits behind the point.
fn write_double(value: &Value<'_>, scale: Option<u64>, out: &mut String) -> Result<Spelling, Unsendable> {
    let start = out.len();
    match value {
        // Two spellings of one number would be two keys of one record.
        Value::Text(text) if !is_canonical(text) => return Err(Unsendable::NotANumber),
        Value::Float(number) if !number.is_finite() => return Err(Unsendable::NotFinite),
        _ => {
            value.write_text(out);
        }
    }
    let number = Number::parse(&out[start..]).filter(|number| number.survives_f64()).ok_or(Unsendable::NotExact)?;
    if scale.is_some_and(|scale| u64::from(number.decimals()) > scale) {
        return Err(Unsendable::Decimals);
    }
    Ok(Spelling::Bare)
}

/// Whether `text` is the only plain spelling of its number: no sign, zero or point too many.
fn is_canonical(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    plain(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(|fraction| plain(fraction) && !fraction.ends_with('0'))
        && text != "-0"
}

/// The value of type `ty` in a text of an answer; `None` if it has no such form.
pub(crate) fn read_value(ty: FieldType, text: &str) -> Option<Value<'_>> {
    Some(match ty {
        FieldType::Text => Value::Text(text),
        FieldType::Integer => Value::Integer(i64::try_from(Number::parse(text)?.unscaled(0)?).ok()?),
        FieldType::Float => {
            let float = Number::parse(text).and(text.parse::<f64>().ok());
            Value::Float(float.filter(|float| float.is_finite())?)
        }
        FieldType::Decimal { scale, .. } => Value::Decimal { unscaled: Number::parse(text)?.unscaled(scale)?, scale },
        FieldType::Boolean => Value::Boolean(text.parse().ok()?),
        FieldType::Date => Value::Date(read_date(text)?),
        FieldType::Timestamp => Value::Timestamp(read_moment(text)?),
        FieldType::TextList => Value::TextList(text.split(';').collect()),
        _ => return None,
    })
}

/// Days since 1970.
fn read_date(text: &str) -> Option<i32> {
    const EPOCH: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date");
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    i32::try_from(date.signed_duration_since(EPOCH).num_days()).ok()
}

/// Microseconds since 1970. The service writes `2021-12-03T17:59:20.000+0000`.
fn read_moment(text: &str) -> Option<i64> {
    let parsed =
        DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z").or_else(|_| DateTime::parse_from_rfc3339(text));
    parsed.ok().map(|moment| moment.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema::tests::sample;

    fn text(field: &str, value: &Value<'_>) -> Result<(String, Spelling), Unsendable> {
        let mut out = String::from(">");
        let spelling = write_value(sample().field(field), value, &mut out)?;
        Ok((out[1..].to_owned(), spelling))
    }

    #[test]
    fn values_have_the_services_form() {
        use Spelling::{Bare, Null, Quoted};
        use Value::{Boolean, Date, Decimal, Float, Integer, Text, TextList, Timestamp};
        let second = 1_582_947_017_000_000;
        let table: Vec<(&str, Value<'_>, Result<(&str, Spelling), Unsendable>)> = vec![
            ("LastName", Text(""), Ok(("", Quoted))),
            ("LastName", Text(" a\"b\\c\n\u{1} "), Ok((" a\"b\\c\n\u{1} ", Quoted))),
            ("LastName", Text("a\0b"), Err(Unsendable::Nul)),
            ("LastName", Integer(7), Ok(("7", Quoted))),
            ("LastName", Decimal { unscaled: -5, scale: 2 }, Ok(("-0.05", Quoted))),
            ("LastName", Float(f64::NAN), Err(Unsendable::NotFinite)),
            ("LastName", Timestamp(1), Ok(("1970-01-01T00:00:00.000001Z", Quoted))),
            ("LastName", TextList(vec!["a"]), Err(Unsendable::WrongType)),
            ("Email", Integer(7), Err(Unsendable::WrongType)),
            ("Tier__c", Text("gold"), Ok(("gold", Quoted))),
            ("Vip__c", Boolean(true), Ok(("true", Bare))),
            ("Vip__c", Text("true"), Err(Unsendable::WrongType)),
            ("Seats__c", Integer(i64::from(i32::MAX)), Ok(("2147483647", Bare))),
            ("Seats__c", Integer(i64::from(i32::MAX) + 1), Err(Unsendable::OutOfRange)),
            ("Seats__c", Float(1.0), Err(Unsendable::WrongType)),
            ("Seats__c", Text("7"), Ok(("7", Bare))),
            ("Seats__c", Text("07"), Err(Unsendable::NotANumber)),
            ("Seats__c", Text("seven"), Err(Unsendable::NotANumber)),
            ("Huge__c", Integer(i64::MAX), Ok(("9223372036854775807", Bare))),
            ("Price__c", Integer(-3), Ok(("-3", Bare))),
            ("Price__c", Decimal { unscaled: 2985, scale: 2 }, Ok(("29.85", Bare))),
            ("Price__c", Decimal { unscaled: 298_500, scale: 4 }, Ok(("29.8500", Bare))),
            ("Price__c", Decimal { unscaled: 298_501, scale: 4 }, Err(Unsendable::Decimals)),
            ("Price__c", Decimal { unscaled: i128::MAX, scale: 0 }, Err(Unsendable::NotExact)),
            ("Price__c", Float(0.25), Ok(("0.25", Bare))),
            ("Price__c", Float(0.1 + 0.2), Err(Unsendable::Decimals)),
            ("Price__c", Float(1e21), Ok(("1000000000000000000000", Bare))),
            ("Price__c", Float(f64::INFINITY), Err(Unsendable::NotFinite)),
            ("Number__c", Integer((1 << 53) + 1), Err(Unsendable::NotExact)),
            ("Number__c", Integer(1 << 53), Ok(("9007199254740992", Bare))),
            ("Number__c", Text("42"), Ok(("42", Bare))),
            ("Number__c", Text("42.0"), Err(Unsendable::NotANumber)),
            ("Day__c", Date(18_321), Ok(("2020-02-29", Quoted))),
            ("Day__c", Date(i32::MAX), Err(Unsendable::DateOutOfRange)),
            ("Day__c", Timestamp(0), Err(Unsendable::WrongType)),
            ("Seen__c", Timestamp(second), Ok(("2020-02-29T03:30:17.000Z", Quoted))),
            ("Seen__c", Timestamp(second + 120_000), Ok(("2020-02-29T03:30:17.120Z", Quoted))),
            ("Seen__c", Timestamp(second + 1), Err(Unsendable::SubMillisecond)),
            ("Seen__c", Timestamp(i64::MAX / 1_000 * 1_000), Err(Unsendable::DateOutOfRange)),
            ("Tags__c", TextList(vec!["a", "b"]), Ok(("a;b", Quoted))),
            ("Tags__c", Text("a;b"), Ok(("a;b", Quoted))),
            ("Tags__c", TextList(vec![]), Ok(("", Null))),
            ("Tags__c", TextList(vec!["a;b"]), Err(Unsendable::ListItem)),
            ("Tags__c", TextList(vec!["", "b"]), Err(Unsendable::ListItem)),
            ("MailingAddress", Text("x"), Err(Unsendable::WrongType)),
            ("Unheard__c", Text("x"), Ok(("x", Quoted))),
            ("Unheard__c", Integer(1), Ok(("1", Bare))),
            ("Unheard__c", Boolean(false), Ok(("false", Bare))),
            ("Unheard__c", Timestamp(1), Err(Unsendable::SubMillisecond)),
            ("Unheard__c", TextList(vec!["a", "b"]), Ok(("a;b", Quoted))),
        ];
        for (field, value, expected) in table {
            let expected = expected.map(|(text, spelling)| (text.to_owned(), spelling));
            assert_eq!(text(field, &value), expected, "{field} {value:?}");
        }
    }

    #[test]
    fn one_plain_spelling_a_number() {
        for text in ["0", "7", "-7", "10", "0.5", "-0.05", "123456789012345678901234567890"] {
            assert!(is_canonical(text), "{text}");
        }
        for text in ["", "-", "-0", "07", "+7", "7.0", "7.", ".5", "1e3", " 7", "7 ", "1,5", "NaN", "٧"] {
            assert!(!is_canonical(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = (is_canonical(&text), read_date(&text), read_moment(&text));
        }

        #[test]
        fn numbers_are_json_and_keep_their_value(float in any::<f64>(), unscaled in any::<i64>(), scale in 0..18_i8) {
            for value in [Value::Float(float), Value::Decimal { unscaled: unscaled.into(), scale }] {
                if let Ok((text, spelling)) = text("Unheard__c", &value) {
                    prop_assert_eq!(spelling, Spelling::Bare);
                    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
                    prop_assert!(json.is_number());
                    let mut own = String::new();
                    value.write_text(&mut own);
                    prop_assert_eq!(Number::parse(&text), Number::parse(&own));
                }
            }
        }
    }
}
