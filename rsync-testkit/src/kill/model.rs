//! The model at every moment of its history.

use std::collections::BTreeMap;
use std::sync::Arc;

use rsync_core::arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};

use crate::sim::rng::Rng;

/// Rows of the model, those that are marked as gone included.
pub(super) const ROWS: u64 = 400;

/// Stands in every value, and nowhere else.
pub(super) const CANARY: &str = "cnry-5d0a~é";

/// Seven in ten rows are as they were. Values come back often, so that what was sent with unknown fate is the truth again.
const KEPT: u64 = 70;

/// A sequence of changes to a model.
#[derive(Clone, Copy, Debug)]
pub(super) struct History(pub(super) u64);

impl History {
    /// What row `row` is at `moment`: a value, or `None` if it is gone.
    fn value(self, row: u64, moment: u64) -> Option<u64> {
        let draw = |moment: u64| Rng::seeded(self.0 ^ (row << 40) ^ (moment << 8)).next_u64();
        let changed = (1..=moment).rev().find(|moment| draw(*moment) % 100 >= KEPT).unwrap_or(0);
        let value = (draw(changed) >> 32) % 8;
        (value < 7).then_some(value % 3)
    }

    /// The model as its source delivers it, with a flag for rows that are gone.
    pub(super) fn batches(self, moment: u64) -> Vec<RecordBatch> {
        let batch = |rows: &[u64]| {
            let values: Vec<Option<u64>> = rows.iter().map(|row| self.value(*row, moment)).collect();
            let text = |column: fn(u64, u64) -> Option<String>| -> ArrayRef {
                let cells = rows.iter().zip(&values).map(|(row, value)| column(*row, value.unwrap_or_default()));
                Arc::new(cells.collect::<StringArray>())
            };
            let gone: BooleanArray = values.iter().map(|value| Some(value.is_none())).collect();
            RecordBatch::try_from_iter_with_nullable([
                ("id", text(|row, _| Some(key(row))), true),
                ("name", text(|row, value| Some(name(row, value))), true),
                ("tier", text(|_, value| tier(value)), true),
                ("gone", Arc::new(gone) as ArrayRef, true),
            ])
            .expect("columns of one length")
        };
        let rows: Vec<u64> = (0..ROWS).collect();
        rows.chunks(100).map(batch).collect()
    }

    /// What the service must hold at `moment`.
    pub(super) fn records(self, moment: u64) -> BTreeMap<String, BTreeMap<String, String>> {
        let record = |row| {
            let value = self.value(row, moment)?;
            let tier = tier(value).map(|tier| ("tier".to_owned(), tier));
            let fields = [("name".to_owned(), name(row, value))].into_iter().chain(tier);
            Some((key(row), fields.collect()))
        };
        (0..ROWS).filter_map(record).collect()
    }
}

fn key(row: u64) -> String {
    format!("{CANARY}-key-{row}")
}

fn name(row: u64, value: u64) -> String {
    // Long, so that what a run spools does not stay in memory.
    format!("{} is {value}{}", key(row), " and more".repeat(60))
}

/// Null for one value in three, which empties the field.
fn tier(value: u64) -> Option<String> {
    (value > 0).then(|| format!("{CANARY}-tier-{value}"))
}

/// Whether a field of the record of `key` can have this text: that of another row cannot.
pub(super) fn belongs(key: &str, field: &str, text: &str) -> bool {
    match field {
        "name" => text.strip_prefix(key).is_some_and(|rest| rest.starts_with(" is ")),
        "tier" => text.starts_with(CANARY),
        _ => false,
    }
}
