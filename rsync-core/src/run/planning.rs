//! From a pipeline to a plan.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{Either, select};
use tracing::Instrument as _;

use crate::capability::{Capability, Operation};
use crate::destination::{KeyFolding, RemoteSchema, Target};
use crate::error::{Error, Kind, Problem, Result};
use crate::event::Event;
use crate::field_policy::FieldPolicy;
use crate::guard::{Baseline, PlanView, RunFigures, Verdict};
use crate::identity::{Fingerprints, KeyHasher};
use crate::ids::{AccountId, ColumnName, FieldName, RunId};
use crate::initial_load::InitialLoad;
use crate::mapping::{MappedField, NullRule, read_only};
use crate::model::missing_column;
use crate::pipeline::Pipeline;
use crate::plan::{
    BoundFrame, Builder, Carried, Chosen, CostEstimate, Enforced, ExitFrame, Found, Frame, GuardResult, Merger, Plan,
    PlanOptions, enforce, reads,
};
use crate::policy::operation_of;
use crate::record::FieldType;
use crate::seal::Sealer;
use crate::source::ReadRequest;
use crate::state::codec::Binding;
use crate::state::{Acknowledged, StateSession, bring_up};
use arrow::datatypes::SchemaRef;

use super::{columns, lifecycle};

/// Share of changed rows above which a field counts as changing all the time.
const RESTLESS: f64 = 0.9;
/// Known rows from which on a share means something.
const ENOUGH_ROWS: usize = 100;
/// Fields above which a mapping is called wide.
const WIDE: usize = 50;

impl Pipeline {
    pub(super) async fn plan_run(&self, run: RunId, options: &PlanOptions) -> Result<Plan> {
        let span = tracing::info_span!("plan", sync = %self.sync, %run);
        async {
            self.emit(run, &Event::PlanStarted);
            let capability = self.destination.capability(&self.target);
            let session: Arc<dyn StateSession> = Arc::from(self.store.acquire(&self.sync).await?);
            if !options.anew {
                bring_up(&*self.store, &self.sync, &*session).await?;
            }
            if !options.ignore_not_before {
                self.check_pause(&*session).await?;
            }
            let schema = self.source.schema().await?;
            let account = self.reading(|| self.destination.check(&self.target)).await?;
            // Only now: of an object that does not exist, the destination says so better.
            self.policy.validate(&capability)?;
            let remote = self.reading(|| self.destination.describe(&self.target)).await?;
            let (fields, enforced) = self.check_schemas(&schema, &remote, &capability)?;
            let names: Vec<FieldName> = fields.iter().map(|field| field.name.clone()).collect();
            let known = self.known(&*session, &names, options).await?;
            let sealer = Sealer::new(&self.hash_key, &self.sync);
            let carried = match options.anew {
                true => Carried::default(),
                false => Carried::load(&*session, &sealer, &names, &capability).await?,
            };
            let mut frame = self.frame(&fields, &enforced, &remote, &capability, &carried)?;
            frame.chosen = Chosen::new(options.resend.as_ref(), &known, &*session).await?;
            let definition = self.definition(&schema, &fields, &frame.fingerprints);
            if !options.accept_column_types {
                columns::check(known.definition.as_ref(), &definition)?;
            }
            let changes = lifecycle::changes(&known, &definition);
            frame.concerned = lifecycle::concerned(changes.as_deref(), &definition);
            let binding = self.binding(&known, &account, &frame.keys)?;
            if let Some(interrupted) = known.interrupted_run() {
                tracing::warn!(run = %interrupted, team = %self.owner.team, "the previous run was interrupted");
                self.emit(run, &Event::PreviousRunInterrupted { run: interrupted, owner: self.owner.clone() });
            }
            let initial = self.initial(&known, &*session).await?;
            let mut found = self.read_model(&frame, &known, &*session).await?;
            let preflight_reads = match self.preflight {
                Some(_) => self.preflight(&frame, &known, &*session, run, &mut found).await?,
                None => 0,
            };
            let blast_radius = lifecycle::blast_radius(&known, changes, &frame.concerned, &found);
            let mut cost = cost(&found, &capability, &enforced, initial);
            cost.reads += preflight_reads;
            let guards = self.judge(&found, &known);
            let mut warnings = warnings(&fields, &found, &known, &capability, &self.target, frame.operation);
            warnings.extend(lifecycle::abandoned(&known, &fields));
            if options.anew {
                let told = "the state begins anew: every row counts as new, and what the old state knows is given up";
                warnings.push(told.into());
            }
            let kept = frame.exits.as_ref().map(|exits| exits.left_as_they_are(&fields)).unwrap_or_default();
            let (kept, shared): (Vec<&MappedField>, Vec<&MappedField>) =
                kept.into_iter().partition(|field| field.policy == FieldPolicy::Overwrite);
            for (fields, why) in
                [(kept, "the destination cannot empty"), (shared, "by their policies, this sync does not own")]
            {
                let names: Vec<&str> = fields.into_iter().map(|field| field.name.as_str()).collect();
                if !names.is_empty() {
                    warnings.push(format!("{why} {}; exits leave it as it is", names.join(", ")));
                }
            }
            self.emit(
                run,
                &Event::Planned {
                    source_rows: found.counts.source_rows,
                    to_write: found.counts.to_write(),
                    requests: cost.requests,
                },
            );
            Ok(Plan {
                sync: self.sync.clone(),
                run,
                model: self.model.name().to_owned(),
                model_version: self.model.definition_version().map(str::to_owned),
                destination: format!("{} {}", self.destination.kind(), self.target.object),
                fields,
                enforced,
                initial,
                found: Box::new(found),
                cost,
                preflight_reads,
                guards,
                warnings,
                blast_radius,
                definition,
                binding,
                known: Box::new(known),
                session,
            })
        }
        .instrument(span)
        .await
    }

