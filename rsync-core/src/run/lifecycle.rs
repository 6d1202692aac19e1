//! Which state a plan is made against, and under which definition.

use std::sync::PoisonError;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::columns;
use crate::error::{Error, Kind, Result};
use crate::guard::Counts;
use crate::identity::Fingerprints;
use crate::ids::{FieldName, KeyHash};
use crate::mapping::MappedField;
use crate::pipeline::Pipeline;
use crate::plan::{BlastRadius, Carried, DefinitionChange, Found, PlanOptions, affected, compare};
use crate::state::{Acknowledged, DefinedField, Definition, StateMark, StateRead};

impl Pipeline {
    /// The state to compare with.
    pub(super) async fn known(
        &self,
        state: &dyn StateRead,
        names: &[FieldName],
        options: &PlanOptions,
    ) -> Result<Acknowledged> {
        if options.anew {
            let mut known = Acknowledged::anew(state, names).await?;
            // A host whose run is cut off keeps the mark of the state that was replaced.
            known.origin.extend(self.expected().map(|mark| mark.epoch));
            known.origin.dedup();
            return Ok(known);
        }
        let known = Acknowledged::load(state, names).await?;
        self.check_expected(&known)?;
        Ok(known)
    }

    /// The hashes by which the state and the reports of this sync know rows, of rows whose keys are known: for
    /// [`Resend::Keys`](crate::plan::Resend::Keys), and to find a row of a report. `keys` holds the model's key columns,
    /// with the types that the model has; `None` where a part of a key is null or blank. Asks the destination how it
    /// compares keys.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::plan`] as far as model, mapping and destination are concerned; [`Kind::SourceIncomplete`] if a key
    /// column is missing.
    pub async fn key_hashes(&self, keys: &RecordBatch) -> Result<Vec<Option<KeyHash>>> {
        let capability = self.destination.capability(&self.target);
        let schema = self.source.schema().await?;
        let remote = self.reading(|| self.destination.describe(&self.target)).await?;
        let (fields, enforced) = self.check_schemas(&schema, &remote, &capability)?;
        self.frame(&fields, &enforced, &remote, &capability, &Carried::default())?.keys.hash(keys)
    }

    fn expected(&self) -> Option<StateMark> {
        *self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A host that expects a state expects it to come as far as the pipeline's own runs bring it.
    pub(super) fn expect(&self, mark: StateMark) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        *expected = expected.map(|_| mark);
    }

    fn check_expected(&self, known: &Acknowledged) -> Result<()> {
        let Some(expected) = self.expected() else { return Ok(()) };
        let (cause, found) = match known.mark() {
            None => ("the state is gone", None),
            Some(mark) if mark.epoch == expected.epoch && mark.runs < expected.runs => {
                ("the state is an older copy: it does not know what was written since", Some(mark))
            }
            Some(mark) if mark.epoch != expected.epoch && !known.origin.contains(&expected.epoch) => {
                ("the state is not the one that the last run left", Some(mark))
            }
            Some(_) => return Ok(()),
        };
        let found = found.map_or_else(|| "none".to_owned(), |mark| mark.to_string());
        Err(Error::new(Kind::StateLost, "open the state", cause)
            .with_context("expected", expected)
            .with_context("found", found)
            .with_remedy(
                "bring back the state that the last run left; if it is gone for good, plan with \
                 PlanOptions::begin_anew, which sends every row once and disposes of nothing; if this state is the right \
                 one, give expect_state its mark",
            ))
    }

    /// What a run under these fields writes.
    pub(super) fn definition(
        &self,
        schema: &SchemaRef,
        fields: &[MappedField],
        fingerprints: &Fingerprints,
    ) -> Definition {
        let mut names: Vec<_> =
            self.model.key_columns().iter().chain(fields.iter().filter_map(|f| f.from.as_ref())).collect();
        names.sort_unstable();
        names.dedup();
        let field = |field: &MappedField| DefinedField {
            name: field.name.clone(),
            ty: field.ty.to_string(),
            rule: fingerprints.rule(&format!("{:?} {:?} {}", field.from, field.on_null, field.rule)),
            retired: field.retired,
        };
        Definition {
            model_version: self.model.definition_version().map(str::to_owned),
            fields: fields.iter().map(field).collect(),
            columns: names.into_iter().filter_map(|name| columns::defined(schema, name)).collect(),
        }
    }
}

/// How the definition changed since the last run; `None` if that is not known.
pub(super) fn changes(known: &Acknowledged, definition: &Definition) -> Option<Vec<DefinitionChange>> {
    known.definition.as_ref().map(|old| compare(old, definition))
}

/// Which of the mapped fields the changes concern.
pub(super) fn concerned(changes: Option<&[DefinitionChange]>, definition: &Definition) -> Vec<bool> {
    affected(changes.unwrap_or_default(), definition)
}

/// What the changes do.
pub(super) fn blast_radius(
    known: &Acknowledged,
    changes: Option<Vec<DefinitionChange>>,
    concerned: &[bool],
    found: &Found,
) -> BlastRadius {
    match changes {
        _ if known.binding.is_none() && known.replaces.is_empty() => BlastRadius::FirstRun,
        None => BlastRadius::Unknown,
        Some(changes) if changes.is_empty() => BlastRadius::Unchanged,
        Some(changes) => {
            let fields = found.field_changes.iter().zip(concerned).filter(|(_, concerned)| **concerned);
            let Counts { in_doubt, unresolved, .. } = found.counts;
            BlastRadius::Changed {
                changes,
                rows: found.concerned_rows,
                fields: fields.map(|(change, _)| change.rows).sum(),
                unknown_rows: in_doubt + unresolved,
            }
        }
    }
}

/// Fields that the destination has from this sync and that nobody maps any more. Told once: the next definition no
/// longer knows them.
pub(super) fn abandoned(known: &Acknowledged, fields: &[MappedField]) -> Option<String> {
    let before: Vec<&FieldName> = match (&known.definition, known.field_lists.last_key_value()) {
        (Some(old), _) => old.fields.iter().filter(|field| !field.retired).map(|field| &field.name).collect(),
        (None, Some((_, list))) => list.iter().collect(),
        (None, None) => Vec::new(),
    };
    let gone = before.into_iter().filter(|name| !fields.iter().any(|field| field.name == **name));
    let gone: Vec<&str> = gone.map(FieldName::as_str).collect();
    (!gone.is_empty()).then(|| {
        format!(
            "no longer mapped: {}; what was written there stays, unless the mapping retires the field \
             (FieldMap::retired)",
            gone.join(", ")
        )
    })
}
