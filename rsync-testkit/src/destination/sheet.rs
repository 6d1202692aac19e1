//! Rows to write, and the comparison of what was meant with what was stored.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListBuilder, RecordBatch,
    StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::buffer::BooleanBuffer;
use chrono::DateTime;
use rsync_core::destination::Target;
use rsync_core::ids::FieldName;
use rsync_core::record::{FieldType, Rows};

use super::bench::Stop;
use super::harness::Quirks;

/// The decimal type that the suite writes.
pub(super) const DECIMAL: FieldType = FieldType::Decimal { precision: 18, scale: 4 };

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Datum {
    Text(String),
    Integer(i64),
    Float(f64),
    /// In units of 0.0001.
    Decimal(i128),
    Boolean(bool),
    Date(i32),
    Timestamp(i64),
    TextList(Vec<String>),
    Clear,
    Absent,
}

impl From<&str> for Datum {
    fn from(text: &str) -> Self {
        Datum::Text(text.to_owned())
    }
}

impl From<String> for Datum {
    fn from(text: String) -> Self {
        Datum::Text(text)
    }
}

/// Rows under construction: a text key and some fields.
#[derive(Clone)]
pub(super) struct Sheet {
    key_field: FieldName,
    columns: Vec<(FieldName, FieldType)>,
    keys: Vec<String>,
    cells: Vec<Vec<Datum>>,
}

impl Sheet {
    pub(super) fn new(target: &Target, columns: Vec<(FieldName, FieldType)>) -> Self {
        Self { key_field: target.match_on.clone(), columns, keys: Vec::new(), cells: Vec::new() }
    }

    pub(super) fn push(&mut self, key: impl Into<String>, cells: Vec<Datum>) {
        assert_eq!(cells.len(), self.columns.len(), "one cell a column");
        self.keys.push(key.into());
        self.cells.push(cells);
    }

    pub(super) fn rows(&self) -> Result<Rows, Stop> {
        let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
        let mut presence = Vec::new();
        for (index, (name, ty)) in self.columns.iter().enumerate() {
            let cells: Vec<&Datum> = self.cells.iter().map(|row| &row[index]).collect();
            presence.push(cells.iter().map(|cell| **cell != Datum::Absent).collect::<BooleanBuffer>());
            columns.push((name.as_str(), array(*ty, &cells)));
        }
        // The key is not the first column, since nothing says that it is.
        let key_at = columns.len() / 2;
        columns.insert(key_at, (self.key_field.as_str(), Arc::new(StringArray::from(self.keys.clone()))));
        let columns = columns.into_iter().map(|(name, array)| (name, array, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns)
            .map_err(|e| Stop::Failed(format!("the suite made no valid batch: {e}")))?;
        let mut rows = Rows::new(batch)?;
        for (index, present) in presence.into_iter().enumerate() {
            rows = rows.with_presence(if index < key_at { index } else { index + 1 }, present);
        }
        Ok(rows)
    }
}

/// A column of these cells. Under an absent cell there is a value that would do harm if it was sent.
fn array(ty: FieldType, cells: &[&Datum]) -> ArrayRef {
    macro_rules! typed {
        ($array:ident, $variant:ident, $decoy:expr) => {
            cells
                .iter()
                .map(|cell| match cell {
                    Datum::$variant(value) => Some(value.clone()),
                    Datum::Absent => Some($decoy),
                    _ => None,
                })
                .collect::<$array>()
        };
    }
    match ty {
        FieldType::Integer => Arc::new(typed!(Int64Array, Integer, 666)),
        FieldType::Float => Arc::new(typed!(Float64Array, Float, 666.0)),
        FieldType::Decimal { precision, scale } => Arc::new(
            typed!(Decimal128Array, Decimal, 666)
                .with_precision_and_scale(precision, scale)
                .expect("the suite's own decimal type is valid"),
        ),
        FieldType::Boolean => Arc::new(typed!(BooleanArray, Boolean, true)),
        FieldType::Date => Arc::new(typed!(Date32Array, Date, 666)),
        FieldType::Timestamp => Arc::new(typed!(TimestampMicrosecondArray, Timestamp, 666).with_timezone("UTC")),
        FieldType::TextList => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            for cell in cells {
                match cell {
                    Datum::TextList(items) => lists.append_value(items.iter().map(Some)),
                    _ => lists.append_null(),
                }
            }
            Arc::new(lists.finish())
        }
        _ => Arc::new(typed!(StringArray, Text, "a value under an absent cell".to_owned())),
    }
}

