//! Search: filters over an index that lags behind writes.

use std::cmp::Ordering;

use serde::Deserialize;
use serde_json::json;

use super::definition::{Definition, Kind};
use super::instant::{date_ms, datetime_ms};
use super::object_type::{Access, ObjectType};
use super::portal::{Call, Portal};
use super::record_body::{Reason, RecordBody};
use super::records::{Stored, Values};
use super::reply::{Answer, Refusal, Reply};
use super::value::PropertyError;
use super::wire;

const MAX_BODY_CHARS: usize = 3_000;
const MAX_GROUPS: usize = 5;
const MAX_FILTERS_PER_GROUP: usize = 6;
const MAX_FILTERS: usize = 18;
const MAX_LISTED_VALUES: usize = 100;
const DEFAULT_PAGE: usize = 10;
const MAX_PAGE: usize = 200;
/// Results beyond this many cannot be paged to.
const WINDOW: usize = 10_000;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SearchBody {
    filter_groups: Vec<Group>,
    sorts: Vec<Sort>,
    query: Option<String>,
    properties: Vec<String>,
    limit: Option<usize>,
    after: Option<Cursor>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Cursor {
    Text(String),
    Number(usize),
}

#[derive(Debug, Deserialize)]
struct Group {
    #[serde(default)]
    filters: Vec<Filter>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    property_name: String,
    operator: Operator,
    value: Option<String>,
    high_value: Option<String>,
    values: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Operator {
    Eq,
    Neq,
    Lt,
    Lte,
    Gt,
    Gte,
    Between,
    In,
    NotIn,
    HasProperty,
    NotHasProperty,
    ContainsToken,
    NotContainsToken,
}

/// A sort is an object, or a name with an optional leading minus.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Sort {
    #[serde(rename_all = "camelCase")]
    Full {
        property_name: String,
        direction: Option<Direction>,
    },
    Short(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Direction {
    Ascending,
    Descending,
}

pub(crate) fn search(portal: &mut Portal, call: &Call) -> Answer {
    let position = portal.accessed_type(call, Access::ReadRecords)?;
    if String::from_utf8_lossy(&call.body).chars().count() > MAX_BODY_CHARS {
        return Err(Refusal::validation(format!("Search requests are limited to {MAX_BODY_CHARS} characters")));
    }
    let body: SearchBody = wire::json(&call.body)?;
    let kind = &portal.types[position];
    check(portal, kind, &body)?;
    let limit = body.limit.unwrap_or(DEFAULT_PAGE);
    let after = offset(body.after.as_ref())?;
    if limit > MAX_PAGE {
        return Err(Refusal::validation(format!("limit must be at most {MAX_PAGE}")));
    }
    if after.saturating_add(limit) > WINDOW {
        return Err(Refusal::validation(format!("Searches cannot page beyond the first {WINDOW} results")));
    }

    let now_ms = portal.now_ms();
    let mut found: Vec<(&Stored, &Values)> = kind
        .records
        .all()
        .filter(|record| !record.is_archived())
        .filter_map(|record| record.indexed(now_ms).map(|values| (record, values)))
        .filter(|(record, values)| matches(kind, record, values, &body))
        .collect();
    if let Some(sort) = body.sorts.first() {
        order(kind, &mut found, sort);
    }
    let total = found.len();
    let results: Vec<RecordBody> = found
        .into_iter()
        .skip(after)
        .take(limit)
        .map(|(record, values)| portal.record_body_of(kind, record, values, Reason::Read(&body.properties)))
        .collect();
    let next = after + results.len();
    let mut answer = json!({ "total": total, "results": results });
    if next < total && limit > 0 {
        answer["paging"] = json!({ "next": { "after": next.to_string(), "link": format!("?after={next}") } });
    }
    Ok(Reply::json(200, &answer))
}

fn offset(after: Option<&Cursor>) -> Result<usize, Refusal> {
    match after {
        None => Ok(0),
        Some(Cursor::Number(after)) => Ok(*after),
        Some(Cursor::Text(text)) if text.is_empty() => Ok(0),
        Some(Cursor::Text(text)) => text.parse().map_err(|_| Refusal::validation("after must be an integer")),
    }
}

fn check(portal: &Portal, kind: &ObjectType, body: &SearchBody) -> Result<(), Refusal> {
    let too_many = |what: &str, count: usize, max: usize| {
        Err(Refusal::plain(400, format!("Invalid input JSON: too many {what} (count: {count}, max allowed: {max})"))
            .category("VALIDATION_ERROR"))
    };
    if body.filter_groups.len() > MAX_GROUPS {
        return too_many("filterGroups", body.filter_groups.len(), MAX_GROUPS);
    }
    if let Some(group) = body.filter_groups.iter().find(|g| g.filters.len() > MAX_FILTERS_PER_GROUP) {
        return too_many("filters in a filterGroup", group.filters.len(), MAX_FILTERS_PER_GROUP);
    }
    let filters = || body.filter_groups.iter().flat_map(|g| &g.filters);
    if filters().count() > MAX_FILTERS {
        return too_many("filters", filters().count(), MAX_FILTERS);
    }
    if body.sorts.len() > 1 {
        return too_many("sorts", body.sorts.len(), 1);
    }
    for filter in filters() {
        let name = &filter.property_name;
        if kind.definition(name).is_none() {
            let error = PropertyError {
                name: name.clone(),
                code: "PROPERTY_DOESNT_EXIST",
                message: format!("Property \"{name}\" does not exist"),
            };
            return Err(Refusal::invalid_properties(&[error], portal.id, portal.quirks.listed_errors_max));
        }
        let complete = match filter.operator {
            Operator::HasProperty | Operator::NotHasProperty => true,
            Operator::In | Operator::NotIn => filter.values.as_ref().is_some_and(|v| !v.is_empty()),
            Operator::Between => filter.value.is_some() && filter.high_value.is_some(),
            _ => filter.value.is_some(),
        };
        if !complete {
            return Err(Refusal::validation(format!("The filter on {name} lacks a value for its operator")));
        }
        let listed = filter.values.as_ref().map_or(0, Vec::len);
        if listed > MAX_LISTED_VALUES {
            return too_many("values in a filter", listed, MAX_LISTED_VALUES);
        }
    }
    Ok(())
}

fn matches(kind: &ObjectType, record: &Stored, values: &Values, body: &SearchBody) -> bool {
    let by_filters = body.filter_groups.is_empty()
        || body.filter_groups.iter().any(|g| g.filters.iter().all(|f| passes(kind, record, values, f)));
    by_filters && body.query.as_deref().is_none_or(|query| mentions(kind, values, query))
}

fn mentions(kind: &ObjectType, values: &Values, query: &str) -> bool {
    let searched = kind.searched.iter().filter_map(|name| values.get(name.as_str())).map(|v| v.to_lowercase());
    let searched: Vec<String> = searched.collect();
    query.to_lowercase().split_whitespace().all(|word| searched.iter().any(|value| value.contains(word)))
}

fn passes(kind: &ObjectType, record: &Stored, values: &Values, filter: &Filter) -> bool {
    let Some(definition) = kind.definition(&filter.property_name) else { return false };
    let stored = kind.value(record, values, definition);
    let wanted = filter.value.as_deref().unwrap_or_default();
    let compare = |to: &str| stored.as_deref().and_then(|value| compare(definition, value, to));
    // A record without a value passes no comparison, but it passes their negations.
    match filter.operator {
        Operator::HasProperty => stored.is_some(),
        Operator::NotHasProperty => stored.is_none(),
        Operator::Eq => compare(wanted) == Some(Ordering::Equal),
        Operator::Neq => compare(wanted) != Some(Ordering::Equal),
        Operator::Lt => compare(wanted) == Some(Ordering::Less),
        Operator::Lte => matches!(compare(wanted), Some(Ordering::Less | Ordering::Equal)),
        Operator::Gt => compare(wanted) == Some(Ordering::Greater),
        Operator::Gte => matches!(compare(wanted), Some(Ordering::Greater | Ordering::Equal)),
        Operator::Between => {
            let high = filter.high_value.as_deref().unwrap_or_default();
            matches!(compare(wanted), Some(Ordering::Greater | Ordering::Equal))
                && matches!(compare(high), Some(Ordering::Less | Ordering::Equal))
        }
        Operator::In => listed(definition, stored.as_deref(), filter),
        Operator::NotIn => !listed(definition, stored.as_deref(), filter),
        Operator::ContainsToken => has_token(stored.as_deref(), wanted),
        Operator::NotContainsToken => !has_token(stored.as_deref(), wanted),
    }
}

/// Texts are indexed in lowercase, and `IN` does not fold what it is given: an uppercase value never matches.
fn listed(definition: &Definition, stored: Option<&str>, filter: &Filter) -> bool {
    let Some(stored) = stored else { return false };
    let values = filter.values.as_deref().unwrap_or_default();
    match definition.kind {
        Kind::String | Kind::PhoneNumber => {
            let indexed = stored.to_lowercase();
            values.contains(&indexed)
        }
        _ => values.iter().any(|value| compare(definition, stored, value) == Some(Ordering::Equal)),
    }
}

fn compare(definition: &Definition, stored: &str, wanted: &str) -> Option<Ordering> {
    match definition.kind {
        Kind::Number => stored.parse::<f64>().ok()?.partial_cmp(&wanted.trim().parse::<f64>().ok()?),
        // Filters on times are usually epoch milliseconds, whatever reads show.
        Kind::Date => Some(date_ms(stored)?.cmp(&date_ms(wanted).or_else(|| datetime_ms(wanted))?)),
        Kind::DateTime => Some(datetime_ms(stored)?.cmp(&datetime_ms(wanted).or_else(|| date_ms(wanted))?)),
        _ => Some(stored.to_lowercase().cmp(&wanted.to_lowercase())),
    }
}

/// Whether the words of the value include the wanted one; `*` stands for any ending or beginning.
fn has_token(stored: Option<&str>, wanted: &str) -> bool {
    let Some(stored) = stored else { return false };
    let wanted = wanted.to_lowercase();
    let stored = stored.to_lowercase();
    let core = wanted.trim_matches('*');
    let fits = |token: &str| match (wanted.starts_with('*'), wanted.ends_with('*')) {
        (true, true) => token.contains(core),
        (true, false) => token.ends_with(core),
        (false, true) => token.starts_with(core),
        (false, false) => token == core,
    };
    fits(&stored) || stored.split(|c: char| !c.is_alphanumeric()).any(fits)
}

fn order(kind: &ObjectType, found: &mut [(&Stored, &Values)], sort: &Sort) {
    let (name, direction) = match sort {
        Sort::Full { property_name, direction } => (property_name.as_str(), direction.unwrap_or(Direction::Ascending)),
        Sort::Short(text) => match text.strip_prefix('-') {
            Some(name) => (name, Direction::Descending),
            None => (text.as_str(), Direction::Ascending),
        },
    };
    let Some(definition) = kind.definition(name) else { return };
    found.sort_by(|a, b| {
        let (a, b) = (kind.value(a.0, a.1, definition), kind.value(b.0, b.1, definition));
        // Records without the property come last in either direction.
        match (a, b) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => directed(compare(definition, &a, &b), direction, &a, &b),
        }
    });
}

fn directed(ordering: Option<Ordering>, direction: Direction, a: &str, b: &str) -> Ordering {
    let ordering = ordering.unwrap_or_else(|| a.cmp(b));
    match direction {
        Direction::Ascending => ordering,
        Direction::Descending => ordering.reverse(),
    }
}