    /// All that does not fit between the model, the mapping and the destination, at once.
    pub(super) fn check_schemas(
        &self,
        schema: &SchemaRef,
        remote: &RemoteSchema,
        capability: &Capability,
    ) -> Result<(Vec<MappedField>, Vec<Enforced>)> {
        let mut problems = Vec::new();
        self.model.schema_problems(schema, &mut problems);
        if let Some(column) = self.exits.as_ref().and_then(|exits| exits.when.as_ref())
            && schema.field_with_name(column.as_str()).is_err()
        {
            problems.push(missing_column("exits.when", column, schema));
        }
        let match_on = self.target.match_on.as_str();
        let mut fields = match self.mapping.plan(schema, Some(remote)) {
            Ok(fields) => fields,
            Err(error) if !error.problems().is_empty() => {
                problems.extend_from_slice(error.problems());
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        if !fields.is_empty() && !fields.iter().any(|field| field.name.as_str() == match_on) {
            problems.push(Problem::new(
                "destination.match_on",
                format!("the field \"{match_on}\" is not mapped"),
                format!("map the column that holds its values to \"{match_on}\""),
            ));
        }
        if let Some(field) = fields.iter().find(|field| field.name.as_str() == match_on)
            && matches!(field.ty, FieldType::Float | FieldType::TextList)
        {
            problems.push(Problem::new(
                "destination.match_on",
                format!("a {} cannot identify a record", field.ty),
                "match on a text, a whole number or a decimal",
            ));
        }
        for field in fields.iter().filter(|field| field.on_null == Some(NullRule::Clear)) {
            let clearable = remote.field(field.name.as_str()).is_none_or(|remote| remote.clearable);
            let cause = match (capability.clears_fields, clearable) {
                (true, true) => continue,
                (false, _) => "a null clears the field, but the destination cannot empty fields",
                (true, false) => "a null clears the field, but the destination cannot empty this one",
            };
            let fix = "choose NullRule::Keep, a default or NullRule::Reject";
            problems.push(Problem::new(format!("mapping.{}", field.name), cause, fix));
        }
        for field in fields.iter().filter(|field| field.name.as_str() != match_on) {
            if remote.field(field.name.as_str()).is_some_and(|remote| remote.unique && !remote.writable) {
                problems.push(read_only(&format!("mapping.{}", field.name)));
            }
        }
        let operation = operation_of(&*self.policy);
        for field in fields.iter().filter(|field| field.name.as_str() != match_on) {
            if operation == Some(Operation::AddMember) {
                problems.push(Problem::new(
                    format!("mapping.{}", field.name),
                    "a membership carries no fields but the one that is matched on",
                    "take the field out of the mapping, or write it with a sync of its own",
                ));
            }
        }
        match remote.field(match_on) {
            None => problems.push(Problem::new(
                "destination.match_on",
                format!("the destination has no field \"{match_on}\""),
                "match on a field that exists and is unique there",
            )),
            // Many entries may be of one record.
            Some(field) if !field.unique && operation != Some(Operation::Append) => problems.push(Problem::new(
                "destination.match_on",
                format!("the field \"{match_on}\" is not unique at the destination"),
                "match on a field whose values are unique, or make it unique there",
            )),
            Some(_) => {}
        }
        let enforced = enforce(&fields, &self.target.match_on, remote, capability, &mut problems);
        if self.initial == InitialLoad::SeedFromDestination && capability.lookup_rows.is_none() {
            problems.push(Problem::new(
                "initial_load",
                "the destination cannot look up records, so the state cannot be seeded from it",
                "choose InitialLoad::SeedStateOnly, Canary or Send",
            ));
        }
        if let Some(Operation::Append | Operation::AddMember) = operation {
            let whole = "every entry and membership is a new one";
            for field in fields.iter().filter(|field| field.policy != FieldPolicy::Overwrite || field.retired) {
                let cause = format!("{whole}, so there is no value of the field that could be kept or emptied");
                problems.push(Problem::new(format!("mapping.{}", field.name), cause, "take the field's policy away"));
            }
            if self.initial == InitialLoad::SeedFromDestination {
                let cause = format!("{whole}, so there is nothing to compare rows with");
                problems.push(Problem::new("initial_load", cause, "choose InitialLoad::SeedStateOnly, Canary or Send"));
            }
            if self.preflight.is_some() {
                let cause = format!("{whole}, so there is no record to look up");
                problems.push(Problem::new("preflight", cause, "take the preflight away"));
            }
        }
        if self.preflight.is_some() && capability.lookup_rows.is_none() {
            problems.push(Problem::new(
                "preflight",
                "records of this destination cannot be looked up",
                "take the preflight away",
            ));
        }
        Error::from_problems(Kind::SchemaMismatch, "check model, mapping and destination", problems)?;
        // Whatever the rule says: without a value to match on there is nobody to write to.
        for field in fields.iter_mut().filter(|field| field.name.as_str() == match_on) {
            field.on_null = Some(NullRule::Reject);
        }
        Ok((fields, enforced))
    }

    pub(super) fn frame<'a>(
        &'a self,
        fields: &'a [MappedField],
        enforced: &[Enforced],
        remote: &RemoteSchema,
        capability: &Capability,
        carried: &'a Carried,
    ) -> Result<Frame<'a>> {
        let match_on = self.target.match_on.as_str();
        let match_index = fields.iter().position(|field| field.name.as_str() == match_on).unwrap_or_default();
        let folding = remote.field(match_on).map_or(KeyFolding::Exact, |field| field.folding);
        let key = self.model.key_columns();
        // Where the key itself is what records are matched on, one hash serves both.
        let matched = &fields[match_index];
        let direct = matches!(key, [column] if matched.from.as_ref() == Some(column))
            && matched.one_to_one
            && matched.normalisers == self.model.key_normalisers();
        let names: Vec<FieldName> = fields.iter().map(|field| field.name.clone()).collect();
        let fingerprints = Fingerprints::new(&self.hash_key, &names);
        let cleared = fingerprints.cleared(fields)?;
        let exits = self.exits.as_ref();
        let exits = exits
            .map(|exits| ExitFrame::new(exits, fields, match_index, !direct, remote, capability, &fingerprints))
            .transpose()?;
        let operation = operation_of(&*self.policy);
        // Entries and memberships are no records that a key could be bound to.
        let binds = !matches!(operation, Some(Operation::Append | Operation::AddMember));
        Ok(Frame {
            model: &self.model,
            mapping: &*self.mapping,
            fields,
            policy: &*self.policy,
            fingerprints,
            keys: KeyHasher::new(&self.hash_key, key, if direct { folding } else { KeyFolding::Exact })
                .with_normalisers(self.model.key_normalisers()),
            matched: (!direct)
                .then(|| KeyHasher::new(&self.hash_key, &[ColumnName::new(self.target.match_on.as_str())], folding)),
            match_index,
            bound: (!direct && binds).then(|| BoundFrame {
                // A record is looked up by its match value, so where fields are read first, rows go by it too.
                by_id: capability.update.is_some_and(|limits| limits.addressing.takes_ids()) && !reads(enforced),
                rebound: self.rebound,
            }),
            capability: *capability,
            enforced: enforced.to_vec(),
            cleared,
            exits,
            chosen: Chosen::None,
            concerned: Vec::new(),
            operation,
            carried,
        })
    }

