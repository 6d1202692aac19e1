//! The bytes of the state, format version [`FORMAT`].
//!
//! All numbers are little-endian; a `str` is a `u32` length and UTF-8 bytes. Every record ends in the XXH3-64 of
//! the bytes before it, so a torn or altered record is an error and never an empty state.
//!
//! | Table | Key | Value |
//! | --- | --- | --- |
//! | `meta` | `format` | `u32` version |
//! | | `binding` | [`Binding`] |
//! | | `counters` | [`Counters`] |
//! | | `segments` | [`SegmentMeta`] list, oldest first |
//! | | `fields/` + `u32` | list of field names: the columns of images |
//! | | `origin` | the epochs that this state replaced; may be missing, as may the next two |
//! | | `not_before` | when the next run may begin, if the last one was told |
//! | | `definition` | the model's version and the mapped fields of the last run |
//! | `intents` | `u64` sequence, big-endian | [`Intent`] |
//! | `acks` | the same | [`Ack`] |
//! | `keys` | `u64` segment, `u32` block, big-endian | [`KeyBlock`] |
//! | `images` | the same | [`ImageBlock`] |
//! | `runs` | `u64` sequence, big-endian | [`RunRecord`] |
//! | `jobs` | `u64` sequence of the intent, big-endian | `str` job token |
//! | `outbox` | `u64` sequence of the first intent, big-endian | rows, encrypted; see below |
//!
//! A record of `outbox` holds the rows of one batch that the model cannot give back and the destination has not settled.
//! It has no checksum of its own, since the encryption authenticates it: a version byte, a nonce of 12 bytes, then
//! AES-128-GCM-SIV under a key derived from the hash key and the sync's name, with that name, the version and the sequence
//! as associated data. A state without the table has an empty one.
//!
//! A segment is a sorted list of entries, cut in blocks of [`SegmentMeta::block_rows`]. Of two entries with one key, the one in
//! the newer segment holds; an entry without an image leaves the image of the older one in force, one without a
//! record id its id, unless it begins anew ([`Standing::anew`]) or the older one ended the record. Acknowledged
//! batches that are in no segment yet are newer than all segments, in sequence order. A batch with an intent and
//! no acknowledgement is in doubt.

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Kind, Result};
use crate::ids::FieldName;

pub use super::standing::{Standing, Status};

/// The version of the format.
pub const FORMAT: u32 = 1;

/// Most rows in a block. A block of keys is then just under 64 KiB, and stores round up to powers of two.
const MAX_BLOCK_ROWS: usize = 2510;
/// A block of images is to be just under 128 KiB, with record ids of usual length.
const IMAGE_BLOCK_BYTES: usize = 130_000;
const USUAL_ID_BYTES: usize = 24;

/// What to do about a state that cannot be understood.
pub(crate) const DAMAGE_REMEDY: &str = "restore the state from a backup that was made after the last run, or plan with \
     PlanOptions::begin_anew: then every row is sent again";

fn corrupt(what: &'static str) -> Error {
    Error::new(Kind::StateCorrupt, "read the state", "a stored record is damaged")
        .with_context("record", what)
        .with_remedy(DAMAGE_REMEDY)
}

/// Appends numbers and texts, then a checksum.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty record with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes + 8))
    }

    /// Appends a byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    /// Appends a number.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends a number.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends many numbers.
    pub fn u64s(&mut self, values: impl IntoIterator<Item = u64>) -> &mut Self {
        for value in values {
            self.u64(value);
        }
        self
    }

    /// Appends many numbers.
    pub fn u128s(&mut self, values: impl IntoIterator<Item = u128>) -> &mut Self {
        for value in values {
            self.0.extend_from_slice(&value.to_le_bytes());
        }
        self
    }

    /// Appends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends a text.
    pub fn str(&mut self, text: &str) -> &mut Self {
        self.u32(text.len() as u32).bytes(text.as_bytes())
    }

    /// The finished record.
    pub fn finish(self) -> Vec<u8> {
        let mut bytes = self.0;
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        bytes
    }
}

