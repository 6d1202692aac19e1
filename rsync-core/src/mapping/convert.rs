//! Conversion of columns to the canonical field types, exact or not at all.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringArray, TimestampMicrosecondArray, make_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{self, CastOptions, kernels::cmp};
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType};

use crate::error::{Error, Kind, Result};
use crate::model::is_text;
use crate::record::{FieldType, Value};

/// How far a conversion may go beyond an exact one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Leniency {
    pub(super) blank_as_null: bool,
    pub(super) trim: bool,
    pub(super) round: bool,
    pub(super) assume_utc: bool,
}

/// A converted column; `bad` marks rows that had a value which has no equal in the target type.
pub(super) struct Converted {
    pub(super) values: ArrayRef,
    pub(super) bad: Option<BooleanBuffer>,
}

/// Why columns of `from` cannot become `to` at all, and what to do.
pub(super) fn refusal(from: &DataType, to: FieldType, leniency: Leniency) -> Option<(String, &'static str)> {
    let plain = match from {
        DataType::Dictionary(_, value) => value,
        other => other,
    };
    let temporal_without_zone = matches!(plain, DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64);
    match (plain, to) {
        (
            DataType::Struct(_)
            | DataType::Map(_, _)
            | DataType::Union(_, _)
            | DataType::RunEndEncoded(_, _)
            | DataType::Interval(_)
            | DataType::Duration(_)
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_),
            _,
        ) => Some((format!("columns of type {from} cannot be mapped"), "turn it into text or numbers in the query")),
        (DataType::List(item) | DataType::LargeList(item), FieldType::TextList) if is_text(item.data_type()) => None,
        (DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _), _) => Some((
            format!("a list ({from}) cannot become {to}"),
            "map a list of texts to a text list, or unnest or join the list in the query",
        )),
        (_, FieldType::TextList) => {
            Some((format!("{from} cannot become a text list"), "make a list of texts in the query"))
        }
        (_, FieldType::Timestamp) if temporal_without_zone && !leniency.assume_utc => Some((
            format!("{from} has no time zone, so it names no moment"),
            "give it a time zone in the query, or say assume_utc() if it is in UTC",
        )),
        (DataType::Null, _) => None,
        (from, to) if compute::can_cast_types(from, &to.arrow()) => None,
        (from, to) => {
            Some((format!("{from} cannot become {to}"), "name a type that holds its values, or cast it in the query"))
        }
    }
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    compute::cast_with_options(array, to, &options).map_err(|e| {
        Error::new(Kind::Internal, "convert a column", "the types were checked but the conversion failed")
            .with_context("to", to)
            .with_source(e)
    })
}

/// A text column of any layout, as `Utf8`.
pub(super) fn text_column(array: &ArrayRef) -> Result<ArrayRef> {
    cast(array, &DataType::Utf8)
}

/// Converts a column.
pub(super) fn convert(array: &ArrayRef, to: FieldType, leniency: Leniency) -> Result<Converted> {
    let array = match array.data_type() {
        DataType::Dictionary(_, value) => cast(array, value)?,
        _ => Arc::clone(array),
    };
    if is_text(array.data_type()) {
        return convert_text(&cast(&array, &DataType::Utf8)?, to, leniency);
    }
    if let DataType::Timestamp(unit, zone) = array.data_type() {
        // Instants are counted in UTC whatever their zone, so the zone is only a label.
        let instants = cast_label(&array, DataType::Timestamp(*unit, None));
        return match (to, zone) {
            (FieldType::Text, Some(_)) => instants_as_text(&instants, leniency),
            _ => convert_plain(&instants, to, leniency),
        };
    }
    convert_plain(&array, to, leniency)
}

const UNLABELLED: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// The same numbers under another type of the same layout.
fn cast_label(array: &ArrayRef, data_type: DataType) -> ArrayRef {
    match array.to_data().into_builder().data_type(data_type).build() {
        Ok(data) => make_array(data),
        Err(_) => Arc::clone(array),
    }
}

