//! Mapped rows: Arrow columns of a few canonical types, and cells with three states.
//!
//! This is the one place that looks inside Arrow arrays on behalf of adapters. A destination reads [`Rows`]
//! either column by column ([`Rows::column`]) or cell by cell ([`Rows::cells`]).

mod array;
mod number;

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray,
    RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float64Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::temporal_conversions::{date32_to_datetime, timestamp_us_to_datetime};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

pub(crate) use array::array_of;
pub use number::Number;

/// The type of a mapped field. Every mapped value has one of these, whatever the warehouse called it, so that
/// the same value has the same fingerprint when a column is widened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FieldType {
    /// UTF-8 text; Arrow `Utf8`.
    Text,
    /// Whole number; Arrow `Int64`.
    Integer,
    /// IEEE 754 number, finite; Arrow `Float64`.
    Float,
    /// Exact decimal number; Arrow `Decimal128`.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits behind the point.
        scale: i8,
    },
    /// True or false; Arrow `Boolean`.
    Boolean,
    /// Calendar day; Arrow `Date32`.
    Date,
    /// Moment in time; Arrow `Timestamp(Microsecond, "UTC")`.
    Timestamp,
    /// Several texts, for multi-select fields; Arrow `List<Utf8>`.
    TextList,
}

impl FieldType {
    /// The Arrow type of a column of this field type.
    pub fn arrow(self) -> DataType {
        match self {
            FieldType::Text => DataType::Utf8,
            FieldType::Integer => DataType::Int64,
            FieldType::Float => DataType::Float64,
            FieldType::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
            FieldType::Boolean => DataType::Boolean,
            FieldType::Date => DataType::Date32,
            FieldType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            FieldType::TextList => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        }
    }

    /// The field type whose column has exactly this Arrow type.
    pub fn from_arrow(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Utf8 => Some(FieldType::Text),
            DataType::Int64 => Some(FieldType::Integer),
            DataType::Float64 => Some(FieldType::Float),
            DataType::Decimal128(precision, scale) => Some(FieldType::Decimal { precision: *precision, scale: *scale }),
            DataType::Boolean => Some(FieldType::Boolean),
            DataType::Date32 => Some(FieldType::Date),
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == "UTC" => Some(FieldType::Timestamp),
            DataType::List(item) if item.data_type() == &DataType::Utf8 => Some(FieldType::TextList),
            _ => None,
        }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldType::Text => f.write_str("text"),
            FieldType::Integer => f.write_str("integer"),
            FieldType::Float => f.write_str("float"),
            FieldType::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            FieldType::Boolean => f.write_str("boolean"),
            FieldType::Date => f.write_str("date"),
            FieldType::Timestamp => f.write_str("timestamp"),
            FieldType::TextList => f.write_str("text list"),
        }
    }
}

/// A value of a mapped field. `Debug` shows its type only.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// Text.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Float(f64),
    /// `unscaled` divided by ten to the power of `scale`.
    Decimal {
        /// All digits, as one whole number.
        unscaled: i128,
        /// Digits behind the point.
        scale: i8,
    },
    /// True or false.
    Boolean(bool),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// Several texts.
    TextList(Vec<&'a str>),
}

