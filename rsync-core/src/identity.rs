//! Who a row is, and what it says: keyed hashes of keys, rows and fields.
//!
//! Values are hashed over an encoding of our own, version [`ENCODING`]: a type tag, then the value in a form
//! that does not depend on the column's layout; texts carry their length. So a null differs from an empty
//! text, `("ab", "c")` from `("a", "bc")`, and a decimal keeps its hash when its scale is widened.
//!
//! The hashes are SipHash under keys derived from the state's [`HashKey`]. Without that key, stored hashes
//! cannot be matched against guessed addresses or values.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StringBuilder, new_null_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{Date32Type, Decimal128Type, Field, Float64Type, Int64Type, Schema, TimestampMicrosecondType};
use siphasher::sip::SipHasher13;
use siphasher::sip128::SipHasher24;
use zeroize::Zeroizing;

use crate::destination::KeyFolding;
use crate::error::{Error, Kind, Result};
use crate::ids::{ColumnName, FieldName, KeyHash};
use crate::mapping::{MappedField, key_column};
use crate::model::column;
use crate::normalise::{self, Normaliser, normalised};
use crate::record::{FieldType, Rows};

/// The version of the encoding that is hashed.
pub const ENCODING: u32 = 1;

/// The secret under which keys and values are hashed in the state. Losing it makes the state useless; keep it
/// apart from the state, with other secrets of the host.
#[derive(Clone)]
pub struct HashKey(Zeroizing<[u8; 16]>);

impl HashKey {
    /// A key of the host's own: 16 bytes that nobody can guess.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads the key from a file of 32 hexadecimal digits; makes the file, readable by its owner only, with a
    /// fresh key if there is none.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidConfig`] if the file holds something else or cannot be read or made.
    pub fn load_or_create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let fail = |message: &'static str| Error::new(Kind::InvalidConfig, "load the hash key", message);
        let mut bytes = Zeroizing::new([0; 16]);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Ok(mut file) => {
                getrandom::fill(&mut *bytes).map_err(|_| fail("the system has no randomness to give"))?;
                let text = Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
                file.write_all(text.as_bytes())
                    .and_then(|()| file.sync_all())
                    .map_err(|e| fail("the new key file cannot be written").with_source(e))?;
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let text = Zeroizing::new(
                    fs::read_to_string(path).map_err(|e| fail("the key file cannot be read").with_source(e))?,
                );
                let digits = text.trim().as_bytes();
                let (pairs, rest) = digits.as_chunks::<2>();
                if pairs.len() != 16 || !rest.is_empty() {
                    return Err(fail("the key file does not hold 32 hexadecimal digits")
                        .with_remedy("restore the key that the state was made with"));
                }
                for (byte, pair) in bytes.iter_mut().zip(pairs) {
                    *byte = std::str::from_utf8(pair)
                        .ok()
                        .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                        .ok_or_else(|| fail("the key file does not hold 32 hexadecimal digits"))?;
                }
            }
            Err(e) => {
                return Err(fail("the key file cannot be made")
                    .with_remedy("name a file in a folder that this process may write")
                    .with_source(e));
            }
        }
        Ok(Self(bytes))
    }

    pub(crate) fn derive(&self, purpose: &str) -> [u8; 16] {
        let hash: u128 = SipHasher24::new_with_key(&self.0).hash(purpose.as_bytes()).into();
        hash.to_le_bytes()
    }

    /// A number that tells this key from others without telling the key.
    pub(crate) fn check(&self) -> u64 {
        SipHasher13::new_with_key(&self.derive("check")).hash(b"rsync")
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(redacted)")
    }
}

mod tag {
    pub(super) const ABSENT: u8 = 0;
    pub(super) const CLEAR: u8 = 1;
    pub(super) const INTEGER: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const BOOLEAN: u8 = 4;
    pub(super) const FLOAT: u8 = 5;
    pub(super) const DECIMAL: u8 = 6;
    pub(super) const DATE: u8 = 7;
    pub(super) const TIMESTAMP: u8 = 8;
    pub(super) const LIST: u8 = 9;
}

/// Without trailing zeros behind the point, so that widening the scale changes nothing.
fn decimal_bytes(mut unscaled: i128, mut scale: i8) -> [u8; 17] {
    while scale > 0 && unscaled % 10 == 0 {
        unscaled /= 10;
        scale -= 1;
    }
    let mut bytes = [0; 17];
    bytes[..16].copy_from_slice(&unscaled.to_le_bytes());
    bytes[16] = scale.to_le_bytes()[0];
    bytes
}