/// Reads what [`Writer`] wrote.
#[derive(Debug)]
pub struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks the record's checksum.
    ///
    /// # Errors
    ///
    /// [`Kind::StateCorrupt`] naming `what` if it does not match.
    pub fn new(what: &'static str, record: &'a [u8]) -> Result<Self> {
        let (rest, sum) = record.split_last_chunk::<8>().ok_or_else(|| corrupt(what))?;
        if xxh3_64(rest) != u64::from_le_bytes(*sum) {
            return Err(corrupt(what));
        }
        Ok(Self { what, rest })
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or_else(|| corrupt(self.what))?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or_else(|| corrupt(self.what))?;
        self.rest = tail;
        Ok(*head)
    }

    /// Reads a byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Reads a number.
    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Reads a number.
    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads `n` numbers.
    pub fn u64s(&mut self, n: usize) -> Result<Vec<u64>> {
        let bytes = self.take(n.checked_mul(8).ok_or_else(|| corrupt(self.what))?)?;
        Ok(bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect())
    }

    /// Reads `n` numbers.
    pub fn u128s(&mut self, n: usize) -> Result<Vec<u128>> {
        let bytes = self.take(n.checked_mul(16).ok_or_else(|| corrupt(self.what))?)?;
        Ok(bytes.as_chunks::<16>().0.iter().map(|chunk| u128::from_le_bytes(*chunk)).collect())
    }

    /// Reads `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        self.take(n)
    }

    /// Reads a text.
    pub fn str(&mut self) -> Result<&'a str> {
        let n = self.u32()? as usize;
        std::str::from_utf8(self.take(n)?).map_err(|_| corrupt(self.what))
    }

    /// Ends the record.
    ///
    /// # Errors
    ///
    /// [`Kind::StateCorrupt`] if bytes are left over.
    pub fn end(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(corrupt(self.what)) }
    }

    fn damaged(&self) -> Error {
        corrupt(self.what)
    }
}

/// What a state belongs to. It is never used for anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The sync.
    pub sync: String,
    /// The kind of destination.
    pub destination: String,
    /// The account at the destination.
    pub account: String,
    /// The object.
    pub object: String,
    /// The field that identifies records.
    pub match_on: String,
    /// The model's key: columns, and the version of the encoding that is hashed.
    pub key: String,
    /// Tells whether the hash key is the one the state was written with.
    pub hash_key_check: u64,
    /// Drawn when the state was made; a host that remembers it notices a lost state.
    pub epoch: u64,
}

impl Binding {
    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        for text in [&self.sync, &self.destination, &self.account, &self.object, &self.match_on, &self.key] {
            w.str(text);
        }
        w.u64(self.hash_key_check).u64(self.epoch);
        w.finish()
    }

    /// Reads the record's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new("binding", bytes)?;
        let mut text = || r.str().map(str::to_owned);
        let (sync, destination, account, object, match_on, key) =
            (text()?, text()?, text()?, text()?, text()?, text()?);
        let binding =
            Self { sync, destination, account, object, match_on, key, hash_key_check: r.u64()?, epoch: r.u64()? };
        r.end()?;
        Ok(binding)
    }
}

/// Numbers that are given out once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Next sequence number of a batch.
    pub next_batch: u64,
    /// Next segment.
    pub next_segment: u64,
    /// Next list of fields.
    pub next_fields: u32,
    /// Next run.
    pub next_run: u64,
    /// A segment that is being written and not yet in force, plus one; 0 if there is none.
    pub building: u64,
}

impl Counters {
    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.u64(self.next_batch).u64(self.next_segment).u32(self.next_fields).u64(self.next_run).u64(self.building);
        w.finish()
    }

    /// Reads the record's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new("counters", bytes)?;
        let counters = Self {
            next_batch: r.u64()?,
            next_segment: r.u64()?,
            next_fields: r.u32()?,
            next_run: r.u64()?,
            building: r.u64()?,
        };
        r.end()?;
        Ok(counters)
    }
}

/// A segment in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentMeta {
    /// Its id.
    pub id: u64,
    /// Entries.
    pub rows: u64,
    /// The list of fields that its images have.
    pub fields: u32,
    /// Rows in each block but the last.
    pub block_rows: u32,
}

impl SegmentMeta {
    /// A segment without entries, for images of `width` fields.
    pub fn new(id: u64, fields: u32, width: usize) -> Self {
        let rows = (IMAGE_BLOCK_BYTES / (8 * width + USUAL_ID_BYTES)).clamp(1, MAX_BLOCK_ROWS);
        Self { id, rows: 0, fields, block_rows: rows as u32 }
    }

    /// Number of blocks.
    pub fn blocks(&self) -> u32 {
        self.rows.div_ceil(u64::from(self.block_rows)) as u32
    }

    /// The record of a list of segments.
    pub fn encode_list(list: &[Self]) -> Vec<u8> {
        let mut w = Writer::default();
        w.u32(list.len() as u32);
        for segment in list {
            w.u64(segment.id).u64(segment.rows).u32(segment.fields).u32(segment.block_rows);
        }
        w.finish()
    }

