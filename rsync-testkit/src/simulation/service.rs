//! A service that can fail in every way that a destination can, and the small adapter that speaks to it.
//!
//! The service answers by key, in any order; the adapter brings the results into the order of the rows, as the port
//! asks. Faults of the service are results that are missing or come twice; a broken adapter returns a wrong number of
//! outcomes.
//!
//! A new operation is a branch of [`World::apply`], a new field of a row an entry in [`sent`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::capability::{Capability, Operation};
use rsync_core::clock::Clock;
use rsync_core::destination::{Context, Found, LookupRequest, Quota, RemoteSchema, WriteBatch};
use rsync_core::ids::{AccountId, JobToken, RemoteId};
use rsync_core::outcome::{Effect, Receipt, RowOutcome};
use rsync_core::record::{Cell, Rows, Value};
use rsync_core::{Destination, Error, Kind, Result, Retry, Target};

use super::fault::FaultKind;
use super::history::Version;
use super::keys::schema;
use super::random::Stream;
use super::records::{Field, Sent};
use super::world::{Shared, World};

/// Jobs by token.
pub(super) type Jobs = BTreeMap<String, Job>;

/// A job of the service. What it does is done when it is made.
#[derive(Debug)]
pub(super) struct Job {
    /// Questions until it is done.
    polls: u64,
    rows: Vec<Sent>,
    outcomes: Vec<RowOutcome>,
    run: u64,
    version: Arc<Version>,
}

impl Job {
    /// Whether there was no record of `key`.
    pub(super) fn missed(&self, key: &str) -> bool {
        self.rows.iter().zip(&self.outcomes).any(|(row, outcome)| row.key == key && *outcome == RowOutcome::Missing)
    }

    /// What it says of `asked`, and the rows that it says it of. A later run asks after those that the model still has.
    fn answer(&self, asked: &[Sent]) -> (Vec<Sent>, Vec<RowOutcome>) {
        if asked.iter().map(|row| &row.key).eq(self.rows.iter().map(|row| &row.key)) {
            return (self.rows.clone(), self.outcomes.clone());
        }
        let told = self.rows.len() == self.outcomes.len();
        let answer = |asked: &Sent| {
            let known = self.rows.iter().zip(&self.outcomes).find(|(row, _)| told && row.key == asked.key);
            // It may have worked on a part of the batch only.
            known.map_or_else(|| (asked.clone(), RowOutcome::Unknown), |(row, outcome)| (row.clone(), outcome.clone()))
        };
        asked.iter().map(answer).unzip()
    }
}

#[derive(Debug)]
pub(super) struct SimulatedService(pub(super) Shared);

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fate {
    Fine,
    /// Nothing is applied, and this is answered.
    Fails(FaultKind),
    /// Everything is applied, the answer is lost.
    Lost,
}

/// A call that the service is working on. If it is dropped, its fate is unknown to everybody.
struct Call<'a> {
    shared: &'a Shared,
    rows: Vec<Sent>,
    answered: bool,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut world = self.shared.lock();
        world.oracle.left(&self.rows);
        if !self.answered {
            self.rows.iter().for_each(|row| world.oracle.is_uncertain(&row.key));
        }
    }
}

fn sent(batch: &WriteBatch, row: usize, world: &World) -> Result<Sent> {
    let id = batch.ids.as_ref().and_then(|ids| ids.get(row));
    let key = match id {
        Some(id) => world.records.key_of(id.as_str()),
        None => {
            let mut key = String::new();
            batch.key_text(row, &mut key)?;
            world.schedule.folding().folded(&key)
        }
    };
    let id = id.map(|id| id.as_str().to_owned());
    let mut sent = Sent { operation: batch.operation, key, id, name: Field::Absent, tier: Field::Absent };
    for (name, cell) in batch.rows.cells(row) {
        let field = match cell {
            Cell::Set(Value::Text(text)) => Field::Set(text.to_owned()),
            Cell::Clear => Field::Clear,
            _ => Field::Absent,
        };
        match name {
            "name" => sent.name = field,
            "tier" => sent.tier = field,
            _ => {}
        }
    }
    Ok(sent)
}

