//! Random histories of a model, of a service that others write to, and of faults, for every field policy.
//!
//! A ledger of each field is kept beside the service: every write that is applied is judged by it, and in the end it says
//! what every field must hold. `RSYNC_SEEDS` and `RSYNC_SEED` as in `random.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use rsync_core::arrow::array::{ArrayRef, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder};
use rsync_core::capability::{Capability, Operation, OperationLimits, WriteIdempotence};
use rsync_core::clock::Randomness;
use rsync_core::destination::{RemoteField, RemoteSchema};
use rsync_core::error::Retry;
use rsync_core::memory::{Fault, MemoryDestination, SeededRandomness};
use rsync_core::record::Value;
use rsync_core::{Error, FieldMap, FieldPolicy, FieldRule, FieldType, Kind, Pipeline};

use crate::support::Parts;

/// The fields, each with a policy. The values are numbers; texts and lists are made from them.
const FIELDS: [(&str, FieldPolicy, FieldType); 7] = [
    ("plain", FieldPolicy::Overwrite, FieldType::Text),
    ("empty", FieldPolicy::SetIfEmpty, FieldType::Text),
    ("once", FieldPolicy::SetOnce, FieldType::Text),
    ("ours", FieldPolicy::CompareAndSet, FieldType::Text),
    ("high", FieldPolicy::Max, FieldType::Integer),
    ("low", FieldPolicy::Min, FieldType::Integer),
    ("tags", FieldPolicy::SetUnion, FieldType::TextList),
];

const KEYS: u64 = 12;

/// What a field of a record holds, as text, and who put it there.
#[derive(Clone, Debug, Default, PartialEq)]
struct Held {
    value: Option<String>,
    by_other: bool,
    /// Whether this sync ever wrote it.
    written: bool,
}

type Ledger = BTreeMap<String, BTreeMap<String, Held>>;

fn items(value: &str) -> Vec<&str> {
    value.split(';').filter(|item| !item.is_empty()).collect()
}

/// What a field becomes, said as plainly as possible.
fn naive(policy: FieldPolicy, held: &Held, new: &str) -> Option<String> {
    let old = held.value.as_deref();
    let number = |text: &str| text.parse::<i64>().unwrap();
    Some(match (policy, old) {
        (FieldPolicy::CompareAndSet, None) if held.written => return None,
        (FieldPolicy::CompareAndSet, Some(old)) if held.by_other => old.to_owned(),
        (FieldPolicy::SetIfEmpty | FieldPolicy::SetOnce, Some(old)) => old.to_owned(),
        (FieldPolicy::Max, Some(old)) => number(old).max(number(new)).to_string(),
        (FieldPolicy::Min, Some(old)) => number(old).min(number(new)).to_string(),
        (FieldPolicy::SetUnion, Some(old)) => {
            let mut all = items(old);
            let added: Vec<&str> = items(new).into_iter().filter(|item| !all.contains(item)).collect();
            all.extend(added);
            all.join(";")
        }
        _ => new.to_owned(),
    })
}

/// Writes the ledger as the service applies a write. Returns what is wrong about it.
fn apply(held: &mut Held, policy: FieldPolicy, native: bool, new: &str) -> Option<String> {
    let wrong = match (policy, held.value.as_deref()) {
        // Sent once more, it changes nothing.
        (_, Some(old)) if old == new => false,
        (_, None) => false,
        _ if native => false,
        (FieldPolicy::SetIfEmpty, Some(_)) => true,
        (FieldPolicy::CompareAndSet, Some(_)) => held.by_other,
        (FieldPolicy::Max | FieldPolicy::Min | FieldPolicy::SetUnion, Some(_)) => {
            naive(policy, held, new).as_deref() != Some(new)
        }
        _ => false,
    };
    let found = wrong.then(|| format!("{policy}: {held:?} becomes {new}"));
    let value = if native { naive(policy, held, new) } else { Some(new.to_owned()) };
    *held = Held { value, by_other: false, written: true };
    found
}

struct History {
    random: SeededRandomness,
    rows: BTreeMap<String, [Option<u64>; FIELDS.len()]>,
    parts: Parts,
    ledger: Arc<Mutex<Ledger>>,
    fresh: u64,
    faults: u64,
    crashes: u64,
}

fn text(ty: FieldType, value: u64) -> String {
    match ty {
        // Spread, and never the same twice: a value that was acknowledged is not sent again.
        FieldType::Integer => (value * 7_919 % 1_000_003).to_string(),
        FieldType::TextList => {
            let bits = value * 7_919 % 1_000_003;
            let items: Vec<String> =
                (0..20).filter(|bit| bits & (1 << bit) != 0).map(|bit| format!("i{bit}")).collect();
            items.join(";")
        }
        _ => format!("v{value}"),
    }
}

impl History {
    fn below(&self, n: u64) -> u64 {
        self.random.next_u64() % n
    }

    /// A value that no field had before, as far as its type allows.
    fn value(&mut self) -> u64 {
        self.fresh += 1;
        self.fresh * 31 + self.below(31)
    }

