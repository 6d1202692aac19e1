//! The decision against a naive model, field by field.

use arrow::array::{ArrayRef, Int64Array, ListBuilder, StringArray, StringBuilder};
use proptest::prelude::*;

use super::*;
use crate::capability::Operation;
use crate::identity::{Fingerprints, HashKey};

/// Values of one field; texts, numbers and lists are all made from it.
type Side = Option<u8>;

#[derive(Clone, Debug)]
struct Row {
    /// What the source says; the outer `None` is an absent cell.
    ours: Option<Side>,
    /// What the record has; the outer `None` is no record.
    theirs: Option<Side>,
    /// What was acknowledged, and what was sent with unknown fate.
    acknowledged: Option<Side>,
    doubtful: Option<u8>,
}

const POLICIES: [FieldPolicy; 6] = [
    FieldPolicy::Overwrite,
    FieldPolicy::SetIfEmpty,
    FieldPolicy::CompareAndSet,
    FieldPolicy::Max,
    FieldPolicy::Min,
    FieldPolicy::SetUnion,
];

fn items(bits: u8) -> Vec<String> {
    (0..3).filter(|bit| bits & (1 << bit) != 0).map(|bit| format!("i{bit}")).collect()
}

fn column(policy: FieldPolicy, values: &[Side]) -> ArrayRef {
    match policy {
        FieldPolicy::Max | FieldPolicy::Min => {
            Arc::new(values.iter().map(|v| v.map(i64::from)).collect::<Int64Array>())
        }
        FieldPolicy::SetUnion => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            for value in values {
                lists.append_option(value.map(|bits| items(bits).into_iter().map(Some)));
            }
            Arc::new(lists.finish())
        }
        // No text of no characters: that is one of the cases of the table below.
        _ => Arc::new(values.iter().map(|v| v.map(|v| format!("t{v}"))).collect::<StringArray>()),
    }
}

fn rows(policy: FieldPolicy, values: &[Side], present: Vec<bool>) -> Rows {
    let keys: ArrayRef = Arc::new((0..values.len()).map(|i| Some(format!("k{i}"))).collect::<StringArray>());
    let batch =
        RecordBatch::try_from_iter_with_nullable([("key", keys, true), ("field", column(policy, values), true)]);
    Rows::new(batch.unwrap()).unwrap().with_presence(1, present.into())
}

/// Hashes of `values` as the field.
fn hashes(policy: FieldPolicy, values: &[Side]) -> Vec<u64> {
    let key = HashKey::from_bytes([7; 16]);
    let batch = RecordBatch::try_from_iter_with_nullable([("field", column(policy, values), true)]).unwrap();
    Fingerprints::new(&key, &["field".into()]).fields(&Rows::new(batch).unwrap())
}

fn hash(policy: FieldPolicy, value: Side) -> u64 {
    hashes(policy, &[value])[0]
}

/// The same decision for one row, and what the record has afterwards: whether the value goes out, stays for a reason, or
/// is there already.
fn naive(policy: FieldPolicy, row: &Row) -> (&'static str, Option<Side>) {
    let (Some(ours), Some(theirs)) = (row.ours, row.theirs) else {
        return (if row.ours.is_some() || row.theirs.is_none() { "sent" } else { "nothing" }, None);
    };
    if ours == theirs {
        return ("equal", Some(theirs));
    }
    let (new, old) = (ours.unwrap_or(0), theirs.unwrap_or(0));
    let go = match policy {
        FieldPolicy::SetIfEmpty => theirs.is_none(),
        FieldPolicy::Max => theirs.is_none() || (ours.is_some() && new > old),
        FieldPolicy::Min => theirs.is_none() || (ours.is_some() && new < old),
        FieldPolicy::CompareAndSet => {
            row.acknowledged == Some(theirs)
                || row.doubtful.is_some_and(|sent| Some(sent) == theirs)
                || (row.acknowledged.is_none() && theirs.is_none())
        }
        FieldPolicy::SetUnion if ours.is_none() => false,
        FieldPolicy::SetUnion if new & !old == 0 => return ("equal", Some(theirs)),
        FieldPolicy::SetUnion => return ("sent", Some(Some(new | old))),
        _ => true,
    };
    if go { ("sent", Some(ours)) } else { ("kept", Some(theirs)) }
}

fn side() -> impl Strategy<Value = Side> {
    prop::option::weighted(0.8, 1_u8..5)
}

fn row() -> impl Strategy<Value = Row> {
    (
        prop::option::weighted(0.9, side()),
        prop::option::weighted(0.8, side()),
        prop::option::of(side()),
        prop::option::weighted(0.3, 1_u8..5),
    )
        .prop_map(|(ours, theirs, acknowledged, doubtful)| Row { ours, theirs, acknowledged, doubtful })
}