    /// Reads a list of segments.
    pub fn decode_list(bytes: &[u8]) -> Result<Vec<Self>> {
        let mut r = Reader::new("segments", bytes)?;
        let n = r.u32()?;
        let mut list = Vec::new();
        for _ in 0..n {
            let segment = Self { id: r.u64()?, rows: r.u64()?, fields: r.u32()?, block_rows: r.u32()? };
            if segment.block_rows == 0 {
                return Err(r.damaged());
            }
            list.push(segment);
        }
        r.end()?;
        Ok(list)
    }
}

/// The record of a list of field names.
pub fn encode_fields(fields: &[FieldName]) -> Vec<u8> {
    let mut w = Writer::default();
    w.u32(fields.len() as u32);
    for field in fields {
        w.str(field.as_str());
    }
    w.finish()
}

/// Reads a list of field names.
pub fn decode_fields(bytes: &[u8]) -> Result<Vec<FieldName>> {
    let mut r = Reader::new("fields", bytes)?;
    let n = r.u32()?;
    let mut fields = Vec::new();
    for _ in 0..n {
        fields.push(FieldName::new(r.str()?));
    }
    r.end()?;
    Ok(fields)
}

/// Why a row is not synced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// Its position among the rows of the record.
    pub row: u32,
    /// The code of the reason.
    pub code: String,
    /// The field at fault; empty if unknown.
    pub field: String,
}

fn write_notes(w: &mut Writer, notes: &[Note]) {
    w.u32(notes.len() as u32);
    for note in notes {
        w.u32(note.row).str(&note.code).str(&note.field);
    }
}

fn read_notes(r: &mut Reader<'_>) -> Result<Vec<Note>> {
    let n = r.u32()?;
    let mut notes = Vec::new();
    for _ in 0..n {
        notes.push(Note { row: r.u32()?, code: r.str()?.to_owned(), field: r.str()?.to_owned() });
    }
    Ok(notes)
}

/// What is about to be sent: written before, so that a crash leaves the rows in doubt and not forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// The operation's number; 0 for a record that only moves row hashes and sends nothing.
    pub operation: u8,
    /// The list of fields that the images have.
    pub fields: u32,
    /// Fields a row, 0 if the record has no images.
    pub width: u32,
    /// Key hashes.
    pub keys: Vec<u128>,
    /// Row hashes.
    pub rows: Vec<u64>,
    /// Row after row, the field hashes that hold once the row is acknowledged.
    pub images: Vec<u64>,
}

impl Intent {
    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        debug_assert_eq!(self.images.len(), self.keys.len() * self.width as usize);
        let mut w = Writer::with_capacity(24 + self.keys.len() * (24 + 8 * self.width as usize));
        w.u8(self.operation).u32(self.fields).u32(self.width).u32(self.keys.len() as u32);
        w.u128s(self.keys.iter().copied()).u64s(self.rows.iter().copied()).u64s(self.images.iter().copied());
        w.finish()
    }

    /// Reads the record's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new("intent", bytes)?;
        let (operation, fields, width, n) = (r.u8()?, r.u32()?, r.u32()?, r.u32()? as usize);
        let keys = r.u128s(n)?;
        let rows = r.u64s(n)?;
        let images = r.u64s(n.checked_mul(width as usize).ok_or_else(|| r.damaged())?)?;
        r.end()?;
        Ok(Self { operation, fields, width, keys, rows, images })
    }
}

/// A list of short texts in one allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    ends: Vec<u32>,
    bytes: String,
}

impl Texts {
    /// A list of `n` empty texts.
    pub fn empty(n: usize) -> Self {
        Self { ends: vec![0; n], bytes: String::new() }
    }

    /// Appends a text.
    pub fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len() as u32);
    }

    /// The text at `index`, empty if there is none.
    pub fn get(&self, index: usize) -> &str {
        let end = self.ends.get(index).copied().unwrap_or_default() as usize;
        let start = if index == 0 { 0 } else { self.ends.get(index - 1).copied().unwrap_or_default() as usize };
        self.bytes.get(start..end).unwrap_or_default()
    }

    fn write(&self, w: &mut Writer) {
        for end in &self.ends {
            w.u32(*end);
        }
        w.str(&self.bytes);
    }

    fn read(r: &mut Reader<'_>, n: usize) -> Result<Self> {
        let bytes = r.bytes(n.checked_mul(4).ok_or_else(|| r.damaged())?)?;
        let ends: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect();
        Ok(Self { ends, bytes: r.str()?.to_owned() })
    }
}