impl World {
    /// Takes a call, and decides what becomes of it.
    fn arrive(&mut self, cx: &Context, batch: &WriteBatch, rows: &[Sent], now: Duration) -> Fate {
        self.note((cx.attempt, rows, now));
        let (oracle, truth) = self.judge();
        oracle.arrived(cx, batch, rows, &truth, now);
        if let Some((used, limit)) = &mut self.quota {
            let before = *used;
            *used += 1;
            let limit = *limit;
            // Where calls are paced, one that was begun before others were tried again may come after them.
            if self.capability.rate.is_none() {
                self.oracle.quota_used(before, limit, rows);
            }
        }
        for (kind, percent) in [
            (FaultKind::NotSent, 12),
            (FaultKind::LostBefore, 10),
            (FaultKind::Garbled, 8),
            (FaultKind::RateLimited, 10),
            (FaultKind::LongPause, 4),
            (FaultKind::Revoked, 4),
            (FaultKind::QuotaUsedUp, 4),
            (FaultKind::UnknownBefore, 8),
        ] {
            if self.fires(kind, percent) {
                return Fate::Fails(kind);
            }
        }
        if self.fires(FaultKind::LostAfter, 10) { Fate::Lost } else { Fate::Fine }
    }

    /// The answer of a call that applied nothing.
    fn failure(&mut self, kind: FaultKind, rows: &[Sent], now: Duration) -> Result<Receipt> {
        let error = |kind, retry| Err(Error::new(kind, "write", "planted").with_retry(retry));
        match kind {
            FaultKind::NotSent => error(Kind::Unavailable, Retry::Backoff),
            FaultKind::LostBefore => {
                self.uncertain(rows);
                error(Kind::Unavailable, Retry::Ambiguous)
            }
            FaultKind::Garbled => error(Kind::Protocol, Retry::Never),
            FaultKind::RateLimited => {
                let pause = Duration::from_secs(1 + self.random(kind).below(120));
                rows.iter().for_each(|row| self.oracle.must_wait(&row.key, now + pause));
                error(Kind::RateLimited, Retry::After(pause))
            }
            FaultKind::LongPause => {
                self.oracle.is_over("a pause that is longer than a run");
                error(Kind::RateLimited, Retry::After(Duration::from_secs(3600)))
            }
            FaultKind::Revoked => {
                self.oracle.is_over("the credentials were revoked");
                error(Kind::Unauthenticated, Retry::Never)
            }
            FaultKind::QuotaUsedUp => {
                self.oracle.is_over("the quota was used up");
                error(Kind::QuotaExhausted, Retry::Never)
            }
            _ => {
                self.uncertain(rows);
                Ok(Receipt::Settled(vec![RowOutcome::Unknown; rows.len()]))
            }
        }
    }

    fn next_job(&mut self) -> JobToken {
        self.jobs_begun += 1;
        JobToken::new(format!("job-{}", self.jobs_begun))
    }

    fn uncertain(&mut self, rows: &[Sent]) {
        rows.iter().for_each(|row| self.oracle.is_uncertain(&row.key));
    }

    /// Whether the service refuses a row in this run, always.
    fn is_poison(&mut self, row: &Sent) -> bool {
        let mut random = Stream::of(self.schedule.seed(), &row.key, self.run());
        random.percent(8) && self.fires(FaultKind::PoisonRow, 100)
    }