/// A cast to the field's type, of which the zone is a label that needs no knowledge of zones.
fn cast_to_field(array: &ArrayRef, to: FieldType) -> Result<ArrayRef> {
    match to {
        FieldType::Timestamp => Ok(cast_label(&cast(array, &UNLABELLED)?, to.arrow())),
        _ => cast(array, &to.arrow()),
    }
}

fn instants_as_text(array: &ArrayRef, leniency: Leniency) -> Result<Converted> {
    let Converted { values, mut bad } = convert_plain(array, FieldType::Timestamp, leniency)?;
    let mut scratch = String::new();
    let texts: StringArray = values
        .as_primitive::<TimestampMicrosecondType>()
        .iter()
        .map(|micros| {
            scratch.clear();
            Value::Timestamp(micros?).write_text(&mut scratch).then(|| scratch.clone())
        })
        .collect();
    let texts: ArrayRef = Arc::new(texts);
    mark(&mut bad, &lost(&values, &texts));
    Ok(Converted { values: texts, bad })
}

fn convert_plain(array: &ArrayRef, to: FieldType, leniency: Leniency) -> Result<Converted> {
    let values = cast_to_field(array, to)?;
    let mut bad = None;
    if !leniency.round && !matches!(to, FieldType::Text | FieldType::TextList) && array.data_type() != &DataType::Null {
        // A conversion is exact if converting back gives the value again.
        let unlabelled = if to == FieldType::Timestamp { cast_label(&values, UNLABELLED) } else { Arc::clone(&values) };
        let back = cast(&unlabelled, array.data_type())?;
        let same = cmp::not_distinct(&back, array).map_err(compare_failed)?;
        mark(&mut bad, &!same.values());
    } else {
        mark(&mut bad, &lost(array, &values));
    }
    mark_unusable(&values, to, &mut bad);
    Ok(Converted { values, bad })
}

fn compare_failed(e: arrow::error::ArrowError) -> Error {
    Error::new(Kind::Internal, "compare a converted column", "the values cannot be compared").with_source(e)
}

fn convert_text(array: &ArrayRef, to: FieldType, leniency: Leniency) -> Result<Converted> {
    let mut array = Arc::clone(array);
    if leniency.trim {
        array = Arc::new(array.as_string::<i32>().iter().map(|text| text.map(str::trim)).collect::<StringArray>());
    }
    if leniency.blank_as_null {
        let texts = array.as_string::<i32>();
        let blank: BooleanArray = texts.iter().map(|text| Some(text.is_some_and(|t| t.trim().is_empty()))).collect();
        array = compute::nullif(&array, &blank).map_err(compare_failed)?;
    }
    let texts = array.as_string::<i32>();
    let values = match to {
        FieldType::Text => return Ok(Converted { values: array, bad: None }),
        FieldType::Timestamp if !leniency.assume_utc => {
            // Without an offset a text names no moment; do not let the cast assume one.
            let zoned: BooleanArray = texts.iter().map(|text| Some(!text.is_some_and(has_offset))).collect();
            cast_to_field(&compute::nullif(&array, &zoned).map_err(compare_failed)?, to)?
        }
        _ => cast_to_field(&array, to)?,
    };
    let mut bad = None;
    mark(&mut bad, &lost(&array, &values));
    if let (FieldType::Decimal { scale, .. }, false) = (to, leniency.round) {
        mark(&mut bad, &flags(texts, |text| has_digits_beyond(text, scale)));
    }
    if to != FieldType::Text {
        // Parsers differ in what white space they skip; a mapping that wants it skipped says so.
        mark(&mut bad, &flags(texts, |text| text.trim().len() != text.len()));
    }
    mark_unusable(&values, to, &mut bad);
    Ok(Converted { values, bad })
}

