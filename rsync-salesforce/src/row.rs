//! What an error of one row means: one table from the service's codes to outcomes.
//!
//! Messages echo cell values. They are looked at where a code alone does not tell, and never kept.

use rsync_core::ids::FieldName;
use rsync_core::outcome::RowOutcome;

use crate::object::RECORD_ID;
use crate::wire::{Fault, is_code};

/// What is known of the request that a row was part of.
pub(crate) struct Question<'a> {
    /// The key field, for an upsert that was sent for the first time.
    pub(crate) raced_key: Option<&'a str>,
    /// Whether a name is one of the fields sent.
    pub(crate) is_field: &'a (dyn Fn(&str) -> bool + Sync),
    /// What an error that speaks of a record without saying which one is about.
    pub(crate) nameless: Nameless,
    /// The fields sent that name another record by its key: object, key, and the name of the field.
    pub(crate) parents: &'a [(&'a str, &'a str, &'a str)],
}

/// Which record a row's error means that names no field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nameless {
    /// The one to be changed or removed: the rows point to no other, and the operation makes none.
    Own,
    /// That one, or one that the row points to.
    OwnOrParent,
    /// One that the row points to: the operation makes records.
    Open,
}

/// What went wrong with a row, beyond the row itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Nothing: only this row is concerned.
    Row,
    /// The organization has no room for records left.
    Storage,
    /// A field that does not exist, or that the user may not write.
    Field,
}

/// The outcome of a row that failed. The service did not write it, whatever the reason.
pub(crate) fn outcome(faults: &[Fault<'_>], question: &Question<'_>) -> (RowOutcome, Scope) {
    // A reason that stays outweighs one that passes; among those, one that names its field tells more.
    let fault = faults.iter().min_by_key(|fault| (passes(fault, question), field(fault, question).is_none()));
    let Some(fault) = fault else {
        return (RowOutcome::rejected(UNSPECIFIED, None, remedy(UNSPECIFIED)), Scope::Row);
    };
    let code = if is_code(&fault.code) { &*fault.code } else { UNSPECIFIED };
    let scope = match code {
        "STORAGE_LIMIT_EXCEEDED" => Scope::Storage,
        "INVALID_FIELD" if fault.message.starts_with(NO_SUCH_COLUMN) => Scope::Field,
        "INVALID_FIELD_FOR_INSERT_UPDATE" => Scope::Field,
        _ => Scope::Row,
    };
    let outcome = if is_missing(fault, question) {
        RowOutcome::Missing
    } else if passes(fault, question) {
        RowOutcome::Retryable { code: code.to_owned(), after: None }
    } else {
        let remedy = if fault.message.starts_with(NO_PARENT) { PARENT_FIRST } else { remedy(code) };
        RowOutcome::rejected(code, field(fault, question).map(FieldName::new), remedy)
    };
    (outcome, scope)
}

const UNSPECIFIED: &str = "UNSPECIFIED";
const NO_SUCH_COLUMN: &str = "No such column '";
const NO_PARENT: &str = "Foreign key external ID: ";
const PARENT_FIRST: &str = "no record has the key that the row points to: write that record first, or mend the key";

/// Whether it says that the record of the row is not there: deleted, merged into another one, gone for good.
fn is_missing(fault: &Fault<'_>, question: &Question<'_>) -> bool {
    let own = match &*fault.code {
        // Parents that are not found have another code.
        "NOT_FOUND" => question.nameless != Nameless::Open,
        "ENTITY_IS_DELETED" | "INVALID_CROSS_REFERENCE_KEY" => question.nameless == Nameless::Own,
        _ => false,
    };
    own && fault.fields.iter().all(|field| field == RECORD_ID)
}

/// Whether the same row may be taken later.
fn passes(fault: &Fault<'_>, question: &Question<'_>) -> bool {
    let says = |part: &str| fault.message.contains(part);
    match &*fault.code {
        "UNABLE_TO_LOCK_ROW"
        | "ALL_OR_NONE_OPERATION_ROLLED_BACK"
        | "STORAGE_LIMIT_EXCEEDED"
        | "SERVER_UNAVAILABLE"
        | "UNKNOWN_EXCEPTION"
        | "QUERY_TIMEOUT" => true,
        // The organization's own automation failed. Its limits are shared by the rows of a call, so fewer may pass.
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY" | "CANNOT_EXECUTE_FLOW_TRIGGER" => {
            ["UNABLE_TO_LOCK_ROW", "Too many SOQL queries", "CPU time limit", "heap size"].into_iter().any(says)
        }
        // Somebody else created the record between the search for the key and the write. Next time it is found.
        "DUPLICATE_VALUE" => question.raced_key.is_some_and(|key| {
            fault.message.strip_prefix("duplicate value found: ").is_some_and(|rest| {
                rest.strip_prefix(key).is_some_and(|rest| rest.starts_with(" duplicates value on record"))
            })
        }),
        _ => false,
    }
}

