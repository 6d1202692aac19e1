//! By whom the policy of each field is carried out.

use crate::capability::Capability;
use crate::destination::RemoteSchema;
use crate::error::Problem;
use crate::field_policy::FieldPolicy;
use crate::ids::FieldName;
use crate::mapping::{MappedField, NullRule};

/// By whom a field's policy is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enforced {
    /// There is nothing to carry out.
    Nowhere,
    /// The plan, by the state.
    ByState,
    /// The destination.
    Natively(FieldPolicy),
    /// The engine, by reading before writing.
    ByReading(FieldPolicy),
}

/// By whom the policy of each field in `fields` is carried out; what cannot be is a problem.
pub(crate) fn enforce(
    fields: &[MappedField],
    match_on: &FieldName,
    remote: &RemoteSchema,
    capability: &Capability,
    problems: &mut Vec<Problem>,
) -> Vec<Enforced> {
    fields
        .iter()
        .map(|field| {
            let policy = field.policy;
            let mut problem =
                |cause: String, fix: &str| problems.push(Problem::new(format!("mapping.{}", field.name), cause, fix));
            if policy == FieldPolicy::Overwrite {
                return Enforced::Nowhere;
            }
            if field.name == *match_on {
                problem(format!("records are matched on it, so it cannot be {policy}"), "take the policy away");
                return Enforced::Nowhere;
            }
            if !policy.fits(field.ty) {
                let fix = match policy {
                    FieldPolicy::SetUnion => "map a text list, or choose another policy",
                    _ => "map a number, a day or a moment, or choose another policy",
                };
                problem(format!("{policy} means nothing for a {}", field.ty), fix);
            }
            if field.on_null == Some(NullRule::Clear) && policy != FieldPolicy::CompareAndSet {
                let cause = format!("a null clears the field, but {policy} never empties one");
                problem(cause, "choose NullRule::Keep, a default or NullRule::Reject");
            }
            let native = remote.field(field.name.as_str()).is_some_and(|remote| remote.native.contains(&policy));
            if native && policy.can_be_native() {
                return Enforced::Natively(policy);
            }
            if !capability.keeps_absent_fields {
                let cause = format!("{policy} leaves the field out, and the destination empties what a row leaves out");
                problem(cause, "choose FieldPolicy::Overwrite, or take the field out of the mapping");
            }
            if policy == FieldPolicy::SetOnce {
                return Enforced::ByState;
            }
            if capability.lookup_rows.is_none() {
                let cause =
                    format!("{policy} needs the value that the record has, and the destination cannot look it up");
                problem(cause, "choose FieldPolicy::SetOnce or FieldPolicy::Overwrite");
            }
            Enforced::ByReading(policy)
        })
        .collect()
}

/// Whether any field has to be read before it is written.
pub(crate) fn reads(enforced: &[Enforced]) -> bool {
    enforced.iter().any(|enforced| matches!(enforced, Enforced::ByReading(_)))
}