/// What became of a batch, row by row in the order of its intent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    /// Standing of each row.
    pub status: Vec<Status>,
    /// Whether the write made the record.
    pub created: Vec<bool>,
    /// Attempts since the row was last synced, saturating.
    pub attempts: Vec<u8>,
    /// Record ids as the destination told them; empty where it did not.
    pub ids: Texts,
    /// Reasons, for rows that are not synced.
    pub notes: Vec<Note>,
}

impl Ack {
    /// One answer for all of `rows` rows.
    pub fn uniform(rows: usize, status: Status) -> Self {
        let (attempts, ids) = (vec![0; rows], Texts::empty(rows));
        Self { status: vec![status; rows], created: vec![false; rows], attempts, ids, notes: Vec::new() }
    }

    /// The answer for some of its rows, in this order.
    pub(crate) fn take(&self, rows: &[u32]) -> Self {
        let mut ack = Self::default();
        for (at, row) in rows.iter().enumerate() {
            let (at, from) = (at as u32, *row as usize);
            ack.status.push(self.status[from]);
            ack.created.push(self.created[from]);
            ack.attempts.push(self.attempts[from]);
            ack.ids.push(self.ids.get(from));
            let notes = self.notes.iter().filter(|note| note.row == *row);
            ack.notes.extend(notes.map(|note| Note { row: at, ..note.clone() }));
        }
        ack
    }

    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(16 + self.status.len() * 20);
        w.u32(self.status.len() as u32);
        for (status, created) in self.status.iter().zip(&self.created) {
            w.u8(Standing { created: *created, ..Standing::of(*status) }.encode());
        }
        w.bytes(&self.attempts);
        self.ids.write(&mut w);
        write_notes(&mut w, &self.notes);
        w.finish()
    }

    /// Reads the record's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new("acknowledgement", bytes)?;
        let n = r.u32()? as usize;
        let standings = r.bytes(n)?.iter().map(|byte| Standing::decode(*byte).ok_or_else(|| r.damaged()));
        let (status, created) =
            standings.map(|s| s.map(|s| (s.status, s.created))).collect::<Result<(Vec<_>, Vec<_>)>>()?;
        let attempts = r.bytes(n)?.to_vec();
        let ids = Texts::read(&mut r, n)?;
        let notes = read_notes(&mut r)?;
        r.end()?;
        Ok(Self { status, created, attempts, ids, notes })
    }
}

/// A sorted block of keys: all that a diff needs of rows that did not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyBlock {
    /// Key hashes, ascending.
    pub keys: Vec<u128>,
    /// Row hashes.
    pub rows: Vec<u64>,
    /// Standing of each key.
    pub status: Vec<Standing>,
    /// Attempts since the row was last synced.
    pub attempts: Vec<u8>,
}

impl KeyBlock {
    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(4 + self.keys.len() * 26);
        w.u32(self.keys.len() as u32).u128s(self.keys.iter().copied()).u64s(self.rows.iter().copied());
        for standing in &self.status {
            w.u8(standing.encode());
        }
        w.bytes(&self.attempts);
        w.finish()
    }

    /// Reads the record's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let view = KeyBlockView::new(bytes)?;
        Ok(Self {
            keys: (0..view.len()).map(|row| view.key(row)).collect(),
            rows: (0..view.len()).map(|row| view.row(row)).collect(),
            status: (0..view.len()).map(|row| view.standing(row)).collect(),
            attempts: view.attempts.to_vec(),
        })
    }
}

/// A [`KeyBlock`] where it lies in its record.
pub(crate) struct KeyBlockView<'a> {
    keys: &'a [[u8; 16]],
    rows: &'a [[u8; 8]],
    status: &'a [u8],
    attempts: &'a [u8],
    plain: bool,
}

impl<'a> KeyBlockView<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self> {
        let mut r = Reader::new("key block", bytes)?;
        let n = r.u32()? as usize;
        let mut words = |size: usize| r.bytes(n.checked_mul(size).ok_or_else(|| corrupt("key block"))?);
        let (keys, rows, status, attempts) = (words(16)?.as_chunks().0, words(8)?.as_chunks().0, words(1)?, words(1)?);
        let plain = status.iter().all(|byte| Standing::is_plain(*byte));
        if !plain && status.iter().any(|byte| Standing::decode(*byte).is_none()) {
            return Err(r.damaged());
        }
        r.end()?;
        Ok(Self { keys, rows, status, attempts, plain })
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn key(&self, row: usize) -> u128 {
        u128::from_le_bytes(self.keys[row])
    }

    pub(crate) fn row(&self, row: usize) -> u64 {
        u64::from_le_bytes(self.rows[row])
    }

    pub(crate) fn standing(&self, row: usize) -> Standing {
        // `new` has checked it.
        Standing::decode(self.status[row]).unwrap_or(Standing::of(Status::InDoubt))
    }

    pub(crate) fn attempts(&self, row: usize) -> u8 {
        self.attempts[row]
    }

    /// Whether every entry is synced and has its image.
    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }

    /// The first row from `from` on whose key is not below `key`.
    pub(crate) fn lower_bound(&self, from: usize, key: u128) -> usize {
        from + self.keys[from..].partition_point(|bytes| u128::from_le_bytes(*bytes) < key)
    }
}

