//! Queries: checked against the objects, answered in pages.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::Serialize;

use super::decimal::Decimal;
use super::field::{Field, Kind};
use super::id;
use super::object::Object;
use super::org::{Call, Org};
use super::record_body::RecordBody;
use super::records::Stored;
use super::reply::{Answer, Refusal, Reply};
use super::soql::{Condition, ESCAPE, Literal, Malformed, Operator, Path, Select, parse};
use super::value::{date_time, shown};

/// Pages that a request may ask for with `Sforce-Query-Options`.
const PAGE_SIZES: std::ops::RangeInclusive<usize> = 200..=2_000;

/// A query under way: what is left of it can be fetched page by page.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    object: usize,
    ids: Vec<String>,
    columns: Vec<Column>,
    page: usize,
}

/// A path that was found: relationships to follow, then a field of the object at their end.
#[derive(Debug, Clone)]
struct Column {
    hops: Vec<Field>,
    field: Field,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    total_size: usize,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_records_url: Option<String>,
    records: Vec<RecordBody>,
}

/// A condition with its paths found and its literals checked.
enum Test {
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
    /// The value is one of these, in the form in which values are compared.
    OneOf {
        column: Column,
        values: BTreeSet<Option<String>>,
        negated: bool,
    },
    Compare {
        column: Column,
        operator: Operator,
        value: String,
    },
    Like {
        column: Column,
        pattern: Vec<Wildcard>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wildcard {
    Char(char),
    One,
    Any,
}

pub(crate) fn first_page(org: &mut Org, call: &Call) -> Answer {
    let text = call.parameter("q").unwrap_or_default();
    if text.trim().is_empty() {
        return Err(Refusal::new(400, "MALFORMED_QUERY", "A query string has to be specified"));
    }
    let select = parse(text).map_err(|malformed| pointed(text, "MALFORMED_QUERY", &malformed))?;
    let object = org.object(&select.from.parts.join(".")).ok_or_else(|| {
        let message = format!(
            "sObject type '{}' is not supported. If you are attempting to use a custom object, be sure to append the \
             '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names.",
            select.from.parts.join(".")
        );
        pointed(text, "INVALID_TYPE", &Malformed { message, at: select.from.at })
    })?;
    let finder = Finder { org, object, text };
    let columns = select.paths.iter().map(|path| finder.column(path)).collect::<Result<Vec<_>, _>>()?;
    let with_deleted = call.segment(0) == "queryAll";
    let ids = finder.matches(&select, with_deleted)?;
    if select.paths.is_empty() {
        let page = Page { total_size: ids.len(), done: true, next_records_url: None, records: Vec::new() };
        return Ok(Reply::json(200, &page));
    }
    let cursor = Cursor { object, ids, columns, page: page_size(org, call) };
    let name = if cursor.ids.len() > cursor.page {
        let name = org.next_id("01g");
        org.cursors.insert(name.clone(), cursor.clone());
        name
    } else {
        String::new()
    };
    Ok(page(org, call, &cursor, &name, 0))
}

pub(crate) fn next_page(org: &mut Org, call: &Call) -> Answer {
    let unknown = || Refusal::new(400, "INVALID_QUERY_LOCATOR", "invalid query locator");
    let (name, start) = call.segment(1).rsplit_once('-').ok_or_else(unknown)?;
    let start: usize = start.parse().map_err(|_| unknown())?;
    let cursor = org.cursors.get(name).filter(|cursor| start < cursor.ids.len()).ok_or_else(unknown)?.clone();
    Ok(page(org, call, &cursor, name, start))
}

fn page_size(org: &Org, call: &Call) -> usize {
    let options = call.header("sforce-query-options").unwrap_or_default();
    let asked = options.split(',').filter_map(|option| option.trim().strip_prefix("batchSize=")).next();
    let asked = asked.and_then(|size| size.parse::<usize>().ok());
    let asked = asked.map(|size| size.clamp(*PAGE_SIZES.start(), *PAGE_SIZES.end()));
    asked.map_or(org.quirks.query_page_size, |size| size.min(org.quirks.query_page_size))
}

fn page(org: &Org, call: &Call, cursor: &Cursor, name: &str, start: usize) -> Reply {
    let end = cursor.ids.len().min(start + cursor.page);
    let done = end == cursor.ids.len();
    let root = call.root();
    let object = &org.objects[cursor.object];
    let rows = cursor.ids[start..end].iter().filter_map(|id| object.records.by_id(id));
    let records = rows.map(|row| selected(org, object, row, &cursor.columns, &root)).collect();
    let next_records_url = (!done).then(|| format!("{root}/query/{name}-{end}"));
    Reply::json(200, &Page { total_size: cursor.ids.len(), done, next_records_url, records })
}

fn selected(org: &Org, object: &Object, row: &Stored, columns: &[Column], root: &str) -> RecordBody {
    let mut body = RecordBody::of(object, row, root);
    for column in columns {
        let (mut at, mut object, mut row) = (Some(&mut body), object, row);
        for hop in &column.hops {
            let parent = parent(org, row, hop);
            let name = hop.relationship.as_deref().unwrap_or_default();
            at = at.and_then(|at| at.nested(name, || parent.map(|(object, row)| RecordBody::of(object, row, root))));
            if let Some((parent, parent_row)) = parent {
                (object, row) = (parent, parent_row);
            }
        }
        if let Some(at) = at {
            at.add(org, object, row, &column.field);
        }
    }
    body
}

fn parent<'a>(org: &'a Org, row: &Stored, hop: &Field) -> Option<(&'a Object, &'a Stored)> {
    let id = row.values.get(&hop.name)?;
    let object = &org.objects[org.object_of_id(id)?];
    Some((object, object.records.by_id(id)?))
}

/// An error about a place in a query.
fn pointed(query: &str, code: &str, malformed: &Malformed) -> Refusal {
    let before = query.get(..malformed.at).unwrap_or(query);
    let from = before.char_indices().rev().nth(29).map_or(0, |(at, _)| at);
    let until =
        query[malformed.at.min(query.len())..].char_indices().nth(30).map_or(query.len(), |(at, _)| malformed.at + at);
    let row = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let marker = " ".repeat(before[from..].chars().count());
    let message = format!(
        "\n{}\n{marker}^\nERROR at Row:{row}:Column:{column}\n{}",
        query.get(from..until).unwrap_or_default(),
        malformed.message
    );
    Refusal::new(400, code, message)
}

/// Finds what a query names.
struct Finder<'a> {
    org: &'a Org,
    object: usize,
    text: &'a str,
}

