//! What can be written. The service has no list of attributes: they come into being when they are written.

use arrow::datatypes::Schema;
use rsync_core::destination::{AcceptedType, OtherFields, RemoteField, RemoteSchema};
use rsync_core::error::{Error, Kind, Problem, Result};
use rsync_core::record::FieldType;

use crate::object::Object;
use crate::person::{EVENT_RESERVED, Identifier, RESERVED, TIMESTAMP, attribute_refusal, name_refusal};
use crate::policy::Policy;

/// The schema of an object whose people are addressed by `key`.
pub(crate) fn remote_schema(policy: Policy, object: Object<'_>, key: Option<Identifier>) -> RemoteSchema {
    match object {
        Object::People => people(policy, key),
        Object::Events(_) => {
            let mut fields = identifiers(key);
            let mut timestamp = RemoteField::new(TIMESTAMP, "unix seconds");
            timestamp.accepts = vec![AcceptedType::Timestamp, AcceptedType::Date];
            fields.push(timestamp);
            fields.extend(EVENT_RESERVED.map(reserved));
            RemoteSchema::new(fields).with_others(OtherFields::new(name_refusal))
        }
        Object::Segment(_) => {
            let mut fields = identifiers(key);
            fields.retain(|field| field.name.as_str() != Identifier::Phone.name());
            for field in &mut fields {
                field.writable &= key.is_none_or(|key| key.name() == field.name.as_str());
                field.clearable = false;
            }
            RemoteSchema::new(fields)
        }
    }
}

fn reserved(name: &str) -> RemoteField {
    let mut field = RemoteField::new(name, "reserved");
    field.writable = false;
    field.clearable = false;
    field
}

fn identifiers(key: Option<Identifier>) -> Vec<RemoteField> {
    use AcceptedType::{Decimal, Integer, Text};
    Identifier::ALL
        .iter()
        .map(|identifier| {
            let mut field = RemoteField::new(identifier.name(), "identifier");
            field.unique = true;
            field.folding = identifier.folding();
            // The service gives out the cio_id: it says who is meant, and cannot be set.
            field.writable = *identifier != Identifier::CioId || key == Some(Identifier::CioId);
            field.clearable = matches!(identifier, Identifier::Email | Identifier::Phone) && key != Some(*identifier);
            field.accepts = match identifier {
                Identifier::Id => vec![Text, Integer, Decimal],
                _ => vec![Text],
            };
            field
        })
        .collect()
}

fn people(policy: Policy, key: Option<Identifier>) -> RemoteSchema {
    use AcceptedType::{Boolean, Date, Timestamp};
    let mut fields = identifiers(key);
    let mut created_at = RemoteField::new("created_at", "unix seconds");
    created_at.accepts = vec![Timestamp, Date];
    let mut unsubscribed = RemoteField::new("unsubscribed", "consent");
    unsubscribed.accepts = vec![Boolean];
    unsubscribed.clearable = policy.allow_resubscribe;
    fields.extend([created_at, unsubscribed]);
    fields.extend(RESERVED.map(reserved));
    RemoteSchema::new(fields).with_others(OtherFields::new(attribute_refusal))
}

