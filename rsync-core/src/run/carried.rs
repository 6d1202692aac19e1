//! The first part of a run: rows that earlier runs began to send and that the model cannot give back. And what is kept of
//! the rows of this run, so that the next one finds them.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use super::adoption;
use super::engine::Engine;
use super::flight::{Flight, Settled};
use crate::batch::Batcher;
use crate::capability::{Operation, WriteIdempotence};
use crate::error::Result;
use crate::ids::{KeyHash, Token};
use crate::outcome::{Effect, Outcome};
use crate::pipeline::Pipeline;
use crate::plan::{FoundCarried, OUTBOX_PAGE, Parcel, Reason, Work, is_kept};
use crate::policy::Change;
use crate::report::{CarriedTotals, Report};
use crate::seal::{Sealer, Tokens};
use crate::state::codec::{Intent, read_sequence_key};

/// The code of an entry that is not sent again because that may make a second one.
const POSSIBLE_DUPLICATE: &str = "possible_duplicate";
/// The code of a row that waits for an earlier entry of its key.
const EARLIER_ENTRY_OPEN: &str = "earlier_entry_open";

/// Where the rows of a flight are kept.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The record of the outbox.
    pub(super) sequence: u64,
    /// The rows in it, one a row of the flight.
    pub(super) rows: Vec<u32>,
    /// Whether an earlier run put them there.
    pub(super) carried: bool,
    /// Whether rows of this read stand for them: then their outcomes are those of the rows.
    pub(super) tied: bool,
}

/// Rows that are ready to be sent.
pub(super) struct Ready {
    pub(super) operation: Operation,
    pub(super) work: Work,
    /// Where the rows are kept already.
    pub(super) place: Option<Place>,
}

/// The outbox of a run.
pub(super) struct Outbox {
    sealer: Sealer,
    tokens: Tokens,
    found: FoundCarried,
    /// Records with a row in flight, or about to be.
    parcels: BTreeMap<u64, Parcel>,
    /// Carried rows that are sent next.
    ready: VecDeque<Ready>,
    /// Carried rows, but those that rows of the read stand for, that were begun or left in doubt.
    begun: u64,
    /// Keys with an entry that has to be sent before anything else of theirs.
    blocked: HashSet<u128>,
}

impl Outbox {
    pub(super) fn new(pipeline: &Pipeline, epoch: u64, found: FoundCarried) -> Self {
        Self {
            sealer: Sealer::new(&pipeline.hash_key, &pipeline.sync),
            tokens: Tokens::new(&pipeline.hash_key, &pipeline.sync, epoch),
            found,
            parcels: BTreeMap::new(),
            ready: VecDeque::new(),
            begun: 0,
            blocked: HashSet::new(),
        }
    }

    pub(super) fn take_ready(&mut self) -> VecDeque<Ready> {
        std::mem::take(&mut self.ready)
    }
}