/// The images of a block's entries, in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageBlock {
    /// Fields a row.
    pub width: u32,
    /// Row after row, the field hashes; zeros where the entry has no image of its own.
    pub images: Vec<u64>,
    /// Record ids.
    pub ids: Texts,
    /// Reasons, for rows that are not synced.
    pub notes: Vec<Note>,
}

impl ImageBlock {
    /// The record's bytes.
    pub fn encode(&self, rows: usize) -> Vec<u8> {
        let mut w = Writer::with_capacity(16 + self.images.len() * 8 + rows * 20);
        w.u32(rows as u32).u32(self.width).u64s(self.images.iter().copied());
        self.ids.write(&mut w);
        write_notes(&mut w, &self.notes);
        w.finish()
    }

    /// Reads the record's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new("image block", bytes)?;
        let (n, width) = (r.u32()? as usize, r.u32()?);
        let images = r.u64s(n.checked_mul(width as usize).ok_or_else(|| r.damaged())?)?;
        let ids = Texts::read(&mut r, n)?;
        let notes = read_notes(&mut r)?;
        r.end()?;
        Ok(Self { width, images, ids, notes })
    }
}

/// The images of an [`ImageBlock`], read from its record one at a time.
pub(crate) struct ImageRecord {
    record: Vec<u8>,
    width: usize,
    rows: usize,
}

impl ImageRecord {
    const HEADER: usize = 8;

    pub(crate) fn new(record: Vec<u8>) -> Result<Self> {
        let mut r = Reader::new("image block", &record)?;
        let (rows, width) = (r.u32()? as usize, r.u32()? as usize);
        let bytes = rows.checked_mul(width).and_then(|n| n.checked_mul(8));
        r.bytes(bytes.ok_or_else(|| corrupt("image block"))?)?;
        Ok(Self { record, width, rows })
    }

    /// Appends the image of `row` to `out`.
    pub(crate) fn read(&self, row: usize, out: &mut Vec<u64>) -> Result<()> {
        if row >= self.rows {
            return Err(corrupt("image block"));
        }
        let at = Self::HEADER + row * self.width * 8;
        let bytes = &self.record[at..at + self.width * 8];
        out.extend(bytes.as_chunks().0.iter().map(|chunk| u64::from_le_bytes(*chunk)));
        Ok(())
    }
}

/// One run in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// The run's id.
    pub run: u64,
    /// Wall clock at its start, milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// Wall clock at its end; 0 while it has not ended.
    pub ended_ms: u64,
    /// How it ended; empty while it has not.
    pub status: String,
    /// Rows read from the source.
    pub source_rows: u64,
    /// Distinct usable keys among them.
    pub distinct: u64,
    /// Rows the plan wanted to write.
    pub to_write: u64,
    /// Rows written.
    pub written: u64,
    /// Hash of the plan.
    pub plan: u64,
}

impl RunRecord {
    /// Whether the run counts: it ended, and no error stopped it.
    pub fn is_accepted(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "incomplete" | "stopped")
    }

    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.u64(self.run).u64(self.started_ms).u64(self.ended_ms).str(&self.status);
        w.u64(self.source_rows).u64(self.distinct).u64(self.to_write).u64(self.written).u64(self.plan);
        w.finish()
    }

    /// Reads the record's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new("run", bytes)?;
        let record = Self {
            run: r.u64()?,
            started_ms: r.u64()?,
            ended_ms: r.u64()?,
            status: r.str()?.to_owned(),
            source_rows: r.u64()?,
            distinct: r.u64()?,
            to_write: r.u64()?,
            written: r.u64()?,
            plan: r.u64()?,
        };
        r.end()?;
        Ok(record)
    }
}

/// The key of a sequence number.
pub fn sequence_key(sequence: u64) -> Vec<u8> {
    sequence.to_be_bytes().to_vec()
}

/// Reads the key of a sequence number.
pub fn read_sequence_key(key: &[u8]) -> Result<u64> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| corrupt("sequence key"))
}

/// The key of a block.
pub fn block_key(segment: u64, block: u32) -> Vec<u8> {
    [segment.to_be_bytes().as_slice(), &block.to_be_bytes()].concat()
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