fn list_bytes(items: &StringArray) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items.iter().flatten() {
        bytes.extend_from_slice(&(item.len() as u32).to_le_bytes());
        bytes.extend_from_slice(item.as_bytes());
    }
    bytes
}

/// Bytes before a value: its tag and its length.
const HEADER: usize = 5;

/// Rows that are encoded at once: few enough to stay in the processor's nearest cache.
const CHUNK: usize = 256;

/// Which cells of a column hold a value.
#[derive(Clone, Copy)]
struct Cells<'a> {
    array: &'a ArrayRef,
    presence: Option<&'a BooleanBuffer>,
    nulls: Option<&'a NullBuffer>,
}

impl<'a> Cells<'a> {
    fn new(array: &'a ArrayRef, presence: Option<&'a BooleanBuffer>) -> Self {
        Self { array, presence, nulls: array.nulls().filter(|nulls| nulls.null_count() > 0) }
    }

    fn all_hold(&self) -> bool {
        self.presence.is_none() && self.nulls.is_none()
    }

    /// The tag of a cell without a value.
    fn empty(&self, row: usize) -> Option<u8> {
        if self.presence.is_some_and(|bits| !bits.value(row)) {
            Some(tag::ABSENT)
        } else if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            Some(tag::CLEAR)
        } else {
            None
        }
    }

    /// Adds the length of each row's value.
    fn measure(&self, from: usize, lengths: &mut [u32]) {
        let add = |lengths: &mut [u32], length: &dyn Fn(usize) -> usize| {
            for (row, sum) in (from..).zip(lengths) {
                if self.empty(row).is_none() {
                    *sum += length(row) as u32;
                }
            }
        };
        match FieldType::from_arrow(self.array.data_type()) {
            Some(FieldType::Text) => {
                let ends = &self.array.as_string::<i32>().value_offsets()[from..];
                if self.all_hold() {
                    lengths.iter_mut().zip(ends.windows(2)).for_each(|(sum, ends)| *sum += (ends[1] - ends[0]) as u32);
                } else {
                    add(lengths, &|row| (ends[row - from + 1] - ends[row - from]) as usize);
                }
            }
            Some(FieldType::TextList) => {
                let lists = self.array.as_list::<i32>();
                add(lengths, &|row| list_bytes(lists.value(row).as_string::<i32>()).len());
            }
            Some(ty) => {
                let length = fixed_length(ty);
                if self.all_hold() {
                    lengths.iter_mut().for_each(|sum| *sum += length as u32);
                } else {
                    add(lengths, &|_| length);
                }
            }
            // `Rows` holds no other types.
            None => {}
        }
    }

    /// Writes each row's cell to where the row's last one ends, and tells where this one ends.
    fn encode(&self, from: usize, bytes: &mut [u8], starts: &[u32], ends: &mut Vec<u32>) {
        macro_rules! each {
            ($tag:expr, |$row:ident| $value:expr) => {{
                let mut write = |start: &u32, tag: u8, value: &[u8]| {
                    let (start, end) = (*start as usize, *start as usize + HEADER + value.len());
                    let cell = &mut bytes[start..end];
                    cell[0] = tag;
                    cell[1..HEADER].copy_from_slice(&(value.len() as u32).to_le_bytes());
                    cell[HEADER..].copy_from_slice(value);
                    end as u32
                };
                if self.all_hold() {
                    ends.extend((from..).zip(starts).map(|($row, start)| write(start, $tag, &$value)));
                } else {
                    ends.extend((from..).zip(starts).map(|($row, start)| match self.empty($row) {
                        Some(tag) => write(start, tag, &[]),
                        None => write(start, $tag, &$value),
                    }));
                }
            }};
        }
        ends.clear();
        match FieldType::from_arrow(self.array.data_type()) {
            Some(FieldType::Integer) => {
                let values = self.array.as_primitive::<Int64Type>().values();
                each!(tag::INTEGER, |row| values[row].to_le_bytes());
            }
            Some(FieldType::Text) => {
                let texts = self.array.as_string::<i32>();
                each!(tag::TEXT, |row| *texts.value(row).as_bytes());
            }
            Some(FieldType::Boolean) => {
                let values = self.array.as_boolean().values();
                each!(tag::BOOLEAN, |row| [u8::from(values.value(row))]);
            }
            Some(FieldType::Float) => {
                let values = self.array.as_primitive::<Float64Type>().values();
                // Negative zero equals zero.
                each!(tag::FLOAT, |row| (values[row] + 0.0).to_bits().to_le_bytes());
            }
            Some(FieldType::Decimal { scale, .. }) => {
                let values = self.array.as_primitive::<Decimal128Type>().values();
                each!(tag::DECIMAL, |row| decimal_bytes(values[row], scale));
            }
            Some(FieldType::Date) => {
                let values = self.array.as_primitive::<Date32Type>().values();
                each!(tag::DATE, |row| values[row].to_le_bytes());
            }
            Some(FieldType::Timestamp) => {
                let values = self.array.as_primitive::<TimestampMicrosecondType>().values();
                each!(tag::TIMESTAMP, |row| values[row].to_le_bytes());
            }
            Some(FieldType::TextList) => {
                let lists = self.array.as_list::<i32>();
                each!(tag::LIST, |row| list_bytes(lists.value(row).as_string::<i32>()));
            }
            None => ends.extend_from_slice(starts),
        }
    }
}