impl Engine<'_> {
    /// Milliseconds since the Unix epoch.
    fn now(&self) -> u64 {
        self.pipeline.clock.wall().as_millis() as u64
    }

    /// Sends what earlier runs left, oldest first.
    pub(super) async fn fly_carried(&mut self) -> Result<()> {
        let mut from = Vec::new();
        loop {
            let page = self.journal.outbox(&from, OUTBOX_PAGE).await?;
            let mut keys: HashSet<u128> = HashSet::new();
            for (key, record) in &page {
                let sequence = read_sequence_key(key)?;
                let parcel = Parcel::open(sequence, record, &self.outbox.sealer)?;
                // Two entries of one key are never in flight together.
                if parcel.work.keys.iter().any(|key| keys.contains(key)) {
                    self.fly(std::iter::empty()).await?;
                    keys.clear();
                }
                keys.extend(&parcel.work.keys);
                self.prepare(sequence, parcel)?;
            }
            self.fly(std::iter::empty()).await?;
            self.outbox.parcels.clear();
            match page.last() {
                Some((key, _)) if page.len() == OUTBOX_PAGE && self.stop.is_none() => {
                    from = [key.as_slice(), &[0]].concat();
                }
                _ => return Ok(()),
            }
        }
    }

    /// Makes batches of a record; what must not be sent again stays where it is.
    fn prepare(&mut self, sequence: u64, parcel: Parcel) -> Result<()> {
        let now = self.now();
        let mut groups: BTreeMap<(bool, bool), Vec<u32>> = BTreeMap::new();
        for row in 0..parcel.work.len() {
            let tied = self.outbox.found.tied.contains(&(sequence, row as u32));
            let in_doubt = parcel.is_in_doubt(row);
            let safe = !in_doubt || self.is_remembered(parcel.work.operations[row], parcel.since[row], now);
            if safe || self.pipeline.policy.resends_in_doubt() {
                groups.entry((tied, in_doubt)).or_default().push(row as u32);
                continue;
            }
            *if tied { &mut self.started_rows } else { &mut self.outbox.begun } += 1;
            let reason = self.doubt(POSSIBLE_DUPLICATE, parcel.work.operations[row], parcel.since[row]);
            let key = Some(KeyHash(parcel.work.keys[row]));
            match tied {
                true => {
                    self.report.totals.in_doubt += 1;
                    self.report.reasons.add(Outcome::InDoubt, &reason, key);
                }
                false => {
                    self.report.totals.carried.in_doubt += 1;
                    self.report.carried_reasons.add(Outcome::InDoubt, &reason, key);
                }
            }
        }
        for ((tied, _), rows) in groups {
            let pipeline = self.pipeline;
            let mut batcher = Batcher::new(&*pipeline.destination, &pipeline.target, self.capability);
            let mut batches = batcher.push(&parcel.work.take(&rows)?)?;
            batches.extend(batcher.finish()?);
            // One operation a record, so the batches are the rows in their order.
            let mut rest = rows.as_slice();
            for (operation, work) in batches {
                let (rows, after) = rest.split_at(work.len());
                rest = after;
                let place = Place { sequence, rows: rows.to_vec(), carried: true, tied };
                self.outbox.ready.push_back(Ready { operation, work, place: Some(place) });
            }
        }
        self.outbox.parcels.insert(sequence, parcel);
        Ok(())
    }

    /// Whether the destination takes a row that it may have had since `since` for the same one.
    fn is_remembered(&self, operation: Operation, since: u64, now: u64) -> bool {
        let Some(limits) = self.capability.limits(operation) else { return false };
        match limits.idempotence {
            WriteIdempotence::ByKey => true,
            WriteIdempotence::ByToken => {
                let kept = is_kept(operation, Some(limits));
                let end = limits.token_retention.map(|time| since.saturating_add(time.as_millis() as u64));
                // Rows that are not kept go by key as well.
                !kept || end.is_none_or(|end| now < end)
            }
            WriteIdempotence::None => false,
        }
    }

    /// Whether a flight may be sent again after `pause` when its fate is unknown.
    pub(super) fn is_replayable(&self, flight: &Flight, pause: Duration) -> bool {
        self.is_remembered(flight.operation, flight.since, self.now() + pause.as_millis() as u64)
    }

    /// The wall clock from which on a flight must not be sent again if an attempt of unknown fate went before.
    pub(super) fn forgotten_at(&self, flight: &Flight) -> Option<Duration> {
        let limits = self.capability.limits(flight.operation)?;
        let remembers = limits.idempotence == WriteIdempotence::ByToken && flight.place.is_some();
        // A flight that was forgotten before it began is one that is to be sent nevertheless.
        let end = Duration::from_millis(flight.since) + limits.token_retention.filter(|_| remembers)?;
        Some(end).filter(|_| !flight.forced)
    }

    /// Why an entry is in doubt, and what becomes of it.
    fn doubt(&self, code: &str, operation: Operation, since: u64) -> Reason {
        if self.is_remembered(operation, since, self.now()) {
            return Reason::new(code, None, "nothing; the next run sends it again");
        }
        let fix = match self.pipeline.policy.resends_in_doubt() {
            true => "nothing; the next run sends it again, and the destination may then have it twice",
            false => {
                "look for the entry at the destination; to have it sent again at the risk of a second one: Append::resending"
            }
        };
        Reason::new(POSSIBLE_DUPLICATE, None, fix)
    }

    /// Why a row of a flight is in doubt.
    pub(super) fn why_in_doubt(&self, flight: &Flight, code: &str) -> Reason {
        match flight.place {
            Some(_) => self.doubt(code, flight.operation, flight.since),
            None => Reason::new(code, None, "nothing; the next run sends it again"),
        }
    }

    /// Begins a flight: stages its intent and, where its rows must not be lost, the rows.
    pub(super) fn stage_flight(
        &mut self,
        operation: Operation,
        work: &Work,
        place: Option<Place>,
        images: Vec<u64>,
    ) -> Result<(u64, Option<Place>)> {
        let now = self.now();
        if let Some(place) = place {
            // The record is the intent. What its keys come to is recorded when it is known.
            let sequence = self.journal.stage_intent(operation as u8 + 1, Vec::new(), Vec::new(), Vec::new());
            if let Some(parcel) = self.outbox.parcels.get_mut(&place.sequence) {
                place.rows.iter().for_each(|row| parcel.doubt(*row as usize, now));
            }
            self.stage_parcel(place.sequence)?;
            return Ok((sequence, Some(place)));
        }
        let sequence = self.journal.stage_intent(operation as u8 + 1, work.keys.clone(), work.hashes.clone(), images);
        if !is_kept(operation, self.capability.limits(operation)) {
            return Ok((sequence, None));
        }
        self.outbox.parcels.insert(sequence, Parcel::new(work.clone(), now));
        self.stage_parcel(sequence)?;
        let rows = (0..work.len() as u32).collect();
        Ok((sequence, Some(Place { sequence, rows, carried: false, tied: false })))
    }

    fn stage_parcel(&mut self, sequence: u64) -> Result<()> {
        let Some(parcel) = self.outbox.parcels.get(&sequence) else { return Ok(()) };
        let record = parcel.seal(sequence, &self.outbox.sealer, &*self.pipeline.randomness)?;
        self.journal.stage_outbox(sequence, record);
        Ok(())
    }

    /// Tokens of a flight's rows, where its operation has a use for them.
    pub(super) fn tokens(&self, operation: Operation, work: &Work, sequence: u64) -> Option<Vec<Token>> {
        let idempotence = self.capability.limits(operation).map(|limits| limits.idempotence);
        let wanted = operation == Operation::Append || idempotence == Some(WriteIdempotence::ByToken);
        let token = |(key, hash): (&u128, &u64)| self.outbox.tokens.token(operation, sequence, *key, *hash);
        wanted.then(|| work.keys.iter().zip(&work.hashes).map(token).collect())
    }

    /// Since when a flight may have been applied, milliseconds since the Unix epoch, and whether it is sent although the
    /// destination may act twice.
    pub(super) fn since(&self, work: &Work, place: Option<&Place>) -> (u64, bool) {
        let now = self.now();
        // Rows in doubt are sent apart from others, which may be sent at any time.
        let doubtful = place.filter(|place| place.carried && work.changes.contains(&Change::InDoubt));
        let since = doubtful.and_then(|place| {
            let parcel = self.outbox.parcels.get(&place.sequence)?;
            place.rows.iter().map(|row| parcel.since[*row as usize]).min()
        });
        let forced = |since| !work.operations.iter().all(|operation| self.is_remembered(*operation, since, now));
        (since.unwrap_or(now), self.pipeline.policy.resends_in_doubt() && since.is_some_and(forced))
    }

    /// Records what became of a flight, and keeps those of its rows that have to be sent again.
    pub(super) fn stage_landed(&mut self, sequence: u64, flight: &mut Flight) -> Result<()> {
        let Some(place) = &flight.place else {
            if let Some(ack) = adoption::conclude(flight) {
                self.journal.stage_ack(sequence, &ack);
            }
            return Ok(());
        };
        let ack = flight.ack();
        let mut known = Vec::new();
        for (row, (at, status)) in place.rows.iter().zip(&ack.status).enumerate() {
            let parcel = self.outbox.parcels.get_mut(&place.sequence);
            let open = parcel.is_some_and(|parcel| parcel.settle(*at as usize, *status));
            if open && place.carried {
                self.outbox.blocked.insert(flight.work.keys[row]);
            }
            if !open && self.outbox.found.current.contains(&(place.sequence, *at)) {
                known.push(row as u32);
            }
        }
        self.stage_parcel(place.sequence)?;
        if place.carried {
            // Of older entries, and of those that go on, the state says nothing new about the key.
            let work = flight.work.take(&known)?;
            let (operation, width, fields) = (flight.operation as u8 + 1, work.width() as u32, work.fields());
            let (keys, rows, images) = (work.keys, work.hashes, work.images);
            let intent = Intent { operation, fields: 0, width, keys, rows, images };
            self.journal.stage_late(sequence, intent, &fields)?;
            self.journal.stage_ack(sequence, &ack.take(&known));
        } else {
            self.outbox.parcels.remove(&place.sequence);
            self.journal.stage_ack(sequence, &ack);
        }
        Ok(())
    }

    /// Takes out rows that have to wait for an earlier entry of their key.
    pub(super) fn hold_back(&mut self, work: Work) -> Result<Work> {
        if self.outbox.blocked.is_empty() {
            return Ok(work);
        }
        let blocked = |row: &u32| self.outbox.blocked.contains(&work.keys[*row as usize]);
        let (waiting, free): (Vec<u32>, Vec<u32>) = (0..work.len() as u32).partition(blocked);
        let reason = Reason::new(EARLIER_ENTRY_OPEN, None, "nothing; it is sent once the earlier entry is settled");
        let exit = self.exits.begun();
        let rows = waiting.len() as u64;
        *if exit { &mut self.exits.started_rows } else { &mut self.started_rows } += rows;
        let totals = &mut self.report.totals;
        *if exit { &mut totals.exits.deferred } else { &mut totals.deferred } += rows;
        let reasons = if exit { &mut self.report.exit_reasons } else { &mut self.report.reasons };
        for row in waiting {
            reasons.add(Outcome::Deferred, &reason, Some(KeyHash(work.keys[row as usize])));
        }
        work.take(&free)
    }

    /// Counts rows that are begun.
    pub(super) fn count_begun(&mut self, rows: u64, place: Option<&Place>) {
        let begun = match place {
            _ if self.exits.begun() => &mut self.exits.started_rows,
            Some(place) if place.carried && !place.tied => &mut self.outbox.begun,
            _ => &mut self.started_rows,
        };
        *begun += rows;
    }

    /// Carried rows that the run did not come to.
    pub(super) fn carried_left(&self) -> u64 {
        self.outbox.found.rows.saturating_sub(self.outbox.begun)
    }

    /// Counts the outcomes of a flight of carried rows.
    pub(super) fn count_carried(&mut self, flight: &Flight) {
        for (row, settled) in flight.settled.iter().enumerate() {
            let code = match settled {
                Some(Settled::InDoubt { code }) => code.as_str(),
                _ => "run_stopped",
            };
            let doubt = self.why_in_doubt(flight, code);
            count_one(&mut self.report, settled.as_ref(), doubt, KeyHash(flight.work.keys[row]));
        }
    }
}

