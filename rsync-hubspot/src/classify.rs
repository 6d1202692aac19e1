//! What an answer other than success means: one table from status, category and policy to kind and retry class,
//! and the place where names and codes are taken over from the service's text.
//!
//! Messages echo cell values. Of an error body nothing is kept but what has the form of an identifier.

use std::borrow::Cow;
use std::time::Duration;

use rsync_core::error::{Error, Kind, Retry};
use rsync_http::json::{Object, read};
use rsync_http::{Access, Response, is_correlation_id};

use crate::wire::{Fault, PropertyFault};

/// A lock on a record lasts this long.
const LOCK: Duration = Duration::from_secs(2);
/// The window of the burst limit.
const TEN_SECONDS: Duration = Duration::from_secs(10);
/// The window of the search limit.
const ONE_SECOND: Duration = Duration::from_secs(1);

/// What precedes the list of property errors inside a message.
const EMBEDDED_LIST: &str = "Property values were not valid: ";

/// What to make of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kind: Kind,
    pub(crate) retry: Retry,
    pub(crate) message: &'static str,
    pub(crate) remedy: Option<&'static str>,
}

fn verdict(kind: Kind, retry: Retry, message: &'static str) -> Verdict {
    Verdict { kind, retry, message, remedy: None }
}

impl Verdict {
    fn remedy(mut self, remedy: &'static str) -> Self {
        self.remedy = Some(remedy);
        self
    }
}

/// The table. `asked` is the pause that the service asked for.
pub(crate) fn classify(status: u16, access: Access, asked: Option<Duration>, fault: &Fault<'_>) -> Verdict {
    let after = |default: Duration| Retry::After(asked.unwrap_or(default));
    let message = fault.message();
    match status {
        400 if message.starts_with("Unable to infer object type") => {
            verdict(Kind::NotFound, Retry::Never, "the account has no such object")
                .remedy("name a custom object by 2-<number> or p<portal>_<name>")
        }
        400 if message.starts_with("Unable to perform update/upsert by non-unique") => {
            verdict(Kind::SchemaMismatch, Retry::Never, "the key property does not identify records")
                .remedy("match on a property with unique values; on contacts, email identifies for upserts only")
        }
        400 if message.starts_with("Invalid input JSON on line") => {
            verdict(Kind::Internal, Retry::Never, "the service could not read the request")
        }
        400 | 409 | 413 | 414 | 422 | 437 => verdict(Kind::Rejected, Retry::Never, "the service refused the request"),
        401 => verdict(Kind::Unauthenticated, Retry::Never, "the token was refused")
            .remedy("give a token that is valid for this account"),
        403 => verdict(Kind::Forbidden, Retry::Never, "the token lacks a scope")
            .remedy("grant one of the scopes named in the context to the app or service key"),
        404 => verdict(Kind::NotFound, Retry::Never, "the service knows no such object or path"),
        408 => verdict(Kind::Unavailable, access.fate_unknown(), "the service gave up waiting for the request"),
        423 => verdict(Kind::Unavailable, Retry::After(asked.unwrap_or(LOCK).max(LOCK)), "the records are locked"),
        425 => verdict(Kind::Unavailable, Retry::Backoff, "the service is not ready for the request"),
        429 => match Policy::of(fault) {
            Policy::TenSecondly => verdict(Kind::RateLimited, after(TEN_SECONDS), "the 10-second limit is reached"),
            Policy::Secondly => verdict(Kind::RateLimited, after(ONE_SECOND), "the 1-second limit is reached"),
            Policy::Daily => verdict(Kind::QuotaExhausted, Retry::Never, "the account's daily limit is used up")
                .remedy("run again after midnight in the account's time zone"),
            Policy::Other => {
                verdict(Kind::RateLimited, asked.map_or(Retry::Backoff, Retry::After), "too many requests")
            }
        },
        477 => verdict(
            Kind::Unavailable,
            asked.map_or(Retry::Backoff, Retry::After),
            "the account is being moved to another data centre",
        ),
        525 | 526 => verdict(Kind::Unavailable, Retry::Never, "the service's own encryption is broken"),
        500..=599 => verdict(Kind::Unavailable, access.fate_unknown(), "the service failed"),
        400..=499 => verdict(Kind::Protocol, Retry::Never, "the service answered with an unexpected status"),
        _ => verdict(Kind::Protocol, access.fate_unknown(), "the service answered with an unexpected status"),
    }
}