/// Whether `stored` is what a field holds after `cell` was written to it.
pub(super) fn same(cell: &Datum, stored: Option<&str>, quirks: Quirks) -> bool {
    let Some(stored) = stored else {
        return match cell {
            Datum::Clear => true,
            Datum::Text(text) => {
                let text = if quirks.trims_text { text.trim() } else { text };
                text.is_empty() && quirks.empty_text_clears
            }
            _ => false,
        };
    };
    match cell {
        Datum::Clear => stored.is_empty(),
        Datum::Absent => false,
        Datum::Text(text) => {
            let fold = |text: &str| {
                let text = if quirks.trims_text { text.trim() } else { text };
                if quirks.folds_line_breaks { text.replace("\r\n", "\n").replace('\r', "\n") } else { text.to_owned() }
            };
            fold(text) == fold(stored)
        }
        Datum::Integer(number) => plain(stored).is_some_and(|stored| Some(stored) == plain(&number.to_string())),
        Datum::Float(number) => stored.parse::<f64>().is_ok_and(|stored| stored == *number),
        Datum::Decimal(units) => plain(stored).is_some_and(|stored| {
            let sign = if *units < 0 { "-" } else { "" };
            let digits = units.unsigned_abs();
            Some(stored) == plain(&format!("{sign}{}.{:04}", digits / 10_000, digits % 10_000))
        }),
        Datum::Boolean(flag) => stored.eq_ignore_ascii_case(if *flag { "true" } else { "false" }),
        Datum::Date(days) => micros(stored) == Some(i64::from(*days) * 86_400_000_000),
        Datum::Timestamp(moment) => micros(stored) == Some(*moment),
        Datum::TextList(items) => {
            let mut stored: Vec<String> = serde_json::from_str(stored)
                .unwrap_or_else(|_| stored.split(';').filter(|item| !item.is_empty()).map(str::to_owned).collect());
            let mut items = items.clone();
            stored.sort_unstable();
            items.sort_unstable();
            stored == items
        }
    }
}

/// A number in plain notation without needless zeros and signs; `None` if the text is none.
fn plain(text: &str) -> Option<String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let ok = !whole.is_empty() && whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let negative = negative && !(whole.is_empty() && fraction.is_empty());
    ok.then(|| format!("{}{whole}.{fraction}", if negative { "-" } else { "" }))
}

/// Microseconds since 1970 of a day, an RFC 3339 moment, or a number of milliseconds.
fn micros(text: &str) -> Option<i64> {
    if let Ok(millis) = text.parse::<i64>() {
        return millis.checked_mul(1000);
    }
    let moment = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    DateTime::parse_from_rfc3339(&moment).ok().map(|moment| moment.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_forms_are_compared_by_meaning() {
        let lax = Quirks { empty_text_clears: true, trims_text: true, folds_line_breaks: true, ..Quirks::default() };
        let table: &[(Datum, Option<&str>, bool, bool)] = &[
            (" a\r\nb ".into(), Some("a\nb"), false, true),
            ("".into(), None, false, true),
            ("".into(), Some(""), true, true),
            (Datum::Clear, None, true, true),
            (Datum::Clear, Some("x"), false, false),
            (Datum::Integer(-5), Some("-5.0"), true, true),
            (Datum::Integer(i64::MAX), Some("9223372036854775808"), false, false),
            (Datum::Decimal(-298_500), Some("-29.85"), true, true),
            (Datum::Decimal(-500), Some("-0.05"), true, true),
            (Datum::Decimal(0), Some("-0"), true, true),
            (Datum::Float(0.1), Some("0.1"), true, true),
            (Datum::Boolean(true), Some("True"), true, true),
            (Datum::Date(-1), Some("1969-12-31"), true, true),
            (Datum::Date(-1), Some("-86400000"), true, true),
            (Datum::Timestamp(1_120_000), Some("1970-01-01T01:00:01.12+01:00"), true, true),
            (Datum::Timestamp(1_120_001), Some("1970-01-01T00:00:01.120Z"), false, false),
            (Datum::TextList(vec!["a".into(), "b".into()]), Some("b;a"), true, true),
            (Datum::TextList(vec!["a".into(), "b;c".into()]), Some("a;b;c"), false, false),
            (Datum::TextList(vec!["a".into(), "b;c".into()]), Some(r#"["b;c","a"]"#), true, true),
        ];
        for (cell, stored, strict, folded) in table {
            assert_eq!(same(cell, *stored, Quirks::default()), *strict, "{cell:?} {stored:?}");
            assert_eq!(same(cell, *stored, lax), *folded, "{cell:?} {stored:?}");
        }
    }
}