impl Finder<'_> {
    fn column(&self, path: &Path) -> Result<Column, Refusal> {
        let mut object = &self.org.objects[self.object];
        let mut hops = Vec::new();
        let (last, relationships) = path.parts.split_last().ok_or_else(Refusal::not_found)?;
        for name in relationships {
            let target = object.relationship(name).and_then(|hop| {
                let target = hop.reference_to.iter().rev().find_map(|target| self.org.object(target))?;
                Some((hop, target))
            });
            let Some((hop, target)) = target else {
                let message = format!(
                    "Didn't understand relationship '{name}' in field path. If you are attempting to use a custom \
                     relationship, be sure to append the '__r' after the custom relationship name."
                );
                return Err(pointed(self.text, "INVALID_FIELD", &Malformed { message, at: path.at }));
            };
            hops.push(hop.clone());
            object = &self.org.objects[target];
        }
        let field = object.field(last).cloned().ok_or_else(|| {
            let message = format!(
                "No such column '{last}' on entity '{}'. If you are attempting to use a custom field, be sure to append \
                 the '__c' after the custom field name.",
                object.name
            );
            pointed(self.text, "INVALID_FIELD", &Malformed { message, at: path.at })
        })?;
        Ok(Column { hops, field })
    }

    fn filter(&self, path: &Path) -> Result<Column, Refusal> {
        let column = self.column(path)?;
        if column.field.filterable() && !column.field.kind.is_compound() {
            return Ok(column);
        }
        let message = format!("field '{}' can not be filtered in a query call", column.field.name);
        Err(pointed(self.text, "INVALID_FIELD", &Malformed { message, at: path.at }))
    }

    fn test(&self, condition: &Condition) -> Result<Test, Refusal> {
        let all = |inner: &[Condition]| inner.iter().map(|one| self.test(one)).collect::<Result<Vec<_>, _>>();
        Ok(match condition {
            Condition::All(inner) => Test::All(all(inner)?),
            Condition::Any(inner) => Test::Any(all(inner)?),
            Condition::Not(inner) => Test::Not(Box::new(self.test(inner)?)),
            Condition::Compare { path, operator, literals } => {
                let column = self.filter(path)?;
                if *operator == Operator::Like {
                    return like(column, literals);
                }
                let values = literals.iter().map(|literal| comparable(&column.field, literal));
                let values = values.collect::<Result<BTreeSet<_>, _>>()?;
                match operator {
                    Operator::Equal | Operator::In => Test::OneOf { column, values, negated: false },
                    Operator::NotEqual | Operator::NotIn => Test::OneOf { column, values, negated: true },
                    operator => match values.into_iter().next().flatten() {
                        Some(value) => Test::Compare { column, operator: *operator, value },
                        None => {
                            let message = "Null comparison operators are limited to = and !=".to_owned();
                            return Err(pointed(self.text, "INVALID_FIELD", &Malformed { message, at: path.at }));
                        }
                    },
                }
            }
        })
    }

    /// Ids of the records that a query selects, in its order.
    fn matches(&self, select: &Select, with_deleted: bool) -> Result<Vec<String>, Refusal> {
        let test = select.condition.as_ref().map(|condition| self.test(condition)).transpose()?;
        let mut order = Vec::new();
        for by in &select.order {
            order.push((self.filter(&by.path)?, by.descending, by.nulls_last));
        }
        let object = &self.org.objects[self.object];
        let found = |row: &&Stored| {
            (with_deleted || !row.deleted) && test.as_ref().is_none_or(|test| self.holds(test, object, row))
        };
        let indexed = test.as_ref().filter(|_| !with_deleted).and_then(|test| self.indexed(test));
        let mut rows: Vec<&Stored> = match indexed {
            Some(candidates) => candidates.into_iter().filter(found).collect(),
            None => object.records.all().filter(found).collect(),
        };
        rows.sort_by(|a, b| {
            let by = |(column, descending, nulls_last): &(Column, bool, bool)| {
                let (a, b) = (self.value(object, a, column), self.value(object, b, column));
                match (&a, &b) {
                    (None, Some(_)) if *nulls_last => Ordering::Greater,
                    (Some(_), None) if *nulls_last => Ordering::Less,
                    (Some(a), Some(b)) => {
                        let order = ordered(&column.field, a, b);
                        if *descending { order.reverse() } else { order }
                    }
                    _ => a.is_some().cmp(&b.is_some()),
                }
            };
            order.iter().map(by).find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
        });
        let limit = select.limit.unwrap_or(usize::MAX);
        Ok(rows.into_iter().skip(select.offset).take(limit).map(|row| row.id.clone()).collect())
    }

    /// Live records among which all matches are, if a key says which; otherwise all have to be looked at.
    fn indexed(&self, test: &Test) -> Option<Vec<&Stored>> {
        let records = &self.org.objects[self.object].records;
        match test {
            Test::All(inner) => inner.iter().find_map(|one| self.indexed(one)),
            Test::OneOf { column, values, negated: false } if column.hops.is_empty() && !values.contains(&None) => {
                let values = values.iter().flatten();
                match column.field.kind {
                    Kind::Id => Some(values.filter_map(|id| records.by_id(id)).collect()),
                    _ if column.field.id_lookup && !column.field.auto_number => {
                        Some(values.flat_map(|value| records.holders(&column.field, value)).collect())
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn holds(&self, test: &Test, object: &Object, row: &Stored) -> bool {
        match test {
            Test::All(inner) => inner.iter().all(|one| self.holds(one, object, row)),
            Test::Any(inner) => inner.iter().any(|one| self.holds(one, object, row)),
            Test::Not(inner) => !self.holds(inner, object, row),
            Test::OneOf { column, values, negated } => values.contains(&self.value(object, row, column)) != *negated,
            Test::Compare { column, operator, value } => self.value(object, row, column).is_some_and(|own| {
                let order = ordered(&column.field, &own, value);
                match operator {
                    Operator::Less => order == Ordering::Less,
                    Operator::LessOrEqual => order != Ordering::Greater,
                    Operator::Greater => order == Ordering::Greater,
                    _ => order != Ordering::Less,
                }
            }),
            Test::Like { column, pattern } => {
                self.value(object, row, column).is_some_and(|own| is_like(&own.chars().collect::<Vec<_>>(), pattern))
            }
        }
    }

    /// A column's value in the form in which values are compared.
    fn value(&self, object: &Object, row: &Stored, column: &Column) -> Option<String> {
        let (mut object, mut row) = (object, row);
        for hop in &column.hops {
            (object, row) = parent(self.org, row, hop)?;
        }
        let value = self.org.value(object, row, &column.field)?;
        Some(if column.field.kind.is_text() { column.field.folded(&value) } else { value })
    }
}

fn like(column: Column, literals: &[Literal]) -> Result<Test, Refusal> {
    match literals {
        [Literal::Text(text)] if column.field.kind.is_text() => Ok(Test::Like { column, pattern: pattern(text) }),
        _ => {
            let message = format!("invalid operator on {} field", column.field.kind.name());
            Err(Refusal::new(400, "INVALID_QUERY_FILTER_OPERATOR", message))
        }
    }
}

/// A literal in the form in which values of the field are compared; null is nothing.
fn comparable(field: &Field, literal: &Literal) -> Result<Option<String>, Refusal> {
    let value = match (field.kind, literal) {
        (_, Literal::Null) => return Ok(None),
        (kind, Literal::Text(text)) if kind.is_text() => field.folded(text),
        (Kind::Id | Kind::Reference, Literal::Text(text)) => id::canonical(text)
            .ok_or_else(|| Refusal::new(400, "INVALID_QUERY_FILTER_OPERATOR", format!("invalid ID field: {text}")))?,
        (kind, Literal::Number(number)) if kind.is_number() => number.to_string(),
        (Kind::Boolean, Literal::Boolean(value)) => value.to_string(),
        (Kind::Date, Literal::Date(text)) => text.clone(),
        (Kind::DateTime, Literal::DateTime(text)) => date_time(text).map(shown).unwrap_or_default(),
        (kind, _) => {
            let quotes =
                if kind.is_text() || matches!(kind, Kind::Id | Kind::Reference) { "should" } else { "should not" };
            let message = format!(
                "value of filter criterion for field '{}' must be of type {} and {quotes} be enclosed in quotes",
                field.name,
                kind.word()
            );
            return Err(Refusal::new(400, "INVALID_FIELD", message));
        }
    };
    Ok(Some(value))
}

/// Order of two values in the form in which they are compared.
fn ordered(field: &Field, a: &str, b: &str) -> Ordering {
    match (Decimal::parse(a), Decimal::parse(b)) {
        (Some(a), Some(b)) if field.kind.is_number() => a.compare(&b),
        _ => a.cmp(b),
    }
}

fn pattern(text: &str) -> Vec<Wildcard> {
    let mut pattern = Vec::new();
    let mut chars = text.to_lowercase().chars().collect::<Vec<_>>().into_iter();
    while let Some(c) = chars.next() {
        pattern.push(match c {
            ESCAPE => Wildcard::Char(chars.next().unwrap_or(ESCAPE)),
            '%' => Wildcard::Any,
            '_' => Wildcard::One,
            c => Wildcard::Char(c),
        });
    }
    pattern
}

fn is_like(text: &[char], pattern: &[Wildcard]) -> bool {
    match (pattern.first(), text.first()) {
        (None, first) => first.is_none(),
        (Some(Wildcard::Any), None) => is_like(text, &pattern[1..]),
        (Some(Wildcard::Any), Some(_)) => is_like(text, &pattern[1..]) || is_like(&text[1..], pattern),
        (Some(Wildcard::One), Some(_)) => is_like(&text[1..], &pattern[1..]),
        (Some(Wildcard::Char(c)), Some(own)) => {
            own.to_lowercase().next() == Some(*c) && is_like(&text[1..], &pattern[1..])
        }
        (Some(_), None) => false,
    }
}