    /// Does what a row asks for, and tells what the service says of it.
    fn apply(&mut self, row: &Sent) -> RowOutcome {
        let exists = self.records.get(&row.key).is_some_and(|record| row.id.as_ref().is_none_or(|id| *id == record.id));
        match (row.operation, exists) {
            (Operation::Create, true) => return RowOutcome::Exists,
            (Operation::Update | Operation::Delete, false) => return RowOutcome::Missing,
            (Operation::Delete, true) => self.records.remove(&row.key),
            (_, true) => self.records.change(row, self.capability.keeps_absent_fields),
            (_, false) => self.records.make(row),
        }
        let (tells_effect, tells_id) = self.schedule.tells();
        let effect = match exists {
            _ if !tells_effect => Effect::Unspecified,
            true => Effect::Updated,
            false => Effect::Created,
        };
        let id = self.records.get(&row.key).filter(|_| tells_id).map(|record| RemoteId::new(record.id.clone()));
        RowOutcome::written(effect, id)
    }

    /// Applies a call, and answers by key.
    fn work(&mut self, rows: &[Sent], now: Duration) -> Result<Vec<(String, RowOutcome)>> {
        if !self.capability.per_row_outcomes && rows.iter().any(|row| self.is_poison(row)) {
            let (oracle, truth) = self.judge();
            match rows {
                [row] => oracle.is_refused(row, &truth),
                _ => oracle.is_split(),
            }
            return Err(Error::new(Kind::Rejected, "write", "planted").with_context("code", "POISON"));
        }
        let per_row = self.capability.per_row_outcomes;
        let again = per_row && self.fires(FaultKind::RowsRetryable, 12);
        let refuse = per_row && self.fires(FaultKind::RowsRejected, 12);
        let mut random = self.random(FaultKind::RowsRetryable);
        let pause = random.percent(30).then(|| Duration::from_secs(1 + random.below(60)));
        let mut results = Vec::with_capacity(rows.len());
        for row in rows {
            let pick = random.below(3);
            let outcome = if again && pick == 0 {
                RowOutcome::Retryable { code: "LOCKED".into(), after: pause }
            } else if refuse && pick == 1 {
                let (oracle, truth) = self.judge();
                oracle.is_refused(row, &truth);
                RowOutcome::rejected("REFUSED", None, "planted")
            } else {
                self.apply(row)
            };
            results.push((row.key.clone(), outcome));
        }
        if self.fires(FaultKind::ResultsMissing, 10) {
            let keep = self.random(FaultKind::ResultsMissing).below(rows.len() as u64) as usize;
            results.truncate(keep);
        }
        if self.fires(FaultKind::ResultsDoubled, 10) {
            let pick = self.random(FaultKind::ResultsDoubled).below(results.len().max(1) as u64) as usize;
            let double = results.get(pick).map(|(key, _)| (key.clone(), RowOutcome::Unknown));
            results.extend(double);
            results.push(("a key that nobody asked for".into(), RowOutcome::written(Effect::Created, None)));
        }
        Stream::of(self.schedule.seed(), "order", now.as_nanos() as u64).disorder(&mut results);
        Ok(results)
    }

    /// The adapter's half: outcomes in the order of the rows.
    fn outcomes(&mut self, rows: &[Sent], results: Vec<(String, RowOutcome)>) -> Vec<RowOutcome> {
        let mut by_key: BTreeMap<String, RowOutcome> = BTreeMap::new();
        for (key, outcome) in results {
            let outcome = match by_key.remove(&key) {
                Some(other) => other.worst(outcome),
                None => outcome,
            };
            by_key.insert(key, outcome);
        }
        let mut outcomes: Vec<RowOutcome> =
            rows.iter().map(|row| by_key.remove(&row.key).unwrap_or(RowOutcome::Unknown)).collect();
        if self.fires(FaultKind::UnknownAfter, 8) {
            outcomes.fill(RowOutcome::Unknown);
        }
        if self.fires(FaultKind::OutcomesMissing, 8) {
            outcomes.pop();
        // Both at once would be an answer of the right length, and a lie that nobody can see.
        } else if self.fires(FaultKind::OutcomesExtra, 8) {
            outcomes.push(RowOutcome::written(Effect::Created, None));
        }
        outcomes
    }

