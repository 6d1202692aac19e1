//! Canonical bytes of rows, written column by column.
//!
//! A cell is a type tag and its value: integers of every width as 64 bits, text with a 32-bit length in front, NULL as a
//! tag alone. So int32 5 equals int64 5, NULL differs from the empty text, and ("ab", "c") from ("a", "bc").

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};

const NULL: u8 = 0;
const BOOL: u8 = 1;
const INT: u8 = 2;
const FLOAT: u8 = 3;
const DECIMAL: u8 = 4;
const DATE: u8 = 5;
const TIMESTAMP: u8 = 6;
const TEXT: u8 = 7;

/// Text is copied in pieces of this size. A copy may run past the end of its cell: the next cell of the row overwrites
/// the excess, and behind its last cell every row keeps this much room.
const PIECE: usize = 32;

/// Encodes a batch into one buffer that is kept between calls.
#[derive(Debug, Default)]
pub(crate) struct RowEncoder {
    bytes: Vec<u8>,
    starts: Vec<u32>,
    ends: Vec<u32>,
}

impl RowEncoder {
    /// Replaces the content by the rows of `batch`.
    pub(crate) fn encode(&mut self, batch: &RecordBatch) -> Result<(), String> {
        self.lay_out(batch)?;
        for column in batch.columns() {
            match column.data_type() {
                DataType::Boolean => {
                    let values = column.as_boolean().values();
                    self.fixed(column.nulls(), values.iter(), |v| [BOOL, u8::from(v)]);
                }
                DataType::Int32 => {
                    let values = column.as_primitive::<Int32Type>().values();
                    self.fixed(column.nulls(), values.iter(), |&v| tagged::<9>(INT, &i64::from(v).to_le_bytes()));
                }
                DataType::Int64 => {
                    let values = column.as_primitive::<Int64Type>().values();
                    self.fixed(column.nulls(), values.iter(), |&v| tagged::<9>(INT, &v.to_le_bytes()));
                }
                DataType::Float64 => {
                    let values = column.as_primitive::<Float64Type>().values();
                    self.fixed(column.nulls(), values.iter(), |&v| tagged::<9>(FLOAT, &canonical(v).to_le_bytes()));
                }
                &DataType::Decimal128(_, scale) => {
                    let values = column.as_primitive::<Decimal128Type>().values();
                    self.fixed(column.nulls(), values.iter(), |&v| {
                        let mut cell = tagged::<18>(DECIMAL, &[0; 17]);
                        cell[1..2].copy_from_slice(&scale.to_le_bytes());
                        cell[2..].copy_from_slice(&v.to_le_bytes());
                        cell
                    });
                }
                DataType::Date32 => {
                    let values = column.as_primitive::<Date32Type>().values();
                    self.fixed(column.nulls(), values.iter(), |&v| tagged::<5>(DATE, &v.to_le_bytes()));
                }
                DataType::Timestamp(TimeUnit::Microsecond, _) => {
                    let values = column.as_primitive::<TimestampMicrosecondType>().values();
                    self.fixed(column.nulls(), values.iter(), |&v| tagged::<9>(TIMESTAMP, &v.to_le_bytes()));
                }
                DataType::Utf8 => self.text(column.as_string::<i32>()),
                other => return Err(format!("no canonical encoding for {other}")),
            }
        }
        Ok(())
    }

    /// Bytes of the rows, in order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let cells = self.starts.iter().zip(&self.ends);
        cells.map(|(&start, &end)| &self.bytes[start as usize..end as usize])
    }

    /// Finds where each row starts. Afterwards `ends` holds the starts too: cells move it forward as they are written.
    fn lay_out(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let rows = batch.num_rows();
        let mut fixed = PIECE as u32;
        self.ends.clear();
        self.ends.resize(rows, 0);
        for column in batch.columns() {
            let width = match column.data_type() {
                DataType::Boolean => 2,
                DataType::Date32 => 5,
                DataType::Decimal128(..) => 18,
                DataType::Utf8 => {
                    let offsets = column.as_string::<i32>().value_offsets();
                    for (len, pair) in self.ends.iter_mut().zip(offsets.windows(2)) {
                        *len += (pair[1] - pair[0]) as u32;
                    }
                    5
                }
                _ => 9,
            };
            fixed += width;
        }
        // A null cell is shorter than what is reserved for it; the gap stays behind the row's last cell.
        let mut at = 0u32;
        self.starts.clear();
        for len in &mut self.ends {
            self.starts.push(at);
            let next = at.checked_add(*len + fixed).ok_or("batch too large")?;
            *len = at;
            at = next;
        }
        self.bytes.resize(at as usize, 0);
        Ok(())
    }

    fn fixed<T, const N: usize>(
        &mut self,
        nulls: Option<&NullBuffer>,
        values: impl Iterator<Item = T>,
        cell: impl Fn(T) -> [u8; N],
    ) {
        match nulls {
            None => {
                for (end, value) in self.ends.iter_mut().zip(values) {
                    let at = *end as usize;
                    self.bytes[at..at + N].copy_from_slice(&cell(value));
                    *end += N as u32;
                }
            }
            Some(nulls) => {
                for ((end, value), valid) in self.ends.iter_mut().zip(values).zip(nulls) {
                    let at = *end as usize;
                    self.bytes[at..at + N].copy_from_slice(&cell(value));
                    if valid {
                        *end += N as u32;
                    } else {
                        self.bytes[at] = NULL;
                        *end += 1;
                    }
                }
            }
        }
    }

    fn text(&mut self, column: &StringArray) {
        let source = column.value_data();
        for (row, (end, pair)) in self.ends.iter_mut().zip(column.value_offsets().windows(2)).enumerate() {
            let at = *end as usize;
            if column.is_null(row) {
                self.bytes[at] = NULL;
                *end += 1;
                continue;
            }
            let (from, len) = (pair[0] as usize, (pair[1] - pair[0]) as usize);
            self.bytes[at] = TEXT;
            self.bytes[at + 1..at + 5].copy_from_slice(&(len as u32).to_le_bytes());
            copy_pieces(&mut self.bytes[at + 5..], source, from, len);
            *end += 5 + len as u32;
        }
    }
}

/// Copies `len` bytes and up to 31 more: a move of fixed size is several times cheaper than a call of `memcpy`.
fn copy_pieces(to: &mut [u8], source: &[u8], from: usize, len: usize) {
    let pieces = len.div_ceil(PIECE) * PIECE;
    match source.get(from..from + pieces) {
        Some(source) if len <= 8 * PIECE => {
            for (to, from) in to.chunks_exact_mut(PIECE).zip(source.chunks_exact(PIECE)) {
                to.copy_from_slice(from);
            }
        }
        _ => to[..len].copy_from_slice(&source[from..from + len]),
    }
}

fn tagged<const N: usize>(tag: u8, value: &[u8]) -> [u8; N] {
    let mut cell = [tag; N];
    cell[1..].copy_from_slice(value);
    cell
}

/// One bit pattern for all NaN and one for both zeros.
fn canonical(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}
