//! How much of what a plan writes comes from a changed definition.

use std::fmt;

use super::grouped;
use crate::ids::FieldName;
use crate::state::Definition;

/// One difference between the definition of a sync and that of its last run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DefinitionChange {
    /// The model says another version of itself. Any field may change for it.
    ModelVersion {
        /// The version before.
        from: Option<String>,
        /// The version now.
        to: Option<String>,
    },
    /// A field was not mapped before.
    Added(FieldName),
    /// A field is no longer mapped. It stays at the destination as it is.
    Removed(FieldName),
    /// A field is to be emptied where this sync wrote it.
    Retired(FieldName),
    /// A field has another type.
    Type {
        /// The field.
        field: FieldName,
        /// The type before.
        from: String,
        /// The type now.
        to: String,
    },
    /// A field is filled in another way: from another column, or by other rules.
    Rule(FieldName),
}

impl DefinitionChange {
    /// The field whose values may change for it; `None` if none does, or any may.
    fn field(&self) -> Option<&FieldName> {
        match self {
            DefinitionChange::ModelVersion { .. } | DefinitionChange::Removed(_) => None,
            DefinitionChange::Added(field)
            | DefinitionChange::Retired(field)
            | DefinitionChange::Type { field, .. }
            | DefinitionChange::Rule(field) => Some(field),
        }
    }
}

impl fmt::Display for DefinitionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "no version".into());
        match self {
            DefinitionChange::ModelVersion { from, to } => write!(f, "model {} -> {}", version(from), version(to)),
            DefinitionChange::Added(field) => write!(f, "\"{field}\" added"),
            DefinitionChange::Removed(field) => write!(f, "\"{field}\" removed"),
            DefinitionChange::Retired(field) => write!(f, "\"{field}\" retired"),
            DefinitionChange::Type { field, from, to } => write!(f, "\"{field}\" {from} -> {to}"),
            DefinitionChange::Rule(field) => write!(f, "\"{field}\" filled in another way"),
        }
    }
}

/// What a change of the definition since the last run that was not cut short does to rows that the destination has.
/// Rows and fields that would have changed anyway are among those counted: nobody can tell them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlastRadius {
    /// No run was made yet: there is nothing that a change could hit.
    FirstRun,
    /// The definition is that of the last run.
    Unchanged,
    /// The definition changed.
    Changed {
        /// How.
        changes: Vec<DefinitionChange>,
        /// Known rows of which a field that the change concerns would be written.
        rows: u64,
        /// Those fields, over all of these rows.
        fields: u64,
        /// Rows besides of which it is not known what the destination has: their last fate is in doubt.
        unknown_rows: u64,
    },
    /// It cannot be known: the state begins anew, or was written by a version that kept no definition.
    Unknown,
}

impl fmt::Display for BlastRadius {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlastRadius::FirstRun => f.write_str("first run"),
            BlastRadius::Unchanged => f.write_str("as in the last run"),
            BlastRadius::Unknown => {
                f.write_str("unknown what changed since the last run, and how many rows it changes")
            }
            BlastRadius::Changed { changes, rows, fields, unknown_rows } => {
                for (i, change) in changes.iter().enumerate() {
                    write!(f, "{}{change}", if i == 0 { "" } else { ", " })?;
                }
                write!(f, "; changes {} rows, {} fields in all", grouped(*rows), grouped(*fields))?;
                match unknown_rows {
                    0 => Ok(()),
                    rows => write!(f, "; unknown for {} more rows", grouped(*rows)),
                }
            }
        }
    }
}

/// What changed from one definition to the next.
pub(crate) fn compare(old: &Definition, new: &Definition) -> Vec<DefinitionChange> {
    let mut changes = Vec::new();
    if old.model_version != new.model_version {
        changes.push(DefinitionChange::ModelVersion { from: old.model_version.clone(), to: new.model_version.clone() });
    }
    for field in &new.fields {
        let name = field.name.clone();
        changes.push(match old.field(&name) {
            Some(before) if before == field => continue,
            Some(before) if field.retired && before.retired => continue,
            _ if field.retired => DefinitionChange::Retired(name),
            Some(before) if !before.retired && before.ty != field.ty => {
                DefinitionChange::Type { field: name, from: before.ty.clone(), to: field.ty.clone() }
            }
            Some(before) if !before.retired => DefinitionChange::Rule(name),
            _ => DefinitionChange::Added(name),
        });
    }
    let removed = old.fields.iter().filter(|field| !field.retired && new.field(&field.name).is_none());
    changes.extend(removed.map(|field| DefinitionChange::Removed(field.name.clone())));
    changes
}

/// Which of the mapped fields may have other values for these changes.
pub(crate) fn affected(changes: &[DefinitionChange], new: &Definition) -> Vec<bool> {
    let all = changes.iter().any(|change| matches!(change, DefinitionChange::ModelVersion { .. }));
    let named = |name: &FieldName| changes.iter().any(|change| change.field() == Some(name));
    new.fields.iter().map(|field| all || named(&field.name)).collect()
}