    /// Tells the oracle what the engine learns now.
    fn told(&mut self, rows: &[Sent], outcomes: &[RowOutcome], now: Duration) {
        self.told_of(rows, outcomes, &vec![true; rows.len()], now);
    }

    /// As [`World::told`]; the rows that do not count were done for a run before.
    fn told_of(&mut self, rows: &[Sent], outcomes: &[RowOutcome], counts: &[bool], now: Duration) {
        let complete = rows.len() == outcomes.len();
        let (oracle, truth) = self.judge();
        let outcomes = outcomes.iter().map(Some).chain(std::iter::repeat(None));
        for ((row, counts), outcome) in rows.iter().zip(counts).zip(outcomes) {
            match outcome.filter(|_| complete) {
                Some(RowOutcome::Written { .. } | RowOutcome::Missing) if !counts => {}
                Some(RowOutcome::Written { .. }) => oracle.is_done(row, true, &truth),
                Some(RowOutcome::Missing) => oracle.is_done(row, false, &truth),
                Some(RowOutcome::Unknown) | None => oracle.is_uncertain(&row.key),
                Some(RowOutcome::Retryable { after: Some(pause), .. }) => oracle.must_wait(&row.key, now + *pause),
                _ => {}
            }
        }
    }
}

impl SimulatedService {
    fn reading(&self) -> Result<()> {
        if self.0.lock().fires(FaultKind::ReadFails, 20) {
            return Err(Error::new(Kind::Unavailable, "read", "planted").with_retry(Retry::Backoff));
        }
        Ok(())
    }

    fn latency(&self) -> Duration {
        let mut world = self.0.lock();
        let slow = world.fires(FaultKind::SlowAnswer, 10);
        let half = if slow { 60_000 } else { 5 };
        Duration::from_millis(half + world.random(FaultKind::SlowAnswer).below(20))
    }

    /// Moves the wall clock by up to a year, back or forth. Nothing may depend on it.
    fn jump(&self) {
        let mut world = self.0.lock();
        if world.fires(FaultKind::WallJump, 15) {
            let seconds = world.random(FaultKind::WallJump).below(2 * 31_536_000);
            self.0.clock.set_wall(Duration::from_secs(1_672_531_200 + seconds));
        }
    }
}