fn work(policy: FieldPolicy, all: &[Row]) -> Work {
    let values: Vec<Side> = all.iter().map(|row| row.ours.flatten()).collect();
    let rows = rows(policy, &values, all.iter().map(|row| row.ours.is_some()).collect());
    let image = |value: Option<Side>| value.map_or(0, |value| hash(policy, value));
    let before = all.iter().map(|row| {
        let doubtful = row.doubtful.map(|sent| [11, hash(policy, Some(sent))]);
        let images = [1, image(row.acknowledged)].into_iter().chain(doubtful.into_iter().flatten());
        Some(images.flat_map(u64::to_le_bytes).collect::<Vec<u8>>())
    });
    let n = all.len();
    Work {
        keys: (0..n as u128).collect(),
        hashes: vec![9; n],
        images: all.iter().flat_map(|row| [5, image(row.ours)]).collect(),
        changes: all.iter().map(|row| if row.doubtful.is_some() { Change::InDoubt } else { Change::Changed }).collect(),
        operations: vec![Operation::Upsert; n],
        attempts: vec![0; n],
        ids: None,
        mapped: Vec::new(),
        before: Some(before.collect()),
        rows,
    }
}

fn looked(policy: FieldPolicy, all: &[Row]) -> Looked {
    let mut found = Vec::new();
    let sightings = all
        .iter()
        .enumerate()
        .map(|(row, Row { theirs, .. })| match theirs {
            None => Sighting::Missing,
            Some(value) => {
                found.push(*value);
                Sighting::One { at: found.len() - 1, id: RemoteId::new(format!("r{row}")) }
            }
        })
        .collect();
    let batch = RecordBatch::try_from_iter_with_nullable([("field", column(policy, &found), true)]).unwrap();
    Looked { sightings, fields: vec![1], values: Rows::new(batch).unwrap(), hashes: hashes(policy, &found) }
}

proptest! {
    #[test]
    fn every_policy_decides_as_the_naive_model(
        all in prop::collection::vec(row(), 1..12), policy in prop::sample::select(&POLICIES[..])
    ) {
        let work = work(policy, &all);
        let policies = [FieldPolicy::Overwrite, policy];
        let rules = Rules { policies: &policies, match_index: 0, keeps_absent: true, creates: false };
        let decided = decide(work, &looked(policy, &all), &rules).unwrap();
        let mut kept = 0;
        for (i, row) in all.iter().enumerate() {
            let (expected, after) = naive(policy, row);
            kept += u64::from(expected == "kept");
            let cell = decided.work.rows.column(1).cell(i);
            let seen = match &decided.settled[i] {
                None => "sent",
                Some(Settled::Found { kept: Some(_), .. }) => "kept",
                Some(Settled::Found { kept: None, .. }) if row.ours.is_some() => "equal",
                _ => "nothing",
            };
            prop_assert_eq!(seen, expected, "{:?} {:?}", policy, row);
            if row.theirs.is_some() {
                prop_assert_eq!(cell == Cell::Absent, seen != "sent", "{:?} {:?}", policy, row);
            }
            if let (FieldPolicy::SetUnion, "sent", Some(Some(bits)), Cell::Set(Value::TextList(got))) =
                (policy, seen, after, &cell)
            {
                let mut got: Vec<&str> = got.clone();
                got.sort_unstable();
                prop_assert_eq!(got, items(bits));
            }
            // The image is what the destination will have acknowledged: ours where it goes out or is there, else the
            // one before.
            let image = decided.work.images[2 * i + 1];
            let acknowledged = row.acknowledged.map_or(0, |value| hash(policy, value));
            match (seen, row.ours) {
                ("sent" | "equal", Some(ours)) => prop_assert_eq!(image, hash(policy, ours)),
                ("kept", _) => prop_assert_eq!(image, acknowledged),
                _ => {}
            }
        }
        prop_assert_eq!(decided.kept.values().sum::<u64>(), kept);
        prop_assert!(decided.kept.keys().all(|(field, code)| (*field, *code) == (1, policy.kept_code())));
    }
}

