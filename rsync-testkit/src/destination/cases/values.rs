//! Values of every type: stored as they are, or rejected; never altered.

use rsync_core::ids::FieldName;
use rsync_core::record::FieldType;
use rsync_core::{Kind, Retry};

use crate::destination::bench::{Bench, CaseResult, Stage, Stop, ensure, is_rejected, is_written};
use crate::destination::sheet::{DECIMAL, Datum, Sheet};

/// Writes each value to a record of its own. A `plain` one must be stored; of the `tricky` ones each must be
/// stored as it is or rejected. Returns how many were rejected.
async fn exact_or_rejected(
    bench: &Bench<'_>,
    field: &FieldName,
    ty: FieldType,
    plain: Vec<Datum>,
    tricky: Vec<Datum>,
) -> Result<usize, Stop> {
    let mut rejected = 0;
    let must_be_stored = plain.len();
    for (index, cell) in plain.into_iter().chain(tricky).enumerate() {
        let key = bench.key(format!("{field}{index}"));
        let mut sheet = Sheet::new(&bench.target, vec![(field.clone(), ty)]);
        sheet.push(&key, vec![cell.clone()]);
        let refused = match bench.write(bench.operation(Stage::New)?, &sheet).await? {
            Ok(outcomes) if outcomes.iter().all(is_written) => false,
            Ok(outcomes) if outcomes.iter().all(is_rejected) => true,
            Err(error) if error.kind() == Kind::Rejected && error.retry() == Retry::Never => true,
            other => return Stop::failed(format!("{cell:?} in `{field}` is neither stored nor rejected: {other:?}")),
        };
        if refused {
            ensure!(index >= must_be_stored, "{cell:?} in `{field}` is rejected");
            ensure!(bench.stored(&key).await?.is_none(), "{cell:?} in `{field}` is rejected and the record was made");
            rejected += 1;
        } else {
            bench.expect_stored(&key, field, &cell).await?;
        }
    }
    Ok(rejected)
}

fn remark(rejected: usize, of: usize) -> Option<String> {
    (rejected > 0).then(|| format!("{rejected} of {of} odd values are rejected"))
}

pub(super) async fn text(bench: &Bench<'_>) -> CaseResult {
    let marked = |text: &str| match bench.text("") {
        Datum::Text(mark) => Datum::Text(format!("{mark}{text}")),
        other => other,
    };
    let tricky: Vec<Datum> = [
        "\"quoted\"",
        "it's",
        "back\\slash \\n \\\" \\u0041",
        "two\nlines",
        "two\r\nlines",
        "a tab\t",
        " space at the end ",
        "a,b;c|d",
        "ünïcödé Ωμέγα 漢字",
        "decomposed e\u{301}",
        "family 👨\u{200d}👩\u{200d}👧 and flag 🇪🇺",
        "#N/A",
        "<b>&amp;</b> ]]> <!--",
        "{{ contact.name }} {% if %}",
        "%s %00 %2F",
        "null",
        "=1+1",
    ]
    .into_iter()
    .map(&marked)
    // Words that some systems take for something else, alone in their field.
    .chain(["#N/A", "null", "NULL", "None", "true", "0", "007", "1e5", "-", "=1+1"].map(Datum::from))
    .chain([marked(&"long ".repeat(2_000))])
    .collect();
    let (plain, of) = (vec![bench.text("plain")], tricky.len());
    let rejected = exact_or_rejected(bench, &bench.fields().text, FieldType::Text, plain, tricky).await?;
    Ok(remark(rejected, of))
}

pub(super) async fn numbers(bench: &Bench<'_>) -> CaseResult {
    let fields = bench.fields();
    let (mut rejected, mut of) = (0, 0);
    if let Some(field) = fields.integer {
        let plain = [0, 1, -1, 42, 1_000_000].map(Datum::Integer).to_vec();
        let odd = [1 << 53, (1 << 53) + 1, -(1 << 53) - 1, i64::MAX, i64::MIN].map(Datum::Integer).to_vec();
        of += odd.len();
        rejected += exact_or_rejected(bench, &field, FieldType::Integer, plain, odd).await?;
    }
    if let Some(field) = fields.float {
        let plain = [0.0, 0.5, -29.85].map(Datum::Float).to_vec();
        let odd = [0.1 + 0.2, 1e15, 1e21, 1e-7, f64::MAX, f64::MIN_POSITIVE].map(Datum::Float).to_vec();
        of += odd.len();
        rejected += exact_or_rejected(bench, &field, FieldType::Float, plain, odd).await?;
    }
    if let Some(field) = fields.decimal {
        let plain = [0, 298_500, -500].map(Datum::Decimal).to_vec();
        let odd = [1, -1, 999_999_999_999_999_999, -999_999_999_999_999_999].map(Datum::Decimal).to_vec();
        of += odd.len();
        rejected += exact_or_rejected(bench, &field, DECIMAL, plain, odd).await?;
    }
    if of == 0 { Stop::not_applicable("the harness names no number field") } else { Ok(remark(rejected, of)) }
}

pub(super) async fn booleans(bench: &Bench<'_>) -> CaseResult {
    let Some(field) = bench.fields().boolean else {
        return Stop::not_applicable("the harness names no boolean field");
    };
    let plain = [true, false].map(Datum::Boolean).to_vec();
    exact_or_rejected(bench, &field, FieldType::Boolean, plain, Vec::new()).await?;
    Ok(None)
}

pub(super) async fn moments(bench: &Bench<'_>) -> CaseResult {
    const SECOND: i64 = 1_000_000;
    let fields = bench.fields();
    let (mut rejected, mut of) = (0, 0);
    if let Some(field) = fields.date {
        // 2024-02-29, 1970-01-01; 1969-12-31, 1900-01-01, 0001-01-01, 9999-12-31.
        let plain = [19_782, 0].map(Datum::Date).to_vec();
        let odd = [-1, -25_567, -719_162, 2_932_896].map(Datum::Date).to_vec();
        of += odd.len();
        rejected += exact_or_rejected(bench, &field, FieldType::Date, plain, odd).await?;
    }
    if let Some(field) = fields.timestamp {
        // 2024-03-31T01:30:00Z, when clocks change in Europe; with fractions, before 1970, at the edges.
        let change = 1_711_848_600 * SECOND;
        let plain = [change, 0].map(Datum::Timestamp).to_vec();
        let odd = [change + 120_000, change + 123_456, -1, -SECOND, -2_208_988_800 * SECOND, 253_402_300_799 * SECOND];
        of += odd.len();
        let odd = odd.map(Datum::Timestamp).to_vec();
        rejected += exact_or_rejected(bench, &field, FieldType::Timestamp, plain, odd).await?;
    }
    if of == 0 {
        Stop::not_applicable("the harness names no field of days or moments")
    } else {
        Ok(remark(rejected, of))
    }
}

pub(super) async fn lists(bench: &Bench<'_>) -> CaseResult {
    let Some((field, items)) = bench.fields().text_list else {
        return Stop::not_applicable("the harness names no list field");
    };
    ensure!(items.len() >= 2, "the harness must name two list items");
    let plain = vec![Datum::TextList(items.clone()), Datum::TextList(items[1..].to_vec())];
    let odd = vec![Datum::TextList(vec![items[0].clone(), "a;b".into()])];
    let rejected = exact_or_rejected(bench, &field, FieldType::TextList, plain, odd).await?;
    Ok(remark(rejected, 1))
}
