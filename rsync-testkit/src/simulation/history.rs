//! What the source says, version by version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rsync_core::arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use rsync_core::destination::KeyFolding;

use super::mode::{MARK, Mode};
use super::random::Stream;

/// Keys of a model at its beginning.
const KEYS: u64 = 20;
/// Keys that there are at all; the rest is added later.
pub(super) const UNIVERSE: u64 = 28;
/// Batches of one read.
pub(super) const BATCHES: usize = 3;

/// A row of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: Option<String>,
    /// Kept at the destination where it is null.
    pub(super) name: Option<String>,
    /// Cleared at the destination where it is null.
    pub(super) tier: Option<String>,
    /// Whether the model says that the row left.
    pub(super) gone: bool,
}

/// One state of the source.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) batches: Vec<RecordBatch>,
    /// Rows that can be written, by folded key.
    pub(super) syncable: BTreeMap<String, Row>,
    /// Folded keys of rows that the model marks as gone.
    pub(super) marked: BTreeSet<String>,
    /// Folded keys that several rows have.
    pub(super) shared: BTreeSet<String>,
    pub(super) rows: u64,
    pub(super) null_keys: u64,
    pub(super) duplicates: u64,
}

pub(super) fn base_key(number: u64) -> String {
    format!("k{number:02}")
}

/// Another spelling of a key, which some services take for the same.
pub(super) fn other_spelling(number: u64) -> String {
    format!(" K{number:02}")
}

impl Version {
    fn new(rows: &[Row], folding: KeyFolding, marks: bool) -> Self {
        let mut by_key: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
        let mut null_keys = 0;
        for row in rows {
            match row.key.as_deref().filter(|key| !key.trim().is_empty()) {
                Some(key) => by_key.entry(folding.folded(key)).or_default().push(row),
                None => null_keys += 1,
            }
        }
        let piece = rows.len().div_ceil(BATCHES).max(1);
        let mut version = Self {
            batches: rows.chunks(piece).map(|rows| batch(rows, marks)).collect(),
            rows: rows.len() as u64,
            null_keys,
            duplicates: 0,
            syncable: BTreeMap::new(),
            marked: BTreeSet::new(),
            shared: BTreeSet::new(),
        };
        for (key, rows) in by_key {
            match rows[..] {
                [row] if row.gone => drop(version.marked.insert(key)),
                [row] => drop(version.syncable.insert(key, row.clone())),
                _ => {
                    version.duplicates += rows.len() as u64;
                    version.shared.insert(key);
                }
            }
        }
        version
    }

    /// A model without rows.
    pub(super) fn empty(marks: bool) -> Self {
        let mut version = Self::new(&[], KeyFolding::Exact, marks);
        version.batches.push(batch(&[], marks));
        version
    }

    /// Its keys.
    pub(super) fn keys(&self) -> usize {
        self.syncable.len() + self.marked.len() + self.shared.len()
    }

    /// Whether the model no longer has the key, or marks its row as gone.
    pub(super) fn has_left(&self, key: &str) -> bool {
        !self.syncable.contains_key(key) && !self.shared.contains(key)
    }
}

/// Rows as the source delivers them.
pub(super) fn batch(rows: &[Row], marks: bool) -> RecordBatch {
    let column =
        |cell: fn(&Row) -> Option<&str>| -> ArrayRef { Arc::new(rows.iter().map(cell).collect::<StringArray>()) };
    let mut columns = vec![
        ("id", column(|row| row.key.as_deref()), true),
        ("name", column(|row| row.name.as_deref()), true),
        ("tier", column(|row| row.tier.as_deref()), true),
    ];
    if marks {
        let marks: BooleanArray = rows.iter().map(|row| Some(row.gone)).collect();
        columns.push((MARK, Arc::new(marks), true));
    }
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length")
}

/// The values of one key over time.
#[derive(Clone, Debug, Default)]
struct Past {
    values: Vec<(Option<String>, Option<String>)>,
    present: bool,
}

/// Makes the versions of a seed: additions, changes, returns to old values, removals, keys that are null, double or
/// spelt in two ways.
pub(super) fn versions(seed: u64, count: u64, folding: KeyFolding, mode: Mode) -> Vec<Arc<Version>> {
    let marks = mode.marks();
    let mut past = vec![Past::default(); UNIVERSE as usize];
    (0..count)
        .map(|number| {
            let mut random = Stream::of(seed, "model", number);
            let mut staying = Stream::of(seed, "marked", number);
            let mut rows = Vec::new();
            for (key, past) in past.iter_mut().enumerate() {
                step(past, number, key as u64, &mut random, mode.exits.is_some());
                // Some of the rows that leave are gone at once, the others stay and say so.
                let stays = marks && staying.percent(70) && !past.values.is_empty();
                if past.present || stays {
                    let (name, tier) = past.values.last().cloned().unwrap_or_default();
                    rows.push(Row { key: Some(base_key(key as u64)), name, tier, gone: !past.present });
                }
            }
            spoil(&mut rows, &mut random);
            random.disorder(&mut rows);
            Arc::new(Version::new(&rows, folding, marks))
        })
        .collect()
}

fn step(past: &mut Past, version: u64, key: u64, random: &mut Stream, returns: bool) {
    // Every step draws the same count, whatever it does, so that versions can be compared by eye.
    let (what, pick, null) = (random.below(100), random.next(), random.below(100));
    let fresh = || {
        let value = |field: &str| Some(format!("{field}-{key}-{version}"));
        (value("name").filter(|_| null >= 10), value("tier").filter(|_| !(10..20).contains(&null)))
    };
    if version == 0 {
        past.present = key < KEYS;
        past.values.push(fresh());
        return;
    }
    match what {
        0..30 => past.values.push(fresh()),
        // Back to what it was some time ago, in both fields or in one.
        30..45 => {
            let (name, tier) = past.values[(pick % past.values.len() as u64) as usize].clone();
            let now = past.values.last().cloned().unwrap_or_default();
            past.values.push(if what < 40 { (name, tier) } else { (name, now.1) });
        }
        45..53 => past.present = !past.present,
        // Back soon, perhaps before it is known what became of its exit.
        53..90 if returns && !past.values.is_empty() => past.present = true,
        _ => {}
    }
}

/// Adds rows that cannot be written.
fn spoil(rows: &mut Vec<Row>, random: &mut Stream) {
    let row = |key: Option<String>| Row { key, name: Some("stray".into()), tier: Some("stray".into()), gone: false };
    for _ in 0..random.below(3) {
        rows.push(row([None, Some(String::new()), Some("  ".into())][random.below(3) as usize].clone()));
    }
    if random.percent(25) {
        rows.push(row(Some(base_key(random.below(UNIVERSE)))));
    }
    if random.percent(25) {
        rows.push(row(Some(other_spelling(random.below(UNIVERSE)))));
    }
}
