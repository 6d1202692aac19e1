//! Seeded data: the same seed gives the same rows on every machine.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::error::ArrowError;

/// One step of the splitmix64 finaliser: a bijection on 64 bits that scatters neighbouring inputs.
#[must_use]
pub fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A 128-bit stand-in for the keyed hash of key number `id`.
#[must_use]
pub fn key_hash(id: u64) -> u128 {
    u128::from(mix(id)) << 64 | u128::from(mix(!id))
}

/// A 64-bit stand-in for the hash of version `version` of row number `id`.
#[must_use]
pub fn row_hash(id: u64, version: u64) -> u64 {
    mix(id ^ mix(version.wrapping_add(77)))
}

const FIRST: [&str; 8] = ["Ada", "Barbara", "Chen", "Dmitri", "Fatima", "Ines", "Quinn", "Rosa"];
const LAST: [&str; 8] = ["Abe", "Castro", "Eriksen", "Haddad", "Jansen", "Moreau", "Okafor", "Weber"];
const TIERS: [&str; 4] = ["free", "starter", "pro", "enterprise"];

fn pick<'a>(words: &[&'a str], random: u64) -> &'a str {
    words[(random % words.len() as u64) as usize]
}

/// Contacts as a warehouse holds them: 12 columns of 9 types, numbered from `first`; a third of the phones is null.
///
/// # Errors
///
/// None with these columns; the type comes from Arrow's constructors.
pub fn contacts(first: u64, rows: usize) -> Result<RecordBatch, ArrowError> {
    contacts_of(&(first..).take(rows).collect::<Vec<_>>(), |_| false)
}

/// The contacts with these numbers. Where `changed`, a row has another score, value, time of update and tier; the
/// value always differs.
///
/// # Errors
///
/// As [`contacts`].
pub fn contacts_of(numbers: &[u64], changed: impl Fn(u64) -> bool) -> Result<RecordBatch, ArrowError> {
    let ids = || numbers.iter().copied();
    let draw = |id: u64, column: u64| mix(mix(id) ^ column);
    let version = |id: u64| u64::from(changed(id)) << 32;
    let email = StringArray::from_iter_values(ids().map(|i| format!("user{i}@example{}.com", i % 97)));
    let name = ids().map(|i| format!("{} {}", pick(&FIRST, draw(i, 1)), pick(&LAST, draw(i, 2))));
    let active = BooleanArray::from_iter(ids().map(|i| Some(draw(i, 3) % 5 > 0)));
    let visits = Int32Array::from_iter_values(ids().map(|i| (draw(i, 4) % 5000) as i32));
    let score = Float64Array::from_iter_values(ids().map(|i| (draw(i, 5 ^ version(i)) % 100_000_000) as f64 / 1e6));
    let ltv = Decimal128Array::from_iter_values(ids().map(|i| i128::from(draw(i, 6) % 5_000_000 + (version(i) >> 32))));
    let birth = Date32Array::from_iter_values(ids().map(|i| (draw(i, 7) % 20_000) as i32 - 7_000));
    let updated = ids().map(|i| 1_735_689_600_000_000 + (draw(i, 8 ^ version(i)) % 31_536_000) as i64 * 1_000_000);
    let phone =
        ids().map(|i| (draw(i, 9) % 10 >= 3).then(|| format!("+1{}", 2_000_000_000 + draw(i, 10) % 7_999_999_999)));
    let attrs = ids().map(|i| {
        format!(
            "{{\"src\": \"partner\", \"plan\": \"{}\", \"seats\": {}}}",
            pick(&TIERS, draw(i, 11)),
            draw(i, 12) % 500
        )
    });
    let columns: [(&str, ArrayRef); 12] = [
        ("id", Arc::new(Int64Array::from_iter_values(ids().map(|i| i as i64)))),
        ("email", Arc::new(email)),
        ("name", Arc::new(StringArray::from_iter_values(name))),
        ("is_active", Arc::new(active)),
        ("visits", Arc::new(visits)),
        ("score", Arc::new(score)),
        ("ltv", Arc::new(ltv.with_precision_and_scale(12, 2)?)),
        ("birth", Arc::new(birth)),
        ("updated_at", Arc::new(TimestampMicrosecondArray::from_iter_values(updated).with_timezone("UTC"))),
        ("tier", Arc::new(StringArray::from_iter_values(ids().map(|i| pick(&TIERS, draw(i, 13 ^ version(i))))))),
        ("phone", Arc::new(StringArray::from_iter(phone))),
        ("attrs", Arc::new(StringArray::from_iter_values(attrs))),
    ];
    RecordBatch::try_from_iter(columns)
}
