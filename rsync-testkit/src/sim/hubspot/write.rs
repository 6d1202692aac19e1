//! Writing one record: judging its properties, finding conflicts, and carrying the write out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::object_type::ObjectType;
use super::portal::ApiVersion;
use super::quirks::{OwnAlias, Quirks, RequiredProperties};
use super::records::{Stored, UniqueKey, Values, unique_keys};
use super::value::{Change, Judge, PropertyError};

/// Which record a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    New,
    Existing(u64),
}

/// A key by which an upsert names its record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) property: &'a str,
    pub(crate) value: &'a str,
}

/// A write that has passed validation.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) target: Target,
    /// Properties the request named, whether or not they end up changed: the answer shows them.
    pub(crate) named: Vec<Arc<str>>,
    changes: Vec<(Arc<str>, Change)>,
    released: Vec<UniqueKey>,
    taken: Vec<UniqueKey>,
}

/// Judges a write. All problems of the record are returned, in the order of its properties.
pub(crate) fn plan(
    kind: &ObjectType,
    judge: Judge<'_>,
    target: Target,
    key: Option<Key<'_>>,
    properties: &BTreeMap<String, String>,
    required: &[Requirement<'_>],
) -> Result<Planned, Vec<PropertyError>> {
    let stored = match target {
        Target::New => None,
        Target::Existing(id) => kind.records.live(id),
    };
    // A created record gets its key even if the properties leave it out. An existing one has it already.
    let implied = key.filter(|key| target == Target::New && !properties.contains_key(key.property));
    let implied = implied.map(|key| (key.property, key.value));
    let mut planned =
        Planned { target, named: Vec::new(), changes: Vec::new(), released: Vec::new(), taken: Vec::new() };
    let mut errors = Vec::new();
    for (name, raw) in properties.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain(implied) {
        let Some(definition) = kind.definition(name) else {
            errors.push(PropertyError {
                name: name.to_owned(),
                code: "PROPERTY_DOESNT_EXIST",
                message: format!("Property \"{name}\" does not exist"),
            });
            continue;
        };
        let present = stored.and_then(|record| record.values.get(name)).map(String::as_str);
        match judge.value(definition, raw, present) {
            Ok(change) => {
                planned.named.push(Arc::clone(&definition.name));
                planned.changes.push((Arc::clone(&definition.name), change));
            }
            Err(error) => errors.push(error),
        }
    }
    if target == Target::New {
        let is_set = |name: &str| planned.changes.iter().any(|(n, c)| &**n == name && matches!(c, Change::Set(_)));
        errors.extend(required.iter().filter(|r| !r.any_of.iter().any(|n| is_set(n))).map(Requirement::unmet));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    keep_lifecycle_forward(kind, stored, &mut planned.changes);
    settle_own_alias(stored, &mut planned.changes, judge.quirks);
    account_for_unique_values(kind, stored, &mut planned, judge.quirks);
    Ok(planned)
}

/// Properties of which a created record must have at least one.
#[derive(Debug)]
pub(crate) struct Requirement<'a> {
    any_of: Vec<&'a str>,
}

impl Requirement<'_> {
    fn unmet(&self) -> PropertyError {
        let name = self.any_of.join(" or ");
        PropertyError {
            message: format!("Required property {name} is not set"),
            name,
            code: "MISSING_REQUIRED_PROPERTY",
        }
    }
}

/// What creation requires in a version.
pub(crate) fn requirements<'a>(kind: &'a ObjectType, version: ApiVersion, quirks: &Quirks) -> Vec<Requirement<'a>> {
    let mut names: Vec<&str> = kind.schema_required.iter().map(String::as_str).collect();
    let mut one_of = None;
    if version == ApiVersion::September2026 {
        names.extend(kind.admin_required.iter().map(String::as_str));
    }
    if quirks.required_properties == RequiredProperties::Documented {
        names.extend(kind.documented_required.iter().map(String::as_str));
        one_of = Some(&kind.documented_one_of).filter(|names| !names.is_empty());
    }
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| Requirement { any_of: vec![name] })
        .chain(one_of.map(|names| Requirement { any_of: names.iter().map(String::as_str).collect() }))
        .collect()
}

