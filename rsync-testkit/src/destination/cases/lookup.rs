//! Reading: without effect, exact, and honest when it fails.

use std::collections::BTreeSet;
use std::time::Duration;

use rsync_core::destination::Target;
use rsync_core::ids::FieldName;
use rsync_core::record::{Cell, FieldType, Value};
use rsync_core::{Kind, Retry};

use crate::destination::bench::{Bench, CaseResult, Stage, Stop, ensure};
use crate::destination::harness::{RequestKind, ServiceFault};
use crate::destination::sheet::{DECIMAL, Datum, Sheet};

fn lookup_limit(bench: &Bench<'_>) -> Result<usize, Stop> {
    match bench.capability().lookup_rows {
        Some(limit) => Ok(limit),
        None => Stop::not_applicable("the destination cannot look up"),
    }
}

pub(super) async fn changes_nothing(bench: &Bench<'_>) -> CaseResult {
    let (sheet, expected) = bench.sample("", 1);
    bench.put(Stage::New, &sheet).await?;
    let (records, requests) = (bench.snapshot().await?, bench.requests().await?);

    let account = bench.destination.check(&bench.target).await;
    bench.record("a check", &account);
    let again = bench.destination.check(&bench.target).await?;
    ensure!(account? == again, "two checks tell different accounts");
    let schema = bench.describe().await?;
    for field in [&bench.target.match_on, &bench.fields().text] {
        let writable = schema.field(field.as_str()).is_some_and(|f| f.writable && f.accepts(FieldType::Text));
        ensure!(writable, "the description does not say that `{field}` can be written as text");
    }
    let unique = schema.field(bench.target.match_on.as_str()).is_some_and(|field| field.unique);
    ensure!(unique, "the description does not say that `{}` identifies records", bench.target.match_on);
    if bench.capability().lookup_rows.is_some() {
        for key in [expected[0].0.clone(), bench.key("missing")] {
            bench.look_up(&[key], vec![(bench.fields().text, FieldType::Text)]).await??;
        }
    }
    let now = bench.requests().await?;
    ensure!(now.writing == requests.writing, "{} writing requests were sent", now.writing - requests.writing);
    ensure!(now.reading > requests.reading, "no reading request was sent: the service was not asked");
    ensure!(bench.snapshot().await? == records, "the records differ");
    Ok(None)
}

pub(super) async fn unknown_object(bench: &Bench<'_>) -> CaseResult {
    let Some(object) = bench.harness.unknown_object() else {
        return Stop::not_applicable("the service takes any object name");
    };
    let target = Target::new(object, bench.target.match_on.clone());
    let (check, describe) = (bench.destination.check(&target).await, bench.destination.describe(&target).await);
    bench.record("a check", &check);
    bench.record("a description", &describe);
    for (what, error) in [("check", check.err()), ("describe", describe.err())] {
        match error {
            Some(error) if error.kind() == Kind::NotFound && error.retry() == Retry::Never => {}
            Some(error) => return Stop::failed(format!("{what} is no `NotFound` that stays so: {error:?}")),
            None => return Stop::failed(format!("{what} is content with an object that does not exist")),
        }
    }
    Ok(None)
}

pub(super) async fn finds(bench: &Bench<'_>) -> CaseResult {
    let limit = lookup_limit(bench)?;
    let count = bench.rows_for(Stage::New, 3)?;
    let (sheet, expected) = bench.sample("", count);
    bench.put(Stage::New, &sheet).await?;
    let text = bench.fields().text;

    // The first key has no record, the others come in reverse order.
    let mut asked = vec![(bench.key("missing"), None)];
    asked.extend(expected.into_iter().rev().map(|(key, cell)| (key, Some(cell))));
    for chunk in asked.chunks(limit) {
        let keys: Vec<String> = chunk.iter().map(|(key, _)| key.clone()).collect();
        let found = bench.look_up(&keys, vec![(text.clone(), FieldType::Text)]).await??;
        for (index, (_, cell)) in chunk.iter().enumerate() {
            let rows: Vec<usize> = (0..found.matches.len()).filter(|row| found.matches[*row].key == index).collect();
            let wanted = usize::from(cell.is_some());
            ensure!(rows.len() == wanted, "{} records found for a key that has {wanted}", rows.len());
            if let (Some(cell), [row]) = (cell, &rows[..]) {
                let read = found.fields.column_of(text.as_str()).map(|column| column.cell(*row));
                ensure!(
                    read.as_ref().is_some_and(|read| equal(cell, read)),
                    "`{text}` of one record is read for another"
                );
            }
        }
    }
    typed_fields(bench).await
}

