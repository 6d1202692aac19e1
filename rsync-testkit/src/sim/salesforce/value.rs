//! Values of requests against the rules of their fields.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};
use serde_json::value::RawValue;

use super::decimal::Decimal;
use super::field::{Field, Kind};
use super::id;
use super::quirks::{EmptyText, ExtraDecimals, OuterWhitespace, Quirks};
use super::reply::RowError;

/// Why a value is not taken.
#[derive(Debug)]
pub(crate) enum Problem {
    /// It breaks a rule of its field.
    Row(RowError),
    /// It is not of the type's form at all: the JSON reader stops at it. Holds the reader's message without the place.
    Malformed(String),
}

/// What a request says a field shall be: a value, or null.
pub(crate) type Wanted = Option<String>;

/// Brings a JSON value into the form in which it is stored. References are only checked for their form here.
pub(crate) fn judge(field: &Field, raw: &RawValue, quirks: &Quirks) -> Result<Wanted, Problem> {
    let json = raw.get();
    if json == "null" {
        // Booleans know no null; other fields are checked where it is known whether the record has a value.
        return match field.kind {
            Kind::Boolean => Err(wrong_type(field, "null")),
            _ => Ok(None),
        };
    }
    let token = Token::of(json).ok_or_else(|| malformed(field, "VALUE_STRING", json))?;
    match field.kind {
        kind if kind.is_text() => text(field, &token, quirks),
        Kind::Boolean => boolean(field, &token),
        Kind::Int | Kind::Long => whole_number(field, &token),
        kind if kind.is_decimal() => decimal(field, &token, quirks),
        Kind::Date | Kind::DateTime | Kind::Time => moment(field, &token),
        Kind::Id | Kind::Reference => reference(field, &token),
        _ => Err(token.misplaced(field)),
    }
}

/// A JSON value that is not null, by what the reader calls it.
enum Token {
    Text(String),
    Number(String),
    True,
    False,
    Object,
    Array,
}

impl Token {
    fn of(json: &str) -> Option<Self> {
        Some(match json.as_bytes().first()? {
            b'"' => Self::Text(serde_json::from_str(json).ok()?),
            b'{' => Self::Object,
            b'[' => Self::Array,
            b't' => Self::True,
            b'f' => Self::False,
            _ => Self::Number(json.to_owned()),
        })
    }

    /// The value is of the wrong JSON type.
    fn misplaced(&self, field: &Field) -> Problem {
        let (name, value) = match self {
            Self::Text(text) => ("VALUE_STRING", text.as_str()),
            Self::Number(text) if text.contains(['.', 'e', 'E']) => ("VALUE_NUMBER_FLOAT", text.as_str()),
            Self::Number(text) => ("VALUE_NUMBER_INT", text.as_str()),
            Self::True => ("VALUE_TRUE", "true"),
            Self::False => ("VALUE_FALSE", "false"),
            Self::Object => ("START_OBJECT", "{"),
            Self::Array => ("START_ARRAY", "["),
        };
        malformed(field, name, value)
    }
}

fn malformed(field: &Field, token: &str, value: &str) -> Problem {
    Problem::Malformed(format!(
        "Cannot deserialize instance of {} from {token} value {value} or request may be missing a required field",
        field.kind.word()
    ))
}

fn row(code: &str, field: &Field, message: String) -> Problem {
    Problem::Row(RowError::new(code, message).on(&field.name))
}

pub(crate) fn wrong_type(field: &Field, value: &str) -> Problem {
    row("INVALID_TYPE_ON_FIELD_IN_RECORD", field, format!("{}: value not of required type: {value}", field.label))
}

fn outside_range(field: &Field, value: &str) -> Problem {
    let message = format!("{}: value outside of valid range on numeric field: {value}", field.label);
    row("NUMBER_OUTSIDE_VALID_RANGE", field, message)
}

fn text(field: &Field, token: &Token, quirks: &Quirks) -> Result<Wanted, Problem> {
    let Token::Text(given) = token else { return Err(token.misplaced(field)) };
    // A NUL cannot be stored; the reader refuses it.
    if given.contains('\0') {
        return Err(Problem::Malformed("Illegal character ((CTRL-CHAR, code 0))".to_owned()));
    }
    let trimmed = match quirks.outer_whitespace {
        OuterWhitespace::Trimmed => given.trim(),
        OuterWhitespace::Kept => given,
    };
    let fits_type = !matches!(field.kind, Kind::Email | Kind::Picklist | Kind::MultiPicklist);
    if trimmed.is_empty() && (quirks.empty_text == EmptyText::Null || !fits_type) {
        return Ok(None);
    }
    let stored = match field.kind {
        Kind::Email => {
            if !is_email(trimmed) {
                let message = format!("{}: invalid email address: {trimmed}", field.label);
                return Err(row("INVALID_EMAIL_ADDRESS", field, message));
            }
            trimmed.to_lowercase()
        }
        _ => trimmed.to_owned(),
    };
    if field.length > 0 && stored.chars().count() > field.length {
        let message = format!("{}: data value too large: {stored} (max length={})", field.label, field.length);
        return Err(row("STRING_TOO_LONG", field, message));
    }
    if field.restricted {
        let several = field.kind == Kind::MultiPicklist;
        let offered = |value: &str| field.choices.iter().any(|choice| choice.active && choice.value == value);
        let unknown =
            if several { stored.split(';').find(|v| !offered(v)) } else { Some(&*stored).filter(|v| !offered(v)) };
        if let Some(value) = unknown {
            let message = format!("{}: bad value for restricted picklist field: {value}", field.label);
            return Err(row("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", field, message));
        }
    }
    Ok(Some(stored))
}

