//! Jobs that an earlier run left at the destination: asked after before anything is sent for their rows.

use std::collections::HashMap;
use std::time::Duration;

use super::engine::{Engine, Job};
use super::flight::{Flight, Settled};
use crate::capability::Operation;
use crate::error::Result;
use crate::plan::Work;
use crate::retry::Schedule;
use crate::state::OpenJob;
use crate::state::codec::{Ack, Status};

/// How the rows of a flight stand to the batch that an earlier run sent.
#[derive(Debug)]
pub(super) struct Adopted {
    /// The place of each row in that batch. Rows that left the model since have no row in the flight.
    places: Vec<usize>,
    /// Rows of that batch.
    len: usize,
    /// Hashes of the rows as they are now.
    current: Vec<u64>,
}

impl Adopted {
    /// What the state keeps of the whole batch. Of rows that left nobody learns the fate.
    fn expand(&self, operation: Operation, ack: &Ack) -> Ack {
        let unknown = if operation == Operation::Delete { Status::Leaving } else { Status::InDoubt };
        let mut rows: Vec<Option<usize>> = vec![None; self.len];
        for (row, place) in self.places.iter().enumerate() {
            rows[*place] = Some(row);
        }
        let mut whole = Ack::uniform(0, unknown);
        for row in &rows {
            whole.status.push(row.map_or(unknown, |row| ack.status[row]));
            whole.created.push(row.is_some_and(|row| ack.created[row]));
            whole.attempts.push(row.map_or(0, |row| ack.attempts[row]));
            whole.ids.push(row.map_or("", |row| ack.ids.get(row)));
        }
        whole.notes = ack.notes.clone();
        whole.notes.iter_mut().for_each(|note| note.row = self.places[note.row as usize] as u32);
        whole.notes.sort_by_key(|note| note.row);
        whole
    }
}

impl Engine<'_> {
    /// Takes over the jobs of earlier runs. `rows` are the rows of the model that they work on, as they are now.
    pub(super) fn adopt(&mut self, jobs: Vec<OpenJob>, rows: &Work) -> Result<()> {
        let places: HashMap<u128, u32> = rows.keys.iter().copied().zip(0..).collect();
        let now = self.pipeline.clock.monotonic();
        for job in jobs {
            let (mut picked, mut adopted) =
                (Vec::new(), Adopted { places: Vec::new(), len: job.keys.len(), current: Vec::new() });
            for (place, key) in job.keys.iter().enumerate() {
                if let Some(row) = places.get(key) {
                    picked.push(*row);
                    adopted.places.push(place);
                }
            }
            let mut work = rows.take(&picked)?;
            // What the job writes is what was sent.
            let sent = adopted.places.iter().map(|place| job.rows[*place]).collect();
            adopted.current = std::mem::replace(&mut work.hashes, sent);
            self.started_rows += work.len() as u64;
            tracing::info!(rows = work.len(), "asking after a job of an earlier run");
            let schedule = Schedule::new(self.pipeline.retry, now);
            let mut flight = Flight::new(job.operation, false, work, schedule, now, None);
            flight.job = Some(job.token.clone());
            flight.adopted = Some(adopted);
            let part = flight.parts.pop_front();
            self.flights.insert(job.sequence, flight);
            if let Some(mut part) = part {
                part.maybe_applied = true;
                self.poll_job(job.sequence, part, Job { token: job.token, since: now }, Duration::ZERO)?;
            }
        }
        Ok(())
    }
}

/// What the state keeps of a flight that has ended; `None` if a job still works on it, which the next run asks after.
pub(super) fn conclude(flight: &mut Flight) -> Option<Ack> {
    if flight.job.is_some() {
        return None;
    }
    let ack = flight.ack();
    let Some(adopted) = &flight.adopted else { return Some(ack) };
    let whole = adopted.expand(flight.operation, &ack);
    for (row, settled) in flight.settled.iter_mut().enumerate() {
        let is_settled = !matches!(settled, None | Some(Settled::InDoubt { .. }));
        if is_settled && adopted.current[row] != flight.work.hashes[row] {
            // The job wrote what the row was then.
            *settled = Some(Settled::Deferred { code: "changed_since" });
        }
    }
    Some(whole)
}
