//! The answer to a collection call to one outcome a row. Pure.
//!
//! The service promises the order of the request. `success` is the only sign of a write: status, `id` and `created`
//! are not.

use rsync_core::capability::Operation;
use rsync_core::ids::RemoteId;
use rsync_core::outcome::{Effect, RowOutcome};

use crate::record_id;
use crate::row::{Question, Scope, outcome};
use crate::wire::{Fault, Object};

/// What the answer says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// One outcome a row, in the order sent.
    pub(crate) outcomes: Vec<RowOutcome>,
    /// Why no row was written, if the reason is not in the rows.
    pub(crate) halt: Option<Scope>,
}

/// Why a body is no answer to the rows that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Not a list of results.
    Shape,
    /// Results of another number of rows.
    Count(usize),
}

/// Whether a body lists results of rows, and not errors of a request: the status does not tell where all rows failed.
pub(crate) fn is_results(body: &[u8]) -> bool {
    Object::read_list(body).is_some_and(|entries| entries.iter().any(|entry| entry.flag("success").is_some()))
}

/// Reads the results of `sent` rows.
pub(crate) fn decode(
    operation: Operation,
    question: &Question<'_>,
    sent: usize,
    body: &[u8],
) -> Result<Decoded, Unreadable> {
    let entries = Object::read_list(body).ok_or(Unreadable::Shape)?;
    if entries.iter().all(|entry| entry.flag("success").is_none()) {
        return Err(Unreadable::Shape);
    }
    if entries.len() != sent {
        return Err(Unreadable::Count(entries.len()));
    }
    let mut scopes = Vec::with_capacity(sent);
    let outcomes: Vec<RowOutcome> = entries
        .iter()
        .map(|entry| match entry.flag("success") {
            Some(true) => written(operation, entry),
            Some(false) => {
                let faults: Vec<Fault<'_>> = entry.list("errors").iter().flatten().map(Fault::of).collect();
                let (outcome, scope) = outcome(&faults, question);
                scopes.push(scope);
                outcome
            }
            None => RowOutcome::Unknown,
        })
        .collect();
    let halt = if scopes.len() < sent {
        None
    } else if scopes.contains(&Scope::Storage) {
        Some(Scope::Storage)
    } else {
        scopes.iter().all(|scope| *scope == Scope::Field).then_some(Scope::Field)
    };
    Ok(Decoded { outcomes, halt })
}

fn written(operation: Operation, entry: &Object<'_>) -> RowOutcome {
    let effect = match (operation, entry.flag("created")) {
        (Operation::Create, _) | (Operation::Upsert, Some(true)) => Effect::Created,
        (Operation::Update, _) | (Operation::Upsert, Some(false)) => Effect::Updated,
        _ => Effect::Unspecified,
    };
    RowOutcome::written(effect, entry.text("id").and_then(|id| record_id::canonical(&id)).map(RemoteId::new))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::row::Nameless;

    const QUESTION: Question<'static> =
        Question { raced_key: None, is_field: &|name| name == "LastName", nameless: Nameless::Open, parents: &[] };

    fn words(operation: Operation, sent: usize, body: &str) -> Result<(Vec<String>, Option<Scope>), Unreadable> {
        let decoded = decode(operation, &QUESTION, sent, body.as_bytes())?;
        let words = decoded.outcomes.into_iter().map(|outcome| match outcome {
            RowOutcome::Written { remote_id, effect, .. } => {
                format!("{effect:?} {}", remote_id.map_or_else(|| "-".to_owned(), |id| id.as_str().to_owned()))
            }
            RowOutcome::Rejected { code, .. } => code,
            RowOutcome::Retryable { code, .. } => format!("retry {code}"),
            other => format!("{other:?}"),
        });
        Ok((words.collect(), decoded.halt))
    }

    fn failed(code: &str, message: &str) -> String {
        format!(
            r#"{{"success":false,"created":true,"id":"003ak00000luKU1AAM","errors":[{{"statusCode":"{code}","message":"{message}","fields":[]}}]}}"#
        )
    }

    #[test]
    fn success_is_the_only_sign() {
        let body = format!(
            r#"[{{"id":"0014S000007NxmlQAC","success":true,"errors":[],"created":true}},
                {{"id":"003ak00000luKU1","success":true,"errors":[],"created":false}},
                {{"success":true,"id":"canary"}}, {{"success":true,"errors":null}},
                {}, {{"success":false,"errors":[]}}, {{"id":"003ak00000luKU1AAM","success":"yes"}}]"#,
            failed("STRING_TOO_LONG", "x")
        );
        let common = ["STRING_TOO_LONG", "UNSPECIFIED", "Unknown"];
        for (operation, effects) in [
            (Operation::Upsert, ["Created", "Updated", "Unspecified", "Unspecified"]),
            (Operation::Create, ["Created"; 4]),
            (Operation::Update, ["Updated"; 4]),
        ] {
            let ids = ["0014S000007NxmlQAC", "003ak00000luKU1AAM", "-", "-"];
            let expected: Vec<String> = effects.iter().zip(ids).map(|(effect, id)| format!("{effect} {id}")).collect();
            let (words, halt) = words(operation, 7, &body).unwrap();
            assert_eq!((&words[..4], &words[4..], halt), (&expected[..], &common.map(str::to_owned)[..], None));
        }
    }

    #[test]
    fn reasons_that_concern_every_row_stop_the_run() {
        let storage = failed("STORAGE_LIMIT_EXCEEDED", "");
        let column = failed("INVALID_FIELD", "No such column 'X__c' on sobject of type Contact");
        let hidden = failed("INVALID_FIELD_FOR_INSERT_UPDATE", "");
        let (good, long) = (r#"{"success":true}"#.to_owned(), failed("STRING_TOO_LONG", ""));
        let open = r#"{"success":7}"#.to_owned();
        for (rows, halt) in [
            (vec![&storage, &storage], Some(Scope::Storage)),
            (vec![&storage, &long], Some(Scope::Storage)),
            (vec![&storage, &good], None),
            (vec![&storage, &open], None),
            (vec![&column, &hidden], Some(Scope::Field)),
            (vec![&column, &long], None),
            (vec![&column, &good], None),
            (vec![&long, &long], None),
        ] {
            let body = format!("[{},{}]", rows[0], rows[1]);
            assert_eq!(words(Operation::Upsert, 2, &body).unwrap().1, halt, "{body}");
        }
    }

    #[test]
    fn what_is_no_answer_proves_nothing() {
        let results = r#"[{"success":true},{"success":true}]"#;
        for sent in [1, 3] {
            assert_eq!(words(Operation::Upsert, sent, results), Err(Unreadable::Count(2)));
        }
        for body in ["", "{}", "[]", "<html>", "[1,2]", "[{},{}]", r#"[{"message":"m","errorCode":"X"},{}]"#, "[[],[]]"]
        {
            assert_eq!(words(Operation::Upsert, 2, body), Err(Unreadable::Shape), "{body}");
            assert!(!is_results(body.as_bytes()), "{body}");
        }
        assert!(is_results(results.as_bytes()));
    }

    proptest! {
        #[test]
        fn damaged_answers_write_nothing_by_accident(at in 0_usize..60, byte in any::<u8>()) {
            let mut body = br#"[{"id":"0014S000007NxmlQAC","success":false,"errors":[],"created":true}]"#.to_vec();
            let at = at % body.len();
            body[at] = byte;
            if let Ok(decoded) = decode(Operation::Upsert, &QUESTION, 1, &body) {
                let written = matches!(decoded.outcomes[0], RowOutcome::Written { .. });
                prop_assert!(!written);
            }
        }
    }
}