/// Which limit a 429 is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    TenSecondly,
    Secondly,
    Daily,
    Other,
}

impl Policy {
    /// By name, or by the constant message where the name is missing.
    fn of(fault: &Fault<'_>) -> Self {
        let name = fault.policy_name.as_str().unwrap_or(fault.message()).to_ascii_lowercase();
        // "ten_secondly" ends in "secondly".
        if name.contains("ten_secondly") {
            Policy::TenSecondly
        } else if name.contains("secondly") {
            Policy::Secondly
        } else if name.contains("daily") {
            Policy::Daily
        } else {
            Policy::Other
        }
    }
}

/// The error for an answer that is not a success. `is_field` tells the fields of the request from other text.
pub(crate) fn error(response: &Response, is_field: &dyn Fn(&str) -> bool) -> Error {
    // Gateways answer with HTML; such a body tells nothing.
    let fault: Fault<'_> = read(response.body()).unwrap_or_default();
    let verdict = classify(response.status(), response.access(), response.retry_after(), &fault);
    let mut error = response.error(verdict.kind, verdict.retry, verdict.message);
    if response.correlation_id().is_none()
        && let Some(id) = fault.correlation_id.as_str().filter(|id| is_correlation_id(id))
    {
        error = error.with_context("correlation_id", id);
    }
    if let Some(category) = fault.category.as_str().filter(|category| is_code(category)) {
        error = error.with_context("category", category);
    }
    if let Some(policy) = fault.policy_name.as_str().filter(|policy| is_code(policy)) {
        error = error.with_context("policy", policy);
    }
    let at_fault = at_fault(&fault, is_field);
    if let Some(code) = &at_fault.code {
        error = error.with_context("code", code);
    }
    if let Some(property) = &at_fault.property {
        error = error.with_context("field", property);
    }
    let scopes = scopes(&fault);
    if !scopes.is_empty() {
        error = error.with_context("scopes", scopes.join(" | "));
    }
    if let Some(pause) = response.retry_after() {
        error = error.with_delay(pause);
    }
    let remedy = verdict.remedy.or_else(|| at_fault.code.as_deref().map(remedy));
    match remedy {
        Some(remedy) => error.with_remedy(remedy),
        None => error,
    }
}

/// The first property that an error names, and the code of what is wrong with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AtFault {
    pub(crate) property: Option<String>,
    pub(crate) code: Option<String>,
}

/// Finds the property at fault: in the list of errors, in the list inside the message, or in the context.
pub(crate) fn at_fault(fault: &Fault<'_>, is_field: &dyn Fn(&str) -> bool) -> AtFault {
    let field = |name: Option<&str>| name.filter(|name| is_field(name)).map(str::to_owned);
    let code = |code: Option<&str>| code.filter(|code| is_code(code)).map(str::to_owned);
    let named = |fault: &Fault<'_>| {
        let name = ["propertyName", "name"].iter().find_map(|key| fault.context(key).first());
        AtFault { property: field(name.map(Cow::as_ref)), code: code(fault.code.as_str()) }
    };
    let mut candidates: Vec<AtFault> = fault.errors.iter().flatten().map(|fault| named(fault)).collect();
    let list = fault.message().strip_prefix(EMBEDDED_LIST);
    if let Some(Ok(list)) = list.map(serde_json::from_str::<Vec<Object<PropertyFault<'_>>>>) {
        candidates.extend(
            list.iter().map(|entry| AtFault { property: field(entry.name.as_str()), code: code(entry.error.as_str()) }),
        );
    }
    candidates.push(named(fault));
    // One that names both is worth most.
    let best = candidates
        .iter()
        .position(|c| c.property.is_some() && c.code.is_some())
        .or_else(|| candidates.iter().position(|c| c.property.is_some()))
        .or_else(|| candidates.iter().position(|c| c.code.is_some()));
    best.map(|index| candidates.swap_remove(index)).unwrap_or_default()
}