/// The field at fault, if it is one of those sent.
fn field<'a>(fault: &'a Fault<'_>, question: &Question<'a>) -> Option<&'a str> {
    let listed = fault.fields.iter().map(String::as_str);
    // An unknown column is the one thing that stands in the message alone.
    let column = fault.message.strip_prefix(NO_SUCH_COLUMN).and_then(|rest| rest.split('\'').next());
    let parent = parent(fault, question);
    listed.chain(column).find(|name| (question.is_field)(name)).or(parent)
}

/// The field that names a record that is not there.
fn parent<'a>(fault: &Fault<'_>, question: &Question<'a>) -> Option<&'a str> {
    let place = fault.message.strip_prefix(NO_PARENT)?.rsplit_once(" not found for field ")?.1;
    let (key, object) = place.split_once(" in entity ")?;
    let mut named = question.parents.iter().filter(|parent| (parent.0, parent.1) == (object, key));
    // Two references may lead to the same object.
    named.next().filter(|_| named.next().is_none()).map(|parent| parent.2)
}

/// What to do about a code of the service.
pub(crate) fn remedy(code: &str) -> &'static str {
    match code {
        "REQUIRED_FIELD_MISSING" => "map every field that Salesforce requires, and let none of them be null",
        "STRING_TOO_LONG" => "shorten the text in the model to the length of the field",
        "INVALID_EMAIL_ADDRESS" => "mend the address in the model",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST" => {
            "send one of the picklist's active values (not its label), or add the value in Salesforce"
        }
        "INVALID_TYPE_ON_FIELD_IN_RECORD" | "NUMBER_OUTSIDE_VALID_RANGE" => {
            "send a value that fits the field's type and digits"
        }
        "FIELD_CUSTOM_VALIDATION_EXCEPTION" | "FIELD_INTEGRITY_EXCEPTION" | "FIELD_FILTER_VALIDATION_EXCEPTION" => {
            "a validation rule of the organization refuses the record: mend the row or the rule"
        }
        "INVALID_FIELD" => "create the field in Salesforce, let the user see it, or take it out of the mapping",
        "INVALID_FIELD_FOR_INSERT_UPDATE" => "give the user write access to the field, or take it out of the mapping",
        "INVALID_CROSS_REFERENCE_KEY" => "no record has this id: check the reference, or create the record first",
        "MALFORMED_ID" => "send a record id of 18 characters and of the right object",
        "NOT_FOUND" => "no record has this key: create it first, or upsert",
        "ENTITY_IS_DELETED" => "the record is in the recycle bin: restore it, or match on another field",
        "DUPLICATE_VALUE" => "another record holds this unique value: merge the two records or change the value",
        "DUPLICATE_EXTERNAL_ID" => "several records have this key: merge them, or match on a field that is unique",
        "DUPLICATES_DETECTED" => {
            "a duplicate rule of the organization refuses the record: merge, mend the rule, or, where it only alerts, set \
             duplicate_rules to save_alerted"
        }
        "CANNOT_UPDATE_CONVERTED_LEAD" => "the lead was converted: write to the contact that came of it",
        "INSUFFICIENT_ACCESS_OR_READONLY"
        | "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY"
        | "TRANSFER_REQUIRES_READ" => "give the integration's user access to the record and to those it points to",
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY" | "CANNOT_EXECUTE_FLOW_TRIGGER" => {
            "a trigger or flow of the organization failed on the record: mend it, or the row"
        }
        _ => "look the code up in Salesforce's list of status codes and mend the row",
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;

    fn fault<'a>(code: &'a str, message: &'a str, fields: &[&str]) -> Fault<'a> {
        Fault {
            code: Cow::Borrowed(code),
            message: Cow::Borrowed(message),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        }
    }

    fn judged(faults: &[Fault<'_>], raced_key: Option<&str>) -> (String, Scope) {
        judged_as(faults, raced_key, Nameless::Open)
    }

    fn judged_as(faults: &[Fault<'_>], raced_key: Option<&str>, nameless: Nameless) -> (String, Scope) {
        let is_field = |name: &str| matches!(name, "LastName" | "Email" | "Ext__c");
        let question = Question { raced_key, is_field: &is_field, nameless, parents: &[] };
        let (outcome, scope) = outcome(faults, &question);
        let words = match outcome {
            RowOutcome::Rejected { code, field, .. } => {
                format!("rejected {code} {}", field.map_or_else(|| "-".to_owned(), |field| field.to_string()))
            }
            RowOutcome::Retryable { code, after: None } => format!("retryable {code}"),
            RowOutcome::Missing => "missing".to_owned(),
            other => panic!("{other:?}"),
        };
        (words, scope)
    }

    #[test]
    fn the_table() {
        let raced = "duplicate value found: Ext__c duplicates value on record with id: 003ak00000luKU1";
        let table: &[(&str, &str, &[&str], &str, Scope)] = &[
            (
                "REQUIRED_FIELD_MISSING",
                "Required fields are missing: [LastName]",
                &["LastName"],
                "rejected REQUIRED_FIELD_MISSING LastName",
                Scope::Row,
            ),
            (
                "REQUIRED_FIELD_MISSING",
                "Required fields are missing: [Company]",
                &["Company"],
                "rejected REQUIRED_FIELD_MISSING -",
                Scope::Row,
            ),
            (
                "UNABLE_TO_LOCK_ROW",
                "unable to obtain exclusive access",
                &[],
                "retryable UNABLE_TO_LOCK_ROW",
                Scope::Row,
            ),
            ("ALL_OR_NONE_OPERATION_ROLLED_BACK", "", &[], "retryable ALL_OR_NONE_OPERATION_ROLLED_BACK", Scope::Row),
            (
                "STORAGE_LIMIT_EXCEEDED",
                "storage limit exceeded",
                &[],
                "retryable STORAGE_LIMIT_EXCEEDED",
                Scope::Storage,
            ),
            (
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                "T: System.LimitException: Apex CPU time limit exceeded",
                &[],
                "retryable CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                Scope::Row,
            ),
            (
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                "T: System.NullPointerException",
                &[],
                "rejected CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY -",
                Scope::Row,
            ),
            (
                "CANNOT_EXECUTE_FLOW_TRIGGER",
                "UNABLE_TO_LOCK_ROW: x",
                &[],
                "retryable CANNOT_EXECUTE_FLOW_TRIGGER",
                Scope::Row,
            ),
            (
                "INVALID_FIELD",
                "No such column 'Email' on sobject of type Contact",
                &[],
                "rejected INVALID_FIELD Email",
                Scope::Field,
            ),
            (
                "INVALID_FIELD",
                "No such column 'canary' on sobject of type Contact",
                &[],
                "rejected INVALID_FIELD -",
                Scope::Field,
            ),
            ("INVALID_FIELD", "Foreign key external ID: 0116 not found", &[], "rejected INVALID_FIELD -", Scope::Row),
            (
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                "Unable to create/update fields: Email.",
                &["Email"],
                "rejected INVALID_FIELD_FOR_INSERT_UPDATE Email",
                Scope::Field,
            ),
            ("DUPLICATE_VALUE", raced, &[], "retryable DUPLICATE_VALUE", Scope::Row),
            (
                "DUPLICATE_VALUE",
                "duplicate value found: Ext__c2 duplicates value on record with id: x",
                &[],
                "rejected DUPLICATE_VALUE -",
                Scope::Row,
            ),
            (
                "DUPLICATE_VALUE",
                "Duplicate external id specified: canary",
                &["Ext__c"],
                "rejected DUPLICATE_VALUE Ext__c",
                Scope::Row,
            ),
            (
                "DUPLICATE_EXTERNAL_ID",
                "Ext: more than one record found",
                &["Ext__c"],
                "rejected DUPLICATE_EXTERNAL_ID Ext__c",
                Scope::Row,
            ),
            ("ENTITY_IS_DELETED", "entity is deleted", &[], "rejected ENTITY_IS_DELETED -", Scope::Row),
            ("BRAND_NEW_CODE", "", &[], "rejected BRAND_NEW_CODE -", Scope::Row),
            ("ada@example.com is bad", "", &["canary"], "rejected UNSPECIFIED -", Scope::Row),
            ("", "", &[], "rejected UNSPECIFIED -", Scope::Row),
        ];
        for (code, message, fields, words, scope) in table {
            let found = judged(&[fault(code, message, fields)], Some("Ext__c"));
            assert_eq!(found, ((*words).to_owned(), *scope), "{code} {message}");
        }
        let again = judged(&[fault("DUPLICATE_VALUE", raced, &[])], None);
        assert_eq!(again.0, "rejected DUPLICATE_VALUE -", "a race is lost once");
        assert_eq!(judged(&[], None).0, "rejected UNSPECIFIED -");
    }

    #[test]
    fn records_that_are_gone_are_missing_unless_it_could_be_another_one() {
        for code in ["ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "NOT_FOUND"] {
            for (fields, nameless, missing) in [
                (&[][..], Nameless::Own, true),
                (&["Id"], Nameless::Own, true),
                (&["AccountId"], Nameless::Own, false),
                (&["Id", "AccountId"], Nameless::Own, false),
                (&[], Nameless::Open, false),
                (&["Id"], Nameless::Open, false),
                (&[], Nameless::OwnOrParent, code == "NOT_FOUND"),
                (&["AccountId"], Nameless::OwnOrParent, false),
            ] {
                let (words, _) = judged_as(&[fault(code, "", fields)], None, nameless);
                assert_eq!(words == "missing", missing, "{code} {fields:?} {nameless:?}");
            }
        }
        let refused = [fault("ENTITY_IS_DELETED", "", &[]), fault("STRING_TOO_LONG", "", &["LastName"])];
        assert_eq!(judged_as(&refused, None, Nameless::Own).0, "rejected STRING_TOO_LONG LastName");
    }

    #[test]
    fn of_several_reasons_the_one_that_stays_counts() {
        let lock = || fault("UNABLE_TO_LOCK_ROW", "", &[]);
        let rule = || fault("FIELD_CUSTOM_VALIDATION_EXCEPTION", "", &[]);
        let long = || fault("STRING_TOO_LONG", "", &["LastName"]);
        for faults in [[lock(), rule(), long()], [long(), rule(), lock()], [rule(), lock(), long()]] {
            assert_eq!(judged(&faults, None).0, "rejected STRING_TOO_LONG LastName");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_codes_and_own_fields_comes_through(code in any::<String>(), message in any::<String>(), name in any::<String>()) {
            let (words, _) = judged(&[fault(&code, &message, &[&name])], Some("Ext__c"));
            let word = words.split(' ').nth(1).unwrap().to_owned();
            prop_assert!(word == UNSPECIFIED || (word == code && is_code(&code)));
        }
    }
}