    /// What the state must belong to.
    fn binding(&self, known: &Acknowledged, account: &AccountId, keys: &KeyHasher) -> Result<Binding> {
        let wanted = Binding {
            sync: self.sync.as_str().to_owned(),
            destination: self.destination.kind().to_owned(),
            account: account.as_str().to_owned(),
            object: self.target.object.clone(),
            match_on: self.target.match_on.as_str().to_owned(),
            key: keys.describe(),
            hash_key_check: self.hash_key.check(),
            epoch: known.binding.as_ref().map_or_else(|| self.randomness.next_u64(), |binding| binding.epoch),
        };
        let Some(stored) = &known.binding else { return Ok(wanted) };
        let mismatch = |part, stored: &str, wanted: &str, fix: &str| {
            Err(Error::new(Kind::StateMismatch, "open the state", "the state belongs to something else")
                .with_context("part", part)
                .with_context("state", stored)
                .with_context("sync", wanted)
                .with_remedy(fix))
        };
        for (part, stored, wanted) in [
            ("sync", &stored.sync, &wanted.sync),
            ("destination", &stored.destination, &wanted.destination),
            ("account", &stored.account, &wanted.account),
            ("object", &stored.object, &wanted.object),
            ("match_on", &stored.match_on, &wanted.match_on),
            ("key", &stored.key, &wanted.key),
        ] {
            if stored != wanted {
                return mismatch(
                    part,
                    stored,
                    wanted,
                    "set it back to what the state was made for, or give this sync a name of its own; if the change is \
                     meant, plan with PlanOptions::begin_anew, which sends every row once and disposes of nothing",
                );
            }
        }
        if stored.hash_key_check != wanted.hash_key_check {
            return mismatch(
                "hash key",
                "another key",
                "this key",
                "give the key that the state was made with; if it is lost, plan with PlanOptions::begin_anew",
            );
        }
        Ok(wanted)
    }