fn scopes(fault: &Fault<'_>) -> Vec<String> {
    let is_scope = |text: &str| {
        (1..=100).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
    };
    let mut scopes: Vec<String> = std::iter::once(fault)
        .chain(fault.errors.iter().flatten().map(|fault| &fault.0))
        .flat_map(|fault| ["requiredGranularScopes", "requiredScopes", "missingScopes"].map(|key| fault.context(key)))
        .flatten()
        .filter(|scope| is_scope(scope))
        .map(|scope| scope.to_string())
        .collect();
    scopes.dedup();
    scopes.truncate(10);
    scopes
}

/// Whether `text` has the form of the service's codes, and so cannot be a message with a value in it.
pub(crate) fn is_code(text: &str) -> bool {
    (2..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// What to do about a code of the service.
pub(crate) fn remedy(code: &str) -> &'static str {
    match code {
        "PROPERTY_DOESNT_EXIST" => "create the property in HubSpot or take the field out of the mapping",
        "READ_ONLY_VALUE" => "take the field out of the mapping: HubSpot sets the property itself",
        "INVALID_EMAIL" => "mend the address in the model",
        "INVALID_OPTION" => "send the internal value of one of the property's options, or add the option in HubSpot",
        "INVALID_INTEGER" | "INVALID_LONG" | "INVALID_DOUBLE" | "INVALID_NUMBER" => "send a plain number",
        "INVALID_BOOLEAN" => "send true or false",
        "INVALID_DATE" | "INVALID_DATETIME" => "send a date that the property accepts",
        "CONFLICT" | "OBJECT_ALREADY_EXISTS" | "DUPLICATE_UNIQUE_PROPERTY_VALUE" => {
            "another record holds this unique value: merge the two records or change the value"
        }
        "OBJECT_NOT_FOUND" => "no record has this key: create it first, or upsert",
        "REQUIRED_FIELD" | "MISSING_REQUIRED_PROPERTY" | "PROPERTY_REQUIRED" => {
            "map every property that HubSpot requires"
        }
        "NOT_APPLIED" => "HubSpot keeps a later lifecycle stage; clear the field first to move it back",
        _ => "look the code up in HubSpot's error reference and mend the row",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict_of(status: u16, access: Access, asked: Option<u64>, body: &str) -> (Kind, Retry) {
        let fault = read(body.as_bytes()).unwrap_or_default();
        let verdict = classify(status, access, asked.map(Duration::from_secs), &fault);
        (verdict.kind, verdict.retry)
    }

    #[test]
    fn f26_f28_f29_the_table() {
        let s = Duration::from_secs;
        let ten =
            r#"{"policyName":"TEN_SECONDLY_ROLLING","message":"You have reached your ten_secondly_rolling limit."}"#;
        let rows: &[(u16, Option<u64>, &str, Kind, Retry, Retry)] = &[
            // status, Retry-After, body, kind, retry of a read, retry of a write
            (400, None, r#"{"category":"VALIDATION_ERROR"}"#, Kind::Rejected, Retry::Never, Retry::Never),
            (
                400,
                None,
                r#"{"message":"Unable to infer object type from: x"}"#,
                Kind::NotFound,
                Retry::Never,
                Retry::Never,
            ),
            (
                400,
                None,
                r#"{"message":"Unable to perform update/upsert by non-unique 0-3 property"}"#,
                Kind::SchemaMismatch,
                Retry::Never,
                Retry::Never,
            ),
            (
                400,
                None,
                r#"{"message":"Invalid input JSON on line 1, column 2: x"}"#,
                Kind::Internal,
                Retry::Never,
                Retry::Never,
            ),
            (401, None, r#"{"category":"INVALID_AUTHENTICATION"}"#, Kind::Unauthenticated, Retry::Never, Retry::Never),
            (403, None, r#"{"category":"MISSING_SCOPES"}"#, Kind::Forbidden, Retry::Never, Retry::Never),
            (404, None, "{}", Kind::NotFound, Retry::Never, Retry::Never),
            (405, None, "", Kind::Protocol, Retry::Never, Retry::Never),
            (408, None, "", Kind::Unavailable, Retry::Backoff, Retry::Ambiguous),
            (409, None, r#"{"category":"CONFLICT"}"#, Kind::Rejected, Retry::Never, Retry::Never),
            (413, None, "<html>", Kind::Rejected, Retry::Never, Retry::Never),
            (414, None, "", Kind::Rejected, Retry::Never, Retry::Never),
            (423, None, "", Kind::Unavailable, Retry::After(s(2)), Retry::After(s(2))),
            (423, Some(1), "", Kind::Unavailable, Retry::After(s(2)), Retry::After(s(2))),
            (423, Some(5), "", Kind::Unavailable, Retry::After(s(5)), Retry::After(s(5))),
            (429, None, ten, Kind::RateLimited, Retry::After(s(10)), Retry::After(s(10))),
            (429, Some(3), ten, Kind::RateLimited, Retry::After(s(3)), Retry::After(s(3))),
            (
                429,
                None,
                r#"{"message":"You have reached your ten_secondly_rolling limit."}"#,
                Kind::RateLimited,
                Retry::After(s(10)),
                Retry::After(s(10)),
            ),
            (429, None, r#"{"policyName":"SECONDLY"}"#, Kind::RateLimited, Retry::After(s(1)), Retry::After(s(1))),
            (
                429,
                None,
                r#"{"message":"You have reached your secondly limit."}"#,
                Kind::RateLimited,
                Retry::After(s(1)),
                Retry::After(s(1)),
            ),
            (429, None, r#"{"policyName":"DAILY"}"#, Kind::QuotaExhausted, Retry::Never, Retry::Never),
            (
                429,
                Some(60),
                r#"{"message":"You have reached your daily limit."}"#,
                Kind::QuotaExhausted,
                Retry::Never,
                Retry::Never,
            ),
            (429, None, "<html>", Kind::RateLimited, Retry::Backoff, Retry::Backoff),
            (429, Some(7), "<html>", Kind::RateLimited, Retry::After(s(7)), Retry::After(s(7))),
            (437, None, "", Kind::Rejected, Retry::Never, Retry::Never),
            (477, Some(3600), "", Kind::Unavailable, Retry::After(s(3600)), Retry::After(s(3600))),
            (477, None, "", Kind::Unavailable, Retry::Backoff, Retry::Backoff),
            (500, None, "", Kind::Unavailable, Retry::Backoff, Retry::Ambiguous),
            (502, None, "<html>", Kind::Unavailable, Retry::Backoff, Retry::Ambiguous),
            (503, Some(5), "", Kind::Unavailable, Retry::Backoff, Retry::Ambiguous),
            (504, None, "", Kind::Unavailable, Retry::Backoff, Retry::Ambiguous),
            (524, None, "", Kind::Unavailable, Retry::Backoff, Retry::Ambiguous),
            (525, None, "", Kind::Unavailable, Retry::Never, Retry::Never),
            (526, None, "", Kind::Unavailable, Retry::Never, Retry::Never),
        ];
        for (status, asked, body, kind, read, write) in rows {
            assert_eq!(verdict_of(*status, Access::Read, *asked, body), (*kind, *read), "read {status} {body}");
            assert_eq!(verdict_of(*status, Access::Write, *asked, body), (*kind, *write), "write {status} {body}");
        }
    }

    #[test]
    fn the_property_at_fault_is_found_in_every_place() {
        let is_field = |name: &str| matches!(name, "foo" | "bar");
        let find = |body: &str| at_fault(&read(body.as_bytes()).unwrap(), &is_field);
        let expected = |property: Option<&str>, code: Option<&str>| AtFault {
            property: property.map(str::to_owned),
            code: code.map(str::to_owned),
        };
        let listed = r#"{"errors":[{"code":"INVALID_EMAIL","context":{"propertyName":["foo"]}}]}"#;
        assert_eq!(find(listed), expected(Some("foo"), Some("INVALID_EMAIL")));
        let embedded = r#"{"message":"Property values were not valid: [{\"error\":\"INVALID_OPTION\",\"name\":\"bar\",\"message\":\"x\"}]"}"#;
        assert_eq!(find(embedded), expected(Some("bar"), Some("INVALID_OPTION")));
        let context = r#"{"category":"VALIDATION_ERROR","context":{"propertyName":["foo"]}}"#;
        assert_eq!(find(context), expected(Some("foo"), None));
        // A name that we did not send and a code that is none could be echoed values.
        let echo = r#"{"errors":[{"code":"ada@example.com","context":{"propertyName":["Ada"]}}]}"#;
        assert_eq!(find(echo), AtFault::default());
        assert_eq!(find(r#"{"message":"Property values were not valid: [{"}"#), AtFault::default());
    }
}