/// One record with a value of every type, read in those types.
async fn typed_fields(bench: &Bench<'_>) -> CaseResult {
    let fields = bench.fields();
    let typed: Vec<(FieldName, FieldType, Datum)> = [
        fields.integer.map(|field| (field, FieldType::Integer, Datum::Integer(42))),
        fields.float.map(|field| (field, FieldType::Float, Datum::Float(-29.85))),
        fields.decimal.map(|field| (field, DECIMAL, Datum::Decimal(-298_500))),
        fields.boolean.map(|field| (field, FieldType::Boolean, Datum::Boolean(true))),
        fields.date.map(|field| (field, FieldType::Date, Datum::Date(19_782))),
        fields.timestamp.map(|field| (field, FieldType::Timestamp, Datum::Timestamp(1_711_848_600_000_000))),
        fields.text_list.map(|(field, items)| (field, FieldType::TextList, Datum::TextList(items))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let names: BTreeSet<&FieldName> = typed.iter().map(|(field, ..)| field).collect();
    ensure!(names.len() == typed.len(), "the harness names one field for two types");
    let columns: Vec<(FieldName, FieldType)> = typed.iter().map(|(field, ty, _)| (field.clone(), *ty)).collect();
    let key = bench.key("typed");
    let mut sheet = Sheet::new(&bench.target, columns.clone());
    sheet.push(&key, typed.iter().map(|(.., cell)| cell.clone()).collect());
    bench.put(Stage::New, &sheet).await?;

    let mut asked = columns;
    asked.push((fields.text.clone(), FieldType::Text));
    let found = bench.look_up(&[key], asked.clone()).await??;
    ensure!(found.matches.len() == 1, "{} records found for one key", found.matches.len());
    let schema = found.fields.schema();
    let answered = asked.iter().all(|(name, ty)| {
        schema.field_with_name(name.as_str()).is_ok_and(|field| FieldType::from_arrow(field.data_type()) == Some(*ty))
    });
    ensure!(answered, "the answer does not have the requested fields in the requested types");
    for (field, _, cell) in &typed {
        let read = found.fields.column_of(field.as_str()).map(|column| column.cell(0));
        ensure!(
            read.as_ref().is_some_and(|read| equal(cell, read)),
            "`{field}` was written as {cell:?} and is read otherwise"
        );
    }
    let empty = found.fields.column_of(fields.text.as_str()).map(|column| column.cell(0));
    ensure!(empty == Some(Cell::Clear), "`{}` is empty and is not read as null", fields.text);
    Ok(None)
}

fn equal(cell: &Datum, read: &Cell<'_>) -> bool {
    let Cell::Set(value) = read else { return false };
    match (cell, value) {
        (Datum::Text(a), Value::Text(b)) => a == b,
        (Datum::Integer(a), Value::Integer(b)) => a == b,
        (Datum::Float(a), Value::Float(b)) => a == b,
        (Datum::Decimal(a), Value::Decimal { unscaled, .. }) => a == unscaled,
        (Datum::Boolean(a), Value::Boolean(b)) => a == b,
        (Datum::Date(a), Value::Date(b)) => a == b,
        (Datum::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Datum::TextList(a), Value::TextList(b)) => {
            let (mut a, mut b): (Vec<&str>, Vec<&str>) = (a.iter().map(String::as_str).collect(), b.clone());
            a.sort_unstable();
            b.sort_unstable();
            a == b
        }
        _ => false,
    }
}

pub(super) async fn over_the_limit(bench: &Bench<'_>) -> CaseResult {
    let limit = lookup_limit(bench)?;
    if limit > 20_000 {
        return Stop::not_applicable(format!("{limit} keys are too many to ask for here"));
    }
    let before = bench.requests().await?;
    let keys: Vec<String> = (0..=limit).map(|i| bench.key(i)).collect();
    let answer = bench.look_up(&keys, Vec::new()).await?;
    let Err(error) = answer else { return Stop::failed(format!("{} keys were taken", keys.len())) };
    ensure!(error.retry() == Retry::Never, "the error says that trying again helps: {error:?}");
    ensure!(bench.requests().await? == before, "a request was sent");
    Ok(None)
}

pub(super) async fn failing(bench: &Bench<'_>) -> CaseResult {
    lookup_limit(bench)?;
    let (sheet, expected) = bench.sample("", 1);
    bench.put(Stage::New, &sheet).await?;
    let key = &expected[0].0;
    let refuse = |status, retry_after| ServiceFault::Refuse { status, retry_after };
    let faults = [
        refuse(403, None),
        refuse(429, Some(120)),
        refuse(500, None),
        refuse(503, None),
        ServiceFault::ResetBefore,
        ServiceFault::HtmlPage,
        ServiceFault::EmptyBody,
        ServiceFault::TruncatedBody,
        ServiceFault::Redirect,
    ];
    let mut tried = 0;
    for fault in &faults {
        let armed = match bench.arm(fault, RequestKind::Reading, 1).await {
            Ok(armed) => armed,
            Err(Stop::NotApplicable(_)) => continue,
            Err(stop) => return Err(stop),
        };
        let lookup = bench.look_up(std::slice::from_ref(key), Vec::new());
        let Ok(answer) = tokio::time::timeout(Duration::from_secs(10), lookup).await else {
            return Stop::failed(format!("{fault:?}: no answer within 10 s"));
        };
        bench.disarm(armed).await?;
        let Err(error) = answer? else { return Stop::failed(format!("{fault:?} is taken for an answer")) };
        let delay = Retry::After(Duration::from_secs(120));
        let expected = match fault {
            ServiceFault::Refuse { status: 429, .. } => error.retry() == delay && error.kind() == Kind::RateLimited,
            ServiceFault::Refuse { status: 403, .. } => {
                error.kind() == Kind::Forbidden && error.retry() == Retry::Never
            }
            ServiceFault::Refuse { .. } | ServiceFault::ResetBefore => {
                error.kind() == Kind::Unavailable && error.retry() != Retry::Never
            }
            _ => true,
        };
        ensure!(expected, "{fault:?}: the wrong kind or retry class: {error:?}");
        tried += 1;
    }
    if tried == 0 {
        return Stop::not_applicable("the harness cannot make lookups fail");
    }
    Ok(Some(format!("{tried} of {} kinds of failure", faults.len())))
}
