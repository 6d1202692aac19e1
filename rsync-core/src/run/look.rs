//! Reading before writing: the records of a batch are looked up after the batch is cut and before its intent is staged,
//! so that little time lies between the look and the write.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute;
use arrow::datatypes::{Field, Schema};
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::FuturesUnordered;

use super::carried::Ready;
use super::decide::{Looked, Rules, Sighting, decide};
use super::engine::Engine;
use crate::capability::Operation;
use crate::destination::{Context, Found, LookupRequest, WriteBatch};
use crate::error::{Error, Kind, Result, Retry};
use crate::field_policy::FieldPolicy;
use crate::identity::Fingerprints;
use crate::ids::{FieldName, RunId};
use crate::limit::Sign;
use crate::mapping::MappedField;
use crate::pipeline::Pipeline;
use crate::plan::Enforced;
use crate::policy::Change;
use crate::record::{FieldType, Rows};
use crate::retry::{Next, Schedule};

/// A batch whose records have been looked up.
pub(super) struct Sighted {
    batch: Ready,
    looked: Result<Looked>,
}

/// What a run reads before it writes.
pub(super) struct Reading<'a> {
    fields: Vec<MappedField>,
    /// The policy of each field that the engine carries out.
    policies: Vec<FieldPolicy>,
    /// Those that the destination carries out.
    native: Vec<(FieldName, FieldPolicy)>,
    match_index: usize,
    /// Whether every row is compared with its record.
    all: bool,
    calls: Arc<AtomicU64>,
    pub(super) open: FuturesUnordered<BoxFuture<'a, Sighted>>,
    pub(super) done: VecDeque<Sighted>,
}

/// What of a batch is to be looked up.
pub(super) struct Question {
    rows: Vec<u32>,
    /// By their places in the mapping.
    fields: Vec<usize>,
}

impl Reading<'_> {
    /// With `all`, every field of every row is read.
    pub(super) fn new(pipeline: &Pipeline, fields: Vec<MappedField>, enforced: &[Enforced], all: bool) -> Self {
        let policies = enforced.iter().map(|enforced| match enforced {
            Enforced::ByReading(policy) => *policy,
            _ => FieldPolicy::Overwrite,
        });
        let native = fields.iter().zip(enforced).filter_map(|(field, enforced)| match enforced {
            Enforced::Natively(policy) => Some((field.name.clone(), *policy)),
            _ => None,
        });
        Self {
            policies: policies.collect(),
            native: native.collect(),
            match_index: fields.iter().position(|field| field.name == pipeline.target.match_on).unwrap_or_default(),
            fields,
            all,
            calls: Arc::default(),
            open: FuturesUnordered::new(),
            done: VecDeque::new(),
        }
    }

    /// Calls that were made.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Asks for the policies that the destination carries out.
    pub(super) fn with_policies(&self, batch: WriteBatch, exit: bool) -> WriteBatch {
        let replaces = matches!(batch.operation, Operation::Upsert | Operation::Update);
        if exit || !replaces { batch } else { batch.with_policies(self.native.clone()) }
    }
}

impl<'a> Engine<'a> {
    /// What of a batch has to be looked up; `None` if it can be sent as it is.
    pub(super) fn question(&self, batch: &Ready) -> Option<Question> {
        let Ready { operation, work, place } = batch;
        let (operation, reading) = (*operation, &self.reading);
        let (policies, fields) = (&reading.policies, 0..reading.fields.len());
        let exempt = self.exits.begun() || operation == Operation::Delete || work.ids.is_some() || place.is_some();
        self.capability.lookup_rows.filter(|_| !exempt)?;
        // A second time would act twice, so it must be known whether the first one did.
        let unsafe_again = !self.can_repeat(operation);
        let in_doubt = |row: usize| work.changes[row] == Change::InDoubt;
        let looked_at: Vec<usize> = fields
            .clone()
            .filter(|field| policies[*field] != FieldPolicy::Overwrite && operation != Operation::Create)
            .collect();
        let by_policy = |row: usize| {
            looked_at.iter().any(|field| {
                work.rows.presence(*field).is_none_or(|bits| bits.value(row))
                    || (in_doubt(row) && policies[*field] == FieldPolicy::CompareAndSet)
            })
        };
        let whole = reading.all || (unsafe_again && (0..work.len()).any(in_doubt));
        let rows: Vec<u32> = (0..work.len())
            .filter(|row| reading.all || (unsafe_again && in_doubt(*row)) || by_policy(*row))
            .map(|row| row as u32)
            .collect();
        let fields = if whole { fields.filter(|field| *field != reading.match_index).collect() } else { looked_at };
        (!rows.is_empty()).then_some(Question { rows, fields })
    }