/// The lifecycle stage of a record moves forward only; a step back is dropped without an error. Contacts start as leads.
fn keep_lifecycle_forward(kind: &ObjectType, stored: Option<&Stored>, changes: &mut Vec<(Arc<str>, Change)>) {
    let Some(definition) = kind.definition("lifecyclestage").filter(|d| d.hubspot_defined) else { return };
    let rank = |stage: &str| definition.choices.iter().position(|c| c.value == stage);
    if let Some(present) = stored.and_then(|record| record.values.get("lifecyclestage")) {
        let present = rank(present);
        changes.retain(|(name, change)| match change {
            Change::Set(stage) if &**name == "lifecyclestage" => rank(stage) >= present,
            _ => true,
        });
    }
    let sets_stage =
        changes.iter().any(|(name, change)| &**name == "lifecyclestage" && matches!(change, Change::Set(_)));
    if stored.is_none() && kind.name == "contacts" && !sets_stage && rank("lead").is_some() {
        changes.push((Arc::clone(&definition.name), Change::Set("lead".to_owned())));
    }
}

/// Writing one of a contact's own further addresses to its email must not lose the address it had.
fn settle_own_alias(stored: Option<&Stored>, changes: &mut Vec<(Arc<str>, Change)>, quirks: &Quirks) {
    const ALIASES: &str = "hs_additional_emails";
    let Some(stored) = stored else { return };
    let (Some(primary), Some(aliases)) = (stored.values.get("email"), stored.values.get_key_value(ALIASES)) else {
        return;
    };
    if changes.iter().any(|(name, _)| &**name == ALIASES) {
        return;
    }
    let written = changes.iter().find_map(|(name, change)| match change {
        Change::Set(value) if &**name == "email" && aliases.1.split(';').any(|a| a == value) => Some(value.clone()),
        _ => None,
    });
    let Some(written) = written else { return };
    match quirks.own_alias_as_email {
        OwnAlias::Kept => changes.retain(|(name, _)| &**name != "email"),
        OwnAlias::Promoted => {
            let rest = aliases.1.split(';').filter(|a| *a != written).chain([primary.as_str()]);
            let rest = rest.collect::<Vec<_>>().join(";");
            changes.push((Arc::clone(aliases.0), Change::Set(rest)));
        }
    }
}

fn account_for_unique_values(kind: &ObjectType, stored: Option<&Stored>, planned: &mut Planned, quirks: &Quirks) {
    for (name, change) in &planned.changes {
        let Some(definition) = kind.definitions.get(name) else { continue };
        if let Some(old) = stored.and_then(|record| record.values.get(name)) {
            planned.released.extend(unique_keys(definition, old, quirks));
        }
        if let Change::Set(new) = change {
            planned.taken.extend(unique_keys(definition, new, quirks));
        }
    }
    let taken = &planned.taken;
    planned.released.retain(|key| !taken.contains(key));
}

/// All unique values of a record, for its archiving.
pub(crate) fn held_keys(kind: &ObjectType, record: &Stored, quirks: &Quirks) -> Vec<UniqueKey> {
    let of = |(name, value): (&Arc<str>, &String)| {
        kind.definitions.get(name).map(|definition| unique_keys(definition, value, quirks)).unwrap_or_default()
    };
    record.values.iter().flat_map(of).collect()
}

/// The record that owns a unique value which the write wants: a stored one, or one that an earlier write of the same
/// batch claims.
pub(crate) fn find_conflict(kind: &ObjectType, planned: &Planned, claims: &HashMap<UniqueKey, Claim>) -> Option<u64> {
    planned.taken.iter().find_map(|key| {
        let stored = kind.records.owner(key).filter(|owner| Target::Existing(*owner) != planned.target);
        let claimed = || claims.get(key).filter(|claim| claim.target == Target::New || claim.target != planned.target);
        stored.or_else(|| claimed().map(|claim| claim.id))
    })
}

/// A unique value wanted by an earlier write of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    target: Target,
    id: u64,
}

/// Claims a write's unique values. `id` is the id that the record has or will get.
pub(crate) fn claim(planned: &Planned, id: u64, claims: &mut HashMap<UniqueKey, Claim>) {
    for key in &planned.taken {
        claims.insert(key.clone(), Claim { target: planned.target, id });
    }
}

/// Carries a write out and returns the record's id.
pub(crate) fn commit(kind: &mut ObjectType, planned: &Planned, now_ms: i64, quirks: &Quirks) -> u64 {
    match planned.target {
        Target::Existing(id) => {
            let (released, taken) = (planned.released.clone(), planned.taken.clone());
            kind.records.update(id, &planned.changes, released, taken, now_ms, quirks);
            id
        }
        Target::New => {
            let mut values = Values::new();
            for (name, change) in &planned.changes {
                if let Change::Set(value) = change {
                    values.insert(Arc::clone(name), value.clone());
                }
            }
            kind.records.create(values, planned.taken.clone(), now_ms, quirks)
        }
    }
}