impl Value<'_> {
    /// Appends the value as text: numbers in plain decimal notation with a point, booleans as `true` and
    /// `false`, days as `YYYY-MM-DD`, moments as RFC 3339 in UTC with as many fraction digits as they have (none,
    /// 3 or 6), lists joined by `;`.
    ///
    /// Returns `false`, having appended nothing, if the value has no such text: a day or moment outside the
    /// years 0 to 9999, a list item that holds `;`.
    pub fn write_text(&self, out: &mut String) -> bool {
        let start = out.len();
        let ok = match self {
            Value::Text(text) => {
                out.push_str(text);
                true
            }
            Value::Integer(number) => write!(out, "{number}").is_ok(),
            Value::Float(number) => write!(out, "{number}").is_ok(),
            Value::Decimal { unscaled, scale } => {
                write_decimal(out, *unscaled, *scale);
                true
            }
            Value::Boolean(flag) => {
                out.push_str(if *flag { "true" } else { "false" });
                true
            }
            Value::Date(days) => match date32_to_datetime(*days).map(|moment| moment.date()) {
                Some(day) => write!(out, "{day}").is_ok(),
                None => false,
            },
            Value::Timestamp(micros) => match timestamp_us_to_datetime(*micros) {
                Some(moment) => {
                    let ok = write!(out, "{}T{}", moment.date(), moment.time()).is_ok();
                    out.push('Z');
                    ok
                }
                None => false,
            },
            Value::TextList(items) => {
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(';');
                    }
                    out.push_str(item);
                }
                !items.iter().any(|item| item.contains(';'))
            }
        };
        // Years outside four digits carry a sign, which is no RFC 3339.
        let ok = ok && !(matches!(self, Value::Date(_) | Value::Timestamp(_)) && out[start..].starts_with(['+', '-']));
        if !ok {
            out.truncate(start);
        }
        ok
    }

    /// The name of the value's type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Text(_) => "text",
            Value::Integer(_) => "integer",
            Value::Float(_) => "float",
            Value::Decimal { .. } => "decimal",
            Value::Boolean(_) => "boolean",
            Value::Date(_) => "date",
            Value::Timestamp(_) => "timestamp",
            Value::TextList(_) => "text list",
        }
    }
}

fn write_decimal(out: &mut String, unscaled: i128, scale: i8) {
    let digits = unscaled.unsigned_abs().to_string();
    if unscaled < 0 {
        out.push('-');
    }
    if scale <= 0 {
        out.push_str(&digits);
        if unscaled != 0 {
            out.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
        }
        return;
    }
    let scale = usize::from(scale.unsigned_abs());
    let whole = digits.len().saturating_sub(scale);
    out.push_str(if whole == 0 { "0" } else { &digits[..whole] });
    out.push('.');
    out.extend(std::iter::repeat_n('0', scale.saturating_sub(digits.len())));
    out.push_str(&digits[whole..]);
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({})", self.type_name())
    }
}

/// What a row says about one field. A destination must keep the three states apart.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// The field becomes this value.
    Set(Value<'a>),
    /// The field becomes empty.
    Clear,
    /// The row says nothing: the field stays as it is at the destination.
    Absent,
}

/// One column of [`Rows`], typed once so that its cells are read without looking up its type again.
#[derive(Clone, Copy)]
pub struct Column<'a> {
    values: Values<'a>,
    presence: Option<&'a BooleanBuffer>,
}

