//! Whether an Arrow value is the value that PostgreSQL prints.
//!
//! The texts are read here without the help of Arrow or of the source, so that an error in either shows.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};

/// Whether cell `row` is what the server prints as `text`, under the time zone UTC; none is null.
pub(crate) fn is_same(array: &dyn Array, row: usize, text: Option<&str>) -> bool {
    let Some(text) = text.filter(|_| !array.is_null(row)) else { return text.is_none() && array.is_null(row) };
    match array.data_type() {
        DataType::Boolean => text == if array.as_boolean().value(row) { "t" } else { "f" },
        DataType::Int16 => text == array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => text == array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => text == array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => {
            let (a, b) = (array.as_primitive::<Float32Type>().value(row), text.parse::<f32>().unwrap());
            a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
        }
        DataType::Float64 => {
            let (a, b) = (array.as_primitive::<Float64Type>().value(row), text.parse::<f64>().unwrap());
            a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
        }
        DataType::Decimal128(_, scale) => {
            Some(array.as_primitive::<Decimal128Type>().value(row)) == unscaled(text, *scale)
        }
        DataType::Utf8 => text == array.as_string::<i32>().value(row),
        DataType::Binary => text == format!("\\x{}", hex(array.as_binary::<i32>().value(row))),
        DataType::Date32 => Some(array.as_primitive::<Date32Type>().value(row).into()) == days(text),
        DataType::Time64(TimeUnit::Microsecond) => {
            Some(array.as_primitive::<Time64MicrosecondType>().value(row)) == time(text)
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let text = if zone.as_deref() == Some("UTC") { text.strip_suffix("+00") } else { Some(text) };
            Some(array.as_primitive::<TimestampMicrosecondType>().value(row)) == text.and_then(timestamp)
        }
        DataType::List(_) => {
            let (list, items) = (array.as_list::<i32>().value(row), items(text));
            list.len() == items.len() && (0..list.len()).all(|i| is_same(&list, i, items[i].as_deref()))
        }
        other => panic!("no comparison for {other}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `-12.50` with the scale 3 is -12500. None if digits would be lost.
pub(crate) fn unscaled(text: &str, scale: i8) -> Option<i128> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let scale = usize::try_from(scale).unwrap();
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > scale {
        return None;
    }
    let value: i128 = format!("{whole}{fraction}{}", "0".repeat(scale - fraction.len())).parse().ok()?;
    Some(if negative { -value } else { value })
}

/// Days from 1970-01-01, after the algorithm of Howard Hinnant.
pub(crate) fn days(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468)
}

fn time(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, ':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let micros: i64 = format!("{fraction:0<6}").parse().ok()?;
    let whole = |text: &str| text.parse::<i64>().ok();
    Some(((whole(hours)? * 60 + whole(minutes)?) * 60 + whole(seconds)?) * 1_000_000 + micros)
}

pub(crate) fn timestamp(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(' ')?;
    Some(days(date)? * 86_400_000_000 + self::time(time)?)
}

/// The items of an array as it is printed: `{a,"b, c",NULL}`, or `[5:6]={a,b}` if it does not begin with item 1.
fn items(text: &str) -> Vec<Option<String>> {
    let text = if text.starts_with('[') { &text[text.find('=').unwrap() + 1..] } else { text };
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).expect("an array");
    let mut items = Vec::new();
    let mut chars = inner.chars().peekable();
    while chars.peek().is_some() {
        let mut item = String::new();
        let mut quoted = false;
        while let Some(c) = chars.next() {
            match c {
                '"' => {
                    quoted = true;
                    while let Some(c) = chars.next().filter(|c| *c != '"') {
                        item.push(if c == '\\' { chars.next().unwrap() } else { c });
                    }
                }
                ',' => break,
                c => item.push(c),
            }
        }
        items.push((quoted || item != "NULL").then_some(item));
    }
    items
}

#[test]
fn the_comparison_sees_differences() {
    assert_eq!((days("1970-01-01"), days("2000-02-29"), days("0001-01-01")), (Some(0), Some(11_016), Some(-719_162)));
    assert_eq!(timestamp("1969-12-31 23:59:59.5"), Some(-500_000));
    assert_eq!((unscaled("-12.50", 3), unscaled("0.001", 2), unscaled("7", 0)), (Some(-12_500), None, Some(7)));
    let expected = [Some("a"), Some("b, \"c"), None, Some("NULL"), Some("")].map(|item| item.map(str::to_owned));
    assert_eq!(items("{a,\"b, \\\"c\",NULL,\"NULL\",\"\"}"), expected);
    assert!(items("{}").is_empty());
    let numbers = arrow::array::Int64Array::from(vec![Some(1), None]);
    assert!(is_same(&numbers, 0, Some("1")) && is_same(&numbers, 1, None));
    assert!(!is_same(&numbers, 0, Some("2")) && !is_same(&numbers, 0, None) && !is_same(&numbers, 1, Some("1")));
    let zeros = arrow::array::Float64Array::from(vec![-0.0]);
    assert!(is_same(&zeros, 0, Some("-0")) && !is_same(&zeros, 0, Some("0")));
}