    /// Looks up the records of a batch.
    pub(super) fn look(&mut self, batch: Ready, question: Question) -> Result<()> {
        let reading = &self.reading;
        let keys = batch.work.rows.take(&UInt32Array::from(question.rows.clone()))?;
        let keys = keys.batch().project(&[reading.match_index]);
        let keys = keys.map_err(|e| Error::new(Kind::Internal, "look up", "the keys are missing").with_source(e))?;
        let field = |index: &usize| (reading.fields[*index].name.clone(), reading.fields[*index].ty);
        let looker = Looker {
            pipeline: self.pipeline,
            run: self.run,
            keys: Rows::new(keys)?,
            fields: question.fields.iter().map(field).collect(),
            limit: self.capability.lookup_rows.unwrap_or(1).max(1),
            calls: Arc::clone(&reading.calls),
        };
        let look = async move {
            let looked = AssertUnwindSafe(looker.look(batch.work.len(), question)).catch_unwind().await;
            let looked = looked.unwrap_or_else(|_| {
                Err(Error::new(Kind::Internal, "look up", "the adapter panicked")
                    .with_context("code", "adapter_panic")
                    .with_remedy("this is a defect in the adapter; please report it"))
            });
            Sighted { batch, looked }
        };
        self.reading.open.push(look.boxed());
        Ok(())
    }

    /// Takes a batch whose records are known, and stages what is to be sent of it. `None` if nothing is.
    pub(super) fn stage_sighted(&mut self, sighted: Sighted) -> Result<Option<u64>> {
        let Sighted { batch: Ready { operation, work, place }, looked } = sighted;
        let looked = match looked {
            Ok(looked) => looked,
            Err(error) => {
                self.stop(error);
                return Ok(None);
            }
        };
        let creates = operation == Operation::Create;
        let overwrites;
        let rules = Rules {
            policies: if creates {
                overwrites = vec![FieldPolicy::Overwrite; self.reading.fields.len()];
                &overwrites
            } else {
                &self.reading.policies
            },
            match_index: self.reading.match_index,
            keeps_absent: self.capability.keeps_absent_fields,
            creates,
        };
        let decided = decide(work, &looked, &rules)?;
        for ((field, code), rows) in decided.kept {
            self.report.keep(&self.reading.fields[field].name, code, rows);
        }
        let sequence = self.stage(Ready { operation, work: decided.work, place })?;
        let Some(flight) = self.flights.get_mut(&sequence) else { return Ok(None) };
        flight.settle_unsent(decided.settled);
        if flight.parts.is_empty() {
            self.land(sequence)?;
            return Ok(None);
        }
        Ok(Some(sequence))
    }
}

/// The look-ups of one batch.
struct Looker<'a> {
    pipeline: &'a Pipeline,
    run: RunId,
    /// The keys that are asked after, one column.
    keys: Rows,
    fields: Vec<(FieldName, FieldType)>,
    limit: usize,
    calls: Arc<AtomicU64>,
}