/// An address as far as the service checks it: one `@`, a name before it, a domain with a point after it.
fn is_email(text: &str) -> bool {
    let Some((name, domain)) = text.split_once('@') else { return false };
    let plain = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control() || c == '@');
    let dotted = |part: &str| part.split('.').all(|label| !label.is_empty());
    plain(name) && plain(domain) && dotted(name) && dotted(domain) && domain.contains('.')
}

fn boolean(field: &Field, token: &Token) -> Result<Wanted, Problem> {
    match token {
        Token::True => Ok(Some("true".to_owned())),
        Token::False => Ok(Some("false".to_owned())),
        other => Err(other.misplaced(field)),
    }
}

/// The digits of a number, which may also come as text.
fn number(field: &Field, token: &Token) -> Result<Decimal, Problem> {
    let (Token::Number(text) | Token::Text(text)) = token else { return Err(token.misplaced(field)) };
    Decimal::parse(text).ok_or_else(|| token.misplaced(field))
}

fn whole_number(field: &Field, token: &Token) -> Result<Wanted, Problem> {
    let number = number(field, token)?;
    if number.scale() > 0 {
        return Err(token.misplaced(field));
    }
    let text = number.to_string();
    let fits = match field.kind {
        Kind::Int => text.parse::<i32>().is_ok() && (field.digits == 0 || number.whole_digits() <= field.digits),
        _ => text.parse::<i64>().is_ok(),
    };
    if fits { Ok(Some(text)) } else { Err(outside_range(field, &text)) }
}

fn decimal(field: &Field, token: &Token, quirks: &Quirks) -> Result<Wanted, Problem> {
    let mut number = number(field, token)?;
    if number.scale() > field.scale {
        if quirks.extra_decimals == ExtraDecimals::Refused {
            return Err(outside_range(field, &number.to_string()));
        }
        number = number.rounded(field.scale);
    }
    if number.whole_digits() > field.precision - field.scale {
        return Err(outside_range(field, &number.to_string()));
    }
    Ok(Some(number.to_string()))
}

fn moment(field: &Field, token: &Token) -> Result<Wanted, Problem> {
    let Token::Text(text) = token else { return Err(token.misplaced(field)) };
    let year_and_text = match field.kind {
        Kind::Date => date(text).map(|date| (date.year(), text.clone())),
        Kind::DateTime => date_time(text).map(|time| (time.year(), shown(time))),
        _ => time(text).map(|time| (2_000, time)),
    };
    match year_and_text {
        Some((1_700..=4_000, text)) => Ok(Some(text)),
        Some(_) => Err(wrong_type(field, text)),
        None => Err(token.misplaced(field)),
    }
}

/// `2026-11-03`.
pub(crate) fn date(text: &str) -> Option<NaiveDate> {
    // chrono also reads `2026-1-2`.
    if text.len() != 10 { None } else { NaiveDate::parse_from_str(text, "%Y-%m-%d").ok() }
}

/// `2026-11-03T23:36:13.575Z`: milliseconds may be missing but are three digits, the offset may not be missing.
pub(crate) fn date_time(text: &str) -> Option<DateTime<Utc>> {
    let (moment, offset) = match text.strip_suffix('Z') {
        Some(moment) => (moment, "+0000".to_owned()),
        None => {
            let (moment, offset) = text.split_at_checked(text.rfind(['+', '-']).filter(|at| *at >= 19)?)?;
            (moment, offset.replacen(':', "", 1))
        }
    };
    let millis = match moment.len() {
        19 => ".000",
        23 => "",
        _ => return None,
    };
    if offset.len() != 5 {
        return None;
    }
    let full = format!("{moment}{millis}{offset}");
    let parsed = DateTime::parse_from_str(&full, "%Y-%m-%dT%H:%M:%S.%3f%z").ok()?;
    Some(parsed.with_timezone(&Utc))
}

/// `2026-11-03T23:36:13.575+0000`, as answers show it.
pub(crate) fn shown(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

/// The same of epoch milliseconds. A time that no calendar has is shown as the epoch.
pub(crate) fn shown_ms(ms: i64) -> String {
    shown(DateTime::from_timestamp_millis(ms).unwrap_or_default())
}

fn time(text: &str) -> Option<String> {
    let time = NaiveTime::parse_from_str(text.strip_suffix('Z')?, "%H:%M:%S%.3f").ok()?;
    Some(time.format("%H:%M:%S%.3fZ").to_string())
}

fn reference(field: &Field, token: &Token) -> Result<Wanted, Problem> {
    let Token::Text(text) = token else { return Err(token.misplaced(field)) };
    if text.is_empty() {
        return Ok(None);
    }
    id::canonical(text)
        .map(Some)
        .ok_or_else(|| row("MALFORMED_ID", field, format!("{}: id value of incorrect type: {text}", field.label)))
}

/// The JSON text of a stored value.
pub(crate) fn rendered(field: &Field, value: Option<&str>) -> Box<RawValue> {
    let json = match value {
        None => "null".to_owned(),
        // The service prints decimals with at least one digit after the point.
        Some(text) if field.kind.is_decimal() && !text.contains('.') => format!("{text}.0"),
        Some(text) if field.kind.is_number() || field.kind == Kind::Boolean => text.to_owned(),
        Some(text) => serde_json::Value::from(text).to_string(),
    };
    // Numbers and booleans were read as such, and text was just written by the JSON library.
    RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
