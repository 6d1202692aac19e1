//! Fields that do more than take what they are given.

use rsync_core::destination::RemoteSchema;
use rsync_core::field_policy::FieldPolicy;
use rsync_core::ids::FieldName;
use rsync_core::record::FieldType;

use crate::destination::bench::{Bench, CaseResult, Stage, Stop, all_written, ensure};
use crate::destination::sheet::{Datum, Sheet};

/// What a field holds (`Absent`: nothing), what is written, and what it holds then.
type Step = (Datum, Datum, Datum);

fn list(items: &[String]) -> Datum {
    Datum::TextList(items.to_vec())
}

/// The field's type, and the steps that show the policy.
fn steps(bench: &Bench<'_>, policy: FieldPolicy, field: &FieldName) -> Option<(FieldType, Vec<Step>)> {
    let fields = bench.fields();
    if *field == fields.text {
        let (one, two) = (bench.text("one"), bench.text("two"));
        return (policy == FieldPolicy::SetIfEmpty).then(|| (FieldType::Text, vec![(one.clone(), two, one)]));
    }
    let nothing = Datum::Absent;
    if Some(field) == fields.integer.as_ref() {
        let [low, high] = [4, 9].map(Datum::Integer);
        let ends = match policy {
            FieldPolicy::Max => [high.clone(), high.clone()],
            FieldPolicy::Min => [low.clone(), low.clone()],
            FieldPolicy::SetIfEmpty => [low.clone(), high.clone()],
            _ => return None,
        };
        let [up, down] = ends;
        let steps = vec![(nothing, low.clone(), low.clone()), (low.clone(), high.clone(), up), (high, low, down)];
        return Some((FieldType::Integer, steps));
    }
    let (_, items) = fields.text_list.filter(|(name, items)| name == field && items.len() > 1)?;
    let (first, both) = (list(&items[..1]), list(&items[..2]));
    let end = match policy {
        FieldPolicy::SetUnion => both,
        FieldPolicy::SetIfEmpty => first.clone(),
        _ => return None,
    };
    Some((FieldType::TextList, vec![(nothing, first.clone(), first.clone()), (first, list(&items[1..2]), end)]))
}

fn declared(bench: &Bench<'_>, schema: &RemoteSchema) -> Vec<(FieldName, FieldPolicy)> {
    let fields = bench.fields();
    let names = [Some(fields.text), fields.integer, fields.text_list.map(|(field, _)| field)];
    names
        .into_iter()
        .flatten()
        .flat_map(|name| {
            let native = schema.field(name.as_str()).map(|field| field.native.clone()).unwrap_or_default();
            native.into_iter().map(move |policy| (name.clone(), policy))
        })
        .collect()
}

pub(super) async fn native(bench: &Bench<'_>) -> CaseResult {
    let schema = bench.describe().await?;
    for field in &schema.fields {
        let wrong = field.native.iter().find(|policy| !policy.can_be_native());
        ensure!(wrong.is_none(), "`{}` is said to do {wrong:?} by itself, which no field can", field.name);
    }
    let declared = declared(bench, &schema);
    if declared.is_empty() {
        return Stop::not_applicable("no sample field has a policy by itself");
    }
    for (field, policy) in declared {
        let Some((ty, steps)) = steps(bench, policy, &field) else { continue };
        for (number, (before, new, after)) in steps.into_iter().enumerate() {
            let key = bench.key(format!("{policy}-{field}-{number}"));
            let sheet = |cell: Datum| {
                let mut columns = vec![(field.clone(), ty)];
                let mut cells = vec![cell];
                if field != bench.fields().text {
                    columns.push((bench.fields().text, FieldType::Text));
                    cells.push(bench.text("beside"));
                }
                let mut sheet = Sheet::new(&bench.target, columns);
                sheet.push(&key, cells);
                sheet
            };
            bench.put(Stage::New, &sheet(before)).await?;
            let operation = bench.operation(Stage::Existing)?;
            let batch = bench.batch(operation, sheet(new.clone()).rows()?)?;
            let batch = batch.with_policies(vec![(field.clone(), policy)]);
            all_written(&bench.send(batch).await??)?;
            bench.expect_stored(&key, &field, &after).await?;
            // Nobody asks for the policy now.
            bench.put(Stage::Existing, &sheet(new.clone())).await?;
            bench.expect_stored(&key, &field, &new).await?;
        }
    }
    Ok(None)
}
