//! One column of a batch, filled cell by cell from the binary form of PostgreSQL.
//!
//! Values go straight into the buffers that Arrow takes over; a cell costs no allocation.

use std::mem;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Decimal128Array, ListArray, NullBufferBuilder,
    PrimitiveArray, StringArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, FieldRef, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow::error::ArrowError;

use crate::form::Form;
use crate::numeric;

/// Days from Arrow's epoch, 1970, to PostgreSQL's, 2000.
const EPOCH_DAYS: i32 = 10_957;
const DAY_US: i64 = 86_400_000_000;
const EPOCH_US: i64 = EPOCH_DAYS as i64 * DAY_US;

/// 0001-01-01 and 9999-12-31 in days from 1970: the dates that have one written form everywhere.
const FIRST_DAY: i32 = -719_162;
const LAST_DAY: i32 = 2_932_896;

/// Why a cell could not be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Arrow cannot hold the value.
    Fault(&'static str),
    /// These are not bytes of PostgreSQL.
    Malformed(&'static str),
}

/// Bytes that are taken from the front.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Bad::Malformed("a value ends early"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], Bad> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(Bad::Malformed("a value ends early"))?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn end(&self) -> Result<(), Bad> {
        if self.0.is_empty() { Ok(()) } else { Err(Bad::Malformed("a value is longer than its type")) }
    }
}

/// A value of fixed width.
fn fixed<const N: usize>(cell: &[u8]) -> Result<[u8; N], Bad> {
    cell.try_into().map_err(|_| Bad::Malformed("a value does not have the length of its type"))
}

/// Values of variable width, one behind the other.
struct Spans {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Spans {
    fn new() -> Self {
        Self { offsets: vec![0], bytes: Vec::new() }
    }

    fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.close();
    }

    /// Ends the value that was written into `bytes`.
    fn close(&mut self) {
        // Batches are limited to less than 2 GiB; see `copy::Limits`.
        self.offsets.push(i32::try_from(self.bytes.len()).unwrap_or(i32::MAX));
    }

    fn truncate(&mut self, values: usize) {
        self.offsets.truncate(values + 1);
        self.bytes.truncate(self.offsets.last().map_or(0, |end| usize::try_from(*end).unwrap_or(0)));
    }

    fn finish(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        (offsets(&mut self.offsets), Buffer::from_vec(renew(&mut self.bytes)))
    }
}

/// Takes the values out and leaves room for as many again.
fn renew<T>(values: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(values.len());
    mem::replace(values, next)
}

fn offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let taken = renew(offsets);
    offsets.push(0);
    OffsetBuffer::new(ScalarBuffer::from(taken))
}

enum Values {
    Bool(BooleanBufferBuilder),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal { values: Vec<i128>, precision: u8, scale: i8 },
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp { values: Vec<i64>, zone: Option<Arc<str>> },
    Text(Spans),
    Jsonb(Spans),
    Uuid(Spans),
    Binary(Spans),
    List { offsets: Vec<i32>, oid: u32, field: FieldRef, items: Box<Column> },
}

/// A column that is being filled.
pub(crate) struct Column {
    values: Values,
    nulls: NullBufferBuilder,
}

impl Column {
    pub(crate) fn new(form: &Form) -> Self {
        let values = match form {
            Form::Bool => Values::Bool(BooleanBufferBuilder::new(0)),
            Form::Int16 => Values::Int16(Vec::new()),
            Form::Int32 => Values::Int32(Vec::new()),
            Form::Int64 => Values::Int64(Vec::new()),
            Form::Float32 => Values::Float32(Vec::new()),
            Form::Float64 => Values::Float64(Vec::new()),
            Form::Decimal { precision, scale } => {
                Values::Decimal { values: Vec::new(), precision: *precision, scale: *scale }
            }
            Form::Date => Values::Date(Vec::new()),
            Form::Time => Values::Time(Vec::new()),
            Form::Timestamp { utc } => Values::Timestamp { values: Vec::new(), zone: utc.then(|| "UTC".into()) },
            Form::Text => Values::Text(Spans::new()),
            Form::Jsonb => Values::Jsonb(Spans::new()),
            Form::Uuid => Values::Uuid(Spans::new()),
            Form::Binary => Values::Binary(Spans::new()),
            Form::List { items, oid } => Values::List {
                offsets: vec![0],
                oid: *oid,
                field: items.item_field(),
                items: Box::new(Self::new(items)),
            },
        };
        Self { values, nulls: NullBufferBuilder::new(0) }
    }