fn fixed_length(ty: FieldType) -> usize {
    match ty {
        FieldType::Boolean => 1,
        FieldType::Date => 4,
        FieldType::Decimal { .. } => 17,
        _ => 8,
    }
}

/// Rows side by side in one buffer, and where each of their fields ends.
#[derive(Debug, Default)]
struct Encoded {
    bytes: Vec<u8>,
    /// `ends[0][row]` is the end of the row's prefix, `ends[1 + field][row]` that of a field.
    ends: Vec<Vec<u32>>,
    starts: Vec<u32>,
    lengths: Vec<u32>,
}

impl Encoded {
    /// Encodes `len` rows from row `from` on, column by column. Every row begins with `prefix`.
    fn fill(&mut self, columns: &[Cells<'_>], from: usize, len: usize, prefix: &[u8]) {
        self.lengths.clear();
        self.lengths.resize(len, (prefix.len() + HEADER * columns.len()) as u32);
        columns.iter().for_each(|cells| cells.measure(from, &mut self.lengths));
        self.ends.resize_with(columns.len() + 1, Vec::new);
        self.starts.clear();
        self.ends[0].clear();
        let mut end = 0;
        for length in &self.lengths {
            self.starts.push(end);
            self.ends[0].push(end + prefix.len() as u32);
            end += length;
        }
        // Every byte up to `end` is written below.
        self.bytes.resize(self.bytes.len().max(end as usize), 0);
        for start in self.starts.iter().filter(|_| !prefix.is_empty()) {
            self.bytes[*start as usize..*start as usize + prefix.len()].copy_from_slice(prefix);
        }
        for (index, cells) in columns.iter().enumerate() {
            let (before, after) = self.ends.split_at_mut(index + 1);
            cells.encode(from, &mut self.bytes, &before[index], &mut after[0]);
        }
    }

    fn row(&self, row: usize) -> &[u8] {
        &self.bytes[self.starts[row] as usize..self.ends[self.ends.len() - 1][row] as usize]
    }

    fn field(&self, row: usize, field: usize) -> &[u8] {
        &self.bytes[self.ends[field][row] as usize..self.ends[field + 1][row] as usize]
    }
}

fn cells(rows: &Rows) -> Vec<Cells<'_>> {
    rows.batch().columns().iter().enumerate().map(|(i, array)| Cells::new(array, rows.presence(i))).collect()
}