fn count_one(report: &mut Report, settled: Option<&Settled>, doubt: Reason, key: KeyHash) {
    let totals: &mut CarriedTotals = &mut report.totals.carried;
    let again = "nothing; the next run sends it again";
    let (count, outcome, reason) = match settled {
        Some(Settled::Written { effect, .. }) => {
            totals.written += 1;
            totals.created += u64::from(*effect == Effect::Created);
            return;
        }
        // The destination had it already.
        Some(Settled::Unchanged | Settled::Found { .. }) => {
            totals.written += 1;
            return;
        }
        Some(settled @ (Settled::Missing | Settled::Exists)) => {
            (&mut totals.skipped, Outcome::Skipped, super::exits::left_alone(settled))
        }
        Some(Settled::Rejected { code, field, fix }) => {
            let field = field.as_ref().map(|field| field.as_str().to_owned());
            (&mut totals.rejected, Outcome::Rejected, Reason::new(code.clone(), field, fix))
        }
        Some(Settled::Failed { code }) => (&mut totals.failed, Outcome::Failed, Reason::new(code.clone(), None, again)),
        Some(Settled::Deferred { code }) => (&mut totals.deferred, Outcome::Deferred, Reason::new(*code, None, again)),
        // A carried entry goes by key, so its record cannot be lost.
        Some(Settled::InDoubt { .. } | Settled::Lost) | None => (&mut totals.in_doubt, Outcome::InDoubt, doubt),
    };
    *count += 1;
    report.carried_reasons.add(outcome, &reason, Some(key));
}
