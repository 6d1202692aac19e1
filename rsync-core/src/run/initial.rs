//! The first run of a sync.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::engine::Engine;
use crate::error::{Kind, Result};
use crate::outcome::Outcome;
use crate::plan::{Reason, Spool, Work};
use crate::policy::Change;
use crate::report::{Report, Stop};
use crate::state::codec::{Ack, Status};

/// Rows in one record of seeded rows.
const SEEDED_ROWS: usize = 10_000;

impl Engine<'_> {
    /// Records rows as acknowledged. Those in doubt were sent by a run before, so they are sent.
    pub(super) async fn seed(&mut self, spool: Spool) -> Result<()> {
        let reason = Reason::new("seeded", None, "nothing; the destination is taken to have these values already");
        for work in spool.read()? {
            let work = work?;
            let (doubtful, seeded): (Vec<u32>, Vec<u32>) =
                (0..work.len() as u32).partition(|row| work.changes[*row as usize] == Change::InDoubt);
            let seeded = work.take(&seeded)?;
            for from in (0..seeded.len()).step_by(SEEDED_ROWS) {
                self.interrupt();
                if self.stop.is_some() {
                    return Ok(());
                }
                let piece = seeded.slice(from, SEEDED_ROWS.min(seeded.len() - from));
                let (rows, sent_nothing) = (piece.len(), 0);
                let sequence = self.journal.stage_intent(sent_nothing, piece.keys, piece.hashes, piece.images);
                self.journal.stage_ack(sequence, &Ack::uniform(rows, Status::Synced));
                self.journal.commit().await?;
                self.started_rows += rows as u64;
                self.report.totals.skipped += rows as u64;
                self.report.reasons.add_many(Outcome::Skipped, &reason, rows as u64, None);
            }
            if !doubtful.is_empty() {
                self.fly(std::iter::once(work.take(&doubtful))).await?;
            }
        }
        // Jobs of a run before may still be open.
        self.fly(std::iter::empty()).await
    }
}

/// The share of the keys that a first run sends.
#[derive(Debug)]
pub(super) struct Canary {
    share: f64,
    left: AtomicU64,
}

impl Canary {
    pub(super) fn new(share: f64) -> Self {
        Self { share, left: AtomicU64::new(0) }
    }

    /// The rows that are sent. Those in doubt were sent by a run before.
    pub(super) fn choose(&self, work: &Work) -> Result<Work> {
        let chosen = |row: &u32| {
            let row = *row as usize;
            // Key hashes are uniform.
            work.changes[row] == Change::InDoubt || (work.keys[row] >> 64) as u64 as f64 / 2_f64.powi(64) < self.share
        };
        let rows: Vec<u32> = (0..work.len() as u32).filter(chosen).collect();
        self.left.fetch_add((work.len() - rows.len()) as u64, Ordering::Relaxed);
        work.take(&rows)
    }

    /// Rows that are left to the next run, so far.
    pub(super) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Accounts for the rows that are left to the next run.
    pub(super) fn conclude(&self, report: &mut Report) {
        let reason = Reason::new("canary", None, "look at the records that were written; the next run sends the rest");
        report.totals.deferred += self.left();
        report.reasons.add_many(Outcome::Deferred, &reason, self.left(), None);
        if report.stop.is_none() && self.left() > 0 {
            report.stop = Some(Stop {
                kind: Kind::Cancelled,
                reason: "only a share of the keys is sent by the first run".into(),
                not_before: None::<Duration>,
            });
        }
    }
}

/// Leaves the exits of a first run to the next one.
pub(super) fn defer_exits(report: &mut Report, exits: u64) {
    let reason = Reason::new("initial_load", None, "nothing; the first run disposes of no records, the next one does");
    report.totals.exits.deferred += exits;
    report.exit_reasons.add_many(Outcome::Deferred, &reason, exits, None);
}