#[async_trait]
impl Destination for SimulatedService {
    fn kind(&self) -> &'static str {
        "simulated"
    }

    fn capability(&self, _target: &Target) -> Capability {
        self.0.lock().capability
    }

    fn row_bytes(&self, _target: &Target, _operation: Operation, _rows: &Rows, _row: usize) -> usize {
        0
    }

    async fn check(&self, _target: &Target) -> Result<AccountId> {
        self.reading()?;
        Ok(AccountId::new("simulated"))
    }

    async fn describe(&self, _target: &Target) -> Result<RemoteSchema> {
        self.reading()?;
        Ok(schema(self.0.lock().schedule.folding()))
    }

    async fn lookup(&self, _cx: &Context, _request: LookupRequest) -> Result<Found> {
        Err(Error::new(Kind::Unsupported, "look up", "the simulated service cannot be read"))
    }

    async fn write(&self, cx: &Context, batch: WriteBatch) -> Result<Receipt> {
        let shared = &self.0;
        let (rows, fate) = {
            let mut world = shared.lock();
            let rows = (0..batch.len()).map(|row| sent(&batch, row, &world)).collect::<Result<Vec<_>>>()?;
            let fate = world.arrive(cx, &batch, &rows, shared.clock.monotonic());
            (rows, fate)
        };
        let mut call = Call { shared, rows, answered: false };
        self.jump();
        shared.step().await;
        shared.clock.sleep(self.latency()).await;
        let job = shared.lock().schedule.has_jobs() && fate == Fate::Fine;
        let token = shared.lock().next_job();
        if job {
            cx.checkpoint(token.clone()).await?;
        }
        let done = match fate {
            Fate::Fails(_) => None,
            Fate::Fine | Fate::Lost => Some(shared.lock().work(&call.rows, shared.clock.monotonic())),
        };
        shared.step().await;
        shared.clock.sleep(self.latency()).await;
        let mut world = shared.lock();
        call.answered = true;
        let now = shared.clock.monotonic();
        let answer = match (fate, done) {
            (Fate::Fails(kind), _) => world.failure(kind, &call.rows, now),
            (Fate::Lost, _) => {
                world.uncertain(&call.rows);
                Err(Error::new(Kind::Unavailable, "write", "planted").with_retry(Retry::Ambiguous))
            }
            (Fate::Fine, Some(Ok(results))) => {
                let outcomes = world.outcomes(&call.rows, results);
                if job {
                    let polls = if world.fires(FaultKind::JobStuck, 6) {
                        u64::MAX
                    } else if world.fires(FaultKind::JobPending, 50) {
                        1 + world.random(FaultKind::JobPending).below(4)
                    } else {
                        0
                    };
                    let (run, version) = (world.run(), Arc::clone(&world.version));
                    let job = Job { polls, rows: call.rows.clone(), outcomes, run, version };
                    world.jobs.insert(token.as_str().to_owned(), job);
                    Ok(Receipt::Pending(token))
                } else {
                    world.told(&call.rows, &outcomes, now);
                    Ok(Receipt::Settled(outcomes))
                }
            }
            (Fate::Fine, Some(Err(error))) => Err(error),
            (Fate::Fine, None) => Err(Error::new(Kind::Internal, "write", "a call without a fate")),
        };
        drop(world);
        answer
    }

    async fn resume(&self, _cx: &Context, batch: &WriteBatch, job: JobToken) -> Result<Receipt> {
        let now = self.0.clock.monotonic();
        let mut guard = self.0.lock();
        let world = &mut *guard;
        let rows = (0..batch.len()).map(|row| sent(batch, row, world)).collect::<Result<Vec<_>>>()?;
        if world.fires(FaultKind::JobSilent, 25) {
            return Err(Error::new(Kind::Unavailable, "resume", "planted").with_retry(Retry::Backoff));
        }
        let lost = world.fires(FaultKind::JobLost, 15);
        let disturbed = world.disturbed();
        match world.jobs.get_mut(job.as_str()).filter(|_| !lost) {
            None => {
                world.uncertain(&rows);
                Err(Error::new(Kind::NotFound, "resume", "the service knows no such job"))
            }
            // A stuck job says when to ask again, so that an hour of patience takes few questions.
            Some(stuck) if stuck.polls == u64::MAX && disturbed => {
                world.uncertain(&rows);
                let pause = Duration::from_secs(1200);
                Err(Error::new(Kind::Unavailable, "resume", "planted").with_retry(Retry::After(pause)))
            }
            Some(done) if done.polls == 0 || done.polls == u64::MAX => {
                let (rows, outcomes) = done.answer(&rows);
                let (run, before) = (done.run, Arc::clone(&done.version));
                // A row that has changed since the job was made is left to the next run.
                let counts = |row: &Sent| {
                    run == world.run() || before.syncable.get(&row.key) == world.version.syncable.get(&row.key)
                };
                let counts: Vec<bool> = rows.iter().map(counts).collect();
                if rows.len() == outcomes.len() {
                    let known = |(_, outcome): &(&Sent, &RowOutcome)| **outcome != RowOutcome::Unknown;
                    let known = rows.iter().zip(&outcomes).filter(known);
                    known.for_each(|(row, _)| world.oracle.is_certain(&row.key));
                }
                world.told_of(&rows, &outcomes, &counts, now);
                Ok(Receipt::Settled(outcomes))
            }
            Some(pending) => {
                pending.polls -= 1;
                Ok(Receipt::Pending(job))
            }
        }
    }

    fn quota(&self) -> Option<Quota> {
        self.0.lock().quota.map(|(used, limit)| Quota::new(used, limit))
    }
}