/// Calls `take` for pieces of `n` rows that are encoded together, with the number of rows in each.
fn for_chunks(columns: &[Cells<'_>], n: usize, prefix: &[u8], mut take: impl FnMut(&Encoded, usize)) {
    let mut encoded = Encoded::default();
    for from in (0..n).step_by(CHUNK) {
        let len = CHUNK.min(n - from);
        encoded.fill(columns, from, len, prefix);
        take(&encoded, len);
    }
}

/// Hashes mapped rows.
#[derive(Debug)]
pub(crate) struct Fingerprints {
    row: SipHasher13,
    fields: Vec<SipHasher13>,
    /// Ties a row hash to the fields it is over.
    prefix: [u8; 8],
}

impl Fingerprints {
    pub(crate) fn new(key: &HashKey, fields: &[FieldName]) -> Self {
        let row = SipHasher13::new_with_key(&key.derive("row"));
        let mut names = Vec::new();
        for field in fields {
            names.extend_from_slice(&(field.as_str().len() as u32).to_le_bytes());
            names.extend_from_slice(field.as_str().as_bytes());
        }
        let hashers =
            fields.iter().map(|field| SipHasher13::new_with_key(&key.derive(&format!("field {field}")))).collect();
        Self { prefix: row.hash(&names).to_le_bytes(), row, fields: hashers }
    }

    /// A hash of each row, never 0.
    pub(crate) fn rows(&self, rows: &Rows) -> Vec<u64> {
        let mut hashes = Vec::with_capacity(rows.len());
        for_chunks(&cells(rows), rows.len(), &self.prefix, |encoded, len| {
            hashes.extend((0..len).map(|row| self.row.hash(encoded.row(row)).max(1)));
        });
        hashes
    }

    /// What stands for the hash of a row that left the model and was disposed of in this way; never 0.
    pub(crate) fn exit(&self, way: &str) -> u64 {
        self.row.hash(format!("exit {way}").as_bytes()).max(1)
    }

    /// A hash of how a field is filled.
    pub(crate) fn rule(&self, rule: &str) -> u64 {
        self.row.hash(format!("rule {rule}").as_bytes())
    }

    /// The image of a row that clears all of `fields`, which are those that this was made for.
    pub(crate) fn cleared(&self, fields: &[MappedField]) -> Result<Vec<u64>> {
        let schema: Vec<Field> = fields.iter().map(|f| Field::new(f.name.as_str(), f.ty.arrow(), true)).collect();
        let nulls = schema.iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(schema)), nulls)
            .map_err(|e| Error::new(Kind::Internal, "hash a row", "its columns do not fit").with_source(e))?;
        Ok(self.fields(&Rows::new(batch)?))
    }

    /// A hash of each cell, row after row; 0 for an absent cell, never 0 for another.
    pub(crate) fn fields(&self, rows: &Rows) -> Vec<u64> {
        let mut hashes = Vec::with_capacity(rows.len() * self.fields.len());
        for_chunks(&cells(rows), rows.len(), &[], |encoded, len| {
            for row in 0..len {
                for (index, hasher) in self.fields.iter().enumerate() {
                    let cell = encoded.field(row, index);
                    hashes.push(if cell.first() == Some(&tag::ABSENT) { 0 } else { hasher.hash(cell).max(1) });
                }
            }
        });
        hashes
    }
}

/// Hashes keys of models.
#[derive(Debug)]
pub(crate) struct KeyHasher {
    hasher: SipHasher24,
    columns: Vec<ColumnName>,
    normalisers: Vec<Normaliser>,
    folding: KeyFolding,
}

impl KeyHasher {
    pub(crate) fn new(key: &HashKey, columns: &[ColumnName], folding: KeyFolding) -> Self {
        Self {
            hasher: SipHasher24::new_with_key(&key.derive("key")),
            columns: columns.to_vec(),
            normalisers: Vec::new(),
            folding,
        }
    }

    /// Hashes the texts of keys in their normal spelling.
    pub(crate) fn with_normalisers(mut self, normalisers: &[Normaliser]) -> Self {
        self.normalisers = normalisers.to_vec();
        self
    }

    /// What the hashes mean, for the state's binding.
    pub(crate) fn describe(&self) -> String {
        let columns: Vec<&str> = self.columns.iter().map(ColumnName::as_str).collect();
        let folding = match self.folding {
            KeyFolding::Exact => "exact",
            KeyFolding::CaselessTrimmed => "caseless-trimmed",
        };
        let mut described = format!("{} ({folding}, encoding {ENCODING}", columns.join(", "));
        if !self.normalisers.is_empty() {
            let names = normalise::names(&self.normalisers);
            described.push_str(&format!(", normalised by {names}, version {}", normalise::VERSION));
        }
        described + ")"
    }

    /// The key of each row, `None` where a part of it is null or blank.
    pub(crate) fn hash(&self, batch: &RecordBatch) -> Result<Vec<Option<KeyHash>>> {
        let columns = self.columns.iter().map(|name| key_column(&column(batch, name)?)).collect::<Result<Vec<_>>>()?;
        Ok(self.hash_columns(&columns, batch.num_rows()))
    }

