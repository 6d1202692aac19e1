//! Several collections in one call, which counts once against the calls of a day. Pure.
//!
//! Each collection answers for itself: its rows may be written where another one was refused.

use rsync_core::capability::Operation;
use rsync_core::error::{Error, Retry};
use rsync_core::outcome::RowOutcome;
use rsync_http::{Access, Response};

use crate::classify::{Verdict, classify};
use crate::decode::{Decoded, decode, is_results};
use crate::row::Question;
use crate::wire::{Fault, Object, is_code};

/// Most collections of one call.
pub(crate) const PARTS_MAX: usize = 5;

/// The name of a collection within its call.
pub(crate) fn part_name(part: usize) -> String {
    format!("part{part}")
}

/// What became of one collection.
#[derive(Debug)]
pub(crate) enum Part {
    /// Its rows were answered one by one.
    Answered(Decoded),
    /// None of its rows was written.
    Refused(Verdict, String),
    /// The answer does not tell.
    Open,
}

impl Part {
    /// The outcomes of its rows. Refused ones are sent again, in fewer rows: alone, a collection's refusal is that of the
    /// call, and the engine looks for the row at fault.
    pub(crate) fn outcomes(self, sent: usize) -> Vec<RowOutcome> {
        match self {
            Part::Answered(decoded) => decoded.outcomes,
            Part::Refused(_, code) => vec![RowOutcome::Retryable { code, after: None }; sent],
            Part::Open => vec![RowOutcome::Unknown; sent],
        }
    }
}

/// Reads the answer to collections of so many rows each; `None` if it is none.
pub(crate) fn decode_parts(
    operation: Operation,
    question: &Question<'_>,
    sent: &[usize],
    body: &[u8],
) -> Option<Vec<Part>> {
    let answers = Object::read(body)?.list("compositeResponse")?;
    let parts = sent.iter().enumerate().map(|(part, sent)| {
        let name = part_name(part);
        let mut named = answers.iter().filter(|answer| answer.text("referenceId").is_some_and(|own| *own == name));
        match (named.next(), named.next()) {
            (Some(answer), None) => decode_part(operation, question, *sent, answer),
            _ => Part::Open,
        }
    });
    Some(parts.collect())
}

fn decode_part(operation: Operation, question: &Question<'_>, sent: usize, answer: &Object<'_>) -> Part {
    let (Some(status), Some(body)) = (answer.number("httpStatusCode"), answer.json("body")) else { return Part::Open };
    if (200..300).contains(&status) || (status == 400 && is_results(body)) {
        return decode(operation, question, sent, body).map_or(Part::Open, Part::Answered);
    }
    let faults = Fault::read(body);
    let (Some(fault), Ok(status)) = (faults.first(), u16::try_from(status)) else { return Part::Open };
    let verdict = classify(status, Access::Write, None, fault);
    if status < 400 || verdict.retry == Retry::Ambiguous {
        return Part::Open;
    }
    let code = if is_code(&fault.code) { fault.code.to_string() } else { "UNSPECIFIED".to_owned() };
    Part::Refused(verdict, code)
}

/// The error for a call of which every collection was refused.
pub(crate) fn refused(response: &Response, parts: &[Part]) -> Option<Error> {
    let Some(Part::Refused(verdict, code)) = parts.first() else { return None };
    if !parts.iter().all(|part| matches!(part, Part::Refused(..))) {
        return None;
    }
    let error = response.error(verdict.kind, verdict.retry, verdict.message).with_context("code", code);
    Some(match verdict.remedy {
        Some(remedy) => error.with_remedy(remedy),
        None => error,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::row::Nameless;

    const QUESTION: Question<'static> =
        Question { raced_key: None, is_field: &|_| false, nameless: Nameless::Open, parents: &[] };

    fn words(sent: &[usize], body: &str) -> Option<Vec<String>> {
        let parts = decode_parts(Operation::Create, &QUESTION, sent, body.as_bytes())?;
        let outcomes = parts.into_iter().zip(sent).flat_map(|(part, sent)| part.outcomes(*sent));
        Some(outcomes.map(|outcome| format!("{outcome:?}").split([' ', '{']).next().unwrap().to_owned()).collect())
    }

    #[test]
    fn collections_are_found_by_name_and_answer_for_themselves() {
        let part = |name: &str, status: u16, body: &str| {
            format!(r#"{{"referenceId":"{name}","httpStatusCode":{status},"body":{body}}}"#)
        };
        let (ok, two) = (r#"[{"success":true}]"#, r#"[{"success":true},{"success":false,"errors":[]}]"#);
        let refusal = r#"[{"errorCode":"JSON_PARSER_ERROR","message":"canary"}]"#;
        for (answers, expected) in [
            (vec![part("part1", 200, two), part("part0", 200, ok)], ["Written", "Written", "Rejected"]),
            (vec![part("part0", 400, refusal), part("part1", 400, two)], ["Retryable", "Written", "Rejected"]),
            (vec![part("part0", 503, refusal), part("part1", 200, ok)], ["Unknown", "Unknown", "Unknown"]),
            (vec![part("part0", 200, ok), part("part0", 200, ok)], ["Unknown", "Unknown", "Unknown"]),
            (vec![part("part0", 400, "null"), part("part2", 200, two)], ["Unknown", "Unknown", "Unknown"]),
            (vec![], ["Unknown", "Unknown", "Unknown"]),
        ] {
            let body = format!(r#"{{"compositeResponse":[{}]}}"#, answers.join(","));
            assert_eq!(words(&[1, 2], &body).unwrap(), expected, "{body}");
        }
        for body in ["", "[]", "{}", r#"{"compositeResponse":7}"#] {
            assert_eq!(words(&[1], body), None, "{body}");
        }
    }

    proptest! {
        #[test]
        fn every_row_has_one_outcome_whatever_the_answer(
            sent in prop::collection::vec(1_usize..4, 1..6),
            answers in prop::collection::vec((0_usize..6, 0_u16..600, 0_usize..5), 0..7),
        ) {
            let answers: Vec<String> = answers.iter().map(|(part, status, rows)| {
                let body = vec![r#"{"success":true}"#; *rows].join(",");
                format!(r#"{{"referenceId":"part{part}","httpStatusCode":{status},"body":[{body}]}}"#)
            }).collect();
            let body = format!(r#"{{"compositeResponse":[{}]}}"#, answers.join(","));
            prop_assert_eq!(words(&sent, &body).unwrap().len(), sent.iter().sum::<usize>());
        }
    }
}