    async fn read_model(&self, frame: &Frame<'_>, known: &Acknowledged, session: &dyn StateSession) -> Result<Found> {
        let mut columns = self.mapping.columns();
        for column in self.model.columns().chain(self.exits.iter().filter_map(|exits| exits.when.as_ref())) {
            if !columns.contains(column) {
                columns.push(column.clone());
            }
        }
        let state: &dyn crate::state::StateRead = session;
        let mut builder = Builder::new(frame, known, state);
        builder.load_doubtful().await?;
        let mut merger = self.model.merge_rule().map(|merge| Merger::new(frame, merge, columns.clone()));
        let mut stream = self.source.read(ReadRequest::new(columns)).await?;
        let started = self.clock.monotonic();
        let mut interruption = self.interruption(started);
        while let Either::Left((extracted, _)) = select(stream.next(), &mut interruption).await {
            match (extracted, self.interrupted(started)) {
                (_, Some(error)) => return Err(error),
                (Some(extracted), None) => {
                    planted!(TruncatedDeletes => if self.exits.is_some() && extracted.is_err() {
                        return builder.finish().await;
                    });
                    match &mut merger {
                        Some(merger) => merger.add(extracted?)?,
                        None => builder.add(&extracted?).await?,
                    }
                }
                (None, None) => {
                    if let Some(merger) = merger {
                        merger.finish(&mut builder).await?;
                    }
                    return builder.finish().await;
                }
            }
        }
        Err(self
            .interrupted(started)
            .unwrap_or_else(|| Error::new(Kind::Cancelled, "plan", "the plan was interrupted")))
    }