fn flags(texts: &StringArray, test: impl Fn(&str) -> bool) -> BooleanBuffer {
    texts.iter().map(|text| text.is_some_and(&test)).collect()
}

/// Rows that had a value and have none any more.
fn lost(before: &ArrayRef, after: &ArrayRef) -> BooleanBuffer {
    (0..before.len()).map(|row| before.is_valid(row) && after.is_null(row)).collect()
}

fn mark(bad: &mut Option<BooleanBuffer>, rows: &BooleanBuffer) {
    if rows.count_set_bits() > 0 {
        *bad = Some(bad.as_ref().map_or_else(|| rows.clone(), |bad| bad | rows));
    }
}

/// Values that the type holds but no destination can take: numbers that are not finite, moments and days outside
/// the years 0 to 9999, lists with null items.
fn mark_unusable(values: &ArrayRef, to: FieldType, bad: &mut Option<BooleanBuffer>) {
    const FIRST_DAY: i32 = -719_528; // 0000-01-01
    const LAST_DAY: i32 = 2_932_896; // 9999-12-31
    const DAY_US: i64 = 86_400_000_000;
    let unusable: BooleanBuffer = match to {
        FieldType::Float => {
            let floats: &Float64Array = values.as_primitive::<Float64Type>();
            floats.iter().map(|value| value.is_some_and(|v| !v.is_finite())).collect()
        }
        FieldType::Date => {
            let days = values.as_primitive::<arrow::datatypes::Date32Type>();
            days.iter().map(|value| value.is_some_and(|v| !(FIRST_DAY..=LAST_DAY).contains(&v))).collect()
        }
        FieldType::Timestamp => {
            let micros: &TimestampMicrosecondArray = values.as_primitive::<TimestampMicrosecondType>();
            let (first, end) = (i64::from(FIRST_DAY) * DAY_US, (i64::from(LAST_DAY) + 1) * DAY_US);
            micros.iter().map(|value| value.is_some_and(|v| !(first..end).contains(&v))).collect()
        }
        FieldType::TextList => {
            let lists = values.as_list::<i32>();
            lists.iter().map(|list| list.is_some_and(|items| items.null_count() > 0)).collect()
        }
        _ => return,
    };
    mark(bad, &unusable);
}

/// Whether an ISO 8601 text ends in `Z` or an offset.
fn has_offset(text: &str) -> bool {
    let Some((_, time)) = text.split_once(['T', 't', ' ']) else { return false };
    time.ends_with(['Z', 'z']) || time.contains(['+', '-'])
}

/// Whether a decimal text has digits other than zero behind the `scale`-th place.
fn has_digits_beyond(text: &str, scale: i8) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let Some((_, fraction)) = mantissa.split_once('.') else { return exponent.starts_with('-') || scale < 0 };
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let kept = usize::try_from((i64::from(scale) + exponent).max(0)).unwrap_or(usize::MAX);
    fraction.bytes().skip(kept).any(|digit| digit != b'0')
}

/// The canonical type that holds every value of a column type, for keys.
fn natural_type(data_type: &DataType) -> Option<FieldType> {
    Some(match data_type {
        other if is_text(other) => FieldType::Text,
        other if other.is_integer() => FieldType::Integer,
        DataType::Boolean => FieldType::Boolean,
        DataType::Date32 => FieldType::Date,
        DataType::Decimal128(precision, scale) => FieldType::Decimal { precision: *precision, scale: *scale },
        DataType::Timestamp(
            TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond,
            _,
        ) => FieldType::Timestamp,
        DataType::Dictionary(_, value) => return natural_type(value),
        _ => return None,
    })
}