#[derive(Clone, Copy)]
enum Values<'a> {
    Text(&'a StringArray),
    Integer(&'a Int64Array),
    Float(&'a Float64Array),
    Decimal(&'a Decimal128Array, i8),
    Boolean(&'a BooleanArray),
    Date(&'a Date32Array),
    Timestamp(&'a TimestampMicrosecondArray),
    TextList(&'a ListArray),
}

impl<'a> Column<'a> {
    fn new(array: &'a ArrayRef, presence: Option<&'a BooleanBuffer>) -> Option<Self> {
        let values = match FieldType::from_arrow(array.data_type())? {
            FieldType::Text => Values::Text(array.as_string()),
            FieldType::Integer => Values::Integer(array.as_primitive::<Int64Type>()),
            FieldType::Float => Values::Float(array.as_primitive::<Float64Type>()),
            FieldType::Decimal { scale, .. } => Values::Decimal(array.as_primitive::<Decimal128Type>(), scale),
            FieldType::Boolean => Values::Boolean(array.as_boolean()),
            FieldType::Date => Values::Date(array.as_primitive::<Date32Type>()),
            FieldType::Timestamp => Values::Timestamp(array.as_primitive::<TimestampMicrosecondType>()),
            FieldType::TextList => Values::TextList(array.as_list::<i32>()),
        };
        Some(Self { values, presence })
    }

    /// The cell in `row`.
    ///
    /// # Panics
    ///
    /// If `row` is out of range.
    pub fn cell(&self, row: usize) -> Cell<'a> {
        if self.presence.is_some_and(|presence| !presence.value(row)) {
            return Cell::Absent;
        }
        let null = match self.values {
            Values::Text(a) => a.is_null(row),
            Values::Integer(a) => a.is_null(row),
            Values::Float(a) => a.is_null(row),
            Values::Decimal(a, _) => a.is_null(row),
            Values::Boolean(a) => a.is_null(row),
            Values::Date(a) => a.is_null(row),
            Values::Timestamp(a) => a.is_null(row),
            Values::TextList(a) => a.is_null(row),
        };
        if null {
            return Cell::Clear;
        }
        Cell::Set(match self.values {
            Values::Text(a) => Value::Text(a.value(row)),
            Values::Integer(a) => Value::Integer(a.value(row)),
            Values::Float(a) => Value::Float(a.value(row)),
            Values::Decimal(a, scale) => Value::Decimal { unscaled: a.value(row), scale },
            Values::Boolean(a) => Value::Boolean(a.value(row)),
            Values::Date(a) => Value::Date(a.value(row)),
            Values::Timestamp(a) => Value::Timestamp(a.value(row)),
            Values::TextList(a) => {
                let items = a.values().as_string::<i32>();
                let (from, to) = (a.value_offsets()[row] as usize, a.value_offsets()[row + 1] as usize);
                // The mapping refuses lists with null items.
                Value::TextList((from..to).map(|i| items.value(i)).collect())
            }
        })
    }
}

impl fmt::Debug for Column<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Column(..)")
    }
}

/// Mapped rows. Column names are destination field names, column types are those of [`FieldType`]. A null is
/// [`Cell::Clear`]; a cell outside its column's presence mask is [`Cell::Absent`].
#[derive(Clone)]
pub struct Rows {
    batch: RecordBatch,
    presence: Vec<Option<BooleanBuffer>>,
}

impl Rows {
    /// Rows in which every cell is present.
    ///
    /// # Errors
    ///
    /// [`Kind::Internal`] if a column has a type that no [`FieldType`] has.
    pub fn new(batch: RecordBatch) -> Result<Self> {
        for field in batch.schema_ref().fields() {
            if FieldType::from_arrow(field.data_type()).is_none() {
                return Err(Error::new(Kind::Internal, "take mapped rows", "a mapped column has no canonical type")
                    .with_context("field", field.name())
                    .with_context("type", field.data_type())
                    .with_remedy("a mapping must return the Arrow types of FieldType::arrow()"));
            }
        }
        let presence = vec![None; batch.num_columns()];
        Ok(Self { batch, presence })
    }

    /// Marks the cells of `column` outside `present` as absent.
    ///
    /// # Panics
    ///
    /// If `column` is out of range or `present` has another length than the rows.
    #[must_use]
    pub fn with_presence(mut self, column: usize, present: BooleanBuffer) -> Self {
        assert_eq!(present.len(), self.len(), "one presence bit a row");
        self.presence[column] = (present.count_set_bits() != present.len()).then_some(present);
        self
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names and types of the fields.
    pub fn schema(&self) -> &SchemaRef {
        self.batch.schema_ref()
    }

    /// The Arrow columns. Values under an absent cell mean nothing.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// Which cells of `column` are present; `None` if all are.
    pub fn presence(&self, column: usize) -> Option<&BooleanBuffer> {
        self.presence[column].as_ref()
    }

    /// The column at `index`, typed.
    ///
    /// # Panics
    ///
    /// If `index` is out of range.
    pub fn column(&self, index: usize) -> Column<'_> {
        Column::new(self.batch.column(index), self.presence[index].as_ref()).expect("types are checked in Rows::new")
    }

    /// The column of `field`, if it is mapped.
    pub fn column_of(&self, field: &str) -> Option<Column<'_>> {
        self.batch.schema_ref().index_of(field).ok().map(|index| self.column(index))
    }

    /// The cells of one row with their field names, in mapping order.
    pub fn cells(&self, row: usize) -> impl Iterator<Item = (&str, Cell<'_>)> {
        (0..self.batch.num_columns())
            .map(move |index| (self.batch.schema_ref().field(index).name().as_str(), self.column(index).cell(row)))
    }

    /// The rows at `indices`, in that order.
    ///
    /// # Errors
    ///
    /// [`Kind::Internal`] if an index is out of range.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self> {
        let fail = |e| Error::new(Kind::Internal, "select rows", "row selection failed").with_source(e);
        let batch = compute::take_record_batch(&self.batch, indices).map_err(fail)?;
        let presence = self
            .presence
            .iter()
            .map(|bits| {
                bits.as_ref()
                    .map(|bits| indices.values().iter().map(|i| bits.value(*i as usize)).collect::<BooleanBuffer>())
            })
            .collect();
        Ok(Self { batch, presence })
    }

    /// `len` rows from `offset`, without copying.
    ///
    /// # Panics
    ///
    /// If the range is out of bounds.
    #[must_use]
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Self {
            batch: self.batch.slice(offset, len),
            presence: self.presence.iter().map(|bits| bits.as_ref().map(|bits| bits.slice(offset, len))).collect(),
        }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<&str> = self.schema().fields().iter().map(|field| field.name().as_str()).collect();
        f.debug_struct("Rows").field("len", &self.len()).field("fields", &fields).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(name: &str, column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([(name, column, true)]).unwrap()
    }

    fn text(value: &Value<'_>) -> Option<String> {
        let mut out = String::from(">");
        let ok = value.write_text(&mut out);
        assert!(out.starts_with('>'));
        ok.then(|| out[1..].to_owned())
    }

    #[test]
    fn values_have_one_text_form() {
        let table: &[(Value<'_>, Option<&str>)] = &[
            (Value::Integer(i64::MIN), Some("-9223372036854775808")),
            (Value::Float(29.85), Some("29.85")),
            (Value::Float(1e21), Some("1000000000000000000000")),
            (Value::Float(-0.5), Some("-0.5")),
            (Value::Decimal { unscaled: 2985, scale: 2 }, Some("29.85")),
            (Value::Decimal { unscaled: -5, scale: 2 }, Some("-0.05")),
            (Value::Decimal { unscaled: 0, scale: 2 }, Some("0.00")),
            (Value::Decimal { unscaled: 12, scale: 0 }, Some("12")),
            (Value::Decimal { unscaled: 12, scale: -2 }, Some("1200")),
            (Value::Boolean(false), Some("false")),
            (Value::Date(0), Some("1970-01-01")),
            (Value::Date(-719_162), Some("0001-01-01")),
            (Value::Date(2_932_896), Some("9999-12-31")),
            (Value::Date(2_932_897), None),
            (Value::Date(i32::MAX), None),
            (Value::Timestamp(0), Some("1970-01-01T00:00:00Z")),
            (Value::Timestamp(1_582_947_017_000_000), Some("2020-02-29T03:30:17Z")),
            (Value::Timestamp(1_582_947_017_120_000), Some("2020-02-29T03:30:17.120Z")),
            (Value::Timestamp(-1), Some("1969-12-31T23:59:59.999999Z")),
            (Value::Timestamp(i64::MAX), None),
            (Value::TextList(vec!["a", "b"]), Some("a;b")),
            (Value::TextList(vec!["a;b"]), None),
        ];
        for (value, expected) in table {
            assert_eq!(text(value).as_deref(), *expected, "{value:?}");
        }
    }

    #[test]
    fn cells_have_three_states() {
        let names = batch("name", Arc::new(StringArray::from(vec![Some("ada"), None, Some("bob")])));
        let rows = Rows::new(names).unwrap().with_presence(0, BooleanBuffer::from(vec![true, true, false]));
        let cells: Vec<Cell<'_>> = (0..3).map(|row| rows.column(0).cell(row)).collect();
        assert_eq!(cells, [Cell::Set(Value::Text("ada")), Cell::Clear, Cell::Absent]);

        let taken = rows.take(&UInt32Array::from(vec![2, 0])).unwrap();
        assert_eq!(taken.cells(0).next(), Some(("name", Cell::Absent)));
        assert_eq!(taken.cells(1).next(), Some(("name", Cell::Set(Value::Text("ada")))));
        assert_eq!(rows.slice(1, 2).column(0).cell(1), Cell::Absent);
    }

    #[test]
    fn s02_debug_shows_no_value() {
        let rows = Rows::new(batch("name", Arc::new(StringArray::from(vec!["canary"])))).unwrap();
        let shown = format!("{rows:?} {:?} {:?}", rows.column(0), rows.column(0).cell(0));
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("name"));
    }

    #[test]
    fn foreign_types_are_refused() {
        let error = Rows::new(batch("n", Arc::new(arrow::array::Int32Array::from(vec![1])))).unwrap_err();
        assert_eq!((error.kind(), error.context("field")), (Kind::Internal, Some("n")));
    }
}