    /// Appends a value. After an error the column is as it was before.
    pub(crate) fn append(&mut self, cell: &[u8]) -> Result<(), Bad> {
        match &mut self.values {
            Values::Bool(values) => values.append(match fixed(cell)? {
                [0] => false,
                [1] => true,
                _ => return Err(Bad::Malformed("a boolean is neither 0 nor 1")),
            }),
            Values::Int16(values) => values.push(i16::from_be_bytes(fixed(cell)?)),
            Values::Int32(values) => values.push(i32::from_be_bytes(fixed(cell)?)),
            Values::Int64(values) => values.push(i64::from_be_bytes(fixed(cell)?)),
            Values::Float32(values) => values.push(f32::from_be_bytes(fixed(cell)?)),
            Values::Float64(values) => values.push(f64::from_be_bytes(fixed(cell)?)),
            Values::Decimal { values, precision, scale } => values.push(numeric::unscaled(cell, *precision, *scale)?),
            Values::Date(values) => values.push(date(i32::from_be_bytes(fixed(cell)?))?),
            Values::Time(values) => values.push(time(i64::from_be_bytes(fixed(cell)?))?),
            Values::Timestamp { values, .. } => values.push(timestamp(i64::from_be_bytes(fixed(cell)?))?),
            Values::Text(spans) => spans.push(text(cell)?),
            Values::Jsonb(spans) => match cell {
                [1, rest @ ..] => spans.push(text(rest)?),
                _ => return Err(Bad::Malformed("a jsonb has an unknown version")),
            },
            Values::Uuid(spans) => {
                hyphenated(fixed(cell)?, &mut spans.bytes);
                spans.close();
            }
            Values::Binary(spans) => spans.push(cell),
            Values::List { offsets, oid, items, .. } => {
                let before = items.nulls.len();
                if let Err(bad) = elements(cell, *oid, items) {
                    items.truncate(before);
                    return Err(bad);
                }
                offsets.push(i32::try_from(items.nulls.len()).unwrap_or(i32::MAX));
            }
        }
        self.nulls.append_non_null();
        Ok(())
    }

    pub(crate) fn append_null(&mut self) {
        match &mut self.values {
            Values::Bool(values) => values.append(false),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Time(values) | Values::Timestamp { values, .. } => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::Text(spans) | Values::Jsonb(spans) | Values::Uuid(spans) | Values::Binary(spans) => spans.close(),
            Values::List { offsets, items, .. } => {
                offsets.push(i32::try_from(items.nulls.len()).unwrap_or(i32::MAX));
            }
        }
        self.nulls.append_null();
    }

    fn truncate(&mut self, length: usize) {
        match &mut self.values {
            Values::Bool(values) => values.truncate(length),
            Values::Int16(values) => values.truncate(length),
            Values::Int32(values) | Values::Date(values) => values.truncate(length),
            Values::Int64(values) | Values::Time(values) | Values::Timestamp { values, .. } => values.truncate(length),
            Values::Float32(values) => values.truncate(length),
            Values::Float64(values) => values.truncate(length),
            Values::Decimal { values, .. } => values.truncate(length),
            Values::Text(spans) | Values::Jsonb(spans) | Values::Uuid(spans) | Values::Binary(spans) => {
                spans.truncate(length);
            }
            // Items of a list are scalars.
            Values::List { .. } => {}
        }
        self.nulls.truncate(length);
    }

