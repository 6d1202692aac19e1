//! Seeded event tables of an imaginary B2B product, as Parquet files.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use rsync_core::clock::Randomness;
use rsync_core::memory::SeededRandomness;

pub(crate) const ACCOUNTS: usize = 20_000;

struct Dice(SeededRandomness);

impl Dice {
    fn below(&self, n: u64) -> i64 {
        (self.0.next_u64() % n) as i64
    }
}

fn write(folder: &Path, table: &str, columns: Vec<(&str, ArrayRef)>) -> io::Result<()> {
    let batch = RecordBatch::try_from_iter(columns).map_err(io::Error::other)?;
    let file = File::create(folder.join(format!("{table}.parquet")))?;
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).map_err(io::Error::other)?;
    writer.write(&batch).map_err(io::Error::other)?;
    writer.close().map_err(io::Error::other)?;
    Ok(())
}

fn numbers(values: Vec<i64>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

fn texts(values: Vec<&str>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

/// Accounts and 90 days of their events. `more_tickets` accounts have an additional, open, severe ticket.
pub(crate) fn write_tables(folder: &Path, more_tickets: usize) -> io::Result<()> {
    let dice = Dice(SeededRandomness::new(20_240_601));
    let ids = || (0..ACCOUNTS as i64).collect::<Vec<_>>();
    let names: StringArray = (0..ACCOUNTS).map(|i| Some(format!("Account {i:05}"))).collect();
    let on_trial: BooleanArray = (0..ACCOUNTS).map(|_| Some(dice.below(4) == 0)).collect();
    write(
        folder,
        "accounts",
        vec![("account_id", numbers(ids())), ("name", Arc::new(names)), ("on_trial", Arc::new(on_trial))],
    )?;

    let (mut account, mut day, mut users, mut actions) = (vec![], vec![], vec![], vec![]);
    for id in ids() {
        let habit = 1 + dice.below(40);
        for week in 0..13 {
            account.push(id);
            day.push(week * 7);
            users.push(1 + dice.below(25));
            actions.push(dice.below(habit as u64 * 6));
        }
    }
    let usage = vec![
        ("account_id", numbers(account)),
        ("day", numbers(day)),
        ("active_users", numbers(users)),
        ("key_actions", numbers(actions)),
    ];
    write(folder, "usage", usage)?;

    let (mut account, mut severity, mut resolved) = (vec![], vec![], vec![]);
    for id in ids() {
        for _ in 0..dice.below(4) {
            account.push(id);
            severity.push(if dice.below(5) == 0 { "high" } else { "low" });
            resolved.push(dice.below(3) > 0);
        }
    }
    for id in 0..more_tickets as i64 {
        account.push(id * 7);
        severity.push("high");
        resolved.push(false);
    }
    let tickets = vec![
        ("account_id", numbers(account)),
        ("severity", texts(severity)),
        ("resolved", Arc::new(BooleanArray::from(resolved)) as ArrayRef),
    ];
    write(folder, "tickets", tickets)?;

    let (mut account, mut day, mut score) = (vec![], vec![], vec![]);
    for id in ids().into_iter().filter(|_| dice.below(3) > 0) {
        account.push(id);
        day.push(dice.below(90));
        score.push(dice.below(11));
    }
    write(folder, "nps", vec![("account_id", numbers(account)), ("day", numbers(day)), ("score", numbers(score))])?;

    const MILESTONES: [&str; 5] = ["invited_team", "first_import", "first_report", "connected_crm", "second_week"];
    let (mut account, mut milestone) = (vec![], vec![]);
    for id in ids() {
        for name in MILESTONES.into_iter().take(dice.below(6) as usize) {
            account.push(id);
            milestone.push(name);
        }
    }
    write(folder, "milestones", vec![("account_id", numbers(account)), ("milestone", texts(milestone))])
}