/// One row under `policy` with these values as they are.
fn one(policy: FieldPolicy, ours: Value<'_>, theirs: Option<Value<'_>>, ty: FieldType) -> Option<Settled> {
    let rows = |value: Option<Value<'_>>, key: bool| {
        let column = array_of(ty, std::iter::once(value)).unwrap();
        let keys: ArrayRef = Arc::new(StringArray::from(vec!["k"]));
        let columns = key.then_some(("key", keys, true)).into_iter().chain([("field", column, true)]);
        Rows::new(RecordBatch::try_from_iter_with_nullable(columns).unwrap()).unwrap()
    };
    let key = HashKey::from_bytes([7; 16]);
    let hasher = Fingerprints::new(&key, &["field".into()]);
    let (found, mine) = (rows(theirs, false), rows(Some(ours.clone()), false));
    let work = Work {
        rows: rows(Some(ours), true),
        images: vec![5, hasher.fields(&mine)[0]],
        ..work(FieldPolicy::Overwrite, &[Row { ours: None, theirs: None, acknowledged: None, doubtful: None }])
    };
    let looked = Looked {
        sightings: vec![Sighting::One { at: 0, id: RemoteId::new("r") }],
        fields: vec![1],
        hashes: hasher.fields(&found),
        values: found,
    };
    let policies = [FieldPolicy::Overwrite, policy];
    let rules = Rules { policies: &policies, match_index: 0, keeps_absent: true, creates: false };
    decide(work, &looked, &rules).unwrap().settled.remove(0)
}

#[test]
fn values_are_ordered_by_their_type_and_empty_is_empty_in_every_type() {
    use FieldPolicy::{Max, Min, SetIfEmpty};
    let decimal = |unscaled| Value::Decimal { unscaled, scale: 2 };
    let money = FieldType::Decimal { precision: 9, scale: 2 };
    let list = FieldType::TextList;
    for (policy, ours, theirs, ty, goes) in [
        (Max, Value::Integer(-1), Some(Value::Integer(-2)), FieldType::Integer, true),
        (Max, Value::Integer(2), Some(Value::Integer(10)), FieldType::Integer, false),
        (Min, Value::Integer(2), Some(Value::Integer(10)), FieldType::Integer, true),
        (Max, Value::Float(0.5), Some(Value::Float(0.25)), FieldType::Float, true),
        (Min, Value::Float(0.5), Some(Value::Float(0.25)), FieldType::Float, false),
        (Max, decimal(1_000), Some(decimal(999)), money, true),
        (Max, decimal(-1_000), Some(decimal(999)), money, false),
        (Max, Value::Date(-5), Some(Value::Date(-6)), FieldType::Date, true),
        (Min, Value::Timestamp(1), Some(Value::Timestamp(0)), FieldType::Timestamp, false),
        (Max, Value::Integer(0), None, FieldType::Integer, true),
        (SetIfEmpty, Value::Text("a"), Some(Value::Text("")), FieldType::Text, true),
        (SetIfEmpty, Value::Text("a"), Some(Value::Text(" ")), FieldType::Text, false),
        (SetIfEmpty, Value::TextList(vec!["a"]), Some(Value::TextList(vec![])), list, true),
        (SetIfEmpty, Value::Boolean(true), Some(Value::Boolean(false)), FieldType::Boolean, false),
    ] {
        let shown = format!("{policy} {ours:?}");
        assert_eq!(one(policy, ours, theirs, ty).is_none(), goes, "{shown}");
    }
}

#[test]
fn rows_of_several_or_unreadable_records_are_refused_and_records_that_exist_are_not_made() {
    let row = Row { ours: Some(Some(1)), theirs: Some(Some(2)), acknowledged: None, doubtful: None };
    let all = [row.clone(), row.clone(), row];
    let mut looked = looked(FieldPolicy::Overwrite, &all);
    looked.sightings[0] = Sighting::Several;
    looked.sightings[1] = Sighting::Unreadable(Some("field".into()));
    let policies = [FieldPolicy::Overwrite; 2];
    let rules = Rules { policies: &policies, match_index: 0, keeps_absent: true, creates: true };
    let settled = decide(work(FieldPolicy::Overwrite, &all), &looked, &rules).unwrap().settled;
    let code = |settled: &Option<Settled>| match settled {
        Some(Settled::Rejected { code, field, .. }) => format!("{code} {}", field.as_ref().unwrap()),
        other => format!("{other:?}"),
    };
    assert_eq!(code(&settled[0]), "ambiguous_match key");
    assert_eq!(code(&settled[1]), "unreadable_value field");
    assert!(matches!(settled[2], Some(Settled::Exists)));
}

#[test]
fn where_absent_fields_are_emptied_a_row_is_left_whole() {
    let row = |theirs| Row { ours: Some(Some(1)), theirs: Some(Some(theirs)), acknowledged: None, doubtful: None };
    let all = [row(1), row(2)];
    let policies = [FieldPolicy::Overwrite; 2];
    let rules = Rules { policies: &policies, match_index: 0, keeps_absent: false, creates: false };
    let looked = looked(FieldPolicy::Overwrite, &all);
    let decided = decide(work(FieldPolicy::Overwrite, &all), &looked, &rules).unwrap();
    assert!(matches!(decided.settled[0], Some(Settled::Found { kept: None, .. })) && decided.settled[1].is_none());
    assert_ne!(decided.work.rows.column(1).cell(1), Cell::Absent);
}