/// Refuses columns that no row can bring there. A plan has found them already; the port can be called without one.
pub(crate) fn check_columns(policy: Policy, object: Object<'_>, key: Identifier, columns: &Schema) -> Result<()> {
    let remote = remote_schema(policy, object, Some(key));
    let mut problems = Vec::new();
    for column in columns.fields() {
        let name = column.name().as_str();
        let problem = match remote.field(name) {
            Some(field) if !field.writable => {
                Some(("the service sets this field itself", "take it out of the mapping"))
            }
            Some(field) if FieldType::from_arrow(column.data_type()).is_some_and(|ty| !field.accepts(ty)) => {
                Some(("the field takes no values of this type", "map the column to a type that the field takes"))
            }
            None if remote.others.is_none() => {
                Some(("a member is only named, and has no fields", "map nothing but the field that is matched on"))
            }
            _ => {
                let refusal = remote.others.as_ref().and_then(|others| (others.refusal)(name));
                refusal.map(|refusal| (refusal.cause, refusal.fix))
            }
        };
        problems.extend(problem.map(|(cause, fix)| Problem::new(format!("mapping.{name}"), cause, fix)));
    }
    Error::from_problems(Kind::SchemaMismatch, "write a batch", problems)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;
    use rsync_core::destination::KeyFolding;

    use super::*;

    fn allowing() -> Policy {
        Policy { allow_resubscribe: true, ..Policy::default() }
    }

    #[test]
    fn people_are_described() {
        let by_id = remote_schema(Policy::default(), Object::People, Some(Identifier::Id));
        let field = |name: &str| by_id.field(name).unwrap().into_owned();
        let shape = |name: &str| (field(name).writable, field(name).unique, field(name).clearable);
        let table = [
            ("id", (true, true, false)),
            ("email", (true, true, true)),
            ("phone", (true, true, true)),
            ("cio_id", (false, true, false)),
            ("created_at", (true, false, true)),
            ("unsubscribed", (true, false, false)),
            ("cio_subscription_preferences", (false, false, false)),
            ("_update", (false, false, false)),
            ("timezone", (true, false, true)),
            ("First Name", (true, false, true)),
        ];
        for (name, expected) in table {
            assert_eq!(shape(name), expected, "{name}");
        }
        assert_eq!((field("id").folding, field("email").folding), (KeyFolding::Exact, KeyFolding::CaselessTrimmed));
        assert!(field("created_at").accepts(FieldType::Timestamp) && !field("created_at").accepts(FieldType::Integer));
        assert!(field("unsubscribed").accepts(FieldType::Boolean) && !field("unsubscribed").accepts(FieldType::Text));
        assert!(field("plan").accepts(FieldType::TextList) && field("plan").accepts(FieldType::Date));
        assert!(by_id.field(&"n".repeat(150)).is_some() && by_id.field(&"n".repeat(151)).is_none());

        let by_cio_id = remote_schema(allowing(), Object::People, Some(Identifier::CioId));
        assert!(by_cio_id.field("cio_id").unwrap().writable && by_cio_id.field("unsubscribed").unwrap().clearable);
        assert!(!remote_schema(allowing(), Object::People, Some(Identifier::Email)).field("email").unwrap().clearable);
    }

    #[test]
    fn unsuitable_columns_are_named_all_at_once() {
        let columns = |fields: &[(&str, FieldType)]| {
            Schema::new(fields.iter().map(|(name, ty)| Field::new(*name, ty.arrow(), true)).collect::<Vec<_>>())
        };
        let long = "n".repeat(151);
        let bad = columns(&[
            ("id", FieldType::Text),
            ("_internal", FieldType::Text),
            ("address.city", FieldType::Text),
            ("cio_subscription_preferences.topics.news", FieldType::Boolean),
            (&long, FieldType::Text),
            ("", FieldType::Text),
            ("anonymous_id", FieldType::Text),
            ("cio_id", FieldType::Text),
            ("created_at", FieldType::Integer),
            ("unsubscribed", FieldType::Text),
            ("email", FieldType::Integer),
            ("plan", FieldType::Text),
        ]);
        let error = check_columns(Policy::default(), Object::People, Identifier::Id, &bad).unwrap_err();
        assert_eq!(error.kind(), Kind::SchemaMismatch);
        let at: Vec<&str> = error.problems().iter().map(|p| p.at.strip_prefix("mapping.").unwrap()).collect();
        assert_eq!(
            at,
            [
                "_internal",
                "address.city",
                "cio_subscription_preferences.topics.news",
                &long,
                "",
                "anonymous_id",
                "cio_id",
                "created_at",
                "unsubscribed",
                "email",
            ]
        );
        let good = columns(&[
            ("cio_id", FieldType::Text),
            ("email", FieldType::Text),
            ("cio_subscription_preferences.topics.topic_1", FieldType::Boolean),
        ]);
        check_columns(Policy::default(), Object::People, Identifier::CioId, &good).unwrap();
    }
}
