//! From a pipeline to a plan.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{Either, select};
use tracing::Instrument as _;

use crate::capability::Capability;
use crate::destination::{KeyFolding, RemoteSchema, Target};
use crate::error::{Error, Kind, Problem, Result};
use crate::event::Event;
use crate::guard::{Baseline, PlanView, RunFigures, Verdict};
use crate::identity::{Fingerprints, KeyHasher};
use crate::ids::{AccountId, ColumnName, FieldName, RunId};
use crate::mapping::{MappedField, NullRule, read_only};
use crate::model::missing_column;
use crate::pipeline::Pipeline;
use crate::plan::{Builder, CostEstimate, ExitFrame, Found, Frame, GuardResult, Plan};
use crate::record::FieldType;
use crate::source::ReadRequest;
use crate::state::codec::Binding;
use crate::state::{Acknowledged, StateSession};
use arrow::datatypes::SchemaRef;

/// Share of changed rows above which a field counts as changing all the time.
const RESTLESS: f64 = 0.9;
/// Known rows from which on a share means something.
const ENOUGH_ROWS: usize = 100;
/// Fields above which a mapping is called wide.
const WIDE: usize = 50;

impl Pipeline {
    pub(super) async fn plan_run(&self, run: RunId) -> Result<Plan> {
        let span = tracing::info_span!("plan", sync = %self.sync, %run);
        async {
            self.emit(run, &Event::PlanStarted);
            let capability = self.destination.capability(&self.target);
            self.policy.validate(&capability)?;
            let schema = self.source.schema().await?;
            let account = self.reading(|| self.destination.check(&self.target)).await?;
            let remote = self.reading(|| self.destination.describe(&self.target)).await?;
            let fields = self.check_schemas(&schema, &remote, &capability)?;
            let session: Arc<dyn StateSession> = Arc::from(self.store.acquire(&self.sync).await?);
            let names: Vec<FieldName> = fields.iter().map(|field| field.name.clone()).collect();
            let known = Acknowledged::load(&*session, &names).await?;
            let frame = self.frame(&fields, &remote, &capability)?;
            let binding = self.binding(&known, &account, &frame.keys)?;
            if let Some(interrupted) = known.interrupted_run() {
                tracing::warn!(run = %interrupted, team = %self.owner.team, "the previous run was interrupted");
                self.emit(run, &Event::PreviousRunInterrupted { run: interrupted, owner: self.owner.clone() });
            }
            let found = self.read_model(&frame, &known, &*session).await?;
            let cost = cost(&found, &capability);
            let guards = self.judge(&found, &known);
            let mut warnings = warnings(&fields, &found, &known, &capability, &self.target);
            let kept = frame.exits.as_ref().map(|exits| exits.left_as_they_are(&fields)).unwrap_or_default();
            if !kept.is_empty() {
                let kept: Vec<&str> = kept.into_iter().map(FieldName::as_str).collect();
                warnings.push(format!("the destination cannot empty {}; exits leave it as it is", kept.join(", ")));
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
                found,
                cost,
                guards,
                warnings,
                binding,
                known,
                session,
            })
        }
        .instrument(span)
        .await
    }

    /// All that does not fit between the model, the mapping and the destination, at once.
    fn check_schemas(
        &self,
        schema: &SchemaRef,
        remote: &RemoteSchema,
        capability: &Capability,
    ) -> Result<Vec<MappedField>> {
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
        match remote.field(match_on) {
            None => problems.push(Problem::new(
                "destination.match_on",
                format!("the destination has no field \"{match_on}\""),
                "match on a field that exists and is unique there",
            )),
            Some(field) if !field.unique => problems.push(Problem::new(
                "destination.match_on",
                format!("the field \"{match_on}\" is not unique at the destination"),
                "match on a field whose values are unique, or make it unique there",
            )),
            Some(_) => {}
        }
        Error::from_problems(Kind::SchemaMismatch, "check model, mapping and destination", problems)?;
        // Whatever the rule says: without a value to match on there is nobody to write to.
        for field in fields.iter_mut().filter(|field| field.name.as_str() == match_on) {
            field.on_null = Some(NullRule::Reject);
        }
        Ok(fields)
    }

    fn frame<'a>(
        &'a self,
        fields: &'a [MappedField],
        remote: &RemoteSchema,
        capability: &Capability,
    ) -> Result<Frame<'a>> {
        let match_on = self.target.match_on.as_str();
        let match_index = fields.iter().position(|field| field.name.as_str() == match_on).unwrap_or_default();
        let folding = remote.field(match_on).map_or(KeyFolding::Exact, |field| field.folding);
        let key = self.model.key_columns();
        // Where the key itself is what records are matched on, one hash serves both.
        let direct = matches!(key, [column] if fields[match_index].from.as_ref() == Some(column));
        let names: Vec<FieldName> = fields.iter().map(|field| field.name.clone()).collect();
        let fingerprints = Fingerprints::new(&self.hash_key, &names);
        let exits = self.exits.as_ref();
        let exits = exits
            .map(|exits| ExitFrame::new(exits, fields, match_index, !direct, remote, capability, &fingerprints))
            .transpose()?;
        Ok(Frame {
            model: &self.model,
            mapping: &*self.mapping,
            fields,
            policy: &*self.policy,
            fingerprints,
            keys: KeyHasher::new(&self.hash_key, key, if direct { folding } else { KeyFolding::Exact }),
            matched: (!direct)
                .then(|| KeyHasher::new(&self.hash_key, &[ColumnName::new(self.target.match_on.as_str())], folding)),
            match_index,
            capability: *capability,
            exits,
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
                    "give this sync a name of its own, or set it back to what the state was made for",
                );
            }
        }
        if stored.hash_key_check != wanted.hash_key_check {
            return mismatch("hash key", "another key", "this key", "give the key that the state was made with");
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
        let mut builder = Builder::new(frame, known, state)?;
        let mut stream = self.source.read(ReadRequest::new(columns)).await?;
        let started = self.clock.monotonic();
        let mut interruption = self.interruption(started);
        while let Either::Left((extracted, _)) = select(stream.next(), &mut interruption).await {
            match (extracted, self.interrupted(started)) {
                (_, Some(error)) => return Err(error),
                (Some(extracted), None) => builder.add(&extracted?).await?,
                (None, None) => return builder.finish().await,
            }
        }
        Err(self
            .interrupted(started)
            .unwrap_or_else(|| Error::new(Kind::Cancelled, "plan", "the plan was interrupted")))
    }

    fn judge(&self, found: &Found, known: &Acknowledged) -> Vec<GuardResult> {
        let accepted = known
            .runs
            .iter()
            .filter(|run| matches!(run.status.as_str(), "completed" | "incomplete" | "stopped"))
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

fn cost(found: &Found, capability: &Capability) -> CostEstimate {
    let mut estimate = CostEstimate::default();
    for (operation, rows) in found.operations.iter().chain(&found.exits.operations) {
        if let Some(limits) = capability.limits(*operation) {
            estimate.requests += rows.div_ceil(limits.max_rows.max(1) as u64);
            estimate.at_least_requests |= limits.max_bytes.is_some();
        }
    }
    estimate.at_least = capability.rate.filter(|_| estimate.requests > 0).map(|rate| {
        let windows = (estimate.requests - 1) / u64::from(rate.requests.max(1));
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
) -> Vec<String> {
    let mut warnings = Vec::new();
    let kept: Vec<&str> = fields
        .iter()
        .filter(|field| field.on_null == Some(NullRule::Keep) && field.name != target.match_on)
        .map(|field| field.name.as_str())
        .collect();
    if !capability.keeps_absent_fields && !kept.is_empty() {
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