    /// The values so far as an array. The column is empty afterwards.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish();
        Ok(match &mut self.values {
            Values::Bool(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int16(values) => primitive::<Int16Type>(values, nulls)?,
            Values::Int32(values) => primitive::<Int32Type>(values, nulls)?,
            Values::Int64(values) => primitive::<Int64Type>(values, nulls)?,
            Values::Float32(values) => primitive::<Float32Type>(values, nulls)?,
            Values::Float64(values) => primitive::<Float64Type>(values, nulls)?,
            Values::Decimal { values, precision, scale } => {
                let array = Decimal128Array::try_new(renew(values).into(), nulls)?;
                Arc::new(array.with_precision_and_scale(*precision, *scale)?)
            }
            Values::Date(values) => primitive::<Date32Type>(values, nulls)?,
            Values::Time(values) => primitive::<Time64MicrosecondType>(values, nulls)?,
            Values::Timestamp { values, zone } => {
                let array = PrimitiveArray::<TimestampMicrosecondType>::try_new(renew(values).into(), nulls)?;
                Arc::new(array.with_timezone_opt(zone.clone()))
            }
            Values::Text(spans) | Values::Jsonb(spans) | Values::Uuid(spans) => {
                let (offsets, bytes) = spans.finish();
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
            Values::Binary(spans) => {
                let (offsets, bytes) = spans.finish();
                Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?)
            }
            Values::List { offsets, field, items, .. } => {
                Arc::new(ListArray::try_new(Arc::clone(field), self::offsets(offsets), items.finish()?, nulls)?)
            }
        })
    }
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(PrimitiveArray::<T>::try_new(renew(values).into(), nulls)?))
}

/// The server vouches for UTF-8; Arrow checks again, but cannot say in which row.
fn text(cell: &[u8]) -> Result<&[u8], Bad> {
    str::from_utf8(cell).map(|_| cell).map_err(|_| Bad::Malformed("a text is not UTF-8"))
}

fn date(days: i32) -> Result<i32, Bad> {
    if days == i32::MAX || days == i32::MIN {
        return Err(Bad::Fault("infinite_date"));
    }
    let days = days.checked_add(EPOCH_DAYS).filter(|days| (FIRST_DAY..=LAST_DAY).contains(days));
    days.ok_or(Bad::Fault("out_of_range"))
}

fn time(micros: i64) -> Result<i64, Bad> {
    // PostgreSQL has a 24:00:00, Arrow has not.
    if (0..DAY_US).contains(&micros) { Ok(micros) } else { Err(Bad::Fault("out_of_range")) }
}

fn timestamp(micros: i64) -> Result<i64, Bad> {
    const FIRST: i64 = FIRST_DAY as i64 * DAY_US;
    const END: i64 = (LAST_DAY as i64 + 1) * DAY_US;
    if micros == i64::MAX || micros == i64::MIN {
        return Err(Bad::Fault("infinite_timestamp"));
    }
    micros.checked_add(EPOCH_US).filter(|micros| (FIRST..END).contains(micros)).ok_or(Bad::Fault("out_of_range"))
}

fn hyphenated(uuid: [u8; 16], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (i, byte) in uuid.into_iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

/// Appends the items of an array. Items that were appended before an error stay; the caller takes them back.
fn elements(cell: &[u8], oid: u32, items: &mut Column) -> Result<(), Bad> {
    let mut reader = Reader(cell);
    let dimensions = i32::from_be_bytes(reader.take()?);
    let _has_nulls: [u8; 4] = reader.take()?;
    if u32::from_be_bytes(reader.take()?) != oid {
        return Err(Bad::Malformed("an array has items of another type than its column"));
    }
    let count = match dimensions {
        0 => 0,
        1 => {
            let count = i32::from_be_bytes(reader.take()?);
            let _lower_bound: [u8; 4] = reader.take()?;
            count
        }
        2.. => return Err(Bad::Fault("multi_dimensional")),
        _ => return Err(Bad::Malformed("an array has less than no dimensions")),
    };
    for _ in 0..count {
        match i32::from_be_bytes(reader.take()?) {
            -1 => items.append_null(),
            length => {
                let length = usize::try_from(length).map_err(|_| Bad::Malformed("a length is negative"))?;
                items.append(reader.slice(length)?)?;
            }
        }
    }
    reader.end()
}