impl Looker<'_> {
    /// The records of a batch of `n` rows.
    async fn look(&self, n: usize, question: Question) -> Result<Looked> {
        let mut sightings = vec![Sighting::Unasked; n];
        let mut values: Vec<RecordBatch> = Vec::new();
        let mut records = 0;
        let mut left: Vec<(usize, usize)> = (0..question.rows.len())
            .step_by(self.limit)
            .map(|from| (from, self.limit.min(question.rows.len() - from)))
            .rev()
            .collect();
        while let Some((from, len)) = left.pop() {
            let rows = &question.rows[from..from + len];
            let found = match self.ask(from, len).await {
                Ok(found) => found,
                // One record has a value that cannot be read; the others need not wait for it.
                Err(error) if error.kind() == Kind::SchemaMismatch && len > 1 => {
                    left.extend([(from + len / 2, len - len / 2), (from, len / 2)]);
                    continue;
                }
                Err(error) if error.kind() == Kind::SchemaMismatch => {
                    sightings[rows[0] as usize] = Sighting::Unreadable(error.context("field").map(FieldName::new));
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.check(&found, len)?;
            rows.iter().for_each(|row| sightings[*row as usize] = Sighting::Missing);
            for (at, matched) in (records..).zip(found.matches) {
                let sighting = &mut sightings[rows[matched.key] as usize];
                *sighting = match sighting {
                    Sighting::Missing => Sighting::One { at, id: matched.id },
                    _ => Sighting::Several,
                };
            }
            records += found.fields.len();
            values.push(found.fields.batch().clone());
        }
        let schema: Vec<Field> =
            self.fields.iter().map(|(name, ty)| Field::new(name.as_str(), ty.arrow(), true)).collect();
        let values =
            compute::concat_batches(&Arc::new(Schema::new(schema)), &values).map_err(|e| unfit().with_source(e))?;
        let values = Rows::new(values)?;
        let names: Vec<FieldName> = self.fields.iter().map(|(name, _)| name.clone()).collect();
        let hashes = Fingerprints::new(&self.pipeline.hash_key, &names).fields(&values);
        Ok(Looked { sightings, fields: question.fields, values, hashes })
    }

    /// One look-up, tried again as the retry policy allows.
    async fn ask(&self, from: usize, len: usize) -> Result<Found> {
        let clock = &*self.pipeline.clock;
        let mut schedule = Schedule::new(self.pipeline.retry, clock.monotonic());
        loop {
            self.pipeline.limiter.turn(clock).await;
            let permit = self.pipeline.admit()?;
            let keys = self.keys.slice(from, len);
            let request = LookupRequest::new(self.pipeline.target.clone(), keys, self.fields.clone());
            self.calls.fetch_add(1, Ordering::Relaxed);
            let cx = Context::new(self.run).with_attempt(schedule.attempt());
            let result = self.pipeline.destination.lookup(&cx, request).await;
            permit.settle(&result, Sign::Read, clock.monotonic(), self.pipeline.retry.give_up_after);
            let error = match result {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            if matches!(error.retry(), Retry::Never | Retry::Exhausted) {
                return Err(error);
            }
            let (now, asked) = (clock.monotonic(), error.delay());
            match schedule.next(now, asked, &*self.pipeline.randomness) {
                Next::Again(pause) => {
                    if let Some(asked) = asked {
                        // It is the caller who is asked to wait, not this batch.
                        self.pipeline.limiter.hold_until(now + asked);
                    }
                    clock.sleep(pause).await;
                }
                // The next run goes on after that pause.
                Next::TooLong(asked) => return Err(error.with_retry(Retry::After(asked))),
                Next::GiveUp => return Err(error.with_retry(Retry::Exhausted)),
            }
        }
    }

    /// Whether an answer is one to the question.
    fn check(&self, found: &Found, keys: usize) -> Result<()> {
        let schema = found.fields.schema();
        let fits = found.fields.len() == found.matches.len()
            && found.matches.iter().all(|matched| matched.key < keys)
            && schema.fields().len() == self.fields.len()
            && schema
                .fields()
                .iter()
                .zip(&self.fields)
                .all(|(is, (name, ty))| is.name() == name.as_str() && *is.data_type() == ty.arrow());
        if fits { Ok(()) } else { Err(unfit()) }
    }
}

fn unfit() -> Error {
    Error::new(Kind::Internal, "look up", "the adapter's answer is none to the question")
        .with_remedy("this is a defect in the adapter; please report it")
}