    /// The value of one mapped field as a key, `None` where there is none.
    pub(crate) fn hash_field(&self, rows: &Rows, field: usize) -> Vec<Option<KeyHash>> {
        self.hash_columns(std::slice::from_ref(rows.batch().column(field)), rows.len())
    }

    fn hash_columns(&self, columns: &[ArrayRef], n: usize) -> Vec<Option<KeyHash>> {
        let columns: Vec<ArrayRef> = columns.iter().map(|array| normalised(array, &self.normalisers)).collect();
        let mut usable = vec![true; n];
        for array in &columns {
            if let Some(nulls) = array.nulls() {
                usable.iter_mut().zip(nulls).for_each(|(usable, valid)| *usable &= valid);
            }
            if let Some(texts) = array.as_string_opt::<i32>() {
                // A blank key would match records that have none.
                usable.iter_mut().zip(texts).for_each(|(usable, text)| {
                    *usable &= text.is_some_and(|text| !text.trim().is_empty());
                });
            }
        }
        let folded: Vec<ArrayRef> = columns.iter().map(|array| self.folded(array)).collect();
        let cells: Vec<Cells<'_>> = folded.iter().map(|array| Cells::new(array, None)).collect();
        let mut hashes = Vec::with_capacity(n);
        for_chunks(&cells, n, &[], |encoded, len| {
            hashes.extend((0..len).map(|row| Some(KeyHash(self.hasher.hash(encoded.row(row)).into()))));
        });
        hashes.iter_mut().zip(usable).filter(|(_, usable)| !usable).for_each(|(hash, _)| *hash = None);
        hashes
    }

