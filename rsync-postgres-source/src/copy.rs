//! The stream of `COPY ... TO STDOUT (FORMAT binary)`, decoded into batches.
//!
//! The stream is a header, rows, and a trailer. How it is cut into pieces has no meaning: a server sends a row a piece,
//! something in between may not. A row is decoded where it lies if it is in one piece, and is put together otherwise.

use std::mem;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use bytes::{Buf, Bytes, BytesMut};
use rsync_core::ids::ColumnName;
use rsync_core::source::{CellFault, Extracted};

use crate::column::{Bad, Column};
use crate::form::Form;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags and the length of the header's extension.
const HEADER: usize = SIGNATURE.len() + 8;
/// Flags of this kind change the meaning of what follows.
const CRITICAL_FLAGS: u32 = 0xffff_0000;
/// PostgreSQL's own limit of a value and of a row.
const LARGEST: usize = 0x3fff_ffff;

/// When a batch is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) rows: usize,
    /// A batch that has reached this many bytes of the wire takes no further row. At most [`Limits::MOST_BYTES`].
    pub(crate) bytes: usize,
}

impl Limits {
    /// With one more row, the largest batch stays within the 2 GiB that offsets of 32 bits reach.
    pub(crate) const MOST_BYTES: usize = 256 << 20;
}

/// Why a stream cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("{0}")]
    Malformed(&'static str),
    #[error("{cause} [column: {column}]")]
    Cell { column: ColumnName, cause: &'static str },
    #[error("the stream ended before its trailer")]
    EndedEarly,
    #[error("Arrow refused a batch: {0}")]
    Arrow(#[from] ArrowError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    Rows,
    Done,
}

/// What lies at the front of the input.
enum Piece {
    Incomplete,
    /// This many bytes are used up.
    Used(usize),
}

/// Turns the pieces of a stream into batches.
pub(crate) struct Decoder {
    schema: SchemaRef,
    names: Vec<ColumnName>,
    columns: Vec<Column>,
    limits: Limits,
    state: State,
    /// The beginning of a row whose rest has not come yet.
    carry: BytesMut,
    rows: usize,
    bytes: usize,
    faults: Vec<CellFault>,
}

impl Decoder {
    /// A decoder of columns of these forms, which are those of the schema.
    pub(crate) fn new(schema: SchemaRef, forms: &[Form], limits: Limits) -> Self {
        Self {
            names: schema.fields().iter().map(|field| ColumnName::new(field.name())).collect(),
            schema,
            columns: forms.iter().map(Column::new).collect(),
            limits,
            state: State::Header,
            carry: BytesMut::new(),
            rows: 0,
            bytes: 0,
            faults: Vec::new(),
        }
    }

    /// Decodes from `piece` until a batch is full or nothing is left of it. Call it again with the same piece until it
    /// returns none.
    pub(crate) fn decode(&mut self, piece: &mut Bytes) -> Result<Option<Extracted>, CopyError> {
        let mut carry = mem::take(&mut self.carry);
        if !carry.is_empty() {
            carry.extend_from_slice(piece);
            piece.clear();
        }
        while !self.is_full() {
            let input = if carry.is_empty() { &piece[..] } else { &carry[..] };
            match self.step(input)? {
                Piece::Used(0) | Piece::Incomplete => break,
                Piece::Used(length) if carry.is_empty() => piece.advance(length),
                Piece::Used(length) => carry.advance(length),
            }
        }
        if self.is_full() {
            self.carry = carry;
            return self.batch().map(Some);
        }
        carry.extend_from_slice(piece);
        piece.clear();
        self.carry = carry;
        Ok(None)
    }

    /// The last batch, after the last piece.
    pub(crate) fn finish(&mut self) -> Result<Option<Extracted>, CopyError> {
        if self.state != State::Done {
            return Err(CopyError::EndedEarly);
        }
        if self.rows == 0 { Ok(None) } else { self.batch().map(Some) }
    }

    fn is_full(&self) -> bool {
        self.rows >= self.limits.rows || self.bytes >= self.limits.bytes
    }

    fn step(&mut self, input: &[u8]) -> Result<Piece, CopyError> {
        match self.state {
            State::Header => self.header(input),
            State::Rows => self.row(input),
            State::Done if input.is_empty() => Ok(Piece::Used(0)),
            State::Done => Err(CopyError::Malformed("the stream goes on behind its trailer")),
        }
    }

    fn header(&mut self, input: &[u8]) -> Result<Piece, CopyError> {
        let known = input.len().min(SIGNATURE.len());
        if input[..known] != SIGNATURE[..known] {
            return Err(CopyError::Malformed("the stream does not begin with the signature of binary COPY"));
        }
        let Some(mut fields) = input.get(SIGNATURE.len()..HEADER) else { return Ok(Piece::Incomplete) };
        if fields.get_u32() & CRITICAL_FLAGS != 0 {
            return Err(CopyError::Malformed("the stream has flags that are not known"));
        }
        let extension = length(fields.get_i32())?;
        if input.len() < HEADER + extension {
            return Ok(Piece::Incomplete);
        }
        self.state = State::Rows;
        Ok(Piece::Used(HEADER + extension))
    }

    fn row(&mut self, input: &[u8]) -> Result<Piece, CopyError> {
        let Some(end) = self.measure(input)? else { return Ok(Piece::Incomplete) };
        if self.state == State::Done {
            return Ok(Piece::Used(end));
        }
        let mut rest = &input[size_of::<i16>()..end];
        for (i, column) in self.columns.iter_mut().enumerate() {
            let length = rest.get_i32();
            // Measured above: a length is -1 or lies within the row.
            let Ok(length) = usize::try_from(length) else {
                column.append_null();
                continue;
            };
            match column.append(&rest[..length]) {
                Ok(()) => {}
                Err(Bad::Fault(code)) => {
                    column.append_null();
                    self.faults.push(CellFault { row: self.rows, column: self.names[i].clone(), code });
                }
                Err(Bad::Malformed(cause)) => return Err(CopyError::Cell { column: self.names[i].clone(), cause }),
            }
            rest.advance(length);
        }
        self.rows += 1;
        self.bytes += end;
        Ok(Piece::Used(end))
    }

    /// The length of the row at the front, if all of it is there. Notes the trailer.
    fn measure(&mut self, input: &[u8]) -> Result<Option<usize>, CopyError> {
        let Some((count, _)) = input.split_first_chunk() else { return Ok(None) };
        let mut at = count.len();
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            self.state = State::Done;
            return Ok(Some(at));
        }
        if usize::try_from(count) != Ok(self.columns.len()) {
            return Err(CopyError::Malformed("a row has another number of columns than the query"));
        }
        for _ in 0..count {
            let Some((cell, _)) = input.get(at..).and_then(|rest| rest.split_first_chunk()) else { return Ok(None) };
            at += cell.len();
            match i32::from_be_bytes(*cell) {
                -1 => {}
                cell => at += length(cell)?,
            }
        }
        Ok((input.len() >= at).then_some(at))
    }

    fn batch(&mut self) -> Result<Extracted, CopyError> {
        let arrays = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), arrays, &options)?;
        self.rows = 0;
        self.bytes = 0;
        let mut extracted = Extracted::from(batch);
        extracted.faults = mem::take(&mut self.faults);
        Ok(extracted)
    }
}

fn length(length: i32) -> Result<usize, CopyError> {
    let length = usize::try_from(length).ok().filter(|length| *length <= LARGEST);
    length.ok_or(CopyError::Malformed("a length is out of range"))
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