/// A key column in its canonical type. A key that the type cannot hold becomes null, so the row is invalid.
pub(crate) fn key_column(array: &ArrayRef) -> Result<ArrayRef> {
    let ty = natural_type(array.data_type()).ok_or_else(|| {
        Error::new(Kind::SchemaMismatch, "read a key", "the column's type cannot be a key")
            .with_context("type", array.data_type())
            .with_remedy("cast it in the query to text, a whole number, a date or a decimal")
    })?;
    let converted = convert(array, ty, Leniency { assume_utc: true, ..Leniency::default() })?;
    match converted.bad {
        None => Ok(converted.values),
        Some(bad) => compute::nullif(&converted.values, &BooleanArray::new(bad, None)).map_err(compare_failed),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Date32Array, Decimal128Array, Int32Array, Int64Array, LargeStringArray, StringViewArray,
        TimestampNanosecondArray, UInt64Array,
    };

    use super::*;
    use crate::record::Rows;

    const STRICT: Leniency = Leniency { blank_as_null: false, trim: false, round: false, assume_utc: false };

    /// The converted cells as text: `-` for null, `!` for bad.
    fn run(array: ArrayRef, to: FieldType, leniency: Leniency) -> Vec<String> {
        assert_eq!(refusal(array.data_type(), to, leniency), None, "{} to {to}", array.data_type());
        let n = array.len();
        let Converted { values, bad } = convert(&array, to, leniency).unwrap();
        let batch = arrow::array::RecordBatch::try_from_iter_with_nullable([("f", values, true)]).unwrap();
        let rows = Rows::new(batch).unwrap();
        (0..n)
            .map(|row| match rows.column(0).cell(row) {
                _ if bad.as_ref().is_some_and(|bad| bad.value(row)) => "!".into(),
                crate::record::Cell::Set(value) => {
                    let mut out = String::new();
                    assert!(value.write_text(&mut out));
                    out
                }
                _ => "-".into(),
            })
            .collect()
    }

    const DEC: FieldType = FieldType::Decimal { precision: 10, scale: 2 };

    #[test]
    fn f24_text_is_parsed_exactly_or_not_at_all() {
        let table: &[(&str, FieldType, &str)] = &[
            ("29.85", FieldType::Float, "29.85"),
            (" ", FieldType::Float, "!"),
            ("", FieldType::Float, "!"),
            ("29.85 ", FieldType::Float, "!"),
            ("NaN", FieldType::Float, "!"),
            ("inf", FieldType::Float, "!"),
            ("1e400", FieldType::Float, "!"),
            ("1,5", FieldType::Float, "!"),
            ("42", FieldType::Integer, "42"),
            ("42.0", FieldType::Integer, "!"),
            ("9223372036854775808", FieldType::Integer, "!"),
            ("29.85", DEC, "29.85"),
            ("29.850", DEC, "29.85"),
            ("29.855", DEC, "!"),
            ("123456789.00", DEC, "!"),
            ("true", FieldType::Boolean, "true"),
            ("maybe", FieldType::Boolean, "!"),
            ("2024-02-29", FieldType::Date, "2024-02-29"),
            ("2023-02-29", FieldType::Date, "!"),
            ("2024-02-29T12:00:00Z", FieldType::Timestamp, "2024-02-29T12:00:00Z"),
            ("2024-02-29T12:00:00+02:00", FieldType::Timestamp, "2024-02-29T10:00:00Z"),
            ("2024-02-29T12:00:00", FieldType::Timestamp, "!"),
            ("2024-02-29", FieldType::Timestamp, "!"),
            (" a ", FieldType::Text, " a "),
        ];
        for (text, to, expected) in table {
            for array in [
                Arc::new(StringArray::from(vec![*text])) as ArrayRef,
                Arc::new(LargeStringArray::from(vec![*text])),
                Arc::new(StringViewArray::from(vec![*text])),
            ] {
                assert_eq!(run(array, *to, STRICT), [*expected], "{text:?} to {to}");
            }
        }
    }

    #[test]
    fn named_leniency_goes_further() {
        let texts = || Arc::new(StringArray::from(vec![Some(" "), Some(""), Some("1"), None])) as ArrayRef;
        let blank = Leniency { blank_as_null: true, ..STRICT };
        assert_eq!(run(texts(), FieldType::Float, blank), ["-", "-", "1", "-"]);
        let padded = || Arc::new(StringArray::from(vec![" 7 "])) as ArrayRef;
        assert_eq!(run(padded(), FieldType::Integer, Leniency { trim: true, ..STRICT }), ["7"]);
        let fine = || Arc::new(Float64Array::from(vec![29.855])) as ArrayRef;
        assert_eq!(run(fine(), DEC, STRICT), ["!"]);
        assert_eq!(run(fine(), FieldType::Integer, Leniency { round: true, ..STRICT }), ["29"]);
    }

    #[test]
    fn f24_numbers_and_moments_are_converted_exactly_or_not_at_all() {
        let big = 9_007_199_254_740_993; // 2^53 + 1
        let table: Vec<(ArrayRef, FieldType, &[&str])> = vec![
            (Arc::new(Int32Array::from(vec![Some(5), None])), FieldType::Integer, &["5", "-"]),
            (Arc::new(UInt64Array::from(vec![u64::MAX])), FieldType::Integer, &["!"]),
            (Arc::new(Int64Array::from(vec![big, 7])), FieldType::Float, &["!", "7"]),
            (Arc::new(Float64Array::from(vec![5.0, 5.5, f64::NAN])), FieldType::Integer, &["5", "!", "!"]),
            (Arc::new(Float64Array::from(vec![29.85, 1e12])), DEC, &["29.85", "!"]),
            (Arc::new(Float64Array::from(vec![f64::INFINITY, -0.0])), FieldType::Float, &["!", "-0"]),
            (Arc::new(Decimal128Array::from(vec![29_850]).with_precision_and_scale(12, 3).unwrap()), DEC, &["29.85"]),
            (Arc::new(Decimal128Array::from(vec![29_855]).with_precision_and_scale(12, 3).unwrap()), DEC, &["!"]),
            (Arc::new(BooleanArray::from(vec![true])), FieldType::Text, &["true"]),
            (Arc::new(Date32Array::from(vec![19_782])), FieldType::Text, &["2024-02-29"]),
            (
                Arc::new(
                    TimestampNanosecondArray::from(vec![Some(1_582_947_017_000_000_000), None])
                        .with_timezone("Europe/Berlin"),
                ),
                FieldType::Text,
                &["2020-02-29T03:30:17Z", "-"],
            ),
            (Arc::new(Date32Array::from(vec![i32::MAX])), FieldType::Date, &["!"]),
            (
                Arc::new(TimestampNanosecondArray::from(vec![1_000, 1_001]).with_timezone("UTC")),
                FieldType::Timestamp,
                &["1970-01-01T00:00:00.000001Z", "!"],
            ),
        ];
        for (array, to, expected) in table {
            let shown = format!("{} to {to}", array.data_type());
            assert_eq!(run(array, to, STRICT), expected, "{shown}");
        }
    }

    #[test]
    fn impossible_conversions_are_refused_with_a_fix() {
        let item = Arc::new(arrow::datatypes::Field::new("item", DataType::Int32, true));
        for (from, to) in [
            (DataType::Struct(Vec::<arrow::datatypes::Field>::new().into()), FieldType::Text),
            (DataType::Binary, FieldType::Text),
            (DataType::List(item), FieldType::TextList),
            (DataType::Utf8, FieldType::TextList),
            (DataType::Timestamp(TimeUnit::Second, None), FieldType::Timestamp),
            (DataType::Date32, FieldType::Timestamp),
            (DataType::Date32, FieldType::Boolean),
        ] {
            assert!(refusal(&from, to, STRICT).is_some(), "{from} to {to}");
        }
        let utc = Leniency { assume_utc: true, ..STRICT };
        assert_eq!(refusal(&DataType::Timestamp(TimeUnit::Second, None), FieldType::Timestamp, utc), None);
    }
}