    fn folded(&self, array: &ArrayRef) -> ArrayRef {
        let Some(texts) = array.as_string_opt::<i32>().filter(|_| self.folding != KeyFolding::Exact) else {
            return Arc::clone(array);
        };
        let mut folded = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
        let mut scratch = String::new();
        for text in texts {
            folded.append_option(text.map(|text| {
                scratch.clear();
                self.folding.fold(text, &mut scratch);
                scratch.as_str()
            }));
        }
        Arc::new(folded.finish())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use arrow::array::{Decimal128Array, Float64Array, Int32Array, Int64Array};
    use proptest::prelude::*;

    use super::*;

    fn key() -> HashKey {
        HashKey::from_bytes(*b"0123456789abcdef")
    }

    fn rows(columns: Vec<(&str, ArrayRef)>) -> Rows {
        Rows::new(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap())
            .unwrap()
    }

    fn names(rows: &Rows) -> Vec<FieldName> {
        rows.schema().fields().iter().map(|field| FieldName::new(field.name())).collect()
    }

    fn row_hashes(rows: &Rows) -> Vec<u64> {
        Fingerprints::new(&key(), &names(rows)).rows(rows)
    }

    fn texts(values: Vec<Option<&str>>) -> ArrayRef {
        Arc::new(StringArray::from(values))
    }

    #[test]
    fn s16_different_rows_have_different_hashes() {
        let all = rows(vec![
            ("a", texts(vec![Some("ab"), Some("a"), None, Some(""), Some("abc"), Some("")])),
            ("b", texts(vec![Some("c"), Some("bc"), Some("abc"), Some("abc"), Some(""), None])),
        ]);
        let masked = all.clone().with_presence(1, BooleanBuffer::from(vec![true, true, true, true, true, false]));
        let mut seen: HashSet<u64> = row_hashes(&all).into_iter().collect();
        assert_eq!(seen.len(), 6);
        assert!(seen.insert(row_hashes(&masked)[5]), "absent differs from cleared");
        let swapped = rows(vec![("b", texts(vec![Some("ab")])), ("a", texts(vec![Some("c")]))]);
        assert!(seen.insert(row_hashes(&swapped)[0]), "field names count");
    }

    #[test]
    fn f59_a_wider_type_is_no_change() {
        let narrow = Decimal128Array::from(vec![2985, 0, -500]).with_precision_and_scale(10, 2).unwrap();
        let wide = Decimal128Array::from(vec![29850, 0, -5000]).with_precision_and_scale(38, 3).unwrap();
        assert_eq!(row_hashes(&rows(vec![("x", Arc::new(narrow))])), row_hashes(&rows(vec![("x", Arc::new(wide))])));
        let zeros = Float64Array::from(vec![0.0, -0.0]);
        let hashes = row_hashes(&rows(vec![("x", Arc::new(zeros))]));
        assert_eq!(hashes[0], hashes[1]);
        let hasher = KeyHasher::new(&key(), &["id".into()], KeyFolding::Exact);
        let batch = |array: ArrayRef| RecordBatch::try_from_iter([("id", array)]).unwrap();
        assert_eq!(
            hasher.hash(&batch(Arc::new(Int32Array::from(vec![5])))).unwrap(),
            hasher.hash(&batch(Arc::new(Int64Array::from(vec![5])))).unwrap(),
        );
    }

    #[test]
    fn a_field_hash_tells_what_changed() {
        let fingerprints = Fingerprints::new(&key(), &["a".into(), "b".into()]);
        let before = rows(vec![("a", texts(vec![Some("x")])), ("b", texts(vec![Some("x")]))]);
        let after = rows(vec![("a", texts(vec![Some("x")])), ("b", texts(vec![Some("y")]))]);
        let (before, after) = (fingerprints.fields(&before), fingerprints.fields(&after));
        assert_eq!(before[0], after[0]);
        assert_ne!(before[1], after[1]);
        assert_ne!(before[0], before[1], "the same value in two fields has two hashes");
        let absent = rows(vec![("a", texts(vec![Some("x")])), ("b", texts(vec![Some("x")]))])
            .with_presence(1, BooleanBuffer::from(vec![false]));
        assert_eq!(fingerprints.fields(&absent)[1], 0);
    }

    #[test]
    fn f22_f23_blank_keys_are_none_and_folded_keys_meet() {
        let batch = RecordBatch::try_from_iter_with_nullable([(
            "id",
            texts(vec![Some("Ada@x.com"), Some(" ada@X.com "), Some(""), Some(" \t"), None]),
            true,
        )])
        .unwrap();
        let exact = KeyHasher::new(&key(), &["id".into()], KeyFolding::Exact).hash(&batch).unwrap();
        let folded = KeyHasher::new(&key(), &["id".into()], KeyFolding::CaselessTrimmed).hash(&batch).unwrap();
        assert!(exact[0].is_some() && exact[0] != exact[1]);
        assert!(folded[0].is_some() && folded[0] == folded[1]);
        assert_eq!(&exact[2..], [None, None, None]);
    }

    #[test]
    fn s15_another_hash_key_gives_other_hashes() {
        let other = HashKey::from_bytes(*b"another key 1234");
        let batch = RecordBatch::try_from_iter([("id", texts(vec![Some("ada@example.com")]))]).unwrap();
        let hash = |key: &HashKey| KeyHasher::new(key, &["id".into()], KeyFolding::Exact).hash(&batch).unwrap();
        assert_ne!(hash(&key()), hash(&other));
        assert_ne!(key().check(), other.check());
        assert_eq!(format!("{:?}", key()), "HashKey(redacted)");
    }

    #[test]
    fn hashes_of_this_encoding_never_drift() {
        let row = rows(vec![
            ("id", Arc::new(Int64Array::from(vec![7])) as ArrayRef),
            ("name", texts(vec![Some("Ada")])),
            ("note", texts(vec![None])),
        ]);
        assert_eq!(row_hashes(&row), [GOLDEN_ROW]);
        let batch = RecordBatch::try_from_iter([("id", texts(vec![Some("ada@example.com")]))]).unwrap();
        let hash = KeyHasher::new(&key(), &["id".into()], KeyFolding::Exact).hash(&batch).unwrap();
        assert_eq!(hash, [Some(KeyHash(GOLDEN_KEY))]);
    }

    const GOLDEN_ROW: u64 = 202195167470972975;
    const GOLDEN_KEY: u128 = 0x71c9_d20b_6578_eff3_a2ac_3473_be2b_69a5;

    proptest! {
        #[test]
        fn s16_rows_hash_alike_only_if_they_are_alike(
            a in prop::collection::vec((prop::option::of(".{0,6}"), prop::option::of(any::<i64>())), 1..40)
        ) {
            let all = rows(vec![
                ("t", Arc::new(a.iter().map(|(t, _)| t.clone()).collect::<StringArray>()) as ArrayRef),
                ("i", Arc::new(a.iter().map(|(_, i)| *i).collect::<Int64Array>())),
            ]);
            let hashes = row_hashes(&all);
            for i in 0..a.len() {
                for j in 0..i {
                    prop_assert_eq!(a[i] == a[j], hashes[i] == hashes[j]);
                }
            }
        }
    }
}