    fn row(&mut self, complete: bool) -> [Option<u64>; FIELDS.len()] {
        std::array::from_fn(|_| {
            let value = self.value();
            (complete || self.below(5) > 0).then_some(value)
        })
    }

    fn publish(&self) {
        let column = |(index, (name, _, ty)): (usize, &(&'static str, FieldPolicy, FieldType))| {
            let texts = self.rows.values().map(|row| row[index].map(|value| text(*ty, value)));
            let column: ArrayRef = match ty {
                FieldType::Integer => {
                    Arc::new(texts.map(|text| text.map(|text| text.parse().unwrap())).collect::<Int64Array>())
                }
                FieldType::TextList => {
                    let mut lists = ListBuilder::new(StringBuilder::new());
                    for text in texts {
                        lists.append_option(text.as_deref().map(|text| items(text).into_iter().map(Some)));
                    }
                    Arc::new(lists.finish())
                }
                _ => Arc::new(texts.collect::<StringArray>()),
            };
            (*name, column, true)
        };
        let ids: ArrayRef = Arc::new(self.rows.keys().map(Some).collect::<StringArray>());
        let columns = std::iter::once(("id", ids, true)).chain(FIELDS.iter().enumerate().map(column));
        self.parts.source.replace(vec![RecordBatch::try_from_iter_with_nullable(columns).unwrap()]);
    }

    /// Somebody else sets or empties some fields.
    fn others(&mut self) {
        for _ in 0..self.below(6) {
            let key = format!("k{}", self.below(KEYS));
            let (name, policy, ty) = FIELDS[self.below(FIELDS.len() as u64) as usize];
            let text = match self.below(4) {
                0 => None,
                _ if matches!(ty, FieldType::Text) => Some(format!("h{}", self.value())),
                _ => Some(text(ty, self.value())),
            };
            // A field that is overwritten, or set once, knows nothing of others.
            if matches!(policy, FieldPolicy::Overwrite | FieldPolicy::SetOnce) {
                continue;
            }
            let value = text.as_deref().map(|text| match ty {
                FieldType::Integer => Value::Integer(text.parse().unwrap()),
                FieldType::TextList => Value::TextList(items(text)),
                _ => Value::Text(text),
            });
            if self.parts.destination.change(&self.parts.target, &key, name, value) {
                let mut ledger = self.ledger.lock().unwrap();
                let held = ledger.entry(key).or_default().entry(name.to_owned()).or_default();
                (held.value, held.by_other) = (text.filter(|text| !text.is_empty()), true);
            }
        }
    }

    fn sync(&self) -> Pipeline {
        let mut mapping = FieldMap::new().field(FieldRule::column("id", "ext_id", FieldType::Text));
        for (name, policy, ty) in FIELDS {
            mapping = mapping.field(FieldRule::column(name, name, ty).policy(policy));
        }
        self.parts.builder().mapping(mapping).build().unwrap()
    }

    fn plant(&mut self) {
        self.parts.destination.clear_faults();
        let first = self.parts.destination.writes().len() as u64 + 1;
        let error = |kind, retry| Error::new(kind, "call", "planted").with_retry(retry);
        for number in first..first + 12 {
            let fault = match self.below(12) {
                0 => Fault::FailBefore(error(Kind::Unavailable, Retry::Backoff)),
                1 => Fault::FailAfter(error(Kind::Unavailable, Retry::Ambiguous)),
                2 => Fault::FailBefore(error(Kind::Unavailable, Retry::Ambiguous)),
                3 => Fault::UnknownAfter,
                4 => Fault::UnknownBefore,
                5 => Fault::DropOutcomes(1),
                6 => Fault::FailBefore(error(Kind::QuotaExhausted, Retry::Never)),
                _ => continue,
            };
            self.parts.destination.fail_write(number, fault);
            self.faults += 1;
        }
        let first = self.parts.destination.lookups() + 1;
        for number in first..first + 12 {
            let retry = match self.below(10) {
                0 => Retry::Backoff,
                1 => Retry::Never,
                _ => continue,
            };
            self.parts.destination.fail_lookup(number, error(Kind::Unavailable, retry));
        }
    }

    /// One run, with faults, cut off after some turns or not at all.
    async fn step(&mut self) {
        for _ in 0..self.below(8) {
            let key = format!("k{}", self.below(KEYS));
            let row = self.row(false);
            self.rows.insert(key, row);
        }
        let row = self.row(true);
        self.rows.insert("k0".to_owned(), row);
        self.others();
        self.publish();
        self.plant();
        let turns = if self.below(2) == 0 { 1 + self.below(6) } else { u64::MAX };
        let sync = self.sync();
        let mut run = Box::pin(sync.run());
        for turn in 0..turns {
            match (&mut run).now_or_never() {
                Some(Ok(report)) => return assert!(report.totals.balance(), "{report}"),
                Some(Err(failure)) => {
                    return assert!(failure.report.is_none_or(|report| report.totals.balance()));
                }
                None => tokio::task::yield_now().await,
            }
            assert!(turn < 100_000, "the run hangs");
        }
        self.crashes += 1;
    }

    /// Every row changes once more, and undisturbed runs follow.
    async fn settle(&mut self) {
        self.parts.destination.clear_faults();
        self.others();
        for key in self.rows.keys().cloned().collect::<Vec<_>>() {
            let row = self.row(true);
            self.rows.insert(key, row);
        }
        self.publish();
        let before = self.ledger.lock().unwrap().clone();
        // What is left of planted look-ups fires first.
        for _ in 0..40 {
            let run = self.sync().run().await;
            if run.is_ok_and(|report| report.is_complete()) {
                break;
            }
        }
        let last = self.sync().run().await.unwrap();
        assert!(last.is_complete() && last.calls.writes + last.calls.reads == 0, "{last}");
        let records = self.parts.records();
        let nothing = Held::default();
        for (key, row) in &self.rows {
            for (index, (name, policy, ty)) in FIELDS.into_iter().enumerate() {
                let held = before.get(key).and_then(|fields| fields.get(name)).unwrap_or(&nothing);
                let new = text(ty, row[index].unwrap());
                let expected = naive(policy, held, &new).filter(|text| !text.is_empty());
                let got = records[key].get(name).cloned().filter(|text| !text.is_empty());
                // Whether it was ever acknowledged is known to the sync only.
                let either = match policy {
                    FieldPolicy::CompareAndSet => held.value.is_none(),
                    FieldPolicy::SetOnce => held.value.is_some(),
                    _ => false,
                };
                let fits = got == expected || (either && (got.as_deref() == Some(new.as_str()) || got == held.value));
                assert!(fits, "{key} {name}: {held:?} and {new} make {got:?}, not {expected:?}");
            }
        }
        for (key, fields) in self.ledger.lock().unwrap().iter() {
            for (name, held) in fields {
                let got = records[key].get(name).filter(|text| !text.is_empty());
                assert_eq!(got, held.value.as_ref().filter(|text| !text.is_empty()), "the ledger of {key} {name}");
            }
        }
    }
}

async fn history(seed: u64, native: bool) -> (u64, u64) {
    let mut parts = Parts::new(&[]);
    let mut key = RemoteField::new("ext_id", "text");
    key.unique = true;
    let fields = FIELDS.into_iter().map(|(name, policy, _)| {
        let field = RemoteField::new(name, "field");
        if native && policy.can_be_native() { field.with_native([policy]) } else { field }
    });
    let schema = RemoteSchema::new(std::iter::once(key).chain(fields).collect());
    let capability = Capability::new()
        .with_operation(Operation::Upsert, OperationLimits::new(4, WriteIdempotence::ByKey))
        .with_lookup(3)
        .with_keeps_absent_fields()
        .with_per_row_outcomes()
        .with_max_in_flight(3);
    let ledger: Arc<Mutex<Ledger>> = Arc::default();
    let wrongs: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, found) = (Arc::clone(&ledger), Arc::clone(&wrongs));
    parts.destination = MemoryDestination::new()
        .with_object("people", schema)
        .with_capability(capability)
        .with_latency(Arc::new(parts.clock.clone()), Duration::from_millis(5))
        .with_rule(move |key, fields| {
            let mut ledger = seen.lock().unwrap();
            let record = ledger.entry(key.to_owned()).or_default();
            for (name, policy, _) in FIELDS {
                if let Some(Some(new)) = fields.get(name) {
                    let held = record.entry(name.to_owned()).or_default();
                    let wrong = apply(held, policy, native && policy.can_be_native(), new);
                    found.lock().unwrap().extend(wrong.map(|wrong| format!("{key} {name} {wrong}")));
                }
            }
            None
        });
    let random = SeededRandomness::new(seed);
    let rows = BTreeMap::new();
    let mut history = History { random, rows, parts, ledger, fresh: 0, faults: 0, crashes: 0 };
    for _ in 0..8 {
        history.step().await;
    }
    history.settle().await;
    assert_eq!(*wrongs.lock().unwrap(), Vec::<String>::new());
    assert!(history.parts.destination.lookups() > 0);
    (history.faults, history.crashes)
}

fn histories(native: bool, share: f64) {
    let only = std::env::var("RSYNC_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds: u64 = std::env::var("RSYNC_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    let seeds = (seeds as f64 * share) as u64;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut faults, mut crashes) = (0, 0);
    for seed in only.map_or(0..seeds, |seed| seed..seed + 1) {
        match std::panic::catch_unwind(|| runtime.block_on(history(seed, native))) {
            Ok((planted, cut_off)) => (faults, crashes) = (faults + planted, crashes + cut_off),
            Err(panic) => panic!("RSYNC_SEED={seed} native={native} fails: {:?}", panic.downcast_ref::<String>()),
        }
    }
    assert!(only.is_some() || (faults > seeds && crashes > seeds / 2), "{faults} faults, {crashes} runs cut off");
}

#[test]
fn f48_random_histories_of_a_service_that_others_write_to_keep_every_policy() {
    histories(false, 0.25);
}

#[test]
fn f48_random_histories_keep_the_policies_that_the_service_has_itself() {
    histories(true, 0.1);
}