    /// What this run does because it is the first: until a run was accepted, every run is.
    async fn initial(&self, known: &Acknowledged, session: &dyn StateSession) -> Result<InitialLoad> {
        let first = self.initial != InitialLoad::Send && !known.was_ever_accepted(session).await?;
        Ok(if first { self.initial } else { InitialLoad::Send })
    }

    fn judge(&self, found: &Found, known: &Acknowledged) -> Vec<GuardResult> {
        let accepted = known
            .runs
            .iter()
            .filter(|run| run.is_accepted())
            .map(|run| RunFigures { source_rows: run.source_rows, distinct: run.distinct, to_write: run.to_write })
            .collect();
        let baseline = Baseline { accepted };
        let view = PlanView {
            counts: &found.counts,
            field_changes: &found.field_changes,
            known_keys: known.acknowledged() as u64,
        };
        self.guards
            .iter()
            .map(|guard| GuardResult {
                guard: guard.name().to_owned(),
                hold: match guard.evaluate(&view, &baseline) {
                    Verdict::Pass => None,
                    Verdict::HoldRun { reason } => Some(reason),
                },
            })
            .collect()
    }
}

fn cost(found: &Found, capability: &Capability, enforced: &[Enforced], initial: InitialLoad) -> CostEstimate {
    let mut estimate = CostEstimate::default();
    let writes = found.operations.iter().map(|(operation, rows)| {
        let rows = match initial {
            InitialLoad::SeedStateOnly => 0,
            InitialLoad::Canary(share) => (*rows as f64 * share).ceil() as u64,
            InitialLoad::Send | InitialLoad::SeedFromDestination => *rows,
        };
        (*operation, rows)
    });
    let seeds = initial == InitialLoad::SeedFromDestination;
    let reads = enforced.iter().any(|enforced| matches!(enforced, Enforced::ByReading(_)));
    for (operation, rows) in writes.clone() {
        if let (Some(limits), Some(keys)) = (capability.limits(operation), capability.lookup_rows)
            && (seeds || (reads && operation != Operation::Create))
        {
            let (batch, keys) = (limits.max_rows.max(1) as u64, keys.max(1) as u64);
            estimate.reads += rows / batch * batch.div_ceil(keys) + (rows % batch).div_ceil(keys);
        }
    }
    for (operation, rows) in writes.chain(found.exits.operations.iter().copied()) {
        if let Some(limits) = capability.limits(operation) {
            estimate.requests += rows.div_ceil(limits.max_rows.max(1) as u64);
            estimate.at_least_requests |= limits.max_bytes.is_some();
        }
    }
    let calls = estimate.requests + estimate.reads;
    estimate.at_least = capability.rate.filter(|_| calls > 0).map(|rate| {
        let windows = (calls - 1) / u64::from(rate.requests.max(1));
        rate.per * u32::try_from(windows).unwrap_or(u32::MAX)
    });
    estimate.at_least = estimate.at_least.filter(|time| *time > Duration::ZERO);
    estimate
}

fn warnings(
    fields: &[MappedField],
    found: &Found,
    known: &Acknowledged,
    capability: &Capability,
    target: &Target,
    operation: Option<Operation>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let kept: Vec<&str> = fields
        .iter()
        .filter(|field| field.on_null == Some(NullRule::Keep) && field.name != target.match_on)
        .map(|field| field.name.as_str())
        .collect();
    // An entry stands for itself: there is nothing that it could empty.
    if !capability.keeps_absent_fields && !kept.is_empty() && operation != Some(Operation::Append) {
        warnings.push(format!(
            "the destination does not promise to keep fields that a row leaves out: a null in {} may empty it there",
            kept.join(", ")
        ));
    }
    if fields.len() > WIDE {
        warnings.push(format!("{} fields are mapped; every one of them can cause writes", fields.len()));
    }
    let known_rows = known.acknowledged();
    for change in found.field_changes.iter().filter(|_| known_rows >= ENOUGH_ROWS) {
        if change.rows as f64 > RESTLESS * known_rows as f64 {
            warnings.push(format!(
                "\"{}\" changes in nearly every row; a timestamp or counter that changes in every run sends every row in every run",
                change.field
            ));
        }
    }
    warnings
}
